"""What the reference engine remembers: lists of what was defined, set, credited, placed and traded, and nothing else.

Who is first in line, the last price, what an account holds and what is due next is looked up in these lists whenever it
is asked for, so nothing can go stale. Nothing here judges or trades.

Comments that begin with > are sentences of the design, the lines below follow them.
"""

from collections import Counter
from copy import copy
from typing import Final

from attrs import Factory, define, field

from book import codes, terms
from book.definitions import Account, Asset, Key, Market
from book.events import AddressAllocated, Adjusted, Credited, MarketStateChanged, Rejected, Trade, Withdrawal
from book.queries import AccountTrade, DepthView
from book.reference_definitions import tick_value
from book.reference_orders import Order
from book.reference_rules import Refusal
from book.terms import BUY

HOUSE: Final = Account(0, "house")


@define
class State:
    """Everything. All that has to do with time is in nanoseconds."""

    engine_version: int = 0
    assets: list[Asset] = Factory(list)
    markets: list[Market] = Factory(list)
    accounts: list[Account] = field(factory=lambda: [HOUSE])
    keys: list[Key] = Factory(list)
    revoked_keys: list[int] = Factory(list)
    frozen_accounts: list[int] = Factory(list)
    frozen_assets: list[str] = Factory(list)
    market_states: dict[str, MarketStateChanged] = Factory(dict)  # by symbol, the last
    fee_tiers: dict[tuple[str, int], tuple[int, int]] = Factory(dict)  # (symbol, tier): maker and taker rate
    account_tiers: dict[int, int] = Factory(dict)
    cancel_all_due: dict[int, int] = Factory(dict)  # by account, where it is armed
    sessions: dict[int, int] = Factory(dict)  # the armed ones in the order of arming: whose they are
    deposits: list[Credited] = Factory(list)
    adjustments: list[Adjusted] = Factory(list)
    addresses: list[AddressAllocated] = Factory(list)
    withdrawals: list[Withdrawal] = Factory(list)  # all there ever were, in the order in which they were held for
    withdrawals_paused: bool = False
    epochs: dict[int, int] = field(factory=lambda: {1: 0})  # the sequence number that each begins with
    owned: Counter[tuple[int, str]] = Factory(Counter)  # (account, asset): available and held together
    open: list[Order] = Factory(list)  # oldest first, wherever they are
    resting: list[Order] = Factory(list)  # those in the books, in the order in which they came to their places
    triggered: list[Order] = Factory(list)  # stops that were reached and have not entered, the next one first
    finished: dict[int, list[Order]] = Factory(dict)  # by account, in the order in which they ended
    last_order_id: int = 0
    trades: list[tuple[int, Trade]] = Factory(list)  # with their times
    book_seqs: Counter[str] = Factory(Counter)  # by symbol, how often its resting orders changed

    user_seqs: Counter[int] = Factory(Counter)  # by account, how many events its owner could have been told
    watched: dict[str, DepthView] = Factory(dict)  # by symbol, the book as it was told last

    # --- What is defined and set --------------------------------------------------------------------------------------

    def asset_names(self) -> list[str]:
        """In the order of definition."""
        return [asset.name for asset in self.assets]

    def account_ids(self) -> list[int]:
        """In the order of definition."""
        return [account.account for account in self.accounts]

    def market(self, symbol: str) -> Market:
        """The market of this name; raises Refusal if there is none."""
        for market in self.markets:
            if market.symbol == symbol:
                return market
        raise Refusal(Rejected(codes.BAD_SYMBOL, "", "symbol"))

    def market_state(self, market: Market) -> MarketStateChanged:
        """What the market's state is, and until when."""
        return self.market_states.get(market.symbol, MarketStateChanged(market.symbol, terms.TRADING, 0))

    def trades_now(self, market: Market) -> bool:
        """Whether orders trade there."""
        return self.market_state(market).state == terms.TRADING

    def rates(self, account: int, market: Market) -> tuple[int, int]:
        """What an account pays there as a maker and as a taker, for orders that it places now."""
        # > an account in that tier places its orders at them, where the market has that tier, else at the market's own
        tier = self.account_tiers.get(account, 0)
        return self.fee_tiers.get((market.symbol, tier), (market.maker_fee, market.taker_fee))

    def tick_value(self, market: Market) -> int:
        """Quote units that one lot costs at one tick."""
        return int(tick_value(market, self.assets))

    # --- Money --------------------------------------------------------------------------------------------------------

    def totals(self) -> dict[str, int]:
        """Per asset, what came in, in engine units."""
        came = [(event.asset, event.amount) for event in self.deposits]
        came += [(event.asset, event.amount) for event in self.adjustments]
        came += [(each.asset, -each.amount) for each in self.withdrawals if each.state == terms.SETTLED]
        return {name: sum(amount for asset, amount in came if asset == name) for name in self.asset_names()}

    def give(self, account: int, asset: str, amount: int) -> None:
        """Let an account have more, or (negative) less."""
        self.owned[account, asset] += amount

    def held(self, account: int, asset: str) -> int:
        """What the account's orders and withdrawals hold."""
        mine = [each for each in self.withdrawals if (each.account, each.asset) == (account, asset)]
        withdrawn = sum(each.amount + each.fee for each in mine if each.state == terms.HELD)
        orders = [order for order in self.open if order.account == account and order.holds == asset]
        return withdrawn + sum(order.hold() for order in orders)

    def available(self, account: int, asset: str) -> int:
        """What the account can dispose of."""
        return self.owned[account, asset] - self.held(account, asset)

    def receivable(self, account: int, asset: str) -> int:
        """What the account owes the house."""
        return sum(event.short for event in self.adjustments if (event.account, event.asset) == (account, asset))

    @property
    def epoch(self) -> int:
        """The one that is now."""
        return max(self.epochs)

    def receipt(self, seq: int) -> str:
        """For what the command of this sequence number did."""
        # > *epoch-seq*: the sequence number of the command that did it, and the epoch of the log in which it was given
        epoch = max(number for number, first in self.epochs.items() if first <= seq)
        return f"{epoch}-{seq}"

    # --- Orders -------------------------------------------------------------------------------------------------------

    def open_orders(self, account: int, symbol: str = "") -> list[Order]:
        """The account's, oldest first, in one market or (symbol empty) in all."""
        if symbol:
            self.market(symbol)
        return [order for order in self.open if order.account == account and symbol in {"", order.market.symbol}]

    def remembered(self, account: int, finished: int) -> list[Order]:
        """The account's open orders, and its last finished ones."""
        return self.open_orders(account) + self.finished.get(account, [])[-finished:]

    def facing(self, order: Order) -> list[Order]:
        """Whom the order could meet at any price, the best price first, and of equals who came first."""
        sign = 1 if order.side == BUY else -1
        others = [other for other in self.resting if other.market is order.market and other.side != order.side]
        return sorted(others, key=lambda other: sign * other.price)

    def in_line(self, taker: Order) -> list[Order]:
        """Whom the order meets at its worst price or better, the best price first, and of equals who came first."""
        sign = 1 if taker.side == BUY else -1
        return [maker for maker in self.facing(taker) if sign * maker.price <= sign * taker.worst]

    def changed(self, market: Market) -> None:
        """Count a change of the market's book."""
        self.book_seqs[market.symbol] += 1

    def without(self, order: Order) -> "State":
        """How things were if this open order had never come."""
        other = copy(self)
        other.open = [each for each in self.open if each is not order]
        other.resting = [each for each in self.resting if each is not order]
        other.triggered = [each for each in self.triggered if each is not order]
        return other

    # --- Trades -------------------------------------------------------------------------------------------------------

    def last_price(self, market: Market) -> int:
        """Of the last trade; 0 if there was none."""
        return next((trade.price for _, trade in reversed(self.trades) if trade.symbol == market.symbol), 0)

    def trades_of_market(self, market: Market) -> list[tuple[int, Trade]]:
        """With their times, oldest first."""
        return [(time_ns, trade) for time_ns, trade in self.trades if trade.symbol == market.symbol]

    def trades_of_account(self, account: int, newest: int) -> list[AccountTrade]:
        """Its side of its newest trades, oldest first; both sides of one with itself, the maker's first."""
        orders = self.open_orders(account) + self.finished.get(account, [])
        names = {order.order_id: order.client_order_id for order in orders}
        trades = [(at, trade) for at, trade in self.trades if account in {trade.maker_account, trade.taker_account}]
        sides = []
        for time_ns, trade in trades[-newest:]:
            if trade.maker_account == account:
                sides.append(_side(trade, time_ns, names[trade.maker_order_id], maker=True))
            if trade.taker_account == account:
                sides.append(_side(trade, time_ns, names[trade.taker_order_id], maker=False))
        return sides


def _side(trade: Trade, time_ns: int, client_order_id: str, *, maker: bool) -> AccountTrade:
    return AccountTrade(
        trade_id=trade.trade_id,
        order_id=trade.maker_order_id if maker else trade.taker_order_id,
        client_order_id=client_order_id,
        symbol=trade.symbol,
        side=terms.BUY + terms.SELL - trade.taker_side if maker else trade.taker_side,
        price=trade.price,
        quantity=trade.quantity,
        notional=trade.notional,
        fee=trade.maker_fee if maker else trade.taker_fee,
        maker=maker,
        time_ns=time_ns,
    )


def find(orders: list[Order], account: int, market: Market, order_id: int, client_order_id: str) -> Order | None:
    """The account's order in this market by either id; where both are given, both have to be its."""
    for order in orders:
        fits = order_id in {0, order.order_id} and client_order_id in {"", order.client_order_id}
        if fits and (order_id or client_order_id) and order.account == account and order.market is market:
            return order
    return None

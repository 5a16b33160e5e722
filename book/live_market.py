"""A market at work: its definition, its book, who trades in it, and how an order leaves."""

from typing import Final

from book.accounts import AccountState
from book.definitions import Asset, Market
from book.effects import Effects
from book.events import OrderClosed
from book.image import MarketImage
from book.ledger import HOUSE, Balance, Ledger, release
from book.market import tick_value
from book.order_book import OrderBook
from book.orders import Order, Trader, order_id_of, restored
from book.terms import BUY, TRADING


class LiveMarket:
    """One market."""

    __slots__ = (
        *("base", "book", "definition", "fee_tiers", "house", "last_trade_id", "lot", "orders", "quote", "state"),
        *("tick_value", "traders", "_ledger"),
    )

    def __init__(self, definition: Market, base: Asset, quote: Asset, ledger: Ledger, orders: dict[int, Order]) -> None:
        """`orders` is the exchange's index of open orders by id, shared by all markets."""
        self.definition: Final = definition
        self.base: Final = base
        self.quote: Final = quote
        self.lot: int = definition.lot
        self.tick_value: int = tick_value(definition, base, quote)
        self.house: Balance = ledger.balance(HOUSE, quote.name)
        self.book: Final = OrderBook()
        self.orders: dict[int, Order] = orders
        self.traders: dict[int, Trader] = {}
        self.state: int = TRADING
        self.last_trade_id: int = 0
        self.fee_tiers: Final[dict[int, tuple[int, int]]] = {}  # maker's and taker's rate by tier
        self._ledger: Final = ledger

    def trader(self, account: AccountState) -> Trader:
        """The account in this market."""
        trader = self.traders.get(account.number)
        if trader is None:
            maker_rate, taker_rate = self.rates(account)
            trader = self.traders[account.number] = Trader(
                account,
                self.definition.symbol,
                self._ledger.balance(account.number, self.base.name),
                self._ledger.balance(account.number, self.quote.name),
                maker_rate,
                taker_rate,
            )
        return trader

    def rates(self, account: AccountState) -> tuple[int, int]:
        """What the account's next order here pays as a maker and as a taker, in parts per million."""
        return self.fee_tiers.get(account.tier, (self.definition.maker_fee, self.definition.taker_fee))

    def reprice(self, account: AccountState) -> None:
        """The account's rates have changed."""
        trader = self.traders.get(account.number)
        if trader is not None:
            trader.maker_rate, trader.taker_rate = self.rates(account)

    def set_fee_tier(self, tier: int, rates: tuple[int, int]) -> None:
        """Accounts of this tier pay these rates from now on, as makers and as takers."""
        self.fee_tiers[tier] = rates
        for trader in self.traders.values():
            self.reprice(trader.account)

    def quote_in_existence(self) -> int:
        """How much of the quote asset there is, in engine units."""
        return self._ledger.total(self.quote.name)

    def need(self, order: Order) -> int:
        """What the order has to hold: the worst that what is open of it can still cost, or deliver."""
        if order.side == BUY:
            return order.worst_cost()
        return (order.quantity - order.executed) * self.lot

    def paying(self, order: Order) -> Balance:
        """The balance the order is paid from."""
        return order.trader.quote if order.side == BUY else order.trader.base

    def give_back(self, order: Order, amount: int) -> None:
        """Release a part of what the order holds."""
        release(self.paying(order), amount)
        order.held -= amount

    def rest(self, order: Order) -> None:
        """Put an order on the book."""
        self.book.add(order)
        order.trader.open_orders[order.order_id] = order
        self.orders[order.order_id] = order

    def cancel(self, order: Order, status: int, effects: Effects) -> None:
        """Take an order off the book before it is filled."""
        self.book.reduce(order, order.quantity - order.executed)
        self.close(order, status, effects)

    def close(self, order: Order, status: int, effects: Effects) -> None:
        """End an order that is not, or no longer, on the book: what it still holds goes back."""
        order.status = status
        order.updated_ns = effects.time_ns
        if order.held:
            self.give_back(order, order.held)
        trader = order.trader
        if trader.open_orders.pop(order.order_id, None) is not None:
            del self.orders[order.order_id]
        view = order.view()
        trader.account.finish(view)
        effects.events.append(OrderClosed(view))

    def image(self) -> MarketImage:
        """The market as plain data."""
        return MarketImage(
            self.definition,
            self.state,
            self.book.seq,
            self.last_trade_id,
            [order.image() for level in self.book.bids.each_level() for order in level.orders()],
            [order.image() for level in self.book.asks.each_level() for order in level.orders()],
            [(tier, maker_rate, taker_rate) for tier, (maker_rate, taker_rate) in sorted(self.fee_tiers.items())],
        )

    def restore(self, image: MarketImage, accounts: dict[int, AccountState]) -> None:
        """Become, from empty, the market that `image` was taken of.

        Raises:
            KeyError: an order is of an account there is not.
        """
        for tier, maker_rate, taker_rate in image.fee_tiers:
            self.fee_tiers[tier] = (maker_rate, taker_rate)
        orders: list[Order] = []
        for resting in image.bids + image.asks:
            account = accounts[resting.account]
            order = restored(resting, self.trader(account), self.tick_value)
            order.held = self.need(order)
            account.client_order_ids.claim(order.client_order_id, order.order_id)
            self.book.add(order)
            orders.append(order)
        # The book is in the order of trading; an account's orders are in the order of their entry.
        for order in sorted(orders, key=order_id_of):
            order.trader.open_orders[order.order_id] = order
            self.orders[order.order_id] = order
        self.state = image.state
        self.book.seq = image.book_seq
        self.last_trade_id = image.last_trade_id

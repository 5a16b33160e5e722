"""A market at work: its definition, its book, its stops, who trades in it, and how an order stays or leaves."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from book.accounts import AccountState
from book.definitions import Asset, Market
from book.effects import Effects
from book.events import MarketStateChanged, OrderClosed, Trade
from book.history import MARKET_TRADES, Candles
from book.image import MarketImage, OrderImage, TradeImage
from book.latest import Latest
from book.ledger import HOUSE, Balance, Ledger, release
from book.market import tick_value
from book.order_book import OrderBook
from book.orders import Order, Trader, order_id_of, restored
from book.rates import part
from book.stops import Stops
from book.terms import BUY, FILLED, HALT, MAX_INT, NS_PER_MS, STOP_LOSS, TAKE_PROFIT, TRADING
from book.timers import EXPIRY, RESUMPTION, Timers

# Of a step of `restore`: some hundred microseconds.
ORDERS_PER_STEP: Final = 64

_OrderClosed: Final = OrderClosed  # as in book.orders


class LiveMarket:
    """One market."""

    __slots__ = (
        *("band", "band_high", "band_low", "base", "book", "candles", "collar", "definition", "fee_tiers"),
        *("halted_until_ns", "house", "last_price", "last_trade_id", "lot", "max_open_orders", "max_price"),
        *("max_quantity", "min_notional", "min_quantity", "number", "orders", "quote", "self_trade", "state"),
        *("stops", "tick_value", "traders", "trades", "triggered", "_ledger", "_quote_total", "_timers"),
    )

    def __init__(  # noqa: PLR0917 -- once per market, in one place
        self,
        number: int,
        definition: Market,
        base: Asset,
        quote: Asset,
        ledger: Ledger,
        orders: dict[int, Order],
        timers: Timers,
    ) -> None:
        """`orders` are the exchange's open orders by id, `timers` is what falls due in it: all markets share them."""
        self.number: Final = number  # in the order of definition
        self.definition: Final = definition
        self.band: int = definition.band
        self.base: Final = base
        self.quote: Final = quote
        self.lot: int = definition.lot
        self.tick_value: int = tick_value(definition, base, quote)
        # What every order is judged by, out of the definition: to read a field of that costs far more.
        self.min_quantity: int = definition.min_quantity
        self.max_quantity: int = definition.max_quantity
        self.min_notional: int = definition.min_notional
        self.self_trade: int = definition.self_trade
        self.collar: int = definition.collar
        self.max_open_orders: int = definition.max_open_orders
        self.max_price: int = MAX_INT // self.tick_value
        self.house: Balance = ledger.balance(HOUSE, quote.name)
        self.book: Final = OrderBook()
        self.stops: Final = Stops()
        # By order id: what is to enter next, in this order. (A dict looks for its first key past all that have left.)
        self.triggered: Final[OrderedDict[int, Order]] = OrderedDict()
        self.orders: dict[int, Order] = orders
        self.traders: dict[int, Trader] = {}
        self.state: int = TRADING
        self.halted_until_ns: int = 0  # where the band halted it for a time
        self.last_trade_id: int = 0
        self.last_price: int = 0  # 0: nothing was traded yet
        self.fee_tiers: Final[dict[int, tuple[int, int]]] = {}  # maker's and taker's rate by tier
        self.trades: Final[Latest[TradeImage]] = Latest(MARKET_TRADES)
        self.candles: Final = Candles()
        self._quote_total: Final = ledger.total(quote.name)
        self._ledger: Final = ledger
        self._timers: Final = timers
        self.settle_band()

    def settle_band(self) -> None:
        """Let the next command trade around what is the last price now. A high of 0: at any price."""
        middle = self.last_price or self.definition.reference_price
        away = part(middle, self.band)
        self.band_low: int = middle - away
        self.band_high: int = middle + away if self.band else 0

    def trades_at(self, price: int) -> bool:
        """Whether the band allows a trade at this price."""
        return not self.band_high or self.band_low <= price <= self.band_high

    def trader(self, account: AccountState) -> Trader:
        """The account in this market."""
        trader = self.traders.get(account.number)
        if trader is None:
            maker_rate, taker_rate = self.rates(account)
            trader = self.traders[account.number] = Trader(
                account,
                self,
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
        return self._quote_total.amount

    def worst_price(self, order: Order) -> int:
        """The worst price an order that is not a plain market order may trade at: what it is judged and holds by."""
        if order.type not in (STOP_LOSS, TAKE_PROFIT):
            return order.price
        if order.side == BUY:
            return self.beyond(order.stop_price, BUY)
        return order.stop_price

    def beyond(self, price: int, side: int) -> int:
        """How far from this price the collar lets a market order of this side go."""
        collar = part(price, self.collar)
        return min(price + collar, self.max_price) if side == BUY else max(price - collar, 1)

    def need(self, order: Order) -> int:
        """What the order has to hold: the worst that what is open of it can still cost, or deliver."""
        return self.need_of(order, order.quantity, order.unit_cost)

    def need_of(self, order: Order, quantity: int, unit_cost: int) -> int:
        """The same, if the order had this quantity in all and could cost so much a lot."""
        if order.side == BUY:
            return order.cost_of(quantity, unit_cost)
        return (quantity - order.executed) * self.lot

    def paying(self, order: Order) -> Balance:
        """The balance the order is paid from."""
        return order.trader.quote if order.side == BUY else order.trader.base

    def give_back(self, order: Order, amount: int) -> None:
        """Release a part of what the order holds."""
        release(self.paying(order), amount)
        order.held -= amount

    # How an order stays

    def rest(self, order: Order) -> None:
        """Put an order on the book."""
        if order.display_quantity:
            order.hidden = max(0, order.quantity - order.executed - order.display_quantity)
        self.book.add(order)
        self._keep(order)

    def wait(self, order: Order) -> None:
        """Let a stop wait for its price."""
        self.stops.add(order)
        self._keep(order)

    def _keep(self, order: Order) -> None:
        if order.is_open:
            return
        order.is_open = True
        order.trader.open_orders[order.order_id] = order
        self.orders[order.order_id] = order
        if order.expire_time:
            self._timers.set(EXPIRY, order.order_id, order.expire_time * NS_PER_MS)

    # How it leaves

    def cancel(self, order: Order, status: int, effects: Effects) -> None:
        """End an open order before it is filled, wherever it is."""
        if order.level is not None:
            self.book.remove(order)
        elif self.triggered.pop(order.order_id, None) is None:
            self.stops.remove(order)
        self.close(order, status, effects)

    def close(self, order: Order, status: int, effects: Effects) -> None:
        """End an order that is nowhere, or no longer: what it still holds goes back."""
        order.status = status
        order.updated_ns = effects.time_ns
        if order.held:
            self.give_back(order, order.held)
        trader = order.trader
        if order.is_open:
            order.is_open = False
            del trader.open_orders[order.order_id]
            del self.orders[order.order_id]
            if order.expire_time:
                self._timers.clear(EXPIRY, order.order_id)
        view = order.view()
        trader.account.finish(view)
        effects.events.append(_OrderClosed(view))
        if status != FILLED:  # as its last trade says
            trader.account.tell(effects.seq)

    # What it remembers

    def remember(self, trade: Trade, maker: Order, taker: Order, time_ns: int) -> None:
        """Keep a trade for all who may ask for it."""
        remembered = TradeImage(trade, time_ns, maker.client_order_id, taker.client_order_id)
        self.trades.add(remembered)
        maker.trader.account.trades.add(remembered)
        if maker.trader is not taker.trader:
            taker.trader.account.trades.add(remembered)

    # Its state

    def set_state(self, state: int, effects: Effects, *, until_ns: int = 0) -> None:
        """The market is in this state from now on; with `until_ns`, until then."""
        self.state = state
        self._halt_until(until_ns)
        effects.events.append(MarketStateChanged(self.definition.symbol, state, until_ns))

    def trip(self, effects: Effects) -> None:
        """Its band halts the market."""
        halt_ms = self.definition.halt_ms
        until_ns = min(effects.time_ns + halt_ms * NS_PER_MS, MAX_INT) if halt_ms else 0
        self.set_state(HALT, effects, until_ns=until_ns)

    def _halt_until(self, until_ns: int) -> None:
        self.halted_until_ns = until_ns
        if until_ns:
            self._timers.set(RESUMPTION, self.number, until_ns)
        else:
            self._timers.clear(RESUMPTION, self.number)

    # As plain data

    def image(self) -> MarketImage:
        """The market as plain data."""
        return MarketImage(
            self.definition,
            self.state,
            self.halted_until_ns,
            self.book.seq,
            self.last_trade_id,
            self.last_price,
            [order.image() for level in self.book.bids.each_level() for order in level.orders()],
            [order.image() for level in self.book.asks.each_level() for order in level.orders()],
            [order.image() for order in self.stops.all()],
            [order.image() for order in self.triggered.values()],
            [(tier, maker_rate, taker_rate) for tier, (maker_rate, taker_rate) in sorted(self.fee_tiers.items())],
            self.trades.all(),
            self.candles.image(),
        )

    def restore(self, image: MarketImage, accounts: dict[int, AccountState]) -> Iterator[None]:
        """Become, from empty, the market that `image` was taken of; in steps, as there may be many orders.

        Raises:
            KeyError: an order is of an account there is not.
            ValueError: the candles are of other intervals.
        """
        for tier, maker_rate, taker_rate in image.fee_tiers:
            self.fee_tiers[tier] = (maker_rate, taker_rate)
        orders: list[Order] = []
        for resting in image.bids + image.asks:
            order = self._restored(resting, accounts)
            self.book.add(order)
            orders.append(order)
            if len(orders) % ORDERS_PER_STEP == 0:
                yield
        for waiting in image.stops:
            order = self._restored(waiting, accounts)
            self.stops.add(order)
            orders.append(order)
        for entering in image.triggered:
            order = self._restored(entering, accounts)
            self.triggered[order.order_id] = order
            orders.append(order)
        # The book is in the order of trading; an account's orders are in the order of their entry.
        for place, order in enumerate(sorted(orders, key=order_id_of), start=1):
            self._keep(order)
            if place % ORDERS_PER_STEP == 0:
                yield
        self.state = image.state
        self._halt_until(image.halted_until_ns)
        self.book.seq = image.book_seq
        self.last_trade_id = image.last_trade_id
        self.last_price = image.last_price
        for trade in image.trades:
            self.trades.add(trade)
        self.candles.restore(image.candles)
        self.settle_band()

    def _restored(self, image: OrderImage, accounts: dict[int, AccountState]) -> Order:
        account = accounts[image.account]
        order = restored(image, self.trader(account))
        order.bound = self.worst_price(order)
        order.unit_cost = order.bound * self.tick_value
        order.held = self.need(order)
        account.client_order_ids.claim(order.client_order_id, order.order_id)
        return order

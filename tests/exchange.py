"""A small exchange to test the engine with: two assets, one market, some funded accounts, every step audited."""

from typing import Final

import msgspec

from book.commands import (
    AmendOrder,
    CancelAll,
    CancelAllAfter,
    CancelOrder,
    Command,
    CreditDeposit,
    DefineAccount,
    DefineAsset,
    DefineKey,
    DefineMarket,
    PlaceOrder,
    ReplaceOrder,
    SetMarketState,
    Tick,
)
from book.definitions import Account, Asset, Key, Market
from book.engine import Engine
from book.events import (
    CancelAllAfterSet,
    Event,
    MarketStateChanged,
    OrderAccepted,
    OrderAmended,
    OrderClosed,
    OrderReduced,
    OrderTriggered,
    OrderView,
    Rejected,
    SessionArmed,
    SessionLost,
    Trade,
)
from book.queries import Balance, Balances, Depth, DepthView, OpenOrders, OrderStatus
from book.terms import (
    BUY,
    EXPIRE_TAKER,
    FOK,
    GTC,
    GTD,
    IOC,
    LIMIT,
    MARKET,
    MARKET_STATES,
    ORDER_STATES,
    READ,
    SELL,
    TRADE,
    WITHDRAW,
)

BTC: Final = Asset("BTC", 8, "bitcoin", 1_000, 5_000)
USDT: Final = Asset("USDT", 6)
# A lot at a tick costs one unit of USDT, so notionals are easily read.
BTC_USDT: Final = Market(
    symbol="BTC-USDT",
    base="BTC",
    quote="USDT",
    tick=1,
    tick_scale=2,
    lot=10_000,
    min_quantity=1,
    max_quantity=1_000_000,
    min_notional=1,
    max_open_orders=1_000,
    maker_fee=1_000,
    taker_fee=2_000,
    collar=100_000,
    self_trade=EXPIRE_TAKER,
)
SYMBOL: Final = BTC_USDT.symbol
ALICE, BOB, CAROL = 1, 2, 3
LOTS: Final = 1_000_000
FUNDS: Final = {"BTC": LOTS * BTC_USDT.lot, "USDT": 10**12}
START_NS: Final = 1_700_000_000_000_000_000
PUBLIC_KEY: Final = "0f" * 32


def free(**changes: int) -> Market:
    """The market without fees, changed so."""
    return msgspec.structs.replace(BTC_USDT, **{"maker_fee": 0, "taker_fee": 0, **changes})


class Exchange:
    """An engine, its sequence numbers and its clock. Whatever is done is followed by a full check."""

    def __init__(self, market: Market = BTC_USDT, *, accounts: int = 3, funds: dict[str, int] = FUNDS) -> None:
        self.engine = Engine()
        self.seq = 0
        self.time_ns = START_NS
        self.log: list[tuple[Command, int, int]] = []
        for definition in (DefineAsset(BTC), DefineAsset(USDT), DefineMarket(market)):
            self.done(definition)
        for account in range(1, accounts + 1):
            self.done(DefineAccount(Account(account, f"account-{account}")))
            for asset, amount in funds.items():
                self.done(CreditDeposit(f"start|{account}|{asset}", account, asset, amount))

    def do(self, command: Command, *, later_ns: int = 1_000) -> list[Event] | Rejected:
        """Apply the next command; a refused one must leave the state byte for byte as it was."""
        before = self.engine.dump()
        self.seq += 1
        self.time_ns += later_ns
        outcome = self.engine.apply(command, self.seq, self.time_ns)
        if isinstance(outcome, Rejected):
            assert self.engine.dump() == before
        else:
            self.log.append((command, self.seq, self.time_ns))
            self.engine.digest.update(outcome)
        self.engine.check()
        return outcome

    def done(self, command: Command, *, later_ns: int = 1_000) -> list[Event]:
        """Apply a command that must take effect."""
        outcome = self.do(command, later_ns=later_ns)
        assert not isinstance(outcome, Rejected), outcome
        return outcome

    def refused(self, command: Command) -> Rejected:
        """Apply a command that must be refused."""
        outcome = self.do(command)
        assert isinstance(outcome, Rejected), outcome
        return outcome

    def place(self, command: PlaceOrder) -> tuple[OrderView, list[Event]]:
        """Place an order that must be accepted: as it stands at the end of the command, and all events."""
        events = self.done(command)
        first = events[0]
        assert isinstance(first, OrderAccepted)
        return self.order(first.order.account, first.order.order_id), events

    def tick(self, time_ns: int) -> list[Event]:
        """Let fall due what is due by this time."""
        return self.done(Tick(), later_ns=time_ns - self.time_ns)

    def restart(self) -> None:
        """Go on with the engine that a dump of this one gives."""
        data = self.engine.dump()
        self.engine = Engine.load(data)
        assert self.engine.dump() == data

    def order(self, account: int, order_id: int) -> OrderView:
        """The order as it stands."""
        view = self.engine.query(OrderStatus(account, SYMBOL, order_id))
        assert isinstance(view, OrderView), view
        return view

    def balance(self, account: int, asset: str) -> Balance:
        """What an account has of an asset."""
        balances = self.engine.query(Balances(account))
        assert isinstance(balances, list)
        for balance in balances:
            if isinstance(balance, Balance) and balance.asset == asset:
                return balance
        return Balance(asset, 0, 0)

    def depth(self, limit: int = 100) -> DepthView:
        """The book."""
        view = self.engine.query(Depth(SYMBOL, limit))
        assert isinstance(view, DepthView)
        return view

    def open_orders(self, account: int, symbol: str = "") -> list[int]:
        """The ids of the account's open orders."""
        views = self.engine.query(OpenOrders(account, symbol))
        assert isinstance(views, list)
        return [view.order_id for view in views if isinstance(view, OrderView)]


def limit(account: int, side: int, quantity: int, price: int, **more: int | str | bool) -> PlaceOrder:
    """A limit order in the market, good till cancelled; `more` are further fields of the command."""
    order = PlaceOrder(account, 0, 0, SYMBOL, side, LIMIT, GTC, quantity, price)
    return msgspec.structs.replace(order, **more)


def buy(account: int, quantity: int, price: int, **more: int | str | bool) -> PlaceOrder:
    """A limit order to buy, good till cancelled."""
    return limit(account, BUY, quantity, price, **more)


def sell(account: int, quantity: int, price: int, **more: int | str | bool) -> PlaceOrder:
    """A limit order to sell, good till cancelled."""
    return limit(account, SELL, quantity, price, **more)


def ioc(account: int, side: int, quantity: int, price: int, **more: int | str | bool) -> PlaceOrder:
    """A limit order that takes what it can at once."""
    return limit(account, side, quantity, price, time_in_force=IOC, **more)


def fok(account: int, side: int, quantity: int, price: int, **more: int | str | bool) -> PlaceOrder:
    """A limit order that takes all or nothing."""
    return limit(account, side, quantity, price, time_in_force=FOK, **more)


def market(account: int, side: int, quantity: int, **more: int | str | bool) -> PlaceOrder:
    """A market order by quantity."""
    order = PlaceOrder(account, 0, 0, SYMBOL, side, MARKET, GTC, quantity, 0)
    return msgspec.structs.replace(order, **more)


def spend(account: int, amount: int, **more: int | str | bool) -> PlaceOrder:
    """A market order to buy for an amount of the quote asset."""
    order = PlaceOrder(account, 0, 0, SYMBOL, BUY, MARKET, GTC, 0, 0, amount)
    return msgspec.structs.replace(order, **more)


def stop(  # noqa: PLR0917 -- as in the command: at what price it waits, and for what price it then is
    account: int, side: int, kind: int, quantity: int, stop_price: int, price: int = 0, **more: int | str | bool
) -> PlaceOrder:
    """An order of one of the kinds that wait for `stop_price`."""
    return limit(account, side, quantity, price, type=kind, stop_price=stop_price, **more)


def till(expire_ms: int, order: PlaceOrder) -> PlaceOrder:
    """The order, good till this many milliseconds since 1970."""
    return msgspec.structs.replace(order, time_in_force=GTD, expire_time=expire_ms)


def iceberg(account: int, side: int, quantity: int, price: int, display: int, **more: int | str | bool) -> PlaceOrder:
    """A limit order that shows so much of itself."""
    return limit(account, side, quantity, price, display_quantity=display, **more)


def cancel(account: int, order_id: int, client_order_id: str = "") -> CancelOrder:
    """The cancel of one order."""
    return CancelOrder(account, 0, 0, SYMBOL, order_id, client_order_id)


def amend(account: int, order_id: int, quantity: int = 0, price: int = 0, **more: int | str) -> AmendOrder:
    """The amendment of one order; 0 leaves a number as it is."""
    command = AmendOrder(account, 0, 0, SYMBOL, order_id, "", quantity, price)
    return msgspec.structs.replace(command, **more)


def replace(order_id: int, order: PlaceOrder, client_order_id: str = "") -> ReplaceOrder:
    """The order in place of another one of its account."""
    return ReplaceOrder(order_id, client_order_id, order)


def cancel_all(account: int, symbol: str = "") -> CancelAll:
    """The cancel of all orders of an account."""
    return CancelAll(account, 0, 0, symbol)


def cancel_all_after(account: int, timeout_ms: int, **more: int) -> CancelAllAfter:
    """The dead man's switch of an account; 0 disarms it."""
    return msgspec.structs.replace(CancelAllAfter(account, 0, 0, timeout_ms), **more)


def state(market_state: int) -> SetMarketState:
    """The operator's command that puts the market into this state."""
    return SetMarketState(SYMBOL, market_state)


def key(number: int, account: int, permissions: int = READ | TRADE | WITHDRAW) -> DefineKey:
    """The definition of a key."""
    return DefineKey(Key(number, f"key-{number}", account, permissions, PUBLIC_KEY))


def trades(events: list[Event]) -> list[tuple[int, int]]:
    """The trades among the events, as (price, quantity)."""
    return [(event.price, event.quantity) for event in events if isinstance(event, Trade)]


def closed(events: list[Event]) -> list[tuple[int, int]]:
    """The orders that ended, as (id, status)."""
    return [(event.order.order_id, event.order.status) for event in events if isinstance(event, OrderClosed)]


def story(events: list[Event]) -> list[str]:
    """What happened, in a few words each: orders by their ids, a trade as 'taker x maker: quantity at price'."""
    return [_told(event) for event in events]


def _told(event: Event) -> str:  # noqa: C901, PLR0911 -- one event, one phrase
    match event:
        case OrderAccepted(order):
            return f"accepted {order.order_id}"
        case OrderTriggered(order):
            return f"triggered {order.order_id}"
        case OrderAmended(order):
            return f"amended {order.order_id}"
        case OrderClosed(order):
            return f"{ORDER_STATES[order.status]} {order.order_id}"
        case OrderReduced(order_id, quantity):
            return f"reduced {order_id} by {quantity}"
        case Trade():
            return f"{event.taker_order_id} x {event.maker_order_id}: {event.quantity} at {event.price}"
        case MarketStateChanged(_, state, until_ns):
            return f"{MARKET_STATES[state]} until {until_ns}" if until_ns else MARKET_STATES[state]
        case CancelAllAfterSet(account, due_ns):
            return f"cancel all of {account} at {due_ns}" if due_ns else f"cancel all of {account} never"
        case SessionArmed(session):
            return f"armed {session}"
        case SessionLost(session):
            return f"lost {session}"
    raise AssertionError(f"no words for {event}")

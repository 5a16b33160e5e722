"""The event lines of the channels: what subscribers are told. Pure.

Fields are encoded in the order written here, `event` first. Prices, quantities and amounts are decimal strings with all
the decimals of tick, lot or asset; times are integer milliseconds since 1970. A field that is UNSET is left out.

(msgspec drops class keywords in compiled modules, so this module stays uncompiled.)
"""

from msgspec import UNSET, Struct, UnsetType

from actors.results import BalanceInfo


class StreamEvent(Struct, frozen=True, gc=False, rename="camel", tag_field="event"):
    """A line that nobody asked for just now."""


# ------------------------------------------------------------------------------------------------------- for everybody


class BookSnapshot(StreamEvent, frozen=True, tag="book.snapshot"):
    """All price levels, best first, as (price, quantity), after change `seq` of the book. `first_seq` is the same."""

    channel: str
    seq: int
    time: int
    symbol: str
    first_seq: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class BookDelta(StreamEvent, frozen=True, tag="book.delta"):
    """The levels that the changes `first_seq` to `seq` left otherwise, with what they show now: 0 where nothing is."""

    channel: str
    seq: int
    time: int
    symbol: str
    first_seq: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class TradeEvent(StreamEvent, frozen=True, tag="trade"):
    """A trade; `side` is the taker's, `seq` is the trade's id."""

    channel: str
    seq: int
    time: int
    symbol: str
    trade_id: int
    price: str
    qty: str
    side: str


class TickerEvent(StreamEvent, frozen=True, tag="ticker"):
    """What happened in a market from `open_time` to `close_time`; `seq` is the id of its last trade."""

    channel: str
    seq: int
    time: int
    symbol: str
    open: str
    high: str
    low: str
    last: str
    volume: str
    quote_volume: str
    count: int
    open_time: int
    close_time: int


class KlineEvent(StreamEvent, frozen=True, tag="kline"):
    """A candle as it stands; once `closed` it changes no more. `seq` is the id of the market's last trade."""

    channel: str
    seq: int
    time: int
    symbol: str
    interval: str
    open_time: int
    close_time: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    quote_volume: str
    count: int
    closed: bool


# ------------------------------------------------------------------------------------------------- for an account's own


class ExecutionReport(StreamEvent, frozen=True, tag="executionReport"):
    """Something happened to one of the account's orders; this is how it stands then.

    Of a trade also its size, price, id and fee, and whether the order was the maker. What was rejected never was an
    order: it has no id, and its report no `seq`, for it is not kept.
    """

    channel: str
    seq: int | UnsetType
    time: int
    exec_type: str
    status: str
    symbol: str
    order_id: int | UnsetType
    client_order_id: str | UnsetType
    side: str
    type: str
    time_in_force: str
    price: str
    stop_price: str | UnsetType
    orig_qty: str
    cum_qty: str
    cum_quote_qty: str
    leaves_qty: str
    last_qty: str | UnsetType = UNSET
    last_price: str | UnsetType = UNSET
    fee: str | UnsetType = UNSET
    fee_asset: str | UnsetType = UNSET
    maker: bool | UnsetType = UNSET
    trade_id: int | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class BalanceEvent(StreamEvent, frozen=True, tag="balance"):
    """What the account has of the assets that the reports before this are about."""

    channel: str
    seq: int
    time: int
    balances: list[BalanceInfo]


class DepositEvent(StreamEvent, frozen=True, tag="deposit"):
    """A deposit was credited."""

    channel: str
    seq: int
    time: int
    deposit_id: str
    asset: str
    amount: str


class WithdrawalEvent(StreamEvent, frozen=True, tag="withdrawal"):
    """A withdrawal was requested, paid or given up: what happened to the money. Its way in between is not told."""

    channel: str
    seq: int
    time: int
    withdraw_order_id: str
    withdrawal_id: str
    asset: str
    address: str
    amount: str
    fee: str
    status: str


# ------------------------------------------------------------------------------------------------ without a channel


class MarketStatus(StreamEvent, frozen=True, tag="marketStatus"):
    """A market is in another state now; told to whoever has subscribed to any of its channels."""

    symbol: str
    status: str
    time: int


class Heartbeat(StreamEvent, frozen=True, tag="heartbeat"):
    """The exchange is there, and nothing was left out: once a second, to whoever has subscribed to anything."""

    time: int


class ServerShutdown(StreamEvent, frozen=True, tag="serverShutdown"):
    """The exchange stops; the connection ends as soon as what was asked is answered."""

    time: int


AnyEvent = (
    BookSnapshot
    | BookDelta
    | TradeEvent
    | TickerEvent
    | KlineEvent
    | ExecutionReport
    | BalanceEvent
    | DepositEvent
    | WithdrawalEvent
    | MarketStatus
    | Heartbeat
    | ServerShutdown
)

"""The lines of the wire: every request that comes in, every reply and event that goes out, and the errors. Pure.

One JSON object per line. What comes in is a tagged union of frozen structs that refuse what they do not know
(`actors.parameters` has what they carry). What goes out is encoded field by field in the order written here, so a reply
begins with `id` (or `status` where there was none), and an event with `event`; `actors.results` has what a reply says.

(msgspec drops class keywords in compiled modules, so this module stays uncompiled.)
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Final, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from actors.parameters import (
    AmendParams,
    AssetParams,
    BatchParams,
    CancelAllAfterParams,
    CancelAllParams,
    CancelParams,
    CancelReplaceParams,
    CandlesParams,
    ChannelsParams,
    DepthParams,
    FundsHistoryParams,
    HistoryParams,
    Id,
    LogonParams,
    MarketParams,
    NoParams,
    OpenOrdersParams,
    PlaceParams,
    RecentTradesParams,
    ResumeParams,
    StatusParams,
    WithdrawIdParams,
    WithdrawParams,
)
from actors.results import Result
from actors.stream_events import ServerShutdown
from book.codes import (
    CODE_NAMES,
    INVALID_SIGNATURE,
    REJECTED_KEY,
    SERVER_BUSY,
    SERVICE_SHUTTING_DOWN,
    TIMEOUT,
    TOO_MANY_CONNECTIONS,
    TOO_MANY_REQUESTS,
    TOO_MANY_SUBSCRIPTIONS,
    UNAUTHORIZED,
    UNKNOWN,
)

VERSION: Final = 1

MAX_LINE_BYTES: Final = 65_536  # without the line's end
FOK_WEIGHT: Final = 64
MAX_NESTING: Final = 64  # objects and arrays in each other; a request has four at most

# ------------------------------------------------------------------------------------------------------- requests, in


class _Request(Struct, frozen=True, gc=False, forbid_unknown_fields=True, kw_only=True, tag_field="method"):
    id: Id | UnsetType = UNSET

    # What its answer may take, in answers of one order: the measure of what a connection may have in flight.
    weight: ClassVar[int] = 1


class Ping(_Request, frozen=True, tag="ping"):
    """Is anybody there?"""

    params: NoParams = NoParams()


class Time(_Request, frozen=True, tag="time"):
    """What time is it?"""

    params: NoParams = NoParams()


class ExchangeInfo(_Request, frozen=True, tag="exchangeInfo"):
    """What can be traded, and by which rules?"""

    params: NoParams = NoParams()
    weight: ClassVar[int] = 64


class Logon(_Request, frozen=True, tag="session.logon"):
    """Speak for an account from now on."""

    params: LogonParams


class SessionStatus(_Request, frozen=True, tag="session.status"):
    """Who is logged on?"""

    params: NoParams = NoParams()


class Logout(_Request, frozen=True, tag="session.logout"):
    """Speak for nobody any more."""

    params: NoParams = NoParams()


class OrderPlace(_Request, frozen=True, tag="order.place"):
    """Enter an order."""

    params: PlaceParams


class OrderCancel(_Request, frozen=True, tag="order.cancel"):
    """Cancel an order."""

    params: CancelParams


class OrderAmend(_Request, frozen=True, tag="order.amend"):
    """Change an order."""

    params: AmendParams


class OrderCancelReplace(_Request, frozen=True, tag="order.cancelReplace"):
    """Cancel an order and enter another, or neither."""

    params: CancelReplaceParams


class OrderTest(_Request, frozen=True, tag="order.test"):
    """Would this order be accepted?"""

    params: PlaceParams


class OrderBatch(_Request, frozen=True, tag="order.batch"):
    """Place and cancel several orders. Each weighs as much as it would alone."""

    params: BatchParams


class OrderStatus(_Request, frozen=True, tag="order.status"):
    """How does an order stand?"""

    params: StatusParams


class OpenOrders(_Request, frozen=True, tag="openOrders.status"):
    """Which orders are open?"""

    params: OpenOrdersParams = OpenOrdersParams()
    weight: ClassVar[int] = 4_096  # there may be tens of thousands: one such list at a time


class CancelAll(_Request, frozen=True, tag="openOrders.cancelAll"):
    """Cancel what is open."""

    params: CancelAllParams = CancelAllParams()
    weight: ClassVar[int] = 512


class CancelAllAfter(_Request, frozen=True, tag="order.cancelAllAfter"):
    """Cancel what is open unless this is said again in time."""

    params: CancelAllAfterParams


class MyTrades(_Request, frozen=True, tag="myTrades"):
    """What did I trade?"""

    params: HistoryParams
    weight: ClassVar[int] = 256


class AllOrders(_Request, frozen=True, tag="allOrders"):
    """Which orders are and were there?"""

    params: HistoryParams
    weight: ClassVar[int] = 256


class AccountStatus(_Request, frozen=True, tag="account.status"):
    """What do I own?"""

    params: NoParams = NoParams()
    weight: ClassVar[int] = 8


class AccountCommission(_Request, frozen=True, tag="account.commission"):
    """What do I pay?"""

    params: MarketParams


class Depth(_Request, frozen=True, tag="depth"):
    """How does the book look?"""

    params: DepthParams
    weight: ClassVar[int] = 64


class RecentTrades(_Request, frozen=True, tag="trades.recent"):
    """What was traded last?"""

    params: RecentTradesParams
    weight: ClassVar[int] = 64


class DayTicker(_Request, frozen=True, tag="ticker.24hr"):
    """How did the last day go?"""

    params: MarketParams
    weight: ClassVar[int] = 8


class Candles(_Request, frozen=True, tag="klines"):
    """How did the price move?"""

    params: CandlesParams
    weight: ClassVar[int] = 64


class Subscribe(_Request, frozen=True, tag="subscribe"):
    """Follow these channels too."""

    params: ChannelsParams
    weight: ClassVar[int] = 16


class Unsubscribe(_Request, frozen=True, tag="unsubscribe"):
    """Follow these channels no more."""

    params: ChannelsParams
    weight: ClassVar[int] = 16


class Resume(_Request, frozen=True, tag="resume"):
    """Go on with a channel where it was left."""

    params: ResumeParams
    weight: ClassVar[int] = 16


class DepositAddress(_Request, frozen=True, tag="deposit.address"):
    """Where can I pay in?"""

    params: AssetParams


class DepositHistory(_Request, frozen=True, tag="deposit.history"):
    """What was paid in?"""

    params: FundsHistoryParams = FundsHistoryParams()
    weight: ClassVar[int] = 512


class WithdrawApply(_Request, frozen=True, tag="withdraw.apply"):
    """Pay out."""

    params: WithdrawParams


class WithdrawCancel(_Request, frozen=True, tag="withdraw.cancel"):
    """Do not pay out, if it is not signed yet."""

    params: WithdrawIdParams
    weight: ClassVar[int] = 64


class WithdrawStatus(_Request, frozen=True, tag="withdraw.status"):
    """How far is a withdrawal?"""

    params: WithdrawIdParams
    weight: ClassVar[int] = 64


class WithdrawHistory(_Request, frozen=True, tag="withdraw.history"):
    """What was to be paid out?"""

    params: FundsHistoryParams = FundsHistoryParams()
    weight: ClassVar[int] = 512


# What the engine alone cannot answer.
StoreRequest = DepositHistory | WithdrawCancel | WithdrawStatus | WithdrawHistory

Request = (
    Ping
    | Time
    | ExchangeInfo
    | Logon
    | SessionStatus
    | Logout
    | OrderPlace
    | OrderCancel
    | OrderAmend
    | OrderCancelReplace
    | OrderTest
    | OrderBatch
    | OrderStatus
    | OpenOrders
    | CancelAll
    | CancelAllAfter
    | MyTrades
    | AllOrders
    | AccountStatus
    | AccountCommission
    | DepositAddress
    | DepositHistory
    | WithdrawApply
    | WithdrawCancel
    | WithdrawStatus
    | WithdrawHistory
    | Depth
    | RecentTrades
    | DayTicker
    | Candles
    | Subscribe
    | Unsubscribe
    | Resume
)


_NEW_ORDERS: Final = (OrderPlace, OrderCancelReplace, OrderTest)


def weight_of(request: Request) -> int:
    """What a request counts for in what a connection has in flight.

    An order of all or nothing counts for more than its answer: it may have to look through a whole side of the book.
    """
    if isinstance(request, _NEW_ORDERS) and request.params.time_in_force == "FOK":
        return FOK_WEIGHT
    return request.weight


def logon_payload(api_key: str, nonce: str, timestamp: int) -> bytes:
    """What a logon signs: the key, this connection's nonce (so nothing can be replayed) and the time in ms."""
    return f"apiKey={api_key}&nonce={nonce}&timestamp={timestamp}".encode()


# --------------------------------------------------------------------------------------------------------- replies, out


# More rows than these make a long reply: so many take a few tenths of a millisecond.
SLICE_ROWS: Final = 256

_encode: Final = msgspec.json.Encoder().encode


class Reply(Struct, frozen=True, gc=False):
    """The answer to a request that was done."""

    id: int | str | UnsetType
    status: Literal[200]
    result: Result


class LongReply:
    """A reply whose result is one list, of so many rows that they are made and encoded a slice at a time.

    What the rows are was decided when the request was answered; only their making is put off.

    Args:
        empty: The reply without any rows.
        rows: What the rows are made of.
        make: Makes one.
    """

    __slots__ = ("_empty", "_make", "_rows", "id", "status")

    def __init__(self, empty: Reply, rows: Sequence[Any], make: Callable[[Any], object]) -> None:
        self.id = empty.id
        self.status = empty.status
        self._empty = empty
        self._rows = rows
        self._make = make

    def pieces(self) -> Iterator[bytes]:
        """The line's bytes, a slice of the rows at a time."""
        opening, _, closing = _encode(self._empty).rpartition(b"[]")
        opening += b"["
        for first in range(0, len(self._rows), SLICE_ROWS):
            rows = _encode([self._make(row) for row in self._rows[first : first + SLICE_ROWS]])
            yield opening + rows[1:-1]
            opening = b","
        yield b"]" + closing + b"\n"


class Refusal(Struct, frozen=True, gc=False):
    """The answer to a request that was not done, or whose outcome is unknown (-1007)."""

    id: int | str | UnsetType
    status: int
    error: "Error"


class Error(Struct, frozen=True, gc=False, rename="camel"):
    """What was wrong."""

    code: int
    name: str
    msg: str
    reason: str | UnsetType = UNSET
    order_id: int | UnsetType = UNSET  # the order that has the clientOrderId already
    retry_after: int | UnsetType = UNSET  # ms
    channel: str | UnsetType = UNSET  # that something is missing of


class Several(Result, frozen=True):
    """What became of each order of a batch, as it would have been answered alone and without an id."""

    results: list[Reply | Refusal]


# ---------------------------------------------------------------------------------------------------------- events, out


class Hello(Struct, frozen=True, gc=False, tag="hello", tag_field="event"):
    """The first line of every connection."""

    version: int
    nonce: str
    time: int


Line = Reply | LongReply | Refusal | Hello | ServerShutdown

encode_lines = msgspec.json.Encoder().encode_lines


# -------------------------------------------------------------------------------------------------------------- errors

# The status of every code that is not a plain 400.
STATUS: Final = {
    UNAUTHORIZED: 401,
    INVALID_SIGNATURE: 401,
    REJECTED_KEY: 403,
    TOO_MANY_REQUESTS: 429,
    TOO_MANY_CONNECTIONS: 429,
    TOO_MANY_SUBSCRIPTIONS: 429,
    SERVER_BUSY: 503,
    SERVICE_SHUTTING_DOWN: 503,
    UNKNOWN: 500,
    TIMEOUT: 500,
}


class RefusedError(Exception):
    """A request that the engine never sees. `message` is our own words, never the client's or a library's."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        reason: str | UnsetType = UNSET,
        request_id: int | str | UnsetType = UNSET,
        retry_after: int | UnsetType = UNSET,
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.reason = reason
        self.request_id = request_id
        self.retry_after = retry_after


def refusal(
    request_id: int | str | UnsetType,
    code: int,
    message: str,
    *,
    reason: str | UnsetType = UNSET,
    order_id: int | UnsetType = UNSET,
    retry_after: int | UnsetType = UNSET,
    channel: str | UnsetType = UNSET,
) -> Refusal:
    """The line that says no."""
    error = Error(code, CODE_NAMES[code], message, reason, order_id, retry_after, channel)
    return Refusal(request_id, STATUS.get(code, 400), error)

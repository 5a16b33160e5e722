"""The words of the wire: the shape of every line that comes in or goes out, and the errors. Pure.

One JSON object per line. Prices and quantities are decimal strings, times integer milliseconds. What comes in is a
tagged union of frozen structs that refuse what they do not know; the `description` of a parameter's type completes the
sentence '<name> must be ...', for errors and reference alike. What goes out is encoded field by field in the order
written here, so a reply begins with `id` (or `status` where there was none), and an event with `event`.

(msgspec drops class keywords in compiled modules, so this module stays uncompiled.)
"""

from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

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
from book.terms import MAX_INT

VERSION: Final = 1

MAX_LINE_BYTES: Final = 65_536  # without the line's end
MAX_NESTING: Final = 64  # objects and arrays in each other; a request has two
MAX_ID_CHARACTERS: Final = 36
MAX_DEPTH: Final = 5_000
DEFAULT_DEPTH: Final = 100
MAX_RECV_WINDOW_MS: Final = 60_000
DEFAULT_RECV_WINDOW_MS: Final = 5_000

# ------------------------------------------------------------------------------------------------- types of parameters

Id = Annotated[int, Meta(ge=-MAX_INT - 1, le=MAX_INT)] | Annotated[str, Meta(max_length=MAX_ID_CHARACTERS)]

# What msgspec cannot check as fast as we can; `actors.intake` does.
NUMBER_WORDS: Final = 'a decimal in a string, such as "12.5": no sign, no exponent, at most 40 characters'
CLIENT_ORDER_ID_WORDS: Final = "a string of 1 to 36 of the characters A-Z a-z 0-9 . _ : / -"

Symbol = Annotated[str, Meta(min_length=1, description="the name of a market, such as BTC-USDT")]
Side = Annotated[str, Meta(min_length=1, description="BUY or SELL")]
OrderType = Annotated[str, Meta(min_length=1, description="LIMIT or MARKET")]
TimeInForce = Annotated[str, Meta(min_length=1, description="GTC, IOC or FOK")]
SelfTradeMode = Annotated[
    str, Meta(min_length=1, description="NONE, EXPIRE_TAKER, EXPIRE_MAKER, EXPIRE_BOTH or DECREMENT")
]
Number = Annotated[str, Meta(min_length=1, description=NUMBER_WORDS)]
ClientOrderId = Annotated[str, Meta(min_length=1, max_length=36, description=CLIENT_ORDER_ID_WORDS)]
OrderId = Annotated[int, Meta(ge=1, le=MAX_INT, description="the id of an order, a positive integer")]
Timestamp = Annotated[int, Meta(ge=1, le=MAX_INT, description="a positive integer: milliseconds since 1970")]
RecvWindow = Annotated[
    int, Meta(ge=1, le=MAX_RECV_WINDOW_MS, description="an integer from 1 to 60000: milliseconds from timestamp on")
]
DepthLimit = Annotated[int, Meta(ge=1, le=MAX_DEPTH, description="an integer from 1 to 5000")]
Flag = Annotated[bool, Meta(description="true or false")]
KeyName = Annotated[
    str, Meta(min_length=1, max_length=64, description="the name of a key, a string of 1 to 64 characters")
]
Signature = Annotated[
    str, Meta(min_length=1, max_length=128, description="an Ed25519 signature, 64 bytes in base64 or hex")
]


class _Params(Struct, frozen=True, gc=False, forbid_unknown_fields=True, rename="camel"):
    """Parameters. An empty string or a zero as default means 'not given': no client can give just that."""


class NoParams(_Params, frozen=True):
    """Nothing."""


class LogonParams(_Params, frozen=True):
    """Which key speaks, proven by a signature over `logon_payload`."""

    api_key: KeyName
    timestamp: Timestamp = 0
    recv_window: RecvWindow = DEFAULT_RECV_WINDOW_MS
    signature: Signature = ""


class PlaceParams(_Params, frozen=True):
    """A new order. LIMIT takes quantity, price, timeInForce and postOnly; MARKET quantity or, to buy, quoteOrderQty."""

    symbol: Symbol
    side: Side
    type: OrderType
    quantity: Number = ""
    quote_order_qty: Number = ""  # the most that is spent, fee included
    price: Number = ""
    time_in_force: TimeInForce = ""  # GTC
    post_only: Flag = False
    client_order_id: ClientOrderId = ""  # made by the exchange
    self_trade_prevention_mode: SelfTradeMode = ""  # the market's
    timestamp: Timestamp = 0
    recv_window: RecvWindow = DEFAULT_RECV_WINDOW_MS


class CancelReplaceParams(PlaceParams, frozen=True):
    """A new order, and the one that it takes the place of, by either id."""

    cancel_order_id: OrderId = 0
    cancel_client_order_id: ClientOrderId = ""


class CancelParams(_Params, frozen=True):
    """One order, by either id."""

    symbol: Symbol
    order_id: OrderId = 0
    client_order_id: ClientOrderId = ""
    timestamp: Timestamp = 0
    recv_window: RecvWindow = DEFAULT_RECV_WINDOW_MS


class AmendParams(_Params, frozen=True):
    """One order, by either id, and what it is to want from now on."""

    symbol: Symbol
    order_id: OrderId = 0
    client_order_id: ClientOrderId = ""
    new_qty: Number = ""  # the new total, with what was executed
    new_price: Number = ""
    timestamp: Timestamp = 0
    recv_window: RecvWindow = DEFAULT_RECV_WINDOW_MS


class StatusParams(_Params, frozen=True):
    """One order, by either id."""

    symbol: Symbol
    order_id: OrderId = 0
    client_order_id: ClientOrderId = ""


class OpenOrdersParams(_Params, frozen=True):
    """The orders of one market, or of all."""

    symbol: Symbol = ""


class CancelAllParams(_Params, frozen=True):
    """The orders of one market, or of all."""

    symbol: Symbol = ""
    timestamp: Timestamp = 0
    recv_window: RecvWindow = DEFAULT_RECV_WINDOW_MS


class DepthParams(_Params, frozen=True):
    """The best price levels of one market."""

    symbol: Symbol
    limit: DepthLimit = DEFAULT_DEPTH


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


class OrderStatus(_Request, frozen=True, tag="order.status"):
    """How does an order stand?"""

    params: StatusParams


class OpenOrders(_Request, frozen=True, tag="openOrders.status"):
    """Which orders are open?"""

    params: OpenOrdersParams = OpenOrdersParams()
    weight: ClassVar[int] = 512


class CancelAll(_Request, frozen=True, tag="openOrders.cancelAll"):
    """Cancel what is open."""

    params: CancelAllParams = CancelAllParams()
    weight: ClassVar[int] = 512


class AccountStatus(_Request, frozen=True, tag="account.status"):
    """What do I own?"""

    params: NoParams = NoParams()
    weight: ClassVar[int] = 8


class Depth(_Request, frozen=True, tag="depth"):
    """How does the book look?"""

    params: DepthParams
    weight: ClassVar[int] = 64


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
    | OrderStatus
    | OpenOrders
    | CancelAll
    | AccountStatus
    | Depth
)


def logon_payload(api_key: str, nonce: str, timestamp: int) -> bytes:
    """What a logon signs: the key, this connection's nonce (so nothing can be replayed) and the time in ms."""
    return f"apiKey={api_key}&nonce={nonce}&timestamp={timestamp}".encode()


# ------------------------------------------------------------------------------------------------------- replies, out


class Reply(Struct, frozen=True, gc=False):
    """The answer to a request that was done; `result` is one of the structs below."""

    id: int | str | UnsetType
    status: Literal[200]
    result: Struct


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


class _Result(Struct, frozen=True, gc=False, rename="camel"):
    pass


class Nothing(_Result, frozen=True):
    """Done, and nothing to say about it."""


class ServerTime(_Result, frozen=True):
    """The time, in ms since 1970."""

    server_time: int


class AssetInfo(_Result, frozen=True):
    """An asset; amounts of it have `decimals` decimals."""

    asset: str
    decimals: int


class SymbolInfo(_Result, frozen=True):
    """A market's rules. Fees are decimal fractions of the notional."""

    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    tick_size: str
    lot_size: str
    min_qty: str
    max_qty: str
    min_notional: str
    max_open_orders: int
    maker_fee: str
    taker_fee: str
    self_trade_prevention_mode: str


class Exchange(_Result, frozen=True):
    """What can be traded."""

    assets: list[AssetInfo]
    symbols: list[SymbolInfo]


class LoggedOn(_Result, frozen=True):
    """Who speaks on this connection, may do what, and since when (ms since 1970)."""

    account: int
    permissions: list[str]
    since: int


class Fill(_Result, frozen=True):
    """One trade of an order that was just placed."""

    price: str
    qty: str
    fee: str
    fee_asset: str
    trade_id: int


class Placed(_Result, frozen=True):
    """What became of a new order at once; `seq` is its place in the request log."""

    order_id: int
    client_order_id: str
    symbol: str
    status: str
    executed_qty: str
    cum_quote_qty: str
    fills: list[Fill]
    transact_time: int
    seq: int


class Order(_Result, frozen=True):
    """An order as it stands."""

    order_id: int
    client_order_id: str
    symbol: str
    side: str
    type: str
    time_in_force: str
    price: str
    orig_qty: str
    executed_qty: str
    cum_quote_qty: str
    status: str
    time: int
    update_time: int


class Replaced(_Result, frozen=True):
    """The order that was cancelled, as it ended, and what became of the new one."""

    canceled: Order
    placed: Placed


class Orders(_Result, frozen=True):
    """Orders, oldest first."""

    orders: list[Order]


class CanceledAll(_Result, frozen=True):
    """How many orders were cancelled."""

    canceled: int


class BalanceInfo(_Result, frozen=True):
    """What is owned of one asset: free to use, and locked by orders."""

    asset: str
    free: str
    locked: str


class Account(_Result, frozen=True):
    """What is owned."""

    balances: list[BalanceInfo]


class Levels(_Result, frozen=True):
    """Price levels, best first, as (price, quantity); `seq` counts the changes of this book."""

    symbol: str
    seq: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


# -------------------------------------------------------------------------------------------------------- events, out


class Hello(Struct, frozen=True, gc=False, tag="hello", tag_field="event"):
    """The first line of every connection."""

    version: int
    nonce: str
    time: int


Line = Reply | Refusal | Hello

encode_lines = msgspec.json.Encoder().encode_lines


# -------------------------------------------------------------------------------------------------------------- errors

# The status of every code that is not a plain 400.
_STATUS: Final = {
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
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.reason = reason
        self.request_id = request_id


def refusal(
    request_id: int | str | UnsetType,
    code: int,
    message: str,
    *,
    reason: str | UnsetType = UNSET,
    order_id: int | UnsetType = UNSET,
    retry_after: int | UnsetType = UNSET,
) -> Refusal:
    """The line that says no."""
    error = Error(code, CODE_NAMES[code], message, reason, order_id, retry_after)
    return Refusal(request_id, _STATUS.get(code, 400), error)

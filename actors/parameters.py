"""What a client may say with a method: the types of its parameters, and which it takes. Pure.

A parameter's type checks what the decoder can check at no cost; its `description` completes the sentence '<name> must
be ...', for errors and reference alike. What takes more than that (decimals, alphabets, what goes with what) is for
`actors.intake`.

(msgspec drops class keywords in compiled modules, so this module stays uncompiled.)
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Raw, Struct

from book.decimals import MAX_CHARACTERS
from book.history import INTERVALS
from book.terms import MAX_INT, ORDER_TYPES, SELF_TRADE_MODES, SIDES, TIMES_IN_FORCE

MAX_ID_CHARACTERS: Final = 36
MAX_DEPTH: Final = 5_000
DEFAULT_DEPTH: Final = 100
MAX_TRADES: Final = 5_000
DEFAULT_TRADES: Final = 100
MAX_ROWS: Final = 1_000
DEFAULT_ROWS: Final = 500
MAX_BATCH_ORDERS: Final = 50
MAX_CHANNELS: Final = 200
MAX_CHANNEL_CHARACTERS: Final = 64
MAX_CANCEL_AFTER_MS: Final = 86_400_000
MAX_RECV_WINDOW_MS: Final = 60_000
DEFAULT_RECV_WINDOW_MS: Final = 5_000

INTERVALS_NS: Final = {name: interval_ns for interval_ns, name in INTERVALS.items()}

_MAX_INT: Final = 2**63 - 1  # of JSON: what a signed 64-bit integer holds
_MAX_MS: Final = MAX_INT // 1_000_000  # the engine counts nanoseconds, and no further than its own largest integer

# ------------------------------------------------------------------------------------------------------- types of them

Id = Annotated[int, Meta(ge=-(2**63), le=_MAX_INT)] | Annotated[str, Meta(max_length=MAX_ID_CHARACTERS)]

# What msgspec cannot check as fast as we can; `actors.intake` does, and the JSON Schema says it.
NUMBER_WORDS: Final = 'a decimal in a string, such as "12.5": no sign, no exponent, at most 40 characters'
CLIENT_ORDER_ID_WORDS: Final = "a string of 1 to 36 of the characters A-Z a-z 0-9 . _ : / -"

Symbol = Annotated[str, Meta(min_length=1, description="the name of a market, such as BTC-USDT")]
Side = Annotated[str, Meta(min_length=1, description="BUY or SELL", extra_json_schema={"enum": list(SIDES.values())})]
OrderType = Annotated[
    str,
    Meta(
        min_length=1,
        description="LIMIT, MARKET, STOP_LOSS, STOP_LOSS_LIMIT, TAKE_PROFIT or TAKE_PROFIT_LIMIT",
        extra_json_schema={"enum": list(ORDER_TYPES.values())},
    ),
]
TimeInForce = Annotated[
    str,
    Meta(
        min_length=1,
        description="GTC, IOC, FOK or GTD",
        extra_json_schema={"enum": list(TIMES_IN_FORCE.values())},
    ),
]
SelfTradeMode = Annotated[
    str,
    Meta(
        min_length=1,
        description="NONE, EXPIRE_TAKER, EXPIRE_MAKER, EXPIRE_BOTH or DECREMENT",
        extra_json_schema={"enum": list(SELF_TRADE_MODES.values())},
    ),
]
Number = Annotated[
    str,
    Meta(
        min_length=1,
        description=NUMBER_WORDS,
        extra_json_schema={"pattern": r"^[0-9]+(\.[0-9]+)?$", "maxLength": MAX_CHARACTERS},
    ),
]
ClientOrderId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=36,
        description=CLIENT_ORDER_ID_WORDS,
        extra_json_schema={"pattern": "^[A-Za-z0-9._:/-]+$"},
    ),
]
OrderId = Annotated[int, Meta(ge=1, le=_MAX_INT, description="the id of an order, a positive integer")]
FromId = Annotated[int, Meta(ge=1, le=_MAX_INT, description="an id, a positive integer")]
WithdrawOrderId = Annotated[str, Meta(min_length=1, max_length=36, description=CLIENT_ORDER_ID_WORDS)]
AssetName = Annotated[str, Meta(min_length=1, max_length=16, description="the name of an asset, such as BTC")]
ChainAddress = Annotated[
    str,
    Meta(min_length=1, max_length=128, description="an address of the asset's chain, a string of 1 to 128 characters"),
]
Timestamp = Annotated[int, Meta(ge=1, le=_MAX_INT, description="a positive integer: milliseconds since 1970")]
Moment = Annotated[
    int, Meta(ge=1, le=_MAX_MS, description="an integer from 1 to 4611686018427: milliseconds since 1970")
]
RecvWindow = Annotated[
    int, Meta(ge=1, le=MAX_RECV_WINDOW_MS, description="an integer from 1 to 60000: milliseconds from timestamp on")
]
CancelAfter = Annotated[
    int, Meta(ge=0, le=MAX_CANCEL_AFTER_MS, description="an integer from 0 to 86400000: milliseconds")
]
DepthLimit = Annotated[int, Meta(ge=1, le=MAX_DEPTH, description="an integer from 1 to 5000")]
TradesLimit = Annotated[int, Meta(ge=1, le=MAX_TRADES, description="an integer from 1 to 5000")]
RowsLimit = Annotated[int, Meta(ge=1, le=MAX_ROWS, description="an integer from 1 to 1000")]
Interval = Annotated[Literal["1m", "5m", "15m", "1h", "4h", "1d"], Meta(description="1m, 5m, 15m, 1h, 4h or 1d")]
Flag = Annotated[bool, Meta(description="true or false")]
KeyName = Annotated[
    str, Meta(min_length=1, max_length=64, description="the name of a key, a string of 1 to 64 characters")
]
Signature = Annotated[
    str, Meta(min_length=1, max_length=128, description="an Ed25519 signature, 64 bytes in base64 or hex")
]
ChannelName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_CHANNEL_CHARACTERS,
        description="the name of a channel, such as book:BTC-USDT, kline_1m:BTC-USDT or user",
    ),
]
Channels = Annotated[
    list[ChannelName],
    Meta(
        min_length=1, max_length=MAX_CHANNELS, description="a list of 1 to 200 names of channels, such as book:BTC-USDT"
    ),
]
FromSeq = Annotated[int, Meta(ge=1, le=_MAX_INT, description="the number of an event, a positive integer")]
# Read one by one, so that a bad one costs only itself.
BatchOrders = Annotated[
    list[Raw],
    Meta(
        min_length=1,
        max_length=MAX_BATCH_ORDERS,
        description="a list of 1 to 50 objects, each the parameters of order.place or order.cancel",
    ),
]

# -------------------------------------------------------------------------------------------------- who takes what


class Params(Struct, frozen=True, gc=False, forbid_unknown_fields=True, rename="camel"):
    """Parameters. An empty string or a zero as default means 'not given': no client can give just that."""


class NoParams(Params, frozen=True):
    """Nothing."""


class LogonParams(Params, frozen=True):
    """Which key speaks, proven by a signature over `wire.logon_payload`, and what becomes of its orders afterwards."""

    api_key: KeyName
    timestamp: Timestamp = 0
    recv_window: RecvWindow = DEFAULT_RECV_WINDOW_MS
    signature: Signature = ""
    cancel_on_disconnect: Flag = False


class PlaceParams(Params, frozen=True):
    """A new order. What each type takes is in docs/engine.md."""

    symbol: Symbol
    side: Side
    type: OrderType
    quantity: Number = ""
    quote_order_qty: Number = ""  # the most that is spent, fee included
    price: Number = ""
    stop_price: Number = ""
    time_in_force: TimeInForce = ""  # GTC
    expire_time: Moment = 0
    post_only: Flag = False
    display_qty: Number = ""
    client_order_id: ClientOrderId = ""  # made by the exchange
    self_trade_prevention_mode: SelfTradeMode = ""  # the market's
    timestamp: Timestamp = 0
    recv_window: RecvWindow = DEFAULT_RECV_WINDOW_MS


class CancelReplaceParams(PlaceParams, frozen=True):
    """A new order, and the one that it takes the place of, by either id."""

    cancel_order_id: OrderId = 0
    cancel_client_order_id: ClientOrderId = ""


class CancelParams(Params, frozen=True):
    """One order, by either id."""

    symbol: Symbol
    order_id: OrderId = 0
    client_order_id: ClientOrderId = ""
    timestamp: Timestamp = 0
    recv_window: RecvWindow = DEFAULT_RECV_WINDOW_MS


class AmendParams(Params, frozen=True):
    """One order, by either id, and what it is to want from now on."""

    symbol: Symbol
    order_id: OrderId = 0
    client_order_id: ClientOrderId = ""
    new_qty: Number = ""  # the new total, with what was executed
    new_price: Number = ""
    timestamp: Timestamp = 0
    recv_window: RecvWindow = DEFAULT_RECV_WINDOW_MS


class BatchParams(Params, frozen=True):
    """Orders to place and to cancel, in this order."""

    orders: BatchOrders


class CancelAllParams(Params, frozen=True):
    """The orders of one market, or of all."""

    symbol: Symbol = ""
    timestamp: Timestamp = 0
    recv_window: RecvWindow = DEFAULT_RECV_WINDOW_MS


class CancelAllAfterParams(Params, frozen=True):
    """How long the account's orders may stay without another word; 0: for ever."""

    timeout_ms: CancelAfter
    timestamp: Timestamp = 0
    recv_window: RecvWindow = DEFAULT_RECV_WINDOW_MS


class StatusParams(Params, frozen=True):
    """One order, by either id."""

    symbol: Symbol
    order_id: OrderId = 0
    client_order_id: ClientOrderId = ""


class OpenOrdersParams(Params, frozen=True):
    """The orders of one market, or of all."""

    symbol: Symbol = ""


class HistoryParams(Params, frozen=True):
    """The latest of one market, or those from an id on."""

    symbol: Symbol
    from_id: FromId = 0
    limit: RowsLimit = DEFAULT_ROWS


class AssetParams(Params, frozen=True):
    """One asset."""

    asset: AssetName


class FundsHistoryParams(Params, frozen=True):
    """The latest of one asset, or of all."""

    asset: AssetName = ""
    limit: RowsLimit = DEFAULT_ROWS


class WithdrawParams(Params, frozen=True):
    """A withdrawal. The asset's fee comes on top of the amount."""

    asset: AssetName
    address: ChainAddress
    amount: Number
    withdraw_order_id: WithdrawOrderId
    timestamp: Timestamp = 0
    recv_window: RecvWindow = DEFAULT_RECV_WINDOW_MS


class WithdrawIdParams(Params, frozen=True):
    """One withdrawal."""

    withdraw_order_id: WithdrawOrderId


class MarketParams(Params, frozen=True):
    """One market."""

    symbol: Symbol


class DepthParams(Params, frozen=True):
    """The best price levels of one market."""

    symbol: Symbol
    limit: DepthLimit = DEFAULT_DEPTH


class RecentTradesParams(Params, frozen=True):
    """The latest trades of one market."""

    symbol: Symbol
    limit: TradesLimit = DEFAULT_TRADES


class ChannelsParams(Params, frozen=True):
    """Channels, by name."""

    channels: Channels


class ResumeParams(Params, frozen=True):
    """A channel, and the number of the first event that is wanted."""

    channel: ChannelName
    from_seq: FromSeq


class CandlesParams(Params, frozen=True):
    """The latest candles of one market, of those that open between two moments."""

    symbol: Symbol
    interval: Interval
    start_time: Moment = 0
    end_time: Moment = 0
    limit: RowsLimit = DEFAULT_ROWS

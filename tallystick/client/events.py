"""What the exchange tells without being asked, as frozen values; numbers and times as in `results`.

An event of a kind that this version does not know is passed over.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Final, get_args

import msgspec
from msgspec import Struct

from tallystick.client.errors import BadReply
from tallystick.client.results import BalanceInfo, Level


class Event(Struct, frozen=True, rename="camel", tag_field="event"):
    """Of any kind."""


class ChannelEvent(Event, frozen=True, kw_only=True):
    """One of a channel, which counts its events by `seq`; 0 for one that is not counted."""

    channel: str
    time: int
    seq: int = 0


class BookSnapshot(ChannelEvent, frozen=True, tag="book.snapshot"):
    """The whole book as the channel shows it."""

    symbol: str
    first_seq: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


class BookDelta(ChannelEvent, frozen=True, tag="book.delta"):
    """What changed from `first_seq` to `seq`: the new quantity of each level, zero for one that is gone."""

    symbol: str
    first_seq: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


class TradeEvent(ChannelEvent, frozen=True, tag="trade"):
    """A trade, as everybody sees it; `side` is the taker's."""

    symbol: str
    trade_id: int
    price: Decimal
    qty: Decimal
    side: str


class TickerEvent(ChannelEvent, frozen=True, tag="ticker"):
    """What happened in a market from `open_time` to `close_time`, in 24 hours."""

    symbol: str
    open: Decimal
    high: Decimal
    low: Decimal
    last: Decimal
    volume: Decimal
    quote_volume: Decimal
    count: int
    open_time: int
    close_time: int


class KlineEvent(ChannelEvent, frozen=True, tag="kline"):
    """A candle as it stands; once `closed` it changes no more."""

    symbol: str
    interval: str
    open_time: int
    close_time: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    count: int
    closed: bool


class ExecutionReport(ChannelEvent, frozen=True, tag="executionReport"):
    """Something happened to an order of one's own; this is how it stands then."""

    exec_type: str
    status: str
    symbol: str
    side: str
    type: str
    time_in_force: str
    price: Decimal
    orig_qty: Decimal
    cum_qty: Decimal
    cum_quote_qty: Decimal
    leaves_qty: Decimal
    order_id: int | None = None
    client_order_id: str | None = None
    stop_price: Decimal | None = None
    last_qty: Decimal | None = None
    last_price: Decimal | None = None
    fee: Decimal | None = None
    fee_asset: str | None = None
    maker: bool | None = None
    trade_id: int | None = None
    reason: str | None = None


class BalanceEvent(ChannelEvent, frozen=True, tag="balance"):
    """What the account has of the assets that the reports before this are about."""

    balances: tuple[BalanceInfo, ...]


class DepositEvent(ChannelEvent, frozen=True, tag="deposit"):
    """A deposit was credited."""

    deposit_id: str
    asset: str
    amount: Decimal


class WithdrawalEvent(ChannelEvent, frozen=True, tag="withdrawal"):
    """A withdrawal is HELD for, SETTLED (paid) or RELEASED, which gives the money back."""

    withdraw_order_id: str
    withdrawal_id: str
    asset: str
    address: str
    amount: Decimal
    fee: Decimal
    status: str


class MarketStatus(Event, frozen=True, tag="marketStatus"):
    """A market takes something else from now on."""

    symbol: str
    status: str
    time: int = 0


class ServerShutdown(Event, frozen=True, tag="serverShutdown"):
    """The exchange is about to stop."""

    time: int = 0


class Heartbeat(Event, frozen=True, tag="heartbeat"):
    """Nothing else happened for a while."""

    time: int = 0


UserEvent = ExecutionReport | BalanceEvent | DepositEvent | WithdrawalEvent
Notice = MarketStatus | ServerShutdown

AnyEvent = BookSnapshot | BookDelta | TradeEvent | TickerEvent | KlineEvent | UserEvent | Notice | Heartbeat


class _Name(Struct, frozen=True):
    event: str


_KNOWN: Final = {kind.__struct_config__.tag for kind in get_args(AnyEvent)}
_read_name: Callable[[bytes], _Name] = msgspec.json.Decoder(_Name).decode
_read: Callable[[bytes], AnyEvent] = msgspec.json.Decoder(AnyEvent).decode


def read_event(line: bytes) -> AnyEvent | None:
    """The event on this line; None for a kind that is new. Raises BadReply."""
    try:
        return _read(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if not isinstance(error, msgspec.ValidationError) or _read_name(line).event in _KNOWN:
            raise BadReply(f"not an event of this protocol: {error}") from error
        return None

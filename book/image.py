"""The engine's whole state as plain data: what a dump holds, and nothing that can be derived from it.

An image is a msgpack array of arrays of integers, strings and bytes, and canonical: one state has exactly one image.
Only what the fields below say is read back; everything else (indexes, links, summaries, caches) is built anew. Field
order is the format: append, and raise VERSION. (Uncompiled, as is every module that defines structs.)
"""

from typing import Annotated, Final

from msgspec import DecodeError, Meta, Struct
from msgspec.msgpack import Decoder, Encoder

from book.definitions import Account, Asset, Key, Market
from book.events import Adjusted, Credited, OrderView, Trade, Withdrawal
from book.queries import Candle
from book.terms import MAX_INT, PPM

VERSION: Final = 2

_Count = Annotated[int, Meta(ge=0, le=MAX_INT)]
_Code = Annotated[int, Meta(ge=0, le=255)]
_Rate = Annotated[int, Meta(ge=-PPM, le=PPM)]


class _Image(Struct, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    pass


class OrderImage(_Image, frozen=True):
    """An open order; its market and its place in the queue follow from where it stands."""

    account: _Count
    order_id: _Count
    client_order_id: str
    side: _Code
    type: _Code
    time_in_force: _Code
    price: _Count
    quantity: _Count
    post_only: bool
    self_trade: _Code
    session: _Count
    executed: _Count
    executed_quote: _Count
    status: _Code
    created_ns: _Count
    updated_ns: _Count
    maker_rate: _Rate
    taker_rate: _Rate
    ahead: _Count
    stop_price: _Count
    expire_time: _Count
    display_quantity: _Count
    hidden: _Count


class TradeImage(_Image, frozen=True):
    """A trade as it is remembered, once for its market and both accounts."""

    trade: Trade
    time_ns: _Count
    maker_client_order_id: str
    taker_client_order_id: str


class MarketImage(_Image, frozen=True):
    """A market. Each side is in the order in which it trades: best price first, then by the queue."""

    definition: Market
    state: _Code
    halted_until_ns: _Count
    book_seq: _Count
    last_trade_id: _Count
    last_price: _Count
    bids: list[OrderImage]
    asks: list[OrderImage]
    stops: list[OrderImage]  # waiting: those for a rise, then those for a fall, the next to be reached first
    triggered: list[OrderImage]  # to enter when the market trades again, in this order
    fee_tiers: list[tuple[_Code, _Rate, _Rate]]  # tier, maker's rate, taker's rate; by tier
    trades: list[TradeImage]  # oldest first
    candles: list[list[Candle]]  # of each interval, oldest first


class AccountImage(_Image, frozen=True):
    """An account and its memories, oldest first."""

    definition: Account
    cancel_all_due_ns: _Count
    finished_ids: list[tuple[str, int]]  # client order id, order id
    finished_orders: list[OrderView]
    tier: _Code
    frozen: bool
    trades: list[TradeImage]
    user_seq: _Count


class EngineImage(_Image, frozen=True):
    """All of it. Lists are in the order of definition; balances by asset, then account."""

    version: int
    last_seq: _Count
    last_time_ns: _Count
    last_order_id: _Count
    digest_chain: bytes
    digest_rest: bytes
    assets: list[Asset]
    accounts: list[AccountImage]
    keys: list[Key]
    balances: list[tuple[int, str, _Count, _Count]]  # account, asset, available, held
    deposits: list[Credited]
    markets: list[MarketImage]
    armed_sessions: list[tuple[_Count, _Count]]  # session, account, in the order of arming
    engine_version: _Code
    revoked_keys: list[int]
    frozen_assets: list[str]
    adjustments: list[Adjusted]
    addresses: list[tuple[str, list[_Count]]]  # by chain, in the order of the first: whose each index is
    withdrawals: list[Withdrawal]  # in the order in which they were held for
    withdrawals_paused: bool
    epochs: list[tuple[_Count, _Count]]  # those behind the first: number, first sequence number


_encoder: Final = Encoder()
_decoder: Final = Decoder(EngineImage)


def encode(image: EngineImage) -> bytes:
    """The image as bytes."""
    return _encoder.encode(image)


def decode(data: bytes) -> EngineImage:
    """The image in these bytes; whether its parts fit together is for who restores it to see.

    Raises:
        ValueError: the bytes are no image of this version.
    """
    try:
        image = _decoder.decode(data)
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not an engine's state: {error}") from error
    if image.version != VERSION:
        raise ValueError(f"an engine image of version {image.version}; this engine reads version {VERSION}")
    return image

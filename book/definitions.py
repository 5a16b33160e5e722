"""What an exchange is made of, as it is defined once and logged: assets, markets, accounts, keys.

All are frozen; the engine, the wire and the tools share the very same objects. Numbers are integers in the units said
beside each field. (msgspec drops class keywords in compiled modules, so this module stays uncompiled.)
"""

from msgspec import Struct


class Asset(Struct, frozen=True, gc=False, array_like=True):
    """Something that can be owned. One engine unit is 10**-scale of it."""

    name: str
    scale: int  # 0..9
    chain: str = ""  # where it comes from and goes to; empty: it does neither
    withdrawal_fee: int = 0  # engine units, beside what is withdrawn
    min_withdrawal: int = 0  # engine units


class Market(Struct, frozen=True, gc=False, array_like=True):
    """A pair of assets that can be exchanged, with its price grid, filters and fees.

    One tick is tick / 10**tick_scale whole quote assets per whole base asset; one lot is `lot` engine units of the
    base asset. A trade of `lots` at `ticks` is worth ticks * lots * tick_value engine units of the quote asset, and a
    market whose tick_value is not a whole number is refused.
    """

    symbol: str
    base: str
    quote: str
    tick: int
    tick_scale: int  # 0..18
    lot: int  # base engine units
    min_quantity: int  # lots
    max_quantity: int  # lots
    min_notional: int  # quote engine units
    max_open_orders: int  # per account
    maker_fee: int  # parts per million of the notional
    taker_fee: int  # parts per million of the notional
    collar: int  # how far a market order may go from the best opposite price, parts per million
    self_trade: int  # the default of terms.SELF_TRADE_MODES
    reference_price: int = 0  # ticks; where the band is before the first trade; 0: nowhere
    band: int = 0  # how far from the last price it trades, parts per million; 0: any far
    halt_ms: int = 0  # how long it halts at the band's end; 0: until an operator resumes it


class Account(Struct, frozen=True, gc=False, array_like=True):
    """Whoever owns balances and orders. Account 0 is the house."""

    account: int
    name: str


class Key(Struct, frozen=True, gc=False, array_like=True):
    """An API key. `public_key` is hex Ed25519, 64 characters.

    `networks` are the addresses it may be used from: IPv4 and IPv6 networks with a comma between, the latter with all
    their digits (192.0.2.0/24, 2001:0db8:0000:0000:0000:0000:0000:0001/128); none: from anywhere.
    """

    key: int
    name: str
    account: int
    permissions: int  # bits of terms.PERMISSIONS
    public_key: str
    networks: str = ""

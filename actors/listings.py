"""Assets, markets, accounts and keys in people's words, and the definitions these become.

The configuration file's tables and the operators' commands say the same words: quantities, prices and fees are decimal
text, accounts and permissions have names. What a definition may be is the engine's to judge; here it only has to be
understood.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from attrs import NOTHING, field, fields, frozen
from attrs.validators import ge, le

from actors.networks import network_of
from book.decimals import NotADecimal, TooPrecise, parse_units
from book.definitions import Asset, Key, Market
from book.registry import MAX_SCALE
from book.terms import PERMISSIONS, SELF_TRADE_MODES

T = TypeVar("T")

SHARE_SCALE: Final = 6  # fees and other shares are parts per million
INTEGER_DIGITS: Final = 19  # of a 64-bit number


class WordsError(ValueError):
    """These words are not understood: the key, and what is expected of it."""


@frozen(kw_only=True)
class AssetWords:
    """An asset: `scale` is its number of decimals. Where it has a chain, it comes from there and goes there."""

    name: str
    scale: int = field(validator=[ge(0), le(MAX_SCALE)])
    chain: str = ""
    withdrawal_fee: str = "0"
    min_withdrawal: str = "0"


@frozen(kw_only=True)
class MarketWords:
    """A market: prices and amounts in whole quote assets, quantities in whole base assets, fees as fractions."""

    symbol: str
    tick: str
    lot: str
    min_quantity: str
    max_quantity: str
    min_notional: str
    max_open_orders: int = 200
    maker_fee: str
    taker_fee: str
    collar: str = "0.1"
    self_trade: str = "EXPIRE_TAKER"
    reference_price: str = "0"
    band: str = "0"
    halt_ms: int = 0


@frozen(kw_only=True)
class AccountWords:
    """An account. The id is for ever: it is in the log."""

    id: int
    name: str


@frozen(kw_only=True)
class KeyWords:
    """A key: who may act for an account, and from where. `public_key` is hex Ed25519."""

    id: int
    name: str
    account: str
    permissions: tuple[str, ...]
    public_key: str
    networks: tuple[str, ...] = ()


def spoken(kind: type[T], texts: Mapping[str, str]) -> T:
    """These words, each given as text: integers in digits, lists with commas.

    Raises:
        WordsError: one of them is not understood, or out of range.
    """
    values: dict[str, Any] = {}
    for attribute in fields(kind):  # type: ignore[arg-type]  # one of the classes above
        text = texts.get(attribute.name)
        if text is None:
            if attribute.default is NOTHING:
                raise WordsError(f"{attribute.name}: it is missing")
        elif attribute.type is int:
            values[attribute.name] = whole(text, attribute.name)
        else:
            values[attribute.name] = text if attribute.type is str else tuple(text.split(","))
    try:
        return kind(**values)
    except ValueError as error:  # a validator's, which names the key
        raise WordsError(str(error.args[0])) from None


def asset_of(words: AssetWords) -> Asset:
    """The asset. Raises WordsError: a word is not understood."""
    return Asset(
        words.name,
        words.scale,
        words.chain,
        units(words.withdrawal_fee, words.scale, "withdrawal_fee"),
        units(words.min_withdrawal, words.scale, "min_withdrawal"),
    )


def market_of(words: MarketWords, scales: Mapping[str, int]) -> Market:
    """The market, where `scales` are the assets' numbers of decimals.

    Raises:
        WordsError: a word is not understood.
    """
    base, dash, quote = words.symbol.partition("-")
    if not dash or base not in scales or quote not in scales:
        raise WordsError(
            f"symbol: expected two assets with a dash between, such as BTC-USDT, not {words.symbol!r}; known are "
            + ", ".join(scales)
        )
    tick_scale = len(words.tick.partition(".")[2].rstrip("0"))
    tick = units(words.tick, tick_scale, "tick")
    lot = units(words.lot, scales[base], "lot")
    return Market(
        symbol=words.symbol,
        base=base,
        quote=quote,
        tick=tick,
        tick_scale=tick_scale,
        lot=lot,
        min_quantity=_steps(words.min_quantity, scales[base], lot, "min_quantity", "lots"),
        max_quantity=_steps(words.max_quantity, scales[base], lot, "max_quantity", "lots"),
        min_notional=units(words.min_notional, scales[quote], "min_notional"),
        max_open_orders=words.max_open_orders,
        maker_fee=rate(words.maker_fee, "maker_fee"),
        taker_fee=units(words.taker_fee, SHARE_SCALE, "taker_fee"),
        collar=units(words.collar, SHARE_SCALE, "collar"),
        self_trade=_code(words.self_trade, SELF_TRADE_MODES, "self_trade"),
        reference_price=_steps(words.reference_price, tick_scale, tick, "reference_price", "ticks"),
        band=units(words.band, SHARE_SCALE, "band"),
        halt_ms=words.halt_ms,
    )


def key_of(words: KeyWords, accounts: Mapping[str, int]) -> Key:
    """The key, where `accounts` are the accounts' numbers.

    Raises:
        WordsError: a word is not understood.
    """
    if words.account not in accounts:
        raise WordsError(f"account: there is no account {words.account!r:.80}")
    permissions = 0
    for name in words.permissions:
        permissions |= _code(name, PERMISSIONS, "permissions")
    networks = ",".join(_network(text) for text in words.networks)
    return Key(words.id, words.name, accounts[words.account], permissions, words.public_key, networks)


def units(text: str, scale: int, key: str) -> int:
    """A decimal as a whole number of 10**-scale. Raises WordsError."""
    try:
        return parse_units(text, scale)
    except NotADecimal:
        raise WordsError(f"{key}: expected a decimal such as '0.01', not {text!r:.50}") from None
    except TooPrecise:
        raise WordsError(f"{key}: {text!r} has more than {scale} decimals") from None


def rate(text: str, key: str) -> int:
    """A fee in parts per million; with a minus in front it is a rebate. Raises WordsError."""
    return -units(text[1:], SHARE_SCALE, key) if text.startswith("-") else units(text, SHARE_SCALE, key)


def whole(text: str, key: str) -> int:
    """A number of digits alone. Raises WordsError."""
    if not (text.isascii() and text.isdecimal() and len(text) <= INTEGER_DIGITS):
        raise WordsError(f"{key}: expected a whole number, not {text!r:.50}")
    return int(text)


def _network(text: str) -> str:
    """An address or a network, in its one form."""
    try:
        return network_of(text).exploded
    except ValueError:
        raise WordsError(
            "networks: expected an address such as '192.0.2.7', or a network such as '192.0.2.0/24' without bits "
            f"behind its prefix, not {text!r:.50}"
        ) from None


def _steps(text: str, scale: int, step: int, key: str, name: str) -> int:
    steps, rest = divmod(units(text, scale, key), max(1, step))
    if rest:
        raise WordsError(f"{key}: {text!r} is no whole number of {name}")
    return steps


def _code(name: str, names: Mapping[int, str], key: str) -> int:
    for code, known in names.items():
        if known == name:
            return code
    raise WordsError(f"{key}: {name!r:.50} is none of {', '.join(names.values())}")

"""Loading a tallystick.toml: every key known, every value checked, every error one line that says where.

The file is written for people: quantities, prices and fees are decimal strings, accounts and permissions have names.
Each part of the program owns its frozen config class and its ranges; here the file's words only become those.
"""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeVar

from attrs import Attribute, Factory, field, fields, frozen
from attrs.validators import ge, le
from cattrs import ClassValidationError, Converter, ForbiddenExtraKeysError, transform_error
from cattrs.v import format_exception

from actors.admin import AdminConfig
from actors.gateway import GatewayConfig
from actors.matching import MatchingConfig
from actors.metrics import MetricsConfig
from actors.reqlog_writer import WriterConfig
from actors.sequencer import why_refused
from book.commands import Command, DefineAccount, DefineAsset, DefineKey, DefineMarket
from book.decimals import NotADecimal, TooPrecise, parse_units
from book.definitions import Account, Asset, Key, Market
from book.engine import Engine
from book.events import Rejected
from book.registry import MAX_SCALE
from book.terms import PERMISSIONS, SELF_TRADE_MODES
from supervisor import Config

T = TypeVar("T")

FEE_SCALE: Final = 6  # parts per million
SHARE_SCALE: Final = 6


class ConfigError(Exception):
    """The configuration cannot be used. One line: the file, the key, what is wrong."""


@frozen
class Settings:
    """A whole configuration file."""

    data_folder: str
    config: Config


def _usable_path(_section: object, attribute: "Attribute[str]", value: str) -> None:
    if not value or "\0" in value:
        raise ValueError(f"{attribute.name} must be a path, not {value!r}")


@frozen(kw_only=True)
class DataSection:
    """`[data]`."""

    folder: str = field(validator=_usable_path)


@frozen(kw_only=True)
class AssetSection:
    """One `[[assets]]`: `scale` is its number of decimals."""

    name: str
    scale: int = field(validator=[ge(0), le(MAX_SCALE)])


@frozen(kw_only=True)
class MarketSection:
    """One `[[markets]]`. Prices and amounts in whole quote assets, quantities in whole base assets, fees fractions."""

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


@frozen(kw_only=True)
class AccountSection:
    """One `[[accounts]]`. The id is for ever: it is in the log."""

    id: int
    name: str


@frozen(kw_only=True)
class KeySection:
    """One `[[keys]]`: who may act for an account. `public_key` is hex Ed25519."""

    id: int
    name: str
    account: str
    permissions: tuple[str, ...]
    public_key: str


@frozen(kw_only=True)
class File:
    """Everything a tallystick.toml may hold."""

    data: DataSection
    admin: AdminConfig
    gateway: GatewayConfig = Factory(GatewayConfig)
    writer: WriterConfig = Factory(WriterConfig)
    metrics: MetricsConfig = Factory(MetricsConfig)
    assets: tuple[AssetSection, ...] = ()
    markets: tuple[MarketSection, ...] = ()
    accounts: tuple[AccountSection, ...] = ()
    keys: tuple[KeySection, ...] = ()


def load(path: Path) -> Settings:
    """Read a configuration file.

    Raises:
        ConfigError: it is not there, not TOML, or not right.
    """
    try:
        words = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    try:
        file = _CONVERTER.structure(words, File)
        definitions = _definitions(file)
        _prove(definitions)
        _separate(file)
    except ClassValidationError as error:
        raise ConfigError(f"{path}: {'; '.join(transform_error(error, path='', format_exception=_explain))}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return Settings(
        file.data.folder,
        Config(
            writer=file.writer,
            matching=MatchingConfig(definitions),
            gateway=file.gateway,
            admin=file.admin,
            metrics=file.metrics,
        ),
    )


def _strict(kind: type[T]) -> Callable[[object, Any], T]:
    """A hook that takes values of exactly this type: no '7' for 7, no 7 for '7', no true for 1."""

    def take(value: object, _: Any) -> T:
        if type(value) is not kind:
            raise TypeError(f"expected {_WORDS[kind]}, not {value!r}")
        return value

    return take


def _number(value: object, _: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError(f"expected a number, not {value!r}")
    return float(value)  # type: ignore[arg-type]  # one of the two


def _explain(error: BaseException, kind: type | None) -> str:
    if isinstance(error, ForbiddenExtraKeysError):
        known = [attribute.name for attribute in fields(error.cl)]
        return ", ".join(_unknown(key, known) for key in sorted(error.extra_fields))
    if isinstance(error, ValueError | TypeError) and error.args:
        return str(error.args[0])
    return format_exception(error, kind)


def _unknown(key: str, known: list[str]) -> str:
    nearest = get_close_matches(key, known, 1)
    return f"unknown key {key!r}" + (
        f", did you mean {nearest[0]!r}?" if nearest else f"; known are {', '.join(known)}"
    )


_WORDS: Final[Mapping[type, str]] = {int: "an integer", str: "a string", bool: "true or false"}
_CONVERTER: Final = Converter(forbid_extra_keys=True)
for _kind in (int, str, bool):
    _CONVERTER.register_structure_hook(_kind, _strict(_kind))
_CONVERTER.register_structure_hook(float, _number)


# From the file's words to definitions ---------------------------------------------------------------------------------


def _definitions(file: File) -> tuple[Command, ...]:
    scales = {asset.name: asset.scale for asset in file.assets}
    accounts = {account.name: account.id for account in file.accounts}
    return (
        *(DefineAsset(Asset(asset.name, asset.scale)) for asset in file.assets),
        *(DefineMarket(_market(market, scales)) for market in file.markets),
        *(DefineAccount(Account(account.id, account.name)) for account in file.accounts),
        *(DefineKey(_key(key, accounts)) for key in file.keys),
    )


def _prove(definitions: Iterable[Command]) -> None:
    """Let an empty engine judge the definitions, as one without a log would at its start."""
    engine = Engine()
    for seq, definition in enumerate(definitions, 1):
        outcome = engine.apply(definition, seq, seq)
        if isinstance(outcome, Rejected):
            raise ConfigError(why_refused(definition, outcome))


def _separate(file: File) -> None:
    """No two listeners at one address."""
    clients, metrics = (file.gateway.host, file.gateway.port), (file.metrics.host, file.metrics.port)
    if clients == metrics and file.gateway.port:
        raise ConfigError(f"metrics.port and gateway.port are both {file.gateway.port}")


def _market(section: MarketSection, scales: Mapping[str, int]) -> Market:
    where = f"markets {section.symbol}"
    base, dash, quote = section.symbol.partition("-")
    for name in (base, quote):
        if not dash or name not in scales:
            raise ConfigError(f"{where}: symbol must be two of the [[assets]] with a dash between, such as BTC-USDT")
    tick_scale = len(section.tick.partition(".")[2].rstrip("0"))
    lot = _units(section.lot, scales[base], f"{where}.lot")
    return Market(
        symbol=section.symbol,
        base=base,
        quote=quote,
        tick=_units(section.tick, tick_scale, f"{where}.tick"),
        tick_scale=tick_scale,
        lot=lot,
        min_quantity=_lots(section.min_quantity, scales[base], lot, f"{where}.min_quantity"),
        max_quantity=_lots(section.max_quantity, scales[base], lot, f"{where}.max_quantity"),
        min_notional=_units(section.min_notional, scales[quote], f"{where}.min_notional"),
        max_open_orders=section.max_open_orders,
        maker_fee=_signed(section.maker_fee, FEE_SCALE, f"{where}.maker_fee"),
        taker_fee=_units(section.taker_fee, FEE_SCALE, f"{where}.taker_fee"),
        collar=_units(section.collar, SHARE_SCALE, f"{where}.collar"),
        self_trade=_code(section.self_trade, SELF_TRADE_MODES, f"{where}.self_trade"),
    )


def _key(section: KeySection, accounts: Mapping[str, int]) -> Key:
    where = f"keys {section.name}"
    if section.account not in accounts:
        raise ConfigError(f"{where}.account: {section.account!r} is none of the [[accounts]]")
    permissions = 0
    for name in section.permissions:
        permissions |= _code(name, PERMISSIONS, f"{where}.permissions")
    return Key(section.id, section.name, accounts[section.account], permissions, section.public_key)


def _units(text: str, scale: int, where: str) -> int:
    try:
        return parse_units(text, scale)
    except NotADecimal:
        raise ConfigError(f"{where}: expected a decimal such as '0.01', not {text!r}") from None
    except TooPrecise:
        raise ConfigError(f"{where}: {text!r} has more than {scale} decimals") from None


def _signed(text: str, scale: int, where: str) -> int:
    """As `_units`; a minus in front is allowed, as a maker's fee may be a rebate."""
    return -_units(text[1:], scale, where) if text.startswith("-") else _units(text, scale, where)


def _lots(text: str, scale: int, lot: int, where: str) -> int:
    lots, rest = divmod(_units(text, scale, where), max(1, lot))
    if rest:
        raise ConfigError(f"{where}: {text!r} is no whole number of lots")
    return lots


def _code(name: str, names: Mapping[int, str], where: str) -> int:
    for code, known in names.items():
        if known == name:
            return code
    raise ConfigError(f"{where}: {name!r} is none of {', '.join(names.values())}")

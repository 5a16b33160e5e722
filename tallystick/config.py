"""Loading a tallystick.toml: every key known, every value checked, every error one line that says where.

The file is written for people: quantities, prices and fees are decimal strings, accounts and permissions have names.
Each part of the program owns its frozen config class and its ranges; here the file's words only become those.
"""

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeVar, get_args, get_origin

from attrs import Attribute, Factory, field, fields, frozen, has
from cattrs import ClassValidationError, Converter, ForbiddenExtraKeysError, transform_error
from cattrs.gen import make_dict_structure_fn
from cattrs.v import format_exception

from actors.admin import AdminConfig
from actors.archivist import ArchiveConfig
from actors.backup import BackupConfig
from actors.explaining import why_refused
from actors.gateway import GatewayConfig
from actors.listings import AccountWords, AssetWords, KeyWords, MarketWords, WordsError, asset_of, key_of, market_of
from actors.log_levels import LogConfig
from actors.matching import MatchingConfig
from actors.metrics import MetricsConfig
from actors.reqlog_writer import WriterConfig
from actors.snapshotter import SnapshotConfig
from actors.streams import StreamLimits
from actors.tls import BadCertificate, load_certificate
from book.commands import Command, DefineAccount, DefineAsset, DefineKey, DefineMarket
from book.definitions import Account, Asset
from book.engine import Engine
from book.events import Rejected
from persistence.opening import StoreConfig
from supervisor import Config

T = TypeVar("T")


class ConfigError(Exception):
    """The configuration cannot be used. One line: the file, the key, what is wrong."""


@frozen
class Settings:
    """A whole configuration file."""

    data_folder: str
    config: Config
    assets: Mapping[str, Asset] = Factory(dict)
    """Those that the file defines, by name."""
    chains_file: Path | None = None
    """Where real chains are described; None where there are none."""


def _usable_path(_section: object, attribute: "Attribute[str]", value: str) -> None:
    if not value or "\0" in value:
        raise ValueError(f"{attribute.name} must be a path, not {value!r}")


@frozen(kw_only=True)
class DataSection:
    """`[data]`."""

    folder: str = field(validator=_usable_path)


@frozen(kw_only=True)
class ChainsSection:
    """`[chains]`."""

    file: str = ""


@frozen(kw_only=True)
class File:
    """Everything a tallystick.toml may hold."""

    data: DataSection
    admin: AdminConfig
    gateway: GatewayConfig = Factory(GatewayConfig)
    writer: WriterConfig = Factory(WriterConfig)
    snapshots: SnapshotConfig = Factory(SnapshotConfig)
    streams: StreamLimits = Factory(StreamLimits)
    metrics: MetricsConfig = Factory(MetricsConfig)
    backup: BackupConfig = Factory(BackupConfig)
    store: StoreConfig = Factory(StoreConfig)
    archive: ArchiveConfig = Factory(ArchiveConfig)
    chains: ChainsSection = Factory(ChainsSection)
    log: LogConfig = Factory(LogConfig)
    assets: tuple[AssetWords, ...] = ()
    markets: tuple[MarketWords, ...] = ()
    accounts: tuple[AccountWords, ...] = ()
    keys: tuple[KeyWords, ...] = ()


def read(path: Path, kind: type[T]) -> T:
    """What a TOML file says, as this class. Raises ConfigError."""
    try:
        words = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    try:
        return _CONVERTER.structure(words, kind)
    except ClassValidationError as error:
        raise ConfigError(f"{path}: {'; '.join(transform_error(error, path='', format_exception=_explain))}") from error


def load(path: Path) -> Settings:
    """Read a configuration file.

    Raises:
        ConfigError: it is not there, not TOML, or not right.
    """
    file = read(path, File)
    try:
        definitions = _definitions(file)
        _prove(definitions)
        _separate(file)
        _certify(file.gateway)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return Settings(
        file.data.folder,
        Config(
            writer=file.writer,
            snapshots=file.snapshots,
            matching=MatchingConfig(definitions),
            gateway=file.gateway,
            streams=file.streams,
            admin=file.admin,
            metrics=file.metrics,
            backup=file.backup,
            store=file.store,
            archive=file.archive,
            log=file.log,
        ),
        {asset.name: asset_of(asset) for asset in file.assets},
        # A relative path counts from this file.
        path.parent / file.chains.file if file.chains.file else None,
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


def _table(kind: type[T]) -> Callable[[object, Any], T]:
    """A hook for sections: it takes tables only, and no list of them."""
    structure = make_dict_structure_fn(kind, _CONVERTER, _cattrs_forbid_extra_keys=True)

    def take(value: object, as_kind: Any) -> T:
        if not isinstance(value, dict):
            raise TypeError("expected a table: its name stands in single brackets")
        return structure(value, as_kind)

    return take


def _list(kind: Any) -> Callable[[object, Any], tuple[Any, ...]]:
    """A hook for what there may be several of: it takes lists only, as a text or one table is no list of one."""
    item = get_args(kind)[0]

    def take(value: object, _: Any) -> tuple[Any, ...]:
        if isinstance(value, dict):
            raise TypeError("expected a list of tables: their name stands in double brackets")
        if not isinstance(value, list):
            raise TypeError(f"expected a list, not {value!r}")
        return tuple(_CONVERTER.structure(value, list[item]))  # type: ignore[valid-type]  # it is known at run time only

    return take


def _is_tuple(kind: Any) -> bool:
    return get_origin(kind) is tuple


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
_CONVERTER.register_structure_hook_factory(has, _table)
_CONVERTER.register_structure_hook_factory(_is_tuple, _list)


# From the file's words to definitions ---------------------------------------------------------------------------------


def _definitions(file: File) -> tuple[Command, ...]:
    scales = {asset.name: asset.scale for asset in file.assets}
    accounts = {account.name: account.id for account in file.accounts}
    definitions: list[Command] = []
    for asset in file.assets:
        with _named(f"assets {asset.name}"):
            definitions.append(DefineAsset(asset_of(asset)))
    for market in file.markets:
        with _named(f"markets {market.symbol}"):
            definitions.append(DefineMarket(market_of(market, scales)))
    definitions += [DefineAccount(Account(account.id, account.name)) for account in file.accounts]
    for key in file.keys:
        with _named(f"keys {key.name}"):
            definitions.append(DefineKey(key_of(key, accounts)))
    return tuple(definitions)


@contextmanager
def _named(table: str) -> Iterator[None]:
    try:
        yield
    except WordsError as error:
        raise ConfigError(f"{table}.{error}") from None


def _prove(definitions: Iterable[Command]) -> None:
    """Let an empty engine judge the definitions, as one without a log would at its start."""
    engine = Engine()
    for seq, definition in enumerate(definitions, 1):
        outcome = engine.apply(definition, seq, seq)
        if isinstance(outcome, Rejected):
            raise ConfigError(why_refused(definition, outcome))


def _certify(gateway: GatewayConfig) -> None:
    """The certificate can be used, if there is one."""
    if gateway.tls_certificate:
        try:
            load_certificate(gateway.tls_certificate, gateway.tls_key)
        except BadCertificate as error:
            raise ConfigError(f"gateway.{error}") from None


def _separate(file: File) -> None:
    """No two listeners at one address."""
    clients, metrics = (file.gateway.host, file.gateway.port), (file.metrics.host, file.metrics.port)
    if clients == metrics and file.gateway.port:
        raise ConfigError(f"metrics.port and gateway.port are both {file.gateway.port}")

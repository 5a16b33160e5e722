"""Opening the store that the configuration names."""

from pathlib import Path
from random import Random
from typing import Final
from urllib.parse import unquote, urlsplit

from attrs import Attribute, field, frozen
from attrs.validators import and_, ge, le

from persistence.mysql import Limits, MysqlDatabase, Patience, server_of
from persistence.sqlite import InThread, SqliteDatabase
from persistence.statements import Database
from persistence.txstore import StoreRefused

FILE: Final = "store.sqlite"
MAX_PASSWORD_BYTES: Final = 1024


@frozen(kw_only=True)
class StoreConfig:
    """Where chain transactions, candles and the audit are kept."""

    url: str = field(default="")
    """mysql://user@host:port/database, or sqlite:///path; empty: a file in the data folder."""
    password_file: str = ""
    """Holds the password for a mysql:// URL."""
    ca_file: str = ""
    """The authority of the server's certificate; TLS is required where it is given, and for every other machine."""
    connections: int = field(default=8, validator=and_(ge(3), le(100)))
    """To the server, for all actors together."""
    timeout_seconds: float = field(default=30.0, validator=and_(ge(0.1), le(600.0)))
    """For one transaction."""

    @url.validator
    def _is_url(self, attribute: "Attribute[str]", value: str) -> None:
        if not value:
            return
        if value.startswith("sqlite:"):
            _path_of(value)
        else:
            server_of(value, password="", ca_file="", limits=Limits())
        del attribute


def open_database(config: StoreConfig, *, folder: str, blocking: InThread, random: Random) -> Database:
    """The database, not yet spoken to. Raises BadUrl or StoreRefused for what an operator has to mend."""
    if not config.url:
        return SqliteDatabase(str(Path(folder) / FILE), blocking)
    if config.url.startswith("sqlite:"):
        return SqliteDatabase(_path_of(config.url), blocking)
    limits = Limits(
        connections=config.connections,
        seconds=config.timeout_seconds,
        connect_seconds=min(10.0, config.timeout_seconds),
    )
    password = _password(config.password_file)
    return MysqlDatabase(
        server_of(config.url, password=password, ca_file=config.ca_file, limits=limits), limits, Patience(random)
    )


def _path_of(url: str) -> str:
    """The file of sqlite:///relative or sqlite:////absolute. Raises ValueError."""
    parts = urlsplit(url)
    path = unquote(parts.path[1:])
    if parts.netloc or parts.query or not path or "\0" in path:
        raise ValueError(f"url {url!r} is not of the form sqlite:///path")
    return path


def _password(file: str) -> str:
    """The first line of the file; nothing where none is named. Raises StoreRefused."""
    if not file:
        return ""
    try:
        text = Path(file).read_bytes()
    except OSError as error:
        raise StoreRefused(f"the store's password_file {file} cannot be read: {error.strerror}") from error
    if len(text) > MAX_PASSWORD_BYTES:
        raise StoreRefused(f"the store's password_file {file} is longer than {MAX_PASSWORD_BYTES} bytes")
    return text.decode("utf-8", "surrogateescape").partition("\n")[0].rstrip("\r")

"""One connection to a MySQL or MariaDB server: trio-mysql, with what it leaves out or gets wrong (version 1.0.3).

- Where TLS is wanted and the server offers none, it goes on in plain text: refused here, before a password is sent.
- `caching_sha2_password` lacks two awaits, so that a wrong password seems to be right: done anew here.
- A server may ask for the password in plain text (`mysql_clear_password`, `dialog`): only over TLS or a Unix socket.
- `close()` leaves the socket open: closed here, so that a lost connection costs no descriptor.
- A cancelled query runs on, and its answer would be taken for that of the next: the connection is discarded by whoever
  holds it, and the server ends what takes longer than `statement_seconds`.
- A long answer is read without a checkpoint: given here, so that trading goes on meanwhile.
"""

import hashlib
import os
import ssl
from collections.abc import Sequence
from typing import Any, Final

import trio
from attrs import frozen
from trio_mysql import converters  # type: ignore[import-untyped]
from trio_mysql import err as errors
from trio_mysql.connections import Connection as _Connection  # type: ignore[import-untyped]
from trio_mysql.constants import CLIENT, FIELD_TYPE  # type: ignore[import-untyped]

from persistence.statements import Insert, Result, Statement
from persistence.txstore import StoreConflict, StoreError, StoreRefused, StoreUnavailable, Value

CHECKPOINT_PACKETS: Final = 50

_CACHING_SHA2: Final = b"caching_sha2_password"
_SAFE_PLUGINS: Final = {b"mysql_native_password", b"client_ed25519"}
_FAST_OK: Final = 3
_FULL_AUTH: Final = 4

_CONVERSIONS: Final = {**converters.conversions, FIELD_TYPE.DECIMAL: int, FIELD_TYPE.NEWDECIMAL: int}

# Of the server's errors, those that mean something of their own.
_TRY_AGAIN: Final = {1205, 1213}  # lock wait timeout, deadlock
_KEY_TAKEN: Final = 1062
_NO_PARENT: Final = {1451, 1452, 1216, 1217}  # foreign keys
_LOGON: Final = {1044, 1045, 1049, 1130, 1142, 1227, 1251, 1275, 1698, 1820, 1862, 2059, 4151}  # who, and what for
_WRONG_SQL: Final = {1054, 1064, 1146, 1264, 1366, 1406}  # not the schema that this program has
TABLE_EXISTS: Final = 1050
INDEX_EXISTS: Final = 1061


class TryAgain(StoreUnavailable):
    """The server chose this transaction to give way: it is rolled back, and may be tried again at once."""


@frozen(kw_only=True)
class Server:
    """Where the server is, and how to speak to it."""

    host: str
    port: int
    database: str
    user: str
    password: str
    socket: str
    """The path of a Unix socket, in place of host and port; else empty."""
    tls: ssl.SSLContext | None
    """None: in plain text, which is for this machine only."""
    statement_seconds: float
    """After which the server gives a statement up."""
    lock_seconds: int
    """After which it gives a wait for a lock up."""

    def __str__(self) -> str:
        where = self.socket or (f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}")
        return f"{self.user}@{where}/{self.database}"


class Connection(_Connection):  # type: ignore[misc]  # trio-mysql has no types
    """A connection. Not for two tasks at once; after anything but a `StoreConflict` or `TryAgain` to be discarded."""

    _auth_plugin_name: str
    _sock: Any

    def __init__(self, server: Server) -> None:
        super().__init__(
            host=server.host,
            port=server.port,
            unix_socket=server.socket or None,
            user=server.user,
            password=server.password.encode(),
            database=server.database,
            charset="utf8mb4",
            use_unicode=True,
            conv=_CONVERSIONS,
            client_flag=CLIENT.FOUND_ROWS,
            ssl=server.tls,
            autocommit=True,
        )
        self._server = server
        self._packets = 0

    # Connecting ---------------------------------------------------------------------------------------------------

    async def open_session(self) -> None:
        """Connect, log on, and set the session up. Raises StoreError; the caller sets the deadline."""
        try:
            await self.connect()
            await self._set_up()
        except BaseException as error:
            self.discard()
            if isinstance(error, Exception):
                raise connecting_error(self._server, error) from error
            raise

    async def _set_up(self) -> None:
        server = self._server
        if "MariaDB" in self.server_version:
            limit = f"max_statement_time = {server.statement_seconds}"
        else:
            limit = f"max_execution_time = {int(server.statement_seconds * 1000)}"
        await self.run(
            f"SET SESSION {limit}, innodb_lock_wait_timeout = {server.lock_seconds},"
            " sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"
        )
        await self.run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")

    async def _get_server_information(self) -> None:
        await super()._get_server_information()
        offered = self.server_capabilities
        if self._server.tls is not None and not offered & CLIENT.SSL:
            raise StoreRefused(f"the store {self._server} offers no TLS, which is required")
        if not offered & CLIENT.PLUGIN_AUTH:
            raise StoreRefused(f"the store {self._server} knows only authentication from before MySQL 5.5")
        # An unknown name makes the server say which one it wants, and then it is `_process_auth` that does it.
        if self._auth_plugin_name == _CACHING_SHA2.decode():
            self._auth_plugin_name = ""

    # Any: the packets are trio-mysql's.

    async def _process_auth(self, plugin_name: bytes, auth_packet: Any) -> Any:
        if plugin_name == _CACHING_SHA2:
            return await self._caching_sha2(auth_packet)
        if plugin_name not in _SAFE_PLUGINS and not self._secure:
            raise StoreRefused(
                f"the store {self._server} wants to be logged on to by {plugin_name.decode('ascii', 'replace')}, "
                "which shows the password to whoever listens: use TLS"
            )
        return await super()._process_auth(plugin_name, auth_packet)

    async def _caching_sha2(self, packet: Any) -> Any:
        """Answer the server's nonce; where it has not cached the password, show it, if nobody listens."""
        scramble = _scramble(self.password, packet.read_all()[:20])
        packet = await self._ask(scramble)
        if packet.is_ok_packet():
            return packet
        if not packet.is_extra_auth_data():
            raise StoreUnavailable(f"the store {self._server} does not keep to caching_sha2_password")
        packet.advance(1)
        verdict = packet.read_uint8()
        if verdict == _FAST_OK:
            return await self._read_packet()
        if verdict != _FULL_AUTH:
            raise StoreUnavailable(f"the store {self._server} does not keep to caching_sha2_password")
        if not self._secure:
            raise StoreRefused(
                f"the store {self._server} wants the whole password, which only TLS or a Unix socket can hide: "
                "use one of them"
            )
        return await self._ask(self.password + b"\0")

    async def _ask(self, data: bytes) -> Any:
        await self.write_packet(data)
        return await self._read_packet()

    async def _read_packet(self, *arguments: Any) -> Any:
        self._packets += 1
        if self._packets % CHECKPOINT_PACKETS == 0:
            await trio.lowlevel.checkpoint()
        return await super()._read_packet(*arguments)

    # Closing ------------------------------------------------------------------------------------------------------

    def discard(self) -> None:
        """Close the socket, whatever state the conversation is in. The server rolls back."""
        self._force_close()

    def _force_close(self) -> None:
        stream, self._sock = self._sock, None
        self._closed = True
        if isinstance(stream, trio.SSLStream):
            stream = stream.transport_stream
        if isinstance(stream, trio.SocketStream):
            try:
                stream.socket.close()
            except RuntimeError:  # collected behind the end of trio's run
                os.close(stream.socket.detach())

    __del__ = _force_close

    # Asking -------------------------------------------------------------------------------------------------------

    async def run(self, sql: str, values: Sequence[Value] = ()) -> Result:
        """One statement, `?` for values. Raises trio-mysql's errors."""
        await self.query(sql.replace("?", "%s") % tuple(self.literal(value) for value in values) if values else sql)
        return Result(self._result.affected_rows or 0, self._result.rows or ())

    async def carry_out(self, statement: Statement) -> Result:
        """One statement of a transaction. Raises StoreError."""
        query = statement.query() if isinstance(statement, Insert) else statement
        try:
            return await self.run(query.sql, query.values)
        except Exception as error:
            if isinstance(statement, Insert) and number_of(error) == _KEY_TAKEN:
                return Result(0)
            raise statement_error(self._server, error) from error


def _scramble(password: bytes, nonce: bytes) -> bytes:
    """XOR(SHA256(password), SHA256(SHA256(SHA256(password)), nonce)); nothing for no password."""
    if not password:
        return b""
    once = hashlib.sha256(password).digest()
    mask = hashlib.sha256(hashlib.sha256(once).digest() + nonce).digest()
    return bytes(a ^ b for a, b in zip(once, mask, strict=True))


# -------------------------------------------------------------------------------------------------------------- errors


def number_of(error: BaseException) -> int:
    """The server's number of its error; 0 for what did not come from a server."""
    if isinstance(error, errors.MySQLError) and error.args and isinstance(error.args[0], int):
        return error.args[0]
    return 0


def _is_servers(error: Exception) -> bool:
    """Whether the server said it; numbers from 2000 to 2999 are the client library's own."""
    number = number_of(error)
    return bool(number) and not 2000 <= number < 3000


def statement_error(server: Server, error: Exception) -> StoreError:
    """What trio-mysql raised for a statement, in the words of the store."""
    number = number_of(error)
    if number in _TRY_AGAIN:
        return TryAgain(f"the store {server} had another transaction go first: {_words(error)}")
    if number in _NO_PARENT:
        return StoreConflict(f"the store {server} lacks what the row refers to, or has what refers to it")
    if number in _WRONG_SQL:
        return StoreRefused(f"the store {server} has another schema than this program: {_words(error)}")
    if number in _LOGON:
        return StoreRefused(f"the store {server} does not permit it: {_words(error)}")
    return StoreUnavailable(f"the store {server} did not do it: {_words(error)}")


def connecting_error(server: Server, error: Exception) -> Exception:
    """What went wrong while connecting, in the words of the store."""
    if isinstance(error, StoreError):
        return error
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return StoreRefused(f"the store {server} has a certificate that is not trusted: {cause.verify_message}")
    if isinstance(cause, ssl.SSLError):
        return StoreUnavailable(f"the store {server} could not begin TLS: {cause.reason}")
    if isinstance(error, RuntimeError):
        return StoreRefused(f"the store {server} cannot be logged on to: {error}")
    if number_of(error) in _LOGON:
        return StoreRefused(f"the store {server} does not let us in: {_words(error)}")
    return StoreUnavailable(f"the store {server} cannot be reached: {_words(error)}")


def is_lost(error: BaseException) -> bool:
    """Whether the conversation with the server has ended, or may be out of step."""
    cause = error.__cause__ if isinstance(error, StoreError) else error
    if isinstance(error, StoreConflict | ValueError | AssertionError):
        return False
    return not isinstance(cause, Exception) or not _is_servers(cause) or number_of(cause) in {1053, 1927, 4031}


def _words(error: Exception) -> str:
    """The server's words, with its number."""
    number = number_of(error)
    said = str(error.args[1]) if number and len(error.args) > 1 else str(error) or type(error).__name__
    return f"{said} ({number})" if number else said

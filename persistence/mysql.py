"""The store on a MySQL or MariaDB server.

Theory of operation. A pool has a fixed number of places, each of which may hold an open connection; whoever takes a
place has it for one transaction, and no actor may hold more than its share of them. Every wait has a deadline. A
connection goes back to its place only when the conversation is known to be in step; after a cancellation, a time-out or
anything that did not come from the server it is closed, and the server rolls back.

A transaction that the server made give way (deadlock, lock timeout) is begun again, a few times. One whose connection
turns out to be dead before it has begun takes another. Once the commit has been sent, nothing but the server's own word
counts: without it, the outcome is unknown, and says so.
"""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Final, Self, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import structlog
import tenacity
import trio
from attrs import frozen

from persistence.migrating import BOOKKEEPING, DONE, Migration, migrations, to_do
from persistence.mysql_connection import (
    INDEX_EXISTS,
    TABLE_EXISTS,
    Connection,
    Server,
    TryAgain,
    is_lost,
    number_of,
    statement_error,
)
from persistence.statements import Result, Transaction
from persistence.txstore import CommitUnknown, StoreError, StoreRefused, StoreUnavailable

T = TypeVar("T")

DEFAULT_PORT: Final = 3306
# A commit is not cancelled: its answer is worth waiting for.
COMMIT_SECONDS: Final = 10.0
ROLLBACK_SECONDS: Final = 2.0
GOODBYE_SECONDS: Final = 1.0
# Another program of ours may just be changing the schema.
MIGRATION_SECONDS: Final = 20
ATTEMPTS: Final = 6
# What reads everything as of one moment may take so many times as long as others.
SNAPSHOTS: Final = 20
FIRST_WAIT_SECONDS: Final = 0.02
LONGEST_WAIT_SECONDS: Final = 1.0

_log = structlog.get_logger("store")


class BadUrl(ValueError):  # noqa: N818 - names what happened, in a sentence for the operator
    """The URL of a store says what cannot be; one line."""


@frozen(kw_only=True)
class Limits:
    """How much of the server may be used, and how long anything may take."""

    connections: int = 8
    seconds: float = 30.0
    """For one try of a transaction, the wait for a connection included."""
    connect_seconds: float = 10.0
    lock_seconds: int = 5
    """That the server waits for a row's lock."""


# ----------------------------------------------------------------------------------------------------------------- URL


def server_of(url: str, *, password: str, ca_file: str, limits: Limits) -> Server:
    """The server of `mysql://user@host:port/database`, or `mysql://user@localhost/database?socket=/path`.

    TLS is required for every host that is not this machine, and wherever `ca_file` is given; the certificate must be
    the host's, by that authority or by one that this machine trusts. Raises BadUrl.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadUrl(f"the store's URL {url!r} is none: {error}") from error
    if parts.scheme not in {"mysql", "mariadb"}:
        raise BadUrl(f"the store's URL {url!r} does not begin with mysql:// or sqlite://")
    if parts.password is not None:
        raise BadUrl("the store's URL holds a password; put it into a file, and name that in password_file")
    if not parts.username or not parts.hostname or parts.path in {"", "/"} or "/" in parts.path[1:]:
        raise BadUrl(f"the store's URL {url!r} is not of the form mysql://user@host:port/database")
    options = parse_qs(parts.query, keep_blank_values=True)
    unknown = options.keys() - {"socket"}
    if unknown:
        raise BadUrl(f"the store's URL has the unknown option {min(unknown)!r}; there is only socket")
    socket = options.get("socket", [""])[-1]
    return Server(
        host=parts.hostname,
        port=DEFAULT_PORT if port is None else port,
        database=unquote(parts.path[1:]),
        user=unquote(parts.username),
        password=password,
        socket=socket,
        tls=_tls(ca_file) if not socket and (ca_file or not is_this_machine(parts.hostname)) else None,
        statement_seconds=limits.seconds,
        lock_seconds=limits.lock_seconds,
    )


def is_this_machine(host: str) -> bool:
    """Whether what is said to this host never leaves the machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _tls(ca_file: str) -> ssl.SSLContext:
    """Checks certificate and name; trusts this authority alone, or where none is named those of the machine."""
    if ca_file and not Path(ca_file).is_file():
        raise BadUrl(f"the store's ca_file {ca_file!r} is not there")
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except ssl.SSLError as error:
        raise BadUrl(f"the store's ca_file {ca_file!r} holds no certificate: {error.reason}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


# ---------------------------------------------------------------------------------------------------------------- pool


class Pool:
    """Places for connections, each taken for one transaction; those that are idle, the last used first."""

    def __init__(self, server: Server, limits: Limits) -> None:
        self._server = server
        self._limits = limits
        self._idle: list[Connection] = []
        self._give, self._places = trio.open_memory_channel[None](limits.connections)
        for _ in range(limits.connections):
            self._give.send_nowait(None)
        self._closed = False

    @asynccontextmanager
    async def connection(self, *, fresh: bool = False) -> AsyncIterator[tuple[Connection, bool]]:
        """A connection for this block, and whether it was used before; `fresh` takes none that was."""
        if self._closed:
            raise StoreUnavailable(f"the store {self._server} was closed")
        await self._places.receive()
        try:
            if fresh:
                self._discard_idle()
            used = bool(self._idle)
            connection = self._idle.pop() if used else await self._open()
            try:
                yield connection, used
            except BaseException as error:
                if is_lost(error):
                    connection.discard()
                raise
            finally:
                if connection.open:
                    self._put_back(connection)
        finally:
            self._give.send_nowait(None)

    def _put_back(self, connection: Connection) -> None:
        if self._closed:
            connection.discard()
        else:
            self._idle.append(connection)

    def _discard_idle(self) -> None:
        """One of them was dead, so the others are likely to be."""
        while self._idle:
            self._idle.pop().discard()

    async def _open(self) -> Connection:
        connection = Connection(self._server)
        try:
            with trio.fail_after(self._limits.connect_seconds):
                await connection.open_session()
        except trio.TooSlowError:
            raise StoreUnavailable(
                f"the store {self._server} did not let us in within {self._limits.connect_seconds:g} s"
            ) from None
        return connection

    async def aclose(self) -> None:
        """Close what is idle now, and what is in use when it comes back."""
        self._closed = True
        with trio.move_on_after(GOODBYE_SECONDS, shield=True):
            for connection in self._idle:
                await connection.aclose()
        self._discard_idle()


# ------------------------------------------------------------------------------------------------------------ database


@frozen
class Patience:
    """How a transaction that had to give way waits before it tries again."""

    random: Random
    sleep: Callable[[float], Awaitable[None]] = trio.sleep

    def tries(self) -> tenacity.AsyncRetrying:
        """The tries, each after a longer wait, so that two that meet do not meet again."""
        return tenacity.AsyncRetrying(
            sleep=self.sleep,
            retry=tenacity.retry_if_exception_type(TryAgain),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=self._wait,
            reraise=True,
        )

    def _wait(self, state: tenacity.RetryCallState) -> float:
        longest: float = min(FIRST_WAIT_SECONDS * 2**state.attempt_number, LONGEST_WAIT_SECONDS)
        return longest * (0.5 + self.random.random() / 2)


class MysqlDatabase:
    """Carries transactions out on a server. The first of them brings the schema up to date."""

    def __init__(self, server: Server, limits: Limits, patience: Patience) -> None:
        self._server = server
        self._limits = limits
        self._patience = patience
        self._pool = Pool(server, limits)
        self._migrating = trio.Lock()
        self._is_migrated = False

    def share(self, connections: int) -> "Share":
        """The database, for one who may use only so many connections at once."""
        return Share(self, trio.CapacityLimiter(connections))

    async def transact(self, transaction: Transaction[T], *, snapshot: bool = False) -> T:
        """Carry it out; again if the server makes it give way."""
        if not self._is_migrated:
            await self.check()
        async for attempt in self._patience.tries():
            with attempt:
                return await self._in_time(lambda: self._try(transaction, snapshot), SNAPSHOTS if snapshot else 1)
        raise AssertionError("tenacity raises when its tries are over")

    async def check(self) -> None:
        """Speak to the server, and bring its schema up to date if that has not been done by this process."""
        await self._in_time(self._check)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()

    async def _in_time(self, work: Callable[[], Awaitable[T]], times: int = 1) -> T:
        seconds = self._limits.seconds * times
        try:
            with trio.fail_after(seconds):
                return await work()
        except trio.TooSlowError:
            raise StoreUnavailable(f"the store {self._server} did not answer within {seconds:g} s") from None

    async def _try(self, transaction: Transaction[T], snapshot: bool) -> T:
        """On a connection that may have died in its place; then on a new one."""
        begun = used = False
        for fresh in (False, True):
            try:
                async with self._pool.connection(fresh=fresh) as (connection, used):
                    await _begin(self._server, connection, snapshot)
                    begun = True
                    return await _carry_out(self._server, connection, transaction)
            except StoreUnavailable as error:
                if begun or fresh or not used or not is_lost(error):
                    raise
        raise AssertionError("the second try returns or raises")

    async def _check(self) -> None:
        async with self._migrating:
            used = False
            for fresh in (False, True):
                try:
                    async with self._pool.connection(fresh=fresh) as (connection, used):
                        if self._is_migrated:
                            await _say(self._server, connection, "SELECT 1")
                        else:
                            await _migrate(self._server, connection)
                except StoreUnavailable as error:
                    if fresh or not used or not is_lost(error):
                        raise
                else:
                    self._is_migrated = True
                    return


@frozen
class Share:
    """A database, for one actor."""

    database: MysqlDatabase
    limiter: trio.CapacityLimiter

    async def transact(self, transaction: Transaction[T], *, snapshot: bool = False) -> T:
        """Carry it out, once there is room in the share."""
        async with self.limiter:
            return await self.database.transact(transaction, snapshot=snapshot)

    async def check(self) -> None:
        """Make sure that it answers."""
        async with self.limiter:
            await self.database.check()

    async def aclose(self) -> None:
        """Nothing: others have their shares."""

    def share(self, connections: int) -> Self:
        """Itself."""
        del connections
        return self


# -------------------------------------------------------------------------------------------------------- transactions


async def _say(server: Server, connection: Connection, sql: str, *values: str | int) -> Result:
    try:
        return await connection.run(sql, values)
    except Exception as error:
        raise statement_error(server, error) from error


async def _begin(server: Server, connection: Connection, snapshot: bool) -> None:
    if snapshot:
        await _say(server, connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    words = "START TRANSACTION WITH CONSISTENT SNAPSHOT" if snapshot else "START TRANSACTION"
    await _say(server, connection, words)


async def _carry_out(server: Server, connection: Connection, transaction: Transaction[T]) -> T:
    """Its statements, and the end that they deserve."""
    try:
        answer = await _run(connection, transaction)
    except BaseException as error:
        if not is_lost(error):
            await _roll_back(server, connection)
        raise
    await _commit(server, connection)
    return answer


async def _run(connection: Connection, transaction: Transaction[T]) -> T:
    steps = transaction()
    result: Result | None = None
    while True:
        try:
            statement = next(steps) if result is None else steps.send(result)
        except StopIteration as stop:
            answer: T = stop.value
            return answer
        result = await connection.carry_out(statement)


async def _roll_back(server: Server, connection: Connection) -> None:
    """Undo it, also when cancelled; where that cannot be done, the end of the connection does it."""
    with trio.move_on_after(ROLLBACK_SECONDS, shield=True) as scope:
        try:
            await _say(server, connection, "ROLLBACK")
        except StoreError:
            connection.discard()
    if scope.cancelled_caught:
        connection.discard()


async def _commit(server: Server, connection: Connection) -> None:
    """Commit, also when cancelled: only the server's word says what happened."""
    try:
        with trio.fail_after(COMMIT_SECONDS) as scope:
            scope.shield = True
            await _say(server, connection, "COMMIT")
    except TryAgain:
        raise  # the server's word that it is rolled back
    except (StoreError, trio.TooSlowError) as error:
        connection.discard()
        raise CommitUnknown(f"the store {server} did not say whether it committed: {error}") from error


# ---------------------------------------------------------------------------------------------------------- migrations


async def _migrate(server: Server, connection: Connection) -> None:
    """Bring the schema up to date, alone; a step that was interrupted is gone on with."""
    lock = f"tallystick.{server.database}"[:64]
    got = await _say(server, connection, "SELECT GET_LOCK(?, ?)", lock, MIGRATION_SECONDS)
    if got.rows[0][0] != 1:
        raise StoreUnavailable(f"the store {server} is having its schema changed by another program")
    try:
        await _say(server, connection, BOOKKEEPING)
        rows = (await _say(server, connection, DONE)).rows
        done = {int(version or 0): (str(digest), bool(ended)) for version, digest, ended in rows}
        for migration, was_begun in to_do(done, migrations()):
            _log.info("changing the store's schema", store=str(server), version=migration.version, name=migration.name)
            await _take_step(server, connection, migration, was_begun)
        await _say(server, connection, "SELECT RELEASE_LOCK(?)", lock)
    except BaseException:
        connection.discard()  # and the lock with it
        raise


async def _take_step(server: Server, connection: Connection, migration: Migration, was_begun: bool) -> None:
    """A server commits after each of these statements: what is there from an interrupted run is passed over."""
    if not was_begun:
        await _say(
            server,
            connection,
            "INSERT INTO migration VALUES (?, ?, ?, 0)",
            migration.version,
            migration.name,
            migration.digest,
        )
    for statement in migration.statements:
        try:
            await connection.run(statement)
        except Exception as error:
            if was_begun and number_of(error) in {TABLE_EXISTS, INDEX_EXISTS}:
                continue
            if number_of(error) == TABLE_EXISTS:
                raise StoreRefused(f"the database of {server} is used by another program: {error}") from error
            raise statement_error(server, error) from error
    await _say(server, connection, "UPDATE migration SET done = 1 WHERE version = ?", migration.version)

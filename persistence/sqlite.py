"""The embedded store: SQLite in a file of the data folder, or in memory.

One connection, used by one transaction at a time, each of them in one go in a worker thread: nothing can be cancelled
in the middle of one. It is durable when it is answered (write-ahead log, synchronous=FULL).
"""

import sqlite3
from collections.abc import Callable
from typing import Final, Protocol, TypeVar, TypeVarTuple

import structlog
import trio

from persistence.migrating import BOOKKEEPING, DONE, migrations, to_do
from persistence.sql_store import SqlStore
from persistence.statements import Insert, Result, Statement, Transaction
from persistence.txstore import StoreConflict, StoreError, StoreRefused, StoreUnavailable

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# Another process (a dump, an operator's shell) may hold the file's lock for a moment.
BUSY_SECONDS: Final = 5.0
IN_MEMORY: Final = ":memory:"

_KEY_TAKEN: Final = {"SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE"}
_NO_PARENT: Final = "SQLITE_CONSTRAINT_FOREIGNKEY"
_NOT_OURS: Final = {"SQLITE_CORRUPT", "SQLITE_NOTADB"}

_log = structlog.get_logger("store")


class InThread(Protocol):
    """Runs what blocks; once begun it is finished, whoever cancels (`actors.world.Blocking`)."""

    async def __call__(self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Call it and return what it returns."""
        ...


def sqlite_store(path: str, blocking: InThread) -> SqlStore:
    """The store in this file, which is made if need be; `IN_MEMORY` is forgotten when it is closed."""
    return SqlStore(SqliteDatabase(path, blocking))


class SqliteDatabase:
    """Carries transactions out in a file. Opened by the first of them."""

    def __init__(self, path: str, blocking: InThread) -> None:
        self._path = path
        self._blocking = blocking
        self._turn = trio.Lock()
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    async def transact(self, transaction: Transaction[T], *, snapshot: bool = False) -> T:  # noqa: ARG002 - always is
        """Carry it out, behind those that were asked for before."""
        async with self._turn:
            return await self._blocking(self._carry_out, transaction)

    def share(self, connections: int) -> "SqliteDatabase":
        """Itself: there is one connection, used in turn."""
        del connections
        return self

    async def check(self) -> None:
        """Open the file, if it is not open, and bring its schema up to date."""
        async with self._turn:
            await self._blocking(self._open)

    async def aclose(self) -> None:
        """Close the file."""
        async with self._turn:
            self._closed = True
            await self._blocking(self._close)

    # In the worker thread -----------------------------------------------------------------------------------------

    def _carry_out(self, transaction: Transaction[T]) -> T:
        connection = self._open()
        try:
            connection.execute("BEGIN IMMEDIATE")
            answer = _run(connection, transaction)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo(connection)
            raise _trouble(self._path, error) from error
        except BaseException:
            self._undo(connection)
            raise
        return answer

    def _undo(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._close()

    def _open(self) -> sqlite3.Connection:
        if self._closed:
            raise StoreUnavailable(f"the store {self._path} was closed")
        if self._connection is None:
            try:
                self._connection = _connect(self._path)
            except sqlite3.Error as error:
                raise _trouble(self._path, error) from error
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            # What was under way is rolled back.
            self._connection.close()
            self._connection = None


def _run(connection: sqlite3.Connection, transaction: Transaction[T]) -> T:
    """Carry its statements out, one by one."""
    steps = transaction()
    result: Result | None = None
    while True:
        try:
            statement = next(steps) if result is None else steps.send(result)
        except StopIteration as stop:
            answer: T = stop.value
            return answer
        result = _carry_out(connection, statement)


def _carry_out(connection: sqlite3.Connection, statement: Statement) -> Result:
    if isinstance(statement, Insert):
        query = statement.query()
        try:
            connection.execute(query.sql, query.values)
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorname not in _KEY_TAKEN:
                raise
            return Result(0)
        return Result(1)
    cursor = connection.execute(statement.sql, statement.values)
    return Result(max(cursor.rowcount, 0), cursor.fetchall())


def _connect(path: str) -> sqlite3.Connection:
    """Open the file and bring its schema up to date."""
    connection = sqlite3.connect(
        path,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        uri=path.startswith("file:"),
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("BEGIN IMMEDIATE")
        _migrate(connection, path)
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: str) -> None:
    """Under the file's lock, and wholly or not at all."""
    connection.execute(BOOKKEEPING)
    done = {version: (digest, bool(ended)) for version, digest, ended in connection.execute(DONE)}
    for migration, _ in to_do(done, migrations()):
        _log.info("changing the store's schema", store=path, version=migration.version, name=migration.name)
        for statement in migration.statements:
            connection.execute(statement)
        connection.execute(
            "INSERT INTO migration VALUES (?, ?, ?, 1)", (migration.version, migration.name, migration.digest)
        )


def _trouble(path: str, error: sqlite3.Error) -> StoreError:
    """What SQLite says, in the words of the store."""
    name = getattr(error, "sqlite_errorname", "")
    if name == _NO_PARENT:
        return StoreConflict(f"the store {path} lacks what the row refers to, or has what refers to it")
    if name in _NOT_OURS:
        return StoreRefused(f"the store {path} is not an SQLite database, or is damaged: {error}")
    return StoreUnavailable(f"the store {path} did not do it: {error}{f' ({name})' if name else ''}")

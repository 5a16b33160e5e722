"""The store on a server that fails in every way it can: a real MariaDB, with a proxy between where one is needed."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Final

import pytest
import trio

from persistence.migrating import migrations
from persistence.mysql import ATTEMPTS, Limits, MysqlDatabase, Patience, server_of
from persistence.mysql_connection import Connection
from persistence.sql_store import SqlStore
from persistence.statements import Query, Steps
from persistence.txstore import (
    CommitUnknown,
    DepositKey,
    NewDeposit,
    ScanBlock,
    Scanned,
    StoreRefused,
    StoreUnavailable,
    WhitelistRow,
)
from tests.mariadb import PASSWORD, USER, MariaDb, private_mariadb
from tests.stores import block, new_deposit, on_mariadb
from tests.wire_proxy import Verdict, WireProxy, proxied

pytestmark = pytest.mark.process

# The server makes its view of transactions anew only if nobody has looked for a tenth of a second.
LOOK_SECONDS: Final = 0.15

SCANNED: Final = Scanned(block=block(1), deposits=[new_deposit()])


async def without_tls(server: MariaDb, port: int, limits: Limits | None = None) -> tuple[MysqlDatabase, SqlStore]:
    """A store through a proxy that is to read along, its schema made."""
    limits = limits or Limits()
    made = await on_mariadb(server)
    await made.check()
    await made.aclose()
    name = made._server.database
    plain = server.server(name, port=port, limits=limits, ca_file="")
    database = MysqlDatabase(plain, limits, Patience(Random(0)))
    await database.check()
    return database, SqlStore(database)


def at(words: bytes, verdict: Verdict, proxy: WireProxy) -> None:
    """Judge the first statement with these words so, and let everything else pass."""

    def judge(data: bytes) -> Verdict:
        if words in data:
            proxy.judge = lambda _data: Verdict.PASS
            return verdict
        return Verdict.PASS

    proxy.judge = judge


# ----------------------------------------------------------------------------------------------------------- connecting


async def test_what_is_said_is_encrypted(mariadb: MariaDb) -> None:
    """By TLS 1.2 or newer, with a certificate that was checked."""
    connection = Connection(mariadb.server("mysql"))
    await connection.open_session()
    rows = (await connection.run("SHOW STATUS LIKE 'Ssl_version'")).rows
    assert rows[0][1] in {"TLSv1.2", "TLSv1.3"}
    connection.discard()


async def test_a_session_has_limits_of_its_own(mariadb: MariaDb) -> None:
    """What nobody waits for any more ends by itself."""
    connection = Connection(mariadb.server("mysql", limits=Limits(seconds=7, lock_seconds=3)))
    await connection.open_session()
    limits = await connection.run("SELECT CAST(@@max_statement_time AS CHAR), @@innodb_lock_wait_timeout, @@sql_mode")
    assert limits.rows[0][0] == "7.000000"
    assert limits.rows[0][1:] == (3, "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION")
    connection.discard()


async def test_a_server_without_tls_is_refused() -> None:
    """It is never gone on with in plain text: the server does not even learn who wanted in."""
    with private_mariadb(tls=False) as server:
        database = MysqlDatabase(
            server.server("mysql", ca_file=str(server.folder / "ca.pem")), Limits(), Patience(Random(0))
        )
        asked = "SHOW STATUS LIKE 'Aborted_connects_preauth'"
        before = int(str((await server.ask(asked))[0][1]))
        with pytest.raises(StoreRefused, match="offers no TLS, which is required"):
            await database.check()
        assert int(str((await server.ask(asked))[0][1])) == before + 1


async def test_another_authoritys_certificate_is_refused(mariadb: MariaDb) -> None:
    """Whoever is in the middle has one too."""
    database = MysqlDatabase(
        mariadb.server("mysql", ca_file=str(mariadb.folder / "other.pem")), Limits(), Patience(Random(0))
    )
    with pytest.raises(StoreRefused, match="a certificate that is not trusted"):
        await database.check()


async def test_another_hosts_certificate_is_refused(mariadb: MariaDb) -> None:
    """A trusted one, but not for the name that was asked for."""
    async with proxied(mariadb.port, "127.0.0.2") as (_, port):
        server = server_of(
            f"mysql://{USER}@127.0.0.2:{port}/mysql", password=PASSWORD, ca_file=mariadb.ca_file, limits=Limits()
        )
        with pytest.raises(StoreRefused, match="not trusted: IP address mismatch"):
            await MysqlDatabase(server, Limits(), Patience(Random(0))).check()


@pytest.mark.parametrize(("user", "password"), [(USER, "wrong"), (USER, ""), ("nobody", PASSWORD)])
async def test_a_wrong_password_is_refused(mariadb: MariaDb, user: str, password: str) -> None:
    """And is not tried again."""
    database = MysqlDatabase(mariadb.server("mysql", user=user, password=password), Limits(), Patience(Random(0)))
    with pytest.raises(StoreRefused, match="does not let us in: Access denied"):
        await database.check()


async def test_an_unknown_database_is_refused(mariadb: MariaDb) -> None:
    """By name."""
    with pytest.raises(StoreRefused, match="Unknown database 'nowhere'"):
        await MysqlDatabase(mariadb.server("nowhere"), Limits(), Patience(Random(0))).check()


async def test_a_server_that_is_not_there_is_unavailable(mariadb: MariaDb) -> None:
    """At once."""
    server = mariadb.server("mysql", port=1)
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await MysqlDatabase(server, Limits(), Patience(Random(0))).check()


async def test_a_server_that_says_nothing_is_unavailable(mariadb: MariaDb) -> None:
    """When its time is out."""

    async def say_nothing(stream: trio.SocketStream) -> None:
        async with stream:
            await trio.sleep_forever()

    limits = Limits(connect_seconds=0.1)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, say_nothing, listeners)
        server = mariadb.server("mysql", port=listeners[0].socket.getsockname()[1], limits=limits)
        with pytest.raises(StoreUnavailable, match=r"did not let us in within 0\.1 s"):
            await MysqlDatabase(server, limits, Patience(Random(0))).check()
        nursery.cancel_scope.cancel()


async def test_the_unix_socket_needs_no_tls(mariadb: MariaDb) -> None:
    """Nothing leaves the machine."""
    limits = Limits()
    server = server_of(
        f"mysql://{USER}@localhost/mysql?socket={mariadb.socket}", password=PASSWORD, ca_file="", limits=limits
    )
    connection = Connection(server)
    await connection.open_session()
    assert (await connection.run("SELECT CURRENT_USER()")).rows == ((f"{USER}@localhost",),)
    connection.discard()


async def test_a_discarded_connection_costs_no_descriptor(mariadb: MariaDb) -> None:
    """Neither one that worked, nor one that failed to open."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counted, not read
    for _ in range(5):
        connection = Connection(mariadb.server("mysql"))
        await connection.open_session()
        connection.discard()
        with pytest.raises(StoreRefused):
            await Connection(mariadb.server("mysql", password="wrong")).open_session()  # noqa: S106 - it is wrong
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above


# ----------------------------------------------------------------------------------------------------- lost connections


async def test_a_connection_that_is_lost_in_a_statement_loses_the_transaction(mariadb: MariaDb) -> None:
    """It says so, nothing was stored, and the next one works."""
    async with proxied(mariadb.port) as (proxy, port):
        database, store = await without_tls(mariadb, port)
        at(b"INSERT INTO deposit", Verdict.CUT, proxy)
        with pytest.raises(StoreUnavailable, match="Lost connection") as caught:
            await store.add_block(SCANNED, 1)
        assert not isinstance(caught.value, CommitUnknown)
        assert await store.scanned_blocks("BTC", 1) == []
        assert await store.add_block(SCANNED, 1)
        await database.aclose()


@pytest.mark.parametrize(("verdict", "happened"), [(Verdict.CUT, False), (Verdict.LOSE_ANSWER, True)])
async def test_a_connection_that_is_lost_in_a_commit_leaves_it_open_what_happened(
    mariadb: MariaDb, verdict: Verdict, happened: bool
) -> None:
    """The same error either way; and doing it again is right either way."""
    async with proxied(mariadb.port) as (proxy, port):
        database, store = await without_tls(mariadb, port)
        at(b"\x03COMMIT", verdict, proxy)
        with pytest.raises(CommitUnknown):
            await store.add_block(SCANNED, 1)
        assert await store.add_block(SCANNED, 1) is not happened
        assert len(await store.deposits("BTC", "pending")) == 1
        await database.aclose()


async def test_a_connection_that_died_in_its_place_is_replaced(mariadb: MariaDb) -> None:
    """Nothing had begun on it, so nobody hears of it."""
    async with proxied(mariadb.port) as (proxy, port):
        database, store = await without_tls(mariadb, port)
        await store.check()
        for _ in range(3):
            for row in await mariadb.ask(f"SELECT id FROM information_schema.processlist WHERE user = '{USER}'"):
                await mariadb.ask(f"KILL {row[0]}")
            await store.check()
            await store.scanned_blocks("BTC", 1)
        assert proxy.connections == 4
        await database.aclose()


async def test_a_restart_of_the_server_is_survived() -> None:
    """While it is away the store is unavailable; then all is there again."""
    with private_mariadb() as server:
        database = await on_mariadb(server)
        store = SqlStore(database)
        await store.add_block(SCANNED, 1)
        server.stop()
        with pytest.raises(StoreUnavailable):
            await store.scanned_blocks("BTC", 1)
        server.start()
        assert await store.scanned_blocks("BTC", 1) == [SCANNED.block]
        server.stop(9)
        server.start()
        assert not await store.add_block(SCANNED, 1)
        await database.aclose()


# ----------------------------------------------------------------------------------------------- locks and cancellation


@asynccontextmanager
async def another_transaction(database: MysqlDatabase) -> AsyncIterator[Connection]:
    """Somebody else's, which locks what it touches until the block ends."""
    connection = Connection(database._server)
    await connection.open_session()
    await connection.run("START TRANSACTION")
    try:
        yield connection
    finally:
        connection.discard()


async def waiting(mariadb: MariaDb) -> list[object]:
    """The connections whose transactions wait for a lock."""
    rows = await mariadb.ask(
        "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
    )
    return [row[0] for row in rows]


async def until_waiting(mariadb: MariaDb) -> None:
    """Return once a transaction waits for a lock."""
    with trio.fail_after(30):
        while not await waiting(mariadb):  # noqa: ASYNC110 - the server tells nobody
            await trio.sleep(LOOK_SECONDS)


def rows_of(account: int, address: str) -> WhitelistRow:
    """A row to lock."""
    return WhitelistRow(account, "BTC", address, 1)


def touch(*addresses: str) -> Callable[[], Steps[int]]:
    """A transaction that locks these rows, one behind the other."""

    def steps() -> Steps[int]:
        count = 0
        for address in addresses:
            changed = yield Query("UPDATE whitelist SET added_ns = added_ns + 1 WHERE address = ?", (address,))
            count += changed.count
        return count

    return steps


async def test_a_deadlock_is_tried_again(mariadb: MariaDb) -> None:
    """The server chose us to give way; when the other is through, we are."""
    made = await on_mariadb(mariadb)
    waits, through = [], trio.Event()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await through.wait()

    database = MysqlDatabase(made._server, Limits(), Patience(Random(0), sleep))
    store = SqlStore(database)
    for address in ("one", "two"):
        await store.add_to_whitelist(rows_of(7, address))
    async with another_transaction(database) as other:
        # Whoever has changed more is not chosen.
        for number in range(50):
            await other.run("INSERT INTO mark VALUES (?, 0)", (f"mark{number}",))
        await other.run("UPDATE whitelist SET added_ns = 100 WHERE address = 'one'")
        async with trio.open_nursery() as nursery:
            outcomes = list[int]()

            async def ours() -> None:
                outcomes.append(await database.transact(touch("two", "one")))

            nursery.start_soon(ours)
            await until_waiting(mariadb)
            await other.run("UPDATE whitelist SET added_ns = 200 WHERE address = 'two'")
            await other.run("COMMIT")
            through.set()
    assert outcomes == [2]
    assert len(waits) == 1
    assert 0 < waits[0] < 1
    assert {row.address: row.added_ns for row in await store.whitelist(7, "BTC")} == {"one": 101, "two": 201}
    await database.aclose()


async def test_a_lock_that_is_held_too_long_is_tried_again_and_then_given_up(mariadb: MariaDb) -> None:
    """With growing waits, and only so often."""
    limits = Limits(lock_seconds=0)
    made = await on_mariadb(mariadb, limits=limits)
    waits = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    database = MysqlDatabase(made._server, limits, Patience(Random(0), sleep))
    store = SqlStore(database)
    await store.add_to_whitelist(rows_of(7, "one"))
    async with another_transaction(database) as other:
        await other.run("UPDATE whitelist SET added_ns = 100 WHERE address = 'one'")
        with pytest.raises(StoreUnavailable, match="Lock wait timeout"):
            await database.transact(touch("one"))
        assert len(waits) == ATTEMPTS - 1
        assert waits[-1] > waits[0]
        await other.run("COMMIT")
    assert await database.transact(touch("one")) == 1
    await database.aclose()


async def test_a_killed_transaction_is_undone_and_said_so(mariadb: MariaDb) -> None:
    """Whoever kills it: the next one takes another connection."""
    database = await on_mariadb(mariadb)
    store = SqlStore(database)
    for address in ("one", "two"):
        await store.add_to_whitelist(rows_of(7, address))
    async with another_transaction(database) as other, trio.open_nursery() as nursery:
        await other.run("UPDATE whitelist SET added_ns = 100 WHERE address = 'two'")

        async def ours() -> None:
            with pytest.raises(StoreUnavailable):
                await database.transact(touch("one", "two"))

        nursery.start_soon(ours)
        await until_waiting(mariadb)
        await mariadb_without_waits(mariadb)
    assert await database.transact(touch("one", "two")) == 2
    assert {row.added_ns for row in await store.whitelist(7, "BTC")} == {2}
    await database.aclose()


async def test_a_cancelled_transaction_is_undone_and_costs_no_place(mariadb: MariaDb) -> None:
    """However often: its connection is discarded, and its locks go with it."""
    limits = Limits(connections=2)
    database = await on_mariadb(mariadb, limits=limits)
    store = SqlStore(database)
    for address in ("one", "two"):
        await store.add_to_whitelist(rows_of(7, address))
    async with another_transaction(database) as other:
        await other.run("UPDATE whitelist SET added_ns = 100 WHERE address = 'two'")
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(database.transact, touch("two"))
                await until_waiting(mariadb)
                nursery.cancel_scope.cancel()
            await mariadb_without_waits(mariadb)
    assert await database.transact(touch("one", "two")) == 2
    await database.aclose()


async def mariadb_without_waits(mariadb: MariaDb) -> None:
    """Return once the server has noticed that nobody waits any more, helped along."""
    for connection in await waiting(mariadb):
        await mariadb.ask(f"KILL {connection}")
    with trio.fail_after(30):
        while await waiting(mariadb):  # noqa: ASYNC110 - the server tells nobody
            await trio.sleep(LOOK_SECONDS)


async def test_a_commit_is_not_cancelled(mariadb: MariaDb) -> None:
    """Its answer is waited for, so that the outcome is known and the connection in step."""
    async with proxied(mariadb.port) as (proxy, port):
        database, store = await without_tls(mariadb, port)
        at(b"\x03COMMIT", Verdict.HOLD_ANSWER, proxy)
        before = proxy.connections
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.add_block, SCANNED, 1)
            await proxy.held.wait()
            nursery.cancel_scope.cancel()
            nursery.start_soon(_set, proxy.answers)
        assert not await store.add_block(SCANNED, 1)
        assert proxy.connections == before
        await database.aclose()


async def _set(event: trio.Event) -> None:
    with trio.CancelScope(shield=True):
        await trio.lowlevel.checkpoint()
        event.set()


async def test_no_actor_takes_more_than_its_share(mariadb: MariaDb) -> None:
    """One that is stuck leaves room for the others."""
    database = await on_mariadb(mariadb, limits=Limits(connections=2))
    greedy, modest = SqlStore(database.share(1)), SqlStore(database.share(1))
    await greedy.add_to_whitelist(rows_of(7, "one"))
    async with another_transaction(database) as other, trio.open_nursery() as nursery:
        await other.run("UPDATE whitelist SET added_ns = 100 WHERE address = 'one'")
        for _ in range(3):
            nursery.start_soon(greedy.remove_from_whitelist, 7, "BTC", "one")
        await until_waiting(mariadb)
        assert await modest.scanned_blocks("BTC", 1) == []
        await other.run("COMMIT")
    await database.aclose()


async def test_whoever_waits_too_long_for_a_connection_hears_so(mariadb: MariaDb) -> None:
    """A full pool is a store that is unavailable."""
    database = await on_mariadb(mariadb, limits=Limits(connections=1))
    await database.check()
    database._limits = Limits(connections=1, seconds=0.1)
    async with database._pool.connection():
        with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.1 s"):
            await SqlStore(database).scanned_blocks("BTC", 1)
    await database.aclose()
    with pytest.raises(StoreUnavailable, match="was closed"):
        await SqlStore(database).scanned_blocks("BTC", 1)


async def test_a_long_answer_lets_others_run(mariadb: MariaDb) -> None:
    """Trading goes on while thousands of rows are read."""
    database = await on_mariadb(mariadb)
    store = SqlStore(database)
    deposits = [
        NewDeposit(key=DepositKey("BTC", f"tx{n}", 0), asset="BTC", account=7, address="x", amount=n)
        for n in range(2_000)
    ]
    await store.add_block(Scanned(block=ScanBlock("BTC", 1, "a", "b"), deposits=deposits), 1)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        assert len(await store.deposits("BTC", "pending")) == 2_000
        nursery.cancel_scope.cancel()
    assert turns >= 2_000 // 50
    await database.aclose()


# ---------------------------------------------------------------------------------------------------------- migrations


async def test_two_programs_that_start_at_once_make_the_schema_once(mariadb: MariaDb) -> None:
    """One waits for the other."""
    first = await on_mariadb(mariadb)
    second = MysqlDatabase(first._server, Limits(), Patience(Random(1)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.check)
        nursery.start_soon(second.check)
    rows = await mariadb.ask(f"SELECT version, done FROM {first._server.database}.migration")
    assert [tuple(row) for row in rows] == [(migration.version, 1) for migration in migrations()]
    await first.aclose()
    await second.aclose()


async def test_an_interrupted_migration_is_gone_on_with(mariadb: MariaDb) -> None:
    """A server commits after each statement of a schema: half of them may be there."""
    database = await on_mariadb(mariadb)
    name = database._server.database
    await database.check()
    await mariadb.ask(f"DROP TABLE {name}.candle")
    await mariadb.ask(f"UPDATE {name}.migration SET done = 0")
    again = MysqlDatabase(database._server, Limits(), Patience(Random(0)))
    await again.check()
    assert await SqlStore(again).candles("BTC-USDT", 60, 0, 100, 5) == []
    await database.aclose()
    await again.aclose()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("INSERT INTO migration VALUES (9999, 'later', 'x', 1)", "a newer program has used it"),
        ("UPDATE migration SET digest = 'other'", "is not this program's"),
    ],
)
async def test_another_programs_schema_is_refused(mariadb: MariaDb, change: str, why: str) -> None:
    """It may mean things that this program knows nothing of."""
    database = await on_mariadb(mariadb)
    await database.check()
    connection = Connection(database._server)
    await connection.open_session()
    await connection.run(change)
    connection.discard()
    with pytest.raises(StoreRefused, match=why):
        await MysqlDatabase(database._server, Limits(), Patience(Random(0))).check()
    await database.aclose()


async def test_a_database_with_tables_of_another_program_is_refused(mariadb: MariaDb) -> None:
    """They are not ours to change."""
    database = await on_mariadb(mariadb)
    await mariadb.ask(f"CREATE TABLE {database._server.database}.deposit (x INT)")
    with pytest.raises(StoreRefused, match="is used by another program"):
        await database.check()
    await database.aclose()

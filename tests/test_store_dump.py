"""A dump of the store: taken as of one moment, put back into any other, in the cold backup and out of it again."""

import json
from pathlib import Path
from random import Random

import pytest
from typer.testing import CliRunner

from book.queries import Candle
from persistence import store_dump
from persistence.opening import StoreConfig, open_database
from persistence.schema import TABLES
from persistence.sql_store import SqlStore
from persistence.statements import Database
from persistence.store_dump import BadDump
from persistence.txstore import (
    AddressRow,
    AuditEntry,
    BlockId,
    CandleRow,
    Outpoint,
    Scanned,
    StoreConflict,
    SweepRow,
    TxStore,
    WhitelistRow,
)
from tallystick.cli import app
from tests.stores import block, in_memory, inline, new_deposit, new_withdrawal, opened, spending, utxo


async def fill(store: TxStore) -> None:
    """Something into every table."""
    many = [new_deposit(f"tx{n:04}", amount=10**70 + n) for n in range(store_dump.ROWS_A_LINE + 7)]
    await store.add_block(Scanned(block=block(1), deposits=[new_deposit(), *many], received=[utxo()]), 1)
    await store.fulfil_deposit(new_deposit().key, 4, "1-5", 3, 2)
    await store.freeze_deposit(many[0].key, "ünïcode\n'quoted\\'", 2)
    await store.add_addresses([AddressRow("BTC", 0, "address", 7)])
    for number, asset in enumerate(("BTC", "ETH")):
        await store.request_withdrawal(new_withdrawal(f"1-{number}", asset=asset), 3)
        await store.hold_withdrawal(f"1-{number}", "why", 4)
        for operator in ("bob", "alice"):
            await store.add_approval(f"1-{number}", operator, 2, 5)
    await store.sign_withdrawal(spending("1-0", Outpoint("coin", 0)))
    await store.confirm_withdrawal("1-0", "tx", BlockId(2, "hash2"), 8)
    await store.sign_withdrawal(spending("1-1", txid="tx1", nonce=3))
    await store.freeze_chain("ETH", "why", 5)
    await store.add_to_whitelist(WhitelistRow(7, "BTC", "theirs", 5))
    await store.add_sweep(SweepRow(asset="BTC", txid="s", address="x", amount=9, fee=1, height=4, swept_ns=5))
    await store.add_candles([CandleRow(symbol="A-B", interval_ns=60, candle=Candle(1, 2, 3, 1, 2, 9, 9, 1))], 12)
    entry = AuditEntry(id="x", time_ns=5, kind="admin", who="uid 0", account=None, what="halt", outcome="done")
    await store.add_audit([entry])


async def test_a_dump_has_everything(database: Database) -> None:
    """Put into another store, that dumps the same."""
    await fill(SqlStore(database))
    dump = await store_dump.take(database)
    assert {table for table, _ in store_dump.read(dump)} == set(TABLES)
    other = in_memory()
    async with opened(other) as store:
        counts = await store_dump.load(store, dump)
        assert counts["deposit"] == store_dump.ROWS_A_LINE + 8
        assert await store_dump.take(other) == dump
        assert await store.totals("BTC", "BTC") == await SqlStore(database).totals("BTC", "BTC")
        row = await store.withdrawal("1-0")
        assert row is not None
        assert row.approvals == ("bob", "alice")


async def test_a_dump_goes_into_a_store_of_each_kind(database: Database) -> None:
    """And may be put back twice; but not over anything else."""
    async with opened(in_memory()) as source:
        await fill(source)
        dump = await store_dump.take(source._database)
    store = SqlStore(database)
    for _ in range(2):
        await store_dump.load(store, dump)
    assert await store_dump.take(database) == dump
    await store.release_deposit(new_deposit("tx0000").key, 9)
    with pytest.raises(StoreConflict, match="has another row in place"):
        await store_dump.load(store, dump)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda lines: lines[1:], "line 1 does not say"),
        (lambda lines: [b'{"tallystick_store":2}', *lines[1:]], "of format 2"),
        (lambda lines: lines[:-2], "its end is missing"),
        (lambda lines: [*lines[:1], *lines[2:]], "it is not whole"),
        (lambda lines: [*lines, b"more"], "it is not whole"),
        (lambda lines: [lines[0], b"[", *lines[1:]], "line 2 is not JSON"),
        (lambda lines: [lines[0], b'["nothing",[]]', *lines[1:]], "line 2 has no rows of a table"),
        (lambda lines: [lines[0], b'["mark",[["x"]]]', *lines[1:]], "line 2 has no rows of a table"),
        (lambda lines: [lines[0], b'["mark",[["x",1.5]]]', *lines[1:]], "line 2 has no rows of a table"),
        (lambda lines: [lines[0], b'["mark",[["x",true]]]', *lines[1:]], "line 2 has no rows of a table"),
    ],
)
async def test_a_bad_dump_changes_nothing(spoil: object, why: str) -> None:
    """It says which line is wrong."""
    assert callable(spoil)
    async with opened(in_memory()) as source:
        await fill(source)
        dump = await store_dump.take(source._database)
    async with opened(in_memory()) as store:
        with pytest.raises(BadDump, match=why):
            await store_dump.load(store, b"\n".join(spoil(dump.split(b"\n"))))
        assert await store.scanned_blocks("BTC", 1) == []


async def test_a_row_that_is_none_is_named() -> None:
    """A dump is no way around what the tables have room for."""
    rows = b'["mark",[["with space",1]]]'
    end = json.dumps({"end": dict.fromkeys(TABLES, 0) | {"mark": 1}}).encode()
    async with opened(in_memory()) as store:
        with pytest.raises(BadDump, match="table mark is none: name 'with space'"):
            await store_dump.load(store, b"\n".join([b'{"tallystick_store":1}', rows, end, b""]))


def test_the_commands_dump_and_load(tmp_path: Path) -> None:
    """From one data folder into another."""
    configs = []
    for name in ("one", "two"):
        configs.append(tmp_path / f"{name}.toml")
        configs[-1].write_text(f'[data]\nfolder = "{tmp_path / name}"\n[admin]\nsocket = "{tmp_path / name}.sock"\n')
    run, dump = CliRunner().invoke, str(tmp_path / "dump")
    made = run(app, ["store", "dump", dump, "--config", str(configs[0])])
    assert (made.exit_code, "dumped" in made.output) == (0, True)
    again = run(app, ["store", "dump", dump, "--config", str(configs[0])])
    assert (again.exit_code, "File exists" in again.output) == (2, True)
    loaded = run(app, ["store", "load", dump, "--config", str(configs[1])])
    assert (loaded.exit_code, "withdrawal_tx" in loaded.output) == (0, True)
    (tmp_path / "bad").write_text("nothing")
    bad = run(app, ["store", "load", str(tmp_path / "bad"), "--config", str(configs[1])])
    assert (bad.exit_code, "the dump is bad: line 1 is not JSON" in bad.output) == (3, True)


async def test_a_file_is_dumped_as_it_is(tmp_path: Path) -> None:
    """Also one that another process has open."""
    first = open_database(StoreConfig(), folder=str(tmp_path), blocking=inline, random=Random(0))
    await fill(SqlStore(first))
    second = open_database(StoreConfig(), folder=str(tmp_path), blocking=inline, random=Random(0))
    assert await store_dump.take(first) == await store_dump.take(second)
    await first.aclose()
    await second.aclose()

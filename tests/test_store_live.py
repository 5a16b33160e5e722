"""The store in a whole exchange: candles, the audit, and trading without it."""

from pathlib import Path
from random import Random
from typing import Any

import trio
from attrs import evolve

import supervisor
from actors.archivist import ArchiveConfig
from persistence.opening import FILE, StoreConfig, open_database
from persistence.spill import Spill
from persistence.sql_store import SqlStore
from persistence.storage import RealDisk
from persistence.txstore import AuditEntry
from tests.in_process import buy, running
from tests.simulation.disk import power_cut
from tests.stores import inline


def quick(config: supervisor.Config) -> supervisor.Config:
    """Rounds of candles that a test can wait for."""
    return evolve(config, archive=ArchiveConfig(candle_seconds=0.1))


def the_store(folder: Path) -> SqlStore:
    """What the exchange has left behind."""
    return SqlStore(open_database(StoreConfig(), folder=str(folder), blocking=inline, random=Random(0)))


async def test_logons_and_operators_calls_are_in_the_audit(tmp_path: Path) -> None:
    """Good ones and bad ones, with who and what; calls that change nothing are not."""
    folder = tmp_path / "data"
    async with running(folder, adjust=quick) as exchange:
        await exchange.client()
        stranger = await exchange.client(None)
        assert (await stranger.ask("session.logon", apiKey="nobody"))["status"] != 200
        operator = await exchange.operator()
        await operator.say("market.halt BTC-USDT")
        await operator.say("market.resume NONE")
        await operator.say("tree")
    store = the_store(folder)
    entries = (await store.audit())[::-1]
    await store.aclose()
    logons = [entry for entry in entries if entry.kind == "logon"]
    assert [(entry.who, entry.outcome == "done", entry.account) for entry in logons] == [
        ("key 'alice'", True, 1),
        ("key 'nobody'", False, None),
    ]
    assert all("session.logon in session" in entry.what for entry in logons)
    calls = [entry for entry in entries if entry.kind == "admin"]
    assert [entry.what for entry in calls] == ["market.halt BTC-USDT", "market.resume NONE"]
    assert [entry.outcome == "done" for entry in calls] == [True, False]
    assert all(entry.who.startswith("uid ") for entry in calls)


async def test_an_exchange_trades_without_its_store(tmp_path: Path) -> None:
    """It starts, trades, tells candles and stops; operators see what is wrong."""
    folder = tmp_path / "data"

    def without(config: supervisor.Config) -> supervisor.Config:
        return evolve(quick(config), store=StoreConfig(url="mysql://nobody@127.0.0.1:1/nothing", timeout_seconds=1))

    async with running(folder, adjust=without) as exchange:
        alice, operator = await exchange.client(), await exchange.operator()
        assert (await alice.ask("order.place", **buy("0.5")))["status"] == 200
        assert (await alice.ask("klines", symbol="BTC-USDT", interval="1m"))["status"] == 200
        with trio.fail_after(30):
            store: dict[str, Any] = {"trouble": ""}
            while "cannot be reached" not in store["trouble"]:
                await trio.sleep(0.01)  # nobody tells a client of it
                store = (await operator.ask("info"))["result"]["store"]
        assert store["answers"] is False
    assert not (folder / FILE).exists()
    entries = await spilled(folder)
    assert [entry.kind for entry in entries] == ["logon"]


async def spilled(folder: Path) -> list[AuditEntry]:
    """What waits in the file for the store."""
    return Spill(RealDisk(str(folder), power_cut)).open()

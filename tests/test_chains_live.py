"""The chains in the whole exchange: what is away stops them and nothing else, and says so where operators look."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import trio

from actors.world import Threads
from persistence.opening import FILE
from persistence.sqlite import sqlite_store
from persistence.storage import RealDisk
from tallystick.demo_chains import demo_chains
from tests.in_process import buy, child, running
from tests.simulation.disk import power_cut

WATCHERS = ("watcher-BTC", "watcher-ETH", "watcher-USDT", "withdrawals-bitcoin", "withdrawals-ethereum")


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it is so."""
    with trio.fail_after(30):
        while not await condition():  # noqa: ASYNC110 - the actors have no event for it
            await trio.sleep(0.05)


async def test_a_store_that_is_away_pauses_the_chains_and_nothing_else(tmp_path: Path) -> None:
    """Orders are taken, the actors run, `info`, `tree` and the metrics tell what is the matter."""
    # A folder in the place of the store's file cannot be opened.
    (tmp_path / FILE).mkdir()
    async with running(tmp_path, chains=True) as exchange:
        operator = await exchange.operator()

        async def paused() -> bool:
            info = await operator.said("info")
            return all(FILE in str(view["paused"]) for view in (*info["chains"], *info["withdrawals"]))

        await until(paused)
        client = await exchange.client("alice")
        assert (await client.ask("order.place", **buy("0.1")))["status"] == 200
        tree = await operator.said("tree")
        for name in WATCHERS:
            actor = child(tree, name)
            assert (actor["state"], actor["restarts"]) == ("running", 0)
        metrics = await exchange.metrics()
        assert 'tallystick_watcher_paused{asset="BTC"} 1.0' in metrics
        assert 'tallystick_withdrawals_paused{chain="ethereum"} 1.0' in metrics


async def test_an_actor_of_the_chains_can_be_restarted(tmp_path: Path) -> None:
    """It begins with what is stored, and goes on."""
    async with running(tmp_path, chains=True) as exchange:
        operator = await exchange.operator()
        await operator.said("demo.mine BTC 5")
        for name in WATCHERS:
            assert await operator.said(f"actor.restart {name}") == {"restarted": name}
        height = (await operator.said("demo.mine BTC"))["height"]

        async def caught_up() -> bool:
            return bool((await operator.said("info"))["chains"][0]["scanned"] >= height)

        await until(caught_up)
        assert "tallystick_chain_scanned_height" in await exchange.metrics()


async def test_what_one_can_do_to_the_demos_chains(tmp_path: Path) -> None:
    """With words that say what is wrong where something is."""
    async with running(tmp_path, chains=True) as exchange:
        operator = await exchange.operator()
        client = await exchange.client("bob")
        address = (await client.ask("deposit.address", asset="USDT"))["result"]["address"]
        paid = await operator.said(f"demo.pay USDT {address} 12.5")
        assert (paid["asset"], paid["amount"]) == ("USDT", "12.5")
        assert (await operator.said("demo.mine USDT 2"))["mined"] == 2
        assert (await operator.said("demo.reorg USDT 1"))["undone"] == 1
        for words, why in (
            (f"demo.pay DOGE {address} 1", "DOGE"),
            (f"demo.pay USDT {address}x 1", "48 hexadecimal"),
            (f"demo.pay BTC {address} 1", "simbtc1"),
            (f"demo.pay USDT {address} 0", "more than 0"),
            (f"demo.pay USDT {address} 0.0000001", "6 decimals"),
            ("demo.mine BTC 0", "blocks"),
            ("demo.mine BTC 1001", "blocks"),
            ("demo.reorg BTC 0", "depth"),
            ("demo.reorg BTC 999", "depth"),
            ("demo.reorg BTC x", "depth"),
        ):
            assert why in await operator.refused(words), words


async def test_the_chains_of_an_exchange_without_any_cannot_be_played_with(tmp_path: Path) -> None:
    """Nor are those of real ones."""
    async with running(tmp_path) as exchange:
        assert "real" in await (await exchange.operator()).refused("demo.mine BTC")


async def test_the_demos_chains_survive(tmp_path: Path) -> None:
    """A deposit that was pending before a restart is credited after it, on the same chain."""
    async with running(tmp_path, chains=True) as exchange:
        operator, client = await exchange.operator(), await exchange.client("alice")
        address = (await client.ask("deposit.address", asset="BTC"))["result"]["address"]
        await operator.said(f"demo.pay BTC {address} 0.5")
        height = (await operator.said("demo.mine BTC"))["height"]
    store = sqlite_store(str(tmp_path / FILE), Threads(1))
    chains = demo_chains(RealDisk(str(tmp_path), power_cut), Threads(2), Random(1), str(tmp_path), store)
    simulated = chains.chains[0].simulated
    assert simulated is not None
    assert simulated.host.chain.head.height >= height
    await store.aclose()
    async with running(tmp_path, chains=True) as exchange:
        operator, client = await exchange.operator(), await exchange.client("alice")
        await operator.said("demo.mine BTC 3")

        async def credited() -> bool:
            history = (await client.ask("deposit.history", asset="BTC"))["result"]["deposits"]
            return [deposit["status"] for deposit in history] == ["FULFILLED"]

        await until(credited)
        free = (await client.ask("account.status"))["result"]["balances"][0]["free"]
        assert free == "1000.50000000"

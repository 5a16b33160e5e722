"""The whole tree in one process, on real sockets and a real disk: what clients and operators see."""

from pathlib import Path
from typing import Any

import pytest
import trio

from book.commands import Command, PlaceOrder
from book.engine import Engine
from book.events import Event, Rejected
from persistence.offline import replay
from persistence.storage import RealDisk
from tests.in_process import buy, child, running
from tests.simulation.disk import power_cut

POISON = "6.6600"


class PlantedBugError(Exception):
    """What the engine with a bug raises."""


class EngineWithBug(Engine):
    """Fails half way through any order of 6.66 BTC."""

    def apply(self, command: Command, seq: int, time_ns: int) -> list[Event] | Rejected:
        """As the real one, then the bug."""
        outcome = super().apply(command, seq, time_ns)
        if isinstance(command, PlaceOrder) and command.quantity == 66_600:
            raise PlantedBugError("an order of 6.66 BTC")
        return outcome


async def test_a_bug_in_the_engine_under_load(tmp_path: Path) -> None:
    """Matching restarts by replay, clients stay connected, the offender alone is refused, and again without a crash."""
    async with running(tmp_path / "data", EngineWithBug) as exchange:
        alice, bob, operator = await exchange.client("alice"), await exchange.client("bob"), await exchange.operator()
        outcomes: list[Any] = []

        async def load() -> None:
            for number in range(300):
                reply = await bob.ask("order.place", **buy("0.0100", clientOrderId=f"bob-{number}"))
                outcomes.append(reply)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(load)
            await alice.ask("order.place", **buy("0.0100", clientOrderId="before"))
            poisoned = await alice.ask("order.place", **buy(POISON, clientOrderId="poison"))
        assert (poisoned["status"], poisoned["error"]["code"]) == (500, -1000)
        assert {reply["status"] for reply in outcomes} <= {200, 503}
        assert sum(reply["status"] == 200 for reply in outcomes) > 200

        again = await alice.ask("order.place", **buy(POISON, clientOrderId="poison-2"))
        assert (again["status"], again["error"]["code"]) == (500, -1000)
        assert (await alice.ask("order.status", symbol="BTC-USDT", clientOrderId="before"))["status"] == 200
        assert (await alice.ask("order.status", symbol="BTC-USDT", clientOrderId="poison"))["status"] == 400

        matching = child((await operator.ask("tree"))["result"], "matching")
        assert (matching["state"], matching["restarts"]) == ("running", 1)
        assert "EngineFailedError" in matching["last_error"]
        opened = (await bob.ask("openOrders.status"))["result"]["orders"]
        done = {reply["result"]["orderId"] for reply in outcomes if reply["status"] == 200}
        assert {order["orderId"] for order in opened} == done
        live = (await operator.ask("info"))["result"]["engine"]["digest"]

    engine = Engine()
    replay(RealDisk(str(tmp_path / "data"), power_cut), engine)
    engine.check()
    assert engine.digest.value().hex() == live


async def test_a_restart_by_an_operator_keeps_clients_and_state(tmp_path: Path) -> None:
    """`actor.restart matching` and `reqlog-writer` go by under connected clients; only `gateway` hangs up on them."""
    async with running(tmp_path / "data") as exchange:
        alice, operator = await exchange.client(), await exchange.operator()
        placed = await alice.ask("order.place", **buy("0.5"))
        for name in ("matching", "reqlog-writer", "metrics"):
            assert (await operator.ask("actor.restart", name=name))["result"] == {"restarted": name}
            found = await alice.ask("order.status", symbol="BTC-USDT", orderId=placed["result"]["orderId"])
            assert found["result"]["status"] == "NEW"
        assert (await operator.ask("actor.restart", name="gateway"))["status"] == 200
        with pytest.raises((EOFError, trio.BrokenResourceError)):
            await alice.ask("ping")
        assert (await (await exchange.client()).ask("ping"))["status"] == 200


async def test_what_an_operator_sees_and_does(tmp_path: Path) -> None:
    """Every admin command, as JSON and as bare words, and what is said to wrong ones."""
    async with running(tmp_path / "data") as exchange:
        alice, operator = await exchange.client(), await exchange.operator()
        await alice.ask("order.place", **buy("0.5"))

        tree = (await operator.ask("tree"))["result"]
        assert [entry["name"] for entry in tree["children"]] == [
            "engine",
            "store",
            "archivist",
            "backup",
            "metrics",
            "admin",
            "gateway",
        ]
        assert child(tree, "reqlog-writer")["state"] == "running"
        info = (await operator.ask("info"))["result"]
        assert info["engine"]["open_orders"] == 1
        assert info["engine"]["totals"]["BTC"] == 202_000 * 10**8
        markets = (await operator.ask("market.list"))["result"]["markets"]
        assert markets[0] == {"symbol": "BTC-USDT", "status": "TRADING", "openOrders": 1}
        assert (await operator.ask("log.status"))["result"]["has_room"] is True
        commands = (await operator.ask("help"))["result"]["commands"]
        assert "actor.restart NAME" in commands
        assert "shutdown --yes" in commands

        (session,) = (await operator.ask("session.list"))["result"]["sessions"]
        assert session["account"] == 1
        killed = await operator.ask("session.kill", session=session["session"])
        assert killed["result"] == {"killed": session["session"]}
        with pytest.raises((EOFError, trio.BrokenResourceError)):
            await alice.receive()

        await operator._stream.send_all(b"market.list\n\n  \nactor.restart nobody\nsession.kill 77\nshutdown\n")
        assert (await operator.receive())["result"]["markets"]
        for words in ("no child", "no session '77'", "shutdown --yes"):
            refused = await operator.receive()
            assert refused["status"] == 400
            assert words in refused["error"]["msg"], refused
        assert (await operator.ask("log.stat"))["error"]["code"] == -1020
        assert (await operator.ask("tree", name="x"))["error"]["msg"] == "'name' is one too many; usage: tree"
        await operator._stream.send_all(b'{"method":1}\n\xff\xfe\n{"a":\n"\n')
        for _ in range(4):
            assert (await operator.receive())["error"]["code"] == -1135


async def test_an_operator_stops_the_exchange(tmp_path: Path) -> None:
    """`shutdown --yes` is answered, then everything stops in order, and the log says so."""
    with trio.fail_after(30):
        async with running(tmp_path / "data") as exchange:
            operator = await exchange.operator()
            await operator._stream.send_all(b"shutdown --yes\n")
            assert (await operator.receive())["result"] == {"stopping": True}
            with pytest.raises((EOFError, trio.BrokenResourceError)):
                await operator.receive()


async def test_a_scrape(tmp_path: Path) -> None:
    """Prometheus text with what happened; other paths and methods are told what there is."""
    async with running(tmp_path / "data") as exchange:
        alice = await exchange.client()
        await alice.ask("order.place", **buy("0.5"))
        text = await exchange.metrics()
        for line in (
            'tallystick_actor_up{actor="matching"} 1.0',
            'tallystick_actor_restarts_total{actor="matching"} 0.0',
            'tallystick_mailbox_items{mailbox="matching"} 0.0',
            "tallystick_sessions 1.0",
            "tallystick_log_has_room 1.0",
        ):
            assert line in text

"""What orders do without being asked each time, through the whole tree and over real sockets."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.in_process import Connection, Running, buy, running

SOON = 0.4  # seconds


def sell(quantity: str, price: str, **more: Any) -> dict[str, Any]:
    """The params of an order to sell."""
    return buy(quantity, price, side="SELL", **more)


async def done(client: Connection, method: str, **params: Any) -> Any:
    """The result of a request that is done."""
    reply = await client.ask(method, **params)
    assert reply["status"] == 200, reply
    return reply["result"]


async def statuses(client: Connection) -> dict[str, str]:
    """The client's open orders, by their names."""
    orders = (await done(client, "openOrders.status"))["orders"]
    return {order["clientOrderId"]: order["status"] for order in orders}


# ---------------------------------------------------------------------------------------------------------------- stops


async def test_stops_are_let_loose_by_trades(tmp_path: Path) -> None:
    """One lets loose the next; whoever began it sees its own trade only, and the owners of the others ask."""
    async with running(tmp_path / "data") as exchange:
        alice, bob = await exchange.client("alice"), await exchange.client("bob")
        for price in ("50000", "49000", "48000"):
            await done(alice, "order.place", **buy("0.1", price))
        await done(bob, "order.place", **sell("0.1", "50000", clientOrderId="first"))
        stop = {"symbol": "BTC-USDT", "side": "SELL", "quantity": "0.1", "type": "STOP_LOSS"}
        assert (await bob.ask("order.place", **stop, stopPrice="50000"))["error"]["reason"] == "WOULD_TRIGGER"
        await done(bob, "order.place", **stop, stopPrice="49500", clientOrderId="s-1")
        await done(
            bob,
            "order.place",
            **{**stop, "type": "STOP_LOSS_LIMIT"},
            price="47000",
            stopPrice="49000",
            clientOrderId="s-2",
        )
        assert await statuses(bob) == {"s-1": "NEW", "s-2": "NEW"}
        waiting = await done(bob, "order.status", symbol="BTC-USDT", clientOrderId="s-2")
        assert (waiting["stopPrice"], waiting["price"]) == ("49000.00", "47000.00")

        await done(alice, "order.place", **buy("0.05", "49200"))
        first = await done(bob, "order.place", **sell("0.05", "49200"))
        assert [fill["price"] for fill in first["fills"]] == ["49200.00"]
        assert await statuses(bob) == {}
        trades = (await done(bob, "myTrades", symbol="BTC-USDT", fromId=3))["trades"]
        assert [(trade["clientOrderId"], trade["price"], trade["qty"]) for trade in trades] == [
            ("s-1", "49000.00", "0.1000"),
            ("s-2", "48000.00", "0.1000"),
        ]
        everybody = (await done(bob, "trades.recent", symbol="BTC-USDT", limit=2))["trades"]
        assert [trade["tradeId"] for trade in everybody] == [3, 4]
        ticker = await done(bob, "ticker.24hr", symbol="BTC-USDT")
        assert (ticker["count"], ticker["last"]) == (4, "48000.00")


# ----------------------------------------------------------------------------------------------------------------- time


async def test_time_ends_orders_and_nobody_has_to_ask(tmp_path: Path) -> None:
    """GTD and `order.cancelAllAfter`, on an exchange where nothing else happens."""
    async with running(tmp_path / "data") as exchange:
        alice = await exchange.client()
        soon_ms = time.time_ns() // 10**6 + round(SOON * 1000)
        await done(alice, "order.place", **buy("0.1", timeInForce="GTD", expireTime=soon_ms, clientOrderId="gtd"))
        await done(alice, "order.place", **buy("0.1", clientOrderId="gtc"))
        await trio.sleep(3 * SOON)
        assert await statuses(alice) == {"gtc": "NEW"}
        gone = await done(alice, "order.status", symbol="BTC-USDT", clientOrderId="gtd")
        assert gone["status"] == "EXPIRED"
        assert soon_ms <= gone["updateTime"] < soon_ms + 2_000 * SOON  # not only when it was asked for

        switch = await done(alice, "order.cancelAllAfter", timeoutMs=round(SOON * 1000))
        assert 0 < switch["triggerTime"] - time.time_ns() // 10**6 <= SOON * 1000
        await trio.sleep(3 * SOON)
        assert await statuses(alice) == {}
        cancelled = await done(alice, "order.status", symbol="BTC-USDT", clientOrderId="gtc")
        assert (cancelled["status"], cancelled["updateTime"] >= switch["triggerTime"]) == ("CANCELED", True)


# ---------------------------------------------------------------------------------------------------------- disconnects


async def kill(exchange: Running, _client: Connection) -> None:
    """An operator ends the session."""
    operator = await exchange.operator()
    (session,) = [
        entry for entry in (await operator.ask("session.list"))["result"]["sessions"] if entry["account"] == 1
    ]
    assert (await operator.ask("session.kill", session=session["session"]))["status"] == 200


async def restart_gateway(exchange: Running, _client: Connection) -> None:
    """An operator restarts the door."""
    assert (await (await exchange.operator()).ask("actor.restart", name="gateway"))["status"] == 200


async def hang_up(_exchange: Running, client: Connection) -> None:
    """The client goes."""
    await client.close()


async def log_out(_exchange: Running, client: Connection) -> None:
    """The client logs out and stays connected."""
    await done(client, "session.logout")


@pytest.mark.parametrize("end", [hang_up, log_out, kill, restart_gateway])
async def test_orders_end_with_their_connection_if_they_are_to(
    end: Callable[[Running, Connection], Awaitable[None]], tmp_path: Path
) -> None:
    """Also when matching was restarted meanwhile; those of other connections stay."""
    async with running(tmp_path / "data") as exchange:
        armed = await exchange.client("alice", cancelOnDisconnect=True)
        plain = await exchange.client("bob")
        await done(armed, "order.place", **buy("0.1", clientOrderId="armed"))
        await done(plain, "order.place", **buy("0.1", clientOrderId="plain"))
        operator = await exchange.operator()
        assert (await operator.ask("actor.restart", name="matching"))["status"] == 200
        await end(exchange, armed)
        alice, bob = await exchange.client("alice"), await exchange.client("bob")

        with trio.fail_after(10):
            while await statuses(alice):  # noqa: ASYNC110 - the exchange tells nobody
                await trio.sleep(0.02)
        assert await statuses(bob) == {"plain": "NEW"}
        assert (await done(alice, "order.status", symbol="BTC-USDT", clientOrderId="armed"))["status"] == "CANCELED"


async def test_a_restart_of_the_exchange_is_a_disconnect_too(tmp_path: Path) -> None:
    """For those who asked for it."""
    async with running(tmp_path / "data") as exchange:
        armed, plain = await exchange.client("alice", cancelOnDisconnect=True), await exchange.client("bob")
        await done(armed, "order.place", **buy("0.1"))
        await done(plain, "order.place", **buy("0.1", clientOrderId="plain"))
    async with running(tmp_path / "data") as exchange:
        assert await statuses(await exchange.client("alice")) == {}
        bob = await exchange.client("bob", cancelOnDisconnect=True)
        assert await statuses(bob) == {"plain": "NEW"}
        await bob.close()
    async with running(tmp_path / "data") as exchange:
        assert await statuses(await exchange.client("bob")) == {"plain": "NEW"}


# -------------------------------------------------------------------------------------------------------------- batches


async def test_a_batch_is_many_requests_and_one_answer(tmp_path: Path) -> None:
    """Fifty at once, consecutive in the log; then their cancels, with one that is wrong."""
    async with running(tmp_path / "data") as exchange:
        alice = await exchange.client()
        orders = [buy("0.01", clientOrderId=f"c-{number}") for number in range(50)]
        placed = (await done(alice, "order.batch", orders=orders))["results"]
        numbers = [each["result"]["seq"] for each in placed]
        assert numbers == list(range(numbers[0], numbers[0] + 50))
        cancels = [{"symbol": "BTC-USDT", "clientOrderId": f"c-{number}"} for number in range(0, 50, 2)]
        cancelled = (await done(alice, "order.batch", orders=[*cancels, {"symbol": "BTC-USDT"}, cancels[0]]))["results"]
        assert [each["status"] for each in cancelled] == [200] * 25 + [400, 400]
        assert len(await statuses(alice)) == 25


# -------------------------------------------------------------------------------------------------------------- markets


async def test_a_market_that_goes_too_far_halts(tmp_path: Path) -> None:
    """At the end of its band: what would trade beyond expires, nothing is taken but cancels, and an operator helps."""
    async with running(tmp_path / "data") as exchange:
        alice, bob = await exchange.client("alice"), await exchange.client("bob")
        operator = await exchange.operator()
        await done(bob, "order.place", **sell("0.1", "60000"))
        await done(bob, "order.place", **sell("0.1", "90000", clientOrderId="far"))
        far = await done(alice, "order.place", **buy("0.3", "95000"))
        assert (far["status"], far["executedQty"]) == ("EXPIRED", "0.1000")
        market = (await done(alice, "exchangeInfo"))["symbols"][0]
        assert (market["status"], market["priceBand"], market["haltMs"]) == ("HALT", "0.500000", 60_000)
        refused = (await alice.ask("order.test", **buy("0.1")))["error"]
        assert (refused["reason"], refused["msg"]) == (
            "MARKET_CLOSED",
            "the market is in state HALT, which does not take this",
        )
        await done(bob, "order.cancel", symbol="BTC-USDT", clientOrderId="far")
        assert (await operator.ask("market.resume", symbol="BTC-USDT"))["status"] == 200
        await done(alice, "order.test", **buy("0.1"))

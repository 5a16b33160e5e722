"""The channels of the real program over sockets, and over its death."""

from collections import Counter, defaultdict
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import trio

from book.events import Trade
from book.history import INTERVALS
from book.reference import ReferenceEngine
from persistence import offline
from persistence.codec import CommandRecord, ConfigRecord, TickRecord
from persistence.storage import RealDisk
from tests.in_process import Connection, buy, running
from tests.live import LiveClient, LiveExchange
from tests.simulation.disk import power_cut

SYMBOL = "BTC-USDT"
BOOK = f"book:{SYMBOL}"
KLINES = [f"kline_{name}:{SYMBOL}" for name in INTERVALS.values()]

# By the exchange itself, in this order of what is done below.
EXEC_TYPES = {"NEW", "TRADE", "CANCELED", "REPLACED", "REJECTED", "EXPIRED"}
EVENTS = {
    *("book.snapshot", "book.delta", "trade", "ticker", "kline", "executionReport", "balance", "deposit"),
    *("marketStatus", "heartbeat", "serverShutdown"),
}


async def test_every_event_and_every_step_of_an_order_comes(tmp_path: Path) -> None:
    """One follower of everything is told of all that can happen, up to the stop."""
    seen = Counter[str]()
    steps = set[str]()
    async with running(tmp_path / "data") as exchange:
        follower, bob, operator = (
            await exchange.client("alice"),
            await exchange.client("bob"),
            await exchange.operator(),
        )
        channels = [BOOK, f"trade:{SYMBOL}", f"ticker:{SYMBOL}", KLINES[0], "user"]
        assert (await follower.ask("subscribe", channels=channels))["result"] == {"channels": channels}

        async def listen() -> None:
            try:
                while True:
                    line = await follower.receive()
                    seen[line.get("event", "")] += 1
                    steps.add(line.get("execType", ""))
            except EOFError:
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await act(follower, bob, operator)
            with trio.fail_after(30):
                while not EVENTS - {"serverShutdown"} <= seen.keys():  # noqa: ASYNC110 - they are counted elsewhere
                    await trio.sleep(0.05)
            await operator.said("shutdown --yes")
    assert seen.keys() >= EVENTS
    assert steps >= EXEC_TYPES


async def act(alice: Connection, bob: Connection, operator: Connection) -> None:
    """Let happen what can happen to alice's orders."""
    for method, params in (
        ("order.place", buy("1.0000", clientOrderId="a")),
        ("order.amend", {"symbol": SYMBOL, "clientOrderId": "a", "newQty": "0.9000"}),
        ("order.place", buy("0.1000", "30000.00", timeInForce="IOC")),
        ("order.place", buy("9999.0000", clientOrderId="too-much")),
    ):
        await alice.send(method, **params)
    assert (await bob.ask("order.place", **{**buy("0.5000"), "side": "SELL"}))["result"]["status"] == "FILLED"
    await alice.send("order.cancel", symbol=SYMBOL, clientOrderId="a")
    await operator.said("credit alice BTC 1")
    await operator.said(f"market.halt {SYMBOL}")


# ----------------------------------------------------------------------------------------------------- over its death


def candles_of_the_log(data: Path) -> dict[str, list[tuple[Any, ...]]]:
    """By interval, what the log's commands make, in the simple engine, with nothing of the program's own candles."""
    engine, trades = ReferenceEngine(), list[tuple[int, Trade]]()
    for entry in offline.dump(RealDisk(str(data), power_cut)):
        if isinstance(entry.record, CommandRecord | ConfigRecord | TickRecord):
            assert entry.seq is not None
            events = engine.apply(entry.record.command, entry.seq, entry.record.time_ns)
            assert isinstance(events, list)
            trades += [(entry.record.time_ns, event) for event in events if isinstance(event, Trade)]
    found = defaultdict[str, list[tuple[Any, ...]]](list)
    for interval_ns, name in INTERVALS.items():
        for number, group in groupby(trades, lambda trade: trade[0] // interval_ns):  # noqa: B023 - used up at once
            made = [trade for _, trade in group]
            prices = [trade.price for trade in made]
            ends = (prices[0], max(prices), min(prices), prices[-1])
            found[name].append(
                (
                    number * interval_ns // 10**6,
                    *(f"{price / 100:.2f}" for price in ends),
                    f"{sum(trade.quantity for trade in made) / 10**4:.4f}",
                    (number + 1) * interval_ns // 10**6 - 1,
                )
            )
    return found


def trade(exchange: LiveExchange, prices: list[int]) -> None:
    """Alice buys from bob, at each of these prices."""
    with exchange.client("alice") as alice, exchange.client("bob") as bob:
        for number, price in enumerate(prices, start=1):
            order = {"symbol": SYMBOL, "type": "LIMIT", "quantity": f"0.00{10 + number}", "price": f"{price}.00"}
            assert bob.ask("order.place", side="SELL", **order)["status"] == 200
            assert alice.ask("order.place", side="BUY", **order)["result"]["status"] == "FILLED"


def next_event(client: LiveClient, event: str) -> Any:
    """The next event of this kind."""
    while True:
        line = client.receive_line()
        if line.get("event") == event:
            return line


@pytest.mark.process
def test_candles_and_numbers_outlive_the_process(tmp_path: Path) -> None:
    """After `kill -9` the candles are those of the log, and channels go on with the next number."""
    exchange = LiveExchange(tmp_path / "data", "--quiet-market").start()
    trade(exchange, [50_000, 50_200, 49_900])
    with exchange.client() as follower:
        follower.ask("subscribe", channels=[BOOK, f"trade:{SYMBOL}"])
        trade(exchange, [50_100])
        seqs: dict[str, int] = {}
        while (seqs.get(BOOK), seqs.get(f"trade:{SYMBOL}")) != (8, 4):
            line = follower.receive_line()
            seqs[line.get("channel", "")] = line.get("seq", 0)
        exchange.kill()
    expected = candles_of_the_log(exchange.data)
    exchange.start()
    with exchange.client() as follower:
        for name, candles in expected.items():
            found = follower.ask("klines", symbol=SYMBOL, interval=name)["result"]["klines"]
            assert [tuple(candle) for candle in found] == candles
        assert follower.ask("resume", channel=BOOK, fromSeq=9)["status"] == 200
        assert follower.ask("resume", channel=f"trade:{SYMBOL}", fromSeq=2)["status"] == 200
        assert [next_event(follower, "trade")["tradeId"] for _ in range(3)] == [2, 3, 4]
        assert follower.ask("subscribe", channels=KLINES)["status"] == 200
        told = {(event := next_event(follower, "kline"))["interval"]: event for _ in KLINES}
        for name, candles in expected.items():
            event = told[name]
            names = ("openTime", "open", "high", "low", "close", "volume", "closeTime")
            assert tuple(event[key] for key in names) == candles[-1]
        trade(exchange, [50_300])
        assert next_event(follower, "book.delta")["firstSeq"] == 9
    assert exchange.stop() == 0

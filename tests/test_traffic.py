"""What is counted and timed at the clients' door, and what a monitor sees of it."""

from collections.abc import Sequence

import pytest
import trio

from actors import wire
from actors.histogram import LATENCY_SECONDS, Histogram
from actors.parameters import DepthParams
from actors.traffic import MONITORED, SLOW_KEPT, Monitor, Speaker, Traffic
from actors.turns import Turn
from actors.wire import Line, Reply, refusal
from book.codes import BAD_SYMBOL
from tests.clients import Exchange as ClientExchange
from tests.clients import connected, place

ALICE = Speaker(7, 1)
DEPTH = wire.Depth(DepthParams("BTC-USDT"), id=1)
DONE = Reply(1, 200, None)  # type: ignore[arg-type]  # nobody looks at the result
REFUSED = refusal(1, BAD_SYMBOL, "there is no such symbol")


def written(traffic: Traffic, lines: Sequence[Line], *, took_ns: int = 0) -> None:
    """One turn of depth requests with these answers was written."""
    turn = Turn(began_ns=1_000)
    turn.slots += [DEPTH] * len(lines)
    turn.asked += [wire.Depth] * len(lines)
    traffic.written([turn], lines, ALICE, 1_000 + took_ns, 5_000_000)


def test_a_histogram() -> None:
    """Each bucket holds what is at most its bound; quantiles are bounds."""
    histogram = Histogram()
    assert histogram.quantile(0.5) == 0.0
    histogram.observe(0.0001, 98)
    histogram.observe(0.00011)
    histogram.observe(11.0)
    assert histogram.counts[:2] == [98, 1]
    assert histogram.counts[-1] == 1
    assert histogram.count == 100
    assert histogram.seconds == pytest.approx(11.00991)
    assert [histogram.quantile(share) for share in (0.5, 0.98, 0.99, 1.0)] == [0.0001, 0.0001, 0.0002, float("inf")]
    assert list(LATENCY_SECONDS) == sorted(set(LATENCY_SECONDS))


def test_answers_are_counted_by_method_and_result() -> None:
    """And refusals by their code."""
    traffic = Traffic()
    written(traffic, [DONE, REFUSED, DONE])
    assert list(traffic.answered()) == [("depth", 200, 2), ("depth", 400, 1)]
    assert list(traffic.refused()) == [("BAD_SYMBOL", 1)]
    assert traffic.latency.count == 3


def test_lines_that_nobody_asked_for_are_not_counted() -> None:
    """Neither the greeting nor what is said to whom we hang up on."""
    traffic = Traffic()
    greeting, parting, between = Turn(), Turn(), Turn()
    greeting.slots.append(wire.Hello(1, "", 0))
    parting.slots.append(REFUSED)
    between.slots += [DEPTH, DEPTH]
    between.asked += [wire.Depth, wire.Depth]
    lines: list[Line] = [wire.Hello(1, "", 0), DONE, REFUSED, REFUSED]
    traffic.written([greeting, between, parting], lines, ALICE, 0, 0)
    assert list(traffic.answered()) == [("depth", 200, 1), ("depth", 400, 1)]
    assert traffic.latency.count == 2


def test_slow_turns_are_kept() -> None:
    """Those above 100 ms, the last of them."""
    traffic = Traffic()
    written(traffic, [DONE], took_ns=100_000_000)
    assert not traffic.slow
    for extra in range(SLOW_KEPT + 1):
        written(traffic, [DONE, DONE], took_ns=200_000_000 + extra * 1_000_000)
    assert len(traffic.slow) == SLOW_KEPT
    slow = traffic.slow[0]
    assert (slow.session, slow.account, slow.requests, slow.milliseconds) == (7, 1, 2, 201.0)
    assert slow.methods == {"depth": 2}


async def test_a_monitor_sees_what_it_asks_for() -> None:
    """Only while it watches, and only what matches all of its filter."""
    traffic = Traffic()
    every, some = Monitor(""), Monitor("method=depth,status=400,symbol=BTC-USDT,account=1,session=7")
    written(traffic, [DONE])
    with traffic.watched_by(every), traffic.watched_by(some):
        written(traffic, [DONE, REFUSED], took_ns=2_000_000)
        (event,) = await some.next()
        assert event == {
            "event": "request",
            "time": 5,
            "session": 7,
            "account": 1,
            "method": "depth",
            "params": {"symbol": "BTC-USDT", "limit": 100},
            "status": 400,
            "code": BAD_SYMBOL,
            "milliseconds": 2.0,
        }
        assert [event["status"] for event in await every.next()] == [200, 400]
    written(traffic, [DONE])
    with trio.move_on_after(0.01):
        raise AssertionError(await every.next())


@pytest.mark.parametrize("words", ["depth", "colour=red", "method=depth,,", "="])
def test_a_filter_that_is_none(words: str) -> None:
    """The keys are named."""
    with pytest.raises(ValueError, match="method, account, session, status, symbol"):
        Monitor(words)


async def test_a_monitor_that_cannot_keep_up_is_told_what_it_missed() -> None:
    """Its queue is bounded, and nobody waits for it."""
    traffic, monitor = Traffic(), Monitor("")
    with traffic.watched_by(monitor):
        written(traffic, [DONE] * (MONITORED + 3))
        *events, skipped = await monitor.next()
    assert len(events) == MONITORED
    assert skipped == {"event": "skipped", "requests": 3}


async def test_a_session_tells_all_of_it() -> None:
    """Whatever is asked is counted once, what cannot be read too; a logon's parameters are shown to nobody."""
    exchange = ClientExchange()
    monitor = Monitor("")
    async with connected(exchange, greeted=True) as (client, session):
        with session.traffic.watched_by(monitor):
            await client.ask("session.logon", apiKey="alice")
            await client.send({"id": 1, "method": "ping"}, place(2), {"id": 3, "method": "nothing"})
            for _ in range(3):
                await client.receive()
            events: list[dict[str, object]] = []
            while len(events) < 4:
                events += await monitor.next()
    answered = list(session.traffic.answered())
    assert answered == [("order.place", 200, 1), ("ping", 200, 1), ("session.logon", 200, 1), ("unreadable", 400, 1)]
    by_method = {event["method"]: event["params"] for event in events}
    assert by_method["session.logon"] is None
    assert by_method["order.place"]["price"] == "49000.00"  # type: ignore[index]  # an order's are a mapping

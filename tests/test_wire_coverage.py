"""Every method, event and error code of the protocol, over real sockets; what is missing is named.

What there is comes from the code: a method, an event or a code that is new makes this fail until it is exercised here.
"""

from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve

import supervisor
from actors import reqlog_writer
from actors.streams import StreamLimits
from book import codes
from tallystick import reference
from tests.in_process import Running, buy, running
from tests.test_exchange import POISON, EngineWithBug
from tests.wire_recorder import Recorded, Recorder

SYMBOL = "BTC-USDT"
CHANNELS = ["book:BTC-USDT", "trade:BTC-USDT", "ticker:BTC-USDT", "kline_1m:BTC-USDT", "user"]

# Never to a client.
OPERATORS_ONLY = {"DEFINITION_REJECTED"}


async def test_everything_of_the_protocol_is_exercised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a client over a socket: done at least once, told at least once, refused with at least once."""
    recorder = Recorder()
    async with running(tmp_path / "usual", EngineWithBug, chains=True) as exchange:
        await every_method(exchange, recorder)
        await every_method_about_chains(exchange, recorder)
        await every_refusal_of_a_request(exchange, recorder)
        await every_refusal_of_a_logon(exchange, recorder)
        await a_market_that_halts(exchange, recorder)
        await a_bug_in_the_engine(exchange, recorder)
        await a_bug_in_the_writer(exchange, recorder, monkeypatch)
        await an_exchange_that_lets_nobody_in(exchange, recorder)
        await a_stop(exchange, recorder)
    async with running(tmp_path / "narrow", adjust=narrow) as exchange:
        await every_limit(exchange, recorder)
    async with running(tmp_path / "slow", adjust=short_of_memory) as exchange:
        await a_client_that_does_not_read(exchange, recorder)
    show(recorder, capsys)
    judge(recorder)


def test_what_is_missing_is_named() -> None:
    """One that was not exercised, among all that were, fails by its name; so does a refusal that is not documented."""
    recorder = Recorder()
    recorder.methods |= reference.METHODS.keys() - {"depth"}
    recorder.events |= reference.EVENTS.keys()
    recorder.codes |= set(codes.CODE_NAMES.values())
    with pytest.raises(AssertionError, match="depth"):
        judge(recorder)
    recorder.methods.add("depth")
    recorder.refusals.add(("ping", "BAD_SIDE"))
    with pytest.raises(AssertionError, match="ping was refused with BAD_SIDE"):
        judge(recorder)


def of_the_protocol(recorder: Recorder) -> dict[str, tuple[set[str], set[str]]]:
    """What was seen, and what there is, by kind."""
    return {
        "methods": (recorder.methods, set(reference.METHODS)),
        "events": (recorder.events, set(reference.EVENTS)),
        "codes": (recorder.codes, set(codes.CODE_NAMES.values()) - OPERATORS_ONLY),
    }


def show(recorder: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    """Print the list, whatever else is printed."""
    with capsys.disabled():
        for kind, (seen, expected) in of_the_protocol(recorder).items():
            absent = ", ".join(sorted(expected - seen)) or "none"
            print(f"\nover a socket, {kind}: {len(seen & expected)} of {len(expected)}; missing: {absent}", end="")  # noqa: T201
            print(f"\n  {' '.join(sorted(seen))}", end="")  # noqa: T201


def judge(recorder: Recorder) -> None:
    """Fail where something is missing, or was refused with what the reference does not have."""
    missing = {kind: sorted(expected - seen) for kind, (seen, expected) in of_the_protocol(recorder).items()}
    assert not any(missing.values()), missing
    for method, name in recorder.refusals:
        if method in reference.METHODS:
            known = {codes.CODE_NAMES[code] for code in (*reference.ALWAYS, *reference.refused_with(method))}
            assert name in known, f"{method} was refused with {name}, and its reference does not say so"


async def every_method(exchange: Running, recorder: Recorder) -> None:
    """Each is done once, and what it leads to is told."""
    alice, bob = await recorder.connect(exchange, "alice"), await recorder.connect(exchange, "bob")
    operator = await exchange.operator()
    await alice.ask("subscribe", channels=CHANNELS)
    for method in ("ping", "time", "exchangeInfo", "session.status", "account.status", "openOrders.status"):
        await alice.ask(method)
    await alice.ask("account.commission", symbol=SYMBOL)
    await alice.ask("order.test", **buy("1"))
    placed = await alice.ask("order.place", **buy("1", clientOrderId="one"))
    one = {"symbol": SYMBOL, "orderId": placed["result"]["orderId"]}
    await alice.ask("order.status", **one)
    await alice.ask("order.amend", **one, newQty="0.9")
    await alice.ask("order.cancelReplace", **buy("0.5"), cancelClientOrderId="one")
    await bob.ask("order.place", symbol=SYMBOL, side="SELL", type="MARKET", quantity="0.1")
    await alice.ask(
        "order.batch", orders=[buy("0.2", clientOrderId="two"), {"symbol": SYMBOL, "clientOrderId": "three"}]
    )
    await alice.ask("order.cancel", symbol=SYMBOL, clientOrderId="two")
    await alice.ask("order.cancelAllAfter", timeoutMs=0)
    for method in ("myTrades", "allOrders", "depth", "trades.recent", "ticker.24hr"):
        await alice.ask(method, symbol=SYMBOL)
    await alice.ask("klines", symbol=SYMBOL, interval="1m")
    await operator.said("credit alice BTC 1")
    await alice.until(["ticker", "kline", "deposit", "heartbeat"])
    await alice.ask("unsubscribe", channels=CHANNELS[:1])
    await alice.ask("resume", channel=CHANNELS[1], fromSeq=1)
    await alice.ask("openOrders.cancelAll")
    await alice.ask("session.logout")


async def every_method_about_chains(exchange: Running, recorder: Recorder) -> None:
    """An address, a withdrawal to somewhere else, and how they stand; then what is wrong with a withdrawal."""
    alice, bob = await recorder.connect(exchange, "alice"), await recorder.connect(exchange, "bob")
    await alice.ask("subscribe", channels=["user"])
    await alice.ask("deposit.address", asset="BTC")
    elsewhere = (await bob.ask("deposit.address", asset="BTC"))["result"]["address"]
    out = {"asset": "BTC", "address": elsewhere, "amount": "0.5", "withdrawOrderId": "out"}
    await alice.ask("withdraw.apply", **out)
    await alice.ask("withdraw.status", withdrawOrderId="out")
    await alice.ask("withdraw.cancel", withdrawOrderId="out")
    await alice.ask("withdraw.history")
    await alice.ask("deposit.history")
    while "withdrawal" not in recorder.events:
        await alice.line()
    assert await alice.refused("withdraw.status", withdrawOrderId="in") == "WITHDRAWAL_REJECTED"
    assert await alice.refused("withdraw.apply", **{**out, "address": "nowhere"}) == "BAD_ADDRESS"


async def an_exchange_that_lets_nobody_in(exchange: Running, recorder: Recorder) -> None:
    """Whoever connects is told why, and hung up on."""
    operator = await exchange.operator()
    await operator.said("drain")
    await (await recorder.connect(exchange)).to_the_end()
    await operator.said("drain off")


async def every_refusal_of_a_request(exchange: Running, recorder: Recorder) -> None:
    """Each by one request that is wrong in just that."""
    alice = await recorder.connect(exchange, "alice")
    order = buy("1")
    wrong: list[tuple[str, str, dict[str, Any]]] = [
        ("UNSUPPORTED_METHOD", "order.palce", order),
        ("MANDATORY_PARAM", "order.place", {"symbol": SYMBOL}),
        ("UNKNOWN_PARAM", "order.place", {**order, "colour": "red"}),
        ("INVALID_PARAMETER", "depth", {"symbol": SYMBOL, "limit": 5_001}),
        ("INVALID_TIMESTAMP", "order.place", {**order, "timestamp": 1}),
        ("BAD_SYMBOL", "depth", {"symbol": "BTC-EUR"}),
        ("BAD_SIDE", "order.place", {**order, "side": "HOLD"}),
        ("BAD_TYPE", "order.place", {**order, "type": "WISH"}),
        ("BAD_TIF", "order.place", {**order, "timeInForce": "NOW"}),
        ("BAD_PRECISION", "order.place", {**order, "quantity": "0.0000000001"}),
        ("FILTER_FAILURE", "order.place", {**order, "quantity": "0.00001"}),
        ("ORDER_REJECTED", "order.place", buy("9000")),
        ("CANCEL_REJECTED", "order.cancel", {"symbol": SYMBOL, "orderId": 999}),
        ("NO_SUCH_ORDER", "order.status", {"symbol": SYMBOL, "orderId": 999}),
        ("GAP_TOO_OLD", "resume", {"channel": f"trade:{SYMBOL}", "fromSeq": 1_000}),
    ]
    await alice.ask("subscribe", channels=[f"trade:{SYMBOL}"])
    for name, method, params in wrong:
        assert await alice.refused(method, **params) == name
    await alice.stream.send_all(b"{\n")
    while "error" not in (line := await alice.line()):
        pass
    assert line["error"]["name"] == "INVALID_JSON"


async def every_refusal_of_a_logon(exchange: Running, recorder: Recorder) -> None:
    """Nobody, somebody else, and an unknown one."""
    nobody = await recorder.connect(exchange)
    assert await nobody.refused("account.status") == "UNAUTHORIZED"
    assert await nobody.refused("session.logon", apiKey="mallory") == "REJECTED_KEY"
    now = (await nobody.ask("time"))["result"]["serverTime"]
    forged = {"apiKey": "alice", "timestamp": now, "signature": "00" * 64}
    assert await nobody.refused("session.logon", **forged) == "INVALID_SIGNATURE"


async def a_bug_in_the_engine(exchange: Running, recorder: Recorder) -> None:
    """Its request fails, and what came behind it in one piece was not done."""
    alice = await recorder.connect(exchange, "alice")
    poison, behind = await alice.send(("order.place", buy(POISON)), ("order.place", buy("1")))
    assert (await alice.reply(poison))["error"]["name"] == "UNKNOWN"
    assert (await alice.reply(behind))["error"]["name"] == "SERVER_BUSY"


async def a_bug_in_the_writer(exchange: Running, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what it had in hand nobody knows whether it was written."""
    alice = await recorder.connect(exchange, "alice")
    commit = reqlog_writer._Pen._commit

    async def fail_once(pen: reqlog_writer._Pen, group: Any) -> None:
        if any(handoff.records for handoff in group):
            monkeypatch.setattr(reqlog_writer._Pen, "_commit", commit)
            raise ZeroDivisionError("a bug")
        await commit(pen, group)

    monkeypatch.setattr(reqlog_writer._Pen, "_commit", fail_once)
    assert await alice.refused("order.place", **buy("1")) == "TIMEOUT"


async def a_market_that_halts(exchange: Running, recorder: Recorder) -> None:
    """Whoever follows it is told."""
    watcher, operator = await recorder.connect(exchange), await exchange.operator()
    await watcher.ask("subscribe", channels=[f"book:{SYMBOL}"])
    await operator.said(f"market.halt {SYMBOL}")
    await watcher.until(["marketStatus"])
    await operator.said(f"market.resume {SYMBOL}")


async def a_stop(exchange: Running, recorder: Recorder) -> None:
    """Whoever follows anything is told."""
    watcher, operator = await recorder.connect(exchange), await exchange.operator()
    await watcher.ask("subscribe", channels=[f"trade:{SYMBOL}"])
    await operator.said("actor.restart gateway")
    await watcher.to_the_end()


def narrow(config: supervisor.Config) -> supervisor.Config:
    """Room for two connections from here, each with two subscriptions and five requests."""
    limits = evolve(config.gateway.session, requests_per_second=1, burst=5)
    gateway = evolve(config.gateway, max_connections_per_address=2, session=limits)
    return evolve(config, gateway=gateway, streams=StreamLimits(max_subscriptions=2))


async def every_limit(exchange: Running, recorder: Recorder) -> None:
    """Too many subscriptions, requests, connections."""
    first = await recorder.connect(exchange)
    assert await first.refused("subscribe", channels=CHANNELS[:3]) == "TOO_MANY_SUBSCRIPTIONS"
    numbers = await first.send(*[("ping", {})] * 10)
    assert (await first.reply(numbers[-1]))["error"]["name"] == "TOO_MANY_REQUESTS"
    await recorder.connect(exchange)
    third = await recorder.connect(exchange)
    assert (await third.line())["error"]["name"] == "TOO_MANY_CONNECTIONS"
    await third.to_the_end()


def short_of_memory(config: supervisor.Config) -> supervisor.Config:
    """Hardly any for events that a client does not read."""
    limits = evolve(config.gateway.session, event_bytes=1_024)
    return evolve(config, gateway=evolve(config.gateway, session=limits))


async def a_client_that_does_not_read(exchange: Running, recorder: Recorder) -> None:
    """Once the kernel takes no more of its events it is shown out; what it was sent ends with the reason."""
    sleeper = await recorder.connect(exchange, "alice", receive_bytes=4_096)
    await sleeper.ask("subscribe", channels=["user"])
    alice, operator = await recorder.connect(exchange, "alice"), await exchange.operator()
    while await follows_anything(operator):
        await trade_a_lot(alice)
    await sleeper.to_the_end()
    assert "SLOW_CONSUMER" in recorder.codes


async def follows_anything(operator: Any) -> bool:
    """Whether any session is subscribed to something."""
    sessions = (await operator.said("session.list"))["sessions"]
    return any(session["subscriptions"] for session in sessions)


async def trade_a_lot(client: Recorded) -> None:
    """A thousand events for the account's owner."""
    numbers = await client.send(*[("order.place", buy("0.001"))] * 500, ("openOrders.cancelAll", {}))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.reply, numbers[-1])

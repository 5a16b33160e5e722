"""The client library against an exchange that says what a test wants: answers, breaks, silence, gaps."""

# ruff: noqa: ARG001 - `autojump_clock` works by being there

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from types import ModuleType
from typing import Any, get_args

import msgspec
import pytest
import trio
import trio.testing
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from actors import results as wire_results
from actors import stream_events, wire
from actors.reading import read
from actors.wire import logon_payload
from tallystick.client import (
    BadReply,
    Busy,
    Call,
    ClientError,
    Exchange,
    KeptBook,
    Key,
    Missed,
    NotConnected,
    NotDone,
    OutcomeUnknown,
    Rejected,
    Timing,
    connect,
    events,
    results,
)
from tallystick.client.conversation import Conversation
from tests.fake_exchange import LOGGED_ON, NONCE, TIME, FakeConnection, FakeExchange

PLACED = {
    "orderId": 7,
    "clientOrderId": "mine",
    "symbol": "BTC-USDT",
    "status": "FILLED",
    "executedQty": "0.5000",
    "cumQuoteQty": "25000.000000",
    "fills": [{"price": "50000.00", "qty": "0.5000", "fee": "50.000000", "feeAsset": "USDT", "tradeId": 3}],
    "transactTime": TIME,
    "seq": 12,
}
ORDER = {
    "orderId": 2,
    "clientOrderId": "mine",
    "symbol": "BTC-USDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "price": "1.00",
    "origQty": "1",
    "executedQty": "0",
    "cumQuoteQty": "0",
    "status": "CANCELED",
    "time": TIME,
    "updateTime": TIME,
}
REPLY = b'{"id":%d,"status":200,"result":{}}'
REFUSAL = b'{"id":%d,"status":400,"error":{"code":-1121,"name":"BAD_SYMBOL","msg":"no"}}'
REPORT = {
    "event": "executionReport",
    "channel": "user",
    "time": TIME,
    "execType": "REJECTED",
    "status": "REJECTED",
    "symbol": "BTC-USDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "price": "1.00",
    "origQty": "1",
    "cumQty": "0",
    "cumQuoteQty": "0",
    "leavesQty": "0",
    "reason": "NO_LIQUIDITY",
}
BOOK = {"event": "book.snapshot", "channel": "book:BTC-USDT", "time": TIME, "symbol": "BTC-USDT"}


def trade(seq: int) -> dict[str, Any]:
    """One of the trade channel."""
    return {
        "event": "trade",
        "channel": "trade:BTC-USDT",
        "seq": seq,
        "time": TIME,
        "symbol": "BTC-USDT",
        "tradeId": seq,
        "price": "1.00",
        "qty": "2",
        "side": "BUY",
    }


def ticker(seq: int) -> dict[str, Any]:
    """One of the ticker channel."""
    zeros = dict.fromkeys(("open", "high", "low", "last", "volume", "quoteVolume"), "0")
    event = {"event": "ticker", "channel": "ticker:BTC-USDT", "seq": seq, "time": TIME, "symbol": "BTC-USDT"}
    return {**event, **zeros, "count": 1, "openTime": TIME, "closeTime": TIME}


def snapshot(seq: int, bids: list[list[str]]) -> dict[str, Any]:
    """A book with nothing asked."""
    return {**BOOK, "seq": seq, "firstSeq": seq, "bids": bids, "asks": []}


def delta(first_seq: int, seq: int, bids: list[list[str]]) -> dict[str, Any]:
    """A change of it."""
    return {**BOOK, "event": "book.delta", "seq": seq, "firstSeq": first_seq, "bids": bids, "asks": []}


async def outcome(call: Awaitable[object]) -> object:
    """What comes of it, or the error that it raises."""
    try:
        return await call
    except ClientError as error:
        return error


class Asked:
    """Something that is under way, and what came of it."""

    def __init__(self, nursery: trio.Nursery, ask: Callable[[], Awaitable[object]]) -> None:
        self._done = trio.Event()
        nursery.start_soon(self._ask, ask)
        self.outcome: Any = None

    async def _ask(self, ask: Callable[[], Awaitable[object]]) -> None:
        self.outcome = await outcome(ask())
        self._done.set()

    async def wait(self) -> Any:
        """What came of it."""
        await self._done.wait()
        return self.outcome


async def settle() -> None:
    """Let everybody do what there is to do now."""
    await trio.testing.wait_all_tasks_blocked()


@pytest.fixture
def fake() -> FakeExchange:
    """Nobody has dialled yet."""
    return FakeExchange()


# Calls ----------------------------------------------------------------------------------------------------------------


async def test_a_result_is_typed(fake: FakeExchange, nursery: trio.Nursery) -> None:
    """Numbers are Decimal, names are Python's."""
    async with fake.client() as (exchange, server):
        asked = Asked(
            nursery, lambda: exchange.ask(exchange.place("BTC-USDT", "BUY", "MARKET", quantity=Decimal("0.50")))
        )
        request = await server.hear()
        name = request["params"].pop("clientOrderId")
        assert name.startswith("ts-")
        assert request["params"] == {"symbol": "BTC-USDT", "side": "BUY", "type": "MARKET", "quantity": "0.50"}
        await server.say({"id": request["id"], "status": 200, "result": {**PLACED, "later": "than this library"}})
        placed = await asked.wait()
        assert placed.order_id == 7
        assert placed.executed_qty == Decimal("0.5")
        assert placed.fills[0].fee == Decimal(50)
        with pytest.raises(AttributeError):
            placed.order_id = 8


@pytest.mark.parametrize(
    ("code", "kind"),
    [(-2010, Rejected), (-1000, Rejected), (-1008, Busy), (-1016, Busy), (-1003, Busy), (-1007, OutcomeUnknown)],
)
async def test_errors_are_told_apart(
    fake: FakeExchange, nursery: trio.Nursery, code: int, kind: type[ClientError]
) -> None:
    """Refused for good, certainly not done, and nobody knows."""
    async with fake.client() as (exchange, server):
        asked = Asked(nursery, lambda: exchange.ask(exchange.cancel("BTC-USDT", client_order_id="mine")))
        number = (await server.hear())["id"]
        error = {"code": code, "name": "NAME", "msg": "why", "reason": "WHY", "orderId": 5, "retryAfter": 250}
        await server.say({"id": number, "status": 400, "error": error})
        failure = await asked.wait()
        assert type(failure) is kind
        assert isinstance(failure, NotDone) == (kind is Busy)
        if isinstance(failure, Rejected):
            assert (failure.code, failure.name, failure.reason, failure.msg) == (code, "NAME", "WHY", "why")
            assert (failure.status, failure.order_id) == (400, 5)
        elif isinstance(failure, Busy):
            assert failure.retry_after_seconds == 0.25
        elif isinstance(failure, OutcomeUnknown):
            assert (failure.method, failure.client_order_id) == ("order.cancel", "mine")


async def test_a_pipeline_keeps_its_order(fake: FakeExchange, nursery: trio.Nursery) -> None:
    """All are sent before the first is answered; each has its own outcome, and one refusal is none of the others'."""
    async with fake.client() as (exchange, server):
        calls = [exchange.cancel("BTC-USDT", order_id=number) for number in (1, 2, 3)]
        asked = Asked(nursery, lambda: exchange.pipeline(exchange.ping(), *calls, exchange.ping()))
        numbers = [(await server.hear())["id"] for _ in range(5)]
        refused = {"status": 400, "error": {"code": -2011, "name": "CANCEL_REJECTED", "msg": "no"}}
        done = {"status": 200, "result": {}}
        await server.say(
            *(
                {"id": number, **line}
                for number, line in zip(numbers, [done, refused, refused, refused, done], strict=True)
            )
        )
        outcomes = await asked.wait()
        assert [isinstance(each, Rejected) for each in outcomes] == [False, True, True, True, False]


async def test_a_batch_is_made_of_calls(fake: FakeExchange, nursery: trio.Nursery) -> None:
    """Each of its outcomes is what the call alone would have given."""
    async with fake.client() as (exchange, server):
        place = exchange.place("BTC-USDT", "BUY", quantity=1, price="2", client_order_id="mine")
        asked = Asked(nursery, lambda: exchange.ask(exchange.batch(place, exchange.cancel("BTC-USDT", order_id=9))))
        request = await server.hear()
        assert request["method"] == "order.batch"
        assert request["params"]["orders"] == [dict(place.params), {"symbol": "BTC-USDT", "orderId": 9}]
        refused = {"status": 400, "error": {"code": -2011, "name": "CANCEL_REJECTED", "msg": "no"}}
        await server.say(
            {"id": request["id"], "status": 200, "result": {"results": [{"status": 200, "result": PLACED}, refused]}}
        )
        placed, failure = await asked.wait()
        assert placed.client_order_id == "mine"
        assert isinstance(failure, Rejected)
        with pytest.raises(ValueError, match="a batch places and cancels orders; ping does neither"):
            exchange.batch(exchange.ping())


@pytest.mark.parametrize("value", [0.5, True, None, b"1"])
async def test_numbers_are_no_floats(fake: FakeExchange, value: Any) -> None:
    """They are refused before anything is sent, by the parameter's name."""
    async with fake.client() as (exchange, _server):
        if value is None:
            assert "price" not in exchange.place("BTC-USDT", "BUY", price=value).params
            return
        with pytest.raises(TypeError, match="price must be a Decimal, an int or a str, not"):
            exchange.place("BTC-USDT", "BUY", price=value)
        with pytest.raises(ValueError, match="price must be a finite number, not NaN"):
            exchange.place("BTC-USDT", "BUY", price=Decimal("NaN"))


async def test_numbers_are_written_out(fake: FakeExchange) -> None:
    """Without an exponent, whatever Decimal makes of them."""
    async with fake.client() as (exchange, _server):
        assert exchange.place("BTC-USDT", "BUY", price=Decimal("1E+3"), quantity=3).params["price"] == "1000"


async def test_what_is_no_answer_ends_the_connection(fake: FakeExchange, nursery: trio.Nursery) -> None:
    """Nothing is made of it; what was asked is unknown."""
    async with fake.client() as (exchange, server):
        asked = Asked(nursery, lambda: exchange.ask(exchange.cancel_all()))
        await server.hear()
        await server.say(b"HTTP/1.1 400 Bad Request\r\n\n")
        assert isinstance(await asked.wait(), OutcomeUnknown)
        with pytest.raises(EOFError):
            await server.hear()


async def test_a_reply_to_another_request_ends_the_connection(fake: FakeExchange, nursery: trio.Nursery) -> None:
    """Replies come in order, and no other is believed."""
    async with fake.client() as (exchange, server):
        asked = Asked(nursery, lambda: exchange.ask(exchange.cancel_all()))
        number = (await server.hear())["id"]
        await server.say({"id": number + 1, "status": 200, "result": {"canceled": 1}})
        assert isinstance(await asked.wait(), OutcomeUnknown)


async def test_an_answer_of_another_shape(fake: FakeExchange, nursery: trio.Nursery) -> None:
    """It is the one call's trouble."""
    async with fake.client() as (exchange, server):
        asked = Asked(nursery, lambda: exchange.ask(exchange.time()))
        await server.answer("time", {"serverTime": "noon"})
        failure = await asked.wait()
        assert isinstance(failure, BadReply)
        assert str(failure).startswith("the answer to time is not of this protocol")
        asked = Asked(nursery, lambda: exchange.ask(exchange.ping()))
        await server.answer("ping")
        assert not isinstance(await asked.wait(), ClientError)


# Time -----------------------------------------------------------------------------------------------------------------


async def test_no_answer_in_time(fake: FakeExchange, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The outcome is unknown; the late answer is passed over, and the next call gets its own."""
    async with fake.client(timing=Timing(quiet_seconds=3_000)) as (exchange, server):
        call = exchange.cancel("BTC-USDT", client_order_id="mine")
        failure = await outcome(exchange.ask(call, timeout_seconds=2))
        assert trio.current_time() == 2
        assert str(failure) == "what became of order.cancel of mine is not known: no answer came in time"
        number = await server.expect("order.cancel", symbol="BTC-USDT", clientOrderId="mine")
        asked = Asked(nursery, lambda: exchange.ask(exchange.ping()))
        await server.say({"id": number, "status": 200, "result": {"late": True}})
        await server.answer("ping")
        assert not isinstance(await asked.wait(), ClientError)


async def test_what_was_never_sent_is_not_done(
    fake: FakeExchange, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A call behind one that the connection does not take is known not to have happened when its time is up."""
    async with fake.client(timing=Timing(quiet_seconds=3_000)) as (exchange, _server):
        blocked = trio.Event()

        async def stall() -> None:
            await blocked.wait()

        connection = exchange._connection
        assert connection is not None
        connection._stream.send_stream.send_all_hook = stall  # type: ignore[attr-defined]  # it is a memory stream
        first = Asked(nursery, lambda: exchange.ask(exchange.cancel_all(), timeout_seconds=5))
        await settle()
        second = Asked(nursery, lambda: exchange.ask(exchange.cancel_all(), timeout_seconds=5))
        assert isinstance(await second.wait(), NotConnected)
        assert isinstance(await first.wait(), OutcomeUnknown)
        blocked.set()


async def test_an_exchange_that_says_nothing_is_left(fake: FakeExchange, autojump_clock: MockClock) -> None:
    """It is asked whether it is there, and when it does not say so, the library connects anew."""
    timing = Timing(quiet_seconds=5, answer_seconds=10)
    async with fake.client(timing=timing) as (exchange, server):
        await server.expect("ping")
        with pytest.raises(EOFError):
            await server.hear()
        assert trio.current_time() == 15
        await fake.accept()
        await settle()
        assert exchange.connections == 2


async def test_a_quiet_connection_is_kept(fake: FakeExchange, autojump_clock: MockClock) -> None:
    """By a ping whenever nothing was said for a while, so that the exchange does not take it for idle."""
    async with fake.client(timing=Timing(quiet_seconds=5)) as (exchange, server):
        for _ in range(3):
            await server.answer("ping")
        assert trio.current_time() == 15
        assert exchange.connections == 1


@given(lines=st.lists(st.sampled_from([b'{"event":"x"}', REPLY, REFUSAL]), max_size=8), data=st.data())
def test_lines_may_come_in_any_pieces(lines: list[bytes], data: st.DataObject) -> None:
    """However the bytes are cut, each question is settled by its own reply, and each event is handed on."""
    conversation = Conversation()
    replies = [line for line in lines if line != b'{"event":"x"}']
    questions = [conversation.ask("ping", {}, lambda: None) for _ in replies]
    conversation.take_unsent()
    numbers = iter(range(1, len(replies) + 1))
    text = b"".join((line % next(numbers) if b"%d" in line else line) + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    events = [event for piece in pieces for event in conversation.receive(piece)]
    assert len(events) == len(lines) - len(replies)
    assert [isinstance(each.outcome, Rejected) for each in questions] == [line == REFUSAL for line in replies]
    assert conversation.in_flight == 0


# Connecting -----------------------------------------------------------------------------------------------------------


async def test_a_signed_logon(fake: FakeExchange, nursery: trio.Nursery) -> None:
    """Over the nonce and the time of the greeting, so that no clock of this machine matters."""
    key = Key("alice", bytes(32))

    async def serve() -> None:
        server = await fake.accept()
        request = await server.hear()
        params = request["params"]
        assert params.keys() == {"apiKey", "timestamp", "signature", "cancelOnDisconnect"}
        assert (params["apiKey"], params["timestamp"]) == ("alice", TIME)
        public = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
        public.verify(bytes.fromhex(params["signature"]), logon_payload("alice", NONCE, TIME))
        await server.say({"id": request["id"], "status": 200, "result": LOGGED_ON})

    nursery.start_soon(serve)
    async with connect(dial=fake.dial, key=key, cancel_on_disconnect=True) as exchange:
        assert exchange.connections == 1


async def test_nobody_is_there(fake: FakeExchange) -> None:
    """The first connection is tried once, and its error is the block's own: no group around it."""
    fake.down = ConnectionRefusedError(111, "Connection refused")
    with pytest.raises(NotConnected, match=r"^no connection: Connection refused$"):
        async with connect(dial=fake.dial):
            pytest.fail("there is nobody to talk to")
    assert fake.dialled == 1


async def test_a_logon_that_is_refused(fake: FakeExchange, nursery: trio.Nursery) -> None:
    """Is what connecting raises."""

    async def serve() -> None:
        await (await fake.accept()).refuse("session.logon", -2015, "REJECTED_KEY", apiKey="mallory")

    nursery.start_soon(serve)
    with pytest.raises(Rejected, match=r"^REJECTED_KEY \(-2015\): no$"):
        async with connect(dial=fake.dial, key="mallory"):
            pytest.fail("the key was refused")


async def test_too_many_connections(fake: FakeExchange, nursery: trio.Nursery) -> None:
    """An error instead of a greeting is why there is no connection."""

    async def serve() -> None:
        server = await fake.accept(greet=False)
        await server.say({"status": 429, "error": {"code": -1034, "name": "TOO_MANY_CONNECTIONS", "msg": "full"}})
        await server.hang_up()

    nursery.start_soon(serve)
    with pytest.raises(NotConnected, match=r"no greeting: TOO_MANY_CONNECTIONS \(-1034\): full"):
        async with connect(dial=fake.dial):
            pytest.fail("there was no room")


async def test_another_version(fake: FakeExchange, nursery: trio.Nursery) -> None:
    """Of the protocol is not guessed at."""

    async def serve() -> None:
        await (await fake.accept(greet=False)).greet(version=2)

    nursery.start_soon(serve)
    with pytest.raises(NotConnected, match="it speaks version 2 of the protocol, this library 1"):
        async with connect(dial=fake.dial):
            pytest.fail("it speaks another language")


async def test_silence_instead_of_a_greeting(fake: FakeExchange, autojump_clock: MockClock) -> None:
    """Is waited for as long as for a connection."""
    with pytest.raises(NotConnected, match="no greeting: none in time"):
        async with connect(dial=fake.dial, timing=Timing(connect_seconds=3)):
            pytest.fail("nobody has said hello")
    assert trio.current_time() == 3


async def test_an_error_in_the_block_is_its_own(fake: FakeExchange) -> None:
    """Whatever it is, and however deep the library's tasks are."""
    with pytest.raises(ZeroDivisionError):
        async with fake.client() as (_exchange, _server):
            raise ZeroDivisionError


async def test_a_broken_connection_is_replaced(
    fake: FakeExchange, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """What changes something is unknown; a read, and what was not sent, goes onto the next connection."""
    async with fake.client("alice") as (exchange, server):
        change = Asked(nursery, lambda: exchange.ask(exchange.cancel("BTC-USDT", order_id=1)))
        await server.hear()
        read = Asked(nursery, lambda: exchange.ask(exchange.time()))
        await server.hear()
        await server.hang_up()
        failure = await change.wait()
        assert isinstance(failure, OutcomeUnknown)
        assert failure.why == "the exchange hung up"
        late = Asked(nursery, lambda: exchange.ask(exchange.cancel("BTC-USDT", order_id=2)))
        again = await fake.accept()
        await again.answer("session.logon", LOGGED_ON, apiKey="alice")
        for _ in range(2):
            request = await again.hear()
            result = {"serverTime": 5} if request["method"] == "time" else ORDER
            await again.say({"id": request["id"], "status": 200, "result": result})
        assert (await read.wait()).server_time == 5
        assert (await late.wait()).order_id == 2


async def test_attempts_become_rarer(fake: FakeExchange, autojump_clock: MockClock) -> None:
    """Each wait is twice as long, up to the longest, and a little less than that by chance."""
    timing = Timing(first_backoff_seconds=1, last_backoff_seconds=8, answer_seconds=1)
    async with fake.client(timing=timing) as (exchange, server):
        fake.down = ConnectionRefusedError(111, "Connection refused")
        await server.hang_up()
        await trio.sleep(100)
        # 1 + 2 + 4 + 8 + 8 + ... seconds, each between half and all of it.
        assert 100 / 8 < fake.dialled < 3 + 100 / 4 + 1
        assert isinstance(await outcome(exchange.ask(exchange.ping())), NotConnected)
        fake.down = None
        await fake.accept()
        await settle()
        assert exchange.connections == 2


async def test_a_key_that_is_revoked(fake: FakeExchange, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Is no matter of trying again: whatever is asked says so."""
    async with fake.client("alice") as (exchange, server):
        stream = Asked(nursery, lambda: _next_of(exchange))
        await server.answer("subscribe", channels=["user"])
        await server.hang_up()
        await (await fake.accept()).refuse("session.logon", -2015, "REJECTED_KEY", apiKey="alice")
        for asked in (stream, Asked(nursery, lambda: exchange.ask(exchange.ping()))):
            failure = await asked.wait()
            assert isinstance(failure, Rejected)
            assert failure.name == "REJECTED_KEY"


async def _next_of(exchange: Exchange) -> object:
    """What comes of the user channel next, whatever was missed."""
    async with exchange.user_events() as events:
        while True:
            try:
                return await anext(events)
            except Missed:
                continue


async def test_logging_out_lasts(fake: FakeExchange, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The next connection does not log on either."""
    async with fake.client("alice") as (exchange, server):
        asked = Asked(nursery, exchange.log_out)
        await server.answer("session.logout")
        await asked.wait()
        await server.hang_up()
        again = await fake.accept()
        asked = Asked(nursery, lambda: exchange.ask(exchange.ping()))
        await again.answer("ping")
        await asked.wait()


def test_keys() -> None:
    """A private key is checked where it is given, and never shown."""
    assert "seed" not in repr(Key.from_hex("alice", "0f" * 32))
    with pytest.raises(ValueError, match="a private key is written in 64 hexadecimal digits"):
        Key.from_hex("alice", "0f" * 31)
    with pytest.raises(ValueError, match="32 bytes, not 3"):
        Key("alice", b"abc")


# Streams --------------------------------------------------------------------------------------------------------------


async def test_a_stream(fake: FakeExchange, nursery: trio.Nursery) -> None:
    """Subscribed when the block begins, and no more when it ends."""
    async with fake.client() as (exchange, server):
        got: list[int] = []

        async def read() -> None:
            async with exchange.trades("BTC-USDT") as trades:
                async for each in trades:
                    got.append(each.trade_id)
                    if len(got) == 2:
                        return

        reading = Asked(nursery, read)
        await server.answer("subscribe", channels=["trade:BTC-USDT"])
        await server.say(trade(5), {"event": "weather", "channel": "trade:BTC-USDT"}, trade(6))
        await reading.wait()
        assert got == [5, 6]
        await server.answer("unsubscribe", channels=["trade:BTC-USDT"])


async def test_a_channel_is_subscribed_once(fake: FakeExchange, nursery: trio.Nursery) -> None:
    """Two who read it get the same events."""
    async with fake.client() as (exchange, server):
        first = Asked(nursery, lambda: _next_trade(exchange))
        await server.answer("subscribe", channels=["trade:BTC-USDT"])
        second = Asked(nursery, lambda: _next_trade(exchange))
        await settle()
        await server.say(trade(5))
        assert (await first.wait()).seq == (await second.wait()).seq == 5
        await server.answer("unsubscribe", channels=["trade:BTC-USDT"])


async def _next_trade(exchange: Exchange) -> object:
    async with exchange.trades("BTC-USDT") as trades:
        return await anext(trades)


async def test_a_channel_that_is_refused(fake: FakeExchange, nursery: trio.Nursery) -> None:
    """Is the error of the block that wants it; the next one asks anew."""
    async with fake.client() as (exchange, server):
        for _ in range(2):
            asked = Asked(nursery, lambda: _next_trade(exchange))
            await server.refuse("subscribe", -1121, "BAD_SYMBOL", channels=["trade:BTC-USDT"])
            assert isinstance(await asked.wait(), Rejected)


async def test_a_busy_exchange_is_asked_again(
    fake: FakeExchange, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """After the time it gave."""
    async with fake.client() as (exchange, server):
        asked = Asked(nursery, lambda: _next_trade(exchange))
        number = await server.expect("subscribe", channels=["trade:BTC-USDT"])
        error = {"code": -1003, "name": "TOO_MANY_REQUESTS", "msg": "slower", "retryAfter": 2_000}
        await server.say({"id": number, "status": 429, "error": error})
        await server.answer("subscribe", channels=["trade:BTC-USDT"])
        assert trio.current_time() == 2
        await server.say(trade(5))
        await asked.wait()


async def test_a_slow_reader_is_told(fake: FakeExchange, nursery: trio.Nursery) -> None:
    """What does not fit into its buffer is lost, and reading raises Missed in its place and goes on behind it."""
    async with fake.client() as (exchange, server):
        read = trio.Event()
        got: list[object] = []

        async def read_late() -> None:
            async with exchange.trades("BTC-USDT", buffer=2) as trades:
                await read.wait()
                got.extend([await outcome(anext(trades)) for _ in range(4)])

        reading = Asked(nursery, read_late)
        await server.answer("subscribe", channels=["trade:BTC-USDT"])
        await server.say(*(trade(seq) for seq in range(1, 6)))
        await settle()
        read.set()
        await settle()
        await server.say(trade(6))
        await reading.wait()
        assert [getattr(each, "seq", None) for each in got] == [1, 2, None, 6]
        assert isinstance(got[2], Missed)
        assert (got[2].channel, got[2].from_seq) == ("trade:BTC-USDT", 3)


async def test_a_stream_goes_on_over_a_break(
    fake: FakeExchange, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It is resumed on the next connection behind the last event that came; each comes once, in order."""
    async with fake.client() as (exchange, server), exchange_reading(exchange, server, nursery) as got:
        await server.say(trade(5))
        await settle()
        await server.hang_up()
        again = await fake.accept()
        await again.answer("resume", channel="trade:BTC-USDT", fromSeq=6)
        await again.say(trade(5), trade(6), trade(7))
        await settle()
        assert [each.seq for each in got] == [5, 6, 7]


async def test_a_stream_that_cannot_go_on(fake: FakeExchange, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Where the exchange has not kept what is missing, it begins anew, and who reads is told, once."""
    async with fake.client() as (exchange, server), exchange_reading(exchange, server, nursery) as got:
        await server.say(trade(5))
        await settle()
        await server.hang_up()
        again = await fake.accept()
        await again.refuse("resume", -4003, "GAP_TOO_OLD", channel="trade:BTC-USDT", fromSeq=6)
        await again.answer("subscribe", channels=["trade:BTC-USDT"])
        await again.say(trade(9), trade(10))
        await settle()
        missed = got.pop(1)
        assert isinstance(missed, Missed)
        assert missed.from_seq == 6
        assert [each.seq for each in got] == [5, 9, 10]


async def test_a_break_before_the_first_event(
    fake: FakeExchange, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Nobody knows what there was: who reads is told."""
    async with fake.client() as (exchange, server), exchange_reading(exchange, server, nursery) as got:
        await settle()
        await server.hang_up()
        again = await fake.accept()
        await again.answer("subscribe", channels=["trade:BTC-USDT"])
        await again.say(trade(9))
        await settle()
        assert isinstance(got[0], Missed)
        assert got[1].seq == 9


async def test_a_gap_that_the_exchange_tells_of(fake: FakeExchange, nursery: trio.Nursery) -> None:
    """A line without an id that names a channel is about that channel, and not the connection's last word."""
    async with fake.client() as (exchange, server), exchange_reading(exchange, server, nursery) as got:
        error = {"code": -4003, "name": "GAP_TOO_OLD", "msg": "too old", "channel": "trade:BTC-USDT"}
        await server.say(trade(5), {"status": 400, "error": error}, trade(8))
        await settle()
        assert [getattr(each, "seq", None) for each in got] == [5, None, 8]
        assert isinstance(got[1], Missed)
        assert str(got[1]) == "events of trade:BTC-USDT are missing, from 6 on: too old"


async def test_what_only_the_latest_counts_of(
    fake: FakeExchange, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A ticker's numbers may jump, and after a break it begins with how things stand."""
    async with fake.client() as (exchange, server):
        got: list[Any] = []

        async def read() -> None:
            async with exchange.tickers("BTC-USDT") as tickers:
                got.extend([await anext(tickers) for _ in range(3)])

        reading = Asked(nursery, read)
        await server.answer("subscribe", channels=["ticker:BTC-USDT"])
        await server.say(ticker(5), ticker(9))
        await settle()
        await server.hang_up()
        again = await fake.accept()
        await again.answer("subscribe", channels=["ticker:BTC-USDT"])
        await again.say(ticker(9))
        await reading.wait()
        assert [each.seq for each in got] == [5, 9, 9]


async def test_what_is_not_counted(fake: FakeExchange, nursery: trio.Nursery) -> None:
    """An order that was rejected never was one: its report has no number, and leaves no gap."""
    async with fake.client("alice") as (exchange, server):
        asked = Asked(nursery, lambda: _next_of(exchange))
        await server.answer("subscribe", channels=["user"])
        await server.say(REPORT)
        report = await asked.wait()
        assert (report.exec_type, report.seq, report.order_id) == ("REJECTED", 0, None)


async def test_a_gap_is_asked_for(fake: FakeExchange, nursery: trio.Nursery) -> None:
    """Also while the connection stands, and once."""
    async with fake.client() as (exchange, server), exchange_reading(exchange, server, nursery) as got:
        await server.say(trade(5), trade(8), trade(9))
        await server.answer("resume", channel="trade:BTC-USDT", fromSeq=6)
        await server.say(trade(6), trade(7), trade(10))
        await settle()
        assert [each.seq for each in got] == [5, 6, 7, 8, 9, 10]


async def test_a_gap_that_is_too_old(fake: FakeExchange, nursery: trio.Nursery) -> None:
    """Who reads is told, and gets what came behind it."""
    async with fake.client() as (exchange, server), exchange_reading(exchange, server, nursery) as got:
        await server.say(trade(5), trade(8))
        await server.refuse("resume", -4003, "GAP_TOO_OLD", channel="trade:BTC-USDT", fromSeq=6)
        await server.say(trade(9))
        await settle()
        missed = got.pop(1)
        assert isinstance(missed, Missed)
        assert missed.from_seq == 6
        assert [each.seq for each in got] == [5, 8, 9]


@asynccontextmanager
async def exchange_reading(
    exchange: Exchange, server: FakeConnection, nursery: trio.Nursery
) -> AsyncIterator[list[Any]]:
    """What comes of reading a trade channel, as it comes."""
    got: list[Any] = []

    async def read() -> None:
        async with exchange.trades("BTC-USDT") as trades:
            while True:
                got.append(await outcome(anext(trades)))

    scope = trio.CancelScope()

    async def read_until_cancelled() -> None:
        with scope:
            await read()

    nursery.start_soon(read_until_cancelled)
    await server.answer("subscribe", channels=["trade:BTC-USDT"])
    yield got
    scope.cancel()


async def test_notices(fake: FakeExchange) -> None:
    """What is said to all needs no channel."""
    async with fake.client() as (exchange, server):
        with exchange.notices() as notices:
            await server.say(
                {"event": "heartbeat", "time": TIME},
                {"event": "marketStatus", "symbol": "BTC-USDT", "status": "HALT", "time": TIME},
                {"event": "serverShutdown", "time": TIME},
            )
            assert (await anext(notices)).symbol == "BTC-USDT"  # type: ignore[union-attr]
            assert type(await anext(notices)).__name__ == "ServerShutdown"


async def test_an_event_of_another_shape_ends_the_connection(fake: FakeExchange, autojump_clock: MockClock) -> None:
    """Nothing is made of it; the next connection may do better."""
    async with fake.client() as (exchange, server):
        await server.say({**trade(5), "price": "dear"})
        with pytest.raises(EOFError):
            await server.hear()
        await fake.accept()
        await settle()
        assert exchange.connections == 2


async def test_a_channel_is_followed_in_one_way(fake: FakeExchange, nursery: trio.Nursery) -> None:
    """A kept book and its raw events, or events that all count and the latest ones, do not go together."""
    async with fake.client() as (exchange, server):
        nursery.start_soon(partial(server.answer, "subscribe", channels=["book:BTC-USDT"]))
        async with exchange.book("BTC-USDT"):
            with pytest.raises(
                ValueError, match="followed already, as a kept book, and cannot be as the latest events"
            ):
                async with exchange.lines("book:BTC-USDT"):
                    pytest.fail("it is a kept book")


# Books ----------------------------------------------------------------------------------------------------------------


def is_in_sync(kept: KeptBook) -> bool:
    """Now; a type checker takes it for settled once it was looked at."""
    return kept.book.in_sync


@asynccontextmanager
async def kept_book(exchange: Exchange, server: FakeConnection, nursery: trio.Nursery) -> AsyncIterator[KeptBook]:
    """A book that is subscribed, and still empty."""
    nursery.start_soon(partial(server.answer, "subscribe", channels=["book:BTC-USDT"]))
    async with exchange.book("BTC-USDT") as kept:
        yield kept


async def test_a_book_is_kept(fake: FakeExchange, nursery: trio.Nursery) -> None:
    """From its snapshot and what changes; in between it is not in sync, and says so."""
    async with fake.client() as (exchange, server), kept_book(exchange, server, nursery) as kept:
        assert not is_in_sync(kept)
        await server.say(
            snapshot(4, [["10", "1"], ["9", "2"]]), delta(4, 4, [["10", "5"]]), delta(5, 6, [["9", "0"], ["8", "3"]])
        )
        await settle()
        book = await kept.in_sync()
        assert (book.seq, book.best_ask) == (6, None)
        assert [(str(level.price), str(level.qty)) for level in book.bids()] == [("10", "1"), ("8", "3")]
        assert len(list(book.bids(1))) == 1


async def test_a_book_with_a_gap_is_resumed(fake: FakeExchange, nursery: trio.Nursery) -> None:
    """Changes behind the gap are of no use; it is resumed, once, and gets all of them from there on."""
    async with fake.client() as (exchange, server), kept_book(exchange, server, nursery) as kept:
        await server.say(snapshot(4, [["10", "1"]]), delta(7, 7, [["9", "1"]]), delta(8, 8, [["7", "1"]]))
        number = await server.expect("resume", channel="book:BTC-USDT", fromSeq=5)
        assert not is_in_sync(kept)
        done = {"id": number, "status": 200, "result": {}}
        await server.say(done, delta(5, 6, [["10", "0"]]), delta(7, 7, [["9", "1"]]), delta(8, 8, [["7", "1"]]))
        await settle()
        assert is_in_sync(kept)
        assert [str(level.price) for level in kept.book.bids()] == ["9", "7"]


async def test_a_book_that_cannot_go_on(fake: FakeExchange, nursery: trio.Nursery) -> None:
    """Is subscribed anew, and waits for its snapshot."""
    async with fake.client() as (exchange, server), kept_book(exchange, server, nursery) as kept:
        await server.say(snapshot(4, [["10", "1"]]), delta(7, 7, [["9", "1"]]))
        await server.refuse("resume", -4003, "GAP_TOO_OLD", channel="book:BTC-USDT", fromSeq=5)
        await server.answer("unsubscribe", channels=["book:BTC-USDT"])
        await server.answer("subscribe", channels=["book:BTC-USDT"])
        await settle()
        assert not is_in_sync(kept)
        await server.say(snapshot(9, [["5", "1"]]), delta(10, 10, [["4", "1"]]))
        await settle()
        assert is_in_sync(kept)
        assert [str(level.price) for level in kept.book.bids()] == ["5", "4"]


async def test_a_book_over_a_break(fake: FakeExchange, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """While there is no connection it is the last one known, and says so; who waits for a change is woken."""
    async with fake.client() as (exchange, server), kept_book(exchange, server, nursery) as kept:
        await server.say(snapshot(4, [["10", "1"]]))
        assert (await anext(kept)).in_sync
        await server.hang_up()
        book = await anext(kept)
        assert not book.in_sync
        again = await fake.accept()
        await again.answer("resume", channel="book:BTC-USDT", fromSeq=5)
        assert (await anext(kept)).in_sync
        await again.say(delta(5, 5, [["11", "1"]]))
        assert (await anext(kept)).best_bid == kept.book.best_bid
        assert kept.book.seq == 5


# What it knows of the protocol ----------------------------------------------------------------------------------------


def structs(module: ModuleType, *without: type) -> dict[str, type[msgspec.Struct]]:
    """All that a module defines, by name."""
    return {
        name: kind
        for name, kind in vars(module).items()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in without
    }


SENT = structs(wire_results, wire_results.Result)
TOLD = structs(stream_events, stream_events.StreamEvent)


@pytest.mark.parametrize("name", SENT)
def test_results_have_the_fields_of_the_wire(name: str) -> None:
    """Each, and no other; those that may be left out are None then."""
    ours = {field.encode_name: field.required for field in msgspec.structs.fields(getattr(results, name))}
    theirs = {
        field.encode_name: msgspec.UnsetType not in get_args(field.type) for field in msgspec.structs.fields(SENT[name])
    }
    assert ours == theirs


@pytest.mark.parametrize("name", TOLD)
def test_events_have_the_fields_of_the_wire(name: str) -> None:
    """Each, and no other, whether required or not."""
    kinds = (getattr(events, name), TOLD[name])
    ours, theirs = ({field.encode_name for field in msgspec.structs.fields(kind)} for kind in kinds)
    assert ours == theirs
    assert kinds[0].__struct_config__.tag == TOLD[name].__struct_config__.tag


def calls(exchange: Exchange) -> list[Call[Any]]:
    """Every method, with every parameter."""
    moment = {"timestamp": TIME, "recv_window": 5}
    place = exchange.place(
        "BTC-USDT",
        "BUY",
        "LIMIT",
        quantity="1",
        quote_order_qty="1",
        price=1,
        stop_price=Decimal(1),
        time_in_force="GTD",
        expire_time=TIME,
        post_only=True,
        display_qty="1",
        client_order_id="mine",
        self_trade_prevention_mode="NONE",
        **moment,
    )
    one: dict[str, Any] = {"order_id": 1, "client_order_id": "mine", **moment}
    page = {"from_id": 1, "limit": 5}
    return [
        exchange.ping(),
        exchange.time(),
        exchange.info(),
        exchange.session(),
        place,
        exchange.would_accept(place),
        exchange.cancel("BTC-USDT", **one),
        exchange.amend("BTC-USDT", **one, new_qty="1", new_price="1"),
        exchange.replace(place, cancel_order_id=1, cancel_client_order_id="mine"),
        exchange.batch(place),
        exchange.order("BTC-USDT", order_id=1, client_order_id="mine"),
        exchange.open_orders("BTC-USDT"),
        exchange.cancel_all("BTC-USDT", **moment),
        exchange.cancel_all_after(1_000, **moment),
        exchange.my_trades("BTC-USDT", **page),
        exchange.all_orders("BTC-USDT", **page),
        exchange.account(),
        exchange.commission("BTC-USDT"),
        exchange.depth("BTC-USDT", limit=5),
        exchange.recent_trades("BTC-USDT", limit=5),
        exchange.ticker("BTC-USDT"),
        exchange.candles("BTC-USDT", "1m", start_time=1, end_time=2, limit=3),
        exchange.deposit_address("BTC"),
        exchange.deposits("BTC", limit=5),
        exchange.withdraw("BTC", "somewhere", "0.1", withdraw_order_id="out", **moment),
        exchange.cancel_withdrawal("out"),
        exchange.withdrawal("out"),
        exchange.withdrawals("BTC", limit=5),
    ]


async def test_every_method_with_every_parameter(fake: FakeExchange) -> None:
    """Each is a call, of the exchange's own types; only the session's are no calls of the library's user."""
    async with fake.client() as (exchange, _server):
        made = {call.method: call.params for call in calls(exchange)}
    kinds = {kind.__struct_config__.tag: kind for kind in get_args(wire.Request)}
    assert made.keys() == kinds.keys() - {"session.logon", "session.logout", "subscribe", "unsubscribe", "resume"}
    for method, params in made.items():
        request = read(msgspec.json.encode({"method": method, "params": params}))
        known = {field.encode_name for field in msgspec.structs.fields(request.params)}
        assert known - params.keys() <= ({"clientOrderId"} if method == "order.test" else set())

"""Sessions over in-memory streams: order, batching, back-pressure, logons, and how connections end."""

# ruff: noqa: ARG001 - to ask for the fixture is to run on virtual time

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from trio.abc import HalfCloseableStream
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from actors import session as session_module
from actors.mailbox import Busy, OutcomeUnknown
from actors.requests import Batch, Done
from actors.session import MAX_FAILED_LOGONS, Session, SessionLimits
from actors.wire import MAX_LINE_BYTES, logon_payload
from book import codes
from book.commands import ArmSession, CancelOrder, LoseSession, PlaceOrder
from book.events import OrderView, Rejected
from book.queries import Logon, OpenOrders
from book.terms import BUY, GTC, LIMIT
from tests.clients import (
    EPOCH_MS,
    NONCE,
    Client,
    Exchange,
    code,
    connected,
    place,
    session,
)
from tests.clients import (
    codes as codes_of,
)

PING = {"method": "ping"}


async def log_on(client: Client, exchange: Exchange) -> None:
    """Log alice on where the exchange does not serve by itself."""
    await client.send({"id": 0, "method": "session.logon", "params": {"apiKey": "alice"}})
    exchange.answer(await exchange.mailbox.receive())
    assert code(await client.receive()) == 0


def counting_stream_pair() -> tuple[HalfCloseableStream, HalfCloseableStream, list[float]]:
    """A pair of streams, and a list that grows by the time of each `send_all` on the second."""
    ours, theirs = memory_stream_pair()
    pump = theirs.send_stream.send_all_hook
    sent: list[float] = []

    async def count() -> None:
        sent.append(trio.current_time())
        assert pump is not None
        await pump()

    theirs.send_stream.send_all_hook = count
    return ours, theirs, sent


async def assert_closed(client: Client) -> None:
    """The server has hung up, and nothing was left to say."""
    assert await client.rest() == []


# ------------------------------------------------------------------------------------------------------ the first words


async def test_hello_comes_first_with_a_nonce_and_the_time(autojump_clock: MockClock) -> None:
    """Before the client has said anything."""
    async with connected(Exchange(), greeted=False) as (client, _):
        assert await client.line() == b'{"event":"hello","version":1,"nonce":"%s","time":%d}' % (
            NONCE.encode(),
            EPOCH_MS,
        )


async def test_a_whole_trading_day_over_one_connection(autojump_clock: MockClock) -> None:
    """Every method there is, answered as the protocol says."""
    async with connected(Exchange()) as (client, _):
        assert await client.ask("ping") == {"status": 200, "result": {}}
        assert await client.ask("time") == {"status": 200, "result": {"serverTime": EPOCH_MS}}
        assert code(await client.ask("exchangeInfo")) == 0
        assert code(await client.ask("account.status")) == codes.UNAUTHORIZED
        assert code(await client.ask("session.status")) == codes.UNAUTHORIZED
        who = {"account": 1, "permissions": ["read", "trade"], "since": EPOCH_MS, "cancelOnDisconnect": False}
        assert await client.ask("session.logon", apiKey="alice") == {"status": 200, "result": who}
        assert await client.ask("session.status") == {"status": 200, "result": who}
        await client.send(place(5, clientOrderId="a-1"))
        placed = await client.receive()
        assert (placed["id"], code(placed)) == (5, 0)
        for method in ("order.status", "order.cancel"):
            assert code(await client.ask(method, symbol="BTC-USDT", clientOrderId="a-1")) == 0
        assert code(await client.ask("order.cancel", symbol="BTC-USDT", clientOrderId="a-1")) == codes.CANCEL_REJECTED
        assert await client.ask("openOrders.status") == {"status": 200, "result": {"orders": []}}
        assert await client.ask("openOrders.cancelAll") == {"status": 200, "result": {"canceled": 0}}
        assert code(await client.ask("account.status")) == 0
        assert code(await client.ask("depth", symbol="BTC-USDT", limit=5)) == 0
        assert await client.ask("session.logout") == {"status": 200, "result": {}}
        assert code(await client.ask("account.status")) == codes.UNAUTHORIZED
        assert code(await client.ask("session.logout")) == codes.UNAUTHORIZED


# ------------------------------------------------------------------------------------------------ lines, turns, batches


async def test_one_read_is_one_batch(autojump_clock: MockClock) -> None:
    """However many lines it brought; what needs nobody is not in it."""
    exchange = Exchange()
    async with connected(exchange, serve=False) as (client, _):
        await log_on(client, exchange)
        await client.send(place(1), PING, b"\n", b"\r\n", b"rubbish\r\n", place(2))
        batch = await exchange.mailbox.receive()
        assert [type(request) for request in batch.request] == [PlaceOrder, PlaceOrder]
        exchange.answer(batch)
        assert codes_of(await client.replies(4)) == [0, 0, codes.INVALID_JSON, 0]


async def test_a_line_may_come_in_any_pieces(autojump_clock: MockClock) -> None:
    """Byte by byte, and with the end of one line and the beginning of the next in one piece."""
    async with connected(Exchange()) as (client, _):
        data = b'{"id":1,"method":"ping"}\r\n\n{"id":2,"method":"time"}\n'
        for cut in range(0, len(data), 7):
            await client.send(data[cut : cut + 7])
            await wait_all_tasks_blocked()
        assert [reply["id"] for reply in await client.replies(2)] == [1, 2]


async def test_answers_come_in_the_order_of_the_questions(autojump_clock: MockClock) -> None:
    """What could be answered at once waits for what was asked before it, and batches for earlier batches."""
    exchange = Exchange()
    async with connected(exchange, serve=False) as (client, _):
        await log_on(client, exchange)
        batches = []
        for first in (1, 10):
            await client.send(place(first), {"id": first + 1, "method": "ping"}, b'{"id":%d}\n' % (first + 2))
            batches.append(await exchange.mailbox.receive())
        await client.send({"id": 20, "method": "ping"})
        exchange.answer(batches[1])
        with trio.move_on_after(1) as nothing:
            await client.line()
        assert nothing.cancelled_caught
        exchange.answer(batches[0])
        assert [reply["id"] for reply in await client.replies(7)] == [1, 2, 3, 10, 11, 12, 20]


async def test_what_is_released_together_is_written_in_one_piece(autojump_clock: MockClock) -> None:
    """All answers of a batch, and of later turns that waited for it, in one `send_all`."""
    exchange = Exchange()
    ours, theirs, sent = counting_stream_pair()
    client = Client(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session(exchange, theirs).run)
        await client.receive()
        await log_on(client, exchange)
        await client.send(*(place(number) for number in range(100)))
        batch = await exchange.mailbox.receive()
        await client.send(*({"id": number, "method": "ping"} for number in range(100, 200)))
        await wait_all_tasks_blocked()
        sent.clear()
        exchange.answer(batch)
        assert [reply["id"] for reply in await client.replies(200)] == list(range(200))
        assert len(sent) == 1
        nursery.cancel_scope.cancel()


async def test_each_request_of_a_batch_has_its_own_outcome(autojump_clock: MockClock) -> None:
    """Some happened, some were refused, some were not done, one is unknown."""
    exchange = Exchange()
    async with connected(exchange, serve=False) as (client, _):
        await log_on(client, exchange)
        await client.send(*(place(number) for number in range(4)))
        batch = await exchange.mailbox.receive()
        done = exchange.outcome(batch.request[0])
        rejected = exchange.outcome(CancelOrder(1, 11, 7, "BTC-USDT", 999))
        batch.settle([done, rejected, Busy("not now"), OutcomeUnknown("who knows")])
        replies = await client.replies(4)
        assert codes_of(replies) == [0, codes.CANCEL_REJECTED, codes.SERVER_BUSY, codes.TIMEOUT]
        assert [reply["id"] for reply in replies] == [0, 1, 2, 3]


async def test_a_batch_that_fails_as_a_whole_answers_each_of_its_requests(autojump_clock: MockClock) -> None:
    """In their places between the others."""
    exchange = Exchange()
    async with connected(exchange, serve=False) as (client, _):
        await log_on(client, exchange)
        await client.send(place(1), PING, place(2))
        (await exchange.mailbox.receive()).fail(OutcomeUnknown("the writer went away"))
        assert codes_of(await client.replies(3)) == [codes.TIMEOUT, 0, codes.TIMEOUT]


async def test_refused_lines_change_nothing(autojump_clock: MockClock) -> None:
    """The engine never hears of them, and the connection lives on."""
    exchange = Exchange()
    async with connected(exchange, logged_on="alice") as (client, _):
        before, seq = exchange.engine.state_hash(), exchange.seq
        bad = [b"{}\n", b"[]\n", b"\xff\n", place(1, quantity=5), place(2, symbol="X"), place(3, price="0.001")]
        await client.send(*bad)
        assert all(codes_of(await client.replies(len(bad))))
        assert (exchange.engine.state_hash(), exchange.seq) == (before, seq)
        await client.send(place(4))
        assert code(await client.receive()) == 0


# -------------------------------------------------------------------------------------------------------------- batches


def batch_of(request_id: object, *orders: object) -> dict[str, object]:
    """An `order.batch` of these."""
    return {"id": request_id, "method": "order.batch", "params": {"orders": orders}}


def order(number: int, **changes: object) -> object:
    """The parameters of an order that rests, with a name of its own."""
    return place(0, clientOrderId=f"c-{number}", **changes)["params"]


async def test_a_batch_is_answered_with_one_outcome_for_each(autojump_clock: MockClock) -> None:
    """In order, each as it would have been alone; what is wrong costs only itself."""
    async with connected(Exchange(), logged_on="alice") as (client, _):
        cancel = {"symbol": "BTC-USDT", "clientOrderId": "c-1"}
        await client.send(batch_of("b", order(1), order(2, price="0.001"), 7, cancel, cancel, order(1)), PING)
        reply, pong = await client.replies(2)
        assert (reply["id"], reply["status"], pong["status"]) == ("b", 200, 200)
        results = reply["result"]["results"]  # type: ignore[index]  # it was done
        assert codes_of(results) == [
            0,
            codes.FILTER_FAILURE,
            codes.INVALID_PARAMETER,
            0,
            codes.CANCEL_REJECTED,
            codes.ORDER_REJECTED,
        ]
        assert [list(part) for part in results] == [
            ["status", "result" if part["status"] == 200 else "error"] for part in results
        ]
        assert [results[index]["result"]["status"] for index in (0, 3)] == ["NEW", "CANCELED"]
        assert results[0]["result"]["clientOrderId"] == results[3]["result"]["clientOrderId"] == "c-1"
        assert results[5]["error"]["reason"] == "DUPLICATE_CLIENT_ORDER_ID"


async def test_the_orders_of_a_batch_follow_each_other_at_the_engine(autojump_clock: MockClock) -> None:
    """Between those of the lines around them, and in the same batch as these."""
    exchange = Exchange()
    async with connected(exchange, serve=False) as (client, _):
        await log_on(client, exchange)
        await client.send(place(1, clientOrderId="c-0"), batch_of(2, order(1), order(2), {}), batch_of(3, {}), place(4))
        batch = await exchange.mailbox.receive()
        names = [request.client_order_id for request in batch.request if isinstance(request, PlaceOrder)]
        assert names == ["c-0", "c-1", "c-2", ""]
        exchange.answer(batch)
        replies = await client.replies(4)
        assert codes_of(replies) == [0, 0, 0, 0]
        results = [reply["result"].get("results") for reply in replies]  # type: ignore[attr-defined]  # all were done
        assert results[0] is results[3] is None
        assert [codes_of(several) for several in results[1:3]] == [
            [0, 0, codes.MANDATORY_PARAM],
            [codes.MANDATORY_PARAM],
        ]


async def test_the_orders_of_a_batch_share_its_fate_but_not_its_outcomes(autojump_clock: MockClock) -> None:
    """When matching fails, each of them says for itself whether it may have been done."""
    exchange = Exchange()
    async with connected(exchange, serve=False) as (client, _):
        await log_on(client, exchange)
        await client.send(batch_of(1, order(1), {}, order(2)), batch_of(2, order(3)))
        batch = await exchange.mailbox.receive()
        batch.settle([exchange.outcome(batch.request[0]), Busy("not now"), OutcomeUnknown("who knows")])
        await client.send(batch_of(3, order(4), order(5)))
        (await exchange.mailbox.receive()).fail(OutcomeUnknown("the writer went away"))
        results = [reply["result"]["results"] for reply in await client.replies(3)]  # type: ignore[index]
        assert [codes_of(several) for several in results] == [
            [0, codes.MANDATORY_PARAM, codes.SERVER_BUSY],
            [codes.TIMEOUT],
            [codes.TIMEOUT, codes.TIMEOUT],
        ]


async def test_a_batch_that_is_none_changes_nothing(autojump_clock: MockClock) -> None:
    """No list, an empty or a long one, broken text in any order, nobody logged on: refused as a whole."""
    exchange = Exchange()
    broken = b'{"id":9,"method":"order.batch","params":{"orders":[%s,{"symbol":"\xff"}]}}\n'
    good = b'{"symbol":"BTC-USDT","side":"BUY","type":"LIMIT","quantity":"1","price":"40000"}'
    async with connected(exchange) as (client, _):
        assert code(await client.ask("order.batch", orders=[order(1)])) == codes.UNAUTHORIZED
        assert code(await client.ask("session.logon", apiKey="alice")) == 0
        seq = exchange.seq
        await client.send(batch_of(1), batch_of(2, *[order(1)] * 51), broken % good)
        replies = await client.replies(3)
        assert codes_of(replies) == [codes.INVALID_PARAMETER, codes.INVALID_PARAMETER, codes.INVALID_JSON]
        assert [reply["id"] for reply in replies] == [1, 2, 9]
        assert exchange.seq == seq


async def test_every_order_of_a_batch_counts_against_the_rate(autojump_clock: MockClock) -> None:
    """What a batch takes beyond what there is must come in before the next request."""
    limits = SessionLimits(requests_per_second=10, burst=5)
    async with connected(Exchange(), limits, logged_on="alice") as (client, _):
        assert code(await client.ask("order.batch", orders=[order(number) for number in range(14)])) == 0
        reply = await client.ask("ping")
        assert code(reply) == codes.TOO_MANY_REQUESTS
        assert reply["error"]["retryAfter"] == 1_100  # type: ignore[index]  # 5 there, 15 taken
        await trio.sleep(1.1)
        assert code(await client.ask("ping")) == 0


async def test_every_order_of_a_batch_weighs(autojump_clock: MockClock) -> None:
    """As much as alone, and bad ones as much as bad lines."""
    exchange = Exchange()
    async with connected(exchange, serve=False) as (client, running):
        await log_on(client, exchange)
        await client.send(batch_of(1, order(1), order(2), {}))
        await wait_all_tasks_blocked()
        assert running.statistics().in_flight == 1 + 2 + 4
        exchange.answer(await exchange.mailbox.receive())
        assert code(await client.receive()) == 0


# -------------------------------------------------------------------------------------------------------- back-pressure


async def test_reading_pauses_when_the_window_is_full(autojump_clock: MockClock) -> None:
    """No more than the window is in flight; as answers are written, more is taken, and nothing is lost."""
    exchange = Exchange()
    async with connected(exchange, SessionLimits(window=8), serve=False) as (client, running):
        await log_on(client, exchange)
        for first in range(0, 40, 10):
            await client.send(*(place(number) for number in range(first, first + 10)))
        sizes = []
        for _ in range(5):
            await wait_all_tasks_blocked()
            assert running.statistics().in_flight == 8
            batch = await exchange.mailbox.receive()
            sizes.append(len(batch.request))
            exchange.answer(batch)
        assert sizes[0] == 8
        exchange_rest = 40 - sum(sizes)
        while exchange_rest:
            batch = await exchange.mailbox.receive()
            exchange_rest -= len(batch.request)
            exchange.answer(batch)
        assert [reply["id"] for reply in await client.replies(40)] == list(range(40))


async def test_long_answers_weigh_more(autojump_clock: MockClock) -> None:
    """What could fill the memory with its answers is not asked for many times at once."""
    exchange = Exchange()
    async with connected(exchange, SessionLimits(window=8192), serve=False) as (client, running):
        await log_on(client, exchange)
        await client.send(*({"id": number, "method": "openOrders.status"} for number in range(9)))
        await wait_all_tasks_blocked()
        asked = [await exchange.mailbox.receive() for _ in range(exchange.mailbox.statistics().depth)]
        assert sum(len(batch.request) for batch in asked) == 2
        running.kill()


async def test_a_full_mailbox_delays_and_then_refuses(autojump_clock: MockClock) -> None:
    """Within the deadline a batch waits for room, past it each request is told so, and later ones work again."""
    exchange = Exchange(capacity=1)
    async with connected(exchange, SessionLimits(busy_seconds=3), serve=False) as (client, _):
        await log_on(client, exchange)
        blocker: Batch = Batch([])
        sender = exchange.mailbox.sender(1)
        sender.send_nowait(blocker)
        await client.send(place(1))
        await trio.sleep(2)
        assert await exchange.mailbox.receive() is blocker
        exchange.answer(await exchange.mailbox.receive())
        assert code(await client.receive()) == 0

        sender.send_nowait(blocker)
        started = trio.current_time()
        await client.send(place(2), PING, place(3))
        assert codes_of(await client.replies(3)) == [codes.SERVER_BUSY, 0, codes.SERVER_BUSY]
        assert trio.current_time() == started + 3
        assert await exchange.mailbox.receive() is blocker
        await client.send(place(4))
        exchange.answer(await exchange.mailbox.receive())
        assert code(await client.receive()) == 0


async def test_sessions_stay_connected_while_matching_is_away(autojump_clock: MockClock) -> None:
    """For as long as a replay takes: what was asked waits, is answered afterwards, and nobody is called idle."""
    exchange = Exchange()
    async with connected(exchange, serve=False) as (client, _):
        await log_on(client, exchange)
        await client.send(place(1))
        await trio.sleep(600)
        exchange.answer(await exchange.mailbox.receive())
        assert code(await client.receive()) == 0
        assert code(await client.ask("ping")) == 0


async def test_a_client_that_never_reads_is_cut_off(autojump_clock: MockClock) -> None:
    """At the deadline for sending, and with no more in memory than the window allows."""
    exchange = Exchange()
    ours, theirs = lockstep_stream_pair()
    client = Client(ours)
    running = session(exchange, theirs, SessionLimits(window=50, send_seconds=4))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.serve)
        nursery.start_soon(running.run)
        await client.receive()
        started = trio.current_time()
        with suppress(trio.BrokenResourceError):
            while trio.current_time() < started + 100:
                await client.send(*(PING for _ in range(100)))
                assert running.statistics().in_flight <= 50
        assert trio.current_time() == started + 4
        nursery.cancel_scope.cancel()


# ------------------------------------------------------------------------------------------------------------ deadlines


async def test_a_client_that_says_nothing_is_shown_out(autojump_clock: MockClock) -> None:
    """At the deadline for the first line, with a reason."""
    async with connected(Exchange(), SessionLimits(first_line_seconds=5)) as (client, _):
        started = trio.current_time()
        assert codes_of(await client.rest()) == [codes.TOO_MANY_CONNECTIONS]
        assert trio.current_time() == started + 5


async def test_blank_lines_are_no_requests(autojump_clock: MockClock) -> None:
    """They keep no connection alive."""

    async def keep_blank(client: Client) -> None:
        while True:
            await client.send(b"\n  \r\n")
            await trio.sleep(1)

    limits = SessionLimits(first_line_seconds=5)
    async with connected(Exchange(), limits) as (client, _), trio.open_nursery() as nursery:
        nursery.start_soon(keep_blank, client)
        assert codes_of(await client.rest()) == [codes.TOO_MANY_CONNECTIONS]
        assert trio.current_time() == 5
        nursery.cancel_scope.cancel()


async def test_a_client_that_pings_may_stay(autojump_clock: MockClock) -> None:
    """Idle is who asks nothing for the whole time."""
    async with connected(Exchange(), SessionLimits(idle_seconds=30)) as (client, _):
        for _ in range(5):
            assert code(await client.ask("ping")) == 0
            await trio.sleep(29)
        assert code(await client.ask("ping")) == 0
        started = trio.current_time()
        assert codes_of(await client.rest()) == [codes.TOO_MANY_CONNECTIONS]
        assert trio.current_time() == started + 30


async def test_a_half_sent_line_has_a_deadline_however_it_drips(autojump_clock: MockClock) -> None:
    """From its first byte on; requests before it are answered."""

    async def drip(client: Client) -> None:
        await client.send(PING, b'{"id":1,')
        while True:
            await trio.sleep(1)
            await client.send(b" ")

    limits = SessionLimits(line_seconds=10)
    async with connected(Exchange(), limits) as (client, _), trio.open_nursery() as nursery:
        nursery.start_soon(drip, client)
        assert codes_of(await client.rest()) == [0, codes.INVALID_JSON]
        assert trio.current_time() == 10
        nursery.cancel_scope.cancel()


async def test_waiting_for_the_exchange_does_not_count_against_a_half_line(autojump_clock: MockClock) -> None:
    """A client cannot finish its line while we do not read."""
    exchange = Exchange()
    limits = SessionLimits(window=1, line_seconds=10)
    async with connected(exchange, limits, serve=False) as (client, _):
        await log_on(client, exchange)
        await client.send(place(1), b'{"id":2,')
        await trio.sleep(100)
        exchange.answer(await exchange.mailbox.receive())
        await trio.sleep(9)
        await client.send(b'"method":"ping"}\n')
        assert codes_of(await client.replies(2)) == [0, 0]


# --------------------------------------------------------------------------------------------------------- other limits


@pytest.mark.parametrize("end", [b"", b"\n", b'\n{"id":2,"method":"ping"}\n'])
async def test_an_overlong_line_is_answered_and_ends_the_connection(end: bytes, autojump_clock: MockClock) -> None:
    """Whether its end is in sight or not; what came before it is answered, what comes after is not."""
    async with connected(Exchange()) as (client, _):
        await client.send({"id": 1, "method": "ping"}, b"x" * (MAX_LINE_BYTES + 1) + end)
        replies = await client.rest()
        assert codes_of(replies) == [0, codes.INVALID_JSON]
        assert "id" not in replies[1]
        assert "65536 bytes" in str(replies[1])


async def test_a_line_of_just_the_limit_is_read(autojump_clock: MockClock) -> None:
    """Spaces are part of a line."""
    async with connected(Exchange()) as (client, _):
        await client.send(b'{"id":1,"method":"ping"}'.ljust(MAX_LINE_BYTES) + b"\n")
        assert code(await client.receive()) == 0


async def test_requests_beyond_the_rate_are_told_how_long_to_wait(autojump_clock: MockClock) -> None:
    """With their ids, in their places, also bad lines; after that time they are taken again."""
    limits = SessionLimits(requests_per_second=2, burst=3)
    async with connected(Exchange(), limits) as (client, _):
        await client.send(*({"id": number, "method": "ping"} for number in range(5)), b"rubbish\n")
        replies = await client.replies(6)
        assert [reply.get("id") for reply in replies] == [0, 1, 2, 3, 4, None]
        assert codes_of(replies) == [0, 0, 0, *[codes.TOO_MANY_REQUESTS] * 3]
        error = replies[3]["error"]
        assert isinstance(error, dict)
        assert (replies[3]["status"], error["retryAfter"]) == (429, 500)
        await trio.sleep(0.5)
        assert code(await client.ask("ping")) == 0
        assert code(await client.ask("ping")) == codes.TOO_MANY_REQUESTS


async def test_a_flood_of_bad_lines_is_worked_off_in_small_pieces(autojump_clock: MockClock) -> None:
    """Other connections get their turn in between."""
    ours, theirs, sent = counting_stream_pair()
    client = Client(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session(Exchange(), theirs).run)
        await client.receive()
        await client.send(b"x\n" * 5_000)
        assert codes_of(await client.replies(5_000)) == [codes.INVALID_JSON] * 5_000
        assert len(sent) > 15
        nursery.cancel_scope.cancel()


# --------------------------------------------------------------------------------------------------------------- logons


async def test_what_follows_a_logon_is_understood_by_its_outcome(autojump_clock: MockClock) -> None:
    """Sent in one piece: the order behind the logon is asked only once that is answered."""
    exchange = Exchange()
    async with connected(exchange, serve=False) as (client, _):
        await client.send(place(1), {"id": 2, "method": "session.logon", "params": {"apiKey": "alice"}}, place(3), PING)
        batch = await exchange.mailbox.receive()
        assert batch.request == [Logon("alice")]
        await wait_all_tasks_blocked()
        assert exchange.mailbox.statistics().depth == 0
        exchange.answer(batch)
        batch = await exchange.mailbox.receive()
        assert [type(request) for request in batch.request] == [PlaceOrder]
        exchange.answer(batch)
        assert codes_of(await client.replies(4)) == [codes.UNAUTHORIZED, 0, 0, 0]


async def test_an_order_carries_who_placed_it(autojump_clock: MockClock) -> None:
    """Account, key and session, for the log."""
    exchange = Exchange()
    async with connected(exchange, logged_on="bob") as (client, running):
        await client.send(place(1))
        await client.receive()
        command = exchange.seen[-1][0]
        assert isinstance(command, PlaceOrder)
        assert (command.account, command.key, command.session) == (2, 12, running.number)
        statistics = running.statistics()
        assert (statistics.account, statistics.key, statistics.peer) == (2, 12, "192.0.2.1:4711")


async def test_a_signed_logon_proves_the_key(autojump_clock: MockClock) -> None:
    """Over the nonce of this connection's hello; without a signature it is not enough."""
    exchange = Exchange()
    ours, theirs = memory_stream_pair()
    client = Client(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.serve)
        nursery.start_soon(session(exchange, theirs, unsigned_logon=False).run)
        nonce = (await client.receive())["nonce"]
        assert code(await client.ask("session.logon", apiKey="alice")) == codes.MANDATORY_PARAM
        signer = Ed25519PrivateKey.from_private_bytes(bytes(32))
        for timestamp, expected in ((EPOCH_MS - 5_001, codes.INVALID_TIMESTAMP), (EPOCH_MS, 0)):
            signature = signer.sign(logon_payload("alice", str(nonce), timestamp)).hex()
            params = {"apiKey": "alice", "timestamp": timestamp, "signature": signature}
            assert code(await client.ask("session.logon", **params)) == expected
        nursery.cancel_scope.cancel()


async def test_a_wrong_signature_is_refused(autojump_clock: MockClock) -> None:
    """Also where none is needed: who signs must sign right."""
    async with connected(Exchange()) as (client, _):
        params = {"apiKey": "alice", "timestamp": EPOCH_MS, "signature": "00" * 64}
        assert code(await client.ask("session.logon", **params)) == codes.INVALID_SIGNATURE
        assert code(await client.ask("account.status")) == codes.UNAUTHORIZED


async def test_there_is_one_logon_per_connection(autojump_clock: MockClock) -> None:
    """Another is refused and changes nothing, also after a logout."""
    async with connected(Exchange(), logged_on="alice") as (client, _):
        assert code(await client.ask("session.logon", apiKey="bob")) == codes.REJECTED_KEY
        status = await client.ask("session.status")
        assert isinstance(status["result"], dict)
        assert status["result"]["account"] == 1
        assert code(await client.ask("session.logout")) == 0
        assert code(await client.ask("session.logon", apiKey="alice")) == codes.REJECTED_KEY


async def test_a_flood_of_logons_lets_others_have_their_turn(autojump_clock: MockClock) -> None:
    """Each is refused, and the answers begin to flow before all of them are."""
    ours, theirs, sent = counting_stream_pair()
    client = Client(ours)
    exchange = Exchange()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.serve)
        nursery.start_soon(session(exchange, theirs).run)
        await client.receive()
        assert code(await client.ask("session.logon", apiKey="alice")) == 0
        await client.send(*({"method": "session.logon", "params": {"apiKey": "bob"}} for _ in range(1_000)))
        assert codes_of(await client.replies(1_000)) == [codes.REJECTED_KEY] * 1_000
        assert len(sent) > 100
        nursery.cancel_scope.cancel()


async def test_who_keeps_failing_to_log_on_is_shown_out(autojump_clock: MockClock) -> None:
    """A few times are a mistake."""
    async with connected(Exchange()) as (client, _):
        for _ in range(MAX_FAILED_LOGONS - 1):
            assert code(await client.ask("session.logon", apiKey="mallory")) == codes.REJECTED_KEY
        await client.send({"id": 1, "method": "session.logon", "params": {"apiKey": "mallory"}}, PING)
        assert codes_of(await client.rest()) == [codes.REJECTED_KEY, codes.REJECTED_KEY]


async def test_a_logon_that_was_not_done_can_be_tried_again(autojump_clock: MockClock) -> None:
    """Matching was busy, or failed; that is no failed logon."""
    exchange = Exchange()
    async with connected(exchange, serve=False) as (client, _):
        for _ in range(MAX_FAILED_LOGONS - 1):
            await client.send({"method": "session.logon", "params": {"apiKey": "alice"}})
            (await exchange.mailbox.receive()).settle([Busy("restarting")])
            assert code(await client.receive()) == codes.SERVER_BUSY
            await client.send({"method": "session.logon", "params": {"apiKey": "alice"}})
            (await exchange.mailbox.receive()).fail(OutcomeUnknown("gone"))
            assert code(await client.receive()) == codes.TIMEOUT
        await log_on(client, exchange)


# ------------------------------------------------------------------------------------------------ cancel on disconnect


@asynccontextmanager
async def armed(exchange: Exchange) -> AsyncIterator[tuple[Client, Session]]:
    """A client whose orders are to be cancelled when it is gone."""
    async with connected(exchange) as (client, running):
        reply = await client.ask("session.logon", apiKey="alice", cancelOnDisconnect=True)
        assert reply["result"]["cancelOnDisconnect"] is True  # type: ignore[index]  # it was done
        yield client, running


async def test_a_session_is_armed_before_its_logon_is_answered(autojump_clock: MockClock) -> None:
    """For the account and by the key that logs on; whoever does not want it is left alone."""
    exchange = Exchange()
    async with armed(exchange) as (client, _):
        assert exchange.seen[-1] == [ArmSession(1, 11, 7)]
        status = await client.ask("session.status")
        assert status["result"]["cancelOnDisconnect"] is True  # type: ignore[index]
    assert exchange.lost == [7]
    exchange = Exchange()
    async with connected(exchange, logged_on="alice") as (client, _):
        status = await client.ask("session.status")
        assert status["result"]["cancelOnDisconnect"] is False  # type: ignore[index]
    assert exchange.lost == []


async def test_orders_end_with_their_session(autojump_clock: MockClock) -> None:
    """Those that it placed, and no others."""
    exchange = Exchange()
    other = exchange.outcome(PlaceOrder(1, 11, 3, "BTC-USDT", BUY, LIMIT, GTC, 10, 4_000_000))
    assert isinstance(other, Done)
    async with armed(exchange) as (client, _):
        await client.send(place(1), place(2))
        assert codes_of(await client.replies(2)) == [0, 0]
    (session_number,) = exchange.lost
    exchange.outcome(LoseSession(session_number))
    left = exchange.outcome(OpenOrders(1))
    assert isinstance(left, list)
    assert [view.order_id for view in left if isinstance(view, OrderView)] == [1]


@pytest.mark.parametrize("end", ["client", "kill", "stop", "expelled", "crash"])
async def test_a_session_reports_its_end_once_however_it_comes(
    end: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client goes, an operator kills it, the gateway stops, a limit is broken, or we have a bug."""
    exchange = Exchange()
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True) if end == "crash" else nullcontext():
        async with armed(exchange) as (client, running):
            if end == "kill":
                running.kill()
            elif end == "stop":
                running.stop()
            elif end == "expelled":
                await client.send(b"x" * (MAX_LINE_BYTES + 1))
                await client.rest()
            elif end == "crash":
                monkeypatch.setattr(session_module, "read", lambda line: len(line) / 0)
                await client.send(PING)
                await client.rest()
    assert exchange.lost == [7]


async def test_a_session_that_may_have_been_armed_reports_its_end(autojump_clock: MockClock) -> None:
    """Its client went, or matching failed, before it was known whether it was."""
    for fate in ("gone", "unknown"):
        exchange = Exchange()
        async with connected(exchange, serve=False) as (client, running):
            await client.send({"method": "session.logon", "params": {"apiKey": "alice", "cancelOnDisconnect": True}})
            exchange.answer(await exchange.mailbox.receive())
            arming = await exchange.mailbox.receive()
            if fate == "gone":
                running.kill()
            else:
                arming.fail(OutcomeUnknown("the writer went away"))
                assert code(await client.receive()) == codes.TIMEOUT
        assert exchange.lost == [7]


async def test_a_logon_whose_session_cannot_be_armed_fails(autojump_clock: MockClock) -> None:
    """It says why, may be tried again, and leaves nothing to report."""
    exchange = Exchange()
    async with connected(exchange, serve=False) as (client, _):
        for outcome, expected in (
            (Busy("not now"), codes.SERVER_BUSY),
            (Rejected(codes.INVALID_PARAMETER, "SESSION_TAKEN", "session", 7), codes.INVALID_PARAMETER),
        ):
            await client.send({"method": "session.logon", "params": {"apiKey": "alice", "cancelOnDisconnect": True}})
            exchange.answer(await exchange.mailbox.receive())
            (await exchange.mailbox.receive()).settle([outcome])
            reply = await client.receive()
            assert code(reply) == expected
            await client.send({"method": "account.status"})
            assert code(await client.receive()) == codes.UNAUTHORIZED
        await log_on(client, exchange)
    assert exchange.lost == []


async def test_a_key_that_may_not_trade_has_nothing_to_cancel(autojump_clock: MockClock) -> None:
    """It is told so instead of being armed."""
    async with connected(exchange := Exchange()) as (client, _):
        reply = await client.ask("session.logon", apiKey="looker", cancelOnDisconnect=True)
        assert code(reply) == codes.REJECTED_KEY
        assert "cancelOnDisconnect" in str(reply)
    assert exchange.lost == []


async def test_a_logout_cancels_the_orders_of_an_armed_session(autojump_clock: MockClock) -> None:
    """Those sent before it, before it is answered; what is sent behind it is nobody's. Then there is no more to do."""
    exchange = Exchange()
    async with armed(exchange) as (client, _):
        await client.send(
            place(1), {"id": 2, "method": "session.logout"}, place(3), {"id": 4, "method": "session.status"}
        )
        assert codes_of(await client.replies(4)) == [0, 0, codes.UNAUTHORIZED, codes.UNAUTHORIZED]
        assert exchange.seen[-1] == [LoseSession(7)]
        assert exchange.outcome(OpenOrders(1)) == []
    assert exchange.lost == []


async def test_a_logout_that_was_not_done_can_be_tried_again(autojump_clock: MockClock) -> None:
    """Until then the session is what it was."""
    exchange = Exchange()
    async with connected(exchange, serve=False) as (client, _):
        await client.send({"method": "session.logon", "params": {"apiKey": "alice", "cancelOnDisconnect": True}})
        for _ in range(2):
            exchange.answer(await exchange.mailbox.receive())
        assert code(await client.receive()) == 0
        await client.send({"method": "session.logout"}, {"method": "session.status"})
        (await exchange.mailbox.receive()).fail(Busy("restarting"))
        assert codes_of(await client.replies(2)) == [codes.SERVER_BUSY, 0]
        await client.send({"method": "session.logout"})
        exchange.answer(await exchange.mailbox.receive())
        assert code(await client.receive()) == 0
    assert exchange.lost == []


# ----------------------------------------------------------------------------------------------------------------- ends


@asynccontextmanager
async def in_flight(exchange: Exchange) -> AsyncIterator[tuple[Client, Session, Batch]]:
    """A client with one order in flight."""
    async with connected(exchange, serve=False) as (client, running):
        await log_on(client, exchange)
        await client.send(place(1))
        yield client, running, await exchange.mailbox.receive()


async def test_a_client_that_has_said_all_still_gets_its_answers(autojump_clock: MockClock) -> None:
    """It shut down its sending side only; half a line at the end is nothing."""
    exchange = Exchange()
    async with in_flight(exchange) as (client, _, batch):
        await client.send(b'{"id":2,"method":"pi')
        await client.stream.send_eof()
        await trio.sleep(1)
        exchange.answer(batch)
        assert codes_of(await client.rest()) == [0]


async def test_a_client_that_is_gone_ends_its_session(autojump_clock: MockClock) -> None:
    """What it had in flight happens all the same, and its late answer harms nobody."""
    exchange = Exchange()
    ours, theirs = memory_stream_pair()
    client, ended = Client(ours), trio.Event()

    async def run() -> None:
        await session(exchange, theirs).run()
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await client.receive()
        await log_on(client, exchange)
        await client.send(place(1))
        batch = await exchange.mailbox.receive()
        await trio.aclose_forcefully(ours)
        await wait_all_tasks_blocked()
        exchange.answer(batch)
        with trio.fail_after(1):
            await ended.wait()


async def test_a_stop_answers_what_was_read_and_closes(autojump_clock: MockClock) -> None:
    """What comes after it is not read any more."""
    exchange = Exchange()
    async with in_flight(exchange) as (client, running, batch):
        running.stop()
        await wait_all_tasks_blocked()
        await client.send(place(2))
        await trio.sleep(3)
        exchange.answer(batch)
        replies = await client.rest()
        assert [reply["id"] for reply in replies] == [1]
        assert len(exchange.seen) == 2


async def test_a_stop_of_an_idle_session_closes_at_once(autojump_clock: MockClock) -> None:
    """There is nothing to wait for."""
    async with connected(Exchange(), logged_on="alice") as (client, running):
        started = trio.current_time()
        running.stop()
        await assert_closed(client)
        assert trio.current_time() == started


async def test_a_killed_session_closes_at_once(autojump_clock: MockClock) -> None:
    """Without an answer to what is in flight."""
    async with in_flight(Exchange()) as (client, running, _):
        running.kill()
        await assert_closed(client)

"""Following channels on a connection: replies before events, who may follow what, and who does not read."""

import trio
from trio.abc import HalfCloseableStream
from trio.testing import MemorySendStream

from actors.market_channels import BookChannel, UserChannel
from actors.session import SessionLimits
from actors.streams import StreamLimits, Streams
from book.codes import (
    BAD_SYMBOL,
    GAP_TOO_OLD,
    INVALID_PARAMETER,
    REJECTED_KEY,
    SLOW_CONSUMER,
    TOO_MANY_SUBSCRIPTIONS,
    UNAUTHORIZED,
)
from book.commands import DefineKey
from book.definitions import Key
from book.queries import BookChange, DepthView
from book.terms import TRADE
from tests.clients import PUBLIC_KEY, Exchange, code, codes, connected, place

BOOK = "book:BTC-USDT"


def seeded(exchange: Exchange) -> BookChannel:
    """The book's channel, live, with one level; somebody follows it already."""
    (book,) = [channel for channel in exchange.streams.unseeded() if isinstance(channel, BookChannel)]
    book.seed(DepthView("BTC-USDT", 7, [(100, 5)], []), 0)
    return book


def change(book: BookChannel, seq: int, *, levels: int = 1) -> None:
    """Let the book change, and deliver it."""
    book.follow(BookChange("BTC-USDT", seq, seq, [(200 + price, seq) for price in range(levels)], []), 0)
    book.flush()
    for subscription in book.due():
        book.deliver(subscription)
    book.trim()


async def test_the_reply_comes_first_then_the_snapshot_then_deltas() -> None:
    """On a channel that is live, in one go with other requests."""
    exchange = Exchange()
    async with connected(exchange) as (client, _):
        assert code(await client.ask("subscribe", channels=[BOOK])) == 0
        book = seeded(exchange)
        snapshot = await client.receive()
        assert (snapshot["event"], snapshot["seq"], snapshot["bids"]) == ("book.snapshot", 7, [["1.00", "0.0005"]])
        change(book, 8)
        delta = await client.receive()
        assert (delta["event"], delta["firstSeq"], delta["seq"]) == ("book.delta", 8, 8)
        async with connected(exchange, serve=False) as (other, _):
            await other.send({"id": 1, "method": "subscribe", "params": {"channels": [BOOK]}}, {"method": "ping"})
            first, second, event = await other.replies(3)
            assert first == {"id": 1, "status": 200, "result": {"channels": [BOOK]}}
            assert second == {"status": 200, "result": {}}
            assert (event["event"], event["seq"]) == ("book.snapshot", 8)


async def test_what_cannot_be_followed() -> None:
    """All or none: one bad name, and nothing is subscribed to."""
    exchange = Exchange()
    exchange.streams = Streams(
        StreamLimits(max_subscriptions=3),
        exchange.directory,
        exchange.audience,
        now=trio.current_time,
        wake=lambda: None,
    )
    async with connected(exchange) as (client, session):
        for names, expected in (
            (["book"], INVALID_PARAMETER),
            (["book:"], BAD_SYMBOL),
            (["books:BTC-USDT"], INVALID_PARAMETER),
            (["kline:BTC-USDT"], INVALID_PARAMETER),
            (["kline_2m:BTC-USDT"], INVALID_PARAMETER),
            (["trade:BTC-USD"], BAD_SYMBOL),
            ([BOOK, "user"], UNAUTHORIZED),
            ([BOOK, *(f"kline_{interval}:BTC-USDT" for interval in ("1m", "5m", "15m"))], TOO_MANY_SUBSCRIPTIONS),
            ([], INVALID_PARAMETER),
            ([5], INVALID_PARAMETER),
        ):
            assert code(await client.ask("subscribe", channels=names)) == expected, names
        assert session.statistics().subscriptions == 0
        assert code(await client.ask("subscribe", channels=[BOOK, BOOK, "ticker:BTC-USDT", "kline_1d:BTC-USDT"])) == 0
        assert session.statistics().subscriptions == 3
        assert code(await client.ask("unsubscribe", channels=[BOOK, "trade:X-Y"])) == BAD_SYMBOL
        assert session.statistics().subscriptions == 3
        assert code(await client.ask("resume", channel="trade:BTC-USDT", fromSeq=1)) == TOO_MANY_SUBSCRIPTIONS


async def test_resuming_and_leaving() -> None:
    """From the number on that is wanted, or not at all."""
    exchange = Exchange()
    async with connected(exchange) as (client, session):
        await client.ask("subscribe", channels=[BOOK])
        book = seeded(exchange)
        await client.receive()
        reply = await client.ask("unsubscribe", channels=[BOOK, "trade:BTC-USDT"])
        assert reply["result"] == {"channels": []}
        assert session.statistics().subscriptions == 0
        change(book, 8)
        change(book, 9)
        for seq in (7, 11):
            assert code(await client.ask("resume", channel=BOOK, fromSeq=seq)) == GAP_TOO_OLD
        assert (await client.ask("resume", channel=BOOK, fromSeq=9))["result"] == {"channels": [BOOK]}
        assert (await client.receive())["seq"] == 9
        change(book, 10)
        assert (await client.receive())["seq"] == 10
        book._check()


async def test_a_logout_ends_the_users_channel() -> None:
    """Behind its reply comes nothing of the account any more; what is public goes on."""
    exchange = Exchange()
    async with connected(exchange, logged_on="alice") as (client, session):
        await client.ask("subscribe", channels=["user", BOOK])
        (user,) = [channel for channel in exchange.streams.unseeded() if isinstance(channel, UserChannel)]
        user.reached(12)
        assert exchange.audience.accounts == {1}
        assert code(await client.ask("session.logout")) == 0
        assert session.statistics().subscriptions == 1
        assert user.subscriptions == {}


async def test_who_may_not_read_does_not_follow_the_account() -> None:
    """It needs the permission that its balances need."""
    exchange = Exchange()
    exchange.outcome(DefineKey(Key(20, "blind", 1, TRADE, PUBLIC_KEY)))
    async with connected(exchange, logged_on="blind") as (client, _):
        assert code(await client.ask("subscribe", channels=["user"])) == REJECTED_KEY
    async with connected(exchange, logged_on="looker") as (client, _):
        assert code(await client.ask("subscribe", channels=["user"])) == 0


async def test_a_lost_connection_follows_nothing() -> None:
    """Whatever ends it."""
    exchange = Exchange()
    async with connected(exchange) as (client, _):
        await client.ask("subscribe", channels=[BOOK])
        assert exchange.streams.subscriptions == 1
    assert exchange.streams.subscriptions == 0


async def test_followers_are_told_that_the_exchange_stops() -> None:
    """Before the connection ends; whoever follows nothing just gets the rest of the answers."""
    exchange = Exchange()
    async with connected(exchange) as (client, session), connected(exchange, serve=False) as (other, idle):
        await client.ask("subscribe", channels=[BOOK])
        session.stop()
        idle.stop()
        assert [line["event"] for line in await client.rest()] == ["serverShutdown"]
        assert await other.rest() == []


async def test_who_does_not_read_is_told_and_shown_out(autojump_clock: trio.testing.MockClock) -> None:
    """Nobody else notices, and nothing is left out before."""
    assert autojump_clock.rate == 0
    exchange = Exchange()
    valve = trio.Event()

    def narrow(stream: HalfCloseableStream) -> HalfCloseableStream:
        assert isinstance(stream, trio.StapledStream)
        assert isinstance(stream.send_stream, MemorySendStream)
        pump = stream.send_stream.send_all_hook
        assert pump is not None

        async def wait() -> None:
            await valve.wait()
            await pump()

        stream.send_stream.send_all_hook = wait
        return stream

    limits = SessionLimits(event_bytes=2_000, send_seconds=100)
    async with connected(exchange) as (reader, _):
        await reader.ask("subscribe", channels=[BOOK])
        book = seeded(exchange)
        await reader.receive()
        async with connected(exchange, limits, serve=False, greeted=False, wrap=narrow) as (client, _):
            await client.send({"method": "subscribe", "params": {"channels": [BOOK]}})
            await trio.sleep(1)
            valve.set()
            assert [("event" in line) for line in await client.replies(3)] == [True, False, True]
            valve = trio.Event()
            for seq in range(8, 60):
                change(book, seq)
                assert (await reader.receive())["seq"] == seq
            assert exchange.streams.state.slow_consumers == 1
            valve.set()
            *deltas, error = await client.rest()
            assert code(error) == SLOW_CONSUMER
            assert [delta["seq"] for delta in deltas] == list(range(8, 8 + len(deltas)))
            assert len(book.subscriptions) == 1


async def test_a_burst_is_taken_whole() -> None:
    """However large: a snapshot is as large as the book."""
    exchange = Exchange()
    async with connected(exchange, SessionLimits(event_bytes=100)) as (client, _):
        await client.ask("subscribe", channels=[BOOK])
        book = seeded(exchange)
        await client.receive()
        change(book, 8, levels=5_000)
        bids = (await client.receive())["bids"]
        assert isinstance(bids, list)
        assert len(bids) == 5_000


async def test_orders_are_answered_among_events() -> None:
    """In their order, whatever is told between them."""
    exchange = Exchange()
    async with connected(exchange, logged_on="alice") as (client, _):
        await client.ask("subscribe", channels=[BOOK])
        book = seeded(exchange)
        await client.receive()
        await client.send(*(place(number, clientOrderId=f"c{number}") for number in range(20)))
        for seq in range(8, 20):
            change(book, seq)
        lines = await client.replies(32)
        replies = [line for line in lines if "id" in line]
        assert [line["id"] for line in replies] == list(range(20))
        assert codes(replies) == [0] * 20
        assert [line["seq"] for line in lines if "event" in line] == list(range(8, 20))

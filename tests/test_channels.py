"""One channel by itself: places, gaps, what is kept, and what suspends it; and the feed that fills channels."""

from typing import Any

import pytest
import trio

from actors.audience import AccountNews, Audience, Committed
from actors.channels import Channel, Kept, StreamState, Subscription, Topic
from actors.directory import Directory
from actors.feed import CAPACITY, Feed
from actors.market_channels import BookChannel, KlineChannel, TickerChannel, TradeChannel, UserChannel
from actors.stream_events import Heartbeat
from actors.user_stream import UserStream
from book.events import Trade
from book.history import MINUTE_NS
from book.queries import BookChange, Candle, DepthView, PublicTrade, TickerView
from tests.clients import Exchange
from tests.followers import Listener

SYMBOL = "BTC-USDT"
KEPT = Kept(lines=3, bytes=1_000_000)


def venues() -> Any:
    """Those of the clients' exchange."""
    return Exchange().directory.venues


def subscribed(channel: Channel, wanted: int | None = None) -> Listener:
    """Somebody who follows it, from that number on."""
    listener = Listener()
    channel.add(Subscription(listener, channel, wanted))
    return listener


def deliver(channel: Channel) -> None:
    """Hand over what is due."""
    for subscription in channel.due():
        channel.deliver(subscription)
    channel.trim()
    channel._check()


def is_live(channel: Channel) -> bool:
    """Whether it is, now: a type checker would think that it stays so."""
    return channel.live


def since(channel: KlineChannel) -> int | None:
    """From which candle on it asks, now."""
    return channel.since_ns


def trade(number: int) -> Trade:
    """A trade of this number."""
    return Trade(SYMBOL, number, 100, 5, 500, 1, 1, 2, 1, 2, 0, 0)


def trades_channel(kept: Kept = KEPT) -> TradeChannel:
    """Not live yet."""
    return TradeChannel(Topic("trade", SYMBOL), kept, StreamState(), venues())


def ids(listener: Listener) -> list[int]:
    """Of the trades that it was told."""
    return [event["tradeId"] for event in listener.of("trade")]


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        (Topic("book", SYMBOL), "book:BTC-USDT"),
        (Topic("kline", SYMBOL, 5 * MINUTE_NS), "kline_5m:BTC-USDT"),
        (Topic("user", account=7), "user"),
    ],
)
def test_names_are_those_of_the_wire(topic: Topic, name: str) -> None:
    """All users' channels have the same, and are channels of their own."""
    assert topic.name == name


def test_a_late_follower_gets_what_comes_and_a_resumer_what_it_wants() -> None:
    """Each from its own place, each line once."""
    channel = trades_channel()
    channel.seed([])
    first = subscribed(channel)
    for number in (1, 2):
        channel.follow(trade(number), 0)
    deliver(channel)
    late, again = subscribed(channel), subscribed(channel, 2)
    channel.follow(trade(3), 0)
    deliver(channel)
    assert (ids(first), ids(late), ids(again)) == ([1, 2, 3], [3], [2, 3])


def test_what_is_too_old_is_forgotten_and_told() -> None:
    """Three lines are kept, or as many as their bytes allow; never one that somebody has not got."""
    channel = trades_channel()
    channel.seed([])
    follower = subscribed(channel)
    for number in range(1, 11):
        channel.follow(trade(number), 0)
    assert channel.can_resume(1)
    deliver(channel)
    assert ids(follower) == list(range(1, 11))
    assert [channel.can_resume(seq) for seq in (7, 8, 11, 12)] == [False, True, True, False]
    small = trades_channel(Kept(lines=1_000, bytes=1_024))
    small.seed([])
    for number in range(1, 31):
        small.follow(trade(number), 0)
    deliver(small)
    assert not small.can_resume(1)
    assert small.can_resume(30)


def test_trades_that_come_before_the_seed_are_not_lost() -> None:
    """The first one makes the channel live; an older seed says nothing new."""
    channel = trades_channel()
    follower = subscribed(channel)
    channel.follow(trade(41), 0)
    channel.seed([PublicTrade(40, 100, 5, 500, 1, 0)])
    channel.follow(trade(42), 0)
    deliver(channel)
    assert ids(follower) == [41, 42]


def test_a_gap_in_the_trades_is_filled_by_the_seed() -> None:
    """What came behind it waits."""
    channel = trades_channel()
    channel.seed([])
    follower = subscribed(channel)
    channel.follow(trade(1), 0)
    deliver(channel)
    channel.follow(trade(4), 0)
    assert not is_live(channel)
    channel.follow(trade(5), 0)
    channel.seed([PublicTrade(number, 100, 5, 500, 1, 0) for number in (2, 3, 4)])
    deliver(channel)
    assert ids(follower) == [1, 2, 3, 4, 5]


def test_a_gap_that_the_seed_does_not_fill_is_told() -> None:
    """And counted; what comes next follows."""
    channel = trades_channel()
    channel.seed([])
    follower = subscribed(channel)
    channel.follow(trade(1), 0)
    deliver(channel)
    channel.suspend()
    channel.seed([PublicTrade(9, 100, 5, 500, 1, 0)])
    channel.follow(trade(10), 0)
    deliver(channel)
    assert ids(follower) == [1, 10]
    assert [error["error"]["channel"] for error in follower.errors] == ["trade:BTC-USDT"]


def book_channel() -> BookChannel:
    """Live, with one bid, after change 7."""
    channel = BookChannel(Topic("book", SYMBOL), KEPT, StreamState(), venues())
    channel.seed(DepthView(SYMBOL, 7, [(100, 5)], []), 0)
    return channel


def change(first: int, last: int, price: int = 100, lots: int = 1) -> BookChange:
    """These changes left a bid so."""
    return BookChange(SYMBOL, first, last, [(price, lots)], [])


def test_changes_are_merged_until_they_are_flushed() -> None:
    """Into one delta with the levels as they are then."""
    channel = book_channel()
    follower = subscribed(channel)
    for each in (change(8, 8, lots=2), change(9, 12, 101, 3), change(13, 13, lots=0)):
        channel.follow(each, 0)
    channel.flush()
    channel.flush()
    deliver(channel)
    (delta,) = follower.of("book.delta")
    assert (delta["firstSeq"], delta["seq"], delta["bids"]) == (8, 13, [["1.01", "0.0003"], ["1.00", "0"]])
    assert follower.books["book:BTC-USDT"].depth()["bids"] == [("1.01", "0.0003")]


def test_a_book_drops_what_it_knows_and_waits_for_a_seed_behind_a_gap() -> None:
    """The seed may be older than what has come meanwhile."""
    channel = book_channel()
    follower = subscribed(channel)
    channel.follow(change(5, 7, lots=9), 0)
    channel.follow(change(10, 10, 102, 4), 0)
    assert not is_live(channel)
    channel.follow(change(11, 11, 103, 5), 0)
    channel.seed(DepthView(SYMBOL, 9, [(100, 5)], []), 0)
    assert is_live(channel)
    channel.flush()
    deliver(channel)
    assert follower.books["book:BTC-USDT"].depth()["bids"] == [
        ("1.03", "0.0005"),
        ("1.02", "0.0004"),
        ("1.00", "0.0005"),
    ]
    assert follower.books["book:BTC-USDT"].snapshots == 2


def test_a_seed_that_is_too_old_is_asked_for_again() -> None:
    """It does not reach what has come."""
    channel = book_channel()
    channel.follow(change(10, 10), 0)
    channel.seed(DepthView(SYMBOL, 8, [], []), 0)
    assert not is_live(channel)


def test_who_left_in_the_midst_of_a_delivery_gets_nothing() -> None:
    """And who came back has another place."""
    channel = book_channel()
    follower = subscribed(channel)
    channel.follow(change(8, 8), 0)
    channel.flush()
    due = channel.due()
    channel.remove(follower, 0.0)
    channel.add(Subscription(follower, channel))
    for subscription in due:
        channel.deliver(subscription)
    assert [event["event"] for event in follower.events] == ["book.snapshot", "book.snapshot"]


def test_a_ticker_begins_with_what_is_and_tells_what_is_new() -> None:
    """Not what looks as it did; and after a suspension, nothing twice."""
    channel = TickerChannel(Topic("ticker", SYMBOL), KEPT, StreamState(), venues())
    follower = subscribed(channel)
    day = TickerView(SYMBOL, 1, 2, 1, 2, 5, 6, 7, 0, 10**6)
    channel.update(day, 3)
    channel.update(TickerView(SYMBOL, 1, 2, 1, 2, 5, 6, 7, 0, 2 * 10**6), 3)
    deliver(channel)
    late = subscribed(channel)
    assert [len(each.of("ticker")) for each in (follower, late)] == [1, 1]
    channel.suspend()
    channel.update(TickerView(SYMBOL, 1, 2, 1, 2, 5, 6, 8, 0, 3 * 10**6), 4)
    deliver(channel)
    assert [event["count"] for event in follower.of("ticker")] == [7, 8]
    assert follower.errors == []


def test_candles_are_closed_by_time_or_by_the_next() -> None:
    """Each is told once more then; several may have been closed since the last look."""
    channel = KlineChannel(Topic("kline", SYMBOL, MINUTE_NS), KEPT, StreamState(), venues())
    follower = subscribed(channel)
    assert since(channel) is None
    first, second = (Candle(number * MINUTE_NS, 1, 1, 1, 1, 1, 1, 1) for number in (1, 2))
    channel.update([], 0, 0)
    channel.update([first], MINUTE_NS, 1)
    channel.update([first], MINUTE_NS + 1, 1)
    channel.update([first, second], 2 * MINUTE_NS, 2)
    assert since(channel) == 2 * MINUTE_NS
    channel.update([second], 3 * MINUTE_NS, 2)
    deliver(channel)
    assert [(event["openTime"] // 60_000, event["closed"]) for event in follower.of("kline")] == [
        *((1, False), (1, True), (2, False), (2, True)),
    ]


def test_a_user_that_missed_something_is_told() -> None:
    """Whether the engine says so, or the next news."""
    channel = UserChannel(Topic("user", account=1), KEPT, StreamState(), UserStream(Directory()))
    follower = subscribed(channel)
    channel.reached(5)
    channel.reached(5)
    channel.suspend()
    channel.reached(9)
    assert len(follower.errors) == 1
    channel.follow(AccountNews(1, 0, 10, [], [], []))
    channel.follow(AccountNews(1, 0, 10, [], [], []))
    assert [event["seq"] for event in follower.events] == [10]
    channel.follow(AccountNews(1, 0, 14, [], [], []))
    assert [event["seq"] for event in follower.events] == [10, 14]
    assert len(follower.errors) == 2
    channel._check()


def test_broken_channels_are_noticed() -> None:
    """By their own check: bytes, numbers, places."""
    for spoil, words in (
        (lambda channel: setattr(channel, "_bytes", 1), "bytes"),
        (lambda channel: channel.publish(Heartbeat(0), 9, 9), "goes on"),
        (lambda channel: setattr(channel, "live", False), "live"),
        (lambda channel: setattr(channel, "_end", 0), "at 1 of 0"),
    ):
        channel = trades_channel()
        channel.seed([])
        subscribed(channel)
        channel.follow(trade(1), 0)
        deliver(channel)
        spoil(channel)
        with pytest.raises(AssertionError, match=words):
            channel._check()


def test_an_audience_has_a_version() -> None:
    """It grows only when something is otherwise."""
    audience = Audience()
    audience.follow(books=["A"], accounts=[1], everybody=True)
    audience.follow(books=["A"], accounts=[1], everybody=True)
    assert audience.version == 1
    audience.follow(books=[], accounts=[1], everybody=True)
    assert audience.version == 2


async def test_a_feed_forgets_what_nobody_takes() -> None:
    """And says so once; who offers never waits."""
    feed = Feed()
    for number in range(CAPACITY + 2):
        feed.offer(Committed(number, [], [], []))
    await feed.wait()
    taken = feed.take()
    assert [item.time_ns for item in taken.items] == [CAPACITY, CAPACITY + 1]
    assert not taken.complete
    assert (feed.lost, feed.peak) == (1, CAPACITY)
    feed.wake()
    await feed.wait()
    taken = feed.take()
    assert (taken.items, taken.complete) == ([], True)
    with trio.move_on_after(0) as waiting:
        await feed.wait()
    assert waiting.cancelled_caught

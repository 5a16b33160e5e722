"""The publisher: market data and user streams, of committed events only.

Theory of operation. Matching tells what happened in a round as far as anybody follows it (actors.audience); the request
log's writer offers that to the feed once it is durable; here it becomes events on channels (actors.streams) that are
handed to the sessions. Three tasks share that register, and none of them waits while it changes it:

  follow   takes in what the feed has. What is for account owners leaves at once. It also has channels seeded: it asks
           matching how a book, the last trades or an account's matters stand. An answer is released before the round
           it belongs to is offered, and what a channel knows already it drops, so the two fit whatever comes first.
  deliver  publishes what changed in the books, once for everybody, and hands everything that is due to the followers,
           a slice of them at a time, so that a thousand followers do not hold up the orders. Then it rests for a
           multiple of the time that took: the more follow, the rarer and the larger the deltas.
  beat     once a second: heartbeats, tickers and candles, and the end of what nobody follows.

Nobody waits for the publisher: where it does not keep up, the feed forgets, and all channels are seeded again. It keeps
nothing over a crash but the subscriptions and what was published: each incarnation begins by suspending every channel.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final, TypeGuard, TypeVar

import structlog
import trio
from structlog.typing import FilteringBoundLogger

from actors.channels import Channel
from actors.feed import Feed
from actors.mailbox import Call, NotDone, OutcomeUnknown, Sender
from actors.market_channels import BookChannel, KlineChannel, TickerChannel, TradeChannel, UserChannel
from actors.requests import Batch, Outcome, Request
from actors.streams import Streams
from actors.world import Clock
from book.history import CLOSED_CANDLES, MARKET_TRADES
from book.queries import (
    AccountDetails,
    AccountDetailsView,
    Candle,
    Candles,
    DepthView,
    PublicTrade,
    RecentTrades,
    Ticker,
    TickerView,
    WholeBook,
)
from book.terms import NS_PER_MS

T = TypeVar("T")

BEAT_SECONDS: Final = 1.0
# So many followers are served before somebody else has a turn: less than a millisecond's work.
SLICE: Final = 16
# Between two deliveries: at least so long, and so many times as long as the last one took.
PAUSE_SECONDS: Final = 0.002
REST: Final = 4.0

_log: FilteringBoundLogger = structlog.get_logger("publisher")


class Publisher:
    """Feeds the channels and has them delivered."""

    def __init__(self, streams: Streams, feed: Feed, matching: Sender[Batch], clock: Clock) -> None:
        self._streams = streams
        self._feed = feed
        self._matching = matching
        self._clock = clock

    async def run(self, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Publish until `stop`; then what was durable by then."""
        shift = _Shift(self._streams, self._feed, self._matching, self._clock)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._wake_at, stop)
            nursery.start_soon(shift.deliver)
            nursery.start_soon(shift.beat)
            task_status.started()
            await shift.follow(stop)
            nursery.cancel_scope.cancel()

    async def _wake_at(self, stop: trio.Event) -> None:
        await stop.wait()
        self._feed.wake()


class _Shift:
    """One incarnation: what it has asked matching, and what it was answered."""

    def __init__(self, streams: Streams, feed: Feed, matching: Sender[Batch], clock: Clock) -> None:
        self._streams = streams
        self._feed = feed
        self._matching = matching
        self._clock = clock
        self._asked: set[Channel | str] = set()  # what is under way: channels to seed, and markets to poll
        self._answers: list[tuple[Channel | str, Batch]] = []
        self._polled: dict[str, list[Channel]] = {}
        self._due = trio.Event()
        self._oldest_seconds: float | None = None  # when the oldest came that is not delivered yet

    # ---------------------------------------------------------------------------------------------------------- follow

    async def follow(self, stop: trio.Event) -> None:
        """Take in whatever comes, until `stop`."""
        self._streams.suspend()
        self._feed.wake()
        while not stop.is_set():
            await self._feed.wait()
            await self._take_in()
            self._ask()
            self._due.set()

    async def _take_in(self) -> None:
        taken = self._feed.take()
        answers, self._answers = self._answers, []
        if not taken.complete:
            _log.warning("the publisher did not keep up; all channels begin anew", rounds=len(taken.items))
            self._streams.suspend()
        if taken.items and self._oldest_seconds is None:
            self._oldest_seconds = taken.oldest_seconds
        for item in taken.items:
            self._streams.follow(item)
            await trio.lowlevel.checkpoint()
        # Behind the rounds that they were answered in: what these told is in the answers, or waits for them.
        for subject, batch in answers:
            self._asked.discard(subject)
            try:
                outcomes = batch.result()
            except (NotDone, OutcomeUnknown):
                continue  # the next beat asks again
            self._learn(subject, outcomes)

    def _learn(self, subject: Channel | str, outcomes: Sequence[Outcome]) -> None:
        if isinstance(subject, str):
            self._learn_of_market(self._polled.pop(subject), outcomes)
        elif not subject.live:
            self._seed(subject, outcomes[0])

    def _seed(self, channel: Channel, answer: Outcome) -> None:
        if isinstance(channel, BookChannel) and isinstance(answer, DepthView):
            channel.seed(answer, self._clock.wall_ns())
        elif isinstance(channel, TradeChannel) and _all_are(answer, PublicTrade):
            channel.seed(answer)
        elif isinstance(channel, UserChannel) and isinstance(answer, AccountDetailsView):
            channel.reached(answer.user_seq)
        else:  # nobody can follow what the engine does not know; it may be busy
            _log.warning("a channel is not seeded yet", channel=channel.name, answer=repr(answer)[:200])

    def _learn_of_market(self, channels: Sequence[Channel], outcomes: Sequence[Outcome]) -> None:
        trades, day, *candles = outcomes
        if not (_all_are(trades, PublicTrade) and isinstance(day, TickerView)):
            return  # matching was busy; the next beat asks again
        trade_id = trades[-1].trade_id if trades else 0
        remaining = iter(candles)
        for channel in channels:
            if isinstance(channel, TickerChannel):
                channel.update(day, trade_id)
            elif isinstance(channel, KlineChannel) and _all_are(rows := next(remaining), Candle):
                channel.update(rows, day.close_ns, trade_id)

    # ------------------------------------------------------------------------------------------------------------- ask

    def _ask(self) -> None:
        """Have seeded what is not, as far as it is not under way."""
        new_markets: dict[str, None] = {}
        for channel in self._streams.unseeded():
            if isinstance(channel, TickerChannel | KlineChannel):
                new_markets[channel.topic.symbol] = None
            elif channel not in self._asked:
                self._send(channel, [_question(channel)])
        if new_markets:
            self._poll(new_markets)

    def _poll(self, symbols: "dict[str, None] | None" = None) -> None:
        """Ask how these markets stand, or all whose tickers or candles are followed."""
        for symbol, channels in self._streams.polled().items():
            if symbol not in self._asked and (symbols is None or symbol in symbols):
                questions: list[Request] = [RecentTrades(symbol, 1), Ticker(symbol)]
                questions += [_candles(channel) for channel in channels if isinstance(channel, KlineChannel)]
                if self._send(symbol, questions):
                    self._polled[symbol] = channels

    def _send(self, subject: Channel | str, questions: list[Request]) -> bool:
        """Ask matching; False where it has no room now."""
        batch = Batch(questions, partial(self._answered, subject))
        try:
            self._matching.send_nowait(batch)
        except NotDone:
            return False
        self._asked.add(subject)
        self._streams.state.seeds += not isinstance(subject, str)
        return True

    def _answered(self, subject: Channel | str, call: Call[list[Request], list[Outcome]]) -> None:
        assert isinstance(call, Batch)  # noqa: S101 - it is ours
        self._answers.append((subject, call))
        self._feed.wake()

    # --------------------------------------------------------------------------------------------------------- deliver

    async def deliver(self) -> None:
        """Hand on what is due, a slice of the followers at a time."""
        while True:
            # No deadline: without news there is nothing to deliver.
            await self._due.wait()
            self._due = trio.Event()
            began_seconds = trio.current_time()
            oldest_seconds, self._oldest_seconds = self._oldest_seconds, None
            for count, subscription in enumerate(self._streams.due(), start=1):
                subscription.channel.deliver(subscription)
                if count % SLICE == 0:
                    await trio.lowlevel.checkpoint()
            self._streams.trim()
            now_seconds = trio.current_time()
            if oldest_seconds is not None:
                self._streams.state.lag_seconds = now_seconds - oldest_seconds
            await trio.sleep(max(PAUSE_SECONDS, REST * (now_seconds - began_seconds)))

    # ------------------------------------------------------------------------------------------------------------ beat

    async def beat(self) -> None:
        """Once a second: heartbeats, tickers, candles, and the end of what nobody follows."""
        while True:
            await trio.sleep(BEAT_SECONDS)
            self._streams.sweep()
            self._poll()
            self._ask()
            beats = self._streams.heartbeat(self._clock.wall_ns() // NS_PER_MS)
            for count, (follower, line) in enumerate(beats, start=1):
                if self._streams.follows(follower):
                    follower.push([line])
                if count % SLICE == 0:
                    await trio.lowlevel.checkpoint()


def _question(channel: Channel) -> Request:
    """What to ask matching to seed a channel."""
    if isinstance(channel, BookChannel):
        return WholeBook(channel.topic.symbol)
    if isinstance(channel, TradeChannel):
        return RecentTrades(channel.topic.symbol, MARKET_TRADES)
    return AccountDetails(channel.topic.account)


def _candles(channel: KlineChannel) -> Candles:
    """The candles since the last one that was told of, or the newest."""
    since_ns = channel.since_ns
    symbol, interval_ns = channel.topic.symbol, channel.topic.interval_ns
    if since_ns is None:
        return Candles(symbol, interval_ns, limit=1)
    return Candles(symbol, interval_ns, since_ns, limit=CLOSED_CANDLES)


def _all_are(answer: object, kind: type[T]) -> TypeGuard[list[T]]:
    """A list of these."""
    return isinstance(answer, list) and all(isinstance(row, kind) for row in answer)

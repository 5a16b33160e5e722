"""One channel: what was published on it of late, who follows it, and from where on.

Theory of operation. A channel is a run of encoded lines, each with the numbers it covers, and the latest of them are
kept. A subscription is a place in that run: to deliver is to hand over what stands from there on, so nothing is left
out and nothing comes twice, however the deliveries of many subscriptions are spread over time. To resume is to look
for the place where a number begins.

A channel goes live when the publisher has asked matching how things are; until then its subscriptions wait, and say at
best which number they want next. After a restart of the publisher that is so for all of them, so a restart
is no case of its own: whoever can be given the number it wants goes on there. Else followers of a book or a ticker get
what is so now, and the others are told that something is missing.

Lines are encoded once, whoever gets them.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final, NamedTuple, Protocol

import msgspec
from attrs import define, field, frozen
from attrs.validators import and_, ge, le
from msgspec import UNSET

from actors.stream_events import StreamEvent
from actors.wire import Refusal, refusal
from book.codes import GAP_TOO_OLD
from book.history import INTERVALS

encode_line = msgspec.json.Encoder().encode


class Topic(NamedTuple):
    """What a channel is about."""

    kind: str  # book, trade, ticker, kline or user
    symbol: str = ""
    interval_ns: int = 0  # of candles
    account: int = 0  # of a user channel

    @property
    def name(self) -> str:
        """As clients call it; all user channels have one name."""
        if self.kind == "user":
            return "user"
        if self.kind == "kline":
            return f"kline_{INTERVALS[self.interval_ns]}:{self.symbol}"
        return f"{self.kind}:{self.symbol}"


class Follower(Protocol):
    """Who is told: a session."""

    def push(self, lines: Sequence[bytes]) -> None:
        """Send these lines, each with its end. Never blocks or raises."""


@define(eq=False)
class Subscription:
    """One follower's place in one channel."""

    follower: Follower
    channel: "Channel"
    wanted: int | None = None
    """The number to go on with, once the channel is live; None: with what comes next."""
    place: int | None = None
    """Of the next line to hand over; None until the channel is live."""


class Line(NamedTuple):
    """An encoded line and the numbers it covers."""

    first: int
    last: int
    line: bytes


@frozen(kw_only=True)
class Kept:
    """How much of a channel is kept for those who resume."""

    lines: int = field(default=1_000, validator=and_(ge(1), le(1_000_000)))
    bytes: int = field(default=1_048_576, validator=and_(ge(1_024), le(1_073_741_824)))


class StreamState:
    """What the channels and the publisher tell of themselves."""

    def __init__(self) -> None:
        self.events = 0
        """Lines that were published, each counted once."""
        self.delivered = 0
        """Lines that were handed to connections."""
        self.resumed = 0
        """Subscriptions that went on where they had stopped."""
        self.gaps = 0
        """Subscriptions that were told that something is missing."""
        self.slow_consumers = 0
        """Connections that were closed because they did not read what they had subscribed to."""
        self.seeds = 0
        """How often matching was asked how a channel's matters stand."""
        self.lag_seconds = 0.0
        """From the moment that a round became durable to its last delivery, for the last one that was delivered."""


class Channel:
    """A channel, and those who follow it. The kinds are in `actors.market_channels`; this is what they share."""

    gapless = True
    """Its numbers follow each other: whoever misses one knows it."""

    def __init__(self, topic: Topic, kept: Kept, state: StreamState) -> None:
        self.topic: Final = topic
        self.name: Final = topic.name
        self.live = False
        self.seq = 0
        """Of the last line that was published, or of what the channel was seeded with."""
        self.subscriptions: dict[Follower, Subscription] = {}
        self.idle_since: float | None = None
        """Since when nobody follows it."""
        self._kept = kept
        self._state = state
        self._lines: deque[Line] = deque()
        self._bytes = 0
        self._end = 0  # the place behind the last line
        self._due = 0  # everybody has what stands before this place

    # --- Publishing

    def publish(self, event: StreamEvent, first: int, last: int) -> None:
        """Encode an event and put it behind the others. It is handed over by `deliver`."""
        line = encode_line(event) + b"\n"
        self._lines.append(Line(first, last, line))
        self._bytes += len(line)
        self._end += 1
        self.seq = last
        self._state.events += 1

    def due(self) -> list[Subscription]:
        """To whom what was published is to be delivered; nobody where that was said before."""
        if self._due == self._end:
            return []
        self._due = self._end
        return list(self.subscriptions.values())

    def trim(self) -> None:
        """Forget what is too old. To be called when all that was `due` has been delivered."""
        while self._start < self._due and (len(self._lines) > self._kept.lines or self._bytes > self._kept.bytes):
            self._bytes -= len(self._lines.popleft().line)

    def forget(self) -> None:
        """Forget everything that was published: what comes next does not follow it."""
        self._lines.clear()
        self._bytes = 0

    # --- Subscriptions

    def add(self, subscription: Subscription) -> None:
        """Take a follower in, in the place of an earlier subscription of the same."""
        self.subscriptions[subscription.follower] = subscription
        self.idle_since = None
        if self.live:
            self._begin(subscription)

    def remove(self, follower: Follower, now: float) -> None:
        """Let a follower go."""
        self.subscriptions.pop(follower, None)
        if not self.subscriptions:
            self.idle_since = now

    def can_resume(self, seq: int) -> bool:
        """Whether a live channel can go on with this number."""
        return self._find(seq) is not None

    def go_live(self) -> None:
        """From now on it is published; those who waited begin."""
        self.live = True
        for subscription in list(self.subscriptions.values()):
            if subscription.place is None:
                self._begin(subscription)

    def suspend(self) -> None:
        """Deliver nothing until it is seeded again; everybody waits for the number behind the last that they got."""
        self.live = False
        for subscription in self.subscriptions.values():
            if subscription.place is not None:
                subscription.wanted = self._number_at(subscription.place)
                subscription.place = None

    def deliver(self, subscription: Subscription) -> None:
        """Hand over what the follower has not got yet."""
        place = subscription.place
        if place is None or place == self._end or self.subscriptions.get(subscription.follower) is not subscription:
            return
        lines = [line.line for line in islice(self._lines, place - self._start, None)]
        subscription.place = self._end
        subscription.follower.push(lines)
        self._state.delivered += len(lines)

    def opening(self) -> list[bytes]:
        """What a new follower gets first."""
        return []

    @property
    def _start(self) -> int:
        return self._end - len(self._lines)

    def _begin(self, subscription: Subscription) -> None:
        wanted, subscription.wanted = subscription.wanted, None
        place = self._end if wanted is None else self._find(wanted)
        if place is not None and wanted is not None:
            subscription.place = place
            self._state.resumed += 1
            self.deliver(subscription)
            return
        subscription.place = self._end
        opening = self.opening()
        if wanted is not None and not opening:
            opening = [encode_line(self.gap()) + b"\n"]
            self._state.gaps += 1
        if opening:
            subscription.follower.push(opening)

    def gap(self) -> Refusal:
        """The line that says that something is missing."""
        return refusal(
            UNSET,
            GAP_TOO_OLD,
            f"what was published before number {self.seq + 1} is not kept any more; the next one will follow",
            channel=self.name,
        )

    def _find(self, seq: int) -> int | None:
        """The place where this number begins."""
        if seq == self.seq + 1:
            return self._end
        for index, line in enumerate(self._lines):
            if line.first == seq or (not self.gapless and line.last >= seq > self._lines[0].last):
                return self._start + index
        return None

    def _number_at(self, place: int) -> int:
        """The number that the line in this place begins with, or will begin with."""
        return self.seq + 1 if place == self._end else self._lines[place - self._start].first

    def _check(self) -> None:
        """Raise AssertionError when an invariant is broken."""
        if self._bytes != sum(len(line.line) for line in self._lines):
            raise AssertionError(f"{self.name} counts {self._bytes} bytes")
        if self.gapless:
            _check_gapless(self.name, self._lines)
        for subscription in self.subscriptions.values():
            if (subscription.place is None) == self.live:
                raise AssertionError(f"{self.name} is live: {self.live}, and a follower has place {subscription.place}")
            if subscription.place is not None and not self._start <= subscription.place <= self._end:
                raise AssertionError(f"a follower of {self.name} is at {subscription.place} of {self._end}")


def _check_gapless(name: str, lines: Iterable[Line]) -> None:
    last: int | None = None
    for line in lines:
        if not (line.first <= line.last and (last is None or line.first == last + 1)):
            raise AssertionError(f"{name} goes on from {last} with {line.first}..{line.last}")
        last = line.last

"""Events for who reads them at leisure: what every channel delivers to, and streams with a bounded buffer."""

from abc import ABC, abstractmethod
from collections import deque
from typing import Final, Generic, Self, TypeVar

import trio

from tallystick.client.books import Book
from tallystick.client.errors import ClientError, Missed
from tallystick.client.events import BookDelta, BookSnapshot, ChannelEvent
from tallystick.client.in_order import InOrder

E = TypeVar("E")

DEFAULT_BUFFER: Final = 10_000


class Stream(Generic[E]):
    """Events, one after the other: `async for event in stream`.

    Whoever reads too slowly for its buffer loses events, and is told so: reading raises Missed once, and goes on behind
    the gap when reading goes on. Where events of a channel cannot be had any more, it is the same.

    Args:
        name: For errors.
        buffer: How many events may wait to be read.
    """

    def __init__(self, name: str, buffer: int) -> None:
        if buffer < 1:
            raise ValueError(f"a stream's buffer must hold at least 1 event, not {buffer}")
        self._name = name
        self._buffer = buffer
        self._items: deque[E | Missed] = deque()
        self._end: ClientError | None = None
        self._closed = False
        self._news = trio.Event()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E:
        """The next event. Raises Missed, or what ended the stream. No deadline: nothing may happen for long."""
        await trio.lowlevel.checkpoint()
        while not self._items:
            if self._end is not None:
                raise self._end
            if self._closed:
                raise StopAsyncIteration
            self._news = trio.Event()
            await self._news.wait()
        item = self._items.popleft()
        if isinstance(item, Missed):
            raise item
        return item

    def put(self, event: E, seq: int = 0) -> None:
        """Deliver an event."""
        if len(self._items) >= self._buffer:
            self.miss(Missed(self._name, seq, f"more than {self._buffer} of them waited to be read"))
            return
        self._items.append(event)
        self._news.set()

    def miss(self, missed: Missed) -> None:
        """Deliver that something is missing here."""
        if not self._items or not isinstance(self._items[-1], Missed):
            self._items.append(missed)
        self._news.set()

    def fail(self, error: ClientError) -> None:
        """Nothing comes any more, because of this."""
        self._end = error
        self._news.set()

    def close(self) -> None:
        """Nobody is interested any more."""
        self._closed = True
        self._news.set()


class Channel(ABC):
    """One subscription, shared by all who read it.

    Attributes:
        name: On the wire.
        way: What it is followed as, in words: all its readers share that.
        readers: How many there are.
        subscribed: It is, on the connection that there is now.
        torn: Something is missing that nobody has asked for yet.
    """

    def __init__(self, name: str, way: str) -> None:
        self.name = name
        self.way = way
        self.readers = 0
        self.subscribed = False
        self.torn = False
        self._end: ClientError | None = None
        self._begun = trio.Event()

    def begin(self, *, resumed: bool) -> None:
        """It is subscribed: from `resume_from` on, or with what comes."""
        del resumed
        self.subscribed = True
        self._begun.set()

    def fail(self, error: ClientError) -> None:
        """Nothing comes any more, because of this."""
        self._end = error
        self._begun.set()

    async def begun(self) -> None:
        """Wait until it is subscribed. Raises why it cannot be."""
        # No deadline of its own: the caller's is around it.
        await self._begun.wait()
        if self._end is not None:
            raise self._end

    @abstractmethod
    def hear(self, event: ChannelEvent) -> None:
        """Take an event."""

    def lose(self) -> None:
        """The connection is gone."""
        self.subscribed = self.torn = False

    @property
    @abstractmethod
    def resume_from(self) -> int | None:
        """The number to go on with; None to begin with what comes."""

    @abstractmethod
    def give_up(self, why: str) -> None:
        """What is missing cannot be had."""


class EventChannel(Channel, Generic[E]):
    """A channel of events.

    Args:
        name: On the wire.
        kinds: Of its events.
        gapless: Every event counts. Else each tells how things stand now, and what is behind it is of no interest.
    """

    def __init__(self, name: str, kinds: tuple[type[E], ...], *, gapless: bool = True) -> None:
        super().__init__(name, "events that all count" if gapless else "the latest events")
        self._kinds = kinds
        self._gapless = gapless
        self._in_order: InOrder[E] = InOrder()
        self.streams: list[Stream[E]] = []

    def hear(self, event: ChannelEvent) -> None:
        """Take an event, and deliver what is in order."""
        if not isinstance(event, self._kinds):
            return
        if not self._gapless or not event.seq:
            self._deliver(event)
            return
        was_missing = self._in_order.missing
        for ready in self._in_order.take(event.seq, event):
            self._deliver(ready)
        self.torn |= self._in_order.missing and not was_missing
        if self._in_order.full:
            self.give_up("too many others came before they did")

    def lose(self) -> None:
        """What is missed meanwhile is asked for on the next connection, from the last event on, if there was one."""
        if self.subscribed and self._gapless and self._in_order.next_seq is None:
            self.give_up("the connection broke before the first one")
        super().lose()

    def fail(self, error: ClientError) -> None:
        """Tell all who read."""
        super().fail(error)
        for stream in self.streams:
            stream.fail(error)

    @property
    def resume_from(self) -> int | None:
        """The first event that is missing."""
        return self._in_order.next_seq if self._gapless else None

    def give_up(self, why: str) -> None:
        """Tell all who read, and go on behind the gap."""
        missed = Missed(self.name, self._in_order.next_seq or 0, why)
        for stream in self.streams:
            stream.miss(missed)
        for ready in self._in_order.give_up():
            self._deliver(ready)
        self.torn = self._in_order.missing

    def _deliver(self, event: E) -> None:
        seq = event.seq if isinstance(event, ChannelEvent) else 0
        for stream in self.streams:
            stream.put(event, seq)


class BookChannel(Channel):
    """A channel of which only the book counts that its events make."""

    def __init__(self, name: str, symbol: str) -> None:
        super().__init__(name, "a kept book")
        self._news = trio.Event()
        self._given_up = False
        self.book = Book(symbol)
        self.changes = 0
        """How often it has changed, or came to be out of sync."""

    def hear(self, event: ChannelEvent) -> None:
        """Take an event into the book. While that waits for a snapshot, changes are of no use to it."""
        if not isinstance(event, BookSnapshot | BookDelta):
            return
        if isinstance(event, BookSnapshot):
            self._given_up = False
        was_in_sync = self.book.in_sync
        if self.book.take(event):
            self._wake()
        elif was_in_sync:
            self.torn = True
            self._wake()

    def begin(self, *, resumed: bool) -> None:
        """It is subscribed: the changes come, or a snapshot."""
        super().begin(resumed=resumed)
        if resumed:
            self.book.resume()
            self._wake()

    def lose(self) -> None:
        """The book is only the last one known."""
        super().lose()
        self.book.lose()
        self._wake()

    def fail(self, error: ClientError) -> None:
        """Tell all who wait for a change."""
        super().fail(error)
        self.book.lose()
        self._wake()

    @property
    def resume_from(self) -> int | None:
        """The change behind the last one that is in the book."""
        return None if self._given_up or self.book.seq is None else self.book.seq + 1

    def give_up(self, why: str) -> None:
        """Wait for a snapshot."""
        del why
        self._given_up = True
        self.book.lose()
        self._wake()

    async def changed(self, seen: int) -> None:
        """Wait until there are more changes than these. Raises what ended it."""
        await trio.lowlevel.checkpoint()
        while self._end is None and self.changes == seen:
            await self._news.wait()
        if self._end is not None:
            raise self._end

    def _wake(self) -> None:
        self.changes += 1
        self._news.set()
        self._news = trio.Event()


class KeptBook:
    """A market's book that is kept as the exchange's is.

    `async for book in kept` gives it after each change, or, to who is slower than that, after several at once.
    """

    def __init__(self, channel: BookChannel) -> None:
        self._channel = channel
        self._seen = channel.changes

    @property
    def book(self) -> Book:
        """As it is now. Between two awaits it does not change."""
        return self._channel.book

    async def in_sync(self) -> Book:
        """The book, as soon as it is the exchange's. Raises what ended the subscription.

        No deadline of its own: through a long break the caller decides how long a book is worth waiting for.
        """
        while not self.book.in_sync:
            await self._channel.changed(self._channel.changes)
        return self.book

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Book:
        """Wait for a change."""
        await self._channel.changed(self._seen)
        self._seen = self._channel.changes
        return self.book

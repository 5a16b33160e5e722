"""Which channels are read, and that they come: subscribed on every new connection, resumed where something is missing.

Theory of operation. Readers only say that they want a channel, or that they do not any more. One task, that of the
connection, compares what is wanted with what there is, and asks for the difference. So whatever breaks in between, the
next connection's task finds out what is to be done in the same way.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, TypeVar

import msgspec
import trio

from tallystick.client.calls import Asker, Call, reader
from tallystick.client.connection import MAX_IN_FLIGHT, Connection, Timing
from tallystick.client.conversation import News
from tallystick.client.errors import Busy, ClientError, ErrorLine, NotConnected, OutcomeUnknown
from tallystick.client.events import ChannelEvent, Notice, read_event
from tallystick.client.results import Nothing
from tallystick.client.streams import BookChannel, Channel, EventChannel, KeptBook, Stream

E = TypeVar("E")
C = TypeVar("C", bound=Channel)

# What is asked in one piece; each channel takes three calls at most.
MAX_AT_ONCE: Final = MAX_IN_FLIGHT // 8
BUSY_SECONDS: Final = 0.1

Step = tuple[Call[Any], Callable[[msgspec.Raw | ClientError], None]]
"""What to ask, and what to do with the answer."""


class Subscriptions:
    """All channels that somebody reads."""

    def __init__(self, asker: Asker, timing: Timing) -> None:
        self._asker = asker
        self._timing = timing
        self._channels: dict[str, Channel] = {}
        self._left: set[str] = set()
        self._notices: list[Stream[Notice]] = []
        self._failure: ClientError | None = None
        self._news = trio.Event()
        self._wait_seconds = 0.0

    # --------------------------------------------------------------------------------------------------- for readers

    @asynccontextmanager
    async def stream(self, new: EventChannel[E], buffer: int) -> AsyncIterator[Stream[E]]:
        """The events of a channel. Raises ClientError where it cannot be had."""
        stream: Stream[E] = Stream(new.name, buffer)
        channel = self._join(new)
        channel.streams.append(stream)
        try:
            await self._begun(channel)
            yield stream
        finally:
            channel.streams.remove(stream)
            stream.close()
            self._leave(channel)

    @asynccontextmanager
    async def book(self, name: str, symbol: str) -> AsyncIterator[KeptBook]:
        """A market's book. Raises ClientError where it cannot be had."""
        channel = self._join(BookChannel(name, symbol))
        try:
            await self._begun(channel)
            yield KeptBook(channel)
        finally:
            self._leave(channel)

    @contextmanager
    def notices(self, buffer: int) -> Iterator[Stream[Notice]]:
        """What is said to all."""
        stream: Stream[Notice] = Stream("notices", buffer)
        self._notices.append(stream)
        try:
            yield stream
        finally:
            self._notices.remove(stream)
            stream.close()

    def _join(self, new: C) -> C:
        """The channel that there is already, or this new one."""
        if self._failure is not None:
            raise self._failure
        channel = self._channels.setdefault(new.name, new)
        if not isinstance(channel, type(new)) or channel.way != new.way:
            raise ValueError(f"{new.name} is followed already, as {channel.way}, and cannot be as {new.way} too")
        channel.readers += 1
        self._news.set()
        return channel

    async def _begun(self, channel: Channel) -> None:
        with trio.move_on_after(self._timing.answer_seconds):
            await channel.begun()
            return
        raise NotConnected(f"{channel.name} could not be subscribed in time")

    def _leave(self, channel: Channel) -> None:
        channel.readers -= 1
        if not channel.readers and self._channels.get(channel.name) is channel:
            del self._channels[channel.name]
            self._left.add(channel.name)
            self._news.set()

    # ---------------------------------------------------------------------------------------------- for the connection

    def hear(self, news: News) -> None:
        """Take what comes unasked. Raises BadReply."""
        event = news if isinstance(news, ErrorLine) else read_event(news)
        if isinstance(event, Notice):
            for stream in self._notices:
                stream.put(event)
        elif isinstance(event, ChannelEvent | ErrorLine):
            channel = self._channels.get(event.channel)
            if channel is None:
                return  # it is left, and the exchange does not know yet
            if isinstance(event, ErrorLine):
                channel.give_up(event.msg)
            else:
                channel.hear(event)
            if channel.torn:
                self._news.set()

    def lose(self) -> None:
        """The connection is gone."""
        self._left.clear()
        for channel in self._channels.values():
            channel.lose()

    def fail(self, error: ClientError) -> None:
        """There will be no other connection."""
        self._failure = error
        for channel in self._channels.values():
            channel.fail(error)
        for stream in self._notices:
            stream.fail(error)

    async def serve(self, connection: Connection) -> None:
        """Ask for what is wanted, until the connection is over."""
        self._news.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ask_for_all, connection)
            await connection.over.wait()
            nursery.cancel_scope.cancel()

    async def _ask_for_all(self, connection: Connection) -> None:
        while True:
            # No deadline: as long as nobody wants anything else, there is nothing to do.
            await self._news.wait()
            self._news = trio.Event()
            self._wait_seconds = 0.0
            steps = list(self._steps())
            deadline = trio.current_time() + self._timing.answer_seconds
            for begin in range(0, len(steps), MAX_AT_ONCE):
                part = steps[begin : begin + MAX_AT_ONCE]
                outcomes = await connection.ask([call for call, _ in part], deadline)
                for (_, take), outcome in zip(part, outcomes, strict=True):
                    if isinstance(outcome, OutcomeUnknown | NotConnected):
                        return connection.hang_up(f"a subscription was not answered: {outcome}")
                    take(outcome)
            if self._wait_seconds:
                await trio.sleep(self._wait_seconds)
                self._news.set()

    def _steps(self) -> Iterator[Step]:
        """What there is to ask for, from what is to what ought to be."""
        for name in self._left:
            yield self._about("unsubscribe", name), _whatever
        self._left.clear()
        for channel in self._channels.values():
            if channel.subscribed and not channel.torn:
                continue
            again, channel.torn = channel.subscribed, False
            missing = channel.resume_from
            if missing is not None:
                yield self._resume(channel.name, missing), self._resumes(channel)
                continue
            if again:
                yield self._about("unsubscribe", channel.name), _whatever
            yield self._about("subscribe", channel.name), self._begins(channel)

    def _about(self, method: str, name: str) -> Call[Nothing]:
        return Call(method=method, params={"channels": [name]}, read=_READ, changes=False, asker=self._asker)

    def _resume(self, name: str, from_seq: int) -> Call[Nothing]:
        params = {"channel": name, "fromSeq": from_seq}
        return Call(method="resume", params=params, read=_READ, changes=False, asker=self._asker)

    def _begins(self, channel: Channel) -> Callable[[msgspec.Raw | ClientError], None]:
        def take(outcome: msgspec.Raw | ClientError) -> None:
            if isinstance(outcome, Busy):
                self._try_again(outcome)
            elif isinstance(outcome, ClientError):
                # Whoever wants it later on, begins anew.
                self._channels.pop(channel.name, None)
                channel.fail(outcome)
            else:
                channel.begin(resumed=False)

        return take

    def _resumes(self, channel: Channel) -> Callable[[msgspec.Raw | ClientError], None]:
        def take(outcome: msgspec.Raw | ClientError) -> None:
            if isinstance(outcome, Busy):
                channel.torn = True
                self._try_again(outcome)
            elif isinstance(outcome, ClientError):
                channel.give_up(str(outcome))
                # It goes on as it is, but for one that a new connection, or a book, has to subscribe first.
                channel.torn = not channel.subscribed or channel.resume_from is None
                self._news.set()
            else:
                channel.begin(resumed=True)

        return take

    def _try_again(self, busy: Busy) -> None:
        self._wait_seconds = max(self._wait_seconds, busy.retry_after_seconds, BUSY_SECONDS)


_READ: Final = reader(Nothing)


def _whatever(_outcome: msgspec.Raw | ClientError) -> None:
    """It does not matter: nobody reads the channel."""

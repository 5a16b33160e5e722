"""One connection to the exchange, from dialling to its end: bytes over a stream, and who waits for which answer.

Theory of operation. `conversation.Conversation` decides everything that needs no waiting. Here one task reads, one
writes whatever is queued, all of it in one piece, and one sees to it that there is always something to hear: it asks a
ping when nothing else was said for a while, and hangs up on an exchange that does not answer it.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from socket import gaierror
from ssl import SSLContext, SSLError
from typing import Any, Final

import msgspec
import trio
from attrs import field, frozen
from attrs.validators import gt
from trio.abc import Stream

from tallystick.client.background import background
from tallystick.client.calls import Call
from tallystick.client.conversation import Conversation, News, Question
from tallystick.client.errors import BadReply, ClientError, NotConnected

READ_BYTES: Final = 256 * 1024
MAX_IN_FLIGHT: Final = 4_096

Dial = Callable[[], Awaitable[Stream]]
"""Opens a stream to the exchange. Raises OSError, or what TLS has to say."""


def _seconds(default: float) -> float:
    seconds: float = field(default=default, validator=gt(0))
    return seconds


@frozen(kw_only=True)
class Timing:
    """How long to wait for what, in seconds."""

    connect_seconds: float = _seconds(10.0)
    """For a connection, its greeting and the logon."""
    answer_seconds: float = _seconds(10.0)
    """For the answer to a call, from when it is made."""
    quiet_seconds: float = _seconds(5.0)
    """Without any word from the exchange, before it is asked whether it is there."""
    first_backoff_seconds: float = _seconds(0.1)
    """Before the first attempt to connect anew; each further one waits twice as long."""
    last_backoff_seconds: float = _seconds(5.0)
    """The longest wait between two attempts."""


class Hello(msgspec.Struct, frozen=True):
    """The first line of a connection."""

    version: int
    nonce: str
    time: int


_read_hello: Callable[[bytes], Hello] = msgspec.json.Decoder(Hello).decode
_HELLO: Final = b'{"event":"hello"'
VERSION: Final = 1


def dialler(host: str, port: int, tls: SSLContext | None, server_hostname: str | None) -> Dial:
    """Dials by TCP, with TLS where there is a context for it."""

    async def dial() -> Stream:
        stream = await trio.open_tcp_stream(host, port)
        if tls is None:
            return stream
        secured = trio.SSLStream(stream, tls, server_hostname=server_hostname or host, https_compatible=True)
        try:
            await secured.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return secured

    return dial


@asynccontextmanager
async def connected(dial: Dial, timing: Timing, heard: Callable[[News], None]) -> "AsyncIterator[Connection]":
    """A connection that was greeted. `heard` is told all that comes unasked.

    Raises:
        NotConnected: nobody is there, or not in time, or not one of ours.
    """
    try:
        with trio.fail_after(timing.connect_seconds):
            stream = await dial()
    except trio.TooSlowError:
        raise NotConnected(f"no connection within {timing.connect_seconds:g} s") from None
    except (OSError, SSLError, trio.BrokenResourceError) as error:
        raise NotConnected(f"no connection: {_reason(error)}") from error
    connection = Connection(stream, timing, heard)
    async with background() as nursery:
        nursery.start_soon(connection.run)
        await connection.greeted()
        yield connection


class Connection:
    """What is said on one stream.

    Args:
        stream: The connection closes it at its end.
        timing: How long to wait for what.
        heard: Is told all that comes unasked, but for the greeting.
    """

    def __init__(self, stream: Stream, timing: Timing, heard: Callable[[News], None]) -> None:
        self._stream = stream
        self._timing = timing
        self._heard = heard
        self._conversation = Conversation()
        self._hello: Hello | None = None
        self._greeted = trio.Event()
        self._news = trio.Event()
        self._room = trio.Event()
        self._scope = trio.CancelScope()
        self._last_heard = trio.current_time()
        self.over = trio.Event()
        """It has ended, for `why`."""
        self.why = "it was closed"

    async def run(self) -> None:
        """Read and write until either end hangs up."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._stay_in_touch)
                    await self._read()
        finally:
            last_word = self._conversation.last_word
            if last_word is not None:
                self.why = str(last_word)
            self._conversation.end(self.why)
            self.over.set()
            self._greeted.set()
            self._room.set()
            await trio.aclose_forcefully(self._stream)

    def hang_up(self, why: str) -> None:
        """End it now."""
        self.why = why
        self._scope.cancel()

    async def greeted(self) -> Hello:
        """The exchange's greeting. Raises NotConnected."""
        with trio.move_on_after(self._timing.connect_seconds):
            await self._greeted.wait()
        if self._hello is None:
            raise NotConnected(f"no greeting: {self.why if self.over.is_set() else 'none in time'}")
        if self._hello.version != VERSION:
            raise NotConnected(f"it speaks version {self._hello.version} of the protocol, this library {VERSION}")
        return self._hello

    async def ask(self, calls: Sequence[Call[Any]], deadline: float) -> list[msgspec.Raw | ClientError]:
        """Send them in one piece and wait for all answers, until `deadline` (trio's time)."""
        try:
            await self._wait_for_room(len(calls), deadline)
        except NotConnected as error:
            return [error] * len(calls)
        settled = trio.Event()
        left = len(calls)

        def one_more() -> None:
            nonlocal left
            left -= 1
            if not left:
                settled.set()

        questions = [
            self._conversation.ask(call.method, call.params, one_more, client_order_id=call.client_order_id)
            for call in calls
        ]
        self._news.set()
        outcomes: list[msgspec.Raw | ClientError] = []
        try:
            with trio.move_on_at(deadline):
                await settled.wait()
        finally:  # also where the caller is cancelled
            outcomes += [self._outcome(question) for question in questions]
        return outcomes

    def _outcome(self, question: Question) -> msgspec.Raw | ClientError:
        if question.outcome is not None:
            return question.outcome
        return self._conversation.give_up(question, "no answer came in time")

    async def _wait_for_room(self, places: int, deadline: float) -> None:
        if places > MAX_IN_FLIGHT:
            raise ValueError(f"at most {MAX_IN_FLIGHT} calls at once, not {places}")
        with trio.move_on_at(deadline):
            while not self.over.is_set() and self._conversation.in_flight + places > MAX_IN_FLIGHT:
                self._room = trio.Event()
                await self._room.wait()
            if self.over.is_set():
                raise NotConnected(self.why)
            return
        raise NotConnected(f"{MAX_IN_FLIGHT} calls are in flight, and none was answered in time")

    async def _read(self) -> None:
        while True:
            try:
                data = await self._stream.receive_some(READ_BYTES)
                if not data:
                    return self.hang_up("the exchange hung up")
                for news in self._conversation.receive(bytes(data)):
                    self._hear(news)
            except (trio.BrokenResourceError, BadReply) as error:
                return self.hang_up(str(error) or "the connection broke")
            self._last_heard = trio.current_time()
            self._room.set()

    def _hear(self, news: News) -> None:
        if not isinstance(news, bytes) or not news.startswith(_HELLO):
            self._heard(news)
            return
        try:
            self._hello = _read_hello(news)
        except msgspec.DecodeError as error:
            raise BadReply(f"not a greeting of this protocol: {error}") from error
        self._greeted.set()

    async def _write(self) -> None:
        while True:
            # No deadline: without news there is nothing to say.
            await self._news.wait()
            self._news = trio.Event()
            try:
                await self._stream.send_all(self._conversation.take_unsent())
            except trio.BrokenResourceError:
                return self.hang_up("the connection broke")

    async def _stay_in_touch(self) -> None:
        while True:
            quiet_at = self._last_heard + self._timing.quiet_seconds
            if trio.current_time() < quiet_at:
                await trio.sleep_until(quiet_at)
                continue
            before = self._last_heard
            asked = trio.Event()
            self._conversation.ask("ping", {}, asked.set)
            self._news.set()
            with trio.move_on_after(self._timing.answer_seconds):
                await asked.wait()
            if self._last_heard == before:
                return self.hang_up(f"the exchange said nothing for {self._timing.answer_seconds:g} s")


def _reason(error: BaseException) -> str:
    """The system's own words, without numbers and without who passed them on."""
    cause: BaseException = error.__cause__ or error
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if isinstance(cause, OSError) and not isinstance(cause, SSLError | gaierror) and cause.errno:
        return os.strerror(cause.errno)
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__

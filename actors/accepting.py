"""Accepting connections, also while there is no room for one more."""

import errno
from collections.abc import Awaitable, Callable
from math import inf
from typing import Final, NoReturn

import structlog
import trio
from structlog.typing import FilteringBoundLogger
from trio.abc import HalfCloseableStream, Listener

# What `accept` fails with when this process or the machine has no room for one more connection. That passes.
_NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
NO_ROOM_SECONDS: Final = 0.1
# A want of room is over when there was none for so long: connections come and go at the limit.
SPELL_SECONDS: Final = 60.0

log: FilteringBoundLogger = structlog.get_logger("accepting")


class Acceptor:
    """Accepts at one listener, and says once of each spell without room that there is one."""

    def __init__(self, listener: Listener[HalfCloseableStream]) -> None:
        self._listener = listener
        self._spell_ends = -inf

    async def accept(self) -> HalfCloseableStream:
        """The next connection, waited for without a deadline: nobody has to come. Raises what ends the listener."""
        while True:
            try:
                return await self._listener.accept()
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                self._complain(error)
                await trio.sleep(NO_ROOM_SECONDS)

    def _complain(self, error: OSError) -> None:
        now = trio.current_time()
        if now >= self._spell_ends:
            log.warning("no room for another connection; it is tried again until there is", reason=error.strerror)
        self._spell_ends = now + SPELL_SECONDS


async def serve_some(
    listener: Listener[HalfCloseableStream],
    serve: Callable[[HalfCloseableStream], Awaitable[None]],
    nursery: trio.Nursery,
    *,
    most: int,
) -> NoReturn:
    """Accept for ever: serve up to `most` connections at once in the nursery, and hang up on any more.

    Raises what ends the listener. `serve` closes its connection.
    """
    serving = 0

    async def serve_one(stream: HalfCloseableStream) -> None:
        nonlocal serving
        try:
            await serve(stream)
        finally:
            serving -= 1

    acceptor = Acceptor(listener)
    while True:
        stream = await acceptor.accept()
        if serving < most:
            serving += 1
            nursery.start_soon(serve_one, stream)
        else:
            await stream.aclose()

"""Accepting connections, also while there is no room for one more."""

import errno
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

import structlog
import trio
from structlog.typing import FilteringBoundLogger
from trio.abc import HalfCloseableStream, Listener

# What `accept` fails with when this process or the machine has no room for one more connection. That passes.
_NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
NO_ROOM_SECONDS: Final = 0.1

log: FilteringBoundLogger = structlog.get_logger("accepting")


async def accept(listener: Listener[HalfCloseableStream]) -> HalfCloseableStream:
    """The next connection, waited for without a deadline: nobody has to come. Raises what ends the listener."""
    while True:
        try:
            return await listener.accept()
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            log.warning("no room for another connection", reason=error.strerror)
            await trio.sleep(NO_ROOM_SECONDS)


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

    while True:
        stream = await accept(listener)
        if serving < most:
            serving += 1
            nursery.start_soon(serve_one, stream)
        else:
            await stream.aclose()

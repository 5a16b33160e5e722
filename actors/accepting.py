"""Accepting connections, also while there is no room for one more."""

import errno
from typing import Final

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

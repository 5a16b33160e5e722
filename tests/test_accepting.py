"""Accepting connections."""

import errno
from collections.abc import Iterator

import pytest
import trio
from structlog.testing import capture_logs
from trio.abc import HalfCloseableStream, Listener
from trio.testing import memory_stream_pair

from actors.accepting import accept


class Door(Listener[HalfCloseableStream]):
    """A listener that fails as told, and then lets somebody in."""

    def __init__(self, *failures: int) -> None:
        self._failures: Iterator[int] = iter(failures)

    async def accept(self) -> HalfCloseableStream:
        """Fail, or let in."""
        for number in self._failures:
            raise OSError(number, "as told")
        return memory_stream_pair()[0]

    async def aclose(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
async def test_no_room_passes(number: int, autojump_clock: trio.testing.MockClock) -> None:
    """While there is no room for a connection it says so and tries again."""
    assert autojump_clock.rate == 0
    with capture_logs() as logs:
        await accept(Door(number, number))
    assert [entry["event"] for entry in logs] == ["no room for another connection"] * 2


async def test_other_errors_end_the_listener() -> None:
    """What is no want of room is for the supervisor."""
    with pytest.raises(OSError, match="as told"):
        await accept(Door(errno.EBADF))

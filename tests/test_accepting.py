"""Accepting connections."""

import errno
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs
from trio.abc import HalfCloseableStream, Listener
from trio.testing import memory_stream_pair

from actors.accepting import SPELL_SECONDS, Acceptor, serve_some
from actors.world import Credentials
from tests.simulation.network import MemoryNetwork


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
        await Acceptor(Door(number)).accept()
    assert [entry["reason"] for entry in logs] == ["as told"]


async def test_no_room_is_said_once_in_a_spell(autojump_clock: trio.testing.MockClock) -> None:
    """Also where connections come and go at the limit; after a while without trouble it is a new one."""
    assert autojump_clock.rate == 0
    acceptor = Acceptor(Door(*[errno.EMFILE] * 1_000))
    with capture_logs() as logs:
        await acceptor.accept()
        for warnings in (1, 2):
            acceptor._listener = Door(errno.EMFILE)
            await acceptor.accept()
            assert len(logs) == warnings
            await trio.sleep(SPELL_SECONDS)


async def test_other_errors_end_the_listener() -> None:
    """What is no want of room is for the supervisor."""
    with pytest.raises(OSError, match="as told"):
        await Acceptor(Door(errno.EBADF)).accept()


async def test_no_more_than_so_many_are_served_at_once() -> None:
    """One too many is hung up on; the place of one that ends, in whatever way, is free again."""
    network, path = MemoryNetwork(), Path("door")
    listener = await network.listen_unix(path, 0o600)

    async def echo(stream: HalfCloseableStream) -> None:
        async with stream:
            while data := await stream.receive_some():
                await stream.send_all(data)

    async def is_served(stream: HalfCloseableStream) -> bool:
        await stream.send_all(b"hello")
        return await stream.receive_some() == b"hello"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(serve_some, listener, echo, nursery, most=2))
        first, second, third = [network.connect_unix(path, Credentials(1, 2, 3)) for _ in range(3)]
        assert await is_served(first)
        assert await is_served(second)
        assert await third.receive_some() == b""
        await first.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert await is_served(network.connect_unix(path, Credentials(1, 2, 3)))
        nursery.cancel_scope.cancel()

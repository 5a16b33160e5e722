"""The real clocks, threads and sockets."""

import os
import socket
import stat
import threading
from pathlib import Path

import pytest
import trio

from actors.world import CannotListen, Credentials, Peer, RealClock, RealNetwork, Threads
from tests.clients import Client


def test_clocks_tell_the_time() -> None:
    """The wall clock is in this century, the other never goes back."""
    clock = RealClock()
    assert clock.wall_ns() > 1_700_000_000 * 10**9
    assert clock.monotonic_ns() <= clock.monotonic_ns()


def test_a_peer_is_written_as_an_address() -> None:
    """With brackets where there are colons."""
    assert str(Peer("192.0.2.1", 7700)) == "192.0.2.1:7700"
    assert str(Peer("::1", 7700)) == "[::1]:7700"


async def test_blocking_work_runs_in_threads_of_its_owner_only() -> None:
    """As many at a time as were asked for, and what they raise comes back."""
    threads = Threads(1)
    running = 0

    def work(number: int) -> int:
        nonlocal running
        assert threading.current_thread() is not threading.main_thread()
        running += 1
        assert running == 1
        running -= 1
        return number + 1

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(threads, work, 1)
    assert await threads(work, 41) == 42
    with pytest.raises(ZeroDivisionError):
        await threads(divmod, 1, 0)


async def test_tcp_peers_find_each_other() -> None:
    """A listener on a free port knows it, and a connection knows who came."""
    network = RealNetwork()
    (listener,) = await network.listen_tcp("127.0.0.1", 0)
    async with listener:
        address = network.address(listener)
        assert address.host == "127.0.0.1"
        async with await trio.open_tcp_stream(*address) as ours, await listener.accept() as theirs:
            assert network.peer(theirs) == ours.socket.getsockname()
            await theirs.send_all(b"hello\n")
            assert await Client(ours).line() == b"hello"


async def test_a_port_in_use_is_one_clear_line() -> None:
    """The address and the reason, nothing else."""
    network = RealNetwork()
    (listener,) = await network.listen_tcp("127.0.0.1", 0)
    async with listener:
        address = network.address(listener)
        with pytest.raises(CannotListen, match=rf"^cannot listen on {address}: Address already in use$"):
            await network.listen_tcp(*address)


async def test_an_address_that_is_not_ours_is_one_clear_line() -> None:
    """The same error as for a port in use."""
    with pytest.raises(CannotListen, match=r"^cannot listen on 192\.0\.2\.1:7700: Cannot assign requested address$"):
        await RealNetwork().listen_tcp("192.0.2.1", 7700)


async def test_a_socket_file_has_its_mode_and_knows_who_comes(tmp_path: Path) -> None:
    """Exactly the permissions asked for, and the kernel's word for the other side."""
    network, path = RealNetwork(), tmp_path / "admin.sock"
    before = os.umask(0o022)
    try:
        listener = await network.listen_unix(path, 0o660)
    finally:
        assert os.umask(before) == 0o022
    async with listener:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        async with await trio.open_unix_socket(path), await listener.accept() as theirs:
            assert network.credentials(theirs) == Credentials(os.getpid(), os.getuid(), os.getgid())


async def test_an_abandoned_socket_file_is_replaced(tmp_path: Path) -> None:
    """A process that was killed leaves one behind."""
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(str(path))
    async with await RealNetwork().listen_unix(path, 0o600), await trio.open_unix_socket(path):
        assert path.is_socket()


async def test_a_socket_file_in_use_is_left_alone(tmp_path: Path) -> None:
    """Whoever serves it goes on serving."""
    network, path = RealNetwork(), tmp_path / "admin.sock"
    async with await network.listen_unix(path, 0o600) as listener:
        with pytest.raises(CannotListen, match="another process serves it"):
            await network.listen_unix(path, 0o600)
        async with await listener.accept():
            pass
        async with await trio.open_unix_socket(path):
            pass


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    """It may be somebody's data."""
    path = tmp_path / "admin.sock"
    path.write_text("precious")
    with pytest.raises(CannotListen, match="not a socket"):
        await RealNetwork().listen_unix(path, 0o600)
    assert path.read_text() == "precious"


async def test_a_path_that_cannot_be_is_one_clear_line(tmp_path: Path) -> None:
    """No such folder, or longer than the kernel takes."""
    for path in (tmp_path / "no" / "such" / "folder.sock", tmp_path / ("x" * 120)):
        with pytest.raises(CannotListen, match="cannot listen on"):
            await RealNetwork().listen_unix(path, 0o600)

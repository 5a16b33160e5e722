"""The network in memory keeps what the real one promises."""

from pathlib import Path

import pytest
import trio

from actors.world import CannotListen, Credentials, Network, Peer
from tests.simulation.network import BACKLOG, MemoryNetwork

SOCKET = Path("admin.sock")


async def test_tcp_peers_find_each_other() -> None:
    """A listener on a free port knows it, and a connection knows who came."""
    network = MemoryNetwork()
    (listener,) = await network.listen_tcp("192.0.2.9", 0)
    address = network.address(listener)
    assert address.host == "192.0.2.9"
    ours = network.connect(address, "192.0.2.7")
    theirs = await listener.accept()
    assert network.peer(theirs).host == "192.0.2.7"
    await ours.send_all(b"hello")
    assert await theirs.receive_some() == b"hello"


async def test_a_socket_file_has_its_mode_and_knows_who_comes() -> None:
    """Operators find it by its path; each is who he says."""
    network = MemoryNetwork()
    listener = await network.listen_unix(SOCKET, 0o660)
    assert network.listeners[SOCKET].mode == 0o660
    for who in (Credentials(1, 2, 3), Credentials(4, 5, 6)):
        ours = network.connect_unix(SOCKET, who)
        theirs = await listener.accept()
        assert network.credentials(theirs) == who
        await theirs.send_all(b"hello")
        assert await ours.receive_some() == b"hello"


async def test_what_is_in_use_is_left_alone_and_free_again_when_closed() -> None:
    """A port or a path has one listener at a time."""
    network: Network = MemoryNetwork()
    for _ in range(2):
        (tcp,) = await network.listen_tcp("192.0.2.9", 7700)
        unix = await network.listen_unix(SOCKET, 0o600)
        with pytest.raises(CannotListen, match=r"^cannot listen on 192\.0\.2\.9:7700: Address already in use$"):
            await network.listen_tcp("192.0.2.9", 7700)
        with pytest.raises(CannotListen, match=r"^cannot listen on admin\.sock: another process serves it$"):
            await network.listen_unix(SOCKET, 0o600)
        await tcp.aclose()
        await unix.aclose()


async def test_where_nobody_listens_nobody_is_reached() -> None:
    """Nor once a listener is closed, when also who waited in its backlog is turned away, or the backlog is full."""
    network, who = MemoryNetwork(), Credentials(1, 2, 3)
    with pytest.raises(ConnectionRefusedError):
        network.connect(Peer("192.0.2.9", 7700))
    with pytest.raises(ConnectionRefusedError):
        network.connect_unix(SOCKET, who)
    listener = await network.listen_unix(SOCKET, 0o660)
    waiting = [network.connect_unix(SOCKET, who) for _ in range(BACKLOG)]
    with pytest.raises(ConnectionRefusedError, match="backlog is full"):
        network.connect_unix(SOCKET, who)
    await listener.aclose()
    assert await waiting[0].receive_some() == b""
    with pytest.raises(ConnectionRefusedError):
        network.connect_unix(SOCKET, who)


async def test_an_accept_fails_as_it_is_told_to() -> None:
    """Once, and then it goes on."""
    network = MemoryNetwork()
    listener = await network.listen_unix(SOCKET, 0o660)
    network.listeners[SOCKET].failures.append(OSError("no room"))
    network.connect_unix(SOCKET, Credentials(1, 2, 3))
    with pytest.raises(OSError, match="no room"):
        await listener.accept()
    with trio.fail_after(1):
        await listener.accept()

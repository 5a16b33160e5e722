"""A network in memory: clients connect from whatever address they like, operators as whoever they like."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio
from trio.abc import HalfCloseableStream, Listener
from trio.testing import MemoryReceiveStream, MemorySendStream, memory_stream_pair

from actors.world import CannotListen, Credentials, Network, Peer

BACKLOG: Final = 1_000
# Where the ports begin that are given to whoever asks for any.
FIRST_FREE_PORT: Final = 40_000


Slowable = trio.StapledStream[MemorySendStream, MemoryReceiveStream]


class MemoryListener(Listener[HalfCloseableStream]):
    """Accepts what the network's `connect` and `connect_unix` bring, or fails as it is told to."""

    def __init__(self, network: "MemoryNetwork", address: Peer | Path, mode: int | None = None) -> None:
        self.network = network
        self.address = address
        self.mode = mode
        """The permissions of a socket file; None for TCP."""
        self.failures: list[OSError] = []
        """What the next accepts raise."""
        self._arriving, self._waiting = trio.open_memory_channel[HalfCloseableStream](BACKLOG)

    async def accept(self) -> HalfCloseableStream:
        """The next connection."""
        await trio.lowlevel.checkpoint()
        if self.failures:
            raise self.failures.pop(0)
        return await self._waiting.receive()

    async def aclose(self) -> None:
        """Listen no more; whoever waits in the backlog is turned away."""
        self.network.listeners.pop(self.address, None)
        while True:
            try:
                await trio.aclose_forcefully(self._waiting.receive_nowait())
            except trio.WouldBlock:
                break
        self._arriving.close()
        self._waiting.close()
        await trio.lowlevel.checkpoint()

    def arrive(self, stream: HalfCloseableStream) -> None:
        """A connection for the backlog. Raises ConnectionRefusedError when that is full."""
        try:
            self._arriving.send_nowait(stream)
        except trio.WouldBlock:
            raise ConnectionRefusedError(f"{self.address}: the backlog is full") from None


class MemoryNetwork(Network):
    """Listeners by address, or by the path of a socket file, and who connected."""

    def __init__(self) -> None:
        self.listeners: dict[Peer | Path, MemoryListener] = {}
        self._peers: dict[HalfCloseableStream, Peer] = {}
        self._credentials: dict[HalfCloseableStream, Credentials] = {}
        self._ports = FIRST_FREE_PORT
        self.accepted: list[Slowable] = []
        """The exchange's ends of all connections, for tests that slow them down."""

    # What the exchange does ---------------------------------------------------------------------------------------

    async def listen_tcp(self, host: str, port: int) -> Sequence[Listener[HalfCloseableStream]]:
        """Listen on one address."""
        await trio.lowlevel.checkpoint()
        address = Peer(host, port or self._free_port())
        if address in self.listeners:
            raise CannotListen(f"cannot listen on {address}: Address already in use")
        listener = self.listeners[address] = MemoryListener(self, address)
        return [listener]

    async def listen_unix(self, path: Path, mode: int) -> Listener[HalfCloseableStream]:
        """Listen on a path, which is a name here and no file."""
        await trio.lowlevel.checkpoint()
        if path in self.listeners:
            raise CannotListen(f"cannot listen on {path}: another process serves it")
        listener = self.listeners[path] = MemoryListener(self, path, mode)
        return listener

    def address(self, listener: Listener[HalfCloseableStream]) -> Peer:
        """Where it listens."""
        assert isinstance(listener, MemoryListener)
        assert isinstance(listener.address, Peer)
        return listener.address

    def peer(self, stream: HalfCloseableStream) -> Peer:
        """Who connected."""
        return self._peers.pop(stream)

    def credentials(self, stream: HalfCloseableStream) -> Credentials:
        """Who connected."""
        return self._credentials.pop(stream)

    # What its clients and operators do ----------------------------------------------------------------------------

    def connect(self, address: Peer, host: str = "192.0.2.1") -> HalfCloseableStream:
        """Connect from `host`; raises ConnectionRefusedError when nobody listens there."""
        ours, theirs = self._reach(address)
        self._peers[theirs] = Peer(host, self._free_port())
        return ours

    def connect_unix(self, path: Path, who: Credentials) -> HalfCloseableStream:
        """Connect as this process; raises ConnectionRefusedError when nobody listens there."""
        ours, theirs = self._reach(path)
        self._credentials[theirs] = who
        return ours

    def _reach(self, address: Peer | Path) -> tuple[HalfCloseableStream, HalfCloseableStream]:
        """Both ends of a connection: the caller's, and the one that waits for an `accept`."""
        listener = self.listeners.get(address)
        if listener is None:
            raise ConnectionRefusedError(f"nobody listens on {address}")
        ours, theirs = memory_stream_pair()
        listener.arrive(theirs)
        self.accepted.append(theirs)
        return ours, theirs

    def _free_port(self) -> int:
        self._ports += 1
        return self._ports

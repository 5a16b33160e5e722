"""A network in memory: clients connect from whatever address they like."""

from collections.abc import Sequence
from typing import Final

import trio
from trio.abc import HalfCloseableStream, Listener
from trio.testing import memory_stream_pair

from actors.world import CannotListen, Credentials, Network, Peer

BACKLOG: Final = 1_000
# Where the ports begin that are given to whoever asks for any.
FIRST_FREE_PORT: Final = 40_000


class MemoryListener(Listener[HalfCloseableStream]):
    """Accepts what `MemoryNetwork.connect` brings, or fails as it is told to."""

    def __init__(self, network: "MemoryNetwork", address: Peer) -> None:
        self.network = network
        self.address = address
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
    """Listeners by address, and who connected."""

    def __init__(self) -> None:
        self.listeners: dict[Peer, MemoryListener] = {}
        self._peers: dict[HalfCloseableStream, Peer] = {}
        self._ports = FIRST_FREE_PORT

    async def listen_tcp(self, host: str, port: int) -> Sequence[Listener[HalfCloseableStream]]:
        """Listen on one address."""
        await trio.lowlevel.checkpoint()
        if port == 0:
            self._ports += 1
            port = self._ports
        address = Peer(host, port)
        if address in self.listeners:
            raise CannotListen(f"cannot listen on {address}: Address already in use")
        listener = self.listeners[address] = MemoryListener(self, address)
        return [listener]

    async def listen_unix(self, path: object, mode: int) -> Listener[HalfCloseableStream]:
        """Nobody here needs it."""
        raise NotImplementedError(path, mode)

    def address(self, listener: Listener[HalfCloseableStream]) -> Peer:
        """Where it listens."""
        assert isinstance(listener, MemoryListener)
        return listener.address

    def peer(self, stream: HalfCloseableStream) -> Peer:
        """Who connected."""
        return self._peers.pop(stream)

    def credentials(self, stream: HalfCloseableStream) -> Credentials:
        """Nobody here needs it."""
        raise NotImplementedError(stream)

    def connect(self, address: Peer, host: str = "192.0.2.1") -> HalfCloseableStream:
        """Connect from `host`; raises ConnectionRefusedError when nobody listens there."""
        listener = self.listeners.get(address)
        if listener is None:
            raise ConnectionRefusedError(f"nobody listens on {address}")
        ours, theirs = memory_stream_pair()
        self._ports += 1
        self._peers[theirs] = Peer(host, self._ports)
        listener.arrive(theirs)
        return ours

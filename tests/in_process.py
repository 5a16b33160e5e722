"""A demo exchange that runs in this process, and connections to it."""

import json
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import trio
from attrs import evolve
from trio.abc import HalfCloseableStream, Stream

import supervisor
from actors.world import Credentials, Peer, RealClock, RealNetwork, Threads
from book.engine import Engine
from persistence.object_store import no_pace, open_target
from persistence.opening import open_database
from persistence.sql_store import SqlStore
from persistence.storage import RealDisk
from persistence.txstore import TxStore
from tallystick.demo_chains import demo_chains
from tallystick.demo_command import demo_config
from tests.simulation.disk import power_cut
from tests.simulation.world import InlineSnapshots, no_progress


class Connection:
    """A client's or an operator's connection: lines of JSON."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._rest = b""
        self._next_id = 1

    async def send(self, method: str, **params: Any) -> int:
        """Send a request; its id."""
        request = {"id": self._next_id, "method": method, "params": params}
        self._next_id += 1
        await self._stream.send_all(json.dumps(request).encode() + b"\n")
        return self._next_id - 1

    async def receive(self) -> Any:
        """The next line. EOFError when the connection was closed."""
        while b"\n" not in self._rest:
            with trio.fail_after(30):
                received = await self._stream.receive_some()
            if not received:
                raise EOFError
            self._rest += received
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    async def close(self) -> None:
        """Hang up."""
        await self._stream.aclose()

    async def ask(self, method: str, **params: Any) -> Any:
        """Send a request and wait for its reply."""
        number = await self.send(method, **params)
        reply = await self.receive()
        assert reply["id"] == number
        return reply

    async def say(self, words: str) -> Any:
        """Send a line of bare words and wait for its reply."""
        await self._stream.send_all(words.encode() + b"\n")
        return await self.receive()

    async def said(self, words: str) -> Any:
        """The result of a line of bare words; AssertionError where it is refused."""
        reply = await self.say(words)
        assert reply["status"] == 200, reply
        return reply["result"]

    async def refused(self, words: str) -> str:
        """Why a line of bare words is refused; AssertionError where it is not."""
        reply = await self.say(words)
        assert reply["status"] == 400, reply
        return str(reply["error"]["msg"])


class Uids(RealNetwork):
    """The real network, where whoever connects to the admin socket next is of the user we say."""

    def __init__(self) -> None:
        self.uid: int | None = None

    def credentials(self, stream: HalfCloseableStream) -> Credentials:
        """Of our own user, unless another one was named."""
        found = super().credentials(stream)
        return found if self.uid is None else found._replace(uid=self.uid)


class Running:
    """An exchange that runs in this process."""

    store: TxStore
    """Of its chains, where it has any."""

    def __init__(self, addresses: supervisor.Addresses, folder: Path, network: "Uids") -> None:
        self._addresses = addresses
        self._network = network
        self._folder = folder
        self._streams: list[trio.SocketStream] = []

    async def close(self) -> None:
        """Hang up all connections."""
        for stream in self._streams:
            await stream.aclose()

    @property
    def address(self) -> Peer:
        """Where clients connect."""
        return self._addresses.client

    def _keep(self, stream: trio.SocketStream) -> trio.SocketStream:
        """Hang it up with the others."""
        self._streams.append(stream)
        return stream

    async def client(self, name: str | None = "alice", **more: Any) -> Connection:
        """A connection, logged on, with more parameters of the logon."""
        peer = self._addresses.client
        connection = Connection(self._keep(await trio.open_tcp_stream(peer.host, peer.port)))
        assert (await connection.receive())["event"] == "hello"
        if name is not None:
            assert (await connection.ask("session.logon", apiKey=name, **more))["status"] == 200
        return connection

    async def operator(self, uid: int | None = None) -> Connection:
        """A connection to the admin socket, of our own user or of this one."""
        self._network.uid = uid
        connection = Connection(self._keep(await trio.open_unix_socket(self._folder / "admin.sock")))
        await connection.said("help")  # now the other end knows who we are
        return connection

    async def metrics(self) -> str:
        """What a scrape answers."""
        peer = self._addresses.metrics
        stream = self._keep(await trio.open_tcp_stream(peer.host, peer.port))
        await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        answer = b"".join([part async for part in stream])
        assert answer.startswith(b"HTTP/1.1 200 ")
        return answer.decode()


@asynccontextmanager
async def running(
    folder: Path,
    engine: Callable[[], Engine] = Engine,
    *,
    test_money: bool = True,
    chains: bool = False,
    operators: Sequence[int] = (),
    adjust: Callable[[supervisor.Config], supervisor.Config] = lambda config: config,
) -> AsyncIterator[Running]:
    """A demo exchange without its market maker, and without its chains unless they are wanted; stopped in order.

    The first operator's calls are ours; `Running.operator` can speak as any of the others.
    """
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240 - nothing else runs yet
    (folder / "backup").mkdir(exist_ok=True)
    config = demo_config(folder, port=0, market_maker=False)
    admin = evolve(config.admin, test_money=test_money, operators=frozenset({*config.admin.operators, *operators}))
    config = evolve(config, admin=admin)
    config = adjust(config)
    disk = RealDisk(str(folder), power_cut)
    network, blocking = Uids(), Threads(8)
    database = open_database(config.store, folder=str(folder), blocking=Threads(1), random=Random(0))
    world = supervisor.World(
        clock=RealClock(),
        disk=disk,
        network=network,
        blocking=blocking,
        random=Random(0),
        entropy=os.urandom,
        die=power_cut,
        uid=os.getuid(),
        progress=no_progress,
        database=database,
        open_target=open_target,
        pace=no_pace,
        snapshot_process=InlineSnapshots(disk),
        engine=engine,
        chains=demo_chains(disk, blocking, Random(0), str(folder), SqlStore(database)) if chains else None,
    )
    addresses = supervisor.Addresses()
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        root = supervisor.exchange(config, world, addresses)
        await nursery.start(root.run, stop)
        exchange = Running(addresses, folder, network)
        if world.chains is not None:
            exchange.store = world.chains.store
        yield exchange
        await exchange.close()
        stop.set()


def buy(quantity: str, price: str = "40000.00", **more: Any) -> dict[str, Any]:
    """The params of an order that rests."""
    return {"symbol": "BTC-USDT", "side": "BUY", "type": "LIMIT", "quantity": quantity, "price": price, **more}


def child(tree: Any, name: str) -> Any:
    """The statistics of one child, wherever in the tree it is."""
    for entry in tree["children"]:
        if entry["name"] == name:
            return entry
        if entry["supervisor"] and (found := child(entry["supervisor"], name)):
            return found
    return None

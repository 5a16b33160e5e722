"""Connections to a running exchange that remember what of the protocol they have seen."""

import json
from collections.abc import Iterable
from typing import Any

import trio

from actors.world import Peer
from tests.in_process import Running

SECONDS = 30


class Recorder:
    """What was seen, over all connections."""

    def __init__(self) -> None:
        self.methods: set[str] = set()
        """Those that were answered by a result."""
        self.events: set[str] = set()
        self.codes: set[str] = set()
        """The names of all errors, those in batches too."""
        self.refusals: set[tuple[str, str]] = set()
        """Methods, and the names of the codes they were refused with."""

    def note(self, line: Any, method: str | None) -> None:
        """Remember a line, which answers this method."""
        if "event" in line:
            self.events.add(line["event"])
        elif "error" in line:
            self.codes.add(line["error"]["name"])
            if method is not None:
                self.refusals.add((method, line["error"]["name"]))
        elif method is not None:
            self.methods.add(method)

    async def connect(self, exchange: Running, name: str | None = None, receive_bytes: int = 0) -> "Recorded":
        """A connection, logged on where a key is named; its kernel keeps about `receive_bytes`, if that is given."""
        recorded = Recorded(self, await _open(exchange.address, receive_bytes))
        exchange._keep(recorded.stream)
        if name is not None:
            assert (await recorded.ask("session.logon", apiKey=name))["status"] == 200
        return recorded


async def _open(peer: Peer, receive_bytes: int) -> trio.SocketStream:
    connection = trio.socket.socket()
    if receive_bytes:
        connection.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, receive_bytes)
    await connection.connect((peer.host, peer.port))
    return trio.SocketStream(connection)


class Recorded:
    """One connection."""

    def __init__(self, recorder: Recorder, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._recorder = recorder
        self._asked: dict[int, str] = {}
        self._rest = b""

    async def send(self, *requests: tuple[str, dict[str, Any]]) -> list[int]:
        """Send requests in one piece; their ids."""
        numbers = range(len(self._asked) + 1, len(self._asked) + 1 + len(requests))
        lines = []
        for number, (method, params) in zip(numbers, requests, strict=True):
            self._asked[number] = method
            lines.append(json.dumps({"id": number, "method": method, "params": params}).encode() + b"\n")
        await self.stream.send_all(b"".join(lines))
        return list(numbers)

    async def line(self) -> Any:
        """The next line. EOFError at the end of the stream."""
        with trio.fail_after(SECONDS):
            while b"\n" not in self._rest:
                received = await self.stream.receive_some(65_536)
                if not received:
                    raise EOFError
                self._rest += received
        text, _, self._rest = self._rest.partition(b"\n")
        line = json.loads(text)
        self._recorder.note(line, self._asked.get(line.get("id")))
        return line

    async def ask(self, method: str, **params: Any) -> Any:
        """Send a request and wait for its reply, past all events."""
        (number,) = await self.send((method, params))
        return await self.reply(number)

    async def reply(self, number: int) -> Any:
        """Wait for one reply, past all else."""
        while (line := await self.line()).get("id") != number:
            pass
        return line

    async def refused(self, method: str, **params: Any) -> str:
        """The name of the code that a request is refused with."""
        return str((await self.ask(method, **params))["error"]["name"])

    async def until(self, events: Iterable[str]) -> None:
        """Wait for all of these events, in any order."""
        wanted = set(events)
        while wanted:
            wanted.discard((await self.line()).get("event", ""))

    async def to_the_end(self) -> None:
        """Read whatever still comes, until the exchange hangs up."""
        try:
            while True:
                await self.line()
        except EOFError:
            pass

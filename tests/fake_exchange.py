"""An exchange that says what a test wants: the other end of the client library, over in-memory streams."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import trio
from trio.abc import Stream
from trio.testing import memory_stream_pair

from tallystick.client import Exchange, Key, Timing, connect
from tallystick.client.background import background

NONCE = "ab" * 16
TIME = 1_700_000_000_000


def _encoded(line: dict[str, Any] | bytes) -> bytes:
    return line if isinstance(line, bytes) else json.dumps(line, separators=(",", ":")).encode() + b"\n"


class FakeConnection:
    """The exchange's end of one connection, greeted already unless a test says otherwise."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._rest = b""

    async def say(self, *lines: dict[str, Any] | bytes) -> None:
        """Send lines, in one piece."""
        await self._stream.send_all(b"".join(_encoded(line) for line in lines))

    async def greet(self, version: int = 1) -> None:
        """Say hello."""
        await self.say({"event": "hello", "version": version, "nonce": NONCE, "time": TIME})

    async def hear(self) -> dict[str, Any]:
        """The next request; EOFError when the client hung up."""
        while b"\n" not in self._rest:
            received = await self._stream.receive_some()
            if not received:
                raise EOFError
            self._rest += received
        line, _, self._rest = self._rest.partition(b"\n")
        request: dict[str, Any] = json.loads(line)
        return request

    async def expect(self, method: str, **params: object) -> int:
        """The next request, which must be this one; its id."""
        request = await self.hear()
        assert (request["method"], request["params"]) == (method, params)
        number: int = request["id"]
        return number

    async def answer(self, method: str, result: dict[str, Any] | None = None, **params: object) -> None:
        """Expect a request and say that it was done."""
        number = await self.expect(method, **params)
        await self.say({"id": number, "status": 200, "result": result or {}})

    async def refuse(self, method: str, code: int, name: str, **params: object) -> None:
        """Expect a request and refuse it."""
        number = await self.expect(method, **params)
        await self.say({"id": number, "status": 400, "error": {"code": code, "name": name, "msg": "no"}})

    async def hang_up(self) -> None:
        """Close the connection."""
        await self._stream.aclose()


class FakeExchange:
    """Where the client library dials."""

    def __init__(self) -> None:
        self._dialled, self._accepted = trio.open_memory_channel[FakeConnection](8)
        self.down: OSError | None = None
        """What dialling fails with."""
        self.dialled = 0

    async def dial(self) -> Stream:
        """Open a stream to here."""
        self.dialled += 1
        await trio.lowlevel.checkpoint()
        if self.down is not None:
            raise self.down
        ours, theirs = memory_stream_pair()
        self._dialled.send_nowait(FakeConnection(ours))
        return theirs

    async def accept(self, *, greet: bool = True) -> FakeConnection:
        """The next connection."""
        connection = await self._accepted.receive()
        if greet:
            await connection.greet()
        return connection

    @asynccontextmanager
    async def client(
        self, key: Key | str | None = None, timing: Timing | None = None, **more: Any
    ) -> "AsyncIterator[tuple[Exchange, FakeConnection]]":
        """A client that is connected, and the exchange's end of its connection."""
        connections: list[FakeConnection] = []

        async def accept() -> None:
            connection = await self.accept()
            if key is not None:
                request = await connection.hear()
                assert request["method"] == "session.logon"
                await connection.say({"id": request["id"], "status": 200, "result": LOGGED_ON})
            connections.append(connection)

        async with background() as nursery:
            nursery.start_soon(accept)
            async with connect(dial=self.dial, key=key, timing=timing, random=Random(0), **more) as exchange:
                while not connections:
                    await trio.lowlevel.checkpoint()
                yield exchange, connections[0]


LOGGED_ON = {"account": 1, "permissions": ["read"], "since": TIME, "cancelOnDisconnect": False}

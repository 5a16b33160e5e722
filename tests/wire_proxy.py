"""A TCP proxy between a client and a server that a test can cut, or hold up, at a chosen moment."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum

import trio


class Verdict(Enum):
    """What is to be done with bytes on their way to the server."""

    PASS = "pass"  # noqa: S105 - no password
    CUT = "cut"
    """Close both sides; they never arrive."""
    LOSE_ANSWER = "lose answer"
    """Forward them, wait until the server has answered, and close both sides instead of passing the answer on."""
    HOLD_ANSWER = "hold answer"
    """Forward them, and keep the answer until `answers` is set."""


class WireProxy:
    """Forwards everything, but for what `judge` says of what a client sends."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self.judge: Callable[[bytes], Verdict] = lambda _data: Verdict.PASS
        self.answers = trio.Event()
        self.held = trio.Event()
        """Set when an answer is being held back."""
        self.connections = 0

    async def serve(self, client: trio.SocketStream) -> None:
        """One client's connection. Questions and answers take turns in what is tested, so one task will do."""
        self.connections += 1
        server = await trio.open_tcp_stream("127.0.0.1", self._target_port)
        async with client, server, trio.open_nursery() as nursery:
            pending = [Verdict.PASS]
            nursery.start_soon(self._forward_answers, server, client, pending, nursery.cancel_scope)
            try:
                async for data in client:
                    pending[0] = self.judge(bytes(data))
                    if pending[0] is Verdict.CUT:
                        break
                    await server.send_all(data)
            except trio.BrokenResourceError:
                pass
            if pending[0] not in {Verdict.LOSE_ANSWER, Verdict.HOLD_ANSWER}:
                nursery.cancel_scope.cancel()

    async def _forward_answers(
        self, server: trio.SocketStream, client: trio.SocketStream, pending: list[Verdict], scope: trio.CancelScope
    ) -> None:
        try:
            async for data in server:
                if pending[0] is Verdict.LOSE_ANSWER:
                    break
                if pending[0] is Verdict.HOLD_ANSWER:
                    self.held.set()
                    await self.answers.wait()
                await client.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()


@asynccontextmanager
async def proxied(target_port: int, host: str = "127.0.0.1") -> AsyncIterator[tuple[WireProxy, int]]:
    """A proxy to this port of this machine, and the port it listens on."""
    proxy = WireProxy(target_port)
    listeners = await trio.open_tcp_listeners(0, host=host)
    port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, proxy.serve, listeners)
        yield proxy, port
        nursery.cancel_scope.cancel()

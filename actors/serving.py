"""What an actor does that serves from its first moment and has nothing to finish at a stop."""

from collections.abc import Awaitable, Callable

import trio


async def serve_until(stop: trio.Event, serve: Callable[[], Awaitable[None]], status: trio.TaskStatus[None]) -> None:
    """Call `serve`, which never ends by itself, say that it serves, and cancel it at `stop`. Raises what it raises."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        status.started()
        await stop.wait()
        nursery.cancel_scope.cancel()

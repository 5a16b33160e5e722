"""Tasks behind a block of the caller's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def background() -> AsyncIterator[trio.Nursery]:
    """A nursery for tasks that end with the block and have no errors to tell.

    What the block raises comes out of it as it is: who uses a library's connection shall not have to know of its tasks,
    and catch groups.
    """
    failure: Exception | KeyboardInterrupt | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield nursery
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - raised again, below
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure

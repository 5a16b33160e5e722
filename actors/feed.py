"""From the request log's writer to the publisher: what is durable, in order. The writer never waits for it.

What flows back in the order of start is pulled, never sent: so this is no mailbox. It is bounded, and where the
publisher does not keep up the feed forgets everything and says so: the publisher then begins anew, with fresh snapshots
of the books, and tells account owners what they have missed. Trading never waits for those who watch it.
"""

from collections import deque
from typing import Final

import trio
from attrs import frozen

from actors.audience import Committed

# Rounds of matching: many seconds of them, or a few thousand at full speed.
CAPACITY: Final = 4096


@frozen
class Taken:
    """What was waiting."""

    items: list[Committed]
    """In order."""
    complete: bool
    """False: something before these was forgotten."""
    oldest_seconds: float
    """On trio's clock, when the first of them came; now where there is none."""


class Feed:
    """A bounded queue with a writer who never waits. Outlives both its ends."""

    __slots__ = ("_complete", "_items", "_oldest_seconds", "_woken", "lost", "peak")

    def __init__(self) -> None:
        self._items: deque[Committed] = deque()
        self._complete = True
        self._oldest_seconds = 0.0
        self._woken = trio.Event()
        self.lost = 0
        """How often the reader did not keep up."""
        self.peak = 0
        """The most there ever waited."""

    def __len__(self) -> int:
        return len(self._items)

    def offer(self, item: Committed) -> None:
        """Put an item in. Never blocks or raises."""
        if len(self._items) == CAPACITY:
            self._items.clear()
            self._complete = False
            self.lost += 1
        if not self._items:
            self._oldest_seconds = trio.current_time()
        self._items.append(item)
        self.peak = max(self.peak, len(self._items))
        self._woken.set()

    def wake(self) -> None:
        """Let the reader look, whether there is something or not."""
        self._woken.set()

    async def wait(self) -> None:
        """Return when there is something, or somebody woke us. No deadline: without news there is nothing to do."""
        await self._woken.wait()
        self._woken = trio.Event()

    def take(self) -> Taken:
        """All that is there."""
        taken = Taken(list(self._items), self._complete, self._oldest_seconds if self._items else trio.current_time())
        self._items.clear()
        self._complete = True
        return taken

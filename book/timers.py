"""What falls due, and when.

A heap of moments, and a dict of what is still to happen: what was set anew or cleared stays in the heap until it
comes up, or until there is more of it than of what counts. So setting and clearing are cheap, and the heap is bounded
by the number of timers that are set.
"""

from heapq import heapify, heappop, heappush
from typing import Final

# Kinds. Of one moment, what has the smaller kind comes first, and of one kind what has the smaller number.
EXPIRY: Final = 0  # of an order, by order id
CANCEL_ALL: Final = 1  # of an account's orders, by account
RESUMPTION: Final = 2  # of a market that its band halted, by the order of definition

SPARE: Final = 64  # stale entries that are never worth a sweep


class Timers:
    """Timers by kind and number."""

    __slots__ = ("_due", "_heap", "next_ns")

    def __init__(self) -> None:
        self.next_ns: int = 0
        """When the next one is due; 0: there is none."""
        self._due: dict[tuple[int, int], int] = {}
        self._heap: list[tuple[int, int, int]] = []

    def set(self, kind: int, number: int, due_ns: int) -> None:
        """Set a timer, anew if it is set already."""
        self._due[kind, number] = due_ns
        heappush(self._heap, (due_ns, kind, number))
        if len(self._heap) > SPARE + 2 * len(self._due):
            self._sweep()
        self._look()

    def clear(self, kind: int, number: int) -> None:
        """There is no such timer any more, if there was."""
        if self._due.pop((kind, number), 0) == self.next_ns:
            self._look()

    def take(self, now_ns: int) -> tuple[int, int] | None:
        """Remove the first timer that is due by now: its kind and number."""
        if not self._heap or not self.next_ns or self.next_ns > now_ns:
            return None
        _, kind, number = heappop(self._heap)
        del self._due[kind, number]
        self._look()
        return kind, number

    def due(self) -> dict[tuple[int, int], int]:
        """When each timer is due, by kind and number."""
        return dict(self._due)

    def _look(self) -> None:
        heap, due = self._heap, self._due
        while heap:
            due_ns, kind, number = heap[0]
            if due.get((kind, number)) == due_ns:
                self.next_ns = due_ns
                return
            heappop(heap)
        self.next_ns = 0

    def _sweep(self) -> None:
        self._heap = [(due_ns, kind, number) for (kind, number), due_ns in self._due.items()]
        heapify(self._heap)

"""What a session has been pushed and has not written yet: lines of the channels that its client follows."""

from collections import deque
from collections.abc import Sequence


class Outbox:
    """A queue of encoded lines, measured in bytes.

    Args:
        limit: With more than so many bytes waiting, the client is too slow to take any more. What is pushed at once is
            taken at once, however much it is: a snapshot is as large as the book.
    """

    __slots__ = ("_limit", "_lines", "waiting")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lines: deque[bytes] = deque()
        self.waiting = 0
        """Bytes."""

    def __bool__(self) -> bool:
        return bool(self._lines)

    def put(self, lines: Sequence[bytes]) -> bool:
        """Queue these; False, with nothing queued, where too much waits already."""
        if self.waiting > self._limit:
            return False
        self._lines.extend(lines)
        self.waiting += sum(map(len, lines))
        return True

    def take(self, size: int) -> bytes:
        """The oldest lines, in one piece: as many as pass this size, or all."""
        taken: list[bytes] = []
        while self._lines and size > 0:
            line = self._lines.popleft()
            size -= len(line)
            self.waiting -= len(line)
            taken.append(line)
        return b"".join(taken)

    def clear(self) -> None:
        """Forget everything."""
        self._lines.clear()
        self.waiting = 0

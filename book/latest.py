"""A memory that forgets: of what was added, only the last so many."""

from typing import Final, Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """The last things that were added, up to a bound."""

    __slots__ = ("_bound", "_oldest", "_things")

    # A list and not a deque, which takes 600 bytes when it is empty, as most accounts' are.
    def __init__(self, bound: int) -> None:
        self._bound: Final = bound
        self._things: list[T] = []
        self._oldest: int = 0  # where it is, once the bound is reached

    def add(self, thing: T) -> T | None:
        """Remember one more; beyond the bound the oldest is forgotten, and returned."""
        if len(self._things) < self._bound:
            self._things.append(thing)
            return None
        forgotten = self._things[self._oldest]
        self._things[self._oldest] = thing
        self._oldest += 1
        if self._oldest == self._bound:
            self._oldest = 0
        return forgotten

    def all(self) -> list[T]:
        """All that are remembered, oldest first."""
        return self._things[self._oldest :] + self._things[: self._oldest]

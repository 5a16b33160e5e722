"""The events of one channel in order, each once: what came twice is passed over, what came too early waits. Pure."""

from collections.abc import Iterator
from typing import Final, Generic, TypeVar

E = TypeVar("E")

# Events that wait for missing ones. A resume is answered long before; beyond, the missing ones are given up.
MAX_EARLY: Final = 10_000


class InOrder(Generic[E]):
    """Counts by `seq`, from the first event it sees."""

    __slots__ = ("_early", "next_seq")

    next_seq: int | None
    """Of the event to come next; None before the first."""

    def __init__(self) -> None:
        self.next_seq = None
        self._early: dict[int, E] = {}

    @property
    def missing(self) -> bool:
        """Whether events wait for earlier ones."""
        return bool(self._early)

    @property
    def full(self) -> bool:
        """Whether no more may wait."""
        return len(self._early) >= MAX_EARLY

    def take(self, seq: int, event: E) -> Iterator[E]:
        """This event, if it is its turn, and those that waited for it."""
        if self.next_seq is None:
            self.next_seq = seq
        if seq < self.next_seq:
            return
        self._early[seq] = event
        while self.next_seq in self._early:
            event = self._early.pop(self.next_seq)
            self.next_seq += 1
            yield event

    def give_up(self) -> Iterator[E]:
        """Count on from the earliest event that waits, or, where none does, from whatever comes next."""
        early, self._early = self._early, {}
        self.next_seq = None
        for seq in sorted(early):
            yield from self.take(seq, early[seq])

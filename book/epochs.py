"""Which epoch of the log a sequence number was given in, and so the receipts that are never given twice.

The first epoch is 1 and begins with the log. A restored backup gives the numbers behind its end a second time: there a
greater epoch begins.
"""

from typing import Final

FIRST: Final = 1
MAX_EPOCH: Final = 2**32 - 1


class Epochs:
    """The epochs of the log and where each begins."""

    __slots__ = ("_begun",)

    def __init__(self) -> None:
        self._begun: list[tuple[int, int]] = [(FIRST, 0)]

    @property
    def current(self) -> int:
        """The epoch that is now."""
        return self._begun[-1][0]

    def begin(self, epoch: int, seq: int) -> None:
        """Begin a greater one, with this sequence number."""
        self._begun.append((epoch, seq))

    def receipt(self, seq: int) -> str:
        """The receipt for what the command of this sequence number did."""
        epoch = next(number for number, first in reversed(self._begun) if first <= seq)
        return f"{epoch}-{seq}"

    def rows(self) -> list[tuple[int, int]]:
        """Each epoch behind the first, and the sequence number that it begins with."""
        return self._begun[1:]

    def check(self, last_seq: int) -> None:
        """They grow, and have begun. Raises AssertionError."""
        numbers, firsts = [row[0] for row in self._begun], [row[1] for row in self._begun]
        for rows, most in ((numbers, MAX_EPOCH), (firsts, last_seq)):
            if rows != sorted(set(rows)) or rows[-1] > most:
                raise AssertionError(f"epochs begin at {self._begun}, and the last number is {last_seq}")

"""How much memory replies may take that clients do not read, and whose connection ends when it is more. Pure.

Each connection has a bound of its own; that of the process is for when many stand at theirs. Replies are counted where
a client keeps us waiting: what is written as it is made takes no memory worth counting.
"""

from collections.abc import Mapping
from typing import Final

from actors.requests import Done, Outcome
from book.queries import DepthView

# By measurement, rounded up: a request with its outcome; and an order, a trade, a price level in an outcome.
REQUEST_BYTES: Final = 1_024
ROW_BYTES: Final = 512


def size_of(outcome: Outcome) -> int:
    """The bytes that an outcome and its request hold until the reply is written."""
    if isinstance(outcome, Done):
        rows = len(outcome.events)
    elif isinstance(outcome, list):
        rows = len(outcome)
    elif isinstance(outcome, DepthView):
        rows = len(outcome.bids) + len(outcome.asks)
    else:
        rows = 0
    return REQUEST_BYTES + rows * ROW_BYTES


def whom_to_cut(held: Mapping[int, int], limit: int) -> list[int]:
    """The sessions to end so that the others hold no more than `limit` bytes: who holds most, first."""
    excess = sum(held.values()) - limit
    cut: list[int] = []
    for session in sorted(held, key=held.__getitem__, reverse=True):
        if excess <= 0:
            break
        cut.append(session)
        excess -= held[session]
    return cut

"""An order book that follows the exchange's: a snapshot, and the changes since. Pure."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import islice

from sortedcontainers import SortedDict

from tallystick.client.events import BookDelta, BookSnapshot
from tallystick.client.results import Level


class Book:
    """The price levels of one market.

    Attributes:
        symbol: Of the market.
        seq: Of the last change that is in it; counted as in `depth`. None before there is anything in it.
        in_sync: Whether it is the exchange's book; while it is not, it is the last one known.
        time: When it last changed, ms since 1970.
    """

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.seq: int | None = None
        self.time = 0
        self.in_sync = False
        self._bids: SortedDict[Decimal, Decimal] = SortedDict()
        self._asks: SortedDict[Decimal, Decimal] = SortedDict()

    def take(self, event: BookSnapshot | BookDelta) -> bool:
        """Bring the book to where this event is; False where changes before it are missing, and it is out of sync."""
        if isinstance(event, BookSnapshot):
            self._bids.clear()
            self._asks.clear()
        elif self.seq is None or event.first_seq > self.seq + 1:
            self.in_sync = False
            return False
        elif event.seq <= self.seq:
            return True  # it is in the book already
        _set(self._bids, event.bids)
        _set(self._asks, event.asks)
        self.seq, self.time, self.in_sync = event.seq, event.time, True
        return True

    def lose(self) -> None:
        """Nobody knows what the exchange's book is now."""
        self.in_sync = False

    def resume(self) -> None:
        """The changes from here on are about to come."""
        self.in_sync = True

    @property
    def best_bid(self) -> Level | None:
        """The highest price that is bid; None where nothing is."""
        return next(self.bids(), None)

    @property
    def best_ask(self) -> Level | None:
        """The lowest price that is asked; None where nothing is."""
        return next(self.asks(), None)

    def bids(self, limit: int | None = None) -> Iterator[Level]:
        """The levels that are bid, the highest first."""
        return (Level(price, self._bids[price]) for price in islice(reversed(self._bids), limit))

    def asks(self, limit: int | None = None) -> Iterator[Level]:
        """The levels that are asked, the lowest first."""
        return (Level(price, self._asks[price]) for price in islice(self._asks, limit))


def _set(side: "SortedDict[Decimal, Decimal]", levels: tuple[Level, ...]) -> None:
    for level in levels:
        if level.qty:
            side[level.price] = level.qty
        else:
            side.pop(level.price, None)

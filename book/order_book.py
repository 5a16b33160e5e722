"""One market's resting orders: two sides of price levels, best first, each level a queue.

Theory of operation. A level's *merit* is its price on the bid side and its negation on the ask side, so that on both
sides the greater merit is the better price, and the code below is written once. A side keeps its levels in a dict by
price, the merits of these levels in a sorted list, best at the end, and the best level itself beside them.

The sorted list is the only structure that costs more than a constant, so it is touched only when a price is new. It is
a plain list, for what a new price moves in it is 8 bytes per better level: next to nothing near the top, a fraction of
a millisecond at the far end of a million. (A sortedcontainers.SortedList in its place costs the compiled engine a third
of its speed on bench.engine: it is interpreted.)

An order that leaves its level empty does not take the level away: prices come back, and at the top of a busy book they
do so all the time. Empty levels are stepped over when the next best is looked for, dropped there once there are more
than a few in a row, and swept out everywhere once they outnumber the others. So both searches are paid for by what
emptied the levels, and no more than half of what is kept is ever empty (and `SPARE` besides).

Nothing scans a queue: orders leave by their links, and the summary of a level changes with them.

Whoever wants to follow the book has it watched: from then on each side notes at which prices something changed, and
`take_changes` says what stands there now. That is no part of the book's state: it is in no dump, and changes nothing.
"""

from bisect import insort
from collections.abc import Iterator
from itertools import islice
from typing import Final

from book.orders import Order, PriceLevel
from book.terms import BUY, MAX_INT

SPARE: Final = 64  # empty levels that are never worth a sweep
STEPS: Final = 8  # empty levels stepped over each time before they are dropped from the top


class BookSide:
    """The bids or the asks."""

    __slots__ = ("_empty", "_levels", "_merits", "best", "sign", "touched")

    def __init__(self, sign: int) -> None:
        self.sign: Final = sign  # merit = sign * price: 1 for bids, -1 for asks
        self.best: PriceLevel | None = None
        self._levels: dict[int, PriceLevel] = {}
        self._merits: list[int] = []
        self._empty: int = 0
        self.touched: set[int] | None = None  # prices at which something changed; None: nobody watches

    def add(self, order: Order) -> None:
        """Queue an order at its price."""
        level = self._levels.get(order.price)
        if level is None:
            level = PriceLevel(order.price, self.sign * order.price)
            self._levels[order.price] = level
            insort(self._merits, level.merit)
        elif level.count == 0:
            self._empty -= 1
        level.append(order)
        touched = self.touched
        if touched is not None:
            touched.add(order.price)
        best = self.best
        if best is None or level.merit > best.merit:
            self.best = level

    def remove(self, order: Order) -> None:
        """Take an order off the book."""
        level = order.level
        if level is None:
            raise AssertionError(f"order {order.order_id} is not on the book")
        level.remove(order)
        touched = self.touched
        if touched is not None:
            touched.add(level.price)
        if level.count == 0:
            self._empty += 1
            if level is self.best:
                self.best = self._next_best()
            if self._empty > SPARE + len(self._levels) // 2:
                self._sweep()

    def each_level(self) -> Iterator[PriceLevel]:
        """The levels that have orders, best first. The side must not change meanwhile."""
        for merit in reversed(self._merits):
            level = self._levels[self.sign * merit]
            if level.count:
                yield level

    def touch(self, level: PriceLevel) -> None:
        """Note that a level has changed by other ways than `add` and `remove`."""
        touched = self.touched
        if touched is not None:
            touched.add(level.price)

    def take_touched(self) -> list[tuple[int, int]]:
        """The levels that changed since it was asked last, as (price, lots shown now), best first."""
        if not self.touched:
            return []
        prices, self.touched = self.touched, set()
        return [(price, self._shown_at(price)) for price in sorted(prices, reverse=self.sign == 1)]

    def _shown_at(self, price: int) -> int:
        level = self._levels.get(price)
        return 0 if level is None else level.quantity

    def depth(self, limit: int) -> list[tuple[int, int]]:
        """The best `limit` levels as (price, lots shown), best first."""
        return [(level.price, level.quantity) for level in islice(self.each_level(), limit)]

    def _next_best(self) -> PriceLevel | None:
        steps = 0
        best: PriceLevel | None = None
        for merit in reversed(self._merits):
            level = self._levels[self.sign * merit]
            if level.count:
                best = level
                break
            steps += 1
        if steps > STEPS:
            self._drop(steps)
        return best

    def _drop(self, count: int) -> None:
        """Forget the best `count` levels, all of them empty."""
        for merit in self._merits[-count:]:
            del self._levels[self.sign * merit]
        del self._merits[-count:]
        self._empty -= count

    def _sweep(self) -> None:
        """Forget all empty levels."""
        self._levels = {price: level for price, level in self._levels.items() if level.count}
        self._merits = sorted([level.merit for level in self._levels.values()])
        self._empty = 0

    def check(self) -> None:
        """The index, the levels and the cached best agree. Raises AssertionError."""
        merits = self._merits
        if sorted(merits) != merits or {self.sign * merit for merit in merits} != self._levels.keys():
            raise AssertionError("the sorted merits are not those of the levels")
        if len(set(merits)) != len(merits):
            raise AssertionError("a price has two levels")
        for price, level in self._levels.items():
            if level.price != price or level.merit != self.sign * price or not 0 < price <= MAX_INT:
                raise AssertionError(f"level {level.price} is kept as {price}")
            level.check()
        full = [level for level in self._levels.values() if level.count]
        if self._empty != len(self._levels) - len(full):
            raise AssertionError(f"{self._empty} levels should be empty")
        if self._empty > SPARE + len(self._levels) // 2:
            raise AssertionError(f"{self._empty} of {len(self._levels)} levels are kept empty")
        if self.best is not max(full, key=_merit_of, default=None):
            raise AssertionError("the best level is not the best")


class OrderBook:
    """Both sides, and the number of changes they have seen."""

    __slots__ = ("_told_seq", "asks", "bids", "seq")

    def __init__(self) -> None:
        self.bids: Final = BookSide(1)
        self.asks: Final = BookSide(-1)
        self.seq: int = 0
        self._told_seq: int = 0  # the last change that who watches was told

    def watch(self, watched: bool) -> None:
        """Note what changes from now on, or nothing any more."""
        if watched == (self.bids.touched is not None):
            return
        self.bids.touched = set() if watched else None
        self.asks.touched = set() if watched else None
        self._told_seq = self.seq

    def take_changes(self) -> tuple[int, list[tuple[int, int]], list[tuple[int, int]]]:
        """The first change that was not told yet, and what stands on both sides where something changed."""
        first = self._told_seq + 1
        self._told_seq = self.seq
        return first, self.bids.take_touched(), self.asks.take_touched()

    def side(self, side: int) -> BookSide:
        """The side that orders of this side rest on."""
        return self.bids if side == BUY else self.asks

    def opposite(self, side: int) -> BookSide:
        """The side that orders of this side take from."""
        return self.asks if side == BUY else self.bids

    def add(self, order: Order) -> None:
        """Rest an order behind all others of its price."""
        self.seq += 1
        (self.bids if order.side == BUY else self.asks).add(order)

    def remove(self, order: Order) -> None:
        """Take a resting order off, wherever it queues."""
        self.seq += 1
        self.side(order.side).remove(order)

    def fill(self, order: Order, lots: int) -> None:
        """Some or all of what a resting order shows has traded; the next part of an iceberg comes forward.

        To be called before the order itself changes.
        """
        level = order.level
        shown = order.quantity - order.executed - order.hidden
        if level is None or not 0 < lots <= shown:
            raise AssertionError(f"order {order.order_id} cannot trade {lots} of {shown}")
        self.seq += 1
        side = self.bids if order.side == BUY else self.asks
        if lots < shown:
            level.quantity -= lots
            side.touch(level)
        elif order.hidden:
            self.seq += 1
            level.quantity -= lots
            level.refresh(order)
            side.touch(level)
        else:
            side.remove(order)

    def reduce(self, order: Order, lots: int) -> None:
        """A resting order wants so much less, of what it hides first; it keeps its place, if anything is left of it.

        To be called before the order itself changes.
        """
        left = order.quantity - order.executed - lots
        level = order.level
        if level is None or lots <= 0 or left < 0:
            raise AssertionError(f"order {order.order_id} cannot lose {lots}")
        self.seq += 1
        side = self.side(order.side)
        if left:
            hidden = min(order.hidden, lots)
            order.hidden -= hidden
            level.hidden -= hidden
            level.quantity -= lots - hidden
            side.touch(level)
        else:
            side.remove(order)

    def check(self) -> None:
        """Both sides hold together and do not cross. Raises AssertionError."""
        self.bids.check()
        self.asks.check()
        if (self.bids.touched is None) != (self.asks.touched is None) or not 0 <= self._told_seq <= self.seq:
            raise AssertionError(f"the book is watched on one side, or {self._told_seq} was told of {self.seq}")
        bid, ask = self.bids.best, self.asks.best
        if bid is not None and ask is not None and bid.price >= ask.price:
            raise AssertionError(f"bid {bid.price} crosses ask {ask.price}")


def _merit_of(level: PriceLevel) -> int:
    return level.merit

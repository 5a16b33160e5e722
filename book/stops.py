"""One market's stops: orders that wait, outside the book, for the last price to reach theirs.

A stop waits for the last price to rise to its own or to fall to it. Written with a sign, both are one: a rising stop
has been reached when stop <= last, a falling one when -stop <= -last, and the smallest signed price is the next to be
reached. On each side they are sorted by it and by order id, which is the order in which they enter.
"""

from typing import Final

from sortedcontainers import SortedDict

from book.orders import Order
from book.terms import BUY, STOP_LOSS, STOP_LOSS_LIMIT


def rises(order: Order) -> bool:
    """Whether a stop waits for a higher price: to stop a loss of who sold, or to take the profit of who bought."""
    return (order.type in (STOP_LOSS, STOP_LOSS_LIMIT)) == (order.side == BUY)


def reached(order: Order, last_price: int) -> bool:
    """Whether this price triggers the stop."""
    return order.stop_price <= last_price if rises(order) else order.stop_price >= last_price


class Stops:
    """The waiting stops of a market."""

    __slots__ = ("_falling", "_falls_at", "_rises_at", "_rising")

    def __init__(self) -> None:
        self._rising: Final[SortedDict[tuple[int, int], Order]] = SortedDict()
        self._falling: Final[SortedDict[tuple[int, int], Order]] = SortedDict()
        # The next to be reached on each side, 0 for none, so that a trade that reaches none costs two comparisons.
        self._rises_at: int = 0
        self._falls_at: int = 0

    def add(self, order: Order) -> None:
        """An order begins to wait."""
        if rises(order):
            self._rising[order.stop_price, order.order_id] = order
        else:
            self._falling[-order.stop_price, order.order_id] = order
        self._look()

    def remove(self, order: Order) -> None:
        """An order waits no more. Raises KeyError if it did not."""
        if rises(order):
            del self._rising[order.stop_price, order.order_id]
        else:
            del self._falling[-order.stop_price, order.order_id]
        self._look()

    def take_reached(self, last_price: int) -> list[Order]:
        """Remove the stops that this price triggers, in the order in which they are to enter."""
        taken: list[Order] = []
        while self._rises_at and self._rises_at <= last_price:
            taken.append(self._rising.popitem(0)[1])
            self._look()
        while self._falls_at >= last_price:
            taken.append(self._falling.popitem(0)[1])
            self._look()
        return taken

    def reaches_any(self, price: int) -> bool:
        """Whether this price triggers a stop."""
        return 0 < self._rises_at <= price or self._falls_at >= price

    def all(self) -> list[Order]:
        """Every waiting stop: the rising ones, then the falling ones, the next to be reached first."""
        return [*self._rising.values(), *self._falling.values()]

    def check(self) -> None:
        """Each order waits where it belongs. Raises AssertionError."""
        for waiting, sign in ((self._rising, 1), (self._falling, -1)):
            for (price, order_id), order in waiting.items():
                if (price, order_id) != (sign * order.stop_price, order.order_id) or rises(order) != (sign == 1):
                    raise AssertionError(f"stop {order.order_id} waits in the wrong place")
        if (self._rises_at, self._falls_at) != self._next():
            raise AssertionError(f"the next stops are said to be at {self._rises_at} and {self._falls_at}")

    def _look(self) -> None:
        self._rises_at, self._falls_at = self._next()

    def _next(self) -> tuple[int, int]:
        rising: int = self._rising.peekitem(0)[0][0] if self._rising else 0
        falling: int = -self._falling.peekitem(0)[0][0] if self._falling else 0
        return rising, falling

"""What an account did of late. Bounded, and part of the engine's state: the same after every restart."""

from collections import deque
from typing import Final

from book.events import OrderView

FINISHED_ORDERS: Final = 1_000


class FinishedOrders:
    """An account's last 1,000 finished orders, as they ended, oldest first."""

    __slots__ = ("_views",)

    def __init__(self) -> None:
        self._views: deque[OrderView] = deque(maxlen=FINISHED_ORDERS)

    def add(self, view: OrderView) -> None:
        """Remember an order that ended; beyond the bound the oldest is forgotten."""
        self._views.append(view)

    def get(self, order_id: int) -> OrderView | None:
        """The order, if it is among the last; the newer, the sooner found."""
        # An index would cost every order that ends more than this costs the few that are asked for.
        for view in reversed(self._views):
            if view.order_id == order_id:
                return view
        return None

    def views(self) -> list[OrderView]:
        """All that are remembered, in the order in which they ended."""
        return list(self._views)

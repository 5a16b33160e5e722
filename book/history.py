"""What an account did of late. Bounded, and part of the engine's state: the same after every restart."""

from collections import deque
from typing import Final

from book.events import OrderView

FINISHED_ORDERS: Final = 1_000


class FinishedOrders:
    """An account's last 1,000 finished orders, as they ended, oldest first."""

    __slots__ = ("_by_id", "_views")

    def __init__(self) -> None:
        self._views: deque[OrderView] = deque()
        self._by_id: dict[int, OrderView] = {}

    def add(self, view: OrderView) -> None:
        """Remember an order that ended; beyond the bound the oldest is forgotten."""
        self._views.append(view)
        self._by_id[view.order_id] = view
        if len(self._views) > FINISHED_ORDERS:
            del self._by_id[self._views.popleft().order_id]

    def get(self, order_id: int) -> OrderView | None:
        """The order, if it is among the last."""
        return self._by_id.get(order_id)

    def views(self) -> list[OrderView]:
        """All that are remembered, in the order in which they ended."""
        return list(self._views)

    def check(self) -> None:
        """Both views of the memory agree and keep the bound. Raises AssertionError."""
        if len(self._views) > FINISHED_ORDERS or len(self._views) != len(self._by_id):
            raise AssertionError(f"{len(self._views)} finished orders, {len(self._by_id)} by id")
        for view in self._views:
            if self._by_id.get(view.order_id) is not view:
                raise AssertionError(f"finished order {view.order_id} is not found by its id")

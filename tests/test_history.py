"""An account's finished orders."""

from book.events import OrderView
from book.history import FINISHED_ORDERS, FinishedOrders
from book.terms import BUY, FILLED, GTC, LIMIT


def view(order_id: int) -> OrderView:
    """An order that was filled."""
    return OrderView(order_id, 1, "BTC-USDT", f"order-{order_id}", BUY, LIMIT, GTC, 5, 7, 0, 7, 35, FILLED, 1, 2)


def test_the_last_thousand_are_found_by_id() -> None:
    """One more than the bound forgets the one that ended first, not the one with the lowest id."""
    orders = FinishedOrders()
    ids = [5, *range(100, 100 + FINISHED_ORDERS - 1)]
    for order_id in reversed(ids):
        orders.add(view(order_id))
    assert orders.get(ids[-1]) == view(ids[-1])
    orders.add(view(1))
    assert orders.get(ids[-1]) is None
    assert orders.get(5) == view(5)
    assert orders.get(1) == view(1)
    assert orders.get(10**30) is None
    assert len(orders.all()) == FINISHED_ORDERS
    assert orders.all()[-1] == view(1)

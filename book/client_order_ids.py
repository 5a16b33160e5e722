"""The names clients give their orders: each is good for one order while that lives, and for long after.

A client that lost a reply sends the order again under the same id; because the id is remembered, the repeat can be
refused with the first order's id instead of taking effect twice. The memory is an account's live orders and its last
10,000 finished ones.
"""

from typing import Final

from book.latest import Latest

FINISHED_IDS: Final = 10_000
LONGEST_ID: Final = 36

_ALPHABET: Final = "0123456789-abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._:/"


def is_client_order_id(text: str) -> bool:
    """Whether a client may name an order so."""
    # What is of the alphabet alone is stripped to nothing, in a third of the time of a regular expression.
    return 0 < len(text) <= LONGEST_ID and not text.strip(_ALPHABET)


class ClientOrderIds:
    """One account's ids and the orders they stand for."""

    __slots__ = ("_finished", "_order_ids")

    def __init__(self) -> None:
        self._order_ids: dict[str, int] = {}
        self._finished: Final[Latest[str]] = Latest(FINISHED_IDS)

    def get(self, client_order_id: str) -> int:
        """The order of this id; 0 if there is none, or none any more."""
        return self._order_ids.get(client_order_id, 0)

    def claim(self, client_order_id: str, order_id: int) -> str:
        """The order takes this id, which is free, or a free one that is made for it if the client gave none.

        A made id is the same after every replay, whatever ids clients chose.
        """
        name = client_order_id or f"auto-{order_id}"
        attempt = 0
        while self._order_ids.setdefault(name, order_id) != order_id:
            attempt += 1
            name = f"auto-{order_id}-{attempt}"
        return name

    def finish(self, client_order_id: str) -> None:
        """The order of this id ended; beyond the bound, the id that ended first becomes free."""
        forgotten = self._finished.add(client_order_id)
        if forgotten is not None:
            del self._order_ids[forgotten]

    def finished(self) -> list[tuple[str, int]]:
        """The ids of finished orders, with these orders, in the order in which they ended."""
        return [(name, self._order_ids[name]) for name in self._finished.all()]

    def check(self, live: dict[str, int]) -> None:
        """The ids are exactly those of the live orders and of the finished ones. Raises AssertionError."""
        names = self._finished.all()
        finished = set(names)
        if len(finished) != len(names) or len(finished) > FINISHED_IDS:
            raise AssertionError(f"{len(names)} finished ids, {len(finished)} different ones")
        if {name: number for name, number in self._order_ids.items() if name not in finished} != live:
            raise AssertionError("the remembered ids are not those of the live orders")
        if not finished <= self._order_ids.keys():
            raise AssertionError("a finished order's id is forgotten too early")

"""Which deposits were credited: remembered for ever, so that a chain may be scanned twice and credited once."""

import re
from typing import Final

from book.commands import CreditDeposit
from book.events import Credited, Rejected
from book.refusals import declined

OUTSIDE_ID: Final = re.compile(r"[!-~]{1,200}")  # what the outside calls a movement of money


class Deposits:
    """The credited deposits by id."""

    __slots__ = ("_credited",)

    def __init__(self) -> None:
        self._credited: dict[str, Credited] = {}

    def refusal(self, command: CreditDeposit) -> Rejected | None:
        """Why this deposit cannot be credited, as far as its id tells: it was before, or the id is none.

        A repeat gets the receipt of the first; the same id for something else is an alarm to whoever hears it.
        """
        if not OUTSIDE_ID.fullmatch(command.deposit_id):
            return declined("BAD_NAME", "deposit_id")
        first = self._credited.get(command.deposit_id)
        if first is None:
            return None
        if (first.account, first.asset, first.amount) == (command.account, command.asset, command.amount):
            return declined("DUPLICATE_DEPOSIT", "deposit_id", ref=first.receipt)
        return declined("DEPOSIT_DIFFERS", "deposit_id", ref=first.receipt)

    def get(self, deposit_id: str) -> Credited | None:
        """The deposit of this id."""
        return self._credited.get(deposit_id)

    def add(self, credited: Credited) -> None:
        """Remember a deposit."""
        self._credited[credited.deposit_id] = credited

    def all(self) -> list[Credited]:
        """Every deposit, oldest first."""
        return list(self._credited.values())

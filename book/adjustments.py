"""What operators gave to accounts and took from them: remembered for ever, so that each adjustment is made once.

What was to be taken and not there is owed: the receivables follow from the adjustments alone.
"""

from book.commands import AdjustBalance
from book.deposits import OUTSIDE_ID
from book.events import Adjusted, Rejected
from book.refusals import declined


class Adjustments:
    """The adjustments by id, and what each account owes the house because of them."""

    __slots__ = ("_adjusted", "_owed")

    def __init__(self) -> None:
        self._adjusted: dict[str, Adjusted] = {}
        self._owed: dict[tuple[int, str], int] = {}

    def refusal(self, command: AdjustBalance) -> Rejected | None:
        """Why this adjustment cannot be made, as far as its id tells: it was before, or the id is none."""
        if not OUTSIDE_ID.fullmatch(command.adjustment_id):
            return declined("BAD_NAME", "adjustment_id")
        first = self._adjusted.get(command.adjustment_id)
        if first is None:
            return None
        same = (
            (first.account, first.asset, first.amount - first.short) == (command.account, command.asset, command.amount)
            and first.reason == command.reason
            and (first.operator, first.second_operator) == (command.operator, command.second_operator)
        )
        reason = "DUPLICATE_ADJUSTMENT" if same else "ADJUSTMENT_DIFFERS"
        return declined(reason, "adjustment_id", ref=first.receipt)

    def owed(self, account: int, asset: str) -> int:
        """What the account owes the house, in engine units of the asset."""
        return self._owed.get((account, asset), 0)

    def add(self, adjusted: Adjusted) -> None:
        """Remember an adjustment."""
        self._adjusted[adjusted.adjustment_id] = adjusted
        if adjusted.short:
            self._owed[adjusted.account, adjusted.asset] = self.owed(adjusted.account, adjusted.asset) + adjusted.short

    def all(self) -> list[Adjusted]:
        """Every adjustment, oldest first."""
        return list(self._adjusted.values())

"""The simplest policy: what is not above an asset's limit passes by itself, the rest waits for operators."""

from collections.abc import Mapping

from attrs import frozen

from actors.withdrawals import Allowed, HeldBack, Judgement
from persistence.txstore import WithdrawalRow


@frozen
class AutomaticLimit:
    """`actors.withdrawals.Policy`. The limits are in engine units; an asset without one always waits."""

    limits: Mapping[str, int]

    async def judge(self, row: WithdrawalRow) -> Judgement:
        """By the amount alone."""
        limit = self.limits.get(row.asset, 0)
        return Allowed() if row.units <= limit else HeldBack(f"more than {limit} units of {row.asset}")

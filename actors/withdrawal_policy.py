"""The policy of one chain's withdrawals: gathers figures from the store and a node, and lets `chains.policy` decide.

An address that an account names for the first time is noted here, and waits from then on.
"""

from collections.abc import Mapping
from typing import Final

from attrs import frozen

from actors.chain_state import AssetConfig
from actors.withdrawals import Allowed, HeldBack, Judgement, NotYet, Refused
from actors.world import Clock
from chains.node import Node
from chains.policy import (
    DAY_SECONDS,
    HOUR_SECONDS,
    Approved,
    AwaitingOperator,
    Figures,
    Limits,
    Rejected,
    Waits,
    decide,
)
from chains.scanner import to_engine
from persistence.txstore import ChainStore, WhitelistRow, WithdrawalRow

_NS_PER_SECOND: Final = 1_000_000_000


@frozen(kw_only=True)
class WithdrawalPolicy:
    """`actors.withdrawals.Policy`. An asset without limits of its own has those of `Limits()`: operators decide."""

    limits: Mapping[str, Limits]
    assets: Mapping[str, AssetConfig]
    nodes: Mapping[str, Node]
    hot_address: str
    store: ChainStore
    clock: Clock

    async def judge(self, row: WithdrawalRow) -> Judgement:
        """Whether it may pass. Raises what the store and the node raise."""
        decision = decide(row.units, await self._figures(row), self.limits.get(row.asset, Limits()))
        match decision:
            case Approved():
                return Allowed()
            case Waits():
                return NotYet(decision.reason, wants_operator=decision.wants_refill)
            case AwaitingOperator():
                return HeldBack(decision.reason)
            case Rejected():
                return Refused(decision.reason)

    async def _figures(self, row: WithdrawalRow) -> Figures:
        node = self.nodes[row.asset]
        hot = await node.balance(self.hot_address, await node.head())
        return Figures(
            hour=await self._asked(row, HOUR_SECONDS, None),
            account_day=await self._asked(row, DAY_SECONDS, row.account),
            address_seconds=await self._address_seconds(row),
            hot=self._units(row.asset, hot),
        )

    async def _asked(self, row: WithdrawalRow, seconds: int, account: int | None) -> int:
        """What was asked for in so many seconds before now, but for this one."""
        since_ns = max(0, self.clock.wall_ns() - seconds * _NS_PER_SECOND)
        asked = await self.store.withdrawn_since(row.asset, since_ns, account)
        return self._units(row.asset, asked - row.amount if row.requested_ns >= since_ns else asked)

    async def _address_seconds(self, row: WithdrawalRow) -> int:
        now_ns = self.clock.wall_ns()
        for known in await self.store.whitelist(row.account, row.chain):
            if known.address == row.address:
                return max(0, now_ns - known.added_ns) // _NS_PER_SECOND
        await self.store.add_to_whitelist(WhitelistRow(row.account, row.chain, row.address, now_ns))
        return 0

    def _units(self, name: str, amount: int) -> int:
        asset = self.assets[name]
        return to_engine(amount, asset.decimals, asset.scale).amount

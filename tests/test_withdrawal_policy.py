"""The policy of withdrawals with a store behind it: what it counts, and how long an address waits."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from attrs import define, evolve

from actors.chain_state import AssetConfig
from actors.withdrawal_policy import WithdrawalPolicy
from actors.withdrawals import Allowed, HeldBack, Judgement, NotYet, Refused
from actors.world import Threads
from chains.node import BlockId
from chains.policy import Limits
from chains.scanner import Depth
from persistence.sqlite import sqlite_store
from persistence.txstore import NewWithdrawal, TxStore, WithdrawalRow

SECOND = 1_000_000_000
HOUR, DAY = 3_600, 86_400
# The chain counts in hundredths of the engine's units.
ASSET = AssetConfig(asset="COIN", chain="chain", decimals=4, scale=2, depth=Depth(2))
LIMITS = Limits(
    automatic=100, per_transaction=1_000, per_hour=300, per_account_day=200, new_address_seconds=60, hot_low=50
)


@define
class Clock:
    """Stands still until it is moved."""

    seconds: int = 1_000_000

    def wall_ns(self) -> int:
        """As `actors.world.Clock.wall_ns`."""
        return self.seconds * SECOND

    def monotonic_ns(self) -> int:
        """As `actors.world.Clock.monotonic_ns`."""
        return self.seconds * SECOND


@define
class Node:
    """Knows what the hot wallet has, in the chain's units."""

    hot: int = 10**9

    async def head(self) -> BlockId:
        """As `chains.node.Node.head`."""
        return BlockId(7, "aa")

    async def balance(self, address: str, at: BlockId) -> int:
        """As `chains.node.Node.balance`."""
        assert (address, at) == ("hot", BlockId(7, "aa"))
        return self.hot


@define
class Desk:
    """A policy with what it looks at."""

    policy: WithdrawalPolicy
    store: TxStore
    clock: Clock
    node: Node
    number: int = 0

    async def ask(self, units: int, account: int = 1, address: str = "known") -> Judgement:
        """Of a withdrawal that is requested now, what becomes of it."""
        return await self.policy.judge(await self.request(units, account, address))

    async def request(self, units: int, account: int = 1, address: str = "known") -> WithdrawalRow:
        """A withdrawal that is requested now."""
        self.number += 1
        new = NewWithdrawal(
            id=f"1-{self.number}",
            chain="chain",
            asset="COIN",
            account=account,
            address=address,
            amount=100 * units,
            withdraw_order_id=f"w{self.number}",
            units=units,
            fee_units=0,
        )
        await self.store.request_withdrawal(new, self.clock.wall_ns())
        row = await self.store.withdrawal(new.id)
        assert row is not None
        return row


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """The account's known address has been named long ago."""
    store, clock, node = sqlite_store(str(tmp_path / "store"), Threads(1)), Clock(), Node()
    policy = WithdrawalPolicy(
        limits={"COIN": LIMITS},
        assets={"COIN": ASSET},
        nodes={"COIN": node},  # type: ignore[dict-item]  # nothing else of it is asked
        hot_address="hot",
        store=store,
        clock=clock,
    )
    desk = Desk(policy, store, clock, node)
    for account in (1, 2, 3):
        await desk.ask(1_001, account)  # refused, and its address is known from now on
        await store.reject_withdrawal(f"1-{desk.number}", "too much", clock.wall_ns())
    clock.seconds += 2 * DAY
    yield desk
    await store.aclose()


async def test_what_is_small_passes(desk: Desk) -> None:
    """In the engine's units; what is refused is not counted."""
    assert await desk.ask(100) == Allowed()
    assert isinstance(await desk.ask(101, 2), HeldBack)
    assert isinstance(await desk.ask(1_001, 3), Refused)


async def test_an_account_has_its_day(desk: Desk) -> None:
    """What it asked for in 24 hours; another account has its own."""
    for _ in range(2):
        assert await desk.ask(100) == Allowed()
    assert isinstance(await desk.ask(1), HeldBack)
    desk.clock.seconds += HOUR + 1
    assert isinstance(await desk.ask(1), HeldBack)
    assert await desk.ask(100, 2) == Allowed()
    desk.clock.seconds += DAY + 1
    assert await desk.ask(100) == Allowed()


async def test_all_accounts_share_an_hour(desk: Desk) -> None:
    """And the next one is another."""
    for account in (1, 2, 3):
        assert await desk.ask(100, account) == Allowed()
    assert isinstance(await desk.ask(1, 2), HeldBack)
    desk.clock.seconds += HOUR + 1
    assert await desk.ask(99, 2) == Allowed()


async def test_one_that_waited_is_judged_without_itself(desk: Desk) -> None:
    """However long ago it was requested."""
    row = await desk.request(100)
    assert await desk.policy.judge(row) == Allowed()
    desk.clock.seconds += 2 * DAY
    assert await desk.policy.judge(row) == Allowed()


async def test_a_new_address_waits(desk: Desk) -> None:
    """From when the account named it first; another account's waiting does not help."""
    row = await desk.request(10, address="new")
    assert isinstance(await desk.policy.judge(row), NotYet)
    desk.clock.seconds += 59
    assert isinstance(await desk.policy.judge(row), NotYet)
    desk.clock.seconds += 1
    assert await desk.policy.judge(row) == Allowed()
    assert isinstance(await desk.ask(10, 2, "new"), NotYet)


async def test_the_hot_wallet_keeps_its_least(desk: Desk) -> None:
    """Withdrawals wait for an operator to refill it."""
    desk.node.hot = 100 * (50 + 10)
    assert await desk.ask(10) == Allowed()
    refill = await desk.ask(11)
    assert isinstance(refill, NotYet)
    assert refill.wants_operator


async def test_an_asset_without_limits_has_operators_decide(desk: Desk) -> None:
    """Once its address is a day old."""
    strict = evolve(desk.policy, limits={})
    row = await desk.request(1)
    assert isinstance(await strict.judge(row), HeldBack)

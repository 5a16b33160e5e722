"""Watchers and withdrawals, case by case: what is credited, what is paid, what waits for an operator."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from attrs import evolve

from actors.withdrawals import Allowed, HeldBack, Judgement, Refused
from book.commands import CreditDeposit, FreezeAsset, PauseWithdrawals, RequestWithdrawal
from book.queries import Balance, Balances
from book.terms import HELD, RELEASED, SETTLED
from chains.node import Block, BlockId, NodeUnavailable
from chains.simulated import Faults
from chains.simulated_chain import Mine, Pay, Reorg, Submit, Tx
from persistence.txstore import DepositRow, StoreConflict, WithdrawalRow
from tests.counts import count
from tests.simulation.chains import (
    CHAIN_OF,
    COIN_OF,
    DECIMALS,
    DEPTHS,
    FEES,
    HOT,
    SCALES,
    ChainWorld,
)

ALICE = 1
ASSETS = tuple(CHAIN_OF)
Body = Callable[[ChainWorld], Awaitable[None]]


class Everything:
    """A policy that always says the same."""

    def __init__(self, judgement: Judgement) -> None:
        self._judgement = judgement

    async def judge(self, row: WithdrawalRow) -> Judgement:  # noqa: ARG002 - whatever it is
        """As told."""
        return self._judgement


def world_of(judgement: Judgement | None = None) -> ChainWorld:
    """Nothing goes wrong in it by itself."""
    world = ChainWorld(1)
    for withdrawals in world.withdrawals.values():
        withdrawals._policy = Everything(judgement or Allowed())
    return world


async def rounds(world: ChainWorld, many: int = 2) -> None:
    """Of all actors."""
    for _ in range(many):
        for name in (*world.watchers, *world.withdrawals):
            assert await world.turn(name) is None
    world.check_always()


def mine(world: ChainWorld, asset: str, blocks: int = 1) -> None:
    """On the asset's chain."""
    world.hosts[CHAIN_OF[asset]].now(Mine(1, blocks))


def pay(world: ChainWorld, asset: str, amount: int, account: int = ALICE) -> str:
    """To an account's address."""
    address = world.allocate(CHAIN_OF[asset], account)
    return world.hosts[CHAIN_OF[asset]].now(Pay(asset, ((address, amount),)))


async def started(world: ChainWorld) -> None:
    """Let what the first block pays be credited."""
    for asset in ASSETS:
        mine(world, asset, DEPTHS[asset] + 1)
    await rounds(world)


async def request(world: ChainWorld, asset: str, amount: int = 5_000_000) -> str:
    """A withdrawal of alice's to outside; its id."""
    world.orders += 1
    address = world.books[CHAIN_OF[asset]].address(10**6 + world.orders)
    world.bank.tell(RequestWithdrawal(ALICE, 0, 0, f"w{world.orders}", asset, address, amount))
    withdrawal = world.bank.engine.state.withdrawals.named(ALICE, f"w{world.orders}")
    assert withdrawal is not None
    return withdrawal.withdrawal_id


async def row_of(world: ChainWorld, withdrawal_id: str) -> WithdrawalRow:
    """As the store has it."""
    row = await world.store.withdrawal(withdrawal_id)
    assert isinstance(row, WithdrawalRow)
    return row


async def deposits(world: ChainWorld, asset: str, txid: str) -> list[DepositRow]:
    """Of one transaction."""
    rows: list[DepositRow] = await world.store.deposits_above(asset, -1)
    return [row for row in rows if row.key.txid == txid]


def balance(world: ChainWorld, asset: str, account: int = ALICE) -> Balance:
    """What an account has."""
    rows = world.bank.engine.query(Balances(account))
    assert isinstance(rows, list)
    (row,) = [row for row in rows if isinstance(row, Balance) and row.asset == asset]
    return row


def hold_state(world: ChainWorld, withdrawal_id: str) -> int:
    """Of the engine's hold."""
    withdrawal = world.bank.engine.state.withdrawals.get(withdrawal_id)
    assert withdrawal is not None
    return withdrawal.state


async def frozen(world: ChainWorld, chain: str) -> str:
    """Why a chain is; '' if it is not."""
    return next((each.reason for each in await world.store.frozen_chains() if each.chain == chain), "")


# Deposits -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asset", ASSETS)
async def test_a_deposit_is_credited_at_its_depth_and_not_before(asset: str) -> None:
    """Pending from its block on, credited when so many blocks lie on it."""
    world = world_of()
    await started(world)
    before = balance(world, asset).available
    unit = 10 ** (DECIMALS[asset] - SCALES[asset])
    txid = pay(world, asset, 70 * unit)
    mine(world, asset)
    await rounds(world)
    for _ in range(DEPTHS[asset]):
        assert [row.state for row in await deposits(world, asset, txid)] == ["pending"]
        assert balance(world, asset).available == before
        mine(world, asset)
        await rounds(world)
    (row,) = await deposits(world, asset, txid)
    assert (row.state, row.units) == ("fulfilled", 70)
    assert row.receipt.startswith("1-")
    assert balance(world, asset).available == before + 70


async def test_dust_is_kept_and_not_credited() -> None:
    """What is less than a unit of the engine's ends as fulfilled with nothing; the rest of a larger one is told."""
    world = world_of()
    await started(world)
    small, mixed = pay(world, "ETH", 999_999_999), pay(world, "ETH", 3_000_000_007)
    mine(world, "ETH", 5)
    await rounds(world)
    assert [(row.state, row.units) for row in await deposits(world, "ETH", small)] == [("fulfilled", 0)]
    assert [(row.state, row.units) for row in await deposits(world, "ETH", mixed)] == [("fulfilled", 3)]
    assert (await world.store.totals("ethereum", "ETH")).dust == 999_999_999 + 7


async def test_a_deposit_that_the_engine_refuses_is_frozen_with_the_reason() -> None:
    """And nothing else waits for it; a released one is tried again."""
    world = world_of()
    await started(world)
    world.bank.tell(CreditDeposit("test|much", ALICE, "BTC", 2**62 - 1 - world.bank.total("BTC")))
    txid = pay(world, "BTC", 7)
    mine(world, "BTC", 3)
    await rounds(world)
    (row,) = await deposits(world, "BTC", txid)
    assert row.state == "frozen"
    assert "OVERFLOW" in row.reason
    assert world.watchers["BTC"]._state.view().frozen == 1
    await world.store.release_deposit(row.key, 1)
    mine(world, "BTC")
    await rounds(world)
    assert [row.state for row in await deposits(world, "BTC", txid)] == ["frozen"]
    await world.store.reject_deposit(row.key, "it stays out", 1)
    mine(world, "BTC")
    await rounds(world)
    assert [row.state for row in await deposits(world, "BTC", txid)] == ["rejected"]


async def test_a_frozen_asset_is_waited_for() -> None:
    """Its deposits stay validated, and are credited when it thaws."""
    world = world_of()
    await started(world)
    world.bank.tell(FreezeAsset("BTC", frozen=True))
    txid = pay(world, "BTC", 7)
    mine(world, "BTC", 3)
    await rounds(world)
    assert [row.state for row in await deposits(world, "BTC", txid)] == ["validated"]
    world.bank.tell(FreezeAsset("BTC", frozen=False))
    await rounds(world)
    assert [row.state for row in await deposits(world, "BTC", txid)] == ["fulfilled"]


async def test_a_deposit_that_is_mined_again_is_the_same_deposit() -> None:
    """Orphaned with its block, pending in the new one, credited once."""
    world = world_of()
    await started(world)
    host = world.hosts["bitcoin"]
    txid = pay(world, "BTC", 7)
    mine(world, "BTC", 2)
    await rounds(world)
    host.now(Reorg(1, 2, 2))
    await rounds(world)
    assert [row.state for row in await deposits(world, "BTC", txid)] == ["orphaned"]
    mine(world, "BTC")
    await rounds(world)
    assert [row.state for row in await deposits(world, "BTC", txid)] == ["pending"]
    mine(world, "BTC", 2)
    await rounds(world)
    assert [row.state for row in await deposits(world, "BTC", txid)] == ["fulfilled"]
    assert world.watchers["BTC"]._state.view().deepest_reorg == 2
    assert await frozen(world, "bitcoin") == ""


@pytest.mark.parametrize("asset", ASSETS)
async def test_a_reorganisation_as_deep_as_the_depth_is_taken(asset: str) -> None:
    """And one that is deeper freezes the chain, until an operator thaws it; then everything goes on."""
    world = world_of()
    await started(world)
    host = world.hosts[CHAIN_OF[asset]]
    unit = 10 ** (DECIMALS[asset] - SCALES[asset])
    txid = pay(world, asset, 70 * unit)
    mine(world, asset, DEPTHS[asset] + 1)
    await rounds(world)
    credited = balance(world, asset).available
    host.now(Reorg(1, DEPTHS[asset], DEPTHS[asset] + 1))
    await rounds(world)
    assert await frozen(world, CHAIN_OF[asset]) == ""
    host.now(Reorg(1, DEPTHS[asset] + 2, DEPTHS[asset] + 3, (txid,)))
    world.deep = True
    await rounds(world)
    assert "left the best chain" in await frozen(world, CHAIN_OF[asset])
    assert "frozen" in (world.watchers[asset]._state.paused or "")
    later = pay(world, asset, 5 * unit)
    mine(world, asset, DEPTHS[asset] + 1)
    await rounds(world)
    assert await deposits(world, asset, later) == []
    await world.store.thaw_chain(CHAIN_OF[asset])
    await rounds(world)
    # Other watchers of the chain find the same reorganisation, and each freezes it once.
    while await frozen(world, CHAIN_OF[asset]):
        await world.store.thaw_chain(CHAIN_OF[asset])
        await rounds(world)
    assert [row.state for row in await deposits(world, asset, later)] == ["fulfilled"]
    assert [row.state for row in await deposits(world, asset, txid)] == ["fulfilled"]
    assert balance(world, asset).available == credited + 5
    assert world.watchers[asset]._state.paused is None


async def test_a_reorganisation_farther_than_is_remembered_freezes_and_scans_anew() -> None:
    """Nothing is credited twice on the way."""
    world = world_of()
    await started(world)
    mine(world, "BTC", 120)
    await rounds(world, 8)
    before = balance(world, "BTC").available
    world.deep = True
    world.hosts["bitcoin"].now(Reorg(1, 119, 125))
    await rounds(world, 8)
    assert "farther back than is remembered" in await frozen(world, "bitcoin")
    await world.store.thaw_chain("bitcoin")
    await rounds(world, 10)
    assert await frozen(world, "bitcoin") == ""
    assert world.watchers["BTC"]._state.scanned == world.hosts["bitcoin"].chain.head
    assert balance(world, "BTC").available == before


async def test_a_node_that_lags_changes_nothing() -> None:
    """Nor does it count towards the depth."""
    world = world_of()
    await started(world)
    txid = pay(world, "BTC", 7)
    mine(world, "BTC", 2)
    await rounds(world)
    mine(world, "BTC")
    world.nodes["BTC"].faults = Faults(lag=1.0, lag_blocks=1)
    await rounds(world)
    assert [row.state for row in await deposits(world, "BTC", txid)] == ["pending"]
    assert world.watchers["BTC"]._state.view().deepest_reorg == 0
    world.nodes["BTC"].faults = Faults()
    await rounds(world)
    assert [row.state for row in await deposits(world, "BTC", txid)] == ["fulfilled"]


@pytest.mark.parametrize("lie", ["hash", "height", "parent"])
async def test_a_node_that_answers_something_else_is_not_believed(lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another block than was asked for, or one that is not the parent that it should be."""
    world = world_of()
    await started(world)
    node = world.nodes["BTC"]
    right = node.block
    if lie == "parent":
        world.hosts["bitcoin"].now(Reorg(1, 2, 3))
    else:
        mine(world, "BTC")

    async def wrong(block_hash: str) -> Block:
        block = await right(block_hash)
        at = block.id
        if lie == "hash":
            return evolve(block, id=BlockId(at.height, "00"))
        if lie == "height" or at != world.hosts["bitcoin"].chain.head:
            return evolve(block, id=BlockId(at.height + 7, at.hash))
        return block

    monkeypatch.setattr(node, "block", wrong)
    before = await world.store.scanned_blocks("BTC", 10)
    assert await world.turn("BTC") is not None
    assert await world.store.scanned_blocks("BTC", 10) == before
    monkeypatch.undo()
    await rounds(world)


async def test_two_accounts_with_one_address_are_nobodys() -> None:
    """An engine restored from a copy that has given an index again: nobody is credited until an operator has looked."""
    world = world_of()
    await started(world)
    rows = await world.store.addresses("bitcoin")
    rows[1] = evolve(rows[1], account=3)
    store = world.store
    world.lose_store()
    await world.store.add_addresses(rows)
    mine(world, "BTC")
    with pytest.raises(StoreConflict, match="account 3"):
        await world.turn("BTC")
    del store


# Withdrawals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asset", ASSETS)
async def test_a_withdrawal_goes_out(asset: str) -> None:
    """Signed, sent, mined, deep, settled: each with its receipt, the fee is the house's."""
    world = world_of()
    await started(world)
    before = balance(world, asset)
    withdrawal_id = await request(world, asset)
    assert balance(world, asset).held == 5_000_000 + FEES[asset]
    await rounds(world, 1)
    assert (await row_of(world, withdrawal_id)).state in ("signed", "broadcast")
    await rounds(world, 1)
    assert (await row_of(world, withdrawal_id)).state == "broadcast"
    mine(world, asset, DEPTHS[asset])
    await rounds(world)
    assert (await row_of(world, withdrawal_id)).state == "broadcast"
    mine(world, asset)
    await rounds(world)
    row = await row_of(world, withdrawal_id)
    assert row.state == "completed"
    assert row.receipt.startswith("1-")
    assert hold_state(world, withdrawal_id) == SETTLED
    after = balance(world, asset)
    assert (before.available - after.available, after.held) == (5_000_000 + FEES[asset], 0)
    await world.come_to_rest()
    await world.check_at_rest()


async def test_what_operators_decide_and_what_an_owner_takes_back() -> None:
    """Before it is signed a cancel wins; afterwards it does not; the hold is released once."""
    world = world_of(HeldBack("let me see"))
    await started(world)
    kept, cancelled, refused = [await request(world, "BTC") for _ in range(3)]
    await rounds(world)
    assert (await row_of(world, kept)).state == "awaiting_operator"
    for operator in ("ann", "ann", "ben"):
        await world.store.add_approval(kept, operator, 2, 1)
    await world.store.cancel_withdrawal(cancelled, "mine", 1)
    await world.store.reject_withdrawal(refused, "odd", 1)
    await rounds(world)
    assert [hold_state(world, each) for each in (kept, cancelled, refused)] == [HELD, RELEASED, RELEASED]
    with pytest.raises(StoreConflict):
        await world.store.cancel_withdrawal(kept, "mine", 1)
    await world.come_to_rest()
    assert hold_state(world, kept) == SETTLED
    assert (await row_of(world, cancelled)).receipt.startswith("1-")


async def test_a_policy_may_refuse() -> None:
    """The reason is in the row, and the hold is released."""
    world = world_of(Refused("not today"))
    await started(world)
    withdrawal_id = await request(world, "ETH")
    await rounds(world)
    row = await row_of(world, withdrawal_id)
    assert (row.state, row.reason) == ("rejected", "not today")
    assert hold_state(world, withdrawal_id) == RELEASED


async def test_nothing_is_signed_while_withdrawals_are_paused() -> None:
    """They wait, and go on."""
    world = world_of()
    await started(world)
    withdrawal_id = await request(world, "BTC")
    world.bank.tell(PauseWithdrawals(paused=True))
    await rounds(world)
    assert (await row_of(world, withdrawal_id)).state == "approved"
    assert "paused" in (world.withdrawals["bitcoin"]._state.paused or "")
    world.bank.tell(PauseWithdrawals(paused=False))
    await rounds(world)
    assert (await row_of(world, withdrawal_id)).state == "broadcast"


async def test_nothing_is_signed_before_the_watcher_has_caught_up() -> None:
    """Somebody else may have spent in the blocks that it has not seen."""
    world = world_of()
    await started(world)
    withdrawal_id = await request(world, "BTC")
    mine(world, "BTC", 3)
    for _ in range(3):
        assert await world.turn("bitcoin") is None
    assert "catch up" in (world.withdrawals["bitcoin"]._state.paused or "")
    assert (await row_of(world, withdrawal_id)).state == "requested"
    await rounds(world)
    assert (await row_of(world, withdrawal_id)).state == "broadcast"


@pytest.mark.parametrize("asset", ASSETS)
@pytest.mark.parametrize("mined", ["first", "second"])
async def test_a_stuck_one_is_replaced_and_paid_once(asset: str, mined: str) -> None:
    """The second shares an input or the nonce, so that only one of both is ever mined, whichever it is."""
    world = world_of()
    await started(world)
    host = world.hosts[CHAIN_OF[asset]]
    withdrawal_id = await request(world, asset)
    await rounds(world)
    (first,) = await world.store.withdrawal_txs(withdrawal_id)
    world.wall_ns += 60 * 10**9
    await rounds(world)
    _, second = await world.store.withdrawal_txs(withdrawal_id)
    assert set(first.inputs) <= set(second.inputs)
    assert first.nonce == second.nonce
    assert set(host.chain.pool) == {second.txid}
    if mined == "first":
        # Some miner had not heard of the second.
        host.chain.pool.pop(second.txid)
        host.now(Submit(first.raw))
    mine(world, asset, DEPTHS[asset] + 1)
    await rounds(world)
    row = await row_of(world, withdrawal_id)
    assert (row.state, row.txid) == ("completed", first.txid if mined == "first" else second.txid)


@pytest.mark.parametrize("asset", ASSETS)
async def test_one_that_every_node_forgot_is_sent_again(asset: str) -> None:
    """The same bytes."""
    world = world_of()
    await started(world)
    host = world.hosts[CHAIN_OF[asset]]
    await request(world, asset)
    await rounds(world)
    (txid,) = host.chain.pool
    host.chain.pool.clear()
    await rounds(world)
    assert list(host.chain.pool) == [txid]


async def test_a_transfer_that_fails_on_the_chain_is_given_up_at_depth() -> None:
    """Its nonce is used, it paid nobody: the hold is released, the chain is not frozen, the next one goes out."""
    world = world_of()
    await started(world)
    host = world.hosts["ethereum"]
    withdrawal_id = await request(world, "USDT")
    await rounds(world)
    # The tokens are gone when it is mined.
    host.chain.balances["USDT", HOT["ethereum"].address] = 0
    mine(world, "USDT")
    host.chain.balances["USDT", HOT["ethereum"].address] = 10**12
    await rounds(world)
    assert hold_state(world, withdrawal_id) == HELD
    mine(world, "USDT", DEPTHS["USDT"])
    await rounds(world)
    row = await row_of(world, withdrawal_id)
    assert (row.state, row.reason) == ("failed", "its transaction was mined and failed")
    assert hold_state(world, withdrawal_id) == RELEASED
    assert await frozen(world, "ethereum") == ""
    after = await request(world, "USDT")
    await world.come_to_rest()
    assert hold_state(world, after) == SETTLED


async def test_a_foreign_spend_of_the_hot_wallet_freezes_the_chain() -> None:
    """Nothing is signed any more, until an operator has looked; then it goes on."""
    world = world_of()
    await started(world)
    host = world.hosts["bitcoin"]
    point = next(point for point, (owner, _) in host.chain.unspent.items() if owner == HOT["bitcoin"].address)
    host.now(Submit(HOT["bitcoin"].sign(Tx("BTC", (("thief", 1),), ((point.txid, point.n),)))))
    mine(world, "BTC")
    for name in (*world.watchers, *world.withdrawals):
        assert await world.turn(name) is None
    assert "not ours" in await frozen(world, "bitcoin")
    withdrawal_id = await request(world, "BTC")
    assert await world.turn("bitcoin") is None
    assert await world.store.withdrawal(withdrawal_id) is None
    await world.store.thaw_chain("bitcoin")
    for _ in range(2):
        for name in (*world.watchers, *world.withdrawals):
            assert await world.turn(name) is None
    assert await frozen(world, "bitcoin") == ""
    assert (await row_of(world, withdrawal_id)).state == "broadcast"


async def test_a_foreign_nonce_of_the_hot_wallet_freezes_the_chain() -> None:
    """It is taken as known only once an operator says so in the configuration."""
    world = world_of()
    await started(world)
    host = world.hosts["ethereum"]
    tx = Tx("ETH", (("thief", 1),), sender=HOT["ethereum"].address, nonce=0, gas=21_000, max_fee=10**10)
    host.now(Submit(HOT["ethereum"].sign(tx)))
    mine(world, "ETH")
    for name in (*world.watchers, *world.withdrawals):
        assert await world.turn(name) is None
    assert "the nonce 0" in await frozen(world, "ethereum")
    await world.store.thaw_chain("ethereum")
    assert await world.turn("ethereum") is None
    assert "the nonce 0" in await frozen(world, "ethereum")
    world.first_nonce = 1
    await world.store.thaw_chain("ethereum")
    world.start()
    withdrawal_id = await request(world, "ETH", 5_000_001)
    for _ in range(2):
        for name in (*world.watchers, *world.withdrawals):
            assert await world.turn(name) is None
    assert await frozen(world, "ethereum") == ""
    (tx_row,) = await world.store.withdrawal_txs(withdrawal_id)
    assert tx_row.nonce == 1


async def test_a_nonce_that_somebody_else_used_gives_a_withdrawal_up_and_freezes() -> None:
    """At depth: it can never be mined. The chain waits for an operator, and the hold is released."""
    world = world_of()
    await started(world)
    host = world.hosts["ethereum"]
    withdrawal_id = await request(world, "ETH")
    await rounds(world)
    host.chain.pool.clear()
    tx = Tx("ETH", (("thief", 1),), sender=HOT["ethereum"].address, nonce=0, gas=21_000, max_fee=10**10)
    host.now(Submit(HOT["ethereum"].sign(tx)))
    mine(world, "ETH", DEPTHS["ETH"] + 1)
    for _ in range(2):
        for name in (*world.watchers, *world.withdrawals):
            await world.turn(name)
    assert "not ours" in await frozen(world, "ethereum")
    assert (await row_of(world, withdrawal_id)).state == "failed"
    await world.store.thaw_chain("ethereum")
    await world.turn("ethereum")
    assert hold_state(world, withdrawal_id) == RELEASED


@pytest.mark.parametrize("asset", ASSETS)
async def test_a_withdrawal_that_the_hot_wallet_cannot_pay_waits(asset: str) -> None:
    """And says so; a refill lets it go."""
    world = world_of()
    await started(world)
    host, hot = world.hosts[CHAIN_OF[asset]], HOT[CHAIN_OF[asset]].address
    world.bank.tell(CreditDeposit("test|much", ALICE, asset, 2**50))
    withdrawal_id = await request(world, asset, 2**49)
    await rounds(world)
    paused = world.withdrawals[CHAIN_OF[asset]]._state.paused or ""
    assert withdrawal_id in paused
    assert hold_state(world, withdrawal_id) == HELD
    host.now(Pay(asset, ((hot, 2**49 * 10 ** (DECIMALS[asset] - SCALES[asset]) + 10**20),)))
    mine(world, asset, DEPTHS[asset] + 1)
    await rounds(world)
    assert (await row_of(world, withdrawal_id)).state == "broadcast"


async def test_an_address_that_is_none_is_refused_and_released() -> None:
    """Whatever let it into the engine."""
    world = world_of()
    await started(world)
    world.bank.tell(RequestWithdrawal(ALICE, 0, 0, "odd", "BTC", "somewhere", 294))
    withdrawal = world.bank.engine.state.withdrawals.named(ALICE, "odd")
    assert withdrawal is not None
    await rounds(world, 3)
    row = await row_of(world, withdrawal.withdrawal_id)
    assert row.state in ("rejected", "broadcast")


# Every place for a crash ----------------------------------------------------------------------------------------------


async def one_of_each(world: ChainWorld) -> None:
    """A deposit, a withdrawal and a reorganisation on each chain."""
    for asset in ASSETS:
        mine(world, asset, DEPTHS[asset] + 1)
    await some_rounds(world, 2)
    for asset in ASSETS:
        await request(world, asset)
        pay(world, asset, 7 * 10 ** (DECIMALS[asset] - SCALES[asset]))
    await some_rounds(world, 2)
    for chain, host in world.hosts.items():
        host.now(Mine(1, 2))
        await some_rounds(world, 1)
        host.now(Reorg(1, 2, 3))
        host.now(Mine(1, DEPTHS[COIN_OF[chain]] + 1))
    await some_rounds(world, 3)


async def some_rounds(world: ChainWorld, many: int) -> None:
    """Whatever becomes of each."""
    for _ in range(many):
        for name in (*world.watchers, *world.withdrawals):
            await world.turn(name)
        world.check_always()


def places() -> int:
    """How many calls to the store or the engine there are in `one_of_each`, each with a before and an after."""
    world = ChainWorld(1)
    trio.run(one_of_each, world)
    return world.chance.places


@pytest.mark.parametrize("part", range(10))
def test_a_crash_before_and_after_every_call(part: int) -> None:
    """Of a life with everything in it: nothing is lost or done twice, whichever call it is."""

    async def life(world: ChainWorld) -> None:
        await one_of_each(world)
        await world.come_to_rest()
        await world.check_at_rest()

    for place in range(part, places(), 10 * count(12, 1)):
        world = ChainWorld(1)
        world.chance.crash_at = place
        trio.run(life, world)
        assert sum(world.chance.hits.values()) == 1


# What it costs --------------------------------------------------------------------------------------------------------


async def test_a_poller_that_finds_nothing_asks_little() -> None:
    """One question to the store for a watcher, and a few for a chain's withdrawals, at each look."""
    world = world_of()
    await started(world)
    await rounds(world, 3)
    for name, most in (("BTC", 1), ("ETH", 1), ("USDT", 1), ("bitcoin", 2), ("ethereum", 3)):
        world.store.calls.clear()
        assert await world.turn(name) is None
        assert world.store.calls.total() <= most, (name, world.store.calls)


async def test_a_block_without_deposits_is_one_transaction() -> None:
    """Beside the one question whether the chain is frozen."""
    world = world_of()
    await started(world)
    await rounds(world, 3)
    mine(world, "BTC", 3)
    world.store.calls.clear()
    assert await world.turn("BTC") is None
    assert world.store.calls["add_block"] == 3
    assert world.store.calls.total() <= 3 + 4


async def test_unavailable_means_later() -> None:
    """What a node cannot answer now is asked again in the next round."""
    world = world_of()
    world.nodes["BTC"].faults = Faults(unavailable=1.0)
    with pytest.raises(NodeUnavailable):
        await world.watchers["BTC"].begin()
    assert await world.turn("BTC") == "BTC: the node does not answer"
    world.nodes["BTC"].faults = Faults()
    assert await world.turn("BTC") is None

"""Seeds of simulated chains: whatever fails, crashes or is reorganised, no unit is created, lost or doubled.

`python -m tests.test_chains_simulated` says what went wrong how often in the seeds of `make test`.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors.hot_wallet import AccountsWallet, OutputsWallet
from actors.watcher import Watcher
from actors.withdrawals import Withdrawals
from book.commands import SettleWithdrawal
from chains import scanner
from chains.scanner import Converted, Depth
from chains.simulated_chain import Mine, Pay, Reorg, Submit, Tx
from tests.counts import seeds
from tests.simulation.chains import CHAIN_OF, HOT, ChainWorld, live

STEPS = 100
AT_ONCE = 10

Body = Callable[[ChainWorld], Awaitable[None]]


def run(world: ChainWorld, body: Body) -> ChainWorld:
    """On virtual time."""
    trio.run(body, world, clock=MockClock(autojump_threshold=0))
    return world


async def whole_life(world: ChainWorld) -> None:
    """To its end."""
    await live(world, STEPS)
    await world.come_to_rest()
    await world.check_at_rest()


@pytest.mark.parametrize("some", range(0, len(seeds(500, 20_000)), AT_ONCE))
def test_money_is_conserved(some: int) -> None:
    """Each unit is credited once, paid once and accounted for, and everything gets where it belongs."""
    for seed in seeds(500, 20_000)[some : some + AT_ONCE]:
        try:
            run(ChainWorld(seed), whole_life)
        except BaseException as error:
            error.add_note(f"TALLYSTICK_SEED={seed} repeats it")
            raise


@pytest.mark.parametrize("some", range(0, len(seeds(50, 2_000)), AT_ONCE))
def test_reorganisations_deeper_than_the_depth_freeze_the_chain(some: int) -> None:
    """Even then nothing is credited or paid twice; and a chain that lost a credited deposit waits for an operator."""

    async def life(world: ChainWorld) -> None:
        await live(world, STEPS)
        world.calm()
        for _ in range(3):
            for name in (*world.watchers, *world.withdrawals):
                await world.turn(name)
        frozen = {each.chain for each in await world.store.frozen_chains()}
        for credit in world.credited.values():
            chain = CHAIN_OF[credit.asset]
            if credit.payment.txid not in world.hosts[chain].chain.mined:
                assert chain in frozen

    for seed in seeds(50, 2_000)[some : some + AT_ONCE]:
        run(ChainWorld(seed, deep=True), life)


# Restored -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", seeds(20, 500))
def test_a_lost_store_is_rebuilt_from_the_chain(seed: int) -> None:
    """Scanned again from the beginning: the same balances, nothing credited twice, and withdrawals go on."""

    async def life(world: ChainWorld) -> None:
        await whole_life(world)
        before = world.bank.engine.totals()
        known = dict(world.credited)
        world.lose_store()
        await world.come_to_rest()
        assert world.bank.engine.totals() == before
        assert world.credited == known
        for asset in CHAIN_OF:
            rows = await world.store.deposits(asset, "fulfilled")
            credited = [row for row in rows if row.units]
            assert {row.key.id for row in credited} == {name for name, each in known.items() if each.asset == asset}
        await whole_life(world)

    run(ChainWorld(seed), life)


@pytest.mark.parametrize("seed", seeds(20, 500))
def test_an_engine_restored_from_an_older_copy_is_told_what_it_lost(seed: int) -> None:
    """Credits are offered again, payments settled again, addresses allocated again: every unit is accounted for."""

    async def life(world: ChainWorld) -> None:
        await live(world, STEPS // 2)
        copy = world.bank.engine.dump()
        await live(world, STEPS // 2)
        world.calm()
        world.restore_engine(copy)
        await world.come_to_rest()
        await world.check_at_rest()

    run(ChainWorld(seed), life)


@pytest.mark.parametrize("seed", seeds(20, 500))
def test_a_lost_store_with_withdrawals_on_their_way_freezes_the_chain(seed: int) -> None:
    """Some may be paid already: nothing is signed until an operator has looked."""

    async def life(world: ChainWorld) -> None:
        await live(world, STEPS)
        world.calm()
        held = {chain for chain, _ in world.bank.engine.state.withdrawals.all_pending()}
        world.lose_store()
        sent = [len(host.chain.pool) for host in world.hosts.values()]
        for name in (*world.withdrawals, *world.watchers, *world.withdrawals):
            await world.turn(name)
        assert held == {each.chain for each in await world.store.frozen_chains()}
        assert sent == [len(host.chain.pool) for host in world.hosts.values()]

    run(ChainWorld(seed), life)


# Planted bugs ---------------------------------------------------------------------------------------------------------


def caught(match: str, body: Body = whole_life, most: int = 40) -> None:
    """One of so many lives finds it."""

    def lives() -> None:
        for seed in range(most):
            run(ChainWorld(seed), body)

    with pytest.raises(AssertionError, match=match):
        lives()


def test_a_planted_bug_that_credits_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is in a block counts."""
    monkeypatch.setattr(Depth, "reached", lambda *_: True)
    caught("was credited too early")


def test_a_planted_bug_that_credits_another_amount(monkeypatch: pytest.MonkeyPatch) -> None:
    """One unit more than was paid."""
    right = scanner.to_engine

    def wrong(*amounts: int) -> Converted:
        converted = right(*amounts)
        return Converted(converted.amount + 1, converted.dust)

    monkeypatch.setattr("actors.watcher.scanner.to_engine", wrong)
    caught("not the amount")


def test_a_planted_bug_that_credits_twice() -> None:
    """The same payment under another id."""

    async def life(world: ChainWorld) -> None:
        for line in {watcher._line for watcher in world.watchers.values()}:
            right = line.credit

            async def wrong(deposits: Any, right: Any = right) -> Any:
                outcomes = await right(deposits)
                again = [type(each)(f"{each.deposit_id}x", each.account, each.asset, each.amount) for each in deposits]
                await right(again)
                return outcomes

            line.credit = wrong  # type: ignore[method-assign]
        await whole_life(world)

    caught("is on the chain 0 times", life)


def test_a_planted_bug_that_gives_a_paid_withdrawal_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hold is released, and it is mined all the same."""
    asked: Counter[str] = Counter()

    async def dead(_wallet: object, txs: Any, _tip: object) -> bool:
        asked[txs[0].txid] += 1
        return asked[txs[0].txid] > 1  # it was sent after the first look

    async def no(*_: object) -> None:
        """And nobody is told."""

    for wallet in (OutputsWallet, AccountsWallet):
        monkeypatch.setattr(wallet, "is_dead", dead)
    monkeypatch.setattr(Withdrawals, "_freeze", no)
    caught("its hold was released")


def test_a_planted_bug_that_pays_twice() -> None:
    """Somebody signs the same payment once more with the next nonce."""

    async def life(world: ChainWorld) -> None:
        await live(world, STEPS)
        world.calm()
        host = world.hosts["ethereum"]
        for txid in host.chain.mined:
            tx = host.chain.transaction(txid)
            if tx is not None and tx.sender:
                nonce = host.chain.nonces[tx.sender]
                again = Tx(tx.asset, tx.pays, sender=tx.sender, nonce=nonce, gas=21_000, max_fee=10**10)
                host.now(Submit(HOT["ethereum"].sign(again)))
                host.now(Mine(0, 3))
                break
        world.check_always()

    caught("was paid 2 times", life)


def test_a_planted_bug_that_loses_a_unit() -> None:
    """The hot wallet has more than the books say."""

    async def life(world: ChainWorld) -> None:
        await live(world, STEPS)
        world.hosts["ethereum"].now(Pay("ETH", ((HOT["ethereum"].address, 1),)))
        await world.come_to_rest()
        await world.check_at_rest()

    caught("hot wallet", life)


def test_a_planted_bug_that_settles_what_was_not_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine is told of a payment that is only signed."""
    right = Withdrawals._send

    async def wrong(self: Withdrawals, row: Any, tx: Any) -> Any:
        await self._line.tell(SettleWithdrawal(row.id, tx.txid))
        return await right(self, row, tx)

    monkeypatch.setattr(Withdrawals, "_send", wrong)
    caught("not on the chain")


def test_a_planted_bug_that_forgets_deposits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is credited any more: it does not come to rest."""

    async def nothing(*_: object) -> None:
        """Credit nobody."""

    monkeypatch.setattr(Watcher, "_credit", nothing)
    caught("still on their way", most=1)


def test_a_planted_bug_that_does_not_see_a_deep_reorganisation() -> None:
    """A credited deposit leaves the chain: the check for that can fail."""

    async def life(world: ChainWorld) -> None:
        await whole_life(world)
        host = world.hosts["bitcoin"]
        txids = tuple(txid for txid in host.chain.mined if txid not in _genesis(world))
        host.now(Reorg(0, host.chain.head.height, host.chain.head.height + 1, txids))
        world.check_always()

    caught("not on the chain", life)


def _genesis(world: ChainWorld) -> list[str]:
    return [txid for txid, mined in world.hosts["bitcoin"].chain.mined.items() if mined.block.height == 0]


def main() -> None:
    """Count what goes wrong."""
    hits: Counter[str] = Counter()
    for seed in range(500):
        world = run(ChainWorld(seed), whole_life)
        hits.update(world.chance.hits)
        hits["crashes of the process"] += world.restarts - 1
        hits["credits"] += len(world.credited)
        hits["withdrawals"] += len(world.bank.engine.state.withdrawals.all())
    for what, count in sorted(hits.items()):
        print(f"{count:6} {what}")  # noqa: T201 - its purpose


if __name__ == "__main__":
    main()

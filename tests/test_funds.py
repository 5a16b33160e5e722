"""What clients are told of deposits and withdrawals where the store is slow or away, and by whom it is held up."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve

from persistence.txstore import DepositRow, StoreUnavailable, WithdrawalRow
from tallystick import demo_chains
from tests.in_process import Connection, Running, running
from tests.test_money_live import OUTSIDE, withdrawal


class StuckStore:
    """In place of a store's answers: none until it is let go, or that it is away."""

    def __init__(self) -> None:
        self.let_go = trio.Event()
        self.reached = trio.Event()
        self.asked = 0
        self.most = 0
        self.away = False

    async def wait(self) -> None:
        """As long as it takes."""
        self.reached.set()
        self.asked += 1
        self.most = max(self.most, self.asked)
        try:
            if self.away:
                raise StoreUnavailable("nobody is there")
            await self.let_go.wait()
        finally:
            self.asked -= 1

    async def deposits_of(self, account: int, limit: int, before_ns: int | None = None) -> list[DepositRow]:
        """As `ChainStore.deposits_of`, of one that has none."""
        assert (account, limit, before_ns) == (1, 1_000, None)
        await self.wait()
        return []

    async def withdrawal(self, _withdrawal_id: str) -> WithdrawalRow | None:
        """As `ChainStore.withdrawal`, of one that has none."""
        await self.wait()
        return None


def stuck(exchange: Running, monkeypatch: pytest.MonkeyPatch) -> StuckStore:
    """The exchange's store, for clients, from now on."""
    store = StuckStore()
    for name in ("deposits_of", "withdrawal"):
        monkeypatch.setattr(exchange.store, name, getattr(store, name))
    return store


@pytest.fixture(autouse=True)
def slow_chains(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing happens on the chains meanwhile."""
    monkeypatch.setattr(demo_chains, "POLL_SECONDS", 3_600.0)
    monkeypatch.setattr(demo_chains, "BLOCK_SECONDS", 3_600.0)
    return iter([None])


def impatient(config: Any) -> Any:
    """Clients wait for a tenth of a second, two of them at a time."""
    return evolve(config, gateway=evolve(config.gateway, funds=evolve(config.gateway.funds, seconds=0.1, at_once=2)))


async def codes_of(client: Connection, *methods: str) -> list[int]:
    """Statuses, or codes of errors, of requests that are sent at once."""
    for method in methods:
        await client.send(method, **({"withdrawOrderId": "w"} if method == "withdraw.status" else {}))
    replies = [await client.receive() for _ in methods]
    assert [reply["id"] for reply in replies] == sorted(reply["id"] for reply in replies)
    return [reply["status"] if reply["status"] == 200 else reply["error"]["code"] for reply in replies]


async def test_an_answer_that_does_not_come_holds_up_the_others_no_longer_than_its_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In order: what is before it is answered, it is -1007, what is behind it goes on."""
    async with running(tmp_path / "data", chains=True, adjust=impatient) as exchange:
        alice, bob = await exchange.client(), await exchange.client("bob")
        stuck(exchange, monkeypatch)
        assert await codes_of(alice, "ping", "deposit.history", "account.status") == [200, -1007, 200]
        assert await codes_of(bob, "account.status") == [200]


async def test_others_trade_while_one_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer comes when the store's does."""
    async with running(tmp_path / "data", chains=True) as exchange:
        alice, bob = await exchange.client(), await exchange.client("bob")
        store = stuck(exchange, monkeypatch)
        await alice.send("deposit.history")
        await store.reached.wait()
        assert await codes_of(bob, "account.status") == [200]
        store.let_go.set()
        assert (await alice.receive())["result"] == {"deposits": []}


async def test_only_so_many_questions_are_with_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others wait their turn, within the same deadline."""
    async with running(tmp_path / "data", chains=True, adjust=impatient) as exchange:
        alice = await exchange.client()
        store = stuck(exchange, monkeypatch)
        assert await codes_of(alice, *["deposit.history"] * 5) == [-1007] * 5
        assert store.most <= 2
        assert store.asked == 0


async def test_a_store_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is -1007 at once; a withdrawal is taken all the same, as that needs the engine alone."""
    async with running(tmp_path / "data", chains=True) as exchange:
        alice = await exchange.client()
        stuck(exchange, monkeypatch).away = True
        assert await codes_of(alice, "deposit.history") == [-1007]
        reply = await alice.ask("withdraw.apply", **withdrawal("w", "0.5", address=OUTSIDE))
        assert reply["result"]["status"] == "REQUESTED"
        assert await codes_of(alice, "withdraw.status", "account.status") == [-1007, 200]

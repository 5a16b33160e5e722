"""Money in and out of a running demo exchange, on its simulated chains: clients, operators and both together."""

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import trio
from typer.testing import CliRunner

from chains.simulated import SimulatedAddresses
from persistence.txstore import DepositKey
from tallystick import admin, demo_chains
from tallystick.cli import app
from tallystick.demo_chains import BITCOIN_PREFIX, ETHEREUM_PREFIX
from tests.in_process import Connection, buy, running

OUTSIDE = SimulatedAddresses(BITCOIN_PREFIX, "somebody outside").address(7)
OUTSIDE_ETH = SimulatedAddresses(ETHEREUM_PREFIX, "somebody outside").address(7)
ANN, BEA = 7001, 7002


@pytest.fixture(autouse=True)
def quick_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody wants to wait for the demo's blocks."""
    monkeypatch.setattr(demo_chains, "BLOCK_SECONDS", 0.4)
    monkeypatch.setattr(demo_chains, "POLL_SECONDS", 0.1)


async def until(look: Callable[[], Awaitable[Any]], wanted: Callable[[Any], bool]) -> Any:
    """What is seen once it is as wanted. The deadline is for a failure only."""
    with trio.fail_after(60):
        while True:
            seen = await look()
            if wanted(seen):
                return seen
            await trio.sleep(0.02)


async def result(client: Connection, method: str, **params: Any) -> Any:
    """Of a request that is done."""
    reply = await client.ask(method, **params)
    assert reply["status"] == 200, reply
    return reply["result"]


async def error(client: Connection, method: str, **params: Any) -> tuple[int, str | None]:
    """Code and reason of a request that is refused."""
    reply = await client.ask(method, **params)
    assert reply["status"] != 200, reply
    return reply["error"]["code"], reply["error"].get("reason")


async def free(client: Connection, asset: str) -> str:
    """What the account can dispose of."""
    rows = (await result(client, "account.status"))["balances"]
    return str({row["asset"]: row["free"] for row in rows}[asset])


def withdrawal(name: str, amount: str, **more: Any) -> dict[str, Any]:
    """The params of a withdrawal of BTC."""
    return {"asset": "BTC", "address": OUTSIDE, "amount": amount, "withdrawOrderId": name, **more}


async def seen_as(client: Connection, name: str, status: str) -> Any:
    """A withdrawal once it has this status."""
    return await until(
        lambda: result(client, "withdraw.status", withdrawOrderId=name), lambda found: found["status"] == status
    )


async def test_a_deposit_is_credited_once_it_is_deep_enough(tmp_path: Path) -> None:
    """The address is the account's for good; the history shows the deposit with its receipt, and all adds up."""
    async with running(tmp_path / "data", chains=True) as exchange:
        operator, alice, bob = await exchange.operator(), await exchange.client(), await exchange.client("bob")
        address = (await result(alice, "deposit.address", asset="ETH"))["address"]
        assert (await result(alice, "deposit.address", asset="USDT"))["address"] == address
        assert (await result(bob, "deposit.address", asset="ETH"))["address"] != address
        assert (await result(alice, "deposit.history"))["deposits"] == []
        await operator.said(f"demo.pay ETH {address} 1.5")

        async def look() -> Any:
            return (await result(alice, "deposit.history", asset="ETH"))["deposits"]

        (deposit,) = await until(look, lambda rows: bool(rows) and rows[0]["status"] == "FULFILLED")
        assert (deposit["asset"], deposit["amount"], deposit["address"]) == ("ETH", "1.500000000", address)
        assert deposit["receipt"].startswith("1-")
        assert await free(alice, "ETH") == "20001.500000000"
        assert (await result(bob, "deposit.history"))["deposits"] == []
        (row,) = (await operator.said("reconcile ETH"))["reconciled"]
        assert (row["asset"], row["difference"], row["unswept"]) == ("ETH", "0." + "0" * 18, "1.5" + "0" * 17)


async def test_a_small_withdrawal_goes_out_by_itself(tmp_path: Path) -> None:
    """Held, paid once, settled: the amount is gone, the fee is the house's; asked for again, nothing more happens."""
    async with running(tmp_path / "data", chains=True) as exchange:
        operator, alice = await exchange.operator(), await exchange.client()
        asked = await result(alice, "withdraw.apply", **withdrawal("w1", "0.5"))
        assert (asked["status"], asked["amount"], asked["fee"]) == ("REQUESTED", "0.50000000", "0.00010000")
        assert await free(alice, "BTC") == "999.49990000"
        assert await error(alice, "withdraw.apply", **withdrawal("w1", "0.5")) == (-4001, "DUPLICATE_WITHDRAWAL")
        assert await error(alice, "withdraw.apply", **withdrawal("w1", "0.6")) == (-4001, "WITHDRAWAL_DIFFERS")
        done = await seen_as(alice, "w1", "COMPLETED")
        assert done["txId"]
        assert (await result(alice, "withdraw.history", asset="BTC"))["withdrawals"] == [done]
        assert (await result(alice, "withdraw.history", asset="ETH"))["withdrawals"] == []
        rows = (await result(alice, "account.status"))["balances"]
        assert rows[0] == {"asset": "BTC", "free": "999.49990000", "locked": "0.00000000"}
        assert (await operator.said("balances house"))["balances"] == [
            {"asset": "BTC", "free": "0.00010000", "locked": "0.00000000"}
        ]
        rows = (await operator.said("reconcile"))["reconciled"]
        assert [(row["asset"], float(row["difference"])) for row in rows] == [("BTC", 0), ("ETH", 0), ("USDT", 0)]
        assert float(rows[0]["minerFees"]) > 0
        assert await error(alice, "withdraw.cancel", withdrawOrderId="w1") == (-4001, "TOO_LATE")


async def test_a_large_withdrawal_waits_for_two_operators(tmp_path: Path) -> None:
    """One of them twice is refused, and so is whoever comes when it is approved; and an outsider."""
    async with running(tmp_path / "data", chains=True, operators=(ANN, BEA)) as exchange:
        ann, bea, alice = await exchange.operator(ANN), await exchange.operator(BEA), await exchange.client()
        asked = await result(alice, "withdraw.apply", **withdrawal("big", "2"))
        await seen_as(alice, "big", "AWAITING_OPERATOR")
        (row,) = (await ann.said("withdrawal.list"))["withdrawals"]
        assert (row["id"], row["state"], row["amount"]) == (asked["withdrawalId"], "awaiting_operator", "2.00000000")
        assert "the limit for one withdrawal" in row["reason"]
        once = await ann.said(f"withdrawal.approve {row['id']}")
        assert (once["state"], once["approvals"]) == ("awaiting_operator", f"uid-{ANN}")
        assert "another operator has to" in await ann.refused(f"withdrawal.approve {row['id']}")
        twice = await bea.said(f"withdrawal.approve {row['id']}")
        assert (twice["state"], twice["approvals"]) == ("approved", f"uid-{ANN},uid-{BEA}")
        assert "does not wait for operators" in await bea.refused(f"withdrawal.approve {row['id']}")
        await seen_as(alice, "big", "COMPLETED")
        assert "there is no transaction" in await ann.refused(f"withdrawal.bump {row['id']}")
        assert "not as it stands" in await ann.refused(f"withdrawal.reject {row['id']} late")


async def test_who_rejects_or_cancels_in_time_gives_the_money_back(tmp_path: Path) -> None:
    """The row decides, once: a cancelled one cannot be approved, and a rejected one not cancelled."""
    async with running(tmp_path / "data", chains=True, operators=(ANN, BEA)) as exchange:
        ann, alice = await exchange.operator(ANN), await exchange.client()
        for name in ("mine", "theirs"):
            await result(alice, "withdraw.apply", **withdrawal(name, "3"))
        cancelled = await result(alice, "withdraw.cancel", withdrawOrderId="mine")
        assert (cancelled["status"], cancelled["reason"]) == ("CANCELLED", "cancelled by its owner")
        assert await free(alice, "BTC") == "996.99990000"
        assert await error(alice, "withdraw.cancel", withdrawOrderId="mine") == (-4001, "TOO_LATE")
        assert await error(alice, "withdraw.cancel", withdrawOrderId="none") == (-4001, "UNKNOWN_WITHDRAWAL")
        assert await error(alice, "withdraw.status", withdrawOrderId="none") == (-4001, "UNKNOWN_WITHDRAWAL")
        assert "is cancelled" in await ann.refused(f"withdrawal.approve {cancelled['withdrawalId']}")
        theirs = await result(alice, "withdraw.status", withdrawOrderId="theirs")
        await until(lambda: ann.said("withdrawal.list"), lambda found: bool(found["withdrawals"]))
        rejected = await ann.said(f"withdrawal.reject {theirs['withdrawalId']} 'the owner was called'")
        assert (rejected["state"], rejected["reason"]) == ("rejected", "the owner was called")
        await until(lambda: free(alice, "BTC"), lambda found: found == "1000.00000000")
        assert (await result(alice, "withdraw.status", withdrawOrderId="theirs"))["status"] == "REJECTED"


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"amount": "-1"}, (-1130, None)),
        ({"amount": "0"}, (-4001, "MIN_WITHDRAWAL")),
        ({"amount": "0.00049999"}, (-4001, "MIN_WITHDRAWAL")),
        ({"amount": "0.123456789"}, (-1111, None)),
        ({"amount": "1e3"}, (-1130, None)),
        ({"amount": "1000"}, (-4001, "INSUFFICIENT_BALANCE")),
        ({"amount": "46116860184.27387904"}, (-4001, "OVERFLOW")),
        ({"address": "nowhere"}, (-4002, None)),
        ({"address": OUTSIDE_ETH}, (-4002, None)),
        ({"address": OUTSIDE[:-1] + ("0" if OUTSIDE[-1] != "0" else "1")}, (-4002, None)),
        ({"asset": "DOGE"}, (-1130, "UNKNOWN_ASSET")),
        ({"withdrawOrderId": "two words"}, (-1130, None)),
        ({"withdrawOrderId": ""}, (-1130, None)),
        ({"timestamp": 1}, (-1021, None)),
    ],
)
async def test_what_is_not_paid_out(tmp_path: Path, params: dict[str, Any], expected: tuple[int, str | None]) -> None:
    """Amounts below, above and between; addresses of nobody, of another chain, mistyped. Nothing is held for them."""
    async with running(tmp_path / "data", chains=True) as exchange:
        alice = await exchange.client()
        assert await error(alice, "withdraw.apply", **{**withdrawal("w", "1"), **params}) == expected
        assert await free(alice, "BTC") == "1000.00000000"
        assert (await result(alice, "withdraw.history"))["withdrawals"] == []


async def test_a_withdrawal_races_an_order_for_the_same_funds(tmp_path: Path) -> None:
    """Sent together, whoever is first has them, and the other one is told; nothing is held twice."""
    async with running(tmp_path / "data", chains=True) as exchange:
        alice = await exchange.client()
        sell = {**buy("999.9999", "60000"), "side": "SELL"}
        for place, (first, second) in enumerate([("withdraw.apply", "order.place"), ("order.place", "withdraw.apply")]):
            params = {"order.place": sell, "withdraw.apply": withdrawal(f"race-{place}", "999")}
            for method in (first, second):
                await alice.send(method, **params[method])
            done, refused = await alice.receive(), await alice.receive()
            assert (done["status"], refused["error"]["reason"]) == (200, "INSUFFICIENT_BALANCE")
            await result(alice, "openOrders.cancelAll")
            if first == "withdraw.apply":
                await result(alice, "withdraw.cancel", withdrawOrderId=f"race-{place}")
            assert await free(alice, "BTC") == "1000.00000000"


async def test_paused_withdrawals(tmp_path: Path) -> None:
    """None is requested, and what is under way is not sent; resumed, all goes on. It outlives a restart."""
    async with running(tmp_path / "data", chains=True) as exchange:
        operator, alice = await exchange.operator(), await exchange.client()
        assert (await operator.said("withdrawals.pause"))["paused"] is True
        assert "it is so already" in await operator.refused("withdrawals.pause")
        assert await error(alice, "withdraw.apply", **withdrawal("w1", "0.5")) == (-4001, "WITHDRAWALS_PAUSED")
    async with running(tmp_path / "data", chains=True) as exchange:
        operator, alice = await exchange.operator(), await exchange.client()
        assert await error(alice, "withdraw.apply", **withdrawal("w1", "0.5")) == (-4001, "WITHDRAWALS_PAUSED")
        await operator.said("withdrawals.resume")
        await result(alice, "withdraw.apply", **withdrawal("w1", "0.5"))
        await seen_as(alice, "w1", "COMPLETED")


async def test_a_frozen_account_and_a_frozen_asset(tmp_path: Path) -> None:
    """Pay nothing out; what is paid in to a frozen asset is credited when it is thawed."""
    async with running(tmp_path / "data", chains=True) as exchange:
        operator, alice = await exchange.operator(), await exchange.client()
        await operator.said("account.freeze alice")
        assert await error(alice, "withdraw.apply", **withdrawal("w1", "0.5")) == (-4001, "ACCOUNT_FROZEN")
        await operator.said("account.thaw alice")
        await operator.said("asset.freeze BTC")
        assert await error(alice, "withdraw.apply", **withdrawal("w1", "0.5")) == (-4001, "ASSET_FROZEN")
        address = (await result(alice, "deposit.address", asset="BTC"))["address"]
        await operator.said(f"demo.pay BTC {address} 0.25")
        rows = await until(lambda: operator.said("deposit.list validated BTC"), lambda found: bool(found["deposits"]))
        assert [row["amount"] for row in rows["deposits"]] == ["0.25000000"]
        assert await free(alice, "BTC") == "1000.00000000"
        await operator.said("asset.thaw BTC")
        await until(lambda: free(alice, "BTC"), lambda found: found == "1000.25000000")


async def test_operators_decide_about_a_frozen_deposit(tmp_path: Path) -> None:
    """Released it is credited, rejected it never is; what is there and not owed is shown, and all adds up."""
    async with running(tmp_path / "data", chains=True) as exchange:
        operator, alice = await exchange.operator(), await exchange.client()
        address = (await result(alice, "deposit.address", asset="BTC"))["address"]
        await operator.said("asset.freeze BTC")  # so that they stay where they can be frozen
        for amount in ("0.25", "0.125"):
            await operator.said(f"demo.pay BTC {address} {amount}")
        listed = await until(lambda: operator.said("deposit.list validated"), lambda found: len(found["deposits"]) == 2)
        for row in listed["deposits"]:
            assert await exchange.store.freeze_deposit(_key(row["id"]), "looked odd", 1)
        good, bad = (await operator.said("deposit.list"))["deposits"]
        assert (good["state"], good["reason"], bad["state"]) == ("frozen", "looked odd", "frozen")
        (sums,) = (await operator.said("reconcile BTC"))["reconciled"]
        assert (sums["stuck"], sums["difference"]) == ("0.37500000", "0.00000000")
        await operator.said("asset.thaw BTC")
        assert (await operator.said(f"deposit.reject {bad['id']} 'stolen elsewhere'"))["changed"] is True
        assert (await operator.said(f"deposit.release {good['id']}"))["changed"] is True
        paid = f"{1000 + float(good['amount']):.8f}"
        await until(lambda: free(alice, "BTC"), lambda found: found == paid)
        statuses = [row["status"] for row in (await result(alice, "deposit.history"))["deposits"]]
        assert sorted(statuses) == ["FULFILLED", "REJECTED"]
        assert "not as it stands" in await operator.refused(f"deposit.reject {good['id']} late")
        assert "chain:transaction:place" in await operator.refused("deposit.release nonsense")
        (sums,) = (await operator.said("reconcile BTC"))["reconciled"]
        assert (sums["stuck"], sums["difference"]) == (bad["amount"], "0.00000000")


def _key(deposit_id: str) -> DepositKey:
    chain, txid, place = deposit_id.split(":")
    return DepositKey(chain, txid, int(place))


async def test_money_that_moved_past_the_exchange_is_found(tmp_path: Path) -> None:
    """What somebody pays into the hot wallet, or a balance that nothing stands behind."""
    async with running(tmp_path / "data", chains=True) as exchange:
        operator = await exchange.operator()
        await operator.said(f"demo.pay BTC {demo_chains.HOT['bitcoin'].address} 1.5")
        await operator.said("demo.mine BTC")
        (row,) = (await operator.said("reconcile BTC"))["reconciled"]
        assert row["difference"] == "1.50000000"
        await operator.said("credit alice BTC 2")
        (row,) = (await operator.said("reconcile BTC"))["reconciled"]
        assert row["difference"] == "-0.50000000"
        assert "DOGE" in await operator.refused("reconcile DOGE")


@pytest.mark.parametrize(("difference", "code"), [("0.00000000", 0), ("-0.00000001", 1), ("3.00000000", 1)])
def test_the_command_exits_with_1_on_a_difference(monkeypatch: pytest.MonkeyPatch, difference: str, code: int) -> None:
    """And with 0 where everything adds up."""
    answer = {"status": 200, "result": {"reconciled": [{"asset": "BTC", "difference": difference}]}}

    @contextmanager
    def asked(*_: object) -> Iterator[tuple[bytes, BytesIO]]:
        yield json.dumps(answer).encode() + b"\n", BytesIO()

    monkeypatch.setattr(admin, "_asked", asked)
    assert CliRunner().invoke(app, ["admin", "reconcile"]).exit_code == code


async def test_two_operators_adjust_a_balance(tmp_path: Path) -> None:
    """The first proposes; the same one twice, other words and a third time are refused; it wants a yes."""
    async with running(tmp_path / "data", operators=(ANN, BEA)) as exchange:
        ann, bea, alice = await exchange.operator(ANN), await exchange.operator(BEA), await exchange.client()
        call = "ledger.adjust alice USDT -10.5 'paid by hand' case-7"
        assert "say that you mean it" in await ann.refused(call)
        proposed = await ann.said(f"{call} --yes")
        assert (proposed["done"], proposed["amount"]) == (False, "-10.500000")
        assert await free(alice, "USDT") == "100000000.000000"
        assert "another operator has to say the same" in await ann.refused(f"{call} --yes")
        assert "was proposed otherwise" in await bea.refused(f"{call.replace('10.5', '10.6')} --yes")
        done = await bea.said(f"{call} --yes")
        assert (done["done"], done["amount"], done["receivable"]) == (True, "-10.500000", "0.000000")
        assert await free(alice, "USDT") == "99999989.500000"
        await ann.said(f"{call} --yes")
        assert "DUPLICATE_ADJUSTMENT" in await bea.refused(f"{call} --yes")
        assert await free(alice, "USDT") == "99999989.500000"


async def test_without_chains_nothing_is_paid_in_or_out(tmp_path: Path) -> None:
    """Clients and operators are told so."""
    async with running(tmp_path / "data") as exchange:
        operator, alice = await exchange.operator(), await exchange.client()
        assert await error(alice, "deposit.address", asset="BTC") == (-1130, "NO_CHAIN")
        assert await error(alice, "withdraw.apply", **withdrawal("w1", "1")) == (-1130, "NO_CHAIN")
        assert await error(alice, "withdraw.history") == (-1130, "NO_CHAIN")
        for words in ("withdrawal.list", "deposit.list", "reconcile", "withdrawal.approve 1-1"):
            assert "on no chain" in await operator.refused(words)
        stranger = await exchange.client(None)
        assert await error(stranger, "withdraw.history") == (-1002, None)

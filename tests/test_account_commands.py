"""What operators do to accounts, keys and money, over the admin socket of a running exchange."""

from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from structlog.testing import capture_logs

from actors import account_commands
from book.engine import Engine
from book.terms import MAX_INT
from persistence.offline import replay
from persistence.storage import RealDisk
from tests.counts import count
from tests.in_process import Connection, Running, buy, running
from tests.simulation.disk import power_cut

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC_KEY = KEY.public_key().public_bytes_raw().hex()


async def free(anyone: Connection, asset: str, words: str = "balances alice") -> str:
    """What an account has of an asset, by the operator's or by its own question."""
    result = await anyone.said(words)
    return str({row["asset"]: row["free"] for row in result["balances"]}[asset])


# Accounts -------------------------------------------------------------------------------------------------------------


async def test_an_account_that_an_operator_adds(tmp_path: Path) -> None:
    """With a key and test money it trades; it outlives the process, though no configuration names it."""
    async with running(tmp_path / "data") as exchange:
        operator = await exchange.operator()
        assert (await operator.said("account.add carol"))["id"] == 5
        assert (await operator.said("account.add dave 100"))["id"] == 100
        assert (await operator.said("account.add erin"))["id"] == 101
        added = await operator.ask(
            "key.add",
            name="carol-1",
            account="carol",
            permissions="read,trade",
            public_key=PUBLIC_KEY,
            networks="127.0.0.1,2001:db8::/32",
        )
        assert (added["result"]["name"], added["result"]["account"]) == ("carol-1", 5)
        await operator.said("credit 5 USDT 50000.5")
        carol = await exchange.client("carol-1")
        assert (await carol.ask("order.place", **buy("0.5")))["status"] == 200
    async with running(tmp_path / "data") as exchange:
        operator = await exchange.operator()
        shown = await operator.said("account.show carol")
        key = added["result"]["id"]
        assert shown == {
            "id": 5,
            "name": "carol",
            "tier": 0,
            "frozen": False,
            "openOrders": 1,
            "cancelAllAt": None,
            "receivables": {},
            "keys": [
                {
                    "id": key,
                    "name": "carol-1",
                    "permissions": ["read", "trade"],
                    "networks": ["127.0.0.1/32", "2001:db8::/32"],
                    "revoked": False,
                }
            ],
        }
        rows = (await operator.said("account.list"))["accounts"]
        assert rows[0] == {"id": 0, "name": "house"}
        assert rows[-3:] == [{"id": 5, "name": "carol"}, {"id": 100, "name": "dave"}, {"id": 101, "name": "erin"}]
        assert (await operator.said("account.list 100"))["accounts"] == rows[-2:]
    engine = Engine()
    replay(RealDisk(str(tmp_path / "data"), power_cut), engine)
    engine.check()


async def test_the_next_free_number(tmp_path: Path) -> None:
    """The greatest number there is may be given without using up all those below it."""
    async with running(tmp_path / "data") as exchange:
        operator = await exchange.operator()
        await operator.said(f"account.add last {MAX_INT}")
        assert (await operator.said("account.add carol"))["id"] == 5
        await operator.said(f"key.add last alice read {PUBLIC_KEY} {MAX_INT}")
        assert (await operator.said(f"key.add next alice read {PUBLIC_KEY}"))["id"] == 3


async def test_a_long_list_of_accounts_comes_in_pages(tmp_path: Path, monkeypatch: Any) -> None:
    """By number, however they were defined, so that the last number and one more asks for the next page."""
    monkeypatch.setattr(account_commands, "ACCOUNTS_LISTED", 3)
    async with running(tmp_path / "data") as exchange:
        operator = await exchange.operator()
        for number in (30, 10, 20):
            await operator.said(f"account.add a{number} {number}")
        pages = [
            [row["id"] for row in (await operator.said(f"account.list {first}"))["accounts"]]
            for first in (0, 3, 21, 31)
        ]
        assert pages == [[0, 1, 2], [3, 4, 10], [30], []]


async def test_accounts_and_keys_that_cannot_be_had(tmp_path: Path) -> None:
    """Each refusal is a sentence that names what is wrong."""
    async with running(tmp_path / "data") as exchange:
        operator = await exchange.operator()
        for words, why in (
            ("account.add", "name missing; usage: account.add NAME [ID]"),
            ("account.add alice", "account alice is refused: NAME_TAKEN of name; another one has this name"),
            ("account.add zoe 1", "account zoe is refused: DEFINITION_DIFFERS of name"),
            ("account.add zoe! 9", "BAD_NAME of name"),
            ("account.add zoe x", "id: expected a whole number, not 'x'"),
            ("account.add zoe 9223372036854775808", "OUT_OF_RANGE of account: 9223372036854775808"),
            ("account.show nobody", "there is no account 'nobody'; 'account.list' shows them all"),
            ("account.show 77", "there is no account '77'"),
            ("account.freeze nobody", "there is no account 'nobody'"),
            ("account.thaw alice", "account 1 is refused: UNCHANGED of frozen; it is so already"),
            ("balances nobody", "there is no account 'nobody'"),
            (f"key.add k nobody read {PUBLIC_KEY}", "there is no account 'nobody'"),
            (f"key.add k alice fly {PUBLIC_KEY}", "permissions: 'fly' is none of read, trade, withdraw"),
            ("key.add k alice read zz", "key k is refused: BAD_NAME of public_key"),
            (f"key.add k alice read {PUBLIC_KEY} networks=10.0.0.1/8", "networks: expected an address such as"),
            (f"key.add alice alice read {PUBLIC_KEY}", "NAME_TAKEN of name"),
            ("key.revoke nobody", "there is no key 'nobody'; 'account.show' shows an account's"),
        ):
            assert why in await operator.refused(words), words


async def test_a_frozen_account(tmp_path: Path) -> None:
    """It stays connected, may look and cancel, and places nothing until it is thawed."""
    async with running(tmp_path / "data") as exchange:
        alice, bob, operator = await exchange.client("alice"), await exchange.client("bob"), await exchange.operator()
        placed = (await alice.ask("order.place", **buy("0.5")))["result"]["orderId"]
        assert (await operator.said("account.freeze alice"))["frozen"] is True
        assert (await operator.said("account.show 1"))["frozen"] is True
        assert (await alice.ask("order.place", **buy("0.5")))["error"]["reason"] == "ACCOUNT_FROZEN"
        assert (await bob.ask("order.place", **buy("0.5")))["status"] == 200
        assert (await alice.ask("order.cancel", symbol="BTC-USDT", orderId=placed))["status"] == 200
        assert (await operator.said("account.thaw 1"))["name"] == "alice"
        assert (await alice.ask("order.place", **buy("0.5")))["status"] == 200


# Keys -----------------------------------------------------------------------------------------------------------------


async def test_a_revoked_key(tmp_path: Path) -> None:
    """Its sessions end, it logs on no more, also after a restart; the account's other keys and its orders stay."""
    async with running(tmp_path / "data") as exchange:
        operator = await exchange.operator()
        await operator.said(f"key.add alice-2 alice read,trade {PUBLIC_KEY}")
        first, second, third = [await exchange.client(name) for name in ("alice", "alice", "alice-2")]
        await first.ask("order.place", **buy("0.5"))
        revoked = await operator.said("key.revoke alice")
        assert (revoked["name"], revoked["sessionsClosed"]) == ("alice", 2)
        for connection in (first, second):
            try:
                await connection.ask("ping")
            except (EOFError, trio.BrokenResourceError):
                continue
            raise AssertionError("a session of a revoked key goes on")
        assert len((await third.ask("openOrders.status"))["result"]["orders"]) == 1
        stranger = await exchange.client(None)
        assert (await stranger.ask("session.logon", apiKey="alice"))["error"]["code"] == -2015
        assert "UNCHANGED" in await operator.refused("key.revoke 1")
        shown = (await operator.said("account.show alice"))["keys"]
        assert [(key["name"], key["revoked"]) for key in shown] == [("alice", True), ("alice-2", False)]
    async with running(tmp_path / "data") as exchange:
        stranger = await exchange.client(None)
        assert (await stranger.ask("session.logon", apiKey="alice"))["error"]["code"] == -2015


async def test_no_logon_slips_by_while_its_key_is_revoked(tmp_path: Path) -> None:
    """Whenever the logons come, before, with or after the end of their key: no session of it is left behind."""
    random = Random(7)
    async with running(tmp_path / "data") as exchange:
        operator = await exchange.operator()
        for number in range(count(10, 300)):
            await operator.said(f"key.add k{number} alice read {PUBLIC_KEY}")
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(partial(_try_to_log_on, exchange, f"k{number}", random))
                await trio.sleep(random.random() * 0.01)
                await operator.said(f"key.revoke k{number}")
                with trio.fail_after(5):
                    # Those that are closed take a moment.
                    while any(row["key"] for row in (await operator.said("session.list"))["sessions"]):  # noqa: ASYNC110 - asked over a socket
                        await trio.sleep(0.01)


async def _try_to_log_on(exchange: Running, name: str, random: Random) -> None:
    stranger = await exchange.client(None)
    await trio.sleep(random.random() * 0.01)
    try:
        reply = await stranger.ask("session.logon", apiKey=name)
    except (EOFError, trio.BrokenResourceError):
        return
    assert reply["status"] == 200 or reply["error"]["code"] == -2015


# Money ----------------------------------------------------------------------------------------------------------------


async def test_test_money(tmp_path: Path) -> None:
    """Amounts are in the asset's own decimals, and what has an id is credited once for ever."""
    async with running(tmp_path / "data") as exchange:
        operator = await exchange.operator()
        before = await free(operator, "BTC")
        assert before == "1000.00000000"
        first = await operator.said("credit alice BTC 0.00000001 gift")
        assert first == {
            "id": "test|gift",
            "asset": "BTC",
            "amount": "0.00000001",
            "receipt": first["receipt"],
            "repeated": False,
        }
        again = await operator.ask("credit", account="1", asset="BTC", amount="0.00000001", id="gift")
        assert again["result"] == {**first, "repeated": True}
        assert await free(operator, "BTC") == "1000.00000001"
        ids = {(await operator.said("credit alice BTC 1"))["id"] for _ in range(2)}
        assert len(ids) == 2
        assert await free(operator, "BTC", "balances 1") == "1002.00000001"
        for words, why in (
            ("credit alice BTC 2 gift", "DEPOSIT_DIFFERS of deposit_id; other values have this id, by number"),
            ("credit alice BTC 0.000000001", "amount: '0.000000001' has more than 8 decimals"),
            ("credit alice BTC -1", "amount: expected a decimal such as '0.01', not '-1'"),
            ("credit alice BTC 0", "OUT_OF_RANGE of amount: 0, and the limit is 1"),
            (f"credit alice BTC {'9' * 40}", "OVERFLOW of amount"),
            ("credit alice XRP 1", "there is no asset 'XRP'; 'asset.list' shows them all"),
            ("credit nobody BTC 1", "there is no account 'nobody'"),
            ("credit alice BTC 1 'no spaces'", "BAD_NAME of deposit_id"),
        ):
            assert why in await operator.refused(words), words


async def test_no_test_money_in_production(tmp_path: Path) -> None:
    """Where the configuration does not allow it, nothing is credited, and the attempt is in the audit."""
    with capture_logs() as logs:
        async with running(tmp_path / "data", test_money=False) as exchange:
            operator = await exchange.operator()
            why = await operator.refused("credit alice BTC 1")
            assert "admin.test_money is not true" in why
            assert await free(operator, "BTC") == "1000.00000000"
    assert [(entry["call"], entry["outcome"]) for entry in logs if entry["event"] == "admin call"] == [("credit", why)]


async def test_what_operators_change_is_audited(tmp_path: Path) -> None:
    """Every command that changes something, with its words and how it ended; none that only looks."""
    with capture_logs() as logs:
        async with running(tmp_path / "data") as exchange:
            operator = await exchange.operator()
            await operator.said("account.show alice")
            await operator.said("account.freeze alice")
            await operator.refused("account.freeze alice")
            await operator.said("market.halt symbol=BTC-USDT")
            await operator.said("balances alice")
            await operator.said("key.revoke bob")
    audit = [entry for entry in logs if entry["event"] == "admin call"]
    assert [(entry["call"], entry["outcome"].partition(":")[0]) for entry in audit] == [
        ("account.freeze", "done"),
        ("account.freeze", "account 1 is refused"),
        ("market.halt", "done"),
        ("key.revoke", "done"),
    ]
    assert audit[2]["params"] == {"0": "symbol=BTC-USDT"}

"""The whole way of money on real chains: bitcoind, anvil and MariaDB over TLS, the program killed between the steps.

Deposits of bitcoin, Ether and a token arrive, are undone by reorganisations and arrive again, are credited once, and
are withdrawn; at the end all that the exchange owes is there, and nobody was paid twice.
"""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
import trio

from chains.bitcoin import COIN
from chains.signer import hot_address
from chains.signing import BITCOIN, ETHEREUM, SignerConfig
from chains.wallet import Output
from persistence.mysql import Limits, MysqlDatabase, Patience
from persistence.sql_store import SqlStore
from tallystick.private_chains import HONEST
from tallystick.private_nodes import CHAIN_ID
from tests.live import ConfiguredExchange
from tests.mariadb import PASSWORD, USER, MariaDb
from tests.real_nodes import (
    BITCOIN_XPUB,
    ETHEREUM_XPUB,
    SIGNER,
    BitcoinNet,
    EthereumNet,
    bitcoin_net,
    ethereum_net,
    hot_keystore,
)

pytestmark = [pytest.mark.process, pytest.mark.timeout(400)]

DEPTH: Final = 2
PATIENCE_SECONDS: Final = 60.0
ETHER: Final = 10**18
TOKEN: Final = 10**6

CHAINS: Final = """
[bitcoin]
asset = "XBT"
network = "regtest"
xpub = "{bitcoin_xpub}"
depth = {depth}
poll_seconds = 0.2

[bitcoin.node]
url = "{bitcoin_url}"
cookie_file = "{cookie_file}"

[bitcoin.wallet]
keystore = "{bitcoin_keystore}"
passphrase = "file:{folder}/bitcoin/passphrase"

[bitcoin.limits]
automatic = "10"
new_address_seconds = 0

[ethereum]
asset = "ETH"
chain_id = {chain_id}
xpub = "{ethereum_xpub}"
depth = {depth}
poll_seconds = 0.2

[ethereum.node]
url = "{ethereum_url}"

[ethereum.wallet]
keystore = "{ethereum_keystore}"
passphrase = "file:{folder}/ethereum/passphrase"

[ethereum.limits]
automatic = "100"
new_address_seconds = 0

[[ethereum.tokens]]
asset = "TOK"
contract = "{contract}"
decimals = 6
depth = {depth}
poll_seconds = 0.2
limits = {{ automatic = "1000", new_address_seconds = 0 }}
"""

SECTIONS: Final = """
[[assets]]
name = "XBT"
scale = 8
chain = "bitcoin"
withdrawal_fee = "0.0005"
min_withdrawal = "0.001"

[[assets]]
name = "ETH"
scale = 9
chain = "ethereum"
withdrawal_fee = "0.01"
min_withdrawal = "0.01"

[[assets]]
name = "TOK"
scale = 6
chain = "ethereum"
withdrawal_fee = "1"
min_withdrawal = "1"

[[keys]]
id = 9
name = "payer"
account = "alice"
permissions = ["read", "withdraw"]
public_key = "{key}"

[chains]
file = "chains.toml"

[store]
url = "mysql://{user}@127.0.0.1:{port}/{database}"
password_file = "{folder}/store-password"
ca_file = "{ca_file}"
"""


CLEAN: Final = {"XBT": "0.00000000", "ETH": "0.000000000000000000", "TOK": "0.000000"}


class Loop:
    """The exchange and everything around it."""

    def __init__(
        self,
        exchange: ConfiguredExchange,
        bitcoin: BitcoinNet,
        ethereum: EthereumNet,
        contract: str,
        store: SqlStore,
    ) -> None:
        self.store = store
        self.exchange = exchange
        self.bitcoin = bitcoin
        self.ethereum = ethereum
        self.contract = contract

    async def start(self) -> None:
        """Start the program."""
        await trio.to_thread.run_sync(self.exchange.start)

    async def crash(self) -> None:
        """End it by SIGKILL, and start it again."""
        await trio.to_thread.run_sync(self.exchange.kill)
        await self.start()

    async def ask(self, method: str, **params: Any) -> Any:
        """One request of the payer's; its result."""
        return await trio.to_thread.run_sync(lambda: self._ask(method, params))

    def _ask(self, method: str, params: dict[str, Any]) -> Any:
        client = self.exchange.client("payer")
        try:
            answer = client.ask(method, **params)
        finally:
            client.close()
        assert answer["status"] == 200, answer
        return answer["result"]

    async def admin(self, *words: str) -> Any:
        """The result of an operator's command."""
        return await trio.to_thread.run_sync(self.exchange.admin, *words)

    async def balances(self) -> dict[str, str]:
        """What the account has, of the assets on chains."""
        found = (await self.ask("account.status"))["balances"]
        return {each["asset"]: each["free"] for each in found if each["asset"] in {"XBT", "ETH", "TOK"}}

    async def mine(self, count: int = 1) -> None:
        """Blocks on both chains."""
        await self.bitcoin.chain.mine(count)
        await self.ethereum.chain.mine(count)

    async def until(self, what: str, found: Callable[[], Awaitable[bool]]) -> None:
        """Wait for it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not await found():
            if time.monotonic() > deadline:
                tree = await self.admin("tree")
                raise AssertionError(f"{what} did not come\n{tree}\n{self.exchange.errors[-3000:]}")
            await trio.sleep(0.1)

    async def until_scanned(self) -> None:
        """Every watcher has looked at its chain's newest block."""
        heads = {
            "XBT": await self.bitcoin.node.head(),
            **dict.fromkeys(("ETH", "TOK"), await self.ethereum.node.head()),
        }

        async def scanned() -> bool:
            found = {asset: await self.store.scanned_blocks(asset, 1) for asset in heads}
            return {asset: [(each.hash, each.height) for each in rows] for asset, rows in found.items()} == {
                asset: [(head.hash, head.height)] for asset, head in heads.items()
            }

        await self.until("the newest block", scanned)

    async def reconciled(self) -> dict[str, str]:
        """By how much what there is differs from what must be."""
        return {each["asset"]: each["difference"] for each in (await self.admin("reconcile"))["reconciled"]}


async def test_money_arrives_and_leaves_once_whatever_happens(mariadb: MariaDb, tmp_path: Path) -> None:
    """Deposits and withdrawals of three assets, with SIGKILL between the steps and reorganisations of both chains."""
    async with bitcoin_net(tmp_path / "bitcoind") as bitcoin, ethereum_net(tmp_path / "anvil") as ethereum:
        loop = await prepared(mariadb, tmp_path, bitcoin, ethereum)
        await loop.start()
        try:
            await check_the_loop(loop)
        finally:
            await loop.store.aclose()
            if loop.exchange.runs:
                loop.exchange.kill()


async def prepared(mariadb: MariaDb, folder: Path, bitcoin: BitcoinNet, ethereum: EthereumNet) -> Loop:
    """Hot wallets with something in them, and the files of an exchange."""
    token = await ethereum.token(HONEST)
    keystores = {chain: hot_keystore(folder / chain) for chain in (BITCOIN, ETHEREUM)}
    hot = {}
    for chain, keystore in keystores.items():
        source = f"file:{folder / chain / 'passphrase'}"
        network = "regtest" if chain == BITCOIN else "mainnet"
        config = SignerConfig(chain=chain, network=network, keystore=str(keystore), passphrase=source)
        hot[chain] = await trio.to_thread.run_sync(hot_address, SIGNER, config)
    for _ in range(4):
        await bitcoin.chain.pay(Output(hot[BITCOIN], COIN))
    await ethereum.chain.pay(Output(hot[ETHEREUM], 100 * ETHER))
    await ethereum.chain.pay(Output(hot[ETHEREUM], 1000 * TOKEN), token.contract)
    await bitcoin.chain.mine(DEPTH + 1)
    await ethereum.chain.mine(DEPTH + 1)
    database = await mariadb.fresh_database("real_loop")
    facts = {
        "user": USER,
        "port": mariadb.port,
        "database": database,
        "ca_file": mariadb.ca_file,
        "folder": folder,
        "bitcoin_xpub": BITCOIN_XPUB,
        "ethereum_xpub": ETHEREUM_XPUB,
        "depth": DEPTH,
        "chain_id": CHAIN_ID,
        "bitcoin_url": bitcoin.config.url,
        "cookie_file": bitcoin.config.cookie_file,
        "ethereum_url": ethereum.config.url,
        "bitcoin_keystore": keystores[BITCOIN],
        "ethereum_keystore": keystores[ETHEREUM],
        "contract": token.contract,
    }
    await trio.Path(folder / "store-password").write_text(PASSWORD)
    await trio.Path(folder / "chains.toml").write_text(CHAINS.format(**facts))
    exchange = ConfiguredExchange(folder / "data", SECTIONS.format(key="0f" * 32, **facts))
    limits = Limits()
    store = SqlStore(MysqlDatabase(mariadb.server(database), limits, Patience(Random(0))))
    return Loop(exchange, bitcoin, ethereum, token.contract, store)


async def check_the_loop(loop: Loop) -> None:
    """The steps, one after the other."""
    bitcoin, ethereum = loop.bitcoin, loop.ethereum
    # What the hot wallets begin with is bob's, so that what there is can be what must be, to the unit.
    for asset, amount in (("XBT", "4"), ("ETH", "100"), ("TOK", "1000")):
        await loop.admin("credit", "bob", asset, amount)
    to = {asset: (await loop.ask("deposit.address", asset=asset))["address"] for asset in ("XBT", "ETH", "TOK")}
    assert to["XBT"] == bitcoin.addresses.address(0)
    assert to["ETH"] == to["TOK"] == ethereum.addresses.address(0)

    # Seen in one block, which goes again, in each depth that must not matter.
    await bitcoin.chain.pay(Output(to["XBT"], 2 * COIN))
    await ethereum.chain.pay(Output(to["ETH"], 30 * ETHER))
    await ethereum.chain.pay(Output(to["TOK"], 500 * TOKEN), loop.contract)
    await loop.mine()
    await loop.until_scanned()
    await loop.crash()
    for depth in range(1, DEPTH + 1):
        await loop.until_scanned()
        await bitcoin.chain.reorg(depth)
        await ethereum.chain.reorg(depth)
        await loop.until_scanned()
        assert (await loop.balances()).get("XBT") in {None, "2.00000000"}
    # anvil forgets what it undoes; whoever paid, pays again.
    await ethereum.chain.pay(Output(to["ETH"], 30 * ETHER))
    await ethereum.chain.pay(Output(to["TOK"], 500 * TOKEN), loop.contract)
    await loop.mine(DEPTH + 1)

    async def credited() -> bool:
        return await loop.balances() == {"XBT": "2.00000000", "ETH": "30.000000000", "TOK": "500.000000"}

    await loop.until("the credit", credited)
    assert await loop.reconciled() == CLEAN
    await loop.crash()
    assert await credited()
    await withdraw(loop)
    await loop.until_scanned()
    assert await loop.reconciled() == CLEAN


async def withdraw(loop: Loop) -> None:
    """All three, killed between being asked for, being sent and being mined."""
    out = {"XBT": loop.bitcoin.addresses.address(50), "ETH": loop.ethereum.addresses.address(50)}
    out["TOK"] = out["ETH"]
    for asset, amount in (("XBT", "1.5"), ("ETH", "20"), ("TOK", "400")):
        params = {"asset": asset, "address": out[asset], "amount": amount, "withdrawOrderId": f"w-{asset}"}
        await loop.ask("withdraw.apply", **params)
    await loop.crash()

    async def states(*wanted: str) -> bool:
        found = [(await loop.ask("withdraw.status", withdrawOrderId=f"w-{each}"))["status"] for each in out]
        return set(found) <= set(wanted)

    await loop.until("the broadcast", lambda: states("BROADCAST"))
    await loop.crash()
    await loop.mine()
    await loop.until_scanned()
    await loop.bitcoin.chain.reorg(1)
    for _ in range(DEPTH + 2):
        await loop.mine()
        await loop.until_scanned()
    await loop.until("the completion", lambda: states("COMPLETED"))
    assert await loop.balances() == {"XBT": "0.49950000", "ETH": "9.990000000", "TOK": "99.000000"}
    head = await loop.ethereum.node.head()
    assert await loop.bitcoin.node.balance(out["XBT"], await loop.bitcoin.node.head()) == 150_000_000
    assert await loop.ethereum.node.balance(out["ETH"], head) == 20 * ETHER
    await loop.until_scanned()

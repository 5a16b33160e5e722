"""The demo's chains on real nodes: bitcoind and anvil of its own, with whoever mines and pays there.

Everything is in the data folder: the chains, the keystores, and the passphrase that opens them, for it is a demo.
"""

import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from random import Random
from typing import Final, Protocol

import trio
import typer
from attrs import evolve, frozen

from actors.chain_parts import Chains, Helper
from actors.world import Blocking
from book.decimals import format_units
from chains import keystore
from chains.bitcoin import COIN
from chains.extended_key import TPUB, XPUB
from chains.rpc import Rpc
from chains.signing import BITCOIN, ETHEREUM
from chains.simulated_chain import Mine, Operation, Pay, Reorg
from chains.wallet import Output
from persistence.storage import Disk
from persistence.txstore import TxStore
from tallystick import fetching, running
from tallystick.demo import ASSETS
from tallystick.demo_chains import BLOCK_SECONDS, DEPTH, LIMITS, POLL_SECONDS
from tallystick.private_chains import BitcoinChain, EthereumChain, ethereum_chain
from tallystick.private_nodes import CHAIN_ID, NodeEnded, PrivateNode, bitcoin_node, ethereum_node, free_port
from tallystick.real_chains import (
    BitcoinSection,
    ChainsFile,
    EthereumSection,
    LimitsSection,
    NodeSection,
    TokenSection,
    WalletSection,
    open_chains,
)

PASSPHRASE_FILE: Final = "passphrase"  # noqa: S105 - a file's name
# The passphrase lies beside what it protects, so opening that need not take long.
SCRYPT_N: Final = 2**4
HOT_COINS: Final = 10
BITCOIN_COIN: Final = 10 * COIN
HOT_ETHER: Final = 1_000 * 10**18
HOT_TOKENS: Final = 1_000_000 * 10**6
TOKEN_DECIMALS: Final = 6
# Where the first contract comes to be that anvil's first account makes: it follows from that account alone.
TOKEN_CONTRACT: Final = "0x5FbDB2315678afecb367f032d93F642f64180aa3"  # noqa: S105 - an address

OpenNode = Callable[[], AbstractAsyncContextManager[PrivateNode]]


class Miner(Protocol):
    """Mines, undoes, and pays what an operation says."""

    async def mine(self, count: int = 1) -> object:
        """So many blocks."""
        ...

    async def reorg(self, depth: int) -> None:
        """Another branch in place of the last blocks."""
        ...

    async def pay_to(self, asset: str, output: Output) -> str:
        """A transaction of somebody's; its id."""
        ...

    async def height(self) -> int:
        """Of the newest block."""
        ...


class PrivateChain:
    """A node of our own with its miner: an actor, and `DemoChain` while it runs."""

    def __init__(self, name: str, open_node: OpenNode, begin: Callable[[Rpc, str], Awaitable[Miner]]) -> None:
        """`begin` makes a miner of a node, who has funded the hot wallet of the address."""
        self._name = name
        self._open_node = open_node
        self._begin = begin
        self._miner: Miner | None = None
        self.hot_address = ""

    async def run(self, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Run the node and mine until `stop`. Raises NodeEnded if the node does not go on."""
        async with self._open_node() as node, Rpc(node.rpc) as rpc:
            self._miner = await self._begin(rpc, self.hot_address)
            task_status.started()
            try:
                await self._mine(self._miner, node, stop)
            finally:
                self._miner = None

    async def _mine(self, miner: Miner, node: PrivateNode, stop: trio.Event) -> None:
        while not stop.is_set():
            with trio.move_on_after(BLOCK_SECONDS):
                await stop.wait()
                return
            if node.process.poll() is not None:
                raise NodeEnded(f"the node of {self._name} has ended")
            await miner.mine()

    async def do(self, operation: Operation) -> str:
        """Pay, mine or undo."""
        miner = self._ready()
        match operation:
            case Pay(asset=asset, pays=((address, amount),)):
                return await miner.pay_to(asset, Output(address, amount))
            case Mine(blocks=count):
                await miner.mine(count)
            case Reorg(depth=depth):
                await miner.reorg(depth)
            case _:
                raise ValueError("a private chain pays one address, mines, and undoes blocks")
        return ""

    async def height(self) -> int:
        """Of the newest block."""
        return await self._ready().height()

    def _ready(self) -> Miner:
        if self._miner is None:
            raise ValueError(f"the node of {self._name} is not running")
        return self._miner


# Bitcoin -------------------------------------------------------------------------------------------------------------


class BitcoinMiner(BitcoinChain):
    """`Miner` of a regtest, whose blocks are on the disk once they are mined: bitcoind would write them hourly."""

    async def mine(self, count: int = 1) -> list[str]:
        """So many blocks."""
        mined = await super().mine(count)
        await self.flush()
        return mined

    async def pay_to(self, _asset: str, output: Output) -> str:
        """There is one asset."""
        return await self.pay(output)


async def _begin_bitcoin(rpc: Rpc, hot_address: str) -> Miner:
    """Mine what there is to spend; the hot wallet gets its coins once."""
    miner = BitcoinMiner(rpc)
    if await miner.begin():
        await miner.mine(HOT_COINS * BITCOIN_COIN // (50 * COIN) + 1)
        for _ in range(HOT_COINS):
            await miner.pay(Output(hot_address, BITCOIN_COIN))
        await miner.mine(DEPTH + 1)
    return miner


# Ethereum ------------------------------------------------------------------------------------------------------------


@frozen
class EthereumMiner:
    """`Miner` of an anvil."""

    chain: EthereumChain

    async def mine(self, count: int = 1) -> None:
        """So many blocks."""
        await self.chain.mine(count)

    async def reorg(self, depth: int) -> None:
        """Empty blocks in place of the last ones."""
        await self.chain.reorg(depth)

    async def pay_to(self, asset: str, output: Output) -> str:
        """In Ether or in the token."""
        return await self.chain.pay(output, None if asset == "ETH" else TOKEN_CONTRACT)

    async def height(self) -> int:
        """Of the newest block."""
        return await self.chain.height()


async def _begin_ethereum(rpc: Rpc, hot_address: str) -> Miner:
    """Make the token, and fund the hot wallet, once."""
    chain = await ethereum_chain(rpc)
    if await chain.height() == 0:
        made = await chain.token(decimals=TOKEN_DECIMALS)
        if made.contract != TOKEN_CONTRACT:
            raise AssertionError(f"the token is at {made.contract}")
        await chain.pay(Output(hot_address, HOT_ETHER))
        await chain.pay(Output(hot_address, HOT_TOKENS), TOKEN_CONTRACT)
        await chain.mine(DEPTH + 1)
    return EthereumMiner(chain)


# All of it -----------------------------------------------------------------------------------------------------------


def demo_on_real_nodes(_disk: Disk, _blocking: Blocking, _random: Random, folder: str, store: TxStore) -> Chains:
    """Both chains, on nodes that are fetched where needed. Raises CannotFetch, and what `open_chains` raises."""
    here = Path(folder) / "nodes"
    here.mkdir(parents=True, exist_ok=True)
    cache, say = fetching.cache_folder(), partial(typer.echo, err=True)
    ports = {BITCOIN: free_port(), ETHEREUM: free_port()}
    bitcoin = PrivateChain(
        BITCOIN,
        partial(bitcoin_node, fetching.bitcoind(cache, say), here / BITCOIN, port=ports[BITCOIN]),
        _begin_bitcoin,
    )
    ethereum = PrivateChain(
        ETHEREUM,
        partial(ethereum_node, fetching.anvil(cache, say), here / ETHEREUM, port=ports[ETHEREUM]),
        _begin_ethereum,
    )
    private = {BITCOIN: bitcoin, ETHEREUM: ethereum}
    chains = open_chains(
        _file(here, ports),
        {asset.name: asset for asset in ASSETS},
        running.SIGNER,
        store=store,
        helpers={name: (Helper(f"node-{name}", chain),) for name, chain in private.items()},
    )
    for chain in chains.chains:
        private[chain.name].hot_address = chain.signer.address
    return evolve(chains, chains=tuple(evolve(each, private=private[each.name]) for each in chains.chains))


def _file(here: Path, ports: Mapping[str, int]) -> ChainsFile:
    """As chains.toml would say it."""
    passphrase = here / PASSPHRASE_FILE
    hot, cold = here / "hot.keystore", here / "cold.keystore"
    if not cold.exists():
        passphrase.write_text(secrets.token_urlsafe(32))
        for path in (hot, cold):
            path.unlink(missing_ok=True)
            entropy = os.urandom(keystore.ENTROPY_BYTES)
            keystore.write(path, keystore.seal(entropy, passphrase.read_text(), os.urandom, n=SCRYPT_N))
    master = keystore.unlock(cold, passphrase.read_text())
    wallet = WalletSection(keystore=str(hot), passphrase=f"file:{passphrase}")
    limits = {name: _limits(name) for name in LIMITS}
    cookie = here / BITCOIN / "regtest" / ".cookie"
    return ChainsFile(
        bitcoin=BitcoinSection(
            asset="BTC",
            depth=DEPTH,
            poll_seconds=POLL_SECONDS,
            network="regtest",
            xpub=master.path(keystore.account_path(BITCOIN, "regtest")).public().write(TPUB),
            node=NodeSection(url=f"http://127.0.0.1:{ports[BITCOIN]}", cookie_file=str(cookie)),
            wallet=wallet,
            limits=limits["BTC"],
            bump_seconds=60.0,
        ),
        ethereum=EthereumSection(
            asset="ETH",
            depth=DEPTH,
            poll_seconds=POLL_SECONDS,
            chain_id=CHAIN_ID,
            xpub=master.path(keystore.account_path(ETHEREUM)).public().write(XPUB),
            node=NodeSection(url=f"http://127.0.0.1:{ports[ETHEREUM]}"),
            wallet=wallet,
            limits=limits["ETH"],
            bump_seconds=60.0,
            tokens=(
                TokenSection(
                    asset="USDT",
                    depth=DEPTH,
                    poll_seconds=POLL_SECONDS,
                    contract=TOKEN_CONTRACT,
                    decimals=TOKEN_DECIMALS,
                    limits=limits["USDT"],
                ),
            ),
        ),
    )


def _limits(name: str) -> LimitsSection:
    """The simulated demo's, in words."""
    (asset,) = (each for each in ASSETS if each.name == name)
    return LimitsSection(automatic=format_units(LIMITS[name].automatic, asset.scale), new_address_seconds=0)

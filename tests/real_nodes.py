"""Real nodes for tests, each fresh and alone, and the hot wallets' signers. Fetched once, into build/nodes."""

import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from attrs import frozen

from chains import keystore
from chains.address_books import BitcoinAddresses, EthereumAddresses
from chains.bitcoin import Bitcoin, BitcoinConfig
from chains.erc20 import Erc20, Erc20Config
from chains.ethereum import Ethereum, EthereumConfig
from chains.extended_key import TPUB, XPUB
from chains.rpc import Rpc, RpcConfig
from chains.signer import SignerProcess, signer
from chains.signing import BITCOIN, ETHEREUM, SignerConfig
from tallystick import fetching
from tallystick.private_chains import BitcoinChain, EthereumChain, ethereum_chain
from tallystick.private_nodes import CHAIN_ID, bitcoin_node, ethereum_node

CACHE: Final = Path(__file__).parents[1] / "build" / "nodes"
PASSPHRASE: Final = "only for tests, known to all"  # noqa: S105 - as it says
SIGNER: Final = (sys.executable, "-m", "chains.signing")
# Fast to open, and so of no use for anything of worth.
QUICK_SCRYPT_N: Final = 2

_MASTER: Final = keystore.master_key(bytes(32))
BITCOIN_XPUB: Final = _MASTER.path(keystore.account_path(BITCOIN, "regtest")).public().write(TPUB)
ETHEREUM_XPUB: Final = _MASTER.path(keystore.account_path(ETHEREUM)).public().write(XPUB)


def say(what: str) -> None:
    """Progress of a fetch, for whoever waits for the tests."""
    sys.stderr.write(f"{what}\n")


@frozen
class BitcoinNet:
    """A regtest of one's own."""

    rpc: Rpc
    node: Bitcoin
    chain: BitcoinChain
    addresses: BitcoinAddresses
    config: RpcConfig


@frozen
class EthereumNet:
    """An anvil of one's own."""

    rpc: Rpc
    node: Ethereum
    chain: EthereumChain
    addresses: EthereumAddresses
    config: RpcConfig

    async def token(self, manner: int, decimals: int = 6, *, by_balance: bool = False) -> Erc20:
        """A new token's node."""
        made = await self.chain.token(manner, decimals)
        config = Erc20Config(contract=made.contract, decimals=decimals, by_balance=by_balance)
        return Erc20(EthereumConfig(chain_id=CHAIN_ID), config, self.rpc)


@asynccontextmanager
async def bitcoin_net(folder: Path) -> AsyncIterator[BitcoinNet]:
    """A regtest with something to spend."""
    async with bitcoin_node(fetching.bitcoind(CACHE, say), folder) as private, Rpc(private.rpc) as rpc:
        chain = BitcoinChain(rpc)
        await chain.begin()
        node = Bitcoin(BitcoinConfig(network="regtest"), rpc)
        yield BitcoinNet(rpc, node, chain, BitcoinAddresses("regtest", BITCOIN_XPUB), private.rpc)


@asynccontextmanager
async def ethereum_net(folder: Path) -> AsyncIterator[EthereumNet]:
    """An anvil whose account has Ether."""
    async with ethereum_node(fetching.anvil(CACHE, say), folder) as private, Rpc(private.rpc) as rpc:
        node = Ethereum(EthereumConfig(chain_id=CHAIN_ID), rpc)
        yield EthereumNet(rpc, node, await ethereum_chain(rpc), EthereumAddresses(ETHEREUM_XPUB), private.rpc)


def hot_keystore(folder: Path) -> Path:
    """A new keystore of a new secret."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "hot.keystore"
    keystore.write(path, keystore.seal(secrets.token_bytes(32), PASSPHRASE, os.urandom, n=QUICK_SCRYPT_N))
    (folder / "passphrase").write_text(PASSPHRASE)
    return path


@asynccontextmanager
async def hot_wallet(chain: str, folder: Path) -> AsyncIterator[SignerProcess]:
    """The signer of a new hot wallet; on Bitcoin, of the regtest."""
    path = hot_keystore(folder)
    network = "regtest" if chain == BITCOIN else "mainnet"
    source = f"file:{folder / 'passphrase'}"
    config = SignerConfig(chain=chain, network=network, keystore=str(path), passphrase=source)
    async with signer(SIGNER, config) as running:
        yield running

"""What an xpub's deposit addresses hold, asked of a node: the online part of a sweep, and an operator's balances."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec

from chains.address_books import RECEIVING, BitcoinAddresses, EthereumAddresses
from chains.bitcoin import NETWORKS, satoshi
from chains.erc20 import Erc20
from chains.ethereum import Ethereum
from chains.ethereum_fees import EthereumFees, plan_transfer
from chains.node import NodeUnavailable, WrongNode
from chains.rpc import Rpc
from chains.sweeping import FoundAccount, FoundBitcoin, FoundCoin, FoundEthereum, read_key
from chains.wallet import Output

# A node scans its whole set of unspent outputs for these; more take hardly longer.
MAX_ADDRESSES: Final = 1_000_000


class _Coin(msgspec.Struct, frozen=True):
    txid: str
    vout: int
    amount: Decimal
    desc: str


class _Scan(msgspec.Struct, frozen=True):
    height: int
    unspents: list[_Coin]


class _Info(msgspec.Struct, frozen=True):
    chain: str


class _Descriptor(msgspec.Struct, frozen=True):
    descriptor: str


async def find_bitcoin(rpc: Rpc, network: str, xpub: str, count: int) -> FoundBitcoin:
    """The unspent outputs of the first `count` addresses, by one scan. Raises NodeUnavailable, WrongNode or BadKey."""
    info = await rpc.call("getblockchaininfo", result=_Info)
    if info.chain != NETWORKS[network]:
        raise WrongNode(f"the node is on {info.chain}, and {network} is asked for")
    key = read_key(xpub)
    book = BitcoinAddresses(network, key.xpub)
    # The node names the path of each coin, from which comes its index.
    written = f"wpkh({book.standard_xpub()}/{RECEIVING}/*)"
    described = await rpc.call("getdescriptorinfo", written, result=_Descriptor)
    wanted = {"desc": described.descriptor, "range": [0, count - 1]}
    found = await rpc.call("scantxoutset", "start", [wanted], result=_Scan)
    coins = [FoundCoin(each.txid, each.vout, str(satoshi(each.amount)), _index(each.desc)) for each in found.unspents]
    return FoundBitcoin(network, xpub, found.height, coins)


def _index(descriptor: str) -> int:
    """Of `wpkh([fingerprint/0/7]key)#checksum` the 7."""
    digits = descriptor.partition("]")[0].rpartition("/")[2]
    if not (digits.isascii() and digits.isdigit()):
        raise NodeUnavailable("the node does not say by which path it found a coin")
    return int(digits)


async def find_ethereum(node: Ethereum, chain_id: int, xpub: str, indexes: Sequence[int]) -> FoundEthereum:
    """What these addresses hold of Ether, and of a token where the node is an `Erc20`, after the newest block."""
    await node.check()
    head = await node.head()
    rate = await node.fee_rate()
    if rate is None:
        raise NodeUnavailable("the node does not say what gas costs")
    book = EthereumAddresses(read_key(xpub).xpub)
    fees = plan_transfer(
        Output("", 0), None, chain_id=chain_id, nonce=0, gas=21_000, rate=rate, fees=EthereumFees(max_fee=2**255)
    )
    accounts = []
    for index in indexes:
        address = book.address(index)
        ether = await node.ether(address, head)
        tokens = await node.balance(address, head) if isinstance(node, Erc20) else 0
        if ether or tokens:
            nonce = await node.nonce(address, head)
            accounts.append(FoundAccount(index, nonce, str(ether), str(tokens)))
    token = node.contract if isinstance(node, Erc20) else None
    return FoundEthereum(chain_id, xpub, head.height, str(fees.max_fee), str(fees.max_tip), accounts, token)

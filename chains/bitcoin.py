"""A Bitcoin node: bitcoind (Core or Knots) over its JSON-RPC.

It needs `txindex=1` and no wallet. Whole blocks are asked for by hash, with their transactions decoded by the node.

An output that has no address (a bare public key, a data carrier) pays nobody whom we could know; it is left out.
"""

from decimal import Decimal
from typing import Annotated, Final

import msgspec
from attrs import frozen

from chains.node import (
    Block,
    BlockId,
    FeeRate,
    InBlock,
    InPool,
    NodeRefused,
    NodeUnavailable,
    Outpoint,
    Payment,
    Place,
    Spend,
    Unknown,
    WrongNode,
)
from chains.rpc import Rpc

COIN: Final = 10**8
MAX_MONEY: Final = 21_000_000 * COIN

# bitcoind's names for the networks, by ours.
NETWORKS: Final = {
    "mainnet": "main",
    "testnet": "test",
    "testnet4": "testnet4",
    "signet": "signet",
    "regtest": "regtest",
}

# bitcoind's errors that are answers (its rpc/protocol.h).
_NO_SUCH_THING: Final = -5
_OUT_OF_RANGE: Final = -8
_NOT_IN_CHAIN: Final = -1

Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, msgspec.Meta(ge=0)]


@frozen(kw_only=True)
class BitcoinConfig:
    """Which network, and for how soon fees are estimated."""

    network: str = "mainnet"
    fee_target_blocks: int = 3

    def __attrs_post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise ValueError(f"network is {self.network!r}: not one of {', '.join(NETWORKS)}")
        if not 1 <= self.fee_target_blocks <= 1008:
            raise ValueError(f"fee_target_blocks is {self.fee_target_blocks}: not within 1 to 1008")


def satoshi(amount: Decimal) -> int:
    """Bitcoin as bitcoind writes them, in satoshi. Raises NodeUnavailable for what is no amount of money."""
    # Bounds first: an exponent without them overflows the arithmetic.
    is_possible = amount.is_finite() and 0 <= amount <= MAX_MONEY // COIN
    scaled = amount.scaleb(8) if is_possible else amount
    if not is_possible or scaled != scaled.to_integral_value():
        raise NodeUnavailable(f"the node gives {amount} as an amount of bitcoin")
    return int(scaled)


class Bitcoin:
    """Bitcoin's `Node`."""

    def __init__(self, config: BitcoinConfig, rpc: Rpc) -> None:
        self.config = config
        self.rpc = rpc

    async def check(self) -> None:
        """The network is the configured one, and the node can find any transaction."""
        info = await self.rpc.call("getblockchaininfo", result=_Info)
        if info.chain != NETWORKS[self.config.network]:
            raise WrongNode(f"the node is on {info.chain}, and {self.config.network} is configured")
        if "txindex" not in await self.rpc.call("getindexinfo", result=dict[str, msgspec.Raw]):
            raise WrongNode("the node has no index of transactions: start bitcoind with txindex=1")

    async def head(self) -> BlockId:
        """The best chain's last block."""
        info = await self.rpc.call("getblockchaininfo", result=_Info)
        return BlockId(info.blocks, info.bestblockhash)

    async def block(self, block_hash: str) -> Block:
        """A block with all its transactions."""
        try:
            found = await self.rpc.call("getblock", block_hash, 2, result=_Block)
        except NodeRefused as error:
            if error.code in {_NO_SUCH_THING, _NOT_IN_CHAIN}:  # unknown; or pruned, or not yet downloaded
                raise NodeUnavailable(f"the node does not have the block {block_hash}: {error}") from error
            raise
        if found.hash != block_hash:
            raise NodeUnavailable(f"the node answers with the block {found.hash} where {block_hash} was asked for")
        return _block(found)

    async def hash_at(self, height: int) -> str | None:
        """The best chain's block at this height."""
        try:
            return await self.rpc.call("getblockhash", height, result=Hash)
        except NodeRefused as error:
            if error.code == _OUT_OF_RANGE:
                return None
            raise

    async def broadcast(self, raw: bytes, txid: str) -> None:
        """Send it. What the node refuses, but knows already (by way of a peer, or mined), is a success."""
        try:
            sent = await self.rpc.call("sendrawtransaction", raw.hex(), result=Hash)
        except NodeRefused:
            if isinstance(await self.place_of(txid), Unknown):
                raise
            return
        if sent != txid:
            raise NodeUnavailable(f"the node took {txid} for {sent}")

    async def place_of(self, txid: str) -> Place:
        """In the best chain, in the pool, or neither."""
        try:
            found = await self.rpc.call("getrawtransaction", txid, 1, result=_Found)
        except NodeRefused as error:
            if error.code != _NO_SUCH_THING:
                raise
            if "being indexed" in str(error):  # its index lags behind its chain
                raise NodeUnavailable(str(error)) from error
            return Unknown()
        if found.blockhash is None:
            return InPool()
        header = await self.rpc.call("getblockheader", found.blockhash, result=_Header)
        if header.confirmations < 1:  # the block lost its place, and the transaction is not back in the pool
            return Unknown()
        return InBlock(BlockId(header.height, header.hash))

    async def fee_rate(self) -> FeeRate | None:
        """By estimatesmartfee; there is none on a young or quiet chain."""
        estimate = await self.rpc.call("estimatesmartfee", self.config.fee_target_blocks, result=_Estimate)
        return None if estimate.feerate is None else FeeRate(satoshi(estimate.feerate))

    async def balance(self, address: str, at: BlockId) -> int:
        """By a scan of all unspent outputs, which takes minutes on the main network. Only the head can be asked for."""
        found = await self.rpc.call("scantxoutset", "start", [f"addr({address})"], result=_Scan)
        if found.bestblock != at.hash:
            raise NodeUnavailable(f"the chain went on from {at.hash} to {found.bestblock} meanwhile")
        return satoshi(found.total_amount)


# What bitcoind says, as far as it matters ----------------------------------------------------------------------------


class _Info(msgspec.Struct, frozen=True):
    chain: str
    blocks: Count
    bestblockhash: Hash


class _Header(msgspec.Struct, frozen=True):
    hash: Hash
    height: Count
    confirmations: int


class _Script(msgspec.Struct, frozen=True):
    address: str | None = None


class _Out(msgspec.Struct, frozen=True, rename={"script": "scriptPubKey"}):
    value: Decimal
    n: Count
    script: _Script


class _In(msgspec.Struct, frozen=True):
    txid: Hash | None = None  # none in the coinbase transaction
    vout: Count = 0


class _Transaction(msgspec.Struct, frozen=True):
    txid: Hash
    vin: list[_In]
    vout: list[_Out]


class _Block(msgspec.Struct, frozen=True):
    hash: Hash
    height: Count
    time: Count
    tx: list[_Transaction]
    previousblockhash: Hash | None = None


class _Found(msgspec.Struct, frozen=True):
    txid: Hash
    blockhash: Hash | None = None


class _Estimate(msgspec.Struct, frozen=True):
    feerate: Decimal | None = None


class _Scan(msgspec.Struct, frozen=True):
    bestblock: Hash
    total_amount: Decimal


def _block(found: _Block) -> Block:
    if (found.previousblockhash is None) != (found.height == 0):
        raise NodeUnavailable(f"the node gives block {found.height} without the block before it")
    return Block(
        id=BlockId(found.height, found.hash),
        parent=found.previousblockhash or "",
        time=found.time,
        payments=tuple(
            Payment(transaction.txid, out.n, out.script.address, satoshi(out.value))
            for transaction in found.tx
            for out in transaction.vout
            if out.script.address is not None
        ),
        spends=tuple(
            Spend(transaction.txid, Outpoint(each.txid, each.vout))
            for transaction in found.tx
            for each in transaction.vin
            if each.txid is not None
        ),
    )

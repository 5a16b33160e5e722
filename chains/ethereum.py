"""An Ethereum node, and Ether as the asset on it.

A block is asked for by its hash, and its receipts with it: a payment counts only where the receipt says that the
transaction succeeded. What a contract sends within a transaction is no payment of that transaction, and is not seen.
"""

from collections.abc import Mapping, Sequence
from statistics import median_low
from typing import Annotated, Final

import msgspec
from attrs import frozen

from chains.ethereum_address import checksummed
from chains.node import (
    NATIVE,
    Block,
    BlockId,
    FeeRate,
    InBlock,
    InPool,
    NodeRefused,
    NodeUnavailable,
    Payment,
    Place,
    Unknown,
    WrongNode,
)
from chains.rpc import Rpc
from chains.wallet import Output
from chains.web3_provider import told_as_ours, web3_over

NO_PARENT: Final = "0x" + "0" * 64

# Of the newest blocks, how many are looked at for what miners are tipped, and which part of their gas paid less.
FEE_BLOCKS: Final = 5
FEE_PERCENTILE: Final = 50.0

Hash = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-f]{64}$")]
Address = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-fA-F]{40}$")]
Quantity = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-f]{1,64}$")]


@frozen(kw_only=True)
class EthereumConfig:
    """Which chain."""

    chain_id: int = 1

    def __attrs_post_init__(self) -> None:
        if self.chain_id < 1:
            raise ValueError(f"chain_id is {self.chain_id}: it must be 1 or more")


class Log(msgspec.Struct, frozen=True):
    """What a contract noted down in a transaction."""

    address: Address
    topics: list[Hash]
    data: Annotated[str, msgspec.Meta(pattern="^0x[0-9a-fA-F]*$")]


class Receipt(msgspec.Struct, frozen=True, rename="camel"):
    """What became of a transaction in a block."""

    transaction_hash: Hash
    block_hash: Hash
    block_number: Quantity
    status: Quantity
    from_: Address = msgspec.field(name="from")
    logs: list[Log]

    @property
    def succeeded(self) -> bool:
        """Whether it did what it says; a failed one costs its fee and does nothing else."""
        return int(self.status, 16) == 1


class Transaction(msgspec.Struct, frozen=True):
    """A transaction as it was sent."""

    hash: Hash
    value: Quantity
    to: Address | None = None  # none where it makes a contract


class Ethereum:
    """Ether's `AccountNode`."""

    def __init__(self, config: EthereumConfig, rpc: Rpc) -> None:
        self._config = config
        self._rpc = rpc
        self._web3 = web3_over(rpc)

    async def check(self) -> None:
        """The chain is the configured one."""
        async with told_as_ours():
            chain_id = await self._web3.eth.chain_id
        if chain_id != self._config.chain_id:
            raise WrongNode(f"the node is on chain {chain_id}, and {self._config.chain_id} is configured")

    async def head(self) -> BlockId:
        """The newest block."""
        return _id(await self._rpc.call("eth_getBlockByNumber", "latest", False, result=_Header))

    async def hash_at(self, height: int) -> str | None:
        """The best chain's block at this height."""
        found = await self._rpc.find("eth_getBlockByNumber", hex(height), False, result=_Header)
        return None if found is None else found.hash

    async def block(self, block_hash: str) -> Block:
        """A block, with what its transactions pay."""
        found = await self._rpc.find("eth_getBlockByHash", block_hash, True, result=_Block)
        if found is None:
            raise NodeUnavailable(f"the node does not have the block {block_hash}")
        if found.hash != block_hash:
            raise NodeUnavailable(f"the node answers with the block {found.hash} where {block_hash} was asked for")
        receipts = await self._rpc.call("eth_getBlockReceipts", block_hash, result=list[Receipt])
        if [(each.transaction_hash, each.block_hash) for each in receipts] != [
            (each.hash, block_hash) for each in found.transactions
        ]:
            raise NodeUnavailable(f"the node's receipts are not those of the block {block_hash}")
        return Block(
            id=_id(found),
            parent="" if found.parent_hash == NO_PARENT else found.parent_hash,
            time=int(found.timestamp, 16),
            payments=await self._payments(found.transactions, receipts, BlockHashes(found.hash, found.parent_hash)),
        )

    async def broadcast(self, raw: bytes, txid: str) -> None:
        """Send it. What the node refuses, but knows already, is a success."""
        try:
            sent = await self._rpc.call("eth_sendRawTransaction", "0x" + raw.hex(), result=Hash)
        except NodeRefused:
            if isinstance(await self.place_of(txid), Unknown):
                raise
            return
        if sent != txid:
            raise NodeUnavailable(f"the node took {txid} for {sent}")

    async def place_of(self, txid: str) -> Place:
        """In the best chain, in the pool, or neither."""
        receipt = await self._rpc.find("eth_getTransactionReceipt", txid, result=Receipt)
        if receipt is None:
            found = await self._rpc.find("eth_getTransactionByHash", txid, result=Transaction)
            return Unknown() if found is None else InPool()
        height = int(receipt.block_number, 16)
        if await self.hash_at(height) != receipt.block_hash:
            raise NodeUnavailable(f"the node has {txid} in a block that is not of its best chain; it is changing over")
        return InBlock(BlockId(height, receipt.block_hash), succeeded=self._paid(receipt))

    async def fee_rate(self) -> FeeRate | None:
        """The base fee of the next block, and the tip that is usual."""
        async with told_as_ours():
            history = await self._web3.eth.fee_history(FEE_BLOCKS, "latest", [FEE_PERCENTILE])
            base = int(history["baseFeePerGas"][-1])
            tips = [int(block[0]) for block in history.get("reward", [])]
        return FeeRate(base, median_low(tips) if tips else 0)

    async def balance(self, address: str, at: BlockId) -> int:
        """What an address has after this block."""
        return await self.ether(address, at)

    async def ether(self, address: str, at: BlockId) -> int:
        """What an address has of Ether, whichever asset this is the node of."""
        return int(await self._rpc.call("eth_getBalance", address, at_block(at.hash), result=Quantity), 16)

    async def nonce(self, address: str, at: BlockId) -> int:
        """How many transactions the address has sent up to this block."""
        return int(await self._rpc.call("eth_getTransactionCount", address, at_block(at.hash), result=Quantity), 16)

    async def gas(self, sender: str, output: Output) -> int:
        """How much gas this transfer would use now; NodeRefused where it would fail."""
        fields = {"from": sender, "to": output.address, "value": hex(output.amount)}
        return await self._estimate(fields)

    async def _estimate(self, fields: Mapping[str, str]) -> int:
        return int(await self._rpc.call("eth_estimateGas", fields, result=Quantity), 16)

    # What differs for a token.

    async def _payments(
        self, transactions: Sequence[Transaction], receipts: Sequence[Receipt], _block: "BlockHashes"
    ) -> tuple[Payment, ...]:
        return tuple(
            Payment(each.hash, NATIVE, checksummed(each.to), amount)
            for each, receipt in zip(transactions, receipts, strict=True)
            if each.to is not None and receipt.succeeded and (amount := int(each.value, 16)) > 0
        )

    def _paid(self, receipt: Receipt) -> bool:
        """Whether a mined transfer of ours did pay."""
        return receipt.succeeded


@frozen
class BlockHashes:
    """A block's, and that of the block before it."""

    hash: str
    parent: str


class _Header(msgspec.Struct, frozen=True):
    hash: Hash
    number: Quantity


class _Block(msgspec.Struct, frozen=True, rename="camel"):
    hash: Hash
    number: Quantity
    parent_hash: Hash
    timestamp: Quantity
    transactions: list[Transaction]


def _id(block: _Header | _Block) -> BlockId:
    return BlockId(int(block.number, 16), block.hash)


def at_block(block_hash: str) -> dict[str, str]:
    """A block, of whichever branch (EIP-1898). Not in web3's calls: it cannot pass this form on."""
    return {"blockHash": block_hash}

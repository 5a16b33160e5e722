"""What the exchange asks a blockchain's node: the one narrow interface that real nodes and the simulated one share.

One `Node` is one asset's view of one chain: Bitcoin's, Ether's, or that of a token on Ethereum. Amounts are integers
in the asset's base units on its chain (satoshi, wei, token units) and of any size; hashes and transaction ids are
lower-case hexadecimal as the chain's own tools print them. Every call may take long: deadlines are the caller's.

    ChainError
    ├─ NodeUnavailable      it did not answer, or with nothing of use: ask again later
    ├─ NodeRefused          it understood and refused: asking again will not help
    └─ WrongNode            it is on another network, or holds another token than is configured
"""

from typing import Final, Protocol

from attrs import frozen

# The position of a plain Ether transfer among what its transaction pays; a token's payments are its logs, from 0.
NATIVE: Final = -1


class ChainError(Exception):
    """A node did not do what it was asked."""


class NodeUnavailable(ChainError):  # noqa: N818 - names what happened
    """No answer, or a broken one; the same question may be answered later."""


class NodeRefused(ChainError):  # noqa: N818 - as above
    """The node's own error: its code, and its words in `args`."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"the node refused ({code}): {message}")
        self.code = code


class WrongNode(ChainError):  # noqa: N818 - as above
    """The node is not the configured one: another network or chain id, or a contract that is not the asset's."""


@frozen
class BlockId:
    """A block of a chain; the genesis block has height 0."""

    height: int
    hash: str


@frozen
class Payment:
    """One amount that a transaction pays to one address.

    `n` tells it from the others of the transaction, and stays the same when that is mined again: Bitcoin's output
    index, `NATIVE` for Ether, the position of a token's log among the logs of its own transaction.
    """

    txid: str
    n: int
    address: str
    amount: int


@frozen
class Outpoint:
    """An output of a transaction, as its spender names it."""

    txid: str
    n: int


@frozen
class Spend:
    """The transaction `txid` spends this output."""

    txid: str
    output: Outpoint


@frozen
class Block:
    """A block with all payments of the asset in it, in their order; failed transactions pay nothing and are left out.

    `spends` has every input of the block on a chain of outputs, and is empty on one of accounts. `time` is the miner's
    clock in seconds since 1970. The parent of the genesis block is "".
    """

    id: BlockId
    parent: str
    time: int
    payments: tuple[Payment, ...]
    spends: tuple[Spend, ...] = ()


@frozen
class InBlock:
    """The transaction is in this block of the best chain; a failed one (Ethereum) used its nonce and paid nothing."""

    block: BlockId
    succeeded: bool = True


@frozen
class InPool:
    """The transaction waits to be mined."""


@frozen
class Unknown:
    """The node does not know the transaction: never seen, replaced, or dropped."""


Place = InBlock | InPool | Unknown


@frozen
class FeeRate:
    """What makes a transaction be mined soon, by the node's estimate.

    Bitcoin: `rate` is satoshi per 1,000 virtual bytes, `tip` 0. Ethereum: `rate` is the base fee of the next block and
    `tip` the priority fee, wei per unit of gas.
    """

    rate: int
    tip: int = 0


class Node(Protocol):
    """A node as one asset's watcher and its chain's withdrawals see it.

    Every method may raise NodeUnavailable and NodeRefused.
    """

    async def check(self) -> None:
        """Make sure that this is the configured network and asset; WrongNode, naming both, if it is not."""
        ...

    async def head(self) -> BlockId:
        """The newest block of the chain that the node holds for the best. It may lag, and may lose blocks."""
        ...

    async def block(self, block_hash: str) -> Block:
        """The block of this hash, of whichever branch; NodeUnavailable if the node does not have it."""
        ...

    async def hash_at(self, height: int) -> str | None:
        """The hash of the best chain's block at this height; None above its head."""
        ...

    async def broadcast(self, raw: bytes, txid: str) -> None:
        """Send a signed transaction. One that the node already has, waiting or mined, is a success."""
        ...

    async def place_of(self, txid: str) -> Place:
        """Where the best chain and the pool have this transaction."""
        ...

    async def fee_rate(self) -> FeeRate | None:
        """The node's estimate; None if it has none."""
        ...

    async def balance(self, address: str, at: BlockId) -> int:
        """What an address holds of the asset after this block of the best chain."""
        ...


class AccountNode(Node, Protocol):
    """A node of a chain of accounts (Ethereum), where each transaction of an address uses up one nonce."""

    async def nonce(self, address: str, at: BlockId) -> int:
        """How many transactions of the address are in the chain up to and with this block: the next nonce."""
        ...

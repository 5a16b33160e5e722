"""Nodes, addresses and a signer of simulated chains: what the demo runs on, and what the tests make trouble with.

A `SimulatedNode` answers as a real one would, with the faults that it is told to have: it takes its time, does not
answer, does what it was asked and then does not answer, or lags behind the best chain by some blocks. All chance comes
from the `Random` that is handed in, so a seed repeats it.
"""

import hashlib
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final, Protocol

from attrs import frozen

from chains.node import (
    Block,
    BlockId,
    FeeRate,
    InBlock,
    InPool,
    NodeUnavailable,
    Payment,
    Place,
    Unknown,
)
from chains.simulated_chain import (
    ChainTerms,
    Key,
    Operation,
    SimulatedChain,
    Submit,
    Tx,
    address_of,
    checksum,
    decode,
    txid_of,
)
from chains.wallet import BadAddress, BitcoinPlan, EthereumPlan, Output, Plan, Signed

PLAIN_GAS: Final = 21_000
TOKEN_GAS: Final = 50_000

Sleep = Callable[[float], Awaitable[None]]


class Host(Protocol):
    """Whoever keeps a chain: reads go to the chain itself, operations through here."""

    @property
    def chain(self) -> SimulatedChain:
        """The chain as it is now."""
        ...

    async def do(self, operation: Operation) -> str:
        """Check and apply an operation; what `SimulatedChain.apply` returns, and raises what its `check` does."""
        ...


class MemoryHost:
    """Keeps a chain in memory only."""

    def __init__(self, terms: ChainTerms) -> None:
        self.chain = SimulatedChain(terms)

    async def do(self, operation: Operation) -> str:
        """Check and apply an operation."""
        return self.now(operation)

    def now(self, operation: Operation) -> str:
        """The same, for who does not wait."""
        self.chain.check(operation)
        return self.chain.apply(operation)


@frozen(kw_only=True)
class Faults:
    """What a node does wrong, each as a share of its answers."""

    unavailable: float = 0.0
    """No answer, and nothing done."""
    lost_reply: float = 0.0
    """Done, but no answer."""
    lag: float = 0.0
    """It answers as if up to `lag_blocks` of the newest blocks had not come yet."""
    lag_blocks: int = 2
    latency_seconds: float = 0.0
    """The longest that an answer takes."""


NO_FAULTS = Faults()


async def at_once(_seconds: float) -> None:
    """Latency for a node that has none."""


class SimulatedNode:
    """One asset's node of a simulated chain: `chains.node.AccountNode`."""

    def __init__(
        self, host: Host, asset: str, *, random: Random, sleep: Sleep = at_once, faults: Faults = NO_FAULTS
    ) -> None:
        self._host = host
        self._asset = asset
        self._random = random
        self._sleep = sleep
        self.faults = faults

    @property
    def _chain(self) -> SimulatedChain:
        return self._host.chain

    async def check(self) -> None:
        """It is what it was made for."""
        await self._answer()

    async def head(self) -> BlockId:
        """The end of the best chain, or what was it some blocks ago."""
        await self._answer()
        return self._seen()

    async def block(self, block_hash: str) -> Block:
        """A block of whichever branch."""
        await self._answer()
        block = self._chain.block(block_hash, self._asset)
        if block is None:
            raise NodeUnavailable(f"{self._asset}: the node has no block {block_hash}")
        return block

    async def hash_at(self, height: int) -> str | None:
        """The hash of the best chain's block at this height."""
        await self._answer()
        block = self._chain.at(height) if height <= self._seen().height else None
        return None if block is None else block.hash

    async def broadcast(self, raw: bytes, txid: str) -> None:
        """Submit a transaction."""
        await self._answer()
        given = await self._host.do(Submit(raw))
        if given != txid:
            raise AssertionError(f"{txid} is called {given} by the node")
        self._lose()

    async def place_of(self, txid: str) -> Place:
        """Where a transaction is."""
        await self._answer()
        mined = self._chain.mined.get(txid)
        if mined is None:
            return InPool() if txid in self._chain.pool else Unknown()
        return InBlock(mined.block, mined.succeeded) if mined.block.height <= self._seen().height else InPool()

    async def fee_rate(self) -> FeeRate | None:
        """What the chain wants."""
        await self._answer()
        return FeeRate(self._chain.terms.base_fee, 1)

    async def balance(self, address: str, at: BlockId) -> int:
        """What an address has."""
        await self._answer()
        self._must_be_best(at)
        return self._chain.balance_at(self._asset, address, at)

    async def nonce(self, address: str, at: BlockId) -> int:
        """How many transactions an address has sent."""
        await self._answer()
        self._must_be_best(at)
        return self._chain.nonce_at(address, at)

    async def gas(self, sender: str, output: Output) -> int:  # noqa: ARG002 - a transfer costs what it costs
        """The gas of a transfer: of a token it takes more."""
        await self._answer()
        return PLAIN_GAS if self._asset == self._chain.terms.coin else TOKEN_GAS

    def _must_be_best(self, at: BlockId) -> None:
        if self._chain.at(at.height) != at:
            raise NodeUnavailable(f"{self._asset}: block {at.hash} is not on the node's best chain")

    async def _answer(self) -> None:
        """Take some time, and perhaps do not answer at all."""
        await self._sleep(self._random.random() * self.faults.latency_seconds)
        if self._random.random() < self.faults.unavailable:
            raise NodeUnavailable(f"{self._asset}: the node does not answer")

    def _lose(self) -> None:
        if self._random.random() < self.faults.lost_reply:
            raise NodeUnavailable(f"{self._asset}: the node's answer was lost")

    def _seen(self) -> BlockId:
        head = self._chain.head
        if self._random.random() >= self.faults.lag:
            return head
        return self._chain.at(max(0, head.height - self._random.randint(1, self.faults.lag_blocks))) or head


class SimulatedAddresses:
    """The addresses of a simulated chain: `chains.wallet.AddressBook`. Nobody has the keys of its deposit addresses."""

    def __init__(self, prefix: str, xpub: str) -> None:
        self._prefix = prefix
        self._xpub = xpub

    def address(self, index: int) -> str:
        """The deposit address of this index."""
        return address_of(self._prefix, f"{self._xpub}/{index}".encode())

    def check_address(self, text: str) -> None:
        """Raises BadAddress unless `text` is one."""
        self.normal(text)

    def normal(self, text: str) -> str:
        """In lower case, its checksum right."""
        lower = text.lower() if text.isascii() else ""
        prefix, _, rest = lower.partition("1")
        if prefix != self._prefix:
            raise BadAddress(f"an address of this chain begins with {self._prefix}1, and {text!r:.80} does not")
        digits, check = rest[:40], rest[40:]
        if len(rest) != 48 or not set(rest) <= set("0123456789abcdef"):
            raise BadAddress(f"after {self._prefix}1 come 48 hexadecimal digits, and in {text!r:.80} they do not")
        if check != checksum(self._prefix, digits):
            raise BadAddress(f"the checksum of {text!r:.80} is wrong: a character of it is another one, or missing")
        return lower


class SimulatedSigner:
    """The hot wallet's key of a simulated chain: `chains.wallet.Signer`."""

    def __init__(self, terms: ChainTerms, key: Key) -> None:
        self._terms = terms
        self._key = key

    @property
    def address(self) -> str:
        """The hot wallet's address."""
        return self._key.address

    async def sign(self, plan: Plan) -> Signed:
        """Sign exactly this."""
        if isinstance(plan, BitcoinPlan):
            return self._outputs(plan)
        asset = self._terms.coin if plan.token is None else plan.token
        tx = Tx(
            asset,
            ((plan.output.address, plan.output.amount),),
            sender=self.address,
            nonce=plan.nonce,
            gas=plan.gas,
            max_fee=plan.max_fee,
            max_tip=plan.max_tip,
        )
        raw = self._key.sign(tx)
        return Signed(txid_of(raw), raw, plan.gas * plan.max_fee, nonce=plan.nonce)

    def _outputs(self, plan: BitcoinPlan) -> Signed:
        pays = [(plan.output.address, plan.output.amount)]
        if plan.change:
            pays.append((self.address, plan.change))
        inputs = tuple((coin.output.txid, coin.output.n) for coin in plan.coins)
        raw = self._key.sign(Tx(self._terms.coin, tuple(pays), inputs))
        txid = txid_of(raw)
        change = Payment(txid, 1, self.address, plan.change) if plan.change else None
        return Signed(txid, raw, plan.fee, tuple(coin.output for coin in plan.coins), change)


def script_of(address: str) -> bytes:
    """What stands for an address in an output, as long as Bitcoin's commonest."""
    return b"\x00\x14" + hashlib.sha256(address.encode()).digest()[:20]


def plan_of(terms: ChainTerms, raw: bytes) -> EthereumPlan:
    """The plan that a transaction of a chain of accounts was signed for."""
    tx = decode(raw)
    ((address, amount),) = tx.pays
    token = None if tx.asset == terms.coin else tx.asset
    return EthereumPlan(0, tx.nonce, Output(address, amount), token, tx.gas, tx.max_fee, tx.max_tip)

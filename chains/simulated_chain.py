"""A blockchain in memory: of outputs, as Bitcoin's, or of accounts with nonces and tokens, as Ethereum's. Pure.

All that happens to it is an operation: somebody outside pays, a signed transaction is submitted, blocks are mined, the
best chain is reorganised, a waiting transaction is dropped. The same operations give the same chain, hash for hash, so
whoever keeps the operations keeps the chain. `check` says beforehand whether an operation is possible; `apply` of one
that was checked does not fail.

What it shares with real chains: transactions are signed and known by the hash of their bytes; an output is spent once;
a nonce is used once and in turn; a transaction that waits may be replaced by one that pays more; mined transactions of
an abandoned block wait again, unless they are lost; a failed transfer of a token uses its nonce and fee, pays nothing.
What it leaves out: scripts, contracts, proof of work, sizes. Payments from outside come out of nothing.
"""

import hashlib
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Final

import msgspec
from attrs import define, field, frozen
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

from chains.node import NATIVE, Block, BlockId, NodeRefused, Outpoint, Payment, Spend

# Codes of bitcoind and of Ethereum's nodes for the same refusals.
UNDECODABLE: Final = -22
MISSING_INPUTS: Final = -25
REJECTED: Final = -26
BAD_TRANSACTION: Final = -32000
NONCE_TOO_LOW: Final = -32003

# What a transaction that replaces another must pay, in hundredths of the other's.
REPLACEMENT_PERCENT: Final = 110


class Kind(Enum):
    """What a chain counts in."""

    OUTPUTS = "outputs"
    ACCOUNTS = "accounts"


# --------------------------------------------------------------------------------------------------------- transactions


class Tx(Struct, frozen=True):
    """A transaction. One of outputs has `inputs`; one of accounts a `sender` and `nonce`; one from outside, neither."""

    asset: str
    pays: tuple[tuple[str, int], ...]
    inputs: tuple[tuple[str, int], ...] = ()
    sender: str = ""
    nonce: int = 0
    gas: int = 0
    max_fee: int = 0
    max_tip: int = 0
    serial: int = 0  # of a payment from outside: so that no two are the same
    public_key: bytes = b""
    signature: bytes = b""

    @property
    def raw(self) -> bytes:
        """The bytes that are broadcast."""
        return msgspec.json.encode(self)

    @property
    def outpoints(self) -> tuple[Outpoint, ...]:
        """What it spends."""
        return tuple(Outpoint(txid, n) for txid, n in self.inputs)

    @property
    def is_from_outside(self) -> bool:
        """Whether it came out of nothing."""
        return not self.inputs and not self.sender


def txid_of(raw: bytes) -> str:
    """How a transaction is known."""
    return hashlib.sha256(raw).hexdigest()


class Key:
    """A private key, and the address that it spends from. The same seed gives the same key."""

    def __init__(self, prefix: str, seed: str) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed.encode()).digest())
        self._public = self._key.public_key().public_bytes_raw()
        self.address = address_of(prefix, self._public)

    def sign(self, tx: Tx) -> bytes:
        """The bytes of the signed transaction."""
        unsigned = msgspec.structs.replace(tx, public_key=self._public, signature=b"")
        return msgspec.structs.replace(unsigned, signature=self._key.sign(unsigned.raw)).raw


def address_of(prefix: str, owner: bytes) -> str:
    """The address of whatever owns it, 40 hexadecimal digits, and 8 that check them."""
    digits = hashlib.sha256(owner).hexdigest()[:40]
    return f"{prefix}1{digits}{checksum(prefix, digits)}"


def checksum(prefix: str, digits: str) -> str:
    """The last 8 digits of an address."""
    return hashlib.sha256(f"{prefix}1{digits}".encode()).hexdigest()[:8]


def decode(raw: bytes) -> Tx:
    """The transaction that these bytes are, its signature checked. NodeRefused where they are none."""
    try:
        tx = msgspec.json.decode(raw, type=Tx)
        unsigned = msgspec.structs.replace(tx, signature=b"")
        Ed25519PublicKey.from_public_bytes(tx.public_key).verify(tx.signature, unsigned.raw)
    except (ValueError, RecursionError, InvalidSignature) as error:
        raise NodeRefused(UNDECODABLE, "TX decode failed, or not signed by whom it says") from error
    if tx.raw != raw:
        raise NodeRefused(UNDECODABLE, "TX decode failed: other bytes say the same")
    return tx


# ----------------------------------------------------------------------------------------------------------- operations


class _Operation(Struct, frozen=True, tag_field="op"):
    pass


class Pay(_Operation, frozen=True, tag="pay"):
    """Somebody outside pays to addresses, in one transaction; it waits to be mined."""

    asset: str
    pays: tuple[tuple[str, int], ...]


class Submit(_Operation, frozen=True, tag="submit"):
    """A signed transaction was sent to a node."""

    raw: bytes


class Mine(_Operation, frozen=True, tag="mine"):
    """So many blocks are mined; the first takes what waits and pays at least this, without what is left out."""

    time: int  # seconds since 1970
    blocks: int = 1
    least_fee: int = 0
    leave: tuple[str, ...] = ()


class Reorg(_Operation, frozen=True, tag="reorg"):
    """The newest `depth` blocks give way to `blocks` empty ones; what was in them waits again, or is lost."""

    time: int
    depth: int
    blocks: int
    lose: tuple[str, ...] = ()


class Drop(_Operation, frozen=True, tag="drop"):
    """Every node forgets a transaction that waits."""

    txid: str


Operation = Pay | Submit | Mine | Reorg | Drop


# ---------------------------------------------------------------------------------------------------------------- state


@frozen
class Mined:
    """Where a transaction is, whether it did what it says, and the miner's fee that it paid."""

    block: BlockId
    succeeded: bool
    fee: int


@define
class _Entry:
    """A block of the best chain, and how to take it back."""

    block: BlockId
    txids: list[str]
    undo: list[tuple[dict[Any, Any], Any, Any]] = field(factory=list)


_ABSENT: Final = object()


@frozen
class ChainTerms:
    """What a simulated chain is: its name, what it counts in, the assets on it (its own coin first), its addresses.

    `genesis` is what the first block pays: (asset, address, amount).
    """

    name: str
    kind: Kind
    assets: tuple[str, ...]
    prefix: str
    genesis: tuple[tuple[str, str, int], ...] = ()
    base_fee: int = 10
    """Satoshi per output or input on a chain of outputs; the price of a unit of gas on one of accounts."""

    @property
    def coin(self) -> str:
        """What fees are paid in."""
        return self.assets[0]


class SimulatedChain:
    """All blocks that ever were, the best chain's state, and the transactions that wait."""

    def __init__(self, terms: ChainTerms) -> None:
        self.terms = terms
        self.unspent: dict[Outpoint, tuple[str, int]] = {}
        self.spent_by: dict[Outpoint, str] = {}
        self.balances: dict[tuple[str, str], int] = {}
        self.nonces: dict[str, int] = {}
        self.mined: dict[str, Mined] = {}
        self.pool: dict[str, Tx] = {}
        self._txs: dict[str, Tx] = {}
        self._blocks: dict[str, tuple[Block, list[str]]] = {}
        self._best: list[_Entry] = []
        self._failed: set[tuple[str, str]] = set()  # (txid, hash of the block that it failed in)
        self._serial = 0
        for asset, address, amount in terms.genesis:
            self._pay(Pay(asset, ((address, amount),)))
        self._mine_one(0, list(self.pool))

    # Reading

    @property
    def head(self) -> BlockId:
        """The end of the best chain."""
        return self._best[-1].block

    def at(self, height: int) -> BlockId | None:
        """The best chain's block at this height."""
        return self._best[height].block if 0 <= height < len(self._best) else None

    def block(self, block_hash: str, asset: str) -> Block | None:
        """A block as one asset's node tells of it; None if there never was one of this hash."""
        known = self._blocks.get(block_hash)
        if known is None:
            return None
        block, txids = known
        return Block(block.id, block.parent, block.time, tuple(self._payments(block.id, txids, asset)), block.spends)

    def transaction(self, txid: str) -> Tx | None:
        """A transaction that waits, or was mined on whichever branch."""
        return self._txs.get(txid)

    def fees_paid(self, sender: str) -> int:
        """What this address has paid to miners on the best chain."""
        paid = 0
        for txid, mined in self.mined.items():
            tx = self._txs[txid]
            if sender in (tx.sender, *(self._owner(point) for point in tx.outpoints[:1])):
                paid += mined.fee
        return paid

    def nonce_at(self, address: str, at: BlockId) -> int:
        """The next nonce after this block of the best chain."""
        return int(self._value_at(self.nonces, address, at))

    def balance_at(self, asset: str, address: str, at: BlockId) -> int:
        """What an address holds after this block of the best chain."""
        return int(self._value_at(self.balances, (asset, address), at))

    def _value_at(self, values: Mapping[Any, int], key: object, at: BlockId) -> int:
        value = values.get(key, 0)
        for entry in self._best[: at.height : -1]:
            for changed, its_key, before in reversed(entry.undo):
                if changed is values and its_key == key:
                    value = 0 if before is _ABSENT else before
        return value

    def _payments(self, block: BlockId, txids: list[str], asset: str) -> Iterator[Payment]:
        for txid in txids:
            tx = self._txs[txid]
            if tx.asset == asset and self._succeeded(txid, block):
                for n, (address, amount) in enumerate(tx.pays):
                    yield Payment(txid, self._number(tx, n), address, amount)

    def _succeeded(self, txid: str, block: BlockId) -> bool:
        return (txid, block.hash) not in self._failed

    def _number(self, tx: Tx, place: int) -> int:
        return NATIVE if self.terms.kind is Kind.ACCOUNTS and tx.asset == self.terms.coin else place

    def _owner(self, point: Outpoint) -> str:
        return self._txs[point.txid].pays[point.n][0]

    # Operations

    def check(self, operation: Operation) -> None:
        """NodeRefused with the node's code, or ValueError naming the field, where an operation is impossible."""
        match operation:
            case Pay():
                self._check_pay(operation)
            case Submit():
                txid = txid_of(operation.raw)
                if txid not in self.pool and txid not in self.mined:
                    self._check_tx(decode(operation.raw))
            case Mine():
                _within("blocks", operation.blocks, 1, 1_000)
            case Reorg():
                _within("depth", operation.depth, 1, self.head.height)
                _within("blocks", operation.blocks, 0, 1_000)
            case Drop():
                if operation.txid not in self.pool:
                    raise ValueError(f"txid: no transaction {operation.txid:.64} waits")

    def apply(self, operation: Operation) -> str:
        """Do it; the transaction's id, or the hash of the new head."""
        match operation:
            case Pay():
                return self._pay(operation)
            case Submit():
                return self._submit(operation.raw)
            case Mine():
                self._mine(operation)
            case Reorg():
                self._reorg(operation)
            case Drop():
                self._forget(operation.txid)
        return self.head.hash

    def _check_pay(self, pay: Pay) -> None:
        if pay.asset not in self.terms.assets:
            raise ValueError(f"asset: {pay.asset!r:.30} is not on {self.terms.name}; it has {self.terms.assets}")
        if self.terms.kind is Kind.ACCOUNTS and pay.asset == self.terms.coin:
            _within("pays", len(pay.pays), 1, 1)
        for _, amount in pay.pays:
            _within("amount", amount, 0, 2**256 - 1)

    def _check_tx(self, tx: Tx) -> None:
        if tx.asset not in self.terms.assets or any(amount < 0 for _, amount in tx.pays) or not tx.pays:
            raise NodeRefused(UNDECODABLE, "TX decode failed: it pays nothing that is here")
        signer = address_of(self.terms.prefix, tx.public_key)
        if self.terms.kind is Kind.OUTPUTS:
            self._check_outputs(tx, signer)
        else:
            self._check_account(tx, signer)

    def _check_outputs(self, tx: Tx, signer: str) -> None:
        spent = [self._spendable(point) for point in tx.outpoints]
        if not spent or None in spent or len(set(tx.inputs)) < len(tx.inputs):
            raise NodeRefused(MISSING_INPUTS, "bad-txns-inputs-missingorspent")
        if any(owner != signer for owner, _ in filter(None, spent)):
            raise NodeRefused(REJECTED, "mandatory-script-verify-flag-failed")
        if self._fee(tx) < 0:
            raise NodeRefused(REJECTED, "bad-txns-in-belowout")
        rivals = self._rivals(tx)
        if any(self._fee(tx) <= self._fee(rival) for rival in rivals.values()):
            raise NodeRefused(REJECTED, "insufficient fee, rejecting replacement")

    def _check_account(self, tx: Tx, signer: str) -> None:
        if tx.sender != signer:
            raise NodeRefused(BAD_TRANSACTION, "invalid sender")
        if tx.nonce < self.nonces.get(signer, 0):
            raise NodeRefused(NONCE_TOO_LOW, "nonce too low")
        if tx.max_fee < self.terms.base_fee or len(tx.pays) != 1:
            raise NodeRefused(BAD_TRANSACTION, "max fee per gas less than block base fee")
        if self._cost(tx) > self.balances.get((self.terms.coin, signer), 0):
            raise NodeRefused(BAD_TRANSACTION, "insufficient funds for gas * price + value")
        if any(tx.max_fee * 100 < rival.max_fee * REPLACEMENT_PERCENT for rival in self._rivals(tx).values()):
            raise NodeRefused(BAD_TRANSACTION, "replacement transaction underpriced")

    def _cost(self, tx: Tx) -> int:
        return tx.gas * tx.max_fee + (tx.pays[0][1] if tx.asset == self.terms.coin else 0)

    def _spendable(self, point: Outpoint) -> tuple[str, int] | None:
        waiting = self.pool.get(point.txid)
        if waiting is not None and 0 <= point.n < len(waiting.pays):
            return waiting.pays[point.n]
        return self.unspent.get(point)

    def _fee(self, tx: Tx) -> int:
        if self.terms.kind is Kind.ACCOUNTS:
            return tx.gas * min(tx.max_fee, self.terms.base_fee + tx.max_tip)
        if tx.is_from_outside:
            return 0
        spent = sum(self._txs[point.txid].pays[point.n][1] for point in tx.outpoints)
        return spent - sum(amount for _, amount in tx.pays)

    def _rivals(self, tx: Tx) -> dict[str, Tx]:
        """The waiting transactions that cannot be mined together with this one."""
        if tx.is_from_outside:
            return {}
        if self.terms.kind is Kind.ACCOUNTS:
            return {i: other for i, other in self.pool.items() if (other.sender, other.nonce) == (tx.sender, tx.nonce)}
        return {i: other for i, other in self.pool.items() if set(other.inputs) & set(tx.inputs)}

    def _pay(self, pay: Pay) -> str:
        self._serial += 1
        tx = Tx(pay.asset, pay.pays, serial=self._serial)
        return self._wait(txid_of(f"{self.terms.name}{tx.raw.decode()}".encode()), tx)

    def _submit(self, raw: bytes) -> str:
        txid = txid_of(raw)
        if txid not in self.pool and txid not in self.mined:
            tx = decode(raw)
            for rival in self._rivals(tx):
                self._forget(rival)
            self._wait(txid, tx)
        return txid

    def _wait(self, txid: str, tx: Tx) -> str:
        self._txs[txid] = tx
        self.pool[txid] = tx
        return txid

    def _forget(self, txid: str) -> None:
        """Take it from the pool, with all that spends what it would have paid."""
        self.pool.pop(txid, None)
        for other, tx in list(self.pool.items()):
            if any(point.txid == txid for point in tx.outpoints):
                self._forget(other)

    # Mining

    def _mine(self, mine: Mine) -> None:
        chosen = [i for i, tx in self.pool.items() if i not in mine.leave and self._pays_enough(tx, mine.least_fee)]
        for _ in range(mine.blocks):
            self._mine_one(mine.time, chosen)
            chosen = []

    def _pays_enough(self, tx: Tx, least: int) -> bool:
        return tx.is_from_outside or (tx.max_fee if self.terms.kind is Kind.ACCOUNTS else self._fee(tx)) >= least

    def _mine_one(self, time: int, candidates: list[str]) -> None:
        self._serial += 1
        parent = self._best[-1].block.hash if self._best else ""
        height = len(self._best)
        chosen, spends = [], []
        entry = _Entry(BlockId(height, ""), [])
        failed = []
        for txid in sorted(candidates, key=lambda i: self._txs[i].nonce):
            tx = self._txs[txid]
            if not self._can_be_mined(tx):
                continue
            if not self._execute(txid, tx, entry):
                failed.append(txid)
            spends += [Spend(txid, point) for point in tx.outpoints]
            chosen.append(txid)
        digest = hashlib.sha256(f"{self.terms.name}|{parent}|{time}|{self._serial}|{chosen}".encode()).hexdigest()
        entry.block, entry.txids = BlockId(height, digest), chosen
        for txid in chosen:
            del self.pool[txid]
            fee = 0 if self._txs[txid].is_from_outside else self._fee(self._txs[txid])
            self._set(entry, self.mined, txid, Mined(entry.block, txid not in failed, fee))
        self._failed.update((txid, digest) for txid in failed)
        self._blocks[digest] = (Block(entry.block, parent, time, (), tuple(spends)), chosen)
        self._best.append(entry)
        for txid, tx in list(self.pool.items()):
            if self._is_hopeless(tx):
                self._forget(txid)

    def _can_be_mined(self, tx: Tx) -> bool:
        if tx.is_from_outside:
            return True
        if self.terms.kind is Kind.OUTPUTS:
            return all(point in self.unspent for point in tx.outpoints)
        funds = self.balances.get((self.terms.coin, tx.sender), 0)
        return tx.nonce == self.nonces.get(tx.sender, 0) and self._cost(tx) <= funds

    def _is_hopeless(self, tx: Tx) -> bool:
        """Whether the best chain has spent what it needs."""
        if self.terms.kind is Kind.OUTPUTS:
            return any(point in self.spent_by for point in tx.outpoints)
        return bool(tx.sender) and tx.nonce < self.nonces.get(tx.sender, 0)

    def _execute(self, txid: str, tx: Tx, entry: _Entry) -> bool:
        """Change the state as the transaction says; False where it fails, which costs only the fee."""
        coin = self.terms.coin
        for point in tx.outpoints:
            owner, amount = self.unspent[point]
            self._add(entry, (coin, owner), -amount)
            self._set(entry, self.unspent, point, _ABSENT)
            self._set(entry, self.spent_by, point, txid)
        if tx.sender:
            self._set(entry, self.nonces, tx.sender, tx.nonce + 1)
            self._add(entry, (coin, tx.sender), -self._fee(tx))
            paid = sum(amount for _, amount in tx.pays)
            if self.balances.get((tx.asset, tx.sender), 0) < paid:
                return False
            self._add(entry, (tx.asset, tx.sender), -paid)
        for n, (address, amount) in enumerate(tx.pays):
            self._add(entry, (tx.asset, address), amount)
            if self.terms.kind is Kind.OUTPUTS:
                self._set(entry, self.unspent, Outpoint(txid, n), (address, amount))
        return True

    def _add(self, entry: _Entry, key: tuple[str, str], amount: int) -> None:
        self._set(entry, self.balances, key, self.balances.get(key, 0) + amount)

    def _set(self, entry: _Entry, values: dict[Any, Any], key: object, value: object) -> None:
        entry.undo.append((values, key, values.get(key, _ABSENT)))
        _put(values, key, value)

    def _reorg(self, reorg: Reorg) -> None:
        for _ in range(reorg.depth):
            entry = self._best.pop()
            for values, key, before in reversed(entry.undo):
                _put(values, key, before)
            waiting = {txid: self._txs[txid] for txid in entry.txids}
            self.pool = {**waiting, **self.pool}
        for txid in reorg.lose:
            self._forget(txid)
        for _ in range(reorg.blocks):
            self._mine_one(reorg.time, [])


def _put(values: dict[Any, Any], key: object, value: object) -> None:
    if value is _ABSENT:
        values.pop(key, None)
    else:
        values[key] = value


def _within(field_name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ValueError(f"{field_name}: {value} is not from {least} to {most}")

"""The store of chain transactions: what is remembered of deposits, withdrawals, candles and the audit.

`TxStore` is the one interface; `persistence.sqlite` (embedded) and `persistence.mysql` (a server) are behind it. Each
method is one transaction: it happened wholly or not at all. Each arrow of a state machine is one method, names the
states it may start from, and is **safe to repeat**: it returns True if this call took the step, and False if the row
was past it already. A row that is elsewhere is a StoreConflict, and nothing was changed.

So a caller that got no answer does it again:

    StoreError
    ├─ StoreUnavailable     it cannot be reached, or did not answer in time: again later
    │  └─ CommitUnknown     the answer to the commit was lost: it happened wholly or not at all; again is right here too
    ├─ StoreConflict        the row is in another state, or holds something else: asking again will not help
    └─ StoreRefused         the store's configuration is at fault: a password, a certificate, a newer schema

Amounts named `amount` and `fee` are integers in the asset's base units on its chain (satoshi, wei, token units), from 0
to 2**256-1; those named `units` are engine units, 62 bits. Times are nanoseconds since 1970, and come from the caller.
Texts are exact: upper and lower case differ.
"""

from collections.abc import Sequence
from typing import Final, Literal, Protocol

from attrs import frozen

from book.queries import Candle

# What a column holds.
Value = int | str | None

MAX_AMOUNT: Final = 2**256 - 1
# Of one answer; who wants more asks again from where it ended.
MAX_ROWS: Final = 10_000


class StoreError(Exception):
    """The store did not do what it was asked; one sentence."""


class StoreUnavailable(StoreError):  # noqa: N818 - a condition that passes
    """The store cannot be reached, or did not answer in time. Ask again later."""


class CommitUnknown(StoreUnavailable):
    """The connection was lost while a commit was under way. Every method is safe to repeat."""


class StoreConflict(StoreError):  # noqa: N818 - says what is so
    """The row is not in a state this step starts from, or there is another row in its place. Nothing was changed."""


class StoreRefused(StoreError):  # noqa: N818 - says what is so
    """The store is not to be used as it is configured; an operator has to look."""


# ---------------------------------------------------------------------------------------------------------------- rows

DepositState = Literal["pending", "validated", "fulfilled", "orphaned", "frozen", "rejected"]
WithdrawalState = Literal[
    "requested",
    "awaiting_operator",
    "approved",
    "signed",
    "broadcast",
    "confirmed",
    "completed",
    "rejected",
    "cancelled",
    "failed",
]


@frozen
class ScanBlock:
    """A block that an asset's watcher has looked through, on what was the best chain."""

    asset: str
    height: int
    hash: str
    parent: str


@frozen
class DepositKey:
    """How a deposit is known for ever, here and in the engine."""

    chain: str
    txid: str
    n: int

    @property
    def id(self) -> str:
        """The engine's deposit id."""
        return f"{self.chain}:{self.txid}:{self.n}"


@frozen(kw_only=True)
class NewDeposit:
    """What a block pays to an address of ours."""

    key: DepositKey
    asset: str
    account: int
    address: str
    amount: int


@frozen(kw_only=True)
class DepositRow:
    """A deposit as it stands."""

    key: DepositKey
    asset: str
    account: int
    address: str
    amount: int
    height: int
    """Of the block that has it, or had it when it was orphaned."""
    block_hash: str
    state: DepositState
    reason: str
    """Why it is frozen or rejected; else empty."""
    units: int | None
    """What the engine credited, once it is fulfilled."""
    receipt: str
    """The engine's, once it is fulfilled; else empty."""
    seen_ns: int
    updated_ns: int


@frozen
class Outpoint:
    """An output of a transaction."""

    txid: str
    n: int


@frozen(kw_only=True)
class Utxo:
    """An output that the hot wallet owns."""

    asset: str
    output: Outpoint
    address: str
    amount: int
    height: int
    """Of the block that has it."""
    reserved_by: str = ""
    """The withdrawal whose transaction spends it; empty if it is free."""
    spent_txid: str = ""
    """The transaction of a scanned block that spends it; empty as long as none does."""
    spent_height: int | None = None


@frozen
class Spent:
    """A scanned block's transaction `txid` spends this output of the hot wallet."""

    output: Outpoint
    txid: str


@frozen(kw_only=True)
class Scanned:
    """All that a block means to us: stored in one transaction, so that no crash can lose a part of it."""

    block: ScanBlock
    deposits: Sequence[NewDeposit] = ()
    received: Sequence[Utxo] = ()
    spent: Sequence[Spent] = ()


@frozen
class BlockId:
    """A block, as `chains.node` names it."""

    height: int
    hash: str


@frozen(kw_only=True)
class NewWithdrawal:
    """A withdrawal as the engine's outbox has it."""

    id: str
    chain: str
    asset: str
    account: int
    address: str
    amount: int
    """To be paid out."""
    withdraw_order_id: str
    """Its owner's name for it."""
    units: int
    """The amount in the engine's units."""
    fee_units: int
    """What the customer pays for it, held on top."""


@frozen(kw_only=True)
class WithdrawalRow:
    """A withdrawal as it stands."""

    id: str
    chain: str
    asset: str
    account: int
    address: str
    amount: int
    withdraw_order_id: str
    units: int
    fee_units: int
    state: WithdrawalState
    reason: str
    """Why it waits for operators, or was rejected, cancelled or failed; else empty."""
    approvals: tuple[str, ...]
    """The operators who approved, in their order."""
    txid: str
    """The variant that is confirmed; else empty."""
    height: int | None
    """Of the block that has it."""
    block_hash: str
    receipt: str
    """The engine's, for the settled or released hold; else empty."""
    requested_ns: int
    updated_ns: int


@frozen(kw_only=True)
class WithdrawalTx:
    """One signed variant of a withdrawal's transaction. All variants share the nonce, or an input."""

    withdrawal_id: str
    txid: str
    raw: bytes
    fee: int
    """The miner's: paid on Bitcoin, the most it may be on Ethereum."""
    inputs: tuple[Outpoint, ...] = ()
    """Bitcoin: outputs of the hot wallet, reserved for the withdrawal with it."""
    sender: str = ""
    """Ethereum: the hot address."""
    nonce: int | None = None
    """Ethereum: the sender's, used up for the withdrawal with it."""
    signed_ns: int


@frozen
class NonceRow:
    """A nonce of a hot address that is given away for ever."""

    chain: str
    sender: str
    nonce: int
    withdrawal_id: str


@frozen
class AddressRow:
    """A deposit address, as it was pulled from the engine and derived."""

    chain: str
    index: int
    address: str
    account: int


@frozen
class WhitelistRow:
    """An address that an account may withdraw to, once the delay since `added_ns` is over."""

    account: int
    chain: str
    address: str
    added_ns: int


@frozen(kw_only=True)
class SweepRow:
    """What a transaction moved from a deposit address to the cold wallet."""

    asset: str
    txid: str
    address: str
    amount: int
    fee: int
    height: int
    swept_ns: int


@frozen
class Frozen:
    """A chain that is not to be acted on until an operator thaws it."""

    chain: str
    reason: str
    since_ns: int


@frozen(kw_only=True)
class CandleRow:
    """A closed candle of a market."""

    symbol: str
    interval_ns: int
    candle: Candle


@frozen(kw_only=True)
class AuditEntry:
    """Who did what, when, and what came of it. `id` is unique, so that an entry may be told twice."""

    id: str
    time_ns: int
    kind: str
    """logon, key, money or admin."""
    who: str
    """A uid, an operator or a key."""
    account: int | None
    what: str
    outcome: str


@frozen(kw_only=True)
class Totals:
    """An asset's sums for `reconcile`, in base units."""

    deposited: int
    """Of fulfilled deposits, dust included."""
    dust: int
    """Of it, what was too fine for the engine's units."""
    waiting: int
    """Of pending and validated deposits."""
    orphaned: int
    stuck: int
    """Of frozen and rejected deposits."""
    swept: int
    """That left the deposit addresses, sweeping fees included."""
    sweep_fees: int
    withdrawn: int
    """Of withdrawals that are confirmed or completed."""
    in_flight: int
    """Of withdrawals that are signed or broadcast."""
    miner_fees: int
    """Of the confirmed variants."""
    hot: int
    """Of unspent outputs of the hot wallet; 0 on a chain of accounts."""


# ----------------------------------------------------------------------------------------------------------- interface


class ChainStore(Protocol):
    """What watchers and withdrawals actors keep. Every method may raise StoreError."""

    # Scanning

    async def scanned_blocks(self, asset: str, limit: int) -> list[ScanBlock]:
        """The last blocks looked through, highest first."""
        ...

    async def add_block(self, scanned: Scanned, now_ns: int) -> bool:
        """A block was looked through. It must follow the last one; a deposit in it that was orphaned is pending again.

        A deposit that is known to be pending in another block is in this one from now on.
        """
        ...

    async def retreat(self, asset: str, height: int) -> int:
        """Forget the blocks above this height, which are not on the best chain any more; how many there were.

        Outputs of the hot wallet received in them are gone, and what they spent is unspent. StoreConflict while a
        pending or validated deposit is in one of them: ask the engine first, and orphan or fulfil it.
        """
        ...

    async def forget_old_blocks(self, asset: str, below: int) -> int:
        """Forget blocks below this height, which no reorg will reach; how many there were. The last one is kept."""
        ...

    async def addresses(self, chain: str, above: int = -1) -> list[AddressRow]:
        """Deposit addresses with an index above this one, lowest first, at most MAX_ROWS."""
        ...

    async def add_addresses(self, rows: Sequence[AddressRow]) -> int:
        """Deposit addresses; how many were new. StoreConflict if an index or an address is taken by another."""
        ...

    # Deposits

    async def deposit(self, key: DepositKey) -> DepositRow | None:
        """The deposit, if it is known."""
        ...

    async def deposits(self, asset: str, state: DepositState, limit: int = MAX_ROWS) -> list[DepositRow]:
        """The deposits in this state, lowest block first."""
        ...

    async def deposits_above(self, asset: str, height: int, limit: int = MAX_ROWS) -> list[DepositRow]:
        """The deposits in blocks above this height, in whichever state, highest block first."""
        ...

    async def deposits_of(self, account: int, limit: int, before_ns: int | None = None) -> list[DepositRow]:
        """An account's deposits seen before a time, newest first."""
        ...

    async def validate_deposit(self, key: DepositKey, block: BlockId, now_ns: int) -> bool:
        """Pending → validated: it is at depth, in this block of the best chain."""
        ...

    async def fulfil_deposit(self, key: DepositKey, units: int, receipt: str, dust: int, now_ns: int) -> bool:
        """Pending | validated | orphaned | frozen → fulfilled: the engine credited it.

        `dust` base units were too fine for it. StoreConflict if it is known with another receipt.
        """
        ...

    async def unfulfil_deposit(self, key: DepositKey, receipt: str, now_ns: int) -> bool:
        """Fulfilled → validated: an engine that was restored from a copy does not know this receipt."""
        ...

    async def orphan_deposit(self, key: DepositKey, block_hash: str, now_ns: int) -> bool:
        """Pending | validated | fulfilled → orphaned: this block of it left the best chain, uncredited."""
        ...

    async def freeze_deposit(self, key: DepositKey, reason: str, now_ns: int) -> bool:
        """Pending | validated | orphaned → frozen: it waits for an operator."""
        ...

    async def release_deposit(self, key: DepositKey, now_ns: int) -> bool:
        """Frozen → pending: it goes its way again, as far as the chain bears it out."""
        ...

    async def reject_deposit(self, key: DepositKey, reason: str, now_ns: int) -> bool:
        """Frozen → rejected: it will never be credited."""
        ...

    # Withdrawals

    async def withdrawal(self, withdrawal_id: str) -> WithdrawalRow | None:
        """The withdrawal, if it is known."""
        ...

    async def withdrawals(self, chain: str, state: WithdrawalState, limit: int = MAX_ROWS) -> list[WithdrawalRow]:
        """The withdrawals in this state, oldest first."""
        ...

    async def withdrawals_of(self, account: int, limit: int, before_ns: int | None = None) -> list[WithdrawalRow]:
        """An account's withdrawals requested before a time, newest first."""
        ...

    async def completed_withdrawals(self, chain: str, limit: int) -> list[WithdrawalRow]:
        """The completed ones, the one that was requested last first."""
        ...

    async def unsettled_withdrawals(self, chain: str, limit: int = MAX_ROWS) -> list[WithdrawalRow]:
        """Rejected, cancelled and failed ones whose hold the engine has not been seen to release, oldest first."""
        ...

    async def withdrawn_since(self, asset: str, since_ns: int, account: int | None = None) -> int:
        """The sum of what was requested since then and not rejected, cancelled or failed."""
        ...

    async def request_withdrawal(self, new: NewWithdrawal, now_ns: int) -> bool:
        """→ requested. StoreConflict if the id is known with anything else in it."""
        ...

    async def approve_withdrawal(self, withdrawal_id: str, now_ns: int) -> bool:
        """Requested → approved: within every limit."""
        ...

    async def hold_withdrawal(self, withdrawal_id: str, reason: str, now_ns: int) -> bool:
        """Requested → awaiting_operator."""
        ...

    async def add_approval(self, withdrawal_id: str, operator: str, needed: int, now_ns: int) -> WithdrawalRow:
        """An operator approves; with that of `needed` different ones awaiting_operator → approved. The row after it."""
        ...

    async def reject_withdrawal(self, withdrawal_id: str, reason: str, now_ns: int) -> bool:
        """Requested | awaiting_operator | approved → rejected."""
        ...

    async def cancel_withdrawal(self, withdrawal_id: str, reason: str, now_ns: int) -> bool:
        """Requested | awaiting_operator | approved → cancelled: the customer changed his mind in time."""
        ...

    async def sign_withdrawal(self, tx: WithdrawalTx) -> bool:
        """Approved → signed, with the signed bytes and what they spend, before the bytes go anywhere.

        Where it returns False one is signed already, or none will be: only what `withdrawal_txs` says may go anywhere.
        StoreConflict if an input or the nonce is taken.
        """
        ...

    async def replace_withdrawal_tx(self, tx: WithdrawalTx) -> bool:
        """Signed | broadcast → signed: another variant, which shares the nonce or an input with all before.

        Where it returns False, only what `withdrawal_txs` says may go anywhere.
        """
        ...

    async def broadcast_withdrawal(self, withdrawal_id: str, now_ns: int) -> bool:
        """Signed → broadcast: a node took the newest variant."""
        ...

    async def confirm_withdrawal(self, withdrawal_id: str, txid: str, block: BlockId, now_ns: int) -> bool:
        """Signed | broadcast → confirmed: this variant of it is at depth."""
        ...

    async def complete_withdrawal(self, withdrawal_id: str, receipt: str, now_ns: int) -> bool:
        """Confirmed → completed: the engine settled the hold."""
        ...

    async def fail_withdrawal(self, withdrawal_id: str, reason: str, now_ns: int) -> bool:
        """Signed | broadcast → failed: no variant can confirm any more. Its inputs that are unspent are free again."""
        ...

    async def release_withdrawal(self, withdrawal_id: str, receipt: str, now_ns: int) -> bool:
        """Rejected | cancelled | failed: the engine released the hold. The state stays."""
        ...

    async def withdrawal_txs(self, withdrawal_id: str) -> list[WithdrawalTx]:
        """Every signed variant, oldest first."""
        ...

    async def withdrawal_tx(self, chain: str, txid: str) -> WithdrawalTx | None:
        """The variant with this transaction id, if it is one of ours."""
        ...

    # The hot wallet

    async def utxos(self, asset: str) -> list[Utxo]:
        """The hot wallet's unspent outputs, reserved ones too, by height and name."""
        ...

    async def utxo(self, asset: str, output: Outpoint) -> Utxo | None:
        """The output, spent or not, if it was one of the hot wallet's."""
        ...

    async def next_nonce(self, chain: str, sender: str) -> int | None:
        """One more than the highest nonce given away; None if none was."""
        ...

    async def nonces(self, chain: str, sender: str, above: int = -1) -> list[NonceRow]:
        """The nonces given away above this one, lowest first, at most MAX_ROWS."""
        ...

    # What operators and policy decide

    async def frozen_chains(self) -> list[Frozen]:
        """The chains that wait for an operator."""
        ...

    async def freeze_chain(self, chain: str, reason: str, now_ns: int) -> bool:
        """Nothing is done on this chain until an operator thaws it. The first reason stays."""
        ...

    async def thaw_chain(self, chain: str) -> bool:
        """The chain is acted on again."""
        ...

    async def whitelist(self, account: int, chain: str) -> list[WhitelistRow]:
        """The addresses that the account may withdraw to, oldest first."""
        ...

    async def add_to_whitelist(self, row: WhitelistRow) -> bool:
        """An account may withdraw to this address; the time of the first call stays."""
        ...

    async def remove_from_whitelist(self, account: int, chain: str, address: str) -> bool:
        """And now it may not any more."""
        ...

    # Reconciling

    async def add_sweep(self, row: SweepRow) -> bool:
        """A deposit address was swept. StoreConflict if that transaction is known to have swept another amount."""
        ...

    async def sweeps(self, asset: str, limit: int = MAX_ROWS) -> list[SweepRow]:
        """The newest sweeps, newest first."""
        ...

    async def totals(self, chain: str, asset: str) -> Totals:
        """The asset's sums, all as of one moment."""
        ...


class ArchiveStore(Protocol):
    """What is kept for those who ask later. Every method may raise StoreError."""

    async def add_candles(self, rows: Sequence[CandleRow], through_seq: int) -> None:
        """Closed candles, in place of those of the same symbol, interval and opening.

        With them it is known that the candles of all commands through this sequence number are here.
        """
        ...

    async def candles_through(self) -> int:
        """The highest sequence number that `add_candles` was told; 0 at first."""
        ...

    async def candles(self, symbol: str, interval_ns: int, start_ns: int, end_ns: int, limit: int) -> list[Candle]:
        """The last candles that open in [start_ns, end_ns), oldest first."""
        ...

    async def add_audit(self, entries: Sequence[AuditEntry]) -> int:
        """Append to the audit; how many were not there already."""
        ...

    async def audit(
        self,
        *,
        since_ns: int = 0,
        before_ns: int | None = None,
        kind: str | None = None,
        who: str | None = None,
        account: int | None = None,
        limit: int = 100,
    ) -> list[AuditEntry]:
        """The newest entries that fit everything that is said, newest first."""
        ...

    async def prune_audit(self, before_month: int) -> int:
        """Forget the entries of months before this one (202611: November 2026, UTC); how many there were."""
        ...


class TxStore(ChainStore, ArchiveStore, Protocol):
    """All of it, and the store itself."""

    async def check(self) -> None:
        """Make sure that the store answers and has this program's schema, which is brought up to date if need be."""
        ...

    async def dump(self, table: str, after: Sequence[Value] | None, limit: int) -> list[tuple[Value, ...]]:
        """Rows of one of `schema.TABLES` in the order of their keys, after this key: for the cold backup."""
        ...

    async def restore(self, table: str, rows: Sequence[Sequence[Value]]) -> None:
        """Put dumped rows back. StoreConflict if one of them is there already with anything else in it."""
        ...

    async def aclose(self) -> None:
        """Let go of everything; nothing may be asked afterwards."""
        ...

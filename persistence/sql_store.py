"""The store of chain transactions in SQL: the interface of `persistence.txstore` over any database."""

from collections.abc import Sequence
from functools import partial

from book.queries import Candle
from persistence import sql_archive as archive
from persistence import sql_deposits as deposits
from persistence import sql_policy as policy
from persistence import sql_scanning as scanning
from persistence import sql_withdrawals as withdrawals
from persistence.statements import Database
from persistence.txstore import (
    MAX_ROWS,
    AddressRow,
    AuditEntry,
    BlockId,
    CandleRow,
    DepositKey,
    DepositRow,
    DepositState,
    Frozen,
    NewWithdrawal,
    NonceRow,
    Outpoint,
    ScanBlock,
    Scanned,
    SweepRow,
    Totals,
    Utxo,
    Value,
    WhitelistRow,
    WithdrawalRow,
    WithdrawalState,
    WithdrawalTx,
)


def _few(limit: int) -> int:
    """A limit, as far as it goes. Raises ValueError for one below 1."""
    if limit < 1:
        raise ValueError(f"limit {limit} is below 1")
    return min(limit, MAX_ROWS)


class SqlStore:
    """`TxStore` in SQL. What each method promises is said there."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._transact = database.transact

    async def check(self) -> None:
        """Make sure that the store answers, with this program's schema."""
        await self._database.check()

    async def aclose(self) -> None:
        """Let go of everything."""
        await self._database.aclose()

    # Scanning

    async def scanned_blocks(self, asset: str, limit: int) -> list[ScanBlock]:
        """The last blocks looked through, highest first."""
        return await self._transact(partial(scanning.scanned_blocks, asset, _few(limit)))

    async def add_block(self, scanned: Scanned, now_ns: int) -> bool:
        """A block was looked through. It must follow the last one; what was orphaned is pending again."""
        return await self._transact(partial(scanning.add_block, scanned, now_ns))

    async def retreat(self, asset: str, height: int) -> int:
        """Forget the blocks above this height, which are not on the best chain any more; how many there were."""
        return await self._transact(partial(scanning.retreat, asset, height))

    async def forget_old_blocks(self, asset: str, below: int) -> int:
        """Forget blocks below this height, which no reorg will reach; how many there were. The last one is kept."""
        return await self._transact(partial(scanning.forget_old_blocks, asset, below))

    async def addresses(self, chain: str, above: int = -1) -> list[AddressRow]:
        """Deposit addresses with an index above this one, lowest first, at most MAX_ROWS."""
        return await self._transact(partial(scanning.addresses, chain, above))

    async def add_addresses(self, rows: Sequence[AddressRow]) -> int:
        """Deposit addresses; how many were new. StoreConflict if an index or an address is taken by another."""
        return await self._transact(partial(scanning.add_addresses, rows))

    # Deposits

    async def deposit(self, key: DepositKey) -> DepositRow | None:
        """The deposit, if it is known."""
        return await self._transact(partial(deposits.find, key))

    async def deposits(self, asset: str, state: DepositState, limit: int = MAX_ROWS) -> list[DepositRow]:
        """The deposits in this state, lowest block first."""
        return await self._transact(partial(deposits.in_state, asset, state, _few(limit)))

    async def deposits_above(self, asset: str, height: int, limit: int = MAX_ROWS) -> list[DepositRow]:
        """The deposits in blocks above this height, in whichever state, highest block first."""
        return await self._transact(partial(deposits.above, asset, height, _few(limit)))

    async def deposits_of(self, account: int, limit: int, before_ns: int | None = None) -> list[DepositRow]:
        """An account's deposits seen before a time, newest first."""
        return await self._transact(partial(deposits.of_account, account, _few(limit), before_ns))

    async def validate_deposit(self, key: DepositKey, block: BlockId, now_ns: int) -> bool:
        """Pending → validated: it is at depth, in this block of the best chain."""
        return await self._transact(partial(deposits.validate, key, block, now_ns))

    async def fulfil_deposit(self, key: DepositKey, units: int, receipt: str, dust: int, now_ns: int) -> bool:
        """Pending | validated | orphaned | frozen → fulfilled: the engine credited it."""
        return await self._transact(partial(deposits.fulfil, key, units, receipt, dust, now_ns))

    async def unfulfil_deposit(self, key: DepositKey, receipt: str, now_ns: int) -> bool:
        """Fulfilled → validated: an engine that was restored from a copy does not know this receipt."""
        return await self._transact(partial(deposits.unfulfil, key, receipt, now_ns))

    async def orphan_deposit(self, key: DepositKey, block_hash: str, now_ns: int) -> bool:
        """Pending | validated | fulfilled → orphaned: this block of it left the best chain, uncredited."""
        return await self._transact(partial(deposits.orphan, key, block_hash, now_ns))

    async def freeze_deposit(self, key: DepositKey, reason: str, now_ns: int) -> bool:
        """Pending | validated | orphaned → frozen: it waits for an operator."""
        return await self._transact(partial(deposits.freeze, key, reason, now_ns))

    async def release_deposit(self, key: DepositKey, now_ns: int) -> bool:
        """Frozen → pending: it goes its way again, as far as the chain bears it out."""
        return await self._transact(partial(deposits.release, key, now_ns))

    async def reject_deposit(self, key: DepositKey, reason: str, now_ns: int) -> bool:
        """Frozen → rejected: it will never be credited."""
        return await self._transact(partial(deposits.reject, key, reason, now_ns))

    # Withdrawals

    async def withdrawal(self, withdrawal_id: str) -> WithdrawalRow | None:
        """The withdrawal, if it is known."""
        return await self._transact(partial(withdrawals.find, withdrawal_id))

    async def withdrawals(self, chain: str, state: WithdrawalState, limit: int = MAX_ROWS) -> list[WithdrawalRow]:
        """The withdrawals in this state, oldest first."""
        return await self._transact(partial(withdrawals.in_state, chain, state, _few(limit)))

    async def withdrawals_of(self, account: int, limit: int, before_ns: int | None = None) -> list[WithdrawalRow]:
        """An account's withdrawals requested before a time, newest first."""
        return await self._transact(partial(withdrawals.of_account, account, _few(limit), before_ns))

    async def completed_withdrawals(self, chain: str, limit: int) -> list[WithdrawalRow]:
        """The completed ones, newest first."""
        return await self._transact(partial(withdrawals.completed, chain, _few(limit)))

    async def unsettled_withdrawals(self, chain: str, limit: int = MAX_ROWS) -> list[WithdrawalRow]:
        """Rejected, cancelled and failed ones whose hold the engine has not been seen to release, oldest first."""
        return await self._transact(partial(withdrawals.unsettled, chain, _few(limit)))

    async def withdrawn_since(self, asset: str, since_ns: int, account: int | None = None) -> int:
        """The sum of what was requested since then and not rejected, cancelled or failed."""
        return await self._transact(partial(withdrawals.withdrawn_since, asset, since_ns, account))

    async def request_withdrawal(self, new: NewWithdrawal, now_ns: int) -> bool:
        """→ requested. StoreConflict if the id is known with anything else in it."""
        return await self._transact(partial(withdrawals.request, new, now_ns))

    async def approve_withdrawal(self, withdrawal_id: str, now_ns: int) -> bool:
        """Requested → approved: within every limit."""
        return await self._transact(partial(withdrawals.approve, withdrawal_id, now_ns))

    async def hold_withdrawal(self, withdrawal_id: str, reason: str, now_ns: int) -> bool:
        """Requested → awaiting_operator."""
        return await self._transact(partial(withdrawals.hold, withdrawal_id, reason, now_ns))

    async def add_approval(self, withdrawal_id: str, operator: str, needed: int, now_ns: int) -> WithdrawalRow:
        """An operator approves; with that of `needed` different ones awaiting_operator → approved. The row after it."""
        return await self._transact(partial(withdrawals.add_approval, withdrawal_id, operator, needed, now_ns))

    async def reject_withdrawal(self, withdrawal_id: str, reason: str, now_ns: int) -> bool:
        """Requested | awaiting_operator | approved → rejected."""
        return await self._transact(partial(withdrawals.reject, withdrawal_id, reason, now_ns))

    async def cancel_withdrawal(self, withdrawal_id: str, reason: str, now_ns: int) -> bool:
        """Requested | awaiting_operator | approved → cancelled: the customer changed his mind in time."""
        return await self._transact(partial(withdrawals.cancel, withdrawal_id, reason, now_ns))

    async def sign_withdrawal(self, tx: WithdrawalTx) -> bool:
        """Approved → signed, with the signed bytes and what they spend, before the bytes go anywhere."""
        return await self._transact(partial(withdrawals.sign, tx))

    async def replace_withdrawal_tx(self, tx: WithdrawalTx) -> bool:
        """Signed | broadcast → signed: another variant, which shares the nonce or an input with all before."""
        return await self._transact(partial(withdrawals.replace, tx))

    async def broadcast_withdrawal(self, withdrawal_id: str, now_ns: int) -> bool:
        """Signed → broadcast: a node took the newest variant."""
        return await self._transact(partial(withdrawals.broadcast, withdrawal_id, now_ns))

    async def confirm_withdrawal(self, withdrawal_id: str, txid: str, block: BlockId, now_ns: int) -> bool:
        """Signed | broadcast → confirmed: this variant of it is at depth."""
        return await self._transact(partial(withdrawals.confirm, withdrawal_id, txid, block, now_ns))

    async def complete_withdrawal(self, withdrawal_id: str, receipt: str, now_ns: int) -> bool:
        """Confirmed → completed: the engine settled the hold."""
        return await self._transact(partial(withdrawals.complete, withdrawal_id, receipt, now_ns))

    async def fail_withdrawal(self, withdrawal_id: str, reason: str, now_ns: int) -> bool:
        """Signed | broadcast → failed: no variant can confirm any more. Its inputs that are unspent are free again."""
        return await self._transact(partial(withdrawals.fail, withdrawal_id, reason, now_ns))

    async def release_withdrawal(self, withdrawal_id: str, receipt: str, now_ns: int) -> bool:
        """Rejected | cancelled | failed: the engine released the hold. The state stays."""
        return await self._transact(partial(withdrawals.release, withdrawal_id, receipt, now_ns))

    async def withdrawal_txs(self, withdrawal_id: str) -> list[WithdrawalTx]:
        """Every signed variant, oldest first."""
        return await self._transact(partial(withdrawals.txs, withdrawal_id))

    async def withdrawal_tx(self, chain: str, txid: str) -> WithdrawalTx | None:
        """The variant with this transaction id, if it is one of ours."""
        return await self._transact(partial(withdrawals.tx, chain, txid))

    # The hot wallet

    async def utxos(self, asset: str) -> list[Utxo]:
        """The hot wallet's unspent outputs, reserved ones too, by height and name."""
        return await self._transact(partial(withdrawals.utxos, asset))

    async def utxo(self, asset: str, output: Outpoint) -> Utxo | None:
        """The output, spent or not, if it was one of the hot wallet's."""
        return await self._transact(partial(withdrawals.utxo, asset, output))

    async def next_nonce(self, chain: str, sender: str) -> int | None:
        """One more than the highest nonce given away; None if none was."""
        return await self._transact(partial(withdrawals.next_nonce, chain, sender))

    async def nonces(self, chain: str, sender: str, above: int = -1) -> list[NonceRow]:
        """The nonces given away above this one, lowest first, at most MAX_ROWS."""
        return await self._transact(partial(withdrawals.nonces, chain, sender, above))

    # What operators and policy decide

    async def frozen_chains(self) -> list[Frozen]:
        """The chains that wait for an operator."""
        return await self._transact(policy.frozen_chains)

    async def freeze_chain(self, chain: str, reason: str, now_ns: int) -> bool:
        """Nothing is done on this chain until an operator thaws it. The first reason stays."""
        return await self._transact(partial(policy.freeze_chain, chain, reason, now_ns))

    async def thaw_chain(self, chain: str) -> bool:
        """The chain is acted on again."""
        return await self._transact(partial(policy.thaw_chain, chain))

    async def whitelist(self, account: int, chain: str) -> list[WhitelistRow]:
        """The addresses that the account may withdraw to, oldest first."""
        return await self._transact(partial(policy.whitelist, account, chain))

    async def add_to_whitelist(self, row: WhitelistRow) -> bool:
        """An account may withdraw to this address; the time of the first call stays."""
        return await self._transact(partial(policy.add_to_whitelist, row))

    async def remove_from_whitelist(self, account: int, chain: str, address: str) -> bool:
        """And now it may not any more."""
        return await self._transact(partial(policy.remove_from_whitelist, account, chain, address))

    # Reconciling

    async def add_sweep(self, row: SweepRow) -> bool:
        """A deposit address was swept. StoreConflict if that transaction is known to have swept another amount."""
        return await self._transact(partial(policy.add_sweep, row))

    async def sweeps(self, asset: str, limit: int = MAX_ROWS) -> list[SweepRow]:
        """The newest sweeps, newest first."""
        return await self._transact(partial(policy.sweeps, asset, _few(limit)))

    async def totals(self, chain: str, asset: str) -> Totals:
        """The asset's sums, all as of one moment."""
        return await self._transact(partial(policy.totals, chain, asset), snapshot=True)

    async def add_candles(self, rows: Sequence[CandleRow], through_seq: int) -> None:
        """Closed candles, in place of those of the same symbol, interval and opening."""
        await self._transact(partial(archive.add_candles, rows, through_seq))

    async def candles_through(self) -> int:
        """The highest sequence number that `add_candles` was told; 0 at first."""
        return await self._transact(archive.candles_through)

    async def candles(self, symbol: str, interval_ns: int, start_ns: int, end_ns: int, limit: int) -> list[Candle]:
        """The last candles that open in [start_ns, end_ns), oldest first."""
        return await self._transact(partial(archive.candles, symbol, interval_ns, start_ns, end_ns, _few(limit)))

    async def add_audit(self, entries: Sequence[AuditEntry]) -> int:
        """Append to the audit; how many were not there already."""
        return await self._transact(partial(archive.add_audit, entries))

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
        return await self._transact(partial(archive.audit, (since_ns, before_ns), kind, who, account, _few(limit)))

    async def prune_audit(self, before_month: int) -> int:
        """Forget the entries of months before this one (202611: November 2026, UTC); how many there were."""
        return await self._transact(partial(archive.prune_audit, before_month))

    async def dump(self, table: str, after: Sequence[Value] | None, limit: int) -> list[tuple[Value, ...]]:
        """Rows of one of `schema.TABLES` in the order of their keys, after this key: for the cold backup."""
        return await self._transact(partial(archive.dump, table, after, _few(limit)))

    async def restore(self, table: str, rows: Sequence[Sequence[Value]]) -> None:
        """Put dumped rows back. StoreConflict if one of them is there already with anything else in it."""
        await self._transact(partial(archive.restore, table, rows))

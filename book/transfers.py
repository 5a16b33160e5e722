"""Money that leaves: addresses to arrive at, withdrawals and their holds, and when none of it goes on.

Each function judges in full before it changes anything, and answers with the event, or with why not. Who asks has been
judged before. How far a withdrawal's transaction is, the engine does not know: it holds until it is told how it ended.
"""

import re
from typing import Final

from book import codes
from book.client_order_ids import is_client_order_id
from book.commands import (
    AdoptWithdrawal,
    AllocateAddress,
    BeginEpoch,
    PauseWithdrawals,
    ReleaseWithdrawal,
    RequestWithdrawal,
    SettleWithdrawal,
    Transfer,
)
from book.definitions import Asset
from book.deposits import OUTSIDE_ID
from book.epochs import MAX_EPOCH
from book.events import (
    AddressAllocated,
    EpochBegun,
    Event,
    Rejected,
    Withdrawal,
    WithdrawalHeld,
    WithdrawalReleased,
    WithdrawalSettled,
    WithdrawalsPaused,
)
from book.ledger import HOUSE, hold, release, settle
from book.refusals import bad_name, declined, outside
from book.settings import REASON
from book.state import State
from book.terms import HELD, MAX_INT, RELEASED, SETTLED
from book.withdrawals import MAX_PENDING

_ADDRESS: Final = re.compile(r"[!-~]{1,128}")
_RECEIPT: Final = re.compile(r"([1-9][0-9]{0,9})-([1-9][0-9]{0,18})", re.ASCII)


def carry_out(state: State, command: Transfer, seq: int, time_ns: int) -> Event | Rejected:
    """Let one of these commands take effect, or say why not."""
    if type(command) is SettleWithdrawal:
        return _settle_withdrawal(state, command, seq)
    if type(command) is ReleaseWithdrawal:
        return _release_withdrawal(state, command, seq)
    if type(command) is AdoptWithdrawal:
        return _adopt_withdrawal(state, command, seq, time_ns)
    if type(command) is PauseWithdrawals:
        return _pause_withdrawals(state, command)
    return _begin_epoch(state, command, seq)


# Addresses


def allocate_address(state: State, command: AllocateAddress) -> Event | Rejected:
    """Give the account its address on the asset's chain, unless it has it."""
    asset = state.registry.assets.get(command.asset)
    if asset is None:
        return Rejected(codes.INVALID_PARAMETER, "UNKNOWN_ASSET", "asset")
    if not asset.chain:
        return Rejected(codes.INVALID_PARAMETER, "NO_CHAIN", "asset")
    index = state.addresses.index_of(asset.chain, command.account)
    if index >= 0:
        return Rejected(codes.INVALID_PARAMETER, "HAS_ADDRESS", "asset", ref=index)
    index = state.addresses.allocate(asset.chain, command.account)
    return AddressAllocated(asset.chain, command.account, index)


# Withdrawals


def request_withdrawal(state: State, command: RequestWithdrawal, seq: int, time_ns: int) -> Event | Rejected:
    """Hold for a withdrawal, and put it into the outbox."""
    asset = state.registry.assets.get(command.asset)
    if asset is None:
        return _rejected("UNKNOWN_ASSET", "asset")
    refused = _bad_request(state, command, asset)
    if refused is not None:
        return refused
    withdrawal = Withdrawal(
        state.epochs.receipt(seq),
        command.account,
        command.withdraw_order_id,
        command.asset,
        command.address,
        command.amount,
        asset.withdrawal_fee,
        HELD,
        time_ns,
        seq,
    )
    return _hold(state, withdrawal, asset)


def _bad_request(state: State, command: RequestWithdrawal, asset: Asset) -> Rejected | None:
    refused = _rejected("NO_CHAIN", "asset") if not asset.chain else None
    return (
        refused
        or _bad_form(command.withdraw_order_id, command.address)
        or _known_before(state, command)
        or _unwelcome(state, command)
        or _bad_amount(state, command, asset)
    )


def _bad_form(withdraw_order_id: str, address: str) -> Rejected | None:
    if not is_client_order_id(withdraw_order_id):
        return Rejected(codes.INVALID_PARAMETER, "", "withdraw_order_id")
    if not _ADDRESS.fullmatch(address):
        return Rejected(codes.BAD_ADDRESS, "", "address")
    return None


def _known_before(state: State, command: RequestWithdrawal) -> Rejected | None:
    first = state.withdrawals.named(command.account, command.withdraw_order_id)
    if first is None:
        return None
    same = (first.asset, first.address, first.amount) == (command.asset, command.address, command.amount)
    return _rejected("DUPLICATE_WITHDRAWAL" if same else "WITHDRAWAL_DIFFERS", "withdraw_order_id", ref=first.seq)


def _unwelcome(state: State, command: RequestWithdrawal) -> Rejected | None:
    if state.withdrawals_paused:
        return _rejected("WITHDRAWALS_PAUSED", "")
    if state.accounts[command.account].frozen:
        return _rejected("ACCOUNT_FROZEN", "account", command.account)
    if command.asset in state.registry.frozen_assets:
        return _rejected("ASSET_FROZEN", "asset")
    return None


def _bad_amount(state: State, command: RequestWithdrawal, asset: Asset) -> Rejected | None:
    amount, fee = command.amount, asset.withdrawal_fee
    if amount > MAX_INT - fee:
        return _rejected("OVERFLOW", "amount", amount, MAX_INT - fee)
    least = max(asset.min_withdrawal, 1)
    if amount < least:
        return _rejected("MIN_WITHDRAWAL", "amount", amount, least)
    pending = len(state.withdrawals.pending_of(command.account))
    if pending >= MAX_PENDING:
        return _rejected("TOO_MANY_WITHDRAWALS", "account", pending, MAX_PENDING)
    available = state.ledger.balance(command.account, command.asset).available
    if amount + fee > available:
        return _rejected("INSUFFICIENT_BALANCE", "amount", amount + fee, available)
    return None


def _hold(state: State, withdrawal: Withdrawal, asset: Asset) -> Event:
    hold(state.ledger.balance(withdrawal.account, withdrawal.asset), withdrawal.amount + withdrawal.fee)
    state.withdrawals.add(withdrawal, asset.chain)
    return WithdrawalHeld(withdrawal)


def _rejected(reason: str, field: str, value: int = 0, limit: int = 0, ref: int = 0) -> Rejected:
    return Rejected(codes.WITHDRAWAL_REJECTED, reason, field, value, limit, ref)


# How they end


def _settle_withdrawal(state: State, command: SettleWithdrawal, seq: int) -> Event | Rejected:
    """Let what was paid be gone, and the fee be the house's."""
    withdrawal = state.withdrawals.get(command.withdrawal_id)
    if withdrawal is None:
        return declined("UNKNOWN_WITHDRAWAL", "withdrawal_id")
    refused = bad_name("txid", command.txid, OUTSIDE_ID)
    if refused is not None:
        return refused
    if withdrawal.state == RELEASED:
        return declined("WITHDRAWAL_RELEASED", "withdrawal_id", ref=withdrawal.receipt)
    if withdrawal.state == SETTLED:
        reason = "ALREADY_SETTLED" if withdrawal.note == command.txid else "SETTLEMENT_DIFFERS"
        return declined(reason, "withdrawal_id", ref=withdrawal.receipt)
    ledger, asset = state.ledger, withdrawal.asset
    ledger.pay_out(withdrawal.account, asset, withdrawal.amount)
    settle(ledger.balance(withdrawal.account, asset), ledger.balance(HOUSE, asset), withdrawal.fee)
    return WithdrawalSettled(_end(state, withdrawal, SETTLED, seq, command.txid))


def _release_withdrawal(state: State, command: ReleaseWithdrawal, seq: int) -> Event | Rejected:
    """Give back what was held."""
    withdrawal = state.withdrawals.get(command.withdrawal_id)
    if withdrawal is None:
        return declined("UNKNOWN_WITHDRAWAL", "withdrawal_id")
    refused = bad_name("reason", command.reason, REASON)
    if refused is not None:
        return refused
    if withdrawal.state != HELD:
        reason = "WITHDRAWAL_SETTLED" if withdrawal.state == SETTLED else "ALREADY_RELEASED"
        return declined(reason, "withdrawal_id", ref=withdrawal.receipt)
    release(state.ledger.balance(withdrawal.account, withdrawal.asset), withdrawal.amount + withdrawal.fee)
    return WithdrawalReleased(_end(state, withdrawal, RELEASED, seq, command.reason))


def _end(state: State, withdrawal: Withdrawal, ending: int, seq: int, note: str) -> Withdrawal:
    chain = state.registry.assets[withdrawal.asset].chain
    return state.withdrawals.end(withdrawal, chain, ending, seq, note)


# Operators and restored logs


def _adopt_withdrawal(state: State, command: AdoptWithdrawal, seq: int, time_ns: int) -> Event | Rejected:
    """Hold for a withdrawal that a log which is lost held for."""
    refused = _bad_adoption(state, command)
    if refused is not None:
        return refused
    withdrawal = Withdrawal(
        command.withdrawal_id,
        command.account,
        command.withdraw_order_id,
        command.asset,
        command.address,
        command.amount,
        command.fee,
        HELD,
        time_ns,
        seq,
    )
    return _hold(state, withdrawal, state.registry.assets[command.asset])


def _bad_adoption(state: State, command: AdoptWithdrawal) -> Rejected | None:  # noqa: PLR0911 -- one rule, one answer
    refused = _bad_old_id(state, command)
    if refused is not None:
        return refused
    if command.account not in state.accounts:
        return declined("UNKNOWN_ACCOUNT", "account", command.account)
    asset = state.registry.assets.get(command.asset)
    if asset is None:
        return declined("UNKNOWN_ASSET", "asset")
    if not asset.chain:
        return declined("NO_CHAIN", "asset")
    malformed = _bad_form(command.withdraw_order_id, command.address)
    if malformed is not None:
        return declined("BAD_NAME", malformed.field)
    named = state.withdrawals.named(command.account, command.withdraw_order_id)
    if named is not None:
        return declined("WITHDRAWAL_DIFFERS", "withdraw_order_id", ref=named.seq)
    refused = outside("amount", command.amount, 1, MAX_INT) or outside("fee", command.fee, 0, MAX_INT)
    if refused is not None:
        return refused
    if command.amount > MAX_INT - command.fee:
        return declined("OVERFLOW", "amount", command.amount, MAX_INT - command.fee)
    need, available = (
        command.amount + command.fee,
        state.ledger.balance(command.account, command.asset).available,
    )
    return declined("INSUFFICIENT_BALANCE", "amount", need, available) if need > available else None


def _bad_old_id(state: State, command: AdoptWithdrawal) -> Rejected | None:
    written = _RECEIPT.fullmatch(command.withdrawal_id)
    if written is None:
        return declined("BAD_NAME", "withdrawal_id")
    first = state.withdrawals.get(command.withdrawal_id)
    if first is not None:
        known = (first.account, first.withdraw_order_id, first.asset, first.address, first.amount, first.fee)
        asked = (
            *(command.account, command.withdraw_order_id, command.asset, command.address),
            *(command.amount, command.fee),
        )
        reason = "DUPLICATE_WITHDRAWAL" if known == asked else "WITHDRAWAL_DIFFERS"
        return declined(reason, "withdrawal_id", ref=first.seq)
    return outside("withdrawal_id", int(written[1]), 1, state.epochs.current - 1)


def _pause_withdrawals(state: State, command: PauseWithdrawals) -> Event | Rejected:
    """Let no withdrawals be requested or sent, or let them again."""
    if state.withdrawals_paused == command.paused:
        return declined("UNCHANGED", "paused", int(command.paused))
    state.withdrawals_paused = command.paused
    return WithdrawalsPaused(command.paused)


def _begin_epoch(state: State, command: BeginEpoch, seq: int) -> Event | Rejected:
    """Give receipts of this epoch from here on."""
    refused = outside("epoch", command.epoch, state.epochs.current + 1, MAX_EPOCH)
    if refused is not None:
        return refused
    state.epochs.begin(command.epoch, seq)
    return EpochBegun(command.epoch)

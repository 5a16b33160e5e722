"""Addresses and withdrawals in the reference engine: who may ask, what is held, how it ends.

Comments that begin with > are sentences of docs/engine.md, the lines below follow them.
"""

import re
from collections.abc import Iterator

import msgspec

from book import codes, terms
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
from book.queries import (
    AccountWithdrawals,
    Address,
    AddressesSince,
    AddressOf,
    DepositReceipt,
    DepositReceiptView,
    Outbox,
    OutboxView,
    PendingWithdrawals,
    WithdrawalReceipt,
    WithdrawalStatus,
    WithdrawalView,
)
from book.reference_definitions import demand_name, demand_range
from book.reference_judging import judge_sender
from book.reference_rules import Refusal, demand
from book.reference_state import HOUSE, State
from book.terms import HELD, MAX_INT

REFUSED = codes.DEFINITION_REJECTED
WRONG = codes.INVALID_PARAMETER

TransferQuery = (
    AddressOf
    | AddressesSince
    | DepositReceipt
    | Outbox
    | AccountWithdrawals
    | PendingWithdrawals
    | WithdrawalStatus
    | WithdrawalReceipt
)


def allocate(state: State, command: AllocateAddress, time_ns: int) -> Iterator[Event]:
    """Give the account an address."""
    # > who asks (as for an order, but the key may `read`), the asset, that it has a chain, that the account has no
    # > address there yet
    judge_sender(state, command, time_ns, terms.READ)
    chain = _chain(state, command.asset, WRONG)
    for given in state.addresses:
        if (given.chain, given.account) == (chain, command.account):
            raise Refusal(Rejected(WRONG, "HAS_ADDRESS", "asset", ref=given.index))
    # > an index, given out from 0 on in the order in which accounts ask
    given = AddressAllocated(chain, command.account, len(_addresses(state, chain)))
    state.addresses.append(given)
    yield given


def request(state: State, command: RequestWithdrawal, seq: int, time_ns: int) -> Iterator[Event]:
    """Hold for a withdrawal."""
    no = codes.WITHDRAWAL_REJECTED
    account, name, amount = command.account, command.asset, command.amount
    judge_sender(state, command, time_ns, terms.WITHDRAW)
    _chain(state, name, no)
    (asset,) = (each for each in state.assets if each.name == name)
    _demand_form(command)
    for first in state.withdrawals:
        if (first.account, first.withdraw_order_id) == (account, command.withdraw_order_id):
            same = (first.asset, first.address, first.amount) == (name, command.address, amount)
            reason = "DUPLICATE_WITHDRAWAL" if same else "WITHDRAWAL_DIFFERS"
            raise Refusal(Rejected(no, reason, "withdraw_order_id", ref=first.seq))
    demand(not state.withdrawals_paused, no, "WITHDRAWALS_PAUSED")
    demand(account not in state.frozen_accounts, no, "ACCOUNT_FROZEN", "account", account)
    demand(name not in state.frozen_assets, no, "ASSET_FROZEN", "asset")
    most, least = MAX_INT - asset.withdrawal_fee, max(1, asset.min_withdrawal)
    demand(amount <= most, no, "OVERFLOW", "amount", amount, most)
    demand(amount >= least, no, "MIN_WITHDRAWAL", "amount", amount, least)
    # > fewer than 100 withdrawals of the account are held for
    pending = len(_held_of(state, account))
    demand(pending < 100, no, "TOO_MANY_WITHDRAWALS", "account", pending, 100)
    need, available = amount + asset.withdrawal_fee, state.available(account, name)
    demand(need <= available, no, "INSUFFICIENT_BALANCE", "amount", need, available)
    # > Its id is the receipt of the request.
    withdrawal = Withdrawal(
        withdrawal_id=state.receipt(seq),
        account=account,
        withdraw_order_id=command.withdraw_order_id,
        asset=name,
        address=command.address,
        amount=amount,
        fee=asset.withdrawal_fee,
        state=HELD,
        requested_ns=time_ns,
        seq=seq,
    )
    state.withdrawals.append(withdrawal)
    yield WithdrawalHeld(withdrawal)


def carry_out(state: State, command: Transfer, seq: int, time_ns: int) -> Iterator[Event]:
    """What comes of one that no account asks for."""
    if isinstance(command, SettleWithdrawal):
        return _settle(state, command, seq)
    if isinstance(command, ReleaseWithdrawal):
        return _release(state, command, seq)
    if isinstance(command, AdoptWithdrawal):
        return _adopt(state, command, seq, time_ns)
    if isinstance(command, PauseWithdrawals):
        return _pause(state, command)
    return _begin_epoch(state, command, seq)


def _settle(state: State, command: SettleWithdrawal, seq: int) -> Iterator[Event]:
    known = _known(state, command.withdrawal_id)
    demand_name("txid", command.txid, "[!-~]{1,200}")
    _demand_not(known, terms.RELEASED, "WITHDRAWAL_RELEASED")
    _demand_not(known, terms.SETTLED, "ALREADY_SETTLED" if known.note == command.txid else "SETTLEMENT_DIFFERS")
    # > the amount has left the exchange, the fee is the house's
    state.give(known.account, known.asset, -known.amount - known.fee)
    state.give(HOUSE.account, known.asset, known.fee)
    yield WithdrawalSettled(_end(state, known, terms.SETTLED, seq, command.txid))


def _release(state: State, command: ReleaseWithdrawal, seq: int) -> Iterator[Event]:
    known = _known(state, command.withdrawal_id)
    demand_name("reason", command.reason, "[ -~]{1,200}")
    _demand_not(known, terms.RELEASED, "ALREADY_RELEASED")
    _demand_not(known, terms.SETTLED, "WITHDRAWAL_SETTLED")
    # > both are available again
    yield WithdrawalReleased(_end(state, known, terms.RELEASED, seq, command.reason))


def _end(state: State, held: Withdrawal, ending: int, seq: int, note: str) -> Withdrawal:
    ended = msgspec.structs.replace(held, state=ending, receipt=seq, note=note)
    state.withdrawals[state.withdrawals.index(held)] = ended
    return ended


def _adopt(state: State, command: AdoptWithdrawal, seq: int, time_ns: int) -> Iterator[Event]:
    demand_name("withdrawal_id", command.withdrawal_id, "[1-9][0-9]{0,9}-[1-9][0-9]{0,18}")
    asked = Withdrawal(
        withdrawal_id=command.withdrawal_id,
        account=command.account,
        withdraw_order_id=command.withdraw_order_id,
        asset=command.asset,
        address=command.address,
        amount=command.amount,
        fee=command.fee,
        state=HELD,
        requested_ns=time_ns,
        seq=seq,
    )
    for first in state.withdrawals:
        if first.withdrawal_id == asked.withdrawal_id:
            again = msgspec.structs.replace(
                asked,
                state=first.state,
                requested_ns=first.requested_ns,
                seq=first.seq,
                receipt=first.receipt,
                note=first.note,
            )
            reason = "DUPLICATE_WITHDRAWAL" if again == first else "WITHDRAWAL_DIFFERS"
            raise Refusal(Rejected(REFUSED, reason, "withdrawal_id", ref=first.seq))
    # > of an epoch before the current one
    demand_range("withdrawal_id", int(command.withdrawal_id.split("-")[0]), 1, state.epoch - 1)
    demand(command.account in state.account_ids(), REFUSED, "UNKNOWN_ACCOUNT", "account", command.account)
    _chain(state, command.asset, REFUSED)
    try:
        _demand_form(command)
    except Refusal as refusal:
        raise Refusal(Rejected(REFUSED, "BAD_NAME", refusal.answer.field)) from None
    for first in state.withdrawals:
        if (first.account, first.withdraw_order_id) == (command.account, command.withdraw_order_id):
            raise Refusal(Rejected(REFUSED, "WITHDRAWAL_DIFFERS", "withdraw_order_id", ref=first.seq))
    demand_range("amount", command.amount, 1, MAX_INT)
    demand_range("fee", command.fee, 0, MAX_INT)
    need, available = command.amount + command.fee, state.available(command.account, command.asset)
    demand(need <= MAX_INT, REFUSED, "OVERFLOW", "amount", command.amount, MAX_INT - command.fee)
    demand(need <= available, REFUSED, "INSUFFICIENT_BALANCE", "amount", need, available)
    state.withdrawals.append(asked)
    yield WithdrawalHeld(asked)


def _pause(state: State, command: PauseWithdrawals) -> Iterator[Event]:
    changes = command.paused != state.withdrawals_paused
    demand(changes, REFUSED, "UNCHANGED", "paused", int(command.paused))
    state.withdrawals_paused = command.paused
    yield WithdrawalsPaused(command.paused)


def _begin_epoch(state: State, command: BeginEpoch, seq: int) -> Iterator[Event]:
    # > each restored backup begins a greater one, below 2^32
    demand_range("epoch", command.epoch, state.epoch + 1, 2**32 - 1)
    state.epochs[command.epoch] = seq
    yield EpochBegun(command.epoch)


# --- What there must be -----------------------------------------------------------------------------------------------


def _chain(state: State, name: str, code: int) -> str:
    found = [asset for asset in state.assets if asset.name == name]
    demand(bool(found), code, "UNKNOWN_ASSET", "asset")
    demand(bool(found[0].chain), code, "NO_CHAIN", "asset")
    return found[0].chain


def _demand_form(command: RequestWithdrawal | AdoptWithdrawal) -> None:
    # > `withdraw_order_id` is written as a `client_order_id` is; `address` is 1 to 128 printable characters
    named = re.fullmatch("[A-Za-z0-9._:/-]{1,36}", command.withdraw_order_id) is not None
    demand(named, WRONG, "", "withdraw_order_id")
    demand(re.fullmatch("[!-~]{1,128}", command.address) is not None, codes.BAD_ADDRESS, "", "address")


def _known(state: State, withdrawal_id: str) -> Withdrawal:
    found = [withdrawal for withdrawal in state.withdrawals if withdrawal.withdrawal_id == withdrawal_id]
    demand(bool(found), REFUSED, "UNKNOWN_WITHDRAWAL", "withdrawal_id")
    return found[0]


def _demand_not(withdrawal: Withdrawal, ending: int, reason: str) -> None:
    demand(withdrawal.state != ending, REFUSED, reason, "withdrawal_id", ref=withdrawal.receipt)


# --- Questions --------------------------------------------------------------------------------------------------------


TransferAnswer = Address | list[Address] | DepositReceiptView | OutboxView | list[Withdrawal] | WithdrawalView


def answer(state: State, query: TransferQuery) -> TransferAnswer:
    """The answer to a question about addresses, deposits or withdrawals; raises Refusal where there is none."""
    if isinstance(query, AddressOf | PendingWithdrawals | AccountWithdrawals | WithdrawalStatus):
        demand(query.account in state.account_ids(), codes.UNAUTHORIZED, "UNKNOWN_ACCOUNT", "account", query.account)
        return _answer_account(state, query)
    if isinstance(query, AddressesSince):
        _demand_page(query.limit, "index", query.index)
        return _addresses(state, query.chain)[query.index :][: query.limit]
    if isinstance(query, Outbox):
        _demand_page(query.limit, "after_seq", query.after_seq)
        return OutboxView(state.withdrawals_paused, _outbox(state, query))
    if isinstance(query, DepositReceipt):
        for deposit in state.deposits:
            if deposit.deposit_id == query.deposit_id:
                receipt = state.receipt(deposit.receipt)
                return DepositReceiptView(deposit.deposit_id, deposit.account, deposit.asset, deposit.amount, receipt)
        raise Refusal(Rejected(REFUSED, "UNKNOWN_DEPOSIT", "deposit_id"))
    return _view(state, _known(state, query.withdrawal_id))


def _answer_account(
    state: State, query: AddressOf | PendingWithdrawals | AccountWithdrawals | WithdrawalStatus
) -> TransferAnswer:
    if isinstance(query, AddressOf):
        chain = _chain(state, query.asset, WRONG)
        found = [address for address in _addresses(state, chain) if address.account == query.account]
        demand(bool(found), WRONG, "NO_ADDRESS", "asset")
        return found[0]
    if isinstance(query, PendingWithdrawals):
        return _held_of(state, query.account)
    if isinstance(query, AccountWithdrawals):
        _demand_page(query.limit, "limit", 0)
        mine = [withdrawal for withdrawal in state.withdrawals if withdrawal.account == query.account]
        return mine[::-1][: query.limit]
    for withdrawal in state.withdrawals:
        if (withdrawal.account, withdrawal.withdraw_order_id) == (query.account, query.withdraw_order_id):
            return _view(state, withdrawal)
    raise Refusal(Rejected(WRONG, "UNKNOWN_WITHDRAWAL", "withdraw_order_id"))


def _addresses(state: State, chain: str) -> list[Address]:
    return [Address(each.chain, each.index, each.account) for each in state.addresses if each.chain == chain]


def _held_of(state: State, account: int) -> list[Withdrawal]:
    return [each for each in state.withdrawals if each.state == HELD and each.account == account]


def _outbox(state: State, query: Outbox) -> list[WithdrawalView]:
    names = [asset.name for asset in state.assets if asset.chain == query.chain]
    wanted = [each for each in state.withdrawals if each.state == HELD and each.asset in names]
    return [_view(state, each) for each in wanted if each.seq > query.after_seq][: query.limit]


def _view(state: State, withdrawal: Withdrawal) -> WithdrawalView:
    if withdrawal.state != HELD:
        return WithdrawalView(withdrawal, state.receipt(withdrawal.receipt))
    # > first `ACCOUNT_FROZEN`, then `ASSET_FROZEN`
    if withdrawal.account in state.frozen_accounts:
        return WithdrawalView(withdrawal, "", "ACCOUNT_FROZEN")
    return WithdrawalView(withdrawal, "", "ASSET_FROZEN" if withdrawal.asset in state.frozen_assets else "")


def _demand_page(limit: int, field: str, first: int) -> None:
    demand(1 <= limit <= 1_000, WRONG, "", "limit", limit, 1_000)
    demand(first >= 0, WRONG, "", field, first)

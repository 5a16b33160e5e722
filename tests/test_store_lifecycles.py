"""The store's arrows are those of the lifecycles in `chains`: the same states lead to the same ones."""

from collections.abc import Awaitable, Callable

import pytest

from chains.lifecycle import (
    DEPOSIT,
    WITHDRAWAL,
    DepositEvent,
    DepositState,
    Effect,
    WithdrawalEvent,
    WithdrawalState,
)
from persistence.sql_store import SqlStore
from persistence.txstore import BlockId, Scanned, StoreConflict, TxStore
from tests.stores import block, in_memory, new_deposit, new_withdrawal, spending, utxo

KEY = new_deposit().key
BLOCK = BlockId(1, "hash1")

Arrow = Callable[[TxStore], Awaitable[bool]]

DEPOSIT_ARROWS: dict[DepositEvent, Arrow] = {
    DepositEvent.DEEP: lambda store: store.validate_deposit(KEY, BLOCK, 9),
    DepositEvent.CREDITED: lambda store: store.fulfil_deposit(KEY, 5, "1-5", 0, 9),
    DepositEvent.GONE_CREDITED: lambda store: store.fulfil_deposit(KEY, 5, "1-5", 0, 9),
    DepositEvent.UNCREDITED: lambda store: store.unfulfil_deposit(KEY, "1-5", 9),
    DepositEvent.GONE: lambda store: store.orphan_deposit(KEY, "hash1", 9),
    DepositEvent.FREEZE: lambda store: store.freeze_deposit(KEY, "why", 9),
    DepositEvent.REFUSED: lambda store: store.freeze_deposit(KEY, "why", 9),
    DepositEvent.RELEASE: lambda store: store.release_deposit(KEY, 9),
    DepositEvent.REJECT: lambda store: store.reject_deposit(KEY, "why", 9),
}
WITHDRAWAL_ARROWS: dict[WithdrawalEvent, Arrow] = {
    WithdrawalEvent.ALLOWED: lambda store: store.approve_withdrawal("1-10", 9),
    WithdrawalEvent.HELD_BACK: lambda store: store.hold_withdrawal("1-10", "why", 9),
    WithdrawalEvent.REJECT: lambda store: store.reject_withdrawal("1-10", "why", 9),
    WithdrawalEvent.CANCEL: lambda store: store.cancel_withdrawal("1-10", "why", 9),
    WithdrawalEvent.SIGN: lambda store: store.sign_withdrawal(spending("1-10", utxo().output, txid="new")),
    WithdrawalEvent.SENT: lambda store: store.broadcast_withdrawal("1-10", 9),
    WithdrawalEvent.BUMP: lambda store: store.replace_withdrawal_tx(spending("1-10", utxo().output, txid="bump")),
    WithdrawalEvent.DEEP: lambda store: store.confirm_withdrawal("1-10", "tx", BLOCK, 9),
    WithdrawalEvent.SETTLED: lambda store: store.complete_withdrawal("1-10", "1-5", 9),
    WithdrawalEvent.DEAD: lambda store: store.fail_withdrawal("1-10", "why", 9),
}


async def moved(store: TxStore, arrow: Arrow) -> bool | None:
    """Whether the arrow was taken; None if it leads nowhere from here."""
    try:
        return await arrow(store)
    except StoreConflict:
        return None


async def deposit_in(state: DepositState) -> SqlStore:
    """A store with one deposit, in this state."""
    store = SqlStore(in_memory())
    await store.add_block(Scanned(block=block(1), deposits=[new_deposit()]), 1)
    if state in {DepositState.VALIDATED, DepositState.FULFILLED}:
        await store.validate_deposit(KEY, BLOCK, 2)
    if state is DepositState.FULFILLED:
        await store.fulfil_deposit(KEY, 5, "1-5", 0, 3)
    if state is DepositState.ORPHANED:
        await store.orphan_deposit(KEY, "hash1", 2)
    if state in {DepositState.FROZEN, DepositState.REJECTED}:
        await store.freeze_deposit(KEY, "why", 2)
    if state is DepositState.REJECTED:
        await store.reject_deposit(KEY, "why", 3)
    return store


@pytest.mark.parametrize("state", DepositState)
@pytest.mark.parametrize("event", DEPOSIT_ARROWS)
async def test_a_deposits_arrows(state: DepositState, event: DepositEvent) -> None:
    """What changes a state in the table does so here; what does not is told as past, or refused."""
    store = await deposit_in(state)
    step = DEPOSIT.step(state, event)
    outcome = await moved(store, DEPOSIT_ARROWS[event])
    row = await store.deposit(KEY)
    assert row is not None
    if event is DepositEvent.REFUSED and step.effect is Effect.ALARM:
        return  # the store cannot tell it from an operator's freeze, which the table allows in more states
    assert row.state == step.state.value
    if step.state is not state:
        assert outcome is True
    elif step.effect in {Effect.ALARM, Effect.TOO_LATE}:
        assert outcome is not True
    else:
        assert outcome is False
    await store.aclose()


async def withdrawal_in(state: WithdrawalState) -> SqlStore:
    """A store with one withdrawal, in this state."""
    database = in_memory()
    store = SqlStore(database)
    await store.add_block(Scanned(block=block(1), received=[utxo()]), 1)
    await store.request_withdrawal(new_withdrawal(), 1)
    after = {
        WithdrawalState.REQUESTED: [],
        WithdrawalState.AWAITING_OPERATOR: ["HELD_BACK"],
        WithdrawalState.APPROVED: ["ALLOWED"],
        WithdrawalState.SIGNED: ["ALLOWED", "SIGN"],
        WithdrawalState.BROADCAST: ["ALLOWED", "SIGN", "SENT"],
        WithdrawalState.CONFIRMED: ["ALLOWED", "SIGN", "SENT", "DEEP"],
        WithdrawalState.COMPLETED: ["ALLOWED", "SIGN", "SENT", "DEEP", "SETTLED"],
        WithdrawalState.REJECTED: ["REJECT"],
        WithdrawalState.CANCELLED: ["CANCEL"],
        WithdrawalState.FAILED: ["ALLOWED", "SIGN", "DEAD"],
    }
    for name in after[state]:
        if name == "SIGN":
            await store.sign_withdrawal(spending("1-10", utxo().output))
        else:
            await WITHDRAWAL_ARROWS[WithdrawalEvent[name]](store)
    return store


@pytest.mark.parametrize("state", WithdrawalState)
@pytest.mark.parametrize("event", WITHDRAWAL_ARROWS)
async def test_a_withdrawals_arrows(state: WithdrawalState, event: WithdrawalEvent) -> None:
    """What changes a state in the table does so here; what does not is told as past, or refused."""
    store = await withdrawal_in(state)
    step = WITHDRAWAL.step(state, event)
    outcome = await moved(store, WITHDRAWAL_ARROWS[event])
    row = await store.withdrawal("1-10")
    assert row is not None
    assert row.state == step.state.value
    if step.state is not state or (event is WithdrawalEvent.BUMP and step.effect is Effect.SEND):
        assert outcome is True
    elif step.effect in {Effect.ALARM, Effect.TOO_LATE, Effect.FREEZE_CHAIN}:
        assert outcome is None
    else:
        assert outcome is False
    await store.aclose()


async def test_two_approvals_are_the_tables_approve() -> None:
    """The one arrow that takes two calls."""
    for state in WithdrawalState:
        store = await withdrawal_in(state)
        step = WITHDRAWAL.step(state, WithdrawalEvent.APPROVE)
        try:
            await store.add_approval("1-10", "alice", 2, 9)
            after = (await store.add_approval("1-10", "bob", 2, 9)).state
            assert step.effect is not Effect.ALARM
            assert after == step.state.value
        except StoreConflict:
            assert step.effect is Effect.ALARM
        await store.aclose()


def test_every_event_has_an_arrow() -> None:
    """But those that move a row within its state, or take two calls."""
    assert set(DepositEvent) - DEPOSIT_ARROWS.keys() == {DepositEvent.SEEN}
    assert set(WithdrawalEvent) - WITHDRAWAL_ARROWS.keys() == {WithdrawalEvent.APPROVE, WithdrawalEvent.GONE}

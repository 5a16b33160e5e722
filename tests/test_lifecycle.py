"""The lives of deposits and withdrawals: every state with every event, on paper, in the tables and in the store."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.lifecycle import (
    DEPOSIT,
    WITHDRAWAL,
    DepositEvent,
    DepositState,
    Effect,
    Lifecycle,
    WithdrawalEvent,
    WithdrawalState,
    mermaid,
)
from persistence import txstore
from persistence.sqlite import IN_MEMORY, sqlite_store
from persistence.txstore import (
    BlockId,
    DepositKey,
    NewDeposit,
    NewWithdrawal,
    ScanBlock,
    Scanned,
    TxStore,
    WithdrawalTx,
)
from tests.pages import blocks, read_page
from tests.simulation.chains import inline

# The tables as one would draw them: a row a state, a column an event. A cell is the next state and what is done; '.' is
# 'it is so already', '!' an alarm, '-' too late.
DEPOSITS: Final = """
           SEEN       DEEP       CREDITED     REFUSED UNCREDITED  GONE         GONE_CREDITED FREEZE RELEASE REJECT
pending    pending+m  validated+c fulfilled    !      !          orphaned     fulfilled+f  frozen .       !
validated  validated+m validated+c fulfilled    frozen  !          orphaned     fulfilled+f  frozen .       !
fulfilled  fulfilled+m .          .            !      validated+c orphaned     fulfilled+f  -     .       -
orphaned   pending+m  !          fulfilled+f  !      !          .            fulfilled+f  frozen !       !
frozen     frozen+m   !          fulfilled    !      !          .            fulfilled+f  .     pending rejected
rejected   .          !          !            !      !          .            !            .     !       .
"""
WITHDRAWALS: Final = """
                  ALLOWED  HELD_BACK         APPROVE  REJECT     CANCEL      SIGN     SENT      BUMP     DEEP        SETTLED   DEAD     GONE
requested         approved awaiting_operator !        rejected+r cancelled+r !        !         !        !           !         !        !
awaiting_operator .        .                 approved rejected+r cancelled+r !        !         !        !           !         !        !
approved          .        .                 .        rejected+r cancelled+r signed+s !         !        !           !         !        !
signed            !        !                 .        -          -           .        broadcast signed+s confirmed+t !         failed+r !
broadcast         !        !                 .        -          -           .        .         signed+s confirmed+t !         failed+r !
confirmed         !        !                 .        -          -           .        .         .        .           completed !        confirmed+f
completed         !        !                 .        -          -           .        .         .        .           .         !        completed+f
rejected          .        .                 .        .          .           .        !         !        !           !         !        !
cancelled         .        .                 .        .          .           .        !         !        !           !         !        !
failed            !        !                 !        .          -           !        .         .        failed+f    !         .        !
"""  # noqa: E501 - a table is read across
LETTERS: Final = {
    "": Effect.NOTHING,
    "m": Effect.MOVE,
    "c": Effect.CREDIT,
    "f": Effect.FREEZE_CHAIN,
    "s": Effect.SEND,
    "t": Effect.SETTLE,
    "r": Effect.RELEASE,
}
SIGNS: Final = {".": Effect.ALREADY, "!": Effect.ALARM, "-": Effect.TOO_LATE}

Any_ = Lifecycle[Any, Any]


def drawn(table: str) -> Iterator[tuple[str, str, str, Effect]]:
    """Each cell: state, event, next state, effect."""
    header, *rows = table.strip("\n").splitlines()
    for row in rows:
        state, *cells = row.split()
        for event, cell in zip(header.split(), cells, strict=True):
            if cell in SIGNS:
                yield state, event, state, SIGNS[cell]
            else:
                to, _, letter = cell.partition("+")
                yield state, event, to, LETTERS[letter]


@pytest.mark.parametrize(("lifecycle", "table"), [(DEPOSIT, DEPOSITS), (WITHDRAWAL, WITHDRAWALS)])
def test_every_state_with_every_event(lifecycle: Any_, table: str) -> None:
    """The table is what is drawn here, cell for cell."""
    cells = list(drawn(table))
    assert len(cells) == len(lifecycle.states) * len(lifecycle.events)
    for state, event, to, effect in cells:
        (its,) = [each for each in lifecycle.states if each.value == state]
        (what,) = [each for each in lifecycle.events if each.name == event]
        step = lifecycle.step(its, what)
        assert (step.state.value, step.effect) == (to, effect), (state, event)


def test_a_pair_that_is_there_twice_is_refused() -> None:
    """A row must not overrule what is already so."""
    with pytest.raises(AssertionError, match="twice"):
        Lifecycle(
            DepositState.PENDING,
            DepositEvent,
            {(DepositState.PENDING, DepositEvent.SEEN): (DepositState.PENDING, Effect.MOVE)},
            {DepositEvent.SEEN: (DepositState.PENDING,)},
        )


def test_the_states_are_the_stores() -> None:
    """Word for word."""
    assert [state.value for state in DepositState] == list(get_args(txstore.DepositState))
    assert {state.value for state in WithdrawalState} == set(get_args(txstore.WithdrawalState))


@given(st.lists(st.sampled_from(DepositEvent)))
def test_a_credited_deposit_stays_credited(events: list[DepositEvent]) -> None:
    """Once fulfilled, only the engine's own word leads away from it."""
    state = DepositState.PENDING
    for event in events:
        step = DEPOSIT.step(state, event)
        if state is DepositState.FULFILLED and step.state is not state:
            assert event in (DepositEvent.UNCREDITED, DepositEvent.GONE)
        if step.effect is Effect.CREDIT:
            assert step.state is DepositState.VALIDATED
        state = step.state


@given(st.lists(st.sampled_from(WithdrawalEvent)))
def test_a_withdrawal_is_settled_or_released_and_never_both(events: list[WithdrawalEvent]) -> None:
    """Whatever comes in whatever order; and nothing is released once it may be on the chain, unless it is dead."""
    state, effects = WithdrawalState.REQUESTED, set()
    signed = False
    for event in events:
        step = WITHDRAWAL.step(state, event)
        signed = signed or step.effect is Effect.SEND
        if step.effect is Effect.RELEASE:
            assert not signed or event is WithdrawalEvent.DEAD
        effects.add(step.effect)
        state = step.state
    assert not {Effect.SETTLE, Effect.RELEASE} <= effects


@given(st.lists(st.sampled_from(WithdrawalEvent), max_size=30), st.data())
def test_a_repeated_event_changes_nothing(events: list[WithdrawalEvent], data: st.DataObject) -> None:
    """A crash after a step means that it is done once more; a bump is another transaction each time."""
    state = WithdrawalState.REQUESTED
    for event in events:
        state = WITHDRAWAL.step(state, event).state
        again = WITHDRAWAL.step(state, event)
        if event is not WithdrawalEvent.BUMP and data.draw(st.booleans()):
            assert again.state is state
            assert again.effect is not Effect.RELEASE
            assert again.effect is not Effect.SETTLE


# The store ------------------------------------------------------------------------------------------------------------

KEY: Final = DepositKey("bitcoin", "aa", 0)
IN_BLOCK: Final = BlockId(0, "b0")
To = Callable[[TxStore], Awaitable[object]]


async def seen(store: TxStore) -> None:
    """One more block has the deposit."""
    last = await store.scanned_blocks("BTC", 1)
    height = last[0].height + 1 if last else 0
    new = NewDeposit(key=KEY, asset="BTC", account=1, address="one", amount=5)
    parent = last[0].hash if last else ""
    block = ScanBlock("BTC", height, f"b{height}", parent)
    await store.add_block(Scanned(block=block, deposits=[new]), 1)


async def orphaned(store: TxStore) -> None:
    """Whatever block has it is gone."""
    row = await store.deposit(KEY)
    assert row is not None
    await store.orphan_deposit(KEY, row.block_hash, 1)


DEPOSIT_ARROWS: Final[dict[DepositEvent, To]] = {
    DepositEvent.SEEN: seen,
    DepositEvent.DEEP: lambda store: store.validate_deposit(KEY, IN_BLOCK, 1),
    DepositEvent.CREDITED: lambda store: store.fulfil_deposit(KEY, 5, "1-7", 0, 1),
    DepositEvent.REFUSED: lambda store: store.freeze_deposit(KEY, "refused", 1),
    DepositEvent.UNCREDITED: lambda store: store.unfulfil_deposit(KEY, "1-7", 1),
    DepositEvent.GONE: orphaned,
    DepositEvent.GONE_CREDITED: lambda store: store.fulfil_deposit(KEY, 5, "1-7", 0, 1),
    DepositEvent.FREEZE: lambda store: store.freeze_deposit(KEY, "look", 1),
    DepositEvent.RELEASE: lambda store: store.release_deposit(KEY, 1),
    DepositEvent.REJECT: lambda store: store.reject_deposit(KEY, "no", 1),
}
WAYS: Final = {
    DepositState.PENDING: (),
    DepositState.VALIDATED: (DepositEvent.DEEP,),
    DepositState.FULFILLED: (DepositEvent.DEEP, DepositEvent.CREDITED),
    DepositState.ORPHANED: (DepositEvent.GONE,),
    DepositState.FROZEN: (DepositEvent.FREEZE,),
    DepositState.REJECTED: (DepositEvent.FREEZE, DepositEvent.REJECT),
}


@pytest.mark.parametrize("event", DepositEvent)
@pytest.mark.parametrize("state", DepositState)
async def test_the_store_takes_each_step_of_a_deposit_as_the_table_says(
    state: DepositState, event: DepositEvent
) -> None:
    """Alarms and refusals apart, which the watcher does not bring before it."""
    step = DEPOSIT.step(state, event)
    if step.effect in (Effect.ALARM, Effect.TOO_LATE):
        return
    store = sqlite_store(IN_MEMORY, inline)
    await seen(store)
    for before in WAYS[state]:
        await DEPOSIT_ARROWS[before](store)
    await DEPOSIT_ARROWS[event](store)
    row = await store.deposit(KEY)
    assert row is not None
    assert row.state == step.state.value
    await store.aclose()


WITHDRAWAL_ID: Final = "1-9"


def variant(txid: str) -> WithdrawalTx:
    """A signed transaction with the one nonce."""
    return WithdrawalTx(withdrawal_id=WITHDRAWAL_ID, txid=txid, raw=b"raw", fee=1, sender="hot", nonce=0, signed_ns=1)


async def approved(store: TxStore) -> None:
    """By two."""
    for operator in ("ann", "ben"):
        await store.add_approval(WITHDRAWAL_ID, operator, 2, 1)


WITHDRAWAL_ARROWS: Final[dict[WithdrawalEvent, To]] = {
    WithdrawalEvent.ALLOWED: lambda store: store.approve_withdrawal(WITHDRAWAL_ID, 1),
    WithdrawalEvent.HELD_BACK: lambda store: store.hold_withdrawal(WITHDRAWAL_ID, "large", 1),
    WithdrawalEvent.APPROVE: approved,
    WithdrawalEvent.REJECT: lambda store: store.reject_withdrawal(WITHDRAWAL_ID, "no", 1),
    WithdrawalEvent.CANCEL: lambda store: store.cancel_withdrawal(WITHDRAWAL_ID, "mine", 1),
    WithdrawalEvent.SIGN: lambda store: store.sign_withdrawal(variant("t1")),
    WithdrawalEvent.SENT: lambda store: store.broadcast_withdrawal(WITHDRAWAL_ID, 1),
    WithdrawalEvent.BUMP: lambda store: store.replace_withdrawal_tx(variant("t2")),
    WithdrawalEvent.DEEP: lambda store: store.confirm_withdrawal(WITHDRAWAL_ID, "t1", IN_BLOCK, 1),
    WithdrawalEvent.SETTLED: lambda store: store.complete_withdrawal(WITHDRAWAL_ID, "1-11", 1),
    WithdrawalEvent.DEAD: lambda store: store.fail_withdrawal(WITHDRAWAL_ID, "dead", 1),
}
_Of = WithdrawalEvent
WITHDRAWAL_WAYS: Final = {
    WithdrawalState.REQUESTED: (),
    WithdrawalState.AWAITING_OPERATOR: (_Of.HELD_BACK,),
    WithdrawalState.APPROVED: (_Of.ALLOWED,),
    WithdrawalState.SIGNED: (_Of.ALLOWED, _Of.SIGN),
    WithdrawalState.BROADCAST: (_Of.ALLOWED, _Of.SIGN, _Of.SENT),
    WithdrawalState.CONFIRMED: (_Of.ALLOWED, _Of.SIGN, _Of.SENT, _Of.DEEP),
    WithdrawalState.COMPLETED: (_Of.ALLOWED, _Of.SIGN, _Of.SENT, _Of.DEEP, _Of.SETTLED),
    WithdrawalState.REJECTED: (_Of.REJECT,),
    WithdrawalState.CANCELLED: (_Of.CANCEL,),
    WithdrawalState.FAILED: (_Of.ALLOWED, _Of.SIGN, _Of.DEAD),
}


@pytest.mark.parametrize("event", [event for event in WithdrawalEvent if event is not WithdrawalEvent.GONE])
@pytest.mark.parametrize("state", WithdrawalState)
async def test_the_store_takes_each_step_of_a_withdrawal_as_the_table_says(
    state: WithdrawalState, event: WithdrawalEvent
) -> None:
    """And what is an alarm or comes too late changes nothing: the row alone decides."""
    store = sqlite_store(IN_MEMORY, inline)
    new = NewWithdrawal(
        id=WITHDRAWAL_ID,
        chain="ethereum",
        asset="ETH",
        account=1,
        address="there",
        amount=5,
        withdraw_order_id="w",
        units=5,
        fee_units=1,
    )
    await store.request_withdrawal(new, 1)
    for before in WITHDRAWAL_WAYS[state]:
        await WITHDRAWAL_ARROWS[before](store)
    step = WITHDRAWAL.step(state, event)
    try:
        await WITHDRAWAL_ARROWS[event](store)
    except txstore.StoreConflict:
        assert step.effect in (Effect.ALARM, Effect.TOO_LATE) or step.effect is Effect.FREEZE_CHAIN
    row = await store.withdrawal(WITHDRAWAL_ID)
    assert row is not None
    assert row.state == step.state.value
    await store.aclose()


# The page -------------------------------------------------------------------------------------------------------------


def test_the_page_has_the_diagrams() -> None:
    """As the tables make them: run `python -m tests.test_lifecycle` for the new ones."""
    assert blocks(read_page("chains.md"), "mermaid") == [
        mermaid(DEPOSIT).splitlines(),
        mermaid(WITHDRAWAL).splitlines(),
    ]


if __name__ == "__main__":
    print(f"{mermaid(DEPOSIT)}\n\n{mermaid(WITHDRAWAL)}")  # noqa: T201 - for who writes the page

"""The lives of deposits and withdrawals: two tables, (state, event) -> (state, effect), and nothing else.

Theory of operation. A row in the store has a state. Something happens to it: a block was found or lost, the engine or
the node answered, an operator spoke. The table says which state the row gets and what is to be done. The actor stores
the state in one transaction and only then does the effect. It may crash between the two, or before either, so:

- Every effect can be done again. The engine knows credits, settlements and releases by id, a node knows transactions.
- Every state that waits for an effect's outcome is looked at again after each start, and its effect repeated.
- An event that comes twice, or too late, finds a row that says so: (state, ALREADY). It changes nothing.
- What cannot happen unless something is badly wrong says ALARM, and changes nothing either: an operator has to look.

Every pair is in its table; docs/chains.md shows them as diagrams that are made from here.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final, Generic, TypeVar

from attrs import frozen

S = TypeVar("S", bound=Enum)
E = TypeVar("E", bound=Enum)


class Effect(Enum):
    """What is to be done once the new state is stored."""

    NOTHING = "nothing"
    ALREADY = "already"
    """It is as the event says, or later: nothing to store, nothing to do."""
    ALARM = "alarm"
    """It should not be possible: tell operators, change nothing."""
    MOVE = "move"
    """Store the block that it is in now."""
    CREDIT = "credit"
    """Tell the engine to credit the deposit."""
    FREEZE_CHAIN = "freeze chain"
    """Stop all deposits and withdrawals of the chain until an operator has looked."""
    SEND = "send"
    """Broadcast the newest signed transaction."""
    SETTLE = "settle"
    """Tell the engine that the hold was spent."""
    RELEASE = "release"
    """Tell the engine to give the hold back."""
    TOO_LATE = "too late"
    """What was asked cannot be done any more; say so to whoever asked."""


class DepositState(Enum):
    """Where a deposit stands."""

    PENDING = "pending"
    """In a block of the best chain, not deep enough."""
    VALIDATED = "validated"
    """Deep enough: the engine is told, or about to be."""
    FULFILLED = "fulfilled"
    """Credited; the row has the engine's receipt."""
    ORPHANED = "orphaned"
    """Its block has left the best chain, and it was not credited."""
    FROZEN = "frozen"
    """Set aside by an operator, or because the engine refused the credit; the row says why."""
    REJECTED = "rejected"
    """An operator has decided that it is not credited."""


class DepositEvent(Enum):
    """What happens to a deposit."""

    SEEN = "seen"
    """A scanned block of the best chain has it."""
    DEEP = "deep"
    """Its block is deep enough, and was found on the best chain again just now."""
    CREDITED = "credited"
    """The engine has credited it: now, or before, with the same receipt."""
    REFUSED = "refused"
    """The engine will not credit it, and says why."""
    UNCREDITED = "uncredited"
    """An engine that was restored from a copy does not know the receipt that the row has."""
    GONE = "gone"
    """Its block has left the best chain, and the engine says that it has not been credited."""
    GONE_CREDITED = "gone though credited"
    """Its block has left the best chain, and the engine says that it has been credited."""
    FREEZE = "freeze"
    """An operator sets it aside."""
    RELEASE = "release"
    """An operator lets it go on."""
    REJECT = "reject"
    """An operator decides that it is not credited."""


class WithdrawalState(Enum):
    """Where a withdrawal stands."""

    REQUESTED = "requested"
    """Taken from the engine's outbox."""
    AWAITING_OPERATOR = "awaiting_operator"
    """The policy wants two operators to look."""
    APPROVED = "approved"
    """May be signed."""
    SIGNED = "signed"
    """A signed transaction is stored, and may or may not have been sent."""
    BROADCAST = "broadcast"
    """A node has taken the newest signed transaction."""
    CONFIRMED = "confirmed"
    """One of its transactions is deep enough; the engine is told, or about to be."""
    COMPLETED = "completed"
    """The engine has settled the hold; the row has its receipt."""
    REJECTED = "rejected"
    """By the policy or an operator, before it was signed."""
    CANCELLED = "cancelled"
    """By its owner, before it was signed."""
    FAILED = "failed"
    """None of its transactions can be mined any more."""


class WithdrawalEvent(Enum):
    """What happens to a withdrawal."""

    ALLOWED = "allowed"
    """The policy lets it pass."""
    HELD_BACK = "held back"
    """The policy wants operators to decide."""
    APPROVE = "approve"
    """The second of two operators has approved."""
    REJECT = "reject"
    """The policy or an operator refuses it."""
    CANCEL = "cancel"
    """Its owner takes it back."""
    SIGN = "sign"
    """A transaction was signed, and is stored with what it spends in the same step."""
    SENT = "sent"
    """A node took the newest transaction, or has it already."""
    BUMP = "bump"
    """Another transaction with a higher fee was signed, which shares an input or the nonce with the others."""
    DEEP = "deep"
    """One of its transactions is deep enough on the best chain."""
    SETTLED = "settled"
    """The engine has settled it: now, or before, with the same receipt."""
    DEAD = "dead"
    """What all its transactions spend was spent otherwise, deep enough."""
    GONE = "gone"
    """The transaction that was deep enough has left the best chain."""


@frozen
class Step(Generic[S]):
    """What an event makes of a state."""

    state: S
    effect: Effect


class Lifecycle(Generic[S, E]):
    """One table. Built from rows and from what is harmless; every other pair is an alarm."""

    def __init__(
        self,
        first: S,
        events: Iterable[E],
        rows: Mapping[tuple[S, E], tuple[S, Effect]],
        already: Mapping[E, tuple[S, ...]],
    ) -> None:
        self.first = first
        self.states: tuple[S, ...] = tuple(type(first))
        self.events: tuple[E, ...] = tuple(events)
        self._table = {
            (state, event): Step(state, Effect.ALREADY if state in already.get(event, ()) else Effect.ALARM)
            for state in self.states
            for event in self.events
        }
        for pair, (state, effect) in rows.items():
            if self._table[pair].effect is not Effect.ALARM:
                raise AssertionError(f"{pair} is in the table twice")
            self._table[pair] = Step(state, effect)

    def step(self, state: S, event: E) -> Step[S]:
        """What the event makes of the state. Total: there is a step for every pair."""
        return self._table[state, event]

    def sources(self, event: E, state: S) -> tuple[S, ...]:
        """The states that this event turns into that one, itself left out: what a store's update may begin with."""
        return tuple(
            source for source in self.states if source is not state and self._table[source, event].state is state
        )

    def final(self, state: S) -> bool:
        """Whether nothing leads out of this state any more."""
        return all(self._table[state, event].state is state for event in self.events)


_D, _On = DepositState, DepositEvent

DEPOSIT: Final = Lifecycle(
    _D.PENDING,
    DepositEvent,
    {
        (_D.PENDING, _On.SEEN): (_D.PENDING, Effect.MOVE),
        (_D.PENDING, _On.DEEP): (_D.VALIDATED, Effect.CREDIT),
        (_D.PENDING, _On.GONE): (_D.ORPHANED, Effect.NOTHING),
        # A store that was lost and filled again does not know what the engine does.
        (_D.PENDING, _On.CREDITED): (_D.FULFILLED, Effect.NOTHING),
        (_D.PENDING, _On.GONE_CREDITED): (_D.FULFILLED, Effect.FREEZE_CHAIN),
        (_D.PENDING, _On.FREEZE): (_D.FROZEN, Effect.NOTHING),
        (_D.VALIDATED, _On.SEEN): (_D.VALIDATED, Effect.MOVE),
        (_D.VALIDATED, _On.DEEP): (_D.VALIDATED, Effect.CREDIT),
        (_D.VALIDATED, _On.CREDITED): (_D.FULFILLED, Effect.NOTHING),
        (_D.VALIDATED, _On.REFUSED): (_D.FROZEN, Effect.NOTHING),
        (_D.VALIDATED, _On.GONE): (_D.ORPHANED, Effect.NOTHING),
        (_D.VALIDATED, _On.GONE_CREDITED): (_D.FULFILLED, Effect.FREEZE_CHAIN),
        (_D.VALIDATED, _On.FREEZE): (_D.FROZEN, Effect.NOTHING),
        (_D.FULFILLED, _On.SEEN): (_D.FULFILLED, Effect.MOVE),
        (_D.FULFILLED, _On.UNCREDITED): (_D.VALIDATED, Effect.CREDIT),
        (_D.FULFILLED, _On.GONE): (_D.ORPHANED, Effect.NOTHING),
        (_D.FULFILLED, _On.GONE_CREDITED): (_D.FULFILLED, Effect.FREEZE_CHAIN),
        (_D.FULFILLED, _On.FREEZE): (_D.FULFILLED, Effect.TOO_LATE),
        (_D.FULFILLED, _On.REJECT): (_D.FULFILLED, Effect.TOO_LATE),
        (_D.ORPHANED, _On.SEEN): (_D.PENDING, Effect.MOVE),
        (_D.ORPHANED, _On.CREDITED): (_D.FULFILLED, Effect.FREEZE_CHAIN),
        (_D.ORPHANED, _On.GONE_CREDITED): (_D.FULFILLED, Effect.FREEZE_CHAIN),
        (_D.ORPHANED, _On.FREEZE): (_D.FROZEN, Effect.NOTHING),
        (_D.FROZEN, _On.SEEN): (_D.FROZEN, Effect.MOVE),
        (_D.FROZEN, _On.CREDITED): (_D.FULFILLED, Effect.NOTHING),
        (_D.FROZEN, _On.GONE_CREDITED): (_D.FULFILLED, Effect.FREEZE_CHAIN),
        (_D.FROZEN, _On.RELEASE): (_D.PENDING, Effect.NOTHING),
        (_D.FROZEN, _On.REJECT): (_D.REJECTED, Effect.NOTHING),
    },
    {
        _On.SEEN: (_D.REJECTED,),
        _On.DEEP: (_D.FULFILLED,),
        _On.CREDITED: (_D.FULFILLED,),
        _On.GONE: (_D.ORPHANED, _D.FROZEN, _D.REJECTED),
        _On.FREEZE: (_D.FROZEN, _D.REJECTED),
        _On.RELEASE: (_D.PENDING, _D.VALIDATED, _D.FULFILLED),
        _On.REJECT: (_D.REJECTED,),
    },
)

_W, _Of = WithdrawalState, WithdrawalEvent

WITHDRAWAL: Final = Lifecycle(
    _W.REQUESTED,
    WithdrawalEvent,
    {
        (_W.REQUESTED, _Of.ALLOWED): (_W.APPROVED, Effect.NOTHING),
        (_W.REQUESTED, _Of.HELD_BACK): (_W.AWAITING_OPERATOR, Effect.NOTHING),
        (_W.REQUESTED, _Of.REJECT): (_W.REJECTED, Effect.RELEASE),
        (_W.REQUESTED, _Of.CANCEL): (_W.CANCELLED, Effect.RELEASE),
        (_W.AWAITING_OPERATOR, _Of.APPROVE): (_W.APPROVED, Effect.NOTHING),
        (_W.AWAITING_OPERATOR, _Of.REJECT): (_W.REJECTED, Effect.RELEASE),
        (_W.AWAITING_OPERATOR, _Of.CANCEL): (_W.CANCELLED, Effect.RELEASE),
        (_W.APPROVED, _Of.SIGN): (_W.SIGNED, Effect.SEND),
        (_W.APPROVED, _Of.REJECT): (_W.REJECTED, Effect.RELEASE),
        (_W.APPROVED, _Of.CANCEL): (_W.CANCELLED, Effect.RELEASE),
        (_W.SIGNED, _Of.SENT): (_W.BROADCAST, Effect.NOTHING),
        (_W.SIGNED, _Of.BUMP): (_W.SIGNED, Effect.SEND),
        # An answer of the node may be lost, and the block come first.
        (_W.SIGNED, _Of.DEEP): (_W.CONFIRMED, Effect.SETTLE),
        (_W.SIGNED, _Of.DEAD): (_W.FAILED, Effect.RELEASE),
        (_W.SIGNED, _Of.CANCEL): (_W.SIGNED, Effect.TOO_LATE),
        (_W.SIGNED, _Of.REJECT): (_W.SIGNED, Effect.TOO_LATE),
        (_W.BROADCAST, _Of.BUMP): (_W.SIGNED, Effect.SEND),
        (_W.BROADCAST, _Of.DEEP): (_W.CONFIRMED, Effect.SETTLE),
        (_W.BROADCAST, _Of.DEAD): (_W.FAILED, Effect.RELEASE),
        (_W.BROADCAST, _Of.CANCEL): (_W.BROADCAST, Effect.TOO_LATE),
        (_W.BROADCAST, _Of.REJECT): (_W.BROADCAST, Effect.TOO_LATE),
        (_W.CONFIRMED, _Of.SETTLED): (_W.COMPLETED, Effect.NOTHING),
        (_W.CONFIRMED, _Of.GONE): (_W.CONFIRMED, Effect.FREEZE_CHAIN),
        (_W.CONFIRMED, _Of.CANCEL): (_W.CONFIRMED, Effect.TOO_LATE),
        (_W.CONFIRMED, _Of.REJECT): (_W.CONFIRMED, Effect.TOO_LATE),
        (_W.COMPLETED, _Of.GONE): (_W.COMPLETED, Effect.FREEZE_CHAIN),
        (_W.COMPLETED, _Of.CANCEL): (_W.COMPLETED, Effect.TOO_LATE),
        (_W.COMPLETED, _Of.REJECT): (_W.COMPLETED, Effect.TOO_LATE),
        # Paid although it was given up and its hold released: the worst that can happen, so everything stops.
        (_W.FAILED, _Of.DEEP): (_W.FAILED, Effect.FREEZE_CHAIN),
        (_W.FAILED, _Of.CANCEL): (_W.FAILED, Effect.TOO_LATE),
    },
    {
        _Of.ALLOWED: (_W.AWAITING_OPERATOR, _W.APPROVED, _W.REJECTED, _W.CANCELLED),
        _Of.HELD_BACK: (_W.AWAITING_OPERATOR, _W.APPROVED, _W.REJECTED, _W.CANCELLED),
        _Of.APPROVE: (_W.APPROVED, _W.SIGNED, _W.BROADCAST, _W.CONFIRMED, _W.COMPLETED, _W.REJECTED, _W.CANCELLED),
        _Of.REJECT: (_W.REJECTED, _W.CANCELLED, _W.FAILED),
        _Of.CANCEL: (_W.REJECTED, _W.CANCELLED),
        # The store keeps the first transaction: whoever signs second finds that it was done.
        _Of.SIGN: (_W.SIGNED, _W.BROADCAST, _W.CONFIRMED, _W.COMPLETED, _W.REJECTED, _W.CANCELLED),
        _Of.SENT: (_W.BROADCAST, _W.CONFIRMED, _W.COMPLETED, _W.FAILED),
        _Of.BUMP: (_W.CONFIRMED, _W.COMPLETED, _W.FAILED),
        _Of.DEEP: (_W.CONFIRMED, _W.COMPLETED),
        _Of.SETTLED: (_W.COMPLETED,),
        _Of.DEAD: (_W.FAILED,),
    },
)


def mermaid(lifecycle: Lifecycle[S, E]) -> str:
    """The table as a state diagram: every step that changes the state or does something, in the table's order."""
    lines = ["stateDiagram-v2", f"    [*] --> {lifecycle.first.value}"]
    for state in lifecycle.states:
        for event in lifecycle.events:
            step = lifecycle.step(state, event)
            if step.effect in (Effect.ALREADY, Effect.ALARM, Effect.TOO_LATE, Effect.MOVE) and step.state is state:
                continue
            told = "" if step.effect in (Effect.NOTHING, Effect.MOVE) else f" / {step.effect.value}"
            lines.append(f"    {state.value} --> {step.state.value}: {event.value}{told}")
        if lifecycle.final(state):
            lines.append(f"    {state.value} --> [*]")
    return "\n".join(lines)

"""What a connection has under way: its turns, in the order they were asked, and how much that is.

A turn is a run of consecutive lines: those that matching has to see, as one batch, and the others, answered already.
A line that asks several things is a group. Turns leave in the order they came, once settled, so answers do too.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import repeat
from typing import Final

from attrs import frozen
from msgspec import UnsetType

from actors import wire
from actors.mailbox import NotDone, OutcomeUnknown
from actors.reply_memory import REQUEST_BYTES, size_of
from actors.requests import Batch, Outcome, Request
from actors.stream_events import ServerShutdown
from actors.wire import Line, LongReply, Refusal, Reply, Several

_LINES: Final[frozenset[type]] = frozenset({Reply, Refusal, wire.Hello, ServerShutdown})

MakeReply = Callable[[wire.Request, Outcome], Reply | LongReply | Refusal]


@frozen
class Group:
    """A line that asks several things, each answered by itself: one answer that holds all of theirs."""

    id: int | str | UnsetType
    parts: list[wire.Request | Refusal]
    """In order: what is wrong with it, or the request whose outcome the batch will have."""

    def line(self, reply: MakeReply, outcomes: Iterator[Outcome]) -> Reply:
        """The answer, of as many outcomes as it has requests."""
        answers = [part if isinstance(part, Refusal) else reply(part, next(outcomes)) for part in self.parts]
        return Reply(self.id, 200, Several(answers))  # type: ignore[arg-type]  # orders have no long replies


@frozen
class Late:
    """A line whose answer is made when its turn to be written comes: so what it does, it does behind all before it."""

    line: Callable[[], Line]


class Turn:
    """Consecutive lines, with their answers or with what those will be made of.

    Args:
        limit: The weight at which it is full. Its last line may take it beyond.
        began_ns: When its lines were read, in monotonic time.
    """

    __slots__ = ("_bytes", "asked", "awaits_store", "batch", "began_ns", "limit", "requests", "slots", "weight")

    def __init__(self, limit: int = 1, began_ns: int = 0) -> None:
        self.slots: list[wire.Request | Line | Group | Late] = []
        """For each line, in order: its answer, or the request whose outcome the batch will have, or several."""
        self.requests: list[Request] = []
        """What matching is asked: for each request in `slots` and their groups, in the same order."""
        self.asked: list[type] = []
        """For each slot, in order: the kind of request that it answers. Empty where nothing was asked."""
        self.began_ns = began_ns
        self.batch: Batch | None = None
        self.awaits_store = False
        """Its one answer needs the store of chain transactions, and is put into `slots` when it is there."""
        self.weight = 0
        self.limit = limit
        self._bytes = 0  # not counted yet

    @property
    def settled(self) -> bool:
        """All answers can be given."""
        return not self.awaits_store and (self.batch is None or self.batch.settled)

    @property
    def bytes(self) -> int:
        """About what its outcomes take in memory; 0 while they are not there."""
        if self.batch is None:
            return REQUEST_BYTES * len(self.slots)
        if not self._bytes and self.batch.settled:
            with suppress(NotDone, OutcomeUnknown):
                self._bytes = sum(map(size_of, self.batch.result()))
        return self._bytes

    def lines(self, reply: MakeReply) -> list[Line]:
        """All answers, in order, once `settled`."""
        outcomes = self._outcomes()
        lines: list[Line] = []
        for slot in self.slots:
            if type(slot) in _LINES:
                lines.append(slot)  # type: ignore[arg-type]  # the set says it
            elif isinstance(slot, Group):
                lines.append(slot.line(reply, outcomes))
            elif isinstance(slot, Late):
                lines.append(slot.line())
            else:
                lines.append(reply(slot, next(outcomes)))  # type: ignore[arg-type]  # as above
        return lines

    def _outcomes(self) -> Iterator[Outcome]:
        if self.batch is None:
            return iter(())
        try:
            return iter(self.batch.result())
        except (NotDone, OutcomeUnknown) as fate:
            return repeat(fate)


class Turns:
    """A connection's turns that are not written yet."""

    __slots__ = ("_turns", "weight")

    def __init__(self) -> None:
        self._turns: deque[Turn] = deque()
        self.weight = 0
        """Of all that is not written and reported `done` yet."""

    def __bool__(self) -> bool:
        return bool(self._turns)

    @property
    def bytes(self) -> int:
        """About what the outcomes that are not taken yet hold in memory."""
        return sum(turn.bytes for turn in self._turns)

    def append(self, turn: Turn) -> None:
        """Take a turn in; nothing is put into it any more but its batch's outcomes."""
        self._turns.append(turn)
        self.weight += turn.weight

    def append_line(self, line: Line | Late, asked: type | None = None, began_ns: int = 0) -> None:
        """Take in one line that needs nobody, and what kind of request it answers, if any."""
        turn = Turn(began_ns=began_ns)
        if asked is not None:
            turn.asked.append(asked)
        turn.slots.append(line)
        turn.weight = 1
        self.append(turn)

    def take(self, weight: int) -> list[Turn]:
        """Remove the settled turns at the front: up to this weight, and the turn that passes it."""
        taken: list[Turn] = []
        while self._turns and self._turns[0].settled and weight > 0:
            turn = self._turns.popleft()
            weight -= turn.weight
            taken.append(turn)
        return taken

    def done(self, turns: list[Turn]) -> None:
        """The turns are written: they weigh no more."""
        self.weight -= sum(turn.weight for turn in turns)

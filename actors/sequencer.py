"""The synchronous heart of matching: stamp, apply, collect. No `await`, no I/O.

One sequencer is one incarnation of matching: it owns the engine, engine time and the next sequence number, and turns
batches into a handoff for the request log's writer. Every changing request takes one sequence number, whether it took
effect or was refused (the log keeps refusals for the audit); reads take none.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NoReturn, get_args

import structlog

from actors.directory import Directory
from actors.engine_clock import EngineClock
from actors.handoff import Handoff
from actors.mailbox import Busy, Faulted
from actors.quarantine import Quarantine
from actors.requests import Batch, Done, Outcome, Request
from book.commands import AmendOrder, Command, PlaceOrder, ReplaceOrder, Tick
from book.engine import Engine
from book.events import Event, Rejected
from book.queries import Directory as DirectoryQuery
from book.queries import DirectoryView
from persistence import codec
from persistence.exits import Exit

_COMMANDS: Final = frozenset(get_args(Command))
# What a log without room for new orders does not take: a cancel makes room in the books, these take some.
_ORDERS: Final[frozenset[type]] = frozenset({PlaceOrder, AmendOrder, ReplaceOrder})
_IN_PLACE: Final = frozenset({"ALREADY_DEFINED", "DUPLICATE_DEPOSIT"})

_log = structlog.get_logger("matching")


class DefinitionRefusedError(Exception):
    """The configuration asks for a definition that the engine refuses, or that the log already knows otherwise."""


class Sequencer:
    """Works off batches, one request after the other; unusable once `failure` is set."""

    def __init__(
        self,
        engine: Engine,
        clock: EngineClock,
        *,
        incarnation: int,
        next_seq: int,
        quarantine: Quarantine,
        directory: Directory,
        die: Callable[[int, str], NoReturn],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._incarnation = incarnation
        self._next_seq = next_seq
        self._quarantine = quarantine
        self._directory = directory
        self._die = die
        self._records: list[bytes] = []
        self._events: list[Event] = []
        self.failure: Exception | None = None
        """What the engine raised instead of answering: a bug in it, after which its state is unknown."""

    def open(self, definitions: Iterable[Command]) -> Handoff:
        """The first handoff: time passes, and whatever is not defined yet is defined.

        Raises:
            DefinitionRefusedError: a definition cannot be had.
        """
        time_ns = self._clock.now()
        first_seq = self._next_seq
        try:
            self._apply(Tick(), time_ns)
        except Exception as error:  # noqa: BLE001 - whatever a timer raises, it would raise again after every restart
            self._die(Exit.POISON_TIMER, f"a timer fails the engine at {time_ns} ns: {error!r}")
        for definition in definitions:
            outcome = self._engine.apply(definition, self._next_seq, time_ns)
            if isinstance(outcome, Rejected):
                if outcome.reason not in _IN_PLACE:
                    raise DefinitionRefusedError(why_refused(definition, outcome))
            else:
                self._keep(definition, time_ns, outcome)
        self._fill_directory()
        return self._handoff(first_seq, time_ns, [])

    def work(self, batches: Sequence[Batch], *, accept_orders: bool) -> Handoff:
        """Work off the batches; with `accept_orders` false, what adds or changes an order is answered busy."""
        time_ns = self._clock.now()
        first_seq = self._next_seq
        answers: list[tuple[Batch, list[Outcome]]] = []
        for batch in batches:
            outcomes = [self._outcome(request, time_ns, accept_orders=accept_orders) for request in batch.request]
            answers.append((batch, outcomes))
        return self._handoff(first_seq, time_ns, answers)

    def _outcome(self, request: Request, time_ns: int, *, accept_orders: bool) -> Outcome:
        if self.failure is not None:
            return Busy("matching restarts; this was not applied")
        if self._quarantine and request in self._quarantine:
            return Faulted("this request failed the engine before and is refused until the next release")
        if not accept_orders and type(request) in _ORDERS:
            return Busy("the request log has no room for new orders; cancels are accepted")
        try:
            if type(request) in _COMMANDS:
                return self._apply(request, time_ns)  # type: ignore[arg-type]  # the table holds commands only
            return self._engine.query(request)  # type: ignore[arg-type]
        except Exception as error:  # noqa: BLE001 - any exception out of the engine is a bug in it, handled as such
            self.failure = error
            self._quarantine.add(request)
            _log.exception("the engine failed; its request is quarantined, matching restarts", request=repr(request))
            return Faulted("the engine failed on this request; it was not applied")

    def _apply(self, command: Command, time_ns: int) -> Outcome:
        seq = self._next_seq
        outcome = self._engine.apply(command, seq, time_ns)
        if isinstance(outcome, Rejected):
            self._records.append(codec.encode_refused(time_ns, command, outcome.code, outcome.reason))
            self._next_seq = seq + 1
            return outcome
        self._keep(command, time_ns, outcome)
        return Done(seq, time_ns, outcome)

    def _keep(self, command: Command, time_ns: int, events: list[Event]) -> None:
        self._records.append(codec.encode_command(time_ns, command))
        self._events += events
        self._next_seq += 1

    def _handoff(self, first_seq: int, time_ns: int, answers: list[tuple[Batch, list[Outcome]]]) -> Handoff:
        records, self._records = self._records, []
        events, self._events = self._events, []
        check: bytes | None = None
        if records:
            self._engine.digest.update(events)
            if self.failure is None:
                check = codec.encode_check(time_ns, self._engine.digest.value(), self._engine.totals())
        return Handoff(self._incarnation, first_seq, records, time_ns, check, answers)

    def _fill_directory(self) -> None:
        view = self._engine.query(DirectoryQuery())
        if not isinstance(view, DirectoryView):
            raise AssertionError(f"the engine answered {view!r} when asked what is defined")
        self._directory.fill(view)


def why_refused(definition: Command, rejected: Rejected) -> str:
    """Why a definition or credit of the configuration cannot be had, in one line."""
    kind = type(definition).__name__.removeprefix("Define").lower()
    thing = getattr(definition, kind, definition)
    name = getattr(thing, "symbol", None) or getattr(thing, "name", None) or getattr(thing, "deposit_id", "")
    why = f"{kind} {name} is refused: {rejected.reason}"
    if rejected.field:
        why += f" of {rejected.field}"
    if rejected.reason == "DEFINITION_DIFFERS":
        values = f": {rejected.value} here, {rejected.limit} in the log" if rejected.value != rejected.limit else ""
        return f"{why}{values}; what is defined stays as it is"
    if rejected.value or rejected.limit:
        why += f": {rejected.value}, and the limit is {rejected.limit}"
    return why

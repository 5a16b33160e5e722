"""The synchronous heart of matching: stamp, apply, collect. No `await`, no I/O.

One sequencer is one incarnation of matching: it owns the engine, engine time and the next sequence number, and turns
batches into a handoff for the request log's writer. Every changing request takes one sequence number, whether it took
effect or was refused (the log keeps refusals for the audit); reads take none.

All of a round happens at one time. Whatever falls due by then comes first, by a tick of its own in the log: the engine
takes nothing else while something is due. A tick that fails would fail again after every restart, so it ends the
process instead.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NoReturn, get_args

import structlog

from actors.audience import AccountNews, Audience, Committed, Refused, account_news
from actors.directory import Directory
from actors.engine_clock import EngineClock
from actors.explaining import why_refused
from actors.handoff import Handoff
from actors.mailbox import Busy, Faulted
from actors.quarantine import Quarantine
from actors.requests import Batch, Done, Outcome, Request
from book.codes import DEFINITION_REJECTED
from book.commands import (
    AmendOrder,
    Command,
    DefineAsset,
    DefineMarket,
    LoseAllSessions,
    PlaceOrder,
    ReplaceOrder,
    SetEngineVersion,
    Tick,
)
from book.engine import ENGINE_VERSION, Engine
from book.events import Event, Rejected
from book.queries import Directory as DirectoryQuery
from book.queries import DirectoryView
from persistence import codec
from persistence.exits import Exit

_COMMANDS: Final = frozenset(get_args(Command))
# What a log without room for new orders does not take: a cancel makes room in the books, these take some.
_ORDERS: Final[frozenset[type]] = frozenset({PlaceOrder, AmendOrder, ReplaceOrder})
# What the directory is made of.
_LISTINGS: Final[frozenset[type]] = frozenset({DefineAsset, DefineMarket})
_IN_PLACE: Final = frozenset({"ALREADY_DEFINED", "DUPLICATE_DEPOSIT", "UNCHANGED"})

# What cannot be unless the log, the store and the chains do not agree: somebody has to look.
_ALARMS: Final = frozenset(
    {
        *("DEPOSIT_DIFFERS", "SETTLEMENT_DIFFERS", "WITHDRAWAL_DIFFERS", "WITHDRAWAL_RELEASED"),
        "WITHDRAWAL_SETTLED",
    }
)

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
        audience: Audience,
        die: Callable[[int, str], NoReturn],
        heard: Callable[[list[Event]], None] | None = None,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._incarnation = incarnation
        self._next_seq = next_seq
        self._quarantine = quarantine
        self._directory = directory
        self._audience = audience
        self._audience_version = 0
        self._die = die
        self._heard = heard
        self._records: list[bytes] = []
        self._events: list[Event] = []
        self._news: list[AccountNews | Refused] = []
        self._listed = False
        self.failure: Exception | None = None
        """What the engine raised instead of answering: a bug in it, after which its state is unknown."""

    def open(self, definitions: Iterable[Command], *, lose_sessions: bool) -> Handoff:
        """The first handoff: the engine is of this version, time passes, and what is not defined yet is defined.

        With `lose_sessions`, those of the process before are lost.

        Raises:
            DefinitionRefusedError: a definition cannot be had.
        """
        time_ns = self._clock.now()
        first_seq = self._next_seq
        if self._is_due(time_ns):  # under the version that it was to happen under
            self._tick(time_ns)
        self._settle(SetEngineVersion(ENGINE_VERSION), time_ns)
        self._tick(time_ns)
        if lose_sessions:
            self._must(LoseAllSessions(), time_ns)
        for definition in definitions:
            self._settle(definition, time_ns)
        self._fill_directory(time_ns)
        return self._handoff(first_seq, time_ns, [])

    def ns_until_due(self) -> int | None:
        """How long until something falls due by itself; 0 if it is already, None if nothing ever does."""
        due_ns = self._engine.next_due_ns
        return max(0, due_ns - self._clock.now()) if due_ns else None

    def work(self, batches: Sequence[Batch], *, accept_orders: bool) -> Handoff:
        """Let fall due what is, then work off the batches; with `accept_orders` false, orders are answered busy."""
        self._look_at_audience()
        time_ns = self._clock.now()
        first_seq = self._next_seq
        if self._is_due(time_ns):
            self._tick(time_ns)
        answers: list[tuple[Batch, list[Outcome]]] = []
        for batch in batches:
            outcomes = [self._outcome(request, time_ns, accept_orders=accept_orders) for request in batch.request]
            answers.append((batch, outcomes))
        if self._listed and self.failure is None:
            self._fill_directory(time_ns)
        return self._handoff(first_seq, time_ns, answers)

    def _is_due(self, time_ns: int) -> bool:
        return 0 < self._engine.next_due_ns <= time_ns

    def _tick(self, time_ns: int) -> None:
        try:
            self._must(Tick(), time_ns)
        except Exception as error:  # noqa: BLE001 - whatever a timer raises, it would raise again after every restart
            self._die(Exit.POISON_TIMER, f"a timer fails the engine at {time_ns} ns: {error!r}")
        if self._is_due(time_ns):
            self._die(Exit.POISON_TIMER, f"a timer stays due at {time_ns} ns, however often time passes")

    def _must(self, command: Command, time_ns: int) -> None:
        """Apply what no state gives a reason to refuse."""
        outcome = self._engine.apply(command, self._next_seq, time_ns)
        if isinstance(outcome, Rejected):
            raise AssertionError(f"the engine refuses {command!r}: {outcome!r}")
        self._keep(command, time_ns, outcome)

    def _settle(self, definition: Command, time_ns: int) -> None:
        """Apply what is to be so, unless it is so already."""
        outcome = self._engine.apply(definition, self._next_seq, time_ns)
        if not isinstance(outcome, Rejected):
            self._keep(definition, time_ns, outcome)
        elif outcome.reason not in _IN_PLACE:
            raise DefinitionRefusedError(why_refused(definition, outcome))

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
            return self._engine.query(request, time_ns)  # type: ignore[arg-type]
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
            if outcome.code == DEFINITION_REJECTED and outcome.reason in _ALARMS:
                _log.error("ALARM: money was told of twice, and not the same", reason=why_refused(command, outcome))
            if self._audience.accounts:
                self._tell_refused(command, outcome, time_ns)
            return outcome
        self._keep(command, time_ns, outcome)
        return Done(seq, time_ns, outcome)

    def _keep(self, command: Command, time_ns: int, events: list[Event]) -> None:
        self._records.append(codec.encode_command(time_ns, command))
        self._events += events
        if self._audience.accounts:
            self._news += account_news(self._engine, self._audience.accounts, events, time_ns)
        self._next_seq += 1
        if type(command) in _LISTINGS:
            self._listed = True

    def _handoff(self, first_seq: int, time_ns: int, answers: list[tuple[Batch, list[Outcome]]]) -> Handoff:
        records, self._records = self._records, []
        events, self._events = self._events, []
        check: bytes | None = None
        if records:
            self._engine.digest.update(events)
            if self._heard is not None:
                self._heard(events)
            if self.failure is None:
                check = codec.encode_check(time_ns, self._engine.digest.value(), self._engine.totals())
        committed = self._committed(events, time_ns)
        return Handoff(self._incarnation, first_seq, records, time_ns, check, answers, committed)

    def _look_at_audience(self) -> None:
        """Who follows what may have changed since the last round."""
        if self._audience_version != self._audience.version:
            self._audience_version = self._audience.version
            self._engine.watch(self._audience.books)

    def _tell_refused(self, command: Command, rejected: Rejected, time_ns: int) -> None:
        order = command.order if isinstance(command, ReplaceOrder) else command
        if isinstance(order, PlaceOrder) and order.account in self._audience.accounts:
            self._news.append(Refused(time_ns, order, rejected))

    def _committed(self, events: list[Event], time_ns: int) -> Committed | None:
        """What those who follow are told of this round; of books nothing where a failure left the engine unknown."""
        news, self._news = self._news, []
        public = events if self._audience.everybody else []
        books = self._engine.take_changes() if self._audience.books and self.failure is None else []
        return Committed(time_ns, public, books, news) if public or books or news else None

    def _fill_directory(self, time_ns: int) -> None:
        view = self._engine.query(DirectoryQuery(), time_ns)
        if not isinstance(view, DirectoryView):
            raise AssertionError(f"the engine answered {view!r} when asked what is defined")
        self._directory.fill(view)
        self._listed = False

"""The fold of a log's records into an engine. The same log gives the same engine, and the checks in it prove it.

Shared by the matching actor at its start, which has to yield in between, and by the offline tools, which have not.
"""

from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from book.commands import Command
from book.events import Event, Rejected
from persistence.codec import CheckRecord, CommandRecord, ConfigRecord, Record, RefusedRecord, TickRecord
from persistence.segments import Frame

# Some hundred microseconds of work: what a step of a replay may hold up the event loop.
RECORDS_PER_STEP: Final = 256

_APPLIED: Final = (CommandRecord, TickRecord, ConfigRecord)


class Digest(Protocol):
    """The engine's rolling digest over all events."""

    def update(self, events: Iterable[Event], /) -> None:
        """Take in more events."""

    def value(self) -> bytes:
        """16 bytes over all events so far."""


class ReplayedEngine(Protocol):
    """What a replay needs of the engine."""

    @property
    def digest(self) -> Digest:
        """Not updated by `apply`: whoever applies feeds it the events."""

    def apply(self, command: Command, seq: int, time_ns: int, /) -> list[Event] | Rejected:
        """Apply one command."""

    def totals(self) -> dict[str, int]:
        """Per asset, in engine units."""


class Replay:
    """Feeds frames to an engine that already holds everything up to `after_seq`, and nothing behind `until_seq`."""

    def __init__(self, engine: ReplayedEngine, *, after_seq: int = 0, until_seq: int | None = None) -> None:
        self._engine = engine
        self._until_seq = until_seq
        self.last_seq = after_seq
        self.last_time_ns = 0  # of the last record that was applied here
        self.applied = 0
        self.refused = 0  # passed over: they changed nothing the first time either
        self.checks = 0  # that matched

    @property
    def done(self) -> bool:
        """Whether `until_seq` was reached."""
        return self._until_seq is not None and self.last_seq >= self._until_seq

    def feed(self, frame: Frame) -> None:
        """Apply a whole frame. Raises Damaged when the engine does not do what it did the first time."""
        for _ in self.steps(frame):
            pass

    def steps(self, frame: Frame) -> Iterator[None]:
        """Apply a frame in steps of RECORDS_PER_STEP, yielding in between."""
        if frame.next_seq <= self.last_seq or self.done:
            yield
            return
        records = frame.records()
        count = frame.header.count
        if self._until_seq is not None and frame.next_seq > self._until_seq + 1:
            count = self._until_seq + 1 - frame.header.first_seq
            records = records[:count]  # what it checks comes later
        if frame.header.first_seq > self.last_seq + 1:
            what = f"it begins at {frame.header.first_seq}, but the engine has only what came up to {self.last_seq}"
            raise frame.segment.damaged(frame.offset, what)
        skipped = min(count, max(0, self.last_seq + 1 - frame.header.first_seq))
        for begin in range(skipped, count, RECORDS_PER_STEP):
            try:
                self._apply(
                    frame, records[begin : min(count, begin + RECORDS_PER_STEP)], frame.header.first_seq + begin
                )
            except Exception as error:
                error.add_note(f"while replaying what follows sequence number {self.last_seq}")
                raise
            yield
        if frame.next_seq > self.last_seq:
            for record in records[count:]:
                if isinstance(record, CheckRecord):
                    self._compare(frame, record)

    def _apply(self, frame: Frame, records: list[Record], first_seq: int) -> None:
        """Apply numbered records, the first of which has number `first_seq`."""
        happened: list[Event] = []
        for seq, record in enumerate(records, first_seq):
            if isinstance(record, _APPLIED):
                events = self._engine.apply(record.command, seq, record.time_ns)
                if isinstance(events, Rejected):
                    what = f"number {seq} took effect when it was logged, and is refused now: {events.reason}"
                    raise frame.segment.damaged(frame.offset, what)
                happened += events
                self.applied += 1
                self.last_time_ns = record.time_ns
            elif isinstance(record, RefusedRecord):
                self.refused += 1
            else:
                raise frame.segment.damaged(frame.offset, f"a {type(record).__name__} has sequence number {seq}")
            self.last_seq = seq
        self._engine.digest.update(happened)

    def _compare(self, frame: Frame, check: CheckRecord) -> None:
        digest, totals = self._engine.digest.value().hex(), self._engine.totals()
        if check.digest != digest:
            what = f"the check after sequence number {self.last_seq} says {check.digest}, the replay gives {digest}"
            raise frame.segment.damaged(frame.offset, what)
        if check.totals != totals:
            what = f"the check after sequence number {self.last_seq} says {check.totals}, the replay gives {totals}"
            raise frame.segment.damaged(frame.offset, what)
        self.checks += 1

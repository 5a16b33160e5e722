"""The archivist: puts closed candles and the audit into the store, and never stands in anybody's way.

Theory of operation. Candles are asked of the engine, behind everything that was durable when the round began, from the
newest one that the store has; so a round after a crash, or after a week without the store, simply has more to bring.
Where the engine has forgotten what the store still lacks, that is said and counted. Up to which sequence number candles
are safe is told to whoever prunes the log: what is not yet in the store stays in the segments.

Whoever has something for the audit notes it, without waiting. Notes are put into the store in the order they came; as
long as it is away they go into a file of bounded size, and are lost beyond that, which is counted. An entry has an id
of its own, so that putting it twice does no harm.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog
import trio
from attrs import field, frozen
from attrs.validators import and_, ge, le

from actors.audit_book import ENTRIES_AT_ONCE, AuditBook
from actors.engine_line import EngineLine
from actors.mailbox import NotDone, OutcomeUnknown, Sender
from actors.reqlog_writer import LogState
from actors.requests import Batch
from actors.restarts import Backoff
from actors.world import Blocking, Clock
from book.history import CLOSED_CANDLES, INTERVALS
from book.queries import Candle, Candles
from book.terms import MAX_INT
from persistence.spill import Spill
from persistence.sql_archive import month_of
from persistence.storage import Disk
from persistence.txstore import ArchiveStore, AuditEntry, CandleRow, StoreError

# At a stop, for the store to take what is in memory; then it waits in the file.
LAST_WORDS_SECONDS: Final = 2.0
PRUNE_SECONDS: Final = 86_400.0
BACKOFF: Final = Backoff(first_seconds=1.0, cap_seconds=60.0, jitter=0.0)
MONTHS_PER_YEAR: Final = 12

_log = structlog.get_logger("archivist")


@frozen(kw_only=True)
class ArchiveConfig:
    """What is kept of the past, and how soon."""

    candle_seconds: float = field(default=10.0, validator=and_(ge(0.1), le(3600.0)))
    """From one round of candles to the next."""
    audit_months: int = field(default=84, validator=and_(ge(1), le(1200)))
    """Whole months of the audit that are kept beside the current one."""


@frozen
class ArchiveView:
    """Where the archive stands."""

    candles_through: int
    """The candles of all commands up to this sequence number are in the store; 0 before the first round."""
    candles: int
    """Put into the store since the process began."""
    gaps: int
    """Times that the engine had forgotten candles which the store lacked."""
    audit_waiting: int
    """Entries in memory."""
    audit_spilled: int
    """Entries in the file that waits for the store."""
    audit_lost: int
    """Entries that had no place any more."""
    failures: int
    """Tries that failed since the process began."""
    trouble: str | None
    """Why the last try failed; None if it did not."""


class ArchiveState:
    """What the archivist tells of itself; it alone changes it. Outlives its incarnations."""

    def __init__(self, book: AuditBook) -> None:
        self._book = book
        self.candles_through = 0
        self.candles = 0
        self.gaps = 0
        self.spilled = 0
        self.failures = 0
        self.trouble: str | None = None

    def view(self) -> ArchiveView:
        """A copy."""
        return ArchiveView(
            candles_through=self.candles_through,
            candles=self.candles,
            gaps=self.gaps,
            audit_waiting=self._book.waiting,
            audit_spilled=self.spilled,
            audit_lost=self._book.lost,
            failures=self.failures,
            trouble=self.trouble,
        )

    def archived_seq(self) -> int:
        """For who prunes the log: the sequence number up to which it is not needed for candles."""
        return self.candles_through


class Archivist:
    """Archives until `stop`."""

    def __init__(
        self,
        config: ArchiveConfig,
        store: ArchiveStore,
        matching: Sender[Batch],
        *,
        book: AuditBook,
        disk: Disk,
        blocking: Blocking,
        clock: Clock,
        log_state: LogState,
        state: ArchiveState,
    ) -> None:
        self._config = config
        self._store = store
        self._engine = EngineLine(matching)
        self._book = book
        self._spill = Spill(disk)
        self._blocking = blocking
        self._clock = clock
        self._log_state = log_state
        self._state = state

    async def run(self, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Archive until `stop`; then bring the last entries of the audit to safety."""
        spilled = await self._blocking(self._spill.open)
        self._state.spilled = len(spilled)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_candles)
            nursery.start_soon(self._keep_audit, spilled)
            nursery.start_soon(self._keep_pruned)
            task_status.started()
            await stop.wait()
            nursery.cancel_scope.cancel()
        if self._book.waiting:
            with trio.move_on_after(LAST_WORDS_SECONDS), self._trying("audit"):
                await self._put_notes_into_store()
        await self._blocking(self._put_aside)

    # Candles ------------------------------------------------------------------------------------------------------

    async def _keep_candles(self) -> None:
        tries = 0
        while True:
            # First of all the exchange starts.
            await trio.sleep(BACKOFF.delay_seconds(tries, 0.0) if tries else self._config.candle_seconds)
            with self._trying("candles"):
                await self._archive_candles()
                tries = -1
            tries += 1

    async def _archive_candles(self) -> None:
        """One round: whatever is closed now and not in the store yet."""
        log = self._log_state.view()
        through = 0 if log is None else log.next_seq - 1
        if through <= self._state.candles_through:
            return
        markets = (await self._engine.directory()).markets
        for market in markets:
            symbol = market.market.symbol
            for interval_ns in INTERVALS:
                await self._archive(symbol, interval_ns)
        await self._store.add_candles([], through)
        self._state.candles_through = through

    async def _archive(self, symbol: str, interval_ns: int) -> None:
        newest = await self._store.candles(symbol, interval_ns, 0, MAX_INT, 1)
        start_ns = newest[0].open_ns if newest else 0
        told: list[Candle] = await self._engine.ask(Candles(symbol, interval_ns, start_ns, 0, CLOSED_CANDLES), list)
        if len(told) == CLOSED_CANDLES and newest and told[0].open_ns > start_ns:
            self._state.gaps += 1
            _log.warning(
                "candles are missing: the store was away for longer than the engine remembers",
                symbol=symbol,
                interval=INTERVALS[interval_ns],
                after_ns=start_ns,
                before_ns=told[0].open_ns,
            )
        # The last one may still grow.
        rows = [CandleRow(symbol=symbol, interval_ns=interval_ns, candle=candle) for candle in told[:-1]]
        fresh = [row for row in rows if row.candle.open_ns > start_ns or not newest]
        if fresh:
            await self._store.add_candles(fresh, 0)
            self._state.candles += len(fresh)

    # The audit ----------------------------------------------------------------------------------------------------

    async def _keep_audit(self, spilled: list[AuditEntry]) -> None:
        tries = 0
        while True:
            if not spilled:
                await self._book.wait()
            with self._trying("audit"):
                spilled = await self._put_into_store(spilled)
                tries = -1
            tries += 1
            if tries:
                spilled += await self._blocking(self._put_aside)
                await trio.sleep(BACKOFF.delay_seconds(tries, 0.0))

    async def _put_into_store(self, spilled: list[AuditEntry]) -> list[AuditEntry]:
        """First what waited in the file, then what is in memory; what is left of the former, which is nothing."""
        for start in range(0, len(spilled), ENTRIES_AT_ONCE):
            await self._store.add_audit(spilled[start : start + ENTRIES_AT_ONCE])
        if spilled:
            await self._blocking(self._spill.clear)
            self._state.spilled = 0
        await self._put_notes_into_store()
        return []

    async def _put_notes_into_store(self) -> None:
        while entries := self._book.some():
            await self._store.add_audit(entries)
            self._book.done(len(entries))

    def _put_aside(self) -> list[AuditEntry]:
        """Into the file, what is in memory; which that was."""
        moved: list[AuditEntry] = []
        while entries := self._book.some():
            count = self._spill.append(entries)
            self._book.done(count)
            moved += entries[:count]
            if count < len(entries):
                break
        self._state.spilled += len(moved)
        return moved

    async def _keep_pruned(self) -> None:
        while True:
            month = month_of(self._clock.wall_ns())
            with self._trying("audit"):
                gone = await self._store.prune_audit(months_before(month, self._config.audit_months))
                if gone:
                    _log.info("forgot old months of the audit", entries=gone)
            await trio.sleep(PRUNE_SECONDS)

    @contextmanager
    def _trying(self, what: str) -> Iterator[None]:
        """Around what needs the store or the engine: what is wrong with them is told, and tried again later."""
        try:
            yield
        except (StoreError, NotDone, OutcomeUnknown) as error:
            self._state.failures += 1
            if self._state.trouble is None:
                _log.warning("the archive waits; trading goes on", what=what, reason=str(error))
            self._state.trouble = str(error)
        else:
            self._state.trouble = None


def months_before(month: int, count: int) -> int:
    """The month so many before this one: 202611 and 2 make 202609."""
    months = month // 100 * MONTHS_PER_YEAR + month % 100 - 1 - count
    return months // MONTHS_PER_YEAR * 100 + months % MONTHS_PER_YEAR + 1

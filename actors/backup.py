"""The backup actor: copies sealed segments and snapshots to the cold store, and knows what is safe there.

Theory of operation. A run reads the manifest, compares it with the log, copies what it lacks, one object at a time, and
replaces the manifest after each. So a run is the same after a start, a crash or a week without the target, and doing it
twice does nothing twice. A run comes when a segment has been sealed, once a day, and when an operator asks; the daily
one takes the newest snapshot with it, and looks whether the target still has all that it was given.

What fails here never touches trading: it is told, logged and counted, and tried again, after waits that double up to
some minutes. Meanwhile sealed segments stay where they are, since `is_copied` says no.

All work is done in a worker thread, in steps that pace themselves, so that matching is not held up. A stop cancels the
run, and waits for the step in hand: until its next breath, or until a request to the target has timed out.
"""

import itertools
from collections.abc import Callable
from math import inf
from operator import attrgetter
from typing import Final

import structlog
import trio
from attrs import Attribute, asdict, define, field, frozen
from attrs.validators import and_, ge, le
from msgspec.structs import replace

from actors.handoff import LogItem, SealCall
from actors.mailbox import Call, Mailbox, NotDone, OutcomeUnknown, Sender, fail_all
from actors.reqlog_writer import LogState
from actors.restarts import Backoff
from actors.serving import serve_until
from actors.world import Blocking, Clock
from persistence import manifest, store_dump
from persistence.backup import Courier
from persistence.exits import Stop
from persistence.manifest import Manifest
from persistence.object_store import BadTarget, ObjectStore, Pace, TargetFailed, check_target
from persistence.segments import path_of
from persistence.snapshot import BadSnapshot, list_snapshots
from persistence.statements import Database
from persistence.storage import Disk
from persistence.txstore import StoreError

# The writer tells nobody that it has sealed a segment; a look costs nothing.
LOOK_SECONDS: Final = 1.0
CALLS: Final = 16
# The writer may just be making room for the next segment; without an answer, what is sealed already is copied.
SEAL_SECONDS: Final = 30.0
BACKOFF: Final = Backoff(first_seconds=1.0, cap_seconds=300.0, jitter=0.0)

_log = structlog.get_logger("backup")


def _is_target(_config: object, _attribute: "Attribute[str]", value: str) -> None:
    if value:
        check_target(value)


@frozen(kw_only=True)
class BackupConfig:
    """Where cold copies go, and how."""

    target: str = field(default="", validator=_is_target)
    """A URL; none where it is empty."""
    interval_seconds: float = field(default=86_400.0, validator=and_(ge(1), le(31_536_000)))
    """From one run that takes a snapshot, and looks at all that is there, to the next."""
    level: int = field(default=3, validator=and_(ge(1), le(19)))
    """Of zstd: 1 is quick, 19 small."""


@frozen
class Copied:
    """What a run did."""

    target: str
    segments: int
    snapshots: int
    bytes: int
    """That were stored, packed."""
    last_seq: int
    """The last sequence number that is safe at the target."""


class RunBackup(Call[None, Copied]):
    """'Seal, and copy now': settled when all there was is copied."""

    __slots__ = ()


@frozen
class BackupView:
    """Where the backup stands."""

    target: str
    segments: int
    """In the manifest."""
    snapshots: int
    """In the manifest."""
    bytes: int
    """Of all objects that the manifest names."""
    last_seq: int
    """The last sequence number that is safe at the target; 0 before the first look at it."""
    lag: int
    """Numbers behind it that the log has: what the loss of this machine would cost."""
    age_seconds: float
    """Since a run ended well, or since the process began."""
    failures: int
    """Runs that failed since the process began."""
    trouble: str | None
    """Why the last run failed; None if it did not."""


class BackupState:
    """What the actor tells of itself; it alone changes it. Outlives its incarnations."""

    def __init__(self, target: str, clock: Clock, log_state: LogState) -> None:
        self.target = target
        self._clock = clock
        self._log_state = log_state
        self._copied: frozenset[int] = frozenset()
        self._manifest: Manifest | None = None
        self._bytes = 0
        self._succeeded_ns = clock.monotonic_ns()
        self.failures = 0
        self.trouble: str | None = None

    @property
    def last_path(self) -> str:
        """Of the last segment that is safe; empty before the first look at the target."""
        current = self._manifest
        return "" if current is None or not current.segments else path_of(current.segments[-1].first_seq)

    def is_copied(self, first_seq: int) -> bool:
        """Whether the segment that begins with this number need not stay here; always, where no backup is wanted."""
        return not self.target or first_seq in self._copied

    def knows(self, current: Manifest) -> None:
        """The target has this manifest, and everything in it."""
        self._manifest = current
        self._copied = frozenset(copy.first_seq for copy in current.segments)
        self._bytes = sum(stored.stored_size for stored in current.objects())

    def forget(self) -> None:
        """The target is not known to have anything any more."""
        self._copied = frozenset()

    def succeeded(self) -> None:
        """A run ended well."""
        self._succeeded_ns = self._clock.monotonic_ns()
        self.trouble = None

    def failed(self, reason: str) -> None:
        """A run did not."""
        self.failures += 1
        self.trouble = reason

    def view(self) -> BackupView | None:
        """A copy; None where no backup is wanted."""
        if not self.target:
            return None
        log, current = self._log_state.view(), self._manifest
        next_seq = 1 if current is None else current.next_seq
        return BackupView(
            target=self.target,
            segments=0 if current is None else len(current.segments),
            snapshots=0 if current is None else len(current.snapshots),
            bytes=self._bytes,
            last_seq=next_seq - 1,
            lag=0 if log is None else log.next_seq - next_seq,
            age_seconds=(self._clock.monotonic_ns() - self._succeeded_ns) / 1e9,
            failures=self.failures,
            trouble=self.trouble,
        )


class Backup:
    """Copies until `stop`."""

    def __init__(
        self,
        config: BackupConfig,
        mailbox: Mailbox[RunBackup],
        log: Sender[LogItem],
        *,
        disk: Disk,
        blocking: Blocking,
        open_target: Callable[[str], ObjectStore],
        pace: Pace,
        clock: Clock,
        state: BackupState,
        log_state: LogState,
        database: Database | None = None,
    ) -> None:
        """`database` is the store's, to be copied too; None where there is none."""
        self._database = database
        self._config = config
        self._mailbox = mailbox
        self._log = log
        self._disk = disk
        self._blocking = blocking
        self._open_target = open_target
        self._pace = pace
        self._clock = clock
        self._state = state
        self._log_state = log_state

    async def run(self, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Copy what there is, then what comes, until `stop`; then leave what is not copied to the next start."""
        await serve_until(stop, self._serve, task_status)

    async def _serve(self) -> None:
        rhythm = _Rhythm(self._config.interval_seconds)
        while True:
            calls: list[RunBackup] = []
            with trio.move_on_after(LOOK_SECONDS):
                calls = await self._mailbox.receive_some(CALLS)
            if calls:
                await self._seal()
            segment, now = self._open_segment(), trio.current_time()
            if calls or rhythm.is_due(segment, now):
                full = bool(calls) or now >= rhythm.full_at
                try:
                    copied = await self._run(full=full)
                except (TargetFailed, BadTarget, BadSnapshot, Stop) as error:
                    self._complain(error)
                    rhythm.failed(trio.current_time())
                    fail_all(calls, NotDone(f"{error}; it is tried again by itself"))
                except BaseException:
                    fail_all(calls, OutcomeUnknown("the backup was ended in the midst of it"))
                    raise
                else:
                    rhythm.succeeded(segment, now, full=full)
                    self._rejoice(copied)
                    for call in calls:
                        call.settle(copied)

    async def _seal(self) -> None:
        """Have everything up to now sealed: an operator who asks for a copy means that."""
        seal = SealCall(None)
        try:
            with trio.fail_after(SEAL_SECONDS):
                await self._log.send(seal, timeout_seconds=SEAL_SECONDS)
                await seal.wait()
        except (NotDone, trio.TooSlowError) as error:
            _log.warning("what is open is not sealed, so it is not copied yet", reason=str(error) or "no answer")

    def _open_segment(self) -> int:
        view = self._log_state.view()
        return 0 if view is None else view.segments

    async def _run(self, *, full: bool) -> Copied:
        """Copy what the target lacks. Raises TargetFailed, BadTarget, BadSnapshot or Stop."""
        log, state = self._log_state.reqlog, self._state
        if log is None:
            raise AssertionError("the log's writer starts before the backup")
        target = await self._blocking(self._open_target, self._config.target)
        courier = Courier(target, self._disk, self._config.level, self._pace)
        local = await self._blocking(courier.local, log.segment_path, "" if full else state.last_path)
        current = await self._blocking(courier.manifest, log.exchange_id.hex(), log.epoch, local)
        waiting = manifest.due(current, local, target.url)
        if full:
            state.forget()
            whole = await self._blocking(courier.mended, current, local)
            if whole != current:
                current = await self._save(courier, whole)
        state.knows(current)
        before, snapshots = {stored.name for stored in current.objects()}, len(current.snapshots)
        for segment, successor in itertools.pairwise([*waiting, local[-1]]):
            copy = await self._blocking(courier.copy_segment, segment, successor)
            current = await self._save(courier, replace(current, segments=(*current.segments, copy)))
            state.knows(current)
        if full or not current.snapshots:
            current = await self._copy_snapshot(courier, current)
            current = await self._copy_store(courier, current)
            state.knows(current)
        new = [stored for stored in current.objects() if stored.name not in before]
        return Copied(
            target=target.url,
            segments=len(waiting),
            snapshots=len(current.snapshots) - snapshots,
            bytes=sum(stored.stored_size for stored in new),
            last_seq=current.next_seq - 1,
        )

    async def _copy_snapshot(self, courier: Courier, current: Manifest) -> Manifest:
        """The newest snapshot of which the log is copied; nothing if it is there, or there is none."""
        files = await self._blocking(list_snapshots, self._disk)
        covered = [file for file in files if file.seq < current.next_seq]
        if not covered or any(copy.seq == covered[-1].seq for copy in current.snapshots):
            return current
        copy = await self._blocking(courier.copy_snapshot, covered[-1])
        snapshots = sorted((*current.snapshots, copy), key=attrgetter("seq"))
        return await self._save(courier, replace(current, snapshots=tuple(snapshots)))

    async def _copy_store(self, courier: Courier, current: Manifest) -> Manifest:
        """A dump of the store, if it is not as it was; none where the store is away, which is no reason to wait."""
        if self._database is None:
            return current
        try:
            raw = await store_dump.take(self._database)
        except StoreError as error:
            _log.warning("the store is not copied this time", reason=str(error))
            return current
        digest = await self._blocking(manifest.digest, raw)
        if current.dumps and current.dumps[-1].object.digest == digest:
            return current
        copy = await self._blocking(courier.copy_dump, current.exchange_id, raw, self._clock.wall_ns())
        return await self._save(courier, replace(current, dumps=(*current.dumps, copy)))

    async def _save(self, courier: Courier, current: Manifest) -> Manifest:
        current = replace(current, time_ns=self._clock.wall_ns())
        await self._blocking(courier.save, current)
        return current

    def _complain(self, error: Exception) -> None:
        log = _log.warning if self._state.trouble is not None else _log.error
        self._state.failed(str(error))
        log("the backup does not go on; it is tried again, and nothing is deleted here", reason=str(error))

    def _rejoice(self, copied: Copied) -> None:
        if self._state.trouble is not None:
            _log.warning("the backup goes on again", last_seq=copied.last_seq)
        self._state.succeeded()
        if copied.bytes:
            _log.info("copied", **asdict(copied))


@define
class _Rhythm:
    """When it is time for a run."""

    _interval_seconds: float
    full_at: float = -inf
    """When a run is to be a full one."""
    _segment: int = -1
    _not_before: float = -inf
    _failures: int = 0

    def is_due(self, segment: int, now: float) -> bool:
        """Whether there is something to do, and no failure to wait off."""
        return now >= self._not_before and (segment != self._segment or now >= self.full_at)

    def succeeded(self, segment: int, began: float, *, full: bool) -> None:
        """Everything before this open segment is copied."""
        self._segment = segment
        self._failures = 0
        self._not_before = -inf
        if full:
            self.full_at = began + self._interval_seconds

    def failed(self, now: float) -> None:
        """Wait longer each time."""
        self._failures += 1
        self._not_before = now + BACKOFF.delay_seconds(self._failures, 0.0)

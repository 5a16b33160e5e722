"""The snapshotter: decides when a snapshot is taken, has it taken elsewhere, and gives it its name.

Theory of operation. It takes none itself: a process of its own replays the log (persistence.snapshotting). What is
done here costs matching nothing: it asks the log's writer to let the log end with a check, hands on where that is,
waits, and compares what came of it with that check, so that three agree: the engine that trades, the engine that
replayed, and the file. Then it renames the file, and prunes.

Nothing of this can hurt trading. A process that fails is logged, counted and tried again later; this actor is restarted
for ever. A snapshot is due when there is much log behind the last one, so that a start is quick, or when that one is
old; and not before as much time has passed as the last one took, so that taking them never becomes all that is done.
"""

from typing import Final

import structlog
import trio
from attrs import field, frozen
from attrs.validators import and_, ge, le

from actors.handoff import CheckCall, Checked, LogItem
from actors.mailbox import Busy, Call, Mailbox, Sender, Stopped, fail_all
from actors.reqlog_writer import LogState
from actors.serving import serve_until
from actors.snapshot_process import SnapshotFailed, SnapshotProcess, SnapshotReport
from actors.world import Blocking, Clock
from persistence import snapshot
from persistence.exits import NoSpace, Stop
from persistence.pruning import ArchivedSeq, IsCopied, Pruned, all_archived, log_bytes_after, prune
from persistence.segments import path_of
from persistence.snapshot import BadSnapshot, Footer, SnapshotFile
from persistence.storage import Disk

# How often it looks whether one is due.
LOOK_SECONDS: Final = 1.0
# After one that failed: what was wrong rarely passes at once, and a full replay is work.
FAILED_SECONDS: Final = 60.0

_log = structlog.get_logger("snapshotter")


@frozen(kw_only=True)
class SnapshotConfig:
    """When snapshots are taken, and how many are kept."""

    log_bytes: int = field(default=128 * 1024 * 1024, validator=and_(ge(4096), le(1 << 40)))
    """One is due after so many bytes of log: what a start then replays."""
    seconds: float = field(default=3600.0, validator=and_(ge(1), le(604_800)))
    """One is due after so long, if there is anything new in the log."""
    keep: int = field(default=3, validator=and_(ge(2), le(100)))
    """The newest that are kept; the log is kept from the oldest of them on."""


@frozen
class SnapshotTaken:
    """A snapshot that a start may begin with."""

    seq: int
    file: str
    bytes: int
    records: int
    """Replayed for it."""
    seconds: float
    """From the decision to the name."""
    peak_bytes: int
    """The memory that the process needed."""


SnapshotCall = Call[None, SnapshotTaken]
"""'Take one now', asked by operators."""


class SnapshotState:
    """What the snapshotter tells of itself; it alone changes it. Outlives its incarnations."""

    def __init__(self) -> None:
        self.newest: Footer | None = None
        """The newest one; None while there is none."""
        self.taken: SnapshotTaken | None = None
        """The last one of this process."""
        self.differences: dict[str, int] = {}
        """Per asset, how much more there was than came in when last anybody looked: 0, or we have a bug."""
        self.failures = 0
        """Since the process began."""
        self.last_failure = ""


class Snapshotter:
    """Has snapshots taken, one at a time."""

    def __init__(
        self,
        config: SnapshotConfig,
        mailbox: Mailbox[SnapshotCall],
        log: Sender[LogItem],
        *,
        process: SnapshotProcess,
        disk: Disk,
        blocking: Blocking,
        clock: Clock,
        state: SnapshotState,
        log_state: LogState,
        is_copied: IsCopied,
        archived_seq: ArchivedSeq = all_archived,
    ) -> None:
        """Judge what may go.

        `is_copied` says of a segment, by its first sequence number, whether it may go from here, and `archived_seq` up
        to which number nobody needs the log for candles any more.
        """
        self._archived_seq = archived_seq
        self._config = config
        self._mailbox = mailbox
        self._log = log
        self._process = process
        self._disk = disk
        self._blocking = blocking
        self._clock = clock
        self._state = state
        self._log_state = log_state
        self._is_copied = is_copied
        self._not_before_ns = 0
        self._began_ns = 0

    async def run(self, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Take snapshots until `stop`; one that is being taken then is given up."""
        self._began_ns = self._clock.wall_ns()
        self._state.newest = await self._blocking(self._tidy_up)
        await serve_until(stop, self._work, task_status)

    def _tidy_up(self) -> Footer | None:
        """Remove what was left half done; the newest snapshot that says what it is."""
        snapshot.remove_temporaries(self._disk)
        for file in reversed(snapshot.list_snapshots(self._disk)):
            try:
                return snapshot.read_footer(self._disk, file)
            except BadSnapshot as error:
                _log.warning("a snapshot is bad; the next one takes its place", file=file.path, reason=str(error))
        return None

    async def _work(self) -> None:
        while True:
            calls: list[SnapshotCall] = []
            with trio.move_on_after(LOOK_SECONDS):
                calls = await self._mailbox.receive_some(self._mailbox.statistics().capacity)
            if calls or await self._is_due():
                await self._take_for(calls)

    async def _is_due(self) -> bool:
        reqlog, newest = self._log_state.reqlog, self._state.newest
        if reqlog is None or self._clock.monotonic_ns() < self._not_before_ns:
            return False
        if reqlog.next_seq - 1 <= (0 if newest is None else newest.seq):
            return False
        since_ns = self._began_ns if newest is None else newest.time_ns
        if self._clock.wall_ns() - since_ns >= self._config.seconds * 1e9:
            return True
        size = await self._blocking(log_bytes_after, self._disk, newest, reqlog.segment_path, reqlog.offset)
        return size >= self._config.log_bytes

    async def _take_for(self, calls: list[SnapshotCall]) -> None:
        """Take one, and tell those who asked for it."""
        began_ns = self._clock.monotonic_ns()
        try:
            taken = await self._take(began_ns)
        except (SnapshotFailed, BadSnapshot, NoSpace, Stop) as error:
            self._state.failures += 1
            self._state.last_failure = str(error)
            _log.error("no snapshot could be taken; trading goes on, the next start takes longer", reason=str(error))
            fail_all(calls, Busy(f"no snapshot could be taken: {error}"))
            self._rest(FAILED_SECONDS)
        except BaseException:
            fail_all(calls, Stopped("the snapshotter was stopped"))
            raise
        else:
            for call in calls:
                call.settle(taken)
            self._rest(taken.seconds)

    def _rest(self, seconds: float) -> None:
        self._not_before_ns = self._clock.monotonic_ns() + round(seconds * 1e9)

    async def _take(self, began_ns: int) -> SnapshotTaken:
        """Raises SnapshotFailed, BadSnapshot or Stop, with nothing changed but a temporary file."""
        call = CheckCall(None)
        (await self._log.reserve()).send(call)
        # No deadline: either the writer answers, or its crash restarts us too.
        checked = await call.wait()
        if checked is None:
            raise SnapshotFailed("there is no check of the state as it is, or no room for one")
        report = await self._process(checked.position)
        self._state.differences = report.differences
        if any(report.differences.values()):
            raise SnapshotFailed(f"money was made or lost, in smallest units: {report.differences}; halt all markets")
        newest = await self._blocking(self._accept, report, checked)
        self._state.newest = newest
        pruned = await self._blocking(self._prune)
        seconds = round((self._clock.monotonic_ns() - began_ns) / 1e9, 3)
        file = snapshot.path_of_snapshot(newest.seq)
        taken = SnapshotTaken(newest.seq, file, report.bytes, report.records, seconds, report.peak_bytes)
        self._state.taken = taken
        _log.info(
            "snapshot taken",
            file=file,
            bytes=report.bytes,
            records=report.records,
            seconds=seconds,
            peak_bytes=report.peak_bytes,
            removed=[*pruned.snapshots, *pruned.segments],
        )
        return taken

    def _prune(self) -> Pruned:
        return prune(self._disk, keep=self._config.keep, is_copied=self._is_copied, archived_seq=self._archived_seq())

    def _accept(self, report: SnapshotReport, checked: Checked) -> Footer:
        """Compare the file with what was logged, and give it its name."""
        seq = checked.position.next_seq - 1
        path = f"{snapshot.path_of_snapshot(seq)}.tmp"
        if report.path != path:
            raise SnapshotFailed(f"asked for {path}, the process made {report.path}")
        footer = snapshot.read_footer(self._disk, SnapshotFile(path, seq, report.bytes))
        was, is_ = (footer.digest.hex(), footer.totals), (checked.check.digest, checked.check.totals)
        if was != is_:
            raise SnapshotFailed(f"the log says that the state after number {seq} is {is_}, the snapshot {was}")
        snapshot.must_belong(self._disk, footer)
        # Under durability 'os' the log may not be on the disk yet. A snapshot is never newer than the log there.
        segment = self._disk.open(path_of(footer.segment))
        segment.datasync()
        segment.close()
        snapshot.publish(self._disk, path)
        return footer

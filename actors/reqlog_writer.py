"""The request log's writer: log, then answer.

Theory of operation. It takes all that matching has handed on since it last looked, appends the records as one frame,
syncs it in a worker thread, and then releases, in order, the answers of every batch in it: group commit, with at most
one unsynced frame at any moment. Reads travel in the same queue, so they are released behind everything they may have
seen. With nothing to log, nothing is synced and the answers leave at once. Behind the answers goes what those are told
who follow markets and accounts: into the publisher's feed, which never makes it wait.

It owns the log's files. At its start it recovers, from the newest good snapshot's segment on: a torn tail is repaired
and what was found is synced before anything is taken. Handoffs carry the incarnation of the matching that made them,
and only the one that asked at the barrier last is listened to: what an older one still had in the mailbox when this
writer crashed would leave a gap in the log, so it is answered 'busy', as it certainly did not happen. What was in hand
at a crash is 'outcome unknown'.

A write or sync that fails is no error here: the disk ends the process, and nobody is answered (persistence.storage).
"""

from collections.abc import Callable, Sequence
from math import inf
from typing import Final

import structlog
import trio
from attrs import Factory, field, frozen
from attrs.validators import ge, gt

from actors.feed import Feed
from actors.handoff import Barrier, CheckCall, Checked, Handoff, LogItem, SealCall
from actors.histogram import Histogram
from actors.mailbox import Busy, Mailbox, OutcomeUnknown
from actors.world import Blocking, Clock, Entropy
from book.engine import ENGINE_VERSION
from persistence import codec
from persistence.codec import CheckRecord
from persistence.exits import NoSpace
from persistence.recovery import Progress
from persistence.reqlog import Reqlog, ReqlogConfig
from persistence.snapshot import needless_seq
from persistence.storage import Disk

# So many handoffs, and after so many bytes no more of them, make one frame: plenty for one sync, bounded for a reader.
FRAME_HANDOFFS: Final = 256
FRAME_BYTES: Final = 1024 * 1024
ROOM_RETRY_SECONDS: Final = 1.0

_log = structlog.get_logger("reqlog-writer")


@frozen(kw_only=True)
class WriterConfig:
    """How the log is kept and when the writer does more than append."""

    log: ReqlogConfig = Factory(ReqlogConfig)
    idle_seconds: float = field(default=0.010, validator=gt(0))
    """After so long without a record an empty frame follows, so that what was acknowledged is rarely last."""
    seal_seconds: float = field(default=300.0, validator=gt(0))
    """A segment with records in it is sealed at this age, so that a backup never waits long."""
    check_frames: int = field(default=256, validator=ge(1))
    """After so many frames one carries a check: the digest and totals that a replay must arrive at."""
    check_records: int = field(default=10_000, validator=ge(1))
    """After so many records one does so too."""


@frozen
class LogView:
    """Where the log stands."""

    next_seq: int
    chain: str
    """Hex, the value of the last frame."""
    segment: str
    """Path of the open segment in the data folder."""
    segments: int
    """The number of the open segment, counted from 1."""
    epoch: int
    frames: int
    """Written since the process began, empty ones included."""
    records: int
    """Written since the process began."""
    sync_ns: int
    """Time spent writing and syncing since the process began."""
    has_room: bool
    """False while the next segment finds no room on the disk: new orders are refused, cancels are not."""


class LogState:
    """What the writer tells of itself; the writer alone changes it. Outlives the writer's incarnations."""

    def __init__(self) -> None:
        self.has_room = True
        self.reqlog: Reqlog | None = None
        self.frames = 0
        self.records = 0
        self.sync_ns = 0
        self.sync_latency = Histogram()

    def view(self) -> LogView | None:
        """A copy; None before the writer's first start."""
        if self.reqlog is None:
            return None
        return LogView(
            next_seq=self.reqlog.next_seq,
            chain=self.reqlog.position.chain.hex(),
            segment=self.reqlog.segment_path,
            segments=self.reqlog.segment_number,
            epoch=self.reqlog.epoch,
            frames=self.frames,
            records=self.records,
            sync_ns=self.sync_ns,
            has_room=self.has_room,
        )


class _NoRoomAtStopError(Exception):
    """A stop came while the open segment was full and the disk had no room for the next: the rest is given up."""


class ReqlogWriter:
    """Turns handoffs into frames and frames into released answers."""

    def __init__(
        self,
        config: WriterConfig,
        mailbox: Mailbox[LogItem],
        *,
        disk: Disk,
        blocking: Blocking,
        clock: Clock,
        entropy: Entropy,
        state: LogState,
        feed: Feed,
        progress: Callable[[str], Progress],
    ) -> None:
        self._config = config
        self._mailbox = mailbox
        self._feed = feed
        self._disk = disk
        self._blocking = blocking
        self._clock = clock
        self._entropy = entropy
        self._state = state
        self._progress = progress

    async def run(self, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Recover the log, then write until `stop` and until the mailbox is empty; then seal it.

        Raises:
            Damaged, Unreadable, NewerFormat: the log is not to be touched; every file is as it was.
        """
        reqlog = await self._blocking(self._open)
        self._state.reqlog = reqlog
        pen = _Pen(
            self._config,
            reqlog,
            blocking=self._blocking,
            clock=self._clock,
            state=self._state,
            feed=self._feed,
            stop=stop,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._interrupt_at, stop)
            nursery.start_soon(pen.keep_prepared)
            task_status.started()
            try:
                await self._write(pen, stop)
            except _NoRoomAtStopError:
                await self._give_up()
            nursery.cancel_scope.cancel()
        await pen.close()

    def _open(self) -> Reqlog:
        return Reqlog.open(
            self._disk,
            self._config.log,
            engine_version=ENGINE_VERSION,
            entropy=self._entropy,
            time_ns=self._clock.wall_ns(),
            covered_seq=needless_seq(self._disk),
            progress=self._progress("checking the request log"),
        )

    async def _interrupt_at(self, stop: trio.Event) -> None:
        await stop.wait()
        self._mailbox.interrupt()

    async def _write(self, pen: "_Pen", stop: trio.Event) -> None:
        while True:
            items: list[LogItem] = []
            with trio.move_on_after(pen.patience_seconds()) as waiting:
                items = await self._mailbox.receive_some(FRAME_HANDOFFS)
            if items:
                await pen.work_off(items)
            elif waiting.cancelled_caught:
                await pen.idle()
            elif stop.is_set():
                return

    async def _give_up(self) -> None:
        """Tell everyone who still waits that it was not written; nobody hands on any more."""
        while items := await self._mailbox.receive_some(FRAME_HANDOFFS):
            error = Busy("the exchange stops, and the log has no room")
            _settle_all(_handoffs(items), error)
            for item in items:
                if not isinstance(item, Handoff):
                    item.fail(error)
        _log.warning("stopping without room for the log: what was not answered was not written")


class _Pen:
    """One incarnation of the writer: the open log, and whom it listens to."""

    def __init__(
        self,
        config: WriterConfig,
        reqlog: Reqlog,
        *,
        blocking: Blocking,
        clock: Clock,
        state: LogState,
        feed: Feed,
        stop: trio.Event,
    ) -> None:
        self._config = config
        self._feed = feed
        self._reqlog = reqlog
        self._blocking = blocking
        self._clock = clock
        self._state = state
        self._stop = stop
        self._incarnation = 0
        self._check: bytes | None = None
        self._frames_since_check = self._records_since_check = 0
        self._last_has_records = False
        self._has_written = trio.Event()
        self._rolled = trio.Event()

    def patience_seconds(self) -> float:
        """How long to wait for work before there is something to do without any."""
        if self._last_has_records:
            return self._config.idle_seconds
        if not self._reqlog.segment_has_records:
            return inf
        if not self._state.has_room:
            return self._config.seal_seconds
        return max(0.0, self._config.seal_seconds - self._segment_age_seconds())

    async def work_off(self, items: Sequence[LogItem]) -> None:
        """Write what is to be written, then answer; in order, in as many frames as it needs."""
        group: list[Handoff] = []
        group_bytes = 0
        try:
            for item in items:
                if isinstance(item, Barrier | CheckCall | SealCall):
                    await self._commit(group)
                    group, group_bytes = [], 0
                    await self._answer(item)
                elif item.incarnation != self._incarnation:
                    _settle_all([item], Busy("the log's writer restarted before this was written"))
                else:
                    item_bytes = sum(map(len, item.records)) + len(item.records)
                    if group and group_bytes + item_bytes > FRAME_BYTES:
                        await self._commit(group)
                        group, group_bytes = [], 0
                    group.append(item)
                    group_bytes += item_bytes
            await self._commit(group)
        except BaseException:
            # Whether the group in hand was written is not known; what stands behind it was certainly not.
            _settle_all(group, OutcomeUnknown("the log's writer failed while this was being written"))
            _settle_all(_handoffs(items), Busy("the log's writer failed before this"))
            raise

    async def _answer(self, item: Barrier | CheckCall | SealCall) -> None:
        if isinstance(item, Barrier):
            self._incarnation = item.request
            item.settle(self._reqlog.position)
        elif isinstance(item, SealCall):
            item.settle(self._reqlog.segment_has_records and await self._try_roll(self._clock.wall_ns()))
        else:
            item.settle(await self._log_check())

    async def _log_check(self) -> Checked | None:
        """Let the log end with a check; None where there is none of the state as it is, or no place for it."""
        check, time_ns = self._check, self._clock.wall_ns()
        if check is None:
            return None
        if self._fitting([check]):
            await self._append_frame([check], 0, time_ns)
            self._last_has_records = False
            self._frames_since_check = self._records_since_check = 0
        elif not await self._try_roll(time_ns):  # it goes in front of the seal
            return None
        (record,) = codec.decode_records(codec.payload_of([check]))
        if not isinstance(record, CheckRecord):
            raise AssertionError(f"matching handed on {record!r} as a check")
        return Checked(self._reqlog.position, record)

    async def _commit(self, group: Sequence[Handoff]) -> None:
        writing = [handoff for handoff in group if handoff.records]
        if writing:
            first, last = writing[0], writing[-1]
            if first.first_seq != self._reqlog.next_seq:
                raise AssertionError(f"handed {first.first_seq} where {self._reqlog.next_seq} is due: a gap in the log")
            await self._append([record for handoff in writing for record in handoff.records], last.check, last.time_ns)
        for handoff in group:
            for batch, outcomes in handoff.answers:
                batch.settle(outcomes)
            if handoff.committed is not None:
                self._feed.offer(handoff.committed)

    async def _append(self, records: list[bytes], check: bytes | None, time_ns: int) -> None:
        """Append the records: in one frame, or in more where they do not fit the open segment."""
        while (fitting := self._fitting(records)) < len(records):
            if fitting:
                await self._append_frame(records[:fitting], fitting, time_ns)
                records = records[fitting:]
                self._check = None  # nobody has one of a state in between
            await self._roll(time_ns)
        count = len(records)
        self._frames_since_check += 1
        self._records_since_check += count
        if check is not None and self._is_check_due():
            with_check = [*records, check]
            if self._fitting(with_check) == len(with_check):
                records = with_check
                self._frames_since_check = self._records_since_check = 0
        await self._append_frame(records, count, time_ns)
        self._check = check

    def _is_check_due(self) -> bool:
        return (
            self._frames_since_check >= self._config.check_frames
            or self._records_since_check >= self._config.check_records
        )

    def _fitting(self, records: Sequence[bytes]) -> int:
        """How many of these, from the first on, fit a frame of the open segment."""
        room = self._reqlog.room
        for number, record in enumerate(records):
            room -= len(record) + 1
            if room < 0:
                return number
        return len(records)

    async def _append_frame(self, records: Sequence[bytes], count: int, time_ns: int) -> None:
        began_ns = self._clock.monotonic_ns()
        await self._blocking(lambda: self._reqlog.append(records, count=count, time_ns=time_ns))
        took_ns = self._clock.monotonic_ns() - began_ns
        self._state.sync_ns += took_ns
        self._state.sync_latency.observe(took_ns / 1e9)
        self._state.frames += 1
        self._state.records += count
        self._last_has_records = True
        self._has_written.set()

    async def idle(self) -> None:
        """Nothing came for as long as `patience_seconds` said: protect the last frame, or seal an old segment."""
        time_ns = self._clock.wall_ns()
        if self._last_has_records:
            self._last_has_records = False
            await self._blocking(lambda: self._reqlog.append((), count=0, time_ns=time_ns))
            self._state.frames += 1
        elif self._reqlog.segment_has_records and self._state.has_room:
            await self._try_roll(time_ns)

    async def _roll(self, time_ns: int) -> None:
        """Go on in the next segment, as this one is full. Without room for one it waits: back-pressure, not loss.

        Raises _NoRoomAtStopError when told to stop meanwhile.
        """
        while not await self._try_roll(time_ns):
            if self._stop.is_set():
                raise _NoRoomAtStopError
            with trio.move_on_after(ROOM_RETRY_SECONDS):  # nobody tells when a disk has room
                await self._stop.wait()

    async def _try_roll(self, time_ns: int) -> bool:
        """Seal the segment and go on in the next; False, and nothing changed, while the disk has no room for one."""
        check = [] if self._check is None else [self._check]
        try:
            await self._blocking(lambda: self._reqlog.roll(check, time_ns=time_ns))
        except NoSpace as error:
            self._complain(error)
            return False
        self._frames_since_check = 0
        self._records_since_check = 0
        self._last_has_records = False
        self._rolled.set()
        return True

    async def keep_prepared(self) -> None:
        """Keep room for the next segment ready; while the disk has none, say so and try again.

        Not before something was written: if matching finds that the log does not replay, no file has been touched.
        """
        await self._has_written.wait()
        while True:
            self._rolled = trio.Event()
            await self._prepare()
            await self._rolled.wait()

    async def _prepare(self) -> None:
        while True:
            try:
                await self._blocking(self._reqlog.prepare_next)
            except NoSpace as error:
                self._complain(error)
                await trio.sleep(ROOM_RETRY_SECONDS)
            else:
                if not self._state.has_room:
                    _log.warning("there is room again; new orders are accepted")
                self._state.has_room = True
                return

    def _complain(self, error: NoSpace) -> None:
        if self._state.has_room:
            _log.error("new orders are refused, cancels are accepted, until there is room", reason=str(error))
        self._state.has_room = False

    async def close(self) -> None:
        """The stop in order: a check, a shutdown record, the seal; nothing where nothing was written."""
        if not self._has_written.is_set():
            self._reqlog.leave()
            return
        check = [] if self._check is None else [self._check]
        time_ns = self._clock.wall_ns()
        await self._blocking(lambda: self._reqlog.close(check, time_ns=time_ns))

    def _segment_age_seconds(self) -> float:
        return (self._clock.wall_ns() - self._reqlog.segment_created_ns) / 1e9


def _handoffs(items: Sequence[LogItem]) -> list[Handoff]:
    return [item for item in items if isinstance(item, Handoff)]


def _settle_all(handoffs: Sequence[Handoff], error: Busy | OutcomeUnknown) -> None:
    for handoff in handoffs:
        for batch, _ in handoff.answers:
            if not batch.settled:
                batch.fail(error)

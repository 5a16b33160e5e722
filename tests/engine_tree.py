"""Writer, matching, publisher and snapshotter under a supervisor, on a simulated disk: the engine's half of all."""

from collections.abc import Awaitable, Callable
from random import Random

import trio

from actors.audience import Audience
from actors.children import Run
from actors.directory import Directory
from actors.feed import Feed
from actors.handoff import LogItem
from actors.mailbox import Busy, Mailbox, NotDone, OutcomeUnknown, Sender
from actors.matching import Matching, MatchingConfig
from actors.publisher import Publisher
from actors.reqlog_writer import LogState, ReqlogWriter, WriterConfig
from actors.requests import Batch, Outcome, Request
from actors.restarts import Backoff
from actors.snapshotter import SnapshotCall, SnapshotConfig, SnapshotState, SnapshotTaken, Snapshotter
from actors.streams import StreamLimits, Streams
from actors.supervision import NEVER_ESCALATES, REST_FOR_ONE, Child, Supervisor
from actors.world import Clock
from book.commands import Command
from book.engine import Engine
from book.queries import Query
from persistence.codec import CommandRecord, ConfigRecord, RefusedRecord, TickRecord
from persistence.pruning import IsCopied
from persistence.replay import Replay
from persistence.reqlog import ReqlogConfig
from persistence.segments import LogReader, segments
from persistence.storage import Disk
from tallystick.demo import definitions
from tests.simulation.disk import SimulatedDisk, power_cut
from tests.simulation.world import Inline, InlineSnapshots, VirtualClock, entropy_of, no_progress

# Only when asked for.
SELDOM = SnapshotConfig(log_bytes=1 << 40, seconds=604_800)


class CrashError(Exception):
    """What a crashed actor raises."""


class Crashable:
    """An actor that can be made to crash at whatever `await` it stands."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._crash = trio.Event()

    async def run(self, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Live, until told to crash."""
        self._crash = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fall)
            await self._run(stop, task_status=task_status)
            nursery.cancel_scope.cancel()

    async def _fall(self) -> None:
        await self._crash.wait()
        raise CrashError("told to")

    def crash(self) -> None:
        """Crash now, if it is alive."""
        self._crash.set()


def never_copied(_first_seq: int) -> bool:
    """No segment may go, so that a test can look at all of the log."""
    return False


class EngineTree:
    """Writer, matching, publisher and snapshotter under a supervisor, on a simulated disk."""

    def __init__(
        self,
        disk: SimulatedDisk,
        random: Random,
        *,
        engine: Callable[[], Engine] = Engine,
        segment_bytes: int = 64 * 1024,
        clock: Clock | None = None,
        snapshots: SnapshotConfig = SELDOM,
        is_copied: IsCopied = never_copied,
        streams: StreamLimits | None = None,
    ) -> None:
        log: Mailbox[LogItem] = Mailbox("reqlog-writer", 4, rank=0)
        matching: Mailbox[Batch] = Mailbox("matching", 4, rank=1)
        wanted: Mailbox[SnapshotCall] = Mailbox("snapshotter", 4, rank=2)
        state = LogState()
        clock, blocking = clock or VirtualClock(), Inline(disk)
        self.disk = disk
        self.directory = Directory()
        self.audience, self.feed = Audience(), Feed()
        self.blocking = blocking
        self.state = state
        self.client: Sender[Batch] = matching.sender(2)
        self.writer = Crashable(
            ReqlogWriter(
                WriterConfig(log=ReqlogConfig(segment_bytes=segment_bytes), check_frames=4, seal_seconds=3.0),
                log,
                disk=disk,
                blocking=blocking,
                clock=clock,
                entropy=entropy_of(random),
                state=state,
                feed=self.feed,
                progress=no_progress,
            ).run
        )
        self.matching = Crashable(
            Matching(
                MatchingConfig(definitions()),
                matching,
                log.sender(1),
                engine=engine,
                clock=clock,
                disk=disk,
                blocking=blocking,
                die=power_cut,
                directory=self.directory,
                audience=self.audience,
                log_state=state,
                progress=no_progress,
            ).run
        )
        self.streams = Streams(
            streams or StreamLimits(), self.directory, self.audience, now=trio.current_time, wake=self.feed.wake
        )
        self.publisher = Crashable(Publisher(self.streams, self.feed, matching.sender(2), clock).run)
        self.process = InlineSnapshots(disk)
        self.snapshot_state = SnapshotState()
        self.wanted: Sender[SnapshotCall] = wanted.sender(3)
        self.snapshotter = Crashable(
            Snapshotter(
                snapshots,
                wanted,
                log.sender(2),
                process=self.process,
                disk=disk,
                blocking=Inline(disk),
                clock=clock,
                state=self.snapshot_state,
                log_state=state,
                is_copied=is_copied,
            ).run
        )
        self.root = Supervisor(
            "engine",
            REST_FOR_ONE,
            [
                Child("reqlog-writer", self.writer.run, limit=NEVER_ESCALATES),
                Child("matching", self.matching.run, limit=NEVER_ESCALATES, start_timeout_seconds=None),
                Child("publisher", self.publisher.run, limit=NEVER_ESCALATES),
                Child("snapshotter", self.snapshotter.run, limit=NEVER_ESCALATES),
            ],
            random=random,
            die=power_cut,
            backoff=Backoff(first_seconds=0.01, cap_seconds=0.05),
        )

    async def run(self, body: Callable[[], Awaitable[None]]) -> None:
        """Run the tree around `body`, and stop it in order."""
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            await nursery.start(_run_root, self.root, stop)
            await body()
            stop.set()

    async def ask(self, *requests: Request) -> list[Outcome]:
        """The outcomes of one batch."""
        batch = Batch(list(requests))
        await self.client.send(batch, timeout_seconds=60)
        with trio.fail_after(60):
            return await batch.wait()

    async def snapshot(self) -> SnapshotTaken:
        """Have one taken."""
        call = SnapshotCall(None)
        await self.wanted.send(call, timeout_seconds=60)
        with trio.fail_after(600):
            return await call.wait()

    async def ask_until_done(self, query: Query) -> Outcome:
        """The answer to a read, however often matching has to come back for it."""
        while True:
            try:
                (outcome,) = await self.ask(query)
            except (NotDone, OutcomeUnknown):
                continue
            if not isinstance(outcome, Busy):
                return outcome


async def _run_root(root: Supervisor, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
    await root.run(stop, task_status=task_status)


def read_log(disk: Disk, engine: Engine) -> dict[int, tuple[Command, bool]]:
    """The log by sequence number: each command, and whether it took effect. Replays it on the way."""
    commands: dict[int, tuple[Command, bool]] = {}
    reader, replay = LogReader(), Replay(engine)
    for segment in segments(disk):
        for frame in reader.frames(segment, disk.read(segment.path)):
            replay.feed(frame)
            for seq, record in enumerate(frame.records()[: frame.header.count], frame.header.first_seq):
                assert isinstance(record, CommandRecord | ConfigRecord | TickRecord | RefusedRecord)
                commands[seq] = record.command, not isinstance(record, RefusedRecord)
    engine.check()
    return commands

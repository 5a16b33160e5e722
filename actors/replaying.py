"""The newest snapshot and the log behind it, back into an engine, at matching's start: never holding up the loop.

Files are read in a worker thread, a snapshot or a segment at a time; what they hold is applied here, with a checkpoint
after every step, so that clients stay connected and operators get their answers while a long log is replayed.
"""

from collections.abc import Callable

import structlog
import trio

from actors.world import Blocking, Clock
from book.engine import Engine
from persistence.recovery import Progress
from persistence.replay import Replay
from persistence.segments import LogReader, Position
from persistence.snapshot import Footer, good_snapshots, pass_over
from persistence.snapshotting import segments_after
from persistence.storage import Disk

_log = structlog.get_logger("matching")


async def rebuild(
    new_engine: Callable[[], Engine],
    end: Position,
    *,
    disk: Disk,
    blocking: Blocking,
    clock: Clock,
    progress: Progress,
) -> Engine:
    """The engine as the log says up to `end`. `progress` counts bytes of the log.

    Raises:
        Damaged: the log does not end there, or does not give the state that its checks say, or does not fit the
            newest snapshot that can be read; or its beginning is gone, and no such snapshot stands for it.
    """
    engine, snapshot = await _begin(new_engine, disk=disk, blocking=blocking, clock=clock)
    await _replay(engine, snapshot, end, disk=disk, blocking=blocking, clock=clock, progress=progress)
    return engine


async def _begin(
    new_engine: Callable[[], Engine], *, disk: Disk, blocking: Blocking, clock: Clock
) -> tuple[Engine, Footer | None]:
    """The engine of the newest good snapshot, and which that is; an empty one without any."""
    snapshots = good_snapshots(disk)
    while (snapshot := await blocking(next, snapshots, None)) is not None:
        began_ns = clock.monotonic_ns()
        engine = new_engine()
        try:
            for _ in engine.restore(snapshot.state):
                await trio.lowlevel.checkpoint()
        except ValueError as error:
            pass_over(snapshot.path, error)
            continue
        seconds = round((clock.monotonic_ns() - began_ns) / 1e9, 3)
        _log.info("began with a snapshot", file=snapshot.path, bytes=len(snapshot.state), seconds=seconds)
        return engine, snapshot.footer
    return new_engine(), None


async def _replay(
    engine: Engine,
    snapshot: Footer | None,
    end: Position,
    *,
    disk: Disk,
    blocking: Blocking,
    clock: Clock,
    progress: Progress,
) -> None:
    """Apply what the log holds behind the snapshot, up to `end`."""
    began_ns = clock.monotonic_ns()
    after_seq = 0 if snapshot is None else snapshot.seq
    replay, reader = Replay(engine, after_seq=after_seq), LogReader(until=end)
    found = await blocking(segments_after, disk, snapshot)
    done, total = 0, sum(segment.header.size for segment in found)
    for segment in found:
        data = await blocking(disk.read, segment.path)
        for frame in reader.frames(segment, data):
            for _ in replay.steps(frame):
                await trio.lowlevel.checkpoint()
            progress(done + frame.end, total)
        done += segment.header.size
    progress(total, total)
    if not reader.done:
        raise found[-1].damaged(reader.offset, f"the log ends here, but its writer has written up to {end.next_seq}")
    seconds = (clock.monotonic_ns() - began_ns) / 1e9
    _log.info(
        "replayed",
        after=after_seq,
        records=replay.applied + replay.refused,
        checks=replay.checks,
        segments=len(found),
        seconds=round(seconds, 3),
        records_per_second=round((replay.applied + replay.refused) / max(seconds, 1e-9)),
        digest=engine.digest.value().hex(),
    )

"""Reading the request log back into an engine, at matching's start: in the loop, but never holding it up.

The files are read in a worker thread, a segment at a time; the records are applied here, with a checkpoint after every
step, so that clients stay connected and operators get their answers while a long log is replayed.
"""

import structlog
import trio

from actors.world import Blocking, Clock
from book.engine import Engine
from persistence.recovery import Progress
from persistence.replay import Replay
from persistence.segments import LogReader, Position, segments
from persistence.storage import Disk

_log = structlog.get_logger("matching")


async def replay_log(
    engine: Engine, end: Position, *, disk: Disk, blocking: Blocking, clock: Clock, progress: Progress
) -> None:
    """Apply everything up to `end` to an empty engine. `progress` counts bytes.

    Raises:
        Damaged: the log does not end there, or does not give the state that its checks say.
    """
    began_ns = clock.monotonic_ns()
    replay, reader = Replay(engine), LogReader(until=end)
    found = await blocking(segments, disk)
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
        records=replay.applied + replay.refused,
        checks=replay.checks,
        segments=len(found),
        seconds=round(seconds, 3),
        records_per_second=round((replay.applied + replay.refused) / max(seconds, 1e-9)),
        digest=engine.digest.value().hex(),
    )

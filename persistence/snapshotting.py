"""Taking a snapshot: from the last one and the log behind it, never from the engine that trades.

Theory of operation
-------------------
A process of its own folds the log again, from the newest snapshot on, up to a place where the log holds a check. So
matching never pauses, and each snapshot is at once a proof that the log replays to the same state: the checks on the
way are compared, the last one at the very place where the state is written down. The file gets a name that no start
looks at, is read back from the disk, and loaded; only then the exchange, which knows the check that it has logged,
compares again and renames it.

The process reads a log that is being written. It is told up to where that is durable, and looks at nothing behind.
It takes no lock, and writes nothing but its own file.
"""

from attrs import frozen

from book.engine import ENGINE_VERSION, Engine
from persistence.recovery import Progress, no_progress
from persistence.replay import Replay
from persistence.segments import Frame, LogReader, Position, Segment, after, segments
from persistence.snapshot import (
    BadSnapshot,
    Footer,
    Snapshot,
    Throttle,
    good_snapshots,
    hash_of,
    pass_over,
    write_temporary,
)
from persistence.storage import Disk


class NotAtCheck(Exception):  # noqa: N818 - a state of the log, not a failure
    """The log holds no check at the place where a snapshot is to be taken."""


@frozen(slots=True)
class Taken:
    """A snapshot that waits for its name."""

    path: str
    """Of the temporary file."""
    seq: int
    bytes: int
    records: int
    """Replayed for it."""
    began_with: int
    """The number of the snapshot that the replay began with; 0 for the log's beginning."""
    differences: dict[str, int]
    """Per asset, how much more there is than came in. Where one is not 0, there is no file."""


# Beginning -----------------------------------------------------------------------------------------------------------


def begin_engine(disk: Disk, *, oldest: bool = False) -> tuple[Engine, Footer | None]:
    """An engine as the newest (or oldest) good snapshot says, and which that is; an empty one without any.

    Raises Damaged, Unreadable or NewerFormat.
    """
    for snapshot in good_snapshots(disk, oldest_first=oldest):
        engine = Engine()
        try:
            for _ in engine.restore(snapshot.state):
                pass
        except ValueError as error:
            pass_over(snapshot.path, error)
            continue
        return engine, snapshot.footer
    return Engine(), None


def segments_after(disk: Disk, footer: Footer | None) -> list[Segment]:
    """The segments that hold what came after a snapshot, its own first. Raises Damaged, Unreadable or NewerFormat."""
    return list(after(segments(disk), 0 if footer is None else footer.segment - 1))


# Taking ---------------------------------------------------------------------------------------------------------------


def take_snapshot(disk: Disk, until: Position, *, throttle: Throttle, progress: Progress = no_progress) -> Taken:
    """Write the state at `until`, where a check has to stand in the log, into a temporary file, and load it back.

    Raises NotAtCheck, NoSpace, BadSnapshot, Damaged, Unreadable or NewerFormat; the log is as it was.
    """
    snapshot, records, began_with, differences = _snapshot_of(disk, until, progress)
    if any(differences.values()):
        return Taken("", snapshot.seq, 0, records, began_with, differences)
    path = write_temporary(disk, snapshot, throttle=throttle)
    try:
        Engine.load(snapshot.state)
    except ValueError as error:
        raise BadSnapshot(path, 0, f"the state cannot be loaded: {error}") from error
    return Taken(path, snapshot.seq, disk.size(path), records, began_with, differences)


def _snapshot_of(disk: Disk, until: Position, progress: Progress) -> tuple[Snapshot, int, int, dict[str, int]]:
    """The snapshot, how many records were replayed for it, the number of the one it began with, and `differences`."""
    engine, footer = begin_engine(disk)
    began_with = 0 if footer is None else footer.seq
    replay = Replay(engine, after_seq=began_with)
    place = _replay_to(disk, until, replay, segments_after(disk, footer), progress)
    return _snapshot_at(place, engine), replay.applied + replay.refused, began_with, engine.differences()


def _replay_to(disk: Disk, until: Position, replay: Replay, found: list[Segment], progress: Progress) -> Frame:
    """Replay up to `until`; the last frame with a check that was compared there."""
    reader = LogReader(until=until)
    place: Frame | None = None
    done, total = 0, sum(segment.header.size for segment in found)
    for segment in found:
        for frame in reader.frames(segment, disk.read(segment.path)):
            checks = replay.checks
            replay.feed(frame)
            if replay.checks > checks:
                place = frame
            progress(done + frame.end, total)
        if reader.done:
            break
        done += segment.header.size
    if not reader.done:
        raise found[-1].damaged(reader.offset, f"the log ends here, but it was written up to {until.next_seq}")
    if place is None or place.next_seq != until.next_seq:
        raise NotAtCheck(f"the log holds no check after number {until.next_seq - 1}")
    return place


def _snapshot_at(place: Frame, engine: Engine) -> Snapshot:
    state = engine.dump()
    header = place.segment.header
    return Snapshot(
        seq=place.next_seq - 1,
        time_ns=place.header.time_ns,
        segment=header.first_seq,
        offset=place.offset,
        chain=place.header.chain,
        digest=engine.digest.value(),
        state_hash=hash_of(state),
        totals=engine.totals(),
        engine_version=ENGINE_VERSION,
        exchange_id=header.exchange_id,
        epoch=header.epoch,
        state=state,
    )

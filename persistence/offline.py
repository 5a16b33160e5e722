"""What can be done with a log and its snapshots while no exchange runs on them: verify, count, list, replay, cut.

Everything reads with the same strict walk as a start does, and nothing here changes a file, but for `truncate`. The
caller holds the data folder's lock, or lives with a last frame that is just being written.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

import msgspec
from attrs import define, field, frozen

from book.engine import Engine
from persistence import codec
from persistence.codec import CheckRecord, NumberedRecord, Record, SealRecord, SegmentHeader, ShutdownRecord
from persistence.exits import Damaged
from persistence.recovery import Progress, Walk, free_name, headers_behind, no_progress
from persistence.replay import Replay, ReplayedEngine
from persistence.segments import (
    FOLDER,
    Frame,
    LogReader,
    Position,
    Segment,
    after,
    must_be_log_of,
    paths,
    read_header,
    read_identity,
    segments,
)
from persistence.snapshot import FOLDER as SNAPSHOTS
from persistence.snapshot import BadSnapshot, Footer, list_snapshots, must_belong, read_footer, read_snapshot
from persistence.snapshotting import begin_engine, segments_after
from persistence.storage import Disk
from persistence.trail import ANYTHING, Question, Trail, answers, begin_trail

# What a cut zeroes with one write.
_ZEROS: Final = bytes(1024 * 1024)


# How often a walk through a log that is being written lets others work: about every millisecond.
FRAMES_PER_PACE: Final = 16


# Verify ---------------------------------------------------------------------------------------------------------------


@frozen(slots=True)
class Damage:
    """Where the log is not what was written, and what lies around it."""

    error: Damaged
    sound_seq: int
    """The last sequence number before it: what `truncate` can keep."""
    next_offset: int | None
    """Of the first whole frame header behind it in the same file, if there is one."""
    next_seq: int | None
    """The sequence number in that header."""


@define
class Verdict:
    """What `verify` found. Sound if `damage` is None; what was counted is what was proven."""

    segments: int = 0
    frames: int = 0
    records: int = 0
    """Numbered ones."""
    checks: int = 0
    unsynced_frames: int = 0
    """Written under durability `os`."""
    last_seq: int = 0
    last_time_ns: int = 0
    stopped_in_order: bool = False
    """The last record is a shutdown."""
    torn_bytes: int = 0
    """Of a last frame that the next start will keep aside."""
    first_seq: int = 1
    """Where the log begins: greater than 1 where snapshots stand for what came before."""
    snapshots: int = 0
    """That are good in every byte, and belong to this log."""
    newest_snapshot_seq: int = 0
    bad_snapshots: list[str] = field(factory=list)
    """What is wrong with the others: a start passes over them."""
    damage: Damage | None = None


def verify(disk: Disk, *, until: Position | None = None, progress: Progress = no_progress) -> Verdict:
    """Prove every byte and every record of the log, and every byte of the snapshots.

    Of a log that is being written, what lies before `until`, where its writer says that it is durable.

    Damage is in the verdict. Raises Unreadable or NewerFormat.
    """
    verdict = Verdict()
    try:
        try:
            found = _verify_headers(disk, verdict)
        except Damaged:
            verdict.last_seq = _sound_until(disk)
            raise
        verdict.segments = len(found)
        if found:
            if until is None:
                walk = Walk(disk, found, progress)
                for frame in walk:
                    _judge(verdict, frame)
                verdict.torn_bytes = len(walk.findings.torn)
            else:
                for frame in _frames_until(disk, found, until, progress):
                    _judge(verdict, frame)
    except Damaged as error:
        verdict.damage = _damage(disk, error, verdict.last_seq)
    return verdict


def _frames_until(disk: Disk, found: Sequence[Segment], until: Position, progress: Progress) -> Iterator[Frame]:
    """The frames before `until`. Raises Damaged, also where the log ends before it."""
    reader = LogReader(until=until)
    for number, segment in enumerate(found):
        for count, frame in enumerate(reader.frames(segment, disk.read(segment.path))):
            yield frame
            if count % FRAMES_PER_PACE == 0:
                progress(number, len(found))
        if reader.done:
            return
    raise found[-1].damaged(reader.offset, f"the log ends here, but it was written up to {until.next_seq}")


def _verify_headers(disk: Disk, verdict: Verdict) -> Sequence[Segment]:
    """The segments, as their headers belong together; and the snapshots, as they belong to them. Raises Damaged."""
    found = segments(disk)
    must_be_log_of(disk, read_identity(disk), found[0] if found else None)
    for file in list_snapshots(disk):
        try:
            snapshot = read_snapshot(disk, file)
        except BadSnapshot as error:
            verdict.bad_snapshots.append(str(error))
            continue
        must_belong(disk, snapshot)
        verdict.snapshots += 1
        verdict.newest_snapshot_seq = snapshot.seq
    if found:
        verdict.first_seq = found[0].header.first_seq
        verdict.last_seq = verdict.first_seq - 1
        if not verdict.snapshots:
            after(found, 0)
    return found


def _sound_until(disk: Disk) -> int:
    """The last sequence number that can be reached from where the log begins, whatever is wrong behind it."""
    reader = LogReader()
    with suppress(Damaged):
        for path in paths(disk):
            for _ in reader.frames(read_header(disk, path), disk.read(path)):
                pass
    return 0 if reader.position is None else reader.position.next_seq - 1


def _judge(verdict: Verdict, frame: Frame) -> None:
    """Hold one frame's records against the format's page; count them."""
    records, count = frame.records(), frame.header.count
    for index, record in enumerate(records):
        if isinstance(record, NumberedRecord) != (index < count):
            raise frame.segment.damaged(frame.offset, f"record {index} is out of place: {type(record).__name__}")
        if index < count and record.time_ns < verdict.last_time_ns:
            seq = frame.header.first_seq + index
            raise frame.segment.damaged(frame.offset, f"sequence number {seq} is earlier than the one before")
        if isinstance(record, SealRecord) and (count or index != len(records) - 1):
            raise frame.segment.damaged(frame.offset, "the seal is not the last record, or not alone with a check")
        if index < count:
            verdict.last_time_ns = record.time_ns
        verdict.checks += isinstance(record, CheckRecord)
        if not isinstance(record, SealRecord):
            verdict.stopped_in_order = isinstance(record, ShutdownRecord)
    verdict.frames += 1
    verdict.records += count
    verdict.unsynced_frames += bool(frame.header.flags & codec.UNSYNCED)
    verdict.last_seq = frame.next_seq - 1


def _damage(disk: Disk, error: Damaged, sound_seq: int) -> Damage:
    behind = headers_behind(disk.read(error.path), error.offset) if disk.exists(error.path) else iter(())
    offset, header = next(behind, (None, None))
    return Damage(error, sound_seq, offset, header.first_seq if header is not None else None)


# Count ----------------------------------------------------------------------------------------------------------------


@define
class SegmentStat:
    """One segment's row."""

    path: str
    number: int
    first_seq: int
    created_ns: int
    next_seq: int = 0
    frames: int = 0
    bytes: int = 0
    """Header and frames; the zeros behind them not counted."""
    sealed: bool = False


@define
class Stat:
    """What is in a log, counted."""

    segments: list[SegmentStat] = field(factory=list)
    frames: int = 0
    empty_frames: int = 0
    bytes: int = 0
    records: int = 0
    """Numbered ones."""
    largest_frame_records: int = 0
    largest_frame_bytes: int = 0
    kinds: Counter[str] = field(factory=Counter)
    commands: Counter[str] = field(factory=Counter)
    """Those that took effect, by name."""
    refusals: Counter[str] = field(factory=Counter)
    """Those that were refused, by reason."""
    accounts: set[int] = field(factory=set)
    first_time_ns: int = 0
    last_time_ns: int = 0


def stat(disk: Disk, *, progress: Progress = no_progress) -> Stat:
    """Count what is in the log. Raises Damaged, Unreadable or NewerFormat."""
    total = Stat()
    row: SegmentStat | None = None
    for frame in _frames(disk, progress):
        header = frame.segment.header
        if row is None or row.path != frame.segment.path:
            row = SegmentStat(frame.segment.path, header.number, header.first_seq, header.created_ns)
            total.segments.append(row)
        row.next_seq = frame.next_seq
        row.frames += 1
        row.bytes = frame.end
        row.sealed = frame.seals()
        _count(total, frame)
    total.bytes = sum(row.bytes for row in total.segments)
    return total


def _count(total: Stat, frame: Frame) -> None:
    records = frame.records()
    total.frames += 1
    total.empty_frames += not records
    total.records += frame.header.count
    total.largest_frame_records = max(total.largest_frame_records, len(records))
    total.largest_frame_bytes = max(total.largest_frame_bytes, frame.end - frame.offset)
    for record in records:
        total.kinds[_kind_name(record)] += 1
        total.first_time_ns = total.first_time_ns or record.time_ns
        total.last_time_ns = record.time_ns
        if isinstance(record, codec.RefusedRecord):
            total.refusals[record.reason] += 1
        elif isinstance(record, NumberedRecord):
            total.commands[type(record.command).__name__] += 1
        if isinstance(record, NumberedRecord):
            account = Trail().follow(record).account
            if account is not None:
                total.accounts.add(account)


# List -----------------------------------------------------------------------------------------------------------------


@frozen(slots=True)
class Entry:
    """One record and its place. `seq` is None for those that take no number."""

    seq: int | None
    record: Record
    path: str
    offset: int  # of its frame

    def described(self) -> dict[str, object]:
        """As plain values with the fields' names, for a line of JSON or a table."""
        fields: dict[str, object] = {"seq": self.seq, "time_ns": self.record.time_ns, "kind": _kind_name(self.record)}
        if isinstance(self.record, NumberedRecord):
            fields |= {"command": type(self.record.command).__name__} | _named(self.record.command)
        if isinstance(self.record, codec.RefusedRecord):
            fields |= {"code": self.record.code, "reason": self.record.reason}
        if isinstance(self.record, CheckRecord):
            fields |= {"digest": self.record.digest, "totals": self.record.totals}
        return fields


def dump(
    disk: Disk,
    *,
    first_seq: int = 1,
    last_seq: int | None = None,
    question: Question = ANYTHING,
    progress: Progress = no_progress,
) -> Iterator[Entry]:
    """The records from `first_seq` (at least, from where the log begins) to `last_seq`, of those that are asked for.

    Records without a number are listed where they stand, unless the question is about somebody or something. Raises
    Damaged where the log is damaged, after what is sound before it; Unreadable or NewerFormat.
    """
    # Whose a key or a session is stands further up.
    trail = Trail() if question.account is None else begin_trail(disk)
    for frame in _frames(disk, progress, first_seq=first_seq if question.account is None else 1):
        header = frame.header
        if last_seq is not None and header.count and header.first_seq > last_seq:
            return
        for index, record in enumerate(frame.records()):
            if question.until_ns is not None and record.time_ns > question.until_ns:
                return
            subject = trail.follow(record)
            seq = header.first_seq + index if index < header.count else None
            at = frame.next_seq - 1 if seq is None else seq
            if at >= first_seq and (last_seq is None or at <= last_seq) and answers(question, record, subject):
                yield Entry(seq, record, frame.segment.path, frame.offset)


def _named(value: msgspec.Struct) -> dict[str, object]:
    return {
        name: _named(part) if isinstance(part, msgspec.Struct) else part
        for name, part in msgspec.structs.asdict(value).items()
    }


def _kind_name(record: Record) -> str:
    kind = record.__struct_config__.tag
    return codec.KIND_NAMES[kind] if isinstance(kind, int) else str(kind)


# Replay ---------------------------------------------------------------------------------------------------------------


def replay(
    disk: Disk,
    engine: ReplayedEngine,
    *,
    begun_with: Footer | None = None,
    until_seq: int | None = None,
    progress: Progress = no_progress,
) -> Replay:
    """Fold the log into an engine: an empty one, or one that holds a snapshot already (see `begin_replay`).

    `until_seq` is the last number that is replayed, if the log has so many.

    Raises Damaged, also where a check does not match, or where the log's beginning is gone.
    """
    fold = Replay(engine, after_seq=0 if begun_with is None else begun_with.seq, until_seq=until_seq)
    found = segments_after(disk, begun_with)
    if found:
        for frame in Walk(disk, found, progress):
            fold.feed(frame)
            if fold.done:
                break
    return fold


def begin_replay(disk: Disk) -> tuple[Engine, Footer | None]:
    """What to replay the whole log into: an empty engine, or, where the beginning is gone, the oldest good snapshot.

    Raises Damaged, Unreadable or NewerFormat.
    """
    found = segments(disk)
    if not found or found[0].header.first_seq == 1:
        return Engine(), None
    return begin_engine(disk, oldest=True)


def first_seq(disk: Disk) -> int:
    """The first sequence number that is in the log; 1 without any. Raises Damaged, Unreadable or NewerFormat."""
    found = paths(disk)
    return read_header(disk, found[0]).header.first_seq if found else 1


def _frames(disk: Disk, progress: Progress, *, first_seq: int = 1) -> Iterator[Frame]:
    """The frames that there are from a sequence number on, and some before it."""
    found = segments(disk)
    if found:
        yield from Walk(disk, after(found, max(first_seq, found[0].header.first_seq) - 1), progress)


# Cut ------------------------------------------------------------------------------------------------------------------


@frozen(slots=True)
class Cut:
    """What `truncate` did."""

    last_seq: int
    path: str
    """The segment where the log ends now."""
    offset: int
    kept_aside: tuple[str, ...]
    """The files that hold what was cut, snapshots of it too; none if there was nothing to cut."""


class CannotCutError(ValueError):
    """The log cannot be cut there; the message says where it can."""


def truncate(disk: Disk, last_seq: int) -> Cut:
    """Cut the log behind `last_seq`; whatever is cut stays beside it in `.cut` files.

    Frames are whole or not at all, and everything up to the cut must be sound. The only way on after damage, and a step
    that takes back answers that were given: for a person, after a look. Raises CannotCutError, Unreadable or
    NewerFormat with every file as it was.
    """
    segment, offset = _cutting_point(disk, last_seq)
    # Before the log: one without a newest snapshot starts, a snapshot without its log does not.
    kept = _set_aside_snapshots(disk, segment, offset, last_seq)
    data = disk.read(segment.path)
    remains = data[offset:].rstrip(b"\0")
    behind = [path for path in paths(disk) if path > segment.path]
    if remains:
        kept.append(free_name(disk, f"{segment.path}.{offset}.cut"))
        disk.write_file(kept[-1], remains)
    for path in reversed(behind):
        kept.append(free_name(disk, f"{path}.cut"))
        disk.rename(path, kept[-1])
    disk.sync_folder(FOLDER)
    if remains or len(data) != segment.header.size:
        _empty_from(disk, segment.path, segment.header, offset)
    return Cut(last_seq, segment.path, offset, tuple(kept))


def _cutting_point(disk: Disk, last_seq: int) -> tuple[Segment, int]:
    """The segment where the log is to end, and the offset in it from which all goes."""
    reader = LogReader()
    last_frame = 0
    try:
        for path in paths(disk):
            segment = read_header(disk, path)
            for frame in reader.frames(segment, disk.read(path)):
                if frame.header.first_seq <= last_seq < frame.next_seq - 1:
                    first, last = frame.header.first_seq, frame.next_seq - 1
                    raise CannotCutError(
                        f"{last_seq} is inside a frame of {first} to {last}: cut behind {first - 1} or behind {last}"
                    )
                if frame.next_seq - 1 > last_seq:
                    return segment, frame.offset
                last_frame = frame.offset
    except Damaged:
        # Judged below: what is sound must reach just as far as what is to be kept.
        pass
    if reader.segment is None or reader.position is None:
        raise CannotCutError("there is no sound segment to keep")
    if reader.position.next_seq - 1 != last_seq:
        raise CannotCutError(
            f"the log is sound up to {reader.position.next_seq - 1}: it can be cut behind that or before"
        )
    # A sealed segment whose successor is lost goes on itself, so its seal goes too.
    return reader.segment, last_frame if reader.sealed else reader.offset


def _set_aside_snapshots(disk: Disk, segment: Segment, offset: int, last_seq: int) -> list[str]:
    """Rename the snapshots of what is to be cut; where they are now. Raises CannotCutError where one is needed."""
    needless: list[str] = []
    kept: list[int] = []
    for file in list_snapshots(disk):
        place = (0, 0)
        with suppress(BadSnapshot):
            footer = read_footer(disk, file)
            place = footer.segment, footer.offset
        if file.seq > last_seq or place >= (segment.header.first_seq, offset):
            needless.append(file.path)
        elif place != (0, 0):
            kept.append(file.seq)
    begins = first_seq(disk)
    if begins > 1 and not kept:
        raise CannotCutError(f"the log begins with number {begins}, and no snapshot up to {last_seq} would be left")
    aside = [free_name(disk, f"{path}.cut") for path in needless]
    for path, name in zip(needless, aside, strict=True):
        disk.rename(path, name)
    if aside:
        disk.sync_folder(SNAPSHOTS)
    return aside


def _empty_from(disk: Disk, path: str, header: SegmentHeader, offset: int) -> None:
    """Zero an open segment from `offset`, and make its file as long as it was before it was sealed."""
    if disk.size(path) > header.size:
        disk.truncate(path, header.size)
    file = disk.open(path)
    for begin in range(offset, header.size, len(_ZEROS)):
        file.write_at(begin, _ZEROS[: header.size - begin])
    file.datasync()
    file.close()

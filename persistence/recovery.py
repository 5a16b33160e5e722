"""Opening a log after whatever happened: finding where it goes on, and judging what a power cut may have left there.

Theory of operation
-------------------
A frame is answered only after its sync, and the next frame is written only after that. So of all that is in the log, at
most the very last frame can be half on disk, and if it is, it was never answered: it may go. Anything else that is not
as it was written is damage to what was promised, and the only honest answer is to stop and touch nothing.

The whole difficulty is to tell a torn last frame from a rotten one. Sectors of 512 bytes reach the disk whole or not at
all, their place was zero before, and by construction the part of a frame in any sector holds at least five non-zero
bytes (docs/reqlog-format.md). Hence: if one part of the bad frame is all zero, a sector never arrived, the sync never
returned, and nobody was answered. If every part is there, all of it may have arrived and been answered, so we stop.
(Where the header itself is not whole, nothing says how long the frame was, and behind a rotten, answered frame there
may be a torn one: then only the sectors that hold the header prove anything.)

All this holds under durability `sync`. Under `os`, which the frames say of themselves, answers do not wait for the
sync: a torn frame with requests in it may have been answered, and is not ours to drop. So then, too, we stop.

The whole log is walked before the first byte is repaired, so that damage further up stops us with every file as it was.
Every repair may be cut off by the next crash and simply begins again: the torn bytes are kept first, and zeroing some
of a torn frame's sectors leaves it torn.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import structlog
from attrs import frozen

from persistence import codec
from persistence.codec import FrameHeader
from persistence.segments import (
    FOLDER,
    BadFrame,
    Frame,
    LogReader,
    Position,
    Segment,
    after,
    segments,
    zero_from,
)
from persistence.storage import Disk

# Where the next segment's room waits.
PREALLOCATED: Final = f"{FOLDER}/next.prealloc"

_SMALLEST_FRAME: Final = codec.FRAME_HEADER_BYTES + codec.ALIGNMENT

# A few milliseconds of a walk: what a stop may have to wait for.
FRAMES_PER_PROGRESS: Final = 1024

_TORN_UNDER_OS: Final = "the last frame is torn, and was written under durability os: it may have been answered"

# Called with the bytes done, and in all; whatever it raises ends the work.
Progress = Callable[[int, int], None]

_log = structlog.get_logger("reqlog")


def no_progress(done: int, total: int) -> None:
    """Show nothing."""


@frozen(slots=True)
class Recovered:
    """Where the log goes on. All of it is on disk."""

    segment: Segment
    position: Position
    offset: int
    uncut: tuple[tuple[str, int], ...] = ()
    """Sealed segments with zeros left behind their seal, and where those begin."""

    @property
    def has_records(self) -> bool:
        """Whether the segment holds a numbered record."""
        return self.position.next_seq > self.segment.header.first_seq


@frozen(slots=True)
class Findings:
    """Where the log ends and what is to be repaired there. Nothing has been touched yet."""

    segment: Segment
    position: Position
    offset: int
    torn: bytes  # what there is of a frame that never got to the disk in full
    successor: Segment | None  # begun when the power went, its predecessor not sealed yet


def recover(
    disk: Disk, *, engine_version: int, covered_seq: int = 0, progress: Progress = no_progress
) -> Recovered | None:
    """Find where the log goes on, repairing a torn tail; None when there is no log yet.

    Segments that a snapshot covers, up to `covered_seq`, are not walked. Raises Damaged, Unreadable or NewerFormat,
    every file as it was.
    """
    found = after(segments(disk, engine_version=engine_version), covered_seq)
    if not found:
        return None
    walk = Walk(disk, found, progress)
    for _ in walk:
        pass
    findings = walk.findings
    if findings.torn:
        _keep_and_zero(disk, findings)
    if findings.successor is not None:
        disk.rename(findings.successor.path, PREALLOCATED)
    disk.sync_folder(FOLDER)
    # A killed process may have left writes unsynced, but only in the last two: a seal, and frames behind it.
    for segment in found[-2:]:
        if segment is not findings.successor:
            _sync(disk, segment)
    return Recovered(findings.segment, findings.position, findings.offset, tuple(walk.uncut))


class Walk:
    """The whole log, frame by frame, and at its end the judgement: an end to go on from, or Damaged."""

    findings: Findings

    def __init__(self, disk: Disk, found: Sequence[Segment], progress: Progress = no_progress) -> None:
        self._disk = disk
        self._found = found
        self._progress = progress
        self.reader = LogReader()
        self.uncut: list[tuple[str, int]] = []
        self._last: FrameHeader | None = None

    def __iter__(self) -> Iterator[Frame]:
        """Each frame, proven. `findings` is there when this ends. Raises Damaged, Unreadable or NewerFormat."""
        sizes = [self._disk.size(segment.path) for segment in self._found]
        for index, segment in enumerate(self._found):
            self._progress(sum(sizes[:index]), sum(sizes))
            data = self._disk.read(segment.path)
            torn = b""
            try:
                for number, frame in enumerate(self.reader.frames(segment, data), 1):
                    if number % FRAMES_PER_PROGRESS == 0:
                        self._progress(sum(sizes[:index]) + frame.offset, sum(sizes))
                    self._last = frame.header
                    yield frame
            except BadFrame as bad:
                torn = torn_remains(data, bad)
                if not torn or self.reader.sealed or not self._may_end_in(index):
                    raise
                if self._may_be_answered(bad):
                    raise segment.damaged(bad.offset, _TORN_UNDER_OS) from bad
            if not self.reader.sealed and self._may_end_in(index):
                self.findings = self._end_in(index, len(data), torn)
                self._progress(sum(sizes), sum(sizes))
                return
            if len(data) > self.reader.offset:
                self.uncut.append((segment.path, self.reader.offset))
        what = "the segment is sealed, but the one that must follow it is missing"
        raise self._found[-1].damaged(self.reader.offset, what)

    def _may_end_in(self, index: int) -> bool:
        """Whether this segment is the last, or only a successor without any frame follows."""
        rest = self._found[index + 1 :]
        return not rest or (len(rest) == 1 and zero_from(self._disk.read(rest[0].path), codec.SEGMENT_HEADER_BYTES))

    def _may_be_answered(self, torn: BadFrame) -> bool:
        """Whether the torn frame was written under durability `os` with a request in it, as far as can be told."""
        if torn.header is not None:
            return torn.header.count > 0 and _is_unsynced(torn.header)
        return self._last is not None and _is_unsynced(self._last)

    def _end_in(self, index: int, size: int, torn: bytes) -> Findings:
        segment, position = self._found[index], self.reader.position
        if position is None or size != segment.header.size:
            raise segment.damaged(size, f"the file has {size} bytes instead of {segment.header.size}")
        successor = self._found[index + 1] if index + 1 < len(self._found) else None
        if successor is not None and successor.header.first_seq != position.next_seq:
            what = f"it begins at {successor.header.first_seq}, but the log before it ends at {position.next_seq}"
            raise successor.damaged(40, what)
        return Findings(segment, position, self.reader.offset, torn, successor)


def _is_unsynced(header: FrameHeader) -> bool:
    return bool(header.flags & codec.UNSYNCED)


# The torn tail --------------------------------------------------------------------------------------------------------


def torn_remains(data: bytes, bad: BadFrame) -> bytes:
    """What there is of the last frame if it is provably torn; nothing if it may be damaged. `data`: the file."""
    if not bad.incomplete or any(headers_behind(data, bad.offset)):
        return b""
    begin, written = bad.offset, _end_of_content(data)
    if bad.header is not None:
        known = end = longest = begin + codec.FRAME_HEADER_BYTES + bad.header.length
    else:
        # Its length is not known, so a zero sector farther behind may be of another frame.
        known = begin + _SMALLEST_FRAME
        end = max(written, known)
        longest = begin + codec.FRAME_HEADER_BYTES + codec.MAX_PAYLOAD_BYTES
    if written > longest or not _has_zero_sector(data, begin, known):
        return b""
    return data[begin:end]


def headers_behind(data: bytes, offset: int) -> Iterator[tuple[int, FrameHeader]]:
    """Every whole frame header behind `offset`, and where it is."""
    at = data.find(codec.FRAME_MAGIC, offset + 1)
    while at >= 0:
        header = codec.decode_frame_header(data, at)
        if header is not None and at % codec.ALIGNMENT == 0:
            yield at, header
        at = data.find(codec.FRAME_MAGIC, at + 1)


def _end_of_content(data: bytes) -> int:
    """Offset behind the last non-zero byte, rounded up to where a frame may end."""
    content = len(data.rstrip(b"\0"))
    return content + -content % codec.ALIGNMENT


def _has_zero_sector(data: bytes, begin: int, end: int) -> bool:
    """Whether of any sector the part within [begin, end) is all zero."""
    cuts = [begin, *range(begin - begin % codec.SECTOR_BYTES + codec.SECTOR_BYTES, end, codec.SECTOR_BYTES), end]
    return any(not any(data[a:b]) for a, b in itertools.pairwise(cuts))


def _keep_and_zero(disk: Disk, findings: Findings) -> None:
    path, offset, torn = findings.segment.path, findings.offset, findings.torn
    kept = free_name(disk, f"{path}.{offset}.torn")
    disk.write_file(kept, torn)
    file = disk.open(path)
    file.write_at(offset, bytes(len(torn)))
    file.datasync()
    file.close()
    _log.warning(
        "a torn last frame was kept aside; it was never answered", file=path, offset=offset, bytes=len(torn), kept=kept
    )


def free_name(disk: Disk, path: str) -> str:
    """The path, or the first of path.2, path.3 … that is free: what an interrupted repair has kept stays."""
    names = itertools.chain([path], (f"{path}.{n}" for n in itertools.count(2)))
    return next(name for name in names if not disk.exists(name))


def _sync(disk: Disk, segment: Segment) -> None:
    file = disk.open(segment.path)
    file.datasync()
    file.close()

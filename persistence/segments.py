"""Reading the request log: which segments there are, and their frames in order, each proven to follow the one before.

One strict reader serves everyone: recovery, replay at a start, the offline tools. It never repairs and never skips: the
first thing that is not as it was written is raised as `Damaged`, and `recovery` alone may judge that it was only a tail
torn by a power cut. It holds no file: whoever reads hands it a segment's bytes, got in a thread or not as suits him.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from attrs import frozen

from persistence import codec
from persistence.codec import FrameHeader, Record, SegmentHeader
from persistence.exits import Damaged, NewerFormat
from persistence.storage import Disk

FOLDER: Final = "reqlog"

# Compared at once when looking for the end of the zeros; a size that fits the cache.
_ZEROS: Final = bytes(64 * 1024)


# Says whose log belongs here, so that a log that is gone is not taken for one that never was.
IDENTITY: Final = "exchange"


@frozen(slots=True)
class Position:
    """A place in the log: the sequence number that is due, and the chain over everything before."""

    next_seq: int
    chain: bytes


@frozen(slots=True)
class Segment:
    """A segment's name and header. `chain` is what its first frame continues."""

    root: str  # the data folder, for messages
    path: str
    header: SegmentHeader
    chain: bytes

    def damaged(self, offset: int, what: str) -> Damaged:
        """The error that names this file."""
        return Damaged(self.root, self.path, offset, what)


@frozen(slots=True)
class Frame:
    """One valid frame and where it is."""

    segment: Segment
    offset: int
    header: FrameHeader
    payload: bytes

    @property
    def end(self) -> int:
        """Offset behind the frame."""
        return self.offset + codec.FRAME_HEADER_BYTES + self.header.length

    @property
    def next_seq(self) -> int:
        """The sequence number due after this frame."""
        return self.header.first_seq + self.header.count

    def records(self) -> list[Record]:
        """Its records, the `count` numbered ones first. Raises Damaged for what this program does not know as one."""
        try:
            found = codec.decode_records(self.payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            what = f"the frame is as it was written, but holds what is no record to this program: {error}"
            raise self.segment.damaged(self.offset, what) from error
        if len(found) < self.header.count:
            raise self.segment.damaged(self.offset, f"{len(found)} records, but {self.header.count} are announced")
        return found

    def seals(self) -> bool:
        """Whether this is the last frame of its segment. A seal stands only in a frame without numbered records."""
        return self.header.count == 0 and any(isinstance(record, codec.SealRecord) for record in self.records())


class BadFrame(Damaged):
    """No valid frame where one should be."""

    def __init__(
        self, segment: Segment, offset: int, what: str, *, header: FrameHeader | None, incomplete: bool
    ) -> None:
        """`incomplete`: a frame that was half written would look like this. `header`: if at least that is whole."""
        super().__init__(segment.root, segment.path, offset, what)
        self.header = header
        self.incomplete = incomplete


def read_identity(disk: Disk) -> bytes | None:
    """The id of the exchange whose data folder this is; None before its log was begun. Raises Damaged, Unreadable."""
    if not disk.exists(IDENTITY):
        return None
    try:
        return bytes.fromhex(disk.read(IDENTITY).decode("ascii"))
    except ValueError:
        raise Damaged(disk.root, IDENTITY, 0, "it does not hold an exchange's id in hex") from None


def must_be_log_of(disk: Disk, identity: bytes | None, segment: Segment | None) -> None:
    """A folder that had a log still has it, and no other's. Raises Damaged."""
    if identity is None:
        return
    if segment is None:
        raise Damaged(disk.root, IDENTITY, 0, f"the log of exchange {identity.hex()} is gone: there is no segment")
    if segment.header.exchange_id != identity:
        raise segment.damaged(16, f"it belongs to exchange {segment.header.exchange_id.hex()}, not {identity.hex()}")


def path_of(first_seq: int) -> str:
    """The path of the segment that begins with this sequence number."""
    return f"{FOLDER}/{first_seq:020d}.log"


def paths(disk: Disk) -> list[str]:
    """The files that are segments by their names, in order. Raises Unreadable."""
    return [f"{FOLDER}/{name}" for name in disk.list(FOLDER) if name.endswith(".log")]


def segments(disk: Disk, *, engine_version: int | None = None) -> list[Segment]:
    """All segments in order, by their headers.

    Proves that none is missing between the first and the last and that they belong together; not what is in them.
    `engine_version`, if given, refuses what a newer engine wrote. Raises Damaged, Unreadable or NewerFormat.
    """
    found = [read_header(disk, path, engine_version=engine_version) for path in paths(disk)]
    for before, after in itertools.pairwise(found):
        _must_follow(before, after)
    return found


def after(found: Sequence[Segment], covered_seq: int) -> Sequence[Segment]:
    """Those segments that hold what comes after `covered_seq`. Raises Damaged when the log begins too late for that."""
    if found and found[0].header.first_seq > covered_seq + 1:
        what = f"the log begins here, but what follows sequence number {covered_seq} is needed"
        if covered_seq == 0:
            what = "the log begins here, and there is no good snapshot to stand for what came before"
        raise found[0].damaged(0, what)
    passed = sum(segment.header.first_seq <= covered_seq + 1 for segment in found)
    return found[max(0, passed - 1) :]


def read_header(disk: Disk, path: str, *, engine_version: int | None = None) -> Segment:
    """The segment at `path`. Raises Damaged, Unreadable or NewerFormat."""
    data = disk.read(path, 0, codec.SEGMENT_HEADER_BYTES)
    return segment_of(disk.root, path, data, engine_version=engine_version)


def segment_of(root: str, path: str, data: bytes, *, engine_version: int | None = None) -> Segment:
    """The segment whose file begins with `data`. Raises Damaged or NewerFormat."""
    header = codec.decode_segment_header(data)
    if header is None:
        named = re.fullmatch(rf"{FOLDER}/\d{{20}}\.log", path)
        what = "the segment header is damaged" if named else "this is no segment of the log; move it elsewhere"
        raise Damaged(root, path, 0, what)
    if header.version > codec.FORMAT_VERSION:
        raise NewerFormat(f"{path} has format {header.version}, this program knows up to {codec.FORMAT_VERSION}")
    if engine_version is not None and header.engine_version > engine_version:
        raise NewerFormat(f"{path} is by engine version {header.engine_version}, this program has {engine_version}")
    if path != path_of(header.first_seq):
        raise Damaged(root, path, 40, f"it is {path_of(header.first_seq)} under another name")
    return Segment(root, path, header, codec.segment_chain(data[: codec.SEGMENT_HEADER_BYTES]))


def _must_follow(before: Segment, after: Segment) -> None:
    """Two neighbours' headers must agree."""
    old, new = before.header, after.header
    if new.exchange_id != old.exchange_id:
        raise after.damaged(
            16, f"it belongs to exchange {new.exchange_id.hex()}, its folder to {old.exchange_id.hex()}"
        )
    if new.number != old.number + 1:
        raise after.damaged(32, f"it is segment {new.number}, but the one before it is {old.number}: one is missing")
    if new.epoch < old.epoch:
        raise after.damaged(72, f"its epoch is {new.epoch}, after {old.epoch}")


class LogReader:
    """Walks the log's segments in order; afterwards `position`, `offset` and `sealed` say where and how it ended.

    for segment in segments(disk):
        for frame in reader.frames(segment, disk.read(segment.path)):
            ...
    """

    def __init__(self, until: Position | None = None) -> None:
        """`until` ends the walk where a writer says the log stood, whatever has been appended since."""
        self._until = until
        self.segment: Segment | None = None
        self.position: Position | None = None
        self.offset = 0
        self.sealed = False

    @property
    def done(self) -> bool:
        """Whether `until` was reached."""
        return self._until is not None and self.position == self._until

    def frames(self, segment: Segment, data: bytes) -> Iterator[Frame]:
        """The frames of the next segment, whose whole file is `data`. Raises Damaged, BadFrame or NewerFormat."""
        if self.done:
            return
        position = self._begin(segment)
        while not self.done:
            frame = _frame(segment, data, self.offset, position)
            if frame is None:
                break
            if self.sealed:
                raise segment.damaged(frame.offset, "there is a frame after the seal")
            position = self.position = Position(frame.next_seq, frame.header.chain)
            self.offset = frame.end
            self.sealed = frame.seals()
            yield frame

    def _begin(self, segment: Segment) -> Position:
        header = segment.header
        if self.segment is not None and self.position is not None:
            _must_follow(self.segment, segment)
            if not self.sealed:
                raise self.segment.damaged(
                    self.offset, f"the segment ends without its seal, yet {segment.path} follows"
                )
            if header.first_seq != self.position.next_seq:
                raise segment.damaged(40, f"it begins at {header.first_seq}, but {self.position.next_seq} is due")
            if header.previous_chain != self.position.chain:
                raise segment.damaged(80, "it does not continue the chain of the segment before it")
        self.segment = segment
        self.position = Position(header.first_seq, segment.chain)
        self.offset = codec.SEGMENT_HEADER_BYTES
        self.sealed = False
        return self.position


def zero_from(data: bytes, offset: int) -> bool:
    """Whether all bytes from `offset` on are zero."""
    return all(data.startswith(_ZEROS[: len(data) - at], at) for at in range(offset, len(data), len(_ZEROS)))


def _frame(segment: Segment, data: bytes, offset: int, due: Position) -> Frame | None:
    """The frame at `offset`, or None where the log ends: nothing but zeros from there on."""
    header = codec.decode_frame_header(data, offset)
    if header is None:
        if zero_from(data, offset):
            return None
        raise BadFrame(segment, offset, "there is no valid frame header", header=None, incomplete=True)
    wrong = _contradiction(segment, header, due, len(data) - offset)
    if wrong:
        raise BadFrame(segment, offset, wrong, header=header, incomplete=False)
    begin = offset + codec.FRAME_HEADER_BYTES
    payload = data[begin : begin + header.length]
    if codec.frame_chain(due.chain, data[offset : begin - codec.CHAIN_BYTES], payload) != header.chain:
        raise BadFrame(segment, offset, "the frame breaks the chain", header=header, incomplete=True)
    return Frame(segment, offset, header, payload)


def _contradiction(segment: Segment, header: FrameHeader, due: Position, room: int) -> str | None:
    """What is impossible in a header that is whole: it was written so, and no half-done write explains it."""
    if header.version > codec.FORMAT_VERSION:
        known = codec.FORMAT_VERSION
        raise NewerFormat(f"{segment.path} has a frame of format {header.version}, this program knows up to {known}")
    if header.salt != segment.header.salt:
        return "there is a frame of another segment"
    if header.epoch != segment.header.epoch:
        return f"the frame is of epoch {header.epoch}, its segment of {segment.header.epoch}"
    if header.first_seq != due.next_seq:
        return f"the frame has sequence number {header.first_seq}, but {due.next_seq} is due"
    if header.length == 0 or header.length % codec.ALIGNMENT or header.length > room - codec.FRAME_HEADER_BYTES:
        return f"the frame has an impossible length of {header.length}"
    return None

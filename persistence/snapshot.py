"""Snapshots on disk: one file each, exactly as docs/snapshot-format.md describes it.

A snapshot holds the engine's whole state after one record of the log, and where in the log that was. It is derived from
the log and proves nothing by itself: what cannot be read is passed over for an older one, what does not belong to this
log stops the start. How one is taken is in `snapshotting`.
"""

import hashlib
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import msgspec
import structlog
from attrs import asdict, fields, frozen

from persistence import codec
from persistence.exits import Damaged, NewerFormat, NoSpace, Stop
from persistence.segments import path_of, read_header, zero_from
from persistence.storage import Disk

FOLDER: Final = "snapshots"
FORMAT_VERSION: Final = 1

# What is written and synced at once, so that the log's own small syncs never wait long for ours.
SECTION_BYTES: Final = 4 * 1024 * 1024
# Left free for the log: a snapshot must never be what fills the disk.
SPARE_BYTES: Final = 64 * 1024 * 1024

STATE_HASH_BYTES: Final = 32

_MAGIC: Final = b"TALLYSNP"
_SECTION_MAGIC: Final = b"SECT"
_END_MAGIC: Final = b"TALLYEND"
_HEADER: Final = struct.Struct("<8sII")
_SECTION: Final = struct.Struct("<4sIQ32s")
_SECTION_FRONT: Final = struct.Struct("<4sIQ")
_TRAILER: Final = struct.Struct("<Q8s32s")
_TRAILER_FRONT: Final = struct.Struct("<Q8s")
_DIGEST_BYTES: Final = 32
# A footer names every asset; this is far beyond any.
_MAX_FOOTER_BYTES: Final = 16 * 1024 * 1024

# Called with the bytes written so far; may sleep.
Throttle = Callable[[int], None]

_log = structlog.get_logger("snapshot")


class Files(Protocol):
    """Where a snapshot is read from: a disk, or what was fetched from elsewhere."""

    def size(self, path: str, /) -> int:
        """As `Disk.size`."""

    def read(self, path: str, offset: int = 0, length: int | None = None, /) -> bytes:
        """As `Disk.read`."""


class BadSnapshot(ValueError):  # noqa: N818 - names what it is
    """A file that is not a whole snapshot. Names the file, and the offset of what is wrong."""

    def __init__(self, path: str, offset: int, what: str) -> None:
        super().__init__(f"{path}, offset {offset}: {what}")
        self.path = path
        self.offset = offset


@frozen(slots=True)
class SnapshotFile:
    """A file that is a snapshot by its name."""

    path: str
    seq: int
    size: int

    @property
    def name(self) -> str:
        """Without the folder."""
        return self.path.rpartition("/")[2]


@frozen(slots=True, kw_only=True)
class Footer:
    """What a snapshot says of itself, beside the state."""

    seq: int
    """The number of the last record that the state holds."""
    time_ns: int
    """When the log stood there: the time of the frame."""
    segment: int
    """The first sequence number of the log's segment that holds the frame: its name."""
    offset: int
    """Of the frame in that segment: the one whose check the state was compared with."""
    chain: bytes
    """Of that frame: it stands for the whole log up to there. 16 bytes."""
    digest: bytes
    """The engine's rolling digest. 16 bytes."""
    state_hash: bytes
    """BLAKE2b-32 of the state."""
    totals: dict[str, int]
    """Per asset, engine units."""
    engine_version: int
    """Of the program that took it."""
    exchange_id: bytes
    """16 bytes."""
    epoch: int
    """The segment's."""


@frozen(slots=True, kw_only=True)
class Snapshot(Footer):
    """A whole snapshot."""

    state: bytes
    """What `Engine.load` takes."""

    @property
    def path(self) -> str:
        """Its file."""
        return path_of_snapshot(self.seq)

    @property
    def footer(self) -> Footer:
        """All but the state, which may be large."""
        return Footer(**{field.name: getattr(self, field.name) for field in fields(Footer)})


class _FooterLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The footer as it is written: one line of JSON, digests in hex."""

    seq: int
    time_ns: int
    segment: int
    offset: int
    chain: str
    digest: str
    state_hash: str
    totals: dict[str, int]
    engine_version: int
    exchange_id: str
    epoch: int
    state_bytes: int


def hash_of(state: bytes) -> bytes:
    """The state's hash: what `Engine.state_hash` gives."""
    return hashlib.blake2b(state, digest_size=STATE_HASH_BYTES).digest()


# Files ----------------------------------------------------------------------------------------------------------------


def path_of_snapshot(seq: int) -> str:
    """The path of the snapshot of the state after this sequence number."""
    return f"{FOLDER}/{seq:020d}.snap"


def list_snapshots(disk: Disk) -> list[SnapshotFile]:
    """The files that are snapshots by their names, oldest first. Raises Unreadable."""
    names = [name for name in disk.list(FOLDER) if re.fullmatch(r"\d{20}\.snap", name)]
    return [SnapshotFile(f"{FOLDER}/{name}", int(name[:20]), disk.size(f"{FOLDER}/{name}")) for name in names]


# Writing --------------------------------------------------------------------------------------------------------------


def _no_throttle(_written: int) -> None:
    """Write as fast as it goes."""


def write_snapshot(disk: Disk, snapshot: Snapshot) -> str:
    """Write a snapshot and name it; its path. It is there whole, or not at all. Raises NoSpace or BadSnapshot."""
    return publish(disk, write_temporary(disk, snapshot))


def write_temporary(disk: Disk, snapshot: Snapshot, *, throttle: Throttle = _no_throttle) -> str:
    """Write a snapshot under a name that no start looks at, and read it back; the path.

    Raises NoSpace before the disk is full, or BadSnapshot where it is not read back as it was written.
    """
    parts = list(encode(snapshot))
    size = sum(map(len, parts))
    if disk.free_space() < size + SPARE_BYTES:
        raise NoSpace(f"no room on the disk for a snapshot of {size} bytes and {SPARE_BYTES} to spare")
    disk.make_folder(FOLDER)
    path = f"{snapshot.path}.tmp"
    disk.create_zeroed(path, 0)
    file = disk.open(path)
    written = 0
    for part in parts:
        file.write_at(written, part)
        file.datasync()
        written += len(part)
        throttle(written)
    file.close()
    if read(disk, path) != snapshot:
        raise BadSnapshot(path, 0, "it is not read back as it was written")
    return path


def publish(disk: Disk, temporary: str) -> str:
    """Give a snapshot that was written its name; the path. From now on a start may begin with it."""
    path = temporary.removesuffix(".tmp")
    disk.rename(temporary, path)
    disk.sync_folder(FOLDER)
    return path


def remove_temporaries(disk: Disk) -> None:
    """Remove what processes that ended in the midst of their work have left."""
    names = [name for name in disk.list(FOLDER) if name.endswith(".snap.tmp")]
    for name in names:
        disk.remove(f"{FOLDER}/{name}")
    if names:
        disk.sync_folder(FOLDER)


def encode(snapshot: Snapshot) -> Iterator[bytes]:
    """The file's bytes, in parts of a bounded size."""
    header = _HEADER.pack(_MAGIC, FORMAT_VERSION, 0)[:-4]
    header += struct.pack("<I", zlib.crc32(header))
    yield header
    for index, begin in enumerate(range(0, len(snapshot.state), SECTION_BYTES)):
        part = snapshot.state[begin : begin + SECTION_BYTES]
        front = _SECTION_FRONT.pack(_SECTION_MAGIC, index, len(part))
        yield front + _digest(front, part) + part
    words = asdict(snapshot.footer)
    footer = msgspec.json.encode(
        {name: value.hex() if isinstance(value, bytes) else value for name, value in words.items()}
        | {"state_bytes": len(snapshot.state)}
    )
    front = _TRAILER_FRONT.pack(len(footer), _END_MAGIC)
    yield footer + front + _digest(header, footer, front)


def _digest(*parts: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        digest.update(part)
    return digest.digest()


# Reading --------------------------------------------------------------------------------------------------------------


def read_snapshot(disk: Disk, file: SnapshotFile) -> Snapshot:
    """A snapshot, every byte of it proven. Raises BadSnapshot, Unreadable or NewerFormat."""
    snapshot = read(disk, file.path)
    _must_be_named(file, snapshot)
    return snapshot


def read_footer(disk: Disk, file: SnapshotFile) -> Footer:
    """What a snapshot says of itself; nothing is proven of the state. Raises BadSnapshot, Unreadable or NewerFormat."""
    footer, _, _ = _read_end(disk, file.path)
    _must_be_named(file, footer)
    return footer


def _must_be_named(file: SnapshotFile, footer: Footer) -> None:
    if footer.seq != file.seq:
        raise BadSnapshot(file.path, 0, f"it is {path_of_snapshot(footer.seq)} under another name")


def read(disk: Files, path: str) -> Snapshot:
    """The snapshot at `path`, whatever that is called. Raises BadSnapshot, Unreadable or NewerFormat."""
    footer, end, state_bytes = _read_end(disk, path)
    parts: list[bytes] = []
    offset, index = _HEADER.size, 0
    while offset < end:
        front = disk.read(path, offset, _SECTION.size)
        if len(front) < _SECTION.size:
            raise BadSnapshot(path, offset, "there is no whole section")
        magic, number, length, digest = _SECTION.unpack(front)
        begin = offset + _SECTION.size
        if magic != _SECTION_MAGIC or number != index or not 0 < length <= end - begin:
            raise BadSnapshot(path, offset, f"section {index} does not begin here")
        part = disk.read(path, begin, length)
        if _digest(front[: _SECTION_FRONT.size], part) != digest:
            raise BadSnapshot(path, offset, f"section {index} is not what was written")
        parts.append(part)
        offset, index = begin + length, index + 1
    state = b"".join(parts)
    if len(state) != state_bytes or hash_of(state) != footer.state_hash:
        raise BadSnapshot(path, _HEADER.size, "the sections are not the state that the footer names")
    return Snapshot(state=state, **asdict(footer))


def _read_end(disk: Files, path: str) -> tuple[Footer, int, int]:
    """The footer, proven; the offset where it begins; and how many bytes of state there are."""
    size = disk.size(path)
    header = disk.read(path, 0, _HEADER.size)
    if len(header) < _HEADER.size or not header.startswith(_MAGIC):
        raise BadSnapshot(path, 0, "it does not begin like a snapshot")
    _, version, crc = _HEADER.unpack(header)
    if crc != zlib.crc32(header[:-4]):
        raise BadSnapshot(path, 0, "the header is damaged")
    if version > FORMAT_VERSION:
        raise NewerFormat(f"{path} has format {version}, this program knows up to {FORMAT_VERSION}")
    at = size - _TRAILER.size
    if at < _HEADER.size:
        raise BadSnapshot(path, size, "it ends too early")
    trailer = disk.read(path, at, _TRAILER.size)
    length, magic, digest = _TRAILER.unpack(trailer)
    begin = at - length
    if magic != _END_MAGIC or length > _MAX_FOOTER_BYTES or begin < _HEADER.size:
        raise BadSnapshot(path, at, "it does not end like a snapshot")
    text = disk.read(path, begin, length)
    if _digest(header, text, trailer[: _TRAILER_FRONT.size]) != digest:
        raise BadSnapshot(path, begin, "the footer is not what was written")
    try:
        line = msgspec.json.decode(text, type=_FooterLine)
        words = msgspec.structs.asdict(line)
        state_bytes = words.pop("state_bytes")
        for name in ("chain", "digest", "state_hash", "exchange_id"):
            words[name] = bytes.fromhex(words[name])
    except ValueError as error:
        raise BadSnapshot(path, begin, f"the footer is no snapshot's: {error}") from error
    return Footer(**words), begin, state_bytes


# Which one to start with ----------------------------------------------------------------------------------------------


def good_snapshots(disk: Disk, *, oldest_first: bool = False) -> Iterator[Snapshot]:
    """The snapshots that can be read, newest first unless told otherwise; the others are passed over with a warning.

    Raises Damaged where one that can be read does not belong to the log that is there; Unreadable or NewerFormat.
    """
    files = list_snapshots(disk)
    for file in files if oldest_first else reversed(files):
        try:
            snapshot = read_snapshot(disk, file)
        except BadSnapshot as error:
            pass_over(file.path, error)
            continue
        must_belong(disk, snapshot)
        yield snapshot


def pass_over(path: str, error: Exception) -> None:
    """Say that a snapshot is of no use."""
    _log.warning(
        "a snapshot is bad; another one and perhaps a longer replay take its place", file=path, reason=str(error)
    )


def must_belong(disk: Disk, footer: Footer) -> None:
    """The log goes on from where this snapshot was taken. Raises Damaged, Unreadable or NewerFormat.

    The chain value in one frame's header stands for all of the log before it, so that one header is looked at.
    """
    own, path = path_of_snapshot(footer.seq), path_of(footer.segment)

    def stop(what: str) -> Stop:
        return Damaged(disk.root, own, 0, what)

    if not disk.exists(path):
        raise stop(f"it was taken in {path}, which is not there")
    segment = read_header(disk, path)
    if segment.header.exchange_id != footer.exchange_id:
        raise stop(f"it is of exchange {footer.exchange_id.hex()}, the log of {segment.header.exchange_id.hex()}")
    if segment.header.epoch != footer.epoch:
        raise stop(f"it is of epoch {footer.epoch}, {path} of {segment.header.epoch}")
    front = disk.read(path, footer.offset, codec.FRAME_HEADER_BYTES)
    header = codec.decode_frame_header(front, 0)
    if header is None and zero_from(front, 0):
        raise stop(f"it is newer than the log: it was taken at offset {footer.offset} of {path}, where nothing is")
    if header is None or header.chain != footer.chain or header.first_seq + header.count != footer.seq + 1:
        raise stop(f"the log has another history: see {path}, offset {footer.offset}")


def needless_seq(disk: Disk) -> int:
    """The number up to which a start needs no segment, as the newest good snapshot covers them; 0 without one.

    Raises Damaged, Unreadable or NewerFormat, as `good_snapshots` does.
    """
    newest = next(good_snapshots(disk), None)
    return 0 if newest is None else newest.segment - 1

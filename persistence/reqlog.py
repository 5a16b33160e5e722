"""The request log, written: one frame per group commit into a file that was zeroed ahead, one segment after another.

Everything here blocks and is called by one owner, a call at a time; only `prepare_next` may run beside the others. A
call that returns has done what it says for good; a disk that fails never returns (see `storage`). Reading is in
`segments`, opening after a crash in `recovery`, the bytes in docs/reqlog-format.md.
"""

import enum
import threading
from collections.abc import Callable, Sequence
from typing import Final

from attrs import evolve, field, frozen, validators

from persistence import codec
from persistence.codec import SegmentHeader
from persistence.exits import NoSpace
from persistence.recovery import PREALLOCATED, Progress, Recovered, no_progress, recover
from persistence.segments import (
    FOLDER,
    IDENTITY,
    Position,
    Segment,
    must_be_log_of,
    path_of,
    read_identity,
    zero_from,
)
from persistence.storage import Disk

Entropy = Callable[[int], bytes]

_SMALLEST_SEGMENT: Final = 16 * 1024
_LARGEST_SEGMENT: Final = 1024 * 1024 * 1024
_PAGE: Final = 4096

# Kept free behind the last ordinary frame for the frame that seals: a seal, and a check of some 4,000 assets.
_SEAL_RESERVE: Final = 128 * 1024

# Of that, an empty frame may take its place: there is one at most behind the last ordinary frame.
_IDLE_RESERVE: Final = codec.FRAME_HEADER_BYTES + codec.ALIGNMENT


class Durability(enum.Enum):
    """What an answer promises: `sync` survives the machine's power, `os` only the process."""

    SYNC = "sync"
    OS = "os"


def _whole_pages(_: object, __: object, value: int) -> None:
    if value % _PAGE:
        raise ValueError(f"segment_bytes must be a multiple of {_PAGE}, not {value}")


@frozen(slots=True, kw_only=True)
class ReqlogConfig:
    """How the log is kept."""

    durability: Durability = field(default=Durability.SYNC, validator=validators.instance_of(Durability))
    segment_bytes: int = field(
        default=64 * 1024 * 1024,
        validator=[validators.ge(_SMALLEST_SEGMENT), validators.le(_LARGEST_SEGMENT), _whole_pages],
    )


class Reqlog:
    """The log, open at its end."""

    def __init__(
        self, disk: Disk, config: ReqlogConfig, recovered: Recovered, *, engine_version: int, entropy: Entropy
    ) -> None:
        """Use `open`."""
        self._disk = disk
        self._config = config
        self._engine_version = engine_version
        self._entropy = entropy
        self._flags = codec.UNSYNCED if config.durability is Durability.OS else 0
        self._preparing = threading.Lock()
        self._is_prepared = False
        self._uncut = list(recovered.uncut)
        self._go_to(recovered.segment, recovered.position, recovered.offset)

    @classmethod
    def open(
        cls,
        disk: Disk,
        config: ReqlogConfig,
        *,
        engine_version: int,
        entropy: Entropy,
        time_ns: int,
        covered_seq: int = 0,
        progress: Progress = no_progress,
    ) -> "Reqlog":
        """Recover the log, or begin one; whatever is in it is on disk when this returns.

        `entropy(n)` gives n random bytes. Segments that a snapshot covers, up to `covered_seq`, are not walked. Raises
        Damaged, Unreadable or NewerFormat, every file as it was, or NoSpace.
        """
        disk.make_folder(FOLDER)
        identity = read_identity(disk)
        recovered = recover(disk, engine_version=engine_version, covered_seq=covered_seq, progress=progress)
        must_be_log_of(disk, identity, None if recovered is None else recovered.segment)
        if recovered is None:
            _prepare(disk, config.segment_bytes)
            header = SegmentHeader(
                engine_version=engine_version,
                exchange_id=entropy(16),
                number=1,
                first_seq=1,
                salt=_salt(entropy),
                created_ns=time_ns,
                size=config.segment_bytes,
                epoch=1,
                previous_chain=codec.NO_CHAIN,
            )
            recovered = _beginning(_begin_segment(disk, header))
        if identity is None:
            disk.write_file(IDENTITY, recovered.segment.header.exchange_id.hex().encode() + b"\n")
        log = cls(disk, config, recovered, engine_version=engine_version, entropy=entropy)
        if recovered.segment.header.engine_version != engine_version:
            log._renew(time_ns)
        return log

    def _go_to(self, segment: Segment, position: Position, offset: int) -> None:
        self._segment = segment
        self._file = self._disk.open(segment.path)
        self._position = position  # replaced as a whole: others look at it while a thread writes
        self._offset = offset
        self._limit = _limit(segment.header.size)

    # Where it stands ----------------------------------------------------------------------------------------------

    @property
    def next_seq(self) -> int:
        """The sequence number the next numbered record gets."""
        return self._position.next_seq

    @property
    def position(self) -> Position:
        """The end of the log, for a reader to stop at. All before it is on disk (durability `os`: written)."""
        return self._position

    @property
    def exchange_id(self) -> bytes:
        """16 bytes, the same for ever."""
        return self._segment.header.exchange_id

    @property
    def epoch(self) -> int:
        """Grows when an exchange is restored from a backup."""
        return self._segment.header.epoch

    @property
    def segment_number(self) -> int:
        """Of the open segment, from 1."""
        return self._segment.header.number

    @property
    def segment_path(self) -> str:
        """Of the open segment."""
        return self._segment.path

    @property
    def offset(self) -> int:
        """Where the next frame goes in the open segment."""
        return self._offset

    @property
    def segment_created_ns(self) -> int:
        """When the open segment was begun."""
        return self._segment.header.created_ns

    @property
    def segment_has_records(self) -> bool:
        """Whether the open segment holds a numbered record; if not, it cannot be sealed."""
        return self._position.next_seq > self._segment.header.first_seq

    @property
    def room(self) -> int:
        """What a frame can still take in this segment: the sum of the records' lengths, and one for each."""
        return _room(self._limit - self._offset)

    @property
    def room_when_empty(self) -> int:
        """The same for a new segment. Records that exceed it never fit one frame."""
        return _room(_limit(self._config.segment_bytes) - codec.SEGMENT_HEADER_BYTES)

    # Writing ------------------------------------------------------------------------------------------------------

    def append(self, records: Sequence[bytes], *, count: int, time_ns: int) -> None:
        """One group commit of encoded records, of which the first `count` take the next sequence numbers.

        It is on disk when this returns (durability `os`: written). It must fit `room`; an empty frame behind others
        always does.
        """
        frame, chain = self._frame(records, count, time_ns)
        if self._offset + len(frame) > (self._limit + _IDLE_RESERVE if not records else self._limit):
            raise ValueError(f"records of {sum(map(len, records)) + len(records)} bytes for a room of {self.room}")
        self._write(frame, chain, count, sync=not self._flags)

    def prepare_next(self) -> None:
        """Zero-fill the room for the next segment unless it waits already; give back what sealed ones did not use.

        Slow, so it may run beside the rest. Raises NoSpace.
        """
        with self._preparing:
            self._cut_sealed()
            if not self._is_prepared:
                _prepare(self._disk, self._config.segment_bytes)
                self._is_prepared = True

    def roll(self, records: Sequence[bytes] = (), *, time_ns: int) -> None:
        """Seal the segment and go on in a new one, everything synced; quick when `prepare_next` was called before.

        `records` (a check) take no number and go in front of the seal, or nowhere if there is no place for them. Only
        for a segment that has records. Raises NoSpace, nothing changed.
        """
        if not self.segment_has_records:
            raise ValueError("a segment without records cannot be sealed: its successor would have its name")
        self.prepare_next()
        if self._flags:
            self._file.datasync()
        seal, chain = self._frame([*records, codec.encode_seal(time_ns)], 0, time_ns)
        if self._offset + len(seal) > self._segment.header.size:
            seal, chain = self._frame([codec.encode_seal(time_ns)], 0, time_ns)
        successor = self._begin_segment(self._successor(chain, time_ns))
        self._write(seal, chain, 0, sync=True)
        self._file.close()
        # Cutting it down takes the disk long, and is only tidiness: `prepare_next` does it.
        self._uncut.append((self._segment.path, self._offset))
        self._go_to(successor, Position(self._position.next_seq, successor.chain), codec.SEGMENT_HEADER_BYTES)

    def close(self, records: Sequence[bytes] = (), *, time_ns: int) -> None:
        """Stop in order: the records (a check), a shutdown and the seal.

        No seal where there is nothing to seal, or no room for a new segment.
        """
        stop = [*records, codec.encode_shutdown(time_ns)]
        try:
            if self.segment_has_records:
                self.roll(stop, time_ns=time_ns)
                self._cut_sealed()
            else:
                self._write_unnumbered(stop, time_ns)
        except NoSpace:
            self._write_unnumbered(stop, time_ns)
        self.leave()

    def leave(self) -> None:
        """Let go of the log as it is."""
        self._file.close()

    def _write_unnumbered(self, records: Sequence[bytes], time_ns: int) -> None:
        """Into what is kept free for a seal; nothing where even that is used up."""
        frame, chain = self._frame(records, 0, time_ns)
        if self._offset + len(frame) <= self._segment.header.size:
            self._write(frame, chain, 0, sync=True)

    def _cut_sealed(self) -> None:
        while self._uncut:
            self._disk.truncate(*self._uncut[0])
            del self._uncut[0]

    def _frame(self, records: Sequence[bytes], count: int, time_ns: int) -> tuple[bytes, bytes]:
        header = self._segment.header
        return codec.encode_frame(
            records,
            count=count,
            previous=self._position.chain,
            salt=header.salt,
            first_seq=self._position.next_seq,
            time_ns=time_ns,
            epoch=header.epoch,
            flags=self._flags,
        )

    def _write(self, frame: bytes, chain: bytes, count: int, *, sync: bool) -> None:
        self._file.write_at(self._offset, frame)
        if sync:
            self._file.datasync()
        self._offset += len(frame)
        self._position = Position(self._position.next_seq + count, chain)

    def _successor(self, chain: bytes, time_ns: int) -> SegmentHeader:
        return evolve(
            self._segment.header,
            engine_version=self._engine_version,
            number=self._segment.header.number + 1,
            first_seq=self._position.next_seq,
            salt=_salt(self._entropy),
            created_ns=time_ns,
            size=self._config.segment_bytes,
            previous_chain=chain,
        )

    def _begin_segment(self, header: SegmentHeader) -> Segment:
        segment = _begin_segment(self._disk, header)
        self._is_prepared = False
        return segment

    def _renew(self, time_ns: int) -> None:
        """Let no older engine read what this one is going to write: it goes into a segment of this version."""
        if self.segment_has_records:
            self.roll(time_ns=time_ns)
            return
        self.prepare_next()
        header = evolve(self._segment.header, engine_version=self._engine_version, size=self._config.segment_bytes)
        self._file.close()
        begun = _beginning(self._begin_segment(header))
        self._go_to(begun.segment, begun.position, begun.offset)


def _salt(entropy: Entropy) -> int:
    return int.from_bytes(entropy(8), "little")


def _limit(size: int) -> int:
    """Where ordinary frames end in a segment of this size."""
    return size - min(_SEAL_RESERVE, size // 8)


def _room(free: int) -> int:
    return max(0, min(codec.MAX_PAYLOAD_BYTES, free - codec.FRAME_HEADER_BYTES))


def _prepare(disk: Disk, size: int) -> None:
    if disk.exists(PREALLOCATED) and disk.size(PREALLOCATED) == size:
        # An earlier life made it, perhaps begun a segment in it; behind the header it must be as new.
        if zero_from(disk.read(PREALLOCATED), codec.SEGMENT_HEADER_BYTES):
            return
        disk.remove(PREALLOCATED)
    unfinished = f"{PREALLOCATED}.tmp"
    disk.create_zeroed(unfinished, size)
    disk.rename(unfinished, PREALLOCATED)
    disk.sync_folder(FOLDER)


def _begin_segment(disk: Disk, header: SegmentHeader) -> Segment:
    """Turn the prepared room into a segment; it is there, whole, when this returns."""
    data = header.encode()
    path = path_of(header.first_seq)
    file = disk.open(PREALLOCATED)
    file.write_at(0, data)
    file.datasync()
    file.close()
    disk.rename(PREALLOCATED, path)
    disk.sync_folder(FOLDER)
    return Segment(disk.root, path, header, codec.segment_chain(data))


def _beginning(segment: Segment) -> Recovered:
    position = Position(segment.header.first_seq, segment.chain)
    return Recovered(segment, position, codec.SEGMENT_HEADER_BYTES)

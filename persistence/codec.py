"""The request log's bytes: records, frame headers and segment headers, exactly as docs/reqlog-format.md describes them.

Pure functions between bytes and values. What a sequence of them means is for `segments` (reading) and `reqlog`
(writing).
"""

import hashlib
import struct
import zlib
from collections.abc import Sequence
from typing import Final

import msgspec
from attrs import frozen

from book.commands import Command, DefineAccount, DefineAsset, DefineKey, DefineMarket, Tick

FORMAT_VERSION: Final = 1

# Records --------------------------------------------------------------------------------------------------------------

COMMAND: Final = 1
TICK: Final = 2
CONFIG: Final = 3
CHECK: Final = 4
REFUSED: Final = 5
SEAL: Final = 6
SHUTDOWN: Final = 7

KIND_NAMES: Final[dict[int, str]] = {
    COMMAND: "command",
    TICK: "tick",
    CONFIG: "config",
    CHECK: "check",
    REFUSED: "refused",
    SEAL: "seal",
    SHUTDOWN: "shutdown",
}


class _Record(msgspec.Struct, frozen=True, gc=False, array_like=True, tag_field="kind"):
    time_ns: int


class CommandRecord(_Record, frozen=True, tag=COMMAND):
    """A command that took effect."""

    command: Command


class TickRecord(_Record, frozen=True, tag=TICK):
    """Time that passed."""

    command: Command


class ConfigRecord(_Record, frozen=True, tag=CONFIG):
    """A definition that took effect."""

    command: Command


class CheckRecord(_Record, frozen=True, tag=CHECK):
    """What the state must be after all numbered records before it."""

    digest: str  # the engine's rolling digest, 32 hex digits
    totals: dict[str, int]  # per asset, engine units


class RefusedRecord(_Record, frozen=True, tag=REFUSED):
    """A command that was refused and changed nothing."""

    command: Command
    code: int
    reason: str


class SealRecord(_Record, frozen=True, tag=SEAL):
    """The end of a segment."""


class ShutdownRecord(_Record, frozen=True, tag=SHUTDOWN):
    """The program stopped in order here."""


NumberedRecord = CommandRecord | TickRecord | ConfigRecord | RefusedRecord
Record = NumberedRecord | CheckRecord | SealRecord | ShutdownRecord

_KINDS: Final[dict[type, int]] = {
    Tick: TICK,
    DefineAsset: CONFIG,
    DefineMarket: CONFIG,
    DefineAccount: CONFIG,
    DefineKey: CONFIG,
}

_encode = msgspec.json.Encoder().encode
_decode_lines = msgspec.json.Decoder(Record).decode_lines


def encode_command(time_ns: int, command: Command) -> bytes:
    """The record of a command that took effect. Raises UnicodeEncodeError for a lone surrogate in a string."""
    return _encode((_KINDS.get(type(command), COMMAND), time_ns, command))


def encode_refused(time_ns: int, command: Command, code: int, reason: str) -> bytes:
    """The record of a refused command. Raises UnicodeEncodeError for a lone surrogate in a string."""
    return _encode((REFUSED, time_ns, command, code, reason))


def encode_check(time_ns: int, digest: bytes, totals: dict[str, int]) -> bytes:
    """The record of what the state is now; takes no sequence number, so it stands behind those that do."""
    return _encode((CHECK, time_ns, digest.hex(), totals))


def encode_seal(time_ns: int) -> bytes:
    """The record that ends a segment."""
    return _encode((SEAL, time_ns))


def encode_shutdown(time_ns: int) -> bytes:
    """The record of a stop in order."""
    return _encode((SHUTDOWN, time_ns))


def decode_records(payload: bytes) -> list[Record]:
    """All records of a frame's payload. Raises msgspec.DecodeError or UnicodeDecodeError for what is none."""
    return _decode_lines(payload)


# Frames ---------------------------------------------------------------------------------------------------------------

FRAME_MAGIC: Final = b"\xf5TLY"
FRAME_HEADER_BYTES: Final = 64
CHAIN_BYTES: Final = 16
ALIGNMENT: Final = 8
SECTOR_BYTES: Final = 512

# More than a group commit ever gathers; a bound for whoever reads.
MAX_PAYLOAD_BYTES: Final = 8 * 1024 * 1024

# Flags.
UNSYNCED: Final = 1  # written under durability 'os'

_NEWLINES: Final = tuple(b"\n" * n for n in range(ALIGNMENT + 1))

# magic, version, flags, count, length, salt, first_seq, time, epoch; then CRC and chain
_FRAME_FRONT: Final = struct.Struct("<4sHHIIQQQI")
_FRAME: Final = struct.Struct("<4sHHIIQQQII16s")
_CRC: Final = struct.Struct("<I")


@frozen(slots=True)
class FrameHeader:
    """The 64 bytes in front of a frame's payload, whose CRC was right."""

    version: int
    flags: int
    count: int  # numbered records
    length: int  # bytes of payload
    salt: int
    first_seq: int
    time_ns: int
    epoch: int
    chain: bytes


def payload_of(records: Sequence[bytes]) -> bytes:
    """Records as a payload: a newline after each, and more up to a multiple of 8 bytes, at least one."""
    text = b"\n".join(records)
    return text + _NEWLINES[ALIGNMENT - len(text) % ALIGNMENT]


def encode_frame(
    records: Sequence[bytes],
    *,
    count: int,
    previous: bytes,
    salt: int,
    first_seq: int,
    time_ns: int,
    epoch: int,
    flags: int = 0,
) -> tuple[bytes, bytes]:
    """A frame of encoded records, the `count` numbered ones first, and its chain value."""
    payload = payload_of(records)
    front = _FRAME_FRONT.pack(FRAME_MAGIC, FORMAT_VERSION, flags, count, len(payload), salt, first_seq, time_ns, epoch)
    front += _CRC.pack(zlib.crc32(front))
    chain = frame_chain(previous, front, payload)
    return b"".join((front, chain, payload)), chain


def decode_frame_header(data: bytes, offset: int) -> FrameHeader | None:
    """The header at `offset`, or None where there is no whole one: another magic, a wrong CRC, the end of the data."""
    if not data.startswith(FRAME_MAGIC, offset) or offset + FRAME_HEADER_BYTES > len(data):
        return None
    _, version, flags, count, length, salt, first_seq, time_ns, epoch, crc, chain = _FRAME.unpack_from(data, offset)
    if crc != zlib.crc32(data[offset : offset + _FRAME_FRONT.size]):
        return None
    return FrameHeader(version, flags, count, length, salt, first_seq, time_ns, epoch, chain)


def frame_chain(previous: bytes, front: bytes, payload: bytes) -> bytes:
    """The chain value of a frame: of all before it, the first 48 bytes of its header, and its payload."""
    digest = hashlib.blake2b(previous, digest_size=CHAIN_BYTES)
    digest.update(front)
    digest.update(payload)
    return digest.digest()


# Segments -------------------------------------------------------------------------------------------------------------

SEGMENT_MAGIC: Final = b"TALLYLOG"
SEGMENT_HEADER_BYTES: Final = 4096
NO_CHAIN: Final = bytes(CHAIN_BYTES)

_SEGMENT: Final = struct.Struct("<8sII16sQQQQQII16s")


@frozen(slots=True, kw_only=True)
class SegmentHeader:
    """The first 4096 bytes of a segment."""

    version: int = FORMAT_VERSION
    engine_version: int
    exchange_id: bytes  # 16
    number: int  # from 1
    first_seq: int
    salt: int
    created_ns: int
    size: int  # bytes of the file until it is sealed
    epoch: int
    previous_chain: bytes

    def encode(self) -> bytes:
        """The header's bytes."""
        front = _SEGMENT.pack(
            SEGMENT_MAGIC,
            self.version,
            self.engine_version,
            self.exchange_id,
            self.number,
            self.first_seq,
            self.salt,
            self.created_ns,
            self.size,
            self.epoch,
            0,
            self.previous_chain,
        ).ljust(SEGMENT_HEADER_BYTES - _CRC.size, b"\0")
        return front + _CRC.pack(zlib.crc32(front))


def decode_segment_header(data: bytes) -> SegmentHeader | None:
    """The header, or None where there is no whole one: another magic, a wrong CRC, too few bytes."""
    front, crc = data[: SEGMENT_HEADER_BYTES - _CRC.size], data[SEGMENT_HEADER_BYTES - _CRC.size : SEGMENT_HEADER_BYTES]
    if not front.startswith(SEGMENT_MAGIC) or crc != _CRC.pack(zlib.crc32(front)):
        return None
    _, version, engine, exchange, number, first_seq, salt, created, size, epoch, _, previous = _SEGMENT.unpack_from(
        front
    )
    return SegmentHeader(
        version=version,
        engine_version=engine,
        exchange_id=exchange,
        number=number,
        first_seq=first_seq,
        salt=salt,
        created_ns=created,
        size=size,
        epoch=epoch,
        previous_chain=previous,
    )


def segment_chain(header: bytes) -> bytes:
    """The chain value a segment begins with: of its 4096 header bytes."""
    return hashlib.blake2b(header, digest_size=CHAIN_BYTES).digest()

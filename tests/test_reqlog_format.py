"""docs/reqlog-format.md is true: its example is what the program writes, and its text is enough to read a log."""

import hashlib
import itertools
import json
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from book import definitions
from book.commands import Command, DefineAsset, PlaceOrder, Tick
from book.definitions import Asset
from persistence import codec
from persistence.reqlog import Reqlog
from tests.logs import NOW, SMALL
from tests.simulation.disk import SimulatedDisk

PAGE = (Path(__file__).parent.parent / "docs" / "reqlog-format.md").read_text()
SEGMENT_1 = "reqlog/00000000000000000001.log"


@pytest.fixture(scope="module")
def example() -> SimulatedDisk:
    """The log of the worked example."""
    disk = SimulatedDisk()
    random_bytes = iter([bytes(range(16)), bytes.fromhex("0807060504030201"), bytes.fromhex("1817161514131211")])
    log = Reqlog.open(disk, SMALL, engine_version=1, entropy=lambda _: next(random_bytes), time_ns=NOW)
    order = PlaceOrder(7, 3, 12, "BTCUSDT", 1, 1, 1, 250, 6_500_000, client_order_id="\0 as it came")
    records = [
        codec.encode_command(NOW + 1, Tick()),
        codec.encode_command(NOW + 1, DefineAsset(Asset("BTC", 8, "bitcoin", 1_000, 5_000))),
        codec.encode_refused(NOW + 2, order, -1121, "UNKNOWN_SYMBOL"),
    ]
    log.append(records, count=3, time_ns=NOW + 3)
    log.append((), count=0, time_ns=NOW + 10_000_000)
    log.close([codec.encode_check(NOW + 1, bytes(range(16, 32)), {"BTC": 0})], time_ns=NOW + 20_000_000)
    return disk


def hexdump(data: bytes) -> Iterator[str]:
    """As `hexdump -C` prints it."""
    last, starred = b"", False
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        if row == last and at + 16 < len(data):
            if not starred:
                yield "*"
            starred = True
            continue
        last, starred = row, False
        left, right = row[:8].hex(" "), row[8:].hex(" ")
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"{at:08x}  {left:23}  {right:23}  |{text}|"
    yield f"{len(data):08x}"


def test_the_worked_example_is_what_the_program_writes(example: SimulatedDisk) -> None:
    """The page's hexdump is that of the segment, to the byte."""
    expected = "\n".join(hexdump(example.read(SEGMENT_1)))
    assert f"```\n{expected}\n```" in PAGE, f"docs/reqlog-format.md should show:\n{expected}"


# A reader written from the page alone, with nothing of the program in it ----------------------------------------------


def read_segment(data: bytes) -> Iterator[tuple[int | None, list[object]]]:
    """Every record of a segment with its sequence number, or None."""
    assert data[:8] == b"TALLYLOG"
    assert zlib.crc32(data[:4092]) == struct.unpack_from("<I", data, 4092)[0]
    (salt,) = struct.unpack_from("<Q", data, 48)
    (epoch,) = struct.unpack_from("<I", data, 72)
    chain = hashlib.blake2b(data[:4096], digest_size=16).digest()
    at = 4096
    while any(data[at:]):
        magic, version, flags, count, length, frame_salt, seq, _, frame_epoch, crc = struct.unpack_from(
            "<4sHHIIQQQII", data, at
        )
        assert (magic, version, frame_salt, frame_epoch) == (b"\xf5TLY", 1, salt, epoch)
        assert flags in (0, 1)
        assert crc == zlib.crc32(data[at : at + 44])
        payload = data[at + 64 : at + 64 + length]
        chain = hashlib.blake2b(chain + data[at : at + 48] + payload, digest_size=16).digest()
        assert chain == data[at + 48 : at + 64]
        for index, line in enumerate(payload.decode("utf-8").split("\n")):
            if line:
                yield (seq + index if index < count else None), json.loads(line)
        at += 64 + length


def test_a_reader_written_from_the_page_reads_the_example(example: SimulatedDisk) -> None:
    """Sequence numbers, kinds, times and commands come out as they went in."""
    order = [1, 7, 3, 12, "BTCUSDT", 1, 1, 1, 250, 6_500_000, 0, False, "\0 as it came", 0, 0, 5000, 0, 0, 0]
    assert list(read_segment(example.read(SEGMENT_1))) == [
        (1, [2, NOW + 1, [16]]),
        (2, [3, NOW + 1, [32, ["BTC", 8, "bitcoin", 1000, 5000]]]),
        (3, [5, NOW + 2, order, -1121, "UNKNOWN_SYMBOL"]),
        (None, [4, NOW + 1, bytes(range(16, 32)).hex(), {"BTC": 0}]),
        (None, [7, NOW + 20_000_000]),
        (None, [6, NOW + 20_000_000]),
    ]


def test_the_successor_in_the_example_continues_it(example: SimulatedDisk) -> None:
    """Its header carries number 2, the next sequence number and the chain of the seal's frame."""
    data = example.read(SEGMENT_1)
    successor = example.read("reqlog/00000000000000000004.log")
    last = max(match.start() for match in re.finditer(rb"\xf5TLY", data))
    assert struct.unpack_from("<QQQ", successor, 32) == (2, 4, 0x1112131415161718)
    assert successor[80:96] == data[last + 48 : last + 64]
    assert not any(successor[4096:])


# The tables -----------------------------------------------------------------------------------------------------------


def fields_of(struct_type: type[msgspec.Struct]) -> str:
    """Names of the fields, with their defaults."""
    fields = msgspec.structs.fields(struct_type)
    return ", ".join(
        f"{field.name}" if field.required else f"{field.name} = {json.dumps(field.default)}" for field in fields
    )


def test_the_page_lists_every_command_with_its_fields() -> None:
    """Whoever adds a command or a field adds it to the format's page."""
    rows = [
        f"| {kind.__struct_config__.tag} | {kind.__name__} | {fields_of(kind)} |"
        for kind in sorted(get_args(Command), key=lambda kind: kind.__struct_config__.tag)
    ]
    missing = [row for row in rows if row not in PAGE]
    assert not missing, "docs/reqlog-format.md lacks:\n" + "\n".join(missing)


def test_the_page_lists_every_definition_with_its_fields() -> None:
    """The structs inside definition commands are part of the format too."""
    kinds = [kind for kind in vars(definitions).values() if isinstance(kind, type) and kind is not msgspec.Struct]
    rows = [f"* {kind.__name__}: {fields_of(kind)}" for kind in kinds if issubclass(kind, msgspec.Struct)]
    missing = [row for row in rows if row not in PAGE]
    assert len(rows) >= 4
    assert not missing, "docs/reqlog-format.md lacks:\n" + "\n".join(missing)


def test_the_page_lists_every_kind_of_record() -> None:
    """Kinds are numbered from 1 without gaps, each with its row."""
    assert sorted(codec.KIND_NAMES) == list(range(1, len(codec.KIND_NAMES) + 1))
    assert all(f"| {kind} | `[{kind},time" in PAGE for kind in codec.KIND_NAMES)


def test_command_tags_are_never_reused() -> None:
    """A tag names one command for ever."""
    tags = [kind.__struct_config__.tag for kind in get_args(Command)]
    assert all(a != b for a, b in itertools.combinations(tags, 2))

"""docs/snapshot-format.md is true: its example is what the program writes, and its text is enough to read one."""

import hashlib
import json
import struct
import zlib
from typing import Any

import attrs
import msgspec

from book.commands import Command, DefineAsset, SetEngineVersion, Tick
from book.definitions import Asset
from book.engine import Engine
from book.image import EngineImage
from persistence.snapshot import Footer, Snapshot, encode, hash_of
from tests.logs import NOW
from tests.pages import read_page, table
from tests.test_reqlog_format import hexdump

PAGE = read_page("snapshot-format.md")


def example() -> Snapshot:
    """The page's."""
    engine = Engine()
    commands: list[Command] = [SetEngineVersion(1), Tick(), DefineAsset(Asset("BTC", 8))]
    for seq, command in enumerate(commands, start=1):
        outcome = engine.apply(command, seq, NOW + seq)
        assert isinstance(outcome, list)
        engine.digest.update(outcome)
    state = engine.dump()
    return Snapshot(
        seq=3,
        time_ns=NOW + 4,
        segment=1,
        offset=4288,
        chain=bytes(range(16)),
        digest=engine.digest.value(),
        state_hash=hash_of(state),
        totals=engine.totals(),
        engine_version=1,
        exchange_id=bytes(range(16, 32)),
        epoch=1,
        state=state,
    )


def test_the_worked_example_is_what_the_program_writes() -> None:
    """The page's hexdump is that of the file, to the byte."""
    expected = "\n".join(hexdump(b"".join(encode(example()))))
    assert f"```\n{expected}\n```" in PAGE, f"docs/snapshot-format.md should show:\n{expected}"


# A reader written from the page alone, with nothing of the program in it ----------------------------------------------


def blake(*parts: bytes) -> bytes:
    """BLAKE2b-32."""
    return hashlib.blake2b(b"".join(parts), digest_size=32).digest()


def read_file(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The footer and the state."""
    magic, version, crc = struct.unpack_from("<8sII", data)
    assert (magic, version, crc) == (b"TALLYSNP", 1, zlib.crc32(data[:12]))
    length, end_magic, digest = struct.unpack_from("<Q8s32s", data, len(data) - 48)
    begin = len(data) - 48 - length
    assert end_magic == b"TALLYEND"
    assert digest == blake(data[:16], data[begin:-32])
    state, at, sections = b"", 16, 0
    while at < begin:
        magic, index, size, digest = struct.unpack_from("<4sIQ32s", data, at)
        part = data[at + 48 : at + 48 + size]
        assert (magic, index, digest) == (b"SECT", sections, blake(data[at : at + 16], part))
        state, at, sections = state + part, at + 48 + size, sections + 1
    assert at == begin
    return json.loads(data[begin:-48]), state


def test_a_reader_written_from_the_page_reads_the_example() -> None:
    """The footer's members and the image come out as they went in."""
    snapshot = example()
    footer, state = read_file(b"".join(encode(snapshot)))
    assert footer == {
        "seq": 3,
        "time_ns": NOW + 4,
        "segment": 1,
        "offset": 4288,
        "chain": bytes(range(16)).hex(),
        "digest": snapshot.digest.hex(),
        "state_hash": blake(state).hex(),
        "totals": {"BTC": 0},
        "engine_version": 1,
        "exchange_id": bytes(range(16, 32)).hex(),
        "epoch": 1,
        "state_bytes": len(state),
    }
    image = msgspec.msgpack.decode(state)
    assert len(image) == len(EngineImage.__struct_fields__)
    assert image[1] == 3


def test_the_page_lists_every_member_of_the_footer() -> None:
    """In the order in which they are written."""
    footer, _ = read_file(b"".join(encode(example())))
    assert [row[0] for row in table(PAGE, "member", "")] == list(footer)
    assert list(footer)[:-1] == [field.name for field in attrs.fields(Footer)]

"""The log's bytes: every record comes back as it went in, and no content can make a written sector look unwritten."""

import string

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from book.commands import CancelOrder, Command, CreditDeposit, DefineKey, DefineMarket, PlaceOrder, Tick
from book.definitions import Key, Market
from persistence import codec
from persistence.codec import (
    CheckRecord,
    CommandRecord,
    ConfigRecord,
    RefusedRecord,
    SealRecord,
    SegmentHeader,
    ShutdownRecord,
    TickRecord,
)
from tests.logs import NOW, order

# Any text a client can send: no lone surrogates, which are no text.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NULS = st.integers(0, 2000).map(lambda n: "\0" * n)
INTS = st.integers() | st.sampled_from([0, 2**63 - 1, 2**63, -(2**63), 2**64, 10**40])

MARKET = Market("BTCUSDT", "BTC", "USDT", 1, 2, 1000, 1, 10**9, 1, 200, 100, 200, 50_000, 2)

COMMANDS: list[Command] = [
    order(1),
    CancelOrder(1, 2, 3, "BTCUSDT", 4),
    Tick(),
    DefineMarket(MARKET),
    DefineKey(Key(1, "k", 2, 7, "ab" * 32)),
    CreditDeposit("BTC|tx|0", 1, "BTC", 5),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_a_command_comes_back_under_its_kind(command: Command) -> None:
    """Ticks and definitions have kinds of their own, all other commands share one."""
    kind = {Tick: TickRecord, DefineMarket: ConfigRecord, DefineKey: ConfigRecord}.get(type(command), CommandRecord)
    assert codec.decode_records(codec.encode_command(NOW, command)) == [kind(NOW, command)]


def test_the_other_records_come_back() -> None:
    """Refusals, checks, seals and shutdowns, several in one payload, in order."""
    payload = codec.payload_of(
        [
            codec.encode_refused(NOW, order(1), -2010, "INSUFFICIENT_BALANCE"),
            codec.encode_check(NOW + 1, b"\0" * 16, {"BTC": 2**63 - 1, "USDT": 0}),
            codec.encode_shutdown(NOW + 2),
            codec.encode_seal(NOW + 3),
        ]
    )
    assert codec.decode_records(payload) == [
        RefusedRecord(NOW, order(1), -2010, "INSUFFICIENT_BALANCE"),
        CheckRecord(NOW + 1, "00" * 16, {"BTC": 2**63 - 1, "USDT": 0}),
        ShutdownRecord(NOW + 2),
        SealRecord(NOW + 3),
    ]


@given(INTS, TEXT | NULS, INTS, TEXT)
def test_whatever_a_client_sent_can_be_logged(number: int, text: str, price: int, symbol: str) -> None:
    """A refused command may hold any integer and any text; it comes back the same."""
    command = PlaceOrder(1, 0, 0, symbol, number, 1, 1, number, price, client_order_id=text)
    line = codec.encode_refused(NOW, command, -1100, "X")
    assert codec.decode_records(line) == [RefusedRecord(NOW, command, -1100, "X")]
    assert b"\0" not in line
    assert b"\n" not in line


@pytest.mark.parametrize(
    "bad", [b"[1,2]\n", b"[9,1]\n", b"[1,1,[99]]\n", b"[1,1,[1,1.5]]\n", b"[6,1\n", b'[6,"\xff"]\n']
)
def test_what_is_no_record_is_refused(bad: bytes) -> None:
    """Unknown kinds, unknown commands, wrong types and broken text raise."""
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        codec.decode_records(bad)


def test_a_lone_surrogate_is_refused_before_it_is_logged() -> None:
    """It is no Unicode text, so no reader could ever be given it back."""
    with pytest.raises(UnicodeEncodeError):
        codec.encode_command(NOW, order(1, "\ud800"))


# Frames ---------------------------------------------------------------------------------------------------------------

RECORDS = st.lists(
    (TEXT | NULS).map(lambda text: codec.encode_refused(0, order(0, text), 0, text)) | st.just(codec.encode_seal(0)),
    max_size=12,
)


def frame(records: list[bytes], previous: bytes = bytes(16), salt: int = 0) -> bytes:
    """A frame whose numbers are as often zero as can be."""
    made, _ = codec.encode_frame(
        records, count=len(records), previous=previous, salt=salt, first_seq=0, time_ns=0, epoch=0
    )
    return made


@given(RECORDS, st.integers(0, 63))
def test_every_sector_of_a_frame_shows_that_it_was_written(records: list[bytes], place: int) -> None:
    """Wherever a frame begins, its part of each sector has five bytes that are not zero: rot in one cannot hide it."""
    data = bytes(8 * place) + frame(records)
    for begin in range(0, len(data), codec.SECTOR_BYTES):
        part = data[max(begin, 8 * place) : begin + codec.SECTOR_BYTES]
        assert len(part) - part.count(0) >= 5


@pytest.mark.parametrize("length", range(70))
def test_a_payload_is_padded_with_one_to_eight_newlines(length: int) -> None:
    """Frames stay at multiples of 8, and the last record has its newline."""
    record = string.ascii_letters[:8].encode() * 10
    payload = codec.payload_of([record[:length]] if length else [])
    padding = len(payload) - length
    assert len(payload) % codec.ALIGNMENT == 0
    assert 1 <= padding <= codec.ALIGNMENT
    assert payload == record[:length] + b"\n" * padding


@given(RECORDS, st.integers(0, 2**64 - 1))
def test_a_frame_header_comes_back(records: list[bytes], salt: int) -> None:
    """All of its fields, and where it ends."""
    made = frame(records, salt=salt)
    header = codec.decode_frame_header(b"12345678" + made, 8)
    assert header is not None
    assert (header.version, header.flags, header.count, header.salt) == (1, 0, len(records), salt)
    assert header.length == len(made) - codec.FRAME_HEADER_BYTES
    assert codec.frame_chain(bytes(16), made[:48], made[64:]) == header.chain == made[48:64]


def test_any_flipped_bit_of_a_frame_is_found() -> None:
    """By the header's CRC in its first 48 bytes, by the chain everywhere."""
    made = frame([codec.encode_command(NOW, order(1))])
    for bit in range(8 * len(made)):
        flipped = bytearray(made)
        flipped[bit // 8] ^= 1 << bit % 8
        header = codec.decode_frame_header(bytes(flipped), 0)
        if bit < 8 * 48:
            assert header is None
        else:
            assert header is not None
            assert codec.frame_chain(bytes(16), bytes(flipped[:48]), bytes(flipped[64:])) != header.chain


def test_the_chain_depends_on_what_came_before() -> None:
    """The same records after another frame have another chain."""
    assert frame([], previous=bytes(16))[48:64] != frame([], previous=b"x" * 16)[48:64]


def test_a_header_cut_off_by_the_end_of_the_file_is_none() -> None:
    """No reading behind the end."""
    made = frame([])
    assert all(codec.decode_frame_header(made[:size], 0) is None for size in range(codec.FRAME_HEADER_BYTES))


# Segments -------------------------------------------------------------------------------------------------------------

HEADER = SegmentHeader(
    engine_version=3,
    exchange_id=bytes(range(16)),
    number=7,
    first_seq=12345,
    salt=2**64 - 1,
    created_ns=NOW,
    size=16384,
    epoch=2,
    previous_chain=b"c" * 16,
)


def test_a_segment_header_comes_back() -> None:
    """It is one page of 4096 bytes."""
    data = HEADER.encode()
    assert len(data) == codec.SEGMENT_HEADER_BYTES
    assert codec.decode_segment_header(data) == HEADER


def test_any_flipped_byte_of_a_segment_header_is_found() -> None:
    """Reserved bytes included."""
    data = HEADER.encode()
    for place in range(0, len(data), 7):
        flipped = bytearray(data)
        flipped[place] ^= 0x10
        assert codec.decode_segment_header(bytes(flipped)) is None


def test_a_short_segment_header_is_none() -> None:
    """An empty file, or one cut short, has no header."""
    data = HEADER.encode()
    assert all(codec.decode_segment_header(data[:size]) is None for size in (0, 1, 8, 96, 4092, 4095))

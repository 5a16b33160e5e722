"""Snapshots on disk: whole or refused, the newest good one first, and only with the log that they were taken of."""

import itertools
import struct
import zlib
from random import Random
from typing import Any

import pytest
from attrs import evolve
from structlog.testing import capture_logs

from persistence import snapshot
from persistence.exits import Damaged, NewerFormat, NoSpace
from persistence.segments import path_of
from persistence.snapshot import (
    SECTION_BYTES,
    SPARE_BYTES,
    BadSnapshot,
    Footer,
    Snapshot,
    SnapshotFile,
    encode,
    good_snapshots,
    hash_of,
    list_snapshots,
    must_belong,
    needless_seq,
    path_of_snapshot,
    publish,
    read_footer,
    read_snapshot,
    remove_temporaries,
    write_snapshot,
    write_temporary,
)
from tests.counts import count
from tests.recorded import Recorded, record
from tests.simulation.disk import Fault, PowerCut, SimulatedDisk
from tests.test_snapshot_format import example


def of(seq: int, state: bytes = b"state") -> Snapshot:
    """A snapshot that nobody loads."""
    return evolve(example(), seq=seq, state=state, state_hash=hash_of(state))


@pytest.fixture(scope="module")
def three() -> SimulatedDisk:
    """A log with three snapshots."""
    recorded = record(SimulatedDisk(), 1, 300)
    for place in (len(recorded.checked) // 3, len(recorded.checked) * 2 // 3, -1):
        recorded.snapshot(place)
    assert isinstance(recorded.disk, SimulatedDisk)
    return recorded.disk


def put(disk: SimulatedDisk, path: str, data: bytes) -> None:
    """A file with these bytes."""
    disk.write_file(path, data)


# One file -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, SECTION_BYTES, SECTION_BYTES + 1, 3 * SECTION_BYTES])
def test_what_is_written_is_read(size: int) -> None:
    """Of any size, in as many sections as it needs; the footer also alone."""
    disk = SimulatedDisk()
    written = of(7, Random(size).randbytes(size))
    assert write_snapshot(disk, written) == "snapshots/00000000000000000007.snap"
    (file,) = list_snapshots(disk)
    assert (file.seq, file.name, file.size) == (7, "00000000000000000007.snap", disk.size(file.path))
    assert read_snapshot(disk, file) == written
    assert read_footer(disk, file) == written.footer
    assert type(written.footer) is Footer


def test_every_changed_byte_is_noticed() -> None:
    """Whichever it is, and whatever it becomes: no snapshot, rather than another one."""
    data = b"".join(encode(example()))
    file = SnapshotFile(path_of_snapshot(3), 3, len(data))
    for offset in range(len(data)):
        for mask in (1, 0x80, 0xFF)[: count(1, 3)]:
            disk = SimulatedDisk()
            put(disk, file.path, data)
            disk.rot(file.path, offset, mask)
            with pytest.raises(BadSnapshot, match=file.path):
                read_snapshot(disk, file)


def test_every_lost_or_added_end_is_noticed() -> None:
    """Cut anywhere, or with something behind it."""
    data = b"".join(encode(example()))
    file = SnapshotFile(path_of_snapshot(3), 3, len(data))
    for spoilt in (*(data[:size] for size in range(len(data))), data + b"\0", data + data):
        disk = SimulatedDisk()
        put(disk, file.path, spoilt)
        with pytest.raises(BadSnapshot):
            read_snapshot(disk, file)


def test_sections_in_another_order_are_noticed() -> None:
    """Each has its place."""
    first, *sections, last = encode(of(1, Random(0).randbytes(2 * SECTION_BYTES)))
    disk = SimulatedDisk()
    put(disk, path_of_snapshot(1), b"".join([first, *reversed(sections), last]))
    with pytest.raises(BadSnapshot, match="section 0 does not begin here"):
        read_snapshot(disk, list_snapshots(disk)[0])


def test_a_footer_of_another_kind_is_refused() -> None:
    """As written by some program, but not one of these."""
    header = b"".join(encode(example()))[:16]
    for text in (b"{}", b"[]", b"{", '{"seq":"é'.encode("latin-1")):
        front = struct.pack("<Q8s", len(text), b"TALLYEND")
        disk = SimulatedDisk()
        put(disk, path_of_snapshot(1), header + text + front + snapshot._digest(header, text, front))
        with pytest.raises(BadSnapshot, match="the footer is no snapshot's"):
            read_footer(disk, list_snapshots(disk)[0])


def test_a_newer_format_is_left_alone() -> None:
    """Exit code 6, whatever else is in it."""
    front = struct.pack("<8sI", b"TALLYSNP", 2)
    disk = SimulatedDisk()
    put(disk, path_of_snapshot(1), front + struct.pack("<I", zlib.crc32(front)) + b"who knows")
    with pytest.raises(NewerFormat, match="has format 2, this program knows up to 1"):
        read_snapshot(disk, list_snapshots(disk)[0])


def test_another_name_is_noticed() -> None:
    """The name says what is in it."""
    disk = SimulatedDisk()
    disk.rename(write_snapshot(disk, of(7)), path_of_snapshot(8))
    with pytest.raises(BadSnapshot, match=r"it is snapshots/0+7\.snap under another name"):
        read_snapshot(disk, list_snapshots(disk)[0])


def test_only_files_with_the_right_names_are_snapshots() -> None:
    """Whatever else lies there is left alone, but for what a dead process has left."""
    disk = SimulatedDisk()
    write_snapshot(disk, of(7))
    for name in ("7.snap", "x", f"{8:020}.snap.cut", f"{8:020}.snap.tmp"):
        put(disk, f"snapshots/{name}", b"")
    assert [file.seq for file in list_snapshots(disk)] == [7]
    remove_temporaries(disk)
    assert disk.list("snapshots") == [f"{7:020}.snap", f"{8:020}.snap.cut", "7.snap", "x"]


# Writing --------------------------------------------------------------------------------------------------------------


def test_a_snapshot_never_fills_the_disk() -> None:
    """The log needs its room; nothing is left behind."""
    disk = SimulatedDisk(capacity_bytes=SPARE_BYTES)
    with pytest.raises(NoSpace, match="no room on the disk for a snapshot"):
        write_snapshot(disk, of(7))
    assert disk.image() == {}


def test_it_is_written_bit_by_bit() -> None:
    """Whoever throttles it is told after each section, which is on the disk then."""
    disk, seen = SimulatedDisk(), list[int]()
    path = write_temporary(disk, of(7, bytes(2 * SECTION_BYTES)), throttle=seen.append)
    assert seen[-1] == disk.size(path)
    assert len(seen) == 4
    assert max(b - a for a, b in itertools.pairwise(seen)) == SECTION_BYTES + 48


def test_what_is_not_read_back_as_written_gets_no_name() -> None:
    """A disk that loses bytes without a word."""

    class Forgetful(SimulatedDisk):
        def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
            return bytes(len(super().read(path, offset, length)))

    disk = Forgetful()
    with pytest.raises(BadSnapshot):
        write_snapshot(disk, of(7))
    assert list_snapshots(disk) == []


def test_a_power_cut_at_any_step_leaves_a_whole_snapshot_or_none() -> None:
    """Whatever had its name before is still there."""
    for seed in range(count(5, 200)):
        for step in range(100):
            disk = SimulatedDisk()
            write_snapshot(disk, of(7))
            disk.cut_power_in(step)
            try:
                write_snapshot(disk, of(8, bytes(1000)))
            except PowerCut:
                disk.crash(Random(f"{seed} {step}"))
                found = [read_snapshot(disk, file) for file in list_snapshots(disk)]
                assert found in ([of(7)], [of(7), of(8, bytes(1000))])
            else:
                assert step > 4
                break


@pytest.mark.parametrize("fault", [Fault.WRITE_ERROR, Fault.SHORT_WRITE, Fault.NO_SPACE_APPENDING, Fault.SYNC_ERROR])
def test_a_failing_disk_gives_it_no_name(fault: Fault) -> None:
    """The process that writes it ends; that is all."""
    disk = SimulatedDisk()
    disk.arm(fault)
    with pytest.raises(PowerCut, match="exit 5"):
        write_temporary(disk, of(8))
    assert list_snapshots(disk) == []


# Which one to start with ----------------------------------------------------------------------------------------------


def test_the_newest_good_one_comes_first(three: SimulatedDisk) -> None:
    """The others are for when it is bad."""
    files = list_snapshots(three)
    assert [found.seq for found in good_snapshots(three)] == [file.seq for file in reversed(files)]
    assert [found.seq for found in good_snapshots(three, oldest_first=True)] == [file.seq for file in files]
    assert needless_seq(three) == read_footer(three, files[-1]).segment - 1


def test_a_bad_one_is_passed_over_with_a_warning(three: SimulatedDisk) -> None:
    """The warning names it and what is wrong."""
    disk = three.copy()
    files = list_snapshots(disk)
    disk.rot(files[-1].path, 100)
    with capture_logs() as logs:
        newest = next(good_snapshots(disk))
    assert newest.seq == files[-2].seq
    ((event),) = logs
    assert (event["log_level"], event["file"]) == ("warning", files[-1].path)
    assert "section 0 is not what was written" in event["reason"]


def changed(disk: SimulatedDisk, **changes: Any) -> Footer:
    """The newest snapshot's footer with changes."""
    return evolve(read_footer(disk, list_snapshots(disk)[-1]), **changes)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"exchange_id": bytes(16)}, "it is of exchange 0000.*, the log of "),
        ({"epoch": 2}, "it is of epoch 2, reqlog/.* of 1"),
        ({"segment": 77}, "it was taken in reqlog/0+77.log, which is not there"),
        ({"chain": bytes(16)}, "the log has another history: see reqlog/"),
        ({"offset": 4100}, "the log has another history: see reqlog/"),
        ({"offset": 30_000}, "it is newer than the log: it was taken at offset 30000 of reqlog/"),
        ({"seq": 1}, "the log has another history"),
    ],
)
def test_one_of_another_log_stops_the_start(three: SimulatedDisk, changes: dict[str, object], what: str) -> None:
    """Another exchange's, another epoch's, newer than the log, or of another history: each is said so."""
    must_belong(three, changed(three))
    with pytest.raises(Damaged, match=what):
        must_belong(three, changed(three, **changes))


def test_a_snapshot_newer_than_the_log_stops_the_start(three: SimulatedDisk) -> None:
    """As when an older copy of the log was put in its place: not even an older snapshot is tried."""
    disk = three.copy()
    newest = changed(disk)
    disk.overwrite(path_of(newest.segment), newest.offset, bytes(disk.size(path_of(newest.segment)) - newest.offset))
    with pytest.raises(Damaged, match="it is newer than the log"):
        needless_seq(disk)
    disk.remove(path_of(newest.segment))
    with pytest.raises(Damaged, match="which is not there"):
        needless_seq(disk)


def test_without_any_the_whole_log_is_needed() -> None:
    """Also where all are bad."""
    recorded: Recorded = record(SimulatedDisk(), 2, 40)
    assert needless_seq(recorded.disk) == 0
    recorded.snapshot()
    (file,) = list_snapshots(recorded.disk)
    assert isinstance(recorded.disk, SimulatedDisk)
    recorded.disk.rot(file.path, file.size - 1)
    assert needless_seq(recorded.disk) == 0


def test_publishing_again_is_harmless() -> None:
    """The same snapshot taken twice has one file."""
    disk = SimulatedDisk()
    write_snapshot(disk, of(7))
    publish(disk, write_temporary(disk, of(7)))
    assert len(list_snapshots(disk)) == 1

"""Appending to the log: what a reader then finds, segment after segment, and what the disk's faults do to it."""

import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from persistence import codec
from persistence.exits import Exit, NoSpace
from persistence.reqlog import Durability, Reqlog, ReqlogConfig
from persistence.segments import LogReader, Position, segments
from persistence.storage import RealDisk
from tests.counts import seeds
from tests.logs import (
    ENGINE_VERSION,
    NOW,
    SMALL,
    SMALL_UNSYNCED,
    append,
    command,
    frame_of,
    logged_commands,
    open_log,
    order,
    read_log,
)
from tests.simulation.disk import Fault, PowerCut, SimulatedDisk, power_cut

CHECK = codec.encode_check(NOW, bytes(16), {"BTC": 1})


def test_what_is_appended_is_read_back_in_order() -> None:
    """Over many segments and openings, each command once and in its place."""
    disk = SimulatedDisk()
    random = Random(1)
    expected = []
    for _ in range(4):
        log = open_log(disk)
        for _ in range(60):
            commands = [command(random) for _ in range(random.randrange(12))]
            append(log, commands)
            expected += commands
            assert log.next_seq == len(expected) + 1
        log.close([CHECK], time_ns=NOW)
    assert logged_commands(disk) == expected
    assert len(segments(disk)) > 10


def test_the_same_is_true_on_a_real_disk(tmp_path: Path) -> None:
    """Files, names, sizes and contents are those of the simulated disk."""
    simulated, real = SimulatedDisk(), RealDisk(str(tmp_path), power_cut)
    for disk in (simulated, real):
        log = open_log(disk)
        random = Random(2)
        for _ in range(60):
            append(log, [command(random) for _ in range(5)])
        log.close([CHECK], time_ns=NOW)
    assert {path: real.read(path) for path in simulated.image()} == simulated.image()
    assert real.list("reqlog") == simulated.list("reqlog")


def test_a_frame_is_on_disk_when_append_returns() -> None:
    """A power cut right after takes nothing that was appended."""
    for seed in range(20):
        disk = SimulatedDisk()
        log = open_log(disk)
        append(log, [order(n) for n in range(40)])
        disk.crash(Random(seed))
        assert logged_commands(disk) == [order(n) for n in range(40)]


def test_an_append_is_one_write_and_one_sync() -> None:
    """Nothing else touches the disk: the size, the name and the room were made before."""
    disk = SimulatedDisk()
    log = open_log(disk)
    before = disk.steps
    append(log, [order(1), order(2)])
    assert disk.steps - before == 2


def test_durability_os_does_not_sync_and_says_so_in_the_frames() -> None:
    """Flag bit 0 marks what was answered before it was safe; sealing syncs all the same."""
    disk = SimulatedDisk()
    log = open_log(disk, SMALL_UNSYNCED)
    before = disk.steps
    append(log, [order(1)])
    assert disk.steps - before == 1
    (segment,) = segments(disk)
    (frame,) = LogReader().frames(segment, disk.read(segment.path))
    assert frame.header.flags == codec.UNSYNCED
    log.roll(time_ns=NOW)
    disk.crash(Random(0))
    assert logged_commands(disk) == [order(1)]


def test_records_without_a_number_take_none() -> None:
    """A check behind two commands leaves the third sequence number to the next frame."""
    disk = SimulatedDisk()
    log = open_log(disk)
    log.append([*frame_of([order(1), order(2)]), CHECK], count=2, time_ns=NOW)
    log.append((), count=0, time_ns=NOW)
    assert log.next_seq == 3
    append(log, [order(3)])
    assert logged_commands(disk) == [order(1), order(2), order(3)]


def test_room_is_exact() -> None:
    """Records that fill the room to the byte fit; one byte more is refused and changes nothing."""
    disk = SimulatedDisk()
    log = open_log(disk)
    image = disk.image()
    with pytest.raises(ValueError, match="room"):
        log.append([b"x" * log.room], count=1, time_ns=NOW)
    assert disk.image() == image
    log.append([b"x" * (log.room - 1)], count=1, time_ns=NOW)
    assert log.room == 0


def test_an_idle_frame_fits_a_full_segment() -> None:
    """One empty frame always has a place behind the last one that has records, and the seal one behind that."""
    disk = SimulatedDisk()
    log = open_log(disk)
    append(log, [order(1)])
    log.append([b" " * (log.room - 1)], count=0, time_ns=NOW)
    log.append((), count=0, time_ns=NOW)
    with pytest.raises(ValueError, match="room"):
        log.append((), count=0, time_ns=NOW)
    log.roll([CHECK], time_ns=NOW)
    assert [type(record) for record in read_log(disk)][1:] == [codec.CheckRecord, codec.SealRecord]


def test_a_new_segment_has_the_room_it_promises() -> None:
    """`room_when_empty` is the room after a roll."""
    log = open_log(SimulatedDisk())
    append(log, [order(1)])
    log.roll(time_ns=NOW)
    assert log.room == log.room_when_empty


def test_a_roll_begins_the_next_segment_and_cuts_the_old() -> None:
    """The old one ends with check and seal, the new one has the next number and is empty. The cut comes later."""
    disk = SimulatedDisk()
    log = open_log(disk)
    append(log, [order(1)])
    log.roll([CHECK], time_ns=NOW)
    old, new = segments(disk)
    assert (new.header.number, new.header.first_seq, new.path) == (2, 2, log.segment_path)
    assert (log.segment_number, log.segment_has_records) == (2, False)
    assert disk.size(old.path) == disk.size(new.path) == SMALL.segment_bytes
    log.prepare_next()
    assert disk.size(old.path) == len(disk.read(old.path).rstrip(b"\0"))
    kinds = [type(record) for record in read_log(disk)]
    assert kinds == [codec.CommandRecord, codec.CheckRecord, codec.SealRecord]


def test_a_segment_left_uncut_by_a_crash_is_cut_by_the_next_program() -> None:
    """Or every crash would leave a whole segment's room behind."""
    disk = SimulatedDisk()
    log = open_log(disk)
    append(log, [order(1)])
    log.roll(time_ns=NOW)
    log = open_log(disk)
    log.prepare_next()
    old, _ = segments(disk)
    assert disk.size(old.path) == len(disk.read(old.path).rstrip(b"\0"))


def test_a_check_too_large_for_the_segment_is_left_out_of_the_seal() -> None:
    """The seal itself always fits."""
    disk = SimulatedDisk()
    log = open_log(disk)
    append(log, [order(1)])
    log.append([b" " * (log.room - 1)], count=0, time_ns=NOW)
    log.roll([codec.encode_check(NOW, bytes(16), {f"A{n}": n for n in range(2000)})], time_ns=NOW)
    assert isinstance(read_log(disk)[-1], codec.SealRecord)


def test_a_segment_without_records_is_not_sealed() -> None:
    """Its successor would have the same name."""
    disk = SimulatedDisk()
    log = open_log(disk)
    with pytest.raises(ValueError, match="without records"):
        log.roll(time_ns=NOW)
    log.close(time_ns=NOW)
    assert len(segments(disk)) == 1


def test_the_prepared_room_is_used_and_made_only_once() -> None:
    """A roll with room prepared writes no zeros."""
    disk = SimulatedDisk()
    log = open_log(disk)
    append(log, [order(1)])
    log.prepare_next()
    before = disk.steps
    log.prepare_next()
    assert disk.steps == before
    log.roll(time_ns=NOW)
    assert not disk.exists("reqlog/next.prealloc")


def test_prepared_room_of_another_size_is_made_again() -> None:
    """The configured size may have changed since."""
    disk = SimulatedDisk()
    log = open_log(disk)
    append(log, [order(1)])
    log.prepare_next()
    log = open_log(disk, ReqlogConfig(segment_bytes=32 * 1024))
    log.roll(time_ns=NOW)
    assert disk.size(log.segment_path) == 32 * 1024


def test_without_room_for_a_new_segment_the_old_one_goes_on() -> None:
    """NoSpace changes nothing; appends go on in what is left, and with room again the roll succeeds."""
    disk = SimulatedDisk()
    log = open_log(disk)
    append(log, [order(1)])
    disk.arm(Fault.NO_SPACE_PREALLOCATING)
    before = disk.image()
    with pytest.raises(NoSpace):
        log.roll(time_ns=NOW)
    assert disk.image() == before
    append(log, [order(2)])
    log.roll(time_ns=NOW)
    append(log, [order(3)])
    assert logged_commands(disk) == [order(1), order(2), order(3)]


def test_a_stop_without_room_is_logged_but_not_sealed() -> None:
    """The log then ends with the shutdown, and opens again as usual."""
    disk = SimulatedDisk()
    log = open_log(disk)
    append(log, [order(1)])
    disk.arm(Fault.NO_SPACE_PREALLOCATING)
    log.close([CHECK], time_ns=NOW)
    assert isinstance(read_log(disk)[-1], codec.ShutdownRecord)
    append(open_log(disk), [order(2)])
    assert logged_commands(disk) == [order(1), order(2)]


def test_a_stop_in_order_is_a_check_a_shutdown_and_the_seal() -> None:
    """And leaves an empty successor, where the next start goes on."""
    disk = SimulatedDisk()
    log = open_log(disk)
    append(log, [order(1)])
    log.close([CHECK], time_ns=NOW)
    kinds = [type(record) for record in read_log(disk)]
    assert kinds == [codec.CommandRecord, codec.CheckRecord, codec.ShutdownRecord, codec.SealRecord]
    log = open_log(disk)
    assert (log.segment_number, log.next_seq) == (2, 2)
    log.close([CHECK], time_ns=NOW)
    assert len(segments(disk)) == 2


def test_identity_and_epoch_stay() -> None:
    """The exchange id is drawn once; salts differ from segment to segment."""
    disk = SimulatedDisk()
    log = open_log(disk, seed=1)
    identity = log.exchange_id
    append(log, [order(1)])
    log.close(time_ns=NOW)
    log = open_log(disk, seed=2)
    assert (log.exchange_id, log.epoch) == (identity, 1)
    one, two = segments(disk)
    assert one.header.salt != two.header.salt


def test_a_newer_engine_goes_on_in_a_segment_of_its_own() -> None:
    """So that an older program refuses what the newer one wrote, and not only later."""
    disk = SimulatedDisk()
    append(open_log(disk), [order(1)])
    append(open_log(disk, engine_version=ENGINE_VERSION + 1), [order(2)])
    versions = [segment.header.engine_version for segment in segments(disk)]
    assert versions == [ENGINE_VERSION, ENGINE_VERSION + 1]
    assert logged_commands(disk) == [order(1), order(2)]


def test_a_newer_engine_takes_over_an_empty_segment() -> None:
    """A segment without records is begun again under the same name."""
    disk = SimulatedDisk()
    log = open_log(disk)
    append(log, [order(1)])
    log.close(time_ns=NOW)
    log = open_log(disk, engine_version=ENGINE_VERSION + 1)
    assert [segment.header.engine_version for segment in segments(disk)] == [ENGINE_VERSION, ENGINE_VERSION + 1]
    append(log, [order(2)])
    assert logged_commands(disk) == [order(1), order(2)]


@pytest.mark.parametrize("fault", [Fault.WRITE_ERROR, Fault.SHORT_WRITE, Fault.NO_SPACE_APPENDING, Fault.SYNC_ERROR])
def test_a_failing_disk_ends_the_process_unanswered(fault: Fault) -> None:
    """Append does not return, and what was appended before is all there."""
    for seed in range(10):
        disk = SimulatedDisk()
        log = open_log(disk)
        append(log, [order(1)])
        disk.arm(fault)
        with pytest.raises(PowerCut) as caught:
            append(log, [order(n) for n in range(2, 30)])
        assert caught.value.code == Exit.DISK_FAILED
        assert log.next_seq == 2
        disk.crash(Random(seed))
        open_log(disk)
        assert logged_commands(disk)[:1] == [order(1)]


def test_a_reader_stops_where_the_writer_said_the_log_stood() -> None:
    """Whatever is appended meanwhile is not its business, not even a frame it would see half written."""
    disk = SimulatedDisk()
    log = open_log(disk)
    append(log, [order(1)])
    end = log.position
    append(log, [order(2)])
    disk.rot(log.segment_path, codec.SEGMENT_HEADER_BYTES + 8 * 40)
    (segment,) = segments(disk)
    reader = LogReader(end)
    assert [frame.next_seq for frame in reader.frames(segment, disk.read(segment.path))] == [2]
    assert (reader.done, reader.position) == (True, end)


def test_a_reader_of_an_empty_log_is_done_at_once() -> None:
    """The beginning is a position like any other."""
    disk = SimulatedDisk()
    log = open_log(disk)
    (segment,) = segments(disk)
    reader = LogReader(log.position)
    assert list(reader.frames(segment, disk.read(segment.path))) == []
    assert reader.done


def test_a_reader_says_when_it_did_not_get_there() -> None:
    """`done` stays false when the log ends before the position it was told."""
    disk = SimulatedDisk()
    append(open_log(disk), [order(1)])
    (segment,) = segments(disk)
    reader = LogReader(Position(9, bytes(16)))
    assert len(list(reader.frames(segment, disk.read(segment.path)))) == 1
    assert not reader.done


def _roll_and_cut(log: Reqlog) -> None:
    log.roll([CHECK], time_ns=NOW)
    log.prepare_next()


ACTS: dict[str, Callable[[SimulatedDisk, Reqlog], object]] = {
    "roll": lambda _, log: log.roll([CHECK], time_ns=NOW),
    "roll, then cut": lambda _, log: _roll_and_cut(log),
    "close": lambda _, log: log.close([CHECK], time_ns=NOW),
    "open": lambda disk, _: open_log(disk),
    "upgrade": lambda disk, _: open_log(disk, engine_version=ENGINE_VERSION + 1),
}


def test_a_power_cut_at_any_step_of_rolling_and_stopping_loses_nothing() -> None:
    """Every step of a roll, a stop and an upgrade, cut before it, under several ways to lose what was unsynced."""
    cuts = 0
    for act in ACTS.values():
        for step in range(100):
            finished = False
            for seed in seeds(8, 100):
                disk = SimulatedDisk()
                log = open_log(disk)
                append(log, [order(1), order(2)])
                disk.cut_power_in(step)
                try:
                    act(disk, log)
                    finished = True
                except PowerCut:
                    cuts += 1
                disk.crash(Random(seed))
                append(open_log(disk, engine_version=ENGINE_VERSION + 1), [order(3)])
                assert logged_commands(disk) == [order(1), order(2), order(3)]
            if finished:
                break
    assert cuts > 200


def test_a_power_cut_while_the_first_segment_is_made_leaves_nothing_in_the_way() -> None:
    """The next start begins the log, or finds it begun."""
    for step in range(30):
        disk = SimulatedDisk()
        disk.cut_power_in(step)
        try:
            open_log(disk)
        except PowerCut:
            disk.crash(Random(step))
            append(open_log(disk, seed=1), [order(1)])
            assert logged_commands(disk) == [order(1)]
        else:
            assert step > 5
            return
    raise AssertionError("opening never finished")


@pytest.mark.parametrize("size", [4096, 8192, 16 * 1024 + 1, 2 * 1024**3])
def test_an_impossible_segment_size_is_refused(size: int) -> None:
    """Too small for a frame, no whole pages, or too large to be read at once."""
    with pytest.raises(ValueError, match="segment_bytes"):
        ReqlogConfig(segment_bytes=size)


def test_durability_is_one_of_two() -> None:
    """A misspelt mode is an error, not the default."""
    assert {mode.value for mode in Durability} == {"sync", "os"}
    with pytest.raises(TypeError):
        ReqlogConfig(durability="sometimes")  # type: ignore[arg-type]  # what a careless caller might pass


def test_a_frame_costs_little_beside_its_hash() -> None:
    """Per record, framing joins bytes and no more: under 2 µs each even on a slow day, hash included."""
    records = frame_of([order(n) for n in range(500)])
    best = min(_framing_seconds(records) for _ in range(20))
    assert best / len(records) < 2e-6


def _framing_seconds(records: list[bytes]) -> float:
    begin = time.perf_counter()
    codec.encode_frame(records, count=500, previous=bytes(16), salt=1, first_seq=1, time_ns=NOW, epoch=1)
    return time.perf_counter() - begin


def test_two_logs_opened_by_one_seed_are_the_same_to_the_byte() -> None:
    """Nothing but time and entropy from outside goes into the files."""
    images = []
    for _ in range(2):
        disk = SimulatedDisk()
        log = open_log(disk)
        append(log, [order(1)])
        log.close([CHECK], time_ns=NOW)
        images.append(disk.image())
    assert images[0] == images[1]

"""The offline tools: what they say of a sound log, of a torn one, of a damaged one, and what they cut."""

import itertools
from random import Random

import pytest

from book.commands import Command, DefineAccount, DefineKey, Tick
from book.definitions import Account, Key
from persistence import codec, offline
from persistence.exits import Damaged
from persistence.offline import CannotCutError
from persistence.segments import segments
from persistence.trail import Question
from tests.logs import NOW, SMALL, SMALL_UNSYNCED, append, logged_commands, open_log, order
from tests.simulation.disk import PowerCut, SimulatedDisk
from tests.test_replay import ToyEngine, deposit, log_amounts

CHECK = codec.encode_check(NOW, bytes(16), {"BTC": 1})


@pytest.fixture(name="disk")
def _disk() -> SimulatedDisk:
    """Ten frames of two orders, 20 to a segment, stopped in order."""
    disk = SimulatedDisk()
    log = open_log(disk)
    for n in range(0, 60, 2):
        append(log, [order(n), order(n + 1)])
        if n % 20 == 18:
            log.roll([CHECK], time_ns=NOW)
    log.append([codec.encode_refused(NOW, order(60), -2010, "INSUFFICIENT_BALANCE")], count=1, time_ns=NOW)
    log.close([CHECK], time_ns=NOW)
    return disk


def file_of(disk: SimulatedDisk, seq: int) -> str:
    """The segment that holds a sequence number."""
    return max(segment.path for segment in segments(disk) if segment.header.first_seq <= seq)


def offset_of(disk: SimulatedDisk, seq: int) -> int:
    """Where the frame with this sequence number begins."""
    return next(entry.offset for entry in offline.dump(disk) if entry.seq == seq)


# Verify ---------------------------------------------------------------------------------------------------------------


def test_a_sound_log_is_verified(disk: SimulatedDisk) -> None:
    """Everything in it is counted, and nothing is touched."""
    before = disk.image()
    progress: list[tuple[int, int]] = []
    verdict = offline.verify(disk, progress=lambda done, total: progress.append((done, total)))
    assert disk.image() == before
    assert verdict.damage is None
    assert (verdict.segments, verdict.frames, verdict.records, verdict.checks) == (5, 35, 61, 4)
    assert (verdict.last_seq, verdict.last_time_ns, verdict.stopped_in_order) == (61, NOW, True)
    assert (verdict.torn_bytes, verdict.unsynced_frames) == (0, 0)
    assert progress[0][0] == 0
    assert progress[-1][0] == progress[-1][1] == sum(disk.size(segment.path) for segment in segments(disk))


def test_a_log_of_a_killed_exchange_did_not_stop_in_order() -> None:
    """And frames under durability `os` are counted."""
    disk = SimulatedDisk()
    append(open_log(disk, SMALL_UNSYNCED), [order(1)])
    verdict = offline.verify(disk)
    assert (verdict.damage, verdict.stopped_in_order, verdict.unsynced_frames) == (None, False, 1)


def test_no_log_is_sound_and_empty() -> None:
    """There is nothing to be wrong."""
    assert offline.verify(SimulatedDisk()) == offline.Verdict()


def test_damage_is_located_with_what_lies_around_it(disk: SimulatedDisk) -> None:
    """The last sound sequence number before it, and the first whole frame behind."""
    path, offset = file_of(disk, 25), offset_of(disk, 25)
    disk.rot(path, offset + 100)
    damage = offline.verify(disk).damage
    assert damage is not None
    assert (damage.error.path, damage.error.offset) == (path, offset)
    assert (damage.sound_seq, damage.next_seq, damage.next_offset) == (24, 27, offset_of_next(disk, path, offset))


def offset_of_next(disk: SimulatedDisk, path: str, offset: int) -> int:
    """Where the frame behind the one at `offset` begins."""
    header = codec.decode_frame_header(disk.read(path), offset)
    assert header is not None
    return offset + codec.FRAME_HEADER_BYTES + header.length


def test_a_missing_segment_is_damage(disk: SimulatedDisk) -> None:
    """Nothing of what follows it is counted as proven."""
    disk.remove(file_of(disk, 30))
    damage = offline.verify(disk).damage
    assert damage is not None
    assert "one is missing" in str(damage.error)


def test_a_torn_tail_is_no_damage() -> None:
    """The next start keeps it aside; until then verify says how much it is."""
    disk = SimulatedDisk()
    log = open_log(disk)
    append(log, [order(1)])
    end = disk.read(log.segment_path).rstrip(b"\0")
    append(log, [order(n) for n in range(2, 30)])
    disk.overwrite(log.segment_path, len(end), bytes(512))
    verdict = offline.verify(disk)
    assert (verdict.damage, verdict.last_seq) == (None, 1)
    assert verdict.torn_bytes > 1000


@pytest.mark.parametrize(
    ("records", "count", "message"),
    [
        ([codec.encode_check(NOW, bytes(16), {})], 1, "out of place: CheckRecord"),
        ([codec.encode_command(NOW, Tick())], 0, "out of place: TickRecord"),
        ([codec.encode_seal(NOW), CHECK], 0, "the seal is not the last"),
        ([codec.encode_command(NOW - 1, Tick())], 1, "is earlier than the one before"),
        ([b"[8,1]"], 1, "is no record to this program"),
    ],
)
def test_frames_that_no_sound_program_writes_are_damage(records: list[bytes], count: int, message: str) -> None:
    """Rightly chained bytes with wrong records in them."""
    disk = SimulatedDisk()
    log = open_log(disk)
    append(log, [order(1)])
    log.append(records, count=count, time_ns=NOW)
    damage = offline.verify(disk).damage
    assert damage is not None
    assert message in str(damage.error)
    assert damage.sound_seq == 1


# Count, list, replay --------------------------------------------------------------------------------------------------


def test_a_log_is_counted(disk: SimulatedDisk) -> None:
    """By segment, kind, command and refusal."""
    stat = offline.stat(disk)
    assert [(row.number, row.first_seq, row.next_seq, row.frames, row.sealed) for row in stat.segments] == [
        (1, 1, 21, 11, True),
        (2, 21, 41, 11, True),
        (3, 41, 61, 11, True),
        (4, 61, 62, 2, True),
    ]
    assert stat.kinds == {"command": 60, "refused": 1, "check": 4, "seal": 4, "shutdown": 1}
    assert stat.commands == {"PlaceOrder": 60}
    assert stat.refusals == {"INSUFFICIENT_BALANCE": 1}
    assert stat.accounts == {1000 + n for n in range(7)}
    assert (stat.records, stat.frames, stat.empty_frames, stat.largest_frame_records) == (61, 35, 0, 3)
    assert stat.bytes == sum(disk.size(row.path) for row in stat.segments)
    assert (stat.first_time_ns, stat.last_time_ns) == (NOW, NOW)


def test_a_range_is_listed(disk: SimulatedDisk) -> None:
    """With the records that take no number where they stand; segments before it are not read."""
    disk.rot(file_of(disk, 1), 5000)
    entries = list(offline.dump(disk, first_seq=59, last_seq=60))
    assert [(entry.seq, type(entry.record).__name__) for entry in entries] == [
        (59, "CommandRecord"),
        (60, "CommandRecord"),
        (None, "CheckRecord"),
        (None, "SealRecord"),
    ]
    assert {entry.path for entry in entries} == {file_of(disk, 59)}


def test_one_account_is_listed_or_one_key() -> None:
    """Definitions of the account and its keys included."""
    disk = SimulatedDisk()
    commands: list[Command] = [
        DefineAccount(Account(1001, "a")),
        DefineKey(Key(5, "k", 1001, 7, "")),
        order(1),
        order(2),
        Tick(),
    ]
    append(open_log(disk), commands)
    assert [entry.seq for entry in offline.dump(disk, question=Question(account=1001))] == [1, 2, 3]
    assert [entry.seq for entry in offline.dump(disk, question=Question(key=5))] == [2]
    assert [entry.seq for entry in offline.dump(disk, question=Question(key=1, account=1002))] == [4]


def test_an_entry_is_described_by_names(disk: SimulatedDisk) -> None:
    """Plain values, definitions inside too."""
    first = next(offline.dump(disk)).described()
    assert (first["seq"], first["time_ns"], first["kind"], first["command"]) == (1, NOW, "command", "PlaceOrder")
    assert (first["symbol"], first["client_order_id"]) == ("BTCUSDT", "order-0")
    refused, check, shutdown, _ = (entry.described() for entry in offline.dump(disk, first_seq=61))
    assert (refused["kind"], refused["code"], refused["reason"]) == ("refused", -2010, "INSUFFICIENT_BALANCE")
    assert (check["seq"], check["digest"], check["totals"]) == (None, "00" * 16, {"BTC": 1})
    assert shutdown == {"seq": None, "time_ns": NOW, "kind": "shutdown"}
    other = SimulatedDisk()
    append(open_log(other), [DefineAccount(Account(1, "a"))])
    (entry,) = offline.dump(other)
    assert entry.described()["account"] == {"account": 1, "name": "a"}


def test_listing_a_damaged_log_gives_what_is_sound_before_it(disk: SimulatedDisk) -> None:
    """Then it raises."""
    disk.rot(file_of(disk, 25), offset_of(disk, 25) + 70)
    entries = offline.dump(disk)
    assert [entry.seq for entry in itertools.islice(entries, 20)] == list(range(1, 21))
    with pytest.raises(Damaged):
        list(entries)


def test_a_log_is_replayed() -> None:
    """Into an empty engine, checks compared."""
    disk, engine = SimulatedDisk(), ToyEngine()
    log = open_log(disk)
    for amount in (2, 4, 5):
        log_amounts(log, engine, [amount])
    replayed = ToyEngine()
    fold = offline.replay(disk, replayed)
    assert (fold.applied, fold.refused, fold.checks) == (2, 1, 3)
    assert replayed.totals() == engine.totals() == {"BTC": 6}
    append(log, [deposit(8), deposit(10)])
    log.append([CHECK], count=0, time_ns=NOW)
    with pytest.raises(Damaged, match="the check after sequence number 5"):
        offline.replay(disk, ToyEngine())


# Cut ------------------------------------------------------------------------------------------------------------------


def test_a_cut_keeps_what_it_cuts_and_the_log_goes_on(disk: SimulatedDisk) -> None:
    """Behind the frame asked for; the rest of the segment and all later ones stay in `.cut` files, to the byte."""
    before = disk.image()
    path, offset = file_of(disk, 26), offset_of(disk, 27)
    cut = offline.truncate(disk, 26)
    assert (cut.last_seq, cut.path, cut.offset) == (26, path, offset)
    assert f"{path}.{offset}.cut" in cut.kept_aside
    assert before[path] == disk.read(path, 0, offset) + disk.read(f"{path}.{offset}.cut")
    later = [name for name in before if name.endswith(".log") and name > path]
    assert all(disk.read(f"{name}.cut") == before[name] for name in later)
    assert len(later) == 3
    append(open_log(disk), [order(99)])
    assert logged_commands(disk) == [*(order(n) for n in range(26)), order(99)]


def test_damage_is_cut_off_behind_what_is_sound(disk: SimulatedDisk) -> None:
    """The way on after damage: at the last sound sequence number that verify names."""
    disk.rot(file_of(disk, 25), offset_of(disk, 25) + 70)
    with pytest.raises(CannotCutError, match="sound up to 24"):
        offline.truncate(disk, 30)
    offline.truncate(disk, 24)
    open_log(disk)
    assert logged_commands(disk) == [order(n) for n in range(24)]


@pytest.mark.parametrize("loss", ["missing", "header"])
def test_a_lost_segment_is_cut_off_with_the_seal_before_it(disk: SimulatedDisk, loss: str) -> None:
    """A seal promises a successor, so the segment before goes on itself, at its full size."""
    path = file_of(disk, 41)
    if loss == "missing":
        disk.remove(path)
    else:
        disk.rot(path, 48)
    offline.truncate(disk, 40)
    log = open_log(disk)
    assert (log.segment_path, disk.size(log.segment_path)) == (file_of(disk, 40), SMALL.segment_bytes)
    append(log, [order(99)])
    assert logged_commands(disk) == [*(order(n) for n in range(40)), order(99)]


def test_a_cut_inside_a_frame_is_refused(disk: SimulatedDisk) -> None:
    """With both places where it can be; nothing is touched."""
    before = disk.image()
    with pytest.raises(CannotCutError, match="25 is inside a frame of 25 to 26: cut behind 24 or behind 26"):
        offline.truncate(disk, 25)
    assert disk.image() == before


def test_a_cut_behind_the_end_is_refused_or_nothing(disk: SimulatedDisk) -> None:
    """Behind the last record there is nothing to cut, and behind that nothing at all."""
    with pytest.raises(CannotCutError, match="sound up to 61"):
        offline.truncate(disk, 62)
    before = disk.image()
    assert offline.truncate(disk, 61).kept_aside == ()
    assert disk.image() == before


def test_a_log_without_a_sound_beginning_cannot_be_cut(disk: SimulatedDisk) -> None:
    """Then only a backup helps."""
    disk.rot(file_of(disk, 1), 48)
    with pytest.raises(CannotCutError, match="no sound segment"):
        offline.truncate(disk, 10)


def test_a_cut_can_be_interrupted_at_any_step_and_done_again(disk: SimulatedDisk) -> None:
    """A power cut in between leaves a log that still stops, or is cut; the same command then finishes."""
    for step in range(60):
        other = disk.copy()
        other.cut_power_in(step)
        try:
            offline.truncate(other, 26)
        except PowerCut:
            other.crash(Random(step))
            offline.truncate(other, 26)
        else:
            assert step > 5
            break
        open_log(other)
        assert logged_commands(other) == [order(n) for n in range(26)]
    else:
        pytest.fail("a cut never finished")

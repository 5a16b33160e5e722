"""Taking snapshots and starting from them: snapshot and tail give what the whole log gives, to the byte."""

from random import Random

import pytest
from attrs import evolve
from structlog.testing import capture_logs

from book.commands import Tick
from book.engine import Engine
from persistence import codec, offline
from persistence.exits import Damaged
from persistence.pruning import always_copied, prune
from persistence.replay import Replay
from persistence.segments import LogReader, Position, paths, segments
from persistence.snapshot import hash_of, list_snapshots, read_footer, read_snapshot, write_snapshot
from persistence.snapshotting import NotAtCheck, begin_engine, segments_after, take_snapshot
from persistence.storage import Disk
from tests.counts import count, seeds
from tests.logs import NOW
from tests.recorded import Recorded, record, reopened
from tests.simulation.disk import SimulatedDisk


def started(disk: Disk) -> tuple[Engine, int]:
    """The engine as a start has it, and how many records were replayed for it."""
    engine, footer = begin_engine(disk)
    replay, reader = Replay(engine, after_seq=0 if footer is None else footer.seq), LogReader()
    for segment in segments_after(disk, footer):
        for frame in reader.frames(segment, disk.read(segment.path)):
            replay.feed(frame)
    return engine, replay.applied + replay.refused


def same(engine: Engine, other: Engine) -> bool:
    """Every byte of the state, and the digest of all that happened."""
    engine.check()
    return (engine.state_hash(), engine.digest.value()) == (other.state_hash(), other.digest.value())


def take(recorded: Recorded, until: Position) -> None:
    """Take a snapshot there, as fast as it goes."""
    take_snapshot(recorded.disk, until, throttle=lambda _written: None)


@pytest.mark.parametrize("seed", seeds(4, 100))
def test_snapshot_and_tail_give_what_the_whole_log_gives(seed: int) -> None:
    """Of wild histories with stops, timers and candles; each snapshot taken from the one before it."""
    recorded = record(SimulatedDisk(), seed, count(400, 3_000))
    whole, all_records = started(recorded.disk)
    assert same(whole, recorded.engine)
    random = Random(seed)
    replayed = [all_records]
    for place in sorted(random.sample(range(len(recorded.checked)), 4)):
        seq = recorded.snapshot(place)
        assert seq == recorded.checked[place].next_seq - 1
        engine, records = started(recorded.disk)
        assert same(engine, whole)
        replayed.append(records)
    assert replayed == sorted(replayed, reverse=True)
    assert replayed[-1] < all_records


@pytest.mark.parametrize("seed", seeds(2, 20))
def test_a_log_goes_on_behind_a_snapshot_as_if_there_were_none(seed: int) -> None:
    """Also when the log that it covers is gone."""
    recorded = record(SimulatedDisk(), seed, 600)
    for place in (-3, -2, -1):
        recorded.snapshot(place)
    assert prune(recorded.disk, keep=3, is_copied=always_copied).segments
    beheaded, _ = started(recorded.disk)
    assert same(beheaded, recorded.engine)
    assert segments(recorded.disk)[0].header.number > 1


def test_a_snapshot_says_where_in_the_log_it_was_taken() -> None:
    """Number, place, chain, digest and totals are those of the log's own check."""
    recorded = record(SimulatedDisk(), 5, 200)
    seq = recorded.snapshot()
    (file,) = list_snapshots(recorded.disk)
    found, log = read_snapshot(recorded.disk, file), recorded.log
    assert (found.seq, found.chain) == (seq, log.position.chain)
    assert (found.exchange_id, found.epoch, found.engine_version) == (log.exchange_id, log.epoch, 1)
    assert (found.digest, found.totals) == (recorded.engine.digest.value(), recorded.engine.totals())
    assert found.state == recorded.engine.dump()
    assert found.state_hash == recorded.engine.state_hash()
    frame = codec.decode_frame_header(recorded.disk.read(log.segment_path), found.offset)
    assert frame is not None
    assert (frame.chain, frame.time_ns) == (found.chain, found.time_ns)


def test_nothing_behind_the_place_is_looked_at() -> None:
    """The log is being written: what comes next may be half there."""
    recorded = record(SimulatedDisk(), 5, 200)
    assert isinstance(recorded.disk, SimulatedDisk)
    recorded.disk.overwrite(recorded.log.segment_path, recorded.log.offset, b"half a frame, perhaps")
    recorded.snapshot()
    assert [file.seq for file in list_snapshots(recorded.disk)] == [recorded.log.next_seq - 1]


def test_a_place_where_the_segment_has_just_begun() -> None:
    """The check stands in front of the seal of the one before."""
    recorded = record(SimulatedDisk(), 5, 200)
    digest, totals = recorded.engine.digest.value(), recorded.engine.totals()
    recorded.log.roll([codec.encode_check(NOW, digest, totals)], time_ns=NOW)
    recorded.checked.append(recorded.log.position)
    recorded.snapshot()
    assert same(started(recorded.disk)[0], recorded.engine)
    footer = read_footer(recorded.disk, list_snapshots(recorded.disk)[0])
    assert footer.segment == segments(recorded.disk)[-2].header.first_seq


def test_a_place_without_a_check_is_refused() -> None:
    """Nothing would prove the snapshot."""
    recorded = record(SimulatedDisk(), 5, 100)
    recorded.log.append([codec.encode_command(recorded.engine.last_time_ns, Tick())], count=1, time_ns=NOW)
    with pytest.raises(NotAtCheck, match="the log holds no check after number"):
        take(recorded, recorded.log.position)


def test_a_place_where_the_log_never_was_is_refused() -> None:
    """As when the process reads another log than the exchange writes."""
    recorded = record(SimulatedDisk(), 5, 100)
    with pytest.raises(Damaged, match="the log ends here, but it was written up to"):
        take(recorded, Position(recorded.log.next_seq, bytes(16)))
    assert list_snapshots(recorded.disk) == []


def test_a_log_that_replays_to_something_else_gives_no_snapshot() -> None:
    """A check that does not match is what snapshots are there to find."""
    recorded = record(SimulatedDisk(), 5, 100)
    recorded.log.append([codec.encode_check(NOW, bytes(16), {})], count=0, time_ns=NOW)
    with pytest.raises(Damaged, match="the check after sequence number"):
        take(recorded, recorded.log.position)


def test_a_bad_newest_snapshot_costs_a_longer_replay() -> None:
    """The next older one is taken; at last the whole log, where that is there."""
    recorded = record(SimulatedDisk(), 6, 300)
    disk = recorded.disk
    assert isinstance(disk, SimulatedDisk)
    for place in (5, len(recorded.checked) // 2, -1):
        recorded.snapshot(place)
    files = list_snapshots(disk)
    _, short = started(disk)
    disk.rot(files[-1].path, 5000)
    with capture_logs() as logs:
        engine, longer = started(disk)
    assert same(engine, recorded.engine)
    assert short < longer
    assert [event["log_level"] for event in logs] == ["warning"]
    disk.rot(files[1].path, 5000)
    disk.rot(files[0].path, 5000)
    engine, all_records = started(disk)
    assert same(engine, recorded.engine)
    assert all_records == recorded.log.next_seq - 1 > longer


def test_a_snapshot_that_cannot_be_loaded_is_passed_over() -> None:
    """Good in every byte, and yet no state: a bug of the program that wrote it."""
    recorded = record(SimulatedDisk(), 6, 100)
    recorded.snapshot(0)
    recorded.snapshot()
    newest = read_snapshot(recorded.disk, list_snapshots(recorded.disk)[-1])
    for rubbish in (b"", b"rubbish", newest.state[:-1]):
        write_snapshot(recorded.disk, evolve(newest, state=rubbish, state_hash=hash_of(rubbish)))
        with capture_logs() as logs:
            engine, _ = started(recorded.disk)
        assert same(engine, recorded.engine)
        ((event),) = logs
        assert "not an engine's state" in event["reason"]


def test_a_beheaded_log_without_a_good_snapshot_stops() -> None:
    """A clear message, and nothing touched."""
    recorded = record(SimulatedDisk(), 6, 300)
    disk = recorded.disk
    assert isinstance(disk, SimulatedDisk)
    for place in (-3, -2, -1):
        recorded.snapshot(place)
    prune(disk, keep=3, is_copied=always_copied)
    for file in list_snapshots(disk):
        disk.rot(file.path, 200)
    with pytest.raises(Damaged, match="the log begins here, and there is no good snapshot"):
        started(disk)


# The offline tools ----------------------------------------------------------------------------------------------------


@pytest.fixture
def beheaded() -> Recorded:
    """A log whose beginning only snapshots know."""
    recorded = record(SimulatedDisk(), 7, 400)
    for place in (-9, -5, -1):
        recorded.snapshot(place)
    assert prune(recorded.disk, keep=3, is_copied=always_copied).segments
    return recorded


def test_verify_counts_from_where_the_log_begins(beheaded: Recorded) -> None:
    """All that is there is proven, snapshots too."""
    verdict = offline.verify(beheaded.disk)
    first = segments(beheaded.disk)[0].header.first_seq
    assert (verdict.damage, verdict.bad_snapshots) == (None, [])
    assert (verdict.first_seq, verdict.last_seq) == (first, beheaded.log.next_seq - 1)
    assert verdict.records == beheaded.log.next_seq - first
    assert (verdict.snapshots, verdict.newest_snapshot_seq) == (3, beheaded.log.next_seq - 1)


def test_verify_names_bad_snapshots(beheaded: Recorded) -> None:
    """One bad one of three is no damage of the log; three are, where its beginning is gone."""
    assert isinstance(beheaded.disk, SimulatedDisk)
    files = list_snapshots(beheaded.disk)
    beheaded.disk.rot(files[1].path, 100)
    verdict = offline.verify(beheaded.disk)
    assert (verdict.damage, verdict.snapshots) == (None, 2)
    assert verdict.bad_snapshots == [f"{files[1].path}, offset 16: section 0 is not what was written"]
    beheaded.disk.rot(files[0].path, 100)
    beheaded.disk.rot(files[2].path, 100)
    damage = offline.verify(beheaded.disk).damage
    assert damage is not None
    assert "no good snapshot to stand for what came before" in str(damage.error)


def test_replay_begins_with_the_oldest_snapshot_where_the_beginning_is_gone(beheaded: Recorded) -> None:
    """It proves the most; an unbroken log is replayed from its beginning."""
    engine, footer = offline.begin_replay(beheaded.disk)
    assert footer is not None
    assert footer.seq == list_snapshots(beheaded.disk)[0].seq
    fold = offline.replay(beheaded.disk, engine, begun_with=footer)
    assert same(engine, beheaded.engine)
    assert fold.last_seq == beheaded.log.next_seq - 1
    assert offline.begin_replay(record(SimulatedDisk(), 7, 20).disk)[1] is None


def test_listing_and_counting_take_what_is_there(beheaded: Recorded) -> None:
    """From where the log begins."""
    first = segments(beheaded.disk)[0].header.first_seq
    assert offline.first_seq(beheaded.disk) == first
    assert next(entry.seq for entry in offline.dump(beheaded.disk)) == first
    assert offline.stat(beheaded.disk).records == beheaded.log.next_seq - first


def test_a_cut_takes_the_snapshots_of_what_it_cuts(beheaded: Recorded) -> None:
    """They stay beside the others in `.cut` files, and the log starts."""
    disk = beheaded.disk
    keep = beheaded.checked[-5]
    oldest, middle, newest = list_snapshots(disk)
    cut = offline.truncate(disk, keep.next_seq - 1)
    assert list_snapshots(disk) == [oldest, middle]
    assert f"{newest.path}.cut" in cut.kept_aside
    assert started(disk)[0].last_seq <= keep.next_seq - 1
    assert offline.verify(disk).damage is None


def test_a_cut_that_leaves_no_snapshot_for_a_beheaded_log_is_refused(beheaded: Recorded) -> None:
    """Nothing could start from what it leaves."""
    assert isinstance(beheaded.disk, SimulatedDisk)
    before = beheaded.disk.image()
    oldest = list_snapshots(beheaded.disk)[0]
    boundary = next(
        entry.seq - 1
        for entry in offline.dump(beheaded.disk)
        if entry.seq is not None and entry.seq > offline.first_seq(beheaded.disk) and entry.offset != 4096
    )
    assert boundary < oldest.seq
    with pytest.raises(offline.CannotCutError, match="no snapshot up to"):
        offline.truncate(beheaded.disk, boundary)
    assert beheaded.disk.image() == before


def test_a_beheaded_log_opens_and_goes_on(beheaded: Recorded) -> None:
    """Recovery walks it from the segment of the newest snapshot."""
    disk = beheaded.disk
    assert paths(disk)[0] != "reqlog/00000000000000000001.log"
    again = Recorded(disk, reopened(disk), started(disk)[0])
    again.apply([(Tick(), again.engine.last_time_ns)], Random(0))
    assert same(started(disk)[0], again.engine)


def test_money_out_of_nothing_gives_no_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    """The differences are told instead: what makes or loses money must not be what a start goes on from."""
    disk = SimulatedDisk()
    recorded = record(disk, 1, 100)
    until = recorded.checked[-1]
    sound = take_snapshot(disk, until, throttle=lambda _written: None)
    assert sound.differences
    assert not any(sound.differences.values())
    monkeypatch.setattr(Engine, "differences", lambda _engine: {"BTC": 1})
    before = disk.image()
    assert take_snapshot(disk, until, throttle=lambda _written: None).differences == {"BTC": 1}
    assert disk.image() == before


def test_a_replay_ends_where_it_is_told_to() -> None:
    """In the middle of a frame too, with the state of exactly so many records; and it can go on from there."""
    recorded = record(SimulatedDisk(), 3, 120)
    hashes = []
    last = recorded.log.next_seq - 1
    for until in range(1, last + 1, 7):
        engine = Engine()
        fold = offline.replay(recorded.disk, engine, until_seq=until)
        assert (fold.last_seq, fold.applied + fold.refused) == (until, until)
        hashes.append(engine.state_hash())
    assert len(set(hashes)) > len(hashes) // 2
    engine = Engine()
    assert offline.replay(recorded.disk, engine, until_seq=last + 100).last_seq == last
    assert same(engine, recorded.engine)

"""Restoring from a cold backup: the same state, in a new epoch, at a standstill; and nothing that starts half done."""

from random import Random

import msgspec
import pytest
from attrs import evolve

from book.commands import SetMarketState
from book.engine import Engine
from book.events import Rejected
from book.queries import Directory, DirectoryView, Info, InfoView
from book.terms import HALT, POST_ONLY, TRADING
from persistence import offline, restore
from persistence.backup import Courier
from persistence.exits import BadBackup, Damaged
from persistence.manifest import SnapshotCopy
from persistence.object_store import ObjectStore
from persistence.replay import Replay
from persistence.restore import Restored
from persistence.segments import IDENTITY, LogReader, path_of, segments
from persistence.snapshot import encode, good_snapshots, hash_of, list_snapshots, read_snapshot
from tests.backups import MARKETS, LoggedExchange, flip, memory, sealed_exchange
from tests.counts import count
from tests.exchange import buy
from tests.logs import NOW, open_log
from tests.simulation.disk import PowerCut, SimulatedDisk

LATER = NOW + 10**12


def restored(store: ObjectStore, disk: SimulatedDisk, begin: SnapshotCopy | None = None) -> Restored:
    """What `backup restore` does."""
    return restore.restore(
        store, restore.choose(store), disk, begin=begin, time_ns=LATER, entropy=Random("restore").randbytes
    )


def replayed(disk: SimulatedDisk) -> Engine:
    """The engine that a start on this disk has; proven."""
    engine = Engine()
    offline.replay(disk, engine)
    engine.check()
    return engine


# The records of a new epoch: that it begins, that withdrawals are paused, and the halts.
STANDSTILL = 2 + len(MARKETS)


def states(engine: Engine) -> dict[str, int]:
    """Of every market."""
    view = engine.query(Directory())
    assert isinstance(view, DirectoryView)
    return {status.market.symbol: status.state for status in view.markets}


def test_a_restored_exchange_has_the_same_state_and_stands_still() -> None:
    """The state hash is that of the state that was copied; then every market is halted, and nothing else happens."""
    exchange, store, disk = sealed_exchange(3), memory(), SimulatedDisk()
    exchange.back_up(store)
    done = restored(store, disk)
    assert done.state_hash == exchange.engine.state_hash()
    assert done.halted == tuple(market.symbol for market in MARKETS)
    engine = replayed(disk)
    assert states(engine) == {market.symbol: HALT for market in MARKETS}
    assert engine.last_seq == exchange.last_seq + STANDSTILL
    assert engine.last_time_ns == exchange.time_ns
    assert engine.totals() == exchange.engine.totals()
    refused = engine.apply(buy(1, 1, 100), engine.last_seq + 1, LATER)
    assert isinstance(refused, Rejected)
    assert refused.reason == "MARKET_CLOSED"
    info = engine.query(Info())
    assert isinstance(info, InfoView)
    assert (info.epoch, info.withdrawals_paused) == (done.epoch, True)


def test_a_restored_log_goes_on_in_a_new_epoch() -> None:
    """It is sound, belongs to the same exchange, and what is written from now on says that it is another course."""
    exchange, store, disk = sealed_exchange(3), memory(), SimulatedDisk()
    exchange.back_up(store)
    done = restored(store, disk)
    assert (done.epoch, exchange.log.epoch) == (2, 1)
    verdict = offline.verify(disk)
    assert verdict.damage is None
    assert verdict.last_seq == exchange.last_seq + STANDSTILL
    log = open_log(disk, seed=7)
    assert (log.epoch, log.exchange_id, log.next_seq) == (2, exchange.log.exchange_id, verdict.last_seq + 1)
    assert disk.read(IDENTITY).decode("ascii").strip() == exchange.exchange_id
    log.roll(time_ns=LATER)
    assert log.epoch == 2
    assert [segment.header.epoch for segment in segments(disk)] == [1, 1, 1, 2, 2]


def test_the_files_are_those_that_were_copied() -> None:
    """To the byte, down to the seal."""
    exchange, store, disk = sealed_exchange(3), memory(), SimulatedDisk()
    exchange.back_up(store)
    restored(store, disk)
    for segment in segments(exchange.disk)[:3]:
        assert exchange.disk.read(segment.path).rstrip(b"\0") == disk.read(segment.path)


def test_an_operator_resumes_a_restored_exchange() -> None:
    """Trading goes on as it would have."""
    exchange, store, disk = sealed_exchange(3), memory(), SimulatedDisk()
    exchange.back_up(store)
    restored(store, disk)
    engine = replayed(disk)
    events = engine.apply(SetMarketState(MARKETS[0].symbol, TRADING), engine.last_seq + 1, LATER)
    assert not isinstance(events, Rejected)
    assert not isinstance(engine.apply(buy(1, 1, 100), engine.last_seq + 1, LATER), Rejected)


def test_markets_that_are_halted_need_no_command() -> None:
    """Where all are, the log says only what the state is; one that takes little is halted too."""
    exchange, store, disk = LoggedExchange(), memory(), SimulatedDisk()
    exchange.begin()
    exchange.do(*(SetMarketState(market.symbol, HALT) for market in MARKETS))
    exchange.seal()
    exchange.back_up(store)
    assert restored(store, disk).halted == ()
    assert replayed(disk).last_seq == exchange.last_seq + STANDSTILL - len(MARKETS)
    exchange.do(SetMarketState(MARKETS[1].symbol, POST_ONLY))
    exchange.seal()
    exchange.back_up(store)
    assert restored(store, SimulatedDisk()).halted == (MARKETS[1].symbol,)


def test_the_last_record_may_have_been_refused() -> None:
    """Time goes on from it, not from the last one that took effect."""
    exchange, store, disk = sealed_exchange(2), memory(), SimulatedDisk()
    exchange.do(buy(1, 0, 0))
    exchange.seal()
    exchange.back_up(store)
    done = restored(store, disk)
    assert done.proof.last_time_ns == exchange.time_ns > exchange.engine.last_time_ns
    assert offline.verify(disk).damage is None


# Epochs ---------------------------------------------------------------------------------------------------------------


def test_every_restored_course_gets_an_epoch_of_its_own() -> None:
    """As soon as the one before has begun its own backup; and each backup stays sound, whoever goes on with it."""
    exchange, store, disk = sealed_exchange(3), memory(), SimulatedDisk()
    exchange.back_up(store)
    restored(store, disk)
    course = LoggedExchange(disk)
    course.engine, course.time_ns = replayed(disk), LATER
    course.do(SetMarketState(MARKETS[0].symbol, TRADING))
    course.trade()
    course.seal()
    second = course.back_up(store)
    assert second.epoch == 2
    assert [copy.epoch for copy in second.segments] == [1, 1, 1, 2]
    # The one that should have stopped goes on, and copies too.
    exchange.trade()
    exchange.seal()
    first = exchange.back_up(store)
    assert (first.epoch, len(first.segments)) == (1, 4)
    for current, engine in ((first, exchange.engine), (second, course.engine)):
        assert restore.prove(store, current).engine.state_hash() == engine.state_hash()
    assert restored(store, SimulatedDisk()).epoch == 3


# Snapshots ------------------------------------------------------------------------------------------------------------


def with_snapshots() -> tuple[LoggedExchange, ObjectStore]:
    """Backed up with two snapshots, the last one in the last segment but one."""
    exchange, store = sealed_exchange(3), memory()
    exchange.trade()
    exchange.snapshot()
    exchange.trade()
    exchange.seal()
    exchange.back_up(store)
    exchange.trade()
    exchange.snapshot()
    exchange.trade()
    exchange.seal()
    exchange.trade()
    exchange.seal()
    exchange.back_up(store)
    return exchange, store


def test_a_restore_may_begin_with_a_snapshot() -> None:
    """Then only the segments from its own on are there, it is proven by them, and a start finds its way."""
    exchange, store = with_snapshots()
    current, disk = restore.choose(store), SimulatedDisk()
    last = restore.last_snapshot(current)
    assert last == current.snapshots[1]
    done = restored(store, disk, last)
    assert done.state_hash == exchange.engine.state_hash()
    assert done.proof.snapshots == 1
    assert [segment.header.number for segment in segments(disk)] == [5, 6, 7]
    (good,) = good_snapshots(disk)
    assert good.seq == last.seq
    engine = Engine.load(good.state)
    fold = Replay(engine, after_seq=good.seq)
    reader = LogReader()
    for segment in segments(disk):
        for frame in reader.frames(segment, disk.read(segment.path)):
            fold.feed(frame)
    assert states(engine) == {market.symbol: HALT for market in MARKETS}
    assert fold.last_seq == exchange.last_seq + STANDSTILL


def test_the_whole_log_proves_every_snapshot() -> None:
    """Each against the state at its number."""
    exchange, store = with_snapshots()
    proof = restore.prove(store, restore.choose(store))
    assert proof.snapshots == 2
    assert proof.engine.state_hash() == exchange.engine.state_hash()


def test_a_backup_that_begins_late_needs_its_snapshot() -> None:
    """The log's beginning was pruned before there was a target: the oldest snapshot stands for it."""
    exchange, store = with_snapshots()
    current = restore.choose(store)
    assert restore.needed_snapshot(current) is None
    late = msgspec.structs.replace(current, segments=current.segments[4:])
    assert restore.needed_snapshot(late) == current.snapshots[1]
    assert restore.prove(store, late, begin=current.snapshots[1]).engine.state_hash() == exchange.engine.state_hash()
    with pytest.raises(BadBackup, match="no snapshot stands for the rest"):
        restore.prove(store, late)
    none = msgspec.structs.replace(late, snapshots=())
    assert restore.needed_snapshot(none) is None
    assert restore.last_snapshot(none) is None


def test_a_snapshot_of_another_state_is_refused() -> None:
    """Though it is whole, and its digests are right: the log gives another one."""
    exchange, store = with_snapshots()
    current = restore.choose(store)
    first, last = current.snapshots
    (file, _) = list_snapshots(exchange.disk)
    other = Engine().dump()
    forged = evolve(read_snapshot(exchange.disk, file), state=other, state_hash=hash_of(other))
    courier = Courier(store, exchange.disk, 3)
    lie = SnapshotCopy(
        courier.deposit("forged", b"".join(encode(forged))), first.seq, first.segment, hash_of(other).hex()
    )
    with pytest.raises(BadBackup, match="the log does not replay to this state") as refusal:
        restore.prove(store, msgspec.structs.replace(current, snapshots=(lie, last)))
    assert refusal.value.name == "forged"
    lie = msgspec.structs.replace(first, object=last.object)
    with pytest.raises(BadBackup, match=r"another snapshot than the manifest says|no snapshot"):
        restore.prove(store, msgspec.structs.replace(current, snapshots=(lie, last)))


# Cut off --------------------------------------------------------------------------------------------------------------


def test_a_restore_that_is_cut_off_does_not_start() -> None:
    """Wherever the power goes: there is no segment at all, or a start stops; or all is done, and it stands still."""
    exchange, store = sealed_exchange(2), memory()
    exchange.back_up(store)
    whole = SimulatedDisk()
    restored(store, whole)
    finished = 0
    for steps in range(whole.steps):
        for seed in range(count(8, 50)):
            disk = SimulatedDisk()
            disk.cut_power_in(steps)
            try:
                restored(store, disk)
            except PowerCut:
                disk.crash(Random(seed))
            if not disk.list("reqlog"):
                continue
            if path_of(exchange.last_seq + 1) in disk.image():
                finished += 1
                assert set(states(replayed(disk)).values()) == {HALT}
                assert open_log(disk).epoch == 2
            else:
                with pytest.raises(Damaged):
                    open_log(disk)
    assert finished


def test_damage_leaves_nothing_that_starts() -> None:
    """What was proven before it is there, and not more."""
    exchange, store, disk = sealed_exchange(3), memory(), SimulatedDisk()
    current = exchange.back_up(store)
    flip(store, current.segments[2].object.name, 100)
    with pytest.raises(BadBackup, match=current.segments[2].object.name):
        restored(store, disk)
    with pytest.raises(Damaged):
        open_log(disk)

"""Folding a log into an engine: everything once and in order, and the checks in the log prove it."""

import pytest

from book.codes import ORDER_REJECTED
from book.commands import Command, CreditDeposit
from book.digest import RollingDigest
from book.events import Credited, Event, Rejected
from persistence import codec
from persistence.exits import Damaged, Exit
from persistence.replay import RECORDS_PER_STEP, Replay
from persistence.reqlog import Reqlog, ReqlogConfig
from persistence.segments import Frame, LogReader, segments
from tests.logs import NOW, open_log
from tests.simulation.disk import SimulatedDisk


class ToyEngine:
    """Adds up deposits; an odd amount is refused."""

    def __init__(self) -> None:
        self.digest = RollingDigest()
        self.seen: list[tuple[int, int]] = []
        self.balance = 0

    def apply(self, command: Command, seq: int, time_ns: int) -> list[Event] | Rejected:
        """One event, or a refusal that changes nothing."""
        if not isinstance(command, CreditDeposit):
            raise TypeError(type(command))
        if command.amount % 2:
            return Rejected(ORDER_REJECTED, "ODD")
        self.seen.append((seq, time_ns))
        self.balance += command.amount
        return [Credited(command.deposit_id, command.account, command.asset, command.amount, seq)]

    def totals(self) -> dict[str, int]:
        """The one asset there is."""
        return {"BTC": self.balance}


def deposit(amount: int) -> CreditDeposit:
    """A deposit of so much."""
    return CreditDeposit(f"id {amount}", 1, "BTC", amount)


def log_amounts(log: Reqlog, engine: ToyEngine, amounts: list[int], *, check: bool = True) -> None:
    """Apply the deposits and log what became of them in one frame, with a check."""
    records, events = [], []
    for index, amount in enumerate(amounts):
        seq = log.next_seq + index
        outcome = engine.apply(deposit(amount), seq, NOW + seq)
        if isinstance(outcome, Rejected):
            records.append(codec.encode_refused(NOW + seq, deposit(amount), outcome.code, outcome.reason))
        else:
            events += outcome
            records.append(codec.encode_command(NOW + seq, deposit(amount)))
    engine.digest.update(events)
    if check:
        records.append(codec.encode_check(NOW, engine.digest.value(), engine.totals()))
    log.append(records, count=len(amounts), time_ns=NOW)


def frames(disk: SimulatedDisk) -> list[Frame]:
    """All frames of the log."""
    reader = LogReader()
    return [frame for segment in segments(disk) for frame in reader.frames(segment, disk.read(segment.path))]


def logged(batches: list[list[int]]) -> tuple[SimulatedDisk, ToyEngine]:
    """A log of these batches, and the engine that made it."""
    disk, engine = SimulatedDisk(), ToyEngine()
    log = open_log(disk, ReqlogConfig(segment_bytes=256 * 1024))
    for batch in batches:
        log_amounts(log, engine, batch)
    return disk, engine


def test_a_replay_rebuilds_the_engine() -> None:
    """Same sequence numbers, times, totals and digest; refusals are passed over but count as records."""
    disk, engine = logged([[2, 4, 5], [], [6], [7, 8]])
    replayed = ToyEngine()
    replay = Replay(replayed)
    for frame in frames(disk):
        replay.feed(frame)
    assert replayed.seen == engine.seen
    assert (replayed.totals(), replayed.digest.value()) == (engine.totals(), engine.digest.value())
    assert (replay.applied, replay.refused, replay.checks) == (4, 2, 4)
    assert (replay.last_seq, replay.last_time_ns) == (6, NOW + 6)


def test_a_long_frame_is_replayed_in_steps() -> None:
    """Whoever must not hold up the loop gets it back after every RECORDS_PER_STEP records."""
    amounts = list(range(2, 2 + 4 * RECORDS_PER_STEP, 2))
    disk, engine = logged([amounts])
    (frame,) = frames(disk)
    replayed = ToyEngine()
    seen = [len(replayed.seen) for _ in Replay(replayed).steps(frame)]
    assert seen == [RECORDS_PER_STEP, 2 * RECORDS_PER_STEP]
    assert replayed.digest.value() == engine.digest.value()


def test_a_replay_goes_on_from_a_snapshot() -> None:
    """What the engine already holds is passed over, also when that ends within a frame."""
    disk, engine = logged([[2, 4], [6, 8, 10], [12]])
    begun = ToyEngine()
    events: list[Event] = []
    for seq, amount in enumerate([2, 4, 6], 1):
        outcome = begun.apply(deposit(amount), seq, NOW + seq)
        assert isinstance(outcome, list)
        events += outcome
    begun.digest.update(events)
    replay = Replay(begun, after_seq=3)
    for frame in frames(disk):
        replay.feed(frame)
    assert begun.seen == engine.seen
    assert (replay.applied, replay.checks) == (3, 2)


def test_the_check_at_the_snapshot_itself_is_compared() -> None:
    """It says whether the snapshot belongs to this log."""
    disk, _ = logged([[2], [4]])
    with pytest.raises(Damaged, match="the check after sequence number 1 says"):
        Replay(ToyEngine(), after_seq=1).feed(frames(disk)[0])


def test_a_gap_before_a_frame_stops() -> None:
    """An engine that misses records must not go on."""
    disk, _ = logged([[2], [4]])
    with pytest.raises(Damaged, match="it begins at 2, but the engine has only what came up to 0"):
        Replay(ToyEngine()).feed(frames(disk)[1])


def test_another_digest_than_the_logs_stops() -> None:
    """An engine that makes other events of the same commands is not this exchange."""

    class Other(ToyEngine):
        def apply(self, command: Command, seq: int, time_ns: int) -> list[Event] | Rejected:
            return super().apply(command, seq + 1, time_ns)

    disk, _ = logged([[2]])
    with pytest.raises(Damaged, match="the check after sequence number 1 says") as caught:
        Replay(Other()).feed(frames(disk)[0])
    assert caught.value.exit_code is Exit.DATA_DAMAGED


def test_other_totals_than_the_logs_stop() -> None:
    """The same events with other balances are as wrong."""

    class Other(ToyEngine):
        def totals(self) -> dict[str, int]:
            return {"BTC": 3}

    disk, _ = logged([[2]])
    with pytest.raises(Damaged, match=r"the replay gives \{'BTC': 3\}"):
        Replay(Other()).feed(frames(disk)[0])


def test_a_command_that_is_now_refused_stops() -> None:
    """It took effect when it was logged."""

    class Strict(ToyEngine):
        def apply(self, command: Command, seq: int, time_ns: int) -> list[Event] | Rejected:
            del command, seq, time_ns
            return Rejected(ORDER_REJECTED, "NO_MORE")

    disk, _ = logged([[2]])
    with pytest.raises(Damaged, match="number 1 took effect when it was logged, and is refused now: NO_MORE"):
        Replay(Strict()).feed(frames(disk)[0])


def test_an_exception_out_of_the_engine_says_where_the_replay_was() -> None:
    """A bug in the engine stays its own exception, with a note."""

    class Buggy(ToyEngine):
        def apply(self, command: Command, seq: int, time_ns: int) -> list[Event] | Rejected:
            if seq == 2:
                raise ZeroDivisionError
            return super().apply(command, seq, time_ns)

    disk, _ = logged([[2, 4]])
    with pytest.raises(ZeroDivisionError) as caught:
        Replay(Buggy()).feed(frames(disk)[0])
    assert caught.value.__notes__ == ["while replaying what follows sequence number 1"]


def test_a_record_that_takes_no_number_among_the_numbered_stops() -> None:
    """The count in the header and the records contradict each other."""
    disk = SimulatedDisk()
    open_log(disk).append([codec.encode_shutdown(NOW)], count=1, time_ns=NOW)
    with pytest.raises(Damaged, match="ShutdownRecord has sequence number 1"):
        Replay(ToyEngine()).feed(frames(disk)[0])


def test_fewer_records_than_announced_stop() -> None:
    """As written, but not by a sound program."""
    disk = SimulatedDisk()
    open_log(disk).append([codec.encode_shutdown(NOW)], count=2, time_ns=NOW)
    with pytest.raises(Damaged, match="1 records, but 2 are announced"):
        Replay(ToyEngine()).feed(frames(disk)[0])

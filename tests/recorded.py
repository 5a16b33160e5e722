"""Logs of real engines for tests: a wild history, written down with checks in many small segments."""

from collections.abc import Iterable
from random import Random

from attrs import define, field

from book.commands import Command
from book.engine import ENGINE_VERSION, Engine
from book.events import Rejected
from persistence import codec
from persistence.reqlog import Reqlog, ReqlogConfig
from persistence.segments import Position
from persistence.snapshot import needless_seq, publish
from persistence.snapshotting import take_snapshot
from persistence.storage import Disk
from tests.logs import NOW
from tests.test_engine_wild import history

SEGMENTS = ReqlogConfig(segment_bytes=32 * 1024)


@define
class Recorded:
    """A log, the engine that it came of, and the places where it holds a check."""

    disk: Disk
    log: Reqlog
    engine: Engine = field(factory=Engine)
    checked: list[Position] = field(factory=list)

    def apply(self, commands: Iterable[tuple[Command, int]], random: Random) -> None:
        """Apply commands at their times and log them, a few in a frame, some frames with a check."""
        records: list[bytes] = []
        for command, time_ns in commands:
            seq = self.log.next_seq + len(records)
            record = self._applied(command, seq, time_ns)
            if record is not None:
                records.append(record)
            if len(records) >= random.randint(1, 12):
                self._append(records, time_ns, check=random.random() < 0.2)
                records = []
        self._append(records, self.engine.last_time_ns, check=True)

    def _applied(self, command: Command, seq: int, time_ns: int) -> bytes | None:
        """The record of it; None for a command that no client could have sent."""
        try:
            codec.encode_command(time_ns, command)
        except UnicodeEncodeError:
            return None
        outcome = self.engine.apply(command, seq, time_ns)
        if isinstance(outcome, Rejected):
            return codec.encode_refused(time_ns, command, outcome.code, outcome.reason)
        self.engine.digest.update(outcome)
        return codec.encode_command(time_ns, command)

    def _append(self, records: list[bytes], time_ns: int, *, check: bool) -> None:
        count = len(records)
        if check:
            digest, totals = self.engine.digest.value(), self.engine.totals()
            records = [*records, codec.encode_check(self.engine.last_time_ns, digest, totals)]
        if sum(map(len, records)) + len(records) > self.log.room:
            self.log.roll(time_ns=time_ns)
        self.log.append(records, count=count, time_ns=time_ns)
        if check:
            self.checked.append(self.log.position)

    def snapshot(self, place: int = -1) -> int:
        """Take one at the check of this index; its number."""
        taken = take_snapshot(self.disk, self.checked[place], throttle=lambda _written: None)
        publish(self.disk, taken.path)
        return taken.seq


def record(disk: Disk, seed: int, steps: int, config: ReqlogConfig = SEGMENTS) -> Recorded:
    """A log of a wild history."""
    random = Random(seed)
    log = Reqlog.open(disk, config, engine_version=ENGINE_VERSION, entropy=random.randbytes, time_ns=NOW)
    recorded = Recorded(disk, log)
    recorded.apply(history(seed, steps), random)
    return recorded


def reopened(disk: Disk) -> Reqlog:
    """The log as the next start opens it."""
    return Reqlog.open(
        disk,
        SEGMENTS,
        engine_version=ENGINE_VERSION,
        entropy=Random(1).randbytes,
        time_ns=NOW,
        covered_seq=needless_seq(disk),
    )

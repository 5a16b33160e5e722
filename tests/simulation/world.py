"""The outside of the exchange, simulated: clocks on virtual time, blocking work done inline, randomness from a seed."""

from collections.abc import Callable
from random import Random
from typing import TypeVar, TypeVarTuple

import trio
from attrs import asdict

from actors.snapshot_process import SnapshotFailed, SnapshotReport
from persistence.segments import Position
from persistence.snapshot import Footer, Snapshot, read, write_temporary
from persistence.snapshotting import take_snapshot
from persistence.storage import Disk
from tests.simulation.disk import SimulatedDisk

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

EPOCH_NS = 1_800_000_000 * 10**9


class VirtualClock:
    """Both clocks follow trio's, so that they stand still while nothing waits."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970, starting at a fixed date."""
        return EPOCH_NS + self.monotonic_ns()

    def monotonic_ns(self) -> int:
        """Nanoseconds since the run began."""
        return round(trio.current_time() * 1e9)


class BlockingFailedError(Exception):
    """What blocking work raises when it is told to fail: a bug in it, not an error of the disk."""


class Inline:
    """Blocking work done at once, after as long as the disk says it takes."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self._disk = disk
        self.fail: str | None = None
        """'before' or 'after': the next call raises BlockingFailedError instead of its work, or when it is done."""

    async def __call__(self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Call it. Like a thread: once begun it is finished, whoever cancels."""
        await trio.lowlevel.checkpoint_if_cancelled()
        with trio.CancelScope(shield=True):
            await trio.sleep(self._disk.delay_seconds)
        fail, self.fail = self.fail, None
        if fail == "before":
            raise BlockingFailedError
        result = function(*arguments)
        if fail == "after":
            raise BlockingFailedError
        return result


def entropy_of(random: Random) -> Callable[[int], bytes]:
    """Random bytes that a seed repeats."""
    return random.randbytes


def no_progress(_what: str) -> Callable[[int, int], None]:
    """Progress that nobody watches."""
    return lambda _done, _total: None


class InlineSnapshots:
    """The process that takes snapshots, done at once in this one."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.seconds = 0.0
        """How long one takes."""
        self.fail: str | None = None
        """'before' or 'after' its work: the next one fails."""
        self.spoil: Callable[[Footer], Footer] | None = None
        """What it then does to the footer: a process that is not honest."""
        self.taken = 0

    async def __call__(self, until: Position) -> SnapshotReport:
        """Take one."""
        fail, self.fail = self.fail, None
        await trio.sleep(self.seconds)
        if fail == "before":
            raise SnapshotFailed("told to, before its work")
        taken = take_snapshot(self._disk, until, throttle=lambda _written: None)
        self.taken += 1
        if fail == "after":
            raise SnapshotFailed("told to, after its work")
        path = taken.path
        if self.spoil is not None:
            snapshot = read(self._disk, path)
            footer = self.spoil(snapshot.footer)
            path = write_temporary(self._disk, Snapshot(state=snapshot.state, **asdict(footer)))
        return SnapshotReport(
            path=path,
            seq=taken.seq,
            bytes=taken.bytes,
            records=taken.records,
            began_with=taken.began_with,
            seconds=self.seconds,
            peak_bytes=0,
            differences=taken.differences,
        )

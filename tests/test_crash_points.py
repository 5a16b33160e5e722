"""Crash points: every step that changes the disk has one on either side, and an armed one ends the process."""

from pathlib import Path

import pytest

from persistence import codec
from persistence.crash_points import POINTS, SIDES, STEPS, CrashingDisk, CrashingStore, CrashPoints
from persistence.offline import verify
from persistence.pruning import always_copied, prune
from persistence.recovery import PREALLOCATED
from persistence.segments import Frame, LogReader, segments
from persistence.snapshot import remove_temporaries, write_temporary
from persistence.storage import RealDisk
from tests.backups import LoggedExchange, memory
from tests.logs import NOW, SMALL, append, open_log, order
from tests.recorded import reopened
from tests.simulation.disk import power_cut


class KilledError(BaseException):
    """Stands in for the end of the process."""


def kill() -> None:
    """End the test's life of the log, not the test."""
    raise KilledError


def disk_with(points: CrashPoints, folder: Path) -> CrashingDisk:
    """The data folder with these points."""
    return CrashingDisk(str(folder), power_cut, points)


def cut(disk: CrashingDisk, path: str, offset: int) -> None:
    """Take back what was written behind `offset`: its sync never came."""
    file = Path(disk.root) / path
    file.write_bytes(file.read_bytes()[:offset].ljust(SMALL.segment_bytes, b"\0"))


def last_frame(disk: CrashingDisk) -> Frame:
    """The log's last frame."""
    reader = LogReader()
    return [frame for part in segments(disk) for frame in reader.frames(part, disk.read(part.path))][-1]


def live(folder: Path, points: CrashPoints) -> None:
    """Whatever an exchange does on its disk in lives of every kind."""
    live_with_log(disk_with(points, folder / "log"))
    live_with_copies(disk_with(points, folder / "copies"), points)


def live_with_log(disk: CrashingDisk) -> None:
    """Ends in order and not, of a log without snapshots."""
    log = open_log(disk)
    append(log, [order(1)])
    log.append((), count=0, time_ns=NOW)
    log.close(time_ns=NOW)
    # Killed in a roll, between the successor's name and the seal.
    log = open_log(disk)
    append(log, [order(2)])
    unsealed, end = log.segment_path, last_frame(disk).end
    log.roll(time_ns=NOW)
    cut(disk, unsealed, end)
    # Killed in the middle of a frame.
    append(open_log(disk), [order(n) for n in range(20)])
    frame = last_frame(disk)
    cut(disk, frame.segment.path, frame.offset + codec.SECTOR_BYTES)
    # A segment was begun in this room once.
    (Path(disk.root) / PREALLOCATED).write_bytes(b"x" * SMALL.segment_bytes)
    open_log(disk).prepare_next()


def live_with_copies(disk: CrashingDisk, points: CrashPoints) -> None:
    """Snapshots, backups, and what can go because of them."""
    exchange = LoggedExchange(disk)
    exchange.begin()
    for _ in range(3):
        exchange.trade()
        exchange.seal()
        exchange.trade()
        snapshot = exchange.snapshot()
    write_temporary(disk, snapshot)
    remove_temporaries(disk)
    exchange.back_up(CrashingStore(memory(), points))
    prune(disk, keep=2, is_copied=always_copied)


def test_every_point_is_passed_in_some_life_of_a_log(tmp_path: Path) -> None:
    """No step without its points, and no point without its step."""
    points = CrashPoints("after cut segment", 1_000)
    live(tmp_path, points)
    assert points.passed == set(POINTS)
    assert len(POINTS) == len(SIDES) * len(STEPS)


@pytest.mark.parametrize("point", POINTS)
def test_a_log_killed_at_any_point_opens_again(point: str, tmp_path: Path) -> None:
    """Whatever the step was; and the log's own repair may be killed as well."""
    with pytest.raises(KilledError):
        live(tmp_path, CrashPoints(point, kill=kill))
    for folder in sorted(tmp_path.iterdir()):
        disk = RealDisk(str(folder), power_cut)
        log = reopened(disk)
        log.append((), count=0, time_ns=NOW)
        log.close(time_ns=NOW)
        assert verify(disk).damage is None


def test_a_point_counts_to_its_time(tmp_path: Path) -> None:
    """The third frame is the one."""
    log = open_log(disk_with(CrashPoints("after sync frame", 3, kill=kill), tmp_path))
    append(log, [order(1)])
    append(log, [order(2)])
    with pytest.raises(KilledError):
        append(log, [order(3)])


@pytest.mark.parametrize(
    ("words", "point", "time"),
    [("after sync frame", "after sync frame", 1), ("before name room:7", "before name room", 7)],
)
def test_a_point_is_armed_in_words(words: str, point: str, time: int) -> None:
    """As the environment says it."""
    points = CrashPoints.armed_by(words)
    assert (points._point, points._times_left) == (point, time)


@pytest.mark.parametrize("words", ["sync frame", "after sync frames", "after sync frame:0", "after sync frame:x", ":1"])
def test_what_is_no_point_is_refused(words: str) -> None:
    """A typing error must not look like a program that survives."""
    with pytest.raises(ValueError, match=r"crash point|invalid literal"):
        CrashPoints.armed_by(words)


def test_a_step_without_a_name_is_an_error(tmp_path: Path) -> None:
    """Whoever adds a step that changes the disk adds it to the list."""
    disk = disk_with(CrashPoints("after sync frame"), tmp_path)
    with pytest.raises(AssertionError, match="before write notes; name it in STEPS"):
        disk.write_file("notes", b"x")

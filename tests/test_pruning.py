"""What may go: snapshots beyond those kept, and the segments that even the oldest of these does not need."""

from random import Random

import pytest

from persistence.pruning import always_copied, log_bytes_after, prune
from persistence.segments import path_of, paths, segments
from persistence.snapshot import list_snapshots, read_footer
from tests.counts import count
from tests.recorded import Recorded, record
from tests.simulation.disk import PowerCut, SimulatedDisk
from tests.test_snapshotting import same, started


def taken(disk: SimulatedDisk, snapshots: int) -> Recorded:
    """A log with so many snapshots, evenly from its beginning to its end."""
    recorded = record(disk, 3, 500)
    last = len(recorded.checked) - 1
    for number in range(1, snapshots + 1):
        recorded.snapshot(last * number // snapshots)
    return recorded


def firsts(disk: SimulatedDisk) -> list[int]:
    """The first sequence numbers of the segments."""
    return [segment.header.first_seq for segment in segments(disk)]


def test_the_newest_are_kept_and_the_log_from_the_oldest_of_them_on() -> None:
    """Its own segment is kept too: a start looks for its place there."""
    disk = SimulatedDisk()
    recorded = taken(disk, 5)
    files, before = list_snapshots(disk), firsts(disk)
    oldest = read_footer(disk, files[2])
    pruned = prune(disk, keep=3, is_copied=always_copied)
    assert list_snapshots(disk) == files[2:]
    assert pruned.snapshots == tuple(file.path for file in files[:2])
    assert firsts(disk) == [first for first in before if first >= oldest.segment]
    assert pruned.segments == tuple(path_of(first) for first in before if first < oldest.segment)
    assert pruned.segments
    assert same(started(disk)[0], recorded.engine)
    assert prune(disk, keep=3, is_copied=always_copied) == type(pruned)((), ())


def test_nothing_goes_before_there_are_as_many_as_are_kept() -> None:
    """A single bad one would otherwise be the end."""
    disk = SimulatedDisk()
    taken(disk, 2)
    before = disk.image()
    prune(disk, keep=3, is_copied=always_copied)
    assert disk.image() == before


def test_a_snapshot_that_says_nothing_of_itself_does_not_count() -> None:
    """Neither as one that is kept, nor for what the log has to begin with."""
    disk = SimulatedDisk()
    taken(disk, 4)
    files = list_snapshots(disk)
    disk.rot(files[-1].path, files[-1].size - 1)
    prune(disk, keep=3, is_copied=always_copied)
    assert list_snapshots(disk) == files
    assert firsts(disk)[0] == read_footer(disk, files[0]).segment


def test_a_segment_stays_until_its_copy_is_good() -> None:
    """And all behind it, since the log has no gaps."""
    disk = SimulatedDisk()
    taken(disk, 5)
    before = firsts(disk)
    asked: list[int] = []

    def is_copied(first_seq: int) -> bool:
        asked.append(first_seq)
        return first_seq != before[1]

    assert prune(disk, keep=2, is_copied=is_copied).segments == (path_of(before[0]),)
    assert asked == before[:2]
    assert firsts(disk) == before[1:]


@pytest.mark.parametrize("crash", range(count(3, 100)))
def test_a_power_cut_at_any_step_leaves_what_starts(crash: int) -> None:
    """Without a gap in the log, and with all that the snapshots that are left need."""
    disk = SimulatedDisk()
    recorded = taken(disk, 5)
    for step in range(100):
        other = disk.copy()
        other.cut_power_in(step)
        try:
            prune(other, keep=2, is_copied=always_copied)
        except PowerCut:
            other.crash(Random(f"{crash} {step}"))
            assert same(started(other)[0], recorded.engine)
            prune(other, keep=2, is_copied=always_copied)
        else:
            assert step > 5
            break
        assert len(list_snapshots(other)) == 2
        assert same(started(other)[0], recorded.engine)


def test_how_much_log_there_is_behind_a_snapshot() -> None:
    """From its place to the end; all of it without one."""
    disk = SimulatedDisk()
    recorded = taken(disk, 2)
    log = recorded.log
    for path in paths(disk)[:-1]:
        disk.truncate(path, 20_000)
    sealed = 20_000 * (len(paths(disk)) - 1)
    assert log_bytes_after(disk, None, log.segment_path, log.offset) == sealed + log.offset
    older, newest = (read_footer(disk, file) for file in list_snapshots(disk))
    assert log_bytes_after(disk, newest, log.segment_path, log.offset) == log.offset - newest.offset
    assert log_bytes_after(disk, older, log.segment_path, log.offset) > log.offset

"""What a data folder can do without: snapshots beyond those that are kept, and the segments that they cover.

A start needs the newest good snapshot and the log behind it; that the newest are bad is provided for as long as the
oldest one kept has its log. So a segment goes only when the *oldest* kept snapshot was taken in a later one, when there
are as many snapshots as are to be kept, when a copy of it is known to be good (or the configuration wants none), and
when the store has the candles of all that is in it.
"""

import itertools
from collections.abc import Callable

from attrs import frozen

from book.terms import MAX_INT
from persistence import segments, snapshot
from persistence.segments import Segment
from persistence.snapshot import BadSnapshot, Footer, SnapshotFile, list_snapshots, read_footer
from persistence.storage import Disk

# Whether the segment that begins with this sequence number is safe elsewhere.
IsCopied = Callable[[int], bool]


# Up to which sequence number the store has all candles.
ArchivedSeq = Callable[[], int]


def all_archived() -> int:
    """Nobody keeps candles."""
    return MAX_INT


def always_copied(_first_seq: int) -> bool:
    """No copy is wanted."""
    return True


@frozen(slots=True)
class Pruned:
    """What was removed, by path."""

    snapshots: tuple[str, ...]
    segments: tuple[str, ...]


def prune(disk: Disk, *, keep: int, is_copied: IsCopied, archived_seq: int = MAX_INT) -> Pruned:
    """Remove what is not needed, the oldest first, each for good before the next. Raises Damaged or Unreadable."""
    files = list_snapshots(disk)
    kept = _newest_good(disk, files, keep)
    if len(kept) < keep:
        return Pruned((), ())
    oldest = kept[-1]
    needless = [file.path for file in files if file.seq < oldest.seq]
    for path in needless:
        disk.remove(path)
        disk.sync_folder(snapshot.FOLDER)
    covered = _covered(segments.segments(disk), oldest, is_copied, archived_seq)
    for segment in covered:
        # One at a time: a power cut between two names must not leave a gap in the log.
        disk.remove(segment.path)
        disk.sync_folder(segments.FOLDER)
    return Pruned(tuple(needless), tuple(segment.path for segment in covered))


def _newest_good(disk: Disk, files: list[SnapshotFile], keep: int) -> list[Footer]:
    """The newest snapshots, as many as are kept, newest first; those that say nothing of themselves do not count."""
    kept: list[Footer] = []
    for file in reversed(files):
        if len(kept) == keep:
            break
        try:
            kept.append(read_footer(disk, file))
        except BadSnapshot:
            continue
    return kept


def _covered(found: list[Segment], oldest: Footer, is_copied: IsCopied, archived_seq: int) -> list[Segment]:
    """Those before the oldest kept snapshot's own segment, up to the first that is not copied, or not archived."""
    covered: list[Segment] = []
    for segment, following in itertools.pairwise(found):
        if segment.header.first_seq >= oldest.segment or not is_copied(segment.header.first_seq):
            break
        if following.header.first_seq - 1 > archived_seq:
            break
        covered.append(segment)
    return covered


def log_bytes_after(disk: Disk, footer: Footer | None, end_path: str, end_offset: int) -> int:
    """About how many bytes of log there are between a snapshot (None: the beginning) and the end of the log."""
    begin = "" if footer is None else segments.path_of(footer.segment)
    sealed = [path for path in segments.paths(disk) if begin <= path < end_path]
    return sum(map(disk.size, sealed)) + end_offset - (0 if footer is None else footer.offset)

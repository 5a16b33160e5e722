"""`tallystick take-snapshot`: the process that a running exchange starts to take a snapshot. Hidden: not for people.

It does not take the data folder's lock, since the exchange has it, and writes nothing but its own file under a name
that no start looks at. It ends with the exchange, runs only when nobody else wants to, is the first to be killed when
memory runs out, and writes no faster than leaves the disk to the log.
"""

import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final, NoReturn

import msgspec
import typer

from actors.snapshot_process import SnapshotReport
from persistence import snapshotting
from persistence.exits import Exit, NoSpace, Stop
from persistence.segments import Position
from persistence.snapshot import BadSnapshot
from tallystick.running import snapshot_disk

BYTES_PER_SECOND: Final = 64 * 1024 * 1024
# Enough to give way to trading, and to come to an end on a machine that is busy for long.
NICENESS: Final = 10
# Of 1000: the kernel's first choice, long before the exchange itself.
OOM_SCORE: Final = "900"
PR_SET_PDEATHSIG: Final = 1


def take_snapshot(
    folder: Annotated[Path, typer.Argument(help="The exchange's data folder.")],
    *,
    next_seq: Annotated[int, typer.Option(min=1, help="The number due where the log is durable.")],
    chain: Annotated[str, typer.Option(help="The chain value there, in hex.")],
    parent: Annotated[int, typer.Option(help="The process that is to be outlived never.")] = 0,
) -> None:
    """Take a snapshot for a running exchange."""
    began = time.monotonic()
    _stay_behind(parent)
    until = Position(next_seq, bytes.fromhex(chain))
    try:
        taken = snapshotting.take_snapshot(snapshot_disk(str(folder)), until, throttle=_throttle(BYTES_PER_SECOND))
    except Stop as error:
        _end(error.exit_code, error)
    except NoSpace as error:
        _end(Exit.DISK_FAILED, error)
    except (BadSnapshot, snapshotting.NotAtCheck) as error:
        _end(Exit.DATA_DAMAGED, error)
    report = SnapshotReport(
        path=taken.path,
        seq=taken.seq,
        bytes=taken.bytes,
        records=taken.records,
        began_with=taken.began_with,
        seconds=round(time.monotonic() - began, 3),
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        differences=taken.differences,
    )
    typer.echo(msgspec.json.encode(report))


def _end(code: Exit, error: Exception) -> NoReturn:
    typer.echo(f"tallystick: {error}", err=True)
    raise typer.Exit(code) from None


def _stay_behind(parent: int) -> None:
    """Hold up nobody, and outlive nobody."""
    os.nice(NICENESS)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with suppress(OSError):  # a container may forbid it; then it is as likely a choice as any other
            Path("/proc/self/oom_score_adj").write_text(OOM_SCORE, encoding="ascii")
    if parent and os.getppid() != parent:
        # It ended before we asked to be told.
        raise typer.Exit(Exit.DONE)


def _throttle(bytes_per_second: int) -> Callable[[int], None]:
    """Let so many bytes be written a second, on average since now."""
    began = time.monotonic()

    def wait(written: int) -> None:
        ahead = written / bytes_per_second - (time.monotonic() - began)
        if ahead > 0:
            time.sleep(ahead)

    return wait

"""The process that takes a snapshot, as the snapshotter sees it, and as it really is: this program once more.

It is started with what it may know of a log that is being written, works at a low priority, and says in one line
of JSON what it has made. When it fails, that is all that happens: it holds nothing that anybody waits for.
"""

import os
import signal
import subprocess
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec
import trio

from persistence.segments import Position

# Of what it says. More than a line of JSON and a traceback.
MAX_OUTPUT_BYTES: Final = 256 * 1024
REASON_CHARACTERS: Final = 500
# A killed process is gone at once, unless the disk holds it up.
GONE_SECONDS: Final = 5.0


class SnapshotFailed(Exception):  # noqa: N818 - names what happened
    """No snapshot came of it; why, in one line."""


class SnapshotReport(msgspec.Struct, frozen=True):
    """What the process says when it has done its work."""

    path: str
    """The file that waits for its name."""
    seq: int
    bytes: int
    records: int
    """Replayed for it."""
    began_with: int
    """The number of the snapshot that the replay began with; 0 for the log's beginning."""
    seconds: float
    peak_bytes: int
    """Of memory."""
    differences: dict[str, int] = {}
    """Per asset, how much more there is than came in. Where one is not 0, there is no file."""


class SnapshotProcess(Protocol):
    """Takes a snapshot, somewhere else."""

    async def __call__(self, until: Position) -> SnapshotReport:
        """Take one of the state at `until`, all before which is on disk. A cancel ends it. Raises SnapshotFailed."""
        ...


class RealSnapshotProcess:
    """This program, with its hidden command `take-snapshot`."""

    def __init__(self, program: Sequence[str], data_folder: str) -> None:
        """`program`: the words that start this program."""
        self._program = tuple(program)
        self._data_folder = data_folder

    async def __call__(self, until: Position) -> SnapshotReport:
        """Start it, and wait for its end."""
        words = ["take-snapshot", self._data_folder, "--next-seq", str(until.next_seq), "--chain", until.chain.hex()]
        try:
            # In this very thread, not by trio in another: the kernel ends the process when the thread that started it
            # ends, and a worker thread does so when it has been idle for a while. It is a matter of a millisecond.
            process = subprocess.Popen(  # noqa: ASYNC220 - as was just said
                [*self._program, *words, "--parent", str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            raise SnapshotFailed(f"the process cannot be started: {error}") from error
        try:
            # No deadline: it takes as long as there is log to replay, and nobody waits for it but operators.
            output = await _all_of(process)
            await _end_of(process)
        except BaseException:
            process.kill()
            with trio.move_on_after(GONE_SECONDS, shield=True):
                await _end_of(process)
            raise
        return report(process.returncode, output)


async def _all_of(process: "subprocess.Popen[bytes]") -> bytes:
    """What it says, until it says no more."""
    if process.stdout is None:
        raise AssertionError("its output is a pipe")
    output = b""
    with process.stdout as pipe:
        async with trio.lowlevel.FdStream(os.dup(pipe.fileno())) as stream:
            async for part in stream:
                output = (output + part)[-MAX_OUTPUT_BYTES:]
    return output


async def _end_of(process: "subprocess.Popen[bytes]") -> None:
    """Wait for its end."""
    await trio.to_thread.run_sync(process.wait, abandon_on_cancel=True)


def report(code: int, output: bytes) -> SnapshotReport:
    """What came of it. Raises SnapshotFailed."""
    lines = output.decode(errors="replace").strip().splitlines() or [""]
    if code < 0:
        raise SnapshotFailed(f"the process was ended by {_name(-code)}")
    if code != 0:
        raise SnapshotFailed(f"exit code {code}: {lines[-1][-REASON_CHARACTERS:]}")
    try:
        return msgspec.json.decode(lines[-1], type=SnapshotReport)
    except msgspec.DecodeError as error:
        raise SnapshotFailed(f"the process said {lines[-1][:REASON_CHARACTERS]!r}") from error


def _name(number: int) -> str:
    return signal.Signals(number).name if number in {each.value for each in signal.Signals} else f"signal {number}"

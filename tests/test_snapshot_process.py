"""The process that takes a snapshot: the real one, and what becomes of one that fails, hangs or loses its parent."""

import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest
import trio

from actors.snapshot_process import MAX_OUTPUT_BYTES, RealSnapshotProcess, SnapshotFailed, report
from persistence.segments import Position
from persistence.snapshot import publish
from persistence.snapshotting import begin_engine
from persistence.storage import RealDisk, lock
from tallystick.running import PROGRAM
from tallystick.snapshot_command import NICENESS, OOM_SCORE, _throttle
from tests.recorded import record
from tests.simulation.disk import power_cut
from tests.test_snapshotting import same

NOWHERE = Position(1, bytes(16))
SOON_SECONDS = 20.0

# Puts itself behind everybody, says who it is, and stays.
CHILD = """
import os, time
from tallystick.snapshot_command import _stay_behind
_stay_behind(os.getppid())
print(os.getpid(), flush=True)
time.sleep(60)
"""
# Starts that, in its main thread, and stays too.
PARENT = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {CHILD!r}])
"""


def saying(script: str) -> RealSnapshotProcess:
    """A process that does this instead; what it is told stands in `sys.argv`."""
    return RealSnapshotProcess((sys.executable, "-c", script), "/nowhere")


def gone(pid: int) -> bool:
    """Whether there is no such process any more, or only what its parent has not asked for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def files(folder: Path) -> dict[str, bytes]:
    """All that is in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.process
async def test_the_real_process_writes_one_file_and_nothing_else(tmp_path: Path) -> None:
    """While the exchange holds the folder's lock; what it says is so, and the second one begins with the first."""
    disk = RealDisk(str(tmp_path), power_cut)
    recorded = record(disk, 8, 100)
    process = RealSnapshotProcess(PROGRAM, str(tmp_path))
    with lock(str(tmp_path)):
        before = files(tmp_path)
        said = await process(recorded.checked[-2])
        (new,) = files(tmp_path).keys() - before.keys()
        assert new == said.path
        assert files(tmp_path) | before == files(tmp_path)
        assert (said.seq, said.records, said.began_with) == (recorded.checked[-2].next_seq - 1,) * 2 + (0,)
        assert said.bytes == disk.size(said.path)
        assert said.seconds > 0
        assert said.peak_bytes > 1_000_000
        publish(disk, said.path)
        again = await process(recorded.checked[-1])
        assert (again.began_with, again.records) == (said.seq, recorded.checked[-1].next_seq - 1 - said.seq)
        publish(disk, again.path)
    assert same(begin_engine(disk)[0], recorded.engine)


@pytest.mark.process
async def test_why_the_real_process_fails_is_said_in_one_line(tmp_path: Path) -> None:
    """Its exit code, and its own words: of damage, and of a place where the log never was."""
    disk = RealDisk(str(tmp_path), power_cut)
    recorded = record(disk, 8, 100)
    process = RealSnapshotProcess(PROGRAM, str(tmp_path))
    with pytest.raises(
        SnapshotFailed, match=r"^exit code 3: tallystick: reqlog/.*the log ends here, but it was written"
    ):
        await process(Position(recorded.log.next_seq, bytes(16)))
    assert disk.list("snapshots") == []


@pytest.mark.process
async def test_what_is_no_report_is_a_failure() -> None:
    """Nothing, rubbish, more than anybody reads, an exit code, a signal."""
    for script, what in (
        ("", "the process said ''"),
        ("print('{}')", "the process said '{}'"),
        (f"print('x' * {3 * MAX_OUTPUT_BYTES})", "the process said 'x+'"),
        ("import sys; print('first'); sys.exit('why')", "exit code 1: why"),
        ("import os; os.kill(os.getpid(), 9)", "ended by SIGKILL"),
        ("import os; os.kill(os.getpid(), 40)", "ended by signal 40"),
    ):
        with pytest.raises(SnapshotFailed, match=what):
            await saying(script)(NOWHERE)
    with pytest.raises(SnapshotFailed, match=r"the process cannot be started: .*No such file"):
        await RealSnapshotProcess(("/nowhere/tallystick",), "/nowhere")(NOWHERE)


@pytest.mark.process
async def test_it_is_told_where_the_log_is_durable_and_by_whom() -> None:
    """In plain words, with which a person could start it too."""
    with pytest.raises(SnapshotFailed) as caught:
        await saying("import sys; sys.exit(' '.join(sys.argv[1:]))")(Position(7, bytes(16)))
    words = f"take-snapshot /nowhere --next-seq 7 --chain {'00' * 16} --parent {os.getpid()}"
    assert str(caught.value) == f"exit code 1: {words}"


@pytest.mark.process
async def test_a_cancel_ends_it(tmp_path: Path) -> None:
    """At once, and before whoever cancels goes on."""
    note = tmp_path / "pid"
    process = saying(
        f"import os, time, pathlib; pathlib.Path({str(note)!r}).write_text(str(os.getpid())); time.sleep(60)"
    )
    with trio.fail_after(SOON_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(process, NOWHERE)
            while not note.exists() or not note.read_text():  # noqa: ASYNC110 - no event comes from there
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    assert gone(int(note.read_text()))


@pytest.mark.process
def test_it_stays_behind_everybody_and_ends_with_its_parent() -> None:
    """A low priority, the first to be killed for want of memory, and gone with the exchange, however that ends."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert os.getpriority(os.PRIO_PROCESS, pid) == min(os.getpriority(os.PRIO_PROCESS, 0) + NICENESS, 19)
        assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == OOM_SCORE
        assert not gone(pid)
        parent.kill()
    deadline = time.monotonic() + SOON_SECONDS
    while not gone(pid):
        assert time.monotonic() < deadline, "it outlived its parent"
        time.sleep(0.01)


@pytest.mark.process
def test_it_does_nothing_when_its_parent_is_gone_already(tmp_path: Path) -> None:
    """Between its start and its asking to be told."""
    recorded = record(RealDisk(str(tmp_path), power_cut), 8, 20)
    words = ["take-snapshot", str(tmp_path), "--next-seq", "1", "--chain", recorded.log.position.chain.hex()]
    done = subprocess.run([*PROGRAM, *words, "--parent", "1"], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"")
    assert not (tmp_path / "snapshots").exists()


def test_the_throttle_holds_to_its_rate() -> None:
    """Ten parts in the time that so many bytes are to take, and not in less."""
    began = time.monotonic()
    wait = _throttle(1_000_000)
    for part in range(1, 11):
        wait(part * 10_000)
    assert 0.1 <= time.monotonic() - began < 5


@pytest.mark.parametrize("seed", range(20))
def test_a_report_is_found_behind_whatever_else_is_said(seed: int) -> None:
    """A library may warn on the same pipe."""
    line = b'{"path":"p","seq":1,"bytes":2,"records":3,"began_with":0,"seconds":0.5,"peak_bytes":9}\n'
    noise = bytes(byte for byte in Random(seed).randbytes(200) if byte != 10) + b"\n"
    assert report(0, noise + line).seq == 1

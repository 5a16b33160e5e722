"""The exchange as a process: that a stop ends also what is long."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from actors.world import Threads
from book.commands import Tick
from book.engine import ENGINE_VERSION
from persistence.recovery import Progress
from persistence.reqlog import Durability, ReqlogConfig
from persistence.storage import RealDisk
from tallystick.running import _cancellable
from tests.logs import append, open_log
from tests.simulation.disk import power_cut

FRAMES = 300

# The demo where the check of the log's `FRAMES` frames takes at least 15 seconds. It says how far it has come.
SLOW_CHECK = """
import sys, time
from pathlib import Path

from persistence import recovery
from tallystick import running, terminal
from tallystick.demo_command import demo_config

def progress(what):
    def show(done, total):
        print(what, flush=True)
        time.sleep(0.05)
    return show

from actors.log_levels import LogLevels

terminal.log_to_stderr()
recovery.FRAMES_PER_PROGRESS = 1
config = demo_config(Path(sys.argv[1]), port=0, market_maker=False)
sys.exit(running.run(config, sys.argv[1], ready=print, progress=progress, levels=LogLevels()))
"""


class Watched:
    """Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, _what: str) -> Progress:
        """Begin to watch."""
        return lambda done, _total: self.seen.append(done)


async def test_a_cancel_ends_long_work_in_a_thread_at_its_next_progress() -> None:
    """Nothing else can end a thread; what was shown before was shown."""
    watched = Watched()
    step = _cancellable(watched, "walking")

    def work() -> None:
        step(1, 3)
        trio.from_thread.run_sync(scope.cancel)
        step(2, 3)

    with trio.CancelScope() as scope:
        await Threads(1)(work)
    assert watched.seen == [1]
    assert scope.cancelled_caught


async def test_progress_in_the_loop_itself_is_only_shown() -> None:
    """There the next checkpoint ends what was cancelled, and progress is none."""
    watched = Watched()
    step = _cancellable(watched, "replaying")
    with trio.CancelScope() as scope:
        scope.cancel()
        step(1, 3)
        await trio.lowlevel.checkpoint()
        step(2, 3)
    assert watched.seen == [1]


@pytest.mark.process
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_stops_the_program_in_the_midst_of_the_check_at_its_start(tmp_path: Path, how: signal.Signals) -> None:
    """It ends in order, with code 0, and does not look at the rest of the log first."""
    config = ReqlogConfig(segment_bytes=256 * 1024, durability=Durability.OS)
    log = open_log(RealDisk(str(tmp_path), power_cut), config, engine_version=ENGINE_VERSION)
    for _ in range(FRAMES):
        append(log, [Tick()])
    command = [sys.executable, "-c", SLOW_CHECK, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline()]
        process.send_signal(how)
        rest, errors = process.communicate(timeout=60)
    said += rest.splitlines(keepends=True)
    assert process.returncode == 0, errors
    assert set(said) == {"checking the request log\n"}
    assert len(said) < FRAMES

"""The real program, killed on either side of each step that changes its disk, with orders under way.

The points come from the program's own register, so that a new step is tested from its first day, or fails for never
being reached: then `_PREPARED` needs a way to get there.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from signal import SIGKILL

import pytest

from persistence import codec
from persistence.crash_points import ENVIRONMENT, SIDES, STEPS
from persistence.offline import verify
from persistence.recovery import PREALLOCATED
from persistence.segments import LogReader, segments
from persistence.storage import RealDisk
from tests.counts import SOAK, count
from tests.live import ConfiguredExchange, DidNotStartError
from tests.load import Traders
from tests.simulation.disk import power_cut

pytestmark = [pytest.mark.process, pytest.mark.timeout(count(600, 7200))]

SEGMENT_BYTES = 16 * 1024
# Copies are made when an operator asks for them.
SECTIONS = """
[writer.log]
segment_bytes = {segment_bytes}

[snapshots]
keep = 2

[archive]
candle_seconds = 0.1

[backup]
target = "file://{backup}"
"""

# Of these there are several in every life, so that in the soak not always the first is the last.
FREQUENT = frozenset({"write frame", "sync frame"})


class Scene:
    """One exchange that dies many times, and what its clients remember."""

    def __init__(self, folder: Path) -> None:
        backup = folder / "backup"
        backup.mkdir(parents=True)
        sections = SECTIONS.format(segment_bytes=SEGMENT_BYTES, backup=backup)
        self.exchange = ConfiguredExchange(folder / "data", sections)
        self.traders = Traders(Random(0), orders=60)
        self.disk = RealDisk(str(self.exchange.data), power_cut)

    def live(self) -> None:
        """A life that nothing happens to: assert that all is as it was answered."""
        self.exchange.start()
        self.traders.fund(self.exchange)
        self.traders.check(self.exchange)
        self.exchange.kill()

    def die(self, point: str, time: int = 1) -> None:
        """A life that ends at this point, while it starts, trades or stops; the log is sound afterwards."""
        try:
            self.exchange.start(**{ENVIRONMENT: f"{point}:{time}"})
        except DidNotStartError as error:
            code = error.code
        else:
            code = self._trade_and_stop()
        assert code == -SIGKILL, (
            f"{point} was never reached for time {time}: exit code {code}\n{self.exchange.errors[-1000:]}"
        )
        verdict = verify(self.disk)
        assert verdict.damage is None, verdict.damage

    def _trade_and_stop(self) -> int:
        code = self._trade()
        for _ in range(3):
            if code is None:
                with suppress(OSError), self.exchange.operator() as operator:
                    operator.ask("snapshot")
                    operator.ask("backup")
                code = self._trade()
        return self.exchange.stop() if code is None else code

    def _trade(self) -> int | None:
        with suppress(OSError):  # it died before they had connected
            self.traders.begin(self.exchange)
        self.traders.end()
        return self.exchange.wait_at_most(0.1)

    def write(self, path: str, data: bytes) -> None:
        """Change a file behind the exchange's back."""
        (self.exchange.data / path).write_bytes(data)


# How to get to a step that an ordinary life does not come by.


def _tear_the_last_frame(scene: Scene) -> None:
    """As a power cut would: of a frame that was not answered, a sector never came."""
    while True:
        scene.die("after write frame", 3)
        reader = LogReader()
        *_, last = (frame for part in segments(scene.disk) for frame in reader.frames(part, scene.disk.read(part.path)))
        path, edge = last.segment.path, last.offset + codec.SECTOR_BYTES - last.offset % codec.SECTOR_BYTES
        if edge < last.end:
            data = scene.disk.read(path)
            scene.write(path, data[:edge] + bytes(len(data) - edge))
            return


def _name_a_successor_without_a_seal(scene: Scene) -> None:
    scene.die("before write seal")


def _use_the_room(scene: Scene) -> None:
    """A segment was begun in it once."""
    scene.die("after name room")
    scene.write(PREALLOCATED, b"x" * SEGMENT_BYTES)


def _leave_a_snapshot_unfinished(scene: Scene) -> None:
    scene.die("after write snapshot")


_PREPARED: dict[str, Callable[[Scene], None]] = {
    "remove room": _use_the_room,
    "write torn frame's bytes": _tear_the_last_frame,
    "name torn frame's bytes": _tear_the_last_frame,
    "sync name of torn frame's bytes": _tear_the_last_frame,
    "zero torn frame": _tear_the_last_frame,
    "sync zeroed frame": _tear_the_last_frame,
    "remove unfinished snapshot": _leave_a_snapshot_unfinished,
    "sync removal of unfinished snapshot": _leave_a_snapshot_unfinished,
    "take back successor": _name_a_successor_without_a_seal,
}
_ONCE_IN_A_FOLDER = ("write identity", "name identity", "sync name of identity")


@pytest.mark.parametrize("half", [0, 1])
def test_killed_at_each_step(half: int, tmp_path: Path) -> None:
    """Every answer still holds, every balance is exact, the log is clean, and the next start goes on.

    Once on one side of each step, in turn; in the soak often on both.
    """
    for turn in range(count(1, 20)):
        scene = Scene(tmp_path / f"{turn}")
        for number, step in enumerate(step for step in STEPS if step not in _ONCE_IN_A_FOLDER):
            if number % 2 != half and not SOAK:
                continue
            if step in _PREPARED:
                _PREPARED[step](scene)
            side = SIDES[(number // 2 + half) % 2] if not SOAK else SIDES[half]
            scene.die(f"{side} {step}", 1 + turn % 3 if step in FREQUENT else 1)
            scene.live()
        assert scene.traders.answered


@pytest.mark.parametrize("step", _ONCE_IN_A_FOLDER)
@pytest.mark.parametrize("side", ["before", "after"])
def test_killed_in_the_first_start_of_all(side: str, step: str, tmp_path: Path) -> None:
    """The folder says whose log is in it, or the next start says it."""
    scene = Scene(tmp_path)
    scene.die(f"{side} {step}")
    scene.live()

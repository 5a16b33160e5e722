"""Engine time."""

from attrs import define
from structlog.testing import capture_logs

from actors.engine_clock import EngineClock

SECOND = 1_000_000_000


@define
class HandClock:
    """Two clocks that a test sets."""

    wall: int = 1_000 * SECOND
    monotonic: int = 5 * SECOND

    def wall_ns(self) -> int:
        """As set."""
        return self.wall

    def monotonic_ns(self) -> int:
        """As set."""
        return self.monotonic

    def pass_time(self, seconds: float, wall_seconds: float | None = None) -> None:
        """Let the monotonic clock advance, and the wall clock by as much or by something else."""
        self.monotonic += round(seconds * SECOND)
        self.wall += round((seconds if wall_seconds is None else wall_seconds) * SECOND)


def test_it_starts_at_the_wall_clock() -> None:
    """With nothing logged, engine time begins as wall time."""
    clock = HandClock()
    assert EngineClock(clock, 0).now() == clock.wall


def test_it_never_starts_before_the_last_logged_time() -> None:
    """A wall clock that is behind the log does not take engine time back, and raises an alarm."""
    clock = HandClock()
    with capture_logs() as logs:
        engine = EngineClock(clock, clock.wall + 7 * SECOND)
    assert engine.now() == clock.wall + 7 * SECOND
    assert [entry["seconds"] for entry in logs] == [-7.0]


def test_it_advances_with_the_monotonic_clock() -> None:
    """While both clocks agree, engine time is wall time."""
    clock = HandClock()
    engine = EngineClock(clock, 0)
    for _ in range(100):
        clock.pass_time(0.25)
        assert engine.now() == clock.wall


def test_a_jump_back_never_moves_it_back() -> None:
    """A wall clock set back by an hour slows engine time by a thousandth, and raises one alarm."""
    clock = HandClock()
    engine = EngineClock(clock, 0)
    clock.pass_time(1.0, -3600.0)
    before = engine.now()
    with capture_logs() as logs:
        clock.pass_time(10.0)
        assert engine.now() - before == 10 * SECOND - SECOND // 100
    assert logs == []
    assert engine.jumps == 1


def test_a_jump_forth_never_moves_it_by_a_leap() -> None:
    """A wall clock set forth by an hour speeds engine time up by a thousandth, and raises one alarm."""
    clock = HandClock()
    engine = EngineClock(clock, 0)
    before = engine.now()
    clock.pass_time(10.0, 3610.0)
    with capture_logs() as logs:
        assert engine.now() - before == 10 * SECOND + SECOND // 100
    assert [entry["seconds"] for entry in logs] == [3600.0]
    assert engine.jumps == 1


def test_a_small_difference_is_made_up_for() -> None:
    """A drift below a second is no alarm, and engine time catches up with the wall."""
    clock = HandClock()
    engine = EngineClock(clock, 0)
    clock.pass_time(1.0, 1.5)
    engine.now()
    for _ in range(600):
        clock.pass_time(1.0)
        engine.now()
    assert engine.now() == clock.wall
    assert engine.jumps == 0

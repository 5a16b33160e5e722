"""Engine time: the one clock of all trading, made from the machine's two clocks.

Theory of operation. The monotonic clock never jumps but knows no date; the wall clock knows the date but may be set.
Engine time starts at the later of the last logged time and the wall, advances with the monotonic clock, and leans
towards the wall by at most one part in a thousand, so it never runs back and never leaps. A wall clock that has been
set by more than a second since the last look is an alarm for an operator, and nothing else.
"""

from typing import Final

import structlog

from actors.world import Clock

SLEW_DIVISOR: Final = 1000
JUMP_NS: Final = 1_000_000_000

_log = structlog.get_logger("engine-clock")


class EngineClock:
    """Nanoseconds since 1970 that never decrease, starting no earlier than `last_ns`."""

    __slots__ = ("_clock", "_engine_ns", "_monotonic_ns", "_offset_ns", "jumps")

    def __init__(self, clock: Clock, last_ns: int) -> None:
        wall_ns = clock.wall_ns()
        self._clock = clock
        self._engine_ns = max(last_ns, wall_ns)
        self._monotonic_ns = clock.monotonic_ns()
        self._offset_ns = wall_ns - self._monotonic_ns
        self.jumps = 0
        """How often the wall clock was found set by more than a second."""
        if last_ns - wall_ns > JUMP_NS:
            self._alarm(wall_ns - last_ns)

    def now(self) -> int:
        """The time of what happens now."""
        monotonic_ns = self._clock.monotonic_ns()
        elapsed_ns = monotonic_ns - self._monotonic_ns
        self._monotonic_ns = monotonic_ns
        wall_ns = self._clock.wall_ns()
        self._notice_jump(wall_ns - monotonic_ns)
        most_ns = elapsed_ns // SLEW_DIVISOR
        behind_ns = wall_ns - (self._engine_ns + elapsed_ns)
        self._engine_ns += elapsed_ns + max(-most_ns, min(most_ns, behind_ns))
        return self._engine_ns

    def _notice_jump(self, offset_ns: int) -> None:
        moved_ns = offset_ns - self._offset_ns
        self._offset_ns = offset_ns
        if abs(moved_ns) > JUMP_NS:
            self._alarm(moved_ns)

    def _alarm(self, moved_ns: int) -> None:
        self.jumps += 1
        _log.error(
            "wall clock jumped; engine time follows it slowly",
            seconds=round(moved_ns / 1e9, 3),
            mend="check the machine's time service",
        )

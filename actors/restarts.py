"""How often and how soon a crashed child is started again: arithmetic only, no clock, no tasks, no chance of its own.

Two questions with two answers that know nothing of each other:

- *Is it worth trying again?* A `Window` counts restarts over a sliding period. One more than `Restarts.n` within any
  `Restarts.per` seconds and the supervisor gives up; its parent decides then. (Erlang/OTP: intensity and period.)
- *How long to wait first?* `Backoff` doubles the wait with each failure in a row up to a cap, and starts over after a
  healthy spell. Chance takes off a share of it, so that children that fell together do not come back together.
"""

from collections import deque
from math import inf

from attrs import field, frozen
from attrs.validators import and_, ge, gt, le


@frozen
class Restarts:
    """At most `n` restarts within any `per` seconds; the crash that would need one more is one too many.

    A restart is forgotten exactly `per` seconds after it was charged.
    """

    n: float = field(validator=ge(0))
    per: float = field(kw_only=True, validator=ge(0))

    def __str__(self) -> str:
        return f"{self.n} restarts / {self.per:g} s"


NEVER_ESCALATES = Restarts(inf, per=0)
"""Any number of restarts, and none of them remembered: the child is started again for ever, with capped backoff."""


class Window:
    """The restarts of the last `limit.per` seconds. Holds at most `limit.n + 1` times."""

    def __init__(self, limit: Restarts) -> None:
        self.limit = limit
        self._times: deque[float] = deque()

    def charge(self, now: float) -> bool:
        """Count one restart at `now` (seconds, never before an earlier one); False when it is one too many."""
        while self._times and now - self._times[0] >= self.limit.per:
            self._times.popleft()
        self._times.append(now)
        return len(self._times) <= self.limit.n


@frozen
class Backoff:
    """How long to wait before a restart, by how many failures in a row there were."""

    first_seconds: float = field(default=0.1, validator=gt(0))
    factor: float = field(default=2.0, validator=and_(ge(1), le(10)))
    cap_seconds: float = field(default=30.0, validator=gt(0))
    jitter: float = field(default=0.25, validator=and_(ge(0), le(1)))
    """The share of a delay that chance may take off."""
    healthy_seconds: float = field(default=60.0, validator=ge(0))
    """Who was ready for so long fails for the first time again."""

    def failures(self, before: int, ready_seconds: float) -> int:
        """Failures in a row including the one now, after `before` of them and then `ready_seconds` of service."""
        return 1 if ready_seconds >= self.healthy_seconds else before + 1

    def delay_seconds(self, failures: int, chance: float) -> float:
        """The wait after so many failures in a row (at least 1); `chance` is uniform in [0, 1)."""
        steps = min(failures - 1, 64)  # far beyond any cap, and far below where a float overflows
        full = min(self.cap_seconds, self.first_seconds * self.factor**steps)
        return full * (1 - self.jitter * chance)

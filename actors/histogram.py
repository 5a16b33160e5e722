"""How often something took how long, in buckets: plain numbers, which Prometheus and operators are given."""

from bisect import bisect_left
from typing import Final

# Upper bounds in seconds; what takes longer than the last falls into one more bucket without a bound.
LATENCY_SECONDS: Final = (
    *(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
    *(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
)


class Histogram:
    """How often something took how long. To observe many at once costs no more than one."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(LATENCY_SECONDS) + 1)
        """By bucket: up to each of LATENCY_SECONDS, and beyond."""
        self.seconds = 0.0
        """The sum of all."""

    def observe(self, seconds: float, times: int = 1) -> None:
        """So many took this long."""
        self.counts[bisect_left(LATENCY_SECONDS, seconds)] += times
        self.seconds += seconds * times

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """The least bound that this share of all, 0 to 1, stays within; infinity beyond the last; 0.0 without any."""
        wanted = share * self.count
        if not wanted:
            return 0.0
        seen = 0
        for bound, count in zip((*LATENCY_SECONDS, float("inf")), self.counts, strict=True):
            seen += count
            if seen >= wanted:
                return bound
        raise AssertionError("a share of more than all")

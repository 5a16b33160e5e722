"""How much one client may have: requests per second, and connections. Pure: time comes in as an argument."""

from collections import Counter
from ipaddress import IPv6Address

from actors.networks import address_of


class TokenBucket:
    """Allows `rate` requests a second on average and `burst` at once.

    Args:
        rate: Tokens that come in per second.
        burst: Tokens it holds at most, and at first.
        now: Seconds, on any clock that never goes back; the same one for every call.
    """

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._updated = now

    def take(self, wanted: int, now: float) -> int:
        """Take up to `wanted` tokens and return how many there were."""
        self._tokens = min(self._burst, self._tokens + (now - self._updated) * self._rate)
        self._updated = now
        granted = max(0, min(wanted, int(self._tokens)))
        self._tokens -= granted
        return granted

    def owe(self, count: int) -> None:
        """Take tokens whether they are there or not: who comes next waits until they have come in."""
        self._tokens -= count

    def seconds_until_next(self) -> float:
        """From the last `take` on, how long until there is a token."""
        return max(0.0, (1.0 - self._tokens) / self._rate)


class Connections:
    """Counts connections, in all and per address, and refuses those over the caps."""

    def __init__(self, most: int, most_per_address: int) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._by_address: Counter[str] = Counter()
        self._count = 0

    def admit(self, host: str) -> bool:
        """Count one connection in, or refuse it. Who is admitted must `leave`."""
        address = _counted_as(host)
        if self._count >= self._most or self._by_address[address] >= self._most_per_address:
            return False
        self._by_address[address] += 1
        self._count += 1
        return True

    def leave(self, host: str) -> None:
        """Count one admitted connection out."""
        address = _counted_as(host)
        self._by_address[address] -= 1
        self._count -= 1
        if self._by_address[address] == 0:
            del self._by_address[address]


def _counted_as(host: str) -> str:
    """What counts as one address: for IPv6 the /64, which is what one customer is given, and anybody can wander in."""
    try:
        address = address_of(host)
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return str(address)
    return str(IPv6Address(int(address) >> 64 << 64))

"""How much one client may have: requests per second, and connections. Pure: time comes in as an argument."""

from collections import Counter
from ipaddress import IPv6Address

from actors.gateway_counts import TOO_MANY, TOO_MANY_OF_ADDRESS
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

    def give(self, count: int) -> None:
        """Put tokens in, as far as there is room."""
        self._tokens = min(self._burst, self._tokens + count)

    def is_full(self, now: float) -> bool:
        """Whether it is as it was at first."""
        return self._tokens + (now - self._updated) * self._rate >= self._burst

    def seconds_until_next(self) -> float:
        """From the last `take` on, how long until there is a token."""
        return max(0.0, (1.0 - self._tokens) / self._rate)


class NoRoom(Exception):  # noqa: N818 - names what happened
    """There are too many connections; `reason` is one of those that are counted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Connections:
    """Counts connections, in all and per address, and refuses those over the caps."""

    def __init__(self, most: int, most_per_address: int) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._by_address: Counter[str] = Counter()
        self._count = 0

    def enter(self, host: str | None) -> "Place":
        """A place for one connection more, among all of this host's address.

        None is for a balancer's, whose client is not known yet: it counts among all alone. Raises NoRoom.
        """
        if self._count >= self._most:
            raise NoRoom(TOO_MANY)
        place = Place(self)
        place.move(host)
        self._count += 1
        return place

    def count(self, address: str) -> None:
        """One more of this address. Raises NoRoom. For places."""
        if self._by_address[address] >= self._most_per_address:
            raise NoRoom(TOO_MANY_OF_ADDRESS)
        self._by_address[address] += 1

    def discount(self, address: str) -> None:
        """One fewer of this address. For places."""
        self._by_address[address] -= 1
        if self._by_address[address] == 0:
            del self._by_address[address]

    def left(self) -> None:
        """One fewer in all. For places."""
        self._count -= 1


class Place:
    """Room for one connection, to be left once."""

    __slots__ = ("_address", "_connections")

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._address: str | None = None

    def move(self, host: str | None) -> None:
        """From now on it is this host's. Raises NoRoom, and then it is nobody's, but has to be left all the same."""
        if self._address is not None:
            self._connections.discount(self._address)
            self._address = None
        if host is not None:
            address = _counted_as(host)
            self._connections.count(address)
            self._address = address

    def leave(self) -> None:
        """Make room."""
        self.move(None)
        self._connections.left()


def _counted_as(host: str) -> str:
    """What counts as one address: for IPv6 the /64, which is what one customer is given, and anybody can wander in."""
    try:
        address = address_of(host)
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return str(address)
    return str(IPv6Address(int(address) >> 64 << 64))

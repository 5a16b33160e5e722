"""What one account may ask of the exchange, over all its connections: requests per second, and orders per trade.

Whoever opens more connections gets no more of it, and whoever connects anew begins where he was.

The limit of orders to trades is a bucket too. Each new order, amendment or replacement takes one token, each trade of
the account gives some back, and a few come by themselves, so that a quiet account is never shut out for good. Cancels
take none: getting out is always possible.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from math import ceil
from typing import Final

from attrs import field, frozen
from attrs.validators import and_, ge, le

from actors.gateway_counts import ORDERS_TO_TRADES, GatewayCounts
from actors.limits import TokenBucket
from actors.wire import RefusedError
from book.codes import TOO_MANY_REQUESTS
from book.events import Event, Trade

# So many of those who are gone are looked at when somebody comes: more than come, so the memory of them stays small.
LOOKS: Final = 2


def _count(default: int, least: int = 1) -> int:
    count: int = field(default=default, validator=and_(ge(least), le(10_000_000)))
    return count


@frozen(kw_only=True)
class AccountLimitsConfig:
    """What one account may do, over all its connections. Counts from 1 to 10,000,000."""

    requests_per_second: int = _count(200_000)
    burst: int = _count(400_000)
    """Requests that may come at once after a while of silence."""
    orders_per_trade: int = _count(0, least=0)
    """Orders that each trade makes room for. 0: no limit of orders to trades."""
    order_burst: int = _count(100_000)
    """Orders that may come without a trade, after a while without orders."""
    orders_per_second: int = _count(100)
    """Room for orders that comes without trades."""


class AccountLimit:
    """What is left to one account."""

    __slots__ = ("_clock", "_counts", "orders", "requests", "sessions")

    def __init__(self, config: AccountLimitsConfig, clock: Callable[[], float], counts: GatewayCounts) -> None:
        now = clock()
        self._clock = clock
        self._counts = counts
        self.sessions = 0
        self.requests = TokenBucket(config.requests_per_second, config.burst, now)
        self.orders: TokenBucket | None = None
        if config.orders_per_trade:
            self.orders = TokenBucket(config.orders_per_second, config.order_burst, now)

    def take_order(self) -> None:
        """One order more. Raises RefusedError when there were too many for the trades that came of them."""
        if self.orders is None or self.orders.take(1, self._clock()):
            return
        self._counts.refused_requests[ORDERS_TO_TRADES] += 1
        wait_ms = max(1, ceil(self.orders.seconds_until_next() * 1_000))
        raise RefusedError(
            TOO_MANY_REQUESTS,
            f"too many orders for the trades that came of them; wait {wait_ms} ms, or trade. Cancels are always taken",
            reason="ORDERS_TO_TRADES",
            retry_after=wait_ms,
        )

    def is_untouched(self) -> bool:
        """Nothing is lost by forgetting it: a new one would be the same."""
        now = self._clock()
        return self.requests.is_full(now) and (self.orders is None or self.orders.is_full(now))


class AccountLimits:
    """The limits of the accounts that are logged on, and of those that were until a while ago.

    Args:
        config: What each may do.
        clock: Seconds, on any clock that never goes back.
        counts: Where refusals are counted.
    """

    def __init__(self, config: AccountLimitsConfig, clock: Callable[[], float], counts: GatewayCounts) -> None:
        self._config = config
        self._clock = clock
        self._counts = counts
        self._present: dict[int, AccountLimit] = {}
        self._gone: OrderedDict[int, AccountLimit] = OrderedDict()

    def __len__(self) -> int:
        return len(self._present) + len(self._gone)

    def join(self, account: int) -> AccountLimit:
        """One more session speaks for the account; it must `leave`."""
        limit = self._present.get(account) or self._gone.pop(account, None)
        if limit is None:
            limit = AccountLimit(self._config, self._clock, self._counts)
        self._present[account] = limit
        limit.sessions += 1
        self._forget()
        return limit

    def leave(self, account: int) -> None:
        """One session fewer."""
        limit = self._present[account]
        limit.sessions -= 1
        if not limit.sessions:
            self._gone[account] = self._present.pop(account)

    def _forget(self) -> None:
        """Drop those who have been gone for so long that nothing is held against them."""
        for _ in range(min(LOOKS, len(self._gone))):
            account, limit = self._gone.popitem(last=False)
            if not limit.is_untouched():
                self._gone[account] = limit

    def heard(self, events: Iterable[Event]) -> None:
        """Make room for the trades among these events."""
        for event in events:
            if type(event) is Trade and event.taker_account != event.maker_account:
                self._traded(event.taker_account)
                self._traded(event.maker_account)

    def _traded(self, account: int) -> None:
        limit = self._present.get(account) or self._gone.get(account)
        if limit is not None and limit.orders is not None:
            limit.orders.give(self._config.orders_per_trade)

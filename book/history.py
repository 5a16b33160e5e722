"""What happened of late: to an account its trades and finished orders, in a market its trades and candles.

Bounded, a pure fold over what took effect, and part of the engine's state: the same after every restart.

Theory of operation of the candles. A trade touches one candle only, the current one of the finest interval. When a
trade comes that is past its end, the candle is closed and folded into the current one of the next coarser interval, and
so on. What a coarse interval has not been told yet is therefore in the current candles of the finer ones, each of which
goes on where the coarser one ends; whoever asks gets it folded in. Intervals without trades have no candle.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from book.events import OrderView
from book.latest import Latest
from book.queries import Candle
from book.terms import MAX_INT

ACCOUNT_TRADES: Final = 1_000
FINISHED_ORDERS: Final = 1_000
MARKET_TRADES: Final = 1_000
CLOSED_CANDLES: Final = 1_500  # of each interval, beside the current one

MINUTE_NS: Final = 60_000_000_000
# Every one is a whole number of the one before, for its candles are made of those.
INTERVALS: Final[dict[int, str]] = {
    MINUTE_NS: "1m",
    5 * MINUTE_NS: "5m",
    15 * MINUTE_NS: "15m",
    60 * MINUTE_NS: "1h",
    240 * MINUTE_NS: "4h",
    1_440 * MINUTE_NS: "1d",
}


class FinishedOrders(Latest[OrderView]):
    """An account's last finished orders, as they ended, in the order in which they ended."""

    def __init__(self) -> None:
        super().__init__(FINISHED_ORDERS)

    def get(self, order_id: int) -> OrderView | None:
        """The order, if it is among the last; the newer, the sooner found."""
        # An index would cost every order that ends more than this costs the few that are asked for.
        for view in reversed(self.all()):
            if view.order_id == order_id:
                return view
        return None


@mypyc_attr(acyclic=True)
class LiveCandle:
    """A candle as it grows. Prices in ticks, volumes in lots and quote units."""

    __slots__ = ("close", "count", "end_ns", "high", "low", "open", "open_ns", "quote_volume", "volume")

    def __init__(  # noqa: PLR0917 -- as in the answer and in the image
        self,
        open_ns: int,
        end_ns: int,
        open_: int,
        high: int,
        low: int,
        close: int,
        volume: int,
        quote_volume: int,
        count: int,
    ) -> None:
        self.open_ns: Final = open_ns
        self.end_ns: Final = end_ns
        self.open: Final = open_
        self.high = high
        self.low = low
        self.close = close
        self.volume = volume
        self.quote_volume = quote_volume
        self.count = count

    def within(self, interval_ns: int) -> "LiveCandle":
        """The candle of a coarser interval that has nothing but this one in it yet."""
        open_ns = self.open_ns - self.open_ns % interval_ns
        return LiveCandle(
            open_ns,
            open_ns + interval_ns,
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
            self.quote_volume,
            self.count,
        )

    def absorb(self, later: "LiveCandle") -> None:
        """Take in a candle that begins later and ends no later."""
        self.high = max(self.high, later.high)
        self.low = min(self.low, later.low)
        self.close = later.close
        self.volume += later.volume
        self.quote_volume += later.quote_volume
        self.count += later.count

    def view(self) -> Candle:
        """The candle as it stands; volumes that exceed 64 bits are as high as these go."""
        return Candle(
            self.open_ns,
            self.open,
            self.high,
            self.low,
            self.close,
            min(self.volume, MAX_INT),
            min(self.quote_volume, MAX_INT),
            self.count,
        )


class CandleSeries:
    """The candles of one interval: those that are closed, and the current one as far as it has been told."""

    __slots__ = ("closed", "current", "interval_ns")

    def __init__(self, interval_ns: int) -> None:
        self.interval_ns: Final = interval_ns
        self.closed: Final[Latest[LiveCandle]] = Latest(CLOSED_CANDLES)
        self.current: LiveCandle | None = None

    def told(self) -> list[LiveCandle]:
        """All of them, oldest first."""
        candles = self.closed.all()
        if self.current is not None:
            candles.append(self.current)
        return candles

    def turn_to(self, candle: LiveCandle) -> LiveCandle | None:
        """This is the current candle from now on; the one that is thereby closed, if any."""
        closed = self.current
        if closed is not None:
            self.closed.add(closed)
        self.current = candle
        return closed

    def fold(self, finer: LiveCandle) -> LiveCandle | None:
        """Take in a closed candle of the next finer interval; the one of this interval that is thereby closed."""
        if self.current is not None and finer.open_ns < self.current.end_ns:
            self.current.absorb(finer)
            return None
        return self.turn_to(finer.within(self.interval_ns))


class Candles:
    """A market's candles of all intervals."""

    __slots__ = ("_coarser", "_finest", "_series")

    def __init__(self) -> None:
        self._series: Final = [CandleSeries(interval_ns) for interval_ns in INTERVALS]
        self._finest: Final = self._series[0]
        self._coarser: Final = self._series[1:]

    def add(self, price: int, lots: int, notional: int, time_ns: int) -> None:
        """Count a trade."""
        candle = self._finest.current
        if candle is None or time_ns >= candle.end_ns:
            open_ns = time_ns - time_ns % MINUTE_NS
            self._turn(LiveCandle(open_ns, open_ns + MINUTE_NS, price, price, price, price, lots, notional, 1))
            return
        # Comparisons, for max() and min() are calls and this is hot.
        if price > candle.high:  # noqa: PLR1730 -- see above
            candle.high = price
        if price < candle.low:  # noqa: PLR1730 -- see above
            candle.low = price
        candle.close = price
        candle.volume += lots
        candle.quote_volume += notional
        candle.count += 1

    def _turn(self, candle: LiveCandle) -> None:
        closed = self._finest.turn_to(candle)
        for series in self._coarser:
            if closed is None:
                break
            closed = series.fold(closed)

    def of(self, interval_ns: int) -> list[LiveCandle]:
        """The current candle of this interval, which is one of `INTERVALS`, and the last closed ones; oldest first."""
        told = [series for series in self._series if series.interval_ns <= interval_ns]
        untold = [series.current for series in reversed(told) if series.current is not None]
        return (told[-1].closed.all() + _folded(untold, interval_ns))[-1 - CLOSED_CANDLES :]

    def since(self, start_ns: int) -> LiveCandle | None:
        """All minutes from this one on in one candle; None if nothing was traded in them."""
        minutes = [candle for candle in self.of(MINUTE_NS) if candle.open_ns >= start_ns]
        if not minutes:
            return None
        span = minutes[0].within(MINUTE_NS)
        for candle in minutes[1:]:
            span.absorb(candle)
        return span

    def check(self) -> None:
        """Every candle is what the finer ones of its time make together. Raises AssertionError."""
        finer: list[LiveCandle] = []
        for series in self._series:
            _check(series.told(), series.interval_ns)
            candles = self.of(series.interval_ns)
            made = _folded(finer, series.interval_ns)
            if len(finer) >= CLOSED_CANDLES:
                del made[0]  # a part of it may be forgotten
            elif finer and len(made) != len(candles):
                raise AssertionError(f"{len(candles)} candles of {series.interval_ns} ns are made of {len(made)}")
            if [c.view() for c in made] != [c.view() for c in candles[len(candles) - len(made) :]]:
                raise AssertionError(f"the candles of {series.interval_ns} ns are not made of the finer ones")
            finer = candles

    def image(self) -> list[list[Candle]]:
        """For each interval the candles, oldest first and the current one last."""
        return [[candle.view() for candle in series.told()] for series in self._series]

    def restore(self, image: list[list[Candle]]) -> None:
        """Become, from empty, what `image` was taken of.

        Raises:
            ValueError: there are not as many intervals.
        """
        for series, rows in zip(self._series, image, strict=True):
            for row in rows:
                series.turn_to(_restored(row, series.interval_ns))


def _folded(candles: list[LiveCandle], interval_ns: int) -> list[LiveCandle]:
    """Candles, oldest first, as those of a coarser interval."""
    coarser: list[LiveCandle] = []
    for candle in candles:
        if coarser and candle.open_ns < coarser[-1].end_ns:
            coarser[-1].absorb(candle)
        else:
            coarser.append(candle.within(interval_ns))
    return coarser


def _check(candles: list[LiveCandle], interval_ns: int) -> None:
    """Each by itself is possible, and they follow each other."""
    end_ns = 0
    for candle in candles:
        if candle.open_ns < end_ns or candle.open_ns % interval_ns or candle.end_ns != candle.open_ns + interval_ns:
            raise AssertionError(f"a candle of {interval_ns} ns opens at {candle.open_ns} and ends at {candle.end_ns}")
        if not 1 <= candle.low <= min(candle.open, candle.close) <= max(candle.open, candle.close) <= candle.high:
            raise AssertionError(f"the candle of {candle.open_ns} has impossible prices: {candle.view()}")
        if not 1 <= candle.count <= min(candle.volume, candle.quote_volume):
            raise AssertionError(f"the candle of {candle.open_ns} has impossible volumes: {candle.view()}")
        end_ns = candle.end_ns


def _restored(row: Candle, interval_ns: int) -> LiveCandle:
    return LiveCandle(
        row.open_ns,
        row.open_ns + interval_ns,
        row.open,
        row.high,
        row.low,
        row.close,
        row.volume,
        row.quote_volume,
        row.count,
    )

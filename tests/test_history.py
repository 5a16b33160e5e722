"""What is remembered: bounded memories, and candles held against ones that are made of all trades at once."""

from itertools import pairwise
from random import Random

import pytest

from book.events import OrderView
from book.history import (
    CLOSED_CANDLES,
    FINISHED_ORDERS,
    INTERVALS,
    MINUTE_NS,
    Candles,
    FinishedOrders,
)
from book.latest import Latest
from book.queries import Candle
from book.terms import BUY, FILLED, GTC, LIMIT, MAX_INT
from tests.counts import seeds
from tests.exchange import START_NS

Print = tuple[int, int, int, int]  # price, lots, notional, time


def view(order_id: int) -> OrderView:
    """An order that was filled."""
    return OrderView(order_id, 1, "BTC-USDT", f"order-{order_id}", BUY, LIMIT, GTC, 5, 7, 0, 7, 35, FILLED, 1, 2)


def made_of(prints: list[Print], interval_ns: int) -> list[Candle]:
    """The candles that remain of these trades."""
    by_open: dict[int, list[Print]] = {}
    for row in prints:
        by_open.setdefault(row[3] // interval_ns * interval_ns, []).append(row)
    candles = []
    for open_ns, rows in by_open.items():
        prices, lots, notionals = [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]
        volumes = min(sum(lots), MAX_INT), min(sum(notionals), MAX_INT)
        candles.append(Candle(open_ns, prices[0], max(prices), min(prices), prices[-1], *volumes, len(rows)))
    return candles[-1 - CLOSED_CANDLES :]


def views(candles: Candles, interval_ns: int) -> list[Candle]:
    """What the history has of an interval."""
    return [candle.view() for candle in candles.of(interval_ns)]


def restored(candles: Candles) -> Candles:
    """The same after a restart, which gives the same image again."""
    copied = Candles()
    copied.restore(candles.image())
    assert copied.image() == candles.image()
    return copied


def test_the_last_things_are_remembered_in_their_order() -> None:
    """Up to the bound; from then on each new one takes the place of the oldest."""
    latest: Latest[int] = Latest(3)
    for number in range(8):
        assert latest.all() == list(range(max(0, number - 3), number))
        latest.add(number)


def test_the_last_thousand_orders_are_found_by_id() -> None:
    """One more than the bound forgets the one that ended first, not the one with the lowest id."""
    orders = FinishedOrders()
    ids = [5, *range(100, 100 + FINISHED_ORDERS - 1)]
    for order_id in reversed(ids):
        orders.add(view(order_id))
    assert orders.get(ids[-1]) == view(ids[-1])
    orders.add(view(1))
    assert orders.get(ids[-1]) is None
    assert orders.get(5) == view(5)
    assert orders.get(1) == view(1)
    assert orders.get(10**30) is None
    assert len(orders.all()) == FINISHED_ORDERS
    assert orders.all()[-1] == view(1)


def test_each_interval_is_a_whole_number_of_the_one_before() -> None:
    """Which is what lets candles be made of finer ones; all of them begin with the day, as days do since 1970."""
    intervals = list(INTERVALS)
    assert intervals[0] == MINUTE_NS
    for finer, coarser in pairwise(intervals):
        assert coarser > finer
        assert coarser % finer == 0


@pytest.mark.parametrize("seed", seeds(4, 200))
def test_candles_are_those_of_all_trades_together(seed: int) -> None:
    """Busy minutes, idle weeks and a restart now and then, over more minutes than are remembered."""
    random = Random(seed)
    candles, prints, time_ns = Candles(), list[Print](), START_NS
    for number in range(4_000):
        time_ns += random.choice((0, 1, MINUTE_NS // 3, MINUTE_NS, MINUTE_NS, 7 * MINUTE_NS))
        time_ns += random.choice(list(INTERVALS)) * (random.random() < 0.05)
        prints.append((random.randint(1, 99), random.randint(1, 99), random.randint(1, 10**6), time_ns))
        candles.add(*prints[-1])
        if number % 500 == 499 or (number < 50 and number % 7 == 0):
            candles.check()
            for interval_ns in INTERVALS:
                assert views(candles, interval_ns) == made_of(prints, interval_ns)
            candles = restored(candles)
    assert len(candles.of(MINUTE_NS)) == CLOSED_CANDLES + 1


def test_a_candle_begins_with_its_interval_and_ends_before_the_next() -> None:
    """The last nanosecond of a day is in its candles, the first of the next is not."""
    day_ns = 1_440 * MINUTE_NS
    midnight = START_NS // day_ns * day_ns + day_ns
    candles = Candles()
    candles.add(5, 1, 5, midnight - 1)
    candles.add(7, 2, 14, midnight)
    for interval_ns in INTERVALS:
        assert views(candles, interval_ns) == [
            Candle(midnight - interval_ns, 5, 5, 5, 5, 1, 5, 1),
            Candle(midnight, 7, 7, 7, 7, 2, 14, 1),
        ]


def test_there_are_no_candles_where_nothing_was_traded() -> None:
    """Not before the first trade, not in between, and time alone ends none."""
    candles = Candles()
    assert [candles.of(interval_ns) for interval_ns in INTERVALS] == [[]] * len(INTERVALS)
    assert candles.since(0) is None
    candles.add(5, 1, 5, START_NS)
    candles.add(5, 1, 5, START_NS + 100 * MINUTE_NS)
    assert len(candles.of(MINUTE_NS)) == 2
    candles.check()
    restored(candles).check()


def test_volumes_stop_where_64_bits_do() -> None:
    """However much is traded in an interval, every stored number fits; the count goes on."""
    candles, prints = Candles(), list[Print]()
    for number in range(12):
        prints.append((3, MAX_INT // 3, MAX_INT, START_NS + number * MINUTE_NS // 2))
        candles.add(*prints[-1])
        candles.check()
        for interval_ns in INTERVALS:
            assert views(candles, interval_ns) == made_of(prints, interval_ns)
        candles = restored(candles)
    day = candles.since(0)
    assert day is not None
    assert day.view() == Candle(day.open_ns, 3, 3, 3, 3, MAX_INT, MAX_INT, 12)


def test_minutes_are_summed_from_a_given_one_on() -> None:
    """What a ticker shows: the first price, the extremes, the last price and the sums, and nothing of before."""
    candles = Candles()
    minute = START_NS // MINUTE_NS * MINUTE_NS
    for number, price in enumerate((1, 50, 9, 70, 30)):
        candles.add(price, number + 1, 10, minute + number * MINUTE_NS)
    span = candles.since(minute + MINUTE_NS)
    assert span is not None
    assert span.view() == Candle(minute + MINUTE_NS, 50, 70, 9, 30, 2 + 3 + 4 + 5, 40, 4)
    assert views(candles, MINUTE_NS)[1].count == 1
    assert candles.since(minute + 5 * MINUTE_NS) is None


def test_candles_of_other_intervals_are_not_restored() -> None:
    """An image of more or fewer is none."""
    for count in (0, len(INTERVALS) - 1, len(INTERVALS) + 1):
        with pytest.raises(ValueError, match="argument"):
            Candles().restore([[]] * count)

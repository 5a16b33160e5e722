"""Timers: what is due next, in which order, and that what was set anew or cleared leaves nothing behind."""

from random import Random

import pytest

from book.terms import MAX_INT
from book.timers import CANCEL_ALL, EXPIRY, RESUMPTION, SPARE, Timers
from tests.counts import count, seeds


def drained(timers: Timers, now_ns: int) -> list[tuple[int, int]]:
    """All that is due by now, in the order in which it is taken."""
    taken: list[tuple[int, int]] = []
    while (timer := timers.take(now_ns)) is not None:
        taken.append(timer)
    return taken


def test_nothing_is_ever_due_where_nothing_is_set() -> None:
    """Zero says so, at any time."""
    timers = Timers()
    timers.clear(EXPIRY, 1)
    assert timers.next_ns == 0
    assert timers.take(MAX_INT) is None
    assert timers.due() == {}


def test_what_is_due_comes_in_the_order_of_time_then_kind_then_number() -> None:
    """At its very moment, not a nanosecond before, and each once."""
    timers = Timers()
    for kind, number, due_ns in (
        *((RESUMPTION, 0, 50), (CANCEL_ALL, 9, 50), (CANCEL_ALL, 2, 50), (EXPIRY, 7, 50), (EXPIRY, 3, 50)),
        *((RESUMPTION, 5, 49), (EXPIRY, 1, 51)),
    ):
        timers.set(kind, number, due_ns)
    assert timers.next_ns == 49
    assert timers.take(48) is None
    assert drained(timers, 49) == [(RESUMPTION, 5)]
    assert timers.next_ns == 50
    expected = [(EXPIRY, 3), (EXPIRY, 7), (CANCEL_ALL, 2), (CANCEL_ALL, 9), (RESUMPTION, 0)]
    assert drained(timers, 50) == expected
    assert (timers.next_ns, timers.due()) == (51, {(EXPIRY, 1): 51})
    assert drained(timers, MAX_INT) == [(EXPIRY, 1)]
    assert timers.next_ns == 0


@pytest.mark.parametrize(("first", "second"), [(50, 90), (90, 50), (50, 50)])
def test_a_timer_that_is_set_anew_is_due_once_at_its_new_time(first: int, second: int) -> None:
    """Earlier, later or at the same moment."""
    timers = Timers()
    timers.set(CANCEL_ALL, 1, first)
    timers.set(CANCEL_ALL, 2, 70)
    timers.set(CANCEL_ALL, 1, second)
    assert timers.next_ns == min(second, 70)
    assert drained(timers, second - 1) == ([] if second < 70 else [(CANCEL_ALL, 2)])
    assert (CANCEL_ALL, 1) in drained(timers, second)
    drained(timers, 70)
    assert drained(timers, MAX_INT) == []


def test_a_cleared_timer_is_never_due_and_can_be_set_again() -> None:
    """Also at the time it was once set to."""
    timers = Timers()
    for number, due_ns in ((1, 50), (2, 60), (3, 70)):
        timers.set(EXPIRY, number, due_ns)
    timers.clear(EXPIRY, 2)
    timers.clear(EXPIRY, 1)
    assert timers.next_ns == 70
    timers.set(EXPIRY, 1, 50)
    timers.set(EXPIRY, 1, 80)
    timers.set(EXPIRY, 1, 50)
    assert drained(timers, MAX_INT) == [(EXPIRY, 1), (EXPIRY, 3)]


def test_kinds_of_one_number_do_not_mix() -> None:
    """Order 1, account 1 and market 1 are three things."""
    timers = Timers()
    for kind in (RESUMPTION, CANCEL_ALL, EXPIRY):
        timers.set(kind, 1, 50)
    timers.clear(CANCEL_ALL, 1)
    assert drained(timers, 50) == [(EXPIRY, 1), (RESUMPTION, 1)]


def test_times_at_the_end_of_64_bits_are_times_like_any_other() -> None:
    """The last moment comes last, and comes."""
    timers = Timers()
    timers.set(EXPIRY, MAX_INT, MAX_INT)
    timers.set(EXPIRY, 1, MAX_INT - 1)
    assert timers.next_ns == MAX_INT - 1
    assert drained(timers, MAX_INT - 1) == [(EXPIRY, 1)]
    assert drained(timers, MAX_INT) == [(EXPIRY, MAX_INT)]


@pytest.mark.parametrize("ever_later", [True, False])
def test_a_switch_set_over_and_over_keeps_the_heap_small(ever_later: bool) -> None:
    """What is stale is bounded by what counts, whichever way the times go."""
    timers = Timers()
    for number in range(10):
        timers.set(CANCEL_ALL, number, 10**6 + number)
    for step in range(count(10_000, 200_000)):
        timers.set(CANCEL_ALL, step % 7, 10**6 + (step if ever_later else -step))
        assert len(timers._heap) <= SPARE + 2 * 10 + 1
    assert len(drained(timers, MAX_INT)) == 10
    assert timers._heap == []


def test_orders_that_come_and_go_leave_nothing_in_the_heap() -> None:
    """Cleared timers go with the next that are set."""
    timers = Timers()
    for number in range(count(10_000, 100_000)):
        timers.set(EXPIRY, number, 10**9 - number % 977)
        timers.clear(EXPIRY, number)
        assert len(timers._heap) <= SPARE + 1
    assert (timers.next_ns, timers.due()) == (0, {})


@pytest.mark.parametrize("seed", seeds(6, 60))
def test_random_timers_agree_with_a_sorted_list(seed: int) -> None:
    """Set, set anew, cleared and taken in any order, what is next is the least of what is set."""
    random = Random(seed)
    timers = Timers()
    expected: dict[tuple[int, int], int] = {}
    for now_ns in range(count(2_000, 20_000)):
        timer = (random.randrange(3), random.randrange(12))
        choice = random.random()
        if choice < 0.5:
            expected[timer] = now_ns + random.randint(1, 30)
            timers.set(*timer, expected[timer])
        elif choice < 0.7:
            expected.pop(timer, None)
            timers.clear(*timer)
        else:
            due = sorted((due_ns, *each) for each, due_ns in expected.items() if due_ns <= now_ns)
            assert drained(timers, now_ns) == [(kind, number) for _, kind, number in due]
            for _, kind, number in due:
                del expected[kind, number]
        assert timers.due() == expected
        assert timers.next_ns == min(expected.values(), default=0)

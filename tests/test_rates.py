"""Parts per million: exact in sum, never more than a unit against the customer, within 64 bits."""

from fractions import Fraction
from math import ceil

from hypothesis import example, given
from hypothesis import strategies as st

from book.rates import affordable, fee, part
from book.terms import MAX_INT, PPM

amounts = st.integers(0, MAX_INT)
rates = st.integers(0, PPM)


@given(amounts, rates)
@example(MAX_INT, PPM)
@example(MAX_INT, PPM - 1)
@example(0, PPM)
def test_part_is_the_exact_part_rounded_down(amount: int, rate: int) -> None:
    """Splitting the amount before multiplying changes nothing."""
    assert part(amount, rate) == amount * rate // PPM


@given(st.lists(st.tuples(st.integers(1, 10**13), st.sampled_from([0, 1, 999, 1_000, 2_000, 333_333, PPM]))))
@example([(1, 1)] * 50)
@example([(MAX_INT, PPM)])
def test_an_orders_fees_add_up_to_the_exact_sum_rounded_up(fills: list[tuple[int, int]]) -> None:
    """However many trades an order takes, at whatever rates, it has paid the exact sum rounded up once."""
    exact, paid, ahead = Fraction(0), 0, 0
    for notional, rate in fills:
        units, ahead = fee(notional, rate, ahead)
        exact += Fraction(notional * rate, PPM)
        paid += units
        assert 0 <= units <= notional
        assert paid == ceil(exact)
        assert Fraction(ahead, PPM) == paid - exact


@given(amounts, rates, st.integers(0, PPM - 1))
def test_a_rebate_is_rounded_down_and_leaves_what_was_paid_ahead(notional: int, rate: int, ahead: int) -> None:
    """A negative rate pays out no more than the exact part, so the same trade's fee always covers it."""
    if rate:
        units, after = fee(notional, -rate, ahead)
        assert (-units, after) == (notional * rate // PPM, ahead)
        assert fee(notional, rate, ahead)[0] >= -units


@given(amounts, st.integers(1, 10**12), rates, st.integers(0, PPM - 1))
@example(MAX_INT, 1, 0, 0)
@example(0, 1, PPM, PPM - 1)
def test_affordable_is_the_most_that_fits(budget: int, unit_cost: int, rate: int, ahead: int) -> None:
    """That many lots and their fee fit the budget, and one more does not."""
    lots = affordable(budget, unit_cost, rate, ahead)
    for count, fits in ((lots, True), (lots + 1, False)):
        units, _ = fee(count * unit_cost, rate, ahead)
        assert (count * unit_cost + units <= budget) == fits

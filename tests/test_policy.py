"""The policy of withdrawals: every rule at its bound, their order, and what stays true whatever the figures are."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from book.terms import MAX_INT
from chains.policy import (
    DAY_SECONDS,
    HIGH,
    LOW,
    MAX_DELAY_SECONDS,
    WITHIN,
    Approved,
    AwaitingOperator,
    Figures,
    Limits,
    Rejected,
    Waits,
    band,
    decide,
)

LIMITS = Limits(
    automatic=100,
    per_transaction=1_000,
    per_hour=300,
    per_account_day=200,
    new_address_seconds=60,
    hot_low=50,
    hot_high=5_000,
)
CALM = Figures(hour=0, account_day=0, address_seconds=60, hot=5_000)


def figures(**changes: int) -> Figures:
    """Those that no rule minds, changed so."""
    return Figures(
        **{"hour": CALM.hour, "account_day": CALM.account_day, "address_seconds": 60, "hot": 5_000, **changes}
    )


@pytest.mark.parametrize(
    ("amount", "given_figures", "expected"),
    [
        (1, CALM, Approved),
        (100, CALM, Approved),
        (101, CALM, AwaitingOperator),
        (1_000, CALM, AwaitingOperator),
        (1_001, CALM, Rejected),
        (100, figures(hour=200), Approved),
        (100, figures(hour=201), AwaitingOperator),
        (100, figures(account_day=100), Approved),
        (100, figures(account_day=101), AwaitingOperator),
        (100, figures(address_seconds=59), Waits),
        (100, figures(address_seconds=0), Waits),
        (100, figures(hot=150), Approved),
        (100, figures(hot=149), Waits),
        (100, figures(hot=0), Waits),
    ],
)
def test_each_rule_at_its_bound(amount: int, given_figures: Figures, expected: type) -> None:
    """One less passes, one more does not."""
    assert type(decide(amount, given_figures, LIMITS)) is expected


def test_the_rules_come_in_their_order() -> None:
    """What is too much is refused at once; a new address comes before the wallet, and both before operators."""
    worst = Figures(hour=10**6, account_day=10**6, address_seconds=0, hot=0)
    assert decide(1_001, worst, LIMITS) == Rejected(
        "1001 units are more than 1000, which may be withdrawn at once",
    )
    assert decide(1_000, worst, LIMITS) == Waits("the address is new: it waits for 60 s more")
    known = Figures(hour=10**6, account_day=10**6, address_seconds=60, hot=0)
    assert decide(1_000, known, LIMITS) == Waits(
        "the hot wallet has 0 units, and 50 stay in it: it needs a refill", wants_refill=True
    )
    full = Figures(hour=10**6, account_day=10**6, address_seconds=60, hot=5_000)
    assert decide(1_000, full, LIMITS) == AwaitingOperator("1000 units are more than 100, the limit for one withdrawal")
    assert decide(100, full, LIMITS) == AwaitingOperator("1000100 units are more than 300, the limit for an hour")
    assert decide(100, figures(account_day=10**6), LIMITS) == AwaitingOperator(
        "1000100 units are more than 200, the limit for an account's day"
    )


def test_every_combination_of_broken_rules() -> None:
    """Each rule met or not: the first that is not met decides."""
    for too_much, new, empty, large, busy, often in product((False, True), repeat=6):
        if too_much and not large:
            continue  # what is too much for anybody is too much to pass by itself
        amount = 1_001 if too_much else 101 if large else 100
        asked = Figures(
            hour=300 if busy else 0,
            account_day=200 if often else 0,
            address_seconds=59 if new else 60,
            hot=0 if empty else 5_000,
        )
        expected = (
            Rejected
            if too_much
            else Waits
            if new or empty
            else AwaitingOperator
            if large or busy or often
            else Approved
        )
        assert type(decide(amount, asked, LIMITS)) is expected


UNITS = st.integers(0, MAX_INT)
ANY_LIMITS = st.builds(
    lambda low, high, **rest: Limits(hot_low=min(low, high), hot_high=max(low, high), **rest),
    UNITS,
    UNITS,
    automatic=UNITS,
    per_transaction=UNITS,
    per_hour=UNITS,
    per_account_day=UNITS,
    new_address_seconds=st.integers(0, MAX_DELAY_SECONDS),
)
ANY_FIGURES = st.builds(
    Figures, hour=UNITS, account_day=UNITS, address_seconds=st.integers(0, 2 * MAX_DELAY_SECONDS), hot=UNITS
)


@given(st.integers(1, MAX_INT), ANY_FIGURES, ANY_LIMITS)
def test_what_passes_by_itself_is_within_every_limit(amount: int, asked: Figures, limits: Limits) -> None:
    """And leaves the hot wallet what it is to keep."""
    if decide(amount, asked, limits) == Approved():
        assert amount <= min(limits.automatic, limits.per_transaction)
        assert asked.hour + amount <= limits.per_hour
        assert asked.account_day + amount <= limits.per_account_day
        assert asked.address_seconds >= limits.new_address_seconds
        assert asked.hot - amount >= limits.hot_low


@given(st.integers(1, MAX_INT - 1), ANY_FIGURES, ANY_LIMITS)
def test_more_is_never_judged_more_mildly(amount: int, asked: Figures, limits: Limits) -> None:
    """From an amount to the next."""
    mildness = [Approved, AwaitingOperator, Waits, Rejected]
    less, more = (mildness.index(type(decide(each, asked, limits))) for each in (amount, amount + 1))
    assert less <= more


@pytest.mark.parametrize(
    ("hot", "where"), [(0, LOW), (49, LOW), (50, WITHIN), (5_000, WITHIN), (5_001, HIGH), (MAX_INT, HIGH)]
)
def test_the_band_of_the_hot_wallet(hot: int, where: str) -> None:
    """Both bounds are inside."""
    assert band(hot, LIMITS) == where


def test_without_limits_operators_decide() -> None:
    """And a new address waits for a day."""
    assert Limits().new_address_seconds == DAY_SECONDS
    assert isinstance(decide(1, figures(address_seconds=DAY_SECONDS, hot=MAX_INT), Limits()), AwaitingOperator)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"automatic": -1}, "automatic"),
        ({"per_hour": MAX_INT + 1}, "per_hour"),
        ({"new_address_seconds": MAX_DELAY_SECONDS + 1}, "new_address_seconds"),
        ({"hot_low": 2, "hot_high": 1}, "hot_high: 1 is less than hot_low, 2"),
    ],
)
def test_limits_out_of_range(words: dict[str, int], message: str) -> None:
    """Are refused with the name."""
    with pytest.raises(ValueError, match=message):
        Limits(**words)

"""How often and how soon: the arithmetic of restarts."""

from random import Random

import pytest

from actors.restarts import NEVER_ESCALATES, Backoff, Restarts, Window


def test_a_window_allows_n_restarts_in_any_period_and_slides() -> None:
    """Of two restarts in 10 s a third is one too many, and each is forgotten exactly 10 s after it was charged."""
    window = Window(Restarts(2, per=10))
    assert [window.charge(now) for now in (0.0, 6.0, 9.999)] == [True, True, False]
    slid = Window(Restarts(2, per=10))
    assert [slid.charge(now) for now in (0.0, 6.0, 10.0, 15.999, 26.0)] == [True, True, True, False, True]


def test_no_restart_at_all_may_be_allowed() -> None:
    """With a limit of none the first crash is one too many."""
    assert not Window(Restarts(0, per=60)).charge(0.0)


def test_never_escalates_allows_everything_and_remembers_nothing() -> None:
    """However many crashes at once, the window neither refuses nor grows."""
    window = Window(NEVER_ESCALATES)
    assert all(window.charge(1.0) for _ in range(1000))
    assert len(window._times) == 1


def test_backoff_doubles_up_to_its_cap() -> None:
    """Without jitter the delays are exact: first, doubled, capped; also after more failures than a float could hold."""
    backoff = Backoff(first_seconds=0.5, factor=2, cap_seconds=5, jitter=0)
    assert [backoff.delay_seconds(failures, 0.9) for failures in (1, 2, 3, 4, 5, 10_000)] == [0.5, 1, 2, 4, 5, 5]
    assert Backoff(factor=10, cap_seconds=7, jitter=0).delay_seconds(10**6, 0) == 7


def test_jitter_takes_off_at_most_its_share() -> None:
    """Chance shortens a delay between nothing and the jitter's share of it, and never lengthens it."""
    backoff = Backoff(first_seconds=8, cap_seconds=8, jitter=0.25)
    assert backoff.delay_seconds(1, 0.0) == 8
    assert backoff.delay_seconds(1, 0.5) == 7
    random = Random(1)
    assert all(6 <= backoff.delay_seconds(1, random.random()) <= 8 for _ in range(1000))


def test_failures_count_on_until_a_healthy_spell() -> None:
    """Who was ready for long enough fails for the first time again, at exactly the healthy time."""
    backoff = Backoff(healthy_seconds=60)
    assert backoff.failures(0, 0) == 1
    assert backoff.failures(4, 59.999) == 5
    assert backoff.failures(4, 60) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: Restarts(-1, per=1),
        lambda: Restarts(1, per=-1),
        lambda: Backoff(first_seconds=0),
        lambda: Backoff(factor=0.5),
        lambda: Backoff(factor=11),
        lambda: Backoff(cap_seconds=0),
        lambda: Backoff(jitter=1.5),
        lambda: Backoff(healthy_seconds=-1),
    ],
)
def test_senseless_limits_are_refused(make: object) -> None:
    """Numbers that mean nothing are refused where they are written down."""
    assert callable(make)
    with pytest.raises(ValueError, match="must be"):
        make()

"""What a supervisor decides, as pure functions of what it knows of its children."""

from typing import cast

import pytest
import trio

from actors.children import (
    AfterCrash,
    Child,
    Incarnation,
    Member,
    Restart,
    State,
    Strategy,
    after_crash,
    describe,
    may_start,
    next_deadline,
    next_to_stop,
    restarted_with,
    sole_cause,
    wrong_return,
)
from actors.restarts import NEVER_ESCALATES, Window


async def _never(stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
    raise AssertionError((stop, task_status))


def _members(*states: State) -> list[Member]:
    members = []
    for number, state in enumerate(states):
        member = Member(Child(f"child-{number}", _never), Window(NEVER_ESCALATES), state)
        if state in (State.STARTING, State.RUNNING, State.STOPPING):
            member.incarnation = Incarnation(0.0, lambda: None)
        member.been_ready = state is State.RUNNING
        members.append(member)
    return members


UP, DOWN, GOING = State.RUNNING, State.STOPPED, State.STOPPING


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [(Strategy.ONE_FOR_ONE, [1]), (Strategy.REST_FOR_ONE, [1, 2, 3]), (Strategy.ONE_FOR_ALL, [0, 1, 2, 3])],
)
def test_the_strategy_says_who_restarts_with_whom(strategy: Strategy, expected: list[int]) -> None:
    """One alone, it and the later ones, or all, always in order of start."""
    members = _members(UP, DOWN, UP, UP)
    assert [members.index(member) for member in restarted_with(strategy, members, members[1])] == expected


@pytest.mark.parametrize(
    ("restart", "first_start", "expected"),
    [
        *((restart, True, AfterCrash.START_FAILS) for restart in Restart),
        (Restart.PERMANENT, False, AfterCrash.RESTART),
        (Restart.TRANSIENT, False, AfterCrash.RESTART),
        (Restart.TEMPORARY, False, AfterCrash.LEFT),
    ],
)
def test_what_becomes_of_a_crashed_child(restart: Restart, first_start: bool, expected: AfterCrash) -> None:
    """A first start fails for every kind; later only a temporary child is left down."""
    assert after_crash(restart, first_start=first_start) is expected


@pytest.mark.parametrize("restart", Restart)
def test_a_return_is_a_crash_of_who_should_run_for_ever_or_was_not_ready(restart: Restart) -> None:
    """Only transient and temporary children may return, and only after they were ready."""
    assert wrong_return(restart, was_ready=False) is not None
    assert (wrong_return(restart, was_ready=True) is None) == (restart is not Restart.PERMANENT)


def test_the_last_condemned_that_lives_stops_next() -> None:
    """Reverse order, one at a time: whoever is stopping already still has the turn."""
    members = _members(UP, UP, GOING, DOWN)
    assert next_to_stop(members) is None
    for member in members:
        member.condemned = True
    assert next_to_stop(members) is members[2]
    members[2].incarnation = None
    assert next_to_stop(members) is members[1]


def test_dependent_siblings_start_when_all_before_them_run() -> None:
    """In rest_for_one and one_for_all nobody starts before an earlier wanted sibling is ready."""
    for strategy in (Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ALL):
        members = _members(UP, DOWN, DOWN)
        assert [may_start(strategy, members, member, 0.0) for member in members] == [False, True, False]
        members[1].wanted = False
        assert [may_start(strategy, members, member, 0.0) for member in members] == [False, False, True]


def test_dependent_siblings_start_only_when_all_that_must_go_are_gone() -> None:
    """A restart begins after its stops have ended."""
    members = _members(DOWN, UP)
    members[1].condemned = True
    assert not may_start(Strategy.REST_FOR_ONE, members, members[0], 0.0)
    assert may_start(Strategy.ONE_FOR_ONE, members, members[0], 0.0)


def test_independent_siblings_keep_the_order_only_the_first_time() -> None:
    """In one_for_one an earlier sibling that is down holds nobody up, once it was ready."""
    members = _members(DOWN, DOWN)
    assert not may_start(Strategy.ONE_FOR_ONE, members, members[1], 0.0)
    members[0].been_ready = True
    assert may_start(Strategy.ONE_FOR_ONE, members, members[1], 0.0)


def test_nobody_starts_before_its_time() -> None:
    """A backoff ends exactly at its time, not a moment before."""
    members = _members(State.BACKING_OFF)
    members[0].not_before = 10.0
    assert not may_start(Strategy.ONE_FOR_ONE, members, members[0], 9.999)
    assert may_start(Strategy.ONE_FOR_ONE, members, members[0], 10.0)


def test_the_next_deadline_is_the_earliest_of_patience_and_backoff() -> None:
    """A backoff that is over already but cannot start yet is no deadline: it would make the supervisor spin."""
    members = _members(UP, State.STARTING, State.BACKING_OFF)
    assert next_deadline(_members(UP, DOWN), 0.0) == float("inf")
    members[1].deadline = 30.0
    members[2].not_before = 20.0
    assert next_deadline(members, 10.0) == 20.0
    assert next_deadline(members, 20.0) == 30.0


def test_errors_are_described_in_one_line_out_of_their_groups() -> None:
    """A nursery's group around one error is looked through, a group of several is not; long texts are cut."""
    error = ValueError("line one\nline two")
    wrapped = ExceptionGroup("outer", [ExceptionGroup("inner", [error])])
    assert sole_cause(wrapped) is error
    assert describe(wrapped) == "ValueError: line one line two"
    pair = ExceptionGroup("two", [error, error])
    assert sole_cause(pair) is pair
    assert len(describe(ValueError("x" * 1000))) == 300


async def test_started_twice_is_refused() -> None:
    """As with trio's own task status."""
    incarnation = Incarnation(0.0, lambda: None)
    status = cast("trio.TaskStatus[None]", incarnation)
    status.started()
    with pytest.raises(RuntimeError, match="twice"):
        status.started()

"""The supervisor's step by itself, without tasks: what it makes of several things that happened at one instant."""

from random import Random

import pytest
import trio

from actors.children import Child, Incarnation, Member, State, Strategy
from actors.restarts import Backoff, Restarts
from actors.siblings import Siblings


async def _unused(stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
    raise AssertionError((stop, task_status))


class _Family:
    """Siblings whose tasks are played by the test."""

    def __init__(self, strategy: Strategy, *names: str) -> None:
        self.siblings = Siblings(
            "family",
            strategy,
            [Child(name, _unused) for name in names],
            limit=Restarts(3, per=60),
            backoff=Backoff(first_seconds=1, jitter=0),
            random=Random(0),
            die=lambda code, message: pytest.fail(f"{code} {message}"),
            wake=lambda: None,
        )
        self.spawned: list[str] = []
        self.siblings.begin()

    def __getitem__(self, name: str) -> Member:
        return next(member for member in self.siblings.members if member.child.name == name)

    def step(self, now: float) -> None:
        self.siblings.step(now, self._spawn)

    def _spawn(self, member: Member, incarnation: Incarnation) -> None:
        assert member.incarnation is incarnation
        self.spawned.append(member.child.name)

    def ready(self, name: str) -> None:
        incarnation = self[name].incarnation
        assert incarnation is not None
        incarnation.started()

    def ended(self, name: str, error: Exception | None = None) -> None:
        incarnation = self[name].incarnation
        assert incarnation is not None
        incarnation.error = error
        incarnation.ended = True

    def states(self) -> list[State]:
        return [member.state for member in self.siblings.members]


def _started(strategy: Strategy, *names: str) -> _Family:
    family = _Family(strategy, *names)
    for name in names:
        family.step(0.0)
        family.ready(name)
    family.step(0.0)
    assert family.siblings.open
    assert family.spawned == list(names)
    family.spawned.clear()
    return family


async def test_ready_and_crashed_at_one_instant_is_a_crash_of_who_was_ready() -> None:
    """Somebody who served for no time at all did serve: it is restarted, and its successor may start."""
    family = _Family(Strategy.ONE_FOR_ONE, "a", "b")
    family.step(0.0)
    family.ready("a")
    family.ended("a", ValueError())
    family.step(0.0)
    assert family.states() == ["backing-off", "starting"]


async def test_ready_at_the_instant_it_is_condemned_does_not_answer_the_operator() -> None:
    """Who asked for a restart waits for an incarnation that stays."""
    family = _started(Strategy.REST_FOR_ONE, "a", "b")
    request = family.siblings.ask_restart(family["b"])
    family.step(1.0)
    family.ended("b")
    family.step(1.0)
    assert family.spawned == ["b"]
    family.ready("b")
    family.ended("a", ValueError())
    family.step(2.0)
    assert family.states() == ["backing-off", "stopping"]
    assert not request.settled
    family.ended("b")
    family.step(3.0)
    family.ready("a")
    family.step(3.0)
    family.ready("b")
    family.step(3.0)
    assert request.result() is None


async def test_ready_at_the_instant_of_its_start_timeout_is_in_time() -> None:
    """What was noted before the deadline was looked at counts."""
    family = _Family(Strategy.ONE_FOR_ONE, "a")
    family.step(0.0)
    family.ready("a")
    family.step(30.0)
    assert family.states() == ["running"]


async def test_ended_at_the_instant_of_its_stop_timeout_is_not_cancelled() -> None:
    """The last moment is early enough."""
    family = _started(Strategy.ONE_FOR_ONE, "a")
    family.siblings.close()
    family.step(0.0)
    scope = family["a"].incarnation.scope if family["a"].incarnation else None
    family.ended("a")
    family.step(5.0)
    assert scope is not None
    assert not scope.cancel_called
    assert family.siblings.down


async def test_all_crashed_at_one_instant_is_one_restart_of_all() -> None:
    """In one_for_all the first in order is charged, the others are taken along, and all come back in order."""
    family = _started(Strategy.ONE_FOR_ALL, "a", "b", "c")
    for name in "abc":
        family.ended(name, ValueError(name))
    family.step(10.0)
    assert family.states() == ["backing-off", "stopped", "stopped"]
    assert [member.failures for member in family.siblings.members] == [1, 0, 0]
    for _ in "abc":
        family.step(11.0)
        family.ready(family.spawned[-1])
    family.step(11.0)
    assert family.spawned == ["a", "b", "c"]
    assert family.states() == ["running"] * 3


async def test_crashed_at_the_instant_of_the_end_is_no_restart() -> None:
    """Once closing, a crash is only told."""
    family = _started(Strategy.ONE_FOR_ONE, "a", "b")
    family.ended("a", ValueError())
    family.siblings.close()
    family.step(0.0)
    assert family.states() == ["stopped", "stopping"]
    family.ended("b")
    family.step(1.0)
    assert family.siblings.down
    assert family.siblings.failure is None
    assert family.spawned == []

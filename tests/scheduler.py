"""Trio under one seed: the same seed gives the same schedule, other seeds give others, and time jumps when all wait.

Trio shuffles each batch of runnable tasks on purpose. Seeding its generator alone is not enough: tasks within a batch
are in the order of a set, which differs from process to process, so trio must be told to sort them first.
"""

from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import ParamSpec, TypeVar

import trio
from trio.testing import MockClock

P = ParamSpec("P")
T = TypeVar("T")


def run_seeded(seed: int, async_fn: Callable[..., Awaitable[T]], *args: object) -> T:
    """`trio.run` of `async_fn(*args)` on a clock that jumps over all waiting, in the task order of this seed."""
    trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # Final for everyone else
    trio._core._run._r.seed(seed)
    try:
        return trio.run(async_fn, *args, clock=MockClock(autojump_threshold=0))
    except BaseException as error:
        error.add_note(f"TALLYSTICK_SEED={seed} repeats it")
        raise


def seeded(test: Callable[P, Awaitable[T]]) -> Callable[P, T]:
    """Make an async test run in one and the same schedule, on a clock that jumps over all waiting."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return run_seeded(0, partial(test, *args, **kwargs))

    return run

"""Trying again, for actors that depend on nodes and on a store: what passes is waited off, the rest is raised.

The waits double up to a cap, and chance takes off a share of each, so that those who failed together do not come back
together. A stop cancels them.
"""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Final, TypeVar

import trio
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from actors.mailbox import NotDone, OutcomeUnknown
from actors.restarts import Backoff
from chains.node import NodeUnavailable
from persistence.txstore import StoreUnavailable

T = TypeVar("T")

# What may be gone the next time: everything is safe to repeat.
PASSES: Final = (NodeUnavailable, StoreUnavailable, NotDone, OutcomeUnknown, trio.TooSlowError)
BACKOFF: Final = Backoff(first_seconds=0.5, cap_seconds=60.0, jitter=0.5)


class Patience:
    """Retries for one actor; `trouble` is told each time why it waits."""

    def __init__(self, random: Random, trouble: Callable[[str], None], backoff: Backoff = BACKOFF) -> None:
        self._random = random
        self._trouble = trouble
        self._backoff = backoff

    async def keep_trying(self, action: Callable[[], Awaitable[T]]) -> T:
        """What the action returns, as soon as it does not fail with what passes."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(PASSES), wait=self._wait, sleep=trio.sleep, before_sleep=self._tell
        )
        result: T = await retrying(action)
        return result

    def _wait(self, state: RetryCallState) -> float:
        return self._backoff.delay_seconds(state.attempt_number, self._random.random())

    def _tell(self, state: RetryCallState) -> None:
        error = None if state.outcome is None else state.outcome.exception()
        self._trouble(str(error) or repr(error))

"""Telling matching which sessions are gone, of those whose orders are to be cancelled then. None is ever forgotten.

Theory of operation. A session's task may end by a crash or a cancel, and then it cannot wait for room in matching's
mailbox. So all it does is to leave its number here, which is synchronous; one task of the gateway's passes the numbers
on, many at once, and keeps each until matching has answered for it. What that task held when it was cancelled, its
successor goes on with: the numbers and the batch that is under way belong to this object, and this object to the
process. (When the process itself ends, nothing of this is needed: the next one begins with the loss of all sessions.)

A session's orders are never behind its loss. Its batches are in matching's mailbox, or given up, when it leaves its
number, and the mailbox keeps the order.
"""

from typing import Final

import structlog
import trio
from structlog.typing import FilteringBoundLogger

from actors.mailbox import Faulted, NotDone, OutcomeUnknown, Sender
from actors.requests import Batch, Outcome
from book.commands import LoseSession

# Each may cancel many orders, and others want their turn too.
AT_ONCE: Final = 64
# Before it is tried again: matching restarts.
RETRY_SECONDS: Final = 0.1

log: FilteringBoundLogger = structlog.get_logger("gateway")


class LostSessions:
    """The sessions that matching has to be told about, oldest first.

    Args:
        matching: Where to.
    """

    def __init__(self, matching: Sender[Batch]) -> None:
        self._matching = matching
        self._news = trio.Event()
        # Bounded by the connections that there may be, and by how fast matching answers for those that ended.
        self._sessions: list[int] = []
        # About the first of them, while matching has it.
        self._batch: Batch | None = None

    def add(self, session: int) -> None:
        """Take note of one more. It was armed, and it is over."""
        self._sessions.append(session)
        self._news.set()

    async def tell(self) -> None:
        """Pass on what there is and what comes, until cancelled. One task at a time."""
        while True:
            await self.tell_all()
            self._news = trio.Event()
            # No deadline: there may never be one more.
            await self._news.wait()

    async def tell_all(self) -> None:
        """Pass on what there is; return when matching has answered for all of it. Whoever is in a hurry cancels it."""
        while self._sessions:
            if self._batch is None:
                # No deadline: see `reserve`.
                place = await self._matching.reserve()
                self._batch = Batch([LoseSession(session) for session in self._sessions[:AT_ONCE]])
                place.send(self._batch)
            # No deadline: a batch that matching has is settled, by its next incarnation if need be.
            outcomes = await _outcomes(self._batch)
            self._batch = None
            if not self._strike_off(outcomes):
                await trio.sleep(RETRY_SECONDS)

    def _strike_off(self, outcomes: list[Outcome]) -> bool:
        """Forget the sessions that were dealt with; False if there are others among the first."""
        told = self._sessions[: len(outcomes)]
        again = []
        for session, outcome in zip(told, outcomes, strict=True):
            if isinstance(outcome, Faulted):
                log.error("the loss of a session failed the engine; its orders stay", session=session)
            elif isinstance(outcome, NotDone | OutcomeUnknown):
                again.append(session)
        # Where it was done and yet is said again, or the session was never armed, the engine refuses and that is that.
        self._sessions[: len(told)] = again
        return not again


async def _outcomes(batch: Batch) -> list[Outcome]:
    try:
        return await batch.wait()
    except (NotDone, OutcomeUnknown) as fate:
        return [fate] * len(batch.request)

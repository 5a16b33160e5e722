"""The operators' line to the engine: through matching's mailbox like everyone else, so all they see is durable."""

from typing import Final, TypeVar

from actors.admin_command import BadCall
from actors.explaining import why_refused
from actors.mailbox import NotDone, OutcomeUnknown, Sender
from actors.requests import Batch, Done, Outcome, Request
from book.commands import Command
from book.events import Rejected
from book.queries import Directory, DirectoryView, Query

V = TypeVar("V")

ROOM_SECONDS: Final = 10.0


class EngineLine:
    """Asks and tells the engine. Whoever calls has the deadline."""

    def __init__(self, matching: Sender[Batch]) -> None:
        self._matching = matching

    async def ask(self, query: Query, kind: type[V]) -> V:
        """The answer to a question that has one.

        Raises:
            NotDone, OutcomeUnknown: matching is away.
        """
        outcome = await self._send(query)
        if isinstance(outcome, kind):
            return outcome
        raise AssertionError(f"the engine answered {outcome!r} to {query!r}")

    async def directory(self) -> DirectoryView:
        """Everything that is defined."""
        return await self.ask(Directory(), DirectoryView)

    async def tell(self, command: Command) -> Done:
        """Let a command take effect.

        Raises:
            BadCall: the engine refuses it.
            NotDone: it did not take effect, and may be tried again.
            OutcomeUnknown: it may or may not have.
        """
        outcome = await self.outcome(command)
        if isinstance(outcome, Rejected):
            raise BadCall(why_refused(command, outcome))
        return outcome

    async def outcome(self, command: Command) -> Done | Rejected:
        """As `tell`, for a caller who knows what to make of a refusal."""
        outcome = await self._send(command)
        if isinstance(outcome, Done | Rejected):
            return outcome
        raise AssertionError(f"the engine answered {outcome!r} to {command!r}")

    async def _send(self, request: Request) -> Outcome:
        batch = Batch([request])
        await self._matching.send(batch, timeout_seconds=ROOM_SECONDS)
        (outcome,) = await batch.wait()
        if isinstance(outcome, NotDone | OutcomeUnknown):
            raise outcome
        return outcome

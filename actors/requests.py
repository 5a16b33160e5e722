"""What actors ask of matching, and what comes back: the items of matching's mailbox.

A mailbox hop costs microseconds whatever it carries, so one item is a batch: everything one socket read delivered. It
settles exactly once, with one outcome per request in the order of the requests.
"""

from collections.abc import Callable

from msgspec import Struct

from actors.mailbox import Call, NotDone, OutcomeUnknown
from book.commands import Command
from book.events import Event, Rejected
from book.queries import Answer, Query

Request = Command | Query


class Done(Struct, frozen=True, gc=False):
    """A command that took effect: its place in the request log, its time and what it caused."""

    seq: int
    time_ns: int
    events: list[Event]


# `NotDone` and `OutcomeUnknown` stand here as values: a batch settles as one, but each request has its own fate.
Outcome = Done | Rejected | Answer | NotDone | OutcomeUnknown


class Batch(Call[list[Request], list[Outcome]]):
    """Requests that came together, answered together.

    Args:
        request: They.
        on_settled: As of any call.
        weight: What they may take, in orders; at least as many as there are.
    """

    __slots__ = ("weight",)

    weight: int

    def __init__(
        self,
        request: list[Request],
        on_settled: "Callable[[Call[list[Request], list[Outcome]]], None] | None" = None,
        weight: int = 0,
    ) -> None:
        super().__init__(request, on_settled)
        self.weight = max(weight, len(request))

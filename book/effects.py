"""What one command brings about."""

from book.events import Event, Rejected


class Effects:
    """The moment a command takes effect, and the events that follow from it, in order."""

    __slots__ = ("events", "time_ns")

    time_ns: int
    events: list[Event]

    def __init__(self, time_ns: int) -> None:
        self.time_ns = time_ns
        self.events = []

    def record(self, outcome: Event | Rejected) -> Rejected | None:
        """Take in an event; a refusal is passed on instead."""
        if type(outcome) is Rejected:
            return outcome
        self.events.append(outcome)  # type: ignore[arg-type]  # it is no Rejected
        return None

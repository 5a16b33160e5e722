"""What one command brings about."""

from book.events import Event, Rejected


class Effects:
    """The command's sequence number, the moment it takes effect, and the events that follow from it, in order."""

    __slots__ = ("events", "seq", "time_ns")

    seq: int
    time_ns: int
    events: list[Event]

    def __init__(self, seq: int, time_ns: int) -> None:
        self.seq = seq
        self.time_ns = time_ns
        self.events = []

    def record(self, outcome: Event | Rejected) -> Rejected | None:
        """Take in an event; a refusal is passed on instead."""
        if type(outcome) is Rejected:
            return outcome
        self.events.append(outcome)  # type: ignore[arg-type]  # it is no Rejected
        return None

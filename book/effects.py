"""What one command brings about."""

from book.events import Event


class Effects:
    """The moment a command takes effect, and the events that follow from it, in order."""

    __slots__ = ("events", "time_ns")

    time_ns: int
    events: list[Event]

    def __init__(self, time_ns: int) -> None:
        self.time_ns = time_ns
        self.events = []

"""Those who follow channels: they remember what they were told, and hold it together."""

from collections.abc import Sequence
from typing import Any

import msgspec

Event = dict[str, Any]


class Mirror:
    """A book as a client keeps it: a snapshot, then deltas, each behind the one before."""

    def __init__(self) -> None:
        self.seq: int | None = None
        self.bids: dict[str, str] = {}
        self.asks: dict[str, str] = {}
        self.snapshots = 0
        self.deltas = 0

    def hear(self, event: Event) -> None:
        """Take in an event of the book's channel. AssertionError for a delta that does not go on from here."""
        if event["event"] == "book.snapshot":
            assert event["firstSeq"] == event["seq"]
            self.bids, self.asks = dict(event["bids"]), dict(event["asks"])
            self.snapshots += 1
        else:
            assert self.seq is not None, "a delta came before a snapshot"
            assert event["firstSeq"] == self.seq + 1, f"behind {self.seq} comes {event['firstSeq']}"
            for side, levels in ((self.bids, event["bids"]), (self.asks, event["asks"])):
                for price, quantity in levels:
                    side[price] = quantity
                    if quantity == "0":
                        del side[price]
            self.deltas += 1
        self.seq = event["seq"]

    def depth(self) -> dict[str, Any]:
        """As `depth` would answer."""

        def by_price(level: tuple[str, str]) -> float:
            return float(level[0])

        bids = sorted(self.bids.items(), key=by_price, reverse=True)
        return {"seq": self.seq, "bids": bids, "asks": sorted(self.asks.items(), key=by_price)}


class Listener:
    """Follows channels and keeps all that comes; a mirror of each book, and no gap in what has numbers."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.errors: list[Event] = []
        self.books: dict[str, Mirror] = {}
        self.next_seq: dict[str, int] = {}

    def push(self, lines: Sequence[bytes]) -> None:
        """Hear these."""
        for line in lines:
            assert line.endswith(b"\n")
            self._hear(msgspec.json.decode(line))

    def _hear(self, event: Event) -> None:
        if "error" in event:
            self.errors.append(event)
            self.next_seq.pop(event["error"]["channel"], None)
            return
        self.events.append(event)
        channel = event.get("channel", "")
        if channel.startswith("book:"):
            self.books.setdefault(channel, Mirror()).hear(event)
        elif (channel.startswith("trade:") or channel == "user") and "seq" in event:
            expected = self.next_seq.get(channel, event["seq"])
            assert event["seq"] == expected, f"{channel}: {event['seq']} came where {expected} was due"
        if "seq" in event:
            self.next_seq[channel] = event["seq"] + 1

    def of(self, kind: str) -> list[Event]:
        """The events of this kind."""
        return [event for event in self.events if event["event"] == kind]

"""Mailboxes and calls: how actors speak to each other.

Theory of operation
-------------------
A mailbox is a bounded queue with one reader and any number of senders. The wiring (`supervisor.py`) owns it, not the
reader: when the reader crashes, what is still queued waits for its next incarnation, and only what the reader held is
lost to it. A call is a request with a one-shot slot for its answer; it travels as an item in somebody's mailbox.

Room is counted, not searched for: `items + places <= capacity`, where a *place* is room promised to a sender who has
not filled it yet. Room that comes free goes to the longest waiting sender as a place *before* that sender is woken, so
nobody overtakes, and a woken sender never has to look again. It follows that there is free room only while nobody
waits for it.

All changes of state are synchronous; only `_Queue.filled` and `_Queue.vacated` ever park a task, and a task that was
woken cannot be cancelled any more at that point (trio's rule), so neither an item nor a place is ever lost to a cancel.

Calls go only to actors started earlier, so there are no cycles in which two actors wait for each other's full mailbox.
Each mailbox knows its reader's rank, each sender says its own, and `Mailbox.sender` asserts the rule once, at wiring.

The errors a call can end with:

    Exception
    ├── NotDone            it certainly did not happen: a retry is safe
    │   ├── Busy           no room, now or until the deadline
    │   ├── Stopped        whoever should do it is stopping
    │   └── Faulted        whoever should do it failed on this very request: a retry would fail again
    └── OutcomeUnknown     it may or may not have happened: ask by id before trying again
"""

from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

import structlog
import trio
from attrs import frozen
from structlog.typing import FilteringBoundLogger
from trio.lowlevel import ParkingLot, cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

T = TypeVar("T")
Q = TypeVar("Q")
A = TypeVar("A")

log: FilteringBoundLogger = structlog.get_logger("mailbox")


class NotDone(Exception):  # noqa: N818 - names a fate of the request, not a fault of the program
    """It certainly did not happen, and nothing changed."""


class Busy(NotDone):
    """There was no room for it."""


class Stopped(NotDone):
    """Whoever should do it is stopping or gone."""


class Faulted(NotDone):
    """Whoever should do it failed on exactly this; the same again would fail again."""


class OutcomeUnknown(Exception):  # noqa: N818 - as NotDone
    """It may or may not have happened."""


# ---------------------------------------------------------------------------------------------------------------- calls


class Call(Generic[Q, A]):
    """One request and the one-shot slot for its answer.

    Args:
        request: What is asked; the reader of the mailbox looks at it, nobody changes it.
        on_settled: Called synchronously, once, by whoever settles. It must not raise; if it does, that is logged.
    """

    __slots__ = ("_answer", "_event", "_failure", "_on_settled", "request", "settled")

    settled_twice: ClassVar[int] = 0
    """How often, in this process, somebody settled a call that was settled already: a bug each time."""

    request: Q
    settled: bool

    def __init__(self, request: Q, on_settled: Callable[["Call[Q, A]"], None] | None = None) -> None:
        self.request = request
        self.settled = False
        self._on_settled = on_settled
        self._failure: NotDone | OutcomeUnknown | None = None
        self._event: trio.Event | None = None  # most calls are never waited for: a batch is released, not awaited

    def settle(self, answer: A) -> bool:
        """Answer it. Never blocks or raises; True for the first to settle, False (counted and logged) later."""
        if self.settled:
            return self._refuse()
        self._answer = answer
        self._wake()
        return True

    def fail(self, error: NotDone | OutcomeUnknown) -> bool:
        """Settle it with an error instead, into the same slot and by the same rules."""
        if self.settled:
            return self._refuse()
        self._failure = error
        self._wake()
        return True

    def result(self) -> A:
        """The answer; raises the `NotDone` or `OutcomeUnknown` it failed with, AssertionError before it is settled."""
        if not self.settled:
            raise AssertionError(f"{self!r} is not settled yet")
        if self._failure is not None:
            raise self._failure
        return self._answer

    async def wait(self) -> A:
        """The result, once there is one. Sets no deadline: whoever waits knows how long it may take."""
        if self.settled:
            await checkpoint()
        else:
            if self._event is None:
                self._event = trio.Event()
            await self._event.wait()
        return self.result()

    def _wake(self) -> None:
        self.settled = True
        if self._event is not None:
            self._event.set()
        if self._on_settled is not None:
            try:
                self._on_settled(self)
            except Exception:
                # The caller's bug must not become a crash of whoever answers it.
                log.exception("on_settled failed", call=type(self).__name__)

    def _refuse(self) -> bool:
        Call.settled_twice += 1
        log.error("call settled twice", call=type(self).__name__)
        return False


# ------------------------------------------------------------------------------------------------------------ mailboxes


def fail_all(calls: Iterable[Call[Any, Any]], error: NotDone | OutcomeUnknown) -> None:
    """Settle several calls with one fate."""
    for call in calls:
        call.fail(error)


@frozen
class MailboxStatistics:
    """A moment in a mailbox's life."""

    name: str
    depth: int
    """Items waiting for the reader now."""
    capacity: int
    """Items and reserved places there may be at once."""
    peak: int
    """The greatest depth ever."""
    received: int
    """Items the reader has ever taken."""
    refused: int
    """How often a sender was told Busy."""


class _Queue(Generic[T]):
    """The state that `Mailbox`, `Sender` and `Place` are faces of."""

    __slots__ = (
        "capacity",
        "interrupted",
        "items",
        "name",
        "peak",
        "places",
        "reader",
        "reading",
        "received",
        "refused",
        "senders",
    )

    def __init__(self, name: str, capacity: int) -> None:
        self.name = name
        self.capacity = capacity
        self.items: deque[T] = deque()
        self.places = 0
        self.interrupted = False
        self.reading = False
        self.reader = ParkingLot()
        self.senders = ParkingLot()
        self.peak = 0
        self.received = 0
        self.refused = 0

    def has_room(self) -> bool:
        return len(self.items) + self.places < self.capacity

    def put(self, item: T) -> None:
        """Append where the caller knows there is room, and wake the reader."""
        self.items.append(item)
        depth = len(self.items)
        self.peak = max(self.peak, depth)
        if depth == 1 and self.reader:
            self.reader.unpark()

    def take(self, limit: int) -> list[T]:
        """Remove the oldest items, at most `limit`, and give their room to waiting senders."""
        items = self.items
        if len(items) <= limit:
            taken = list(items)
            items.clear()
        else:
            taken = [items.popleft() for _ in range(limit)]
        self.received += len(taken)
        if self.senders:
            self.grant(len(taken))
        return taken

    def grant(self, count: int) -> None:
        """Promise `count` pieces of free room to the longest waiting senders, as far as there are any."""
        self.places += len(self.senders.unpark(count=count))

    def busy(self) -> Busy:
        """The error for one refusal, counted."""
        self.refused += 1
        return Busy(f"mailbox {self.name} is full ({self.capacity})")

    async def vacated(self) -> "Place[T]":
        """A place, waited for. No deadline of its own; see `Sender.reserve`."""
        await checkpoint_if_cancelled()
        if self.has_room():
            self.places += 1
            await cancel_shielded_checkpoint()
        else:
            await self.senders.park()  # `grant` has counted our place before it woke us
        return Place(self)

    async def filled(self) -> None:
        """Return with an item there, or interrupted. A reader waits for work as long as there is none: no deadline."""
        if self.reading:
            raise trio.BusyResourceError(f"mailbox {self.name} has a reader already")
        self.reading = True
        try:
            if self.items or self.interrupted:
                await checkpoint()
            else:
                await self.reader.park()
        finally:
            self.reading = False

    def _check(self) -> None:
        """Raise AssertionError when an invariant is broken."""
        if self.places < 0 or len(self.items) + self.places > self.capacity:
            raise AssertionError(f"{self.name}: {len(self.items)} items + {self.places} places > {self.capacity}")
        if self.senders and self.has_room():
            raise AssertionError(f"{self.name}: somebody waits although there is room")
        if self.reader and (self.items or self.interrupted):
            raise AssertionError(f"{self.name}: the reader sleeps although there is something for it")


class Place(Generic[T]):
    """Room for one item, held until it is filled or given back.

    Use it as a context manager where something between may raise: leaving the block gives an unfilled place back. A
    place that is never closed takes its room from the mailbox for good.
    """

    __slots__ = ("_queue",)

    def __init__(self, queue: _Queue[T]) -> None:
        self._queue: _Queue[T] | None = queue

    def send(self, item: T) -> None:
        """Fill it. Never blocks or raises; filling it twice or after `cancel` is a bug (AssertionError)."""
        queue = self._queue
        if queue is None:
            raise AssertionError("this place is used up")
        self._queue = None
        queue.places -= 1
        queue.put(item)

    def cancel(self) -> None:
        """Give it back. Does nothing when it is used up."""
        queue = self._queue
        if queue is None:
            return
        self._queue = None
        queue.places -= 1
        queue.grant(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()


class Sender(Generic[T]):
    """The sending half of a mailbox; from `Mailbox.sender`."""

    __slots__ = ("_queue",)

    def __init__(self, queue: _Queue[T]) -> None:
        self._queue = queue

    def send_nowait(self, item: T) -> None:
        """Put an item in, or raise `Busy` when there is no room."""
        queue = self._queue
        if not queue.has_room():
            raise queue.busy()
        queue.put(item)

    async def send(self, item: T, *, timeout_seconds: float) -> None:
        """Put an item in, waiting for room at most this long; raises `Busy` after that, and then it was not sent."""
        queue = self._queue
        if queue.has_room():
            await checkpoint_if_cancelled()
            queue.put(item)
            await cancel_shielded_checkpoint()
            return
        with trio.move_on_after(timeout_seconds):
            (await queue.vacated()).send(item)
            return
        raise queue.busy()

    def reserve_nowait(self) -> Place[T]:
        """Take a place, or raise `Busy` when there is no room."""
        queue = self._queue
        if not queue.has_room():
            raise queue.busy()
        queue.places += 1
        return Place(queue)

    async def reserve(self) -> Place[T]:
        """Take a place, waiting for it without a deadline.

        That is right only because the mailbox outlives its reader and the reader is alive, or its supervisor restarts
        it, or it gives up and everything stops: room comes, or a cancel.
        """
        return await self._queue.vacated()


class Mailbox(Generic[T]):
    """A bounded queue that outlives its one reader. Its own methods are the reader's; others get a `sender`.

    Args:
        name: Says whose it is, in errors and statistics.
        capacity: Items and reserved places there may be at once, at least 1.
        rank: The reader's place in the order of start. Only actors of a higher rank may send.
    """

    __slots__ = ("_queue", "rank")

    rank: int

    def __init__(self, name: str, capacity: int, *, rank: int) -> None:
        if capacity < 1:
            raise ValueError(f"mailbox {name}: a capacity of {capacity} holds nothing")
        self._queue: _Queue[T] = _Queue(name, capacity)
        self.rank = rank

    @property
    def name(self) -> str:
        """Whose mailbox it is."""
        return self._queue.name

    def sender(self, rank: int) -> Sender[T]:
        """The sending half, for an actor of this rank; AssertionError unless it starts after the reader."""
        if rank <= self.rank:
            raise AssertionError(f"rank {rank} may not send to {self.name} of rank {self.rank}: it starts no later")
        return Sender(self._queue)

    def receive_nowait(self) -> T:
        """The oldest item; raises `trio.WouldBlock` when there is none."""
        queue = self._queue
        if queue.reading:
            raise trio.BusyResourceError(f"mailbox {queue.name} has a reader already")
        if not queue.items:
            raise trio.WouldBlock
        return queue.take(1)[0]

    async def receive(self) -> T:
        """The oldest item, waited for. Raises `Stopped` when interrupted and empty, as `receive_some` returns []."""
        items = await self.receive_some(1)
        if not items:
            raise Stopped(f"mailbox {self.name}: the reader was interrupted")
        return items[0]

    async def receive_some(self, limit: int) -> list[T]:
        """All that is there, oldest first and at most `limit`, after waiting for at least one. Always a checkpoint.

        Returns [] once interrupted and empty, which uses the interrupt up. An interrupt that one incarnation of the
        reader did not live to see reaches the next, so [] means 'look at your `stop`', not 'stop':

            while (items := await mailbox.receive_some(limit)) or not stop.is_set():
                ...
        """
        queue = self._queue
        await queue.filled()
        if queue.items:
            return queue.take(limit)
        queue.interrupted = False
        return []

    def interrupt(self) -> None:
        """Let the reader return, now or when it next waits, once nothing is left to read."""
        self._queue.interrupted = True
        self._queue.reader.unpark()

    def statistics(self) -> MailboxStatistics:
        """What an operator wants to know."""
        queue = self._queue
        return MailboxStatistics(
            queue.name, len(queue.items), queue.capacity, queue.peak, queue.received, queue.refused
        )

    def _check(self) -> None:
        self._queue._check()  # noqa: SLF001 - a face of the same thing

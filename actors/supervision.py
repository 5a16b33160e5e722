"""Supervisors: who restarts whom, in which order, how often and how soon. Erlang/OTP's semantics on trio's nurseries.

Theory of operation
-------------------
A supervisor is one loop that owns a nursery. Its children's tasks live in the nursery, but they only ever *note* what
happens to them (`Incarnation`: ready, ended, with which error) and wake the loop. The loop then takes a *step*, which
is synchronous from end to end: it looks at every child, decides, and acts. Starting a task, setting an event,
cancelling a scope are all immediate, so a step never waits and is never interrupted half way. Between steps the loop
sleeps until something is noted or the earliest deadline comes: a start or stop that takes too long, a backoff that is
over. That one wait is the only await there is, and the only place where a cancel can arrive.

So a crash in the middle of a restart, a stop during a backoff, an operator's request during a stop are not cases to
handle: each is one more thing that the next step sees. The step itself is in `actors/siblings.py`; what it decides is
in `actors/children.py`, as pure functions of what is known of the children; how often and how soon to restart is in
`actors/restarts.py`.

The states of a child. Beside them stand two flags: `wanted`, shall it run at all, and `condemned`, must its present
incarnation end first. A restart is to be condemned and wanted; a stop is to be condemned and no longer wanted.

             may_start            started()           condemned             ended
    STOPPED ───────────▶ STARTING ─────────▶ RUNNING ───────────▶ STOPPING ───────▶ STOPPED
                            │ │                 │                    ▲
                            │ └─condemned, late─│────────────────────┘
                            └─────crashed───────┼──▶ BACKING_OFF ───────▶ STARTING
                                                │                may_start
                                                └──▶ FAILED, when nobody will start it again

Order. Children start in the order they are listed, each when those before it are ready, and stop in reverse, each when
those after it are gone. The end of the supervisor is always the same: every child is condemned, nobody is wanted any
more, and the loop goes on, shielded, until all are down. It makes no difference whether it came to that by request
(`stop`), by a cancel from outside (SIGTERM, Ctrl-C, a parent), by escalation or by a failed first start.

Stopping one child: `stop` is set, so that it finishes what is in flight; at its stop timeout it is cancelled; if it
swallows even that, `die(8, ...)` ends the process, because a supervisor that cannot stop a child cannot keep any other
promise. A child that is not ready has nothing in flight and is cancelled at once. Each child's scope is shielded: a
cancel reaches all tasks at once, which is no order at all, so it is for the supervisor alone.

A crash is any `Exception` out of a child (`ExceptionGroup` too), its failure to be ready in time, or the return of a
PERMANENT child. It is charged to the child's own limit, or to the one its supervisor's other children share; siblings
that go down with it are not charged, nor is what an operator asks for, nor a crash of a child that was condemned
already. A restart that fails is a crash. When the limit is spent the supervisor stops the others and raises `GaveUp`,
which is a crash in its parent. The exception to all this is the first start: a child that fails before it was ever
ready, while its supervisor is itself not ready yet, fails that supervisor's start (`StartFailed`) without a retry: a
mistyped port should be a message at once, not after three tries.

What is not an `Exception` is never caught: `Cancelled` belongs to whoever cancelled, `KeyboardInterrupt` passes through
the nursery, whose cancel then stops all children in order on its way to the top.
"""

from collections.abc import Callable, Iterator, Sequence
from random import Random

import trio
from attrs import frozen

from actors.children import Child, Incarnation, Member, Request, Restart, Run, State, Strategy
from actors.restarts import NEVER_ESCALATES, Backoff, Restarts
from actors.siblings import GaveUp, Nested, NotStarted, Siblings, StartFailed

__all__ = [
    "NEVER_ESCALATES",
    "ONE_FOR_ALL",
    "ONE_FOR_ONE",
    "PERMANENT",
    "REST_FOR_ONE",
    "TEMPORARY",
    "TRANSIENT",
    "Backoff",
    "Child",
    "ChildStatistics",
    "GaveUp",
    "NotRunning",
    "NotStarted",
    "Restart",
    "Restarts",
    "Run",
    "StartFailed",
    "State",
    "Strategy",
    "Supervisor",
    "SupervisorStatistics",
    "UnknownChild",
]

PERMANENT, TRANSIENT, TEMPORARY = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY
ONE_FOR_ONE, REST_FOR_ONE, ONE_FOR_ALL = Strategy.ONE_FOR_ONE, Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ALL

DEFAULT_LIMIT = Restarts(3, per=60)
DEFAULT_BACKOFF = Backoff()


class NotRunning(Exception):  # noqa: N818 - names what is so
    """The child's supervisor is down or stopping, so that it can do nothing for it."""


class UnknownChild(LookupError):  # noqa: N818 - names what is so
    """No child in the tree has this name."""


# ----------------------------------------------------------------------------------------------------------- statistics


@frozen
class ChildStatistics:
    """A moment in a child's life."""

    name: str
    state: State
    restarts: int
    """Starts after its first one since the process began, whatever they were for."""
    last_error: str | None
    """The last crash, in one line."""
    uptime_seconds: float
    """How long it has been serving; 0.0 while it is not."""
    supervisor: "SupervisorStatistics | None"
    """What is below it, when it is a supervisor."""


@frozen
class SupervisorStatistics:
    """A moment in a supervisor's life."""

    name: str
    strategy: Strategy
    children: tuple[ChildStatistics, ...]
    """In the order of their start."""

    def flat(self) -> Iterator[ChildStatistics]:
        """Every child in the tree, each before those below it."""
        for child in self.children:
            yield child
            if child.supervisor is not None:
                yield from child.supervisor.flat()


# ----------------------------------------------------------------------------------------------------------- supervisor


class Supervisor:
    """Starts children in order, restarts them when they crash, stops them in reverse.

    Args:
        name: For the log and for operators.
        strategy: Who goes down and comes back with a crashed child.
        children: In the order of their start; no name may occur twice in the whole tree (ValueError).
        random: Where the jitter of restart delays comes from.
        die: Ends the process with an exit code and a message; called when a child cannot be stopped.
        limit: The restarts that all children without a limit of their own may have together.
        backoff: How long to wait before each of them.
    """

    def __init__(
        self,
        name: str,
        strategy: Strategy,
        children: Sequence[Child],
        *,
        random: Random,
        die: Callable[[int, str], object],
        limit: Restarts = DEFAULT_LIMIT,
        backoff: Backoff = DEFAULT_BACKOFF,
    ) -> None:
        self.name = name
        self._siblings = Siblings(
            name, strategy, children, limit=limit, backoff=backoff, random=random, die=die, wake=self._wake
        )
        self._stop = trio.Event()
        self._woken = trio.Event()
        names = [name, *(member.child.name for _, member in self._siblings.everyone())]
        if len(set(names)) < len(names):
            raise ValueError(f"supervisor {name}: two children have one name: {', '.join(sorted(names))}")

    def child(self, *, restart: Restart = PERMANENT, limit: Restarts | None = None) -> Child:
        """This supervisor as a child of another. How long it takes to start and stop is bounded by its children."""
        return Nested(
            self.name,
            self.run,
            restart,
            start_timeout_seconds=None,
            stop_timeout_seconds=None,
            limit=limit,
            siblings=self._siblings,
        )

    async def run(self, stop: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the tree until `stop` is set or it is cancelled, and in any case until every child is down.

        Calls `task_status.started()` once, when all children have been ready. Raises `StartFailed` when one of them
        failed before that, `GaveUp` when one crashed too often, RuntimeError when it runs already.
        """
        self._siblings.begin()
        self._stop = stop
        self._wake()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._wake_at, stop)
            try:
                await self._attend(nursery, task_status)
            finally:
                self._siblings.close()
                # Bounded: every child has a stop timeout, then a cancel, then `die`.
                with trio.CancelScope(shield=True):
                    await self._attend(nursery, task_status)
                nursery.cancel_scope.cancel()  # nobody waits for `stop` any more
        if self._siblings.failure is not None:
            raise self._siblings.failure

    def request_stop(self) -> None:
        """Stop as if `run`'s `stop` were set. For the root: a parent would take it for a child that returned."""
        self._stop.set()

    def statistics(self) -> SupervisorStatistics:
        """The state of every child and of all that is below it."""
        return _statistics(self._siblings, trio.current_time())

    async def restart(self, name: str) -> None:
        """Stop and start a child anywhere in the tree, with the siblings the strategy says; wait until it is ready.

        Nothing is charged. Whatever the child's state was, it is to run afterwards. The request stands even when the
        wait for it is cancelled. Raises UnknownChild, NotRunning, or NotStarted when it did not get ready.
        """
        await self._ask(name, Siblings.ask_restart)

    async def start(self, name: str) -> None:
        """Start this child alone, at once, unless it runs; wait until it is ready. Raises as `restart`."""
        await self._ask(name, Siblings.ask_start)

    async def stop(self, name: str) -> None:
        """Stop this child alone and wait until it is down. It stays so until it, or its supervisor, is started again.

        Raises UnknownChild or NotRunning.
        """
        await self._ask(name, Siblings.ask_stop)

    async def _attend(self, nursery: trio.Nursery, task_status: trio.TaskStatus[None]) -> None:
        """Take a step whenever there is a reason to, until the supervisor is closing and every child is down."""

        def spawn(member: Member, incarnation: Incarnation) -> None:
            nursery.start_soon(incarnation.live, member.child.run, name=f"{self.name}/{member.child.name}")

        siblings = self._siblings
        while not siblings.down:
            with trio.move_on_at(siblings.next_deadline(trio.current_time())):
                await self._woken.wait()
            self._woken = trio.Event()
            if self._stop.is_set():
                siblings.close()
            was_open = siblings.open
            siblings.step(trio.current_time(), spawn)
            if siblings.open and not was_open:
                task_status.started()

    def _wake(self) -> None:
        self._woken.set()

    async def _wake_at(self, event: trio.Event) -> None:
        await event.wait()
        self._wake()

    async def _ask(self, name: str, ask: Callable[[Siblings, Member], Request]) -> None:
        found = next((pair for pair in self._siblings.everyone() if pair[1].child.name == name), None)
        if found is None:
            raise UnknownChild(f"no child is called {name}")
        siblings, member = found
        if siblings.closing:
            raise NotRunning(f"{name}: its supervisor {siblings.name} is not running")
        # Bounded by the stop and start timeouts of the children concerned; a caller in a hurry sets its own deadline.
        error = await ask(siblings, member).wait()
        if error is not None:
            raise error


def _statistics(siblings: Siblings, now: float) -> SupervisorStatistics:
    children = tuple(
        ChildStatistics(
            name=member.child.name,
            state=member.state,
            restarts=max(0, member.starts - 1),
            last_error=member.last_error,
            uptime_seconds=member.ready_seconds(now),
            supervisor=_statistics(member.child.siblings, now) if isinstance(member.child, Nested) else None,
        )
        for member in siblings.members
    )
    return SupervisorStatistics(siblings.name, siblings.strategy, children)

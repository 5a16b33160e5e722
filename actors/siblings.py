"""The children of one supervisor and the step it takes with them: see what happened, decide, act.

Everything here is synchronous and acts at once: a task is spawned, an event set, a scope cancelled. Waiting is left to
`actors/supervision.py`, which also has the theory of operation.
"""

from collections.abc import Callable, Iterator, Sequence
from math import inf
from random import Random
from typing import TypeVar

import structlog
from attrs import field, frozen
from structlog.typing import FilteringBoundLogger

from actors.children import (
    AfterCrash,
    Child,
    Incarnation,
    Member,
    Request,
    State,
    Strategy,
    after_crash,
    answer,
    describe,
    may_start,
    next_deadline,
    next_to_stop,
    restarted_with,
    sole_cause,
    wrong_return,
)
from actors.mailbox import Call
from actors.restarts import Backoff, Restarts, Window
from persistence.exits import Exit

CANCEL_GRACE_SECONDS = 5.0
"""How long a cancelled child may clean up before it counts as one that swallows cancels."""

_log: FilteringBoundLogger = structlog.get_logger("supervision")


class GaveUp(Exception):  # noqa: N818 - names what happened
    """A child crashed once more than its limit allows. Its last error is the `__cause__`."""


class StartFailed(Exception):  # noqa: N818 - names what happened
    """A child failed before it was ever ready, so that its supervisor did not start. Its error is the `__cause__`."""

    def __init__(self, path: tuple[str, ...], reason: BaseException) -> None:
        super().__init__(f"{'/'.join(path)} did not start: {describe(reason)}")
        self.path = path
        """The names from the supervisor that was started down to the child that failed."""
        self.reason = reason
        """What that child raised, out of the groups that nurseries wrap around it."""


class NotStarted(Exception):  # noqa: N818 - names what happened
    """The child that an operator asked for did not get ready. Its error, if there was one, is the `__cause__`."""


class Siblings:
    """The members under one supervisor, in the order of their start. Parameters as `Supervisor`'s.

    Args:
        wake: Called when there is reason for another step.
    """

    def __init__(
        self,
        name: str,
        strategy: Strategy,
        children: Sequence[Child],
        *,
        limit: Restarts,
        backoff: Backoff,
        random: Random,
        die: Callable[[int, str], object],
        wake: Callable[[], None],
    ) -> None:
        self.name = name
        self.strategy = strategy
        self.members = [Member(child, Window(limit)) for child in children]
        self.open = False
        """Has everyone who is wanted been ready since the first step?"""
        self.closing = True
        """Is it on its way down for good, or down already?"""
        self.failure: GaveUp | StartFailed | None = None
        """Why, when it is not because somebody asked for it."""
        self._limit = limit
        self._backoff = backoff
        self._random = random
        self._die = die
        self._wake = wake

    def begin(self) -> None:
        """Be as new, for another run. RuntimeError while one goes on."""
        if not self.down:
            raise RuntimeError(f"supervisor {self.name} runs already")
        self.open = self.closing = False
        self.failure = None
        shared = Window(self._limit)
        for member in self.members:
            limit = member.child.limit
            member.reset(shared if limit is None else Window(limit))

    def step(self, now: float, spawn: Callable[[Member, Incarnation], None]) -> None:
        """Look at every child and do whatever is to be done at `now`; `spawn` starts the task of an incarnation."""
        for member in self.members:
            if member.incarnation is not None:
                self._observe(member, member.incarnation, now)
        last = next_to_stop(self.members)
        if last is not None and last.incarnation is not None and last.state is not State.STOPPING:
            self._stop(last, last.incarnation, now)
        for member in self.members:
            if may_start(self.strategy, self.members, member, now):
                spawn(member, self._start(member, now))
        if not self.closing and all(member.been_ready or not member.wanted for member in self.members):
            self.open = True

    def close(self) -> None:
        """From now on there is only one way: down, in order."""
        if not self.closing:
            self.closing = True
            for member in self.members:
                member.dismiss()
                answer(member.start_requests, NotStarted(f"{member.child.name}: its supervisor {self.name} stops"))
            self._wake()

    @property
    def down(self) -> bool:
        """Is it closing, and is nobody left?"""
        return self.closing and not any(member.alive for member in self.members)

    def everyone(self) -> "Iterator[tuple[Siblings, Member]]":
        """Every child of the tree from here down with the siblings it is one of, each before those below it."""
        for member in self.members:
            yield self, member
            if isinstance(member.child, Nested):
                yield from member.child.siblings.everyone()

    def next_deadline(self, now: float) -> float:
        """When another step is due although nothing happens; infinity when none is."""
        return next_deadline(self.members, now)

    # ------------------------------------------------------------------------------------------- what operators ask for

    def ask_restart(self, member: Member) -> Request:
        """Let it and those the strategy says go down and come back, without waiting for any backoff."""
        for sibling in restarted_with(self.strategy, self.members, member):
            sibling.condemn()
            sibling.not_before = -inf
        return self.ask_start(member)

    def ask_start(self, member: Member) -> Request:
        """Let it run, whatever it did until now."""
        member.wanted = True
        member.not_before = -inf
        if not member.alive:
            member.state = State.STOPPED
        request: Request = Call(member.child.name)
        member.start_requests.append(request)
        if member.state is State.RUNNING and not member.condemned:
            answer(member.start_requests, None)
        self._wake()
        return request

    def ask_stop(self, member: Member) -> Request:
        """Let it go down and stay there."""
        member.dismiss()
        answer(member.start_requests, NotStarted(f"{member.child.name}: another request stopped it"))
        request: Request = Call(member.child.name)
        member.stop_requests.append(request)
        if not member.alive:
            answer(member.stop_requests, None)
        self._wake()
        return request

    # ----------------------------------------------------------------------------------------------------- what happens

    def _observe(self, member: Member, incarnation: Incarnation, now: float) -> None:
        if incarnation.ready_at is not None and member.state is State.STARTING:
            self._on_ready(member, incarnation.ready_at - incarnation.born_at)
        if incarnation.ended:
            self._on_end(member, incarnation, now)
        elif now >= member.deadline:
            self._on_deadline(member, incarnation, now)

    def _on_ready(self, member: Member, start_seconds: float) -> None:
        member.state = State.RUNNING
        member.been_ready = True
        member.deadline = inf
        self._log(member).info("child started", start_seconds=start_seconds, restarts=member.starts - 1)
        if not member.condemned:
            answer(member.start_requests, None)

    def _on_deadline(self, member: Member, incarnation: Incarnation, now: float) -> None:
        if member.state is State.STARTING:
            member.verdict = TimeoutError(f"not ready after {member.child.start_timeout_seconds} s")
            self._stop(member, incarnation, now)
        elif not incarnation.scope.cancel_called:
            self._log(member).warning("child cancelled", stop_timeout_seconds=member.child.stop_timeout_seconds)
            self._cancel(member, incarnation, now)
        else:
            member.deadline = inf
            self._log(member).critical("child swallows its cancel")
            self._die(Exit.STUCK_CHILD, f"{self.name}/{member.child.name} does not end, not even when cancelled")

    def _on_end(self, member: Member, incarnation: Incarnation, now: float) -> None:
        expected = member.condemned or incarnation.interrupted
        error = member.verdict or incarnation.error
        if error is None and not expected:
            error = wrong_return(member.child.restart, was_ready=incarnation.ready_at is not None)
        ready_seconds = member.ready_seconds(now)
        member.bury(error)
        if incarnation.interrupted:
            self.close()
        if error is not None and not expected:
            self._on_crash(member, error, ready_seconds, now)
        elif error is not None:
            self._log(member).error("child crashed while it was stopped", exc_info=error)
        else:
            member.wanted = member.wanted and expected  # who returned of its own accord has done its work
            self._log(member).info("child stopped", ready_seconds=ready_seconds)

    def _on_crash(self, member: Member, error: Exception, ready_seconds: float, now: float) -> None:
        name = member.child.name
        self._log(member).error("child crashed", exc_info=error, ready_seconds=ready_seconds)
        answer(member.start_requests, _because(error, NotStarted(f"{name} did not start: {describe(error)}")))
        after = after_crash(member.child.restart, first_start=not self.open and not member.been_ready)
        if after is AfterCrash.RESTART and member.window.charge(now):
            self._back_off(member, ready_seconds, now)
            return
        member.state = State.FAILED
        member.wanted = False
        if after is AfterCrash.START_FAILS:
            self._fail(_because(error, _start_failed(self.name, name, error)))
        elif after is AfterCrash.RESTART:
            more = f"more than {member.window.limit}; at last {describe(error)}"
            self._fail(_because(error, GaveUp(f"{self.name} gave up on {name}: {more}")))

    # ---------------------------------------------------------------------------------------------------------- actions

    def _start(self, member: Member, now: float) -> Incarnation:
        timeout = member.child.start_timeout_seconds
        member.incarnation = Incarnation(now, self._wake)
        member.verdict = None
        member.state = State.STARTING
        member.deadline = inf if timeout is None else now + timeout
        member.starts += 1
        return member.incarnation

    def _stop(self, member: Member, incarnation: Incarnation, now: float) -> None:
        was_starting = member.state is State.STARTING
        timeout = member.child.stop_timeout_seconds
        member.state = State.STOPPING
        member.deadline = inf if timeout is None else now + timeout
        incarnation.stop.set()
        if was_starting:
            self._cancel(member, incarnation, now)

    def _cancel(self, member: Member, incarnation: Incarnation, now: float) -> None:
        bounds_itself = member.child.stop_timeout_seconds is None
        member.deadline = inf if bounds_itself else now + CANCEL_GRACE_SECONDS
        incarnation.scope.cancel()

    def _back_off(self, member: Member, ready_seconds: float, now: float) -> None:
        member.failures = self._backoff.failures(member.failures, ready_seconds)
        delay_seconds = self._backoff.delay_seconds(member.failures, self._random.random())
        member.state = State.BACKING_OFF
        for sibling in restarted_with(self.strategy, self.members, member):
            sibling.condemn()
            sibling.not_before = max(sibling.not_before, now + delay_seconds)
        self._log(member).info("child will restart", delay_seconds=delay_seconds, failures=member.failures)

    def _fail(self, failure: GaveUp | StartFailed) -> None:
        _log.critical("supervisor gives up", supervisor=self.name, reason=str(failure))
        self.failure = failure
        self.close()

    def _log(self, member: Member) -> FilteringBoundLogger:
        return _log.bind(supervisor=self.name, child=member.child.name)


@frozen(eq=False)
class Nested(Child):
    """A child that is a supervisor: the way down the tree."""

    siblings: Siblings = field(kw_only=True)


def _start_failed(supervisor: str, child: str, error: Exception) -> StartFailed:
    if isinstance(error, StartFailed):
        return StartFailed((supervisor, *error.path), error.reason)
    return StartFailed((supervisor, child), sole_cause(error))


E = TypeVar("E", bound=Exception)


def _because(cause: Exception, error: E) -> E:
    """`raise error from cause`, for an error that is raised later."""
    error.__cause__ = cause
    return error

"""One child of a supervisor: what it is, what is known of it, and the decisions that follow from that.

Nothing here waits, starts or stops anything. `actors/supervision.py` has the theory of operation and the effects.
"""

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from math import inf
from typing import Protocol

import trio
from attrs import Factory, define, field, frozen

from actors.mailbox import Call
from actors.restarts import Restarts, Window

# ---------------------------------------------------------------------------------------------------------------- specs


class Restart(StrEnum):
    """Which ends of a child call for a restart."""

    PERMANENT = "permanent"
    """Every end: it is meant to run for ever, so that returning is a fault too."""
    TRANSIENT = "transient"
    """Only a crash: returning means that its work is done."""
    TEMPORARY = "temporary"
    """None; also when it went down only because a sibling did."""


class Strategy(StrEnum):
    """Which siblings go down and come back together with a crashed child."""

    ONE_FOR_ONE = "one_for_one"
    """None."""
    REST_FOR_ONE = "rest_for_one"
    """Those started after it, because they may depend on it."""
    ONE_FOR_ALL = "one_for_all"
    """All: they only make sense together."""


class Run(Protocol):
    """An actor's life, from start to end.

    It calls `task_status.started()` once it is serving, not before. It returns soon after `stop` is set, having
    finished what was in flight; at the stop timeout it is cancelled. Whatever it raises is a crash.
    """

    async def __call__(self, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Live."""


@frozen(eq=False)
class Child:
    """What a supervisor has to know to run one child."""

    name: str
    """Unique in the whole tree: operators call children by it."""
    run: Run
    restart: Restart = Restart.PERMANENT
    start_timeout_seconds: float | None = field(default=30.0, kw_only=True)
    """From its start until it is ready; None when there is a reason to wait for ever (a replay takes what it takes)."""
    stop_timeout_seconds: float | None = field(default=5.0, kw_only=True)
    """From `stop` being set until it is cancelled. None when it bounds its own stop, as a supervisor does."""
    limit: Restarts | None = field(default=None, kw_only=True)
    """Its own restart limit; None to draw on its supervisor's, together with the siblings that do."""


class Returned(Exception):  # noqa: N818 - names what happened
    """A child returned that should not have."""


# -------------------------------------------------------------------------------------------------------------- members


class State(StrEnum):
    """Where a child is in its life; the arrows are in `actors/supervision.py`."""

    STARTING = "starting"
    RUNNING = "running"
    BACKING_OFF = "backing-off"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


class Incarnation:
    """One life of a child, from the side of its task: it only notes what happens and wakes the supervisor."""

    def __init__(self, born_at: float, wake: Callable[[], None]) -> None:
        self.stop = trio.Event()
        # Shielded, so that a cancel from outside reaches the supervisor alone, which then stops children in order.
        self.scope = trio.CancelScope(shield=True)
        self.born_at = born_at
        self.ready_at: float | None = None
        self.error: Exception | None = None
        self.interrupted = False
        """Ended by what is nobody's crash and is on its way to the top, as KeyboardInterrupt."""
        self.ended = False
        self._wake = wake

    def started(self, value: None = None) -> None:  # noqa: ARG002 - the shape of trio.TaskStatus
        """What `task_status.started` is to the child. RuntimeError the second time, as trio's."""
        if self.ready_at is not None:
            raise RuntimeError("called 'started' twice on the same task status")
        self.ready_at = trio.current_time()
        self._wake()

    async def live(self, run: Run) -> None:
        """Run the child to its end and note how it came."""
        try:
            with self.scope:
                await run(self.stop, task_status=self)
        except Exception as error:  # noqa: BLE001 - a supervisor is for whatever crashes; the error is kept and logged
            self.error = error
        except BaseException:
            self.interrupted = True
            raise
        finally:
            self.ended = True
            self._wake()


Request = Call[str, Exception | None]
"""What an operator asked for a child, by name; answered None when it is so, or why it is not."""


@define(eq=False)
class Member:
    """What a supervisor knows of one child, over all its incarnations. Times are trio's clock."""

    child: Child
    window: Window
    """Where its restarts are charged: its own, or the one it shares with its siblings."""
    state: State = State.STOPPED
    incarnation: Incarnation | None = None
    """None while it is down."""
    verdict: Exception | None = None
    """Why the supervisor itself ends this incarnation as a crash: it was not ready in time."""
    wanted: bool = True
    """Shall it run, when everything is well?"""
    condemned: bool = False
    """Must this incarnation end first?"""
    been_ready: bool = False
    """Was it ever ready since its supervisor started?"""
    deadline: float = inf
    """When patience with the present incarnation ends."""
    not_before: float = -inf
    """When it may start again."""
    failures: int = 0
    """Failures in a row."""
    starts: int = 0
    """Incarnations since the process began."""
    last_error: str | None = None
    """The last crash, in one line."""
    start_requests: list[Request] = Factory(list)
    """Operators who wait until it is ready."""
    stop_requests: list[Request] = Factory(list)
    """Operators who wait until it is down."""

    @property
    def alive(self) -> bool:
        """Has it a task, in whatever state?"""
        return self.incarnation is not None

    def ready_seconds(self, now: float) -> float:
        """How long the present incarnation has been serving; 0.0 when there is none or it is not ready."""
        if self.incarnation is None or self.incarnation.ready_at is None:
            return 0.0
        return now - self.incarnation.ready_at

    def reset(self, window: Window) -> None:
        """Forget what belonged to an earlier run of the supervisor; what operators look at is kept."""
        self.window = window
        self.state = State.STOPPED
        self.wanted = True
        self.been_ready = False
        self.not_before = -inf
        self.failures = 0

    def condemn(self) -> None:
        """Let this incarnation, if there is one, end because of a sibling."""
        self.condemned = self.alive
        if self.alive and self.child.restart is Restart.TEMPORARY:
            self.wanted = False

    def bury(self, error: Exception | None) -> None:
        """Its incarnation has ended."""
        self.incarnation = None
        self.condemned = False
        self.state = State.STOPPED
        if error is not None:
            self.last_error = describe(error)
        answer(self.stop_requests, None)

    def dismiss(self) -> None:
        """Let it go down and stay down."""
        self.wanted = False
        self.condemned = self.alive
        if self.state is State.BACKING_OFF:
            self.state = State.STOPPED


def answer(requests: list[Request], error: Exception | None) -> None:
    """Settle them all alike and forget them."""
    for request in requests:
        request.settle(error)
    requests.clear()


# ------------------------------------------------------------------------------------------------------------ decisions


class AfterCrash(StrEnum):
    """What becomes of a child that crashed when nobody had asked it to end."""

    START_FAILS = "its supervisor fails to start"
    RESTART = "it is started again, if its limit allows"
    LEFT = "it stays down"


def after_crash(restart: Restart, *, first_start: bool) -> AfterCrash:
    """What becomes of a child that crashed; `first_start` while neither it nor its supervisor has been ready."""
    if first_start:
        return AfterCrash.START_FAILS
    return AfterCrash.LEFT if restart is Restart.TEMPORARY else AfterCrash.RESTART


def wrong_return(restart: Restart, *, was_ready: bool) -> Returned | None:
    """The crash that a return amounts to, or None when the child may return: its work is done."""
    if not was_ready:
        return Returned("returned before it was ready")
    if restart is Restart.PERMANENT:
        return Returned("returned, though it is to run for ever")
    return None


def restarted_with(strategy: Strategy, members: Sequence[Member], member: Member) -> Sequence[Member]:
    """The members that go down and come back with this one, itself among them, in order of start."""
    match strategy:
        case Strategy.ONE_FOR_ONE:
            return [member]
        case Strategy.REST_FOR_ONE:
            return members[members.index(member) :]
        case Strategy.ONE_FOR_ALL:
            return members


def next_to_stop(members: Sequence[Member]) -> Member | None:
    """The condemned member whose turn it is: the last one that still lives, also while it is stopping already."""
    return next((member for member in reversed(members) if member.condemned and member.alive), None)


def may_start(strategy: Strategy, members: Sequence[Member], member: Member, now: float) -> bool:
    """Is it time for this member?

    Siblings that depend on each other (every strategy but ONE_FOR_ONE) start one after the other, each when all before
    it are running, and none while one has still to go down. Independent ones keep that order only the first time.
    """
    if member.alive or not member.wanted or now < member.not_before:
        return False
    earlier = [sibling for sibling in members[: members.index(member)] if sibling.wanted]
    if strategy is Strategy.ONE_FOR_ONE:
        return all(sibling.been_ready for sibling in earlier)
    return next_to_stop(members) is None and all(sibling.state is State.RUNNING for sibling in earlier)


def next_deadline(members: Iterable[Member], now: float) -> float:
    """When the supervisor must look again although nothing happened; infinity when it need not."""
    patience = [member.deadline for member in members if member.alive]
    starts = [member.not_before for member in members if member.wanted and member.not_before > now]
    return min(patience + starts, default=inf)


def sole_cause(error: BaseException) -> BaseException:
    """The one error that a group holds, however deep, or the error itself: nurseries wrap what they raise."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def describe(error: BaseException) -> str:
    """One line for an operator, at most 300 characters."""
    cause = sole_cause(error)
    text = " ".join(f"{type(cause).__name__}: {cause}".split())
    return text if len(text) <= 300 else text[:299] + "…"

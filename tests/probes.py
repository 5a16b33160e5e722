"""Actors that do as they are told and write down what happens to them, for tests of supervision."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from random import Random

import trio
from trio.abc import Clock

from actors.supervision import ONE_FOR_ONE, Backoff, Child, ChildStatistics, Restarts, Strategy, Supervisor

EXACT = Backoff(first_seconds=1, factor=2, cap_seconds=8, jitter=0, healthy_seconds=100)
"""Delays of 1, 2, 4, 8, 8, … seconds."""


class Broken(Exception):  # noqa: N818 - planted, not an error of ours
    """What a probe crashes with."""


class Journal:
    """What happened to all probes of a test, in order, with times."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.entries: list[tuple[float, str, str]] = []
        self.violations: list[str] = []

    def note(self, name: str, what: str) -> None:
        """Write it down with the time."""
        self.entries.append((self.clock.current_time(), name, what))

    def words(self, *whats: str) -> list[str]:
        """'name what' of every entry, or only of those named."""
        return [f"{name} {what}" for _, name, what in self.entries if not whats or what in whats]

    def times(self, name: str, what: str) -> list[float]:
        """When this happened to this probe."""
        return [time for time, *entry in self.entries if entry == [name, what]]

    def clear(self) -> None:
        """Forget what happened so far."""
        self.entries.clear()


class Probe:
    """An actor that crashes or returns when told. Each crash comes out of a nursery, so as a group.

    Args:
        lasts: How many seconds each incarnation is ready before it crashes; later ones live on.
        start_seconds: How long it takes until it is ready; then it crashes instead as long as `broken`.
        stop_seconds: How long it works on after `stop`.
        stubborn: How many cancels it swallows while it stops, living on for 1000 s each time.
    """

    def __init__(
        self,
        journal: Journal,
        name: str,
        *lasts: float,
        start_seconds: float = 0.0,
        stop_seconds: float = 0.0,
        stubborn: int = 0,
    ) -> None:
        self.journal = journal
        self.name = name
        self.lasts = list(lasts)
        self.start_seconds = start_seconds
        self.stop_seconds = stop_seconds
        self.stubborn = stubborn
        self.broken = False
        self.living = False
        self.ready = False
        self.stopping = False
        self.told: BaseException | None = None
        self._order = trio.Event()

    def crash(self, error: BaseException | None = None) -> None:
        """Make the present incarnation raise, now."""
        self.told = error or Broken(self.name)
        self._order.set()

    def leave(self) -> None:
        """Make the present incarnation return, now."""
        self.told = None
        self._order.set()

    async def run(self, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Live as described."""
        if self.living:
            self.journal.violations.append(f"two incarnations of {self.name}")
        self.living = True
        self._order = trio.Event()
        self.journal.note(self.name, "start")
        try:
            await self._get_ready()
            task_status.started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._obey, nursery.cancel_scope, self.lasts.pop(0) if self.lasts else float("inf"))
                await stop.wait()
                self.stopping = True
                self.journal.note(self.name, "stop")
                await self._finish()
                nursery.cancel_scope.cancel()
        except BaseException as error:
            self.journal.note(self.name, "cancelled" if _is_cancel(error) else "crash")
            raise
        finally:
            self.living = self.ready = self.stopping = False
            self.journal.note(self.name, "end")

    async def _get_ready(self) -> None:
        await trio.sleep(self.start_seconds)
        if self.broken:
            raise Broken(self.name)
        self.ready = True
        self.journal.note(self.name, "ready")

    async def _obey(self, scope: trio.CancelScope, seconds: float) -> None:
        with trio.move_on_after(seconds) as patience:
            await self._order.wait()
        if patience.cancelled_caught:
            self.crash()
        if self.told is not None:
            raise self.told
        scope.cancel()

    async def _finish(self) -> None:
        while True:
            try:
                return await trio.sleep(1000 if self.stubborn else self.stop_seconds)
            except trio.Cancelled:
                if not self.stubborn:
                    raise
                self.stubborn -= 1
                self.journal.note(self.name, "swallow")
                with trio.CancelScope(shield=True):
                    await trio.sleep(1000)


def _is_cancel(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_cancel(each) for each in error.exceptions)
    return isinstance(error, trio.Cancelled)


class Deaths(list[tuple[float, int, str]]):
    """A `die` that only writes down when, with which code and why."""

    def __call__(self, code: int, message: str) -> None:
        """Die, as far as the supervisor knows."""
        self.append((trio.current_time(), code, message))


def family(
    *children: Child,
    name: str = "root",
    strategy: Strategy = ONE_FOR_ONE,
    limit: Restarts = Restarts(3, per=60),  # noqa: B008 - frozen
    backoff: Backoff = EXACT,
    seed: int = 1,
    deaths: Deaths | None = None,
) -> Supervisor:
    """A supervisor with exact delays and, unless the test looks at it, a `die` that nobody reads."""
    die = Deaths() if deaths is None else deaths
    return Supervisor(name, strategy, children, random=Random(seed), die=die, limit=limit, backoff=backoff)


def children(probes: Iterable[Probe]) -> list[Child]:
    """Each as a permanent child."""
    return [Child(probe.name, probe.run) for probe in probes]


def child_of(supervisor: Supervisor, name: str) -> ChildStatistics:
    """What the tree says of one child."""
    return next(child for child in supervisor.statistics().flat() if child.name == name)


@asynccontextmanager
async def running(supervisor: Supervisor) -> AsyncIterator[trio.Event]:
    """The supervisor, started; leaving the block stops it and waits. Gives its `stop`."""
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run, stop)
        yield stop
        stop.set()

"""Supervision in random trees under random crashes, stops and requests, in many schedules: what always holds."""

from collections import Counter
from random import Random

import trio
from structlog.testing import capture_logs
from trio.testing import wait_all_tasks_blocked

from actors.supervision import (
    NEVER_ESCALATES,
    ONE_FOR_ONE,
    Backoff,
    Child,
    GaveUp,
    NotRunning,
    NotStarted,
    Restart,
    Restarts,
    StartFailed,
    State,
    Strategy,
    Supervisor,
)
from tests.counts import seeds
from tests.probes import Deaths, Journal, Probe
from tests.scheduler import run_seeded


class _Dependent(Probe):
    """A probe that must not start before the living siblings in front of it are ready."""

    def __init__(self, journal: Journal, name: str, elders: list[Probe], random: Random) -> None:
        super().__init__(
            journal, name, start_seconds=random.choice([0, 0, 0.5, 3]), stop_seconds=random.choice([0, 0, 1, 8])
        )
        self.broken = random.random() < 0.01
        self.elders = elders

    async def run(self, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Live, and tell when it was too early to."""
        if not all(elder.ready for elder in self.elders if elder.living):
            self.journal.violations.append(f"{self.name} started before those it depends on were ready")
        await super().run(stop, task_status=task_status)


class _Turmoil:
    """A random tree and random events in it, watched by invariants.

    - never two incarnations of one child at once;
    - a child whose siblings depend on each other starts only when all living ones before it are ready;
    - when the end comes to a tree at rest, nobody starts any more and all end in reverse of the order of start;
    - at the end nobody lives, every request was answered, and nobody had to be killed.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self.journal = Journal(trio.lowlevel.current_clock())
        self.probes: list[Probe] = []
        self.names: list[str] = []
        self.deaths = Deaths()
        self.counts: Counter[str] = Counter()
        self.root = self.grow("root", 0)
        self.stop = trio.Event()
        self.scope = trio.CancelScope()
        self.over = False

    def grow(self, name: str, depth: int) -> Supervisor:
        """A supervisor with children and, not too deep, supervisors below it."""
        random = self.random
        strategy = random.choice(list(Strategy))
        children: list[Child] = []
        elders: list[Probe] = []
        for number in range(random.randint(1, 4)):
            below = f"{name}.{number}"
            self.names.append(below)
            if depth < 2 and random.random() < 0.3:
                children.append(self.grow(below, depth + 1).child(limit=random.choice([None, NEVER_ESCALATES])))
                continue
            probe = _Dependent(self.journal, below, list(elders), random)
            self.probes.append(probe)
            if strategy is not ONE_FOR_ONE:
                elders.append(probe)
            children.append(
                Child(
                    below,
                    probe.run,
                    random.choice([Restart.PERMANENT, *Restart]),
                    start_timeout_seconds=random.choice([None, 2, 30]) if probe.start_seconds < 2 else 30,
                    stop_timeout_seconds=random.choice([2, 10]),
                    limit=random.choice([None, None, NEVER_ESCALATES, Restarts(2, per=10)]),
                )
            )
        return Supervisor(
            name,
            strategy,
            children,
            random=random,
            die=self.deaths,
            limit=Restarts(random.randint(2, 8), per=30),
            backoff=Backoff(first_seconds=0.1, cap_seconds=2, jitter=0.5, healthy_seconds=20),
        )

    async def run(self) -> None:
        """Let it live through some trouble and end it."""
        with trio.fail_after(10_000):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.live)
                for _ in range(self.random.randint(5, 40)):
                    await trio.sleep(self.random.choice([0, 0, 0.1, 1, 5]))
                    self.trouble(nursery)
                if self.random.random() < 0.6:
                    await trio.sleep(100)
                await wait_all_tasks_blocked()
                at_rest = {child.state for child in self.root.statistics().flat()} <= {"running", "stopped", "failed"}
                living = [probe.name for probe in self.probes if probe.living]
                self.journal.clear()
                self.end()
        if at_rest:
            self.counts["ends at rest"] += 1
            assert self.journal.words("start") == []
            assert self.journal.words("end") == [f"{name} end" for name in reversed(living)]
        self.check()

    async def live(self) -> None:
        with self.scope:
            try:
                await self.root.run(self.stop)
            except (GaveUp, StartFailed) as error:
                self.counts[type(error).__name__] += 1
        self.over = True

    def trouble(self, nursery: trio.Nursery) -> None:
        """One of the things that may happen."""
        probe = self.random.choice(self.probes)
        match self.random.randrange(8):
            case 0 | 1 | 2:
                probe.crash()
            case 3:
                probe.leave()
            case 4:
                probe.broken = not probe.broken
            case 5:
                nursery.start_soon(self.ask, "restart")
            case 6:
                nursery.start_soon(self.ask, "start")
            case _:
                nursery.start_soon(self.ask, "stop")

    async def ask(self, what: str) -> None:
        request = {"restart": self.root.restart, "start": self.root.start, "stop": self.root.stop}[what]
        self.counts["asked"] += 1
        try:
            await request(self.random.choice(self.names))
        except (NotRunning, NotStarted) as error:
            self.counts[type(error).__name__] += 1
        self.counts["answered"] += 1

    def end(self) -> None:
        """End it in one of the ways there are; it may have ended by itself."""
        match self.random.randrange(3):
            case 0:
                self.stop.set()
            case 1:
                self.root.request_stop()
            case _:
                self.scope.cancel()

    def check(self) -> None:
        assert self.over
        assert not self.journal.violations
        assert not any(probe.living for probe in self.probes)
        assert self.deaths == []
        assert self.counts["asked"] == self.counts["answered"]
        statistics = list(self.root.statistics().flat())
        assert {child.state for child in statistics} <= {State.STOPPED, State.FAILED}
        assert {child.uptime_seconds for child in statistics} == {0}
        self.counts["restarts"] += sum(child.restarts for child in statistics)


async def _survive(seed: int) -> Counter[str]:
    turmoil = _Turmoil(Random(seed))
    await turmoil.run()
    return turmoil.counts


def test_invariants_hold_in_random_trees_under_random_trouble() -> None:
    """Whatever crashes, returns, hangs or is asked for, in whichever order: the invariants above hold."""
    counts: Counter[str] = Counter()
    some = seeds(200, 2000)
    for seed in some:
        with capture_logs():
            counts += run_seeded(seed, _survive, seed)
    if len(some) > 1:
        kinds = {"restarts", "ends at rest", "GaveUp", "StartFailed", "NotStarted", "NotRunning", "answered"}
        assert kinds <= set(counts), counts

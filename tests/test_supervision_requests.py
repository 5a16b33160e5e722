"""Supervision: what operators ask for and what they see: requests, statistics, the log, on a clock that jumps."""

import math

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.supervision import (
    NEVER_ESCALATES,
    ONE_FOR_ALL,
    ONE_FOR_ONE,
    REST_FOR_ONE,
    TEMPORARY,
    TRANSIENT,
    Backoff,
    Child,
    ChildStatistics,
    GaveUp,
    NotRunning,
    NotStarted,
    Restarts,
    State,
    Strategy,
    SupervisorStatistics,
    UnknownChild,
)
from tests.probes import Broken, Journal, Probe, child_of, children, family, running

RESTARTED_WITH_B = {ONE_FOR_ONE: "b", REST_FOR_ONE: "bc", ONE_FOR_ALL: "abc"}


# ------------------------------------------------------------------------------------------------------------ operators


@pytest.mark.parametrize("strategy", Strategy)
async def test_an_operators_restart_follows_the_strategy_and_is_never_charged(
    strategy: Strategy, autojump_clock: MockClock
) -> None:
    """Anywhere in the tree, by name, at once and any number of times; it returns when the child is ready again."""
    journal = Journal(autojump_clock)
    a, c = Probe(journal, "a"), Probe(journal, "c")
    b = Probe(journal, "b", start_seconds=2, stop_seconds=1)
    engine = family(*children([a, b, c]), name="engine", strategy=strategy, limit=Restarts(0, per=60))
    root = family(engine.child(), limit=Restarts(0, per=60))
    async with running(root):
        for _ in range(100):
            journal.clear()
            began = autojump_clock.current_time()
            await root.restart("b")
            assert autojump_clock.current_time() == began + 3
            await wait_all_tasks_blocked()
            assert journal.words("stop") == [f"{name} stop" for name in reversed(RESTARTED_WITH_B[strategy])]
            assert journal.words("ready") == [f"{name} ready" for name in RESTARTED_WITH_B[strategy]]
        assert child_of(root, "b").restarts == 100


async def test_a_whole_supervisor_can_be_restarted_by_name(autojump_clock: MockClock) -> None:
    """Down in reverse, up in order, and its siblings in a one_for_one parent notice nothing."""
    journal = Journal(autojump_clock)
    probes = [Probe(journal, name) for name in "abc"]
    engine = family(*children(probes[:2]), name="engine")
    root = family(engine.child(), *children(probes[2:]))
    async with running(root):
        journal.clear()
        await root.restart("engine")
        assert journal.words("end", "start") == ["b end", "a end", "a start", "b start"]


async def test_an_operators_stop_and_start_concern_one_child(autojump_clock: MockClock) -> None:
    """Stopped means down for good, also over a sibling's restart; started means ready; both may be asked twice."""
    journal = Journal(autojump_clock)
    a, b, c = Probe(journal, "a"), Probe(journal, "b", stop_seconds=2), Probe(journal, "c")
    root = family(*children([a, b, c]), strategy=REST_FOR_ONE)
    async with running(root):
        journal.clear()
        await root.stop("b")
        await root.stop("b")
        assert journal.words() == ["b stop", "b end"]
        assert autojump_clock.current_time() == 2
        a.crash()
        await trio.sleep(10)
        assert [child.state for child in root.statistics().children] == ["running", "stopped", "running"]
        journal.clear()
        await root.start("b")
        await root.start("b")
        assert journal.words() == ["b start", "b ready"]
    assert journal.words("stop") == ["c stop", "b stop", "a stop"]


async def test_operators_need_not_wait_for_a_backoff(autojump_clock: MockClock) -> None:
    """During a backoff a restart or start happens at once, and a stop ends it."""
    journal = Journal(autojump_clock)
    probe = Probe(journal, "a")
    root = family(
        Child("a", probe.run), limit=NEVER_ESCALATES, backoff=Backoff(first_seconds=8, cap_seconds=8, jitter=0)
    )
    async with running(root):
        for again in (root.restart, root.start):
            probe.crash()
            await trio.sleep(1)
            assert child_of(root, "a").state is State.BACKING_OFF
            await again("a")
        assert journal.times("a", "ready") == [0, 1, 2]
        probe.crash()
        await trio.sleep(1)
        await root.stop("a")
        assert child_of(root, "a").state is State.STOPPED
        await trio.sleep(100)
        assert not probe.living


async def test_an_operators_restart_ends_the_backoff_of_dependents_too(autojump_clock: MockClock) -> None:
    """Who comes back with the named child comes back at once, even if it was waiting for its own restart."""
    journal = Journal(autojump_clock)
    a, b = Probe(journal, "a"), Probe(journal, "b", 0, 0)
    root = family(*children([a, b]), strategy=REST_FOR_ONE)
    async with running(root):
        await trio.sleep(1.5)
        assert child_of(root, "b").state is State.BACKING_OFF
        await root.restart("a")
        await wait_all_tasks_blocked()
        assert journal.times("b", "ready") == [0, 1, 1.5]


async def test_a_child_first_started_by_an_operator_cannot_fail_the_tree(autojump_clock: MockClock) -> None:
    """Failing fast belongs to the first start of the tree; afterwards it is a crash, even if it never was ready."""
    journal = Journal(autojump_clock)
    a, b, c = Probe(journal, "a"), Probe(journal, "b", start_seconds=5), Probe(journal, "c", start_seconds=5)
    root = family(*children([a, b, c]))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(root.run, trio.Event())
        await trio.sleep(1)
        await root.stop("b")
        await trio.sleep(9)
        assert [child.state for child in root.statistics().children] == ["running", "stopped", "running"]
        b.broken = True
        with pytest.raises(NotStarted):
            await root.start("b")
        assert child_of(root, "b").state is State.BACKING_OFF
        root.request_stop()


async def test_an_operator_is_told_why_a_child_did_not_start(autojump_clock: MockClock) -> None:
    """The restart itself is not charged; that it failed is a crash, with its backoff."""
    journal = Journal(autojump_clock)
    probe = Probe(journal, "a")
    root = family(Child("a", probe.run))
    async with running(root):
        probe.broken = True
        with pytest.raises(NotStarted, match="a did not start: Broken: a") as caught:
            await root.restart("a")
        assert isinstance(caught.value.__cause__, Broken)
        probe.broken = False
        await trio.sleep(2)
        assert journal.times("a", "ready") == [0, 1]


async def test_an_operator_can_revive_a_child_that_was_left_down(autojump_clock: MockClock) -> None:
    """A temporary child that crashed, and a transient one that was done, run again when asked to."""
    journal = Journal(autojump_clock)
    probes = [Probe(journal, "temporary"), Probe(journal, "transient")]
    root = family(Child("temporary", probes[0].run, TEMPORARY), Child("transient", probes[1].run, TRANSIENT))
    async with running(root):
        probes[0].crash()
        probes[1].leave()
        await wait_all_tasks_blocked()
        assert [child.state for child in root.statistics().children] == ["failed", "stopped"]
        await root.restart("temporary")
        await root.start("transient")
        assert [child.state for child in root.statistics().children] == ["running", "running"]


async def test_contradicting_requests_all_get_an_answer(autojump_clock: MockClock) -> None:
    """The last word counts: a stop fails a pending start, a start after a stop brings the child back."""
    journal = Journal(autojump_clock)
    probe = Probe(journal, "a", start_seconds=10, stop_seconds=1)
    root = family(Child("a", probe.run))
    refused: list[str] = []

    async def restart() -> None:
        try:
            await root.restart("a")
        except NotStarted as error:
            refused.append(str(error))

    async with running(root), trio.open_nursery() as nursery:
        nursery.start_soon(restart)
        await trio.sleep(5)  # stopped at 11, starting since
        nursery.start_soon(root.stop, "a")
        await wait_all_tasks_blocked()
        assert refused == ["a: another request stopped it"]
        assert child_of(root, "a").state is State.STOPPED
        await root.start("a")
        nursery.start_soon(root.stop, "a")
        await trio.sleep(0.5)
        await root.start("a")
        assert child_of(root, "a").state is State.RUNNING
        nursery.start_soon(restart)
        await trio.sleep(5)
        root.request_stop()
    assert refused[1:] == ["a: its supervisor root stops"]


async def test_requests_that_nobody_can_serve_are_refused(autojump_clock: MockClock) -> None:
    """Unknown names, a tree that does not run, and a child whose supervisor is down itself."""
    journal = Journal(autojump_clock)
    probe = Probe(journal, "a")
    engine = family(Child("a", probe.run), name="engine", limit=Restarts(0, per=60))
    root = family(engine.child())
    with pytest.raises(NotRunning):
        await root.restart("engine")
    async with running(root):
        for ask in (root.restart, root.start, root.stop):
            with pytest.raises(UnknownChild, match="no child is called nobody"):
                await ask("nobody")
        probe.crash()
        await wait_all_tasks_blocked()
        assert child_of(root, "engine").state is State.BACKING_OFF
        with pytest.raises(NotRunning, match="a: its supervisor engine is not running"):
            await root.restart("a")
    with pytest.raises(NotRunning):
        await root.stop("engine")
    assert autojump_clock.current_time() == 0


# --------------------------------------------------------------------------------------------------- statistics and log


async def test_statistics_show_the_tree_as_it_is(autojump_clock: MockClock) -> None:
    """State, restarts, last error and uptime of each child, nested as the tree is, at every stage."""
    journal = Journal(autojump_clock)
    a, b, slow = Probe(journal, "a"), Probe(journal, "b", stop_seconds=4), Probe(journal, "slow", start_seconds=2)
    engine = family(*children([a, b]), name="engine", strategy=REST_FOR_ONE)
    root = family(engine.child(), *children([slow]), limit=NEVER_ESCALATES)

    def show() -> SupervisorStatistics:
        return root.statistics()

    def child(name: str, state: State, restarts: int, error: str | None, uptime: float) -> ChildStatistics:
        return ChildStatistics(name, state, restarts, error, uptime, supervisor=None)

    def tree(engine_uptime: float, *children: ChildStatistics, last: ChildStatistics) -> SupervisorStatistics:
        below = SupervisorStatistics("engine", REST_FOR_ONE, children)
        parent = ChildStatistics("engine", State.RUNNING, 0, None, engine_uptime, below)
        return SupervisorStatistics("root", ONE_FOR_ONE, (parent, last))

    async with running(root):
        up = child("slow", State.RUNNING, 0, None, 0)
        fresh = (child("a", State.RUNNING, 0, None, 2), child("b", State.RUNNING, 0, None, 2))
        assert show() == tree(2, *fresh, last=up)
        assert [each.name for each in show().flat()] == ["engine", "a", "b", "slow"]
        a.crash()
        slow.crash()
        await trio.sleep(0.5)
        backing_off = child("a", State.BACKING_OFF, 0, "Broken: a", 0)
        stopping = child("b", State.STOPPING, 0, None, 2.5)
        assert show() == tree(2.5, backing_off, stopping, last=child("slow", State.BACKING_OFF, 0, "Broken: slow", 0))
        await trio.sleep(2)
        assert show().children[1] == child("slow", State.STARTING, 1, "Broken: slow", 0)
        await trio.sleep(1.5)
        again = (child("a", State.RUNNING, 1, "Broken: a", 0), child("b", State.RUNNING, 1, None, 0))
        await wait_all_tasks_blocked()
        assert show() == tree(6, *again, last=child("slow", State.RUNNING, 1, "Broken: slow", 1))
    assert {each.state for each in show().flat()} == {State.STOPPED}
    assert {each.uptime_seconds for each in show().flat()} == {0}


async def test_starts_stops_crashes_and_escalation_are_logged(autojump_clock: MockClock) -> None:
    """Each with supervisor and child, a crash with the exception itself, so that the traceback is there."""
    journal = Journal(autojump_clock)
    a, b = Probe(journal, "a"), Probe(journal, "b", 1, 1)
    with capture_logs() as logs, pytest.raises(GaveUp):
        await family(*children([a, b]), limit=Restarts(1, per=60)).run(trio.Event())
    assert all(line["supervisor"] == "root" for line in logs)
    assert [(line["event"], line.get("child")) for line in logs] == [
        ("child started", "a"),
        ("child started", "b"),
        ("child crashed", "b"),
        ("child will restart", "b"),
        ("child started", "b"),
        ("child crashed", "b"),
        ("supervisor gives up", None),
        ("child stopped", "a"),
    ]
    assert isinstance(logs[2]["exc_info"], ExceptionGroup)
    assert logs[3]["delay_seconds"] == 1
    assert logs[6]["reason"].startswith("root gave up on b")
    assert math.isclose(logs[5]["ready_seconds"], 1)

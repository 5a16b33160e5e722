"""Supervision: order of start and stop, and what may go wrong with either, on a clock that jumps."""

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from actors.supervision import (
    NEVER_ESCALATES,
    ONE_FOR_ALL,
    REST_FOR_ONE,
    Child,
    GaveUp,
    Restart,
    Restarts,
    StartFailed,
    State,
)
from tests.probes import Broken, Deaths, Journal, Probe, child_of, children, family, running

# ---------------------------------------------------------------------------------------------------------------- start


async def test_children_start_in_order_each_when_the_one_before_is_ready(autojump_clock: MockClock) -> None:
    """Nobody starts before its predecessor serves, and the supervisor is ready when the last one is."""
    journal = Journal(autojump_clock)
    probes = [Probe(journal, name, start_seconds=seconds) for name, seconds in (("a", 3), ("b", 0), ("c", 2))]
    async with running(family(*children(probes))):
        assert autojump_clock.current_time() == 5
        assert journal.entries == [
            (0, "a", "start"),
            (3, "a", "ready"),
            (3, "b", "start"),
            (3, "b", "ready"),
            (3, "c", "start"),
            (5, "c", "ready"),
        ]


async def test_the_first_start_fails_fast_and_names_the_child(autojump_clock: MockClock) -> None:
    """A child that fails before it was ever ready is not tried again: what runs is stopped, the path is told."""
    journal = Journal(autojump_clock)
    a, b, c, d = (Probe(journal, name) for name in "abcd")
    c.broken = True
    engine = family(Child("b", b.run), Child("c", c.run), Child("d", d.run), name="engine", strategy=REST_FOR_ONE)
    with pytest.raises(StartFailed, match="root/engine/c did not start: Broken: c") as caught:
        await family(Child("a", a.run), engine.child()).run(trio.Event())
    assert caught.value.path == ("root", "engine", "c")
    assert isinstance(caught.value.reason, Broken)
    assert isinstance(caught.value.__cause__, StartFailed)
    assert journal.words("start") == ["a start", "b start", "c start"]
    assert journal.words("end") == ["c end", "b end", "a end"]
    assert autojump_clock.current_time() == 0


async def test_a_first_start_that_takes_too_long_fails(autojump_clock: MockClock) -> None:
    """The start timeout is exact, and the child is cancelled at it."""
    journal = Journal(autojump_clock)
    slow = Probe(journal, "slow", start_seconds=31)
    with pytest.raises(StartFailed) as caught:
        await family(Child("slow", slow.run, start_timeout_seconds=30)).run(trio.Event())
    assert isinstance(caught.value.reason, TimeoutError)
    assert journal.entries == [(0, "slow", "start"), (30, "slow", "cancelled"), (30, "slow", "end")]


async def test_no_start_timeout_waits_as_long_as_it_takes(autojump_clock: MockClock) -> None:
    """A replay takes what it takes."""
    slow = Probe(Journal(autojump_clock), "slow", start_seconds=100_000)
    async with running(family(Child("slow", slow.run, start_timeout_seconds=None))):
        assert autojump_clock.current_time() == 100_000


@pytest.mark.parametrize("restart", Restart)
async def test_returning_before_being_ready_fails_the_start(restart: Restart, autojump_clock: MockClock) -> None:
    """Whatever its restart kind, a child is started only when it said so."""

    async def return_at_once(stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        assert task_status is not None
        assert not stop.is_set()

    with pytest.raises(StartFailed, match="returned before it was ready"):
        await family(Child("hasty", return_at_once, restart)).run(trio.Event())
    assert autojump_clock.current_time() == 0


async def test_a_child_that_crashes_after_it_was_ready_is_restarted_also_during_the_first_start(
    autojump_clock: MockClock,
) -> None:
    """Failing fast is for who never served: a watcher in a crash loop keeps nobody else from starting."""
    journal = Journal(autojump_clock)
    watcher = Probe(journal, "watcher", 0, 0, 0, 0, 0)
    other = Probe(journal, "other")
    chains = family(*children([watcher, other]), name="chains", limit=NEVER_ESCALATES)
    async with running(family(chains.child())):
        assert autojump_clock.current_time() == 0
        await trio.sleep(100)
        assert journal.times("watcher", "start") == [0, 1, 3, 7, 15, 23]
        assert journal.times("other", "start") == [0]


async def test_a_supervisor_without_children_runs_until_it_is_stopped(autojump_clock: MockClock) -> None:
    """Nothing to start is started at once."""
    async with running(family()):
        await trio.sleep(10)
    assert autojump_clock.current_time() == 10


async def test_a_supervisor_may_run_again_but_not_twice_at_once(autojump_clock: MockClock) -> None:
    """The same object is started again by its parent after a crash; two runs of it would be a bug."""
    journal = Journal(autojump_clock)
    supervisor = family(*children([Probe(journal, "a")]))
    for _ in range(2):
        async with running(supervisor):
            with pytest.raises(RuntimeError, match="runs already"):
                await supervisor.run(trio.Event())
    assert journal.words("start", "end") == ["a start", "a end"] * 2


async def test_a_supervisor_runs_again_as_new(autojump_clock: MockClock) -> None:
    """Neither the reason it gave up for, nor a backoff it was in then, outlives a run."""
    journal = Journal(autojump_clock)
    a, b = Probe(journal, "a", 1), Probe(journal, "b", 0.5)
    supervisor = family(Child("a", a.run, limit=Restarts(0, per=60)), Child("b", b.run))
    with pytest.raises(GaveUp):
        await supervisor.run(trio.Event())
    async with running(supervisor):
        assert autojump_clock.current_time() == 1
        assert journal.times("b", "start") == [0, 1]


async def test_names_are_unique_in_the_whole_tree(autojump_clock: MockClock) -> None:
    """Operators call children by name, so that a second one of the same name is refused when the tree is built."""
    probe = Probe(Journal(autojump_clock), "a")
    with pytest.raises(ValueError, match="one name"):
        family(Child("a", probe.run), family(Child("a", probe.run), name="engine").child())
    with pytest.raises(ValueError, match="one name"):
        family(Child("root", probe.run), name="root")


# ----------------------------------------------------------------------------------------------------------------- stop


@pytest.mark.parametrize(
    ("way", "outcome"),
    [("stop", None), ("request_stop", None), ("cancel", None), ("escalation", GaveUp), ("Ctrl-C", KeyboardInterrupt)],
)
async def test_children_stop_in_reverse_whatever_ends_the_tree(
    way: str, outcome: type[BaseException] | None, autojump_clock: MockClock
) -> None:
    """Request, cancel from outside, escalation and KeyboardInterrupt take the same way down, one child at a time."""
    journal = Journal(autojump_clock)
    a, b, c, d = (Probe(journal, name, stop_seconds=1) for name in "abcd")
    engine = family(*children([a, b]), name="engine", strategy=REST_FOR_ONE)
    fragile = family(*children([d]), name="fragile", limit=Restarts(0, per=60))
    root = family(engine.child(), Child("c", c.run), fragile.child(), limit=Restarts(0, per=60))
    stop = trio.Event()
    caught: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(root.run, stop)
            journal.clear()
            match way:
                case "stop":
                    stop.set()
                case "request_stop":
                    root.request_stop()
                case "cancel":
                    nursery.cancel_scope.cancel()
                case "escalation":
                    d.crash()
                case _:
                    d.crash(KeyboardInterrupt())
    except BaseExceptionGroup as group:
        caught = group
    asked = way in {"stop", "request_stop", "cancel"}
    begin = 1 if asked else 0
    assert journal.entries == [
        *([(0, "d", "stop"), (1, "d", "end")] if asked else [(0, "d", "crash"), (0, "d", "end")]),
        (begin, "c", "stop"),
        (begin + 1, "c", "end"),
        (begin + 1, "b", "stop"),
        (begin + 2, "b", "end"),
        (begin + 2, "a", "stop"),
        (begin + 3, "a", "end"),
    ]
    if outcome is None:
        assert caught is None
    else:
        assert isinstance(caught, BaseExceptionGroup)
        assert caught.subgroup(outcome) is not None
    assert child_of(root, "d").last_error == ("Broken: d" if way == "escalation" else None)
    assert not any(probe.living for probe in (a, b, c, d))
    assert {child.state for child in root.statistics().flat()} <= {State.STOPPED, State.FAILED}


async def test_a_stop_that_takes_too_long_is_cut_off_at_the_timeout(autojump_clock: MockClock) -> None:
    """`stop` first, the cancel exactly at the stop timeout, and only then the next child's `stop`."""
    journal = Journal(autojump_clock)
    a, b = Probe(journal, "a"), Probe(journal, "b", stop_seconds=60)
    async with running(family(Child("a", a.run), Child("b", b.run, stop_timeout_seconds=7))):
        journal.clear()
    assert journal.entries == [
        (0, "b", "stop"),
        (7, "b", "cancelled"),
        (7, "b", "end"),
        (7, "a", "stop"),
        (7, "a", "end"),
    ]


async def test_a_child_that_swallows_its_cancel_ends_the_process(autojump_clock: MockClock) -> None:
    """After stop timeout and grace it is `die(8, ...)`, once, and nobody else was stopped before."""
    journal = Journal(autojump_clock)
    deaths = Deaths()
    a, b = Probe(journal, "a"), Probe(journal, "b", stubborn=1)
    async with running(family(Child("a", a.run), Child("b", b.run, stop_timeout_seconds=7), deaths=deaths)):
        journal.clear()
    assert deaths == [(12, 8, "root/b does not end, not even when cancelled")]
    assert journal.times("a", "stop") == [1007]


async def test_a_child_that_cannot_be_cancelled_while_it_starts_ends_the_process(autojump_clock: MockClock) -> None:
    """Also a start that hangs uncancellably is not waited for: grace runs from the start timeout."""
    deaths = Deaths()

    async def hang(stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        assert not stop.is_set()
        with trio.CancelScope(shield=True):
            await trio.sleep(1000)
        task_status.started()  # too late to mean anything

    with pytest.raises(StartFailed, match="not ready after 10"):
        await family(Child("hung", hang, start_timeout_seconds=10), deaths=deaths).run(trio.Event())
    assert [(time, code) for time, code, _ in deaths] == [(15, 8)]
    assert autojump_clock.current_time() == 1000


async def test_cleaning_up_after_a_cancel_is_not_swallowing_it(autojump_clock: MockClock) -> None:
    """A cancelled child may take its grace."""
    deaths = Deaths()

    async def tidy(stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            assert stop.is_set()
            with trio.CancelScope(shield=True):
                await trio.sleep(4)

    async with running(family(Child("tidy", tidy, stop_timeout_seconds=2), deaths=deaths)):
        pass
    assert autojump_clock.current_time() == 6
    assert deaths == []


@pytest.mark.parametrize("way", ["stop", "cancel"])
async def test_a_stop_during_the_first_start_cancels_who_is_starting_and_stops_the_rest(
    way: str, autojump_clock: MockClock
) -> None:
    """Who is not ready has nothing in flight; who is ready gets its ordered stop; nobody else is started."""
    journal = Journal(autojump_clock)
    a, b, c = Probe(journal, "a", stop_seconds=1), Probe(journal, "b", start_seconds=10), Probe(journal, "c")
    engine = family(*children([a, b, c]), name="engine", strategy=REST_FOR_ONE)
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(family(engine.child()).run, stop)
        await trio.sleep(5)
        stop.set() if way == "stop" else nursery.cancel_scope.cancel()
    assert journal.entries[2:] == [
        (0, "b", "start"),
        (5, "b", "cancelled"),
        (5, "b", "end"),
        (5, "a", "stop"),
        (6, "a", "end"),
    ]


async def test_a_stop_before_the_start_starts_nobody(autojump_clock: MockClock) -> None:
    """`stop` set or a cancel pending when the supervisor begins: it ends without having done anything."""
    journal = Journal(autojump_clock)
    supervisor = family(*children([Probe(journal, "a")]))
    stop = trio.Event()
    with trio.CancelScope() as scope:
        scope.cancel()
        await supervisor.run(stop)
    assert scope.cancelled_caught
    stop.set()
    await supervisor.run(stop)
    assert journal.entries == []


async def test_a_stop_during_a_backoff_starts_nobody_any_more(autojump_clock: MockClock) -> None:
    """A child that waits for its restart is simply down."""
    journal = Journal(autojump_clock)
    a, b = Probe(journal, "a"), Probe(journal, "b", 1)
    async with running(family(*children([a, b]), strategy=ONE_FOR_ALL)) as stop:
        await trio.sleep(1.5)
        stop.set()
    assert autojump_clock.current_time() == 1.5
    assert journal.words("start") == ["a start", "b start"]


async def test_a_crash_during_the_stop_is_told_but_not_charged(autojump_clock: MockClock) -> None:
    """A child may fail on its way down: the log has it, the others still stop, nobody gives up."""
    journal = Journal(autojump_clock)
    a, b = Probe(journal, "a"), Probe(journal, "b", 2, stop_seconds=5)
    supervisor = family(*children([a, b]), limit=Restarts(0, per=60))
    with capture_logs() as logs:
        async with running(supervisor):
            await trio.sleep(1)
    assert journal.words("stop", "crash") == ["b stop", "b crash", "a stop"]
    assert child_of(supervisor, "b").last_error == "Broken: b"
    assert [line["child"] for line in logs if line["event"] == "child crashed while it was stopped"] == ["b"]
    assert autojump_clock.current_time() == 2

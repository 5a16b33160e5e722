"""Supervision: who restarts with whom, exactly when, and when it is one restart too many, on a clock that jumps."""

from itertools import pairwise
from random import Random

import pytest
import trio
from trio.testing import MockClock

from actors.supervision import (
    NEVER_ESCALATES,
    ONE_FOR_ALL,
    ONE_FOR_ONE,
    PERMANENT,
    REST_FOR_ONE,
    TEMPORARY,
    TRANSIENT,
    Backoff,
    Child,
    GaveUp,
    Restart,
    Restarts,
    State,
    Strategy,
)
from tests.probes import Journal, Probe, child_of, children, family, running

ALWAYS_1_S = Backoff(first_seconds=1, cap_seconds=1, jitter=0)
RESTARTED_WITH_B = {ONE_FOR_ONE: "b", REST_FOR_ONE: "bc", ONE_FOR_ALL: "abc"}


# -------------------------------------------------------------------------------------------------------------- restart


async def test_restart_times_are_exact_with_jitter_from_the_injected_random(autojump_clock: MockClock) -> None:
    """Each delay is the backoff's, shortened by the next number of the generator that was passed in, nothing else."""
    journal = Journal(autojump_clock)
    probe = Probe(journal, "a", *[10.0] * 6)
    backoff = Backoff(first_seconds=1, factor=3, cap_seconds=20, jitter=0.5, healthy_seconds=60)
    async with running(family(Child("a", probe.run), limit=NEVER_ESCALATES, backoff=backoff, seed=42)):
        await trio.sleep(200)
    random = Random(42)
    expected, now = [0.0], 0.0
    for full in (1, 3, 9, 20, 20, 20):
        now += 10 + full * (1 - 0.5 * random.random())
        expected.append(now)
    assert journal.times("a", "start") == pytest.approx(expected, abs=1e-9)


async def test_a_healthy_spell_resets_the_backoff(autojump_clock: MockClock) -> None:
    """Delays grow 1, 2, 4 s until a child was ready for 100 s; then it is 1 s again."""
    journal = Journal(autojump_clock)
    probe = Probe(journal, "a", 5, 5, 99, 100, 5)
    async with running(family(Child("a", probe.run), limit=NEVER_ESCALATES)):
        await trio.sleep(1000)
    starts = journal.times("a", "start")
    ends = journal.times("a", "end")
    assert [start - end for end, start in zip(ends, starts[1:], strict=False)] == [1, 2, 4, 1, 2]


async def test_a_failed_restart_counts_and_backs_off_further(autojump_clock: MockClock) -> None:
    """A start that fails, or takes too long, is a crash like any other once the supervisor was ready."""
    journal = Journal(autojump_clock)
    probe = Probe(journal, "a", 5)
    supervisor = family(Child("a", probe.run, start_timeout_seconds=3), limit=Restarts(3, per=60))
    with pytest.RaisesGroup(GaveUp):
        async with running(supervisor):
            probe.broken = True
            await trio.sleep(7)  # crashed at 5, failed to start at 6, next try at 8
            probe.broken, probe.start_seconds = False, 1000
            await trio.sleep(5)  # timed out at 11, next try at 15
            assert child_of(supervisor, "a").state is State.BACKING_OFF
            assert child_of(supervisor, "a").last_error == "TimeoutError: not ready after 3 s"
            probe.start_seconds = 0
            await trio.sleep(10)
            assert journal.times("a", "ready") == [0, 15]
            probe.crash()  # the fourth in 60 s
            await trio.sleep_forever()
    assert journal.times("a", "start") == [0, 6, 8, 15]
    assert child_of(supervisor, "a").last_error == "Broken: a"
    assert autojump_clock.current_time() == 22


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("restart", Restart)
@pytest.mark.parametrize("end", ["crash", "return"])
async def test_who_restarts_with_whom(
    strategy: Strategy, restart: Restart, end: str, autojump_clock: MockClock
) -> None:
    """All strategies and restart kinds: the middle one of three crashes or returns, the right ones follow."""
    journal = Journal(autojump_clock)
    a, b, c = (Probe(journal, name) for name in "abc")
    supervisor = family(
        Child("a", a.run), Child("b", b.run, restart), Child("c", c.run), strategy=strategy, limit=Restarts(1, per=60)
    )
    async with running(supervisor):
        journal.clear()
        b.crash() if end == "crash" else b.leave()
        await trio.sleep(10)
        comes_back = restart is PERMANENT or (restart is TRANSIENT and end == "crash")
        others = RESTARTED_WITH_B[strategy].replace("b", "") if comes_back else ""
        assert journal.words("stop") == [f"{name} stop" for name in reversed(others)]
        assert journal.words("ready") == [f"{name} ready" for name in RESTARTED_WITH_B[strategy] if comes_back]
        assert set(journal.times("a", "ready") + journal.times("b", "ready")) <= {1}
        state = State.RUNNING if comes_back else State.FAILED if end == "crash" else State.STOPPED
        assert child_of(supervisor, "b").state is state
        assert child_of(supervisor, "a").state is child_of(supervisor, "c").state is State.RUNNING


@pytest.mark.parametrize("strategy", [REST_FOR_ONE, ONE_FOR_ALL])
async def test_a_temporary_sibling_that_went_down_with_another_stays_down(
    strategy: Strategy, autojump_clock: MockClock
) -> None:
    """Temporary means never restarted, whatever it ended of; who comes after it does not wait for it."""
    journal = Journal(autojump_clock)
    a, b, c = (Probe(journal, name) for name in "abc")
    supervisor = family(Child("a", a.run), Child("b", b.run, TEMPORARY), Child("c", c.run), strategy=strategy)
    async with running(supervisor):
        a.crash()
        await trio.sleep(10)
        assert [child.state for child in supervisor.statistics().children] == ["running", "stopped", "running"]
        await supervisor.restart("b")
        assert child_of(supervisor, "b").state is State.RUNNING


async def test_dependents_go_down_in_reverse_and_come_back_in_order(autojump_clock: MockClock) -> None:
    """rest_for_one: the later ones stop one by one, the backoff runs meanwhile, then each start waits for the last."""
    journal = Journal(autojump_clock)
    a, b = Probe(journal, "a"), Probe(journal, "b")
    c = Probe(journal, "c", stop_seconds=0.25)
    d = Probe(journal, "d", stop_seconds=2)
    async with running(family(*children([a, b, c, d]), strategy=REST_FOR_ONE)):
        journal.clear()
        for probe in (b, c):
            probe.start_seconds = 3
        b.crash()
        await trio.sleep(20)
        assert journal.entries == [
            (0, "b", "crash"),
            (0, "b", "end"),
            (0, "d", "stop"),
            (2, "d", "end"),
            (2, "c", "stop"),
            (2.25, "c", "end"),
            (2.25, "b", "start"),
            (5.25, "b", "ready"),
            (5.25, "c", "start"),
            (8.25, "c", "ready"),
            (8.25, "d", "start"),
            (8.25, "d", "ready"),
        ]


async def test_an_earlier_crash_cuts_a_restart_short(autojump_clock: MockClock) -> None:
    """A child may be starting for ever because of one before it: that one's crash cancels the start at once."""
    journal = Journal(autojump_clock)
    writer, matching = Probe(journal, "writer"), Probe(journal, "matching")
    engine = family(
        Child("writer", writer.run),
        Child("matching", matching.run, start_timeout_seconds=None, limit=Restarts(1, per=60)),
        strategy=REST_FOR_ONE,
    )
    async with running(engine):
        journal.clear()
        matching.start_seconds = 1e9
        matching.crash()
        await trio.sleep(5)
        matching.start_seconds = 0
        writer.crash()
        await trio.sleep(5)
        assert journal.entries[2:] == [
            (1, "matching", "start"),
            (5, "writer", "crash"),
            (5, "writer", "end"),
            (5, "matching", "cancelled"),
            (5, "matching", "end"),
            (6, "writer", "start"),
            (6, "writer", "ready"),
            (6, "matching", "start"),
            (6, "matching", "ready"),
        ]


async def test_a_childs_own_backoff_outlasts_that_of_one_before_it(autojump_clock: MockClock) -> None:
    """Who has to wait for 4 s still does when an earlier sibling, too, falls and comes back after 1 s."""
    journal = Journal(autojump_clock)
    a, b = Probe(journal, "a"), Probe(journal, "b", 0, 0, 0)
    async with running(family(*children([a, b]), strategy=REST_FOR_ONE, limit=NEVER_ESCALATES)):
        await trio.sleep(3.5)
        assert journal.times("b", "crash") == [0, 1, 3]
        a.crash()
        await trio.sleep(10)
        assert journal.times("a", "ready") == [0, 4.5]
        assert journal.times("b", "ready") == [0, 1, 3, 7]


async def test_independent_children_restart_independently(autojump_clock: MockClock) -> None:
    """one_for_one: neither another's slow start nor another's backoff holds a child up."""
    journal = Journal(autojump_clock)
    a, b = Probe(journal, "a"), Probe(journal, "b")
    async with running(family(*children([a, b]))):
        a.start_seconds = 20
        a.crash()
        await trio.sleep(3)
        b.crash()
        await trio.sleep(3)
        b.crash()
        await trio.sleep(30)
        assert journal.times("a", "start") == [0, 1]
        assert journal.times("a", "ready") == [0, 21]
        assert journal.times("b", "ready") == [0, 4, 8]


async def test_of_crashes_at_one_instant_the_earliest_child_is_charged(autojump_clock: MockClock) -> None:
    """What falls because a sibling fell is its victim, not a culprit: its own limit is not touched."""
    journal = Journal(autojump_clock)
    a, b = Probe(journal, "a"), Probe(journal, "b")
    pair = [Child("a", a.run), Child("b", b.run, limit=Restarts(0, per=60))]
    async with running(family(*pair, strategy=REST_FOR_ONE)):
        b.crash()
        a.crash()
        await trio.sleep(5)
        assert journal.times("a", "ready") == journal.times("b", "ready") == [0, 1]


# ----------------------------------------------------------------------------------------------------------- escalation


async def test_one_restart_too_many_within_the_period_gives_up(autojump_clock: MockClock) -> None:
    """The window slides: restarts a full period apart never add up, n + 1 within it are too many."""
    journal = Journal(autojump_clock)
    # Always up again after 1 s. At 109 the crash at 49 is just forgotten; at 115 those at 60 and 109 are not.
    probe = Probe(journal, "a", 49, 10, 48, 5)
    supervisor = family(Child("a", probe.run), limit=Restarts(2, per=60), backoff=ALWAYS_1_S)
    with pytest.raises(GaveUp, match="root gave up on a: more than 2 restarts / 60 s; at last Broken: a") as caught:
        await supervisor.run(trio.Event())
    assert journal.times("a", "crash") == [49, 60, 109, 115]
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert child_of(supervisor, "a").state is State.FAILED


async def test_escalation_through_two_levels_is_exact(autojump_clock: MockClock) -> None:
    """A supervisor that gives up is a crash in its parent, which backs off, restarts it whole, and gives up in turn."""
    journal = Journal(autojump_clock)
    a, b = Probe(journal, "a"), Probe(journal, "b", *[2.0] * 9)
    engine = family(*children([a, b]), name="engine", strategy=REST_FOR_ONE, limit=Restarts(1, per=60))
    root = family(engine.child(), limit=Restarts(1, per=60))
    with pytest.raises(GaveUp, match=r"root gave up on engine: .*engine gave up on b: .*Broken: b") as caught:
        await root.run(trio.Event())
    # Engine up at 0: crash at 2, restart at 3, crash at 5, gives up. Up again at 6: crash at 8, restart at 9, crash 11.
    assert journal.times("b", "start") == [0, 3, 6, 9]
    assert journal.times("a", "start") == [0, 6]
    assert journal.times("a", "end") == [5, 11]
    assert autojump_clock.current_time() == 11
    assert isinstance(caught.value.__cause__, GaveUp)
    assert child_of(root, "engine").restarts == 1
    assert child_of(root, "b").restarts == 3


async def test_children_without_a_limit_share_their_supervisors(autojump_clock: MockClock) -> None:
    """Two crashes of different siblings are two of the supervisor's; one with its own limit draws on that alone."""
    journal = Journal(autojump_clock)
    a, b, own = (Probe(journal, name) for name in ("a", "b", "own"))
    both = [*children([a, b]), Child("own", own.run, limit=Restarts(1, per=60))]
    supervisor = family(*both, limit=Restarts(2, per=60))
    with pytest.RaisesGroup(GaveUp):
        async with running(supervisor):
            for probe in (own, a, b):
                probe.crash()
                await trio.sleep(5)
            assert {child.restarts for child in supervisor.statistics().children} == {1}
            a.crash()
            await trio.sleep_forever()


@pytest.mark.parametrize("culprit", ["writer", "matching"])
async def test_only_the_crashed_childs_limit_is_charged(culprit: str, autojump_clock: MockClock) -> None:
    """Matching may restart once a minute by itself, but any number of times because the writer did."""
    journal = Journal(autojump_clock)
    writer, matching = Probe(journal, "writer"), Probe(journal, "matching")
    engine = family(
        Child("writer", writer.run),
        Child("matching", matching.run, limit=Restarts(1, per=60)),
        strategy=REST_FOR_ONE,
        limit=Restarts(2, per=60),
    )
    with pytest.RaisesGroup(pytest.RaisesExc(GaveUp, match=f"gave up on {culprit}")):
        async with running(engine):
            for _ in range(2):
                writer.crash()
                await trio.sleep(5)
            matching.crash()
            await trio.sleep(5)
            assert child_of(engine, "matching").restarts == 3
            (writer if culprit == "writer" else matching).crash()
            await trio.sleep_forever()


async def test_never_escalates_retries_for_ever_with_capped_backoff(autojump_clock: MockClock) -> None:
    """A dead node is asked again every 8 s, as long as it takes, and its siblings notice nothing."""
    journal = Journal(autojump_clock)
    watcher, other = Probe(journal, "watcher"), Probe(journal, "other")
    root = family(
        Child("watcher", watcher.run, limit=NEVER_ESCALATES), Child("other", other.run), limit=Restarts(0, per=1)
    )
    async with running(root):
        watcher.broken = True
        watcher.crash()
        await trio.sleep(10_000)
        starts = journal.times("watcher", "start")
        assert len(starts) > 1200
        assert {later - earlier for earlier, later in pairwise(starts[5:])} == {8}
        watcher.broken = False
        await trio.sleep(10)
        assert child_of(root, "watcher").state is State.RUNNING
        assert journal.words("start").count("other start") == 1


async def test_a_nested_supervisor_that_fails_to_restart_is_charged_in_its_parent(autojump_clock: MockClock) -> None:
    """Its own first start fails fast each time; its parent counts, backs off and gives up."""
    journal = Journal(autojump_clock)
    a, b = Probe(journal, "a"), Probe(journal, "b")
    engine = family(*children([a, b]), name="engine", limit=Restarts(0, per=60))
    root = family(engine.child(), limit=Restarts(2, per=60))
    with pytest.RaisesGroup(
        pytest.RaisesExc(GaveUp, match=r"root gave up on engine: .*StartFailed: engine/b did not start")
    ):
        async with running(root):
            b.broken = True
            b.crash()
            await trio.sleep_forever()
    assert journal.times("b", "start") == [0, 1, 3]
    assert journal.words("end")[-1] == "a end"

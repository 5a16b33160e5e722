"""The backup actor: when it copies, what it tells, and that nothing that fails here does any harm."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.lowlevel
from attrs import evolve
from structlog.testing import capture_logs
from trio.testing import MockClock

from actors.backup import BACKOFF, LOOK_SECONDS, Backup, BackupConfig, BackupState, Copied, RunBackup
from actors.handoff import LogItem, SealCall
from actors.mailbox import Mailbox, NotDone, OutcomeUnknown
from actors.reqlog_writer import LogState
from persistence import restore, store_dump
from persistence.object_store import ObjectStore
from persistence.segments import segments
from persistence.sql_store import SqlStore
from tests.backups import FlakyStore, LoggedExchange, sealed_exchange
from tests.simulation.disk import SimulatedDisk
from tests.simulation.world import BlockingFailedError, Inline, VirtualClock
from tests.stores import in_memory

TARGET = "file:///cold"
CONFIG = BackupConfig(target=TARGET, interval_seconds=1_000)


class Scene:
    """An actor with everything around it."""

    def __init__(self, exchange: LoggedExchange, store: FlakyStore) -> None:
        self.exchange = exchange
        self.store = store
        self.mailbox: Mailbox[RunBackup] = Mailbox("backup", 4, rank=1)
        self.log: Mailbox[LogItem] = Mailbox("log", 4, rank=0)
        self.log_state = LogState()
        self.log_state.reqlog = exchange.log
        self.blocking = Inline(exchange.disk)
        self.state = BackupState(TARGET, VirtualClock(), self.log_state)
        self.opened: list[str] = []
        self.actor = Backup(
            CONFIG,
            self.mailbox,
            self.log.sender(1),
            disk=exchange.disk,
            blocking=self.blocking,
            open_target=self._open,
            pace=lambda: None,
            clock=VirtualClock(),
            state=self.state,
            log_state=self.log_state,
        )

    def _open(self, url: str) -> ObjectStore:
        self.opened.append(url)
        return self.store

    async def write(self) -> None:
        """Be the writer, as far as it seals."""
        while True:
            item = await self.log.receive()
            assert isinstance(item, SealCall)
            if has_records := self.exchange.log.segment_has_records:
                self.exchange.seal()
            item.settle(has_records)

    async def ask(self) -> RunBackup:
        """An operator's call, on its way."""
        call = RunBackup(None)
        await self.mailbox.sender(2).send(call, timeout_seconds=1)
        return call

    async def ask_and_wait(self) -> Copied:
        """An operator's call, and its answer."""
        call = await self.ask()
        with trio.fail_after(60):
            return await call.wait()

    def proven(self) -> restore.Proof:
        """What the target has."""
        return restore.prove(self.store, restore.choose(self.store))


@asynccontextmanager
async def running(scene: Scene, *, writer: bool = True) -> AsyncIterator[trio.Event]:
    """Run the actor; its stop."""
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(scene.actor.run, stop)
        if writer:
            nursery.start_soon(scene.write)
        yield stop
        stop.set()
        await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


def a_scene(clock: MockClock) -> Scene:
    """Three sealed segments, and a target that works; on virtual time."""
    assert clock.rate == 0
    return Scene(sealed_exchange(3), FlakyStore())


# When -----------------------------------------------------------------------------------------------------------------


async def test_it_copies_what_is_sealed_when_it_starts(autojump_clock: MockClock) -> None:
    """And says what is safe; before that, nothing is."""
    scene = a_scene(autojump_clock)
    assert not scene.state.is_copied(1)
    async with running(scene):
        await trio.sleep(2 * LOOK_SECONDS)
    assert scene.proven().engine.state_hash() == scene.exchange.engine.state_hash()
    firsts = [segment.header.first_seq for segment in segments(scene.exchange.disk)]
    assert [scene.state.is_copied(first) for first in firsts] == [True, True, True, False]
    view = scene.state.view()
    assert view is not None
    assert (view.segments, view.last_seq, view.lag, view.failures, view.trouble) == (3, firsts[-1] - 1, 0, 0, None)
    assert view.bytes == sum(stored.stored_size for stored in restore.choose(scene.store).objects())


async def test_it_copies_a_segment_soon_after_it_is_sealed(autojump_clock: MockClock) -> None:
    """Not the open one, however much is in it; how far it is behind can be seen."""
    scene = a_scene(autojump_clock)
    async with running(scene):
        await trio.sleep(10)
        calls = len(scene.store.calls)
        scene.exchange.trade()
        await trio.sleep(10)
        assert len(scene.store.calls) == calls
        view = scene.state.view()
        assert view is not None
        assert view.lag == 15
        assert view.age_seconds == pytest.approx(20, abs=2)
        scene.exchange.seal()
        await trio.sleep(2 * LOOK_SECONDS)
        view = scene.state.view()
        assert view is not None
        assert (view.lag, view.segments) == (0, 4)


async def test_once_in_an_interval_it_copies_a_snapshot_and_looks_at_the_target(autojump_clock: MockClock) -> None:
    """What the target has lost by then is copied again; in between no snapshot is copied, but a first one."""
    scene = a_scene(autojump_clock)
    scene.exchange.trade()
    first = scene.exchange.snapshot()
    scene.exchange.trade()
    scene.exchange.seal()
    async with running(scene):
        await trio.sleep(10)
        assert [copy.seq for copy in restore.choose(scene.store).snapshots] == [first.seq]
        scene.exchange.trade()
        second = scene.exchange.snapshot()
        scene.exchange.trade()
        scene.exchange.seal()
        lost = restore.choose(scene.store).segments[1].object.name
        scene.store.inner._store.delete(lost)
        await trio.sleep(500)
        assert len(restore.choose(scene.store).snapshots) == 1
        await trio.sleep(500)
    assert [copy.seq for copy in restore.choose(scene.store).snapshots] == [first.seq, second.seq]
    assert scene.proven().snapshots == 2


async def test_an_operator_gets_everything_copied_up_to_now(autojump_clock: MockClock) -> None:
    """The open segment is sealed first; the answer says what was copied, and a second one that nothing was left."""
    scene = a_scene(autojump_clock)
    async with running(scene):
        await trio.sleep(10)
        scene.exchange.trade()
        copied = await scene.ask_and_wait()
        assert (copied.target, copied.segments, copied.last_seq) == (scene.store.url, 1, scene.exchange.last_seq)
        assert copied.bytes > 0
        again = await scene.ask_and_wait()
        assert again == evolve(copied, segments=0, bytes=0)
    assert scene.proven().last_seq == scene.exchange.last_seq


async def test_without_the_writer_an_operator_gets_what_is_sealed(autojump_clock: MockClock) -> None:
    """After a wait: what is open stays where it is."""
    scene = a_scene(autojump_clock)
    scene.exchange.trade()
    async with running(scene, writer=False):
        with capture_logs() as logs:
            copied = await scene.ask_and_wait()
        assert copied.last_seq < scene.exchange.last_seq
        assert logs[0]["event"] == "what is open is not sealed, so it is not copied yet"


async def test_operators_who_ask_together_are_answered_together(autojump_clock: MockClock) -> None:
    """By one run."""
    scene = a_scene(autojump_clock)
    calls = [await scene.ask() for _ in range(3)]
    async with running(scene):
        answers = [await call.wait() for call in calls]
    assert answers[0] is answers[1] is answers[2]
    assert scene.opened == [TARGET]


# When it fails --------------------------------------------------------------------------------------------------------


async def test_a_target_that_is_down_is_tried_again_ever_more_rarely(autojump_clock: MockClock) -> None:
    """One error in the log, then warnings; the alert is there to be seen; nothing is called copied."""
    scene = a_scene(autojump_clock)
    scene.store.is_down = True
    with capture_logs() as logs:
        async with running(scene):
            await trio.sleep(100)
    levels = [entry["log_level"] for entry in logs]
    assert levels == ["error", *["warning"] * (len(levels) - 1)]
    view = scene.state.view()
    assert view is not None
    # After 1, 2, 4 … seconds, and up to a look more.
    assert view.failures == len(levels) == 7
    assert "it is down" in str(view.trouble)
    assert view.age_seconds == pytest.approx(100, abs=1)
    assert not scene.state.is_copied(1)


async def test_the_waits_have_a_cap(autojump_clock: MockClock) -> None:
    """A target that is back is found within minutes, whatever was before."""
    scene = a_scene(autojump_clock)
    scene.store.is_down = True
    async with running(scene):
        await trio.sleep(50_000)
        scene.store.is_down = False
        with capture_logs() as logs:
            await trio.sleep(BACKOFF.cap_seconds + 2 * LOOK_SECONDS)
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["the backup goes on again"]
    view = scene.state.view()
    assert view is not None
    assert (view.trouble, view.segments) == (None, 3)
    assert scene.state.is_copied(1)


async def test_an_operator_is_told_why_it_failed(autojump_clock: MockClock) -> None:
    """And who asks is not kept waiting for the next try."""
    scene = a_scene(autojump_clock)
    scene.store.is_down = True
    async with running(scene):
        await trio.sleep(1_000)
        with pytest.raises(NotDone, match="it is down; it is tried again by itself"):
            await scene.ask_and_wait()
        scene.store.is_down = False
        assert (await scene.ask_and_wait()).segments == 3


async def test_a_target_that_goes_down_in_the_midst_of_it(autojump_clock: MockClock) -> None:
    """At every request in turn: what it says is copied is there, and the next run goes on."""
    scene = a_scene(autojump_clock)
    async with running(scene):
        await trio.sleep(10)
    for fail_at in range(len(scene.store.calls)):
        here = Scene(sealed_exchange(3), FlakyStore())
        here.store.fail_at = fail_at
        async with running(here):
            await trio.sleep(LOOK_SECONDS * 1.5)
            safe = [first for first in range(1, 100) if here.state.is_copied(first)]
            here.store.fail_at, here.store.is_down = None, False
            named = {copy.first_seq for copy in restore.choose(here.store).segments} if safe else set()
            assert set(safe) <= named
            await trio.sleep(10)
        assert here.proven().engine.state_hash() == here.exchange.engine.state_hash()


async def test_rot_in_the_log_is_told_and_not_copied(autojump_clock: MockClock) -> None:
    """The trouble names the segment; the rest of the exchange is not its business."""
    scene = a_scene(autojump_clock)
    path = segments(scene.exchange.disk)[1].path
    scene.exchange.disk.rot(path, 5000)
    async with running(scene):
        await trio.sleep(10)
    view = scene.state.view()
    assert view is not None
    assert path in str(view.trouble)
    assert scene.proven().manifest.segments[-1].number == 1


async def test_a_backup_of_another_course_is_not_touched(autojump_clock: MockClock) -> None:
    """The target has more than the log: an older copy of the data folder is running. That is said, and no more."""
    scene = a_scene(autojump_clock)
    older = LoggedExchange(scene.exchange.disk.copy())
    scene.exchange.trade()
    scene.exchange.seal()
    scene.exchange.back_up(scene.store)
    before = restore.choose(scene.store)
    here = Scene(older, scene.store)
    async with running(here):
        await trio.sleep(10)
    view = here.state.view()
    assert view is not None
    assert "running without a restore" in str(view.trouble)
    assert restore.choose(scene.store) == before
    assert not here.state.is_copied(1)


async def test_a_bug_ends_the_actor_and_the_caller_does_not_know(autojump_clock: MockClock) -> None:
    """Its supervisor starts it again; what was done is found by the next run."""
    scene = a_scene(autojump_clock)
    scene.exchange.disk.delay_seconds = 1.0
    call = await scene.ask()
    with pytest.RaisesGroup(BlockingFailedError, flatten_subgroups=True):
        async with running(scene):
            scene.blocking.fail = "after"
            await trio.sleep(30)
    with pytest.raises(OutcomeUnknown):
        call.result()


async def test_a_stop_does_not_wait_for_the_backlog(autojump_clock: MockClock) -> None:
    """The step in hand is ended, the rest is left to the next start."""
    scene = a_scene(autojump_clock)
    scene.exchange.disk.delay_seconds = 100.0
    async with trio.open_nursery() as nursery:
        stop = trio.Event()
        await nursery.start(scene.actor.run, stop)
        await trio.sleep(250)
        began = trio.current_time()
        stop.set()
    assert trio.current_time() - began <= 100
    here = Scene(scene.exchange, scene.store)
    scene.exchange.disk.delay_seconds = 0.0
    async with running(here):
        await trio.sleep(10)
    assert here.proven().engine.state_hash() == scene.exchange.engine.state_hash()


# Without a target -----------------------------------------------------------------------------------------------------


async def test_without_a_target_everything_may_go() -> None:
    """No cold store is wanted: nothing to see, and nothing to wait for."""
    state = BackupState("", VirtualClock(), LogState())
    assert state.is_copied(1)
    assert state.view() is None


@pytest.mark.parametrize(
    ("target", "level", "interval_seconds"),
    [("/backup", 3, 1.0), ("s3://", 3, 1.0), (TARGET, 0, 1.0), (TARGET, 20, 1.0), (TARGET, 3, 0.5)],
)
def test_a_wrong_configuration(target: str, level: int, interval_seconds: float) -> None:
    """Is refused where it is made."""
    with pytest.raises(ValueError, match=r"target|level|interval"):
        BackupConfig(target=target, level=level, interval_seconds=interval_seconds)


# The store -----------------------------------------------------------------------------------------------------------


async def test_a_full_run_takes_a_dump_of_the_store_with_it(autojump_clock: MockClock) -> None:
    """One that a restore puts into the data folder; the same one is not taken twice."""
    scene = a_scene(autojump_clock)
    database = in_memory()
    await SqlStore(database).freeze_chain("BTC", "why", 5)
    scene.actor._database = database
    async with running(scene):
        await scene.ask_and_wait()
        await scene.ask_and_wait()
    current = restore.choose(scene.store)
    assert len(current.dumps) == 1
    disk = SimulatedDisk()
    restore.restore(scene.store, current, disk, begin=None, time_ns=1, entropy=bytes)
    other = SqlStore(in_memory())
    await store_dump.load(other, disk.read(store_dump.PATH))
    assert [frozen.chain for frozen in await other.frozen_chains()] == ["BTC"]
    await other.aclose()
    await database.aclose()


async def test_a_store_that_is_away_does_not_hold_up_the_backup(autojump_clock: MockClock) -> None:
    """The log is what matters most."""
    scene = a_scene(autojump_clock)
    database = in_memory()
    await database.aclose()
    scene.actor._database = database
    async with running(scene):
        assert (await scene.ask_and_wait()).segments == 3
    assert restore.choose(scene.store).dumps == ()
    assert scene.state.trouble is None

"""The snapshotter: when one is taken, what is made of it, and that nothing of it touches trading."""

from random import Random

import pytest
import trio
from attrs import evolve
from msgspec.structs import replace
from structlog.testing import capture_logs

from actors.mailbox import Faulted, NotDone, Stopped
from actors.requests import Done
from actors.siblings import StartFailed
from actors.snapshotter import FAILED_SECONDS, SnapshotCall, SnapshotConfig
from book.commands import Command, PlaceOrder
from book.engine import Engine
from book.events import Event, Rejected
from book.queries import Info, InfoView
from book.terms import BUY, GTC, LIMIT
from persistence.exits import Damaged
from persistence.pruning import always_copied
from persistence.segments import segments
from persistence.snapshot import list_snapshots, read_footer
from tallystick.operators import for_operators
from tests.engine_tree import EngineTree, read_log
from tests.probes import child_of
from tests.scheduler import seeded
from tests.simulation.disk import SimulatedDisk
from tests.test_snapshotting import same, started

ORDER = PlaceOrder(1, 0, 0, "BTC-USDT", BUY, LIMIT, GTC, 10, 4_000_000)


async def trade(tree: EngineTree, orders: int) -> None:
    """So many orders that rest, in one batch each."""
    for _ in range(orders):
        (outcome,) = await tree.ask(ORDER)
        assert isinstance(outcome, Done)


def seqs(disk: SimulatedDisk) -> list[int]:
    """The snapshots that there are."""
    return [file.seq for file in list_snapshots(disk)]


# When -----------------------------------------------------------------------------------------------------------------


@seeded
async def test_one_is_taken_after_so_many_bytes_of_log() -> None:
    """And the next after as many more; never without any new record."""
    disk = SimulatedDisk()
    tree = EngineTree(disk, Random(0), snapshots=SnapshotConfig(log_bytes=40_000, seconds=604_800))

    async def body() -> None:
        await trio.sleep(100)
        assert seqs(disk) == []
        for number in range(1, 4):
            while len(seqs(disk)) < number:
                await trade(tree, 20)
                await trio.sleep(2)
            found = seqs(disk)
            await trio.sleep(3600)
            assert seqs(disk) == found

    await tree.run(body)
    first, second, third = (read_footer(disk, file) for file in list_snapshots(disk))
    assert second.seq - first.seq > 100
    assert third.seq - second.seq > 100


@seeded
async def test_one_is_taken_when_the_last_is_old_and_there_is_something_new() -> None:
    """An idle exchange takes none."""
    disk = SimulatedDisk()
    tree = EngineTree(disk, Random(0), snapshots=SnapshotConfig(log_bytes=1 << 40, seconds=100))

    async def body() -> None:
        await trio.sleep(95)
        assert seqs(disk) == []
        await trio.sleep(10)
        assert len(seqs(disk)) == 1
        await trio.sleep(1000)
        assert len(seqs(disk)) == 1
        await trade(tree, 1)
        await trio.sleep(2)
        assert len(seqs(disk)) == 2
        await trade(tree, 1)
        await trio.sleep(95)
        assert len(seqs(disk)) == 2
        await trio.sleep(10)
        assert len(seqs(disk)) == 3

    await tree.run(body)


@seeded
async def test_it_rests_as_long_as_the_last_one_took() -> None:
    """However fast the log grows, half of the time nothing is taken."""
    disk = SimulatedDisk()
    tree = EngineTree(disk, Random(0), snapshots=SnapshotConfig(log_bytes=4096, seconds=604_800, keep=100))
    tree.process.seconds = 60

    async def body() -> None:
        for _ in range(100):
            await trade(tree, 30)
            await trio.sleep(10)

    await tree.run(body)
    assert 7 <= len(seqs(disk)) <= 9


# What becomes of it ---------------------------------------------------------------------------------------------------


@seeded
async def test_an_operator_is_told_what_was_taken() -> None:
    """Its number, file, size and how long it took; everyone who asked while it was taken gets one too."""
    disk = SimulatedDisk()
    tree = EngineTree(disk, Random(0))
    tree.process.seconds = 5

    async def body() -> None:
        await trade(tree, 3)
        taken = await tree.snapshot()
        (file,) = list_snapshots(disk)
        assert (taken.seq, taken.file, taken.bytes) == (file.seq, file.path, file.size)
        assert taken.seq == taken.records
        assert 5 <= taken.seconds < 6
        assert tree.snapshot_state.taken == taken
        assert tree.snapshot_state.newest == read_footer(disk, file)
        calls = [SnapshotCall(None) for _ in range(3)]
        for call in calls:
            tree.wanted.send_nowait(call)
        assert [(await call.wait()).seq for call in calls] == [taken.seq] * 3
        assert tree.process.taken == 2

    await tree.run(body)


@seeded
async def test_a_restart_of_matching_begins_with_the_newest() -> None:
    """The rest of the log is replayed behind it; the state is the same."""
    disk = SimulatedDisk()
    tree = EngineTree(disk, Random(0))
    infos: list[InfoView] = []

    async def body() -> None:
        for _ in range(2):
            await trade(tree, 10)
            await tree.snapshot()
        await trade(tree, 10)
        for _ in range(2):
            view = await tree.ask_until_done(Info())
            assert isinstance(view, InfoView)
            infos.append(view)
            tree.matching.crash()
            await trio.sleep(0.1)

    with capture_logs() as logs:
        await tree.run(body)
    begun = [event for event in logs if event["event"] == "began with a snapshot"]
    assert [event["file"] for event in begun] == [list_snapshots(disk)[-1].path] * 2
    replayed = [event["records"] for event in logs if event["event"] == "replayed"]
    assert replayed[0] == 0
    assert replayed[1:] == [10, 10 + infos[1].seq - infos[0].seq]
    engine = Engine()
    read_log(disk, engine)
    assert same(started(disk)[0], engine)


@seeded
async def test_what_is_covered_goes() -> None:
    """The folder no longer grows; what is left starts, as often as it is asked to."""
    disk = SimulatedDisk()
    for life in range(3):
        tree = EngineTree(
            disk,
            Random(life),
            segment_bytes=16 * 1024,
            snapshots=SnapshotConfig(log_bytes=16 * 1024, seconds=604_800),
            is_copied=always_copied,
        )

        async def body(tree: EngineTree = tree) -> None:
            for _ in range(40):
                await trade(tree, 20)
                await trio.sleep(2)
                assert len(segments(disk)) < 12

        await tree.run(body)
        assert len(seqs(disk)) == 3
    assert segments(disk)[0].header.number > 10


# What fails -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_that_fails_is_told_and_tried_again_later(when: str) -> None:
    """Before or after its work: counted, logged as an error, said to whoever asked; trading goes on."""

    @seeded
    async def run() -> None:
        disk = SimulatedDisk()
        tree = EngineTree(disk, Random(0), snapshots=SnapshotConfig(log_bytes=1 << 40, seconds=100))

        async def body() -> None:
            tree.process.fail = when
            with pytest.raises(NotDone, match="no snapshot could be taken: told to"):
                await tree.snapshot()
            assert (tree.snapshot_state.failures, seqs(disk)) == (1, [])
            assert "told to" in tree.snapshot_state.last_failure
            await trade(tree, 1)
            tree.process.fail = when
            await trio.sleep(105)
            assert (tree.snapshot_state.failures, seqs(disk)) == (2, [])
            await trio.sleep(FAILED_SECONDS - 10)
            assert seqs(disk) == []
            await trio.sleep(12)
            assert len(seqs(disk)) == 1
            assert child_of(tree.root, "snapshotter").restarts == 0

        with capture_logs() as logs:
            await tree.run(body)
        errors = [event for event in logs if event["log_level"] == "error"]
        assert [event["event"][:30] for event in errors] == ["no snapshot could be taken; tr"] * 2

    run()


@seeded
async def test_a_snapshot_that_the_log_contradicts_gets_no_name() -> None:
    """The process came to another state than the one that trades, or made another file than it was asked for."""
    disk = SimulatedDisk()
    tree = EngineTree(disk, Random(0))

    async def body() -> None:
        await trade(tree, 1)
        tree.process.spoil = lambda footer: evolve(footer, digest=bytes(16))
        with pytest.raises(NotDone, match=r"the log says that the state after number \d+ is .*, the snapshot"):
            await tree.snapshot()
        tree.process.spoil = lambda footer: evolve(footer, totals={"BTC": 1})
        with pytest.raises(NotDone, match=r"the snapshot \('[0-9a-f]{32}', \{'BTC': 1\}\)"):
            await tree.snapshot()
        tree.process.spoil = lambda footer: evolve(footer, seq=7)
        with pytest.raises(NotDone, match=r"asked for snapshots/.*, the process made snapshots/0+7.snap.tmp"):
            await tree.snapshot()
        tree.process.spoil = lambda footer: evolve(footer, chain=bytes(16))
        with pytest.raises(NotDone, match="the log has another history"):
            await tree.snapshot()
        assert seqs(disk) == []
        await trade(tree, 1)
        tree.process.spoil = None
        assert (await tree.snapshot()).seq == seqs(disk)[0]

    await tree.run(body)


@seeded
async def test_without_room_for_one_trading_goes_on() -> None:
    """The log needs the room more."""
    disk = SimulatedDisk()
    tree = EngineTree(disk, Random(0))

    async def body() -> None:
        await trade(tree, 1)
        disk.capacity_bytes = sum(map(len, disk.image().values())) + 1_000_000
        with pytest.raises(NotDone, match="no room on the disk for a snapshot"):
            await tree.snapshot()
        await trade(tree, 1)

    await tree.run(body)


@seeded
async def test_a_stop_gives_up_the_one_that_is_being_taken() -> None:
    """At once; whoever asked is told, and the next start removes what was left of it."""
    disk = SimulatedDisk()
    tree = EngineTree(disk, Random(0))
    tree.process.seconds = 1000
    call = SnapshotCall(None)

    async def body() -> None:
        tree.wanted.send_nowait(call)
        await trio.sleep(1)
        began = trio.current_time()
        tree.snapshotter.crash()
        with pytest.raises(Stopped):
            await call.wait()
        assert trio.current_time() - began < 1
        disk.write_file("snapshots/00000000000000000007.snap.tmp", b"half of it")
        await trio.sleep(1)
        assert disk.list("snapshots") == []

    await tree.run(body)


@seeded
async def test_after_a_bug_of_the_engine_there_is_none_until_its_state_is_known() -> None:
    """The writer has no check of it to compare with; the next incarnation of matching brings one."""

    class Buggy(Engine):
        def apply(self, command: Command, seq: int, time_ns: int) -> list[Event] | Rejected:
            if isinstance(command, PlaceOrder) and command.quantity == 666:
                raise ZeroDivisionError
            return super().apply(command, seq, time_ns)

    disk = SimulatedDisk()
    tree = EngineTree(disk, Random(0), engine=Buggy)

    async def body() -> None:
        seen = (await tree.snapshot()).seq
        (first, second) = await tree.ask(ORDER, replace(ORDER, quantity=666))
        assert isinstance(first, Done)
        assert isinstance(second, Faulted)
        await trio.sleep(5)
        assert (await tree.snapshot()).seq > seen + 1

    await tree.run(body)
    engine = Engine()
    read_log(disk, engine)
    assert same(started(disk)[0], engine)


@pytest.mark.parametrize("bad", range(1, 4))
def test_bad_snapshots_at_a_start_cost_only_time(bad: int) -> None:
    """As many of the newest as may be bad: the next older one is taken, at last the whole log; each with a warning."""
    disk = SimulatedDisk()
    lives: list[str] = []

    @seeded
    async def life() -> None:
        tree = EngineTree(disk, Random(len(lives)))

        async def body() -> None:
            view = await tree.ask_until_done(Info())
            assert isinstance(view, InfoView)
            lives.append(view.digest)
            if len(lives) == 1:
                for _ in range(3):
                    await trade(tree, 5)
                    await tree.snapshot()
                await trade(tree, 5)

        await tree.run(body)

    life()
    for file in list_snapshots(disk)[-bad:]:
        disk.rot(file.path, file.size // 2)
    with capture_logs() as logs:
        life()
    warned = [event["file"] for event in logs if event["event"].startswith("a snapshot is bad; another")]
    assert set(warned) == {file.path for file in list_snapshots(disk)[-bad:]}
    begun = [event["file"] for event in logs if event["event"] == "began with a snapshot"]
    assert begun == [file.path for file in list_snapshots(disk)[:-bad][-1:]]
    engine = Engine()
    read_log(disk, engine)
    assert same(started(disk)[0], engine)


def test_a_snapshot_newer_than_the_log_stops_the_start() -> None:
    """An older log was put in its place: exit code 3, every file as it was."""
    disk = SimulatedDisk()

    @seeded
    async def life() -> None:
        tree = EngineTree(disk, Random(0))

        async def body() -> None:
            await trade(tree, 5)
            await tree.snapshot()

        await tree.run(body)

    life()
    (file,) = list_snapshots(disk)
    footer = read_footer(disk, file)
    path = segments(disk)[0].path
    disk.overwrite(path, footer.offset, bytes(disk.size(path) - footer.offset))
    before = disk.image()
    with pytest.raises(BaseExceptionGroup) as caught:
        life()
    assert caught.group_contains(StartFailed)
    stop = for_operators(caught.value)
    assert isinstance(stop, Damaged)
    assert "it is newer than the log" in str(stop)
    assert disk.image() == before


@seeded
async def test_a_difference_is_told_and_no_snapshot_comes_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is for the metrics and for whoever asked, and it goes when all is well again."""
    disk = SimulatedDisk()
    tree = EngineTree(disk, Random(0))

    async def body() -> None:
        await trade(tree, 1)
        with monkeypatch.context() as patched:
            patched.setattr(Engine, "differences", lambda _engine: {"BTC": -1})
            with pytest.raises(NotDone, match=r"money was made or lost, in smallest units: \{'BTC': -1\}"):
                await tree.snapshot()
        assert tree.snapshot_state.differences == {"BTC": -1}
        assert seqs(disk) == []
        await tree.snapshot()
        assert not any(tree.snapshot_state.differences.values())

    await tree.run(body)

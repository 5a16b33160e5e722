"""The engine's half of the tree, matching and the log's writer, under crashes, stalls and power cuts.

Clients remember every outcome they were told. At the end the log is replayed into a fresh engine, and must agree with
all of them: what was answered happened once and where the answer says, what was 'not done' did not happen, nothing
happened twice, and nobody was ever shown anything that the log does not hold.
"""

import itertools
from contextlib import suppress
from random import Random

import msgspec
import trio
from attrs import define, field

from actors.mailbox import Busy, Call, Faulted, NotDone, OutcomeUnknown
from actors.requests import Batch, Done, Outcome, Request
from actors.snapshotter import SnapshotCall
from book.commands import CancelAllAfter, CancelOrder, Command, PlaceOrder
from book.engine import Engine
from book.events import Event, OrderView, Rejected
from book.queries import Info, InfoView, OrderStatus
from book.terms import BUY, GTC, GTD, IOC, LIMIT, SELL
from persistence.recovery import PREALLOCATED
from persistence.segments import segments
from persistence.snapshot import list_snapshots
from tests.counts import seeds
from tests.engine_tree import EngineTree, read_log
from tests.scheduler import run_seeded
from tests.simulation.disk import Fault, PowerCut, SimulatedDisk
from tests.simulation.world import VirtualClock
from tests.test_snapshotting import same, started

SYMBOL = "BTC-USDT"
POISON_LOTS = 666


class PlantedBugError(Exception):
    """What the engine with a bug raises."""


class EngineWithBug(Engine):
    """Fails, after it has begun to change things, on an order of one certain quantity."""

    def apply(self, command: Command, seq: int, time_ns: int) -> list[Event] | Rejected:
        """As the real one, then the bug."""
        outcome = super().apply(command, seq, time_ns)
        if isinstance(command, PlaceOrder) and command.quantity == POISON_LOTS:
            raise PlantedBugError("an order of 666 lots")
        return outcome


@define
class Memory:
    """What one client was told."""

    account: int
    outcomes: list[tuple[Request, Outcome]] = field(factory=list)
    in_doubt: list[Request] = field(factory=list)
    unsettled: int = 0


class Trader:
    """Sends batches of orders, cancels and reads, and remembers what came back."""

    def __init__(self, tree: EngineTree, account: int, random: Random, name: str, *, poison: bool) -> None:
        self.memory = Memory(account)
        self._tree = tree
        self._random = random
        self._name = name
        self._numbers = itertools.count()
        self._poison = poison

    async def trade(self, batches: int) -> None:
        """Send so many batches, a few at a time, without waiting for each."""
        async with trio.open_nursery() as nursery:
            for _ in range(batches):
                nursery.start_soon(self._one)
                if self._random.random() < 0.7:
                    await trio.sleep(self._random.random() * 0.01)

    async def _one(self) -> None:
        requests = [self._request() for _ in range(self._random.randint(1, 6))]
        batch = Batch(requests)
        self.memory.unsettled += 1
        try:
            await self._tree.client.send(batch, timeout_seconds=30)
        except Busy as error:
            batch.fail(error)
        try:
            outcomes: list[Outcome] = await batch.wait()
        except (NotDone, OutcomeUnknown) as error:
            outcomes = [error] * len(requests)
        self.memory.unsettled -= 1
        assert len(outcomes) == len(requests)
        self.memory.outcomes += zip(requests, outcomes, strict=True)

    def _request(self) -> Request:
        random, account = self._random, self.memory.account
        what = random.random()
        if what < 0.6:
            side = random.choice((BUY, SELL))
            price = 5_000_000 + random.randint(-20, 20)
            lots = POISON_LOTS if self._poison and random.random() < 0.02 else random.randint(2, 50)
            client_order_id = f"{self._name}-{next(self._numbers)}"
            time_in_force = random.choice((GTC, IOC, GTD))
            expire_time = VirtualClock().wall_ns() // 10**6 + random.randint(1, 300) if time_in_force == GTD else 0
            return msgspec.structs.replace(
                PlaceOrder(account, 0, 0, SYMBOL, side, LIMIT, time_in_force, lots, price, expire_time=expire_time),
                client_order_id=client_order_id,
            )
        if what < 0.63:
            return CancelAllAfter(account, 0, 0, random.choice((0, 20, 200)))
        number = random.randint(0, 30)
        if what < 0.8:
            return CancelOrder(account, 0, 0, SYMBOL, client_order_id=f"{self._name}-{number}")
        return OrderStatus(account, SYMBOL, client_order_id=f"{self._name}-{number}")


# The oracle -----------------------------------------------------------------------------------------------------------


def agree(log: dict[int, tuple[Command, bool]], engine: Engine, memories: list[Memory]) -> None:
    """Assert that the log and every client's memory tell the same story."""
    placed = [c.client_order_id for c, took in log.values() if took and isinstance(c, PlaceOrder)]
    assert len(placed) == len(set(placed)), "an order was placed twice"
    effective = set(placed)
    for memory in memories:
        assert memory.unsettled == 0, "a batch was never settled"
        for request, outcome in memory.outcomes:
            if isinstance(outcome, Done):
                assert log[outcome.seq] == (request, True), "an answer that the log does not hold"
            elif isinstance(outcome, NotDone) and isinstance(request, PlaceOrder):
                assert request.client_order_id not in effective, "'not done', but in the log"
            elif isinstance(outcome, OrderView):
                assert outcome.client_order_id in effective, "somebody was shown an order that is lost"
                assert outcome.order_id == _order_id(engine, memory.account, outcome.client_order_id)


def _order_id(engine: Engine, account: int, client_order_id: str) -> int:
    view = engine.query(OrderStatus(account, SYMBOL, client_order_id=client_order_id))
    assert isinstance(view, OrderView)
    return view.order_id


# Tests ----------------------------------------------------------------------------------------------------------------


def test_crashes_lose_and_repeat_nothing() -> None:
    """Matching and the writer crash at any await, the disk stalls, the engine has a bug: log and clients agree."""
    faulted = unknown = snapshots = 0
    for seed in seeds(200, 5000):
        random = Random(seed)
        disk = SimulatedDisk()
        settled_twice = Call.settled_twice
        memories, live = run_seeded(seed, _crashing_life, disk, random)
        assert Call.settled_twice == settled_twice
        engine = Engine()
        log = read_log(disk, engine)
        agree(log, engine, memories)
        assert live.digest == engine.digest.value().hex(), f"seed {seed}: the live engine and its log differ"
        assert same(started(disk)[0], engine)
        snapshots += len(list_snapshots(disk))
        outcomes = [outcome for memory in memories for _, outcome in memory.outcomes]
        faulted += sum(isinstance(outcome, Faulted) for outcome in outcomes)
        unknown += sum(isinstance(outcome, OutcomeUnknown) for outcome in outcomes)
    if len(seeds(200, 5000)) > 1:
        assert faulted > 0, "the planted bug was never met"
        assert snapshots > 0, "no snapshot was ever taken"
        assert unknown > 0, "the writer was never killed with something in hand"


async def _crashing_life(disk: SimulatedDisk, random: Random) -> tuple[list[Memory], InfoView]:
    tree = EngineTree(disk, random, engine=EngineWithBug)
    traders = [Trader(tree, account, random, f"t{account}", poison=True) for account in (1, 2)]
    last: list[Outcome] = []

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            for trader in traders:
                nursery.start_soon(trader.trade, 25)
            nursery.start_soon(_crash_now_and_then, tree, random)
            nursery.start_soon(_want_snapshots, tree, random)
        disk.delay_seconds = 0.0
        await trio.sleep(1)  # until nothing is due any more
        last.append(await tree.ask_until_done(Info()))

    await tree.run(body)
    assert isinstance(last[0], InfoView)
    return [trader.memory for trader in traders], last[0]


async def _crash_now_and_then(tree: EngineTree, random: Random) -> None:
    for _ in range(random.randint(1, 6)):
        await trio.sleep(random.random() * 0.1)
        tree.disk.delay_seconds = random.choice((0.0, 0.001, 0.02, 1.0))
        await trio.sleep(random.random() * 0.03)
        what = random.choice((tree.matching.crash, tree.writer.crash, tree.snapshotter.crash, None))
        if what is not None:
            what()
        else:
            tree.blocking.fail = random.choice(("before", "after"))


async def _want_snapshots(tree: EngineTree, random: Random) -> None:
    for _ in range(5):
        await trio.sleep(random.random() * 0.05)
        tree.process.seconds = random.choice((0.0, 0.01, 0.1))
        tree.process.fail = random.choice((None, None, "before", "after"))
        with suppress(Busy):
            tree.wanted.send_nowait(SnapshotCall(None))


def test_power_cuts_lose_nothing_that_was_answered() -> None:
    """The disk fails or the power goes at any step: what the next life finds holds every answer that was given."""
    for seed in seeds(200, 5000):
        random = Random(seed)
        disk = SimulatedDisk()
        memories: list[Memory] = []
        for life in range(3):
            disk = disk.copy()  # with nothing armed
            if life < 2:
                disk.cut_power_in(random.randint(20, 120))
                disk.arm(random.choice((Fault.WRITE_ERROR, Fault.SYNC_ERROR, Fault.SHORT_WRITE)), after=60)
            try:
                run_seeded(seed, _mortal_life, disk, random, life, memories)
            except* PowerCut:
                disk.crash(random)
        engine = Engine()
        log = read_log(disk, engine)
        for memory in memories:
            memory.unsettled = 0  # whoever was asking when the power went was never answered
        agree(log, engine, memories)
        assert same(started(disk)[0], engine)


async def _mortal_life(disk: SimulatedDisk, random: Random, life: int, memories: list[Memory]) -> None:
    tree = EngineTree(disk, random)
    traders = [Trader(tree, account, random, f"life{life}-t{account}", poison=False) for account in (1, 2)]
    memories += [trader.memory for trader in traders]

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            for trader in traders:
                nursery.start_soon(trader.trade, 15)
            nursery.start_soon(_want_snapshots, tree, random)

    await tree.run(body)


async def test_a_batch_larger_than_a_segment(autojump_clock: trio.testing.MockClock) -> None:
    """It is written in as many frames and segments as it needs, and answered when all of it is on disk."""
    assert autojump_clock.rate == 0
    disk = SimulatedDisk()
    tree = EngineTree(disk, Random(0), segment_bytes=16 * 1024)
    orders = [
        PlaceOrder(1, 0, 0, SYMBOL, BUY, LIMIT, GTC, 10, 4_000_000, client_order_id=f"{number}")
        for number in range(400)
    ]
    outcomes: list[Outcome] = []

    async def body() -> None:
        outcomes.extend(await tree.ask(*orders))

    await tree.run(body)
    assert all(isinstance(outcome, Done) for outcome in outcomes)
    engine = Engine()
    log = read_log(disk, engine)
    agree(log, engine, [Memory(1, list(zip(orders, outcomes, strict=True)))])
    assert len(segments(disk)) > 3


async def test_no_room_for_the_next_segment(autojump_clock: trio.testing.MockClock) -> None:
    """Orders are refused and cancels accepted while the disk is full; both again by themselves when there is room."""
    assert autojump_clock.rate == 0
    disk = SimulatedDisk(capacity_bytes=100 * 1024)  # one segment and not another
    tree = EngineTree(disk, Random(0))
    order = PlaceOrder(1, 0, 0, SYMBOL, BUY, LIMIT, GTC, 10, 4_000_000, client_order_id="a")

    async def body() -> None:
        while not isinstance((await tree.ask(order))[0], Busy):  # noqa: ASYNC110 - polls as a client would
            await trio.sleep(0.1)
        (outcome,) = await tree.ask(CancelOrder(1, 0, 0, SYMBOL, client_order_id="a"))
        assert not isinstance(outcome, NotDone)
        disk.capacity_bytes = None
        await trio.sleep(2)
        (outcome,) = await tree.ask(msgspec.structs.replace(order, client_order_id="b"))
        assert isinstance(outcome, Done)

    await tree.run(body)
    read_log(disk, Engine())


async def test_a_start_without_room_for_another_segment(autojump_clock: trio.testing.MockClock) -> None:
    """It serves: cancels are accepted, however old the open segment is, and a stop is prompt."""
    assert autojump_clock.rate == 0
    disk = SimulatedDisk()
    order = PlaceOrder(1, 0, 0, SYMBOL, BUY, LIMIT, GTC, 10, 4_000_000, client_order_id="a")
    tree = EngineTree(disk, Random(0))

    async def first() -> None:
        (outcome,) = await tree.ask(order)
        assert isinstance(outcome, Done)

    await tree.run(first)
    for path in (PREALLOCATED, f"{PREALLOCATED}.tmp"):
        if disk.exists(path):
            disk.remove(path)
    disk.capacity_bytes = sum(map(len, disk.image().values()))
    tree = EngineTree(disk, Random(0))

    async def second() -> None:
        await trio.sleep(10)  # longer than a segment may stay open
        outcomes = await tree.ask(
            CancelOrder(1, 0, 0, SYMBOL, client_order_id="a"), msgspec.structs.replace(order, client_order_id="b")
        )
        assert isinstance(outcomes[0], Done)
        assert isinstance(outcomes[1], Busy)
        await trio.sleep(10)

    with trio.fail_after(60):
        await tree.run(second)
    read_log(disk, Engine())

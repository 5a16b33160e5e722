"""Matching in time: what falls due without anybody asking, what every start begins with, and who is lost with it."""

from collections.abc import Iterator
from functools import partial
from random import Random

import pytest
import trio
from msgspec.structs import replace

from actors.children import State
from actors.matching import LEAST_WAIT_NS
from actors.requests import Done, Outcome, Request
from book.commands import (
    ArmSession,
    CancelAllAfter,
    CancelOrder,
    Command,
    DefineAsset,
    DefineMarket,
    LoseAllSessions,
    PlaceOrder,
    SetEngineVersion,
    Tick,
)
from book.definitions import Asset
from book.engine import ENGINE_VERSION, Engine
from book.events import Event, OrderView, Rejected
from book.queries import Info, InfoView, OpenOrders, OrderStatus
from book.terms import BUY, EXPIRED, GTC, GTD, LIMIT
from persistence.codec import CommandRecord, ConfigRecord, TickRecord
from persistence.exits import Exit
from persistence.segments import LogReader, segments
from tallystick.demo import MARKETS, definitions
from tests.engine_tree import EngineTree, read_log
from tests.probes import child_of
from tests.scheduler import seeded
from tests.simulation.disk import PowerCut, SimulatedDisk
from tests.simulation.world import EPOCH_NS, VirtualClock

SYMBOL = MARKETS[0].symbol
NS = 1_000_000_000
MS = 1_000_000


ORDER = PlaceOrder(1, 0, 0, SYMBOL, BUY, LIMIT, GTC, 10, 4_000_000, client_order_id="a")


def gtd(seconds: float, account: int = 1) -> PlaceOrder:
    """An order that rests, and expires in so many seconds."""
    expire_time = VirtualClock().wall_ns() // MS + round(seconds * 1000)
    return replace(ORDER, account=account, time_in_force=GTD, expire_time=expire_time)


def log_of(tree: EngineTree) -> list[tuple[Command, int]]:
    """Every command in the log that took effect, with its time."""
    found: list[tuple[Command, int]] = []
    reader = LogReader()
    for segment in segments(tree.disk):
        for frame in reader.frames(segment, tree.disk.read(segment.path)):
            found += [
                (record.command, record.time_ns)
                for record in frame.records()
                if isinstance(record, CommandRecord | TickRecord | ConfigRecord)
            ]
    return found


def ticks(tree: EngineTree) -> list[int]:
    """When time passed, by the log, in order; without the one of each start."""
    found = [time_ns for command, time_ns in log_of(tree) if isinstance(command, Tick)]
    return found[1:]


async def one(tree: EngineTree, request: Request) -> Outcome:
    """The outcome of one request."""
    (outcome,) = await tree.ask(request)
    return outcome


async def done(tree: EngineTree, command: Command) -> Done:
    """Let a command take effect."""
    outcome = await one(tree, command)
    assert isinstance(outcome, Done), outcome
    return outcome


async def open_orders(tree: EngineTree, account: int = 1) -> list[str]:
    """The client order ids of what is open."""
    outcome = await tree.ask_until_done(OpenOrders(account))
    assert isinstance(outcome, list)
    return [view.client_order_id for view in outcome if isinstance(view, OrderView)]


# Time without traffic -------------------------------------------------------------------------------------------------


@seeded
async def test_an_order_expires_without_traffic() -> None:
    """At its very time, by a tick of its own; before and after that nothing is logged."""
    tree = EngineTree(SimulatedDisk(), Random(0))
    order = gtd(3600)

    async def body() -> None:
        await done(tree, order)
        before = len(log_of(tree))
        await trio.sleep(3599)
        assert len(log_of(tree)) == before
        await trio.sleep(3600)
        assert len(log_of(tree)) == before + 1
        status = await one(tree, OrderStatus(1, SYMBOL, client_order_id="a"))
        assert isinstance(status, OrderView)
        assert (status.status, status.updated_ns) == (EXPIRED, order.expire_time * MS)

    await tree.run(body)
    assert ticks(tree) == [order.expire_time * MS]


@seeded
async def test_what_comes_at_the_same_moment_finds_it_expired() -> None:
    """Requests of the round in which something falls due are answered in that round, behind the tick."""
    tree = EngineTree(SimulatedDisk(), Random(0))

    async def body() -> None:
        await done(tree, gtd(5))
        await trio.sleep(5)
        outcome = await one(tree, CancelOrder(1, 0, 0, SYMBOL, client_order_id="a"))
        assert isinstance(outcome, Rejected)

    await tree.run(body)
    assert len(ticks(tree)) == 1


class SlowWall(VirtualClock):
    """A wall clock that is set back by an hour: engine time leans back, so a wait ends before its time has come."""

    def wall_ns(self) -> int:
        """An hour behind, from the first second on."""
        return super().wall_ns() - (3600 * NS if self.monotonic_ns() > NS else 0)


@seeded
async def test_engine_time_that_lags_behind_the_machine() -> None:
    """Matching wakes, looks, and waits again; nothing falls due early, and there is one tick."""
    tree = EngineTree(SimulatedDisk(), Random(0), clock=SlowWall())
    order = gtd(1000)

    async def body() -> None:
        await done(tree, order)
        await trio.sleep(1000.5)
        assert await open_orders(tree) == ["a"]
        await trio.sleep(1)
        assert await open_orders(tree) == []

    await tree.run(body)
    (tick,) = ticks(tree)
    assert order.expire_time * MS <= tick <= order.expire_time * MS + LEAST_WAIT_NS


@seeded
async def test_timers_far_apart_and_close_together() -> None:
    """A day away, a millisecond apart, two at once: each falls due at its time, in as many ticks as there are times."""
    tree = EngineTree(SimulatedDisk(), Random(0))
    orders = [gtd(seconds) for seconds in (5.001, 80_000, 5, 5.001)]

    async def body() -> None:
        await done(tree, CancelAllAfter(2, 0, 0, 86_400_000))
        await tree.ask(*(replace(order, client_order_id=f"{number}") for number, order in enumerate(orders)))
        for _ in range(2):
            await trio.sleep(45_000)

    await tree.run(body)
    expected = {order.expire_time * MS for order in orders} | {EPOCH_NS + 86_400 * NS}
    assert ticks(tree) == sorted(expected)


@seeded
async def test_a_stop_does_not_wait_for_a_timer() -> None:
    """Whoever stops the exchange does not wait until its last order expires."""
    tree = EngineTree(SimulatedDisk(), Random(0))

    async def body() -> None:
        await done(tree, gtd(86_000))

    with trio.fail_after(60):
        await tree.run(body)
    assert ticks(tree) == []


@seeded
async def test_what_falls_due_while_matching_is_away() -> None:
    """It falls due when matching is back, before anything else, and no client can tell the difference."""
    tree = EngineTree(SimulatedDisk(), Random(0))

    async def body() -> None:
        await done(tree, gtd(0.05))
        tree.disk.delay_seconds = 1.0  # a replay takes a while
        tree.matching.crash()
        await trio.sleep(0.01)
        tree.disk.delay_seconds = 0.0
        assert await open_orders(tree) == []

    await tree.run(body)
    # What is due at a start comes by itself, as the engine's version may change behind it.
    assert [type(command) for command, _ in log_of(tree)[-3:]] == [PlaceOrder, Tick, Tick]


@seeded
async def test_the_log_of_timers_replays() -> None:
    """Orders that expire and deadlines that pass, around crashes and a second process: a replay agrees with it all."""
    disk, random = SimulatedDisk(), Random(5)
    live: list[InfoView] = []

    async def body(tree: EngineTree) -> None:
        for number in range(60):
            order = gtd(random.uniform(0.001, 3), random.choice((1, 2)))
            await tree.ask_until_done(Info())
            await tree.ask(replace(order, client_order_id=f"{random.random()}"), CancelAllAfter(1, 0, 0, 700))
            await trio.sleep(random.uniform(0, 0.5))
            if number % 20 == 19:
                tree.matching.crash()
        await trio.sleep(5)
        view = await tree.ask_until_done(Info())
        assert isinstance(view, InfoView)
        live.append(view)

    for _ in range(2):
        tree = EngineTree(disk, random)
        await tree.run(partial(body, tree))
    assert len(ticks(tree)) > 50
    assert live[-1].open_orders == 0
    hashes: list[bytes] = []
    for _ in range(2):
        engine = Engine()
        read_log(disk, engine)
        assert engine.digest.value().hex() == live[-1].digest
        hashes.append(engine.state_hash())
    assert hashes[0] == hashes[1]


# Timers that fail -----------------------------------------------------------------------------------------------------


class PlantedBugError(Exception):
    """What the engine with a bug raises."""


class PoisonTimer(Engine):
    """Fails when something falls due."""

    def apply(self, command: Command, seq: int, time_ns: int) -> list[Event] | Rejected:
        """As the real one, or the bug."""
        if isinstance(command, Tick) and 0 < self.next_due_ns <= time_ns:
            raise PlantedBugError("a timer")
        return super().apply(command, seq, time_ns)


class StuckTimer(Engine):
    """Lets time pass, and nothing fall due."""

    @property
    def next_due_ns(self) -> int:
        """Whatever was due first."""
        return EPOCH_NS + 5 * NS


@pytest.mark.parametrize(("engine", "words"), [(PoisonTimer, "fails the engine"), (StuckTimer, "stays due")])
@seeded
async def test_a_poison_timer_ends_the_process(engine: type[Engine], words: str) -> None:
    """With its own code, since it would fail again after each restart; the same at the next start."""
    disk = SimulatedDisk()
    ends: list[PowerCut] = []

    async def body(tree: EngineTree) -> None:
        await done(tree, gtd(5))
        await trio.sleep(60)

    for _ in range(2):
        tree = EngineTree(disk, Random(0), engine=engine)
        try:
            await tree.run(partial(body, tree))
        except* PowerCut as group:
            ends += leaves(group)
    assert [end.code for end in ends] == [Exit.POISON_TIMER] * 2
    assert all(words in end.message for end in ends)


def leaves(group: BaseExceptionGroup[PowerCut]) -> Iterator[PowerCut]:
    """The errors in a group of groups."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


# What a start begins with ---------------------------------------------------------------------------------------------


@seeded
async def test_what_a_log_begins_with() -> None:
    """The engine's version, time, the sessions that are lost, then what is defined; a second start needs only two."""
    disk = SimulatedDisk()
    for _ in range(2):
        await EngineTree(disk, Random(0)).run(trio.lowlevel.checkpoint)
    commands = [command for command, _ in log_of(EngineTree(disk, Random(0)))]
    first = [SetEngineVersion(ENGINE_VERSION), Tick(), LoseAllSessions(), *definitions()]
    assert commands == [*first, Tick(), LoseAllSessions()]


@seeded
async def test_sessions_outlive_matching_and_not_the_process() -> None:
    """A restart of matching leaves their orders alone; the next process cancels those of sessions that were armed."""
    disk = SimulatedDisk()
    tree = EngineTree(disk, Random(0))

    async def first() -> None:
        await done(tree, ArmSession(1, 0, 7))
        await done(tree, replace(ORDER, session=7, client_order_id="armed"))
        await done(tree, replace(ORDER, session=8, client_order_id="unarmed"))
        for crash in (tree.matching.crash, tree.writer.crash):
            crash()
            assert await open_orders(tree) == ["armed", "unarmed"]

    await tree.run(first)
    tree = EngineTree(disk, Random(0))

    async def second() -> None:
        assert await open_orders(tree) == ["unarmed"]

    await tree.run(second)
    assert sum(isinstance(command, LoseAllSessions) for command, _ in log_of(tree)) == 2


@seeded
async def test_an_opening_that_the_writer_loses() -> None:
    """If the process's first records never reach the disk, the next incarnation of matching makes up for them."""
    disk = SimulatedDisk()
    tree = EngineTree(disk, Random(0))

    async def first() -> None:
        await done(tree, ArmSession(1, 0, 7))
        await done(tree, replace(ORDER, session=7))

    await tree.run(first)
    tree = EngineTree(disk, Random(0))
    disk.delay_seconds = 0.5

    async def lose_it() -> None:
        while child_of(tree.root, "matching").state is not State.RUNNING:  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.01)
        tree.blocking.fail = "before"  # the write that is under way

    async def second() -> None:
        await trio.sleep(1)
        assert await open_orders(tree) == []

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lose_it)
        await tree.run(second)
    assert [type(command) for command, _ in log_of(tree)[-3:]] == [PlaceOrder, Tick, LoseAllSessions]


# Definitions at run time ----------------------------------------------------------------------------------------------


@seeded
async def test_what_is_defined_at_run_time_can_be_named_at_once() -> None:
    """The wire's directory has it with the answer, and after a restart, and in a process that is not told of it."""
    disk = SimulatedDisk()
    tree = EngineTree(disk, Random(0))
    market = replace(MARKETS[0], symbol="LTC-USDT", base="LTC", lot=1_000_000)

    async def body() -> None:
        assert "LTC-USDT" not in tree.directory.venues
        outcomes = await tree.ask(DefineAsset(Asset("LTC", 8)), DefineMarket(market))
        assert all(isinstance(outcome, Done) for outcome in outcomes), outcomes
        assert "LTC" in tree.directory.assets
        assert "LTC-USDT" in tree.directory.venues
        tree.matching.crash()
        await tree.ask_until_done(Info())
        assert "LTC-USDT" in tree.directory.venues

    await tree.run(body)
    tree = EngineTree(disk, Random(0))
    await tree.run(trio.lowlevel.checkpoint)
    assert "LTC-USDT" in tree.directory.venues

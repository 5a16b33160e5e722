"""The archivist: candles and the audit come into the store, whatever happens in between, and nobody waits for it."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from actors.archivist import ArchiveConfig, ArchiveState, Archivist, months_before
from actors.audit_book import NOTES, AuditBook
from actors.mailbox import Mailbox
from actors.past_candles import STORE_SECONDS, PastCandles
from actors.reqlog_writer import LogState, LogView
from actors.requests import Batch, Outcome, Request
from actors.wire import RefusedError
from book.history import CLOSED_CANDLES, MINUTE_NS
from book.queries import Candle, Candles, Directory, DirectoryView, MarketStatus
from persistence import spill
from persistence.spill import Spill
from persistence.sql_store import SqlStore
from persistence.txstore import AuditEntry, CandleRow, StoreUnavailable
from tests.exchange import BTC_USDT
from tests.simulation.disk import SimulatedDisk
from tests.simulation.world import VirtualClock
from tests.stores import in_memory, inline

SYMBOL = "BTC-USDT"


def candle(minute: int) -> Candle:
    """A minute with one trade."""
    return Candle(minute * MINUTE_NS, 5, 5, 5, 5, 1, 5, 1)


class FlakyStore(SqlStore):
    """A store in memory that is away when told so."""

    def __init__(self) -> None:
        super().__init__(in_memory())
        self.away = False
        self.slow = False
        transact = self._transact

        async def gated(*arguments: Any, **words: Any) -> Any:
            if self.slow:
                await trio.sleep_forever()
            if self.away:
                raise StoreUnavailable("the store is away")
            return await transact(*arguments, **words)

        self._transact = gated


class Engine:
    """What matching would answer: one market, and these minutes of it."""

    def __init__(self) -> None:
        self.minutes: list[Candle] = []

    def answer(self, query: Request) -> Outcome:
        """A query's answer."""
        if isinstance(query, Directory):
            return DirectoryView([], [MarketStatus(BTC_USDT, 1, 0)], [], [])
        assert isinstance(query, Candles)
        kept = self.minutes[-CLOSED_CANDLES:] if query.interval_ns == MINUTE_NS else []
        end_ns = query.end_ns or 2**62
        return [one for one in kept if query.start_ns <= one.open_ns <= end_ns][-query.limit :]

    async def ask(self, query: Request) -> Outcome:
        """As a session asks."""
        await trio.lowlevel.checkpoint()
        return self.answer(query)

    async def serve(self, mailbox: Mailbox[Batch]) -> None:
        """Matching's part."""
        while True:
            for batch in await mailbox.receive_some(16):
                batch.settle([self.answer(request) for request in batch.request])


class Log(LogState):
    """A log that stands where the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.next_seq = 1

    def view(self) -> LogView:
        """Where it stands."""
        return LogView(self.next_seq, "", "", 1, 1, 0, 0, 0, has_room=True)


class Scene:
    """An archivist, and all that is around it."""

    def __init__(self) -> None:
        self.store = FlakyStore()
        self.engine = Engine()
        self.disk = SimulatedDisk()
        self.clock = VirtualClock()
        self.book = AuditBook(self.clock, bytes)
        self.state = ArchiveState(self.book)
        self.log = Log()
        self.matching: Mailbox[Batch] = Mailbox("matching", 16, rank=0)

    def archivist(self) -> Archivist:
        """A new incarnation."""
        return Archivist(
            ArchiveConfig(candle_seconds=10),
            self.store,
            self.matching.sender(1),
            book=self.book,
            disk=self.disk,
            blocking=inline,
            clock=self.clock,
            log_state=self.log,
            state=self.state,
        )

    async def candles(self) -> list[Candle]:
        """What the store has of the minutes."""
        return await self.store.candles(SYMBOL, MINUTE_NS, 0, 2**62, 10_000)

    async def during(self, *steps: Callable[[], object], seconds: float = 30.0) -> None:
        """A life of the archivist: each step, then so much time; and a stop in order at the end."""
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.engine.serve, self.matching)
            async with trio.open_nursery() as life:
                await life.start(self.archivist().run, stop)
                for step in steps:
                    step()
                    await trio.sleep(seconds)
                stop.set()
            nursery.cancel_scope.cancel()

    def trade(self, minutes: int) -> None:
        """So many more minutes with trades, and the log goes on."""
        begin = len(self.engine.minutes)
        self.engine.minutes += [candle(minute) for minute in range(begin, begin + minutes)]
        self.log.next_seq += minutes


# ------------------------------------------------------------------------------------------------------------- candles


async def test_closed_candles_come_into_the_store(autojump_clock: MockClock) -> None:
    """The one that may still grow does not; and it is known how far they go."""
    del autojump_clock
    scene = Scene()
    await scene.during(lambda: scene.trade(5))
    assert await scene.candles() == [candle(minute) for minute in range(4)]
    assert scene.state.archived_seq() == 5
    assert await scene.store.candles_through() == 5


async def test_the_next_life_brings_what_is_new(autojump_clock: MockClock) -> None:
    """From the newest that the store has, and nothing twice."""
    del autojump_clock
    scene = Scene()
    await scene.during(lambda: scene.trade(5))
    scene.state = ArchiveState(scene.book)
    await scene.during(lambda: scene.trade(5))
    assert await scene.candles() == [candle(minute) for minute in range(9)]
    assert scene.state.candles == 5


async def test_while_the_store_is_away_the_log_is_kept(autojump_clock: MockClock) -> None:
    """And when it is back everything comes."""
    del autojump_clock
    scene = Scene()

    def away(is_away: bool) -> Callable[[], None]:
        return lambda: setattr(scene.store, "away", is_away)

    await scene.during(lambda: scene.trade(3), away(True), lambda: scene.trade(3), seconds=100)
    view = scene.state.view()
    assert (view.candles_through, view.trouble) == (3, "the store is away")
    await scene.during(away(False), seconds=100)
    assert scene.state.archived_seq() == 6
    assert scene.state.trouble is None
    assert await scene.candles() == [candle(minute) for minute in range(5)]


async def test_what_the_engine_has_forgotten_is_said_to_be_missing(autojump_clock: MockClock) -> None:
    """It is counted, and the rest comes nevertheless."""
    del autojump_clock
    scene = Scene()
    await scene.during(lambda: scene.trade(5))
    assert scene.state.gaps == 0
    await scene.during(lambda: scene.trade(CLOSED_CANDLES + 10))
    assert scene.state.gaps == 1
    told = await scene.candles()
    assert (told[3], told[4]) == (candle(3), candle(15))
    assert len(told) == 4 + CLOSED_CANDLES - 1


# -------------------------------------------------------------------------------------------------------- old candles


async def past(scene: Scene, **words: int) -> list[int]:
    """The minutes that a client is told."""
    query = Candles(SYMBOL, MINUTE_NS, **words)
    told = await PastCandles(scene.store).complete(query, scene.engine.answer(query), scene.engine.ask)
    assert isinstance(told, list)
    return [one.open_ns // MINUTE_NS for one in told if isinstance(one, Candle)]


async def old_market() -> Scene:
    """A market with 100 minutes that only the store has."""
    scene = Scene()
    scene.trade(CLOSED_CANDLES + 100)
    rows = [CandleRow(symbol=SYMBOL, interval_ns=MINUTE_NS, candle=one) for one in scene.engine.minutes[:-1]]
    await scene.store.add_candles(rows, 1)
    return scene


async def test_old_candles_come_from_the_store() -> None:
    """In one answer with the engine's, oldest first, each once."""
    scene = await old_market()
    minute = MINUTE_NS
    assert await past(scene, start_ns=10 * minute, end_ns=20 * minute) == list(range(10, 21))
    assert await past(scene, start_ns=95 * minute, end_ns=105 * minute) == list(range(95, 106))
    assert await past(scene, end_ns=99 * minute, limit=3) == [97, 98, 99]
    assert await past(scene, end_ns=101 * minute, limit=4) == [98, 99, 100, 101]


async def test_the_store_is_asked_only_for_what_is_forgotten() -> None:
    """While it is away everything else is answered."""
    scene = await old_market()
    scene.store.away = True
    assert await past(scene, limit=5) == list(range(1595, 1600))
    assert await past(scene, start_ns=200 * MINUTE_NS, end_ns=201 * MINUTE_NS) == [200, 201]
    young = Scene()
    young.store.away = True
    young.trade(3)
    assert await past(young) == [0, 1, 2]


async def test_without_the_store_old_candles_are_refused(autojump_clock: MockClock) -> None:
    """With -1007, at once or when the time is out."""
    del autojump_clock
    scene = await old_market()
    scene.store.away = True
    with pytest.raises(RefusedError, match="which is away") as caught:
        await past(scene, end_ns=50 * MINUTE_NS)
    assert caught.value.code == -1007
    scene.store.slow = True
    began = trio.current_time()
    with pytest.raises(RefusedError, match="did not answer within 2 s"):
        await past(scene, end_ns=50 * MINUTE_NS)
    assert trio.current_time() - began == STORE_SECONDS


# ------------------------------------------------------------------------------------------------------------ the audit


async def test_what_is_noted_comes_into_the_store(autojump_clock: MockClock) -> None:
    """In its order, with all that was said of it."""
    del autojump_clock
    scene = Scene()

    def note() -> None:
        scene.book.note("logon", "key alice", "session.logon", "done", 7)
        scene.book.note("admin", "uid 0", "market.halt BTC-USDT", "done")

    await scene.during(note)
    halt, logon = await scene.store.audit()
    assert (logon.kind, logon.who, logon.what, logon.outcome, logon.account) == (
        "logon", "key alice", "session.logon", "done", 7,
    )  # fmt: skip
    assert (halt.what, halt.account) == ("market.halt BTC-USDT", None)
    assert scene.book.waiting == 0


async def test_while_the_store_is_away_the_audit_waits_in_a_file(autojump_clock: MockClock) -> None:
    """Also over the end of the process, and comes once."""
    del autojump_clock
    scene = Scene()
    scene.store.away = True

    def note(what: str) -> Callable[[], None]:
        return lambda: scene.book.note("admin", "uid 0", what, "done")

    await scene.during(note("first"), note("second"))
    assert (scene.book.waiting, scene.state.spilled) == (0, 2)
    scene.book = AuditBook(scene.clock, lambda size: b"\1" * size)
    scene.state = ArchiveState(scene.book)
    await scene.during(note("third"))
    scene.store.away = False
    await scene.during(note("fourth"))
    assert sorted(entry.what for entry in await scene.store.audit()) == ["first", "fourth", "second", "third"]
    assert scene.state.spilled == 0
    assert Spill(scene.disk).open() == []


async def test_a_stop_brings_the_last_entries_to_safety(autojump_clock: MockClock) -> None:
    """Into the file, for the next start."""
    del autojump_clock
    scene = Scene()
    scene.store.slow = True
    await scene.during(lambda: scene.book.note("admin", "uid 0", "shutdown", "done"), seconds=0)
    assert [entry.what for entry in Spill(scene.disk).open()] == ["shutdown"]


async def test_beyond_its_bounds_the_audit_is_lost_and_counted() -> None:
    """Whoever notes never waits."""
    scene = Scene()
    for _ in range(NOTES + 3):
        scene.book.note("admin", "uid 0", "halt", "done")
    assert (scene.book.waiting, scene.book.lost) == (NOTES, 3)


async def test_texts_are_cut_to_what_the_store_has_room_for(autojump_clock: MockClock) -> None:
    """Whatever a client calls itself."""
    del autojump_clock
    scene = Scene()
    await scene.during(lambda: scene.book.note("logon", "k" * 5_000, "ü\ud800" * 5_000, "o" * 5_000))
    (entry,) = await scene.store.audit()
    assert (len(entry.who), len(entry.what), len(entry.outcome)) == (100, 2_000, 1_000)


async def test_old_months_of_the_audit_are_forgotten(autojump_clock: MockClock) -> None:
    """As many are kept as the configuration says."""
    del autojump_clock
    scene = Scene()
    old = AuditEntry(id="x", time_ns=0, kind="admin", who="uid 0", account=None, what="halt", outcome="done")
    await scene.store.add_audit([old])
    await scene.during(lambda: None)
    assert await scene.store.audit() == []


@pytest.mark.parametrize(
    ("month", "count", "before"), [(202_611, 2, 202_609), (202_601, 1, 202_512), (202_611, 84, 201_911)]
)
def test_months_before(month: int, count: int, before: int) -> None:
    """Over the turns of years."""
    assert months_before(month, count) == before


# ------------------------------------------------------------------------------------------------------------- the file


def entry(number: int, what: str = "halt") -> AuditEntry:
    """An entry."""
    return AuditEntry(id=f"id{number}", time_ns=1, kind="admin", who="uid 0", account=None, what=what, outcome="done")


def test_the_file_holds_what_fits() -> None:
    """And says how many those are; cleared, it has room again."""
    file = Spill(SimulatedDisk())
    assert file.open() == []
    many = [entry(number, "x" * 1_900) for number in range(1_000)]
    count = file.append(many)
    assert 0 < count < 1_000
    assert file.append(many[count:]) == 0
    file.clear()
    assert file.append(many[:3]) == 3


def test_a_torn_entry_is_passed_over() -> None:
    """The others are read."""
    disk = SimulatedDisk()
    file = Spill(disk)
    file.open()
    file.append([entry(1), entry(2), entry(3)])
    content = disk.read(spill.PATH)
    place = content.index(b"id2")
    writable = disk.open(spill.PATH)
    writable.write_at(place, b"\0" * 10)
    writable.close()
    assert [found.id for found in Spill(disk).open()] == ["id1", "id3"]

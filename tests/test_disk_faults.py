"""Every fault of a disk, under the whole exchange with a client, who remembers all that he was answered.

Each class of faults is made to strike a number of times, and is counted when it does. After each, either the exchange
starts again and everything is as it was answered, or it refuses to start with code 3, and no file is touched.
"""

from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
import trio

from persistence import codec
from persistence.exits import Exit
from persistence.offline import truncate, verify
from persistence.segments import LogReader, segments
from persistence.snapshot import list_snapshots
from tests.counts import count
from tests.in_process import Connection, buy
from tests.logs import NOW, open_log
from tests.simulation.disk import Fault
from tests.simulation.exchange import Life, SimulatedExchange

TIMES = count(2, 100)
POWER_CUT = -9
BUSY, UNKNOWN = -1008, -1007
NEVER_PLACED = "NEVER PLACED"


class Trader:
    """Alice: places and cancels orders, and knows what may have become of each."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._orders: dict[str, set[str]] = {}

    async def trade(self, life: Life, requests: int) -> None:
        """Send so many requests, some at a time, and read the answers."""
        client = await life.client("alice")
        while requests > 0:
            some = self._random.randint(1, 20)
            sent = [await self._send(client) for _ in range(some)]
            for order, answers in sent:
                reply = await client.receive()
                if reply["status"] == 200 or reply["error"]["code"] != UNKNOWN:
                    self._orders[order] = {answers[reply["status"] == 200]}
            requests -= some
        await client.close()

    async def _send(self, client: Connection) -> tuple[str, tuple[str, str]]:
        """Send one request: the order, and what it is if that is refused or done."""
        standing = [order for order, found in self._orders.items() if found == {"NEW"}]
        if standing and self._random.random() < 0.4:
            order, answers = self._random.choice(standing), ("NEW", "CANCELED")
            method, params = "order.cancel", {"symbol": "BTC-USDT", "clientOrderId": order}
        else:
            order, answers = f"order-{len(self._orders)}", (NEVER_PLACED, "NEW")
            method, params = "order.place", buy("0.001", clientOrderId=order)
        # Until it is answered, it may be either.
        self._orders[order] = set(answers)
        await client.send(method, **params)
        return order, answers

    async def check(self, life: Life) -> None:
        """Assert that every order is what it may be; from now on it is what it was seen to be."""
        client = await life.client("alice")
        for order, expected in self._orders.items():
            reply = await client.ask("order.status", symbol="BTC-USDT", clientOrderId=order)
            found = reply["result"]["status"] if reply["status"] == 200 else NEVER_PLACED
            assert found in expected, f"{order} is {found}, and was {expected}"
            self._orders[order] = {found}
        await client.close()


class Scene:
    """An exchange that has traded, and what is done to its disk."""

    def __init__(self, seed: str) -> None:
        self.random = Random(seed)
        self.exchange = SimulatedExchange(self.random)
        self.disk = self.exchange.disk
        self.trader = Trader(self.random)
        self.trades()

    def live(self, *works: Callable[[Life], object]) -> int:
        """A life of these works; its exit code."""

        async def body(life: Life) -> None:
            for work in works:
                awaitable = work(life)
                if awaitable is not None:
                    await awaitable  # type: ignore[misc]  # a coroutine

        return self.exchange.live(body)

    async def trade(self, life: Life) -> None:
        """Enough for a segment or two."""
        await self.trader.trade(life, 80)

    def trades(self) -> None:
        """A life without trouble."""
        assert self.live(self.trade) == Exit.DONE

    def dies(self, code: int, *works: Callable[[Life], object]) -> None:
        """A life that ends so."""
        assert self.live(*works) == code, self.exchange.reason

    def goes_on(self) -> None:
        """The next start serves, and has lost nothing; the log is clean after it."""
        assert self.live(self.trader.check, self.trade) == Exit.DONE, self.exchange.reason
        assert verify(self.disk).damage is None

    def refuses_to_start(self) -> None:
        """With code 3, and every file as it was."""
        before = self.disk.image()
        assert self.live() == Exit.DATA_DAMAGED
        assert self.disk.image() == before

    def cut_power(self, doing: str, most: int = 0) -> Callable[[Life], None]:
        """A work: let the power go before one of the next such steps."""
        return lambda _life: self.disk.cut_power_before(doing, self.random.randint(0, most))

    def arm(self, fault: Fault) -> Callable[[Life], None]:
        """A work: let one of the next operations fail."""
        return lambda _life: self.disk.arm(fault, after=self.random.randint(0, 5))

    def frames(self) -> list[tuple[str, int, int]]:
        """Path, begin and end of each frame of the log."""
        reader = LogReader()
        return [
            (part.path, frame.offset, frame.end)
            for part in segments(self.disk)
            for frame in reader.frames(part, self.disk.read(part.path))
        ]

    def any_byte(self, frames: list[tuple[str, int, int]]) -> tuple[str, int]:
        """Path and offset of some byte of some of these frames."""
        path, begin, end = self.random.choice(frames)
        return path, self.random.randrange(begin, end)


async def a_second(_life: Life) -> None:
    """Let one pass: the log falls idle."""
    await trio.sleep(1)


async def snapshots_and_backups(life: Life) -> None:
    """So many that the oldest are pruned."""
    client = await life.client("bob")
    for _ in range(3):
        await client.ask("order.place", **buy("0.001"))
        for words in ("snapshot", "backup"):
            assert (await life.operate(words))["status"] == 200
    await client.close()


# The faults -----------------------------------------------------------------------------------------------------------
# Each strikes once, and says whether it did: some need luck.


def torn_last_frame(scene: Scene) -> bool:
    """The power goes while a frame is on its way."""
    scene.dies(POWER_CUT, scene.cut_power("syncing reqlog/", 20), scene.trade)
    scene.disk.crash(scene.random)
    scene.goes_on()
    return any(path.endswith(".torn") for path in scene.disk.image())


def rot_in_a_sealed_segment(scene: Scene) -> bool:
    """Any bit of it."""
    open_path = segments(scene.disk)[-1].path
    scene.disk.rot(*scene.any_byte([frame for frame in scene.frames() if frame[0] != open_path]))
    scene.refuses_to_start()
    return True


def rot_in_the_last_answered_frame(scene: Scene) -> bool:
    """The power goes before an empty frame follows it, and then it rots."""
    scene.dies(POWER_CUT, scene.trade, scene.cut_power("writing reqlog/"), a_second)
    scene.disk.crash(scene.random)
    scene.disk.rot(*scene.any_byte(scene.frames()[-1:]))
    scene.refuses_to_start()
    return True


def swapped_frames(scene: Scene) -> bool:
    """Two neighbours in each other's place."""
    (path, a, b), (other, _, c) = (
        (frames := scene.frames())[at := scene.random.randrange(len(frames) - 1)],
        frames[at + 1],
    )
    if path != other:
        return False
    data = scene.disk.read(path)
    scene.disk.overwrite(path, a, data[b:c] + data[a:b])
    scene.refuses_to_start()
    return True


def duplicated_frame(scene: Scene) -> bool:
    """One that was answered is there again, at the end."""
    scene.dies(POWER_CUT, scene.trade, scene.cut_power("writing reqlog/"), a_second)
    scene.disk.crash(scene.random)
    path, begin, end = scene.random.choice(scene.frames())
    last, _, at = scene.frames()[-1]
    scene.disk.overwrite(last, at, scene.disk.read(path, begin, end - begin))
    scene.refuses_to_start()
    return True


def stale_recycled_segment(scene: Scene) -> bool:
    """Behind the end of the open segment there is what an old one held."""
    scene.dies(POWER_CUT, scene.trade, scene.cut_power("writing reqlog/"), a_second)
    scene.disk.crash(scene.random)
    path, _, at = scene.frames()[-1]
    stale = scene.disk.read(segments(scene.disk)[0].path, codec.SEGMENT_HEADER_BYTES)
    scene.disk.overwrite(path, at, stale[: scene.disk.size(path) - at])
    scene.refuses_to_start()
    return True


def missing_segment(scene: Scene) -> bool:
    """Any of them."""
    scene.disk.remove(scene.random.choice(segments(scene.disk)).path)
    scene.disk.sync_folder("reqlog")
    scene.refuses_to_start()
    return True


def check_mismatch(scene: Scene) -> bool:
    """The log is sound, but does not replay to what it says."""
    log = open_log(scene.disk)
    log.append([codec.encode_check(NOW, bytes(16), {"BTC": 1})], count=0, time_ns=NOW)
    scene.refuses_to_start()
    return True


def unreadable_disk(scene: Scene) -> bool:
    """It fails to read at the start."""
    scene.arm(Fault.READ_ERROR)
    scene.disk.arm(Fault.READ_ERROR, after=scene.random.randint(0, 4))
    assert scene.live() == Exit.DATA_DAMAGED
    scene.goes_on()
    return True


def short_write(scene: Scene) -> bool:
    """Half a frame is written, and then no more."""
    scene.dies(Exit.DISK_FAILED, scene.arm(Fault.SHORT_WRITE), scene.trade)
    if (verdict := verify(scene.disk)).damage is not None:
        # No sector of it is zero, so it cannot be told from one that was answered: a false stop, for a person to end.
        OUTCOMES["short write: false stops"] += 1
        scene.refuses_to_start()
        truncate(scene.disk, verdict.damage.sound_seq)
    scene.goes_on()
    return True


def write_error(scene: Scene) -> bool:
    """EIO."""
    scene.dies(Exit.DISK_FAILED, scene.arm(Fault.WRITE_ERROR), scene.trade)
    scene.goes_on()
    return True


def sync_error(scene: Scene) -> bool:
    """What was not synced may be gone."""
    scene.dies(Exit.DISK_FAILED, scene.arm(Fault.SYNC_ERROR), scene.trade)
    scene.disk.crash(scene.random)
    scene.goes_on()
    return True


def no_space_appending(scene: Scene) -> bool:
    """As on file systems that write every block to a new place."""
    scene.dies(Exit.DISK_FAILED, scene.arm(Fault.NO_SPACE_APPENDING), scene.trade)
    scene.goes_on()
    return True


def no_space_preallocating(scene: Scene) -> bool:
    """Orders are refused, cancels are not, and it resumes by itself."""
    disk = scene.disk

    async def be_full(life: Life) -> None:
        disk.capacity_bytes = 0
        client = await life.client("alice")
        placed = []
        while (reply := await client.ask("order.place", **buy("0.001")))["status"] == 200:
            placed.append(reply["result"]["orderId"])
        assert reply["error"]["code"] == BUSY
        for order in placed[:5]:
            assert (await client.ask("order.cancel", symbol="BTC-USDT", orderId=order))["status"] == 200
        assert (await client.ask("order.place", **buy("0.001")))["error"]["code"] == BUSY
        disk.capacity_bytes = None
        await trio.sleep(2)
        assert (await client.ask("order.place", **buy("0.001")))["status"] == 200
        await client.close()

    scene.dies(Exit.DONE, be_full)
    assert scene.exchange.logged.count("there is room again; new orders are accepted") == 1
    scene.goes_on()
    return True


def crash_before_the_folder_is_synced(scene: Scene) -> bool:
    """Names that were given may be gone."""
    scene.dies(POWER_CUT, scene.cut_power("syncing the folder reqlog", 2), scene.trade, scene.trade)
    lost = scene.disk.hits["names lost or not in a power cut"]
    scene.disk.crash(scene.random)
    scene.goes_on()
    return scene.disk.hits["names lost or not in a power cut"] > lost


def crash_in_a_snapshot(scene: Scene) -> bool:
    """Before each of the steps of taking and naming one, and of removing what is not needed any more."""
    for step in SNAPSHOT_STEPS:
        scene.dies(POWER_CUT, scene.cut_power(step), snapshots_and_backups)
        scene.disk.crash(scene.random)
        scene.goes_on()
        OUTCOMES[f"crash in a snapshot: before {step}"] += 1
    return True


SNAPSHOT_STEPS = (
    "making snapshots",
    "creating snapshots/",
    "writing snapshots/",
    "syncing snapshots/",
    "renaming snapshots/",
    "syncing the folder snapshots",
    "removing snapshots/",
    "removing reqlog/",
)


def corrupt_snapshot(scene: Scene) -> bool:
    """The newest one; the next older takes its place."""
    scene.dies(Exit.DONE, snapshots_and_backups)
    newest = list_snapshots(scene.disk)[-1]
    scene.disk.rot(newest.path, scene.random.randrange(newest.size), 1 << scene.random.randrange(8))
    scene.goes_on()
    assert "a snapshot is bad; another one and perhaps a longer replay take its place" in scene.exchange.logged
    return True


def corrupt_snapshots(scene: Scene) -> bool:
    """All of them, and the log begins behind them."""
    scene.dies(Exit.DONE, snapshots_and_backups)
    for file in list_snapshots(scene.disk):
        scene.disk.rot(file.path, scene.random.randrange(file.size))
    scene.refuses_to_start()
    return True


def slow_disk(scene: Scene) -> bool:
    """Ten seconds for everything: answers wait, in their order, and nobody is restarted."""

    async def be_slow(life: Life) -> None:
        scene.disk.delay_seconds = 10.0
        began = trio.current_time()
        await scene.trader.trade(life, 20)
        assert trio.current_time() - began >= 10
        scene.disk.delay_seconds = 0.0
        await trio.sleep(60)  # for what the slow disk has still in hand

    scene.dies(Exit.DONE, be_slow)
    assert scene.exchange.logged == []
    scene.goes_on()
    return True


FAULTS: dict[str, Callable[[Scene], bool]] = {
    "torn last frame": torn_last_frame,
    "rot in a sealed segment": rot_in_a_sealed_segment,
    "rot in the last acknowledged frame": rot_in_the_last_answered_frame,
    "swapped frames": swapped_frames,
    "duplicated frame": duplicated_frame,
    "stale recycled segment": stale_recycled_segment,
    "short write": short_write,
    "EIO on write": write_error,
    "EIO on read": unreadable_disk,
    "fsync error": sync_error,
    "ENOSPC preallocating": no_space_preallocating,
    "ENOSPC appending": no_space_appending,
    "crash before the directory sync": crash_before_the_folder_is_synced,
    "crash at each snapshot step": crash_in_a_snapshot,
    "corrupt snapshot": corrupt_snapshot,
    "all snapshots corrupt": corrupt_snapshots,
    "missing segment": missing_segment,
    "check mismatch": check_mismatch,
    "slow disk 10 s": slow_disk,
}
OUTCOMES: Counter[str] = Counter()


@pytest.mark.parametrize("name", FAULTS)
def test_nothing_answered_is_lost_or_changed_by(name: str) -> None:
    """Each fault strikes as often as it is to, or the test says that it does not."""
    for number in range(20 * TIMES):
        OUTCOMES[name] += FAULTS[name](Scene(f"{name} {number}"))
        if OUTCOMES[name] == TIMES:
            break
    assert OUTCOMES[name] == TIMES, f"it struck {OUTCOMES[name]} times"
    print(*(f"{many:6} {what}" for what, many in OUTCOMES.items() if what.startswith(name)), sep="\n")  # noqa: T201 - the count asked for


def test_the_trader_would_notice_a_lost_order() -> None:
    """A planted loss, an answered order that the log has never seen, is found."""
    scene = Scene("planted")
    scene.trader._orders["never"] = {"NEW"}
    with pytest.raises(AssertionError, match="never is NEVER PLACED"):
        scene.goes_on()

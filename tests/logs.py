"""Small request logs for tests: how to open one, what to write into it, and how to read it back."""

from collections.abc import Sequence
from random import Random

from book.commands import CancelOrder, Command, PlaceOrder, Tick
from persistence import codec
from persistence.codec import Record
from persistence.reqlog import Durability, Reqlog, ReqlogConfig
from persistence.segments import LogReader, segments
from persistence.storage import Disk

NOW: int = 1_700_000_000_000_000_000
ENGINE_VERSION = 1

SMALL = ReqlogConfig(segment_bytes=16 * 1024)
SMALL_UNSYNCED = ReqlogConfig(segment_bytes=16 * 1024, durability=Durability.OS)


def open_log(
    disk: Disk, config: ReqlogConfig = SMALL, *, seed: int = 0, engine_version: int = ENGINE_VERSION
) -> Reqlog:
    """Open the log on `disk`, or begin one; its ids and salts come from `seed`."""
    return Reqlog.open(
        disk, config, engine_version=engine_version, entropy=Random(f"entropy {seed}").randbytes, time_ns=NOW
    )


def order(n: int, note: str = "") -> PlaceOrder:
    """An order that says which one it is."""
    return PlaceOrder(1000 + n % 7, 1, n, "BTCUSDT", 1, 1, 1, n + 1, 50_000 + n, client_order_id=f"order-{n}{note}")


def command(random: Random) -> Command:
    """Any of some commands, short and long, with and without text that makes trouble."""
    n = random.randrange(1_000_000)
    kind = random.randrange(5)
    if kind == 0:
        return Tick()
    if kind == 1:
        return CancelOrder(n, 0, 0, "BTCUSDT", n)
    return order(n, note=("", "\0" * random.randrange(300), '\u20ac\n"' * random.randrange(30))[kind - 2])


def frame_of(commands: Sequence[Command], time_ns: int = NOW) -> list[bytes]:
    """The commands as records."""
    return [codec.encode_command(time_ns, command) for command in commands]


def append(log: Reqlog, commands: Sequence[Command]) -> None:
    """One frame of commands; a new segment first if it needs one."""
    records = frame_of(commands)
    if sum(map(len, records)) + len(records) > log.room:
        log.roll(time_ns=NOW)
    log.append(records, count=len(records), time_ns=NOW)


def read_log(disk: Disk) -> list[Record]:
    """All records of a sound log, in order."""
    reader = LogReader()
    found: list[Record] = []
    for segment in segments(disk):
        for frame in reader.frames(segment, disk.read(segment.path)):
            found += frame.records()
    return found


def logged_commands(disk: Disk) -> list[Command]:
    """The commands of a sound log, in order."""
    return [record.command for record in read_log(disk) if isinstance(record, codec.CommandRecord | codec.TickRecord)]

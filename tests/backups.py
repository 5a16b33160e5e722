"""A small exchange with its log, to back up and to restore, and targets for it."""

import itertools
from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
from obstore.store import MemoryStore

from book.commands import Command, CreditDeposit, DefineAccount, DefineAsset, DefineMarket
from book.definitions import Account
from book.engine import ENGINE_VERSION, Engine
from book.events import Rejected
from persistence import codec, manifest
from persistence.backup import Courier
from persistence.manifest import Manifest
from persistence.object_store import BucketStore, ObjectStore, Pace, TargetFailed, no_pace
from persistence.reqlog import Reqlog
from persistence.snapshot import Snapshot, list_snapshots, write_snapshot
from tests.exchange import BTC, BTC_USDT, FUNDS, USDT, buy, sell
from tests.logs import NOW, open_log
from tests.simulation.disk import SimulatedDisk

MARKETS = (
    BTC_USDT,
    msgspec.structs.replace(BTC_USDT, symbol="USDT-BTC", base="USDT", quote="BTC", tick_scale=8, lot=1_000_000),
)


def memory() -> BucketStore:
    """A bucket in memory."""
    return BucketStore("memory:///", MemoryStore())


class LoggedExchange:
    """An engine and the log that it can be rebuilt from, in small segments."""

    def __init__(self, disk: Any = None) -> None:
        """`disk` is a Disk; a simulated one if none is given."""
        self.disk = SimulatedDisk() if disk is None else disk
        self.engine = Engine()
        self.time_ns = NOW
        self.log: Reqlog = open_log(self.disk)
        self._random = Random(0)

    @property
    def exchange_id(self) -> str:
        """In hex."""
        return self.log.exchange_id.hex()

    @property
    def last_seq(self) -> int:
        """The last sequence number."""
        return self.log.next_seq - 1

    def do(self, *commands: Command) -> None:
        """Apply the commands and log them in one frame, with a check."""
        records = []
        for seq, command in enumerate(commands, self.log.next_seq):
            self.time_ns += 1_000
            outcome = self.engine.apply(command, seq, self.time_ns)
            if isinstance(outcome, Rejected):
                records.append(codec.encode_refused(self.time_ns, command, outcome.code, outcome.reason))
            else:
                self.engine.digest.update(outcome)
                records.append(codec.encode_command(self.time_ns, command))
        check = codec.encode_check(self.time_ns, self.engine.digest.value(), self.engine.totals())
        self.log.append([*records, check], count=len(records), time_ns=self.time_ns)

    def seal(self) -> None:
        """Go on in another segment."""
        self.log.roll(time_ns=self.time_ns)

    def begin(self) -> None:
        """Markets and funded accounts."""
        self.do(DefineAsset(BTC), DefineAsset(USDT), *map(DefineMarket, MARKETS))
        for account in (1, 2):
            self.do(DefineAccount(Account(account, f"account-{account}")))
            self.do(*(CreditDeposit(f"{account}|{asset}", account, asset, FUNDS[asset]) for asset in FUNDS))

    def trade(self, frames: int = 5) -> None:
        """Orders of all kinds of luck."""
        for _ in range(frames):
            price, quantity = self._random.randrange(90, 110), self._random.randrange(1, 20)
            self.do(buy(1, quantity, price), sell(2, quantity + 1, price), buy(1, 10**9, price))

    def snapshot(self) -> Snapshot:
        """Take one of the state as it is, at the last frame."""
        offset = self.log._offset  # of the frame that comes next: the one before it is found by its length
        data = self.disk.read(self.log.segment_path)
        at = data.rfind(codec.FRAME_MAGIC, 0, offset)
        state = self.engine.dump()
        snapshot = Snapshot(
            seq=self.last_seq,
            time_ns=self.time_ns,
            segment=self.log._segment.header.first_seq,
            offset=at,
            chain=self.log.position.chain,
            digest=self.engine.digest.value(),
            state_hash=self.engine.state_hash(),
            totals=self.engine.totals(),
            engine_version=ENGINE_VERSION,
            exchange_id=self.log.exchange_id,
            epoch=self.log.epoch,
            state=state,
        )
        write_snapshot(self.disk, snapshot)
        return snapshot

    def back_up(self, store: ObjectStore) -> Manifest:
        """What the actor does, in one go: segments, then the newest snapshot that they cover."""
        courier = Courier(store, self.disk, 3)
        local = courier.local(self.log.segment_path)
        current = courier.manifest(self.exchange_id, self.log.epoch, local)
        waiting = manifest.due(current, local, store.url)
        for segment, successor in itertools.pairwise([*waiting, local[-1]]):
            copy = courier.copy_segment(segment, successor)
            current = msgspec.structs.replace(current, segments=(*current.segments, copy))
            courier.save(current)
        covered = [file for file in list_snapshots(self.disk) if file.seq < current.next_seq]
        if covered and covered[-1].seq not in {copy.seq for copy in current.snapshots}:
            snapshots = (*current.snapshots, courier.copy_snapshot(covered[-1]))
            current = msgspec.structs.replace(current, snapshots=snapshots)
            courier.save(current)
        return current


def sealed_exchange(segments: int = 3) -> LoggedExchange:
    """One with so many sealed segments and an empty open one."""
    exchange = LoggedExchange()
    exchange.begin()
    exchange.seal()
    for _ in range(segments - 1):
        exchange.trade()
        exchange.seal()
    return exchange


class FlakyStore:
    """A target that is there or not, and counts."""

    def __init__(self) -> None:
        self.inner = memory()
        self.url = self.inner.url
        self.is_down = False
        self.calls: list[str] = []
        self.fail_at: int | None = None
        """The number of the call, from 0, before which it goes down."""

    def _count(self, what: str) -> None:
        if self.fail_at is not None and len(self.calls) >= self.fail_at:
            self.is_down = True
        self.calls.append(what)
        if self.is_down:
            raise TargetFailed(f"{self.url}: it is down")

    def put(self, name: str, data: bytes, *, pace: Pace = no_pace) -> None:
        """As the target does."""
        self._count(f"put {name}")
        self.inner.put(name, data, pace=pace)

    def get(self, name: str, *, pace: Pace = no_pace) -> bytes:
        """As the target does."""
        self._count(f"get {name}")
        return self.inner.get(name, pace=pace)

    def list(self, folder: str) -> dict[str, int]:
        """As the target does."""
        self._count(f"list {folder}")
        return self.inner.list(folder)


def flip(store: ObjectStore, name: str, offset: int, mask: int = 1) -> None:
    """Let one byte of an object rot."""
    data = bytearray(store.get(name))
    data[offset] ^= mask
    store.put(name, bytes(data))


def all_objects(current: Manifest) -> Sequence[str]:
    """The names of everything that a backup is made of."""
    return [current.name, *(stored.name for stored in current.objects())]

"""Proving a cold backup, and building a data folder from one that starts: in a new epoch, and at a standstill.

Theory of operation
-------------------
Proving is one walk: each object is fetched and compared with its digests, each segment's frames continue the chain of
the one before, and all records are folded into an engine that must agree with every check and every snapshot. Restoring
is the same walk, which writes down each file when it is proven; it may begin with a snapshot instead of the log's
beginning.

The folder that comes out is an ordinary log. Its last segment is begun here: of an epoch that this exchange never had,
so that no receipt is ever given twice, and holding the commands that bring the exchange to a standstill, as if an
operator had given them behind the last record. Nothing else makes a restored exchange special, and no start can miss
it. That segment is written last, whole: a log of sealed segments without it does not start, so neither does a restore
that was cut off.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from attrs import define, evolve, field, frozen

from book.commands import BeginEpoch, Command, PauseWithdrawals, SetMarketState
from book.engine import ENGINE_VERSION, Engine
from book.events import Rejected
from book.queries import Directory, DirectoryView
from book.terms import HALT
from persistence import backup, codec, store_dump
from persistence.codec import SegmentHeader
from persistence.exits import BadBackup, Damaged
from persistence.manifest import Manifest, SegmentCopy, SnapshotCopy
from persistence.object_store import ObjectStore
from persistence.recovery import Progress, no_progress
from persistence.replay import Replay
from persistence.segments import FOLDER, IDENTITY, Frame, LogReader, Segment, path_of, segment_of
from persistence.snapshot import FOLDER as SNAPSHOTS
from persistence.snapshot import BadSnapshot, path_of_snapshot
from persistence.snapshot import read as read_snapshot
from persistence.storage import Disk

Entropy = Callable[[int], bytes]

# What the last segment has room for beside the standstill, until the exchange begins one of its own size.
_ROOM_BYTES: Final = 1024 * 1024
_PAGE: Final = 4096


class NoBackupError(Exception):
    """The target has no backup as it was asked for; the message says what it has."""


def choose(store: ObjectStore, exchange_id: str | None = None, epoch: int | None = None) -> Manifest:
    """The manifest of an exchange (None: the only one) and an epoch (None: the last one).

    Raises NoBackupError, TargetFailed, BadBackup or NewerFormat.
    """
    found = backup.manifests(store)
    exchanges = sorted({name.exchange_id for name in found})
    if not found:
        raise NoBackupError(f"{store.url} has no backup")
    if exchange_id is None and len(exchanges) > 1:
        raise NoBackupError(f"{store.url} has backups of several exchanges, name one: {', '.join(exchanges)}")
    wanted = [name for name in found if name.exchange_id == (exchange_id or exchanges[0])]
    if epoch is not None:
        wanted = [name for name in wanted if name.epoch == epoch]
    if not wanted:
        have = ", ".join(f"{name.exchange_id} in epoch {name.epoch}" for name in found)
        raise NoBackupError(f"{store.url} has no such backup; it has {have}")
    return backup.read_manifest(store, wanted[-1])


# Prove ----------------------------------------------------------------------------------------------------------------


@define
class Proof:
    """What a walk through a backup arrived at."""

    manifest: Manifest
    engine: Engine
    records: int = 0
    """Numbered ones."""
    checks: int = 0
    """Of the log, that matched."""
    snapshots: int = 0
    """That matched."""
    last_time_ns: int = 0
    """Of the last numbered record, whether it took effect or not."""
    chain: bytes = codec.NO_CHAIN
    """Of the last seal."""

    @property
    def last_seq(self) -> int:
        """The last sequence number."""
        return self.manifest.next_seq - 1


class Keep(Protocol):
    """What is done with what was proven."""

    def __call__(self, path: str, raw: bytes, /) -> None:
        """`path`: in a data folder."""


def no_keep(_path: str, _raw: bytes) -> None:
    """Look, and forget."""


def last_snapshot(current: Manifest) -> SnapshotCopy | None:
    """The newest snapshot that the segments go on from."""
    return next(reversed(_usable(current)), None)


def needed_snapshot(current: Manifest) -> SnapshotCopy | None:
    """None where the segments go back to the beginning; else the oldest snapshot that they go on from."""
    if not current.segments or current.segments[0].first_seq == 1:
        return None
    return next(iter(_usable(current)), None)


def _usable(current: Manifest) -> Sequence[SnapshotCopy]:
    firsts = {copy.first_seq for copy in current.segments}
    return [copy for copy in current.snapshots if copy.segment in firsts and copy.seq < current.next_seq]


def prove(
    store: ObjectStore,
    current: Manifest,
    *,
    begin: SnapshotCopy | None = None,
    keep: Keep = no_keep,
    progress: Progress = no_progress,
) -> Proof:
    """Read every object from `begin` (None: the log's beginning) on, and replay.

    `keep` is given each file once it is proven; `progress` counts stored bytes. Raises BadBackup, which names the
    object; TargetFailed or NewerFormat.
    """
    copies = [copy for copy in current.segments if begin is None or copy.first_seq >= begin.segment]
    snapshots = [copy for copy in current.snapshots if begin is None or copy.seq >= begin.seq]
    if not copies:
        raise BadBackup(store.url, current.name, "there is no segment in it")
    if begin is None and copies[0].first_seq > 1:
        raise BadBackup(
            store.url, current.name, "it begins in the midst of the log, and no snapshot stands for the rest"
        )
    objects = [*(copy.object for copy in copies), *(copy.object for copy in snapshots)]
    total = sum(stored.stored_size for stored in objects)
    done = 0
    engine = Engine()
    for snapshot in snapshots:
        progress(done, total)
        raw = backup.fetch(store, snapshot.object)
        state = _state(store, snapshot, raw)
        if snapshot == begin:
            engine = Engine.load(state)
            keep(path_of_snapshot(snapshot.seq), raw)
        done += snapshot.object.stored_size
    proof = Proof(current, engine)
    walk = _Walk(store, proof, 0 if begin is None else begin.seq, snapshots)
    for copy in copies:
        progress(done, total)
        raw = backup.fetch(store, copy.object)
        try:
            walk.segment(copy, raw)
        except Damaged as damage:
            what = f"offset {damage.offset} of what is in it: {damage.what}"
            raise BadBackup(store.url, copy.object.name, what) from damage
        keep(path_of(copy.first_seq), raw)
        done += copy.object.stored_size
    for dump in current.dumps:
        backup.fetch(store, dump.object)
    progress(total, total)
    return proof


def _state(store: ObjectStore, copy: SnapshotCopy, raw: bytes) -> bytes:
    """The state in a snapshot."""
    path = path_of_snapshot(copy.seq)
    try:
        found = read_snapshot(_Fetched(path, raw), path)
    except BadSnapshot as error:
        raise BadBackup(store.url, copy.object.name, f"what is in it is no snapshot: {error}") from error
    if (found.seq, found.segment, found.state_hash.hex()) != (copy.seq, copy.segment, copy.state_hash):
        raise BadBackup(store.url, copy.object.name, "it is another snapshot than the manifest says")
    return found.state


@frozen
class _Fetched:
    """One file, read as from a disk."""

    _path: str
    _data: bytes

    def size(self, path: str) -> int:
        """Of the one."""
        return len(self.read(path))

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """Of the one."""
        if path != self._path:
            raise AssertionError(f"{path} is asked for, where {self._path} was fetched")
        return self._data[offset : None if length is None else offset + length]


@define
class _Walk:
    """The chain and the fold through the segments of a backup."""

    _store: ObjectStore
    _proof: Proof
    _after_seq: int
    _snapshots: list[SnapshotCopy]  # that are still to come, in order
    _reader: LogReader = field(factory=LogReader)
    _replay: Replay = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._replay = Replay(self._proof.engine, after_seq=self._after_seq)

    def segment(self, copy: SegmentCopy, raw: bytes) -> None:
        """The next one. Raises Damaged, BadBackup or NewerFormat."""
        header = raw[: codec.SEGMENT_HEADER_BYTES]
        segment = segment_of(self._store.url, path_of(copy.first_seq), header, engine_version=ENGINE_VERSION)
        last: Frame | None = None
        for frame in self._reader.frames(segment, raw):
            self._replay.feed(frame)
            if frame.header.count:
                last = frame
                self._compare()
        self._must_be(copy, segment, len(raw))
        if last is not None:
            self._proof.last_time_ns = last.records()[last.header.count - 1].time_ns
        self._proof.records = self._replay.applied + self._replay.refused
        self._proof.checks = self._replay.checks

    def _compare(self) -> None:
        """A snapshot of this very state, if there is one, is of this state."""
        while self._snapshots and self._snapshots[0].seq <= self._replay.last_seq:
            copy = self._snapshots.pop(0)
            if copy.seq < self._replay.last_seq or self._proof.engine.state_hash().hex() != copy.state_hash:
                raise BadBackup(self._store.url, copy.object.name, "the log does not replay to this state")
            self._proof.snapshots += 1

    def _must_be(self, copy: SegmentCopy, segment: Segment, size: int) -> None:
        reader, header = self._reader, segment.header
        if reader.position is None or not reader.sealed or reader.offset != size:
            raise segment.damaged(reader.offset, "the segment does not end with its seal")
        self._proof.chain = reader.position.chain
        found = (
            header.exchange_id.hex(),
            header.number,
            header.epoch,
            reader.position.next_seq,
            self._proof.chain.hex(),
        )
        if found != (self._proof.manifest.exchange_id, copy.number, copy.epoch, copy.next_seq, copy.chain):
            raise BadBackup(self._store.url, copy.object.name, "it is another segment than the manifest says")


# Restore --------------------------------------------------------------------------------------------------------------


@frozen
class Restored:
    """What `restore` did."""

    proof: Proof
    state_hash: bytes
    """Of the state as it was copied, before the standstill."""
    epoch: int
    """The new one."""
    halted: tuple[str, ...]
    """The markets that were not halted already."""


def restore(
    store: ObjectStore,
    current: Manifest,
    disk: Disk,
    *,
    begin: SnapshotCopy | None,
    time_ns: int,
    entropy: Entropy,
    progress: Progress = no_progress,
) -> Restored:
    """Build an exchange's data in an empty folder: a snapshot to `begin` with, and the log from there on.

    Raises as `prove` does; what is in the folder then does not start.
    """
    epochs = [name.epoch for name in backup.manifests(store) if name.exchange_id == current.exchange_id]
    disk.make_folder(FOLDER)
    disk.write_file(IDENTITY, current.exchange_id.encode("ascii") + b"\n")
    disk.make_folder(SNAPSHOTS)
    proof = prove(store, current, begin=begin, keep=disk.write_file, progress=progress)
    state_hash = proof.engine.state_hash()
    epoch = max(epochs) + 1
    commands = standstill(proof.engine, epoch, current.next_seq, proof.last_time_ns)
    header = SegmentHeader(
        engine_version=ENGINE_VERSION,
        exchange_id=bytes.fromhex(current.exchange_id),
        number=current.segments[-1].number + 1,
        first_seq=current.next_seq,
        salt=int.from_bytes(entropy(8), "little"),
        created_ns=time_ns,
        size=_ROOM_BYTES,
        epoch=epoch,
        previous_chain=proof.chain,
    )
    disk.write_file(path_of(header.first_seq), _begun(header, proof, commands))
    if current.dumps:
        disk.write_file(store_dump.PATH, backup.fetch(store, current.dumps[-1].object))
    halted = tuple(command.symbol for command in commands if isinstance(command, SetMarketState))
    return Restored(proof, state_hash, header.epoch, halted)


def standstill(engine: Engine, epoch: int, first_seq: int, time_ns: int) -> list[Command]:
    """Begin the epoch, pause withdrawals and halt every market, as of `time_ns`; the commands that took effect.

    Nothing goes on by itself in an exchange whose latest hours are lost, until an operator says so.
    """
    view = engine.query(Directory(), time_ns)
    if not isinstance(view, DirectoryView):
        raise AssertionError(f"the engine answered {view!r} when asked what is defined")
    commands: list[Command] = [BeginEpoch(epoch), PauseWithdrawals(True)]
    commands += [SetMarketState(status.market.symbol, HALT) for status in view.markets]
    done: list[Command] = []
    for command in commands:
        events = engine.apply(command, first_seq + len(done), time_ns)
        if not isinstance(events, Rejected):  # it is so already
            engine.digest.update(events)
            done.append(command)
    return done


def _begun(header: SegmentHeader, proof: Proof, commands: Sequence[Command]) -> bytes:
    """The file of a segment that begins with these commands and a check, and has room for more."""
    time_ns = proof.last_time_ns
    records = [codec.encode_command(time_ns, command) for command in commands]
    records.append(codec.encode_check(time_ns, proof.engine.digest.value(), proof.engine.totals()))
    size = header.size + sum(map(len, records)) // _PAGE * _PAGE
    front = evolve(header, size=size).encode()
    frame, _ = codec.encode_frame(
        records,
        count=len(commands),
        previous=codec.segment_chain(front),
        salt=header.salt,
        first_seq=header.first_seq,
        time_ns=header.created_ns,
        epoch=header.epoch,
    )
    return (front + frame).ljust(size, b"\0")

"""Proving a cold backup, and building a data folder from one that starts: in a new epoch, and at a standstill.

Theory of operation
-------------------
Proving is one walk: each object is fetched and compared with its digests, each segment's frames continue the chain of
the one before, and all records are folded into an engine that must agree with every check and every snapshot. Restoring
is the same walk, which writes down each segment when it is proven.

The folder that comes out is an ordinary log. Its last segment is begun here: of an epoch that this exchange never had,
so that no receipt is ever given twice, and holding the commands that bring the exchange to a standstill, as if an
operator had given them behind the last record. Nothing else makes a restored exchange special, and no start can miss
it. That segment is written last, whole: a log of sealed segments without it does not start, so neither does a restore
that was cut off.
"""

from collections.abc import Callable, Sequence
from typing import Final

from attrs import define, evolve, field, frozen

from book.commands import Command, SetMarketState
from book.engine import ENGINE_VERSION, Engine
from book.events import Rejected
from book.queries import Directory, DirectoryView
from book.terms import HALT
from persistence import backup, codec
from persistence.codec import SegmentHeader
from persistence.exits import BadBackup, Damaged
from persistence.manifest import Manifest, SegmentCopy
from persistence.object_store import ObjectStore
from persistence.recovery import Progress, no_progress
from persistence.replay import Replay
from persistence.segments import FOLDER, IDENTITY, Frame, LogReader, Segment, path_of, segment_of
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


Keep = Callable[[SegmentCopy, bytes], None]


def prove(
    store: ObjectStore,
    current: Manifest,
    *,
    new_engine: Callable[[], Engine] = Engine,
    keep: Keep = lambda _copy, _raw: None,
    progress: Progress = no_progress,
) -> Proof:
    """Read every object, and replay. `keep` is given each segment once it is proven; `progress` counts stored bytes.

    Raises BadBackup, which names the object; TargetFailed or NewerFormat.
    """
    proof = Proof(current, new_engine())
    walk = _Walk(store, proof)
    total = sum(stored.stored_size for stored in current.objects())
    done = 0
    for copy in current.segments:
        progress(done, total)
        raw = backup.fetch(store, copy.object)
        try:
            walk.segment(copy, raw)
        except Damaged as damage:
            what = f"offset {damage.offset} of what is in it: {damage.what}"
            raise BadBackup(store.url, copy.object.name, what) from damage
        keep(copy, raw)
        done += copy.object.stored_size
    for dump in current.dumps:
        backup.fetch(store, dump.object)
    progress(total, total)
    return proof


@define
class _Walk:
    """The chain and the fold through the segments of a backup."""

    _store: ObjectStore
    _proof: Proof
    _reader: LogReader = field(factory=LogReader)
    _replay: Replay = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._replay = Replay(self._proof.engine)

    def segment(self, copy: SegmentCopy, raw: bytes) -> None:
        """The next one. Raises Damaged, BadBackup or NewerFormat."""
        header = raw[: codec.SEGMENT_HEADER_BYTES]
        segment = segment_of(self._store.url, path_of(copy.first_seq), header, engine_version=ENGINE_VERSION)
        last: Frame | None = None
        for frame in self._reader.frames(segment, raw):
            self._replay.feed(frame)
            if frame.header.count:
                last = frame
        self._must_be(copy, segment, len(raw))
        if last is not None:
            self._proof.last_time_ns = last.records()[last.header.count - 1].time_ns
        self._proof.records += copy.next_seq - copy.first_seq
        self._proof.checks = self._replay.checks

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
    time_ns: int,
    entropy: Entropy,
    progress: Progress = no_progress,
) -> Restored:
    """Build an exchange's data in an empty folder. Raises as `prove` does; then the folder does not start."""
    if not current.segments:
        raise BadBackup(store.url, current.name, "there is no segment in it")
    epochs = [name.epoch for name in backup.manifests(store) if name.exchange_id == current.exchange_id]
    disk.make_folder(FOLDER)
    disk.write_file(IDENTITY, current.exchange_id.encode("ascii") + b"\n")
    proof = prove(
        store, current, keep=lambda copy, raw: disk.write_file(path_of(copy.first_seq), raw), progress=progress
    )
    state_hash = proof.engine.state_hash()
    commands = standstill(proof.engine, current.next_seq, proof.last_time_ns)
    header = SegmentHeader(
        engine_version=ENGINE_VERSION,
        exchange_id=bytes.fromhex(current.exchange_id),
        number=current.segments[-1].number + 1,
        first_seq=current.next_seq,
        salt=int.from_bytes(entropy(8), "little"),
        created_ns=time_ns,
        size=_ROOM_BYTES,
        epoch=max(epochs) + 1,
        previous_chain=proof.chain,
    )
    disk.write_file(path_of(header.first_seq), _begun(header, proof, commands))
    halted = tuple(command.symbol for command in commands)
    return Restored(proof, state_hash, header.epoch, halted)


def standstill(engine: Engine, first_seq: int, time_ns: int) -> list[SetMarketState]:
    """Halt every market until an operator resumes it, as of `time_ns`; the commands that took effect.

    Whatever else must not go on by itself in an exchange whose latest hours are lost belongs here too: withdrawals,
    as soon as the engine has them.
    """
    view = engine.query(Directory(), time_ns)
    if not isinstance(view, DirectoryView):
        raise AssertionError(f"the engine answered {view!r} when asked what is defined")
    done: list[SetMarketState] = []
    for status in view.markets:
        command = SetMarketState(status.market.symbol, HALT)
        events = engine.apply(command, first_seq + len(done), time_ns)
        if not isinstance(events, Rejected):  # that market is halted already
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

"""Copying the log into a cold backup, one object at a time; and getting an object back, proven.

Theory of operation
-------------------
What is copied never changes: a sealed segment, a snapshot. It is proven before it is sent, frame by frame, so that rot
on the local disk is found here and not at a restore; packed; put under a name that holds its digest; and read back.
Only then does the manifest name it, which is replaced in one step. So whatever the manifest names is there and is
right, and a crash in between costs a copy that is made again under the same name.

Everything blocks, and is cut into steps that take a few seconds each, so that a stop never waits for long.
"""

import itertools
from collections.abc import Sequence
from typing import Final

import msgspec
import zstandard
from attrs import frozen

from persistence import manifest
from persistence.exits import BadBackup
from persistence.manifest import Manifest, ManifestName, SegmentCopy, SnapshotCopy, StoredObject, StoreDump
from persistence.object_store import NoSuchObject, ObjectStore, Pace, TargetFailed, no_pace
from persistence.segments import LogReader, Segment, paths, read_header
from persistence.snapshot import SnapshotFile, read_snapshot
from persistence.storage import Disk

# A part of a millisecond of a proof: how long it may go on without a breath.
FRAMES_PER_BREATH: Final = 32

_DIGEST_DIGITS: Final = 16


@frozen
class Courier:
    """Carries objects of one exchange to a target and back."""

    store: ObjectStore
    disk: Disk
    level: int
    """Of zstd: 1 is quick, 19 small."""
    pace: Pace = no_pace

    # The manifest -------------------------------------------------------------------------------------------------

    def manifest(self, exchange_id: str, epoch: int, local: Sequence[Segment]) -> Manifest:
        """The manifest of this epoch, or one that begins with what an earlier epoch's has in common with the log.

        Raises TargetFailed, BadBackup or NewerFormat.
        """
        mine = ManifestName(exchange_id, epoch)
        found = [name for name in manifests(self.store) if name.exchange_id == exchange_id and name <= mine]
        if not found:
            return Manifest(exchange_id, epoch, 0)
        newest = read_manifest(self.store, found[-1])
        return newest if found[-1] == mine else manifest.inherited(newest, epoch, local)

    def save(self, current: Manifest) -> None:
        """Replace the manifest. Raises TargetFailed."""
        self.store.put(current.name, manifest.encode(current), pace=self.pace)

    def local(self, open_path: str, since_path: str = "") -> list[Segment]:
        """The log's segments up to the open one: the writer may just be beginning another behind it.

        Raises Damaged, Unreadable or NewerFormat.
        """
        return [read_header(self.disk, path) for path in paths(self.disk) if since_path <= path <= open_path]

    # Objects ------------------------------------------------------------------------------------------------------

    def copy_segment(self, segment: Segment, successor: Segment) -> SegmentCopy:
        """Prove, pack, put and read back a sealed segment. Raises Damaged, Unreadable, NewerFormat or TargetFailed."""
        data = self.disk.read(segment.path)
        reader = LogReader()
        for number, _ in enumerate(reader.frames(segment, data)):
            if number % FRAMES_PER_BREATH == 0:
                self.pace()
        position = reader.position
        if position is None or not reader.sealed:
            raise segment.damaged(reader.offset, f"the segment ends without its seal, yet {successor.path} follows")
        if position.chain != successor.header.previous_chain:
            raise segment.damaged(reader.offset, f"{successor.path} does not continue it")
        header, raw = segment.header, data[: reader.offset]
        name = f"{header.exchange_id.hex()}/reqlog/{header.first_seq:020d}-{_short(raw)}.log.zst"
        return SegmentCopy(
            self.deposit(name, raw),
            header.number,
            header.epoch,
            header.first_seq,
            position.next_seq,
            position.chain.hex(),
        )

    def copy_snapshot(self, file: SnapshotFile) -> SnapshotCopy:
        """The same for a snapshot. Raises BadSnapshot, Unreadable, NewerFormat or TargetFailed."""
        found = read_snapshot(self.disk, file)
        raw = self.disk.read(file.path)
        name = f"{found.exchange_id.hex()}/snapshots/{found.seq:020d}-{_short(raw)}.snap.zst"
        return SnapshotCopy(self.deposit(name, raw), found.seq, found.segment, found.state_hash.hex())

    def copy_dump(self, exchange_id: str, raw: bytes, time_ns: int) -> StoreDump:
        """The same for a dump of the store. Raises TargetFailed."""
        name = f"{exchange_id}/store/{time_ns:020d}-{_short(raw)}.jsonl.zst"
        return StoreDump(self.deposit(name, raw), time_ns)

    def deposit(self, name: str, raw: bytes) -> StoredObject:
        """Pack, put and read back. Raises TargetFailed."""
        packed = zstandard.ZstdCompressor(level=self.level).compress(raw)
        self.store.put(name, packed, pace=self.pace)
        try:
            kept = self.store.get(name, pace=self.pace)
        except NoSuchObject:
            kept = b""
        if kept != packed:
            raise TargetFailed(f"{self.store.url}: object {name} was put, and is not there as it was put")
        return StoredObject(name, len(raw), manifest.digest(raw), len(packed), manifest.digest(packed))

    def mended(self, current: Manifest, local: Sequence[Segment]) -> Manifest:
        """The manifest after an audit: what the target has lost is copied again, a snapshot is left to the next one.

        Raises TargetFailed; BadBackup where the log does not have it any more.
        """
        lost = {stored.name for stored in self.lost(current)}
        if not lost:
            return current
        followers = {before.header.number: (before, after) for before, after in itertools.pairwise(local)}
        segments = list(current.segments)
        for index, copy in enumerate(segments):
            if copy.object.name in lost and copy.number in followers:
                segments[index] = self.copy_segment(*followers[copy.number])
            elif copy.object.name in lost:
                raise BadBackup(
                    self.store.url, copy.object.name, "it is missing, and the log does not have it any more"
                )
        snapshots = tuple(copy for copy in current.snapshots if copy.object.name not in lost)
        dumps = tuple(copy for copy in current.dumps if copy.object.name not in lost)
        return msgspec.structs.replace(current, segments=tuple(segments), snapshots=snapshots, dumps=dumps)

    def lost(self, current: Manifest) -> list[StoredObject]:
        """Objects that the manifest names and the target does not list with their sizes. Raises TargetFailed."""
        listed: dict[str, dict[str, int]] = {}
        lost = []
        for stored in current.objects():
            folder, _, name = stored.name.rpartition("/")
            if folder not in listed:
                listed[folder] = self.store.list(folder)
            if listed[folder].get(name) != stored.stored_size:
                lost.append(stored)
        return lost


def _short(raw: bytes) -> str:
    return manifest.digest(raw)[:_DIGEST_DIGITS]


# Reading --------------------------------------------------------------------------------------------------------------


def manifests(store: ObjectStore) -> list[ManifestName]:
    """Which exchanges and epochs a target has backups of, in order. Raises TargetFailed."""
    return manifest.names(store.list(manifest.FOLDER))


def read_manifest(store: ObjectStore, which: ManifestName) -> Manifest:
    """One manifest. Raises TargetFailed, BadBackup or NewerFormat."""
    name = Manifest(which.exchange_id, which.epoch, 0).name
    try:
        data = store.get(name)
    except NoSuchObject:
        raise BadBackup(store.url, name, "it is gone") from None
    return manifest.decode(data, store.url, name)


def fetch(store: ObjectStore, stored: StoredObject, *, pace: Pace = no_pace) -> bytes:
    """What was packed into an object, the same to the byte. Raises TargetFailed or BadBackup."""
    try:
        packed = store.get(stored.name, pace=pace)
    except NoSuchObject:
        raise BadBackup(store.url, stored.name, "it is missing") from None
    if len(packed) != stored.stored_size or manifest.digest(packed) != stored.stored_digest:
        raise BadBackup(store.url, stored.name, "it is not what was stored: its digest is another")
    try:
        raw = zstandard.ZstdDecompressor().decompress(packed, max_output_size=stored.size)
    except zstandard.ZstdError as error:
        raise BadBackup(store.url, stored.name, f"it is as it was stored, but cannot be unpacked: {error}") from error
    if len(raw) != stored.size or manifest.digest(raw) != stored.digest:
        raise BadBackup(store.url, stored.name, "what is in it is not what was copied: its digest is another")
    return raw

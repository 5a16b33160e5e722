"""What is in a cold backup: the manifest, its bytes, and what a log has that a manifest lacks. Pure.

docs/backup-format.md describes the target's objects. There is one manifest for each epoch of an exchange: whoever goes
on from a restored copy writes another one than whoever should have stopped, and neither overwrites the other's objects,
as their names hold a digest of what is in them.
"""

import hashlib
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from attrs import frozen
from msgspec import Struct

from persistence.exits import BadBackup, NewerFormat
from persistence.segments import Segment

FORMAT: Final = 1
FOLDER: Final = "manifests"

_MAGIC: Final = b"tallystick-backup"
_HEAD: Final = re.compile(rb"(tallystick-backup (\d{1,9})) ([0-9a-f]{64})\n")
_NAME: Final = re.compile(r"([0-9a-f]{32})-(\d{10})\.json")
_DIGEST_BYTES: Final = 32


class StoredObject(Struct, frozen=True, forbid_unknown_fields=True):
    """An object of the target, and what it is when unpacked. Digests are BLAKE2b-256 in hex, sizes bytes."""

    name: str
    size: int
    digest: str
    stored_size: int
    stored_digest: str


class SegmentCopy(Struct, frozen=True, forbid_unknown_fields=True):
    """A sealed segment of the log, down to the end of its seal."""

    object: StoredObject
    number: int
    epoch: int
    first_seq: int
    next_seq: int
    chain: str
    """Of its seal, in hex: the next segment continues it."""


class SnapshotCopy(Struct, frozen=True, forbid_unknown_fields=True):
    """A snapshot of the state behind a sequence number."""

    object: StoredObject
    seq: int
    segment: int
    """The first sequence number of the segment that it was taken in: from there on the log follows it."""
    state_hash: str


class StoreDump(Struct, frozen=True, forbid_unknown_fields=True):
    """A dump of the store of chain transactions."""

    object: StoredObject
    time_ns: int


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """All that is in the backup of one epoch of an exchange, each in order."""

    exchange_id: str
    epoch: int
    time_ns: int
    """Of the last change, as the exchange's machine believed."""
    segments: tuple[SegmentCopy, ...] = ()
    snapshots: tuple[SnapshotCopy, ...] = ()
    dumps: tuple[StoreDump, ...] = ()

    @property
    def next_seq(self) -> int:
        """The first sequence number that is not in it."""
        return self.segments[-1].next_seq if self.segments else 1

    @property
    def name(self) -> str:
        """The manifest's own object."""
        return f"{FOLDER}/{self.exchange_id}-{self.epoch:010d}.json"

    def objects(self) -> Iterable[StoredObject]:
        """Every object it names."""
        copies = itertools.chain[SegmentCopy | SnapshotCopy | StoreDump](self.segments, self.snapshots, self.dumps)
        return (copy.object for copy in copies)


def digest(data: bytes) -> str:
    """BLAKE2b-256 in hex."""
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).hexdigest()


# Its bytes ------------------------------------------------------------------------------------------------------------


def encode(manifest: Manifest) -> bytes:
    """A first line with the format, and the digest of it and of what follows; then a line of JSON."""
    first = b"%s %d" % (_MAGIC, FORMAT)
    body = msgspec.json.encode(manifest) + b"\n"
    return b"%s %s\n%s" % (first, digest(first + b"\n" + body).encode("ascii"), body)


def decode(data: bytes, url: str, name: str) -> Manifest:
    """The manifest that was stored as `name`. Raises BadBackup, or NewerFormat."""
    head = _HEAD.match(data)
    if head is None:
        raise BadBackup(url, name, "it does not begin as a manifest does")
    body = data[head.end() :]
    if digest(head[1] + b"\n" + body).encode("ascii") != head[3]:
        raise BadBackup(url, name, "it is not what was written: its digest is another")
    if int(head[2]) > FORMAT:
        raise NewerFormat(f"{url}, object {name} has format {int(head[2])}, this program knows up to {FORMAT}")
    try:
        manifest = msgspec.json.decode(body, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadBackup(url, name, f"it is as it was written, but no manifest to this program: {error}") from error
    if manifest.name != name:
        raise BadBackup(url, name, f"it is {manifest.name} under another name")
    for before, after in itertools.pairwise(manifest.segments):
        if (after.number, after.first_seq) != (before.number + 1, before.next_seq) or after.epoch < before.epoch:
            raise BadBackup(url, name, f"segment {after.number} does not follow segment {before.number}")
    return manifest


@frozen(order=True)
class ManifestName:
    """Which exchange and epoch a manifest is of."""

    exchange_id: str
    epoch: int


def names(found: Iterable[str]) -> list[ManifestName]:
    """The manifests among the names in the folder, in order."""
    matches = (_NAME.fullmatch(name) for name in found)
    return sorted(ManifestName(match[1], int(match[2])) for match in matches if match is not None)


# Against the log ------------------------------------------------------------------------------------------------------


def due(manifest: Manifest, local: Sequence[Segment], url: str) -> Sequence[Segment]:
    """The sealed segments that the manifest lacks. `local`: the log's segments in order, the open one last.

    Raises BadBackup where the log is not what the backup is of: it is an older copy, or went on without it.
    """
    if not manifest.segments:
        return local[:-1]
    last = manifest.segments[-1]
    behind = [segment for segment in local if segment.header.number > last.number]
    if not behind:
        what = f"it goes up to number {last.next_seq - 1}, the log only to its segment {local[-1].header.number}"
        raise BadBackup(url, manifest.name, f"{what}; an older copy of this exchange is running without a restore")
    header = behind[0].header
    if header.number != last.number + 1:
        what = (
            f"it ends with segment {last.number}, and the log begins with {header.number}: between them some are lost"
        )
        raise BadBackup(url, manifest.name, what)
    if (header.first_seq, header.previous_chain.hex()) != (last.next_seq, last.chain):
        what = f"the log has another segment {last.number} than it: two exchanges went on from one log"
        raise BadBackup(url, manifest.name, what)
    return behind[:-1]


def inherited(manifest: Manifest, epoch: int, local: Sequence[Segment]) -> Manifest:
    """The manifest of a later epoch to begin with: what that has in common with this one, objects included."""
    followers = {segment.header.number: segment.header for segment in local}
    kept = manifest.segments
    while kept:
        follower = followers.get(kept[-1].number + 1)
        if follower is not None and follower.previous_chain.hex() == kept[-1].chain:
            break
        kept = kept[:-1]
    next_seq = kept[-1].next_seq if kept else 1
    snapshots = tuple(snapshot for snapshot in manifest.snapshots if snapshot.seq < next_seq)
    # What went in and out on the chains since then is the same money: a dump is of both.
    return Manifest(manifest.exchange_id, epoch, manifest.time_ns, kept, snapshots, manifest.dumps)

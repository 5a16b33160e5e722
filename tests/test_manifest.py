"""The manifest of a backup: its bytes prove themselves, and it is compared with the log before anything is added."""

import msgspec
import pytest

from persistence import manifest
from persistence.exits import BadBackup, NewerFormat
from persistence.manifest import Manifest, ManifestName, StoredObject, StoreDump
from persistence.segments import Segment, segments
from tests.backups import LoggedExchange, memory, sealed_exchange

URL = "file:///cold"


def copied(exchange: LoggedExchange) -> Manifest:
    """What a backup of it has in its manifest."""
    return exchange.back_up(memory())


def log_of(exchange: LoggedExchange) -> list[Segment]:
    """Its segments."""
    return segments(exchange.disk)


def signed(version: int, body: bytes) -> bytes:
    """A manifest of this format and content, whatever that is."""
    first = b"tallystick-backup %d" % version
    return b"%s %s\n%s" % (first, manifest.digest(first + b"\n" + body).encode("ascii"), body)


# Bytes ----------------------------------------------------------------------------------------------------------------


def test_a_manifest_is_read_as_it_was_written() -> None:
    """With everything that it can hold, a dump of a store too."""
    stored = StoredObject("a/b", 1, "00", 2, "11")
    current = msgspec.structs.replace(copied(sealed_exchange()), dumps=(StoreDump(stored, 7),))
    data = manifest.encode(current)
    assert manifest.decode(data, URL, current.name) == current
    assert len(list(current.objects())) == 4


def test_no_bit_of_a_manifest_may_flip() -> None:
    """Whichever it is, the manifest is refused and named."""
    current = copied(sealed_exchange(2))
    data = manifest.encode(current)
    for place in range(len(data)):
        for mask in (1, 0x20, 0x80):
            rotten = bytearray(data)
            rotten[place] ^= mask
            with pytest.raises(BadBackup, match=current.name) as refusal:
                manifest.decode(bytes(rotten), URL, current.name)
            assert refusal.value.name == current.name


@pytest.mark.parametrize("cut", [0, 1, 50, 100, -1])
def test_a_manifest_that_was_cut_is_refused(cut: int) -> None:
    """Wherever."""
    current = copied(sealed_exchange(2))
    with pytest.raises(BadBackup, match=current.name):
        manifest.decode(manifest.encode(current)[:cut], URL, current.name)


def test_a_newer_format_is_not_guessed_at() -> None:
    """It has its own exit code."""
    current = copied(sealed_exchange(2))
    newer = signed(2, manifest.encode(current).partition(b"\n")[2])
    with pytest.raises(NewerFormat, match="format 2, this program knows up to 1"):
        manifest.decode(newer, URL, current.name)


def test_a_manifest_that_contradicts_itself_is_refused() -> None:
    """Another's name, a gap between segments, an epoch that falls, no manifest at all: all under a right digest."""
    current = copied(sealed_exchange(3))
    first, second, third = current.segments
    for wrong, what in (
        (msgspec.structs.replace(current, epoch=2), "under another name"),
        (msgspec.structs.replace(current, segments=(first, third)), "segment 3 does not follow segment 1"),
        (
            msgspec.structs.replace(current, segments=(msgspec.structs.replace(first, epoch=2), second, third)),
            "segment 2 does not follow segment 1",
        ),
    ):
        with pytest.raises(BadBackup, match=what):
            manifest.decode(manifest.encode(wrong), URL, current.name)
    data = signed(1, b'{"unknown":1}\n')
    with pytest.raises(BadBackup, match="no manifest to this program"):
        manifest.decode(data, URL, current.name)


def test_names_of_manifests() -> None:
    """In order of exchange and epoch; whatever else lies there is not looked at."""
    one, other = "0" * 32, "f" * 32
    found = [
        f"{other}-0000000001.json",
        f"{one}-0000000010.json",
        f"{one}-0000000002.json",
        "readme.txt",
        f"{one}.json",
    ]
    assert manifest.names(found) == [ManifestName(one, 2), ManifestName(one, 10), ManifestName(other, 1)]


# Against the log ------------------------------------------------------------------------------------------------------


def test_what_is_due_is_what_was_sealed_since() -> None:
    """All that is sealed at first, nothing when all is copied; the open segment never."""
    exchange = sealed_exchange(3)
    local = log_of(exchange)
    empty = Manifest(exchange.exchange_id, 1, 0)
    assert manifest.due(empty, local, URL) == local[:3]
    current = copied(exchange)
    assert manifest.due(current, local, URL) == []
    exchange.trade()
    exchange.seal()
    exchange.trade()
    assert [segment.header.number for segment in manifest.due(current, log_of(exchange), URL)] == [4]


def test_what_is_due_needs_no_segment_that_is_copied() -> None:
    """The log may have been pruned."""
    exchange = sealed_exchange(3)
    current = copied(exchange)
    exchange.trade()
    exchange.seal()
    assert [segment.header.number for segment in manifest.due(current, log_of(exchange)[-2:], URL)] == [4]


def test_a_log_that_lost_what_is_not_copied_is_refused() -> None:
    """A backup with a gap would be none."""
    exchange = sealed_exchange(4)
    current = copied(exchange)
    current = msgspec.structs.replace(current, segments=current.segments[:2])
    with pytest.raises(BadBackup, match="ends with segment 2, and the log begins with 4"):
        manifest.due(current, log_of(exchange)[3:], URL)


def test_an_older_copy_of_the_log_is_refused() -> None:
    """Somebody has put a folder back by hand, without a restore and its new epoch."""
    exchange = sealed_exchange(2)
    older = LoggedExchange(exchange.disk.copy())
    exchange.trade()
    exchange.seal()
    with pytest.raises(BadBackup, match="running without a restore"):
        manifest.due(copied(exchange), log_of(older), URL)


def test_another_course_of_the_exchange_is_refused() -> None:
    """Two went on from one log: the second one to come is told, and changes nothing."""
    exchange = sealed_exchange(2)
    twin = LoggedExchange(exchange.disk.copy())
    exchange.log.append([b"[2,1700000000000000001,[16]]"], count=1, time_ns=3)
    twin.log.append([b"[2,1700000000000000001,[16]]"], count=1, time_ns=4)
    exchange.seal()
    twin.seal()
    with pytest.raises(BadBackup, match="two exchanges went on from one log"):
        manifest.due(copied(exchange), log_of(twin), URL)


def test_a_later_epoch_inherits_what_it_has_in_common() -> None:
    """Up to where the log went another way; all of it, where the log was pruned to its end."""
    exchange = sealed_exchange(3)
    local = log_of(exchange)
    exchange.trade()
    exchange.seal()
    current = copied(exchange)
    assert len(current.segments) == 4
    for known in (local, local[-1:]):
        inherited = manifest.inherited(current, 2, known)
        assert (inherited.epoch, inherited.segments, inherited.next_seq) == (
            2,
            current.segments[:3],
            local[-1].header.first_seq,
        )
    assert manifest.inherited(current, 2, local[:1]).segments == ()

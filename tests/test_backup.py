"""Copying into a cold backup: what is there is right and whole, whatever happens on the way; and rot is found."""

from random import Random

import msgspec
import pytest

from persistence import backup, restore
from persistence.backup import Courier
from persistence.exits import BadBackup, Damaged
from persistence.manifest import Manifest
from persistence.object_store import ObjectStore, TargetFailed
from persistence.restore import NoBackupError
from persistence.segments import segments
from tests.backups import FlakyStore, LoggedExchange, all_objects, flip, memory, sealed_exchange
from tests.counts import count
from tests.logs import open_log


def courier_of(exchange: LoggedExchange, store: ObjectStore, level: int = 3) -> Courier:
    """For this exchange."""
    return Courier(store, exchange.disk, level)


def proven(store: ObjectStore) -> restore.Proof:
    """A walk through the only backup."""
    current = restore.choose(store)
    return restore.prove(store, current, begin=restore.needed_snapshot(current))


# Copying --------------------------------------------------------------------------------------------------------------


def test_a_backup_replays_to_the_state_that_was_copied() -> None:
    """All that was sealed: every record, every check, the same state hash."""
    exchange, store = sealed_exchange(4), memory()
    current = exchange.back_up(store)
    proof = proven(store)
    assert proof.engine.state_hash() == exchange.engine.state_hash()
    assert (proof.last_seq, proof.records, proof.last_time_ns) == (
        exchange.last_seq,
        exchange.last_seq,
        exchange.time_ns,
    )
    assert proof.checks == 5 + 3 * 5
    assert proof.chain == segments(exchange.disk)[-1].header.previous_chain
    assert restore.choose(store) == current


def test_a_second_run_does_nothing_twice() -> None:
    """What is there is not put again; what came since is added."""
    exchange, store = sealed_exchange(2), FlakyStore()
    first = exchange.back_up(store)
    store.calls.clear()
    assert exchange.back_up(store) == first
    assert [call for call in store.calls if call.startswith("put")] == []
    exchange.trade()
    exchange.seal()
    second = exchange.back_up(store)
    assert second.segments[:2] == first.segments
    assert len([call for call in store.calls if call.startswith("put") and "manifests" not in call]) == 1


def test_a_target_that_goes_down_anywhere_leaves_a_sound_backup() -> None:
    """Before every single request of a run: what the manifest names is there, and the next run goes on from it."""
    requests = FlakyStore()
    exchange = sealed_exchange(4)
    exchange.back_up(requests)
    for fail_at in range(len(requests.calls)):
        store = FlakyStore()
        store.fail_at = fail_at
        with pytest.raises(TargetFailed):
            exchange.back_up(store)
        store.fail_at, store.is_down = None, False
        if backup.manifests(store):
            assert proven(store).last_seq > 0
        exchange.back_up(store)
        assert proven(store).engine.state_hash() == exchange.engine.state_hash()


def test_what_is_not_kept_as_it_was_put_is_not_in_the_manifest() -> None:
    """Every object is read back."""

    class Forgetful(FlakyStore):
        def get(self, name: str, **_: object) -> bytes:
            return super().get(name)[:-1] if name.endswith(".zst") else super().get(name)

    exchange, store = sealed_exchange(2), Forgetful()
    with pytest.raises(TargetFailed, match="is not there as it was put"):
        exchange.back_up(store)
    assert backup.manifests(store) == []


def test_rot_in_the_log_is_found_and_not_copied() -> None:
    """The segment is named; the target gets nothing of it."""
    exchange, store = sealed_exchange(3), memory()
    local = segments(exchange.disk)
    exchange.disk.rot(local[1].path, 5000)
    with pytest.raises(Damaged, match=local[1].path):
        exchange.back_up(store)
    assert proven(store).manifest.segments[-1].number == 1


def test_only_what_is_sealed_and_continued_is_copied() -> None:
    """An open segment is damaged where a sealed one should be; so is one that its successor does not continue."""
    exchange = sealed_exchange(3)
    first, second, third, last = segments(exchange.disk)
    exchange.trade()
    courier = courier_of(exchange, memory())
    with pytest.raises(Damaged, match="without its seal"):
        courier.copy_segment(last, last)
    with pytest.raises(Damaged, match="does not continue it"):
        courier.copy_segment(first, third)
    assert courier.copy_segment(first, second).next_seq == second.header.first_seq


def test_what_a_sealed_segment_left_unused_is_not_copied() -> None:
    """The zeros behind the seal, cut already or not."""
    exchange, store = sealed_exchange(2), memory()
    size = exchange.disk.size(segments(exchange.disk)[0].path)
    exchange.disk.overwrite(segments(exchange.disk)[0].path, size, bytes(4096))
    copy = exchange.back_up(store).segments[0]
    raw = backup.fetch(store, copy.object)
    assert len(raw) == copy.object.size < 16 * 1024
    assert raw[-1:] == b"\n"


def test_levels_differ_in_size_only() -> None:
    """What is in an object, and so its name, is the same."""
    exchange = sealed_exchange(2)
    first, second = segments(exchange.disk)[:2]
    quick, small = (courier_of(exchange, memory(), level).copy_segment(first, second) for level in (1, 19))
    assert quick.object.name == small.object.name
    assert quick.object.digest == small.object.digest


# What the target has lost ---------------------------------------------------------------------------------------------


def lose(store: FlakyStore, name: str) -> None:
    """Let an object be gone."""
    store.inner._store.delete(name)


def test_what_the_target_has_lost_is_copied_again() -> None:
    """A segment from the log; a snapshot is left to the next one that is copied."""
    exchange, store = sealed_exchange(3), FlakyStore()
    exchange.snapshot()
    current = exchange.back_up(store)
    assert len(current.snapshots) == 1
    courier, local = courier_of(exchange, store), segments(exchange.disk)
    assert courier.mended(current, local) == current
    lose(store, current.segments[1].object.name)
    lose(store, current.snapshots[0].object.name)
    assert len(courier.lost(current)) == 2
    mended = courier.mended(current, local)
    assert (mended.segments, mended.snapshots) == (current.segments, ())
    assert courier.lost(mended) == []


def test_what_the_log_does_not_have_either_is_told() -> None:
    """By its name: somebody has to find it."""
    exchange, store = sealed_exchange(3), FlakyStore()
    current = exchange.back_up(store)
    lose(store, current.segments[0].object.name)
    with pytest.raises(BadBackup, match="missing, and the log does not have it any more") as refusal:
        courier_of(exchange, store).mended(current, segments(exchange.disk)[1:])
    assert refusal.value.name == current.segments[0].object.name


# Rot ------------------------------------------------------------------------------------------------------------------


def test_one_flipped_byte_anywhere_is_refused_and_its_object_named() -> None:
    """In the manifest, in every segment, in a snapshot; at places all over them."""
    exchange, store, random = sealed_exchange(3), memory(), Random(1)
    exchange.snapshot()
    current = exchange.back_up(store)
    names = all_objects(current)
    assert len(names) == 5
    for name in names:
        size = len(store.get(name))
        places = {0, size - 1, *(random.randrange(size) for _ in range(count(20, 2_000)))}
        for place in places:
            mask = 1 << random.randrange(8)
            flip(store, name, place, mask)
            with pytest.raises(BadBackup) as refusal:
                proven(store)
            assert refusal.value.name == name
            assert name in str(refusal.value)
            flip(store, name, place, mask)
    assert proven(store).snapshots == 1


def test_a_missing_object_is_named() -> None:
    """Each in its turn; the manifest itself is simply not there."""
    exchange, store = sealed_exchange(2), FlakyStore()
    exchange.snapshot()
    current = exchange.back_up(store)
    for stored in current.objects():
        data = store.get(stored.name)
        lose(store, stored.name)
        with pytest.raises(BadBackup, match="it is missing") as refusal:
            proven(store)
        assert refusal.value.name == stored.name
        store.put(stored.name, data)
    lose(store, current.name)
    with pytest.raises(NoBackupError):
        proven(store)


def test_objects_that_changed_places_are_refused() -> None:
    """Though each is a sound one."""
    exchange, store = sealed_exchange(3), memory()
    first, second = (copy.object.name for copy in exchange.back_up(store).segments[:2])
    one, other = store.get(first), store.get(second)
    store.put(first, other)
    store.put(second, one)
    with pytest.raises(BadBackup) as refusal:
        proven(store)
    assert refusal.value.name == first


def test_a_manifest_that_lies_is_found_by_the_walk() -> None:
    """One whose digests are right for other bytes than those of the log: the chain, the checks, the headers tell."""
    exchange, store = sealed_exchange(3), memory()
    current = exchange.back_up(store)
    first, second, third = current.segments
    courier = courier_of(exchange, store)
    raw = backup.fetch(store, second.object)
    rotten = bytearray(raw)
    rotten[5000] ^= 1
    forged = courier.deposit("forged/rot", bytes(rotten))
    cut = courier.deposit("forged/cut", raw[:4096])
    for segment, what in (
        (msgspec.structs.replace(second, object=forged), "offset"),
        (msgspec.structs.replace(second, object=cut), "does not end with its seal"),
        (msgspec.structs.replace(second, object=first.object), "under another name"),
        (msgspec.structs.replace(second, chain="0" * 32), "another segment than the manifest says"),
    ):
        lie = msgspec.structs.replace(current, segments=(first, segment, third))
        courier.save(lie)
        with pytest.raises(BadBackup, match=what) as refusal:
            proven(store)
        assert refusal.value.name == segment.object.name


# Which one ------------------------------------------------------------------------------------------------------------


def test_a_target_may_have_several_backups() -> None:
    """Of several exchanges, where one must be named, and of several epochs, where the last one counts."""
    store = memory()
    with pytest.raises(NoBackupError, match="has no backup"):
        restore.choose(store)
    one = sealed_exchange(2)
    first = one.back_up(store)
    assert restore.choose(store) == first
    courier_of(one, store).save(later := Manifest(first.exchange_id, 2, 0, first.segments[:1]))
    assert restore.choose(store) == later
    assert restore.choose(store, epoch=1) == first
    with pytest.raises(NoBackupError, match="no such backup; it has"):
        restore.choose(store, epoch=3)
    other = Manifest("f" * 32, 1, 0)
    courier_of(one, store).save(other)
    with pytest.raises(NoBackupError, match=f"name one: .*{'f' * 32}"):
        restore.choose(store)
    assert restore.choose(store, "f" * 32) == other
    assert restore.choose(store, first.exchange_id) == later


def test_a_backup_of_nothing_is_refused() -> None:
    """A manifest without segments cannot be walked through, nor restored."""
    exchange = LoggedExchange()
    store = memory()
    courier_of(exchange, store).save(Manifest(exchange.exchange_id, 1, 0))
    with pytest.raises(BadBackup, match="no segment in it"):
        proven(store)
    assert open_log(exchange.disk).next_seq == 1

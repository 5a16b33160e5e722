"""The operators' audit trail: every entry outlives a power cut, a full disk refuses before anything is done."""

from random import Random

import pytest

from actors.audit import ENTRY_BYTES, FILE_BYTES, FOLDER, AuditEntry, AuditTrail
from persistence.exits import NoSpace
from tests.simulation.disk import SimulatedDisk
from tests.simulation.world import Inline


def entry(number: int, **params: object) -> AuditEntry:
    """One call."""
    return AuditEntry(number, 1000, 42, "market.halt", {"symbol": "BTC-USDT", **params}, "done")


def trail(disk: SimulatedDisk) -> AuditTrail:
    """As a new process opens it."""
    return AuditTrail(disk, Inline(disk))


async def record(audit: AuditTrail, *entries: AuditEntry) -> None:
    """As the admin does."""
    for each in entries:
        await audit.make_room()
        await audit.record(each)


async def test_entries_are_kept_over_restarts() -> None:
    """In order, the newest last."""
    disk = SimulatedDisk()
    assert await trail(disk).tail(10) == []
    await record(trail(disk), entry(1), entry(2))
    await record(trail(disk), entry(3))
    assert await trail(disk).tail(2) == [entry(2), entry(3)]
    assert await trail(disk).tail(10) == [entry(1), entry(2), entry(3)]


async def test_a_full_file_is_followed_by_another() -> None:
    """Nothing is lost between them, and the tail reads over the border."""
    disk = SimulatedDisk()
    audit = trail(disk)
    many = [entry(number, filler="x" * 3_000) for number in range(FILE_BYTES // 3_000 + 5)]
    await record(audit, *many)
    assert disk.list(FOLDER) == ["00000001.jsonl", "00000002.jsonl"]
    assert disk.size(f"{FOLDER}/00000001.jsonl") < FILE_BYTES
    assert await trail(disk).tail(1000) == many
    await record(trail(disk), entry(9))
    assert (await trail(disk).tail(2))[-1] == entry(9)


async def test_a_long_entry_is_cut() -> None:
    """What operators send has no bound of its own."""
    disk = SimulatedDisk()
    await record(trail(disk), entry(1, filler="x" * ENTRY_BYTES))
    (kept,) = await trail(disk).tail(1)
    assert kept.call == "market.halt"
    assert list(kept.params) == ["cut"]


async def test_without_room_nothing_is_begun() -> None:
    """The call is refused before it is made."""
    disk = SimulatedDisk(capacity_bytes=FILE_BYTES // 2)
    with pytest.raises(NoSpace):
        await trail(disk).make_room()


async def test_what_was_recorded_survives_a_power_cut() -> None:
    """An entry that was answered is there, whatever became of the one behind it, and the next can be written."""
    for seed in range(20):
        disk = SimulatedDisk()
        await record(trail(disk), entry(1), entry(2))
        file = disk.open(f"{FOLDER}/00000001.jsonl")
        end = len(disk.read(f"{FOLDER}/00000001.jsonl").rstrip(b"\0"))
        file.write_at(end, b'{"time":3,"uid"')
        file.close()
        disk.crash(Random(seed))
        audit = trail(disk)
        await record(audit, entry(4))
        assert await audit.tail(10) == [entry(1), entry(2), entry(4)]

"""Whose log a data folder holds, and what else may be found there from an earlier life."""

import pytest

from book.commands import Tick
from persistence import offline
from persistence.codec import encode_command
from persistence.exits import Damaged
from persistence.recovery import PREALLOCATED
from persistence.reqlog import Reqlog, ReqlogConfig
from persistence.segments import IDENTITY, segments
from tests.simulation.disk import SimulatedDisk

SMALL = ReqlogConfig(segment_bytes=16 * 1024)


def opened(disk: SimulatedDisk, entropy: bytes = b"e") -> Reqlog:
    """The log on this disk, with randomness that is always the same."""
    return Reqlog.open(disk, SMALL, engine_version=1, entropy=lambda count: entropy * count, time_ns=1)


def written(disk: SimulatedDisk, rolls: int = 1) -> None:
    """A log with a record in each of some segments."""
    log = opened(disk)
    for number in range(rolls + 1):
        log.append([encode_command(number, Tick())], count=1, time_ns=number)
        if number < rolls:
            log.roll(time_ns=number)


def test_a_log_that_is_gone_is_missed() -> None:
    """Without its segments the folder is not taken for a new one, and nothing in it changes."""
    disk = SimulatedDisk()
    written(disk)
    for segment in segments(disk):
        disk.remove(segment.path)
    before = disk.image()
    with pytest.raises(Damaged, match="is gone"):
        opened(disk)
    assert disk.image() == before
    assert offline.verify(disk).damage is not None


def test_the_log_of_another_exchange_is_refused() -> None:
    """Segments that belong to another folder are told apart."""
    mine, other = SimulatedDisk(), SimulatedDisk()
    written(mine, rolls=0)
    opened(other, b"o")
    path = segments(mine)[0].path
    mine.overwrite(path, 0, other.read(path))
    with pytest.raises(Damaged, match="belongs to exchange"):
        opened(mine)


def test_an_identity_that_is_none_is_refused() -> None:
    """Rubbish in the file is damage, not another exchange."""
    disk = SimulatedDisk()
    written(disk)
    disk.overwrite(IDENTITY, 0, b"xyz")
    with pytest.raises(Damaged, match="in hex"):
        opened(disk)


def test_a_log_begun_before_its_identity_was_written_gets_it() -> None:
    """A crash between the two leaves a log that goes on."""
    disk = SimulatedDisk()
    written(disk)
    disk.remove(IDENTITY)
    identity = opened(disk).exchange_id
    assert disk.read(IDENTITY) == identity.hex().encode() + b"\n"


def test_room_with_something_in_it_is_made_anew() -> None:
    """What an earlier life prepared is used only if it is as it was made."""
    disk = SimulatedDisk()
    written(disk)
    log = opened(disk)
    log.prepare_next()
    disk.rot(PREALLOCATED, 9_000)
    log = opened(disk)
    log.roll(time_ns=9)
    log.append([encode_command(9, Tick())], count=1, time_ns=9)
    assert offline.verify(disk).damage is None
    assert disk.read(segments(disk)[-1].path)[9_000] == 0


@pytest.mark.parametrize("damage", ["flip", "remove"])
def test_what_is_sound_before_a_bad_header(damage: str) -> None:
    """Damage in a later segment's header leaves what is before it sound, and verify says up to where."""
    disk = SimulatedDisk()
    written(disk, rolls=3)
    victim = segments(disk)[2].path
    if damage == "flip":
        disk.rot(victim, 20)
    else:
        disk.remove(victim)
    found = offline.verify(disk).damage
    assert found is not None
    assert found.sound_seq == 2

"""The disk: what each operation promises, of the real one and of the simulated one."""

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NoReturn

import pytest

from persistence.exits import Exit, InUse, NoSpace, Unreadable
from persistence.storage import Disk, RealDisk, lock
from tests.simulation.disk import Fault, PowerCut, SimulatedDisk, power_cut


@pytest.fixture(params=["real", "simulated"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    """Both disks, under one suite."""
    made: Disk = RealDisk(str(tmp_path), power_cut) if request.param == "real" else SimulatedDisk()
    made.make_folder("log")
    return made


def test_what_is_written_in_place_is_read_back(disk: Disk) -> None:
    """A write goes where it is told and leaves the rest of the zeroed file alone."""
    disk.create_zeroed("log/a", 10_000)
    file = disk.open("log/a")
    file.write_at(4096, b"hello")
    file.write_at(4100, b"O!")
    file.datasync()
    file.close()
    assert disk.read("log/a") == bytes(4096) + b"hellO!" + bytes(10_000 - 4102)
    assert disk.read("log/a", 4096, 4) == b"hell"
    assert disk.read("log/a", 9_999, 100) == b"\0"
    assert disk.size("log/a") == 10_000


def test_writing_behind_the_end_makes_the_file_longer(disk: Disk) -> None:
    """What lies between the old end and the new bytes is zero."""
    disk.write_file("log/a", b"abc")
    file = disk.open("log/a")
    file.write_at(6, b"x")
    file.datasync()
    file.close()
    assert disk.read("log/a") == b"abc\0\0\0x"


def test_a_small_file_is_replaced_whole(disk: Disk) -> None:
    """write_file leaves the new content and no temporary file."""
    disk.write_file("log/a", b"first, and longer")
    disk.write_file("log/a", b"second")
    assert disk.read("log/a") == b"second"
    assert disk.list("log") == ["a"]


def test_names_are_listed_renamed_and_removed(disk: Disk) -> None:
    """A rename replaces; a missing folder has no names."""
    for name in ("log/b", "log/a", "log/c"):
        disk.write_file(name, name.encode())
    disk.rename("log/c", "log/a")
    disk.remove("log/b")
    disk.sync_folder("log")
    assert disk.list("log") == ["a"]
    assert disk.read("log/a") == b"log/c"
    assert disk.list("elsewhere") == []
    assert (disk.exists("log/a"), disk.exists("log/b"), disk.exists("log")) == (True, False, True)


def test_a_file_is_cut_down(disk: Disk) -> None:
    """Truncating keeps the front."""
    disk.write_file("log/a", b"front and back")
    disk.truncate("log/a", 5)
    assert disk.read("log/a") == b"front"


def test_zeroing_replaces_what_was_there(disk: Disk) -> None:
    """A prepared file holds zeros only, whatever had its name."""
    disk.write_file("log/a", b"old" * 10)
    disk.create_zeroed("log/a", 5)
    assert disk.read("log/a") == bytes(5)


def test_a_missing_file_is_unreadable(disk: Disk) -> None:
    """Reading what is not there stops with exit code 3 and names it."""
    with pytest.raises(Unreadable, match="log/none") as caught:
        disk.read("log/none")
    assert caught.value.exit_code is Exit.DATA_DAMAGED
    with pytest.raises(Unreadable, match="log/none"):
        disk.size("log/none")


def test_opening_a_missing_file_for_writing_is_fatal(disk: Disk) -> None:
    """Whoever writes has made the file before, so a missing one means a broken disk."""
    with pytest.raises(PowerCut, match="log/none") as caught:
        disk.open("log/none")
    assert caught.value.code == Exit.DISK_FAILED


def test_free_space_is_a_number_of_bytes(disk: Disk) -> None:
    """There is some."""
    assert disk.free_space() > 1_000_000


# The real disk's errors, made by the operating system's calls failing -------------------------------------------------


def failing(number: int) -> object:
    """A system call that always fails."""

    def call(*_: object, **__: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return call


def denied(path: object, *_: object, **__: object) -> NoReturn:
    """A system call that is not permitted on this path."""
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_failed_write_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """EIO and ENOSPC on an append end the process with code 5, naming file and error."""
    disk = RealDisk(str(tmp_path), power_cut)
    disk.create_zeroed("a", 4096)
    file = disk.open("a")
    monkeypatch.setattr(os, "pwrite", failing(number))
    with pytest.raises(PowerCut, match=f"writing a: {errno.errorcode[number]}") as caught:
        file.write_at(0, b"x")
    assert caught.value.code == Exit.DISK_FAILED
    file.close()


def test_a_failed_sync_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync that fails ends the process with code 5: a second one would lie."""
    disk = RealDisk(str(tmp_path), power_cut)
    disk.create_zeroed("a", 4096)
    file = disk.open("a")
    monkeypatch.setattr(os, "fdatasync", failing(errno.EIO))
    with pytest.raises(PowerCut, match="syncing a: EIO") as caught:
        file.datasync()
    assert caught.value.code == Exit.DISK_FAILED
    file.close()


def test_a_short_write_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may write less than asked; the rest follows at the right place."""
    disk = RealDisk(str(tmp_path), power_cut)
    disk.create_zeroed("a", 16)
    file = disk.open("a")
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: whole(descriptor, data[:3], offset))
    file.write_at(2, b"0123456789")
    file.close()
    assert disk.read("a") == b"\0\0" + b"0123456789" + bytes(4)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_for_a_prepared_file_is_no_disaster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A full disk or quota raises NoSpace and leaves no half-made file."""
    disk = RealDisk(str(tmp_path), power_cut)
    monkeypatch.setattr(os, "fsync", failing(number))
    with pytest.raises(NoSpace, match="no room"):
        disk.create_zeroed("a", 4096)
    assert disk.list("") == []


def test_another_error_while_preparing_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a lack of room may pass."""
    disk = RealDisk(str(tmp_path), power_cut)
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(PowerCut, match="preparing a: EIO"):
        disk.create_zeroed("a", 4096)


def test_a_file_that_may_not_be_read_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permission denied and EIO on reading stop with clear words, nothing changed."""
    disk = RealDisk(str(tmp_path), power_cut)
    disk.write_file("a", b"x")
    monkeypatch.setattr(Path, "open", failing(errno.EACCES))
    with pytest.raises(Unreadable, match=r"cannot read .*a: Permission denied"):
        disk.read("a")


@pytest.mark.parametrize(
    ("operate", "culprit"),
    [
        (lambda disk: disk.make_folder("file"), "file"),
        (lambda disk: disk.make_folder("file/folder"), "file"),
        (lambda disk: disk.make_folder("link"), "link"),
        (lambda disk: disk.list("file"), "file"),
        (lambda disk: disk.size("file/a"), "file/a"),
        (lambda disk: disk.read("folder"), "folder"),
        (lambda disk: disk.open("folder"), "folder"),
        (lambda disk: disk.create_zeroed("folder", 8), "folder"),
        (lambda disk: disk.write_file("folder", b"x"), "folder"),
        (lambda disk: disk.truncate("folder", 0), "folder"),
        (lambda disk: disk.rename("file", "folder"), "folder"),
        (lambda disk: disk.sync_folder("file"), "file"),
    ],
)
def test_what_is_in_the_way_is_named_and_left_alone(
    tmp_path: Path, operate: Callable[[Disk], object], culprit: str
) -> None:
    """A file where a folder belongs, or the reverse, is nothing against the disk: code 3, and what to do about it."""
    (tmp_path / "file").write_text("precious")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(Unreadable, match=rf"{tmp_path}/{culprit}: .* belongs; move (it|that) elsewhere$"):
        operate(RealDisk(str(tmp_path), power_cut))
    assert (tmp_path / "file").read_text() == "precious"
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_file_that_may_not_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing was written yet, a wrong mode is nothing against the disk either."""
    disk = RealDisk(str(tmp_path), power_cut)
    disk.write_file("a", b"x")
    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(Unreadable, match=rf"^cannot use {tmp_path}/a: Permission denied; check its owner and mode$"):
        disk.open("a")


# The lock -------------------------------------------------------------------------------------------------------------

HOLD = "import sys; from persistence.storage import lock; held = lock(sys.argv[1]); print(); sys.stdin.read()"


def test_the_second_process_on_a_data_folder_is_refused(tmp_path: Path) -> None:
    """InUse names the holder, and the folder is free again once that process is killed."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(InUse, match=f"process {holder.pid}") as caught:
            lock(str(tmp_path))
        assert caught.value.exit_code is Exit.IN_USE
        holder.kill()
        holder.wait()
    with lock(str(tmp_path)):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_the_lock_does_not_go_to_children(tmp_path: Path) -> None:
    """The descriptor closes on exec, so that a child that lives on does not hold the folder."""
    with lock(str(tmp_path)) as held:
        assert fcntl.fcntl(held._descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file in the way, above it or in its lock's place is a clear line, not a traceback."""
    (tmp_path / "file").write_text("")
    (tmp_path / "folder" / "lock").mkdir(parents=True)
    for root, culprit in (("file", "file"), ("file/folder", "file/folder"), ("folder", "folder/lock")):
        with pytest.raises(Unreadable, match=f"^cannot use {tmp_path}/{culprit}: .* belongs; move .* elsewhere$"):
            lock(str(tmp_path / root))


# What only the simulated disk does ------------------------------------------------------------------------------------


def test_a_power_cut_keeps_what_was_synced_and_any_part_of_the_rest() -> None:
    """Synced sectors always survive; unsynced ones sometimes, each on its own."""
    seen = set()
    for seed in range(60):
        disk = SimulatedDisk()
        disk.create_zeroed("a", 2048)
        disk.sync_folder("")
        file = disk.open("a")
        file.write_at(0, b"s" * 512)
        file.datasync()
        file.write_at(512, b"u" * 1024)
        disk.crash(Random(seed))
        data = disk.read("a")
        assert data[:512] == b"s" * 512
        assert data[1536:] == bytes(512)
        seen.add((data[512:513], data[1024:1025]))
    assert seen == {(b"\0", b"\0"), (b"u", b"\0"), (b"\0", b"u"), (b"u", b"u")}


def test_a_power_cut_may_lose_unsynced_names_but_only_the_latest() -> None:
    """Renames that no folder sync followed are lost from the end."""
    seen = set()
    for seed in range(40):
        disk = SimulatedDisk()
        disk.create_zeroed("a", 8)
        disk.sync_folder("")
        disk.rename("a", "b")
        disk.rename("b", "c")
        disk.crash(Random(seed))
        seen.add(tuple(disk.list("")))
    assert seen == {("a",), ("b",), ("c",)}


def test_a_lying_sync_loses_what_it_promised() -> None:
    """Not even a later, honest sync brings back what a lying one dropped."""
    survivors = set()
    for seed in range(40):
        disk = SimulatedDisk()
        disk.create_zeroed("a", 1024)
        disk.sync_folder("")
        file = disk.open("a")
        disk.arm(Fault.LYING_SYNC)
        file.write_at(0, b"x")
        file.datasync()
        file.write_at(512, b"y")
        file.datasync()
        disk.crash(Random(seed))
        survivors.add(disk.read("a", 0, 1))
        assert disk.read("a", 512, 1) == b"y"
    assert survivors == {b"\0", b"x"}


@pytest.mark.parametrize("fault", [Fault.WRITE_ERROR, Fault.SHORT_WRITE, Fault.NO_SPACE_APPENDING, Fault.SYNC_ERROR])
def test_an_armed_fault_strikes_once_in_its_turn(fault: Fault) -> None:
    """It hits the operation it was armed for, ends the process, and is counted."""
    disk = SimulatedDisk()
    disk.create_zeroed("a", 1024)
    file = disk.open("a")
    disk.arm(fault, after=1)
    file.write_at(0, b"first")
    file.datasync()
    with pytest.raises(PowerCut) as caught:  # noqa: PT012 - each fault strikes one of the two
        file.write_at(8, b"second")
        file.datasync()
    assert caught.value.code == Exit.DISK_FAILED
    assert disk.hits == {fault.value: 1}


def test_a_full_simulated_disk_refuses_room_ahead() -> None:
    """Capacity counts; and so does the armed fault."""
    disk = SimulatedDisk(capacity_bytes=1000)
    disk.create_zeroed("a", 600)
    with pytest.raises(NoSpace):
        disk.create_zeroed("b", 600)
    disk.arm(Fault.NO_SPACE_PREALLOCATING)
    with pytest.raises(NoSpace):
        disk.create_zeroed("b", 1)
    assert disk.list("") == ["a"]


def test_a_copy_of_a_disk_goes_its_own_way() -> None:
    """Writing to one leaves the other as it was, durable part included."""
    disk = SimulatedDisk()
    disk.create_zeroed("a", 8)
    disk.sync_folder("")
    other = disk.copy()
    other.overwrite("a", 0, b"changed!")
    other.crash(Random(0))
    assert other.image() == {"a": b"changed!"}
    assert disk.image() == {"a": bytes(8)}

"""A disk in memory that does to its files whatever a real one may do, when told to.

What was written is in the page cache until it is synced: `crash` cuts the power, and of every unsynced file any subset
of 512-byte sectors stays, of the unsynced names a prefix of what was done to them. A `crash` after `cut_power_in` is a
power cut at any moment of an operation. Faults are armed one by one, and counted when they hit.
"""

import enum
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Final, NoReturn, Self

from attrs import define, field, frozen

from persistence.exits import Exit, NoSpace, Unreadable

SECTOR_BYTES: Final = 512

# Making room is cut into steps of this size, so that a power cut can find it half done.
_ZERO_STEP: Final = 64 * 1024


class PowerCut(BaseException):
    """The process is gone, by a failed disk or by the plug. Nothing of it may run on."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"exit {code}: {message}")
        self.code = code
        self.message = message


def power_cut(code: int, message: str) -> NoReturn:
    """The simulation's `die`."""
    raise PowerCut(code, message)


class Fault(enum.Enum):
    """What the disk can do to one operation."""

    WRITE_ERROR = "EIO on write"
    SHORT_WRITE = "short write, then EIO"
    NO_SPACE_APPENDING = "ENOSPC appending"
    NO_SPACE_PREALLOCATING = "ENOSPC preallocating"
    SYNC_ERROR = "fsync error"
    LYING_SYNC = "sync that keeps nothing"
    READ_ERROR = "EIO on read"


@define(eq=False)
class _File:
    """One file's contents: as the program sees them, and as they survive a power cut."""

    cached: bytearray = field(factory=bytearray)
    durable: bytearray = field(factory=bytearray)
    dirty: set[int] = field(factory=set)  # sectors that the next sync keeps
    betrayed: set[int] = field(factory=set)  # sectors that a lying sync has promised to have kept

    def write(self, offset: int, data: bytes) -> None:
        self.cached.extend(bytes(max(0, offset + len(data) - len(self.cached))))
        self.cached[offset : offset + len(data)] = data
        self.dirty.update(range(offset // SECTOR_BYTES, -(-(offset + len(data)) // SECTOR_BYTES)))

    def sync(self) -> None:
        self._keep(self.dirty, len(self.cached))
        self.dirty.clear()

    def crash(self, random: Random) -> None:
        unsafe = sorted(self.dirty | self.betrayed)
        share = random.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        self._keep({sector for sector in unsafe if random.random() < share}, random.choice(self._sizes()))
        self.cached = bytearray(self.durable)
        self.dirty.clear()
        self.betrayed.clear()

    def _sizes(self) -> tuple[int, int]:
        return len(self.durable), len(self.cached)

    def _keep(self, sectors: set[int], size: int) -> None:
        del self.durable[size:]
        self.durable.extend(bytes(size - len(self.durable)))
        for sector in sectors:
            begin = sector * SECTOR_BYTES
            self.durable[begin : begin + SECTOR_BYTES] = self.cached[begin : min(begin + SECTOR_BYTES, size)]
        del self.durable[size:]

    def copy(self) -> "_File":
        return _File(bytearray(self.cached), bytearray(self.durable), set(self.dirty), set(self.betrayed))


@frozen
class _NameChange:
    """What was done to a folder's names: created (no old), removed (no new) or renamed."""

    old: str | None
    new: str | None
    file: _File

    def apply(self, names: dict[str, _File]) -> None:
        if self.old is not None:
            names.pop(self.old, None)
        if self.new is not None:
            names[self.new] = self.file


class SimulatedFile:
    """A file of the simulated disk, open for writing in place."""

    def __init__(self, disk: "SimulatedDisk", path: str, file: _File) -> None:
        self._disk = disk
        self._path = path
        self._file = file

    def write_at(self, offset: int, data: bytes) -> None:
        """Write into the page cache."""
        self._disk.step(f"writing {self._path}")
        for fault in (Fault.WRITE_ERROR, Fault.NO_SPACE_APPENDING, Fault.SHORT_WRITE):
            if self._disk.hit(fault):
                if fault is Fault.SHORT_WRITE:
                    self._file.write(offset, data[: len(data) // 2])
                self._disk.die(Exit.DISK_FAILED, f"the disk failed writing {self._path}: {fault.value}")
        self._file.write(offset, data)

    def datasync(self) -> None:
        """Make what was written durable; a liar only says so."""
        self._disk.step(f"syncing {self._path}")
        self._disk.sync_file(self._path, self._file)

    def close(self) -> None:
        """Nothing is kept by closing."""


class SimulatedDisk:
    """Implements persistence.storage.Disk."""

    def __init__(self, die: Callable[[int, str], NoReturn] = power_cut, capacity_bytes: int | None = None) -> None:
        self.die = die
        self.capacity_bytes = capacity_bytes
        self.delay_seconds = 0.0
        """How long each blocking call takes; the simulation's runner sleeps so long."""
        self.hits: Counter[str] = Counter()
        """How often each fault happened, by name; crashes and rot included."""
        self.steps = 0
        """Operations so far that a power cut could have prevented."""
        self._names: dict[str, _File] = {}
        self._durable_names: dict[str, _File] = {}
        self._unsynced_names: list[_NameChange] = []
        self._folders = {""}
        self._armed: dict[Fault, int] = {}
        self._cut_in: int | None = None
        self._cut_before: str | None = None

    # What the simulation does to it -------------------------------------------------------------------------------

    def arm(self, fault: Fault, *, after: int = 0) -> None:
        """Let `fault` hit, once, the operation of its kind that comes after so many others."""
        self._armed[fault] = after

    def cut_power_in(self, steps: int) -> None:
        """Raise PowerCut instead of doing the step after so many others. `crash` decides what is left."""
        self._cut_in = steps

    def cut_power_before(self, doing: str, after: int = 0) -> None:
        """Raise PowerCut instead of a step whose words begin so: of the one that comes after so many others."""
        self._cut_before, self._cut_in = doing, after

    def spare(self) -> None:
        """Cut no power after all; what is armed does not strike."""
        self._cut_in = self._cut_before = None
        self._armed.clear()

    def crash(self, random: Random) -> None:
        """Cut the power: what was not synced is there in part or not at all, names included."""
        self.hits["power cut"] += 1
        if self._unsynced_names:
            self.hits["names lost or not in a power cut"] += 1
        for change in self._unsynced_names[: random.randint(0, len(self._unsynced_names))]:
            change.apply(self._durable_names)
        self._unsynced_names.clear()
        for file in self._durable_names.values():
            file.crash(random)
        self._names = dict(self._durable_names)
        self._cut_in = self._cut_before = None

    def rot(self, path: str, offset: int, mask: int = 1) -> None:
        """Flip bits of one byte that was safe."""
        self.hits["rot"] += 1
        self._names[path].cached[offset] ^= mask
        if offset < len(self._names[path].durable):
            self._names[path].durable[offset] ^= mask

    def overwrite(self, path: str, offset: int, data: bytes) -> None:
        """Put bytes there as if they had always been: stale, misplaced or doubled ones."""
        file = self._names[path]
        file.write(offset, data)
        file.sync()

    def image(self) -> dict[str, bytes]:
        """All files as the program sees them."""
        return {path: bytes(file.cached) for path, file in sorted(self._names.items())}

    def copy(self) -> Self:
        """Another disk with the same files; nothing armed."""
        files = [*self._names.values(), *self._durable_names.values(), *(c.file for c in self._unsynced_names)]
        twins = {id(file): file.copy() for file in files}
        other = type(self)(self.die, self.capacity_bytes)
        other._names = {path: twins[id(file)] for path, file in self._names.items()}
        other._durable_names = {path: twins[id(file)] for path, file in self._durable_names.items()}
        other._unsynced_names = [
            _NameChange(change.old, change.new, twins[id(change.file)]) for change in self._unsynced_names
        ]
        other._folders = set(self._folders)
        return other

    # Faults, asked for by the operations ---------------------------------------------------------------------------

    def step(self, doing: str) -> None:
        """Count one operation; the power may go before it."""
        self.steps += 1
        if self._cut_in is not None and doing.startswith(self._cut_before or ""):
            self._cut_in -= 1
            if self._cut_in < 0:
                self._cut_in = None
                raise PowerCut(-9, f"the power went before {doing}")

    def hit(self, fault: Fault) -> bool:
        """Whether the armed fault strikes now."""
        if fault not in self._armed:
            return False
        self._armed[fault] -= 1
        if self._armed[fault] >= 0:
            return False
        del self._armed[fault]
        self.hits[fault.value] += 1
        return True

    def sync_file(self, path: str, file: _File) -> None:
        """Sync, or fail, or lie."""
        if self.hit(Fault.SYNC_ERROR):
            self.die(Exit.DISK_FAILED, f"the disk failed syncing {path}: {Fault.SYNC_ERROR.value}")
        if self.hit(Fault.LYING_SYNC):
            file.betrayed |= file.dirty
            file.dirty.clear()
        file.sync()

    # persistence.storage.Disk -------------------------------------------------------------------------------------

    @property
    def root(self) -> str:
        """What messages call it."""
        return "SIMULATED"

    def make_folder(self, path: str) -> None:
        """Make a folder; durable at once."""
        self.step(f"making {path}")
        self._folders.add(path)

    def list(self, folder: str) -> list[str]:
        """Names in a folder."""
        return sorted(path.removeprefix(f"{folder}/") for path in self._names if path.rpartition("/")[0] == folder)

    def exists(self, path: str) -> bool:
        """Whether there is such a file or folder."""
        return path in self._names or path in self._folders

    def size(self, path: str) -> int:
        """Size in bytes."""
        return len(self._file(path).cached)

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read from the page cache."""
        if self.hit(Fault.READ_ERROR):
            raise Unreadable(f"cannot read {path}: {Fault.READ_ERROR.value}")
        end = None if length is None else offset + length
        return bytes(self._file(path).cached[offset:end])

    def open(self, path: str) -> SimulatedFile:
        """Open for writing."""
        if path not in self._names:
            self.die(Exit.DISK_FAILED, f"the disk failed opening {path}: there is no such file")
        return SimulatedFile(self, path, self._names[path])

    def create_zeroed(self, path: str, size: int) -> None:
        """Create a file of zeros, durable step by step; its name is not yet."""
        self.step(f"creating {path}")
        if self.hit(Fault.NO_SPACE_PREALLOCATING) or size > self.free_space():
            raise NoSpace(f"no room on the disk for the {size} bytes of {path}")
        file = _File()
        self._change(_NameChange(None, path, file))
        for begin in range(0, size, _ZERO_STEP):
            self.step(f"preparing {path}")
            file.write(begin, bytes(min(_ZERO_STEP, size - begin)))
            file.sync()

    def write_file(self, path: str, data: bytes) -> None:
        """Replace a small file in one durable step."""
        self.step(f"creating {path}.tmp")
        file = _File()
        self._change(_NameChange(None, f"{path}.tmp", file))
        self.step(f"writing {path}.tmp")
        if self.hit(Fault.WRITE_ERROR):
            self.die(Exit.DISK_FAILED, f"the disk failed writing {path}: {Fault.WRITE_ERROR.value}")
        file.write(0, data)
        self.step(f"syncing {path}.tmp")
        self.sync_file(path, file)
        self.rename(f"{path}.tmp", path)
        self.sync_folder(path.rpartition("/")[0])

    def truncate(self, path: str, size: int) -> None:
        """Cut a file down; durable."""
        self.step(f"cutting {path}")
        file = self._file(path)
        del file.cached[size:]
        file.dirty = {sector for sector in file.dirty if sector * SECTOR_BYTES < size}
        self.step(f"syncing {path}")
        self.sync_file(path, file)

    def rename(self, old: str, new: str) -> None:
        """Rename; durable once the folder is synced."""
        self.step(f"renaming {old}")
        self._change(_NameChange(old, new, self._names[old]))

    def remove(self, path: str) -> None:
        """Remove; durable once the folder is synced."""
        self.step(f"removing {path}")
        self._change(_NameChange(path, None, self._names[path]))

    def sync_folder(self, folder: str) -> None:
        """Make the names in a folder durable."""
        self.step(f"syncing the folder {folder}")
        if self.hit(Fault.SYNC_ERROR):
            self.die(Exit.DISK_FAILED, f"the disk failed syncing {folder}: {Fault.SYNC_ERROR.value}")
        for change in self._unsynced_names:
            if _folder_of(change) == folder:
                change.apply(self._durable_names)
        self._unsynced_names = [change for change in self._unsynced_names if _folder_of(change) != folder]

    def free_space(self) -> int:
        """Bytes left of the capacity."""
        used = sum(len(file.cached) for file in self._names.values())
        return max(0, self.capacity_bytes - used) if self.capacity_bytes is not None else 1 << 40

    def _change(self, change: _NameChange) -> None:
        change.apply(self._names)
        self._unsynced_names.append(change)

    def _file(self, path: str) -> _File:
        if path not in self._names:
            raise Unreadable(f"cannot read {path}: there is no such file")
        return self._names[path]


def _folder_of(change: _NameChange) -> str:
    return (change.new or change.old or "").rpartition("/")[0]

# ruff: noqa: D102 - what an operation promises is said once, in the protocols `Disk` and `WritableFile`
"""The disk as the rest of the program sees it: few operations, each of a stated durability, none that can half fail.

A failed write or sync is final. After one, the kernel may have dropped what it could not write and report success the
next time, so neither a retry nor a reply is honest: `die` is called and never returns (`os._exit` in production, a
power cut in the simulation). What may fail without harm raises instead: reading, a name that cannot be used
(`Unreadable`), and making room ahead (`NoSpace`).

Paths are relative to the data folder, with '/' between names. Calls block; who must not block runs them in a thread.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, NoReturn, Protocol, Self

from persistence.exits import Exit, InUse, NoSpace, Unreadable

Die = Callable[[int, str], NoReturn]

# Zeros are written and synced in steps, so that making room ahead never holds up the log's own small syncs for long.
_ZERO_STEP = 4 * 1024 * 1024

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

# What is wrong with a name, not with the disk, and what to do about it. Nothing was written when one of these comes.
_BAD_NAME: Final = {
    errno.EACCES: "Permission denied; check its owner and mode",
    errno.EISDIR: "it is a folder where a file belongs; move it elsewhere",
    errno.ENOTDIR: "it, or one above it, is a file where a folder belongs; move that elsewhere",
    errno.EEXIST: "it is something else where a folder belongs; move it elsewhere",
}


class WritableFile(Protocol):
    """A file open for writing in place."""

    def write_at(self, offset: int, data: bytes) -> None:
        """Write all of `data`; it may survive a power cut in any part until `datasync`."""

    def datasync(self) -> None:
        """Return once everything written before is on disk."""

    def close(self) -> None:
        """Let go of the file, without syncing."""


class Disk(Protocol):
    """The data folder. Only what is documented as synced survives a power cut for certain.

    A name that cannot be used, as that of a folder where a file belongs, raises Unreadable from every operation, with
    nothing changed.
    """

    @property
    def root(self) -> str:
        """The data folder as an operator would name it."""

    def make_folder(self, path: str) -> None:
        """Make a folder, and those above it, unless it exists; synced."""

    def list(self, folder: str) -> list[str]:
        """Names in the folder, sorted; none if there is no such folder. Raises Unreadable."""

    def exists(self, path: str) -> bool:
        """Whether there is such a file or folder. Raises Unreadable."""

    def size(self, path: str) -> int:
        """Size in bytes. Raises Unreadable."""

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """Up to `length` bytes (None: all) from `offset`; fewer only at the end of the file. Raises Unreadable."""

    def open(self, path: str) -> WritableFile:
        """Open an existing file for writing in place."""

    def create_zeroed(self, path: str, size: int) -> None:
        """Create a file of zeros, written and synced, not only reserved; replaces any other.

        Raises NoSpace, and then leaves no file. The name itself is safe only after `sync_folder`.
        """

    def write_file(self, path: str, data: bytes) -> None:
        """Create or replace a small file in one step: after a crash it is there whole, or as it was; synced."""

    def truncate(self, path: str, size: int) -> None:
        """Cut a file down to `size` bytes; synced."""

    def rename(self, old: str, new: str) -> None:
        """Rename, replacing `new`. Safe only after `sync_folder` of the folder."""

    def remove(self, path: str) -> None:
        """Remove a file. Safe only after `sync_folder`."""

    def sync_folder(self, folder: str) -> None:
        """Return once the names in the folder are on disk."""

    def free_space(self) -> int:
        """Bytes that can still be written."""


class RealFile:
    """A file of the operating system, open for writing in place."""

    __slots__ = ("_descriptor", "_die", "_path")

    def __init__(self, descriptor: int, path: str, die: Die) -> None:
        self._descriptor = descriptor
        self._path = path
        self._die = die

    def write_at(self, offset: int, data: bytes) -> None:
        rest = memoryview(data)
        with _Fatal(self._die, "writing", self._path):
            while rest:
                written = os.pwrite(self._descriptor, rest, offset)
                offset += written
                rest = rest[written:]

    def datasync(self) -> None:
        with _Fatal(self._die, "syncing", self._path):
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


class RealDisk:
    """The data folder on a file system."""

    def __init__(self, root: str, die: Die) -> None:
        self._root = Path(root).resolve()
        self._die = die

    @property
    def root(self) -> str:
        return str(self._root)

    # Reading. What cannot be read stops the program, with nothing changed.

    def list(self, folder: str) -> list[str]:
        whole = self._root / folder
        with _Reading(whole):
            return sorted(path.name for path in whole.iterdir()) if whole.exists() else []

    def exists(self, path: str) -> bool:
        whole = self._root / path
        with _Reading(whole):
            return whole.exists()

    def size(self, path: str) -> int:
        whole = self._root / path
        with _Reading(whole):
            return whole.stat().st_size

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        whole = self._root / path
        with _Reading(whole), whole.open("rb", buffering=0) as file:
            file.seek(offset)
            if length is None:
                return file.readall()
            parts = []
            while length > 0 and (part := file.read(length)):
                parts.append(part)
                length -= len(part)
            return b"".join(parts)

    def free_space(self) -> int:
        with _Reading(self._root):
            facts = os.statvfs(self._root)
            return facts.f_bavail * facts.f_frsize

    # Writing. An error here is the end of the process.

    def make_folder(self, path: str) -> None:
        whole = self._root / path
        with self._fatal("making the folder", path):
            missing = [folder for folder in (whole, *whole.parents) if not folder.is_dir()]
            for folder in reversed(missing):
                folder.mkdir()
                _sync_folder(folder.parent)

    def open(self, path: str) -> WritableFile:
        with self._fatal("opening", path):
            return RealFile(os.open(self._root / path, os.O_WRONLY | os.O_CLOEXEC), path, self._die)

    def create_zeroed(self, path: str, size: int) -> None:
        whole = self._root / path
        with self._fatal("preparing", path):
            try:
                _write_zeros(whole, size)
            except OSError as error:
                if error.errno not in _NO_SPACE:
                    raise
                whole.unlink(missing_ok=True)
                raise NoSpace(f"no room on the disk for the {size} bytes of {whole}") from error

    def write_file(self, path: str, data: bytes) -> None:
        unfinished = f"{path}.tmp"
        self.write_unnamed(unfinished, data)
        self.rename(unfinished, path)
        self.sync_folder(path.rpartition("/")[0])

    def write_unnamed(self, path: str, data: bytes) -> None:
        """Create or replace a file, its bytes synced and its name not: what a rename is to follow."""
        with self._fatal("writing", path), (self._root / path).open("wb", buffering=0) as file:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())

    def truncate(self, path: str, size: int) -> None:
        with self._fatal("cutting", path), (self._root / path).open("rb+", buffering=0) as file:
            file.truncate(size)
            os.fsync(file.fileno())

    def rename(self, old: str, new: str) -> None:
        with self._fatal("renaming", old):
            (self._root / old).replace(self._root / new)

    def remove(self, path: str) -> None:
        with self._fatal("removing", path):
            (self._root / path).unlink()

    def sync_folder(self, folder: str) -> None:
        with self._fatal("syncing the folder", folder):
            _sync_folder(self._root / folder)

    def _fatal(self, doing: str, path: str) -> "_Fatal":
        return _Fatal(self._die, doing, path)


class _Fatal:
    """Around what changes the disk: an OSError inside, but for a bad name, is the end of the process."""

    __slots__ = ("_die", "_doing", "_path")

    def __init__(self, die: Die, doing: str, path: str) -> None:
        self._die = die
        self._doing = doing
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            if error.errno in _BAD_NAME:
                # A rename has two names, and it is the second one that something may stand in the way of.
                raise Unreadable(f"cannot use {error.filename2 or error.filename}: {_trouble(error)}") from error
            name = errno.errorcode.get(error.errno or 0, "unknown error")
            self._die(Exit.DISK_FAILED, f"the disk failed {self._doing} {self._path}: {name}, {error.strerror}")


class _Reading:
    """Around what only looks: an OSError inside becomes Unreadable."""

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            raise Unreadable(f"cannot read {self._path}: {_trouble(error)}") from error


def _trouble(error: OSError) -> str:
    """What is wrong, and what to do about it."""
    return _BAD_NAME.get(error.errno or 0, f"{error.strerror}; check its owner, mode and disk")


def _write_zeros(path: Path, size: int) -> None:
    zeros = bytes(min(size, _ZERO_STEP))
    with path.open("wb", buffering=0) as file:
        while size > 0:
            size -= file.write(zeros[:size])
            os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# The lock ------------------------------------------------------------------------------------------------------------


class Lock:
    """The data folder is this process's alone until `close`, or until it ends in any way."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def close(self) -> None:
        """Give the folder back."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def lock(root: str) -> Lock:
    """Take the data folder for this process, making the folder if there is none.

    The lock is flock's: it goes with the process however that ends, and CLOEXEC keeps it from children. The file's
    content is the holder's process id, for the message only. Raises InUse, or Unreadable if the folder cannot be used.
    """
    folder = Path(root)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, stat.S_IRUSR | stat.S_IWUSR)
    except OSError as error:
        raise Unreadable(f"cannot use {error.filename}: {_trouble(error)}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise InUse(f"the data folder {root} is in use by process {holder}") from None
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
    except OSError as error:
        os.close(descriptor)
        if error.errno in _NO_SPACE:
            raise NoSpace(f"no room on the disk for {folder / 'lock'}") from error
        raise Unreadable(f"cannot use {folder / 'lock'}: {_trouble(error)}") from error
    return Lock(descriptor)

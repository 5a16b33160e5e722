"""Small disks for the real program, which a test fills and empties; no privileges are needed.

`TmpfsDisk` is a file system of its own, in a mount namespace of this user's. Some machines, and most containers, allow
no such namespace. `RationedDisk` works anywhere: there the program runs under this module, which lets files grow only
up to a ration, and says ENOSPC beyond, as the system would.
"""

import errno
import io
import os
import runpy
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol, Self

BYTES: Final = 8 * 1024 * 1024
_ENTER: Final = 'cd "$0" && exec "$@"'
_MOUNT: Final = 'mount -t tmpfs -o size="$1" none "$2" && echo mounted && exec cat'


class SmallDisk(Protocol):
    """A disk of `BYTES` in all."""

    program: list[str]
    """The command that runs Tallystick on it."""

    def __init__(self, folder: Path) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def seen(self, path: Path) -> Path:
        """A path on the disk, as it is named outside of the program."""
        ...

    def fill(self) -> None:
        """Take all the room there is."""
        ...

    def free(self) -> None:
        """Give it back."""
        ...


class TmpfsDisk:
    """A tmpfs that is mounted where only its program sees it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _MOUNT, "sh", str(BYTES), str(folder)]
        self._holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self._holder.stdout is not None
        self.is_mounted = self._holder.stdout.readline() == b"mounted\n"
        enter = ("nsenter", "--target", str(self._holder.pid), "--user", "--mount", "--preserve-credentials")
        self.program = [*enter, "sh", "-c", _ENTER, str(Path.cwd()), sys.executable, "-m", "tallystick"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.communicate()

    def seen(self, path: Path) -> Path:
        """Through the namespace of the process that holds it."""
        return Path(f"/proc/{self._holder.pid}/root{path}")

    def fill(self) -> None:
        """A file that grows until there is no room."""
        with suppress(OSError), self.seen(self._folder / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(4096))

    def free(self) -> None:
        """Without the file."""
        self.seen(self._folder / "ballast").unlink()


class RationedDisk:
    """A folder whose files may not grow beyond a ration, which stands in a file beside it."""

    def __init__(self, folder: Path) -> None:
        self._ration = folder.with_suffix(".ration")
        self.program = [sys.executable, "-m", "tests.small_disk", str(folder), str(self._ration)]
        self.free()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def seen(self, path: Path) -> Path:
        """The same."""
        return path

    def fill(self) -> None:
        """No more than is there."""
        self._set(0)

    def free(self) -> None:
        """The whole disk."""
        self._set(BYTES)

    def _set(self, ration: int) -> None:
        unfinished = self._ration.with_suffix(".new")
        unfinished.write_text(str(ration))
        unfinished.replace(self._ration)


def can_mount() -> bool:
    """Whether this machine allows a `TmpfsDisk`."""
    try:
        with tempfile.TemporaryDirectory() as folder, TmpfsDisk(Path(folder)) as disk:
            return disk.is_mounted
    except FileNotFoundError:  # no unshare(1)
        return False


# The program under a ration -------------------------------------------------------------------------------------------


def _run_rationed(folder: Path, ration: Path) -> None:
    open_file = io.open

    class Rationed(io.FileIO):
        """A file on the small disk."""

        def write(self, data: Any) -> int:
            used = sum(file.stat().st_blocks for file in folder.rglob("*") if file.is_file()) * 512
            if used + len(data) > int(ration.read_text()):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    def open_rationed(file: Any, mode: str = "r", buffering: int = -1, *more: Any, **named: Any) -> Any:
        if buffering == 0 and "w" in mode and Path(file).is_relative_to(folder):
            return Rationed(file, mode)
        return open_file(file, mode, buffering, *more, **named)

    io.open = open_rationed  # what pathlib calls
    runpy.run_module("tallystick", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _, _folder, _ration, *_words = sys.argv
    sys.argv[1:] = _words
    _run_rationed(Path(_folder), Path(_ration))

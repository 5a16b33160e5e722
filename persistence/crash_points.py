"""Crash points: where a test may end the real program, on either side of each step that changes the disk.

Theory of operation
-------------------
What a crash leaves behind is decided by the steps that change the disk, so these are the places worth dying at. They
all go through the injected disk, or the injected target of backups; hence the points are not strewn over the program,
but are in a disk and a target of their own that stand in for the real ones when a point is armed, and are not there
otherwise. They tell by the operation, the file and the bytes which step of the program they are asked for; a step that
`STEPS` does not name is an error, so that a new durable step cannot go untested: the test that kills at each point
takes them from here.

A point is "before STEP" or "after STEP", and is armed as `TALLYSTICK_CRASH_AT="after sync frame"`, or with the number
of the time that counts: `"after sync frame:3"`. Then the process kills itself as `kill -9` would.
"""

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Self

from persistence import codec, manifest, snapshot
from persistence.codec import SealRecord, ShutdownRecord
from persistence.object_store import ObjectStore, Pace, no_pace
from persistence.recovery import PREALLOCATED
from persistence.segments import FOLDER, IDENTITY
from persistence.storage import Die, RealDisk, WritableFile

ENVIRONMENT: Final = "TALLYSTICK_CRASH_AT"

# Every step that changes the disk, in the order of a life.
STEPS: Final = (
    "make folder",
    "fill room",
    "name room",
    "sync name of room",
    "remove room",
    "write segment header",
    "sync segment header",
    "name segment",
    "sync name of segment",
    "write identity",
    "name identity",
    "sync name of identity",
    "write frame",
    "sync frame",
    "write idle frame",
    "sync idle frame",
    "write seal",
    "sync seal",
    "cut segment",
    "write shutdown",
    "sync shutdown",
    "write torn frame's bytes",
    "name torn frame's bytes",
    "sync name of torn frame's bytes",
    "zero torn frame",
    "sync zeroed frame",
    "take back successor",
    "sync recovered names",
    "sync recovered segment",
    "remove unfinished snapshot",
    "sync removal of unfinished snapshot",
    "begin snapshot",
    "write snapshot",
    "sync snapshot",
    "name snapshot",
    "sync name of snapshot",
    "remove snapshot",
    "sync removal of snapshot",
    "put copy",
    "put manifest",
    "remove segment",
    "sync removal of segment",
)

SIDES: Final = ("before", "after")
POINTS: Final = tuple(f"{side} {step}" for step in STEPS for side in SIDES)

_FILES: Final = {
    re.escape(IDENTITY): "identity",
    re.escape(PREALLOCATED): "room",
    rf"{FOLDER}/\d{{20}}\.log": "segment",
    rf"{FOLDER}/.*\.torn(\.\d+)?": "torn frame's bytes",
    rf"{snapshot.FOLDER}/\d{{20}}\.snap": "snapshot",
}


def kill_this_process() -> None:
    """End as `kill -9` does: nothing of this process runs afterwards."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_with_parent() -> None:
    """The same for a process that works for another one: both end, as if the step had been the other's."""
    os.kill(os.getppid(), signal.SIGKILL)
    kill_this_process()


class CrashPoints:
    """One armed point. Wherever a step is done, it is passed on both sides."""

    def __init__(self, point: str, time: int = 1, *, kill: Callable[[], None] = kill_this_process) -> None:
        """`kill` is called when `point` is passed for the time of this number. Raises ValueError for no point."""
        if point not in POINTS or time < 1:
            raise ValueError(
                f"there is no crash point {point!r} to pass for time {time}; they are: {', '.join(POINTS)}"
            )
        self._point = point
        self._times_left = time
        self._kill = kill
        self.passed: set[str] = set()
        """Every point that was passed so far."""

    @classmethod
    def armed_by(cls, words: str, *, kill: Callable[[], None] = kill_this_process) -> Self:
        """As the environment variable says it. Raises ValueError."""
        point, _, time = words.partition(":")
        return cls(point, int(time or 1), kill=kill)

    @contextmanager
    def around(self, step: str) -> Iterator[None]:
        """Do a step inside."""
        self._pass(f"before {step}")
        yield
        self._pass(f"after {step}")

    def _pass(self, point: str) -> None:
        if point not in POINTS:
            raise AssertionError(f"a step that changes the disk has no crash point: {point}; name it in STEPS")
        self.passed.add(point)
        if point == self._point:
            self._times_left -= 1
            if self._times_left == 0:
                self._kill()


class CrashingDisk(RealDisk):
    """The data folder, with a point on either side of each step."""

    def __init__(self, root: str, die: Die, points: CrashPoints) -> None:
        super().__init__(root, die)
        self._points = points
        # What the next sync of a folder is called.
        self._next_sync: dict[str, str] = {}

    def make_folder(self, path: str) -> None:
        """The folder."""
        with self._points.around("make folder"):
            super().make_folder(path)

    def open(self, path: str) -> WritableFile:
        """Opening changes nothing; what is written then does."""
        return CrashingFile(super().open(path), _file(path), self._points)

    def create_zeroed(self, path: str, size: int) -> None:
        """The next segment's room, or a file that is going to grow."""
        with self._points.around(f"{'fill' if size else 'begin'} {_file(path)}"):
            super().create_zeroed(path, size)

    def write_unnamed(self, path: str, data: bytes) -> None:
        """The first of three steps of `write_file`."""
        with self._points.around(f"write {_file(path)}"):
            super().write_unnamed(path, data)

    def truncate(self, path: str, size: int) -> None:
        """The zeros behind a seal."""
        with self._points.around(f"cut {_file(path)}"):
            super().truncate(path, size)

    def rename(self, old: str, new: str) -> None:
        """A new name, or the old one given back."""
        what = _file(new)
        is_taken_back = what == "room" and _file(old) == "segment"
        with self._points.around("take back successor" if is_taken_back else f"name {what}"):
            super().rename(old, new)
        self._next_sync[_folder(new)] = f"sync name of {what}"

    def remove(self, path: str) -> None:
        """A file that is not wanted any more."""
        what = f"unfinished {_file(path)}" if path.endswith(".tmp") else _file(path)
        with self._points.around(f"remove {what}"):
            super().remove(path)
        self._next_sync[_folder(path)] = f"sync removal of {what}"

    def sync_folder(self, folder: str) -> None:
        """The names since the last time."""
        with self._points.around(self._next_sync.pop(folder, "sync recovered names")):
            super().sync_folder(folder)


class CrashingFile:
    """A file of it. What is synced is what was written last."""

    def __init__(self, file: WritableFile, what: str, points: CrashPoints) -> None:
        self._file = file
        self._what = what
        self._points = points
        self._written = f"recovered {what}"

    def write_at(self, offset: int, data: bytes) -> None:
        """A part of a snapshot, or of a segment: its header, a frame, or zeros over a torn one."""
        if self._what == "segment" and not any(data):
            step, self._written = "zero torn frame", "zeroed frame"
        else:
            self._written = "segment header" if self._what == "room" else self._what
            if self._what == "segment":
                self._written = _frame(data)
            step = f"write {self._written}"
        with self._points.around(step):
            self._file.write_at(offset, data)

    def datasync(self) -> None:
        """What was written last; nothing, where a start makes safe what it has found."""
        with self._points.around(f"sync {self._written}"):
            self._file.datasync()

    def close(self) -> None:
        """Changes nothing."""
        self._file.close()


class CrashingStore:
    """A target of backups, with a point on either side of each object that is put there."""

    def __init__(self, store: ObjectStore, points: CrashPoints) -> None:
        self._store = store
        self._points = points

    @property
    def url(self) -> str:
        """The target's."""
        return self._store.url

    def put(self, name: str, data: bytes, *, pace: Pace = no_pace) -> None:
        """A copy, or the manifest that says that it is one."""
        with self._points.around("put manifest" if name.startswith(f"{manifest.FOLDER}/") else "put copy"):
            self._store.put(name, data, pace=pace)

    def get(self, name: str, *, pace: Pace = no_pace) -> bytes:
        """Changes nothing."""
        return self._store.get(name, pace=pace)

    def list(self, folder: str) -> dict[str, int]:
        """Changes nothing."""
        return self._store.list(folder)


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _file(path: str) -> str:
    """What a file is, whether it has its name already or not."""
    name = path.removesuffix(".tmp")
    return next((kind for pattern, kind in _FILES.items() if re.fullmatch(pattern, name)), name)


def _frame(data: bytes) -> str:
    """What a frame is."""
    records = codec.decode_records(data[codec.FRAME_HEADER_BYTES :])
    if any(isinstance(record, ShutdownRecord) for record in records):
        return "shutdown"
    if any(isinstance(record, SealRecord) for record in records):
        return "seal"
    return "frame" if records else "idle frame"

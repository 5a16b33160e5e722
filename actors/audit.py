"""What operators changed, for good: a line of JSON for each call in files of the data folder, synced before the answer.

Like the request log, a file has its room made beforehand, so that a full disk is found out where that does no harm: a
call that the trail has no room for is refused before it does anything. A full file is cut to what it holds, and the
next begun; none is ever removed. What stands behind the last line of the newest is zeros.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
import structlog
import trio

from actors.world import Blocking
from persistence.storage import Disk

FOLDER: Final = "audit"
FILE_BYTES: Final = 1024 * 1024
# A call's line is cut to this: its parameters come from outside.
ENTRY_BYTES: Final = 4096
# What `tail` reads and gives at most.
TAIL_ENTRIES: Final = 1000

_log = structlog.get_logger("admin")


class AuditEntry(msgspec.Struct, frozen=True):
    """One call."""

    time: int
    """When it was answered, in ms since 1970."""
    uid: int
    pid: int
    call: str
    params: dict[str, object]
    outcome: str


class AuditTrail:
    """The files. One call at a time; waits for the disk in a thread."""

    def __init__(self, disk: Disk, blocking: Blocking) -> None:
        self._disk = disk
        self._blocking = blocking
        self._lock = trio.Lock()
        self._number = 0
        self._end = 0

    async def make_room(self) -> None:
        """Make sure that the next entry has a place. Raises NoSpace."""
        async with self._lock:
            await self._blocking(self._make_room)

    async def record(self, entry: AuditEntry) -> None:
        """Write an entry down, after `make_room`; it is on disk afterwards."""
        async with self._lock:
            await self._blocking(self._write, _line(entry))

    async def tail(self, count: int) -> list[AuditEntry]:
        """The newest `count` entries, oldest first."""
        async with self._lock:
            return await self._blocking(self._read, min(count, TAIL_ENTRIES))

    def _make_room(self) -> None:
        if not self._number:
            self._find_end()
        if self._number and self._end + ENTRY_BYTES <= FILE_BYTES:
            return
        self._disk.make_folder(FOLDER)
        self._disk.create_zeroed(_path(self._number + 1), FILE_BYTES)
        self._disk.sync_folder(FOLDER)
        if self._number:
            self._disk.truncate(_path(self._number), self._end)
        self._number += 1
        self._end = 0

    def _find_end(self) -> None:
        """Where the newest file goes on; a line that a power cut tore is ended, so that the next is whole."""
        numbers = _numbers(self._disk)
        if not numbers:
            return
        self._number = numbers[-1]
        content = self._disk.read(_path(self._number)).rstrip(b"\0")
        self._end = len(content)
        if self._disk.size(_path(self._number)) < FILE_BYTES:
            self._end = FILE_BYTES  # it was cut: the next one is to be begun
        elif content and not content.endswith(b"\n"):
            self._write(b"\n")

    def _write(self, data: bytes) -> None:
        file = self._disk.open(_path(self._number))
        try:
            file.write_at(self._end, data)
            file.datasync()
        finally:
            file.close()
        self._end += len(data)

    def _read(self, count: int) -> list[AuditEntry]:
        found: list[AuditEntry] = []
        for number in reversed(_numbers(self._disk)):
            lines = self._disk.read(_path(number)).rstrip(b"\0").split(b"\n")
            found[:0] = list(_entries(lines))[-(count - len(found)) :]
            if len(found) >= count:
                break
        return found


def _entries(lines: Iterable[bytes]) -> Iterable[AuditEntry]:
    for line in lines:
        if line:
            try:
                yield msgspec.json.decode(line, type=AuditEntry)
            except (msgspec.DecodeError, UnicodeDecodeError):
                _log.warning("a line of the audit trail is torn", bytes=len(line))


def _line(entry: AuditEntry) -> bytes:
    line = msgspec.json.encode(entry)
    if len(line) >= ENTRY_BYTES:
        cut = AuditEntry(entry.time, entry.uid, entry.pid, entry.call, {"cut": len(line)}, entry.outcome[:500])
        line = msgspec.json.encode(cut)
    return line + b"\n"


def _numbers(disk: Disk) -> list[int]:
    return [int(name.removesuffix(".jsonl")) for name in disk.list(FOLDER) if name.endswith(".jsonl")]


def _path(number: int) -> str:
    return f"{FOLDER}/{number:08}.jsonl"

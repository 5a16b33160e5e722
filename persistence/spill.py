"""A file of bounded size for what waits for the store: made once with all its room, so that a full disk does no harm.

It holds lines of JSON, then zeros. A line that a crash tore is passed over; one that is read twice has an id.
"""

from collections.abc import Sequence
from typing import Final

import structlog
from cattrs import ClassValidationError
from cattrs.preconf.json import make_converter

from persistence.exits import NoSpace
from persistence.storage import Disk
from persistence.txstore import AuditEntry

FOLDER: Final = "archive"
PATH: Final = f"{FOLDER}/audit-spill"
SIZE: Final = 1024 * 1024

_CONVERTER: Final = make_converter()

_log = structlog.get_logger("archivist")


class Spill:
    """The file. Every method waits for the disk."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._used = 0
        self._is_open = False

    def open(self) -> list[AuditEntry]:
        """Make the file if there is none, and read what it holds. Without room for it nothing can be spilled."""
        if not self._disk.exists(PATH) or self._disk.size(PATH) != SIZE:
            self._disk.make_folder(FOLDER)
            try:
                self._disk.create_zeroed(PATH, SIZE)
            except NoSpace as error:
                _log.warning("the audit has no place to wait for the store", reason=str(error))
                return []
            self._disk.sync_folder(FOLDER)
        self._is_open = True
        content = self._disk.read(PATH).rstrip(b"\0")
        self._used = len(content)
        entries = [_read(line) for line in content.split(b"\n") if line.strip(b"\0")]
        return [entry for entry in entries if entry is not None]

    def append(self, entries: Sequence[AuditEntry]) -> int:
        """Write as many as there is room for, and sync them; how many."""
        lines: list[bytes] = []
        room = SIZE - self._used if self._is_open else 0
        for entry in entries:
            line = b"\n" + _CONVERTER.dumps(entry).encode()
            if len(line) > room:
                break
            room -= len(line)
            lines.append(line)
        if lines:
            data = b"".join(lines)
            self._write(self._used, data)
            self._used += len(data)
        return len(lines)

    def clear(self) -> None:
        """Everything in it is in the store."""
        if self._used:
            self._write(0, bytes(self._used))
            self._used = 0

    def _write(self, offset: int, data: bytes) -> None:
        file = self._disk.open(PATH)
        try:
            file.write_at(offset, data)
            file.datasync()
        finally:
            file.close()


def _read(line: bytes) -> AuditEntry | None:
    try:
        return _CONVERTER.loads(line, AuditEntry)
    except (ValueError, ClassValidationError):
        _log.warning("an entry of the audit that waited for the store is torn", bytes=len(line))
        return None

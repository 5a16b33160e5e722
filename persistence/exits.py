"""How the program stops when its data or its disk forbid it to go on: exit codes, and the errors that carry them."""

import enum
from typing import ClassVar


class Exit(enum.IntEnum):
    """The exit codes of every command. They are documented and stable: operators and scripts rely on them."""

    DONE = 0
    USAGE = 2  # usage or configuration
    DATA_DAMAGED = 3  # or unreadable
    IN_USE = 4  # another process has the data folder
    DISK_FAILED = 5
    NEWER_FORMAT = 6  # of the data, or a newer engine version
    GAVE_UP = 7  # supervision escalated to the root and beyond
    STUCK_CHILD = 8  # a child would not stop
    POISON_TIMER = 9  # a timer makes the engine fail at every start


class Stop(Exception):  # noqa: N818 - not a failure of this program: it refuses to go on
    """The program must not go on with this data. One line for the operator; the data is as it was.

    Stop
      Damaged        3   what is on disk is not what was written
      Unreadable     3   what is on disk cannot be read at all
      BadBackup      3   what is in a backup is not what was copied, or is not of this exchange's course
      InUse          4   another process has the data folder
      NewerFormat    6   a newer program wrote it
    A failing write or sync is none of these: it goes to `die`, and no code here runs afterwards.
    """

    exit_code: ClassVar[Exit]


class Damaged(Stop):
    """What is on disk is not what was written. Names the file, the offset in it and how to look closer."""

    exit_code = Exit.DATA_DAMAGED

    def __init__(self, root: str, path: str, offset: int, what: str) -> None:
        super().__init__(f"{path}, offset {offset}: {what}; look closer with: tallystick log verify {root}")
        self.path = path
        self.offset = offset
        self.what = what


class Unreadable(Stop):
    """The data folder or a file in it cannot be read."""

    exit_code = Exit.DATA_DAMAGED


class BadBackup(Stop):
    """A backup is not what was copied, or belongs to another course of the exchange. Names the object."""

    exit_code = Exit.DATA_DAMAGED

    def __init__(self, url: str, name: str, what: str) -> None:
        super().__init__(f"{url}, object {name}: {what}")
        self.name = name
        self.what = what


class InUse(Stop):
    """Another process holds the data folder's lock."""

    exit_code = Exit.IN_USE


class NewerFormat(Stop):
    """A newer program wrote this data; this one must not touch it."""

    exit_code = Exit.NEWER_FORMAT


class NoSpace(Exception):  # noqa: N818 - a condition that ends when there is room again, not a failure
    """The disk has no room for a new segment. Nothing was changed; try again later."""

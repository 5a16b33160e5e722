"""Which log lines are written: a level for everyone, and for each logger one of its own while the program runs."""

import enum
import logging
from typing import Final

from attrs import frozen

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
EVERYONE: Final = "all"
# By the name that each part of the program logs under; the actors' are their names in the tree.
LOGGERS: Final = (
    *("accepting", "admin", "archivist", "backup", "candles", "certificate", "chains", "engine-clock", "funds"),
    *("gateway", "mailbox", "market-maker", "matching", "metrics", "publisher", "reqlog", "reqlog-writer", "session"),
    *("snapshot", "snapshotter", "store", "supervision", "supervisor", "tallystick", "watcher", "withdrawals"),
)


class LogFormat(enum.Enum):
    """How a line of the log looks."""

    CONSOLE = "console"
    JSON = "json"


class LogLevel(enum.Enum):
    """From which level on lines are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@frozen(kw_only=True)
class LogConfig:
    """What is logged to stderr."""

    format: LogFormat = LogFormat.CONSOLE
    level: LogLevel = LogLevel.INFO


class LogLevels:
    """The levels now. Lives as long as the process."""

    def __init__(self, level: int = logging.INFO) -> None:
        self._everyone = level
        self._own: dict[str, int] = {}

    def allows(self, logger: str, level: int) -> bool:
        """Whether a line of this logger and level is written."""
        return level >= self._own.get(logger, self._everyone)

    def set(self, logger: str, level: str) -> None:
        """Set one logger's, or with 'all' everyone's. Raises ValueError for a name that is none."""
        if level not in LEVELS:
            raise ValueError(f"level must be one of {', '.join(LEVELS)}, not {level!r:.50}")
        if logger == EVERYONE:
            self._everyone = LEVELS[level]
            self._own.clear()
        elif logger in LOGGERS:
            self._own[logger] = LEVELS[level]
        else:
            raise ValueError(f"actor must be {EVERYONE} or one of {', '.join(LOGGERS)}, not {logger!r:.50}")

    def shown(self) -> dict[str, str]:
        """By logger, 'all' first; only those that differ."""
        names = {number: name for name, number in LEVELS.items()}
        return {EVERYONE: names[self._everyone], **{logger: names[level] for logger, level in self._own.items()}}

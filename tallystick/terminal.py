"""What the command line shows a person: log lines on stderr, and progress of what takes a while."""

import atexit
import logging
import sys
import time
from datetime import UTC, datetime
from typing import Final

import msgspec
import structlog
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from structlog.typing import EventDict, WrappedLogger

import persistence.recovery
from actors.log_levels import LogFormat, LogLevels
from tallystick.operators import for_operators

# On no terminal a line every so often is enough.
LINE_SECONDS: Final = 5.0

_BILLION: Final = 1_000_000_000

_log = structlog.get_logger("tallystick")
_stderr = Console(stderr=True)


class _Logger(structlog.PrintLogger):
    """Writes to stderr, and knows for whom."""

    def __init__(self, name: str = "tallystick") -> None:
        super().__init__(sys.stderr)
        self.name = name


def log_to_stderr(levels: LogLevels | None = None, form: LogFormat = LogFormat.CONSOLE) -> None:
    """One event a line, where these levels allow it: for people, coloured on a terminal, or as JSON."""
    allowed = levels or LogLevels()

    def gate(logger: _Logger, method: str, event: EventDict) -> EventDict:
        if not allowed.allows(logger.name, structlog.processors.NAME_TO_LEVEL.get(method, logging.ERROR)):
            raise structlog.DropEvent
        event["actor"] = logger.name
        return event

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        processors=[
            gate,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _plain_words,
            *(_JSON if form is LogFormat.JSON else [_console()]),
        ],
        logger_factory=_Logger,
        cache_logger_on_first_use=True,
    )


def _console() -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)


def _encode(event: object, **_options: object) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


_JSON: Final = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_encode)]


def _plain_words(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """What an operator can mend is told in its own words; a traceback is for bugs of ours."""
    error = event.get("exc_info")
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException) and (mendable := for_operators(error)) is not None:
        del event["exc_info"]
        event["reason"] = str(mendable)
    return event


def moment(time_ns: int) -> str:
    """A time since 1970 as people write it, in UTC."""
    return datetime.fromtimestamp(time_ns / _BILLION, UTC).isoformat(timespec="milliseconds")


def progress(what: str) -> persistence.recovery.Progress:
    """How far `what` has come: a bar on a terminal, log lines otherwise, nothing for what is done at once."""
    return _bar(what) if sys.stderr.isatty() else _lines(what)


def _bar(what: str) -> persistence.recovery.Progress:
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), console=_stderr
    )
    task = bar.add_task(what, total=None)
    # It hides the cursor, which must come back also where the work ends before its end: by damage, or by Ctrl-C.
    atexit.register(bar.stop)

    def show(done: int, total: int) -> None:
        if done >= total:
            bar.stop()
            return
        bar.start()
        bar.update(task, completed=done, total=total)

    return show


def _lines(what: str) -> persistence.recovery.Progress:
    began = shown = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown < LINE_SECONDS or not total:
            return
        shown = now
        left = (now - began) * (total - done) / max(1, done)
        _log.info(what, percent=round(100 * done / total, 1), seconds_left=round(left))

    return show

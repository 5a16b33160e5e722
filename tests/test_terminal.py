"""What the command line shows of work that takes a while, and of errors."""

import io
import logging
import os
import pty
import subprocess
import sys
import time

import pytest
import structlog
from rich.console import Console

from actors.log_levels import LogLevels
from actors.world import CannotListen
from tallystick import terminal


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal on stderr shows."""
    shown = io.StringIO()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(terminal, "_stderr", Console(file=shown, force_terminal=True, width=100))
    return shown


def test_a_bar_on_a_terminal(screen: io.StringIO) -> None:
    """It says what is done and how far it has come, and ends at the end."""
    show = terminal.progress("replaying the log")
    show(50, 100)
    show(100, 100)
    assert "replaying the log" in screen.getvalue()
    assert "50%" in screen.getvalue()


def test_nothing_for_what_is_done_at_once(screen: io.StringIO) -> None:
    """Work that is complete at the first look shows no bar."""
    terminal.progress("replaying the log")(100, 100)
    assert "replaying" not in screen.getvalue()


@pytest.mark.process
def test_the_cursor_comes_back_also_when_the_work_is_cut_off() -> None:
    """A terminal that was left without one is broken for whoever types into it next."""
    program = "from tallystick import terminal; terminal.progress('checking')(1, 10); raise SystemExit(3)"
    ours, theirs = pty.openpty()
    try:
        assert subprocess.run([sys.executable, "-c", program], stderr=theirs, check=False).returncode == 3
        shown = os.read(ours, 65_536)
    finally:
        os.close(ours)
        os.close(theirs)
    assert b"\x1b[?25l" in shown
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")


def test_lines_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal, a log line every few seconds says how far it has come and how long it will take."""
    now = 1000.0
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with structlog.testing.capture_logs() as logs:
        show = terminal.progress("replaying the log")
        show(10, 100)
        now += 6
        show(25, 100)
        show(26, 100)
    assert [(entry["event"], entry["percent"], entry["seconds_left"]) for entry in logs] == [
        ("replaying the log", 25.0, 18)
    ]


def test_tracebacks_are_for_bugs_only(capsys: pytest.CaptureFixture[str]) -> None:
    """An error that an operator can mend is logged in its own words, whatever wraps it; a bug keeps its traceback."""
    before = structlog.get_config()
    try:
        terminal.log_to_stderr(LogLevels(logging.INFO))
        log = structlog.get_logger()
        for error in (CannotListen("cannot listen on 127.0.0.1:1: taken"), ZeroDivisionError("a bug")):
            log.error("child crashed", exc_info=ExceptionGroup("a nursery's", [error]))
            with pytest.raises(Exception, match=r"taken|bug") as caught:
                raise error
            log.error("child crashed", exc_info=caught.value)
    finally:
        structlog.configure(**before)
    *mendable, bug_in_group, bug = capsys.readouterr().err.split("child crashed")[1:]
    for entry in mendable:
        assert "Traceback" not in entry
        assert "cannot listen on 127.0.0.1:1: taken" in entry
    assert "ZeroDivisionError" in bug_in_group
    assert "Traceback" in bug

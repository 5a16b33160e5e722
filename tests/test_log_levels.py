"""What is logged, by whom, and in which form."""

import json
import logging
import re
from pathlib import Path

import pytest
import structlog

from actors.log_levels import LOGGERS, LogFormat, LogLevels
from tallystick import terminal

ROOT = Path(__file__).parent.parent


def test_every_logger_is_known() -> None:
    """Those that the sources make, and no other."""
    found: set[str] = set()
    for folder in ("actors", "book", "chains", "persistence", "tallystick", "supervisor.py"):
        path = ROOT / folder
        for source in path.rglob("*.py") if path.is_dir() else [path]:
            found |= set(re.findall(r'structlog\.get_logger\("?([^")]*)', source.read_text(encoding="utf-8")))
    assert found == set(LOGGERS)


def test_levels() -> None:
    """One for everyone, and others for some, until everyone's is set anew."""
    levels = LogLevels(logging.WARNING)
    assert not levels.allows("session", logging.INFO)
    levels.set("session", "debug")
    assert levels.allows("session", logging.DEBUG)
    assert not levels.allows("gateway", logging.INFO)
    assert levels.shown() == {"all": "warning", "session": "debug"}
    levels.set("all", "error")
    assert not levels.allows("session", logging.WARNING)


@pytest.mark.parametrize(("actor", "level"), [("session", "loud"), ("nobody", "info"), ("", "info")])
def test_names_that_are_none(actor: str, level: str) -> None:
    """What there is, is named."""
    with pytest.raises(ValueError, match=r"must be .*(debug, info|all or one of)"):
        LogLevels().set(actor, level)


@pytest.mark.parametrize("form", LogFormat)
def test_lines(form: LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    """One event a line, with who, when and how grave; what is below the level now is left out."""
    before = structlog.get_config()
    try:
        levels = LogLevels()
        terminal.log_to_stderr(levels, form)
        log = structlog.get_logger("session")
        log.debug("unseen")
        levels.set("session", "debug")
        log.debug("seen", peer="a\nb", number=7)
        structlog.get_logger("gateway").debug("unseen")
        structlog.get_logger("gateway").info("seen too")
    finally:
        structlog.configure(**before)
    first, second = capsys.readouterr().err.splitlines()
    assert "unseen" not in first + second
    if form is LogFormat.JSON:
        event = json.loads(first)
        assert re.fullmatch(r"20\d\d-.*Z", event.pop("timestamp"))
        assert event == {"event": "seen", "actor": "session", "level": "debug", "peer": "a\nb", "number": 7}
        assert json.loads(second)["actor"] == "gateway"
    else:
        assert "seen" in first
        assert "session" in first


def test_a_bug_in_json_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With its traceback in it."""
    before = structlog.get_config()
    try:
        terminal.log_to_stderr(LogLevels(), LogFormat.JSON)
        structlog.get_logger("session").error("it crashed", exc_info=ZeroDivisionError("a bug"))
    finally:
        structlog.configure(**before)
    (line,) = capsys.readouterr().err.splitlines()
    assert "ZeroDivisionError: a bug" in json.loads(line)["exception"]

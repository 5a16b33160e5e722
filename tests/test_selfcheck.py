"""`tallystick selfcheck` finds what is in trouble."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from book.commands import Command, PlaceOrder
from book.engine import Engine
from book.events import Event, Rejected
from tallystick import selfcheck
from tallystick.cli import app


class EngineThatTradesNothing:
    """Looks like an engine, and takes orders without doing anything about them."""

    def __init__(self) -> None:
        self._engine = Engine()

    def apply(self, command: Command, seq: int, time_ns: int) -> list[Event] | Rejected:
        """As the engine, but for orders."""
        return [] if isinstance(command, PlaceOrder) else self._engine.apply(command, seq, time_ns)

    def check(self) -> None:
        """Nothing is wrong with what there is."""
        self._engine.check()


def trouble(*words: str) -> str:
    """The one line about what is wrong; exit code 2."""
    done = CliRunner().invoke(app, ["selfcheck", *words])
    assert done.exit_code == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("TROUBLE")]
    assert "1 in trouble" in done.stdout
    return line


def test_what_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, and the rest is looked at all the same."""
    monkeypatch.setattr(selfcheck, "MODULES", ("book", "no_such_module"))
    assert "no_such_module cannot be imported" in trouble()


def test_an_engine_that_does_not_trade(monkeypatch: pytest.MonkeyPatch) -> None:
    """To load and to check is not enough."""
    monkeypatch.setattr(selfcheck, "Engine", EngineThatTradesNothing)
    assert "do not trade" in trouble()


def test_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    """The folder is named, with the reason."""
    assert f"the disk of {tmp_path / 'none'} cannot be written: No such file" in trouble(
        "--data", str(tmp_path / "none")
    )

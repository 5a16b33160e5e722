"""A shell completes the words of `tallystick admin` by asking the exchange that runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import live_exchange

pytestmark = pytest.mark.process


def completed(socket: str, words: str) -> list[str]:
    """What bash offers when the tabulator is pressed behind these words."""
    environment = {
        **os.environ,
        "_TALLYSTICK_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
        "TALLYSTICK_SOCKET": socket,
    }
    command = "import sys; sys.argv[0] = 'tallystick'; from tallystick.cli import app; app(prog_name='tallystick')"
    done = subprocess.run(
        [sys.executable, "-c", command], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_words_are_completed(tmp_path: Path) -> None:
    """Commands, and where a parameter names something that there is, its names; nothing without an exchange."""
    with live_exchange(tmp_path / "data", "--quiet-market") as exchange:
        socket = exchange.ready["admin"]
        assert completed(socket, "tallystick admin market.h") == ["market.halt"]
        assert "shutdown" in completed(socket, "tallystick admin ")
        assert completed(socket, "tallystick admin market.halt ETH-U") == ["ETH-USDT"]
        assert completed(socket, "tallystick admin actor.restart reqlog") == ["reqlog-writer"]
        assert completed(socket, "tallystick admin account.freeze b") == ["bob"]
        assert completed(socket, "tallystick admin asset.add X") == []
    assert completed(socket, "tallystick admin market.h") == []

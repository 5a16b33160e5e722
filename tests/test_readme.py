"""The README's transcripts, run against a real demo: what it shows is what one gets."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import LiveExchange

pytestmark = pytest.mark.process

NC = "$ nc 127.0.0.1 7700"
# What is asked until blocks have come, and how long.
SLOW = (b"deposit.history", b"withdraw.status")
PATIENCE_SECONDS = 60.0
README = Path(__file__).parent.parent / "README.md"


def masked(line: str) -> str:
    """The line without what differs from run to run: nonces, the names of transactions, and every run of digits."""
    line = re.sub(r"\b[0-9a-f]{64}\b", "x", re.sub(r'"nonce":"[0-9a-f]+"', '"nonce":"x"', line.rstrip()))
    return re.sub(r"\d+", "0", line)


def blocks() -> Iterator[list[str]]:
    """The lines of each console block, in order."""
    for block in re.findall(r"```console\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL):
        yield block.splitlines()


class Reader:
    """Plays the README's reader: types what the blocks show as typed, and compares what comes back."""

    def __init__(self, exchange: LiveExchange) -> None:
        self._exchange = exchange
        self._connection: socket.socket | None = None
        self._answers: Iterator[bytes] = iter(())

    def run(self, lines: list[str]) -> None:
        """One block: a conversation over nc, begun here or earlier, or commands in a shell."""
        if lines[0] == NC:
            self._connect()
            self._converse(lines[1:])
        elif lines[0].startswith("{"):
            self._converse(lines)
        else:
            self._shell(lines)

    def _connect(self) -> None:
        self.hang_up()
        host, port = self._exchange.ready["client"].split(":")
        self._connection = socket.create_connection((host, int(port)), 30)
        self._answers = iter(self._connection.makefile("rb"))

    def _converse(self, lines: list[str]) -> None:
        assert self._connection is not None
        asked = b""
        for line in lines:
            if '"method"' in line:
                asked = line.encode() + b"\n"
                self._connection.sendall(asked)
                continue
            answer = masked(next(self._answers).decode())
            waited = time.monotonic() + PATIENCE_SECONDS
            # Whoever waits for blocks asks again.
            while answer != masked(line) and any(word in asked for word in SLOW) and time.monotonic() < waited:
                time.sleep(0.3)
                self._connection.sendall(asked)
                answer = masked(next(self._answers).decode())
            assert answer == masked(line)

    def _shell(self, lines: list[str]) -> None:
        output: Iterator[str] = iter(())
        for line in [*lines, "$ true"]:
            if line.startswith("$ "):
                assert list(output) == [], f"more output than is shown before: {line}"
                output = iter(self._command(line.removeprefix("$ ")))
            else:
                assert masked(next(output)) == masked(line)

    def _command(self, command: str) -> list[str]:
        if command == "make run":
            self._exchange.start()
            return []
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["/bin/bash", "-c", command],
            cwd=self._exchange.data.parent,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        if command.startswith("kill -9"):
            self._exchange.wait()
        return done.stdout.splitlines()

    def hang_up(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def test_the_transcripts(tmp_path: Path) -> None:
    """Trade by hand, restart an actor, kill the process: every line comes as shown, but for numbers."""
    exchange = LiveExchange(tmp_path / "demo-data").start()
    reader = Reader(exchange)
    try:
        for lines in blocks():
            reader.run(lines)
    finally:
        reader.hang_up()
        exchange.stop()

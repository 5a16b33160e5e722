"""docs/operating.md is true: its transcripts are what an operator gets, its tables are the program's."""

import re
import shlex
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner

import supervisor
from actors.admin_commands import AdminCommands
from actors.demo_commands import DemoCommands
from actors.money_commands import Money
from actors.world import Peer
from persistence.exits import Exit
from supervisor import Addresses
from tallystick.cli import app
from tallystick.demo_command import welcome
from tallystick.selfcheck import SLOW_SYNC_MS
from tests.exchange_commands import without_anything
from tests.live import TALLYSTICK, LiveClient, LiveExchange
from tests.pages import blocks, read_page, table

PAGE = read_page("operating.md")

ORDER = {"symbol": "BTC-USDT", "side": "BUY", "type": "LIMIT", "quantity": "0.5", "price": "45000.00"}


# Tables ---------------------------------------------------------------------------------------------------------------


def test_the_page_has_every_exit_code_and_no_other() -> None:
    """In order, each with what to do about it."""
    rows = table(PAGE, "code", "what happened", "what to do")
    assert [int(row[0]) for row in rows] == [int(code) for code in Exit]
    assert all(all(row) for row in rows)


def test_what_the_page_calls_slow() -> None:
    """The page has selfcheck's threshold."""
    assert f"more than {SLOW_SYNC_MS:g} ms is slow" in " ".join(PAGE.split())


def test_the_page_has_every_admin_command_and_no_other() -> None:
    """In the order of `help`, as one types them."""
    nothing = cast("Any", None)
    commands = AdminCommands(
        tree=nothing,
        matching=nothing,
        sessions=nothing,
        log_state=nothing,
        snapshots=nothing,
        snapshot_state=nothing,
        backup=nothing,
        backup_state=nothing,
        chain_states=nothing,
        store_state=nothing,
        archive_state=nothing,
        demo=DemoCommands({}, {}, nothing),
        money=Money(),
        clock=nothing,
        entropy=nothing,
        version=supervisor.VERSION,
        test_money=False,
        system=without_anything(),
    ).table()
    assert [row[0] for row in table(PAGE, "command", "what it does")] == [row.usage for row in commands.values()]


def check_metrics(url: str) -> None:
    """The page has every metric that is scraped and no other: its name, its type, and first of all its help."""
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - our own address
        text = response.read().decode()
    types = dict(re.findall(r"# TYPE (\S+) (\S+)", text))
    families = re.findall(r"# HELP (\S+) (.*)", text)
    rows = table(PAGE, "metric", "type", "meaning")
    assert [row[:2] for row in rows] == [(name, types[name]) for name, _ in families]
    for (*_, meaning), (name, about) in zip(rows, families, strict=True):
        assert meaning.startswith(about), name


# Transcripts ----------------------------------------------------------------------------------------------------------


def masked(line: str) -> str:
    """The line without what differs from run to run: numbers, digests, and the columns they make wider.

    Nor whether the engine is compiled, which depends on the installation.
    """
    line = re.sub(r"\b[0-9a-f]{32,}\b|(?<=\"compiled\": )(true|false)", "…", line)
    return re.sub(r" +", " ", re.sub(r"[0-9]+(\.[0-9]+)*", "0", line)).rstrip()


def peer(address: str) -> Peer:
    """Of `host:port`."""
    host, port = address.rsplit(":", 1)
    return Peer(host, int(port))


class Operator:
    """Types what the page's transcripts show as typed, in a folder of his own that the page calls /srv."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._exchange: LiveExchange | None = None
        self._alice: LiveClient | None = None
        self._exit_code = 0

    @property
    def metrics(self) -> str:
        """Where the exchange's metrics are."""
        assert self._exchange is not None
        return str(self._exchange.ready["metrics"])

    def output(self, command: str) -> list[str]:
        """What a command prints."""
        if command == "echo $?":
            return [str(self._exit_code)]
        command = command.replace("/srv/", f"{self._folder}/")
        if command.startswith("tallystick demo"):
            text = self._start(self._folder / command.split()[-1])
        elif command.startswith("tallystick ") and "|" in command:
            text = self._shell(command.replace("tallystick", shlex.join(TALLYSTICK), 1))
        elif command.startswith("tallystick "):
            text = self._tallystick(shlex.split(command)[1:])
        elif (asked := re.fullmatch(r"echo '(.*)' \| socat - UNIX-CONNECT:(\S+)", command)) is not None:
            text = self._ask(asked[1], asked[2])
        else:
            text = self._shell(command)
        return text.replace(str(self._folder), "/srv").splitlines()

    def _start(self, data: Path) -> str:
        """The demo; the first one with alice connected and an order of hers in the book, as the page tells."""
        first, self._exchange = self._exchange is None, LiveExchange(data, "--quiet-market")
        ready = self._exchange.start().ready
        if first:
            self._alice = self._exchange.client("alice")
            assert self._alice.ask("order.place", **ORDER)["status"] == 200
        addresses = Addresses()
        addresses.client_is(peer(ready["client"]))
        addresses.metrics_is(peer(ready["metrics"].removeprefix("http://").removesuffix("/metrics")))
        return welcome(addresses, data)

    def _tallystick(self, words: list[str]) -> str:
        """In this process, as starting one for each would take most of a test's time."""
        done = CliRunner().invoke(app, words)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        self._exit_code = done.exit_code
        if words[-2:] == ["shutdown", "--yes"]:
            assert self._exchange is not None
            assert self._exchange.wait() == Exit.DONE
        return done.output

    def _ask(self, line: str, path: str) -> str:
        """As socat does."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(path)
            connection.sendall(line.encode() + b"\n")
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as file:
                return file.read().decode()

    def _shell(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command],  # noqa: S607 - whichever the reader has
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=30,
            check=False,
        )
        self._exit_code = done.returncode
        return done.stdout

    def leave(self) -> None:
        """End what still runs."""
        if self._alice is not None:
            self._alice.close()
        if self._exchange is not None and self._exchange._process is not None:
            self._exchange.kill()


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    """In an empty folder with a short name: a long one would not fit the page's lines."""
    folder = tempfile.TemporaryDirectory()
    monkeypatch.chdir(folder.name)
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("TALLYSTICK_SOCKET", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    somebody = Operator(Path(folder.name))
    yield somebody
    somebody.leave()
    monkeypatch.undo()
    folder.cleanup()


def transcripts() -> Iterator[tuple[str, list[str]]]:
    """Every command of the page and what it prints there, in order."""
    for block in blocks(PAGE, "console"):
        for typed in re.split(r"^\$ ", "\n".join(block), flags=re.MULTILINE)[1:]:
            command, *printed = typed.splitlines()
            yield command, printed


@pytest.mark.process
def test_the_transcripts(operator: Operator) -> None:
    """Each command of the page, in order, prints what stands there; and the metrics are the page's."""
    for command, printed in transcripts():
        if command == "tallystick admin shutdown":
            check_metrics(operator.metrics)
        assert [masked(line) for line in operator.output(command)] == [masked(line) for line in printed], command

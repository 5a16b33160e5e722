"""`tallystick client` against a running demo: what it prints, and how it ends."""

import json
import os
import pty
import re
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from tallystick.client import NotConnected, connect
from tallystick.client_command import Screen, answer
from tallystick.client_prompt import Beside, Prompt
from tallystick.demo import DemoKey
from tests.live import TALLYSTICK, LiveExchange, environment, live_exchange, run_tallystick

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """A shell has what it starts in the background ignore interrupts, and so would all that is started from here."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveExchange]:
    """A demo with nobody else in it."""
    with live_exchange(tmp_path_factory.mktemp("demo") / "data", "--quiet-market") as running:
        yield running


def run(exchange: LiveExchange, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    host, port = exchange.ready["client"].split(":")
    return run_tallystick("client", *words, env=environment(TALLYSTICK_HOST=host, TALLYSTICK_PORT=port))


ORDER = ("order.place", "symbol=BTC-USDT", "side=BUY", "type=LIMIT", "quantity=0.1", "price=45000")


def test_one_request(exchange: LiveExchange) -> None:
    """An order is placed and cancelled; with --json the result is one line, as it came."""
    placed = run(exchange, "--key", "alice", *ORDER, "clientOrderId=one")
    assert placed.returncode == 0, placed.stderr
    assert re.search(r"status +NEW", placed.stdout)
    canceled = run(exchange, "--key", "alice", "--json", "order.cancel", "symbol=BTC-USDT", "clientOrderId=one")
    (line,) = canceled.stdout.splitlines()
    assert json.loads(line)["status"] == "CANCELED"


def test_a_signed_logon(exchange: LiveExchange, tmp_path: Path) -> None:
    """With the key's private half in a file; with another one the exchange refuses it."""
    file = tmp_path / "alice.key"
    file.write_text(DemoKey.of("alice").seed.hex() + "\n")
    done = run(exchange, "--key", "alice", "--key-file", str(file), "--json", "session.status")
    assert json.loads(done.stdout)["account"] == 1
    file.write_text(DemoKey.of("bob").seed.hex())
    refused = run(exchange, "--key", "alice", "--key-file", str(file), "session.status")
    assert refused.returncode == 1
    assert refused.stderr.startswith("tallystick: INVALID_SIGNATURE (-1022): ")


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("account.status",), 1, "UNAUTHORIZED (-1002): log on first: session.logon"),
        (("depth", "symbol=BTC-EUR"), 1, "BAD_SYMBOL (-1121): there is no such symbol; exchangeInfo lists them"),
        (("depht",), 2, "there is no method 'depht', did you mean 'depth'?"),
        (("--key-file", "nowhere", "ping"), 2, "a key file needs the key's name: give --key too"),
        (("--key", "a", "--key-file", "nowhere", "ping"), 2, "cannot read nowhere: No such file or directory"),
        (("--ca-file", "nowhere", "ping"), 2, "cannot take nowhere for a certificate: No such file or directory"),
        (("session.logon", "apiKey=alice"), 1, "session.logon is not for the shell: give --key"),
    ],
)
def test_what_goes_wrong(exchange: LiveExchange, words: tuple[str, ...], code: int, why: str) -> None:
    """One line on stderr, nothing on stdout, and an exit code that says whose fault it was."""
    done = run(exchange, *words)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"tallystick: {why}\n")


def test_nobody_is_there() -> None:
    """The address, the system's reason, and what to do."""
    done = run_tallystick("client", "--port", "1", "ping")
    assert done.returncode == 2
    assert done.stderr == (
        "tallystick: no exchange at 127.0.0.1, port 1: no connection: Connection refused; "
        "name it with --host and --port\n"
    )


async def test_no_tls_there(exchange: LiveExchange) -> None:
    """A TLS client at a listener without it is told that there is none, and does not hang."""
    host, port = exchange.ready["client"].split(":")
    with pytest.raises(NotConnected, match="no connection: "):
        async with connect(host, int(port), tls=ssl.create_default_context()):
            pytest.fail("it does not speak TLS")


def test_the_prompt(exchange: LiveExchange, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines are answered on one connection, wrong ones too; it ends with `quit`."""
    host, port = exchange.ready["client"].split(":")
    screen = Screen(as_json=True)
    lines = [f"{' '.join(ORDER)} clientOrderId=two", "order", "help depth", "", "openOrders.cancelAll", '"', "quit"]
    with (
        create_pipe_input() as keyboard,
        Beside(lambda: connect(host, int(port), key="alice")) as beside,
    ):
        keyboard.send_text("".join(f"{line}\r" for line in lines))
        prompt = Prompt(["BTC-USDT"], input_=keyboard, output=DummyOutput())
        for line in prompt.lines():
            answer(beside, line, screen)
    shown = capsys.readouterr()
    placed, canceled = [json.loads(line) for line in shown.out.splitlines() if line.startswith("{")]
    assert (placed["clientOrderId"], canceled) == ("two", {"canceled": 1})
    assert "an integer from 1 to 5000" in shown.out
    assert shown.err.splitlines() == [
        "tallystick: there is no method 'order', did you mean 'order.test'?",
        "tallystick: the line cannot be taken apart: no closing quotation",
    ]


def test_a_prompt_without_an_exchange() -> None:
    """Ends before it begins."""
    done = run_tallystick("client", "--port", "1", input="")
    assert done.returncode == 2
    assert "no exchange at 127.0.0.1, port 1" in done.stderr


def test_a_prompt_without_a_terminal(exchange: LiveExchange) -> None:
    """Lines from a pipe are answered too, to the last one."""
    host, port = exchange.ready["client"].split(":")
    done = run_tallystick("client", "--host", host, "--port", port, "--json", input="ping\ntime\n")
    assert done.returncode == 0, done.stderr
    assert "{}" in done.stdout
    assert "serverTime" in done.stdout


def test_following_channels(exchange: LiveExchange) -> None:
    """Each event is a line of JSON, with numbers as they are on the wire, until Ctrl-C, which is no failure."""
    command = [*TALLYSTICK, "client", "--port", exchange.ready["client"].split(":")[1], "--key", "bob"]
    following = subprocess.Popen(
        [*command, "subscribe", "channels=ticker:BTC-USDT,user"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with following:
        assert following.stdout is not None
        watchdog = threading.Timer(60, following.kill)
        watchdog.start()
        first = json.loads(following.stdout.readline())
        assert (first["event"], first["channel"]) == ("ticker", "ticker:BTC-USDT")
        assert re.fullmatch(r"\d+\.\d\d", first["last"])
        following.send_signal(signal.SIGINT)
        _, errors = following.communicate()
        watchdog.cancel()
        assert (following.returncode, errors) == (0, "")


def test_a_channel_that_is_not_there(exchange: LiveExchange) -> None:
    """Ends what follows the others too."""
    done = run(exchange, "subscribe", "channels=trade:BTC-USDT,trade:BTC-EUR")
    assert done.returncode == 1
    assert done.stderr == "tallystick: BAD_SYMBOL (-1121): there is no such symbol; exchangeInfo lists them\n"


def test_ctrl_c_at_the_prompt(exchange: LiveExchange) -> None:
    """Ends what is waited for, and not the prompt."""
    ours, theirs = pty.openpty()
    port = exchange.ready["client"].split(":")[1]
    prompt = subprocess.Popen(
        [*TALLYSTICK, "client", "--port", port], stdin=theirs, stdout=theirs, env=environment(TERM="dumb")
    )
    os.close(theirs)
    watchdog = threading.Timer(60, prompt.kill)
    watchdog.start()
    with prompt, os.fdopen(ours, "r+b", buffering=0) as terminal:
        shown = b""
        for wanted, typed in (
            (b"tallystick> ", b"subscribe channels=ticker:BTC-USDT\r"),
            (b'"event": "ticker"', b""),
            (b"tallystick> ", b"ping\r"),
            (b"done", b"quit\r"),
        ):
            while wanted not in shown:
                shown += terminal.read(4_096)
            shown = shown.partition(wanted)[2]
            if typed:
                terminal.write(typed)
            else:
                prompt.send_signal(signal.SIGINT)
        assert prompt.wait() == 0
    watchdog.cancel()

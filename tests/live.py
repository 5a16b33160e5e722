"""The real program as a child process, and a small blocking client for it: for tests that kill, restart and look."""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self

from tests.counts import count

START_SECONDS = count(60, 600)  # a start replays the log, and a soak makes it long
STOP_SECONDS = 30.0
ANSWER_SECONDS = 30.0

TALLYSTICK = (sys.executable, "-m", "tallystick")


def run_tallystick(*words: str, timeout: float = 60.0, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*TALLYSTICK, *words], capture_output=True, text=True, timeout=timeout, check=False, **options
    )


class DidNotStartError(AssertionError):
    """It ended before it served."""

    def __init__(self, code: int, errors: str) -> None:
        super().__init__(f"it did not start within {START_SECONDS} s: exit code {code}\n{errors[-2000:]}")
        self.code = code


class LiveExchange:
    """A `tallystick demo` on a data folder, started and ended as often as a test likes."""

    def __init__(self, data: Path, *options: str, program: Sequence[str] = TALLYSTICK) -> None:
        self.data = data
        self._command = [*program, "demo", "--json", "--port", "0", "--data", str(data), *options]
        self._process: subprocess.Popen[str] | None = None
        self.ready: dict[str, Any] = {}
        self.errors = ""

    def start(self, **variables: str) -> Self:
        """Start it with these environment variables and wait until it says that it serves. Raises DidNotStartError."""
        assert self._process is None
        process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(**variables)
        )
        self._process = process
        assert process.stdout is not None
        assert process.stderr is not None
        self._errors_thread = threading.Thread(target=self._keep_errors, args=(process.stderr,))
        self._errors_thread.start()
        watchdog = threading.Timer(START_SECONDS, process.kill)
        watchdog.start()
        ready = self._wait(process.stdout)
        watchdog.cancel()
        if ready is None:
            raise DidNotStartError(self._end(None), self.errors)
        self.ready = ready
        return self

    def _wait(self, output: IO[str]) -> dict[str, Any] | None:
        """What it says when it serves; None if it ended before."""
        line = output.readline()
        return json.loads(line) if line else None

    def _keep_errors(self, stream: IO[str]) -> None:
        for line in stream:
            self.errors += line
        stream.close()

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it was started and not ended by one of these."""
        return self._process is not None

    def kill(self) -> None:
        """SIGKILL: nothing of it runs afterwards."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        return self._end(signal.SIGTERM)

    def interrupt(self) -> int:
        """Ctrl-C, and the exit code."""
        return self._end(signal.SIGINT)

    def wait(self) -> int:
        """The exit code of a process that ends by itself."""
        return self._end(None)

    def _end(self, how: signal.Signals | None) -> int:
        process, self._process = self._process, None
        assert process is not None
        if how is not None:
            process.send_signal(how)
        try:
            return process.wait(STOP_SECONDS)
        finally:
            process.kill()
            assert process.stdout is not None
            process.stdout.close()
            self._errors_thread.join()

    def client(self, account: str | None = None) -> "LiveClient":
        """A connection, logged on if an account is named."""
        host, port = self.ready["client"].rsplit(":", 1)
        client = LiveClient((host, int(port)))
        try:
            assert client.receive_line()["event"] == "hello"
            if account is not None:
                assert client.ask("session.logon", apiKey=account)["status"] == 200
        except BaseException:
            client.close()
            raise
        return client

    def operator(self) -> "LiveClient":
        """A connection to the admin socket."""
        return LiveClient(self.ready["admin"])

    def wait_at_most(self, seconds: float) -> int | None:
        """The exit code of a process that ends by itself; None while it runs."""
        assert self._process is not None
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        return self.wait()

    def admin(self, *words: str) -> Any:
        """The result of one admin command; AssertionError when it is refused."""
        answer = json.loads(run_tallystick("admin", "--json", "--socket", self.ready["admin"], *words).stdout)
        assert answer["status"] == 200, answer
        return answer["result"]


# The demo's market, accounts and keys, with a log that goes from segment to segment all the time.
CONFIG = """
[data]
folder = "{data}"

[admin]
socket = "{socket}"
test_money = true

[gateway]
port = 0
unsigned_logon = true
{gateway}
[gateway.session]
requests_per_second = 10_000_000
burst = 10_000_000

[metrics]
port = 0

[[assets]]
name = "BTC"
scale = 8

[[assets]]
name = "USDT"
scale = 6

[[markets]]
symbol = "BTC-USDT"
tick = "0.01"
lot = "0.0001"
min_quantity = "0.0001"
max_quantity = "10000"
min_notional = "5"
max_open_orders = 200_000
maker_fee = "0.001"
taker_fee = "0.002"
reference_price = "50000.00"
band = "0.5"
halt_ms = 60_000

[[accounts]]
id = 1
name = "alice"

[[accounts]]
id = 2
name = "bob"

[[keys]]
id = 1
name = "alice"
account = "alice"
permissions = ["read", "trade"]
public_key = "{key}"

[[keys]]
id = 2
name = "bob"
account = "bob"
permissions = ["read", "trade"]
public_key = "{key}"
"""


class ConfiguredExchange(LiveExchange):
    """A `tallystick run` with a configuration like the demo's, to which a test adds what it is about."""

    def __init__(
        self,
        data: Path,
        sections: str = "",
        *,
        gateway: str = "",
        beside: Path | None = None,
        program: Sequence[str] = TALLYSTICK,
    ) -> None:
        """`sections` are further ones of the configuration, as TOML, and `gateway` is more of that one.

        The configuration and the socket are in the folder `beside`.
        """
        super().__init__(data)
        beside = data.parent if beside is None else beside
        config = beside / "tallystick.toml"
        self._socket = beside / "admin.sock"
        config.write_text(CONFIG.format(data=data, socket=self._socket, key="0f" * 32, gateway=gateway) + sections)
        self._command = [*program, "run", "--config", str(config)]
        self._serving: queue.Queue[str | None] = queue.Queue()

    def start(self, **variables: str) -> Self:
        """Start it with these environment variables and wait until it says that it serves. Raises DidNotStartError."""
        self._serving = queue.Queue()
        return super().start(**variables)

    def _wait(self, output: IO[str]) -> dict[str, Any] | None:
        del output
        client = self._serving.get()
        return None if client is None else {"client": client, "admin": str(self._socket)}

    def _keep_errors(self, stream: IO[str]) -> None:
        for line in stream:
            self.errors += line
            if "serving clients on" in line:
                self._serving.put(line.split()[-1])
        self._serving.put(None)
        stream.close()


@contextmanager
def live_exchange(data: Path, *options: str) -> Iterator[LiveExchange]:
    """A running demo, killed at the end of the block if it still runs."""
    exchange = LiveExchange(data, *options).start()
    try:
        yield exchange
    finally:
        if exchange.runs:
            exchange.kill()


class LiveClient:
    """One connection. `ask` waits for its answer; `send` and `receive` do not belong together in order only."""

    def __init__(self, address: tuple[str, int] | str) -> None:
        self._socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self._socket.settimeout(ANSWER_SECONDS)
        try:
            self._socket.connect(address)
        except BaseException:
            self._socket.close()
            raise
        self._file = self._socket.makefile("rb")
        self._next_id = 1

    def send(self, method: str, **params: Any) -> int:
        """Send a request without waiting; its id."""
        request_id = self._next_id
        self._next_id += 1
        request: dict[str, Any] = {"id": request_id, "method": method}
        if params:
            request["params"] = params
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        return request_id

    def receive(self) -> Any:
        """The next reply; events are passed over. ConnectionError at the end of the stream."""
        while "event" in (message := self.receive_line()):
            pass
        return message

    def receive_line(self) -> Any:
        """The next line, whatever it is. ConnectionError at the end of the stream."""
        line = self._file.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("the exchange closed the connection")
        return json.loads(line)

    def ask(self, method: str, **params: Any) -> Any:
        """Send a request and wait for its reply."""
        request_id = self.send(method, **params)
        reply = self.receive()
        assert reply["id"] == request_id, reply
        return reply

    def wait_no_longer_than(self, seconds: float) -> None:
        """Let `receive` raise TimeoutError after so long."""
        self._socket.settimeout(seconds)

    def send_no_more(self) -> None:
        """The exchange answers what is under way and closes the connection."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def environment(**changes: str) -> dict[str, str]:
    """This process's environment with changes."""
    return {**os.environ, **changes}

"""The real program as a child process, and a small blocking client for it: for tests that kill, restart and look."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

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


class LiveExchange:
    """A `tallystick demo` on a data folder, started and ended as often as a test likes."""

    def __init__(self, data: Path, *options: str, program: Sequence[str] = TALLYSTICK) -> None:
        self.data = data
        self._command = [*program, "demo", "--json", "--port", "0", "--data", str(data), *options]
        self._process: subprocess.Popen[str] | None = None
        self.ready: dict[str, Any] = {}
        self.errors = ""

    def start(self) -> Self:
        """Start it and wait until it says that it serves."""
        assert self._process is None
        process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._process = process
        assert process.stdout is not None
        assert process.stderr is not None
        self._errors_thread = threading.Thread(target=self._keep_errors, args=(process.stderr,))
        self._errors_thread.start()
        watchdog = threading.Timer(START_SECONDS, process.kill)
        watchdog.start()
        line = process.stdout.readline()
        watchdog.cancel()
        if not line:
            code = self._end(None)
            raise AssertionError(f"it did not start within {START_SECONDS} s: exit code {code}\n{self.errors[-2000:]}")
        self.ready = json.loads(line)
        return self

    def _keep_errors(self, stream: Any) -> None:
        for line in stream:
            self.errors += line
        stream.close()

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

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
        client = LiveClient(host, int(port))
        if account is not None:
            assert client.ask("session.logon", apiKey=account)["status"] == 200
        return client

    def admin(self, *words: str) -> Any:
        """The result of one admin command; AssertionError when it is refused."""
        answer = json.loads(run_tallystick("admin", "--json", "--socket", self.ready["admin"], *words).stdout)
        assert answer["status"] == 200, answer
        return answer["result"]


@contextmanager
def live_exchange(data: Path, *options: str) -> Iterator[LiveExchange]:
    """A running demo, killed at the end of the block if it still runs."""
    exchange = LiveExchange(data, *options).start()
    try:
        yield exchange
    finally:
        if exchange._process is not None:
            exchange.kill()


class LiveClient:
    """One connection. `ask` waits for its answer; `send` and `receive` do not belong together in order only."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=ANSWER_SECONDS)
        self._file = self._socket.makefile("rb")
        self._next_id = 1
        self.hello = json.loads(self._file.readline())

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
        while True:
            line = self._file.readline()
            if not line.endswith(b"\n"):
                raise ConnectionError("the exchange closed the connection")
            if not line.startswith(b'{"event":'):
                return json.loads(line)

    def ask(self, method: str, **params: Any) -> Any:
        """Send a request and wait for its reply."""
        request_id = self.send(method, **params)
        reply = self.receive()
        assert reply["id"] == request_id, reply
        return reply

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

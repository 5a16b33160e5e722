"""Requests per second and latency over loopback, durable, beside Redis in the same run.

The exchange is the real program (`tallystick demo --quiet-market`, durability sync) on a fresh data folder. The load
is closed: each connection keeps a window of requests in flight, limit orders that rest and their cancels in turn;
when half a window is answered, as many are sent. Latency is from the sending of half a window to its last answer, so
a window of 1 gives that of a request. Every answer is counted, and an error among them ends the run. The generator is
on the same machine, in Python, and shares its processors.

Redis is `redis-server --appendfsync always` driven by `redis-benchmark -t set -d 64`, where both are installed. A SET
appends some 100 bytes and answers five; an order is decoded, matched, checked for funds and answered in some 300 bytes.
"""

import json
import selectors
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

SHAPES: Final = ((1, 1), (50, 16), (16, 64), (16, 1024), (1000, 4))
WARMUP_SECONDS: Final = 1.0
MEASURED_SECONDS: Final = 4.0
READ_BYTES: Final = 1 << 20
REDIS_REQUESTS: Final = {(1, 1): 5_000, (50, 16): 300_000, (1000, 4): 200_000}


@frozen
class Measured:
    """One load's outcome."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    p999_ms: float = 0.0  # where a tool says no more: 0
    max_ms: float = 0.0


@define
class _Connection:
    """One client connection and the chunks it has in flight."""

    socket: socket.socket
    name: str
    chunk: int
    sent: int = 0
    unanswered: int = 0
    flying: deque[tuple[float, int]] = field(factory=deque)

    def send_chunk(self) -> None:
        """Send the next `chunk` requests: orders and their cancels in turn."""
        lines = []
        for number in range(self.sent, self.sent + self.chunk):
            if number % 2 == 0:
                lines.append(
                    f'{{"id":{number},"method":"order.place","params":{{"symbol":"BTC-USDT","side":"BUY",'
                    f'"type":"LIMIT","quantity":"0.0010","price":"{49_000 + number % 997}.00",'
                    f'"clientOrderId":"{self.name}-{number}"}}}}\n'
                )
            else:
                lines.append(
                    f'{{"id":{number},"method":"order.cancel","params":{{"symbol":"BTC-USDT",'
                    f'"clientOrderId":"{self.name}-{number - 1}"}}}}\n'
                )
        self.sent += self.chunk
        self.unanswered += self.chunk
        self.flying.append((time.perf_counter(), self.chunk))
        self.socket.sendall("".join(lines).encode())

    def receive(self) -> tuple[int, list[float]]:
        """Read what is there; how many answers it was, and the latencies of the chunks it completed."""
        data = self.socket.recv(READ_BYTES)
        answers = data.count(b"\n")
        if data.count(b'"error"'):
            raise SystemExit(f"bench: an answer is an error: {data[:300]!r}")
        self.unanswered -= answers
        now, left, latencies = time.perf_counter(), answers, []
        while left:
            began, open_answers = self.flying[0]
            if open_answers > left:
                self.flying[0] = (began, open_answers - left)
                break
            left -= open_answers
            self.flying.popleft()
            latencies.append(now - began)
        return answers, latencies


def measure(port: int, connections: int, window: int) -> Measured:
    """Load the exchange on this port."""
    chunk = max(1, window // 2)
    selector = selectors.DefaultSelector()
    clients = [_connect(port, number, chunk) for number in range(connections)]
    for client in clients:
        selector.register(client.socket, selectors.EVENT_READ, client)
        for _ in range(window // chunk):
            client.send_chunk()
    began = time.perf_counter() + WARMUP_SECONDS
    answered, latencies = 0, []
    while (now := time.perf_counter()) < began + MEASURED_SECONDS:
        for key, _ in selector.select(1.0):
            answers, seconds = key.data.receive()
            while key.data.unanswered <= window - chunk:
                key.data.send_chunk()
            if now > began:
                answered += answers
                latencies += seconds
    for client in clients:
        client.socket.close()
    latencies.sort()
    return Measured(
        answered / MEASURED_SECONDS,
        1e3 * statistics.median(latencies),
        1e3 * latencies[int(0.99 * len(latencies))],
        1e3 * latencies[int(0.999 * len(latencies))],
        1e3 * latencies[-1],
    )


def _connect(port: int, number: int, chunk: int) -> _Connection:
    connection = socket.create_connection(("127.0.0.1", port), 30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.makefile("rb", buffering=0).readline()
    account = ("alice", "bob")[number % 2]
    connection.sendall(f'{{"method":"session.logon","params":{{"apiKey":"{account}"}}}}\n'.encode())
    if b'"status":200' not in connection.recv(READ_BYTES):
        raise SystemExit("bench: the logon was refused")
    return _Connection(connection, f"{number}-{time.time_ns()}", chunk)


@contextmanager
def demo() -> Iterator[int]:
    """A demo exchange on a fresh folder; its port."""
    with tempfile.TemporaryDirectory(prefix="tallystick-bench-") as folder:
        command = [sys.executable, "-m", "tallystick", "demo", "--json", "--port", "0", "--quiet-market"]
        with subprocess.Popen([*command, "--data", str(Path(folder) / "data")], stdout=subprocess.PIPE) as process:
            if process.stdout is None:
                raise AssertionError("it was asked for a pipe")
            ready = json.loads(process.stdout.readline())
            yield int(ready["client"].rpartition(":")[2])
            process.send_signal(signal.SIGTERM)


@contextmanager
def redis() -> Iterator[int | None]:
    """A Redis that syncs before it answers; its port, or None where it is not installed."""
    server = shutil.which("redis-server")
    if server is None or shutil.which("redis-benchmark") is None:
        yield None
        return
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="tallystick-redis-") as folder:
        options = ["--port", str(port), "--dir", folder, "--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        with subprocess.Popen([server, *options], stdout=subprocess.DEVNULL) as process:
            _wait_for(port)
            yield port
            process.terminate()


def _wait_for(port: int) -> None:
    for _ in range(100):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit("bench: redis-server does not answer")


def measure_redis(port: int, connections: int, window: int) -> Measured | None:
    """The same shape against Redis; None for shapes that are not compared."""
    requests = REDIS_REQUESTS.get((connections, window))
    if requests is None:
        return None
    words = ["redis-benchmark", "-p", str(port), "-t", "set", "-d", "64", "--csv", "-n", str(requests)]
    done = subprocess.run(
        [*words, "-c", str(connections), "-P", str(window)], capture_output=True, text=True, check=True
    )
    header, row = (line.replace('"', "").split(",") for line in done.stdout.strip().splitlines()[-2:])
    figures = dict(zip(header, row, strict=True))
    return Measured(float(figures["rps"]), float(figures["p50_latency_ms"]), float(figures["p99_latency_ms"]))


def main() -> None:
    """Print the table."""
    print("end to end: durable (sync), JSON over loopback, place and cancel in turn; latency of half a window")
    columns = f"{'connections':>11} {'window':>7} {'requests/s':>11} {'p50 ms':>8} {'p99 ms':>8}"
    print(f"{columns}   Redis: requests/s   p50 ms  ratio")
    with demo() as port, redis() as redis_port:
        for connections, window in SHAPES:
            ours = measure(port, connections, window)
            theirs = None if redis_port is None else measure_redis(redis_port, connections, window)
            line = f"{connections:>11} {window:>7} {ours.requests_per_second:>11,.0f}"
            line += f" {ours.p50_ms:>8.2f} {ours.p99_ms:>8.2f}"
            if theirs is not None:
                ratio = ours.requests_per_second / theirs.requests_per_second
                line += f"   {theirs.requests_per_second:>17,.0f} {theirs.p50_ms:>8.2f} {ratio:>6.2f}"
            print(line)
        if redis_port is None:
            print("(no Redis beside it: redis-server and redis-benchmark are not on PATH)")


if __name__ == "__main__":
    main()

"""What a thousand followers of one busy market cost those who trade there: `python -m bench.followers`.

The exchange is the real program (`tallystick demo --quiet-market`, durability sync) on a fresh data folder. Sixteen
connections place and cancel orders at a fixed rate, whatever the answers take, and latency is counted from the moment
at which a request was planned to be sent. Meanwhile other connections, in a process of their own, follow the market's
book and trades, and read all they are told. Everything shares one machine and its processors.
"""

import argparse
import selectors
import socket
import subprocess
import sys
import time
from collections import deque
from contextlib import ExitStack
from typing import Final

from attrs import define, field, frozen

from bench.end_to_end import demo

FOLLOWERS: Final = (0, 100, 1_000)
ORDERS_PER_SECOND: Final = 2_000
CONNECTIONS: Final = 16
WARMUP_SECONDS: Final = 2.0
MEASURED_SECONDS: Final = 10.0
READ_BYTES: Final = 1 << 20


@frozen
class Cost:
    """What was measured with so many followers."""

    followers: int
    orders: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    events: int
    """That all followers were told in the measured time, together."""


@define
class _Trader:
    """One connection that places and cancels, and the planned times of what is not answered yet."""

    socket: socket.socket
    name: str
    sent: int = 0
    planned: deque[float] = field(factory=deque)

    def send(self, planned: float) -> None:
        """The next request: an order, or the cancel of the one before. One in ten trades."""
        number, self.sent = self.sent, self.sent + 1
        if number % 2:
            method, what = "order.cancel", f'"clientOrderId":"{self.name}-{number - 1}"'
        else:
            side = "SELL" if number % 20 == 0 else "BUY"
            price = 49_000 + number % 97
            method = "order.place"
            what = (
                f'"side":"{side}","type":"LIMIT","quantity":"0.0010","price":"{price}.00",'
                f'"clientOrderId":"{self.name}-{number}"'
            )
        self.planned.append(planned)
        line = f'{{"id":{number},"method":"{method}","params":{{"symbol":"BTC-USDT",{what}}}}}\n'
        self.socket.sendall(line.encode())


def measure(port: int, followers: int) -> Cost:
    """Trade for a while with so many followers."""
    with ExitStack() as stack:
        crowd = stack.enter_context(_crowd(port, followers)) if followers else None
        traders = [_trader(port, number) for number in range(CONNECTIONS)]
        latencies = _trade(traders)
        for trader in traders:
            trader.socket.close()
        events = 0
        if crowd is not None:
            told, _ = crowd.communicate("stop\n", timeout=60)
            events = int(told)
    latencies.sort()
    return Cost(
        followers,
        len(latencies),
        1e3 * latencies[len(latencies) // 2],
        1e3 * latencies[int(0.99 * len(latencies))],
        1e3 * latencies[-1],
        events,
    )


def _trade(traders: list[_Trader]) -> list[float]:
    """The latencies in seconds, from the planned moment, of all that was answered in the measured time."""
    selector = selectors.DefaultSelector()
    for trader in traders:
        selector.register(trader.socket, selectors.EVENT_READ, trader)
    step = 1 / ORDERS_PER_SECOND
    began = time.perf_counter()
    measured, end = began + WARMUP_SECONDS, began + WARMUP_SECONDS + MEASURED_SECONDS
    latencies: list[float] = []
    number = 0
    while (now := time.perf_counter()) < end:
        while began + number * step <= now:
            traders[number % len(traders)].send(began + number * step)
            number += 1
        for key, _ in selector.select(max(0.0, began + number * step - time.perf_counter())):
            answers = key.data.socket.recv(READ_BYTES).count(b"\n")
            now = time.perf_counter()
            for _ in range(answers):
                planned = key.data.planned.popleft()
                if planned >= measured:
                    latencies.append(now - planned)
    return latencies


def _trader(port: int, number: int) -> _Trader:
    connection = socket.create_connection(("127.0.0.1", port), 30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.makefile("rb", buffering=0).readline()
    account = ("alice", "bob")[number % 2]
    connection.sendall(f'{{"method":"session.logon","params":{{"apiKey":"{account}"}}}}\n'.encode())
    if b'"status":200' not in connection.recv(READ_BYTES):
        raise SystemExit("bench: the logon was refused")
    return _Trader(connection, f"{number}-{time.time_ns()}")


def _crowd(port: int, followers: int) -> "subprocess.Popen[str]":
    """A process that follows; returns when all have subscribed."""
    command = [sys.executable, "-m", "bench.followers", "--follow", str(port), str(followers)]
    crowd = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if crowd.stdout is None or crowd.stdout.readline() != "ready\n":
        raise SystemExit("bench: the followers could not subscribe")
    return crowd


def follow(port: int, followers: int) -> None:
    """Be so many followers, until a line comes; then say how many events came in the time that is measured."""
    selector = selectors.DefaultSelector()
    request = b'{"method":"subscribe","params":{"channels":["book:BTC-USDT","trade:BTC-USDT"]}}\n'
    for _ in range(followers):
        connection = socket.create_connection(("127.0.0.1", port), 30)
        connection.makefile("rb", buffering=0).readline()
        connection.sendall(request)
        selector.register(connection, selectors.EVENT_READ, connection)
    selector.register(sys.stdin, selectors.EVENT_READ, None)
    print("ready", flush=True)
    began, events = time.perf_counter(), 0
    while True:
        for key, _ in selector.select():
            if key.data is None:
                print(events)
                return
            told = key.data.recv(READ_BYTES).count(b"\n")
            if WARMUP_SECONDS < time.perf_counter() - began < WARMUP_SECONDS + MEASURED_SECONDS:
                events += told


def main(words: list[str] | None = None) -> None:
    """Print the table, or be the followers."""
    parser = argparse.ArgumentParser(prog="python -m bench.followers", description="Measure what followers cost.")
    parser.add_argument("--follow", nargs=2, type=int, metavar=("PORT", "FOLLOWERS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    if arguments.follow is not None:
        follow(*arguments.follow)
        return
    print(f"followers of one market, {ORDERS_PER_SECOND:,} requests/s on {CONNECTIONS} connections; latency as planned")
    print(
        f"{'followers':>10} {'answers':>9} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8} {'p99 ratio':>10} {'events/s':>10}"
    )
    first: Cost | None = None
    for followers in FOLLOWERS:
        with demo() as port:
            cost = measure(port, followers)
        first = first or cost
        line = f"{followers:>10,} {cost.orders:>9,} {cost.p50_ms:>8.2f} {cost.p99_ms:>8.2f} {cost.max_ms:>8.1f}"
        print(f"{line} {cost.p99_ms / first.p99_ms:>10.2f} {cost.events / MEASURED_SECONDS:>10,.0f}", flush=True)


if __name__ == "__main__":
    main()

"""What a snapshot costs and what it saves: starts of the real program with and without one, and latency beside it.

`python -m bench.snapshot [requests]`; five million take a quarter of an hour, and a gigabyte of the temporary folder. A
start is from the command to 'serving'. Latency is that of one request at a time, while the process replays the log and
writes the snapshot on the machine's other core, and without it.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from bench import replay
from bench.end_to_end import Measured, measure
from persistence.segments import paths
from persistence.storage import RealDisk

# Beside those of the demo.
USERS: Final = range(1_001, 2_001)


@frozen
class Demo:
    """A running demo exchange, and how long its start took."""

    port: int
    admin: str
    start_seconds: float

    def snapshot(self) -> dict[str, Any]:
        """Have one taken; what the exchange says of it."""
        words = [sys.executable, "-m", "tallystick", "admin", "--json", "--socket", self.admin, "snapshot"]
        answer = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
        result: dict[str, Any] = answer["result"]
        return result


@contextmanager
def demo(data: Path) -> Iterator[Demo]:
    """A demo exchange on this folder."""
    words = [sys.executable, "-m", "tallystick", "demo", "--json", "--port", "0", "--quiet-market"]
    began = time.perf_counter()
    with subprocess.Popen([*words, "--data", str(data)], stdout=subprocess.PIPE) as process:
        if process.stdout is None:
            raise AssertionError("it was asked for a pipe")
        ready = json.loads(process.stdout.readline())
        seconds = time.perf_counter() - began
        yield Demo(int(ready["client"].rpartition(":")[2]), ready["admin"], seconds)
        process.send_signal(signal.SIGTERM)


def _latency(running: Demo) -> Measured:
    return measure(running.port, 1, 1)


def report(requests: int) -> None:
    """Print it all."""
    with tempfile.TemporaryDirectory(prefix="tallystick-bench-") as folder:
        data = Path(folder) / "data"
        data.mkdir()
        disk = RealDisk(str(data), replay.die)
        replay.write(disk, requests, USERS)
        size = sum(map(disk.size, paths(disk)[:-1]))
        print(f"snapshot: a log of {requests:,} records, {size / 1e6:,.0f} MB")
        with demo(data) as running:
            print(f"{'start, all of the log':>40}: {running.start_seconds:.1f} s")
            # Before the exchange finds by itself that one is due.
            taken: list[dict[str, Any]] = []
            taking = threading.Thread(target=lambda: taken.append(running.snapshot()))
            taking.start()
            beside = _latency(running)
            still = taking.is_alive()
            taking.join()
            _print_latency("while a snapshot is taken" + ("" if still else " (some of the time)"), beside)
            _print_taken("the first snapshot", taken[0])
            _print_latency("alone", _latency(running))
            _print_taken("the next snapshot", running.snapshot())
        with demo(data) as running:
            print(f"{'start with the snapshot':>40}: {running.start_seconds:.1f} s")


def _print_latency(when: str, found: Measured) -> None:
    spread = f"p50 {found.p50_ms:.2f} ms, p99 {found.p99_ms:.2f} ms, p99.9 {found.p999_ms:.2f} ms"
    print(f"{'latency ' + when:>40}: {spread}, max {found.max_ms:.2f} ms")


def _print_taken(what: str, taken: dict[str, Any]) -> None:
    print(
        f"{what:>40}: {taken['seconds']:.1f} s, {taken['bytes'] / 1e6:,.1f} MB, {taken['records']:,} records replayed"
    )


def main() -> None:
    """Measure with a log of as many requests as are asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.snapshot", description="Measure snapshots.")
    parser.add_argument("requests", nargs="?", type=int, default=replay.REQUESTS)
    report(parser.parse_args().requests)


if __name__ == "__main__":
    main()

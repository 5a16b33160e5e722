"""Snapshots of the real program: taken under load, killed at any moment, begun with; and what it tells of them."""

import json
import time
import urllib.request
from pathlib import Path
from random import Random

import pytest

from persistence.snapshot import list_snapshots
from persistence.storage import RealDisk
from tests.counts import count, seeds
from tests.live import ConfiguredExchange, LiveExchange, live_exchange, run_tallystick
from tests.load import Traders
from tests.simulation.disk import power_cut

pytestmark = [pytest.mark.process, pytest.mark.timeout(count(600, 7200))]

# One after the other while a life lasts, each with some segments of its own.
SMALL = """
[writer.log]
segment_bytes = 32_768

[snapshots]
log_bytes = 65_536
seconds = 1.0

[archive]
candle_seconds = 0.1
"""


def snapshots(exchange: LiveExchange) -> list[int]:
    """The numbers of those that are there."""
    return [file.seq for file in list_snapshots(RealDisk(str(exchange.data), power_cut))]


def first_segment(exchange: LiveExchange) -> int:
    """Where the log begins."""
    return int(min((exchange.data / "reqlog").glob("*.log")).stem)


def test_killed_while_snapshots_are_taken(tmp_path: Path) -> None:
    """SIGKILL at random moments, some of them in the midst of one: all holds, and the log's beginning is long gone."""
    random = Random(seeds(1, 1)[0])
    traders = Traders(random)
    exchange = ConfiguredExchange(tmp_path / "data", SMALL)
    for life in range(count(4, 200)):
        exchange.start()
        if life == 0:
            traders.fund(exchange)
        traders.check(exchange)
        traders.begin(exchange)
        time.sleep(random.uniform(0.3, 3.0))
        exchange.kill()
        traders.end()
        verified = run_tallystick("log", "verify", str(exchange.data))
        assert verified.returncode == 0, verified.stdout + verified.stderr
    exchange.start()
    traders.check(exchange)
    for _ in range(3):
        exchange.admin("snapshot")
        traders.begin(exchange)
        traders.end()
        traders.check(exchange)
    assert exchange.stop() == 0
    assert len(snapshots(exchange)) == 3
    assert first_segment(exchange) > 1
    exchange.start()
    assert (
        f"file=snapshots/{snapshots(exchange)[-1]:020}.snap" in exchange.errors.rpartition("began with a snapshot")[2]
    )
    traders.check(exchange)
    assert exchange.stop() == 0
    assert traders.answered > 0


def test_the_tools_on_a_log_whose_beginning_is_gone(tmp_path: Path) -> None:
    """They say so, and work on what is there; replay arrives where the exchange was."""
    traders = Traders(Random(0), orders=150)
    exchange = ConfiguredExchange(tmp_path / "data", SMALL)
    exchange.start()
    traders.fund(exchange)
    for _ in range(4):
        traders.begin(exchange)
        traders.end()
        exchange.admin("snapshot")
    digest = exchange.admin("info")["engine"]["digest"]
    assert exchange.stop() == 0
    first, (oldest, *_, newest) = first_segment(exchange), snapshots(exchange)
    assert first > 1
    verified = run_tallystick("log", "verify", str(exchange.data))
    assert f"it begins with number {first}: snapshots stand for what came before" in verified.stdout
    assert f"3 snapshots, the newest of number {newest}" in verified.stdout
    assert verified.stdout.endswith("clean\n")
    replayed = run_tallystick("log", "replay", "--json", str(exchange.data))
    assert f"the log's beginning is gone; this begins with the snapshot of {oldest}" in replayed.stderr
    assert json.loads(replayed.stdout)["digest"] == digest
    dumped = run_tallystick("log", "dump", "--json", "--to", str(first + 1), str(exchange.data))
    assert f"the log begins with number {first}" in dumped.stderr
    assert [json.loads(line)["seq"] for line in dumped.stdout.splitlines()] == [first, first + 1]
    assert run_tallystick("log", "stat", str(exchange.data)).returncode == 0
    cut = run_tallystick("log", "truncate", str(exchange.data), "--at", str(first), "--yes")
    assert (cut.returncode, "no snapshot up to" in cut.stderr or "inside a frame" in cut.stderr) == (2, True)
    for path in (exchange.data / "snapshots").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    verified = run_tallystick("log", "verify", str(exchange.data))
    assert verified.returncode == 3
    assert verified.stderr.count("a bad snapshot, which a start passes over") == 3
    assert "no good snapshot to stand for what came before" in verified.stderr
    started = run_tallystick("demo", "--port", "0", "--data", str(exchange.data))
    assert started.returncode == 3
    assert "no good snapshot to stand for what came before" in started.stderr


def test_an_operator_takes_one_and_sees_it(tmp_path: Path) -> None:
    """The command's answer, `info`, the metrics and the file say the same; a restart of matching begins with it."""
    with live_exchange(tmp_path / "data", "--quiet-market", "--verbose") as exchange:
        assert exchange.admin("info")["snapshot"] == {"seq": 0, "time_ns": 0, "failures": 0, "last_failure": ""}
        taken = exchange.admin("snapshot")
        assert snapshots(exchange) == [taken["seq"]]
        assert (exchange.data / taken["file"]).stat().st_size == taken["bytes"]
        assert exchange.admin("info")["snapshot"]["seq"] == taken["seq"]
        with urllib.request.urlopen(exchange.ready["metrics"], timeout=10) as response:  # noqa: S310 - our own address
            metrics = dict(line.rsplit(" ", 1) for line in response.read().decode().splitlines())
        assert float(metrics["tallystick_snapshot_seq"]) == taken["seq"]
        assert float(metrics["tallystick_snapshot_bytes"]) == taken["bytes"]
        assert 0 <= float(metrics["tallystick_snapshot_age_seconds"]) < 60
        exchange.admin("actor.restart", "matching")
        assert taken["file"] in exchange.errors
        assert exchange.stop() == 0

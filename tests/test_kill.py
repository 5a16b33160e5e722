"""The real program, killed under load: nothing that was answered is lost, and no balance is off by a unit."""

import json
import time
from pathlib import Path
from random import Random

import pytest

from tests.counts import count, seeds
from tests.live import ConfiguredExchange, LiveExchange, run_tallystick
from tests.load import Traders

pytestmark = [pytest.mark.process, pytest.mark.timeout(count(600, 7200))]

# A few of these fill while a life lasts.
SMALL_SEGMENTS = """
[writer.log]
segment_bytes = 65_536
"""


def test_killed_under_load(tmp_path: Path) -> None:
    """SIGKILL at random moments under load: every answer still holds, every balance is exact, the log is clean."""
    random = Random(seeds(1, 1)[0])
    traders = Traders(random)
    exchange = ConfiguredExchange(tmp_path / "data", SMALL_SEGMENTS)
    for life in range(count(10, 200)):
        exchange.start()
        if life == 0:
            traders.fund(exchange)
        traders.check(exchange)
        traders.begin(exchange)
        time.sleep(random.uniform(0.01, 0.25))
        exchange.kill()
        traders.end()
        verified = run_tallystick("log", "verify", str(exchange.data))
        assert verified.returncode == 0, verified.stdout + verified.stderr
    exchange.start()
    traders.check(exchange)
    exchange.kill()
    assert traders.answered > 0
    assert len(list((exchange.data / "reqlog").glob("*.log"))) > 5


def test_stopped_under_load(tmp_path: Path) -> None:
    """SIGTERM under load: code 0, the log is sealed in order, and what was answered is in it."""
    traders = Traders(Random(1))
    exchange = LiveExchange(tmp_path / "data", "--quiet-market").start()
    traders.begin(exchange)
    time.sleep(0.1)
    assert exchange.stop() == 0
    traders.end()
    verdict = json.loads(run_tallystick("log", "verify", "--json", str(exchange.data)).stdout)
    assert verdict["damage"] is None
    assert verdict["stopped_in_order"] is True
    exchange.start()
    traders.check(exchange)
    assert exchange.interrupt() == 0

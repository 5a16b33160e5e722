"""The real program, killed under load: nothing that was answered is lost, and no balance is off by a unit."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import pytest

from tests.counts import count, seeds
from tests.live import ConfiguredExchange, LiveExchange, run_tallystick
from tests.load import Traders

pytestmark = [pytest.mark.process, pytest.mark.timeout(count(600, 7200))]

# A few segments fill while a life lasts, and are copied, covered and pruned in the midst of it.
SECTIONS = """
[writer.log]
segment_bytes = 32_768

[snapshots]
log_bytes = 65_536
keep = 2

[archive]
candle_seconds = 0.1

[backup]
target = "file://{backup}"
"""


def test_killed_under_load(tmp_path: Path) -> None:
    """SIGKILL at random moments under load, while segments roll and copies are made: every answer still holds.

    So does every balance, and the log and the backup are clean.
    """
    random = Random(seeds(1, 1)[0])
    traders = Traders(random)
    backup = tmp_path / "backup"
    backup.mkdir()
    exchange = ConfiguredExchange(tmp_path / "data", SECTIONS.format(backup=backup))
    for life in range(count(20, 500)):
        exchange.start()
        if life == 0:
            traders.fund(exchange)
        traders.check(exchange)
        traders.begin(exchange)
        with have_copies_made(exchange):
            time.sleep(random.choice((random.uniform(0.01, 0.25), random.uniform(0.25, 2.5))))
            exchange.kill()
        traders.end()
        verified = run_tallystick("log", "verify", str(exchange.data))
        assert verified.returncode == 0, verified.stdout + verified.stderr
    exchange.start()
    traders.check(exchange)
    with exchange.operator() as operator:
        for words in ("snapshot", "backup"):
            assert operator.ask(words)["status"] == 200
    exchange.kill()
    assert traders.answered > 0
    assert int(min(path.stem for path in (exchange.data / "reqlog").glob("*.log"))) > 1, "nothing was ever pruned"
    verified = run_tallystick("backup", "verify", backup.as_uri())
    assert verified.returncode == 0, verified.stdout + verified.stderr


@contextmanager
def have_copies_made(exchange: LiveExchange) -> Iterator[None]:
    """Ask for snapshots and backups one after the other, until the exchange is dead at the end of the block."""

    def ask() -> None:
        with suppress(OSError), exchange.operator() as operator:
            while True:
                operator.ask("snapshot")
                operator.ask("backup")

    asking = threading.Thread(target=ask)
    asking.start()
    yield
    asking.join()


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

"""Backups of the real program: under kill -9, to a real socket, and back."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from persistence.exits import Exit
from tests.counts import count
from tests.live import ConfiguredExchange, LiveExchange, environment, live_exchange, run_tallystick
from tests.s3 import BUCKET, fake_s3

pytestmark = pytest.mark.process

ORDER = {"symbol": "BTC-USDT", "side": "BUY", "type": "LIMIT", "quantity": "0.5"}


def place(exchange: LiveExchange, orders: int) -> list[int]:
    """Orders that rest; their ids, each answered."""
    with exchange.client("alice") as alice:
        answers = [alice.ask("order.place", price=f"{40_000 + n}.00", **ORDER) for n in range(orders)]
    assert all(answer["status"] == 200 for answer in answers)
    return [answer["result"]["orderId"] for answer in answers]


def told(*words: str) -> Any:
    """What a command prints as JSON."""
    done = run_tallystick(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def until(condition: Callable[[], object]) -> None:
    """Wait for it."""
    for _ in range(200):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come to that")


def test_a_lost_machine_costs_what_was_not_copied(tmp_path: Path) -> None:
    """Orders, backup, more orders, kill -9, the disk is gone: the first ones are restored, and nothing trades.

    An operator resumes it, and it goes on with new receipts; its own backup is of the new epoch.
    """
    (cold := tmp_path / "cold").mkdir()
    data, restored = tmp_path / "data", tmp_path / "restored"
    with live_exchange(data, "--quiet-market") as exchange:
        safe = place(exchange, 20)
        exchange.admin("snapshot")
        copied = exchange.admin("backup")
        assert copied["segments"] == 1
        place(exchange, 5)
        assert exchange.admin("info")["backup"]["lag"] >= 5
        exchange.kill()
    (data / "backup").rename(cold / "demo")
    url = (cold / "demo").as_uri()
    facts = told("backup", "verify", url)
    assert facts["seq"] == copied["last_seq"]
    assert facts["snapshots"] == 1
    done = told("backup", "restore", url, str(restored))
    assert (done["stateHash"], done["newEpoch"]) == (facts["stateHash"], 2)
    with live_exchange(restored, "--quiet-market") as exchange:
        assert {market["status"] for market in exchange.admin("market.list")["markets"]} == {"HALT"}
        with exchange.client("alice") as alice:
            orders = alice.ask("openOrders.status")["result"]["orders"]
            assert [order["orderId"] for order in orders] == safe
            refused = alice.ask("order.place", price="41000.00", **ORDER)
            assert refused["error"]["reason"] == "MARKET_CLOSED"
            assert alice.ask("order.cancel", symbol="BTC-USDT", orderId=safe[0])["status"] == 200
        exchange.admin("market.resume", "BTC-USDT")
        place(exchange, 1)
        assert exchange.admin("log.status")["epoch"] == 2
        exchange.admin("backup")
        assert exchange.stop() == Exit.DONE
    (own,) = told("backup", "list", (restored / "backup").as_uri())
    assert own["epoch"] == 2


@pytest.mark.timeout(count(120, 3600))
def test_kill_at_any_moment_of_a_backup(tmp_path: Path) -> None:
    """However often: the next start goes on, and in the end everything that was logged is there."""
    data = tmp_path / "data"
    exchange = LiveExchange(data, "--quiet-market")
    for n in range(count(5, 200)):
        exchange.start()
        place(exchange, 20)
        with exchange.operator() as operator:
            operator.send("backup")
            time.sleep(0.005 * (n % 5))
            exchange.kill()
    exchange.start()
    copied = exchange.admin("backup")
    assert exchange.admin("info")["backup"]["trouble"] is None
    exchange.kill()
    facts = told("backup", "verify", (data / "backup").as_uri())
    assert facts["seq"] == copied["last_seq"]
    assert facts["epoch"] == 1


def test_s3_by_its_requests(tmp_path: Path) -> None:
    """The real program and a bucket: down at first, which traders do not notice; then copied to, and restored from."""
    url = f"s3://{BUCKET}/exchanges"
    with fake_s3() as s3:
        s3.is_down = True
        exchange = ConfiguredExchange(tmp_path / "data", f'[backup]\ntarget = "{url}"\n')
        exchange.start(**s3.environment())
        try:
            until(lambda: exchange.admin("info")["backup"]["failures"])
            assert "503" in exchange.admin("info")["backup"]["trouble"]
            assert exchange.admin("account.add", "carol")["name"] == "carol"
            s3.is_down = False
            copied = exchange.admin("backup")
            assert exchange.admin("info")["backup"]["trouble"] is None
            assert exchange.stop() == Exit.DONE
        finally:
            if exchange.runs:
                exchange.kill()
        assert {name.split("/")[0] for name in s3.objects} == {"exchanges"}
        here = environment(**s3.environment())
        facts = json.loads(run_tallystick("backup", "verify", url, "--json", env=here).stdout)
        assert facts["seq"] == copied["last_seq"]
        done = run_tallystick("backup", "restore", url, str(tmp_path / "restored"), "--json", env=here)
        assert json.loads(done.stdout)["stateHash"] == facts["stateHash"]

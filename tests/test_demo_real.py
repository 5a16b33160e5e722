"""`tallystick demo --nodes real`: a bitcoind and an anvil of the demo's own, which one can pay, mine and undo."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tallystick import fetching
from tests.live import LiveExchange
from tests.real_nodes import CACHE, say

pytestmark = [pytest.mark.process, pytest.mark.timeout(400)]

PATIENCE_SECONDS: Final = 60.0


def until(found: Callable[[], bool]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def ask(exchange: LiveExchange, method: str, **params: Any) -> Any:
    """One request of alice's; its result."""
    client = exchange.client("alice")
    try:
        answer = client.ask(method, **params)
    finally:
        client.close()
    assert answer["status"] == 200, answer
    return answer["result"]


def free(exchange: LiveExchange, asset: str) -> str:
    """What alice has of it."""
    found = {each["asset"]: each["free"] for each in ask(exchange, "account.status")["balances"]}
    return str(found[asset])


def test_deposits_and_withdrawals_on_nodes_of_the_demos_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is paid in is credited, what is paid out is mined, and a kill and a second start change nothing."""
    fetching.bitcoind(CACHE, say)
    fetching.anvil(CACHE, say)
    (tmp_path / "cache" / "tallystick").mkdir(parents=True)
    (tmp_path / "cache" / "tallystick" / "nodes").symlink_to(CACHE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    exchange = LiveExchange(tmp_path / "data", "--quiet-market", "--nodes", "real").start()
    try:
        before = {asset: free(exchange, asset) for asset in ("BTC", "ETH", "USDT")}
        for asset, amount in (("BTC", "1.5"), ("ETH", "2.5"), ("USDT", "35.5")):
            address = ask(exchange, "deposit.address", asset=asset)["address"]
            exchange.admin("demo.pay", asset, address, amount)
        for asset in ("BTC", "ETH"):
            exchange.admin("demo.mine", asset, "4")
        wanted = {"BTC": "1001.50000000", "ETH": "20002.500000000", "USDT": "100000035.500000"}
        assert before != wanted
        until(lambda: {asset: free(exchange, asset) for asset in wanted} == wanted)
        to = "bcrt1qr7dcfav6p7zsj09cg2hcv34zcwmcr8n4wpt05c"
        ask(exchange, "withdraw.apply", asset="BTC", address=to, amount="0.5", withdrawOrderId="w")
        exchange.kill()
        exchange.start()
        until(lambda: ask(exchange, "withdraw.status", withdrawOrderId="w")["status"] == "COMPLETED")
        assert free(exchange, "ETH") == wanted["ETH"]
        assert exchange.admin("demo.reorg", "ETH", "1")["undone"] == 1
        assert exchange.stop() == 0
    finally:
        if exchange.runs:
            exchange.kill()

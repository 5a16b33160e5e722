"""What `make binary` does last: the single binary by itself, in an empty environment and an empty folder.

It checks itself, is configured, trades, is killed and started again, has a snapshot taken by another process of its
own, and stops in order; then the log is verified by it too. Run it as `python -m tests.binary_check FILE`.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.live import LiveExchange

ORDER = {"symbol": "BTC-USDT", "side": "SELL", "type": "LIMIT", "quantity": "0.5", "price": "50000.00"}
TOO_LARGE_BYTES = 150 * 1024 * 1024


def check(binary: Path) -> None:
    """All of it; AssertionError where something is not as it should be."""
    size = binary.stat().st_size
    assert size < TOO_LARGE_BYTES, f"{size} bytes"
    program = ("/usr/bin/env", "-i", str(binary))
    with tempfile.TemporaryDirectory(prefix="tallystick-binary-") as folder:
        os.chdir(folder)
        said = _run(program, "selfcheck")
        assert "engine   compiled" in said, said
        began = time.monotonic()
        _run(program, "version")
        version_seconds = time.monotonic() - began
        exchange = LiveExchange(Path(folder, "data"), "--quiet-market", program=program)
        began = time.monotonic()
        exchange.start()
        serving_seconds = time.monotonic() - began
        try:
            _trade_and_die(exchange)
            _live_again(program, exchange)
        finally:
            if exchange.runs:
                exchange.kill()
        verdict = json.loads(_run(program, "log", "verify", "--json", "data"))
        assert verdict["damage"] is None, verdict
        assert verdict["stopped_in_order"] is True, verdict
    _report(
        f"{binary}: {size / 1e6:.0f} MB, says its version after {version_seconds:.2f} s, "
        f"serves {serving_seconds:.2f} s after its start"
    )


def _run(program: tuple[str, ...], *words: str) -> str:
    done = subprocess.run([*program, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _trade_and_die(exchange: LiveExchange) -> None:
    """Alice's order is half filled by Bob when the exchange is killed."""
    with exchange.client("alice") as alice, exchange.client("bob") as bob:
        placed = alice.ask("order.place", **ORDER, clientOrderId="rest")
        assert placed["result"]["status"] == "NEW", placed
        taken = bob.ask("order.place", **{**ORDER, "side": "BUY", "quantity": "0.2"})
        assert taken["result"]["status"] == "FILLED", taken
        # The pid in the lock is the exchange's; the one that was started may be the loader's, whose end it shares.
        pid = int((exchange.data / "lock").read_text())
        exchange.kill()
        _wait_until_gone(pid)


def _wait_until_gone(pid: int) -> None:
    for _ in range(300):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    raise AssertionError("the exchange outlived its loader")


def _live_again(program: tuple[str, ...], exchange: LiveExchange) -> None:
    exchange.start()
    with exchange.client("alice") as alice:
        status = alice.ask("order.status", symbol=ORDER["symbol"], clientOrderId="rest")
        assert status["result"]["executedQty"] == "0.2000", status
    taken = _admin(program, exchange, "snapshot")
    assert taken["records"] > 0, taken
    assert _admin(program, exchange, "info")["engine"]["compiled"] is True
    assert exchange.stop() == 0, exchange.errors


def _admin(program: tuple[str, ...], exchange: LiveExchange, *words: str) -> Any:
    answer = json.loads(_run(program, "admin", "--json", "--socket", exchange.ready["admin"], *words))
    return answer["result"]


def _report(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    check(Path(sys.argv[1]).absolute())

"""`tallystick collect`: the evidence is all there, replays, and has no secret in it; nothing is changed by it."""

import hashlib
import json
import stat
import tarfile
from pathlib import Path

import pytest

from tests.live import LiveExchange, live_exchange, run_tallystick

CANARY = "canary-0f3a9b"
CONFIG = f"""
[data]
folder = "data"

[store]
password = "{CANARY}"
password_file = "/run/secret"
url = "mysql://tallystick:{CANARY}@db/tallystick?key={CANARY}"
"""


def test_evidence_of_a_running_exchange(tmp_path: Path) -> None:
    """What it answers, its log with the newest snapshot, and the configuration without its secrets."""
    with live_exchange(tmp_path / "data", "--quiet-market") as exchange:
        trade(exchange)
        exchange.admin("snapshot")
        trade(exchange)
        digest = exchange.admin("info")["engine"]["digest"]
        config, log = tmp_path / "tallystick.toml", tmp_path / "exchange.log"
        config.write_text(CONFIG)
        log.write_text("a line\n")
        before = contents(tmp_path / "data")
        done = run_tallystick(
            *("collect", str(tmp_path / "data"), "--out", str(tmp_path / "evidence.tar.gz")),
            *("--socket", exchange.ready["admin"], "--config", str(config), "--log", str(log)),
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert contents(tmp_path / "data") == before
    assert stat.S_IMODE((tmp_path / "evidence.tar.gz").stat().st_mode) == 0o600
    with tarfile.open(tmp_path / "evidence.tar.gz") as archive:
        archive.extractall(tmp_path / "out", filter="data")
    out = tmp_path / "out" / "tallystick-evidence"
    files = {str(path.relative_to(out)): path for path in out.rglob("*") if path.is_file()}
    assert not any(CANARY in path.read_text(errors="replace") for path in files.values())
    assert json.loads(files["config.json"].read_text())["store"] == {
        "password": "***",
        "password_file": "/run/secret",
        "url": "mysql://***@db/tallystick?***",
    }
    assert json.loads(files["missing.json"].read_text()) == []
    assert json.loads(files["admin/tree.json"].read_text())["name"] == "root"
    assert files["log.txt"].read_text() == "a line\n"
    assert any(name.startswith("data/snapshots/") for name in files)
    assert any(name.startswith("data/audit/") for name in files)
    replayed = run_tallystick("log", "replay", "--json", str(out / "data"))
    assert json.loads(replayed.stdout)["digest"] == digest, replayed.stderr


def test_evidence_of_what_there_is(tmp_path: Path) -> None:
    """Without a running exchange, and without a data folder, it says what is not in the archive."""
    done = run_tallystick("collect", str(tmp_path / "none"), "--out", str(tmp_path / "a.tar.gz"), "--socket", "none")
    assert done.returncode == 0, done.stderr
    assert "not in it: tree: no exchange answers at none" in done.stderr
    again = run_tallystick("collect", str(tmp_path / "none"), "--out", str(tmp_path / "a.tar.gz"))
    assert again.returncode == 2
    assert "cannot write" in again.stderr


def trade(exchange: LiveExchange) -> None:
    """An order that rests."""
    with exchange.client("alice") as alice:
        order = {"symbol": "BTC-USDT", "side": "BUY", "type": "LIMIT", "quantity": "0.1", "price": "45000.00"}
        assert alice.ask("order.place", **order)["status"] == 200


def contents(folder: Path) -> dict[str, str]:
    """Every file of the request log and its snapshots, by its digest."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for part in ("reqlog", "snapshots", "audit")
        for path in (folder / part).rglob("*")
        if path.is_file()
    }


pytestmark = pytest.mark.process

"""deploy/prometheus and deploy/grafana: every alert fires when it should and only then, on metrics that there are."""

import json
import re
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.debian import program
from tests.live import live_exchange
from tests.pages import read_page, table

DEPLOY = Path(__file__).parent.parent / "deploy"
RULES = (DEPLOY / "prometheus" / "tallystick.rules.yml").read_text(encoding="utf-8")
RULE_TESTS = (DEPLOY / "prometheus" / "tallystick.rules.test.yml").read_text(encoding="utf-8")
DASHBOARD = json.loads((DEPLOY / "grafana" / "tallystick.json").read_text(encoding="utf-8"))

ALERTS = re.findall(r"- alert: (\w+)", RULES)
METRIC = re.compile(r"\b(?:tallystick|process)_[a-z_]+\b|\bup\b")
ONLY_WITH_A_CERTIFICATE = {"tallystick_certificate_expiry_timestamp_seconds"}
PAGE = [row[0] for row in table(read_page("operating.md"), "metric", "type", "meaning")]


def expressions() -> Iterator[str]:
    """Of every rule and every panel."""
    yield from re.findall(r"expr: (.*)", RULES)
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]


def used() -> set[str]:
    """The metrics in them, without what a histogram's parts are called."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for text in expressions() for name in METRIC.findall(text)}


def test_every_metric_that_is_used_there_is() -> None:
    """The page of metrics is held against a scrape; `up` is Prometheus' own."""
    assert used() - {"up"} <= {*PAGE, *ONLY_WITH_A_CERTIFICATE}
    assert all(f"`{name}`" in read_page("operating.md") for name in ONLY_WITH_A_CERTIFICATE)


def test_every_metric_is_on_the_dashboard_or_says_nothing_by_itself() -> None:
    """What nobody looks at need not be there."""
    told_elsewhere = {
        *("tallystick_build_info", "tallystick_log_segments", "tallystick_snapshot_seq", "tallystick_backup_last_seq"),
        *("tallystick_backup_bytes", "process_virtual_memory_bytes"),
        # `info` shows the store and the archive.
        *("tallystick_store_ok", "tallystick_store_failures_total", "tallystick_candles_through_seq"),
        *("tallystick_candle_gaps_total", "tallystick_audit_waiting", "tallystick_audit_lost_total"),
    }
    assert {name for name in PAGE if name.startswith(("tallystick", "process"))} - used() <= told_elsewhere


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_tested_both_ways(alert: str) -> None:
    """One case that fires, one that comes close."""
    cases = [case for case in RULE_TESTS.split("  - name: ") if f"alertname: {alert}\n" in case]
    assert any("exp_alerts: []" in case for case in cases)
    assert any("exp_alerts:\n" in case for case in cases)


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_a_runbook(alert: str) -> None:
    """Under its own name."""
    assert f"\n## {alert}\n" in read_page("operations/runbooks.md")
    assert f"runbook: docs/operations/runbooks.md#{alert.lower()}\n" in RULES


@pytest.mark.process
def test_the_rules_fire_when_they_should() -> None:
    """Prometheus' own tests of rules pass, and its own check of the sample."""
    promtool = program("prometheus", "usr/bin/promtool")
    for words in (("test", "rules", "tallystick.rules.test.yml"), ("check", "config", "prometheus.yml")):
        done = subprocess.run(
            [promtool, *words], cwd=DEPLOY / "prometheus", capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.process
def test_a_real_prometheus_scrapes_a_real_exchange(tmp_path: Path) -> None:
    """Every expression of a rule and of the dashboard is understood, and every metric in them has been scraped."""
    with live_exchange(tmp_path / "data") as exchange:
        host = exchange.ready["metrics"].removeprefix("http://").removesuffix("/metrics")
        with exchange.client("alice") as alice:
            assert alice.ask("order.cancel", symbol="BTC-USDT", orderId=999)["status"] == 400
        exchange.admin("snapshot")
        config = tmp_path / "prometheus.yml"
        config.write_text(
            f"global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: tallystick, static_configs: "
            f"[{{targets: ['{host}']}}]}}]\n"
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        prometheus = subprocess.Popen(
            [
                program("prometheus", "usr/bin/prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                f"--web.listen-address={address}",
                "--log.level=error",
            ]
        )
        try:
            _wait_for(address, "up == 1")
            found = {name for name in used() if _query(address, f'{{__name__=~"{name}(_count)?"}}')}
            assert used() - ONLY_WITH_A_CERTIFICATE == found
            for text in expressions():
                _query(address, text.replace("$instance", ".*"))
        finally:
            prometheus.terminate()
            prometheus.wait(30)


def _wait_for(address: str, expression: str) -> None:
    """Until it is so: Prometheus starts, and scrapes after a second."""
    for _ in range(300):
        try:
            if _query(address, expression):
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"{expression} has not come true")


def _query(address: str, expression: str) -> Any:
    """What Prometheus answers; an expression that it does not understand is an error of ours."""
    data = urllib.parse.urlencode({"query": expression}).encode()
    with urllib.request.urlopen(f"http://{address}/api/v1/query", data, timeout=10) as response:
        answer = json.load(response)
    assert answer["status"] == "success", answer
    return answer["data"]["result"]

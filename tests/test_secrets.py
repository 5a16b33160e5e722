"""No secret gets out: canaries are put wherever one is, and all output is searched for them."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.live import ConfiguredExchange, LiveClient, run_tallystick

pytestmark = pytest.mark.process

SIGNATURE = "ca" * 64
BUCKET_KEY = "canary-of-a-bucket"
SECTIONS = """
[log]
format = "json"
level = "debug"
"""


def test_canaries_are_nowhere(tmp_path: Path) -> None:
    """Not in the log at its most talkative, not in what operators and clients are answered, not in what is written."""
    exchange = ConfiguredExchange(tmp_path / "data", SECTIONS)
    exchange.start(AWS_SECRET_ACCESS_KEY=BUCKET_KEY)
    said: list[str] = []
    watching = subprocess.Popen(
        [*exchange._command[:3], "admin", "--json", "--socket", exchange.ready["admin"], "monitor"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert watching.stdout is not None
    said.append(watching.stdout.readline())
    try:
        with exchange.client() as stranger:
            said.append(_ask(stranger, "session.logon", apiKey="alice", timestamp=1, signature=SIGNATURE))
            said.append(_ask(stranger, "session.logon", apiKey="alice", timestamp=2**53, signature=SIGNATURE))
            said.append(_ask(stranger, SIGNATURE))
        said += [watching.stdout.readline() for _ in range(3)]
        for words in (["config.show"], ["slowlog"], ["metrics"], ["audit.tail"], ["session.list"], ["tree"], ["info"]):
            said.append(run_tallystick("admin", "--json", "--socket", exchange.ready["admin"], *words).stdout)
    finally:
        watching.terminate()
        watching.communicate()
        exchange.kill()
    assert [json.loads(line).get("method") for line in said[4:7]] == ["session.logon", "session.logon", "unreadable"]
    assert all(said)
    kept = [path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()]
    for output in [exchange.errors, *said, *(content.decode(errors="replace") for content in kept)]:
        for canary in (SIGNATURE, BUCKET_KEY):
            assert canary not in output
    lines = [line for line in exchange.errors.splitlines() if not line.startswith("tallystick:")]
    assert {"event", "actor", "level", "timestamp"} <= set.intersection(*(set(json.loads(line)) for line in lines))


def _ask(client: LiveClient, method: str, **params: object) -> str:
    return json.dumps(client.ask(method, **params))

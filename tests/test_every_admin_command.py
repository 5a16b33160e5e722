"""Each admin command, run against a live demo as bare words and as JSON, and refused where it is wrong."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen

from tests.live import LiveExchange, live_exchange

pytestmark = pytest.mark.process

KEY = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"


@frozen
class Case:
    """A command as one types it, and parameters of the same or a like call in JSON."""

    words: str
    params: dict[str, object] = field(factory=dict)


# In an order in which each finds what it needs.
CASES = (
    Case("tree"),
    Case("actor.show matching", params={"name": "gateway"}),
    Case("actor.restart metrics", params={"name": "snapshotter"}),
    Case("actor.stop metrics --yes", params={"name": "backup", "yes": True}),
    Case("actor.start metrics", params={"name": "backup"}),
    Case("market.list"),
    Case("market.show BTC-USDT", params={"symbol": "ETH-USDT"}),
    Case(
        "asset.add LTC 8",
        params={"name": "DOGE", "scale": 6},
    ),
    Case(
        "market.add symbol=LTC-USDT tick=0.01 lot=0.001 min_quantity=0.001 max_quantity=1000 min_notional=5 "
        "maker_fee=0.001 taker_fee=0.002",
        params={
            "symbol": "DOGE-USDT",
            "tick": "0.01",
            "lot": "0.001",
            "min_quantity": "0.001",
            "max_quantity": "1000",
            "min_notional": "5",
            "maker_fee": "0.001",
            "taker_fee": "0.002",
        },
    ),
    Case("market.halt LTC-USDT", params={"symbol": "DOGE-USDT"}),
    Case("market.cancel-only LTC-USDT", params={"symbol": "DOGE-USDT"}),
    Case("market.post-only LTC-USDT", params={"symbol": "DOGE-USDT"}),
    Case("market.resume LTC-USDT", params={"symbol": "DOGE-USDT"}),
    Case("market.cancel-all BTC-USDT --yes", params={"symbol": "BTC-USDT", "yes": True}),
    Case(
        "market.fees LTC-USDT 1 0.0001 0.001",
        params={"symbol": "DOGE-USDT", "tier": 1, "maker": "0.0001", "taker": "0.001"},
    ),
    Case("asset.list"),
    Case("asset.freeze LTC", params={"name": "DOGE"}),
    Case("asset.thaw LTC", params={"name": "DOGE"}),
    Case("account.list", params={"from": 2}),
    Case("account.add carol", params={"name": "dave"}),
    Case("account.show carol", params={"account": "dave"}),
    Case("account.freeze carol", params={"account": "dave"}),
    Case("account.thaw carol", params={"account": "dave"}),
    Case("account.tier carol 1", params={"account": "dave", "tier": 1}),
    Case(
        f"key.add carol-1 carol read,trade {KEY}",
        params={"name": "dave-1", "account": "dave", "permissions": "read", "public_key": KEY},
    ),
    Case("key.revoke carol-1", params={"key": "dave-1"}),
    Case("balances alice", params={"account": "bob"}),
    Case("credit carol USDT 5", params={"account": "dave", "asset": "USDT", "amount": "5"}),
    Case("session.list"),
    Case("session.kill SESSION", params={"session": "SESSION"}),
    Case("log.status"),
    Case("snapshot"),
    Case("backup"),
    Case("monitor status=400", params={"filter": "account=1"}),
    Case("slowlog"),
    Case("latency"),
    Case("metrics"),
    Case("loglevel session debug", params={"actor": "all", "level": "warning"}),
    Case("config.show"),
    Case("audit.tail 5", params={"count": 7}),
    Case("verify"),
    Case("info log", params={"section": "engine"}),
    Case("version"),
    Case("help"),
    Case("drain", params={"off": "off"}),
    Case("shutdown --yes", params={"yes": True}),
)

# Whose tests have nodes and a store.
ELSEWHERE = ("deposit.", "withdrawal", "reconcile", "ledger.", "demo.")

# What is wrong, and a word of why; as bare words and as JSON.
WRONG: tuple[tuple[str, dict[str, object], str], ...] = (
    ("actor.show nobody", {"name": "nobody"}, "no child is called nobody"),
    ("actor.restart nobody", {"name": "nobody"}, "no child is called nobody"),
    ("actor.stop metrics", {"name": "metrics"}, "say that you mean it"),
    ("actor.stop admin --yes", {"name": "admin", "yes": True}, "nobody could start it again"),
    ("actor.stop nobody --yes", {"name": "nobody", "yes": True}, "no child is called nobody"),
    ("actor.start nobody", {"name": "nobody"}, "no child is called nobody"),
    ("market.cancel-all BTC-USDT", {"symbol": "BTC-USDT"}, "say that you mean it"),
    ("market.show BTC", {"symbol": "BTC"}, "there is no market 'BTC'"),
    ("monitor colour=red", {"filter": "colour=red"}, "KEY=VALUE"),
    ("loglevel nobody info", {"actor": "nobody", "level": "info"}, "actor must be all or one of"),
    ("loglevel session loud", {"actor": "session", "level": "loud"}, "level must be one of"),
    ("audit.tail 0", {"count": 0}, "count must be 1 to 1000, not 0"),
    ("audit.tail many", {"count": "many"}, "expected a whole number"),
    ("info weather", {"section": "weather"}, "section must be one of version, engine"),
    ("drain now", {"off": "now"}, "is not 'off'"),
    ("session.kill 999", {"session": 999}, "there is no session"),
    ("shutdown", {}, "say that you mean it"),
    ("version 2", {"0": "2"}, "one too many"),
    ("tree 2", {"x": "2"}, "one too many"),
)


class Line:
    """One connection to the admin socket, as a person's socat has it."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(path)
        self._file = self._socket.makefile("rb")

    def say(self, line: str) -> Any:
        """Send a line, and read one."""
        self._socket.sendall(line.encode() + b"\n")
        return self.next()

    def next(self) -> Any:
        """Read a line."""
        return json.loads(self._file.readline())

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[LiveExchange]:
    """A demo with nobody in it."""
    with live_exchange(tmp_path / "data", "--quiet-market") as exchange:
        yield exchange


def called(exchange: LiveExchange, line: str) -> Any:
    """The answer on a connection of its own: some commands end it."""
    connection = Line(exchange.ready["admin"])
    try:
        return connection.say(line)
    finally:
        connection.close()


@pytest.mark.parametrize("form", ["words", "json"])
def test_each_command(demo: LiveExchange, form: str) -> None:
    """It does what it says, in both forms; `help` lists exactly these, and those that are tested elsewhere."""
    listed = called(demo, "help")["result"]["commands"]
    names = {usage.split()[0] for usage in listed}
    assert {name for name in names if not name.startswith(ELSEWHERE)} == {_name(case) for case in CASES}
    for case in CASES:
        line = case.words
        if form == "json":
            line = json.dumps({"id": 5, "method": _name(case), "params": case.params})
        if _name(case) == "session.kill":
            client = demo.client()
            number = called(demo, "session.list")["result"]["sessions"][-1]["session"]
            line = line.replace("SESSION", str(number))
        answer = called(demo, line)
        assert answer["status"] == 200, (line, answer)
        if form == "json":
            assert answer["id"] == 5
        if _name(case) == "session.kill":
            with pytest.raises(ConnectionError):
                client.receive_line()
            client.close()
    assert demo.wait() == 0


def _name(case: Case) -> str:
    return case.words.split()[0]


def test_what_is_wrong_is_refused(demo: LiveExchange) -> None:
    """In both forms, with the reason, and the exchange is as it was."""
    line = Line(demo.ready["admin"])
    before = line.say("info engine")["result"]["engine"]["digest"]
    for words, params, reason in WRONG:
        for text in (words, json.dumps({"method": words.split()[0], "params": params})):
            answer = line.say(text)
            assert answer["status"] == 400, text
            assert reason in answer["error"]["msg"], text
    assert line.say("info engine")["result"]["engine"]["digest"] == before
    line.close()


def test_a_monitor_follows(demo: LiveExchange) -> None:
    """Requests as they are answered; a word more ends it."""
    watching, plain = Line(demo.ready["admin"]), Line(demo.ready["admin"])
    assert watching.say("monitor method=order.place,status=400")["result"] == {"following": "monitor"}
    with demo.client("alice") as alice:
        order = {"symbol": "BTC-USDT", "side": "BUY", "type": "LIMIT", "quantity": "0.1", "price": "45000.00"}
        assert alice.ask("order.place", **order)["status"] == 200
        assert alice.ask("order.place", **{**order, "quantity": "9999"})["status"] == 400
    seen = watching.next()
    assert (seen["method"], seen["account"], seen["params"]["quantity"], seen["code"]) == (
        "order.place",
        1,
        "9999",
        -2010,
    )
    watching._socket.sendall(b"enough\n")
    assert watching._file.readline() == b""
    assert {entry["of"]: entry["count"] for entry in plain.say("latency")["result"]["latency"]}["requests"] == 3
    watching.close()
    plain.close()


def test_a_drained_exchange_lets_nobody_in(demo: LiveExchange) -> None:
    """Who is in is answered and closed; afterwards the door can be opened again."""
    with demo.client("alice") as alice:
        assert called(demo, "drain")["result"] == {"draining": True, "sessions": 0}
        with pytest.raises(ConnectionError):
            alice.receive_line()
    late = first_line(demo)
    assert late["error"]["code"] == -1016
    assert called(demo, "drain off")["result"] == {"draining": False, "sessions": 0}
    demo.client("alice").close()


def first_line(exchange: LiveExchange) -> Any:
    """The first line that a new client reads."""
    host, port = exchange.ready["client"].rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as connection, connection.makefile("rb") as file:
        return json.loads(file.readline())


def test_the_audit_trail_outlives_the_process(demo: LiveExchange) -> None:
    """What was changed, and what was refused, by whom; calls that only look are not in it."""
    assert called(demo, "market.halt BTC-USDT")["status"] == 200
    assert called(demo, "market.halt BTC-USDT")["status"] == 400
    assert called(demo, "market.list")["status"] == 200
    demo.kill()
    demo.start()
    calls = called(demo, "audit.tail")["result"]["calls"]
    assert [(call["call"], call["params"], call["outcome"].split()[0]) for call in calls] == [
        ("market.halt", {"0": "BTC-USDT"}, "done"),
        ("market.halt", {"0": "BTC-USDT"}, "market"),
    ]

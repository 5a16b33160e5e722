"""docs/protocol.md is true: its tables are the code's, and its examples are what a running exchange answers."""

import ast
import base64
import contextlib
import io
import json
import re
import socket
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from actors import gateway, logon, order_form, parameters, session, wire
from actors.account_limits import AccountLimitsConfig
from actors.gateway import GatewayConfig
from actors.session import SessionLimits
from actors.streams import StreamLimits
from book import admission, client_order_ids, codes, decimals, history
from book.terms import MARKET_STATES, ORDER_STATES, ORDER_TYPES, SELF_TRADE_MODES, TIMES_IN_FORCE
from tallystick.demo import DemoKey
from tallystick.reference import METHODS
from tests.live import live_exchange
from tests.pages import blocks, read_page, sections, table

PAGE = read_page("protocol.md")
ROOT = Path(__file__).parent.parent


# Never to a client: a definition or a credit that the engine refuses comes from configuration or from an operator,
OPERATORS_ONLY = {"DEFINITION_REJECTED"}
# and the loss of a session from the exchange itself.
OUR_OWN = {("CANCEL_REJECTED", "UNKNOWN_SESSION")}
# What an engine says, and the clients' side has said or turned into an answer before.
OUR_OWN |= {("INVALID_PARAMETER", reason) for reason in ("HAS_ADDRESS", "NO_ADDRESS", "UNKNOWN_WITHDRAWAL")}
OUR_OWN |= {("WITHDRAWAL_REJECTED", reason) for reason in ("UNKNOWN_ASSET", "NO_CHAIN")}


# Methods --------------------------------------------------------------------------------------------------------------


def test_the_page_has_a_section_for_every_method_and_no_other() -> None:
    """In the order of the overview."""
    assert [title for title in sections(PAGE, 3) if title in METHODS or "." in title] == list(METHODS)


def test_the_page_has_every_state_and_mode() -> None:
    """Of orders, markets and self-trade prevention. An order that is refused has no state."""
    states = [name for name in ORDER_STATES.values() if name != "REJECTED"]
    assert [row[0] for row in table(PAGE, "state", "open", "meaning")] == states
    assert [row[0] for row in table(PAGE, "mode", "what happens")] == list(SELF_TRADE_MODES.values())
    assert [row[0] for row in table(PAGE, "market's status", "what it takes")] == list(MARKET_STATES.values())


def test_the_page_has_every_type_of_order_with_its_times_in_force() -> None:
    """Those that are accepted with it."""
    expected = [
        (name, ", ".join(word for code, word in TIMES_IN_FORCE.items() if code in order_form._FORMS[type_].times))
        for type_, name in ORDER_TYPES.items()
    ]
    rows = table(PAGE, "type", "waits until the last price", "then is", "times in force")
    assert [(row[0], row[3]) for row in rows] == expected


# Errors ---------------------------------------------------------------------------------------------------------------


def trees() -> Iterator[ast.Module]:
    """The modules that refuse requests: the engine, and the clients' side of the actors."""
    clients_side = [
        ROOT / "actors" / f"{name}.py"
        for name in (
            *("diagnosis", "intake", "logon", "numerals", "order_form", "session", "gateway"),
            *("account_limits", "arriving", "streams", "channels", "funds", "chain_addresses"),
        )
    ]
    for path in [*clients_side, ROOT / "actors" / "replies.py", *(ROOT / "book").glob("*.py")]:
        if path.name != "codes.py":
            yield ast.parse(path.read_text(encoding="utf-8"))


def codes_sent() -> set[str]:
    """The names of all codes that these modules use."""
    names = {value: key for key, value in codes.CODE_NAMES.items()}
    used = set()
    for node in (node for tree in trees() for node in ast.walk(tree)):
        if isinstance(node, ast.Name):
            used.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "codes":
            used.add(node.attr)
    return used & names.keys() - OPERATORS_ONLY


def reasons_sent() -> set[tuple[str, str]]:
    """Code and reason of every refusal that names both in place."""
    found = {
        ("FILTER_FAILURE", name)
        for name in (
            admission.PRICE_FILTER,
            admission.LOT_SIZE,
            admission.MIN_NOTIONAL,
            admission.MAX_ORDERS,
            admission.OVERFLOW,
        )
    }
    for node in (node for tree in trees() for node in ast.walk(tree)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Rejected":
            match node.args:
                case [ast.Attribute(attr=code), ast.Constant(value=str(reason)), *_] if reason:
                    found.add((code, reason))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "RefusedError":
            match node.args[0], [word.value for word in node.keywords if word.arg == "reason"]:
                case ast.Name(id=code), [ast.Constant(value=str(reason))]:
                    found.add((code, reason))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_rejected":
            # Of book.transfers: a reason, or one of two.
            words = [part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)]
            found |= {("WITHDRAWAL_REJECTED", word) for word in words if isinstance(word, str)}
    return {(code, reason) for code, reason in found if code not in OPERATORS_ONLY} - OUR_OWN


def test_the_page_has_every_code_that_is_sent_and_no_other() -> None:
    """With its name and its status."""
    numbers = {name: code for code, name in codes.CODE_NAMES.items()}
    sent = sorted((numbers[name] for name in codes_sent()), reverse=True)
    expected = [(str(code), codes.CODE_NAMES[code], str(wire.STATUS.get(code, 400))) for code in sent]
    assert [row[:3] for row in table(PAGE, "code", "name", "status", "when")] == expected


def test_the_page_has_every_reason_and_no_other() -> None:
    """Each with the code it comes with."""
    rows = [(codes.CODE_NAMES[int(row[0])], row[1]) for row in table(PAGE, "code", "reason", "when")]
    assert sorted(rows) == sorted(reasons_sent())


def test_the_page_has_every_status() -> None:
    """200, 400 for whatever has no other, and the others."""
    statuses = {200, 400, *wire.STATUS.values()}
    assert [int(row[0]) for row in table(PAGE, "status", "meaning")] == sorted(statuses)


# Limits ---------------------------------------------------------------------------------------------------------------


def test_the_limits_are_the_defaults() -> None:
    """Every limit of a session, and those of the gateway on connections, with its default."""
    stated = {
        row[3]: float(row[1].replace(",", "")) for row in table(PAGE, "limit", "default", "beyond it", "configuration")
    }
    del stated["fixed"]
    expected = {f"gateway.session.{field.name}": field.default for field in attrs.fields(SessionLimits)}
    expected |= {f"gateway.account.{field.name}": field.default for field in attrs.fields(AccountLimitsConfig)}
    for name in ("max_connections", "max_connections_per_address", "arrival_seconds", "reply_memory_bytes"):
        expected[f"gateway.{name}"] = getattr(attrs.fields(GatewayConfig), name).default
    expected["streams.max_subscriptions"] = attrs.fields(StreamLimits).max_subscriptions.default
    assert stated == expected


def test_the_fixed_limits() -> None:
    """What no configuration changes is said in so many words."""
    limits = {
        row[0]: row[1] for row in table(PAGE, "limit", "default", "beyond it", "configuration") if row[3] == "fixed"
    }
    assert limits == {
        "bytes in a line, without its end": f"{wire.MAX_LINE_BYTES:,}",
        "objects and arrays in each other, in a line": str(wire.MAX_NESTING),
        "failed logons on one connection": str(session.MAX_FAILED_LOGONS),
        "channels in a `subscribe`": str(parameters.MAX_CHANNELS),
        "orders in an `order.batch`": str(parameters.MAX_BATCH_ORDERS),
        "price levels in a `depth`, trades in `trades.recent`": f"{parameters.MAX_DEPTH:,}",
        "rows of `myTrades`, `allOrders` and `klines`": f"{parameters.MAX_ROWS:,}",
        "`timeoutMs` of `order.cancelAllAfter`": f"{parameters.MAX_CANCEL_AFTER_MS:,}",
        "`recvWindow`, ms": f"{parameters.MAX_RECV_WINDOW_MS:,}",
    }
    assert parameters.MAX_TRADES == parameters.MAX_DEPTH
    for words in (
        f"last {history.ACCOUNT_TRADES:,} trades",
        f"last {history.MARKET_TRADES:,} of a market",
        f"last {history.CLOSED_CANDLES:,} of each interval",
        f"{parameters.MAX_ID_CHARACTERS} characters",
        f"at most {decimals.MAX_CHARACTERS} characters",
        f"between {logon.MAX_AHEAD_MS:,} ms before",
        f"last {client_order_ids.FINISHED_IDS:,} finished",
        f"last {history.FINISHED_ORDERS:,} finished",
        f"{2 * session.NONCE_BYTES} hexadecimal digits",
        f"version {wire.VERSION}",
    ):
        assert words in " ".join(PAGE.split()), words
    assert gateway.GatewayConfig().unsigned_logon is False


# Examples -------------------------------------------------------------------------------------------------------------

VARYING = re.compile(
    r'"(nonce|withdrawalId|time|serverTime|since|transactTime|updateTime|triggerTime|openTime|closeTime|seq)":("[0-9a-f-]+"|\d+)'
)
KLINE = re.compile(r'\[\d+,("[^\]]*"),\d+\]')


def masked(line: str) -> str:
    """The line without what differs from run to run."""
    return KLINE.sub(r"[…,\1,…]", VARYING.sub(r'"\1":…', line))


class Conversation:
    """Sends what the page's blocks send, and compares what comes back."""

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self._address = (host, int(port))
        self._connections: list[socket.socket] = []
        self._lines: Iterator[bytes] = iter(())
        self._events: deque[str] = deque()
        self._replies: deque[str] = deque()
        self._nonce = ""

    def run(self, block: list[str]) -> None:
        """One block."""
        for line in block:
            if '"method"' in line:
                self._connections[-1].sendall(self._signed(line).encode() + b"\n")
                continue
            if line.startswith('{"event":"hello"'):
                self._connect()
            answer = self._next(line)
            assert masked(answer) == masked(line)
            if answer.startswith('{"event":"hello"'):
                self._nonce = json.loads(answer)["nonce"]

    def _next(self, shown: str) -> str:
        """The next line of the kind that is shown: replies keep their order and events theirs, but not with each other.

        A heartbeat may come at any time.
        """
        waiting = self._of_kind(shown)
        while not waiting:
            line = next(self._lines).decode().rstrip("\n")
            if '"heartbeat"' not in line:
                self._of_kind(line).append(line)
        return waiting.popleft()

    def _of_kind(self, line: str) -> deque[str]:
        return self._events if line.startswith('{"event":') else self._replies

    def _connect(self) -> None:
        self._connections.append(socket.create_connection(self._address, 10))
        self._lines = iter(self._connections[-1].makefile("rb"))
        self._events.clear()
        self._replies.clear()

    def _signed(self, line: str) -> str:
        """A signed logon is good for one nonce and for now, so it is signed anew."""
        if '"signature"' not in line:
            return line
        request = json.loads(line)
        params = request["params"]
        params["timestamp"] = time.time_ns() // 1_000_000
        params["signature"] = signature(params["apiKey"], self._nonce, params["timestamp"])
        return json.dumps(request)

    def close(self) -> None:
        """Hang up everywhere."""
        for connection in self._connections:
            connection.close()


def signature(key: str, nonce: str, timestamp: int) -> str:
    """Of a demo key, as it goes into a logon."""
    private = Ed25519PrivateKey.from_private_bytes(DemoKey.of(key).seed)
    return base64.b64encode(private.sign(wire.logon_payload(key, nonce, timestamp))).decode()


@pytest.mark.process
def test_the_examples(tmp_path: Path) -> None:
    """Every request of the page, in order, gets the reply that stands there; every method has been asked."""
    examples = blocks(PAGE, "jsonl")
    with live_exchange(tmp_path, "--quiet-market") as exchange:
        conversation = Conversation(exchange.ready["client"])
        try:
            for block in examples:
                conversation.run(block)
        finally:
            conversation.close()
    asked = {found for block in examples for line in block for found in re.findall(r'"method":"([\w.]+)"', line)}
    assert METHODS.keys() <= asked


def test_the_signature_in_the_example() -> None:
    """Payload, Python and logon line belong together, and the key is the one that the demo prints for alice."""
    (greeting, request), *_ = [
        block[:2] for block in blocks(PAGE, "jsonl") if len(block) > 1 and '"signature"' in block[1]
    ]
    params = json.loads(request)["params"]
    nonce = json.loads(greeting)["nonce"]
    assert params["signature"] == signature(params["apiKey"], nonce, params["timestamp"])
    (payload,) = [line for (line, *_) in blocks(PAGE, "text") if line.startswith("apiKey=")]
    assert payload.encode() == wire.logon_payload(params["apiKey"], nonce, params["timestamp"])
    (program,) = blocks(PAGE, "python")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec("\n".join(program), {})  # noqa: S102 - the page's own program is what is tested
    assert printed.getvalue() == params["signature"] + "\n"

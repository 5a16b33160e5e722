"""The `tallystick` command as operators use it: what it prints, how it ends, what it says when something is wrong."""

import json
import re
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from book.commands import Tick
from persistence.codec import encode_command, encode_frame
from persistence.segments import LogReader, segments
from persistence.storage import RealDisk
from tests.live import TALLYSTICK, LiveExchange, live_exchange, run_tallystick
from tests.simulation.disk import power_cut

pytestmark = pytest.mark.process

ORDER = {"symbol": "BTC-USDT", "side": "BUY", "type": "LIMIT", "quantity": "0.5", "price": "40000.00"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder that does not exist yet."""
    return tmp_path / "data"


@pytest.fixture
def stopped(data: Path) -> Path:
    """A data folder with one order in its log, left by a kill."""
    with live_exchange(data, "--quiet-market") as exchange, exchange.client("alice") as alice:
        assert alice.ask("order.place", **ORDER)["status"] == 200
    return data


def only_segment(data: Path) -> Path:
    """The log's one segment."""
    (segment,) = (data / "reqlog").glob("*.log")
    return segment


def files(data: Path) -> dict[str, bytes]:
    """What is in the data folder, but for the lock."""
    return {path.name: path.read_bytes() for path in data.rglob("*") if path.is_file() and path.name != "lock"}


def one_line(errors: str) -> str:
    """The one line that is for the operator; no traceback beside it."""
    assert "Traceback" not in errors
    (line,) = [line for line in errors.splitlines() if line.startswith("tallystick: ")]
    return line


def test_the_ready_line(data: Path) -> None:
    """With --json the demo prints exactly one line, with everything a program needs; SIGTERM stops it with code 0."""
    with live_exchange(data, "--quiet-market") as exchange:
        ready = exchange.ready
        assert list(ready) == ["ready", "client", "admin", "metrics", "data", "accounts"]
        assert ready["ready"] is True
        assert re.fullmatch(r"127\.0\.0\.1:\d+", ready["client"])
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/metrics", ready["metrics"])
        assert ready["admin"] == str(data / "admin.sock")
        assert ready["data"] == str(data)
        assert [account["name"] for account in ready["accounts"]] == ["alice", "bob"]
        assert all(re.fullmatch("[0-9a-f]{64}", account["privateKey"]) for account in ready["accounts"])
        assert exchange.stop() == 0


def test_what_is_answered_survives_a_kill(data: Path) -> None:
    """After kill -9 and a second start on the same folder, book and balances are as they were."""
    exchange = LiveExchange(data, "--quiet-market")
    seen: list[Any] = []
    for _ in range(2):
        exchange.start()
        with exchange.client("alice") as alice:
            if not seen:
                assert alice.ask("order.place", **ORDER)["status"] == 200
            seen.append(
                [
                    alice.ask(method, **params)["result"]
                    for method, params in (
                        ("depth", {"symbol": "BTC-USDT"}),
                        ("account.status", {}),
                        ("openOrders.status", {}),
                    )
                ]
            )
        exchange.kill()
    assert seen[0] == seen[1]
    assert seen[0][0]["bids"] == [["40000.00", "0.5000"]]


def test_the_market_maker_trades(data: Path) -> None:
    """Without --quiet-market every book soon has some depth on both sides; a trade may take it away for a moment."""
    with live_exchange(data) as exchange, exchange.client() as anyone:
        shallow = {"BTC-USDT", "ETH-USDT", "ETH-BTC"}
        deadline = time.monotonic() + 30
        while shallow:
            assert time.monotonic() < deadline, shallow
            for symbol in sorted(shallow):
                depth = anyone.ask("depth", symbol=symbol)["result"]
                if len(depth["bids"]) >= 2 and len(depth["asks"]) >= 2:
                    shallow.remove(symbol)
            time.sleep(0.1)


def test_a_folder_in_use_is_refused(data: Path) -> None:
    """A second process on the same folder ends with code 4 and names the first."""
    with live_exchange(data, "--quiet-market") as exchange:
        second = run_tallystick("demo", "--port", "0", "--data", str(data))
        assert second.returncode == 4
        assert f"process {exchange.pid}" in one_line(second.stderr)
        assert run_tallystick("log", "truncate", str(data), "--at", "1", "--yes").returncode == 4


def test_a_port_in_use_is_refused(data: Path) -> None:
    """An address that is taken ends the start with code 2 and one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_tallystick("demo", "--port", str(port), "--data", str(data))
    assert done.returncode == 2
    assert f"127.0.0.1:{port}" in one_line(done.stderr)


def test_a_flipped_byte_stops_the_start(stopped: Path) -> None:
    """Damage to what was acknowledged ends the start with code 3; the line names file and offset; no file changes."""
    segment = only_segment(stopped)
    content = bytearray(segment.read_bytes())
    content[4096 + 200] ^= 1
    segment.write_bytes(content)
    before = files(stopped)
    done = run_tallystick("demo", "--port", "0", "--data", str(stopped), "--quiet-market")
    assert done.returncode == 3
    line = one_line(done.stderr)
    assert f"reqlog/{segment.name}, offset 4096" in line
    assert "tallystick log verify" in line
    assert files(stopped) == before
    verified = run_tallystick("log", "verify", str(stopped))
    assert verified.returncode == 3
    assert "offset 4096" in verified.stderr


def test_a_torn_tail_is_kept_aside(stopped: Path) -> None:
    """A last frame of which a sector never arrived was never answered: the start goes on, its bytes are kept."""
    disk = RealDisk(str(stopped), power_cut)
    reader = LogReader()
    (segment,) = segments(disk)
    content = bytearray(disk.read(segment.path))
    assert list(reader.frames(segment, bytes(content)))
    assert reader.position is not None
    frame, _ = encode_frame(
        [encode_command(2**60, Tick())] * 100,
        count=100,
        previous=reader.position.chain,
        salt=segment.header.salt,
        first_seq=reader.position.next_seq,
        time_ns=2**60,
        epoch=1,
    )
    content[reader.offset : reader.offset + len(frame)] = frame
    lost = (reader.offset // 512 + 2) * 512
    content[lost : lost + 512] = bytes(512)
    (stopped / segment.path).write_bytes(content)
    with live_exchange(stopped, "--quiet-market") as exchange, exchange.client("alice") as alice:
        assert len(alice.ask("openOrders.status")["result"]["orders"]) == 1
    assert len(list((stopped / "reqlog").glob("*.torn"))) == 1


def test_a_newer_format_is_refused(stopped: Path) -> None:
    """A log of a newer format version ends the start with code 6; no file changes."""
    segment = only_segment(stopped)
    content = bytearray(segment.read_bytes())
    struct.pack_into("<I", content, 8, 99)
    struct.pack_into("<I", content, 4092, zlib.crc32(bytes(content[:4092])))
    segment.write_bytes(content)
    before = files(stopped)
    done = run_tallystick("demo", "--port", "0", "--data", str(stopped))
    assert done.returncode == 6
    assert "99" in one_line(done.stderr)
    assert files(stopped) == before


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    """A file in the folder's place ends the start with code 3 and one line."""
    (tmp_path / "data").write_text("not a folder")
    done = run_tallystick("demo", "--port", "0", "--data", str(tmp_path / "data"))
    assert done.returncode == 3
    assert str(tmp_path / "data") in one_line(done.stderr)


def test_a_file_in_place_of_the_log(data: Path) -> None:
    """It ends the start, and a look at the log, with code 3; the line says where it is and what to do about it."""
    data.mkdir()
    (data / "reqlog").write_text("precious")
    for command in (["demo", "--port", "0", "--data"], ["log", "verify"]):
        done = run_tallystick(*command, str(data))
        assert done.returncode == 3
        assert re.search(rf"{data}/reqlog: .* where a folder belongs; move .* elsewhere$", one_line(done.stderr))
    assert (data / "reqlog").read_text() == "precious"


@pytest.mark.parametrize("name", ["exchange", "lock"])
def test_a_folder_in_place_of_a_file(data: Path, name: str) -> None:
    """It ends the start with code 3 in the same way."""
    (data / name).mkdir(parents=True)
    done = run_tallystick("demo", "--port", "0", "--data", str(data))
    assert done.returncode == 3
    assert f"{data / name}: it is a folder where a file belongs; move it elsewhere" in one_line(done.stderr)


def test_the_log_commands(stopped: Path) -> None:
    """verify, stat, dump and replay agree with each other, and replay with what the running exchange says."""
    verdict = json.loads(run_tallystick("log", "verify", "--json", str(stopped)).stdout)
    replayed = json.loads(run_tallystick("log", "replay", "--json", str(stopped)).stdout)
    dumped = [json.loads(line) for line in run_tallystick("log", "dump", "--json", str(stopped)).stdout.splitlines()]
    counted = json.loads(run_tallystick("log", "stat", "--json", str(stopped)).stdout)
    assert verdict["damage"] is None
    numbered = [entry for entry in dumped if entry["seq"] is not None]
    assert len(numbered) == verdict["records"] == counted["records"] == verdict["last_seq"]
    (order,) = [entry for entry in numbered if entry["command"] == "PlaceOrder"]
    assert (order["account"], order["symbol"], order["quantity"], order["price"]) == (1, "BTC-USDT", 5000, 4_000_000)
    alone = run_tallystick(
        "log", "dump", "--json", str(stopped), "--account", "alice", "--from", str(order["seq"])
    ).stdout
    assert [json.loads(line) for line in alone.splitlines()] == [order]
    with live_exchange(stopped, "--quiet-market") as exchange:
        engine = exchange.admin("info")["engine"]
    assert engine["digest"] == replayed["digest"]
    assert engine["totals"] == replayed["totals"]
    for command in ("verify", "stat", "replay"):
        assert run_tallystick("log", command, str(stopped)).returncode == 0


def test_the_log_is_replayed_up_to_a_number(stopped: Path) -> None:
    """The state there, which a later number changes; in the debugger it waits before that number is applied."""
    entries = [json.loads(line) for line in run_tallystick("log", "dump", "--json", str(stopped)).stdout.splitlines()]
    (seq,) = [entry["seq"] for entry in entries if entry.get("command") == "PlaceOrder"]
    last = max(entry["seq"] for entry in entries if entry["seq"] is not None)
    hashes = []
    for until in (seq - 1, seq):
        done = run_tallystick("log", "replay", "--json", "--until", str(until), str(stopped))
        assert done.returncode == 0, done.stderr
        replayed = json.loads(done.stdout)
        assert (replayed["seq"], replayed["applied"] + replayed["refused"]) == (until, until)
        hashes.append(replayed["stateHash"])
    assert len(set(hashes)) == 2
    typed = "p record.command.account, len(engine.state.orders)\nn\np len(engine.state.orders)\nc\n"
    debugged = run_tallystick("log", "replay", "--until", str(seq), "--break", str(stopped), input=typed)
    assert debugged.returncode == 0, debugged.stderr
    assert "(1, 0)" in debugged.stdout
    assert "(Pdb) 1\n" in debugged.stdout
    assert "OrderAccepted" in debugged.stdout
    for words in (["--until", str(last + 1)], ["--break"], ["--until", str(last + 1), "--break"]):
        wrong = run_tallystick("log", "replay", *words, str(stopped))
        assert wrong.returncode == 2, words
        assert re.search(r"the log ends|--until names", wrong.stderr)


def test_the_log_can_be_cut(stopped: Path) -> None:
    """Truncate wants --yes, keeps what it cuts, and the exchange starts with what is left."""
    entries = [json.loads(line) for line in run_tallystick("log", "dump", "--json", str(stopped)).stdout.splitlines()]
    (order,) = [entry for entry in entries if entry.get("command") == "PlaceOrder"]
    at = str(order["seq"] - 1)
    assert run_tallystick("log", "truncate", str(stopped), "--at", at).returncode == 2
    cut = run_tallystick("log", "truncate", str(stopped), "--at", at, "--yes")
    assert cut.returncode == 0, cut.stderr
    assert len(list((stopped / "reqlog").glob("*.cut"))) == 1
    with live_exchange(stopped, "--quiet-market") as exchange, exchange.client("alice") as alice:
        assert alice.ask("openOrders.status")["result"]["orders"] == []


def test_a_folder_without_a_log(tmp_path: Path) -> None:
    """The log commands say so in one line, code 2."""
    for command in (["verify"], ["stat"], ["dump"], ["replay"]):
        done = run_tallystick("log", *command, str(tmp_path))
        assert done.returncode == 2
        assert "no reqlog in it" in one_line(done.stderr)


def test_admin_without_an_exchange(tmp_path: Path) -> None:
    """Nobody at the socket: one line, code 2, and how to name another."""
    done = run_tallystick("admin", "--socket", str(tmp_path / "none.sock"), "tree")
    assert done.returncode == 2
    assert "--socket" in one_line(done.stderr)


def test_admin_for_people(data: Path) -> None:
    """The answers are drawn as a tree, as tables or as JSON; errors go to stderr with code 1."""
    with live_exchange(data, "--quiet-market") as exchange, exchange.client("alice"):
        socket_option = ("--socket", exchange.ready["admin"])
        drawn = run_tallystick("admin", *socket_option, "tree").stdout
        assert "└── gateway" in drawn
        assert "│   └── snapshotter" in drawn
        assert "BTC-USDT" in run_tallystick("admin", *socket_option, "market.list").stdout
        assert "127.0.0.1" in run_tallystick("admin", *socket_option, "session.list").stdout
        assert "session.kill SESSION" in run_tallystick("admin", *socket_option, "help").stdout
        assert '"digest"' in run_tallystick("admin", *socket_option, "info").stdout
        refused = run_tallystick("admin", *socket_option, "shutdown")
        assert refused.returncode == 1
        assert "--yes" in one_line(refused.stderr)
        assert run_tallystick("admin", *socket_option, "shutdown", "--yes").returncode == 0
        assert exchange.wait() == 0


CONFIG = """
[data]
folder = "{folder}"

[admin]
socket = "{folder}/admin.sock"

[gateway]
port = 0

[metrics]
port = 0

[[assets]]
name = "BTC"
scale = 8

[[assets]]
name = "EUR"
scale = 2

[[markets]]
symbol = "BTC-EUR"
tick = "0.50"
lot = "0.02"
min_quantity = "0.02"
max_quantity = "100"
min_notional = "5"
maker_fee = "0.001"
taker_fee = "0.002"

[[accounts]]
id = 1
name = "carol"

[[keys]]
id = 1
name = "carol-1"
account = "carol"
permissions = ["read", "trade"]
public_key = "{key}"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration that is right."""
    path = tmp_path / "tallystick.toml"
    path.write_text(CONFIG.format(folder=tmp_path / "data", key="ab" * 32))
    return path


@contextmanager
def configured_exchange(config: Path, said: list[str] | None = None) -> Iterator[tuple[str, int]]:
    """A running exchange with this configuration, and where clients connect; it must stop with code 0.

    What it says on stderr before it serves is added to `said`.
    """
    command = [sys.executable, "-m", "tallystick", "run", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("tallystick: serving clients on"):
                host, port = line.split()[-1].rsplit(":", 1)
                break
            if said is not None:
                said.append(line)
        else:
            raise AssertionError("it did not start")
        yield host, int(port)
        process.terminate()
        process.stderr.read()
        assert process.wait(30) == 0


def test_a_configured_exchange(config: Path) -> None:
    """`check-config` finds it right, and `run` serves what it defines."""
    checked = run_tallystick("check-config", str(config))
    assert (checked.returncode, checked.stdout) == (0, f"{config} is right\n")
    with (
        configured_exchange(config) as address,
        socket.create_connection(address, 10) as connection,
        connection.makefile("rb") as file,
    ):
        file.readline()
        connection.sendall(b'{"id":1,"method":"exchangeInfo"}\n')
        (market,) = json.loads(file.readline())["result"]["symbols"]
        assert (market["symbol"], market["tickSize"], market["lotSize"]) == ("BTC-EUR", "0.5", "0.02")
        connection.sendall(b'{"id":2,"method":"session.logon","params":{"apiKey":"carol-1"}}\n')
        assert json.loads(file.readline())["status"] != 200


def test_what_operators_add_outlives_a_configuration_that_does_not_name_it(config: Path) -> None:
    """The file is not the exchange: what came by the admin socket is there after the next start."""
    operator = ("admin", "--json", "--socket", str(config.parent / "data" / "admin.sock"))
    with configured_exchange(config):
        for words in (["asset.add", "LTC", "8"], ["account.add", "dave"], ["market.halt", "BTC-EUR"]):
            assert run_tallystick(*operator, *words).returncode == 0
        refused = run_tallystick(*operator, "credit", "dave", "LTC", "1")
        assert refused.returncode == 1
        assert "admin.test_money is not true" in refused.stdout
    with configured_exchange(config):
        assert '"name":"LTC"' in run_tallystick(*operator, "asset.list").stdout
        assert '"name":"dave"' in run_tallystick(*operator, "account.list").stdout
        assert '"status":"HALT"' in run_tallystick(*operator, "market.list").stdout


def test_money_for_tests_is_never_silent(config: Path) -> None:
    """An exchange that is configured for it says so at every start, and credits."""
    for setting, warned in (("", 0), ("test_money = false\n", 0), ("test_money = true\n", 1)):
        said: list[str] = []
        config.write_text(config.read_text().replace("[gateway]", f"{setting}\n[gateway]"))
        with configured_exchange(config, said):
            assert sum("operators may credit what nobody paid in" in line for line in said) == warned
            socket_option = ("--socket", str(config.parent / "data" / "admin.sock"))
            done = run_tallystick("admin", *socket_option, "credit", "carol", "BTC", "1")
            assert (done.returncode == 0) == bool(warned)
        config.write_text(config.read_text().replace(f"{setting}\n[gateway]", "[gateway]"))


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ("[gateway]", "[gatway]", "did you mean 'gateway'"),
        ("[[markets]]", "[markets]", "expected a list of tables: their name stands in double brackets @ .markets"),
        ("[gateway]", "[[gateway]]", "expected a table: its name stands in single brackets @ .gateway"),
        ("[[accounts]]", "[gateway.session]\nidle_seconds = [5]\n[[accounts]]", "expected a number, not [5]"),
        (
            'permissions = ["read", "trade"]',
            'permissions = "read"',
            "expected a list, not 'read' @ .keys[0].permissions",
        ),
        ("port = 0", "prt = 0", "did you mean 'port'"),
        ("port = 0", 'port = "0"', "expected an integer, not '0'"),
        ("port = 0", "port = 70000", "65535"),
        ("scale = 8", "scale = true", "expected an integer, not True"),
        ('tick = "0.50"', "tick = 0.5", "expected a string, not 0.5"),
        ('tick = "0.50"', 'tick = "half"', "markets BTC-EUR.tick"),
        ('symbol = "BTC-EUR"', 'symbol = "BTC-USD"', "markets BTC-USD.symbol: expected two assets"),
        ('account = "carol"', 'account = "karol"', "keys carol-1.account: there is no account 'karol'"),
        ('"trade"]', '"trad"]', "'trad' is none of read, trade, withdraw"),
        ('min_quantity = "0.02"', 'min_quantity = "0.03"', "no whole number of lots"),
        ('taker_fee = "0.002"', "", "taker_fee"),
        ("[data]", "[data", "is not TOML"),
        ("scale = 8", "scale = 100", "scale"),
        ('tick = "0.50"', 'tick = "0"', "market BTC-EUR is refused: OUT_OF_RANGE of tick"),
        ('taker_fee = "0.002"', 'taker_fee = "2"', "OUT_OF_RANGE of taker_fee: 2000000, and the limit is 1000000"),
        ('maker_fee = "0.001"', 'maker_fee = "-0.1"', "OUT_OF_RANGE of maker_fee: -100000, and the limit is -2000"),
        (
            'taker_fee = "0.002"',
            'taker_fee = "0.002"\nband = "2"',
            "OUT_OF_RANGE of band: 2000000, and the limit is 1000000",
        ),
        ('taker_fee = "0.002"', 'taker_fee = "0.002"\nreference_price = "0.7"', "'0.7' is no whole number of ticks"),
        ('min_quantity = "0.02"', 'min_quantity = "200"', "OUT_OF_RANGE of min_quantity"),
        ("id = 1\n", "id = 0\n", "account carol is refused: DEFINITION_DIFFERS"),
        ('public_key = "', 'public_key = "zz', "BAD_NAME of public_key"),
        ('name = "EUR"', 'name = "BTC"', "markets BTC-EUR.symbol: expected two assets"),
        ("[metrics]\nport = 0", "[metrics]\nport = 7700", "both 7700"),
    ],
)
def test_a_wrong_configuration(config: Path, right: str, wrong: str, words: str) -> None:
    """Each mistake is one line that names the file and the key, code 2, from check-config and run alike."""
    text = config.read_text().replace(right, wrong, 1)
    config.write_text(text.replace("port = 0", "port = 7700", 1) if "both" in words else text)
    for command in (["check-config", str(config)], ["run", "--config", str(config)]):
        done = run_tallystick(*command)
        assert done.returncode == 2
        line = one_line(done.stderr)
        assert words in line, line
        assert str(config) in line


def test_a_definition_that_the_log_knows_otherwise(config: Path) -> None:
    """What was logged cannot be configured away: code 2, naming what differs."""
    with configured_exchange(config):
        pass
    config.write_text(config.read_text().replace('maker_fee = "0.001"', 'maker_fee = "0.0005"'))
    done = run_tallystick("run", "--config", str(config))
    assert done.returncode == 2
    assert "DEFINITION_DIFFERS" in one_line(done.stderr)


def test_selfcheck() -> None:
    """It says what is running, how fast the disk is, and that all is well."""
    done = run_tallystick("selfcheck")
    assert done.returncode == 0, done.stderr
    assert "all is well" in done.stdout
    assert "write and sync takes" in done.stdout


def test_version_and_help() -> None:
    """Both answer at once."""
    assert re.fullmatch(r"tallystick \d+\.\d+\.\d+\n", run_tallystick("version").stdout)
    assert "demo" in run_tallystick("--help").stdout


def test_the_data_folder_is_private(stopped: Path) -> None:
    """The admin socket is for its owner and group only, and so is the log."""
    assert (stopped / "admin.sock").stat().st_mode & 0o777 == 0o660
    assert only_segment(stopped).stat().st_mode & 0o007 == 0
    assert stopped.stat().st_mode & 0o007 == 0


def test_more_connections_than_descriptors(data: Path) -> None:
    """Where the limit of open files is too low for all connections, it says so, and keeps what the log needs."""
    limited = ("bash", "-c", 'ulimit -n 300; exec "$0" "$@"', *TALLYSTICK)
    exchange = LiveExchange(data, "--quiet-market", program=limited).start()
    try:
        connections = [socket.create_connection(exchange.ready["client"].split(":")) for _ in range(100)]
        assert exchange.admin("tree")["name"] == "root"
        assert exchange.admin("info")["sessions"] <= 44
        for connection in connections:
            connection.close()
    finally:
        assert exchange.stop() == 0
    assert "limit of open files is too low" in exchange.errors

"""`tallystick backup`: what it prints, what it refuses, and its exit codes."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from persistence import manifest
from persistence.exits import Exit
from persistence.manifest import Manifest
from persistence.object_store import open_target
from tallystick.cli import app
from tests.backups import MARKETS, LoggedExchange, flip, sealed_exchange


def run(*words: str | Path) -> tuple[int, str]:
    """The command's exit code, and all that it prints."""
    done = CliRunner().invoke(app, ["backup", *map(str, words)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def told(*words: str | Path) -> Any:
    """What the command prints as JSON."""
    code, output = run(*words, "--json")
    assert code == 0, output
    return json.loads(output.splitlines()[-1])


@pytest.fixture(name="exchange")
def _exchange() -> LoggedExchange:
    """Three sealed segments, with a snapshot in the last."""
    exchange = sealed_exchange(2)
    exchange.trade()
    exchange.snapshot()
    exchange.trade()
    exchange.seal()
    return exchange


@pytest.fixture(name="url")
def _url(tmp_path: Path, exchange: LoggedExchange) -> str:
    """A target with a backup of it."""
    (tmp_path / "cold").mkdir()
    url = (tmp_path / "cold").as_uri()
    exchange.back_up(open_target(url))
    return url


def test_list(url: str, exchange: LoggedExchange) -> None:
    """What there is, by the manifests."""
    (row,) = told("list", url)
    assert row["exchange"] == exchange.exchange_id
    assert (row["epoch"], row["first"], row["last"], row["segments"], row["snapshots"]) == (
        1,
        1,
        exchange.last_seq,
        3,
        1,
    )
    code, output = run("list", url)
    assert code == 0
    assert f"exchange   {exchange.exchange_id}\n" in output


def test_list_of_nothing_and_of_several(url: str, tmp_path: Path) -> None:
    """No backup is no error; several are told apart."""
    (tmp_path / "empty").mkdir()
    assert run("list", (tmp_path / "empty").as_uri()) == (0, "there is no backup\n")
    store = open_target(url)
    other = Manifest("f" * 32, 3, 0)
    store.put(other.name, manifest.encode(other))
    assert [row["epoch"] for row in told("list", url)] == [1, 3]
    assert run("list", url)[1].count("exchange ") == 2


def test_verify(url: str, exchange: LoggedExchange) -> None:
    """It replays to the state hash of the exchange."""
    facts = told("verify", url)
    assert facts["stateHash"] == exchange.engine.state_hash().hex()
    assert (facts["seq"], facts["records"], facts["snapshots"]) == (exchange.last_seq, exchange.last_seq, 1)
    assert facts["totals"] == exchange.engine.totals()
    code, output = run("verify", url)
    assert (code, output.splitlines()[-1]) == (0, "clean")


def test_one_flipped_byte_ends_with_code_3_and_the_object(url: str, tmp_path: Path) -> None:
    """Whichever command meets it; restore leaves nothing that starts."""
    store = open_target(url)
    current = manifest.decode(store.get(name := f"manifests/{next(iter(store.list('manifests')))}"), url, name)
    for stored in current.objects():
        flip(store, stored.name, stored.stored_size // 2)
        for words in (("verify", url), ("restore", url, tmp_path / stored.digest, "--whole")):
            if words[0] == "restore" and "snapshots" in stored.name:
                continue
            code, output = run(*words)
            assert code == Exit.DATA_DAMAGED
            assert stored.name in output
        flip(store, stored.name, stored.stored_size // 2)
    flip(store, name, 200)
    for command in ("list", "verify"):
        code, output = run(command, url)
        assert code == Exit.DATA_DAMAGED
        assert name in output


@pytest.mark.parametrize("whole", [False, True])
def test_restore(url: str, exchange: LoggedExchange, tmp_path: Path, whole: bool) -> None:
    """From the last snapshot on, or all of it: the same state, which `log replay` proves."""
    folder = tmp_path / "restored"
    facts = told("restore", url, folder, *(["--whole"] if whole else []))
    assert facts["stateHash"] == exchange.engine.state_hash().hex()
    assert (facts["newEpoch"], facts["halted"]) == (2, [market.symbol for market in MARKETS])
    assert len(list((folder / "reqlog").iterdir())) == (4 if whole else 2)
    assert len(list((folder / "snapshots").iterdir())) == (0 if whole else 1)
    done = CliRunner().invoke(app, ["log", "replay", str(folder), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output.splitlines()[-1])["seq"] == exchange.last_seq + 2 + len(MARKETS)


def test_restore_says_what_it_did(url: str, tmp_path: Path) -> None:
    """And what comes next."""
    code, output = run("restore", url, tmp_path / "restored")
    assert code == 0
    assert "newEpoch   2\n" in output
    assert output.splitlines()[-1].endswith("it starts with every market halted: 'market.resume SYMBOL' for each")


def test_restore_wants_an_empty_folder(url: str, tmp_path: Path) -> None:
    """One that is not is left as it is; one that a new disk has is empty enough."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "lost+found").mkdir()
    assert run("restore", url, folder)[0] == 0
    before = sorted(path.name for path in folder.rglob("*"))
    code, output = run("restore", url, folder)
    assert (code, "is not empty" in output) == (Exit.USAGE, True)
    assert sorted(path.name for path in folder.rglob("*")) == before
    (tmp_path / "file").write_text("in the way", encoding="ascii")
    assert run("restore", url, tmp_path / "file")[0] == Exit.DATA_DAMAGED


@pytest.mark.parametrize("command", ["list", "verify", "restore"])
def test_what_is_no_target_or_not_there_is_told(command: str, tmp_path: Path) -> None:
    """In one line, with code 2."""
    more = [tmp_path / "restored"] if command == "restore" else []
    for url in ("ftp://host/x", (tmp_path / "missing").as_uri()):
        code, output = run(command, url, *more)
        assert code == Exit.USAGE
        assert output.startswith("tallystick: ")
        assert output.count("\n") == 1
    assert not (tmp_path / "restored").exists()


def test_which_backup(url: str, tmp_path: Path) -> None:
    """One that is not there, or one of several that is not named: the answer says what there is."""
    code, output = run("verify", url, "--epoch", "7")
    assert (code, "no such backup; it has" in output) == (Exit.USAGE, True)
    other = Manifest("f" * 32, 3, 0)
    open_target(url).put(other.name, manifest.encode(other))
    code, output = run("restore", url, tmp_path / "restored")
    assert (code, "name one" in output) == (Exit.USAGE, True)
    exchange = told("list", url)[0]["exchange"]
    assert told("verify", url, "--exchange", exchange, "--epoch", "1")["exchange"] == exchange

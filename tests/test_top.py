"""The dashboard: what it makes of an exchange's answers, and that its keys do what they say to a real one."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from tallystick import top_view
from tallystick.admin_line import AdminLine, CallRefused, Unreachable
from tallystick.top import Sure, Top, look
from tallystick.top_view import Moment
from tests.live import LiveExchange, live_exchange, run_tallystick

ANSWER_SECONDS = 30


def moment(**changes: Any) -> Moment:
    """An exchange at rest, changed so."""
    quiet = {"count": 0, "p50_ms": 0.0, "p90_ms": 0.0, "p99_ms": 0.0, "p999_ms": None}
    usual: dict[str, Any] = {
        "seconds": 10.0,
        "tree": {"children": []},
        "metrics": {},
        "mailboxes": {},
        "latency": {"requests": quiet, "log writes": {**quiet, "p99_ms": None}},
        "info": {
            "sessions": 2,
            "log": {"next_seq": 1234, "segments": 1, "has_room": True},
            "snapshot": {"seq": 7, "failures": 0, "last_failure": ""},
            "backup": {},
        },
        "markets": [],
    }
    return Moment(**{**usual, **changes})


def child(name: str, state: str, below: Any = None) -> dict[str, Any]:
    """A child of a tree."""
    return {"name": name, "state": state, "restarts": 1, "last_error": None, "supervisor": below}


# What it makes of answers ---------------------------------------------------------------------------------------------


def test_the_tree_is_told_from_top_to_bottom() -> None:
    """Each child below its supervisor, with what waits for it."""
    tree = {"children": [child("engine", "running", {"children": [child("matching", "starting")]})]}
    engine, matching = top_view.actors(moment(tree=tree, mailboxes={"matching": 5.0}))
    assert (engine.name, engine.indent, engine.waiting) == ("engine", 0, None)
    assert [cell.plain for cell in matching.cells()] == ["  matching", "starting", "1", "5", ""]


def test_the_book_is_drawn_with_what_is_to_be_had_up_to_each_level() -> None:
    """The best prices meet in the middle; the longest bar is the deeper side's."""
    book = {"asks": [("101", "1.0"), ("102", "1.0")], "bids": [("100", "1.0"), ("99", "3.0")]}
    lines = top_view.depth_plot(book).plain.splitlines()
    assert [line.split()[0] for line in lines if "─" not in line] == ["102", "101", "100", "99"]
    assert [line.count("█") for line in lines] == [11, 6, 0, 6, 22]
    assert "nobody" in top_view.depth_plot({"asks": [], "bids": []}).plain


def test_trades_are_told_newest_first() -> None:
    """With the side of their taker as their colour."""
    rows = [{"price": "1", "qty": "5", "side": "BUY"}, {"price": "2", "qty": "6", "side": "SELL"}]
    assert top_view.trades({"trades": rows}).plain.split() == ["2", "6", "1", "5"]


def test_rates_are_of_the_time_between_two_looks() -> None:
    """None without a look before, nor for a process that began anew."""
    before, now = moment(metrics={"x": 10.0}), moment(metrics={"x": 40.0}, seconds=12.0)
    assert top_view.rate("x", before, now) == 15.0
    assert top_view.rate("x", None, now) == 0.0
    assert top_view.rate("x", now, moment(metrics={"x": 1.0}, seconds=13.0)) == 0.0


def test_trouble_is_shown() -> None:
    """No room, a snapshot and a backup that failed; what is beyond ten seconds has no bound."""
    info = {
        "sessions": 0,
        "log": {"next_seq": 1, "segments": 1, "has_room": False},
        "snapshot": {"seq": 0, "failures": 3, "last_failure": "[the disk]"},
        "backup": {"last_seq": 0, "lag": 9, "trouble": "the bucket is gone"},
    }
    text = top_view.storage(moment(info=info))
    assert "NO ROOM" in text
    assert r"\[the disk]" in text
    assert "the bucket is gone" in text
    assert "> 10 s" in top_view.speed(None, moment())


def test_samples_of_one_name_are_summed() -> None:
    """By whatever labels."""
    samples = [
        {"name": "x", "labels": {"a": "1"}, "value": 1.0},
        {"name": "x", "labels": {"a": "2"}, "value": 2.0},
        {"name": "tallystick_mailbox_items", "labels": {"mailbox": "matching"}, "value": 3.0},
    ]
    assert top_view.sums(samples)["x"] == 3.0
    assert top_view.waiting(samples) == {"matching": 3.0}


# A real exchange ------------------------------------------------------------------------------------------------------


def piloted(exchange: LiveExchange, drive: Callable[[Pilot[None]], Awaitable[None]]) -> None:
    """Run the dashboard without a terminal, and these hands on its keys."""
    failed: list[BaseException] = []

    async def pilot(hands: Pilot[None]) -> None:
        try:
            await drive(hands)
        except BaseException as error:
            failed.append(error)
            raise
        finally:
            hands.app.exit()

    Top(Path(exchange.ready["admin"])).run(headless=True, size=(132, 40), auto_pilot=pilot)  # type: ignore[arg-type]
    if failed:
        raise failed[0]


async def until(pilot: Pilot[None], there: Callable[[], bool]) -> None:
    """Until the screen shows it."""
    for _ in range(ANSWER_SECONDS * 20):
        if there():
            return
        await pilot.pause(0.05)
    raise AssertionError("it did not come")


@pytest.mark.process
def test_its_keys_halt_resume_and_restart(tmp_path: Path) -> None:
    """After a question; what was answered with no is not done."""
    with live_exchange(tmp_path / "data", "--quiet-market") as exchange:
        line = AdminLine(Path(exchange.ready["admin"]))

        def status() -> str:
            return str(line.ask("market.list")["markets"][0]["status"])

        async def drive(pilot: Pilot[None]) -> None:
            app = pilot.app
            actors, markets = app.query_one("#actors", DataTable), app.query_one("#markets", DataTable)
            await until(pilot, lambda: actors.row_count > 5 and markets.row_count == 3)
            for key, state in (("n", "TRADING"), ("y", "HALT")):
                await pilot.press("h")
                await until(pilot, lambda: isinstance(app.screen, Sure))
                await pilot.press(key)
                await until(pilot, lambda: not isinstance(app.screen, Sure))
                await until(pilot, lambda state=state: status() == state)  # type: ignore[misc]  # bound at once
            await pilot.press("r", "y")
            await until(pilot, lambda: status() == "TRADING")
            names = [key.value for key in actors.rows]
            actors.move_cursor(row=names.index("matching"))
            await pilot.press("a", "y")
            await until(pilot, lambda: line.ask("actor.show", {"name": "matching"})["restarts"] == 1)
            await until(pilot, lambda: "matching" in str(app.query_one("#calls", Static).render()))

        piloted(exchange, drive)
        assert [call["call"] for call in line.ask("audit.tail")["calls"]] == [
            "market.halt",
            "market.resume",
            "actor.restart",
        ]
        line.close()


@pytest.mark.process
def test_it_says_when_the_exchange_is_gone_and_goes_on_when_it_is_back(tmp_path: Path) -> None:
    """It stays, and shows what it can."""
    with live_exchange(tmp_path / "data", "--quiet-market") as exchange:

        async def drive(pilot: Pilot[None]) -> None:
            app = pilot.app
            await until(pilot, lambda: app.query_one("#actors", DataTable).row_count > 5)
            exchange.kill()
            await until(pilot, lambda: "no exchange answers" in app.sub_title)
            exchange.start()
            await until(pilot, lambda: "no exchange answers" not in app.sub_title)

        piloted(exchange, drive)


@pytest.mark.process
def test_its_picture(tmp_path: Path) -> None:
    """An SVG with everything that there is to see."""
    with live_exchange(tmp_path / "data") as exchange:
        picture = tmp_path / "top.svg"
        done = run_tallystick("top", "--socket", exchange.ready["admin"], "--screenshot", str(picture))
        assert done.returncode == 0, done.stderr
        drawn = picture.read_text(encoding="utf-8").replace("&#160;", " ")
        for word in ("reqlog-writer", "market-maker", "BTC-USDT", "requests/s", "snapshot", "Halt market", "█"):
            assert word in drawn, word


@pytest.mark.process
def test_without_an_exchange(tmp_path: Path) -> None:
    """One line and exit code 2."""
    done = run_tallystick("top", "--socket", str(tmp_path / "admin.sock"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "name its socket with --socket" in done.stderr
    with pytest.raises(Unreachable):
        AdminLine(tmp_path / "admin.sock").ask("tree")


@pytest.mark.process
def test_a_look(tmp_path: Path) -> None:
    """At the first market unless another is chosen; one that there is not is refused."""
    with live_exchange(tmp_path / "data", "--quiet-market") as exchange:
        line = AdminLine(Path(exchange.ready["admin"]))
        first, other = look(line, None), look(line, "ETH-BTC")
        assert first.market is not None
        assert other.market is not None
        assert (first.market["symbol"], other.market["symbol"]) == ("BTC-USDT", "ETH-BTC")
        with pytest.raises(CallRefused, match="there is no market"):
            look(line, "XRP-BTC")
        line.close()

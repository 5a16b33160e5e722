"""`tallystick top`: a live dashboard, in a process of its own, over the admin socket.

What it shows is made in `top_view`; here are the widgets, the keys, and the thread that asks once a second. Textual
brings its own loop; nothing of the exchange runs in it.
"""

import time
from pathlib import Path
from typing import ClassVar, Final

from rich.markup import escape
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Header, Label, Sparkline, Static
from textual.worker import get_current_worker

from tallystick import top_view
from tallystick.admin_line import AdminLine, CallRefused, Unreachable
from tallystick.top_view import Moment

LOOK_SECONDS: Final = 1.0
CALLS_SHOWN: Final = 5
RATES_KEPT: Final = 120
# The first look has nothing to compare with, the second has.
LOOKS_FOR_A_PICTURE: Final = 4


def look(line: AdminLine, symbol: str | None) -> Moment:
    """All that is shown, as it is now. Raises CallRefused or Unreachable."""
    samples = line.ask("metrics")["metrics"]
    markets = line.ask("market.list")["markets"]
    symbol = symbol or (markets[0]["symbol"] if markets else None)
    return Moment(
        seconds=time.monotonic(),
        tree=line.ask("tree"),
        metrics=top_view.sums(samples),
        mailboxes=top_view.waiting(samples),
        latency={entry["of"]: entry for entry in line.ask("latency")["latency"]},
        info=line.ask("info"),
        markets=markets,
        market=None if symbol is None else line.ask("market.show", {"symbol": symbol}),
        calls=line.ask("audit.tail", {"count": CALLS_SHOWN})["calls"],
    )


class Sure(ModalScreen[bool]):
    """Asks whether it is meant."""

    BINDINGS: ClassVar[list[BindingType]] = [("y", "answer(True)", "Yes"), ("n,escape", "answer(False)", "No")]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """The question."""
        yield Label(f"{self._question}  [b]y[/b]es / [b]n[/b]o", id="question")

    def action_answer(self, answer: bool) -> None:
        """Close with it."""
        self.dismiss(answer)


class Top(App[None]):
    """The dashboard of one exchange."""

    TITLE = "Tallystick"
    CSS = """
    #left { width: 3fr; } #right { width: 2fr; }
    #actors { height: 3fr; } #markets { height: 2fr; } #depth { height: 20; } #trades { height: 1fr; }
    #bottom { height: 9; } #bottom > Vertical { width: 1fr; }
    Static, Sparkline, DataTable { border: round $primary; padding: 0 1; }
    Sparkline { height: 4; } #speed { height: 5; } #storage { height: 5; } #calls { height: 1fr; }
    Sure { align: center middle; } #question { padding: 1 4; border: thick $error; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("h", "halt", "Halt market"),
        Binding("r", "resume", "Resume market"),
        Binding("a", "restart", "Restart actor"),
        Binding("tab", "focus_next", "Actors / markets"),
        Binding("q", "quit", "Quit"),
    ]

    def __init__(self, path: Path, picture: Path | None = None) -> None:
        """`picture`: where to draw it once there is something to see, and then end."""
        super().__init__()
        self._path = path
        self._picture = picture
        self._before: Moment | None = None
        self._rates: list[float] = []
        self._looks = 0

    def compose(self) -> ComposeResult:
        """The panes."""
        yield Header()
        with Horizontal():
            with Vertical(id="left"):
                yield DataTable(id="actors", cursor_type="row")
                yield DataTable(id="markets", cursor_type="row")
            with Vertical(id="right"):
                yield Static(id="depth")
                yield Static(id="trades")
        with Horizontal(id="bottom"):
            with Vertical():
                yield Static(id="speed")
                yield Sparkline(id="rates")
            with Vertical():
                yield Static(id="storage")
                yield Static(id="calls")
        yield Footer()

    def on_mount(self) -> None:
        """Name the panes, and begin to look."""
        titles = {"depth": "Book", "trades": "Trades", "speed": "Speed", "storage": "Storage", "calls": "Operators"}
        for name, title in {**titles, "actors": "Actors", "markets": "Markets", "rates": "Requests/s"}.items():
            self.query_one(f"#{name}").border_title = title
        self._table("actors").add_columns("actor", "state", "restarts", "waiting", "last error")
        self._table("markets").add_columns("market", "state", "open orders")
        self._table("actors").focus()
        self._keep_looking()

    # Looking --------------------------------------------------------------------------------------------------------

    @work(thread=True, exclusive=True, group="look")
    def _keep_looking(self) -> None:
        """In a thread, as the socket blocks: until the dashboard ends."""
        line, worker = AdminLine(self._path), get_current_worker()
        while not worker.is_cancelled:
            try:
                moment = look(line, self._chosen("markets"))
            except (CallRefused, Unreachable) as error:
                self.call_from_thread(self._tell, str(error))
            else:
                self.call_from_thread(self._show, moment)
            time.sleep(LOOK_SECONDS)
        line.close()

    def _tell(self, trouble: str) -> None:
        self.sub_title = trouble
        self._before = None

    def _show(self, moment: Moment) -> None:
        self.sub_title = f"{moment.info['version']}  {self._path}"
        rows = top_view.actors(moment)
        _fill(self._table("actors"), [(row.name, row.cells()) for row in rows])
        _fill(
            self._table("markets"),
            [(market["symbol"], top_view.market_cells(market)) for market in moment.markets],
        )
        if moment.market is not None:
            self.query_one("#depth", Static).update(top_view.depth_plot(moment.market))
            self.query_one("#depth").border_title = f"Book of {moment.market['symbol']}"
            self.query_one("#trades", Static).update(top_view.trades(moment.market))
        self.query_one("#speed", Static).update(top_view.speed(self._before, moment))
        self.query_one("#storage", Static).update(top_view.storage(moment))
        self.query_one("#calls", Static).update(top_view.calls(moment))
        if self._before is not None:
            rate = top_view.rate("tallystick_requests_total", self._before, moment)
            self._rates = [*self._rates, rate][-RATES_KEPT:]
            self.query_one("#rates", Sparkline).data = self._rates
        self._before = moment
        self._looks += 1
        if self._picture is not None and self._looks == LOOKS_FOR_A_PICTURE:
            self.call_after_refresh(self._draw, self._picture)

    def _draw(self, picture: Path) -> None:
        picture.write_text(self.export_screenshot(title="tallystick top"), encoding="utf-8")
        self.exit()

    def _table(self, name: str) -> "DataTable[object]":
        return self.query_one(f"#{name}", DataTable)

    def _chosen(self, table: str) -> str | None:
        """The key of the row that the cursor is on."""
        rows = self._table(table)
        if not rows.row_count:
            return None
        return rows.coordinate_to_cell_key(rows.cursor_coordinate).row_key.value

    # Doing ----------------------------------------------------------------------------------------------------------

    def action_halt(self) -> None:
        """Halt the chosen market, when it is meant."""
        if (symbol := self._chosen("markets")) is not None:
            self._ask(f"Halt {symbol}?", "market.halt", {"symbol": symbol})

    def action_resume(self) -> None:
        """Let the chosen market trade."""
        if (symbol := self._chosen("markets")) is not None:
            self._ask(f"Resume {symbol}?", "market.resume", {"symbol": symbol})

    def action_restart(self) -> None:
        """Restart the chosen actor, when it is meant."""
        if (name := self._chosen("actors")) is not None:
            self._ask(f"Restart {name}?", "actor.restart", {"name": name})

    def _ask(self, question: str, method: str, params: dict[str, object]) -> None:
        def answered(sure: bool | None) -> None:
            if sure:
                self._do(method, params)

        self.push_screen(Sure(question), answered)

    @work(thread=True, group="do")
    def _do(self, method: str, params: dict[str, object]) -> None:
        line = AdminLine(self._path)
        try:
            line.ask(method, params)
        except (CallRefused, Unreachable) as error:
            self.call_from_thread(self.notify, escape(str(error)), title=method, severity="error")
        else:
            self.call_from_thread(self.notify, escape(" ".join(map(str, params.values()))), title=method)
        finally:
            line.close()


def _fill(table: "DataTable[object]", rows: "list[tuple[str, tuple[object, ...]]]") -> None:
    """Show these rows, by key, with the cursor where it was."""
    if [key.value for key in table.rows] != [key for key, _ in rows]:
        table.clear()
        for key, cells in rows:
            table.add_row(*cells, key=key)
        return
    columns = list(table.columns)
    for key, cells in rows:
        for column, cell in zip(columns, cells, strict=True):
            table.update_cell(key, column, cell)

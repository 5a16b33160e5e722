"""What `tallystick top` shows, made of what the admin socket answers: plain functions of two moments of an exchange."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

from attrs import field, frozen
from rich.markup import escape
from rich.text import Text

BAR_CELLS: Final = 22
LEVELS: Final = 8
_STATE_STYLES: Final = {"running": "green", "starting": "yellow", "stopping": "yellow", "backing-off": "red bold"}
_MARKET_STYLES: Final = {"TRADING": "green", "HALT": "red bold"}


@frozen(kw_only=True)
class Moment:
    """What was answered at one time."""

    seconds: float
    """Of a clock that does not jump."""
    tree: Mapping[str, Any]
    metrics: Mapping[str, float]
    """The sums of samples with one name."""
    mailboxes: Mapping[str, float]
    """How much waits, by actor."""
    latency: Mapping[str, Mapping[str, Any]]
    """By what it is of."""
    info: Mapping[str, Any]
    markets: Sequence[Mapping[str, Any]]
    market: Mapping[str, Any] | None = None
    """The one that is looked at, with its levels and trades."""
    calls: Sequence[Mapping[str, Any]] = field(factory=tuple)
    """The last that changed something."""


@frozen
class ActorRow:
    """A child of the tree."""

    name: str
    indent: int
    state: str
    restarts: int
    waiting: int | None
    last_error: str | None

    def cells(self) -> tuple[Text, ...]:
        """For a table."""
        return (
            Text("  " * self.indent + self.name),
            Text(self.state, _STATE_STYLES.get(self.state, "dim")),
            Text(str(self.restarts or "")),
            Text("" if self.waiting is None else str(self.waiting)),
            Text(self.last_error or "", "dim"),
        )


def sums(samples: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Of `metrics`: every name with the sum of its samples."""
    found: dict[str, float] = {}
    for sample in samples:
        found[sample["name"]] = found.get(sample["name"], 0.0) + sample["value"]
    return found


def waiting(samples: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Of `metrics`: what waits in each mailbox."""
    return {
        sample["labels"]["mailbox"]: sample["value"]
        for sample in samples
        if sample["name"] == "tallystick_mailbox_items"
    }


def actors(moment: Moment) -> list[ActorRow]:
    """Every child of the tree, each before those below it."""
    return list(_rows(moment.tree, moment.mailboxes, 0))


def _rows(supervisor: Mapping[str, Any], mailboxes: Mapping[str, float], indent: int) -> Iterator[ActorRow]:
    for child in supervisor["children"]:
        depth = mailboxes.get(child["name"])
        yield ActorRow(
            child["name"],
            indent,
            child["state"],
            child["restarts"],
            None if depth is None else int(depth),
            child["last_error"],
        )
        if child["supervisor"]:
            yield from _rows(child["supervisor"], mailboxes, indent + 1)


def market_cells(market: Mapping[str, Any]) -> tuple[Text, ...]:
    """A market for a table."""
    status = market["status"]
    return Text(market["symbol"]), Text(status, _MARKET_STYLES.get(status, "yellow")), Text(str(market["openOrders"]))


def depth_plot(market: Mapping[str, Any]) -> Text:
    """The best levels, asks above bids, each with a bar as long as all that is to be had up to it."""
    asks, bids = market["asks"][:LEVELS], market["bids"][:LEVELS]
    totals = [list(accumulate(float(quantity) for _, quantity in side)) for side in (asks, bids)]
    most = max((side[-1] for side in totals if side), default=0.0)
    text = Text()
    for side, total, style in ((asks, totals[0], "red"), (bids, totals[1], "green")):
        rows = [
            (price, quantity, "█" * max(1, round(BAR_CELLS * up_to / most)))
            for (price, quantity), up_to in zip(side, total, strict=True)
        ]
        for price, quantity, bar in reversed(rows) if style == "red" else rows:
            text.append(f"{price:>12} {quantity:>12} ")
            text.append(f"{bar}\n", style)
        if style == "red":
            text.append("─" * (26 + BAR_CELLS) + "\n", "dim")
    return text if most else Text("nobody offers anything\n", "dim")


def trades(market: Mapping[str, Any]) -> Text:
    """The last trades, the newest first."""
    text = Text()
    for trade in reversed(market["trades"][-LEVELS * 2 :]):
        style = "green" if trade["side"] == "BUY" else "red"
        text.append(f"{trade['price']:>12} ", style)
        text.append(f"{trade['qty']:>12}\n")
    return text or Text("no trades yet\n", "dim")


def rate(name: str, before: Moment | None, now: Moment) -> float:
    """How much a counter grew in a second; 0.0 for a process that has just begun."""
    if before is None or now.seconds <= before.seconds:
        return 0.0
    grown = now.metrics.get(name, 0.0) - before.metrics.get(name, 0.0)
    return max(0.0, grown / (now.seconds - before.seconds))


def speed(before: Moment | None, now: Moment) -> str:
    """Requests, trades of the disk, and how long both take, for a person; markup."""
    requests, writes = now.latency["requests"], now.latency["log writes"]
    return (
        f"[b]{rate('tallystick_requests_total', before, now):,.0f}[/b] requests/s  "
        f"p50 {_milliseconds(requests['p50_ms'])}  p99 {_milliseconds(requests['p99_ms'])}\n"
        f"[b]{rate('tallystick_log_frames_total', before, now):,.0f}[/b] log writes/s  "
        f"p50 {_milliseconds(writes['p50_ms'])}  p99 {_milliseconds(writes['p99_ms'])}\n"
        f"[b]{now.info['sessions']}[/b] sessions"
        + ("  [yellow]draining[/yellow]" if now.metrics.get("tallystick_draining") else "")
    )


def _milliseconds(bound: float | None) -> str:
    return "> 10 s" if bound is None else f"≤ {bound:g} ms"


def storage(now: Moment) -> str:
    """Log, snapshot and backup in a line each; markup."""
    log, snapshot, backup = now.info["log"], now.info["snapshot"], now.info["backup"]
    lines = [
        f"log       next {log.get('next_seq', 0):,}  segment {log.get('segments', 0)}  "
        + ("[green]has room[/green]" if log.get("has_room") else "[red bold]NO ROOM[/red bold]"),
        f"snapshot  of {snapshot['seq']:,}  failures {snapshot['failures']}"
        + (f"  [red]{escape(snapshot['last_failure'])}[/red]" if snapshot["last_failure"] else ""),
    ]
    if backup:
        lines.append(
            f"backup    to {backup['last_seq']:,}  lacks {backup['lag']:,}"
            + (f"  [red]{escape(backup['trouble'])}[/red]" if backup["trouble"] else "")
        )
    return "\n".join(lines)


def calls(now: Moment) -> str:
    """What operators did last, the newest first; markup."""
    lines = [f"uid {call['uid']}  {call['call']}  {_said(call['params'])}  {call['outcome']}" for call in now.calls]
    return escape("\n".join(reversed(lines))) or "[dim]nobody has changed anything[/dim]"


def _said(params: Mapping[str, Any]) -> str:
    return " ".join(str(value) for name, value in params.items() if name != "yes")

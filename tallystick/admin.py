"""`tallystick admin`: one command to a running exchange's admin socket, and its answer as a person reads it."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import IO, Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.json import JSON
from rich.table import Table
from rich.tree import Tree

from actors.admin_command import COMMAND_SECONDS, WORK_SECONDS
from persistence.exits import Exit
from tallystick.tables import table

DEFAULT_SOCKET: Final = Path("demo-data/admin.sock")
# A little more than the exchange allows a command, so that its own words arrive.
TIMEOUT_SECONDS: Final = COMMAND_SECONDS + 5
WORK_TIMEOUT_SECONDS: Final[dict[str, float]] = {
    "snapshot": WORK_SECONDS + 5,
    "backup": WORK_SECONDS + 5,
    "verify": WORK_SECONDS + 5,
}
# A shell that completes words waits no longer for them.
COMPLETION_SECONDS: Final = 1.0
# Where the words for a parameter come from: a command without parameters, the one list in its answer, and what names an
# entry.
_WORDS: Final = {
    "symbol": ("market.list", "symbol"),
    "account": ("account.list", "name"),
    "session": ("session.list", "session"),
}


def complete(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """What may come next, as the running exchange says: commands with what they do, actors, markets, accounts."""
    words: list[str] = ctx.params.get("words") or []
    path = ctx.params.get("socket") or DEFAULT_SOCKET
    try:
        found = _possible(Path(path), words)
    except (OSError, EOFError):
        return  # no exchange, no words
    yield from ((word, about) for word, about in found if word.startswith(incomplete))


def _possible(path: Path, words: list[str]) -> list[tuple[str, str]]:
    usages: dict[str, str] = _result(path, "help")["commands"]
    if not words:
        return [(usage.split()[0], about) for usage, about in usages.items()]
    usage = next((usage.split() for usage in usages if usage.split()[0] == words[0]), [])
    parameter = usage[len(words)].strip("[]").lower() if len(words) < len(usage) else ""
    if words[0].startswith("actor.") and parameter == "name":
        return [(name, "") for name in _names(_result(path, "tree"))]
    if parameter not in _WORDS:
        return []
    command, key = _WORDS[parameter]
    (entries,) = _result(path, command).values()
    return [(str(entry[key]), "") for entry in entries]


def _names(supervisor: Mapping[str, Any]) -> Iterator[str]:
    for child in supervisor["children"]:
        yield child["name"]
        if child["supervisor"]:
            yield from _names(child["supervisor"])


def _result(path: Path, name: str) -> Any:
    with _asked(path, _line(name), COMPLETION_SECONDS) as (answer, _rest):
        return msgspec.json.decode(answer).get("result", {})


def admin(
    words: Annotated[
        list[str],
        typer.Argument(help="The command and its parameters; 'help' lists them.", autocompletion=complete),
    ],
    *,
    socket: Annotated[
        Path, typer.Option("--socket", envvar="TALLYSTICK_SOCKET", help="The exchange's admin socket.")
    ] = DEFAULT_SOCKET,
    json: Annotated[bool, typer.Option("--json", help="Print the answer's line as it came.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Mean it: for commands that may hurt.")] = False,
) -> None:
    """Run one admin command on a running exchange."""
    name, *parameters = words
    params: dict[str, Any] = {str(place): word for place, word in enumerate(parameters)}
    if yes:
        params["yes"] = True
    try:
        with _asked(socket, _line(name, params), WORK_TIMEOUT_SECONDS.get(name, TIMEOUT_SECONDS)) as (answer, rest):
            goes_on = b'"result":{"following"' in answer
            if json or not goes_on:
                _show(name, answer, json=json)
            for event in rest if goes_on else ():
                typer.echo(event.decode().rstrip("\n"))
    except EOFError:
        typer.echo("tallystick: the exchange hung up without an answer, as it does when its admin restarts", err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        reason = error.strerror or str(error)
        typer.echo(f"tallystick: no exchange answers at {socket}: {reason}; name its socket with --socket", err=True)
        raise typer.Exit(Exit.USAGE) from None
    except KeyboardInterrupt:
        raise typer.Exit(0) from None  # the way to end what goes on


def _show(name: str, answer: bytes, *, json: bool) -> None:
    """Print an answer; exit code 1 for a refusal."""
    reply = msgspec.json.decode(answer)
    if json:
        typer.echo(answer.decode().rstrip("\n"))
    elif reply["status"] == 200:
        shown = _render(name, reply["result"])
        Console().print(shown, soft_wrap=isinstance(shown, JSON))  # a long path stays one word
    else:
        typer.echo(f"tallystick: {reply['error']['msg']}", err=True)
    if reply["status"] != 200 or _differs(name, reply["result"]):
        raise typer.Exit(1)


def _differs(name: str, result: Mapping[str, Any]) -> bool:
    """Whether something is missing or too much."""
    return name == "reconcile" and any(Decimal(row["difference"]) for row in result["reconciled"])


def _line(name: str, params: Mapping[str, Any] | None = None) -> bytes:
    return msgspec.json.encode({"method": name, "params": params or {}}) + b"\n"


@contextmanager
def _asked(path: Path, line: bytes, timeout_seconds: float) -> Iterator[tuple[bytes, IO[bytes]]]:
    """The line that answers, and what may follow it, without a deadline. Raises OSError, EOFError."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_seconds)
        connection.connect(str(path))
        connection.sendall(line)
        with connection.makefile("rb") as file:
            answer = file.readline()
            if not answer.endswith(b"\n"):
                raise EOFError
            connection.settimeout(None)
            yield answer, file


def _render(name: str, result: Mapping[str, Any]) -> Tree | Table | JSON:
    if name == "tree":
        return _tree(result)
    if len(result) == 1:
        (value,) = result.values()
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return table(value)
        if isinstance(value, dict) and name == "help":
            return table([{"command": usage, "what it does": about} for usage, about in value.items()])
    return JSON.from_data(result)


def _tree(supervisor: Mapping[str, Any], branch: Tree | None = None) -> Tree:
    branch = branch or Tree(f"{supervisor['name']}  [dim]{supervisor['strategy']}[/dim]")
    for child in supervisor["children"]:
        label = f"{child['name']}  {child['state']}  {child['uptime_seconds']:.0f} s"
        if child["restarts"]:
            label += f"  {child['restarts']} restart(s)"
        if child["last_error"]:
            label += f"  [dim]last error: {child['last_error']}[/dim]"
        leaf = branch.add(label)
        if child["supervisor"]:
            _tree(child["supervisor"], leaf)
    return branch

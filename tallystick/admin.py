"""`tallystick admin`: one command to a running exchange's admin socket, and its answer as a person reads it."""

import socket
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final

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
}


def admin(
    words: Annotated[list[str], typer.Argument(help="The command and its parameters; 'help' lists them.")],
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
    line = msgspec.json.encode({"method": name, "params": params}) + b"\n"
    try:
        answer = _ask(socket, line, WORK_TIMEOUT_SECONDS.get(name, TIMEOUT_SECONDS))
    except EOFError:
        typer.echo("tallystick: the exchange hung up without an answer, as it does when its admin restarts", err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        reason = error.strerror or str(error)
        typer.echo(f"tallystick: no exchange answers at {socket}: {reason}; name its socket with --socket", err=True)
        raise typer.Exit(Exit.USAGE) from None
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


def _ask(path: Path, line: bytes, timeout_seconds: float) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_seconds)
        connection.connect(str(path))
        connection.sendall(line)
        answer = b""
        while not answer.endswith(b"\n"):
            received = connection.recv(65_536)
            if not received:
                raise EOFError
            answer += received
        return answer


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

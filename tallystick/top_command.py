"""`tallystick top`, as it is called."""

from pathlib import Path
from typing import Annotated, Final

import typer

from persistence.exits import Exit
from tallystick.admin import DEFAULT_SOCKET
from tallystick.admin_line import AdminLine, CallRefused, Unreachable

PICTURE_CELLS: Final = (132, 54)


def top(
    *,
    socket: Annotated[
        Path, typer.Option("--socket", envvar="TALLYSTICK_SOCKET", help="The exchange's admin socket.")
    ] = DEFAULT_SOCKET,
    screenshot: Annotated[
        Path | None, typer.Option(help="Draw it into this SVG file instead, once there is something to see.")
    ] = None,
) -> None:
    """Watch a running exchange: actors, markets, speed, storage; halt and resume markets, restart actors."""
    from tallystick.top import Top  # noqa: PLC0415 - Textual takes a quarter of a second, which no other command owes

    line = AdminLine(socket)
    try:
        line.ask("version")
    except (CallRefused, Unreachable) as error:
        typer.echo(f"tallystick: {error}; name its socket with --socket", err=True)
        raise typer.Exit(Exit.USAGE) from None
    finally:
        line.close()
    app = Top(socket, screenshot)
    app.run(headless=screenshot is not None, size=PICTURE_CELLS if screenshot is not None else None)

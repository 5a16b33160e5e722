"""Admin commands that are only looked at: there is nothing behind them."""

from typing import Any, cast

from actors.system_commands import SystemCommands


def without_anything() -> SystemCommands:
    """The commands about the program, for their names."""
    nothing = cast("Any", None)
    return SystemCommands(
        sessions=nothing,
        log_state=nothing,
        collector=nothing,
        levels=nothing,
        config=nothing,
        audit=nothing,
        disk=nothing,
        blocking=nothing,
        pace=nothing,
    )

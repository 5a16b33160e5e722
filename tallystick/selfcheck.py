"""`tallystick selfcheck`: what a deploy runs first. Can this program run here, and how fast is the disk?"""

import importlib
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from book.commands import PlaceOrder
from book.compiled import COMPILED
from book.engine import Engine
from book.events import Trade
from book.terms import BUY, GTC, LIMIT, SELL
from persistence.exits import Exit
from tallystick.demo import MARKETS, TRADERS, definitions

MODULES: Final = ("actors", "book", "persistence", "chains", "supervisor", "tallystick")
SYNCS: Final = 200
SYNC_BYTES: Final = 4096
# Slower than this and clients wait noticeably for every answer: a network disk, or one without a power-safe cache.
SLOW_SYNC_MS: Final = 5.0


def selfcheck(
    data: Annotated[
        Path | None, typer.Option(help="Measure the disk of this folder; else of the temporary one.")
    ] = None,
) -> None:
    """Check that this program can run on this machine; exit code 0 when it can."""
    trouble = [line for line in (_imports(), _engine(), _disk(data)) if line is not None]
    for line in trouble:
        typer.echo(f"TROUBLE  {line}", err=True)
    typer.echo("selfcheck: " + ("all is well" if not trouble else f"{len(trouble)} in trouble"))
    raise typer.Exit(Exit.DONE if not trouble else Exit.USAGE)


def _imports() -> str | None:
    for module in MODULES:
        try:
            importlib.import_module(module)
        except ImportError as error:
            return f"{module} cannot be imported: {error}"
    typer.echo(f"python   {platform.python_version()} on {platform.system()} {platform.machine()}")
    return None


def _engine() -> str | None:
    """A trade through a fresh engine, its own check, and a copy by way of its dump."""
    engine = Engine()
    orders = [
        PlaceOrder(account, 0, 0, MARKETS[0].symbol, side, LIMIT, GTC, 1_000, 5_000_000)
        for (account, _), side in zip(TRADERS, (SELL, BUY), strict=True)
    ]
    for seq, command in enumerate([*definitions(), *orders], 1):
        happened = engine.apply(command, seq, seq)
    engine.check()
    if not isinstance(happened, list) or not any(isinstance(event, Trade) for event in happened):
        return f"two orders that meet do not trade in the engine: {happened}"
    if Engine.load(engine.dump()).state_hash() != engine.state_hash():
        return "the engine does not load what it dumped"
    typer.echo(f"engine   {'compiled' if COMPILED else 'interpreted'}")
    return None


def _disk(folder: Path | None) -> str | None:
    """Write and sync like the request log does."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix="tallystick-selfcheck-") as file:
            os.pwrite(file.fileno(), bytes(SYNCS * SYNC_BYTES), 0)
            os.fsync(file.fileno())
            took_ms = []
            for place in range(SYNCS):
                began = time.perf_counter()
                os.pwrite(file.fileno(), b"\1" * SYNC_BYTES, place * SYNC_BYTES)
                os.fdatasync(file.fileno())
                took_ms.append((time.perf_counter() - began) * 1e3)
            where = Path(file.name).parent
    except OSError as error:
        return f"the disk of {folder or tempfile.gettempdir()} cannot be written: {error.strerror}"
    median, worst = statistics.median(took_ms), max(took_ms)
    slow = "  (slow: every answer waits for one)" if median > SLOW_SYNC_MS else ""
    typer.echo(f"disk     {where}: a 4 KiB write and sync takes {median:.2f} ms, at worst {worst:.2f} ms{slow}")
    return None

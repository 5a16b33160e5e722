"""`tallystick store`: the store of chain transactions, while no exchange uses it."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import SystemRandom
from typing import Annotated, Final, TypeVar

import trio
import typer

from actors.world import Threads
from persistence import store_dump
from persistence.exits import Exit
from persistence.mysql import BadUrl
from persistence.opening import open_database
from persistence.sql_store import SqlStore
from persistence.statements import Database
from persistence.store_dump import BadDump
from persistence.txstore import StoreError
from tallystick.config import ConfigError, load

T = TypeVar("T")

Config = Annotated[Path, typer.Option("--config", help="A tallystick.toml, for its [store].")]
MODE: Final = 0o600

store = typer.Typer(help="Dump the store of chain transactions, and put a dump back.", no_args_is_help=True)


@store.command()
def dump(file: Annotated[Path, typer.Argument(help="To be made; it must not be there.")], *, config: Config) -> None:
    """Write everything in the store into a file, as of one moment."""
    with _guarded():
        found = _with_database(config, store_dump.take)
        with file.open("xb") as made:
            file.chmod(MODE)
            made.write(found)
    typer.echo(f"dumped {len(found)} bytes into {file}")


@store.command(name="load")
def load_dump(file: Annotated[Path, typer.Argument(help="A dump.")], *, config: Config) -> None:
    """Put a dump back into a store, which should be empty; what is there already must be the same."""
    with _guarded():
        data = file.read_bytes()
        counts = _with_database(config, lambda database: store_dump.load(SqlStore(database), data))
    for table, count in counts.items():
        typer.echo(f"{table:14} {count}")


def _with_database(config: Path, work: Callable[[Database], Awaitable[T]]) -> T:
    settings = load(config)
    Path(settings.data_folder).mkdir(parents=True, exist_ok=True)

    async def main() -> T:
        database = open_database(
            settings.config.store, folder=settings.data_folder, blocking=Threads(1), random=SystemRandom()
        )
        try:
            return await work(database)
        finally:
            await database.aclose()

    return trio.run(main)


@contextmanager
def _guarded() -> Iterator[None]:
    """One line and the documented exit code where something forbids to go on."""
    try:
        yield
    except BadDump as error:
        typer.echo(f"tallystick: the dump is bad: {error}", err=True)
        raise typer.Exit(Exit.DATA_DAMAGED) from None
    except (ConfigError, BadUrl, StoreError) as error:
        typer.echo(f"tallystick: {error}", err=True)
        raise typer.Exit(Exit.USAGE) from None
    except OSError as error:
        typer.echo(f"tallystick: cannot use {error.filename}: {error.strerror}", err=True)
        raise typer.Exit(Exit.USAGE) from None

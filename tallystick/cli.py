"""The `tallystick` command."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Annotated

import structlog
import typer

import supervisor
from actors.chain_parts import Chains
from actors.log_levels import LEVELS, LogLevels
from actors.world import Blocking
from persistence.exits import Exit
from persistence.storage import Disk
from persistence.txstore import TxStore
from tallystick import running, terminal
from tallystick.admin import admin
from tallystick.backup import backup
from tallystick.client_command import client
from tallystick.collect_command import collect
from tallystick.config import ConfigError, Settings, load
from tallystick.demo_command import demo
from tallystick.init_command import init
from tallystick.log import log
from tallystick.selfcheck import selfcheck
from tallystick.snapshot_command import take_snapshot
from tallystick.store_command import store
from tallystick.top_command import top

_log = structlog.get_logger("tallystick")

app = typer.Typer(
    name="tallystick",
    help="A digital-asset exchange that never loses an acknowledged request.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(log, name="log")
app.add_typer(backup, name="backup")
app.add_typer(store, name="store")
app.command()(demo)
# A fee of -0.0001 is no option.
app.command(context_settings={"ignore_unknown_options": True})(admin)
app.command()(client)
app.command()(init)
app.command()(collect)
app.command()(top)
app.command()(selfcheck)
# Not for people: a running exchange starts it.
app.command(hidden=True)(take_snapshot)


def main() -> None:
    """Where the installed command begins."""
    terminal.log_to_stderr()
    app()


@app.command()
def run(
    *, config: Annotated[Path, typer.Option("--config", help="A tallystick.toml; docs/configuration.md has every key.")]
) -> None:
    """Run the exchange in the foreground, until SIGTERM or Ctrl-C."""
    settings = _loaded(config)
    log_config = settings.config.log
    levels = LogLevels(LEVELS[log_config.level.value])
    terminal.log_to_stderr(levels, log_config.format)

    if settings.config.admin.test_money:
        _log.warning("admin.test_money is true: operators may credit what nobody paid in")

    def ready(addresses: supervisor.Addresses) -> None:
        typer.echo(f"tallystick: serving clients on {addresses.client}", err=True)

    code = running.run(
        settings.config,
        settings.data_folder,
        ready=ready,
        progress=terminal.progress,
        open_chains=_open_chains(settings),
        levels=levels,
    )
    raise typer.Exit(code)


def _open_chains(settings: Settings) -> running.OpenChains | None:
    """What opens the chains that the configuration names; one line and exit code 2 where their file is not right."""
    if settings.chains_file is None:
        return None
    # The chains' libraries take seconds to load, which no other command needs to wait for.
    from tallystick import real_chains  # noqa: PLC0415 - as was just said

    with _usage():
        file = real_chains.load_chains(settings.chains_file)

    def open_chains(_disk: Disk, _blocking: Blocking, _random: Random, _folder: str, store: TxStore) -> Chains:
        return real_chains.open_chains(file, settings.assets, running.SIGNER, store=store)

    return open_chains


@app.command(name="check-config")
def check_config(file: Path) -> None:
    """Say whether a configuration file is right, and if not, where it is wrong."""
    _loaded(file)
    typer.echo(f"{file} is right")


def _loaded(file: Path) -> Settings:
    """The configuration; one line and exit code 2 where it is not right."""
    with _usage():
        return load(file)


@contextmanager
def _usage() -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        typer.echo(f"tallystick: {error}", err=True)
        raise typer.Exit(Exit.USAGE) from None


@app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def wallet(context: typer.Context) -> None:
    """Keystores, xpubs, and sweeping deposits into the cold wallet."""
    # Its libraries take two seconds to load, and no other command needs them.
    from tallystick.wallet import wallet as commands  # noqa: PLC0415 - as was just said

    typer.main.get_command(commands).main(args=context.args, prog_name="tallystick wallet")


# Not for people: a running exchange starts it, and asks it for signatures.
@app.command(hidden=True)
def signer(words: list[str]) -> None:
    """Sign what comes in at the standard input."""
    from chains import signing  # noqa: PLC0415 - its libraries are heavy too

    raise typer.Exit(signing.main(words))


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"tallystick {supervisor.VERSION}")

"""`tallystick demo`: the whole exchange on embedded defaults, on this machine alone, and how to talk to it."""

import enum
import logging
import os
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from actors.account_limits import AccountLimitsConfig
from actors.admin import AdminConfig
from actors.backup import BackupConfig
from actors.gateway import GatewayConfig
from actors.log_levels import LogLevels
from actors.matching import MatchingConfig
from actors.metrics import MetricsConfig
from actors.session import SessionLimits
from supervisor import Addresses, Config
from tallystick import running, terminal
from tallystick.demo import MARKET_MAKER, TRADERS, DemoKey, definitions
from tallystick.demo_chains import demo_chains

HOST: Final = "127.0.0.1"
PORT: Final = 7700
METRICS_PORT: Final = 9100
SOCKET: Final = "admin.sock"
BACKUP: Final = "backup"


class Nodes(enum.StrEnum):
    """What the demo's chains run on."""

    SIMULATED = "simulated"
    REAL = "real"


def demo(
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line when it serves, and nothing else.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Where clients connect; 0 picks a free port.")] = PORT,
    data: Annotated[
        Path | None, typer.Option(help="Keep the state here across restarts; else a temporary folder.")
    ] = None,
    quiet_market: Annotated[bool, typer.Option("--quiet-market", help="Leave out the market maker.")] = False,
    nodes: Annotated[
        Nodes,
        typer.Option(help="What the chains run on: simulated ones, or a bitcoind and an anvil of the demo's own."),
    ] = Nodes.SIMULATED,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log what is normal too.")] = False,
) -> None:
    """Run a demo exchange on this machine: three markets, funded accounts alice and bob, a market maker."""
    levels = LogLevels(logging.INFO if verbose else logging.WARNING)
    terminal.log_to_stderr(levels)
    with ExitStack() as stack:
        if data is None:
            data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tallystick-demo-")))
        folder = data.absolute()
        os.umask(running.UMASK)
        with suppress(OSError):  # the folder's lock comes next, and has the words for it
            (folder / BACKUP).mkdir(parents=True, exist_ok=True)
        config = demo_config(folder, port=port, market_maker=not quiet_market)

        def ready(addresses: Addresses) -> None:
            introduce = json_line if json else welcome
            typer.echo(introduce(addresses, folder))

        code = running.run(
            config, str(folder), ready=ready, progress=terminal.progress, levels=levels, open_chains=_chains(nodes)
        )
    raise typer.Exit(code)


def _chains(nodes: Nodes) -> running.OpenChains:
    if nodes is Nodes.SIMULATED:
        return demo_chains
    # What real nodes are asked with takes seconds to load.
    from tallystick.demo_real import demo_on_real_nodes  # noqa: PLC0415 - as was just said

    return demo_on_real_nodes


def demo_config(folder: Path, *, port: int, market_maker: bool) -> Config:
    """The demo's configuration: loopback only, limits wide enough for a load generator."""
    return Config(
        matching=MatchingConfig(definitions()),
        gateway=GatewayConfig(
            host=HOST,
            port=port,
            max_connections_per_address=10_000,
            unsigned_logon=True,
            # Whoever types by hand, thinks; whoever measures, does not.
            session=SessionLimits(
                first_line_seconds=3600.0,
                line_seconds=3600.0,
                idle_seconds=3600.0,
                requests_per_second=10_000_000,
                burst=10_000_000,
            ),
            account=AccountLimitsConfig(requests_per_second=10_000_000, burst=10_000_000),
        ),
        admin=AdminConfig(folder / SOCKET, test_money=True),
        # Only one demo at a time can have the usual ports.
        metrics=MetricsConfig(HOST, METRICS_PORT if port == PORT else 0),
        backup=BackupConfig(target=(folder / BACKUP).as_uri()),
        market_maker=MARKET_MAKER if market_maker else None,
    )


def json_line(addresses: Addresses, folder: Path) -> str:
    """What a program that started the demo reads: one line, all it needs to trade."""
    facts = {
        "ready": True,
        "client": str(addresses.client),
        "admin": str(folder / SOCKET),
        "metrics": f"http://{addresses.metrics}/metrics",
        "data": str(folder),
        "accounts": [{"name": name, "apiKey": name, "privateKey": DemoKey.of(name).seed.hex()} for _, name in TRADERS],
    }
    return msgspec.json.encode(facts).decode()


def welcome(addresses: Addresses, folder: Path) -> str:
    """What a person who started the demo reads: how to trade by hand."""
    return f"""\
The demo exchange serves; Ctrl-C stops it. Accounts alice and bob are funded, their keys are public.

  clients   {addresses.client}
  shell     tallystick client --port {addresses.client.port} --key alice
  admin     tallystick admin --socket {folder / SOCKET} tree
  metrics   http://{addresses.metrics}/metrics
  data      {folder}

Trade by hand: run  nc {addresses.client.host} {addresses.client.port}  and type

{{"id":1,"method":"session.logon","params":{{"apiKey":"alice"}}}}
{{"id":2,"method":"order.place","params":{{"symbol":"BTC-USDT","side":"BUY","type":"LIMIT","quantity":"0.5","price":"45000.00"}}}}
{{"id":3,"method":"depth","params":{{"symbol":"BTC-USDT","limit":5}}}}
{{"id":4,"method":"account.status"}}
"""

"""`tallystick backup`: look at a cold backup, prove it, build a data folder from it. The backup stays as it is."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

import persistence.backup
from persistence import restore as restoring
from persistence.exits import Exit, Stop, Unreadable
from persistence.manifest import Manifest
from persistence.object_store import BadTarget, TargetFailed, open_target
from persistence.restore import NoBackupError, Proof
from persistence.storage import RealDisk, lock
from tallystick.running import UMASK, die
from tallystick.terminal import moment, progress

Url = Annotated[str, typer.Argument(metavar="URL", help="The backup's target: file:///…, s3://…, gs://…")]
Exchange = Annotated[str | None, typer.Option("--exchange", help="Its id, where there are several.")]
Epoch = Annotated[int | None, typer.Option("--epoch", min=1, help="An earlier epoch than the last.")]
Whole = Annotated[bool, typer.Option("--whole", help="The whole log, also where a snapshot would do.")]
Json = Annotated[bool, typer.Option("--json", help="Print plain JSON.")]

# What may be in a folder that a restore is to fill: what every new file system has.
_NOTHING: Final = frozenset({"lost+found"})

backup = typer.Typer(help="Look at, prove and restore cold backups.", no_args_is_help=True)


@backup.command(name="list")
def list_(url: Url, *, json: Json = False) -> None:
    """List what a target has: exchanges and their epochs. Only the manifests are read."""
    with _guarded():
        store = open_target(url)
        rows = [_summary(persistence.backup.read_manifest(store, name)) for name in persistence.backup.manifests(store)]
    if json:
        typer.echo(msgspec.json.encode(rows))
        return
    if not rows:
        typer.echo("there is no backup")
    for number, row in enumerate(rows):
        if number:
            typer.echo()
        _show(row, json=False)


def _summary(current: Manifest) -> dict[str, Any]:
    return {
        "exchange": current.exchange_id,
        "epoch": current.epoch,
        "first": current.segments[0].first_seq if current.segments else 0,
        "last": current.next_seq - 1,
        "segments": len(current.segments),
        "snapshots": len(current.snapshots),
        "bytes": sum(stored.stored_size for stored in current.objects()),
        "changed": moment(current.time_ns),
    }


@backup.command()
def verify(url: Url, *, exchange: Exchange = None, epoch: Epoch = None, json: Json = False) -> None:
    """Read every object and replay the log; exit code 3 and the object if one is not as it was copied."""
    with _guarded():
        store = open_target(url)
        current = restoring.choose(store, exchange, epoch)
        begin = restoring.needed_snapshot(current)
        proof = restoring.prove(store, current, begin=begin, progress=progress("verifying"))
        _show(_facts(proof, proof.engine.state_hash()), json=json)
    if not json:
        typer.echo("clean")


@backup.command()
def restore(
    url: Url,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An empty folder, or one to be made.")],
    *,
    exchange: Exchange = None,
    epoch: Epoch = None,
    whole: Whole = False,
    json: Json = False,
) -> None:
    """Build a data folder that starts, in a new epoch, with every market halted."""
    os.umask(UMASK)
    with _guarded():
        _must_be_empty(folder)
        store = open_target(url)
        current = restoring.choose(store, exchange, epoch)
        begin = restoring.needed_snapshot(current) if whole else restoring.last_snapshot(current)
        with lock(str(folder)):
            done = restoring.restore(
                store,
                current,
                RealDisk(str(folder), die),
                begin=begin,
                time_ns=time.time_ns(),
                entropy=os.urandom,
                progress=progress("restoring"),
            )
    facts = _facts(done.proof, done.state_hash) | {"newEpoch": done.epoch, "halted": list(done.halted)}
    _show(facts, json=json)
    if not json:
        typer.echo(f"restored into {folder}; it starts with every market halted: 'market.resume SYMBOL' for each")


def _must_be_empty(folder: Path) -> None:
    try:
        found = {path.name for path in folder.iterdir()} - _NOTHING if folder.exists() else frozenset[str]()
    except OSError as error:
        raise Unreadable(f"cannot use {folder}: {error.strerror}") from error
    if found:
        typer.echo(f"tallystick: {folder} is not empty: a backup is restored into an empty folder only", err=True)
        raise typer.Exit(Exit.USAGE)


def _facts(proof: Proof, state_hash: bytes) -> dict[str, Any]:
    """Named as `log replay` names them, which must arrive at the same."""
    current = proof.manifest
    return {
        "exchange": current.exchange_id,
        "epoch": current.epoch,
        "seq": proof.last_seq,
        "records": proof.records,
        "checks": proof.checks,
        "snapshots": proof.snapshots,
        "stateHash": state_hash.hex(),
        "totals": proof.engine.totals(),
    }


def _show(facts: dict[str, Any], *, json: bool) -> None:
    if json:
        typer.echo(msgspec.json.encode(facts))
        return
    for name, value in facts.items():
        typer.echo(f"{name:10} {msgspec.json.encode(value).decode() if isinstance(value, dict | list) else value}")


@contextmanager
def _guarded() -> Iterator[None]:
    """One line and the documented exit code where the backup or a disk forbids to go on."""
    try:
        yield
    except Stop as error:
        typer.echo(f"tallystick: {error}", err=True)
        raise typer.Exit(error.exit_code) from None
    except (BadTarget, TargetFailed, NoBackupError) as error:
        typer.echo(f"tallystick: {error}", err=True)
        raise typer.Exit(Exit.USAGE) from None

"""`tallystick log`: offline work on a data folder's request log. Only `truncate` changes anything."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from book.engine import Engine
from persistence import offline
from persistence.codec import NumberedRecord
from persistence.exits import Exit, Stop
from persistence.offline import CannotCutError
from persistence.storage import RealDisk, lock
from persistence.trail import Question, UnknownNameError, account_number, key_number
from tallystick.records import line_of, nanoseconds
from tallystick.running import die
from tallystick.terminal import moment, progress

T = TypeVar("T")

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The exchange's data folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print plain JSON.")]

_SINCE = "From this time on: 2026-11-23T14:05:00+01:00, or 2026-11-23; UTC unless it says otherwise."


def _moment(text: str) -> datetime:
    """A time as people write it."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"expected a time such as 2026-11-23T14:05:00Z or 2026-11-23, not {text!r}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


log = typer.Typer(help="Work offline on a data folder's request log.", no_args_is_help=True)


@log.command()
def verify(folder: Folder, *, json: Json = False) -> None:
    """Prove every byte of the log; exit code 3 and the place if something is not as it was written."""
    verdict = _guarded(lambda: offline.verify(_disk(folder), progress=progress("verifying")))
    if json:
        typer.echo(msgspec.json.encode(verdict, enc_hook=str))
    elif not verdict.segments and verdict.damage is None:
        typer.echo("there is no log yet")
        return
    else:
        typer.echo(
            f"{verdict.records} records in {verdict.frames} frames and {verdict.segments} segments, "
            f"{verdict.checks} checks; the last is number {verdict.last_seq} of {moment(verdict.last_time_ns)}; "
            + ("stopped in order" if verdict.stopped_in_order else "not stopped in order")
        )
        if verdict.first_seq > 1:
            typer.echo(f"it begins with number {verdict.first_seq}: snapshots stand for what came before")
        if verdict.snapshots:
            typer.echo(f"{verdict.snapshots} snapshots, the newest of number {verdict.newest_snapshot_seq}")
        if verdict.torn_bytes:
            typer.echo(f"{verdict.torn_bytes} bytes of a torn last frame: the next start keeps them aside")
    for reason in verdict.bad_snapshots:
        typer.echo(f"tallystick: a bad snapshot, which a start passes over: {reason}", err=True)
    damage = verdict.damage
    if damage is None:
        if verdict.bad_snapshots:
            raise typer.Exit(Exit.DATA_DAMAGED)
        if not json:
            typer.echo("clean")
        return
    typer.echo(f"tallystick: {damage.error}", err=True)
    typer.echo(f"tallystick: sound up to number {damage.sound_seq}; {_behind(damage)}", err=True)
    raise typer.Exit(Exit.DATA_DAMAGED)


def _behind(damage: offline.Damage) -> str:
    if damage.next_offset is None:
        return "no whole frame header behind it in this file"
    return f"the next whole frame header is at offset {damage.next_offset}, number {damage.next_seq}"


@log.command()
def stat(folder: Folder, *, json: Json = False) -> None:
    """Count what is in the log."""
    total = _guarded(lambda: offline.stat(_disk(folder), progress=progress("counting")))
    if json:
        typer.echo(msgspec.json.encode(total))
        return
    console = Console()
    segments = Table("segment", "first", "next", "frames", "bytes", "sealed", box=None)
    for row in total.segments:
        segments.add_row(
            row.path,
            str(row.first_seq),
            str(row.next_seq),
            str(row.frames),
            str(row.bytes),
            "yes" if row.sealed else "",
        )
    console.print(segments)
    counts = Table("what", "how many", box=None)
    counts.add_row("records", str(total.records))
    counts.add_row("accounts", str(len(total.accounts)))
    for title, counter in (("kind", total.kinds), ("command", total.commands), ("refused", total.refusals)):
        for name, many in counter.most_common():
            counts.add_row(f"{title} {name}", str(many))
    console.print(counts)
    console.print(f"from {moment(total.first_time_ns)} to {moment(total.last_time_ns)}, {total.bytes} bytes")


@log.command()
def dump(
    folder: Folder,
    *,
    first: Annotated[int, typer.Option("--from", min=1, help="The first sequence number.")] = 1,
    last: Annotated[int | None, typer.Option("--to", min=1, help="The last sequence number.")] = None,
    account: Annotated[str | None, typer.Option(help="Only what is about this account, by number or name.")] = None,
    key: Annotated[str | None, typer.Option(help="Only what is about this key, by number or name.")] = None,
    session: Annotated[int | None, typer.Option(help="Only what came over this connection.")] = None,
    symbol: Annotated[str | None, typer.Option(help="Only what is about this market.")] = None,
    since: Annotated[datetime | None, typer.Option(parser=_moment, metavar="TIME", help=_SINCE)] = None,
    until: Annotated[datetime | None, typer.Option(parser=_moment, metavar="TIME", help="To this time, alike.")] = None,
    json: Json = False,
) -> None:
    """Print the log's records, refused ones too, one a line: of all, or of whom and when an auditor asks for."""

    def show() -> None:
        disk = _disk(folder)
        begins = offline.first_seq(disk)
        if first < begins:
            typer.echo(f"tallystick: the log begins with number {begins}; what came before is in snapshots", err=True)
        question = Question(
            account=None if account is None else account_number(disk, account),
            key=None if key is None else key_number(disk, key),
            session=session,
            symbol=symbol,
            since_ns=0 if since is None else nanoseconds(since),
            until_ns=None if until is None else nanoseconds(until),
        )
        for entry in offline.dump(disk, first_seq=first, last_seq=last, question=question):
            typer.echo(msgspec.json.encode(entry.described()) if json else line_of(entry))

    _guarded(show)


@log.command()
def replay(
    folder: Folder,
    *,
    until: Annotated[int | None, typer.Option("--until", min=1, help="The last sequence number to replay.")] = None,
    debug: Annotated[
        bool, typer.Option("--break", help="Stop in Python's debugger before that number is applied.")
    ] = False,
    json: Json = False,
) -> None:
    """Replay the log into an engine, prove it, and print where it arrives."""
    disk = _disk(folder)
    if debug and until is None:
        typer.echo("tallystick: --break stops before what --until names, which is missing", err=True)
        raise typer.Exit(Exit.USAGE)
    engine, snapshot = _guarded(lambda: offline.begin_replay(disk))
    if snapshot is not None:
        typer.echo(
            f"tallystick: the log's beginning is gone; this begins with the snapshot of {snapshot.seq}", err=True
        )
        if until is not None and until <= snapshot.seq:
            typer.echo(f"tallystick: number {until} cannot be replayed: it is not behind that snapshot", err=True)
            raise typer.Exit(Exit.USAGE)
    last = until - 1 if debug and until is not None else until
    show = progress("replaying")
    fold = _guarded(lambda: offline.replay(disk, engine, begun_with=snapshot, until_seq=last, progress=show))
    if until is not None and fold.last_seq < (until - 1 if debug else until):
        typer.echo(f"tallystick: the log ends with number {fold.last_seq}", err=True)
        raise typer.Exit(Exit.USAGE)
    if debug and until is not None:
        _debug(disk, engine, until)
        return
    engine.check()
    result = {
        "seq": fold.last_seq,
        "applied": fold.applied,
        "refused": fold.refused,
        "checks": fold.checks,
        "digest": engine.digest.value().hex(),
        "stateHash": engine.state_hash().hex(),
        "totals": engine.totals(),
    }
    if json:
        typer.echo(msgspec.json.encode(result))
    else:
        for name, value in result.items():
            typer.echo(f"{name:10} {msgspec.json.encode(value).decode() if isinstance(value, dict) else value}")


def _debug(disk: RealDisk, engine: Engine, seq: int) -> None:
    """Stop where the next line applies number `seq`: step into it, look at `engine` before and after."""
    record = next((entry.record for entry in offline.dump(disk, first_seq=seq, last_seq=seq)), None)
    if not isinstance(record, NumberedRecord):
        typer.echo(f"tallystick: the log ends before number {seq}", err=True)
        raise typer.Exit(Exit.USAGE)
    breakpoint()  # noqa: T100 - this is what was asked for
    happened = engine.apply(record.command, seq, record.time_ns)
    typer.echo(happened)


@log.command()
def truncate(
    folder: Folder,
    *,
    at: Annotated[int, typer.Option("--at", min=0, help="The last sequence number to keep.")],
    yes: Annotated[bool, typer.Option("--yes", help="Mean it: answers that were given are taken back.")] = False,
) -> None:
    """Cut the log behind a sequence number, after a look at the damage; what is cut stays beside it in .cut files."""
    if not yes:
        typer.echo("tallystick: this takes back answers that were given; say that you mean it with --yes", err=True)
        raise typer.Exit(Exit.USAGE)

    def cut() -> offline.Cut:
        with lock(str(folder)):
            return offline.truncate(_disk(folder), at)

    done = _guarded(cut)
    typer.echo(f"the log ends with number {done.last_seq} now, in {done.path} at offset {done.offset}")
    for path in done.kept_aside:
        typer.echo(f"kept aside: {path}")


def _disk(folder: Path) -> RealDisk:
    if not (folder / "reqlog").exists():
        typer.echo(f"tallystick: {folder} is no data folder: there is no reqlog in it", err=True)
        raise typer.Exit(Exit.USAGE)
    return RealDisk(str(folder), die)


def _guarded(work: Callable[[], T]) -> T:
    """Do it; one line and the documented exit code where the data forbids it."""
    try:
        return work()
    except Stop as error:
        typer.echo(f"tallystick: {error}", err=True)
        raise typer.Exit(error.exit_code) from None
    except (CannotCutError, UnknownNameError) as error:
        typer.echo(f"tallystick: {error}", err=True)
        raise typer.Exit(Exit.USAGE) from None

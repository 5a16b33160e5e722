"""`tallystick collect`: evidence for later analysis in one archive, taken without changing anything.

In it: what the exchange answers, if one runs; the newest snapshot with the log behind it, which together replay; the
audit trail; the configuration without its secrets; the end of a log file; and what machine it is. What could not be had
is listed too. Customers' orders and balances are in it, so it is its owner's to read alone.
"""

import io
import os
import platform
import stat
import tarfile
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

import supervisor
from actors.showing import shown
from book.compiled import COMPILED
from persistence.exits import Exit, Stop
from persistence.segments import segments
from persistence.snapshot import BadSnapshot, list_snapshots, read_footer
from persistence.storage import RealDisk
from tallystick.admin import DEFAULT_SOCKET
from tallystick.admin_line import AdminLine, CallRefused, Unreachable
from tallystick.running import die

QUESTIONS: Final[dict[str, dict[str, object]]] = {
    "tree": {},
    "info": {},
    "log.status": {},
    "session.list": {},
    "latency": {},
    "slowlog": {},
    "metrics": {},
    "config.show": {},
    "audit.tail": {"count": 1000},
}
LOG_TAIL_BYTES: Final = 16 * 1024 * 1024
FOLDER: Final = "tallystick-evidence"


class Evidence:
    """The archive that is being written."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._time = int(time.time())  # noqa: TID251 - no exchange runs here
        self.missing: list[str] = []

    def add(self, name: str, data: bytes) -> None:
        """Something as a file of its own."""
        entry = tarfile.TarInfo(f"{FOLDER}/{name}")
        entry.size, entry.mtime, entry.mode = len(data), self._time, stat.S_IRUSR
        self._archive.addfile(entry, io.BytesIO(data))

    def add_json(self, name: str, value: object) -> None:
        """A value as JSON for people."""
        self.add(name, msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2) + b"\n")

    def attempt(self, what: str, collect: Callable[[], None]) -> None:
        """Collect something that may not be there."""
        try:
            collect()
        except (OSError, Stop, BadSnapshot, CallRefused, Unreachable, ValueError) as error:
            self.missing.append(f"{what}: {error}")


def collect(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="The exchange's data folder.")],
    *,
    out: Annotated[Path, typer.Option(help="The archive to write, a .tar.gz; it must not be there yet.")],
    socket: Annotated[
        Path, typer.Option("--socket", envvar="TALLYSTICK_SOCKET", help="The exchange's admin socket.")
    ] = DEFAULT_SOCKET,
    config: Annotated[Path | None, typer.Option(help="The tallystick.toml; its secrets are masked.")] = None,
    log: Annotated[Path | None, typer.Option(help="A file of the exchange's log, of which the end is taken.")] = None,
) -> None:
    """Put evidence for later analysis into one archive; changes nothing."""
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
    except OSError as error:
        typer.echo(f"tallystick: cannot write {out}: {error.strerror}", err=True)
        raise typer.Exit(Exit.USAGE) from None
    with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        evidence = Evidence(archive)
        evidence.add_json("machine.json", _machine(data))
        line = AdminLine(socket)
        for method, params in QUESTIONS.items():
            evidence.attempt(method, lambda m=method, p=params: _ask(evidence, line, m, p))  # type: ignore[misc]  # at once
        line.close()
        evidence.attempt("the data folder", lambda: _data(evidence, data))
        if config is not None:
            evidence.attempt(str(config), lambda: _config(evidence, config))
        if log is not None:
            evidence.attempt(str(log), lambda: _log(evidence, log))
        evidence.add_json("missing.json", evidence.missing)
    typer.echo(f"{out}: {out.stat().st_size:,} bytes")
    for what in evidence.missing:
        typer.echo(f"tallystick: not in it: {what}", err=True)


def _ask(evidence: Evidence, line: AdminLine, method: str, params: dict[str, object]) -> None:
    evidence.add_json(f"admin/{method}.json", line.ask(method, params))


def _machine(data: Path) -> dict[str, object]:
    found: dict[str, Any] = {
        "version": supervisor.VERSION,
        "compiled": COMPILED,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    if data.exists():
        space = os.statvfs(data)
        found |= {"disk_free_bytes": space.f_bavail * space.f_frsize, "disk_bytes": space.f_blocks * space.f_frsize}
    return found


def _data(evidence: Evidence, data: Path) -> None:
    """The newest snapshot and the log from there on, under the names they have: as a folder they replay."""
    disk = RealDisk(str(data), die)
    for path in _needed(disk):
        evidence.add(f"data/{path}", disk.read(path))


def _needed(disk: RealDisk) -> Iterator[str]:
    first_segment = 1
    for file in reversed(list_snapshots(disk)):
        try:
            first_segment = read_footer(disk, file).segment
        except BadSnapshot:
            yield file.path  # it may be what is wrong
            continue
        yield file.path
        break
    yield from (segment.path for segment in segments(disk) if segment.header.first_seq >= first_segment)
    yield from (f"audit/{name}" for name in disk.list("audit"))
    if disk.exists("exchange"):
        yield "exchange"


def _config(evidence: Evidence, path: Path) -> None:
    evidence.add_json("config.json", shown(tomllib.loads(path.read_text(encoding="utf-8"))))


def _log(evidence: Evidence, path: Path) -> None:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
        evidence.add("log.txt", file.read(LOG_TAIL_BYTES))

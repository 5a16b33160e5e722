"""`tallystick init DIR`: a tallystick.toml with every key as the program's classes have it, and fresh keys.

The file is written from the configuration's classes: sections, keys, defaults and ranges cannot differ from what
`check-config` takes. What each key means is in docs/configuration.md.
"""

import enum
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, get_args

import typer
from attrs import NOTHING, Attribute, fields, has
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from persistence.exits import Exit
from tallystick.config import File

FILE: Final = "tallystick.toml"
KEYS: Final = "keys"
TRADER: Final = "trader"

_HEAD: Final = """\
# What each key means: docs/configuration.md. Is it right? tallystick check-config {file}
# A key that is commented out has the value that is shown.

# How the exchange runs. It may be changed at will, and takes effect at the next start.
"""
_DEFINITIONS: Final = """
# What is traded, and by whom. At its first start the exchange logs this, and then it is part of its history: a market
# or an account cannot be changed here any more. Operators define more while it runs: tallystick admin market.add.

[[assets]]
name = "BTC"
scale = 8

[[assets]]
name = "USDT"
scale = 6

[[markets]]
symbol = "BTC-USDT"
tick = "0.01"
lot = "0.0001"
min_quantity = "0.0001"
max_quantity = "1000"
min_notional = "5"
maker_fee = "0.001"
taker_fee = "0.002"

[[accounts]]
id = 1
name = "{trader}"

# Its private half is in {private}, and nowhere else.
[[keys]]
id = 1
name = "{trader}"
account = "{trader}"
permissions = ["read", "trade"]
public_key = "{public}"
"""


def init(folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go; made if need be.")]) -> None:
    """Write a commented tallystick.toml with every key, and a fresh key for a first client."""
    folder = folder.absolute()
    path, private_path = folder / FILE, folder / KEYS / f"{TRADER}.key"
    private = Ed25519PrivateKey.generate()
    seed = private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()).hex()
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    try:
        private_path.parent.mkdir(parents=True, exist_ok=True)
        private_path.parent.chmod(stat.S_IRWXU)
        # The configuration last: where it is, all is.
        _write_new(private_path, seed + "\n", stat.S_IRUSR | stat.S_IWUSR)
        _write_new(path, written(folder, private_path, public), stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP)
    except FileExistsError as error:
        typer.echo(f"tallystick: {error.filename} is there already, and is left as it is", err=True)
        raise typer.Exit(Exit.USAGE) from None
    except OSError as error:
        typer.echo(f"tallystick: cannot write {error.filename}: {error.strerror}", err=True)
        raise typer.Exit(Exit.USAGE) from None
    typer.echo(f"{path}\n{private_path}\n\nStart it:  tallystick run --config {path}")


def written(folder: Path, private_path: Path, public: str) -> str:
    """The whole file, for a data folder and a socket in `folder`."""
    given = {"data.folder": str(folder / "data"), "admin.socket": str(folder / "admin.sock")}
    sections = "\n".join(_section(File, "", given))
    definitions = _DEFINITIONS.format(trader=TRADER, private=private_path, public=public)
    return _HEAD.format(file=folder / FILE) + sections + "\n" + definitions


def _write_new(path: Path, text: str, mode: int) -> None:
    """A file that nobody had more rights to than `mode` says. Raises FileExistsError and OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


# From classes to TOML -------------------------------------------------------------------------------------------------


def _section(kind: type[Any], title: str, given: dict[str, str]) -> Iterator[str]:
    """The keys of a section, then the sections in it."""
    keys = [key for key in fields(kind) if not _is_section(key)]
    if title and keys:
        yield f"\n[{title}]"
    for key in keys:
        yield _line(key, given.get(f"{title}.{key.name}"))
    for key in fields(kind):
        if key.type is not None and has(key.type):
            yield from _section(key.type, f"{title}.{key.name}".removeprefix("."), given)


def _is_section(key: "Attribute[Any]") -> bool:
    """Whether it is a section, or a list of definitions."""
    kinds = get_args(key.type) or (key.type,)
    return any(isinstance(kind, type) and has(kind) for kind in kinds)


def _line(key: "Attribute[Any]", given: str | None) -> str:
    limits = _limits(key)
    comment = f"  # {limits}" if limits else ""
    if given is not None:
        return f"{key.name} = {toml(given)}{comment}"
    if key.default is NOTHING:
        raise AssertionError(f"{key.name} has no default, and init does not know what it should be")
    made = getattr(key.default, "factory", None)  # of what is made anew each time
    default = key.default if made is None else made()
    if default is None:
        return f"# {key.name}: not set{comment}"
    return f"# {key.name} = {toml(default)}{comment}"


def toml(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, enum.Enum):
        return toml(value.value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:_}" if isinstance(value, int) else repr(value)
    if isinstance(value, Sequence | frozenset) and not isinstance(value, str):
        return f"[{', '.join(map(toml, value))}]"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _limits(key: "Attribute[Any]") -> str:
    """What its validator says of a range, and the words that it may be."""
    if isinstance(key.type, type) and issubclass(key.type, enum.Enum):
        return " or ".join(str(member.value) for member in key.type)
    bounds = {bound.compare_op: bound.bound for bound in _bounds(key.validator)}
    low, high = bounds.get(">="), bounds.get("<=")
    if low is None:
        return "" if high is None else f"up to {high:,}"
    return f"from {low:,}" if high is None else f"from {low:,} to {high:,}"


def _bounds(validator: Any) -> Iterator[Any]:
    """The comparisons in a validator."""
    if hasattr(validator, "compare_op"):
        yield validator
    for part in getattr(validator, "_validators", ()):
        yield from _bounds(part)

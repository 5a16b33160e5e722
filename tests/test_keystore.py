"""Keystores: what is sealed opens with its passphrase alone, unchanged alone, and is never written over."""

import json
import os
import stat
from pathlib import Path

import pytest
from eth_account.hdaccount.mnemonic import Mnemonic

from chains import keystore
from chains.extended_key import PrivateBranch
from chains.wallet import BadKey

PASSPHRASE = "correct horse battery staple"  # noqa: S105 - of a famous drawing
SECRET = bytes(range(32))
CONTENT = keystore.seal(SECRET, PASSPHRASE, os.urandom, n=2)


def test_it_opens_with_its_passphrase() -> None:
    """And with no other; the file shows nothing of the secret."""
    assert keystore.unseal(CONTENT, PASSPHRASE) == SECRET
    assert keystore.seal(SECRET, PASSPHRASE, os.urandom, n=2) != CONTENT
    with pytest.raises(BadKey, match="passphrase is wrong"):
        keystore.unseal(CONTENT, PASSPHRASE + " ")


@pytest.mark.parametrize("field", ["n", "salt", "nonce", "sealed", "format"])
def test_a_changed_file_does_not_open(field: str) -> None:
    """Whatever was changed in it."""
    facts = json.loads(CONTENT)
    old = facts[field]
    facts[field] = 4 if field == "n" else ("A" if old[0] != "A" else "B") + old[1:]
    with pytest.raises(BadKey):
        keystore.unseal(json.dumps(facts).encode(), PASSPHRASE)


@pytest.mark.parametrize(
    "change", [{"n": 2**30}, {"n": 3}, {"n": -1}, {"r": 2**20}, {"p": 99}, {"salt": ""}, {"nonce": "AAAA"}, {"more": 1}]
)
def test_parameters_that_would_take_for_ever_are_refused(change: dict[str, object]) -> None:
    """Before any work is done."""
    with pytest.raises(BadKey):
        keystore.unseal(json.dumps(json.loads(CONTENT) | change).encode(), PASSPHRASE)


@pytest.mark.parametrize("content", [b"", b"{}", b"[", b"\xff", b"[" * 100_000, b'{"n":"1"}'])
def test_what_is_no_keystore_says_so(content: bytes) -> None:
    """Without repeating it."""
    with pytest.raises(BadKey, match="not in the form"):
        keystore.unseal(content, PASSPHRASE)


def test_a_short_passphrase_is_refused() -> None:
    """Its length is what protects a stolen file."""
    with pytest.raises(BadKey, match="fewer than 12"):
        keystore.seal(SECRET, "eleven char", os.urandom)


def test_the_file_is_its_owners_and_never_written_over(tmp_path: Path) -> None:
    """A second wallet under the same name would be the end of the first."""
    path = tmp_path / "key"
    keystore.write(path, CONTENT)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(BadKey, match="never written over"):
        keystore.write(path, b"other")
    assert path.read_bytes() == CONTENT
    with pytest.raises(BadKey, match="cannot be written"):
        keystore.write(tmp_path / "no" / "such", CONTENT)
    with pytest.raises(BadKey, match=r"/key: the passphrase is wrong"):
        keystore.unlock(path, "another passphrase")
    with pytest.raises(BadKey, match="cannot be read"):
        keystore.unlock(tmp_path, PASSPHRASE)


def test_the_words_are_those_of_the_standard(tmp_path: Path) -> None:
    """BIP-39's example of 24 words, and the master key that its seed makes."""
    entropy = bytes.fromhex("7f" * 32)
    assert keystore.words(entropy) == " ".join(["legal winner thank year wave sausage worth useful"] * 3)[:-6] + "title"
    master = keystore.master_key(entropy)
    assert master == PrivateBranch.of_seed(Mnemonic.to_seed(keystore.words(entropy)))
    path = tmp_path / "key"
    keystore.write(path, keystore.seal(entropy, PASSPHRASE, os.urandom, n=2))
    assert keystore.unlock(path, PASSPHRASE) == master


def test_paths_are_those_of_the_standards() -> None:
    """BIP-84 and BIP-44."""
    assert keystore.written(keystore.account_path("bitcoin")) == "m/84'/0'/0'"
    assert keystore.written(keystore.account_path("bitcoin", "regtest")) == "m/84'/1'/0'"
    assert keystore.written(keystore.hot_path("ethereum")) == "m/44'/60'/0'/0/0"


def test_the_passphrase_is_where_it_is_said_to_be(tmp_path: Path) -> None:
    """In the environment, in a file, or in systemd's folder."""
    (tmp_path / "hot").write_text("from a file\nand no more\n")
    environment = {"NAME": "from the environment", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert keystore.passphrase("env:NAME", environment) == "from the environment"
    assert keystore.passphrase(f"file:{tmp_path / 'hot'}", {}) == "from a file"
    assert keystore.passphrase("credential:hot", environment) == "from a file"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("env:OTHER", "OTHER is not set"),
        ("credential:hot", "systemd passes no"),
        ("file:/nowhere", "/nowhere cannot be read"),
        ("file:/dev/null", "is empty"),
        ("secret", "not env:NAME"),
        ("env:", "not env:NAME"),
    ],
)
def test_a_missing_passphrase_says_where_it_is_not(source: str, why: str) -> None:
    """So that the operator can put it there."""
    with pytest.raises(BadKey, match=why):
        keystore.passphrase(source, {})


def test_secrets_are_in_no_representation() -> None:
    """Of a private key, as a traceback or a log would show it."""
    branch = keystore.master_key(SECRET)
    assert branch.secret.hex() not in repr(branch)
    assert repr(branch.secret) not in repr(branch)

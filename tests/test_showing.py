"""A configuration is shown whole, and without its secrets."""

import enum
from pathlib import Path

import pytest
from attrs import frozen

from actors.showing import MASK, shown


class Kind(enum.Enum):
    """A choice."""

    ONE = "one"


@frozen
class Inner:
    """A section."""

    password: str
    password_file: Path
    kind: Kind


@frozen
class Outer:
    """A configuration."""

    inner: Inner
    target: str
    numbers: frozenset[int]
    definitions: tuple[str, ...]
    nothing: None = None


def test_everything_is_shown_but_secrets() -> None:
    """Where a secret is kept is none."""
    config = Outer(
        Inner("canary", Path("/run/secret"), Kind.ONE), "s3://user:canary@host/b?sig=canary", frozenset({7}), ("a", "b")
    )
    assert shown(config) == {
        "inner": {"password": MASK, "password_file": "/run/secret", "kind": "one"},
        "target": f"s3://{MASK}@host/b?{MASK}",
        "numbers": [7],
        "definitions": 2,
        "nothing": None,
    }


@pytest.mark.parametrize(
    "name", ["api_secret", "private_key", "rpc_password", "token", "tokens", "seed", "mnemonic", "credentials"]
)
def test_what_counts_as_secret(name: str) -> None:
    """By the key's name; an empty one hides nothing."""
    assert shown({name: "canary"}) == {name: MASK}
    assert shown({f"{name}_file": "/etc/x"}) == {f"{name}_file": "/etc/x"}
    assert shown({name: ""}) == {name: ""}

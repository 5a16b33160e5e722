"""A configuration as operators may see it: every key with its value, and no secret."""

import enum
import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import fields, has

MASK: Final = "***"
# A key that is called so is masked, whatever it holds, unless it only says where the secret is.
_SECRET: Final = re.compile(r"(password|passphrase|secret|token|private|seed|mnemonic|credential)s?(?!.*_(file|path)$)")
# What may stand in an address before its host.
_USER: Final = re.compile(r"(?<=://)[^/@\s]+(?=@)")
# What may be signed or keyed behind an address.
_QUERY: Final = re.compile(r"\?\S+")


def shown(value: object, name: str = "") -> object:
    """This value as plain ones; `name` is the key it stands under. A list of definitions is its length."""
    if _SECRET.search(name) and value:
        return MASK
    if (parts := _parts(value)) is not None:
        return {key: shown(part, key) for key, part in parts.items()}
    if isinstance(value, list | tuple | frozenset | set):
        return len(value) if name == "definitions" else [shown(part, name) for part in value]
    return _plain(value)


def _parts(value: object) -> dict[str, object] | None:
    """By name, of what has parts with names."""
    kind: type[Any] = type(value)
    if has(kind):
        return {field.name: getattr(value, field.name) for field in fields(kind)}
    if isinstance(value, Mapping):
        return {str(key): part for key, part in value.items()}
    return None


def _plain(value: object) -> object:
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, int | float | None):
        return value
    return _unsigned(str(value))


def _unsigned(text: str) -> str:
    if "://" not in text:
        return text
    return _QUERY.sub(f"?{MASK}", _USER.sub(MASK, text))

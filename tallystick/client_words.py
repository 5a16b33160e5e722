"""From what is typed in a shell to a request: a method, and parameters as name=value. Pure.

Values need no quotes: the type that the exchange wants of a parameter says how its value is read, so `quantity=1` is
the string that it has to be, and `limit=5` a number. A list is written as JSON, one of names also with commas.
"""

import shlex
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Final

import msgspec
from msgspec.structs import FieldInfo

from tallystick.reference import METHODS, params_of, type_name


class WordsError(Exception):
    """What was typed cannot be a request; the message says why, for people."""


Words = tuple[str, dict[str, Any]]
"""A method and its parameters."""

_FLAGS: Final = {"true": True, "yes": True, "false": False, "no": False}


def split(line: str) -> list[str]:
    """A line's words, as a shell takes them apart. Raises WordsError."""
    if line.lstrip().startswith("{"):
        return [line]
    try:
        return shlex.split(line)
    except ValueError as error:
        raise WordsError(f"the line cannot be taken apart: {str(error).lower()}") from None


def request_of(words: Sequence[str]) -> Words:
    """The request that these words are, or this one word of JSON. Raises WordsError."""
    method, *rest = words
    if method.lstrip().startswith("{"):
        return _of_json(" ".join(words))
    if method not in METHODS:
        raise WordsError(f"there is no method {method!r}{_nearest(method, METHODS)}")
    if len(rest) == 1 and rest[0].lstrip().startswith("{"):
        return method, _object(rest[0], "the parameters")
    return method, dict(_parameter(method, word) for word in rest)


def usage(method: str) -> list[dict[str, str]]:
    """What a method takes, a row for each parameter."""
    return [
        {
            "parameter": field.encode_name,
            "": "required" if field.required else "",
            "must be": _description(field),
        }
        for field in params_of(method)
    ]


def _of_json(text: str) -> Words:
    request = _object(text, "the request")
    method, params = request.get("method"), request.get("params", {})
    if not isinstance(method, str) or not isinstance(params, dict) or request.keys() - {"id", "method", "params"}:
        raise WordsError("a request in JSON has a method and perhaps params, an object")
    return method, params


def _object(text: str, what: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError:
        found = None
    if not isinstance(found, dict):
        raise WordsError(f"{what} cannot be read as a JSON object")
    return found


def _parameter(method: str, word: str) -> tuple[str, Any]:
    known = {field.encode_name: field for field in params_of(method)}
    name, equals, value = word.partition("=")
    if not equals:
        raise WordsError(f"{word!r} is no parameter: they are written name=value")
    if name not in known:
        takes = ", ".join(known) or "none"
        raise WordsError(f"{method} has no parameter {name!r}{_nearest(name, known)}; it takes {takes}")
    return name, _value(name, value, known[name])


def _value(name: str, value: str, field: FieldInfo) -> Any:
    kind = type_name(field.type)
    if kind.startswith("list"):
        return _list(name, value)
    if kind == "integer":
        if value.isascii() and value.removeprefix("-").isdecimal():
            return int(value)
        raise WordsError(f"{name} must be {_description(field)}, not {value!r}")
    if kind == "boolean":
        if value in _FLAGS:
            return _FLAGS[value]
        raise WordsError(f"{name} must be true or false, not {value!r}")
    return value


def _list(name: str, value: str) -> list[Any]:
    if not value.startswith("["):
        return value.split(",")
    try:
        found: list[Any] = msgspec.json.decode(value)
    except msgspec.DecodeError:
        raise WordsError(f"{name} cannot be read as a JSON list") from None
    return found


def _description(field: FieldInfo) -> str:
    return next(
        part.description or "" for part in getattr(field.type, "__metadata__", ()) if isinstance(part, msgspec.Meta)
    )


def _nearest(word: str, known: Any) -> str:
    nearest = get_close_matches(word, list(known), 1)
    return f", did you mean {nearest[0]!r}?" if nearest else ""


def completions(text: str, symbols: Sequence[str]) -> list[str]:
    """What the last word of a line may become: methods, then parameters that are not there yet, then their values."""
    words = text.split(" ")
    method, *given = words
    if not given:
        return [name for name in (*METHODS, "help", "quit") if name.startswith(method)]
    if method == "help":
        return [name for name in METHODS if name.startswith(given[-1])]
    if method not in METHODS:
        return []
    known = {field.encode_name: field for field in params_of(method)}
    name, equals, value = given[-1].partition("=")
    if equals:
        values = _values(name, known.get(name), symbols)
        return [f"{name}={each}" for each in values if each.startswith(value)]
    taken = {word.partition("=")[0] for word in given[:-1]}
    return [f"{each}=" for each in known if each.startswith(name) and each not in taken]


def _values(name: str, field: FieldInfo | None, symbols: Sequence[str]) -> list[str]:
    """All that a parameter can be, where that can be listed."""
    if name == "symbol":
        return list(symbols)
    if field is None:
        return []
    if type_name(field.type) == "boolean":
        return ["true", "false"]
    schema = msgspec.json.schema(field.type)
    return [str(each) for each in schema.get("enum", [])]

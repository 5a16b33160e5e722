"""What is wrong with a line that the decoder refused, in our own words.

Theory of operation. The decoder's message is never passed on: its words change with its version, and they quote the
client. Instead the line is read once more without types and compared, name by name, with the very structs the decoder
has; the `description` of a parameter's type says what was wanted. So whatever is accepted is decided in one place, and
this only finds the words; where it finds nothing wrong, the line is refused all the same. How deep a line may be nested
differs from decoder to decoder and from one Python to the next, so a limit of our own comes before all of them.

Time is not of the essence here, except that it must stay linear in the line's length, and small.
"""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from itertools import accumulate
from typing import Final, NamedTuple, TypeGuard, get_args

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType
from msgspec.structs import fields

from actors import wire
from actors.parameters import MAX_ID_CHARACTERS, Id
from actors.wire import RefusedError
from book.codes import INVALID_JSON, INVALID_PARAMETER, MANDATORY_PARAM, UNKNOWN_PARAM, UNSUPPORTED_METHOD

# What the decoder refuses a line with.
DECODER_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

# -------------------------------------------------------------------------------------------------- what a line is like


class _Parameter(NamedTuple):
    """One parameter of a method, as the words about it need it."""

    type: object
    required: bool
    description: str


def _description(annotated: object) -> str:
    """The `description` of a type, however deep it stands in unions."""
    for part in get_args(annotated):
        if isinstance(part, Meta) and part.description is not None:
            return part.description
        if found := _description(part):
            return found
    return ""


def _parameters(request: type[Struct]) -> dict[str, _Parameter]:
    (params,) = [field.type for field in fields(request) if field.name == "params"]
    return {
        field.encode_name: _Parameter(field.type, field.required, _description(field.type)) for field in fields(params)
    }


_METHODS: Final = {request.__struct_config__.tag: _parameters(request) for request in get_args(wire.Request)}


# ------------------------------------------------------------------------------------------------ what is wrong with it


def diagnose(line: bytes) -> RefusedError:
    """What to answer to a line that the decoder refused, with the line's id where it has a valid one."""
    if is_too_deep(line):
        return RefusedError(INVALID_JSON, _TOO_DEEP, request_id=_valid(_leading_id(line)))
    request_id = _valid(_find_id(line))
    try:
        _check_request(_content(line))
    except RefusedError as error:
        error.request_id = request_id
        return error
    # A key given twice can do that: the decoder saw one value, we the other.
    return RefusedError(
        INVALID_PARAMETER, "the request cannot be understood; is a key given twice?", request_id=request_id
    )


def diagnose_order(text: bytes) -> RefusedError:
    """What to answer to an order of a batch that the decoder refused. Raises it where the whole line is no JSON."""
    if is_too_deep(text):
        raise RefusedError(INVALID_JSON, _TOO_DEEP)
    try:
        _check_order(_content(text))
    except RefusedError as error:
        if error.code == INVALID_JSON:
            raise
        return error
    return RefusedError(INVALID_PARAMETER, "the order cannot be understood; is a key given twice?")


_TOO_DEEP: Final = f"the line is nested too deeply: more than {wire.MAX_NESTING} objects and arrays in each other"
_ESCAPED: Final = re.compile(rb"\\.", re.DOTALL)
_STEPS: Final = {ord("{"): 1, ord("["): 1, ord("}"): -1, ord("]"): -1}
_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in _STEPS)


def is_too_deep(line: bytes) -> bool:
    """Whether a line is nested deeper than any request is, which not every decoder would survive."""
    if line.count(b"{") + line.count(b"[") <= wire.MAX_NESTING:
        return False
    outside_strings = b"".join(_ESCAPED.sub(b"", line).split(b'"')[::2])
    brackets = outside_strings.translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > wire.MAX_NESTING


# No parameter is a number with a point, and to convert one can cost a hundred times more than all else in a line.
_read_any: Callable[[bytes], object] = msgspec.json.Decoder(float_hook=lambda _text: None).decode


def _content(line: bytes) -> object:
    try:
        return _read_any(line)
    except UnicodeDecodeError:
        raise RefusedError(INVALID_JSON, "the line is not valid UTF-8") from None
    except msgspec.ValidationError:
        raise RefusedError(INVALID_PARAMETER, "the line holds a number beyond every range") from None
    except msgspec.DecodeError:
        raise RefusedError(
            INVALID_JSON, "the line is not one valid JSON object (nor are NaN, Infinity and lone surrogates valid)"
        ) from None


def _check_request(content: object) -> None:
    if not isinstance(content, dict):
        raise RefusedError(INVALID_JSON, "a request is a JSON object, one per line")
    if "id" in content and not _is_id(content["id"]):
        raise RefusedError(
            INVALID_PARAMETER,
            f"id must be a string of at most {MAX_ID_CHARACTERS} characters or a 64-bit integer",
        )
    name = content.get("method", UNSET)
    if name is UNSET:
        raise RefusedError(MANDATORY_PARAM, "method is missing")
    if not isinstance(name, str):
        raise RefusedError(INVALID_PARAMETER, "method must be a string")
    parameters = _METHODS.get(name)
    if parameters is None:
        raise RefusedError(UNSUPPORTED_METHOD, f"there is no such method; there are {', '.join(sorted(_METHODS))}")
    if not content.keys() <= {"id", "method", "params"}:
        raise RefusedError(UNKNOWN_PARAM, "a request holds id, method and params, and nothing else")
    params = content.get("params", UNSET)
    if params is UNSET:
        params = {}
    if not isinstance(params, dict):
        raise RefusedError(INVALID_PARAMETER, "params must be an object")
    _check_params(name, parameters, params)


def _check_order(content: object) -> None:
    if not isinstance(content, dict):
        raise RefusedError(INVALID_PARAMETER, "an order of a batch must be an object")
    name = "order.place" if content.keys() & {"side", "type"} else "order.cancel"
    _check_params(name, _METHODS[name], content)


def _check_params(name: str, parameters: dict[str, _Parameter], params: dict[str, object]) -> None:
    for given in params:
        if given not in parameters:
            known = ", ".join(parameters) or "none"
            raise RefusedError(UNKNOWN_PARAM, f"params hold something unknown; {name} takes {known}")
    for key, parameter in parameters.items():
        if key not in params:
            if parameter.required:
                raise RefusedError(MANDATORY_PARAM, f"{key} is missing: {parameter.description}")
        elif not _fits(params[key], parameter.type):
            raise RefusedError(INVALID_PARAMETER, f"{key} must be {parameter.description}")


def _fits(value: object, annotated: object) -> bool:
    try:
        msgspec.convert(value, annotated)
    except msgspec.ValidationError:
        return False
    return True


# ----------------------------------------------------------------------------------------------------- finding the id


class _OnlyId(Struct):
    id: Raw = Raw(b"")


# What has these cannot go back: UTF-8 does not have them.
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")

_read_id = msgspec.json.Decoder(_OnlyId).decode

# In a line that is nested too deeply, only where everybody writes it: at the front.
_LEADING_ID: Final = re.compile(rb'\s*\{(?:\s*"method"\s*:\s*"[\w.]*"\s*,)?\s*"id"\s*:\s*("[^"\\]*"|-?[0-9]+)\s*,')


def _find_id(line: bytes) -> object:
    """The line's id, whatever it is, where the line can be taken for an object."""
    with suppress(*DECODER_ERRORS):
        only = _read_id(line)
        return msgspec.json.decode(only.id) if only.id else UNSET
    try:
        # Reads what msgspec does not: lone surrogates (and NaN, which does no harm here). A broken byte becomes one.
        content = json.loads(line.decode(errors="surrogateescape"), parse_float=lambda _text: None)
    except ValueError:
        return UNSET
    return content.get("id", UNSET) if isinstance(content, dict) else UNSET


def _leading_id(line: bytes) -> object:
    with suppress(*DECODER_ERRORS):
        if (leading := _LEADING_ID.match(line)) is not None:
            return msgspec.json.decode(leading[1])
    return UNSET


def _valid(found: object) -> int | str | UnsetType:
    return found if _is_id(found) else UNSET


def _is_id(value: object) -> TypeGuard[int | str]:
    return _fits(value, Id) and not (isinstance(value, str) and _LONE_SURROGATE.search(value))

"""The log's records as lines for people: when, what, by whom, and what became of it, with names for the codes."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from msgspec import Struct

from book.codes import CODE_NAMES
from book.terms import (
    MARKET_STATES,
    ORDER_TYPES,
    PERMISSIONS,
    SELF_TRADE_MODES,
    SIDES,
    TIMES_IN_FORCE,
)
from persistence.codec import CheckRecord, NumberedRecord, RefusedRecord
from persistence.offline import Entry

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NAMES: Final[Mapping[str, Mapping[int, str]]] = {
    "side": SIDES,
    "type": ORDER_TYPES,
    "time_in_force": TIMES_IN_FORCE,
    "self_trade": SELF_TRADE_MODES,
    "state": MARKET_STATES,
}


def nanoseconds(moment: datetime) -> int:
    """A time as nanoseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1_000


def line_of(entry: Entry) -> str:
    """One record: its number, its time, its command with what the client said, and why it was refused if it was."""
    record = entry.record
    words = [f"{'-' if entry.seq is None else entry.seq:>10}", _when(record.time_ns)]
    if isinstance(record, NumberedRecord):
        words += [type(record.command).__name__, *_fields(record.command)]
    else:
        words.append(type(record).__name__.removesuffix("Record"))
    if isinstance(record, RefusedRecord):
        words.append(f"REFUSED {record.code} {CODE_NAMES.get(record.code, '')} {record.reason}".rstrip())
    elif isinstance(record, CheckRecord):
        words.append(f"digest={record.digest}")
    return "  ".join(words[:2]) + "  " + " ".join(words[2:])


def _when(time_ns: int) -> str:
    """In UTC, with all that the log knows of it."""
    seconds, rest = divmod(time_ns, 10**9)
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def _fields(command: Struct) -> Iterator[str]:
    """Those that say something: who asks, and whatever is not left at what it is when nobody says it."""
    for field in msgspec.structs.fields(command):
        value = getattr(command, field.name)
        if isinstance(value, Struct):
            yield from _fields(value)
        elif field.required or value != field.default:
            yield f"{field.name}={_text(field.name, value)}"


def _text(name: str, value: object) -> str:
    if name == "permissions" and isinstance(value, int):
        return ",".join(word for bit, word in PERMISSIONS.items() if value & bit)
    if isinstance(value, int) and name in _NAMES:
        return _NAMES[name].get(value, str(value))
    if isinstance(value, str):
        # Nothing that a client chose may move a terminal's cursor, or pass for another field.
        plain = value and value.isascii() and value.isprintable() and not set(value) & set(' ="')
        return value if plain else msgspec.json.encode(value.encode("ascii", "backslashreplace").decode()).decode()
    return str(value)

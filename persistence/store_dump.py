"""A dump of the store: every row of every table as of one moment, in lines of JSON that any of its databases takes.

The first line says what it is, then each line has some rows of one table, and the last one how many there were. Tables
come in an order in which they can be put back.
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Final

from persistence import sql_archive
from persistence.schema import TABLES
from persistence.statements import Database, Steps
from persistence.txstore import TxStore, Value

FORMAT: Final = 1
PATH: Final = "store-dump.jsonl"
"""Of a restored data folder."""
ROWS_A_LINE: Final = 500

Lines = Iterator[tuple[str, list[list[Value]]]]


class BadDump(Exception):  # noqa: N818 - says what is so
    """What should be a dump is none, or is not whole. Says where."""


async def take(database: Database) -> bytes:
    """Dump everything. Raises StoreError."""
    lines: list[bytes] = []

    def everything() -> Steps[None]:
        lines[:] = [_line({"tallystick_store": FORMAT})]
        counts: dict[str, int] = {}
        for table, spec in TABLES.items():
            places = [list(spec.columns).index(name) for name in spec.key]
            after: list[Value] | None = None
            counts[table] = 0
            while rows := (yield from sql_archive.dump(table, after, ROWS_A_LINE)):
                lines.append(_line([table, rows]))
                counts[table] += len(rows)
                after = [rows[-1][place] for place in places]
        lines.append(_line({"end": counts}))

    await database.transact(everything, snapshot=True)
    return b"".join(lines)


async def load(store: TxStore, dump: bytes) -> dict[str, int]:
    """Put every row of a dump back; how many by table. What is there already, and the same, stays.

    Nothing is changed where the dump is bad. Raises BadDump, and StoreError: a StoreConflict for a store in which
    something else is in a row's place.
    """
    lines = list(read(dump))
    counts = Counter(dict.fromkeys(TABLES, 0))
    for table, rows in lines:
        try:
            await store.restore(table, rows)
        except ValueError as error:
            raise BadDump(f"a row of the table {table} is none: {error}") from error
        counts[table] += len(rows)
    return dict(counts)


def read(dump: bytes) -> Lines:
    """The rows of a dump, some at a time. Raises BadDump at the first line that is wrong."""
    first, *lines = dump.split(b"\n")
    head = _parse(first, 1)
    if not isinstance(head, dict) or "tallystick_store" not in head:
        raise BadDump("line 1 does not say that this is a dump of a store")
    if head["tallystick_store"] != FORMAT:
        raise BadDump(f"it is of format {head['tallystick_store']}, and this program knows {FORMAT}")
    counts = Counter(dict.fromkeys(TABLES, 0))
    for number, line in enumerate(lines, 2):
        found = _parse(line, number)
        if isinstance(found, dict):
            if found.get("end") != dict(counts) or lines[number - 1 :] != [b""]:
                raise BadDump(f"line {number} ends it, and it is not whole: {dict(counts)} were read")
            return
        table, rows = _rows(found, number)
        counts[table] += len(rows)
        yield table, rows
    raise BadDump("its end is missing")


def _rows(found: object, number: int) -> tuple[str, list[list[Value]]]:
    match found:
        case [str() as table, list() as rows] if table in TABLES:
            width = len(TABLES[table].columns)
            if all(isinstance(row, list) and len(row) == width and all(map(_is_value, row)) for row in rows):
                return table, rows
    raise BadDump(f"line {number} has no rows of a table of the store")


def _is_value(value: object) -> bool:
    return value is None or (isinstance(value, int | str) and not isinstance(value, bool))


def _line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _parse(line: bytes, number: int) -> object:
    try:
        found: object = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadDump(f"line {number} is not JSON") from error
    return found

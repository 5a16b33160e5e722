"""Answers as tables, for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Rows under the names of all their fields, in the order in which these first come."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    made = Table(box=None, header_style="bold")
    for name in names:
        made.add_column(name, overflow="fold")  # on a narrow terminal a long word is broken, and not cut off
    for row in rows:
        made.add_row(*(cell(row.get(name)) for name in names))
    return made


def cell(value: object) -> str:
    """A value as it stands in a table."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return escape(" ".join(f"{key}={part}" for key, part in value.items()))
    return "" if value is None else escape(str(value))

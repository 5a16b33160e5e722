"""Transactions of the store: candles and the audit, and all tables as a backup takes them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from book.queries import Candle
from persistence import sql_rows
from persistence.schema import TABLES
from persistence.sql_rows import new_audit, new_candle, number, one, select
from persistence.statements import FOR_UPDATE, Insert, Query, Steps
from persistence.txstore import AuditEntry, CandleRow, StoreConflict, Value

_THROUGH: Final = "candles_through"
_SECOND_NS: Final = 1_000_000_000


def month_of(time_ns: int) -> int:
    """The month of a time, UTC: 202611 is November 2026."""
    day = datetime.fromtimestamp(time_ns // _SECOND_NS, UTC)
    return day.year * 100 + day.month


# ------------------------------------------------------------------------------------------------------------- candles


def add_candles(rows: Sequence[CandleRow], through_seq: int) -> Steps[None]:
    """Closed candles, in place of the same; and how far they go."""
    for row in rows:
        values = new_candle(row)
        added = yield Insert("candle", values)
        if not added.count:
            yield _update("candle", values)
    marked = yield Insert("mark", {"name": _THROUGH, "value": through_seq})
    if not marked.count:
        yield Query(
            "UPDATE mark SET value = ? WHERE name = ? AND value < ?",
            (through_seq, _THROUGH, through_seq),
        )


def candles_through() -> Steps[int]:
    """The highest sequence number that all candles are here of."""
    row = yield from one(Query("SELECT value FROM mark WHERE name = ?", (_THROUGH,)))
    return 0 if row is None else number(row[0])


def candles(symbol: str, interval_ns: int, start_ns: int, end_ns: int, limit: int) -> Steps[list[Candle]]:
    """The last of those that open in [start_ns, end_ns)."""
    result = yield select(
        "candle",
        "WHERE symbol = ? AND interval_ns = ? AND open_ns >= ? AND open_ns < ? ORDER BY open_ns DESC LIMIT ?",
        symbol,
        interval_ns,
        start_ns,
        end_ns,
        limit,
    )
    return [sql_rows.candle(row) for row in reversed(result.rows)]


# --------------------------------------------------------------------------------------------------------------- audit


def add_audit(entries: Sequence[AuditEntry]) -> Steps[int]:
    """Append what is not there already."""
    count = 0
    for entry in entries:
        added = yield Insert("audit", new_audit(entry, month_of(entry.time_ns)))
        count += added.count
    return count


def audit(
    times: tuple[int, int | None], kind: str | None, who: str | None, account: int | None, limit: int
) -> Steps[list[AuditEntry]]:
    """The newest that fit, in [times)."""
    since_ns, before_ns = times
    wishes: list[tuple[str, Value]] = [("time_ns >= ?", since_ns), ("time_ns < ?", before_ns)]
    wishes += [("kind = ?", kind), ("who = ?", who), ("account = ?", account)]
    said = [(words, value) for words, value in wishes if value is not None]
    where = " AND ".join(words for words, _ in said)
    values = [value for _, value in said]
    result = yield select("audit", f"WHERE {where} ORDER BY time_ns DESC, id DESC LIMIT ?", *values, limit)
    return [sql_rows.audit(row) for row in result.rows]


def prune_audit(before_month: int) -> Steps[int]:
    """Forget whole months."""
    gone = yield Query("DELETE FROM audit WHERE month < ?", (before_month,))
    return gone.count


# -------------------------------------------------------------------------------------------------------------- backup


def dump(table: str, after: Sequence[Value] | None, limit: int) -> Steps[list[tuple[Value, ...]]]:
    """Rows in the order of their keys."""
    key = TABLES[table].key
    order = ", ".join(key)
    if after is None:
        result = yield select(table, f"ORDER BY {order} LIMIT ?", limit)
    else:
        where, values = _behind(key, after)
        result = yield select(table, f"WHERE {where} ORDER BY {order} LIMIT ?", *values, limit)
    return [tuple(row) for row in result.rows]


def _behind(key: Sequence[str], after: Sequence[Value]) -> tuple[str, list[Value]]:
    """SQL for 'the key is greater than this one', in a form that every database finds its index for."""
    words, values = [], list[Value]()
    for place, column in enumerate(key):
        equal = "".join(f"{name} = ? AND " for name in key[:place])
        words.append(f"({equal}{column} > ?)")
        values += after[: place + 1]
    return "(" + " OR ".join(words) + ")", values


def restore(table: str, rows: Sequence[Sequence[Value]]) -> Steps[None]:
    """Put dumped rows back."""
    spec = TABLES[table]
    for row in rows:
        values = dict(zip(spec.columns, row, strict=True))
        added = yield Insert(table, values)
        if added.count:
            continue
        where = " AND ".join(f"{name} = ?" for name in spec.key)
        known = yield from one(select(table, f"WHERE {where}{FOR_UPDATE}", *(values[name] for name in spec.key)))
        if known is None or tuple(known) != tuple(row):
            raise StoreConflict(f"the table {table} has another row in place of {list(row)}")


def _update(table: str, values: dict[str, Value]) -> Query:
    """All columns that are not the key."""
    key = TABLES[table].key
    changes = ", ".join(f"{name} = ?" for name in values if name not in key)
    where = " AND ".join(f"{name} = ?" for name in key)
    return Query(
        f"UPDATE {table} SET {changes} WHERE {where}",
        (*(value for name, value in values.items() if name not in key), *(values[name] for name in key)),
    )

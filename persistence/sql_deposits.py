"""Transactions of the store: the arrows of a deposit, and questions about deposits."""

from persistence import sql_rows
from persistence.schema import check_units, digits
from persistence.sql_rows import checked, one, select
from persistence.statements import FOR_UPDATE, Insert, Query, Steps
from persistence.txstore import BlockId, DepositKey, DepositRow, StoreConflict, Value

_KEY = "chain = ? AND txid = ? AND n = ?"


def _values(key: DepositKey) -> tuple[Value, ...]:
    return (key.chain, key.txid, key.n)


def find(key: DepositKey) -> Steps[DepositRow | None]:
    """The deposit, if it is known."""
    row = yield from one(select("deposit", f"WHERE {_KEY}", *_values(key)))
    return None if row is None else sql_rows.deposit(row)


def in_state(asset: str, state: str, limit: int) -> Steps[list[DepositRow]]:
    """Those in this state, lowest block first."""
    result = yield select(
        "deposit", "WHERE asset = ? AND state = ? ORDER BY height, txid, n LIMIT ?", asset, state, limit
    )
    return [sql_rows.deposit(row) for row in result.rows]


def above(asset: str, height: int, limit: int) -> Steps[list[DepositRow]]:
    """Those in blocks above this height, highest first."""
    result = yield select(
        "deposit", "WHERE asset = ? AND height > ? ORDER BY height DESC, txid, n LIMIT ?", asset, height, limit
    )
    return [sql_rows.deposit(row) for row in result.rows]


def of_account(account: int, limit: int, before_ns: int | None) -> Steps[list[DepositRow]]:
    """An account's, newest first."""
    bound, values = ("", ()) if before_ns is None else (" AND seen_ns < ?", (before_ns,))
    result = yield select(
        "deposit",
        f"WHERE account = ?{bound} ORDER BY seen_ns DESC, chain, txid, n LIMIT ?",
        account,
        *values,
        limit,
    )
    return [sql_rows.deposit(row) for row in result.rows]


def validate(key: DepositKey, block: BlockId, now_ns: int) -> Steps[bool]:
    """Pending → validated."""
    moved = yield Query(
        f"UPDATE deposit SET state = 'validated', updated_ns = ? WHERE {_KEY}"
        " AND state = 'pending' AND height = ? AND block_hash = ?",
        (now_ns, *_values(key), block.height, block.hash),
    )
    if moved.count:
        return True
    row = yield from _existing(key)
    if row.state in {"validated", "fulfilled"} and row.block_hash == block.hash:
        return False
    raise _elsewhere(row, f"cannot be validated in block {block.hash}")


def fulfil(key: DepositKey, units: int, receipt: str, dust: int, now_ns: int) -> Steps[bool]:
    """Pending | validated | orphaned | frozen → fulfilled."""
    moved = yield Query(
        "UPDATE deposit SET state = 'fulfilled', reason = '', units = ?, receipt = ?, updated_ns = ?"
        f" WHERE {_KEY} AND state IN ('pending', 'validated', 'orphaned', 'frozen')",
        (check_units(units), checked("deposit", "receipt", receipt), now_ns, *_values(key)),
    )
    row = yield from _existing(key)
    if dust > row.amount:
        raise ValueError(f"dust {dust} is more than the deposit's amount {row.amount}")
    if moved.count:
        if dust:
            yield Insert("dust", {
                "chain": key.chain, "txid": key.txid, "n": key.n, "asset": row.asset, "amount": digits(dust, "dust"),
            })  # fmt: skip
        return True
    if (row.state, row.units, row.receipt) == ("fulfilled", units, receipt):
        return False
    raise _elsewhere(row, f"cannot be fulfilled with {units} units, receipt {receipt}")


def unfulfil(key: DepositKey, receipt: str, now_ns: int) -> Steps[bool]:
    """Fulfilled → validated."""
    moved = yield Query(
        f"UPDATE deposit SET state = 'validated', units = NULL, receipt = '', updated_ns = ? WHERE {_KEY}"
        " AND state = 'fulfilled' AND receipt = ?",
        (now_ns, *_values(key), receipt),
    )
    if moved.count:
        yield Query(f"DELETE FROM dust WHERE {_KEY}", _values(key))
    return (yield from _settled(key, moved.count, {"validated"}, f"its receipt is not {receipt}"))


def orphan(key: DepositKey, block_hash: str, now_ns: int) -> Steps[bool]:
    """Pending | validated | fulfilled → orphaned."""
    moved = yield Query(
        f"UPDATE deposit SET state = 'orphaned', units = NULL, receipt = '', updated_ns = ? WHERE {_KEY}"
        " AND state IN ('pending', 'validated', 'fulfilled') AND block_hash = ?",
        (now_ns, *_values(key), block_hash),
    )
    if moved.count:
        yield Query(f"DELETE FROM dust WHERE {_KEY}", _values(key))
        return True
    row = yield from _existing(key)
    if row.block_hash != block_hash or row.state in {"orphaned", "frozen", "rejected"}:
        return False
    raise _elsewhere(row, f"cannot be orphaned with block {block_hash}")


def freeze(key: DepositKey, reason: str, now_ns: int) -> Steps[bool]:
    """Pending | validated | orphaned → frozen."""
    moved = yield Query(
        f"UPDATE deposit SET state = 'frozen', reason = ?, updated_ns = ? WHERE {_KEY}"
        " AND state IN ('pending', 'validated', 'orphaned')",
        (checked("deposit", "reason", reason), now_ns, *_values(key)),
    )
    return (yield from _settled(key, moved.count, {"frozen", "rejected"}, "cannot be frozen"))


def release(key: DepositKey, now_ns: int) -> Steps[bool]:
    """Frozen → pending."""
    moved = yield Query(
        f"UPDATE deposit SET state = 'pending', reason = '', updated_ns = ? WHERE {_KEY} AND state = 'frozen'",
        (now_ns, *_values(key)),
    )
    return (yield from _settled(key, moved.count, {"pending", "validated", "fulfilled"}, "cannot be released"))


def reject(key: DepositKey, reason: str, now_ns: int) -> Steps[bool]:
    """Frozen → rejected."""
    moved = yield Query(
        f"UPDATE deposit SET state = 'rejected', reason = ?, updated_ns = ? WHERE {_KEY} AND state = 'frozen'",
        (checked("deposit", "reason", reason), now_ns, *_values(key)),
    )
    return (yield from _settled(key, moved.count, {"rejected"}, "cannot be rejected"))


def _settled(key: DepositKey, moved: int, past: set[str], wish: str) -> Steps[bool]:
    """Whether it was this step, where the row is `past` it already if it was not."""
    if moved:
        return True
    row = yield from _existing(key)
    if row.state in past:
        return False
    raise _elsewhere(row, wish)


def _existing(key: DepositKey) -> Steps[DepositRow]:
    row = yield from one(select("deposit", f"WHERE {_KEY}{FOR_UPDATE}", *_values(key)))
    if row is None:
        raise StoreConflict(f"there is no deposit {key.id}")
    return sql_rows.deposit(row)


def _elsewhere(row: DepositRow, wish: str) -> StoreConflict:
    return StoreConflict(f"the deposit {row.key.id} is {row.state} in block {row.block_hash} and {wish}")

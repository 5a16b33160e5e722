"""Transactions of the store: the arrows of a withdrawal, what they reserve, and questions about withdrawals."""

from collections.abc import Collection, Sequence
from typing import Final

from persistence import sql_rows
from persistence.schema import TABLES, sum_of, summed
from persistence.sql_rows import checked, new_withdrawal, new_withdrawal_tx, number, one, select, text
from persistence.statements import FOR_UPDATE, Insert, Query, Steps
from persistence.txstore import (
    MAX_ROWS,
    BlockId,
    NewWithdrawal,
    NonceRow,
    Outpoint,
    StoreConflict,
    Utxo,
    Value,
    WithdrawalRow,
    WithdrawalTx,
)

_OFF: Final = "('rejected', 'cancelled', 'failed')"
_STATE: Final = tuple(TABLES["withdrawal"].columns).index("state")
_UNSIGNED: Final = ("requested", "awaiting_operator", "approved")


# ----------------------------------------------------------------------------------------------------------- questions


def find(withdrawal_id: str) -> Steps[WithdrawalRow | None]:
    """The withdrawal, if it is known."""
    found = yield from _many(select("withdrawal", "WHERE id = ?", withdrawal_id))
    return found[0] if found else None


def in_state(chain: str, state: str, limit: int) -> Steps[list[WithdrawalRow]]:
    """Those in this state, oldest first."""
    return (
        yield from _many(
            select("withdrawal", "WHERE chain = ? AND state = ? ORDER BY requested_ns, id LIMIT ?", chain, state, limit)
        )
    )


def of_account(account: int, limit: int, before_ns: int | None) -> Steps[list[WithdrawalRow]]:
    """An account's, newest first."""
    bound, values = ("", ()) if before_ns is None else (" AND requested_ns < ?", (before_ns,))
    return (
        yield from _many(
            select(
                "withdrawal",
                f"WHERE account = ?{bound} ORDER BY requested_ns DESC, id LIMIT ?",
                account,
                *values,
                limit,
            )
        )
    )


def completed(chain: str, limit: int) -> Steps[list[WithdrawalRow]]:
    """The completed ones, newest first."""
    return (
        yield from _many(
            select(
                "withdrawal",
                "WHERE chain = ? AND state = 'completed' ORDER BY requested_ns DESC, id LIMIT ?",
                chain,
                limit,
            )
        )
    )


def unsettled(chain: str, limit: int) -> Steps[list[WithdrawalRow]]:
    """Those that are off, and whose hold is not known to be released."""
    return (
        yield from _many(
            select(
                "withdrawal",
                f"WHERE chain = ? AND state IN {_OFF} AND receipt = '' ORDER BY requested_ns, id LIMIT ?",
                chain,
                limit,
            )
        )
    )


def withdrawn_since(asset: str, since_ns: int, account: int | None) -> Steps[int]:
    """The sum of what was requested since then and is not off."""
    bound, values = ("", ()) if account is None else (" AND account = ?", (account,))
    row = yield from one(
        Query(
            f"SELECT {sum_of('amount')} FROM withdrawal WHERE asset = ? AND requested_ns >= ?{bound}"
            f" AND state NOT IN {_OFF}",
            (asset, since_ns, *values),
        )
    )
    return 0 if row is None else summed(tuple(row))


def txs(withdrawal_id: str) -> Steps[list[WithdrawalTx]]:
    """Every signed variant, oldest first."""
    result = yield select("withdrawal_tx", "WHERE withdrawal_id = ? ORDER BY position", withdrawal_id)
    found: list[WithdrawalTx] = []
    for row in result.rows:
        inputs = yield from _inputs(text(row[0]), text(row[1]))
        found.append(sql_rows.withdrawal_tx(row, inputs))
    return found


def tx(chain: str, txid: str) -> Steps[WithdrawalTx | None]:
    """The variant with this transaction id."""
    row = yield from one(select("withdrawal_tx", "WHERE chain = ? AND txid = ?", chain, txid))
    if row is None:
        return None
    inputs = yield from _inputs(chain, txid)
    return sql_rows.withdrawal_tx(row, inputs)


def utxos(asset: str) -> Steps[list[Utxo]]:
    """The hot wallet's unspent outputs."""
    result = yield select("utxo", "WHERE asset = ? AND spent_txid = '' ORDER BY height, txid, n", asset)
    return [sql_rows.utxo(row) for row in result.rows]


def utxo(asset: str, output: Outpoint) -> Steps[Utxo | None]:
    """An output of the hot wallet."""
    row = yield from one(select("utxo", "WHERE asset = ? AND txid = ? AND n = ?", asset, output.txid, output.n))
    return None if row is None else sql_rows.utxo(row)


def next_nonce(chain: str, sender: str) -> Steps[int | None]:
    """One more than the highest given away."""
    row = yield from one(Query("SELECT MAX(nonce) FROM nonce WHERE chain = ? AND sender = ?", (chain, sender)))
    return None if row is None or row[0] is None else number(row[0]) + 1


def nonces(chain: str, sender: str, above: int) -> Steps[list[NonceRow]]:
    """Those given away above this one."""
    result = yield select(
        "nonce", "WHERE chain = ? AND sender = ? AND nonce > ? ORDER BY nonce LIMIT ?", chain, sender, above, MAX_ROWS
    )
    return [sql_rows.nonce(row) for row in result.rows]


# -------------------------------------------------------------------------------------------------------------- arrows


def request(new: NewWithdrawal, now_ns: int) -> Steps[bool]:
    """→ requested."""
    added = yield Insert("withdrawal", new_withdrawal(new, now_ns))
    if added.count:
        return True
    known = yield from _existing(new.id)
    same = NewWithdrawal(
        id=known.id,
        chain=known.chain,
        asset=known.asset,
        account=known.account,
        address=known.address,
        amount=known.amount,
        withdraw_order_id=known.withdraw_order_id,
        units=known.units,
        fee_units=known.fee_units,
    )
    if same != new:
        raise StoreConflict(f"the withdrawal {new.id} is known as another: {same}, and now {new}")
    return False


def approve(withdrawal_id: str, now_ns: int) -> Steps[bool]:
    """Requested → approved."""
    past = ("awaiting_operator", "approved", "rejected", "cancelled")
    return (yield from _move(withdrawal_id, "approved", ("requested",), past, now_ns=now_ns))


def hold(withdrawal_id: str, reason: str, now_ns: int) -> Steps[bool]:
    """Requested → awaiting_operator."""
    past = ("awaiting_operator", "approved", "rejected", "cancelled")
    return (yield from _move(withdrawal_id, "awaiting_operator", ("requested",), past, reason=reason, now_ns=now_ns))


def add_approval(withdrawal_id: str, operator: str, needed: int, now_ns: int) -> Steps[WithdrawalRow]:
    """An operator approves; the last one that is needed moves it on."""
    row = yield from _existing(withdrawal_id)
    if row.state in {"requested", "failed"}:
        raise _elsewhere(row, "does not wait for operators")
    if row.state != "awaiting_operator":
        return row
    if operator not in row.approvals:
        yield Insert("approval", {
            "withdrawal_id": withdrawal_id, "operator": operator, "position": len(row.approvals), "approved_ns": now_ns,
        })  # fmt: skip
    if len({*row.approvals, operator}) >= needed:
        yield from _move(withdrawal_id, "approved", ("awaiting_operator",), (), now_ns=now_ns)
    return (yield from _existing(withdrawal_id))


def reject(withdrawal_id: str, reason: str, now_ns: int) -> Steps[bool]:
    """Before it is signed → rejected."""
    past = ("rejected", "cancelled", "failed")
    return (yield from _move(withdrawal_id, "rejected", _UNSIGNED, past, reason=reason, now_ns=now_ns))


def cancel(withdrawal_id: str, reason: str, now_ns: int) -> Steps[bool]:
    """Before it is signed → cancelled."""
    past = ("rejected", "cancelled")
    return (yield from _move(withdrawal_id, "cancelled", _UNSIGNED, past, reason=reason, now_ns=now_ns))


def sign(new: WithdrawalTx) -> Steps[bool]:
    """Approved → signed, with all that it spends."""
    past = ("signed", "broadcast", "confirmed", "completed", "rejected", "cancelled")
    if not (yield from _move(new.withdrawal_id, "signed", ("approved",), past, now_ns=new.signed_ns)):
        return False
    row = yield from _existing(new.withdrawal_id)
    yield from _store(row, new, 0)
    if new.nonce is not None:
        given = yield Insert("nonce", {
            "chain": row.chain, "sender": new.sender, "nonce": new.nonce, "withdrawal_id": row.id,
        })  # fmt: skip
        if not given.count:
            raise StoreConflict(f"the nonce {new.nonce} of {new.sender} is another withdrawal's")
    return True


def replace(new: WithdrawalTx) -> Steps[bool]:
    """Signed | broadcast → signed, with another variant."""
    row = yield from _existing(new.withdrawal_id)
    before = yield from txs(row.id)
    if any(variant.txid == new.txid for variant in before):
        return False
    past = ("confirmed", "completed", "failed")
    if not (yield from _move(row.id, "signed", ("signed", "broadcast"), past, now_ns=new.signed_ns)):
        return False
    shared = set(new.inputs).intersection(*(variant.inputs for variant in before))
    same_nonce = new.nonce is not None and {(v.sender, v.nonce) for v in before} == {(new.sender, new.nonce)}
    if not shared and not same_nonce:
        raise StoreConflict(f"the transaction {new.txid} shares neither input nor nonce with all others of {row.id}")
    yield from _store(row, new, len(before))
    return True


def broadcast(withdrawal_id: str, now_ns: int) -> Steps[bool]:
    """Signed → broadcast."""
    past = ("broadcast", "confirmed", "completed", "failed")
    return (yield from _move(withdrawal_id, "broadcast", ("signed",), past, now_ns=now_ns))


def confirm(withdrawal_id: str, txid: str, block: BlockId, now_ns: int) -> Steps[bool]:
    """Signed | broadcast → confirmed."""
    if not (
        yield from _move(withdrawal_id, "confirmed", ("signed", "broadcast"), ("confirmed", "completed"), now_ns=now_ns)
    ):
        row = yield from _existing(withdrawal_id)
        if row.txid != txid:
            raise StoreConflict(f"the withdrawal {withdrawal_id} is confirmed by {row.txid}, and now by {txid}")
        return False
    if all(variant.txid != txid for variant in (yield from txs(withdrawal_id))):
        raise StoreConflict(f"the transaction {txid} is none of the withdrawal {withdrawal_id}")
    yield Query(
        "UPDATE withdrawal SET txid = ?, height = ?, block_hash = ? WHERE id = ?",
        (txid, block.height, checked("withdrawal", "block_hash", block.hash), withdrawal_id),
    )
    return True


def complete(withdrawal_id: str, receipt: str, now_ns: int) -> Steps[bool]:
    """Confirmed → completed."""
    if not (yield from _move(withdrawal_id, "completed", ("confirmed",), ("completed",), now_ns=now_ns)):
        return (yield from _has_receipt(withdrawal_id, receipt))
    yield from _set_receipt(withdrawal_id, receipt)
    return True


def fail(withdrawal_id: str, reason: str, now_ns: int) -> Steps[bool]:
    """Signed | broadcast → failed; what is unspent of its inputs is free again."""
    if not (
        yield from _move(withdrawal_id, "failed", ("signed", "broadcast"), ("failed",), reason=reason, now_ns=now_ns)
    ):
        return False
    row = yield from _existing(withdrawal_id)
    yield Query(
        "UPDATE utxo SET reserved_by = '' WHERE asset = ? AND reserved_by = ? AND spent_txid = ''",
        (row.asset, withdrawal_id),
    )
    return True


def release(withdrawal_id: str, receipt: str, now_ns: int) -> Steps[bool]:
    """Its hold is released."""
    row = yield from _existing(withdrawal_id)
    if row.state not in {"rejected", "cancelled", "failed"}:
        raise _elsewhere(row, "its hold cannot be released")
    if row.receipt:
        return (yield from _has_receipt(withdrawal_id, receipt))
    yield from _set_receipt(withdrawal_id, receipt)
    yield Query("UPDATE withdrawal SET updated_ns = ? WHERE id = ?", (now_ns, withdrawal_id))
    return True


# --------------------------------------------------------------------------------------------------------------- parts


def _move(
    withdrawal_id: str, to: str, sources: Sequence[str], past: Collection[str], *, now_ns: int, reason: str = ""
) -> Steps[bool]:
    """To this state from one of those; False if it is past it."""
    marks = ", ".join("?" * len(sources))
    moved = yield Query(
        f"UPDATE withdrawal SET state = ?, reason = ?, updated_ns = ? WHERE id = ? AND state IN ({marks})",
        (to, checked("withdrawal", "reason", reason), now_ns, withdrawal_id, *sources),
    )
    if moved.count:
        return True
    row = yield from _existing(withdrawal_id)
    if row.state in past:
        return False
    raise _elsewhere(row, f"cannot be {to}")


def _existing(withdrawal_id: str) -> Steps[WithdrawalRow]:
    found = yield from _many(select("withdrawal", f"WHERE id = ?{FOR_UPDATE}", withdrawal_id))
    if not found:
        raise StoreConflict(f"there is no withdrawal {withdrawal_id}")
    return found[0]


def _elsewhere(row: WithdrawalRow, wish: str) -> StoreConflict:
    return StoreConflict(f"the withdrawal {row.id} is {row.state} and {wish}")


def _many(query: Query) -> Steps[list[WithdrawalRow]]:
    result = yield query
    judged = [row[0] for row in result.rows if row[_STATE] != "requested"]
    approvals: dict[Value, list[str]] = {}
    if judged:
        marks = ", ".join("?" * len(judged))
        given = yield Query(
            f"SELECT withdrawal_id, operator FROM approval WHERE withdrawal_id IN ({marks}) ORDER BY position", judged
        )
        for withdrawal_id, operator in given.rows:
            approvals.setdefault(withdrawal_id, []).append(text(operator))
    return [sql_rows.withdrawal(row, tuple(approvals.get(row[0], ()))) for row in result.rows]


def _inputs(chain: str, txid: str) -> Steps[tuple[Outpoint, ...]]:
    result = yield Query(
        "SELECT output_txid, output_n FROM tx_input WHERE chain = ? AND txid = ? ORDER BY position", (chain, txid)
    )
    return tuple(Outpoint(text(output_txid), number(n)) for output_txid, n in result.rows)


def _store(row: WithdrawalRow, new: WithdrawalTx, position: int) -> Steps[None]:
    """A variant and its inputs, which must be free or the withdrawal's already."""
    added = yield Insert("withdrawal_tx", new_withdrawal_tx(row.chain, new, position))
    if not added.count:
        raise StoreConflict(f"the transaction {new.txid} is another withdrawal's")
    for place, output in enumerate(new.inputs):
        yield Insert("tx_input", {
            "chain": row.chain, "txid": new.txid, "position": place, "output_txid": output.txid, "output_n": output.n,
        })  # fmt: skip
        values: Sequence[Value] = (row.id, row.asset, output.txid, output.n, row.id)
        taken = yield Query(
            "UPDATE utxo SET reserved_by = ? WHERE asset = ? AND txid = ? AND n = ?"
            " AND reserved_by IN ('', ?) AND spent_txid = ''",
            values,
        )
        if not taken.count:
            raise StoreConflict(f"the output {output.txid}:{output.n} is not the hot wallet's, or not free")


def _has_receipt(withdrawal_id: str, receipt: str) -> Steps[bool]:
    """False, for it has it already. Raises StoreConflict if it has another."""
    row = yield from _existing(withdrawal_id)
    if row.receipt != receipt:
        raise _elsewhere(row, f"has the receipt {row.receipt}, and now {receipt}")
    return False


def _set_receipt(withdrawal_id: str, receipt: str) -> Steps[None]:
    if not receipt:
        raise ValueError("receipt is empty")
    yield Query(
        "UPDATE withdrawal SET receipt = ? WHERE id = ?", (checked("withdrawal", "receipt", receipt), withdrawal_id)
    )

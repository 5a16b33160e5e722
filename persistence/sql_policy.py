"""Transactions of the store: what was decided about chains and addresses, and the sums to reconcile."""

from typing import Final

from persistence import sql_rows
from persistence.schema import sum_of, summed
from persistence.sql_rows import new_sweep, number, one, select, text
from persistence.statements import Insert, Query, Steps
from persistence.txstore import Frozen, StoreConflict, SweepRow, Totals, WhitelistRow

_WHITELIST_KEY: Final = "account = ? AND chain = ? AND address = ?"


def frozen_chains() -> Steps[list[Frozen]]:
    """The chains that wait for an operator."""
    result = yield select("frozen_chain", "ORDER BY chain")
    return [Frozen(text(chain), text(reason), number(since_ns)) for chain, reason, since_ns in result.rows]


def freeze_chain(chain: str, reason: str, now_ns: int) -> Steps[bool]:
    """Nothing is done on it any more."""
    added = yield Insert("frozen_chain", {"chain": chain, "reason": reason, "since_ns": now_ns})
    return bool(added.count)


def thaw_chain(chain: str) -> Steps[bool]:
    """It is acted on again."""
    gone = yield Query("DELETE FROM frozen_chain WHERE chain = ?", (chain,))
    return bool(gone.count)


def whitelist(account: int, chain: str) -> Steps[list[WhitelistRow]]:
    """The addresses that the account may withdraw to."""
    result = yield select("whitelist", "WHERE account = ? AND chain = ? ORDER BY added_ns, address", account, chain)
    return [sql_rows.whitelisted(row) for row in result.rows]


def add_to_whitelist(row: WhitelistRow) -> Steps[bool]:
    """It may withdraw to this one."""
    added = yield Insert("whitelist", {
        "account": row.account, "chain": row.chain, "address": row.address, "added_ns": row.added_ns,
    })  # fmt: skip
    return bool(added.count)


def remove_from_whitelist(account: int, chain: str, address: str) -> Steps[bool]:
    """It may not any more."""
    gone = yield Query(f"DELETE FROM whitelist WHERE {_WHITELIST_KEY}", (account, chain, address))
    return bool(gone.count)


def add_sweep(row: SweepRow) -> Steps[bool]:
    """A deposit address was swept."""
    added = yield Insert("sweep", new_sweep(row))
    if added.count:
        return True
    found = yield from one(
        select("sweep", "WHERE asset = ? AND txid = ? AND address = ?", row.asset, row.txid, row.address)
    )
    known = None if found is None else sql_rows.sweep(found)
    if known is None or (known.amount, known.fee) != (row.amount, row.fee):
        raise StoreConflict(f"the sweep of {row.address} by {row.txid} is known as another: {known}, and now {row}")
    return False


def sweeps(asset: str, limit: int) -> Steps[list[SweepRow]]:
    """The newest, newest first."""
    result = yield select("sweep", "WHERE asset = ? ORDER BY swept_ns DESC, txid, address LIMIT ?", asset, limit)
    return [sql_rows.sweep(row) for row in result.rows]


def totals(chain: str, asset: str) -> Steps[Totals]:
    """The asset's sums. `chain` is where its miner fees are paid."""
    deposits = yield from _by_state("deposit", "asset = ?", asset)
    withdrawals = yield from _by_state("withdrawal", "asset = ?", asset)
    dust = yield from _sum("amount", "FROM dust WHERE asset = ?", asset)
    swept = yield from _sum("amount", "FROM sweep WHERE asset = ?", asset)
    sweep_fees = yield from _sum("fee", "FROM sweep WHERE asset = ?", asset)
    hot = yield from _sum("amount", "FROM utxo WHERE spent_txid = '' AND asset = ?", asset)
    miner_fees = yield from _sum(
        "t.fee",
        "FROM withdrawal w JOIN withdrawal_tx t ON t.chain = w.chain AND t.txid = w.txid"
        " WHERE w.state IN ('confirmed', 'completed') AND w.chain = ? AND w.asset = ?",
        chain,
        asset,
    )
    return Totals(
        deposited=deposits.get("fulfilled", 0),
        dust=dust,
        waiting=deposits.get("pending", 0) + deposits.get("validated", 0),
        orphaned=deposits.get("orphaned", 0),
        stuck=deposits.get("frozen", 0) + deposits.get("rejected", 0),
        swept=swept,
        sweep_fees=sweep_fees,
        withdrawn=withdrawals.get("confirmed", 0) + withdrawals.get("completed", 0),
        in_flight=withdrawals.get("signed", 0) + withdrawals.get("broadcast", 0),
        miner_fees=miner_fees,
        hot=hot,
    )


def _by_state(table: str, where: str, asset: str) -> Steps[dict[str, int]]:
    result = yield Query(f"SELECT state, {sum_of('amount')} FROM {table} WHERE {where} GROUP BY state", (asset,))
    return {text(row[0]): summed(tuple(row[1:])) for row in result.rows}


def _sum(column: str, rest: str, *values: str) -> Steps[int]:
    row = yield from one(Query(f"SELECT {sum_of(column)} {rest}", values))
    return 0 if row is None else summed(tuple(row))

"""Transactions of the store: looking through blocks, and going back from those that left the best chain."""

from collections.abc import Sequence

from persistence import sql_rows
from persistence.sql_rows import checked, new_deposit, new_utxo, number, one, select
from persistence.statements import FOR_UPDATE, Insert, Query, Steps
from persistence.txstore import (
    MAX_ROWS,
    AddressRow,
    NewDeposit,
    ScanBlock,
    Scanned,
    Spent,
    StoreConflict,
    Utxo,
    Value,
)


def scanned_blocks(asset: str, limit: int) -> Steps[list[ScanBlock]]:
    """The last blocks, highest first."""
    result = yield select("scan_block", "WHERE asset = ? ORDER BY height DESC LIMIT ?", asset, limit)
    return [sql_rows.scan_block(row) for row in result.rows]


def add_block(scanned: Scanned, now_ns: int) -> Steps[bool]:
    """A block and all that it means to us."""
    block = scanned.block
    top = yield from one(
        select("scan_block", f"WHERE asset = ? ORDER BY height DESC LIMIT 1{FOR_UPDATE}", block.asset),
    )
    if top is not None:
        last = sql_rows.scan_block(top)
        if last == block:
            return False
        if (last.height + 1, last.hash) != (block.height, block.parent):
            raise StoreConflict(
                f"block {block.height} {block.hash} of {block.asset} does not follow the last one, "
                f"{last.height} {last.hash}"
            )
    added = yield Insert("scan_block", {
        "asset": block.asset, "height": block.height, "hash": block.hash, "parent": block.parent,
    })  # fmt: skip
    if not added.count:
        raise StoreConflict(f"block {block.height} of {block.asset} was looked through by another just now")
    for new in scanned.deposits:
        yield from _see(new, block, now_ns)
    for received in scanned.received:
        yield from _receive(received)
    for spent in scanned.spent:
        yield from _spend(spent, block)
    return True


def _see(new: NewDeposit, block: ScanBlock, now_ns: int) -> Steps[None]:
    """A block has this deposit."""
    added = yield Insert("deposit", new_deposit(new, block, now_ns))
    if added.count:
        return
    key = new.key
    row = yield from one(
        select("deposit", f"WHERE chain = ? AND txid = ? AND n = ?{FOR_UPDATE}", key.chain, key.txid, key.n)
    )
    if row is None:
        raise StoreConflict(f"the deposit {key.id} went away while it was stored")
    known = sql_rows.deposit(row)
    if (known.asset, known.account, known.address, known.amount) != (new.asset, new.account, new.address, new.amount):
        raise StoreConflict(f"the deposit {key.id} is known as another: {known}, and now {new}")
    if known.state == "rejected":
        return
    state = "pending" if known.state == "orphaned" else known.state
    yield Query(
        "UPDATE deposit SET state = ?, height = ?, block_hash = ?, updated_ns = ?"
        " WHERE chain = ? AND txid = ? AND n = ?",
        (state, block.height, block.hash, now_ns, key.chain, key.txid, key.n),
    )


def _receive(received: Utxo) -> Steps[None]:
    """A block has an output for the hot wallet; one that came back is reserved for whom it was."""
    output = received.output
    holder = yield from one(
        Query(
            "SELECT w.id FROM tx_input i JOIN withdrawal_tx t ON t.chain = i.chain AND t.txid = i.txid"
            " JOIN withdrawal w ON w.id = t.withdrawal_id"
            " WHERE i.output_txid = ? AND i.output_n = ? AND w.asset = ? AND w.state <> 'failed' LIMIT 1",
            (output.txid, output.n, received.asset),
        )
    )
    reserved_by = "" if holder is None else sql_rows.text(holder[0])
    added = yield Insert("utxo", new_utxo(received, reserved_by))
    if added.count:
        return
    row = yield from one(
        select("utxo", "WHERE asset = ? AND txid = ? AND n = ?", received.asset, output.txid, output.n)
    )
    known = None if row is None else sql_rows.utxo(row)
    if known is None or (known.address, known.amount) != (received.address, received.amount):
        raise StoreConflict(f"the output {output.txid}:{output.n} is known as another: {known}, and now {received}")
    yield Query(
        "UPDATE utxo SET height = ? WHERE asset = ? AND txid = ? AND n = ?",
        (received.height, received.asset, output.txid, output.n),
    )


def _spend(spent: Spent, block: ScanBlock) -> Steps[None]:
    yield Query(
        "UPDATE utxo SET spent_txid = ?, spent_height = ? WHERE asset = ? AND txid = ? AND n = ?",
        (
            checked("utxo", "spent_txid", spent.txid),
            block.height,
            block.asset,
            spent.output.txid,
            spent.output.n,
        ),
    )


def retreat(asset: str, height: int) -> Steps[int]:
    """Forget the blocks above this height."""
    left = yield from one(
        select(
            "deposit",
            f"WHERE asset = ? AND state IN ('pending', 'validated') AND height > ? LIMIT 1{FOR_UPDATE}",
            asset,
            height,
        )
    )
    if left is not None:
        known = sql_rows.deposit(left)
        raise StoreConflict(
            f"the deposit {known.key.id} is {known.state} in block {known.height}, above {height}: "
            "ask the engine first whether it was credited"
        )
    values: Sequence[Value] = (asset, height)
    yield Query("DELETE FROM utxo WHERE asset = ? AND height > ?", values)
    yield Query("UPDATE utxo SET spent_txid = '', spent_height = NULL WHERE asset = ? AND spent_height > ?", values)
    gone = yield Query("DELETE FROM scan_block WHERE asset = ? AND height > ?", values)
    return gone.count


def forget_old_blocks(asset: str, below: int) -> Steps[int]:
    """Forget blocks that no reorg will reach, but for the last one."""
    top = yield from one(Query("SELECT MAX(height) FROM scan_block WHERE asset = ?", (asset,)))
    if top is None or top[0] is None:
        return 0
    gone = yield Query("DELETE FROM scan_block WHERE asset = ? AND height < ?", (asset, min(below, number(top[0]))))
    return gone.count


def addresses(chain: str, above: int) -> Steps[list[AddressRow]]:
    """Deposit addresses above this index."""
    result = yield select(
        "address", "WHERE chain = ? AND position > ? ORDER BY position LIMIT ?", chain, above, MAX_ROWS
    )
    return [sql_rows.address(row) for row in result.rows]


def add_addresses(rows: Sequence[AddressRow]) -> Steps[int]:
    """Deposit addresses, new and known."""
    count = 0
    for row in rows:
        added = yield Insert("address", {
            "chain": row.chain, "position": row.index, "address": row.address, "account": row.account,
        })  # fmt: skip
        count += added.count
        if added.count:
            continue
        found = yield from one(select("address", "WHERE chain = ? AND position = ?", row.chain, row.index))
        known = None if found is None else sql_rows.address(found)
        if known != row:
            raise StoreConflict(
                f"the address {row.address} of {row.chain} is not as it is known: {known}, and now {row}"
            )
    return count

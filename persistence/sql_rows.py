"""Rows of the store's tables: read from SQL, and made for it."""

from collections.abc import Sequence
from typing import Final, cast

from book.queries import Candle
from persistence.schema import TABLES, check_units, digits
from persistence.statements import Query, Steps
from persistence.txstore import (
    AddressRow,
    AuditEntry,
    CandleRow,
    DepositKey,
    DepositRow,
    DepositState,
    NewDeposit,
    NewWithdrawal,
    NonceRow,
    Outpoint,
    ScanBlock,
    SweepRow,
    Utxo,
    Value,
    WhitelistRow,
    WithdrawalRow,
    WithdrawalState,
    WithdrawalTx,
)

Row = Sequence[Value]

_COLUMNS: Final = {name: ", ".join(table.columns) for name, table in TABLES.items()}


def select(table: str, rest: str, *values: Value) -> Query:
    """All columns of a table, in its order."""
    return Query(f"SELECT {_COLUMNS[table]} FROM {table} {rest}", values)


def checked(table: str, column: str, value: str) -> str:
    """A text for this column, itself. Raises ValueError if the column has no room for it."""
    TABLES[table].columns[column].check(column, value)
    return value


def one(query: Query) -> Steps[Row | None]:
    """The only row of an answer, or None."""
    result = yield query
    return result.rows[0] if result.rows else None


def number(value: Value) -> int:
    """A column that is a number."""
    if not isinstance(value, int):
        raise AssertionError(f"the store has {value!r} where a number belongs")
    return value


def _number_or_none(value: Value) -> int | None:
    return None if value is None else number(value)


def text(value: Value) -> str:
    """A column that is a text."""
    if not isinstance(value, str):
        raise AssertionError(f"the store has {value!r} where a text belongs")
    return value


def scan_block(row: Row) -> ScanBlock:
    """A row of scan_block."""
    asset, height, block_hash, parent = row
    return ScanBlock(text(asset), number(height), text(block_hash), text(parent))


def deposit(row: Row) -> DepositRow:
    """A row of deposit."""
    (chain, txid, n, asset, account, address_, amount, height, block_hash, state, reason, units, receipt, seen,
     changed) = row  # fmt: skip
    return DepositRow(
        key=DepositKey(text(chain), text(txid), number(n)),
        asset=text(asset),
        account=number(account),
        address=text(address_),
        amount=int(text(amount)),
        height=number(height),
        block_hash=text(block_hash),
        state=cast(DepositState, text(state)),
        reason=text(reason),
        units=_number_or_none(units),
        receipt=text(receipt),
        seen_ns=number(seen),
        updated_ns=number(changed),
    )


def new_deposit(new: NewDeposit, block: ScanBlock, now_ns: int) -> dict[str, Value]:
    """A pending row of deposit."""
    return {
        "chain": new.key.chain,
        "txid": new.key.txid,
        "n": new.key.n,
        "asset": new.asset,
        "account": new.account,
        "address": new.address,
        "amount": digits(new.amount),
        "height": block.height,
        "block_hash": block.hash,
        "state": "pending",
        "reason": "",
        "units": None,
        "receipt": "",
        "seen_ns": now_ns,
        "updated_ns": now_ns,
    }


def address(row: Row) -> AddressRow:
    """A row of address."""
    chain, position, name, account = row
    return AddressRow(text(chain), number(position), text(name), number(account))


def withdrawal(row: Row, approvals: tuple[str, ...]) -> WithdrawalRow:
    """A row of withdrawal."""
    (key, chain, asset, account, name, amount, order_id, units, fee_units, state, reason, txid, height, block_hash,
     receipt, asked, changed) = row  # fmt: skip
    return WithdrawalRow(
        id=text(key),
        chain=text(chain),
        asset=text(asset),
        account=number(account),
        address=text(name),
        amount=int(text(amount)),
        withdraw_order_id=text(order_id),
        units=number(units),
        fee_units=number(fee_units),
        state=cast(WithdrawalState, text(state)),
        reason=text(reason),
        approvals=approvals,
        txid=text(txid),
        height=_number_or_none(height),
        block_hash=text(block_hash),
        receipt=text(receipt),
        requested_ns=number(asked),
        updated_ns=number(changed),
    )


def new_withdrawal(new: NewWithdrawal, now_ns: int) -> dict[str, Value]:
    """A requested row of withdrawal."""
    return {
        "id": new.id,
        "chain": new.chain,
        "asset": new.asset,
        "account": new.account,
        "address": new.address,
        "amount": digits(new.amount),
        "withdraw_order_id": new.withdraw_order_id,
        "units": check_units(new.units),
        "fee_units": check_units(new.fee_units, "fee_units"),
        "state": "requested",
        "reason": "",
        "txid": "",
        "height": None,
        "block_hash": "",
        "receipt": "",
        "requested_ns": now_ns,
        "updated_ns": now_ns,
    }


def withdrawal_tx(row: Row, inputs: tuple[Outpoint, ...]) -> WithdrawalTx:
    """A row of withdrawal_tx, and those of tx_input that belong to it."""
    _, txid, withdrawal_id, _, raw, fee, sender, nonce, signed_ns = row
    return WithdrawalTx(
        withdrawal_id=text(withdrawal_id),
        txid=text(txid),
        raw=bytes.fromhex(text(raw)),
        fee=int(text(fee)),
        inputs=inputs,
        sender=text(sender),
        nonce=_number_or_none(nonce),
        signed_ns=number(signed_ns),
    )


def new_withdrawal_tx(chain: str, tx: WithdrawalTx, position: int) -> dict[str, Value]:
    """A row of withdrawal_tx."""
    return {
        "chain": chain,
        "txid": tx.txid,
        "withdrawal_id": tx.withdrawal_id,
        "position": position,
        "raw": tx.raw.hex(),
        "fee": digits(tx.fee, "fee"),
        "sender": tx.sender,
        "nonce": tx.nonce,
        "signed_ns": tx.signed_ns,
    }


def utxo(row: Row) -> Utxo:
    """A row of utxo."""
    asset, txid, n, name, amount, height, reserved_by, spent_txid, spent_height = row
    return Utxo(
        asset=text(asset),
        output=Outpoint(text(txid), number(n)),
        address=text(name),
        amount=int(text(amount)),
        height=number(height),
        reserved_by=text(reserved_by),
        spent_txid=text(spent_txid),
        spent_height=_number_or_none(spent_height),
    )


def new_utxo(received: Utxo, reserved_by: str) -> dict[str, Value]:
    """An unspent row of utxo."""
    return {
        "asset": received.asset,
        "txid": received.output.txid,
        "n": received.output.n,
        "address": received.address,
        "amount": digits(received.amount),
        "height": received.height,
        "reserved_by": reserved_by,
        "spent_txid": "",
        "spent_height": None,
    }


def nonce(row: Row) -> NonceRow:
    """A row of nonce."""
    chain, sender, used, withdrawal_id = row
    return NonceRow(text(chain), text(sender), number(used), text(withdrawal_id))


def whitelisted(row: Row) -> WhitelistRow:
    """A row of whitelist."""
    account, chain, name, added_ns = row
    return WhitelistRow(number(account), text(chain), text(name), number(added_ns))


def sweep(row: Row) -> SweepRow:
    """A row of sweep."""
    asset, txid, name, amount, fee, height, swept_ns = row
    return SweepRow(
        asset=text(asset),
        txid=text(txid),
        address=text(name),
        amount=int(text(amount)),
        fee=int(text(fee)),
        height=number(height),
        swept_ns=number(swept_ns),
    )


def new_sweep(row: SweepRow) -> dict[str, Value]:
    """A row of sweep."""
    return {
        "asset": row.asset,
        "txid": row.txid,
        "address": row.address,
        "amount": digits(row.amount),
        "fee": digits(row.fee, "fee"),
        "height": row.height,
        "swept_ns": row.swept_ns,
    }


def candle(row: Row) -> Candle:
    """A row of candle, without its market and interval."""
    return Candle(*(number(value) for value in row[2:]))


def new_candle(row: CandleRow) -> dict[str, Value]:
    """A row of candle."""
    told = row.candle
    return {
        "symbol": row.symbol,
        "interval_ns": row.interval_ns,
        "open_ns": told.open_ns,
        "open_price": told.open,
        "high_price": told.high,
        "low_price": told.low,
        "close_price": told.close,
        "volume": told.volume,
        "quote_volume": told.quote_volume,
        "trades": told.count,
    }


def audit(row: Row) -> AuditEntry:
    """A row of audit."""
    key, time_ns, _, kind, who, account, what, outcome = row
    return AuditEntry(
        id=text(key),
        time_ns=number(time_ns),
        kind=text(kind),
        who=text(who),
        account=_number_or_none(account),
        what=text(what),
        outcome=text(outcome),
    )


def new_audit(entry: AuditEntry, month: int) -> dict[str, Value]:
    """A row of audit."""
    return {
        "id": entry.id,
        "time_ns": entry.time_ns,
        "month": month,
        "kind": entry.kind,
        "who": entry.who,
        "account": entry.account,
        "what": entry.what,
        "outcome": entry.outcome,
    }

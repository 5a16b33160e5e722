"""The tables of the store as the program knows them, column for column as in `migrations/`.

Values are checked against it before they go anywhere, for SQLite takes what a server would refuse. Dumps are made by
it.
"""

import re
from collections.abc import Mapping
from typing import Final

from attrs import frozen

from book.terms import MAX_INT
from persistence.txstore import MAX_AMOUNT, Value

DIGITS: Final = len(str(MAX_AMOUNT))
# Sums are taken of so many digits at a time, which leaves 64 bits room for those of 900 million rows.
_PIECE: Final = 10

_NAME: Final = re.compile(r"[!-~]*")
_MAX_COLUMN: Final = 2**63 - 1


def digits(amount: int, name: str = "amount") -> str:
    """An amount as it is stored. Raises ValueError, naming it, if it is not in 0..2**256-1."""
    if not 0 <= amount <= MAX_AMOUNT:
        raise ValueError(f"{name} {amount} is outside 0..2**256-1")
    return f"{amount:0{DIGITS}}"


def sum_of(column: str) -> str:
    """SQL for the exact sum of a column of amounts, as several columns; `summed` makes one number of them."""
    starts = range(1, DIGITS + 1, _PIECE)
    return ", ".join(f"COALESCE(SUM(CAST(SUBSTR({column}, {start}, {_PIECE}) AS DECIMAL(65))), 0)" for start in starts)


def summed(pieces: tuple[Value, ...]) -> int:
    """The number whose pieces `sum_of` found."""
    total = 0
    for place, piece in enumerate(pieces):
        width = min(_PIECE, DIGITS - place * _PIECE)
        total = total * 10**width + int(piece or 0)
    return total


@frozen
class Int:
    """A signed 64-bit number."""

    nullable: bool = False

    def check(self, name: str, value: Value) -> None:
        """Raise ValueError for another."""
        if value is None and self.nullable:
            return
        if not isinstance(value, int) or not -_MAX_COLUMN <= value <= _MAX_COLUMN:
            raise ValueError(f"{name} {value!r} is not a whole number of 64 bits")


@frozen
class Name:
    """An identifier: printable ASCII without spaces, which databases compare in ways of their own."""

    limit: int

    def check(self, name: str, value: Value) -> None:
        """Raise ValueError for another."""
        if not isinstance(value, str) or not _NAME.fullmatch(value) or len(value) > self.limit:
            raise ValueError(f"{name} {value!r} is not up to {self.limit} printable ASCII characters without spaces")


@frozen
class Text:
    """A sentence for a human."""

    limit: int

    def check(self, name: str, value: Value) -> None:
        """Raise ValueError for another."""
        if not isinstance(value, str) or len(value) > self.limit:
            raise ValueError(f"{name} {str(value)[:50]!r}… is longer than {self.limit} characters")


@frozen
class Amount:
    """An amount in base units, as `digits` writes it."""

    def check(self, name: str, value: Value) -> None:
        """Raise ValueError for another."""
        if not isinstance(value, str) or len(value) != DIGITS or not value.isdecimal() or int(value) > MAX_AMOUNT:
            raise ValueError(f"{name} {value!r} is not {DIGITS} digits of a number up to 2**256-1")


Column = Int | Name | Text | Amount


@frozen
class Table:
    """A table: its columns in order, and which of them are its key."""

    columns: Mapping[str, Column]
    key: tuple[str, ...]

    def check(self, row: Mapping[str, Value]) -> None:
        """Raise ValueError for a value that a column has no room for."""
        if row.keys() != self.columns.keys():
            raise AssertionError(f"the row has the columns {list(row)}, the table {list(self.columns)}")
        for name, value in row.items():
            self.columns[name].check(name, value)


_SYMBOL: Final = Name(32)
_HASH: Final = Name(100)
_ADDRESS: Final = Name(200)
_REASON: Final = Text(500)
_INT: Final = Int()

# In an order in which rows can be put back: what refers to another table comes after it.
TABLES: Final[Mapping[str, Table]] = {
    "scan_block": Table({"asset": _SYMBOL, "height": _INT, "hash": _HASH, "parent": _HASH}, ("asset", "height")),
    "deposit": Table(
        {
            "chain": _SYMBOL,
            "txid": _HASH,
            "n": _INT,
            "asset": _SYMBOL,
            "account": _INT,
            "address": _ADDRESS,
            "amount": Amount(),
            "height": _INT,
            "block_hash": _HASH,
            "state": Name(20),
            "reason": _REASON,
            "units": Int(nullable=True),
            "receipt": _HASH,
            "seen_ns": _INT,
            "updated_ns": _INT,
        },
        ("chain", "txid", "n"),
    ),
    "dust": Table(
        {"chain": _SYMBOL, "txid": _HASH, "n": _INT, "asset": _SYMBOL, "amount": Amount()}, ("chain", "txid", "n")
    ),
    "address": Table({"chain": _SYMBOL, "position": _INT, "address": _ADDRESS, "account": _INT}, ("chain", "position")),
    "withdrawal": Table(
        {
            "id": _HASH,
            "chain": _SYMBOL,
            "asset": _SYMBOL,
            "account": _INT,
            "address": _ADDRESS,
            "amount": Amount(),
            "withdraw_order_id": _ADDRESS,
            "units": _INT,
            "fee_units": _INT,
            "state": Name(20),
            "reason": _REASON,
            "txid": _HASH,
            "height": Int(nullable=True),
            "block_hash": _HASH,
            "receipt": _HASH,
            "requested_ns": _INT,
            "updated_ns": _INT,
        },
        ("id",),
    ),
    "approval": Table(
        {"withdrawal_id": _HASH, "operator": _HASH, "position": _INT, "approved_ns": _INT},
        ("withdrawal_id", "operator"),
    ),
    "withdrawal_tx": Table(
        {
            "chain": _SYMBOL,
            "txid": _HASH,
            "withdrawal_id": _HASH,
            "position": _INT,
            "raw": Name(4_000_000),
            "fee": Amount(),
            "sender": _HASH,
            "nonce": Int(nullable=True),
            "signed_ns": _INT,
        },
        ("chain", "txid"),
    ),
    "tx_input": Table(
        {"chain": _SYMBOL, "txid": _HASH, "position": _INT, "output_txid": _HASH, "output_n": _INT},
        ("chain", "txid", "position"),
    ),
    "utxo": Table(
        {
            "asset": _SYMBOL,
            "txid": _HASH,
            "n": _INT,
            "address": _ADDRESS,
            "amount": Amount(),
            "height": _INT,
            "reserved_by": _HASH,
            "spent_txid": _HASH,
            "spent_height": Int(nullable=True),
        },
        ("asset", "txid", "n"),
    ),
    "nonce": Table(
        {"chain": _SYMBOL, "sender": _HASH, "nonce": _INT, "withdrawal_id": _HASH}, ("chain", "sender", "nonce")
    ),
    "frozen_chain": Table({"chain": _SYMBOL, "reason": _REASON, "since_ns": _INT}, ("chain",)),
    "whitelist": Table(
        {"account": _INT, "chain": _SYMBOL, "address": _ADDRESS, "added_ns": _INT}, ("account", "chain", "address")
    ),
    "sweep": Table(
        {
            "asset": _SYMBOL,
            "txid": _HASH,
            "address": _ADDRESS,
            "amount": Amount(),
            "fee": Amount(),
            "height": _INT,
            "swept_ns": _INT,
        },
        ("asset", "txid", "address"),
    ),
    "candle": Table(
        {
            "symbol": Name(64),
            "interval_ns": _INT,
            "open_ns": _INT,
            "open_price": _INT,
            "high_price": _INT,
            "low_price": _INT,
            "close_price": _INT,
            "volume": _INT,
            "quote_volume": _INT,
            "trades": _INT,
        },
        ("symbol", "interval_ns", "open_ns"),
    ),
    "mark": Table({"name": Name(64), "value": _INT}, ("name",)),
    "audit": Table(
        {
            "id": _HASH,
            "time_ns": _INT,
            "month": _INT,
            "kind": Name(32),
            "who": Text(100),
            "account": Int(nullable=True),
            "what": Text(2000),
            "outcome": Text(1000),
        },
        ("id",),
    ),
}


def check_units(units: int, name: str = "units") -> int:
    """Engine units, themselves. Raises ValueError, naming them, if they are not in 0..2**62-1."""
    if not 0 <= units <= MAX_INT:
        raise ValueError(f"{name} {units} is outside 0..{MAX_INT}")
    return units

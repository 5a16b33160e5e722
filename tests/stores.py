"""Stores for tests: the same suite runs against SQLite and against a real MariaDB."""

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Final, TypeVar, TypeVarTuple

from persistence.mysql import Limits, MysqlDatabase, Patience
from persistence.sql_store import SqlStore
from persistence.sqlite import IN_MEMORY, SqliteDatabase
from persistence.statements import Database
from persistence.txstore import (
    BlockId,
    DepositKey,
    NewDeposit,
    NewWithdrawal,
    Outpoint,
    ScanBlock,
    Utxo,
    WithdrawalTx,
)
from tests.mariadb import MariaDb

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_names: Final = itertools.count()


async def inline(function: Callable[[*Ts], T], *arguments: *Ts) -> T:
    """A runner of blocking work that just does it."""
    return function(*arguments)


@asynccontextmanager
async def opened(database: Database) -> AsyncIterator[SqlStore]:
    """The store on it, closed behind the block."""
    store = SqlStore(database)
    try:
        yield store
    finally:
        await store.aclose()


def in_memory() -> SqliteDatabase:
    """A new database that is gone when it is closed."""
    return SqliteDatabase(IN_MEMORY, inline)


async def on_mariadb(server: MariaDb, *, port: int | None = None, limits: Limits | None = None) -> MysqlDatabase:
    """A new database on a server, reached over TLS through `port`."""
    name = await server.fresh_database(f"store_{next(_names)}")
    limits = limits or Limits()
    return MysqlDatabase(server.server(name, port=port, limits=limits), limits, Patience(Random(0)))


# ---------------------------------------------------------------------------------------------------------------- rows


def block(height: int, branch: str = "", asset: str = "BTC", parent_branch: str | None = None) -> ScanBlock:
    """A block of a branch, upon one of the same or another branch."""
    parent = branch if parent_branch is None else parent_branch
    return ScanBlock(asset, height, f"hash{height}{branch}", f"hash{height - 1}{parent}")


def block_id(of: ScanBlock) -> BlockId:
    """How the chain names it."""
    return BlockId(of.height, of.hash)


def new_deposit(
    txid: str = "aa", n: int = 0, *, amount: int = 5_000, account: int = 7, asset: str = "BTC"
) -> NewDeposit:
    """What a block pays to account 7."""
    return NewDeposit(
        key=DepositKey("BTC" if asset == "BTC" else "ETH", txid, n),
        asset=asset,
        account=account,
        address=f"address-of-{account}",
        amount=amount,
    )


def new_withdrawal(
    withdrawal_id: str = "1-10", *, amount: int = 900, account: int = 7, asset: str = "BTC"
) -> NewWithdrawal:
    """What account 7 asks for."""
    return NewWithdrawal(
        id=withdrawal_id,
        chain="BTC" if asset == "BTC" else "ETH",
        asset=asset,
        account=account,
        address="their-address",
        amount=amount,
        withdraw_order_id=f"mine-{withdrawal_id}",
        units=amount,
        fee_units=10,
    )


def utxo(txid: str = "coin", n: int = 0, *, amount: int = 10_000, height: int = 1) -> Utxo:
    """An output of the hot wallet."""
    return Utxo(asset="BTC", output=Outpoint(txid, n), address="hot", amount=amount, height=height)


def spending(
    withdrawal_id: str,
    *outputs: Outpoint,
    txid: str = "tx",
    fee: int = 20,
    nonce: int | None = None,
    signed_ns: int = 50,
) -> WithdrawalTx:
    """A signed transaction."""
    return WithdrawalTx(
        withdrawal_id=withdrawal_id,
        txid=txid,
        raw=b"\x00raw\xff" + txid.encode(),
        fee=fee,
        inputs=outputs,
        sender="" if nonce is None else "0xhot",
        nonce=nonce,
        signed_ns=signed_ns,
    )

"""Whose the deposit addresses of a chain are: pulled from the engine, derived, stored, and kept for all its watchers.

The engine gives out indexes, one after the other; which address an index is follows from the chain's extended public
key. What was derived once is in the store, as deriving costs much more than reading.

At the first look both are compared. An engine that was restored from an old copy lacks the last addresses: it is told
to allocate them again, to the same accounts, before it can give them to others. Where it already has, nobody is
credited for an address that two accounts were told: that is a StoreConflict, until an operator has looked.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import structlog
import trio

from actors.chain_line import ChainLine
from actors.world import Blocking
from book.queries import Address
from chains.wallet import AddressBook
from persistence.txstore import MAX_ROWS, AddressRow, ChainStore, StoreConflict

# So many are derived in a thread at a time: each takes a fraction of a millisecond of everybody's time.
DERIVED_AT_ONCE: Final = 100

_log = structlog.get_logger("chains")


class Owners:
    """The accounts by deposit address. Outlives the watchers, which all share it."""

    def __init__(
        self, chain: str, coin: str, book: AddressBook, *, line: ChainLine, store: ChainStore, blocking: Blocking
    ) -> None:
        self._chain = chain
        self._coin = coin
        self._book = book
        self._line = line
        self._store = store
        self._blocking = blocking
        self._lock = trio.Lock()
        self._owners: dict[str, int] = {}
        self._stored: list[AddressRow] | None = None
        """What the store had at the first look, until it has been compared."""
        self._compared = False

    async def known(self) -> Mapping[str, int]:
        """Every address that was allocated before this was called, and its account.

        Raises what the engine and the store raise; StoreConflict if an index belongs to two accounts.
        """
        async with self._lock:
            if not self._compared:
                if self._stored is None:
                    self._stored = await self._read_stored()
                await self._pull(self._stored)
                await self._allocate_again(self._stored[len(self._owners) :])
                self._compared, self._stored = True, None
            await self._pull(())
        return self._owners

    async def _read_stored(self) -> list[AddressRow]:
        rows: list[AddressRow] = []
        while len(page := await self._store.addresses(self._chain, len(rows) - 1)) == MAX_ROWS:
            rows += page
        return rows + page

    async def _pull(self, stored: Sequence[AddressRow]) -> None:
        """Learn what the engine has, deriving what is not stored."""
        while new := await self._line.addresses(self._chain, len(self._owners)):
            for begin in range(0, len(new), DERIVED_AT_ONCE):
                part = new[begin : begin + DERIVED_AT_ONCE]
                at = len(self._owners)
                if [address.index for address in part] != list(range(at, at + len(part))):
                    raise AssertionError(f"{self._chain}: after {at} addresses come {part}")
                rows = list(stored[at : at + len(part)])
                rows += await self._derive(part[len(rows) :])
                _compare(part, rows)
                self._owners.update({row.address: row.account for row in rows})

    async def _derive(self, new: Sequence[Address]) -> list[AddressRow]:
        """Derive and store."""
        if not new:
            return []
        derived = await self._blocking(self._addresses, [address.index for address in new])
        rows = [
            AddressRow(self._chain, each.index, address, each.account)
            for each, address in zip(new, derived, strict=True)
        ]
        await self._store.add_addresses(rows)
        return rows

    def _addresses(self, indexes: list[int]) -> list[str]:
        return [self._book.address(index) for index in indexes]

    async def _allocate_again(self, lost: Sequence[AddressRow]) -> None:
        """Have the engine allocate what it has lost, in the same order."""
        for row in lost:
            index = await self._line.allocate(self._coin, row.account)
            if index != row.index:
                raise StoreConflict(
                    f"the address {row.index} of {self._chain} is account {row.account}'s,"
                    f" to whom the engine gave {index}"
                )
            self._owners[row.address] = row.account
            _log.warning("an address that the engine had lost is allocated again", chain=self._chain, index=index)


def _compare(given: Sequence[Address], stored: Sequence[AddressRow]) -> None:
    for address, row in zip(given, stored, strict=True):
        if (address.index, address.account) != (row.index, row.account):
            raise StoreConflict(
                f"the address {row.index} of {row.chain} is account {row.account}'s in the store"
                f" and account {address.account}'s in the engine"
            )

"""Every withdrawal that was ever asked for: remembered for ever, so that each is held for, and paid, once.

One is held for until it is settled or released; while it is, it stands in the outbox of its chain.
"""

from itertools import islice
from typing import Final

from msgspec.structs import replace

from book.events import Withdrawal
from book.terms import HELD

MAX_PENDING: Final = 100  # of an account


class Withdrawals:
    """The withdrawals by id, by their owners' names for them, and those that are held for."""

    __slots__ = ("_all", "_named", "_pending", "_pending_of")

    def __init__(self) -> None:
        self._all: dict[str, Withdrawal] = {}
        self._named: dict[int, dict[str, str]] = {}  # by account, then by its name for it: the id
        self._pending: dict[str, dict[str, Withdrawal]] = {}  # by chain, then by id, in the order of holding
        self._pending_of: dict[int, dict[str, Withdrawal]] = {}  # by account, likewise

    def get(self, withdrawal_id: str) -> Withdrawal | None:
        """The withdrawal of this id."""
        return self._all.get(withdrawal_id)

    def named(self, account: int, withdraw_order_id: str) -> Withdrawal | None:
        """The account's withdrawal of this name."""
        names = self._named.get(account)
        withdrawal_id = None if names is None else names.get(withdraw_order_id)
        return None if withdrawal_id is None else self._all[withdrawal_id]

    def add(self, withdrawal: Withdrawal, chain: str) -> None:
        """Remember a new one, of an asset of this chain."""
        withdrawal_id, account = withdrawal.withdrawal_id, withdrawal.account
        self._all[withdrawal_id] = withdrawal
        self._named.setdefault(account, {})[withdrawal.withdraw_order_id] = withdrawal_id
        if withdrawal.state == HELD:
            self._pending.setdefault(chain, {})[withdrawal_id] = withdrawal
            self._pending_of.setdefault(account, {})[withdrawal_id] = withdrawal

    def end(self, withdrawal: Withdrawal, chain: str, state: int, receipt: int, note: str) -> Withdrawal:
        """Let one that is held for be settled or released."""
        ended = replace(withdrawal, state=state, receipt=receipt, note=note)
        self._all[ended.withdrawal_id] = ended
        del self._pending[chain][ended.withdrawal_id]
        del self._pending_of[ended.account][ended.withdrawal_id]
        return ended

    def outbox(self, chain: str, after_seq: int, limit: int) -> list[Withdrawal]:
        """The chain's that are held for, behind a sequence number."""
        pending = self._pending.get(chain, {}).values()
        return list(islice((withdrawal for withdrawal in pending if withdrawal.seq > after_seq), limit))

    def pending_of(self, account: int) -> list[Withdrawal]:
        """The account's that are held for, oldest first."""
        return list(self._pending_of.get(account, {}).values())

    def of(self, account: int, limit: int) -> list[Withdrawal]:
        """The account's newest, newest first."""
        newest = islice(reversed(self._named.get(account, {}).values()), limit)
        return [self._all[withdrawal_id] for withdrawal_id in newest]

    def all(self) -> list[Withdrawal]:
        """Every withdrawal, in the order in which they were held for."""
        return list(self._all.values())

    def all_pending(self) -> list[tuple[str, Withdrawal]]:
        """Those that are held for, with their chains."""
        return [(chain, each) for chain, pending in self._pending.items() for each in pending.values()]

    def check(self) -> None:
        """All the ways to a withdrawal lead to the same. Raises AssertionError."""
        ids = {(w.account, w.withdraw_order_id): w.withdrawal_id for w in self._all.values()}
        if len(ids) != len(self._all):
            raise AssertionError("two withdrawals of an account have one name")
        if ids != {(account, name): its for account, names in self._named.items() for name, its in names.items()}:
            raise AssertionError("withdrawals are known by other names than theirs")
        held = {w.withdrawal_id: w for w in self._all.values() if w.state == HELD}
        by_chain, by_account = list(self._pending.values()), list(self._pending_of.values())
        for found in (by_chain, by_account):
            if {key: each for pending in found for key, each in pending.items()} != held:
                raise AssertionError("what is held for is not what is pending")
            if sum(map(len, found)) != len(held):
                raise AssertionError("a withdrawal is pending twice")
        for account, pending in self._pending_of.items():
            if any(withdrawal.account != account for withdrawal in pending.values()):
                raise AssertionError(f"account {account} has another's withdrawal pending")

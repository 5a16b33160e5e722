"""Where entries of the audit are noted, by whoever has one, until the archivist has put them into the store."""

from collections import deque
from typing import Final

import trio

from actors.world import Clock, Entropy
from persistence.schema import TABLES, Text
from persistence.txstore import AuditEntry

# In memory: bursts between two rounds.
NOTES: Final = 10_000
# Put into the store in one transaction.
ENTRIES_AT_ONCE: Final = 500

_KINDS: Final = {
    "key": "key",
    "account": "key",
    "deposit": "money",
    "withdrawal": "money",
    "withdrawals": "money",
    "ledger": "money",
    "asset": "money",
    "address": "money",
    "chain": "money",
}


def kind_of(call: str) -> str:
    """What an operator's call is about: `key`, `money`, or `admin` for everything else."""
    return _KINDS.get(call.partition(".")[0], "admin")


class AuditBook:
    """Where the audit's entries are noted, by whoever has one."""

    def __init__(self, clock: Clock, entropy: Entropy) -> None:
        self._clock = clock
        self._process = entropy(8).hex()
        self._count = 0
        self._notes: deque[AuditEntry] = deque()
        self._news = trio.Event()
        self.lost = 0
        """Entries that had no place any more."""

    def note(self, kind: str, who: str, what: str, outcome: str, account: int | None = None) -> None:
        """Note an entry; the newest are lost where too many wait. Texts are cut to what the store has room for."""
        if len(self._notes) >= NOTES:
            self.lost += 1
            return
        self._count += 1
        entry = AuditEntry(
            id=f"{self._process}-{self._count}",
            time_ns=self._clock.wall_ns(),
            kind=kind,
            who=_fit("who", who),
            account=account,
            what=_fit("what", what),
            outcome=_fit("outcome", outcome),
        )
        self._notes.append(entry)
        self._news.set()

    async def wait(self) -> None:
        """Return once there is something. No deadline: it may be a quiet night."""
        while not self._notes:
            self._news = trio.Event()
            await self._news.wait()

    def some(self) -> list[AuditEntry]:
        """The oldest that wait; `done` says what became of them."""
        return [entry for entry, _ in zip(self._notes, range(ENTRIES_AT_ONCE), strict=False)]

    def done(self, count: int) -> None:
        """The oldest so many are safe elsewhere."""
        for _ in range(count):
            self._notes.popleft()

    def give_up(self) -> None:
        """All that wait are lost."""
        self.lost += len(self._notes)
        self._notes.clear()

    @property
    def waiting(self) -> int:
        """How many are in memory."""
        return len(self._notes)


def _fit(column: str, text: str) -> str:
    spec = TABLES["audit"].columns[column]
    if not isinstance(spec, Text):
        raise AssertionError(f"the column {column} holds no text")
    return text.encode("utf-8", "replace").decode()[: spec.limit]

"""What the actors of the chains tell of themselves, for operators and metrics. Outlives their incarnations."""

from collections.abc import Mapping
from typing import Final

from attrs import field, frozen
from attrs.validators import ge, le

from actors.world import Clock
from book.events import Withdrawal
from chains.node import BlockId
from chains.scanner import Depth, to_chain
from persistence.txstore import NewWithdrawal

# What an operator may wish for a withdrawal that is signed: a higher fee, or that it is sent once more.
BUMP, RETRY = "bump", "retry"
MAX_WISHES: Final = 1_000

MAX_DECIMALS: Final = 77  # 2**256 has no more digits


@frozen(kw_only=True)
class AssetConfig:
    """An asset on its chain, as its watcher and the chain's withdrawals see it."""

    asset: str
    chain: str
    decimals: int = field(validator=[ge(0), le(MAX_DECIMALS)])
    """Of its base unit on the chain."""
    scale: int = field(validator=[ge(0), le(9)])
    """Of the engine's unit."""
    depth: Depth
    birthday: int = field(default=0, validator=ge(0))
    """The height of the first block that is looked at; nothing was paid to the exchange before."""
    poll_seconds: float = field(default=5.0, validator=[ge(0.1), le(3600)])
    hot_address: str = ""
    """On a chain of outputs, the hot wallet's: its outputs are kept."""
    accounted_height: int = -1
    """What the hot wallet spent up to this block is accounted for, whatever the store says: it may have been lost."""

    @property
    def keep_blocks(self) -> int:
        """How many scanned blocks are remembered: as far as a walk back can go."""
        return max(100, 4 * self.depth.deepest)


def stored_withdrawal(held: Withdrawal, asset: AssetConfig) -> NewWithdrawal:
    """A withdrawal that the engine holds for, as the store keeps it."""
    return NewWithdrawal(
        id=held.withdrawal_id,
        chain=asset.chain,
        asset=held.asset,
        account=held.account,
        address=held.address,
        amount=to_chain(held.amount, asset.decimals, asset.scale),
        withdraw_order_id=held.withdraw_order_id,
        units=held.amount,
        fee_units=held.fee,
    )


@frozen(kw_only=True)
class WatcherView:
    """Where a watcher stands."""

    asset: str
    chain: str
    head: int
    """The height of the node's newest block; 0 before it has answered."""
    head_age_seconds: float
    """Since the node has shown a block that was not known."""
    scanned: int
    """The height up to which blocks were looked at; 0 before the first."""
    deepest_reorg: int
    """The most blocks that were undone at once."""
    pending: int
    validated: int
    oldest_pending_seconds: float
    """Since the oldest deposit was seen that is not credited yet; 0 if there is none."""
    fulfilled: int
    """Since the process began."""
    orphaned: int
    """Since the process began."""
    frozen: int
    """Deposits that an operator has to look at, since the process began."""
    paused: str | None
    """Why it does nothing now: what the node, the store or the engine says; None if it works."""


class WatcherState:
    """One watcher's."""

    def __init__(self, asset: str, chain: str, clock: Clock) -> None:
        self.asset = asset
        self.chain = chain
        self._clock = clock
        self._head: BlockId | None = None
        self._head_ns = clock.monotonic_ns()
        self._oldest_ns = 0
        self._waiting: Mapping[str, int] = {}
        self.scanned: BlockId | None = None
        self.deepest_reorg = 0
        self.fulfilled = 0
        self.orphaned = 0
        self.frozen = 0
        self.paused: str | None = None

    def saw(self, head: BlockId) -> None:
        """The node's newest block."""
        if head != self._head:
            self._head = head
            self._head_ns = self._clock.monotonic_ns()

    def waits(self, pending: int, validated: int, oldest_ns: int) -> None:
        """Deposits on their way; `oldest_ns` is when the first of them was seen, 0 if there is none."""
        self._waiting = {"pending": pending, "validated": validated}
        self._oldest_ns = oldest_ns

    def view(self) -> WatcherView:
        """A copy."""
        return WatcherView(
            asset=self.asset,
            chain=self.chain,
            head=0 if self._head is None else self._head.height,
            head_age_seconds=(self._clock.monotonic_ns() - self._head_ns) / 1e9,
            scanned=0 if self.scanned is None else self.scanned.height,
            deepest_reorg=self.deepest_reorg,
            pending=self._waiting.get("pending", 0),
            validated=self._waiting.get("validated", 0),
            oldest_pending_seconds=max(0, self._clock.wall_ns() - self._oldest_ns) / 1e9 if self._oldest_ns else 0.0,
            fulfilled=self.fulfilled,
            orphaned=self.orphaned,
            frozen=self.frozen,
            paused=self.paused,
        )


@frozen(kw_only=True)
class WithdrawalsView:
    """Where a chain's withdrawals stand."""

    chain: str
    states: Mapping[str, int]
    """How many are in each state that is not the last."""
    oldest_pending_seconds: float
    """Since the oldest of them was requested; 0 if there is none."""
    completed: int
    """Since the process began."""
    failed: int
    """Rejected, cancelled and failed ones, since the process began."""
    paused: str | None
    """Why nothing is sent now; None if it is."""


class WithdrawalsState:
    """One chain's."""

    def __init__(self, chain: str, clock: Clock) -> None:
        self.chain = chain
        self._clock = clock
        self._states: Mapping[str, int] = {}
        self._oldest_ns = 0
        self._wishes: dict[str, str] = {}
        self.completed = 0
        self.failed = 0
        self.paused: str | None = None

    def waits(self, states: Mapping[str, int], oldest_ns: int) -> None:
        """Withdrawals on their way; `oldest_ns` is when the first of them was requested, 0 if there is none."""
        self._states = states
        self._oldest_ns = oldest_ns

    def wish(self, withdrawal_id: str, wish: str) -> bool:
        """Have the next round do this, BUMP or RETRY; False if too much is wished for already."""
        if len(self._wishes) >= MAX_WISHES:
            return False
        self._wishes[withdrawal_id] = wish
        return True

    def take_wish(self, withdrawal_id: str) -> str | None:
        """What is wished for this withdrawal, once."""
        return self._wishes.pop(withdrawal_id, None)

    def view(self) -> WithdrawalsView:
        """A copy."""
        return WithdrawalsView(
            chain=self.chain,
            states=self._states,
            oldest_pending_seconds=max(0, self._clock.wall_ns() - self._oldest_ns) / 1e9 if self._oldest_ns else 0.0,
            completed=self.completed,
            failed=self.failed,
            paused=self.paused,
        )

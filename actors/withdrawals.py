"""A chain's withdrawals: takes them from the engine's outbox, has them signed, sends them, and sees them through.

Theory of operation. The store's row says where a withdrawal stands, and `chains.lifecycle` what comes next. A round
looks at every row that is on its way and does the next thing; it keeps nothing in memory that it could not read again.
What makes it safe is the order of things:

- A transaction is stored, with the coins or the nonce that it takes, before it goes anywhere. After a crash the stored
  bytes are sent again, which a node takes for the same transaction. Only what the store says is ever sent.
- The row alone decides whether a cancel still wins. The engine is told afterwards, as often as it takes: until its
  receipt is in the row, the row is looked at in every round.
- All variants of a withdrawal share a coin or the nonce, so at most one of them is ever mined. It is given up only when
  none can be mined any more, at depth.
- Nothing is signed while the chain is frozen, while withdrawals are paused, or before the watcher has seen the node's
  head: until then nobody knows whether somebody else has spent from the hot wallet.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import Final, Protocol

import structlog
import trio
from attrs import field, frozen
from attrs.validators import ge, le

from actors.chain_line import ChainLine
from actors.chain_state import BUMP, RETRY, AssetConfig, WithdrawalsState, stored_withdrawal
from actors.hot_wallet import HotWallet
from actors.patience import Patience
from actors.serving import serve_until
from actors.world import Clock
from book.commands import AdoptWithdrawal, ReleaseWithdrawal, SettleWithdrawal
from book.queries import WithdrawalView
from book.terms import HELD, RELEASED, SETTLED
from chains.lifecycle import WITHDRAWAL, Effect, WithdrawalEvent, WithdrawalState
from chains.node import BlockId, InBlock, InPool, Node, NodeRefused, Unknown
from chains.wallet import FeeTooHigh, NotEnough, Signed, Signer, SignerFailed, WalletError
from persistence import txstore
from persistence.txstore import ChainStore, Outpoint, WithdrawalRow, WithdrawalTx

STEP_SECONDS: Final = 60.0
# So many of each state are looked at in one round.
ROWS_PER_ROUND: Final = 200
# Of the newest that were completed, so many are compared with the engine at the start.
COMPARED: Final = 1_000
ON_THEIR_WAY: Final = ("requested", "awaiting_operator", "approved", "signed", "broadcast", "confirmed")
OFF: Final = frozenset({"rejected", "cancelled", "failed"})
BEHIND_ROUNDS: Final = 3
MAX_REASON: Final = 200

_log = structlog.get_logger("withdrawals")

_Of = WithdrawalEvent


@frozen
class Allowed:
    """It may be signed."""


@frozen
class NotYet:
    """It is judged again in the next round."""

    reason: str
    wants_operator: bool = False
    """Whether it waits for something that an operator has to do."""


@frozen
class HeldBack:
    """Operators are to decide."""

    reason: str


@frozen
class Refused:
    """It will not be paid."""

    reason: str


Judgement = Allowed | NotYet | HeldBack | Refused


class Policy(Protocol):
    """What decides about a withdrawal that was requested."""

    async def judge(self, row: WithdrawalRow) -> Judgement:
        """Whether it may pass. Raises what the store raises."""
        ...


@frozen(kw_only=True)
class WithdrawalsConfig:
    """One chain's withdrawals."""

    chain: str
    assets: Mapping[str, AssetConfig]
    coin: str
    """The asset that fees are paid in, whose watcher sees what the hot wallet does."""
    poll_seconds: float = field(default=5.0, validator=[ge(0.1), le(3600)])
    bump_seconds: float = field(default=3600.0, validator=[ge(1), le(604_800)])
    """A transaction that was not mined for so long is replaced by one with a higher fee."""


class Withdrawals:
    """Sees one chain's withdrawals through until `stop`."""

    def __init__(
        self,
        config: WithdrawalsConfig,
        *,
        nodes: Mapping[str, Node],
        store: ChainStore,
        line: ChainLine,
        wallet: HotWallet,
        signer: Signer,
        policy: Policy,
        clock: Clock,
        random: Random,
        state: WithdrawalsState,
    ) -> None:
        self._config = config
        self._nodes = nodes
        self._store = store
        self._line = line
        self._wallet = wallet
        self._signer = signer
        self._policy = policy
        self._clock = clock
        self._state = state
        self._patience = Patience(random, self._pause)
        self._taken_seq = 0
        """The last withdrawal of the outbox that is in the store."""
        self._behind = 0
        """For how many rounds the watcher has been behind the node."""
        self._idle = False
        """Whether nothing is on its way: then the store need not be asked until the outbox has something new."""

    async def run(self, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Work until `stop`; it serves from the beginning, also while what it needs is away."""
        await serve_until(stop, self._serve, task_status)

    async def _serve(self) -> None:
        await self._patience.keep_trying(self.begin)
        while True:
            await self._patience.keep_trying(self.round)
            await trio.sleep(self._config.poll_seconds)

    def _pause(self, why: str) -> None:
        _log.warning("paused", chain=self._config.chain, reason=why)
        self._state.paused = why

    async def begin(self) -> None:
        """Compare the store with the engine, either of which may have been restored from an older copy."""
        with trio.fail_after(STEP_SECONDS):
            await self._nodes[self._config.coin].check()
        with trio.fail_after(STEP_SECONDS):
            await self._compare_outbox()
        for state in ON_THEIR_WAY:
            for row in await self._rows(state):
                with trio.fail_after(STEP_SECONDS):
                    await self._adopt(row)
        with trio.fail_after(STEP_SECONDS):
            newest = await self._store.completed_withdrawals(self._config.chain, COMPARED)
        for row in newest:
            with trio.fail_after(STEP_SECONDS):
                await self._settle_again(row)

    async def round(self) -> None:
        """Look at everything once."""
        with trio.fail_after(STEP_SECONDS):
            frozen = await self._frozen()
        if frozen is not None:
            self._state.paused = frozen
            return
        with trio.fail_after(STEP_SECONDS):
            paused = await self._take_from_outbox()
            tip = await self._tip()
        idle, self._idle = self._idle, False
        if not idle:
            await self._tell_engine()
        why = paused
        self._behind = self._behind + 1 if tip is None else 0
        if tip is None:
            # For a moment that is so after every block.
            why = f"the watcher of {self._config.coin} does not catch up" if self._behind >= BEHIND_ROUNDS else paused
        elif await self._is_alone(tip) and not idle:
            why = await self._work(tip, paused) or paused
        self._idle = idle or await self._count() == 0
        self._state.paused = why

    async def _work(self, tip: BlockId, paused: str | None) -> str | None:
        """See through what is on its way; why some of it has to wait."""
        why: str | None = None
        for row in await self._rows("requested"):
            with trio.fail_after(STEP_SECONDS):
                why = await self._judge(row) or why
        if paused is None:
            for row in await self._rows("approved"):
                with trio.fail_after(STEP_SECONDS):
                    why = await self._sign(row) or why
        for state in ("signed", "broadcast"):
            for row in await self._rows(state):
                with trio.fail_after(STEP_SECONDS):
                    why = await self._see_through(row, tip) or why
        await self._tell_engine()
        return why

    async def _rows(self, state: txstore.WithdrawalState) -> list[WithdrawalRow]:
        with trio.fail_after(STEP_SECONDS):
            return await self._store.withdrawals(self._config.chain, state, ROWS_PER_ROUND)

    async def _count(self) -> int:
        """Tell what is on its way; how many withdrawals are not ended in store and engine."""
        rows = [row for state in ON_THEIR_WAY for row in await self._rows(state)]
        oldest_ns = min((row.requested_ns for row in rows), default=0)
        self._state.waits(Counter(row.state for row in rows), oldest_ns)
        with trio.fail_after(STEP_SECONDS):
            return len(rows) + len(await self._store.unsettled_withdrawals(self._config.chain, 1))

    # The chain as a whole

    async def _frozen(self) -> str | None:
        for chain in await self._store.frozen_chains():
            if chain.chain == self._config.chain:
                return f"the chain {chain.chain} is frozen: {chain.reason}"
        return None

    async def _freeze(self, reason: str) -> None:
        _log.error("the chain is frozen", chain=self._config.chain, reason=reason)
        await self._store.freeze_chain(self._config.chain, reason, self._clock.wall_ns())

    async def _tip(self) -> BlockId | None:
        """The newest block; None while the coin's watcher lags behind it, and may not know what is spent."""
        head = await self._nodes[self._config.coin].head()
        scanned = await self._store.scanned_blocks(self._config.coin, 1)
        if not scanned or scanned[0].height < head.height:
            return None
        return head if scanned[0].hash == head.hash else None

    async def _is_alone(self, tip: BlockId) -> bool:
        """Whether nobody else uses the hot wallet's key."""
        with trio.fail_after(STEP_SECONDS):
            stranger = await self._wallet.stranger(tip)
            if stranger is not None:
                await self._freeze(stranger)
        return stranger is None

    # With the engine

    async def _compare_outbox(self) -> None:
        """Compare what the engine holds for with the store.

        Where the store is new, some may be paid already: the chain is frozen. Where the engine is an older copy, some
        are off, and it is told so once more.
        """
        rows: list[WithdrawalRow | None] = []
        seq = 0
        while pending := (await self._line.outbox(self._config.chain, seq)).pending:
            rows += [await self._store.withdrawal(view.withdrawal.withdrawal_id) for view in pending]
            seq = pending[-1].withdrawal.seq
        if rows and not any(rows) and not await self._store.scanned_blocks(self._config.coin, 1):
            await self._freeze("the engine holds for withdrawals that the store has lost: look which were paid")
        for row in rows:
            if row is not None and row.state in OFF and row.receipt:
                _log.warning("the engine has lost that a withdrawal is off: it is released again", withdrawal=row.id)
                await self._line.tell(ReleaseWithdrawal(row.id, _plain(row.reason or row.state)))

    async def _take_from_outbox(self) -> str | None:
        """Store what is new; why nothing is to be signed, if so."""
        while True:
            outbox = await self._line.outbox(self._config.chain, self._taken_seq)
            for view in outbox.pending:
                held = view.withdrawal
                await self._store.request_withdrawal(
                    stored_withdrawal(held, self._config.assets[held.asset]), self._clock.wall_ns()
                )
                self._taken_seq = held.seq
                self._idle = False
            if not outbox.pending:
                return "withdrawals are paused by an operator" if outbox.paused else None

    async def _adopt(self, row: WithdrawalRow) -> None:
        """Have the engine hold for what an older copy of it does not know."""
        if await self._line.withdrawal(row.id) is not None:
            return
        if WITHDRAWAL.step(WithdrawalState(row.state), _Of.CANCEL).effect is not Effect.TOO_LATE:
            _log.warning("the engine has lost a withdrawal that was not signed: it is off", withdrawal=row.id)
            await self._store.reject_withdrawal(row.id, "the engine does not know it", self._clock.wall_ns())
            return
        _log.warning("the engine has lost a withdrawal: it holds for it again", withdrawal=row.id)
        adopt = AdoptWithdrawal(
            row.id, row.account, row.withdraw_order_id, row.asset, row.address, row.units, row.fee_units
        )
        answer = await self._line.tell(adopt)
        if await self._line.withdrawal(row.id) is None:
            await self._freeze(f"the engine does not hold for the withdrawal {row.id}, which may be paid: {answer!r}")

    async def _settle_again(self, row: WithdrawalRow) -> None:
        """Have the engine know that one is paid, where an older copy of it does not."""
        view = await self._line.withdrawal(row.id)
        if view is None:
            await self._adopt(row)
            view = await self._line.withdrawal(row.id)
        if view is not None and view.withdrawal.state == HELD:
            _log.warning("the engine has lost that a withdrawal was paid: it is settled again", withdrawal=row.id)
            await self._line.tell(SettleWithdrawal(row.id, row.txid))

    async def _tell_engine(self) -> None:
        """Settle and release what the store has decided."""
        for row in await self._rows("confirmed"):
            with trio.fail_after(STEP_SECONDS):
                await self._settle(row)
        with trio.fail_after(STEP_SECONDS):
            off = await self._store.unsettled_withdrawals(self._config.chain, ROWS_PER_ROUND)
        for row in off:
            with trio.fail_after(STEP_SECONDS):
                await self._release(row)

    async def _settle(self, row: WithdrawalRow) -> None:
        await self._line.tell(SettleWithdrawal(row.id, row.txid))
        view = await self._line.withdrawal(row.id)
        if view is None or view.withdrawal.state != SETTLED:
            await self._freeze(f"the withdrawal {row.id} was paid by {row.txid}, and the engine says {_says(view)}")
        elif await self._store.complete_withdrawal(row.id, view.receipt, self._clock.wall_ns()):
            self._state.completed += 1

    async def _release(self, row: WithdrawalRow) -> None:
        await self._line.tell(ReleaseWithdrawal(row.id, _plain(row.reason or row.state)))
        view = await self._line.withdrawal(row.id)
        if view is not None and view.withdrawal.state != RELEASED:
            await self._freeze(f"the withdrawal {row.id} is {row.state}, and the engine says {_says(view)}")
        else:
            # An engine that was restored from an older copy may not know it: then it holds nothing for it.
            receipt = "none" if view is None else view.receipt
            if await self._store.release_withdrawal(row.id, receipt, self._clock.wall_ns()):
                self._state.failed += 1

    # With the hot wallet

    async def _judge(self, row: WithdrawalRow) -> str | None:
        """Let the policy decide; what an operator has to do first, if anything."""
        judgement = await self._policy.judge(row)
        now_ns = self._clock.wall_ns()
        match judgement:
            case Allowed():
                await self._store.approve_withdrawal(row.id, now_ns)
            case NotYet():
                return f"the withdrawal {row.id} waits: {judgement.reason}" if judgement.wants_operator else None
            case HeldBack():
                await self._store.hold_withdrawal(row.id, judgement.reason, now_ns)
            case Refused():
                await self._store.reject_withdrawal(row.id, judgement.reason, now_ns)
        return None

    async def _sign(self, row: WithdrawalRow) -> str | None:
        """Have an approved one signed and store that; why it has to wait, if it has."""
        view = await self._line.withdrawal(row.id)
        if view is None or view.withdrawal.state != HELD:
            await self._freeze(f"the withdrawal {row.id} is approved, and the engine says {_says(view)}")
            return None
        if view.blocked:
            return f"the withdrawal {row.id} waits: {view.blocked}"
        try:
            signed = await self._signer.sign(await self._wallet.plan(row))
        except (NotEnough, FeeTooHigh, SignerFailed, NodeRefused) as error:
            return f"the withdrawal {row.id} waits: {error}"
        except WalletError as error:
            await self._store.reject_withdrawal(row.id, str(error)[:MAX_REASON], self._clock.wall_ns())
            return None
        await self._store.sign_withdrawal(self._tx(row, signed))
        return None

    def _tx(self, row: WithdrawalRow, signed: Signed) -> WithdrawalTx:
        return WithdrawalTx(
            withdrawal_id=row.id,
            txid=signed.txid,
            raw=signed.raw,
            fee=signed.fee,
            inputs=tuple(Outpoint(output.txid, output.n) for output in signed.inputs),
            sender="" if signed.nonce is None else self._signer.address,
            nonce=signed.nonce,
            signed_ns=self._clock.wall_ns(),
        )

    # With the node

    async def _see_through(self, row: WithdrawalRow, tip: BlockId) -> str | None:
        """Do what a signed one needs next; why it waits, if for more than miners."""
        txs = await self._store.withdrawal_txs(row.id)
        node = self._nodes[row.asset]
        places = [await node.place_of(tx.txid) for tx in txs]
        for tx, place in zip(txs, places, strict=True):
            if isinstance(place, InBlock):
                if place.succeeded and await self._is_deep(row, place.block, tip):
                    await self._store.confirm_withdrawal(row.id, tx.txid, _stored(place.block), self._clock.wall_ns())
                if place.succeeded:
                    return None
        if await self._wallet.is_dead(txs, tip):
            return await self._give_up(row, places)
        wish = self._state.take_wish(row.id)
        if row.state == "signed" or isinstance(places[-1], Unknown) or wish == RETRY:
            return await self._send(row, txs[-1])
        if wish == BUMP or self._clock.wall_ns() - txs[-1].signed_ns >= self._config.bump_seconds * 1e9:
            return await self._bump(row, txs)
        return None

    async def _is_deep(self, row: WithdrawalRow, block: BlockId, tip: BlockId) -> bool:
        if not self._config.assets[row.asset].depth.reached(row.units, block.height, tip.height):
            return False
        return await self._nodes[row.asset].hash_at(block.height) == block.hash

    async def _send(self, row: WithdrawalRow, tx: WithdrawalTx) -> str | None:
        try:
            await self._nodes[row.asset].broadcast(tx.raw, tx.txid)
        except NodeRefused as error:
            return f"the node does not take the transaction {tx.txid} of the withdrawal {row.id}: {error}"
        await self._store.broadcast_withdrawal(row.id, self._clock.wall_ns())
        return None

    async def _bump(self, row: WithdrawalRow, txs: Sequence[WithdrawalTx]) -> str | None:
        """Replace one that is not mined."""
        try:
            signed = await self._signer.sign(await self._wallet.replacement(row, txs))
        except WalletError as error:
            return f"the withdrawal {row.id} is not mined, and not replaced: {error}"
        _log.warning("a withdrawal is not mined: it is sent with a higher fee", withdrawal=row.id, txid=signed.txid)
        await self._store.replace_withdrawal_tx(self._tx(row, signed))
        return None

    async def _give_up(self, row: WithdrawalRow, places: Sequence[InBlock | InPool | Unknown]) -> str | None:
        """None of its transactions can be mined any more, or one was and failed."""
        failed = any(isinstance(place, InBlock) for place in places)
        if not failed:
            await self._freeze(f"what the withdrawal {row.id} was to spend was spent by a transaction that is not ours")
        reason = "its transaction was mined and failed" if failed else "what it was to spend was spent otherwise"
        await self._store.fail_withdrawal(row.id, reason, self._clock.wall_ns())
        return None


def _says(view: WithdrawalView | None) -> str:
    if view is None:
        return "that it does not know it"
    return {HELD: "that it is held for", SETTLED: "that it is settled", RELEASED: "that it is released"}[
        view.withdrawal.state
    ]


def _stored(block: BlockId) -> txstore.BlockId:
    return txstore.BlockId(block.height, block.hash)


def _plain(reason: str) -> str:
    """A reason as the engine takes it."""
    return reason.encode("ascii", "replace").decode()[:MAX_REASON]

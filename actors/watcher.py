"""A watcher: follows one asset on its chain, and has what it pays to our addresses credited.

Theory of operation. A round looks at the node's head, walks the blocks that it has not seen, and has deposits credited
that are deep enough. What a block means is stored in one transaction with the block itself, so the scan begins exactly
where the store ends, whatever happened in between; nothing is kept in memory that a round could not read again, and
after a failure it does. Decisions are `chains.scanner`'s and `chains.lifecycle`'s; here are the awaits between them.

A credit needs all of this: its block was scanned, lies at the depth for its amount, and was found on the node's best
chain again just now. The row says `validated` before the engine is told. If the answer is lost, the same command is
sent again: the engine knows every deposit by its id and credits it once.

When the best chain leaves blocks behind, the engine is asked for the receipt of every deposit in them before anything
is forgotten. One that was credited stays so, and the chain is frozen; as it is after any reorganisation that is deeper
than the depth. A frozen chain waits for an operator. A node, store or engine that is away pauses the watcher alone.
"""

from collections.abc import Sequence
from random import Random
from typing import Final

import structlog
import trio

from actors.chain_line import ChainLine
from actors.chain_state import AssetConfig, WatcherState
from actors.mailbox import Faulted
from actors.owners import Owners
from actors.patience import Patience
from actors.serving import serve_until
from actors.world import Clock
from book.commands import CreditDeposit
from book.events import Rejected
from book.queries import DepositReceiptView
from chains import scanner
from chains.lifecycle import DEPOSIT, DepositEvent, DepositState, Effect
from chains.node import Block, BlockId, Node, NodeUnavailable, Outpoint
from chains.scanner import Beyond, Converted, Extends, Fork, NeedsParent, Trail, Verdict
from persistence import txstore
from persistence.txstore import (
    MAX_ROWS,
    ChainStore,
    DepositKey,
    DepositRow,
    NewDeposit,
    ScanBlock,
    Scanned,
    Spent,
    Utxo,
)

# One block or one batch of credits; a node that reads a big block from a disk takes seconds.
STEP_SECONDS: Final = 60.0
# Before deposits are looked at again.
BLOCKS_PER_ROUND: Final = 20
CREDITS_AT_ONCE: Final = 200
# Scanned blocks that are too old for any walk back are forgotten so many at a time.
FORGET_BLOCKS: Final = 50
# Of the newest deposits, so many are compared with the engine at the start: see `_offer_again`.
OFFERED: Final = 500

# Why the engine may refuse a credit that it will take later.
LATER: Final = frozenset({"ASSET_FROZEN"})
# Those that have something to lose with their block.
OPEN: Final = frozenset({"pending", "validated"})
# The receipt of a deposit that is less than the engine's smallest unit.
DUST: Final = "dust"

_log = structlog.get_logger("watcher")

_On = DepositEvent


class Watcher:
    """Follows one asset until `stop`."""

    def __init__(
        self,
        config: AssetConfig,
        *,
        node: Node,
        store: ChainStore,
        line: ChainLine,
        owners: Owners,
        clock: Clock,
        random: Random,
        state: WatcherState,
    ) -> None:
        self._config = config
        self._node = node
        self._store = store
        self._line = line
        self._owners = owners
        self._clock = clock
        self._state = state
        self._patience = Patience(random, self._pause)
        self._trail = Trail()
        self._coins: set[Outpoint] = set()
        self._unsure = True
        """Whether memory may differ from the store: at first, and after a failure."""
        self._froze: str | None = None
        """Why the chain is frozen, as far as this round knows."""
        self._looked_at: BlockId | None = None
        """The end of the trail when deposits were last looked at and nothing was left to do."""

    async def run(self, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Watch until `stop`; it serves from the beginning, also while what it needs is away."""
        await serve_until(stop, self._serve, task_status)

    async def _serve(self) -> None:
        await self._patience.keep_trying(self.begin)
        while True:
            if not await self._patience.keep_trying(self.round):
                await trio.sleep(self._config.poll_seconds)

    def _pause(self, why: str) -> None:
        _log.warning("paused", asset=self._config.asset, reason=why)
        self._state.paused = why

    async def begin(self) -> None:
        """Make sure of the node, and compare the store with the engine, which may be restored from an older copy."""
        with trio.fail_after(STEP_SECONDS):
            await self._node.check()
        with trio.fail_after(STEP_SECONDS):
            await self._offer_again()

    async def round(self) -> bool:
        """Look once; whether there is more to do at once."""
        if self._unsure:
            await self._load()
        self._unsure = True
        more = False
        self._froze = await self._frozen()
        if self._froze is None:
            with trio.fail_after(STEP_SECONDS):
                head = await self._node.head()
            self._state.saw(head)
            more = await self._scan(head)
            if self._froze is None:
                await self._credit(head)
        self._unsure = False
        self._state.paused = self._froze
        return more

    async def _frozen(self) -> str | None:
        """Why an operator has to look at the chain first."""
        with trio.fail_after(STEP_SECONDS):
            for frozen in await self._store.frozen_chains():
                if frozen.chain == self._config.chain:
                    return f"the chain {frozen.chain} is frozen: {frozen.reason}"
        return None

    async def _freeze(self, reason: str) -> None:
        _log.error("the chain is frozen", chain=self._config.chain, asset=self._config.asset, reason=reason)
        await self._store.freeze_chain(self._config.chain, f"{self._config.asset}: {reason}", self._clock.wall_ns())
        self._froze = f"the chain {self._config.chain} is frozen: {reason}"

    async def _load(self) -> None:
        """Read where the scan stands."""
        with trio.fail_after(STEP_SECONDS):
            blocks = await self._store.scanned_blocks(self._config.asset, self._config.keep_blocks)
            self._trail = Trail(tuple(BlockId(block.height, block.hash) for block in reversed(blocks)))
            if self._config.hot_address:
                coins = await self._store.utxos(self._config.asset)
                self._coins = {Outpoint(coin.output.txid, coin.output.n) for coin in coins}
        self._trail.check()
        self._state.scanned = self._trail.end
        self._looked_at = None

    # Scanning

    async def _scan(self, head: BlockId) -> bool:
        """Walk blocks, not too many; whether there are more."""
        for _ in range(BLOCKS_PER_ROUND):
            height = scanner.next_height(self._trail, head, self._config.birthday)
            if height is None:
                return False
            with trio.fail_after(STEP_SECONDS):
                if not await self._step(height):
                    return False
        return True

    async def _step(self, height: int) -> bool:
        """Look at the best chain's block of this height; False if it is nothing new, or everything stops here."""
        block_hash = await self._node.hash_at(height)
        if block_hash is None:
            return False
        block = await self._fetch(block_hash)
        if block.id.height != height:
            raise NodeUnavailable(
                f"{self._config.asset}: block {block_hash} has height {block.id.height}, not {height}"
            )
        verdict = await self._follow([block])
        match verdict:
            case Extends():
                return await self._take(verdict.block)
            case Fork():
                return await self._go_back(verdict)
            case Beyond():
                await self._freeze(
                    f"the chain has changed below height {verdict.height}, farther back than is remembered"
                )
                await self._forget_above(self._config.birthday - 1)
        return False

    async def _fetch(self, block_hash: str) -> Block:
        block = await self._node.block(block_hash)
        if block.id.hash != block_hash:
            raise NodeUnavailable(f"{self._config.asset}: asked for block {block_hash}, got {block.id.hash}")
        return block

    async def _follow(self, walked: list[Block]) -> Verdict:
        """What the block says about the trail, after a walk back by parents where that is needed."""
        while isinstance(verdict := scanner.connect(self._trail, walked), NeedsParent):
            parent = await self._fetch(verdict.hash)
            if not scanner.is_linked(walked[-1], parent):
                raise NodeUnavailable(f"{self._config.asset}: block {parent.id} is not the parent of {walked[-1].id}")
            walked.append(parent)
        return verdict

    async def _take(self, block: Block) -> bool:
        """Store the block and all that it means to us."""
        config = self._config
        # Only now: whoever paid in this block has been told the address before.
        owners = await self._owners.known()
        spent = [Spent(_stored(spend.output), spend.txid) for spend in block.spends if spend.output in self._coins]
        looked_at = block.id.height <= config.accounted_height
        foreign = [spend.txid for spend in spent if not looked_at and not await self._is_ours(spend.txid)]
        if foreign:
            await self._freeze(
                f"the hot wallet was spent by {foreign[0]} in block {block.id.height}, which is not ours"
            )
        received = [
            Utxo(
                asset=config.asset,
                output=txstore.Outpoint(payment.txid, payment.n),
                address=payment.address,
                amount=payment.amount,
                height=block.id.height,
            )
            for payment in block.payments
            if config.hot_address and payment.address == config.hot_address and payment.amount > 0
        ]
        found = [
            NewDeposit(
                key=DepositKey(config.chain, each.payment.txid, each.payment.n),
                asset=config.asset,
                account=each.account,
                address=each.payment.address,
                amount=each.payment.amount,
            )
            for each in scanner.deposits(block, owners)
        ]
        scanned = Scanned(
            block=ScanBlock(config.asset, block.id.height, block.id.hash, block.parent),
            deposits=found,
            received=received,
            spent=spent,
        )
        await self._store.add_block(scanned, self._clock.wall_ns())
        self._trail = self._trail.extended(block.id, config.keep_blocks)
        self._coins -= {Outpoint(each.output.txid, each.output.n) for each in spent}
        self._coins |= {Outpoint(utxo.output.txid, utxo.output.n) for utxo in received}
        self._state.scanned = block.id
        if block.id.height % FORGET_BLOCKS == 0:
            await self._store.forget_old_blocks(config.asset, block.id.height - config.keep_blocks)
        return not foreign

    async def _is_ours(self, txid: str) -> bool:
        """Whether the hot wallet spends by this transaction for a withdrawal that has not been given up."""
        tx = await self._store.withdrawal_tx(self._config.chain, txid)
        row = None if tx is None else await self._store.withdrawal(tx.withdrawal_id)
        return row is not None and row.state != "failed"

    async def _go_back(self, fork: Fork) -> bool:
        """Undo the blocks that left the best chain."""
        _log.warning("the chain was reorganised", asset=self._config.asset, depth=fork.depth, ancestor=fork.ancestor)
        self._state.deepest_reorg = max(self._state.deepest_reorg, fork.depth)
        deep = fork.depth > self._config.depth.blocks
        if deep:
            await self._freeze(f"{fork.depth} blocks above height {fork.ancestor.height} have left the best chain")
        await self._forget_above(fork.ancestor.height)
        return not deep

    async def _forget_above(self, height: int) -> None:
        """Undo every block above this height, deposits first; then read again where the scan stands."""
        while True:
            rows = await self._store.deposits_above(self._config.asset, height)
            await self._gone(rows)
            if not any(row.state in OPEN for row in rows):
                break
        await self._store.retreat(self._config.asset, height)
        await self._load()

    async def _gone(self, rows: Sequence[DepositRow]) -> None:
        """These deposits' blocks have left the best chain: the engine says what that means."""
        receipts = await self._line.receipts([row.key.id for row in rows])
        for row in rows:
            receipt = receipts.get(row.key.id)
            await self._happens(row, _On.GONE if receipt is None else _On.GONE_CREDITED, receipt=receipt)

    # Crediting

    async def _credit(self, head: BlockId) -> None:
        """Have credited what is deep enough."""
        end = self._trail.end
        if end is None or end == self._looked_at:
            return
        tip = min(end.height, head.height)
        with trio.fail_after(STEP_SECONDS):
            waiting = [
                *await self._store.deposits(self._config.asset, "validated"),
                *await self._store.deposits(self._config.asset, "pending"),
            ]
        validated = sum(row.state == "validated" for row in waiting)
        due = [row for row in waiting if self._config.depth.reached(self._units(row).amount, row.height, tip)]
        for begin in range(0, len(due), CREDITS_AT_ONCE):
            with trio.fail_after(STEP_SECONDS):
                await self._credit_some(due[begin : begin + CREDITS_AT_ONCE])
        oldest_ns = min((row.seen_ns for row in waiting), default=0)
        self._state.waits(len(waiting) - validated, validated, oldest_ns)
        if not due and len(waiting) < MAX_ROWS:
            self._looked_at = end

    async def _credit_some(self, rows: Sequence[DepositRow]) -> None:
        """Have these credited, if their blocks are still where they were."""
        hashes = {height: await self._node.hash_at(height) for height in sorted({row.height for row in rows})}
        deep = [row for row in rows if hashes[row.height] == row.block_hash]
        await self._gone([row for row in rows if self._has_vanished(row, hashes[row.height])])
        for row in deep:
            await self._happens(row, _On.DEEP)
        whole = [row for row in deep if self._units(row).amount]
        outcomes = await self._line.credit(
            [CreditDeposit(row.key.id, row.account, row.asset, self._units(row).amount) for row in whole]
        )
        receipts = await self._line.receipts([row.key.id for row in whole])
        for row, outcome in zip(whole, outcomes, strict=True):
            receipt = receipts.get(row.key.id)
            if receipt is not None and _is_for(receipt, row, self._units(row).amount):
                await self._happens(row, _On.CREDITED, receipt=receipt, from_state=DepositState.VALIDATED)
            elif not isinstance(outcome, Rejected) or outcome.reason not in LATER:
                reason = _why(outcome)
                await self._happens(row, _On.REFUSED, reason=reason, from_state=DepositState.VALIDATED)
        for row in deep:
            if not self._units(row).amount:
                await self._happens(row, _On.CREDITED, from_state=DepositState.VALIDATED)

    def _has_vanished(self, row: DepositRow, block_hash: str | None) -> bool:
        """Whether a row's block is not on the best chain, and the scan will not come by and find that out."""
        known = self._trail.at(row.height)
        return block_hash not in (None, row.block_hash) and (known is None or known.hash == block_hash)

    async def _happens(
        self,
        row: DepositRow,
        event: DepositEvent,
        *,
        receipt: DepositReceiptView | None = None,
        reason: str = "",
        from_state: DepositState | None = None,
    ) -> None:
        """Do what the table says. Freezing comes first, so that no crash forgets it."""
        step = DEPOSIT.step(from_state or DepositState(row.state), event)
        if step.effect is Effect.ALARM:
            await self._freeze(f"the deposit {row.key.id} is {row.state} and was {event.value}")
        if step.effect is Effect.FREEZE_CHAIN:
            await self._freeze(f"the deposit {row.key.id} was credited, and its block has left the best chain")
        if step.effect not in (Effect.ALARM, Effect.ALREADY):
            await self._store_step(row, event, receipt, reason)

    async def _store_step(
        self, row: DepositRow, event: DepositEvent, receipt: DepositReceiptView | None, reason: str
    ) -> None:
        """The table's step in the store; each is safe to repeat."""
        store, now_ns = self._store, self._clock.wall_ns()
        match event:
            case _On.DEEP:
                await store.validate_deposit(row.key, txstore.BlockId(row.height, row.block_hash), now_ns)
            case _On.CREDITED | _On.GONE_CREDITED:
                amount = receipt.amount if receipt is not None else 0
                dust = self._units(row).dust
                if await store.fulfil_deposit(row.key, amount, receipt.receipt if receipt else DUST, dust, now_ns):
                    self._state.fulfilled += 1
            case _On.REFUSED:
                _log.error("a deposit is frozen", deposit=row.key.id, reason=reason)
                if await store.freeze_deposit(row.key, reason, now_ns):
                    self._state.frozen += 1
            case _On.GONE:
                if await store.orphan_deposit(row.key, row.block_hash, now_ns):
                    self._state.orphaned += 1
            case _On.UNCREDITED:
                await store.unfulfil_deposit(row.key, row.receipt, now_ns)
            case _:
                raise AssertionError(f"{event} is not for a watcher")

    def _units(self, row: DepositRow) -> Converted:
        return scanner.to_engine(row.amount, self._config.decimals, self._config.scale)

    async def _offer_again(self) -> None:
        """Find deposits that an engine restored from a copy has lost, newest first, until it knows all of a page."""
        limit = OFFERED
        while True:
            rows = await self._store.deposits_above(self._config.asset, -1, limit)
            credited = [row for row in rows if row.state == "fulfilled" and row.receipt != DUST]
            receipts = await self._line.receipts([row.key.id for row in credited])
            lost = [row for row in credited if row.key.id not in receipts]
            for row in lost:
                _log.warning("the engine has lost a credit: it is offered again", deposit=row.key.id)
                await self._happens(row, _On.UNCREDITED)
            if not lost or len(rows) < limit:
                return
            if limit == MAX_ROWS:
                await self._freeze(f"the engine has lost so many credits that not all of them were found: {limit}")
                return
            limit = min(10 * limit, MAX_ROWS)


def _is_for(receipt: DepositReceiptView, row: DepositRow, amount: int) -> bool:
    """Whether the engine has credited exactly this."""
    return (receipt.account, receipt.asset, receipt.amount) == (row.account, row.asset, amount)


def _why(outcome: object) -> str:
    """What an operator reads where a credit did not happen."""
    if isinstance(outcome, Rejected):
        return f"the engine refused it: {outcome.reason} {outcome.field}".strip()
    if isinstance(outcome, Faulted):
        return f"the engine failed on it: {outcome}"
    return "the engine has another credit under its id"


def _stored(output: Outpoint) -> txstore.Outpoint:
    return txstore.Outpoint(output.txid, output.n)

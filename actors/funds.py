"""What clients ask of deposits and withdrawals that the store of chain transactions knows the answer to.

The engine says what there is and whose, the store how far it has come. Whether a withdrawal may still be called off is
decided by its row in the store alone; the engine is told afterwards, and again by the chain's withdrawals actor until
it has answered.

The store may be slow or away, and trading does not wait for it: an answer that does not come in time is 'outcome
unknown', and only so many questions are with the store at once.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog
import trio
from attrs import field, frozen
from attrs.validators import and_, ge, le
from msgspec import UNSET

from actors import results, wire
from actors.chain_addresses import ChainAddresses
from actors.chain_state import AssetConfig, stored_withdrawal
from actors.mailbox import NotDone, OutcomeUnknown
from actors.requests import Outcome, Request
from actors.wire import RefusedError
from actors.world import Clock
from book import queries
from book.codes import SERVER_BUSY, TIMEOUT, WITHDRAWAL_REJECTED
from book.commands import ReleaseWithdrawal
from book.decimals import format_units
from book.events import Rejected, Withdrawal
from book.terms import HELD, NS_PER_MS, RELEASED, SETTLED
from chains.scanner import to_engine
from persistence.txstore import ChainStore, DepositRow, StoreConflict, StoreError, WithdrawalRow

# Of a history, what is looked through.
NEWEST: Final = 1_000
BY_ITS_OWNER: Final = "cancelled by its owner"

_log = structlog.get_logger("funds")

AskEngine = Callable[[Request], Awaitable[Outcome]]


@frozen(kw_only=True)
class FundsConfig:
    """How long clients wait for the store."""

    seconds: float = field(default=2.0, validator=and_(ge(0.01), le(60.0)))
    """For an answer that needs the store; then it is -1007, and those behind it go on."""
    at_once: int = field(default=32, validator=and_(ge(1), le(10_000)))
    """Questions of all clients that are with the store together."""


class Funds:
    """Answers what needs the store, for all sessions.

    Args:
        store: The store of chain transactions.
        chains: The assets that can be paid in and out.
        assets: What is configured of each asset that is on a chain, by name.
        clock: For the times of what is stored.
    """

    def __init__(
        self,
        config: FundsConfig,
        store: ChainStore,
        chains: ChainAddresses,
        assets: Mapping[str, AssetConfig],
        clock: Clock,
    ) -> None:
        self._config = config
        self._store = store
        self._chains = chains
        self._assets = assets
        self._clock = clock
        self._places = trio.CapacityLimiter(config.at_once)

    async def answer(self, request: wire.StoreRequest, account: int, ask: AskEngine) -> results.Result:
        """The answer, within the configured time.

        Args:
            request: What the client asks.
            account: Who asks; it may.
            ask: Asks the engine one thing, and waits for what is durable.

        Raises:
            RefusedError: there is none; or it did not come in time, and nothing is known of it.
        """
        with trio.move_on_after(self._config.seconds):
            try:
                async with self._places:
                    return await self._answer(request, account, ask)
            except StoreConflict as error:
                raise AssertionError(f"a conflict that nobody expects: {error}") from error
            except StoreError as error:
                _log.warning("the store does not answer a client", reason=str(error))
                raise RefusedError(TIMEOUT, "the store of chain transactions is away; ask again later") from None
        raise RefusedError(
            TIMEOUT,
            f"the store of chain transactions did not answer within {self._config.seconds:g} s; "
            "of a withdrawal, ask by its withdrawOrderId",
        )

    async def _answer(self, request: wire.StoreRequest, account: int, ask: AskEngine) -> results.Result:
        match request:
            case wire.DepositHistory():
                return await self._deposits(request, account)
            case wire.WithdrawHistory():
                return await self._withdrawals(request, account, ask)
            case wire.WithdrawStatus():
                held = await self._named(account, request.params.withdraw_order_id, ask)
                return self._withdrawal(held, await self._store.withdrawal(held.withdrawal_id))
            case wire.WithdrawCancel():
                return await self._cancel(request, account, ask)

    # Deposits

    async def _deposits(self, request: wire.DepositHistory, account: int) -> results.Deposits:
        params = request.params
        if params.asset:
            self._chains.asset(params.asset)
        rows = await self._store.deposits_of(account, NEWEST)
        wanted = [row for row in rows if params.asset in {"", row.asset}][: params.limit]
        return results.Deposits([self._deposit(row) for row in reversed(wanted)])

    def _deposit(self, row: DepositRow) -> results.DepositInfo:
        return results.DepositInfo(
            row.key.id,
            row.asset,
            row.address,
            self._units(row.asset, row.amount),
            row.state.upper(),
            row.key.txid,
            row.height,
            row.receipt or UNSET,
            row.seen_ns // NS_PER_MS,
            row.updated_ns // NS_PER_MS,
        )

    def _units(self, name: str, amount: int) -> str:
        asset = self._assets[name]
        return format_units(to_engine(amount, asset.decimals, asset.scale).amount, asset.scale)

    # Withdrawals

    async def _withdrawals(self, request: wire.WithdrawHistory, account: int, ask: AskEngine) -> results.Withdrawals:
        params = request.params
        if params.asset:
            self._chains.asset(params.asset)
        outcome = await ask(queries.AccountWithdrawals(account, NEWEST))
        if not isinstance(outcome, list):
            raise _undone(outcome)
        known = [held for held in outcome if isinstance(held, Withdrawal) and params.asset in {"", held.asset}]
        rows = {row.id: row for row in await self._store.withdrawals_of(account, NEWEST)}
        shown = [self._withdrawal(held, rows.get(held.withdrawal_id)) for held in known[: params.limit]]
        return results.Withdrawals(shown[::-1])

    async def _cancel(self, request: wire.WithdrawCancel, account: int, ask: AskEngine) -> results.WithdrawalInfo:
        held = await self._named(account, request.params.withdraw_order_id, ask)
        if held.state != HELD:
            raise _too_late(held)
        now_ns = self._clock.wall_ns()
        try:
            # It may not be there yet; whoever comes second finds it as it is.
            await self._store.request_withdrawal(stored_withdrawal(held, self._assets[held.asset]), now_ns)
            await self._store.cancel_withdrawal(held.withdrawal_id, BY_ITS_OWNER, now_ns)
        except StoreConflict:
            raise _too_late(held) from None
        # Whatever becomes of this, the row is cancelled, and the chain's withdrawals actor says it again.
        await ask(ReleaseWithdrawal(held.withdrawal_id, BY_ITS_OWNER))
        held = await self._named(account, request.params.withdraw_order_id, ask)
        return self._withdrawal(held, await self._store.withdrawal(held.withdrawal_id))

    async def _named(self, account: int, withdraw_order_id: str, ask: AskEngine) -> Withdrawal:
        outcome = await ask(queries.WithdrawalStatus(account, withdraw_order_id))
        if isinstance(outcome, queries.WithdrawalView):
            return outcome.withdrawal
        if isinstance(outcome, Rejected):
            raise RefusedError(
                WITHDRAWAL_REJECTED,
                "the account has no withdrawal of this withdrawOrderId",
                reason="UNKNOWN_WITHDRAWAL",
            )
        raise _undone(outcome)

    def _withdrawal(self, held: Withdrawal, row: WithdrawalRow | None) -> results.WithdrawalInfo:
        scale = self._chains.assets[held.asset].scale
        return withdrawal_info(held, scale, row)


def withdrawal_info(held: Withdrawal, scale: int, row: WithdrawalRow | None) -> results.WithdrawalInfo:
    """A withdrawal as its owner sees it; `row` is the store's, if it is there already."""
    return results.WithdrawalInfo(
        held.withdraw_order_id,
        held.withdrawal_id,
        held.asset,
        held.address,
        format_units(held.amount, scale),
        format_units(held.fee, scale),
        _status(held, row),
        UNSET if row is None else row.txid or UNSET,
        UNSET if row is None else row.reason or UNSET,
        held.requested_ns // NS_PER_MS,
        (held.requested_ns if row is None else row.updated_ns) // NS_PER_MS,
    )


def _status(held: Withdrawal, row: WithdrawalRow | None) -> str:
    if row is not None:
        return row.state.upper()
    return {HELD: "REQUESTED", SETTLED: "COMPLETED", RELEASED: "CANCELLED"}[held.state]


def _too_late(held: Withdrawal) -> RefusedError:
    ended = {SETTLED: "it is paid", RELEASED: "it is off already"}.get(held.state, "it is signed, or decided")
    return RefusedError(WITHDRAWAL_REJECTED, f"too late to cancel this withdrawal: {ended}", reason="TOO_LATE")


def _undone(outcome: Outcome) -> RefusedError:
    if isinstance(outcome, NotDone):
        return RefusedError(SERVER_BUSY, "the exchange is busy; this was not done and may be tried again")
    if isinstance(outcome, OutcomeUnknown):
        return RefusedError(TIMEOUT, "the outcome is unknown; ask again")
    raise AssertionError(f"the engine answered {outcome!r} about withdrawals")

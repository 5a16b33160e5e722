"""What operators can do to deposits, withdrawals and balances. Where two have to agree, the same one twice is refused.

A deposit or withdrawal is decided upon in the store of chain transactions alone; the actors of its chain see what
became of it, and tell the engine.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar, get_args

import trio
from attrs import Factory, frozen

from actors.account_commands import account_of
from actors.admin_command import AdminCommand, BadCall
from actors.chain_state import BUMP, RETRY, AssetConfig, WithdrawalsState
from actors.engine_line import EngineLine
from actors.explaining import why_refused
from actors.listings import units
from actors.reconciling import Owed, Wallets, look, shown
from actors.requests import Done
from actors.world import Clock, Entropy
from book.commands import AdjustBalance, PauseWithdrawals
from book.decimals import format_units
from book.definitions import Asset
from book.events import Adjusted, Rejected
from book.ledger import HOUSE
from book.queries import Balances, DirectoryView, Info, InfoView
from book.terms import NS_PER_MS
from chains.node import ChainError
from chains.scanner import to_engine
from persistence.txstore import (
    ChainStore,
    DepositKey,
    DepositRow,
    DepositState,
    StoreConflict,
    StoreError,
    WithdrawalRow,
    WithdrawalState,
)

OPERATORS_NEEDED: Final = 2
LISTED: Final = 1_000
# An adjustment that one operator has proposed waits so long for the other; so many do.
PROPOSAL_SECONDS: Final = 3_600.0
MAX_PROPOSALS: Final = 100
ADJUSTMENT_ID_BYTES: Final = 8
ON_THEIR_WAY: Final = ("requested", "awaiting_operator", "approved", "signed", "broadcast", "confirmed")
SIGNED: Final = frozenset({"signed", "broadcast"})

V = TypeVar("V")


@frozen(kw_only=True)
class Money:
    """The chains and their store, as far as operators have to do with them; all empty where there are none."""

    store: ChainStore | None = None
    assets: Mapping[str, AssetConfig] = Factory(dict)
    wallets: Mapping[str, Wallets] = Factory(dict)
    """By chain."""
    withdrawals: Mapping[str, WithdrawalsState] = Factory(dict)
    """What the withdrawals actors tell and are told, by chain."""


@frozen
class _Proposal:
    """An adjustment that waits for a second operator."""

    words: tuple[str, ...]
    operator: str
    until: float


class MoneyCommands:
    """The commands of the groups `deposit`, `withdrawal` and `withdrawals`, `ledger.adjust` and `reconcile`.

    Args:
        engine: Who holds the balances.
        money: The chains and their store.
        clock: For the times of what is stored.
        entropy: For the ids of adjustments that are given none.
    """

    def __init__(self, engine: EngineLine, money: Money, clock: Clock, entropy: Entropy) -> None:
        self._engine = engine
        self._money = money
        self._clock = clock
        self._entropy = entropy
        self._proposals: dict[str, _Proposal] = {}

    def commands(self) -> tuple[AdminCommand, ...]:
        """In the order of `help`."""
        return (
            *self._deposit_commands(),
            *self._withdrawal_commands(),
            AdminCommand(
                "ledger.adjust",
                ("account", "asset", "amount", "reason"),
                "give to an account, or take from it; two operators say the same",
                self.adjust,
                optional=("id",),
                changes=True,
                wants_yes=True,
                wants_operator=True,
            ),
            AdminCommand(
                "reconcile", (), "what is owed and what is there, side by side", self.reconcile, optional=("asset",)
            ),
        )

    def _deposit_commands(self) -> tuple[AdminCommand, ...]:
        return (
            AdminCommand(
                "deposit.list",
                (),
                "deposits in a state, frozen ones if none is named",
                self.list_deposits,
                optional=("state", "asset"),
            ),
            AdminCommand(
                "deposit.release", ("id",), "let a frozen deposit go its way", self.release_deposit, changes=True
            ),
            AdminCommand(
                "deposit.reject",
                ("id", "reason"),
                "never credit a frozen deposit",
                self.reject_deposit,
                changes=True,
            ),
        )

    def _withdrawal_commands(self) -> tuple[AdminCommand, ...]:
        return (
            AdminCommand(
                "withdrawal.list",
                (),
                "withdrawals in a state, all on their way if none is named",
                self.list_withdrawals,
                optional=("state",),
            ),
            AdminCommand(
                "withdrawal.approve",
                ("id",),
                "agree to a withdrawal; the second operator's word lets it go",
                self.approve,
                changes=True,
                wants_operator=True,
            ),
            AdminCommand(
                "withdrawal.reject",
                ("id", "reason"),
                "give its money back, unless it is signed",
                self.reject,
                changes=True,
            ),
            AdminCommand(
                "withdrawal.bump",
                ("id",),
                "send it again with a higher fee",
                self._wishing(BUMP),
                changes=True,
            ),
            AdminCommand(
                "withdrawal.retry", ("id",), "send the same transaction again", self._wishing(RETRY), changes=True
            ),
            AdminCommand(
                "withdrawals.pause", (), "let nothing be requested or sent", self._pausing(paused=True), changes=True
            ),
            AdminCommand("withdrawals.resume", (), "let it again", self._pausing(paused=False), changes=True),
        )

    # Deposits

    async def list_deposits(self, state: str = "frozen", asset: str = "") -> object:
        """Deposits in one state."""
        wanted: DepositState = _one_of(state, get_args(DepositState), "state")
        store = self._store()
        names = [_known(asset, self._money.assets, "asset")] if asset else list(self._money.assets)
        rows = [row for name in names for row in await _asked(store.deposits(name, wanted, LISTED))]
        return {"deposits": [self._deposit(row) for row in rows[:LISTED]]}

    def _deposit(self, row: DepositRow) -> dict[str, object]:
        return {
            "id": row.key.id,
            "asset": row.asset,
            "account": row.account,
            "amount": self._amount(row.asset, row.amount),
            "state": row.state,
            "height": row.height,
            "reason": row.reason,
            "receipt": row.receipt,
            "since": row.updated_ns // NS_PER_MS,
        }

    async def release_deposit(self, id: str) -> object:  # noqa: A002 -- the command's own word
        """Frozen → pending."""
        key = _deposit_key(id)
        changed = await _asked(self._store().release_deposit(key, self._clock.wall_ns()))
        return {"id": key.id, "state": "pending", "changed": changed}

    async def reject_deposit(self, id: str, reason: str) -> object:  # noqa: A002 -- as above
        """Frozen → rejected."""
        key = _deposit_key(id)
        changed = await _asked(self._store().reject_deposit(key, _reason(reason), self._clock.wall_ns()))
        return {"id": key.id, "state": "rejected", "changed": changed}

    # Withdrawals

    async def list_withdrawals(self, state: str = "") -> object:
        """Withdrawals in one state, or on their way."""
        states: Sequence[WithdrawalState] = ON_THEIR_WAY
        if state:
            states = (_one_of(state, get_args(WithdrawalState), "state"),)
        store = self._store()
        rows = [
            row
            for chain in self._money.wallets
            for each in states
            for row in await _asked(store.withdrawals(chain, each, LISTED))
        ]
        return {"withdrawals": [self._withdrawal(row) for row in rows[:LISTED]]}

    def _withdrawal(self, row: WithdrawalRow) -> dict[str, object]:
        return {
            "id": row.id,
            "asset": row.asset,
            "account": row.account,
            "amount": self._amount(row.asset, row.amount),
            "address": row.address,
            "state": row.state,
            "reason": row.reason,
            "approvals": ",".join(row.approvals),
            "txid": row.txid,
            "since": row.updated_ns // NS_PER_MS,
        }

    async def approve(self, id: str, operator: str) -> object:  # noqa: A002 -- as above
        """One operator's word; with the second one's it is approved."""
        row = await self._row(id)
        if row.state != "awaiting_operator":
            raise BadCall(f"the withdrawal {id:.40} is {row.state}, and does not wait for operators")
        if operator in row.approvals:
            raise BadCall(f"{operator} has approved the withdrawal {id:.40} already: another operator has to")
        row = await _asked(self._store().add_approval(row.id, operator, OPERATORS_NEEDED, self._clock.wall_ns()))
        return self._withdrawal(row)

    async def reject(self, id: str, reason: str) -> object:  # noqa: A002 -- as above
        """Before it is signed."""
        row = await self._row(id)
        await _asked(self._store().reject_withdrawal(row.id, _reason(reason), self._clock.wall_ns()))
        return self._withdrawal(await self._row(id))

    def _wishing(self, wish: str) -> Callable[[str], Awaitable[object]]:
        async def ask_for(id: str) -> object:  # noqa: A002 -- as above
            row = await self._row(id)
            if row.state not in SIGNED:
                raise BadCall(f"the withdrawal {id:.40} is {row.state}: there is no transaction of it to send again")
            if not self._money.withdrawals[row.chain].wish(row.id, wish):
                raise BadCall(f"too many withdrawals of {row.chain} wait for this already; see why they do: 'info'")
            return {"id": row.id, "state": row.state, "asked": wish}

        return ask_for

    def _pausing(self, *, paused: bool) -> Callable[[], Awaitable[object]]:
        async def pause() -> object:
            done = await self._engine.tell(PauseWithdrawals(paused))
            return {"paused": paused, "seq": done.seq}

        return pause

    async def _row(self, withdrawal_id: str) -> WithdrawalRow:
        row = await _asked(self._store().withdrawal(withdrawal_id))
        if row is None:
            raise BadCall(f"there is no withdrawal {withdrawal_id!r:.50}; 'withdrawal.list' shows those on their way")
        return row

    # Balances

    async def adjust(  # noqa: PLR0917 -- the command's own words
        self,
        account: str,
        asset: str,
        amount: str,
        reason: str,
        operator: str,
        id: str = "",  # noqa: A002 -- as above
    ) -> object:
        """The first operator proposes, the second one does it."""
        view = await self._engine.directory()
        found = _asset(view, asset)
        wanted = (
            -units(amount[1:], found.scale, "amount")
            if amount.startswith("-")
            else units(amount, found.scale, "amount")
        )
        number = account_of(view, account).account
        name = id or self._entropy(ADJUSTMENT_ID_BYTES).hex()
        command = AdjustBalance(name, number, asset, wanted, reason, operator, operator)
        self._forget_old()
        proposal = self._proposals.get(name)
        if proposal is None:
            return self._propose(command, found)
        if proposal.operator == operator:
            raise BadCall(f"{operator} has proposed {name} already: another operator has to say the same")
        if proposal.words != _words(command):
            raise BadCall(f"{name} was proposed otherwise: {' '.join(proposal.words)}")
        command = AdjustBalance(name, number, asset, wanted, reason, proposal.operator, operator)
        outcome = await self._engine.outcome(command)
        if isinstance(outcome, Rejected):
            raise BadCall(why_refused(command, outcome))
        del self._proposals[name]
        return self._adjusted(outcome, found)

    def _propose(self, command: AdjustBalance, asset: Asset) -> object:
        if len(self._proposals) >= MAX_PROPOSALS:
            raise BadCall(f"{MAX_PROPOSALS} adjustments wait for a second operator already")
        until = trio.current_time() + PROPOSAL_SECONDS
        self._proposals[command.adjustment_id] = _Proposal(_words(command), command.operator, until)
        return {
            "id": command.adjustment_id,
            "done": False,
            "account": command.account,
            "asset": command.asset,
            "amount": format_units(command.amount, asset.scale),
            "next": f"another operator says the same with id={command.adjustment_id} within an hour",
        }

    def _adjusted(self, done: Done, asset: Asset) -> object:
        (event,) = [event for event in done.events if isinstance(event, Adjusted)]
        return {
            "id": event.adjustment_id,
            "done": True,
            "account": event.account,
            "asset": event.asset,
            "amount": format_units(event.amount, asset.scale),
            "receivable": format_units(event.short, asset.scale),
            "seq": done.seq,
        }

    def _forget_old(self) -> None:
        now = trio.current_time()
        self._proposals = {name: proposal for name, proposal in self._proposals.items() if proposal.until > now}

    # Everything

    async def reconcile(self, asset: str = "") -> object:
        """Each asset that is on a chain."""
        store = self._store()
        names = [_known(asset, self._money.assets, "asset")] if asset else list(self._money.assets)
        info = await self._engine.ask(Info(), InfoView)
        house = {row.asset: row.available + row.held for row in await self._engine.ask(Balances(HOUSE), list)}
        rows = []
        for name in names:
            config = self._money.assets[name]
            share = house.get(name, 0)
            owed = Owed(customers=info.totals.get(name, 0) - share, house=share)
            try:
                figures = await _asked(look(self._money.wallets[config.chain], name, owed, store))
            except ChainError as error:
                raise BadCall(f"the node of {name} does not answer: {error}") from error
            rows.append(shown(name, config, figures))
        return {"reconciled": rows}

    # What there must be

    def _store(self) -> ChainStore:
        if self._money.store is None:
            raise BadCall("this exchange is on no chain: nothing is paid in or out")
        return self._money.store

    def _amount(self, name: str, amount: int) -> str:
        asset = self._money.assets[name]
        return format_units(to_engine(amount, asset.decimals, asset.scale).amount, asset.scale)


async def _asked(answer: Awaitable[V]) -> V:
    """The store's answer, or why there is none."""
    try:
        return await answer
    except StoreConflict as error:
        raise BadCall(f"not as it stands: {error}") from error
    except StoreError as error:
        raise BadCall(f"the store of chain transactions does not answer: {error}") from error


def _one_of(text: str, known: Sequence[V], name: str) -> V:
    for each in known:
        if each == text:
            return each
    raise BadCall(f"{name}: expected one of {', '.join(map(str, known))}, not {text!r:.50}")


def _known(text: str, known: Mapping[str, object], name: str) -> str:
    return _one_of(text, tuple(known), name)


def _deposit_key(text: str) -> DepositKey:
    """From the id as `deposit.list` shows it."""
    chain, colon, rest = text.partition(":")
    txid, other, place = rest.rpartition(":")
    digits = place.removeprefix("-")
    if not (colon and other and digits.isascii() and digits.isdecimal() and len(digits) <= 10):
        raise BadCall(f"id: expected chain:transaction:place, as 'deposit.list' shows it, not {text!r:.80}")
    return DepositKey(chain, txid, int(place))


def _reason(text: str) -> str:
    if not 1 <= len(text) <= 200 or not text.isascii() or not text.isprintable():
        raise BadCall("reason: expected 1 to 200 printable ASCII characters")
    return text


def _asset(view: DirectoryView, name: str) -> Asset:
    found = next((asset for asset in view.assets if asset.name == name), None)
    if found is None:
        raise BadCall(f"there is no asset {name!r:.50}; 'asset.list' shows them all")
    return found


def _words(command: AdjustBalance) -> tuple[str, ...]:
    return (str(command.account), command.asset, str(command.amount), command.reason)

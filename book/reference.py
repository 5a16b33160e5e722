"""The engine a second time, as simple as can be, to hold the fast one against.

Theory of operation. The state is a handful of lists (reference_state.py): what was defined and set, what was credited,
what every account owns, the open orders and the finished ones, the trades. Nothing else is kept: who is first in line,
the best price, what an order holds and what is therefore available is worked out from these lists whenever it is asked
for, so nothing can go stale. Speed does not matter here.

A command is judged before anything changes (reference_rules.py, _definitions.py, _judging.py, _settings.py,
_transfers.py); where a rule is not met, `Refusal` is raised. Then it is carried out, event by event
(reference_trading.py, _timers.py).

Comments that begin with > are sentences of the design, the lines below follow them.
"""

from collections.abc import Collection, Iterator
from typing import get_args

from book import reference_transfers as transfers
from book.commands import (
    AllocateAddress,
    AmendOrder,
    ArmSession,
    CancelAll,
    CancelAllAfter,
    CancelOrder,
    Command,
    CreditDeposit,
    DefineAccount,
    DefineAsset,
    DefineMarket,
    Definition,
    LoseAllSessions,
    LoseSession,
    PlaceOrder,
    ReplaceOrder,
    RequestWithdrawal,
    Tick,
    Transfer,
)
from book.digest import RollingDigest
from book.events import (
    AccountDefined,
    AssetDefined,
    Event,
    KeyDefined,
    MarketDefined,
    OrderAccepted,
    OrderAmended,
    Rejected,
)
from book.queries import Answer, BookChange, Info, InfoView, Query
from book.reference_definitions import judge_account, judge_asset, judge_key, judge_market
from book.reference_following import count_told, difference
from book.reference_judging import is_reduction, judge_amendment, judge_order, judge_sender, open_order
from book.reference_orders import Order
from book.reference_questions import answer, whole_book
from book.reference_rules import Refusal, judge_types
from book.reference_settings import carry_out, credit
from book.reference_state import State
from book.reference_timers import arm_session, cancel_all_after, due, end, lose_all_sessions, lose_session, tick
from book.reference_trading import enter, price_band
from book.terms import CANCELED, MAX_INT


class ReferenceEngine:
    """The public face of `book.engine.Engine`, but for its dump."""

    def __init__(self) -> None:
        self.state = State()
        self.last_seq = 0
        self.last_time_ns = 0
        self.digest = RollingDigest()

    @property
    def next_due_ns(self) -> int:
        """When a tick has something to do; 0: never."""
        return min((time_ns for time_ns, _, _ in due(self.state)), default=0)

    def totals(self) -> dict[str, int]:
        """Per asset, what came in, in engine units."""
        return self.state.totals()

    # --- Commands -----------------------------------------------------------------------------------------------------

    def apply(self, command: Command, seq: int, time_ns: int) -> list[Event] | Rejected:
        """Let one command take effect at `time_ns`, or refuse it and change nothing.

        Raises:
            TypeError: something in it is not of its type; nothing changed.
            ValueError: `seq` does not grow, time goes back, ends, or something is due before; nothing changed.
        """
        # > Wrong Python *types* raise `TypeError` before anything changes.
        judge_types(command, get_args(Command))
        if type(seq) is not int or type(time_ns) is not int:
            raise TypeError("seq and time_ns are plain integers")
        # > Time and sequence come in as arguments and only ever grow.
        # What is set is due later than now, by MAX_INT at the latest: so nothing may come then.
        if not (self.last_seq < seq <= MAX_INT and self.last_time_ns <= time_ns < MAX_INT):
            raise ValueError("seq or time_ns does not grow")
        # > Whatever is due by a command's time must have fallen due before it
        if 0 < self.next_due_ns <= time_ns and not isinstance(command, Tick):
            raise ValueError(f"something is due at {self.next_due_ns}: a tick comes first")
        # > it answers with events or a `Rejected(code, reason)` and leaves a valid state; a rejection changes nothing
        try:
            events = list(self._carry_out(command, seq, time_ns))
        except Refusal as refusal:
            return refusal.answer
        self.last_seq = seq
        self.last_time_ns = time_ns
        count_told(self.state, events)
        return events

    def _carry_out(self, command: Command, seq: int, time_ns: int) -> Iterator[Event]:
        if isinstance(command, PlaceOrder):
            return self._place(command, time_ns)
        if isinstance(command, CancelOrder):
            return self._cancel(command, time_ns)
        if isinstance(command, CancelAll):
            return self._cancel_all(command, time_ns)
        if isinstance(command, AmendOrder):
            return self._amend(command, time_ns)
        if isinstance(command, ReplaceOrder):
            return self._replace(command, time_ns)
        if isinstance(command, CancelAllAfter):
            return cancel_all_after(self.state, command, time_ns)
        if isinstance(command, ArmSession):
            return arm_session(self.state, command, time_ns)
        if isinstance(command, LoseSession):
            return lose_session(self.state, command, time_ns)
        if isinstance(command, LoseAllSessions):
            return lose_all_sessions(self.state, time_ns)
        if isinstance(command, Tick):
            return tick(self.state, time_ns)
        if isinstance(command, CreditDeposit):
            return credit(self.state, command, seq)
        if isinstance(command, AllocateAddress):
            return transfers.allocate(self.state, command, time_ns)
        if isinstance(command, RequestWithdrawal):
            return transfers.request(self.state, command, seq, time_ns)
        if isinstance(command, Transfer):
            return transfers.carry_out(self.state, command, seq, time_ns)
        if isinstance(command, Definition):
            return self._define(command)
        return carry_out(self.state, command, seq, time_ns)

    def _place(self, command: PlaceOrder, time_ns: int) -> Iterator[Event]:
        yield from self._begin(judge_order(self.state, command, time_ns), time_ns)

    def _begin(self, order: Order, time_ns: int) -> Iterator[Event]:
        band = price_band(self.state, order.market)
        self.state.last_order_id = order.order_id
        self.state.open.append(order)
        yield OrderAccepted(order.view())
        # > Stops wait outside the book, untriggered, and count as open orders.
        if not order.waits:
            yield from enter(self.state, order, band, time_ns)

    def _cancel(self, command: CancelOrder, time_ns: int) -> Iterator[Event]:
        # > Cancels are always taken: of frozen accounts, in halted markets, of waiting stops.
        judge_sender(self.state, command, time_ns)
        market = self.state.market(command.symbol)
        order = open_order(self.state, command.account, market, command.order_id, command.client_order_id)
        yield from end([order], CANCELED, self.state, time_ns)

    def _cancel_all(self, command: CancelAll, time_ns: int) -> Iterator[Event]:
        judge_sender(self.state, command, time_ns)
        yield from end(self.state.open_orders(command.account, command.symbol), CANCELED, self.state, time_ns)

    def _replace(self, command: ReplaceOrder, time_ns: int) -> Iterator[Event]:
        wanted = command.order
        judge_sender(self.state, wanted, time_ns)
        market = self.state.market(wanted.symbol)
        old = open_order(self.state, wanted.account, market, command.order_id, command.client_order_id)
        # > If it is refused, the old order stays.
        new = judge_order(self.state, wanted, time_ns, replaces=old)
        yield from end([old], CANCELED, self.state, time_ns)
        yield from self._begin(new, time_ns)

    def _amend(self, command: AmendOrder, time_ns: int) -> Iterator[Event]:
        state = self.state
        order, new = judge_amendment(state, command, time_ns)
        # > A reduction keeps its place. Any other amendment of a resting order leaves its place and enters the book
        # > anew, as a taker first. A waiting stop changes where it waits.
        stays, shrinks = is_reduction(order, new), new.quantity < order.quantity
        order.quantity, order.price, order.worst = new.quantity, new.price, new.worst
        order.updated_ns = time_ns
        yield OrderAmended(order.view())
        if order not in state.resting:
            return
        if shrinks or not stays:
            state.changed(order.market)
        if not stays:
            band = price_band(state, order.market)
            state.resting.remove(order)
            yield from enter(state, order, band, time_ns)

    def _define(self, command: Definition) -> Iterator[Event]:
        state = self.state
        if isinstance(command, DefineAsset):
            judge_asset(command.asset, state.assets)
            state.assets.append(command.asset)
            yield AssetDefined(command.asset)
        elif isinstance(command, DefineMarket):
            judge_market(command.market, state.markets, state.assets)
            state.markets.append(command.market)
            yield MarketDefined(command.market)
        elif isinstance(command, DefineAccount):
            judge_account(command.account, state.accounts)
            state.accounts.append(command.account)
            yield AccountDefined(command.account)
        else:
            judge_key(command.key, state.keys, state.accounts)
            state.keys.append(command.key)
            yield KeyDefined(command.key)

    # --- Questions ----------------------------------------------------------------------------------------------------

    def query(self, query: Query, time_ns: int | None = None) -> Answer | Rejected:
        """Answer a question about the state as it is, asked at `time_ns` (None: when it last changed). Changes nothing.

        Raises:
            TypeError: something in it is not of its type.
            ValueError: `time_ns` is before the last command's; or time has ended.
        """
        judge_types(query, get_args(Query))
        now_ns = self.last_time_ns if time_ns is None else time_ns
        if type(now_ns) is not int:
            raise TypeError("time_ns is a plain integer")
        if not self.last_time_ns <= now_ns <= MAX_INT:
            raise ValueError("time_ns goes back")
        if isinstance(query, Info):
            return self._info()
        try:
            if isinstance(query, transfers.TransferQuery):
                return transfers.answer(self.state, query)
            return answer(self.state, query, now_ns)
        except Refusal as refusal:
            return refusal.answer

    def _info(self) -> InfoView:
        return InfoView(
            seq=self.last_seq,
            time_ns=self.last_time_ns,
            digest=self.digest.value().hex(),
            compiled=False,
            totals=self.totals(),
            accounts=len(self.state.accounts),
            open_orders=len(self.state.open),
            engine_version=self.state.engine_version,
            epoch=self.state.epoch,
            withdrawals_paused=self.state.withdrawals_paused,
        )

    # --- What is followed ---------------------------------------------------------------------------------------------

    def watch(self, symbols: Collection[str]) -> None:
        """Tell of changes in the books of these markets, and in no others."""
        state = self.state
        watched = [market for market in state.markets if market.symbol in symbols]
        state.watched = {
            market.symbol: state.watched.get(market.symbol) or whole_book(state, market) for market in watched
        }

    def take_changes(self) -> list[BookChange]:
        """What stands otherwise in the books that are watched since it was asked last."""
        state = self.state
        changes = []
        for symbol, before in state.watched.items():
            now = state.watched[symbol] = whole_book(state, state.market(symbol))
            if now.seq > before.seq:
                bids, asks = difference(before.bids, now.bids), difference(before.asks, now.asks)
                changes.append(BookChange(symbol, before.seq + 1, now.seq, bids[::-1], asks))
        return changes

    def user_seq(self, account: int) -> int:
        """How many events the owner of the account has been told, or could have been."""
        return self.state.user_seqs[account]

    # --- Checking -----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Look at everything; AssertionError if any of it is not as it must be."""
        state = self.state
        for asset, total in self.totals().items():
            # > Conservation, per asset, after every command. Never negative.
            owned = sum(amount for (_, name), amount in state.owned.items() if name == asset)
            _assure(owned == total, f"{total} {asset} came in, {owned} are there")
        for account, asset in state.owned:
            _assure(state.available(account, asset) >= 0, f"account {account} holds more {asset} than it owns")
        for order in state.open:
            _assure(order.open > 0, f"order {order.order_id} has {order.open} open")
            places = [order.waits, order in state.triggered, order in state.resting]
            _assure(sum(places) == 1, f"order {order.order_id} is in {sum(places)} places")
            may_wait = order not in state.triggered or not state.trades_now(order.market)
            _assure(may_wait, f"order {order.order_id} has to enter")
        for order in state.resting:
            _assure(order.may_rest and order.shown > 0, f"order {order.order_id} rests with {order.shown} shown")
            _assure(not state.in_line(order), f"order {order.order_id} could trade")


def _assure(met: bool, otherwise: str) -> None:
    if not met:
        raise AssertionError(otherwise)

"""The engine: all trading state, and the only thing that changes it.

Theory of operation. `apply` takes one command, the sequence number and the time it is to take effect at, and answers
with the events it brought about, or with `Rejected` and nothing changed. It is total: whatever values a well-typed
command holds, there is an answer, and any exception but the ones named is a bug. It is a pure function of the commands
before it: no clock, no randomness, no I/O, no float. So the state is a fold over the log, and the same log gives the
same bytes everywhere.

Each command is judged in full before it touches anything; that is what keeps a rejection without effect. Who judges and
who acts is elsewhere: definitions in book.registry, orders in book.admission and book.trading, the state of one market
in book.live_market. What must hold at all times is written down in book.audit.
"""

from collections.abc import Collection, Iterator
from hashlib import blake2b
from typing import Final, get_args

from book import codes, transfers
from book.accounts import AccountState
from book.admission import amendment_refusal, refusal
from book.answers import answer
from book.audit import check_state
from book.commands import (
    AllocateAddress,
    AmendOrder,
    ArmSession,
    CancelAll,
    CancelAllAfter,
    CancelOrder,
    ClearMarket,
    Command,
    DefineAccount,
    DefineAsset,
    DefineKey,
    DefineMarket,
    LoseAllSessions,
    LoseSession,
    PlaceOrder,
    ReplaceOrder,
    RequestWithdrawal,
    SetMarketState,
    Tick,
    Transfer,
)
from book.digest import RollingDigest
from book.effects import Effects
from book.events import Adjusted, Credited, Event, Rejected, WithdrawalHeld, WithdrawalReleased, WithdrawalSettled
from book.image import decode, encode
from book.leaving import (
    arm_session,
    cancel,
    clear_market,
    lose_all_sessions,
    lose_session,
    set_cancel_all_after,
    work_off_due,
)
from book.ledger import LedgerError
from book.orders import Order
from book.plain import (
    AmendFields,
    CancelFields,
    PlaceFields,
    amend_fields,
    cancel_fields,
    check_command,
    check_query,
    place_fields,
)
from book.queries import Acceptable, Answer, BookChange, JudgeOrder, Query
from book.refusals import UNKNOWN_ORDER, UNKNOWN_SYMBOL, declined, outside
from book.settings import carry_out
from book.state import State
from book.terms import CANCELED, HALT, MAX_INT, NS_PER_MS, READ, TRADE, TRADING, WITHDRAW
from book.trading import amend, enter, let_triggered_enter
from book.transfers import allocate_address, request_withdrawal
from book.versions import VERSIONS

ENGINE_VERSION: Final = VERSIONS[-1]  # a log made by a newer engine is refused

MAX_RECV_WINDOW_MS: Final = 60_000
MAX_AHEAD_MS: Final = 1_000  # how far a client's clock may be ahead of ours

_TRANSFERS: Final = get_args(Transfer)
# What a key needs for what is not trading.
_PERMISSIONS: Final[dict[type, int]] = {AllocateAddress: READ, RequestWithdrawal: WITHDRAW}

# As in book.orders.
_PlaceOrder: Final = PlaceOrder
_CancelOrder: Final = CancelOrder
_AmendOrder: Final = AmendOrder


class Engine:
    """The exchange's state. Made empty; `load` makes one from a dump."""

    def __init__(self) -> None:
        self.state = State()

    # Commands

    def apply(self, command: Command, seq: int, time_ns: int) -> list[Event] | Rejected:
        """Let one command take effect at `time_ns`, or refuse it and change nothing.

        Raises:
            TypeError: something in it is not of its type; nothing changed.
            ValueError: `seq` does not grow, time goes back, or what is due has not fallen due; nothing changed.
        """
        if not isinstance(seq, int) or not isinstance(time_ns, int):
            raise TypeError("seq and time_ns are plain integers")
        state = self.state
        if not state.last_seq < seq <= MAX_INT:
            raise ValueError(f"sequence {seq} after {state.last_seq}")
        if not state.last_time_ns <= time_ns < MAX_INT:  # something may fall due later, and that is a time too
            raise ValueError(f"time {time_ns} ns after {state.last_time_ns} ns")
        if 0 < state.timers.next_ns <= time_ns and type(command) is not Tick:
            raise ValueError(f"what is due at {state.timers.next_ns} ns falls due by a Tick, before {time_ns} ns")
        effects = Effects(seq, time_ns)
        kind = type(command)
        if kind is _PlaceOrder:
            refused = self._place(place_fields(command), effects)  # type: ignore[arg-type]  # as it was just seen
        elif kind is _CancelOrder:
            refused = self._cancel(cancel_fields(command), effects)  # type: ignore[arg-type]  # as above
        elif kind is _AmendOrder:
            refused = self._amend(amend_fields(command), effects)  # type: ignore[arg-type]  # as above
        else:
            check_command(command)
            refused = self._apply_seldom(command, effects)
        if refused is not None:
            return refused
        state.last_seq = seq
        state.last_time_ns = time_ns
        return effects.events

    @property
    def next_due_ns(self) -> int:
        """When something falls due by itself: a `Tick` at or after this moment comes before all else. 0: never."""
        return self.state.timers.next_ns

    def _apply_seldom(  # noqa: PLR0911 -- one command, one answer
        self, command: Command, effects: Effects
    ) -> Rejected | None:
        if isinstance(command, (CancelAll, CancelAllAfter, ArmSession, AllocateAddress, RequestWithdrawal)):
            return self._act_seldom(command, effects)
        if type(command) is ReplaceOrder:
            return self._place(place_fields(command.order), effects, command)
        if type(command) is Tick:
            work_off_due(self.state, effects)
            return None
        if type(command) is LoseSession:
            return lose_session(self.state, command.session, effects)
        if type(command) is LoseAllSessions:
            lose_all_sessions(self.state, effects)
            return None
        if type(command) is SetMarketState:
            return self._set_market_state(command, effects)
        if type(command) is ClearMarket:
            return clear_market(self.state, command.symbol, effects)
        if isinstance(command, (DefineAsset, DefineMarket, DefineAccount, DefineKey)):
            return effects.record(self.state.define(command))
        return self._set(command, effects)

    def _set(self, command: Command, effects: Effects) -> Rejected | None:
        if isinstance(command, _TRANSFERS):
            outcome = transfers.carry_out(self.state, command, effects.seq, effects.time_ns)
        else:
            outcome = carry_out(self.state, command, effects.seq)
        return self._tell(outcome, effects)

    def _tell(self, outcome: Event | Rejected, effects: Effects) -> Rejected | None:
        """Count what the owner of an account is told of it."""
        accounts = self.state.accounts
        if type(outcome) is Credited:
            accounts[outcome.account].tell(effects.seq)
        elif isinstance(outcome, (WithdrawalHeld, WithdrawalSettled, WithdrawalReleased)):
            accounts[outcome.withdrawal.account].tell(effects.seq)
        elif type(outcome) is Adjusted:
            accounts[outcome.account].tell_balances(effects.seq)
        return effects.record(outcome)

    def _act_seldom(
        self,
        command: CancelAll | CancelAllAfter | ArmSession | AllocateAddress | RequestWithdrawal,
        effects: Effects,
    ) -> Rejected | None:
        """What an account's own key asks for, but for the orders themselves."""
        account = self._authorise(
            command.account,
            command.key,
            command.session,
            command.timestamp,
            command.recv_window,
            effects.time_ns,
            _PERMISSIONS.get(type(command), TRADE),
        )
        if not isinstance(account, AccountState):
            return account
        if type(command) is CancelAll:
            return self._cancel_all(account, command.symbol, effects)
        if type(command) is CancelAllAfter:
            return set_cancel_all_after(self.state, account, command.timeout_ms, effects)
        if type(command) is AllocateAddress:
            return effects.record(allocate_address(self.state, command))
        if type(command) is RequestWithdrawal:
            return self._tell(request_withdrawal(self.state, command, effects.seq, effects.time_ns), effects)
        return arm_session(self.state, account, command.session, effects)

    def _place(self, fields: PlaceFields, effects: Effects, replacing: ReplaceOrder | None = None) -> Rejected | None:
        order = self._admit(fields, effects.time_ns, replacing)
        if not isinstance(order, Order):
            return order
        state = self.state
        account = order.trader.account
        market = order.trader.market
        if replacing is not None:
            leaving = state.find(account, market.definition.symbol, replacing.order_id, replacing.client_order_id)
            if leaving is not None:
                market.cancel(leaving, CANCELED, effects)
        order.order_id = state.last_order_id = state.last_order_id + 1
        order.client_order_id = account.client_order_ids.claim(order.client_order_id, order.order_id)
        enter(market, order, effects)
        return None

    def _admit(self, fields: PlaceFields, time_ns: int, replacing: ReplaceOrder | None = None) -> Order | Rejected:
        """The order as it would enter now, judged; changes nothing."""
        (
            number,
            key,
            session,
            symbol,
            side,
            type_,
            time_in_force,
            quantity,
            price,
            quote_quantity,
            post_only,
            client_order_id,
            self_trade,
            timestamp,
            recv_window,
            stop_price,
            expire_time,
            display_quantity,
        ) = fields
        account = self._authorise(number, key, session, timestamp, recv_window, time_ns)
        if not isinstance(account, AccountState):
            return account
        market = self.state.markets.get(symbol)
        if market is None:
            return UNKNOWN_SYMBOL
        leaving: Order | None = None
        if replacing is not None:
            leaving = self.state.find(account, symbol, replacing.order_id, replacing.client_order_id)
            if leaving is None:
                return UNKNOWN_ORDER
        order = Order(
            market.trader(account),
            side,
            type_,
            time_in_force,
            price,
            quantity,
            quote_quantity,
            post_only,
            client_order_id,
            self_trade,
            session,
            time_ns,
            stop_price,
            expire_time,
            display_quantity,
        )
        return refusal(market, order, leaving) or order

    def _cancel(self, fields: CancelFields, effects: Effects) -> Rejected | None:
        number, key, session, symbol, order_id, client_order_id, timestamp, recv_window = fields
        order = self._order(
            number, key, session, symbol, order_id, client_order_id, timestamp, recv_window, effects.time_ns
        )
        if not isinstance(order, Order):
            return order
        order.trader.market.cancel(order, CANCELED, effects)
        return None

    def _cancel_all(self, account: AccountState, symbol: str, effects: Effects) -> Rejected | None:
        if symbol and symbol not in self.state.markets:
            return UNKNOWN_SYMBOL
        cancel(self.state.open_orders(account, symbol), effects)
        return None

    def _amend(self, fields: AmendFields, effects: Effects) -> Rejected | None:
        number, key, session, symbol, order_id, client_order_id, quantity, price, timestamp, recv_window = fields
        order = self._order(
            number, key, session, symbol, order_id, client_order_id, timestamp, recv_window, effects.time_ns
        )
        if not isinstance(order, Order):
            return order
        market = order.trader.market
        quantity = quantity or order.quantity
        price = price or order.price
        refused = amendment_refusal(market, order, quantity, price)
        if refused is None:
            amend(market, order, quantity, price, effects)
        return refused

    def _order(  # noqa: PLR0917 -- on the hot path, where keywords cost
        self,
        number: int,
        key: int,
        session: int,
        symbol: str,
        order_id: int,
        client_order_id: str,
        timestamp: int,
        recv_window: int,
        time_ns: int,
    ) -> Order | Rejected:
        """The open order that is meant, if whoever asks may change it."""
        order = self.state.orders.get(order_id)
        if order is not None and order.trader.account.number == number and order.trader.symbol == symbol:
            # The usual case: the order itself says that there is such an account and such a market.
            refused = self._unauthorised(number, key, session, timestamp, recv_window, time_ns)
            if refused is not None:
                return refused
            return UNKNOWN_ORDER if client_order_id and order.client_order_id != client_order_id else order
        account = self._authorise(number, key, session, timestamp, recv_window, time_ns)
        if not isinstance(account, AccountState):
            return account
        if symbol not in self.state.markets:
            return UNKNOWN_SYMBOL
        return self.state.find(account, symbol, order_id, client_order_id) or UNKNOWN_ORDER

    def _set_market_state(self, command: SetMarketState, effects: Effects) -> Rejected | None:
        market = self.state.markets.get(command.symbol)
        if market is None:
            return declined("UNKNOWN_SYMBOL", "symbol")
        refused = outside("state", command.state, TRADING, HALT)
        if refused is not None:
            return refused
        if command.state == market.state and not market.halted_until_ns:
            return declined("UNCHANGED", "state", command.state)
        market.set_state(command.state, effects)
        let_triggered_enter(market, effects)
        return None

    def _authorise(  # noqa: PLR0917 -- as above
        self,
        number: int,
        key_number: int,
        session: int,
        timestamp: int,
        recv_window: int,
        time_ns: int,
        permission: int = TRADE,
    ) -> AccountState | Rejected:
        """The account that is to act, if whoever asks may do so, and asks in time."""
        account = self.state.accounts.get(number)
        if account is None:
            return Rejected(codes.UNAUTHORIZED, "UNKNOWN_ACCOUNT", "account", number)
        return self._unauthorised(number, key_number, session, timestamp, recv_window, time_ns, permission) or account

    def _unauthorised(  # noqa: PLR0911, PLR0917 -- one rule, one answer; as above
        self,
        number: int,
        key_number: int,
        session: int,
        timestamp: int,
        recv_window: int,
        time_ns: int,
        permission: int = TRADE,
    ) -> Rejected | None:
        """Why nobody may do this for this account, which there is, with this key, in this session or at this time."""
        if key_number:
            key = self.state.registry.keys.get(key_number)
            if key is None or key.account != number:
                return Rejected(codes.REJECTED_KEY, "UNKNOWN_KEY", "key", key_number)
            if key_number in self.state.registry.revoked_keys:
                return Rejected(codes.REJECTED_KEY, "REVOKED_KEY", "key", key_number)
            if not key.permissions & permission:
                return Rejected(codes.REJECTED_KEY, "NO_PERMISSION", "key", key_number)
        if not 0 <= session <= MAX_INT:
            return Rejected(codes.INVALID_PARAMETER, "", "session", session, MAX_INT)
        if not 0 <= recv_window <= MAX_RECV_WINDOW_MS:
            return Rejected(codes.INVALID_PARAMETER, "", "recv_window", recv_window, MAX_RECV_WINDOW_MS)
        if timestamp and not -MAX_AHEAD_MS <= time_ns // NS_PER_MS - timestamp <= recv_window:
            return Rejected(codes.INVALID_TIMESTAMP, "", "timestamp", timestamp, recv_window)
        return None

    # Queries

    def query(self, query: Query, time_ns: int | None = None) -> Answer | Rejected:
        """Answer a question about the state as it is, at `time_ns` (else: of the last command). Changes nothing.

        Raises:
            TypeError: something in it is not of its type.
            ValueError: the time goes back.
        """
        check_query(query)
        now_ns = self.state.last_time_ns if time_ns is None else time_ns
        if type(now_ns) is not int:
            raise TypeError("time_ns is a plain integer")
        if not self.state.last_time_ns <= now_ns <= MAX_INT:
            raise ValueError(f"time {now_ns} ns after {self.state.last_time_ns} ns")
        if type(query) is JudgeOrder:
            order = self._admit(place_fields(query.order), now_ns)
            return Acceptable() if isinstance(order, Order) else order
        return answer(self.state, query, now_ns)

    # What is followed

    def watch(self, symbols: Collection[str]) -> None:
        """Note what changes in the books of these markets, and in no others, for `take_changes`. No part of the state.

        Whoever asks for the `WholeBook` after this, and then applies the changes, has the book as it is.
        """
        for symbol, market in self.state.markets.items():
            market.book.watch(symbol in symbols)

    def take_changes(self) -> list[BookChange]:
        """What changed in the books that are watched since it was asked last."""
        changes: list[BookChange] = []
        for symbol, market in self.state.markets.items():
            book = market.book
            first, bids, asks = book.take_changes()
            if bids or asks:
                changes.append(BookChange(symbol, first, book.seq, bids, asks))
        return changes

    def user_seq(self, account: int) -> int:
        """How many events the owner of the account has been told, or could have been. KeyError if there is none."""
        return self.state.accounts[account].user_seq

    # The whole state

    @property
    def last_seq(self) -> int:
        """The sequence number of the last command that took effect."""
        return self.state.last_seq

    @property
    def last_time_ns(self) -> int:
        """The time of the last command that took effect."""
        return self.state.last_time_ns

    @property
    def digest(self) -> RollingDigest:
        """Of all events; whoever applies feeds it."""
        return self.state.digest

    def totals(self) -> dict[str, int]:
        """Per asset, what came in: always the sum of all available and held amounts."""
        return self.state.ledger.totals()

    def differences(self) -> dict[str, int]:
        """Per asset, how much more all balances are than what came in, less what went out. Not 0: a bug of ours."""
        return self.state.ledger.differences()

    def check(self) -> None:
        """Look at everything; AssertionError if any of it is not as it must be."""
        check_state(self.state)

    def state_hash(self) -> bytes:
        """The full proof that two states are the same: 32 bytes."""
        return blake2b(self.dump(), digest_size=32).digest()

    def dump(self) -> bytes:
        """The state as bytes, the same for the same state; `load` takes it back."""
        return encode(self.state.image())

    @staticmethod
    def load(data: bytes) -> "Engine":
        """The engine that was dumped.

        Raises:
            ValueError: this is no dump, or not one of a possible state.
        """
        engine = Engine()
        for _ in engine.restore(data):
            pass
        try:
            engine.check()
        except (AssertionError, KeyError, ValueError) as error:
            raise ValueError(f"not an engine's state: {error!r}") from error
        if engine.dump() != data:
            raise ValueError("not an engine's state: it is not read back as it is written")
        return engine

    def restore(self, data: bytes) -> Iterator[None]:
        """Become, from empty, the engine that was dumped, in steps of about a millisecond behind the first.

        Takes on trust what `load` looks at in the end. Whoever stops it half way, or by an error, has no engine.

        Raises:
            ValueError: this is no dump, or its parts do not fit together.
        """
        image = decode(data)
        yield
        try:
            yield from self.state.restore(image)
        except (AssertionError, KeyError, LedgerError, ValueError) as error:
            raise ValueError(f"not an engine's state: {error!r}") from error

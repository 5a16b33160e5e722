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

from hashlib import blake2b
from typing import Final

from book import codes
from book.accounts import AccountState
from book.admission import amendment_refusal, refusal
from book.audit import check_accounts, check_ledger, check_market
from book.commands import (
    AmendOrder,
    CancelAll,
    CancelOrder,
    Command,
    CreditDeposit,
    DefineAccount,
    DefineAsset,
    DefineKey,
    DefineMarket,
    Definition,
    PlaceOrder,
    ReplaceOrder,
    Tick,
    TradingCommand,
)
from book.definitions import Market
from book.deposits import Deposits
from book.digest import RollingDigest
from book.effects import Effects
from book.events import (
    AccountDefined,
    AssetDefined,
    Credited,
    Event,
    KeyDefined,
    MarketDefined,
    OrderView,
    Rejected,
)
from book.image import VERSION, EngineImage, decode, encode
from book.ledger import Ledger, LedgerError
from book.live_market import LiveMarket
from book.orders import Order
from book.plain import CancelFields, PlaceFields, cancel_fields, check_command, check_query, place_fields
from book.queries import (
    Answer,
    Balance,
    Balances,
    Depth,
    DepthView,
    Directory,
    DirectoryView,
    Info,
    InfoView,
    Logon,
    MarketStatus,
    OpenOrders,
    OrderStatus,
    Query,
)
from book.registry import Registry
from book.terms import CANCELED, MAX_INT, TRADE
from book.trading import amend, enter

# Grows with every change of what the same commands lead to; a log made by a newer engine is refused.
ENGINE_VERSION: Final = 1

MAX_RECV_WINDOW_MS: Final = 60_000
MAX_AHEAD_MS: Final = 1_000  # how far a client's clock may be ahead of ours
MAX_DEPTH: Final = 5_000

_NS_PER_MS: Final = 1_000_000

SeldomCommand = CancelAll | AmendOrder | ReplaceOrder | CreditDeposit | Tick | Definition

COMPILED: Final = not __file__.endswith(".py")  # mypyc leaves a shared library in the module's place


class Engine:
    """The exchange's state. Made empty; `load` makes one from a dump."""

    def __init__(self) -> None:
        self.digest: RollingDigest = RollingDigest()
        self.last_seq: int = 0
        self.last_time_ns: int = 0
        self._last_order_id: int = 0
        self._registry: Registry = Registry()
        self._ledger: Ledger = Ledger()
        self._deposits: Deposits = Deposits()
        self._orders: dict[int, Order] = {}
        self._markets: dict[str, LiveMarket] = {}
        self._accounts: dict[int, AccountState] = {
            number: AccountState(account) for number, account in self._registry.accounts.items()
        }

    # Commands

    def apply(self, command: Command, seq: int, time_ns: int) -> list[Event] | Rejected:
        """Let one command take effect at `time_ns`, or refuse it and change nothing.

        Raises:
            TypeError: something in it is not of its type; nothing changed.
            ValueError: `seq` does not grow or time goes back; nothing changed.
        """
        if type(seq) is not int or type(time_ns) is not int:
            raise TypeError("seq and time_ns are plain integers")
        if not self.last_seq < seq <= MAX_INT:
            raise ValueError(f"sequence {seq} after {self.last_seq}")
        if not self.last_time_ns <= time_ns <= MAX_INT:
            raise ValueError(f"time {time_ns} ns after {self.last_time_ns} ns")
        effects = Effects(time_ns)
        if type(command) is PlaceOrder:
            refused = self._place(place_fields(command), effects)
        elif type(command) is CancelOrder:
            refused = self._cancel(cancel_fields(command), effects)
        else:
            check_command(command)
            refused = self._apply_seldom(command, seq, effects)
        if refused is not None:
            return refused
        self.last_seq = seq
        self.last_time_ns = time_ns
        return effects.events

    def _apply_seldom(self, command: SeldomCommand, seq: int, effects: Effects) -> Rejected | None:
        if type(command) is CancelAll:
            return self._cancel_all(command, effects)
        if type(command) is AmendOrder:
            return self._amend(command, effects)
        if type(command) is ReplaceOrder:
            return self._place(place_fields(command.order), effects, command)
        if type(command) is CreditDeposit:
            return self._credit(command, seq, effects)
        if type(command) is Tick:
            return None
        return self._define(command, effects)

    def _place(self, fields: PlaceFields, effects: Effects, replacing: ReplaceOrder | None = None) -> Rejected | None:
        # fmt: off  # one line per thought, not per name
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
        ) = fields
        # fmt: on
        account = self._authorise(number, key, session, timestamp, recv_window, effects.time_ns)
        if not isinstance(account, AccountState):
            return account
        market = self._markets.get(symbol)
        if market is None:
            return _UNKNOWN_SYMBOL
        leaving: Order | None = None
        if replacing is not None:
            leaving = self._find(account, symbol, replacing.order_id, replacing.client_order_id)
            if leaving is None:
                return _UNKNOWN_ORDER
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
            effects.time_ns,
        )
        refused = refusal(market, order, leaving)
        if refused is not None:
            return refused
        if leaving is not None:
            market.cancel(leaving, CANCELED, effects)
        order.order_id = self._last_order_id = self._last_order_id + 1
        order.client_order_id = account.client_order_ids.claim(client_order_id, order.order_id)
        enter(market, order, effects)
        return None

    def _cancel(self, fields: CancelFields, effects: Effects) -> Rejected | None:
        number, key, session, symbol, order_id, client_order_id, timestamp, recv_window = fields
        account = self._authorise(number, key, session, timestamp, recv_window, effects.time_ns)
        if not isinstance(account, AccountState):
            return account
        if symbol not in self._markets:
            return _UNKNOWN_SYMBOL
        order = self._find(account, symbol, order_id, client_order_id)
        if order is None:
            return _UNKNOWN_ORDER
        self._markets[symbol].cancel(order, CANCELED, effects)
        return None

    def _cancel_all(self, command: CancelAll, effects: Effects) -> Rejected | None:
        account = self._authorise_command(command, effects)
        if not isinstance(account, AccountState):
            return account
        if command.symbol and command.symbol not in self._markets:
            return _UNKNOWN_SYMBOL
        for order in self._open_orders(account, command.symbol):
            self._markets[order.trader.symbol].cancel(order, CANCELED, effects)
        return None

    def _amend(self, command: AmendOrder, effects: Effects) -> Rejected | None:
        account = self._authorise_command(command, effects)
        if not isinstance(account, AccountState):
            return account
        market = self._markets.get(command.symbol)
        if market is None:
            return _UNKNOWN_SYMBOL
        order = self._find(account, command.symbol, command.order_id, command.client_order_id)
        if order is None:
            return _UNKNOWN_ORDER
        amended = order.amended(command.new_quantity or order.quantity, command.new_price or order.price)
        refused = amendment_refusal(market, order, amended)
        if refused is not None:
            return refused
        amend(market, order, amended, effects)
        return None

    def _authorise_command(self, command: TradingCommand, effects: Effects) -> AccountState | Rejected:
        return self._authorise(
            command.account, command.key, command.session, command.timestamp, command.recv_window, effects.time_ns
        )

    def _authorise(  # noqa: PLR0911, PLR0917 -- one rule, one answer; on the hot path, where keywords cost
        self, number: int, key_number: int, session: int, timestamp: int, recv_window: int, time_ns: int
    ) -> AccountState | Rejected:
        """The account that is to trade, if whoever asks may do so, and asks in time."""
        account = self._accounts.get(number)
        if account is None:
            return Rejected(codes.UNAUTHORIZED, "UNKNOWN_ACCOUNT", "account", number)
        if key_number:
            key = self._registry.keys.get(key_number)
            if key is None or key.account != number:
                return Rejected(codes.REJECTED_KEY, "UNKNOWN_KEY", "key", key_number)
            if not key.permissions & TRADE:
                return Rejected(codes.REJECTED_KEY, "NO_PERMISSION", "key", key_number)
        if not 0 <= session <= MAX_INT:
            return Rejected(codes.INVALID_PARAMETER, "", "session", session, MAX_INT)
        if not 0 <= recv_window <= MAX_RECV_WINDOW_MS:
            return Rejected(codes.INVALID_PARAMETER, "", "recv_window", recv_window, MAX_RECV_WINDOW_MS)
        if timestamp and not -MAX_AHEAD_MS <= time_ns // _NS_PER_MS - timestamp <= recv_window:
            return Rejected(codes.INVALID_TIMESTAMP, "", "timestamp", timestamp, recv_window)
        return account

    def _find(self, account: AccountState, symbol: str, order_id: int, client_order_id: str) -> Order | None:
        """The account's open order of this id; where both ids are given, both have to be its."""
        order = self._orders.get(order_id or account.client_order_ids.get(client_order_id))
        if order is None or order.trader.account is not account or order.trader.symbol != symbol:
            return None
        return None if client_order_id and order.client_order_id != client_order_id else order

    def _open_orders(self, account: AccountState, symbol: str) -> list[Order]:
        """The account's open orders, oldest first, in one known market or in all."""
        markets = [self._markets[symbol]] if symbol else self._markets.values()
        orders: list[Order] = []
        for market in markets:
            trader = market.traders.get(account.number)
            if trader is not None:
                orders += trader.open_orders.values()
        return orders if symbol else sorted(orders, key=_order_id_of)

    def _credit(self, command: CreditDeposit, seq: int, effects: Effects) -> Rejected | None:
        refused = self._deposits.refusal(command)
        if refused is not None:
            return refused
        account, asset, amount = command.account, command.asset, command.amount
        if account not in self._accounts:
            return Rejected(codes.DEFINITION_REJECTED, "UNKNOWN_ACCOUNT", "account", account)
        if asset not in self._registry.assets:
            return Rejected(codes.DEFINITION_REJECTED, "UNKNOWN_ASSET", "asset")
        if amount <= 0:
            return Rejected(codes.DEFINITION_REJECTED, "OUT_OF_RANGE", "amount", amount, 1)
        if amount > self._ledger.room(asset):
            return Rejected(codes.DEFINITION_REJECTED, "OVERFLOW", "amount", amount, self._ledger.room(asset))
        self._ledger.credit(account, asset, amount)
        credited = Credited(command.deposit_id, account, asset, amount, seq)
        self._deposits.add(credited)
        effects.events.append(credited)
        return None

    def _define(self, command: Definition, effects: Effects) -> Rejected | None:
        refused: Rejected | None
        event: Event
        if type(command) is DefineAsset:
            refused, event = self._registry.define_asset(command.asset), AssetDefined(command.asset)
            if refused is None:
                self._ledger.define_asset(command.asset.name)
        elif type(command) is DefineMarket:
            refused, event = self._registry.define_market(command.market), MarketDefined(command.market)
            if refused is None:
                self._open_market(command.market)
        elif type(command) is DefineAccount:
            refused, event = self._registry.define_account(command.account), AccountDefined(command.account)
            if refused is None:
                self._accounts[command.account.account] = AccountState(command.account)
        else:
            refused, event = self._registry.define_key(command.key), KeyDefined(command.key)
        if refused is None:
            effects.events.append(event)
        return refused

    def _open_market(self, market: Market) -> LiveMarket:
        base, quote = self._registry.assets[market.base], self._registry.assets[market.quote]
        live = self._markets[market.symbol] = LiveMarket(market, base, quote, self._ledger, self._orders)
        return live

    # Queries

    def query(self, query: Query) -> Answer | Rejected:
        """Answer a question about the state as it is. Changes nothing.

        Raises:
            TypeError: something in it is not of its type.
        """
        check_query(query)
        if type(query) is Depth:
            return self._depth(query)
        if type(query) is Logon:
            key = self._registry.keys_by_name.get(query.key_name)
            return Rejected(codes.REJECTED_KEY, "UNKNOWN_KEY", "key_name") if key is None else key
        if type(query) is Directory:
            return self._directory()
        if type(query) is Info:
            return self._info()
        return self._of_account(query)

    def _of_account(self, query: Balances | OpenOrders | OrderStatus) -> Answer | Rejected:
        account = self._accounts.get(query.account)
        if account is None:
            return Rejected(codes.UNAUTHORIZED, "UNKNOWN_ACCOUNT", "account", query.account)
        if type(query) is Balances:
            return [Balance(asset, available, held) for asset, available, held in self._ledger.of(query.account)]
        if type(query) is OpenOrders:
            if query.symbol and query.symbol not in self._markets:
                return _UNKNOWN_SYMBOL
            return [order.view() for order in self._open_orders(account, query.symbol)]
        return self._status(account, query)

    def _depth(self, query: Depth) -> DepthView | Rejected:
        market = self._markets.get(query.symbol)
        if market is None:
            return _UNKNOWN_SYMBOL
        if not 1 <= query.limit <= MAX_DEPTH:
            return Rejected(codes.INVALID_PARAMETER, "", "limit", query.limit, MAX_DEPTH)
        book = market.book
        return DepthView(query.symbol, book.seq, book.bids.depth(query.limit), book.asks.depth(query.limit))

    def _directory(self) -> DirectoryView:
        markets = [
            MarketStatus(market.definition, market.state, sum(len(t.open_orders) for t in market.traders.values()))
            for market in self._markets.values()
        ]
        registry = self._registry
        return DirectoryView(
            list(registry.assets.values()), markets, list(registry.accounts.values()), list(registry.keys.values())
        )

    def _info(self) -> InfoView:
        return InfoView(
            self.last_seq,
            self.last_time_ns,
            self.digest.value().hex(),
            COMPILED,
            self.totals(),
            len(self._accounts),
            len(self._orders),
        )

    def _status(self, account: AccountState, query: OrderStatus) -> OrderView | Rejected:
        if query.symbol not in self._markets:
            return _UNKNOWN_SYMBOL
        order = self._find(account, query.symbol, query.order_id, query.client_order_id)
        if order is not None:
            return order.view()
        view = account.finished_orders.get(query.order_id or account.client_order_ids.get(query.client_order_id))
        if view is None or view.symbol != query.symbol:
            return _NO_SUCH_ORDER
        return _NO_SUCH_ORDER if query.client_order_id not in {"", view.client_order_id} else view

    # The whole state

    def totals(self) -> dict[str, int]:
        """Per asset, what came in: always the sum of all available and held amounts."""
        return self._ledger.totals()

    def check(self) -> None:
        """Look at everything; AssertionError if any of it is not as it must be."""
        check_ledger(self._ledger, self._deposits, self._orders.values(), self._markets)
        open_orders = 0
        for market in self._markets.values():
            check_market(market, self._orders, self._last_order_id)
            open_orders += sum(len(trader.open_orders) for trader in market.traders.values())
        if open_orders != len(self._orders):
            raise AssertionError(f"{len(self._orders)} orders are known, {open_orders} are open")
        check_accounts(self._accounts.values(), self._orders.values(), self._last_order_id)

    def state_hash(self) -> bytes:
        """The full proof that two states are the same: 32 bytes."""
        return blake2b(self.dump(), digest_size=32).digest()

    def dump(self) -> bytes:
        """The state as bytes, the same for the same state; `load` takes it back."""
        chain, rest = self.digest.state()
        return encode(
            EngineImage(
                version=VERSION,
                last_seq=self.last_seq,
                last_time_ns=self.last_time_ns,
                last_order_id=self._last_order_id,
                digest_chain=chain,
                digest_rest=rest,
                assets=list(self._registry.assets.values()),
                accounts=[account.image() for account in self._accounts.values()],
                keys=list(self._registry.keys.values()),
                balances=self._ledger.rows(),
                deposits=self._deposits.all(),
                markets=[market.image() for market in self._markets.values()],
            )
        )

    @staticmethod
    def load(data: bytes) -> "Engine":
        """The engine that was dumped.

        Raises:
            ValueError: this is no dump, or not one of a possible state.
        """
        image = decode(data)
        engine = Engine()
        try:
            engine._restore(image)
            engine.check()
        except (AssertionError, KeyError, LedgerError) as error:
            raise ValueError(f"not an engine's state: {error!r}") from error
        if engine.dump() != data:
            raise ValueError("not an engine's state: it is not read back as it is written")
        return engine

    def _restore(self, image: EngineImage) -> None:
        self.last_seq = image.last_seq
        self.last_time_ns = image.last_time_ns
        self._last_order_id = image.last_order_id
        self.digest = RollingDigest(image.digest_chain, image.digest_rest)
        definitions: list[Definition] = [DefineAsset(asset) for asset in image.assets]
        definitions += [DefineAccount(account.definition) for account in image.accounts[1:]]
        definitions += [DefineKey(key) for key in image.keys]
        definitions += [DefineMarket(market.definition) for market in image.markets]
        for definition in definitions:
            refused = self._define(definition, Effects(0))
            if refused is not None:
                raise ValueError(f"not an engine's state: {refused}")
        for number, asset, available, held in image.balances:
            if number not in self._accounts:
                raise ValueError(f"not an engine's state: a balance of account {number}")
            self._ledger.restore(number, asset, available, held)
        for deposit in image.deposits:
            self._deposits.add(deposit)
        for remembered in image.accounts:
            self._accounts[remembered.definition.account].restore(remembered)
        for market in image.markets:
            self._markets[market.definition.symbol].restore(market, self._accounts)


_UNKNOWN_SYMBOL: Final = Rejected(codes.BAD_SYMBOL, "", "symbol")
_UNKNOWN_ORDER: Final = Rejected(codes.CANCEL_REJECTED, "UNKNOWN_ORDER")
_NO_SUCH_ORDER: Final = Rejected(codes.NO_SUCH_ORDER, "UNKNOWN_ORDER")


def _order_id_of(order: Order) -> int:
    return order.order_id

"""The engine a second time, as simple as can be, to hold the fast one against.

Theory of operation. The state is what was defined, what was credited, what every account owns, the open orders and the
finished ones. Nothing else is kept: who is first in line, the best price, what an order holds and what is therefore
available is worked out from these lists whenever it is asked for, so nothing can go stale. Speed does not matter here.

A command is judged before anything changes; where a rule is not met, `Refusal` is raised. What an order will meet in
the book is planned as a list of steps, from which 'all or nothing' is decided; then the steps are taken.

Comments that begin with > are sentences of the design, the lines below follow them.
"""

import re
from collections.abc import Iterator
from copy import copy
from typing import Final, get_args

from book import codes, terms
from book.commands import (
    CancelAll,
    CancelOrder,
    CreditDeposit,
    DefineAccount,
    DefineAsset,
    DefineMarket,
    Definition,
    PlaceOrder,
    Tick,
    TradingCommand,
)
from book.definitions import Account, Asset, Key, Market
from book.digest import RollingDigest
from book.events import (
    AccountDefined,
    AssetDefined,
    Credited,
    Event,
    KeyDefined,
    MarketDefined,
    OrderAccepted,
    OrderClosed,
    Rejected,
    Trade,
)
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
from book.reference_orders import Order, Step
from book.reference_rules import (
    Refusal,
    demand,
    judge_account,
    judge_asset,
    judge_key,
    judge_market,
    judge_moment,
    judge_numbers,
    judge_types,
    judge_words,
    tick_value,
)
from book.terms import BUY, MAX_INT, PPM, SELL

HOUSE: Final = Account(0, "house")


# What the reference knows: not yet how orders are amended and replaced, which tests/test_amend.py and
# tests/test_replace.py check without it.
ReferenceCommand = PlaceOrder | CancelOrder | CancelAll | Tick | Definition | CreditDeposit


class ReferenceEngine:
    """The public face of `book.engine.Engine`, but for its dump."""

    def __init__(self) -> None:
        self.last_seq = 0
        self.last_time_ns = 0
        self.digest = RollingDigest()
        self._assets: list[Asset] = []
        self._markets: list[Market] = []
        self._accounts = [HOUSE]
        self._keys: list[Key] = []
        self._deposits: list[Credited] = []
        self._owned: dict[tuple[int, str], int] = {}  # (account, asset): available and held together
        self._open: list[Order] = []  # oldest first
        self._finished: dict[int, list[Order]] = {}  # by account, in the order in which they ended
        self._last_order_id = 0
        self._last_trade_ids: dict[str, int] = {}  # by symbol
        self._book_seqs: dict[str, int] = {}  # by symbol, how often a resting order came, shrank or left

    # --- Commands -----------------------------------------------------------------------------------------------------

    def apply(self, command: ReferenceCommand, seq: int, time_ns: int) -> list[Event] | Rejected:
        """Let one command take effect at `time_ns`, or refuse it and change nothing.

        Raises:
            TypeError: something in it is not of its type; nothing changed.
            ValueError: `seq` does not grow or time goes back; nothing changed.
        """
        # > Wrong Python *types* raise `TypeError` before anything changes.
        judge_types(command, get_args(ReferenceCommand))
        if type(seq) is not int or type(time_ns) is not int:
            raise TypeError("seq and time_ns are plain integers")
        # > Time and sequence come in as arguments and only ever grow.
        if not (self.last_seq < seq <= MAX_INT and self.last_time_ns <= time_ns <= MAX_INT):
            raise ValueError("seq or time_ns does not grow")
        # > it answers with events or a `Rejected(code, reason)` and leaves a valid state; a rejection changes nothing
        try:
            events = list(self._carry_out(command, seq, time_ns))
        except Refusal as refusal:
            return refusal.answer
        self.last_seq = seq
        self.last_time_ns = time_ns
        return events

    def _carry_out(self, command: ReferenceCommand, seq: int, time_ns: int) -> Iterator[Event]:
        if isinstance(command, PlaceOrder):
            return self._place(command, time_ns)
        if isinstance(command, CancelOrder):
            return self._cancel(command, time_ns)
        if isinstance(command, CancelAll):
            return self._cancel_all(command, time_ns)
        if isinstance(command, CreditDeposit):
            return self._credit(command, seq)
        if isinstance(command, Tick):
            return iter(())
        return self._define(command)

    def _place(self, command: PlaceOrder, time_ns: int) -> Iterator[Event]:
        order = self._judge_order(command, time_ns)
        steps = self._plan(order)
        self._last_order_id = order.order_id
        yield OrderAccepted(order.view())
        self._open.append(order)
        for step in steps:
            yield from self._meet(order, step, time_ns)
        if order not in self._open:
            return
        if order.may_rest:
            self._book_seqs[command.symbol] += 1
        elif order.quote_quantity and order.executed and self._in_line(order):
            # There is more to buy: the amount is spent, but for what does not pay for one more lot.
            yield self._close(order, terms.FILLED, time_ns)
        else:
            # > IOC without a fill: accepted, `EXPIRED`. MARKET ... partly filled: `EXPIRED`.
            yield self._close(order, terms.EXPIRED, time_ns)

    def _cancel(self, command: CancelOrder, time_ns: int) -> Iterator[Event]:
        self._judge_sender(command, time_ns)
        market = self._market(command.symbol)
        # > cancel of another account's order refused as not found
        order = _find(self._open, command.account, market, command.order_id, command.client_order_id)
        if order is None:
            raise Refusal(Rejected(codes.CANCEL_REJECTED, "UNKNOWN_ORDER"))
        yield self._remove(order, terms.CANCELED, time_ns)

    def _cancel_all(self, command: CancelAll, time_ns: int) -> Iterator[Event]:
        self._judge_sender(command, time_ns)
        for order in self._open_orders(command.account, command.symbol):
            yield self._remove(order, terms.CANCELED, time_ns)

    def _credit(self, command: CreditDeposit, seq: int) -> Iterator[Event]:
        refused = codes.DEFINITION_REJECTED
        demand(re.fullmatch("[!-~]{1,200}", command.deposit_id) is not None, refused, "BAD_NAME", "deposit_id")
        deposit = Credited(command.deposit_id, command.account, command.asset, command.amount, seq)
        # > deposits by `deposit_id` (same id with other content: refused and alarmed), for ever
        # > A repeat gets the stored receipt; never a second effect
        for first in self._deposits:
            if first.deposit_id == deposit.deposit_id:
                same = (first.account, first.asset, first.amount) == (deposit.account, deposit.asset, deposit.amount)
                reason = "DUPLICATE_DEPOSIT" if same else "DEPOSIT_DIFFERS"
                raise Refusal(Rejected(refused, reason, "deposit_id", ref=first.receipt))
        demand(deposit.account in self._account_ids(), refused, "UNKNOWN_ACCOUNT", "account", deposit.account)
        demand(deposit.asset in self._asset_names(), refused, "UNKNOWN_ASSET", "asset")
        demand(deposit.amount >= 1, refused, "OUT_OF_RANGE", "amount", deposit.amount, 1)
        room = MAX_INT - self.totals()[deposit.asset]
        demand(deposit.amount <= room, refused, "OVERFLOW", "amount", deposit.amount, room)
        self._deposits.append(deposit)
        self._give(deposit.account, deposit.asset, deposit.amount)
        yield deposit

    def _define(self, command: Definition) -> Iterator[Event]:
        if isinstance(command, DefineAsset):
            judge_asset(command.asset, self._assets)
            self._assets.append(command.asset)
            yield AssetDefined(command.asset)
        elif isinstance(command, DefineMarket):
            judge_market(command.market, self._markets, self._assets)
            self._markets.append(command.market)
            self._last_trade_ids[command.market.symbol] = 0
            self._book_seqs[command.market.symbol] = 0
            yield MarketDefined(command.market)
        elif isinstance(command, DefineAccount):
            judge_account(command.account, self._accounts)
            self._accounts.append(command.account)
            yield AccountDefined(command.account)
        else:
            judge_key(command.key, self._keys, self._accounts)
            self._keys.append(command.key)
            yield KeyDefined(command.key)

    # --- Judging ------------------------------------------------------------------------------------------------------

    def _judge_sender(self, command: TradingCommand, time_ns: int) -> None:
        known = command.account in self._account_ids()
        demand(known, codes.UNAUTHORIZED, "UNKNOWN_ACCOUNT", "account", command.account)
        if command.key:
            keys = [key for key in self._keys if key.key == command.key and key.account == command.account]
            demand(bool(keys), codes.REJECTED_KEY, "UNKNOWN_KEY", "key", command.key)
            permitted = keys[0].permissions & terms.TRADE != 0
            demand(permitted, codes.REJECTED_KEY, "NO_PERMISSION", "key", command.key)
        judge_moment(command, time_ns)

    def _judge_order(self, command: PlaceOrder, time_ns: int) -> Order:
        self._judge_sender(command, time_ns)
        market = self._market(command.symbol)
        judge_words(command)
        self._judge_id(command)
        order = self._order(command, market, time_ns)
        judge_numbers(command, market, order.tick_value)
        self._judge_value(order)
        if order.may_rest:
            # > max open orders per account and market
            count, most = len(self._open_orders(order.account, market.symbol)), market.max_open_orders
            demand(count < most, codes.FILTER_FAILURE, "MAX_ORDERS", "", count, most)
        if command.post_only and self._in_line(order):
            # > `postOnly` (rejected `WOULD_TAKE`, never re-priced)
            best = self._in_line(order)[0].price
            raise Refusal(Rejected(codes.ORDER_REJECTED, "WOULD_TAKE", "price", order.price, best))
        need, available = order.hold(), self._available(order.account, order.holds)
        demand(need <= available, codes.ORDER_REJECTED, "INSUFFICIENT_BALANCE", "", need, available)
        if order.time_in_force == terms.FOK:
            # > `FOK` (all or nothing, decided before touching the book)
            lots = self._would_trade(order)
            demand(lots == order.quantity, codes.ORDER_REJECTED, "FOK_UNFILLABLE", "quantity", order.quantity, lots)
        return order

    def _judge_id(self, command: PlaceOrder) -> None:
        # > orders by (account, `clientOrderId`) while the order lives and for the account's last 10,000 finished orders
        for first in self._remembered(command.account, 10_000):
            if first.client_order_id == command.client_order_id:
                # > A repeat gets the `DUPLICATE` error that carries the first order's id
                duplicate = "DUPLICATE_CLIENT_ORDER_ID"
                raise Refusal(Rejected(codes.ORDER_REJECTED, duplicate, "client_order_id", ref=first.order_id))

    def _order(self, command: PlaceOrder, market: Market, time_ns: int) -> Order:
        """The order as it would enter."""
        order_id = self._last_order_id + 1
        return Order(
            order_id=order_id,
            account=command.account,
            market=market,
            client_order_id=command.client_order_id or self._free_name(command.account, order_id),
            side=command.side,
            type=command.type,
            time_in_force=command.time_in_force,
            price=command.price,
            quantity=MAX_INT if command.quote_quantity else command.quantity,
            quote_quantity=command.quote_quantity,
            amount=command.quote_quantity,
            self_trade=command.self_trade or market.self_trade,
            created_ns=time_ns,
            updated_ns=time_ns,
            maker_rate=market.maker_fee,
            taker_rate=market.taker_fee,
            tick_value=int(tick_value(market, self._assets)),
            worst=command.price,
        )

    def _judge_value(self, order: Order) -> None:
        """Not worth too little or too much, at the worst price it trades at."""
        market = order.market
        valued_at = order.price
        if order.type == terms.MARKET:
            facing = [other.price for other in self._open if other.market is market and other.side != order.side]
            # > MARKET on an empty side: `NO_LIQUIDITY`
            demand(bool(facing), codes.ORDER_REJECTED, "NO_LIQUIDITY")
            # > `MARKET` (by base quantity or quote amount, never past a collar around the best opposite price)
            valued_at = min(facing) if order.side == BUY else max(facing)
            collar = valued_at * market.collar // PPM
            if order.side == BUY:
                order.worst = min(valued_at + collar, MAX_INT // order.tick_value)
            else:
                order.worst = max(valued_at - collar, 1)
        if order.quote_quantity:
            return
        # > All stored values fit a signed 64-bit integer
        # A buy pays its notional at most. A sell takes in what bids hold, that is at most all there is of the quote
        # asset; and when it rests, once more its notional.
        most = MAX_INT if order.side == BUY else MAX_INT - self.totals()[market.quote]
        # > checked before the arithmetic (`qty > MAX // price` → `OVERFLOW`)
        lots = most // order.notional(1, order.worst)
        demand(order.quantity <= lots, codes.FILTER_FAILURE, "OVERFLOW", "quantity", order.quantity, lots)
        notional, least = order.notional(order.quantity, valued_at), market.min_notional
        demand(notional >= least, codes.FILTER_FAILURE, "MIN_NOTIONAL", "notional", notional, least)

    # --- Trading ------------------------------------------------------------------------------------------------------

    def _in_line(self, taker: Order) -> list[Order]:
        """Whom an order meets: the best price first, and of equals the oldest."""
        sign = 1 if taker.side == BUY else -1
        makers = [
            order
            for order in self._open
            if order.market is taker.market and order.side != taker.side and sign * order.price <= sign * taker.worst
        ]
        return sorted(makers, key=lambda maker: (sign * maker.price, maker.order_id))

    def _plan(self, taker: Order) -> list[Step]:
        """What the order would do if it entered now. Changes nothing."""
        mode = taker.self_trade
        left = copy(taker)
        steps: list[Step] = []
        for maker in self._in_line(taker):
            wanted = left.wants(maker.price)
            if wanted == 0:
                break
            lots = min(wanted, maker.open)
            prevented = maker.account == taker.account and mode != terms.NONE
            expires = mode in {terms.EXPIRE_TAKER, terms.EXPIRE_BOTH} or (mode == terms.DECREMENT and lots == wanted)
            steps.append(Step(maker, lots, prevented, prevented and expires))
            if prevented and expires:
                break
            if prevented and mode == terms.EXPIRE_MAKER:
                continue
            left.quantity -= lots
            left.amount -= left.cost(lots, maker.price, taker.taker_rate)
            if not prevented:
                left.fees += taker.taker_rate * left.notional(lots, maker.price)
        return steps

    def _would_trade(self, taker: Order) -> int:
        """How many lots an order of all or nothing can count on."""
        # > FOK counts hidden quantity and STP correctly
        # What self-trade prevention takes from it cannot fill it, nor can what stands behind that.
        lots = 0
        for step in self._plan(taker):
            if not step.prevented:
                lots += step.lots
            elif taker.self_trade != terms.EXPIRE_MAKER:
                break
        return lots

    def _meet(self, taker: Order, step: Step, time_ns: int) -> Iterator[Event]:
        maker = step.maker
        if not step.prevented:
            yield self._trade(taker, maker, step.lots, time_ns)
            for order in (maker, taker):
                if order.open == 0:
                    yield self._close(order, terms.FILLED, time_ns)
            return
        # > `EXPIRE_TAKER`, `EXPIRE_MAKER`, `EXPIRE_BOTH`, `DECREMENT` (both shrink by the overlap)
        shrinks = taker.self_trade == terms.DECREMENT
        if taker.self_trade in {terms.EXPIRE_MAKER, terms.EXPIRE_BOTH} or (shrinks and step.lots == maker.open):
            yield self._remove(maker, terms.EXPIRED_IN_MATCH, time_ns)
        elif shrinks:
            self._book_seqs[maker.market.symbol] += 1
            yield maker.shrink(step.lots, time_ns)
        if step.ends_taker:
            yield self._close(taker, terms.EXPIRED_IN_MATCH, time_ns)
        elif shrinks:
            yield taker.shrink(step.lots, time_ns)

    def _trade(self, taker: Order, maker: Order, lots: int, time_ns: int) -> Trade:
        market = taker.market
        notional = maker.notional(lots, maker.price)
        fees = {taker: taker.fee(notional, taker.taker_rate), maker: maker.fee(notional, maker.maker_rate)}
        taker.fees += notional * taker.taker_rate
        maker.fees += notional * max(maker.maker_rate, 0)
        for order, fee in fees.items():
            # > fills settle both sides. Fees in quote units into a house account
            sign = 1 if order.side == BUY else -1
            self._give(order.account, market.base, sign * lots * market.lot)
            self._give(order.account, market.quote, -sign * notional - fee)
            self._give(HOUSE.account, market.quote, fee)
            order.executed += lots
            order.executed_quote += notional
            order.status = terms.PARTIALLY_FILLED
            order.updated_ns = time_ns
        self._last_trade_ids[market.symbol] += 1
        self._book_seqs[market.symbol] += 1
        return Trade(
            symbol=market.symbol,
            trade_id=self._last_trade_ids[market.symbol],
            price=maker.price,
            quantity=lots,
            notional=notional,
            taker_side=taker.side,
            maker_order_id=maker.order_id,
            taker_order_id=taker.order_id,
            maker_account=maker.account,
            taker_account=taker.account,
            maker_fee=fees[maker],
            taker_fee=fees[taker],
        )

    def _remove(self, order: Order, status: int, time_ns: int) -> OrderClosed:
        """End an order that rests."""
        self._book_seqs[order.market.symbol] += 1
        return self._close(order, status, time_ns)

    def _close(self, order: Order, status: int, time_ns: int) -> OrderClosed:
        order.status = status
        order.updated_ns = time_ns
        self._open.remove(order)
        self._finished.setdefault(order.account, []).append(order)
        return OrderClosed(order.view())

    # --- Money --------------------------------------------------------------------------------------------------------

    def _give(self, account: int, asset: str, amount: int) -> None:
        self._owned[account, asset] = self._owned.get((account, asset), 0) + amount

    def _held(self, account: int, asset: str) -> int:
        return sum(order.hold() for order in self._open if order.account == account and order.holds == asset)

    def _available(self, account: int, asset: str) -> int:
        return self._owned.get((account, asset), 0) - self._held(account, asset)

    def totals(self) -> dict[str, int]:
        """Per asset, what came in, in engine units."""
        return {
            name: sum(deposit.amount for deposit in self._deposits if deposit.asset == name)
            for name in self._asset_names()
        }

    # --- Questions ----------------------------------------------------------------------------------------------------

    def query(self, query: Query) -> Answer | Rejected:
        """Answer a question about the state as it is. Changes nothing.

        Raises:
            TypeError: something in it is not of its type.
        """
        judge_types(query, get_args(Query))
        try:
            return self._answer(query)
        except Refusal as refusal:
            return refusal.answer

    def _answer(self, query: Query) -> Answer:
        if isinstance(query, Depth):
            return self._depth(query)
        if isinstance(query, Logon):
            keys = [key for key in self._keys if key.name == query.key_name]
            demand(bool(keys), codes.REJECTED_KEY, "UNKNOWN_KEY", "key_name")
            return keys[0]
        if isinstance(query, Directory):
            markets = [
                MarketStatus(market, terms.TRADING, sum(order.market is market for order in self._open))
                for market in self._markets
            ]
            return DirectoryView(list(self._assets), markets, list(self._accounts), list(self._keys))
        if isinstance(query, Info):
            return InfoView(
                seq=self.last_seq,
                time_ns=self.last_time_ns,
                digest=self.digest.value().hex(),
                compiled=False,
                totals=self.totals(),
                accounts=len(self._accounts),
                open_orders=len(self._open),
            )
        if isinstance(query, Balances | OpenOrders | OrderStatus):
            return self._answer_to(query)
        raise NotImplementedError

    def _answer_to(self, query: Balances | OpenOrders | OrderStatus) -> Answer:
        """What an account asks about itself."""
        known = query.account in self._account_ids()
        demand(known, codes.UNAUTHORIZED, "UNKNOWN_ACCOUNT", "account", query.account)
        if isinstance(query, Balances):
            return [
                Balance(name, self._available(query.account, name), self._held(query.account, name))
                for name in self._asset_names()
                if self._owned.get((query.account, name), 0)
            ]
        if isinstance(query, OpenOrders):
            return [order.view() for order in self._open_orders(query.account, query.symbol)]
        market = self._market(query.symbol)
        # > per account the last 1,000 trades and 1,000 finished orders
        orders = self._remembered(query.account, 1_000)
        order = _find(orders, query.account, market, query.order_id, query.client_order_id)
        if order is None:
            raise Refusal(Rejected(codes.NO_SUCH_ORDER, "UNKNOWN_ORDER"))
        return order.view()

    def _depth(self, query: Depth) -> DepthView:
        market = self._market(query.symbol)
        # > `symbol,limit=100 (≤ 5,000)`. A `limit` out of range: -1130.
        demand(1 <= query.limit <= 5_000, codes.INVALID_PARAMETER, "", "limit", query.limit, 5_000)
        levels: dict[int, dict[int, int]] = {BUY: {}, SELL: {}}
        for order in self._open:
            if order.market is market:
                side = levels[order.side]
                side[order.price] = side.get(order.price, 0) + order.open
        bids = sorted(levels[BUY].items(), reverse=True)[: query.limit]
        asks = sorted(levels[SELL].items())[: query.limit]
        return DepthView(market.symbol, self._book_seqs[market.symbol], bids, asks)

    # --- Going through the lists --------------------------------------------------------------------------------------

    def _asset_names(self) -> list[str]:
        return [asset.name for asset in self._assets]

    def _account_ids(self) -> list[int]:
        return [account.account for account in self._accounts]

    def _market(self, symbol: str) -> Market:
        for market in self._markets:
            if market.symbol == symbol:
                return market
        raise Refusal(Rejected(codes.BAD_SYMBOL, "", "symbol"))

    def _open_orders(self, account: int, symbol: str) -> list[Order]:
        """The account's, oldest first, in one market or (symbol empty) in all."""
        if symbol:
            self._market(symbol)
        return [order for order in self._open if order.account == account and symbol in {"", order.market.symbol}]

    def _remembered(self, account: int, finished: int) -> list[Order]:
        """The account's open orders, and its last finished ones."""
        return self._open_orders(account, "") + self._finished.get(account, [])[-finished:]

    def _free_name(self, account: int, order_id: int) -> str:
        taken = {order.client_order_id for order in self._remembered(account, 10_000)}
        name, attempt = f"auto-{order_id}", 0
        while name in taken:
            attempt += 1
            name = f"auto-{order_id}-{attempt}"
        return name

    def check(self) -> None:
        """Look at everything; AssertionError if any of it is not as it must be."""
        for asset, total in self.totals().items():
            # > Conservation, per asset, after every command. Never negative.
            owned = sum(amount for (_, name), amount in self._owned.items() if name == asset)
            _assure(owned == total, f"{total} {asset} came in, {owned} are there")
        for account, asset in self._owned:
            _assure(self._available(account, asset) >= 0, f"account {account} holds more {asset} than it owns")
        for order in self._open:
            _assure(order.may_rest and order.open > 0, f"order {order.order_id} rests with {order.open} open")
            _assure(not self._in_line(order), f"order {order.order_id} could trade")


def _find(orders: list[Order], account: int, market: Market, order_id: int, client_order_id: str) -> Order | None:
    """The account's order in this market by either id; where both are given, both have to be its."""
    for order in orders:
        fits = order_id in {0, order.order_id} and client_order_id in {"", order.client_order_id}
        if fits and (order_id or client_order_id) and order.account == account and order.market is market:
            return order
    return None


def _assure(met: bool, otherwise: str) -> None:
    if not met:
        raise AssertionError(otherwise)

"""A second exchange, as simple as can be, to hold against the real one: one market, lists, sorting, fractions.

It knows what every account should own, which orders should be open and who should have traded with whom. It has no
levels, no links, no summaries and no incremental holds: everything is computed anew from the orders when it is asked.
"""

import copy
from fractions import Fraction
from math import ceil

from attrs import define, field

from book.commands import PlaceOrder
from book.definitions import Market
from book.terms import (
    BUY,
    DECREMENT,
    EXPIRE_BOTH,
    EXPIRE_MAKER,
    EXPIRE_TAKER,
    EXPIRED,
    EXPIRED_IN_MATCH,
    FILLED,
    FOK,
    GTC,
    LIMIT,
    MARKET,
    NEW,
    NONE,
    PARTIALLY_FILLED,
    PPM,
    SELL,
)


@define(eq=False)
class SimpleOrder:
    """An order and what it has done."""

    number: int
    account: int
    side: int
    worst: int
    """The worst price it takes."""
    quantity: int
    amount: int
    mode: int
    executed: int = 0
    fees: Fraction = field(factory=Fraction)
    """The exact sum of its fees; it has paid this, rounded up."""
    spent: int = 0
    status: int = NEW

    @property
    def open(self) -> int:
        """Lots."""
        return self.quantity - self.executed


class SimpleExchange:
    """The model: `place` and `cancel` change it, the rest is asked of it."""

    def __init__(self, market: Market, funds: dict[int, tuple[int, int]]) -> None:
        """`funds` is what each account begins with: base and quote units."""
        self.market = market
        self.owned = {account: list(amounts) for account, amounts in funds.items()}
        self.book: list[SimpleOrder] = []
        self.trades: list[tuple[int, int, int, int]] = []
        self.last_number = 0

    def place(self, command: PlaceOrder) -> SimpleOrder | str:
        """The order as the command left it, or the reason why it was refused. Its trades are in `trades`."""
        order = SimpleOrder(
            self.last_number + 1,
            command.account,
            command.side,
            command.price,
            command.quantity,
            command.quote_quantity,
            command.self_trade or self.market.self_trade,
        )
        reason = self._refusal(order, command)
        if reason:
            return reason
        if command.time_in_force == FOK:
            trial = copy.deepcopy(self)
            trial_order = copy.deepcopy(order)
            trial._take(trial_order)
            if trial_order.executed < command.quantity:
                return "FOK_UNFILLABLE"
        self.last_number += 1
        self.trades = []
        self._take(order)
        if order.status in {NEW, PARTIALLY_FILLED}:
            if command.type == LIMIT and command.time_in_force == GTC:
                self.book.append(order)
            else:
                order.status = EXPIRED
        return order

    def cancel(self, account: int, number: int) -> bool:
        """Whether there was such an order."""
        mine = [order for order in self.book if order.number == number and order.account == account]
        self.book = [order for order in self.book if order not in mine]
        return bool(mine)

    def available(self, account: int) -> tuple[int, int]:
        """Base and quote units that no open order holds."""
        base, quote = self.owned[account]
        for order in self.book:
            if order.account == account:
                if order.side == SELL:
                    base -= order.open * self.market.lot
                else:
                    quote -= self._worst_cost(order)
        return base, quote

    def levels(self, side: int) -> list[tuple[int, int]]:
        """Price and lots, best first."""
        levels: dict[int, int] = {}
        for order in self._queue(side):
            levels[order.worst] = levels.get(order.worst, 0) + order.open
        return list(levels.items())

    def _refusal(self, order: SimpleOrder, command: PlaceOrder) -> str:  # noqa: PLR0911 -- one rule, one answer
        market = self.market
        facing = self._queue(BUY if order.side == SELL else SELL)
        if not order.amount and not market.min_quantity <= order.quantity <= market.max_quantity:
            return "LOT_SIZE"
        valued_at = order.worst
        if command.type == MARKET:
            if order.amount and order.amount < market.min_notional:
                return "MIN_NOTIONAL"
            if not facing:
                return "NO_LIQUIDITY"
            valued_at = facing[0].worst
            collar = valued_at * market.collar // PPM
            order.worst = valued_at + collar if order.side == BUY else max(1, valued_at - collar)
        elif order.worst < 1:
            return "PRICE_FILTER"
        if not order.amount and order.quantity * valued_at < market.min_notional:
            return "MIN_NOTIONAL"
        if command.type == LIMIT and command.time_in_force == GTC:
            if sum(each.account == order.account for each in self.book) >= market.max_open_orders:
                return "MAX_ORDERS"
            if command.post_only and facing and self._reaches(order, facing[0]):
                return "WOULD_TAKE"
        base, quote = self.available(order.account)
        need = order.quantity * market.lot if order.side == SELL else order.amount or self._worst_cost(order)
        return "INSUFFICIENT_BALANCE" if need > (base if order.side == SELL else quote) else ""

    def _worst_cost(self, order: SimpleOrder) -> int:
        notional = order.open * order.worst
        worst_fee = Fraction(notional * max(self.market.maker_fee, self.market.taker_fee), PPM)
        return notional + ceil(order.fees + worst_fee) - ceil(order.fees)

    def _queue(self, side: int) -> list[SimpleOrder]:
        orders = [order for order in self.book if order.side == side]
        return sorted(orders, key=lambda order: -order.worst if side == BUY else order.worst)

    @staticmethod
    def _reaches(order: SimpleOrder, facing: SimpleOrder) -> bool:
        return facing.worst <= order.worst if order.side == BUY else facing.worst >= order.worst

    def _wanted(self, taker: SimpleOrder, price: int) -> int:
        if not taker.amount:
            return taker.open
        lots = 0
        while self._spent_after(taker, (lots + 1) * price) <= taker.amount:
            lots += 1
        return lots

    def _spent_after(self, taker: SimpleOrder, notional: int) -> int:
        return taker.spent + notional + ceil(taker.fees + Fraction(notional * self.market.taker_fee, PPM))

    def _take(self, taker: SimpleOrder) -> None:
        for maker in self._queue(BUY if taker.side == SELL else SELL):
            if not taker.amount and not taker.open:
                break
            if not self._reaches(taker, maker):
                break
            wanted = self._wanted(taker, maker.worst)
            if not wanted:
                break
            lots = min(wanted, maker.open)
            if taker.account != maker.account or taker.mode == NONE:
                self._trade(taker, maker, lots)
            elif self._prevented(taker, maker, lots, wanted):
                taker.status = EXPIRED_IN_MATCH
                return
        if taker.amount:
            cheapest = self._queue(BUY if taker.side == SELL else SELL)
            if cheapest and self._reaches(taker, cheapest[0]):
                taker.status = FILLED if taker.executed else EXPIRED
        elif not taker.open:
            taker.status = FILLED

    def _trade(self, taker: SimpleOrder, maker: SimpleOrder, lots: int) -> None:
        price = maker.worst
        self.trades.append((maker.number, taker.number, price, lots))
        for order, rate in ((taker, self.market.taker_fee), (maker, self.market.maker_fee)):
            before = ceil(order.fees)
            order.fees += Fraction(lots * price * rate, PPM)
            fee = ceil(order.fees) - before
            sign = 1 if order.side == BUY else -1
            self.owned[order.account][0] += sign * lots * self.market.lot
            self.owned[order.account][1] -= sign * lots * price + fee
            self.owned[0][1] += fee
            order.executed += lots
            order.spent += lots * price
            order.status = PARTIALLY_FILLED
            if order.amount:
                order.quantity = order.executed
        if not maker.open:
            maker.status = FILLED
            self.book.remove(maker)

    def _prevented(self, taker: SimpleOrder, maker: SimpleOrder, lots: int, wanted: int) -> bool:
        if taker.mode in {EXPIRE_MAKER, EXPIRE_BOTH} or (taker.mode == DECREMENT and lots == maker.open):
            self.book.remove(maker)
        elif taker.mode == DECREMENT:
            maker.quantity -= lots
        if taker.mode == DECREMENT and lots < wanted:
            if taker.amount:
                taker.amount -= self._spent_after(taker, lots * maker.worst) - self._spent_after(taker, 0)
            else:
                taker.quantity -= lots
        return taker.mode in {EXPIRE_TAKER, EXPIRE_BOTH} or (taker.mode == DECREMENT and lots == wanted)

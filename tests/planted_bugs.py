"""Bugs to plant in the fast engine, to see that they are found. Each takes a MonkeyPatch, which takes it out again."""

from collections.abc import Callable
from typing import Final

import pytest

from book import engine, stops, transfers
from book.effects import Effects
from book.ledger import Balance, release
from book.live_market import LiveMarket
from book.orders import Order, PriceLevel
from book.rates import part
from book.terms import EXPIRED, LIMIT, NONE
from book.trading import enter
from book.withdrawals import Withdrawals


def break_fifo(patch: pytest.MonkeyPatch) -> None:
    """The last to come is the first in line."""

    def push_in(level: PriceLevel, order: Order) -> None:
        first, level.first, order.level, order.behind = level.first, order, level, level.first
        if first is None:
            level.last = order
        else:
            first.before = order
        level.count += 1
        level.quantity += order.quantity - order.executed

    patch.setattr(PriceLevel, "append", push_in)


def let_ioc_rest(patch: pytest.MonkeyPatch) -> None:
    """What an IOC order leaves over waits in the book."""
    close = LiveMarket.close

    def rest_instead(market: LiveMarket, order: Order, status: int, effects: Effects) -> None:
        if status == EXPIRED and order.type == LIMIT:
            market.rest(order)
        else:
            close(market, order, status, effects)

    patch.setattr(LiveMarket, "close", rest_instead)


def round_fees_down(patch: pytest.MonkeyPatch) -> None:
    """A fee is rounded in the customer's favour."""

    def charge(_order: Order, notional: int, rate: int) -> int:
        return part(notional, rate) if rate > 0 else -part(notional, -rate)

    patch.setattr(Order, "charge", charge)


def release_twice(patch: pytest.MonkeyPatch) -> None:
    """A cancelled order gives back what it held, and then as much of what others hold."""
    cancel = LiveMarket.cancel

    def cancel_twice(market: LiveMarket, order: Order, status: int, effects: Effects) -> None:
        held, balance = order.held, market.paying(order)
        cancel(market, order, status, effects)
        release(balance, min(held, balance.held))

    patch.setattr(LiveMarket, "cancel", cancel_twice)


def ignore_prevention(patch: pytest.MonkeyPatch) -> None:
    """An account trades with itself, whatever it asked for."""

    def enter_without(market: LiveMarket, order: Order, effects: Effects) -> None:
        order.self_trade = NONE
        enter(market, order, effects)

    patch.setattr(engine, "enter", enter_without)


def invert_stops(patch: pytest.MonkeyPatch) -> None:
    """A stop that waits for the price to rise waits for it to fall, and the other way round."""
    rises = stops.rises
    patch.setattr(stops, "rises", lambda order: not rises(order))


def forget_names_of_withdrawals(patch: pytest.MonkeyPatch) -> None:
    """A withdrawal that is asked for again is held for again."""
    patch.setattr(Withdrawals, "named", lambda _self, _account, _name: None)


def give_fees_back(patch: pytest.MonkeyPatch) -> None:
    """The fee of a withdrawal is not the house's but its owner's."""

    def keep(payer: Balance, _payee: Balance, amount: int) -> None:
        release(payer, amount)

    patch.setattr(transfers, "settle", keep)


BUGS: Final[list[Callable[[pytest.MonkeyPatch], None]]] = [
    break_fifo,
    let_ioc_rest,
    round_fees_down,
    release_twice,
    ignore_prevention,
    invert_stops,
    forget_names_of_withdrawals,
    give_fees_back,
]

"""An exchange with a little of everything in it, at a moment when all of it is to be seen: its market has halted."""

from typing import Final

from book.commands import ArmSession
from book.terms import BUY, HALT, SELL, STOP_LOSS, STOP_LOSS_LIMIT
from tests.exchange import (
    ALICE,
    BOB,
    CAROL,
    SYMBOL,
    Exchange,
    buy,
    cancel_all_after,
    free,
    iceberg,
    ioc,
    sell,
    stop,
    till,
)

TRIGGERED: Final = 3
MARKET_STOP: Final = 4  # triggered, too
WAITING: Final = 5
ICEBERG: Final = 6
GOOD_TILL: Final = 7


def halted() -> Exchange:
    """A market that halted for a time with two stops triggered, one waiting; an iceberg, an expiry, a switch."""
    exchange = Exchange(free(band=100_000, halt_ms=5_000))
    exchange.place(sell(BOB, 1, 1_000))
    exchange.place(ioc(CAROL, BUY, 1, 1_000))
    exchange.place(stop(ALICE, BUY, STOP_LOSS_LIMIT, 5, 1_100, 1_100))
    exchange.place(stop(ALICE, BUY, STOP_LOSS, 5, 1_100))
    exchange.place(stop(ALICE, SELL, STOP_LOSS_LIMIT, 5, 900, 900))
    exchange.place(iceberg(BOB, BUY, 20, 950, 5))
    exchange.place(till(exchange.time_ns // 10**6 + 60_000, buy(BOB, 5, 940)))
    for price in (1_100, 1_200):
        exchange.place(sell(BOB, 1, price))
    exchange.place(ioc(CAROL, BUY, 2, 1_200))
    exchange.done(cancel_all_after(ALICE, 30_000))
    for number in (7, 3):
        exchange.done(ArmSession(ALICE, 0, number))
    market = exchange.engine.state.markets[SYMBOL]
    assert market.state == HALT
    assert list(market.triggered) == [TRIGGERED, MARKET_STOP]
    return exchange

"""Replacing an order: both halves or neither, and the new one judged as if the old were gone."""

import msgspec
import pytest

from book import codes
from book.events import OrderAccepted, OrderClosed, Rejected
from book.queries import Balance
from book.terms import BUY, CANCELED, EXPIRE_TAKER, EXPIRED, FILLED, MAX_INT, SELL
from tests.exchange import (
    ALICE,
    BOB,
    BTC_USDT,
    CAROL,
    Exchange,
    buy,
    closed,
    fok,
    market,
    replace,
    sell,
    trades,
)

UNKNOWN = Rejected(codes.CANCEL_REJECTED, "UNKNOWN_ORDER")


@pytest.mark.parametrize("by_client_id", [False, True])
def test_one_order_leaves_and_another_comes(by_client_id: bool) -> None:
    """In that order, within one command; the new one has its own id and the last place."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 10, 100, client_order_id="old"))
    exchange.place(buy(BOB, 10, 100))
    new = buy(ALICE, 10, 100, client_order_id="new")
    events = exchange.done(replace(0, new, "old") if by_client_id else replace(1, new))
    assert [type(event) for event in events] == [OrderClosed, OrderAccepted]
    assert closed(events) == [(1, CANCELED)]
    assert exchange.open_orders(ALICE) == [3]
    assert exchange.order(ALICE, 3).client_order_id == "new"
    assert trades(exchange.done(sell(CAROL, 10, 100))) == [(100, 10)]
    assert exchange.open_orders(ALICE) == [3]


def test_a_refused_replacement_leaves_the_old_order_where_it_was() -> None:
    """Its place in the queue, its hold and its ids included."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 10, 100, client_order_id="old"))
    exchange.place(buy(BOB, 10, 100))
    for new in (
        buy(ALICE, 0, 100),
        buy(ALICE, 10, 0),
        fok(ALICE, BUY, 10, 100),
        buy(ALICE, 1, 1, client_order_id="old"),
    ):
        exchange.refused(replace(1, new))
    assert trades(exchange.done(sell(CAROL, 10, 100))) == [(100, 10)]
    assert exchange.order(ALICE, 1).status == FILLED


def test_replace_uses_the_open_quantity_of_the_old_order() -> None:
    """Of a partly filled order only what is open comes back, and the new one is as large as it says."""
    exchange = Exchange(funds={"BTC": 10 * BTC_USDT.lot, "USDT": 10**9})
    exchange.place(sell(ALICE, 10, 100))
    exchange.place(buy(BOB, 4, 100))
    seven = exchange.refused(replace(1, sell(ALICE, 7, 100)))
    lot = BTC_USDT.lot
    assert seven == Rejected(codes.ORDER_REJECTED, "INSUFFICIENT_BALANCE", "", 7 * lot, 6 * lot)
    events = exchange.done(replace(1, sell(ALICE, 6, 101)))
    assert closed(events) == [(1, CANCELED)]
    assert exchange.order(ALICE, 1).executed == 4
    assert exchange.depth().asks == [(101, 6)]
    assert exchange.balance(ALICE, "BTC") == Balance("BTC", 0, 6 * lot)


def test_what_the_old_order_holds_pays_for_the_new_one_of_its_side_only() -> None:
    """A buy's money buys no lots that are to be sold."""
    exchange = Exchange(funds={"BTC": BTC_USDT.lot, "USDT": 10_020})
    exchange.place(buy(ALICE, 10, 1_000))
    exchange.done(replace(1, buy(ALICE, 5, 2_000)))
    assert exchange.balance(ALICE, "USDT") == Balance("USDT", 0, 10_020)
    assert exchange.refused(replace(2, sell(ALICE, 2, 3_000))).reason == "INSUFFICIENT_BALANCE"
    exchange.done(replace(2, sell(ALICE, 1, 3_000)))
    assert exchange.balance(ALICE, "USDT") == Balance("USDT", 10_020, 0)


def test_the_old_order_does_not_count_among_the_open_ones() -> None:
    """An account at its limit can still replace."""
    exchange = Exchange(msgspec.structs.replace(BTC_USDT, max_open_orders=2))
    exchange.place(buy(ALICE, 10, 100))
    exchange.place(buy(ALICE, 10, 101))
    assert exchange.refused(buy(ALICE, 10, 102)).reason == "MAX_ORDERS"
    exchange.done(replace(1, buy(ALICE, 10, 102)))
    assert exchange.open_orders(ALICE) == [2, 3]


def test_the_new_order_does_not_meet_the_old_one() -> None:
    """Post-only, market and FOK orders to the other side see the book without it."""
    exchange = Exchange()
    exchange.place(sell(ALICE, 10, 100))
    exchange.done(replace(1, buy(ALICE, 10, 100, post_only=True)))
    assert exchange.depth().bids == [(100, 10)]
    assert exchange.refused(replace(2, market(ALICE, SELL, 1))).reason == "NO_LIQUIDITY"
    exchange.place(buy(BOB, 10, 99))
    assert exchange.refused(replace(2, fok(ALICE, SELL, 11, 99))).limit == 10
    events = exchange.done(replace(2, fok(ALICE, SELL, 10, 99)))
    assert trades(events) == [(99, 10)]


def test_fok_sees_through_the_old_order_to_those_behind_it() -> None:
    """And stops at the account's next one."""
    exchange = Exchange(msgspec.structs.replace(BTC_USDT, self_trade=EXPIRE_TAKER))
    for account in (ALICE, BOB, ALICE, CAROL):
        exchange.place(buy(account, 10, 100))
    assert exchange.refused(replace(1, fok(ALICE, SELL, 11, 100))).limit == 10
    assert trades(exchange.done(replace(1, fok(ALICE, SELL, 10, 100)))) == [(100, 10)]


def test_a_market_orders_collar_is_that_of_the_book_without_the_old_order() -> None:
    """The best price is then another's."""
    exchange = Exchange()
    exchange.place(sell(ALICE, 10, 1_000))
    exchange.place(sell(BOB, 5, 2_000))
    exchange.place(sell(BOB, 5, 2_200))
    exchange.place(sell(BOB, 5, 2_201))
    events = exchange.done(replace(1, market(ALICE, BUY, 15)))
    assert trades(events) == [(2_000, 5), (2_200, 5)]
    assert closed(events)[-1] == (5, EXPIRED)


@pytest.mark.parametrize("order_id", [0, 2, -1, MAX_INT, 2**63, -(2**63), 10**30])
def test_without_the_old_order_there_is_no_new_one(order_id: int) -> None:
    """Whatever the id; another's is not found either, nor one that is finished, nor one of two ids that disagree."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 10, 100, client_order_id="mine"))
    new = buy(ALICE, 1, 1)
    assert exchange.refused(replace(order_id, new)) == UNKNOWN
    assert exchange.refused(replace(1, new, "other")) == UNKNOWN
    assert exchange.refused(replace(1, buy(BOB, 1, 1))) == UNKNOWN
    assert exchange.refused(replace(1, msgspec.structs.replace(new, symbol="X"))).code == codes.BAD_SYMBOL
    exchange.done(replace(1, new))
    assert exchange.refused(replace(1, new)) == UNKNOWN

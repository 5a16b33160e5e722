"""Amending an order: its place in the queue, its holds, its trades, and what is refused."""

import msgspec
import pytest

from book import codes
from book.commands import SetAccountTier, SetFeeTier
from book.events import OrderAmended, OrderClosed, Rejected, Trade
from book.queries import Balance
from book.terms import BUY, DECREMENT, EXPIRED_IN_MATCH, FILLED, MAX_INT, NEW, NONE, PARTIALLY_FILLED, SELL
from tests.exchange import (
    ALICE,
    BOB,
    BTC_USDT,
    CAROL,
    FUNDS,
    LOTS,
    SYMBOL,
    Exchange,
    amend,
    buy,
    cancel,
    closed,
    ioc,
    limit,
    sell,
    trades,
)

UNKNOWN = Rejected(codes.CANCEL_REJECTED, "UNKNOWN_ORDER")


def makers(exchange: Exchange, quantity: int, price: int) -> list[int]:
    """Whom a sell of Carol's trades with, in order."""
    events = exchange.done(sell(CAROL, quantity, price))
    return [event.maker_order_id for event in events if isinstance(event, Trade)]


@pytest.mark.parametrize(
    ("quantity", "price", "order"),
    [(5, 0, [1, 2]), (10, 0, [1, 2]), (10, 100, [1, 2]), (0, 100, [1, 2]), (11, 0, [2, 1]), (11, 100, [2, 1])],
)
def test_a_smaller_quantity_keeps_the_place_and_a_larger_one_loses_it(
    quantity: int, price: int, order: list[int]
) -> None:
    """What is as it was keeps it too."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 10, 100))
    exchange.place(buy(BOB, 10, 100))
    exchange.done(amend(ALICE, 1, quantity, price))
    assert makers(exchange, 30, 100) == order


def test_a_new_price_loses_the_place() -> None:
    """There and back again stands behind who came meanwhile, smaller or not."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 10, 100))
    exchange.place(buy(BOB, 10, 100))
    exchange.done(amend(ALICE, 1, 0, 101))
    assert exchange.depth().bids == [(101, 10), (100, 10)]
    exchange.done(amend(ALICE, 1, 3, 100))
    assert exchange.depth().bids == [(100, 13)]
    assert makers(exchange, 13, 100) == [2, 1]


def test_the_new_quantity_is_the_total_with_what_was_executed() -> None:
    """Only the open part of it rests and is held for."""
    exchange = Exchange()
    exchange.place(sell(BOB, 10, 100))
    exchange.place(buy(ALICE, 4, 100))
    exchange.done(amend(BOB, 1, 6))
    assert exchange.depth().asks == [(100, 2)]
    view = exchange.order(BOB, 1)
    assert (view.quantity, view.executed, view.status) == (6, 4, PARTIALLY_FILLED)
    assert exchange.balance(BOB, "BTC").held == 2 * BTC_USDT.lot
    exchange.done(amend(BOB, 1, 9))
    assert exchange.depth().asks == [(100, 5)]
    assert exchange.balance(BOB, "BTC").held == 5 * BTC_USDT.lot


@pytest.mark.parametrize("quantity", [4, 3, 1, -1, -(2**63), -(10**30)])
def test_a_total_that_was_executed_already_is_refused(quantity: int) -> None:
    """An amendment is no cancel."""
    exchange = Exchange()
    exchange.place(sell(BOB, 10, 100))
    exchange.place(buy(ALICE, 4, 100))
    expected = Rejected(codes.CANCEL_REJECTED, "ALREADY_EXECUTED", "new_quantity", quantity, 4)
    assert exchange.refused(amend(BOB, 1, quantity)) == expected
    assert exchange.refused(amend(BOB, 1, quantity, 99)) == expected


def test_holds_follow_the_amendment_both_ways() -> None:
    """The worst it can still cost, fee included; nothing is held twice, nothing too long."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 10, 1_000))
    for quantity, price, held in ((0, 2_000, 20_040), (20, 0, 40_080), (5, 0, 10_020), (0, 500, 2_505), (0, 0, 2_505)):
        exchange.done(amend(ALICE, 1, quantity, price))
        assert exchange.balance(ALICE, "USDT") == Balance("USDT", FUNDS["USDT"] - held, held)
    exchange.done(cancel(ALICE, 1))
    assert exchange.balance(ALICE, "USDT") == Balance("USDT", FUNDS["USDT"], 0)


def test_a_price_that_crosses_trades_in_the_same_command() -> None:
    """As a taker, at the makers' prices; the rest rests at its own."""
    exchange = Exchange()
    exchange.place(sell(BOB, 4, 100_000))
    exchange.place(buy(ALICE, 10, 90_000))
    events = exchange.done(amend(ALICE, 2, 0, 101_000))
    assert [type(event) for event in events] == [OrderAmended, Trade, OrderClosed]
    trade = events[1]
    assert isinstance(trade, Trade)
    assert (trade.taker_order_id, trade.price, trade.quantity, trade.taker_fee) == (2, 100_000, 4, 800)
    assert exchange.depth().bids == [(101_000, 6)]
    assert exchange.balance(ALICE, "USDT").held == 606_000 + 1_212
    view = exchange.order(ALICE, 2)
    assert (view.status, view.executed, view.price) == (PARTIALLY_FILLED, 4, 101_000)
    assert view.created_ns < view.updated_ns == exchange.time_ns


def test_an_amendment_that_crosses_and_fills_entirely_leaves_no_stale_index() -> None:
    """It is gone from the book, from the open orders and from the ids that can be cancelled or amended."""
    exchange = Exchange()
    exchange.place(sell(BOB, 10, 100))
    exchange.place(buy(ALICE, 10, 90, client_order_id="mine"))
    events = exchange.done(amend(ALICE, 0, 0, 100, client_order_id="mine"))
    assert closed(events) == [(1, FILLED), (2, FILLED)]
    assert exchange.depth().bids == exchange.depth().asks == []
    assert exchange.open_orders(ALICE) == exchange.open_orders(BOB) == []
    for command in (cancel(ALICE, 2), cancel(ALICE, 0, "mine"), amend(ALICE, 2, 5), amend(BOB, 1, 5)):
        assert exchange.refused(command) == UNKNOWN
    assert exchange.order(ALICE, 2).status == FILLED
    assert exchange.balance(ALICE, "USDT").held == exchange.balance(BOB, "BTC").held == 0


def test_an_amended_order_that_meets_its_own_account_is_prevented_by_its_own_mode() -> None:
    """It never meets itself, though."""
    exchange = Exchange()
    exchange.place(sell(ALICE, 4, 100))
    exchange.place(buy(ALICE, 10, 90, self_trade=DECREMENT))
    exchange.done(amend(ALICE, 2, 0, 100))
    view = exchange.order(ALICE, 2)
    assert (view.quantity, view.executed, view.status) == (6, 0, NEW)
    exchange.place(sell(ALICE, 4, 101))
    exchange.place(buy(ALICE, 10, 90))
    assert closed(exchange.done(amend(ALICE, 4, 0, 101))) == [(4, EXPIRED_IN_MATCH)]
    assert exchange.open_orders(ALICE) == [2, 3]


def test_a_post_only_order_is_not_amended_into_a_taker() -> None:
    """Up to the best price of the other side it may go, and no further."""
    exchange = Exchange()
    exchange.place(sell(BOB, 10, 100))
    exchange.place(buy(ALICE, 10, 90, post_only=True))
    for price in (100, 101):
        expected = Rejected(codes.ORDER_REJECTED, "WOULD_TAKE", "new_price", price, 100)
        assert exchange.refused(amend(ALICE, 2, 0, price)) == expected
    exchange.done(amend(ALICE, 2, 20, 99))
    assert exchange.depth().bids == [(99, 20)]


def test_an_amended_order_keeps_the_rates_of_its_placement() -> None:
    """As a taker and as a maker, also where it loses its place."""
    exchange = Exchange()
    exchange.place(sell(BOB, 10, 100_000))
    exchange.place(buy(ALICE, 20, 90_000))
    exchange.done(SetFeeTier(SYMBOL, 1, 10_000, 20_000))
    exchange.done(SetAccountTier(ALICE, 1))
    events = exchange.done(amend(ALICE, 2, 0, 100_000))
    events += exchange.done(sell(CAROL, 10, 100_000))
    fees = [(event.maker_fee, event.taker_fee) for event in events if isinstance(event, Trade)]
    assert fees == [(1_000, 2_000), (1_000, 2_000)]


def test_fees_paid_ahead_are_not_paid_again() -> None:
    """The order's fees add up to the exact sum rounded up once, however often it is amended."""
    exchange = Exchange(msgspec.structs.replace(BTC_USDT, maker_fee=333, taker_fee=777))
    exchange.place(buy(ALICE, 1, 3))
    paid = 0
    for quantity in range(2, 300):
        events = exchange.done(ioc(BOB, SELL, 1, 3)) if quantity % 2 else exchange.done(amend(ALICE, 1, quantity))
        paid += sum(event.maker_fee for event in events if isinstance(event, Trade))
    executed = exchange.order(ALICE, 1).executed
    assert executed > 100
    assert paid == -(-executed * 3 * 333 // 1_000_000)


@pytest.mark.parametrize(
    ("quantity", "price", "reason", "field"),
    [
        (1_000_001, 0, "LOT_SIZE", "new_quantity"),
        (MAX_INT, 0, "LOT_SIZE", "new_quantity"),
        (2**63, 0, "OVERFLOW", "new_quantity"),
        (10**30, 1, "OVERFLOW", "new_quantity"),
        (2, 0, "LOT_SIZE", "new_quantity"),
        (3, 10, "MIN_NOTIONAL", "notional"),
        (0, 9, "MIN_NOTIONAL", "notional"),
        (0, -1, "PRICE_FILTER", "new_price"),
        (0, -(10**30), "PRICE_FILTER", "new_price"),
        (0, 2**63, "OVERFLOW", "new_price"),
        (0, 10**30, "OVERFLOW", "new_price"),
        (0, MAX_INT, "OVERFLOW", "new_quantity"),
        (0, MAX_INT // 10 + 1, "OVERFLOW", "new_quantity"),
    ],
)
@pytest.mark.parametrize("side", [BUY, SELL])
def test_filters_hold_for_amendments(side: int, quantity: int, price: int, reason: str, field: str) -> None:
    """The market's limits, in the amendment's own words, and nothing changed."""
    exchange = Exchange(msgspec.structs.replace(BTC_USDT, min_quantity=3, min_notional=100))
    exchange.place(limit(ALICE, side, 10, 1_000))
    refused = exchange.refused(amend(ALICE, 1, quantity, price))
    assert (refused.code, refused.reason, refused.field) == (codes.FILTER_FAILURE, reason, field)


def test_a_buy_needs_its_funds_less_what_it_holds() -> None:
    """To the last unit, fee included."""
    exchange = Exchange(funds={"BTC": FUNDS["BTC"], "USDT": 10_020})
    exchange.place(buy(ALICE, 5, 1_000))
    missing = Rejected(codes.ORDER_REJECTED, "INSUFFICIENT_BALANCE", "quote", 10_031, 10_020)
    assert exchange.refused(amend(ALICE, 1, 1, 10_010)) == missing
    exchange.done(amend(ALICE, 1, 10))
    assert exchange.balance(ALICE, "USDT") == Balance("USDT", 0, 10_020)


def test_a_sell_needs_its_lots_less_what_it_holds() -> None:
    """To the last lot; its price costs nothing."""
    exchange = Exchange(funds={"BTC": 10 * BTC_USDT.lot, "USDT": FUNDS["USDT"]})
    exchange.place(sell(ALICE, 5, 1_000))
    missing = Rejected(codes.ORDER_REJECTED, "INSUFFICIENT_BALANCE", "base", 11 * BTC_USDT.lot, 10 * BTC_USDT.lot)
    assert exchange.refused(amend(ALICE, 1, 11)) == missing
    exchange.done(amend(ALICE, 1, 10, 10**9))
    assert exchange.balance(ALICE, "BTC").held == 10 * BTC_USDT.lot


def test_what_an_order_was_paid_never_leaves_64_bits() -> None:
    """What it executed before an amendment counts, however the money went round since."""
    wide = msgspec.structs.replace(BTC_USDT, max_quantity=10 * LOTS, maker_fee=0, taker_fee=0, self_trade=NONE)
    exchange = Exchange(wide, accounts=1, funds={"BTC": FUNDS["BTC"], "USDT": MAX_INT // 2})
    price = MAX_INT // 4
    exchange.place(buy(ALICE, 3, 1))
    exchange.done(amend(ALICE, 1, 0, price // 2))
    for _ in range(2):
        exchange.done(ioc(ALICE, SELL, 1, 1))
    exchange.done(amend(ALICE, 1, 0, price))
    view = exchange.order(ALICE, 1)
    assert view.executed_quote == 2 * (price // 2)
    most = 2 + (MAX_INT - view.executed_quote) // price
    refused = exchange.refused(amend(ALICE, 1, most + 1))
    assert refused == Rejected(codes.FILTER_FAILURE, "OVERFLOW", "new_quantity", most + 1, most)


@pytest.mark.parametrize("order_id", [0, 2, -1, MAX_INT, 2**63, -(2**63), 10**30])
def test_amending_an_unknown_order_touches_nothing(order_id: int) -> None:
    """Whatever the id; nor another's, nor in another market, nor by two ids that disagree."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 10, 100, client_order_id="mine"))
    assert exchange.refused(amend(ALICE, order_id, 5)) == UNKNOWN
    assert exchange.refused(amend(BOB, 1, 5)) == UNKNOWN
    assert exchange.refused(amend(BOB, 0, 5, client_order_id="mine")) == UNKNOWN
    assert exchange.refused(amend(ALICE, 1, 5, client_order_id="\ud800")) == UNKNOWN
    assert exchange.refused(amend(ALICE, 1, 5, symbol="X")) == Rejected(codes.BAD_SYMBOL, "", "symbol")


def test_who_amends_is_asked_as_of_every_trading_command() -> None:
    """Account, key and time."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 10, 100))
    assert exchange.refused(amend(9, 1, 5)).code == codes.UNAUTHORIZED
    assert exchange.refused(amend(ALICE, 1, 5, key=5)).code == codes.REJECTED_KEY
    assert exchange.refused(amend(ALICE, 1, 5, timestamp=1)).code == codes.INVALID_TIMESTAMP


def test_an_amended_book_comes_back_from_a_dump_in_the_same_order() -> None:
    """The queue is that of the amendments, the account's own list that of the ids."""
    exchange = Exchange()
    for account in (ALICE, BOB, ALICE):
        exchange.place(buy(account, 10, 100))
    exchange.done(amend(ALICE, 1, 12))
    exchange.done(amend(ALICE, 3, 4))
    exchange.engine = type(exchange.engine).load(exchange.engine.dump())
    assert exchange.open_orders(ALICE) == [1, 3]
    assert makers(exchange, 26, 100) == [2, 3, 1]


def test_an_amendment_that_changes_nothing_leaves_the_book_as_it_is() -> None:
    """Its sequence counts changes only; the order's time of change moves."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 10, 100))
    seq = exchange.depth().seq
    (event,) = exchange.done(amend(ALICE, 1, 10, 100))
    assert event == OrderAmended(exchange.order(ALICE, 1))
    assert exchange.depth().seq == seq
    assert trades(exchange.done(amend(ALICE, 1))) == []

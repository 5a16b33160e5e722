"""Which orders may enter, and what the others are told: code, reason, field, value and limit."""

import msgspec
import pytest

from book import codes
from book.commands import PlaceOrder
from book.definitions import Market
from book.events import Rejected
from book.terms import (
    BUY,
    DECREMENT,
    EXPIRE_BOTH,
    EXPIRE_MAKER,
    EXPIRE_TAKER,
    FILLED,
    FOK,
    GTC,
    IOC,
    MARKET,
    MAX_INT,
    NEW,
    NONE,
    READ,
    SELL,
    WITHDRAW,
)
from tests.exchange import (
    ALICE,
    BOB,
    BTC_USDT,
    FUNDS,
    Exchange,
    buy,
    cancel,
    cancel_all,
    fok,
    ioc,
    key,
    limit,
    market,
    sell,
    spend,
    trades,
)

HUGE = [2**63, 10**30]
BELOW = [-1, -(2**63), -(10**30)]


def with_book(**changes: int) -> Exchange:
    """The market, changed so, with bids of 10 lots at 99 and 98 and asks of 10 lots at 101 and 102, all Bob's."""
    exchange = Exchange(msgspec.structs.replace(BTC_USDT, **changes))
    for order in (buy(BOB, 10, 99), buy(BOB, 10, 98), sell(BOB, 10, 101), sell(BOB, 10, 102)):
        exchange.place(order)
    return exchange


@pytest.mark.parametrize(
    ("field", "values", "code"),
    [
        ("side", [0, 3, *BELOW, *HUGE], codes.BAD_SIDE),
        ("type", [0, 7, *BELOW, *HUGE], codes.BAD_TYPE),
        ("time_in_force", [0, 5, *BELOW, *HUGE], codes.BAD_TIF),
        ("self_trade", [6, *BELOW, *HUGE], codes.INVALID_PARAMETER),
        ("session", [*BELOW, *HUGE], codes.INVALID_PARAMETER),
        ("recv_window", [60_001, *BELOW, *HUGE], codes.INVALID_PARAMETER),
        ("quote_quantity", [1, *BELOW, *HUGE], codes.INVALID_PARAMETER),
        ("key", [1, *BELOW, *HUGE], codes.REJECTED_KEY),
        ("account", [4, *BELOW, *HUGE], codes.UNAUTHORIZED),
    ],
)
def test_a_field_out_of_its_range_is_named_with_its_value(field: str, values: list[int], code: int) -> None:
    """Whatever the number, the answer is that field's own error."""
    exchange = Exchange()
    for value in values:
        rejected = exchange.refused(msgspec.structs.replace(buy(ALICE, 1, 100), **{field: value}))
        assert (rejected.code, rejected.field, rejected.value) == (code, field, value)


@pytest.mark.parametrize("symbol", ["", "BTC", "btc-usdt", "\ud800", "B" * 100_000])
def test_an_unknown_symbol_is_a_bad_symbol(symbol: str) -> None:
    """In every command that names one."""
    exchange = Exchange()
    for command in (buy(ALICE, 1, 100, symbol=symbol), msgspec.structs.replace(cancel(ALICE, 1), symbol=symbol)):
        assert exchange.refused(command) == Rejected(codes.BAD_SYMBOL, "", "symbol")
    if symbol:
        assert exchange.refused(cancel_all(ALICE, symbol)) == Rejected(codes.BAD_SYMBOL, "", "symbol")


@pytest.mark.parametrize("name", ["x" * 37, "a b", "\n", "ä", "\ud800", "a" * 100_000])
def test_a_client_order_id_is_short_and_plain(name: str) -> None:
    """Anything else is an invalid parameter."""
    assert Exchange().refused(buy(ALICE, 1, 100, client_order_id=name)).field == "client_order_id"


@pytest.mark.parametrize(
    ("order", "field"),
    [
        (ioc(ALICE, BUY, 1, 100, post_only=True), "post_only"),
        (fok(ALICE, BUY, 1, 100, post_only=True), "post_only"),
        (market(ALICE, BUY, 1, post_only=True), "post_only"),
        (market(ALICE, BUY, 1, price=1), "price"),
        (market(ALICE, BUY, 1, price=-1), "price"),
        (market(ALICE, BUY, 1, time_in_force=FOK), "time_in_force"),
        (market(ALICE, BUY, 1, quote_quantity=1), "quantity"),
        (market(ALICE, SELL, 0, quote_quantity=1), "quote_quantity"),
    ],
)
def test_parameters_that_do_not_go_together_are_refused(order: PlaceOrder, field: str) -> None:
    """A parameter that the order type does not take is named."""
    rejected = with_book().refused(order)
    assert (rejected.code, rejected.field) == (codes.INVALID_PARAMETER, field)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (buy(ALICE, 5, 0), ("PRICE_FILTER", "price", 0, 1)),
        (buy(ALICE, 5, -5), ("PRICE_FILTER", "price", -5, 1)),
        (buy(ALICE, 5, -(10**30)), ("PRICE_FILTER", "price", -(10**30), 1)),
        (buy(ALICE, 5, 2**63), ("OVERFLOW", "price", 2**63, MAX_INT)),
        (buy(ALICE, 5, 10**30), ("OVERFLOW", "price", 10**30, MAX_INT)),
        (buy(ALICE, 2**63, 1), ("OVERFLOW", "quantity", 2**63, MAX_INT)),
        (sell(ALICE, 10**30, 1), ("OVERFLOW", "quantity", 10**30, MAX_INT)),
        (buy(ALICE, 4, 100), ("LOT_SIZE", "quantity", 4, 5)),
        (buy(ALICE, 0, 100), ("LOT_SIZE", "quantity", 0, 5)),
        (sell(ALICE, -1, 100), ("LOT_SIZE", "quantity", -1, 5)),
        (sell(ALICE, -(10**30), 100), ("LOT_SIZE", "quantity", -(10**30), 5)),
        (buy(ALICE, 1_001, 100), ("LOT_SIZE", "quantity", 1_001, 1_000)),
        (market(ALICE, BUY, 0), ("LOT_SIZE", "quantity", 0, 5)),
        (market(ALICE, SELL, 1_001), ("LOT_SIZE", "quantity", 1_001, 1_000)),
        (buy(ALICE, 1_000, MAX_INT // 1_000 + 1), ("OVERFLOW", "quantity", 1_000, 999)),
        (buy(ALICE, 9, 55), ("MIN_NOTIONAL", "notional", 495, 500)),
        (sell(ALICE, 9, 55), ("MIN_NOTIONAL", "notional", 495, 500)),
        (spend(ALICE, 499), ("MIN_NOTIONAL", "quote_quantity", 499, 500)),
        (spend(ALICE, -1), ("MIN_NOTIONAL", "quote_quantity", -1, 500)),
        (spend(ALICE, -(10**30)), ("MIN_NOTIONAL", "quote_quantity", -(10**30), 500)),
        (spend(ALICE, 2**63), ("OVERFLOW", "quote_quantity", 2**63, MAX_INT)),
        (spend(ALICE, 10**30), ("OVERFLOW", "quote_quantity", 10**30, MAX_INT)),
    ],
)
def test_filters_say_what_they_took_offence_at(order: PlaceOrder, expected: tuple[str, str, int, int]) -> None:
    """Reason, field, value and limit of each filter."""
    exchange = Exchange(msgspec.structs.replace(BTC_USDT, min_quantity=5, max_quantity=1_000, min_notional=500))
    assert exchange.refused(order) == Rejected(codes.FILTER_FAILURE, *expected)


def test_filters_bounds_themselves_pass() -> None:
    """The smallest and the largest order that is allowed is allowed."""
    exchange = Exchange(msgspec.structs.replace(BTC_USDT, min_quantity=5, max_quantity=1_000, min_notional=500))
    for order in (buy(ALICE, 5, 100), buy(ALICE, 1_000, 100), sell(ALICE, 5, 200), sell(ALICE, 1_000, 200)):
        exchange.place(order)
    assert exchange.place(spend(BOB, 500))[0].status != NEW


def test_a_market_without_a_least_notional_still_takes_no_empty_amount() -> None:
    """An amount below one unit is no amount."""
    rejected = with_book(min_notional=0).refused(spend(ALICE, -1))
    assert (rejected.reason, rejected.value, rejected.limit) == ("MIN_NOTIONAL", -1, 1)


def test_a_market_order_is_worth_its_quantity_at_the_best_price() -> None:
    """The least notional of a market order is judged by what it would meet first."""
    exchange = with_book()
    exchange.done(cancel_all(BOB))
    tight = with_book(min_notional=900)
    assert tight.refused(market(ALICE, BUY, 8)).reason == "MIN_NOTIONAL"
    assert tight.place(market(ALICE, BUY, 9))[0].status == FILLED


def test_a_price_at_which_a_lot_overflows_is_refused_with_its_limit() -> None:
    """Where a lot costs many units at a tick, the price's own limit is lower."""
    exchange = Exchange(msgspec.structs.replace(BTC_USDT, lot=10**7, max_quantity=100))
    rejected = exchange.refused(buy(ALICE, 1, MAX_INT // 1_000 + 1))
    assert (rejected.reason, rejected.limit) == ("OVERFLOW", MAX_INT // 1_000)
    assert exchange.refused(buy(ALICE, 1, MAX_INT // 1_000)).reason == "INSUFFICIENT_BALANCE"


def test_a_sell_whose_proceeds_could_overflow_is_refused() -> None:
    """Its notional and all the quote asset there is must fit together, for it may take before it rests."""
    exchange = Exchange()
    room = MAX_INT - exchange.engine.totals()["USDT"]
    assert exchange.refused(sell(ALICE, 2, room // 2 + 1)).reason == "OVERFLOW"
    assert exchange.place(sell(ALICE, 2, room // 2))[0].status == NEW


def test_a_market_order_beyond_64_bits_at_its_worst_is_refused() -> None:
    """The collar's price times the quantity must fit, even if the best price's would."""
    exchange = Exchange(msgspec.structs.replace(BTC_USDT, max_quantity=10**10))
    exchange.place(sell(BOB, 1, 10**10))
    assert exchange.refused(market(ALICE, BUY, MAX_INT // (11 * 10**9) + 1)).reason == "OVERFLOW"
    assert exchange.refused(market(ALICE, BUY, MAX_INT // (11 * 10**9))).reason == "INSUFFICIENT_BALANCE"


def test_the_collar_of_a_price_near_the_end_of_64_bits_stays_within() -> None:
    """The worst price of a market order never leaves 64 bits."""
    exchange = Exchange(funds={"BTC": 10**8, "USDT": 1})
    exchange.place(sell(BOB, 1, MAX_INT - 3))
    assert exchange.refused(market(ALICE, BUY, 1)).reason == "INSUFFICIENT_BALANCE"
    assert exchange.refused(market(ALICE, BUY, 2)).reason == "OVERFLOW"


def test_open_orders_are_limited_per_account() -> None:
    """Orders that would rest count; those that never rest are let through."""
    exchange = with_book(max_open_orders=4)
    rejected = exchange.refused(buy(BOB, 1, 50))
    assert rejected == Rejected(codes.FILTER_FAILURE, "MAX_ORDERS", "", 4, 4)
    exchange.place(ioc(BOB, BUY, 1, 50))
    exchange.place(buy(ALICE, 1, 50))
    exchange.done(cancel(BOB, 1))
    exchange.place(buy(BOB, 1, 50))


@pytest.mark.parametrize(("side", "price", "best"), [(BUY, 101, 101), (BUY, 500, 101), (SELL, 99, 99), (SELL, 1, 99)])
def test_a_post_only_order_that_would_take_is_refused(side: int, price: int, best: int) -> None:
    """It is never re-priced, and hears the price in its way."""
    rejected = with_book().refused(limit(ALICE, side, 1, price, post_only=True))
    assert rejected == Rejected(codes.ORDER_REJECTED, "WOULD_TAKE", "price", price, best)


@pytest.mark.parametrize(("side", "price"), [(BUY, 100), (SELL, 100)])
def test_a_post_only_order_that_would_rest_rests(side: int, price: int) -> None:
    """Inside the spread is not taking."""
    order, events = with_book().place(limit(ALICE, side, 1, price, post_only=True))
    assert (order.status, trades(events)) == (NEW, [])


def test_a_post_only_order_rests_on_an_empty_book() -> None:
    """Nobody is there to be taken from."""
    assert Exchange().place(buy(ALICE, 1, 100, post_only=True))[0].status == NEW


@pytest.mark.parametrize("order", [market(ALICE, BUY, 1), market(ALICE, SELL, 1), spend(ALICE, 1_000)])
def test_a_market_order_needs_somebody_on_the_other_side(order: PlaceOrder) -> None:
    """On an empty side it is refused, and frees its id."""
    exchange = Exchange()
    named = msgspec.structs.replace(order, client_order_id="mine")
    assert exchange.refused(named) == Rejected(codes.ORDER_REJECTED, "NO_LIQUIDITY")
    exchange.place(buy(ALICE, 1, 100, client_order_id="mine"))


@pytest.mark.parametrize(
    ("order", "need"),
    [
        (buy(ALICE, 1_000, 10**9), 10**12 + 2 * 10**9),
        (ioc(ALICE, BUY, 1_000, 10**9), 10**12 + 2 * 10**9),
        (spend(ALICE, FUNDS["USDT"] + 1), FUNDS["USDT"] + 1),
    ],
)
def test_what_an_order_may_cost_must_be_available(order: PlaceOrder, need: int) -> None:
    """A buy needs its notional and the worst fee; the answer says what it needs and what there is."""
    rejected = with_book().refused(order)
    assert rejected == Rejected(codes.ORDER_REJECTED, "INSUFFICIENT_BALANCE", "", need, FUNDS["USDT"])


def test_a_sell_needs_its_quantity() -> None:
    """One lot more than there is, is too much."""
    exchange = Exchange(funds={"BTC": 50 * BTC_USDT.lot, "USDT": 10**6})
    rejected = exchange.refused(sell(ALICE, 51, 100))
    assert rejected == Rejected(codes.ORDER_REJECTED, "INSUFFICIENT_BALANCE", "", 510_000, 500_000)
    exchange.place(sell(ALICE, 50, 100))
    assert exchange.refused(sell(ALICE, 1, 100)).limit == 0


def test_a_market_buy_needs_its_quantity_at_the_collar() -> None:
    """The worst price it may pay is a tenth above the best here, and the taker's fee comes on top."""
    exchange = Exchange(funds={"BTC": 10**8, "USDT": 100 * 110 + 22})
    exchange.place(sell(BOB, 100, 100))
    exchange.place(buy(ALICE, 1, 1))
    rejected = exchange.refused(market(ALICE, BUY, 100))
    assert (rejected.reason, rejected.value, rejected.limit) == ("INSUFFICIENT_BALANCE", 11_022, 11_020)
    exchange.done(cancel_all(ALICE))
    assert exchange.place(market(ALICE, BUY, 100))[0].status == FILLED


def test_an_id_in_use_is_refused_with_the_first_orders_id() -> None:
    """While the order lives and after it ended; another account may use the same."""
    exchange = Exchange()
    first, _ = exchange.place(buy(ALICE, 1, 100, client_order_id="mine"))
    duplicate = Rejected(codes.ORDER_REJECTED, "DUPLICATE_CLIENT_ORDER_ID", "client_order_id", 0, 0, first.order_id)
    assert exchange.refused(buy(ALICE, 1, 100, client_order_id="mine")) == duplicate
    exchange.place(buy(BOB, 1, 100, client_order_id="mine"))
    exchange.done(cancel(ALICE, first.order_id))
    assert exchange.refused(sell(ALICE, 7, 300, client_order_id="mine")) == duplicate


def test_a_repeat_is_known_as_such_even_where_it_could_not_enter_any_more() -> None:
    """The duplicate is told before funds, liquidity and filters for what rests: the first one may have used them up."""
    exchange = with_book(max_open_orders=4)
    order, _ = exchange.place(market(ALICE, BUY, 20, client_order_id="all"))
    assert order.status == FILLED
    assert exchange.refused(market(ALICE, BUY, 20, client_order_id="all")).ref == order.order_id
    first = exchange.open_orders(BOB)[0]
    name = exchange.order(BOB, first).client_order_id
    assert exchange.refused(buy(BOB, 1, 50, client_order_id=name)).ref == first


def test_a_refused_order_frees_its_id() -> None:
    """Nothing of a refusal stays behind."""
    exchange = Exchange()
    exchange.refused(buy(ALICE, 0, 100, client_order_id="mine"))
    assert exchange.place(buy(ALICE, 1, 100, client_order_id="mine"))[0].client_order_id == "mine"


def test_ids_are_made_from_the_order_id_where_none_is_given() -> None:
    """They can be used like any other, and count as used."""
    exchange = Exchange()
    order, _ = exchange.place(buy(ALICE, 1, 100))
    assert order.client_order_id == f"auto-{order.order_id}"
    assert exchange.refused(buy(ALICE, 1, 100, client_order_id=order.client_order_id)).ref == order.order_id
    exchange.done(cancel(ALICE, 0, order.client_order_id))


def test_an_id_a_client_took_first_does_not_collide_with_a_made_one() -> None:
    """The made id steps aside, so both orders can be told apart."""
    exchange = Exchange()
    first, _ = exchange.place(buy(ALICE, 1, 100, client_order_id="auto-2"))
    second, _ = exchange.place(buy(ALICE, 1, 100))
    assert (first.client_order_id, second.client_order_id) == ("auto-2", "auto-2-1")


@pytest.mark.parametrize(
    ("behind_ms", "window", "accepted"),
    [
        *((0, 0, True), (1, 0, False), (5_000, 5_000, True), (5_001, 5_000, False), (60_000, 60_000, True)),
        *((60_001, 60_000, False), (-1_000, 0, True), (-1_001, 5_000, False)),
        *((-(10**30), 5_000, False), (10**30, 5_000, False)),
    ],
)
def test_a_late_command_fails_instead_of_taking_effect(behind_ms: int, window: int, accepted: bool) -> None:
    """A timestamp may be as far behind as the window and a second ahead; every trading command is held to it."""
    exchange = Exchange()
    order, _ = exchange.place(buy(ALICE, 1, 100))
    now_ms = (exchange.time_ns + 1_000) // 1_000_000
    for command in (buy(ALICE, 1, 100), cancel(ALICE, order.order_id), cancel_all(ALICE)):
        stamped = msgspec.structs.replace(command, timestamp=now_ms - behind_ms, recv_window=window)
        outcome = exchange.do(stamped)
        if accepted:
            assert not isinstance(outcome, Rejected)
        else:
            assert isinstance(outcome, Rejected)
            assert outcome == Rejected(codes.INVALID_TIMESTAMP, "", "timestamp", now_ms - behind_ms, window)


def test_a_key_must_be_the_accounts_own_and_may_have_to_trade() -> None:
    """Unknown keys, others' keys and keys that may not trade are refused, for every trading command."""
    exchange = Exchange()
    order, _ = exchange.place(buy(ALICE, 1, 100))
    exchange.done(key(1, ALICE))
    exchange.done(key(2, BOB))
    exchange.done(key(3, ALICE, READ | WITHDRAW))
    commands = (cancel_all(ALICE), cancel(ALICE, order.order_id), buy(ALICE, 1, 100))
    for command in commands:
        for number, reason in ((2, "UNKNOWN_KEY"), (9, "UNKNOWN_KEY"), (3, "NO_PERMISSION")):
            rejected = exchange.refused(msgspec.structs.replace(command, key=number))
            assert rejected == Rejected(codes.REJECTED_KEY, reason, "key", number)
    for command in reversed(commands):
        exchange.done(msgspec.structs.replace(command, key=1))


@pytest.mark.parametrize("mode", [NONE, EXPIRE_TAKER, EXPIRE_MAKER, EXPIRE_BOTH, DECREMENT])
def test_fok_is_decided_by_what_would_trade(mode: int) -> None:
    """All that is acceptable counts, to the lot; one lot more is refused and touches nothing."""
    for side, price in ((BUY, 102), (SELL, 98)):
        exchange = with_book()
        rejected = exchange.refused(fok(ALICE, side, 21, price, self_trade=mode))
        assert rejected == Rejected(codes.ORDER_REJECTED, "FOK_UNFILLABLE", "quantity", 21, 20)
        order, events = exchange.place(fok(ALICE, side, 20, price, self_trade=mode))
        assert (order.status, len(trades(events))) == (FILLED, 2)


def test_fok_counts_only_acceptable_prices() -> None:
    """What is beyond its own price does not count."""
    exchange = with_book()
    assert exchange.refused(fok(ALICE, BUY, 11, 101)).limit == 10
    assert exchange.refused(fok(ALICE, BUY, 1, 100)).limit == 0
    assert exchange.place(fok(ALICE, BUY, 10, 101))[0].status == FILLED


@pytest.mark.parametrize(
    ("mode", "most"), [(NONE, 25), (EXPIRE_TAKER, 12), (EXPIRE_MAKER, 20), (EXPIRE_BOTH, 12), (DECREMENT, 12)]
)
def test_fok_counts_self_trade_prevention(mode: int, most: int) -> None:
    """An own order in the way ends the count, is left out of it, or counts, as it would in the trading itself."""
    for quantity in (most + 1, most):
        exchange = with_book()
        exchange.done(cancel(BOB, 4))
        exchange.place(sell(BOB, 2, 102))
        exchange.place(sell(ALICE, 5, 102))
        exchange.place(sell(BOB, 8, 102))
        order = fok(ALICE, BUY, quantity, 102, self_trade=mode)
        if quantity > most:
            assert exchange.refused(order) == Rejected(
                codes.ORDER_REJECTED, "FOK_UNFILLABLE", "quantity", quantity, most
            )
        else:
            assert exchange.place(order)[0].status == FILLED


def test_fok_is_not_hindered_by_own_orders_it_does_not_reach() -> None:
    """Own orders behind what it takes, or on its own side, do not matter."""
    exchange = with_book()
    exchange.place(sell(ALICE, 5, 102))
    exchange.place(buy(ALICE, 5, 99))
    assert exchange.place(fok(ALICE, BUY, 20, 102))[0].status == FILLED


def test_every_mode_and_time_in_force_is_taken() -> None:
    """The whole range of each code is accepted."""
    exchange = with_book()
    for mode in range(6):
        exchange.place(limit(ALICE, BUY, 1, 50, self_trade=mode))
    for time_in_force in (GTC, IOC, FOK):
        exchange.place(limit(ALICE, BUY, 1, 101, time_in_force=time_in_force))
    for time_in_force in (GTC, IOC):
        exchange.place(market(ALICE, BUY, 1, time_in_force=time_in_force))


def test_a_market_of_one_tick_has_a_collar_too() -> None:
    """The worst price of a sell never falls below one tick."""
    exchange = Exchange(msgspec.structs.replace(BTC_USDT, collar=1_000_000))
    exchange.place(buy(BOB, 5, 1))
    order, _ = exchange.place(market(ALICE, SELL, 5))
    assert (order.status, order.type) == (FILLED, MARKET)


def test_the_definition_of_the_market_is_the_limit() -> None:
    """Two markets of the same assets judge by their own filters."""
    other: Market = msgspec.structs.replace(BTC_USDT, symbol="OTHER", max_quantity=3)
    exchange = Exchange(other)
    assert exchange.refused(buy(ALICE, 4, 100, symbol="OTHER")).limit == 3
    assert exchange.refused(buy(ALICE, 4, 100)).code == codes.BAD_SYMBOL

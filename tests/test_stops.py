"""Stops: what they wait for, in which order they enter, what becomes of them then, and how they leave unheard."""

from random import Random

import msgspec
import pytest

from book import codes
from book.accounts import AccountState
from book.commands import ClearMarket, CreditDeposit, PlaceOrder, SetAccountTier, SetFeeTier
from book.definitions import Account
from book.events import OrderAccepted, OrderClosed, OrderTriggered, OrderView, Rejected
from book.orders import Order
from book.queries import Balance as BalanceView
from book.queries import OrderStatus
from book.stops import Stops, reached, rises
from book.terms import (
    BUY,
    CANCELED,
    DECREMENT,
    EXPIRE_BOTH,
    EXPIRE_MAKER,
    EXPIRE_TAKER,
    EXPIRED,
    FILLED,
    FOK,
    GTC,
    GTD,
    HALT,
    IOC,
    LIMIT,
    MARKET,
    MAX_INT,
    NEW,
    NONE,
    SELL,
    STOP_LOSS,
    STOP_LOSS_LIMIT,
    TAKE_PROFIT,
    TAKE_PROFIT_LIMIT,
)
from tests.counts import count, seeds
from tests.exchange import (
    ALICE,
    BOB,
    BTC_USDT,
    CAROL,
    FUNDS,
    SYMBOL,
    Exchange,
    amend,
    buy,
    cancel,
    cancel_all,
    closed,
    free,
    iceberg,
    ioc,
    limit,
    market,
    replace,
    sell,
    state,
    stop,
    story,
    till,
)

LOT = BTC_USDT.lot
MARKET_KINDS = (STOP_LOSS, TAKE_PROFIT)
LIMIT_KINDS = (STOP_LOSS_LIMIT, TAKE_PROFIT_LIMIT)
RISING = [(STOP_LOSS, BUY), (STOP_LOSS_LIMIT, BUY), (TAKE_PROFIT, SELL), (TAKE_PROFIT_LIMIT, SELL)]
FALLING = [(STOP_LOSS, SELL), (STOP_LOSS_LIMIT, SELL), (TAKE_PROFIT, BUY), (TAKE_PROFIT_LIMIT, BUY)]
TRADER = Exchange().engine.state.markets[SYMBOL].trader(AccountState(Account(1, "alice")))


def last_price(exchange: Exchange, price: int) -> list[str]:
    """Let Bob and Carol trade one lot at this price; what happened but for their orders' own ways."""
    exchange.done(sell(BOB, 1, price))
    return story(exchange.done(ioc(CAROL, BUY, 1, price)))


def waiting(order_id: int, kind: int, side: int, stop_price: int) -> Order:
    """An order that could wait."""
    price = 5 if kind in LIMIT_KINDS else 0
    order = Order(TRADER, side, kind, GTC, price, 10, 0, False, str(order_id), 1, 0, 0, stop_price, 0, 0)
    order.order_id = order_id
    return order


def ids(orders: list[Order]) -> list[int]:
    """Their ids, in their order."""
    return [order.order_id for order in orders]


# By itself


@pytest.mark.parametrize(("kind", "side"), RISING + FALLING)
def test_each_kind_waits_for_its_own_direction(kind: int, side: int) -> None:
    """A loss is stopped on the far side of the price, a profit taken on the near one; the stop price itself counts."""
    order = waiting(1, kind, side, 100)
    assert rises(order) == ((kind, side) in RISING)
    assert [reached(order, price) for price in (99, 100, 101)] == [not rises(order), True, rises(order)]


def test_stops_are_taken_in_the_order_in_which_the_price_would_have_met_them() -> None:
    """The rising ones from the lowest, then the falling ones from the highest, and of equals the older first."""
    stops = Stops()
    for order_id, (kind, side, price) in enumerate(
        [
            *((STOP_LOSS, BUY, 102), (TAKE_PROFIT, SELL, 101), (STOP_LOSS, BUY, 101), (STOP_LOSS, BUY, 103)),
            *((STOP_LOSS, SELL, 98), (TAKE_PROFIT, BUY, 99), (STOP_LOSS, SELL, 99), (STOP_LOSS, SELL, 97)),
        ],
        start=1,
    ):
        stops.add(waiting(order_id, kind, side, price))
        stops.check()
    assert ids(stops.all()) == [2, 3, 1, 4, 6, 7, 5, 8]
    assert not stops.reaches_any(100)
    assert stops.take_reached(100) == []
    assert stops.reaches_any(102)
    assert ids(stops.take_reached(102)) == [2, 3, 1]
    assert ids(stops.take_reached(98)) == [6, 7, 5]
    assert ids(stops.all()) == [4, 8]
    stops.check()


def test_one_price_may_reach_stops_of_both_directions() -> None:
    """As the first trade of a market does: those that wait for a rise enter first."""
    stops = Stops()
    for order_id, (kind, side, price) in enumerate([(STOP_LOSS, SELL, 200), (STOP_LOSS, BUY, 50)], start=1):
        stops.add(waiting(order_id, kind, side, price))
    assert ids(stops.take_reached(100)) == [2, 1]
    assert not stops.reaches_any(1)
    assert not stops.reaches_any(MAX_INT)


@pytest.mark.parametrize(("kind", "side"), RISING + FALLING)
def test_a_stop_that_does_not_wait_cannot_be_removed(kind: int, side: int) -> None:
    """Whoever asks has a bug; the others stay."""
    stops, order, other = Stops(), waiting(1, kind, side, 100), waiting(2, kind, side, 100)
    stops.add(order)
    stops.add(other)
    stops.remove(order)
    with pytest.raises(KeyError):
        stops.remove(order)
    stops.check()
    assert ids(stops.all()) == [2]


@pytest.mark.parametrize("price", [1, MAX_INT])
@pytest.mark.parametrize(("kind", "side"), RISING + FALLING)
def test_the_ends_of_64_bits_are_stop_prices_like_any_other(kind: int, side: int, price: int) -> None:
    """The lowest and the highest price are waited for and reached."""
    stops = Stops()
    stops.add(waiting(1, kind, side, price))
    stops.check()
    assert stops.reaches_any(price)
    assert ids(stops.take_reached(price)) == [1]


@pytest.mark.parametrize("corruption", ["key", "side", "next", "gone"])
def test_the_check_of_the_stops_finds_each_corruption(corruption: str) -> None:
    """A stop kept at another price or on the other side, and a next one that is not."""
    stops, order = Stops(), waiting(1, STOP_LOSS, BUY, 100)
    stops.add(order)
    stops.add(waiting(2, STOP_LOSS, SELL, 90))
    stops.check()
    match corruption:
        case "key":
            order.stop_price = 101
        case "side":
            order.side = SELL
        case "next":
            stops._rises_at = 99
        case _:
            stops._falls_at = 0
    with pytest.raises(AssertionError):
        stops.check()


@pytest.mark.parametrize("seed", seeds(4, 40))
def test_random_stops_agree_with_a_sorted_list(seed: int) -> None:
    """Whatever comes, goes and is reached, it is what a look at all of them says."""
    random = Random(seed)
    stops = Stops()
    orders: list[Order] = []
    for number in range(1, count(400, 4_000)):
        choice = random.random()
        if choice < 0.6:
            kind, side = random.choice(RISING + FALLING)
            orders.append(waiting(number, kind, side, random.randint(1, 60)))
            stops.add(orders[-1])
        elif choice < 0.8 and orders:
            stops.remove(orders.pop(random.randrange(len(orders))))
        else:
            price = random.randint(1, 60)
            taken = [order for order in orders if reached(order, price)]
            taken.sort(key=lambda order: (not rises(order), order.stop_price * (1 if rises(order) else -1)))
            assert stops.reaches_any(price) == bool(taken)
            assert ids(stops.take_reached(price)) == ids(taken)
            orders = [order for order in orders if order not in taken]
        stops.check()


# Placing


@pytest.mark.parametrize(("kind", "side"), RISING + FALLING)
def test_a_stop_waits_outside_the_book_and_is_open(kind: int, side: int) -> None:
    """It is accepted and no more; the depth does not show it, the account's open orders do."""
    exchange = Exchange()
    price = 90 if kind in LIMIT_KINDS else 0
    order, events = exchange.place(stop(ALICE, side, kind, 10, 100, price))
    assert events == [OrderAccepted(order)]
    assert (order.status, order.type, order.stop_price, order.price) == (NEW, kind, 100, price)
    assert (exchange.depth().bids, exchange.depth().asks, exchange.depth().seq) == ([], [], 0)
    assert exchange.open_orders(ALICE) == [order.order_id]


@pytest.mark.parametrize(
    ("kind", "price", "held"),
    [
        (STOP_LOSS, 0, 11_000 + 22),
        (TAKE_PROFIT, 0, 11_000 + 22),
        (STOP_LOSS_LIMIT, 1_200, 12_000 + 24),
        (TAKE_PROFIT_LIMIT, 900, 9_000 + 18),
    ],
)
def test_a_waiting_stop_holds_its_worst_case(kind: int, price: int, held: int) -> None:
    """To buy: the stop price and the collar, or its own price, and the fee on that; to sell: its lots."""
    exchange = Exchange()
    exchange.place(stop(ALICE, BUY, kind, 10, 1_000, price))
    assert exchange.balance(ALICE, "USDT") == BalanceView("USDT", FUNDS["USDT"] - held, held)
    exchange.place(stop(BOB, SELL, kind, 10, 1_000, price))
    assert exchange.balance(BOB, "BTC") == BalanceView("BTC", FUNDS["BTC"] - 10 * LOT, 10 * LOT)
    for account in (ALICE, BOB):
        exchange.done(cancel_all(account))
        for asset, amount in FUNDS.items():
            assert exchange.balance(account, asset) == BalanceView(asset, amount, 0)


def test_what_a_stop_holds_must_be_available() -> None:
    """A waiting stop's money is spoken for, to the unit."""
    exchange = Exchange(funds={"BTC": 10 * LOT, "USDT": 11_022})
    short = Rejected(codes.ORDER_REJECTED, "INSUFFICIENT_BALANCE", "", 11_033, 11_022)
    assert exchange.refused(stop(ALICE, BUY, STOP_LOSS, 10, 1_001)) == short
    exchange.place(stop(ALICE, BUY, STOP_LOSS, 10, 1_000))
    assert exchange.refused(buy(ALICE, 1, 1)).limit == 0
    assert exchange.refused(stop(ALICE, SELL, STOP_LOSS, 11, 1_000)).reason == "INSUFFICIENT_BALANCE"
    exchange.place(stop(ALICE, SELL, STOP_LOSS, 10, 1_000))
    assert exchange.refused(sell(ALICE, 1, 1)).limit == 0


@pytest.mark.parametrize(
    ("order", "field"),
    [
        (stop(ALICE, BUY, STOP_LOSS, 10, 100, time_in_force=IOC), "time_in_force"),
        (stop(ALICE, BUY, TAKE_PROFIT, 10, 100, time_in_force=FOK), "time_in_force"),
        (stop(ALICE, BUY, STOP_LOSS, 10, 100, 90), "price"),
        (stop(ALICE, BUY, TAKE_PROFIT, 10, 100, -1), "price"),
        (stop(ALICE, BUY, STOP_LOSS, 10, 100, quote_quantity=1_000), "quote_quantity"),
        (stop(ALICE, BUY, STOP_LOSS, 0, 100, quote_quantity=1_000), "quote_quantity"),
        (stop(ALICE, BUY, STOP_LOSS_LIMIT, 10, 100, 90, quote_quantity=-1), "quote_quantity"),
        (stop(ALICE, BUY, STOP_LOSS, 10, 100, post_only=True), "post_only"),
        (stop(ALICE, BUY, TAKE_PROFIT_LIMIT, 10, 100, 90, post_only=True), "post_only"),
        (stop(ALICE, BUY, STOP_LOSS, 10, 100, display_quantity=5), "display_quantity"),
        (stop(ALICE, BUY, STOP_LOSS_LIMIT, 10, 100, 90, display_quantity=-1), "display_quantity"),
        (stop(ALICE, BUY, STOP_LOSS, 10, 100, expire_time=1), "expire_time"),
        (stop(ALICE, BUY, STOP_LOSS, 10, 100, time_in_force=GTD), "expire_time"),
        (stop(ALICE, BUY, LIMIT, 10, 100, 90), "stop_price"),
        (stop(ALICE, BUY, LIMIT, 10, -1, 90), "stop_price"),
        (stop(ALICE, BUY, MARKET, 10, 100), "stop_price"),
        (stop(ALICE, BUY, MARKET, 10, 2**63), "stop_price"),
    ],
)
def test_what_a_kind_of_order_does_not_take_is_named(order: PlaceOrder, field: str) -> None:
    """With its value, before any of its numbers is looked at."""
    for quantity in (10, -1, 10**30):
        if order.quantity:
            spoilt = msgspec.structs.replace(order, quantity=quantity)
            refused = Exchange().refused(spoilt)
            value = getattr(spoilt, field)
            assert (refused.code, refused.reason, refused.field) == (codes.INVALID_PARAMETER, "", field)
            assert refused.value == value


@pytest.mark.parametrize(
    ("stop_price", "reason", "bound"),
    [
        (0, "PRICE_FILTER", 1),
        (-1, "PRICE_FILTER", 1),
        (-(10**30), "PRICE_FILTER", 1),
        (MAX_INT // 100 + 1, "OVERFLOW", MAX_INT // 100),
        (2**63, "OVERFLOW", MAX_INT // 100),
        (10**30, "OVERFLOW", MAX_INT // 100),
    ],
)
@pytest.mark.parametrize(("kind", "side"), RISING + FALLING)
def test_a_stop_price_lies_within_the_markets_prices(
    kind: int, side: int, stop_price: int, reason: str, bound: int
) -> None:
    """Judged after the price, and with the same limits."""
    exchange = Exchange(msgspec.structs.replace(BTC_USDT, lot=10**6))
    price = 90 if kind in LIMIT_KINDS else 0
    expected = Rejected(codes.FILTER_FAILURE, reason, "stop_price", stop_price, bound)
    assert exchange.refused(stop(ALICE, side, kind, 10, stop_price, price)) == expected
    if price:
        assert exchange.refused(stop(ALICE, side, kind, 10, stop_price, -5)).field == "price"
        assert exchange.refused(stop(ALICE, side, kind, 10, 100, 0)).reason == "PRICE_FILTER"
    assert exchange.refused(stop(ALICE, side, kind, 0, stop_price, price)).reason == "LOT_SIZE"


@pytest.mark.parametrize(("kind", "side"), RISING + FALLING)
def test_a_stop_that_is_reached_already_is_refused(kind: int, side: int) -> None:
    """At the last price and beyond it, but not a tick before; with no trade yet there is nothing to reach."""
    exchange = Exchange(free())
    price = 100 if kind in LIMIT_KINDS else 0
    exchange.place(stop(ALICE, side, kind, 1, 100, price))
    exchange.done(cancel_all(ALICE))
    last_price(exchange, 100)
    further = 1 if (kind, side) in RISING else -1
    for stop_price in (100, 100 - further, 100 - 50 * further):
        expected = Rejected(codes.ORDER_REJECTED, "WOULD_TRIGGER", "stop_price", stop_price, 100)
        assert exchange.refused(stop(ALICE, side, kind, 1, stop_price, price)) == expected
    exchange.place(stop(ALICE, side, kind, 1, 100 + further, price))


def test_the_trigger_is_judged_after_the_numbers_and_before_the_worth() -> None:
    """A stop of several faults hears of the first of them."""
    exchange = Exchange(free(max_quantity=1_000, min_notional=50))
    last_price(exchange, 100)
    assert exchange.refused(stop(ALICE, SELL, STOP_LOSS, 1_001, 100)).reason == "LOT_SIZE"
    assert exchange.refused(stop(ALICE, SELL, STOP_LOSS_LIMIT, 1, 100, 0)).reason == "PRICE_FILTER"
    assert exchange.refused(stop(ALICE, SELL, STOP_LOSS_LIMIT, 1, 100, 1)).reason == "WOULD_TRIGGER"
    assert exchange.refused(stop(ALICE, SELL, STOP_LOSS_LIMIT, 1, 99, 1)).reason == "MIN_NOTIONAL"


def test_a_market_kind_of_stop_is_worth_its_quantity_at_the_stop_price() -> None:
    """The least notional knows no better price; the greatest is that of the collar."""
    exchange = Exchange(free(min_notional=1_000, max_quantity=10**9))
    assert exchange.refused(stop(ALICE, SELL, STOP_LOSS, 9, 110)).value == 990
    exchange.place(stop(ALICE, SELL, STOP_LOSS, 10, 100))
    dear = MAX_INT // 1_100
    assert exchange.refused(stop(ALICE, BUY, STOP_LOSS, 1_000, dear)).reason == "INSUFFICIENT_BALANCE"
    refused = exchange.refused(stop(ALICE, BUY, STOP_LOSS, 1_001, dear))
    assert (refused.reason, refused.field, refused.value, refused.limit) == ("OVERFLOW", "quantity", 1_001, 1_000)


def test_the_collar_of_a_stop_near_the_end_of_64_bits_stays_within() -> None:
    """Its worst price is then the dearest there is."""
    exchange = Exchange(free(collar=1_000_000))
    refused = exchange.refused(stop(ALICE, BUY, STOP_LOSS, 1, MAX_INT))
    assert (refused.reason, refused.value) == ("INSUFFICIENT_BALANCE", MAX_INT)
    assert exchange.refused(stop(ALICE, BUY, STOP_LOSS, 2, MAX_INT)).limit == 1


def test_waiting_stops_count_among_the_open_orders_whatever_their_time_in_force() -> None:
    """A market has a limit for them together with what rests."""
    exchange = Exchange(free(max_open_orders=2))
    exchange.place(buy(ALICE, 1, 50))
    exchange.place(stop(ALICE, BUY, STOP_LOSS, 1, 200))
    full = Rejected(codes.FILTER_FAILURE, "MAX_ORDERS", "", 2, 2)
    assert exchange.refused(stop(ALICE, BUY, STOP_LOSS_LIMIT, 1, 200, 200, time_in_force=IOC)) == full
    assert exchange.refused(buy(ALICE, 1, 50)) == full
    exchange.place(ioc(ALICE, BUY, 1, 50))
    exchange.done(replace(2, stop(ALICE, BUY, STOP_LOSS, 1, 300)))
    exchange.done(cancel(ALICE, 1))
    exchange.place(buy(ALICE, 1, 50))


# Being triggered


@pytest.mark.parametrize(("kind", "side"), RISING + FALLING)
def test_a_stop_is_triggered_by_the_last_price_and_by_no_lesser_one(kind: int, side: int) -> None:
    """Not inverted: on the way to its price it waits, at its price it enters, in the command that traded there."""
    exchange = Exchange(free())
    away = -1 if (kind, side) in RISING else 1
    # The other side of what the stop will take stands beyond its trigger, out of the way of the trades that lead there.
    opposite, far = (SELL, 120) if side == BUY else (BUY, 80)
    maker, _ = exchange.place(limit(BOB, opposite, 5, far, client_order_id="maker"))
    order, _ = exchange.place(stop(ALICE, side, kind, 5, 100, far if kind in LIMIT_KINDS else 0))
    if kind not in LIMIT_KINDS and side == BUY:
        exchange.done(amend(BOB, maker.order_id, price=105))
    for price in (100 + 2 * away, 100 + away):
        assert f"triggered {order.order_id}" not in last_price(exchange, price)
    told = last_price(exchange, 100)
    at = 105 if kind not in LIMIT_KINDS and side == BUY else far
    assert told[-4:] == [
        f"triggered {order.order_id}",
        f"{order.order_id} x {maker.order_id}: 5 at {at}",
        f"FILLED {maker.order_id}",
        f"FILLED {order.order_id}",
    ]


def test_the_event_of_the_trigger_shows_the_order_as_it_enters() -> None:
    """New, nothing executed, changed now; then it trades as a taker at the rates of its placement."""
    exchange = Exchange()
    order, _ = exchange.place(stop(ALICE, BUY, STOP_LOSS, 10, 100))
    exchange.done(SetFeeTier(SYMBOL, 1, 0, 500_000))
    exchange.done(SetAccountTier(ALICE, 1))
    exchange.place(sell(BOB, 20, 100))
    events = exchange.done(ioc(CAROL, BUY, 1, 100))
    (triggered,) = (event for event in events if isinstance(event, OrderTriggered))
    assert triggered.order == msgspec.structs.replace(order, updated_ns=exchange.time_ns)
    # 1,000 at 2,000 parts per million.
    assert exchange.balance(ALICE, "USDT") == BalanceView("USDT", FUNDS["USDT"] - 1_002, 0)


def test_stops_enter_lowest_first_on_the_way_up_and_older_first_at_one_price() -> None:
    """Each when the order before it has done all its trading, and the first one when the taker has."""
    exchange = Exchange(free())
    for stop_price in (103, 101, 102, 101):
        exchange.place(stop(ALICE, BUY, STOP_LOSS, 1, stop_price))
    for price in (101, 103, 104):
        exchange.place(sell(BOB, 3, price))
    told = story(exchange.done(ioc(CAROL, BUY, 5, 103)))
    assert told == [
        *("accepted 8", "8 x 5: 3 at 101", "FILLED 5", "8 x 6: 2 at 103", "FILLED 8"),
        *("triggered 2", "2 x 6: 1 at 103", "FILLED 6", "FILLED 2"),
        *("triggered 4", "4 x 7: 1 at 104", "FILLED 4"),
        *("triggered 3", "3 x 7: 1 at 104", "FILLED 3"),
        *("triggered 1", "1 x 7: 1 at 104", "FILLED 7", "FILLED 1"),
    ]


def test_stops_enter_highest_first_on_the_way_down() -> None:
    """The mirror image."""
    exchange = Exchange(free())
    for stop_price in (97, 99, 98, 99):
        exchange.place(stop(ALICE, SELL, STOP_LOSS, 1, stop_price))
    exchange.place(buy(BOB, 10, 97))
    told = story(exchange.done(ioc(CAROL, SELL, 1, 97)))
    assert [line for line in told if line.startswith("triggered")] == [f"triggered {n}" for n in (2, 4, 3, 1)]


def test_a_first_trade_triggers_both_directions_rising_first() -> None:
    """Without a last price, stops may wait on either side of what then comes."""
    exchange = Exchange(free())
    exchange.place(stop(ALICE, SELL, STOP_LOSS_LIMIT, 1, 150, 90))
    exchange.place(stop(ALICE, BUY, STOP_LOSS_LIMIT, 1, 50, 80))
    assert last_price(exchange, 100)[-2:] == ["triggered 2", "triggered 1"]
    assert exchange.depth().bids == [(80, 1)]
    assert exchange.depth().asks == [(90, 1)]


def test_a_cascade_goes_as_deep_as_it_goes_and_what_triggers_later_queues_behind() -> None:
    """Each level's trades trigger the next; a stop reached earlier enters before one reached later."""
    exchange = Exchange(free())
    for stop_price in (99, 98, 97, 96, 95):
        exchange.place(stop(ALICE, SELL, STOP_LOSS, 1, stop_price))
    exchange.place(stop(CAROL, SELL, STOP_LOSS, 1, 99))
    for price in (99, 98, 97, 96, 95, 94):
        exchange.place(buy(BOB, 1, price))
    exchange.place(buy(BOB, 5, 90))
    told = [line for line in story(exchange.done(ioc(CAROL, SELL, 1, 99))) if "x" in line or "trig" in line]
    assert told == [
        "14 x 7: 1 at 99",
        *("triggered 1", "1 x 8: 1 at 98"),
        *("triggered 6", "6 x 9: 1 at 97"),
        *("triggered 2", "2 x 10: 1 at 96"),
        *("triggered 3", "3 x 11: 1 at 95"),
        *("triggered 4", "4 x 12: 1 at 94"),
        *("triggered 5", "5 x 13: 1 at 90"),
    ]


def test_a_cascade_may_turn_round() -> None:
    """Stops of a fall sell into what lifts the price for stops of a rise, and those set off the fall again."""
    exchange = Exchange(free())
    last_price(exchange, 100)
    exchange.place(stop(ALICE, SELL, STOP_LOSS, 2, 95))
    exchange.place(stop(ALICE, BUY, STOP_LOSS_LIMIT, 2, 105, 105))
    exchange.place(stop(ALICE, SELL, STOP_LOSS, 2, 90))
    exchange.place(stop(CAROL, BUY, TAKE_PROFIT_LIMIT, 1, 95, 105))
    for price, quantity in ((95, 1), (90, 4), (89, 9)):
        exchange.place(buy(BOB, quantity, price))
    exchange.place(sell(BOB, 3, 105))
    told = [line for line in story(exchange.done(ioc(CAROL, SELL, 1, 95))) if "x" in line or "trig" in line]
    assert told == [
        "11 x 7: 1 at 95",
        *("triggered 3", "3 x 8: 2 at 90"),
        *("triggered 6", "6 x 10: 1 at 105"),
        *("triggered 5", "5 x 8: 2 at 90"),
        *("triggered 4", "4 x 10: 2 at 105"),
    ]


def test_what_is_triggered_stays_triggered_whatever_the_price_does_next() -> None:
    """One that entered before it has taken the price away again; what the price never reached waits on."""
    exchange = Exchange(free())
    last_price(exchange, 100)
    exchange.place(stop(ALICE, BUY, STOP_LOSS_LIMIT, 1, 105, 50))
    exchange.place(stop(ALICE, BUY, STOP_LOSS_LIMIT, 1, 110, 60))
    exchange.place(stop(BOB, SELL, TAKE_PROFIT, 1, 104))
    exchange.place(buy(CAROL, 1, 95))
    exchange.place(sell(BOB, 1, 105))
    told = story(exchange.done(ioc(CAROL, BUY, 1, 105)))
    assert told[-5:] == ["triggered 5", "5 x 6: 1 at 95", "FILLED 6", "FILLED 5", "triggered 3"]
    assert exchange.depth().bids == [(50, 1)]
    assert exchange.open_orders(ALICE) == [3, 4]


def test_amendments_set_off_stops_too() -> None:
    """Whatever command trades: here a resting order that is moved across."""
    exchange = Exchange(free())
    exchange.place(stop(ALICE, BUY, STOP_LOSS, 1, 100))
    exchange.place(sell(BOB, 2, 100))
    exchange.place(buy(CAROL, 1, 90))
    told = story(exchange.done(amend(CAROL, 3, price=100)))
    assert told == [
        "amended 3",
        "3 x 2: 1 at 100",
        "FILLED 3",
        "triggered 1",
        "1 x 2: 1 at 100",
        "FILLED 2",
        "FILLED 1",
    ]


def test_replacements_set_off_stops_too() -> None:
    """The old order leaves, the new one trades, the stop enters."""
    exchange = Exchange(free())
    exchange.place(stop(ALICE, BUY, STOP_LOSS, 1, 100))
    exchange.place(sell(BOB, 2, 100))
    exchange.place(buy(CAROL, 1, 90))
    told = story(exchange.done(replace(3, buy(CAROL, 1, 100))))
    assert told[0] == "CANCELED 3"
    assert told[-4:] == ["triggered 1", "1 x 2: 1 at 100", "FILLED 2", "FILLED 1"]


def test_a_stop_is_not_triggered_by_prices_of_orders_but_of_trades() -> None:
    """Bids and asks that come and go leave it waiting."""
    exchange = Exchange(free())
    order, _ = exchange.place(stop(ALICE, BUY, STOP_LOSS, 1, 100))
    exchange.place(buy(BOB, 1, 100))
    exchange.place(sell(CAROL, 1, 150))
    exchange.place(ioc(CAROL, BUY, 1, 120))
    assert exchange.order(ALICE, order.order_id).status == NEW


# What becomes of it


@pytest.mark.parametrize(
    ("time_in_force", "there", "status"),
    [
        *((GTC, 4, "rests"), (GTC, 10, FILLED), (GTC, 0, "rests"), (GTD, 4, "rests"), (GTD, 10, FILLED)),
        *((IOC, 4, EXPIRED), (IOC, 10, FILLED), (IOC, 0, EXPIRED)),
        *((FOK, 9, EXPIRED), (FOK, 10, FILLED), (FOK, 0, EXPIRED)),
    ],
)
@pytest.mark.parametrize("kind", LIMIT_KINDS)
@pytest.mark.parametrize("side", [BUY, SELL])
def test_a_triggered_limit_order_does_what_its_time_in_force_says(
    side: int, kind: int, time_in_force: int, there: int, status: int | str
) -> None:
    """The rest of it rests at its own price, or expires; all or nothing is decided when it enters."""
    exchange = Exchange(free())
    placed = stop(ALICE, side, kind, 10, 100, 100, time_in_force=time_in_force)
    if time_in_force == GTD:
        placed = till(exchange.time_ns // 10**6 + 10_000, placed)
    order, _ = exchange.place(placed)
    opposite = SELL if side == BUY else BUY
    if there:
        exchange.place(limit(BOB, opposite, there, 100))
    exchange.place(limit(BOB, opposite, 1, 100))
    # The newer lot of Bob's is what the last price needs; the older ones stay for the stop.
    exchange.done(ioc(CAROL, side, 1, 100))
    view = exchange.order(ALICE, order.order_id)
    missing = 10 - there
    if status == "rests":
        assert view.executed == there
        assert exchange.open_orders(ALICE) == [order.order_id]
        depth = exchange.depth()
        assert (depth.bids if side == BUY else depth.asks) == [(100, missing)]
    else:
        executed = 0 if time_in_force == FOK and status == EXPIRED else there
        assert (view.status, view.executed) == (status, executed)
        assert exchange.open_orders(ALICE) == []


@pytest.mark.parametrize("kind", MARKET_KINDS)
@pytest.mark.parametrize("side", [BUY, SELL])
def test_a_triggered_market_order_takes_what_there_is_and_the_rest_expires(side: int, kind: int) -> None:
    """It never rests, and what it held for the rest comes back."""
    exchange = Exchange(free())
    order, _ = exchange.place(stop(ALICE, side, kind, 10, 100))
    exchange.place(limit(BOB, SELL if side == BUY else BUY, 5, 100))
    exchange.done(ioc(CAROL, side, 1, 100))
    view = exchange.order(ALICE, order.order_id)
    assert (view.status, view.executed, view.price) == (EXPIRED, 4, 0)
    assert (exchange.depth().bids, exchange.depth().asks) == ([], [])
    for asset in FUNDS:
        assert exchange.balance(ALICE, asset).held == 0


@pytest.mark.parametrize("kind", MARKET_KINDS)
@pytest.mark.parametrize("side", [BUY, SELL])
def test_a_triggered_market_order_expires_where_nobody_is(side: int, kind: int) -> None:
    """Its own trigger took the last there was."""
    exchange = Exchange(free())
    order, _ = exchange.place(stop(ALICE, side, kind, 10, 100))
    assert last_price(exchange, 100)[-2:] == [f"triggered {order.order_id}", f"EXPIRED {order.order_id}"]
    assert exchange.balance(ALICE, "USDT") == BalanceView("USDT", FUNDS["USDT"], 0)


def test_a_triggered_buy_never_pays_more_than_it_holds_for() -> None:
    """The market ran away over the stop price and its collar: what is dearer is left, what is cheaper is given back."""
    exchange = Exchange(free())
    order, _ = exchange.place(stop(ALICE, BUY, STOP_LOSS, 10, 1_000))
    for price in (1_099, 1_100, 1_101):
        exchange.place(sell(BOB, 3, price))
    exchange.done(ioc(CAROL, BUY, 1, 1_099))
    view = exchange.order(ALICE, order.order_id)
    assert (view.status, view.executed, view.executed_quote) == (EXPIRED, 5, 2 * 1_099 + 3 * 1_100)
    assert exchange.balance(ALICE, "USDT") == BalanceView("USDT", FUNDS["USDT"] - 5_498, 0)


def test_a_triggered_buy_whose_market_has_run_away_entirely_expires() -> None:
    """Not one lot is to be had for what it holds."""
    exchange = Exchange()
    order, _ = exchange.place(stop(ALICE, BUY, STOP_LOSS, 10, 1_000))
    exchange.place(sell(BOB, 3, 2_000))
    told = story(exchange.done(ioc(CAROL, BUY, 1, 2_000)))
    assert told[-2:] == [f"triggered {order.order_id}", f"EXPIRED {order.order_id}"]
    assert exchange.balance(ALICE, "USDT") == BalanceView("USDT", FUNDS["USDT"], 0)


def test_a_triggered_buy_spends_what_it_held_to_the_last_unit_and_no_more() -> None:
    """Price at the bound, fee of the bound, an account that owns nothing besides."""
    exchange = Exchange(funds={"BTC": FUNDS["BTC"], "USDT": 11_022})
    order, _ = exchange.place(stop(ALICE, BUY, STOP_LOSS, 10, 1_000))
    exchange.place(sell(BOB, 20, 1_100))
    exchange.done(ioc(CAROL, BUY, 1, 1_100))
    assert exchange.order(ALICE, order.order_id).status == FILLED
    assert exchange.balance(ALICE, "USDT") == BalanceView("USDT", 0, 0)


def test_a_triggered_buy_keeps_to_the_collar_of_the_best_price_too() -> None:
    """A market order: where the best price has fallen since, its collar ends lower than what the order holds for."""
    exchange = Exchange(free())
    last_price(exchange, 1_000)
    order, _ = exchange.place(stop(ALICE, BUY, TAKE_PROFIT, 10, 900))
    for price in (500, 550, 551):
        exchange.place(sell(BOB, 3, price))
    exchange.done(ioc(CAROL, BUY, 1, 500))
    view = exchange.order(ALICE, order.order_id)
    assert (view.status, view.executed, view.executed_quote) == (EXPIRED, 5, 2 * 500 + 3 * 550)


def test_a_triggered_sell_finds_its_worst_price_when_it_enters() -> None:
    """The best bid less the collar, however far from the stop price that is by then."""
    exchange = Exchange(free())
    order, _ = exchange.place(stop(ALICE, SELL, STOP_LOSS, 10, 1_000))
    for price in (500, 450, 449):
        exchange.place(buy(BOB, 3, price))
    exchange.done(ioc(CAROL, SELL, 1, 500))
    view = exchange.order(ALICE, order.order_id)
    assert (view.status, view.executed, view.executed_quote) == (EXPIRED, 5, 2 * 500 + 3 * 450)


def test_a_triggered_sell_that_is_worth_too_much_by_then_expires() -> None:
    """It fitted 64 bits with the money there was when it was placed, and does not with what came since."""
    exchange = Exchange(free(max_quantity=10**6))
    room = MAX_INT - exchange.engine.totals()["USDT"]
    for account in (ALICE, BOB):
        exchange.place(stop(account, SELL, STOP_LOSS_LIMIT, 2, 100, room // 2))
    last_price(exchange, 101)
    assert last_price(exchange, 100)[-2:] == ["triggered 1", "triggered 2"]
    assert exchange.depth().asks == [(room // 2, 4)]
    order, _ = exchange.place(stop(ALICE, SELL, STOP_LOSS_LIMIT, 2, 99, room // 2))
    exchange.done(CreditDeposit("more", CAROL, "USDT", 3))
    assert last_price(exchange, 99)[-2:] == [f"triggered {order.order_id}", f"EXPIRED {order.order_id}"]
    assert exchange.balance(ALICE, "BTC").held == 2 * LOT


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        (NONE, ["1 x 3: 4 at 100", "FILLED 3", "1 x 4: 3 at 100", "FILLED 1"]),
        (EXPIRE_TAKER, ["EXPIRED_IN_MATCH 1"]),
        (EXPIRE_MAKER, ["EXPIRED_IN_MATCH 3", "1 x 4: 7 at 100", "FILLED 4", "FILLED 1"]),
        (EXPIRE_BOTH, ["EXPIRED_IN_MATCH 3", "EXPIRED_IN_MATCH 1"]),
        (DECREMENT, ["EXPIRED_IN_MATCH 3", "reduced 1 by 4", "1 x 4: 3 at 100", "FILLED 1"]),
    ],
)
@pytest.mark.parametrize(("kind", "price"), [(STOP_LOSS, 0), (STOP_LOSS_LIMIT, 100)])
def test_a_triggered_order_that_meets_its_own_account_does_as_its_mode_says(
    kind: int, price: int, mode: int, told: list[str]
) -> None:
    """It is the taker, and the mode of its placement counts; what it held is given back with it."""
    exchange = Exchange(free())
    exchange.place(stop(ALICE, BUY, kind, 7, 100, price, self_trade=mode))
    for account, quantity in ((BOB, 1), (ALICE, 4), (BOB, 7)):
        exchange.place(sell(account, quantity, 100))
    events = story(exchange.done(ioc(CAROL, BUY, 1, 100)))
    assert events[events.index("triggered 1") + 1 :] == told
    assert exchange.balance(ALICE, "USDT").held == 0


@pytest.mark.parametrize(("mode", "status"), [(NONE, FILLED), (EXPIRE_MAKER, FILLED), (DECREMENT, EXPIRED)])
def test_all_or_nothing_is_decided_anew_when_the_stop_enters(mode: int, status: int) -> None:
    """By the book of that moment, its own orders in it and hidden lots included."""
    exchange = Exchange(free())
    order, _ = exchange.place(stop(ALICE, BUY, STOP_LOSS_LIMIT, 12, 100, 101, time_in_force=FOK, self_trade=mode))
    exchange.place(sell(BOB, 3, 100))
    exchange.place(sell(ALICE, 2, 101))
    exchange.place(iceberg(BOB, SELL, 10, 101, 2))
    exchange.done(ioc(CAROL, BUY, 1, 100))
    assert exchange.order(ALICE, order.order_id).status == status
    assert exchange.order(ALICE, order.order_id).executed in {0, 12}


def test_stops_of_one_cascade_compete_for_the_same_lots() -> None:
    """First triggered, first served; who comes to an empty book expires."""
    exchange = Exchange(free())
    for account in (ALICE, BOB):
        exchange.place(stop(account, BUY, STOP_LOSS, 4, 100))
    exchange.place(sell(CAROL, 6, 100))
    exchange.place(ioc(BOB, BUY, 1, 100))
    assert [exchange.order(a, n).executed for a, n in ((ALICE, 1), (BOB, 2))] == [4, 1]
    assert exchange.order(BOB, 2).status == EXPIRED


def test_a_triggered_order_that_rests_makes_the_next_ones_market() -> None:
    """It has entered for good, and is a maker like any other."""
    exchange = Exchange(free())
    exchange.place(stop(ALICE, BUY, STOP_LOSS_LIMIT, 5, 100, 95))
    exchange.place(stop(BOB, SELL, TAKE_PROFIT, 3, 100))
    exchange.place(sell(CAROL, 1, 100))
    told = story(exchange.done(ioc(CAROL, BUY, 1, 100, self_trade=NONE)))
    assert told[-4:] == ["triggered 1", "triggered 2", "2 x 1: 3 at 95", "FILLED 2"]
    assert exchange.depth().bids == [(95, 2)]


def test_a_triggered_stop_is_gone_after_its_fill() -> None:
    """It is neither triggered nor cancelled again, holds nothing, and waits nowhere."""
    exchange = Exchange(free())
    order, _ = exchange.place(stop(ALICE, BUY, STOP_LOSS, 3, 100))
    exchange.place(sell(BOB, 50, 100))
    exchange.done(ioc(CAROL, BUY, 1, 100))
    assert exchange.order(ALICE, order.order_id).status == FILLED
    assert exchange.open_orders(ALICE) == []
    assert exchange.refused(cancel(ALICE, order.order_id)).reason == "UNKNOWN_ORDER"
    for price in (100, 90, 100, 120):
        assert "triggered" not in " ".join(last_price(exchange, price))
    assert exchange.engine.state.markets[SYMBOL].stops.all() == []


def test_a_cascade_of_thousands_of_stops_in_one_command() -> None:
    """Each enters once, in order, and the time it takes grows with their number and not with its square."""
    exchange = Exchange(free(max_open_orders=100_000))
    engine = exchange.engine
    number = count(20_000, 100_000)
    for order_id in range(number):
        exchange.seq += 1
        order = stop(ALICE, BUY, STOP_LOSS_LIMIT, 1, 100 + order_id % 7, 10, time_in_force=IOC)
        engine.apply(order, exchange.seq, exchange.time_ns)
    exchange.place(sell(BOB, 1, 106))
    events = exchange.done(ioc(CAROL, BUY, 1, 106))
    entered = [event.order for event in events if isinstance(event, OrderTriggered)]
    assert len(entered) == number
    assert [(order.stop_price, order.order_id) for order in entered] == sorted(
        (order.stop_price, order.order_id) for order in entered
    )
    assert sum(isinstance(event, OrderClosed) and event.order.status == EXPIRED for event in events) == number


# Changing and leaving


def test_an_untriggered_stop_can_be_cancelled_by_either_id() -> None:
    """What it held comes back, and nothing sets it off any more."""
    exchange = Exchange(free())
    exchange.place(stop(ALICE, BUY, STOP_LOSS, 3, 100))
    exchange.place(stop(ALICE, SELL, STOP_LOSS, 3, 90, client_order_id="mine"))
    exchange.place(stop(ALICE, BUY, STOP_LOSS, 3, 100))
    assert exchange.refused(cancel(BOB, 1)).reason == "UNKNOWN_ORDER"
    assert closed(exchange.done(cancel(ALICE, 1))) == [(1, CANCELED)]
    assert closed(exchange.done(cancel(ALICE, 0, "mine"))) == [(2, CANCELED)]
    assert exchange.refused(cancel(ALICE, 1)).reason == "UNKNOWN_ORDER"
    assert exchange.balance(ALICE, "BTC").held == 0
    assert [line for line in last_price(exchange, 100) if "triggered" in line] == ["triggered 3"]


def test_cancelling_all_includes_waiting_stops_oldest_first() -> None:
    """Between resting ones, by their age."""
    exchange = Exchange(free())
    for order in (stop(ALICE, BUY, STOP_LOSS, 1, 200), buy(ALICE, 1, 50), stop(ALICE, SELL, STOP_LOSS, 1, 20)):
        exchange.place(order)
    exchange.place(stop(BOB, SELL, STOP_LOSS, 1, 20))
    assert closed(exchange.done(cancel_all(ALICE))) == [(n, CANCELED) for n in (1, 2, 3)]
    assert closed(exchange.done(cancel_all(BOB, SYMBOL))) == [(4, CANCELED)]


def test_clearing_the_market_includes_waiting_stops() -> None:
    """Of all accounts, by order id."""
    exchange = Exchange(free())
    for order in (stop(BOB, BUY, STOP_LOSS, 1, 200), buy(ALICE, 1, 50), stop(ALICE, SELL, STOP_LOSS, 1, 20)):
        exchange.place(order)
    assert closed(exchange.done(ClearMarket(SYMBOL))) == [(n, CANCELED) for n in (1, 2, 3)]


def test_a_waiting_stop_limit_is_amended_where_it_waits() -> None:
    """Quantity and price both ways; what it holds follows, the book does not move, its place in line stays."""
    exchange = Exchange()
    exchange.place(stop(ALICE, BUY, STOP_LOSS_LIMIT, 10, 1_000, 1_000))
    exchange.place(stop(BOB, BUY, STOP_LOSS_LIMIT, 10, 1_000, 1_000))
    exchange.place(sell(CAROL, 5, 5_000))
    for quantity, price, held in ((20, 0, 20_040), (0, 2_000, 40_080), (5, 0, 10_020), (5, 6_000, 30_060)):
        assert story(exchange.done(amend(ALICE, 1, quantity, price))) == ["amended 1"]
        assert exchange.balance(ALICE, "USDT").held == held
    assert (exchange.depth().bids, exchange.depth().asks) == ([], [(5_000, 5)])
    assert exchange.order(ALICE, 1).stop_price == 1_000
    exchange.done(amend(CAROL, 3, price=1_000))
    told = story(exchange.done(ioc(CAROL, BUY, 1, 1_000, self_trade=NONE)))
    assert told[3:] == ["triggered 1", "1 x 3: 4 at 1000", "FILLED 3", "triggered 2"]


@pytest.mark.parametrize("kind", MARKET_KINDS)
@pytest.mark.parametrize("side", [BUY, SELL])
def test_a_waiting_market_kind_of_stop_has_a_quantity_to_amend_and_no_price(side: int, kind: int) -> None:
    """Its stop price stays, and it holds at the worst price of that."""
    exchange = Exchange(free())
    exchange.place(stop(ALICE, side, kind, 10, 1_000))
    for price in (1, -1, 10**30):
        refused = exchange.refused(amend(ALICE, 1, 5, price))
        assert refused == Rejected(codes.INVALID_PARAMETER, "", "new_price", price)
    for quantity in (20, 4):
        exchange.done(amend(ALICE, 1, quantity))
        held = exchange.balance(ALICE, "USDT").held if side == BUY else exchange.balance(ALICE, "BTC").held
        assert held == quantity * (1_100 if side == BUY else LOT)


def test_an_amended_stop_is_judged_by_the_same_numbers_and_funds() -> None:
    """The filters, 64 bits at its worst price, and what its account has besides."""
    exchange = Exchange(free(max_quantity=1_000, min_quantity=2, min_notional=300), funds={"BTC": 10**7, "USDT": 5_000})
    exchange.place(stop(ALICE, BUY, STOP_LOSS, 4, 100))
    for quantity, reason in ((1, "LOT_SIZE"), (1_001, "LOT_SIZE"), (2, "MIN_NOTIONAL"), (2**63, "OVERFLOW")):
        refused = exchange.refused(amend(ALICE, 1, quantity))
        assert refused.reason == reason
    refused = exchange.refused(amend(ALICE, 1, 46))
    assert refused == Rejected(codes.ORDER_REJECTED, "INSUFFICIENT_BALANCE", "quote", 46 * 110, 5_000)
    exchange.done(amend(ALICE, 1, 45))
    exchange.place(stop(BOB, BUY, STOP_LOSS_LIMIT, 4, 100, 100))
    assert exchange.refused(amend(BOB, 2, 1_000, MAX_INT // 1_000 + 1)).limit == 999
    assert exchange.refused(amend(BOB, 2, price=-1)).reason == "PRICE_FILTER"


def test_amending_does_not_set_a_stop_off() -> None:
    """Its stop price is what it was, and the last price is still short of it."""
    exchange = Exchange(free())
    last_price(exchange, 100)
    exchange.place(stop(ALICE, BUY, STOP_LOSS_LIMIT, 5, 101, 101))
    exchange.place(sell(BOB, 5, 101))
    assert story(exchange.done(amend(ALICE, 3, 6, 200))) == ["amended 3"]
    assert exchange.open_orders(ALICE) == [3]


def test_a_stop_that_was_triggered_and_rests_is_amended_like_any_resting_order() -> None:
    """It takes where its new price crosses, though its stop price was reached long ago."""
    exchange = Exchange(free())
    exchange.place(stop(ALICE, BUY, STOP_LOSS_LIMIT, 5, 100, 90))
    last_price(exchange, 100)
    exchange.place(sell(BOB, 2, 95))
    told = story(exchange.done(amend(ALICE, 1, price=95)))
    assert told == ["amended 1", "1 x 4: 2 at 95", "FILLED 4"]
    assert exchange.depth().bids == [(95, 3)]


def test_a_stop_takes_an_orders_place_and_an_order_a_stops() -> None:
    """What the old one held pays for the new one, of the same side."""
    exchange = Exchange(free(), funds={"BTC": LOT, "USDT": 11_000})
    exchange.place(buy(ALICE, 11, 1_000))
    assert story(exchange.done(replace(1, stop(ALICE, BUY, STOP_LOSS, 10, 1_000)))) == ["CANCELED 1", "accepted 2"]
    assert exchange.balance(ALICE, "USDT") == BalanceView("USDT", 0, 11_000)
    assert exchange.refused(replace(2, stop(ALICE, BUY, STOP_LOSS, 11, 1_000))).reason == "INSUFFICIENT_BALANCE"
    assert story(exchange.done(replace(2, stop(ALICE, BUY, STOP_LOSS, 1, 500)))) == ["CANCELED 2", "accepted 3"]
    assert story(exchange.done(replace(3, buy(ALICE, 11, 1_000)))) == ["CANCELED 3", "accepted 4"]


def test_a_replacement_that_would_trigger_leaves_the_old_stop_waiting() -> None:
    """Both halves or neither."""
    exchange = Exchange(free())
    last_price(exchange, 100)
    exchange.place(stop(ALICE, BUY, STOP_LOSS, 5, 110))
    assert exchange.refused(replace(3, stop(ALICE, BUY, STOP_LOSS, 5, 100))).reason == "WOULD_TRIGGER"
    assert "triggered 3" in last_price(exchange, 110)


def test_the_status_of_a_stop_is_told_at_every_stage() -> None:
    """Waiting, resting, ended; the client's name is taken all the while."""
    exchange = Exchange(free())
    exchange.place(stop(ALICE, BUY, STOP_LOSS_LIMIT, 5, 100, 90, client_order_id="mine"))
    by_name = OrderStatus(ALICE, SYMBOL, 0, "mine")
    stages = [exchange.engine.query(by_name)]
    assert exchange.refused(buy(ALICE, 1, 1, client_order_id="mine")).ref == 1
    last_price(exchange, 100)
    stages.append(exchange.engine.query(by_name))
    exchange.place(market(BOB, SELL, 5))
    stages.append(exchange.engine.query(by_name))
    statuses = [(view.status, view.type, view.stop_price) for view in stages if isinstance(view, OrderView)]
    assert statuses == [(status, STOP_LOSS_LIMIT, 100) for status in (NEW, NEW, FILLED)]
    assert exchange.refused(buy(ALICE, 1, 1, client_order_id="mine")).ref == 1


def test_waiting_stops_come_back_from_a_dump_as_they_were() -> None:
    """Holds, names, the order of triggering and of a cancel-all."""
    exchange, copied = Exchange(free()), Exchange(free())
    for each in (exchange, copied):
        last_price(each, 100)
        for price in (103, 101, 102, 101):
            each.place(stop(ALICE, BUY, STOP_LOSS_LIMIT, 1, price, 101))
            each.place(stop(BOB, SELL, STOP_LOSS, 1, 200 - price))
        each.place(buy(CAROL, 4, 98))
        each.place(sell(CAROL, 4, 102))
    copied.restart()
    for command in (ioc(BOB, BUY, 1, 102), ioc(ALICE, SELL, 1, 98), cancel_all(ALICE), cancel_all(BOB)):
        assert story(exchange.done(command)) == story(copied.done(command))
        copied.restart()
    assert exchange.engine.dump() == copied.engine.dump()


@pytest.mark.parametrize("order_id", [3, 4])
def test_a_triggered_stop_in_a_halted_market_is_cancelled_like_any_other(order_id: int) -> None:
    """While it is between waiting and entering; what was behind it enters without it."""
    exchange = Exchange(free(band=100_000))
    last_price(exchange, 100)
    for _ in range(2):
        exchange.place(stop(ALICE, BUY, STOP_LOSS_LIMIT, 1, 105, 120))
    exchange.place(sell(BOB, 1, 105))
    exchange.place(sell(BOB, 1, 120))
    exchange.done(ioc(CAROL, BUY, 2, 120))
    assert exchange.open_orders(ALICE) == [3, 4]
    assert closed(exchange.done(cancel(ALICE, order_id))) == [(order_id, CANCELED)]
    assert exchange.engine.state.markets[SYMBOL].state == HALT
    assert f"triggered {7 - order_id}" in story(exchange.done(state(1)))


def test_a_stop_whose_worth_has_come_to_exceed_64_bits_expires() -> None:
    """One lot less would trade: it is judged at the price that it finds, as a market order is."""
    most = MAX_INT // 4
    for quantity, end in ((1_152_921, "FILLED 2"), (1_152_922, "EXPIRED 2")):
        exchange = Exchange(free(max_quantity=10**9, collar=0), funds={"BTC": 10**15, "USDT": most})
        exchange.place(buy(BOB, 5, 10**12))
        exchange.place(stop(ALICE, SELL, TAKE_PROFIT, quantity, 5))
        exchange.place(sell(BOB, 1, 10**12 + 7))
        told = story(exchange.done(ioc(CAROL, BUY, 1, 10**12 + 7)))
        assert "triggered 2" in told
        assert (end == "EXPIRED 2") == (told[-1] == "EXPIRED 2" and told[-2] == "triggered 2")

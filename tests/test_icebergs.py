"""Icebergs: what they show, where each part queues, what counts the hidden rest, and how they change."""

import msgspec
import pytest

from book import codes
from book.events import OrderReduced, Rejected, Trade
from book.queries import Balance
from book.terms import (
    BUY,
    CANCELED,
    DECREMENT,
    EXPIRE_BOTH,
    EXPIRE_MAKER,
    EXPIRE_TAKER,
    FILLED,
    FOK,
    IOC,
    MARKET,
    MAX_INT,
    NEW,
    NONE,
    PARTIALLY_FILLED,
    SELL,
)
from tests.exchange import (
    ALICE,
    BOB,
    BTC_USDT,
    CAROL,
    FUNDS,
    Exchange,
    amend,
    buy,
    cancel,
    cancel_all,
    closed,
    fok,
    free,
    iceberg,
    ioc,
    limit,
    market,
    replace,
    sell,
    spend,
    story,
    trades,
)


def makers(exchange: Exchange, side: int, quantity: int, price: int = 100) -> list[tuple[int, int]]:
    """With which orders Carol's trades, in order, and how many lots each time."""
    events = exchange.done(ioc(CAROL, side, quantity, price))
    return [(event.maker_order_id, event.quantity) for event in events if isinstance(event, Trade)]


def asks(*orders: tuple[int, int, int], price: int = 100) -> Exchange:
    """A market with these sells, as (account, quantity, shown)."""
    exchange = Exchange(free())
    for account, quantity, display in orders:
        exchange.place(iceberg(account, SELL, quantity, price, display))
    return exchange


# What is shown, and where it stands


@pytest.mark.parametrize("side", [BUY, SELL])
def test_only_a_part_is_shown_and_all_of_it_is_held(side: int) -> None:
    """The depth shows the part, the order's view all; the account holds for all of it."""
    exchange = Exchange()
    order, _ = exchange.place(iceberg(ALICE, side, 50, 1_000, 10))
    assert (order.quantity, order.display_quantity, order.status) == (50, 10, NEW)
    depth = exchange.depth()
    assert (depth.bids if side == BUY else depth.asks) == [(1_000, 10)]
    held = exchange.balance(ALICE, "USDT" if side == BUY else "BTC").held
    assert held == (50_100 if side == BUY else 50 * BTC_USDT.lot)


@pytest.mark.parametrize("side", [BUY, SELL])
def test_the_next_part_comes_forward_behind_everybody_else_of_the_price(side: int) -> None:
    """Part by part, each when the one before it has traded entirely; the last one is what is left."""
    exchange = Exchange(free())
    exchange.place(iceberg(ALICE, side, 25, 100, 10))
    exchange.place(limit(BOB, side, 10, 100))
    taking = SELL if side == BUY else BUY
    assert makers(exchange, taking, 9) == [(1, 9)]
    assert makers(exchange, taking, 2) == [(1, 1), (2, 1)]
    exchange.place(limit(BOB, side, 1, 100))
    assert makers(exchange, taking, 30) == [(2, 9), (1, 10), (5, 1), (1, 5)]
    assert exchange.order(ALICE, 1).status == FILLED


def test_a_sweep_takes_part_after_part_in_one_command() -> None:
    """An order alone at its price comes forward to itself."""
    exchange = asks((ALICE, 25, 10))
    _, events = exchange.place(buy(BOB, 22, 100))
    assert trades(events) == [(100, 10), (100, 10), (100, 2)]
    assert exchange.depth().asks == [(100, 3)]
    view = exchange.order(ALICE, 1)
    assert (view.executed, view.status) == (22, PARTIALLY_FILLED)


def test_several_icebergs_take_turns() -> None:
    """Each shows its own part, and stands last when that is gone."""
    exchange = asks((ALICE, 9, 3), (BOB, 5, 2), (ALICE, 4, 4), (BOB, 3, 1))
    assert exchange.depth().asks == [(100, 10)]
    assert makers(exchange, BUY, 21) == [
        *((1, 3), (2, 2), (3, 4), (4, 1)),
        *((1, 3), (2, 2), (4, 1), (1, 3), (2, 1), (4, 1)),
    ]
    assert exchange.depth().asks == []


def test_a_part_that_is_traded_to_the_lot_brings_the_next_one_at_once() -> None:
    """Nobody has to ask for more first; one lot less and the old part still stands."""
    exchange = asks((ALICE, 20, 10), (BOB, 10, 10))
    makers(exchange, BUY, 9)
    assert exchange.depth().asks == [(100, 11)]
    exchange.place(sell(BOB, 5, 100))
    assert makers(exchange, BUY, 1) == [(1, 1)]
    assert exchange.depth().asks == [(100, 25)]
    assert makers(exchange, BUY, 25) == [(2, 10), (4, 5), (1, 10)]


def test_the_book_counts_a_part_that_comes_forward_as_a_change_of_its_own() -> None:
    """Comes, shrinks, comes forward, leaves."""
    exchange = asks((ALICE, 20, 10))
    assert exchange.depth().seq == 1
    makers(exchange, BUY, 9)
    assert exchange.depth().seq == 2
    makers(exchange, BUY, 1)
    assert exchange.depth().seq == 4
    makers(exchange, BUY, 10)
    assert exchange.depth().seq == 5


def test_a_taker_that_rests_shows_only_a_part_of_what_is_left() -> None:
    """What it trades on arrival is not bound by what it shows."""
    exchange = Exchange(free())
    exchange.place(sell(BOB, 32, 100))
    order, events = exchange.place(iceberg(ALICE, BUY, 50, 100, 10))
    assert trades(events) == [(100, 32)]
    assert exchange.depth().bids == [(100, 10)]
    exchange.place(sell(BOB, 10, 101))
    order, _ = exchange.place(iceberg(ALICE, BUY, 15, 101, 10))
    assert (order.executed, exchange.depth().bids[0]) == (10, (101, 5))


def test_an_iceberg_that_shows_all_is_an_order_like_any_other() -> None:
    """It keeps its place until it is filled."""
    exchange = asks((ALICE, 10, 10), (BOB, 10, 10))
    assert makers(exchange, BUY, 5) == [(1, 5)]
    assert makers(exchange, BUY, 10) == [(1, 5), (2, 5)]


def test_an_iceberg_may_be_post_only() -> None:
    """It rests or is refused, as a whole."""
    exchange = Exchange(free())
    exchange.place(sell(BOB, 1, 100))
    assert exchange.refused(iceberg(ALICE, BUY, 50, 100, 10, post_only=True)).reason == "WOULD_TAKE"
    exchange.place(iceberg(ALICE, BUY, 50, 99, 10, post_only=True))
    assert exchange.depth().bids == [(99, 10)]


def test_a_cancelled_iceberg_gives_back_all_it_held() -> None:
    """Shown and hidden; of the part that is half gone too."""
    exchange = asks((ALICE, 50, 10), (ALICE, 50, 10))
    makers(exchange, BUY, 14)
    assert closed(exchange.done(cancel(ALICE, 1))) == [(1, CANCELED)]
    assert exchange.depth().asks == [(100, 6)]
    exchange.done(cancel_all(ALICE))
    assert exchange.balance(ALICE, "BTC") == Balance("BTC", FUNDS["BTC"] - 14 * BTC_USDT.lot, 0)
    assert exchange.depth().asks == []


def test_fees_are_the_same_however_many_parts_there_are() -> None:
    """Rounded up once an order."""
    exchange = Exchange(msgspec.structs.replace(BTC_USDT, maker_fee=333, taker_fee=777))
    exchange.place(iceberg(ALICE, SELL, 100, 7, 1))
    _, events = exchange.place(buy(BOB, 100, 7))
    made = [event for event in events if isinstance(event, Trade)]
    assert len(made) == 100
    assert sum(trade.maker_fee for trade in made) == sum(trade.taker_fee for trade in made) == 1


# What is refused


@pytest.mark.parametrize(
    ("quantity", "display", "expected"),
    [
        (10, 11, Rejected(codes.INVALID_PARAMETER, "", "display_quantity", 11, 10)),
        (10, 10**30, Rejected(codes.INVALID_PARAMETER, "", "display_quantity", 10**30, 10)),
        (10, 2, Rejected(codes.FILTER_FAILURE, "LOT_SIZE", "display_quantity", 2, 3)),
        (10, -1, Rejected(codes.FILTER_FAILURE, "LOT_SIZE", "display_quantity", -1, 3)),
        (10, -(10**30), Rejected(codes.FILTER_FAILURE, "LOT_SIZE", "display_quantity", -(10**30), 3)),
        (301, 3, Rejected(codes.INVALID_PARAMETER, "", "display_quantity", 3, 4)),
        (1_000, 9, Rejected(codes.INVALID_PARAMETER, "", "display_quantity", 9, 10)),
        (2, 1, Rejected(codes.FILTER_FAILURE, "LOT_SIZE", "quantity", 2, 3)),
        (1_001, 1, Rejected(codes.FILTER_FAILURE, "LOT_SIZE", "quantity", 1_001, 1_000)),
        (2**63, 1, Rejected(codes.FILTER_FAILURE, "OVERFLOW", "quantity", 2**63, MAX_INT)),
    ],
)
def test_what_is_shown_lies_between_the_least_quantity_and_the_whole(
    quantity: int, display: int, expected: Rejected
) -> None:
    """And is at least a hundredth of it; judged after the quantity and before the price."""
    exchange = Exchange(free(min_quantity=3, max_quantity=1_000))
    for price in (100, 0, -5, 2**63):
        assert exchange.refused(iceberg(ALICE, BUY, quantity, price, display)) == expected


def test_a_hundred_parts_are_not_too_many() -> None:
    """The bounds themselves pass."""
    exchange = Exchange(free(min_quantity=3, max_quantity=1_000))
    for quantity, display in ((300, 3), (1_000, 10), (3, 3)):
        exchange.place(iceberg(ALICE, BUY, quantity, 100, display))


@pytest.mark.parametrize("changes", [{"time_in_force": IOC}, {"time_in_force": FOK}, {"type": MARKET, "price": 0}])
def test_what_never_rests_shows_nothing(changes: dict[str, int]) -> None:
    """A part to be shown is refused beside it."""
    order = msgspec.structs.replace(iceberg(ALICE, BUY, 10, 100, 5), **changes)
    assert Exchange().refused(order) == Rejected(codes.INVALID_PARAMETER, "", "display_quantity", 5)


# All or nothing


def test_all_or_nothing_counts_what_is_hidden() -> None:
    """To the lot; and then trades it, part by part."""
    exchange = asks((BOB, 50, 5), (BOB, 7, 7))
    exchange.place(iceberg(BOB, SELL, 30, 101, 1))
    refused = exchange.refused(fok(ALICE, BUY, 88, 101))
    assert refused == Rejected(codes.ORDER_REJECTED, "FOK_UNFILLABLE", "quantity", 88, 87)
    assert exchange.refused(fok(ALICE, BUY, 58, 100)).limit == 57
    order, events = exchange.place(fok(ALICE, BUY, 87, 101))
    assert (order.status, len(trades(events))) == (FILLED, 10 + 1 + 30)
    assert exchange.depth().asks == []


@pytest.mark.parametrize(
    ("mode", "most"), [(NONE, 62), (EXPIRE_TAKER, 7), (EXPIRE_MAKER, 52), (EXPIRE_BOTH, 7), (DECREMENT, 7)]
)
def test_all_or_nothing_behind_an_own_order_counts_only_what_is_shown_before_it(mode: int, most: int) -> None:
    """Hidden lots come forward behind the own order, which ends the trading or is left out."""
    for quantity in (most + 1, most):
        exchange = asks((BOB, 30, 3), (CAROL, 4, 4), (ALICE, 10, 2), (BOB, 18, 6))
        order = fok(ALICE, BUY, quantity, 100, self_trade=mode)
        if quantity > most:
            assert exchange.refused(order).limit == most
        else:
            assert exchange.place(order)[0].status == FILLED


@pytest.mark.parametrize("mode", [EXPIRE_TAKER, EXPIRE_BOTH, DECREMENT])
def test_all_or_nothing_sees_an_own_order_behind_what_it_needs(mode: int) -> None:
    """At a worse level it is out of the way, hidden lots of the better ones all count."""
    exchange = asks((BOB, 30, 3))
    exchange.place(sell(ALICE, 5, 101))
    exchange.place(sell(BOB, 5, 101))
    assert exchange.refused(fok(ALICE, BUY, 31, 101, self_trade=mode)).limit == 30
    assert exchange.place(fok(ALICE, BUY, 30, 101, self_trade=mode))[0].status == FILLED


def test_all_or_nothing_in_place_of_an_iceberg_does_not_count_it() -> None:
    """Neither its part nor what it hides, whatever is before or behind it."""
    exchange = asks((BOB, 30, 3), (ALICE, 20, 5), (CAROL, 8, 2))
    assert exchange.refused(replace(2, fok(ALICE, BUY, 39, 100))).limit == 38
    events = exchange.done(replace(2, fok(ALICE, BUY, 38, 100)))
    assert sum(quantity for _, quantity in trades(events)) == 38


# Self-trade prevention


@pytest.mark.parametrize(("quantity", "left", "shown"), [(7, 13, 5), (15, 5, 5), (18, 2, 2)])
def test_a_decrement_takes_from_all_that_is_open_the_hidden_first(quantity: int, left: int, shown: int) -> None:
    """The iceberg keeps its place and holds for what is left."""
    exchange = asks((ALICE, 20, 5), (BOB, 3, 3))
    told = story(exchange.done(buy(ALICE, quantity, 100, self_trade=DECREMENT)))
    assert told[1:] == [f"reduced 1 by {quantity}", "EXPIRED_IN_MATCH 3"]
    assert exchange.order(ALICE, 1).quantity == left
    assert exchange.balance(ALICE, "BTC").held == left * BTC_USDT.lot
    assert exchange.depth().asks == [(100, shown + 3)]
    assert makers(exchange, BUY, 1) == [(1, 1)]


def test_a_decrement_of_all_that_is_open_ends_the_iceberg() -> None:
    """And leaves the rest of the taker to the next in the queue."""
    exchange = asks((ALICE, 20, 5), (BOB, 30, 30))
    told = story(exchange.done(buy(ALICE, 33, 100, self_trade=DECREMENT)))
    assert told[1:] == ["EXPIRED_IN_MATCH 1", "reduced 3 by 20", "3 x 2: 13 at 100", "FILLED 3"]


def test_a_decrement_of_a_part_that_has_begun_to_trade() -> None:
    """What was executed stays executed, the part shows what was left of it, the hidden shrink."""
    exchange = asks((ALICE, 20, 5), (BOB, 3, 3))
    makers(exchange, BUY, 2)
    events = exchange.done(buy(ALICE, 6, 100, self_trade=DECREMENT))
    (reduced,) = (event for event in events if isinstance(event, OrderReduced))
    assert (reduced.order.quantity, reduced.order.executed, reduced.quantity) == (14, 2, 6)
    assert exchange.depth().asks == [(100, 6)]
    assert makers(exchange, BUY, 20) == [(1, 3), (2, 3), (1, 5), (1, 4)]


def test_a_taker_that_is_an_iceberg_is_decremented_as_a_whole_and_rests_in_parts() -> None:
    """What it shows is cut to what is left of it."""
    exchange = asks((ALICE, 6, 6))
    told = story(exchange.done(iceberg(ALICE, BUY, 20, 100, 5, self_trade=DECREMENT)))
    assert told == ["accepted 2", "EXPIRED_IN_MATCH 1", "reduced 2 by 6"]
    assert exchange.depth().bids == [(100, 5)]
    assert makers(exchange, SELL, 20) == [(2, 5), (2, 5), (2, 4)]


def test_an_amount_order_meets_an_own_iceberg() -> None:
    """The decrement takes what the amount affords of all that is open."""
    exchange = asks((ALICE, 20, 5), (BOB, 10, 2))
    told = story(exchange.done(spend(ALICE, 2_500, self_trade=DECREMENT)))
    assert told == [
        *("accepted 3", "EXPIRED_IN_MATCH 1", "reduced 3 by 20", "3 x 2: 2 at 100", "3 x 2: 2 at 100"),
        *("3 x 2: 1 at 100", "FILLED 3"),
    ]
    exchange = asks((ALICE, 20, 5))
    assert story(exchange.done(spend(ALICE, 700, self_trade=DECREMENT)))[1:] == ["reduced 1 by 7", "EXPIRED_IN_MATCH 2"]
    assert exchange.depth().asks == [(100, 5)]


@pytest.mark.parametrize("mode", [EXPIRE_MAKER, EXPIRE_BOTH])
def test_an_own_iceberg_expires_as_a_whole(mode: int) -> None:
    """Shown and hidden."""
    exchange = asks((ALICE, 20, 5), (BOB, 10, 2))
    told = story(exchange.done(ioc(ALICE, BUY, 4, 100, self_trade=mode)))
    assert told[1] == "EXPIRED_IN_MATCH 1"
    assert exchange.balance(ALICE, "BTC").held == 0
    assert exchange.order(ALICE, 3).executed == (4 if mode == EXPIRE_MAKER else 0)


def test_an_own_iceberg_is_traded_with_where_nothing_prevents_it() -> None:
    """Part after part, with itself as it were."""
    exchange = asks((ALICE, 10, 4))
    told = story(exchange.done(ioc(ALICE, BUY, 10, 100, self_trade=NONE)))
    assert told[1:4] == ["2 x 1: 4 at 100", "2 x 1: 4 at 100", "2 x 1: 2 at 100"]


# Changing


@pytest.mark.parametrize(("quantity", "shown"), [(20, 5), (19, 5), (6, 5), (5, 5), (4, 4), (1, 1)])
def test_a_smaller_iceberg_keeps_its_place_and_loses_what_is_hidden_first(quantity: int, shown: int) -> None:
    """It may become smaller than what it showed."""
    exchange = asks((ALICE, 20, 5), (BOB, 3, 3))
    exchange.done(amend(ALICE, 1, quantity))
    assert exchange.depth().asks == [(100, shown + 3)]
    assert exchange.order(ALICE, 1).display_quantity == 5
    assert makers(exchange, BUY, 1) == [(1, 1)]
    assert sum(lots for order, lots in makers(exchange, BUY, 30) if order == 1) == quantity - 1


def test_a_smaller_iceberg_whose_part_is_half_gone_shows_no_more_than_before() -> None:
    """The part that stands in the queue does not fill up again."""
    exchange = asks((ALICE, 20, 5), (BOB, 3, 3))
    makers(exchange, BUY, 3)
    exchange.done(amend(ALICE, 1, 10))
    assert exchange.depth().asks == [(100, 2 + 3)]
    assert makers(exchange, BUY, 30) == [(1, 2), (2, 3), (1, 5)]


@pytest.mark.parametrize(("quantity", "price"), [(21, 0), (0, 101), (15, 101), (30, 99)])
def test_a_larger_iceberg_or_one_of_another_price_queues_anew_with_a_whole_part(quantity: int, price: int) -> None:
    """Also where the part had begun to trade."""
    exchange = Exchange(free())
    at = price or 100
    exchange.place(iceberg(ALICE, SELL, 20, 100, 5))
    makers(exchange, BUY, 3)
    exchange.place(sell(BOB, 4, at))
    exchange.done(amend(ALICE, 1, quantity, price))
    assert exchange.depth().asks == [(at, 9)]
    assert makers(exchange, BUY, 10, at) == [(3, 4), (1, 5), (1, 1)]
    assert sum(lots for _, lots in makers(exchange, BUY, 99, at)) == (quantity or 20) - 9


def test_an_amended_iceberg_takes_before_it_rests() -> None:
    """As a whole; its hidden lots are not in the book meanwhile."""
    exchange = asks((ALICE, 20, 5))
    exchange.place(buy(BOB, 12, 99))
    told = story(exchange.done(amend(ALICE, 1, price=99)))
    assert told == ["amended 1", "1 x 2: 12 at 99", "FILLED 2"]
    assert exchange.depth().asks == [(99, 5)]
    assert makers(exchange, BUY, 9, 99) == [(1, 5), (1, 3)]


def test_an_iceberg_cannot_be_amended_to_more_than_a_hundred_parts() -> None:
    """Of the total, in the words of the amendment."""
    exchange = asks((ALICE, 20, 2))
    refused = exchange.refused(amend(ALICE, 1, 201))
    assert refused == Rejected(codes.INVALID_PARAMETER, "", "new_quantity", 201, 200)
    exchange.done(amend(ALICE, 1, 200))
    assert exchange.depth().asks == [(100, 2)]


def test_an_iceberg_takes_an_orders_place_and_an_order_an_icebergs() -> None:
    """What the old one held, hidden lots included, pays for the new one."""
    exchange = Exchange(free(), funds={"BTC": 50 * BTC_USDT.lot, "USDT": 1})
    exchange.place(sell(ALICE, 50, 100))
    exchange.done(replace(1, iceberg(ALICE, SELL, 50, 101, 10)))
    assert exchange.depth().asks == [(101, 10)]
    exchange.done(replace(2, sell(ALICE, 50, 102)))
    assert exchange.depth().asks == [(102, 50)]


# As plain data


def test_an_iceberg_comes_back_from_a_dump_in_the_middle_of_a_part() -> None:
    """What is left of the part, what is hidden, and whose turn it is."""
    exchange, copied = (asks((ALICE, 20, 5), (BOB, 9, 2), (CAROL, 4, 4)) for _ in range(2))
    for quantity in (3, 4, 5, 1, 2, 30):
        copied.restart()
        taken = [story(each.done(ioc(BOB, BUY, quantity, 100, self_trade=NONE))) for each in (exchange, copied)]
        assert taken[0] == taken[1]
        assert exchange.depth() == copied.depth()
    assert exchange.engine.dump() == copied.engine.dump()
    assert exchange.depth().asks == []


def test_the_order_of_coming_forward_survives_a_restart() -> None:
    """A queue that icebergs have stirred is not in the order of ids, and cancel-all still is."""
    exchange = asks((ALICE, 6, 2), (BOB, 6, 2), (ALICE, 6, 2))
    makers(exchange, BUY, 3)
    exchange.restart()
    assert makers(exchange, BUY, 5) == [(2, 1), (3, 2), (1, 2)]
    exchange.restart()
    assert closed(exchange.done(cancel_all(ALICE))) == [(1, CANCELED), (3, CANCELED)]


def test_market_orders_trade_with_hidden_lots_too() -> None:
    """At their price they are as good as shown."""
    exchange = asks((ALICE, 20, 5))
    order, _ = exchange.place(market(BOB, BUY, 18))
    assert (order.status, order.executed) == (FILLED, 18)
    assert exchange.depth().asks == [(100, 2)]

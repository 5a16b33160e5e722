"""Orders that meet: who trades with whom at what price, what it costs, and how each order ends."""

import msgspec
import pytest

from book.events import OrderAccepted, OrderReduced, Trade
from book.queries import Balance
from book.terms import (
    BUY,
    CANCELED,
    DECREMENT,
    EXPIRE_BOTH,
    EXPIRE_MAKER,
    EXPIRE_TAKER,
    EXPIRED,
    EXPIRED_IN_MATCH,
    FILLED,
    IOC,
    MARKET_DEFAULT,
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
    buy,
    cancel,
    cancel_all,
    closed,
    fok,
    ioc,
    limit,
    market,
    sell,
    spend,
    trades,
)

LOT = BTC_USDT.lot


def without_fees(**changes: int) -> Exchange:
    """The market without fees, changed so."""
    return Exchange(msgspec.structs.replace(BTC_USDT, maker_fee=0, taker_fee=0, **changes))


def test_a_limit_order_rests_and_holds_its_worst_cost() -> None:
    """A buy holds notional and the higher fee, a sell its quantity, and nothing trades."""
    exchange = Exchange()
    order, events = exchange.place(buy(ALICE, 10, 5_000))
    assert events == [OrderAccepted(order)]
    assert (order.status, order.executed, order.quantity) == (NEW, 0, 10)
    assert order.created_ns == order.updated_ns == exchange.time_ns
    assert exchange.balance(ALICE, "USDT") == Balance("USDT", FUNDS["USDT"] - 50_100, 50_100)
    exchange.place(sell(ALICE, 10, 6_000))
    assert exchange.balance(ALICE, "BTC") == Balance("BTC", FUNDS["BTC"] - 10 * LOT, 10 * LOT)
    assert exchange.depth().bids == [(5_000, 10)]
    assert exchange.depth().asks == [(6_000, 10)]


def test_a_trade_is_at_the_makers_price_and_pays_both_fees_to_the_house() -> None:
    """The taker's better limit is given back; every amount of the trade is in its event."""
    exchange = Exchange()
    maker, _ = exchange.place(sell(BOB, 10, 5_000))
    taker, events = exchange.place(buy(ALICE, 10, 6_000))
    assert events[1] == Trade(
        "BTC-USDT", 1, 5_000, 10, 50_000, BUY, maker.order_id, taker.order_id, BOB, ALICE, 50, 100
    )
    assert closed(events) == [(maker.order_id, FILLED), (taker.order_id, FILLED)]
    assert (taker.executed, taker.executed_quote, taker.price) == (10, 50_000, 6_000)
    assert exchange.balance(ALICE, "USDT") == Balance("USDT", FUNDS["USDT"] - 50_100, 0)
    assert exchange.balance(ALICE, "BTC") == Balance("BTC", FUNDS["BTC"] + 10 * LOT, 0)
    assert exchange.balance(BOB, "USDT") == Balance("USDT", FUNDS["USDT"] + 49_950, 0)
    assert exchange.balance(BOB, "BTC") == Balance("BTC", FUNDS["BTC"] - 10 * LOT, 0)
    assert exchange.balance(0, "USDT") == Balance("USDT", 150, 0)


def test_a_selling_taker_pays_its_fee_out_of_the_proceeds() -> None:
    """It needs no quote asset of its own."""
    exchange = Exchange(funds={"BTC": 10 * LOT, "USDT": 100_000})
    exchange.place(buy(BOB, 10, 5_000))
    exchange.place(sell(ALICE, 10, 5_000))
    assert exchange.balance(ALICE, "USDT") == Balance("USDT", 149_900, 0)
    assert exchange.balance(BOB, "USDT") == Balance("USDT", 49_950, 0)


def test_better_prices_first_then_first_come_first_served() -> None:
    """Price-time priority, in both directions."""
    exchange = without_fees()
    for quantity, price in ((1, 101), (2, 100), (3, 100), (4, 102)):
        exchange.place(sell(BOB, quantity, price))
    order, events = exchange.place(buy(ALICE, 8, 102))
    assert trades(events) == [(100, 2), (100, 3), (101, 1), (102, 2)]
    assert closed(events) == [(2, FILLED), (3, FILLED), (1, FILLED), (order.order_id, FILLED)]
    exchange.done(cancel_all(BOB))
    for quantity, price in ((1, 99), (2, 100), (3, 100), (4, 98)):
        exchange.place(buy(BOB, quantity, price))
    assert trades(exchange.place(sell(ALICE, 8, 98))[1]) == [(100, 2), (100, 3), (99, 1), (98, 2)]


def test_a_maker_partly_filled_keeps_its_place() -> None:
    """It trades on before those that came after it."""
    exchange = without_fees()
    first, _ = exchange.place(sell(BOB, 10, 100))
    exchange.place(sell(CAROL, 10, 100))
    exchange.place(buy(ALICE, 4, 100))
    assert exchange.order(BOB, first.order_id).status == PARTIALLY_FILLED
    _, events = exchange.place(buy(ALICE, 7, 100))
    assert [event.maker_account for event in events if isinstance(event, Trade)] == [BOB, CAROL]


def test_the_rest_of_a_crossing_limit_order_rests_at_its_own_price() -> None:
    """What could not trade holds exactly what is still open of it."""
    exchange = Exchange()
    exchange.place(sell(BOB, 4, 100_000))
    order, events = exchange.place(buy(ALICE, 10, 101_000))
    assert (order.status, order.executed) == (PARTIALLY_FILLED, 4)
    assert trades(events) == [(100_000, 4)]
    assert closed(events) == [(1, FILLED)]
    assert exchange.depth().bids == [(101_000, 6)]
    assert exchange.balance(ALICE, "USDT").held == 606_000 + 1_212


def test_nothing_trades_below_the_limit_and_zero_quantity_trades_never_happen() -> None:
    """Prices that do not meet leave both orders on the book."""
    exchange = without_fees()
    exchange.place(sell(BOB, 10, 101))
    order, events = exchange.place(buy(ALICE, 10, 100))
    assert trades(events) == []
    assert order.status == NEW
    exchange.place(buy(ALICE, 10, 101))
    _, events = exchange.place(buy(ALICE, 10, 101))
    assert trades(events) == []


@pytest.mark.parametrize(("quantity", "executed", "status"), [(10, 10, FILLED), (15, 10, EXPIRED)])
def test_ioc_takes_what_it_can_and_the_rest_expires(quantity: int, executed: int, status: int) -> None:
    """Its residue never rests, and what it held for it comes back."""
    exchange = Exchange()
    exchange.place(sell(BOB, 10, 100))
    order, events = exchange.place(ioc(ALICE, BUY, quantity, 100))
    assert (order.status, order.executed, order.quantity) == (status, executed, quantity)
    assert closed(events)[-1] == (order.order_id, status)
    assert exchange.depth().bids == []
    assert exchange.balance(ALICE, "USDT").held == 0


def test_ioc_without_a_fill_is_accepted_and_expires() -> None:
    """It is an order like any other, of which nothing came."""
    order, events = Exchange().place(ioc(ALICE, SELL, 10, 100))
    assert (order.status, order.executed) == (EXPIRED, 0)
    assert [type(event).__name__ for event in events] == ["OrderAccepted", "OrderClosed"]


def test_fok_fills_entirely() -> None:
    """When it can all trade, it does, over as many levels and orders as it takes."""
    exchange = without_fees()
    for quantity, price in ((3, 100), (4, 101), (5, 102)):
        exchange.place(sell(BOB, quantity, price))
    order, events = exchange.place(fok(ALICE, BUY, 12, 102))
    assert order.status == FILLED
    assert trades(events) == [(100, 3), (101, 4), (102, 5)]


def test_a_market_order_takes_the_best_prices_there_are() -> None:
    """Both ways, by quantity; its own price is none."""
    exchange = without_fees()
    exchange.place(sell(BOB, 5, 100))
    exchange.place(sell(BOB, 5, 101))
    order, events = exchange.place(market(ALICE, BUY, 8))
    assert (order.status, order.price, order.executed) == (FILLED, 0, 8)
    assert trades(events) == [(100, 5), (101, 3)]
    exchange.place(buy(CAROL, 5, 90))
    assert trades(exchange.place(market(ALICE, SELL, 3))[1]) == [(90, 3)]


def test_a_market_order_partly_filled_expires_and_never_rests() -> None:
    """What the book does not have is not waited for."""
    exchange = Exchange()
    exchange.place(sell(BOB, 5, 100))
    order, _ = exchange.place(market(ALICE, BUY, 8))
    assert (order.status, order.executed) == (EXPIRED, 5)
    assert exchange.depth().bids == []
    assert exchange.balance(ALICE, "USDT").held == 0


@pytest.mark.parametrize(("side", "prices"), [(BUY, (1_000, 1_100, 1_101)), (SELL, (1_000, 900, 899))])
def test_a_market_order_never_goes_past_the_collar(side: int, prices: tuple[int, ...]) -> None:
    """A tenth from the best opposite price, the bound itself included."""
    exchange = without_fees()
    for price in prices:
        exchange.place(limit(BOB, SELL if side == BUY else BUY, 5, price))
    order, events = exchange.place(market(ALICE, side, 15))
    assert (order.status, order.executed) == (EXPIRED, 10)
    assert trades(events) == [(prices[0], 5), (prices[1], 5)]


def test_an_amount_order_spends_at_most_the_amount_fee_included() -> None:
    """It buys as many whole lots as the amount affords with the fee, and gets the rest back."""
    exchange = Exchange()
    exchange.place(sell(BOB, 100, 1_000))
    order, events = exchange.place(spend(ALICE, 10_030))
    assert trades(events) == [(1_000, 10)]
    assert (order.status, order.quantity, order.quote_quantity) == (FILLED, 10, 10_030)
    assert exchange.balance(ALICE, "USDT") == Balance("USDT", FUNDS["USDT"] - 10_020, 0)


@pytest.mark.parametrize(("amount", "lots"), [(10_019, 9), (10_020, 10), (1_001, 0), (1_002, 1)])
def test_the_fee_counts_in_what_an_amount_affords(amount: int, lots: int) -> None:
    """A unit short of a lot and its fee is a lot less; an amount that affords none expires."""
    exchange = Exchange()
    exchange.place(sell(BOB, 100, 1_000))
    order, _ = exchange.place(spend(ALICE, amount))
    assert (order.executed, order.status) == (lots, FILLED if lots else EXPIRED)


def test_an_amount_order_walks_the_levels() -> None:
    """What is left buys at the next price; what no acceptable price is left for expires."""
    exchange = without_fees()
    for price in (1_000, 1_100, 1_101):
        exchange.place(sell(BOB, 5, price))
    order, events = exchange.place(spend(ALICE, 100_000))
    assert trades(events) == [(1_000, 5), (1_100, 5)]
    assert (order.status, order.executed_quote) == (EXPIRED, 10_500)
    assert exchange.balance(ALICE, "USDT").available == FUNDS["USDT"] - 10_500


def test_fees_are_rounded_against_the_customer_by_one_unit_an_order_at_most() -> None:
    """A thousand trades of a fraction of a unit each cost what one trade would."""
    exchange = Exchange(msgspec.structs.replace(BTC_USDT, maker_fee=333, taker_fee=777))
    resting, _ = exchange.place(buy(BOB, 500, 3))
    maker_fees = taker_fees = 0
    for _ in range(500):
        _, events = exchange.place(ioc(ALICE, SELL, 1, 3))
        for event in events:
            if isinstance(event, Trade):
                maker_fees += event.maker_fee
                taker_fees += event.taker_fee
    assert maker_fees == -(-1_500 * 333 // 1_000_000)
    assert taker_fees == 500
    assert exchange.order(BOB, resting.order_id).status == FILLED
    assert exchange.balance(0, "USDT").available == maker_fees + taker_fees


def test_a_fee_of_the_whole_takes_the_proceeds_and_no_more() -> None:
    """A fee can eat up what a sell brings in; it never asks for more than that."""
    exchange = Exchange(msgspec.structs.replace(BTC_USDT, maker_fee=1_000_000, taker_fee=1_000_000))
    exchange.place(buy(BOB, 3, 7))
    assert exchange.balance(BOB, "USDT").held == 42
    exchange.place(sell(ALICE, 3, 7))
    assert exchange.balance(ALICE, "USDT").available == FUNDS["USDT"]
    assert exchange.balance(BOB, "USDT").available == FUNDS["USDT"] - 42
    assert exchange.balance(0, "USDT").available == 42


@pytest.mark.parametrize("taker_side", [BUY, SELL])
def test_a_rebate_is_paid_out_of_the_takers_fee(taker_side: int) -> None:
    """The maker gets it, whichever side it is on, and the house never pays in."""
    exchange = Exchange(msgspec.structs.replace(BTC_USDT, maker_fee=-2_000, taker_fee=2_000))
    maker_side = SELL if taker_side == BUY else BUY
    exchange.place(limit(BOB, maker_side, 10, 1_000))
    _, events = exchange.place(limit(ALICE, taker_side, 10, 1_000))
    trade = events[1]
    assert isinstance(trade, Trade)
    assert (trade.maker_fee, trade.taker_fee) == (-20, 20)
    assert exchange.balance(BOB, "USDT").available == FUNDS["USDT"] + (10_020 if maker_side == SELL else -9_980)
    assert exchange.balance(0, "USDT").available == 0


def test_the_house_can_trade() -> None:
    """Its fees go from itself to itself."""
    exchange = Exchange()
    exchange.place(sell(BOB, 10, 1_000_000))
    exchange.place(buy(ALICE, 10, 1_000_000))
    funds = exchange.balance(0, "USDT").available
    exchange.place(sell(BOB, 1, 100))
    exchange.place(buy(0, 1, 100))
    assert exchange.balance(0, "BTC").available == LOT
    assert exchange.balance(0, "USDT").available == funds - 100 + 1


def meet_oneself(
    mode: int, maker_quantity: int, taker: int, *, default: int = EXPIRE_TAKER
) -> tuple[Exchange, list[str]]:
    """Alice buys into 3 lots of Bob's, `maker_quantity` of her own and 5 of Carol's at the same price; what happens."""
    exchange = without_fees(self_trade=default)
    exchange.place(sell(BOB, 3, 100))
    own, _ = exchange.place(sell(ALICE, maker_quantity, 100))
    exchange.place(sell(CAROL, 5, 100))
    events = exchange.done(buy(ALICE, taker, 100, self_trade=mode, time_in_force=IOC))
    story = []
    for event in events[1:]:
        match event:
            case Trade():
                story.append(f"trade {event.quantity}")
            case OrderReduced():
                who = "maker" if event.order_id == own.order_id else "taker"
                story.append(f"{who} -{event.quantity} to {event.order.quantity}")
        for order_id, status in closed([event]):
            if order_id == own.order_id:
                story.append(f"maker {status}")
            elif order_id == events[0].order.order_id:  # type: ignore[union-attr]  # the first event is the acceptance
                story.append(f"taker {status}")
    return exchange, story


@pytest.mark.parametrize(
    ("mode", "maker", "taker", "story"),
    [
        (NONE, 4, 10, ["trade 3", "trade 4", f"maker {FILLED}", "trade 3", f"taker {FILLED}"]),
        (EXPIRE_TAKER, 4, 10, ["trade 3", f"taker {EXPIRED_IN_MATCH}"]),
        (EXPIRE_TAKER, 4, 3, ["trade 3", f"taker {FILLED}"]),
        (EXPIRE_MAKER, 4, 10, ["trade 3", f"maker {EXPIRED_IN_MATCH}", "trade 5", f"taker {EXPIRED}"]),
        (EXPIRE_BOTH, 4, 10, ["trade 3", f"maker {EXPIRED_IN_MATCH}", f"taker {EXPIRED_IN_MATCH}"]),
        (DECREMENT, 4, 10, ["trade 3", f"maker {EXPIRED_IN_MATCH}", "taker -4 to 6", "trade 3", f"taker {FILLED}"]),
        (DECREMENT, 7, 10, ["trade 3", f"maker {EXPIRED_IN_MATCH}", f"taker {EXPIRED_IN_MATCH}"]),
        (DECREMENT, 9, 10, ["trade 3", "maker -7 to 2", f"taker {EXPIRED_IN_MATCH}"]),
    ],
)
def test_an_order_that_meets_its_own_account(mode: int, maker: int, taker: int, story: list[str]) -> None:
    """Each mode of self-trade prevention, in the order it happens."""
    exchange, happened = meet_oneself(mode, maker, taker)
    assert happened == story
    assert meet_oneself(MARKET_DEFAULT, maker, taker, default=mode)[1] == story
    held = exchange.balance(ALICE, "BTC").held
    assert held == (2 * LOT if mode == DECREMENT and maker == 9 else 4 * LOT if mode == EXPIRE_TAKER else 0)


def test_an_amount_order_that_meets_its_own_account_shrinks_too() -> None:
    """What the overlap would have cost, fee included, is not spent; a smaller taker ends there."""
    exchange = Exchange(msgspec.structs.replace(BTC_USDT, self_trade=DECREMENT))
    exchange.place(sell(ALICE, 4, 1_000))
    exchange.place(sell(BOB, 50, 1_000))
    order, events = exchange.place(spend(ALICE, 10_020))
    reduced = [event for event in events if isinstance(event, OrderReduced)]
    assert [(event.order_id, event.quantity) for event in reduced] == [(order.order_id, 4)]
    assert (order.status, order.executed, trades(events)) == (FILLED, 6, [(1_000, 6)])
    assert exchange.balance(ALICE, "USDT").available == FUNDS["USDT"] - 6_012
    exchange.place(sell(ALICE, 20, 900))
    order, events = exchange.place(spend(ALICE, 9_018))
    assert (order.status, order.executed) == (EXPIRED_IN_MATCH, 0)
    assert exchange.depth().asks[0] == (900, 10)


def test_a_taker_that_would_rest_does_not_after_prevention_ended_it() -> None:
    """A good-till-cancelled order that meets itself ends; without prevention in its way it rests."""
    exchange = without_fees()
    own, _ = exchange.place(sell(ALICE, 5, 100))
    order, _ = exchange.place(buy(ALICE, 5, 100))
    assert order.status == EXPIRED_IN_MATCH
    assert exchange.open_orders(ALICE) == [own.order_id]
    order, _ = exchange.place(buy(ALICE, 5, 100, self_trade=EXPIRE_MAKER))
    assert order.status == NEW
    assert exchange.open_orders(ALICE) == [order.order_id]


def test_a_shrunk_maker_trades_on_with_what_is_left() -> None:
    """Its hold, its level and its view all follow the smaller quantity, and it keeps its place."""
    exchange = Exchange(msgspec.structs.replace(BTC_USDT, self_trade=DECREMENT))
    own, _ = exchange.place(buy(ALICE, 10, 1_000))
    exchange.place(buy(BOB, 10, 1_000))
    exchange.place(sell(ALICE, 4, 1_000))
    view = exchange.order(ALICE, own.order_id)
    assert (view.quantity, view.executed, view.status) == (6, 0, NEW)
    assert exchange.balance(ALICE, "USDT").held == 6_012
    assert exchange.depth().bids == [(1_000, 16)]
    _, events = exchange.place(sell(CAROL, 7, 1_000))
    assert [event.maker_account for event in events if isinstance(event, Trade)] == [ALICE, BOB]


def test_a_sweep_of_5000_orders_in_one_command() -> None:
    """One order may fill thousands of others, and each ends once."""
    exchange = Exchange(msgspec.structs.replace(BTC_USDT, max_open_orders=5_000, collar=1_000_000))
    engine = exchange.engine
    for number in range(5_000):
        exchange.seq += 1
        engine.apply(sell(BOB, 1, 1_000 + number % 700), exchange.seq, exchange.time_ns)
    order, events = exchange.place(market(ALICE, BUY, 5_000))
    assert order.status == FILLED
    assert len(trades(events)) == 5_000
    assert len(set(closed(events))) == 5_001
    assert trades(events) == sorted(trades(events))
    assert exchange.depth().asks == []


def test_a_cancelled_remainder_gives_back_exactly_what_it_held() -> None:
    """After a partial fill and a cancel, only what traded is gone."""
    exchange = Exchange()
    order, _ = exchange.place(buy(ALICE, 10, 1_000))
    exchange.place(sell(BOB, 3, 1_000))
    events = exchange.done(cancel(ALICE, order.order_id))
    assert closed(events) == [(order.order_id, CANCELED)]
    assert exchange.balance(ALICE, "USDT") == Balance("USDT", FUNDS["USDT"] - 3_003, 0)
    assert exchange.order(ALICE, order.order_id).executed == 3

"""The price band: where it lies, what it stops, how the market halts, and what enters when it trades again."""

import pytest

from book import codes
from book.commands import FreezeAccount, PlaceOrder
from book.events import MarketStateChanged, Rejected, Trade
from book.queries import Balance
from book.terms import (
    BUY,
    CANCEL_ONLY,
    CANCELED,
    DECREMENT,
    EXPIRE_BOTH,
    EXPIRE_MAKER,
    EXPIRE_TAKER,
    EXPIRED,
    FILLED,
    GTC,
    HALT,
    IOC,
    MAX_INT,
    NONE,
    POST_ONLY,
    SELL,
    STOP_LOSS,
    STOP_LOSS_LIMIT,
    TAKE_PROFIT,
    TRADING,
)
from tests.exchange import (
    ALICE,
    BOB,
    CAROL,
    FUNDS,
    SYMBOL,
    Exchange,
    amend,
    buy,
    cancel,
    cancel_all,
    cancel_all_after,
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
    state,
    stop,
    story,
    till,
    trades,
)

MS = 10**6
TENTH = 100_000


def banded(last: int = 100, **changes: int) -> Exchange:
    """A market with a band of a tenth, of which the last price is this; orders 1 and 2 are gone."""
    exchange = Exchange(free(**{"band": TENTH, **changes}))
    trade_at(exchange, last)
    return exchange


def trade_at(exchange: Exchange, price: int) -> None:
    """Let Bob and Carol trade a lot."""
    exchange.place(sell(BOB, 1, price))
    exchange.place(ioc(CAROL, BUY, 1, price))


def market_state(exchange: Exchange) -> int:
    """The state the market is in."""
    return exchange.engine.state.markets[SYMBOL].state


def ladder(exchange: Exchange, side: int, *prices: int) -> None:
    """Orders of Bob's of 5 lots each."""
    for price in prices:
        exchange.place(limit(BOB, side, 5, price))


# Where it lies


@pytest.mark.parametrize(
    ("side", "prices", "told"),
    [
        (BUY, (105, 110, 111), ["6 x 3: 5 at 105", "FILLED 3", "6 x 4: 5 at 110", "FILLED 4", "HALT", "EXPIRED 6"]),
        (SELL, (95, 90, 89), ["6 x 3: 5 at 95", "FILLED 3", "6 x 4: 5 at 90", "FILLED 4", "HALT", "EXPIRED 6"]),
    ],
)
def test_a_trade_beyond_the_band_does_not_happen(side: int, prices: tuple[int, ...], told: list[str]) -> None:
    """Its ends themselves trade; then the market halts, and the rest of a limit order expires like any."""
    exchange = banded()
    ladder(exchange, SELL if side == BUY else BUY, *prices)
    events = exchange.done(limit(ALICE, side, 15, prices[-1]))
    assert story(events) == ["accepted 6", *told]
    assert MarketStateChanged(SYMBOL, HALT, 0) in events
    assert market_state(exchange) == HALT
    assert exchange.order(ALICE, 6).executed == 10
    for asset in FUNDS:
        assert exchange.balance(ALICE, asset).held == 0


@pytest.mark.parametrize(
    "order",
    [
        buy(ALICE, 15, 130),
        ioc(ALICE, BUY, 15, 130),
        iceberg(ALICE, BUY, 15, 130, 3),
        market(ALICE, BUY, 15),
        spend(ALICE, 10_000),
        till(1_800_000_000_000, buy(ALICE, 15, 130)),
    ],
)
def test_what_is_left_of_any_kind_of_taker_expires(order: PlaceOrder) -> None:
    """It holds nothing, and nothing of it rests."""
    exchange = banded(collar=500_000)
    ladder(exchange, SELL, 110, 120)
    events = exchange.done(order)
    assert trades(events) == [(110, 5)]
    assert story(events)[-2:] == ["HALT", "EXPIRED 5"]
    assert exchange.balance(ALICE, "USDT") == Balance("USDT", FUNDS["USDT"] - 550, 0)
    assert exchange.depth().bids == []


def test_a_taker_that_is_filled_at_the_end_of_the_band_halts_nothing() -> None:
    """It is the trade beyond that does, not the order that would be willing."""
    exchange = banded(collar=500_000)
    ladder(exchange, SELL, 110, 111)
    exchange.place(buy(ALICE, 5, 200))
    assert market_state(exchange) == TRADING


def test_an_amount_that_affords_no_more_ends_before_the_band_does() -> None:
    """Nothing would trade beyond it, so nothing halts."""
    exchange = banded(collar=500_000)
    ladder(exchange, SELL, 110, 111)
    order, _ = exchange.place(spend(ALICE, 5 * 110 + 110))
    assert (order.status, order.executed, market_state(exchange)) == (FILLED, 5, TRADING)


def test_orders_may_rest_beyond_the_band() -> None:
    """Where nobody meets them they only wait."""
    exchange = banded()
    ladder(exchange, SELL, 500)
    ladder(exchange, BUY, 10, 300)
    assert market_state(exchange) == TRADING
    assert exchange.depth().bids == [(300, 5), (10, 5)]


def test_before_the_first_trade_the_band_lies_around_the_reference_price() -> None:
    """After it around the last price, as in a market without a reference."""
    exchange = Exchange(free(band=TENTH, reference_price=200))
    ladder(exchange, SELL, 180, 221)
    exchange.place(ioc(ALICE, BUY, 1, 180))
    told = story(exchange.done(ioc(ALICE, BUY, 5, 221)))
    assert told[-2:] == ["HALT", "EXPIRED 4"]
    exchange = Exchange(free(band=TENTH, reference_price=200))
    ladder(exchange, SELL, 179)
    assert story(exchange.done(ioc(ALICE, BUY, 1, 179))) == ["accepted 2", "HALT", "EXPIRED 2"]


def test_without_a_reference_the_first_trade_is_at_any_price() -> None:
    """And the whole command that brings it."""
    exchange = Exchange(free(band=1))
    ladder(exchange, SELL, 1, 10**6)
    order, _ = exchange.place(ioc(ALICE, BUY, 10, 10**6))
    assert (order.status, market_state(exchange)) == (FILLED, TRADING)
    ladder(exchange, SELL, 10**6 + 1, 10**6 + 2)
    assert story(exchange.done(ioc(ALICE, BUY, 10, 10**6 + 2)))[-2:] == ["HALT", "EXPIRED 6"]


def test_the_band_moves_with_the_last_price_but_not_within_a_command() -> None:
    """A taker that walks up has the band it came with; the next one has that of the price it reached."""
    exchange = banded()
    ladder(exchange, SELL, 108, 112)
    told = story(exchange.done(ioc(ALICE, BUY, 6, 112)))
    assert told[-2:] == ["HALT", "EXPIRED 5"]
    exchange.done(state(TRADING))
    assert exchange.place(ioc(ALICE, BUY, 5, 112))[0].status == FILLED


@pytest.mark.parametrize(("last", "low", "high"), [(105, 95, 115), (9, 9, 9), (19, 18, 20), (1, 1, 1)])
def test_how_far_the_band_goes_is_rounded_down(last: int, low: int, high: int) -> None:
    """A tenth of little is nothing."""
    for side, price, beyond in ((SELL, high, high + 1), (BUY, low, low - 1)):
        taking = BUY if side == SELL else SELL
        exchange = banded(last)
        ladder(exchange, side, price)
        assert exchange.place(ioc(ALICE, taking, 5, price))[0].status == FILLED
        if beyond:
            exchange = banded(last)
            ladder(exchange, side, beyond)
            assert story(exchange.done(ioc(ALICE, taking, 5, beyond)))[-2:] == ["HALT", "EXPIRED 4"]


def test_a_band_of_the_whole_goes_down_to_nothing_and_up_to_twice() -> None:
    """The widest there is."""
    exchange = banded(band=1_000_000)
    ladder(exchange, BUY, 1)
    assert exchange.place(ioc(ALICE, SELL, 1, 1))[0].status == FILLED
    exchange = banded(band=1_000_000)
    ladder(exchange, SELL, 200, 201)
    assert exchange.place(ioc(ALICE, BUY, 10, 201))[0].executed == 5


def test_a_band_near_the_end_of_64_bits_is_a_band() -> None:
    """Its upper end may lie beyond what any price can be."""
    exchange = Exchange(free(band=TENTH, reference_price=MAX_INT), funds={"BTC": 10**8, "USDT": MAX_INT // 8})
    exchange.place(sell(BOB, 1, MAX_INT // 8))
    assert story(exchange.done(ioc(ALICE, BUY, 1, MAX_INT // 8)))[1:] == ["HALT", "EXPIRED 2"]
    exchange.restart()


# What else it is for


def test_all_or_nothing_counts_only_what_is_within_the_band() -> None:
    """It never halts the market: it is filled within the band, or refused."""
    exchange = banded()
    ladder(exchange, SELL, 105, 110, 111)
    assert exchange.refused(fok(ALICE, BUY, 11, 120)) == Rejected(
        codes.ORDER_REJECTED, "FOK_UNFILLABLE", "quantity", 11, 10
    )
    assert exchange.place(fok(ALICE, BUY, 10, 120))[0].status == FILLED
    ladder(exchange, BUY, 98, 97)
    assert exchange.refused(fok(ALICE, SELL, 6, 90)).limit == 0
    assert market_state(exchange) == TRADING


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        (NONE, ["HALT", "EXPIRED 4"]),
        (EXPIRE_TAKER, ["EXPIRED_IN_MATCH 4"]),
        (EXPIRE_MAKER, ["EXPIRED_IN_MATCH 3"]),
        (EXPIRE_BOTH, ["EXPIRED_IN_MATCH 3", "EXPIRED_IN_MATCH 4"]),
        (DECREMENT, ["EXPIRED_IN_MATCH 3", "reduced 4 by 5"]),
    ],
)
def test_self_trade_prevention_comes_before_the_band(mode: int, told: list[str]) -> None:
    """Where nothing would trade, nothing halts."""
    exchange = banded()
    exchange.place(sell(ALICE, 5, 150))
    events = story(exchange.done(buy(ALICE, 7, 150, self_trade=mode)))
    assert events[1:] == told
    assert market_state(exchange) == (HALT if mode == NONE else TRADING)


def test_an_amendment_or_a_replacement_meets_the_band_as_well() -> None:
    """What was resting expires where it went too far."""
    exchange = banded()
    ladder(exchange, SELL, 110, 111)
    exchange.place(buy(ALICE, 9, 90))
    told = story(exchange.done(amend(ALICE, 5, price=120)))
    assert told == ["amended 5", "5 x 3: 5 at 110", "FILLED 3", "HALT", "EXPIRED 5"]
    exchange.done(state(TRADING))
    ladder(exchange, SELL, 122)
    exchange.place(buy(ALICE, 9, 90))
    told = story(exchange.done(replace(7, buy(ALICE, 9, 130))))
    assert told[0] == "CANCELED 7"
    assert told[-2:] == ["HALT", "EXPIRED 8"]


def test_the_band_is_one_for_a_whole_cascade() -> None:
    """Stops that are triggered trade in the band of the command that set them off, and halt the market beyond it."""
    exchange = banded()
    for stop_price in (105, 106, 107):
        exchange.place(stop(ALICE, BUY, STOP_LOSS_LIMIT, 5, stop_price, 200))
    ladder(exchange, SELL, 105, 108, 111)
    told = story(exchange.done(ioc(CAROL, BUY, 5, 105)))
    assert told[2:] == [
        *("FILLED 6", "FILLED 9"),
        *("triggered 3", "3 x 7: 5 at 108", "FILLED 7", "FILLED 3"),
        *("triggered 4", "HALT", "EXPIRED 4"),
    ]
    assert exchange.open_orders(ALICE) == [5]
    # From 108 on, 111 is near enough.
    assert story(exchange.done(state(TRADING)))[1:] == ["triggered 5", "5 x 8: 5 at 111", "FILLED 8", "FILLED 5"]


# Halting and trading again


def halted(halt_ms: int = 0) -> tuple[Exchange, int]:
    """A market that halted with four of Alice's stops triggered, 3 to 6; and when it trades again, if it knows."""
    exchange = banded(halt_ms=halt_ms)
    for price in (120, 119, 118, 117):
        exchange.place(stop(ALICE, BUY, STOP_LOSS_LIMIT, 1, 110, price))
    exchange.place(sell(BOB, 1, 110))
    exchange.place(sell(BOB, 1, 125))
    told = story(exchange.done(ioc(CAROL, BUY, 2, 125)))
    due_ns = exchange.time_ns + halt_ms * MS if halt_ms else 0
    assert told[-2:] == [f"HALT until {due_ns}" if due_ns else "HALT", "EXPIRED 9"]
    assert exchange.open_orders(ALICE) == [3, 4, 5, 6]
    assert exchange.engine.next_due_ns == due_ns
    return exchange, due_ns


def test_a_market_with_a_time_trades_again_after_it() -> None:
    """At that moment and not before; by a tick, as everything that falls due."""
    exchange, due_ns = halted(5_000)
    closed_now = Rejected(codes.ORDER_REJECTED, "MARKET_CLOSED", "state", HALT)
    assert exchange.refused(buy(ALICE, 1, 100)) == closed_now
    assert exchange.tick(due_ns - 1) == []
    told = story(exchange.tick(due_ns))
    assert told == ["TRADING", "triggered 3", "triggered 4", "triggered 5", "triggered 6"]
    assert exchange.depth().bids == [(price, 1) for price in (120, 119, 118, 117)]
    assert exchange.engine.next_due_ns == 0


def test_a_market_without_a_time_waits_for_an_operator() -> None:
    """However long that takes."""
    exchange, _ = halted()
    assert exchange.tick(exchange.time_ns + 10**18) == []
    told = story(exchange.done(state(TRADING)))
    assert told == ["TRADING", "triggered 3", "triggered 4", "triggered 5", "triggered 6"]


def test_an_operator_may_be_faster_than_the_time() -> None:
    """And then nothing is due any more."""
    exchange, _ = halted(5_000)
    assert story(exchange.done(state(TRADING)))[:2] == ["TRADING", "triggered 3"]
    assert exchange.engine.next_due_ns == 0


@pytest.mark.parametrize("to", [HALT, CANCEL_ONLY, POST_ONLY])
def test_an_operator_may_keep_a_market_from_trading_again_by_itself(to: int) -> None:
    """What is triggered waits on, until the market does trade."""
    exchange, due_ns = halted(5_000)
    assert exchange.done(state(to)) == [MarketStateChanged(SYMBOL, to, 0)]
    assert exchange.refused(state(to)) == Rejected(codes.DEFINITION_REJECTED, "UNCHANGED", "state", to)
    assert exchange.tick(due_ns) == []
    exchange.restart()
    assert exchange.open_orders(ALICE) == [3, 4, 5, 6]
    assert len(exchange.done(state(TRADING))) == 5


def test_what_is_triggered_in_a_halted_market_may_be_cancelled_expire_or_be_lost() -> None:
    """One by one, all of the account's, by its own time, by the switch; what is left enters in its order."""
    exchange, due_ns = halted(5_000)
    assert closed(exchange.done(cancel(ALICE, 4))) == [(4, CANCELED)]
    exchange.restart()
    assert story(exchange.tick(due_ns)) == ["TRADING", "triggered 3", "triggered 5", "triggered 6"]
    exchange, due_ns = halted(5_000)
    assert [order_id for order_id, _ in closed(exchange.done(cancel_all(ALICE)))] == [3, 4, 5, 6]
    assert story(exchange.tick(due_ns)) == ["TRADING"]
    exchange, due_ns = halted(5_000)
    exchange.done(cancel_all_after(ALICE, 4_999))
    assert story(exchange.tick(due_ns)) == [
        *("cancel all of 1 never", "CANCELED 3", "CANCELED 4", "CANCELED 5", "CANCELED 6"),
        "TRADING",
    ]


def test_a_triggered_order_expires_at_its_time_though_the_market_is_halted() -> None:
    """It does not enter after that."""
    exchange = banded(halt_ms=5_000)
    expire_ms = exchange.time_ns // MS + 1_000
    for order in (stop(ALICE, BUY, STOP_LOSS, 1, 110), stop(ALICE, BUY, STOP_LOSS, 1, 110)):
        exchange.place(till(expire_ms, order) if len(exchange.open_orders(ALICE)) == 0 else order)
    ladder(exchange, SELL, 110, 125)
    exchange.done(ioc(CAROL, BUY, 6, 125))
    exchange.restart()
    assert closed(exchange.tick(expire_ms * MS)) == [(3, EXPIRED)]
    assert story(exchange.tick(exchange.engine.next_due_ns))[:2] == ["TRADING", "triggered 4"]


def test_a_frozen_accounts_stops_enter_too() -> None:
    """Its open orders stay what they were."""
    exchange, due_ns = halted(5_000)
    exchange.done(FreezeAccount(ALICE, True))
    exchange.restart()
    assert story(exchange.tick(due_ns))[1] == "triggered 3"


def test_a_triggered_order_may_become_smaller_where_the_market_takes_that() -> None:
    """It stays in its place in the line; what it held for the rest comes back."""
    exchange, _ = halted()
    for command in (amend(ALICE, 3, price=121), amend(ALICE, 3, 1)):
        assert exchange.refused(command).reason == "MARKET_CLOSED"
    exchange.done(state(CANCEL_ONLY))
    assert story(exchange.done(amend(ALICE, 3, 1))) == ["amended 3"]
    assert exchange.refused(amend(ALICE, 3, price=121)).reason == "MARKET_CLOSED"
    exchange.restart()
    assert story(exchange.done(state(TRADING)))[:2] == ["TRADING", "triggered 3"]


def test_the_band_lies_around_the_price_the_market_halted_at_when_it_trades_again() -> None:
    """So step by step the market goes where it wants, with a halt at each."""
    exchange = banded(100, halt_ms=1_000)
    prices = [110, 121, 133, 146]
    for price in prices:
        exchange.place(sell(BOB, 1, price))
    exchange.place(sell(BOB, 1, 1_000))
    reached = []
    while exchange.depth().asks[0][0] != 1_000:
        events = exchange.done(ioc(ALICE, BUY, 9, 1_000))
        reached += [event.price for event in events if isinstance(event, Trade)]
        assert market_state(exchange) == HALT
        exchange.tick(exchange.engine.next_due_ns)
    assert reached == prices


def test_a_market_that_trades_again_may_halt_at_once() -> None:
    """The stops that enter go too far in their turn; one halt after the other works off what is left of them."""
    exchange = banded(100, halt_ms=1_000)
    for _ in range(3):
        exchange.place(stop(ALICE, BUY, STOP_LOSS_LIMIT, 1, 110, 1_000))
    exchange.place(sell(BOB, 1, 110))
    exchange.place(sell(BOB, 1, 1_000))
    story(exchange.done(ioc(CAROL, BUY, 2, 1_000)))
    for order_id in (3, 4, 5):
        exchange.restart()
        due_ns = exchange.engine.next_due_ns
        told = story(exchange.tick(due_ns))
        assert told == ["TRADING", f"triggered {order_id}", f"HALT until {due_ns + 1_000 * MS}", f"EXPIRED {order_id}"]
    assert story(exchange.tick(exchange.engine.next_due_ns)) == ["TRADING"]


def test_a_late_tick_lets_a_market_trade_again_and_halt_from_then_on() -> None:
    """The next halt counts from the tick, so one tick comes to an end."""
    exchange = banded(100, halt_ms=1)
    for _ in range(3):
        exchange.place(stop(ALICE, BUY, STOP_LOSS_LIMIT, 1, 110, 1_000))
    exchange.place(sell(BOB, 1, 110))
    exchange.place(sell(BOB, 1, 1_000))
    exchange.done(ioc(CAROL, BUY, 2, 1_000))
    late_ns = exchange.time_ns + 10**15
    assert story(exchange.tick(late_ns))[-2:] == [f"HALT until {late_ns + MS}", "EXPIRED 3"]
    assert exchange.engine.next_due_ns == late_ns + MS


def test_a_stop_that_was_triggered_before_the_halt_meets_the_market_of_after_it() -> None:
    """Its worst price and its funds are looked at when it enters."""
    exchange = banded()
    exchange.place(stop(ALICE, SELL, STOP_LOSS, 4, 95))
    exchange.place(stop(ALICE, BUY, STOP_LOSS, 4, 110))
    exchange.place(stop(ALICE, BUY, TAKE_PROFIT, 4, 90))
    exchange.place(buy(BOB, 1, 90))
    exchange.place(buy(BOB, 1, 80))
    assert story(exchange.done(ioc(CAROL, SELL, 2, 80)))[-2:] == ["HALT", "EXPIRED 8"]
    exchange.done(cancel_all(BOB))
    told = story(exchange.done(state(TRADING)))
    assert told == ["TRADING", "triggered 3", "EXPIRED 3", "triggered 5", "EXPIRED 5"]


@pytest.mark.parametrize("time_in_force", [GTC, IOC])
def test_a_market_that_halts_keeps_a_book_that_does_not_cross(time_in_force: int) -> None:
    """Nothing of the taker is left to stand over the other side."""
    exchange = banded()
    ladder(exchange, SELL, 120)
    exchange.done(buy(ALICE, 9, 130, time_in_force=time_in_force))
    assert (exchange.depth().bids, exchange.depth().asks) == ([], [(120, 5)])


def test_a_halted_market_comes_back_from_a_dump_as_it_was() -> None:
    """Its state and time, its line of triggered orders, and afterwards its band."""
    (exchange, due_ns), (copied, _) = halted(5_000), halted(5_000)
    copied.restart()
    for each in (exchange, copied):
        each.tick(due_ns)
        each.place(sell(BOB, 9, 110))
        assert story(each.done(buy(CAROL, 9, 150)))[1] == "11 x 10: 5 at 110"
    assert exchange.engine.dump() == copied.engine.dump()

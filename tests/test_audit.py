"""Every invariant of the audit is shown to fail: one corruption each, planted in an engine that passes."""

from collections.abc import Callable

import msgspec
import pytest

from book.accounts import AccountState
from book.commands import AdjustBalance
from book.definitions import Account
from book.engine import Engine
from book.events import Adjusted
from book.history import INTERVALS, MINUTE_NS, Candles, LiveCandle
from book.ledger import Balance
from book.live_market import LiveMarket
from book.orders import Order, Trader
from book.queries import Candle
from book.terms import (
    FOK,
    GTD,
    HALT,
    IOC,
    LIMIT,
    MARKET,
    MAX_INT,
    NEW,
    PARTIALLY_FILLED,
    SELL,
    STOP_LOSS_LIMIT,
    TRADING,
)
from book.timers import CANCEL_ALL, EXPIRY, RESUMPTION
from book.versions import VERSIONS
from tests.exchange import (
    ALICE,
    BOB,
    CAROL,
    SYMBOL,
    Exchange,
    buy,
    cancel,
    sell,
)
from tests.halted import GOOD_TILL, ICEBERG, MARKET_STOP, TRIGGERED, WAITING, halted


def busy() -> Engine:
    """Some resting orders of Alice and Bob, one of Bob's partly filled, one of Alice's finished."""
    exchange = Exchange()
    for order in (buy(ALICE, 10, 1_000), buy(ALICE, 5, 990), sell(BOB, 10, 1_100), buy(ALICE, 4, 1_100)):
        exchange.place(order)
    exchange.place(buy(BOB, 5, 980))
    exchange.done(cancel(BOB, 5))
    exchange.done(AdjustBalance("case-1", BOB, "BTC", 500, "goodwill", "ann", "bob"))
    return exchange.engine


def resting(engine: Engine, order_id: int = 1) -> Order:
    """An open order."""
    return engine.state.orders[order_id]


def live_market(engine: Engine) -> LiveMarket:
    """The market."""
    return engine.state.markets[SYMBOL]


def trader(engine: Engine, account: int = ALICE) -> Trader:
    """The account in the market."""
    return live_market(engine).traders[account]


def balance(engine: Engine, account: int = ALICE) -> Balance:
    """The account's quote balance."""
    return engine.state.ledger.balance(account, "USDT")


def unit_created(engine: Engine) -> None:
    """A unit from nowhere."""
    balance(engine).available += 1


def unit_destroyed(engine: Engine) -> None:
    """A unit gone."""
    balance(engine).available -= 1


def negative_balance(engine: Engine) -> None:
    """One account owes what another has too much."""
    balance(engine, BOB).available += balance(engine).available + 1
    balance(engine).available = -1


def total_wrong(engine: Engine) -> None:
    """A credit that no deposit accounts for."""
    engine.state.ledger.credit(ALICE, "USDT", 1)


def deposit_lost(engine: Engine) -> None:
    """A deposit that is forgotten could be credited again."""
    del engine.state.deposits._credited["start|1|BTC"]


def held_twice(engine: Engine) -> None:
    """More is held than the open orders hold."""
    balance(engine).available -= 7
    balance(engine).held += 7


def released_twice(engine: Engine) -> None:
    """Less is held than the open orders hold."""
    balance(engine).available += 7
    balance(engine).held -= 7


def order_holds_too_little(engine: Engine) -> None:
    """The order and its account agree, on too little."""
    released_twice(engine)
    resting(engine).held -= 7


def hold_of_an_empty_account(engine: Engine) -> None:
    """An order holds what its account does not even have."""
    order = resting(engine)
    order.trader = Trader(engine.state.accounts[3], order.trader.market, SYMBOL, Balance(), Balance(), 0, 0)


def order_not_indexed(engine: Engine) -> None:
    """An order on the book that cannot be found by its id."""
    del engine.state.orders[1]


def order_said_to_be_closed(engine: Engine) -> None:
    """An order on the book that would enter the lists of open ones once more."""
    resting(engine).is_open = False


def order_indexed_only(engine: Engine) -> None:
    """An order that can be found, but is not on the book."""
    order = resting(engine)
    live_market(engine).book.reduce(order, order.quantity)
    del trader(engine).open_orders[1]


def order_not_its_traders(engine: Engine) -> None:
    """An order that its trader does not know of."""
    del trader(engine).open_orders[1]


def stale_open_order(engine: Engine) -> None:
    """A finished order that its trader still counts."""
    trader(engine, BOB).open_orders[5] = resting(engine, 3)


def open_orders_out_of_order(engine: Engine) -> None:
    """A cancel-all would go in another order after a restart."""
    orders = trader(engine).open_orders
    orders[1] = orders.pop(1)


def order_id_never_given(engine: Engine) -> None:
    """The next order would get an id that is in use."""
    engine.state.last_order_id = 2


def wrong_side(engine: Engine) -> None:
    """A sell among the bids."""
    resting(engine).side = SELL


def crossed(engine: Engine) -> None:
    """The best bid is above the best ask."""
    order = resting(engine)
    book = live_market(engine).book
    book.reduce(order, order.quantity)
    order.price = 1_200
    book.add(order)


def kind_that_never_rests(engine: Engine) -> None:
    """A market order on the book."""
    resting(engine).type = MARKET


def time_in_force_that_never_rests(engine: Engine) -> None:
    """A fill-or-kill order on the book."""
    resting(engine).time_in_force = FOK


def status_without_a_fill(engine: Engine) -> None:
    """Partly filled, of which nothing is filled."""
    resting(engine).status = PARTIALLY_FILLED


def status_despite_a_fill(engine: Engine) -> None:
    """New, though it has traded."""
    resting(engine, 3).status = NEW


def bound_elsewhere(engine: Engine) -> None:
    """A resting order that would trade at another price than its own."""
    resting(engine).bound += 1


def executed_for_nothing(engine: Engine) -> None:
    """Lots were sold, and nothing came in."""
    resting(engine, 3).executed_quote = 0


def trader_of_another_account(engine: Engine) -> None:
    """An account whose orders would be another's."""
    traders = live_market(engine).traders
    traders[ALICE], traders[BOB] = traders[BOB], traders[ALICE]


def account_of_another_number(engine: Engine) -> None:
    """An account that is defined as another."""
    engine.state.accounts[ALICE].definition = Account(BOB, "account-2")


def live_id_forgotten(engine: Engine) -> None:
    """An open order whose id could be used again."""
    del engine.state.accounts[ALICE].client_order_ids._order_ids["auto-1"]


def two_orders_of_one_name(engine: Engine) -> None:
    """Two open orders that cannot be told apart."""
    resting(engine, 2).client_order_id = "auto-1"


def finished_twice(engine: Engine) -> None:
    """An order that ended two times."""
    account = engine.state.accounts[BOB]
    account.finished_orders.add(account.finished_orders.all()[-1])


def finished_and_open(engine: Engine) -> None:
    """An open order that is said to have ended."""
    account = engine.state.accounts[BOB]
    view = account.finished_orders.all()[-1]
    account.finished_orders.add(msgspec.structs.replace(view, order_id=3))


def finished_elsewhere(engine: Engine) -> None:
    """An order remembered by an account that never had it."""
    view = engine.state.accounts[BOB].finished_orders.all()[-1]
    engine.state.accounts[ALICE].finished_orders.add(msgspec.structs.replace(view, order_id=2))


def version_of_nobody(engine: Engine) -> None:
    """It is to behave as no engine ever did."""
    engine.state.engine_version = VERSIONS[-1] + 1


def unknown_key_revoked(engine: Engine) -> None:
    """A key that will be defined is revoked already."""
    engine.state.registry.revoked_keys[1] = None


def unknown_asset_frozen(engine: Engine) -> None:
    """An asset that there is not is frozen."""
    engine.state.registry.frozen_assets["ETH"] = None


def tier_that_cannot_be(engine: Engine) -> None:
    """An account is in a tier no market can have."""
    engine.state.accounts[ALICE].tier = 101


def fee_tier_of_none(engine: Engine) -> None:
    """A market has a tier that means none."""
    market = live_market(engine)
    market.fee_tiers[0] = (market.definition.maker_fee, market.definition.taker_fee)


def rebate_above_the_fee(engine: Engine) -> None:
    """A tier whose rebate the house would pay."""
    live_market(engine).fee_tiers[1] = (-2, 1)


def rates_of_another_tier(engine: Engine) -> None:
    """A trader whose next order pays too much."""
    trader(engine).maker_rate += 1


def adjustment_lost(engine: Engine) -> None:
    """An adjustment that is forgotten could be made again."""
    del engine.state.adjustments._adjusted["case-1"]


def adjust(engine: Engine, **changes: int | str) -> None:
    """An adjustment that was never made."""
    adjusted = Adjusted("case-2", ALICE, "BTC", 0, 5, "fraud", "ann", "bob", 1)
    engine.state.adjustments.add(msgspec.structs.replace(adjusted, **changes))


def adjustment_of_nobody(engine: Engine) -> None:
    """An account that there is not owes something."""
    adjust(engine, account=9)


def negative_receivable(engine: Engine) -> None:
    """The house owes an account."""
    adjust(engine, short=-5)


def receivable_beyond_64_bits(engine: Engine) -> None:
    """One account owes more than a number can say."""
    adjust(engine, short=MAX_INT)
    adjust(engine, adjustment_id="case-3")


def trade_forgotten(engine: Engine) -> None:
    """The market does not know its last trade."""
    live_market(engine).trades._things.pop()


def trade_forgotten_by_its_account(engine: Engine) -> None:
    """A fill that its owner cannot look up."""
    engine.state.accounts[ALICE].trades._things.pop()


def trade_remembered_twice(engine: Engine) -> None:
    """A fill that its owner sees two times."""
    remembered = engine.state.accounts[ALICE].trades
    remembered.add(remembered.all()[-1])


def trade_of_others(engine: Engine) -> None:
    """A fill that is shown to somebody else."""
    engine.state.accounts[CAROL].trades.add(engine.state.accounts[ALICE].trades.all()[-1])


def trade_of_another_fee(engine: Engine) -> None:
    """An account that remembers another trade than its market does."""
    remembered = engine.state.accounts[ALICE].trades
    trade = remembered._things.pop()
    remembered.add(msgspec.structs.replace(trade, trade=msgspec.structs.replace(trade.trade, taker_fee=0)))


def trade_in_the_future(engine: Engine) -> None:
    """Remembered at a time that has not come."""
    trades = engine.state.accounts[ALICE].trades
    trades.add(msgspec.structs.replace(trades._things.pop(), time_ns=engine.last_time_ns + 1))


def last_price_elsewhere(engine: Engine) -> None:
    """Not where the last trade was."""
    live_market(engine).last_price += 1


def minute(engine: Engine) -> LiveCandle:
    """The current candle."""
    candle = live_market(engine).candles._finest.current
    assert candle is not None
    return candle


def candle_counts_too_much(engine: Engine) -> None:
    """More trades than there were."""
    minute(engine).count += 1


def candle_of_another_volume(engine: Engine) -> None:
    """More than was traded."""
    minute(engine).volume += 1


def candle_lost(engine: Engine) -> None:
    """Trades, but no candle of them."""
    live_market(engine).candles._finest.current = None


def candle_counted_twice(engine: Engine) -> None:
    """A coarser interval has what the finer one has not told it yet."""
    live_market(engine).candles._coarser[0].fold(minute(engine))


@pytest.mark.parametrize(
    "corrupt",
    [
        *(unit_created, unit_destroyed, negative_balance, total_wrong, deposit_lost),
        *(held_twice, released_twice, order_holds_too_little, hold_of_an_empty_account),
        *(
            order_not_indexed,
            order_said_to_be_closed,
            order_indexed_only,
            order_not_its_traders,
            stale_open_order,
            open_orders_out_of_order,
        ),
        *(order_id_never_given, wrong_side, crossed, kind_that_never_rests, time_in_force_that_never_rests),
        *(status_without_a_fill, status_despite_a_fill, bound_elsewhere, executed_for_nothing),
        *(trader_of_another_account, account_of_another_number, live_id_forgotten, two_orders_of_one_name),
        *(finished_twice, finished_and_open, finished_elsewhere),
        *(version_of_nobody, unknown_key_revoked, unknown_asset_frozen, tier_that_cannot_be, fee_tier_of_none),
        *(rebate_above_the_fee, rates_of_another_tier, adjustment_lost, adjustment_of_nobody, negative_receivable),
        *(receivable_beyond_64_bits, trade_forgotten, trade_forgotten_by_its_account, trade_remembered_twice),
        *(trade_of_others, trade_of_another_fee, trade_in_the_future, last_price_elsewhere, candle_counts_too_much),
        *(candle_of_another_volume, candle_lost, candle_counted_twice),
    ],
)
def test_the_audit_finds(corrupt: Callable[[Engine], None]) -> None:
    """The corruption does not pass, where the same engine without it did."""
    engine = busy()
    engine.check()
    corrupt(engine)
    with pytest.raises(AssertionError):
        engine.check()


@pytest.mark.parametrize(
    "changes",
    [
        *({"taker_side": 0}, {"taker_side": 3}, {"price": 0}, {"quantity": 0}, {"notional": 1}),
        *({"taker_fee": -1}, {"taker_fee": 4_401}, {"maker_fee": -10}, {"maker_fee": 4_401}),
        *({"maker_order_id": 4}, {"maker_order_id": 0}, {"taker_order_id": 6}, {"maker_account": 9}),
    ],
)
def test_the_audit_finds_a_trade_that_cannot_have_been(changes: dict[str, int]) -> None:
    """Though its market and both its accounts agree about it."""
    engine = busy()
    for memory in (live_market(engine), engine.state.accounts[ALICE], engine.state.accounts[BOB]):
        remembered = memory.trades._things.pop()
        memory.trades.add(
            msgspec.structs.replace(remembered, trade=msgspec.structs.replace(remembered.trade, **changes))
        )
    with pytest.raises(AssertionError):
        engine.check()


def test_the_audit_finds_candles_that_do_not_fit() -> None:
    """Impossible ones, ones out of order, and ones of which the finer intervals know nothing."""
    for candles in (
        [Candle(0, 5, 5, 6, 5, 1, 5, 1)],
        [Candle(0, 7, 6, 5, 5, 1, 5, 1)],
        [Candle(0, 0, 5, 0, 5, 1, 5, 1)],
        [Candle(0, 5, 5, 5, 5, 1, 5, 0)],
        [Candle(0, 5, 5, 5, 5, 1, 5, 2)],
        [Candle(1, 5, 5, 5, 5, 1, 5, 1)],
        [Candle(MINUTE_NS, 5, 5, 5, 5, 1, 5, 1), Candle(0, 5, 5, 5, 5, 1, 5, 1)],
        [Candle(0, 5, 5, 5, 5, 1, 5, 1), Candle(5 * MINUTE_NS, 5, 5, 5, 5, 1, 5, 1)],
    ):
        spoilt = Candles()
        spoilt.restore([candles, *([] for _ in range(len(INTERVALS) - 1))])
        with pytest.raises(AssertionError):
            spoilt.check()


# Stops, icebergs, times and states


def timer_lost(engine: Engine) -> None:
    """An order that would never expire."""
    engine.state.timers.clear(EXPIRY, GOOD_TILL)


def timer_of_nothing(engine: Engine) -> None:
    """Something would fall due that nobody waits for."""
    engine.state.timers.set(RESUMPTION, 5, MAX_INT)


def timer_at_another_time(engine: Engine) -> None:
    """A switch that goes off too late."""
    engine.state.timers.set(CANCEL_ALL, ALICE, engine.state.timers.due()[CANCEL_ALL, ALICE] + 1)


def next_timer_wrong(engine: Engine) -> None:
    """Whoever asks what is due next is told another time."""
    engine.state.timers.next_ns += 1


def overdue(engine: Engine) -> None:
    """Time has passed over what was due."""
    engine.state.last_time_ns = engine.state.timers.next_ns


def switch_forgotten(engine: Engine) -> None:
    """An account whose switch is set and that does not know."""
    engine.state.accounts[ALICE].cancel_all_due_ns = 0


def halt_forgotten(engine: Engine) -> None:
    """A market that trades again by itself and does not know."""
    live_market(engine).halted_until_ns = 0


def session_of_nobody(engine: Engine) -> None:
    """A session of an account that is not that account."""
    engine.state.armed_sessions[7] = AccountState(Account(ALICE, "account-1"))


def session_zero(engine: Engine) -> None:
    """No session has this number."""
    engine.state.armed_sessions[0] = engine.state.accounts[ALICE]


def state_unknown(engine: Engine) -> None:
    """A market in a state that there is not."""
    live_market(engine).state = HALT + 1


def trades_until_it_trades(engine: Engine) -> None:
    """A market that trades has an end of its halt before it."""
    market = live_market(engine)
    market.triggered.clear()
    market.state = TRADING


def triggered_left_behind(engine: Engine) -> None:
    """A market trades, and those that should have entered have not."""
    market = live_market(engine)
    market.state, market.halted_until_ns = TRADING, 0
    engine.state.timers.clear(RESUMPTION, market.number)


def stop_missed(engine: Engine) -> None:
    """A trade that should have triggered a stop did not."""
    live_market(engine).last_price = 900


def price_without_a_trade(engine: Engine) -> None:
    """A last price, and nothing was ever traded."""
    live_market(engine).last_trade_id = 0


def stop_elsewhere(engine: Engine) -> None:
    """A stop that waits for another price than its own."""
    resting(engine, WAITING).stop_price -= 1


def next_stop_wrong(engine: Engine) -> None:
    """A trade would go past the next stop."""
    live_market(engine).stops._falls_at -= 1


def stop_in_two_places(engine: Engine) -> None:
    """Triggered, and waiting all the same."""
    live_market(engine).stops.add(resting(engine, TRIGGERED))


def stop_nowhere(engine: Engine) -> None:
    """Open, but neither resting nor waiting nor triggered."""
    del live_market(engine).triggered[TRIGGERED]


def stop_triggered_under_another_id(engine: Engine) -> None:
    """A cancel would not find it."""
    market = live_market(engine)
    market.triggered[99] = market.triggered.pop(TRIGGERED)


def limit_order_waits(engine: Engine) -> None:
    """For a price that it does not name."""
    order = resting(engine, TRIGGERED)
    order.type, order.stop_price = LIMIT, 0


def waiting_order_has_traded(engine: Engine) -> None:
    """Before it was triggered."""
    order = resting(engine, TRIGGERED)
    order.executed = 1
    _hold_what_it_needs(engine, order)


def waiting_order_is_partly_filled(engine: Engine) -> None:
    """By its status, with nothing executed."""
    resting(engine, TRIGGERED).status = PARTIALLY_FILLED


def waiting_order_hides(engine: Engine) -> None:
    """Lots that are on no book."""
    resting(engine, TRIGGERED).hidden = 1


def waiting_order_on_a_level(engine: Engine) -> None:
    """A cancel would take it off a queue that it does not stand in."""
    resting(engine, TRIGGERED).level = resting(engine, ICEBERG).level


def waiting_sell_bound_elsewhere(engine: Engine) -> None:
    """It would not trade at its own price."""
    resting(engine, WAITING).bound -= 1


def waiting_buy_at_another_cost(engine: Engine) -> None:
    """It and its account agree, on too little."""
    order = resting(engine, TRIGGERED)
    order.unit_cost -= 1
    _hold_what_it_needs(engine, order)


def _hold_what_it_needs(engine: Engine, order: Order) -> None:
    live_market(engine).give_back(order, order.held - order.worst_cost())


def iceberg_shows_too_much(engine: Engine) -> None:
    """A part larger than what it says it shows."""
    resting(engine, ICEBERG).display_quantity = 4


def hidden_lots_miscounted(engine: Engine) -> None:
    """All or nothing would count on them."""
    level = resting(engine, ICEBERG).level
    assert level is not None
    level.hidden += 1


def iceberg_all_hidden(engine: Engine) -> None:
    """It stands in the queue with nothing."""
    order = resting(engine, ICEBERG)
    level = order.level
    assert level is not None
    level.hidden += 5
    level.quantity -= 5
    order.hidden += 5


def expiry_without_gtd(engine: Engine) -> None:
    """An order that is good till cancelled ends by itself."""
    order = resting(engine, ICEBERG)
    order.expire_time = MAX_INT // 10**6
    engine.state.timers.set(EXPIRY, ICEBERG, order.expire_time * 10**6)


def gtd_without_expiry(engine: Engine) -> None:
    """An order that is good till a date that it does not have."""
    resting(engine, ICEBERG).time_in_force = GTD


def expiry_beyond_64_bits(engine: Engine) -> None:
    """No time that can be."""
    order = resting(engine, GOOD_TILL)
    order.expire_time = MAX_INT // 10**6 + 1
    engine.state.timers.set(EXPIRY, GOOD_TILL, order.expire_time * 10**6)


def market_stop_with_a_price(engine: Engine) -> None:
    """What is left of it would rest."""
    resting(engine, MARKET_STOP).price = 1_210


def limit_stop_without_a_price(engine: Engine) -> None:
    """It would sell for nothing."""
    order = resting(engine, WAITING)
    order.price = order.bound = order.unit_cost = 0


def market_stop_all_or_nothing(engine: Engine) -> None:
    """A time in force that its kind does not take."""
    resting(engine, MARKET_STOP).time_in_force = IOC


def limit_order_with_a_stop_price(engine: Engine) -> None:
    """It waits for nothing."""
    resting(engine, ICEBERG).stop_price = 1


def waiting_iceberg(engine: Engine) -> None:
    """A stop shows nothing, so it has nothing to show a part of."""
    resting(engine, WAITING).display_quantity = 1


def waiting_post_only(engine: Engine) -> None:
    """A stop enters as a taker."""
    resting(engine, WAITING).post_only = True


def mode_unknown(engine: Engine) -> None:
    """What it does when it meets its own account, nobody could say."""
    resting(engine, WAITING).self_trade = 0


def waiting_order_of_no_side(engine: Engine) -> None:
    """Neither to buy nor to sell."""
    order = resting(engine, WAITING)
    stops = live_market(engine).stops
    stops.remove(order)
    order.side, order.type = 3, STOP_LOSS_LIMIT
    stops.add(order)


def waiting_for_nothing(engine: Engine) -> None:
    """All of its lots are gone."""
    order = resting(engine, WAITING)
    live_market(engine).give_back(order, order.held)
    order.quantity = 0


@pytest.mark.parametrize(
    "corrupt",
    [
        *(timer_lost, timer_of_nothing, timer_at_another_time, next_timer_wrong, overdue),
        *(switch_forgotten, halt_forgotten, session_of_nobody, session_zero),
        *(state_unknown, trades_until_it_trades, triggered_left_behind, stop_missed, price_without_a_trade),
        *(stop_elsewhere, next_stop_wrong, stop_in_two_places, stop_nowhere, stop_triggered_under_another_id),
        *(limit_order_waits, waiting_order_has_traded, waiting_order_is_partly_filled, waiting_order_hides),
        *(waiting_order_on_a_level, waiting_sell_bound_elsewhere, waiting_buy_at_another_cost),
        *(iceberg_shows_too_much, hidden_lots_miscounted, iceberg_all_hidden),
        *(expiry_without_gtd, gtd_without_expiry, expiry_beyond_64_bits),
        *(market_stop_with_a_price, limit_stop_without_a_price, market_stop_all_or_nothing),
        *(limit_order_with_a_stop_price, waiting_iceberg, waiting_post_only, mode_unknown),
        *(waiting_order_of_no_side, waiting_for_nothing),
    ],
)
def test_the_audit_finds_in_a_halted_market(corrupt: Callable[[Engine], None]) -> None:
    """As above, with all there is besides resting orders."""
    engine = halted().engine
    engine.check()
    corrupt(engine)
    with pytest.raises(AssertionError):
        engine.check()

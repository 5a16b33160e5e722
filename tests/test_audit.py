"""Every invariant of the audit is shown to fail: one corruption each, planted in an engine that passes."""

from collections.abc import Callable

import msgspec
import pytest

from book.commands import AdjustBalance
from book.definitions import Account
from book.engine import Engine
from book.events import Adjusted
from book.history import INTERVALS, MINUTE_NS, Candles, LiveCandle
from book.ledger import Balance
from book.orders import Order, Trader
from book.queries import Candle
from book.terms import FOK, MARKET, MAX_INT, NEW, PARTIALLY_FILLED, SELL
from book.versions import VERSIONS
from tests.exchange import ALICE, BOB, CAROL, SYMBOL, Exchange, buy, cancel, sell


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


def trader(engine: Engine, account: int = ALICE) -> Trader:
    """The account in the market."""
    return engine.state.markets[SYMBOL].traders[account]


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
    order.trader = Trader(engine.state.accounts[3], SYMBOL, Balance(), Balance(), 0, 0)


def order_not_indexed(engine: Engine) -> None:
    """An order on the book that cannot be found by its id."""
    del engine.state.orders[1]


def order_indexed_only(engine: Engine) -> None:
    """An order that can be found, but is not on the book."""
    order = resting(engine)
    engine.state.markets[SYMBOL].book.reduce(order, order.quantity)
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
    book = engine.state.markets[SYMBOL].book
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
    traders = engine.state.markets[SYMBOL].traders
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
    market = engine.state.markets[SYMBOL]
    market.fee_tiers[0] = (market.definition.maker_fee, market.definition.taker_fee)


def rebate_above_the_fee(engine: Engine) -> None:
    """A tier whose rebate the house would pay."""
    engine.state.markets[SYMBOL].fee_tiers[1] = (-2, 1)


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
    engine.state.markets[SYMBOL].trades._things.pop()


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
    engine.state.markets[SYMBOL].last_price += 1


def minute(engine: Engine) -> LiveCandle:
    """The current candle."""
    candle = engine.state.markets[SYMBOL].candles._finest.current
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
    engine.state.markets[SYMBOL].candles._finest.current = None


def candle_counted_twice(engine: Engine) -> None:
    """A coarser interval has what the finer one has not told it yet."""
    engine.state.markets[SYMBOL].candles._coarser[0].fold(minute(engine))


@pytest.mark.parametrize(
    "corrupt",
    [
        *(unit_created, unit_destroyed, negative_balance, total_wrong, deposit_lost),
        *(held_twice, released_twice, order_holds_too_little, hold_of_an_empty_account),
        *(order_not_indexed, order_indexed_only, order_not_its_traders, stale_open_order, open_orders_out_of_order),
        *(order_id_never_given, wrong_side, crossed, kind_that_never_rests, time_in_force_that_never_rests),
        *(status_without_a_fill, status_despite_a_fill, bound_elsewhere, executed_for_nothing),
        *(trader_of_another_account, account_of_another_number, live_id_forgotten, two_orders_of_one_name),
        *(finished_twice, finished_elsewhere),
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
    for memory in (engine.state.markets[SYMBOL], engine.state.accounts[ALICE], engine.state.accounts[BOB]):
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

"""Every invariant of the audit is shown to fail: one corruption each, planted in an engine that passes."""

from collections.abc import Callable

import msgspec
import pytest

from book.definitions import Account
from book.engine import Engine
from book.ledger import Balance
from book.orders import Order, Trader
from book.terms import FOK, MARKET, NEW, PARTIALLY_FILLED, SELL
from tests.exchange import ALICE, BOB, SYMBOL, Exchange, buy, cancel, sell


def busy() -> Engine:
    """Some resting orders of Alice and Bob, one of Bob's partly filled, one of Alice's finished."""
    exchange = Exchange()
    for order in (buy(ALICE, 10, 1_000), buy(ALICE, 5, 990), sell(BOB, 10, 1_100), buy(ALICE, 4, 1_100)):
        exchange.place(order)
    exchange.place(buy(BOB, 5, 980))
    exchange.done(cancel(BOB, 5))
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
    ],
)
def test_the_audit_finds(corrupt: Callable[[Engine], None]) -> None:
    """The corruption does not pass, where the same engine without it did."""
    engine = busy()
    engine.check()
    corrupt(engine)
    with pytest.raises(AssertionError):
        engine.check()

"""The states of a market: what each takes, of every kind of command, and who is asked first."""

import msgspec
import pytest

from book import codes
from book.commands import (
    AdjustBalance,
    ArmSession,
    ClearMarket,
    Command,
    CreditDeposit,
    DefineMarket,
    FreezeAccount,
    LoseAllSessions,
    LoseSession,
    PlaceOrder,
    RevokeKey,
    SetAccountTier,
    SetFeeTier,
    SetMarketState,
    Tick,
)
from book.events import MarketStateChanged, Rejected
from book.queries import Depth, Directory, DirectoryView, JudgeOrder, OpenOrders
from book.terms import (
    BUY,
    CANCEL_ONLY,
    FOK,
    HALT,
    POST_ONLY,
    SELL,
    STOP_LOSS,
    STOP_LOSS_LIMIT,
    TRADING,
)
from tests.exchange import (
    ALICE,
    BOB,
    BTC_USDT,
    CAROL,
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
    key,
    limit,
    market,
    replace,
    sell,
    spend,
    state,
    stop,
    till,
)

RESTING, POSTED, WAITING, MARKET_STOP, ICEBERG, PARTLY = range(1, 7)
LATE_MS = 1_800_000_000_000
STATES = (TRADING, POST_ONLY, CANCEL_ONLY, HALT)


def in_state(market_state: int) -> Exchange:
    """Alice's orders of every kind, by the names above, two of Bob's and Carol's, and the market in this state."""
    exchange = Exchange(free())
    exchange.done(key(1, ALICE))
    exchange.done(ArmSession(BOB, 0, 7))
    for order in (
        buy(ALICE, 10, 90),
        buy(ALICE, 10, 91, post_only=True),
        stop(ALICE, BUY, STOP_LOSS_LIMIT, 10, 150, 150),
        stop(ALICE, BUY, STOP_LOSS, 10, 150),
        iceberg(ALICE, BUY, 10, 92, 2),
        buy(ALICE, 10, 95),
        sell(CAROL, 10, 110),
        sell(BOB, 2, 95),
    ):
        exchange.place(order)
    if market_state != TRADING:
        assert exchange.done(state(market_state)) == [MarketStateChanged(SYMBOL, market_state, 0)]
    return exchange


@pytest.mark.parametrize(
    ("command", "taken_in"),
    [
        # Orders
        (buy(ALICE, 5, 80), {TRADING}),
        (sell(ALICE, 5, 80), {TRADING}),
        (ioc(ALICE, BUY, 5, 80), {TRADING}),
        (fok(ALICE, BUY, 5, 110), {TRADING}),
        (market(ALICE, BUY, 5), {TRADING}),
        (spend(ALICE, 500), {TRADING}),
        (till(LATE_MS, buy(ALICE, 5, 80)), {TRADING}),
        (iceberg(ALICE, BUY, 5, 80, 1), {TRADING}),
        (stop(ALICE, BUY, STOP_LOSS, 5, 150), {TRADING}),
        (stop(ALICE, SELL, STOP_LOSS_LIMIT, 5, 50, 50, time_in_force=FOK), {TRADING}),
        (buy(ALICE, 5, 80, post_only=True), {TRADING, POST_ONLY}),
        (till(LATE_MS, iceberg(ALICE, BUY, 5, 80, 1, post_only=True)), {TRADING, POST_ONLY}),
        (replace(RESTING, buy(ALICE, 5, 80)), {TRADING}),
        (replace(RESTING, buy(ALICE, 5, 80, post_only=True)), {TRADING, POST_ONLY}),
        (replace(WAITING, stop(ALICE, BUY, STOP_LOSS, 5, 160)), {TRADING}),
        # Amendments: reductions, and nothing at all, which is one
        (amend(ALICE, RESTING, 5), {TRADING, POST_ONLY, CANCEL_ONLY}),
        (amend(ALICE, RESTING), {TRADING, POST_ONLY, CANCEL_ONLY}),
        (amend(ALICE, RESTING, 5, 90), {TRADING, POST_ONLY, CANCEL_ONLY}),
        (amend(ALICE, POSTED, 5), {TRADING, POST_ONLY, CANCEL_ONLY}),
        (amend(ALICE, WAITING, 5), {TRADING, POST_ONLY, CANCEL_ONLY}),
        (amend(ALICE, MARKET_STOP, 5), {TRADING, POST_ONLY, CANCEL_ONLY}),
        (amend(ALICE, ICEBERG, 1), {TRADING, POST_ONLY, CANCEL_ONLY}),
        (amend(ALICE, PARTLY, 3), {TRADING, POST_ONLY, CANCEL_ONLY}),
        # Others
        (amend(ALICE, RESTING, 11), {TRADING}),
        (amend(ALICE, RESTING, 5, 89), {TRADING}),
        (amend(ALICE, WAITING, 11), {TRADING}),
        (amend(ALICE, WAITING, price=149), {TRADING}),
        (amend(ALICE, MARKET_STOP, 11), {TRADING}),
        (amend(ALICE, ICEBERG, 11), {TRADING}),
        (amend(ALICE, PARTLY, price=94), {TRADING}),
        (amend(ALICE, POSTED, 11), {TRADING, POST_ONLY}),
        (amend(ALICE, POSTED, price=92), {TRADING, POST_ONLY}),
        # Cancels, in whichever way
        (cancel(ALICE, RESTING), set(STATES)),
        (cancel(ALICE, WAITING), set(STATES)),
        (cancel_all(ALICE), set(STATES)),
        (cancel_all(ALICE, SYMBOL), set(STATES)),
        (cancel_all_after(ALICE, 1_000), set(STATES)),
        (ArmSession(ALICE, 0, 8), set(STATES)),
        (LoseSession(7), set(STATES)),
        (LoseAllSessions(), set(STATES)),
        (ClearMarket(SYMBOL), set(STATES)),
        # What has nothing to do with it
        (Tick(), set(STATES)),
        (CreditDeposit("more", ALICE, "USDT", 1), set(STATES)),
        (AdjustBalance("gift", ALICE, "USDT", 1, "a gift", "ann", "ben"), set(STATES)),
        (SetFeeTier(SYMBOL, 1, 0, 0), set(STATES)),
        (SetAccountTier(ALICE, 1), set(STATES)),
        (FreezeAccount(ALICE, True), set(STATES)),
        (RevokeKey(1), set(STATES)),
        (DefineMarket(msgspec.structs.replace(BTC_USDT, symbol="X")), set(STATES)),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("market_state", STATES)
def test_what_a_market_takes_depends_on_its_state(command: Command, taken_in: set[int], market_state: int) -> None:
    """Every kind of command in every state; what is not taken is told the state, and changes nothing."""
    exchange = in_state(market_state)
    if market_state in taken_in:
        exchange.done(command)
    else:
        expected = Rejected(codes.ORDER_REJECTED, "MARKET_CLOSED", "state", market_state)
        assert exchange.refused(command) == expected
        if isinstance(command, PlaceOrder):
            assert exchange.engine.query(JudgeOrder(command), exchange.time_ns) == expected
    exchange.restart()


@pytest.mark.parametrize("before", STATES)
@pytest.mark.parametrize("after", STATES)
def test_an_operator_may_put_a_market_from_any_state_into_any_other(before: int, after: int) -> None:
    """Into the one it is in he need not; the directory shows it."""
    exchange = in_state(before)
    if before == after:
        assert exchange.refused(state(after)) == Rejected(codes.DEFINITION_REJECTED, "UNCHANGED", "state", after)
    else:
        assert exchange.done(state(after)) == [MarketStateChanged(SYMBOL, after, 0)]
    exchange.restart()
    directory = exchange.engine.query(Directory())
    assert isinstance(directory, DirectoryView)
    assert (directory.markets[0].state, directory.markets[0].open_orders) == (after, 7)


@pytest.mark.parametrize("market_state", [0, 5, -1, 2**63, -(2**63), 10**30])
def test_a_state_that_there_is_not_is_refused(market_state: int) -> None:
    """With the value, and a bound that it breaks."""
    refused = Exchange().refused(state(market_state))
    assert (refused.code, refused.reason, refused.field) == (codes.DEFINITION_REJECTED, "OUT_OF_RANGE", "state")
    assert refused.value == market_state


@pytest.mark.parametrize("symbol", ["", "X", "btc-usdt", "\ud800"])
def test_a_market_that_there_is_not_has_no_state(symbol: str) -> None:
    """Before the state is looked at."""
    for market_state in (HALT, 9):
        refused = Exchange().refused(SetMarketState(symbol, market_state))
        assert refused == Rejected(codes.DEFINITION_REJECTED, "UNKNOWN_SYMBOL", "symbol")


def test_post_only_orders_must_not_take_in_a_post_only_market_either() -> None:
    """New or amended."""
    exchange = in_state(POST_ONLY)
    assert exchange.refused(buy(ALICE, 1, 110, post_only=True)).reason == "WOULD_TAKE"
    assert exchange.refused(amend(ALICE, POSTED, price=110)).reason == "WOULD_TAKE"
    exchange.done(amend(ALICE, POSTED, price=109))
    assert exchange.depth().bids[0] == (109, 10)


def test_a_closed_market_is_told_after_the_form_and_the_name_and_before_the_numbers() -> None:
    """And a frozen account before a closed market."""
    exchange = in_state(HALT)
    assert exchange.refused(limit(ALICE, 9, 0, 0)).code == codes.BAD_SIDE
    assert exchange.refused(market(ALICE, BUY, 0, price=1)).field == "price"
    assert exchange.refused(buy(ALICE, 0, 0, client_order_id="auto-1")).ref == 1
    assert exchange.refused(buy(ALICE, 0, 0)).reason == "MARKET_CLOSED"
    exchange.done(FreezeAccount(ALICE, True))
    assert exchange.refused(buy(ALICE, 0, 0)).reason == "ACCOUNT_FROZEN"


def test_a_frozen_account_places_and_changes_nothing_and_may_cancel() -> None:
    """In any market that takes it from others; what it has stays, trades and is triggered."""
    exchange = in_state(TRADING)
    exchange.done(FreezeAccount(ALICE, True))
    frozen = Rejected(codes.ORDER_REJECTED, "ACCOUNT_FROZEN", "account", ALICE)
    for command in (
        buy(ALICE, 1, 100),
        market(ALICE, BUY, 1),
        stop(ALICE, BUY, STOP_LOSS, 1, 150),
        amend(ALICE, RESTING, 5),
        amend(ALICE, WAITING, 5),
        replace(RESTING, buy(ALICE, 1, 100)),
    ):
        assert exchange.refused(command) == frozen
    exchange.place(sell(BOB, 8, 95))
    assert exchange.order(ALICE, PARTLY).executed == 10
    exchange.place(ioc(BOB, BUY, 10, 110))
    exchange.place(sell(CAROL, 5, 150))
    exchange.place(ioc(BOB, BUY, 1, 150))
    assert exchange.order(ALICE, WAITING).executed == 4
    exchange.done(cancel(ALICE, RESTING))
    exchange.done(cancel_all(ALICE))
    exchange.done(FreezeAccount(ALICE, False))
    exchange.place(buy(ALICE, 1, 90))


def test_questions_are_answered_in_any_state() -> None:
    """Looking is not trading."""
    for market_state in STATES:
        exchange = in_state(market_state)
        assert exchange.depth() == in_state(TRADING).depth()
        assert exchange.engine.query(Depth(SYMBOL)) == exchange.depth()
        assert isinstance(exchange.engine.query(OpenOrders(ALICE)), list)
        assert exchange.open_orders(ALICE) == [1, 2, 3, 4, 5, 6]


def test_one_markets_state_is_its_own() -> None:
    """Its neighbour trades on."""
    exchange = in_state(HALT)
    exchange.done(DefineMarket(msgspec.structs.replace(BTC_USDT, symbol="X")))
    exchange.done(sell(BOB, 5, 100, symbol="X"))
    assert closed(exchange.done(ioc(ALICE, BUY, 5, 100, symbol="X")))
    assert exchange.refused(ioc(ALICE, BUY, 5, 110)).reason == "MARKET_CLOSED"

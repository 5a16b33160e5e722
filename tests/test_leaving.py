"""How orders leave that nobody asks for one by one: by time, by the dead man's switch, with a session, all at once."""

import msgspec
import pytest

from book import codes
from book.commands import (
    ArmSession,
    ClearMarket,
    Command,
    CreditDeposit,
    DefineAsset,
    DefineMarket,
    FreezeAccount,
    LoseAllSessions,
    LoseSession,
    PlaceOrder,
    Tick,
)
from book.definitions import Asset, Market
from book.events import CancelAllAfterSet, Event, Rejected, SessionArmed, SessionLost
from book.terms import (
    BUY,
    CANCEL_ONLY,
    CANCELED,
    EXPIRED,
    FOK,
    GTC,
    GTD,
    HALT,
    IOC,
    MAX_INT,
    POST_ONLY,
    SELL,
    STOP_LOSS,
    STOP_LOSS_LIMIT,
    TRADING,
)
from tests.exchange import (
    ALICE,
    BOB,
    CAROL,
    SYMBOL,
    Exchange,
    amend,
    buy,
    cancel,
    cancel_all,
    cancel_all_after,
    closed,
    free,
    iceberg,
    ioc,
    key,
    market,
    replace,
    sell,
    state,
    stop,
    story,
    till,
)

MS = 10**6
DAY_MS = 86_400_000
OTHER = Market("ETH-USDT", "ETH", "USDT", 1, 2, 100_000, 1, 10**6, 1, 1_000, 0, 0, 0, 1)


def now_ms(exchange: Exchange) -> int:
    """The exchange's time."""
    return exchange.time_ns // MS


def two_markets() -> Exchange:
    """The usual exchange with a second market."""
    exchange = Exchange(free())
    exchange.done(DefineAsset(Asset("ETH", 9)))
    exchange.done(DefineMarket(OTHER))
    return exchange


def elsewhere(order: PlaceOrder) -> PlaceOrder:
    """The order in the second market."""
    return msgspec.structs.replace(order, symbol=OTHER.symbol)


def session(number: int, order: PlaceOrder) -> PlaceOrder:
    """The order as it comes by this session."""
    return msgspec.structs.replace(order, session=number)


def arm(account: int, number: int) -> ArmSession:
    """The command that arms a session."""
    return ArmSession(account, 0, number)


# Good till date


def test_an_order_expires_at_its_time_and_not_before() -> None:
    """By a tick; its hold comes back, and nothing is due any more."""
    exchange = Exchange()
    expire_ms = now_ms(exchange) + 10
    order, _ = exchange.place(till(expire_ms, buy(ALICE, 10, 1_000)))
    assert (order.time_in_force, order.expire_time) == (GTD, expire_ms)
    assert exchange.engine.next_due_ns == expire_ms * MS
    assert exchange.tick(expire_ms * MS - 1) == []
    assert closed(exchange.tick(expire_ms * MS)) == [(order.order_id, EXPIRED)]
    assert exchange.order(ALICE, order.order_id).updated_ns == expire_ms * MS
    assert exchange.balance(ALICE, "USDT").held == 0
    assert (exchange.engine.next_due_ns, exchange.depth().bids) == (0, [])


@pytest.mark.parametrize("market_state", [TRADING, POST_ONLY, CANCEL_ONLY, HALT])
def test_an_order_expires_in_any_state_of_the_market(market_state: int) -> None:
    """Resting, waiting or partly filled; whatever the market takes, it does not keep what ran out."""
    exchange = Exchange(free())
    expire_ms = now_ms(exchange) + 10
    for order in (
        buy(ALICE, 10, 100),
        stop(ALICE, BUY, STOP_LOSS, 5, 200),
        stop(BOB, SELL, STOP_LOSS_LIMIT, 5, 50, 50),
    ):
        exchange.place(till(expire_ms, order))
    exchange.place(till(expire_ms, iceberg(BOB, SELL, 20, 150, 4)))
    exchange.place(market(CAROL, SELL, 3))
    if market_state != TRADING:
        exchange.done(state(market_state))
    events = exchange.tick(expire_ms * MS)
    assert closed(events) == [(n, EXPIRED) for n in (1, 2, 3, 4)]
    assert exchange.order(ALICE, 1).executed == 3
    assert exchange.engine.state.markets[SYMBOL].state == market_state


@pytest.mark.parametrize(
    ("ahead_ms", "bound"), [(0, True), (-1, True), (-(10**13), True), (-(10**30), True), (10**30, False)]
)
def test_an_expiry_lies_in_the_future_and_within_64_bits(ahead_ms: int, bound: bool) -> None:
    """The answer says what the time is, or where time ends."""
    exchange = Exchange()
    at_ms = (exchange.time_ns + 1_000) // MS
    expected = at_ms if bound else MAX_INT // MS
    refused = exchange.refused(till(at_ms + ahead_ms, buy(ALICE, 1, 100)))
    assert refused == Rejected(codes.INVALID_PARAMETER, "", "expire_time", at_ms + ahead_ms, expected)


def test_now_is_not_in_the_future() -> None:
    """To the nanosecond: at the full millisecond an expiry at that one is too late, a nanosecond before it is not."""
    exchange = Exchange()
    expire_ms = now_ms(exchange) + 10
    exchange.done(till(expire_ms, buy(ALICE, 1, 100)), later_ns=expire_ms * MS - 1 - exchange.time_ns)
    exchange.tick(expire_ms * MS)
    refused = exchange.do(till(expire_ms, buy(ALICE, 1, 100)), later_ns=0)
    assert refused == Rejected(codes.INVALID_PARAMETER, "", "expire_time", expire_ms, expire_ms)


def test_the_last_moment_of_64_bits_can_be_an_expiry() -> None:
    """One millisecond more cannot; no expiry is no GTD."""
    exchange = Exchange()
    last_ms = MAX_INT // MS
    assert exchange.refused(till(last_ms + 1, buy(ALICE, 1, 100))).limit == last_ms
    assert exchange.refused(till(0, buy(ALICE, 1, 100))).field == "expire_time"
    exchange.place(till(last_ms, buy(ALICE, 1, 100)))
    exchange.restart()
    assert closed(exchange.tick(last_ms * MS)) == [(1, EXPIRED)]


@pytest.mark.parametrize("time_in_force", [GTC, IOC, FOK])
@pytest.mark.parametrize("expire_time", [1, -1, 10**30, 1_800_000_000_000])
def test_only_good_till_date_takes_an_expiry(time_in_force: int, expire_time: int) -> None:
    """Beside any other time in force it is refused, with its value."""
    order = buy(ALICE, 1, 100, time_in_force=time_in_force, expire_time=expire_time)
    expected = Rejected(codes.INVALID_PARAMETER, "", "expire_time", expire_time)
    assert Exchange().refused(order) == expected


def test_a_market_order_is_not_good_till_date() -> None:
    """It never rests."""
    exchange = Exchange()
    refused = exchange.refused(till(now_ms(exchange) + 10, market(ALICE, BUY, 1)))
    assert refused == Rejected(codes.INVALID_PARAMETER, "", "time_in_force", GTD, IOC)


def test_an_order_that_ends_before_its_time_is_not_due() -> None:
    """Filled, cancelled, replaced, or never on the book at all."""
    exchange = Exchange(free())
    expire_ms = now_ms(exchange) + 1_000
    exchange.place(till(expire_ms, buy(ALICE, 1, 100)))
    assert exchange.engine.next_due_ns
    exchange.place(sell(BOB, 1, 100))
    assert exchange.engine.next_due_ns == 0
    exchange.place(till(expire_ms, buy(ALICE, 1, 100)))
    exchange.done(cancel(ALICE, 3))
    assert exchange.engine.next_due_ns == 0
    exchange.place(till(expire_ms, buy(ALICE, 1, 100)))
    exchange.done(replace(4, buy(ALICE, 1, 100)))
    assert exchange.engine.next_due_ns == 0
    exchange.place(till(expire_ms, sell(BOB, 1, 100)))
    assert exchange.engine.next_due_ns == 0


def test_an_amended_order_keeps_its_time() -> None:
    """In its place or anew, as a waiting stop or as one that was triggered."""
    exchange = Exchange(free())
    expire_ms = now_ms(exchange) + 1_000
    exchange.place(till(expire_ms, buy(ALICE, 5, 100)))
    exchange.place(till(expire_ms + 1, stop(ALICE, BUY, STOP_LOSS_LIMIT, 5, 120, 90)))
    for quantity, price in ((4, 0), (9, 0), (0, 101)):
        exchange.done(amend(ALICE, 1, quantity, price))
        exchange.done(amend(ALICE, 2, quantity, price))
    exchange.place(sell(BOB, 1, 120))
    exchange.place(buy(CAROL, 1, 120))
    assert exchange.depth().bids == [(101, 18)]
    exchange.restart()
    assert closed(exchange.tick(expire_ms * MS)) == [(1, EXPIRED)]
    assert closed(exchange.tick(expire_ms * MS + MS)) == [(2, EXPIRED)]


def test_what_expires_at_one_time_goes_by_order_id() -> None:
    """Whichever market it is in, and whatever the order in which it was placed or amended."""
    exchange = two_markets()
    expire_ms = now_ms(exchange) + 50
    for order in (buy(ALICE, 1, 105), elsewhere(buy(BOB, 1, 100)), stop(CAROL, BUY, STOP_LOSS, 1, 900)):
        exchange.done(till(expire_ms, order))
    exchange.done(till(expire_ms - 1, elsewhere(buy(ALICE, 1, 100))))
    exchange.done(amend(ALICE, 1, 7))
    assert closed(exchange.tick(expire_ms * MS + 17)) == [(n, EXPIRED) for n in (4, 1, 2, 3)]


@pytest.mark.parametrize(
    "command",
    [
        buy(ALICE, 1, 100),
        buy(ALICE, 0, -1),
        cancel(ALICE, 1),
        cancel(9, 9),
        cancel_all(ALICE),
        amend(ALICE, 1, 5),
        replace(1, buy(ALICE, 1, 100)),
        cancel_all_after(ALICE, 0),
        arm(ALICE, 1),
        LoseSession(1),
        LoseAllSessions(),
        state(HALT),
        ClearMarket(SYMBOL),
        DefineAsset(Asset("ETH", 9)),
        CreditDeposit("late", ALICE, "USDT", 1),
        key(1, ALICE),
    ],
    ids=lambda command: type(command).__name__,
)
def test_what_is_due_falls_due_before_any_other_command(command: Command) -> None:
    """Whoever applies one that is to be refused or not, without the tick, has a bug; nothing changes."""
    exchange = Exchange()
    due_ns = exchange.time_ns + 50 * MS
    exchange.place(till(due_ns // MS, buy(ALICE, 10, 100)))
    due_ns = exchange.engine.next_due_ns
    before = exchange.engine.dump()
    for time_ns in (due_ns, due_ns + 1, MAX_INT - 1):
        with pytest.raises(ValueError, match="due"):
            exchange.engine.apply(command, exchange.seq + 1, time_ns)
    assert exchange.engine.dump() == before
    assert isinstance(exchange.engine.apply(Tick(), exchange.seq + 1, due_ns), list)
    exchange.engine.apply(command, exchange.seq + 2, due_ns)
    exchange.engine.check()


# The dead man's switch


def test_orders_are_cancelled_unless_the_switch_is_set_again_in_time() -> None:
    """Of all markets, waiting ones included, oldest first; then it is disarmed."""
    exchange = two_markets()
    for order in (buy(ALICE, 1, 100), elsewhere(buy(ALICE, 1, 100)), stop(ALICE, SELL, STOP_LOSS, 1, 50)):
        exchange.done(order)
    exchange.done(buy(BOB, 1, 100))
    due_ns = exchange.time_ns + 1_000 + 5_000 * MS
    assert exchange.done(cancel_all_after(ALICE, 5_000)) == [CancelAllAfterSet(ALICE, due_ns)]
    assert exchange.engine.next_due_ns == due_ns
    exchange.done(cancel_all_after(ALICE, 9_000), later_ns=2_000 * MS)
    later_ns = exchange.engine.next_due_ns
    assert later_ns == due_ns + 6_000 * MS
    exchange.restart()
    assert exchange.tick(later_ns - 1) == []
    told = story(exchange.tick(later_ns))
    assert told == ["cancel all of 1 never", "CANCELED 1", "CANCELED 2", "CANCELED 3"]
    assert (exchange.open_orders(BOB), exchange.engine.next_due_ns) == ([4], 0)
    exchange.place(buy(ALICE, 1, 100))
    assert exchange.tick(later_ns + DAY_MS * MS) == []


def test_the_switch_is_disarmed_by_zero() -> None:
    """Armed or not, and the event says so."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 1, 100))
    exchange.done(cancel_all_after(ALICE, 5_000))
    for _ in range(2):
        assert exchange.done(cancel_all_after(ALICE, 0)) == [CancelAllAfterSet(ALICE, 0)]
        assert exchange.engine.next_due_ns == 0
    assert exchange.tick(exchange.time_ns + DAY_MS * MS) == []
    assert exchange.open_orders(ALICE) == [1]


def test_the_switch_can_be_set_shorter() -> None:
    """The last word counts, not the first."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 1, 100))
    exchange.done(cancel_all_after(ALICE, DAY_MS))
    exchange.done(cancel_all_after(ALICE, 1))
    assert closed(exchange.tick(exchange.time_ns + MS)) == [(1, CANCELED)]


def test_a_switch_without_orders_goes_off_in_silence() -> None:
    """But for the event that it is set no more."""
    exchange = Exchange()
    exchange.done(cancel_all_after(ALICE, 1))
    assert story(exchange.tick(exchange.time_ns + MS)) == ["cancel all of 1 never"]


@pytest.mark.parametrize("timeout_ms", [-1, DAY_MS + 1, -(2**63), 2**63, 10**30])
def test_the_switch_takes_up_to_a_day(timeout_ms: int) -> None:
    """Anything else is refused, and leaves it as it was set."""
    exchange = Exchange()
    exchange.done(cancel_all_after(ALICE, DAY_MS))
    due_ns = exchange.engine.next_due_ns
    expected = Rejected(codes.INVALID_PARAMETER, "", "timeout_ms", timeout_ms, DAY_MS)
    assert exchange.refused(cancel_all_after(ALICE, timeout_ms)) == expected
    assert exchange.engine.next_due_ns == due_ns == exchange.time_ns - 1_000 + DAY_MS * MS


def test_who_sets_the_switch_or_arms_a_session_is_asked_as_of_every_trading_command() -> None:
    """Account, key, time."""
    exchange = Exchange()
    exchange.done(key(1, ALICE))
    exchange.done(key(2, ALICE, permissions=1))
    for command in (cancel_all_after(ALICE, 5), arm(ALICE, 5)):
        for field, value, code in (
            *(("account", 9, codes.UNAUTHORIZED), ("account", -1, codes.UNAUTHORIZED)),
            *(("key", 5, codes.REJECTED_KEY), ("key", 2, codes.REJECTED_KEY)),
            *(("timestamp", 1, codes.INVALID_TIMESTAMP), ("recv_window", -1, codes.INVALID_PARAMETER)),
            *(("session", -1, codes.INVALID_PARAMETER), ("session", 2**63, codes.INVALID_PARAMETER)),
        ):
            refused = exchange.refused(msgspec.structs.replace(command, **{field: value}))
            assert (refused.code, refused.field) == (code, field)
        exchange.done(msgspec.structs.replace(command, key=1))


def test_a_frozen_account_may_set_its_switch_and_lose_its_orders() -> None:
    """It cancels, which it always may."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 1, 100))
    exchange.done(FreezeAccount(ALICE, True))
    assert exchange.refused(buy(ALICE, 1, 100)) == Rejected(codes.ORDER_REJECTED, "ACCOUNT_FROZEN", "account", ALICE)
    exchange.done(cancel_all_after(ALICE, 1))
    assert closed(exchange.tick(exchange.time_ns + MS)) == [(1, CANCELED)]


def test_the_house_has_a_switch_too() -> None:
    """Account 0 is an account."""
    exchange = Exchange()
    exchange.done(cancel_all_after(0, 1))
    exchange.done(cancel_all_after(ALICE, 1), later_ns=0)
    exchange.restart()
    assert story(exchange.tick(exchange.time_ns + MS)) == ["cancel all of 0 never", "cancel all of 1 never"]


def test_at_one_time_orders_expire_first_then_switches_go_off_then_markets_open() -> None:
    """Each kind by its number; what was due earlier comes before all of that, however late the tick."""
    exchange = Exchange(free(band=100_000, halt_ms=100))
    exchange.place(sell(BOB, 1, 100))
    exchange.place(buy(CAROL, 1, 100))
    due_ms = now_ms(exchange) + 101
    due_ns = due_ms * MS
    for order in (buy(ALICE, 1, 90), buy(CAROL, 1, 90), buy(BOB, 1, 90)):
        exchange.place(order)
    exchange.place(till(due_ms, buy(ALICE, 1, 91)))
    exchange.place(till(due_ms, buy(BOB, 1, 91)))
    exchange.place(sell(BOB, 1, 120))
    for account in (CAROL, ALICE):
        exchange.done(cancel_all_after(account, 100), later_ns=due_ns - 100 * MS - exchange.time_ns)
    told = story(exchange.done(ioc(CAROL, BUY, 1, 120), later_ns=0))
    assert told[-2:] == [f"HALT until {due_ns}", "EXPIRED 9"]
    exchange.done(cancel_all_after(BOB, 99), later_ns=0)
    exchange.restart()
    assert story(exchange.tick(due_ns + 500 * MS)) == [
        *("cancel all of 2 never", "CANCELED 5", "CANCELED 7", "CANCELED 8"),
        "EXPIRED 6",
        *("cancel all of 1 never", "CANCELED 3"),
        *("cancel all of 3 never", "CANCELED 4"),
        "TRADING",
    ]


# Sessions


def test_a_lost_session_takes_its_orders_with_it() -> None:
    """Its account's that came by it, in all markets, waiting ones too, oldest first; the others stay."""
    exchange = two_markets()
    assert exchange.done(arm(ALICE, 7)) == [SessionArmed(7, ALICE)]
    exchange.done(session(7, buy(ALICE, 1, 100)))
    exchange.done(buy(ALICE, 1, 101))
    exchange.done(session(7, elsewhere(buy(ALICE, 1, 102))))
    exchange.done(session(8, buy(ALICE, 1, 103)))
    exchange.done(session(7, buy(BOB, 1, 104)))
    exchange.done(session(7, stop(ALICE, SELL, STOP_LOSS, 1, 50)))
    exchange.restart()
    events = exchange.done(LoseSession(7))
    assert events[0] == SessionLost(7, ALICE)
    assert closed(events) == [(n, CANCELED) for n in (1, 3, 6)]
    assert (exchange.open_orders(ALICE), exchange.open_orders(BOB)) == ([2, 4], [5])
    assert exchange.refused(LoseSession(7)) == Rejected(codes.CANCEL_REJECTED, "UNKNOWN_SESSION", "session", 7)


def test_an_order_stays_with_the_session_that_placed_it() -> None:
    """Amended by another one, it still goes with its own; what replaces it is of the session that replaced."""
    exchange = Exchange()
    exchange.done(arm(ALICE, 7))
    for _ in range(2):
        exchange.place(session(7, buy(ALICE, 2, 100)))
    exchange.done(msgspec.structs.replace(amend(ALICE, 1, 9, 101), session=8))
    exchange.done(replace(2, session(8, buy(ALICE, 2, 100))))
    assert closed(exchange.done(LoseSession(7))) == [(1, CANCELED)]
    assert exchange.open_orders(ALICE) == [3]


def test_orders_placed_before_the_session_was_armed_go_with_it_too() -> None:
    """What counts is by which session they came."""
    exchange = Exchange()
    exchange.place(session(7, buy(ALICE, 1, 100)))
    exchange.done(arm(ALICE, 7))
    assert closed(exchange.done(LoseSession(7))) == [(1, CANCELED)]


@pytest.mark.parametrize("number", [0, -1, 7, 2**63, -(2**63), 10**30])
def test_a_session_that_is_not_armed_cannot_be_lost(number: int) -> None:
    """Its orders stay."""
    exchange = Exchange()
    exchange.place(session(7, buy(ALICE, 1, 100)))
    expected = Rejected(codes.CANCEL_REJECTED, "UNKNOWN_SESSION", "session", number)
    assert exchange.refused(LoseSession(number)) == expected
    assert exchange.open_orders(ALICE) == [1]


def test_a_session_is_armed_by_one_account_as_often_as_it_likes() -> None:
    """By no other, and there is no session 0."""
    exchange = Exchange()
    for _ in range(2):
        assert exchange.done(arm(ALICE, MAX_INT)) == [SessionArmed(MAX_INT, ALICE)]
    taken = Rejected(codes.INVALID_PARAMETER, "SESSION_TAKEN", "session", MAX_INT)
    assert exchange.refused(arm(BOB, MAX_INT)) == taken
    for number in (0, -1, 2**63, 10**30):
        refused = exchange.refused(arm(ALICE, number))
        assert refused == Rejected(codes.INVALID_PARAMETER, "", "session", number, MAX_INT)
    exchange.done(LoseSession(MAX_INT))
    exchange.done(arm(BOB, MAX_INT))


def test_no_more_than_a_million_sessions_are_armed() -> None:
    """Beyond that one has to be lost first; those that are armed may be armed again."""
    exchange = Exchange()
    exchange.done(arm(ALICE, 1))
    sessions = exchange.engine.state.armed_sessions
    alice = sessions[1]
    for number in range(2, 10**6 + 1):
        sessions[number] = alice
    engine, seq, time_ns = exchange.engine, exchange.seq, exchange.time_ns
    full = Rejected(codes.INVALID_PARAMETER, "TOO_MANY", "session", 10**6 + 1, 10**6)
    assert engine.apply(arm(ALICE, 10**6 + 1), seq + 1, time_ns) == full
    assert engine.apply(arm(BOB, 5), seq + 1, time_ns) == Rejected(
        codes.INVALID_PARAMETER, "SESSION_TAKEN", "session", 5
    )
    assert engine.apply(arm(ALICE, 10**6), seq + 1, time_ns) == [SessionArmed(10**6, ALICE)]
    assert engine.apply(LoseSession(3), seq + 2, time_ns) == [SessionLost(3, ALICE)]
    assert engine.apply(arm(ALICE, 10**6 + 1), seq + 3, time_ns) == [SessionArmed(10**6 + 1, ALICE)]


def test_when_a_process_starts_all_sessions_are_lost_in_the_order_of_arming() -> None:
    """Each as if it were lost alone; nothing to lose is no error."""
    exchange = Exchange()
    assert exchange.done(LoseAllSessions()) == []
    for account, number in ((BOB, 9), (ALICE, 7), (ALICE, 3), (CAROL, 8)):
        exchange.done(arm(account, number))
    exchange.done(arm(BOB, 9))
    for account, number in ((ALICE, 3), (ALICE, 7), (BOB, 9), (ALICE, 3), (BOB, 7), (ALICE, 0)):
        exchange.place(session(number, buy(account, 1, 100)))
    exchange.restart()
    told = story(exchange.done(LoseAllSessions()))
    assert told == ["lost 9", "CANCELED 3", "lost 7", "CANCELED 2", "lost 3", "CANCELED 1", "CANCELED 4", "lost 8"]
    assert exchange.done(LoseAllSessions()) == []
    assert exchange.open_orders(ALICE) + exchange.open_orders(BOB) == [6, 5]


def test_an_order_does_not_end_with_a_session_of_a_later_process() -> None:
    """Which numbers its sessions from 1 again."""
    exchange = Exchange()
    exchange.place(session(1, buy(ALICE, 1, 100)))
    exchange.done(LoseAllSessions())
    exchange.done(arm(ALICE, 1))
    exchange.place(session(1, buy(ALICE, 1, 100)))
    assert story(exchange.done(LoseSession(1))) == ["lost 1", "CANCELED 2"]
    assert exchange.open_orders(ALICE) == [1]


def test_losing_all_sessions_is_losing_one_after_the_other() -> None:
    """The same events, the same state, with orders of many sessions in many places."""
    one_by_one, at_once = _many_sessions(), _many_sessions()
    events: list[Event] = []
    for number in list(one_by_one.engine.state.armed_sessions):
        events += one_by_one.done(LoseSession(number), later_ns=0)
    assert len(closed(events)) > 50
    assert at_once.done(LoseAllSessions(), later_ns=0) == events
    assert at_once.engine.state.armed_sessions == {}
    assert at_once.engine.state.ledger.rows() == one_by_one.engine.state.ledger.rows()
    assert list(at_once.engine.state.orders) == list(one_by_one.engine.state.orders)


def _many_sessions() -> Exchange:
    """Sessions of three accounts, armed in no order, with orders of each and of some that are not armed."""
    exchange = two_markets()
    for number in range(1, 30):
        exchange.done(arm(1 + number % 3, number * 37 % 31))
    for number in range(90):
        order = session(number % 33, buy(1 + number % 2, 1, 50 + number % 5))
        exchange.done(elsewhere(order) if number % 4 == 0 else order)
        exchange.done(session(number % 31, stop(1 + number % 3, SELL, STOP_LOSS, 1, 10)))
    return exchange


# All at once


def test_clearing_a_market_cancels_all_its_orders_and_no_others() -> None:
    """By order id, over all accounts; in any state of the market, which stays."""
    exchange = two_markets()
    for order in (buy(BOB, 1, 100), elsewhere(buy(BOB, 1, 100)), buy(ALICE, 1, 105), sell(CAROL, 1, 200)):
        exchange.done(order)
    exchange.done(stop(BOB, SELL, STOP_LOSS, 1, 50))
    for market_state in (POST_ONLY, CANCEL_ONLY, HALT):
        exchange.done(state(market_state))
        events = exchange.done(ClearMarket(SYMBOL))
        assert closed(events) == ([(n, CANCELED) for n in (1, 3, 4, 5)] if market_state == POST_ONLY else [])
        assert len(events) == len(closed(events))
    assert exchange.open_orders(BOB) == [2]
    assert exchange.engine.state.markets[SYMBOL].state == HALT


@pytest.mark.parametrize("symbol", ["", "X", "btc-usdt", "\ud800"])
def test_a_market_that_there_is_not_cannot_be_cleared(symbol: str) -> None:
    """It is an operator who hears it."""
    refused = Exchange().refused(ClearMarket(symbol))
    assert refused == Rejected(codes.DEFINITION_REJECTED, "UNKNOWN_SYMBOL", "symbol")


def test_time_ends_before_the_last_moment_that_something_can_be_due_at() -> None:
    """So what is set is always due later than now, up to the end; a command at the end itself is not taken."""
    exchange = Exchange(free(band=1, halt_ms=1, reference_price=100))
    exchange.time_ns = MAX_INT - 3_001
    exchange.place(sell(BOB, 1, 200))
    assert exchange.done(cancel_all_after(ALICE, DAY_MS)) == [CancelAllAfterSet(ALICE, MAX_INT)]
    told = story(exchange.done(ioc(ALICE, BUY, 1, 200)))
    assert told[1] == f"HALT until {MAX_INT}"
    exchange.restart()
    assert (exchange.engine.last_time_ns, exchange.engine.next_due_ns) == (MAX_INT - 1, MAX_INT)
    with pytest.raises(ValueError, match="time"):
        exchange.engine.apply(Tick(), exchange.seq + 1, MAX_INT)

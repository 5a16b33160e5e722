"""The answers about what happened of late and about what was set for an account; and what is wrong with a question."""

from itertools import pairwise
from random import Random
from typing import cast

import msgspec
import pytest

from book import codes
from book.commands import (
    AdjustBalance,
    CancelAllAfter,
    DefineAsset,
    DefineMarket,
    FreezeAccount,
    FreezeAsset,
    RevokeKey,
    SetAccountTier,
    SetEngineVersion,
    SetFeeTier,
)
from book.definitions import Account, Asset
from book.engine import Engine
from book.events import OrderView, Rejected
from book.history import INTERVALS, MINUTE_NS
from book.queries import (
    AccountDetails,
    AccountDetailsView,
    AccountOrders,
    AccountTrade,
    AccountTrades,
    Balances,
    Candle,
    Candles,
    Commission,
    CommissionView,
    Directory,
    DirectoryView,
    Info,
    InfoView,
    Logon,
    PublicTrade,
    Query,
    RecentTrades,
    Ticker,
    TickerView,
)
from book.terms import BUY, MAX_INT, NONE, SELL, STOP_LOSS, TRADE
from tests.exchange import (
    ALICE,
    BOB,
    BTC_USDT,
    CAROL,
    SYMBOL,
    Exchange,
    buy,
    cancel,
    ioc,
    key,
    market,
    sell,
    trades,
)

OTHER = "ETH-USDT"


def two_markets() -> Exchange:
    """The usual exchange with a second market, and a first trade in each."""
    exchange = Exchange()
    exchange.done(DefineAsset(Asset("ETH", 8)))
    exchange.done(DefineMarket(msgspec.structs.replace(BTC_USDT, symbol=OTHER, base="ETH")))
    exchange.done(AdjustBalance("eth", BOB, "ETH", 10**12, "to begin with", "ann", "bob"))
    exchange.done(sell(BOB, 5, 1_000, symbol=OTHER))
    exchange.done(ioc(ALICE, BUY, 5, 1_000, symbol=OTHER))
    exchange.done(sell(BOB, 30, 1_000, client_order_id="bobs"))
    exchange.done(ioc(ALICE, BUY, 10, 1_000, client_order_id="alices"))
    return exchange


def ask(exchange: Exchange, query: Query, time_ns: int | None = None) -> list[object]:
    """The rows of an answer, which are the same after a restart."""
    rows = exchange.engine.query(query, time_ns)
    assert isinstance(rows, list), rows
    assert Engine.load(exchange.engine.dump()).query(query, time_ns) == rows
    return list(rows)


def numbers(rows: list[object]) -> list[int]:
    """The ids of trades or orders."""
    return [row.order_id if isinstance(row, OrderView) else cast("AccountTrade", row).trade_id for row in rows]


# Trades


def test_each_side_of_a_trade_is_remembered_for_its_account() -> None:
    """With its own order, side and fee; another account's are not to be seen, nor another market's."""
    exchange = two_markets()
    assert ask(exchange, AccountTrades(BOB, SYMBOL)) == [
        AccountTrade(1, 3, "bobs", SYMBOL, SELL, 1_000, 10, 10_000, 10, True, exchange.time_ns)
    ]
    assert ask(exchange, AccountTrades(ALICE, SYMBOL)) == [
        AccountTrade(1, 4, "alices", SYMBOL, BUY, 1_000, 10, 10_000, 20, False, exchange.time_ns)
    ]
    assert ask(exchange, AccountTrades(CAROL, SYMBOL)) == []
    assert ask(exchange, RecentTrades(SYMBOL)) == [PublicTrade(1, 1_000, 10, 10_000, BUY, exchange.time_ns)]
    exchange.place(buy(BOB, 2, 900))
    exchange.place(sell(CAROL, 2, 900))
    rows = ask(exchange, AccountTrades(BOB, SYMBOL))
    assert isinstance(rows[1], AccountTrade)
    assert (rows[1].trade_id, rows[1].side, rows[1].maker) == (2, BUY, True)


def test_an_account_that_trades_with_itself_sees_both_sides() -> None:
    """The maker's first."""
    exchange = two_markets()
    exchange.done(ioc(BOB, BUY, 7, 1_000, self_trade=NONE))
    rows = [cast("AccountTrade", row) for row in ask(exchange, AccountTrades(BOB, SYMBOL, 2))]
    assert [(row.trade_id, row.order_id, row.side, row.maker) for row in rows] == [
        (2, 3, SELL, True),
        (2, 5, BUY, False),
    ]
    assert ask(exchange, AccountTrades(BOB, SYMBOL, limit=1)) == rows[1:]
    assert ask(exchange, AccountTrades(BOB, SYMBOL, 2, 1)) == rows[:1]


def test_trades_are_listed_from_an_id_on_or_the_newest() -> None:
    """Oldest first in either case."""
    exchange = two_markets()
    for _ in range(9):
        exchange.done(ioc(ALICE, BUY, 1, 1_000))
    assert numbers(ask(exchange, AccountTrades(ALICE, SYMBOL, limit=3))) == [8, 9, 10]
    assert numbers(ask(exchange, AccountTrades(ALICE, SYMBOL, 4, 3))) == [4, 5, 6]
    assert numbers(ask(exchange, AccountTrades(ALICE, SYMBOL, 9, 1_000))) == [9, 10]
    assert numbers(ask(exchange, AccountTrades(ALICE, SYMBOL, 10**30))) == []
    assert [cast("PublicTrade", row).trade_id for row in ask(exchange, RecentTrades(SYMBOL, 4))] == [7, 8, 9, 10]


def test_a_thousand_trades_are_remembered() -> None:
    """Of a market, and of an account over all markets; what is older is forgotten."""
    exchange = two_markets()
    exchange.done(sell(BOB, 10, 1_000, symbol=OTHER))
    engine, seq, time_ns = exchange.engine, exchange.seq, exchange.time_ns
    for number in range(1, 1_003):
        for order in (sell(BOB, 1, 1_000), ioc(ALICE if number % 3 else CAROL, BUY, 1, 1_000)):
            seq += 1
            assert isinstance(engine.apply(order, seq, time_ns), list)
    exchange.seq = seq
    exchange.done(ioc(ALICE, BUY, 1, 1_000, symbol=OTHER))
    public = numbers(ask(exchange, RecentTrades(SYMBOL, 1_000)))
    assert public == list(range(4, 1_004))
    assert numbers(ask(exchange, AccountTrades(BOB, SYMBOL, limit=1_000))) == list(range(5, 1_004))
    assert numbers(ask(exchange, AccountTrades(BOB, OTHER, limit=1_000))) == [2]
    assert numbers(ask(exchange, AccountTrades(CAROL, SYMBOL, limit=1_000)))[0] == 4
    assert numbers(ask(exchange, AccountTrades(ALICE, OTHER))) == [1, 2]


# Orders


def test_open_and_finished_orders_are_listed_together_by_id() -> None:
    """Resting, waiting for a price, cancelled, filled; of the one market and the one account."""
    exchange = two_markets()
    exchange.done(buy(ALICE, 1, 500))
    exchange.done(cancel(ALICE, 5))
    exchange.done(buy(ALICE, 1, 500))
    exchange.done(market(ALICE, SELL, 1, type=STOP_LOSS, stop_price=600))
    exchange.done(buy(BOB, 1, 500))
    exchange.done(buy(ALICE, 1, 500, symbol=OTHER))
    exchange.done(buy(ALICE, 1, 510))
    assert numbers(ask(exchange, AccountOrders(ALICE, SYMBOL))) == [4, 5, 6, 7, 10]
    assert numbers(ask(exchange, AccountOrders(ALICE, SYMBOL, limit=2))) == [7, 10]
    assert numbers(ask(exchange, AccountOrders(ALICE, SYMBOL, 5, 3))) == [5, 6, 7]
    assert numbers(ask(exchange, AccountOrders(ALICE, SYMBOL, 8))) == [10]
    assert numbers(ask(exchange, AccountOrders(ALICE, SYMBOL, 10**30))) == []
    assert numbers(ask(exchange, AccountOrders(ALICE, OTHER))) == [2, 9]
    assert ask(exchange, AccountOrders(CAROL, SYMBOL)) == []
    assert [exchange.order(ALICE, number) for number in (4, 5, 6, 7, 10)] == ask(exchange, AccountOrders(ALICE, SYMBOL))


def test_a_thousand_finished_orders_are_listed_and_all_open_ones() -> None:
    """The finished ones are the account's last, over all markets."""
    exchange = two_markets()
    exchange.done(buy(ALICE, 1, 10))
    engine, seq = exchange.engine, exchange.seq
    for _ in range(998):
        seq += 1
        assert isinstance(engine.apply(ioc(ALICE, BUY, 1, 1), seq, exchange.time_ns), list)
    exchange.seq = seq
    ids = [4, 5, *range(6, 6 + 998)]
    assert numbers(ask(exchange, AccountOrders(ALICE, SYMBOL, 1, 1_000))) == ids
    exchange.done(ioc(ALICE, BUY, 1, 1, symbol=OTHER))
    assert numbers(ask(exchange, AccountOrders(ALICE, OTHER))) == [1_004]
    exchange.done(ioc(ALICE, BUY, 1, 1, symbol=OTHER))
    assert numbers(ask(exchange, AccountOrders(ALICE, SYMBOL, 1, 1_000))) == ids[1:]


# Candles and the ticker


def test_candles_are_bounded_by_time_and_number() -> None:
    """Both bounds are of the moment a candle opens and belong to the range; of more, the newest are given."""
    exchange = two_markets()
    for _ in range(4):
        exchange.done(ioc(ALICE, BUY, 1, 1_000), later_ns=MINUTE_NS)
    rows = [cast("Candle", row) for row in ask(exchange, Candles(SYMBOL, MINUTE_NS))]
    opens = [row.open_ns for row in rows]
    assert len(opens) == 5
    assert all(later - earlier == MINUTE_NS for earlier, later in pairwise(opens))
    assert rows[0] == Candle(opens[0], 1_000, 1_000, 1_000, 1_000, 10, 10_000, 1)

    def between(start_ns: int, end_ns: int, limit: int = 1_500) -> list[int]:
        return [
            cast("Candle", row).open_ns for row in ask(exchange, Candles(SYMBOL, MINUTE_NS, start_ns, end_ns, limit))
        ]

    assert between(opens[1], opens[3]) == opens[1:4]
    assert between(opens[1] + 1, opens[3] - 1) == opens[2:3]
    assert between(0, opens[1]) == opens[:2]
    assert between(opens[3], 0) == opens[3:]
    assert between(0, 0, 2) == opens[3:]
    assert between(0, opens[3], 2) == opens[2:4]
    assert between(opens[3], opens[1]) == []
    assert between(10**30, 0) == between(0, 1) == []
    assert between(0, 10**30) == opens


@pytest.mark.parametrize("interval_ns", INTERVALS)
def test_every_interval_has_its_candles(interval_ns: int) -> None:
    """A market without trades has none, one with trades the sums of them."""
    exchange = two_markets()
    exchange.done(ioc(ALICE, BUY, 7, 1_000))
    open_ns = exchange.time_ns // interval_ns * interval_ns
    expected = [Candle(open_ns, 1_000, 1_000, 1_000, 1_000, 17, 17_000, 2)]
    assert ask(exchange, Candles(SYMBOL, interval_ns)) == expected
    assert ask(Exchange(), Candles(SYMBOL, interval_ns)) == []


def test_a_ticker_is_of_the_last_24_hours() -> None:
    """To the minute of the question; the last price stays, however long ago it was."""
    exchange = two_markets()
    traded_ns = exchange.time_ns
    minute = traded_ns // MINUTE_NS * MINUTE_NS
    exchange.done(sell(BOB, 1, 900))
    exchange.done(ioc(ALICE, BUY, 1, 900), later_ns=MINUTE_NS)

    def ticker(time_ns: int | None) -> TickerView:
        view = exchange.engine.query(Ticker(SYMBOL), time_ns)
        assert isinstance(view, TickerView)
        assert Engine.load(exchange.engine.dump()).query(Ticker(SYMBOL), time_ns) == view
        return view

    now = exchange.time_ns
    day = TickerView(SYMBOL, 1_000, 1_000, 900, 900, 11, 10_900, 2, minute - 1_438 * MINUTE_NS, now)
    assert ticker(None) == ticker(now) == day
    late = minute + 1_440 * MINUTE_NS - 1
    assert ticker(late) == msgspec.structs.replace(day, open_ns=minute, close_ns=late)
    second = TickerView(SYMBOL, 900, 900, 900, 900, 1, 900, 1, minute + MINUTE_NS, late + 1)
    assert ticker(late + 1) == second
    later = late + 1 + MINUTE_NS
    assert ticker(later) == TickerView(SYMBOL, 0, 0, 0, 900, 0, 0, 0, minute + 2 * MINUTE_NS, later)
    empty = exchange.engine.query(Ticker(OTHER), later)
    assert isinstance(empty, TickerView)
    assert empty.last == 1_000


def test_a_ticker_before_any_trade_is_all_zero() -> None:
    """But for its window."""
    exchange = Exchange()
    start = exchange.time_ns // MINUTE_NS * MINUTE_NS - 1_439 * MINUTE_NS
    assert exchange.engine.query(Ticker(SYMBOL)) == TickerView(SYMBOL, 0, 0, 0, 0, 0, 0, 0, start, exchange.time_ns)


def test_random_trades_are_told_the_same_by_all_who_remember_them() -> None:
    """Events, the market's trades, both accounts' trades, candles and ticker agree, over a restart."""
    random = Random(5)
    exchange = two_markets()
    told = trades([])
    for _ in range(120):
        account, side = random.choice((ALICE, BOB, CAROL)), random.choice((buy, sell))
        later_ns = random.choice((1, MINUTE_NS))
        told += trades(exchange.done(side(account, random.randint(1, 9), random.randint(95, 105)), later_ns=later_ns))
        if random.random() < 0.1:
            exchange.engine = Engine.load(exchange.engine.dump())
    public = [cast("PublicTrade", row) for row in ask(exchange, RecentTrades(SYMBOL, 1_000))][1:]
    assert [(row.price, row.quantity) for row in public] == told
    sides = [
        cast("AccountTrade", row)
        for account in (ALICE, BOB, CAROL)
        for row in ask(exchange, AccountTrades(account, SYMBOL))
    ]
    assert sorted(row.trade_id for row in sides if row.trade_id > 1) == sorted(2 * [row.trade_id for row in public])
    for interval_ns in INTERVALS:
        rows = [cast("Candle", row) for row in ask(exchange, Candles(SYMBOL, interval_ns))]
        assert sum(row.volume for row in rows) == 10 + sum(row.quantity for row in public)
    ticker = exchange.engine.query(Ticker(SYMBOL))
    assert isinstance(ticker, TickerView)
    assert (ticker.last, ticker.count) == (public[-1].price, 1 + len(public))


# What is set


def test_an_accounts_details_are_what_was_set_for_it() -> None:
    """And what it owes, in the order of assets."""
    exchange = two_markets()
    owner = Account(ALICE, f"account-{ALICE}")
    assert exchange.engine.query(AccountDetails(ALICE)) == AccountDetailsView(owner, 0, False, 0, 0, [], 10)
    exchange.done(AdjustBalance("a", ALICE, "USDT", -(10**15), "fraud", "ann", "bob"))
    exchange.done(AdjustBalance("b", ALICE, "BTC", -(10**12), "fraud", "ann", "bob"))
    exchange.done(AdjustBalance("c", ALICE, "BTC", 10**5, "a mistake", "ann", "bob"))
    exchange.done(SetAccountTier(ALICE, 3))
    exchange.done(sell(ALICE, 1, 2_000))
    exchange.done(FreezeAccount(ALICE, True))
    exchange.done(CancelAllAfter(ALICE, 0, 0, 1_000))
    usdt = 10**15 - (10**12 - 5_010 - 10_020)
    btc = 10**12 - (10**10 + 10 * 10_000)
    assert exchange.engine.query(AccountDetails(ALICE)) == AccountDetailsView(
        owner, 3, True, exchange.time_ns + 10**9, 1, [("BTC", btc), ("USDT", usdt)], 15
    )


def test_commission_is_what_the_next_order_pays() -> None:
    """By the account's tier, where the market has it."""
    exchange = two_markets()
    exchange.done(SetFeeTier(SYMBOL, 2, -5, 7))
    exchange.done(SetAccountTier(ALICE, 2))
    assert exchange.engine.query(Commission(ALICE, SYMBOL)) == CommissionView(SYMBOL, -5, 7)
    assert exchange.engine.query(Commission(ALICE, OTHER)) == CommissionView(OTHER, 1_000, 2_000)
    assert exchange.engine.query(Commission(BOB, SYMBOL)) == CommissionView(SYMBOL, 1_000, 2_000)


def test_a_revoked_key_does_not_log_on() -> None:
    """It is named as revoked, not as unknown."""
    exchange = Exchange()
    exchange.done(key(1, ALICE, TRADE))
    exchange.done(RevokeKey(1))
    assert exchange.engine.query(Logon("key-1")) == Rejected(codes.REJECTED_KEY, "REVOKED_KEY", "key_name")


def test_the_directory_says_what_is_revoked_and_frozen() -> None:
    """In the order in which it was done; info says the version."""
    exchange = two_markets()
    for number in (1, 2, 3):
        exchange.done(key(number, ALICE))
    for command in (RevokeKey(3), RevokeKey(1), FreezeAsset("USDT", True), FreezeAsset("BTC", True)):
        exchange.done(command)
    exchange.done(FreezeAsset("USDT", False))
    exchange.done(FreezeAsset("ETH", True))
    exchange.done(SetEngineVersion(1))
    exchange.engine = Engine.load(exchange.engine.dump())
    view, info = exchange.engine.query(Directory()), exchange.engine.query(Info())
    assert isinstance(view, DirectoryView)
    assert (view.revoked_keys, view.frozen_assets) == ([3, 1], ["BTC", "ETH"])
    assert isinstance(info, InfoView)
    assert info.engine_version == 1


# What is wrong with a question

UNKNOWN_ACCOUNTS = [9, -1, -(2**63), 2**63, 10**30]
NEGATIVE = [-1, -(2**63), -(10**30)]


@pytest.mark.parametrize(
    ("query", "refused"),
    [
        *(
            (query, Rejected(codes.UNAUTHORIZED, "UNKNOWN_ACCOUNT", "account", number))
            for number in UNKNOWN_ACCOUNTS
            for query in (
                AccountTrades(number, "X", -1, 0),
                AccountOrders(number, "X", -1, 0),
                AccountDetails(number),
                Commission(number, "X"),
                Balances(number),
            )
        ),
        *(
            (query, Rejected(codes.BAD_SYMBOL, "", "symbol"))
            for name in ("", "X", "\ud800", "btc-usdt")
            for query in (
                AccountTrades(ALICE, name, -1, 0),
                AccountOrders(ALICE, name, -1, 0),
                Commission(ALICE, name),
                RecentTrades(name, 0),
                Ticker(name),
                Candles(name, 0, -1, -1, 0),
            )
        ),
        *(
            (query, Rejected(codes.INVALID_PARAMETER, "", "limit", limit, most))
            for limit in (0, -1, 1_501, 2**63, -(2**63), 10**30)
            for query, most in (
                (AccountTrades(ALICE, SYMBOL, -1, limit), 1_000),
                (AccountOrders(ALICE, SYMBOL, -1, limit), 1_000),
                (RecentTrades(SYMBOL, limit), 1_000),
                (Candles(SYMBOL, MINUTE_NS, -1, -1, limit), 1_500),
            )
        ),
        *(
            (query, Rejected(codes.INVALID_PARAMETER, "", field, value))
            for value in NEGATIVE
            for query, field in (
                (AccountTrades(ALICE, SYMBOL, value), "from_id"),
                (AccountOrders(ALICE, SYMBOL, value), "from_id"),
                (Candles(SYMBOL, MINUTE_NS, value, -1), "start_ns"),
                (Candles(SYMBOL, MINUTE_NS, 0, value), "end_ns"),
            )
        ),
        *(
            (Candles(SYMBOL, interval_ns, -1, -1, 0), Rejected(codes.INVALID_PARAMETER, "", "interval_ns", interval_ns))
            for interval_ns in (0, 1, -MINUTE_NS, MINUTE_NS + 1, 2 * MINUTE_NS, MAX_INT, 10**30)
        ),
    ],
)
def test_a_question_that_cannot_be_answered_says_why(query: Query, refused: Rejected) -> None:
    """Account, symbol, interval, limit, then the bounds: the first that is wrong is named."""
    assert two_markets().engine.query(query) == refused


def test_the_bounds_of_limits_are_taken() -> None:
    """The least and the most of each."""
    exchange = two_markets()
    for limit in (1, 1_000):
        for query in (AccountTrades(ALICE, SYMBOL, 0, limit), RecentTrades(SYMBOL, limit)):
            assert len(ask(exchange, query)) == 1
        assert len(ask(exchange, AccountOrders(ALICE, SYMBOL, 0, limit))) == 1
    assert len(ask(exchange, Candles(SYMBOL, MINUTE_NS, limit=1_500))) == 1


def test_a_question_is_asked_now_or_later_but_not_earlier() -> None:
    """As with commands, time does not go back."""
    exchange = two_markets()
    exchange.engine.query(Ticker(SYMBOL), exchange.time_ns)
    exchange.engine.query(Ticker(SYMBOL), MAX_INT)
    for time_ns in (exchange.time_ns - 1, 0, -1, 2**63, 10**30):
        with pytest.raises(ValueError, match="time"):
            exchange.engine.query(Ticker(SYMBOL), time_ns)


def test_answers_change_nothing() -> None:
    """Not one byte of the state."""
    exchange = two_markets()
    before = exchange.engine.dump()
    queries: list[Query] = [AccountTrades(CAROL, SYMBOL), AccountOrders(CAROL, SYMBOL), Commission(CAROL, SYMBOL)]
    queries += [AccountDetails(CAROL), RecentTrades(SYMBOL), Ticker(SYMBOL), *(Candles(SYMBOL, ns) for ns in INTERVALS)]
    for query in queries:
        exchange.engine.query(query, exchange.time_ns + 10**15)
    assert exchange.engine.dump() == before
    exchange.engine.check()

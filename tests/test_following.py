"""What those who follow a book or an account are told, and how it is counted."""

import msgspec
import pytest

from book.commands import AdjustBalance, CreditDeposit, DefineMarket
from book.engine import Engine
from book.events import Rejected
from book.queries import AccountDetails, AccountDetailsView, BookChange, WholeBook
from book.terms import BUY, DECREMENT, SELL
from tests.exchange import ALICE, BOB, BTC_USDT, CAROL, SYMBOL, Exchange, amend, buy, cancel, ioc, sell

OTHER = "OTHER-USDT"


def changes(exchange: Exchange) -> list[BookChange]:
    """What changed since it was asked last."""
    return exchange.engine.take_changes()


def told(exchange: Exchange, *accounts: int) -> list[int]:
    """How many events these have been told."""
    return [exchange.engine.user_seq(account) for account in accounts]


def test_nobody_watches_at_first() -> None:
    """Without a watch nothing is noted, however much happens."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 1, 100))
    assert changes(exchange) == []


def test_changes_are_the_levels_as_they_are_now() -> None:
    """However often a level changed it is told once, with what stands there; the numbers say how often it was."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 5, 90))
    exchange.engine.watch([SYMBOL])
    exchange.place(buy(ALICE, 5, 100))
    exchange.place(buy(ALICE, 2, 101))
    exchange.place(buy(BOB, 3, 100))
    exchange.place(sell(BOB, 4, 110))
    assert changes(exchange) == [BookChange(SYMBOL, 2, 5, [(101, 2), (100, 8)], [(110, 4)])]
    assert changes(exchange) == []


def test_a_level_that_is_gone_has_no_lots() -> None:
    """By a cancel or by a trade, and also if nobody was ever told that it was there."""
    exchange = Exchange()
    exchange.engine.watch([SYMBOL])
    order, _ = exchange.place(buy(ALICE, 5, 100))
    changes(exchange)
    exchange.done(cancel(ALICE, order.order_id))
    assert changes(exchange) == [BookChange(SYMBOL, 2, 2, [(100, 0)], [])]
    exchange.place(sell(BOB, 1, 200))
    exchange.place(ioc(ALICE, BUY, 1, 200))
    assert changes(exchange) == [BookChange(SYMBOL, 3, 4, [], [(200, 0)])]


def test_every_way_to_change_a_level_is_told() -> None:
    """A fill of a part, an iceberg that comes forward, a reduction by its owner and by self-trade prevention."""
    exchange = Exchange()
    exchange.engine.watch([SYMBOL])
    order, _ = exchange.place(sell(ALICE, 10, 100, display_quantity=4))
    assert changes(exchange) == [BookChange(SYMBOL, 1, 1, [], [(100, 4)])]
    exchange.place(ioc(BOB, BUY, 1, 100))
    assert changes(exchange) == [BookChange(SYMBOL, 2, 2, [], [(100, 3)])]
    exchange.place(ioc(BOB, BUY, 3, 100))
    assert changes(exchange) == [BookChange(SYMBOL, 3, 4, [], [(100, 4)])]
    exchange.done(amend(ALICE, order.order_id, new_quantity=7))
    assert changes(exchange) == [BookChange(SYMBOL, 5, 5, [], [(100, 3)])]
    exchange.place(ioc(ALICE, BUY, 1, 100, self_trade=DECREMENT))
    assert changes(exchange) == [BookChange(SYMBOL, 6, 6, [], [(100, 2)])]


def test_a_watch_ends_and_begins_anew() -> None:
    """What happened in between is not told: the numbers show the gap."""
    exchange = Exchange()
    exchange.engine.watch([SYMBOL])
    exchange.place(buy(ALICE, 5, 100))
    exchange.engine.watch([])
    assert changes(exchange) == []
    exchange.place(buy(ALICE, 5, 101))
    exchange.engine.watch([SYMBOL])
    exchange.place(buy(ALICE, 5, 102))
    assert changes(exchange) == [BookChange(SYMBOL, 3, 3, [(102, 5)], [])]


def test_watching_again_loses_nothing() -> None:
    """To watch what is watched already changes nothing, and other markets are their own affair."""
    exchange = Exchange()
    other = msgspec.structs.replace(BTC_USDT, symbol=OTHER)
    exchange.done(DefineMarket(other))
    exchange.engine.watch([SYMBOL])
    exchange.place(buy(ALICE, 5, 100))
    exchange.engine.watch([SYMBOL, OTHER])
    exchange.done(buy(ALICE, 5, 101, symbol=OTHER))
    assert [(change.symbol, change.first_seq, change.seq) for change in changes(exchange)] == [
        (SYMBOL, 1, 1),
        (OTHER, 1, 1),
    ]


def test_a_watch_is_no_part_of_the_state() -> None:
    """The dump is the same with and without."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 5, 100))
    before = exchange.engine.dump()
    exchange.engine.watch([SYMBOL])
    assert exchange.engine.dump() == before


def test_the_whole_book_has_no_limit() -> None:
    """As the depth of more levels than a client may ask for; of an unknown market there is none."""
    exchange = Exchange(funds={"BTC": 10**15, "USDT": 10**17})
    for price in range(1, 901):
        exchange.engine.apply(buy(ALICE, 1, price), exchange.seq + price, exchange.time_ns)
    book = exchange.engine.query(WholeBook(SYMBOL))
    assert book == exchange.depth(5_000)
    assert exchange.engine.query(WholeBook("X-Y")) == exchange.engine.query(WholeBook("Y-X"))
    assert isinstance(exchange.engine.query(WholeBook("X-Y")), Rejected)


@pytest.mark.parametrize("restart", [False, True])
def test_each_event_and_the_balances_behind_them_count(restart: bool) -> None:
    """Entering is two; a trade that fills is two for its maker, and for a taker three; an end by cancel is two."""
    exchange = Exchange()
    if restart:
        exchange.restart()
    assert told(exchange, ALICE, BOB, CAROL) == [4, 4, 4]  # two deposits each
    order, _ = exchange.place(buy(ALICE, 5, 100))
    assert told(exchange, ALICE, BOB) == [6, 4]
    exchange.place(sell(BOB, 2, 100))
    assert told(exchange, ALICE, BOB) == [8, 7]
    exchange.done(cancel(ALICE, order.order_id))
    assert told(exchange, ALICE, BOB) == [10, 7]
    exchange.done(CreditDeposit("more", ALICE, "BTC", 5))
    exchange.done(AdjustBalance("case", BOB, "BTC", 5, "goodwill", "ann", "bob"))
    assert told(exchange, ALICE, BOB, CAROL) == [12, 8, 4]


def test_who_trades_with_oneself_is_told_both_sides() -> None:
    """Entering, two sides of the trade, and the balances."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 1, 100))
    before = exchange.engine.user_seq(ALICE)
    exchange.place(ioc(ALICE, SELL, 1, 100, self_trade=1))
    assert exchange.engine.user_seq(ALICE) == before + 4


def test_the_count_survives_a_dump() -> None:
    """It is state, and the account's details carry it."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 5, 100))
    loaded = Engine.load(exchange.engine.dump())
    assert loaded.user_seq(ALICE) == exchange.engine.user_seq(ALICE) == 6
    details = loaded.query(AccountDetails(ALICE))
    assert isinstance(details, AccountDetailsView)
    assert details.user_seq == 6


def test_a_count_below_what_is_remembered_is_no_state() -> None:
    """The audit holds both counts against what was seen to happen."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 5, 100))
    exchange.engine.state.accounts[ALICE].user_seq = 0
    with pytest.raises(AssertionError, match="told"):
        exchange.engine.check()
    other = Exchange()
    other.place(buy(ALICE, 5, 100))
    other.engine.state.markets[SYMBOL].book.seq = 0
    with pytest.raises(AssertionError, match="changes"):
        other.engine.check()

"""The engine as a whole: cancels, questions, sequence and time, memory of finished orders, replay."""

import msgspec
import pytest

from book import codes
from book.client_order_ids import FINISHED_IDS
from book.commands import CancelOrder, DefineAsset, DefineMarket, Tick
from book.compiled import COMPILED
from book.definitions import Asset, Market
from book.engine import Engine
from book.events import OrderView, Rejected
from book.history import FINISHED_ORDERS
from book.queries import Balances, Depth, Directory, DirectoryView, Info, InfoView, OpenOrders, OrderStatus, Query
from book.terms import BUY, CANCELED, EXPIRED, FILLED, MAX_INT, NEW, PARTIALLY_FILLED, SELL, TRADING
from tests.exchange import (
    ALICE,
    BOB,
    BTC_USDT,
    SYMBOL,
    Exchange,
    buy,
    cancel,
    cancel_all,
    closed,
    ioc,
    market,
    sell,
)

UNKNOWN = Rejected(codes.CANCEL_REJECTED, "UNKNOWN_ORDER")
NO_SUCH_ORDER = Rejected(codes.NO_SUCH_ORDER, "UNKNOWN_ORDER")
OTHER = Market("ETH-USDT", "ETH", "USDT", 1, 2, 100_000, 1, 10**6, 1, 1_000, 0, 0, 0, 1)


def two_markets() -> Exchange:
    """The usual exchange with a second market."""
    exchange = Exchange()
    exchange.done(DefineAsset(Asset("ETH", 9)))
    exchange.done(DefineMarket(OTHER))
    return exchange


@pytest.mark.parametrize("by_client_id", [False, True])
def test_an_order_is_cancelled_by_either_id(by_client_id: bool) -> None:
    """It is told as it ended, and its hold comes back."""
    exchange = Exchange()
    order, _ = exchange.place(buy(ALICE, 10, 100, client_order_id="mine"))
    events = exchange.done(cancel(ALICE, 0, "mine") if by_client_id else cancel(ALICE, order.order_id))
    ended = exchange.order(ALICE, order.order_id)
    assert closed(events) == [(order.order_id, CANCELED)]
    assert (ended.status, ended.created_ns, ended.updated_ns) == (CANCELED, order.created_ns, exchange.time_ns)
    assert exchange.balance(ALICE, "USDT").held == 0
    assert exchange.open_orders(ALICE) == []


def test_where_both_ids_are_given_both_must_fit() -> None:
    """A cancel that contradicts itself is not guessed at."""
    exchange = Exchange()
    order, _ = exchange.place(buy(ALICE, 10, 100, client_order_id="mine"))
    exchange.place(buy(ALICE, 10, 100, client_order_id="other"))
    assert exchange.refused(cancel(ALICE, order.order_id, "other")) == UNKNOWN
    assert exchange.refused(cancel(ALICE, order.order_id, "\ud800")) == UNKNOWN
    exchange.done(cancel(ALICE, order.order_id, "mine"))


@pytest.mark.parametrize("order_id", [0, 2, -1, MAX_INT, 2**63, -(2**63), 10**30])
def test_cancelling_an_unknown_id_touches_nothing(order_id: int) -> None:
    """Whatever the number, and whatever the text."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 10, 100))
    assert exchange.refused(cancel(ALICE, order_id)) == UNKNOWN
    for text in ("", "nothing", "\ud800", "x" * 100_000):
        assert exchange.refused(cancel(ALICE, 0, text)) == UNKNOWN


def test_cancelling_twice_touches_nothing_else() -> None:
    """The second one is refused, and the neighbours in the queue stand."""
    exchange = Exchange()
    for _ in range(3):
        exchange.place(buy(ALICE, 10, 100))
    exchange.done(cancel(ALICE, 2))
    assert exchange.refused(cancel(ALICE, 2)) == UNKNOWN
    assert exchange.open_orders(ALICE) == [1, 3]
    assert exchange.depth().bids == [(100, 20)]


def test_a_filled_order_cannot_be_cancelled() -> None:
    """Nor one that expired; by either id."""
    exchange = Exchange()
    exchange.place(sell(BOB, 10, 100, client_order_id="maker"))
    exchange.place(buy(ALICE, 10, 100, client_order_id="taker"))
    exchange.place(ioc(ALICE, BUY, 10, 100, client_order_id="expired"))
    for command in (
        cancel(BOB, 1),
        cancel(BOB, 0, "maker"),
        cancel(ALICE, 2),
        cancel(ALICE, 0, "taker"),
        cancel(ALICE, 3),
    ):
        assert exchange.refused(command) == UNKNOWN


def test_anothers_order_is_refused_as_not_found() -> None:
    """Cancel and status say no more of it than of none at all."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 10, 100, client_order_id="mine"))
    for command in (cancel(BOB, 1), cancel(BOB, 0, "mine"), cancel(BOB, 1, "mine")):
        assert exchange.refused(command) == UNKNOWN
    assert exchange.engine.query(OrderStatus(BOB, SYMBOL, 1)) == NO_SUCH_ORDER
    assert exchange.engine.query(OrderStatus(BOB, SYMBOL, 0, "mine")) == NO_SUCH_ORDER


def test_an_order_of_another_market_is_not_found_here() -> None:
    """The symbol is part of what is asked for, of live and of finished orders."""
    exchange = two_markets()
    exchange.place(buy(ALICE, 10, 100, client_order_id="mine"))
    elsewhere = CancelOrder(ALICE, 0, 0, "ETH-USDT", 1)
    assert exchange.refused(elsewhere) == UNKNOWN
    for _ in range(2):
        assert exchange.engine.query(OrderStatus(ALICE, "ETH-USDT", 1)) == NO_SUCH_ORDER
        assert exchange.engine.query(OrderStatus(ALICE, "ETH-USDT", 0, "mine")) == NO_SUCH_ORDER
        exchange.do(cancel(ALICE, 1))
    assert exchange.order(ALICE, 1).status == CANCELED


def test_cancel_all_goes_by_market_or_over_all_oldest_first() -> None:
    """Others' orders stay, and nothing to cancel is no error."""
    exchange = two_markets()
    for symbol in (SYMBOL, "ETH-USDT", SYMBOL, "ETH-USDT"):
        exchange.done(buy(ALICE, 10, 100, symbol=symbol))
    exchange.place(buy(BOB, 10, 100))
    assert closed(exchange.done(cancel_all(ALICE, "ETH-USDT"))) == [(2, CANCELED), (4, CANCELED)]
    exchange.done(buy(ALICE, 10, 200, symbol="ETH-USDT"))
    exchange.done(buy(ALICE, 10, 200))
    assert exchange.open_orders(ALICE) == [1, 3, 6, 7]
    assert exchange.open_orders(ALICE, SYMBOL) == [1, 3, 7]
    assert closed(exchange.done(cancel_all(ALICE))) == [(n, CANCELED) for n in (1, 3, 6, 7)]
    assert exchange.done(cancel_all(ALICE)) == []
    assert exchange.open_orders(BOB) == [5]


def test_a_crossing_order_that_fills_entirely_leaves_nothing_behind() -> None:
    """Neither in the book nor among the open orders, on either side."""
    exchange = Exchange()
    exchange.place(sell(BOB, 10, 100))
    order, _ = exchange.place(buy(ALICE, 10, 105))
    assert order.status == FILLED
    assert exchange.depth() == msgspec.structs.replace(exchange.depth(), bids=[], asks=[])
    assert exchange.open_orders(ALICE) == exchange.open_orders(BOB) == []


def test_status_finds_orders_live_and_finished_by_either_id() -> None:
    """As they stand, or as they ended."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 10, 100, client_order_id="live"))
    exchange.place(sell(BOB, 4, 100, client_order_id="done"))
    status = exchange.engine.query
    live = status(OrderStatus(ALICE, SYMBOL, 1))
    assert isinstance(live, OrderView)
    assert (live.status, live.executed, live.executed_quote) == (PARTIALLY_FILLED, 4, 400)
    assert status(OrderStatus(ALICE, SYMBOL, 0, "live")) == live
    ended = status(OrderStatus(BOB, SYMBOL, 2))
    assert isinstance(ended, OrderView)
    assert (ended.status, ended.executed) == (FILLED, 4)
    assert status(OrderStatus(BOB, SYMBOL, 0, "done")) == status(OrderStatus(BOB, SYMBOL, 2, "done")) == ended
    assert status(OrderStatus(BOB, SYMBOL, 2, "live")) == NO_SUCH_ORDER


@pytest.mark.parametrize("order_id", [0, 2, -1, 2**63, -(2**63), 10**30])
def test_status_of_no_order_is_an_answer(order_id: int) -> None:
    """Whatever is asked for."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 10, 100))
    assert exchange.engine.query(OrderStatus(ALICE, SYMBOL, order_id)) == NO_SUCH_ORDER
    assert exchange.engine.query(OrderStatus(ALICE, SYMBOL, 0, "\ud800")) == NO_SUCH_ORDER


def test_the_last_finished_orders_are_remembered() -> None:
    """A thousand of them can be asked for; ten thousand of their ids stay taken."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 1, 100, client_order_id="live"))
    engine, extra = exchange.engine, 3
    for number in range(FINISHED_IDS + extra):
        exchange.seq += 1
        engine.apply(ioc(ALICE, BUY, 1, 100, client_order_id=f"order-{number}"), exchange.seq, exchange.time_ns)
    last = FINISHED_IDS + extra + 1
    assert exchange.order(ALICE, last).status == EXPIRED
    assert exchange.order(ALICE, last - FINISHED_ORDERS + 1).status == EXPIRED
    assert engine.query(OrderStatus(ALICE, SYMBOL, last - FINISHED_ORDERS)) == NO_SUCH_ORDER
    assert engine.query(OrderStatus(ALICE, SYMBOL, 0, f"order-{extra}")) == NO_SUCH_ORDER
    assert exchange.refused(buy(ALICE, 1, 100, client_order_id=f"order-{extra}")).ref == extra + 2
    assert exchange.refused(buy(ALICE, 1, 100, client_order_id="live")).ref == 1
    exchange.place(buy(ALICE, 1, 100, client_order_id=f"order-{extra - 1}"))


@pytest.mark.parametrize("account", [4, -1, 2**63, 10**30])
def test_questions_about_an_unknown_account_are_refused(account: int) -> None:
    """Whatever the question."""
    engine = Exchange().engine
    questions: list[Query] = [Balances(account), OpenOrders(account), OrderStatus(account, SYMBOL, 1)]
    for question in questions:
        assert engine.query(question) == Rejected(codes.UNAUTHORIZED, "UNKNOWN_ACCOUNT", "account", account)


@pytest.mark.parametrize("symbol", ["ETH-USDT", "\ud800", "X" * 100_000])
def test_questions_about_an_unknown_market_are_refused(symbol: str) -> None:
    """Whatever the question."""
    engine = Exchange().engine
    questions: list[Query] = [Depth(symbol), OpenOrders(ALICE, symbol), OrderStatus(ALICE, symbol, 1)]
    for question in questions:
        assert engine.query(question) == Rejected(codes.BAD_SYMBOL, "", "symbol")


def test_depth_gives_as_many_levels_as_asked_for() -> None:
    """Best first; a limit out of range is refused with the bound."""
    exchange = Exchange()
    for price in (98, 99, 99, 97):
        exchange.place(buy(ALICE, 10, price))
    assert exchange.depth(2).bids == [(99, 20), (98, 10)]
    assert exchange.depth(5_000).bids == [(99, 20), (98, 10), (97, 10)]
    for limit in (0, -1, 5_001, 2**63, 10**30):
        assert exchange.engine.query(Depth(SYMBOL, limit)) == Rejected(
            codes.INVALID_PARAMETER, "", "limit", limit, 5_000
        )


def test_the_books_sequence_counts_its_changes() -> None:
    """Resting, each trade, a cancel; not what leaves the book as it was."""
    exchange = two_markets()
    exchange.place(buy(ALICE, 10, 100))
    exchange.place(buy(ALICE, 10, 101))
    assert exchange.depth().seq == 2
    exchange.place(ioc(BOB, SELL, 10, 102))
    exchange.refused(market(BOB, BUY, 10))
    assert exchange.depth().seq == 2
    exchange.place(sell(BOB, 15, 100))
    assert exchange.depth().seq == 4
    exchange.done(cancel(ALICE, 1))
    assert exchange.depth().seq == 5
    other = exchange.engine.query(Depth("ETH-USDT"))
    assert not isinstance(other, Rejected)
    assert other == msgspec.structs.replace(exchange.depth(), symbol="ETH-USDT", seq=0, bids=[], asks=[])


def test_info_says_where_the_engine_stands() -> None:
    """Sequence, time, digest and totals of the last command that took effect."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 10, 100))
    seq, time_ns = exchange.seq, exchange.time_ns
    exchange.refused(buy(ALICE, 0, 100))
    info = exchange.engine.query(Info())
    assert info == InfoView(
        seq, time_ns, exchange.engine.digest.value().hex(), COMPILED, exchange.engine.totals(), 4, 1
    )
    directory = exchange.engine.query(Directory())
    assert isinstance(directory, DirectoryView)
    assert [(row.state, row.open_orders) for row in directory.markets] == [(TRADING, 1)]


def test_answers_are_copies() -> None:
    """What was answered stays as it was, however the engine goes on."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 10, 100))
    depth, orders = exchange.depth(), exchange.engine.query(OpenOrders(ALICE))
    was = (msgspec.json.encode(depth), msgspec.json.encode(orders))
    exchange.done(cancel_all(ALICE))
    assert (msgspec.json.encode(depth), msgspec.json.encode(orders)) == was


def test_sequence_grows_and_time_does_not_go_back() -> None:
    """Whoever calls with an older one has a bug, and nothing changes; time may stand still, sequence may jump."""
    exchange = Exchange()
    engine, seq, time_ns = exchange.engine, exchange.seq, exchange.time_ns
    before = engine.dump()
    for bad_seq in (seq, seq - 1, 0, -1, 2**63, 10**30):
        with pytest.raises(ValueError, match="sequence"):
            engine.apply(Tick(), bad_seq, time_ns)
    for bad_time in (time_ns - 1, -1, MAX_INT, 2**63, 10**30):
        with pytest.raises(ValueError, match="time"):
            engine.apply(Tick(), seq + 1, bad_time)
    assert engine.dump() == before
    assert engine.apply(Tick(), seq + 50, time_ns) == []
    assert (engine.last_seq, engine.last_time_ns) == (seq + 50, time_ns)
    assert engine.apply(Tick(), MAX_INT, MAX_INT - 1) == []
    assert Engine.load(engine.dump()).dump() == engine.dump()


def test_a_refusal_takes_no_sequence_and_no_time() -> None:
    """The next command may have the number the refused one had."""
    exchange = Exchange()
    engine, seq, time_ns = exchange.engine, exchange.seq, exchange.time_ns
    assert isinstance(engine.apply(buy(ALICE, 0, 1), seq + 1, time_ns + 500), Rejected)
    assert (engine.last_seq, engine.last_time_ns) == (seq, time_ns)
    assert isinstance(engine.apply(buy(ALICE, 1, 1), seq + 1, time_ns + 400), list)


def test_order_ids_go_up_by_one_for_each_order_accepted() -> None:
    """They are unique in the exchange, over all markets; refused orders take none."""
    exchange = two_markets()
    ids = []
    for symbol in (SYMBOL, "ETH-USDT", SYMBOL):
        exchange.refused(buy(ALICE, 0, 100, symbol=symbol))
        exchange.done(buy(ALICE, 1, 100, symbol=symbol))
        ids.append(exchange.open_orders(ALICE)[-1])
    assert ids == [1, 2, 3]


def test_a_market_defined_later_starts_empty() -> None:
    """Its book, its trades and its orders are its own."""
    exchange = two_markets()
    exchange.place(sell(BOB, 10, 100))
    exchange.place(buy(ALICE, 10, 100))
    assert exchange.order(ALICE, 2).status == FILLED
    exchange.done(buy(ALICE, 5, 100, symbol="ETH-USDT"))
    view = exchange.engine.query(OrderStatus(ALICE, "ETH-USDT", 3))
    assert isinstance(view, OrderView)
    assert (view.status, view.symbol) == (NEW, "ETH-USDT")
    assert OTHER.base != BTC_USDT.base

"""Price levels and sides of the book: order of queues, best level, summaries, and what their checks find."""

from bisect import insort
from random import Random

import pytest

from book.accounts import AccountState
from book.definitions import Account
from book.order_book import SPARE, BookSide, OrderBook
from book.orders import Order, PriceLevel, Trader
from book.terms import BUY, GTC, LIMIT, SELL
from tests.counts import count, seeds
from tests.exchange import SYMBOL, Exchange

MARKETS = Exchange().engine.state.markets
TRADER = MARKETS[SYMBOL].trader(AccountState(Account(1, "alice")))
OTHER = MARKETS[SYMBOL].trader(AccountState(Account(2, "bob")))


def order(order_id: int, price: int = 100, quantity: int = 10, side: int = BUY, trader: Trader = TRADER) -> Order:
    """An order that could rest."""
    made = Order(trader, side, LIMIT, GTC, price, quantity, 0, False, str(order_id), 1, 0, 0, 0, 0, 0)
    made.order_id = order_id
    return made


def iceberg(order_id: int, quantity: int, display: int, price: int = 100, side: int = BUY) -> Order:
    """An order that shows so much of itself, as it comes to rest."""
    made = order(order_id, price, quantity, side)
    made.display_quantity = display
    made.hidden = max(0, quantity - display)
    return made


def traded(book: OrderBook, resting: Order, lots: int) -> None:
    """A resting order trades so many lots."""
    book.fill(resting, lots)
    resting.executed += lots


def reduced(book: OrderBook, resting: Order, lots: int) -> None:
    """A resting order wants so many lots less."""
    book.reduce(resting, lots)
    resting.quantity -= lots


def queue(level: PriceLevel | None) -> list[int]:
    """The ids of a level's orders, front first."""
    return [] if level is None else [order.order_id for order in level.orders()]


def filled_level() -> tuple[PriceLevel, list[Order]]:
    """Three orders at 100."""
    level = PriceLevel(100, 100)
    orders = [order(1), order(2), order(3)]
    for each in orders:
        level.append(each)
    return level, orders


@pytest.mark.parametrize(("leaving", "left"), [(0, [2, 3]), (1, [1, 3]), (2, [1, 2])])
def test_an_order_leaves_from_anywhere_in_the_queue(leaving: int, left: list[int]) -> None:
    """The others keep their order, and the summary follows."""
    level, orders = filled_level()
    level.remove(orders[leaving])
    assert queue(level) == left
    assert (level.count, level.quantity) == (2, 20)
    level.check()
    for each in level.orders():
        level.remove(each)
    level.check()
    assert (level.count, level.quantity, level.first, level.last) == (0, 0, None, None)


def test_ahead_of_counts_what_stands_before_a_traders_first_order() -> None:
    """Only lots in front of it count; without one of its own, all of them."""
    level = PriceLevel(100, 100)
    for each in (order(1, quantity=3), order(2, quantity=4), order(3, trader=OTHER), order(4)):
        level.append(each)
    assert level.ahead_of(OTHER, 99) == 7
    assert level.ahead_of(TRADER, 99) == 0
    assert level.ahead_of(Exchange().engine.state.markets[SYMBOL].trader(TRADER.account), 99) == 27
    assert level.ahead_of(OTHER, 3) == 3


def test_a_level_counts_what_is_shown_and_what_is_hidden_apart() -> None:
    """Whatever part of an iceberg stands in the queue."""
    level = PriceLevel(100, 100)
    first, second = iceberg(1, 10, 3), iceberg(2, 4, 4)
    level.append(first)
    level.append(second)
    assert (level.count, level.quantity, level.hidden) == (2, 7, 7)
    level.check()
    level.remove(first)
    assert (level.count, level.quantity, level.hidden) == (1, 4, 0)
    level.check()


def test_ahead_of_does_not_count_what_is_hidden() -> None:
    """It comes forward behind."""
    level = PriceLevel(100, 100)
    mine = order(3, trader=OTHER)
    for each in (iceberg(1, 10, 3), order(2, quantity=4), mine, iceberg(4, 10, 5)):
        level.append(each)
    assert level.ahead_of(OTHER, 99) == 7
    assert level.ahead_of(OTHER, 99, mine) == 12


@pytest.mark.parametrize("corruption", ["summary", "negative", "shows", "all"])
def test_a_levels_check_finds_what_is_hidden_wrongly(corruption: str) -> None:
    """A wrong sum, less than nothing, a part larger than what the order shows, an order that hides itself."""
    level = PriceLevel(100, 100)
    hiding = iceberg(1, 10, 3)
    level.append(hiding)
    level.check()
    match corruption:
        case "summary":
            level.hidden += 1
        case "negative":
            hiding.hidden, level.hidden, level.quantity = -1, -1, 11
        case "shows":
            hiding.display_quantity = 2
        case _:
            hiding.hidden, level.hidden, level.quantity = 10, 10, 0
    with pytest.raises(AssertionError):
        level.check()


@pytest.mark.parametrize("corruption", ["link", "level", "quantity", "count", "last", "price", "executed"])
def test_a_levels_check_finds_each_corruption(corruption: str) -> None:
    """A broken link, a wrong summary, and an order that has no place here do not pass."""
    level, orders = filled_level()
    level.check()
    match corruption:
        case "link":
            orders[1].before = None
        case "level":
            orders[1].level = None
        case "quantity":
            level.quantity += 1
        case "count":
            level.count -= 1
        case "last":
            level.last = orders[1]
        case "price":
            orders[1].price = 101
        case _:
            orders[1].executed = orders[1].quantity
            level.quantity -= orders[1].quantity
    with pytest.raises(AssertionError):
        level.check()


def test_the_best_bid_is_the_highest_and_the_best_ask_the_lowest() -> None:
    """Both sides list their levels best first."""
    book = OrderBook()
    for number, (side, price) in enumerate([(BUY, 98), (BUY, 99), (BUY, 97), (SELL, 103), (SELL, 101), (SELL, 102)]):
        book.add(order(number + 1, price, side=side))
    assert book.bids.depth(10) == [(99, 10), (98, 10), (97, 10)]
    assert book.asks.depth(2) == [(101, 10), (102, 10)]
    assert book.asks.depth(0) == []
    book.check()


def test_no_phantom_best_level_after_the_top_is_cancelled() -> None:
    """When the top empties, the next level is the best; when its price comes back, it is the best again."""
    side = BookSide(1)
    top, next_, last = order(1, 100), order(2, 99), order(3, 98)
    for each in (next_, top, last):
        side.add(each)
    side.remove(top)
    side.check()
    assert queue(side.best) == [2]
    side.remove(next_)
    assert queue(side.best) == [3]
    again = order(4, 100)
    side.add(again)
    side.check()
    assert queue(side.best) == [4]
    side.remove(again)
    side.remove(last)
    side.check()
    assert side.best is None
    assert side.depth(10) == []


def test_taking_less_than_all_keeps_the_place_and_taking_all_leaves_it() -> None:
    """A reduced order stands where it stood; what is reduced by everything is gone; each counts as a change."""
    book = OrderBook()
    first, second = order(1), order(2)
    book.add(first)
    book.add(second)
    book.reduce(first, 4)
    first.executed += 4
    assert queue(book.bids.best) == [1, 2]
    assert book.bids.depth(1) == [(100, 16)]
    book.check()
    book.reduce(first, 6)
    assert queue(book.bids.best) == [2]
    assert book.seq == 4
    book.check()


def test_a_part_that_has_traded_makes_room_for_the_next_behind_all_others() -> None:
    """Coming forward is a change of its own; the last part ends the order."""
    book = OrderBook()
    first, second = iceberg(1, 7, 3), order(2, quantity=4)
    book.add(first)
    book.add(second)
    assert book.bids.depth(1) == [(100, 7)]
    traded(book, first, 2)
    assert (queue(book.bids.best), book.bids.depth(1), book.seq) == ([1, 2], [(100, 5)], 3)
    traded(book, first, 1)
    assert (queue(book.bids.best), book.bids.depth(1), book.seq) == ([2, 1], [(100, 7)], 5)
    traded(book, second, 4)
    traded(book, first, 3)
    assert (queue(book.bids.best), book.bids.depth(1), book.seq) == ([1], [(100, 1)], 8)
    book.check()
    traded(book, first, 1)
    assert (book.bids.best, book.bids.depth(1), book.seq) == (None, [], 9)
    book.check()


def test_an_iceberg_comes_forward_at_once_where_it_is_alone() -> None:
    """Its level is never empty in between, and stays the best."""
    book = OrderBook()
    only = iceberg(1, 5, 2)
    book.add(only)
    level = book.bids.best
    for lots in (2, 2):
        traded(book, only, lots)
        assert book.bids.best is level
        book.check()
    assert book.bids.depth(1) == [(100, 1)]


@pytest.mark.parametrize("lots", [0, -1, 4, 10, 2**63, -(2**63), 10**30])
def test_no_more_than_what_is_shown_can_trade_at_once(lots: int) -> None:
    """Hidden lots have to come forward first; the caller has a bug, and nothing changes."""
    book = OrderBook()
    resting = iceberg(1, 10, 3)
    book.add(resting)
    with pytest.raises(AssertionError):
        book.fill(resting, lots)
    assert (book.seq, book.bids.depth(1), resting.hidden) == (1, [(100, 3)], 7)
    book.check()


def test_an_order_that_does_not_rest_cannot_trade() -> None:
    """It is on no level."""
    with pytest.raises(AssertionError):
        OrderBook().fill(order(1), 1)


@pytest.mark.parametrize(("lots", "shown", "hidden"), [(1, 3, 6), (7, 3, 0), (8, 2, 0), (9, 1, 0)])
def test_an_iceberg_that_is_reduced_loses_what_is_hidden_first(lots: int, shown: int, hidden: int) -> None:
    """In its place."""
    book = OrderBook()
    first, second = iceberg(1, 10, 3), order(2)
    book.add(first)
    book.add(second)
    reduced(book, first, lots)
    assert (book.bids.depth(1), first.hidden, queue(book.bids.best)) == ([(100, shown + 10)], hidden, [1, 2])
    book.check()
    reduced(book, first, 10 - lots)
    assert (queue(book.bids.best), book.seq) == ([2], 4)
    book.check()


@pytest.mark.parametrize("seed", seeds(4, 40))
def test_random_icebergs_agree_with_a_list(seed: int) -> None:
    """Each part in its turn, whatever comes, trades, shrinks and goes between."""
    random = Random(seed)
    book = OrderBook()
    line: list[tuple[Order, int]] = []  # with what each shows
    seq = 0
    for number in range(1, count(1_500, 15_000)):
        choice = random.random()
        place = random.randrange(len(line)) if line else 0
        if not line or choice < 0.25:
            quantity = random.randint(1, 12)
            new = iceberg(number, quantity, random.randint(1, quantity))
            book.add(new)
            line.append((new, new.display_quantity))
            seq += 1
        elif choice < 0.3:
            book.remove(line.pop(place)[0])
            seq += 1
        elif choice < 0.45:
            resting, shown = line[place]
            open_lots = resting.quantity - resting.executed
            lots = random.randint(1, open_lots)
            reduced(book, resting, lots)
            line[place : place + 1] = [(resting, min(shown, open_lots - lots))] if lots < open_lots else []
            seq += 1
        else:
            resting, shown = line.pop(0)
            lots = random.randint(1, shown)
            traded(book, resting, lots)
            left = resting.quantity - resting.executed
            seq += 2 if lots == shown and left else 1
            if lots < shown:
                line.insert(0, (resting, shown - lots))
            elif left:
                line.append((resting, min(resting.display_quantity, left)))
        book.check()
        assert queue(book.bids.best) == [resting.order_id for resting, _ in line]
        assert book.bids.depth(1) == ([(100, sum(shown for _, shown in line))] if line else [])
        assert book.seq == seq


@pytest.mark.parametrize("lots", [0, -1, 11, 2**63, -(2**63), 10**30])
def test_an_order_cannot_lose_what_it_does_not_have(lots: int) -> None:
    """Nothing, less than nothing and more than is open are bugs of the caller, and change nothing."""
    book = OrderBook()
    resting = order(1)
    book.add(resting)
    with pytest.raises(AssertionError):
        book.reduce(resting, lots)
    assert (book.seq, book.bids.depth(1)) == (1, [(100, 10)])
    book.check()


def test_an_order_that_does_not_rest_cannot_leave() -> None:
    """Removing twice is a bug of the caller, not a corruption."""
    book = OrderBook()
    resting = order(1)
    book.add(resting)
    book.reduce(resting, 10)
    with pytest.raises(AssertionError):
        book.reduce(resting, 10)
    with pytest.raises(AssertionError):
        book.bids.remove(resting)
    book.check()


def test_empty_levels_do_not_pile_up() -> None:
    """Orders that come and go at ever new prices leave a bounded number of empty levels, at the top or below it."""
    for prices in (range(1, 5_000), range(5_000, 1, -1)):
        side = BookSide(1)
        side.add(order(0, 3_000))
        for price in prices:
            passing = order(price, price)
            side.add(passing)
            side.remove(passing)
            assert len(side._levels) <= 2 * SPARE + 4
        side.check()
        assert side.depth(10) == [(3_000, 10)]


def test_a_side_of_5000_levels_is_taken_from_the_top() -> None:
    """Every next best is found when level after level empties."""
    side = BookSide(-1)
    orders = [order(price, price, side=SELL) for price in range(1, 5_001)]
    Random(7).shuffle(orders)
    for each in orders:
        side.add(each)
    for price in range(1, 5_001):
        best = side.best
        assert best is not None
        assert best.first is not None
        assert best.price == price
        side.remove(best.first)
    assert side.best is None
    side.check()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("seed", seeds(4, 40))
def test_a_random_side_agrees_with_a_sorted_list(seed: int, sign: int) -> None:
    """Whatever comes and goes, depth is what sorting all orders by price and arrival gives."""
    random = Random(seed)
    side = BookSide(sign)
    orders: list[Order] = []
    for number in range(count(600, 6_000)):
        if orders and random.random() < 0.45:
            side.remove(orders.pop(random.randrange(len(orders))))
        else:
            new = order(number + 1, random.choice((50, 100 + int(random.random() ** 3 * 200))), random.randint(1, 5))
            orders.append(new)
            side.add(new)
        side.check()
        expected: dict[int, int] = {}
        for each in sorted(orders, key=lambda one: -sign * one.price):
            expected[each.price] = expected.get(each.price, 0) + each.quantity
        assert side.depth(5) == list(expected.items())[:5]
    for level in side.each_level():
        assert queue(level) == [each.order_id for each in orders if each.price == level.price]


@pytest.mark.parametrize("corruption", ["best", "lost", "double", "key", "empty", "price"])
def test_a_sides_check_finds_each_corruption(corruption: str) -> None:
    """A wrong best, a lost level, an index with a price twice, a wrong key, a wrong count, a price of nothing."""
    side = BookSide(1)
    for number in range(1, 5):
        side.add(order(number, 100 + number))
    side.check()
    match corruption:
        case "best":
            side.best = side._levels[101]
        case "lost":
            del side._levels[101]
        case "double":
            insort(side._merits, 101)
        case "key":
            side._levels[500] = side._levels.pop(101)
        case "empty":
            side._empty = 1
        case _:
            side.add(order(9, 0))
    with pytest.raises(AssertionError):
        side.check()


def test_a_side_that_hoards_empty_levels_does_not_pass() -> None:
    """More empty levels than the bound allows are found."""
    side = BookSide(1)
    for price in range(1, 2 * SPARE + 5):
        side._levels[price] = PriceLevel(price, price)
        insort(side._merits, price)
        side._empty += 1
    with pytest.raises(AssertionError):
        side.check()


def test_a_crossed_book_does_not_pass() -> None:
    """A bid at the price of an ask should have traded."""
    book = OrderBook()
    book.add(order(1, 100, side=BUY))
    book.add(order(2, 101, side=SELL))
    book.check()
    book.add(order(3, 101, side=BUY))
    with pytest.raises(AssertionError):
        book.check()

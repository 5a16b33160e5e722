"""Price levels and sides of the book: order of queues, best level, summaries, and what their checks find."""

from bisect import insort
from random import Random

import pytest

from book.accounts import AccountState
from book.definitions import Account
from book.ledger import Balance
from book.order_book import SPARE, BookSide, OrderBook
from book.orders import Order, PriceLevel, Trader
from book.terms import BUY, GTC, LIMIT, SELL
from tests.counts import count, seeds

TRADER = Trader(AccountState(Account(1, "alice")), "BTC-USDT", Balance(), Balance(), 0, 0)
OTHER = Trader(AccountState(Account(2, "bob")), "BTC-USDT", Balance(), Balance(), 0, 0)


def order(order_id: int, price: int = 100, quantity: int = 10, side: int = BUY, trader: Trader = TRADER) -> Order:
    """An order that could rest."""
    made = Order(trader, side, LIMIT, GTC, price, quantity, 0, False, str(order_id), 1, 0, 0, 0, 0, 0)
    made.order_id = order_id
    return made


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
    assert level.ahead_of(OTHER) == 7
    assert level.ahead_of(TRADER) == 0
    assert level.ahead_of(Trader(TRADER.account, "ETH-USDT", Balance(), Balance(), 0, 0)) == 27


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

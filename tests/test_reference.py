"""The reference's own guards; what it answers is compared in tests/test_differential.py."""

from typing import cast

import pytest

from book import codes
from book.commands import Command, DefineMarket, Tick
from book.events import Event, Rejected
from book.queries import Acceptable, Info, JudgeOrder
from book.reference import ReferenceEngine
from book.terms import BUY, HALT, IOC, SELL, STOP_LOSS, STOP_LOSS_LIMIT, TAKE_PROFIT
from tests import wild
from tests.exchange import buy, cancel_all_after, fok, free, iceberg, ioc, replace, sell, state, stop, story, till


def traded() -> ReferenceEngine:
    """A reference with open orders on both sides of the first of the wild markets."""
    engine = ReferenceEngine()
    commands = [*wild.opening(), buy(1, 5, 99), sell(2, 5, 101)]
    for seq, command in enumerate(commands, start=1):
        assert isinstance(engine.apply(command, seq, 0), list)
    return engine


def test_it_passes_its_own_check() -> None:
    """Two orders that do not meet are in order."""
    traded().check()


def test_its_check_finds_a_unit_from_nowhere() -> None:
    """What is owned must have come in."""
    engine = traded()
    engine.state.give(1, "USDT", 1)
    with pytest.raises(AssertionError, match="came in"):
        engine.check()


def test_its_check_finds_an_order_that_is_not_covered() -> None:
    """What orders hold must be owned."""
    engine = traded()
    engine.state.open[0].quantity = 10**6
    with pytest.raises(AssertionError, match="holds more USDT"):
        engine.check()


def test_its_check_finds_orders_that_should_have_traded() -> None:
    """A book must not cross."""
    engine = traded()
    engine.state.open[0].worst = 101
    with pytest.raises(AssertionError, match="could trade"):
        engine.check()


def test_its_check_finds_an_order_with_nothing_left() -> None:
    """What rests can trade."""
    engine = traded()
    engine.state.open[0].executed = 5
    with pytest.raises(AssertionError, match="order 1 has 0 open"):
        engine.check()


def test_its_check_finds_an_order_in_two_places() -> None:
    """A stop that waits does not rest."""
    engine = traded()
    engine.state.open[0].waits = True
    with pytest.raises(AssertionError, match="order 1 is in 2 places"):
        engine.check()


def test_its_check_finds_a_triggered_order_that_has_not_entered() -> None:
    """Where the market trades, none is left behind."""
    engine = traded()
    order = engine.state.resting.pop()
    engine.state.triggered.append(order)
    with pytest.raises(AssertionError, match="order 2 has to enter"):
        engine.check()


def test_its_check_finds_an_order_that_cannot_rest() -> None:
    """What is taken at once or never is not in a book."""
    engine = traded()
    engine.state.open[0].time_in_force = IOC
    with pytest.raises(AssertionError, match="order 1 rests with 5 shown"):
        engine.check()


@pytest.mark.parametrize(("seq", "time_ns"), [(0, 5), (1, 5), (2**63, 5), (2, 4), (2, 2**63)])
def test_sequence_grows_and_time_does_not_go_back(seq: int, time_ns: int) -> None:
    """As in the engine itself."""
    engine = ReferenceEngine()
    engine.apply(Tick(), 1, 5)
    with pytest.raises(ValueError, match="does not grow"):
        engine.apply(Tick(), seq, time_ns)


def test_a_question_is_no_command() -> None:
    """Nor the other way round."""
    engine = ReferenceEngine()
    with pytest.raises(TypeError, match="Info is none of"):
        engine.apply(cast("Command", Info()), 1, 0)
    with pytest.raises(TypeError, match="Tick is none of"):
        engine.query(cast("Info", Tick()))


# --- By hand, from docs/engine.md -------------------------------------------------------------------------------------


class Exchange:
    """A reference with one market and three accounts that own enough, a millisecond from command to command."""

    def __init__(self, **changes: int) -> None:
        self.engine = ReferenceEngine()
        self.time_ms = 0
        for command in wild.opening():
            if not isinstance(command, DefineMarket):
                self._do(command)
        self._do(DefineMarket(free(**changes)))

    def tell(self, command: Command, *, later_ms: int = 1) -> list[str]:
        """What comes of it, in words."""
        self.time_ms += later_ms
        outcome = self._do(command)
        self.engine.check()
        return [outcome.reason] if isinstance(outcome, Rejected) else story(outcome)

    def _do(self, command: Command) -> list[Event] | Rejected:
        return self.engine.apply(command, self.engine.last_seq + 1, self.time_ms * 10**6)


def test_stops_enter_in_the_order_of_the_page() -> None:
    """Rising ones first, the lowest first, then falling ones, the highest first; what they trigger queues behind."""
    exchange = Exchange()
    waiting = [
        stop(2, BUY, STOP_LOSS, 1, 100),
        stop(3, BUY, STOP_LOSS, 1, 99),
        stop(3, SELL, STOP_LOSS, 1, 101),
        stop(2, SELL, STOP_LOSS, 1, 102),
        stop(3, SELL, TAKE_PROFIT, 1, 99),
        stop(2, BUY, STOP_LOSS, 1, 103),
    ]
    for order in (*waiting, sell(1, 1, 100), sell(1, 1, 101), sell(1, 9, 103), buy(1, 9, 95)):
        assert len(exchange.tell(order)) == 1
    assert exchange.tell(ioc(2, BUY, 1, 100)) == [
        *("accepted 11", "11 x 7: 1 at 100", "FILLED 7", "FILLED 11"),
        *("triggered 2", "2 x 8: 1 at 101", "FILLED 8", "FILLED 2"),
        *("triggered 5", "5 x 10: 1 at 95", "FILLED 5"),
        *("triggered 1", "1 x 9: 1 at 103", "FILLED 1"),
        *("triggered 4", "4 x 10: 1 at 95", "FILLED 4"),
        *("triggered 3", "3 x 10: 1 at 95", "FILLED 3"),
        *("triggered 6", "6 x 9: 1 at 103", "FILLED 6"),
    ]


def test_hidden_lots_come_forward_behind_the_others_and_count_for_all_or_nothing() -> None:
    """Except behind an order of one's own; one that is replaced is not in the way."""
    exchange = Exchange()
    exchange.tell(iceberg(1, SELL, 10, 100, 3))
    exchange.tell(sell(2, 4, 100))
    taken = exchange.tell(ioc(3, BUY, 8, 100))
    assert taken[1:] == ["3 x 1: 3 at 100", "3 x 2: 4 at 100", "FILLED 2", "3 x 1: 1 at 100", "FILLED 3"]
    exchange.tell(sell(3, 1, 100))
    assert exchange.tell(fok(3, BUY, 3, 100)) == ["FOK_UNFILLABLE"]
    assert exchange.tell(replace(4, fok(3, BUY, 7, 100))) == ["FOK_UNFILLABLE"]
    parts = ["5 x 1: 2 at 100", "5 x 1: 3 at 100", "5 x 1: 1 at 100"]
    assert exchange.tell(replace(4, fok(3, BUY, 6, 100))) == [
        *("CANCELED 4", "accepted 5", *parts, "FILLED 1", "FILLED 5")
    ]


def test_what_is_due_falls_due_in_the_order_of_its_times() -> None:
    """An order that expires, an account that leaves, a market that trades again; nothing else comes before that."""
    exchange = Exchange(reference_price=100, band=50_000, halt_ms=1_000)
    exchange.tell(sell(1, 1, 105))
    exchange.tell(sell(1, 1, 106))
    exchange.tell(till(exchange.time_ms + 300, sell(1, 1, 120)))
    exchange.tell(stop(2, BUY, STOP_LOSS_LIMIT, 1, 105, 110))
    until_ns = (exchange.time_ms + 1 + 1_000) * 10**6
    taken = exchange.tell(ioc(3, BUY, 5, 200))
    assert taken == ["accepted 5", "5 x 1: 1 at 105", "FILLED 1", f"HALT until {until_ns}", "EXPIRED 5"]
    exchange.tell(cancel_all_after(1, 500))
    with pytest.raises(ValueError, match="a tick comes first"):
        exchange.engine.apply(buy(1, 1, 90), 10**6, until_ns)
    assert exchange.tell(Tick(), later_ms=2_000) == [
        *("EXPIRED 3", "cancel all of 1 never", "CANCELED 2", "TRADING", "triggered 4")
    ]
    assert exchange.engine.next_due_ns == 0


def test_an_order_is_judged_without_being_placed() -> None:
    """As it would be now, by the market's state too."""
    exchange = Exchange()
    question = JudgeOrder(buy(1, 1, 100))
    assert exchange.engine.query(question) == Acceptable()
    assert exchange.tell(state(HALT)) == ["HALT"]
    assert exchange.engine.query(question, 10**18) == Rejected(codes.ORDER_REJECTED, "MARKET_CLOSED", "state", HALT)
    assert exchange.engine.state.open == []

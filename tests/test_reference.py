"""The reference's own guards; what it answers is compared in tests/test_differential.py."""

from typing import cast

import pytest

from book.commands import Command, Tick
from book.queries import Info
from book.reference import ReferenceEngine
from tests import wild
from tests.exchange import buy, sell


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

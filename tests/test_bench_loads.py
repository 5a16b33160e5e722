"""The benchmarks' loads: what they say they are, and the same every time."""

from collections import Counter
from random import Random

import pytest

from bench import loads
from bench.loads import Load, Recording
from bench.workload import Mixes, markets, opening
from book.commands import CancelOrder, DefineAsset, DefineMarket, PlaceOrder
from book.engine import Engine
from book.events import Rejected, Trade
from book.queries import Info, InfoView
from book.terms import FOK

SMALL = {
    "mix": lambda: loads.mix(1, 50, 500, resting=100),
    "mix of 3 markets": lambda: loads.mix(3, 50, 500, resting=100),
    "add only": lambda: loads.add_only(200),
    "cancel storm": lambda: loads.cancel_storm(200),
    "sweeps": lambda: loads.sweeps(210),
    "one sweep": lambda: loads.one_sweep(100),
}


def applied(load: Load) -> tuple[Engine, Counter[str], list[Rejected]]:
    """The engine afterwards; the measured commands' events, counted; and what was refused of all."""
    engine, events, refusals = Engine(), Counter[str](), list[Rejected]()
    for seq, command in enumerate([*load.before, *load.commands], 1):
        outcome = engine.apply(command, seq, seq)
        if isinstance(outcome, Rejected):
            refusals.append(outcome)
        elif seq > len(load.before):
            events.update(type(event).__name__ for event in outcome)
    engine.check()
    return engine, events, refusals


def open_orders(engine: Engine) -> int:
    """Of all accounts and markets."""
    info = engine.query(Info())
    assert isinstance(info, InfoView)
    return info.open_orders


@pytest.mark.parametrize("name", SMALL)
def test_a_load_is_the_same_every_time(name: str) -> None:
    """The same commands, so the same state; and the shares say all that is measured."""
    first, second = SMALL[name](), SMALL[name]()
    assert first == second
    assert applied(first)[0].state_hash() == applied(second)[0].state_hash()
    assert sum(first.shares.values()) == pytest.approx(1)


@pytest.mark.parametrize("name", SMALL)
def test_only_orders_for_all_or_nothing_are_refused(name: str) -> None:
    """Nobody runs dry, no name comes twice, no order is asked for that is gone."""
    assert {refusal.reason for refusal in applied(SMALL[name]())[2]} <= {"FOK_UNFILLABLE"}


def test_the_mix_keeps_its_book_full() -> None:
    """Before the measured commands and after them about as many orders rest as are to."""
    engine, events, _ = applied(loads.mix(1, 50, 2_000, resting=200))
    assert open_orders(engine) == pytest.approx(200, rel=0.1)
    assert events["Trade"] > 20


def test_the_mix_of_many_markets_is_for_all_of_them() -> None:
    """Each command is for any market, and the actions of all are counted together."""
    all_markets, recording = markets(7), Recording()
    recording.apply_all(opening(all_markets, range(1, 11)))
    source = Mixes(Random(1), all_markets, range(1, 11), 20)
    asked = Counter[str]()
    for _ in range(300):
        command = source.command()
        asked[command.symbol] += 1
        source.heard(recording.apply(command))
    assert asked.keys() == {market.symbol for market in all_markets}
    assert source.actions.total() == 300


def test_markets_share_as_few_assets_as_can_be() -> None:
    """A hundred markets are different pairs out of fifteen assets."""
    commands = opening(markets(100), range(0))
    assert sum(isinstance(command, DefineAsset) for command in commands) == 15
    symbols = {command.market.symbol for command in commands if isinstance(command, DefineMarket)}
    assert len(symbols) == 100


def test_adding_only_adds() -> None:
    """All measured orders rest."""
    engine, events, _ = applied(loads.add_only(200))
    assert open_orders(engine) == 200
    assert events == {"OrderAccepted": 200}


def test_a_cancel_storm_leaves_nothing() -> None:
    """Every open order is cancelled, by either id."""
    load = loads.cancel_storm(200)
    engine, events, _ = applied(load)
    assert open_orders(engine) == 0
    assert events == {"OrderClosed": 200}
    assert {bool(command.order_id) for command in load.commands if isinstance(command, CancelOrder)} == {
        True,
        False,
    }


def test_sweeps_take_what_they_placed() -> None:
    """From both sides, and nothing is left."""
    engine, events, _ = applied(loads.sweeps(210))
    assert open_orders(engine) == 0
    assert events["Trade"] == 200


def test_one_sweep_is_one_command() -> None:
    """As many trades as levels, each at its own price."""
    load = loads.one_sweep(100)
    engine = Engine()
    for seq, command in enumerate(load.before, 1):
        engine.apply(command, seq, seq)
    (sweep,) = load.commands
    outcome = engine.apply(sweep, len(load.before) + 1, len(load.before) + 1)
    assert isinstance(outcome, list)
    assert len({event.price for event in outcome if isinstance(event, Trade)}) == 100


def test_kinds_tell_a_move_from_a_reduction() -> None:
    """Every command of the mix has a word, and orders say how long they are in force."""
    kinds = Counter(loads.kind(command) for command in loads.mix(1, 50, 2_000, resting=100).commands)
    assert kinds.keys() >= {"place GTC", "place IOC", "cancel", "move", "reduce"}
    assert loads.kind(PlaceOrder(1, 0, 0, "A", 1, 1, FOK, 1, 1)) == "place FOK"

"""The engine under all commands there are, wild ones too: audited, dumped, replayed, judged, held to its word."""

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from random import Random

import pytest

from book.commands import CancelOrder, Command, DefineMarket, PlaceOrder, ReplaceOrder, Tick
from book.engine import Engine
from book.events import (
    Event,
    MarketStateChanged,
    OrderAccepted,
    OrderClosed,
    OrderTriggered,
    OrderView,
    Rejected,
    Trade,
)
from book.orders import Order
from book.queries import Acceptable, JudgeOrder
from book.terms import EXPIRED, FILLED, TRADING
from tests.counts import count, seeds
from tests.wild import PITS, Wild, opening

START_NS = 1_700_000_000_000_000_000
STEPS_NS = [*(0, 1, 1_000, 10**6, 10**9) * 20, 10**10, 10**12]

Log = list[tuple[Command, int]]


@cache
def history(seed: int, steps: int) -> Log:
    """A log of wild commands with their times, refused ones too, after the opening; ticks where something is due."""
    random = Random(seed)
    engine, source, time_ns = Engine(), Wild(random), START_NS
    log: Log = []

    def apply(command: Command) -> None:
        log.append((command, time_ns))
        outcome = engine.apply(command, len(log), time_ns)
        if not isinstance(outcome, Rejected):
            source.heard(outcome)

    for command in opening():
        apply(command)
    for _ in range(steps):
        time_ns += random.choice(STEPS_NS)
        command = source.command(time_ns)
        if 0 < engine.next_due_ns <= time_ns and not isinstance(command, Tick):
            apply(Tick())
        apply(command)
    return log


def replay(log: Log) -> str:
    """State hash and digest of an engine that applied all this."""
    engine = Engine()
    for seq, (command, time_ns) in enumerate(log, start=1):
        outcome = engine.apply(command, seq, time_ns)
        if not isinstance(outcome, Rejected):
            engine.digest.update(outcome)
    return f"{engine.state_hash().hex()} {engine.digest.value().hex()}"


@pytest.mark.parametrize("seed", seeds(4, 40))
def test_any_commands_leave_a_valid_state(seed: int) -> None:
    """Every step passes the audit, a refusal changes nothing, what is due is in the future."""
    engine = Engine()
    accepted = refused = 0
    for seq, (command, time_ns) in enumerate(history(seed, count(600, 6_000)), start=1):
        before = engine.dump()
        outcome = engine.apply(command, seq, time_ns)
        engine.check()
        assert not 0 < engine.next_due_ns <= engine.last_time_ns
        if isinstance(outcome, Rejected):
            refused += 1
            assert engine.dump() == before
        else:
            accepted += 1
    assert min(accepted, refused) > 100


@pytest.mark.parametrize("seed", seeds(3, 40))
def test_an_engine_loaded_from_a_dump_goes_on_alike(seed: int) -> None:
    """Whatever waits, hides, is triggered or is due, the loaded one does as the one that never stopped."""
    engine, copied = Engine(), Engine()
    random = Random(seed)
    for seq, (command, time_ns) in enumerate(history(seed + 1_000, count(600, 3_000)), start=1):
        if random.random() < 0.1:
            data = copied.dump()
            copied = Engine.load(data)
            assert copied.dump() == data
        outcomes = [each.apply(command, seq, time_ns) for each in (engine, copied)]
        assert outcomes[0] == outcomes[1]
        assert engine.next_due_ns == copied.next_due_ns
    assert engine.state_hash() == copied.state_hash()


def test_a_log_gives_the_same_state_in_any_process() -> None:
    """State hash and digest depend neither on the process nor on how Python hashes strings in it."""
    program = "from tests.test_engine_wild import history, replay; print(replay(history(5, 400)))"
    environment = {**os.environ, "PYTHONHASHSEED": "4242"}
    there = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True, text=True)
    assert there.stdout.strip() == replay(history(5, 400))


@pytest.mark.parametrize("seed", seeds(3, 40))
def test_an_order_is_judged_as_it_would_be_placed(seed: int) -> None:
    """The question gets the very answer of the command, and leaves no trace."""
    engine = Engine()
    acceptable = refused = 0
    for seq, (command, time_ns) in enumerate(history(seed + 2_000, count(800, 6_000)), start=1):
        if isinstance(command, PlaceOrder):
            before = engine.dump()
            answer = engine.query(JudgeOrder(command), time_ns)
            assert engine.dump() == before
            outcome = engine.apply(command, seq, time_ns)
            if isinstance(outcome, Rejected):
                refused += 1
                assert answer == outcome
            else:
                acceptable += 1
                assert answer == Acceptable()
        else:
            engine.apply(command, seq, time_ns)
    assert min(acceptable, refused) > 50


@pytest.mark.parametrize("seed", seeds(3, 40))
def test_a_replacement_is_a_cancel_and_a_placement_or_nothing(seed: int) -> None:
    """Whatever kind of order takes the place of whatever other: as the two one after the other, but for its name."""
    engine, random = Engine(), Random(seed)
    replaced = refused = 0
    for seq, (command, time_ns) in enumerate(history(seed + 3_000, count(800, 4_000)), start=1):
        mine = [order for order in engine.state.orders.values() if _could_replace(command, order)]
        if not mine or (0 < engine.next_due_ns <= time_ns):
            engine.apply(command if not 0 < engine.next_due_ns <= time_ns else Tick(), 2 * seq, time_ns)
            continue
        assert isinstance(command, PlaceOrder)
        leaving = random.choice(mine)
        copied = Engine.load(engine.dump())
        account, symbol = leaving.trader.account.number, leaving.trader.symbol
        canceled = copied.apply(CancelOrder(account, 0, 0, symbol, leaving.order_id), 2 * seq - 1, time_ns)
        placed = copied.apply(command, 2 * seq, time_ns)
        outcome = engine.apply(ReplaceOrder(leaving.order_id, "", command), 2 * seq, time_ns)
        assert isinstance(canceled, list)
        if isinstance(placed, Rejected):
            refused += 1
            assert outcome == placed
        else:
            replaced += 1
            assert outcome == canceled + placed
            copied.state.accounts[account].user_seq -= 1  # of one command the balances are told once
            assert engine.dump() == copied.dump()
        engine.check()
    assert min(replaced, refused) > 20


def _could_replace(command: Command, order: Order) -> bool:
    return (
        isinstance(command, PlaceOrder)
        and command.account == order.trader.account.number
        and command.symbol == order.trader.symbol
        and 0 <= command.session < 2**63
        and not (command.key or command.timestamp)
    )


class Witness:
    """Whoever hears the events only, and holds the engine to what docs/engine.md says of them."""

    def __init__(self) -> None:
        self.states: dict[str, int] = {}
        self.markets = {pit.market.symbol: pit.market for pit in PITS}
        self.last_prices: dict[str, int] = {}
        self.open: dict[int, OrderView] = {}
        self.waiting: set[int] = set()
        self.seen = 0

    def hear(self, command: Command, events: list[Event]) -> None:
        """What came of one command."""
        begin = dict(self.last_prices)
        for event in events:
            match event:
                case OrderAccepted(order):
                    assert order.order_id not in self.open
                    self.open[order.order_id] = order
                    if order.stop_price:
                        self.waiting.add(order.order_id)
                case OrderTriggered(order):
                    self._triggered(order)
                case OrderClosed(order):
                    self._closed(order)
                case Trade():
                    self._traded(event, begin)
                case MarketStateChanged(symbol, state, _):
                    self.states[symbol] = state
        if isinstance(command, DefineMarket):
            self.markets[command.market.symbol] = command.market

    def _triggered(self, order: OrderView) -> None:
        assert self.states.get(order.symbol, TRADING) == TRADING
        self.waiting.remove(order.order_id)
        assert order.executed == 0
        self.seen += 1

    def _closed(self, order: OrderView) -> None:
        del self.open[order.order_id]
        self.waiting.discard(order.order_id)
        assert order.executed <= order.quantity or order.quote_quantity
        if order.status == FILLED and not order.quote_quantity:
            assert order.executed == order.quantity
        if order.status == EXPIRED and order.quote_quantity == 0:
            assert order.executed < order.quantity

    def _traded(self, trade: Trade, begin: dict[str, int]) -> None:
        assert self.states.get(trade.symbol, TRADING) == TRADING
        assert trade.quantity > 0
        assert trade.maker_fee + trade.taker_fee >= 0
        assert not {trade.maker_order_id, trade.taker_order_id} & self.waiting
        market = self.markets[trade.symbol]
        middle = begin.get(trade.symbol, 0) or market.reference_price
        if market.band and middle:
            assert abs(trade.price - middle) <= middle * market.band // 10**6
        self.last_prices[trade.symbol] = trade.price


def _heard(log: Log) -> Iterator[tuple[Engine, Witness]]:
    engine, witness = Engine(), Witness()
    for seq, (command, time_ns) in enumerate(log, start=1):
        outcome = engine.apply(command, seq, time_ns)
        if not isinstance(outcome, Rejected):
            witness.hear(command, outcome)
        yield engine, witness


@pytest.mark.parametrize("seed", seeds(4, 40))
def test_the_events_alone_tell_what_is_open_and_keep_the_rules(seed: int) -> None:
    """No trade outside of trading or beyond the band, no order that trades before it is triggered or ends twice."""
    for engine, witness in _heard(history(seed + 4_000, count(1_500, 10_000))):
        assert witness.open.keys() == engine.state.orders.keys()
        assert witness.states == {
            symbol: market.state for symbol, market in engine.state.markets.items() if symbol in witness.states
        }
    assert witness.seen > 1

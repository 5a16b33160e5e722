"""What engines are measured with: each load is what comes before, and the commands that are measured.

The commands are made beforehand, against a live engine, for most of them depend on what came of those before. They are
the same at every run.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random
from typing import Final

from attrs import frozen

from bench.workload import Mix, Mixes, markets, opening
from book.commands import AmendOrder, CancelOrder, Command, PlaceOrder
from book.engine import Engine
from book.events import Event, OrderAccepted
from book.terms import BUY, GTC, IOC, LIMIT, SELL, TIMES_IN_FORCE

PRICE: Final = 1_000_000  # around which the loads but the mixes trade
SWEPT: Final = 20  # orders that one of the sweep-heavy load takes


@frozen
class Load:
    """`before` is applied unmeasured, then `commands` measured; at least `goal` a second are wanted, if that is known.

    `shares` says what the commands are, each a part of one.
    """

    name: str
    before: Sequence[Command]
    commands: Sequence[Command]
    shares: dict[str, float]
    goal: int | None = None


class Recording:
    """An engine that remembers what it was given."""

    def __init__(self) -> None:
        self.engine: Final = Engine()
        self.commands: list[Command] = []

    def apply(self, command: Command) -> list[Event]:
        """What came of it; nothing if it was refused."""
        self.commands.append(command)
        number = len(self.commands)
        events = self.engine.apply(command, number, number)
        return events if isinstance(events, list) else []

    def apply_all(self, commands: Iterable[Command]) -> list[int]:
        """The ids of the orders that were accepted."""
        accepted: list[int] = []
        for command in commands:
            accepted += [event.order.order_id for event in self.apply(command) if isinstance(event, OrderAccepted)]
        return accepted


def kind(command: Command) -> str:
    """What a command does, in a word or two."""
    if isinstance(command, PlaceOrder):
        return f"place {TIMES_IN_FORCE[command.time_in_force]}"
    if isinstance(command, AmendOrder):
        return "move" if command.new_price else "reduce"
    return "cancel" if isinstance(command, CancelOrder) else type(command).__name__


def mix(number: int, users: int, count: int, *, resting: int = 1_000, goal: int | None = None, seed: int = 1) -> Load:
    """exchange-core's mix over `number` markets of `resting` orders each."""
    accounts, all_markets, random = range(1, users + 1), markets(number), Random(seed)
    recording = Recording()
    recording.apply_all(opening(all_markets, accounts))
    if number == 1:
        source: Mix | Mixes = Mix(random, all_markets[0], accounts, resting)
    else:
        source = Mixes(random, all_markets, accounts, resting)
    while not source.filled:
        source.heard(recording.apply(source.command()))
    filled, before = len(recording.commands), Counter(source.actions)
    for _ in range(count):
        source.heard(recording.apply(source.command()))
    actions = source.actions - before
    name = f"mix: {number} market{'s' * (number > 1)}, {users:,} users, {number * resting:,} orders"
    shares = {action: times / count for action, times in actions.most_common()}
    return Load(name, recording.commands[:filled], recording.commands[filled:], shares, goal)


class OneMarket(Recording):
    """A market with a thousand users and one who only takes. `begin` says where the measured commands begin."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        (market,) = markets(1)
        self.symbol: Final = market.symbol
        self.random: Final = Random(seed)
        self.apply_all(opening([market], range(1, 1_001)))
        self.begin = len(self.commands)
        self._named = 0

    def load(self, name: str) -> Load:
        """All that was applied, the commands since `begin` to be measured."""
        commands = self.commands[self.begin :]
        kinds = Counter(kind(command) for command in commands)
        shares = {word: times / len(commands) for word, times in kinds.most_common()}
        return Load(name, self.commands[: self.begin], commands, shares)

    def order(self, side: int, price: int, *, quantity: int = 1, in_force: int = GTC) -> PlaceOrder:
        """An order of any user; if it takes, of the first, who has none that rest."""
        self._named += 1
        account = self.random.randint(2, 1_000) if in_force == GTC else 1
        name = f"{self.symbol}-{self._named}"
        return PlaceOrder(account, 0, 0, self.symbol, side, LIMIT, in_force, quantity, price, client_order_id=name)

    def resting(self, count: int) -> list[PlaceOrder]:
        """So many orders on both sides that do not meet."""
        orders: list[PlaceOrder] = []
        for _ in range(count):
            side, away = self.random.choice((BUY, SELL)), self.random.randint(1, 10_000)
            price = PRICE - away if side == BUY else PRICE + away
            orders.append(self.order(side, price, quantity=self.random.randint(1, 99)))
        return orders

    def ladder(self, side: int, levels: int) -> list[PlaceOrder]:
        """An order on each of so many levels, and one of this side that takes them all."""
        makers, step = (SELL, 1) if side == BUY else (BUY, -1)
        orders = [self.order(makers, PRICE + step * level) for level in range(levels)]
        return [*orders, self.order(side, PRICE + step * levels, quantity=levels, in_force=IOC)]


def add_only(count: int, *, seed: int = 1) -> Load:
    """Orders that rest: a book that only grows."""
    recording = OneMarket(seed)
    recording.apply_all(recording.resting(count))
    return recording.load("add only")


def cancel_storm(count: int, *, seed: int = 1) -> Load:
    """All of a book is cancelled, in no order; every other one by the client's id."""
    recording = OneMarket(seed)
    orders = recording.resting(count)
    placed = list(zip(recording.apply_all(orders), orders, strict=True))
    recording.begin = len(recording.commands)
    recording.random.shuffle(placed)
    for index, (order_id, order) in enumerate(placed):
        by = (order_id, "") if index % 2 else (0, order.client_order_id)
        recording.apply(CancelOrder(order.account, 0, 0, order.symbol, *by))
    return recording.load("cancel storm")


def sweeps(count: int, *, seed: int = 1) -> Load:
    """`SWEPT` orders rest, each at a price of its own, and one takes them all; again and again, from both sides."""
    recording = OneMarket(seed)
    for number in range(count // (SWEPT + 1)):
        recording.apply_all(recording.ladder((BUY, SELL)[number % 2], SWEPT))
    return recording.load(f"sweeps of {SWEPT} levels")


def one_sweep(levels: int) -> Load:
    """One command that takes so many levels of one order each."""
    recording = OneMarket(1)
    recording.apply_all(recording.ladder(BUY, levels))
    recording.begin = len(recording.commands) - 1
    return recording.load(f"a sweep of {levels:,} levels")

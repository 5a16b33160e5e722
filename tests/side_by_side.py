"""Two engines that are given the same commands and asked the same questions, and must never differ."""

from collections import Counter
from random import Random
from typing import Final

import msgspec
import pytest

from book.codes import CODE_NAMES
from book.commands import Command, Tick
from book.engine import Engine
from book.events import Adjusted, Event, MarketStateChanged, OrderClosed, OrderTriggered, Rejected, Trade
from book.queries import (
    AccountDetails,
    AccountOrders,
    AccountTrades,
    AccountWithdrawals,
    AddressesSince,
    Balances,
    BookChange,
    Candles,
    Depth,
    DepthView,
    Directory,
    DirectoryView,
    Info,
    InfoView,
    OpenOrders,
    Outbox,
    PendingWithdrawals,
    Query,
    RecentTrades,
    Ticker,
    WholeBook,
)
from book.reference import ReferenceEngine
from book.reference_questions import CANDLES_KEPT, INTERVALS, KEPT
from book.terms import MARKET_STATES, ORDER_STATES, ORDER_TYPES, TRADING
from tests.wild import Wild, opening

START_NS: Final = 1_700_000_000_000_000_000
WHOLE_BOOK: Final = 5_000  # levels

# From command to command. With even steps much is due at the same time.
ODD_STEPS_NS: Final = [*(0, 1, 1_000, 10**6, 10**9) * 20, 10**10, 10**12, 10**14]
EVEN_STEPS_NS: Final = [*(0, 0, 0, 5 * 10**8) * 25, 10**10, 10**12, 10**14]


class Difference(AssertionError):  # noqa: N818 -- what the comparison is for, not an error in it
    """The engines do not agree."""


class Followed:
    """A book as one has it who was told all changes."""

    def __init__(self, seq: int, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> None:
        self.seq = seq
        self._bids = dict(bids)
        self._asks = dict(asks)

    @classmethod
    def of(cls, book: DepthView) -> "Followed":
        """From here on."""
        return cls(book.seq, book.bids, book.asks)

    def apply(self, change: BookChange) -> None:
        """Let the book be as it was told; a change must go on where the last one ended."""
        assert change.first_seq == self.seq + 1, f"{change} behind {self.seq}"
        self.seq = change.seq
        for side, levels in ((self._bids, change.bids), (self._asks, change.asks)):
            for price, lots in levels:
                side[price] = lots
                if not lots:
                    del side[price]

    def view(self, symbol: str) -> DepthView:
        """As it would be answered."""
        bids, asks = sorted(self._bids.items(), reverse=True), sorted(self._asks.items())
        return DepthView(symbol, self.seq, bids, asks)


class SideBySide:
    """The fast engine and its reference. `met` counts what came of the commands, in words."""

    def __init__(self) -> None:
        self.fast: Final = Engine()
        self.reference: Final = ReferenceEngine()
        self.met: Counter[str] = Counter()
        self.time_ns = START_NS
        self._seq = 0
        self._followed: dict[str, Followed] = {}

    def do(self, command: Command, *, later_ns: int = 1_000) -> list[Event]:
        """Apply a command to both; what came of it and of what was due before it, nothing if it was refused.

        Raises:
            Difference: they do not agree on it in every field.
        """
        self.time_ns += later_ns
        if 0 < self.due_ns <= self.time_ns and not isinstance(command, Tick):
            self._refuse_late(command)
            return self._apply(Tick()) + self._apply(command)
        return self._apply(command)

    @property
    def due_ns(self) -> int:
        """When a tick has something to do; 0: never.

        Raises:
            Difference: they do not agree.
        """
        fast, reference = self.fast.next_due_ns, self.reference.next_due_ns
        if fast != reference:
            raise Difference(f"due next\nfast:      {fast}\nreference: {reference}")
        return fast

    def _apply(self, command: Command) -> list[Event]:
        seq = self._seq + 1
        fast = self.fast.apply(command, seq, self.time_ns)
        reference = self.reference.apply(command, seq, self.time_ns)
        if fast != reference:
            raise Difference(f"{command}\nfast:      {fast}\nreference: {reference}")
        if isinstance(fast, Rejected):
            self.met[f"{CODE_NAMES[fast.code]} {fast.reason}: {fast.field}"] += 1
            return []
        self._seq = seq
        self.fast.digest.update(fast)
        self.reference.digest.update(fast)
        self.met.update(what_came(fast))
        return fast

    def _refuse_late(self, command: Command) -> None:
        for engine in (self.fast, self.reference):
            with pytest.raises(ValueError, match="due"):
                engine.apply(command, self._seq + 1, self.time_ns)

    def refuse_type(self, command: Command) -> None:
        """Apply a command that is not well typed, to both.

        Raises:
            Difference: one of them took it.
        """
        for engine in (self.fast, self.reference):
            try:
                outcome = engine.apply(command, self._seq + 1, self.time_ns)
            except TypeError:
                continue
            raise Difference(f"{command}\n{type(engine).__name__}: {outcome}")

    def ask(self, query: Query) -> None:
        """Ask both the same.

        Raises:
            Difference: they do not answer the same.
        """
        fast, reference = self.fast.query(query, self.time_ns), self.reference.query(query, self.time_ns)
        if isinstance(fast, InfoView):
            fast = msgspec.structs.replace(fast, compiled=False)
        if fast != reference:
            raise Difference(f"{query}\nfast:      {fast}\nreference: {reference}")

    def compare(self) -> None:
        """Compare all that can be asked, but for history.

        Raises:
            AssertionError: they differ, or one of them does not pass its own check.
        """
        self.ask(Directory())
        self.ask(Info())
        directory = self._directory()
        for account in directory.accounts:
            self.ask(Balances(account.account))
            self.ask(OpenOrders(account.account))
            self.ask(AccountDetails(account.account))
            self.ask(PendingWithdrawals(account.account))
            self.ask(AccountWithdrawals(account.account, 1_000))
        for chain in {asset.chain for asset in directory.assets}:
            self.ask(Outbox(chain))
            self.ask(AddressesSince(chain))
        for status in directory.markets:
            self.ask(Depth(status.market.symbol, WHOLE_BOOK))
            self.ask(WholeBook(status.market.symbol))
        self._follow([status.market.symbol for status in directory.markets])
        self.fast.check()
        self.reference.check()

    def _follow(self, symbols: list[str]) -> None:
        """Both engines tell what changed in the books; whoever applies that has them.

        Raises:
            Difference: one of them left something out.
        """
        for engine in (self.fast, self.reference):
            for change in engine.take_changes():
                self._followed[f"{type(engine).__name__} {change.symbol}"].apply(change)
            engine.watch(symbols)
            for symbol in symbols:
                book = engine.query(WholeBook(symbol))
                assert isinstance(book, DepthView)
                name = f"{type(engine).__name__} {symbol}"
                followed = self._followed.setdefault(name, Followed.of(book))
                if followed.view(symbol) != book:
                    raise Difference(f"{name} is\n{book}, and its followers have\n{followed.view(symbol)}")

    def compare_history(self) -> None:
        """Compare all that is kept of trades and orders.

        Raises:
            Difference: they do not agree.
        """
        directory = self._directory()
        for status in directory.markets:
            symbol = status.market.symbol
            self.ask(Ticker(symbol))
            self.ask(RecentTrades(symbol, KEPT))
            for interval_ns in INTERVALS:
                self.ask(Candles(symbol, interval_ns, limit=CANDLES_KEPT))
            for account in directory.accounts:
                self.ask(AccountTrades(account.account, symbol, limit=KEPT))
                self.ask(AccountOrders(account.account, symbol, limit=KEPT))

    def _directory(self) -> DirectoryView:
        directory = self.reference.query(Directory())
        assert isinstance(directory, DirectoryView)
        return directory


def what_came(events: list[Event]) -> Counter[str]:
    """The events of one command in words, and what is remarkable about them."""
    words = Counter(type(event).__name__ for event in events)
    words["cascade"] += words["OrderTriggered"] > 1
    resumed = any(isinstance(event, MarketStateChanged) and event.state == TRADING for event in events)
    words["entered_when_resumed"] += resumed and words["OrderTriggered"] > 0
    for event in events:
        if isinstance(event, OrderClosed):
            words[ORDER_STATES[event.order.status]] += 1
            words["hidden_lots_traded"] += event.order.executed > event.order.display_quantity > 0
        elif isinstance(event, OrderTriggered):
            words[f"triggered_{ORDER_TYPES[event.order.type]}"] += 1
        elif isinstance(event, Trade):
            words["rebate"] += event.maker_fee < 0
            words["fee_of_the_whole"] += event.taker_fee == event.notional
            words["trade_with_oneself"] += event.maker_account == event.taker_account
        elif isinstance(event, MarketStateChanged):
            words[f"{MARKET_STATES[event.state]}{'_for_a_time' if event.until_ns else ''}"] += 1
        elif isinstance(event, Adjusted):
            words["receivable"] += event.short > 0
    return words


def run_wild(seed: int, commands: int, *, compare_every: int) -> Counter[str]:
    """A history of wild commands on both engines; what they met.

    Raises:
        Difference: the engines did not agree, somewhere on the way.
    """
    random = Random(seed)
    pair, source = SideBySide(), Wild(random)
    for command in opening():
        pair.do(command)
    pair.met.clear()
    steps_ns = random.choice((ODD_STEPS_NS, EVEN_STEPS_NS))
    for step in range(commands):
        later_ns = random.choice(steps_ns)
        command = source.command(pair.time_ns + later_ns)
        if random.random() < 0.02:
            pair.refuse_type(source.wrong_type())
        source.heard(pair.do(command, later_ns=later_ns))
        pair.ask(source.question())
        if step % compare_every == 0:
            pair.compare()
    pair.compare()
    pair.compare_history()
    return pair.met

"""Two engines that are given the same commands and asked the same questions, and must never differ."""

from collections import Counter
from random import Random
from typing import Final

import msgspec

from book.codes import CODE_NAMES
from book.commands import Command
from book.engine import Engine
from book.events import Event, OrderClosed, Rejected, Trade
from book.queries import Balances, Depth, Directory, DirectoryView, Info, InfoView, OpenOrders, Query
from book.reference import ReferenceEngine
from book.terms import ORDER_STATES
from tests.wild import Wild, opening

START_NS: Final = 1_700_000_000_000_000_000
WHOLE_BOOK: Final = 5_000  # levels


class Difference(AssertionError):  # noqa: N818 -- what the comparison is for, not an error in it
    """The engines do not agree."""


class SideBySide:
    """The fast engine and its reference. `met` counts what came of the commands, in words."""

    def __init__(self) -> None:
        self.fast: Final = Engine()
        self.reference: Final = ReferenceEngine()
        self.met: Counter[str] = Counter()
        self.time_ns = START_NS
        self._seq = 0

    def do(self, command: Command, *, later_ns: int = 1_000) -> list[Event]:
        """Apply a command to both; what came of it, nothing if it was refused.

        Raises:
            Difference: they do not agree on it in every field.
        """
        self.time_ns += later_ns
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
        for event in fast:
            self.met[type(event).__name__] += 1
            if isinstance(event, OrderClosed):
                self.met[ORDER_STATES[event.order.status]] += 1
            elif isinstance(event, Trade):
                self.met["rebate"] += event.maker_fee < 0
                self.met["fee_of_the_whole"] += event.taker_fee == event.notional
                self.met["trade_with_oneself"] += event.maker_account == event.taker_account
        return fast

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
        fast, reference = self.fast.query(query), self.reference.query(query)
        if isinstance(fast, InfoView):
            fast = msgspec.structs.replace(fast, compiled=False)
        if fast != reference:
            raise Difference(f"{query}\nfast:      {fast}\nreference: {reference}")

    def compare(self) -> None:
        """Compare all that can be asked: definitions, balances, open orders, books, totals and digests.

        Raises:
            AssertionError: they differ, or one of them does not pass its own check.
        """
        self.ask(Directory())
        self.ask(Info())
        directory = self.reference.query(Directory())
        assert isinstance(directory, DirectoryView)
        for account in directory.accounts:
            self.ask(Balances(account.account))
            self.ask(OpenOrders(account.account))
        for status in directory.markets:
            self.ask(Depth(status.market.symbol, WHOLE_BOOK))
        self.fast.check()
        self.reference.check()


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
    for step in range(commands):
        later_ns = random.choice((0, 1, 1_000, 10**6, 10**9))
        command = source.command((pair.time_ns + later_ns) // 10**6)
        if random.random() < 0.02:
            pair.refuse_type(source.wrong_type())
        source.heard(pair.do(command, later_ns=later_ns))
        pair.ask(source.question())
        if step % compare_every == 0:
            pair.compare()
    pair.compare()
    return pair.met

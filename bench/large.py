"""The worst that one command can take where everything is large: 100,000 accounts and a million open orders.

The commands are those of the mix; behind them a user places 5,000 orders and cancels them all with one command. They
are timed as in bench.latency. A command that takes longer than 50 ms has to be that large itself.
"""

import resource
import sys
from typing import Final

from attrs import evolve

from bench import loads
from bench.latency import latencies_ns
from bench.loads import Load, kind
from bench.stopwatch import Prepared
from book.commands import CancelAll, Command, DefineMarket, PlaceOrder
from book.terms import BUY, GTC, LIMIT

ACCOUNTS: Final = 100_000
RESTING: Final = 1_000_000
COMMANDS: Final = 200_000
ONE_USERS: Final = 5_000
RUNS: Final = 2
WORST: Final = 8
TOO_LONG_MS: Final = 50


def load() -> Load:
    """The mix, and what the one user does."""
    mixed = loads.mix(1, ACCOUNTS, COMMANDS, resting=RESTING)
    (symbol,) = (command.market.symbol for command in mixed.before if isinstance(command, DefineMarket))
    # Far below the market, where nobody trades.
    commands: list[Command] = [
        PlaceOrder(1, 0, 0, symbol, BUY, LIMIT, GTC, 1, 1 + number % 1_000) for number in range(ONE_USERS)
    ]
    return evolve(mixed, commands=[*mixed.commands, *commands, CancelAll(1, 0, 0)])


def report(_runs: int) -> None:
    """Print the commands that took longest, with the number of events that each brought about."""
    prepared = Prepared(load())
    times = latencies_ns(prepared, RUNS)
    events = _events(prepared)
    worst = sorted(range(len(times)), key=times.__getitem__, reverse=True)[:WORST]
    print(f"the slowest of {len(times):,} commands, {ACCOUNTS:,} accounts, {RESTING:,} open orders, {RUNS} runs")
    for index in worst:
        word = kind(prepared.load.commands[index])
        print(f"{word:>48} {times[index] / 1e6:>8.2f} ms {events[index]:>7,} events")
    small = max(took for took, count in zip(times, events, strict=True) if count < ONE_USERS)
    verdict = "no" if small < 1e6 * TOO_LONG_MS else "A"
    print(f"{'':>48} {verdict} command of less than {ONE_USERS:,} events took {TOO_LONG_MS} ms")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(f"{'':>48} {peak / 1e9:.1f} GB at most, the prepared commands with it")


def _events(prepared: Prepared) -> list[int]:
    engine, counts = prepared.engine(), list[int]()
    for seq, command in enumerate(prepared.load.commands, len(prepared.load.before) + 1):
        events = engine.apply(command, seq, seq)
        counts.append(len(events) if isinstance(events, list) else 0)
    return counts

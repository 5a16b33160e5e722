"""How much memory the engine needs for each thing that it keeps, as tracemalloc counts it.

That is what was asked of Python's allocators: exact, and the same at every run, but without their own share of some
percent. What a command brings with it, such as an order's name, counts where the engine keeps it.
"""

import gc
import tracemalloc
from collections.abc import Sequence

from bench.loads import OneMarket
from bench.stopwatch import decoded, encoded
from book.commands import CancelOrder, Command, CreditDeposit, DefineAccount
from book.definitions import Account
from book.engine import Engine

COUNT = 20_000


def grown_bytes(before: Sequence[Command], commands: Sequence[Command]) -> int:
    """By how much an engine that has applied `before` grows with these commands."""
    engine, seq = Engine(), 0
    for seq, command in enumerate(before, 1):
        engine.apply(command, seq, seq)
    batches = encoded(commands)
    gc.collect()
    tracemalloc.start()
    try:
        _apply(engine, batches, seq)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def _apply(engine: Engine, batches: Sequence[bytes], seq: int) -> None:
    for batch in decoded(batches):
        for command in batch:
            seq += 1
            engine.apply(command, seq, seq)


def bytes_each() -> dict[str, float]:
    """What one thing of each sort takes."""
    recording = OneMarket(1)
    opened = list(recording.commands)
    orders = recording.resting(COUNT)
    cancels = [CancelOrder(order.account, 0, 0, order.symbol, 0, order.client_order_id) for order in orders]
    accounts: list[Command] = [DefineAccount(Account(10_000 + n, f"user-{n}")) for n in range(COUNT)]
    asset = recording.symbol.partition("-")[0]
    first, second = (
        [CreditDeposit(f"{which}|{n}", 10_000 + n, asset, 10**6) for n in range(COUNT)] for which in ("first", "second")
    )
    with_accounts = [*opened, *accounts]
    deposit = grown_bytes([*with_accounts, *first], second)
    return {
        "an open order, with its name and its level": grown_bytes(opened, orders) / COUNT,
        "a finished order that is remembered": grown_bytes(opened, [*orders, *cancels]) / COUNT,
        "an account without anything": grown_bytes(opened, accounts) / COUNT,
        "a balance": (grown_bytes(with_accounts, first) - deposit) / COUNT,
        "a deposit's id, kept for ever": deposit / COUNT,
    }


def report(_runs: int) -> None:
    """Print a line for each sort."""
    print(f"memory in bytes each, by tracemalloc, over {COUNT:,}")
    for what, size in bytes_each().items():
        print(f"{what:>48} {size:>11,.0f}")

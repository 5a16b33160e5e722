"""Commands per second of the engine alone: processor time of one process, median of several runs.

Ledger, fees, events and idempotency are on, as always; the commands are made beforehand. Half the commands place limit
orders around a middle, a fifth of them crossing it; the others cancel. `python -m bench.engine`.
"""

import statistics
import time
from collections.abc import Sequence
from random import Random
from typing import Final

from book.commands import CancelOrder, Command, PlaceOrder
from book.compiled import COMPILED
from book.engine import Engine
from book.terms import BUY, GTC, IOC, LIMIT, SELL
from tallystick.demo import definitions

COMMANDS: Final = 100_000
RUNS: Final = 5
MIDDLE: Final = 5_000_000


def workload(seed: int) -> list[Command]:
    """Orders and cancels of two accounts in one market."""
    random = Random(seed)
    commands: list[Command] = []
    for number in range(COMMANDS // 2):
        account, side = random.choice((1, 2)), random.choice((BUY, SELL))
        crossing = random.random() < 0.2
        away = -600 if crossing else random.randint(1, 512)
        price = MIDDLE + (away if side == SELL else -away)
        name = f"bench-{number}"
        in_force = IOC if crossing else GTC
        quantity = random.randint(10, 90)
        commands.append(
            PlaceOrder(account, 0, 0, "BTC-USDT", side, LIMIT, in_force, quantity, price, client_order_id=name)
        )
        commands.append(CancelOrder(account, 0, 0, "BTC-USDT", client_order_id=name))
    return commands


def run(commands: Sequence[Command]) -> float:
    """Processor seconds to apply them to a fresh engine."""
    engine = Engine()
    for seq, definition in enumerate(definitions(), 1):
        engine.apply(definition, seq, seq)
    first_seq = engine.last_seq + 1
    apply = engine.apply
    began = time.process_time()
    for seq, command in enumerate(commands, first_seq):
        apply(command, seq, seq)
    return time.process_time() - began


def main() -> None:
    """Print the median."""
    commands = workload(1)
    seconds = statistics.median(run(commands) for _ in range(RUNS))
    how = "compiled" if COMPILED else "interpreted"
    print(f"engine alone ({how}): {len(commands) / seconds:,.0f} commands/s of processor time, median of {RUNS} runs")


if __name__ == "__main__":
    main()

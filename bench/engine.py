"""The engine alone: how many commands a second, how long the slow ones take, and how much memory it needs.

    python -m bench.engine [throughput] [latency] [memory] [growth] [large] [--runs N]

The first three if none is named; `growth` takes a minute and draws docs/engine-growth.svg, `large` takes some minutes
and 3 GB. Ledger, fees, events and idempotency are on, as always. Nothing is read, written or answered.
"""

import argparse
import statistics
from collections.abc import Iterator

from bench import growth, large, latency, loads, memory
from bench.loads import Load
from bench.stopwatch import Prepared
from book.compiled import COMPILED

COMMANDS = 100_000
SWEEP_LEVELS = 5_000


def measured() -> Iterator[Load]:
    """The loads of the table, each made when its turn comes. The goals are those of the two mixes."""
    yield loads.mix(1, 1_000, COMMANDS, goal=1_000_000)
    yield loads.mix(100, 5_000, COMMANDS, goal=500_000)
    yield loads.add_only(COMMANDS)
    yield loads.cancel_storm(COMMANDS)
    yield loads.sweeps(COMMANDS)


def throughput(runs: int) -> None:
    """Print commands a second of every load, and what the load was."""
    print(f"engine alone ({how()}): commands per second of processor time, median of {runs} runs")
    print(f"{'':>44} {'commands/s':>11} {'least':>10} {'most':>10} {'goal':>10} {'ratio':>6}")
    for load in measured():
        prepared = Prepared(load)
        rates = sorted(len(load.commands) / prepared.seconds() for _ in range(runs))
        line = f"{load.name:>44} {statistics.median(rates):>11,.0f} {rates[0]:>10,.0f} {rates[-1]:>10,.0f}"
        if load.goal:
            line += f" {load.goal:>10,} {statistics.median(rates) / load.goal:>6.2f}"
        print(line)
        print(f"{'':>44} {', '.join(f'{100 * share:.3g} % {word}' for word, share in load.shares.items())}")
    load = loads.one_sweep(SWEEP_LEVELS)
    prepared = Prepared(load)
    seconds = statistics.median(prepared.seconds() for _ in range(runs))
    print(f"{load.name:>44} {1e3 * seconds:>8.2f} ms, {1e6 * seconds / SWEEP_LEVELS:.2f} µs per trade")


def how() -> str:
    """Which engine this is."""
    return "compiled" if COMPILED else "interpreted"


PARTS = {
    "throughput": throughput,
    "latency": latency.report,
    "memory": memory.report,
    "growth": growth.report,
    "large": large.report,
}


def main(words: list[str] | None = None) -> None:
    """Run the parts that are named."""
    parser = argparse.ArgumentParser(prog="python -m bench.engine", description="Measure the engine alone.")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="what to measure; the first three if none")
    parser.add_argument("--runs", type=int, default=5, help="of each measurement")
    arguments = parser.parse_args(words)
    for part in arguments.parts or list(PARTS)[:3]:
        PARTS[part](arguments.runs)


if __name__ == "__main__":
    main()

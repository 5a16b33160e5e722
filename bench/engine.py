"""The engine alone: how many commands a second, how long the slow ones take, and how much memory it needs.

    python -m bench.engine [mix] [throughput] [latency] [memory] [growth] [large] [--runs N]

Throughput, latency and memory if nothing is named. `mix` is the first line of the throughput alone; `growth` takes a
minute and draws docs/engine-growth.svg; `large` takes some minutes and 3 GB. Ledger, fees, events and idempotency are
on, as always. Nothing is read, written or answered.
"""

import argparse
import statistics
from functools import partial

from bench import growth, large, latency, loads, memory
from bench.loads import Load
from bench.stopwatch import Prepared
from book.compiled import COMPILED

COMMANDS = 100_000
SWEEP_LEVELS = 5_000

LOADS = (
    partial(loads.mix, 1, 1_000, COMMANDS, goal=1_000_000),
    partial(loads.mix, 100, 5_000, COMMANDS, goal=500_000),
    partial(loads.add_only, COMMANDS),
    partial(loads.cancel_storm, COMMANDS),
    partial(loads.sweeps, COMMANDS),
)


def mix(runs: int) -> None:
    """Print the table's head and its first load."""
    how = "compiled" if COMPILED else "interpreted"
    print(f"engine alone ({how}): commands per second of processor time, median of {runs} runs")
    print(f"{'':>48} {'commands/s':>11} {'least':>10} {'most':>10} {'goal':>10} {'ratio':>6}")
    _print_row(LOADS[0](), runs)


def throughput(runs: int) -> None:
    """Print the whole table."""
    mix(runs)
    for load in LOADS[1:]:
        _print_row(load(), runs)
    prepared = Prepared(loads.one_sweep(SWEEP_LEVELS))
    seconds = statistics.median(prepared.seconds() for _ in range(runs))
    print(f"{prepared.load.name:>48} {1e3 * seconds:>8.2f} ms, {1e6 * seconds / SWEEP_LEVELS:.2f} µs per trade")


def _print_row(load: Load, runs: int) -> None:
    """How fast it went, and below that what it was."""
    prepared = Prepared(load)
    rates = sorted(len(load.commands) / prepared.seconds() for _ in range(runs))
    median = statistics.median(rates)
    goal = f" {load.goal:>10,} {median / load.goal:>6.2f}" if load.goal else ""
    print(f"{load.name:>48} {median:>11,.0f} {rates[0]:>10,.0f} {rates[-1]:>10,.0f}{goal}")
    print(f"{'':>48} {', '.join(f'{100 * share:.3g} % {word}' for word, share in load.shares.items())}")


PARTS = {
    "mix": mix,
    "throughput": throughput,
    "latency": latency.report,
    "memory": memory.report,
    "growth": growth.report,
    "large": large.report,
}
USUAL = ("throughput", "latency", "memory")


def main(words: list[str] | None = None) -> None:
    """Run the parts that are named."""
    parser = argparse.ArgumentParser(prog="python -m bench.engine", description="Measure the engine alone.")
    parser.add_argument("parts", nargs="*", help=f"what to measure, of {', '.join(PARTS)}; else {', '.join(USUAL)}")
    parser.add_argument("--runs", type=int, default=5, help="of each measurement")
    arguments = parser.parse_args(words)
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    for part in arguments.parts or USUAL:
        PARTS[part](arguments.runs)


if __name__ == "__main__":
    main()

"""How long one command takes, by what it does, and what the garbage collector has to do with it.

Every command is timed alone, by the wall clock. The whole load runs several times, and of each command the shortest
time counts: so what else the machine was doing is left out, but what the engine does at that command every time is not,
collections included, for they come at the same command in each run.
"""

import gc
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from bench import loads
from bench.loads import kind
from bench.stopwatch import Prepared, collector_of_the_program
from book.commands import Command
from book.events import Event, Rejected

COMMANDS = 100_000
RUNS = 3


@contextmanager
def collector_of_python() -> Iterator[None]:
    """Python's own thresholds, and nothing frozen."""
    gc.collect()
    yield


def latencies_ns(prepared: Prepared, runs: int, *, frozen: bool = True) -> list[int]:
    """Of each measured command, the time of its fastest run."""
    best: list[int] = []
    for _ in range(runs):
        engine = prepared.engine()
        with collector_of_the_program() if frozen else collector_of_python():
            took = _run(prepared, engine.apply)
        best = list(map(min, best, took)) if best else took
    return best


def _run(prepared: Prepared, apply: Callable[[Command, int, int], list[Event] | Rejected]) -> list[int]:
    now, seq = time.perf_counter_ns, len(prepared.load.before)
    took: list[int] = []
    for batch in prepared.batches():
        for command in batch:
            seq += 1
            began = now()
            apply(command, seq, seq)
            took.append(now() - began)
    return took


def report(_runs: int) -> None:
    """Print a line for each kind of command."""
    load = loads.mix(100, 5_000, COMMANDS)
    prepared = Prepared(load)
    kinds = [kind(command) for command in load.commands]
    of_program = by_kind(kinds, latencies_ns(prepared, RUNS))
    of_python = by_kind(kinds, latencies_ns(prepared, RUNS, frozen=False))
    print(f"latency in µs: {load.name}; of each command the fastest of {RUNS} runs")
    print(f"{'':>12} {'':>8}   as the program runs: frozen, few collections     Python's own collector")
    print(f"{'':>12} {'commands':>8} {'p50':>8} {'p99':>8} {'p99.9':>8} {'max':>10} {'p99.9':>13} {'max':>10}")
    for word, times in sorted(of_program.items()):
        line = f"{word:>12} {len(times):>8} {_us(times, 0.5):>8.2f} {_us(times, 0.99):>8.2f} {_us(times, 0.999):>8.2f}"
        others = of_python[word]
        print(f"{line} {_us(times, 1):>10.1f} {_us(others, 0.999):>13.2f} {_us(others, 1):>10.1f}")


def by_kind(kinds: Sequence[str], times: Sequence[int]) -> dict[str, list[int]]:
    """The times of each kind, sorted; and of all."""
    sorted_times: defaultdict[str, list[int]] = defaultdict(list)
    for word, took in sorted(zip(kinds, times, strict=True), key=_time_of):
        sorted_times[word].append(took)
    sorted_times["all"] = sorted(times)
    return sorted_times


def _time_of(entry: tuple[str, int]) -> int:
    return entry[1]


def _us(sorted_ns: Sequence[int], share: float) -> float:
    return sorted_ns[min(len(sorted_ns) - 1, int(share * len(sorted_ns)))] / 1e3

"""How the engine's speed changes with the number of orders that rest: the mix of one market, at growing targets."""

import platform
import statistics
from pathlib import Path
from typing import Final

from bench import loads
from bench.plot import Plot
from bench.stopwatch import Prepared
from book.compiled import COMPILED

RESTING: Final = (1_000, 10_000, 100_000, 1_000_000)
USERS: Final = 1_000
COMMANDS: Final = 100_000
PICTURE: Final = Path(__file__).parent.parent / "docs" / "engine-growth.svg"


def report(runs: int) -> None:
    """Print a line for each number of orders, and draw them."""
    print(f"growth: commands per second of processor time, mix, 1 market, {USERS:,} users, median of {runs} runs")
    points: list[tuple[float, float]] = []
    for resting in RESTING:
        prepared = Prepared(loads.mix(1, USERS, COMMANDS, resting=resting))
        rate = COMMANDS / statistics.median(prepared.seconds() for _ in range(runs))
        print(f"{resting:>36,} open orders {rate:>11,.0f}")
        points.append((resting, rate))
    how = "compiled" if COMPILED else "interpreted"
    title = f"The engine's speed over the size of its book ({how}, Python {platform.python_version()})"
    picture = Plot(title, "open orders in one market", "commands a second of processor time", points)
    PICTURE.write_text(picture.svg(), encoding="utf-8")
    print(f"{'':>36} drawn in {PICTURE}")

"""Seeds of simulated chains: whatever fails, crashes or is reorganised, no unit is created, lost or doubled."""

import pytest
import trio
from trio.testing import MockClock

from tests.counts import seeds
from tests.simulation.chains import ChainWorld, live

STEPS = 150


def run(seed: int) -> ChainWorld:
    """One life, to its end."""
    world = ChainWorld(seed)

    async def main() -> None:
        await live(world, STEPS)
        await world.come_to_rest()
        await world.check_at_rest()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    return world


@pytest.mark.parametrize("tens", range(len(seeds(500, 20_000)) // 10 or 1))
def test_money_is_conserved(tens: int) -> None:
    """Ten seeds at a time."""
    for seed in seeds(500, 20_000)[10 * tens : 10 * tens + 10] or seeds(1, 1):
        run(seed)

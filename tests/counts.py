"""How often a repeated test repeats: little in `make test`, much in `make soak`; one seed when one is to be seen."""

import os

SOAK = os.environ.get("TALLYSTICK_SOAK") == "1"


def count(test: int, soak: int) -> int:
    """`test` repetitions, or `soak` of them under TALLYSTICK_SOAK=1."""
    return soak if SOAK else test


def seeds(test: int, soak: int) -> range:
    """The seeds 0..n-1, or only the one that TALLYSTICK_SEED names."""
    one = os.environ.get("TALLYSTICK_SEED")
    if one is not None:
        return range(int(one), int(one) + 1)
    return range(count(test, soak))

"""What state a fixed load leads to, to be compared between engines. `python -m bench.state_hash`.

Compiled, interpreted, on every version of Python and every machine it has to be the same line's first word.
"""

import argparse
import platform

from bench import loads
from book.compiled import COMPILED
from book.engine import Engine


def state_hash(commands: int, *, seed: int = 1) -> str:
    """Of an engine after the mix over three markets, its events digested, in hexadecimal."""
    load, engine = loads.mix(3, 50, commands, resting=200, seed=seed), Engine()
    for seq, command in enumerate([*load.before, *load.commands], 1):
        events = engine.apply(command, seq, seq)
        if isinstance(events, list):
            engine.digest.update(events)
    return engine.state_hash().hex()


def main() -> None:
    """Print it, and which engine it is of."""
    parser = argparse.ArgumentParser(prog="python -m bench.state_hash", description="Print the hash of a fixed state.")
    parser.add_argument("commands", nargs="?", type=int, default=20_000)
    how = "compiled" if COMPILED else "interpreted"
    print(state_hash(parser.parse_args().commands), how, platform.python_version())


if __name__ == "__main__":
    main()

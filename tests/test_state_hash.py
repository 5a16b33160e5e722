"""The same commands lead to the same bytes, whoever runs them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.state_hash import state_hash

ROOT = Path(__file__).parent.parent
COMMANDS = 1_500


def able_interpreters() -> list[str]:
    """This one, and all other versions of Python that have what the engine imports."""
    found = [sys.executable]
    for minor in range(11, 16):
        other = shutil.which(f"python3.{minor}")
        program = "import attrs, msgspec, mypy_extensions, sys; sys.exit(sys.version_info < (3, 11))"
        if other and subprocess.run([other, "-c", program], capture_output=True, check=False).returncode == 0:
            found.append(other)
    return found


@pytest.mark.parametrize("hash_seed", ["0", "4711"])
@pytest.mark.parametrize("interpreter", able_interpreters())
def test_every_python_comes_to_the_same_state(interpreter: str, hash_seed: str) -> None:
    """Interpreted, in another process, with other hashes of strings, on every version of Python that is installed."""
    done = subprocess.run(
        [interpreter, "-m", "bench.state_hash", str(COMMANDS)],
        env={"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hash_seed, "PYTHONSAFEPATH": "1"},
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout.split()[:2] == [state_hash(COMMANDS), "interpreted"]


def test_other_commands_lead_to_another_state() -> None:
    """The hash is of what happened."""
    assert len({state_hash(200), state_hash(201), state_hash(200, seed=2)}) == 3

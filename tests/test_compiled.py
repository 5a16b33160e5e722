"""The compiled engine and how it is built: the same engine, or plainly none."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from book.compiled import COMPILED
from tests.test_engine_random import history, replay

ROOT = Path(__file__).parent.parent
BUILT = ROOT / "build" / "compiled"


def test_these_tests_run_the_engine_they_were_asked_to() -> None:
    """Compiled with the folder of the compiled engine on the path, as `make test-compiled` does, else interpreted."""
    asked = str(BUILT) in os.environ.get("PYTHONPATH", "").split(os.pathsep)
    assert (asked and any(BUILT.glob("book__mypyc*"))) == COMPILED


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_the_interpreted_engine_comes_to_the_same_state(seed: int) -> None:
    """State hash and digest are equal after the same commands, odd ones among them."""
    program = (
        "from book.compiled import COMPILED; from tests.test_engine_random import history, replay; "
        f"assert not COMPILED; print(replay(history({seed}, 3_000)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    there = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True, text=True)
    assert there.stdout.strip() == replay(history(seed, 3_000))


def test_mypy_compiles_in_the_version_that_checks() -> None:
    """The build pins what the lock file pins."""
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    (locked,) = re.findall(r"^mypy==\S+", (ROOT / "requirements" / "dev.txt").read_text(), re.MULTILINE)
    assert locked in requires


def test_modules_that_define_structs_stay_interpreted() -> None:
    """Each of them is named in setup.py, for msgspec would lose the options of a compiled one."""
    (named,) = re.findall(r"^INTERPRETED = (\{.*\})$", (ROOT / "setup.py").read_text(), re.MULTILINE)
    defining = {
        path.stem
        for path in (ROOT / "book").glob("*.py")
        if re.search(r"^class .*\bStruct\b", path.read_text(), re.MULTILINE)
    }
    assert len(defining) >= 5
    assert defining <= ast.literal_eval(named)


@pytest.mark.process
@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_without_a_working_compiler_it_installs_all_the_same(tmp_path: Path, compiler: str) -> None:
    """It says why in one line, and the wheel has every module as Python and none as a library."""
    ignored = shutil.ignore_patterns(".*", "build", "demo-data", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, tmp_path / "clone", ignore=ignored)
    environment = {**os.environ, "CC": compiler, "TALLYSTICK_COMPILE": "auto", "PYTHONSAFEPATH": "", "PYTHONPATH": ""}
    pip = [sys.executable, "-m", "pip", "wheel", "--verbose", "--no-deps", "--wheel-dir", str(tmp_path)]
    done = subprocess.run(
        [*pip, str(tmp_path / "clone")], env=environment, capture_output=True, check=True, text=True, timeout=110
    )
    assert len(re.findall("tallystick: the engine stays interpreted: .+", done.stdout + done.stderr)) == 1
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "book/engine.py" in names
    assert not [name for name in names if name.endswith(".so")]

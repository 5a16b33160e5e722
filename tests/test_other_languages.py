"""docs/other-languages.md is true: its programs trade on a running demo, where there is something to run them with."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live import LiveExchange, live_exchange
from tests.pages import blocks, read_page

pytestmark = pytest.mark.process

PAGE = read_page("other-languages.md")
SECONDS = 90


def _compiled_by_cc(source: Path) -> list[str]:
    program = source.with_suffix(".out")
    command = ["cc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(source)]
    subprocess.run(command, check=True, timeout=SECONDS)
    return [str(program)]


# How a language's programs are run: what is needed, what the file is called, what runs it.
LANGUAGES: dict[str, tuple[str, str, Callable[[Path], list[str]]]] = {
    "python": (sys.executable, "trade.py", lambda source: [sys.executable, str(source)]),
    "javascript": ("node", "trade.js", lambda source: ["node", str(source)]),
    "go": ("go", "trade.go", lambda source: ["go", "run", str(source)]),
    "c": ("cc", "trade.c", _compiled_by_cc),
}
HERE = [language for language, (needed, _, _) in LANGUAGES.items() if shutil.which(needed)]


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveExchange]:
    """A demo with nobody else in it."""
    with live_exchange(tmp_path_factory.mktemp("demo") / "data", "--quiet-market") as running:
        yield running


@pytest.mark.parametrize("language", HERE)
def test_the_program(exchange: LiveExchange, language: str, tmp_path: Path) -> None:
    """It prints what all of them print."""
    _, name, command = LANGUAGES[language]
    source = tmp_path / name
    (program,) = blocks(PAGE, language)
    source.write_text("\n".join(program) + "\n", encoding="utf-8")
    host, port = exchange.ready["client"].split(":")
    done = subprocess.run([*command(source), host, port], capture_output=True, text=True, timeout=SECONDS, check=False)
    (expected,) = blocks(PAGE, "text")
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, expected, "")


def test_the_page_has_these_languages() -> None:
    """Each has one program, and Python can be run wherever this test is."""
    assert all(len(blocks(PAGE, language)) == 1 for language in LANGUAGES)
    assert "python" in HERE

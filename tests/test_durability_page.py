"""docs/durability.md: its tables are the program's."""

import re
from pathlib import Path

import pytest

from persistence.exits import Exit
from tests.pages import DOCS, read_page, table
from tests.test_disk_faults import FAULTS

PAGE = read_page("durability.md")
SOURCES = [*DOCS.parent.glob("supervisor.py"), *(DOCS.parent / "actors").glob("*.py")]
SOURCES += [*(DOCS.parent / "persistence").glob("*.py"), *(DOCS.parent / "tallystick").glob("*.py")]


def words_of(text: str) -> list[str]:
    """What does not differ from time to time in the quoted messages of a text."""
    return [part.strip() for quoted in re.findall(r"`([^`]+)`", text) for part in quoted.split("…") if part.strip()]


def program() -> str:
    """All of it, strings that go on in the next line joined."""
    text = "\n".join(Path(source).read_text(encoding="utf-8") for source in SOURCES)
    return re.sub(r'"\s*\n\s*f?"', "", text)


def test_the_page_has_every_exit_code() -> None:
    """In order, some for more than one reason."""
    rows = table(PAGE, "code", "the line says", "it means", "do")
    assert list(dict.fromkeys(int(row[0]) for row in rows)) == [int(code) for code in Exit]
    assert all(all(row) for row in rows)


@pytest.mark.parametrize("line", [row[1] for row in table(PAGE, "code", "the line says", "it means", "do")])
def test_what_the_lines_say_is_what_the_program_says(line: str) -> None:
    """Their words are the source's."""
    text = program()
    for words in words_of(line if "`" in line else f"`{line}`"):
        assert words == "nothing" or words in text, words


@pytest.mark.parametrize(
    "message",
    [
        "new orders are refused, cancels are accepted, until there is room",
        "there is room again",
        "a torn last frame was kept aside; it was never answered",
        "the last frame is torn, and was written under durability os: it may have been answered",
    ],
)
def test_what_the_page_quotes_is_what_the_program_logs(message: str) -> None:
    """Word for word."""
    assert message in " ".join(PAGE.split())
    assert message in program()


def test_the_page_has_every_fault_of_a_disk() -> None:
    """Those that are made to strike, in the same order."""
    assert [row[0] for row in table(PAGE, "fault", "what the exchange does")] == list(FAULTS)

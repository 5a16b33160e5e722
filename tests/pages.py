"""The pages of docs/, as their tests look at them: sections, tables and fenced blocks."""

import re
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"

Row = tuple[str, ...]


def read_page(name: str) -> str:
    """The text of docs/<name>."""
    return (DOCS / name).read_text(encoding="utf-8")


def sections(text: str, level: int) -> dict[str, str]:
    """What stands below each heading of this level, up to the next heading of it or of a higher one, by title."""
    found: dict[str, str] = {}
    title = None
    for line in without_blocks(text).splitlines(keepends=True):
        heading = re.match(r"(#+) (.*)", line)
        if heading is not None and len(heading[1]) <= level:
            title = plain(heading[2]) if len(heading[1]) == level else None
            if title is not None:
                assert title not in found, f"two sections are called {title}"
                found[title] = ""
        elif title is not None:
            found[title] += line
    return found


def tables(text: str) -> list[list[Row]]:
    """Every table: its header, then its rows, cells without the back quotes around all of one."""
    found = re.findall(r"(?:^\|.*\|\n)+", without_blocks(text), re.MULTILINE)
    rows = [[_cells(line) for line in table.splitlines()] for table in found]
    for table in rows:
        assert all(len(row) == len(table[0]) for row in table), f"a row of another length below {table[0]}"
    return [[table[0], *table[2:]] for table in rows]


def table(text: str, *header: str) -> list[Row]:
    """The rows of the one table with this header."""
    (found,) = [rows for head, *rows in tables(text) if head == header]
    return found


def blocks(text: str, language: str) -> list[list[str]]:
    """The lines of every fenced block in this language."""
    return [block.splitlines() for block in re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)]


def without_blocks(text: str) -> str:
    """The text without its fenced blocks, in which a heading or a table is none."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def plain(text: str) -> str:
    """The text of a link or of code, without the marks around all of it."""
    marked = re.fullmatch(r"\[`?([^`\]]*)`?\]\([^)]*\)|`([^`]*)`", text)
    return text if marked is None else marked[1] or marked[2]


def _cells(line: str) -> Row:
    return tuple(plain(cell.strip()) for cell in line.strip().strip("|").split("|"))

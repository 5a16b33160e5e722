"""docs/configuration.md is true: its keys, types, defaults and ranges are the program's, and its example loads."""

import copy
import enum
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args, get_origin

import attrs
import pytest
from cattrs import ClassValidationError

from book.terms import PERMISSIONS, SELF_TRADE_MODES
from tallystick import config
from tests.pages import blocks, read_page, sections, tables

PAGE = read_page("configuration.md")
(EXAMPLE,) = ("\n".join(lines) for lines in blocks(PAGE, "toml"))

HEADER = ("key", "type", "default", "range", "meaning")
NAMES: Final = {str: "string", int: "integer", float: "number", bool: "boolean", Path: "path"}


def classes(section: type, path: str = "") -> Iterator[tuple[str, type]]:
    """Every section of a configuration file by its title on the page, and its class."""
    keys = [field for field in attrs.fields(section) if not _is_section(field)]
    if path and keys:
        yield f"[{path}]", section
    for field in attrs.fields(section):
        if field.type is not None and attrs.has(field.type):
            yield from classes(field.type, f"{path}.{field.name}".removeprefix("."))
        elif _is_section(field):
            yield f"[[{field.name}]]", get_args(field.type)[0]


def _is_section(field: "attrs.Attribute[Any]") -> bool:
    kinds = get_args(field.type) or (field.type,)
    return attrs.has(kinds[0])


SECTIONS = dict(classes(config.File))


def type_name(annotation: Any) -> str:
    """As the page calls a type."""
    if get_origin(annotation) in {tuple, frozenset}:
        return f"list of {NAMES[get_args(annotation)[0]]}s"
    if issubclass(annotation, enum.Enum):
        return " or ".join(f"`{member.value}`" for member in annotation)
    return NAMES[annotation]


def default(field: "attrs.Attribute[Any]") -> str:
    """As the page writes a default: in TOML."""
    value = field.default
    if value is attrs.NOTHING:
        return "required"
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, str):
        return f'"{value}"'
    return str(list(value) if isinstance(value, frozenset | tuple) else value).lower()


def rows(title: str) -> list[tuple[str, ...]]:
    """The page's table of this section."""
    (found,) = [rows for head, *rows in tables(sections(PAGE, 3)[title]) if head == HEADER]
    return found


def test_the_page_has_every_section_and_no_other() -> None:
    """In the order of the classes."""
    assert list(sections(PAGE, 3)) == list(SECTIONS)


@pytest.mark.parametrize("title", SECTIONS)
def test_the_page_has_every_key_and_no_other(title: str) -> None:
    """Name, type and default, in the order of the class."""
    expected = [
        (field.name, type_name(field.type), default(field))
        for field in attrs.fields(SECTIONS[title])
        if not _is_section(field)
    ]
    assert [row[:3] for row in rows(title)] == expected


def test_the_page_names_every_mode_and_permission() -> None:
    """The words that a key may have stand in its range."""
    ranges = {(title, row[0]): set(re.findall(r"`(\w+)`", row[3])) for title in SECTIONS for row in rows(title)}
    assert ranges["[[markets]]", "self_trade"] == set(SELF_TRADE_MODES.values())
    assert ranges["[[keys]]", "permissions"] == set(PERMISSIONS.values())


# The example ----------------------------------------------------------------------------------------------------------


def test_the_example_loads(tmp_path: Path) -> None:
    """As it stands, and the engine takes all of its definitions."""
    path = tmp_path / "tallystick.toml"
    path.write_text(EXAMPLE, encoding="utf-8")
    assert config.load(path).data_folder == "/var/lib/tallystick"
    assert accepted(tomllib.loads(EXAMPLE))


@pytest.mark.parametrize("title", SECTIONS)
def test_the_example_has_every_key(title: str) -> None:
    """With the default where there is one."""
    shown = place(tomllib.loads(EXAMPLE), title)
    fields = [field for field in attrs.fields(SECTIONS[title]) if not _is_section(field)]
    assert set(shown) >= {field.name for field in fields}
    parsed = {
        field.name: tomllib.loads(f"x = {default(field)}")["x"] for field in fields if default(field) != "required"
    }
    assert {name: shown[name] for name in parsed} == parsed


# Ranges ---------------------------------------------------------------------------------------------------------------


def place(words: dict[str, Any], title: str) -> dict[str, Any]:
    """The section in a parsed file; of a list the last one."""
    name = title.strip("[]")
    if title.startswith("[["):
        last: dict[str, Any] = words[name][-1]
        return last
    for part in name.split("."):
        words = words[part]
    return words


def accepted(words: dict[str, Any]) -> bool:
    """Whether `check-config` finds this file right."""
    try:
        config._prove(config._definitions(config._CONVERTER.structure(words, config.File)))
    except (config.ConfigError, ClassValidationError):
        return False
    return True


def probes(kind: str, text: str) -> Iterator[tuple[float, bool]]:
    """Values at the ends of a range that the page states, and just beyond them; whether each is in it."""
    step = {"integer": 1, "number": 0.001, "string": 0.000_001}.get(kind, 0)
    step = 4096 if text.startswith("from 16384") else step  # segment_bytes goes in pages
    if text == "more than 0":
        yield 0, False
    elif (found := re.fullmatch(r"from ([0-9.]+)(?: to ([0-9.]+))?", text)) is not None:
        low, high = (None if end is None else int(end) if "." not in end else float(end) for end in found.groups())
        assert low is not None
        yield from ((low, True), (low - step, False))
        if high is not None:
            yield from ((high, True), (high + step, False))


RANGES = [
    pytest.param(title, row[0], row[1], value, inside, id=f"{title} {row[0]} = {value}")
    for title in SECTIONS
    for row in rows(title)
    for value, inside in probes(row[1], row[3])
]


@pytest.mark.parametrize(("title", "key", "kind", "value", "inside"), RANGES)
def test_the_range_of(title: str, key: str, kind: str, value: float, inside: bool) -> None:
    """The ends of a stated range are accepted, what is just beyond them is not."""
    words = copy.deepcopy(tomllib.loads(EXAMPLE))
    place(words, title)[key] = f"{value:f}" if kind == "string" else value
    assert accepted(words) == inside


def test_ranges_in_words() -> None:
    """What the page says in words: no segment of half pages, no unsigned logon from outside, names of their letters."""
    for title, key, value in (
        ("[writer.log]", "segment_bytes", 16_384 + 1),
        ("[writer.log]", "durability", "fast"),
        ("[gateway]", "unsigned_logon", True),
        ("[[assets]]", "name", "eth"),
        ("[[assets]]", "name", "E" * 17),
        ("[[markets]]", "symbol", "BTCUSDT"),
        ("[[markets]]", "tick", "0.001"),
        ("[[markets]]", "min_quantity", "0.00015"),
        ("[[markets]]", "min_quantity", "1001"),
        ("[[markets]]", "maker_fee", "1.000001"),
        ("[[markets]]", "maker_fee", "-0.002001"),
        ("[[accounts]]", "name", "carol!"),
        ("[[accounts]]", "name", "c" * 65),
        ("[[keys]]", "permissions", []),
        ("[[keys]]", "public_key", "AB" * 32),
        ("[[keys]]", "networks", ["10.0.0.1/8"]),
        ("[[keys]]", "networks", ["10.0.0.0/8"] * 33),
    ):
        words = tomllib.loads(EXAMPLE)
        place(words, title)[key] = value
        if key == "unsigned_logon":
            words["gateway"]["host"] = "192.0.2.1"
        if key == "name" and title == "[[accounts]]":
            words["keys"][-1]["account"] = value
        assert not accepted(words), f"{title} {key} = {value!r}"

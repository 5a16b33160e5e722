"""The protocol's reference is what the code says, and the JSON Schema means what the exchange does."""

import re
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has no types
import pytest

from actors import wire
from actors.reading import read
from actors.wire import RefusedError
from tallystick import reference
from tests.pages import DOCS, read_page

PAGE = read_page("protocol.md")


@pytest.mark.parametrize("path", [DOCS / reference.PAGE, DOCS / reference.SCHEMA], ids=lambda path: path.name)
def test_the_files_are_up_to_date(path: Path) -> None:
    """`make docs-reference` would change nothing."""
    assert path.read_text(encoding="utf-8") == reference.files(DOCS)[path], "run make docs-reference"


def test_the_page_has_every_table_and_no_other() -> None:
    """One for the parameters of each method, and one for each thing that goes out."""
    assert sorted(reference.marks(PAGE)) == reference.expected_marks()
    assert not re.search(r"^\| (parameter|field) \|", reference._MARKED.sub("", PAGE), re.MULTILINE)


def test_a_table_keeps_what_it_means() -> None:
    """What was written by hand stays with its parameter; what is gone goes, and what is new waits for its words."""
    page = "<!-- params: klines -->\n\n| parameter | meaning |\n|---|---|\n| `old` | gone |\n| `limit` | by hand |\n"
    made = reference.page(page)
    assert "| `limit` | integer | 500 | an integer from 1 to 1000 | by hand |\n" in made
    assert "| `interval` | string | required | 1m, 5m, 15m, 1h, 4h or 1d | |\n" in made
    assert "gone" not in made
    assert reference.page(made) == made


def test_every_method_has_a_result_and_words_for_refusals() -> None:
    """So that no new one is forgotten."""
    assert reference.RESULTS.keys() == reference.METHODS.keys()
    assert reference._JUDGED.keys() <= reference.METHODS.keys()
    always = ", ".join(str(code) for code in sorted(reference.ALWAYS, reverse=True))
    assert re.sub(r", (-\d+)$", r" or \1", always) in " ".join(PAGE.split())


SCHEMA = reference.schema()
REQUEST = jsonschema.Draft202012Validator({**SCHEMA, "anyOf": [each["request"] for each in SCHEMA["methods"].values()]})


def test_the_schema_is_one() -> None:
    """By the rules of JSON Schema, with nothing that leads nowhere."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for target in re.findall(r"'\$ref': '#/\$defs/([^']*)'", str(SCHEMA)):
        assert target in SCHEMA["$defs"], target


PLACE = {"symbol": "BTC-USDT", "side": "BUY", "type": "LIMIT", "quantity": "1", "price": "2"}


@pytest.mark.parametrize(
    ("request_", "good"),
    [
        ({"method": "ping"}, True),
        ({"method": "ping", "id": "x" * 36, "params": {}}, True),
        ({"method": "ping", "id": "x" * 37}, False),
        ({"method": "ping", "id": 2**63}, False),
        ({"method": "ping", "params": {"a": 1}}, False),
        ({"method": "pong"}, False),
        ({"method": "order.place", "params": PLACE}, True),
        ({"method": "order.place", "params": {**PLACE, "postOnly": 1}}, False),
        ({"method": "order.place", "params": {**PLACE, "price": 2}}, False),
        ({"method": "order.place", "params": {**PLACE, "price": ""}}, False),
        ({"method": "order.place", "params": {**PLACE, "expireTime": 0}}, False),
        ({"method": "order.place", "params": {**PLACE, "recvWindow": 60_000}}, True),
        ({"method": "order.place", "params": {**PLACE, "recvWindow": 60_001}}, False),
        ({"method": "order.place", "params": {}}, False),
        ({"method": "order.batch", "params": {"orders": []}}, False),
        ({"method": "order.batch", "params": {"orders": [PLACE] * 50}}, True),
        ({"method": "order.batch", "params": {"orders": [PLACE] * 51}}, False),
        ({"method": "klines", "params": {"symbol": "BTC-USDT", "interval": "1w"}}, False),
        ({"method": "depth", "params": {"symbol": "BTC-USDT", "limit": 5_000}}, True),
        ({"method": "depth", "params": {"symbol": "BTC-USDT", "limit": 5_001}}, False),
    ],
)
def test_the_schema_takes_what_the_exchange_reads(request_: dict[str, Any], good: bool) -> None:
    """And refuses what it refuses, for the same requests."""
    assert REQUEST.is_valid(request_) == good
    try:
        read(wire.encode_lines([request_]).rstrip(b"\n"))
    except RefusedError:
        assert not good
    else:
        assert good


@pytest.mark.parametrize("price", ["1.5", "-1", "+1", "1e5", ".5", "5.", "1_0", "x", "0" * 41, "0" * 40])
def test_the_schema_knows_numbers(price: str) -> None:
    """As the exchange takes them apart, one step behind the reading."""
    good = re.fullmatch(r"[0-9]+(\.[0-9]+)?", price) is not None and len(price) <= 40
    assert REQUEST.is_valid({"method": "order.place", "params": {**PLACE, "price": price}}) == good

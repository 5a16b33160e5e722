"""Every example of docs/protocol.md, sent to a running demo: requests and replies are those of the JSON Schema."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has no types
import pytest

from tallystick import reference
from tests.live import live_exchange
from tests.pages import blocks, read_page
from tests.test_protocol_page import Conversation

pytestmark = pytest.mark.process


def strict(schema: Any) -> Any:
    """The schema, without its leave for later versions to say more."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {key: strict(part) for key, part in schema.items()}
    return {**parts, "additionalProperties": False} if "properties" in parts and "type" in parts else parts


SCHEMA = strict(reference.schema())


def check(line: Any, part: dict[str, Any]) -> None:
    """Raise ValidationError where the line is not what this part of the schema says."""
    jsonschema.Draft202012Validator({"$defs": SCHEMA["$defs"], **part}).validate(line)


class Judged(Conversation):
    """A conversation of which every line, there and back, is compared with the schema."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._asked: dict[Any, str] = {}
        self.done: set[str] = set()
        """The methods that were asked and answered by a result."""
        self.refused: set[tuple[str, str]] = set()
        """The methods that were refused, with the name of the code."""

    def _connect(self) -> None:
        super()._connect()
        self._asked = {}
        self._lines = self._judged(self._lines)

    def close(self) -> None:
        """Hang up; what reads the lines is in a circle with this, and holds the connection."""
        self._lines = iter(())
        super().close()

    def _signed(self, line: str) -> str:
        try:
            request = json.loads(line)
        except json.JSONDecodeError:
            return line
        method = request["method"]
        self._asked[request["id"]] = method
        if method in SCHEMA["methods"] and request["id"] not in WRONG:
            check(request, SCHEMA["methods"][method]["request"])
        return super()._signed(line)

    def _judged(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        for text in lines:
            line = json.loads(text)
            if "event" in line:
                check(line, SCHEMA["events"][line["event"]])
            elif line["status"] == 200:
                method = self._asked[line["id"]]
                check(line, SCHEMA["methods"][method]["reply"])
                self.done.add(method)
            else:
                check(line, {"$ref": "#/$defs/Refusal"})
                self._check_error(line)
            yield text

    def _check_error(self, line: Any) -> None:
        error = line["error"]
        assert SCHEMA["errors"][error["name"]] == {"code": error["code"], "status": line["status"]}
        method = self._asked.get(line.get("id"))
        if method is not None and method in SCHEMA["methods"]:
            assert error["name"] in SCHEMA["methods"][method]["errors"]
            self.refused.add((method, error["name"]))


# Examples of what the reading refuses.
WRONG = {15}


def test_every_example_is_what_the_schema_says(tmp_path: Path) -> None:
    """There and back, and each method is among them."""
    with live_exchange(tmp_path, "--quiet-market") as exchange:
        conversation = Judged(exchange.ready["client"])
        try:
            for block in blocks(read_page("protocol.md"), "jsonl"):
                conversation.run(block)
        finally:
            conversation.close()
    assert conversation.done == reference.METHODS.keys()
    assert ("order.cancel", "CANCEL_REJECTED") in conversation.refused


def test_the_schema_is_strict_enough_to_fail() -> None:
    """A field too many, one too few and one of another type are found, however deep."""
    good = {"id": 1, "status": 200, "result": {"symbol": "X", "seq": 1, "bids": [["1", "2"]], "asks": []}}
    reply = SCHEMA["methods"]["depth"]["reply"]
    check(good, reply)
    for wrong in ({"more": 1}, {"seq": "1"}, {"bids": [["1", 2]]}, {"bids": [["1"]]}):
        with pytest.raises(jsonschema.ValidationError):
            check({**good, "result": {**good["result"], **wrong}}, reply)  # type: ignore[dict-item]
    with pytest.raises(jsonschema.ValidationError):
        check({**good, "result": {"symbol": "X", "bids": [], "asks": []}}, reply)

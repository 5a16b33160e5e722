"""docs/client.md is true: its programs run and print what stands there, its tables are the code's."""

import ast
import contextlib
import inspect
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from persistence.exits import Exit
from tallystick import client_command
from tallystick.client import Exchange, Key, connect
from tallystick.reference import METHODS
from tests.live import live_exchange
from tests.pages import read_page, table

PAGE = read_page("client.md")


def programs() -> list[tuple[str, str]]:
    """Every block of Python, and the text that stands below it."""
    return re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.process
def test_the_programs(tmp_path: Path) -> None:
    """Each prints what the page says, in order, against a demo without anybody else."""
    assert PAGE.count("```python") == len(programs())
    with live_exchange(tmp_path, "--quiet-market") as exchange:
        port = int(exchange.ready["client"].split(":")[1])
        (first, expected), *others = programs()
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(_at(port, first), {})  # noqa: S102 - the page's own program is what is tested
        assert printed.getvalue() == expected
        trio.run(_run, port, others)


async def _run(port: int, examples: list[tuple[str, str]]) -> None:
    """Run what stands in an async function, with the names that the page has introduced."""
    async with connect(port=port, key="alice") as exchange:
        names: dict[str, Any] = {"exchange": exchange, "connect": connect}
        for source, expected in examples:
            code = compile(_at(port, source), "docs/client.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed), trio.fail_after(30):
                coroutine = eval(code, names)  # noqa: S307 - as above
                if inspect.iscoroutine(coroutine):
                    await coroutine
            assert printed.getvalue() == expected, source


def _at(port: int, source: str) -> str:
    return source.replace("connect(key=", f"connect(port={port}, key=")


def test_every_method_has_its_call() -> None:
    """In the order of the protocol's page; a call that is named is there."""
    rows = table(PAGE, "method", "call")
    assert [row[0] for row in rows] == list(METHODS)
    streams = [row[0] for row in table(PAGE, "stream", "events")]
    for text in [*(row[1] for row in rows), *streams]:
        for name in re.findall(r"exchange\.(\w+)\(", text):
            assert callable(getattr(Exchange, name)), name


def test_the_exit_codes() -> None:
    """All of the command's, by their numbers."""
    codes = [int(row[0]) for row in table(PAGE, "exit code", "meaning")]
    ours = [client_command.REFUSED, client_command.NOT_DONE, client_command.OUTCOME_UNKNOWN]
    assert codes == sorted([Exit.DONE, Exit.USAGE, *ours])


def test_the_options() -> None:
    """Those that are environment variables too."""
    assert list(_options()) == [row[:2] for row in table(PAGE, "option", "variable", "")]


def _options() -> Iterator[tuple[str, str]]:
    for name, parameter in inspect.signature(client_command.client).parameters.items():
        option = parameter.annotation.__metadata__[0]
        if option.envvar:
            yield f"--{name.replace('_', '-')}", option.envvar


def test_the_key_of_the_example() -> None:
    """Is one that a demo knows."""
    (seed,) = re.findall(r'Key\.from_hex\("alice", "([0-9a-f]+)"\)', PAGE)
    assert Key.from_hex("alice", seed).seed is not None

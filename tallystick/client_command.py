"""`tallystick client`: one request from a shell, or a prompt with completion; answers as JSON or as tables."""

import ssl
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from json import dumps
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import trio
import typer
from attrs import frozen
from rich.console import Console

from persistence.exits import Exit
from tallystick.client import ClientError, Exchange, Key, Missed, NotConnected, NotDone, OutcomeUnknown, Timing, connect
from tallystick.client.events import ChannelEvent
from tallystick.client_answers import render
from tallystick.client_prompt import Beside, Prompt, symbols_of
from tallystick.client_words import Words, WordsError, request_of, split, usage
from tallystick.reference import METHODS
from tallystick.tables import table

# Exit codes besides those of `Exit`; docs/client.md has them all.
REFUSED: Final = 1
NOT_DONE: Final = 10
OUTCOME_UNKNOWN: Final = 11


class UsageError(Exception):
    """The options do not say what is wanted; one line for people."""


def client(
    words: Annotated[
        list[str] | None,
        typer.Argument(help="A method and its parameters, name=value; none for a prompt.", show_default=False),
    ] = None,
    *,
    host: Annotated[str, typer.Option(envvar="TALLYSTICK_HOST", help="Where the exchange is.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="TALLYSTICK_PORT", min=1, max=65_535, help="The same.")] = 7700,
    key: Annotated[
        str | None, typer.Option(envvar="TALLYSTICK_KEY", help="Log on with this key, such as alice of the demo.")
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            "--key-file",
            envvar="TALLYSTICK_KEY_FILE",
            help="The key's private half, 64 hexadecimal digits. A demo needs none.",
        ),
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", envvar="TALLYSTICK_TLS", help="Speak TLS.")] = False,
    ca_file: Annotated[
        Path | None,
        typer.Option("--ca-file", envvar="TALLYSTICK_CA_FILE", help="Trust this certificate, not the system's."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print results as lines of JSON.")] = False,
    timeout: Annotated[float, typer.Option(min=0.1, max=3600.0, help="Seconds to wait for an answer.")] = 10.0,
) -> None:
    """Send one request to an exchange, or, without words, talk to it at a prompt."""
    screen = Screen(as_json=json)
    try:
        request = request_of(words) if words else None
        there = There(host, port, _key(key, key_file), _context(ca_file) if tls or ca_file else None, timeout)
    except (WordsError, UsageError) as error:
        screen.complain(str(error))
        raise typer.Exit(Exit.USAGE) from None
    try:
        if request is None:
            _talk(there, screen)
        else:
            _run(there, request, screen)
    except KeyboardInterrupt:
        raise typer.Exit(Exit.DONE if request and request[0] == "subscribe" else OUTCOME_UNKNOWN) from None
    except NotConnected as error:
        screen.complain(f"no exchange at {host}, port {port}: {error}; name it with --host and --port")
        raise typer.Exit(exit_code(error)) from None
    except ClientError as error:
        screen.complain(str(error))
        raise typer.Exit(exit_code(error)) from None


@frozen
class There:
    """Where the exchange is, and as whom it is spoken to."""

    host: str
    port: int
    key: Key | None
    tls: ssl.SSLContext | None
    timeout_seconds: float

    def connect(self) -> AbstractAsyncContextManager[Exchange]:
        """A connection that lasts as long as its block."""
        timing = Timing(answer_seconds=self.timeout_seconds, connect_seconds=self.timeout_seconds)
        return connect(self.host, self.port, key=self.key, tls=self.tls, timing=timing)


class Screen:
    """Where answers are shown."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console()

    def show(self, method: str, result: Any) -> None:
        """One result."""
        if self._as_json:
            typer.echo(msgspec.json.encode(result).decode())
        else:
            self._console.print(render(method, result), soft_wrap=True)

    def event(self, event: ChannelEvent) -> None:
        """One event, always as a line of JSON, with numbers as they came."""
        typer.echo(dumps(msgspec.to_builtins(event, builtin_types=(Decimal,)), default="{:f}".format))

    def help(self, method: str) -> None:
        """What a method takes, or which methods there are."""
        if method not in METHODS:
            rows = [{"method": name, "": (kind.__doc__ or "").splitlines()[0]} for name, kind in METHODS.items()]
            self._console.print(table(rows))
        else:
            self._console.print(table(usage(method)) if usage(method) else f"{method} takes no parameters")

    def complain(self, why: str) -> None:
        """Say what went wrong."""
        typer.echo(f"tallystick: {why}", err=True)


def exit_code(error: ClientError) -> int:
    """What a script is told: whether it was refused, not done, or whether nobody knows."""
    if isinstance(error, OutcomeUnknown):
        return OUTCOME_UNKNOWN
    if isinstance(error, NotConnected):
        return Exit.USAGE
    return NOT_DONE if isinstance(error, NotDone) else REFUSED


def _key(name: str | None, file: Path | None) -> Key | None:
    if name is None:
        if file is not None:
            raise UsageError("a key file needs the key's name: give --key too")
        return None
    if file is not None:
        try:
            return Key.from_hex(name, file.read_text(encoding="ascii"))
        except OSError as error:
            raise UsageError(f"cannot read {file}: {error.strerror}") from None
        except ValueError as error:
            raise UsageError(f"{file}: {error}") from None
    return Key(name)


def _context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise UsageError(f"cannot take {ca_file} for a certificate: {error.strerror or error}") from None


# One request ----------------------------------------------------------------------------------------------------------


def _run(there: There, request: Words, screen: Screen) -> None:
    try:
        trio.run(_once, there, request, screen)
    except BaseExceptionGroup as group:
        # Ctrl-C comes to whichever task there is, and out of its nursery.
        if group.subgroup(KeyboardInterrupt) is not None:
            raise KeyboardInterrupt from None
        raise


async def _once(there: There, request: Words, screen: Screen) -> None:
    async with there.connect() as exchange:
        await _answer(exchange, request, screen)


async def _answer(exchange: Exchange, request: Words, screen: Screen) -> None:
    method, params = request
    if method == "subscribe" and params.get("channels"):
        await _follow(exchange, params["channels"], screen)
    elif method in _SESSION:
        raise _OursError(f"{method} is not for the shell: {_SESSION[method]}")
    else:
        screen.show(method, await exchange.call(method, params))


class _OursError(ClientError):
    """What makes no sense here."""


_SESSION: Final = {
    "session.logon": "give --key",
    "unsubscribe": "Ctrl-C ends a subscription",
    "resume": "subscribe does so by itself",
}


async def _follow(exchange: Exchange, channels: Sequence[str], screen: Screen) -> None:
    """Show the events of these channels, until somebody is tired of it."""
    failure: ClientError | None = None

    async def follow(channel: str) -> None:
        nonlocal failure
        try:
            async with exchange.lines(channel) as events:
                while True:
                    try:
                        screen.event(await anext(events))
                    except Missed as missed:
                        screen.complain(str(missed))
        except ClientError as error:
            failure = failure or error
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for channel in channels:
            nursery.start_soon(follow, channel)
    if failure is not None:
        raise failure


# The prompt -----------------------------------------------------------------------------------------------------------


def _talk(there: There, screen: Screen, prompt: Prompt | None = None) -> None:
    """Answer lines until there are no more."""
    with Beside(there.connect) as beside:
        if prompt is None:
            prompt = Prompt(symbols_of(beside.run(lambda exchange: exchange.ask(exchange.call("exchangeInfo", {})))))
        for line in prompt.lines():
            answer(beside, line, screen)


def answer(beside: Beside, line: str, screen: Screen) -> None:
    """What came of one line, or what is wrong with it."""
    try:
        words = split(line)
        if words[0] == "help":
            screen.help(words[1] if len(words) > 1 else "")
            return
        request = request_of(words)
        _interruptible(beside, request, screen)
    except (WordsError, ClientError) as error:
        screen.complain(str(error))


def _interruptible(beside: Beside, request: Words, screen: Screen) -> None:
    """Wait for an answer no longer than somebody is patient."""
    try:
        beside.run(lambda exchange: _answer(exchange, request, screen))
    except KeyboardInterrupt:
        if request[0] != "subscribe":
            screen.complain("you did not wait for the answer: it may be done, or not")

"""The operators' door: a Unix socket that answers each line with a line.

A line is a JSON request as on the clients' wire, `{"id":1,"method":"actor.restart","params":{"name":"matching"}}`, or
bare words, `actor.restart matching` or `actor.restart name=matching`, so that `socat` is enough. The answer has the
wire's envelope either way. Whoever may open the socket file (mode 0660) and is root, the user the exchange runs as, or
a uid that the configuration names, is an operator. Every call that changes something is written to the log: who, what,
how it ended.
"""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Final

import msgspec
import structlog
import trio
from attrs import Attribute, field, frozen
from trio.abc import HalfCloseableStream, Listener

from actors.accepting import serve_some
from actors.admin_command import AdminCommand, BadCall
from actors.audit_book import AuditBook, kind_of
from actors.mailbox import NotDone, OutcomeUnknown
from actors.world import Credentials, Network
from book import codes

LINE_BYTES: Final = 65_536
CONNECTIONS: Final = 32
SOCKET_MODE: Final = 0o660
# An operator may sit and think, but a forgotten connection does not keep its place for ever.
IDLE_SECONDS: Final = 3600.0
SEND_SECONDS: Final = 10.0
STOP_SECONDS: Final = 1.0

_log = structlog.get_logger("admin")


def _is_file_path(_config: object, attribute: "Attribute[Path]", value: Path) -> None:
    if not value.name or "\0" in str(value):
        raise ValueError(f"{attribute.name} must be the path of a file to be, not {str(value)!r}")


@frozen
class AdminConfig:
    """Where operators knock, and who may come in."""

    socket: Path = field(validator=_is_file_path)
    """Path of the Unix socket."""
    operators: frozenset[int] = frozenset()
    """Uids that are operators, beside those named by the module."""
    test_money: bool = False
    """Whether operators may credit money that never came."""


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    method: str
    id: int | str | None = None
    params: dict[str, object] = {}  # msgspec copies an empty default


class _Refusal(Exception):  # noqa: N818 - an answer on its way, not a fault
    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class _Waits:
    """Waits that a stop cuts short: for the next connection, for an operator's next words."""

    def __init__(self) -> None:
        self._scopes: set[trio.CancelScope] = set()
        self._ended = False

    @contextmanager
    def wait(self, seconds: float) -> Iterator[None]:
        """A block that is left when the time is up, or at the end of all waiting."""
        with trio.move_on_after(0 if self._ended else seconds) as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)

    def end(self) -> None:
        """End all waits, also those to come."""
        self._ended = True
        for scope in self._scopes:
            scope.cancel()


class Admin:
    """Serves the socket; the commands themselves are handed in."""

    def __init__(
        self,
        config: AdminConfig,
        network: Network,
        own_uid: int,
        commands: Mapping[str, AdminCommand],
        *,
        book: AuditBook | None = None,
    ) -> None:
        self._book = book
        self._config = config
        self._network = network
        self._allowed = config.operators | {0, own_uid}
        self._commands = commands
        self._waits = _Waits()

    async def run(self, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve until `stop`; a command that runs then is finished and answered.

        Raises:
            CannotListen: the socket cannot be made.
        """
        listener = await self._network.listen_unix(self._config.socket, SOCKET_MODE)
        self._waits = _Waits()
        async with listener, trio.open_nursery() as nursery:
            nursery.start_soon(self._accept, listener, nursery)
            task_status.started()
            await stop.wait()
            # A command that runs may finish and be answered, unless it is one that waits for this very stop.
            nursery.cancel_scope.deadline = trio.current_time() + STOP_SECONDS
            self._waits.end()

    async def _accept(self, listener: Listener[HalfCloseableStream], nursery: trio.Nursery) -> None:
        with self._waits.wait(inf):
            await serve_some(listener, self._serve, nursery, most=CONNECTIONS)

    async def _serve(self, stream: HalfCloseableStream) -> None:
        try:
            async with stream:
                await self._converse(stream, self._network.credentials(stream))
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # the operator has gone, which is an operator's right

    async def _converse(self, stream: HalfCloseableStream, who: Credentials) -> None:
        if who.uid not in self._allowed:
            _log.warning("refused", uid=who.uid, pid=who.pid)
            await _send(stream, _error(None, _Refusal(403, codes.UNAUTHORIZED, f"uid {who.uid} is not an operator")))
            return
        rest = b""
        while True:
            line, found, rest = rest.partition(b"\n")
            if found:
                if line.strip():
                    await _send(stream, await self.answer(line, who))
                continue
            rest = line
            if len(rest) > LINE_BYTES:
                refusal = _Refusal(400, codes.INVALID_PARAMETER, f"a line is longer than {LINE_BYTES} bytes")
                await _send(stream, _error(None, refusal))
                return
            received = b""
            with self._waits.wait(IDLE_SECONDS):
                received = bytes(await stream.receive_some(LINE_BYTES))
            if not received:
                return
            rest += received

    async def answer(self, line: bytes, who: Credentials) -> bytes:
        """One line's answer, with its newline."""
        request_id: int | str | None = None
        try:
            request = _parse(line)
            request_id = request.id
            return _encode({"id": request_id, "status": 200, "result": await self._call(request, who)})
        except _Refusal as refusal:
            return _error(request_id, refusal)

    async def _call(self, request: _Request, who: Credentials) -> object:
        command = self._commands.get(request.method)
        if command is None:
            raise _Refusal(
                400, codes.UNSUPPORTED_METHOD, f"there is no command {request.method!r:.50}; 'help' lists them"
            )
        outcome = "cut off by a stop; look whether it was done"
        try:
            with trio.fail_after(command.deadline_seconds):
                result = await command.call(_words(request.params), f"uid-{who.uid}")
        except BadCall as error:
            outcome = str(error)
            raise _Refusal(400, codes.INVALID_PARAMETER, outcome) from error
        except NotDone as error:
            outcome = f"not done: {error}"
            raise _Refusal(503, codes.SERVER_BUSY, outcome) from error
        except OutcomeUnknown as error:
            outcome = f"the outcome is unknown: {error}; look before you try again"
            raise _Refusal(500, codes.TIMEOUT, outcome) from error
        except trio.TooSlowError as error:
            outcome = f"no answer within {command.deadline_seconds:g} s; look before you try again"
            raise _Refusal(500, codes.TIMEOUT, outcome) from error
        except Exception as error:
            outcome = f"failed: {error!r}"
            _log.exception("a command failed", call=request.method)
            raise _Refusal(500, codes.UNKNOWN, "the command failed by a bug of ours; the log has it") from error
        else:
            outcome = "done"
            return result
        finally:
            if command.changes:
                self._note(request, who, outcome)
                _log.info(
                    "admin call", uid=who.uid, pid=who.pid, call=request.method, params=request.params, outcome=outcome
                )

    def _note(self, request: _Request, who: Credentials, outcome: str) -> None:
        """For the store's audit."""
        if self._book is not None:
            words = " ".join(str(word) for word in request.params.values())
            what = f"{request.method} {words}".strip()
            self._book.note(kind_of(request.method), f"uid {who.uid}", what, outcome)


def _parse(line: bytes) -> _Request:
    """A request from JSON or from bare words; words after the first become params '0', '1' and so on."""
    try:
        text = line.decode()
        if text.lstrip().startswith("{"):
            return msgspec.json.decode(line, type=_Request)
        method, *words = shlex.split(text)
    except (ValueError, RecursionError) as error:
        form = 'a JSON request {"method":…,"params":{…}} or bare words, in UTF-8'
        raise _Refusal(400, codes.INVALID_JSON, f"this line is not {form}") from error
    params: dict[str, object] = {str(place): word for place, word in enumerate(w for w in words if w != "--yes")}
    if "--yes" in words:
        params["yes"] = True
    return _Request(method, None, params)


def _words(params: dict[str, object]) -> dict[str, str | int | bool]:
    """The params, each of which must be what a word can say."""
    words: dict[str, str | int | bool] = {}
    for name, value in params.items():
        if not isinstance(value, str | int):
            raise BadCall(f"{name:.50} must be a string, a whole number, true or false")
        words[name] = value
    return words


async def _send(stream: HalfCloseableStream, data: bytes) -> None:
    with trio.fail_after(SEND_SECONDS):
        await stream.send_all(data)


def _error(request_id: int | str | None, refusal: _Refusal) -> bytes:
    error = {"code": refusal.code, "name": codes.CODE_NAMES[refusal.code], "msg": str(refusal)}
    return _encode({"id": request_id, "status": refusal.status, "error": error})


def _encode(reply: dict[str, object]) -> bytes:
    if reply["id"] is None:
        del reply["id"]
    return msgspec.json.encode(reply) + b"\n"

"""The operators' door: a Unix socket that answers each line with a line.

A line is a JSON request as on the clients' wire, `{"id":1,"method":"actor.restart","params":{"name":"matching"}}`, or
bare words, `actor.restart matching` or `actor.restart name=matching`, so that `socat` is enough. The answer has the
wire's envelope either way. Whoever may open the socket file (mode 0660) and is root, the user the exchange runs as, or
a uid that the configuration names, is an operator; an observer may look, and change nothing. Every call that changes
something is logged and goes into the audit trail, before it is answered: who, what, how it ended.
"""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Final, Protocol

import msgspec
import structlog
import trio
from attrs import Attribute, field, frozen
from trio.abc import HalfCloseableStream, Listener

from actors.accepting import serve_some
from actors.admin_command import AdminCommand, BadCall, Followed
from actors.audit import AuditEntry
from actors.audit_book import AuditBook, kind_of
from actors.diagnosis import is_too_deep
from actors.mailbox import NotDone, OutcomeUnknown
from actors.world import Clock, Credentials, Network
from book import codes
from book.terms import NS_PER_MS
from persistence.exits import NoSpace

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
    observers: frozenset[int] = frozenset()
    """Uids that may run the commands that change nothing."""
    test_money: bool = False
    """Whether operators may credit money that never came."""


class Audit(Protocol):
    """Where calls that change something are written down."""

    async def make_room(self) -> None:
        """Make sure that the next entry has a place. Raises NoSpace."""
        ...

    async def record(self, entry: AuditEntry) -> None:
        """Write it down for good."""
        ...


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
        audit: Audit,
        clock: Clock,
        book: AuditBook | None = None,
    ) -> None:
        self._book = book
        self._config = config
        self._network = network
        self._operators = config.operators | {0, own_uid}
        self._commands = commands
        self._audit = audit
        self._clock = clock
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
        if who.uid not in self._operators | self._config.observers:
            _log.warning("refused", uid=who.uid, pid=who.pid)
            await _send(stream, _error(None, _Refusal(403, codes.UNAUTHORIZED, f"uid {who.uid} is not an operator")))
            return
        rest = b""
        while True:
            line, found, rest = rest.partition(b"\n")
            if found:
                if line.strip():
                    answer, followed = await self.answer(line, who)
                    await _send(stream, answer)
                    if followed is not None:
                        await self._follow(stream, followed)
                        return
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

    async def _follow(self, stream: HalfCloseableStream, followed: Followed) -> None:
        """Write events until a stop, or until the operator says anything or hangs up."""
        with followed.opened() as source:
            async with trio.open_nursery() as nursery:

                async def write() -> None:
                    while True:
                        await _send(stream, b"".join(msgspec.json.encode(e) + b"\n" for e in await source.next()))

                nursery.start_soon(write)
                # No deadline: who watches, watches; one that does not read what comes is hung up on.
                with self._waits.wait(inf):
                    await stream.receive_some(LINE_BYTES)
                nursery.cancel_scope.cancel()

    async def answer(self, line: bytes, who: Credentials) -> tuple[bytes, Followed | None]:
        """One line's answer, with its newline, and what follows it."""
        request_id: int | str | None = None
        try:
            request = _parse(line)
            request_id = request.id
            command = self._command(request, who)
            if command.changes:
                await self._audit.make_room()
            result = await self._call(command, request, who)
        except _Refusal as refusal:
            return _error(request_id, refusal), None
        except NoSpace as error:
            words = f"not done: the audit trail has no room: {error}"
            return _error(request_id, _Refusal(503, codes.SERVER_BUSY, words)), None
        if isinstance(result, Followed):
            return _encode({"id": request_id, "status": 200, "result": {"following": request.method}}), result
        return _encode({"id": request_id, "status": 200, "result": result}), None

    def _command(self, request: _Request, who: Credentials) -> AdminCommand:
        command = self._commands.get(request.method)
        if command is None:
            raise _Refusal(
                400, codes.UNSUPPORTED_METHOD, f"there is no command {request.method!r:.50}; 'help' lists them"
            )
        if command.changes and who.uid not in self._operators:
            _log.warning("refused", uid=who.uid, pid=who.pid, call=command.name)
            words = f"uid {who.uid} is an observer, and {command.name} changes something"
            raise _Refusal(403, codes.REJECTED_KEY, words)
        return command

    async def _call(self, command: AdminCommand, request: _Request, who: Credentials) -> object:
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
                await self._write_down(request, who, outcome)

    async def _write_down(self, request: _Request, who: Credentials, outcome: str) -> None:
        _log.info(
            "admin call",
            uid=who.uid,
            pid=who.pid,
            id=request.id,
            call=request.method,
            params=request.params,
            outcome=outcome,
        )
        time_ms = self._clock.wall_ns() // NS_PER_MS
        entry = AuditEntry(time_ms, who.uid, who.pid, request.method, request.params, outcome)
        with trio.CancelScope(shield=True):  # a write and a sync, as long as the disk takes
            await self._audit.record(entry)

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
            return _read_json(line)
        method, *words = shlex.split(text)
    except ValueError as error:
        form = 'a JSON request {"method":…,"params":{…}} or bare words, in UTF-8'
        raise _Refusal(400, codes.INVALID_JSON, f"this line is not {form}") from error
    params: dict[str, object] = {str(place): word for place, word in enumerate(w for w in words if w != "--yes")}
    if "--yes" in words:
        params["yes"] = True
    return _Request(method, None, params)


def _read_json(line: bytes) -> _Request:
    if is_too_deep(line):
        raise ValueError("nested too deeply")
    return msgspec.json.decode(line, type=_Request)


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

"""The admin socket by itself: who may come in, and how commands are called."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from structlog.testing import capture_logs
from trio.abc import HalfCloseableStream

from actors.admin import Admin, AdminConfig
from actors.admin_command import AdminCommand, BadCall
from actors.admin_commands import AdminCommands
from actors.audit import AuditEntry
from actors.demo_commands import DemoCommands
from actors.mailbox import Busy, Mailbox, NotDone, OutcomeUnknown
from actors.money_commands import Money
from actors.requests import Batch
from actors.world import Credentials
from persistence.exits import NoSpace
from tests.exchange_commands import without_anything
from tests.simulation.network import MemoryNetwork
from tests.simulation.world import VirtualClock

OWN_UID = 1000
SOCKET = Path("admin.sock")


class Audit:
    """Keeps what it is told; without room when told so."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []
        self.full = False

    async def make_room(self) -> None:
        """There is some, or not."""
        await trio.lowlevel.checkpoint()
        if self.full:
            raise NoSpace("the disk is full")

    async def record(self, entry: AuditEntry) -> None:
        """Keep it."""
        await trio.lowlevel.checkpoint()
        self.entries.append(entry)


class Door:
    """The admin socket in a network of its own, and whoever knocks there."""

    def __init__(
        self, uid: int, operators: frozenset[int] = frozenset(), observers: frozenset[int] = frozenset()
    ) -> None:
        self._who = Credentials(7, uid, uid)
        self._network = MemoryNetwork()
        config = AdminConfig(SOCKET, operators, observers)
        self.audit = Audit()
        self._admin = Admin(config, self._network, OWN_UID, COMMANDS, audit=self.audit, clock=VirtualClock())

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[trio.Event]:
        """While the admin serves; at the end of the block, or when this is set, it stops."""
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            await nursery.start(self._run, stop)
            yield stop
            stop.set()

    async def _run(self, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        await self._admin.run(stop, task_status=task_status)

    def knock(self) -> HalfCloseableStream:
        """A new connection."""
        assert self._network.listeners[SOCKET].mode == 0o660
        return self._network.connect_unix(SOCKET, self._who)


async def echo(word: str) -> object:
    """A command for the tests."""
    if word == "bad":
        raise BadCall("'bad' is not a good word")
    if word == "busy":
        raise Busy("no room")
    if word == "unsure":
        raise OutcomeUnknown("its actor crashed")
    if word == "bug":
        raise ZeroDivisionError
    if word == "slow":
        await trio.sleep(2)
    if word == "hang":
        await trio.sleep_forever()
    return {"word": word}


COMMANDS = {
    "echo": AdminCommand("echo", ("word",), "say it again", echo, changes=True),
    "hurt": AdminCommand("hurt", ("word",), "say it, and mean it", echo, wants_yes=True),
}


async def converse(uid: int, *lines: bytes, operators: frozenset[int] = frozenset()) -> list[Any]:
    """What is answered to these lines, each sent when the one before is answered."""
    door = Door(uid, operators)
    answers: list[Any] = []
    async with door.opened():
        stream = door.knock()
        for line in lines:
            await stream.send_all(line)
            answers.append(json.loads(await stream.receive_some()))
    return answers


@pytest.mark.parametrize("uid", [0, OWN_UID, 4321])
async def test_operators_come_in(uid: int) -> None:
    """Root, the exchange's own user and the uids of the configuration are answered."""
    answers = await converse(uid, b"echo hello\n", operators=frozenset({4321}))
    assert answers == [{"status": 200, "result": {"word": "hello"}}]


async def test_strangers_do_not() -> None:
    """Another uid is told so, whatever it asks, and it is logged."""
    door = Door(4321)
    with capture_logs() as logs:
        async with door.opened():
            stream = door.knock()
            answer = json.loads(await stream.receive_some())
            assert await stream.receive_some() == b""
    assert (answer["status"], answer["error"]["msg"]) == (403, "uid 4321 is not an operator")
    assert [(entry["event"], entry["uid"]) for entry in logs] == [("refused", 4321)]


async def test_observers_only_look() -> None:
    """What changes nothing is done for them, whatever else is refused, logged and not written down."""
    door = Door(4321, observers=frozenset({4321}))
    async with door.opened():
        stream = door.knock()
        await stream.send_all(b"hurt word --yes\necho word\n")
        lines = b""
        while lines.count(b"\n") < 2:
            lines += await stream.receive_some()
    looked, refused = map(json.loads, lines.splitlines())
    assert looked == {"status": 200, "result": {"word": "word"}}
    assert (refused["status"], refused["error"]["msg"]) == (403, "uid 4321 is an observer, and echo changes something")
    assert door.audit.entries == []


async def test_changing_calls_are_written_down() -> None:
    """How they ended, before they are answered; those that only look are not, nor what there is not."""
    door = Door(0)
    async with door.opened():
        stream = door.knock()
        for line in (
            b"echo hello\n",
            b'{"id":7,"method":"echo","params":{"word":"bad"}}\n',
            b"hurt a --yes\n",
            b"what\n",
        ):
            await stream.send_all(line)
            await stream.receive_some()
            if line == b"echo hello\n":
                assert len(door.audit.entries) == 1
    assert [(entry.uid, entry.call, entry.params, entry.outcome) for entry in door.audit.entries] == [
        (0, "echo", {"0": "hello"}, "done"),
        (0, "echo", {"word": "bad"}, "'bad' is not a good word"),
    ]


async def test_what_cannot_be_written_down_is_not_done() -> None:
    """A changing call is refused while the audit trail has no room."""
    door = Door(0)
    door.audit.full = True
    async with door.opened():
        stream = door.knock()
        await stream.send_all(b"echo hello\n")
        answer = json.loads(await stream.receive_some())
        await stream.send_all(b"hurt hello --yes\n")
        assert json.loads(await stream.receive_some())["status"] == 200
    assert (answer["status"], answer["error"]["code"]) == (503, -1008)
    assert door.audit.entries == []


async def test_calls_by_name_and_by_place() -> None:
    """JSON params by name, bare words by place; an id comes back as it was."""
    answers = await converse(
        0,
        b'{"id":"x","method":"echo","params":{"word":"a b"}}\n',
        b'echo "a b"\n',
        b'{"id":7,"method":"hurt","params":{"0":"a","yes":true}}\n',
        b"hurt a --yes\n",
    )
    assert answers == [
        {"id": "x", "status": 200, "result": {"word": "a b"}},
        {"status": 200, "result": {"word": "a b"}},
        {"id": 7, "status": 200, "result": {"word": "a"}},
        {"status": 200, "result": {"word": "a"}},
    ]


@pytest.mark.parametrize(
    ("line", "status", "words"),
    [
        (b"echo\n", 400, "usage: echo WORD"),
        (b"echo a b\n", 400, "usage: echo WORD"),
        (b"hurt a\n", 400, "mean it: hurt WORD --yes"),
        (b'{"method":"hurt","params":{"word":"a","yes":"true"}}\n', 400, "mean it: hurt WORD --yes"),
        (b'{"method":"echo","params":{"world":"a"}}\n', 400, "usage: echo WORD"),
        (b"echo bad\n", 400, "'bad' is not a good word"),
        (b"echo busy\n", 503, "not done: no room"),
        (b"echo unsure\n", 500, "the outcome is unknown: its actor crashed"),
        (b"echo hang\n", 500, "no answer within 30 s"),
        (b'{"method":"echo","params":{"' + b"9" * 5000 + b'":1}}\n', 400, "usage: echo WORD"),
        (b"echo bug\n", 500, "a bug of ours"),
        (b"nothing\n", 400, "there is no command 'nothing'"),
        (b'{"method":"echo","word":"a"}\n', 400, "not a JSON request"),
        (b"[" * 3000 + b"\n", 400, "there is no command"),
        (b'{"method":"echo","params":' + b"[" * 30_000 + b"\n", 400, "not a JSON request"),
        (b'{"method":"echo","params":{"word":["a"]}}\n', 400, "word must be a string, a whole number, true or false"),
        (b'{"method":"echo","params":{"word":null}}\n', 400, "word must be a string"),
        (b'{"method":"echo","params":{"word":1.5}}\n', 400, "word must be a string"),
        (b'{"method":"echo","params":{"word":' + b"[" * 5_000 + b"]" * 5_000 + b"}}\n", 400, "not a JSON request"),
        (b"a" * 70_000, 400, "longer than 65536 bytes"),
    ],
)
async def test_bad_calls_are_told_what_is_wrong(
    line: bytes, status: int, words: str, autojump_clock: trio.testing.MockClock
) -> None:
    """Each wrong call gets one answer that says what is wrong, and the connection goes on."""
    assert autojump_clock.rate == 0
    (answer,) = await converse(0, line)
    assert answer["status"] == status
    assert words in answer["error"]["msg"]


async def test_what_changes_something_is_audited() -> None:
    """Who, what and how it ended, also when it was refused; what only looks is not written down."""
    with capture_logs() as logs:
        await converse(0, b"echo hello\n", b"echo bad\n", b"hurt a --yes\n")
    assert [(entry["call"], entry["uid"], entry["outcome"]) for entry in logs] == [
        ("echo", 0, "done"),
        ("echo", 0, "'bad' is not a good word"),
    ]


async def test_params_may_have_any_name() -> None:
    """A parameter named like a field of the audit's line is a wrong parameter, and nothing else."""
    with capture_logs() as logs:
        (answer,) = await converse(0, b'{"method":"echo","params":{"word":"a","uid":"1","event":"x","call":"y"}}\n')
    assert answer["status"] == 400
    assert [(entry["call"], entry["uid"]) for entry in logs] == [("echo", 0)]


async def test_a_stop_lets_a_command_finish(autojump_clock: trio.testing.MockClock) -> None:
    """Idle connections end at once, a running command gets a second."""
    assert autojump_clock.rate == 0
    door = Door(0)
    async with door.opened() as stop:
        idle, busy = door.knock(), door.knock()
        await busy.send_all(b"echo slow\n")
        await trio.sleep(1.5)
        stop.set()
        assert await idle.receive_some() == b""
        assert json.loads(await busy.receive_some()) == {"status": 200, "result": {"word": "slow"}}
    assert trio.current_time() < 2.1


async def test_a_command_that_a_stop_cuts_off_is_not_called_done(autojump_clock: trio.testing.MockClock) -> None:
    """It may have been, or not: the audit says just that, and the operator gets no answer."""
    assert autojump_clock.rate == 0
    door = Door(0)
    with capture_logs() as logs:
        async with door.opened() as stop:
            stream = door.knock()
            await stream.send_all(b"echo hang\n")
            await trio.sleep(0.5)
            stop.set()
            assert await stream.receive_some() == b""
    assert [(entry["call"], entry["outcome"]) for entry in logs] == [
        ("echo", "cut off by a stop; look whether it was done")
    ]


@pytest.mark.parametrize("fate", [Busy("matching restarts"), OutcomeUnknown("the writer crashed")])
async def test_what_becomes_of_a_question_to_the_engine_is_told_as_it_is(fate: NotDone | OutcomeUnknown) -> None:
    """Also where the batch came back, but its one question was not answered: that is no mistake of the operator's."""
    matching: Mailbox[Batch] = Mailbox("matching", 1, rank=0)
    nothing = cast("Any", None)
    commands = AdminCommands(
        tree=nothing,
        matching=matching.sender(1),
        sessions=nothing,
        log_state=nothing,
        snapshots=nothing,
        snapshot_state=nothing,
        backup=nothing,
        backup_state=nothing,
        chain_states=nothing,
        store_state=nothing,
        archive_state=nothing,
        demo=DemoCommands({}, {}, nothing),
        money=Money(),
        clock=nothing,
        version="0",
        entropy=nothing,
        test_money=False,
        system=without_anything(),
    ).table()

    async def settle() -> None:
        (await matching.receive()).settle([fate])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(settle)
        with pytest.raises(type(fate), match=str(fate)):
            await commands["market.list"].call({})

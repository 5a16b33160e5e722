"""What operators can ask for: one function a command, and the table of them.

A command takes words and gives a plain value that the admin socket encodes. Those that change something say so, and
those that may hurt want `--yes` (`"yes":true` in JSON). Here are those about the running program; what is traded and by
whom is in `market_commands` and `account_commands`, what is paid in and out in `money_commands`.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from attrs import asdict

from actors.account_commands import AccountCommands
from actors.admin_command import WORK_SECONDS, AdminCommand, BadCall
from actors.archivist import ArchiveState
from actors.backup import BackupState, RunBackup
from actors.chain_parts import ChainStates
from actors.demo_commands import DemoCommands
from actors.engine_line import ROOM_SECONDS, EngineLine
from actors.gateway import Sessions
from actors.mailbox import Sender
from actors.market_commands import MarketCommands
from actors.money_commands import Money, MoneyCommands
from actors.reqlog_writer import LogState
from actors.requests import Batch
from actors.snapshotter import SnapshotCall, SnapshotState
from actors.store_keeper import StoreState
from actors.supervision import NotRunning, NotStarted, SupervisorStatistics, UnknownChild
from actors.system_commands import SystemCommands
from actors.world import Clock, Entropy
from book.compiled import COMPILED
from book.engine import ENGINE_VERSION
from book.queries import Info, InfoView
from book.terms import MARKET_STATES

SESSION_DIGITS: Final = 19
# The actor that runs these commands.
OURSELVES: Final = "admin"


class Tree(Protocol):
    """The supervision tree, as operators may handle it."""

    def statistics(self) -> SupervisorStatistics:
        """What every child is doing."""
        ...

    async def restart(self, name: str) -> None:
        """Stop and start one child; raises UnknownChild, NotRunning or NotStarted."""
        ...

    async def start(self, name: str) -> None:
        """Start one child unless it runs; raises as `restart`."""
        ...

    async def stop(self, name: str) -> None:
        """Stop one child, which stays down; raises UnknownChild or NotRunning."""
        ...

    def request_stop(self) -> None:
        """Begin the ordered stop of everything."""
        ...


class AdminCommands:
    """The commands of one exchange, with what they need to look at or to change."""

    def __init__(
        self,
        *,
        tree: Callable[[], Tree],
        matching: Sender[Batch],
        sessions: Sessions,
        log_state: LogState,
        snapshots: Sender[SnapshotCall],
        snapshot_state: SnapshotState,
        backup: Sender[RunBackup],
        backup_state: BackupState,
        chain_states: ChainStates,
        store_state: StoreState,
        archive_state: ArchiveState,
        demo: DemoCommands,
        money: Money,
        clock: Clock,
        entropy: Entropy,
        version: str,
        test_money: bool,
        system: SystemCommands,
    ) -> None:
        self._tree = tree
        self._engine = EngineLine(matching)
        self._markets = MarketCommands(self._engine)
        self._accounts = AccountCommands(self._engine, sessions, entropy, test_money=test_money)
        self._sessions = sessions
        self._log_state = log_state
        self._snapshots = snapshots
        self._snapshot_state = snapshot_state
        self._backup = backup
        self._backup_state = backup_state
        self._chain_states = chain_states
        self._store_state = store_state
        self._archive_state = archive_state
        self._demo = demo
        self._money = MoneyCommands(self._engine, money, clock, entropy)
        self._version = version
        self._system = system

    def table(self) -> dict[str, AdminCommand]:
        """Every command by its name, in the order `help` shows them."""
        commands = (
            AdminCommand("tree", (), "every actor: state, restarts, uptime, last error", self.tree),
            AdminCommand("actor.show", ("name",), "one actor, and those below it", self.show),
            AdminCommand("actor.restart", ("name",), "stop and start one actor", self.restart, changes=True),
            AdminCommand(
                "actor.stop", ("name",), "stop one actor, and leave it so", self.stop, changes=True, wants_yes=True
            ),
            AdminCommand("actor.start", ("name",), "start an actor that is stopped", self.start, changes=True),
            *self._markets.commands(),
            *self._accounts.commands(),
            *self._money.commands(),
            *self._demo.commands(),
            AdminCommand("session.list", (), "who is connected", self.list_sessions),
            AdminCommand("session.kill", ("session",), "close one connection", self.kill_session, changes=True),
            AdminCommand("log.status", (), "where the request log stands", self.log_status),
            AdminCommand(
                "snapshot",
                (),
                "take one now, and wait for it",
                self.snapshot,
                changes=True,
                deadline_seconds=WORK_SECONDS,
            ),
            AdminCommand(
                "backup",
                (),
                "seal the log, and copy it to the cold store",
                self.back_up,
                changes=True,
                deadline_seconds=WORK_SECONDS,
            ),
            *self._system.commands(),
            AdminCommand(
                "info", (), "version, engine, log, copies and sessions at a glance", self.info, optional=("section",)
            ),
            AdminCommand("version", (), "which program runs", self.show_version),
            AdminCommand("shutdown", (), "stop the exchange in order", self.shutdown, changes=True, wants_yes=True),
            AdminCommand("help", (), "this list", self.help),
        )
        return {command.name: command for command in commands}

    async def tree(self) -> object:
        """The supervision tree."""
        return self._tree().statistics()

    async def show(self, name: str) -> object:
        """An actor's life so far."""
        for child in self._tree().statistics().flat():
            if child.name == name:
                return child
        raise BadCall(f"no child is called {name:.50}; 'tree' shows every actor")

    async def restart(self, name: str) -> object:
        """Restart an actor and wait until it serves again."""
        with _as_bad_calls():
            await self._tree().restart(name)
        return {"restarted": name}

    async def stop(self, name: str) -> object:
        """Stop an actor, whom no crash of another brings back."""
        if name == OURSELVES:
            raise BadCall(f"without {OURSELVES} nobody could start it again; 'shutdown' stops everything")
        with _as_bad_calls():
            await self._tree().stop(name)
        return {"stopped": name}

    async def start(self, name: str) -> object:
        """Start an actor and wait until it serves."""
        with _as_bad_calls():
            await self._tree().start(name)
        return {"started": name}

    async def list_sessions(self) -> object:
        """Every connection."""
        return {"sessions": [asdict(session) for session in self._sessions.list()]}

    async def kill_session(self, session: str) -> object:
        """Close a connection."""
        number = int(session) if session.isascii() and session.isdecimal() and len(session) < SESSION_DIGITS else 0
        if not self._sessions.kill(number):
            raise BadCall(f"there is no session {session!r:.50}; 'session.list' shows them all")
        return {"killed": number}

    async def log_status(self) -> object:
        """The writer's own view."""
        return self._log()

    def _log(self) -> dict[str, object]:
        view = self._log_state.view()
        return {} if view is None else asdict(view)

    async def snapshot(self) -> object:
        """Have a snapshot taken."""
        call = SnapshotCall(None)
        await self._snapshots.send(call, timeout_seconds=ROOM_SECONDS)
        return asdict(await call.wait())

    def _newest_snapshot(self) -> dict[str, object]:
        state = self._snapshot_state
        return {
            "seq": 0 if state.newest is None else state.newest.seq,
            "time_ns": 0 if state.newest is None else state.newest.time_ns,
            "failures": state.failures,
            "last_failure": state.last_failure,
        }

    async def back_up(self) -> object:
        """Copy now, and what that was."""
        if not self._backup_state.target:
            raise BadCall("no backup is wanted: the configuration has no backup.target")
        call = RunBackup(None)
        await self._backup.send(call, timeout_seconds=ROOM_SECONDS)
        return asdict(await call.wait())

    async def info(self, **words: str) -> object:
        """The exchange at a glance, or one section of that."""
        sections = await self._sections()
        section = words.get("section")
        if section is None:
            return sections
        if section not in sections:
            raise BadCall(f"section must be one of {', '.join(sections)}, not {section!r:.50}")
        return {section: sections[section]}

    async def _sections(self) -> dict[str, object]:
        view = await self._engine.directory()
        return {
            "version": self._version,
            "engine": await self._engine.ask(Info(), InfoView),
            "markets": Counter(MARKET_STATES[status.state] for status in view.markets),
            "log": self._log(),
            "snapshot": self._newest_snapshot(),
            "backup": {} if (backup := self._backup_state.view()) is None else asdict(backup),
            "store": {"answers": self._store_state.answers, "trouble": self._store_state.trouble},
            "archive": asdict(self._archive_state.view()),
            "chains": [asdict(view) for view in self._chain_states.watcher_views()],
            "withdrawals": [asdict(view) for view in self._chain_states.withdrawals_views()],
            "sessions": len(self._sessions.list()),
        }

    async def show_version(self) -> object:
        """The program's and the engine's."""
        return {"version": self._version, "engine_version": ENGINE_VERSION, "compiled": COMPILED}

    async def shutdown(self) -> object:
        """Begin the ordered stop."""
        self._tree().request_stop()
        return {"stopping": True}

    async def help(self) -> object:
        """Every command."""
        return {"commands": {command.usage: command.about for command in self.table().values()}}


@contextmanager
def _as_bad_calls() -> Iterator[None]:
    try:
        yield
    except (UnknownChild, NotRunning, NotStarted) as error:
        raise BadCall(f"{error}; 'tree' shows every actor") from error

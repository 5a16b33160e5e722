"""What operators can ask for: one function a command, and the table of them.

A command takes words and gives a plain value that the admin socket encodes. Those that change something say so, and
those that may hurt want `--yes` (`"yes":true` in JSON).
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, TypeVar

from attrs import asdict, frozen

from actors.gateway import Sessions
from actors.mailbox import NotDone, OutcomeUnknown, Sender
from actors.reqlog_writer import LogState
from actors.requests import Batch
from actors.supervision import NotRunning, NotStarted, SupervisorStatistics, UnknownChild
from book.queries import Directory, DirectoryView, Info, InfoView, Query
from book.terms import MARKET_STATES

V = TypeVar("V")

MATCHING_SECONDS: Final = 10.0
SESSION_DIGITS: Final = 19


class BadCall(Exception):  # noqa: N818 - the operator's mistake, told in a sentence
    """The call cannot be carried out as given; the message says what is wrong and what would be right."""


@frozen
class AdminCommand:
    """A command as `help` shows it, and the function behind it."""

    name: str
    parameters: tuple[str, ...]
    about: str
    run: Callable[..., Awaitable[object]]
    """Takes each parameter as a `str`."""
    changes: bool = False
    wants_yes: bool = False

    @property
    def usage(self) -> str:
        """The command with its parameters, as one types it."""
        words = [self.name, *(parameter.upper() for parameter in self.parameters)]
        return " ".join([*words, "--yes"] if self.wants_yes else words)

    async def call(self, params: Mapping[str, Any]) -> object:
        """Run it with params by name, or by place ('0', '1', …).

        Raises:
            BadCall: a parameter is missing, unknown or wrong, or the 'yes' is missing.
        """
        places = {str(place): name for place, name in enumerate(self.parameters)}
        named = {places.get(key, key): str(value) for key, value in params.items() if key != "yes"}
        if set(named) != set(self.parameters):
            raise BadCall(f"usage: {self.usage}")
        if self.wants_yes and params.get("yes") is not True:
            raise BadCall(f"{self.name} may hurt; say that you mean it: {self.usage}")
        return await self.run(**named)


class Tree(Protocol):
    """The supervision tree, as operators may handle it."""

    def statistics(self) -> SupervisorStatistics:
        """What every child is doing."""
        ...

    async def restart(self, name: str) -> None:
        """Stop and start one child; raises UnknownChild, NotRunning or NotStarted."""
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
        version: str,
    ) -> None:
        self._tree = tree
        self._matching = matching
        self._sessions = sessions
        self._log_state = log_state
        self._version = version

    def table(self) -> dict[str, AdminCommand]:
        """Every command by its name, in the order `help` shows them."""
        commands = (
            AdminCommand("tree", (), "every actor: state, restarts, uptime, last error", self.tree),
            AdminCommand("actor.restart", ("name",), "stop and start one actor", self.restart, changes=True),
            AdminCommand("session.list", (), "who is connected", self.list_sessions),
            AdminCommand("session.kill", ("session",), "close one connection", self.kill_session, changes=True),
            AdminCommand("market.list", (), "the markets and their states", self.list_markets),
            AdminCommand("log.status", (), "where the request log stands", self.log_status),
            AdminCommand("info", (), "version, engine, log and sessions at a glance", self.info),
            AdminCommand("shutdown", (), "stop the exchange in order", self.shutdown, changes=True, wants_yes=True),
            AdminCommand("help", (), "this list", self.help),
        )
        return {command.name: command for command in commands}

    async def tree(self) -> object:
        """The supervision tree."""
        return self._tree().statistics()

    async def restart(self, name: str) -> object:
        """Restart an actor and wait until it serves again."""
        try:
            await self._tree().restart(name)
        except (UnknownChild, NotRunning, NotStarted) as error:
            raise BadCall(f"{error}; 'tree' shows every actor") from error
        return {"restarted": name}

    async def list_sessions(self) -> object:
        """Every connection."""
        return {"sessions": [asdict(session) for session in self._sessions.list()]}

    async def kill_session(self, session: str) -> object:
        """Close a connection."""
        number = int(session) if session.isascii() and session.isdecimal() and len(session) < SESSION_DIGITS else 0
        if not self._sessions.kill(number):
            raise BadCall(f"there is no session {session!r:.50}; 'session.list' shows them all")
        return {"killed": number}

    async def list_markets(self) -> object:
        """Every market."""
        view = await self._ask(Directory(), DirectoryView)
        return {
            "markets": [
                {
                    "symbol": status.market.symbol,
                    "status": MARKET_STATES[status.state],
                    "openOrders": status.open_orders,
                }
                for status in view.markets
            ]
        }

    async def log_status(self) -> object:
        """The writer's own view."""
        return self._log()

    def _log(self) -> dict[str, object]:
        view = self._log_state.view()
        return {} if view is None else asdict(view)

    async def info(self) -> object:
        """The exchange at a glance."""
        return {
            "version": self._version,
            "engine": await self._ask(Info(), InfoView),
            "log": self._log(),
            "sessions": len(self._sessions.list()),
        }

    async def shutdown(self) -> object:
        """Begin the ordered stop."""
        self._tree().request_stop()
        return {"stopping": True}

    async def help(self) -> object:
        """Every command."""
        return {"commands": {command.usage: command.about for command in self.table().values()}}

    async def _ask(self, query: Query, kind: type[V]) -> V:
        """The engine's answer, by the gated path: what it shows is durable."""
        batch = Batch([query])
        await self._matching.send(batch, timeout_seconds=MATCHING_SECONDS)
        (outcome,) = await batch.wait()
        if isinstance(outcome, NotDone | OutcomeUnknown):
            raise outcome
        if not isinstance(outcome, kind):
            raise AssertionError(f"the engine answered {outcome!r} to {query!r}")
        return outcome

"""What operators can ask about the program and its clients: who asks what, how fast, what is configured and logged."""

from collections.abc import Callable
from functools import partial
from typing import Final

import trio
from attrs import asdict
from prometheus_client.registry import Collector

from actors.admin_command import WORK_SECONDS, AdminCommand, BadCall, Followed
from actors.audit import TAIL_ENTRIES, AuditTrail
from actors.gateway import Sessions
from actors.histogram import Histogram
from actors.listings import whole
from actors.log_levels import LogLevels
from actors.reqlog_writer import LogState
from actors.traffic import Monitor
from actors.world import Blocking
from persistence import offline
from persistence.exits import Stop
from persistence.storage import Disk

QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
# For sessions to answer what they have read, before `drain` says how many still do.
DRAIN_SECONDS: Final = 15.0
AUDIT_SHOWN: Final = "20"


class SystemCommands:
    """The commands from `monitor` to `verify`.

    Args:
        sessions: Who is connected, and what they were answered.
        log_state: How long the log takes, and how far it has come.
        collector: What a scrape would find.
        levels: What is logged.
        config: The configuration as it may be shown.
        audit: What operators did.
        disk: Where the log is.
        blocking: For what reads it.
        pace: Called now and then while it is read, to let others work; what it raises ends the work.
    """

    def __init__(
        self,
        *,
        sessions: Sessions,
        log_state: LogState,
        collector: Collector,
        levels: LogLevels,
        config: object,
        audit: AuditTrail,
        disk: Disk,
        blocking: Blocking,
        pace: Callable[[], None],
    ) -> None:
        self._sessions = sessions
        self._log_state = log_state
        self._collector = collector
        self._levels = levels
        self._config = config
        self._audit = audit
        self._disk = disk
        self._blocking = blocking
        self._pace = pace

    def commands(self) -> tuple[AdminCommand, ...]:
        """In the order of `help`."""
        return (
            AdminCommand(
                "monitor",
                (),
                "every request as it is answered, until you hang up",
                self.monitor,
                optional=("filter",),
                follows=True,
            ),
            AdminCommand("slowlog", (), "the last requests that took longer than 100 ms", self.slowlog),
            AdminCommand("latency", (), "how long requests and the log's writes take", self.latency),
            AdminCommand(
                "drain",
                (),
                "let nobody in, and answer and close who is; off ends it",
                self.drain,
                optional=("off",),
                changes=True,
            ),
            AdminCommand("metrics", (), "what a scrape would find", self.metrics),
            AdminCommand(
                "loglevel",
                ("actor", "level"),
                "what an actor logs from now on; all is everyone",
                self.log_level,
                changes=True,
            ),
            AdminCommand("config.show", (), "the configuration, without its secrets", self.show_config),
            AdminCommand(
                "audit.tail", (), "the last calls that changed something", self.audit_tail, optional=("count",)
            ),
            AdminCommand(
                "verify", (), "prove every byte of the log so far", self.verify, deadline_seconds=WORK_SECONDS
            ),
        )

    # The clients ------------------------------------------------------------------------------------------------------

    async def monitor(self, **words: str) -> Followed:
        """Requests as they are answered."""
        try:
            monitor = Monitor(words.get("filter", ""))
        except ValueError as error:
            raise BadCall(str(error)) from error
        return Followed(partial(self._sessions.traffic.watched_by, monitor))

    async def slowlog(self) -> object:
        """The newest first."""
        return {"slow": [asdict(slow) for slow in reversed(self._sessions.traffic.slow)]}

    async def latency(self) -> object:
        """Since the process began."""
        histograms = {"requests": self._sessions.traffic.latency, "log writes": self._log_state.sync_latency}
        return {"latency": [{"of": name, **_quantiles(histogram)} for name, histogram in histograms.items()]}

    async def drain(self, **words: str) -> object:
        """Close the door behind those who leave."""
        if words.get("off", "off") != "off":
            raise BadCall(f"{words['off']!r:.50} is not 'off'; usage: drain [OFF]")
        self._sessions.draining = "off" not in words
        if self._sessions.draining:
            self._sessions.stop()
            with trio.move_on_after(DRAIN_SECONDS):
                await self._sessions.wait_until_none()
        return {"draining": self._sessions.draining, "sessions": len(self._sessions)}

    # The program ------------------------------------------------------------------------------------------------------

    async def metrics(self) -> object:
        """Every sample, those of histograms by their sum and count."""
        return {
            "metrics": [
                {"name": sample.name, "labels": dict(sample.labels), "value": sample.value}
                for family in self._collector.collect()
                for sample in family.samples
                if not sample.name.endswith("_bucket")
            ]
        }

    async def log_level(self, actor: str, level: str) -> object:
        """Until the process ends."""
        try:
            self._levels.set(actor, level)
        except ValueError as error:
            raise BadCall(str(error)) from error
        return {"levels": self._levels.shown()}

    async def show_config(self) -> object:
        """As it was loaded, with what it left out."""
        return self._config

    async def audit_tail(self, **words: str) -> object:
        """Oldest first."""
        count = whole(words.get("count", AUDIT_SHOWN), "count")
        if not 1 <= count <= TAIL_ENTRIES:
            raise BadCall(f"count must be 1 to {TAIL_ENTRIES}, not {count}")
        return {"calls": await self._audit.tail(count)}

    async def verify(self) -> object:
        """Read the log and the snapshots as `tallystick log verify` does, up to where the log is durable now."""
        reqlog = self._log_state.reqlog
        if reqlog is None:
            raise BadCall("the log's writer has not started yet")
        until = reqlog.position
        try:
            verdict = await self._blocking(
                lambda: offline.verify(self._disk, until=until, progress=lambda _done, _total: self._pace())
            )
        except Stop as error:
            raise BadCall(f"{error}; it may have been removed while it was read: try again") from error
        damage = verdict.damage
        return {
            "clean": damage is None and not verdict.bad_snapshots,
            "first_seq": verdict.first_seq,
            "last_seq": verdict.last_seq,
            "records": verdict.records,
            "segments": verdict.segments,
            "snapshots": verdict.snapshots,
            "bad_snapshots": verdict.bad_snapshots,
            "damage": None if damage is None else str(damage.error),
        }


def _quantiles(histogram: Histogram) -> dict[str, object]:
    """In milliseconds: the bounds that these shares stay within; None is more than ten seconds."""
    bounds = {name: histogram.quantile(share) for name, share in QUANTILES.items()}
    return {
        "count": histogram.count,
        **{f"{name}_ms": None if bound == float("inf") else bound * 1e3 for name, bound in bounds.items()},
    }

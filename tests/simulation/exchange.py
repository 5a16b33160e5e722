"""The whole exchange in this process, on virtual time: its disk and its network are simulated, its clients are not.

One life is one process: it begins with what is on the disk, and ends in order, by the disk, or because it refuses to
start; then its exit code is what the real program's would be. The disk stays.
"""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

import trio
from attrs import evolve
from structlog.testing import capture_logs
from trio.testing import MockClock

import supervisor
from actors.archivist import ArchiveConfig
from actors.backup import BackupConfig
from actors.reqlog_writer import WriterConfig
from actors.snapshotter import SnapshotConfig
from actors.world import Credentials
from persistence.exits import Exit
from persistence.object_store import no_pace
from persistence.reqlog import ReqlogConfig
from tallystick.demo_command import demo_config
from tallystick.operators import exit_code, for_operators
from tests.backups import memory
from tests.in_process import Connection
from tests.simulation.disk import PowerCut, SimulatedDisk, power_cut
from tests.simulation.network import MemoryNetwork
from tests.simulation.world import Inline, InlineSnapshots, VirtualClock, entropy_of, no_progress
from tests.stores import in_memory

FOLDER: Final = Path("/simulated")
OPERATOR: Final = Credentials(1, 0, 0)
ARCHIVED_SECONDS: Final = 0.3
SEGMENT_BYTES: Final = 16 * 1024

Body = Callable[["Life"], Awaitable[None]]


class Life:
    """One process, while it serves."""

    def __init__(self, network: MemoryNetwork, addresses: supervisor.Addresses) -> None:
        self._network = network
        self._addresses = addresses

    async def client(self, name: str) -> Connection:
        """A connection of this account's."""
        connection = Connection(self._network.connect(self._addresses.client))
        assert (await connection.receive())["event"] == "hello"
        assert (await connection.ask("session.logon", apiKey=name))["status"] == 200
        return connection

    async def operate(self, words: str) -> Any:
        """What an operator's command says; by then the store has the candles of what was traded before."""
        await trio.sleep(ARCHIVED_SECONDS)
        connection = Connection(self._network.connect_unix(FOLDER / "admin.sock", OPERATOR))
        try:
            return await connection.say(words)
        finally:
            await connection.close()


class SimulatedExchange:
    """An exchange of any number of lives."""

    def __init__(self, random: Random) -> None:
        self.disk = SimulatedDisk()
        self.random = random
        self.target = memory()
        self.logged: list[str] = []
        """What the last life has logged, warnings and worse."""
        self.reason = ""
        """Why the last life ended, if not in order."""

    def live(self, body: Body) -> int:
        """Start, do what `body` does, and stop in order; the exit code, -9 for a power cut."""
        with capture_logs() as lines:
            try:
                trio.run(self._live, body, clock=MockClock(autojump_threshold=0))
                code = int(Exit.DONE)
            except BaseException as error:  # noqa: BLE001 - the end of the process, in whatever way
                code = self._code_of(error)
        self.logged = [line["event"] for line in lines if line["log_level"] in ("warning", "error")]
        return code

    def _code_of(self, error: BaseException) -> int:
        for cut in _leaves(error):
            if isinstance(cut, PowerCut):
                self.reason = cut.message
                return cut.code
        mendable = for_operators(error)
        if mendable is None:
            raise next(_leaves(error))
        self.reason = str(mendable)
        return int(exit_code(mendable))

    async def _live(self, body: Body) -> None:
        network, addresses, stop = MemoryNetwork(), supervisor.Addresses(), trio.Event()
        async with trio.open_nursery() as nursery:
            root = supervisor.exchange(self._config(), self._world(network), addresses)
            await nursery.start(root.run, stop)
            await body(Life(network, addresses))
            stop.set()

    def _config(self) -> supervisor.Config:
        return evolve(
            demo_config(FOLDER, port=0, market_maker=False),
            writer=WriterConfig(log=ReqlogConfig(segment_bytes=SEGMENT_BYTES), check_frames=4),
            snapshots=SnapshotConfig(log_bytes=1 << 40, seconds=604_800, keep=2),
            backup=BackupConfig(target="file:///cold"),
            archive=ArchiveConfig(candle_seconds=0.1),
        )

    def _world(self, network: MemoryNetwork) -> supervisor.World:
        return supervisor.World(
            clock=VirtualClock(),
            disk=self.disk,
            network=network,
            blocking=Inline(self.disk),
            random=self.random,
            entropy=entropy_of(self.random),
            die=power_cut,
            uid=0,
            progress=no_progress,
            database=in_memory(),
            open_target=lambda _url: self.target,
            pace=no_pace,
            snapshot_process=InlineSnapshots(self.disk),
        )


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors that a group holds, however deep."""
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _leaves(member)
    else:
        yield error

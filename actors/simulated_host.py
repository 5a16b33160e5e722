"""A simulated chain that survives: every operation is in the data folder before anybody can see what it did.

The file holds one operation a line, as JSON. A chain follows from its operations, so reading them makes the same blocks
again, hash for hash. What a crash leaves of the last line was never answered, and is cut off. An operation is checked,
written and synced, and only then applied: the store never sees a block that the chain could forget.
"""

from typing import Final

import msgspec
import trio

from actors.world import Blocking, Clock
from chains.simulated import Host
from chains.simulated_chain import ChainTerms, Mine, Operation, SimulatedChain
from persistence.exits import Damaged
from persistence.storage import Disk

FOLDER: Final = "chains"

_NS_PER_SECOND: Final = 10**9


class DiskHost:
    """Keeps a chain in a file of the data folder: `chains.simulated.Host`."""

    def __init__(self, terms: ChainTerms, *, disk: Disk, blocking: Blocking) -> None:
        self._path = f"{FOLDER}/{terms.name}.jsonl"
        self._disk = disk
        self._blocking = blocking
        self._lock = trio.Lock()
        self.chain = SimulatedChain(terms)
        self._size = self._read()

    async def do(self, operation: Operation) -> str:
        """Check an operation, keep it, and let it happen."""
        async with self._lock:
            self.chain.check(operation)
            line = msgspec.json.encode(operation) + b"\n"
            await self._blocking(self._append, self._size, line)
            self._size += len(line)
            return self.chain.apply(operation)

    def _read(self) -> int:
        """Let everything happen again that is in the file; how many bytes of it are whole."""
        if not self._disk.exists(self._path):
            self._disk.make_folder(FOLDER)
            self._disk.write_file(self._path, b"")
            return 0
        data = self._disk.read(self._path)
        size = data.rfind(b"\n") + 1
        place = 0
        for line in data[:size].splitlines(keepends=True):
            try:
                operation = msgspec.json.decode(line, type=Operation)
                self.chain.check(operation)
            except Exception as error:
                raise Damaged(self._disk.root, self._path, place, f"this is no operation: {error}") from error
            self.chain.apply(operation)
            place += len(line)
        if size < len(data):
            self._disk.truncate(self._path, size)
        return size

    def _append(self, offset: int, line: bytes) -> None:
        file = self._disk.open(self._path)
        try:
            file.write_at(offset, line)
            file.datasync()
        finally:
            file.close()


class BlockMaker:
    """Mines a block of a simulated chain every few seconds, until `stop`."""

    def __init__(self, host: Host, clock: Clock, seconds: float) -> None:
        self._host = host
        self._clock = clock
        self._seconds = seconds

    async def run(self, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Mine."""
        task_status.started()
        while not stop.is_set():
            with trio.move_on_after(self._seconds):
                await stop.wait()
                return
            await self._host.do(Mine(self._clock.wall_ns() // _NS_PER_SECOND))

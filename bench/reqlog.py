"""What durability costs: one frame appended and synced, by size; and how fast a log is read back.

`python -m bench.reqlog`, on the disk of the temporary folder.
"""

import statistics
import tempfile
import time
from typing import Final, NoReturn

from bench.engine import workload
from book.engine import ENGINE_VERSION, Engine
from persistence import offline
from persistence.codec import encode_command
from persistence.reqlog import Reqlog, ReqlogConfig
from persistence.storage import RealDisk
from tallystick.demo import definitions

SIZES: Final = (1, 32, 512)
APPENDS: Final = 300


def _die(code: int, message: str) -> NoReturn:
    raise SystemExit(f"bench: {message} ({code})")


def main() -> None:
    """Print both."""
    engine = Engine()
    records: list[bytes] = []
    for command in [*definitions(), *workload(2)]:
        seq = len(records) + 1
        events = engine.apply(command, seq, seq)
        if isinstance(events, list):
            records.append(encode_command(seq, command))
    with tempfile.TemporaryDirectory(prefix="tallystick-bench-") as folder:
        disk = RealDisk(folder, _die)
        log = Reqlog.open(disk, ReqlogConfig(), engine_version=ENGINE_VERSION, entropy=bytes, time_ns=1)
        position = 0
        for size in SIZES:
            took_ms = []
            for _ in range(APPENDS):
                batch = records[position : position + size]
                if not batch:
                    break
                position += len(batch)
                began = time.perf_counter()
                log.append(batch, count=len(batch), time_ns=position)
                took_ms.append(1e3 * (time.perf_counter() - began))
            if took_ms:
                print(f"log: a frame of {size:>3} records: p50 {statistics.median(took_ms):.3f} ms")
        log.close(time_ns=position)
        began = time.process_time()
        fold = offline.replay(disk, Engine())
        seconds = time.process_time() - began
        print(f"replay: {fold.applied / seconds:,.0f} records/s of processor time ({fold.applied} records)")


if __name__ == "__main__":
    main()

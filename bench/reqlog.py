"""What durability costs: one frame appended and synced, by size. `python -m bench.reqlog`, in the temporary folder."""

import statistics
import tempfile
import time
from random import Random
from typing import Final

from bench import loads
from bench.replay import die
from book.engine import ENGINE_VERSION
from persistence.codec import encode_command
from persistence.reqlog import Reqlog, ReqlogConfig
from persistence.storage import RealDisk

SIZES: Final = (1, 32, 512)
APPENDS: Final = 300


def main() -> None:
    """Print a line for each size."""
    load = loads.mix(1, 1_000, max(SIZES))
    records = [encode_command(number, command) for number, command in enumerate(load.commands, 1)]
    with tempfile.TemporaryDirectory(prefix="tallystick-bench-") as folder:
        disk = RealDisk(folder, die)
        entropy = Random(1).randbytes
        log = Reqlog.open(disk, ReqlogConfig(), engine_version=ENGINE_VERSION, entropy=entropy, time_ns=1)
        for size in SIZES:
            took_ms = []
            for number in range(APPENDS):
                began = time.perf_counter()
                log.append(records[:size], count=size, time_ns=number + 1)
                took_ms.append(1e3 * (time.perf_counter() - began))
            print(f"log: a frame of {size:>3} records: p50 {statistics.median(took_ms):.3f} ms")
        log.close(time_ns=APPENDS)


if __name__ == "__main__":
    main()

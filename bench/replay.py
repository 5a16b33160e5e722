"""How fast a request log is read back: real files, proven, decoded and folded into an engine as at a start.

`python -m bench.replay [requests]`; five million take some minutes, and half a gigabyte of the temporary folder.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from random import Random
from typing import Final, NoReturn

from bench.workload import Mix, markets, opening
from book.commands import Command
from book.engine import ENGINE_VERSION, Engine
from persistence import offline
from persistence.codec import encode_check, encode_command, encode_refused
from persistence.reqlog import Durability, Reqlog, ReqlogConfig
from persistence.storage import Disk, RealDisk

GOAL: Final = 500_000  # records a second
REQUESTS: Final = 200_000
RECORDS_PER_FRAME: Final = 256
USERS: Final = range(1, 1_001)


def die(code: int, message: str) -> NoReturn:
    """For a disk that cannot go on."""
    raise SystemExit(f"bench: {message} ({code})")


def write(disk: Disk, requests: int, users: Sequence[int] = USERS) -> Engine:
    """Write a log of so many requests, the mix of one market, as matching would; the engine as it is then."""
    engine = Engine()
    config = ReqlogConfig(durability=Durability.OS)
    log = Reqlog.open(disk, config, engine_version=ENGINE_VERSION, entropy=Random(1).randbytes, time_ns=1)
    frame: list[bytes] = []
    for seq, record in enumerate(_records(engine, requests, users), 1):
        frame.append(record)
        if len(frame) == RECORDS_PER_FRAME or seq == requests:
            if sum(map(len, frame)) + len(frame) > log.room:
                log.roll(time_ns=seq)
            log.append(frame, count=len(frame), time_ns=seq)
            frame.clear()
    log.close([encode_check(requests, engine.digest.value(), engine.totals())], time_ns=requests)
    return engine


def _records(engine: Engine, requests: int, users: Sequence[int]) -> Iterator[bytes]:
    (market,) = markets(1)
    mix, definitions = Mix(Random(1), market, users), opening([market], users)
    for seq in range(1, requests + 1):
        defines = seq <= len(definitions)
        command: Command = definitions[seq - 1] if defines else mix.command()
        events = engine.apply(command, seq, seq)
        if isinstance(events, list):
            engine.digest.update(events)
            mix.heard([] if defines else events)
            yield encode_command(seq, command)
        else:
            yield encode_refused(seq, command, events.code, events.reason)


def report(requests: int) -> None:
    """Print how fast it is read back, and whether to the same state."""
    with tempfile.TemporaryDirectory(prefix="tallystick-bench-") as folder:
        disk = RealDisk(folder, die)
        written = write(disk, requests).state_hash()
        engine = Engine()
        began, began_wall = time.process_time(), time.perf_counter()
        offline.replay(disk, engine)
        seconds, wall = time.process_time() - began, time.perf_counter() - began_wall
    if engine.state_hash() != written:
        raise SystemExit("bench: the replay leads to another state than the log was written by")
    rate = requests / seconds
    line = f"replay: {requests:,} records, {rate:,.0f}/s of processor time, {requests / wall:,.0f}/s by the clock"
    print(f"{line}; goal {GOAL:,}, ratio {rate / GOAL:.2f}; state {written.hex()[:16]}")


def main() -> None:
    """Replay a log of as many requests as are asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.replay", description="Measure the replay of a request log.")
    parser.add_argument("requests", nargs="?", type=int, default=REQUESTS)
    report(parser.parse_args().requests)


if __name__ == "__main__":
    main()

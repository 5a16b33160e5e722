"""Running the exchange as a process: the data folder's lock, the real world, signals, and exit codes."""

import gc
import os
import secrets
import sys
from collections.abc import Callable
from random import Random
from typing import Final, NoReturn

import structlog
import trio

import supervisor
from actors.world import RealClock, RealNetwork, Threads
from persistence.exits import Exit
from persistence.recovery import Progress
from persistence.storage import RealDisk, lock
from tallystick.operators import exit_code, for_operators

# A pure-Python stretch in one thread would otherwise hold up the log's sync for 5 ms at a time.
SWITCH_SECONDS: Final = 0.0002
BLOCKING_THREADS: Final = 8
# What lives long here (orders, levels, connections) has no cycles that need collecting, and a collection looks at all
# of it: with the usual thresholds that was a third of all time at 1,000 connections.
GC_THRESHOLDS: Final = (200_000, 50, 1_000)

_log = structlog.get_logger("tallystick")


def die(code: int, message: str) -> NoReturn:
    """End the process at once: no reply, no clean-up, nothing that could make it worse."""
    sys.stderr.write(f"tallystick: {message}\n")
    sys.stderr.flush()
    os._exit(code)


def run(
    config: supervisor.Config,
    data_folder: str,
    *,
    ready: Callable[[supervisor.Addresses], None],
    progress: Callable[[str], Progress],
) -> Exit:
    """Run until told to stop, and say with which code to exit; one line on stderr where that is not 0."""
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.set_threshold(*GC_THRESHOLDS)

    def serving(addresses: supervisor.Addresses) -> None:
        gc.freeze()  # what the start has loaded stays
        ready(addresses)

    try:
        with lock(data_folder):
            disk = RealDisk(data_folder, die)
            world = supervisor.World(
                clock=RealClock(),
                disk=disk,
                network=RealNetwork(),
                blocking=Threads(BLOCKING_THREADS),
                random=Random(secrets.randbits(128)),  # noqa: S311 - jitter and the demo market
                entropy=os.urandom,
                die=die,
                uid=os.getuid(),
                progress=progress,
            )
            trio.run(supervisor.serve, config, world, serving)
    except Exception as error:  # noqa: BLE001 - the last place: every error becomes one line and an exit code
        return _explain(error)
    return Exit.DONE


def _explain(error: Exception) -> Exit:
    """One line for what an operator can mend; for a bug of ours its traceback, and that we gave up."""
    mendable = for_operators(error)
    if mendable is None:
        _log.error("the exchange gave up", exc_info=error)
    sys.stderr.write(f"tallystick: {mendable or error}\n")
    return exit_code(mendable)

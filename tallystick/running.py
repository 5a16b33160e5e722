"""Running the exchange as a process: the data folder's lock, the real world, signals, and exit codes."""

import gc
import os
import resource
import secrets
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import Random
from typing import Final, NoReturn

import structlog
import trio
from attrs import evolve

import supervisor
from actors.chain_parts import Chains
from actors.log_levels import LogLevels
from actors.snapshot_process import RealSnapshotProcess
from actors.world import Blocking, RealClock, RealNetwork, Threads
from persistence import crash_points
from persistence.crash_points import CrashingDisk, CrashingStore, CrashPoints, kill_this_process, kill_with_parent
from persistence.exits import Exit
from persistence.object_store import ObjectStore, open_target
from persistence.opening import open_database
from persistence.recovery import Progress
from persistence.sql_store import SqlStore
from persistence.storage import Disk, RealDisk, lock
from persistence.txstore import TxStore
from tallystick.operators import exit_code, for_operators

# A pure-Python stretch in one thread would otherwise hold up the log's sync for 5 ms at a time.
SWITCH_SECONDS: Final = 0.0002
# Of every millisecond or so that copying to the backup computes, it sleeps as long: matching comes first.
BREATH_SECONDS: Final = 0.001
BLOCKING_THREADS: Final = 8
# The log tells everybody's orders and balances: it is for the exchange's user, and for its group to read.
UMASK: Final = 0o027
# Of those to the store, what the chains leave to others.
OTHER_CONNECTIONS: Final = 2
# Descriptors kept for the log, the sockets of operators and Prometheus, and whatever a library opens.
RESERVED_DESCRIPTORS: Final = 256
# What lives long here (orders, levels, connections) has no cycles that need collecting, and a collection looks at all
# of it: with the usual thresholds that was a third of all time at 1,000 connections.
GC_THRESHOLDS: Final = (200_000, 50, 1_000)

# Opens the chains of an exchange: its data folder, threads for what blocks, chance, where the folder is, and the store.
OpenChains = Callable[[Disk, Blocking, Random, str, TxStore], Chains]

# What starts this program once more, as a process of its own. The single binary is a program by itself.
PROGRAM: Final = (sys.executable,) if getattr(sys, "frozen", False) else (sys.executable, "-m", "tallystick")
# What starts a signer, which loads much less where it can be started by itself.
SIGNER: Final = (*PROGRAM, "signer") if getattr(sys, "frozen", False) else (sys.executable, "-m", "chains.signing")

_log = structlog.get_logger("tallystick")


def die(code: int, message: str) -> NoReturn:
    """End the process at once: no reply, no clean-up, nothing that could make it worse."""
    sys.stderr.write(f"tallystick: {message}\n")
    sys.stderr.flush()
    os._exit(code)


def _descriptors_for(connections: int) -> int:
    """Raise this process's limit of open files as far as it may go; how many of these connections it then allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + RESERVED_DESCRIPTORS
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    allowed = max(1, min(connections, soft - RESERVED_DESCRIPTORS))
    if allowed < connections:
        _log.warning(
            "fewer connections than configured: the limit of open files is too low",
            max_connections=connections,
            allowed=allowed,
            mend=f"raise the limit to {wanted} (ulimit -n, or LimitNOFILE= in systemd)",
        )
    return allowed


def _cancellable(progress: Callable[[str], Progress], what: str) -> Progress:
    """Progress that also lets a stop end long work in a thread, which nothing else can."""
    show = progress(what)

    def step(done: int, total: int) -> None:
        with suppress(RuntimeError):  # in the loop itself, where checkpoints do that
            trio.from_thread.check_cancelled()
        show(done, total)

    return step


def _breathe() -> None:
    """The pace of long work in a thread: let the others run, and end when a stop says so."""
    trio.from_thread.check_cancelled()
    time.sleep(BREATH_SECONDS)


def _armed(kill: Callable[[], None] = kill_this_process) -> CrashPoints | None:
    """Where a test has this process end; None in real life."""
    words = os.environ.get(crash_points.ENVIRONMENT)
    return CrashPoints.armed_by(words, kill=kill) if words else None


def snapshot_disk(data_folder: str) -> RealDisk:
    """The data folder, for the process that takes a snapshot of it."""
    return _disk(data_folder, _armed(kill_with_parent))


def _disk(data_folder: str, points: CrashPoints | None) -> RealDisk:
    return RealDisk(data_folder, die) if points is None else CrashingDisk(data_folder, die, points)


def _open_target(points: CrashPoints | None) -> Callable[[str], ObjectStore]:
    return open_target if points is None else lambda url: CrashingStore(open_target(url), points)


def run(
    config: supervisor.Config,
    data_folder: str,
    *,
    ready: Callable[[supervisor.Addresses], None],
    progress: Callable[[str], Progress],
    levels: LogLevels,
    open_chains: OpenChains | None = None,
) -> Exit:
    """Run until told to stop, and say with which code to exit; one line on stderr where that is not 0.

    `levels` are those of the log, for operators to change.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.set_threshold(*GC_THRESHOLDS)
    os.umask(UMASK)
    gateway = evolve(config.gateway, max_connections=_descriptors_for(config.gateway.max_connections))
    config = evolve(config, gateway=gateway)

    def serving(addresses: supervisor.Addresses) -> None:
        gc.freeze()  # what the start has loaded stays
        ready(addresses)

    try:
        with lock(data_folder):
            points = _armed()
            disk = _disk(data_folder, points)
            blocking = Threads(BLOCKING_THREADS)
            random = Random(secrets.randbits(128))  # noqa: S311 - jitter and the demo market
            database = open_database(config.store, folder=disk.root, blocking=Threads(1), random=random)
            # Two more are the archivist's, and the clients' who ask for old candles.
            chain_store = SqlStore(database.share(max(1, config.store.connections - OTHER_CONNECTIONS)))
            world = supervisor.World(
                clock=RealClock(),
                disk=disk,
                network=RealNetwork(),
                blocking=blocking,
                random=random,
                entropy=os.urandom,
                die=die,
                uid=os.getuid(),
                progress=partial(_cancellable, progress),
                snapshot_process=RealSnapshotProcess(PROGRAM, disk.root),
                open_target=_open_target(points),
                database=database,
                pace=_breathe,
                chains=None if open_chains is None else open_chains(disk, blocking, random, disk.root, chain_store),
                levels=levels,
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

"""The matching actor: the only writer of all trading state.

Theory of operation. Like Redis, one loop takes batches, works them off without I/O and without an `await`, and hands
the result on; it never waits for the disk. What it hands on to the request log's writer is at once what to log and what
to answer: the writer releases the answers when the records are durable. Reads go the same way, so nobody ever sees a
state that could still be lost. While the writer syncs one frame, matching already works on the next.

Every start is the same, after a crash or not: ask the writer where the log ends (the barrier), take the newest good
snapshot, replay exactly to there, log whatever the configuration defines that is not defined yet, and serve. Memory
never survives a crash.

Time is part of the state too: orders expire, halts end. Matching waits for requests no longer than until the engine has
something due, and then logs that time has passed, with the requests of the same round or without any. An exchange that
has nothing to wait for logs nothing.

An exception out of the engine is a bug in it, and leaves its state unknown. What was applied before the offender is
handed on as usual; the offender is answered 'not applied' and goes into the quarantine; the rest is answered 'busy';
then the exception ends this incarnation, and the supervisor starts the next. The offender never reaches the log.
"""

import itertools
from collections.abc import Callable
from typing import Final, NoReturn

import trio
from attrs import frozen

from actors.audience import Audience
from actors.directory import Directory
from actors.engine_clock import EngineClock
from actors.handoff import Barrier, Handoff, LogItem
from actors.mailbox import Busy, Mailbox, Sender
from actors.quarantine import Quarantine
from actors.replaying import rebuild
from actors.reqlog_writer import LogState
from actors.requests import Batch
from actors.sequencer import Sequencer
from actors.world import Blocking, Clock
from book.commands import Command
from book.engine import Engine
from book.events import Event
from book.terms import MAX_INT
from persistence.recovery import Progress
from persistence.storage import Disk

# So much weight ends a round: enough orders to fill a frame, few enough that nobody else waits long for the loop.
ROUND_WEIGHT: Final = 1024
# The least wait for a timer: what a float of seconds can tell apart in a process of any age.
LEAST_WAIT_NS: Final = 1_000

_NS_PER_SECOND: Final = 1_000_000_000


class EngineFailedError(Exception):
    """The engine raised instead of answering: a bug in it. The cause is the engine's own exception."""


@frozen
class MatchingConfig:
    """What matching is told by the configuration."""

    definitions: tuple[Command, ...] = ()
    """Assets, markets, accounts, keys and credits that are in place before anyone is served, in this order."""


class Matching:
    """Applies every request to the engine, one at a time, in the order of arrival."""

    def __init__(
        self,
        config: MatchingConfig,
        mailbox: Mailbox[Batch],
        log: Sender[LogItem],
        *,
        engine: Callable[[], Engine],
        clock: Clock,
        disk: Disk,
        blocking: Blocking,
        die: Callable[[int, str], NoReturn],
        directory: Directory,
        audience: Audience,
        log_state: LogState,
        progress: Callable[[str], Progress],
        heard: Callable[[list[Event]], None] | None = None,
    ) -> None:
        self._config = config
        self._mailbox = mailbox
        self._log = log
        self._new_engine = engine
        self._clock = clock
        self._disk = disk
        self._blocking = blocking
        self._die = die
        self._directory = directory
        self._audience = audience
        self._log_state = log_state
        self._progress = progress
        self._heard = heard
        # These belong to the process: they outlive the incarnations.
        self._quarantine = Quarantine()
        self._incarnations = itertools.count(1)
        # Once the log has come this far, it knows that the sessions of the process before are lost.
        self._opened_seq = MAX_INT

    async def run(self, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Rebuild the engine from the log, then serve until `stop` and until the mailbox is empty.

        Raises:
            EngineFailedError: the engine has a bug; the next incarnation starts from the log.
            Damaged: snapshot and log do not give what the log says.
            DefinitionRefusedError: the configuration and the log do not agree.
        """
        sequencer = await self._rebuild()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._interrupt_at, stop)
            task_status.started()
            await self._serve(sequencer, stop)
            nursery.cancel_scope.cancel()

    async def _rebuild(self) -> Sequencer:
        barrier = Barrier(incarnation := next(self._incarnations))
        (await self._log.reserve()).send(barrier)
        # No deadline: either the writer answers, or its crash restarts us too.
        end = await barrier.wait()
        engine = await rebuild(
            self._new_engine,
            end,
            disk=self._disk,
            blocking=self._blocking,
            clock=self._clock,
            progress=self._progress("replaying the request log"),
        )
        sequencer = Sequencer(
            engine,
            EngineClock(self._clock, engine.last_time_ns),
            incarnation=incarnation,
            next_seq=end.next_seq,
            quarantine=self._quarantine,
            directory=self._directory,
            audience=self._audience,
            die=self._die,
            heard=self._heard,
        )
        with await self._log.reserve() as place:
            lose_sessions = end.next_seq < self._opened_seq
            opening = sequencer.open(self._config.definitions, lose_sessions=lose_sessions)
            place.send(opening)
        if lose_sessions:
            self._opened_seq = opening.first_seq + len(opening.records)
        return sequencer

    async def _interrupt_at(self, stop: trio.Event) -> None:
        await stop.wait()
        self._mailbox.interrupt()

    async def _serve(self, sequencer: Sequencer, stop: trio.Event) -> None:
        while True:
            # The place comes first: once batches are taken, nothing may stand between them and the writer.
            with await self._log.reserve() as place:
                batches = await self._receive(sequencer.ns_until_due())
                if batches or sequencer.ns_until_due() == 0:
                    place.send(self._work(sequencer, batches))
                elif stop.is_set():
                    return
            if sequencer.failure is not None:
                raise EngineFailedError("the request it failed on is quarantined") from sequencer.failure

    async def _receive(self, until_due_ns: int | None) -> list[Batch]:
        """What comes next; nothing at a stop, and when it is time to look at what is due."""
        if until_due_ns is None:
            # No deadline: nothing is to happen without a request.
            return await self._mailbox.receive_some(1)
        if until_due_ns:
            with trio.move_on_after(max(until_due_ns, LEAST_WAIT_NS) / _NS_PER_SECOND):
                return await self._mailbox.receive_some(1)
        return []

    def _work(self, sequencer: Sequencer, batches: list[Batch]) -> Handoff:
        self._take_more(batches)
        try:
            return sequencer.work(batches, accept_orders=self._log_state.has_room)
        except BaseException:
            for batch in batches:
                batch.fail(Busy("matching restarts; nothing of this was applied"))
            raise

    def _take_more(self, batches: list[Batch]) -> None:
        weight = sum(batch.weight for batch in batches)
        while weight < ROUND_WEIGHT:
            try:
                batch = self._mailbox.receive_nowait()
            except trio.WouldBlock:
                return
            batches.append(batch)
            weight += batch.weight

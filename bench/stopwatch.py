"""How an engine is timed: a fresh one, only its `apply`, and as the program runs it.

Commands come out of a decoder some hundred at a time, as they do in the program; that is not measured, but for that
they lie in the processor's cache as they will. The collector is set as the program sets it.
"""

import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec

from bench.loads import Load
from book.commands import Command
from book.engine import Engine
from tallystick.running import GC_THRESHOLDS

BATCH: Final = 512

_decoder: Final = msgspec.msgpack.Decoder(list[Command])


@contextmanager
def collector_of_the_program() -> Iterator[None]:
    """Thresholds as the program sets them, and all that exists by now frozen."""
    before = gc.get_threshold()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


class Prepared:
    """A load whose commands are encoded, to be run as often as one likes."""

    def __init__(self, load: Load) -> None:
        self.load: Final = load
        self._batches: Final = encoded(load.commands)

    def engine(self) -> Engine:
        """A fresh one, to which what comes before the measured commands was applied."""
        engine = Engine()
        for seq, command in enumerate(self.load.before, 1):
            engine.apply(command, seq, seq)
        return engine

    def batches(self) -> Iterator[list[Command]]:
        """The measured commands, each batch decoded when it is asked for."""
        return decoded(self._batches)

    def seconds(self) -> float:
        """Processor time that the measured commands take on a fresh engine."""
        engine = self.engine()
        with collector_of_the_program():
            return self._seconds(engine)

    def _seconds(self, engine: Engine) -> float:
        apply, now = engine.apply, time.process_time_ns
        seq, took = len(self.load.before), 0
        for batch in self.batches():
            began = now()
            for command in batch:
                seq += 1
                apply(command, seq, seq)
            took += now() - began
        return took / 1e9


def encoded(commands: Sequence[Command]) -> list[bytes]:
    """The commands in batches, each of them one message."""
    encode = msgspec.msgpack.Encoder().encode
    return [encode(commands[begin : begin + BATCH]) for begin in range(0, len(commands), BATCH)]


def decoded(batches: Sequence[bytes]) -> Iterator[list[Command]]:
    """The same back, each batch when it is asked for."""
    return map(_decoder.decode, batches)

"""What matching hands on to the request log's writer: the items of the writer's mailbox."""

from msgspec import Struct

from actors.audience import Committed
from actors.mailbox import Call
from actors.requests import Batch, Outcome
from persistence.codec import CheckRecord
from persistence.segments import Position


class Barrier(Call[int, Position]):
    """'Is everything on disk?', asked by each new incarnation of matching (the request: its number) as its first act.

    It queues behind whatever the incarnation before handed on, so its answer is the state to replay to. From here on
    the writer takes handoffs of this incarnation only.
    """

    __slots__ = ()


class Handoff(Struct, frozen=True):
    """Batches that have been worked off together: what to log, and what to release once that is durable."""

    incarnation: int
    first_seq: int
    records: list[bytes]  # encoded, numbered from first_seq on; empty where all was reads
    time_ns: int
    check: bytes | None  # the check record of the state behind them; None where an engine failure made it unknown
    answers: list[tuple[Batch, list[Outcome]]]
    committed: Committed | None  # what the publisher is told then; None where nobody follows anything of it


class Checked(Struct, frozen=True):
    """The log ends at `position`, all of it on disk, and what the state is there is the last that stands in it."""

    position: Position
    check: CheckRecord


class CheckCall(Call[None, Checked | None]):
    """'Log what the state is now': what a snapshot is compared with. None where nobody knows, or there is no room."""

    __slots__ = ()


class SealCall(Call[None, bool]):
    """'Seal the open segment': so that a copy may have it. False where it has no records, or there is no room to go on.

    Everything that was handed on before is in it, on disk.
    """

    __slots__ = ()


LogItem = Barrier | Handoff | CheckCall | SealCall

"""What goes on at the clients' door: requests counted and timed as their answers leave, the slow ones, and who watches.

Theory of operation. A session tells of whole writes: the turns that it has just written and their lines. Counting them
is a few calls of C code for all requests of a write, and a latency is that of a whole turn, from when it was read to
when its last answer was written. Names and sums are made when somebody asks. Only while an operator monitors is each
request looked at by itself; a monitor has a bounded queue, and what does not fit is counted and told.
"""

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Final, get_args

import msgspec
import trio
from attrs import frozen

from actors import wire
from actors.histogram import Histogram
from actors.turns import Group, Turn
from actors.wire import Line, Refusal
from book.codes import CODE_NAMES
from book.terms import NS_PER_MS

# A turn that took longer than this is kept for `slowlog`.
SLOW_SECONDS: Final = 0.1
SLOW_KEPT: Final = 128
# What waits for one monitor at most, in requests.
MONITORED: Final = 10_000

METHODS: Final[Mapping[type, str]] = {
    kind: str(msgspec.inspect.type_info(kind).tag)  # type: ignore[attr-defined]  # every request has one
    for kind in get_args(wire.Request)
}
UNREADABLE: Final = "unreadable"
_FILTERS: Final = ("method", "account", "session", "status", "symbol")

_status_of: Final = attrgetter("status")


@frozen
class Slow:
    """A turn that took long."""

    time: int
    """When its last answer was written, in ms since 1970."""
    session: int
    account: int | None
    requests: int
    milliseconds: float
    methods: dict[str, int]


@frozen
class Speaker:
    """Whose answers were written."""

    session: int
    account: int | None


class Monitor:
    """One operator's view of the requests as they are answered, those that match all of `KEY=VALUE,…`."""

    def __init__(self, words: str) -> None:
        """Raises ValueError for a filter that is none."""
        self._wanted: dict[str, str] = {}
        for word in words.split(",") if words else ():
            key, equals, value = word.partition("=")
            if not equals or key not in _FILTERS:
                raise ValueError(f"filter must be KEY=VALUE,… with the keys {', '.join(_FILTERS)}, not {word!r:.50}")
            self._wanted[key] = value
        self._queue: deque[dict[str, object]] = deque()
        self._skipped = 0
        self._news = trio.Event()

    def see(self, event: dict[str, object]) -> None:
        """A request was answered."""
        params = event.get("params")
        symbol = params.get("symbol") if isinstance(params, dict) else None
        if any(str({**event, "symbol": symbol}[key]) != value for key, value in self._wanted.items()):
            return
        if len(self._queue) < MONITORED:
            self._queue.append(event)
        else:
            self._skipped += 1
        self._news.set()

    async def next(self) -> list[dict[str, object]]:
        """What has come since; waits until something has, for which there is no deadline."""
        while not self._queue:
            self._news = trio.Event()
            await self._news.wait()
        await trio.lowlevel.checkpoint()
        events, self._queue = list(self._queue), deque()
        if self._skipped:
            events.append({"event": "skipped", "requests": self._skipped})
            self._skipped = 0
        return events


class Traffic:
    """Everything the sessions tell. Outlives gateway and sessions."""

    def __init__(self) -> None:
        self.latency = Histogram()
        self.slow: deque[Slow] = deque(maxlen=SLOW_KEPT)
        self._answered: Counter[tuple[type, int]] = Counter()
        self._refused: Counter[int] = Counter()
        self._monitors: set[Monitor] = set()

    def written(
        self, turns: Sequence[Turn], lines: Sequence[Line], speaker: Speaker, now_ns: int, wall_ns: int
    ) -> None:
        """These turns, whose lines these are, have been written; monotonic and wall time."""
        asked = [kind for turn in turns for kind in turn.asked]
        answers = lines if len(asked) == len(lines) else _asked_for(turns, lines)
        self._answered.update(zip(asked, map(_status_of, answers), strict=True))
        self._refused.update([line.error.code for line in answers if type(line) is Refusal])
        for turn in turns:
            if turn.asked:
                seconds = (now_ns - turn.began_ns) / 1e9
                self.latency.observe(seconds, len(turn.asked))
                if seconds > SLOW_SECONDS:
                    self.slow.append(_slow(turn, speaker, seconds, wall_ns))
        if self._monitors:
            self._show(turns, lines, speaker, now_ns, wall_ns)

    def answered(self) -> Iterator[tuple[str, int, int]]:
        """How many requests were answered, by method and status."""
        for (kind, status), count in sorted(self._answered.items(), key=lambda item: (_method(item[0][0]), item[0][1])):
            yield _method(kind), status, count

    def refused(self) -> Iterator[tuple[str, int]]:
        """How many were refused, by the name of the error code."""
        for code, count in sorted(self._refused.items(), reverse=True):
            yield CODE_NAMES[code], count

    @contextmanager
    def watched_by(self, monitor: Monitor) -> Iterator[Monitor]:
        """Let it see every request during the block."""
        self._monitors.add(monitor)
        try:
            yield monitor
        finally:
            self._monitors.discard(monitor)

    def _show(self, turns: Sequence[Turn], lines: Sequence[Line], speaker: Speaker, now_ns: int, wall_ns: int) -> None:
        answers = iter(lines)
        for turn in turns:
            for kind, slot, line in zip(turn.asked, turn.slots, _next(answers, len(turn.slots)), strict=False):
                event = {
                    "event": "request",
                    "time": wall_ns // NS_PER_MS,
                    "session": speaker.session,
                    "account": speaker.account,
                    "method": _method(kind),
                    "params": _params(slot),
                    "status": getattr(line, "status", None),
                    "code": line.error.code if isinstance(line, Refusal) else None,
                    "milliseconds": round((now_ns - turn.began_ns) / NS_PER_MS, 3),
                }
                for monitor in self._monitors:
                    monitor.see(event)


def _next(lines: Iterator[Line], count: int) -> list[Line]:
    return [next(lines) for _ in range(count)]


def _asked_for(turns: Sequence[Turn], lines: Sequence[Line]) -> list[Line]:
    """Without the lines that nobody asked for: the one that greets, and what is said to whom we hang up on."""
    rest = iter(lines)
    by_turn = [(turn, _next(rest, len(turn.slots))) for turn in turns]
    return [line for turn, its_lines in by_turn if turn.asked for line in its_lines]


def _method(kind: type) -> str:
    return METHODS.get(kind, UNREADABLE)


def _params(slot: object) -> object:
    """What was asked, where the line was understood and is not answered by the session itself (as a logon is)."""
    if isinstance(slot, Group):
        return {"orders": [_params(part) for part in slot.parts]}
    if isinstance(slot, get_args(wire.Request)):
        return msgspec.to_builtins(getattr(slot, "params", None))
    return None


def _slow(turn: Turn, speaker: Speaker, seconds: float, wall_ns: int) -> Slow:
    methods = Counter(map(_method, turn.asked))
    return Slow(
        wall_ns // NS_PER_MS, speaker.session, speaker.account, len(turn.asked), round(seconds * 1e3, 3), dict(methods)
    )

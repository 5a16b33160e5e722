"""Opening a log by the thousand, in memory: torn, rotten and reordered tails of every kind, and any bytes at all."""

import contextlib
from collections import Counter
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from book.commands import Command
from persistence import codec, recovery
from persistence.exits import Damaged, NewerFormat, Stop
from persistence.recovery import torn_remains
from persistence.reqlog import ReqlogConfig
from persistence.segments import BadFrame, LogReader, Segment, path_of, read_header, segments
from tests.counts import count, seeds
from tests.logs import NOW, append, command, frame_of, logged_commands, open_log, order
from tests.simulation.disk import PowerCut, SimulatedDisk

SECTOR = codec.SECTOR_BYTES

MEDIUM = ReqlogConfig(segment_bytes=32 * 1024)


def _base() -> tuple[SimulatedDisk, list[Command]]:
    """One sealed segment and an open one, all of it answered."""
    disk, random, commands = SimulatedDisk(), Random("base"), []
    log = open_log(disk, MEDIUM)
    for n in range(12):
        batch = [command(random) for _ in range(random.randrange(1, 6))]
        append(log, batch)
        commands += batch
        if n == 5:
            log.roll(time_ns=NOW)
    return disk, commands


BASE = _base()


class Trial:
    """One log with a last frame that is answered or not, and what then happened to it."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.disk = BASE[0].copy()
        self.answered = list(BASE[1])
        self.log = open_log(self.disk, MEDIUM)
        self.unanswered: list[Command] = []
        for _ in range(self.random.randrange(3)):
            self.answered += self.write(self.random.randrange(1, 5))

    def write(self, commands: int) -> list[Command]:
        """Append a frame."""
        batch = [command(self.random) for _ in range(commands)]
        append(self.log, batch)
        return batch

    def write_unsynced(self) -> None:
        """Write a frame of any size whose sync the power cut prevents."""
        self.unanswered = [command(self.random) for _ in range(self.random.choice((0, 1, 2, 5, 20)))]
        records = frame_of(self.unanswered)
        self.disk.cut_power_in(1)
        with pytest.raises(PowerCut):
            self.log.append(records, count=len(records), time_ns=NOW)
        self.disk.crash(self.random)

    def frames(self) -> list[tuple[str, int, int]]:
        """Path, begin and end of each frame in the log."""
        reader = LogReader()
        return [
            (segment.path, frame.offset, frame.end)
            for segment in segments(self.disk)
            for frame in reader.frames(segment, self.disk.read(segment.path))
        ]

    def open(self) -> str:
        """Open what is left: 'went on', or 'stopped' with nothing touched. Fails on any loss or invention."""
        before = self.disk.image()
        try:
            open_log(self.disk, MEDIUM)
        except Stop:
            assert self.disk.image() == before
            return "stopped"
        found = logged_commands(self.disk)
        assert found in (self.answered, self.answered + self.unanswered), "an answered command is lost, or one invented"
        return "went on"


def _tear(trial: Trial) -> str:
    trial.write_unsynced()
    return "went on"


def _tear_while_rolling(trial: Trial) -> str:
    trial.disk.cut_power_in(trial.random.randrange(14))
    with contextlib.suppress(PowerCut):
        trial.log.roll(time_ns=NOW)
    trial.disk.crash(trial.random)
    return "went on"


def _rot(trial: Trial) -> str:
    path, begin, end = trial.random.choice(trial.frames())
    trial.disk.rot(path, trial.random.randrange(begin, end), 1 << trial.random.randrange(8))
    return "stopped"


def _rot_in_the_last_answered_frame(trial: Trial) -> str:
    path, begin, end = trial.frames()[-1]
    trial.disk.rot(path, trial.random.randrange(begin, end), trial.random.randrange(1, 256))
    return "stopped"


def _rot_in_a_segment_header(trial: Trial) -> str:
    path = trial.random.choice(segments(trial.disk)).path
    trial.disk.rot(path, trial.random.randrange(codec.SEGMENT_HEADER_BYTES), 1 << trial.random.randrange(8))
    return "stopped"


def _rot_and_tear(trial: Trial) -> str:
    frames = trial.frames()
    trial.write_unsynced()
    path, begin, end = trial.random.choice(frames)
    trial.disk.rot(path, trial.random.randrange(begin, end), 1 << trial.random.randrange(8))
    return "stopped"


def _rot_behind_the_end(trial: Trial) -> str:
    path, _, end = trial.frames()[-1]
    sector = -(-end // SECTOR) * SECTOR
    trial.disk.rot(path, trial.random.randrange(sector, MEDIUM.segment_bytes), 1 << trial.random.randrange(8))
    return "went on"


def _double(trial: Trial) -> str:
    path, begin, end = trial.random.choice(trial.frames())
    last, _, at = trial.frames()[-1]
    trial.disk.overwrite(last, at, trial.disk.read(path, begin, end - begin))
    return "stopped"


def _swap(trial: Trial) -> str:
    path = trial.log.segment_path
    a, b = sorted(trial.random.sample([pair[1:] for pair in trial.frames() if pair[0] == path], 2))
    data = trial.disk.read(path)
    trial.disk.overwrite(path, a[0], data[b[0] : b[1]] + data[a[1] : b[0]] + data[a[0] : a[1]])
    return "stopped"


def _drop(trial: Trial) -> str:
    path, begin, end = trial.random.choice(trial.frames()[:-1])
    data = trial.disk.read(path)
    trial.disk.overwrite(path, begin, data[end:] + bytes(end - begin))
    return "stopped"


def _lose_a_synced_frame_in_the_middle(trial: Trial) -> str:
    path, begin, end = trial.random.choice(trial.frames()[:-1])
    trial.disk.overwrite(path, begin, bytes(end - begin))
    return "stopped"


KINDS = [
    _tear,
    _tear_while_rolling,
    _rot,
    _rot_in_the_last_answered_frame,
    _rot_in_a_segment_header,
    _rot_and_tear,
    _rot_behind_the_end,
    _double,
    _swap,
    _drop,
    _lose_a_synced_frame_in_the_middle,
]


def test_no_tail_however_torn_or_rotten_loses_an_answer_or_passes_as_sound() -> None:
    """Every damage of what was answered stops; every mere tear goes on; nothing answered is ever missing."""
    outcomes: Counter[str] = Counter()
    for seed in seeds(2000, 200_000):
        trial = Trial(seed)
        kind = trial.random.choice(KINDS)
        expected = kind(trial)
        outcome = trial.open()
        outcomes[f"{kind.__name__.strip('_').replace('_', ' ')}: {outcome}"] += 1
        assert outcome == expected, f"seed {seed}, {kind.__name__}: {outcome}"
    print(*(f"{number:8} {name}" for name, number in sorted(outcomes.items())), sep="\n")  # noqa: T201 - the count asked for
    assert len(outcomes) == len(KINDS) or sum(outcomes.values()) == 1


def test_the_trials_would_notice_a_recovery_that_repairs_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug, taking every bad last frame for torn, loses an answered one, and the trial says so."""

    def careless(data: bytes, bad: BadFrame) -> bytes:
        return data[bad.offset :]

    monkeypatch.setattr(recovery, "torn_remains", careless)
    trial = Trial(1)
    _rot_in_the_last_answered_frame(trial)
    with pytest.raises(AssertionError, match="lost"):
        trial.open()


def test_the_trials_would_notice_a_reader_that_does_not_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug, a chain that is not compared, lets rot pass as sound, and the trial says so."""

    def whatever_it_says(previous: bytes, front: bytes, payload: bytes) -> bytes:
        del previous, payload
        return front[:0] + b"constant chain.."

    monkeypatch.setattr(codec, "frame_chain", whatever_it_says)
    trial = Trial.__new__(Trial)
    trial.random, trial.unanswered, trial.disk = Random(3), [], SimulatedDisk()
    trial.log = open_log(trial.disk, MEDIUM)
    trial.answered = [order(1), order(2)]
    append(trial.log, trial.answered)
    path, begin, _ = trial.frames()[0]
    digit = trial.disk.read(path).index(b"50001", begin)
    trial.disk.rot(path, digit, 1)
    with pytest.raises(AssertionError, match="invented"):
        trial.open()


def test_a_crash_in_the_middle_of_a_repair_is_repaired_by_the_next_start() -> None:
    """Power cut at every step of recovery, several times over."""
    for seed in seeds(60, 2000):
        trial = Trial(seed)
        trial.write_unsynced()
        for step in range(12):
            trial.disk.cut_power_in(step)
            try:
                open_log(trial.disk, MEDIUM)
            except PowerCut:
                trial.disk.crash(trial.random)
            else:
                break
        trial.disk.crash(trial.random)
        assert trial.open() == "went on"


# Fuzz: any bytes ------------------------------------------------------------------------------------------------------


def _sound_segment() -> tuple[Segment, bytes, list[bytes]]:
    disk = SimulatedDisk()
    log = open_log(disk)
    for n in range(10):
        append(log, [order(n)] * (n % 4))
    segment = read_header(disk, log.segment_path)
    data = disk.read(segment.path)
    return segment, data, [frame.payload for frame in LogReader().frames(segment, data)]


SOUND = _sound_segment()
CONTENT = SOUND[1].rstrip(b"\0")

PLACES = st.integers(0, len(CONTENT) + 100)
MUTATIONS = st.lists(
    st.tuples(st.sampled_from(["flip", "set", "insert", "delete", "copy"]), PLACES, PLACES, st.binary(max_size=40)),
    min_size=1,
    max_size=4,
)


def _mutate(data: bytearray, kind: str, a: int, b: int, some: bytes) -> None:
    a, b = sorted((a, b))
    if kind == "flip":
        data[a : a + 1] = [byte ^ 1 << b % 8 for byte in data[a : a + 1]]  # none where much was deleted before
    elif kind == "set":
        data[a : a + len(some)] = some
    elif kind == "insert":
        data[a:a] = some
    elif kind == "delete":
        del data[a:b]
    else:
        data[b : b + 200] = data[a : a + 200]


def _read(data: bytes, into: list[bytes]) -> BadFrame | None:
    """Read frames until the end or whatever stops the reader; what it takes for a bad frame is returned."""
    try:
        for frame in LogReader().frames(SOUND[0], data):
            frame.records()
            into.append(frame.payload)
    except BadFrame as bad:
        return bad
    except (Damaged, NewerFormat):
        pass
    return None


@settings(max_examples=count(300, 20_000), deadline=None)
@given(MUTATIONS)
@example([("delete", 0, len(CONTENT), b""), ("delete", 0, len(SOUND[1]), b""), ("flip", 0, 0, b"")])
def test_a_reader_of_mutated_bytes_yields_nothing_but_true_frames(mutations: list[tuple[str, int, int, bytes]]) -> None:
    """Whatever was done to the bytes, it stops cleanly, and what it read before is what was written."""
    data = bytearray(SOUND[1])
    for mutation in mutations:
        _mutate(data, *mutation)
    read: list[bytes] = []
    bad = _read(bytes(data), read)
    assert read == SOUND[2][: len(read)]
    if bad is not None:
        assert bytes(data).startswith(torn_remains(bytes(data), bad), bad.offset)


@settings(deadline=None)
@given(st.binary(max_size=5000))
def test_a_reader_of_any_bytes_stops_cleanly(data: bytes) -> None:
    """Rubbish is no segment and no frame."""
    assert codec.decode_segment_header(data) is None
    assert codec.decode_frame_header(data, 0) is None
    disk = SimulatedDisk()
    disk.make_folder("reqlog")
    disk.write_file(path_of(1), data)
    with pytest.raises(Damaged):
        open_log(disk)

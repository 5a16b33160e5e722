"""Opening a log after a crash or with damage in it: it goes on without loss, or stops with every file as it was."""

import contextlib
import itertools
import shutil
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import structlog
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from book.commands import Command
from persistence import codec, recovery
from persistence.exits import Damaged, Exit, NewerFormat, Stop, Unreadable
from persistence.recovery import torn_remains
from persistence.reqlog import ReqlogConfig
from persistence.segments import BadFrame, LogReader, Segment, path_of, read_header, segments
from persistence.storage import RealDisk
from tests.counts import count, seeds
from tests.logs import (
    ENGINE_VERSION,
    NOW,
    append,
    command,
    frame_of,
    logged_commands,
    open_log,
    order,
)
from tests.simulation.disk import PowerCut, SimulatedDisk, power_cut

SECTOR = codec.SECTOR_BYTES

# On real files: the list, and more ---------------------------------------------------------------------------


class Scene:
    """A killed exchange's log in a real folder: two sealed segments, and an open one with frames of equal length."""

    def __init__(self, root: Path) -> None:
        self.disk = RealDisk(str(root), power_cut)
        self.root = root
        log = open_log(self.disk)
        self.commands: list[Command] = []
        for n in range(100, 160):
            self.commands += [order(n), order(n + 100), order(n + 200)]
            append(log, self.commands[-3:])
            if n in (120, 140):
                log.roll(time_ns=NOW)
        self.path = log.segment_path
        self.file = root / self.path

    def frames(self, path: str | None = None) -> list[tuple[int, int]]:
        """Begin and end of each frame of a segment; of the open one unless told otherwise."""
        data = (self.root / (path or self.path)).read_bytes()
        found, at = [], codec.SEGMENT_HEADER_BYTES
        while header := codec.decode_frame_header(data, at):
            end = at + codec.FRAME_HEADER_BYTES + header.length
            found.append((at, end))
            at = end
        return found

    def change(self, change: Callable[[bytearray], object], path: str | None = None) -> None:
        """Change the bytes of a segment's file."""
        file = self.root / (path or self.path)
        data = bytearray(file.read_bytes())
        change(data)
        file.write_bytes(data)

    def flip(self, offset: int, path: str | None = None) -> None:
        """Flip one bit."""

        def change(data: bytearray) -> None:
            data[offset] ^= 0x04

        self.change(change, path)

    def zero(self, begin: int, end: int) -> None:
        """Zero bytes of the open segment."""

        def change(data: bytearray) -> None:
            data[begin:end] = bytes(end - begin)

        self.change(change)

    def image(self) -> dict[str, bytes]:
        """All files."""
        return {str(file.relative_to(self.root)): file.read_bytes() for file in self.root.rglob("*") if file.is_file()}

    def stops(self, match: str, error: type[Stop] = Damaged) -> Stop:
        """Assert that opening stops with this message and touches nothing."""
        before = self.image()
        with structlog.testing.capture_logs() as lines, pytest.raises(error, match=match) as caught:
            open_log(self.disk)
        assert self.image() == before
        assert lines == []
        return caught.value

    def goes_on(self, expected: list[Command]) -> None:
        """Assert that the log opens with exactly these commands, and takes more."""
        append(open_log(self.disk), [order(999)])
        assert logged_commands(self.disk) == [*expected, order(999)]


@pytest.fixture(name="scene")
def _scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_killed_exchange_goes_on_with_all_it_logged(scene: Scene) -> None:
    """Nothing to repair, nothing said, nothing but the new frame written."""
    with structlog.testing.capture_logs() as lines:
        scene.goes_on(scene.commands)
    assert lines == []


def test_a_torn_tail_is_kept_aside_and_the_log_goes_on(scene: Scene) -> None:
    """A last frame with a sector that never arrived: its bytes are kept, its place is zero, one line is logged."""
    begin, end, cut = _last_frame_over_two_sectors(scene)
    scene.zero(cut, end)
    remains = scene.file.read_bytes()[begin:end]
    with structlog.testing.capture_logs() as lines:
        open_log(scene.disk)
    kept = f"{scene.path}.{begin}.torn"
    assert (scene.root / kept).read_bytes() == remains
    assert not any(scene.file.read_bytes()[begin:])
    assert [(line["log_level"], line["file"], line["offset"], line["kept"]) for line in lines] == [
        ("warning", scene.path, begin, kept)
    ]
    scene.goes_on(scene.commands)


def test_a_torn_tail_without_its_header_is_recognized(scene: Scene) -> None:
    """The first sector of the frame is the one that never arrived."""
    begin, end, cut = _last_frame_over_two_sectors(scene)
    scene.zero(begin, cut)
    assert any(scene.file.read_bytes()[cut:end])
    scene.goes_on(scene.commands)
    assert (scene.root / f"{scene.path}.{begin}.torn").exists()


def test_a_second_torn_tail_at_one_place_does_not_overwrite_the_first(scene: Scene) -> None:
    """What was kept stays."""
    for _ in range(2):
        begin, _, cut = _last_frame_over_two_sectors(scene)
        scene.zero(begin, cut)
        open_log(scene.disk)
    kept = f"{scene.path}.{begin}.torn"
    assert (scene.root / kept).exists()
    assert (scene.root / f"{kept}.2").exists()


def test_a_flipped_byte_in_an_old_frame_stops(scene: Scene) -> None:
    """The message names file, offset and the command to look closer."""
    begin, end = scene.frames()[2]
    scene.flip(end - 20)
    stop = scene.stops(f"{scene.path}, offset {begin}: the frame breaks the chain")
    assert stop.exit_code is Exit.DATA_DAMAGED
    assert f"tallystick log verify {scene.root}" in str(stop)


@pytest.mark.parametrize("place", [0, 5, 9, 13, 20, 27, 35, 41, 45, 50, 64, -1])
def test_a_flipped_byte_anywhere_in_the_last_frame_stops(scene: Scene, place: int) -> None:
    """No sector of it is zero, so it may have been answered."""
    begin, end = scene.frames()[-1]
    scene.flip(begin + place if place >= 0 else end - 1)
    scene.stops(f"{scene.path}, offset {begin}")


def test_a_rotten_header_before_a_torn_frame_stops(scene: Scene) -> None:
    """The zero sector is the torn frame's, and proves nothing about the answered one whose end nobody knows."""
    answered, _ = scene.frames()[-1]
    log = open_log(scene.disk)
    append(log, [order(n) for n in range(20)])
    torn, end = scene.frames()[-1]
    scene.zero(torn, end - SECTOR)
    scene.flip(answered + 20)
    scene.stops(f"{scene.path}, offset {answered}: there is no valid frame header")


@pytest.mark.parametrize("number", [0, 1])
def test_a_flipped_byte_in_a_sealed_segment_stops(scene: Scene, number: int) -> None:
    """Also when the tail is torn: nothing is repaired before all is judged."""
    path = segments(scene.disk)[number].path
    begin, _ = scene.frames(path)[3]
    scene.flip(begin + 70, path)
    scene.stops(f"{path}, offset {begin}")
    last, end = scene.frames()[-1]
    scene.zero(last, end - 8)
    scene.stops(f"{path}, offset {begin}")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_flipped_byte_in_a_segment_header_stops(scene: Scene, number: int) -> None:
    """Whichever segment it is."""
    path = segments(scene.disk)[number].path
    scene.flip(50, path)
    scene.stops(f"{path}, offset 0: the segment header is damaged")


@pytest.mark.parametrize(
    ("number", "message"), [(0, "the log begins here"), (1, "one is missing"), (2, "the one that must follow")]
)
def test_a_missing_segment_stops(scene: Scene, number: int, message: str) -> None:
    """The first, one in between, and the last, which its predecessor's seal promises."""
    (scene.root / segments(scene.disk)[number].path).unlink()
    scene.stops(message)


def test_swapped_frames_stop(scene: Scene) -> None:
    """Two frames of one length in each other's place."""
    pairs = itertools.combinations(scene.frames(), 2)
    (a, b), (c, d) = next(((x, y) for x, y in pairs if x[1] - x[0] == y[1] - y[0]))

    def swap(data: bytearray) -> None:
        data[a:b], data[c:d] = data[c:d], data[a:b]

    scene.change(swap)
    scene.stops(f"{scene.path}, offset {a}: the frame has sequence number")


def test_a_duplicated_last_frame_stops(scene: Scene) -> None:
    """Its sequence number has passed."""
    begin, end = scene.frames()[-1]

    def double(data: bytearray) -> None:
        data[end : end + end - begin] = data[begin:end]

    scene.change(double)
    scene.stops(f"{scene.path}, offset {end}: the frame has sequence number")


def test_a_duplicated_empty_frame_stops(scene: Scene) -> None:
    """It has the right sequence number, and the chain tells."""
    open_log(scene.disk).append((), count=0, time_ns=NOW)
    begin, end = scene.frames()[-1]

    def double(data: bytearray) -> None:
        data[end : end + end - begin] = data[begin:end]

    scene.change(double)
    scene.stops(f"{scene.path}, offset {end}: the frame breaks the chain")


def test_a_dropped_frame_stops(scene: Scene) -> None:
    """The frames behind it moved up."""
    begin, end = scene.frames()[-3]

    def drop(data: bytearray) -> None:
        data += bytes(end - begin)
        del data[begin:end]

    scene.change(drop)
    scene.stops(f"{scene.path}, offset {begin}: the frame has sequence number")


def test_stale_frames_of_another_segment_stop(scene: Scene) -> None:
    """A recycled file would show an old segment's frames behind its end; their salt tells."""
    other = segments(scene.disk)[1].path
    begin, end = scene.frames(other)[1]
    stale = (scene.root / other).read_bytes()[begin:end]
    at = scene.frames()[-1][1]

    def recycle(data: bytearray) -> None:
        data[at : at + len(stale)] = stale

    scene.change(recycle)
    scene.stops(f"{scene.path}, offset {at}: there is a frame of another segment")


def test_a_whole_segment_under_another_name_stops(scene: Scene) -> None:
    """Its header says which one it is."""
    old = scene.root / segments(scene.disk)[0].path
    shutil.copy(old, scene.file)
    scene.stops(f"it is {path_of(1)} under another name")


def test_a_segment_of_another_exchange_stops(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Same number, same name, but not ours."""
    other = RealDisk(str(tmp_path_factory.mktemp("other")), power_cut)
    log = open_log(other, seed=1)
    target = segments(scene.disk)[1]
    append(log, [order(n) for n in range(target.header.first_seq - 1)])
    log.roll(time_ns=NOW)
    shutil.copy(Path(other.root, log.segment_path), scene.root / target.path)
    scene.stops("it belongs to exchange")


@pytest.mark.parametrize("what", ["format", "frame", "engine"])
def test_what_a_newer_program_wrote_is_left_to_it(scene: Scene, what: str) -> None:
    """Exit code 6, for a newer segment, a newer frame, a newer engine; nothing is touched."""
    segment = segments(scene.disk)[-1]
    header = {
        "format": evolve(segment.header, version=codec.FORMAT_VERSION + 1),
        "engine": evolve(segment.header, engine_version=ENGINE_VERSION + 1),
        "frame": segment.header,
    }[what]
    begin, end = scene.frames()[-1]

    def renew(data: bytearray) -> None:
        data[: codec.SEGMENT_HEADER_BYTES] = header.encode()
        if what == "frame":
            frame, _ = codec.encode_frame(
                [], count=0, previous=bytes(16), salt=header.salt, first_seq=1, time_ns=NOW, epoch=1
            )
            newer = bytearray(frame)
            newer[4] = codec.FORMAT_VERSION + 1
            newer[44:48] = zlib.crc32(newer[:44]).to_bytes(4, "little")
            data[end : end + len(newer)] = newer

    scene.change(renew)
    stop = scene.stops("this program", NewerFormat)
    assert stop.exit_code is Exit.NEWER_FORMAT
    assert begin < end


def test_a_frame_behind_the_seal_stops(scene: Scene) -> None:
    """Nothing may follow a seal."""
    path = segments(scene.disk)[0].path
    begin, end = scene.frames(path)[-2]

    def add(data: bytearray) -> None:
        data += data[begin:end]

    scene.change(add, path)
    scene.stops(f"{path}, offset")


def test_bytes_behind_the_seal_stop(scene: Scene) -> None:
    """They would look torn in an open segment; in a sealed one they are damage."""
    path = segments(scene.disk)[0].path
    scene.change(lambda data: data.extend(bytes(600) + b"x"), path)
    scene.stops(f"{path}, offset")


def test_stray_bytes_behind_a_torn_frame_stop(scene: Scene) -> None:
    """Only one frame is ever unsynced, so bytes behind its end are not the work of a power cut."""
    begin, end = scene.frames()[-1]
    scene.zero(end - 8, end)
    scene.change(lambda data: data.__setitem__(slice(end + 600, end + 608), b"whatever"))
    scene.stops(f"{scene.path}, offset {begin}")


@pytest.mark.parametrize("size", [0, 100, 5000, 9000])
def test_an_open_segment_that_was_cut_short_stops(scene: Scene, size: int) -> None:
    """Also where the cut leaves whole frames only, or cuts into the header."""
    scene.change(lambda data: data.__delitem__(slice(size, None)))
    scene.stops(scene.path)


def test_an_open_segment_cut_at_the_end_of_a_frame_stops(scene: Scene) -> None:
    """What may have been behind it is unknown; the size tells."""
    _, end = scene.frames()[-2]
    scene.change(lambda data: data.__delitem__(slice(end, None)))
    scene.stops(f"{scene.path}, offset {end}: the file has {end} bytes instead of")


def test_a_segment_that_cannot_be_read_stops(scene: Scene) -> None:
    """A folder in its place is as good an example as a bad mode or a dying disk."""
    scene.file.unlink()
    scene.file.mkdir()
    stop = scene.stops(f"cannot read .*{scene.path}: Is a directory", Unreadable)
    assert stop.exit_code is Exit.DATA_DAMAGED


def test_damage_that_a_snapshot_covers_does_not_stop(scene: Scene) -> None:
    """The log is needed only from where the snapshot ends; before that it is the backup's business."""
    first, second, third = segments(scene.disk)
    scene.flip(scene.frames(first.path)[3][0] + 70, first.path)
    scene.stops(first.path)
    found = recovery.recover(scene.disk, engine_version=1, covered_seq=second.header.first_seq - 1)
    assert found is not None
    assert found.segment == third
    assert found.has_records
    (scene.root / first.path).unlink()
    scene.stops("the log begins here")
    assert recovery.recover(scene.disk, engine_version=1, covered_seq=second.header.first_seq - 1) == found


def test_an_unsealed_segment_with_an_empty_successor_goes_on(scene: Scene) -> None:
    """The crash came between the successor's name and the seal; the successor becomes room again."""
    _interrupt_the_roll(scene, torn=False)
    scene.goes_on(scene.commands)
    assert scene.disk.exists("reqlog/next.prealloc")


def test_a_torn_seal_with_an_empty_successor_goes_on(scene: Scene) -> None:
    """The seal was never confirmed, so it may go."""
    seal = _interrupt_the_roll(scene, torn=True)
    assert any(scene.file.read_bytes()[seal:])
    scene.goes_on(scene.commands)
    assert (scene.root / f"{scene.path}.{seal}.torn").exists()


def test_a_successor_that_expects_more_than_there_is_stops(scene: Scene) -> None:
    """It names the sequence number that was due: frames before it have vanished."""
    _interrupt_the_roll(scene, torn=False)
    begin, end = scene.frames()[-1]
    scene.zero(begin, end)
    scene.stops("it begins at 181, but the log before it ends at 178")


def test_a_segment_without_its_seal_before_one_with_frames_stops(scene: Scene) -> None:
    """The seal is on disk before the first frame of the next segment is written."""
    path = segments(scene.disk)[0].path
    begin, _ = scene.frames(path)[-1]
    scene.change(lambda data: data.__delitem__(slice(begin, None)), path)
    scene.stops(f"{path}, offset {begin}: the segment ends without its seal")


def test_a_torn_seal_before_a_segment_with_frames_stops(scene: Scene) -> None:
    """Only the last frame of the log can be torn."""
    path = segments(scene.disk)[1].path
    begin, end = scene.frames(path)[-1]
    scene.change(lambda data: data.__setitem__(slice(begin, end - 8), bytes(end - 8 - begin)), path)
    scene.stops(f"{path}, offset {begin}")


def _last_frame_over_two_sectors(scene: Scene) -> tuple[int, int, int]:
    """Append, as the last frame, one more command that nobody was answered: its begin, its end, the sector's edge."""
    log = open_log(scene.disk)
    while scene.frames()[-1][1] % SECTOR < SECTOR - codec.FRAME_HEADER_BYTES:
        log.append((), count=0, time_ns=NOW)
    append(log, [order(777)])
    begin, end = scene.frames()[-1]
    return begin, end, begin - begin % SECTOR + SECTOR


def _interrupt_the_roll(scene: Scene, *, torn: bool) -> int:
    """Roll, then undo the seal, or only its first sector, and the cut, as a crash does. Returns where the seal was."""
    log = open_log(scene.disk)
    while torn and scene.frames()[-1][1] % SECTOR < SECTOR - codec.FRAME_HEADER_BYTES:
        log.append((), count=0, time_ns=NOW)
    log.roll(time_ns=NOW)
    begin, end = scene.frames()[-1]

    def undo(data: bytearray) -> None:
        undone = begin - begin % SECTOR + SECTOR if torn else end
        data[begin:undone] = bytes(undone - begin)
        data += bytes(16 * 1024)
        del data[16 * 1024 :]

    scene.change(undo)
    return begin


# In memory, by the thousand -------------------------------------------------------------------------------------------

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
        data[a] ^= 1 << b % 8
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

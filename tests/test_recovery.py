"""Opening a log after a crash or with damage in it, on real files: it goes on without loss, or stops untouched."""

import itertools
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from attrs import evolve

from book.commands import Command, Tick
from persistence import codec, recovery
from persistence.exits import Damaged, Exit, NewerFormat, Stop, Unreadable
from persistence.offline import truncate
from persistence.reqlog import ReqlogConfig
from persistence.segments import path_of, segments
from persistence.storage import RealDisk
from tests.logs import ENGINE_VERSION, NOW, SMALL, SMALL_UNSYNCED, append, logged_commands, open_log, order
from tests.simulation.disk import SimulatedDisk, power_cut

SECTOR = codec.SECTOR_BYTES


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


class StopError(Exception):
    """What a stop of the program does to a walk, by the progress it tells."""


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
    # How far the frame would have gone is not known where its length never arrived; behind what did, all is zero.
    assert (scene.root / kept).read_bytes().rstrip(b"\0") == remains.rstrip(b"\0")
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


@pytest.mark.parametrize("whole_header", [True, False])
def test_a_torn_tail_under_durability_os_stops(scene: Scene, *, whole_header: bool) -> None:
    """It may have been answered before the power went: a person cuts it off, and its bytes are kept."""
    begin, end, cut = _last_frame_over_two_sectors(scene, SMALL_UNSYNCED)
    if whole_header:
        scene.zero(cut, end)
    else:
        scene.zero(begin, cut)
    scene.stops(f"{scene.path}, offset {begin}: the last frame is torn, and was written under durability os")
    remains = scene.file.read_bytes()[begin:end].rstrip(b"\0")
    kept = truncate(scene.disk, len(scene.commands)).kept_aside
    assert [(scene.root / path).read_bytes() for path in kept] == [remains]
    scene.goes_on(scene.commands)


def test_a_torn_frame_without_a_request_under_durability_os_goes_on(scene: Scene) -> None:
    """An idle frame has answered nobody."""
    log = open_log(scene.disk, SMALL_UNSYNCED)
    while scene.frames()[-1][1] % SECTOR != codec.ALIGNMENT:
        log.append((), count=0, time_ns=NOW)
    begin, end = scene.frames()[-1]
    scene.zero(end - codec.ALIGNMENT, end)
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
    stop = scene.stops(f"cannot read .*{scene.path}: it is a folder where a file belongs", Unreadable)
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


def test_a_stop_does_not_wait_for_the_end_of_a_segment() -> None:
    """A walk tells its progress every so many frames, so that this may end it; every file is as it was."""
    disk, stride = SimulatedDisk(), recovery.FRAMES_PER_PROGRESS
    log = open_log(disk, ReqlogConfig(segment_bytes=1024 * 1024))
    for _ in range(3 * stride):
        append(log, [Tick()])
    before = disk.image()

    def stop_within(done: int, total: int) -> None:
        assert total == disk.size(log.segment_path)
        if done:
            raise StopError

    walked: list[int] = []
    with pytest.raises(StopError):
        walked.extend(frame.offset for frame in recovery.Walk(disk, segments(disk), stop_within))
    assert len(walked) == stride - 1
    with pytest.raises(StopError):
        recovery.recover(disk, engine_version=ENGINE_VERSION, progress=stop_within)
    assert disk.image() == before


def _last_frame_over_two_sectors(scene: Scene, config: ReqlogConfig = SMALL) -> tuple[int, int, int]:
    """Append, as the last frame, one more command that nobody was answered: its begin, its end, the sector's edge."""
    log = open_log(scene.disk, config)
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

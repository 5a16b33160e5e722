"""What the benchmarks measure with: stopwatch, quantiles, memory, replay and the picture."""

import gc
from xml.etree import ElementTree as ET

import pytest

from bench import latency, loads, memory, replay
from bench.plot import Plot
from bench.stopwatch import BATCH, Prepared, collector_of_the_program, decoded, encoded
from book.commands import DefineAccount
from book.definitions import Account
from book.engine import Engine
from persistence import offline
from tallystick.running import GC_THRESHOLDS
from tests.simulation.disk import SimulatedDisk

SVG = "{http://www.w3.org/2000/svg}"


def test_what_is_timed_is_what_was_recorded() -> None:
    """Encoded and decoded again, in batches, the commands are the same."""
    load = loads.add_only(BATCH + 10)
    batches = list(decoded(encoded(load.commands)))
    assert [len(batch) for batch in batches] == [BATCH, 10]
    assert [command for batch in batches for command in batch] == load.commands


def test_a_load_can_be_timed_again_and_again() -> None:
    """Every run starts from a fresh engine, and no command is refused for the sake of the run before."""
    prepared = Prepared(loads.cancel_storm(100))
    assert all(prepared.seconds() > 0 for _ in range(2))
    assert prepared.engine().last_seq == len(prepared.load.before)


def test_the_collector_is_set_as_the_program_sets_it() -> None:
    """Inside; outside everything is as it was."""
    before = gc.get_threshold(), gc.get_freeze_count()
    with collector_of_the_program():
        assert gc.get_threshold() == GC_THRESHOLDS
        assert gc.get_freeze_count() > 0
    assert (gc.get_threshold(), gc.get_freeze_count()) == before


@pytest.mark.parametrize("frozen", [True, False])
def test_every_command_has_its_latency(frozen: bool) -> None:
    """One time for each measured command, whatever the collector."""
    prepared = Prepared(loads.add_only(50))
    assert len(latency.latencies_ns(prepared, 2, frozen=frozen)) == 50


def test_latencies_are_sorted_by_kind() -> None:
    """And all of them together."""
    sorted_times = latency.by_kind(["move", "cancel", "move"], [30, 20, 10])
    assert sorted_times == {"move": [10, 30], "cancel": [20], "all": [10, 20, 30]}


def test_memory_grows_with_what_is_kept() -> None:
    """Twice as many accounts take about twice the memory."""
    accounts = [DefineAccount(Account(number, f"user-{number}")) for number in range(1, 401)]
    half, whole = memory.grown_bytes([], accounts[:200]), memory.grown_bytes([], accounts)
    assert whole == pytest.approx(2 * half, rel=0.2)
    assert half > 200 * 100


def test_the_log_is_replayed_to_the_state_it_was_written_by() -> None:
    """A log of the mix with its definitions, over more than one frame; the check at its end holds."""
    disk, engine = SimulatedDisk(), Engine()
    written = replay.write(disk, 3_000 + 1_000)
    fold = offline.replay(disk, engine)
    assert fold.applied + fold.refused == 4_000
    assert fold.checks == 1
    assert engine.state_hash() == written.state_hash()


def test_a_plot_has_a_mark_and_a_number_for_each_point() -> None:
    """In a well-formed picture, the axis in powers of ten, higher values higher up."""
    picture = ET.fromstring(Plot("T & T", "x", "y", [(1e3, 400e3), (1e4, 300e3), (1e6, 100e3)]).svg())  # noqa: S314 -- our own
    marks = [(float(mark.attrib["cx"]), float(mark.attrib["cy"])) for mark in picture.iter(f"{SVG}circle")]
    words = [text.text for text in picture.iter(f"{SVG}text")]
    (first, top), (second, _), (third, bottom) = marks
    assert third - second == pytest.approx(2 * (second - first), abs=1)
    assert top < bottom
    assert {"T & T", "x", "y", "1,000", "1,000,000", "400,000"} <= set(words)

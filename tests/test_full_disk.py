"""The real program on a full disk: orders are refused, cancels are not, and nothing that was answered is lost."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from persistence.exits import Exit
from tests.live import ConfiguredExchange, DidNotStartError, LiveClient
from tests.load import SYMBOL
from tests.small_disk import RationedDisk, SmallDisk, TmpfsDisk, can_mount

pytestmark = pytest.mark.process

SECTIONS = """
[writer.log]
segment_bytes = 65_536
"""
BUSY = -1008


class Scene:
    """An exchange on a small disk, and alice, who remembers what she was answered."""

    def __init__(self, disk: SmallDisk, data: Path, beside: Path) -> None:
        self.disk = disk
        self.data = data
        self.exchange = ConfiguredExchange(data, SECTIONS, beside=beside, program=disk.program)
        self.open: list[int] = []
        self.cancelled: list[int] = []

    def start(self) -> LiveClient:
        """Start, and log alice on."""
        self.exchange.start()
        with self.exchange.operator() as operator:
            credit = {"account": "alice", "asset": "USDT", "amount": "1000000", "id": "1"}
            assert operator.ask("credit", **credit)["status"] == 200
        return self.exchange.client("alice")

    def place(self, client: LiveClient) -> Any:
        """Place an order, and remember it if it stands."""
        reply = client.ask("order.place", symbol=SYMBOL, side="BUY", type="LIMIT", price="40000.00", quantity="0.001")
        if reply["status"] == 200:
            self.open.append(reply["result"]["orderId"])
        return reply

    def cancel(self, client: LiveClient) -> Any:
        """Cancel the oldest order that stands."""
        reply = client.ask("order.cancel", symbol=SYMBOL, orderId=self.open[0])
        if reply["status"] == 200:
            self.cancelled.append(self.open.pop(0))
        return reply

    def place_until_refused(self, client: LiveClient) -> None:
        """Fill the segments that there is room for."""
        for _ in range(5_000):
            reply = self.place(client)
            if reply["status"] != 200:
                assert reply["error"]["code"] == BUSY, reply
                return
        raise AssertionError("orders are taken although the disk is full")

    def assert_nothing_lost(self, client: LiveClient) -> None:
        """Every answer holds."""
        orders = client.ask("openOrders.status", symbol=SYMBOL)["result"]["orders"]
        assert [order["orderId"] for order in orders] == self.open
        for order in self.cancelled:
            assert client.ask("order.status", symbol=SYMBOL, orderId=order)["result"]["status"] == "CANCELED"

    def assert_log_is_sound(self) -> None:
        """Of the stopped exchange."""
        program = [*self.disk.program, "log", "verify", "--json", str(self.data)]
        verdict = json.loads(subprocess.run(program, capture_output=True, check=True).stdout)
        assert verdict["damage"] is None
        assert verdict["records"] > len(self.open) + 2 * len(self.cancelled)
        assert verdict["stopped_in_order"]


DISKS: tuple[Callable[[Path], SmallDisk], ...] = (TmpfsDisk, RationedDisk) if can_mount() else (RationedDisk,)


@pytest.fixture(params=DISKS)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    """The exchange on each kind of small disk that this machine allows."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with request.param(folder) as disk:
        scene = Scene(disk, folder / "data", tmp_path)
        yield scene
        if scene.exchange.runs:
            scene.exchange.kill()


def test_a_full_disk_refuses_orders_takes_cancels_and_recovers_by_itself(scene: Scene) -> None:
    """With room again orders are accepted at once, without a restart; what was answered is there, also after a kill."""
    client = scene.start()
    assert scene.place(client)["status"] == 200
    scene.disk.fill()
    scene.place_until_refused(client)
    for _ in range(20):
        assert scene.cancel(client)["status"] == 200
    assert scene.place(client)["error"]["code"] == BUSY
    with scene.exchange.operator() as operator:
        assert operator.ask("log.status")["result"]["has_room"] is False
    scene.assert_nothing_lost(client)
    assert "new orders are refused" in scene.exchange.errors

    scene.disk.free()
    deadline = time.monotonic() + 30
    while scene.place(client)["status"] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "there is room again" in scene.exchange.errors
    scene.assert_nothing_lost(client)
    client.close()
    scene.exchange.kill()
    with scene.start() as again:
        scene.assert_nothing_lost(again)
    assert scene.exchange.stop() == 0
    scene.assert_log_is_sound()


def test_a_stop_ends_soon_although_the_disk_and_the_log_are_full(scene: Scene) -> None:
    """What cannot be written was never answered: it is given up, and the rest is there at the next start."""
    client = scene.start()
    while len(scene.open) < 100:
        assert scene.place(client)["status"] == 200
    scene.disk.fill()
    scene.place_until_refused(client)
    orders = len(scene.open)
    # Cancels of nothing are logged too, as refused: they fill what is left of the segment.
    client.wait_no_longer_than(2.0)
    answered = 0
    with suppress(TimeoutError):
        while answered < 5_000:
            assert client.ask("order.cancel", symbol=SYMBOL, orderId=999_999_999)["status"] == 400
            answered += 1
    assert 0 < answered < 5_000

    began = time.monotonic()
    assert scene.exchange.stop() == 0
    assert time.monotonic() - began < 20
    client.close()
    scene.assert_log_is_sound()
    scene.disk.free()
    with scene.start() as again:
        assert len(scene.open) == orders
        scene.assert_nothing_lost(again)
    assert scene.exchange.stop() == 0


def test_a_start_on_a_full_disk_serves_what_needs_no_room(scene: Scene) -> None:
    """Reads and cancels; orders as soon as there is room."""
    client = scene.start()
    while len(scene.open) < 3:
        assert scene.place(client)["status"] == 200
    client.close()
    scene.exchange.kill()
    scene.disk.seen(scene.data / "reqlog" / "next.prealloc").unlink()
    scene.disk.fill()
    with scene.start() as client:
        scene.assert_nothing_lost(client)
        deadline = time.monotonic() + 30
        while scene.place(client)["status"] == 200:  # until the writer has looked
            assert time.monotonic() < deadline
        assert scene.cancel(client)["status"] == 200
        scene.disk.free()
        while scene.place(client)["status"] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert scene.exchange.stop() == 0
    scene.assert_log_is_sound()


def test_a_first_start_without_room_says_so(scene: Scene) -> None:
    """Exit code 5 and one line; nothing is begun that the next start would trip over."""
    scene.disk.fill()
    with pytest.raises(DidNotStartError) as failure:
        scene.exchange.start()
    assert failure.value.code == Exit.DISK_FAILED
    assert scene.exchange.errors.count("tallystick: ") == 1
    assert "no room on the disk" in scene.exchange.errors
    scene.exchange.errors = ""
    scene.disk.free()
    client = scene.start()
    assert scene.place(client)["status"] == 200
    client.close()
    assert scene.exchange.stop() == 0
    scene.assert_log_is_sound()

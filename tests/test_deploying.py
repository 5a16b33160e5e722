"""The playbook against a real exchange under load: what was acknowledged is there, whichever release came of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploying import ANSIBLE, Clients, Machine
from tests.live import CONFIG, run_tallystick

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

# It replays to the same, and takes the configuration, and then does not serve.
DOES_NOT_SERVE = '[ "$1" = run ] && exit 7'
# It has forgotten something.
REPLAYS_ELSEWHERE = """
if [ "$1 $2" = "log replay" ]; then echo '{"seq": 1, "digest": "00", "stateHash": "00"}'; exit 0; fi"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """With a first release that serves, and a client with money."""
    assert ANSIBLE.exists(), "make build/ansible/installed installs it"
    config = CONFIG.format(data="{home}/data", socket="{home}/admin.sock", key="0f" * 32, gateway="")
    it = Machine(tmp_path, config.replace("port = 0", "port = {port}", 1))
    it.install(it.release("one"))
    credited = run_tallystick("admin", "--socket", str(it.socket), "credit", "alice", "USDT", "10000000")
    assert credited.returncode == 0, credited.stderr
    yield it
    it.stop()


def test_a_good_release_goes_in_under_load(machine: Machine) -> None:
    """Clients are away for a moment, and find everything that was acknowledged."""
    with Clients(machine.port) as clients:
        done = machine.deploy(machine.release("two"))
        assert done.returncode == 0, done.stdout[-5000:] + machine.log
        before = len(clients.acknowledged)
        clients.wait_for(before + 20)
    assert machine.running == "two"
    assert clients.connections > 1
    assert set(clients.acknowledged) <= clients.found()


def test_a_release_that_does_not_serve_is_rolled_back(machine: Machine) -> None:
    """The old one serves again, and says so; nothing that was acknowledged is lost."""
    with Clients(machine.port) as clients:
        done = machine.deploy(machine.release("bad", DOES_NOT_SERVE))
        assert done.returncode != 0
        assert "the old one does again" in done.stdout, done.stdout[-5000:]
        before = len(clients.acknowledged)
        clients.wait_for(before + 20)
    assert machine.running == "one"
    assert clients.connections > 1
    assert set(clients.acknowledged) <= clients.found()


def test_a_release_that_replays_elsewhere_touches_nothing(machine: Machine) -> None:
    """It is found out by the copy of the log: no client is even disconnected."""
    with Clients(machine.port) as clients:
        clients.wait_for(20)
        done = machine.deploy(machine.release("bad", REPLAYS_ELSEWHERE))
        assert done.returncode != 0
        assert "replays the log to another state. Nothing was touched." in done.stdout, done.stdout[-5000:]
    assert machine.running == "one"
    assert clients.connections == 1
    assert set(clients.acknowledged) <= clients.found()

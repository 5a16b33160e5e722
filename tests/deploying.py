"""A machine for one exchange in a folder: releases, a service, and clients that trade on it all the time."""

import itertools
import json
import os
import shlex
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parent.parent
ANSIBLE = ROOT / "build" / "ansible" / "bin" / "ansible-playbook"
ORDER = {"symbol": "BTC-USDT", "side": "BUY", "type": "LIMIT", "quantity": "0.001", "price": "25000.00"}

START = """#!/bin/bash
# Start the service and return when it serves, or when it does not.
cd {home}
setsid {home}/root/tallystick run --config {home}/tallystick.toml > {home}/log 2>&1 &
echo $! > {home}/pid
for _ in $(seq 600); do
  grep -q 'serving clients' {home}/log && exit 0
  kill -0 $(cat {home}/pid) 2>/dev/null || exit 1
  sleep 0.1
done
exit 1
"""
STOP = """#!/bin/bash
# Stop the service and return when it is gone.
kill -TERM $(cat {home}/pid) 2>/dev/null || exit 0
for _ in $(seq 600); do
  kill -0 $(cat {home}/pid) 2>/dev/null || exit 0
  sleep 0.1
done
exit 1
"""


class Machine:
    """A folder with everything that a machine has of an exchange."""

    def __init__(self, home: Path, config: str) -> None:
        self.home = home
        self.socket = home / "admin.sock"
        with socket.create_server(("127.0.0.1", 0)) as free:  # clients find it again after a deploy
            self.port = free.getsockname()[1]
        (home / "data").mkdir()
        (home / "tallystick.toml").write_text(config.format(home=home, port=self.port))
        for name, text in (("start", START), ("stop", STOP)):
            self._program(home / name, text.format(home=home))

    def release(self, name: str, before: str = "") -> Path:
        """A release: this clone's program, after these lines of shell."""
        words = shlex.join([sys.executable, "-m", "tallystick"])
        path = self.home / name
        self._program(path, f'#!/bin/bash\n# {name}\nexport PYTHONPATH={ROOT}\n{before}\nexec {words} "$@"\n')
        return path

    def install(self, release: Path) -> None:
        """Put a first release in place and start it."""
        place = self.home / "root" / "releases" / "first"
        place.mkdir(parents=True)
        release.rename(place / "tallystick")
        (self.home / "root" / "tallystick").symlink_to(place / "tallystick")
        assert subprocess.run([self.home / "start"], check=False, timeout=60).returncode == 0, self.log

    def deploy(self, release: Path) -> "subprocess.CompletedProcess[str]":
        """Run the playbook with it."""
        variables = {
            "tallystick_binary": str(release),
            "tallystick_root": str(self.home / "root"),
            "tallystick_config": str(self.home / "tallystick.toml"),
            "tallystick_data": str(self.home / "data"),
            "tallystick_socket": str(self.socket),
            "tallystick_scratch": str(self.home / "scratch"),
            "tallystick_start": str(self.home / "start"),
            "tallystick_stop": str(self.home / "stop"),
            "tallystick_start_seconds": 5,
            "ansible_python_interpreter": sys.executable,
        }
        inventory = self.home / "inventory.ini"
        inventory.write_text("[tallystick]\nlocalhost ansible_connection=local\n")
        return subprocess.run(
            [ANSIBLE, "-i", str(inventory), "-e", f"@{self._file(variables)}", "deploy.yml"],
            cwd=ROOT / "deploy" / "ansible",
            env={**os.environ, "ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_HOME": str(self.home / "ansible")},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    def _file(self, variables: dict[str, Any]) -> str:
        path = self.home / "variables.json"
        path.write_text(json.dumps(variables))
        return str(path)

    @property
    def running(self) -> str:
        """The release that is in place, as its second line says."""
        return (self.home / "root" / "tallystick").read_text().splitlines()[1].removeprefix("# ")

    @property
    def log(self) -> str:
        """What the last start wrote."""
        return (self.home / "log").read_text()

    def stop(self) -> None:
        """Stop what runs."""
        subprocess.run([self.home / "stop"], check=False, timeout=60)

    def _program(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)


class Clients:
    """One that places order after order, comes back when it is sent away, and remembers what was acknowledged."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._trade)
        self.acknowledged: list[str] = []
        self.connections = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _trade(self) -> None:
        numbers = itertools.count()
        while not self._stopping.is_set():
            try:
                self._trade_on(self._connected(), numbers)
            except (OSError, ValueError):
                time.sleep(0.05)

    def _connected(self) -> Any:
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        file = connection.makefile("rwb", buffering=0)
        connection.close()  # it goes with its file
        if b'"hello"' not in file.readline():
            raise ConnectionError("turned away")
        _asked(file, {"method": "session.logon", "params": {"apiKey": "alice"}})
        self.connections += 1
        return file

    def _trade_on(self, file: Any, numbers: "itertools.count[int]") -> None:
        with file:
            while not self._stopping.is_set():
                name = f"order-{next(numbers)}"
                reply = _asked(file, {"method": "order.place", "params": {**ORDER, "clientOrderId": name}})
                if reply.get("status") == 200:
                    self.acknowledged.append(name)
                time.sleep(0.005)

    def wait_for(self, acknowledged: int) -> None:
        """Until so many orders have been acknowledged."""
        for _ in range(600):
            if len(self.acknowledged) >= acknowledged:
                return
            time.sleep(0.1)
        raise AssertionError(f"only {len(self.acknowledged)} orders are acknowledged")

    def found(self) -> set[str]:
        """The orders that the exchange knows of."""
        with self._connected() as file:
            reply = _asked(file, {"method": "openOrders.status"})
        return {order["clientOrderId"] for order in reply["result"]["orders"]}


def _asked(file: Any, request: dict[str, Any]) -> dict[str, Any]:
    """The reply; events are passed over. ValueError or OSError when the connection ends."""
    file.write(json.dumps(request).encode() + b"\n")
    while "event" in (reply := json.loads(file.readline())):
        pass
    return dict(reply)

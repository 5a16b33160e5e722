"""`tallystick init`: what it writes is right, has every key with its default, and runs."""

import re
import stat
import tomllib
from pathlib import Path
from typing import Any

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tallystick import config
from tallystick.init_command import written
from tests.live import LiveClient, LiveExchange, run_tallystick

PUBLIC = "0f" * 32


def test_it_has_every_key_with_its_default(tmp_path: Path) -> None:
    """Those of every section, commented out where there is a default: with the comment marks off it loads too."""
    text = written(tmp_path, tmp_path / "x.key", PUBLIC)
    path = tmp_path / "tallystick.toml"
    path.write_text(text)
    plain = config.load(path)
    bare = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    path.write_text(bare)
    assert config.load(path) == plain
    compare(config.File, tomllib.loads(bare))


def compare(section: type[Any], words: dict[str, Any]) -> None:
    """Every key of a section and of those in it is there, with its default, and no other."""
    keys = {key.name: key for key in attrs.fields(section)}
    assert set(words) == {name for name, key in keys.items() if key.default is not None}
    for name, key in keys.items():
        if key.type is not None and attrs.has(key.type):
            compare(key.type, words[name])
        elif isinstance(key.default, str | int | float):
            assert words[name] == key.default, name


def test_it_overwrites_nothing(tmp_path: Path) -> None:
    """A second time it says so, and leaves what is there."""
    assert run_tallystick("init", str(tmp_path / "here")).returncode == 0
    files = {path: path.read_bytes() for path in (tmp_path / "here").rglob("*") if path.is_file()}
    again = run_tallystick("init", str(tmp_path / "here"))
    assert again.returncode == 2
    assert "is there already" in again.stderr
    assert {path: path.read_bytes() for path in (tmp_path / "here").rglob("*") if path.is_file()} == files
    in_the_way = run_tallystick("init", str(tmp_path / "here" / "tallystick.toml"))
    assert in_the_way.returncode == 2
    assert "cannot write" in in_the_way.stderr


@pytest.mark.process
def test_what_it_wrote_runs(tmp_path: Path) -> None:
    """The key is for its owner alone, fresh each time, and logs on with a signature."""
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        assert run_tallystick("init", str(folder)).returncode == 0
    keys = [folder / "keys" / "trader.key" for folder in folders]
    assert keys[0].read_text() != keys[1].read_text()
    assert stat.S_IMODE(keys[0].stat().st_mode) == 0o600
    path = folders[0] / "tallystick.toml"
    checked = run_tallystick("check-config", str(path))
    assert (checked.returncode, checked.stdout) == (0, f"{path} is right\n")
    text = path.read_text()
    path.write_text(re.sub(r"^# (port = )[0-9_]+", r"\g<1>0", text, flags=re.MULTILINE))
    exchange = Written(folders[0]).start()
    try:
        host, port = exchange.ready["client"].rsplit(":", 1)
        with LiveClient((host, int(port))) as client:
            reply = log_on(client, bytes.fromhex(keys[0].read_text()))
        assert reply["status"] == 200, reply
        assert reply["result"]["permissions"] == ["read", "trade"]
    finally:
        exchange.kill()


def log_on(client: LiveClient, seed: bytes) -> Any:
    """With a signature over the nonce of the greeting."""
    hello = client.receive_line()
    signed = f"apiKey=trader&nonce={hello['nonce']}&timestamp={hello['time']}"
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(signed.encode()).hex()
    return client.ask("session.logon", apiKey="trader", timestamp=hello["time"], signature=signature)


class Written(LiveExchange):
    """What `init` wrote into a folder, running."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "data")
        self._command = [*self._command[:3], "run", "--config", str(folder / "tallystick.toml")]
        self._admin = folder / "admin.sock"

    def _wait(self, output: Any) -> dict[str, Any] | None:
        del output
        for _ in range(600):
            if (found := re.search(r"serving clients on (\S+)", self.errors)) is not None:
                return {"client": found[1], "admin": str(self._admin)}
            if self._process is None or self._process.poll() is not None:
                return None
            self._errors_thread.join(0.1)
        return None

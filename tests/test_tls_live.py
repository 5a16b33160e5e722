"""The real program with a certificate: clients of the standard library, a SIGHUP, and files that cannot be used."""

import json
import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from cryptography.x509 import load_der_x509_certificate

from tests import certificates
from tests.certificates import NAME, Pair
from tests.live import ConfiguredExchange, DidNotStartError, run_tallystick

pytestmark = pytest.mark.process


def gateway(pair: Pair) -> str:
    """What names the certificate."""
    return f'tls_certificate = "{pair.certificate}"\ntls_key = "{pair.key}"\n'


class Client:
    """A connection over TLS that trusts this certificate alone."""

    def __init__(self, address: str, pair: Pair) -> None:
        host, port = address.rsplit(":", 1)
        raw = socket.create_connection((host, int(port)), timeout=30)
        self._socket = pair.trusted().wrap_socket(raw, server_hostname=NAME)
        self._file: IO[bytes] = self._socket.makefile("rb")
        assert json.loads(self._file.readline())["event"] == "hello"

    @property
    def serial(self) -> int:
        """Of the certificate that was shown."""
        der = self._socket.getpeercert(binary_form=True)
        assert der is not None
        return load_der_x509_certificate(der).serial_number

    def ask(self, method: str) -> Any:
        """One request and its reply."""
        self._socket.sendall(json.dumps({"id": 1, "method": method}).encode() + b"\n")
        return json.loads(self._file.readline())

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()


@contextmanager
def connected(address: str, pair: Pair) -> Iterator[Client]:
    """A client, for the length of a block."""
    client = Client(address, pair)
    try:
        yield client
    finally:
        client.close()


def until(exchange: ConfiguredExchange, words: str) -> None:
    """Wait for a line of the program's log."""
    for _ in range(600):
        if words in exchange.errors:
            return
        time.sleep(0.1)
    raise AssertionError(f"never said {words!r}: {exchange.errors}")


def test_a_certificate_is_replaced_under_way(tmp_path: Path) -> None:
    """A SIGHUP has the files read again: new connections get what is new and good, those that stand notice nothing."""
    pair = certificates.make(tmp_path, serial=1)
    exchange = ConfiguredExchange(tmp_path / "data", gateway=gateway(pair)).start()
    try:
        address = exchange.ready["client"]
        with connected(address, pair) as old:
            assert old.ask("ping")["status"] == 200
            first = pair.trusted()
            after = certificates.make(tmp_path, serial=2)
            os.kill(exchange.pid, signal.SIGHUP)
            until(exchange, "the certificate was read again")
            with connected(address, after) as new:
                assert (old.serial, new.serial) == (1, 2)
                assert new.ask("ping")["status"] == old.ask("ping")["status"] == 200
            with (
                pytest.raises(ssl.SSLCertVerificationError),
                socket.create_connection(
                    (address.rsplit(":", 1)[0], int(address.rsplit(":", 1)[1])), timeout=30
                ) as raw,
            ):
                first.wrap_socket(raw, server_hostname=NAME)
            good = after.key.read_bytes()
            after.key.write_bytes(b"rubbish")
            os.kill(exchange.pid, signal.SIGHUP)
            until(exchange, "the new certificate cannot be used")
            after.key.write_bytes(good)
            with connected(address, after) as third:
                assert third.serial == 2
                assert old.ask("ping")["status"] == third.ask("time")["status"] == 200
        assert exchange.stop() == 0
    finally:
        if exchange.runs:
            exchange.kill()


def test_a_certificate_that_cannot_be_used_is_no_start(tmp_path: Path) -> None:
    """`check-config` and the start say the same in one line, with code 2."""
    pair = certificates.make(tmp_path)
    pair.key.write_bytes(certificates.make(tmp_path, "other").key.read_bytes())
    why = f"gateway.tls_key: {pair.key} does not go with {pair.certificate}: the key is another certificate's"
    with pytest.raises(DidNotStartError, match="another certificate's") as caught:
        ConfiguredExchange(tmp_path / "data", gateway=gateway(pair)).start()
    assert caught.value.code == 2
    done = run_tallystick("check-config", str(tmp_path / "tallystick.toml"))
    assert (done.returncode, done.stderr.replace("\n", "")) == (2, f"tallystick: {tmp_path}/tallystick.toml: {why}")

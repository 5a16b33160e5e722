"""Logging on to a MySQL server by caching_sha2_password, which no MariaDB knows: a server that speaks just that."""

import hashlib
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import pytest
import trio
from attrs import define

from persistence.mysql import Limits, MysqlDatabase, Patience, server_of
from persistence.txstore import StoreError, StoreRefused, StoreUnavailable
from tests.mariadb import write_certificates

PASSWORD = "pässwörd"  # noqa: S105 - of nobody
SALT = b"12345678abcdefghijkl"
CAPABILITIES = 0x0000_0200 | 0x0000_8000 | 0x0008_0000 | 0x0000_0008  # 4.1, secure connection, plugins, database
TLS = 0x0000_0800


@define
class Server:
    """What the server does, and what it was told."""

    cached: bool = True
    """It knows the password's digest; else it asks for the whole password."""
    plugin: bytes = b"caching_sha2_password"
    tls: ssl.SSLContext | None = None
    shown: bytes = b""
    """The password, if it was shown."""
    switched: bool = False

    async def serve(self, plain: trio.SocketStream) -> None:
        """One logon, and then only refusals."""
        stream: trio.abc.Stream = plain
        async with plain:
            await _send(stream, 0, _greeting(CAPABILITIES | (TLS if self.tls else 0), self.plugin))
            number, _ = await _receive(stream)
            if self.tls is not None:
                stream = trio.SSLStream(stream, self.tls, server_side=True)
                await stream.do_handshake()
                number, _ = await _receive(stream)
            self.switched = True
            await _send(stream, number + 1, b"\xfe" + self.plugin + b"\0" + SALT + b"\0")
            number, scramble = await _receive(stream)
            if self.plugin != b"caching_sha2_password":
                self.shown = scramble
                return
            if self.cached:
                good = scramble == _scramble(PASSWORD.encode())
                if good:
                    await _send(stream, number + 1, b"\x01\x03")
                    number += 1
            else:
                await _send(stream, number + 1, b"\x01\x04")
                number, self.shown = await _receive(stream)
                good = self.shown == PASSWORD.encode() + b"\0"
            await _send(stream, number + 1, b"\0\0\0\2\0\0\0" if good else _error(1045, "Access denied"))
            while True:
                await _receive(stream)
                await _send(stream, 1, _error(1105, "that is all"))


def _greeting(capabilities: int, plugin: bytes) -> bytes:
    low, high = capabilities & 0xFFFF, capabilities >> 16
    head = b"\x0a8.0.0\0" + struct.pack("<I", 1) + SALT[:8] + b"\0" + struct.pack("<H", low)
    return head + struct.pack("<BHHB", 45, 2, high, 21) + bytes(10) + SALT[8:] + b"\0" + plugin + b"\0"


def _scramble(password: bytes) -> bytes:
    once = hashlib.sha256(password).digest()
    mask = hashlib.sha256(hashlib.sha256(once).digest() + SALT).digest()
    return bytes(a ^ b for a, b in zip(once, mask, strict=True))


def _error(number: int, words: str) -> bytes:
    return b"\xff" + struct.pack("<H", number) + b"#28000" + words.encode()


async def _send(stream: trio.abc.SendStream, number: int, payload: bytes) -> None:
    await stream.send_all(len(payload).to_bytes(3, "little") + bytes([number]) + payload)


async def _receive(stream: trio.abc.ReceiveStream) -> tuple[int, bytes]:
    head = await _exactly(stream, 4)
    return head[3], await _exactly(stream, int.from_bytes(head[:3], "little"))


async def _exactly(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = await stream.receive_some(size - len(data))
        if not more:
            raise trio.BrokenResourceError
        data += more
    return data


@asynccontextmanager
async def served(server: Server) -> AsyncIterator[int]:
    """The port it listens on."""

    async def serve(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await server.serve(stream)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def outcome(server: Server, *, password: str = PASSWORD, ca_file: str = "") -> StoreError:
    """How it ends: at the first statement, if the logon is good."""
    limits = Limits(connect_seconds=5)
    async with served(server) as port:
        place = server_of(f"mysql://u@127.0.0.1:{port}/d", password=password, ca_file=ca_file, limits=limits)
        with pytest.raises(StoreError) as caught:
            await MysqlDatabase(place, limits, Patience(Random(0))).check()
    return caught.value


def secured(folder: Path) -> tuple[ssl.SSLContext, str]:
    """A server's TLS, and the authority to trust."""
    write_certificates(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, str(folder / "ca.pem")


async def test_a_password_that_the_server_has_cached_is_not_shown() -> None:
    """Its digest, with the server's nonce, is enough."""
    server = Server()
    assert "that is all" in str(await outcome(server))
    assert server.switched
    assert server.shown == b""


async def test_a_wrong_password_is_wrong() -> None:
    """Whether its digest is cached or not."""
    error = await outcome(Server(), password="wrong")  # noqa: S106 - it is wrong
    assert isinstance(error, StoreRefused)
    assert "does not let us in: Access denied" in str(error)


async def test_the_whole_password_is_shown_over_tls_only(tmp_path: Path) -> None:
    """A server that has not cached it gets it there."""
    tls, ca_file = secured(tmp_path)
    server = Server(cached=False, tls=tls)
    assert "that is all" in str(await outcome(server, ca_file=ca_file))
    assert server.shown == PASSWORD.encode() + b"\0"


async def test_the_whole_password_is_not_shown_in_plain_text() -> None:
    """Whoever listens would have it."""
    server = Server(cached=False)
    error = await outcome(server)
    assert isinstance(error, StoreRefused)
    assert "wants the whole password" in str(error)
    assert server.shown == b""


@pytest.mark.parametrize("plugin", [b"mysql_clear_password", b"dialog", b"sha256_password", b"mysql_old_password"])
async def test_a_server_that_fishes_for_passwords_gets_none(plugin: bytes) -> None:
    """In plain text, nothing that shows the password is answered."""
    server = Server(plugin=plugin)
    error = await outcome(server)
    assert isinstance(error, StoreRefused)
    assert "shows the password to whoever listens" in str(error)
    assert server.shown == b""


async def test_another_protocol_is_a_server_that_is_away() -> None:
    """Whatever it says instead of a greeting."""

    async def shout(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(b"220 mail.example.com ESMTP\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, shout, listeners)
        port = listeners[0].socket.getsockname()[1]
        place = server_of(f"mysql://u@127.0.0.1:{port}/d", password="", ca_file="", limits=Limits())
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await MysqlDatabase(place, Limits(), Patience(Random(0))).check()
        nursery.cancel_scope.cancel()

"""TLS for clients: a certificate that can be replaced while connections stand, and streams that speak it.

What a connection began with it keeps; a new certificate is for those that come after it.
"""

import signal
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NoReturn

import structlog
import trio
from attrs import frozen
from cryptography.x509 import load_pem_x509_certificates
from structlog.typing import FilteringBoundLogger
from trio.abc import HalfCloseableStream

from actors.world import Blocking, Clock

DISCARDED_BYTES: Final = 65_536
DRAIN_SECONDS: Final = 0.05
# For the last word to find room: a client that does not read would otherwise keep us waiting.
FAREWELL_SECONDS: Final = 1.0

log: FilteringBoundLogger = structlog.get_logger("certificate")


class BadCertificate(Exception):  # noqa: N818 - names what happened, in a sentence for the operator
    """Certificate and key cannot be used; the message is one clear line that says which file and why."""


@frozen
class Certificate:
    """What connections are secured with."""

    context: ssl.SSLContext
    expires_ns: int
    """ns since 1970."""


LoadCertificate = Callable[[str, str], Certificate]

# What gives a block the signals that ask for the certificate to be read again, as they come.
Hangups = Callable[[], AbstractContextManager[AsyncIterator[int]]]


def hangups() -> AbstractContextManager[AsyncIterator[int]]:
    """The process's SIGHUP."""
    return trio.open_signal_receiver(signal.SIGHUP)


def load_certificate(certificate: str, key: str) -> Certificate:
    """The certificate chain and the private key in these PEM files.

    Raises:
        BadCertificate: they cannot be read, are something else, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # What a client could ask for again and again, at our cost.
    context.options |= ssl.OP_NO_RENEGOTIATION
    chain = _read(certificate, "tls_certificate")
    _read(key, "tls_key")
    try:
        leaf = load_pem_x509_certificates(chain)[0]
    except ValueError as error:
        raise BadCertificate(f"tls_certificate: {certificate} is no PEM certificate: {_first_line(error)}") from error
    try:
        context.load_cert_chain(certificate, key, _no_passphrase)
    except _PassphraseError as error:
        raise BadCertificate(f"tls_key: {key} has a passphrase, and nobody is there to type it") from error
    except (ssl.SSLError, OSError) as error:
        why = "the key is another certificate's" if "MISMATCH" in str(error) else _first_line(error)
        raise BadCertificate(f"tls_key: {key} does not go with {certificate}: {why}") from error
    return Certificate(context, round(leaf.not_valid_after_utc.timestamp()) * 10**9)


class _PassphraseError(Exception):
    """Somebody should type it."""


def _no_passphrase() -> NoReturn:
    raise _PassphraseError


def _read(path: str, key: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BadCertificate(f"{key}: cannot read {path}: {error.strerror}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


class Tls:
    """The certificate in use, and what has become of the attempts to replace it.

    Args:
        certificate: The path of the chain, for `load`.
        key: The path of its private key.
        load: Reads them; raises BadCertificate.
        hangups: When they are to be read again.
        blocking: Where it is read while the exchange runs.
        clock: For whether it has expired.

    Raises:
        BadCertificate: it cannot be used from the start.
    """

    def __init__(
        self,
        certificate: str,
        key: str,
        *,
        load: LoadCertificate,
        hangups: Hangups,
        blocking: Blocking,
        clock: Clock,
    ) -> None:
        self._paths = (certificate, key)
        self._load = load
        self._hangups = hangups
        self._blocking = blocking
        self._clock = clock
        self.current = load(certificate, key)
        self.reloads = 0
        self.failed_reloads = 0
        self._warn_of_expiry()

    async def run(self, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Read the files again whenever that is asked for, until `stop`."""
        with self._hangups() as asked:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._reload_when, asked)
                task_status.started()
                await stop.wait()
                nursery.cancel_scope.cancel()

    async def _reload_when(self, asked: AsyncIterator[int]) -> None:
        async for _ in asked:
            await self.reload()

    async def reload(self) -> None:
        """Read the files again, for the connections to come; where they cannot be used, all stays as it is."""
        try:
            certificate = await self._blocking(self._load, *self._paths)
        except BadCertificate as error:
            self.failed_reloads += 1
            log.error("the new certificate cannot be used; the one before stays in use", reason=str(error))  # noqa: TRY400
            return
        self.reloads += 1
        self.current = certificate
        log.warning("the certificate was read again", expires=_date(certificate.expires_ns))
        self._warn_of_expiry()

    def _warn_of_expiry(self) -> None:
        if self.current.expires_ns <= self._clock.wall_ns():
            log.error("the certificate has expired: clients will not connect", expired=_date(self.current.expires_ns))

    async def secure(self, stream: HalfCloseableStream) -> "TlsStream":
        """The stream, once the handshake is done; whoever calls has a deadline, and closes the stream if this fails.

        Raises:
            trio.BrokenResourceError: the other end does not speak TLS, or not to us, or is gone.
        """
        secured = TlsStream(stream, self.current.context)
        await secured.handshake()
        return secured


class TlsStream(HalfCloseableStream):
    """TLS over a stream, that ends as sessions need it: say that nothing more comes, then let the last bytes arrive.

    TLS has no half that could be closed by itself: after `send_eof`, what still comes in is dropped.
    """

    def __init__(self, stream: HalfCloseableStream, context: ssl.SSLContext) -> None:
        self._raw = stream
        self._tls = trio.SSLStream(_Ended(stream), context, server_side=True)
        self._ended = False

    async def handshake(self) -> None:
        """Agree on keys. Raises trio.BrokenResourceError."""
        await self._tls.do_handshake()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send it all. Raises trio.BrokenResourceError."""
        await self._tls.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room for more."""
        await self._tls.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """What has come in; nothing at the other's end, and after `send_eof`. Raises trio.BrokenResourceError."""
        if not self._ended:
            return await self._tls.receive_some(max_bytes)
        while await self._raw.receive_some(DISCARDED_BYTES):
            pass
        return b""

    async def send_eof(self) -> None:
        """Say that nothing more will be sent."""
        self._ended = True
        # What has come in and was not read would keep TLS from saying its last word.
        with trio.move_on_after(DRAIN_SECONDS), suppress(trio.BrokenResourceError):
            while await self._tls.receive_some(DISCARDED_BYTES):
                pass
        await self._tls.aclose()

    async def aclose(self) -> None:
        """Say so if that is not done yet and the other end takes it, and close."""
        try:
            with trio.move_on_after(FAREWELL_SECONDS), suppress(trio.BrokenResourceError):
                await self._tls.aclose()
        finally:
            await self._raw.aclose()


class _Ended(HalfCloseableStream):
    """The stream below TLS, which TLS closes when it has said its last word: then only this half ends."""

    def __init__(self, stream: HalfCloseableStream) -> None:
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.send_eof()


def _date(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 10**9, UTC).isoformat()

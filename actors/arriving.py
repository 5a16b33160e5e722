"""From an accepted connection to one that a session can speak over: is there room, who is it really, and in secret.

A balancer that we trust says first whose connection it passes on (`actors.proxy_protocol`); the handshake of TLS
follows. Both have one deadline, and whoever does not keep it, or says something else, is hung up on.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog
import trio
from attrs import frozen
from msgspec import UNSET
from structlog.typing import FilteringBoundLogger
from trio.abc import HalfCloseableStream

from actors import proxy_protocol
from actors.gateway_counts import DRAINING, HANDSHAKE, PROXY_HEADER, GatewayCounts
from actors.limits import Connections, NoRoom, Place
from actors.networks import IpNetwork, is_in
from actors.proxy_protocol import BadHeader
from actors.tls import Tls
from actors.wire import encode_lines, refusal
from actors.world import Peer
from book.codes import SERVICE_SHUTTING_DOWN, TOO_MANY_CONNECTIONS

# A fresh connection takes one line at once, or its client is not worth waiting for.
TURN_AWAY_SECONDS: Final = 0.1

_TOO_MANY: Final = refusal(UNSET, TOO_MANY_CONNECTIONS, "too many connections, from this address or in all")
_GOODBYES: Final = {
    DRAINING: refusal(UNSET, SERVICE_SHUTTING_DOWN, "nobody is let in: the exchange is about to stop"),
}

# What a stranger brings about is counted, and told to who debugs alone: whoever could have us write a line for each
# connection of his would fill the disk.
log: FilteringBoundLogger = structlog.get_logger("gateway")


@frozen
class Arrival:
    """A connection, who is at its other end, and the place that it takes up."""

    stream: HalfCloseableStream
    peer: Peer
    place: Place


class Arrivals:
    """Brings connections to where a session can begin.

    Args:
        connections: How many there may be.
        balancers: Networks from where others are passed on.
        tls: The certificate; None where connections are not encrypted.
        seconds: How long one may take.
        counts: Where it is counted who did not get there.
    """

    def __init__(
        self,
        connections: Connections,
        *,
        balancers: tuple[IpNetwork, ...],
        tls: Tls | None,
        seconds: float,
        counts: GatewayCounts,
    ) -> None:
        self._connections = connections
        self._balancers = balancers
        self._tls = tls
        self._seconds = seconds
        self._counts = counts

    def is_there(self, peer: Peer) -> bool:
        """Whether a connection from this peer needs nothing more."""
        return self._tls is None and not self._is_balancer(peer)

    def _is_balancer(self, peer: Peer) -> bool:
        return bool(self._balancers) and is_in(peer.host, self._balancers)

    async def enter(self, stream: HalfCloseableStream, peer: Peer) -> Arrival | None:
        """Give a connection its place; None where there is none, and it has been told so and closed."""
        try:
            place = self._connections.enter(None if self._is_balancer(peer) else peer.host)
        except NoRoom as full:
            await self.turn_away(stream, peer, full.reason)
            return None
        return Arrival(stream, peer, place)

    async def bring(self, arrival: Arrival, handed_on: Callable[[Arrival], None]) -> None:
        """Read the header and shake hands, where that is due, and hand the connection on; or give up its place."""
        arrived = None
        try:
            arrived = await self._brought(arrival)
        except Exception:
            # Our bug, and none of the other clients' business.
            log.exception("a connection crashed on its way in", peer=str(arrival.peer))
        finally:
            if arrived is None:
                arrival.place.leave()
                await trio.aclose_forcefully(arrival.stream)
        if arrived is not None:
            handed_on(arrived)

    async def _brought(self, arrival: Arrival) -> Arrival | None:
        stream, peer, reason = arrival.stream, arrival.peer, HANDSHAKE
        try:
            with trio.fail_after(self._seconds):
                if self._is_balancer(peer):
                    reason = PROXY_HEADER
                    stream, peer = await _read_header(stream, peer)
                    arrival.place.move(peer.host)
                    reason = HANDSHAKE
                if self._tls is not None:
                    stream = await self._tls.secure(stream)
        except NoRoom as full:
            await self.turn_away(stream, peer, full.reason)
        except (BadHeader, trio.BrokenResourceError, trio.TooSlowError) as error:
            self._counts.refused_connections[reason] += 1
            log.debug("a connection did not get there", peer=str(peer), what=reason, reason=_words(error))
        else:
            return Arrival(stream, peer, arrival.place)
        return None

    async def turn_away(self, stream: HalfCloseableStream, peer: Peer, reason: str) -> None:
        """Say why, where that takes no handshake, and close."""
        self._counts.refused_connections[reason] += 1
        log.debug("a connection is turned away", peer=str(peer), reason=reason)
        if self._tls is not None:
            await trio.aclose_forcefully(stream)
            return
        with suppress(trio.BrokenResourceError), trio.move_on_after(TURN_AWAY_SECONDS):
            async with stream:
                await stream.send_all(encode_lines([_GOODBYES.get(reason, _TOO_MANY)]))


def _words(error: Exception) -> str:
    """What was wrong: for a handshake, the cause has the words."""
    return str(error) or str(error.__cause__ or "") or type(error).__name__


async def _read_header(stream: HalfCloseableStream, balancer: Peer) -> tuple[HalfCloseableStream, Peer]:
    """What a balancer's connection becomes, once its header is read. The caller has a deadline.

    Raises:
        BadHeader: there is none, or not a whole one.
        trio.BrokenResourceError: the balancer is gone.
    """
    data = b""
    while (header := proxy_protocol.parse(data)) is None:
        received = bytes(await stream.receive_some(proxy_protocol.MAX_BINARY_BYTES))
        if not received:
            raise BadHeader("it ends before its header does")
        data += received
    peer = balancer if header.client is None else Peer(*header.client)
    rest = data[header.size :]
    return (_Begun(stream, rest) if rest else stream), peer


class _Begun(HalfCloseableStream):
    """A stream of which more was read than was wanted: that comes first."""

    def __init__(self, stream: HalfCloseableStream, rest: bytes) -> None:
        self._stream = stream
        self._rest = rest

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if not self._rest:
            return await self._stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        first = self._rest[:max_bytes]
        self._rest = self._rest[len(first) :]
        return first

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

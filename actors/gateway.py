"""The clients' door: it listens, counts who comes in, and runs a session for each. One bad client costs only itself.

A session's crash ends that session; what happens to the listener ends the gateway, and its supervisor opens the door
again. A stop closes the door first, then lets every session answer what it has read, for a bounded time.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any, Final, NoReturn

import structlog
import trio
from attrs import Attribute, field, frozen
from attrs.validators import and_, ge, le
from structlog.typing import FilteringBoundLogger
from trio.abc import HalfCloseableStream, Listener

from actors.accepting import Acceptor
from actors.account_limits import AccountLimits, AccountLimitsConfig
from actors.arriving import Arrival, Arrivals
from actors.audit_book import AuditBook
from actors.chain_addresses import ChainAddresses
from actors.directory import Directory
from actors.funds import Funds, FundsConfig
from actors.gateway_counts import DRAINING, OPERATOR, REPLY_MEMORY, GatewayCounts
from actors.limits import Connections
from actors.lost_sessions import LostSessions
from actors.mailbox import Sender
from actors.networks import network_of
from actors.past_candles import PastCandles
from actors.replies import Replies
from actors.reply_memory import whom_to_cut
from actors.requests import Batch
from actors.session import Session, SessionLimits, SessionStatistics
from actors.streams import Streams
from actors.tls import Tls
from actors.traffic import Traffic
from actors.world import Clock, Entropy, Network, Peer
from chains.wallet import AddressBook

# At a stop, for matching to answer for the sessions that are gone: less than a supervisor's patience leaves.
FAREWELL_SECONDS: Final = 3.0
# How often it is looked at what clients have not read.
MEMORY_SECONDS: Final = 0.1

log: FilteringBoundLogger = structlog.get_logger("gateway")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _loopback_only(config: "GatewayConfig", _attribute: "Attribute[bool]", unsigned: Any) -> None:
    if unsigned and not _is_loopback(config.host):
        raise ValueError(f"unsigned_logon is for a loopback host only, and host is {config.host!r}")


def _both_or_neither(config: "GatewayConfig", _attribute: "Attribute[str]", key: Any) -> None:
    if bool(config.tls_certificate) != bool(key):
        raise ValueError("tls_certificate and tls_key go together: one is given and the other is not")


def _networks_not_here(config: "GatewayConfig", _attribute: "Attribute[tuple[str, ...]]", proxies: Any) -> None:
    for text in proxies:
        try:
            network_of(text)
        except ValueError:
            raise ValueError(
                f"proxies: expected an address such as '10.0.0.7' or a network such as '10.0.0.0/8', not {text!r:.50}"
            ) from None
    if proxies and config.unsigned_logon:
        raise ValueError("unsigned_logon does not go with proxies: who comes through one is not on this machine")


@frozen(kw_only=True)
class GatewayConfig:
    """Where clients connect and how many may."""

    host: str = "127.0.0.1"
    port: int = field(default=7700, validator=and_(ge(0), le(65_535)))
    """0 picks a free one, which a restarted gateway keeps."""
    max_connections: int = field(default=10_000, validator=and_(ge(1), le(1_000_000)))
    max_connections_per_address: int = field(default=1_000, validator=and_(ge(1), le(1_000_000)))
    """For IPv6, an address is a /64."""
    drain_seconds: float = field(default=5.0, validator=and_(ge(0.0), le(60.0)))
    """At a stop, for sessions to answer what they have read."""
    unsigned_logon: bool = field(default=False, validator=_loopback_only)
    """Whether the name of a key is enough to log on. For demos, on loopback."""
    tls_certificate: str = ""
    """The path of a chain in PEM. Empty: connections are not encrypted."""
    tls_key: str = field(default="", validator=_both_or_neither)
    """The path of its private key in PEM, without a passphrase."""
    proxies: tuple[str, ...] = field(default=(), validator=_networks_not_here)
    """Networks of the balancers that begin each connection with a header of the PROXY protocol."""
    arrival_seconds: float = field(default=10.0, validator=and_(ge(0.001), le(3600.0)))
    """From connecting to the end of a balancer's header and of the TLS handshake."""
    reply_memory_bytes: int = field(default=1 << 30, validator=and_(ge(1 << 20), le(1 << 40)))
    """For replies that clients do not take, over all connections."""
    session: SessionLimits = field(factory=SessionLimits)
    account: AccountLimitsConfig = field(factory=AccountLimitsConfig)
    funds: FundsConfig = field(factory=FundsConfig)


class Sessions:
    """Who is connected now: the gateway's register, for operators."""

    def __init__(self) -> None:
        self._sessions: dict[int, Session] = {}
        self.counts = GatewayCounts()
        self._fewer = trio.Event()
        self.traffic = Traffic()
        """What they all have answered."""
        self.draining = False
        """Whether nobody is let in any more, because an operator says so."""

    def __len__(self) -> int:
        return len(self._sessions)

    def add(self, session: Session) -> None:
        """Enter a session."""
        self._sessions[session.number] = session

    def remove(self, session: Session) -> None:
        """Strike a session out, if a kill has not."""
        self._sessions.pop(session.number, None)
        self._fewer.set()

    def kill(self, number: int) -> bool:
        """Close one connection and strike it out; False if there is none of this number."""
        session = self._sessions.pop(number, None)
        if session is None:
            return False
        log.warning("a session is killed", session=number, peer=str(session.peer))
        self.counts.closed_connections[OPERATOR] += 1
        session.kill()
        return True

    def cut_to(self, limit_bytes: int) -> None:
        """Close the connections that hold most of what nobody reads, until the others hold no more than the limit."""
        sessions = self._sessions
        held = {number: size for number, session in sessions.items() if (size := session.held_bytes())}
        for number in whom_to_cut(held, limit_bytes):
            session = sessions.pop(number)
            size = held.pop(number)
            log.warning("a client that does not read is cut off", session=number, peer=str(session.peer), bytes=size)
            self.counts.closed_connections[REPLY_MEMORY] += 1
            session.kill()
        self.counts.reply_bytes = sum(held.values())

    async def kill_those_of(self, key: int) -> int:
        """Close every connection that is logged on with this key, which the engine has revoked; how many those were."""
        # A logon that the engine answered before it revoked the key may be on its way to its session: that takes no
        # more than two turns of the loop.
        for _ in range(2):
            await trio.lowlevel.checkpoint()
        found = [session.number for session in self._sessions.values() if session.statistics().key == key]
        return sum(self.kill(number) for number in found)

    async def wait_until_none(self) -> None:
        """Wait until nobody is connected. Whoever calls has the deadline."""
        while self._sessions:
            self._fewer = trio.Event()
            await self._fewer.wait()

    def stop(self) -> None:
        """Ask all sessions to answer what they have read and close."""
        for session in self._sessions.values():
            session.stop()

    def list(self) -> "list[SessionStatistics]":
        """All sessions, in the order they came."""
        return [session.statistics() for session in self._sessions.values()]


class Gateway:
    """Accepts connections and owns their sessions.

    Args:
        config: Where, and how many.
        matching: Where sessions send batches.
        network: What to listen on.
        clock: For the times that clients see.
        entropy: For nonces.
        directory: What is defined, for names and decimals.
        sessions: The register to keep.
        streams: Where sessions follow channels.
        accounts: What accounts may do, over all their connections.
        tls: The certificate; None where connections are not encrypted.
        serving: Told the address clients can connect to, at every start.
        books: The addresses of the chains that the exchange is on.
        funds: Who knows of deposits and withdrawals; None where nothing is paid in or out.
        past: Who knows of candles that the engine has forgotten; None where nobody does.
        audit: Where logons are noted; None where nobody wants to know.
    """

    def __init__(
        self,
        config: GatewayConfig,
        matching: Sender[Batch],
        *,
        network: Network,
        clock: Clock,
        entropy: Entropy,
        directory: Directory,
        sessions: Sessions,
        streams: Streams,
        accounts: AccountLimits,
        tls: Tls | None,
        serving: Callable[[Peer], None],
        books: Mapping[str, AddressBook] | None = None,
        funds: Funds | None = None,
        past: PastCandles | None = None,
        audit: AuditBook | None = None,
    ) -> None:
        self._config = config
        self._matching = matching
        self._network = network
        self._clock = clock
        self._entropy = entropy
        self._directory = directory
        self._chains = ChainAddresses(directory.assets, books or {})
        self._funds = funds
        self._past = past
        self._audit = audit
        self._replies = Replies(directory, books)
        self._sessions = sessions
        self._streams = streams
        self._counts = sessions.counts
        self._accounts = accounts
        self._serving = serving
        # These belong to the process: no restart gives a number or a port twice.
        self._numbers = itertools.count(1)
        self._port = config.port
        self._arrivals = Arrivals(
            Connections(config.max_connections, config.max_connections_per_address),
            balancers=tuple(network_of(text) for text in config.proxies),
            tls=tls,
            seconds=config.arrival_seconds,
            counts=sessions.counts,
        )
        self._lost = LostSessions(matching)

    async def run(self, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve until `stop`.

        Raises:
            CannotListen: the address is taken or not ours.
        """
        listeners = await self._listen()
        async with trio.open_nursery() as beside:
            beside.start_soon(self._lost.tell)
            beside.start_soon(self._watch_memory)
            await self._serve_until(stop, listeners, task_status)
            beside.cancel_scope.cancel()
        # What is not answered in time is matching's already, or the next incarnation of us takes it up.
        with trio.move_on_after(FAREWELL_SECONDS):
            await self._lost.tell_all()

    async def _serve_until(
        self,
        stop: trio.Event,
        listeners: Sequence[Listener[HalfCloseableStream]],
        task_status: trio.TaskStatus[None],
    ) -> None:
        async with trio.open_nursery() as serving:
            async with trio.open_nursery() as accepting:
                for listener in listeners:
                    accepting.start_soon(self._accept, listener, accepting, serving)
                task_status.started()
                await stop.wait()
                accepting.cancel_scope.cancel()
            log.info("the gateway is closed; sessions answer what they have read", sessions=len(self._sessions))
            self._sessions.stop()
            serving.cancel_scope.deadline = trio.current_time() + self._config.drain_seconds

    async def _watch_memory(self) -> NoReturn:
        while True:
            await trio.sleep(MEMORY_SECONDS)
            self._sessions.cut_to(self._config.reply_memory_bytes)

    async def _listen(self) -> Sequence[Listener[HalfCloseableStream]]:
        listeners = await self._network.listen_tcp(self._config.host, self._port)
        address = self._network.address(listeners[0])
        self._port = address.port
        self._serving(address)
        log.info("clients can connect", address=str(address))
        return listeners

    async def _accept(
        self, listener: Listener[HalfCloseableStream], accepting: trio.Nursery, serving: trio.Nursery
    ) -> None:
        async with listener:
            acceptor = Acceptor(listener)
            while True:
                await self._admit(await acceptor.accept(), accepting, serving)

    async def _admit(self, stream: HalfCloseableStream, accepting: trio.Nursery, serving: trio.Nursery) -> None:
        try:
            peer = self._network.peer(stream)
        except OSError:  # gone already
            await trio.aclose_forcefully(stream)
            return
        if self._sessions.draining:
            await self._arrivals.turn_away(stream, peer, DRAINING)
            return
        arrival = await self._arrivals.enter(stream, peer)
        if arrival is None:
            return

        def serve(arrived: Arrival) -> None:
            serving.start_soon(self._serve, arrived)

        if self._arrivals.is_there(peer):
            serve(arrival)
        else:
            # Who has not said anything when it stops is not waited for.
            accepting.start_soon(self._arrivals.bring, arrival, serve)

    async def _serve(self, arrival: Arrival) -> None:
        number = next(self._numbers)
        self._counts.connections += 1
        try:
            await self._run_session(number, arrival.stream, arrival.peer)
        except Exception:
            # Our bug, and none of the other clients' business.
            log.exception("a session crashed", session=number, peer=str(arrival.peer))
        finally:
            arrival.place.leave()

    async def _run_session(self, number: int, stream: HalfCloseableStream, peer: Peer) -> None:
        session = Session(
            number,
            peer,
            stream,
            matching=self._matching,
            venues=self._directory.venues,
            replies=self._replies,
            streams=self._streams,
            clock=self._clock,
            entropy=self._entropy,
            lost=self._lost.add,
            traffic=self._sessions.traffic,
            limits=self._config.session,
            accounts=self._accounts,
            counts=self._counts,
            unsigned_logon=self._config.unsigned_logon,
            chains=self._chains,
            funds=self._funds,
            past=self._past,
            audit=self._audit,
        )
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.remove(session)

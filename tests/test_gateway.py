"""The gateway: who may come in, how sessions are kept apart, and how it starts, stops and starts again."""

# ruff: noqa: ARG001 - to ask for the fixture is to run on virtual time

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

import pytest
import structlog
import trio
from attrs import evolve
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.account_limits import AccountLimits
from actors.gateway import FAREWELL_SECONDS, Gateway, GatewayConfig, Sessions
from actors.requests import Batch
from actors.session import LINGER_SECONDS, SessionLimits
from actors.tls import Tls
from actors.world import CannotListen, Network, Peer, RealNetwork
from book import codes
from book.commands import LoseSession
from book.queries import OpenOrders
from tests.clients import Client, Exchange, close, code, place
from tests.clients import codes as codes_of
from tests.simulation.network import MemoryListener, MemoryNetwork
from tests.simulation.world import VirtualClock

CONFIG = GatewayConfig(port=0, unsigned_logon=True)


class House:
    """An exchange, a network and a gateway between them."""

    def __init__(
        self,
        config: GatewayConfig = CONFIG,
        network: Network | None = None,
        *,
        tls: Tls | None = None,
        exchange: Exchange | None = None,
    ) -> None:
        self.exchange = exchange or Exchange()
        self.tls = tls
        self.memory = MemoryNetwork()
        self.sessions = Sessions()
        self.addresses: list[Peer] = []
        self.gateway = Gateway(
            config,
            self.exchange.mailbox.sender(1),
            network=network or self.memory,
            clock=VirtualClock(),
            entropy=bytes,
            directory=self.exchange.directory,
            sessions=self.sessions,
            streams=self.exchange.streams,
            accounts=AccountLimits(config.account, trio.current_time, self.sessions.counts),
            tls=tls,
            serving=self.addresses.append,
        )

    @property
    def listener(self) -> MemoryListener:
        """What it listens on."""
        return self.memory.listeners[self.addresses[-1]]

    @asynccontextmanager
    async def open(self, *, serve: bool = True) -> AsyncIterator[trio.Event]:
        """Run the gateway, and the exchange unless told otherwise; gives `stop`. Leaving the block stops it."""
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            if serve:
                nursery.start_soon(self.exchange.serve)
            async with trio.open_nursery() as gateway:
                await gateway.start(self.gateway.run, stop)
                yield stop
                stop.set()
            nursery.cancel_scope.cancel()

    async def client(self, host: str = "192.0.2.1", *, greeted: bool = True) -> Client:
        """A new client."""
        client = Client(self.memory.connect(self.addresses[-1], host))
        if greeted:
            assert (await client.receive())["event"] == "hello"
        return client


async def is_turned_away(client: Client) -> bool:
    """It reads why, and then the end."""
    return codes_of(await client.rest()) == [codes.TOO_MANY_CONNECTIONS]


# -------------------------------------------------------------------------------------------------------------- serving


async def test_clients_trade_with_each_other(autojump_clock: MockClock) -> None:
    """Each has a session of its own, and all the same market."""
    house = House()
    async with house.open():
        alice, bob = await house.client(), await house.client()
        for client, name in ((alice, "alice"), (bob, "bob")):
            assert code(await client.ask("session.logon", apiKey=name)) == 0
        await alice.send(place(1, side="SELL"))
        assert code(await alice.receive()) == 0
        await bob.send(place(1))
        result = (await bob.receive())["result"]
        assert isinstance(result, dict)
        assert result["status"] == "FILLED"


async def test_it_says_where_it_listens_before_it_is_ready(autojump_clock: MockClock) -> None:
    """Whoever waits for the start knows the port."""
    house = House()
    async with house.open():
        assert house.addresses == [Peer("127.0.0.1", 40_001)]


async def test_a_restarted_gateway_keeps_its_port_and_never_reuses_a_number(autojump_clock: MockClock) -> None:
    """Clients find it where it was, and the log tells sessions apart."""
    house = House()
    for expected in (1, 2):
        async with house.open():
            await house.client()
            assert [entry.session for entry in house.sessions.list()] == [expected]
    assert len(set(house.addresses)) == 1


async def test_a_taken_port_is_said_in_one_line(autojump_clock: MockClock) -> None:
    """And nothing was started."""
    house = House()
    await house.memory.listen_tcp("127.0.0.1", 7700)
    with pytest.RaisesGroup(pytest.RaisesExc(CannotListen, match="already in use"), flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            gateway = House(evolve(CONFIG, port=7700), house.memory).gateway
            await nursery.start(gateway.run, trio.Event())


# ----------------------------------------------------------------------------------------------------------------- caps


async def test_connections_of_one_address_are_capped(autojump_clock: MockClock) -> None:
    """One too many is told so and closed; others come in, and whoever leaves makes room."""
    house = House(evolve(CONFIG, max_connections_per_address=2))
    async with house.open():
        first = await house.client()
        await house.client()
        assert await is_turned_away(await house.client(greeted=False))
        other = await house.client("192.0.2.2")
        assert code(await other.ask("ping")) == 0
        await close(first.stream)
        await wait_all_tasks_blocked()
        assert code(await (await house.client()).ask("ping")) == 0


async def test_connections_are_capped_in_all(autojump_clock: MockClock) -> None:
    """From however many addresses."""
    house = House(evolve(CONFIG, max_connections=3))
    async with house.open():
        for number in range(3):
            await house.client(f"192.0.2.{number}")
        for number in range(3, 200):
            assert await is_turned_away(await house.client(f"192.0.2.{number}", greeted=False))
        assert len(house.sessions) == 3


async def test_running_out_of_descriptors_is_survived(autojump_clock: MockClock) -> None:
    """Nobody comes in for a moment, and everybody after it."""
    house = House()
    async with house.open():
        house.listener.failures += [OSError(errno.EMFILE, "Too many open files")] * 5
        await house.client()
        started = trio.current_time()
        assert code(await (await house.client()).ask("ping")) == 0
        assert trio.current_time() - started <= 1


async def test_a_listener_that_breaks_ends_the_gateway(autojump_clock: MockClock) -> None:
    """Its supervisor opens the next one; sessions end with it, for nobody would own them."""
    house = House()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.exchange.serve)
        with pytest.RaisesGroup(OSError, flatten_subgroups=True):
            async with trio.open_nursery() as gateway:
                await gateway.start(house.gateway.run, trio.Event())
                client = await house.client()
                house.listener.failures.append(OSError(errno.EBADF, "Bad file descriptor"))
                await house.client(greeted=False)
        assert await client.rest() == []
        assert len(house.sessions) == 0
        nursery.cancel_scope.cancel()


# ------------------------------------------------------------------------------------------------------------ operators


async def test_operators_see_who_is_connected(autojump_clock: MockClock) -> None:
    """Who, from where, what for, in the order they came."""
    house = House()
    async with house.open():
        one, _ = await house.client("192.0.2.1"), await house.client("192.0.2.2")
        await one.ask("session.logon", apiKey="bob")
        await one.ask("ping")
        first, second = house.sessions.list()
        assert (first.session, first.account, first.key, first.requests) == (1, 2, 12, 2)
        assert (second.session, second.account, second.key, second.requests) == (2, None, None, 0)
        assert first.peer.startswith("192.0.2.1:")


async def test_a_killed_session_is_gone_and_the_others_stay(autojump_clock: MockClock) -> None:
    """By its number; a number that nobody has kills nobody."""
    house = House()
    async with house.open():
        one, two = await house.client(), await house.client()
        assert house.sessions.kill(1)
        assert not house.sessions.kill(1)
        assert not house.sessions.kill(99)
        assert await one.rest() == []
        await wait_all_tasks_blocked()
        assert code(await two.ask("ping")) == 0
        assert len(house.sessions) == 1


async def test_a_session_that_crashes_costs_only_itself(autojump_clock: MockClock) -> None:
    """A bug of ours is logged; its client is disconnected, the others notice nothing."""
    house = House()
    async with house.open():
        one, two = await house.client(), await house.client()
        assert code(await one.ask("session.logon", apiKey="alice")) == 0
        with structlog.testing.capture_logs() as logs:
            house.exchange.directory.assets.clear()
            await one.send({"method": "account.status"})
            assert await one.rest() == []
            await wait_all_tasks_blocked()
        assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["a session crashed"]
        assert code(await two.ask("ping")) == 0


# ---------------------------------------------------------------------------------------------------------------- stops


async def test_a_stop_answers_what_is_in_flight(autojump_clock: MockClock) -> None:
    """Nobody comes in any more; what was read is answered; then the connections are closed."""
    house = House()
    async with house.open(serve=False) as stop:
        client = await house.client()
        await client.send({"id": 1, "method": "depth", "params": {"symbol": "BTC-USDT"}})
        batch = await house.exchange.mailbox.receive()
        stop.set()
        await wait_all_tasks_blocked()
        with pytest.raises(ConnectionRefusedError):
            await house.client()
        await trio.sleep(4)
        house.exchange.answer(batch)
        assert codes_of(await client.rest()) == [0]


async def test_a_stop_does_not_wait_for_ever(autojump_clock: MockClock) -> None:
    """Past its time the rest is cut off."""
    house = House(evolve(CONFIG, drain_seconds=7))
    async with house.open(serve=False) as stop:
        client = await house.client()
        await client.send({"id": 1, "method": "depth", "params": {"symbol": "BTC-USDT"}})
        await wait_all_tasks_blocked()
        started = trio.current_time()
        stop.set()
        assert await client.rest() == []
        assert trio.current_time() == started + 7


# ------------------------------------------------------------------------------------------------- cancel on disconnect


def losses(house: House) -> list[int]:
    """The sessions that matching was told are gone."""
    asked = (request for batch in house.exchange.seen for request in batch)
    return [request.session for request in asked if isinstance(request, LoseSession)]


async def armed_client(house: House) -> Client:
    """A client with an order that shall not outlive the connection."""
    client = await house.client()
    assert code(await client.ask("session.logon", apiKey="alice", cancelOnDisconnect=True)) == 0
    await client.send(place(1))
    assert code(await client.receive()) == 0
    return client


@pytest.mark.parametrize("end", ["it goes", "kill", "crash", "stop", "a broken listener"])
async def test_orders_end_with_their_connection(end: str, autojump_clock: MockClock) -> None:
    """Whoever or whatever ended it, matching is told exactly once; after a crash, by the next incarnation."""
    house = House()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.exchange.serve)
        with pytest.RaisesGroup(OSError, flatten_subgroups=True) if "listener" in end else nullcontext():
            async with house.open(serve=False) as stop:
                client = await armed_client(house)
                assert house.exchange.outcome(OpenOrders(1)) != []
                if end == "it goes":
                    await close(client.stream)
                elif end == "kill":
                    house.sessions.kill(1)
                elif end == "crash":
                    house.exchange.directory.assets.clear()
                    await client.send({"method": "account.status"})
                elif end == "stop":
                    stop.set()
                else:
                    house.listener.failures.append(OSError(errno.EBADF, "Bad file descriptor"))
                    await house.client(greeted=False)
                await wait_all_tasks_blocked()
        async with house.open(serve=False):
            await wait_all_tasks_blocked()
        assert losses(house) == [1]
        assert house.exchange.outcome(OpenOrders(1)) == []
        nursery.cancel_scope.cancel()


async def test_a_stop_does_not_wait_for_ever_for_matching_and_forgets_nothing(autojump_clock: MockClock) -> None:
    """Where its mailbox stays full, the gateway ends in time, and its next incarnation tells."""
    house = House()
    async with house.open(serve=False) as stop:
        async with trio.open_nursery() as serving:
            serving.start_soon(house.exchange.serve)
            await armed_client(house)
            serving.cancel_scope.cancel()
        for _ in range(house.exchange.mailbox.statistics().capacity):
            house.exchange.mailbox.sender(1).send_nowait(Batch([]))
        started = trio.current_time()
        stop.set()
    assert trio.current_time() - started <= FAREWELL_SECONDS + LINGER_SECONDS
    assert losses(house) == []
    async with house.open():
        await wait_all_tasks_blocked()
        assert losses(house) == [1]


# --------------------------------------------------------------------------------------------------------------- config


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": -1},
        {"port": 65_536},
        {"max_connections": 0},
        {"max_connections_per_address": 0},
        {"drain_seconds": 61},
        {"host": "0.0.0.0", "unsigned_logon": True},  # noqa: S104 - what must be refused
        {"host": "exchange.example", "unsigned_logon": True},
    ],
)
def test_a_config_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    """Before anything is started; above all a demo's logon anywhere but on loopback."""
    with pytest.raises(ValueError, match=r"\d|unsigned_logon"):
        GatewayConfig(**wrong)  # type: ignore[arg-type]  # as a configuration file would


@pytest.mark.parametrize("wrong", [{"window": 0}, {"idle_seconds": 0.0}, {"burst": 10**8}, {"line_seconds": 4_000.0}])
def test_limits_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    """A limit of nothing would be none, or an outage."""
    with pytest.raises(ValueError, match=r"\d"):
        SessionLimits(**wrong)  # type: ignore[arg-type]  # as a configuration file would


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_a_logon_without_a_signature_can_be_had_on_loopback(host: str) -> None:
    """In every spelling of it."""
    assert GatewayConfig(host=host, unsigned_logon=True).unsigned_logon


# ------------------------------------------------------------------------------------------------------------- real TCP


async def test_it_all_works_over_real_sockets() -> None:
    """Trade, overflow a line, stop with an answer in flight: the last words arrive although more was being sent."""
    network = RealNetwork()
    house = House(network=network)
    async with house.open(serve=False) as stop:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.exchange.serve)
            address = house.addresses[-1]
            alice = Client(await trio.open_tcp_stream(*address))
            assert (await alice.receive())["event"] == "hello"
            assert code(await alice.ask("session.logon", apiKey="alice")) == 0
            await alice.send(*(place(number) for number in range(1_000)))
            assert codes_of(await alice.replies(1_000)) == [0] * 1_000

            rude = Client(await trio.open_tcp_stream(*address))
            await rude.receive()
            await rude.send(b"x" * 300_000)
            assert codes_of(await rude.rest()) == [codes.INVALID_JSON]

            with pytest.raises(CannotListen):
                await network.listen_tcp(*address)
            nursery.cancel_scope.cancel()

        await alice.send(place(1))
        batch = await house.exchange.mailbox.receive()
        stop.set()
        await wait_all_tasks_blocked()
        await alice.send(*(place(number) for number in range(2, 100)))
        house.exchange.answer(batch)
        assert [reply["id"] for reply in await alice.rest()] == [1]
        await close(alice.stream)
        await close(rude.stream)

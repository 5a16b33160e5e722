"""Arriving through a balancer: who it is then, who may say so, and how long it may take."""

# ruff: noqa: ARG001 - to ask for the fixture is to run on virtual time

from pathlib import Path

import pytest
import trio
from attrs import evolve
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import gateway_counts
from actors.gateway import GatewayConfig
from book import codes
from book.commands import DefineKey
from book.definitions import Key
from book.terms import READ
from tests import certificates
from tests.certificates import NAME
from tests.clients import PUBLIC_KEY, Client, code, logon_of
from tests.clients import codes as codes_of
from tests.test_gateway import CONFIG, House, is_turned_away
from tests.test_proxy_protocol import SIGNATURE, binary, line
from tests.test_tls import _Half, tls_of

BALANCER = "10.0.0.7"
BEHIND = GatewayConfig(port=0, proxies=("10.0.0.0/24", "2001:db8::7"))
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"


async def passed_on(house: House, header: bytes, balancer: str = BALANCER, *, greeted: bool = True) -> Client:
    """A client whom a balancer passes on."""
    client = await house.client(balancer, greeted=False)
    await client.stream.send_all(header)
    if greeted:
        assert (await client.receive())["event"] == "hello"
    return client


def hosts(house: House) -> list[str]:
    """Who is connected, as operators see it."""
    return [session.peer.rpartition(":")[0] for session in house.sessions.list()]


async def test_a_client_behind_a_balancer_is_who_the_header_says(autojump_clock: MockClock) -> None:
    """In either version, from each of the balancer's addresses; health checks are the balancer's own."""
    house = House(BEHIND)
    async with house.open():
        await passed_on(house, line("198.51.100.1", 1))
        await passed_on(house, binary("2001:db8:1::1", 1), "2001:db8::7")
        await passed_on(house, binary("198.51.100.2", 1), "::ffff:10.0.0.9")
        await passed_on(house, LOCAL)
        await passed_on(house, b"PROXY UNKNOWN\r\n")
        assert hosts(house) == ["198.51.100.1", "[2001:db8:1::1]", "198.51.100.2", BALANCER, BALANCER]


async def test_whoever_comes_directly_sends_no_header(autojump_clock: MockClock) -> None:
    """And is served at once, as he is."""
    house = House(BEHIND)
    async with house.open():
        client = await house.client("203.0.113.5")
        assert code(await client.ask("ping")) == 0
        assert hosts(house) == ["203.0.113.5"]


@pytest.mark.parametrize("header", [line("198.51.100.1", 1), binary("198.51.100.1", 1), LOCAL])
@pytest.mark.parametrize("config", [CONFIG, BEHIND])
async def test_a_strangers_header_is_refused(header: bytes, config: GatewayConfig, autojump_clock: MockClock) -> None:
    """Or anybody could be whoever he likes. Nothing behind it is done."""
    house = House(config)
    async with house.open():
        client = await house.client("203.0.113.5")
        await client.send(header, {"id": 1, "method": "ping"})
        assert codes_of(await client.rest()) == [codes.INVALID_JSON]
        assert house.sessions.counts.closed_connections[gateway_counts.STRANGE_HEADER] == 1


async def test_header_and_first_requests_may_come_together_or_in_pieces(autojump_clock: MockClock) -> None:
    """What is behind the header is the client's, to the byte."""
    house = House(BEHIND)
    ping = b'{"id":1,"method":"ping"}\n'
    async with house.open():
        for header in (line("198.51.100.1", 1), binary("198.51.100.1", 1, bytes(500))):
            client = await passed_on(house, header + ping + ping[:10])
            await client.stream.send_all(ping[10:])
            assert codes_of(await client.replies(2)) == [0, 0]
            slow = await house.client(BALANCER, greeted=False)
            for byte in header + ping:
                await slow.stream.send_all(bytes([byte]))
                await wait_all_tasks_blocked()
            assert (await slow.receive())["event"] == "hello"
            assert code(await slow.receive()) == 0


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        (b'{"id":1,"method":"ping"}\n', 0),
        (b"PROXY TCP4 192.0.2.1 192.0.2.1 1 99999\r\n", 0),
        (b"PROXY " + b"x" * 200, 0),
        (b"", 10),
        (b"PROXY TCP4 192.0.2.1 ", 10),
        (binary("192.0.2.1", 1)[:-1], 10),
    ],
)
async def test_a_balancer_without_a_header_is_hung_up(sent: bytes, seconds: float, autojump_clock: MockClock) -> None:
    """At once if it is wrong, at the deadline if it does not come; its place is free again, and operators are told."""
    house = House(evolve(BEHIND, max_connections=1))
    async with house.open():
        for count in (1, 2):
            began = trio.current_time()
            with capture_logs() as logs:
                client = await passed_on(house, sent, greeted=False)
                assert await client.rest() == []
            assert trio.current_time() - began == seconds
            assert [entry["what"] for entry in logs] == [gateway_counts.PROXY_HEADER]
            assert house.sessions.counts.refused_connections[gateway_counts.PROXY_HEADER] == count
        await passed_on(house, LOCAL)


async def test_caps_are_of_the_clients_and_not_of_the_balancer(autojump_clock: MockClock) -> None:
    """One client has as many connections as if it came directly; all together are capped from the start."""
    house = House(evolve(BEHIND, max_connections_per_address=2, max_connections=8))
    async with house.open():
        for host in ("198.51.100.1", "198.51.100.2", "198.51.100.3"):
            for _ in range(2):
                await passed_on(house, line(host, 1))
        assert await is_turned_away(await passed_on(house, line("198.51.100.1", 1), greeted=False))
        silent = [await house.client(BALANCER, greeted=False) for _ in range(2)]
        await wait_all_tasks_blocked()
        assert await is_turned_away(await house.client(BALANCER, greeted=False))
        for client in silent:
            assert await client.rest() == []
        await passed_on(house, line("198.51.100.4", 1))


async def test_a_key_knows_its_networks_behind_a_balancer(autojump_clock: MockClock) -> None:
    """It is the client's address that counts; it is said which key may not be used from where it is."""
    house = House(BEHIND)
    bound = DefineKey(Key(21, "bound", 1, READ, PUBLIC_KEY, "198.51.100.0/24"))
    house.exchange.outcome(bound)
    async with house.open():
        for host, expected in (("198.51.100.9", 0), ("198.51.101.9", codes.REJECTED_KEY)):
            client = await house.client(BALANCER, greeted=False)
            await client.stream.send_all(line(host, 1))
            nonce = str((await client.receive())["nonce"])
            assert code(await client.ask("session.logon", **logon_of("bound", nonce))) == expected
        assert (house.sessions.counts.logons, house.sessions.counts.failed_logons) == (1, 1)


async def test_a_header_comes_before_the_handshake(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A balancer that passes TLS on does not have the key to speak inside it."""
    pair = certificates.make(tmp_path)
    house = House(BEHIND, tls=tls_of(pair))
    async with house.open():
        raw = house.memory.connect(house.addresses[-1], BALANCER)
        await raw.send_all(binary("198.51.100.1", 1))
        stream = trio.SSLStream(raw, pair.trusted(), server_hostname=NAME)
        await stream.do_handshake()
        client = Client(_Half(stream))
        assert (await client.receive())["event"] == "hello"
        assert code(await client.ask("ping")) == 0
        assert hosts(house) == ["198.51.100.1"]

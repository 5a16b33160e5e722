"""Clients that mean no good, in their hundreds: each costs only itself, for a bounded time, and the others go on."""

# ruff: noqa: ARG001 - to ask for the fixture is to run on virtual time

import trio
from attrs import evolve
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.gateway_counts import HALF_LINE, HANDSHAKE, IDLE, NOT_READING, TOO_MANY, TOO_MANY_OF_ADDRESS
from actors.session import LINGER_SECONDS
from book.commands import LoseSession
from tests.clients import Client, close, code
from tests.test_gateway import CONFIG, House

MANY = 300


async def serves(client: Client) -> None:
    """Somebody else notices nothing."""
    assert code(await client.ask("depth", symbol="BTC-USDT")) == 0


async def drip(client: Client) -> None:
    """Send a request a byte at a time, each before any deadline of silence."""
    try:
        for byte in b'{"id":1,"method":"openOrders.status"}':
            await client.stream.send_all(bytes([byte]))
            await trio.sleep(1)
    except trio.BrokenResourceError:
        pass


async def test_who_drips_is_shown_out(autojump_clock: MockClock) -> None:
    """A line takes its time once, from the first byte to the end, however many bytes come meanwhile."""
    house = House()
    async with house.open(), trio.open_nursery() as nursery:
        other = await house.client()
        for number in range(MANY):
            nursery.start_soon(drip, await house.client(f"198.51.100.{number % 250}"))
        for _ in range(12):
            await serves(other)
            await trio.sleep(1)
        assert len(house.sessions) == 1
        assert house.sessions.counts.closed_connections[HALF_LINE] == MANY
        nursery.cancel_scope.cancel()


async def test_who_says_nothing_is_shown_out(autojump_clock: MockClock) -> None:
    """Whether at first, or after a while, as whoever is gone without a word."""
    house = House()
    async with house.open():
        other, silent = await house.client(), []
        for number in range(MANY):
            client = await house.client(f"198.51.100.{number % 250}")
            if number % 2:
                assert code(await client.ask("session.logon", apiKey="alice", cancelOnDisconnect=True)) == 0
            silent.append(client)
        for _ in range(35):
            await serves(other)
            await trio.sleep(1)
        assert len(house.sessions) == 1
        assert house.sessions.counts.closed_connections[IDLE] == MANY
        lost = [request for batch in house.exchange.seen for request in batch if isinstance(request, LoseSession)]
        assert len(lost) == MANY // 2


async def test_ten_thousand_attempts(autojump_clock: MockClock) -> None:
    """From one address and from many: as many come in as may, the others are told and gone, and who is in is served."""
    house = House(evolve(CONFIG, max_connections=1_000, max_connections_per_address=400))
    async with house.open():
        other = await house.client()
        clients: list[Client] = []
        for number in range(10_000):
            host = "198.51.100.1" if number < 5_000 else f"203.0.113.{number % 250}"
            clients.append(await house.client(host, greeted=False))
            if number % 500 == 0:
                await wait_all_tasks_blocked()
                await serves(other)
                assert len(house.sessions) <= 1_000
        await wait_all_tasks_blocked()
        assert len(house.sessions) == 1_000
        refused = house.sessions.counts.refused_connections
        assert (refused[TOO_MANY_OF_ADDRESS], refused[TOO_MANY]) == (4_600, 4_401)
        await serves(other)
        for client in clients:
            await close(client.stream)
        await wait_all_tasks_blocked()
        assert len(house.sessions) == 1
        await serves(await house.client("198.51.100.1"))


async def test_who_asks_and_never_reads_is_cut_off(autojump_clock: MockClock) -> None:
    """No more is read from it than its window holds, and after a while nothing of it is left."""
    house = House()
    async with house.open():
        other = await house.client()
        for _ in range(50):
            client = await house.client("198.51.100.1")
            house.memory.accepted[-1].send_stream.send_all_hook = trio.sleep_forever
            await client.send(*({"id": number, "method": "exchangeInfo"} for number in range(5_000)))
        for _ in range(12):
            await serves(other)
            assert all(session.in_flight <= CONFIG.session.window + 64 for session in house.sessions.list())
            await trio.sleep(1)
        assert len(house.sessions) == 1
        assert house.sessions.counts.closed_connections[NOT_READING] == 50


async def test_who_is_shown_out_and_stays_is_left_behind(autojump_clock: MockClock) -> None:
    """Nobody keeps us by not hanging up."""
    house = House()
    async with house.open():
        client = await house.client()
        await client.send(b"x" * 100_000)
        await trio.sleep(LINGER_SECONDS + 1)
        assert len(house.sessions) == 0
        assert house.sessions.counts.refused_connections[HANDSHAKE] == 0

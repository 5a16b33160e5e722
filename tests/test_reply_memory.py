"""The memory of replies that nobody reads: who is cut off, and that the others do not notice."""

# ruff: noqa: ARG001 - to ask for the fixture is to run on virtual time

import pytest
import trio
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from actors.gateway import MEMORY_SECONDS, GatewayConfig
from actors.gateway_counts import REPLY_MEMORY
from actors.reply_memory import REQUEST_BYTES, ROW_BYTES, size_of, whom_to_cut
from actors.requests import Done
from book.commands import PlaceOrder
from book.events import Rejected
from book.queries import DepthView
from book.terms import BUY, GTC, LIMIT
from tests.clients import Client, code
from tests.test_gateway import CONFIG, House

MIB = 1 << 20


@given(st.dictionaries(st.integers(1, 50), st.integers(1, 1_000)), st.integers(0, 5_000))
def test_those_who_hold_most_are_cut_and_no_more_than_needed(held: dict[int, int], limit: int) -> None:
    """Who stays holds no more than the limit; who goes holds no less than anyone who stays, and had to go."""
    cut = whom_to_cut(held, limit)
    stays = {session: size for session, size in held.items() if session not in cut}
    assert sum(stays.values()) <= limit
    if cut:
        least = min(held[session] for session in cut)
        assert least >= max(stays.values(), default=0)
        assert sum(stays.values()) + least > limit


def test_the_size_of_an_outcome_is_that_of_its_rows() -> None:
    """Whatever kind it is."""
    assert size_of(Rejected(1)) == REQUEST_BYTES
    assert size_of(Done(1, 1, [Rejected(1)] * 3)) == REQUEST_BYTES + 3 * ROW_BYTES  # type: ignore[list-item]
    assert size_of([]) == REQUEST_BYTES
    assert size_of(DepthView("X", 1, [(1, 1)] * 2, [(1, 1)])) == REQUEST_BYTES + 3 * ROW_BYTES


def open_orders(house: House, count: int) -> None:
    """So many of alice's."""
    for number in range(count):
        house.exchange.outcome(PlaceOrder(1, 0, 0, "BTC-USDT", BUY, LIMIT, GTC, 10, 4_900_000 - number % 50))


async def hogging(house: House, requests: int) -> Client:
    """A client that asks for long lists, and then does not take so much as a byte of them."""
    client = await house.client()
    assert code(await client.ask("session.logon", apiKey="alice")) == 0
    house.memory.accepted[-1].send_stream.send_all_hook = trio.sleep_forever
    await client.send(*({"id": number, "method": "openOrders.status"} for number in range(requests)))
    return client


async def test_who_does_not_read_is_cut_off_worst_first(autojump_clock: MockClock) -> None:
    """Once all of them together hold more than the process may; who holds less stays, and who reads is served."""
    patient = evolve(CONFIG.session, send_seconds=3600.0, idle_seconds=3600.0, window=65_536)
    house = House(GatewayConfig(port=0, unsigned_logon=True, session=patient, reply_memory_bytes=4 * MIB))
    open_orders(house, 1_000)
    async with house.open():
        reader = await house.client()
        one, three, two = [await hogging(house, requests) for requests in (1, 7, 4)]
        await trio.sleep(2 * MEMORY_SECONDS)
        assert [session.session for session in house.sessions.list()] == [1, 2, 4]
        assert house.sessions.counts.closed_connections[REPLY_MEMORY] == 1
        assert 2.5 * MIB < house.sessions.counts.reply_bytes <= 4 * MIB
        assert code(await reader.ask("ping")) == 0
        four = await hogging(house, 4)
        await trio.sleep(2 * MEMORY_SECONDS)
        assert len(house.sessions) == 3
        assert house.sessions.counts.closed_connections[REPLY_MEMORY] == 2
        for client in (one, two, three, four):
            await trio.aclose_forcefully(client.stream)
        await trio.sleep(2 * MEMORY_SECONDS)


async def test_who_reads_is_never_counted(autojump_clock: MockClock) -> None:
    """However much it asks for."""
    house = House(GatewayConfig(port=0, unsigned_logon=True, reply_memory_bytes=MIB))
    open_orders(house, 1_000)
    async with house.open():
        client = await house.client()
        assert code(await client.ask("session.logon", apiKey="alice")) == 0
        for _ in range(20):
            await client.send(*({"id": number, "method": "openOrders.status"} for number in range(4)))
            assert [code(reply) for reply in await client.replies(4)] == [0] * 4
            await trio.sleep(MEMORY_SECONDS)
            assert house.sessions.counts.reply_bytes == 0
        assert house.sessions.counts.closed_connections[REPLY_MEMORY] == 0


@pytest.mark.parametrize("wrong", [MIB - 1, (1 << 40) + 1])
def test_the_bound_has_bounds(wrong: int) -> None:
    """Too little would cut everybody off."""
    with pytest.raises(ValueError, match="reply_memory_bytes"):
        GatewayConfig(reply_memory_bytes=wrong)

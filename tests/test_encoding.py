"""Long replies: the same bytes as in one piece, made a slice at a time, while others are served in between."""

# ruff: noqa: ARG001 - to ask for the fixture is to run on virtual time

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from actors import results
from actors.encoding import encoded
from actors.wire import SLICE_ROWS, Line, LongReply, Reply, encode_lines
from book.commands import PlaceOrder
from book.terms import BUY, GTC, LIMIT
from tests.clients import Exchange, code, connected

SIZES = (1, SLICE_ROWS - 1, SLICE_ROWS, SLICE_ROWS + 1, 3 * SLICE_ROWS)
IDS: tuple[int | str | msgspec.UnsetType, ...] = (msgspec.UNSET, 7, "[]", "x")
LINES = st.one_of(st.none(), st.tuples(st.sampled_from(IDS), st.sampled_from(SIZES)))


def trade(number: int) -> results.TradeInfo:
    """A row."""
    return results.TradeInfo(number, "[]", "\N{EURO SIGN}", "BUY", 1)


@given(st.lists(LINES, max_size=5))
def test_a_long_reply_is_the_same_line(lines: list[tuple[int | str | msgspec.UnsetType, int] | None]) -> None:
    """Wherever it stands among others, with whatever id, and however many slices it takes."""
    whole: list[Line] = []
    sliced: list[Line] = []
    for line in lines:
        if line is None:
            whole.append(Reply(1, 200, results.Nothing()))
            sliced.append(whole[-1])
        else:
            request_id, size = line
            whole.append(Reply(request_id, 200, results.Trades([trade(number) for number in range(size)])))
            sliced.append(LongReply(Reply(request_id, 200, results.Trades([])), range(size), trade))
    assert b"".join(encoded(sliced)) == encode_lines(whole)


def test_a_slice_is_made_when_it_is_asked_for() -> None:
    """And not before: its time is spent between those of others."""
    made: list[int] = []
    reply = LongReply(Reply(1, 200, results.Klines([])), range(1_000), made.append)
    sizes = [len(made) for _ in reply.pieces()]
    assert sizes == [SLICE_ROWS, 2 * SLICE_ROWS, 3 * SLICE_ROWS, 1_000, 1_000]


def test_what_the_encoder_does_not_know_is_still_an_error() -> None:
    """A long reply is the only exception."""
    with pytest.raises(TypeError):
        list(encoded([object()]))  # type: ignore[list-item]  # a bug


async def orders_of(exchange: Exchange, count: int) -> None:
    """So many open orders of alice's."""
    for number in range(count):
        exchange.outcome(PlaceOrder(1, 0, 0, "BTC-USDT", BUY, LIMIT, GTC, 10, 4_900_000 - number % 50))
    await trio.lowlevel.checkpoint()


async def test_others_are_served_between_the_slices(autojump_clock: MockClock) -> None:
    """While 20,000 orders are listed, another task has its turn once a slice; and the list is right."""
    exchange, count = Exchange(), 20_000
    await orders_of(exchange, count)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with connected(exchange, logged_on="alice") as (client, session), trio.open_nursery() as nursery:
        await client.send({"id": 1, "method": "openOrders.status"}, {"id": 2, "method": "ping"})
        before = 0
        while session.held_bytes() == 0:  # until the first slice is being written
            before += 1
            assert before < 10_000
            await trio.lowlevel.checkpoint()
        nursery.start_soon(other)
        first, second = await client.replies(2)
        nursery.cancel_scope.cancel()
        assert turns >= count // SLICE_ROWS
        result = first["result"]
        assert isinstance(result, dict)
        assert [order["orderId"] for order in result["orders"]] == list(range(1, count + 1))
        assert code(second) == 0
        assert session.held_bytes() == 0


@pytest.mark.parametrize(
    ("method", "params", "rows"),
    [
        ("myTrades", {"symbol": "BTC-USDT", "limit": 1_000}, "trades"),
        ("allOrders", {"symbol": "BTC-USDT", "limit": 1_000}, "orders"),
        ("trades.recent", {"symbol": "BTC-USDT", "limit": 5_000}, "trades"),
    ],
)
async def test_long_histories_are_right(
    method: str, params: dict[str, object], rows: str, autojump_clock: MockClock
) -> None:
    """A thousand rows, each with all its fields."""
    exchange = Exchange()
    for number in range(1_100):
        for account in (1, 2):
            side = 1 if account == 1 else 2
            exchange.outcome(PlaceOrder(account, 0, 0, "BTC-USDT", side, LIMIT, GTC, 10, 4_900_000 + number % 7))
    async with connected(exchange, logged_on="alice") as (client, _):
        reply = await client.ask(method, **params)
        result = reply["result"]
        assert isinstance(result, dict)
        assert len(result[rows]) == 1_000
        kinds: dict[str, type[msgspec.Struct]] = {
            "myTrades": results.AccountTradeInfo,
            "allOrders": results.Order,
            "trades.recent": results.TradeInfo,
        }
        names = {field.encode_name for field in msgspec.structs.fields(kinds[method])}
        assert all(set(row) <= names and {"price"} <= set(row) for row in result[rows])

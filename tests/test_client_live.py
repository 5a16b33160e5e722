"""The client library and a running exchange: real sockets, breaks, and restarts of what it talks to."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
import trio
from attrs import evolve

import supervisor
from tallystick.client import Exchange, KeptBook, Key, NotConnected, Timing, connect
from tallystick.client.results import Placed
from tallystick.demo import DemoKey
from tests import certificates
from tests.certificates import Pair
from tests.counts import count
from tests.in_process import Running, running

SYMBOL = "BTC-USDT"
SECONDS = 30


@asynccontextmanager
async def client(exchange: Running, name: str) -> AsyncIterator[Exchange]:
    """A client with a signed logon."""
    peer = exchange.address
    key = Key(name, DemoKey.of(name).seed)
    async with connect(peer.host, peer.port, key=key, timing=Timing(first_backoff_seconds=0.001)) as library:
        yield library


async def trade_at_random(random: Random, one: Exchange, other: Exchange, count: int) -> int:
    """Orders of both that rest, trade and leave; how many trades there were."""
    trades = 0
    for _ in range(count):
        who = random.choice((one, other))
        if random.random() < 0.1:
            await who.cancel_all(SYMBOL)
            continue
        price = Decimal(random.randrange(49_990_00, 50_010_00)) / 100
        quantity = Decimal(random.randrange(100, 900)) / 10_000
        placed = await who.place(SYMBOL, random.choice(("BUY", "SELL")), quantity=quantity, price=price)
        trades += len(placed.fills)
    return trades


async def equal_to_depth(kept: KeptBook, exchange: Exchange) -> None:
    """Wait until the book is as far as `depth`, and compare."""
    levels = await exchange.depth(SYMBOL, limit=5_000)
    with trio.fail_after(SECONDS):
        while not (kept.book.in_sync and kept.book.seq == levels.seq):
            await anext(kept)
    assert (tuple(kept.book.bids()), tuple(kept.book.asks())) == (levels.bids, levels.asks)


async def break_connection(exchange: Exchange) -> None:
    """Cut it off in the middle of whatever there is."""
    assert exchange._connection is not None
    exchange._connection.hang_up("a test cut it off")
    await trio.lowlevel.checkpoint()


async def test_books_and_streams_over_breaks(tmp_path: Path) -> None:
    """A book that is kept over forced breaks equals `depth`, and every trade comes once, in order."""
    random = Random(5)
    async with (
        running(tmp_path) as exchange,
        client(exchange, "alice") as alice,
        client(exchange, "bob") as bob,
        client(exchange, "alice") as watcher,
        watcher.book(SYMBOL) as kept,
        watcher.trades(SYMBOL) as trades,
    ):
        await alice.place(SYMBOL, "BUY", quantity="0.1", price=50_000)
        await bob.place(SYMBOL, "SELL", quantity="0.1", price=50_000)
        made = 1
        assert (await anext(trades)).trade_id == 1
        breaks = count(5, 200)
        for _ in range(breaks):
            made += await trade_at_random(random, alice, bob, 40)
            await break_connection(watcher)
            made += await trade_at_random(random, alice, bob, 20)
            await equal_to_depth(kept, alice)
        with trio.fail_after(SECONDS):
            seen = [(await anext(trades)).trade_id for _ in range(made - 1)]
        assert seen == list(range(2, made + 1))
        assert watcher.connections == 1 + breaks


async def test_an_account_is_told_over_a_break(tmp_path: Path) -> None:
    """Every report and balance comes once, in order, those of the time without a connection too."""
    async with (
        running(tmp_path) as exchange,
        client(exchange, "alice") as alice,
        client(exchange, "alice") as watcher,
        watcher.user_events() as events,
    ):
        placed = [await alice.place(SYMBOL, "BUY", quantity="0.1", price=40_000)]
        with trio.fail_after(SECONDS):
            first = await anext(events)
        await break_connection(watcher)
        placed += [await alice.place(SYMBOL, "BUY", quantity="0.1", price=40_000) for _ in range(5)]
        with trio.fail_after(SECONDS):
            told = [first] + [await anext(events) for _ in range(11)]
    assert [event.seq for event in told] == list(range(first.seq, first.seq + 12))
    reported = [getattr(event, "order_id", None) for event in told]
    assert [order for order in reported if order is not None] == [each.order_id for each in placed]


async def test_restarts_of_the_exchange(tmp_path: Path) -> None:
    """Neither a restart of matching nor one of the publisher ends a connection; books and streams go on."""
    random = Random(6)
    async with running(tmp_path) as exchange, client(exchange, "alice") as alice, client(exchange, "bob") as bob:
        operator = await exchange.operator()
        async with client(exchange, "bob") as watcher, watcher.book(SYMBOL) as kept, watcher.trades(SYMBOL) as trades:
            await kept.in_sync()
            made = await trade_at_random(random, alice, bob, 30)
            for actor in ("publisher", "matching"):
                await operator.said(f"actor.restart {actor}")
                made += await trade_at_random(random, alice, bob, 30)
                await equal_to_depth(kept, alice)
            with trio.fail_after(SECONDS):
                seen = [(await anext(trades)).trade_id for _ in range(made)]
            assert seen == list(range(1, made + 1))
            assert watcher.connections == 1


async def test_the_order_of_a_pipeline(tmp_path: Path) -> None:
    """A thousand orders are sent before the first answer is read, and take effect in their order."""
    async with running(tmp_path) as exchange, client(exchange, "alice") as alice:
        calls = [alice.place(SYMBOL, "BUY", quantity="0.001", price=40_000) for _ in range(1_000)]
        outcomes = await alice.pipeline(*calls)
        placed = [each for each in outcomes if isinstance(each, Placed)]
        assert [each.order_id for each in placed] == list(range(1, 1_001))
        assert [each.client_order_id for each in placed] == [call.client_order_id for call in calls]


def secured(pair: Pair) -> Callable[[supervisor.Config], supervisor.Config]:
    """An exchange with this certificate."""
    certificate, key = pair.paths
    return lambda config: evolve(config, gateway=evolve(config.gateway, tls_certificate=certificate, tls_key=key))


async def test_over_tls(tmp_path: Path) -> None:
    """Calls and streams are the same, over a break too; who does not trust the certificate is told why."""
    pair = certificates.make(tmp_path)
    async with running(tmp_path / "data", adjust=secured(pair)) as exchange:
        peer = exchange.address
        trusting = connect(peer.host, peer.port, key="alice", tls=pair.trusted(), server_hostname=certificates.NAME)
        async with trusting as alice, alice.user_events() as events:
            for connections in (1, 2):
                await alice.place(SYMBOL, "BUY", quantity="0.1", price=40_000)
                with trio.fail_after(SECONDS):
                    assert (await anext(events)).seq + 1 == (await anext(events)).seq
                assert alice.connections == connections
                await break_connection(alice)
        with pytest.raises(NotConnected, match="certificate verify failed"):
            async with connect(peer.host, peer.port, tls=ssl.create_default_context()):
                pytest.fail("nobody has signed this certificate")

"""The publisher behind the writer and matching: what followers are told is what was, whatever crashes on the way."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import pairwise
from random import Random
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from actors import results, wire
from actors.audience import Committed
from actors.feed import CAPACITY
from actors.mailbox import NotDone, OutcomeUnknown
from actors.parameters import DepthParams, HistoryParams, PlaceParams
from actors.replies import Replies
from actors.requests import Done
from actors.streams import StreamLimits
from actors.wire import Depth, RefusedError, Reply
from book import queries
from book.codes import GAP_TOO_OLD
from book.commands import AmendOrder, CancelOrder, Command, PlaceOrder, SetMarketState
from book.events import OrderAccepted
from book.history import MINUTE_NS
from book.queries import AccountDetails, AccountDetailsView, AccountOrders, Balances
from book.terms import BUY, GTC, HALT, IOC, LIMIT, SELL
from tests.counts import count, seeds
from tests.engine_tree import EngineTree
from tests.followers import Listener
from tests.scheduler import run_seeded
from tests.simulation.disk import SimulatedDisk, power_cut

SYMBOL = "BTC-USDT"
BOOK, TRADES, TICKER, KLINE = f"book:{SYMBOL}", f"trade:{SYMBOL}", f"ticker:{SYMBOL}", f"kline_1m:{SYMBOL}"
ALICE, BOB = 1, 2
Scene = Callable[[EngineTree], Awaitable[None]]


def play(scene: Scene, *, seed: int = 1, streams: StreamLimits | None = None) -> None:
    """Run a scene around a tree, on virtual time."""

    async def body() -> None:
        random = Random(seed)
        tree = EngineTree(SimulatedDisk(power_cut), random, streams=streams)

        async def inside() -> None:
            await scene(tree)

        await tree.run(inside)

    run_seeded(seed, body)


def order(side: int, quantity: int, price: int, *, account: int = ALICE, in_force: int = GTC) -> PlaceOrder:
    """A limit order in the demo's market. Prices are above 50,000 USDT."""
    return PlaceOrder(account, 0, 0, SYMBOL, side, LIMIT, in_force, quantity, 5_000_000 + price)


def any_command(random: Random, last_order_id: int) -> Command:
    """An order near the others, or a change of one of the latest, which may be gone."""
    account = random.choice((ALICE, BOB))
    draw = random.randrange(20)
    if draw < 10:
        in_force = random.choice((GTC, GTC, GTC, IOC))
        command = order(random.choice((BUY, SELL)), 1 + random.randrange(40), random.randrange(60), account=account)
        display = random.choice((0, 0, 3))
        display = display if in_force == GTC and display < command.quantity else 0
        mode = random.choice((0, 1, 2, 3, 4, 5))
        return replace(command, time_in_force=in_force, display_quantity=display, self_trade=mode)
    order_id = max(1, last_order_id - random.randrange(200))
    if draw < 15:
        return CancelOrder(account, 0, 0, SYMBOL, order_id)
    return AmendOrder(account, 0, 0, SYMBOL, order_id, "", 1 + random.randrange(40), 5_000_000 + random.randrange(60))


class Crowd:
    """Sends random commands, many in a batch, and remembers the last order's id."""

    def __init__(self, tree: EngineTree, random: Random) -> None:
        self.tree = tree
        self.random = random
        self.done = 0
        self._last_order_id = 1

    async def act(self, commands: int) -> None:
        """Send so many, whatever becomes of them."""
        while commands > 0:
            size = min(commands, self.random.choice((1, 5, 50, 200)))
            commands -= size
            batch = [any_command(self.random, self._last_order_id) for _ in range(size)]
            await trio.sleep(self.random.choice((0, 0.004)))
            with suppress(NotDone, OutcomeUnknown):
                for outcome in await self.tree.ask(*batch):
                    if isinstance(outcome, Done):
                        self.done += 1
                        self._hear(outcome)

    def _hear(self, done: Done) -> None:
        for event in done.events:
            if isinstance(event, OrderAccepted):
                self._last_order_id = event.order.order_id


async def depth(tree: EngineTree) -> dict[str, Any]:
    """As a client is answered."""
    outcome = await tree.ask_until_done(queries.Depth(SYMBOL, 5_000))
    reply = Replies(tree.directory).reply(Depth(params=DepthParams(SYMBOL)), outcome)
    assert isinstance(reply, Reply)
    assert isinstance(reply.result, results.Levels)
    return {"seq": reply.result.seq, "bids": reply.result.bids, "asks": reply.result.asks}


async def settled() -> None:
    """Until everything that is under way has been delivered."""
    await trio.sleep(5)


async def user_seq(tree: EngineTree, account: int) -> int:
    """How far the account's channel has come, as the engine counts."""
    details = await tree.ask_until_done(AccountDetails(account))
    assert isinstance(details, AccountDetailsView)
    return details.user_seq


def hears_nothing_twice(listener: Listener) -> bool:
    """No number came twice on the user channel."""
    seqs = [event["seq"] for event in listener.events if event.get("channel") == "user" and "seq" in event]
    return len(seqs) == len(set(seqs))


# ----------------------------------------------------------------------------------------------------------- the book


@pytest.mark.timeout(600)
def test_a_book_of_deltas_is_the_book() -> None:
    """After 100,000 random commands, on every look in between; however the deltas were cut."""

    async def scene(tree: EngineTree) -> None:
        crowd, listener = Crowd(tree, Random(7)), Listener()
        await crowd.act(500)
        tree.streams.subscribe(listener, None, [BOOK])
        for _ in range(20):
            await crowd.act(count(5_000, 50_000))
            await settled()
            assert listener.books[BOOK].depth() == await depth(tree)
        assert listener.books[BOOK].snapshots == 1
        assert listener.books[BOOK].deltas > 100
        assert crowd.done > count(50_000, 500_000)

    play(scene)


@pytest.mark.parametrize("seed", seeds(3, 100))
def test_a_book_of_deltas_is_the_book_across_reconnects_and_crashes(seed: int) -> None:
    """With `resume` after each lost connection, while publisher, matching and writer crash."""

    async def scene(tree: EngineTree) -> None:
        random = Random(seed)
        crowd, listener = Crowd(tree, random), Listener()
        tree.streams.subscribe(listener, None, [BOOK])
        await settled()
        resumed = 0
        for _ in range(30):
            await crowd.act(random.choice((1, 20, 300)))
            if random.random() < 0.7:
                await trio.sleep(random.choice((0, 0.001, 0.01, 1)))
            what = random.randrange(6)
            if what < 3:
                resumed += await reconnect(tree, listener, crowd)
            else:
                (tree.publisher, tree.matching, tree.writer)[what - 3].crash()
        await settled()
        assert listener.books[BOOK].depth() == await depth(tree)
        assert resumed > 0

    play(scene, seed=seed)


async def reconnect(tree: EngineTree, listener: Listener, crowd: Crowd) -> bool:
    """Lose the connection, miss something, and go on with the book where it was left; False where that is not kept."""
    tree.streams.leave(listener)
    await crowd.act(crowd.random.choice((0, 1, 30)))
    seq = listener.books[BOOK].seq
    assert seq is not None
    try:
        tree.streams.resume(listener, None, BOOK, seq + 1)
    except RefusedError as error:
        if error.code != GAP_TOO_OLD:
            raise
        tree.streams.subscribe(listener, None, [BOOK])
        return False
    return True


def test_a_crashed_publisher_gives_fresh_snapshots() -> None:
    """Subscriptions stand; each book begins anew, and a user channel that missed nothing just goes on."""

    async def scene(tree: EngineTree) -> None:
        crowd, listener = Crowd(tree, Random(3)), Listener()
        tree.streams.subscribe(listener, ALICE, [BOOK, TRADES, "user"])
        await crowd.act(500)
        await settled()
        tree.publisher.crash()
        await settled()
        assert listener.books[BOOK].snapshots == 2
        assert listener.errors == []
        await crowd.act(500)
        await settled()
        assert listener.books[BOOK].depth() == await depth(tree)
        assert listener.next_seq["user"] == await user_seq(tree, ALICE) + 1
        assert [event["seq"] for event in listener.of("trade")] == list(range(1, listener.next_seq[TRADES]))

    play(scene)


def test_trades_are_had_again_after_a_crash() -> None:
    """The engine remembers the last thousand, so nobody who follows them misses one."""

    async def scene(tree: EngineTree) -> None:
        listener = Listener()
        tree.streams.subscribe(listener, None, [TRADES])
        await settled()
        for _ in range(20):
            await tree.ask(order(BUY, 10, 5), order(SELL, 10, 5, account=BOB))
            tree.publisher.crash()
            await tree.ask(order(BUY, 10, 5), order(SELL, 10, 5, account=BOB))
            await trio.sleep(0.03)
        await settled()
        assert [event["tradeId"] for event in listener.of("trade")] == list(range(1, 41))
        assert listener.errors == []

    play(scene)


# ---------------------------------------------------------------------------------------------------------- the account


@pytest.mark.parametrize("seed", seeds(3, 50))
def test_an_owner_is_told_everything_or_that_something_is_missing(seed: int) -> None:
    """Numbers without a gap, but where a crash cost something: then an error line says so."""

    async def scene(tree: EngineTree) -> None:
        random = Random(seed)
        crowd, listener = Crowd(tree, random), Listener()
        tree.streams.subscribe(listener, ALICE, ["user"])
        for _ in range(20):
            await crowd.act(random.choice((1, 30, 200)))
            random.choice((tree.publisher, tree.matching, tree.writer)).crash()
            await trio.sleep(random.choice((0.001, 0.1, 1)))
        await settled()
        assert hears_nothing_twice(listener)
        await tree.ask(order(BUY, 1, 0))
        await settled()
        assert listener.next_seq["user"] == await user_seq(tree, ALICE) + 1

    play(scene, seed=seed)


def test_what_an_owner_is_told_is_what_was_answered() -> None:
    """Fills, states and balances of the user channel are those of the replies."""

    async def scene(tree: EngineTree) -> None:
        listener, random = Listener(), Random(11)
        tree.streams.subscribe(listener, ALICE, ["user"])
        await settled()
        replies = Replies(tree.directory)
        fills: list[tuple[int, str, str, str]] = []
        last = 1
        for _ in range(400):
            command = any_command(random, last)
            (outcome,) = await tree.ask(command)
            if not isinstance(outcome, Done):
                continue
            for event in outcome.events:
                if isinstance(event, OrderAccepted):
                    last = event.order.order_id
            if isinstance(command, PlaceOrder) and command.account == ALICE:
                reply = replies.reply(wire.OrderPlace(params=PlaceParams(SYMBOL, "", "")), outcome)
                assert isinstance(reply, Reply)
                assert isinstance(reply.result, results.Placed)
                placed = reply.result
                fills += [(fill.trade_id, fill.price, fill.qty, fill.fee) for fill in placed.fills]
        await settled()
        told = [
            (event["tradeId"], event["lastPrice"], event["lastQty"], event["fee"])
            for event in listener.of("executionReport")
            if event["execType"] == "TRADE"
        ]
        assert fills
        assert set(fills) <= set(told)
        await check_orders(tree, listener)
        await check_balances(tree, listener)

    play(scene)


async def check_orders(tree: EngineTree, listener: Listener) -> None:
    """The last report of each order is the order as it stands."""
    last = {event["orderId"]: event for event in listener.of("executionReport") if "orderId" in event}
    orders = await tree.ask_until_done(AccountOrders(ALICE, SYMBOL, limit=1_000))
    assert isinstance(orders, list)
    reply = Replies(tree.directory).reply(wire.AllOrders(params=HistoryParams(SYMBOL)), orders)
    assert isinstance(reply, Reply)
    assert isinstance(reply.result, results.Orders)
    assert len(reply.result.orders) == len(last)
    for found in reply.result.orders:
        event = last[found.order_id]
        assert (event["status"], event["cumQty"], event["cumQuoteQty"]) == (
            found.status,
            found.executed_qty,
            found.cum_quote_qty,
        )
        assert event["origQty"] == found.orig_qty


async def check_balances(tree: EngineTree, listener: Listener) -> None:
    """The last that was told of each asset is what the account has of it."""
    told = {row["asset"]: row for event in listener.of("balance") for row in event["balances"]}
    balances = await tree.ask_until_done(Balances(ALICE))
    assert isinstance(balances, list)
    reply = Replies(tree.directory).reply(wire.AccountStatus(), balances)
    assert isinstance(reply, Reply)
    assert isinstance(reply.result, results.Account)
    owned = {row.asset: {"asset": row.asset, "free": row.free, "locked": row.locked} for row in reply.result.balances}
    assert {asset: owned[asset] for asset in told} == told


def test_a_rejected_order_is_told_without_a_number() -> None:
    """To its owner only."""

    async def scene(tree: EngineTree) -> None:
        alice, bob = Listener(), Listener()
        tree.streams.subscribe(alice, ALICE, ["user"])
        tree.streams.subscribe(bob, BOB, ["user"])
        await settled()
        await tree.ask(order(BUY, 99_999_999, 0), order(SELL, 1, 0))
        await settled()
        assert [(event["execType"], event.get("seq")) for event in alice.of("executionReport")] == [
            ("REJECTED", None),
            ("NEW", await user_seq(tree, ALICE) - 1),
        ]
        assert bob.events == [event for event in bob.events if event["event"] == "heartbeat"]

    play(scene)


# --------------------------------------------------------------------------------------------------- by the clock


def test_followers_get_a_heartbeat_a_second() -> None:
    """And nobody else does."""

    async def scene(tree: EngineTree) -> None:
        follower, other = Listener(), Listener()
        tree.streams.subscribe(follower, None, [TRADES])
        tree.streams.subscribe(other, None, [TRADES])
        tree.streams.leave(other)
        await trio.sleep(10.5)
        times = [event["time"] for event in follower.of("heartbeat")]
        assert len(times) in {10, 11}
        assert {later - earlier for earlier, later in pairwise(times)} == {1_000}
        assert other.events == []

    play(scene)


def test_tickers_and_candles_follow_the_trades() -> None:
    """Once a second at most; a candle is told once more when it is closed, without another trade."""

    async def scene(tree: EngineTree) -> None:
        listener = Listener()
        tree.streams.subscribe(listener, None, [TICKER, KLINE, f"kline_5m:{SYMBOL}"])
        await settled()
        assert [event["count"] for event in listener.of("ticker")] == [0]
        assert listener.of("kline") == []
        for price in (5, 9, 3):
            await tree.ask(order(BUY, 10, price), order(SELL, 10, price, account=BOB))
        await trio.sleep(2)
        ticker, candle = listener.of("ticker")[-1], listener.of("kline")[-1]
        assert (ticker["open"], ticker["high"], ticker["low"], ticker["last"], ticker["count"]) == (
            *("50000.05", "50000.09", "50000.03", "50000.03", 3),
        )
        assert (candle["open"], candle["high"], candle["low"], candle["close"], candle["volume"]) == (
            *("50000.05", "50000.09", "50000.03", "50000.03", "0.0030"),
        )
        await trio.sleep(70)
        (closed,) = [event for event in listener.of("kline") if event["closed"]]
        assert (closed["interval"], closed["count"], closed["seq"]) == ("1m", 3, 3)
        assert closed["closeTime"] - closed["openTime"] == MINUTE_NS // 10**6 - 1
        await tree.ask(order(BUY, 10, 1), order(SELL, 10, 1, account=BOB))
        await trio.sleep(2)
        assert [(event["interval"], event["count"]) for event in listener.of("kline")[-2:]] == [("1m", 1), ("5m", 4)]

    play(scene)


def test_a_market_that_halts_is_told_to_whoever_follows_it() -> None:
    """Once, however many of its channels one follows."""

    async def scene(tree: EngineTree) -> None:
        follower, other = Listener(), Listener()
        tree.streams.subscribe(follower, None, [BOOK, TRADES, KLINE])
        tree.streams.subscribe(other, None, ["book:ETH-USDT"])
        await settled()
        await tree.ask(SetMarketState(SYMBOL, HALT))
        await settled()
        (event,) = follower.of("marketStatus")
        assert (event["symbol"], event["status"]) == (SYMBOL, "HALT")
        assert other.of("marketStatus") == []

    play(scene)


def test_a_channel_that_nobody_follows_ends_after_a_while() -> None:
    """Until then it can be resumed, behind it matching is asked for nothing more."""

    async def scene(tree: EngineTree) -> None:
        listener = Listener()
        tree.streams.subscribe(listener, ALICE, [BOOK, "user"])
        await settled()
        tree.streams.leave(listener)
        await trio.sleep(50)
        assert (set(tree.audience.books), set(tree.audience.accounts)) == ({SYMBOL}, {ALICE})
        assert tree.audience.everybody
        await trio.sleep(20)
        assert (set(tree.audience.books), set(tree.audience.accounts)) == (set(), set())
        assert tree.streams.channels == 0

    play(scene)


def test_a_publisher_that_does_not_keep_up_holds_up_nobody() -> None:
    """The feed forgets: books begin anew, and the owner is told that something is missing."""

    async def scene(tree: EngineTree) -> None:
        crowd, listener = Crowd(tree, Random(5)), Listener()
        tree.streams.subscribe(listener, ALICE, [BOOK, "user"])
        await crowd.act(100)
        await settled()
        for _ in range(CAPACITY + 1):
            tree.feed.offer(Committed(0, [], [], []))
        await tree.ask(order(BUY, 1, 0))
        assert tree.feed.lost == 1
        await settled()
        assert listener.books[BOOK].snapshots == 2
        await crowd.act(100)
        await settled()
        assert listener.books[BOOK].depth() == await depth(tree)
        assert listener.next_seq["user"] == await user_seq(tree, ALICE) + 1

    play(scene)


def test_without_followers_matching_tells_nothing() -> None:
    """What nobody follows is not even gathered."""

    async def scene(tree: EngineTree) -> None:
        await Crowd(tree, Random(5)).act(1_000)
        assert tree.feed.peak == 0

    play(scene)

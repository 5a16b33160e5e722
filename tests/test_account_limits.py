"""What one account may ask over all its connections: at exact times, over sessions, and with trades that make room."""

# ruff: noqa: ARG001 - to ask for the fixture is to run on virtual time

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import msgspec
import pytest
import trio
from attrs import evolve
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.account_limits import AccountLimits, AccountLimitsConfig
from actors.gateway_counts import OF_ACCOUNT, OF_CONNECTION, ORDERS_TO_TRADES, GatewayCounts
from actors.wire import RefusedError
from book import codes
from book.events import Trade
from persistence.exits import Exit
from supervisor import Config
from tests.clients import Client, close, code, place
from tests.clients import codes as codes_of
from tests.in_process import buy
from tests.simulation.exchange import Life, SimulatedExchange
from tests.test_gateway import CONFIG, House

ORDERS = AccountLimitsConfig(orders_per_trade=10, order_burst=3, orders_per_second=1)


def trade(maker: int, taker: int) -> Trade:
    """A trade between two accounts."""
    return msgspec.structs.replace(Trade("BTC-USDT", *[1] * 11), maker_account=maker, taker_account=taker)


class Watch:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """What it shows."""
        return self.now


def limits(config: AccountLimitsConfig) -> tuple[AccountLimits, Watch, GatewayCounts]:
    """Limits, their clock and their counts."""
    watch, counts = Watch(), GatewayCounts()
    return AccountLimits(config, watch, counts), watch, counts


# ------------------------------------------------------------------------------------------------------- at exact times


def test_orders_are_limited_by_the_trades_that_come_of_them() -> None:
    """A burst at first, a few with time, and some for each trade, as maker and as taker; never more than the burst."""
    accounts, watch, counts = limits(ORDERS)
    alice = accounts.join(1)
    for _ in range(3):
        alice.take_order()
    with pytest.raises(RefusedError) as caught:
        alice.take_order()
    assert (caught.value.code, caught.value.reason) == (codes.TOO_MANY_REQUESTS, "ORDERS_TO_TRADES")
    assert caught.value.retry_after == 1_000
    watch.now += 1.0
    alice.take_order()
    for event in (trade(1, 2), trade(2, 1)):
        accounts.heard([event])
        for _ in range(3):
            alice.take_order()
        with pytest.raises(RefusedError):
            alice.take_order()
    accounts.heard([trade(2, 3), trade(1, 1)])
    with pytest.raises(RefusedError):
        alice.take_order()
    assert counts.refused_requests[ORDERS_TO_TRADES] == 4


def test_without_a_limit_no_order_is_refused() -> None:
    """Zero orders a trade means that nobody counts."""
    accounts, *_ = limits(AccountLimitsConfig())
    alice = accounts.join(1)
    for _ in range(200_000):
        alice.take_order()
    accounts.heard([trade(1, 2)])
    assert alice.orders is None


def test_an_account_has_one_limit_over_all_its_sessions() -> None:
    """And the same one when it comes back, for as long as anything is held against it."""
    accounts, watch, _ = limits(ORDERS)
    alice = accounts.join(1)
    assert accounts.join(1) is alice
    assert accounts.join(2) is not alice
    alice.take_order()
    accounts.leave(1)
    accounts.leave(1)
    accounts.heard([trade(1, 2)])
    alice.take_order()
    assert accounts.join(1) is alice
    accounts.leave(1)
    watch.now += 3.0
    accounts.join(3)
    assert accounts.join(1) is not alice


def test_who_is_gone_for_long_is_forgotten() -> None:
    """However many came and went, no more are remembered than came within the time that a bucket takes to fill."""
    accounts, watch, _ = limits(ORDERS)
    for account in range(10_000):
        limit = accounts.join(account)
        limit.take_order()
        accounts.leave(account)
        watch.now += 0.1
        assert len(accounts) <= 25


# ---------------------------------------------------------------------------------------------------------- in sessions


@asynccontextmanager
async def opened(account: AccountLimitsConfig, **session: int) -> AsyncIterator[House]:
    """A house with these limits."""
    house = House(evolve(CONFIG, account=account, session=evolve(CONFIG.session, **session)))
    async with house.open():
        yield house


async def logged_on(house: House, name: str = "alice") -> Client:
    """A client of this name."""
    client = await house.client()
    assert code(await client.ask("session.logon", apiKey=name)) == 0
    return client


def pings(count: int) -> list[object]:
    """Requests that need nobody."""
    return [{"id": number, "method": "ping"} for number in range(count)]


async def test_more_connections_are_not_more_requests(autojump_clock: MockClock) -> None:
    """What one has used, the other lacks; another account does not notice, nor does who is nobody."""
    async with opened(AccountLimitsConfig(requests_per_second=1, burst=6)) as house:
        one, two = await logged_on(house), await logged_on(house)
        bob, nobody = await logged_on(house, "bob"), await house.client()
        await one.send(*pings(4))
        assert codes_of(await one.replies(4)) == [0] * 4
        await two.send(*pings(4))
        replies = await two.replies(4)
        assert codes_of(replies) == [0, 0, codes.TOO_MANY_REQUESTS, codes.TOO_MANY_REQUESTS]
        assert [reply["id"] for reply in replies] == [0, 1, 2, 3]
        error = replies[-1]["error"]
        assert isinstance(error, dict)
        assert error["retryAfter"] == 1_000
        await trio.sleep(error["retryAfter"] / 1_000)
        assert code(await one.ask("ping")) == 0
        for other in (bob, nobody):
            await other.send(*pings(5))
            assert codes_of(await other.replies(5)) == [0] * 5
        refused = house.sessions.counts.refused_requests
        assert (refused[OF_ACCOUNT], refused[OF_CONNECTION]) == (2, 0)


async def test_to_connect_anew_makes_no_room(autojump_clock: MockClock) -> None:
    """Nor does it help to send everything in one piece with the logon."""
    async with opened(AccountLimitsConfig(requests_per_second=1, burst=6)) as house:
        logon = {"id": "on", "method": "session.logon", "params": {"apiKey": "alice"}}
        greedy = await house.client()
        await greedy.send(logon, *pings(100))
        assert codes_of(await greedy.replies(101)) == [0] * 101
        await close(greedy.stream)
        await wait_all_tasks_blocked()
        again = await logged_on(house)
        reply = await again.ask("ping")
        assert code(reply) == codes.TOO_MANY_REQUESTS
        error = reply["error"]
        assert isinstance(error, dict)
        assert error["retryAfter"] == 95_000


async def test_the_orders_of_a_batch_count_one_by_one(autojump_clock: MockClock) -> None:
    """For the account as for the connection."""
    async with opened(AccountLimitsConfig(requests_per_second=1, burst=10)) as house:
        client = await logged_on(house)
        orders = [{"symbol": "BTC-USDT", "orderId": number} for number in range(1, 16)]
        assert code(await client.ask("order.batch", orders=orders)) == 0
        assert code(await (await logged_on(house)).ask("ping")) == codes.TOO_MANY_REQUESTS


async def test_orders_beyond_the_limit_are_refused_and_cancels_are_not(autojump_clock: MockClock) -> None:
    """Orders, amendments and replacements, in batches too; what is refused for other reasons takes nothing."""
    async with opened(ORDERS) as house:
        client = await logged_on(house)
        symbol = {"symbol": "BTC-USDT"}
        assert code(await client.ask("order.place", **{**symbol, "side": "BUY"})) == codes.MANDATORY_PARAM
        await client.send(*(place(number, clientOrderId=f"c{number}") for number in range(2)))
        assert codes_of(await client.replies(2)) == [0, 0]
        assert code(await client.ask("order.amend", **symbol, clientOrderId="c0", newPrice="48000.00")) == 0
        params = place(1)["params"]
        assert isinstance(params, dict)
        for method, asked in (
            ("order.place", params),
            ("order.amend", {**symbol, "clientOrderId": "c0", "newPrice": "47000.00"}),
            ("order.cancelReplace", {**params, "cancelClientOrderId": "c0"}),
        ):
            reply = await client.ask(method, **asked)
            assert code(reply) == codes.TOO_MANY_REQUESTS, method
        batch = await client.ask("order.batch", orders=[params, {**symbol, "clientOrderId": "c0"}])
        result = batch["result"]
        assert isinstance(result, dict)
        assert codes_of(result["results"]) == [codes.TOO_MANY_REQUESTS, 0]
        assert code(await client.ask("order.test", **params)) == 0
        assert code(await client.ask("openOrders.cancelAll")) == 0
        assert code(await client.ask("order.cancelAllAfter", timeoutMs=1_000)) == 0
        assert house.sessions.counts.refused_requests[ORDERS_TO_TRADES] == 4


class Limited(SimulatedExchange):
    """An exchange where orders have to lead to trades."""

    def _config(self) -> Config:
        config = super()._config()
        account = AccountLimitsConfig(orders_per_trade=2, order_burst=4, orders_per_second=1)
        return evolve(config, gateway=evolve(config.gateway, account=account))


def test_trades_make_room_in_the_whole_exchange() -> None:
    """Those that matching applies, for maker and taker alike."""

    async def body(life: Life) -> None:
        alice, bob = await life.client("alice"), await life.client("bob")
        assert [(await alice.ask("order.place", **buy("0.5")))["status"] for _ in range(5)] == [200] * 4 + [429]
        assert (await bob.ask("order.place", **{**buy("0.5"), "side": "SELL"}))["result"]["status"] == "FILLED"
        assert [(await alice.ask("order.place", **buy("0.5")))["status"] for _ in range(3)] == [200] * 2 + [429]
        assert [(await bob.ask("order.place", **buy("0.5")))["status"] for _ in range(5)] == [200] * 4 + [429]

    assert Limited(Random(0)).live(body) == Exit.DONE

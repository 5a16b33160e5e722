"""Who may do what: every method, for nobody and for keys of every set of permissions, through session and engine."""

# ruff: noqa: ARG001 - to ask for the fixture is to run on virtual time

from typing import get_args

import msgspec
import pytest
from trio.testing import MockClock

from actors import wire
from book import codes
from book.commands import Command, DefineKey
from book.definitions import Key
from book.terms import PERMISSIONS, READ, TRADE, WITHDRAW
from tests.clients import PUBLIC_KEY, Exchange, code, connected, place

# What everyone may ask, and what is about the session itself.
PUBLIC = {"ping", "time", "exchangeInfo", "depth", "trades.recent", "ticker.24hr", "klines"}
SESSION = {"session.logon", "session.status", "session.logout"}
# Channels of market data are everybody's; `user` is that of whoever is logged on.
CHANNELS = {"subscribe", "unsubscribe", "resume"}
# What each permission is for. The names are those of the wire: one that is new has to be put somewhere here.
NEEDED = {
    READ: {
        *("order.status", "openOrders.status", "myTrades", "allOrders", "account.status", "account.commission"),
        *("deposit.address", "deposit.history", "withdraw.status", "withdraw.history"),
    },
    TRADE: {
        *("order.place", "order.cancel", "order.amend", "order.cancelReplace", "order.test", "order.batch"),
        *("openOrders.cancelAll", "order.cancelAllAfter"),
    },
    WITHDRAW: {"withdraw.apply", "withdraw.cancel"},
}
# Here no asset is on a chain, so these are refused to everybody, whatever they may do.
IMPOSSIBLE = {"deposit.address", "withdraw.apply"}

ONE_ORDER: dict[str, object] = {"symbol": "BTC-USDT", "orderId": 1}
PARAMS: dict[str, object] = {
    "order.place": place(1)["params"],
    "order.test": place(1)["params"],
    "order.cancel": ONE_ORDER,
    "order.status": ONE_ORDER,
    "order.amend": {**ONE_ORDER, "newQty": "0.0020"},
    "order.cancelReplace": {**place(1)["params"], "cancelOrderId": 1},  # type: ignore[dict-item]  # it is a dict
    "order.batch": {"orders": [ONE_ORDER]},
    "order.cancelAllAfter": {"timeoutMs": 0},
    "klines": {"symbol": "BTC-USDT", "interval": "1m"},
    "deposit.address": {"asset": "BTC"},
    "withdraw.apply": {"asset": "BTC", "address": "x", "amount": "1", "withdrawOrderId": "w"},
    "withdraw.status": {"withdrawOrderId": "w"},
    "withdraw.cancel": {"withdrawOrderId": "w"},
    **{
        method: {"symbol": "BTC-USDT"}
        for method in ("depth", "trades.recent", "ticker.24hr", "myTrades", "allOrders", "account.commission")
    },
}


def methods() -> set[str]:
    """Every method of the wire."""
    return {str(msgspec.inspect.type_info(kind).tag) for kind in get_args(wire.Request)}  # type: ignore[attr-defined]


def test_every_method_is_said_to_need_something_or_nothing() -> None:
    """One that is in none of the lists above would be tested by nobody."""
    listed = [*PUBLIC, *SESSION, *CHANNELS, *(method for names in NEEDED.values() for method in names)]
    assert sorted(listed) == sorted(methods())


def asked(method: str) -> dict[str, object]:
    """A request that is good in itself."""
    return {"id": method, "method": method, "params": PARAMS.get(method, {})}


def fate(reply: dict[str, object]) -> int:
    """The code of a reply; of a batch's, that of its only order."""
    result = reply.get("result")
    return code(result["results"][0]) if isinstance(result, dict) and "results" in result else code(reply)


async def test_nobody_may_see_the_market_and_nothing_else(autojump_clock: MockClock) -> None:
    """Without a logon."""
    async with connected(Exchange()) as (client, _):
        for method in sorted(methods() - SESSION - CHANNELS):
            await client.send(asked(method))
            assert fate(await client.receive()) == (0 if method in PUBLIC else codes.UNAUTHORIZED), method


@pytest.mark.parametrize("permissions", range(1, 8))
async def test_a_key_may_do_what_it_has_permission_for(permissions: int, autojump_clock: MockClock) -> None:
    """All of that, and nothing else; what it may not is refused alike, and has changed nothing."""
    exchange = Exchange()
    exchange.outcome(DefineKey(Key(21, "some", 1, permissions, PUBLIC_KEY)))
    may = PUBLIC.union(*(names for permission, names in NEEDED.items() if permissions & permission))
    async with connected(exchange, logged_on="some") as (client, _):
        shown = (await client.ask("session.status"))["result"]
        assert isinstance(shown, dict)
        assert shown["permissions"] == [name for bit, name in PERMISSIONS.items() if permissions & bit]
        before = exchange.engine.state_hash()
        for method in sorted(methods() - SESSION - CHANNELS - IMPOSSIBLE):
            await client.send(asked(method))
            allowed = fate(await client.receive()) != codes.REJECTED_KEY
            assert allowed == (method in may), method
        assert (exchange.engine.state_hash() == before) == (not permissions & TRADE)


async def test_what_a_key_tried_to_change_reaches_the_engine(autojump_clock: MockClock) -> None:
    """And so the log, as refused: an audit asks for just that."""
    exchange = Exchange()
    changing = NEEDED[TRADE] - {"order.test"}
    async with connected(exchange, logged_on="looker") as (client, _):
        for method in sorted(changing):
            await client.send(asked(method))
            assert fate(await client.receive()) == codes.REJECTED_KEY
    commands = [request for batch in exchange.seen for request in batch if isinstance(request, get_args(Command))]
    assert len(commands) == len(changing)

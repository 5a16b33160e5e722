"""The quarantine of requests that failed the engine."""

import pytest
from msgspec.structs import replace

from actors import quarantine
from actors.quarantine import Quarantine
from book.commands import (
    ArmSession,
    CancelAllAfter,
    CancelOrder,
    FreezeAccount,
    LoseSession,
    PlaceOrder,
    ReplaceOrder,
    SetMarketState,
)
from book.queries import Depth, JudgeOrder
from book.terms import BUY, GTC, HALT, LIMIT, SELL

ORDER = PlaceOrder(1, 10, 100, "BTC-USDT", BUY, LIMIT, GTC, 5, 6, client_order_id="a", timestamp=7)


def test_the_same_request_is_known_again_however_it_comes() -> None:
    """Another session, key, client order id or clock does not make another request of it."""
    held = Quarantine()
    assert ORDER not in held
    held.add(ORDER)
    again = PlaceOrder(1, 11, 101, "BTC-USDT", BUY, LIMIT, GTC, 5, 6, client_order_id="b", timestamp=8)
    assert again in held


def test_other_requests_are_not_held() -> None:
    """Another side, price or account is another request, and so is another kind with equal fields."""
    held = Quarantine()
    held.add(ORDER)
    assert PlaceOrder(1, 10, 100, "BTC-USDT", SELL, LIMIT, GTC, 5, 6) not in held
    assert PlaceOrder(1, 10, 100, "BTC-USDT", BUY, LIMIT, GTC, 5, 7) not in held
    assert PlaceOrder(2, 10, 100, "BTC-USDT", BUY, LIMIT, GTC, 5, 6) not in held
    held.add(CancelOrder(1, 0, 0, "BTC-USDT", 1))
    assert CancelOrder(1, 0, 0, "BTC-USDT", 2) not in held


def test_reads_can_be_held_too() -> None:
    """A query that fails the engine is refused like a command."""
    held = Quarantine()
    held.add(Depth("BTC-USDT", 5))
    assert Depth("BTC-USDT", 5) in held
    assert Depth("BTC-USDT", 6) not in held


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its capacity the oldest leaves."""
    monkeypatch.setattr(quarantine, "CAPACITY", 3)
    held = Quarantine()
    for limit in range(1, 6):
        held.add(Depth("BTC-USDT", limit))
    assert len(held) == 3
    assert Depth("BTC-USDT", 2) not in held
    assert Depth("BTC-USDT", 5) in held


def test_a_replacement_is_known_again_by_what_it_asks_for() -> None:
    """The order that leaves and what comes in its place; not the session, the key, the clock or the new one's name."""
    held = Quarantine()
    held.add(ReplaceOrder(1, "", ORDER))
    again = PlaceOrder(1, 11, 101, "BTC-USDT", BUY, LIMIT, GTC, 5, 6, client_order_id="b", timestamp=8)
    assert ReplaceOrder(1, "", again) in held
    assert ReplaceOrder(2, "", again) not in held
    assert ORDER not in held


def test_a_client_that_comes_back_on_another_connection_is_known_again() -> None:
    """A dead man's switch, an armed session and an order on trial are what they are for, not how they come."""
    held = Quarantine()
    for request, again, other in (
        (CancelAllAfter(1, 10, 100, 5_000, 7), CancelAllAfter(1, 11, 101, 5_000, 8), CancelAllAfter(1, 10, 100, 6_000)),
        (ArmSession(1, 10, 100, 7), ArmSession(1, 11, 101, 8), ArmSession(2, 10, 100, 7)),
        (JudgeOrder(ORDER), JudgeOrder(replace(ORDER, key=11, session=101, client_order_id="b")), ORDER),
    ):
        held.add(request)
        assert again in held
        assert other not in held


def test_what_operators_and_the_exchange_ask_for_is_itself() -> None:
    """Another session that is lost is another request, as is another market that is halted."""
    held = Quarantine()
    for request, other in (
        (LoseSession(7), LoseSession(8)),
        (SetMarketState("BTC-USDT", HALT), SetMarketState("ETH-USDT", HALT)),
        (FreezeAccount(1, True), FreezeAccount(1, False)),
    ):
        held.add(request)
        assert request in held
        assert other not in held

"""The fast engine against its reference: the same commands, and never a difference."""

from collections.abc import Callable
from random import Random
from typing import Final

import pytest

from bench import workload
from bench.workload import Mix
from book.commands import (
    AmendOrder,
    ArmSession,
    CancelAllAfter,
    CreditDeposit,
    LoseAllSessions,
    LoseSession,
    PlaceOrder,
    ReplaceOrder,
    Tick,
)
from book.compiled import COMPILED
from book.queries import AccountOrders, AccountTrades, Candles, OrderStatus, RecentTrades, Ticker
from book.reference_questions import CANDLES_KEPT, INTERVALS, KEPT, MINUTE_NS
from book.terms import BUY, GTC, GTD, IOC, LIMIT, MAX_INT, NONE, SELL
from tests import wild
from tests.counts import SOAK, seeds
from tests.planted_bugs import BUGS
from tests.side_by_side import Difference, SideBySide, run_wild

# Commands of one seed. With those of the mix that makes 20,000 interpreted, 200,000 compiled, in a soak 20 million.
WILD_COMMANDS: Final = 1_500
WILD_SEEDS: Final = seeds(130 if COMPILED else 8, 12_000)
MIX_COMMANDS: Final = 4_000
MIX_ORDERS: Final = 500


@pytest.mark.parametrize("seed", WILD_SEEDS)
def test_wild_commands_make_no_difference(seed: int) -> None:
    """Sensible and senseless commands, questions and types: the same events, answers, balances, books and digests."""
    met = run_wild(seed, WILD_COMMANDS, compare_every=25 if SOAK or COMPILED else 5)
    # Where much is withdrawn, less is traded.
    assert met["Trade"] + met["WithdrawalHeld"] > 10
    assert met["OrderClosed"] + met["WithdrawalHeld"] > 100


EVENTS: Final = """
    OrderAccepted Trade OrderReduced OrderClosed OrderAmended OrderTriggered CancelAllAfterSet SessionArmed SessionLost
    EngineVersionSet AssetDefined MarketDefined AccountDefined KeyDefined MarketStateChanged FeeTierSet AccountTierSet
    KeyRevoked AccountFrozen AssetFrozen Adjusted Credited
    AddressAllocated WithdrawalHeld WithdrawalSettled WithdrawalReleased WithdrawalsPaused EpochBegun
    FILLED CANCELED EXPIRED EXPIRED_IN_MATCH TRADING POST_ONLY CANCEL_ONLY HALT HALT_for_a_time
    triggered_STOP_LOSS triggered_STOP_LOSS_LIMIT triggered_TAKE_PROFIT triggered_TAKE_PROFIT_LIMIT cascade
    entered_when_resumed
    rebate fee_of_the_whole trade_with_oneself hidden_lots_traded receivable
"""
REFUSALS: Final = """
    UNAUTHORIZED UNKNOWN_ACCOUNT: account
    REJECTED_KEY UNKNOWN_KEY: key
    REJECTED_KEY REVOKED_KEY: key
    REJECTED_KEY NO_PERMISSION: key
    INVALID_TIMESTAMP : timestamp
    BAD_SYMBOL : symbol
    BAD_SIDE : side
    BAD_TYPE : type
    BAD_TIF : time_in_force
    INVALID_PARAMETER : session recv_window client_order_id self_trade price quantity quote_quantity post_only
    INVALID_PARAMETER : time_in_force stop_price display_quantity expire_time timeout_ms new_quantity new_price
    INVALID_PARAMETER SESSION_TAKEN: session
    FILTER_FAILURE PRICE_FILTER: price stop_price new_price
    FILTER_FAILURE LOT_SIZE: quantity display_quantity new_quantity
    FILTER_FAILURE MIN_NOTIONAL: notional quote_quantity
    FILTER_FAILURE OVERFLOW: price stop_price quantity quote_quantity new_price new_quantity
    FILTER_FAILURE MAX_ORDERS:
    ORDER_REJECTED DUPLICATE_CLIENT_ORDER_ID: client_order_id
    ORDER_REJECTED ACCOUNT_FROZEN: account
    ORDER_REJECTED MARKET_CLOSED: state
    ORDER_REJECTED WOULD_TRIGGER: stop_price
    ORDER_REJECTED NO_LIQUIDITY:
    ORDER_REJECTED WOULD_TAKE: price new_price
    ORDER_REJECTED INSUFFICIENT_BALANCE:
    ORDER_REJECTED INSUFFICIENT_BALANCE: base quote
    ORDER_REJECTED FOK_UNFILLABLE: quantity
    INVALID_PARAMETER UNKNOWN_ASSET: asset
    INVALID_PARAMETER NO_CHAIN: asset
    INVALID_PARAMETER HAS_ADDRESS: asset
    INVALID_PARAMETER : withdraw_order_id
    BAD_ADDRESS : address
    WITHDRAWAL_REJECTED UNKNOWN_ASSET: asset
    WITHDRAWAL_REJECTED NO_CHAIN: asset
    WITHDRAWAL_REJECTED DUPLICATE_WITHDRAWAL: withdraw_order_id
    WITHDRAWAL_REJECTED WITHDRAWAL_DIFFERS: withdraw_order_id
    WITHDRAWAL_REJECTED WITHDRAWALS_PAUSED:
    WITHDRAWAL_REJECTED ACCOUNT_FROZEN: account
    WITHDRAWAL_REJECTED ASSET_FROZEN: asset
    WITHDRAWAL_REJECTED OVERFLOW: amount
    WITHDRAWAL_REJECTED MIN_WITHDRAWAL: amount
    WITHDRAWAL_REJECTED TOO_MANY_WITHDRAWALS: account
    WITHDRAWAL_REJECTED INSUFFICIENT_BALANCE: amount
    CANCEL_REJECTED UNKNOWN_ORDER:
    CANCEL_REJECTED ALREADY_EXECUTED: new_quantity
    CANCEL_REJECTED UNKNOWN_SESSION: session
    DEFINITION_REJECTED ALREADY_DEFINED:
    DEFINITION_REJECTED DEFINITION_DIFFERS: name scale account permissions public_key networks base quote
    DEFINITION_REJECTED DEFINITION_DIFFERS: tick tick_scale lot
    DEFINITION_REJECTED DEFINITION_DIFFERS: min_quantity max_quantity min_notional max_open_orders
    DEFINITION_REJECTED DEFINITION_DIFFERS: maker_fee taker_fee collar self_trade reference_price band halt_ms
    DEFINITION_REJECTED BAD_NAME: name symbol public_key networks
    DEFINITION_REJECTED BAD_NAME: deposit_id adjustment_id reason operator second_operator
    DEFINITION_REJECTED NAME_TAKEN: name
    DEFINITION_REJECTED TOO_MANY: networks
    DEFINITION_REJECTED UNKNOWN_ACCOUNT: account
    DEFINITION_REJECTED UNKNOWN_ASSET: asset base quote
    DEFINITION_REJECTED UNKNOWN_SYMBOL: symbol
    DEFINITION_REJECTED UNKNOWN_KEY: key
    DEFINITION_REJECTED SAME_ASSET: quote
    DEFINITION_REJECTED TICK_VALUE_NOT_WHOLE: tick
    DEFINITION_REJECTED OUT_OF_RANGE: scale tick tick_scale lot min_quantity max_quantity min_notional max_open_orders
    DEFINITION_REJECTED OUT_OF_RANGE: maker_fee taker_fee collar self_trade account key permissions amount
    DEFINITION_REJECTED OUT_OF_RANGE: reference_price band halt_ms state tier version
    DEFINITION_REJECTED UNCHANGED: state tier key frozen version
    DEFINITION_REJECTED SAME_OPERATOR: second_operator
    DEFINITION_REJECTED ASSET_FROZEN: asset
    DEFINITION_REJECTED DUPLICATE_ADJUSTMENT: adjustment_id
    DEFINITION_REJECTED ADJUSTMENT_DIFFERS: adjustment_id
    DEFINITION_REJECTED DUPLICATE_DEPOSIT: deposit_id
    DEFINITION_REJECTED DEPOSIT_DIFFERS: deposit_id
    DEFINITION_REJECTED OVERFLOW: amount
    DEFINITION_REJECTED DEFINITION_DIFFERS: chain withdrawal_fee min_withdrawal
    DEFINITION_REJECTED BAD_NAME: chain txid withdrawal_id withdraw_order_id address
    DEFINITION_REJECTED OUT_OF_RANGE: withdrawal_fee min_withdrawal withdrawal_id epoch fee
    DEFINITION_REJECTED UNCHANGED: paused
    DEFINITION_REJECTED NO_CHAIN: asset
    DEFINITION_REJECTED INSUFFICIENT_BALANCE: amount
    DEFINITION_REJECTED UNKNOWN_WITHDRAWAL: withdrawal_id
    DEFINITION_REJECTED ALREADY_SETTLED: withdrawal_id
    DEFINITION_REJECTED ALREADY_RELEASED: withdrawal_id
    DEFINITION_REJECTED WITHDRAWAL_SETTLED: withdrawal_id
    DEFINITION_REJECTED WITHDRAWAL_RELEASED: withdrawal_id
    DEFINITION_REJECTED SETTLEMENT_DIFFERS: withdrawal_id
    DEFINITION_REJECTED DUPLICATE_WITHDRAWAL: withdrawal_id
    DEFINITION_REJECTED WITHDRAWAL_DIFFERS: withdrawal_id withdraw_order_id
"""


def every_outcome() -> set[str]:
    """All that can come of a command, in the words of `SideBySide.met`."""
    outcomes = set(EVENTS.split())
    for line in REFUSALS.strip().splitlines():
        reason, fields = line.strip().split(":")
        outcomes |= {f"{reason}: {field}" for field in fields.split() or [""]}
    return outcomes


def test_wild_commands_meet_every_outcome() -> None:
    """No event and no reason to refuse is left out, and nothing comes up that is not known."""
    expected, met, seed = every_outcome(), set[str](), 0
    while not expected <= met:
        met |= set(+run_wild(1_000_000 + seed, WILD_COMMANDS, compare_every=100))
        seed += 1
        assert seed < 60, f"never met: {expected - met}"
    assert met == expected


@pytest.mark.parametrize("seed", seeds(2, 300))
def test_the_mix_makes_no_difference(seed: int) -> None:
    """exchange-core's mix over a deep book of many traders: no difference, and the mix is what was published."""
    pair, accounts = SideBySide(), range(1, 1_001)
    (market,) = workload.markets(1)
    for definition in workload.opening([market], accounts):
        pair.do(definition)
    mix = Mix(Random(seed), market, accounts, MIX_ORDERS)
    for step in range(MIX_COMMANDS):
        if step == MIX_COMMANDS // 2:
            mix.actions.clear()
        mix.heard(pair.do(mix.command()))
        if step % 500 == 0:
            pair.compare()
    pair.compare()
    pair.compare_history()
    share = {action: times / mix.actions.total() for action, times in mix.actions.items()}
    published = {"GTC": 0.12, "IOC": 0.02, "CANCEL": 0.07, "MOVE": 0.71, "REDUCE": 0.07}
    assert all(abs(share[action] - expected) < 0.05 for action, expected in published.items()), share
    assert mix.actions["FOK"] < mix.actions["IOC"]


def test_the_memory_of_ids_makes_no_difference() -> None:
    """An account's last 10,000 finished orders keep their ids, its last 1,000 can be asked for; then they are gone."""
    pair = SideBySide()
    for command in wild.opening():
        pair.do(command)
    for number in range(10_001):
        pair.do(PlaceOrder(1, 0, 0, "BTC-USDT", BUY, LIMIT, IOC, 2, 100, client_order_id=f"c{number}"))
    for order_id in (1, 2, 9_001, 9_002, 10_001):
        pair.ask(OrderStatus(1, "BTC-USDT", order_id))
        pair.ask(OrderStatus(1, "BTC-USDT", 0, f"c{order_id - 1}"))
    for number in (1, 0, 1, 0):
        pair.do(PlaceOrder(1, 0, 0, "BTC-USDT", BUY, LIMIT, IOC, 2, 100, client_order_id=f"c{number}"))
    assert pair.met["ORDER_REJECTED DUPLICATE_CLIENT_ORDER_ID: client_order_id"] == 2
    pair.do(PlaceOrder(1, 0, 0, "BTC-USDT", BUY, LIMIT, GTC, 2, 100, client_order_id="old"))
    for name in ("old", "c2", "c1"):
        pair.do(ReplaceOrder(0, "old", PlaceOrder(1, 0, 0, "BTC-USDT", BUY, LIMIT, GTC, 2, 99, client_order_id=name)))
    pair.compare()


def test_the_memory_of_trades_makes_no_difference() -> None:
    """A trade in each of more minutes than candles are kept: the newest of everything can be asked for, and no more."""
    pair, symbol, minutes = SideBySide(), "BTC-USDT", CANDLES_KEPT + 3
    for command in wild.opening():
        pair.do(command)
    first_ns = pair.time_ns - pair.time_ns % MINUTE_NS
    for number in range(minutes):
        pair.do(PlaceOrder(2, 0, 0, symbol, SELL, LIMIT, GTC, 2, 98 + number % 5))
        pair.do(PlaceOrder(1 + number % 2, 0, 0, symbol, BUY, LIMIT, IOC, 2, 102, self_trade=NONE))
        pair.do(Tick(), later_ns=MINUTE_NS)
    assert pair.met["Trade"] == minutes
    assert pair.met["trade_with_oneself"] == minutes // 2
    pair.compare()
    pair.compare_history()
    for from_id in (1, 2, 250, 502, 503, 504, 505, minutes, minutes + 1):
        for account, limit in ((1, 1), (1, KEPT), (2, 1), (2, KEPT)):
            pair.ask(AccountTrades(account, symbol, from_id, limit))
            pair.ask(AccountOrders(account, symbol, 2 * from_id, limit))
    for limit in (1, 500, KEPT):
        pair.ask(RecentTrades(symbol, limit))
    for interval_ns in INTERVALS:
        for start_ns in (0, first_ns, first_ns + 2 * MINUTE_NS, first_ns + 60 * MINUTE_NS + 1):
            for end_ns in (0, first_ns + MINUTE_NS, first_ns + 3 * MINUTE_NS, first_ns + 600 * MINUTE_NS):
                pair.ask(Candles(symbol, interval_ns, start_ns, end_ns, CANDLES_KEPT))
    for later_ns in (0, MINUTE_NS, 1_438 * MINUTE_NS, MINUTE_NS, MINUTE_NS):
        pair.do(Tick(), later_ns=later_ns)
        pair.ask(Ticker(symbol))


def test_the_end_of_all_sessions_makes_no_difference() -> None:
    """Orders of a session that was not armed stay, and have no part in a session of that number that comes later."""
    pair, symbol = SideBySide(), "BTC-USDT"
    for command in wild.opening():
        pair.do(command)
    pair.do(ArmSession(1, 0, 1))
    for session in (1, 2):
        pair.do(PlaceOrder(1, 0, session, symbol, BUY, LIMIT, GTC, 2, 90))
    pair.do(LoseAllSessions())
    assert pair.met["CANCELED"] == 1
    pair.do(ArmSession(1, 0, 2))
    pair.do(LoseSession(2))
    assert pair.met["CANCELED"] == 1
    pair.compare()


def test_the_end_of_time_makes_no_difference() -> None:
    """What would be due after the last moment of 64 bits is due then, when no command is taken any more."""
    pair, symbol = SideBySide(), "BTC-USDT"
    for command in wild.opening():
        pair.do(command)
    pair.time_ns = MAX_INT - 10**6
    last_ms = MAX_INT // 10**6
    pair.do(CancelAllAfter(1, 0, 0, 86_400_000))
    pair.do(PlaceOrder(1, 0, 0, symbol, BUY, LIMIT, GTD, 2, 90, expire_time=last_ms))
    pair.do(PlaceOrder(1, 0, 0, symbol, BUY, LIMIT, GTD, 2, 90, expire_time=last_ms + 1))
    pair.do(PlaceOrder(2, 0, 0, symbol, SELL, LIMIT, GTC, 2, 110))
    pair.do(PlaceOrder(3, 0, 0, symbol, BUY, LIMIT, GTC, 2, 110))
    pair.compare()
    pair.do(Tick(), later_ns=MAX_INT - 1 - pair.time_ns)
    pair.compare()
    assert pair.due_ns == MAX_INT
    assert pair.met["INVALID_PARAMETER : expire_time"] == pair.met["HALT_for_a_time"] == 1
    for engine in (pair.fast, pair.reference):
        with pytest.raises(ValueError, match="time"):
            engine.apply(Tick(), 10**6, MAX_INT)
        for time_ns in (pair.time_ns - 1, -1, MAX_INT + 1):
            with pytest.raises(ValueError, match="time"):
                engine.query(Ticker(symbol), time_ns)


def test_no_room_for_another_lot_makes_no_difference() -> None:
    """An order that was paid, and then all the money there can be came: as wild seed 734 found, it may stay."""
    pair, symbol = SideBySide(), "BTC-USDT"
    for command in wild.opening():
        pair.do(command)
    pair.do(PlaceOrder(2, 0, 0, symbol, SELL, LIMIT, GTC, 6, 100))
    pair.do(PlaceOrder(3, 0, 0, symbol, BUY, LIMIT, IOC, 2, 100))
    pair.do(CreditDeposit("the-rest", 1, "USDT", MAX_INT - pair.fast.totals()["USDT"]))
    pair.do(AmendOrder(2, 0, 0, symbol, 1, "", 7))
    assert pair.met["FILTER_FAILURE OVERFLOW: new_quantity"] == 1


@pytest.mark.parametrize("plant", BUGS)
def test_a_planted_bug_is_a_difference(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few hundred wild commands find it, or a few thousand where it is of what happens seldom."""
    plant(monkeypatch)
    with pytest.raises(Difference):
        short_histories(20)


def short_histories(many: int) -> None:
    """So many, compared at every command."""
    for seed in range(many):
        run_wild(seed, 300, compare_every=1)

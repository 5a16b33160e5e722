"""The traps that order books are known to fall into, each with a test of its own: here, or where the map points."""

from pathlib import Path
from random import Random
from typing import Final

import msgspec
import pytest

from book.commands import SetAccountTier, SetFeeTier
from book.engine import Engine
from book.events import Trade
from book.image import decode, encode
from book.terms import BUY, DECREMENT, EXPIRE_BOTH, EXPIRE_MAKER, EXPIRE_TAKER, FILLED, NEW, SELL
from tests.counts import count
from tests.exchange import (
    ALICE,
    BOB,
    BTC_USDT,
    CAROL,
    FUNDS,
    LOTS,
    SYMBOL,
    Exchange,
    amend,
    buy,
    cancel,
    ioc,
    limit,
    market,
    sell,
    spend,
    trades,
)

TRAPS: Final = {
    "cancelling twice touches nothing else": "test_engine.py::test_cancelling_twice_touches_nothing_else",
    "cancelling an unknown id touches nothing else": "test_engine.py::test_cancelling_an_unknown_id_touches_nothing",
    "a filled id cannot be cancelled": "test_engine.py::test_a_filled_order_cannot_be_cancelled",
    "another's order is not found": "test_engine.py::test_anothers_order_is_refused_as_not_found",
    "untriggered stops can be cancelled": "test_stops.py::test_an_untriggered_stop_can_be_cancelled_by_either_id",
    "stop comparison not inverted": "test_stops.py::test_a_stop_is_triggered_by_the_last_price_and_by_no_lesser_one",
    "a triggered stop is gone after its fill": "test_stops.py::test_a_triggered_stop_is_gone_after_its_fill",
    "replace uses the open quantity": "test_replace.py::test_replace_uses_the_open_quantity_of_the_old_order",
    "IOC residue never rests": "test_trading.py::test_ioc_takes_what_it_can_and_the_rest_expires",
    "market residue never rests": "test_trading.py::test_a_market_order_partly_filled_expires_and_never_rests",
    "FOK counts hidden quantity": "test_icebergs.py::test_all_or_nothing_counts_what_is_hidden",
    "FOK counts hidden quantity behind an own order": (
        "test_icebergs.py::test_all_or_nothing_behind_an_own_order_counts_only_what_is_shown_before_it"
    ),
    "FOK counts self-trade prevention correctly": "test_admission.py::test_fok_counts_self_trade_prevention",
    "a maker partly filled keeps its place": "test_trading.py::test_a_maker_partly_filled_keeps_its_place",
    "an order that crosses and fills leaves no stale index": (
        "test_engine.py::test_a_crossing_order_that_fills_entirely_leaves_nothing_behind"
    ),
    "an amendment that crosses and fills leaves no stale index": (
        "test_amend.py::test_an_amendment_that_crosses_and_fills_entirely_leaves_no_stale_index"
    ),
    "id reuse": "test_traps.py::test_an_id_stands_for_one_order_of_one_account",
    "zero-quantity trades never happen": "test_traps.py::test_zero_quantity_trades_never_happen",
    "a phantom best level": "test_traps.py::test_the_best_price_is_gone_with_its_last_order",
    "a 5,000-fill sweep": "test_trading.py::test_a_sweep_of_5000_orders_in_one_command",
    "restore does not reorder cancel-all": "test_image.py::test_a_restore_does_not_reorder_anything",
    "restore does not reorder stops": "test_stops.py::test_waiting_stops_come_back_from_a_dump_as_they_were",
    "restore does not reorder icebergs": "test_icebergs.py::test_the_order_of_coming_forward_survives_a_restart",
    "GTD expires also while halted": "test_leaving.py::test_an_order_expires_in_any_state_of_the_market",
    "a failed restore leaves nothing half-loaded": "test_traps.py::test_a_failed_restore_leaves_nothing_half_loaded",
    "rounding never creates or destroys a unit": "test_traps.py::test_rounding_neither_creates_nor_destroys_a_unit",
    "a fee larger than proceeds": "test_trading.py::test_a_fee_of_the_whole_takes_the_proceeds_and_no_more",
    "tier raised while an order rests": "test_traps.py::test_an_order_keeps_the_rates_of_its_placement",
}


@pytest.mark.parametrize("place", TRAPS.values(), ids=TRAPS)
def test_the_trap_has_its_test(place: str) -> None:
    """The map is true."""
    file, name = place.split("::")
    assert f"def {name}(" in (Path(__file__).parent / file).read_text()


def test_an_id_stands_for_one_order_of_one_account() -> None:
    """Live, cancelled, filled or expired: an id is not free again; a refused order's is, and another account's."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 1, 100, client_order_id="live"))
    cancelled, _ = exchange.place(buy(ALICE, 1, 100, client_order_id="cancelled"))
    exchange.done(cancel(ALICE, cancelled.order_id))
    exchange.place(ioc(ALICE, BUY, 1, 100, client_order_id="expired"))
    exchange.place(buy(ALICE, 1, 200, client_order_id="filled"))
    exchange.place(sell(BOB, 1, 200))
    for first, name in enumerate(("live", "cancelled", "expired", "filled"), start=1):
        rejected = exchange.refused(sell(ALICE, 7, 900, client_order_id=name))
        assert (rejected.reason, rejected.ref) == ("DUPLICATE_CLIENT_ORDER_ID", first)
        exchange.place(buy(BOB, 1, 50, client_order_id=name))
    assert exchange.refused(buy(ALICE, LOTS, 10**9, client_order_id="refused")).reason == "INSUFFICIENT_BALANCE"
    exchange.place(buy(ALICE, 1, 100, client_order_id="refused"))
    assert len(exchange.open_orders(ALICE)) == 2


@pytest.mark.parametrize("mode", [EXPIRE_TAKER, EXPIRE_MAKER, EXPIRE_BOTH, DECREMENT])
def test_zero_quantity_trades_never_happen(mode: int) -> None:
    """Not for an amount that affords no lot, not for what self-trade prevention leaves, not behind a full fill."""
    exchange = Exchange()
    exchange.place(sell(BOB, 5, 1_000))
    _, events = exchange.place(spend(ALICE, 1_001))
    assert trades(events) == []
    _, events = exchange.place(ioc(BOB, BUY, 5, 1_000, self_trade=mode))
    assert trades(events) == []
    exchange.place(sell(CAROL, 5, 1_000))
    exchange.place(sell(CAROL, 5, 1_000))
    left = exchange.depth().asks[0][1]
    _, events = exchange.place(ioc(ALICE, BUY, left, 1_000))
    assert sum(quantity for _, quantity in trades(events)) == left
    assert all(quantity > 0 for _, quantity in trades(events))


@pytest.mark.parametrize("side", [BUY, SELL])
def test_the_best_price_is_gone_with_its_last_order(side: int) -> None:
    """Once the top of a side is cancelled, nothing trades, is measured or is refused by it."""
    sign = 1 if side == BUY else -1
    taking = SELL if side == BUY else BUY
    exchange = Exchange()
    best, _ = exchange.place(limit(BOB, side, 5, 1_000))
    exchange.place(limit(BOB, side, 5, 1_000 - 300 * sign))
    exchange.done(cancel(BOB, best.order_id))
    resting, _ = exchange.place(limit(CAROL, taking, 1, 1_000, post_only=True))
    assert resting.status == NEW
    taker, events = exchange.place(market(ALICE, taking, 5))
    assert trades(events) == [(1_000 - 300 * sign, 5)]
    assert taker.status == FILLED
    depth = exchange.depth()
    assert (depth.bids if side == BUY else depth.asks) == []


def test_a_failed_restore_leaves_nothing_half_loaded() -> None:
    """Neither the engine at work nor one made afterwards has anything of a dump that was refused."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 5, 100))
    data, empty = exchange.engine.dump(), Engine().dump()
    image = decode(data)
    (market,) = image.markets
    stranger = msgspec.structs.replace(market.bids[0], account=99)
    strange = msgspec.structs.replace(image, markets=[msgspec.structs.replace(market, bids=[stranger])])
    with pytest.raises(ValueError, match="not an engine"):
        Engine.load(encode(strange))
    assert exchange.engine.dump() == data
    assert Engine().dump() == empty
    assert Engine.load(data).dump() == data
    exchange.done(cancel(ALICE, 1))


@pytest.mark.parametrize(("maker_fee", "taker_fee"), [(1, 3), (333_333, 666_667), (-1, 1), (-499_999, 500_000)])
def test_rounding_neither_creates_nor_destroys_a_unit(maker_fee: int, taker_fee: int) -> None:
    """Whatever the rates and however small the trades, all accounts and the house together own what came in."""
    exchange = Exchange(msgspec.structs.replace(BTC_USDT, maker_fee=maker_fee, taker_fee=taker_fee))
    random = Random(taker_fee)
    for _ in range(count(200, 20_000)):
        account, side = random.choice((ALICE, BOB, CAROL)), random.choice((BUY, SELL))
        order, _ = exchange.place(limit(account, side, random.randint(1, 9), random.randint(1, 5)))
        if order.status == NEW and random.random() < 0.3:
            exchange.done(cancel(account, order.order_id))
    for asset, amount in FUNDS.items():
        balances = [exchange.balance(account, asset) for account in (0, ALICE, BOB, CAROL)]
        assert sum(balance.available + balance.held for balance in balances) == 3 * amount
    assert exchange.balance(0, "USDT").available > 0


@pytest.mark.parametrize("raise_", [SetAccountTier(BOB, 2), SetFeeTier(SYMBOL, 1, 10_000, 20_000)])
def test_an_order_keeps_the_rates_of_its_placement(raise_: SetAccountTier | SetFeeTier) -> None:
    """A tier that is raised while an order rests is the next order's; also after a restart, and an amendment."""
    exchange = Exchange()
    exchange.done(SetFeeTier(SYMBOL, 1, 5_000, 7_000))
    exchange.done(SetFeeTier(SYMBOL, 2, 10_000, 20_000))
    exchange.done(SetAccountTier(BOB, 1))
    amended, _ = exchange.place(sell(BOB, 10, 99_000))
    exchange.place(sell(BOB, 10, 100_000))
    exchange.done(raise_)
    exchange.place(sell(BOB, 10, 100_000))
    exchange.done(amend(BOB, amended.order_id, price=100_000))
    exchange.engine = Engine.load(exchange.engine.dump())
    _, events = exchange.place(ioc(ALICE, BUY, 30, 100_000))
    assert [event.maker_fee for event in events if isinstance(event, Trade)] == [5_000, 10_000, 5_000]

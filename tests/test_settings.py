"""What operators set: each setting takes effect at once, is refused with its reason, and outlives a restart."""

import msgspec
import pytest

from book import codes
from book.commands import (
    AdjustBalance,
    Command,
    CreditDeposit,
    FreezeAccount,
    FreezeAsset,
    RevokeKey,
    SetAccountTier,
    SetEngineVersion,
    SetFeeTier,
)
from book.engine import ENGINE_VERSION, Engine
from book.events import (
    AccountFrozen,
    AccountTierSet,
    Adjusted,
    AssetFrozen,
    EngineVersionSet,
    Event,
    FeeTierSet,
    KeyRevoked,
    Rejected,
    Trade,
)
from book.terms import BUY, MAX_INT, PPM
from tests.exchange import (
    ALICE,
    BOB,
    BTC_USDT,
    CAROL,
    FUNDS,
    SYMBOL,
    Exchange,
    buy,
    cancel,
    ioc,
    key,
    sell,
)

EXTREMES = [-(10**30), -(2**63), -1, 2**63, 10**30]
GIFT = AdjustBalance("case-1", ALICE, "BTC", 500, "goodwill", "ann", "bob")

SETTINGS: list[tuple[Command, Event]] = [
    (SetEngineVersion(1), EngineVersionSet(1)),
    (SetFeeTier(SYMBOL, 1, -300, 400), FeeTierSet(SYMBOL, 1, -300, 400)),
    (SetAccountTier(ALICE, 1), AccountTierSet(ALICE, 1)),
    (RevokeKey(1), KeyRevoked(1)),
    (FreezeAccount(ALICE, True), AccountFrozen(ALICE, True)),
    (FreezeAsset("BTC", True), AssetFrozen("BTC", True)),
]


def exchange_with_keys() -> Exchange:
    """The usual one, and a key for each of Alice and Bob."""
    exchange = Exchange()
    exchange.done(key(1, ALICE))
    exchange.done(key(2, BOB))
    return exchange


def reloaded(exchange: Exchange) -> Exchange:
    """The same exchange after a restart."""
    exchange.engine = Engine.load(exchange.engine.dump())
    return exchange


def fees(events: list[Event]) -> list[tuple[int, int]]:
    """What makers and takers paid."""
    return [(event.maker_fee, event.taker_fee) for event in events if isinstance(event, Trade)]


@pytest.mark.parametrize(("command", "event"), SETTINGS, ids=lambda thing: type(thing).__name__)
def test_a_setting_is_told_once_and_then_unchanged(command: Command, event: Event) -> None:
    """It is an event that says what is set; the same again would change nothing and is refused, after a restart too."""
    exchange = exchange_with_keys()
    assert exchange.done(command) == [event]
    first = exchange.refused(command)
    assert (first.code, first.reason) == (codes.DEFINITION_REJECTED, "UNCHANGED")
    assert reloaded(exchange).refused(command) == first


@pytest.mark.parametrize(
    ("command", "reason", "field", "value"),
    [
        *((SetFeeTier(name, 1, 0, 0), "UNKNOWN_SYMBOL", "symbol", 0) for name in ("", "X", "\ud800")),
        *((SetFeeTier(SYMBOL, tier, 0, 0), "OUT_OF_RANGE", "tier", tier) for tier in (0, 101, *EXTREMES)),
        *((SetFeeTier(SYMBOL, 1, 0, rate), "OUT_OF_RANGE", "taker_fee", rate) for rate in (PPM + 1, *EXTREMES)),
        *((SetFeeTier(SYMBOL, 1, rate, 9), "OUT_OF_RANGE", "maker_fee", rate) for rate in (-10, PPM + 1, 10**30)),
        *((SetAccountTier(number, 1), "UNKNOWN_ACCOUNT", "account", number) for number in (4, *EXTREMES)),
        *((SetAccountTier(ALICE, tier), "OUT_OF_RANGE", "tier", tier) for tier in (101, *EXTREMES)),
        (SetAccountTier(ALICE, 0), "UNCHANGED", "tier", 0),
        *((RevokeKey(number), "UNKNOWN_KEY", "key", number) for number in (0, 3, *EXTREMES)),
        *((FreezeAccount(number, True), "UNKNOWN_ACCOUNT", "account", number) for number in (4, *EXTREMES)),
        (FreezeAccount(ALICE, False), "UNCHANGED", "frozen", 0),
        *((FreezeAsset(name, True), "UNKNOWN_ASSET", "asset", 0) for name in ("", "ETH", "\ud800")),
        (FreezeAsset("BTC", False), "UNCHANGED", "frozen", 0),
        *((SetEngineVersion(version), "OUT_OF_RANGE", "version", version) for version in (0, 2, *EXTREMES)),
    ],
)
def test_a_setting_that_cannot_be_says_why(command: Command, reason: str, field: str, value: int) -> None:
    """What it is of is unknown, or it is out of range, or it is so already."""
    rejected = exchange_with_keys().refused(command)
    assert rejected.code == codes.DEFINITION_REJECTED
    assert (rejected.reason, rejected.field, rejected.value) == (reason, field, value)


def test_the_bounds_of_tiers_and_rates_are_taken() -> None:
    """The least and the most of everything."""
    exchange = Exchange()
    exchange.done(SetFeeTier(SYMBOL, 100, -PPM, PPM))
    exchange.done(SetFeeTier(SYMBOL, 1, PPM, 0))
    exchange.done(SetAccountTier(0, 100))
    reloaded(exchange)


# Fee tiers


def test_an_account_pays_the_rates_of_its_tier() -> None:
    """As a maker and as a taker, from its next order on; without a tier, or in one the market has not, the market's."""
    exchange = Exchange()
    exchange.done(SetFeeTier(SYMBOL, 7, 100, 300))
    exchange.done(SetAccountTier(ALICE, 7))
    exchange.done(SetAccountTier(BOB, 8))
    for _ in range(2):
        exchange.place(sell(ALICE, 10, 100_000))
        assert fees(exchange.done(ioc(BOB, BUY, 10, 100_000))) == [(100, 2_000)]
        exchange.place(sell(BOB, 10, 100_000))
        assert fees(exchange.done(ioc(ALICE, BUY, 10, 100_000))) == [(1_000, 300)]
        reloaded(exchange)
    exchange.done(SetAccountTier(ALICE, 0))
    exchange.place(sell(ALICE, 10, 100_000))
    assert fees(exchange.done(ioc(BOB, BUY, 10, 100_000))) == [(1_000, 2_000)]


def test_a_tier_set_anew_counts_for_all_that_are_in_it() -> None:
    """Also for those who traded before."""
    exchange = Exchange()
    exchange.done(SetAccountTier(ALICE, 7))
    exchange.place(sell(ALICE, 10, 100_000))
    exchange.done(SetFeeTier(SYMBOL, 7, 500, 900))
    exchange.done(SetFeeTier(SYMBOL, 7, 100, 300))
    exchange.place(sell(ALICE, 10, 100_000))
    assert fees(exchange.done(ioc(BOB, BUY, 20, 100_000))) == [(1_000, 2_000), (100, 2_000)]


def test_a_rebate_is_no_more_than_what_the_taker_pays() -> None:
    """A maker who was promised more than a taker of a better tier pays gets what that one pays, to the unit."""
    exchange = Exchange(msgspec.structs.replace(BTC_USDT, maker_fee=-1_500))
    exchange.done(SetFeeTier(SYMBOL, 1, 0, 1_000))
    exchange.done(SetFeeTier(SYMBOL, 2, 0, 0))
    exchange.done(SetAccountTier(ALICE, 1))
    exchange.done(SetAccountTier(CAROL, 2))
    exchange.place(sell(BOB, 30, 100_000))
    exchange.place(buy(BOB, 10, 99_000))
    assert fees(exchange.done(ioc(ALICE, BUY, 10, 100_000))) == [(-1_000, 1_000)]
    assert fees(exchange.done(ioc(CAROL, BUY, 10, 100_000))) == [(0, 0)]
    assert fees(exchange.done(sell(CAROL, 10, 99_000))) == [(0, 0)]
    assert exchange.balance(0, "USDT").available == 0
    exchange.done(SetAccountTier(ALICE, 0))
    assert fees(exchange.done(ioc(ALICE, BUY, 10, 100_000))) == [(-1_500, 2_000)]
    assert exchange.balance(0, "USDT").available == 500


def test_a_taker_that_paid_ahead_gives_no_rebate_it_does_not_pay() -> None:
    """A trade whose fee the taker has paid with the one before brings the maker nothing."""
    exchange = Exchange(msgspec.structs.replace(BTC_USDT, taker_fee=500_000, maker_fee=-500_000))
    exchange.done(SetFeeTier(SYMBOL, 1, 0, 300_000))
    exchange.done(SetAccountTier(ALICE, 1))
    for _ in range(3):
        exchange.place(sell(BOB, 1, 2))
    assert fees(exchange.done(ioc(ALICE, BUY, 3, 2))) == [(-1, 1), (-1, 1), (0, 0)]


# Keys


def test_a_revoked_key_acts_no_more_and_its_orders_stay() -> None:
    """Not to place, not to cancel; the account's other keys and the exchange itself still do."""
    exchange = exchange_with_keys()
    exchange.done(key(3, ALICE))
    order, _ = exchange.place(buy(ALICE, 1, 100, key=1))
    exchange.done(RevokeKey(1))
    refused = Rejected(codes.REJECTED_KEY, "REVOKED_KEY", "key", 1)
    assert exchange.refused(buy(ALICE, 1, 100, key=1)) == refused
    assert exchange.refused(msgspec.structs.replace(cancel(ALICE, order.order_id), key=1)) == refused
    assert exchange.refused(buy(BOB, 1, 100, key=1)).reason == "UNKNOWN_KEY"
    assert exchange.open_orders(ALICE) == [order.order_id]
    exchange.place(buy(ALICE, 1, 100, key=3))
    assert reloaded(exchange).refused(buy(ALICE, 1, 100, key=1)) == refused
    exchange.done(msgspec.structs.replace(cancel(ALICE, order.order_id), key=3))


def test_a_revoked_key_without_permission_is_revoked_first() -> None:
    """The rules are asked in order."""
    exchange = Exchange()
    exchange.done(key(1, ALICE, permissions=1))
    assert exchange.refused(buy(ALICE, 1, 100, key=1)).reason == "NO_PERMISSION"
    exchange.done(RevokeKey(1))
    assert exchange.refused(buy(ALICE, 1, 100, key=1)).reason == "REVOKED_KEY"


# Frozen assets


def test_a_frozen_asset_is_not_credited_but_trades() -> None:
    """Until it is thawed; a repeat of what was credited before is still a repeat."""
    exchange = Exchange()
    deposit = CreditDeposit("d", ALICE, "BTC", 5)
    exchange.done(deposit)
    exchange.done(FreezeAsset("BTC", True))
    reloaded(exchange)
    assert exchange.refused(deposit).reason == "DUPLICATE_DEPOSIT"
    again = CreditDeposit("e", ALICE, "BTC", 0)
    assert exchange.refused(again) == Rejected(codes.DEFINITION_REJECTED, "ASSET_FROZEN", "asset")
    assert exchange.refused(msgspec.structs.replace(again, account=9)).reason == "UNKNOWN_ACCOUNT"
    exchange.done(CreditDeposit("e", ALICE, "USDT", 5))
    exchange.place(sell(BOB, 10, 100))
    assert fees(exchange.done(ioc(ALICE, BUY, 10, 100))) == [(1, 2)]
    assert exchange.done(FreezeAsset("BTC", False)) == [AssetFrozen("BTC", False)]
    exchange.done(CreditDeposit("f", ALICE, "BTC", 5))


# Adjustments


def test_an_adjustment_gives_and_the_total_grows() -> None:
    """The event has it all, with the sequence number as receipt."""
    exchange = Exchange()
    events = exchange.done(GIFT)
    assert events == [Adjusted("case-1", ALICE, "BTC", 500, 0, "goodwill", "ann", "bob", exchange.seq)]
    assert exchange.balance(ALICE, "BTC").available == FUNDS["BTC"] + 500
    assert exchange.engine.totals()["BTC"] == 3 * FUNDS["BTC"] + 500


def test_what_is_not_available_is_not_taken_but_owed() -> None:
    """Held money stays with its orders; what is short adds up to a receivable."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 1_000, 1_000))
    held = exchange.balance(ALICE, "USDT").held
    take = msgspec.structs.replace(GIFT, asset="USDT", amount=-(FUNDS["USDT"] - held + 70))
    (event,) = exchange.done(take)
    assert isinstance(event, Adjusted)
    assert (event.amount, event.short) == (held - FUNDS["USDT"], 70)
    assert exchange.balance(ALICE, "USDT") == msgspec.structs.replace(
        exchange.balance(ALICE, "USDT"), available=0, held=held
    )
    assert exchange.engine.totals()["USDT"] == 2 * FUNDS["USDT"] + held
    (event,) = exchange.done(msgspec.structs.replace(take, adjustment_id="case-2", amount=-5))
    assert isinstance(event, Adjusted)
    assert (event.amount, event.short) == (0, 5)
    assert reloaded(exchange).engine.state.adjustments.owed(ALICE, "USDT") == 75
    assert exchange.engine.state.adjustments.owed(BOB, "USDT") == 0


def test_the_same_adjustment_is_made_once() -> None:
    """A repeat gets the receipt, also where less was taken than asked for, and after a restart."""
    exchange = Exchange()
    commands = [GIFT, msgspec.structs.replace(GIFT, adjustment_id="case-2", amount=-(10**15))]
    receipts = []
    for command in commands:
        exchange.done(command)
        receipts.append(exchange.seq)
    for _ in range(2):
        for command, receipt in zip(commands, receipts, strict=True):
            assert exchange.refused(command) == Rejected(
                codes.DEFINITION_REJECTED, "DUPLICATE_ADJUSTMENT", "adjustment_id", ref=receipt
            )
        reloaded(exchange)


@pytest.mark.parametrize(
    "changes",
    [
        {"account": BOB},
        {"asset": "USDT"},
        {"amount": 501},
        {"amount": -500},
        {"reason": ""},
        {"operator": "bob"},
        {"second_operator": "ann"},
        {"account": 10**30, "asset": "\ud800", "amount": 0},
    ],
)
def test_the_same_id_for_another_adjustment_differs(changes: dict[str, int | str]) -> None:
    """It is told apart from a repeat, before anything else is looked at."""
    exchange = Exchange()
    exchange.done(GIFT)
    rejected = exchange.refused(msgspec.structs.replace(GIFT, **changes))
    assert (rejected.reason, rejected.ref) == ("ADJUSTMENT_DIFFERS", exchange.seq - 1)


@pytest.mark.parametrize(
    ("changes", "reason", "field", "value"),
    [
        *(({"adjustment_id": name}, "BAD_NAME", "adjustment_id", 0) for name in ("", "a b", "\ud800", "x" * 201)),
        *(({"account": number}, "UNKNOWN_ACCOUNT", "account", number) for number in (4, *EXTREMES)),
        *(({"asset": name}, "UNKNOWN_ASSET", "asset", 0) for name in ("", "ETH", "\ud800")),
        *(({"amount": n}, "OUT_OF_RANGE", "amount", n) for n in (0, 2**63, -(2**63), 10**30, -(10**30))),
        *(({"reason": text}, "BAD_NAME", "reason", 0) for text in ("", "a\n", "ä", "\x00", "\ud800", "x" * 201)),
        *(({"operator": name}, "BAD_NAME", "operator", 0) for name in ("", "a b", "\ud800", "x" * 65)),
        *(({"second_operator": name}, "BAD_NAME", "second_operator", 0) for name in ("", "a b", "\ud800")),
        ({"second_operator": "ann"}, "SAME_OPERATOR", "second_operator", 0),
        ({"amount": MAX_INT}, "OVERFLOW", "amount", MAX_INT),
    ],
)
def test_an_adjustment_that_cannot_be_says_why(
    changes: dict[str, int | str], reason: str, field: str, value: int
) -> None:
    """Who, what, how much, why, and by which two."""
    rejected = Exchange().refused(msgspec.structs.replace(GIFT, **changes))
    assert rejected.code == codes.DEFINITION_REJECTED
    assert (rejected.reason, rejected.field, rejected.value) == (reason, field, value)


def test_an_adjustment_goes_to_the_last_unit_that_fits() -> None:
    """Of the asset's total upwards, of the account's receivable downwards; the limit says which amount would do."""
    exchange = Exchange()
    room = MAX_INT - exchange.engine.totals()["BTC"]
    assert exchange.refused(msgspec.structs.replace(GIFT, amount=room + 1)).limit == room
    exchange.done(msgspec.structs.replace(GIFT, amount=room))
    exchange.done(msgspec.structs.replace(GIFT, adjustment_id="a", account=BOB, amount=-(FUNDS["BTC"] + 9)))
    exchange.done(msgspec.structs.replace(GIFT, adjustment_id="b", account=BOB, amount=4))
    most = 4 + MAX_INT - 9
    assert exchange.refused(msgspec.structs.replace(GIFT, adjustment_id="c", account=BOB, amount=-MAX_INT)) == Rejected(
        codes.DEFINITION_REJECTED, "OVERFLOW", "amount", -MAX_INT, -most
    )
    exchange.done(msgspec.structs.replace(GIFT, adjustment_id="c", account=BOB, amount=-most))
    assert exchange.engine.state.adjustments.owed(BOB, "BTC") == MAX_INT
    reloaded(exchange)


# The engine's version


def test_the_newest_version_is_the_one_that_logs_are_written_with() -> None:
    """An engine begins at none and can be set to its newest version."""
    exchange = Exchange()
    assert exchange.engine.state.engine_version == 0
    exchange.done(SetEngineVersion(ENGINE_VERSION))
    assert reloaded(exchange).engine.state.engine_version == ENGINE_VERSION
    assert exchange.refused(SetEngineVersion(ENGINE_VERSION + 1)).limit == ENGINE_VERSION

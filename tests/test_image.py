"""Dumps: exact inverses, canonical, and nothing but a dump is taken for one."""

from random import Random

import msgspec
import pytest

from book.commands import (
    AdjustBalance,
    ArmSession,
    CancelAllAfter,
    ClearMarket,
    Command,
    FreezeAccount,
    FreezeAsset,
    LoseAllSessions,
    RevokeKey,
    SetAccountTier,
    SetEngineVersion,
    SetFeeTier,
    Tick,
)
from book.engine import Engine
from book.history import MINUTE_NS
from book.image import VERSION, EngineImage, MarketImage, decode
from book.terms import BUY, GTD, MAX_INT, SELL, STOP_LOSS, TRADING
from tests.counts import count
from tests.exchange import (
    ALICE,
    BOB,
    CAROL,
    START_NS,
    SYMBOL,
    Exchange,
    amend,
    buy,
    cancel,
    cancel_all,
    closed,
    ioc,
    key,
    market,
    sell,
    state,
)
from tests.halted import halted

# Where the dump keeps its orders.
MARKETS = EngineImage.__struct_fields__.index("markets")
ORDERS = slice(MarketImage.__struct_fields__.index("bids"), MarketImage.__struct_fields__.index("triggered") + 1)


def busy() -> Exchange:
    """Accounts, keys, settings, open and finished orders, trades, and a digest that has hashed blocks."""
    exchange = Exchange()
    for command in (
        *(key(1, ALICE), key(2, ALICE), RevokeKey(2), SetEngineVersion(1), FreezeAsset("BTC", True)),
        *(SetFeeTier(SYMBOL, 2, -5, 7), SetFeeTier(SYMBOL, 1, 5, 9), SetAccountTier(ALICE, 1), FreezeAccount(0, True)),
        *(ArmSession(BOB, 0, 7), CancelAllAfter(CAROL, 0, 0, 1_000_000)),
        AdjustBalance("case-1", CAROL, "BTC", 500, "goodwill", "ann", "bob"),
        AdjustBalance("case-2", 0, "BTC", -500, "nothing to take", "ann", "bob"),
        buy(CAROL, 9, 100, display_quantity=2),
        buy(CAROL, 9, 101, time_in_force=GTD, expire_time=START_NS // 10**6 + 10**6),
        market(CAROL, SELL, 1, type=STOP_LOSS, stop_price=50),
    ):
        exchange.done(command)
    for number in range(60):
        exchange.place(buy(ALICE, 3 + number % 5, 900 + number % 7, client_order_id=f"a-{number}"))
        exchange.place(sell(BOB, 3 + number % 5, 1_000 + number % 7))
    for order_id in (10, 12, 24):
        exchange.done(cancel(ALICE, order_id))
    exchange.place(buy(CAROL, 50, 1_003))
    exchange.done(buy(CAROL, 20, 1_003), later_ns=7 * MINUTE_NS)
    return exchange


def test_an_empty_engine_is_dumped_and_loaded() -> None:
    """Nothing is a state too."""
    assert Engine.load(Engine().dump()).dump() == Engine().dump()


def test_load_is_the_inverse_of_dump() -> None:
    """The loaded engine has the same bytes, hash, digest, totals and position."""
    engine = busy().engine
    loaded = Engine.load(engine.dump())
    assert loaded.dump() == engine.dump()
    assert loaded.state_hash() == engine.state_hash()
    assert len(engine.state_hash()) == 32
    assert loaded.digest.value() == engine.digest.value()
    assert loaded.totals() == engine.totals()
    assert (loaded.last_seq, loaded.last_time_ns) == (engine.last_seq, engine.last_time_ns)


def test_a_restore_does_not_reorder_anything() -> None:
    """Cancel-all goes by order of entry, a queue by order of arrival, though the dump is sorted by price."""
    exchange = Exchange()
    for price in (100, 102, 100, 101, 102):
        exchange.place(buy(ALICE, 1, price))
    exchange.place(buy(BOB, 1, 102))
    copied = Exchange()
    copied.seq, copied.time_ns, copied.engine = exchange.seq, exchange.time_ns, Engine.load(exchange.engine.dump())
    sweeps = [each.done(sell(CAROL, 3, 102)) for each in (exchange, copied)]
    assert sweeps[0] == sweeps[1]
    rests = [closed(each.done(cancel_all(ALICE))) for each in (exchange, copied)]
    assert rests[0] == rests[1]
    assert [order_id for order_id, _ in rests[1]] == [1, 3, 4]


def test_settings_are_dumped_in_one_order() -> None:
    """Which tier was set first does not matter; which key was revoked first is part of the state."""
    exchange, other = Exchange(), Exchange()
    for each in (exchange, other):
        each.done(key(1, ALICE))
        each.done(key(2, ALICE))
    tiers = [SetFeeTier(SYMBOL, 2, 1, 1), SetFeeTier(SYMBOL, 1, 2, 2)]
    for command, another in zip(tiers, reversed(tiers), strict=True):
        exchange.done(command)
        other.done(another)
    for first, second in ((1, 2), (2, 1)):
        exchange.done(RevokeKey(first))
        other.done(RevokeKey(second))
    images = [decode(each.engine.dump()) for each in (exchange, other)]
    assert images[0].markets == images[1].markets
    assert [image.revoked_keys for image in images] == [[1, 2], [2, 1]]


def test_the_same_state_has_the_same_dump_whichever_way_it_came_about() -> None:
    """What only caches, such as an empty price level or a trader without orders, does not show."""
    exchange, other = Exchange(), Exchange()
    exchange.refused(buy(CAROL, 10**6, 10**9))
    exchange.engine.state.markets["BTC-USDT"].trader(exchange.engine.state.accounts[2])
    exchange.engine.state.ledger.balance(0, "BTC")
    other.seq, other.time_ns = exchange.seq, exchange.time_ns
    for each in (exchange, other):
        each.place(buy(ALICE, 10, 100))
    assert exchange.engine.dump() == other.engine.dump()


def test_the_dump_is_of_plain_data() -> None:
    """Arrays, integers, strings, bytes and booleans, and the version in front."""

    def kinds(thing: object) -> set[type]:
        if isinstance(thing, list):
            return set().union(*map(kinds, thing))
        return {type(thing)}

    plain = msgspec.msgpack.decode(busy().engine.dump())
    assert plain[0] == VERSION
    assert kinds(plain) == {int, str, bytes, bool}


def test_another_version_is_refused_by_name() -> None:
    """A newer dump is not guessed at."""
    plain = msgspec.msgpack.decode(Engine().dump())
    plain[0] = VERSION + 1
    with pytest.raises(ValueError, match=f"version {VERSION + 1}"):
        Engine.load(msgspec.msgpack.encode(plain))


@pytest.mark.parametrize(
    "data", [b"", b"\xc0", b"\x90", b"{}", b"\x00" * 100, bytes(range(256)), b"\xdd\xff\xff\xff\xff"]
)
def test_rubbish_is_refused(data: bytes) -> None:
    """With a ValueError, whatever it is."""
    with pytest.raises(ValueError, match="not an engine"):
        Engine.load(data)


def test_half_a_dump_or_one_with_something_behind_it_is_refused() -> None:
    """Every prefix, and every extension."""
    data = Exchange().engine.dump()
    for end in range(len(data)):
        with pytest.raises(ValueError, match="not an engine"):
            Engine.load(data[:end])
    with pytest.raises(ValueError, match="not an engine"):
        Engine.load(data + b"\x00")


def test_a_changed_byte_is_refused_or_is_another_valid_state() -> None:
    """What is loaded is exactly what the bytes say, and passes the audit; or nothing is loaded."""
    data = busy().engine.dump()
    random = Random(3)
    loaded = refused = 0
    for _ in range(count(700, 20_000)):
        changed = bytearray(data)
        for _ in range(random.choice((1, 1, 2, 5))):
            changed[random.randrange(len(changed))] = random.randrange(256)
        try:
            engine = Engine.load(bytes(changed))
        except ValueError:
            refused += 1
        else:
            loaded += 1
            engine.check()
            assert engine.dump() == changed
    assert refused > loaded > 0


def test_changed_numbers_are_refused_or_are_another_valid_state() -> None:
    """The same with whole fields replaced: zero, negative, huge, of another type, another's."""
    plain = msgspec.msgpack.decode(busy().engine.dump())
    random = Random(4)
    values = [0, 1, -1, 2, 3, 2**31, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), "", "BTC", b"", True, None, [], 1.5]
    refused = 0
    for _ in range(count(700, 20_000)):
        copied = msgspec.msgpack.decode(msgspec.msgpack.encode(plain))
        place = copied
        index = random.randrange(len(place))
        while isinstance(place[index], list) and place[index] and random.random() < 0.95:
            place = place[index]
            index = random.randrange(len(place))
        place[index] = random.choice(values)
        data = msgspec.msgpack.encode(copied)
        try:
            engine = Engine.load(data)
        except ValueError:
            refused += 1
        else:
            engine.check()
            assert engine.dump() == data
    assert refused > count(700, 20_000) // 2


def test_changed_orders_are_refused_or_go_on() -> None:
    """An order that rests, waits or is triggered with other numbers: what is loaded takes whatever comes then."""
    data = halted().engine.dump()
    random = Random(5)
    values = [0, 1, 2, 3, 4, 5, 6, 7, 90, 1_000, 2**31, MAX_INT, 2**63, -1, "", "BTC", True, False]
    loaded = refused = 0
    for _ in range(count(1_000, 50_000)):
        plain = msgspec.msgpack.decode(data)
        sides = [orders for orders in plain[MARKETS][0][ORDERS] if orders]
        order = random.choice(random.choice(sides))
        field = random.randrange(len(order))
        nearby = [order[field] - 1, order[field] + 1] if type(order[field]) is int else []
        order[field] = random.choice([*values, *nearby, *nearby])
        try:
            engine = Engine.load(msgspec.msgpack.encode(plain))
        except ValueError:
            refused += 1
        else:
            loaded += 1
            _go_on(engine)
    assert refused > loaded > 10


def _go_on(engine: Engine) -> None:
    """Trade, amend, let time pass and clear the market."""
    time_ns = engine.last_time_ns
    commands: list[Command] = [Tick(), state(TRADING)]
    for side, price in ((BUY, 1_100), (SELL, 950), (SELL, 900), (BUY, 1_050), (SELL, 800), (BUY, 1_300)):
        commands += [ioc(CAROL, side, 200, price), state(TRADING)]
    for order in list(engine.state.orders.values()):
        for quantity in (order.quantity + 1, max(1, order.quantity - 1)):
            commands.append(amend(order.trader.account.number, order.order_id, quantity))
    commands += [Tick(), LoseAllSessions(), ClearMarket(SYMBOL)]
    for step, command in enumerate(commands, start=1):
        time_ns += 10**12 if isinstance(command, Tick) else 0
        engine.apply(command, engine.last_seq + step, time_ns)
        engine.check()
    assert engine.state.orders == {}

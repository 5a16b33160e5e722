"""Definitions: what may be defined, once, and what is said about anything else."""

import msgspec
import pytest

from book import codes
from book.commands import DefineAccount, DefineAsset, DefineKey, DefineMarket, Definition
from book.definitions import Account, Asset, Key, Market
from book.engine import Engine
from book.events import AccountDefined, AssetDefined, Event, KeyDefined, MarketDefined, Rejected
from book.queries import Directory, DirectoryView, Logon, MarketStatus
from book.registry import MAX_OPEN_ORDERS, Registry
from book.terms import MAX_INT, NONE, PPM, TRADING
from tests.exchange import ALICE, BTC, BTC_USDT, PUBLIC_KEY, USDT, Exchange

KEY = Key(1, "alice", ALICE, 7, PUBLIC_KEY)
EXTREMES = [-(10**30), -(2**63), -1, 2**63, 10**30]


def refusal(definition: Definition, **expected: int | str) -> None:
    """The definition is refused in an exchange that has the usual assets, market and accounts."""
    rejected = Exchange().refused(definition)
    assert rejected.code == codes.DEFINITION_REJECTED
    assert expected.items() <= msgspec.structs.asdict(rejected).items(), rejected


def market(**changes: int | str) -> DefineMarket:
    """Another market like the usual one, but for these fields."""
    return DefineMarket(msgspec.structs.replace(BTC_USDT, **{"symbol": "X", **changes}))


def test_everything_is_listed_in_the_order_it_was_defined() -> None:
    """The directory begins with the house, and a market says its state and its open orders."""
    exchange = Exchange()
    assert exchange.done(DefineKey(KEY)) == [KeyDefined(KEY)]
    eth = Asset("ETH", 9)
    assert exchange.done(DefineAsset(eth)) == [AssetDefined(eth)]
    view = exchange.engine.query(Directory())
    assert view == DirectoryView(
        [BTC, USDT, eth],
        [MarketStatus(BTC_USDT, TRADING, 0)],
        [Account(0, "house"), *(Account(number, f"account-{number}") for number in (1, 2, 3))],
        [KEY],
    )
    assert exchange.engine.query(Logon("alice")) == KEY


@pytest.mark.parametrize(
    ("same", "other", "field", "value", "limit"),
    [
        (DefineAsset(BTC), DefineAsset(Asset("BTC", 7)), "scale", 7, 8),
        (DefineMarket(BTC_USDT), DefineMarket(msgspec.structs.replace(BTC_USDT, lot=7)), "lot", 7, 10_000),
        (DefineMarket(BTC_USDT), DefineMarket(msgspec.structs.replace(BTC_USDT, base="ETH")), "base", 0, 0),
        (DefineAccount(Account(1, "account-1")), DefineAccount(Account(1, "alice")), "name", 0, 0),
        (DefineAccount(Account(0, "house")), DefineAccount(Account(0, "alice")), "name", 0, 0),
        (DefineKey(KEY), DefineKey(msgspec.structs.replace(KEY, account=2)), "account", 2, 1),
    ],
)
def test_the_same_again_is_already_defined_and_another_differs(
    same: Definition, other: Definition, field: str, value: int, limit: int
) -> None:
    """Word for word the same is told apart from another, and that says which field it is and what stands."""
    exchange = Exchange()
    exchange.done(DefineKey(KEY))
    assert exchange.refused(same) == Rejected(codes.DEFINITION_REJECTED, "ALREADY_DEFINED")
    assert exchange.refused(other) == Rejected(codes.DEFINITION_REJECTED, "DEFINITION_DIFFERS", field, value, limit)


@pytest.mark.parametrize("name", ["", "btc", "BTC ", "B-C", "X" * 17, "Ö", "\x00", "\ud800", "A\n"])
def test_assets_have_short_plain_names(name: str) -> None:
    """Capital letters and digits, 16 at most."""
    refusal(DefineAsset(Asset(name, 8)), reason="BAD_NAME", field="name")


@pytest.mark.parametrize("scale", [*EXTREMES, 10])
def test_assets_have_at_most_nine_decimals(scale: int) -> None:
    """What is outside says its value and the bound it broke."""
    refusal(
        DefineAsset(Asset("ETH", scale)), reason="OUT_OF_RANGE", field="scale", value=scale, limit=0 if scale < 0 else 9
    )


def test_bounds_themselves_are_taken() -> None:
    """The least and the most that is allowed of everything is allowed."""
    exchange = Exchange()
    exchange.done(DefineAsset(Asset("A" * 16, 0)))
    exchange.done(DefineAsset(Asset("Z", 9)))
    exchange.done(
        market(symbol="A" * 33, base="Z", quote="A" * 16, tick=10**9, tick_scale=0, lot=1, max_quantity=MAX_INT)
    )
    exchange.done(
        market(symbol="B", max_open_orders=MAX_OPEN_ORDERS, min_notional=MAX_INT, collar=PPM, self_trade=NONE)
    )
    exchange.done(market(symbol="C", tick=10**18, tick_scale=18, taker_fee=PPM, maker_fee=PPM))
    exchange.done(market(symbol="E", reference_price=MAX_INT, band=PPM, halt_ms=604_800_000))
    exchange.done(market(symbol="D", taker_fee=500, maker_fee=-500, min_notional=0, collar=0, max_open_orders=1))
    exchange.done(DefineAccount(Account(MAX_INT, "a" * 64)))
    exchange.done(DefineKey(Key(MAX_INT, "b" * 64, MAX_INT, 1, PUBLIC_KEY)))
    assert Engine.load(exchange.engine.dump()).dump() == exchange.engine.dump()


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("tick", [0, *EXTREMES]),
        ("tick_scale", [19, *EXTREMES]),
        ("lot", [0, *EXTREMES]),
        ("min_quantity", [0, BTC_USDT.max_quantity + 1, *EXTREMES]),
        ("max_quantity", [0, MAX_INT // BTC_USDT.lot + 1, *EXTREMES]),
        ("min_notional", EXTREMES),
        ("max_open_orders", [0, MAX_OPEN_ORDERS + 1, *EXTREMES]),
        ("maker_fee", [-2_001, PPM + 1, -(10**30), -(2**63), 2**63, 10**30]),
        ("taker_fee", [PPM + 1, *EXTREMES]),
        ("collar", [PPM + 1, *EXTREMES]),
        ("reference_price", [MAX_INT + 1, *EXTREMES]),
        ("band", [PPM + 1, *EXTREMES]),
        ("halt_ms", [604_800_001, *EXTREMES]),
        ("self_trade", [0, 6, *EXTREMES]),
    ],
)
def test_every_number_of_a_market_has_its_bounds(field: str, values: list[int]) -> None:
    """What is outside is named with its value."""
    for value in values:
        refusal(market(**{field: value}), reason="OUT_OF_RANGE", field=field, value=value)


@pytest.mark.parametrize("symbol", ["", "btc-usdt", "A/B", "A" * 34, "\ud800", "A\n", "\u0661"])
def test_markets_have_short_plain_symbols(symbol: str) -> None:
    """Capital letters, digits and dashes, 33 at most."""
    refusal(market(symbol=symbol), reason="BAD_NAME", field="symbol")


def test_a_market_is_between_two_known_assets() -> None:
    """Unknown assets and an asset against itself are refused."""
    refusal(market(base="ETH"), reason="UNKNOWN_ASSET", field="base")
    refusal(market(quote="\ud800"), reason="UNKNOWN_ASSET", field="quote")
    refusal(market(quote="BTC"), reason="SAME_ASSET", field="quote")


def test_a_lot_at_a_tick_must_cost_whole_units() -> None:
    """Neither a fraction of a unit nor more than fits 64 bits."""
    refusal(market(lot=9_999), reason="TICK_VALUE_NOT_WHOLE", field="tick", value=1)
    refusal(market(lot=1, tick_scale=18), reason="TICK_VALUE_NOT_WHOLE", field="tick", value=1)
    refusal(market(tick=10**18, lot=10**7, max_quantity=10), reason="OUT_OF_RANGE", field="tick", value=10**21)


@pytest.mark.parametrize("account", [*EXTREMES])
def test_account_numbers_are_within_64_bits(account: int) -> None:
    """Negative and larger ones are refused."""
    refusal(DefineAccount(Account(account, "new")), reason="OUT_OF_RANGE", field="account", value=account)


@pytest.mark.parametrize("name", ["", " ", "a b", "a" * 65, "ö", "\ud800", "a\n"])
def test_accounts_and_keys_have_plain_names(name: str) -> None:
    """Letters, digits and a few marks, 64 at most."""
    refusal(DefineAccount(Account(9, name)), reason="BAD_NAME", field="name")
    refusal(DefineKey(Key(9, name, 1, 7, PUBLIC_KEY)), reason="BAD_NAME", field="name")


def test_no_two_accounts_or_keys_have_the_same_name() -> None:
    """A name is taken for good, the house's too."""
    refusal(DefineAccount(Account(9, "account-1")), reason="NAME_TAKEN", field="name")
    refusal(DefineAccount(Account(9, "house")), reason="NAME_TAKEN", field="name")
    exchange = Exchange()
    exchange.done(DefineKey(KEY))
    assert exchange.refused(DefineKey(Key(2, "alice", 2, 7, PUBLIC_KEY))).reason == "NAME_TAKEN"


@pytest.mark.parametrize("number", [0, *EXTREMES])
def test_every_number_of_a_key_has_its_bounds(number: int) -> None:
    """Key 0 means none, permissions are three bits of which one is set, and the account is known."""
    refusal(DefineKey(Key(number, "new", 1, 7, PUBLIC_KEY)), reason="OUT_OF_RANGE", field="key", value=number)
    refusal(DefineKey(Key(9, "new", 1, number, PUBLIC_KEY)), reason="OUT_OF_RANGE", field="permissions", value=number)
    refusal(DefineKey(Key(9, "new", 1, 8, PUBLIC_KEY)), reason="OUT_OF_RANGE", field="permissions", value=8, limit=7)
    if number:
        refusal(
            DefineKey(Key(9, "new", number, 7, PUBLIC_KEY)), reason="UNKNOWN_ACCOUNT", field="account", value=number
        )


@pytest.mark.parametrize(
    "public_key", ["", "0f" * 31, "0f" * 33, "0F" * 32, "0g" * 32, "0f" * 32 + "\n", "\ud800" * 64]
)
def test_public_keys_are_64_lower_case_hex_digits(public_key: str) -> None:
    """One way to write a key, or two records could mean the same one."""
    refusal(DefineKey(Key(9, "new", 1, 7, public_key)), reason="BAD_NAME", field="public_key")


IPV6 = "2001:0db8:0000:0000:0000:0000:0000:0000/32"


@pytest.mark.parametrize(
    "networks", ["", "0.0.0.0/0", "192.0.2.7/32", IPV6, f"10.0.0.0/8,{IPV6}", ",".join(["10.128.0.0/9"] * 32)]
)
def test_a_key_may_be_bound_to_networks(networks: str) -> None:
    """Of either kind, up to 32 of them; the key that logs on has them."""
    exchange, key = Exchange(), Key(9, "new", 1, 7, PUBLIC_KEY, networks)
    exchange.done(DefineKey(key))
    assert exchange.engine.query(Logon("new")) == key
    exchange.restart()
    assert exchange.engine.query(Logon("new")) == key


@pytest.mark.parametrize(
    "networks",
    [
        *(",", "10.0.0.0/8,", " 10.0.0.0/8", "10.0.0.0/8\n", "10.0.0.0", "10.0.0/8", "10.0.0.0/33", "10.0.0.0/-1"),
        *("10.0.0.1/8", "010.0.0.0/8", "256.0.0.0/8", "10.0.0.0/08", "1\u0661.0.0.0/8", "10.0.0.0.0/8", "\ud800"),
        *("2001:db8::/32", IPV6.upper(), IPV6.replace("/32", "/28"), IPV6.replace("/32", "/129"), "2001:0db8/32"),
    ],
)
def test_networks_are_written_in_one_way(networks: str) -> None:
    """No bit behind the prefix, no shorter or longer form: two records that differ mean something different."""
    refusal(DefineKey(Key(9, "new", 1, 7, PUBLIC_KEY, networks)), reason="BAD_NAME", field="networks")


def test_a_key_has_32_networks_at_most() -> None:
    """How many were asked for is said."""
    many = ",".join(["10.0.0.0/8"] * 40)
    refusal(DefineKey(Key(9, "new", 1, 7, PUBLIC_KEY, many)), reason="TOO_MANY", field="networks", value=40, limit=32)


@pytest.mark.parametrize("name", ["", "nobody", "\ud800", "a" * 100_000])
def test_an_unknown_key_cannot_log_on(name: str) -> None:
    """The answer is the rejected key, whatever was asked for."""
    answer = Exchange().engine.query(Logon(name))
    assert answer == Rejected(codes.REJECTED_KEY, "UNKNOWN_KEY", "key_name")


def test_there_is_a_most_of_each_kind() -> None:
    """A registry that is full of one kind says so, and still takes the others."""
    registry = Registry(capacity=2)
    assets = [registry.define_asset(Asset(name, 8)) for name in ("BTC", "USDT", "ETH")]
    rows = [
        Market(f"{base}-{quote}", base, quote, 10**8, 0, 10**8, 1, 9, 1, 1, 0, 0, 0, 1)
        for base, quote in (("BTC", "USDT"), ("USDT", "BTC"))
    ]
    markets = [registry.define_market(row) for row in (*rows, msgspec.structs.replace(rows[0], symbol="X"))]
    accounts = [None, *(registry.define_account(Account(number, f"a{number}")) for number in (1, 2))]
    keys = [registry.define_key(Key(number, f"k{number}", 1, 1, PUBLIC_KEY)) for number in (1, 2, 3)]
    for first, second, third in (assets, markets, accounts, keys):
        assert first is second is None
        assert third is not None
        assert (third.reason, third.value, third.limit) == ("TOO_MANY", 2, 2)


def test_definitions_are_events() -> None:
    """What takes effect is told, with what was defined."""
    engine = Engine()
    account = Account(1, "alice")
    definitions: list[tuple[Definition, Event]] = [
        (DefineAsset(BTC), AssetDefined(BTC)),
        (DefineAsset(USDT), AssetDefined(USDT)),
        (DefineMarket(BTC_USDT), MarketDefined(BTC_USDT)),
        (DefineAccount(account), AccountDefined(account)),
        (DefineKey(KEY), KeyDefined(KEY)),
    ]
    for seq, (definition, event) in enumerate(definitions):
        assert engine.apply(definition, seq + 1, 0) == [event]

"""Definitions in people's words, as the configuration and the operators write them."""

import pytest
from attrs import evolve

from actors.listings import (
    AccountWords,
    AssetWords,
    KeyWords,
    MarketWords,
    WordsError,
    key_of,
    market_of,
    rate,
    spoken,
    units,
    whole,
)
from book.definitions import Key, Market
from book.terms import DECREMENT, EXPIRE_TAKER, READ, TRADE

SCALES = {"BTC": 8, "USDT": 6}
REQUIRED = {
    "symbol": "BTC-USDT",
    "tick": "0.05",
    "lot": "0.0001",
    "min_quantity": "0.0002",
    "max_quantity": "100",
    "min_notional": "5",
    "maker_fee": "-0.0001",
    "taker_fee": "0.002",
}
OPTIONAL = {
    "max_open_orders": "7",
    "collar": "0.2",
    "self_trade": "DECREMENT",
    "reference_price": "50000.05",
    "band": "0.5",
    "halt_ms": "60000",
}


def test_a_market_in_words() -> None:
    """Ticks, lots, smallest units and parts per million come out, and defaults for what is not said."""
    market = market_of(spoken(MarketWords, REQUIRED), SCALES)
    assert market == Market(
        symbol="BTC-USDT",
        base="BTC",
        quote="USDT",
        tick=5,
        tick_scale=2,
        lot=10_000,
        min_quantity=2,
        max_quantity=1_000_000,
        min_notional=5_000_000,
        max_open_orders=200,
        maker_fee=-100,
        taker_fee=2_000,
        collar=100_000,
        self_trade=EXPIRE_TAKER,
    )
    market = market_of(spoken(MarketWords, {**REQUIRED, **OPTIONAL}), SCALES)
    assert (market.max_open_orders, market.collar, market.self_trade) == (7, 200_000, DECREMENT)
    assert (market.reference_price, market.band, market.halt_ms) == (1_000_001, 500_000, 60_000)


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("symbol", "BTCUSDT", "symbol: expected two assets with a dash between, such as BTC-USDT, not 'BTCUSDT'"),
        ("symbol", "BTC-EUR", "known are BTC, USDT"),
        ("tick", "half", "tick: expected a decimal such as '0.01', not 'half'"),
        ("tick", "1" * 41, "tick: expected a decimal"),
        ("lot", "0.000000001", "lot: '0.000000001' has more than 8 decimals"),
        ("min_quantity", "0.00015", "min_quantity: '0.00015' is no whole number of lots"),
        ("reference_price", "0.07", "reference_price: '0.07' is no whole number of ticks"),
        ("reference_price", "0.001", "reference_price: '0.001' has more than 2 decimals"),
        ("maker_fee", "--1", "maker_fee: expected a decimal"),
        ("taker_fee", "-0.1", "taker_fee: expected a decimal"),
        ("band", "0.0000001", "band: '0.0000001' has more than 6 decimals"),
        ("self_trade", "MAYBE", "self_trade: 'MAYBE' is none of NONE, EXPIRE_TAKER"),
        ("halt_ms", "1.5", "halt_ms: expected a whole number, not '1.5'"),
        ("max_open_orders", "9" * 20, "max_open_orders: expected a whole number"),
    ],
)
def test_words_that_are_not_understood(key: str, text: str, words: str) -> None:
    """The key, what is expected, and what came instead."""
    with pytest.raises(WordsError) as caught:
        market_of(spoken(MarketWords, {**REQUIRED, key: text}), SCALES)
    assert words in str(caught.value)


def test_a_taker_pays() -> None:
    """Only a maker's fee may be a rebate."""
    assert market_of(spoken(MarketWords, {**REQUIRED, "maker_fee": "0"}), SCALES).maker_fee == 0
    with pytest.raises(WordsError, match="taker_fee"):
        market_of(spoken(MarketWords, {**REQUIRED, "taker_fee": "-0.002"}), SCALES)


def test_what_is_missing_is_named() -> None:
    """The first key that has no default and no text."""
    with pytest.raises(WordsError, match="scale: it is missing"):
        spoken(AssetWords, {"name": "BTC"})


def test_what_is_out_of_range_is_named() -> None:
    """Decimals have an upper end that the class itself knows."""
    with pytest.raises(WordsError, match="scale"):
        spoken(AssetWords, {"name": "BTC", "scale": "10"})


def test_a_key_in_words() -> None:
    """Permissions with commas, the account by name."""
    words = spoken(
        KeyWords, {"id": "3", "name": "k", "account": "carol", "permissions": "read,trade", "public_key": "ab" * 32}
    )
    assert key_of(words, {"carol": 9}) == Key(3, "k", 9, READ | TRADE, "ab" * 32)
    bound = spoken(
        KeyWords,
        {
            "id": "3",
            "name": "k",
            "account": "carol",
            "permissions": "read",
            "public_key": "ab" * 32,
            "networks": "192.0.2.7,10.0.0.0/8,2001:db8::1",
        },
    )
    assert key_of(bound, {"carol": 9}).networks == "192.0.2.7/32,10.0.0.0/8,2001:0db8:0000:0000:0000:0000:0000:0001/128"
    for wrong in ("10.0.0.1/8", "here", "", "::ffff:10.0.0.0/104", "fe80::1%eth0"):
        with pytest.raises(WordsError, match="networks: expected an address such as"):
            key_of(evolve(bound, networks=(wrong,)), {"carol": 9})
    with pytest.raises(WordsError, match="account: there is no account 'carol'"):
        key_of(words, {})
    with pytest.raises(WordsError, match="permissions: 'fly' is none of read, trade, withdraw"):
        key_of(KeyWords(id=1, name="k", account="a", permissions=("fly",), public_key=""), {"a": 1})


def test_numbers() -> None:
    """Digits alone for whole numbers; a minus only where there may be a rebate."""
    assert spoken(AccountWords, {"id": "0009", "name": "x"}) == AccountWords(id=9, name="x")
    assert (units("1.50", 2, "x"), rate("-0.5", "x"), whole("9" * 19, "x")) == (150, -500_000, 10**19 - 1)
    for text in ("", "-1", "1_0", "\u0661", " 1", "1e3"):
        with pytest.raises(WordsError, match="x: expected a whole number"):
            whole(text, "x")

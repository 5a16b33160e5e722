"""The price and quantity grid of a market."""

import pytest

from book.decimals import NotADecimal, TooPrecise
from book.definitions import Asset, Market
from book.market import Grid, OffGrid

BTC = Asset("BTC", 8)
ETH = Asset("ETH", 9)
USDT = Asset("USDT", 6)


def grid(tick: int, tick_scale: int, lot: int, base: Asset = BTC, quote: Asset = USDT) -> Grid:
    """A market with this grid; filters and fees do not matter here."""
    return Grid(
        Market(
            symbol=f"{base.name}-{quote.name}",
            base=base.name,
            quote=quote.name,
            tick=tick,
            tick_scale=tick_scale,
            lot=lot,
            min_quantity=1,
            max_quantity=10**8,
            min_notional=5_000_000,
            max_open_orders=10,
            maker_fee=0,
            taker_fee=0,
            collar=0,
            self_trade=1,
        ),
        base,
        quote,
    )


def test_converts_the_demo_market_both_ways() -> None:
    """Ticks of a cent and lots of a ten-thousandth convert exactly, and one lot at one tick costs one unit."""
    btc_usdt = grid(1, 2, 10_000)
    assert btc_usdt.parse_price("50000.01") == 5_000_001
    assert btc_usdt.format_price(5_000_001) == "50000.01"
    assert btc_usdt.parse_quantity("1.5") == 15_000
    assert btc_usdt.format_quantity(15_000) == "1.5000"
    assert btc_usdt.parse_amount("5") == 5_000_000
    assert btc_usdt.format_amount(5_000_001) == "5.000001"
    assert (btc_usdt.tick_text, btc_usdt.lot_text, btc_usdt.min_notional_text) == ("0.01", "0.0001", "5.000000")
    assert btc_usdt.tick_value == 1


def test_a_step_need_not_be_a_power_of_ten() -> None:
    """Ticks of a quarter take 0.25 and 0.5 and refuse 0.3 as off the grid."""
    quarters = grid(25, 2, 10_000)
    assert quarters.parse_price("0.75") == 3
    assert quarters.parse_price("0.5") == 2
    assert quarters.format_price(3) == "0.75"
    assert quarters.tick_value == 25
    with pytest.raises(OffGrid):
        quarters.parse_price("0.3")


def test_a_step_may_be_larger_than_one() -> None:
    """Ticks of 50 and lots of 10 are written without decimals."""
    coarse = grid(50, 0, 10 * 10**8)
    assert coarse.parse_price("150") == 3
    assert coarse.format_price(3) == "150"
    assert coarse.parse_quantity("20.000") == 2
    assert coarse.format_quantity(2) == "20"
    with pytest.raises(OffGrid):
        coarse.parse_price("149")


def test_the_same_tick_defined_with_more_decimals_is_written_the_same() -> None:
    """A tick of 10/1000 is a tick of 1/100."""
    assert grid(10, 3, 10_000).format_price(5) == grid(1, 2, 10_000).format_price(5) == "0.05"


def test_more_decimals_than_the_asset_has_are_too_precise_and_fewer_are_off_the_grid() -> None:
    """The asset's decimals say what is too precise, the step says what is off the grid."""
    btc_usdt = grid(1, 2, 10_000)
    with pytest.raises(OffGrid):
        btc_usdt.parse_price("50000.001")
    with pytest.raises(TooPrecise):
        btc_usdt.parse_price("50000.0000001")
    with pytest.raises(OffGrid):
        btc_usdt.parse_quantity("0.00001")
    with pytest.raises(TooPrecise):
        btc_usdt.parse_quantity("0.000000001")
    with pytest.raises(TooPrecise):
        btc_usdt.parse_amount("0.0000001")


def test_a_tick_finer_than_the_quote_asset_is_allowed() -> None:
    """Prices may have more decimals than the quote asset, as long as a lot costs whole units."""
    fine = grid(1, 9, 10**9, base=Asset("SHIB", 0))
    assert fine.tick_value == 10**6
    assert fine.parse_price("0.000000007") == 7
    assert fine.format_price(7) == "0.000000007"


def test_a_market_whose_lot_costs_a_fraction_of_a_unit_has_no_tick_value() -> None:
    """Tick times lot must be whole quote units, or the grid is no grid."""
    assert grid(1, 2, 1).tick_value == 0


@pytest.mark.parametrize("text", ["", "1e3", "-1", "1.", "9" * 41])
def test_text_that_is_no_number_is_refused_everywhere(text: str) -> None:
    """All three parsers pass the decimal parser's refusal on."""
    btc_usdt = grid(1, 2, 10_000)
    for parse in (btc_usdt.parse_price, btc_usdt.parse_quantity, btc_usdt.parse_amount):
        with pytest.raises(NotADecimal):
            parse(text)


def test_numbers_of_any_size_are_parsed() -> None:
    """Being too large is the engine's to refuse, so the grid passes forty digits through."""
    assert grid(1, 2, 10_000).parse_price("9" * 40) == (10**40 - 1) * 100

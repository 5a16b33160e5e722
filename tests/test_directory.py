"""The directory of what is defined, and its memory for conversions."""

import pytest

from actors.directory import REMEMBERED, Directory
from book.decimals import NotADecimal
from book.definitions import Asset
from book.queries import DirectoryView, MarketStatus
from book.terms import TRADING
from tests.clients import MARKET

ASSETS = [Asset("BTC", 8), Asset("USDT", 6)]


def test_a_refill_replaces_everything_under_the_eyes_of_its_users() -> None:
    """Who holds on to the dicts sees what is new and no longer what is gone."""
    directory = Directory()
    assets, venues = directory.assets, directory.venues
    directory.fill(DirectoryView(ASSETS, [MarketStatus(MARKET, TRADING, 0)], [], []))
    assert list(assets) == ["BTC", "USDT"]
    assert venues["BTC-USDT"].grid.market is MARKET
    directory.fill(DirectoryView(ASSETS[:1], [], [], []))
    assert list(assets) == ["BTC"]
    assert not venues


def test_a_market_without_its_assets_changes_nothing() -> None:
    """A directory that cannot be right is not taken."""
    directory = Directory()
    directory.fill(DirectoryView(ASSETS, [], [], []))
    with pytest.raises(KeyError):
        directory.fill(DirectoryView(ASSETS[:1], [MarketStatus(MARKET, TRADING, 0)], [], []))
    assert list(directory.assets) == ["BTC", "USDT"]


def test_a_venue_converts_as_its_grid_does_however_much_it_has_seen() -> None:
    """Remembered, new and forgotten numbers come out the same, and so do refusals."""
    directory = Directory()
    directory.fill(DirectoryView(ASSETS, [MarketStatus(MARKET, TRADING, 0)], [], []))
    venue = directory.venues["BTC-USDT"]
    for number in [*range(REMEMBERED + 10), 0, 1]:
        text = f"{number}.07"
        assert venue.parse_price(text) == venue.grid.parse_price(text)
        assert venue.format_price(number) == venue.grid.format_price(number)
        assert venue.format_quantity(number) == venue.grid.format_quantity(number)
        assert venue.format_amount(number) == venue.grid.format_amount(number)
    for _ in range(2):
        with pytest.raises(NotADecimal):
            venue.parse_quantity("1e3")

"""What is defined, by name, for the clients' side: it turns names and decimal text into the engine's integers and back.

Matching fills it at each of its starts; the wire only reads. Neither has an `await` in between, so nobody ever sees
half of a refill, and clients that are served while matching restarts go on with what was there before.
"""

from functools import lru_cache
from typing import Final

from book.definitions import Asset
from book.market import Grid
from book.queries import DirectoryView

# Prices stay near each other and quantities are round, so most numbers have been seen before: a remembered one costs a
# sixth of a new one. Bounded, because clients choose them.
REMEMBERED: Final = 4096


class Venue:
    """One market's grid, remembering its latest conversions. Methods are those of `book.market.Grid`."""

    __slots__ = (
        "format_amount",
        "format_price",
        "format_quantity",
        "grid",
        "parse_amount",
        "parse_price",
        "parse_quantity",
    )

    def __init__(self, grid: Grid) -> None:
        self.grid: Final = grid
        self.parse_price: Final = lru_cache(REMEMBERED)(grid.parse_price)
        self.parse_quantity: Final = lru_cache(REMEMBERED)(grid.parse_quantity)
        self.parse_amount: Final = grid.parse_amount
        self.format_price: Final = lru_cache(REMEMBERED)(grid.format_price)
        self.format_quantity: Final = lru_cache(REMEMBERED)(grid.format_quantity)
        # Of amounts only zero is frequent: what an order has traded when it is new.
        self.format_amount: Final = lru_cache(8)(grid.format_amount)


class Directory:
    """Assets and markets, by name, in the order they were defined."""

    __slots__ = ("assets", "venues")

    assets: dict[str, Asset]
    venues: dict[str, Venue]

    def __init__(self) -> None:
        self.assets = {}
        self.venues = {}

    def fill(self, view: DirectoryView) -> None:
        """Hold exactly this from now on. Raises KeyError, changing nothing, for a market without its assets."""
        assets = {asset.name: asset for asset in view.assets}
        venues = {
            market.symbol: Venue(Grid(market, assets[market.base], assets[market.quote]))
            for market in (status.market for status in view.markets)
        }
        # The dicts themselves stay: whoever serves a connection holds on to them.
        self.assets.clear()
        self.assets.update(assets)
        self.venues.clear()
        self.venues.update(venues)

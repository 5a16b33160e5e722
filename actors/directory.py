"""What is defined, by name, for the clients' side: it turns names and decimal text into the engine's integers and back.

Matching fills it at each of its starts; the wire only reads. Neither has an `await` in between, so nobody ever sees
half of a refill, and clients that are served while matching restarts go on with what was there before.
"""

from book.definitions import Asset
from book.market import Grid
from book.queries import DirectoryView


class Directory:
    """Assets and the grids of markets, by name, in the order they were defined."""

    __slots__ = ("assets", "grids")

    assets: dict[str, Asset]
    grids: dict[str, Grid]

    def __init__(self) -> None:
        self.assets = {}
        self.grids = {}

    def fill(self, view: DirectoryView) -> None:
        """Hold exactly this from now on. Raises KeyError, changing nothing, for a market without its assets."""
        assets = {asset.name: asset for asset in view.assets}
        grids = {
            market.symbol: Grid(market, assets[market.base], assets[market.quote])
            for market in (status.market for status in view.markets)
        }
        # The dicts themselves stay: whoever serves a connection holds on to them.
        self.assets.clear()
        self.assets.update(assets)
        self.grids.clear()
        self.grids.update(grids)

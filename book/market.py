"""The grid a market's prices and quantities lie on: between decimal text at the edge and ticks and lots inside."""

from typing import Final

from book.decimals import POWERS_OF_TEN, format_units, parse_units
from book.definitions import Asset, Market


class OffGrid(ValueError):  # noqa: N818 -- beside decimals.TooPrecise
    """A number that its asset can express, but that is no whole number of ticks or lots."""


def tick_value(market: Market, base: Asset, quote: Asset) -> int:
    """What one lot costs at one tick, in quote engine units; 0 where that is not a whole number."""
    value, rest = divmod(
        market.tick * market.lot * POWERS_OF_TEN[quote.scale], POWERS_OF_TEN[market.tick_scale + base.scale]
    )
    return 0 if rest else value


class _Step:
    """Decimal text as a number of equal steps; one step is `step` units of 10**-scale."""

    __slots__ = ("_decimals", "_parse_scale", "_parse_step", "_step")

    def __init__(self, step: int, scale: int, precision: int) -> None:
        """Take text of up to `precision` decimals (or those of the step, if more); write the step's own decimals."""
        while scale > 0 and step % 10 == 0:
            step //= 10
            scale -= 1
        self._step = step
        self._decimals = scale
        self._parse_scale = max(scale, precision)
        self._parse_step = step * POWERS_OF_TEN[self._parse_scale - scale]

    def parse(self, text: str) -> int:
        steps, rest = divmod(parse_units(text, self._parse_scale), self._parse_step)
        if rest:
            raise OffGrid
        return steps

    def format(self, steps: int) -> str:
        return format_units(steps * self._step, self._decimals)


class Grid:
    """One market's conversions. Built once per definition, used for every number in and out.

    Parsing takes any number of up to 40 digits: whether it is in range is the engine's to say. More decimals than the
    asset has (for prices: the quote asset, or the tick if that has more) are `TooPrecise`; between two steps is
    `OffGrid`. Formatting gives exactly the decimals of the step.
    """

    __slots__ = (
        "_lots",
        "_ticks",
        "base",
        "lot_text",
        "market",
        "min_notional_text",
        "quote",
        "tick_text",
        "tick_value",
    )

    def __init__(self, market: Market, base: Asset, quote: Asset) -> None:
        self.market: Final = market
        self.base: Final = base
        self.quote: Final = quote
        self._ticks: Final = _Step(market.tick, market.tick_scale, quote.scale)
        self._lots: Final = _Step(market.lot, base.scale, base.scale)
        self.tick_value: Final = tick_value(market, base, quote)  # quote engine units per tick and lot
        self.tick_text: Final = self._ticks.format(1)
        self.lot_text: Final = self._lots.format(1)
        self.min_notional_text: Final = format_units(market.min_notional, quote.scale)

    def parse_price(self, text: str) -> int:
        """Decimal text to ticks. Raises NotADecimal, TooPrecise or OffGrid."""
        return self._ticks.parse(text)

    def format_price(self, ticks: int) -> str:
        """Ticks to decimal text."""
        return self._ticks.format(ticks)

    def parse_quantity(self, text: str) -> int:
        """Decimal text to lots. Raises NotADecimal, TooPrecise or OffGrid."""
        return self._lots.parse(text)

    def format_quantity(self, lots: int) -> str:
        """Lots to decimal text."""
        return self._lots.format(lots)

    def parse_amount(self, text: str) -> int:
        """Decimal text to quote engine units. Raises NotADecimal or TooPrecise."""
        return parse_units(text, self.quote.scale)

    def format_amount(self, units: int) -> str:
        """Quote engine units to decimal text."""
        return format_units(units, self.quote.scale)

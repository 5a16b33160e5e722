"""Decimal text of clients as ticks, lots and units, or why it is none, in words that name the parameter.

Only what the text itself says is judged: whether it is a decimal, and whether it lies on the market's grid. Each raises
RefusedError.
"""

from typing import NoReturn

from actors.directory import Venue
from actors.parameters import NUMBER_WORDS
from actors.wire import RefusedError
from book.codes import BAD_PRECISION, CANCEL_REJECTED, FILTER_FAILURE, INVALID_PARAMETER
from book.decimals import NotADecimal, TooPrecise
from book.market import OffGrid


def quantity(venue: Venue, text: str, name: str = "quantity") -> int:
    """Lots."""
    try:
        return venue.parse_quantity(text)
    except NotADecimal:
        _refuse_number(name)
    except TooPrecise:
        raise RefusedError(
            BAD_PRECISION, f"{name} has more than the {venue.grid.base.scale} decimals of {venue.grid.base.name}"
        ) from None
    except OffGrid:
        raise RefusedError(
            FILTER_FAILURE, f"{name} must be a multiple of {venue.grid.lot_text}", reason="LOT_SIZE"
        ) from None


def price(venue: Venue, text: str, name: str = "price") -> int:
    """Ticks."""
    try:
        return venue.parse_price(text)
    except NotADecimal:
        _refuse_number(name)
    except TooPrecise:
        raise RefusedError(
            BAD_PRECISION, f"{name} has too many decimals; it goes in steps of {venue.grid.tick_text}"
        ) from None
    except OffGrid:
        raise RefusedError(
            FILTER_FAILURE, f"{name} must be a multiple of {venue.grid.tick_text}", reason="PRICE_FILTER"
        ) from None


def amount(venue: Venue, text: str) -> int:
    """Units of the quote asset."""
    try:
        return venue.parse_amount(text)
    except NotADecimal:
        _refuse_number("quoteOrderQty")
    except TooPrecise:
        raise RefusedError(
            BAD_PRECISION,
            f"quoteOrderQty has more than the {venue.grid.quote.scale} decimals of {venue.grid.quote.name}",
        ) from None


# In a command a zero is 'not given', so where that has a meaning a zero that was given must not get there.


def display_quantity(venue: Venue, text: str) -> int:
    """Lots, at least one."""
    lots = quantity(venue, text, "displayQty")
    if lots == 0:
        raise RefusedError(FILTER_FAILURE, f"displayQty must be {venue.grid.lot_text} or more", reason="LOT_SIZE")
    return lots


def new_quantity(venue: Venue, text: str) -> int:
    """Lots, at least one."""
    lots = quantity(venue, text, "newQty")
    if lots == 0:
        raise RefusedError(
            CANCEL_REJECTED, "newQty is the new total, and has to be more than was executed", reason="ALREADY_EXECUTED"
        )
    return lots


def new_price(venue: Venue, text: str) -> int:
    """Ticks, at least one."""
    ticks = price(venue, text, "newPrice")
    if ticks == 0:
        raise RefusedError(FILTER_FAILURE, f"newPrice must be {venue.grid.tick_text} or more", reason="PRICE_FILTER")
    return ticks


def _refuse_number(name: str) -> NoReturn:
    raise RefusedError(INVALID_PARAMETER, f"{name} must be {NUMBER_WORDS}") from None

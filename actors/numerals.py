"""Decimal text of clients as ticks, lots and units, or why it is none, in words that name the parameter.

Only what the text itself says is judged: whether it is a decimal, and whether it lies on the market's grid. Each raises
RefusedError.
"""

from typing import Final, NoReturn

from actors.directory import Venue
from actors.parameters import NUMBER_WORDS
from actors.wire import RefusedError
from book.codes import BAD_PRECISION, CANCEL_REJECTED, FILTER_FAILURE, INVALID_PARAMETER
from book.decimals import NotADecimal, TooPrecise, parse_units
from book.definitions import Asset
from book.market import OffGrid


def quantity(venue: Venue, text: str, name: str = "quantity") -> int:
    """Lots."""
    try:
        return venue.parse_quantity(text)
    except _BAD_NUMBER as error:
        _refuse(error, name, _decimals_of(venue.grid.base), venue.grid.lot_text, "LOT_SIZE")


def price(venue: Venue, text: str, name: str = "price") -> int:
    """Ticks."""
    try:
        return venue.parse_price(text)
    except _BAD_NUMBER as error:
        step = venue.grid.tick_text
        _refuse(error, name, f"too many decimals; it goes in steps of {step}", step, "PRICE_FILTER")


def amount(venue: Venue, text: str, name: str = "quoteOrderQty") -> int:
    """Units of the quote asset."""
    try:
        return venue.parse_amount(text)
    except _BAD_NUMBER as error:
        _refuse(error, name, _decimals_of(venue.grid.quote))


def of_asset(asset: Asset, text: str, name: str = "amount") -> int:
    """Units of an asset."""
    try:
        return parse_units(text, asset.scale)
    except _BAD_NUMBER as error:
        _refuse(error, name, _decimals_of(asset))


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


_BAD_NUMBER: Final = (NotADecimal, TooPrecise, OffGrid)


def _refuse(error: ValueError, name: str, too_precise: str, step: str = "", step_filter: str = "") -> NoReturn:
    """Say what is wrong with a number: its text, its decimals, or that it is between two steps, where there are any."""
    match error:
        case NotADecimal():
            raise RefusedError(INVALID_PARAMETER, f"{name} must be {NUMBER_WORDS}") from None
        case TooPrecise():
            raise RefusedError(BAD_PRECISION, f"{name} has {too_precise}") from None
        case _:
            raise RefusedError(FILTER_FAILURE, f"{name} must be a multiple of {step}", reason=step_filter) from None


def _decimals_of(asset: Asset) -> str:
    return f"more than the {asset.scale} decimals of {asset.name}"

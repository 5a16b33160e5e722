"""Decimal text in and out of integers: `digits[.digits]`, nothing else, and never through a float.

`int()` and `float()` accept more than a wire may (`1_0`, ` 1 `, `+1`, `1e3`, the digits of every alphabet), so what
reaches `int()` here has been seen to be ASCII digits. The rule is that of the wire protocol: at most 40 characters, no
sign, no exponent, at least one digit on each side of a point, leading and trailing zeros allowed.
"""

from typing import Final

MAX_CHARACTERS: Final = 40

POWERS_OF_TEN: Final[list[int]] = [10**exponent for exponent in range(MAX_CHARACTERS + 1)]


class NotADecimal(ValueError):  # noqa: N818 -- it says what is so, as trio's WouldBlock does
    """The text is not a number as the protocol writes them."""


class TooPrecise(ValueError):  # noqa: N818 -- as above
    """The number has a non-zero digit beyond the decimals there are."""


def parse_units(text: str, scale: int) -> int:
    """Read a decimal as a whole number of 10**-scale units, exactly; scale is 0..40.

    Raises:
        NotADecimal: the text is not `digits[.digits]` of at most 40 ASCII characters.
        TooPrecise: the number is not a whole number of units.
    """
    if len(text) > MAX_CHARACTERS or not text.isascii():
        raise NotADecimal
    if text.isdigit():
        return int(text) * POWERS_OF_TEN[scale]
    whole, _, fraction = text.partition(".")
    if not (whole.isdigit() and fraction.isdigit()):
        raise NotADecimal
    surplus = len(fraction) - scale
    if surplus <= 0:
        return int(whole + fraction) * POWERS_OF_TEN[-surplus]
    if fraction[scale:].strip("0"):
        raise TooPrecise
    return int(whole + fraction[:scale])


def format_units(value: int, scale: int) -> str:
    """Write a whole number of 10**-scale units with exactly `scale` decimals. The exact inverse of `parse_units`.

    Negative values (a rebate, a difference in a report) get a minus sign, which `parse_units` does not take back.
    """
    if value < 0:
        return "-" + format_units(-value, scale)
    if scale == 0:
        return str(value)
    digits = str(value)
    if len(digits) <= scale:
        return "0." + digits.zfill(scale)
    return f"{digits[:-scale]}.{digits[-scale:]}"

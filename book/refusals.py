"""The refusals that are always the same, and those that definitions and settings have in common."""

import re
from typing import Final

from book import codes
from book.events import Rejected

UNKNOWN_SYMBOL: Final = Rejected(codes.BAD_SYMBOL, "", "symbol")
UNKNOWN_ORDER: Final = Rejected(codes.CANCEL_REJECTED, "UNKNOWN_ORDER")
NO_SUCH_ORDER: Final = Rejected(codes.NO_SUCH_ORDER, "UNKNOWN_ORDER")


def declined(reason: str, field: str, value: int = 0, limit: int = 0, ref: int = 0) -> Rejected:
    """The refusal of a definition or setting."""
    return Rejected(codes.DEFINITION_REJECTED, reason, field, value, limit, ref)


def outside(field: str, value: int, least: int, most: int) -> Rejected | None:
    """The refusal of a number that is not within least..most; it names the bound that is broken."""
    if value < least:
        return declined("OUT_OF_RANGE", field, value, least)
    if value > most:
        return declined("OUT_OF_RANGE", field, value, most)
    return None


def bad_name(field: str, name: str, pattern: re.Pattern[str]) -> Rejected | None:
    """The refusal of a text that is not written as the pattern says."""
    return None if pattern.fullmatch(name) else declined("BAD_NAME", field)

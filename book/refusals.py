"""The refusals that are always the same."""

from typing import Final

from book import codes
from book.events import Rejected

UNKNOWN_SYMBOL: Final = Rejected(codes.BAD_SYMBOL, "", "symbol")
UNKNOWN_ORDER: Final = Rejected(codes.CANCEL_REJECTED, "UNKNOWN_ORDER")
NO_SUCH_ORDER: Final = Rejected(codes.NO_SUCH_ORDER, "UNKNOWN_ORDER")

"""The words of the engine: small integer codes for sides, order types and so on, with their names on the wire.

Commands, events and the engine's state carry the integers, because they are cheap to compare, to log and to compile;
the wire and the tools turn them into the names. A code, once released, never changes its meaning: it is in the log.
"""

from typing import Final

# Every stored amount, price and quantity fits a signed 64-bit integer, with room for the sum of two: half of what 64
# bits hold is also what a compiled module adds and compares without making an object of it.
MAX_INT: Final = 2**62 - 1

# One million parts per million: the denominator of every rate.
PPM: Final = 1_000_000

NS_PER_MS: Final = 1_000_000  # times are in ns inside, in ms for clients

# Sides.
BUY: Final = 1
SELL: Final = 2

# Order types.
LIMIT: Final = 1
MARKET: Final = 2
STOP_LOSS: Final = 3
STOP_LOSS_LIMIT: Final = 4
TAKE_PROFIT: Final = 5
TAKE_PROFIT_LIMIT: Final = 6

# Times in force.
GTC: Final = 1
IOC: Final = 2
FOK: Final = 3
GTD: Final = 4

# Self-trade prevention; MARKET_DEFAULT on an order means 'as the market says'.
MARKET_DEFAULT: Final = 0
NONE: Final = 1
EXPIRE_TAKER: Final = 2
EXPIRE_MAKER: Final = 3
EXPIRE_BOTH: Final = 4
DECREMENT: Final = 5

# Order states.
NEW: Final = 1
PARTIALLY_FILLED: Final = 2
FILLED: Final = 3
CANCELED: Final = 4
EXPIRED: Final = 5
EXPIRED_IN_MATCH: Final = 6
REJECTED: Final = 7

# Market states.
TRADING: Final = 1
POST_ONLY: Final = 2
CANCEL_ONLY: Final = 3
HALT: Final = 4

# States of a withdrawal's hold. It leaves the first for one of the others, once.
HELD: Final = 1
SETTLED: Final = 2
RELEASED: Final = 3

# Permissions of a key, one bit each.
READ: Final = 1
TRADE: Final = 2
WITHDRAW: Final = 4

SIDES: Final[dict[int, str]] = {BUY: "BUY", SELL: "SELL"}
ORDER_TYPES: Final[dict[int, str]] = {
    LIMIT: "LIMIT",
    MARKET: "MARKET",
    STOP_LOSS: "STOP_LOSS",
    STOP_LOSS_LIMIT: "STOP_LOSS_LIMIT",
    TAKE_PROFIT: "TAKE_PROFIT",
    TAKE_PROFIT_LIMIT: "TAKE_PROFIT_LIMIT",
}
TIMES_IN_FORCE: Final[dict[int, str]] = {GTC: "GTC", IOC: "IOC", FOK: "FOK", GTD: "GTD"}
SELF_TRADE_MODES: Final[dict[int, str]] = {
    NONE: "NONE",
    EXPIRE_TAKER: "EXPIRE_TAKER",
    EXPIRE_MAKER: "EXPIRE_MAKER",
    EXPIRE_BOTH: "EXPIRE_BOTH",
    DECREMENT: "DECREMENT",
}
ORDER_STATES: Final[dict[int, str]] = {
    NEW: "NEW",
    PARTIALLY_FILLED: "PARTIALLY_FILLED",
    FILLED: "FILLED",
    CANCELED: "CANCELED",
    EXPIRED: "EXPIRED",
    EXPIRED_IN_MATCH: "EXPIRED_IN_MATCH",
    REJECTED: "REJECTED",
}
MARKET_STATES: Final[dict[int, str]] = {
    TRADING: "TRADING",
    POST_ONLY: "POST_ONLY",
    CANCEL_ONLY: "CANCEL_ONLY",
    HALT: "HALT",
}
WITHDRAWAL_STATES: Final[dict[int, str]] = {HELD: "HELD", SETTLED: "SETTLED", RELEASED: "RELEASED"}
PERMISSIONS: Final[dict[int, str]] = {READ: "read", TRADE: "trade", WITHDRAW: "withdraw"}

"""Every error code of the exchange, by name. The numbers are Binance's wherever that API has the same error."""

from typing import Final

# Service
UNKNOWN: Final = -1000
TOO_MANY_REQUESTS: Final = -1003
TIMEOUT: Final = -1007
SERVER_BUSY: Final = -1008
SERVICE_SHUTTING_DOWN: Final = -1016
TOO_MANY_CONNECTIONS: Final = -1034

# Who is asking
UNAUTHORIZED: Final = -1002
INVALID_TIMESTAMP: Final = -1021
INVALID_SIGNATURE: Final = -1022
REJECTED_KEY: Final = -2015

# The request as such
UNSUPPORTED_METHOD: Final = -1020
MANDATORY_PARAM: Final = -1102
UNKNOWN_PARAM: Final = -1103
BAD_PRECISION: Final = -1111
BAD_TIF: Final = -1115
BAD_TYPE: Final = -1116
BAD_SIDE: Final = -1117
BAD_SYMBOL: Final = -1121
INVALID_PARAMETER: Final = -1130
INVALID_JSON: Final = -1135
TOO_MANY_SUBSCRIPTIONS: Final = -1191

# The market's filters
FILTER_FAILURE: Final = -1013

# The engine
ORDER_REJECTED: Final = -2010
CANCEL_REJECTED: Final = -2011
NO_SUCH_ORDER: Final = -2013

# Our own
WITHDRAWAL_REJECTED: Final = -4001
BAD_ADDRESS: Final = -4002
GAP_TOO_OLD: Final = -4003
SLOW_CONSUMER: Final = -4004
DEFINITION_REJECTED: Final = -4005  # never to a client: a definition or credit from configuration or an operator

CODE_NAMES: Final[dict[int, str]] = {
    value: name for name, value in list(globals().items()) if isinstance(value, int) and value < 0
}

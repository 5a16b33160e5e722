"""What the clients' door and its sessions have done and refused since the process began: plain integers.

The reasons are fixed words, all of them there from the start, so that whoever watches need not wait for the first case.
"""

from typing import Final

# Why a connection was not taken.
TOO_MANY: Final = "too many"
TOO_MANY_OF_ADDRESS: Final = "too many of one address"
PROXY_HEADER: Final = "proxy header"
HANDSHAKE: Final = "handshake"
DRAINING: Final = "draining"
REFUSED_CONNECTIONS: Final = (TOO_MANY, TOO_MANY_OF_ADDRESS, PROXY_HEADER, HANDSHAKE, DRAINING)

# Why we ended one.
IDLE: Final = "idle"
HALF_LINE: Final = "half a line"
LONG_LINE: Final = "line too long"
FAILED_LOGONS: Final = "failed logons"
NOT_READING: Final = "not reading"
EVENTS_UNREAD: Final = "events not read"
REPLY_MEMORY: Final = "reply memory"
STRANGE_HEADER: Final = "header of a stranger"
OPERATOR: Final = "operator"
CLOSED_CONNECTIONS: Final = (
    *(IDLE, HALF_LINE, LONG_LINE, FAILED_LOGONS, NOT_READING, EVENTS_UNREAD, REPLY_MEMORY, STRANGE_HEADER, OPERATOR),
)

# Which limit refused a request.
OF_CONNECTION: Final = "requests of a connection"
OF_ACCOUNT: Final = "requests of an account"
ORDERS_TO_TRADES: Final = "orders to trades"
REFUSED_REQUESTS: Final = (OF_CONNECTION, OF_ACCOUNT, ORDERS_TO_TRADES)


class GatewayCounts:
    """Counted where it happens; read by the metrics."""

    def __init__(self) -> None:
        self.connections = 0
        """Taken."""
        self.logons = 0
        """That succeeded."""
        self.failed_logons = 0
        self.refused_connections = dict.fromkeys(REFUSED_CONNECTIONS, 0)
        self.closed_connections = dict.fromkeys(CLOSED_CONNECTIONS, 0)
        self.refused_requests = dict.fromkeys(REFUSED_REQUESTS, 0)
        self.reply_bytes = 0
        """Held for clients that do not take them, when they were counted last."""

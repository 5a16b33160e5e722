"""A client for Tallystick's wire protocol, on trio: `async with connect(key="alice") as exchange: ...`.

docs/client.md shows how to use it, docs/protocol.md what all the words mean.
"""

from tallystick.client.books import Book
from tallystick.client.calls import Call, Number, Outcome
from tallystick.client.connection import Timing
from tallystick.client.errors import (
    BadReply,
    Busy,
    ClientError,
    Missed,
    NotConnected,
    NotDone,
    OutcomeUnknown,
    Rejected,
)
from tallystick.client.exchange import Exchange, connect
from tallystick.client.keys import Key
from tallystick.client.streams import KeptBook, Stream

__all__ = [
    "BadReply",
    "Book",
    "Busy",
    "Call",
    "ClientError",
    "Exchange",
    "KeptBook",
    "Key",
    "Missed",
    "NotConnected",
    "NotDone",
    "Number",
    "Outcome",
    "OutcomeUnknown",
    "Rejected",
    "Stream",
    "Timing",
    "connect",
]

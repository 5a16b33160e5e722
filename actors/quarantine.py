"""Requests that made the engine fail, refused from then on, so that a client that retries cannot crash-loop it.

A request is known by its fingerprint: what it asks for and for whom, without what changes from one try to the next
(the session it comes by, the client's clock, the client order id). What operators and the exchange itself ask for has
no such circumstances. The quarantine belongs to the process: it outlives matching's restarts, and ends with the
process, as a new version may well have the bug mended.
"""

from collections import OrderedDict
from typing import Final

import msgspec

from actors.requests import Request
from book.commands import (
    AmendOrder,
    ArmSession,
    CancelAll,
    CancelAllAfter,
    CancelOrder,
    PlaceOrder,
    ReplaceOrder,
)
from book.queries import JudgeOrder

CAPACITY: Final = 10_000


class Quarantine:
    """A bounded set of fingerprints; the oldest leaves when it is full."""

    def __init__(self) -> None:
        self._fingerprints: OrderedDict[bytes, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._fingerprints)

    def __contains__(self, request: Request) -> bool:
        return _fingerprint(request) in self._fingerprints

    def add(self, request: Request) -> None:
        """Refuse this request and all that only repeat it."""
        self._fingerprints[_fingerprint(request)] = None
        if len(self._fingerprints) > CAPACITY:
            self._fingerprints.popitem(last=False)


def _fingerprint(request: Request) -> bytes:
    if isinstance(request, PlaceOrder):
        request = _without_circumstances(request)
    elif isinstance(request, ReplaceOrder | JudgeOrder):
        request = msgspec.structs.replace(request, order=_without_circumstances(request.order))
    elif isinstance(request, CancelOrder | CancelAll | AmendOrder | CancelAllAfter | ArmSession):
        request = msgspec.structs.replace(request, session=0, key=0, timestamp=0)
    return type(request).__name__.encode() + msgspec.msgpack.encode(request)


def _without_circumstances(order: PlaceOrder) -> PlaceOrder:
    return msgspec.structs.replace(order, session=0, key=0, timestamp=0, client_order_id="")

"""From bytes to requests, strictly: cutting a stream into lines, and decoding them.

A good line costs one call into msgspec, which checks shape, types and ranges in one pass and alone decides what is
accepted. `actors.diagnosis` finds the words for the others.
"""

from collections.abc import Callable
from contextlib import suppress

import msgspec

from actors import wire
from actors.diagnosis import DECODER_ERRORS, diagnose, diagnose_order
from actors.parameters import CancelParams, PlaceParams
from actors.wire import RefusedError

_decode: Callable[[bytes], wire.Request] = msgspec.json.Decoder(wire.Request).decode
_decode_place: Callable[[msgspec.Raw], PlaceParams] = msgspec.json.Decoder(PlaceParams).decode
_decode_cancel: Callable[[msgspec.Raw], CancelParams] = msgspec.json.Decoder(CancelParams).decode


def read(line: bytes) -> wire.Request:
    """One line, without its end, as a request. Raises RefusedError, with the line's id where it has a valid one."""
    try:
        return _decode(line)
    except DECODER_ERRORS:
        pass
    raise diagnose(line)


def read_orders(batch: wire.OrderBatch) -> list[wire.OrderPlace | wire.OrderCancel | RefusedError]:
    """The orders of a batch as requests without an id, and in the place of a bad one what is wrong with it.

    What has a side and a type is placed, anything else is meant as a cancel. Raises RefusedError where one of them
    makes the whole line no JSON: the decoder has not looked into them.
    """
    return [_read_order(raw) for raw in batch.params.orders]


def _read_order(raw: msgspec.Raw) -> wire.OrderPlace | wire.OrderCancel | RefusedError:
    with suppress(*DECODER_ERRORS):
        return wire.OrderPlace(params=_decode_place(raw))
    with suppress(*DECODER_ERRORS):
        return wire.OrderCancel(params=_decode_cancel(raw))
    return diagnose_order(bytes(raw))


class Lines:
    """Cuts a stream of bytes into lines."""

    __slots__ = ("_limit", "_rest", "too_long")

    too_long: bool
    """A line passed the limit. It and everything behind it is dropped: where the next one begins is anybody's guess."""

    def __init__(self, limit: int = wire.MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._rest = bytearray()
        self.too_long = False

    @property
    def half_line(self) -> bool:
        """The stream stands in the middle of a line."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without their ends and without blank ones."""
        if self.too_long:
            return []
        *lines, rest = data.split(b"\n")
        if not lines:
            self._rest += rest
        else:
            lines[0] = bytes(self._rest) + lines[0]
            self._rest = bytearray(rest)
        if len(self._rest) > self._limit:
            self.too_long = True
        for index, line in enumerate(lines):
            if len(line) > self._limit:
                self.too_long = True
                del lines[index:]
                break
        return [line for line in lines if line and not line.isspace()]

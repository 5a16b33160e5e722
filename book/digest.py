"""A rolling digest over every event, cheap enough to be kept at all times.

Two engines that saw the same log have the same digest; the log's check records carry it, so that a replay proves itself
on the way. It depends on the events and their order alone, not on how they were grouped into updates.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from msgspec.msgpack import Encoder

from book.events import Event

BLOCK_BYTES: Final = 4096
DIGEST_BYTES: Final = 16

_encoder: Final = Encoder()


class RollingDigest:
    """chain = blake2b(chain + block) for every full block of the encoded events, and the rest of a block."""

    __slots__ = ("_chain", "_rest")

    def __init__(self, chain: bytes = bytes(DIGEST_BYTES), rest: bytes = b"") -> None:
        """Begin, or go on from what `state` gave.

        Raises:
            ValueError: this is no digest's state.
        """
        if len(chain) != DIGEST_BYTES or len(rest) >= BLOCK_BYTES:
            raise ValueError("not the state of a digest")
        self._chain = chain
        self._rest = bytearray(rest)

    def update(self, events: Iterable[Event]) -> None:
        """Add events."""
        rest = self._rest
        for event in events:
            rest += _encoder.encode(event)
        while len(rest) >= BLOCK_BYTES:
            self._chain = _hash(self._chain, rest[:BLOCK_BYTES])
            del rest[:BLOCK_BYTES]

    def value(self) -> bytes:
        """The digest of all events so far, 16 bytes."""
        return _hash(self._chain, self._rest)

    def state(self) -> tuple[bytes, bytes]:
        """The chain and the rest, for a digest that goes on from here."""
        return self._chain, bytes(self._rest)


def _hash(chain: bytes, block: bytes | bytearray) -> bytes:
    return blake2b(chain + block, digest_size=DIGEST_BYTES).digest()

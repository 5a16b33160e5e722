"""The rolling digest: a function of the events and their order alone."""

from hashlib import blake2b
from random import Random

import msgspec
import pytest

from book.digest import BLOCK_BYTES, DIGEST_BYTES, RollingDigest
from book.events import Credited, Event

EVENTS: list[Event] = [Credited(f"chain|{number}", 1, "BTC", number, number) for number in range(1, 1_000)]


def digest_of(events: list[Event]) -> bytes:
    """The digest after these events in one go."""
    digest = RollingDigest()
    digest.update(events)
    return digest.value()


def test_how_events_are_grouped_does_not_matter() -> None:
    """One by one, all at once, or in any groups, empty ones too."""
    whole = digest_of(EVENTS)
    for seed in range(5):
        random = Random(seed)
        digest = RollingDigest()
        start = 0
        while start < len(EVENTS):
            end = start + random.randrange(40)
            digest.update(EVENTS[start:end])
            start = end
        assert digest.value() == whole


def test_it_is_the_hash_chain_that_is_written_down() -> None:
    """Encoded events in blocks of 4096 bytes, each hashed onto the chain, the rest on top."""
    data = b"".join(msgspec.msgpack.encode(event) for event in EVENTS)
    chain = bytes(DIGEST_BYTES)
    while len(data) >= BLOCK_BYTES:
        chain = blake2b(chain + data[:BLOCK_BYTES], digest_size=16).digest()
        data = data[BLOCK_BYTES:]
    assert digest_of(EVENTS) == blake2b(chain + data, digest_size=16).digest()


def test_any_change_shows() -> None:
    """Another event, one less, or two swapped give another digest."""
    whole = digest_of(EVENTS)
    assert len(whole) == DIGEST_BYTES
    assert digest_of(EVENTS[:-1]) != whole
    assert digest_of([*EVENTS[:-2], EVENTS[-1], EVENTS[-2]]) != whole
    assert digest_of([*EVENTS[:-1], Credited("chain|999", 1, "BTC", 999, 998)]) != whole
    assert digest_of([]) != whole


def test_asking_does_not_change_it() -> None:
    """The value can be taken at any time."""
    digest = RollingDigest()
    for event in EVENTS:
        digest.update([event])
        digest.value()
    assert digest.value() == digest_of(EVENTS)


@pytest.mark.parametrize("cut", [0, 1, 500, 999])
def test_it_goes_on_from_its_state(cut: int) -> None:
    """A digest made from another's state ends where that one would."""
    first = RollingDigest()
    first.update(EVENTS[:cut])
    second = RollingDigest(*first.state())
    second.update(EVENTS[cut:])
    assert second.value() == digest_of(EVENTS)


@pytest.mark.parametrize(("chain", "rest"), [(b"", b""), (bytes(15), b""), (bytes(17), b""), (bytes(16), bytes(4096))])
def test_what_is_no_state_is_refused(chain: bytes, rest: bytes) -> None:
    """A chain of another length or a rest that should have been hashed."""
    with pytest.raises(ValueError, match="state"):
        RollingDigest(chain, rest)

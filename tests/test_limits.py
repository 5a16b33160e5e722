"""Token buckets and connection caps, at exact times."""

import pytest

from actors.gateway_counts import TOO_MANY, TOO_MANY_OF_ADDRESS
from actors.limits import Connections, NoRoom, TokenBucket


def test_a_bucket_allows_its_burst_at_once_and_its_rate_after_that() -> None:
    """Tokens come in with time, up to the burst, and never more."""
    bucket = TokenBucket(rate=10, burst=5, now=100.0)
    assert bucket.take(7, 100.0) == 5
    assert bucket.take(1, 100.0) == 0
    assert bucket.take(3, 100.25) == 2
    assert bucket.take(1, 100.25) == 0
    assert bucket.take(100, 1_000.0) == 5


def test_a_bucket_says_how_long_the_next_token_takes() -> None:
    """After that time there is one, and before it there is none."""
    bucket = TokenBucket(rate=4, burst=1, now=0.0)
    assert bucket.seconds_until_next() == 0.0
    assert bucket.take(1, 0.0) == 1
    assert bucket.seconds_until_next() == 0.25
    assert bucket.take(1, 0.125) == 0
    assert bucket.seconds_until_next() == 0.125
    assert bucket.take(1, 0.25) == 1


def test_what_is_owed_has_to_come_in_first() -> None:
    """Tokens that were not there delay those who come next, and no more than that."""
    bucket = TokenBucket(rate=4, burst=2, now=0.0)
    bucket.owe(5)
    assert bucket.take(1, 0.0) == 0
    assert bucket.seconds_until_next() == 1.0
    assert bucket.take(9, 0.75) == 0
    assert bucket.take(9, 1.25) == 2


def test_a_bucket_takes_back_what_fits() -> None:
    """Up to its burst, and it knows when it is as at first."""
    bucket = TokenBucket(rate=1, burst=10, now=0.0)
    assert bucket.is_full(0.0)
    assert bucket.take(10, 0.0) == 10
    bucket.give(4)
    assert not bucket.is_full(5.0)
    assert bucket.is_full(6.0)
    assert bucket.take(10, 0.0) == 4
    bucket.give(400)
    assert bucket.take(11, 0.0) == 10


def refused(connections: Connections, host: str | None) -> str:
    """Why there is no room for one more of this host."""
    with pytest.raises(NoRoom) as caught:
        connections.enter(host)
    return caught.value.reason


def test_connections_are_capped_in_all_and_per_address() -> None:
    """Whoever leaves makes room for exactly one, of that address and in all."""
    connections = Connections(most=3, most_per_address=2)
    first = connections.enter("192.0.2.1")
    connections.enter("192.0.2.1")
    assert refused(connections, "192.0.2.1") == TOO_MANY_OF_ADDRESS
    connections.enter("192.0.2.2")
    assert refused(connections, "192.0.2.3") == TOO_MANY
    first.leave()
    connections.enter("192.0.2.3")
    assert refused(connections, "192.0.2.4") == refused(connections, None) == TOO_MANY


def test_a_balancers_connection_counts_for_whom_it_is() -> None:
    """Among all from the start, and for its client's address once that is known."""
    connections = Connections(most=4, most_per_address=1)
    passed_on = [connections.enter(None) for _ in range(3)]
    passed_on[0].move("192.0.2.1")
    assert refused(connections, "192.0.2.1") == TOO_MANY_OF_ADDRESS
    with pytest.raises(NoRoom):
        passed_on[1].move("192.0.2.1")
    passed_on[1].leave()
    passed_on[0].leave()
    connections.enter("192.0.2.1")
    for number in range(2):
        connections.enter(f"198.51.100.{number}")
    assert refused(connections, None) == TOO_MANY


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::1", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("client-1", "client-2", False),
    ],
)
def test_what_one_customer_can_have_counts_as_one_address(one: str, other: str, same: bool) -> None:
    """For IPv6 that is a /64; an IPv4 address counts alike in both notations."""
    connections = Connections(most=10, most_per_address=1)
    connections.enter(one)
    if same:
        assert refused(connections, other) == TOO_MANY_OF_ADDRESS
    else:
        connections.enter(other)

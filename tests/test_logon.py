"""Logons: whose signature over what is good, and when."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import structs

from actors.logon import check_key, check_params
from actors.parameters import LogonParams
from actors.wire import RefusedError, logon_payload
from book.codes import INVALID_SIGNATURE, INVALID_TIMESTAMP, MANDATORY_PARAM, REJECTED_KEY
from book.definitions import Key
from tests.clients import NONCE

SIGNER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = Key(11, "alice", 1, 3, SIGNER.public_key().public_bytes_raw().hex())
HOST = "192.0.2.1"
NOW = 1_800_000_000_000


def signed(name: str = "alice", nonce: str = NONCE, timestamp: int = NOW, over: int = NOW) -> LogonParams:
    """A logon, signed in hex."""
    return LogonParams(name, timestamp, 5_000, SIGNER.sign(logon_payload(name, nonce, over)).hex())


def refusal_of(params: LogonParams, key: Key | None = KEY) -> int:
    """The code that `check_key` refuses with."""
    with pytest.raises(RefusedError) as caught:
        check_key(params, NONCE, key, HOST)
    return caught.value.code


def test_a_signature_is_over_key_nonce_and_time() -> None:
    """The words are those of the protocol, so that a client can write them down."""
    assert logon_payload("alice", "00ff", 5) == b"apiKey=alice&nonce=00ff&timestamp=5"


def test_a_good_signature_is_good_in_hex_and_base64() -> None:
    """64 bytes, however written."""
    params = signed()
    assert check_key(params, NONCE, KEY, HOST) is KEY
    in_base64 = base64.b64encode(bytes.fromhex(params.signature)).decode()
    assert check_key(LogonParams("alice", NOW, 5_000, in_base64), NONCE, KEY, HOST) is KEY


def test_a_signature_over_anything_else_is_none() -> None:
    """Another name, another connection's nonce, another time, another key: each is refused."""
    assert refusal_of(signed(nonce="cd" * 16)) == INVALID_SIGNATURE
    assert refusal_of(signed(over=NOW + 1)) == INVALID_SIGNATURE
    assert refusal_of(LogonParams("bob", NOW, 5_000, signed().signature)) == INVALID_SIGNATURE
    other = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw().hex()
    assert refusal_of(signed(), Key(12, "alice", 1, 3, other)) == INVALID_SIGNATURE


@pytest.mark.parametrize("signature", ["00", "zz" * 64, "0" * 127, "AA==", "not base64!", "A" * 88, "ü" * 64])
def test_what_is_no_signature_is_refused_like_a_wrong_one(signature: str) -> None:
    """Wrong lengths and alphabets are no other error, and no exception."""
    assert refusal_of(LogonParams("alice", NOW, 5_000, signature)) == INVALID_SIGNATURE


def test_a_key_that_does_not_exist_is_rejected_whatever_is_signed() -> None:
    """With and without a signature."""
    assert refusal_of(signed(), None) == REJECTED_KEY
    assert refusal_of(LogonParams("alice"), None) == REJECTED_KEY


def test_without_a_signature_a_name_is_enough_only_where_that_is_allowed() -> None:
    """Everywhere else it is missing."""
    check_params(LogonParams("alice"), NOW, unsigned=True)
    assert check_key(LogonParams("alice"), NONCE, KEY, HOST) is KEY
    with pytest.raises(RefusedError, match="signature is missing") as caught:
        check_params(LogonParams("alice", NOW), NOW, unsigned=False)
    assert caught.value.code == MANDATORY_PARAM


def test_a_signature_needs_its_timestamp() -> None:
    """It is part of what is signed."""
    with pytest.raises(RefusedError, match="timestamp is missing") as caught:
        check_params(LogonParams("alice", signature="00"), NOW, unsigned=False)
    assert caught.value.code == MANDATORY_PARAM


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        *(("192.0.2.7", True), ("::ffff:192.0.2.7", True), ("192.0.2.8", False), ("somewhere", False)),
        *(("2001:db8::1", True), ("2001:db8::1%eth0", True), ("2001:db9::1", False), ("", False)),
    ],
)
def test_a_key_with_networks_is_good_from_within_them_only(host: str, allowed: bool) -> None:
    """Whatever the address looks like; with a signature and without one."""
    bound = structs.replace(KEY, networks="192.0.2.7/32,2001:0db8:0000:0000:0000:0000:0000:0000/32")
    for params in (signed(), LogonParams("alice")):
        if allowed:
            assert check_key(params, NONCE, bound, host) is bound
            continue
        with pytest.raises(RefusedError) as caught:
            check_key(params, NONCE, bound, host)
        assert (caught.value.code, caught.value.reason) == (REJECTED_KEY, "ADDRESS_NOT_ALLOWED")


def test_only_a_keys_owner_learns_that_it_is_bound_to_networks() -> None:
    """A wrong signature from elsewhere is a wrong signature."""
    bound = structs.replace(KEY, networks="192.0.2.7/32")
    with pytest.raises(RefusedError) as caught:
        check_key(signed(nonce="cd" * 16), NONCE, bound, "198.51.100.1")
    assert caught.value.code == INVALID_SIGNATURE


@pytest.mark.parametrize("signature", [SIGNER.sign(b"something else").hex(), "zz" * 64])
def test_a_key_that_does_not_exist_costs_the_same_work(signature: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many signatures are verified, over as many bytes, as for a wrong signature of a key that there is."""
    work: list[tuple[int, int]] = []

    class Counting:
        def __init__(self, key: Ed25519PublicKey) -> None:
            self._key = key

        @classmethod
        def from_public_bytes(cls, data: bytes) -> "Counting":
            return cls(Ed25519PublicKey.from_public_bytes(data))

        def verify(self, signature: bytes, data: bytes) -> None:
            work.append((len(signature), len(data)))
            self._key.verify(signature, data)

    monkeypatch.setattr("actors.logon.Ed25519PublicKey", Counting)
    params = LogonParams("alice", NOW, 5_000, signature)
    assert refusal_of(params) == INVALID_SIGNATURE
    there, work[:] = list(work), []
    assert refusal_of(params, None) == REJECTED_KEY
    assert work == there


@pytest.mark.parametrize(
    ("timestamp", "good"),
    [(NOW, True), (NOW - 5_000, True), (NOW - 5_001, False), (NOW + 1_000, True), (NOW + 1_001, False), (1, False)],
)
@pytest.mark.parametrize("unsigned", [True, False])
def test_a_logon_counts_within_its_window_of_time_only(timestamp: int, good: bool, unsigned: bool) -> None:
    """`recvWindow` back, a second ahead; also where no signature is needed."""
    params = signed(timestamp=timestamp)
    if good:
        check_params(params, NOW, unsigned=unsigned)
        return
    with pytest.raises(RefusedError) as caught:
        check_params(params, NOW, unsigned=unsigned)
    assert caught.value.code == INVALID_TIMESTAMP

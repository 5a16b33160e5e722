"""Keys that others follow from: BIP-32, and the writing of xpubs (SLIP-132 too).

A public key of this kind gives all the addresses of an account and can spend nothing; the exchange has only such. The
private ones are for the signer's process and the offline commands.
"""

import hmac
from collections.abc import Sequence
from hashlib import new as new_hash
from hashlib import sha256
from typing import Final, Self

from attrs import field, frozen
from coincurve import PrivateKey, PublicKey

from chains.base58 import NotBase58, decode, encode
from chains.wallet import MAX_INDEX, BadKey

HARDENED: Final = 2**31
MAX_DEPTH: Final = 255

# Version bytes: of Bitcoin's main network, and of all its test networks. (zpub and vpub say 'for BIP-84' as well.)
PUBLIC_MAIN: Final = frozenset({bytes.fromhex("0488b21e"), bytes.fromhex("04b24746")})
PUBLIC_TEST: Final = frozenset({bytes.fromhex("043587cf"), bytes.fromhex("045f1cf6")})
XPUB: Final = bytes.fromhex("0488b21e")
TPUB: Final = bytes.fromhex("043587cf")
_PRIVATE: Final = frozenset(bytes.fromhex(each) for each in ("0488ade4", "04b2430c", "04358394", "045f18bc"))

_LENGTH: Final = 78


@frozen
class PublicBranch:
    """A public key from which children follow; `parent` is its parent's fingerprint."""

    key: bytes
    """Compressed, 33 bytes."""
    chain_code: bytes
    depth: int = 0
    parent: bytes = bytes(4)
    number: int = 0

    def child(self, index: int) -> Self:
        """The child of this index, 0 to MAX_INDEX: an xpub has no others."""
        if not 0 <= index <= MAX_INDEX:
            raise ValueError(f"index is {index}: not within 0 to {MAX_INDEX}")
        if self.depth == MAX_DEPTH:
            raise BadKey(f"the xpub is {MAX_DEPTH} levels deep, and has no children")
        tweak = hmac.digest(self.chain_code, self.key + index.to_bytes(4, "big"), "sha512")
        # One index in 2**127 has no child; coincurve raises ValueError then.
        key = PublicKey(self.key).add(tweak[:32]).format()
        return type(self)(key, tweak[32:], self.depth + 1, self.fingerprint(), index)

    def fingerprint(self) -> bytes:
        """By which its children name it."""
        return hash160(self.key)[:4]

    def write(self, version: bytes) -> str:
        """As an xpub or tpub."""
        return encode(
            version + bytes([self.depth]) + self.parent + self.number.to_bytes(4, "big") + self.chain_code + self.key
        )


@frozen
class PrivateBranch:
    """A private key from which children follow."""

    secret: bytes = field(repr=False)
    chain_code: bytes = field(repr=False)
    depth: int = 0
    parent: bytes = bytes(4)
    number: int = 0

    @classmethod
    def of_seed(cls, seed: bytes) -> Self:
        """The master key."""
        digest = hmac.digest(b"Bitcoin seed", seed, "sha512")
        return cls(digest[:32], digest[32:])

    def path(self, numbers: Sequence[int]) -> Self:
        """The descendant that these numbers lead to, hardened ones from HARDENED on."""
        branch = self
        for number in numbers:
            branch = branch.child(number)
        return branch

    def child(self, number: int) -> Self:
        """The child of this number, hardened from HARDENED on."""
        public = self.public()
        material = b"\0" + self.secret if number >= HARDENED else public.key
        tweak = hmac.digest(self.chain_code, material + number.to_bytes(4, "big"), "sha512")
        secret = PrivateKey(self.secret).add(tweak[:32]).secret
        return type(self)(secret, tweak[32:], self.depth + 1, public.fingerprint(), number)

    def public(self) -> PublicBranch:
        """The same without its secret."""
        key = PrivateKey(self.secret).public_key.format()
        return PublicBranch(key, self.chain_code, self.depth, self.parent, self.number)

    def sign(self, digest: bytes) -> bytes:
        """A signature of everything (SIGHASH_ALL), as a witness has it."""
        return PrivateKey(self.secret).sign(digest, hasher=None) + b"\1"


def read_xpub(text: str, versions: frozenset[bytes], name: str = "xpub") -> PublicBranch:
    """An xpub of a network. Raises BadKey, with nothing of the text in it: it may be a private key."""
    try:
        data = decode(text)
    except NotBase58 as error:
        raise BadKey(f"{name} is no xpub: {error}") from error
    if data[:4] in _PRIVATE:
        raise BadKey(
            f"{name} is a private key: the exchange must not have it. Take the xpub, and treat this key as known"
        )
    if len(data) != _LENGTH or data[:4] not in PUBLIC_MAIN | PUBLIC_TEST:
        raise BadKey(f"{name} is no xpub: it begins with none of xpub, zpub, tpub and vpub")
    if data[:4] not in versions:
        raise BadKey(f"{name} is of another network: main is xpub or zpub, every test network tpub or vpub")
    try:
        PublicKey(data[45:])
    except ValueError as error:
        raise BadKey(f"{name} is no xpub: its key is not a point of the curve") from error
    return PublicBranch(data[45:], data[13:45], data[4], data[5:9], int.from_bytes(data[9:13], "big"))


def hash160(data: bytes) -> bytes:
    """RIPEMD-160 of SHA-256, Bitcoin's short hash."""
    return new_hash("ripemd160", sha256(data).digest()).digest()

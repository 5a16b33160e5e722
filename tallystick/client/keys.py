"""A client's key: its name, and the private half that proves it."""

from typing import Final

from attrs import field, frozen
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from actors.wire import logon_payload

SEED_BYTES: Final = 32


@frozen
class Key:
    """Who logs on.

    Args:
        name: Of the key, as the operator registered it.
        seed: Its Ed25519 private key, 32 bytes; None to log on by name alone, as a demo allows.

    Raises:
        ValueError: the seed is not of 32 bytes.
    """

    name: str
    seed: bytes | None = field(default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.seed is not None and len(self.seed) != SEED_BYTES:
            raise ValueError(f"an Ed25519 private key has {SEED_BYTES} bytes, not {len(self.seed)}")

    @classmethod
    def from_hex(cls, name: str, seed: str) -> "Key":
        """The key whose private half is written in 64 hexadecimal digits. Raises ValueError."""
        try:
            return cls(name, bytes.fromhex(seed.strip()))
        except ValueError as error:
            # Never the digits: they are a secret.
            raise ValueError("a private key is written in 64 hexadecimal digits") from error

    def logon_params(self, nonce: str, timestamp: int) -> dict[str, object]:
        """What a logon over this nonce says, at this time (ms since 1970)."""
        if self.seed is None:
            return {"apiKey": self.name}
        private = Ed25519PrivateKey.from_private_bytes(self.seed)
        signature = private.sign(logon_payload(self.name, nonce, timestamp))
        return {"apiKey": self.name, "timestamp": timestamp, "signature": signature.hex()}

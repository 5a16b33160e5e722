"""Is a logon good? A signature over this connection's nonce, by the key it names, in time.

What a logon signs names the key, the nonce that `hello` gave to this connection alone, and the time: nothing of it can
be used again anywhere. Where the configuration allows it (the demo, on loopback), a key's name is enough.
"""

import base64
import binascii
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from actors.networks import is_in, networks_of
from actors.parameters import LogonParams
from actors.wire import RefusedError, logon_payload
from book.codes import INVALID_SIGNATURE, INVALID_TIMESTAMP, MANDATORY_PARAM, REJECTED_KEY
from book.definitions import Key
from book.terms import TRADE

# How far a client's clock may be ahead of ours: what the engine grants to commands.
MAX_AHEAD_MS: Final = 1_000

SIGNATURE_BYTES: Final = 64

# Stands in for a key that does not exist, so that asking for one takes as long as a wrong signature.
_NOBODY: Final = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"


def check_params(params: LogonParams, now_ms: int, *, unsigned: bool) -> None:
    """Raise RefusedError for what no key could make good; `unsigned` logons are allowed or not."""
    if not params.signature and not unsigned:
        raise RefusedError(MANDATORY_PARAM, "signature is missing: log on with apiKey, timestamp and signature")
    if params.signature and not params.timestamp:
        raise RefusedError(MANDATORY_PARAM, "timestamp is missing: the signature is over it")
    if params.timestamp and not -MAX_AHEAD_MS <= now_ms - params.timestamp <= params.recv_window:
        raise RefusedError(
            INVALID_TIMESTAMP, f"timestamp is not within recvWindow, {params.recv_window} ms, of the exchange's time"
        )


def check_key(params: LogonParams, nonce: str, key: Key | None, host: str) -> Key:
    """The key, if it is there, signed this logon and may be used from this host; else raises RefusedError."""
    signed = not params.signature or _signed(params, nonce, _NOBODY if key is None else key.public_key)
    if key is None:
        raise RefusedError(REJECTED_KEY, "there is no such key, or it was revoked")
    if not signed:
        raise RefusedError(INVALID_SIGNATURE, "the signature is not this key's over apiKey=…&nonce=…&timestamp=…")
    # Last, so that only the key's owner learns that it is a matter of where from.
    if key.networks and not is_in(host, networks_of(key.networks)):
        raise RefusedError(REJECTED_KEY, "this key may not be used from this address", reason="ADDRESS_NOT_ALLOWED")
    if params.cancel_on_disconnect and not key.permissions & TRADE:
        raise RefusedError(REJECTED_KEY, "cancelOnDisconnect is for keys that have permission to trade")
    return key


def _signed(params: LogonParams, nonce: str, public_key: str) -> bool:
    payload = logon_payload(params.api_key, nonce, params.timestamp)
    try:
        signature = _signature_bytes(params.signature)
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(signature, payload)
    except (InvalidSignature, ValueError):
        return False
    return True


def _signature_bytes(text: str) -> bytes:
    """64 bytes, of hex or base64. Raises ValueError."""
    if len(text) == 2 * SIGNATURE_BYTES:
        return binascii.unhexlify(text)
    return base64.b64decode(text, validate=True)

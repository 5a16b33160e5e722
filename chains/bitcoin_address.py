"""Bitcoin's addresses: of each network, and the script that each stands for."""

from typing import Final

from attrs import frozen

from chains import base58, bech32
from chains.extended_key import hash160
from chains.wallet import BadAddress

_SEPARATOR: Final = "1"


@frozen
class Network:
    """How a network's addresses begin."""

    name: str
    prefix: str
    """Of bech32."""
    key: int
    """The first byte of base58 for a key's hash (P2PKH)."""
    script: int
    """The first byte of base58 for a script's hash (P2SH)."""


NETWORKS: Final = {
    each.name: each
    for each in (
        Network("mainnet", "bc", 0x00, 0x05),
        Network("testnet", "tb", 0x6F, 0xC4),
        Network("testnet4", "tb", 0x6F, 0xC4),
        Network("signet", "tb", 0x6F, 0xC4),
        Network("regtest", "bcrt", 0x6F, 0xC4),
    )
}
_PREFIXES: Final = frozenset(each.prefix for each in NETWORKS.values())


def of_public_key(network: Network, key: bytes) -> str:
    """The P2WPKH address (BIP-84) of a compressed public key."""
    return bech32.encode(network.prefix, 0, hash160(key))


def normal(network: Network, text: str) -> str:
    """The usual writing: bech32 in small letters. Raises BadAddress."""
    script_of(network, text)
    return text.lower() if _is_bech32(text) else text


def script_of(network: Network, text: str) -> bytes:
    """What an output that pays this address has as its script. Raises BadAddress."""
    if not text.isascii():
        raise BadAddress("it has characters that no Bitcoin address has")
    try:
        return _segwit_script(network, text) if _is_bech32(text) else _old_script(network, text)
    except (bech32.NotBech32, base58.NotBase58) as error:
        raise BadAddress(f"no Bitcoin address: {error}") from error


def _is_bech32(text: str) -> bool:
    return text.lower().rpartition(_SEPARATOR)[0] in _PREFIXES


def _segwit_script(network: Network, text: str) -> bytes:
    prefix, version, program = bech32.decode(text)
    if prefix != network.prefix:
        raise BadAddress(f"it begins with {prefix}: on {network.name} addresses begin with {network.prefix}")
    if version > 1:
        raise BadAddress(f"its witness version is {version}: anybody could spend what is sent there")
    if version == 1 and len(program) != 32:
        raise BadAddress("a taproot address holds 32 bytes; anybody could spend what is sent to this one")
    return bytes([0x50 + version if version else 0, len(program)]) + program


def _old_script(network: Network, text: str) -> bytes:
    data = base58.decode(text)
    if len(data) != 21:
        raise BadAddress("no Bitcoin address: an old one holds 20 bytes")
    kind, hashed = data[0], data[1:]
    if kind == network.key:
        return b"\x76\xa9\x14" + hashed + b"\x88\xac"
    if kind == network.script:
        return b"\xa9\x14" + hashed + b"\x87"
    raise BadAddress(f"it is not of {network.name}")

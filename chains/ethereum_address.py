"""Ethereum's addresses: 20 bytes in hexadecimal, whose capitals are their checksum (EIP-55)."""

import re
from functools import lru_cache
from typing import Final

from eth_hash.auto import keccak

from chains.wallet import BadAddress

_FORM: Final = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
ZERO: Final = "0x" + "0" * 40


@lru_cache(maxsize=65536)  # a block names the same few contracts and exchanges again and again
def checksummed(address: str) -> str:
    """With the capitals of EIP-55. `address`: 0x and 40 hexadecimal digits."""
    digits = address[2:].lower()
    marks = keccak(digits.encode("ascii")).hex()
    return "0x" + "".join(
        digit.upper() if mark >= "8" else digit for digit, mark in zip(digits, marks[:40], strict=True)
    )


def of_public_key(point: bytes) -> str:
    """The address of an uncompressed public key of 65 bytes."""
    return checksummed("0x" + keccak(point[1:])[-20:].hex())


def normal(text: str) -> str:
    """Checksummed. One without any capitals, or of capitals only, has no checksum to be wrong. Raises BadAddress."""
    if _FORM.fullmatch(text) is None:
        raise BadAddress("an Ethereum address is 0x and 40 hexadecimal digits")
    address = checksummed(text)
    digits = text[2:]
    if text != address and digits not in {digits.lower(), digits.upper()}:
        raise BadAddress("its capitals are not those of its checksum (EIP-55): look for a mistyped character")
    if address == ZERO:
        raise BadAddress("the zero address: what is sent there is lost")
    return address

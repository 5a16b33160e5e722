"""Base58Check: how Bitcoin writes old addresses and extended keys, with a checksum of four bytes."""

from hashlib import sha256
from typing import Final

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUES: Final = {character: value for value, character in enumerate(_ALPHABET)}

# Longer than any that is used: the work grows with the square of it.
MAX_CHARACTERS: Final = 120


class NotBase58(ValueError):  # noqa: N818 - the caller's mistake, told in a sentence
    """A text is not what `encode` makes."""


def encode(data: bytes) -> str:
    """With its checksum."""
    data += _checksum(data)
    number = int.from_bytes(data, "big")
    digits = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(_ALPHABET[digit])
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + "".join(reversed(digits))


def decode(text: str) -> bytes:
    """Without its checksum. Raises NotBase58."""
    if len(text) > MAX_CHARACTERS:
        raise NotBase58(f"it is longer than {MAX_CHARACTERS} characters")
    number = 0
    for character in text:
        if character not in _VALUES:
            raise NotBase58("it has a character that base58 does not have")
        number = number * 58 + _VALUES[character]
    leading = len(text) - len(text.lstrip("1"))
    data = bytes(leading) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    if len(data) < 4 or _checksum(data[:-4]) != data[-4:]:
        raise NotBase58("its checksum is wrong: look for a mistyped character")
    return data[:-4]


def _checksum(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()[:4]

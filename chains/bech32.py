"""Segwit addresses: bech32 (BIP-173) for version 0, bech32m (BIP-350) for the later ones."""

from collections.abc import Iterable, Sequence
from typing import Final

_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES: Final = {character: value for value, character in enumerate(_ALPHABET)}
_GENERATORS: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32: Final = 1
_BECH32M: Final = 0x2BC830A3

MAX_CHARACTERS: Final = 90
MAX_VERSION: Final = 16


class NotBech32(ValueError):  # noqa: N818 - the caller's mistake, told in a sentence
    """A text is not what `encode` makes."""


def encode(prefix: str, version: int, program: bytes) -> str:
    """A witness program's address."""
    values = [version, *_regrouped(program, 8, 5)]
    constant = _BECH32M if version else _BECH32
    remainder = _polymod([*_expanded(prefix), *values, 0, 0, 0, 0, 0, 0]) ^ constant
    checksum = [(remainder >> 5 * (5 - place)) & 31 for place in range(6)]
    return f"{prefix}1{''.join(_ALPHABET[value] for value in (*values, *checksum))}"


def decode(text: str) -> tuple[str, int, bytes]:
    """Prefix, version and program. Raises NotBech32."""
    if len(text) > MAX_CHARACTERS:
        raise NotBech32(f"it is longer than {MAX_CHARACTERS} characters")
    if text not in {text.lower(), text.upper()}:
        raise NotBech32("it mixes capitals and small letters")
    prefix, one, data = text.lower().rpartition("1")
    if not one or not prefix or len(data) < 7 or not set(data) <= _VALUES.keys():
        raise NotBech32("it is not of the form prefix, 1, and the characters of bech32")
    values = [_VALUES[character] for character in data]
    version = values[0]
    if _polymod([*_expanded(prefix), *values]) != (_BECH32M if version else _BECH32):
        raise NotBech32("its checksum is wrong: look for a mistyped character")
    program = _joined(values[1:-6])
    if version > MAX_VERSION or not 2 <= len(program) <= 40 or (version == 0 and len(program) not in {20, 32}):
        raise NotBech32("it holds no witness program")
    return prefix, version, program


def _joined(values: Sequence[int]) -> bytes:
    """Five bits at a time into bytes; what is left over must be fewer than five bits, all zero."""
    left_over = len(values) * 5 % 8
    if left_over >= 5 or (values and values[-1] & ((1 << left_over) - 1)):
        raise NotBech32("it does not end where a byte does")
    return bytes(_regrouped(values, 5, 8))[: len(values) * 5 // 8]


def _regrouped(values: Iterable[int], from_bits: int, to_bits: int) -> Iterable[int]:
    """The same bits in groups of another size, the last filled up with zeros."""
    pending = bits = 0
    for value in values:
        pending = (pending << from_bits) | value
        bits += from_bits
        while bits >= to_bits:
            bits -= to_bits
            yield (pending >> bits) & ((1 << to_bits) - 1)
    if bits:
        yield (pending << (to_bits - bits)) & ((1 << to_bits) - 1)


def _expanded(prefix: str) -> Iterable[int]:
    return [*(ord(each) >> 5 for each in prefix), 0, *(ord(each) & 31 for each in prefix)]


def _polymod(values: Iterable[int]) -> int:
    remainder = 1
    for value in values:
        top = remainder >> 25
        remainder = ((remainder & 0x1FFFFFF) << 5) ^ value
        for place, generator in enumerate(_GENERATORS):
            if (top >> place) & 1:
                remainder ^= generator
    return remainder

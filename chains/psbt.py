"""Unsigned Bitcoin transactions for other wallets to sign: PSBT, version 0 (BIP-174), of P2WPKH inputs.

Each input tells the output that it spends, and by which path of which master key its own key is found.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from attrs import evolve, frozen

from chains.bitcoin_transaction import (
    BadTransaction,
    Reader,
    Tx,
    TxIn,
    TxOut,
    output,
    read_input,
    sized,
)
from chains.extended_key import PrivateBranch, hash160

_MAGIC: Final = b"psbt\xff"
_UNSIGNED_TX: Final = b"\x00"
_WITNESS_UTXO: Final = b"\x01"
_DERIVATION: Final = b"\x06"
_END: Final = b"\x00"

FINGERPRINT_BYTES: Final = 4


@frozen
class Origin:
    """How a key is found: the fingerprint of a master key, and the path from it."""

    fingerprint: bytes
    path: tuple[int, ...]


@frozen
class PsbtInput:
    """An input: what it spends, and whose key signs it."""

    spends: TxOut
    public_key: bytes
    origin: Origin


@frozen
class Psbt:
    """A transaction that nobody has signed."""

    transaction: Tx
    inputs: tuple[PsbtInput, ...]

    def fee(self) -> int:
        """What it leaves to the miners."""
        return sum(each.spends.amount for each in self.inputs) - sum(each.amount for each in self.transaction.outputs)


def write(psbt: Psbt) -> bytes:
    """As BIP-174 writes it."""
    parts = [_MAGIC, _pair(_UNSIGNED_TX, psbt.transaction.stripped()), _END]
    for each in psbt.inputs:
        path = b"".join(number.to_bytes(4, "little") for number in each.origin.path)
        parts += [
            _pair(_WITNESS_UTXO, output(each.spends)),
            _pair(_DERIVATION + each.public_key, each.origin.fingerprint + path),
            _END,
        ]
    return b"".join(parts) + _END * len(psbt.transaction.outputs)


def read(content: bytes) -> Psbt:
    """One that `write` wrote, or another wallet in the same way. Raises BadTransaction."""
    reader = Reader(content)
    if reader.take(len(_MAGIC)) != _MAGIC:
        raise BadTransaction("it is no PSBT")
    unsigned = _unsigned(dict(_pairs(reader)).get(_UNSIGNED_TX, b""))
    inputs = tuple(_input(dict(_pairs(reader))) for _ in unsigned.inputs)
    for _ in unsigned.outputs:
        list(_pairs(reader))
    reader.end()
    return Psbt(unsigned, inputs)


def sign(psbt: Psbt, master: PrivateBranch) -> Tx:
    """Sign every input with the key that its origin leads to. Raises BadTransaction where that is not its key."""
    fingerprint = master.public().fingerprint()
    inputs = []
    for place, each in enumerate(psbt.inputs):
        branch = master.path(each.origin.path)
        public = branch.public().key
        if each.origin.fingerprint != fingerprint or public != each.public_key:
            raise BadTransaction(f"input {place} belongs to another wallet")
        digest = psbt.transaction.signed_hash(place, hash160(public), each.spends.amount)
        inputs.append(evolve(psbt.transaction.inputs[place], witness=(branch.sign(digest), public)))
    return evolve(psbt.transaction, inputs=tuple(inputs))


def _pair(key: bytes, value: bytes) -> bytes:
    return sized(key) + sized(value)


def _pairs(reader: Reader) -> Iterator[tuple[bytes, bytes]]:
    while key := reader.sized():
        yield key, reader.sized()


def _unsigned(stripped: bytes) -> Tx:
    reader = Reader(stripped)
    version = reader.number(4)
    inputs = tuple(TxIn(*read_input(reader)) for _ in range(reader.count()))
    outputs = tuple(read_output(reader) for _ in range(reader.count()))
    lock_time = reader.number(4)
    reader.end()
    if not inputs or not outputs:
        raise BadTransaction("it pays nothing")
    return Tx(inputs, outputs, version, lock_time)


def read_output(reader: Reader) -> TxOut:
    """An output's amount and script."""
    return TxOut(reader.number(8), reader.sized())


def _input(pairs: Mapping[bytes, bytes]) -> PsbtInput:
    keys = [key for key in pairs if key[:1] == _DERIVATION]
    if _WITNESS_UTXO not in pairs or len(keys) != 1:
        raise BadTransaction("an input does not tell what it spends, or whose key signs it")
    found = pairs[keys[0]]
    if len(found) % 4 or len(found) < FINGERPRINT_BYTES:
        raise BadTransaction("an input's path is not of whole numbers")
    path = tuple(_numbers(found[FINGERPRINT_BYTES:]))
    reader = Reader(pairs[_WITNESS_UTXO])
    spends = read_output(reader)
    reader.end()
    return PsbtInput(spends, keys[0][1:], Origin(found[:FINGERPRINT_BYTES], path))


def _numbers(data: bytes) -> Iterable[int]:
    return (int.from_bytes(data[place : place + 4], "little") for place in range(0, len(data), 4))

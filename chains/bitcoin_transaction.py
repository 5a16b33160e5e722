"""Bitcoin's transactions to the byte, as far as the hot wallet's are made: P2WPKH inputs, version 2 (BIP-141, BIP-143).

This is how what a signer hands out is held against what was planned, and how an unsigned one is written for a PSBT.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

from attrs import frozen
from coincurve import PublicKey

from chains.extended_key import hash160
from chains.node import Outpoint

VERSION: Final = 2
# Replaceable by a transaction with a higher fee (BIP-125), and without a lock time.
REPLACEABLE: Final = 0xFFFFFFFD
SIGHASH_ALL: Final = 1

_MARKER: Final = b"\0\1"


class BadTransaction(ValueError):  # noqa: N818 - says what is wrong
    """Bytes are not a transaction of the kind that was asked for."""


@frozen
class TxIn:
    """An input, unlocked by the items of its witness."""

    output: Outpoint
    sequence: int = REPLACEABLE
    witness: tuple[bytes, ...] = ()


@frozen
class TxOut:
    """So many satoshi, for whoever satisfies the script."""

    amount: int
    script: bytes


@frozen
class Tx:
    """A transaction, signed where every input has a witness."""

    inputs: tuple[TxIn, ...]
    outputs: tuple[TxOut, ...]
    version: int = VERSION
    lock_time: int = 0

    def stripped(self) -> bytes:
        """Without witnesses: what its id is the hash of."""
        return b"".join((*self._head(), self.lock_time.to_bytes(4, "little")))

    def raw(self) -> bytes:
        """With witnesses, as it travels."""
        version, *rest = self._head()
        witnesses = (compact(len(each.witness)) + b"".join(map(sized, each.witness)) for each in self.inputs)
        return b"".join((version, _MARKER, *rest, *witnesses, self.lock_time.to_bytes(4, "little")))

    def txid(self) -> str:
        """Its id, as people write it."""
        return double_sha256(self.stripped())[::-1].hex()

    def virtual_bytes(self) -> int:
        """What fees are measured by."""
        return (3 * len(self.stripped()) + len(self.raw()) + 3) // 4

    def _head(self) -> Iterable[bytes]:
        yield self.version.to_bytes(4, "little")
        yield compact(len(self.inputs))
        for each in self.inputs:
            yield outpoint(each.output) + sized(b"") + each.sequence.to_bytes(4, "little")
        yield compact(len(self.outputs))
        for out in self.outputs:
            yield output(out)

    def signed_hash(self, number: int, key_hash: bytes, amount: int) -> bytes:
        """What the signature of a P2WPKH input, worth `amount`, is of (BIP-143, SIGHASH_ALL)."""
        each = self.inputs[number]
        return double_sha256(
            b"".join(
                (
                    self.version.to_bytes(4, "little"),
                    double_sha256(b"".join(outpoint(one.output) for one in self.inputs)),
                    double_sha256(b"".join(one.sequence.to_bytes(4, "little") for one in self.inputs)),
                    outpoint(each.output),
                    sized(b"\x76\xa9" + sized(key_hash) + b"\x88\xac"),
                    amount.to_bytes(8, "little"),
                    each.sequence.to_bytes(4, "little"),
                    double_sha256(b"".join(map(output, self.outputs))),
                    self.lock_time.to_bytes(4, "little"),
                    SIGHASH_ALL.to_bytes(4, "little"),
                )
            )
        )

    def check_signatures(self, script: bytes, amounts: Sequence[int]) -> None:
        """All inputs spend outputs with this P2WPKH script, worth `amounts`, and are signed. Raises BadTransaction."""
        for number, (each, amount) in enumerate(zip(self.inputs, amounts, strict=True)):
            if len(each.witness) != 2:
                raise BadTransaction(f"input {number} is not signed as P2WPKH is")
            signature, key = each.witness
            key_hash = hash160(key)
            if script != b"\0" + sized(key_hash):
                raise BadTransaction(f"input {number} is signed with another key")
            if signature[-1:] != bytes([SIGHASH_ALL]):
                raise BadTransaction(f"the signature of input {number} leaves something open")
            digest = self.signed_hash(number, key_hash, amount)
            if not PublicKey(key).verify(signature[:-1], digest, hasher=None):
                raise BadTransaction(f"the signature of input {number} is wrong")


def compact(number: int) -> bytes:
    """Bitcoin's variable-length integer."""
    for limit, marker, size in ((0xFD, b"", 1), (0x1_0000, b"\xfd", 2), (0x1_0000_0000, b"\xfe", 4)):
        if number < limit:
            return marker + number.to_bytes(size, "little")
    return b"\xff" + number.to_bytes(8, "little")


def sized(data: bytes) -> bytes:
    """Bytes behind their length."""
    return compact(len(data)) + data


def outpoint(output: Outpoint) -> bytes:
    """As an input names it."""
    return bytes.fromhex(output.txid)[::-1] + output.n.to_bytes(4, "little")


def output(out: TxOut) -> bytes:
    """An output's bytes."""
    return out.amount.to_bytes(8, "little") + sized(out.script)


def double_sha256(data: bytes) -> bytes:
    """Bitcoin's hash."""
    return sha256(sha256(data).digest()).digest()


# Reading -------------------------------------------------------------------------------------------------------------


class Reader:
    """Reads bytes from the front; every method raises BadTransaction where they end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def take(self, count: int) -> bytes:
        """So many bytes."""
        part = self._data[self._place : self._place + count]
        if len(part) != count:
            raise BadTransaction("it ends too early")
        self._place += count
        return part

    def number(self, count: int) -> int:
        """A number of so many bytes."""
        return int.from_bytes(self.take(count), "little")

    def compact(self) -> int:
        """A variable-length integer."""
        first = self.number(1)
        return self.number(1 << first - 0xFC) if first >= 0xFD else first

    def count(self) -> int:
        """How many things follow, each of which takes a byte at least."""
        number = self.compact()
        if number > len(self._data):
            raise BadTransaction("it ends too early")
        return number

    def sized(self) -> bytes:
        """Bytes behind their length."""
        return self.take(self.compact())

    def end(self) -> None:
        """There must be no more."""
        if self._place != len(self._data):
            raise BadTransaction("something follows it")


def read(raw: bytes) -> Tx:
    """A transaction with witnesses, whose inputs have no old scripts. Raises BadTransaction."""
    reader = Reader(raw)
    version = reader.number(4)
    if reader.take(2) != _MARKER:
        raise BadTransaction("it has no witnesses")
    inputs = [read_input(reader) for _ in range(reader.count())]
    outputs = tuple(TxOut(reader.number(8), reader.sized()) for _ in range(reader.count()))
    witnesses = [tuple(reader.sized() for _ in range(reader.count())) for _ in inputs]
    lock_time = reader.number(4)
    reader.end()
    return Tx(
        tuple(TxIn(*spent, witness) for spent, witness in zip(inputs, witnesses, strict=True)),
        outputs,
        version,
        lock_time,
    )


def read_input(reader: Reader) -> tuple[Outpoint, int]:
    """What an input without an old script spends, and its sequence."""
    output = Outpoint(reader.take(32)[::-1].hex(), reader.number(4))
    if reader.sized():
        raise BadTransaction("an input has an old script")
    return output, reader.number(4)

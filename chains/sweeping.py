"""Collecting deposits into the cold wallet: from what the deposit addresses hold to unsigned transactions. Pure.

What the online part found (`Found`) is a file that travels to the offline machine. Nothing in it is secret, and nothing
in it is trusted there: it says what there is to spend, and the operator sees where it goes and what it costs.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from attrs import frozen

from chains import bitcoin_address
from chains.address_books import RECEIVING, EthereumAddresses, xpub_versions
from chains.bitcoin_coins import MAX_INPUTS, dust_limit, fee_of
from chains.bitcoin_transaction import Tx, TxIn, TxOut
from chains.ethereum_fees import PLAIN_GAS
from chains.extended_key import HARDENED, read_xpub
from chains.node import Outpoint
from chains.psbt import FINGERPRINT_BYTES, Origin, Psbt, PsbtInput
from chains.wallet import BadKey, EthereumPlan, Output, WalletError

TOKEN_GAS: Final = 100_000


class NothingToSweep(WalletError):  # noqa: N818 - an answer
    """Nothing is there, or nothing that is worth its fee."""


class FoundCoin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An output that a deposit address holds; amounts are in base units, written as text."""

    txid: str
    n: int
    amount: str
    index: int


class FoundAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a deposit address holds on Ethereum: of Ether, and of the token if one was asked for."""

    index: int
    nonce: int
    ether: str
    tokens: str = "0"


class FoundBitcoin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="bitcoin", tag_field="chain"):
    """What the deposit addresses of a Bitcoin xpub hold."""

    network: str
    xpub: str
    height: int
    coins: list[FoundCoin]


class FoundEthereum(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="ethereum", tag_field="chain"):
    """What the deposit addresses of an Ethereum xpub hold, and what gas costs (wei per unit)."""

    chain_id: int
    xpub: str
    height: int
    max_fee: str
    tip: str
    accounts: list[FoundAccount]
    token: str | None = None


Found = FoundBitcoin | FoundEthereum


@frozen
class AccountKey:
    """An account's xpub, and where it is from: `[73c5da0a/84'/0'/0']xpub…` as wallets write both."""

    xpub: str
    origin: Origin | None


@frozen
class AccountTransfer:
    """A transfer out of the deposit address of this index."""

    index: int
    sender: str
    plan: EthereumPlan


def read_key(text: str) -> AccountKey:
    """An xpub, with or without its origin. Raises BadKey."""
    if not text.startswith("["):
        return AccountKey(text, None)
    inside, bracket, xpub = text[1:].partition("]")
    fingerprint, *numbers = inside.split("/")
    try:
        origin = Origin(bytes.fromhex(fingerprint), tuple(_number(each) for each in numbers))
    except ValueError:
        origin = Origin(b"", ())
    if not bracket or len(origin.fingerprint) != FINGERPRINT_BYTES:
        raise BadKey("the key's origin is not of the form [fingerprint/84'/0'/0']")
    return AccountKey(xpub, origin)


def _number(text: str) -> int:
    digits = text.rstrip("'h")
    if not (digits.isascii() and digits.isdigit()) or int(digits) >= HARDENED:
        raise ValueError(text)
    return int(digits) + (HARDENED if digits != text else 0)


def sweep_bitcoin(found: FoundBitcoin, to: str, *, rate: int, max_fee: int) -> tuple[Psbt, int]:
    """All coins that are worth their fee to one address, and how many are left for another time.

    `rate`: satoshi per 1,000 virtual bytes. Raises NothingToSweep, BadKey, BadAddress, or WalletError for the cap.
    """
    network = bitcoin_address.NETWORKS[found.network]
    script = bitcoin_address.script_of(network, to)
    key = read_key(found.xpub)
    if key.origin is None:
        raise BadKey("the xpub comes without its origin: a signer could not find its keys ('tallystick wallet xpub')")
    branch = read_xpub(key.xpub, xpub_versions(found.network)).child(RECEIVING)
    spending = fee_of(2, script, has_change=False, rate=rate) - fee_of(1, script, has_change=False, rate=rate)
    worth = sorted((each for each in found.coins if int(each.amount) > spending), key=lambda each: -int(each.amount))
    chosen = worth[:MAX_INPUTS]
    fee = fee_of(len(chosen), script, has_change=False, rate=rate)
    amount = sum(int(each.amount) for each in chosen) - fee
    if amount < dust_limit(script):
        raise NothingToSweep("the deposit addresses hold nothing that is worth its fee")
    if fee > max_fee:
        raise WalletError(f"the fee would be {fee} satoshi, and --max-fee is {max_fee}")
    inputs = []
    for each in chosen:
        child = branch.child(each.index)
        address = bitcoin_address.of_public_key(network, child.key)
        spends = TxOut(int(each.amount), bitcoin_address.script_of(network, address))
        origin = Origin(key.origin.fingerprint, (*key.origin.path, RECEIVING, each.index))
        inputs.append(PsbtInput(spends, child.key, origin))
    spent = tuple(TxIn(Outpoint(each.txid, each.n)) for each in chosen)
    return Psbt(Tx(spent, (TxOut(amount, script),)), tuple(inputs)), len(worth) - len(chosen)


def sweep_ethereum(found: FoundEthereum, to: str, *, max_fee: int) -> tuple[list[AccountTransfer], list[str]]:
    """A transfer from each address that holds something, and the addresses that lack the Ether for their fee.

    `max_fee`: wei per unit of gas. Raises NothingToSweep, BadKey, BadAddress, or WalletError for the cap.
    """
    book = EthereumAddresses(read_key(found.xpub).xpub)
    to = book.normal(to)
    if int(found.max_fee) > max_fee:
        raise WalletError(f"a unit of gas would cost {found.max_fee} wei, and --max-fee is {max_fee}")
    gas = PLAIN_GAS if found.token is None else TOKEN_GAS
    cost = gas * int(found.max_fee)
    transfers, lacking = [], []
    for account, amount in _holding(found, cost):
        sender = book.address(account.index)
        if int(account.ether) < cost:
            lacking.append(sender)
            continue
        plan = EthereumPlan(
            found.chain_id, account.nonce, Output(to, amount), found.token, gas, int(found.max_fee), int(found.tip)
        )
        transfers.append(AccountTransfer(account.index, sender, plan))
    if not transfers and not lacking:
        raise NothingToSweep("the deposit addresses hold nothing that is worth its fee")
    return transfers, lacking


def _holding(found: FoundEthereum, cost: int) -> Iterable[tuple[FoundAccount, int]]:
    accounts: Sequence[FoundAccount] = found.accounts
    for account in accounts:
        amount = int(account.ether) - cost if found.token is None else int(account.tokens)
        if amount > 0:
            yield account, amount

"""`tallystick wallet`: keystores, xpubs, and sweeping deposits into the cold wallet.

Everything but `holdings` works without a network, for a machine that has none: what there is to spend comes to it in a
file, and what is signed leaves it in one.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import trio
import typer
from coincurve import PrivateKey
from eth_account import Account

from chains import bitcoin_address, ethereum_address, keystore, psbt
from chains.address_books import BitcoinAddresses, EthereumAddresses
from chains.bitcoin_transaction import BadTransaction
from chains.erc20 import Erc20, Erc20Config
from chains.ethereum import Ethereum, EthereumConfig
from chains.extended_key import TPUB, XPUB, PrivateBranch
from chains.holdings import MAX_ADDRESSES, find_bitcoin, find_ethereum
from chains.node import ChainError
from chains.rpc import Rpc, RpcConfig
from chains.signing import BITCOIN, ETHEREUM, ethereum_fields
from chains.sweeping import (
    AccountTransfer,
    Found,
    FoundBitcoin,
    FoundEthereum,
    sweep_bitcoin,
    sweep_ethereum,
)
from chains.wallet import BadKey, EthereumPlan, Output, WalletError
from persistence.exits import Exit

KeystoreFile = Annotated[Path, typer.Argument(metavar="KEYSTORE", help="The keystore's file.")]
Chain = Annotated[str, typer.Option("--chain", help="bitcoin or ethereum.")]
Network = Annotated[str, typer.Option("--network", help="Of Bitcoin: mainnet, testnet, testnet4, signet or regtest.")]
PassphraseSource = Annotated[
    str, typer.Option("--passphrase", help="env:NAME, file:PATH or credential:NAME; asked for where it is missing.")
]
Out = Annotated[Path, typer.Option("--out", help="The file to write; it must not exist.")]

_UNITS: Final = {"bitcoin": 8, "ethereum": 18}

wallet = typer.Typer(help="Keystores, xpubs, and sweeping deposits into the cold wallet.", no_args_is_help=True)


# Keys ----------------------------------------------------------------------------------------------------------------


@wallet.command()
def new(file: KeystoreFile, *, passphrase: PassphraseSource = "") -> None:
    """Make a new secret and write it, encrypted. It is shown by 'wallet words' only."""
    with _guarded():
        secret = os.urandom(keystore.ENTROPY_BYTES)
        keystore.write(file, keystore.seal(secret, _passphrase(passphrase, confirm=True), os.urandom))
    typer.echo(
        f"{file} is written; put down its 24 words where no fire and no thief comes: tallystick wallet words {file}"
    )


@wallet.command()
def words(file: KeystoreFile, *, passphrase: PassphraseSource = "") -> None:
    """Show the 24 words that are the secret: whoever has them has the money. Any wallet can take over from them."""
    with _guarded():
        typer.echo(keystore.words(keystore.unseal(_content(file), _passphrase(passphrase))))


@wallet.command()
def xpub(file: KeystoreFile, *, chain: Chain, network: Network = "mainnet", passphrase: PassphraseSource = "") -> None:
    """Show what the exchange's configuration takes: the account's xpub with its origin, and addresses to compare."""
    with _guarded():
        _check(chain, network)
        master = keystore.unlock(file, _passphrase(passphrase))
        path = keystore.account_path(chain, network)
        public = master.path(path).public().write(TPUB if chain == BITCOIN and network != "mainnet" else XPUB)
        origin = f"[{master.public().fingerprint().hex()}{keystore.written(path).removeprefix('m')}]"
        book = BitcoinAddresses(network, public) if chain == BITCOIN else EthereumAddresses(public)
        typer.echo(f"xpub           {origin}{public}")
        typer.echo(f"first deposit  {book.address(0)}")
        typer.echo(f"hot wallet     {_hot_address(master, chain, network)}")


def _hot_address(master: PrivateBranch, chain: str, network: str) -> str:
    secret = master.path(keystore.hot_path(chain, network)).secret
    key = PrivateKey(secret).public_key
    if chain == BITCOIN:
        return bitcoin_address.of_public_key(bitcoin_address.NETWORKS[network], key.format())
    return ethereum_address.of_public_key(key.format(compressed=False))


# Balances ------------------------------------------------------------------------------------------------------------


@wallet.command()
def holdings(
    *,
    chain: Chain,
    key: Annotated[str, typer.Option("--xpub", help="The account's, with its origin, as 'wallet xpub' shows it.")],
    node: Annotated[str, typer.Option("--node", help="The node's URL: http://127.0.0.1:8332")],
    count: Annotated[int, typer.Option("--count", min=1, max=MAX_ADDRESSES, help="Of how many addresses, from 0 on.")],
    out: Annotated[Path | None, typer.Option("--out", help="Write the file that 'wallet sweep' takes.")] = None,
    network: Network = "mainnet",
    chain_id: Annotated[int, typer.Option("--chain-id", min=1, help="Of Ethereum.")] = 1,
    token: Annotated[str, typer.Option("--token", help="An ERC-20 contract, to sweep it instead of Ether.")] = "",
    decimals: Annotated[int, typer.Option("--decimals", min=0, max=36, help="Of the token.")] = 18,
    cookie_file: Annotated[str, typer.Option("--cookie-file", help="bitcoind's.")] = "",
    user: Annotated[str, typer.Option("--user", help="The node's; the password is TALLYSTICK_NODE_PASSWORD.")] = "",
) -> None:
    """Ask a node what the deposit addresses hold. The only command here that needs a network."""
    with _guarded():
        _check(chain, network)
        password = os.environ.get("TALLYSTICK_NODE_PASSWORD", "")
        config = RpcConfig(url=node, cookie_file=cookie_file, user=user, password=password)
        asked = partial(_find, chain=chain, network=network, chain_id=chain_id, token=token, decimals=decimals)
        found: Found = trio.run(partial(asked, config, key, count))
        for line in _told(found, decimals):
            typer.echo(line)
        if out is not None:
            _write_new(out, msgspec.json.format(msgspec.json.encode(found)))


async def _find(
    config: RpcConfig, key: str, count: int, *, chain: str, network: str, chain_id: int, token: str, decimals: int
) -> Found:
    async with Rpc(config) as rpc:
        if chain == BITCOIN:
            return await find_bitcoin(rpc, network, key, count)
        on = EthereumConfig(chain_id=chain_id)
        node = Erc20(on, Erc20Config(contract=token, decimals=decimals), rpc) if token else Ethereum(on, rpc)
        return await find_ethereum(node, chain_id, key, range(count))


def _told(found: Found, decimals: int) -> Iterator[str]:
    """What each address holds, and the sum."""
    if isinstance(found, FoundBitcoin):
        held = [(each.index, int(each.amount)) for each in found.coins]
        unit = _UNITS[BITCOIN]
    else:
        held = [(each.index, int(each.ether if found.token is None else each.tokens)) for each in found.accounts]
        unit = _UNITS[ETHEREUM] if found.token is None else decimals
    for index, amount in held:
        yield f"{index:10} {_decimal(amount, unit):>30}"
    yield f"{'total':10} {_decimal(sum(amount for _, amount in held), unit):>30}  at block {found.height}"


def _decimal(amount: int, decimals: int) -> str:
    whole, rest = divmod(amount, 10**decimals)
    return f"{whole}.{rest:0{decimals}}" if decimals else str(whole)


# Sweeping ------------------------------------------------------------------------------------------------------------


class Transfers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Unsigned transactions of Ethereum, one of each address."""

    format: str
    transfers: list[dict[str, Any]]


_TRANSFERS: Final = "tallystick-transfers-1"


@wallet.command()
def sweep(
    found_file: Annotated[Path, typer.Argument(metavar="HOLDINGS", help="What 'wallet holdings --out' wrote.")],
    *,
    to: Annotated[str, typer.Option("--to", help="The cold wallet's address.")],
    out: Out,
    rate: Annotated[int, typer.Option("--rate", min=1000, help="Of Bitcoin: satoshi per 1,000 virtual bytes.")] = 5000,
    max_fee: Annotated[
        int, typer.Option("--max-fee", min=1, help="Of Bitcoin: satoshi in all; of Ethereum: wei per unit of gas.")
    ] = 10**12,
) -> None:
    """Write unsigned transactions that move all deposits to one address: a PSBT, or a file of transfers on Ethereum."""
    with _guarded():
        found: Found = _decoded(found_file, Found)
        if isinstance(found, FoundBitcoin):
            made, left = sweep_bitcoin(found, to, rate=rate, max_fee=max_fee)
            _write_new(out, psbt.write(made))
            amount = _decimal(made.transaction.outputs[0].amount, _UNITS[BITCOIN])
            typer.echo(
                f"{amount} BTC of {len(made.inputs)} outputs to {to}, fee {made.fee()} satoshi; unsigned in {out}"
            )
            if left:
                typer.echo(f"{left} outputs are left for another sweep")
            return
        _sweep_ethereum(found, to, out, max_fee)


def _sweep_ethereum(found: FoundEthereum, to: str, out: Path, max_fee: int) -> None:
    transfers, lacking = sweep_ethereum(found, to, max_fee=max_fee)
    rows = [_row(each) for each in transfers]
    _write_new(out, msgspec.json.format(msgspec.json.encode(Transfers(_TRANSFERS, rows))))
    typer.echo(f"{len(rows)} transfers to {to}, at most {found.max_fee} wei for a unit of gas; unsigned in {out}")
    for address in lacking:
        typer.echo(f"{address} lacks the Ether for its fee: send it some, and sweep it another time")


def _row(transfer: AccountTransfer) -> dict[str, Any]:
    """Numbers as text: JSON's own lose digits in other programs."""
    plan = transfer.plan
    return {
        "index": transfer.index,
        "from": transfer.sender,
        "chainId": plan.chain_id,
        "nonce": plan.nonce,
        "to": plan.output.address,
        "amount": str(plan.output.amount),
        "token": plan.token,
        "gas": plan.gas,
        "maxFee": str(plan.max_fee),
        "maxTip": str(plan.max_tip),
    }


@wallet.command()
def sign(
    unsigned: Annotated[Path, typer.Argument(metavar="UNSIGNED", help="What 'wallet sweep' wrote.")],
    file: KeystoreFile,
    *,
    out: Out,
    passphrase: PassphraseSource = "",
) -> None:
    """Sign what a sweep wrote; the file has one transaction a line, in hexadecimal, for any node to send."""
    with _guarded():
        content = _content(unsigned)
        master = keystore.unlock(file, _passphrase(passphrase))
        if content.startswith(b"psbt"):
            signed = [psbt.sign(psbt.read(content), master).raw().hex()]
        else:
            rows = _decoded(unsigned, Transfers)
            if rows.format != _TRANSFERS:
                raise WalletError(f"{unsigned} is no file that 'wallet sweep' wrote")
            signed = [_signed(row, master) for row in rows.transfers]
        _write_new(out, "".join(f"{each}\n" for each in signed).encode())
    typer.echo(f"{len(signed)} signed in {out}")


def _signed(row: dict[str, Any], master: PrivateBranch) -> str:
    try:
        plan = EthereumPlan(
            int(row["chainId"]),
            int(row["nonce"]),
            Output(ethereum_address.normal(row["to"]), int(row["amount"])),
            row["token"] and ethereum_address.normal(row["token"]),
            int(row["gas"]),
            int(row["maxFee"]),
            int(row["maxTip"]),
        )
        branch = master.path((*keystore.account_path(ETHEREUM), 0, int(row["index"])))
    except (KeyError, TypeError, ValueError) as error:
        raise WalletError(f"a transfer in the file is not in the form that 'wallet sweep' writes: {error}") from error
    account = Account.from_key(branch.secret)
    if account.address != row["from"]:
        raise WalletError(f"{row['from']} belongs to another wallet")
    return "0x" + bytes(account.sign_transaction(ethereum_fields(plan)).raw_transaction).hex()


# Files and passphrases ------------------------------------------------------------------------------------------------


def _check(chain: str, network: str) -> None:
    if chain not in {BITCOIN, ETHEREUM}:
        raise WalletError(f"--chain is {chain!r}: not {BITCOIN} or {ETHEREUM}")
    if network not in bitcoin_address.NETWORKS:
        raise WalletError(f"--network is {network!r}: not one of {', '.join(bitcoin_address.NETWORKS)}")


def _passphrase(source: str, *, confirm: bool = False) -> str:
    if source:
        return keystore.passphrase(source, os.environ)
    found: str = typer.prompt("passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
    return found


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadKey(f"{path} cannot be read: {error.strerror}") from error


def _decoded(path: Path, kind: Any) -> Any:
    try:
        return msgspec.json.decode(_content(path), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WalletError(f"{path} is not in the form that 'tallystick wallet' writes: {error}") from error


def _write_new(path: Path, content: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        raise WalletError(f"{path} exists already") from None
    except OSError as error:
        raise WalletError(f"{path} cannot be written: {error.strerror}") from error


@contextmanager
def _guarded() -> Iterator[None]:
    """One line and exit code 2 for what the operator can mend."""
    try:
        yield
    except (WalletError, ChainError, BadTransaction, ValueError) as error:
        typer.echo(f"tallystick: {error}", err=True)
        raise typer.Exit(Exit.USAGE) from None

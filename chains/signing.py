"""What the signer's process does: unlock a keystore, then sign one plan after the other.

It reads lines of JSON from its standard input and answers each with a line. The secret is in this process alone; it
ends when its input does. It knows nothing of limits: what may be paid is decided before a plan comes here.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from attrs import asdict, frozen
from cattrs.preconf.json import make_converter
from coincurve import PrivateKey

from chains import bitcoin_address, ethereum_address, keystore
from chains.bitcoin_transaction import REPLACEABLE
from chains.wallet import BadKey, BitcoinPlan, EthereumPlan, Output

BITCOIN: Final = "bitcoin"
ETHEREUM: Final = "ethereum"
ADDRESS_ONLY: Final = "address"

# More than a plan of the most inputs.
MAX_LINE_BYTES: Final = 256 * 1024

# bitcoinlib's names; the test networks write addresses alike.
_LIBRARY_NETWORKS: Final = {"mainnet": "bitcoin", "regtest": "regtest"}

_converter = make_converter(detailed_validation=False, forbid_extra_keys=True)

Sign = Callable[[Mapping[str, Any]], bytes]


@frozen(kw_only=True)
class SignerConfig:
    """Which key signs: the keystore, where its passphrase is, and the chain (and of Bitcoin the network)."""

    chain: str
    network: str = "mainnet"
    keystore: str
    passphrase: str

    def __attrs_post_init__(self) -> None:
        if self.chain not in {BITCOIN, ETHEREUM}:
            raise ValueError(f"chain is {self.chain!r}: not {BITCOIN} or {ETHEREUM}")
        if self.chain == BITCOIN and self.network not in bitcoin_address.NETWORKS:
            raise ValueError(f"network is {self.network!r}: not one of {', '.join(bitcoin_address.NETWORKS)}")


def serve(config: SignerConfig, lines: BinaryIO, answers: BinaryIO) -> None:
    """Unlock, say the address, then answer until the input ends. Raises BadKey if the keystore cannot be opened."""
    secret = _secret(config)
    address = _address(config, secret)
    sign = _bitcoin(config.network, secret, address) if config.chain == BITCOIN else _ethereum(secret)
    _say(answers, {"address": address})
    while line := lines.readline(MAX_LINE_BYTES):
        _say(answers, _answer(line, sign))


def _secret(config: SignerConfig) -> bytes:
    """The hot wallet's. Raises BadKey."""
    branch = keystore.unlock(Path(config.keystore), keystore.passphrase(config.passphrase, os.environ))
    return branch.path(keystore.hot_path(config.chain, config.network)).secret


def _address(config: SignerConfig, secret: bytes) -> str:
    """The hot wallet's."""
    key = PrivateKey(secret).public_key
    if config.chain == BITCOIN:
        return bitcoin_address.of_public_key(bitcoin_address.NETWORKS[config.network], key.format())
    return ethereum_address.of_public_key(key.format(compressed=False))


def plan_line(plan: BitcoinPlan | EthereumPlan) -> bytes:
    """A plan as the signer reads it."""
    return json.dumps(asdict(plan), separators=(",", ":")).encode() + b"\n"


def _answer(line: bytes, sign: Sign) -> dict[str, str]:
    """One plan's transaction, or why there is none; a bad plan does not end the signer."""
    try:
        return {"raw": sign(json.loads(line)).hex()}
    except Exception as error:  # noqa: BLE001 - the libraries raise anything; the key is in none of their messages' plans
        return {"error": f"{type(error).__name__}: {error}"[:500]}


def _say(answers: BinaryIO, what: dict[str, str]) -> None:
    answers.write(json.dumps(what).encode() + b"\n")
    answers.flush()


def _bitcoin(network: str, secret: bytes, address: str) -> Sign:
    """What signs a BitcoinPlan that spends from the address."""
    # bitcoinlib makes a folder, a log and a database when it is imported. They are of no use to us.
    with tempfile.TemporaryDirectory(prefix="tallystick-signer-") as folder:
        os.environ["BCL_DATA_DIR"] = folder
        from bitcoinlib.keys import Key  # type: ignore[import-untyped] # noqa: PLC0415 - it reads BCL_DATA_DIR as it is imported
        from bitcoinlib.transactions import Transaction  # type: ignore[import-untyped] # noqa: PLC0415 - as above

    name = _LIBRARY_NETWORKS.get(network, "testnet")
    key = Key(secret.hex(), network=name)
    of = bitcoin_address.NETWORKS[network]

    def sign(raw_plan: Mapping[str, Any]) -> bytes:
        plan = _converter.structure(raw_plan, BitcoinPlan)
        total = sum(coin.amount for coin in plan.coins)
        # The library signs also what pays more than it has, or less than nothing.
        if (
            min(plan.output.amount, plan.fee) <= 0
            or plan.change < 0
            or total != plan.output.amount + plan.change + plan.fee
        ):
            raise BadKey("the plan's coins are not its output, change and fee")
        transaction = Transaction(network=name, witness_type="segwit", version=2, replace_by_fee=True)
        for coin in plan.coins:
            transaction.add_input(
                prev_txid=coin.output.txid,
                output_n=coin.output.n,
                keys=[key],
                value=coin.amount,
                sequence=REPLACEABLE,
                witness_type="segwit",
                script_type="sig_pubkey",
            )
        for output in (plan.output, Output(address, plan.change)):
            if output.amount:
                transaction.add_output(output.amount, lock_script=bitcoin_address.script_of(of, output.address))
        transaction.sign([key])
        return cast("bytes", transaction.raw())

    return sign


def _ethereum(secret: bytes) -> Sign:
    """What signs an EthereumPlan."""
    from eth_account import Account  # noqa: PLC0415 - only one of the chains' libraries is needed

    account = Account.from_key(secret)

    def sign(raw_plan: Mapping[str, Any]) -> bytes:
        plan = _converter.structure(raw_plan, EthereumPlan)
        return bytes(account.sign_transaction(ethereum_fields(plan)).raw_transaction)

    return sign


def ethereum_fields(plan: EthereumPlan) -> dict[str, Any]:
    """The plan as an EIP-1559 transaction's fields."""
    is_native = plan.token is None
    return {
        "type": 2,
        "chainId": plan.chain_id,
        "nonce": plan.nonce,
        "to": plan.output.address if is_native else plan.token,
        "value": plan.output.amount if is_native else 0,
        "data": b"" if is_native else transfer_call(plan.output),
        "gas": plan.gas,
        "maxFeePerGas": plan.max_fee,
        "maxPriorityFeePerGas": plan.max_tip,
        "accessList": [],
    }


def transfer_call(output: Output) -> bytes:
    """The call transfer(address,uint256) that has a token pay `output`; 0xa9059cbb begins the keccak256 of its name."""
    to = bytes.fromhex(output.address[2:])
    return bytes.fromhex("a9059cbb") + to.rjust(32, b"\0") + output.amount.to_bytes(32, "big")


def main(words: Sequence[str]) -> int:
    """The process: chain, network, keystore and the passphrase's source are its words. Returns its exit code.

    With ADDRESS_ONLY behind them it says the address, and ends before it loads what signs.
    """
    chain, network, path, source, *rest = words
    config = SignerConfig(chain=chain, network=network, keystore=path, passphrase=source)
    try:
        if rest == [ADDRESS_ONLY]:
            _say(sys.stdout.buffer, {"address": _address(config, _secret(config))})
        else:
            serve(config, sys.stdin.buffer, sys.stdout.buffer)
    except BadKey as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

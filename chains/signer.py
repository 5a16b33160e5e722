"""The hot wallet's signer as the exchange sees it: a process that holds the key, asked over pipes.

What it hands out is held against the plan before anybody else sees it: inputs, outputs, amounts, fees, signatures. A
signer that ended, or that signed anything else, is SignerFailed.
"""

import json
import os
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, cast

import trio
from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_hash.auto import keccak
from hexbytes import HexBytes

from chains import bitcoin_address
from chains.bitcoin_transaction import BadTransaction, Tx, read
from chains.ethereum_address import checksummed
from chains.node import Payment
from chains.signing import ADDRESS_ONLY, BITCOIN, SignerConfig, ethereum_fields, plan_line, transfer_call
from chains.wallet import BitcoinPlan, EthereumPlan, Output, Plan, Signed, SignerFailed

# Loading its library and unlocking the keystore take seconds on a busy machine.
START_SECONDS: Final = 60
SIGN_SECONDS: Final = 30
STOP_SECONDS: Final = 5
MAX_ANSWER_BYTES: Final = 1024 * 1024


class SignerProcess:
    """The `Signer` of one chain. One plan is signed at a time."""

    def __init__(self, config: SignerConfig, address: str, pipes: "_Pipes") -> None:
        self._config = config
        self._address = address
        self._pipes = pipes
        self._one_at_a_time = trio.Lock()

    @property
    def address(self) -> str:
        """The hot wallet's."""
        return self._address

    @property
    def is_broken(self) -> bool:
        """Whether nothing will be signed any more."""
        return self._pipes.is_broken

    async def sign(self, plan: Plan) -> Signed:
        """Have it signed, and look at what came of it."""
        if isinstance(plan, BitcoinPlan) != (self._config.chain == BITCOIN):
            raise AssertionError(f"a {type(plan).__name__} for the signer of {self._config.chain}")
        async with self._one_at_a_time:
            answer = await self._pipes.ask(plan_line(plan), SIGN_SECONDS)
        if "raw" not in answer:
            raise SignerFailed(f"the signer refuses: {answer.get('error', 'it says nothing of use')}")
        try:
            return self._checked(plan, bytes.fromhex(answer["raw"]))
        except (ValueError, TypeError, KeyError) as error:
            raise SignerFailed(f"the signer signed something else than was planned: {error}") from error

    def _checked(self, plan: Plan, raw: bytes) -> Signed:
        if isinstance(plan, BitcoinPlan):
            return check_bitcoin(plan, raw, bitcoin_address.NETWORKS[self._config.network], self._address)
        return check_ethereum(plan, raw, self._address)


@asynccontextmanager
async def signer(program: Sequence[str], config: SignerConfig) -> AsyncIterator[SignerProcess]:
    """Start the process; it ends with the context. `program`: the words that start it. Raises SignerFailed.

    The keystore and its passphrase are read by the process; this one never has either.
    """
    words = [*program, config.chain, config.network, config.keystore, config.passphrase]
    try:
        # In a group of its own: a Ctrl-C is for the exchange, and the signer ends with its input.
        process = subprocess.Popen(  # noqa: ASYNC220 - a matter of a millisecond
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0
        )
    except OSError as error:
        raise SignerFailed(f"the signer cannot be started: {error.strerror}") from error
    try:
        async with _pipes_of(process) as pipes:
            hello = await pipes.ask(b"", START_SECONDS)
            if "address" not in hello:
                raise SignerFailed(f"the signer does not start: {hello.get('error', 'it says nothing of use')}")
            yield SignerProcess(config, hello["address"], pipes)
    finally:
        # It ends by itself when its input does; it has nothing to lose.
        process.kill()
        with trio.move_on_after(STOP_SECONDS, shield=True):
            await trio.to_thread.run_sync(process.wait, abandon_on_cancel=True)


def hot_address(program: Sequence[str], config: SignerConfig) -> str:
    """The hot wallet's address, of a signer that is asked nothing else. Blocks. Raises SignerFailed."""
    words = [*program, config.chain, config.network, config.keystore, config.passphrase, ADDRESS_ONLY]
    try:
        done = subprocess.run(words, input=b"", capture_output=True, timeout=START_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SignerFailed(f"the signer of {config.chain} does not start: {error}") from error
    try:
        return str(json.loads(done.stdout)["address"])
    except (ValueError, TypeError, KeyError) as error:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["it does not say why"]
        raise SignerFailed(f"the signer of {config.chain} does not start: {said[-1][:500]}") from error


class _Pipes:
    """Lines to the process and from it. Once one went wrong, no later one can be told from it: all fail."""

    def __init__(
        self, to: trio.lowlevel.FdStream, back: trio.lowlevel.FdStream, errors: trio.lowlevel.FdStream
    ) -> None:
        self._to = to
        self._back = back
        self._errors = errors
        self.is_broken = False

    async def ask(self, line: bytes, seconds: float) -> dict[str, str]:
        """Send a line, unless it is empty, and return the next one that comes. Raises SignerFailed."""
        if self.is_broken:
            raise SignerFailed("the signer failed before, and has to be started again")
        self.is_broken = True
        try:
            with trio.fail_after(seconds):
                if line:
                    await self._to.send_all(line)
                answer = json.loads(await self._line())
        except trio.TooSlowError as error:
            raise SignerFailed(f"the signer has not answered within {seconds} s") from error
        except (OSError, ValueError, trio.BrokenResourceError) as error:
            raise SignerFailed(f"the signer is of no use: {error}") from error
        if not isinstance(answer, dict):
            raise SignerFailed("the signer says nothing of use")
        self.is_broken = False
        return {str(key): str(value) for key, value in answer.items()}

    async def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            part = await self._back.receive_some()
            line += part
            if not part or len(line) > MAX_ANSWER_BYTES:
                raise SignerFailed(f"the signer ended: {await self._last_words()}")
        return line

    async def _last_words(self) -> str:
        said = b""
        with trio.move_on_after(1):
            while part := await self._errors.receive_some():
                said = (said + part)[-4096:]
        lines = said.decode(errors="replace").strip().splitlines()
        return lines[-1][:500] if lines else "it did not say why"


@asynccontextmanager
async def _pipes_of(process: "subprocess.Popen[bytes]") -> AsyncIterator[_Pipes]:
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise AssertionError("they are pipes")
    with process.stdin, process.stdout, process.stderr:
        async with (
            trio.lowlevel.FdStream(os.dup(process.stdin.fileno())) as to,
            trio.lowlevel.FdStream(os.dup(process.stdout.fileno())) as back,
            trio.lowlevel.FdStream(os.dup(process.stderr.fileno())) as errors,
        ):
            yield _Pipes(to, back, errors)


# What was signed is what was planned ----------------------------------------------------------------------------------


def check_bitcoin(plan: BitcoinPlan, raw: bytes, network: bitcoin_address.Network, address: str) -> Signed:
    """The transaction's facts. Raises ValueError naming the first that is not as planned."""
    transaction = read(raw)
    inputs = tuple(coin.output for coin in plan.coins)
    if tuple(each.output for each in transaction.inputs) != inputs:
        raise BadTransaction("its inputs are not the planned coins")
    planned = [(plan.output.address, plan.output.amount)] + ([(address, plan.change)] if plan.change else [])
    outputs = [(bitcoin_address.script_of(network, to), amount) for to, amount in planned]
    if [(each.script, each.amount) for each in transaction.outputs] != outputs:
        raise BadTransaction("its outputs are not the planned ones")
    _check_rest(transaction, plan, bitcoin_address.script_of(network, address))
    txid = transaction.txid()
    change = Payment(txid, 1, address, plan.change) if plan.change else None
    return Signed(txid, raw, plan.fee, inputs=inputs, change=change)


def _check_rest(transaction: Tx, plan: BitcoinPlan, own_script: bytes) -> None:
    amounts = [coin.amount for coin in plan.coins]
    if sum(amounts) - sum(each.amount for each in transaction.outputs) != plan.fee:
        raise BadTransaction("its fee is not the planned one")
    if transaction.lock_time or any(each.sequence >= 0xFFFFFFFE for each in transaction.inputs):
        raise BadTransaction("it cannot be replaced, or is not to be mined yet")
    transaction.check_signatures(own_script, amounts)


def check_ethereum(plan: EthereumPlan, raw: bytes, address: str) -> Signed:
    """The transaction's facts. Raises ValueError naming the first that is not as planned."""
    try:
        found = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
        sender = Account.recover_transaction(raw)
    except Exception as error:  # the library's decoders raise anything
        raise BadTransaction("it is no transaction") from error
    for name, planned in ethereum_fields(plan).items():
        if _plain(found[name]) != _plain(planned):
            raise BadTransaction(f"its {name} is not the planned one")
    if sender != address:
        raise BadTransaction("it is signed with another key")
    return Signed("0x" + keccak(raw).hex(), raw, plan.gas * plan.max_fee, nonce=plan.nonce)


def plan_of(raw: bytes) -> EthereumPlan:
    """The plan that a transaction of ours was made from."""
    found = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    to, value, data = checksummed(_hex(found["to"])), int(found["value"]), bytes(HexBytes(found["data"]))
    fees = (int(found["gas"]), int(found["maxFeePerGas"]), int(found["maxPriorityFeePerGas"]))
    chain_id, nonce = int(found["chainId"]), int(found["nonce"])
    if not data:
        return EthereumPlan(chain_id, nonce, Output(to, value), None, *fees)
    receiver, amount = checksummed("0x" + data[16:36].hex()), int.from_bytes(data[36:68], "big")
    plan = EthereumPlan(chain_id, nonce, Output(receiver, amount), to, *fees)
    if transfer_call(plan.output) != data or value:
        raise BadTransaction("it is no transfer of a token")
    return plan


def _hex(value: object) -> str:
    return "0x" + bytes(HexBytes(cast("bytes", value))).hex()


def _plain(value: object) -> object:
    """A field's value however it is written: addresses and data as hexadecimal in small letters."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, str):
        return value.lower()
    return list(value) if isinstance(value, list | tuple) else value

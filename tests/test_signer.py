"""The signer: it signs what is planned or nothing, and whatever another signed in its place is seen."""

import sys
from pathlib import Path

import pytest
from attrs import evolve
from coincurve import PrivateKey
from eth_account import Account

from chains.bitcoin_address import NETWORKS, of_public_key, script_of
from chains.bitcoin_transaction import BadTransaction, Tx, TxIn, TxOut, read
from chains.extended_key import hash160
from chains.node import Outpoint
from chains.signer import check_bitcoin, check_ethereum, plan_of, signer
from chains.signing import BITCOIN, ETHEREUM, SignerConfig, ethereum_fields
from chains.wallet import BitcoinPlan, Coin, EthereumPlan, Output, SignerFailed
from tests.real_nodes import SIGNER, hot_keystore, hot_wallet

REGTEST = NETWORKS["regtest"]
KEY = PrivateKey(b"\1" * 32)
PUBLIC = KEY.public_key.format()
OURS = of_public_key(REGTEST, PUBLIC)
THEIRS = of_public_key(REGTEST, b"\2" * 33)
PLAN = BitcoinPlan(
    (Coin(Outpoint("ab" * 32, 1), 100_000), Coin(Outpoint("cd" * 32, 0), 50_000)),
    Output(THEIRS, 120_000),
    20_000,
    10_000,
)


def signed(transaction: Tx, amounts: tuple[int, ...] = (100_000, 50_000), key: PrivateKey = KEY) -> bytes:
    """Signed without any library."""
    public = key.public_key.format()
    inputs = [
        evolve(
            each,
            witness=(key.sign(transaction.signed_hash(place, hash160(public), amount), hasher=None) + b"\1", public),
        )
        for place, (each, amount) in enumerate(zip(transaction.inputs, amounts, strict=True))
    ]
    return evolve(transaction, inputs=tuple(inputs)).raw()


TRANSACTION = Tx(
    tuple(TxIn(coin.output) for coin in PLAN.coins),
    (TxOut(120_000, script_of(REGTEST, THEIRS)), TxOut(20_000, script_of(REGTEST, OURS))),
)


def test_what_is_as_planned_is_taken() -> None:
    """With its id, its inputs and its change."""
    raw = signed(TRANSACTION)
    found = check_bitcoin(PLAN, raw, REGTEST, OURS)
    assert found.inputs == tuple(coin.output for coin in PLAN.coins)
    assert found.change is not None
    assert (found.change.n, found.change.amount, found.fee) == (1, 20_000, 10_000)
    assert read(raw).raw() == raw
    assert found.txid == TRANSACTION.txid()


OUTPUTS = TRANSACTION.outputs
WRONG = {
    "another amount": (
        signed(evolve(TRANSACTION, outputs=(evolve(OUTPUTS[0], amount=120_001), OUTPUTS[1]))),
        "outputs",
    ),
    "another receiver": (
        signed(evolve(TRANSACTION, outputs=(evolve(OUTPUTS[1], amount=120_000), OUTPUTS[1]))),
        "outputs",
    ),
    "change left out": (signed(evolve(TRANSACTION, outputs=OUTPUTS[:1])), "outputs"),
    "one output more": (signed(evolve(TRANSACTION, outputs=(*OUTPUTS, TxOut(1, b"")))), "outputs"),
    "inputs in another order": (signed(evolve(TRANSACTION, inputs=TRANSACTION.inputs[::-1])), "inputs"),
    "not replaceable": (
        signed(evolve(TRANSACTION, inputs=tuple(evolve(each, sequence=0xFFFFFFFF) for each in TRANSACTION.inputs))),
        "replaced",
    ),
    "locked": (signed(evolve(TRANSACTION, lock_time=5)), "mined yet"),
    "another key": (signed(TRANSACTION, key=PrivateKey(b"\3" * 32)), "another key"),
    "signed for other amounts": (signed(TRANSACTION, (100_000, 50_001)), "signature of input 1 is wrong"),
    "not signed": (TRANSACTION.stripped(), "witnesses"),
    "cut off": (signed(TRANSACTION)[:-1], "too early"),
    "something behind": (signed(TRANSACTION) + b"\0", "follows"),
    "empty": (b"", "."),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_not_as_planned_is_refused(kind: str) -> None:
    """Each difference by its name."""
    raw, why = WRONG[kind]
    with pytest.raises(BadTransaction, match=why):
        check_bitcoin(PLAN, raw, REGTEST, OURS)


ACCOUNT = Account.from_key(b"\1" * 32)
TRANSFER = EthereumPlan(1, 7, Output("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", 10**19), None, 21_000, 10**10, 10**9)


@pytest.mark.parametrize("token", [None, "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"])
def test_an_ethereum_transaction_is_held_against_its_plan(token: str | None) -> None:
    """Every field, and who signed it."""
    plan = evolve(TRANSFER, token=token)
    raw = bytes(ACCOUNT.sign_transaction(ethereum_fields(plan)).raw_transaction)
    assert check_ethereum(plan, raw, ACCOUNT.address).nonce == 7
    assert plan_of(raw) == plan
    for other in (
        evolve(plan, chain_id=2),
        evolve(plan, nonce=8),
        evolve(plan, output=evolve(plan.output, amount=1)),
        evolve(plan, output=evolve(plan.output, address="0x52908400098527886E0F7030069857D2E4169EE7")),
        evolve(plan, token=ACCOUNT.address),
        evolve(plan, gas=22_000),
        evolve(plan, max_fee=10**11),
        evolve(plan, max_tip=1),
    ):
        with pytest.raises(BadTransaction, match="is not the planned one"):
            check_ethereum(other, raw, ACCOUNT.address)
    with pytest.raises(BadTransaction, match="another key"):
        check_ethereum(plan, raw, plan.output.address)
    with pytest.raises(BadTransaction, match="no transaction"):
        check_ethereum(plan, raw[:-1], ACCOUNT.address)


@pytest.mark.process
async def test_the_real_signer_signs_plans_and_refuses_what_is_none(tmp_path: Path) -> None:
    """A plan that does not add up, or pays less than nothing, is refused, and the signer goes on."""
    async with hot_wallet(BITCOIN, tmp_path) as wallet:
        good = evolve(PLAN, output=Output(THEIRS, 120_000))
        assert await wallet.sign(good) == await wallet.sign(good)
        for bad in (
            evolve(good, coins=()),
            evolve(good, fee=10_001),
            evolve(good, change=-20_000, fee=50_000),
            evolve(good, output=Output(THEIRS, -1), fee=130_001),
            evolve(good, output=Output("nowhere", 120_000)),
        ):
            with pytest.raises(SignerFailed, match="refuses"):
                await wallet.sign(bad)
        assert (await wallet.sign(good)).fee == 10_000


IMPOSTORS = {
    "ends": ("pass", "it did not say why"),
    "says nothing of use": ("print('[]', flush=True); input()", "nothing of use"),
    "speaks no JSON": ("print('hello', flush=True); input()", "of no use"),
    "fails": ("raise SystemExit('the disk is gone')", "the disk is gone"),
    "signs rubbish": (
        'print(\'{"address":"me"}\', flush=True)\nwhile input(): print(\'{"raw":"00"}\', flush=True)',
        "something else than was planned",
    ),
    "ends later": ('print(\'{"address":"me"}\', flush=True); input()', "the signer ended"),
}


@pytest.mark.process
@pytest.mark.parametrize("kind", IMPOSTORS)
async def test_a_signer_that_is_none_is_seen(kind: str) -> None:
    """What it does is SignerFailed, with its last words."""
    script, why = IMPOSTORS[kind]
    config = SignerConfig(chain=ETHEREUM, keystore="none", passphrase="env:NONE")  # noqa: S106 - no passphrase
    with pytest.raises(SignerFailed, match=why):
        async with signer([sys.executable, "-c", script], config) as running:
            await running.sign(TRANSFER)


@pytest.mark.process
async def test_a_signer_without_its_passphrase_says_so(tmp_path: Path) -> None:
    """And is not started."""
    config = SignerConfig(chain=ETHEREUM, keystore=str(hot_keystore(tmp_path)), passphrase="env:NOBODY_SET_THIS")  # noqa: S106
    with pytest.raises(SignerFailed, match="NOBODY_SET_THIS is not set"):
        async with signer(SIGNER, config):
            pass


@pytest.mark.parametrize("fields", [{"chain": "dogecoin"}, {"chain": "bitcoin", "network": "moon"}])
def test_a_bad_configuration_names_the_field(fields: dict[str, str]) -> None:
    """And its value."""
    name, value = list(fields.items())[-1]
    with pytest.raises(ValueError, match=f"{name} is '{value}'"):
        SignerConfig(keystore="", passphrase="", **fields)

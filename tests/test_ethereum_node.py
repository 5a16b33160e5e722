"""Ethereum on a real anvil: Ether and tokens, honest and lying; reorgs; withdrawals signed, sent, replaced."""

from pathlib import Path

import pytest

from chains.erc20 import Erc20, Erc20Config
from chains.ethereum import Ethereum, EthereumConfig
from chains.ethereum_fees import PLAIN_GAS, EthereumFees, plan_transfer, replacement
from chains.node import (
    NATIVE,
    AccountNode,
    Block,
    InBlock,
    InPool,
    NodeRefused,
    NodeUnavailable,
    Payment,
    Unknown,
    WrongNode,
)
from chains.signer import SignerProcess
from chains.signing import ETHEREUM
from chains.wallet import EthereumPlan, FeeTooHigh, Output, Signed
from tallystick.private_chains import (
    FAIL,
    HONEST,
    KEEPS_A_TENTH,
    ONLY_LOGS,
    RETURNS_FALSE,
    RETURNS_NOTHING,
    TWICE,
)
from tallystick.private_nodes import CHAIN_ID
from tests.real_nodes import EthereumNet, ethereum_net, hot_wallet

pytestmark = pytest.mark.process

ETHER = 10**18
FEES = EthereumFees()


async def last_block(node: AccountNode) -> Block:
    """The best chain's newest."""
    return await node.block((await node.head()).hash)


async def test_deposits_of_ether_are_seen_and_failed_ones_are_not(tmp_path: Path) -> None:
    """A transfer pays; one that fails, or that pays nothing, does not; the chain of hashes holds."""
    async with ethereum_net(tmp_path) as net:
        await net.node.check()
        us = net.addresses.address(0)
        token = await net.chain.token()
        before = await net.node.head()
        txid = await net.chain.pay(Output(us, 20 * ETHER))
        await net.chain.pay(Output(us, 0))
        fields = {"from": net.chain.account, "to": token.contract, "value": hex(ETHER), "gas": "0x30d40"}
        failed = await net.rpc.call("eth_sendTransaction", fields, result=str)  # the token takes no Ether
        assert await net.node.place_of(txid) == InPool()
        await net.chain.mine()
        block = await last_block(net.node)
        assert block.parent == before.hash
        assert block.payments == (Payment(txid, NATIVE, us, 20 * ETHER),)
        assert block.spends == ()
        assert await net.node.place_of(txid) == InBlock(block.id)
        assert await net.node.place_of(failed) == InBlock(block.id, succeeded=False)
        assert await net.node.hash_at(block.id.height) == block.id.hash
        assert await net.node.hash_at(block.id.height + 1) is None
        assert await net.node.balance(us, before) == 0
        assert await net.node.balance(us, block.id) == 20 * ETHER
        assert await net.node.nonce(net.chain.account, block.id) == await net.node.nonce(net.chain.account, before) + 3
        genesis = await net.node.hash_at(0)
        assert genesis is not None
        assert (await net.node.block(genesis)).parent == ""


async def test_a_reorg_takes_back_a_deposit(tmp_path: Path) -> None:
    """After a reorg the deposit's transaction is unknown, and its block is not the best chain's."""
    async with ethereum_net(tmp_path) as net:
        await net.chain.mine(2)
        txid = await net.chain.pay(Output(net.addresses.address(0), ETHER))
        await net.chain.mine(3)
        place = await net.node.place_of(txid)
        assert isinstance(place, InBlock)
        await net.chain.reorg(3)
        assert await net.node.hash_at(place.block.height) not in {None, place.block.hash}
        assert await net.node.place_of(txid) == Unknown()
        assert await net.node.balance(net.addresses.address(0), await net.node.head()) == 0


async def test_what_the_node_does_not_know(tmp_path: Path) -> None:
    """An unknown block is asked for again later; another chain is refused, and what is no token."""
    async with ethereum_net(tmp_path) as net:
        with pytest.raises(NodeUnavailable, match="does not have the block"):
            await net.node.block("0x" + "12" * 32)
        assert await net.node.place_of("0x" + "34" * 32) == Unknown()
        with pytest.raises(WrongNode, match=f"chain {CHAIN_ID}, and 1 is"):
            await Ethereum(EthereumConfig(chain_id=1), net.rpc).check()
        with pytest.raises(NodeRefused):
            await net.node.broadcast(b"\1\2\3", "0x" + "56" * 32)
        here = EthereumConfig(chain_id=CHAIN_ID)
        with pytest.raises(WrongNode, match="there is no contract"):
            await Erc20(here, Erc20Config(contract=net.addresses.address(9), decimals=6), net.rpc).check()
        made = await net.chain.token(decimals=18)
        with pytest.raises(WrongNode, match="18 decimals, and 6 are"):
            await Erc20(here, Erc20Config(contract=made.contract, decimals=6), net.rpc).check()
        await Erc20(here, made, net.rpc).check()


# Tokens --------------------------------------------------------------------------------------------------------------


async def test_deposits_of_a_token_are_its_logs_by_their_place_in_the_transaction(tmp_path: Path) -> None:
    """Two transfers in one transaction are two deposits; another contract's, and a failed transaction's, are none."""
    async with ethereum_net(tmp_path) as net:
        node = await net.token(HONEST)
        fake = await net.chain.token()
        us = Output(net.addresses.address(0), 5_000_000)
        contract = node.contract
        await net.chain.pay(us, fake.contract)
        once = await net.chain.pay(us, contract)
        failed = await net.chain.pay(us, contract, FAIL)
        await net.chain.pay(Output(us.address, 0), contract)
        twice = await net.chain.pay(us, contract, TWICE)
        await net.chain.mine()
        block = await last_block(node)
        assert block.payments == (
            Payment(once, 0, us.address, us.amount),
            Payment(twice, 0, us.address, us.amount),
            Payment(twice, 1, us.address, us.amount),
        )
        assert await node.balance(us.address, block.id) == 15_000_000
        assert await node.place_of(once) == InBlock(block.id)
        assert await node.place_of(failed) == InBlock(block.id, succeeded=False)


@pytest.mark.parametrize(
    ("manner", "credited"),
    [(HONEST, 1000), (KEEPS_A_TENTH, 900), (ONLY_LOGS, 0), (RETURNS_FALSE, 0), (RETURNS_NOTHING, 1000)],
)
async def test_a_token_by_balance_is_credited_with_what_arrived(tmp_path: Path, manner: int, credited: int) -> None:
    """Whatever its logs say, no more is credited than the address has more."""
    async with ethereum_net(tmp_path) as net:
        node = await net.token(manner, by_balance=True)
        await node.check()
        us = net.addresses.address(0)
        for _ in range(2):
            await net.chain.pay(Output(us, 1000), node.contract)
            await net.chain.mine()
            assert [each.amount for each in (await last_block(node)).payments] == [credited] * (credited > 0)
        await net.chain.pay(Output(us, 1000), node.contract, TWICE)
        await net.chain.mine()
        assert sum(each.amount for each in (await last_block(node)).payments) == 2 * credited


# Withdrawals ---------------------------------------------------------------------------------------------------------


async def transfer(
    node: Ethereum, wallet: SignerProcess, output: Output, nonce: int, token: str | None = None
) -> EthereumPlan:
    """A withdrawal at today's fees."""
    rate = await node.fee_rate()
    assert rate is not None
    gas = await node.gas(wallet.address, output)
    return plan_transfer(output, token, chain_id=CHAIN_ID, nonce=nonce, gas=gas, rate=rate, fees=FEES)


async def sent(node: Ethereum, wallet: SignerProcess, plan: EthereumPlan) -> Signed:
    """Signed, and in the pool."""
    signed = await wallet.sign(plan)
    await node.broadcast(signed.raw, signed.txid)
    assert await node.place_of(signed.txid) == InPool()
    return signed


async def funded(net: EthereumNet, wallet: SignerProcess) -> None:
    """Ten Ether for the hot wallet."""
    await net.chain.pay(Output(wallet.address, 10 * ETHER))
    await net.chain.mine()


async def test_a_withdrawal_of_ether_is_signed_sent_confirmed_and_sent_again(tmp_path: Path) -> None:
    """The node mines what was signed; sending it again is a success at any time, after a reorg too."""
    async with ethereum_net(tmp_path / "node") as net, hot_wallet(ETHEREUM, tmp_path / "wallet") as wallet:
        await funded(net, wallet)
        out = Output(net.addresses.address(3), 9 * ETHER)
        plan = await transfer(net.node, wallet, out, 0)
        assert plan.gas == PLAIN_GAS
        signed = await sent(net.node, wallet, plan)
        await net.node.broadcast(signed.raw, signed.txid)
        await net.chain.mine()
        await net.node.broadcast(signed.raw, signed.txid)
        block = await last_block(net.node)
        assert block.payments == (Payment(signed.txid, NATIVE, out.address, out.amount),)
        assert await net.node.place_of(signed.txid) == InBlock(block.id)
        assert 10 * ETHER - out.amount - signed.fee <= await net.node.balance(wallet.address, block.id) < ETHER
        assert await net.node.nonce(wallet.address, block.id) == 1
        await net.chain.reorg(1)
        await net.node.broadcast(signed.raw, signed.txid)
        await net.chain.mine()
        assert isinstance(await net.node.place_of(signed.txid), InBlock)


async def test_a_stuck_withdrawal_is_replaced_with_the_same_nonce(tmp_path: Path) -> None:
    """The node takes the replacement; of the two only it is mined, and the first is refused for ever."""
    async with ethereum_net(tmp_path / "node") as net, hot_wallet(ETHEREUM, tmp_path / "wallet") as wallet:
        await funded(net, wallet)
        plan = await transfer(net.node, wallet, Output(net.addresses.address(3), ETHER), 0)
        first = await sent(net.node, wallet, plan)
        rate = await net.node.fee_rate()
        assert rate is not None
        second = await sent(net.node, wallet, replacement(plan, rate=rate, fees=FEES))
        assert (first.nonce, second.nonce) == (0, 0)
        await net.chain.mine()
        assert isinstance(await net.node.place_of(second.txid), InBlock)
        assert await net.node.place_of(first.txid) == Unknown()
        with pytest.raises(NodeRefused, match="nonce"):
            await net.node.broadcast(first.raw, first.txid)
        assert await net.node.balance(plan.output.address, await net.node.head()) == ETHER


@pytest.mark.parametrize(("manner", "pays"), [(HONEST, True), (RETURNS_NOTHING, True), (RETURNS_FALSE, False)])
async def test_a_withdrawal_of_a_token_has_paid_only_with_its_log(tmp_path: Path, manner: int, *, pays: bool) -> None:
    """A token that returns nothing pays as well; one that refuses in silence has not paid, though it was mined."""
    async with ethereum_net(tmp_path / "node") as net, hot_wallet(ETHEREUM, tmp_path / "wallet") as wallet:
        await funded(net, wallet)
        node = await net.token(manner)
        await net.chain.pay(Output(wallet.address, 5000), node.contract)
        await net.chain.mine()
        plan = await transfer(node, wallet, Output(net.addresses.address(3), 4000), 0, node.contract)
        signed = await sent(node, wallet, plan)
        await net.chain.mine()
        block = await last_block(node)
        assert await node.place_of(signed.txid) == InBlock(block.id, succeeded=pays)
        assert block.payments == ((Payment(signed.txid, 0, plan.output.address, 4000),) if pays else ())


async def test_a_transfer_that_would_fail_or_costs_too_much_is_not_even_signed(tmp_path: Path) -> None:
    """The node refuses to estimate more tokens than there are; the cap of the fee holds."""
    async with ethereum_net(tmp_path) as net:
        node = await net.token(HONEST)
        with pytest.raises(NodeRefused):
            await node.gas(net.addresses.address(5), Output(net.addresses.address(3), 1))
        rate = await node.fee_rate()
        assert rate is not None
        dear = EthereumFees(max_fee=rate.rate, min_tip=0)
        with pytest.raises(FeeTooHigh):
            plan_transfer(
                Output("0x", 1),
                None,
                chain_id=1,
                nonce=0,
                gas=21_000,
                rate=rate,
                fees=EthereumFees(max_fee=1, min_tip=1),
            )
        assert (
            plan_transfer(Output("0x", 1), None, chain_id=1, nonce=0, gas=21_000, rate=rate, fees=dear).max_fee
            == rate.rate
        )

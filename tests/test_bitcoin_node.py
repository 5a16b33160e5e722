"""Bitcoin on a real bitcoind: what is seen of deposits and reorgs; withdrawals signed, sent, replaced, sent again."""

from pathlib import Path

import pytest
from attrs import evolve

from chains.bitcoin import COIN, Bitcoin, BitcoinConfig
from chains.bitcoin_address import NETWORKS, script_of
from chains.bitcoin_coins import BitcoinFees, plan_payment, replacement
from chains.bitcoin_transaction import read
from chains.node import Block, InBlock, InPool, NodeRefused, NodeUnavailable, Outpoint, Payment, Unknown, WrongNode
from chains.rpc import Rpc
from chains.signer import SignerProcess
from chains.signing import BITCOIN
from chains.wallet import BitcoinPlan, Coin, Output, Signed
from tallystick.private_chains import FIRST_BLOCKS
from tests.real_nodes import BitcoinNet, bitcoin_net, hot_wallet

pytestmark = pytest.mark.process

FEES = BitcoinFees(max_fee=50_000)


def to(address: str, block: Block) -> list[Payment]:
    """What a block pays to an address."""
    return [each for each in block.payments if each.address == address]


async def last_block(net: BitcoinNet) -> Block:
    """The best chain's newest."""
    return await net.node.block((await net.node.head()).hash)


async def test_addresses_are_those_of_the_node(tmp_path: Path) -> None:
    """The node derives the same deposit addresses from the same xpub, and spends nothing from them."""
    async with bitcoin_net(tmp_path) as net:
        await net.node.check()
        xpub = f"wpkh({net.addresses.standard_xpub()}/0/*)"
        described = await net.rpc.call("getdescriptorinfo", xpub, result=dict[str, object])
        theirs = await net.rpc.call("deriveaddresses", described["descriptor"], [0, 20], result=list[str])
        assert theirs == [net.addresses.address(index) for index in range(21)]


async def test_deposits_are_seen_with_their_outputs_parents_and_spends(tmp_path: Path) -> None:
    """Two payments to us in one transaction are two deposits; what it spends is told, and the chain of hashes holds."""
    async with bitcoin_net(tmp_path) as net:
        first, second = net.addresses.address(0), net.addresses.address(1)
        before = await net.node.head()
        txid = await net.chain.pay(Output(first, 12_345_678), Output(second, 1 * COIN))
        assert await net.node.place_of(txid) == InPool()
        [mined] = await net.chain.mine()
        block = await net.node.block(mined)
        assert block.parent == before.hash
        assert block.id == await net.node.head()
        assert [(each.txid, each.amount) for each in to(first, block)] == [(txid, 12_345_678)]
        assert [(each.txid, each.amount) for each in to(second, block)] == [(txid, 1 * COIN)]
        assert to(first, block)[0].n != to(second, block)[0].n
        assert {each.txid for each in block.spends} == {txid}
        assert await net.node.place_of(txid) == InBlock(block.id)
        assert await net.node.hash_at(block.id.height) == mined
        assert await net.node.hash_at(block.id.height + 1) is None
        assert await net.node.balance(first, block.id) == 12_345_678
        assert await net.node.fee_rate() is None
        genesis = await net.node.hash_at(0)
        assert genesis is not None
        assert (await net.node.block(genesis)).parent == ""


@pytest.mark.parametrize("drop", [False, True])
async def test_a_reorg_takes_back_a_deposit_and_the_old_block_can_still_be_read(tmp_path: Path, *, drop: bool) -> None:
    """After a reorg the deposit is where the new chain has it, or is nowhere; its old block is off the best chain."""
    async with bitcoin_net(tmp_path) as net:
        txid = await net.chain.pay(Output(net.addresses.address(0), COIN))
        await net.chain.mine(3)
        place = await net.node.place_of(txid)
        assert isinstance(place, InBlock)
        await net.chain.reorg(3, drop=drop)
        assert await net.node.hash_at(place.block.height) != place.block.hash
        assert to(net.addresses.address(0), await net.node.block(place.block.hash))
        again = await net.node.place_of(txid)
        if drop:
            assert again == InPool()
        else:
            assert isinstance(again, InBlock)
            assert again.block.hash != place.block.hash
        with pytest.raises(NodeUnavailable, match="went on"):
            await net.node.balance(net.addresses.address(0), place.block)


async def test_what_the_node_does_not_know(tmp_path: Path) -> None:
    """An unknown block is asked for again later; an unknown transaction is Unknown; another network is refused."""
    async with bitcoin_net(tmp_path) as net:
        with pytest.raises(NodeUnavailable, match="does not have the block"):
            await net.node.block("12" * 32)
        assert await net.node.place_of("34" * 32) == Unknown()
        with pytest.raises(WrongNode, match="regtest, and mainnet"):
            await Bitcoin(BitcoinConfig(network="mainnet"), net.rpc).check()
        with pytest.raises(NodeRefused, match="-22"):
            await net.node.broadcast(b"\1\2\3", "56" * 32)
        stranger = evolve(net.config, cookie_file="", user="somebody", password="guessed")  # noqa: S106 - a wrong one
        async with Rpc(stranger) as rpc:
            with pytest.raises(NodeUnavailable, match="HTTP 401"):
                await Bitcoin(BitcoinConfig(network="regtest"), rpc).head()


async def funded(net: BitcoinNet, address: str, *amounts: int) -> list[Coin]:
    """Coins of the hot wallet's, mined."""
    txids = [await net.chain.pay(Output(address, amount)) for amount in amounts]
    await net.chain.mine()
    payments = to(address, await last_block(net))
    assert {each.txid for each in payments} == set(txids)
    return [Coin(Outpoint(each.txid, each.n), each.amount) for each in payments]


def planned(net: BitcoinNet, coins: list[Coin], amount: int, index: int = 7) -> tuple[BitcoinPlan, bytes]:
    """A payment to a customer, and the script of the address."""
    address = net.addresses.address(index)
    script = script_of(NETWORKS["regtest"], address)
    return plan_payment(coins, Output(address, amount), script, rate=2_000, fees=FEES), script


async def test_a_withdrawal_is_signed_sent_confirmed_and_sent_again(tmp_path: Path) -> None:
    """The node mines what was signed, of the planned fee; sending it again is a success at any time."""
    async with bitcoin_net(tmp_path / "node") as net, hot_wallet(BITCOIN, tmp_path / "wallet") as wallet:
        coins = await funded(net, wallet.address, 3_000_000, 2_000_000, 70_000)
        plan, _ = planned(net, coins, 4_500_000)
        assert plan.change > 0
        signed = await wallet.sign(plan)
        assert await net.node.place_of(signed.txid) == Unknown()
        await net.node.broadcast(signed.raw, signed.txid)
        entry = await net.rpc.call("getmempoolentry", signed.txid, result=dict[str, object])
        assert entry["vsize"] == read(signed.raw).virtual_bytes()
        await net.node.broadcast(signed.raw, signed.txid)
        await net.chain.mine()
        await net.node.broadcast(signed.raw, signed.txid)
        block = await last_block(net)
        assert await net.node.place_of(signed.txid) == InBlock(block.id)
        assert to(plan.output.address, block) == [Payment(signed.txid, 0, plan.output.address, 4_500_000)]
        assert signed.change in block.payments
        assert {each.output for each in block.spends if each.txid == signed.txid} == set(signed.inputs)
        paid = sum(coin.amount for coin in plan.coins) - sum(
            each.amount for each in block.payments if each.txid == signed.txid
        )
        assert paid == signed.fee == plan.fee


async def test_a_stuck_withdrawal_is_replaced_and_only_one_of_the_two_is_mined(tmp_path: Path) -> None:
    """The node takes the replacement in place of the first, never the first again; a spent coin is refused."""
    async with bitcoin_net(tmp_path / "node") as net, hot_wallet(BITCOIN, tmp_path / "wallet") as wallet:
        coins = await funded(net, wallet.address, 1_000_000, 400_000)
        plan, script = planned(net, coins[:1], coins[0].amount - 500)
        first = await sent(net, wallet, plan)
        higher = replacement(plan, coins[1:], script, rate=4_000, fees=FEES)
        assert higher.output == plan.output
        second = await sent(net, wallet, higher)
        assert set(first.inputs) <= set(second.inputs)
        assert await net.node.place_of(first.txid) == Unknown()
        with pytest.raises(NodeRefused, match="-26"):
            await net.node.broadcast(first.raw, first.txid)
        await net.chain.mine()
        assert isinstance(await net.node.place_of(second.txid), InBlock)
        with pytest.raises(NodeRefused, match="-25"):
            await net.node.broadcast(first.raw, first.txid)


async def sent(net: BitcoinNet, wallet: SignerProcess, plan: BitcoinPlan) -> Signed:
    """Signed, and in the pool."""
    signed = await wallet.sign(plan)
    await net.node.broadcast(signed.raw, signed.txid)
    assert await net.node.place_of(signed.txid) == InPool()
    return signed


async def test_a_withdrawal_that_a_reorg_took_back_is_sent_again(tmp_path: Path) -> None:
    """What the new chain does not hold waits again, and is mined again from the same bytes."""
    async with bitcoin_net(tmp_path / "node") as net, hot_wallet(BITCOIN, tmp_path / "wallet") as wallet:
        plan, _ = planned(net, await funded(net, wallet.address, 1_000_000), 900_000)
        signed = await wallet.sign(plan)
        await net.node.broadcast(signed.raw, signed.txid)
        await net.chain.mine()
        await net.chain.reorg(1, drop=True)
        await net.node.broadcast(signed.raw, signed.txid)
        assert await net.node.place_of(signed.txid) == InPool()
        await net.chain.mine()
        assert isinstance(await net.node.place_of(signed.txid), InBlock)
        assert (await net.node.head()).height == FIRST_BLOCKS + 1 + 2 + 1

"""The simulated chain has the rules of real ones, its nodes have faults, its file keeps it."""

from random import Random
from typing import Any

import pytest
import trio

from actors.simulated_host import BlockMaker, DiskHost
from chains.node import NATIVE, BlockId, InBlock, InPool, NodeRefused, NodeUnavailable, Outpoint, Spend, Unknown
from chains.simulated import Faults, MemoryHost, SimulatedAddresses, SimulatedNode, SimulatedSigner, plan_of, script_of
from chains.simulated_chain import ChainTerms, Drop, Key, Kind, Mine, Operation, Pay, Reorg, Submit, Tx
from chains.wallet import BadAddress, BitcoinPlan, Coin, EthereumPlan, Output
from persistence.exits import Damaged
from tests.simulation.chains import inline
from tests.simulation.disk import SimulatedDisk
from tests.simulation.world import VirtualClock

HOT = Key("btc", "hot")
THIEF = Key("btc", "thief")
SENDER = Key("eth", "sender")
BITCOIN = ChainTerms("bitcoin", Kind.OUTPUTS, ("BTC",), "btc", (("BTC", HOT.address, 100), ("BTC", HOT.address, 50)))
ETHEREUM = ChainTerms(
    "ethereum",
    Kind.ACCOUNTS,
    ("ETH", "USDT"),
    "eth",
    (("ETH", SENDER.address, 10**9), ("USDT", SENDER.address, 50)),
)


def refused(host: MemoryHost, operation: Operation) -> int:
    """The node's code for something that is not possible."""
    with pytest.raises(NodeRefused) as caught:
        host.now(operation)
    return caught.value.code


def coins(host: MemoryHost) -> list[Outpoint]:
    """The hot wallet's, largest first."""
    mine = {point: amount for point, (owner, amount) in host.chain.unspent.items() if owner == HOT.address}
    return sorted(mine, key=lambda point: -mine[point])


def spend(point: Outpoint, amount: int, key: Key = HOT) -> Submit:
    """Pay so much to somebody, the rest is the fee."""
    return Submit(key.sign(Tx("BTC", (("somebody", amount),), ((point.txid, point.n),))))


def transfer(nonce: int, amount: int, asset: str = "ETH", max_fee: int = 20) -> Submit:
    """Pay so much to somebody."""
    tx = Tx(asset, (("somebody", amount),), sender=SENDER.address, nonce=nonce, gas=100, max_fee=max_fee, max_tip=1)
    return Submit(SENDER.sign(tx))


# Outputs --------------------------------------------------------------------------------------------------------------


def test_an_output_is_spent_once() -> None:
    """By a transaction that waits, then by the one that was mined."""
    host = MemoryHost(BITCOIN)
    point = coins(host)[0]
    txid = host.now(spend(point, 90))
    assert refused(host, spend(point, 91)) == -26
    host.now(Mine(1))
    assert host.chain.mined[txid].fee == 10
    assert refused(host, spend(point, 1)) == -25
    block = host.chain.block(host.chain.head.hash, "BTC")
    assert block is not None
    assert block.spends == (Spend(txid, point),)
    assert [(each.address, each.amount, each.n) for each in block.payments] == [("somebody", 90, 0)]


def test_who_pays_more_replaces_what_waits() -> None:
    """And the other is forgotten, with what spends it."""
    host = MemoryHost(BITCOIN)
    point = coins(host)[0]
    first = host.now(Submit(HOT.sign(Tx("BTC", ((HOT.address, 95),), ((point.txid, point.n),)))))
    child = host.now(spend(Outpoint(first, 0), 90))
    second = host.now(spend(point, 80))
    assert set(host.chain.pool) == {second}
    assert first not in host.chain.pool
    assert child not in host.chain.pool


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda raw: raw[:-9], -22),
        (lambda raw: raw.replace(b'"somebody",90', b'"somebody",91'), -22),
        (lambda raw: raw.replace(b"BTC", b"ETH"), -22),
        (lambda _raw: b"", -22),
        (lambda raw: b" " + raw, -22),
    ],
)
def test_what_is_not_signed_so_is_refused(change: Any, code: int) -> None:
    """Whatever of it was changed."""
    host = MemoryHost(BITCOIN)
    raw = spend(coins(host)[0], 90).raw
    assert refused(host, Submit(change(raw))) == code


def test_nobody_spends_anothers_or_more_than_there_is() -> None:
    """Nor what does not exist, nor one output twice."""
    host = MemoryHost(BITCOIN)
    point = coins(host)[0]
    assert refused(host, spend(point, 90, THIEF)) == -26
    assert refused(host, spend(point, 101)) == -26
    assert refused(host, spend(Outpoint("f" * 64, 0), 1)) == -25
    twice = Tx("BTC", (("somebody", 150),), ((point.txid, point.n), (point.txid, point.n)))
    assert refused(host, Submit(HOT.sign(twice))) == -25


# Accounts -------------------------------------------------------------------------------------------------------------


def test_nonces_are_used_in_turn() -> None:
    """A later one waits for those before it; one that was used is too low."""
    host = MemoryHost(ETHEREUM)
    second = host.now(transfer(1, 5))
    host.now(Mine(1))
    assert second in host.chain.pool
    first = host.now(transfer(0, 5))
    host.now(Mine(2))
    assert {first, second} <= set(host.chain.mined)
    assert refused(host, transfer(1, 6)) == -32003
    assert host.chain.nonces[SENDER.address] == 2


def test_a_replacement_pays_a_tenth_more() -> None:
    """Or is refused."""
    host = MemoryHost(ETHEREUM)
    host.now(transfer(0, 5, max_fee=100))
    assert refused(host, transfer(0, 6, max_fee=109)) == -32000
    dearer = host.now(transfer(0, 6, max_fee=110))
    assert list(host.chain.pool) == [dearer]


def test_a_token_that_is_not_there_costs_the_fee_alone() -> None:
    """The transaction is mined, and failed: it pays nobody, and its nonce is used."""
    host = MemoryHost(ETHEREUM)
    txid = host.now(transfer(0, 51, "USDT"))
    host.now(Mine(1))
    mined = host.chain.mined[txid]
    assert not mined.succeeded
    assert host.chain.fees_paid(SENDER.address) == mined.fee == 100 * 11
    block = host.chain.block(host.chain.head.hash, "USDT")
    assert block is not None
    assert block.payments == ()
    assert host.chain.balances["USDT", SENDER.address] == 50
    assert host.chain.nonces[SENDER.address] == 1


def test_native_payments_and_those_of_tokens_have_their_numbers() -> None:
    """As real nodes' adapters give them."""
    host = MemoryHost(ETHEREUM)
    host.now(Pay("ETH", (("one", 5),)))
    host.now(Pay("USDT", (("one", 6), ("two", 7))))
    host.now(Mine(1))
    head = host.chain.head.hash
    for asset, numbers in (("ETH", [NATIVE]), ("USDT", [0, 1])):
        block = host.chain.block(head, asset)
        assert block is not None
        assert [payment.n for payment in block.payments] == numbers


# Reorganisations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("terms", [BITCOIN, ETHEREUM])
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_a_reorganisation_undoes_everything(terms: ChainTerms, depth: int) -> None:
    """Balances, outputs, nonces; what was mined waits again, unless it is lost, and mines again alike."""
    host = MemoryHost(terms)
    host.now(Mine(1, 3))
    before = _state(host)
    kept = host.now(Pay(terms.coin, (("kept", 5),)))
    lost = host.now(Pay(terms.coin, (("lost", 6),)))
    ours = host.now(spend(coins(host)[0], 90) if terms is BITCOIN else transfer(0, 9))
    host.now(Mine(2))
    host.now(Mine(3, depth - 1) if depth > 1 else Pay(terms.coin, (("nobody", 0),)))
    height = host.chain.head.height
    host.now(Reorg(4, depth, 0, (lost,)))
    assert _state(host) == before
    assert set(host.chain.pool) >= {kept, ours}
    assert lost not in host.chain.pool
    host.now(Mine(5, depth + 1))
    assert host.chain.head.height == height + 1
    assert {kept, ours} <= set(host.chain.mined)
    assert lost not in host.chain.mined


def _state(host: MemoryHost) -> tuple[object, ...]:
    chain = host.chain
    return (dict(chain.unspent), dict(chain.balances), dict(chain.nonces), dict(chain.mined), dict(chain.spent_by))


@pytest.mark.parametrize(
    ("operation", "field"),
    [
        (Mine(1, 0), "blocks"),
        (Mine(1, 1_001), "blocks"),
        (Reorg(1, 0, 1), "depth"),
        (Reorg(1, 3, 1), "depth"),
        (Reorg(1, 1, 1_001), "blocks"),
        (Drop("nothing"), "txid"),
        (Pay("DOGE", (("one", 1),)), "asset"),
        (Pay("BTC", (("one", -1),)), "amount"),
    ],
)
def test_what_is_impossible_is_said_and_changes_nothing(operation: Operation, field: str) -> None:
    """Naming the field."""
    host = MemoryHost(BITCOIN)
    host.now(Mine(1, 2))
    before = _state(host)
    with pytest.raises(ValueError, match=field):
        host.now(operation)
    assert _state(host) == before


# Nodes ----------------------------------------------------------------------------------------------------------------


async def test_a_node_tells_where_a_transaction_is() -> None:
    """In the pool, in a block, or nowhere any more; sending it again is a success."""
    host = MemoryHost(BITCOIN)
    node = SimulatedNode(host, "BTC", random=Random(1))
    await node.check()
    operation = spend(coins(host)[0], 90)
    txid = host.now(operation)
    assert await node.place_of(txid) == InPool()
    host.now(Drop(txid))
    assert await node.place_of(txid) == Unknown()
    await node.broadcast(operation.raw, txid)
    host.now(Mine(1))
    assert await node.place_of(txid) == InBlock(host.chain.head)
    await node.broadcast(operation.raw, txid)


async def test_a_node_answers_for_a_block() -> None:
    """Balances and nonces as they were after it; not for one that has left the best chain."""
    host = MemoryHost(ETHEREUM)
    node = SimulatedNode(host, "ETH", random=Random(1))
    before = await node.head()
    host.now(transfer(0, 5))
    host.now(Mine(1))
    after = await node.head()
    assert [await node.nonce(SENDER.address, at) for at in (before, after)] == [0, 1]
    assert [await node.balance("somebody", at) for at in (before, after)] == [0, 5]
    host.now(Reorg(2, 1, 2))
    with pytest.raises(NodeUnavailable, match="best chain"):
        await node.nonce(SENDER.address, after)
    with pytest.raises(NodeUnavailable, match="no block"):
        await node.block("f" * 64)
    assert (await node.block(after.hash)).id == after
    assert await node.hash_at(99) is None
    assert await node.hash_at(1) == host.chain.at(1).hash  # type: ignore[union-attr]


async def test_the_faults_of_a_node() -> None:
    """Each happens as often as it is told to, by the seed."""
    host = MemoryHost(BITCOIN)
    host.now(Mine(1, 5))
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    node = SimulatedNode(host, "BTC", random=Random(1), sleep=sleep, faults=Faults(latency_seconds=2.0, lag=1.0))
    heads = {(await node.head()).height for _ in range(30)}
    assert heads == {3, 4}
    assert len(slept) == 30
    assert 0 <= min(slept) < max(slept) <= 2
    node.faults = Faults(unavailable=1.0)
    with pytest.raises(NodeUnavailable, match="does not answer"):
        await node.head()
    node.faults = Faults(lost_reply=1.0)
    operation = spend(coins(host)[0], 90)
    with pytest.raises(NodeUnavailable, match="lost"):
        await node.broadcast(operation.raw, _txid(host, operation))
    assert len(host.chain.pool) == 1


def _txid(host: MemoryHost, operation: Submit) -> str:
    other = MemoryHost(host.chain.terms)
    return other.now(operation)


# Wallets --------------------------------------------------------------------------------------------------------------


def test_addresses() -> None:
    """The same for the same index; one that is mistyped, of another chain or no address at all is refused."""
    book = SimulatedAddresses("btc", "xpub")
    address = book.address(7)
    assert address == book.address(7)
    assert address not in {book.address(8), SimulatedAddresses("btc", "other").address(7)}
    assert book.normal(address.upper()) == address
    book.check_address(address)
    wrong = address[:10] + ("0" if address[10] != "0" else "1") + address[11:]
    for text, why in (
        (wrong, "checksum"),
        (address[:-1], "48"),
        (SimulatedAddresses("eth", "xpub").address(7), "begins with btc1"),
        ("", "begins with"),
        (address.replace("a", "\N{CYRILLIC SMALL LETTER A}") + "\N{CYRILLIC SMALL LETTER A}", "begins with"),
    ):
        with pytest.raises(BadAddress, match=why):
            book.check_address(text)


async def test_the_signer_signs_what_is_planned() -> None:
    """And the chain takes it."""
    host = MemoryHost(BITCOIN)
    point = coins(host)[0]
    signed = await SimulatedSigner(BITCOIN, HOT).sign(BitcoinPlan((Coin(point, 100),), Output("there", 60), 30, 10))
    assert host.now(Submit(signed.raw)) == signed.txid
    assert signed.inputs == (point,)
    assert signed.change is not None
    assert (signed.change.address, signed.change.amount) == (HOT.address, 30)
    host.now(Mine(1))
    assert host.chain.balances["BTC", "there"] == 60
    assert len(script_of("there")) == 22


@pytest.mark.parametrize("token", [None, "USDT"])
async def test_the_signer_signs_transfers(token: str | None) -> None:
    """Whose plan can be read from them again."""
    host = MemoryHost(ETHEREUM)
    plan = EthereumPlan(0, 0, Output("there", 20), token, 100, 20, 1)
    signed = await SimulatedSigner(ETHEREUM, SENDER).sign(plan)
    assert plan_of(ETHEREUM, signed.raw) == plan
    assert host.now(Submit(signed.raw)) == signed.txid
    host.now(Mine(1))
    assert host.chain.balances[token or "ETH", "there"] == 20


# On disk --------------------------------------------------------------------------------------------------------------


async def test_a_chain_is_read_from_its_file_hash_for_hash() -> None:
    """All blocks, reorganisations, and what waits."""
    disk = SimulatedDisk()
    host = DiskHost(BITCOIN, disk=disk, blocking=inline)
    await host.do(Pay("BTC", (("one", 5),)))
    await host.do(Mine(1, 3))
    await host.do(spend(coins_of(host), 90))
    await host.do(Reorg(2, 2, 3))
    await host.do(Pay("BTC", (("two", 5),)))
    disk.crash(Random(1))
    again = DiskHost(BITCOIN, disk=disk, blocking=inline)
    assert again.chain.head == host.chain.head
    assert list(again.chain.pool) == list(host.chain.pool)
    assert again.chain.balances == host.chain.balances
    await again.do(Mine(3))
    await host.do(Mine(3))
    assert again.chain.head == host.chain.head


def coins_of(host: DiskHost) -> Outpoint:
    """One of the hot wallet's."""
    return next(point for point, (owner, _) in host.chain.unspent.items() if owner == HOT.address)


async def test_half_a_line_was_never_answered_and_is_cut_off() -> None:
    """And the file goes on behind the last whole one."""
    disk = SimulatedDisk()
    host = DiskHost(BITCOIN, disk=disk, blocking=inline)
    await host.do(Mine(1))
    path = "chains/bitcoin.jsonl"
    whole = disk.read(path)
    disk.write_file(path, whole + b'{"op":"mi')
    again = DiskHost(BITCOIN, disk=disk, blocking=inline)
    assert disk.read(path) == whole
    await again.do(Mine(2))
    assert DiskHost(BITCOIN, disk=disk, blocking=inline).chain.head == again.chain.head


@pytest.mark.parametrize("line", [b"nonsense\n", b'{"op":"mine","time":1,"blocks":0}\n', b'{"op":"drop","txid":"x"}\n'])
def test_a_file_that_is_damaged_stops_the_start(line: bytes) -> None:
    """Naming it and the place."""
    disk = SimulatedDisk()
    disk.make_folder("chains")
    disk.write_file("chains/bitcoin.jsonl", b'{"op":"mine","time":1}\n' + line)
    with pytest.raises(Damaged, match=r"chains/bitcoin.jsonl, offset 23"):
        DiskHost(BITCOIN, disk=disk, blocking=inline)


async def test_an_impossible_operation_is_not_written() -> None:
    """It would stop the next start."""
    disk = SimulatedDisk()
    host = DiskHost(BITCOIN, disk=disk, blocking=inline)
    with pytest.raises(ValueError, match="depth"):
        await host.do(Reorg(1, 5, 6))
    assert disk.read("chains/bitcoin.jsonl") == b""


@pytest.mark.usefixtures("autojump_clock")
async def test_blocks_come_by_themselves() -> None:
    """One every so many seconds, until a stop."""
    host = MemoryHost(BITCOIN)
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(BlockMaker(host, VirtualClock(), 3.0).run, stop)
        await trio.sleep(10)
        stop.set()
    assert host.chain.head.height == 3
    assert host.chain.at(3) == BlockId(3, host.chain.head.hash)

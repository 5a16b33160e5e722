"""The store of chain transactions, whoever keeps it: every test runs against SQLite and against MariaDB."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from attrs import evolve

from book.queries import Candle
from persistence.sql_store import SqlStore
from persistence.statements import Database, Insert, Query, Steps
from persistence.txstore import (
    MAX_AMOUNT,
    AddressRow,
    AuditEntry,
    BlockId,
    CandleRow,
    DepositKey,
    Outpoint,
    Scanned,
    Spent,
    StoreConflict,
    SweepRow,
    TxStore,
    WhitelistRow,
)
from tests.stores import block, block_id, new_deposit, new_withdrawal, spending, utxo

KEY = new_deposit().key


async def see(store: TxStore, height: int = 1, branch: str = "") -> None:
    """Look through a block with one deposit, after those below it."""
    for below in range(1, height):
        await store.add_block(Scanned(block=block(below, branch)), 1)
    await store.add_block(Scanned(block=block(height, branch), deposits=[new_deposit()]), height)


# ------------------------------------------------------------------------------------------------------------- scanning


async def test_a_block_and_its_deposits_are_stored_together(store: TxStore) -> None:
    """Then they are there, and pending."""
    assert await store.add_block(Scanned(block=block(1), deposits=[new_deposit(), new_deposit("bb", 3)]), 100)
    assert await store.scanned_blocks("BTC", 5) == [block(1)]
    row = await store.deposit(KEY)
    assert row is not None
    assert (row.state, row.height, row.block_hash, row.seen_ns, row.amount) == ("pending", 1, "hash1", 100, 5_000)
    assert [found.key for found in await store.deposits("BTC", "pending")] == [KEY, DepositKey("BTC", "bb", 3)]


async def test_a_block_told_twice_is_stored_once(store: TxStore) -> None:
    """The second time says so, and changes nothing."""
    told = Scanned(block=block(1), deposits=[new_deposit()])
    assert await store.add_block(told, 100)
    before = await store.deposit(KEY)
    assert not await store.add_block(told, 200)
    assert await store.deposit(KEY) == before


@pytest.mark.parametrize(
    ("height", "branch"), [(3, ""), (2, "x"), (1, "x")], ids=["gap", "other parent", "same height"]
)
async def test_a_block_that_does_not_follow_the_last_one_is_refused(store: TxStore, height: int, branch: str) -> None:
    """And nothing of it is stored."""
    await store.add_block(Scanned(block=block(1)), 1)
    with pytest.raises(StoreConflict, match="does not follow"):
        await store.add_block(Scanned(block=block(height, branch), deposits=[new_deposit()]), 2)
    assert await store.deposit(KEY) is None
    assert len(await store.scanned_blocks("BTC", 5)) == 1


async def test_a_block_whose_last_part_is_refused_leaves_nothing(store: TxStore) -> None:
    """The whole of it is one transaction."""
    await store.add_block(Scanned(block=block(1), deposits=[new_deposit("bb")]), 1)
    changed = new_deposit("bb", amount=1)
    with pytest.raises(StoreConflict, match="known as another"):
        await store.add_block(Scanned(block=block(2), deposits=[new_deposit(), changed], received=[utxo()]), 2)
    assert await store.deposit(KEY) is None
    assert await store.utxos("BTC") == []
    assert await store.scanned_blocks("BTC", 5) == [block(1)]


async def test_assets_are_scanned_apart(store: TxStore) -> None:
    """A token's watcher does not see the blocks of another's."""
    await store.add_block(Scanned(block=block(1)), 1)
    await store.add_block(Scanned(block=block(9, asset="USDT")), 1)
    assert await store.scanned_blocks("BTC", 5) == [block(1)]
    assert await store.scanned_blocks("USDT", 5) == [block(9, asset="USDT")]


async def test_the_last_blocks_come_highest_first_and_no_more_than_asked_for(store: TxStore) -> None:
    """As a watcher wants them."""
    await see(store, 4)
    assert [found.height for found in await store.scanned_blocks("BTC", 2)] == [4, 3]


async def test_a_retreat_forgets_blocks_and_what_the_hot_wallet_had_from_them(store: TxStore) -> None:
    """Outputs are gone, and what was spent is not."""
    coin = utxo()
    await store.add_block(Scanned(block=block(1), received=[coin]), 1)
    spent = Spent(coin.output, "spender")
    await store.add_block(Scanned(block=block(2), received=[utxo("change", height=2)], spent=[spent]), 2)
    assert [found.output.txid for found in await store.utxos("BTC")] == ["change"]
    assert await store.retreat("BTC", 1) == 1
    assert await store.utxos("BTC") == [coin]
    assert await store.retreat("BTC", 1) == 0
    assert await store.scanned_blocks("BTC", 5) == [block(1)]


async def test_a_retreat_waits_until_every_deposit_above_is_judged(store: TxStore) -> None:
    """A pending one might have been credited by an engine that this store knows nothing of."""
    await see(store, 2)
    with pytest.raises(StoreConflict, match="is pending in block 2"):
        await store.retreat("BTC", 1)
    assert [found.key for found in await store.deposits_above("BTC", 1)] == [KEY]
    assert await store.orphan_deposit(KEY, "hash2", 5)
    assert await store.retreat("BTC", 1) == 1


async def test_an_output_that_is_mined_again_is_still_reserved(store: TxStore) -> None:
    """Otherwise a reorg would let it be spent twice."""
    await signed(store)
    await store.retreat("BTC", 0)
    assert await store.utxos("BTC") == []
    await store.add_block(Scanned(block=block(1, "b"), received=[utxo()]), 9)
    assert [found.reserved_by for found in await store.utxos("BTC")] == ["1-10"]


async def test_old_blocks_are_forgotten_but_the_last_one_stays(store: TxStore) -> None:
    """A watcher goes on from it."""
    await see(store, 3)
    assert await store.forget_old_blocks("BTC", 2) == 1
    assert await store.forget_old_blocks("BTC", 100) == 1
    assert [found.height for found in await store.scanned_blocks("BTC", 5)] == [3]
    assert await store.forget_old_blocks("ETH", 100) == 0


async def test_addresses_are_stored_once(store: TxStore) -> None:
    """And told above an index, lowest first."""
    rows = [AddressRow("BTC", index, f"address{index}", 100 + index) for index in range(3)]
    assert await store.add_addresses(rows) == 3
    assert await store.add_addresses(rows[1:]) == 0
    assert await store.addresses("BTC") == rows
    assert await store.addresses("BTC", 0) == rows[1:]
    assert await store.addresses("ETH") == []


@pytest.mark.parametrize(
    "row",
    [AddressRow("BTC", 0, "other", 1), AddressRow("BTC", 0, "first", 2), AddressRow("BTC", 1, "first", 1)],
    ids=["other address", "other account", "taken address"],
)
async def test_an_address_is_never_given_to_a_second_account(store: TxStore, row: AddressRow) -> None:
    """Neither by its index nor by itself."""
    await store.add_addresses([AddressRow("BTC", 0, "first", 1)])
    with pytest.raises(StoreConflict, match="not as it is known"):
        await store.add_addresses([row])
    assert len(await store.addresses("BTC")) == 1


async def test_texts_that_differ_in_case_are_different(store: TxStore) -> None:
    """Addresses and hashes are exact."""
    await store.add_addresses([AddressRow("BTC", 0, "abc", 1), AddressRow("BTC", 1, "ABC", 2)])
    await store.add_block(Scanned(block=block(1), deposits=[new_deposit("aa"), new_deposit("AA")]), 1)
    assert len(await store.addresses("BTC")) == 2
    assert len(await store.deposits("BTC", "pending")) == 2


# ------------------------------------------------------------------------------------------------------------- deposits


async def test_a_deposit_goes_its_way(store: TxStore) -> None:
    """Each step is taken once, and said to be past when it is asked for again."""
    await see(store)
    found = block_id(block(1))
    assert [await store.validate_deposit(KEY, found, 2) for _ in range(2)] == [True, False]
    assert [await store.fulfil_deposit(KEY, 49, "1-77", 100, 3) for _ in range(2)] == [True, False]
    assert not await store.validate_deposit(KEY, found, 4)
    row = await store.deposit(KEY)
    assert row is not None
    assert (row.state, row.units, row.receipt, row.updated_ns) == ("fulfilled", 49, "1-77", 3)
    assert (await store.totals("BTC", "BTC")).dust == 100


async def test_a_deposit_is_fulfilled_with_one_receipt_for_ever(store: TxStore) -> None:
    """Another one means that something is badly wrong."""
    await see(store)
    await store.fulfil_deposit(KEY, 49, "1-77", 0, 3)
    for units, receipt in [(49, "1-78"), (50, "1-77")]:
        with pytest.raises(StoreConflict, match="fulfilled"):
            await store.fulfil_deposit(KEY, units, receipt, 0, 4)


async def test_only_the_block_that_has_it_validates_a_deposit(store: TxStore) -> None:
    """Not one of another branch."""
    await see(store)
    with pytest.raises(StoreConflict, match="cannot be validated"):
        await store.validate_deposit(KEY, BlockId(1, "other"), 2)


async def test_an_unknown_deposit_is_a_conflict(store: TxStore) -> None:
    """There is no row to move."""
    with pytest.raises(StoreConflict, match="there is no deposit BTC:aa:0"):
        await store.freeze_deposit(KEY, "why", 1)
    assert await store.deposit(KEY) is None


async def test_an_orphaned_deposit_that_is_mined_again_is_pending_again(store: TxStore) -> None:
    """In its new block, and seen when it was first seen."""
    await see(store, 2)
    await store.orphan_deposit(KEY, "hash2", 5)
    await store.retreat("BTC", 1)
    await store.add_block(Scanned(block=block(2, "b", parent_branch=""), deposits=[new_deposit()]), 9)
    row = await store.deposit(KEY)
    assert row is not None
    assert (row.state, row.block_hash, row.seen_ns) == ("pending", "hash2b", 2)
    # The old block's end comes late, and means nothing any more.
    assert not await store.orphan_deposit(KEY, "hash2", 10)


async def test_a_restored_engine_takes_a_fulfilment_back(store: TxStore) -> None:
    """The deposit is credited anew, and its dust is counted once."""
    await see(store)
    await store.fulfil_deposit(KEY, 49, "1-77", 100, 3)
    with pytest.raises(StoreConflict, match="receipt"):
        await store.unfulfil_deposit(KEY, "1-78", 4)
    assert [await store.unfulfil_deposit(KEY, "1-77", 4) for _ in range(2)] == [True, False]
    assert await store.fulfil_deposit(KEY, 49, "2-5", 100, 5)
    assert (await store.totals("BTC", "BTC")).dust == 100


async def test_an_operator_decides_about_a_frozen_deposit(store: TxStore) -> None:
    """Released it is pending; rejected it stays so."""
    await see(store)
    assert [await store.freeze_deposit(KEY, "sanctions; ünïcode", 2) for _ in range(2)] == [True, False]
    row = await store.deposit(KEY)
    assert row is not None
    assert (row.state, row.reason) == ("frozen", "sanctions; ünïcode")
    assert [await store.release_deposit(KEY, 3) for _ in range(2)] == [True, False]
    await store.freeze_deposit(KEY, "again", 4)
    assert [await store.reject_deposit(KEY, "theirs", 5) for _ in range(2)] == [True, False]
    with pytest.raises(StoreConflict, match="rejected"):
        await store.release_deposit(KEY, 6)
    with pytest.raises(StoreConflict, match="rejected"):
        await store.fulfil_deposit(KEY, 1, "1-1", 0, 7)


async def test_an_accounts_deposits_come_newest_first(store: TxStore) -> None:
    """Page by page."""
    for height in range(1, 5):
        await store.add_block(Scanned(block=block(height), deposits=[new_deposit(f"tx{height}")]), height * 10)
    await store.add_block(Scanned(block=block(5), deposits=[new_deposit("other", account=8)]), 50)
    first = await store.deposits_of(7, 2)
    assert [row.key.txid for row in first] == ["tx4", "tx3"]
    assert [row.key.txid for row in await store.deposits_of(7, 9, first[-1].seen_ns)] == ["tx2", "tx1"]


@pytest.mark.parametrize("amount", [0, 1, 2**63, 10**65 + 7, MAX_AMOUNT])
async def test_amounts_of_any_size_come_back_exactly(store: TxStore, amount: int) -> None:
    """Wei have more digits than a database's numbers."""
    await store.add_block(Scanned(block=block(1), deposits=[new_deposit(amount=amount)]), 1)
    row = await store.deposit(KEY)
    assert row is not None
    assert row.amount == amount
    assert (await store.totals("BTC", "BTC")).waiting == amount


@pytest.mark.parametrize("amount", [-1, MAX_AMOUNT + 1])
async def test_an_impossible_amount_is_refused(store: TxStore, amount: int) -> None:
    """By name, and nothing is stored."""
    with pytest.raises(ValueError, match=r"amount .* is outside 0\.\.2\*\*256-1"):
        await store.add_block(Scanned(block=block(1), deposits=[new_deposit(amount=amount)]), 1)
    assert await store.scanned_blocks("BTC", 1) == []


@pytest.mark.parametrize("txid", ["a" * 101, "with space", "ünï", "tab\t"])
async def test_an_impossible_name_is_refused(store: TxStore, txid: str) -> None:
    """Databases would shorten it, or take it for another."""
    with pytest.raises(ValueError, match=r"txid .* is not up to 100 printable ASCII characters"):
        await store.add_block(Scanned(block=block(1), deposits=[new_deposit(txid)]), 1)


async def test_what_looks_like_sql_is_text(store: TxStore) -> None:
    """Quotes, backslashes and question marks too."""
    nasty = "'; DROP TABLE deposit; -- \\' ? %s \" \\"
    await see(store)
    await store.freeze_deposit(KEY, nasty, 2)
    row = await store.deposit(KEY)
    assert row is not None
    assert row.reason == nasty


async def test_a_limit_below_one_is_refused(store: TxStore) -> None:
    """By name."""
    with pytest.raises(ValueError, match="limit 0 is below 1"):
        await store.deposits("BTC", "pending", 0)


# ---------------------------------------------------------------------------------------------------------- withdrawals


async def signed(store: TxStore, withdrawal_id: str = "1-10") -> None:
    """A withdrawal whose transaction is stored, and the block with the coin that it spends."""
    if not await store.scanned_blocks("BTC", 1):
        await store.add_block(Scanned(block=block(1), received=[utxo(), utxo("coin", 1)]), 1)
    await store.request_withdrawal(new_withdrawal(withdrawal_id), 10)
    await store.approve_withdrawal(withdrawal_id, 20)
    assert await store.sign_withdrawal(spending(withdrawal_id, Outpoint("coin", 0)))


async def test_a_withdrawal_goes_its_way(store: TxStore) -> None:
    """Each step is taken once, and said to be past when it is asked for again."""
    await store.add_block(Scanned(block=block(1), received=[utxo()]), 1)
    tx = spending("1-10", utxo().output)
    steps: list[Callable[[], Awaitable[bool]]] = [
        lambda: store.request_withdrawal(new_withdrawal(), 10),
        lambda: store.approve_withdrawal("1-10", 20),
        lambda: store.sign_withdrawal(tx),
        lambda: store.broadcast_withdrawal("1-10", 60),
        lambda: store.confirm_withdrawal("1-10", "tx", BlockId(2, "hash2"), 70),
        lambda: store.complete_withdrawal("1-10", "1-99", 80),
    ]
    for step in steps:
        assert [await step() for _ in range(2)] == [True, False]
    row = await store.withdrawal("1-10")
    assert row is not None
    assert (row.state, row.txid, row.height, row.receipt) == ("completed", "tx", 2, "1-99")
    assert (row.requested_ns, row.updated_ns) == (10, 80)
    assert await store.withdrawal_txs("1-10") == [tx]
    assert await store.withdrawal_tx("BTC", "tx") == tx
    assert await store.withdrawal_tx("BTC", "unknown") is None
    assert await store.withdrawals("BTC", "completed") == [row]


async def test_a_withdrawal_id_is_one_withdrawal(store: TxStore) -> None:
    """Another one under the same id is a conflict."""
    await store.request_withdrawal(new_withdrawal(), 10)
    for other in (evolve(new_withdrawal(), amount=1), evolve(new_withdrawal(), address="elsewhere")):
        with pytest.raises(StoreConflict, match="known as another"):
            await store.request_withdrawal(other, 11)


async def test_two_different_operators_approve(store: TxStore) -> None:
    """The same one twice counts once."""
    await store.request_withdrawal(new_withdrawal(), 10)
    assert [await store.hold_withdrawal("1-10", "above the limit", 11) for _ in range(2)] == [True, False]
    for operator, state in [("alice", "awaiting_operator"), ("alice", "awaiting_operator"), ("bob", "approved")]:
        row = await store.add_approval("1-10", operator, 2, 12)
        assert row.state == state
    assert row.approvals == ("alice", "bob")
    late = await store.add_approval("1-10", "carol", 2, 13)
    assert (late.state, late.approvals) == ("approved", ("alice", "bob"))


async def test_a_withdrawal_that_nobody_looks_at_yet_cannot_be_approved_by_an_operator(store: TxStore) -> None:
    """The policy comes first."""
    await store.request_withdrawal(new_withdrawal(), 10)
    with pytest.raises(StoreConflict, match="does not wait for operators"):
        await store.add_approval("1-10", "alice", 2, 12)


@pytest.mark.parametrize("prepare", ["requested", "awaiting_operator", "approved"])
async def test_a_cancel_wins_before_the_signature(store: TxStore, prepare: str) -> None:
    """And then nothing is signed."""
    await store.request_withdrawal(new_withdrawal(), 10)
    if prepare == "awaiting_operator":
        await store.hold_withdrawal("1-10", "why", 11)
    elif prepare == "approved":
        await store.approve_withdrawal("1-10", 11)
    assert [await store.cancel_withdrawal("1-10", "by its owner", 12) for _ in range(2)] == [True, False]
    assert not await store.sign_withdrawal(spending("1-10", txid="late"))
    assert await store.withdrawal_txs("1-10") == []
    assert [row.id for row in await store.unsettled_withdrawals("BTC")] == ["1-10"]
    assert [await store.release_withdrawal("1-10", "1-30", 13) for _ in range(2)] == [True, False]
    assert await store.unsettled_withdrawals("BTC") == []
    with pytest.raises(StoreConflict, match="has the receipt 1-30"):
        await store.release_withdrawal("1-10", "1-31", 14)


async def test_a_signature_wins_over_a_later_cancel(store: TxStore) -> None:
    """The bytes may be anywhere by then."""
    await signed(store)
    with pytest.raises(StoreConflict, match="is signed and cannot be cancelled"):
        await store.cancel_withdrawal("1-10", "by its owner", 60)
    with pytest.raises(StoreConflict, match="is signed and cannot be rejected"):
        await store.reject_withdrawal("1-10", "by an operator", 60)


async def test_an_output_is_reserved_for_one_withdrawal(store: TxStore) -> None:
    """Another that wants it changes nothing, and gets it when the first has failed."""
    await signed(store)
    await store.request_withdrawal(new_withdrawal("1-11"), 10)
    await store.approve_withdrawal("1-11", 20)
    second = spending("1-11", Outpoint("coin", 1), Outpoint("coin", 0), txid="tx2")
    with pytest.raises(StoreConflict, match="the output coin:0 is not the hot wallet's, or not free"):
        await store.sign_withdrawal(second)
    assert {row.output.n: row.reserved_by for row in await store.utxos("BTC")} == {0: "1-10", 1: ""}
    assert (await store.withdrawals("BTC", "approved"))[0].id == "1-11"
    assert [await store.fail_withdrawal("1-10", "spent by another", 60) for _ in range(2)] == [True, False]
    assert await store.sign_withdrawal(second)


async def test_an_unknown_output_cannot_be_spent(store: TxStore) -> None:
    """It would not be the hot wallet's."""
    await store.request_withdrawal(new_withdrawal(), 10)
    await store.approve_withdrawal("1-10", 20)
    with pytest.raises(StoreConflict, match="not the hot wallet's"):
        await store.sign_withdrawal(spending("1-10", Outpoint("theirs", 0)))


async def test_a_nonce_is_given_away_once(store: TxStore) -> None:
    """And the next one is one more."""
    assert await store.next_nonce("ETH", "0xhot") is None
    for withdrawal_id in ("1-10", "1-11"):
        await store.request_withdrawal(new_withdrawal(withdrawal_id, asset="ETH"), 10)
        await store.approve_withdrawal(withdrawal_id, 20)
    assert await store.sign_withdrawal(spending("1-10", txid="tx1", nonce=5))
    with pytest.raises(StoreConflict, match="the nonce 5 of 0xhot is another withdrawal's"):
        await store.sign_withdrawal(spending("1-11", txid="tx2", nonce=5))
    assert await store.next_nonce("ETH", "0xhot") == 6
    assert await store.sign_withdrawal(spending("1-11", txid="tx2", nonce=6))
    assert [(row.nonce, row.withdrawal_id) for row in await store.nonces("ETH", "0xhot", 5)] == [(6, "1-11")]


async def test_variants_share_an_input_or_the_nonce(store: TxStore) -> None:
    """So that at most one of them can ever be mined; the oldest comes first."""
    await signed(store)
    await store.broadcast_withdrawal("1-10", 60)
    bumped = spending("1-10", Outpoint("coin", 0), Outpoint("coin", 1), txid="bumped", fee=90, signed_ns=70)
    assert [await store.replace_withdrawal_tx(bumped) for _ in range(2)] == [True, False]
    with pytest.raises(StoreConflict, match="shares neither input nor nonce"):
        await store.replace_withdrawal_tx(spending("1-10", Outpoint("coin", 1), txid="apart"))
    assert [tx.txid for tx in await store.withdrawal_txs("1-10")] == ["tx", "bumped"]
    row = await store.withdrawal("1-10")
    assert row is not None
    assert row.state == "signed"
    with pytest.raises(StoreConflict, match="none of the withdrawal 1-10"):
        await store.confirm_withdrawal("1-10", "unknown", BlockId(3, "hash3"), 80)
    assert await store.confirm_withdrawal("1-10", "tx", BlockId(3, "hash3"), 80)
    with pytest.raises(StoreConflict, match="is confirmed by tx, and now by bumped"):
        await store.confirm_withdrawal("1-10", "bumped", BlockId(3, "hash3"), 81)


async def test_a_variant_with_the_same_nonce_replaces(store: TxStore) -> None:
    """On a chain of accounts."""
    await store.request_withdrawal(new_withdrawal(asset="ETH"), 10)
    await store.approve_withdrawal("1-10", 20)
    await store.sign_withdrawal(spending("1-10", txid="tx1", nonce=5))
    assert await store.replace_withdrawal_tx(spending("1-10", txid="tx2", nonce=5))
    with pytest.raises(StoreConflict, match="shares neither"):
        await store.replace_withdrawal_tx(spending("1-10", txid="tx3", nonce=6))


async def test_what_an_account_withdrew_of_late_is_summed_up(store: TxStore) -> None:
    """What is off does not count."""
    for number, (account, amount) in enumerate([(7, 10**70), (7, 5), (8, 70)]):
        await store.request_withdrawal(new_withdrawal(f"1-{number}", account=account, amount=5), number)
        await store.request_withdrawal(
            evolve(new_withdrawal(f"2-{number}", account=account), amount=amount), 10 + number
        )
    await store.reject_withdrawal("1-0", "policy", 30)
    assert await store.withdrawn_since("BTC", 0) == 10**70 + 5 + 70 + 2 * 5
    assert await store.withdrawn_since("BTC", 11) == 75
    assert await store.withdrawn_since("BTC", 0, 8) == 75
    assert await store.withdrawn_since("ETH", 0) == 0


async def test_an_accounts_withdrawals_come_newest_first(store: TxStore) -> None:
    """Page by page."""
    for number in range(4):
        await store.request_withdrawal(new_withdrawal(f"1-{number}"), number)
    first = await store.withdrawals_of(7, 3)
    assert [row.id for row in first] == ["1-3", "1-2", "1-1"]
    assert [row.id for row in await store.withdrawals_of(7, 3, first[-1].requested_ns)] == ["1-0"]


async def test_two_who_sign_at_once_sign_once(database: Database) -> None:
    """The loser is told so."""
    store = SqlStore(database)
    await store.add_block(Scanned(block=block(1), received=[utxo(), utxo("coin", 1)]), 1)
    await store.request_withdrawal(new_withdrawal(), 10)
    await store.approve_withdrawal("1-10", 20)
    outcomes = []

    async def sign(n: int) -> None:
        outcomes.append(await store.sign_withdrawal(spending("1-10", Outpoint("coin", n), txid=f"tx{n}")))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sign, 0)
        nursery.start_soon(sign, 1)
    assert sorted(outcomes) == [False, True]
    assert len(await store.withdrawal_txs("1-10")) == 1


async def test_a_cancel_and_a_signature_at_once_have_one_winner(database: Database) -> None:
    """The row alone decides."""
    store = SqlStore(database)
    await store.add_block(Scanned(block=block(1), received=[utxo()]), 1)
    for number in range(20):
        withdrawal_id = f"1-{number}"
        await store.request_withdrawal(new_withdrawal(withdrawal_id, asset="ETH"), 10)
        await store.approve_withdrawal(withdrawal_id, 20)
        won = dict[str, bool]()

        async def sign(withdrawal_id: str = withdrawal_id, nonce: int = number, won: dict[str, bool] = won) -> None:
            won["sign"] = await store.sign_withdrawal(spending(withdrawal_id, txid=f"tx{nonce}", nonce=nonce))

        async def cancel(withdrawal_id: str = withdrawal_id, won: dict[str, bool] = won) -> None:
            try:
                won["cancel"] = await store.cancel_withdrawal(withdrawal_id, "mine", 30)
            except StoreConflict:
                won["cancel"] = False

        async with trio.open_nursery() as nursery:
            nursery.start_soon(sign)
            nursery.start_soon(cancel)
        assert won["sign"] is not won["cancel"]


# ---------------------------------------------------------------------------------------------- policy and reconciling


async def test_a_chain_is_frozen_until_it_is_thawed(store: TxStore) -> None:
    """The first reason stays."""
    assert await store.freeze_chain("BTC", "deep reorg", 5)
    assert not await store.freeze_chain("BTC", "another", 6)
    (frozen,) = await store.frozen_chains()
    assert (frozen.chain, frozen.reason, frozen.since_ns) == ("BTC", "deep reorg", 5)
    assert [await store.thaw_chain("BTC") for _ in range(2)] == [True, False]
    assert await store.frozen_chains() == []


async def test_an_address_is_on_the_whitelist_since_the_first_time(store: TxStore) -> None:
    """So that naming it again does not prolong the delay, nor removing it shorten it."""
    row = WhitelistRow(7, "BTC", "theirs", 100)
    assert await store.add_to_whitelist(row)
    assert not await store.add_to_whitelist(evolve(row, added_ns=200))
    assert await store.whitelist(7, "BTC") == [row]
    assert await store.whitelist(8, "BTC") == []
    assert [await store.remove_from_whitelist(7, "BTC", "theirs") for _ in range(2)] == [True, False]
    assert await store.add_to_whitelist(evolve(row, added_ns=200))


async def test_the_sums_are_those_of_every_state(store: TxStore) -> None:
    """In base units, exactly."""
    amounts = {"a": 2**200, "b": 2, "c": 40, "d": 800, "e": 16_000}
    seen = [new_deposit(txid, amount=amount) for txid, amount in amounts.items()]
    await store.add_block(Scanned(block=block(1), deposits=seen, received=[utxo(), utxo("coin", 1, amount=3)]), 1)
    await store.fulfil_deposit(seen[0].key, 1, "1-1", 6, 2)
    await store.validate_deposit(seen[1].key, block_id(block(1)), 2)
    await store.orphan_deposit(seen[3].key, "hash1", 2)
    await store.freeze_deposit(seen[4].key, "why", 2)
    sweep = SweepRow(asset="BTC", txid="s", address="x", amount=9, fee=1, height=4, swept_ns=5)
    assert [await store.add_sweep(sweep) for _ in range(2)] == [True, False]
    with pytest.raises(StoreConflict, match="known as another"):
        await store.add_sweep(evolve(sweep, amount=10))
    assert await store.sweeps("BTC") == [sweep]
    await signed(store)
    totals = await store.totals("BTC", "BTC")
    assert (totals.in_flight, totals.withdrawn, totals.miner_fees) == (900, 0, 0)
    await store.confirm_withdrawal("1-10", "tx", BlockId(2, "hash2"), 70)
    await store.add_block(Scanned(block=block(2), spent=[Spent(Outpoint("coin", 0), "tx")]), 80)
    totals = await store.totals("BTC", "BTC")
    assert (totals.deposited, totals.dust, totals.waiting, totals.orphaned, totals.stuck) == (
        2**200,
        6,
        42,
        800,
        16_000,
    )
    assert (totals.swept, totals.sweep_fees, totals.hot) == (9, 1, 3)
    assert (totals.in_flight, totals.withdrawn, totals.miner_fees) == (0, 900, 20)


# -------------------------------------------------------------------------------------------------------------- archive

MINUTE = 60_000_000_000


def candle(minute: int, close: int = 5) -> CandleRow:
    """A minute of a market."""
    told = Candle(minute * MINUTE, 4, 9, 3, close, 100, 500, 2)
    return CandleRow(symbol="BTC-USDT", interval_ns=MINUTE, candle=told)


async def test_candles_replace_those_of_the_same_time(store: TxStore) -> None:
    """And say how far they go, which never goes back."""
    assert await store.candles_through() == 0
    await store.add_candles([candle(1), candle(2)], 10)
    await store.add_candles([candle(2, close=7), candle(3)], 20)
    await store.add_candles([], 15)
    assert await store.candles_through() == 20
    told = await store.candles("BTC-USDT", MINUTE, 0, 10 * MINUTE, 10)
    assert told == [candle(1).candle, candle(2, close=7).candle, candle(3).candle]


async def test_the_last_candles_of_a_time_are_told(store: TxStore) -> None:
    """The end is not part of it."""
    await store.add_candles([candle(minute) for minute in range(10)], 1)
    told = await store.candles("BTC-USDT", MINUTE, 2 * MINUTE, 8 * MINUTE, 3)
    assert [one.open_ns // MINUTE for one in told] == [5, 6, 7]
    assert await store.candles("BTC-USDT", 5 * MINUTE, 0, 100 * MINUTE, 3) == []
    assert await store.candles("ETH-USDT", MINUTE, 0, 100 * MINUTE, 3) == []


def entry(
    number: int, *, kind: str = "admin", who: str = "uid 0", account: int | None = None, time_ns: int | None = None
) -> AuditEntry:
    """Something that somebody did, a second after the one before."""
    return AuditEntry(
        id=f"id{number}",
        time_ns=number * 10**9 if time_ns is None else time_ns,
        kind=kind,
        who=who,
        account=account,
        what="halt",
        outcome="done",
    )


async def test_the_audit_has_each_entry_once(store: TxStore) -> None:
    """However often it is told; the newest first."""
    entries = [entry(number) for number in range(5)]
    assert await store.add_audit(entries[:3]) == 3
    assert await store.add_audit(entries) == 2
    assert await store.audit() == entries[::-1]
    assert await store.audit(since_ns=10**9, before_ns=4 * 10**9, limit=2) == [entries[3], entries[2]]


async def test_the_audit_is_searched_by_everything_that_is_said(store: TxStore) -> None:
    """Kind, who and account."""
    logon = entry(1, kind="logon", who="key 5", account=7)
    await store.add_audit([logon, entry(2, account=7), entry(3, who="uid 5")])
    assert await store.audit(kind="logon") == [logon]
    assert await store.audit(who="key 5") == [logon]
    assert [found.id for found in await store.audit(account=7)] == ["id2", "id1"]
    assert await store.audit(account=7, kind="money") == []


async def test_the_audit_is_pruned_by_the_month(store: TxStore) -> None:
    """UTC; the month itself stays."""
    october, november = entry(1, time_ns=1_793_491_199 * 10**9), entry(2, time_ns=1_793_491_200 * 10**9)
    await store.add_audit([october, november])
    assert await store.prune_audit(202_611) == 1
    assert await store.audit() == [november]


# --------------------------------------------------------------------------------------------------------- transactions


async def test_what_raises_leaves_nothing(database: Database) -> None:
    """A transaction is undone whatever goes wrong in it."""

    def broken() -> Steps[None]:
        yield Insert("mark", {"name": "x", "value": 1})
        raise RuntimeError("a bug")

    def look() -> Steps[int]:
        result = yield Query("SELECT COUNT(*) FROM mark")
        return int(result.rows[0][0] or 0)

    with pytest.raises(RuntimeError, match="a bug"):
        await database.transact(broken)
    assert await database.transact(look) == 0


async def test_a_row_that_refers_to_nothing_is_a_conflict(database: Database) -> None:
    """Foreign keys hold."""

    def orphan() -> Steps[None]:
        yield Insert("approval", {"withdrawal_id": "nobody", "operator": "x", "position": 0, "approved_ns": 0})

    with pytest.raises(StoreConflict):
        await database.transact(orphan)


async def test_the_store_says_that_it_works(store: TxStore) -> None:
    """As often as it is asked."""
    await store.check()
    await store.check()

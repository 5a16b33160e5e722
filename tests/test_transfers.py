"""Addresses, withdrawals and receipts in the engine: what is held, how it ends, and that it ends once."""

from collections.abc import Callable
from typing import TypeVar

import msgspec
import pytest

from book import codes
from book.commands import (
    AdoptWithdrawal,
    AllocateAddress,
    BeginEpoch,
    Command,
    CreditDeposit,
    DefineAsset,
    DefineKey,
    FreezeAccount,
    FreezeAsset,
    PauseWithdrawals,
    ReleaseWithdrawal,
    RequestWithdrawal,
    RevokeKey,
    SettleWithdrawal,
)
from book.definitions import Asset, Key
from book.engine import Engine
from book.events import AddressAllocated, Rejected, Withdrawal, WithdrawalHeld, WithdrawalReleased, WithdrawalSettled
from book.ledger import HOUSE
from book.queries import (
    AccountWithdrawals,
    Address,
    AddressesSince,
    AddressOf,
    Balance,
    Balances,
    DepositReceipt,
    DepositReceiptView,
    Outbox,
    OutboxView,
    PendingWithdrawals,
    Query,
    WithdrawalReceipt,
    WithdrawalStatus,
    WithdrawalView,
)
from book.terms import HELD, READ, RELEASED, SETTLED, TRADE, WITHDRAW
from book.withdrawals import MAX_PENDING
from tests.exchange import ALICE, BOB, BTC, BTC_USDT, CAROL, FUNDS, LOTS, PUBLIC_KEY, Exchange, buy, sell

FEE = BTC.withdrawal_fee
ALL = FUNDS["BTC"]
ETH = Asset("ETH", 9, "ethereum", 3, 10)
T = TypeVar("T")


@pytest.fixture
def exchange() -> Exchange:
    """Alice, Bob and Carol; BTC is on a chain, USDT on none, ETH and GOLD share another."""
    exchange = Exchange()
    exchange.done(DefineAsset(ETH))
    exchange.done(DefineAsset(Asset("GOLD", 0, "ethereum")))
    return exchange


def ask(exchange: Exchange, query: Query, kind: type[T]) -> T:
    """An answer of this kind."""
    answer = exchange.engine.query(query)
    assert isinstance(answer, kind), answer
    return answer


def withdraw(name: str = "w1", amount: int = 50_000, account: int = ALICE, key: int = 0) -> RequestWithdrawal:
    """Of BTC, to somewhere."""
    return RequestWithdrawal(account, key, 0, name, "BTC", "bc1there", amount)


def held(exchange: Exchange, command: RequestWithdrawal | AdoptWithdrawal) -> Withdrawal:
    """The withdrawal that came of it."""
    (event,) = exchange.done(command)
    assert isinstance(event, WithdrawalHeld)
    return event.withdrawal


def btc(exchange: Exchange, account: int) -> tuple[int, int]:
    """Available and held."""
    for row in ask(exchange, Balances(account), list):
        assert isinstance(row, Balance)
        if row.asset == "BTC":
            return row.available, row.held
    return 0, 0


# Addresses ------------------------------------------------------------------------------------------------------------


def test_each_account_has_one_address_on_a_chain(exchange: Exchange) -> None:
    """In the order of asking, for all assets of the chain; asked for again, it is the one it has."""
    assert exchange.done(AllocateAddress(BOB, 0, 0, "ETH")) == [AddressAllocated("ethereum", BOB, 0)]
    assert exchange.done(AllocateAddress(ALICE, 0, 0, "GOLD")) == [AddressAllocated("ethereum", ALICE, 1)]
    assert exchange.done(AllocateAddress(ALICE, 0, 0, "BTC")) == [AddressAllocated("bitcoin", ALICE, 0)]
    refused = exchange.refused(AllocateAddress(ALICE, 0, 0, "ETH"))
    assert (refused.reason, refused.ref) == ("HAS_ADDRESS", 1)
    assert exchange.refused(AllocateAddress(ALICE, 0, 0, "USDT")).reason == "NO_CHAIN"
    assert exchange.refused(AllocateAddress(ALICE, 0, 0, "NONE")).reason == "UNKNOWN_ASSET"
    assert ask(exchange, AddressOf(ALICE, "ETH"), Address) == Address("ethereum", 1, ALICE)
    assert ask(exchange, AddressesSince("ethereum"), list) == [
        Address("ethereum", 0, BOB),
        Address("ethereum", 1, ALICE),
    ]
    assert ask(exchange, AddressesSince("ethereum", 1, 1), list) == [Address("ethereum", 1, ALICE)]
    assert ask(exchange, AddressOf(CAROL, "ETH"), Rejected).reason == "NO_ADDRESS"


def test_what_a_key_needs(exchange: Exchange) -> None:
    """To read for an address, to withdraw for a withdrawal; a revoked one has nothing."""
    for number, permissions in ((1, READ), (2, TRADE), (3, WITHDRAW)):
        exchange.done(DefineKey(Key(number, f"key-{number}", ALICE, permissions, PUBLIC_KEY)))
    for key in (2, 3):
        assert exchange.refused(AllocateAddress(ALICE, key, 0, "BTC")).reason == "NO_PERMISSION"
    exchange.done(AllocateAddress(ALICE, 1, 0, "BTC"))
    for key in (1, 2):
        assert exchange.refused(withdraw(key=key)).reason == "NO_PERMISSION"
    exchange.done(withdraw(key=3))
    exchange.done(RevokeKey(3))
    assert exchange.refused(withdraw("w2", key=3)).reason == "REVOKED_KEY"
    assert exchange.refused(withdraw("w2", account=BOB, key=1)).reason == "UNKNOWN_KEY"


# Withdrawals ----------------------------------------------------------------------------------------------------------


def test_a_withdrawal_is_held_for_and_settled(exchange: Exchange) -> None:
    """Amount and fee are held; then the amount is gone, and the fee the house's."""
    withdrawal = held(exchange, withdraw())
    assert (withdrawal.withdrawal_id, withdrawal.fee, withdrawal.state) == (f"1-{exchange.seq}", FEE, HELD)
    assert btc(exchange, ALICE) == (ALL - 50_000 - FEE, 50_000 + FEE)
    assert exchange.engine.totals()["BTC"] == 3 * ALL
    (settled,) = exchange.done(SettleWithdrawal(withdrawal.withdrawal_id, "tx1"))
    assert isinstance(settled, WithdrawalSettled)
    assert (settled.withdrawal.state, settled.withdrawal.note) == (SETTLED, "tx1")
    assert btc(exchange, ALICE) == (ALL - 50_000 - FEE, 0)
    assert btc(exchange, HOUSE) == (FEE, 0)
    assert exchange.engine.totals()["BTC"] == 3 * ALL - 50_000
    view = ask(exchange, WithdrawalReceipt(withdrawal.withdrawal_id), WithdrawalView)
    assert (view.withdrawal, view.receipt) == (settled.withdrawal, f"1-{exchange.seq}")


def test_a_withdrawal_is_held_for_and_released(exchange: Exchange) -> None:
    """Then all of it is available again; its name is not."""
    withdrawal = held(exchange, withdraw())
    (released,) = exchange.done(ReleaseWithdrawal(withdrawal.withdrawal_id, "changed his mind"))
    assert isinstance(released, WithdrawalReleased)
    assert (released.withdrawal.state, released.withdrawal.note) == (RELEASED, "changed his mind")
    assert btc(exchange, ALICE) == (ALL, 0)
    assert btc(exchange, HOUSE) == (0, 0)
    assert exchange.refused(withdraw()).reason == "DUPLICATE_WITHDRAWAL"


ENDS: list[tuple[Callable[[str], Command], Callable[[str], Command], str]] = [
    (lambda w: SettleWithdrawal(w, "tx1"), lambda w: SettleWithdrawal(w, "tx1"), "ALREADY_SETTLED"),
    (lambda w: SettleWithdrawal(w, "tx1"), lambda w: SettleWithdrawal(w, "tx2"), "SETTLEMENT_DIFFERS"),
    (lambda w: SettleWithdrawal(w, "tx1"), lambda w: ReleaseWithdrawal(w, "late"), "WITHDRAWAL_SETTLED"),
    (lambda w: ReleaseWithdrawal(w, "off"), lambda w: ReleaseWithdrawal(w, "other words"), "ALREADY_RELEASED"),
    (lambda w: ReleaseWithdrawal(w, "off"), lambda w: SettleWithdrawal(w, "tx1"), "WITHDRAWAL_RELEASED"),
]


@pytest.mark.parametrize(("first", "second", "reason"), ENDS, ids=lambda value: value if isinstance(value, str) else "")
def test_it_ends_once(
    exchange: Exchange, first: Callable[[str], Command], second: Callable[[str], Command], reason: str
) -> None:
    """Whatever comes second is refused with the number of the first, however often; the receipt stays the same."""
    withdrawal = held(exchange, withdraw())
    exchange.done(first(withdrawal.withdrawal_id))
    number, receipt = exchange.seq, ask(exchange, WithdrawalReceipt(withdrawal.withdrawal_id), WithdrawalView).receipt
    for _ in range(3):
        refused = exchange.refused(second(withdrawal.withdrawal_id))
        assert (refused.code, refused.reason, refused.ref) == (codes.DEFINITION_REJECTED, reason, number)
    assert ask(exchange, WithdrawalReceipt(withdrawal.withdrawal_id), WithdrawalView).receipt == receipt


def test_asked_for_twice_it_happens_once(exchange: Exchange) -> None:
    """Word for word it is a repeat, else another; another account may use the name."""
    withdrawal = held(exchange, withdraw())
    refused = exchange.refused(withdraw())
    assert (refused.code, refused.reason, refused.ref) == (
        codes.WITHDRAWAL_REJECTED,
        "DUPLICATE_WITHDRAWAL",
        withdrawal.seq,
    )
    for other in ({"amount": 50_001}, {"address": "bc1other"}, {"asset": "ETH"}):
        refused = exchange.refused(msgspec.structs.replace(withdraw(), **other))
        assert (refused.reason, refused.ref) == ("WITHDRAWAL_DIFFERS", withdrawal.seq)
    exchange.done(withdraw(account=BOB))
    assert btc(exchange, ALICE) == (ALL - 50_000 - FEE, 50_000 + FEE)


@pytest.mark.parametrize(
    ("amount", "reason"),
    [
        (-(2**63), "MIN_WITHDRAWAL"),
        (-1, "MIN_WITHDRAWAL"),
        (0, "MIN_WITHDRAWAL"),
        (BTC.min_withdrawal - 1, "MIN_WITHDRAWAL"),
        (BTC.min_withdrawal, ""),
        (ALL - FEE, ""),
        (ALL - FEE + 1, "INSUFFICIENT_BALANCE"),
        (2**62 - 1 - FEE, "INSUFFICIENT_BALANCE"),
        (2**62 - FEE, "OVERFLOW"),
        (10**30, "OVERFLOW"),
    ],
)
def test_the_amount_at_each_bound(exchange: Exchange, amount: int, reason: str) -> None:
    """The fee comes on top of it."""
    outcome = exchange.do(withdraw(amount=amount))
    assert (outcome.reason if isinstance(outcome, Rejected) else "") == reason


def test_an_order_and_a_withdrawal_want_the_same_funds(exchange: Exchange) -> None:
    """Whoever comes first has them."""
    exchange.place(sell(ALICE, LOTS, 200))
    assert exchange.refused(withdraw()).reason == "INSUFFICIENT_BALANCE"
    exchange.done(withdraw(amount=ALL - FEE, account=BOB))
    assert exchange.refused(sell(BOB, 1, 200)).reason == "INSUFFICIENT_BALANCE"
    # What it buys is not held, and may go.
    exchange.place(buy(BOB, 10, 200))
    exchange.done(withdraw("w2", 10 * BTC_USDT.lot - FEE, BOB))


def test_when_nothing_is_paid_out(exchange: Exchange) -> None:
    """Paused, of a frozen account, of a frozen asset; and what waits is said not to be signed."""
    withdrawal = held(exchange, withdraw())
    exchange.done(PauseWithdrawals(True))
    assert exchange.refused(PauseWithdrawals(True)).reason == "UNCHANGED"
    assert exchange.refused(withdraw("w2")).reason == "WITHDRAWALS_PAUSED"
    assert ask(exchange, Outbox("bitcoin"), OutboxView).paused
    exchange.done(PauseWithdrawals(False))
    exchange.done(FreezeAsset("BTC", True))
    assert exchange.refused(withdraw("w2")).reason == "ASSET_FROZEN"
    (view,) = ask(exchange, Outbox("bitcoin"), OutboxView).pending
    assert view.blocked == "ASSET_FROZEN"
    exchange.done(FreezeAccount(ALICE, True))
    assert exchange.refused(withdraw("w2")).reason == "ACCOUNT_FROZEN"
    (view,) = ask(exchange, Outbox("bitcoin"), OutboxView).pending
    assert view.blocked == "ACCOUNT_FROZEN"
    exchange.done(SettleWithdrawal(withdrawal.withdrawal_id, "tx"))


def test_the_outbox_is_the_chains_and_in_order(exchange: Exchange) -> None:
    """Only what is held for, from behind a number on; and the account's own lists."""
    exchange.done(CreditDeposit("eth", ALICE, "ETH", 10**9))
    first = held(exchange, withdraw("w1"))
    eth = held(exchange, RequestWithdrawal(ALICE, 0, 0, "w2", "ETH", "0xthere", 10))
    last = held(exchange, withdraw("w3", account=BOB))
    assert [view.withdrawal for view in ask(exchange, Outbox("bitcoin"), OutboxView).pending] == [first, last]
    assert [view.withdrawal for view in ask(exchange, Outbox("ethereum"), OutboxView).pending] == [eth]
    assert [view.withdrawal for view in ask(exchange, Outbox("bitcoin", first.seq), OutboxView).pending] == [last]
    assert [view.withdrawal for view in ask(exchange, Outbox("bitcoin", 0, 1), OutboxView).pending] == [first]
    exchange.done(ReleaseWithdrawal(first.withdrawal_id, "off"))
    assert [view.withdrawal for view in ask(exchange, Outbox("bitcoin"), OutboxView).pending] == [last]
    assert ask(exchange, PendingWithdrawals(ALICE), list) == [eth]
    newest = ask(exchange, AccountWithdrawals(ALICE), list)
    assert [withdrawal.withdraw_order_id for withdrawal in newest if isinstance(withdrawal, Withdrawal)] == ["w2", "w1"]
    assert ask(exchange, WithdrawalStatus(ALICE, "w2"), WithdrawalView).withdrawal == eth
    assert ask(exchange, WithdrawalStatus(BOB, "w2"), Rejected).reason == "UNKNOWN_WITHDRAWAL"


def test_an_account_has_so_many_under_way(exchange: Exchange) -> None:
    """An end makes room."""
    for number in range(MAX_PENDING):
        exchange.done(withdraw(f"w{number}"))
    refused = exchange.refused(withdraw("another"))
    assert (refused.reason, refused.value, refused.limit) == ("TOO_MANY_WITHDRAWALS", MAX_PENDING, MAX_PENDING)
    (first, *_) = ask(exchange, PendingWithdrawals(ALICE), list)
    assert isinstance(first, Withdrawal)
    exchange.done(ReleaseWithdrawal(first.withdrawal_id, "off"))
    exchange.done(withdraw("more"))


# Epochs, receipts and adoption ----------------------------------------------------------------------------------------


def test_a_receipt_keeps_the_epoch_it_was_given_in(exchange: Exchange) -> None:
    """However often the log begins anew."""
    exchange.done(CreditDeposit("d1", ALICE, "BTC", 1))
    first = exchange.seq
    assert exchange.refused(BeginEpoch(1)).reason == "OUT_OF_RANGE"
    exchange.done(BeginEpoch(4))
    exchange.done(CreditDeposit("d2", ALICE, "BTC", 1))
    receipts = [ask(exchange, DepositReceipt(name), DepositReceiptView).receipt for name in ("d1", "d2")]
    assert receipts == [f"1-{first}", f"4-{exchange.seq}"]
    assert held(exchange, withdraw()).withdrawal_id == f"4-{exchange.seq}"
    assert ask(exchange, DepositReceipt("d3"), Rejected).reason == "UNKNOWN_DEPOSIT"


ADOPTED = AdoptWithdrawal("1-900", ALICE, "lost", "BTC", "bc1there", 50_000, 7)


def test_a_restored_engine_holds_again_for_what_it_has_lost(exchange: Exchange) -> None:
    """Under the old id, once; then it is settled like any other, and nobody asks for it again."""
    assert exchange.refused(ADOPTED).reason == "OUT_OF_RANGE"
    exchange.done(BeginEpoch(2))
    adopted = held(exchange, ADOPTED)
    assert (adopted.withdrawal_id, btc(exchange, ALICE)[1]) == ("1-900", 50_007)
    assert exchange.refused(ADOPTED).reason == "DUPLICATE_WITHDRAWAL"
    assert exchange.refused(msgspec.structs.replace(ADOPTED, amount=50_001)).reason == "WITHDRAWAL_DIFFERS"
    assert exchange.refused(msgspec.structs.replace(ADOPTED, withdrawal_id="1-901")).reason == "WITHDRAWAL_DIFFERS"
    assert exchange.refused(withdraw("lost")).reason == "DUPLICATE_WITHDRAWAL"
    (view,) = ask(exchange, Outbox("bitcoin"), OutboxView).pending
    assert view.withdrawal == adopted
    exchange.done(SettleWithdrawal("1-900", "tx"))
    assert btc(exchange, HOUSE) == (7, 0)


def test_all_of_it_is_in_a_dump(exchange: Exchange) -> None:
    """Which is taken back to the byte, and goes on alike."""
    exchange.done(AllocateAddress(BOB, 0, 0, "ETH"))
    exchange.done(AllocateAddress(ALICE, 0, 0, "ETH"))
    first, second = held(exchange, withdraw("w1")), held(exchange, withdraw("w2"))
    held(exchange, withdraw("w3"))
    exchange.done(SettleWithdrawal(first.withdrawal_id, "tx"))
    exchange.done(ReleaseWithdrawal(second.withdrawal_id, "off"))
    exchange.done(BeginEpoch(2))
    exchange.done(PauseWithdrawals(True))
    again = Engine.load(exchange.engine.dump())
    assert again.dump() == exchange.engine.dump()
    for query in (Outbox("bitcoin"), AddressesSince("ethereum"), AccountWithdrawals(ALICE), AddressOf(BOB, "GOLD")):
        assert again.query(query) == exchange.engine.query(query)
    command = PauseWithdrawals(False)
    assert again.apply(command, exchange.seq + 1, exchange.time_ns + 1) == exchange.engine.apply(
        command, exchange.seq + 1, exchange.time_ns + 1
    )
    assert again.state_hash() == exchange.engine.state_hash()


# What the audit finds -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"amount": 49_999}, "holds"),
        ({"fee": FEE + 1}, "holds"),
        ({"state": SETTLED, "note": "tx"}, "came in"),
        ({"state": RELEASED}, "holds"),
        ({"account": BOB}, "holds"),
        ({"receipt": 3}, "receipt"),
        ({"seq": 10**6}, "held for by command"),
        ({"asset": "USDT"}, "holds"),
    ],
)
def test_the_audit_finds_a_withdrawal_that_cannot_be(
    exchange: Exchange, changes: dict[str, object], found: str
) -> None:
    """Whatever of it is otherwise than what happened."""
    withdrawal = held(exchange, withdraw())
    image = exchange.engine.state.image()
    spoilt = msgspec.structs.replace(withdrawal, **changes)
    data = msgspec.msgpack.encode(msgspec.structs.replace(image, withdrawals=[spoilt]))
    with pytest.raises(ValueError, match="not an engine's state") as caught:
        Engine.load(data)
    assert found in str(caught.value)


def test_the_audit_finds_an_account_with_two_addresses(exchange: Exchange) -> None:
    """Or an address of nobody, or on no chain."""
    exchange.done(AllocateAddress(ALICE, 0, 0, "ETH"))
    image = exchange.engine.state.image()
    for rows in ([("ethereum", [ALICE, ALICE])], [("ethereum", [99])], [("nowhere", [ALICE])]):
        data = msgspec.msgpack.encode(msgspec.structs.replace(image, addresses=rows))
        with pytest.raises(ValueError, match="address"):
            Engine.load(data)

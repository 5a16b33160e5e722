"""Balances: what moves, what is refused, what must always add up."""

from collections.abc import Callable

import pytest

from book.ledger import Balance, Ledger, LedgerError, hold, release, settle, transfer
from book.terms import MAX_INT


def ledger_of(**credits_: int) -> Ledger:
    """A ledger of the assets BTC and USDT where account 1 has these."""
    ledger = Ledger()
    for asset in ("BTC", "USDT"):
        ledger.define_asset(asset)
        if credits_.get(asset):
            ledger.credit(1, asset, credits_[asset])
    return ledger


def test_hold_and_release_move_between_the_two_halves() -> None:
    """What is held is not available, and comes back as it went."""
    ledger = ledger_of(BTC=100)
    balance = ledger.balance(1, "BTC")
    hold(balance, 60)
    assert (balance.available, balance.held) == (40, 60)
    release(balance, 59)
    assert (balance.available, balance.held) == (99, 1)
    ledger.check()


def test_settle_pays_from_what_is_held_and_transfer_from_what_is_available() -> None:
    """Both take from one balance exactly what they give to the other's available half."""
    ledger = ledger_of(USDT=100)
    payer, payee = ledger.balance(1, "USDT"), ledger.balance(2, "USDT")
    hold(payer, 30)
    settle(payer, payee, 20)
    transfer(payer, payee, 5)
    assert (payer.available, payer.held, payee.available, payee.held) == (65, 10, 25, 0)
    ledger.check()


def test_paying_oneself_changes_nothing_but_the_half() -> None:
    """An account that trades with itself keeps its sum."""
    ledger = ledger_of(USDT=100)
    balance = ledger.balance(1, "USDT")
    hold(balance, 30)
    settle(balance, balance, 30)
    transfer(balance, balance, 100)
    assert (balance.available, balance.held) == (100, 0)


@pytest.mark.parametrize("amount", [-1, 31, 2**63, -(2**63), 10**30])
@pytest.mark.parametrize(
    "move",
    [
        hold,
        release,
        lambda balance, amount: settle(balance, Balance(), amount),
        lambda balance, amount: transfer(balance, Balance(), amount),
    ],
)
def test_no_movement_takes_what_is_not_there(move: Callable[[Balance, int], None], amount: int) -> None:
    """More than there is, or less than nothing, is refused and moves nothing."""
    balance = Balance()
    balance.available = balance.held = 30
    with pytest.raises(LedgerError):
        move(balance, amount)
    assert (balance.available, balance.held) == (30, 30)


@pytest.mark.parametrize("amount", [0, -1, MAX_INT - 5, 2**63, 10**30])
def test_credit_keeps_the_total_within_64_bits(amount: int) -> None:
    """Nothing, less than nothing and what would overflow the total cannot be credited."""
    ledger = ledger_of(BTC=6)
    with pytest.raises(LedgerError):
        ledger.credit(2, "BTC", amount)
    assert ledger.totals() == {"BTC": 6, "USDT": 0}
    ledger.credit(2, "BTC", ledger.room("BTC"))
    assert ledger.total("BTC").amount == MAX_INT
    ledger.check()


def test_unknown_and_repeated_assets_are_refused() -> None:
    """An asset is defined once, and before it is used."""
    ledger = ledger_of()
    with pytest.raises(LedgerError):
        ledger.define_asset("BTC")
    with pytest.raises(KeyError):
        ledger.balance(1, "ETH")


def test_rows_name_what_is_not_zero_in_a_fixed_order() -> None:
    """The order is that of definition, then of account numbers, not that of first use."""
    ledger = ledger_of()
    ledger.balance(7, "BTC")
    for account, asset in ((9, "USDT"), (2, "BTC"), (1, "USDT"), (1, "BTC")):
        ledger.credit(account, asset, 5)
    assert ledger.rows() == [(1, "BTC", 5, 0), (2, "BTC", 5, 0), (1, "USDT", 5, 0), (9, "USDT", 5, 0)]
    assert ledger.of(1) == [("BTC", 5, 0), ("USDT", 5, 0)]
    assert ledger.of(7) == []


def test_restore_takes_rows_back() -> None:
    """A ledger made from another's rows has the same rows and totals."""
    ledger = ledger_of(BTC=100, USDT=7)
    hold(ledger.balance(1, "BTC"), 40)
    again = ledger_of()
    for account, asset, available, held in ledger.rows():
        again.restore(account, asset, available, held)
    assert again.rows() == ledger.rows()
    assert again.totals() == ledger.totals()
    again.check()


@pytest.mark.parametrize(("available", "held"), [(-1, 5), (5, -1), (0, 0), (MAX_INT, 1), (10**30, 0)])
def test_restore_refuses_what_could_not_have_been(available: int, held: int) -> None:
    """Negative, empty and overflowing rows are no ledger's."""
    with pytest.raises(LedgerError):
        ledger_of().restore(1, "BTC", available, held)


def test_restore_refuses_the_same_row_twice() -> None:
    """One account has one balance of an asset."""
    ledger = ledger_of(BTC=1)
    with pytest.raises(LedgerError):
        ledger.restore(1, "BTC", 1, 0)


@pytest.mark.parametrize(("available", "held"), [(99, 0), (101, 0), (-1, 101), (101, -1)])
def test_check_finds_a_balance_that_was_tampered_with(available: int, held: int) -> None:
    """A unit too few, a unit too many, and a negative half that hides behind the sum."""
    ledger = ledger_of(BTC=100)
    balance = ledger.balance(1, "BTC")
    balance.available, balance.held = available, held
    with pytest.raises(AssertionError):
        ledger.check()


def test_differences_are_what_was_made_or_lost() -> None:
    """None while every movement is one of these; what a bug adds or takes is named to the unit."""
    ledger = ledger_of(BTC=100, USDT=50)
    hold(ledger.balance(1, "BTC"), 60)
    transfer(ledger.balance(1, "USDT"), ledger.balance(2, "USDT"), 5)
    assert ledger.differences() == {"BTC": 0, "USDT": 0}
    ledger.balance(1, "BTC").held += 3
    ledger.balance(2, "USDT").available -= 1
    assert ledger.differences() == {"BTC": 3, "USDT": -1}

"""Deposits: credited once for ever."""

import pytest

from book import codes
from book.commands import CreditDeposit
from book.engine import Engine
from book.events import Credited, Rejected
from book.terms import MAX_INT
from tests.exchange import ALICE, BOB, FUNDS, Exchange

DEPOSIT = CreditDeposit("btc|ab12|0", ALICE, "BTC", 700)


def test_a_deposit_is_credited_with_a_receipt() -> None:
    """The receipt is the sequence number, and the total of the asset grows by it."""
    exchange = Exchange()
    events = exchange.done(DEPOSIT)
    assert events == [Credited("btc|ab12|0", ALICE, "BTC", 700, exchange.seq)]
    assert exchange.balance(ALICE, "BTC").available == FUNDS["BTC"] + 700
    assert exchange.engine.totals()["BTC"] == 3 * FUNDS["BTC"] + 700


def test_a_repeat_gets_the_first_receipt_and_no_second_credit() -> None:
    """However often, and also by an engine that was loaded from a dump."""
    exchange = Exchange()
    exchange.done(DEPOSIT)
    receipt = exchange.seq
    duplicate = Rejected(codes.DEFINITION_REJECTED, "DUPLICATE_DEPOSIT", "deposit_id", ref=receipt)
    assert exchange.refused(DEPOSIT) == exchange.refused(DEPOSIT) == duplicate
    exchange.engine = Engine.load(exchange.engine.dump())
    assert exchange.refused(DEPOSIT) == duplicate


@pytest.mark.parametrize(
    "other",
    [
        CreditDeposit("btc|ab12|0", BOB, "BTC", 700),
        CreditDeposit("btc|ab12|0", ALICE, "USDT", 700),
        CreditDeposit("btc|ab12|0", ALICE, "BTC", 701),
        CreditDeposit("btc|ab12|0", 10**30, "\ud800", -(10**30)),
    ],
)
def test_the_same_id_for_something_else_is_another_refusal(other: CreditDeposit) -> None:
    """It is no repeat, and it is told apart from one."""
    exchange = Exchange()
    exchange.done(DEPOSIT)
    rejected = exchange.refused(other)
    assert (rejected.reason, rejected.ref) == ("DEPOSIT_DIFFERS", exchange.seq - 1)


@pytest.mark.parametrize("name", ["", "a b", "a\n", "ä", "\x00", "\x7f", "\ud800", "x" * 201, "x" * 100_000])
def test_an_id_is_of_visible_ascii(name: str) -> None:
    """Up to 200 characters of it."""
    assert Exchange().refused(CreditDeposit(name, ALICE, "BTC", 1)).field == "deposit_id"
    Exchange().done(CreditDeposit("x" * 200, ALICE, "BTC", 1))


@pytest.mark.parametrize(
    ("deposit", "reason", "field", "value"),
    [
        *((CreditDeposit("d", number, "BTC", 1), "UNKNOWN_ACCOUNT", "account", number) for number in (9, -1, 10**30)),
        *((CreditDeposit("d", ALICE, name, 1), "UNKNOWN_ASSET", "asset", 0) for name in ("", "ETH", "\ud800")),
        *((CreditDeposit("d", ALICE, "BTC", n), "OUT_OF_RANGE", "amount", n) for n in (0, -1, -(2**63), -(10**30))),
        *((CreditDeposit("d", ALICE, "BTC", n), "OVERFLOW", "amount", n) for n in (MAX_INT, 2**63, 10**30)),
    ],
)
def test_a_deposit_that_cannot_be_says_why(deposit: CreditDeposit, reason: str, field: str, value: int) -> None:
    """Unknown owners and assets, no amount, and more than fits."""
    rejected = Exchange().refused(deposit)
    assert rejected.code == codes.DEFINITION_REJECTED
    assert (rejected.reason, rejected.field, rejected.value) == (reason, field, value)


def test_the_last_unit_that_fits_is_credited() -> None:
    """An asset can grow to 64 bits, to the unit."""
    exchange = Exchange()
    room = MAX_INT - exchange.engine.totals()["BTC"]
    assert exchange.refused(CreditDeposit("d", ALICE, "BTC", room + 1)).limit == room
    exchange.done(CreditDeposit("d", ALICE, "BTC", room))
    assert exchange.engine.totals()["BTC"] == MAX_INT
    assert exchange.refused(CreditDeposit("e", ALICE, "BTC", 1)).reason == "OVERFLOW"


def test_the_house_can_be_credited() -> None:
    """Its account exists from the start."""
    exchange = Exchange()
    exchange.done(CreditDeposit("equity", 0, "USDT", 5))
    assert exchange.balance(0, "USDT").available == 5

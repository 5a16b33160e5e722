"""What an auditor asks the log: whose records are found, from when to when, by number or by name, and how they read."""

from random import Random

import pytest

from book.commands import (
    AmendOrder,
    ArmSession,
    CancelAll,
    CancelOrder,
    Command,
    CreditDeposit,
    DefineAccount,
    DefineAsset,
    DefineKey,
    DefineMarket,
    FreezeAccount,
    LoseAllSessions,
    LoseSession,
    PlaceOrder,
    ReplaceOrder,
    RevokeKey,
    SetMarketState,
    Tick,
)
from book.definitions import Account, Asset, Key
from book.terms import BUY, GTC, LIMIT, SELL
from persistence import codec, offline
from persistence.snapshot import list_snapshots
from persistence.trail import Question, UnknownNameError, account_number, key_number
from tallystick.records import line_of
from tests.clients import MARKET, PUBLIC_KEY
from tests.logs import append, open_log
from tests.recorded import Recorded
from tests.simulation.disk import SimulatedDisk
from tests.test_snapshotting import beheaded

__all__ = ["beheaded"]  # a fixture


def order(account: int, session: int, symbol: str = "BTC-USDT", side: int = BUY) -> PlaceOrder:
    """Whatever."""
    return PlaceOrder(account, account + 10, session, symbol, side, LIMIT, GTC, 5, 100)


# Numbered from 1.
COMMANDS: list[Command] = [
    DefineAsset(Asset("BTC", 8)),
    DefineMarket(MARKET),
    DefineAccount(Account(1, "alice")),
    DefineAccount(Account(2, "bob")),
    DefineKey(Key(11, "alice-1", 1, 7, PUBLIC_KEY)),
    DefineKey(Key(12, "bob", 2, 7, PUBLIC_KEY)),
    CreditDeposit("d", 1, "BTC", 5),
    ArmSession(1, 11, 31),
    order(1, 31),
    order(2, 32, side=SELL),
    ReplaceOrder(1, "", order(1, 31)),
    CancelOrder(1, 11, 31, "BTC-USDT", 1),
    AmendOrder(1, 11, 31, "ETH-USDT", 1, "", 3),
    CancelAll(2, 12, 32),
    SetMarketState("BTC-USDT", 2),
    LoseSession(31),
    ArmSession(2, 12, 32),
    LoseAllSessions(),
    RevokeKey(11),
    FreezeAccount(1, True),
    Tick(),
]


@pytest.fixture
def disk() -> SimulatedDisk:
    """A log of these."""
    disk = SimulatedDisk()
    append(open_log(disk), COMMANDS)
    return disk


def found(disk: SimulatedDisk, question: Question, first_seq: int = 1, last_seq: int | None = None) -> list[int | None]:
    """The numbers of what is found."""
    return [entry.seq for entry in offline.dump(disk, question=question, first_seq=first_seq, last_seq=last_seq)]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (Question(account=1), [3, 5, 7, 8, 9, 11, 12, 13, 16, 19, 20]),
        (Question(account=2), [4, 6, 10, 14, 17, 18]),
        (Question(account=9), []),
        (Question(key=11), [5, 8, 9, 11, 12, 13, 19]),
        (Question(key=12), [6, 10, 14, 17]),
        (Question(session=31), [8, 9, 11, 12, 13, 16]),
        (Question(symbol="ETH-USDT"), [13, 14]),
        (Question(symbol="BTC-USDT"), [2, 9, 10, 11, 12, 14, 15]),
        (Question(account=1, symbol="BTC-USDT"), [9, 11, 12]),
        (Question(account=1, key=12), []),
    ],
)
def test_what_is_about_somebody_is_found(question: Question, expected: list[int], disk: SimulatedDisk) -> None:
    """Also where the record itself does not say so: whose a key or a session is."""
    assert found(disk, question) == expected


def test_whose_it_is_is_known_from_further_up(disk: SimulatedDisk) -> None:
    """A question from a number on has read what comes before it."""
    assert found(disk, Question(account=1), first_seq=14) == [16, 19, 20]
    assert found(disk, Question(account=1), first_seq=14, last_seq=19) == [16, 19]


def test_times_are_from_and_to() -> None:
    """Both inclusive, to the nanosecond; what has no number is listed only if nobody is asked for."""
    disk = SimulatedDisk()
    log = open_log(disk)
    for number in range(1, 6):
        time_ns = 1_000 * number
        records = [codec.encode_command(time_ns, order(1, 1)), codec.encode_check(time_ns, bytes(16), {})]
        log.append(records, count=1, time_ns=time_ns)
    assert found(disk, Question(since_ns=2_000, until_ns=3_000)) == [2, None, 3, None]
    assert found(disk, Question(account=1, since_ns=2_001)) == [3, 4, 5]
    assert found(disk, Question(account=1, until_ns=1_999)) == [1]


def test_names_are_looked_up(disk: SimulatedDisk) -> None:
    """A number is one, whether there is such an account or not; a name has to be there."""
    assert (account_number(disk, "alice"), account_number(disk, "2"), account_number(disk, "77")) == (1, 2, 77)
    assert account_number(disk, "house") == 0
    assert (key_number(disk, "alice-1"), key_number(disk, "12")) == (11, 12)
    with pytest.raises(UnknownNameError, match="the log knows no account 'alice-1'"):
        account_number(disk, "alice-1")
    with pytest.raises(UnknownNameError, match="the log knows no key 'alice'"):
        key_number(disk, "alice")


def test_where_the_beginning_is_gone_a_snapshot_knows_the_names(beheaded: Recorded) -> None:
    """And whose the keys are."""
    disk = beheaded.disk
    assert offline.first_seq(disk) > 1
    assert list_snapshots(disk)
    assert account_number(disk, "account-2") == 2
    assert key_number(disk, "key-9") == 9
    begins = beheaded.log.next_seq
    beheaded.apply([(RevokeKey(3), beheaded.engine.last_time_ns)], Random(0))
    entries = offline.dump(disk, first_seq=begins, question=Question(account=3))
    assert [type(entry.record.command).__name__ for entry in entries if hasattr(entry.record, "command")] == [
        "RevokeKey"
    ]


def test_refused_calls_are_found_and_say_why() -> None:
    """They are what an auditor looks for first."""
    disk = SimulatedDisk()
    log = open_log(disk)
    time_ns = 1_800_000_000_000_000_001
    log.append([codec.encode_refused(time_ns, order(1, 31), -2010, "INSUFFICIENT_BALANCE")], count=1, time_ns=time_ns)
    (entry,) = offline.dump(disk, question=Question(account=1, key=11, session=31, symbol="BTC-USDT"))
    assert line_of(entry) == (
        "         1  2027-01-15T08:00:00.000000001Z  PlaceOrder account=1 key=11 session=31 symbol=BTC-USDT side=BUY "
        "type=LIMIT time_in_force=GTC quantity=5 price=100 REFUSED -2010 ORDER_REJECTED INSUFFICIENT_BALANCE"
    )


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("d-1", "d-1"),
        ("a b", '"a b"'),
        ("x=1", '"x=1"'),
        ('"', '"\\""'),
        ("\x1b[2J", '"\\u001b[2J"'),
        ("\n", '"\\n"'),
        ("", '""'),
        ("\u0661", '"\\\\u0661"'),
    ],
)
def test_no_text_of_a_client_passes_for_another_field(name: str, shown: str) -> None:
    """Nor moves a terminal's cursor."""
    disk = SimulatedDisk()
    log = open_log(disk)
    log.append([codec.encode_refused(1, CreditDeposit(name, 1, "BTC", 5), -4000, "")], count=1, time_ns=1)
    (entry,) = offline.dump(disk)
    assert f" deposit_id={shown} account=1" in line_of(entry)

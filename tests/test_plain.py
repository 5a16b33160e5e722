"""Wrong types: each field of each command and query, and nothing changes."""

from enum import IntEnum
from typing import cast, get_args

import msgspec
import pytest

from book.commands import (
    AdjustBalance,
    AdoptWithdrawal,
    AllocateAddress,
    AmendOrder,
    ArmSession,
    BeginEpoch,
    CancelAll,
    CancelAllAfter,
    CancelOrder,
    ClearMarket,
    Command,
    CreditDeposit,
    DefineAccount,
    DefineAsset,
    DefineKey,
    DefineMarket,
    Definition,
    FreezeAccount,
    FreezeAsset,
    LoseAllSessions,
    LoseSession,
    PauseWithdrawals,
    PlaceOrder,
    ReleaseWithdrawal,
    ReplaceOrder,
    RequestWithdrawal,
    RevokeKey,
    SetAccountTier,
    SetEngineVersion,
    SetFeeTier,
    SetMarketState,
    SettleWithdrawal,
    Tick,
)
from book.definitions import Account, Asset, Key
from book.history import MINUTE_NS
from book.queries import (
    AccountDetails,
    AccountOrders,
    AccountTrades,
    AccountWithdrawals,
    AddressesSince,
    AddressOf,
    Balances,
    Candles,
    Commission,
    DepositReceipt,
    Depth,
    Directory,
    Info,
    JudgeOrder,
    Logon,
    OpenOrders,
    OrderStatus,
    Outbox,
    PendingWithdrawals,
    Query,
    RecentTrades,
    Ticker,
    WholeBook,
    WithdrawalReceipt,
    WithdrawalStatus,
)
from book.terms import HALT
from tests.exchange import ALICE, BTC_USDT, PUBLIC_KEY, SYMBOL, USDT, Exchange, buy


class Number(IntEnum):
    """An integer that is not a plain one."""

    ONE = 1


class Text(str):  # noqa: SLOT000 -- the point is that it is a str that is not a plain one
    """A text that is not a plain one."""


WRONG = [None, 1.0, b"1", [1], (1,), object(), Number.ONE, Text("BTC"), USDT]

COMMANDS: list[Command] = [
    PlaceOrder(ALICE, 0, 0, SYMBOL, 1, 1, 1, 10, 100),
    CancelOrder(ALICE, 0, 0, SYMBOL, 1),
    CancelAll(ALICE, 0, 0),
    AmendOrder(ALICE, 0, 0, SYMBOL, 1, "", 20, 90),
    ReplaceOrder(1, "", PlaceOrder(ALICE, 0, 0, SYMBOL, 1, 1, 1, 10, 99)),
    CreditDeposit("new", ALICE, "BTC", 1),
    DefineAsset(Asset("ETH", 8)),
    DefineMarket(msgspec.structs.replace(BTC_USDT, symbol="X")),
    DefineAccount(Account(9, "nine")),
    DefineKey(Key(1, "key", ALICE, 7, PUBLIC_KEY)),
    CancelAllAfter(ALICE, 0, 0, 1_000),
    ArmSession(ALICE, 0, 6),
    LoseSession(5),
    LoseAllSessions(),
    Tick(),
    SetEngineVersion(1),
    SetMarketState(SYMBOL, HALT),
    SetFeeTier(SYMBOL, 1, 0, 0),
    SetAccountTier(ALICE, 1),
    RevokeKey(2),
    FreezeAccount(ALICE, True),
    FreezeAsset("BTC", True),
    ClearMarket(SYMBOL),
    AdjustBalance("new", ALICE, "BTC", 1, "goodwill", "ann", "bob"),
    AllocateAddress(ALICE, 0, 0, "BTC"),
    RequestWithdrawal(ALICE, 0, 0, "w1", "BTC", "there", 5_000),
    SettleWithdrawal("1-16", "tx"),
    ReleaseWithdrawal("1-16", "off"),
    AdoptWithdrawal("1-99", ALICE, "w9", "BTC", "there", 1, 0),
    PauseWithdrawals(True),
    BeginEpoch(3),
]
DEFINITIONS = [command for command in COMMANDS if isinstance(command, get_args(Definition))]
QUERIES: list[Query] = [
    OrderStatus(ALICE, SYMBOL, 1),
    OpenOrders(ALICE),
    Balances(ALICE),
    Depth(SYMBOL),
    Logon("key"),
    Directory(),
    Info(),
    JudgeOrder(PlaceOrder(ALICE, 0, 0, SYMBOL, 1, 1, 1, 10, 100)),
    AccountTrades(ALICE, SYMBOL),
    AccountOrders(ALICE, SYMBOL),
    AccountDetails(ALICE),
    Commission(ALICE, SYMBOL),
    RecentTrades(SYMBOL),
    Ticker(SYMBOL),
    Candles(SYMBOL, MINUTE_NS),
    AddressOf(ALICE, "BTC"),
    AddressesSince("bitcoin"),
    DepositReceipt("new"),
    Outbox("bitcoin"),
    AccountWithdrawals(ALICE),
    PendingWithdrawals(ALICE),
    WithdrawalStatus(ALICE, "w0"),
    WithdrawalReceipt("1-16"),
    WholeBook(SYMBOL),
]


def exchange_for_all() -> Exchange:
    """One in which each of the commands takes effect."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 10, 100))
    exchange.done(DefineKey(Key(2, "another", ALICE, 7, PUBLIC_KEY)))
    exchange.done(ArmSession(ALICE, 0, 5))
    exchange.done(RequestWithdrawal(ALICE, 0, 0, "w0", "BTC", "there", 5_000))
    exchange.done(BeginEpoch(2))
    return exchange


def test_no_command_or_query_is_left_out() -> None:
    """The tests below are of every one there is."""
    assert {type(command) for command in COMMANDS} == set(get_args(Command))
    assert {type(query) for query in QUERIES} == set(get_args(Query))


def wrong_values(right: object) -> list[object]:
    """Values of all types but that of the right one, a bool for an int and an int for a bool among them."""
    others: list[object] = [*WRONG, 1, "BTC", True]
    return [value for value in others if type(value) is not type(right)]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_a_wrong_type_in_any_field_of_a_command_raises_and_changes_nothing(command: Command) -> None:
    """And the same command with the right types takes effect afterwards."""
    exchange = exchange_for_all()
    before = exchange.engine.dump()
    for field in command.__struct_fields__:
        for value in wrong_values(getattr(command, field)):
            spoilt = msgspec.structs.replace(command, **{field: value})
            with pytest.raises(TypeError):
                exchange.engine.apply(spoilt, exchange.seq + 1, exchange.time_ns)
    assert exchange.engine.dump() == before
    exchange.done(command)


@pytest.mark.parametrize("command", DEFINITIONS, ids=lambda command: type(command).__name__)
def test_a_wrong_type_inside_a_definition_raises_and_changes_nothing(command: Command) -> None:
    """The definition within the command is looked at as closely."""
    exchange = Exchange()
    before = exchange.engine.dump()
    (name,) = command.__struct_fields__
    definition = getattr(command, name)
    for field in definition.__struct_fields__:
        for value in wrong_values(getattr(definition, field)):
            spoilt = msgspec.structs.replace(command, **{name: msgspec.structs.replace(definition, **{field: value})})
            with pytest.raises(TypeError, match=field):
                exchange.engine.apply(spoilt, exchange.seq + 1, exchange.time_ns)
    assert exchange.engine.dump() == before


def test_a_wrong_type_inside_a_replacement_raises_and_changes_nothing() -> None:
    """The order within the command is looked at as closely."""
    exchange = Exchange()
    exchange.place(buy(ALICE, 10, 100))
    before = exchange.engine.dump()
    order = PlaceOrder(ALICE, 0, 0, SYMBOL, 1, 1, 1, 10, 99)
    for field in order.__struct_fields__:
        for value in wrong_values(getattr(order, field)):
            spoilt = ReplaceOrder(1, "", msgspec.structs.replace(order, **{field: value}))
            with pytest.raises(TypeError, match=field):
                exchange.engine.apply(spoilt, exchange.seq + 1, exchange.time_ns)
    assert exchange.engine.dump() == before


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: type(query).__name__)
def test_a_wrong_type_in_any_field_of_a_query_raises(query: Query) -> None:
    """Reads are as strict as writes."""
    engine = Exchange().engine
    engine.query(query)
    for field in query.__struct_fields__:
        for value in wrong_values(getattr(query, field)):
            with pytest.raises(TypeError, match=field):
                engine.query(msgspec.structs.replace(query, **{field: value}))


def test_a_wrong_type_inside_an_order_to_judge_raises() -> None:
    """The order within the query is looked at as closely."""
    engine = Exchange().engine
    order = PlaceOrder(ALICE, 0, 0, SYMBOL, 1, 1, 1, 10, 99)
    for field in order.__struct_fields__:
        for value in wrong_values(getattr(order, field)):
            with pytest.raises(TypeError, match=field):
                engine.query(JudgeOrder(msgspec.structs.replace(order, **{field: value})))


@pytest.mark.parametrize("value", [1.0, "1", True, Number.ONE])
def test_the_time_of_a_query_is_a_plain_integer(value: object) -> None:
    """As with commands; or it is left out."""
    with pytest.raises((TypeError, ValueError)):
        Exchange().engine.query(Info(), cast("int", value))


@pytest.mark.parametrize("thing", [None, 1, "Tick", {}, USDT, object(), PlaceOrder])
def test_what_is_no_command_or_query_raises(thing: object) -> None:
    """A command is no query and a query is no command either."""
    exchange = Exchange()
    for command in (thing, Directory()):
        with pytest.raises(TypeError):
            exchange.engine.apply(cast("Command", command), exchange.seq + 1, exchange.time_ns)
    for query in (thing, Tick()):
        with pytest.raises(TypeError):
            exchange.engine.query(cast("Query", query))
    exchange.engine.check()


@pytest.mark.parametrize("value", [None, 1.0, "1", True, Number.ONE])
def test_sequence_and_time_are_plain_integers(value: object) -> None:
    """Anything else is refused; what passes for an integer once compiled is at least not larger than the last one."""
    exchange = Exchange()
    before = exchange.engine.dump()
    with pytest.raises((TypeError, ValueError)):
        exchange.engine.apply(Tick(), cast("int", value), exchange.time_ns)
    with pytest.raises((TypeError, ValueError)):
        exchange.engine.apply(Tick(), exchange.seq + 1, cast("int", value))
    assert exchange.engine.dump() == before

"""What an account's owner is told: every step of every order, numbered, and the balances behind each command."""

from collections import Counter
from itertools import chain, repeat
from random import Random
from typing import Any

import msgspec
import pytest

from actors.audience import Refused, account_news, concerned
from actors.directory import Directory
from actors.stream_events import BalanceEvent, ExecutionReport, StreamEvent, WithdrawalEvent
from actors.user_stream import UserStream
from book.commands import (
    AdjustBalance,
    Command,
    CreditDeposit,
    FreezeAsset,
    PlaceOrder,
    RequestWithdrawal,
    SettleWithdrawal,
    Tick,
)
from book.engine import Engine
from book.events import Rejected
from book.queries import Directory as DirectoryQuery
from book.queries import DirectoryView
from book.terms import BUY, DECREMENT, EXPIRE_MAKER, MARKET, NONE, SELL, STOP_LOSS
from tests.counts import seeds
from tests.exchange import (
    ALICE,
    BOB,
    BTC,
    BTC_USDT,
    CAROL,
    START_NS,
    Exchange,
    amend,
    buy,
    cancel,
    ioc,
    limit,
    market,
    sell,
)
from tests.wild import Wild, opening


class Owner:
    """Follows an account of an exchange."""

    def __init__(self, exchange: Exchange, account: int = ALICE) -> None:
        self.exchange = exchange
        self.account = account
        directory = Directory()
        view = exchange.engine.query(DirectoryQuery())
        assert isinstance(view, DirectoryView)
        directory.fill(view)
        self.stream = UserStream(directory)

    def told(self, command: Command) -> list[StreamEvent]:
        """What the owner is told of a command that takes effect."""
        before = self.exchange.engine.user_seq(self.account)
        events = self.exchange.done(command)
        news = account_news(self.exchange.engine, {self.account}, events, self.exchange.time_ns)
        lines = [line for each in news for line in self.stream.lines(each)]
        seqs = [line.seq for line in lines]  # type: ignore[attr-defined]  # all of them have one
        assert seqs == list(range(before + 1, self.exchange.engine.user_seq(self.account) + 1))
        return lines

    def steps(self, command: Command) -> list[str]:
        """The reports in short: step, status, executed, left; and for a trade how much, and whether as a maker."""
        *reports, balance = self.told(command)
        assert isinstance(balance, BalanceEvent)
        return [in_short(report) for report in reports]


def in_short(report: StreamEvent) -> str:
    """A report as a few words."""
    assert isinstance(report, ExecutionReport)
    words = [report.exec_type, report.status, report.cum_qty.rstrip("0"), report.leaves_qty.rstrip("0")]
    if report.trade_id is not msgspec.UNSET:
        words += [str(report.last_qty).rstrip("0"), "maker" if report.maker else "taker"]
    if report.reason is not msgspec.UNSET:
        words.append(str(report.reason))
    return " ".join(words)


@pytest.fixture
def exchange() -> Exchange:
    """Alice, Bob and Carol, without fees; a lot is 0.0001."""
    return Exchange(msgspec.structs.replace(BTC_USDT, maker_fee=0, taker_fee=0))


def test_an_order_that_rests_is_new(exchange: Exchange) -> None:
    """And what it holds is locked."""
    report, balance = Owner(exchange).told(buy(ALICE, 10_000, 100, client_order_id="first"))
    assert isinstance(report, ExecutionReport)
    assert msgspec.to_builtins(report) == {
        "event": "executionReport",
        "channel": "user",
        "seq": 5,
        "time": exchange.time_ns // 10**6,
        "execType": "NEW",
        "status": "NEW",
        "symbol": "BTC-USDT",
        "orderId": 1,
        "clientOrderId": "first",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "price": "1.00",
        "origQty": "1.0000",
        "cumQty": "0.0000",
        "cumQuoteQty": "0.000000",
        "leavesQty": "1.0000",
    }
    assert msgspec.to_builtins(balance)["balances"] == [
        {"asset": "BTC", "free": "100.00000000", "locked": "0.00000000"},
        {"asset": "USDT", "free": "999999.000000", "locked": "1.000000"},
    ]


def test_each_trade_says_how_the_order_stood_then(exchange: Exchange) -> None:
    """Of a taker that eats three makers, and of the maker whose part of it stays."""
    exchange.place(sell(BOB, 1_000, 100))
    exchange.place(sell(BOB, 2_000, 101))
    owner, maker = Owner(exchange), Owner(exchange, CAROL)
    assert maker.steps(sell(CAROL, 5_000, 102)) == ["NEW NEW 0. 0.5"]
    assert owner.steps(buy(ALICE, 4_000, 102)) == [
        "NEW NEW 0. 0.4",
        "TRADE PARTIALLY_FILLED 0.1 0.3 0.1 taker",
        "TRADE PARTIALLY_FILLED 0.3 0.1 0.2 taker",
        "TRADE FILLED 0.4 0. 0.1 taker",
    ]
    assert maker.steps(buy(BOB, 3_000, 102)) == ["TRADE PARTIALLY_FILLED 0.4 0.1 0.3 maker"]
    assert maker.steps(buy(BOB, 1_000, 102)) == ["TRADE FILLED 0.5 0. 0.1 maker"]


def test_what_is_left_of_a_taker_rests_or_expires(exchange: Exchange) -> None:
    """It has been told so much, and then ends or not."""
    owner = Owner(exchange)
    for price in (100, 100):
        exchange.place(sell(BOB, 1_000, price))
    assert owner.steps(ioc(ALICE, BUY, 3_000, 100)) == [
        "NEW NEW 0. 0.3",
        "TRADE PARTIALLY_FILLED 0.1 0.2 0.1 taker",
        "TRADE PARTIALLY_FILLED 0.2 0.1 0.1 taker",
        "EXPIRED EXPIRED 0.2 0.",
    ]
    exchange.place(sell(BOB, 1_000, 100))
    assert owner.steps(buy(ALICE, 3_000, 100))[1:] == ["TRADE PARTIALLY_FILLED 0.1 0.2 0.1 taker"]


def test_a_cancel_and_an_amendment(exchange: Exchange) -> None:
    """REPLACED with the new quantity, and CANCELED with nothing left."""
    owner = Owner(exchange)
    order, _ = exchange.place(buy(ALICE, 3_000, 100))
    assert owner.steps(amend(ALICE, order.order_id, new_quantity=2_000)) == ["REPLACED NEW 0. 0.2"]
    assert owner.steps(cancel(ALICE, order.order_id)) == ["CANCELED CANCELED 0. 0."]


def test_an_amendment_that_trades(exchange: Exchange) -> None:
    """First that it was replaced, then its trades."""
    owner = Owner(exchange)
    order, _ = exchange.place(buy(ALICE, 3_000, 100))
    exchange.place(sell(BOB, 1_000, 101))
    assert owner.steps(amend(ALICE, order.order_id, new_price=101)) == [
        "REPLACED NEW 0. 0.3",
        "TRADE PARTIALLY_FILLED 0.1 0.2 0.1 taker",
    ]


def test_a_stop_is_told_when_it_is_triggered(exchange: Exchange) -> None:
    """By somebody else's trade: it is NEW again, then trades, and ends."""
    owner = Owner(exchange)
    exchange.place(buy(BOB, 5_000, 99))
    exchange.place(buy(BOB, 1_000, 100))
    exchange.place(market(ALICE, SELL, 2_000, type=STOP_LOSS, stop_price=100))
    assert owner.steps(sell(CAROL, 1_000, 100)) == [
        "NEW NEW 0. 0.2 TRIGGERED",
        "TRADE FILLED 0.2 0. 0.2 taker",
    ]


def test_a_market_order_by_amount_has_nothing_left(exchange: Exchange) -> None:
    """It is for what it gets."""
    owner = Owner(exchange)
    exchange.place(sell(BOB, 1_000, 100))
    exchange.place(sell(BOB, 1_000, 200))
    steps = owner.steps(PlaceOrder(ALICE, 0, 0, "BTC-USDT", BUY, MARKET, 2, 0, 0, 105_000))
    assert steps == [
        "NEW NEW 0. 0.",
        "TRADE PARTIALLY_FILLED 0.1 0. 0.1 taker",
        "EXPIRED EXPIRED 0.1 0.",
    ]


def test_self_trade_prevention_shrinks_both(exchange: Exchange) -> None:
    """Both are replaced by what is left; one that loses all expires."""
    owner = Owner(exchange)
    exchange.place(sell(ALICE, 3_000, 100))
    assert owner.steps(buy(ALICE, 1_000, 100, self_trade=DECREMENT)) == [
        "NEW NEW 0. 0.1",
        "REPLACED NEW 0. 0.2 SELF_TRADE",
        "EXPIRED EXPIRED_IN_MATCH 0. 0.",
    ]
    exchange.place(sell(BOB, 500, 99))
    assert owner.steps(buy(ALICE, 1_000, 100, self_trade=EXPIRE_MAKER)) == [
        "NEW NEW 0. 0.1",
        "TRADE PARTIALLY_FILLED 0.05 0.05 0.05 taker",
        "EXPIRED EXPIRED_IN_MATCH 0. 0.",
    ]


def test_a_trade_before_a_reduction_is_told_with_what_was_wanted_then(exchange: Exchange) -> None:
    """The walk back adds what self-trade prevention took off later."""
    owner = Owner(exchange)
    exchange.place(sell(BOB, 1_000, 99))
    exchange.place(sell(ALICE, 1_000, 100))
    exchange.place(sell(BOB, 1_000, 101))
    assert owner.steps(buy(ALICE, 5_000, 101, self_trade=DECREMENT)) == [
        "NEW NEW 0. 0.5",
        "TRADE PARTIALLY_FILLED 0.1 0.4 0.1 taker",
        "EXPIRED EXPIRED_IN_MATCH 0. 0.",
        "REPLACED PARTIALLY_FILLED 0.1 0.3 SELF_TRADE",
        "TRADE PARTIALLY_FILLED 0.2 0.2 0.1 taker",
    ]


def test_both_sides_of_a_trade_with_oneself(exchange: Exchange) -> None:
    """The maker first."""
    owner = Owner(exchange)
    exchange.place(sell(ALICE, 3_000, 100))
    assert owner.steps(buy(ALICE, 1_000, 100, self_trade=NONE)) == [
        "NEW NEW 0. 0.1",
        "TRADE PARTIALLY_FILLED 0.1 0.2 0.1 maker",
        "TRADE FILLED 0.1 0. 0.1 taker",
    ]


def test_money_that_comes_in(exchange: Exchange) -> None:
    """A deposit is told, and what an operator sets right shows in the balances."""
    owner = Owner(exchange)
    deposit, balance = owner.told(CreditDeposit("btc|ab|0", ALICE, "BTC", 5))
    assert msgspec.to_builtins(deposit) | {"time": 0} == {
        "event": "deposit",
        "channel": "user",
        "seq": 5,
        "time": 0,
        "depositId": "btc|ab|0",
        "asset": "BTC",
        "amount": "0.00000005",
    }
    (adjusted,) = owner.told(AdjustBalance("case", ALICE, "BTC", -5, "goodwill", "ann", "bob"))
    held = [msgspec.to_builtins(line)["balances"][0]["free"] for line in (balance, adjusted)]
    assert held == ["100.00000005", "100.00000000"]


def test_a_balance_of_nothing_is_told_too(exchange: Exchange) -> None:
    """Whoever sells all of it has zero, not nothing to say."""
    owner = Owner(exchange)
    (adjusted,) = owner.told(AdjustBalance("case", ALICE, "BTC", -(10**10), "all", "ann", "bob"))
    assert msgspec.to_builtins(adjusted)["balances"] == [{"asset": "BTC", "free": "0.00000000", "locked": "0.00000000"}]


def test_who_is_not_followed_is_told_nothing(exchange: Exchange) -> None:
    """Nor anybody of what concerns no account."""
    assert account_news(exchange.engine, {CAROL}, exchange.done(buy(ALICE, 1, 100)), 0) == []
    assert [concerned(event) for event in exchange.done(FreezeAsset("BTC", True))] == [()]


def test_a_rejection_says_what_was_asked_and_why(exchange: Exchange) -> None:
    """It has no number and no id; codes that there are not come as they are."""
    owner = Owner(exchange)

    def told(order: PlaceOrder, rejected: Rejected) -> Any:
        return msgspec.to_builtins(owner.stream.rejection(Refused(exchange.time_ns, order, rejected)))

    order = limit(ALICE, BUY, 5, 100, client_order_id="mine")
    assert told(order, Rejected(-2010, "INSUFFICIENT_BALANCE")) == {
        "event": "executionReport",
        "channel": "user",
        "time": exchange.time_ns // 10**6,
        "execType": "REJECTED",
        "status": "REJECTED",
        "symbol": "BTC-USDT",
        "clientOrderId": "mine",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "price": "1.00",
        "origQty": "0.0005",
        "cumQty": "0.0000",
        "cumQuoteQty": "0.000000",
        "leavesQty": "0.0000",
        "reason": "INSUFFICIENT_BALANCE",
    }
    unknown = told(limit(ALICE, 9, 5, 100, symbol="X-Y"), Rejected(-1121))
    assert (unknown["symbol"], unknown["side"], unknown["reason"]) == ("X-Y", "9", "BAD_SYMBOL")


def test_a_withdrawal_is_told_when_it_is_held_and_when_it_ends(exchange: Exchange) -> None:
    """With what is free and locked behind it."""
    owner = Owner(exchange)
    held, locked = owner.told(RequestWithdrawal(ALICE, 0, 0, "w1", "BTC", "there", 5_000))
    assert isinstance(held, WithdrawalEvent)
    assert (held.withdraw_order_id, held.amount, held.fee, held.status) == (
        *("w1", "0.00005000", f"{BTC.withdrawal_fee / 10**8:.8f}", "HELD"),
    )
    settled, paid = owner.told(SettleWithdrawal(held.withdrawal_id, "tx"))
    assert isinstance(settled, WithdrawalEvent)
    assert (settled.withdrawal_id, settled.status) == (held.withdrawal_id, "SETTLED")
    (before,), (after,) = (msgspec.to_builtins(line)["balances"] for line in (locked, paid))
    gone = 5_000 + BTC.withdrawal_fee
    assert before == {"asset": "BTC", "free": f"99.{10**8 - gone:08}", "locked": f"0.{gone:08}"}
    assert after == {"asset": "BTC", "free": f"99.{10**8 - gone:08}", "locked": "0.00000000"}


@pytest.mark.parametrize("seed", seeds(4, 400))
def test_whatever_happens_every_number_is_given_once(seed: int) -> None:
    """In a wild history all owners are told as much as their accounts count, and no order has more than it wanted."""
    source, engine, seq, time_ns = Wild(Random(seed)), Engine(), 0, START_NS
    directory = Directory()
    stream = UserStream(directory)
    told = Counter[int]()
    for command in chain(opening(), repeat(None, 1_500)):
        seq, time_ns = seq + 1, time_ns + 10**6
        for each in (Tick(), command or source.command(time_ns)):
            if isinstance(each, Tick) and not 0 < engine.next_due_ns <= time_ns:
                continue
            try:
                outcome = engine.apply(each, seq, time_ns)
            except TypeError:
                continue
            seq += 1
            if isinstance(outcome, Rejected):
                continue
            source.heard(outcome)
            view = engine.query(DirectoryQuery())
            assert isinstance(view, DirectoryView)
            directory.fill(view)
            everybody = {account.account for account in view.accounts}
            for news in account_news(engine, everybody, outcome, time_ns):
                lines = stream.lines(news)
                told[news.account] += len(lines)
                assert told[news.account] == news.seq == engine.user_seq(news.account)
                seqs = [msgspec.to_builtins(line)["seq"] for line in lines]
                assert seqs == list(range(news.seq - len(lines) + 1, news.seq + 1))
                for line in lines:
                    if isinstance(line, ExecutionReport):
                        assert "-" not in line.leaves_qty + line.cum_qty + line.cum_quote_qty
            for account in everybody:
                assert told[account] == engine.user_seq(account)
    assert sum(told.values()) > 500

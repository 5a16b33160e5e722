"""The sequencer by itself: what a log without room takes, and what a round's time is for."""

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from actors.audience import Audience
from actors.directory import Directory
from actors.engine_clock import EngineClock
from actors.mailbox import Busy
from actors.quarantine import Quarantine
from actors.requests import Batch, Done, Outcome, Request
from actors.sequencer import DefinitionRefusedError, Sequencer
from book.commands import (
    AmendOrder,
    ArmSession,
    CancelAll,
    CancelAllAfter,
    CancelOrder,
    ClearMarket,
    Command,
    CreditDeposit,
    DefineAsset,
    FreezeAccount,
    LoseSession,
    PlaceOrder,
    ReleaseWithdrawal,
    ReplaceOrder,
    RequestWithdrawal,
    RevokeKey,
    SetMarketState,
    SettleWithdrawal,
)
from book.definitions import Asset
from book.engine import Engine
from book.events import Rejected, WithdrawalHeld
from book.queries import JudgeOrder, OpenOrders
from book.terms import BUY, GTC, GTD, HALT, LIMIT
from tallystick.demo import definitions
from tests.simulation.disk import power_cut
from tests.simulation.world import EPOCH_NS

SYMBOL = "BTC-USDT"
ORDER = PlaceOrder(1, 0, 7, SYMBOL, BUY, LIMIT, GTC, 10, 4_000_000, client_order_id="a")


class HandClock:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.passed_ns = 0

    def wall_ns(self) -> int:
        """Since 1970."""
        return EPOCH_NS + self.passed_ns

    def monotonic_ns(self) -> int:
        """Since the beginning."""
        return self.passed_ns


class Desk:
    """A sequencer with an opened engine, on a clock of its own."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.sequencer = Sequencer(
            Engine(),
            EngineClock(self.clock, 0),
            incarnation=1,
            next_seq=1,
            quarantine=Quarantine(),
            directory=Directory(),
            audience=Audience(),
            die=power_cut,
        )
        self.sequencer.open(definitions(), lose_sessions=True)

    def outcome(self, request: Request, *, accept_orders: bool = True) -> Outcome:
        """What becomes of one request."""
        handoff = self.sequencer.work([Batch([request])], accept_orders=accept_orders)
        ((_, (outcome,)),) = handoff.answers
        return outcome


@pytest.mark.parametrize(
    "request_",
    [ORDER, AmendOrder(1, 0, 0, SYMBOL, 1, "", 5), ReplaceOrder(1, "", replace(ORDER, client_order_id="b"))],
    ids=lambda request: type(request).__name__,
)
def test_a_log_without_room_takes_no_orders(request_: Command) -> None:
    """Nor what changes one: it may be tried again, and nothing of it is logged."""
    desk = Desk()
    assert isinstance(desk.outcome(replace(ORDER, client_order_id="first")), Done)
    assert isinstance(desk.outcome(request_, accept_orders=False), Busy)
    assert isinstance(desk.outcome(request_), Done)


@pytest.mark.parametrize(
    "request_",
    [
        CancelOrder(1, 0, 0, SYMBOL, 1),
        CancelAll(1, 0, 0),
        CancelAllAfter(1, 0, 0, 1000),
        ArmSession(1, 0, 8),
        LoseSession(7),
        SetMarketState(SYMBOL, HALT),
        ClearMarket(SYMBOL),
        FreezeAccount(1, frozen=True),
        RevokeKey(1),
        DefineAsset(Asset("LTC", 8)),
        CreditDeposit("x", 1, "BTC", 1),
    ],
    ids=lambda request: type(request).__name__,
)
def test_a_log_without_room_takes_all_else(request_: Command) -> None:
    """Whatever makes room in the books, or is for operators."""
    desk = Desk()
    assert isinstance(desk.outcome(ArmSession(1, 0, 7)), Done)
    assert isinstance(desk.outcome(ORDER), Done)
    assert isinstance(desk.outcome(request_, accept_orders=False), Done)


def test_a_log_without_room_answers_reads() -> None:
    """Also whether an order would be taken."""
    desk = Desk()
    assert desk.outcome(OpenOrders(1), accept_orders=False) == []
    assert not isinstance(desk.outcome(JudgeOrder(ORDER), accept_orders=False), Busy)


def test_what_is_due_is_told_in_nanoseconds() -> None:
    """None while there is nothing, then less and less, and 0 from its moment on until it has fallen due."""
    desk = Desk()
    assert desk.sequencer.ns_until_due() is None
    expire_time = EPOCH_NS // 10**6 + 500
    assert isinstance(desk.outcome(replace(ORDER, time_in_force=GTD, expire_time=expire_time)), Done)
    assert desk.sequencer.ns_until_due() == 500 * 10**6
    desk.clock.passed_ns = 499 * 10**6
    assert desk.sequencer.ns_until_due() == 10**6
    desk.clock.passed_ns = 600 * 10**6
    assert desk.sequencer.ns_until_due() == 0
    handoff = desk.sequencer.work([], accept_orders=False)
    assert len(handoff.records) == 1
    assert handoff.answers == []
    assert desk.sequencer.ns_until_due() is None


def test_a_configuration_that_the_engine_refuses() -> None:
    """It names what, which field, the value and the limit."""
    desk = Desk()
    with pytest.raises(
        DefinitionRefusedError, match="asset LTC is refused: OUT_OF_RANGE of scale: 10, and the limit is 9"
    ):
        desk.sequencer.open([DefineAsset(Asset("LTC", 10))], lose_sessions=False)


def test_money_that_is_told_of_twice_and_not_the_same_is_an_alarm() -> None:
    """Settled and then released, paid twice, credited as something else; what is only repeated is none."""
    desk = Desk()
    held = desk.outcome(RequestWithdrawal(1, 0, 0, "w", "BTC", "there", 100_000))
    assert isinstance(held, Done)
    (event,) = held.events
    assert isinstance(event, WithdrawalHeld)
    name = event.withdrawal.withdrawal_id
    with capture_logs() as logs:
        for command in (
            *(SettleWithdrawal(name, "tx"), SettleWithdrawal(name, "tx")),
            *(CreditDeposit("d", 1, "BTC", 1), CreditDeposit("d", 1, "BTC", 1)),
            RequestWithdrawal(1, 0, 0, "w", "BTC", "elsewhere", 100_000),  # a customer's mistake
        ):
            desk.outcome(command)
    assert logs == []
    with capture_logs() as logs:
        for refused in (
            *(ReleaseWithdrawal(name, "late"), SettleWithdrawal(name, "another")),
            CreditDeposit("d", 1, "BTC", 2),
        ):
            assert isinstance(desk.outcome(refused), Rejected)
    assert [line["log_level"] for line in logs] == ["error"] * 3
    assert [line["event"].split(":")[0] for line in logs] == ["ALARM"] * 3
    assert f"release of withdrawal {name} is refused: WITHDRAWAL_SETTLED" in logs[0]["reason"]

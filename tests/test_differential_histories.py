"""The fast engine against its reference, by histories that Hypothesis chooses, and shrinks where they differ."""

import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from book.commands import (
    AdjustBalance,
    AmendOrder,
    ArmSession,
    CancelAll,
    CancelAllAfter,
    CancelOrder,
    ClearMarket,
    Command,
    CreditDeposit,
    DefineMarket,
    FreezeAccount,
    FreezeAsset,
    LoseAllSessions,
    LoseSession,
    PlaceOrder,
    ReplaceOrder,
    RevokeKey,
    SetAccountTier,
    SetEngineVersion,
    SetFeeTier,
    SetMarketState,
    Tick,
)
from book.definitions import Market
from book.terms import (
    FOK,
    GTC,
    GTD,
    IOC,
    LIMIT,
    MARKET_STATES,
    ORDER_TYPES,
    SELF_TRADE_MODES,
    SIDES,
    STOP_LOSS,
    STOP_LOSS_LIMIT,
    TAKE_PROFIT,
    TAKE_PROFIT_LIMIT,
    TIMES_IN_FORCE,
    TRADING,
)
from tests.counts import count
from tests.planted_bugs import let_ioc_rest
from tests.side_by_side import START_NS, Difference, SideBySide
from tests.wild import ASSETS, NUMBERS, PITS, TEXTS, Pit, opening


def limit_order(
    *, account: int, pit: Pit, side: int, in_force: int, quantity: int, away: int, self_trade: int
) -> PlaceOrder:
    """A limit order of sense."""
    price = pit.middle + away
    return PlaceOrder(account, 0, 0, pit.market.symbol, side, LIMIT, in_force, quantity, price, self_trade=self_trade)


def iceberg(order: PlaceOrder, shown: int) -> PlaceOrder:
    """The order, with so much of it shown."""
    return msgspec.structs.replace(order, time_in_force=GTC, display_quantity=min(shown, order.quantity))


def until(order: PlaceOrder, expire_time: int) -> PlaceOrder:
    """The order, good till then."""
    return msgspec.structs.replace(order, time_in_force=GTD, expire_time=expire_time)


def stop(order: PlaceOrder, kind: int, away: int) -> PlaceOrder:
    """The order, once the price is so far from its own."""
    order = msgspec.structs.replace(order, type=kind, stop_price=order.price + away)
    return order if kind in {STOP_LOSS_LIMIT, TAKE_PROFIT_LIMIT} else msgspec.structs.replace(order, price=0)


def market_like_the_first(number: int, field: str, value: int) -> DefineMarket:
    """A market of another name and with one other number."""
    return DefineMarket(msgspec.structs.replace(PITS[0].market, symbol=f"NEW-{number}", **{field: value}))


nothing = st.just(0)
accounts = st.integers(1, 4)
symbols = st.sampled_from([pit.market.symbol for pit in PITS])
small = st.integers(1, 8)
numbers = small | st.sampled_from(NUMBERS)
names = st.integers(0, len(TEXTS) + 3).map(lambda number: ["", "a", "b", "auto-3", *TEXTS][number])

limit_orders = st.builds(
    limit_order,
    account=accounts,
    pit=st.sampled_from(PITS),
    side=st.sampled_from([*SIDES]),
    in_force=st.sampled_from([GTC, GTC, GTC, IOC, FOK]),
    quantity=small,
    away=st.integers(-3, 3),
    self_trade=st.sampled_from([0, *SELF_TRADE_MODES]),
)
moments = st.integers(START_NS // 10**6, START_NS // 10**6 + 5_000)
stops = st.builds(
    stop,
    order=limit_orders,
    kind=st.sampled_from([STOP_LOSS, STOP_LOSS_LIMIT, TAKE_PROFIT, TAKE_PROFIT_LIMIT]),
    away=st.integers(-2, 2),
)
special_orders = (
    stops
    | st.builds(iceberg, order=limit_orders, shown=small)
    | st.builds(until, order=limit_orders | stops, expire_time=moments)
)
orders_of_any_kind = st.builds(
    PlaceOrder,
    account=accounts | numbers,
    key=nothing | numbers,
    session=nothing | numbers,
    symbol=symbols | st.sampled_from(TEXTS),
    side=st.sampled_from([*SIDES]) | numbers,
    type=st.sampled_from([*ORDER_TYPES]) | numbers,
    time_in_force=st.sampled_from([*TIMES_IN_FORCE]) | numbers,
    quantity=nothing | numbers,
    price=nothing | numbers,
    quote_quantity=nothing | numbers,
    post_only=st.booleans(),
    client_order_id=names,
    self_trade=nothing | numbers,
    stop_price=nothing | numbers,
    expire_time=nothing | moments | numbers,
    display_quantity=nothing | numbers,
)
amendments = st.builds(
    AmendOrder,
    account=accounts,
    key=nothing,
    session=nothing,
    symbol=symbols,
    order_id=small,
    new_quantity=nothing | numbers,
    new_price=nothing | numbers | st.integers(98, 102),
)
replacements = st.builds(ReplaceOrder, order_id=small, client_order_id=st.just(""), order=limit_orders | special_orders)
cancels = st.builds(
    CancelOrder, account=accounts, key=nothing, session=nothing, symbol=symbols, order_id=nothing | numbers
) | st.builds(CancelOrder, account=accounts, key=nothing, session=nothing, symbol=symbols, client_order_id=names)
cancels_of_all = st.builds(CancelAll, account=accounts, key=nothing, session=nothing, symbol=st.just("") | symbols)
deposits = st.builds(
    CreditDeposit, deposit_id=names, account=accounts, asset=st.sampled_from([x.name for x in ASSETS]), amount=numbers
)
markets = st.builds(
    market_like_the_first, number=small, field=st.sampled_from(Market.__struct_fields__[3:]), value=numbers
)
sessions = st.integers(0, 2) | st.sampled_from(NUMBERS)
leaving = (
    st.builds(ArmSession, account=accounts, key=nothing, session=sessions)
    | st.builds(LoseSession, session=sessions)
    | st.just(LoseAllSessions())
    | st.builds(
        CancelAllAfter, account=accounts, key=nothing, session=nothing, timeout_ms=st.integers(0, 5_000) | numbers
    )
)
states = st.builds(SetMarketState, symbol=symbols, state=st.just(TRADING) | st.sampled_from([*MARKET_STATES]) | numbers)
tiers = st.integers(0, 2) | numbers
rates = st.integers(-3_000, 3_000) | numbers
settings_of_operators = (
    st.builds(SetEngineVersion, version=numbers)
    | st.builds(SetFeeTier, symbol=symbols, tier=tiers, maker_fee=rates, taker_fee=rates)
    | st.builds(SetAccountTier, account=accounts, tier=tiers)
    | st.builds(RevokeKey, key=numbers)
    | st.builds(FreezeAccount, account=accounts, frozen=st.booleans())
    | st.builds(FreezeAsset, asset=st.sampled_from([x.name for x in ASSETS]), frozen=st.booleans())
    | st.builds(ClearMarket, symbol=symbols)
    | st.builds(
        AdjustBalance,
        adjustment_id=names,
        account=accounts,
        asset=st.sampled_from([x.name for x in ASSETS]),
        amount=numbers | numbers.map(lambda number: -number),
        reason=names,
        operator=names,
        second_operator=names,
    )
)


class Histories(RuleBasedStateMachine):
    """Any history of the wild markets, on both engines."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = SideBySide()
        for command in opening():
            self.pair.do(command)

    @rule(order=limit_orders)
    def place(self, order: Command) -> None:
        """The usual."""
        self.do(order)

    @rule(order=special_orders)
    def place_special(self, order: Command) -> None:
        """What waits, hides or expires."""
        self.do(order)

    @rule(command=amendments | replacements)
    def change(self, command: Command) -> None:
        """Second thoughts."""
        self.do(command)

    @rule(command=states | leaving)
    def open_and_leave(self, command: Command) -> None:
        """Markets that close and open again, clients that go."""
        self.do(command)

    @rule(later_ms=st.integers(0, 3_000))
    def wait(self, later_ms: int) -> None:
        """Let something fall due."""
        self.pair.do(Tick(), later_ns=later_ms * 10**6)

    @rule(order=orders_of_any_kind)
    def place_any(self, order: Command) -> None:
        """The unusual."""
        self.do(order)

    @rule(command=cancels | cancels_of_all | deposits | markets | settings_of_operators)
    def other(self, command: Command) -> None:
        """The rest."""
        self.do(command)

    @rule()
    def remember(self) -> None:
        """Ask what both remember of trades and orders."""
        self.pair.compare_history()

    def do(self, command: Command) -> None:
        """On both."""
        self.pair.do(command)

    @invariant()
    def same(self) -> None:
        """Both are in the same state."""
        self.pair.compare()


def test_no_history_makes_a_difference() -> None:
    """Hypothesis finds no history after which the engines differ."""
    examples = settings(max_examples=count(100, 20_000), stateful_step_count=30, deadline=None)
    run_state_machine_as_test(Histories, settings=examples)


def test_a_difference_is_shrunk_to_what_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An IOC order that rests is shown by that order, after two other commands at most."""
    let_ioc_rest(monkeypatch)
    examples = settings(
        max_examples=1_000,
        stateful_step_count=20,
        phases=[Phase.generate, Phase.shrink],
        derandomize=True,
        database=None,
        deadline=None,
        print_blob=False,
    )
    with pytest.raises(Difference) as found:
        run_state_machine_as_test(Histories, settings=examples)
    steps = [note for note in found.value.__notes__ if note.startswith(("state.place", "state.other"))]
    assert "in_force=2" in steps[-1]
    assert len(steps) <= 3

"""The fast engine against its reference, by histories that Hypothesis chooses, and shrinks where they differ."""

import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from book.commands import CancelAll, CancelOrder, Command, CreditDeposit, DefineMarket, PlaceOrder
from book.definitions import Market
from book.terms import FOK, GTC, IOC, LIMIT, ORDER_TYPES, SELF_TRADE_MODES, SIDES, TIMES_IN_FORCE
from tests.counts import count
from tests.planted_bugs import let_ioc_rest
from tests.side_by_side import Difference, SideBySide
from tests.wild import ASSETS, NUMBERS, PITS, TEXTS, Pit, opening


def limit_order(
    *, account: int, pit: Pit, side: int, in_force: int, quantity: int, away: int, self_trade: int
) -> PlaceOrder:
    """A limit order of sense."""
    price = pit.middle + away
    return PlaceOrder(account, 0, 0, pit.market.symbol, side, LIMIT, in_force, quantity, price, self_trade=self_trade)


def market_like_the_first(number: int, field: str, value: int) -> DefineMarket:
    """A market of another name and with one other number."""
    return DefineMarket(msgspec.structs.replace(PITS[0].market, symbol=f"NEW-{number}", **{field: value}))


nothing = st.just(0)
accounts = st.integers(1, 4)
symbols = st.sampled_from([pit.market.symbol for pit in PITS])
small = st.integers(1, 8)
numbers = small | st.sampled_from(NUMBERS)
names = st.sampled_from(["", "a", "b", "auto-3", *TEXTS])

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
)
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

    @rule(order=orders_of_any_kind)
    def place_any(self, order: Command) -> None:
        """The unusual."""
        self.do(order)

    @rule(command=cancels | cancels_of_all | deposits | markets)
    def other(self, command: Command) -> None:
        """The rest."""
        self.do(command)

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

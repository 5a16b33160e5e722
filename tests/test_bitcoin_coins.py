"""Coin selection and replacement: nothing is lost, no dust is made, the fee has its cap, whatever coins there are."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chains.bitcoin_coins import (
    CHANGE_DUST,
    MAX_INPUTS,
    MIN_RATE,
    BitcoinFees,
    Dust,
    dust_limit,
    fee_of,
    plan_payment,
    replacement,
    virtual_bytes,
)
from chains.node import Outpoint
from chains.wallet import BitcoinPlan, Coin, FeeTooHigh, NotEnough, Output
from tests.counts import count

EXAMPLES = settings(max_examples=count(100, 20_000), deadline=None)
P2WPKH = b"\0\x14" + bytes(20)
SCRIPTS = {
    P2WPKH: 294,
    b"\0\x20" + bytes(32): 330,
    b"\x51\x20" + bytes(32): 330,
    b"\x76\xa9\x14" + bytes(20) + b"\x88\xac": 546,
    b"\xa9\x14" + bytes(20) + b"\x87": 540,
}
FEES = BitcoinFees()
WIDE = BitcoinFees(max_fee=10**12, max_rate=10**9)


def coins_of(*amounts: int, begin: int = 0) -> list[Coin]:
    """Coins of these amounts, each of another transaction."""
    return [Coin(Outpoint(f"{number:064x}", 0), amount) for number, amount in enumerate(amounts, begin)]


def pay(
    coins: list[Coin], amount: int, *, rate: int = 1000, fees: BitcoinFees = WIDE, script: bytes = P2WPKH
) -> BitcoinPlan:
    """A payment of so much."""
    return plan_payment(coins, Output("somebody", amount), script, rate=rate, fees=fees)


def check(plan: BitcoinPlan, *, rate: int, script: bytes) -> None:
    """What is so of every plan."""
    assert sum(coin.amount for coin in plan.coins) == plan.output.amount + plan.change + plan.fee
    assert len({coin.output for coin in plan.coins}) == len(plan.coins) <= MAX_INPUTS
    assert plan.change == 0 or plan.change >= CHANGE_DUST
    least = fee_of(len(plan.coins), script, has_change=plan.change > 0, rate=rate)
    assert plan.fee >= least
    if plan.change:
        assert plan.fee == least
    else:  # what went to the miners besides is not worth an output
        assert plan.fee < fee_of(len(plan.coins), script, has_change=True, rate=rate) + CHANGE_DUST


@EXAMPLES
@given(
    st.lists(st.integers(1, 10**9), max_size=40),
    st.integers(1, 10**10),
    st.integers(MIN_RATE, 10**6),
    st.sampled_from(sorted(SCRIPTS)),
)
def test_a_plan_keeps_all_and_costs_what_it_should(amounts: list[int], amount: int, rate: int, script: bytes) -> None:
    """Coins = output + change + fee; or there are not enough; or the output is dust."""
    coins = coins_of(*amounts)
    try:
        plan = pay(coins, amount, rate=rate, script=script)
    except Dust:
        assert amount < SCRIPTS[script]
    except NotEnough as error:
        assert error.needed > error.spendable  # noqa: PT017 - where it is raised at all
        assert amount + fee_of(len(coins), script, has_change=False, rate=rate) > sum(amounts)
    else:
        check(plan, rate=rate, script=script)
        assert set(plan.coins) <= set(coins)
        assert pay(list(reversed(coins)), amount, rate=rate, script=script) == plan


@EXAMPLES
@given(
    st.lists(st.integers(1000, 10**7), min_size=1, max_size=10),
    st.lists(st.integers(1000, 10**7), max_size=10),
    st.integers(1000, 10**7),
    st.integers(MIN_RATE, 10**5),
    st.integers(MIN_RATE, 10**5),
)
def test_a_replacement_pays_the_same_and_more_to_the_miners(
    amounts: list[int], spare: list[int], amount: int, rate: int, higher: int
) -> None:
    """BIP-125's rules: all the inputs of the first, a higher fee by what relaying costs, and a higher rate."""
    coins = coins_of(*amounts)
    try:
        plan = pay(coins, amount, rate=rate)
        later = replacement(plan, coins_of(*spare, begin=100), P2WPKH, rate=higher, fees=WIDE)
    except NotEnough:
        assume(False)
    assert later.output == plan.output
    assert set(plan.coins) <= set(later.coins)
    assert sum(coin.amount for coin in later.coins) == later.output.amount + later.change + later.fee
    assert later.change == 0 or later.change >= CHANGE_DUST
    size = virtual_bytes(len(later.coins), P2WPKH, has_change=later.change > 0)
    assert later.fee >= plan.fee + size * MIN_RATE // 1000
    assert later.fee * 1000 >= higher * size
    # By the shortest that the first can be, and the longest that the second can be.
    shortest = virtual_bytes(len(plan.coins), P2WPKH, has_change=plan.change > 0) - len(plan.coins) - 3
    assert later.fee * shortest > plan.fee * size


def test_replacements_go_on_until_the_cap() -> None:
    """Each takes more from the change; at last the cap is in the way, and that is said."""
    fees = BitcoinFees(max_fee=20_000)
    plan = pay(coins_of(10**6), 500_000, fees=fees)
    paid = []
    with pytest.raises(FeeTooHigh) as caught:  # noqa: PT012 - at last
        while True:
            paid.append(plan.fee)
            plan = replacement(plan, [], P2WPKH, rate=2 * plan.fee * 5, fees=fees)
    assert paid == sorted(set(paid))
    assert paid[-1] <= 20_000 < caught.value.fee
    assert caught.value.cap == 20_000


@pytest.mark.parametrize("script", SCRIPTS)
def test_dust_is_what_nodes_say_it_is(script: bytes) -> None:
    """Bitcoin Core's figures for each kind of address, to the satoshi."""
    least = SCRIPTS[script]
    assert dust_limit(script) == least
    coins = coins_of(10**6)
    assert pay(coins, least, script=script).output.amount == least
    for amount in (least - 1, 0, -1):
        with pytest.raises(Dust, match=f"{amount} satoshi"):
            pay(coins, amount, script=script)


def test_the_smallest_coin_that_is_enough_is_taken() -> None:
    """Else the largest ones, so that there are few inputs."""
    coins = coins_of(5_000_000, 300_000, 200_000, 90_000)
    assert [coin.amount for coin in pay(coins, 190_000).coins] == [200_000]
    assert [coin.amount for coin in pay(coins, 5_200_000).coins] == [5_000_000, 300_000]
    with pytest.raises(NotEnough, match="can spend 5590000"):
        pay(coins, 5_590_000)


def test_the_cap_of_the_fee_holds() -> None:
    """Also where the fee is change that is not worth an output."""
    with pytest.raises(FeeTooHigh, match="the cap is 100000"):
        pay(coins_of(10**8), 10**6, rate=10**6, fees=FEES)
    alone = fee_of(1, P2WPKH, has_change=False, rate=1000)
    with pytest.raises(FeeTooHigh):
        pay(coins_of(10_000 + alone + 100), 10_000, fees=BitcoinFees(max_fee=alone + 99))


def test_no_more_inputs_than_are_relayed() -> None:
    """A thousand crumbs do not pay at once."""
    coins = coins_of(*[1000] * 1000)
    with pytest.raises(NotEnough):
        pay(coins, 1000 * MAX_INPUTS)
    assert len(pay(coins, 600 * MAX_INPUTS).coins) <= MAX_INPUTS


@pytest.mark.parametrize(
    ("estimate", "rate"), [(None, 5_000), (0, 1_000), (999, 1_000), (7_000, 7_000), (10**9, 500_000)]
)
def test_the_rate_is_the_estimate_within_bounds(estimate: int | None, rate: int) -> None:
    """The node's minimum below, the configured maximum above, the fall-back for none."""
    assert FEES.rate(estimate) == rate


@pytest.mark.parametrize("fields", [{"fallback_rate": 999}, {"fallback_rate": 600_000}, {"max_fee": 0}])
def test_bad_limits_name_the_field(fields: dict[str, int]) -> None:
    """And its value."""
    with pytest.raises(ValueError, match=f"{next(iter(fields))} is {next(iter(fields.values()))}"):
        BitcoinFees(**fields)

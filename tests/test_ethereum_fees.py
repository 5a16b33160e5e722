"""Fees on Ethereum: within the cap, enough to be mined, and raised by enough to be taken in place of the first."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chains.ethereum_fees import PLAIN_GAS, EthereumFees, plan_transfer, replacement
from chains.node import FeeRate
from chains.wallet import EthereumPlan, FeeTooHigh, Output
from tests.counts import count

EXAMPLES = settings(max_examples=count(100, 20_000), deadline=None)
OUTPUT = Output("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", 1)
FEES = EthereumFees(max_fee=1000, min_tip=2)


def plan(base: int, tip: int, *, gas: int = PLAIN_GAS, fees: EthereumFees = FEES) -> EthereumPlan:
    """A transfer at these fees."""
    return plan_transfer(OUTPUT, None, chain_id=1, nonce=3, gas=gas, rate=FeeRate(base, tip), fees=fees)


@EXAMPLES
@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 2000))
def test_fees_are_within_the_cap_and_a_replacement_is_a_tenth_higher(
    base: int, tip: int, later: int, more: int
) -> None:
    """It can be mined at the next base fee, or it is said that the cap forbids it."""
    try:
        first = plan(base, tip)
    except FeeTooHigh as error:
        assert error.fee == base + max(tip, 2) > 1000  # noqa: PT017 - where it is raised at all
        return
    assert base + first.max_tip <= first.max_fee <= 1000
    assert first.max_tip == max(tip, 2)
    try:
        second = replacement(first, rate=FeeRate(later, more), fees=FEES)
    except FeeTooHigh as error:
        assert error.fee > 1000  # noqa: PT017 - as above
        return
    assert second.max_fee <= 1000
    assert second.max_fee * 10 >= first.max_fee * 11
    assert second.max_tip * 10 >= first.max_tip * 11
    assert second.max_tip <= second.max_fee
    assert (second.nonce, second.output, second.gas) == (first.nonce, first.output, first.gas)


def test_replacements_end_at_the_cap() -> None:
    """However long it is stuck."""
    current, fees = plan(100, 2), []
    with pytest.raises(FeeTooHigh):  # noqa: PT012 - at last
        while True:
            fees.append(current.max_fee)
            current = replacement(current, rate=FeeRate(1, 1), fees=FEES)
    assert fees == sorted(set(fees))
    assert 1000 * 100 // 113 <= fees[-1] <= 1000


@pytest.mark.parametrize(("estimate", "gas"), [(PLAIN_GAS, PLAIN_GAS), (40_000, 50_000), (160_000, 200_000)])
def test_gas_has_a_margin_where_code_is_run(estimate: int, gas: int) -> None:
    """A plain transfer takes exactly what it takes."""
    assert plan(1, 1, gas=estimate).gas == gas


def test_gas_has_a_cap() -> None:
    """A token that wants more is not paid out."""
    with pytest.raises(FeeTooHigh, match="gas of the transfer would be 200001"):
        plan(1, 1, gas=160_001)


@pytest.mark.parametrize("fields", [{"min_tip": -1}, {"min_tip": 10**18}, {"max_gas": 20_999}])
def test_bad_limits_name_the_field(fields: dict[str, Any]) -> None:
    """And its value."""
    with pytest.raises(ValueError, match=f"{next(iter(fields))} is {next(iter(fields.values()))}"):
        EthereumFees(**fields)

"""What a withdrawal on Ethereum pays for its gas, and how a stuck one is replaced (EIP-1559). Pure."""

from typing import Final

from attrs import evolve, frozen

from chains.node import FeeRate
from chains.wallet import EthereumPlan, FeeTooHigh, Output

# A plain transfer to an address without code.
PLAIN_GAS: Final = 21_000
# The base fee grows by at most an eighth a block: twice as much lasts for six full blocks.
_BASE_FEES: Final = 2
# Nodes take a replacement only if both its fees are a tenth higher (geth, the strictest that is common).
_BUMP_PERCENT: Final = 113
# What a node estimates may be a little short when it is mined: a token's storage may have changed.
_GAS_PERCENT: Final = 125


@frozen(kw_only=True)
class EthereumFees:
    """Caps and floors, in wei per unit of gas, and the most gas of one transfer."""

    max_fee: int = 200 * 10**9
    min_tip: int = 10**8
    max_gas: int = 200_000

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.min_tip <= self.max_fee:
            raise ValueError(f"min_tip is {self.min_tip}: not within 0 and max_fee, {self.max_fee}")
        if self.max_gas < PLAIN_GAS:
            raise ValueError(f"max_gas is {self.max_gas}: a plain transfer takes {PLAIN_GAS}")


def plan_transfer(
    output: Output, token: str | None, *, chain_id: int, nonce: int, gas: int, rate: FeeRate, fees: EthereumFees
) -> EthereumPlan:
    """Pay `output`, with the gas that the node estimates and a margin. Raises FeeTooHigh."""
    limit = gas if gas == PLAIN_GAS else gas * _GAS_PERCENT // 100
    if limit > fees.max_gas:
        raise FeeTooHigh(limit, fees.max_gas, "the gas of the transfer")
    tip = max(rate.tip, fees.min_tip)
    if rate.rate + tip > fees.max_fee:
        raise FeeTooHigh(rate.rate + tip, fees.max_fee, "the fee for a unit of gas")
    max_fee = min(_BASE_FEES * rate.rate + tip, fees.max_fee)
    return EthereumPlan(chain_id, nonce, output, token, limit, max_fee, tip)


def replacement(plan: EthereumPlan, *, rate: FeeRate, fees: EthereumFees) -> EthereumPlan:
    """The same payment with the same nonce and higher fees, which nodes take in place of `plan`. Raises FeeTooHigh."""
    tip = max(-(-plan.max_tip * _BUMP_PERCENT // 100), rate.tip, plan.max_tip + 1)
    max_fee = max(-(-plan.max_fee * _BUMP_PERCENT // 100), min(_BASE_FEES * rate.rate + tip, fees.max_fee), tip)
    if max_fee > fees.max_fee:
        raise FeeTooHigh(max_fee, fees.max_fee, "the fee for a unit of gas")
    return evolve(plan, max_fee=max_fee, max_tip=tip)

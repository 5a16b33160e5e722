"""Which coins pay a withdrawal in bitcoin, what the miners get, and how a stuck one is replaced. Pure.

All coins are the hot wallet's own confirmed outputs (P2WPKH). Nothing is lost: coins = output + change + fee. Change
too small to be worth spending goes to the miners.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from attrs import evolve, frozen

from chains.wallet import BitcoinPlan, Coin, FeeTooHigh, NotEnough, Output, WalletError

# Weight units; four make a virtual byte. Version, lock time, two counts (one of up to 3 bytes), the witness marker.
_FRAME_WEIGHT: Final = 4 * (4 + 4 + 3 + 1) + 2
# With few inputs the count takes one byte; two of the frame's virtual bytes and a rounded one may be missing.
_FRAME_SLACK_BYTES: Final = 3
# An input that spends P2WPKH, with a signature of the greatest length.
_INPUT_WEIGHT: Final = 4 * (32 + 4 + 1 + 4) + (1 + 1 + 72 + 1 + 33)
_OUTPUT_FRAME_BYTES: Final = 8 + 1
_CHANGE_SCRIPT_BYTES: Final = 22

# A transaction of more inputs takes long to sign and is not relayed if it is larger still.
MAX_INPUTS: Final = 250

# What a node demands for relaying at all, and for each virtual byte of a replacement, in satoshi per 1,000 of them.
MIN_RATE: Final = 1_000

# Spending an output costs this many virtual bytes by the nodes' reckoning of dust (Bitcoin Core's GetDustThreshold).
_DUST_RATE: Final = 3_000
_SPEND_WITNESS_BYTES: Final = 67
_SPEND_OLD_BYTES: Final = 148

CHANGE_DUST: Final = 294


class Dust(WalletError):  # noqa: N818 - names what is wrong
    """An output is so small that no node relays it."""


@frozen(kw_only=True)
class BitcoinFees:
    """What miners are paid: the cap of one transaction in satoshi, and rates in satoshi per 1,000 virtual bytes.

    `fallback_rate` counts where the node has no estimate.
    """

    max_fee: int = 100_000
    fallback_rate: int = 5_000
    max_rate: int = 500_000

    def __attrs_post_init__(self) -> None:
        if not MIN_RATE <= self.fallback_rate <= self.max_rate:
            raise ValueError(
                f"fallback_rate is {self.fallback_rate}: not within {MIN_RATE} and max_rate, {self.max_rate}"
            )
        if self.max_fee < 1:
            raise ValueError(f"max_fee is {self.max_fee}: it must be 1 or more")

    def rate(self, estimate: int | None) -> int:
        """The rate to pay, from the node's estimate."""
        return min(max(self.fallback_rate if estimate is None else estimate, MIN_RATE), self.max_rate)


def dust_limit(script: bytes) -> int:
    """The least that an output with this script may be worth, in satoshi."""
    is_witness = len(script) >= 4 and script[0] in {0, *range(0x51, 0x61)} and script[1] == len(script) - 2
    spending = _SPEND_WITNESS_BYTES if is_witness else _SPEND_OLD_BYTES
    return _DUST_RATE * (_OUTPUT_FRAME_BYTES + len(script) + spending) // 1000


def plan_payment(
    spendable: Sequence[Coin], output: Output, script: bytes, *, rate: int, fees: BitcoinFees
) -> BitcoinPlan:
    """Pay `output`, whose address stands for `script`, at this rate. Raises Dust, NotEnough or FeeTooHigh.

    The smallest single coin that is enough, or else the largest coins until they are.
    """
    if output.amount < (least := dust_limit(script)):
        raise Dust(
            f"the amount is {output.amount} satoshi, and no node relays an output to {output.address} under {least}"
        )
    by_size = sorted(spendable, key=lambda coin: (coin.amount, coin.output.txid, coin.output.n))
    lone = output.amount + fee_of(1, script, has_change=False, rate=rate)
    chosen = [next((coin for coin in by_size if coin.amount >= lone), None)]
    coins = [coin for coin in chosen if coin is not None] or list(_largest(by_size, output.amount, script, rate))
    return _settled(tuple(coins), output, script, least_fee=0, rate=rate, fees=fees)


def replacement(
    plan: BitcoinPlan, spare: Sequence[Coin], script: bytes, *, rate: int, fees: BitcoinFees
) -> BitcoinPlan:
    """The same payment with a higher fee, which nodes take in place of `plan` (BIP-125). Raises as `plan_payment` does.

    It spends all that `plan` spends, and of `spare`, confirmed coins that no other plan has, what it needs besides.
    """
    # Its rate has to be higher too, not only its fee: by one satoshi for each virtual byte at least.
    rate = max(rate, _most_rate(plan, script) + MIN_RATE)
    coins = list(plan.coins)
    left = sorted(spare, key=lambda coin: (coin.amount, coin.output.txid, coin.output.n))
    while True:
        # It pays for what it replaces, and for its own relaying.
        size = virtual_bytes(len(coins), script, has_change=True)
        least_fee = plan.fee + -(-MIN_RATE * size // 1000)
        try:
            return _settled(tuple(coins), plan.output, script, least_fee=least_fee, rate=rate, fees=fees)
        except NotEnough:
            if not left or len(coins) == MAX_INPUTS:
                raise
            coins.append(left.pop())


def virtual_bytes(inputs: int, script: bytes, *, has_change: bool) -> int:
    """The most that a transaction of so many inputs takes."""
    outputs = _OUTPUT_FRAME_BYTES + len(script) + (has_change and _OUTPUT_FRAME_BYTES + _CHANGE_SCRIPT_BYTES)
    return (_FRAME_WEIGHT + inputs * _INPUT_WEIGHT + 4 * outputs + 3) // 4


def fee_of(inputs: int, script: bytes, *, has_change: bool, rate: int) -> int:
    """Its fee at this rate, rounded up."""
    return -(-rate * virtual_bytes(inputs, script, has_change=has_change) // 1000)


def _most_rate(plan: BitcoinPlan, script: bytes) -> int:
    """The rate of a plan, if it is signed as short as can be: a signature has rarely three bytes less than the most."""
    longest = virtual_bytes(len(plan.coins), script, has_change=plan.change > 0)
    return -(-plan.fee * 1000 // (longest - len(plan.coins) - _FRAME_SLACK_BYTES))


def _largest(by_size: Sequence[Coin], amount: int, script: bytes, rate: int) -> Iterable[Coin]:
    """The largest coins, as many as the amount and their own fee need, or all there may be."""
    total = 0
    for count, coin in enumerate(reversed(by_size[-MAX_INPUTS:]), 1):
        yield coin
        total += coin.amount
        if total >= amount + fee_of(count, script, has_change=False, rate=rate):
            return


def _settled(
    coins: tuple[Coin, ...], output: Output, script: bytes, *, least_fee: int, rate: int, fees: BitcoinFees
) -> BitcoinPlan:
    """These coins shared out among the output, the change and the miners."""
    total = sum(coin.amount for coin in coins)
    with_change = max(fee_of(len(coins), script, has_change=True, rate=rate), least_fee)
    without = max(fee_of(len(coins), script, has_change=False, rate=rate), least_fee)
    if total < output.amount + without:
        raise NotEnough(output.amount + without, total)
    change = total - output.amount - with_change
    plan = BitcoinPlan(coins, output, change, with_change)
    if change < CHANGE_DUST:
        plan = evolve(plan, change=0, fee=total - output.amount)
    if plan.fee > fees.max_fee:
        raise FeeTooHigh(plan.fee, fees.max_fee)
    return plan

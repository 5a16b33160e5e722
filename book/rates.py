"""Rates in parts per million of an amount: exact, and without a product of more than 64 bits.

amount * rate can need 83 bits, so the amount is split into whole millions and a rest before anything is multiplied.

A fee is a whole number of units, its exact value rarely is. An order therefore keeps what it has paid ahead: the first
fill rounds up and the rest of that unit, in millionths, is kept to its credit for the next fills. At every moment an
order has paid the exact sum of its fees rounded up to one unit, however many trades it took; so splitting an order
costs the customer nothing, and what was held for the worst case is always enough.

A rebate (a negative rate) is rounded down on each trade. It is never more than the other side's fee on the same trade
(book.trading sees to it), so the house never pays out of its own pocket.
"""

from book.terms import PPM


def part(amount: int, rate: int) -> int:
    """The rate's part of an amount, rounded down. Both are >= 0, the rate at most one whole."""
    return amount // PPM * rate + amount % PPM * rate // PPM


def fee(notional: int, rate: int, ahead: int) -> tuple[int, int]:
    """The fee of one trade in whole units, and what is then paid ahead, in millionths of a unit (0..PPM-1).

    A negative fee is a rebate. `ahead` is what the order's earlier trades paid ahead.
    """
    if rate < 0:
        return -part(notional, -rate), ahead
    millionths = notional % PPM * rate
    units = notional // PPM * rate + millionths // PPM
    millionths %= PPM
    if millionths <= ahead:
        return units, ahead - millionths
    return units + 1, ahead + PPM - millionths


def affordable(budget: int, unit_cost: int, rate: int, ahead: int) -> int:
    """The most lots at `unit_cost` each whose cost and fee together stay within the budget."""
    # Plain integers: the exact bound needs the wide product, and only market orders by amount come here.
    return (budget * PPM + ahead) // (unit_cost * (PPM + rate))

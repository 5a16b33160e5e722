"""Whether a withdrawal may be signed: by itself, after a while, once operators agree, or never. Pure.

Every figure is an argument, and every amount is in the asset's engine units. The rules, in this order; the first that
is met decides:

1. More than `per_transaction`: rejected.
2. To an address that the account has not named for `new_address_seconds` yet: it waits.
3. The hot wallet would have less than `hot_low` left: it waits for a refill.
4. More than `automatic`; more than `per_hour` with what everybody asked for in the hour before; more than
   `per_account_day` with what its account asked for in the day before: two operators decide.
5. Else it is approved.
"""

from typing import Final

from attrs import field, frozen
from attrs.validators import and_, ge, le

from book.terms import MAX_INT

HOUR_SECONDS: Final = 3_600
DAY_SECONDS: Final = 86_400
MAX_DELAY_SECONDS: Final = 30 * DAY_SECONDS

NO_LIMIT: Final = MAX_INT


def _units(default: int) -> int:
    units: int = field(default=default, validator=and_(ge(0), le(MAX_INT)))
    return units


@frozen(kw_only=True)
class Limits:
    """What one asset's withdrawals may take, in its engine units, each from 0 to 2**62-1.

    As it stands nothing passes by itself: who sets no limits has operators look at every withdrawal.
    """

    automatic: int = _units(0)
    """Of one withdrawal, without operators."""
    per_transaction: int = _units(NO_LIMIT)
    """Of one withdrawal at all."""
    per_hour: int = _units(NO_LIMIT)
    """Of all accounts together in an hour, without operators."""
    per_account_day: int = _units(NO_LIMIT)
    """Of one account in 24 hours, without operators."""
    new_address_seconds: int = field(default=DAY_SECONDS, validator=and_(ge(0), le(MAX_DELAY_SECONDS)))
    """How long an account's new address waits, up to 30 days."""
    hot_low: int = _units(0)
    """What stays in the hot wallet: below, withdrawals wait for a refill."""
    hot_high: int = _units(NO_LIMIT)
    """Above, an operator is told to move the surplus to the cold wallet."""

    def __attrs_post_init__(self) -> None:
        """The band has an inside."""
        if self.hot_high < self.hot_low:
            raise ValueError(f"hot_high: {self.hot_high} is less than hot_low, {self.hot_low}")


@frozen(kw_only=True)
class Figures:
    """What a withdrawal is judged by, besides its amount."""

    hour: int
    """What all accounts asked for in the hour before, without this one, and were not refused."""
    account_day: int
    """What the account asked for in the day before, likewise."""
    address_seconds: int
    """For how long the account has named the address."""
    hot: int
    """What the hot wallet has."""


@frozen
class Approved:
    """It may be signed."""


@frozen
class Waits:
    """Not yet; nobody has to decide anything. It is judged again."""

    reason: str
    wants_refill: bool = False
    """Whether it waits until an operator refills the hot wallet."""


@frozen
class AwaitingOperator:
    """Two operators decide."""

    reason: str


@frozen
class Rejected:
    """It will not be paid."""

    reason: str


Decision = Approved | Waits | AwaitingOperator | Rejected


def decide(amount: int, figures: Figures, limits: Limits) -> Decision:
    """What becomes of a withdrawal of this amount now."""
    if amount > limits.per_transaction:
        return Rejected(f"{amount} units are more than {limits.per_transaction}, which may be withdrawn at once")
    missing = limits.new_address_seconds - figures.address_seconds
    if missing > 0:
        return Waits(f"the address is new: it waits for {missing} s more")
    if figures.hot - amount < limits.hot_low:
        return Waits(
            f"the hot wallet has {figures.hot} units, and {limits.hot_low} stay in it: it needs a refill",
            wants_refill=True,
        )
    return _automatic(amount, figures, limits)


def _automatic(amount: int, figures: Figures, limits: Limits) -> Decision:
    for taken, most, what in (
        (amount, limits.automatic, "for one withdrawal"),
        (figures.hour + amount, limits.per_hour, "for an hour"),
        (figures.account_day + amount, limits.per_account_day, "for an account's day"),
    ):
        if taken > most:
            return AwaitingOperator(f"{taken} units are more than {most}, the limit {what}")
    return Approved()


LOW, WITHIN, HIGH = "low", "within", "high"


def band(hot: int, limits: Limits) -> str:
    """Where a hot wallet with so much stands: LOW wants a refill, HIGH has a surplus for the cold wallet."""
    if hot < limits.hot_low:
        return LOW
    return HIGH if hot > limits.hot_high else WITHIN

"""Who owns what: per account and asset an amount that is available and one that is held.

Nothing here creates or destroys a unit but `Ledger.credit`, `take` and `pay_out`. Every other movement takes from one
balance exactly what it gives to another, and refuses to go below zero, so the sum per asset is what came in, always.

The movements are functions of two balances, not of account numbers: an order looks its balances up once.
"""

from typing import Final

from book.terms import MAX_INT

HOUSE: Final = 0  # the account that fees go to


class LedgerError(Exception):
    """A movement that would break the ledger: a bug of the caller, for it has to ask first."""


class Balance:
    """One account's amount of one asset, in engine units."""

    __slots__ = ("available", "held")

    def __init__(self) -> None:
        self.available: int = 0
        self.held: int = 0


def hold(balance: Balance, amount: int) -> None:
    """Set an available amount aside."""
    if not 0 <= amount <= balance.available:
        raise LedgerError(f"cannot hold {amount} of {balance.available}")
    balance.available -= amount
    balance.held += amount


def release(balance: Balance, amount: int) -> None:
    """Give a held amount back to its owner."""
    if not 0 <= amount <= balance.held:
        raise LedgerError(f"cannot release {amount} of {balance.held}")
    balance.held -= amount
    balance.available += amount


def settle(payer: Balance, payee: Balance, amount: int) -> None:
    """Pay an amount out of what the payer held for it."""
    if not 0 <= amount <= payer.held:
        raise LedgerError(f"cannot settle {amount} of {payer.held}")
    payer.held -= amount
    payee.available += amount


def transfer(payer: Balance, payee: Balance, amount: int) -> None:
    """Pay an amount out of what the payer has available."""
    if not 0 <= amount <= payer.available:
        raise LedgerError(f"cannot transfer {amount} of {payer.available}")
    payer.available -= amount
    payee.available += amount


class Total:
    """How much there is of an asset, in engine units."""

    __slots__ = ("amount",)

    def __init__(self) -> None:
        self.amount: int = 0


class Ledger:
    """All balances, and what came in of each asset, less what went out."""

    def __init__(self) -> None:
        self._balances: dict[str, dict[int, Balance]] = {}
        self._totals: dict[str, Total] = {}

    def define_asset(self, asset: str) -> None:
        """Make an asset known, once."""
        if asset in self._balances:
            raise LedgerError(f"asset {asset} is known")
        self._balances[asset] = {}
        self._totals[asset] = Total()

    def balance(self, account: int, asset: str) -> Balance:
        """The balance of an account in a known asset; an empty one comes into being when first asked for."""
        balances = self._balances[asset]
        balance = balances.get(account)
        if balance is None:
            balance = balances[account] = Balance()
        return balance

    def total(self, asset: str) -> Total:
        """How much there is of a known asset, now and later."""
        return self._totals[asset]

    def room(self, asset: str) -> int:
        """How much more of an asset can come in before its total leaves 64 bits."""
        return MAX_INT - self._totals[asset].amount

    def credit(self, account: int, asset: str, amount: int) -> None:
        """Let an amount come in from outside."""
        if not 0 < amount <= self.room(asset):
            raise LedgerError(f"cannot credit {amount}")
        self._totals[asset].amount += amount
        self.balance(account, asset).available += amount

    def take(self, account: int, asset: str, amount: int) -> None:
        """Let an available amount go out, as if it had never come in."""
        balance = self.balance(account, asset)
        if not 0 <= amount <= balance.available:
            raise LedgerError(f"cannot take {amount} of {balance.available}")
        balance.available -= amount
        self._totals[asset].amount -= amount

    def pay_out(self, account: int, asset: str, amount: int) -> None:
        """Let a held amount go out."""
        balance = self.balance(account, asset)
        if not 0 <= amount <= balance.held:
            raise LedgerError(f"cannot pay {amount} out of {balance.held}")
        balance.held -= amount
        self._totals[asset].amount -= amount

    def restore(self, account: int, asset: str, available: int, held: int) -> None:
        """Put back one balance that `rows` gave; not twice, nor what could not have been."""
        if available < 0 or held < 0 or not 0 < available + held <= self.room(asset):
            raise LedgerError(f"cannot restore {available} and {held}")
        balance = self.balance(account, asset)
        if balance.available or balance.held:
            raise LedgerError(f"account {account} has {asset} already")
        balance.available = available
        balance.held = held
        self._totals[asset].amount += available + held

    def of(self, account: int) -> list[tuple[str, int, int]]:
        """The account's balances that are not zero: (asset, available, held), in the order assets were defined."""
        rows: list[tuple[str, int, int]] = []
        for asset, balances in self._balances.items():
            balance = balances.get(account)
            if balance is not None and (balance.available or balance.held):
                rows.append((asset, balance.available, balance.held))
        return rows

    def rows(self) -> list[tuple[int, str, int, int]]:
        """All balances that are not zero: (account, asset, available, held), by asset as defined, then by account."""
        return [
            (account, asset, balance.available, balance.held)
            for asset, balances in self._balances.items()
            for account, balance in sorted(balances.items(), key=_account_of)
            if balance.available or balance.held
        ]

    def totals(self) -> dict[str, int]:
        """Per asset, how much there is: the sum of all available and held amounts."""
        return {asset: total.amount for asset, total in self._totals.items()}

    def differences(self) -> dict[str, int]:
        """Per asset, how much more is there than came in, less what went out: 0, or money was made or lost."""
        return {
            asset: sum([balance.available + balance.held for balance in balances.values()]) - self._totals[asset].amount
            for asset, balances in self._balances.items()
        }

    def check(self) -> None:
        """Nothing is negative, and every asset adds up to what came in. Raises AssertionError."""
        for asset, balances in self._balances.items():
            total = 0
            for account, balance in balances.items():
                if balance.available < 0 or balance.held < 0:
                    raise AssertionError(f"account {account} has {balance.available} and {balance.held} {asset}")
                total += balance.available + balance.held
            if not total == self._totals[asset].amount <= MAX_INT:
                raise AssertionError(f"{self._totals[asset].amount} {asset} came in, {total} are there")


def _account_of(entry: tuple[int, Balance]) -> int:
    return entry[0]

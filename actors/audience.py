"""What is followed, and what matching therefore hands on with each round: the publisher asks, matching tells.

The publisher says in an `Audience` which books and which accounts somebody follows; matching looks there once a round.
Where nobody follows anything it hands on nothing, so that the hot path costs next to nothing without subscribers. What
it hands on becomes known when its round is durable: only committed events are published.

What an account's owner is told needs more than the events: how an order stood that another order met, and balances.
Matching adds these while it knows them, so that the publisher keeps nothing and can begin anywhere.
"""

from collections.abc import Collection
from typing import Protocol

from msgspec import Struct

from book.commands import PlaceOrder
from book.events import (
    Adjusted,
    Credited,
    Event,
    OrderAccepted,
    OrderAmended,
    OrderClosed,
    OrderReduced,
    OrderTriggered,
    OrderView,
    Rejected,
    Trade,
    WithdrawalHeld,
    WithdrawalReleased,
    WithdrawalSettled,
)
from book.queries import Answer, Balance, Balances, BookChange, OrderStatus, Query

_OF_ORDERS = (OrderAccepted, OrderAmended, OrderTriggered, OrderReduced, OrderClosed)
_OF_ACCOUNTS = (Credited, Adjusted)
_OF_WITHDRAWALS = (WithdrawalHeld, WithdrawalSettled, WithdrawalReleased)


class Audience:
    """What somebody follows. The publisher alone changes it; it outlives its incarnations."""

    __slots__ = ("accounts", "books", "everybody", "version")

    def __init__(self) -> None:
        self.books: frozenset[str] = frozenset()
        """Markets whose books are followed."""
        self.accounts: frozenset[int] = frozenset()
        """Whose own events are followed."""
        self.everybody = False
        """Somebody follows anything that is public."""
        self.version = 0
        """Grows with every change."""

    def follow(self, *, books: Collection[str], accounts: Collection[int], everybody: bool) -> None:
        """Exactly this is followed from now on."""
        wanted = (frozenset(books), frozenset(accounts), everybody)
        if wanted != (self.books, self.accounts, self.everybody):
            self.books, self.accounts, self.everybody = wanted
            self.version += 1


class AccountNews(Struct, frozen=True):
    """What one command brought an account that is followed."""

    account: int
    time_ns: int
    seq: int  # of the last event that its owner is told of this
    events: list[Event]
    orders: list[OrderView]  # those that traded and are open still, as they stand behind the command
    balances: list[Balance]  # all of the account's


class Refused(Struct, frozen=True):
    """An order of an account that is followed was rejected."""

    time_ns: int
    order: PlaceOrder
    rejected: Rejected


class Committed(Struct, frozen=True):
    """What one round brought, as far as anybody follows it. Offered to the publisher once it is durable."""

    time_ns: int
    events: list[Event]
    books: list[BookChange]
    accounts: list[AccountNews | Refused]  # in order


class Told(Protocol):
    """What of an engine is asked here."""

    def query(self, query: Query) -> Answer | Rejected:
        """As `Engine.query`."""

    def user_seq(self, account: int) -> int:
        """As `Engine.user_seq`."""


def concerned(event: Event) -> tuple[int, ...]:
    """The accounts whose owners are told of an event; both sides of a trade, the maker's first."""
    if type(event) is Trade:
        return (event.maker_account, event.taker_account)
    if isinstance(event, _OF_ORDERS):
        return (event.order.account,)
    if isinstance(event, _OF_ACCOUNTS):
        return (event.account,)
    if isinstance(event, _OF_WITHDRAWALS):
        return (event.withdrawal.account,)
    return ()


def account_news(engine: Told, followed: Collection[int], events: list[Event], time_ns: int) -> list[AccountNews]:
    """What the command that has just brought these events is to those who are followed."""
    told: dict[int, list[Event]] = {}
    for event in events:
        for account in dict.fromkeys(concerned(event)):
            if account in followed:
                told.setdefault(account, []).append(event)
    return [
        AccountNews(
            account,
            time_ns,
            engine.user_seq(account),
            mine,
            _open_orders(engine, account, mine),
            _balances(engine, account),
        )
        for account, mine in told.items()
    ]


def _open_orders(engine: Told, account: int, events: list[Event]) -> list[OrderView]:
    """How the account's orders stand that have traded and did not end."""
    traded: dict[int, str] = {}
    for event in events:
        if type(event) is Trade:
            if event.maker_account == account:
                traded[event.maker_order_id] = event.symbol
            if event.taker_account == account:
                traded[event.taker_order_id] = event.symbol
        elif type(event) is OrderClosed:
            traded.pop(event.order.order_id, None)
    views = [engine.query(OrderStatus(account, symbol, order_id)) for order_id, symbol in traded.items()]
    return [view for view in views if isinstance(view, OrderView)]


def _balances(engine: Told, account: int) -> list[Balance]:
    answer = engine.query(Balances(account))
    if not isinstance(answer, list):
        raise AssertionError(f"asked for the balances of {account}, the engine answers {answer!r}")
    return [balance for balance in answer if isinstance(balance, Balance)]

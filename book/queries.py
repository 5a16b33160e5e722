"""What can be asked of the engine without changing it, and the answers. Reads are not logged.

Answers are copies: they stay true to the moment they were taken at, however the engine goes on. (Uncompiled, as is
every module that defines structs.)
"""

from typing import final

from msgspec import Struct

from book.definitions import Account, Asset, Key, Market
from book.events import OrderView


@final
class OrderStatus(Struct, frozen=True, gc=False):
    """One order of the account, by either id (order_id 0: by client_order_id). Answer: OrderView."""

    account: int
    symbol: str
    order_id: int = 0
    client_order_id: str = ""


@final
class OpenOrders(Struct, frozen=True, gc=False):
    """The account's open orders, oldest first, in one market or (symbol empty) in all. Answer: list[OrderView]."""

    account: int
    symbol: str = ""


@final
class Balances(Struct, frozen=True, gc=False):
    """What the account owns. Answer: list[Balance], in the order assets were defined, zero balances left out."""

    account: int


@final
class Depth(Struct, frozen=True, gc=False):
    """The best `limit` price levels of each side. Answer: DepthView."""

    symbol: str
    limit: int = 100


@final
class Logon(Struct, frozen=True, gc=False):
    """The key of this name, as it may act now. Answer: Key, or Rejected REJECTED_KEY."""

    key_name: str


@final
class Directory(Struct, frozen=True, gc=False):
    """Everything that is defined. Answer: DirectoryView."""


@final
class Info(Struct, frozen=True, gc=False):
    """Where the engine stands. Answer: InfoView."""


Query = OrderStatus | OpenOrders | Balances | Depth | Logon | Directory | Info


class Balance(Struct, frozen=True, gc=False):
    """One asset of one account, engine units."""

    asset: str
    available: int
    held: int


class DepthView(Struct, frozen=True, gc=False):
    """Price levels best first, (ticks, lots shown) each; `seq` counts the changes of this book."""

    symbol: str
    seq: int
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]


class MarketStatus(Struct, frozen=True, gc=False):
    """A market and its state (terms.MARKET_STATES) at this moment."""

    market: Market
    state: int
    open_orders: int


class DirectoryView(Struct, frozen=True, gc=False):
    """Assets, markets, accounts and keys in the order they were defined."""

    assets: list[Asset]
    markets: list[MarketStatus]
    accounts: list[Account]
    keys: list[Key]


class InfoView(Struct, frozen=True, gc=False):
    """Where the engine stands: the last command that took effect, and what it added up to."""

    seq: int
    time_ns: int
    digest: str  # hex of the rolling digest; `tallystick log replay` prints the same for the same log
    compiled: bool  # whether the engine runs as a compiled extension
    totals: dict[str, int]  # per asset, engine units: credited + adjusted - withdrawn
    accounts: int
    open_orders: int


Answer = OrderView | list[OrderView] | list[Balance] | DepthView | Key | DirectoryView | InfoView

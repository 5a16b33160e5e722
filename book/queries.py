"""What can be asked of the engine without changing it, and the answers. Reads are not logged.

Answers are copies: they stay true to the moment they were taken at, however the engine goes on. (Uncompiled, as is
every module that defines structs.)
"""

from typing import final

from msgspec import Struct

from book.commands import PlaceOrder
from book.definitions import Account, Asset, Key, Market
from book.events import OrderView, Withdrawal


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
class WholeBook(Struct, frozen=True, gc=False):
    """All price levels of a market. Answer: DepthView."""

    symbol: str


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


@final
class JudgeOrder(Struct, frozen=True, gc=False):
    """Would this order be accepted now? Answer: Acceptable, or the Rejected it would get."""

    order: PlaceOrder


@final
class AccountTrades(Struct, frozen=True, gc=False):
    """The account's recent trades in a market, oldest first, from that trade id on, else the newest `limit`.

    Answer: list[AccountTrade].
    """

    account: int
    symbol: str
    from_id: int = 0
    limit: int = 500


@final
class AccountOrders(Struct, frozen=True, gc=False):
    """The account's open and lately finished orders in a market, by id, from that id on, else the newest `limit`.

    Answer: list[OrderView].
    """

    account: int
    symbol: str
    from_id: int = 0
    limit: int = 500


@final
class AccountDetails(Struct, frozen=True, gc=False):
    """How the exchange treats an account. Answer: AccountDetailsView."""

    account: int


@final
class Commission(Struct, frozen=True, gc=False):
    """What the account pays in a market. Answer: CommissionView."""

    account: int
    symbol: str


@final
class RecentTrades(Struct, frozen=True, gc=False):
    """A market's last trades, oldest first. Answer: list[PublicTrade]."""

    symbol: str
    limit: int = 100


@final
class Ticker(Struct, frozen=True, gc=False):
    """What happened in a market in the last 24 hours. Answer: TickerView."""

    symbol: str


@final
class Candles(Struct, frozen=True, gc=False):
    """A market's candles, oldest first: those that open in start_ns..end_ns (0: no bound), the newest `limit`.

    Answer: list[Candle].
    """

    symbol: str
    interval_ns: int  # one of history.INTERVALS
    start_ns: int = 0
    end_ns: int = 0
    limit: int = 500


@final
class AddressOf(Struct, frozen=True, gc=False):
    """The account's deposit address on the chain of this asset. Answer: Address, or Rejected NO_ADDRESS."""

    account: int
    asset: str


@final
class AddressesSince(Struct, frozen=True, gc=False):
    """A chain's deposit addresses from this index on, the first `limit`. Answer: list[Address]."""

    chain: str
    index: int = 0
    limit: int = 1_000


@final
class DepositReceipt(Struct, frozen=True, gc=False):
    """Was this deposit credited? Answer: DepositReceiptView, or Rejected UNKNOWN_DEPOSIT."""

    deposit_id: str


@final
class Outbox(Struct, frozen=True, gc=False):
    """A chain's withdrawals that are held for, from the one after that sequence number, the first `limit`.

    Answer: OutboxView.
    """

    chain: str
    after_seq: int = 0
    limit: int = 1_000


@final
class AccountWithdrawals(Struct, frozen=True, gc=False):
    """The account's newest withdrawals, whatever became of them, newest first. Answer: list[Withdrawal]."""

    account: int
    limit: int = 100


@final
class PendingWithdrawals(Struct, frozen=True, gc=False):
    """The account's withdrawals that are held for, oldest first. Answer: list[Withdrawal]."""

    account: int


@final
class WithdrawalStatus(Struct, frozen=True, gc=False):
    """One withdrawal of the account, by its owner's name for it. Answer: WithdrawalView, or as below."""

    account: int
    withdraw_order_id: str


@final
class WithdrawalReceipt(Struct, frozen=True, gc=False):
    """What became of a withdrawal? Answer: WithdrawalView, or Rejected UNKNOWN_WITHDRAWAL."""

    withdrawal_id: str


Query = (
    OrderStatus
    | OpenOrders
    | Balances
    | Depth
    | Logon
    | Directory
    | Info
    | JudgeOrder
    | AccountTrades
    | AccountOrders
    | AccountDetails
    | Commission
    | RecentTrades
    | Ticker
    | Candles
    | AddressOf
    | AddressesSince
    | DepositReceipt
    | Outbox
    | AccountWithdrawals
    | PendingWithdrawals
    | WithdrawalStatus
    | WithdrawalReceipt
    | WholeBook
)


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


class BookChange(Struct, frozen=True, gc=False):
    """The levels that the changes `first_seq`..`seq` of a book left otherwise: (ticks, lots shown now, 0 for none)."""

    symbol: str
    first_seq: int
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
    revoked_keys: list[int] = []  # msgspec copies an empty default
    frozen_assets: list[str] = []


class InfoView(Struct, frozen=True, gc=False):
    """Where the engine stands: the last command that took effect, and what it added up to."""

    seq: int
    time_ns: int
    digest: str  # hex of the rolling digest; `tallystick log replay` prints the same for the same log
    compiled: bool  # whether the engine runs as a compiled extension
    totals: dict[str, int]  # per asset, engine units: credited + adjusted - withdrawn
    accounts: int
    open_orders: int
    engine_version: int = 0
    epoch: int = 1  # of the log, in receipts
    withdrawals_paused: bool = False


class Acceptable(Struct, frozen=True, gc=False):
    """The order would be accepted."""


class AccountTrade(Struct, frozen=True, gc=False, array_like=True):
    """One side of a trade, as its owner may see it."""

    trade_id: int
    order_id: int
    client_order_id: str
    symbol: str
    side: int
    price: int  # ticks
    quantity: int  # lots
    notional: int  # quote units
    fee: int  # quote units; negative for a rebate
    maker: bool
    time_ns: int


class PublicTrade(Struct, frozen=True, gc=False, array_like=True):
    """A trade, as everybody may see it."""

    trade_id: int
    price: int  # ticks
    quantity: int  # lots
    notional: int  # quote units
    taker_side: int
    time_ns: int


class Candle(Struct, frozen=True, gc=False, array_like=True):
    """What happened in a market in one interval. Prices in ticks, volumes in lots and quote units."""

    open_ns: int  # when the interval began
    open: int
    high: int
    low: int
    close: int
    volume: int
    quote_volume: int
    count: int  # trades


class TickerView(Struct, frozen=True, gc=False):
    """24 hours of a market, to the minute; all zero where nothing was traded. Times are the window's."""

    symbol: str
    open: int
    high: int
    low: int
    last: int
    volume: int
    quote_volume: int
    count: int
    open_ns: int
    close_ns: int


class CommissionView(Struct, frozen=True, gc=False):
    """Rates in parts per million of the notional; negative for a rebate."""

    symbol: str
    maker_fee: int
    taker_fee: int


class AccountDetailsView(Struct, frozen=True, gc=False):
    """An account and what was set for it."""

    account: Account
    tier: int
    frozen: bool
    cancel_all_due_ns: int  # 0: not armed
    open_orders: int
    receivables: list[tuple[str, int]]  # what it owes the house: (asset, engine units), in the order of assets
    user_seq: int = 0  # of the last event that its owner was told, or could have been


class Address(Struct, frozen=True, gc=False):
    """Whose the chain's deposit address of this index is. Deriving it is for who has the extended public key."""

    chain: str
    index: int  # from 0 on each chain
    account: int


class DepositReceiptView(Struct, frozen=True, gc=False):
    """A deposit that was credited. The receipt, epoch-seq, is the same each time."""

    deposit_id: str
    account: int
    asset: str
    amount: int
    receipt: str


class WithdrawalView(Struct, frozen=True, gc=False):
    """A withdrawal; its receipt, epoch-seq, once it was settled or released, and what stands in its way meanwhile."""

    withdrawal: Withdrawal
    receipt: str  # empty while it is held for
    blocked: str = ""  # why it is not to be signed now: ACCOUNT_FROZEN, ASSET_FROZEN, or empty


class OutboxView(Struct, frozen=True, gc=False):
    """Withdrawals that are held for, in the order of their `seq`; while they are paused none is to be signed."""

    paused: bool
    pending: list[WithdrawalView]


Answer = (
    OrderView
    | list[OrderView]
    | list[Balance]
    | DepthView
    | Key
    | DirectoryView
    | InfoView
    | Acceptable
    | list[AccountTrade]
    | AccountDetailsView
    | CommissionView
    | list[PublicTrade]
    | TickerView
    | list[Candle]
    | Address
    | list[Address]
    | DepositReceiptView
    | OutboxView
    | list[Withdrawal]
    | WithdrawalView
)

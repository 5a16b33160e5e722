"""What a client is told when its request was done: the shape of every result. Pure.

Fields are encoded in the order written here. Prices, quantities and amounts are decimal strings with all the decimals
of tick, lot or asset; times are integer milliseconds since 1970. A field that is UNSET is left out.

(msgspec drops class keywords in compiled modules, so this module stays uncompiled.)
"""

from msgspec import Struct, UnsetType


class Result(Struct, frozen=True, gc=False, rename="camel"):
    """What a reply says."""


class Nothing(Result, frozen=True):
    """Done, and nothing to say about it."""


class ServerTime(Result, frozen=True):
    """The time, in ms since 1970."""

    server_time: int


class AssetInfo(Result, frozen=True):
    """An asset; amounts of it have `decimals` decimals. Without a chain it is neither paid in nor out."""

    asset: str
    decimals: int
    chain: str | UnsetType
    withdrawal_fee: str | UnsetType
    min_withdrawal: str | UnsetType


class SymbolInfo(Result, frozen=True):
    """A market's rules. Fees are decimal fractions of the notional, the band one of the price."""

    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    tick_size: str
    lot_size: str
    min_qty: str
    max_qty: str
    min_notional: str
    max_open_orders: int
    maker_fee: str
    taker_fee: str
    self_trade_prevention_mode: str
    reference_price: str | UnsetType
    price_band: str
    halt_ms: int


class Exchange(Result, frozen=True):
    """What can be traded."""

    assets: list[AssetInfo]
    symbols: list[SymbolInfo]


class LoggedOn(Result, frozen=True):
    """Who speaks on this connection, may do what, and since when (ms since 1970)."""

    account: int
    permissions: list[str]
    since: int
    cancel_on_disconnect: bool


class Fill(Result, frozen=True):
    """One trade of an order that was just placed; a negative fee is a rebate."""

    price: str
    qty: str
    fee: str
    fee_asset: str
    trade_id: int


class Placed(Result, frozen=True):
    """What became of a new order at once; `seq` is its place in the request log."""

    order_id: int
    client_order_id: str
    symbol: str
    status: str
    executed_qty: str
    cum_quote_qty: str
    fills: list[Fill]
    transact_time: int
    seq: int


class Order(Result, frozen=True):
    """An order as it stands."""

    order_id: int
    client_order_id: str
    symbol: str
    side: str
    type: str
    time_in_force: str
    expire_time: int | UnsetType
    price: str
    stop_price: str | UnsetType
    orig_qty: str
    display_qty: str | UnsetType
    executed_qty: str
    cum_quote_qty: str
    status: str
    time: int
    update_time: int


class Replaced(Result, frozen=True):
    """The order that was cancelled, as it ended, and what became of the new one."""

    canceled: Order
    placed: Placed


class Orders(Result, frozen=True):
    """Orders, oldest first."""

    orders: list[Order]


class CanceledAll(Result, frozen=True):
    """How many orders were cancelled."""

    canceled: int


class CancelAllAfterSet(Result, frozen=True):
    """When the account's orders will be cancelled (ms since 1970); 0: they will not."""

    timeout_ms: int
    trigger_time: int


class BalanceInfo(Result, frozen=True):
    """What is owned of one asset: free to use, and locked by orders."""

    asset: str
    free: str
    locked: str


class Account(Result, frozen=True):
    """What is owned."""

    balances: list[BalanceInfo]


class Levels(Result, frozen=True):
    """Price levels, best first, as (price, quantity); `seq` counts the changes of this book."""

    symbol: str
    seq: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class AccountTradeInfo(Result, frozen=True):
    """One side of a trade, for its owner; a negative fee is a rebate."""

    trade_id: int
    order_id: int
    client_order_id: str
    symbol: str
    side: str
    price: str
    qty: str
    quote_qty: str
    fee: str
    fee_asset: str
    maker: bool
    time: int


class AccountTrades(Result, frozen=True):
    """The account's trades, oldest first."""

    trades: list[AccountTradeInfo]


class Commission(Result, frozen=True):
    """What the account pays, as decimal fractions of the notional; a negative one is a rebate."""

    symbol: str
    maker: str
    taker: str


class TradeInfo(Result, frozen=True):
    """A trade, for everybody; `side` is the taker's."""

    trade_id: int
    price: str
    qty: str
    side: str
    time: int


class Trades(Result, frozen=True):
    """Trades, oldest first."""

    trades: list[TradeInfo]


class DayTicker(Result, frozen=True):
    """What happened in a market from `open_time` to `close_time`."""

    symbol: str
    open: str
    high: str
    low: str
    last: str
    volume: str
    quote_volume: str
    count: int
    open_time: int
    close_time: int


class Subscriptions(Result, frozen=True):
    """The channels that this connection follows now, in the order in which it subscribed to them."""

    channels: list[str]


# Opening time, open, high, low, close, volume, and the last millisecond that is part of it.
Kline = tuple[int, str, str, str, str, str, int]


class Klines(Result, frozen=True):
    """Candles, oldest first."""

    klines: list[Kline]


class DepositAddress(Result, frozen=True):
    """Where the account is paid in; for all assets of the chain it is the same."""

    asset: str
    address: str


class DepositInfo(Result, frozen=True):
    """One payment to a deposit address. Its status is PENDING, VALIDATED, FULFILLED, ORPHANED, FROZEN or REJECTED."""

    deposit_id: str
    asset: str
    address: str
    amount: str
    status: str
    tx_id: str
    height: int
    receipt: str | UnsetType
    time: int
    update_time: int


class Deposits(Result, frozen=True):
    """Deposits, oldest first."""

    deposits: list[DepositInfo]


class WithdrawalInfo(Result, frozen=True):
    """A withdrawal, and how far it is.

    REQUESTED, AWAITING_OPERATOR, APPROVED, SIGNED, BROADCAST, CONFIRMED, COMPLETED, or REJECTED, CANCELLED, FAILED.
    """

    withdraw_order_id: str
    withdrawal_id: str
    asset: str
    address: str
    amount: str
    fee: str
    status: str
    tx_id: str | UnsetType
    reason: str | UnsetType
    time: int
    update_time: int


class Withdrawals(Result, frozen=True):
    """Withdrawals, oldest first."""

    withdrawals: list[WithdrawalInfo]

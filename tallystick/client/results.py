"""What the exchange answers, as frozen values: prices, quantities and amounts are Decimal, times are ms since 1970.

The fields are those of docs/protocol.md, in Python's spelling; one that a reply may leave out is None then. What a
later version of the exchange adds is passed over.
"""

from decimal import Decimal

from msgspec import Struct


class Result(Struct, frozen=True, rename="camel"):
    """Of one call."""


class Nothing(Result, frozen=True):
    """Done, and nothing to say about it."""


class ServerTime(Result, frozen=True):
    """The exchange's time."""

    server_time: int


class AssetInfo(Result, frozen=True):
    """An asset; amounts of it have `decimals` decimals. Without a chain it is neither paid in nor out."""

    asset: str
    decimals: int
    chain: str | None = None
    withdrawal_fee: Decimal | None = None
    min_withdrawal: Decimal | None = None


class SymbolInfo(Result, frozen=True):
    """A market and its rules; fees and the band are fractions, 0.001 for 0.1 %."""

    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    tick_size: Decimal
    lot_size: Decimal
    min_qty: Decimal
    max_qty: Decimal
    min_notional: Decimal
    max_open_orders: int
    maker_fee: Decimal
    taker_fee: Decimal
    self_trade_prevention_mode: str
    price_band: Decimal
    halt_ms: int
    reference_price: Decimal | None = None


class Exchange(Result, frozen=True):
    """What can be traded."""

    assets: tuple[AssetInfo, ...]
    symbols: tuple[SymbolInfo, ...]


class LoggedOn(Result, frozen=True):
    """Who speaks on the connection."""

    account: int
    permissions: tuple[str, ...]
    since: int
    cancel_on_disconnect: bool


class Fill(Result, frozen=True):
    """One trade of an order that was just placed; a negative fee is a rebate."""

    price: Decimal
    qty: Decimal
    fee: Decimal
    fee_asset: str
    trade_id: int


class Placed(Result, frozen=True):
    """What became of a new order at once; `seq` is its place in the exchange's log."""

    order_id: int
    client_order_id: str
    symbol: str
    status: str
    executed_qty: Decimal
    cum_quote_qty: Decimal
    fills: tuple[Fill, ...]
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
    price: Decimal
    orig_qty: Decimal
    executed_qty: Decimal
    cum_quote_qty: Decimal
    status: str
    time: int
    update_time: int
    expire_time: int | None = None
    stop_price: Decimal | None = None
    display_qty: Decimal | None = None


class Replaced(Result, frozen=True):
    """The order that was cancelled, as it ended, and what became of the new one."""

    canceled: Order
    placed: Placed


class Orders(Result, frozen=True):
    """Orders, oldest first."""

    orders: tuple[Order, ...]


class CanceledAll(Result, frozen=True):
    """How many orders were cancelled."""

    canceled: int


class CancelAllAfterSet(Result, frozen=True):
    """When the account's orders will be cancelled; 0: they will not."""

    timeout_ms: int
    trigger_time: int


class BalanceInfo(Result, frozen=True):
    """What is owned of one asset: free to use, and locked by orders."""

    asset: str
    free: Decimal
    locked: Decimal


class Account(Result, frozen=True):
    """What is owned."""

    balances: tuple[BalanceInfo, ...]

    def of(self, asset: str) -> BalanceInfo:
        """The balance of one asset, zero where there is none."""
        for balance in self.balances:
            if balance.asset == asset:
                return balance
        return BalanceInfo(asset, Decimal(0), Decimal(0))


class Level(Struct, frozen=True, array_like=True):
    """The price and the shown quantity of one level of a book."""

    price: Decimal
    qty: Decimal


class Levels(Result, frozen=True):
    """Price levels, best first; `seq` counts the changes of this book."""

    symbol: str
    seq: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


class AccountTradeInfo(Result, frozen=True):
    """One's own side of a trade; a negative fee is a rebate."""

    trade_id: int
    order_id: int
    client_order_id: str
    symbol: str
    side: str
    price: Decimal
    qty: Decimal
    quote_qty: Decimal
    fee: Decimal
    fee_asset: str
    maker: bool
    time: int


class AccountTrades(Result, frozen=True):
    """The account's trades, oldest first."""

    trades: tuple[AccountTradeInfo, ...]


class Commission(Result, frozen=True):
    """What the account pays, as fractions of the price; a negative one is a rebate."""

    symbol: str
    maker: Decimal
    taker: Decimal


class TradeInfo(Result, frozen=True):
    """A trade, as everybody sees it; `side` is the taker's."""

    trade_id: int
    price: Decimal
    qty: Decimal
    side: str
    time: int


class Trades(Result, frozen=True):
    """Trades, oldest first."""

    trades: tuple[TradeInfo, ...]


class DayTicker(Result, frozen=True):
    """What happened in a market from `open_time` to `close_time`."""

    symbol: str
    open: Decimal
    high: Decimal
    low: Decimal
    last: Decimal
    volume: Decimal
    quote_volume: Decimal
    count: int
    open_time: int
    close_time: int


class Subscriptions(Result, frozen=True):
    """The channels that the connection follows."""

    channels: tuple[str, ...]


class Kline(Struct, frozen=True, array_like=True):
    """A candle: from `open_time` to the last millisecond that is part of it, `close_time`."""

    open_time: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    close_time: int


class Klines(Result, frozen=True):
    """Candles, oldest first."""

    klines: tuple[Kline, ...]


class DepositAddress(Result, frozen=True):
    """Where the account is paid in; for all assets of the chain it is the same."""

    asset: str
    address: str


class DepositInfo(Result, frozen=True):
    """One payment to a deposit address, and how far it is."""

    deposit_id: str
    asset: str
    address: str
    amount: Decimal
    status: str
    tx_id: str
    height: int
    time: int
    update_time: int
    receipt: str | None = None


class Deposits(Result, frozen=True):
    """Deposits, oldest first."""

    deposits: tuple[DepositInfo, ...]


class WithdrawalInfo(Result, frozen=True):
    """A withdrawal, and how far it is."""

    withdraw_order_id: str
    withdrawal_id: str
    asset: str
    address: str
    amount: Decimal
    fee: Decimal
    status: str
    time: int
    update_time: int
    tx_id: str | None = None
    reason: str | None = None


class Withdrawals(Result, frozen=True):
    """Withdrawals, oldest first."""

    withdrawals: tuple[WithdrawalInfo, ...]

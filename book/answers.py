"""The answers to queries: looks at the state, changes nothing."""

from typing import Final

from book import codes
from book.accounts import AccountState
from book.compiled import COMPILED
from book.events import OrderView, Rejected, Withdrawal
from book.history import (
    ACCOUNT_TRADES,
    CLOSED_CANDLES,
    FINISHED_ORDERS,
    INTERVALS,
    MARKET_TRADES,
    MINUTE_NS,
)
from book.image import TradeImage
from book.live_market import LiveMarket
from book.orders import Order
from book.queries import (
    AccountDetails,
    AccountDetailsView,
    AccountOrders,
    AccountTrade,
    AccountTrades,
    AccountWithdrawals,
    Address,
    AddressesSince,
    AddressOf,
    Answer,
    Balance,
    Balances,
    Candle,
    Candles,
    Commission,
    CommissionView,
    DepositReceipt,
    DepositReceiptView,
    Depth,
    DepthView,
    Directory,
    DirectoryView,
    Info,
    InfoView,
    Logon,
    MarketStatus,
    OpenOrders,
    OrderStatus,
    Outbox,
    OutboxView,
    PendingWithdrawals,
    PublicTrade,
    Query,
    RecentTrades,
    Ticker,
    TickerView,
    WholeBook,
    WithdrawalReceipt,
    WithdrawalStatus,
    WithdrawalView,
)
from book.refusals import NO_SUCH_ORDER, UNKNOWN_SYMBOL, declined
from book.state import State
from book.terms import BUY, HELD, MAX_INT, SELL

MAX_DEPTH: Final = 5_000
TICKER_MINUTES: Final = 1_440  # 24 hours, the current minute among them
MAX_LISTED: Final = 1_000  # addresses and withdrawals in one answer

_OfAccount = (
    Balances
    | OpenOrders
    | OrderStatus
    | AccountDetails
    | AccountTrades
    | AccountOrders
    | Commission
    | AddressOf
    | AccountWithdrawals
    | PendingWithdrawals
    | WithdrawalStatus
)


def answer(  # noqa: PLR0911 -- one kind of query, one answer
    state: State, query: Query, time_ns: int
) -> Answer | Rejected:
    """The answer to a query whose types have been checked, at `time_ns`."""
    if isinstance(query, (Depth, WholeBook, RecentTrades, Ticker, Candles)):
        market = state.markets.get(query.symbol)
        return UNKNOWN_SYMBOL if market is None else _of_market(market, query, time_ns)
    if type(query) is Logon:
        return _logon(state, query.key_name)
    if type(query) is Directory:
        return _directory(state)
    if type(query) is Info:
        return _info(state)
    if isinstance(query, (AddressesSince, DepositReceipt, Outbox, WithdrawalReceipt)):
        return _of_transfers(state, query)
    if isinstance(query, _OfAccount):
        account = state.accounts.get(query.account)
        if account is None:
            return Rejected(codes.UNAUTHORIZED, "UNKNOWN_ACCOUNT", "account", query.account)
        return _of_account(state, account, query)
    raise AssertionError(f"{type(query).__name__} is for somebody else to answer")


def _of_market(
    market: LiveMarket, query: Depth | WholeBook | RecentTrades | Ticker | Candles, time_ns: int
) -> Answer | Rejected:
    if type(query) is Depth:
        return _bad_limit(query.limit, MAX_DEPTH) or _depth(market, query.limit)
    if type(query) is WholeBook:
        return _depth(market, MAX_INT)
    if type(query) is RecentTrades:
        return _recent_trades(market, query.limit)
    if type(query) is Ticker:
        return _ticker(market, time_ns)
    return _candles(market, query)


def _of_account(  # noqa: PLR0911 -- one query, one answer
    state: State,
    account: AccountState,
    query: _OfAccount,
) -> Answer | Rejected:
    if type(query) is Balances:
        return [Balance(asset, available, held) for asset, available, held in state.ledger.of(account.number)]
    if type(query) is AccountDetails:
        return _details(state, account)
    if type(query) is OpenOrders:
        if query.symbol and query.symbol not in state.markets:
            return UNKNOWN_SYMBOL
        return [order.view() for order in state.open_orders(account, query.symbol)]
    if isinstance(query, (AddressOf, AccountWithdrawals, PendingWithdrawals, WithdrawalStatus)):
        return _of_account_transfers(state, account, query)
    market = state.markets.get(query.symbol)
    if market is None:
        return UNKNOWN_SYMBOL
    if type(query) is AccountTrades:
        return _account_trades(account, query)
    if type(query) is AccountOrders:
        return _account_orders(account, state.open_orders(account, query.symbol), query)
    if type(query) is Commission:
        maker_rate, taker_rate = market.rates(account)
        return CommissionView(query.symbol, maker_rate, taker_rate)
    return _status(state, account, query)


def _bad_limit(limit: int, most: int) -> Rejected | None:
    return None if 1 <= limit <= most else Rejected(codes.INVALID_PARAMETER, "", "limit", limit, most)


def _negative(field: str, value: int) -> Rejected | None:
    return Rejected(codes.INVALID_PARAMETER, "", field, value) if value < 0 else None


# Of a market


def _depth(market: LiveMarket, limit: int) -> DepthView:
    book = market.book
    return DepthView(market.definition.symbol, book.seq, book.bids.depth(limit), book.asks.depth(limit))


def _recent_trades(market: LiveMarket, limit: int) -> list[PublicTrade] | Rejected:
    refused = _bad_limit(limit, MARKET_TRADES)
    if refused is not None:
        return refused
    return [
        PublicTrade(
            remembered.trade.trade_id,
            remembered.trade.price,
            remembered.trade.quantity,
            remembered.trade.notional,
            remembered.trade.taker_side,
            remembered.time_ns,
        )
        for remembered in market.trades.all()[-limit:]
    ]


def _ticker(market: LiveMarket, time_ns: int) -> TickerView:
    start_ns = time_ns - time_ns % MINUTE_NS - (TICKER_MINUTES - 1) * MINUTE_NS
    symbol, last = market.definition.symbol, market.last_price
    day = market.candles.since(start_ns)
    if day is None:
        return TickerView(symbol, 0, 0, 0, last, 0, 0, 0, start_ns, time_ns)
    sums = day.view()
    return TickerView(
        symbol, sums.open, sums.high, sums.low, last, sums.volume, sums.quote_volume, sums.count, start_ns, time_ns
    )


def _candles(market: LiveMarket, query: Candles) -> list[Candle] | Rejected:
    if query.interval_ns not in INTERVALS:
        return Rejected(codes.INVALID_PARAMETER, "", "interval_ns", query.interval_ns)
    refused = (
        _bad_limit(query.limit, CLOSED_CANDLES)
        or _negative("start_ns", query.start_ns)
        or _negative("end_ns", query.end_ns)
    )
    if refused is not None:
        return refused
    end_ns = query.end_ns or MAX_INT
    candles = [c for c in market.candles.of(query.interval_ns) if query.start_ns <= c.open_ns <= end_ns]
    return [candle.view() for candle in candles[-query.limit :]]


# Of an account


def _account_trades(account: AccountState, query: AccountTrades) -> list[AccountTrade] | Rejected:
    refused = _bad_limit(query.limit, ACCOUNT_TRADES) or _negative("from_id", query.from_id)
    if refused is not None:
        return refused
    rows: list[AccountTrade] = []
    for remembered in account.trades.all():
        trade = remembered.trade
        if trade.symbol == query.symbol and trade.trade_id >= query.from_id:
            # An account that traded with itself sees both sides.
            if trade.maker_account == account.number:
                rows.append(_makers_side(remembered))
            if trade.taker_account == account.number:
                rows.append(_takers_side(remembered))
    return rows[: query.limit] if query.from_id else rows[-query.limit :]


def _makers_side(remembered: TradeImage) -> AccountTrade:
    trade = remembered.trade
    return AccountTrade(
        trade.trade_id,
        trade.maker_order_id,
        remembered.maker_client_order_id,
        trade.symbol,
        BUY if trade.taker_side == SELL else SELL,
        trade.price,
        trade.quantity,
        trade.notional,
        trade.maker_fee,
        True,
        remembered.time_ns,
    )


def _takers_side(remembered: TradeImage) -> AccountTrade:
    trade = remembered.trade
    return AccountTrade(
        trade.trade_id,
        trade.taker_order_id,
        remembered.taker_client_order_id,
        trade.symbol,
        trade.taker_side,
        trade.price,
        trade.quantity,
        trade.notional,
        trade.taker_fee,
        False,
        remembered.time_ns,
    )


def _account_orders(
    account: AccountState, open_orders: list[Order], query: AccountOrders
) -> list[OrderView] | Rejected:
    refused = _bad_limit(query.limit, FINISHED_ORDERS) or _negative("from_id", query.from_id)
    if refused is not None:
        return refused
    alive = {order.order_id: order for order in open_orders}
    finished = {view.order_id: view for view in account.finished_orders.all() if view.symbol == query.symbol}
    ids = sorted(number for number in [*alive, *finished] if number >= query.from_id)
    chosen = ids[: query.limit] if query.from_id else ids[-query.limit :]
    return [finished[number] if number in finished else alive[number].view() for number in chosen]


def _details(state: State, account: AccountState) -> AccountDetailsView:
    owed = [(asset, state.adjustments.owed(account.number, asset)) for asset in state.registry.assets]
    return AccountDetailsView(
        account.definition,
        account.tier,
        account.frozen,
        account.cancel_all_due_ns,
        len(state.open_orders(account)),
        [(asset, units) for asset, units in owed if units],
        account.user_seq,
    )


def _status(state: State, account: AccountState, query: OrderStatus) -> OrderView | Rejected:
    order = state.find(account, query.symbol, query.order_id, query.client_order_id)
    if order is not None:
        return order.view()
    view = account.finished_orders.get(query.order_id or account.client_order_ids.get(query.client_order_id))
    if view is None or view.symbol != query.symbol:
        return NO_SUCH_ORDER
    return NO_SUCH_ORDER if query.client_order_id not in {"", view.client_order_id} else view


# Of addresses, deposits and withdrawals


def _of_account_transfers(
    state: State, account: AccountState, query: AddressOf | AccountWithdrawals | PendingWithdrawals | WithdrawalStatus
) -> Answer | Rejected:
    number = account.number
    if type(query) is AddressOf:
        return _address(state, number, query.asset)
    if type(query) is PendingWithdrawals:
        return state.withdrawals.pending_of(number)
    if type(query) is AccountWithdrawals:
        return _bad_limit(query.limit, MAX_LISTED) or state.withdrawals.of(number, query.limit)
    withdrawal = state.withdrawals.named(number, query.withdraw_order_id)
    if withdrawal is None:
        return Rejected(codes.INVALID_PARAMETER, "UNKNOWN_WITHDRAWAL", "withdraw_order_id")
    return _withdrawal(state, withdrawal)


def _address(state: State, account: int, name: str) -> Address | Rejected:
    asset = state.registry.assets.get(name)
    if asset is None:
        return Rejected(codes.INVALID_PARAMETER, "UNKNOWN_ASSET", "asset")
    if not asset.chain:
        return Rejected(codes.INVALID_PARAMETER, "NO_CHAIN", "asset")
    index = state.addresses.index_of(asset.chain, account)
    if index < 0:
        return Rejected(codes.INVALID_PARAMETER, "NO_ADDRESS", "asset")
    return Address(asset.chain, index, account)


def _of_transfers(
    state: State, query: AddressesSince | DepositReceipt | Outbox | WithdrawalReceipt
) -> Answer | Rejected:
    if type(query) is AddressesSince:
        refused = _bad_limit(query.limit, MAX_LISTED) or _negative("index", query.index)
        return refused or state.addresses.since(query.chain, query.index, query.limit)
    if type(query) is Outbox:
        return _outbox(state, query)
    if type(query) is DepositReceipt:
        deposit = state.deposits.get(query.deposit_id)
        if deposit is None:
            return declined("UNKNOWN_DEPOSIT", "deposit_id")
        return DepositReceiptView(
            deposit.deposit_id, deposit.account, deposit.asset, deposit.amount, state.epochs.receipt(deposit.receipt)
        )
    withdrawal = state.withdrawals.get(query.withdrawal_id)
    if withdrawal is None:
        return declined("UNKNOWN_WITHDRAWAL", "withdrawal_id")
    return _withdrawal(state, withdrawal)


def _outbox(state: State, query: Outbox) -> OutboxView | Rejected:
    refused = _bad_limit(query.limit, MAX_LISTED) or _negative("after_seq", query.after_seq)
    if refused is not None:
        return refused
    pending = state.withdrawals.outbox(query.chain, query.after_seq, query.limit)
    return OutboxView(state.withdrawals_paused, [_withdrawal(state, each) for each in pending])


def _withdrawal(state: State, withdrawal: Withdrawal) -> WithdrawalView:
    if withdrawal.state != HELD:
        return WithdrawalView(withdrawal, state.epochs.receipt(withdrawal.receipt))
    if state.accounts[withdrawal.account].frozen:
        return WithdrawalView(withdrawal, "", "ACCOUNT_FROZEN")
    blocked = "ASSET_FROZEN" if withdrawal.asset in state.registry.frozen_assets else ""
    return WithdrawalView(withdrawal, "", blocked)


# Of everything


def _logon(state: State, key_name: str) -> Answer | Rejected:
    key = state.registry.keys_by_name.get(key_name)
    if key is None:
        return Rejected(codes.REJECTED_KEY, "UNKNOWN_KEY", "key_name")
    if key.key in state.registry.revoked_keys:
        return Rejected(codes.REJECTED_KEY, "REVOKED_KEY", "key_name")
    return key


def _directory(state: State) -> DirectoryView:
    registry = state.registry
    return DirectoryView(
        list(registry.assets.values()),
        [
            MarketStatus(market.definition, market.state, sum(len(t.open_orders) for t in market.traders.values()))
            for market in state.markets.values()
        ],
        list(registry.accounts.values()),
        list(registry.keys.values()),
        list(registry.revoked_keys),
        list(registry.frozen_assets),
    )


def _info(state: State) -> InfoView:
    return InfoView(
        state.last_seq,
        state.last_time_ns,
        state.digest.value().hex(),
        COMPILED,
        state.ledger.totals(),
        len(state.accounts),
        len(state.orders),
        state.engine_version,
        state.epochs.current,
        state.withdrawals_paused,
    )

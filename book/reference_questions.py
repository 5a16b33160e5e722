"""What the reference engine answers to questions. Nothing here changes anything.

Comments that begin with > are sentences of the design, the lines below follow them.
"""

from itertools import groupby
from typing import Final

from book import codes
from book.definitions import Key, Market
from book.events import OrderView, Rejected, Trade
from book.queries import (
    Acceptable,
    AccountDetails,
    AccountDetailsView,
    AccountOrders,
    AccountTrade,
    AccountTrades,
    Answer,
    Balance,
    Balances,
    Candle,
    Candles,
    Commission,
    CommissionView,
    Depth,
    DepthView,
    Directory,
    DirectoryView,
    JudgeOrder,
    Logon,
    MarketStatus,
    OpenOrders,
    OrderStatus,
    PublicTrade,
    RecentTrades,
    Ticker,
    TickerView,
    WholeBook,
)
from book.reference_judging import judge_order
from book.reference_rules import Refusal, demand
from book.reference_state import State, find
from book.terms import BUY, SELL

MINUTE_NS: Final = 60 * 10**9
HOUR_NS: Final = 60 * MINUTE_NS
# > `interval(1m 5m 15m 1h 4h 1d)`
INTERVALS: Final = {MINUTE_NS, 5 * MINUTE_NS, 15 * MINUTE_NS, HOUR_NS, 4 * HOUR_NS, 24 * HOUR_NS}

# > per account the last 1,000 trades and 1,000 finished orders, per market the last trades
KEPT: Final = 1_000
# > the current and last 1,500 candles per interval
CANDLES_KEPT: Final = 1_500

AccountQuery = OrderStatus | OpenOrders | Balances | AccountTrades | AccountOrders | AccountDetails | Commission
MarketQuery = Depth | RecentTrades | Ticker | Candles | WholeBook
Question = AccountQuery | MarketQuery | JudgeOrder | Logon | Directory  # Info is for the engine itself


def answer(state: State, query: Question, time_ns: int) -> Answer:  # noqa: PLR0911 -- one for each
    """The answer at this moment; raises Refusal where there is none."""
    if isinstance(query, AccountQuery):
        demand(query.account in state.account_ids(), codes.UNAUTHORIZED, "UNKNOWN_ACCOUNT", "account", query.account)
        return _answer_account(state, query)
    if isinstance(query, JudgeOrder):
        judge_order(state, query.order, time_ns)
        return Acceptable()
    if isinstance(query, Depth):
        return _depth(state, query)
    if isinstance(query, WholeBook):
        return whole_book(state, state.market(query.symbol))
    if isinstance(query, Logon):
        return _logon(state, query)
    if isinstance(query, RecentTrades):
        return _recent_trades(state, query)
    if isinstance(query, Ticker):
        return _ticker(state, state.market(query.symbol), time_ns)
    if isinstance(query, Candles):
        return _candles(state, query)
    return _directory(state)


# --- Of an account ----------------------------------------------------------------------------------------------------


def _answer_account(state: State, query: AccountQuery) -> Answer:  # noqa: PLR0911 -- one for each
    if isinstance(query, Balances):
        return _balances(state, query)
    if isinstance(query, OpenOrders):
        return [order.view() for order in state.open_orders(query.account, query.symbol)]
    if isinstance(query, OrderStatus):
        return _order_status(state, query)
    if isinstance(query, AccountTrades):
        return _account_trades(state, query)
    if isinstance(query, AccountOrders):
        return _account_orders(state, query)
    if isinstance(query, Commission):
        return CommissionView(query.symbol, *state.rates(query.account, state.market(query.symbol)))
    return _account_details(state, query)


def _balances(state: State, query: Balances) -> list[Balance]:
    return [
        Balance(name, state.available(query.account, name), state.held(query.account, name))
        for name in state.asset_names()
        if state.owned[query.account, name]
    ]


def _order_status(state: State, query: OrderStatus) -> OrderView:
    market = state.market(query.symbol)
    orders = state.remembered(query.account, KEPT)
    order = find(orders, query.account, market, query.order_id, query.client_order_id)
    if order is None:
        raise Refusal(Rejected(codes.NO_SUCH_ORDER, "UNKNOWN_ORDER"))
    return order.view()


def _account_trades(state: State, query: AccountTrades) -> list[AccountTrade]:
    state.market(query.symbol)
    _demand_page(query)
    kept = state.trades_of_account(query.account, KEPT)
    trades = [trade for trade in kept if trade.symbol == query.symbol and trade.trade_id >= query.from_id]
    return trades[: query.limit] if query.from_id else trades[-query.limit :]


def _account_orders(state: State, query: AccountOrders) -> list[OrderView]:
    market = state.market(query.symbol)
    _demand_page(query)
    kept = sorted(state.remembered(query.account, KEPT), key=lambda order: order.order_id)
    orders = [order.view() for order in kept if order.market is market and order.order_id >= query.from_id]
    return orders[: query.limit] if query.from_id else orders[-query.limit :]


def _demand_page(query: AccountTrades | AccountOrders) -> None:
    # > `limit=500 (<= 1,000)`; `fromId` = from that trade / order id on, else the newest `limit`
    _demand_limit(query.limit, KEPT)
    _demand_not_negative("from_id", query.from_id)


def _account_details(state: State, query: AccountDetails) -> AccountDetailsView:
    number = query.account
    owed = [(name, state.receivable(number, name)) for name in state.asset_names()]
    return AccountDetailsView(
        account=next(account for account in state.accounts if account.account == number),
        tier=state.account_tiers.get(number, 0),
        frozen=number in state.frozen_accounts,
        cancel_all_due_ns=state.cancel_all_due.get(number, 0),
        open_orders=len(state.open_orders(number)),
        receivables=[(name, amount) for name, amount in owed if amount],
        user_seq=state.user_seqs[number],
    )


# --- Of a market ------------------------------------------------------------------------------------------------------


def _depth(state: State, query: Depth) -> DepthView:
    whole = whole_book(state, state.market(query.symbol))
    # > `symbol,limit=100 (<= 5,000)`. A `limit` out of range: -1130.
    _demand_limit(query.limit, 5_000)
    return DepthView(whole.symbol, whole.seq, whole.bids[: query.limit], whole.asks[: query.limit])


def whole_book(state: State, market: Market) -> DepthView:
    """Every level of a market, best first."""
    levels: dict[int, dict[int, int]] = {BUY: {}, SELL: {}}
    for order in state.resting:
        if order.market is market:
            side = levels[order.side]
            side[order.price] = side.get(order.price, 0) + order.shown
    bids = sorted(levels[BUY].items(), reverse=True)
    asks = sorted(levels[SELL].items())
    return DepthView(market.symbol, state.book_seqs[market.symbol], bids, asks)


def _recent_trades(state: State, query: RecentTrades) -> list[PublicTrade]:
    market = state.market(query.symbol)
    _demand_limit(query.limit, KEPT)
    return [
        PublicTrade(trade.trade_id, trade.price, trade.quantity, trade.notional, trade.taker_side, time_ns)
        for time_ns, trade in state.trades_of_market(market)[-query.limit :]
    ]


def _candles(state: State, query: Candles) -> list[Candle]:
    market = state.market(query.symbol)
    demand(query.interval_ns in INTERVALS, codes.INVALID_PARAMETER, "", "interval_ns", query.interval_ns)
    _demand_limit(query.limit, CANDLES_KEPT)
    _demand_not_negative("start_ns", query.start_ns)
    _demand_not_negative("end_ns", query.end_ns)
    wanted = [
        candle
        for candle in _all_candles(state, market, query.interval_ns)
        if query.start_ns <= candle.open_ns and (query.end_ns == 0 or candle.open_ns <= query.end_ns)
    ]
    return wanted[-query.limit :]


def _ticker(state: State, market: Market, time_ns: int) -> TickerView:
    """The minutes that begin in the 24 hours up to the end of the current one."""
    this_minute_ns = time_ns - time_ns % MINUTE_NS
    open_ns = this_minute_ns - 1_439 * MINUTE_NS
    candles = [
        candle for candle in _all_candles(state, market, MINUTE_NS) if open_ns <= candle.open_ns <= this_minute_ns
    ]
    return TickerView(
        symbol=market.symbol,
        open=candles[0].open if candles else 0,
        high=max((candle.high for candle in candles), default=0),
        low=min((candle.low for candle in candles), default=0),
        last=state.last_price(market),
        volume=sum(candle.volume for candle in candles),
        quote_volume=sum(candle.quote_volume for candle in candles),
        count=sum(candle.count for candle in candles),
        open_ns=open_ns,
        close_ns=time_ns,
    )


def _all_candles(state: State, market: Market, interval_ns: int) -> list[Candle]:
    """Those that are kept, oldest first. An interval without trades has none."""

    def opens(trade: tuple[int, Trade]) -> int:
        return trade[0] - trade[0] % interval_ns

    candles = [
        _candle(open_ns, [trade for _, trade in trades])
        for open_ns, trades in groupby(state.trades_of_market(market), opens)
    ]
    return candles[-(1 + CANDLES_KEPT) :]


def _candle(open_ns: int, trades: list[Trade]) -> Candle:
    prices = [trade.price for trade in trades]
    return Candle(
        open_ns=open_ns,
        open=prices[0],
        high=max(prices),
        low=min(prices),
        close=prices[-1],
        volume=sum(trade.quantity for trade in trades),
        quote_volume=sum(trade.notional for trade in trades),
        count=len(trades),
    )


# --- Of the exchange --------------------------------------------------------------------------------------------------


def _logon(state: State, query: Logon) -> Key:
    keys = [key for key in state.keys if key.name == query.key_name]
    demand(bool(keys), codes.REJECTED_KEY, "UNKNOWN_KEY", "key_name")
    demand(keys[0].key not in state.revoked_keys, codes.REJECTED_KEY, "REVOKED_KEY", "key_name")
    return keys[0]


def _directory(state: State) -> DirectoryView:
    return DirectoryView(
        assets=list(state.assets),
        markets=[
            MarketStatus(market, state.market_state(market).state, sum(order.market is market for order in state.open))
            for market in state.markets
        ],
        accounts=list(state.accounts),
        keys=list(state.keys),
        revoked_keys=list(state.revoked_keys),
        frozen_assets=list(state.frozen_assets),
    )


# --- Both -------------------------------------------------------------------------------------------------------------


def _demand_limit(limit: int, most: int) -> None:
    demand(1 <= limit <= most, codes.INVALID_PARAMETER, "", "limit", limit, most)


def _demand_not_negative(field: str, value: int) -> None:
    demand(value >= 0, codes.INVALID_PARAMETER, "", field, value)

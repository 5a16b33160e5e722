"""The answers to queries: looks at the state, changes nothing."""

from typing import Final

from book import codes
from book.accounts import AccountState
from book.compiled import COMPILED
from book.events import OrderView, Rejected
from book.queries import (
    Answer,
    Balance,
    Balances,
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
    Query,
)
from book.refusals import NO_SUCH_ORDER, UNKNOWN_SYMBOL
from book.state import State

MAX_DEPTH: Final = 5_000


def answer(state: State, query: Query) -> Answer | Rejected:
    """The answer to a query whose types have been checked."""
    if type(query) is Depth:
        return _depth(state, query)
    if type(query) is Logon:
        key = state.registry.keys_by_name.get(query.key_name)
        return Rejected(codes.REJECTED_KEY, "UNKNOWN_KEY", "key_name") if key is None else key
    if type(query) is Directory:
        return _directory(state)
    if type(query) is Info:
        return _info(state)
    if isinstance(query, (Balances, OpenOrders, OrderStatus)):
        return _of_account(state, query)
    raise NotImplementedError


def _of_account(state: State, query: Balances | OpenOrders | OrderStatus) -> Answer | Rejected:
    account = state.accounts.get(query.account)
    if account is None:
        return Rejected(codes.UNAUTHORIZED, "UNKNOWN_ACCOUNT", "account", query.account)
    if type(query) is Balances:
        return [Balance(asset, available, held) for asset, available, held in state.ledger.of(query.account)]
    if type(query) is OpenOrders:
        if query.symbol and query.symbol not in state.markets:
            return UNKNOWN_SYMBOL
        return [order.view() for order in state.open_orders(account, query.symbol)]
    return _status(state, account, query)


def _depth(state: State, query: Depth) -> DepthView | Rejected:
    market = state.markets.get(query.symbol)
    if market is None:
        return UNKNOWN_SYMBOL
    if not 1 <= query.limit <= MAX_DEPTH:
        return Rejected(codes.INVALID_PARAMETER, "", "limit", query.limit, MAX_DEPTH)
    book = market.book
    return DepthView(query.symbol, book.seq, book.bids.depth(query.limit), book.asks.depth(query.limit))


def _directory(state: State) -> DirectoryView:
    markets = [
        MarketStatus(market.definition, market.state, sum(len(t.open_orders) for t in market.traders.values()))
        for market in state.markets.values()
    ]
    registry = state.registry
    return DirectoryView(
        list(registry.assets.values()), markets, list(registry.accounts.values()), list(registry.keys.values())
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
    )


def _status(state: State, account: AccountState, query: OrderStatus) -> OrderView | Rejected:
    if query.symbol not in state.markets:
        return UNKNOWN_SYMBOL
    order = state.find(account, query.symbol, query.order_id, query.client_order_id)
    if order is not None:
        return order.view()
    view = account.finished_orders.get(query.order_id or account.client_order_ids.get(query.client_order_id))
    if view is None or view.symbol != query.symbol:
        return NO_SUCH_ORDER
    return NO_SUCH_ORDER if query.client_order_id not in {"", view.client_order_id} else view

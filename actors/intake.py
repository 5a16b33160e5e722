"""From what a client asks on the wire to what the engine is asked: names to codes, decimals to integers, who asks.

Only what the words themselves say is judged here, so that it needs no turn at the engine: names that do not exist,
parameters that do not go together, numbers off the grid, permissions. The engine judges the rest, and all of it again.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from attrs import frozen

from actors import numerals, wire
from actors.chain_addresses import NO_CHAINS, ChainAddresses
from actors.directory import Venue
from actors.order_form import check_form
from actors.parameters import CLIENT_ORDER_ID_WORDS, INTERVALS_NS, PlaceParams
from actors.requests import Request
from actors.wire import RefusedError
from book import queries
from book.client_order_ids import is_client_order_id
from book.codes import (
    BAD_SIDE,
    BAD_SYMBOL,
    BAD_TIF,
    BAD_TYPE,
    INVALID_PARAMETER,
    MANDATORY_PARAM,
    REJECTED_KEY,
    UNAUTHORIZED,
)
from book.commands import (
    AllocateAddress,
    AmendOrder,
    CancelAll,
    CancelAllAfter,
    CancelOrder,
    PlaceOrder,
    ReplaceOrder,
    RequestWithdrawal,
)
from book.history import MARKET_TRADES
from book.terms import (
    GTC,
    MARKET_DEFAULT,
    NS_PER_MS,
    ORDER_TYPES,
    PERMISSIONS,
    READ,
    SELF_TRADE_MODES,
    SIDES,
    TIMES_IN_FORCE,
    TRADE,
    WITHDRAW,
)


@frozen
class Identity:
    """Who speaks on a connection, and what the key may do."""

    account: int
    key: int
    session: int
    permissions: int
    """Bits of terms.PERMISSIONS."""
    since_ms: int
    """When it logged on, ms since 1970."""


def _by_name(names: Mapping[int, str], default: int | None = None) -> dict[str, int]:
    """Codes by their names on the wire, and by the empty string what is meant where none is given."""
    codes = {name: code for code, name in names.items()}
    return codes if default is None else {**codes, "": default}


_SIDES: Final = _by_name(SIDES)
_ORDER_TYPES: Final = _by_name(ORDER_TYPES)
_TIMES_IN_FORCE: Final = _by_name(TIMES_IN_FORCE, GTC)
_SELF_TRADE_MODES: Final = _by_name(SELF_TRADE_MODES, MARKET_DEFAULT)

NEEDED_PERMISSION: Final[dict[type, int]] = {
    wire.OrderPlace: TRADE,
    wire.OrderCancel: TRADE,
    wire.OrderAmend: TRADE,
    wire.OrderCancelReplace: TRADE,
    wire.OrderTest: TRADE,
    wire.OrderBatch: TRADE,
    wire.CancelAll: TRADE,
    wire.CancelAllAfter: TRADE,
    wire.OrderStatus: READ,
    wire.OpenOrders: READ,
    wire.MyTrades: READ,
    wire.AllOrders: READ,
    wire.AccountStatus: READ,
    wire.AccountCommission: READ,
    wire.DepositAddress: READ,
    wire.DepositHistory: READ,
    wire.WithdrawStatus: READ,
    wire.WithdrawHistory: READ,
    wire.WithdrawApply: WITHDRAW,
    wire.WithdrawCancel: WITHDRAW,
}


# What changes something. Where the key may not do that, it is the engine that refuses, so that the log has it: who has
# tried what he may not is what an audit asks for first.
_LOGGED: Final[frozenset[type]] = frozenset(
    {
        *(wire.OrderPlace, wire.OrderCancel, wire.OrderAmend, wire.OrderCancelReplace, wire.OrderBatch),
        *(wire.CancelAll, wire.CancelAllAfter, wire.DepositAddress, wire.WithdrawApply),
    }
)
# What may lead to trades, and should.
_ENTERING: Final[frozenset[type]] = frozenset({wire.OrderPlace, wire.OrderAmend, wire.OrderCancelReplace})


class Intake:
    """Makes engine requests of wire requests, for one connection, as it is logged on now.

    Args:
        venues: The markets, by name; looked up anew for each request.
        identity: Who speaks; None before a logon.
        chains: What can be paid in and out.
        take_order: Called for each request that would enter or change an order; raises RefusedError where there were
            too many. None where their number is not limited.
    """

    __slots__ = ("_account", "_chains", "_key", "_session", "_venues", "makers")

    makers: dict[type, Callable[[Any], Request]]
    """Makes the engine's request, by the type of the wire's and from one of that type. Each raises RefusedError. Types
    that are not here are not for the engine."""

    def __init__(
        self,
        venues: Mapping[str, Venue],
        identity: Identity | None,
        take_order: Callable[[], None] | None = None,
        chains: ChainAddresses = NO_CHAINS,
    ) -> None:
        self._venues = venues
        self._chains = chains
        self._account, self._key, self._session = (
            (0, 0, 0) if identity is None else (identity.account, identity.key, identity.session)
        )
        self.makers = {
            wire.OrderPlace: self._place,
            wire.OrderCancel: self._cancel,
            wire.OrderAmend: self._amend,
            wire.OrderCancelReplace: self._replace,
            wire.OrderTest: self._test,
            wire.CancelAll: self._cancel_all,
            wire.CancelAllAfter: self._cancel_all_after,
            wire.OrderStatus: self._order_status,
            wire.OpenOrders: self._open_orders,
            wire.MyTrades: self._my_trades,
            wire.AllOrders: self._all_orders,
            wire.AccountStatus: self._account_status,
            wire.AccountCommission: self._commission,
            wire.Depth: self._depth,
            wire.RecentTrades: self._recent_trades,
            wire.DayTicker: self._day_ticker,
            wire.Candles: self.candles,
            wire.ExchangeInfo: _exchange_info,
            wire.DepositAddress: self._deposit_address,
            wire.WithdrawApply: self._withdraw,
        }
        # What this client may not do is decided once, so that what it may do costs no look.
        for kind, permission in NEEDED_PERMISSION.items():
            if identity is None:
                self.makers[kind] = _refuse_stranger
            elif not identity.permissions & permission and kind not in _LOGGED:
                self.makers[kind] = _refusing(permission)
            elif take_order is not None and kind in _ENTERING:
                self.makers[kind] = _counted(self.makers[kind], take_order)

    def _place(self, request: wire.OrderPlace | wire.OrderTest | wire.OrderCancelReplace) -> PlaceOrder:
        params = request.params
        try:
            venue = self._venues[params.symbol]
            side = _SIDES[params.side]
            type_ = _ORDER_TYPES[params.type]
            time_in_force = _TIMES_IN_FORCE[params.time_in_force]
            self_trade = _SELF_TRADE_MODES[params.self_trade_prevention_mode]
        except KeyError:
            _refuse_words(self._venues, params)
        check_form(params, side, type_, time_in_force)
        if params.client_order_id:
            _check_client_order_id(params.client_order_id)
        return PlaceOrder(
            self._account,
            self._key,
            self._session,
            params.symbol,
            side,
            type_,
            time_in_force,
            numerals.quantity(venue, params.quantity) if params.quantity else 0,
            numerals.price(venue, params.price) if params.price else 0,
            numerals.amount(venue, params.quote_order_qty) if params.quote_order_qty else 0,
            params.post_only,
            params.client_order_id,
            self_trade,
            params.timestamp,
            params.recv_window,
            numerals.price(venue, params.stop_price, "stopPrice") if params.stop_price else 0,
            params.expire_time,
            numerals.display_quantity(venue, params.display_qty) if params.display_qty else 0,
        )

    def _cancel(self, request: wire.OrderCancel) -> CancelOrder:
        params = request.params
        symbol = self._symbol(params.symbol)
        _check_one_id(params.order_id, params.client_order_id)
        return CancelOrder(
            self._account,
            self._key,
            self._session,
            symbol,
            params.order_id,
            params.client_order_id,
            params.timestamp,
            params.recv_window,
        )

    def _amend(self, request: wire.OrderAmend) -> AmendOrder:
        params = request.params
        venue = self._venues.get(params.symbol)
        if venue is None:
            _refuse_symbol()
        _check_one_id(params.order_id, params.client_order_id)
        if not params.new_qty and not params.new_price:
            raise RefusedError(MANDATORY_PARAM, "newQty is missing: it, newPrice or both say what is to change")
        return AmendOrder(
            self._account,
            self._key,
            self._session,
            params.symbol,
            params.order_id,
            params.client_order_id,
            numerals.new_quantity(venue, params.new_qty) if params.new_qty else 0,
            numerals.new_price(venue, params.new_price) if params.new_price else 0,
            params.timestamp,
            params.recv_window,
        )

    def _replace(self, request: wire.OrderCancelReplace) -> ReplaceOrder:
        params = request.params
        _check_one_id(params.cancel_order_id, params.cancel_client_order_id, "cancelOrderId", "cancelClientOrderId")
        return ReplaceOrder(params.cancel_order_id, params.cancel_client_order_id, self._place(request))

    def _test(self, request: wire.OrderTest) -> queries.JudgeOrder:
        return queries.JudgeOrder(self._place(request))

    def _cancel_all(self, request: wire.CancelAll) -> CancelAll:
        params = request.params
        symbol = self._symbol(params.symbol) if params.symbol else ""
        return CancelAll(self._account, self._key, self._session, symbol, params.timestamp, params.recv_window)

    def _cancel_all_after(self, request: wire.CancelAllAfter) -> CancelAllAfter:
        params = request.params
        return CancelAllAfter(
            self._account, self._key, self._session, params.timeout_ms, params.timestamp, params.recv_window
        )

    def _order_status(self, request: wire.OrderStatus) -> queries.OrderStatus:
        params = request.params
        symbol = self._symbol(params.symbol)
        _check_one_id(params.order_id, params.client_order_id)
        return queries.OrderStatus(self._account, symbol, params.order_id, params.client_order_id)

    def _open_orders(self, request: wire.OpenOrders) -> queries.OpenOrders:
        symbol = request.params.symbol
        return queries.OpenOrders(self._account, self._symbol(symbol) if symbol else "")

    def _my_trades(self, request: wire.MyTrades) -> queries.AccountTrades:
        params = request.params
        return queries.AccountTrades(self._account, self._symbol(params.symbol), params.from_id, params.limit)

    def _all_orders(self, request: wire.AllOrders) -> queries.AccountOrders:
        params = request.params
        return queries.AccountOrders(self._account, self._symbol(params.symbol), params.from_id, params.limit)

    def _account_status(self, _request: wire.AccountStatus) -> queries.Balances:
        return queries.Balances(self._account)

    def _commission(self, request: wire.AccountCommission) -> queries.Commission:
        return queries.Commission(self._account, self._symbol(request.params.symbol))

    def _depth(self, request: wire.Depth) -> queries.Depth:
        return queries.Depth(self._symbol(request.params.symbol), request.params.limit)

    def _recent_trades(self, request: wire.RecentTrades) -> queries.RecentTrades:
        params = request.params
        return queries.RecentTrades(self._symbol(params.symbol), min(params.limit, MARKET_TRADES))

    def _day_ticker(self, request: wire.DayTicker) -> queries.Ticker:
        return queries.Ticker(self._symbol(request.params.symbol))

    def candles(self, request: wire.Candles) -> queries.Candles:
        """A question about candles, whose answer may need the store as well. Raises RefusedError."""
        params = request.params
        return queries.Candles(
            self._symbol(params.symbol),
            INTERVALS_NS[params.interval],
            params.start_time * NS_PER_MS,
            params.end_time * NS_PER_MS,
            params.limit,
        )

    def _deposit_address(self, request: wire.DepositAddress) -> AllocateAddress:
        asset = self._chains.asset(request.params.asset)
        return AllocateAddress(self._account, self._key, self._session, asset.name)

    def _withdraw(self, request: wire.WithdrawApply) -> RequestWithdrawal:
        params = request.params
        asset = self._chains.asset(params.asset)
        _check_client_order_id(params.withdraw_order_id, "withdrawOrderId")
        return RequestWithdrawal(
            self._account,
            self._key,
            self._session,
            params.withdraw_order_id,
            asset.name,
            self._chains.normal(asset, params.address),
            numerals.of_asset(asset, params.amount),
            params.timestamp,
            params.recv_window,
        )

    def _symbol(self, symbol: str) -> str:
        """The symbol of a market that there is."""
        if symbol not in self._venues:
            _refuse_symbol()
        return symbol


def _exchange_info(_request: wire.ExchangeInfo) -> queries.Directory:
    return queries.Directory()


# -------------------------------------------------------------------------------------------------- who may do what


def _refuse_stranger(_request: wire.Request) -> NoReturn:
    raise RefusedError(UNAUTHORIZED, "log on first: session.logon")


def _refusing(permission: int) -> Callable[[wire.Request], NoReturn]:
    def refuse(_request: wire.Request) -> NoReturn:
        raise RefusedError(REJECTED_KEY, f"this key has no permission to {PERMISSIONS[permission]}")

    return refuse


# ------------------------------------------------------------------------------------------------- words and numbers


def _counted(maker: Callable[[Any], Request], take_order: Callable[[], None]) -> Callable[[Any], Request]:
    """The maker, of requests that count as orders where they are good ones."""

    def make(request: wire.Request) -> Request:
        made = maker(request)
        take_order()
        return made

    return make


def _refuse_symbol() -> NoReturn:
    raise RefusedError(BAD_SYMBOL, "there is no such symbol; exchangeInfo lists them")


def _refuse_words(venues: Mapping[str, Venue], params: PlaceParams) -> NoReturn:
    """Name the first word of an order that is none of those there are."""
    if params.symbol not in venues:
        _refuse_symbol()
    for code, name, given, known in (
        (BAD_SIDE, "side", params.side, SIDES),
        (BAD_TYPE, "type", params.type, ORDER_TYPES),
        (BAD_TIF, "timeInForce", params.time_in_force, TIMES_IN_FORCE),
    ):
        if given and given not in known.values():
            raise RefusedError(code, f"{name} must be one of {', '.join(known.values())}")
    raise RefusedError(
        INVALID_PARAMETER, f"selfTradePreventionMode must be one of {', '.join(SELF_TRADE_MODES.values())}"
    )


def _check_client_order_id(text: str, name: str = "clientOrderId") -> None:
    if not is_client_order_id(text):
        raise RefusedError(INVALID_PARAMETER, f"{name} must be {CLIENT_ORDER_ID_WORDS}")


def _check_one_id(
    order_id: int, client_order_id: str, name: str = "orderId", client_name: str = "clientOrderId"
) -> None:
    if client_order_id:
        if order_id:
            raise RefusedError(INVALID_PARAMETER, f"{name} and {client_name} do not go together")
        _check_client_order_id(client_order_id, client_name)
    elif not order_id:
        raise RefusedError(MANDATORY_PARAM, f"{name} is missing: the order's, or its {client_name}")

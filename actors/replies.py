"""From what became of a request to the line that says so: integers back to decimals, codes back to names and sentences.

Theory of operation. Each kind of wire request has one maker that knows the shape of its answer. Whatever was not done
goes one way for all kinds: the engine's `Rejected` names a field, a value and a limit in its own units, and
`_SENTENCES` has the words for each reason; the other fates are one sentence each. Nothing is encoded here: the session
encodes all lines of a release in one call.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from actors import wire
from actors.directory import Directory, Venue
from actors.mailbox import Busy, Faulted, NotDone, OutcomeUnknown, Stopped
from actors.requests import Done, Outcome
from actors.wire import Refusal, Reply, refusal
from book import codes
from book.decimals import format_units
from book.events import Event, OrderAccepted, OrderAmended, OrderClosed, OrderReduced, OrderView, Rejected, Trade
from book.market import Grid
from book.queries import Balance, DepthView, DirectoryView
from book.terms import (
    MARKET_STATES,
    NEW,
    ORDER_STATES,
    ORDER_TYPES,
    PARTIALLY_FILLED,
    SELF_TRADE_MODES,
    SIDES,
    TIMES_IN_FORCE,
)

_NS_PER_MS: Final = 1_000_000
_PPM_DECIMALS: Final = 6


class Replies:
    """Makes reply lines, from what `Directory` says names and decimals are."""

    __slots__ = ("_assets", "_makers", "_venues")

    def __init__(self, directory: Directory) -> None:
        self._assets = directory.assets
        self._venues = directory.venues
        self._makers: dict[type, Callable[[Any, Any], Reply]] = {
            wire.OrderPlace: self._placed,
            wire.OrderCancel: self._canceled,
            wire.OrderAmend: self._amended,
            wire.OrderCancelReplace: self._replaced,
            wire.OrderStatus: self._order_status,
            wire.OpenOrders: self._open_orders,
            wire.CancelAll: _canceled_all,
            wire.AccountStatus: self._account_status,
            wire.Depth: self._depth,
            wire.ExchangeInfo: self._exchange_info,
        }

    def reply(self, request: wire.Request, outcome: Outcome) -> Reply | Refusal:
        """The line that answers `request`."""
        if type(outcome) is Rejected:
            return self._rejected(request, outcome)
        if isinstance(outcome, NotDone | OutcomeUnknown):
            return _not_done(request.id, outcome)
        return self._makers[type(request)](request, outcome)

    # ---------------------------------------------------------------------------------------------------------- orders

    def _placed(self, request: wire.OrderPlace, done: Done) -> Reply:
        return Reply(request.id, 200, self._placement(done, done.events))

    def _placement(self, done: Done, events: list[Event]) -> wire.Placed:
        executed = executed_quote = 0
        status = NEW
        fills: list[wire.Fill] = []
        for event in events:
            if type(event) is OrderAccepted:
                accepted: OrderView = event.order
                venue = self._venues[accepted.symbol]
            elif type(event) is Trade:
                executed += event.quantity
                executed_quote += event.notional
                status = PARTIALLY_FILLED
                fills.append(_fill(venue, event))
            elif type(event) is OrderClosed and event.order.order_id == accepted.order_id:
                status = event.order.status
        return wire.Placed(
            accepted.order_id,
            accepted.client_order_id,
            accepted.symbol,
            ORDER_STATES[status],
            venue.format_quantity(executed),
            venue.format_amount(executed_quote),
            fills,
            done.time_ns // _NS_PER_MS,
            done.seq,
        )

    def _canceled(self, request: wire.OrderCancel, done: Done) -> Reply:
        closed: OrderView = next(event.order for event in done.events if type(event) is OrderClosed)
        return Reply(request.id, 200, self._order(closed))

    def _replaced(self, request: wire.OrderCancelReplace, done: Done) -> Reply:
        closed, *entered = done.events
        if type(closed) is not OrderClosed:
            raise AssertionError(f"an order was replaced, and first came {closed!r}")
        return Reply(request.id, 200, wire.Replaced(self._order(closed.order), self._placement(done, entered)))

    def _amended(self, request: wire.OrderAmend, done: Done) -> Reply:
        for event in done.events:
            if type(event) is OrderAmended:
                order: OrderView = event.order
            elif type(event) is Trade:
                order = replace(
                    order,
                    executed=order.executed + event.quantity,
                    executed_quote=order.executed_quote + event.notional,
                    status=PARTIALLY_FILLED,
                )
            elif isinstance(event, OrderReduced | OrderClosed) and event.order.order_id == order.order_id:
                order = event.order
        return Reply(request.id, 200, self._order(order))

    def _order_status(self, request: wire.OrderStatus, order: OrderView) -> Reply:
        return Reply(request.id, 200, self._order(order))

    def _open_orders(self, request: wire.OpenOrders, orders: list[OrderView]) -> Reply:
        return Reply(request.id, 200, wire.Orders([self._order(order) for order in orders]))

    def _order(self, order: OrderView) -> wire.Order:
        venue = self._venues[order.symbol]
        return wire.Order(
            order.order_id,
            order.client_order_id,
            order.symbol,
            SIDES[order.side],
            ORDER_TYPES[order.type],
            TIMES_IN_FORCE[order.time_in_force],
            venue.format_price(order.price),
            venue.format_quantity(order.quantity),
            venue.format_quantity(order.executed),
            venue.format_amount(order.executed_quote),
            ORDER_STATES[order.status],
            order.created_ns // _NS_PER_MS,
            order.updated_ns // _NS_PER_MS,
        )

    # ------------------------------------------------------------------------------------------------ accounts, markets

    def _account_status(self, request: wire.AccountStatus, balances: list[Balance]) -> Reply:
        rows = [
            wire.BalanceInfo(balance.asset, format_units(balance.available, scale), format_units(balance.held, scale))
            for balance, scale in ((balance, self._assets[balance.asset].scale) for balance in balances)
        ]
        return Reply(request.id, 200, wire.Account(rows))

    def _depth(self, request: wire.Depth, view: DepthView) -> Reply:
        venue = self._venues[view.symbol]
        price, quantity = venue.format_price, venue.format_quantity
        bids = [(price(ticks), quantity(lots)) for ticks, lots in view.bids]
        asks = [(price(ticks), quantity(lots)) for ticks, lots in view.asks]
        return Reply(request.id, 200, wire.Levels(view.symbol, view.seq, bids, asks))

    def _exchange_info(self, request: wire.ExchangeInfo, view: DirectoryView) -> Reply:
        assets = [wire.AssetInfo(asset.name, asset.scale) for asset in view.assets]
        symbols = [_symbol(self._venues[status.market.symbol].grid, status.state) for status in view.markets]
        return Reply(request.id, 200, wire.Exchange(assets, symbols))

    # ------------------------------------------------------------------------------------------------------ rejections

    def _rejected(self, request: wire.Request, rejected: Rejected) -> Refusal:
        venue = self._venues.get(getattr(request.params, "symbol", ""))
        sentence = _SENTENCES.get(rejected.reason) or _SENTENCES.get(codes.CODE_NAMES[rejected.code], "refused")
        units = _units(None if venue is None else venue.grid, rejected, request)
        return refusal(
            request.id,
            rejected.code,
            sentence.format(
                field=_WIRE_NAMES.get(rejected.field, rejected.field),
                value=units(rejected.value),
                limit=units(rejected.limit),
                side="above" if rejected.value > rejected.limit else "below",
                ref=rejected.ref,
            ),
            reason=rejected.reason or UNSET,
            order_id=rejected.ref if rejected.reason == "DUPLICATE_CLIENT_ORDER_ID" else UNSET,
        )


def _fill(venue: Venue, trade: Trade) -> wire.Fill:
    return wire.Fill(
        venue.format_price(trade.price),
        venue.format_quantity(trade.quantity),
        venue.format_amount(trade.taker_fee),
        venue.grid.quote.name,
        trade.trade_id,
    )


def _canceled_all(request: wire.CancelAll, done: Done) -> Reply:
    return Reply(request.id, 200, wire.CanceledAll(sum(type(event) is OrderClosed for event in done.events)))


def _symbol(grid: Grid, state: int) -> wire.SymbolInfo:
    market = grid.market
    return wire.SymbolInfo(
        market.symbol,
        MARKET_STATES[state],
        market.base,
        market.quote,
        grid.tick_text,
        grid.lot_text,
        grid.format_quantity(market.min_quantity),
        grid.format_quantity(market.max_quantity),
        grid.min_notional_text,
        market.max_open_orders,
        format_units(market.maker_fee, _PPM_DECIMALS),
        format_units(market.taker_fee, _PPM_DECIMALS),
        SELF_TRADE_MODES[market.self_trade],
    )


# ------------------------------------------------------------------------------------------------ words for what failed

_WIRE_NAMES: Final = {
    "client_order_id": "clientOrderId",
    "new_price": "newPrice",
    "new_quantity": "newQty",
    "order_id": "orderId",
    "post_only": "postOnly",
    "quote_quantity": "quoteOrderQty",
    "recv_window": "recvWindow",
    "self_trade": "selfTradePreventionMode",
    "time_in_force": "timeInForce",
}

# By the reason, or by the code's name where there is no reason or none of these.
_SENTENCES: Final = {
    "PRICE_FILTER": "{field} {value} is {side} the market's limit of {limit}",
    "LOT_SIZE": "{field} {value} is {side} the market's limit of {limit}",
    "MIN_NOTIONAL": "{field} {value} is below the market's smallest of {limit}",
    "MAX_ORDERS": "{value} orders are open in this market, and {limit} may be",
    "OVERFLOW": "{field} {value} is more than can be handled, which is {limit}",
    "INSUFFICIENT_BALANCE": "the order needs {value}, and {limit} are free",
    "DUPLICATE_CLIENT_ORDER_ID": "order {ref} has this clientOrderId already",
    "WOULD_TAKE": "a postOnly order at {value} would take from the order at {limit}",
    "NO_LIQUIDITY": "there is nobody to trade with",
    "FOK_UNFILLABLE": "only {limit} of {value} would be filled at once",
    "ALREADY_EXECUTED": "newQty {value} is the new total, and {limit} were executed already",
    "MARKET_CLOSED": "the market does not take this order now",
    "ACCOUNT_FROZEN": "the account is frozen",
    "UNKNOWN_KEY": "there is no such key",
    "NO_PERMISSION": "this key may not do that",
    "BAD_SYMBOL": "there is no such symbol; exchangeInfo lists them",
    "INVALID_TIMESTAMP": "timestamp {value} is not within {limit} ms of the exchange's time",
    "INVALID_PARAMETER": "{field} {value} is not valid here",
    "FILTER_FAILURE": "{field} {value} is {side} the market's limit of {limit}",
    "CANCEL_REJECTED": "there is no such open order",
    "NO_SUCH_ORDER": "there is no such order",
    "UNAUTHORIZED": "there is no such account",
    "REJECTED_KEY": "this key may not do that",
}


def _units(grid: Grid | None, rejected: Rejected, request: wire.Request) -> Callable[[int], str]:
    """How the value and the limit of a rejection are written."""
    if grid is None:
        return str
    if rejected.reason == "INSUFFICIENT_BALANCE":
        buys = rejected.field == "quote" or getattr(request.params, "side", "") == "BUY"
        asset = grid.quote if buys else grid.base
        return lambda units: f"{format_units(units, asset.scale)} {asset.name}"
    by_field: Mapping[str, Callable[[int], str]] = {
        "price": grid.format_price,
        "new_price": grid.format_price,
        "quantity": grid.format_quantity,
        "new_quantity": grid.format_quantity,
        "quote_quantity": grid.format_amount,
        "notional": grid.format_amount,
    }
    return by_field.get(rejected.field, str)


# By type: the code, and the words.
_FATES: Final[dict[type, tuple[int, str]]] = {
    Busy: (codes.SERVER_BUSY, "the exchange is busy; this was not done and may be tried again"),
    Stopped: (codes.SERVICE_SHUTTING_DOWN, "the exchange is stopping; this was not done"),
    Faulted: (codes.UNKNOWN, "the exchange failed on this request; it was not done, and should not be tried again"),
    OutcomeUnknown: (codes.TIMEOUT, "the outcome is unknown; ask for the order by its clientOrderId"),
}


def _not_done(request_id: int | str | UnsetType, fate: Exception) -> Refusal:
    # Fates are only ever told apart by these types; a refinement of one stands for it.
    code, message = next(words for kind, words in _FATES.items() if isinstance(fate, kind))
    return refusal(request_id, code, message)

"""May this order enter? Judging an order changes nothing but the order itself.

The rules are tried in the order written here, what the order says by itself first, what depends on the book and the
balances last, and the first that is broken is named: the same order in the same state gets the same answer everywhere.
"""

from typing import Final

from book import codes
from book.client_order_ids import is_client_order_id
from book.events import Rejected
from book.live_market import LiveMarket
from book.orders import Order, PriceLevel
from book.rates import part
from book.terms import (
    BUY,
    DECREMENT,
    EXPIRE_MAKER,
    FOK,
    GTC,
    IOC,
    LIMIT,
    MARKET,
    MARKET_DEFAULT,
    MAX_INT,
    NONE,
    SELL,
)

PRICE_FILTER: Final = "PRICE_FILTER"
LOT_SIZE: Final = "LOT_SIZE"
MIN_NOTIONAL: Final = "MIN_NOTIONAL"
MAX_ORDERS: Final = "MAX_ORDERS"
OVERFLOW: Final = "OVERFLOW"


def refusal(market: LiveMarket, order: Order, leaving: Order | None = None) -> Rejected | None:
    """Why the order cannot enter. If it can, it knows its bound, its mode of self-trade prevention and what to hold.

    It is judged as if `leaving`, an open order of the same account in this market, were gone.
    """
    refused = _malformed(order)
    if refused is None and order.client_order_id:
        refused = _duplicate(order)
    if refused is None:
        refused = _filtered(market, order) or _settle_bound(market, order, leaving)
    if refused is None and order.time_in_force == GTC and order.type == LIMIT:
        refused = _unwelcome(market, order, leaving)
    if refused is None:
        refused = _unfunded(market, order, leaving)
    if refused is None and order.time_in_force == FOK:
        refused = _unfillable(market, order, leaving)
    return refused


def amendment_refusal(market: LiveMarket, order: Order, amended: Order) -> Rejected | None:
    """Why the open order cannot become `amended`. If it can, that one knows its bound and what to hold."""
    if amended.quantity <= order.executed:
        return Rejected(codes.CANCEL_REJECTED, "ALREADY_EXECUTED", "new_quantity", amended.quantity, order.executed)
    refused = _filtered(market, amended)
    if refused is None:
        amended.unit_cost = amended.price * market.tick_value
        refused = _too_large(market, order, amended) or _too_small(market, amended, amended.price)
    if refused is None and amended.post_only:
        refused = _would_take(market, amended, None)
    if refused is None:
        refused = _unfunded_amendment(market, order, amended)
    return None if refused is None else _in_words_of_amendment(refused)


def _too_large(market: LiveMarket, order: Order, amended: Order) -> Rejected | None:
    """What was executed before counts too: all of an order's trades together have to fit."""
    if amended.stands_behind(order):
        room = _most_quote(market, amended) - order.executed_quote
        most = order.executed + max(room, 0) // amended.unit_cost
        if amended.quantity > most:
            return _filter_failure(OVERFLOW, "quantity", amended.quantity, most)
    return None


def _unfunded_amendment(market: LiveMarket, order: Order, amended: Order) -> Rejected | None:
    """What the order holds already is its own."""
    amended.held = market.need(amended)
    available = order.held + market.paying(order).available
    if amended.held > available:
        # The command does not say which side the order is on, so the field says what is missing.
        asset = "quote" if order.side == BUY else "base"
        return Rejected(codes.ORDER_REJECTED, "INSUFFICIENT_BALANCE", asset, amended.held, available)
    return None


def _in_words_of_amendment(refused: Rejected) -> Rejected:
    """The same, with the names that the numbers have in the command."""
    field = {"quantity": "new_quantity", "price": "new_price"}.get(refused.field, refused.field)
    return Rejected(refused.code, refused.reason, field, refused.value, refused.limit)


def _filter_failure(reason: str, field: str, value: int, limit: int) -> Rejected:
    return Rejected(codes.FILTER_FAILURE, reason, field, value, limit)


def _malformed(order: Order) -> Rejected | None:  # noqa: PLR0911 -- one rule, one answer
    """What is wrong with the order as such: values no order has, or that do not go together."""
    if not BUY <= order.side <= SELL:
        return Rejected(codes.BAD_SIDE, "", "side", order.side)
    if not LIMIT <= order.type <= MARKET:
        return Rejected(codes.BAD_TYPE, "", "type", order.type)
    if not GTC <= order.time_in_force <= FOK:
        return Rejected(codes.BAD_TIF, "", "time_in_force", order.time_in_force)
    if not MARKET_DEFAULT <= order.self_trade <= DECREMENT:
        return Rejected(codes.INVALID_PARAMETER, "", "self_trade", order.self_trade, DECREMENT)
    if order.client_order_id and not is_client_order_id(order.client_order_id):
        return Rejected(codes.INVALID_PARAMETER, "", "client_order_id")
    if order.type == LIMIT:
        if order.quote_quantity:
            return Rejected(codes.INVALID_PARAMETER, "", "quote_quantity", order.quote_quantity)
        if order.post_only and order.time_in_force != GTC:
            return Rejected(codes.INVALID_PARAMETER, "", "post_only", 1)
        return None
    return _malformed_market_order(order)


def _malformed_market_order(order: Order) -> Rejected | None:
    if order.price:
        return Rejected(codes.INVALID_PARAMETER, "", "price", order.price)
    if order.post_only:
        return Rejected(codes.INVALID_PARAMETER, "", "post_only", 1)
    if order.time_in_force == FOK:
        return Rejected(codes.INVALID_PARAMETER, "", "time_in_force", FOK, IOC)
    if order.quote_quantity:
        if order.quantity:
            return Rejected(codes.INVALID_PARAMETER, "", "quantity", order.quantity)
        if order.side == SELL:
            # The amount is the most that is spent, and a sell spends lots.
            return Rejected(codes.INVALID_PARAMETER, "", "quote_quantity", order.quote_quantity)
    return None


def _duplicate(order: Order) -> Rejected | None:
    first = order.trader.account.client_order_ids.get(order.client_order_id)
    if first:
        return Rejected(codes.ORDER_REJECTED, "DUPLICATE_CLIENT_ORDER_ID", "client_order_id", ref=first)
    return None


def _filtered(market: LiveMarket, order: Order) -> Rejected | None:  # noqa: PLR0911 -- as above
    """Which of the market's limits for numbers the order breaks."""
    limits = market.definition
    if order.quote_quantity:
        amount = order.quote_quantity
        if amount > MAX_INT:
            return _filter_failure(OVERFLOW, "quote_quantity", amount, MAX_INT)
        if amount < limits.min_notional or amount <= 0:
            return _filter_failure(MIN_NOTIONAL, "quote_quantity", amount, max(1, limits.min_notional))
        return None
    quantity = order.quantity
    if quantity > MAX_INT:
        return _filter_failure(OVERFLOW, "quantity", quantity, MAX_INT)
    if quantity < limits.min_quantity:
        return _filter_failure(LOT_SIZE, "quantity", quantity, limits.min_quantity)
    if quantity > limits.max_quantity:
        return _filter_failure(LOT_SIZE, "quantity", quantity, limits.max_quantity)
    if order.type == MARKET:
        return None
    if order.price > MAX_INT // market.tick_value:
        return _filter_failure(OVERFLOW, "price", order.price, MAX_INT // market.tick_value)
    if order.price <= 0:
        return _filter_failure(PRICE_FILTER, "price", order.price, 1)
    return None


def _settle_bound(market: LiveMarket, order: Order, leaving: Order | None) -> Rejected | None:
    """Settle the worst price the order may trade at; refuse one whose value there is too little or too much."""
    if order.self_trade == MARKET_DEFAULT:
        order.self_trade = market.definition.self_trade
    price = order.price
    if order.type == MARKET:
        best = _best(market, order, leaving)
        if best is None:
            return Rejected(codes.ORDER_REJECTED, "NO_LIQUIDITY")
        price = best.price
        collar = part(price, market.definition.collar)
        order.bound = min(price + collar, MAX_INT // market.tick_value) if order.side == BUY else max(price - collar, 1)
        if order.quote_quantity:
            return None
    order.unit_cost = order.bound * market.tick_value
    room = _most_quote(market, order)
    if order.quantity > room // order.unit_cost:
        return _filter_failure(OVERFLOW, "quantity", order.quantity, room // order.unit_cost)
    return _too_small(market, order, price)


def _most_quote(market: LiveMarket, order: Order) -> int:
    """What the order's whole quantity may be worth at its bound."""
    # What a sell brings in before it rests can exceed its own notional by all the quote asset there is.
    return MAX_INT if order.side == BUY else MAX_INT - market.quote_in_existence()


def _too_small(market: LiveMarket, order: Order, price: int) -> Rejected | None:
    notional = order.quantity * price * market.tick_value
    if notional < market.definition.min_notional:
        return _filter_failure(MIN_NOTIONAL, "notional", notional, market.definition.min_notional)
    return None


def _best(market: LiveMarket, order: Order, leaving: Order | None) -> PriceLevel | None:
    """The level that the order would trade at first."""
    side = market.book.opposite(order.side)
    best = side.best
    if leaving is not None and best is not None and leaving.level is best and best.count == 1:
        return next((level for level in side.each_level() if level is not best), None)
    return best


def _unwelcome(market: LiveMarket, order: Order, leaving: Order | None) -> Rejected | None:
    """Orders that may rest: not too many of them, and none that takes if it must not."""
    count, limit = len(order.trader.open_orders), market.definition.max_open_orders
    if leaving is not None:
        count -= 1
    if count >= limit:
        return _filter_failure(MAX_ORDERS, "", count, limit)
    return _would_take(market, order, leaving) if order.post_only else None


def _would_take(market: LiveMarket, order: Order, leaving: Order | None) -> Rejected | None:
    best = _best(market, order, leaving)
    if best is not None and _reaches(order, best.price):
        return Rejected(codes.ORDER_REJECTED, "WOULD_TAKE", "price", order.price, best.price)
    return None


def _unfunded(market: LiveMarket, order: Order, leaving: Order | None) -> Rejected | None:
    if order.side == BUY:
        order.held = order.quote_quantity or order.worst_cost()
        available = order.trader.quote.available
    else:
        order.held = order.quantity * market.lot
        available = order.trader.base.available
    if leaving is not None and leaving.side == order.side:
        available += leaving.held
    if order.held > available:
        return Rejected(codes.ORDER_REJECTED, "INSUFFICIENT_BALANCE", "", order.held, available)
    return None


def _unfillable(market: LiveMarket, order: Order, leaving: Order | None) -> Rejected | None:
    """FOK: all of it would have to trade at once. Summaries tell, until its own account's orders are in the way."""
    own = _own_lots(order, leaving)
    lots = 0
    for level in market.book.opposite(order.side).each_level():
        if not _reaches(order, level.price):
            break
        mine = own.get(level.price, 0)
        if mine and order.self_trade != EXPIRE_MAKER:
            lots += level.ahead_of(order.trader, leaving)
            break
        lots += level.quantity - mine
        if leaving is not None and leaving.level is level:
            lots -= leaving.quantity - leaving.executed
        if lots >= order.quantity:
            break
    if lots >= order.quantity:
        return None
    return Rejected(codes.ORDER_REJECTED, "FOK_UNFILLABLE", "quantity", order.quantity, lots)


def _own_lots(order: Order, leaving: Order | None) -> dict[int, int]:
    """What the order's account has open on the other side and must not trade with, by price."""
    own: dict[int, int] = {}
    if order.self_trade != NONE:
        for mine in order.trader.open_orders.values():
            if mine.side != order.side and mine is not leaving:
                own[mine.price] = own.get(mine.price, 0) + mine.quantity - mine.executed
    return own


def _reaches(order: Order, price: int) -> bool:
    return price <= order.bound if order.side == BUY else price >= order.bound

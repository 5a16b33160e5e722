"""May this order enter? Judging an order changes nothing but the order itself.

The rules are tried in the order of docs/engine.md, what the order says by itself first, what depends on the book and
the balances last, and the first that is broken is named: the same order in the same state gets the same answer
everywhere.
"""

from typing import Final

from book import codes
from book.client_order_ids import is_client_order_id
from book.events import Rejected
from book.live_market import LiveMarket
from book.orders import Order, PriceLevel
from book.stops import reached
from book.terms import (
    BUY,
    CANCEL_ONLY,
    DECREMENT,
    EXPIRE_MAKER,
    FOK,
    GTC,
    GTD,
    IOC,
    LIMIT,
    MARKET,
    MARKET_DEFAULT,
    MAX_INT,
    NONE,
    NS_PER_MS,
    POST_ONLY,
    SELL,
    STOP_LOSS,
    TAKE_PROFIT,
    TAKE_PROFIT_LIMIT,
    TRADING,
)

PRICE_FILTER: Final = "PRICE_FILTER"
LOT_SIZE: Final = "LOT_SIZE"
MIN_NOTIONAL: Final = "MIN_NOTIONAL"
MAX_ORDERS: Final = "MAX_ORDERS"
OVERFLOW: Final = "OVERFLOW"

MAX_PARTS: Final = 100  # of an iceberg: each is a trade of its own


def refusal(market: LiveMarket, order: Order, leaving: Order | None = None) -> Rejected | None:
    """Why the order cannot enter. If it can, it knows its bound, its mode of self-trade prevention and what to hold.

    It is judged as if `leaving`, an open order of the same account in this market, were gone.
    """
    refused = _malformed(order)
    if refused is None and order.client_order_id:
        refused = _duplicate(order)
    if refused is None:
        refused = _unwelcome(market, order) or _filtered(market, order, order.quantity, order.price)
    if refused is None:
        refused = _settle_bound(market, order, leaving)
    if refused is None and (order.stop_price or order.may_rest):
        refused = _misplaced(market, order, leaving)
    if refused is None:
        refused = _unfunded(market, order, leaving)
    if refused is None and order.time_in_force == FOK and not order.stop_price:
        refused = _unfillable(market, order, leaving)
    return refused


def amendment_refusal(market: LiveMarket, order: Order, quantity: int, price: int) -> Rejected | None:
    """Why the open order cannot have this quantity and this price from now on."""
    if quantity <= order.executed:
        return Rejected(codes.CANCEL_REJECTED, "ALREADY_EXECUTED", "new_quantity", quantity, order.executed)
    if price and not order.price:
        return _invalid("new_price", price)
    refused = _unwelcome_amendment(market, order, quantity, price) or _filtered(market, order, quantity, price)
    if refused is None:
        unit_cost = (price or order.bound) * market.tick_value
        refused = (
            _too_large_amendment(market, order, quantity, price, unit_cost)
            or _too_small(market, quantity, price or order.stop_price)
            or (_would_take(market, order, price, None) if order.post_only else None)
            or _unfunded_amendment(market, order, quantity, unit_cost)
        )
    return None if refused is None else _in_words_of_amendment(refused)


def triggered_may_enter(market: LiveMarket, order: Order) -> bool:
    """Whether a stop that was reached can be a taker now. If so, it knows the worst price it may trade at."""
    if order.price:
        return order.quantity <= _most_quote(market, order) // order.unit_cost and (
            order.time_in_force != FOK or _unfillable(market, order, None) is None
        )
    best = market.book.opposite(order.side).best
    if best is None:
        return False
    bound = market.beyond(best.price, order.side)
    # A buy holds funds for its bound, and the market may have run away from that.
    order.bound = min(order.bound, bound) if order.side == BUY else bound
    return order.quantity <= _most_quote(market, order) // (order.bound * market.tick_value)


def _too_large_amendment(
    market: LiveMarket, order: Order, quantity: int, price: int, unit_cost: int
) -> Rejected | None:
    """What was executed before counts too: all of an order's trades together have to fit."""
    if not order.is_reduced_by(quantity, price):
        room = _most_quote(market, order) - order.executed_quote
        most = order.executed + max(room, 0) // unit_cost
        if quantity > most:
            return _filter_failure(OVERFLOW, "quantity", quantity, most)
    return None


def _unfunded_amendment(market: LiveMarket, order: Order, quantity: int, unit_cost: int) -> Rejected | None:
    """What the order holds already is its own."""
    need = market.need_of(order, quantity, unit_cost)
    available = order.held + market.paying(order).available
    if need > available:
        # The command does not say which side the order is on, so the field says what is missing.
        asset = "quote" if order.side == BUY else "base"
        return Rejected(codes.ORDER_REJECTED, "INSUFFICIENT_BALANCE", asset, need, available)
    return None


def _in_words_of_amendment(refused: Rejected) -> Rejected:
    """The same, with the names that the numbers have in the command."""
    field = {"quantity": "new_quantity", "price": "new_price"}.get(refused.field, refused.field)
    return Rejected(refused.code, refused.reason, field, refused.value, refused.limit)


def _filter_failure(reason: str, field: str, value: int, limit: int) -> Rejected:
    return Rejected(codes.FILTER_FAILURE, reason, field, value, limit)


def _malformed(order: Order) -> Rejected | None:  # noqa: C901, PLR0911 -- one rule, one answer
    """What is wrong with the order as such: values no order has, or that do not go together."""
    if not BUY <= order.side <= SELL:
        return Rejected(codes.BAD_SIDE, "", "side", order.side)
    if not LIMIT <= order.type <= TAKE_PROFIT_LIMIT:
        return Rejected(codes.BAD_TYPE, "", "type", order.type)
    if not GTC <= order.time_in_force <= GTD:
        return Rejected(codes.BAD_TIF, "", "time_in_force", order.time_in_force)
    if not MARKET_DEFAULT <= order.self_trade <= DECREMENT:
        return Rejected(codes.INVALID_PARAMETER, "", "self_trade", order.self_trade, DECREMENT)
    if order.client_order_id and not is_client_order_id(order.client_order_id):
        return Rejected(codes.INVALID_PARAMETER, "", "client_order_id")
    if order.type == MARKET:
        refused = _malformed_market_order(order)
    elif order.type in (STOP_LOSS, TAKE_PROFIT):
        refused = _malformed_market_stop(order)
    elif order.quote_quantity:
        return _invalid("quote_quantity", order.quote_quantity)
    else:
        refused = None
    if refused is None and (order.stop_price or order.post_only or order.display_quantity):
        refused = _malformed_options(order)
    if refused is None and (order.expire_time or order.time_in_force == GTD):
        refused = _malformed_expiry(order)
    return refused


def _malformed_market_order(order: Order) -> Rejected | None:
    if order.time_in_force > IOC:
        return _invalid("time_in_force", order.time_in_force, IOC)
    if order.price:
        return _invalid("price", order.price)
    if order.quote_quantity:
        if order.side == SELL:
            # The amount is the most that is spent, and a sell spends lots.
            return _invalid("quote_quantity", order.quote_quantity)
        if order.quantity:
            return _invalid("quantity", order.quantity)
    return None


def _malformed_market_stop(order: Order) -> Rejected | None:
    if order.time_in_force in (IOC, FOK):
        return _invalid("time_in_force", order.time_in_force)
    if order.price:
        return _invalid("price", order.price)
    return _invalid("quote_quantity", order.quote_quantity) if order.quote_quantity else None


def _malformed_options(order: Order) -> Rejected | None:
    if order.stop_price and (order.type in (LIMIT, MARKET)):
        return _invalid("stop_price", order.stop_price)
    shows = order.type == LIMIT and (order.time_in_force in (GTC, GTD))
    if order.post_only and not shows:
        return _invalid("post_only", 1)
    if order.display_quantity and not shows:
        return _invalid("display_quantity", order.display_quantity)
    return None


def _malformed_expiry(order: Order) -> Rejected | None:
    if order.time_in_force != GTD:
        return _invalid("expire_time", order.expire_time)
    if order.expire_time > MAX_INT // NS_PER_MS:
        return _invalid("expire_time", order.expire_time, MAX_INT // NS_PER_MS)
    if order.expire_time * NS_PER_MS <= order.created_ns:
        return _invalid("expire_time", order.expire_time, order.created_ns // NS_PER_MS)
    return None


def _invalid(field: str, value: int, limit: int = 0) -> Rejected:
    return Rejected(codes.INVALID_PARAMETER, "", field, value, limit)


def _duplicate(order: Order) -> Rejected | None:
    first = order.trader.account.client_order_ids.get(order.client_order_id)
    if first:
        return Rejected(codes.ORDER_REJECTED, "DUPLICATE_CLIENT_ORDER_ID", "client_order_id", ref=first)
    return None


def _unwelcome(market: LiveMarket, order: Order) -> Rejected | None:
    """Whether the account may place orders, and the market takes such."""
    if order.trader.account.frozen:
        return _frozen(order)
    if market.state == TRADING or (market.state == POST_ONLY and order.post_only):
        return None
    return Rejected(codes.ORDER_REJECTED, "MARKET_CLOSED", "state", market.state)


def _unwelcome_amendment(market: LiveMarket, order: Order, quantity: int, price: int) -> Rejected | None:
    if order.trader.account.frozen:
        return _frozen(order)
    if market.state == TRADING or (market.state == POST_ONLY and order.post_only):
        return None
    if market.state <= CANCEL_ONLY and order.is_reduced_by(quantity, price):
        return None
    return Rejected(codes.ORDER_REJECTED, "MARKET_CLOSED", "state", market.state)


def _frozen(order: Order) -> Rejected:
    return Rejected(codes.ORDER_REJECTED, "ACCOUNT_FROZEN", "account", order.trader.account.number)


def _filtered(  # noqa: C901, PLR0911 -- as above
    market: LiveMarket, order: Order, quantity: int, price: int
) -> Rejected | None:
    """Which of the market's limits for numbers the order breaks, with this quantity and price."""
    if order.quote_quantity:
        amount = order.quote_quantity
        if amount > MAX_INT:
            return _filter_failure(OVERFLOW, "quote_quantity", amount, MAX_INT)
        if amount < market.min_notional or amount <= 0:
            return _filter_failure(MIN_NOTIONAL, "quote_quantity", amount, max(1, market.min_notional))
        return None
    if quantity > MAX_INT:
        return _filter_failure(OVERFLOW, "quantity", quantity, MAX_INT)
    if quantity < market.min_quantity:
        return _filter_failure(LOT_SIZE, "quantity", quantity, market.min_quantity)
    if quantity > market.max_quantity:
        return _filter_failure(LOT_SIZE, "quantity", quantity, market.max_quantity)
    if order.display_quantity:
        refused = _filtered_iceberg(market, order, quantity)
        if refused is not None:
            return refused
    if order.type == MARKET:
        return None
    if order.type == LIMIT:
        return _filtered_price(market, "price", price)
    return _filtered_stop(market, order, price)


def _filtered_iceberg(market: LiveMarket, order: Order, quantity: int) -> Rejected | None:
    display = order.display_quantity
    if order.is_open:  # an amendment cannot change what is shown
        if quantity > display * MAX_PARTS:
            return _invalid("quantity", quantity, display * MAX_PARTS)
        return None
    if display > quantity:
        return _invalid("display_quantity", display, quantity)
    if display < market.min_quantity:
        return _filter_failure(LOT_SIZE, "display_quantity", display, market.min_quantity)
    if quantity > display * MAX_PARTS:
        return _invalid("display_quantity", display, -(-quantity // MAX_PARTS))
    return None


def _filtered_price(market: LiveMarket, field: str, price: int) -> Rejected | None:
    if price > market.max_price:
        return _filter_failure(OVERFLOW, field, price, market.max_price)
    if price <= 0:
        return _filter_failure(PRICE_FILTER, field, price, 1)
    return None


def _filtered_stop(market: LiveMarket, order: Order, price: int) -> Rejected | None:
    refused: Rejected | None = None
    if order.type not in (STOP_LOSS, TAKE_PROFIT):
        refused = _filtered_price(market, "price", price)
    if refused is None:
        refused = _filtered_price(market, "stop_price", order.stop_price)
    if refused is None and not order.is_open and market.last_price and reached(order, market.last_price):
        refused = Rejected(codes.ORDER_REJECTED, "WOULD_TRIGGER", "stop_price", order.stop_price, market.last_price)
    return refused


def _settle_bound(market: LiveMarket, order: Order, leaving: Order | None) -> Rejected | None:
    """Settle the worst price the order may trade at; refuse one whose value there is too little or too much."""
    if order.self_trade == MARKET_DEFAULT:
        order.self_trade = market.self_trade
    price = order.price
    if order.type == MARKET:
        best = _best(market, order, leaving)
        if best is None:
            return Rejected(codes.ORDER_REJECTED, "NO_LIQUIDITY")
        price = best.price
        order.bound = market.beyond(price, order.side)
        if order.quote_quantity:
            return None
    elif order.type != LIMIT:
        order.bound = market.worst_price(order)
        price = price or order.stop_price
    order.unit_cost = order.bound * market.tick_value
    room = _most_quote(market, order)
    if order.quantity > room // order.unit_cost:
        return _filter_failure(OVERFLOW, "quantity", order.quantity, room // order.unit_cost)
    return _too_small(market, order.quantity, price)


def _most_quote(market: LiveMarket, order: Order) -> int:
    """What the order's whole quantity may be worth at its bound."""
    # What a sell brings in before it rests can exceed its own notional by all the quote asset there is.
    return MAX_INT if order.side == BUY else MAX_INT - market.quote_in_existence()


def _too_small(market: LiveMarket, quantity: int, price: int) -> Rejected | None:
    notional = quantity * price * market.tick_value
    if notional < market.min_notional:
        return _filter_failure(MIN_NOTIONAL, "notional", notional, market.min_notional)
    return None


def _best(market: LiveMarket, order: Order, leaving: Order | None) -> PriceLevel | None:
    """The level that the order would trade at first."""
    side = market.book.opposite(order.side)
    best = side.best
    if leaving is not None and best is not None and leaving.level is best and best.count == 1:
        return next((level for level in side.each_level() if level is not best), None)
    return best


def _misplaced(market: LiveMarket, order: Order, leaving: Order | None) -> Rejected | None:
    """Orders that stay: not too many of them, and none that takes if it must not."""
    count, limit = len(order.trader.open_orders), market.max_open_orders
    if leaving is not None:
        count -= 1
    if count >= limit:
        return _filter_failure(MAX_ORDERS, "", count, limit)
    return _would_take(market, order, order.price, leaving) if order.post_only else None


def _would_take(market: LiveMarket, order: Order, price: int, leaving: Order | None) -> Rejected | None:
    best = _best(market, order, leaving)
    if best is not None and _reaches(order.side, price, best.price):
        return Rejected(codes.ORDER_REJECTED, "WOULD_TAKE", "price", price, best.price)
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
        if leaving is not None and leaving.level is level and level.count == 1:
            continue
        if not _reaches(order.side, order.bound, level.price) or not market.trades_at(level.price):
            break
        mine = own.get(level.price, 0)
        if mine and order.self_trade != EXPIRE_MAKER:
            lots += level.ahead_of(order.trader, order.quantity - lots, leaving)
            break
        lots += level.quantity + level.hidden - mine
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
            if mine.side != order.side and mine.level is not None and mine is not leaving:
                own[mine.price] = own.get(mine.price, 0) + mine.quantity - mine.executed
    return own


def _reaches(side: int, bound: int, price: int) -> bool:
    return price <= bound if side == BUY else price >= bound

"""An accepted order meets the book.

Theory of operation. The order holds what it can cost at most and becomes the taker: it trades with the best resting
order, at that order's price, until it wants no more or nothing acceptable is left. What then remains of a limit order
GTC rests; any other remainder expires.

A trade moves four amounts: the lots, their price, and the two fees into the house account; the taker pays before the
maker's rebate is paid out of it. A buyer gets back at once what a better price leaves over, so that an order always
holds exactly the worst that is still open of it.

An order that meets one of its own account does not trade with it (self-trade prevention, by the taker's mode): one of
them, or both, ends as EXPIRED_IN_MATCH, or both shrink by what would have been traded.
"""

from typing import Final

from book.admission import triggered_may_enter
from book.effects import Effects
from book.events import OrderAccepted, OrderAmended, OrderReduced, OrderTriggered, Trade
from book.ledger import hold, settle, transfer
from book.live_market import LiveMarket
from book.orders import Order, PriceLevel
from book.rates import affordable, fee
from book.terms import (
    BUY,
    DECREMENT,
    EXPIRE_MAKER,
    EXPIRE_TAKER,
    EXPIRED,
    EXPIRED_IN_MATCH,
    FILLED,
    NONE,
    PARTIALLY_FILLED,
    TRADING,
)

# As in book.orders.
_OrderAccepted: Final = OrderAccepted
_OrderAmended: Final = OrderAmended
_Trade: Final = Trade

_OPEN: Final = 0  # the taker's end is not decided by its trades


def enter(market: LiveMarket, order: Order, effects: Effects) -> None:
    """The order takes effect. It has been judged (book.admission), so it says what to hold; and it has its id."""
    hold(market.paying(order), order.held)
    effects.events.append(_OrderAccepted(order.view()))
    order.trader.account.tell(effects.seq)
    if order.stop_price:
        market.wait(order)
    else:
        _meet_the_book(market, order, effects)
        let_triggered_enter(market, effects)


def amend(market: LiveMarket, order: Order, quantity: int, price: int, effects: Effects) -> None:
    """The open order has this quantity and price from now on, which has been judged (book.admission)."""
    resting = order.level is not None
    anew = resting and not order.is_reduced_by(quantity, price)
    if anew:
        market.book.remove(order)
    elif resting and quantity < order.quantity:
        market.book.reduce(order, order.quantity - quantity)
    order.quantity = quantity
    if price != order.price:
        order.price = order.bound = price
        order.unit_cost = price * market.tick_value
    order.updated_ns = effects.time_ns
    need = market.need(order)
    if need > order.held:
        hold(market.paying(order), need - order.held)
        order.held = need
    else:
        market.give_back(order, order.held - need)
    effects.events.append(_OrderAmended(order.view()))
    order.trader.account.tell(effects.seq)
    if anew:
        _meet_the_book(market, order, effects)
        let_triggered_enter(market, effects)


def let_triggered_enter(market: LiveMarket, effects: Effects) -> None:
    """The stops that were reached enter, one after the other, as long as the market trades; then the band moves."""
    while market.triggered and market.state == TRADING:
        _, order = market.triggered.popitem(last=False)
        order.updated_ns = effects.time_ns
        effects.events.append(OrderTriggered(order.view()))
        order.trader.account.tell(effects.seq)
        if triggered_may_enter(market, order):
            _meet_the_book(market, order, effects)
        else:
            market.close(order, EXPIRED, effects)
    if market.band:
        market.settle_band()


def _meet_the_book(market: LiveMarket, order: Order, effects: Effects) -> None:
    """Trade what can be traded; what is left rests or ends."""
    end = _take(market, order, effects)
    if end == _OPEN:
        if order.may_rest:
            market.rest(order)
            return
        end = EXPIRED
    market.close(order, end, effects)


def _take(market: LiveMarket, taker: Order, effects: Effects) -> int:
    """Trade until there is nothing left to want or to have; how the taker ends."""
    side = market.book.opposite(taker.side)
    worst_merit = side.sign * taker.bound
    while True:
        level = side.best
        if taker.quote_quantity == 0 and taker.executed == taker.quantity:
            return FILLED
        if level is None or level.merit < worst_merit:
            return _OPEN
        maker = level.first
        if maker is None:
            raise AssertionError("the best level is empty")
        wanted = _wanted(market, taker, level)
        if wanted == 0:
            return FILLED if taker.executed else EXPIRED
        if maker.trader is not taker.trader or taker.self_trade == NONE:
            if not market.trades_at(level.price):
                market.trip(effects)
                return EXPIRED
            _trade(market, taker, maker, min(wanted, maker.quantity - maker.executed - maker.hidden), effects)
        elif not _prevent(market, taker, maker, wanted, effects):
            return EXPIRED_IN_MATCH


def _wanted(market: LiveMarket, taker: Order, level: PriceLevel) -> int:
    """How many lots the taker wants at this level's price."""
    if taker.quote_quantity == 0:
        return taker.quantity - taker.executed
    return affordable(taker.held, level.price * market.tick_value, taker.taker_rate, taker.ahead)


def _trade(market: LiveMarket, taker: Order, maker: Order, lots: int, effects: Effects) -> None:
    """Exchange lots at the maker's price."""
    price = maker.price
    notional = lots * price * market.tick_value
    taker_fee = taker.charge(notional, taker.taker_rate)
    maker_fee = maker.charge(notional, maker.maker_rate)
    if maker_fee + taker_fee < 0:
        maker_fee = -taker_fee  # the taker is in a tier that pays less than what this maker was promised
    market.book.fill(maker, lots)
    market.last_trade_id += 1
    market.last_price = price
    trade = _Trade(
        taker.trader.symbol,
        market.last_trade_id,
        price,
        lots,
        notional,
        taker.side,
        maker.order_id,
        taker.order_id,
        maker.trader.account.number,
        taker.trader.account.number,
        maker_fee,
        taker_fee,
    )
    effects.events.append(trade)
    maker.trader.account.tell(effects.seq)
    taker.trader.account.tell(effects.seq)
    market.remember(trade, maker, taker, effects.time_ns)
    market.candles.add(price, lots, notional, effects.time_ns)
    if taker.side == BUY:
        _exchange(market, taker, maker, lots, notional)
    else:
        _exchange(market, maker, taker, lots, notional)
    _pay_fee(market, taker, taker_fee)
    _pay_fee(market, maker, maker_fee)
    _count_fill(taker, lots, notional, effects.time_ns)
    _count_fill(maker, lots, notional, effects.time_ns)
    if taker.side == BUY and taker.quote_quantity == 0:
        market.give_back(taker, taker.held - taker.worst_cost())
    if maker.executed == maker.quantity:
        market.close(maker, FILLED, effects)
    elif maker.side == BUY:
        market.give_back(maker, maker.held - maker.worst_cost())
    if market.stops.reaches_any(price):
        for order in market.stops.take_reached(price):
            market.triggered[order.order_id] = order


def _exchange(market: LiveMarket, buyer: Order, seller: Order, lots: int, notional: int) -> None:
    delivered = lots * market.lot
    settle(seller.trader.base, buyer.trader.base, delivered)
    seller.held -= delivered
    settle(buyer.trader.quote, seller.trader.quote, notional)
    buyer.held -= notional


def _pay_fee(market: LiveMarket, order: Order, units: int) -> None:
    """A buyer's fee comes out of what it held for it, a seller's out of the proceeds it has just received."""
    quote = order.trader.quote
    if units < 0:
        transfer(market.house, quote, -units)
    elif order.side == BUY:
        settle(quote, market.house, units)
        order.held -= units
    else:
        transfer(quote, market.house, units)


def _count_fill(order: Order, lots: int, notional: int, time_ns: int) -> None:
    order.executed += lots
    order.executed_quote += notional
    order.status = PARTIALLY_FILLED
    order.updated_ns = time_ns
    if order.quote_quantity:
        order.quantity = order.executed


def _prevent(market: LiveMarket, taker: Order, maker: Order, wanted: int, effects: Effects) -> bool:
    """Two orders of one account meet: whether the taker goes on."""
    mode = taker.self_trade
    if mode == DECREMENT:
        return _decrement(market, taker, maker, wanted, effects)
    if mode != EXPIRE_TAKER:
        market.cancel(maker, EXPIRED_IN_MATCH, effects)
    return mode == EXPIRE_MAKER


def _decrement(market: LiveMarket, taker: Order, maker: Order, wanted: int, effects: Effects) -> bool:
    """Both lose what they would have traded; who has nothing left ends."""
    lots = min(wanted, maker.quantity - maker.executed)
    cost = lots * maker.price * market.tick_value
    if lots == maker.quantity - maker.executed:
        market.cancel(maker, EXPIRED_IN_MATCH, effects)
    else:
        market.book.reduce(maker, lots)
        _shrink(market, maker, lots, effects)
    if lots == wanted:
        return False
    if taker.quote_quantity:
        units, _ = fee(cost, taker.taker_rate, taker.ahead)
        market.give_back(taker, cost + units)
        taker.updated_ns = effects.time_ns
        effects.events.append(OrderReduced(taker.order_id, lots, taker.view()))
        taker.trader.account.tell(effects.seq)
    else:
        _shrink(market, taker, lots, effects)
    return True


def _shrink(market: LiveMarket, order: Order, lots: int, effects: Effects) -> None:
    order.quantity -= lots
    order.updated_ns = effects.time_ns
    market.give_back(order, order.held - market.need(order))
    effects.events.append(OrderReduced(order.order_id, lots, order.view()))
    order.trader.account.tell(effects.seq)

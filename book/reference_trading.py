"""How orders trade in the reference engine: what happens in the book, event by event.

Theory of operation. An order enters as a taker and meets whoever is first in line, again and again, until it wants no
more or there is nobody left; then it rests or ends. Each trade may trigger stops: they queue, and enter one after the
other when the order before is done. Every function is a generator that changes the state as far as it is asked for
events, so a list has to be made of it for the whole to happen.

Comments that begin with > are sentences of the design, the lines below follow them.
"""

from collections.abc import Iterator

from book import terms
from book.definitions import Market
from book.events import Event, MarketStateChanged, OrderClosed, OrderTriggered, Trade
from book.reference_orders import Order
from book.reference_rules import LIMIT_KINDS
from book.reference_state import HOUSE, State
from book.terms import BUY, MAX_INT, PPM

# --- Prices -----------------------------------------------------------------------------------------------------------


def worst_price(order: Order, best: int) -> int:
    """The collar's end, from this price on."""
    # > `MARKET` (by base quantity or quote amount, never past a collar around the best opposite price)
    collar = best * order.market.collar // PPM
    return min(best + collar, MAX_INT // order.tick_value) if order.side == BUY else max(best - collar, 1)


def price_band(state: State, market: Market) -> range:
    """The prices that a command which comes now may trade at."""
    # > the last price as it was when the command came (for the first trade the reference price, or no limit)
    base = state.last_price(market) or market.reference_price
    if not (market.band and base):
        return range(1, MAX_INT + 1)
    away = base * market.band // PPM
    return range(base - away, base + away + 1)


def most_lots(state: State, order: Order) -> int:
    """How many lots the order may be for, with what was executed, at its worst price."""
    # > All stored values fit a signed 64-bit integer
    # A buy pays its notional at most. A sell takes in what bids hold, that is at most all there is of the quote asset;
    # and when it rests, once more its notional.
    room = MAX_INT - order.executed_quote
    if order.side != BUY:
        room -= state.totals()[order.market.quote]
    # Where so much money came since that no lot has room, it has room for those it executed.
    return order.executed + max(room, 0) // order.notional(1, order.worst)


def can_trade(state: State, taker: Order, band: range) -> int:
    """How many lots an order of all or nothing can count on."""
    stops_it = taker.self_trade in {terms.EXPIRE_TAKER, terms.EXPIRE_BOTH, terms.DECREMENT}
    line = state.in_line(taker)
    own = [maker for maker in line if maker.account == taker.account and taker.self_trade != terms.NONE]
    stopper = own[0] if own and stops_it else None
    lots = 0
    for maker in line:
        # > All-or-nothing counts only what is within the band.
        if maker is stopper or maker.price not in band:
            break
        if maker not in own:
            # > All-or-nothing counts hidden quantity, except behind an order of the taker's own that stops it.
            hides = stopper is not None and stopper.price == maker.price
            lots += maker.shown if hides else maker.open
    return min(lots, taker.open)


# --- A taker ----------------------------------------------------------------------------------------------------------


def enter(state: State, taker: Order, band: range, time_ns: int) -> Iterator[Event]:
    """Trade, and rest or end with what is left; then those that this triggered."""
    yield from _take(state, taker, band, time_ns)
    yield from work_off(state, taker.market, band, time_ns)


def _take(state: State, taker: Order, band: range, time_ns: int) -> Iterator[Event]:
    while line := state.in_line(taker):
        maker = line[0]
        if taker.wants(maker.price) == 0:
            break
        # > An order of the same account is not traded with but treated as the taker's mode of self-trade prevention
        # > says. This comes before the price band.
        if maker.account == taker.account and taker.self_trade != terms.NONE:
            yield from _prevent(state, taker, maker, time_ns)
        elif maker.price not in band:
            # > A trade beyond it does not happen. The market halts, and what is left of the taker expires
            yield _halt(state, taker.market, time_ns)
            yield close(state, taker, terms.EXPIRED, time_ns)
        else:
            yield from _trade(state, taker, maker, time_ns)
        if taker not in state.open:
            return
    if taker.may_rest:
        _come_forward(state, taker)
    elif taker.quote_quantity and taker.executed and line:
        # There is more to buy: the amount is spent, but for what does not pay for one more lot.
        yield close(state, taker, terms.FILLED, time_ns)
    else:
        # > IOC without a fill: accepted, `EXPIRED`. MARKET ... partly filled: `EXPIRED`.
        yield close(state, taker, terms.EXPIRED, time_ns)


def _come_forward(state: State, order: Order) -> None:
    """Stand behind everybody else of the price, with as much as is shown."""
    if order in state.resting:
        state.resting.remove(order)
    state.resting.append(order)
    order.part = order.display_quantity
    state.changed(order.market)


def _halt(state: State, market: Market, time_ns: int) -> MarketStateChanged:
    # > The market halts for the set time (or until an operator resumes it, if that is 0)
    until_ns = later(time_ns, market.halt_ms) if market.halt_ms else 0
    event = MarketStateChanged(market.symbol, terms.HALT, until_ns)
    state.market_states[market.symbol] = event
    return event


def later(time_ns: int, after_ms: int) -> int:
    """The moment so much later, within 64 bits."""
    return min(time_ns + after_ms * 10**6, MAX_INT)


def _prevent(state: State, taker: Order, maker: Order, time_ns: int) -> Iterator[Event]:
    # > `EXPIRE_TAKER`, `EXPIRE_MAKER`, `EXPIRE_BOTH`, `DECREMENT` (both shrink by the overlap, hidden quantity
    # > included)
    wanted = taker.wants(maker.price)
    lots = min(wanted, maker.open)
    shrinks = taker.self_trade == terms.DECREMENT
    if taker.self_trade in {terms.EXPIRE_MAKER, terms.EXPIRE_BOTH} or (shrinks and lots == maker.open):
        yield close(state, maker, terms.EXPIRED_IN_MATCH, time_ns)
    elif shrinks:
        state.changed(maker.market)
        yield maker.shrink(lots, time_ns)
    if taker.self_trade in {terms.EXPIRE_TAKER, terms.EXPIRE_BOTH} or (shrinks and lots == wanted):
        yield close(state, taker, terms.EXPIRED_IN_MATCH, time_ns)
    elif shrinks:
        if taker.quote_quantity:
            taker.amount -= taker.cost(lots, maker.price, taker.taker_rate)
        yield taker.shrink(lots, time_ns)


def _trade(state: State, taker: Order, maker: Order, time_ns: int) -> Iterator[Event]:
    market, price = taker.market, maker.price
    lots = min(taker.wants(price), maker.shown)
    notional = maker.notional(lots, price)
    taker_fee = taker.fee(notional, taker.taker_rate)
    # > no rebate is more than the taker's fee of the same trade
    maker_fee = max(maker.fee(notional, maker.maker_rate), -taker_fee)
    taker.fees += notional * taker.taker_rate
    maker.fees += notional * max(maker.maker_rate, 0)
    if taker.quote_quantity:
        taker.amount -= notional + taker_fee
    maker.part -= lots
    for order, fee in ((maker, maker_fee), (taker, taker_fee)):
        # > fills settle both sides. Fees in quote units into a house account
        sign = 1 if order.side == BUY else -1
        state.give(order.account, market.base, sign * lots * market.lot)
        state.give(order.account, market.quote, -sign * notional - fee)
        state.give(HOUSE.account, market.quote, fee)
        order.executed += lots
        order.executed_quote += notional
        order.status = terms.PARTIALLY_FILLED
        order.updated_ns = time_ns
    trade = Trade(
        symbol=market.symbol,
        trade_id=len(state.trades_of_market(market)) + 1,
        price=price,
        quantity=lots,
        notional=notional,
        taker_side=taker.side,
        maker_order_id=maker.order_id,
        taker_order_id=taker.order_id,
        maker_account=maker.account,
        taker_account=taker.account,
        maker_fee=maker_fee,
        taker_fee=taker_fee,
    )
    state.trades.append((time_ns, trade))
    yield trade
    state.changed(market)
    if maker.open and not maker.shown:
        # > When that much has traded, as much again comes forward, behind everybody else of the price.
        _come_forward(state, maker)
    for order in (maker, taker):
        if order.open == 0:
            yield close(state, order, terms.FILLED, time_ns)
    _trigger(state, market)


def close(state: State, order: Order, status: int, time_ns: int) -> OrderClosed:
    """End an order, wherever it is."""
    if order in state.resting:
        state.resting.remove(order)
        if status != terms.FILLED:  # with its last trade, which was counted
            state.changed(order.market)
    if order in state.triggered:
        state.triggered.remove(order)
    order.status = status
    order.updated_ns = time_ns
    state.open.remove(order)
    state.finished.setdefault(order.account, []).append(order)
    return OrderClosed(order.view())


# --- Stops ------------------------------------------------------------------------------------------------------------


def _trigger(state: State, market: Market) -> None:
    # > Every trade moves the last price, and with it triggers: first the rising ones (that wait for last >= stop), the
    # > lowest stop first, then the falling ones, the highest first, and of equals the older order first. What is
    # > triggered stays triggered, whatever the price does next
    last = state.last_price(market)
    reached = [order for order in state.open if order.market is market and order.waits and order.is_reached(last)]
    rising = sorted((order for order in reached if order.rises), key=lambda order: order.stop_price)
    falling = sorted((order for order in reached if not order.rises), key=lambda order: -order.stop_price)
    for order in rising + falling:
        order.waits = False
        state.triggered.append(order)


def work_off(state: State, market: Market, band: range, time_ns: int) -> Iterator[Event]:
    """Let those enter that were triggered, and those that these trigger, until none is left or the market halts."""
    # > enters in this order, one after the other, when the order before has done its trading; what that triggers queues
    # > behind. If the market halts, what is triggered but has not entered stays as it is
    while state.trades_now(market):
        queue = [order for order in state.triggered if order.market is market]
        if not queue:
            return
        state.triggered.remove(queue[0])
        yield from _enter_triggered(state, queue[0], band, time_ns)


def _enter_triggered(state: State, order: Order, band: range, time_ns: int) -> Iterator[Event]:
    # > A triggered order is a new taker at that moment.
    order.updated_ns = time_ns
    yield OrderTriggered(order.view())
    facing = state.facing(order)
    if order.type not in LIMIT_KINDS and facing:
        # > A market kind finds its worst price then, as a market order does, and to buy it never pays more than it
        # > holds for.
        worst = worst_price(order, facing[0].price)
        order.worst = min(worst, order.worst) if order.side == BUY else worst
    # > If there is nothing to trade with, if it is FOK and cannot be filled, or if its worth has come to exceed 64
    # > bits, it expires.
    nothing = order.type not in LIMIT_KINDS and not facing
    unfillable = order.time_in_force == terms.FOK and can_trade(state, order, band) < order.quantity
    if nothing or unfillable or order.quantity > most_lots(state, order):
        yield close(state, order, terms.EXPIRED, time_ns)
    else:
        yield from _take(state, order, band, time_ns)

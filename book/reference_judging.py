"""Which orders the reference engine lets in, and which amendments: the rules of docs/engine.md, in their order.

Nothing here changes anything. Where a rule is not met, Refusal is raised. Comments that begin with > are sentences of
the design, the lines below follow them.
"""

from copy import copy

from book import codes, terms
from book.commands import AmendOrder, PlaceOrder, TradingCommand
from book.definitions import Market
from book.events import Rejected
from book.reference_orders import Order
from book.reference_rules import (
    LIMIT_KINDS,
    MOST_PARTS,
    STOP_KINDS,
    Refusal,
    demand,
    judge_moment,
    judge_numbers,
    judge_price,
    judge_quantity,
    judge_words,
)
from book.reference_state import State, find
from book.reference_trading import can_trade, most_lots, price_band, worst_price
from book.terms import BUY, CANCEL_ONLY, MARKET, MAX_INT, POST_ONLY, TRADING


def judge_sender(state: State, command: TradingCommand, time_ns: int, permission: int = terms.TRADE) -> None:
    """> 1. Who asks, and when."""
    known = command.account in state.account_ids()
    demand(known, codes.UNAUTHORIZED, "UNKNOWN_ACCOUNT", "account", command.account)
    if command.key:
        keys = [key for key in state.keys if key.key == command.key and key.account == command.account]
        demand(bool(keys), codes.REJECTED_KEY, "UNKNOWN_KEY", "key", command.key)
        demand(command.key not in state.revoked_keys, codes.REJECTED_KEY, "REVOKED_KEY", "key", command.key)
        permitted = keys[0].permissions & permission != 0
        demand(permitted, codes.REJECTED_KEY, "NO_PERMISSION", "key", command.key)
    judge_moment(command, time_ns)


def open_order(state: State, account: int, market: Market, order_id: int, client_order_id: str) -> Order:
    """The account's open order in this market by either id."""
    # > cancel of another account's order refused as not found
    order = find(state.open, account, market, order_id, client_order_id)
    if order is None:
        raise Refusal(Rejected(codes.CANCEL_REJECTED, "UNKNOWN_ORDER"))
    return order


# --- New orders -------------------------------------------------------------------------------------------------------


def judge_order(state: State, command: PlaceOrder, time_ns: int, replaces: Order | None = None) -> Order:
    """The order as it would enter, in the place of that one."""
    judge_sender(state, command, time_ns)
    market = state.market(command.symbol)
    judge_words(command, time_ns)
    _judge_name(state, command)
    _judge_welcome(state, command.account, market, {TRADING, POST_ONLY} if command.post_only else {TRADING})
    order = _made(state, command, market, time_ns)
    if replaces is not None:
        # > A replacement is judged as if the old order were gone, but for its name, which is not free again.
        state = state.without(replaces)
    judge_numbers(command, market, order.tick_value)
    if order.waits:
        # > 7. Its trigger: a stop that the last trade price has reached already is refused
        last = state.last_price(market)
        met = not order.is_reached(last)
        demand(met, codes.ORDER_REJECTED, "WOULD_TRIGGER", "stop_price", order.stop_price, last)
    _judge_worth(state, order, "quantity", shrinks=False)
    if order.may_rest or order.waits:
        # > an order that may wait or rest finds fewer than `max_open_orders` of its account in the market
        count, most = len(state.open_orders(order.account, market.symbol)), market.max_open_orders
        demand(count < most, codes.FILTER_FAILURE, "MAX_ORDERS", "", count, most)
    _judge_post_only(state, order, "price")
    need, available = order.hold(), state.available(order.account, order.holds)
    demand(need <= available, codes.ORDER_REJECTED, "INSUFFICIENT_BALANCE", "", need, available)
    if order.time_in_force == terms.FOK and not order.waits:
        # > `FOK` (all or nothing, decided before touching the book)
        lots = can_trade(state, order, price_band(state, market))
        demand(lots == order.quantity, codes.ORDER_REJECTED, "FOK_UNFILLABLE", "quantity", order.quantity, lots)
    return order


def _judge_name(state: State, command: PlaceOrder) -> None:
    # > `client_order_id` is not one of the account's open orders or of its last 10,000 finished ones
    for first in state.remembered(command.account, 10_000):
        if first.client_order_id == command.client_order_id:
            # > A repeat gets the `DUPLICATE` error that carries the first order's id
            duplicate = "DUPLICATE_CLIENT_ORDER_ID"
            raise Refusal(Rejected(codes.ORDER_REJECTED, duplicate, "client_order_id", ref=first.order_id))


def _judge_welcome(state: State, account: int, market: Market, market_states: set[int]) -> None:
    """> 5. Whether it is welcome: the account is not frozen, the market's state takes it."""
    thawed = account not in state.frozen_accounts
    demand(thawed, codes.ORDER_REJECTED, "ACCOUNT_FROZEN", "account", account)
    market_state = state.market_state(market).state
    demand(market_state in market_states, codes.ORDER_REJECTED, "MARKET_CLOSED", "state", market_state)


def _made(state: State, command: PlaceOrder, market: Market, time_ns: int) -> Order:
    order_id = state.last_order_id + 1
    maker_rate, taker_rate = state.rates(command.account, market)
    return Order(
        order_id=order_id,
        account=command.account,
        session=command.session,
        market=market,
        client_order_id=command.client_order_id or _free_name(state, command.account, order_id),
        side=command.side,
        type=command.type,
        time_in_force=command.time_in_force,
        price=command.price,
        quantity=MAX_INT if command.quote_quantity else command.quantity,
        quote_quantity=command.quote_quantity,
        amount=command.quote_quantity,
        stop_price=command.stop_price,
        expire_time=command.expire_time,
        display_quantity=command.display_quantity,
        post_only=command.post_only,
        self_trade=command.self_trade or market.self_trade,
        created_ns=time_ns,
        updated_ns=time_ns,
        maker_rate=maker_rate,
        taker_rate=taker_rate,
        tick_value=state.tick_value(market),
        worst=command.price,
        waits=command.type in STOP_KINDS,
    )


def _free_name(state: State, account: int, order_id: int) -> str:
    taken = {order.client_order_id for order in state.remembered(account, 10_000)}
    name, attempt = f"auto-{order_id}", 0
    while name in taken:
        attempt += 1
        name = f"auto-{order_id}-{attempt}"
    return name


# --- Amendments -------------------------------------------------------------------------------------------------------


def judge_amendment(state: State, command: AmendOrder, time_ns: int) -> tuple[Order, Order]:
    """The order that is to be amended, and how it would then be."""
    judge_sender(state, command, time_ns)
    market = state.market(command.symbol)
    order = open_order(state, command.account, market, command.order_id, command.client_order_id)
    new = copy(order)
    new.quantity = command.new_quantity or order.quantity
    # > a larger one or a new price loses it; <= executed is refused
    executed = "ALREADY_EXECUTED"
    demand(new.open > 0, codes.CANCEL_REJECTED, executed, "new_quantity", new.quantity, order.executed)
    if command.new_price:
        # > a price only where the order has one (`STOP_LOSS` and `TAKE_PROFIT` have none)
        met = order.type in LIMIT_KINDS
        demand(met, codes.INVALID_PARAMETER, "", "new_price", command.new_price)
        new.price = new.worst = command.new_price
    welcome = {TRADING, POST_ONLY} if order.post_only else {TRADING}
    if is_reduction(order, new):
        welcome = {TRADING, POST_ONLY, CANCEL_ONLY}
    _judge_welcome(state, command.account, market, welcome)
    judge_quantity("new_quantity", new.quantity, market)
    if order.display_quantity:
        # > an iceberg has at most 100 parts
        most = order.display_quantity * MOST_PARTS
        demand(new.quantity <= most, codes.INVALID_PARAMETER, "", "new_quantity", new.quantity, most)
    if order.type in LIMIT_KINDS:
        judge_price("new_price", new.price, order.tick_value)
    _judge_worth(state, new, "new_quantity", shrinks=is_reduction(order, new))
    if not order.waits:
        _judge_post_only(state, new, "new_price")
    need, available = new.hold(), order.hold() + state.available(order.account, order.holds)
    asset = "quote" if order.side == BUY else "base"
    demand(need <= available, codes.ORDER_REJECTED, "INSUFFICIENT_BALANCE", asset, need, available)
    return order, new


def is_reduction(old: Order, new: Order) -> bool:
    """Whether an amendment makes the order smaller, and nothing else (or nothing at all)."""
    return new.price == old.price and new.quantity <= old.quantity


# --- Both -------------------------------------------------------------------------------------------------------------


def _judge_worth(state: State, order: Order, field: str, *, shrinks: bool) -> None:
    """> 8. Its worth at the worst price it may trade at: not too much for 64 bits, not below the least notional."""
    market = order.market
    valued_at = order.price
    if order.type == MARKET:
        # > the best opposite price and the collar (`NO_LIQUIDITY` if there is none)
        facing = state.facing(order)
        demand(bool(facing), codes.ORDER_REJECTED, "NO_LIQUIDITY")
        valued_at = facing[0].price
        order.worst = worst_price(order, valued_at)
    elif order.type not in LIMIT_KINDS:
        # > of a waiting `STOP_LOSS` or `TAKE_PROFIT` to buy the stop price and the collar
        valued_at = order.stop_price
        order.worst = worst_price(order, valued_at) if order.side == BUY else valued_at
    if order.quote_quantity:
        return
    # > checked before the arithmetic (`qty > MAX // price` -> `OVERFLOW`)
    # What becomes smaller was not too much before, and cannot be now, whatever money came since.
    lots = most_lots(state, order)
    demand(shrinks or order.quantity <= lots, codes.FILTER_FAILURE, "OVERFLOW", field, order.quantity, lots)
    notional, least = order.notional(order.quantity, valued_at), market.min_notional
    demand(notional >= least, codes.FILTER_FAILURE, "MIN_NOTIONAL", "notional", notional, least)


def _judge_post_only(state: State, order: Order, field: str) -> None:
    # > `postOnly` (rejected `WOULD_TAKE`, never re-priced)
    line = state.in_line(order) if order.post_only else []
    if line:
        raise Refusal(Rejected(codes.ORDER_REJECTED, "WOULD_TAKE", field, order.price, line[0].price))

"""What must be true of the engine's state at all times, checked by looking at everything.

Called by tests after every step, by a load, and by whoever doubts. Each rule raises AssertionError with what it found.
"""

from collections.abc import Collection
from typing import Final

from book.accounts import AccountState
from book.events import Trade, Withdrawal
from book.history import ACCOUNT_TRADES, CLOSED_CANDLES, MARKET_TRADES, MINUTE_NS, Candles
from book.image import TradeImage
from book.live_market import LiveMarket
from book.order_book import BookSide
from book.orders import Order
from book.registry import bad_fees
from book.settings import MAX_TIER
from book.state import State
from book.terms import (
    BUY,
    DECREMENT,
    FOK,
    GTC,
    GTD,
    HALT,
    HELD,
    IOC,
    LIMIT,
    MAX_INT,
    NEW,
    NONE,
    NS_PER_MS,
    PARTIALLY_FILLED,
    RELEASED,
    SELL,
    SETTLED,
    STOP_LOSS,
    STOP_LOSS_LIMIT,
    TAKE_PROFIT,
    TAKE_PROFIT_LIMIT,
    TRADING,
)
from book.timers import CANCEL_ALL, EXPIRY, RESUMPTION
from book.versions import VERSIONS

# The kinds of order that can be open, and the times in force of each.
_TIMES_IN_FORCE: Final = {
    LIMIT: {GTC, GTD},
    STOP_LOSS: {GTC, GTD},
    STOP_LOSS_LIMIT: {GTC, IOC, FOK, GTD},
    TAKE_PROFIT: {GTC, GTD},
    TAKE_PROFIT_LIMIT: {GTC, IOC, FOK, GTD},
}


def check_state(state: State) -> None:
    """Everything. Raises AssertionError."""
    check_settings(state)
    check_ledger(state)
    check_transfers(state)
    open_orders = 0
    for market in state.markets.values():
        check_market(market, state.orders, state.last_order_id)
        check_rates(market)
        open_orders += sum(len(trader.open_orders) for trader in market.traders.values())
    if open_orders != len(state.orders):
        raise AssertionError(f"{len(state.orders)} orders are known, {open_orders} are open")
    check_trades(state)
    check_accounts(state.accounts.values(), state.orders.values(), state.last_order_id)
    check_timers(state)
    for session, account in state.armed_sessions.items():
        if not 0 < session <= MAX_INT or state.accounts.get(account.number) is not account:
            raise AssertionError(f"session {session} of account {account.number} is armed")


def check_timers(state: State) -> None:
    """Exactly what has an end has a timer, and the next one is known. Raises AssertionError."""
    due = {
        (EXPIRY, order.order_id): order.expire_time * NS_PER_MS for order in state.orders.values() if order.expire_time
    }
    for account in state.accounts.values():
        if account.cancel_all_due_ns:
            due[CANCEL_ALL, account.number] = account.cancel_all_due_ns
    for market in state.markets.values():
        if market.halted_until_ns:
            due[RESUMPTION, market.number] = market.halted_until_ns
    if due != state.timers.due() or state.timers.next_ns != min(due.values(), default=0):
        raise AssertionError(f"{state.timers.due()}, next {state.timers.next_ns}, are set where {due} should be")
    if due and state.timers.next_ns <= state.last_time_ns:
        raise AssertionError(f"what was due at {state.timers.next_ns} has not happened by {state.last_time_ns}")


def check_settings(state: State) -> None:
    """What operators have set is of something there is, and within its bounds."""
    registry = state.registry
    if state.engine_version not in {0, *VERSIONS}:
        raise AssertionError(f"the engine is to behave as version {state.engine_version}")
    if not registry.revoked_keys.keys() <= registry.keys.keys():
        raise AssertionError("a key that there is not is revoked")
    if not registry.frozen_assets.keys() <= registry.assets.keys():
        raise AssertionError("an asset that there is not is frozen")
    for account in state.accounts.values():
        if not 0 <= account.tier <= MAX_TIER:
            raise AssertionError(f"account {account.number} is in tier {account.tier}")


def check_rates(market: LiveMarket) -> None:
    """The market's tiers have possible rates, and everybody's next order gets those of its tier."""
    for tier, (maker_rate, taker_rate) in market.fee_tiers.items():
        if not 1 <= tier <= MAX_TIER or bad_fees(maker_rate, taker_rate) is not None:
            raise AssertionError(f"tier {tier} has rates of {maker_rate} and {taker_rate}")
    for trader in market.traders.values():
        if (trader.maker_rate, trader.taker_rate) != market.rates(trader.account):
            raise AssertionError(f"account {trader.account.number} is charged at the rates of another tier")


def check_ledger(state: State) -> None:
    """Nothing was created or destroyed, and what is held is held by open orders and pending withdrawals."""
    ledger = state.ledger
    ledger.check()
    came_in = _came_in(state)
    if came_in != ledger.totals():
        raise AssertionError(f"{came_in} came in, and there are {ledger.totals()}")
    held = _needed(state)
    for account, asset, _, amount in ledger.rows():
        if amount != held.pop((account, asset), 0):
            raise AssertionError(f"account {account} holds {amount} {asset}, not what its orders and withdrawals hold")
    if any(held.values()):
        raise AssertionError(f"orders and withdrawals hold what no account does: {held}")


def _came_in(state: State) -> dict[str, int]:
    """What was credited and adjusted, and not paid out."""
    came_in = dict.fromkeys(state.ledger.totals(), 0)
    for deposit in state.deposits.all():
        came_in[deposit.asset] += deposit.amount
    for adjusted in state.adjustments.all():
        came_in[adjusted.asset] += adjusted.amount
        if adjusted.account not in state.accounts:
            raise AssertionError(f"{adjusted.adjustment_id} adjusts account {adjusted.account}, which there is not")
        if adjusted.short < 0 or state.adjustments.owed(adjusted.account, adjusted.asset) > MAX_INT:
            raise AssertionError(f"account {adjusted.account} cannot owe what {adjusted.adjustment_id} made it")
    for withdrawal in state.withdrawals.all():
        if withdrawal.state == SETTLED:
            came_in[withdrawal.asset] -= withdrawal.amount
    return came_in


def _needed(state: State) -> dict[tuple[int, str], int]:
    """What orders and withdrawals hold, by account and asset."""
    held: dict[tuple[int, str], int] = {}
    for order in state.orders.values():
        market = order.trader.market
        asset = market.quote.name if order.side == BUY else market.base.name
        holder = (order.trader.account.number, asset)
        held[holder] = held.get(holder, 0) + order.held
    for _, withdrawal in state.withdrawals.all_pending():
        holder = (withdrawal.account, withdrawal.asset)
        held[holder] = held.get(holder, 0) + withdrawal.amount + withdrawal.fee
    return held


def check_transfers(state: State) -> None:
    """Addresses, withdrawals and epochs are such as can have come to be. Raises AssertionError."""
    registry = state.registry
    chains = {asset.chain for asset in registry.assets.values()} - {""}
    state.addresses.check()
    for chain, accounts in state.addresses.rows():
        if chain not in chains or not accounts or not state.accounts.keys() >= set(accounts):
            raise AssertionError(f"addresses on {chain!r} are of {accounts}")
    state.withdrawals.check()
    for chain, withdrawal in state.withdrawals.all_pending():
        if chain != registry.assets[withdrawal.asset].chain:
            raise AssertionError(f"withdrawal {withdrawal.withdrawal_id} is in the outbox of {chain!r}")
    last_seq = 0
    for withdrawal in state.withdrawals.all():
        _check_withdrawal(state, withdrawal)
        if not last_seq < withdrawal.seq <= state.last_seq:
            raise AssertionError(f"withdrawal {withdrawal.withdrawal_id} was held for by command {withdrawal.seq}")
        last_seq = withdrawal.seq
    state.epochs.check(state.last_seq)


def _check_withdrawal(state: State, withdrawal: Withdrawal) -> None:
    name = f"withdrawal {withdrawal.withdrawal_id}"
    if withdrawal.account not in state.accounts or not state.registry.assets[withdrawal.asset].chain:
        raise AssertionError(f"{name} is of {withdrawal.asset} of account {withdrawal.account}")
    if withdrawal.amount < 1 or withdrawal.fee < 0 or withdrawal.amount + withdrawal.fee > MAX_INT:
        raise AssertionError(f"{name} is of {withdrawal.amount} and a fee of {withdrawal.fee}")
    ended = withdrawal.state != HELD
    if not HELD <= withdrawal.state <= RELEASED or ended != bool(withdrawal.note) or ended != bool(withdrawal.receipt):
        raise AssertionError(f"{name} is in state {withdrawal.state}, with receipt {withdrawal.receipt}")
    if ended and not withdrawal.seq < withdrawal.receipt <= state.last_seq:
        raise AssertionError(f"{name} ended by command {withdrawal.receipt}")
    if not 0 <= withdrawal.requested_ns <= state.last_time_ns:
        raise AssertionError(f"{name} was requested at {withdrawal.requested_ns}")


def check_market(market: LiveMarket, orders: dict[int, Order], last_order_id: int) -> None:
    """The book and the stops hold together, and hold exactly the open orders of the market's traders."""
    market.book.check()
    market.stops.check()
    resting = _resting(market.book.bids, BUY) + _resting(market.book.asks, SELL)
    waiting = market.stops.all() + list(market.triggered.values())
    for order in resting:
        _check_resting(market, order)
    for order in waiting:
        _check_waiting(market, order)
    for order in resting + waiting:
        _check_open(market, order, orders, last_order_id)
    _check_market_state(market)
    if market.book.seq < market.last_trade_id + len(resting):
        raise AssertionError(
            f"{len(resting)} orders came and {market.last_trade_id} traded in {market.book.seq} changes"
        )
    opened = 0
    for number, trader in market.traders.items():
        if trader.account.number != number or trader.symbol != market.definition.symbol:
            raise AssertionError(f"account {number} trades as {trader.account.number} in {trader.symbol}")
        if list(trader.open_orders) != sorted(trader.open_orders):
            raise AssertionError(f"the open orders of account {number} are not in order")
        opened += len(trader.open_orders)
    if opened != len(resting) + len(waiting):
        raise AssertionError(f"{opened} orders are open, {len(resting)} rest and {len(waiting)} wait")


def _resting(side: BookSide, code: int) -> list[Order]:
    orders = [order for level in side.each_level() for order in level.orders()]
    for order in orders:
        if order.side != code:
            raise AssertionError(f"order {order.order_id} rests on the wrong side")
    return orders


def _check_market_state(market: LiveMarket) -> None:
    symbol = market.definition.symbol
    if not TRADING <= market.state <= HALT or (market.halted_until_ns and market.state != HALT):
        raise AssertionError(f"{symbol} is in state {market.state} until {market.halted_until_ns}")
    if market.state == TRADING and market.triggered:
        raise AssertionError(f"{symbol} trades, and has not let {list(market.triggered)} enter")
    if [order.order_id for order in market.triggered.values()] != list(market.triggered):
        raise AssertionError(f"{symbol} knows what is to enter by other ids: {list(market.triggered)}")
    if market.last_price and market.stops.reaches_any(market.last_price):
        raise AssertionError(f"{symbol} has stops that its last price {market.last_price} reaches")
    if (market.last_price == 0) != (market.last_trade_id == 0):
        raise AssertionError(f"{symbol} had {market.last_trade_id} trades, the last at {market.last_price}")


def _check_open(market: LiveMarket, order: Order, orders: dict[int, Order], last_order_id: int) -> None:
    if orders.get(order.order_id) is not order or not order.is_open:
        raise AssertionError(f"order {order.order_id} rests but is not open")
    if not 0 < order.order_id <= last_order_id:
        raise AssertionError(f"order {order.order_id} rests, but the last id given was {last_order_id}")
    if order.trader.open_orders.get(order.order_id) is not order:
        raise AssertionError(f"order {order.order_id} rests but is not its trader's")
    if not _fits_together(order):
        raise AssertionError(f"an order like {order.order_id} would not have been accepted")
    if not order.held == market.need(order) <= MAX_INT:
        raise AssertionError(f"order {order.order_id} holds {order.held} where it needs {market.need(order)}")


def _fits_together(order: Order) -> bool:
    """What an order says by itself, as it had to be when it came."""
    return (
        BUY <= order.side <= SELL
        and NONE <= order.self_trade <= DECREMENT
        and order.time_in_force in _TIMES_IN_FORCE.get(order.type, set())
        and order.executed < order.quantity
        and (order.price > 0) == (order.type not in {STOP_LOSS, TAKE_PROFIT})
        and (order.stop_price > 0) == (order.type != LIMIT)
        and (order.type == LIMIT or not (order.post_only or order.display_quantity))
        and (order.expire_time > 0) == (order.time_in_force == GTD)
        and order.expire_time <= MAX_INT // NS_PER_MS
    )


def _check_resting(market: LiveMarket, order: Order) -> None:
    name = f"resting order {order.order_id}"
    if not order.may_rest:
        raise AssertionError(f"{name} is of a kind that never rests")
    if order.status != (PARTIALLY_FILLED if order.executed else NEW):
        raise AssertionError(f"{name} has status {order.status} with {order.executed} executed")
    if order.bound != order.price or order.unit_cost != order.price * market.tick_value:
        raise AssertionError(f"{name} is bound at {order.bound}, its price is {order.price}")
    if not 0 <= order.executed_quote <= MAX_INT or (order.executed == 0) != (order.executed_quote == 0):
        raise AssertionError(f"{name} executed {order.executed} lots for {order.executed_quote}")


def _check_waiting(market: LiveMarket, order: Order) -> None:
    name = f"waiting order {order.order_id}"
    if order.type == LIMIT:
        raise AssertionError(f"{name} is of a kind that never waits")
    if order.executed or order.status != NEW or order.level is not None or order.hidden:
        raise AssertionError(f"{name} has status {order.status} with {order.executed} executed")
    worst = market.worst_price(order)
    if order.bound != worst or order.unit_cost != worst * market.tick_value:
        raise AssertionError(f"{name} is bound at {order.bound}, its worst price is {worst}")


def check_trades(state: State) -> None:
    """What is remembered of trades is possible and complete, and markets and accounts remember the same."""
    remembered: dict[tuple[str, int], TradeImage] = {}
    for market in state.markets.values():
        trades = market.trades.all()
        first = market.last_trade_id + 1 - min(market.last_trade_id, MARKET_TRADES)
        if [trade.trade.trade_id for trade in trades] != list(range(first, market.last_trade_id + 1)):
            raise AssertionError(f"{market.definition.symbol} does not remember its last trades")
        _check_in_time(trades, state.last_time_ns)
        for trade in trades:
            _check_trade(market, trade.trade, state.last_order_id)
            remembered[market.definition.symbol, trade.trade.trade_id] = trade
        _check_candles(market, trades)
    known: set[tuple[int, str, int]] = set()
    for account in state.accounts.values():
        _check_account_trades(state, account, remembered)
        _check_told(state, account)
        known |= {(account.number, trade.trade.symbol, trade.trade.trade_id) for trade in account.trades.all()}
    for (symbol, number), trade in remembered.items():
        for party in (trade.trade.maker_account, trade.trade.taker_account):
            if (party, symbol, number) not in known:
                owner = state.accounts.get(party)
                if owner is None or len(owner.trades.all()) < ACCOUNT_TRADES:
                    raise AssertionError(f"account {party} does not remember trade {number} in {symbol}")


def _check_told(state: State, account: AccountState) -> None:
    """Whatever is remembered of the account, and each of its open orders, its owner was told."""
    least = len(account.trades.all()) + len(account.finished_orders.all()) + len(state.open_orders(account))
    if not least <= account.user_seq <= MAX_INT:
        raise AssertionError(f"the owner of account {account.number} was told {account.user_seq} things of {least}")


def _check_in_time(trades: list[TradeImage], last_time_ns: int) -> None:
    times = [trade.time_ns for trade in trades]
    if times != sorted(times) or (times and times[-1] > last_time_ns):
        raise AssertionError(f"trades are remembered at {times}")


def _check_trade(market: LiveMarket, trade: Trade, last_order_id: int) -> None:
    name = f"trade {trade.trade_id} of {market.definition.symbol}"
    if trade.symbol != market.definition.symbol or not BUY <= trade.taker_side <= SELL:
        raise AssertionError(f"{name} was to {trade.taker_side} in {trade.symbol}")
    if trade.price < 1 or trade.quantity < 1 or trade.notional != trade.price * trade.quantity * market.tick_value:
        raise AssertionError(f"{name} was of {trade.quantity} lots at {trade.price} for {trade.notional}")
    if not 0 <= trade.taker_fee <= trade.notional or not -trade.taker_fee <= trade.maker_fee <= trade.notional:
        raise AssertionError(f"{name} cost its maker {trade.maker_fee} and its taker {trade.taker_fee}")
    orders = {trade.maker_order_id, trade.taker_order_id}
    if len(orders) != 2 or not 0 < min(orders) <= max(orders) <= last_order_id:
        raise AssertionError(f"{name} was of the orders {orders}")


def _check_candles(market: LiveMarket, trades: list[TradeImage]) -> None:
    symbol = market.definition.symbol
    market.candles.check()
    again = Candles()
    for trade in trades:
        again.add(trade.trade.price, trade.trade.quantity, trade.trade.notional, trade.time_ns)
    made, minutes = again.of(MINUTE_NS), market.candles.of(MINUTE_NS)
    ends = [[(candle.open_ns, candle.close) for candle in candles[-1:]] for candles in (made, minutes)]
    if ends[0] != ends[1] or market.last_price != (made[-1].close if made else 0):
        raise AssertionError(f"the candles of {symbol} end with {ends[1]}, its trades with {ends[0]}")
    if len(trades) < market.last_trade_id:
        del made[0]  # a part of it may be forgotten
    if [candle.view() for candle in made] != [candle.view() for candle in minutes[len(minutes) - len(made) :]]:
        raise AssertionError(f"the candles of {symbol} are not made of its trades")
    counted = sum(candle.count for candle in minutes)
    if counted > market.last_trade_id or (counted < market.last_trade_id and len(minutes) <= CLOSED_CANDLES):
        raise AssertionError(f"{counted} trades are in the candles of {symbol}, there were {market.last_trade_id}")


def _check_account_trades(state: State, account: AccountState, remembered: dict[tuple[str, int], TradeImage]) -> None:
    trades = account.trades.all()
    _check_in_time(trades, state.last_time_ns)
    last: dict[str, int] = {}
    for trade in trades:
        symbol, number = trade.trade.symbol, trade.trade.trade_id
        if account.number not in (trade.trade.maker_account, trade.trade.taker_account):
            raise AssertionError(f"account {account.number} remembers trade {number} of others in {symbol}")
        if not last.get(symbol, 0) < number <= state.markets[symbol].last_trade_id:
            raise AssertionError(f"account {account.number} remembers trade {number} in {symbol} out of order")
        if remembered.get((symbol, number), trade) != trade:
            raise AssertionError(f"account {account.number} remembers trade {number} in {symbol} otherwise")
        last[symbol] = number


def check_accounts(accounts: Collection[AccountState], orders: Collection[Order], last_order_id: int) -> None:
    """What is remembered of each account agrees with its open orders, and keeps its bounds."""
    live: dict[int, dict[str, int]] = {}
    ids = {order.order_id for order in orders}
    for account in accounts:
        if account.number != account.definition.account:
            raise AssertionError(f"account {account.number} is defined as {account.definition.account}")
        live[account.number] = {}
    for order in orders:
        mine = live[order.trader.account.number]
        if order.client_order_id in mine:
            raise AssertionError(f"two open orders are called {order.client_order_id}")
        mine[order.client_order_id] = order.order_id
    for account in accounts:
        account.client_order_ids.check(live[account.number])
        views = account.finished_orders.all()
        if len({view.order_id for view in views}) != len(views):
            raise AssertionError(f"account {account.number} remembers that an order finished twice")
        for view in views:
            if view.account != account.number or not 0 < view.order_id <= last_order_id or view.order_id in ids:
                raise AssertionError(f"account {account.number} remembers order {view.order_id} of {view.account}")

"""What must be true of the engine's state at all times, checked by looking at everything.

Called by tests after every step, by a load, and by whoever doubts. Each rule raises AssertionError with what it found.
"""

from collections.abc import Collection, Iterable

from book.accounts import AccountState
from book.deposits import Deposits
from book.ledger import Ledger
from book.live_market import LiveMarket
from book.order_book import BookSide
from book.orders import Order
from book.state import State
from book.terms import BUY, GTC, LIMIT, MAX_INT, NEW, PARTIALLY_FILLED, SELL


def check_state(state: State) -> None:
    """Everything. Raises AssertionError."""
    check_ledger(state.ledger, state.deposits, state.orders.values(), state.markets)
    open_orders = 0
    for market in state.markets.values():
        check_market(market, state.orders, state.last_order_id)
        open_orders += sum(len(trader.open_orders) for trader in market.traders.values())
    if open_orders != len(state.orders):
        raise AssertionError(f"{len(state.orders)} orders are known, {open_orders} are open")
    check_accounts(state.accounts.values(), state.orders.values(), state.last_order_id)


def check_ledger(ledger: Ledger, deposits: Deposits, orders: Iterable[Order], markets: dict[str, LiveMarket]) -> None:
    """Nothing was created or destroyed, and what is held is held by open orders."""
    ledger.check()
    credited = dict.fromkeys(ledger.totals(), 0)
    for deposit in deposits.all():
        credited[deposit.asset] += deposit.amount
    if credited != ledger.totals():
        raise AssertionError(f"deposits of {credited} make totals of {ledger.totals()}")
    held: dict[tuple[int, str], int] = {}
    for order in orders:
        market = markets[order.trader.symbol]
        asset = market.quote.name if order.side == BUY else market.base.name
        holder = (order.trader.account.number, asset)
        held[holder] = held.get(holder, 0) + order.held
    for account, asset, _, amount in ledger.rows():
        if amount != held.pop((account, asset), 0):
            raise AssertionError(f"account {account} holds {amount} {asset}, which is not what its orders hold")
    if any(held.values()):
        raise AssertionError(f"orders hold what no account does: {held}")


def check_market(market: LiveMarket, orders: dict[int, Order], last_order_id: int) -> None:
    """The book holds together, and holds exactly the open orders of the market's traders."""
    market.book.check()
    resting = _resting(market.book.bids, BUY) + _resting(market.book.asks, SELL)
    for order in resting:
        _check_resting(market, order)
        if orders.get(order.order_id) is not order:
            raise AssertionError(f"order {order.order_id} rests but is not open")
        if not 0 < order.order_id <= last_order_id:
            raise AssertionError(f"order {order.order_id} rests, but the last id given was {last_order_id}")
        if order.trader.open_orders.get(order.order_id) is not order:
            raise AssertionError(f"order {order.order_id} rests but is not its trader's")
    opened = 0
    for number, trader in market.traders.items():
        if trader.account.number != number or trader.symbol != market.definition.symbol:
            raise AssertionError(f"account {number} trades as {trader.account.number} in {trader.symbol}")
        if list(trader.open_orders) != sorted(trader.open_orders):
            raise AssertionError(f"the open orders of account {number} are not in order")
        opened += len(trader.open_orders)
    if opened != len(resting):
        raise AssertionError(f"{opened} orders are open, {len(resting)} rest")


def _resting(side: BookSide, code: int) -> list[Order]:
    orders = [order for level in side.each_level() for order in level.orders()]
    for order in orders:
        if order.side != code:
            raise AssertionError(f"order {order.order_id} rests on the wrong side")
    return orders


def _check_resting(market: LiveMarket, order: Order) -> None:
    name = f"resting order {order.order_id}"
    if order.type != LIMIT or order.time_in_force != GTC:
        raise AssertionError(f"{name} is of a kind that never rests")
    if order.status != (PARTIALLY_FILLED if order.executed else NEW):
        raise AssertionError(f"{name} has status {order.status} with {order.executed} executed")
    if order.bound != order.price or order.unit_cost != order.price * market.tick_value:
        raise AssertionError(f"{name} is bound at {order.bound}, its price is {order.price}")
    if not order.held == market.need(order) <= MAX_INT:
        raise AssertionError(f"{name} holds {order.held} where it needs {market.need(order)}")
    if not 0 <= order.executed_quote <= MAX_INT or (order.executed == 0) != (order.executed_quote == 0):
        raise AssertionError(f"{name} executed {order.executed} lots for {order.executed_quote}")


def check_accounts(accounts: Collection[AccountState], orders: Iterable[Order], last_order_id: int) -> None:
    """What is remembered of each account agrees with its open orders, and keeps its bounds."""
    live: dict[int, dict[str, int]] = {}
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
        views = account.finished_orders.views()
        if len({view.order_id for view in views}) != len(views):
            raise AssertionError(f"account {account.number} remembers that an order finished twice")
        for view in views:
            if view.account != account.number or not 0 < view.order_id <= last_order_id:
                raise AssertionError(f"account {account.number} remembers order {view.order_id} of {view.account}")

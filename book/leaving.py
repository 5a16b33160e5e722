"""How orders leave without anybody asking for each: by time, with their session, or all at once.

What falls due is worked off by ticks, in the order of its time. Orders that leave together leave oldest first.
"""

from collections.abc import Iterable
from typing import Final

from book import codes
from book.accounts import AccountState
from book.effects import Effects
from book.events import CancelAllAfterSet, Rejected, SessionArmed, SessionLost
from book.orders import Order, order_id_of
from book.refusals import declined
from book.state import State
from book.terms import CANCELED, EXPIRED, MAX_INT, NS_PER_MS, TRADING
from book.timers import CANCEL_ALL, EXPIRY
from book.trading import let_triggered_enter

MAX_TIMEOUT_MS: Final = 86_400_000  # a day
MAX_ARMED_SESSIONS: Final = 1_000_000


def work_off_due(state: State, effects: Effects) -> None:
    """Let happen what is due by now."""
    markets = list(state.markets.values())
    while (timer := state.timers.take(effects.time_ns)) is not None:
        kind, number = timer
        if kind == EXPIRY:
            order = state.orders[number]
            order.trader.market.cancel(order, EXPIRED, effects)
        elif kind == CANCEL_ALL:
            account = state.accounts[number]
            account.cancel_all_due_ns = 0
            effects.events.append(CancelAllAfterSet(number, 0))
            cancel(state.open_orders(account), effects)
        else:
            markets[number].set_state(TRADING, effects)
            let_triggered_enter(markets[number], effects)


def cancel(orders: Iterable[Order], effects: Effects) -> None:
    """Cancel these open orders."""
    for order in orders:
        order.trader.market.cancel(order, CANCELED, effects)


def clear_market(state: State, symbol: str, effects: Effects) -> Rejected | None:
    """Cancel every open order of a market."""
    market = state.markets.get(symbol)
    if market is None:
        return declined("UNKNOWN_SYMBOL", "symbol")
    orders = [order for trader in market.traders.values() for order in trader.open_orders.values()]
    cancel(sorted(orders, key=order_id_of), effects)
    return None


def set_cancel_all_after(state: State, account: AccountState, timeout_ms: int, effects: Effects) -> Rejected | None:
    """Set, set anew or (0) disarm an account's dead man's switch."""
    if not 0 <= timeout_ms <= MAX_TIMEOUT_MS:
        return Rejected(codes.INVALID_PARAMETER, "", "timeout_ms", timeout_ms, MAX_TIMEOUT_MS)
    due_ns = min(effects.time_ns + timeout_ms * NS_PER_MS, MAX_INT) if timeout_ms else 0
    account.cancel_all_due_ns = due_ns
    if due_ns:
        state.timers.set(CANCEL_ALL, account.number, due_ns)
    else:
        state.timers.clear(CANCEL_ALL, account.number)
    effects.events.append(CancelAllAfterSet(account.number, due_ns))
    return None


def arm_session(state: State, account: AccountState, session: int, effects: Effects) -> Rejected | None:
    """Let the session's orders end with it."""
    if session == 0:
        return Rejected(codes.INVALID_PARAMETER, "", "session", session, MAX_INT)
    owner = state.armed_sessions.get(session)
    if owner is not None and owner is not account:
        return Rejected(codes.INVALID_PARAMETER, "SESSION_TAKEN", "session", session)
    if owner is None and len(state.armed_sessions) >= MAX_ARMED_SESSIONS:
        return Rejected(codes.INVALID_PARAMETER, "TOO_MANY", "session", session, MAX_ARMED_SESSIONS)
    state.armed_sessions[session] = account
    effects.events.append(SessionArmed(session, account.number))
    return None


def lose_session(state: State, session: int, effects: Effects) -> Rejected | None:
    """A session is gone, and if it was armed its orders go with it."""
    account = state.armed_sessions.pop(session, None)
    if account is None:
        return Rejected(codes.CANCEL_REJECTED, "UNKNOWN_SESSION", "session", session)
    effects.events.append(SessionLost(session, account.number))
    cancel([order for order in state.open_orders(account) if order.session == session], effects)
    return None


def lose_all_sessions(state: State, effects: Effects) -> None:
    """All armed sessions are gone: what losing one after the other does, with one look at the open orders for all."""
    armed = dict(state.armed_sessions)
    placed: dict[int, list[Order]] = {session: [] for session in armed}
    for order in sorted(state.orders.values(), key=order_id_of):
        if armed.get(order.session) is order.trader.account:
            placed[order.session].append(order)
    state.armed_sessions.clear()
    for session, account in armed.items():
        effects.events.append(SessionLost(session, account.number))
        cancel(placed[session], effects)
    # A process numbers its sessions from 1 again: what is left must not end with a new one of an old number.
    for order in state.orders.values():
        order.session = 0

"""What falls due in the reference engine by time alone, and what ends with a session.

Comments that begin with > are sentences of the design, the lines below follow them.
"""

from collections.abc import Iterable, Iterator

from book import codes, terms
from book.commands import ArmSession, CancelAllAfter, LoseSession
from book.definitions import Market
from book.events import CancelAllAfterSet, Event, MarketStateChanged, OrderClosed, SessionArmed, SessionLost
from book.reference_judging import judge_sender
from book.reference_orders import Order
from book.reference_rules import demand
from book.reference_state import State
from book.reference_trading import close, later, price_band, work_off
from book.terms import MAX_INT

# What is due, and when: (time, kind, number of the order, the account or the market among the markets).
Due = tuple[int, int, int]
ORDER_EXPIRES, CANCEL_ALL, HALT_ENDS = range(3)


def due(state: State) -> list[Due]:
    """All that will be, in the order in which it is worked off."""
    # > in the order of its times; of one time first the orders that expire (by order id), then the accounts whose
    # > `cancelAllAfter` runs out (by account), then the markets that end their halt (in the order of definition)
    orders = [(order.expire_time * 10**6, ORDER_EXPIRES, order.order_id) for order in state.open if order.expire_time]
    accounts = [(due_ns, CANCEL_ALL, account) for account, due_ns in state.cancel_all_due.items()]
    untils = [state.market_state(market).until_ns for market in state.markets]
    halts = [(until_ns, HALT_ENDS, number) for number, until_ns in enumerate(untils) if until_ns]
    return sorted(orders + accounts + halts)


def tick(state: State, time_ns: int) -> Iterator[Event]:
    """Let fall due what is due by now."""
    while (dues := due(state)) and dues[0][0] <= time_ns:
        _, kind, number = dues[0]
        if kind == ORDER_EXPIRES:
            # > A GTD order expires at `expire_time`, in any state of the market.
            yield from end([order for order in state.open if order.order_id == number], terms.EXPIRED, state, time_ns)
        elif kind == CANCEL_ALL:
            # > `cancelAllAfter` cancels all open orders of the account unless it is set again before.
            del state.cancel_all_due[number]
            yield CancelAllAfterSet(number, 0)
            yield from end(state.open_orders(number), terms.CANCELED, state, time_ns)
        else:
            # > A market that its band halted trades again after the set time.
            yield from set_market_state(state, state.markets[number], terms.TRADING, time_ns)


def set_market_state(state: State, market: Market, market_state: int, time_ns: int) -> Iterator[Event]:
    """For as long as nobody sets another one. When it trades again, those enter that were triggered."""
    band = price_band(state, market)
    event = MarketStateChanged(market.symbol, market_state, 0)
    state.market_states[market.symbol] = event
    yield event
    yield from work_off(state, market, band, time_ns)


def end(orders: Iterable[Order], status: int, state: State, time_ns: int) -> Iterator[OrderClosed]:
    """Close these, in their order."""
    for order in orders:
        yield close(state, order, status, time_ns)


def cancel_all_after(state: State, command: CancelAllAfter, time_ns: int) -> Iterator[Event]:
    """Arm the account's dead man's switch, or disarm it."""
    judge_sender(state, command, time_ns)
    # > 0 disarms it. It may be up to a day.
    timeout_ms, day_ms = command.timeout_ms, 86_400_000
    demand(0 <= timeout_ms <= day_ms, codes.INVALID_PARAMETER, "", "timeout_ms", timeout_ms, day_ms)
    state.cancel_all_due.pop(command.account, None)
    due_ns = later(time_ns, timeout_ms) if timeout_ms else 0
    if due_ns:
        state.cancel_all_due[command.account] = due_ns
    yield CancelAllAfterSet(command.account, due_ns)


def arm_session(state: State, command: ArmSession, time_ns: int) -> Iterator[Event]:
    """Bind the orders that a session places to it."""
    judge_sender(state, command, time_ns)
    session, wrong = command.session, codes.INVALID_PARAMETER
    demand(session >= 1, wrong, "", "session", session, MAX_INT)
    free = state.sessions.get(session, command.account) == command.account
    demand(free, wrong, "SESSION_TAKEN", "session", session)
    most = 1_000_000
    demand(session in state.sessions or len(state.sessions) < most, wrong, "TOO_MANY", "session", session, most)
    state.sessions[session] = command.account
    yield SessionArmed(session, command.account)


def lose_session(state: State, command: LoseSession, time_ns: int) -> Iterator[Event]:
    """End the orders that an armed session placed."""
    session = command.session
    demand(session in state.sessions, codes.CANCEL_REJECTED, "UNKNOWN_SESSION", "session", session)
    # > A session that is armed has its orders cancelled when it is lost.
    account = state.sessions.pop(session)
    yield SessionLost(session, account)
    placed = [order for order in state.open_orders(account) if order.session == session]
    yield from end(placed, terms.CANCELED, state, time_ns)


def lose_all_sessions(state: State, time_ns: int) -> Iterator[Event]:
    """End the orders of all armed sessions."""
    # > When a process starts, all sessions of the one before are lost.
    for session in list(state.sessions):
        yield from lose_session(state, LoseSession(session), time_ns)
    # > The orders that are left belong to no session any more.
    for order in state.open:
        order.session = 0
    # > The orders that are left belong to no session any more.
    for order in state.open:
        order.session = 0

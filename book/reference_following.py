"""What those who follow an account or a market are told by the reference engine.

Comments that begin with > are sentences of the design, the lines below follow them.
"""

from collections.abc import Iterable

from book import terms
from book.events import (
    Adjusted,
    Credited,
    Event,
    OrderAccepted,
    OrderAmended,
    OrderClosed,
    OrderReduced,
    OrderTriggered,
    Trade,
    WithdrawalHeld,
    WithdrawalReleased,
    WithdrawalSettled,
)
from book.reference_state import State


def count_told(state: State, events: Iterable[Event]) -> None:
    """Count, account by account, what one command tells their owners."""
    concerned = []
    for event in events:
        # > one for each event of the engine that tells of the account (twice if it is on both sides of a trade)
        if isinstance(event, Trade):
            told = [event.maker_account, event.taker_account]
        elif isinstance(event, OrderAccepted | OrderAmended | OrderTriggered | OrderReduced | OrderClosed):
            # > except that an order ended as filled, which its last trade says
            filled = isinstance(event, OrderClosed) and event.order.status == terms.FILLED
            told = [] if filled else [event.order.account]
        elif isinstance(event, Credited):
            told = [event.account]
        elif isinstance(event, WithdrawalHeld | WithdrawalSettled | WithdrawalReleased):
            told = [event.withdrawal.account]
        else:
            told = []
        state.user_seqs.update(told)
        concerned += told
        if isinstance(event, Adjusted):
            concerned.append(event.account)
    # > and behind those of each command one more, for the balances
    state.user_seqs.update(set(concerned))


def difference(before: list[tuple[int, int]], now: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """What stands otherwise at each price, lowest first; 0 where nothing stands any more."""
    then, here = dict(before), dict(now)
    prices = sorted(then.keys() | here.keys())
    return [(price, here.get(price, 0)) for price in prices if then.get(price, 0) != here.get(price, 0)]

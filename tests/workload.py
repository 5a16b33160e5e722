"""The load engines are compared by: exchange-core's published mix of commands, for one market.

A book is filled to its target and kept there, while its orders crawl towards the last price: about 12 % new orders, 2 %
that trade at once, 7 % cancels, 7 % reductions, 71 % moves. What comes next depends on the book, so the generator
watches the events: ask for an action, apply its commands, and tell `heard` what came of each, until the next action.
"""

from collections import Counter
from itertools import islice
from random import Random
from typing import Final

from attrs import define

from book.commands import CancelOrder, Command, CreditDeposit, DefineAccount, DefineAsset, DefineMarket, PlaceOrder
from book.definitions import Account, Asset, Market
from book.events import Event, OrderAccepted, OrderClosed, OrderReduced, Trade
from book.terms import BUY, EXPIRE_TAKER, FOK, GTC, IOC, LIMIT, SELL

MAX_DEVIATION: Final = 10_000  # ticks
CHOSEN_AMONG: Final = 512  # of the oldest live orders
CRAWL: Final = 100  # a move covers one part in so many of the way to the last price


@define
class _Live:
    """What the generator knows of an open order."""

    account: int
    side: int
    price: int
    open: int


class Mix:
    """The mix of one market, the same for the same `Random`. `target` is how many orders are to rest on both sides."""

    def __init__(self, random: Random, market: Market, accounts: range, target: int = 1_000) -> None:
        self.actions: Counter[str] = Counter()
        self.last_price = int(10 ** (3.3 + 1.5 * random.random() + 1.5 * random.random()))
        self._random = random
        self._symbol = market.symbol
        self._accounts = accounts
        self._target = target
        self._deviation = min(int(0.05 * self.last_price), MAX_DEVIATION)
        self._lowest = max(1, self.last_price - 5 * self._deviation)
        self._highest = self.last_price + 5 * self._deviation
        self._live: dict[int, _Live] = {}  # by order id, oldest first
        self._resting = {BUY: 0, SELL: 0}
        self._filled = False

    def action(self) -> list[Command]:
        """The commands of the next action."""
        random = self._random
        side = random.choice((BUY, SELL))
        lack = self._target // 2 - self._resting[side]
        self._filled = self._filled or lack <= 0
        far = not self._filled or lack > self._target * 3 // 8
        draw = random.randrange((2 if far else 10) if lack > 0 else 40)
        if draw < 2 or not self._live:
            return self._new_order(side) if lack > 0 else self._instant_order(side)
        order_id, live = next(islice(self._live.items(), random.randrange(min(len(self._live), CHOSEN_AMONG)), None))
        if draw == 2:
            return self._cancel(order_id, live)
        if draw == 3:
            return self._reduce(order_id, live)
        return self._move(order_id, live)

    def heard(self, events: list[Event]) -> None:
        """What came of a command that was accepted."""
        for event in events:
            if isinstance(event, OrderAccepted):
                order = event.order
                self._live[order.order_id] = _Live(order.account, order.side, order.price, order.quantity)
                self._resting[order.side] += 1
            elif isinstance(event, Trade):
                self.last_price = event.price
                self._live[event.maker_order_id].open -= event.quantity
                self._live[event.taker_order_id].open -= event.quantity
            elif isinstance(event, OrderReduced):
                self._live[event.order_id].open -= event.quantity
            elif isinstance(event, OrderClosed):
                self._resting[self._live.pop(event.order.order_id).side] -= 1

    def _new_order(self, side: int) -> list[Command]:
        self.actions["GTC"] += 1
        random = self._random
        deviation = 1 + int(random.random() ** 2 * self._deviation)
        away = sum(random.randrange(deviation) for _ in range(4)) // 4 * 2 - deviation
        passive = -abs(away) if side == BUY else abs(away)
        return [self._order(self._account(), side, GTC, self.last_price + passive, self._size())]

    def _instant_order(self, side: int) -> list[Command]:
        in_force = FOK if self._random.randrange(32) == 0 else IOC
        self.actions["FOK" if in_force == FOK else "IOC"] += 1
        price = self._highest if side == BUY else self._lowest
        return [self._order(self._account(), side, in_force, price, self._size())]

    def _cancel(self, order_id: int, live: _Live) -> list[Command]:
        self.actions["CANCEL"] += 1
        return [CancelOrder(live.account, 0, 0, self._symbol, order_id)]

    # There is no command yet that changes an order, so a client cancels it and places another.

    def _reduce(self, order_id: int, live: _Live) -> list[Command]:
        self.actions["REDUCE"] += 1
        left = live.open - self._random.randint(1, live.open)
        cancel: Command = CancelOrder(live.account, 0, 0, self._symbol, order_id)
        return [cancel, self._order(live.account, live.side, GTC, live.price, left)] if left else [cancel]

    def _move(self, order_id: int, live: _Live) -> list[Command]:
        self.actions["MOVE"] += 1
        way = self.last_price - live.price
        step = -(-way // CRAWL) if way > 0 else way // CRAWL
        price = live.price + (step or self._random.choice((-1, 1)))
        cancel = CancelOrder(live.account, 0, 0, self._symbol, order_id)
        return [cancel, self._order(live.account, live.side, GTC, price, live.open)]

    def _order(self, account: int, side: int, in_force: int, price: int, quantity: int) -> Command:
        within = min(max(price, self._lowest), self._highest)
        return PlaceOrder(account, 0, 0, self._symbol, side, LIMIT, in_force, quantity, within)

    def _account(self) -> int:
        return self._random.choice(self._accounts)

    def _size(self) -> int:
        random = self._random
        return 1 + random.randrange(6) * random.randrange(6) * random.randrange(6)


MIX_MARKET: Final = Market(
    symbol="BTC-USDT",
    base="BTC",
    quote="USDT",
    tick=1,
    tick_scale=2,
    lot=10_000,
    min_quantity=1,
    max_quantity=1_000_000,
    min_notional=0,
    max_open_orders=10_000,
    maker_fee=1_000,
    taker_fee=2_000,
    collar=100_000,
    self_trade=EXPIRE_TAKER,
)


def opening(accounts: range) -> list[Command]:
    """What defines `MIX_MARKET` and funds its accounts so well that they never run dry."""
    commands: list[Command] = [DefineAsset(Asset("BTC", 8)), DefineAsset(Asset("USDT", 6)), DefineMarket(MIX_MARKET)]
    for account in accounts:
        commands.append(DefineAccount(Account(account, f"account-{account}")))
        commands += [CreditDeposit(f"start|{account}|{asset}", account, asset, 10**14) for asset in ("BTC", "USDT")]
    return commands

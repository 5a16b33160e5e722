"""The load that engines are measured and compared by: exchange-core's published mix of commands.

A book is filled to its target and kept there, while its orders crawl towards the last price: about 12 % new orders, 2 %
that trade at once, 7 % cancels, 7 % reductions, 71 % moves. What comes next depends on the book, so the generator
watches the events: ask for a command, apply it, and tell `heard` what came of it before asking again. Accounts
that are as rich as `opening` makes them have nothing refused but FOK orders.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations, islice
from random import Random
from typing import Final

from attrs import define

from book.commands import AmendOrder, CancelOrder, CreditDeposit, DefineAccount, DefineAsset, DefineMarket, PlaceOrder
from book.definitions import Account, Asset, Market
from book.events import Event, OrderAccepted, OrderAmended, OrderClosed, OrderReduced, Trade
from book.terms import BUY, EXPIRE_TAKER, FOK, GTC, IOC, LIMIT, SELL

MAX_DEVIATION: Final = 10_000  # ticks
CHOSEN_AMONG: Final = 512  # of the oldest live orders
CRAWL: Final = 100  # a move covers one part in so many of the way to the last price

FUNDS: Final = 10**13  # engine units of each asset for each account; 100,000 times that still fits 64 bits

MixCommand = PlaceOrder | CancelOrder | AmendOrder


@define
class _Live:
    """What the generator knows of an open order."""

    account: int
    price: int
    open: int
    executed: int
    side: int


class Mix:
    """The mix of one market, the same for the same `Random`. `target` is how many orders are to rest on both sides."""

    def __init__(self, random: Random, market: Market, accounts: Sequence[int], target: int = 1_000) -> None:
        self.actions: Counter[str] = Counter()  # all that it made commands for
        self.filled = False  # whether the book has ever been as full as it is to be kept
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
        self._named = 0  # orders, with a name of the client's

    def command(self) -> MixCommand:
        """The next command."""
        random = self._random
        side = random.choice((BUY, SELL))
        lack = self._target // 2 - self._resting[side]
        self.filled = self.filled or lack <= 0
        far = not self.filled or lack > self._target * 3 // 8
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
                self._live[order.order_id] = _Live(order.account, order.price, order.quantity, 0, order.side)
                self._resting[order.side] += 1
            elif isinstance(event, Trade):
                self.last_price = event.price
                for order_id in (event.maker_order_id, event.taker_order_id):
                    self._live[order_id].open -= event.quantity
                    self._live[order_id].executed += event.quantity
            elif isinstance(event, OrderAmended):
                order = event.order
                self._live[order.order_id].price = order.price
                self._live[order.order_id].open = order.quantity - order.executed
            elif isinstance(event, OrderReduced):
                self._live[event.order_id].open -= event.quantity
            elif isinstance(event, OrderClosed):
                self._resting[self._live.pop(event.order.order_id).side] -= 1

    def _new_order(self, side: int) -> PlaceOrder:
        self.actions["GTC"] += 1
        random = self._random
        deviation = 1 + int(random.random() ** 2 * self._deviation)
        away = sum(random.randrange(deviation) for _ in range(4)) // 4 * 2 - deviation
        passive = -abs(away) if side == BUY else abs(away)
        return self._order(side, GTC, self._within(self.last_price + passive))

    def _instant_order(self, side: int) -> PlaceOrder:
        in_force = FOK if self._random.randrange(32) == 0 else IOC
        self.actions["FOK" if in_force == FOK else "IOC"] += 1
        return self._order(side, in_force, self._highest if side == BUY else self._lowest)

    def _cancel(self, order_id: int, live: _Live) -> CancelOrder:
        self.actions["CANCEL"] += 1
        return CancelOrder(live.account, 0, 0, self._symbol, order_id)

    def _reduce(self, order_id: int, live: _Live) -> MixCommand:
        self.actions["REDUCE"] += 1
        left = live.open - self._random.randint(1, live.open)
        if left == 0:
            return CancelOrder(live.account, 0, 0, self._symbol, order_id)
        return AmendOrder(live.account, 0, 0, self._symbol, order_id, new_quantity=live.executed + left)

    def _move(self, order_id: int, live: _Live) -> AmendOrder:
        self.actions["MOVE"] += 1
        way = self.last_price - live.price
        step = -(-way // CRAWL) if way > 0 else way // CRAWL
        price = self._within(live.price + (step or self._random.choice((-1, 1))))
        return AmendOrder(live.account, 0, 0, self._symbol, order_id, new_price=price)

    def _order(self, side: int, in_force: int, price: int) -> PlaceOrder:
        random = self._random
        account = random.choice(self._accounts)
        quantity = 1 + random.randrange(6) * random.randrange(6) * random.randrange(6)
        self._named += 1
        name = f"{self._symbol}-{self._named}"
        return PlaceOrder(account, 0, 0, self._symbol, side, LIMIT, in_force, quantity, price, client_order_id=name)

    def _within(self, price: int) -> int:
        return min(max(price, self._lowest), self._highest)


class Mixes:
    """The mix of many markets: each command is for any one of them, all equally likely."""

    def __init__(self, random: Random, markets: Sequence[Market], accounts: Sequence[int], target: int = 1_000) -> None:
        self._random = random
        self._mixes = [Mix(random, market, accounts, target) for market in markets]
        self._asked = self._mixes[0]

    @property
    def actions(self) -> Counter[str]:
        """What was asked for, and how often."""
        return sum((mix.actions for mix in self._mixes), Counter[str]())

    @property
    def filled(self) -> bool:
        """Whether all books have been full."""
        return all(mix.filled for mix in self._mixes)

    def command(self) -> MixCommand:
        """The next command."""
        self._asked = self._random.choice(self._mixes)
        return self._asked.command()

    def heard(self, events: list[Event]) -> None:
        """What came of it."""
        self._asked.heard(events)


def markets(count: int) -> list[Market]:
    """So many markets between as few assets as can be: 105 need 15. A lot costs one unit at one tick."""
    assets = 2
    while assets * (assets - 1) // 2 < count:
        assets += 1
    pairs = combinations([f"A{number}" for number in range(assets)], 2)
    return [
        Market(
            symbol=f"{base}-{quote}",
            base=base,
            quote=quote,
            tick=1,
            tick_scale=2,
            lot=100,
            min_quantity=1,
            max_quantity=1_000_000,
            min_notional=0,
            max_open_orders=1_000_000,
            maker_fee=1_000,
            taker_fee=2_000,
            collar=100_000,
            self_trade=EXPIRE_TAKER,
        )
        for base, quote in islice(pairs, count)
    ]


def opening(
    markets: Sequence[Market], accounts: Sequence[int]
) -> list[DefineAsset | DefineMarket | DefineAccount | CreditDeposit]:
    """What defines these markets and funds these accounts so well that they never run dry."""
    assets = sorted({asset for market in markets for asset in (market.base, market.quote)})
    commands: list[DefineAsset | DefineMarket | DefineAccount | CreditDeposit] = []
    commands += [DefineAsset(Asset(asset, 6)) for asset in assets]
    commands += [DefineMarket(market) for market in markets]
    for account in accounts:
        commands.append(DefineAccount(Account(account, f"account-{account}")))
        commands += [CreditDeposit(f"start|{account}|{asset}", account, asset, FUNDS) for asset in assets]
    return commands

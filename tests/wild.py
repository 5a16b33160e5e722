"""Commands nobody in his right mind sends, between those that somebody would.

The markets are chosen so that every bound is near: coarse and fine grids, fees of nothing and of the whole, rebates,
tight filters, an asset of which there is as much as 64 bits hold. The commands make sense more often than not; then one
of their fields goes wild.
"""

from random import Random
from typing import Final, cast, get_args

import msgspec
from attrs import frozen

from book.commands import (
    CancelAll,
    CancelOrder,
    Command,
    CreditDeposit,
    DefineAccount,
    DefineAsset,
    DefineKey,
    DefineMarket,
    Definition,
    PlaceOrder,
    Tick,
)
from book.definitions import Account, Asset, Key, Market
from book.events import Event, OrderAccepted, OrderClosed
from book.queries import Balances, Depth, Directory, Info, Logon, OpenOrders, OrderStatus, Query
from book.terms import BUY, DECREMENT, EXPIRE_BOTH, EXPIRE_TAKER, FOK, GTC, IOC, LIMIT, MARKET, MAX_INT, NONE, SELL

NUMBERS: Final = [0, 1, -1, 2, 7, 10**9, 2**31, MAX_INT, MAX_INT - 1, 2**63, -(2**63), 2**64, 10**30, -(10**30)]
TEXTS: Final = [
    *("", " ", "a", "auto-1", "auto-2", "house", "é", "\ud800", "\x00", "\u0661", "c 1", "c1\n"),
    *("x" * 16, "x" * 17, "X" * 36, "X" * 37, "x" * 64, "x" * 65, "x" * 200, "x" * 201, "x" * 10_000),
    *("BTC", "USDT", "ONE", "BTC-USDT", "ETH-USDT", "btc-usdt", "0f" * 32, "0F" * 32),
]
OTHER_TYPES: Final[list[object]] = [None, True, 0, 1.0, "", b"", [], 10**30]
SEVERAL_YEARS_MS: Final = 10**11

ACCOUNTS: Final = range(1, 6)
ASSETS: Final = [Asset("BTC", 8), Asset("USDT", 6), Asset("ONE", 0), Asset("GWEI", 9), Asset("ALL", 9)]
FUNDS: Final = {"BTC": 10**12, "USDT": 10**6, "ONE": 5_000, "GWEI": 10**18, "ALL": 10**18}


@frozen
class Pit:
    """A market, and where in it the trading is. Prices are `middle` give or take `spread`."""

    market: Market
    tick_value: int
    middle: int
    spread: int
    most: int  # lots that sensible orders go up to


PITS: Final = [
    # A lot at a tick is one unit: fees are small, and rounding is most of them. Every filter is near.
    Pit(
        Market("BTC-USDT", "BTC", "USDT", 1, 2, 10_000, 1, 60, 150, 3, 1_000, 2_000, 100_000, EXPIRE_TAKER),
        *(1, 100, 8, 70),
    ),
    # Rebates, and a lot that is a unit of the base.
    Pit(
        Market("ONE-USDT", "ONE", "USDT", 7, 6, 1, 1, MAX_INT, 0, 40, -1_999, 2_000, 500_000, DECREMENT),
        *(7, 1_000, 30, 12),
    ),
    # A tick worth so much that some thousand lots overflow; the whole is taken as a fee and given as a rebate.
    Pit(
        Market("ONE-GWEI", "ONE", "GWEI", 10**6, 0, 1, 1, MAX_INT, 10**15, 40, -1_000_000, 1_000_000, 1_000_000, NONE),
        *(10**15, 5, 4, 20),
    ),
    # Prices at the far end of 64 bits; a maker pays more than a taker; a market order may not leave the best price.
    Pit(
        Market("BTC-GWEI", "BTC", "GWEI", 1, 9, 10**8, 1, 10**9, 1, 40, 999_999, 333_333, 0, EXPIRE_BOTH),
        *(1, 10**15, 3 * 10**13, 30),
    ),
    # No fees; of what is sold there is as much as can be.
    Pit(
        Market("ALL-USDT", "ALL", "USDT", 1, 6, 10**9, 1, MAX_INT // 10**9, 0, 40, 0, 0, 1, EXPIRE_TAKER),
        *(1, 4, 3, 20_000),
    ),
]


def opening() -> list[Command]:
    """What sets all this up: four accounts that own something, one that owns nothing, keys good and not so good."""
    commands: list[Command] = [DefineAsset(asset) for asset in ASSETS]
    commands += [DefineMarket(pit.market) for pit in PITS]
    for account in ACCOUNTS:
        commands.append(DefineAccount(Account(account, f"account-{account}")))
        commands.append(DefineKey(_key(account, account, 7 if account % 2 else 2)))
        if account < ACCOUNTS[-1]:
            commands += [CreditDeposit(f"start|{account}|{name}", account, name, FUNDS[name]) for name in FUNDS]
    commands.append(DefineKey(_key(9, 1, 5)))
    commands.append(CreditDeposit("start|all", 1, "ALL", MAX_INT - 4 * FUNDS["ALL"] - 10**17))
    return commands


class Wild:
    """An endless stream, the same for the same `Random`. `now_ms` is the time the next command will be applied at."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._live: dict[int, CancelOrder] = {}  # what would cancel it, by order id
        self._last_order_id = 0
        self._defined = 0

    def heard(self, events: list[Event]) -> None:
        """What came of a command that was accepted."""
        for event in events:
            if isinstance(event, OrderAccepted):
                order = event.order
                cancel = CancelOrder(order.account, 0, 0, order.symbol, order.order_id, order.client_order_id)
                self._live[order.order_id] = cancel
                self._last_order_id = order.order_id
            elif isinstance(event, OrderClosed):
                del self._live[event.order.order_id]

    def command(self, now_ms: int) -> Command:
        """The next command: sensible, or with a field or two gone wild."""
        random = self._random
        make = random.choices(
            (self._order, self._cancel, self._cancel_all, self._deposit, self._definition, Tick),
            (70, 12, 1, 6, 10, 1),
        )[0]
        command: Command = make()
        if isinstance(command, PlaceOrder | CancelOrder | CancelAll) and random.random() < 0.1:
            command = self._signed(command, now_ms)
        wildness = 0.5 if isinstance(command, Definition) else 0.1
        while random.random() < wildness:
            command = self._gone_wild(command)
        return command

    def wrong_type(self) -> Command:
        """A command with something in it that is of another type than it must be."""
        random = self._random
        command = random.choice(
            (self._order(), self._cancel(), self._cancel_all(), self._deposit(), self._definition())
        )
        field = random.choice(command.__struct_fields__)
        kind = type(getattr(command, field))
        return msgspec.structs.replace(
            command, **{field: random.choice([x for x in OTHER_TYPES if type(x) is not kind])}
        )

    def question(self) -> Query:
        """Any query, many of them odd."""
        random = self._random
        account = random.choice((0, *ACCOUNTS, *NUMBERS))
        symbol = random.choice((*(pit.market.symbol for pit in PITS), *TEXTS))
        questions: list[Query] = [
            OrderStatus(account, symbol, self._order_id()),
            OrderStatus(account, symbol, self._number(), random.choice(TEXTS)),
            OrderStatus(account, symbol, 0, self._name()),
            OrderStatus(account, symbol, self._order_id(), self._name()),
            OpenOrders(account, symbol),
            Balances(account),
            Depth(symbol, self._number()),
            Logon(random.choice(("key-1", *TEXTS))),
            Directory(),
            Info(),
        ]
        return random.choice(questions)

    # --- Sensible commands --------------------------------------------------------------------------------------------

    def _order(self) -> PlaceOrder:
        random = self._random
        pit = random.choice(PITS)
        order = PlaceOrder(
            account=random.choice(ACCOUNTS),
            key=0,
            session=random.choice((0, 1, 7)),
            symbol=pit.market.symbol,
            side=random.choice((BUY, SELL)),
            type=LIMIT,
            time_in_force=random.choice((GTC, GTC, GTC, IOC, FOK)),
            quantity=random.randint(1, pit.most),
            price=pit.middle + random.randint(-pit.spread, pit.spread),
            post_only=random.random() < 0.1,
            client_order_id=self._name() if random.random() < 0.3 else "",
            self_trade=random.randrange(6),
        )
        kind = random.random()
        if kind < 0.2:
            order = msgspec.structs.replace(order, type=MARKET, price=0, time_in_force=IOC, post_only=False)
            if kind < 0.1:
                amount = self._near_a_bound(order.quantity * pit.middle * pit.tick_value, MAX_INT)
                return msgspec.structs.replace(order, side=BUY, quantity=0, quote_quantity=amount)
            most = MAX_INT // pit.tick_value // random.choice((1, pit.middle))
            return msgspec.structs.replace(order, quantity=self._near_a_bound(order.quantity, most))
        return self._at_a_bound(order, pit) if kind > 0.93 else order

    def _near_a_bound(self, sensible: int, most: int) -> int:
        """Up to a sensible amount, or at the end of 64 bits."""
        random = self._random
        return random.randint(1, sensible) if random.random() < 0.9 else most + random.choice((-1, 0, 1))

    def _at_a_bound(self, order: PlaceOrder, pit: Pit) -> PlaceOrder:
        """An order whose value is just within 64 bits, or just beyond."""
        random = self._random
        if random.random() < 0.5:
            dearest = MAX_INT // pit.tick_value
            price = random.choice((order.price, dearest))
            order = msgspec.structs.replace(order, price=price, quantity=MAX_INT // (price * pit.tick_value))
        else:
            order = msgspec.structs.replace(order, price=MAX_INT // (order.quantity * pit.tick_value))
        field = random.choice(("price", "quantity"))
        return msgspec.structs.replace(order, **{field: getattr(order, field) + random.choice((-1, 0, 1))})

    def _cancel(self) -> CancelOrder:
        random = self._random
        if self._live and random.random() < 0.6:
            cancel = self._live[random.choice(list(self._live))]
            without = random.choice(({}, {"order_id": 0}, {"client_order_id": ""}))
            return msgspec.structs.replace(cancel, **without)
        account, symbol = random.choice(ACCOUNTS), random.choice(PITS).market.symbol
        return CancelOrder(
            account, 0, 0, symbol, random.choice((0, self._order_id())), random.choice(("", self._name()))
        )

    def _cancel_all(self) -> CancelAll:
        random = self._random
        return CancelAll(random.choice(ACCOUNTS), 0, 0, random.choice(("", random.choice(PITS).market.symbol)))

    def _deposit(self) -> CreditDeposit:
        random = self._random
        asset = random.choice(ASSETS).name
        amount = random.choice((1, random.randint(1, FUNDS[asset] // 50), 10**17))
        return CreditDeposit(f"d|{random.randrange(60)}", random.choice((0, *ACCOUNTS)), asset, amount)

    def _definition(self) -> Command:
        """Something defined again, or a new thing made of an old one."""
        random = self._random
        if random.random() < 0.4:
            kind = random.choice(get_args(Definition))
            known = [command for command in opening() if type(command) is kind]
            return random.choice(known)
        self._defined += 1
        number = 100 + self._defined
        new_market = msgspec.structs.replace(random.choice(PITS).market, symbol=f"NEW-{number}")
        return random.choice(
            (
                DefineAsset(Asset(f"NEW{number}", random.randrange(10))),
                DefineMarket(new_market),
                DefineAccount(Account(number, f"account-{number}")),
                DefineKey(_key(number, random.choice(ACCOUNTS), random.randint(1, 7))),
            )
        )

    def _signed(self, command: PlaceOrder | CancelOrder | CancelAll, now_ms: int) -> Command:
        """By some key, at some time: on either edge of the window, or anywhere."""
        random = self._random
        window = random.choice((0, 1, 5_000, 60_000))
        away = random.choice((0, window, window + 1, -1_000, -1_001, random.randint(-2_000, 70_000), SEVERAL_YEARS_MS))
        key = random.choice((*[command.account] * 20, *ACCOUNTS, 9))
        return msgspec.structs.replace(command, key=key, timestamp=now_ms - away, recv_window=window)

    def _name(self) -> str:
        return f"c{self._random.randrange(40)}"

    def _order_id(self) -> int:
        """Of an order, most often a late one."""
        return max(1, self._last_order_id + 1 - int(self._random.expovariate(0.05)))

    # --- Wild ones ----------------------------------------------------------------------------------------------------

    def _gone_wild(self, command: Command) -> Command:
        if not command.__struct_fields__:
            return command
        field = self._random.choice(command.__struct_fields__)
        return msgspec.structs.replace(command, **{field: self._other(getattr(command, field))})

    def _other(self, value: object) -> object:
        if type(value) is bool:
            return not value
        if type(value) is int:
            return self._random.choice((self._number(), value + 1, value - 1, -value))
        if type(value) is str:
            return self._random.choice(TEXTS)
        definition = cast("Asset | Market | Account | Key", value)
        field = self._random.choice(definition.__struct_fields__)
        return msgspec.structs.replace(definition, **{field: self._other(getattr(definition, field))})

    def _number(self) -> int:
        return self._random.choice(NUMBERS)


def _key(number: int, account: int, permissions: int) -> Key:
    return Key(number, f"key-{number}", account, permissions, "0f" * 32)

"""Commands nobody in his right mind sends, between those that somebody would.

The markets are chosen so that every bound is near: coarse and fine grids, fees of nothing and of the whole, rebates,
tight filters, an asset of which there is as much as 64 bits hold. The commands make sense more often than not; then one
of their fields goes wild.
"""

from collections.abc import Callable
from random import Random
from typing import Final, cast, get_args

import msgspec
from attrs import frozen

from book.commands import (
    AdjustBalance,
    AdoptWithdrawal,
    AllocateAddress,
    AmendOrder,
    ArmSession,
    BeginEpoch,
    CancelAll,
    CancelAllAfter,
    CancelOrder,
    ClearMarket,
    Command,
    CreditDeposit,
    DefineAccount,
    DefineAsset,
    DefineKey,
    DefineMarket,
    Definition,
    FreezeAccount,
    FreezeAsset,
    LoseAllSessions,
    LoseSession,
    PauseWithdrawals,
    PlaceOrder,
    ReleaseWithdrawal,
    ReplaceOrder,
    RequestWithdrawal,
    RevokeKey,
    SetAccountTier,
    SetEngineVersion,
    SetFeeTier,
    SetMarketState,
    SettleWithdrawal,
    Tick,
    TradingCommand,
)
from book.definitions import Account, Asset, Key, Market
from book.events import (
    EpochBegun,
    Event,
    MarketStateChanged,
    OrderAccepted,
    OrderAmended,
    OrderClosed,
    OrderReduced,
    OrderTriggered,
    OrderView,
    Trade,
    Withdrawal,
    WithdrawalHeld,
    WithdrawalsPaused,
)
from book.queries import (
    AccountDetails,
    AccountOrders,
    AccountTrades,
    AccountWithdrawals,
    AddressesSince,
    AddressOf,
    Balances,
    Candles,
    Commission,
    DepositReceipt,
    Depth,
    Directory,
    Info,
    JudgeOrder,
    Logon,
    OpenOrders,
    OrderStatus,
    Outbox,
    PendingWithdrawals,
    Query,
    RecentTrades,
    Ticker,
    WithdrawalReceipt,
    WithdrawalStatus,
)
from book.terms import (
    BUY,
    DECREMENT,
    EXPIRE_BOTH,
    EXPIRE_TAKER,
    FOK,
    GTC,
    GTD,
    IOC,
    LIMIT,
    MARKET,
    MARKET_STATES,
    MAX_INT,
    NONE,
    SELL,
    STOP_LOSS,
    STOP_LOSS_LIMIT,
    TAKE_PROFIT,
    TAKE_PROFIT_LIMIT,
    TRADING,
)

NUMBERS: Final = [0, 1, -1, 2, 7, 10**9, 2**31, MAX_INT, MAX_INT - 1, 2**63, -(2**63), 2**64, 10**30, -(10**30)]
TEXTS: Final = [
    *("", " ", "a", "auto-1", "auto-2", "house", "é", "\ud800", "\x00", "\u0661", "c 1", "c1\n"),
    *("x" * 16, "x" * 17, "X" * 36, "X" * 37, "x" * 64, "x" * 65, "x" * 200, "x" * 201, "x" * 10_000),
    *("BTC", "USDT", "ONE", "BTC-USDT", "ETH-USDT", "btc-usdt", "0f" * 32, "0F" * 32),
]
OTHER_TYPES: Final[list[object]] = [None, True, 0, 1.0, "", b"", [], 10**30]
SEVERAL_YEARS_MS: Final = 10**11

ACCOUNTS: Final = range(1, 6)
SESSIONS: Final = [0, 1, 2, 7]
# Two share a chain, two have one each, and one has none.
ASSETS: Final = [
    Asset("BTC", 8, "bitcoin", 10_000, 30_000),
    Asset("USDT", 6),
    Asset("ONE", 0, "ethereum", 1, 2),
    Asset("GWEI", 9, "ethereum"),
    Asset("ALL", 9, "all", 5),
]
CHAINS: Final = ["bitcoin", "ethereum", "all"]
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
    # A lot at a tick is one unit: fees are small, and rounding is most of them. Every filter is near, and so is the end
    # of the band.
    Pit(
        Market(
            *("BTC-USDT", "BTC", "USDT", 1, 2, 10_000, 2, 60, 150, 4, 1_000, 2_000, 100_000, EXPIRE_TAKER),
            *(100, 60_000, 1_500),
        ),
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
    # Prices at the far end of 64 bits; a maker pays more than a taker; a market order may not leave the best price;
    # what halts stays halted until somebody resumes it.
    Pit(
        Market(
            *("BTC-GWEI", "BTC", "GWEI", 1, 9, 10**8, 1, 10**9, 1, 40, 999_999, 333_333, 0, EXPIRE_BOTH),
            *(0, 20_000, 0),
        ),
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
    commands += [DefineKey(_key(8, 2, 7)), DefineKey(_key(9, 1, 5))]
    commands.append(CreditDeposit("start|all", 1, "ALL", MAX_INT - 4 * FUNDS["ALL"] - 10**17))
    return commands


class Wild:
    """An endless stream, the same for the same `Random`. `now_ns` is the time the next command will be applied at."""

    def __init__(self, random: Random) -> None:
        self._random = random
        # Spread over all the markets, or a few in one of them, who get in each other's way.
        self._pits = random.choice((PITS, [random.choice(PITS)]))
        self._accounts = random.choice((ACCOUNTS, ACCOUNTS[:3]))
        self._live: dict[int, OrderView] = {}  # the open orders, by id
        self._last_prices = {pit.market.symbol: pit.middle for pit in PITS}
        self._closed: set[str] = set()  # the markets that do not trade
        self._deposits: list[CreditDeposit] = []  # asked for, done or not
        self._adjustments: list[AdjustBalance] = []
        self._withdrawals: list[Withdrawal] = []  # as they were held for, ended or not
        self._paused = False
        self._epoch = 1
        self._withdrawing = random.random() < 0.1  # until nobody may any more
        self._last_order_id = 0
        self._defined = 0
        self._now_ns = 0

    def heard(self, events: list[Event]) -> None:
        """What came of a command that was accepted."""
        for event in events:
            if isinstance(event, OrderAccepted | OrderAmended | OrderReduced | OrderTriggered):
                self._live[event.order.order_id] = event.order
                self._last_order_id = max(self._last_order_id, event.order.order_id)
            elif isinstance(event, OrderClosed):
                del self._live[event.order.order_id]
            elif isinstance(event, Trade):
                self._last_prices[event.symbol] = event.price
            elif isinstance(event, MarketStateChanged):
                (self._closed.discard if event.state == TRADING else self._closed.add)(event.symbol)
            elif isinstance(event, WithdrawalHeld):
                self._withdrawals.append(event.withdrawal)
            elif isinstance(event, WithdrawalsPaused):
                self._paused = event.paused
            elif isinstance(event, EpochBegun):
                self._epoch = event.epoch

    def command(self, now_ns: int) -> Command:
        """The next command: sensible, or with a field or two gone wild."""
        random = self._random
        self._now_ns = now_ns
        makers, weights = zip(*self._makers(), strict=True)
        command: Command = random.choices(makers, weights)[0]()
        if isinstance(command, TradingCommand) and random.random() < 0.06:
            command = self._signed(command)
        while random.random() < _wildness(command):
            command = self._gone_wild(command)
        return command

    def _makers(self) -> list[tuple[Callable[[], Command], int]]:
        """What makes a sensible command, and how often it does."""
        return [
            (self._order, 800),
            (self._amend, 150),
            (self._replace, 50),
            (self._cancel, 100),
            (self._cancel_all, 10),
            (self._cancel_all_after, 8),
            (self._session, 20),
            (LoseAllSessions, 6),
            (self._deposit, 50),
            (self._adjust, 40),
            (self._definition, 130),
            (self._market_state, 150 if self._closed else 15),
            (self._setting, 60),
            (self._address, 20),
            (self._withdrawal, 900 if self._withdrawing else 60),
            (self._withdrawal_end, 50),
            (self._adoption, 25),
            (self._pause, 40 if self._paused else 3),
            (self._begin_epoch, 3),
            (Tick, 10),
        ]

    def wrong_type(self) -> Command:
        """A command with something in it that is of another type than it must be."""
        random = self._random
        command: Command = Tick()
        while not command.__struct_fields__:
            make, _ = random.choice(self._makers())
            command = make()
        field = random.choice(command.__struct_fields__)
        kind = type(getattr(command, field))
        return msgspec.structs.replace(
            command, **{field: random.choice([x for x in OTHER_TYPES if type(x) is not kind])}
        )

    def question(self) -> Query:
        """Any query, many of them odd."""
        random = self._random
        account = random.choice((0, *ACCOUNTS, *ACCOUNTS, *NUMBERS))
        symbol = random.choice((*[pit.market.symbol for pit in PITS] * 3, *TEXTS))
        limit = random.choice((1, 2, 500, 1_000, 1_001, 1_500, 1_501, self._number()))
        from_id = random.choice((0, 1, self._order_id(), self._number()))
        questions: list[Query] = [
            OrderStatus(account, symbol, self._order_id()),
            OrderStatus(account, symbol, self._number(), random.choice(TEXTS)),
            OrderStatus(account, symbol, 0, self._name()),
            OrderStatus(account, symbol, self._order_id(), self._name()),
            OpenOrders(account, symbol),
            Balances(account),
            Depth(symbol, self._number()),
            Logon(random.choice(("key-1", "key-8", "key-9", *TEXTS))),
            Directory(),
            Info(),
            JudgeOrder(self._order()),
            JudgeOrder(cast("PlaceOrder", self._gone_wild(self._order()))),
            AccountTrades(account, symbol, from_id, limit),
            AccountOrders(account, symbol, from_id, limit),
            AccountDetails(account),
            Commission(account, symbol),
            RecentTrades(symbol, limit),
            Ticker(symbol),
            Candles(symbol, self._interval(), self._moment(), self._moment(), limit),
            AddressOf(account, random.choice((*[asset.name for asset in ASSETS], *TEXTS))),
            AddressesSince(random.choice((*CHAINS, *TEXTS)), random.choice((0, 1, self._number())), limit),
            DepositReceipt(random.choice((f"d|{random.randrange(60)}", *TEXTS))),
            Outbox(random.choice((*CHAINS, *TEXTS)), random.choice((0, 0, self._order_id(), self._number())), limit),
            AccountWithdrawals(account, limit),
            PendingWithdrawals(account),
            WithdrawalStatus(account, random.choice((self._withdrawal_name(), *TEXTS))),
            WithdrawalReceipt(random.choice((self._withdrawal_id(), self._withdrawal_id(), *TEXTS))),
        ]
        return random.choice(questions)

    # --- Sensible orders ----------------------------------------------------------------------------------------------

    def _order(self) -> PlaceOrder:
        random = self._random
        pit = random.choice(self._pits)
        order = PlaceOrder(
            account=random.choice(self._accounts),
            key=0,
            session=random.choice(SESSIONS),
            symbol=pit.market.symbol,
            side=random.choice((BUY, SELL)),
            type=LIMIT,
            time_in_force=random.choice((GTC, GTC, GTC, GTD, IOC, FOK)),
            quantity=random.randint(pit.market.min_quantity, pit.most),
            price=self._price(pit),
            post_only=random.random() < 0.15,
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
        if kind < 0.4:
            order = self._stop(order, pit)
        elif kind < 0.5:
            order = self._iceberg(order)
        elif kind < 0.53:
            # Through all of the book, or to the end of the band.
            far = pit.middle + 2 * pit.spread if order.side == BUY else max(1, pit.middle - 2 * pit.spread)
            order = msgspec.structs.replace(order, quantity=pit.most, price=far, post_only=False)
        if order.time_in_force == GTD and random.random() < 0.97:
            order = msgspec.structs.replace(order, expire_time=self._now_ns // 10**6 + random.randint(0, 20) * 500)
        return self._at_a_bound(order, pit) if kind > 0.93 else order

    def _price(self, pit: Pit) -> int:
        """Where the trading is; sometimes that of an order."""
        random = self._random
        prices = [order.price for order in self._live.values() if order.symbol == pit.market.symbol and order.price]
        if prices and random.random() < 0.3:
            return random.choice(prices)
        return pit.middle + random.randint(-pit.spread, pit.spread)

    def _stop(self, order: PlaceOrder, pit: Pit) -> PlaceOrder:
        """Beyond the last price, most often, so that it waits."""
        random = self._random
        kind = random.choice((STOP_LOSS, STOP_LOSS_LIMIT, TAKE_PROFIT, TAKE_PROFIT_LIMIT))
        rises = (kind in {STOP_LOSS, STOP_LOSS_LIMIT}) == (order.side == BUY)
        away = random.randint(-1, max(1, pit.spread // 3))
        last = self._last_prices[order.symbol]
        order = msgspec.structs.replace(
            order, type=kind, stop_price=last + away if rises else last - away, post_only=False
        )
        if kind in {STOP_LOSS, TAKE_PROFIT}:
            order = msgspec.structs.replace(order, price=0, time_in_force=random.choice((GTC, GTC, GTC, GTD)))
        return order

    def _iceberg(self, order: PlaceOrder) -> PlaceOrder:
        random = self._random
        shown = random.choice((random.randint(1, order.quantity), max(2, order.quantity // 4), order.quantity // 100))
        in_force = random.choice((GTC, GTC, GTD))
        return msgspec.structs.replace(order, display_quantity=shown, time_in_force=in_force)

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

    # --- Sensible changes ---------------------------------------------------------------------------------------------

    def _one(self) -> tuple[int, str, int, str]:
        """Account, market and both ids of some order, of an open one most often; and not always both ids."""
        random = self._random
        if self._live and random.random() < 0.7:
            order = self._live[random.choice(list(self._live))]
            order_id, name = order.order_id, order.client_order_id
            order_id, name = random.choice(((order_id, name), (0, name), (order_id, "")))
            return order.account, order.symbol, order_id, name
        order_id, name = random.choice((0, self._order_id())), random.choice(("", self._name()))
        return random.choice(self._accounts), random.choice(self._pits).market.symbol, order_id, name

    def _cancel(self) -> CancelOrder:
        account, symbol, order_id, name = self._one()
        return CancelOrder(account, 0, 0, symbol, order_id, name)

    def _amend(self) -> AmendOrder:
        random = self._random
        account, symbol, order_id, name = self._one()
        # Of a market that was made on the way, any numbers will do.
        pit = next((pit for pit in PITS if pit.market.symbol == symbol), PITS[0])
        order = self._live.get(order_id)
        quantity = order.quantity if order else random.randint(1, pit.most)
        quantity = random.choice((0, quantity, quantity - 1, quantity // 2, 2 * quantity))
        price = random.choice((0, 0, self._price(pit)))
        if random.random() < 0.03:
            quantity, price = random.choice(((MAX_INT // (pit.middle * pit.tick_value), 0), (0, MAX_INT // 2)))
        return AmendOrder(account, 0, 0, symbol, order_id, name, quantity, price)

    def _replace(self) -> ReplaceOrder:
        account, symbol, order_id, name = self._one()
        order = self._order()
        if order.symbol == symbol or self._random.random() < 0.5:
            order = msgspec.structs.replace(order, account=account, symbol=symbol)
        return ReplaceOrder(order_id, name, order)

    def _cancel_all(self) -> CancelAll:
        random = self._random
        return CancelAll(
            random.choice(self._accounts), 0, 0, random.choice(("", random.choice(self._pits).market.symbol))
        )

    def _cancel_all_after(self) -> CancelAllAfter:
        random = self._random
        return CancelAllAfter(random.choice(self._accounts), 0, 0, random.choice((0, 1, 1_000, 1_500, 86_400_000)))

    def _session(self) -> ArmSession | LoseSession:
        random = self._random
        session = random.choice(SESSIONS)
        return ArmSession(random.choice(self._accounts), 0, session) if random.random() < 0.6 else LoseSession(session)

    # --- Sensible operators -------------------------------------------------------------------------------------------

    def _market_state(self) -> SetMarketState:
        """Most often one that does not trade is to trade again."""
        random = self._random
        if self._closed and random.random() < 0.8:
            return SetMarketState(random.choice(sorted(self._closed)), TRADING)
        return SetMarketState(random.choice(self._pits).market.symbol, random.choice((*MARKET_STATES, *[TRADING] * 2)))

    def _setting(self) -> Command:
        """Any other."""
        random = self._random
        symbol, account = random.choice(self._pits).market.symbol, random.choice(self._accounts)
        taker_fee = random.choice((0, 333, 2_000, 10**6))
        settings: list[Command] = [
            SetFeeTier(symbol, random.randint(1, 3), random.choice((-taker_fee, 0, 500)), taker_fee),
            SetAccountTier(account, random.randrange(4)),
            RevokeKey(random.choice((8, 9, 100 + self._defined))),
            FreezeAccount(account, random.random() < 0.05),
            FreezeAsset(random.choice(ASSETS).name, random.random() < 0.2),
            SetEngineVersion(1),
            ClearMarket(symbol),
        ]
        return random.choices(settings, (4, 4, 1, 6, 3, 1, 0.5))[0]

    def _adjust(self) -> AdjustBalance:
        """To those who own something a little; more than there is from the one who owns nothing."""
        random = self._random
        if self._adjustments and random.random() < 0.1:
            return random.choice(self._adjustments)
        account, asset = random.choice((0, *ACCOUNTS)), random.choice(ASSETS).name
        amount = random.choice((1, -1, random.randint(1, FUNDS[asset] // 50), -FUNDS[asset] // 50))
        if random.random() < 0.2:
            account, amount = ACCOUNTS[-1], random.choice((-(10**17), -MAX_INT, 10**17))
        reason = random.choice(("wrong wire", "found on the street"))
        operator, second = random.choice(("ann", "bea")), random.choice(("bea", "cy", "cy"))
        name = f"a|{random.randrange(60)}"
        self._adjustments.append(AdjustBalance(name, account, asset, amount, reason, operator, second))
        return self._adjustments[-1]

    def _deposit(self) -> CreditDeposit:
        random = self._random
        if self._deposits and random.random() < 0.1:
            return random.choice(self._deposits)
        asset = random.choice(ASSETS).name
        amount = random.choice((1, random.randint(1, FUNDS[asset] // 50), 10**17))
        deposit = CreditDeposit(f"d|{random.randrange(60)}", random.choice((0, *ACCOUNTS)), asset, amount)
        self._deposits.append(deposit)
        return deposit

    # --- Sensible addresses and withdrawals ---------------------------------------------------------------------------

    def _address(self) -> AllocateAddress:
        random = self._random
        return AllocateAddress(random.choice((0, *ACCOUNTS)), 0, 0, random.choice(ASSETS).name)

    def _withdrawal(self) -> RequestWithdrawal:
        """Of a little, of about all there is, or at the end of 62 bits; now and then the same again, or nearly."""
        random = self._random
        asset = random.choice(ASSETS)
        account = self._accounts[0] if self._withdrawing else random.choice((*self._accounts, 0))
        least = max(1, asset.min_withdrawal)
        amount = random.choice((least, least, least + 1, least - 1, FUNDS[asset.name] // 100, FUNDS[asset.name]))
        if random.random() < 0.05:
            amount = MAX_INT - asset.withdrawal_fee + random.choice((-1, 0, 1))
        name, address = self._withdrawal_name(), random.choice(("addr1", "addr2"))
        if self._withdrawals and random.random() < 0.1:
            first = random.choice(self._withdrawals)
            again = RequestWithdrawal(
                first.account, 0, 0, first.withdraw_order_id, first.asset, first.address, first.amount
            )
            return random.choice((again, msgspec.structs.replace(again, address="another")))
        return RequestWithdrawal(account, 0, random.choice(SESSIONS), name, asset.name, address, amount)

    def _withdrawal_end(self) -> SettleWithdrawal | ReleaseWithdrawal:
        """Of any, ended or not."""
        random = self._random
        which = self._withdrawal_id()
        if random.random() < 0.6:
            return SettleWithdrawal(which, random.choice(("tx1", "tx1", "tx1", "tx2")))
        return ReleaseWithdrawal(which, random.choice(("changed his mind", "no such address")))

    def _adoption(self) -> AdoptWithdrawal:
        random = self._random
        if self._withdrawals and random.random() < 0.2:
            known = random.choice(self._withdrawals)
            again = AdoptWithdrawal(
                *(known.withdrawal_id, known.account, known.withdraw_order_id, known.asset),
                *(known.address, known.amount, known.fee),
            )
            return random.choice((again, msgspec.structs.replace(again, withdrawal_id="1-1")))
        asset = random.choice(ASSETS)
        fee = random.choice((0, asset.withdrawal_fee, MAX_INT))
        amount = self._near_a_bound(asset.min_withdrawal + 3, MAX_INT)
        which = f"{random.randint(1, self._epoch)}-{random.randrange(1, 10**6)}"
        account, name = random.choice(self._accounts), self._withdrawal_name()
        return AdoptWithdrawal(which, account, name, asset.name, "addr1", amount, fee)

    def _pause(self) -> PauseWithdrawals:
        return PauseWithdrawals(not self._paused if self._random.random() < 0.9 else self._paused)

    def _begin_epoch(self) -> BeginEpoch:
        return BeginEpoch(self._epoch + self._random.randrange(4))

    def _withdrawal_name(self) -> str:
        return f"w{self._random.randrange(10_000 if self._withdrawing else 150)}"

    def _withdrawal_id(self) -> str:
        """Of some withdrawal, of a late one most often."""
        random = self._random
        if not self._withdrawals or random.random() < 0.02:
            return random.choice(("1-1", "2-7", "0-1", "1-0", "1--1", "99999999999-1"))
        return random.choice(self._withdrawals[-30:]).withdrawal_id

    # --- Definitions --------------------------------------------------------------------------------------------------

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
                DefineAsset(Asset(f"NEW{number}", random.randrange(10), random.choice(("", *CHAINS)))),
                DefineMarket(new_market),
                DefineAccount(Account(number, f"account-{number}")),
                DefineKey(_key(number, random.choice(self._accounts), random.randint(1, 7), random.choice(_NETWORKS))),
            )
        )

    # --- Parts of commands --------------------------------------------------------------------------------------------

    def _signed(self, command: TradingCommand) -> Command:
        """By some key, at some time: on either edge of the window, or anywhere."""
        random = self._random
        window = random.choice((0, 1, 5_000, 60_000))
        away = random.choice((0, window, window + 1, -1_000, -1_001, random.randint(-2_000, 70_000), SEVERAL_YEARS_MS))
        key = random.choice((*[command.account] * 20, *ACCOUNTS, 8, 9))
        timestamp = self._now_ns // 10**6 - away
        return msgspec.structs.replace(command, key=key, timestamp=timestamp, recv_window=window)

    def _name(self) -> str:
        return f"c{self._random.randrange(40)}"

    def _order_id(self) -> int:
        """Of an order, most often a late one."""
        return max(1, self._last_order_id + 1 - int(self._random.expovariate(0.05)))

    def _interval(self) -> int:
        """One that there are candles of, most often; else near to it."""
        minute_ns = 60 * 10**9
        interval_ns = self._random.choice((1, 5, 15, 60, 240, 1_440)) * minute_ns
        return self._random.choice((*[interval_ns] * 8, interval_ns + 1, 2 * interval_ns, self._number()))

    def _moment(self) -> int:
        """When a minute began, or just before or after, or anything."""
        random = self._random
        minute_ns = 60 * 10**9
        minute = self._now_ns // minute_ns - int(random.expovariate(0.01))
        return random.choice((0, 0, minute * minute_ns + random.choice((-1, 0, 1)), self._number()))

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
        definition = cast("Asset | Market | Account | Key | PlaceOrder", value)
        field = self._random.choice(definition.__struct_fields__)
        return msgspec.structs.replace(definition, **{field: self._other(getattr(definition, field))})

    def _number(self) -> int:
        return self._random.choice(NUMBERS)


_SELDOM: Final = AmendOrder | CancelAllAfter | AdjustBalance | RequestWithdrawal | AdoptWithdrawal | BeginEpoch


def _wildness(command: Command) -> float:
    """How often a field of it goes wild, and then perhaps another."""
    if isinstance(command, Definition):
        return 0.5
    return 0.3 if isinstance(command, _SELDOM) else 0.1


_IPV6: Final = "2001:0db8:0000:0000:0000:0000:0000:0000/32"
_NETWORKS: Final = (
    *("", "192.0.2.7/32", f"0.0.0.0/0,{_IPV6}", ",".join(["10.0.0.0/8"] * 32)),
    *(",".join(["10.0.0.0/8"] * 33), "192.0.2.7/24", "2001:db8::/32", "10.0.0.256/32", "10.0.0.0/33", ","),
)


def _key(number: int, account: int, permissions: int, networks: str = "") -> Key:
    return Key(number, f"key-{number}", account, permissions, "0f" * 32, networks)

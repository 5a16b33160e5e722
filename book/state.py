"""All that the engine knows, in one place: what commands change, queries read and a dump holds."""

from collections.abc import Iterator
from typing import Final

from book.accounts import AccountState
from book.addresses import Addresses
from book.adjustments import Adjustments
from book.commands import DefineAccount, DefineAsset, DefineKey, DefineMarket, Definition
from book.definitions import Market
from book.deposits import Deposits
from book.digest import RollingDigest
from book.epochs import Epochs
from book.events import AccountDefined, AssetDefined, Event, KeyDefined, MarketDefined, Rejected
from book.image import VERSION, EngineImage
from book.ledger import Ledger
from book.live_market import LiveMarket
from book.orders import Order, order_id_of
from book.registry import Registry
from book.timers import CANCEL_ALL, Timers
from book.withdrawals import Withdrawals

# Of a restoring step: each some hundred microseconds. An account brings its memories with it.
ROWS_PER_STEP: Final = 256
ACCOUNTS_PER_STEP: Final = 8


class State:
    """The state of one engine. Made empty; `restore` fills an empty one."""

    __slots__ = (
        *("accounts", "addresses", "adjustments", "armed_sessions", "deposits", "digest", "engine_version", "epochs"),
        *("last_order_id", "last_seq", "last_time_ns", "ledger", "markets", "orders", "registry", "timers"),
        *("withdrawals", "withdrawals_paused"),
    )

    def __init__(self) -> None:
        self.digest: RollingDigest = RollingDigest()
        self.engine_version: int = 0
        self.last_seq: int = 0
        self.last_time_ns: int = 0
        self.last_order_id: int = 0
        self.registry: Registry = Registry()
        self.ledger: Ledger = Ledger()
        self.deposits: Deposits = Deposits()
        self.timers: Timers = Timers()
        self.adjustments: Adjustments = Adjustments()
        self.addresses: Addresses = Addresses()
        self.withdrawals: Withdrawals = Withdrawals()
        self.withdrawals_paused: bool = False
        self.epochs: Epochs = Epochs()
        self.orders: dict[int, Order] = {}
        self.markets: dict[str, LiveMarket] = {}
        self.accounts: dict[int, AccountState] = {
            number: AccountState(account) for number, account in self.registry.accounts.items()
        }
        self.armed_sessions: dict[int, AccountState] = {}  # whose orders end with them, in the order of arming

    def find(self, account: AccountState, symbol: str, order_id: int, client_order_id: str) -> Order | None:
        """The account's open order of this id; where both ids are given, both have to be its."""
        order = self.orders.get(order_id or account.client_order_ids.get(client_order_id))
        if order is None or order.trader.account is not account or order.trader.symbol != symbol:
            return None
        return None if client_order_id and order.client_order_id != client_order_id else order

    def open_orders(self, account: AccountState, symbol: str = "") -> list[Order]:
        """The account's open orders, oldest first, in one known market or in all."""
        markets = [self.markets[symbol]] if symbol else self.markets.values()
        orders: list[Order] = []
        for market in markets:
            trader = market.traders.get(account.number)
            if trader is not None:
                orders += trader.open_orders.values()
        return orders if symbol else sorted(orders, key=order_id_of)

    def define(self, command: Definition) -> Event | Rejected:
        """Define something, or say why not."""
        refused: Rejected | None
        if type(command) is DefineAsset:
            refused = self.registry.define_asset(command.asset)
            if refused is None:
                self.ledger.define_asset(command.asset.name)
                return AssetDefined(command.asset)
        elif type(command) is DefineMarket:
            refused = self.registry.define_market(command.market)
            if refused is None:
                self._open_market(command.market)
                return MarketDefined(command.market)
        elif type(command) is DefineAccount:
            refused = self.registry.define_account(command.account)
            if refused is None:
                self.accounts[command.account.account] = AccountState(command.account)
                return AccountDefined(command.account)
        else:
            refused = self.registry.define_key(command.key)
            if refused is None:
                return KeyDefined(command.key)
        return refused

    def _open_market(self, market: Market) -> None:
        base, quote = self.registry.assets[market.base], self.registry.assets[market.quote]
        self.markets[market.symbol] = LiveMarket(
            len(self.markets), market, base, quote, self.ledger, self.orders, self.timers
        )

    def image(self) -> EngineImage:
        """The state as plain data."""
        chain, rest = self.digest.state()
        return EngineImage(
            version=VERSION,
            last_seq=self.last_seq,
            last_time_ns=self.last_time_ns,
            last_order_id=self.last_order_id,
            digest_chain=chain,
            digest_rest=rest,
            assets=list(self.registry.assets.values()),
            accounts=[account.image() for account in self.accounts.values()],
            keys=list(self.registry.keys.values()),
            balances=self.ledger.rows(),
            deposits=self.deposits.all(),
            markets=[market.image() for market in self.markets.values()],
            armed_sessions=[(session, account.number) for session, account in self.armed_sessions.items()],
            engine_version=self.engine_version,
            revoked_keys=list(self.registry.revoked_keys),
            frozen_assets=list(self.registry.frozen_assets),
            adjustments=self.adjustments.all(),
            addresses=self.addresses.rows(),
            withdrawals=self.withdrawals.all(),
            withdrawals_paused=self.withdrawals_paused,
            epochs=self.epochs.rows(),
        )

    def restore(self, image: EngineImage) -> Iterator[None]:
        """Become, from empty, what `image` was taken of; in steps of about a millisecond.

        Raises:
            ValueError, KeyError: its parts do not fit together.
            LedgerError: a balance is impossible.
        """
        self.last_seq = image.last_seq
        self.last_time_ns = image.last_time_ns
        self.last_order_id = image.last_order_id
        self.digest = RollingDigest(image.digest_chain, image.digest_rest)
        yield from self._restore_definitions(image)
        yield from self._restore_money(image)
        yield from self._restore_transfers(image)
        for place, remembered in enumerate(image.accounts, start=1):
            if place % ACCOUNTS_PER_STEP == 0:
                yield
            account = self.accounts[remembered.definition.account]
            account.restore(remembered)
            if account.cancel_all_due_ns:
                self.timers.set(CANCEL_ALL, account.number, account.cancel_all_due_ns)
        for market in image.markets:
            yield from self.markets[market.definition.symbol].restore(market, self.accounts)
        for session, number in image.armed_sessions:
            self.armed_sessions[session] = self.accounts[number]

    def _restore_money(self, image: EngineImage) -> Iterator[None]:
        for place, (number, asset, available, held) in enumerate(image.balances, start=1):
            if number not in self.accounts:
                raise ValueError(f"a balance of account {number}")
            self.ledger.restore(number, asset, available, held)
            if place % ROWS_PER_STEP == 0:
                yield
        for place, deposit in enumerate(image.deposits, start=1):
            self.deposits.add(deposit)
            if place % ROWS_PER_STEP == 0:
                yield
        for adjusted in image.adjustments:
            self.adjustments.add(adjusted)

    def _restore_transfers(self, image: EngineImage) -> Iterator[None]:
        for chain, accounts in image.addresses:
            for place, account in enumerate(accounts, start=1):
                self.addresses.allocate(chain, account)
                if place % ROWS_PER_STEP == 0:
                    yield
        for place, withdrawal in enumerate(image.withdrawals, start=1):
            self.withdrawals.add(withdrawal, self.registry.assets[withdrawal.asset].chain)
            if place % ROWS_PER_STEP == 0:
                yield
        self.withdrawals_paused = image.withdrawals_paused
        for epoch, seq in image.epochs:
            self.epochs.begin(epoch, seq)

    def _restore_definitions(self, image: EngineImage) -> Iterator[None]:
        definitions: list[Definition] = [DefineAsset(asset) for asset in image.assets]
        definitions += [DefineAccount(account.definition) for account in image.accounts[1:]]
        definitions += [DefineKey(key) for key in image.keys]
        definitions += [DefineMarket(market.definition) for market in image.markets]
        for place, definition in enumerate(definitions, start=1):
            refused = self.define(definition)
            if type(refused) is Rejected:
                raise ValueError(str(refused))
            if place % ROWS_PER_STEP == 0:
                yield
        self.engine_version = image.engine_version
        self.registry.revoked_keys.update(dict.fromkeys(image.revoked_keys))
        self.registry.frozen_assets.update(dict.fromkeys(image.frozen_assets))

"""What is defined: assets, markets, accounts and keys, each once and for good.

A definition asked for again word for word is `ALREADY_DEFINED`, which a start with an unchanged configuration meets
every time and takes for success; one that differs is `DEFINITION_DIFFERS` and says in which field.
"""

import re
from typing import Final

from msgspec import Struct
from msgspec.structs import astuple

from book import codes
from book.definitions import Account, Asset, Key, Market
from book.events import Rejected
from book.ledger import HOUSE
from book.market import tick_value
from book.terms import DECREMENT, MAX_INT, NONE, PPM, READ, TRADE, WITHDRAW

CAPACITY: Final = 10_000_000  # assets, markets, accounts and keys, of each kind
MAX_SCALE: Final = 9
MAX_TICK_SCALE: Final = 18
MAX_OPEN_ORDERS: Final = 1_000_000

_ASSET_NAME: Final = re.compile(r"[A-Z0-9]{1,16}")
_SYMBOL: Final = re.compile(r"[A-Z0-9-]{1,33}")
_NAME: Final = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_PUBLIC_KEY: Final = re.compile(r"[0-9a-f]{64}")

_HOUSE_ACCOUNT: Final = Account(HOUSE, "house")


class Registry:
    """All definitions, by name or number, in the order they were made. The house account is there from the start."""

    __slots__ = ("_account_names", "_capacity", "accounts", "assets", "keys", "keys_by_name", "markets")

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity: Final = capacity
        self.assets: dict[str, Asset] = {}
        self.markets: dict[str, Market] = {}
        self.accounts: dict[int, Account] = {HOUSE: _HOUSE_ACCOUNT}
        self.keys: dict[int, Key] = {}
        self.keys_by_name: dict[str, Key] = {}
        self._account_names: set[str] = {_HOUSE_ACCOUNT.name}

    def define_asset(self, asset: Asset) -> Rejected | None:
        """Define an asset, or say why not."""
        refused = (
            _known(asset, self.assets.get(asset.name))
            or _bad_name("name", asset.name, _ASSET_NAME)
            or _outside("scale", asset.scale, 0, MAX_SCALE)
            or _too_many("name", len(self.assets), self._capacity)
        )
        if refused is None:
            self.assets[asset.name] = asset
        return refused

    def define_market(self, market: Market) -> Rejected | None:
        """Define a market, or say why not."""
        refused = (
            _known(market, self.markets.get(market.symbol))
            or _bad_name("symbol", market.symbol, _SYMBOL)
            or self._bad_pair(market)
            or _bad_grid(market, self.assets[market.base], self.assets[market.quote])
            or _bad_filters(market)
            or _bad_fees(market)
            or _too_many("symbol", len(self.markets), self._capacity)
        )
        if refused is None:
            self.markets[market.symbol] = market
        return refused

    def define_account(self, account: Account) -> Rejected | None:
        """Define an account, or say why not. No two have the same name."""
        refused = (
            _known(account, self.accounts.get(account.account))
            or _outside("account", account.account, 0, MAX_INT)
            or _bad_name("name", account.name, _NAME)
            or _taken("name", account.name in self._account_names)
            or _too_many("account", len(self.accounts), self._capacity)
        )
        if refused is None:
            self.accounts[account.account] = account
            self._account_names.add(account.name)
        return refused

    def define_key(self, key: Key) -> Rejected | None:
        """Define a key, or say why not. No two have the same name."""
        refused = (
            _known(key, self.keys.get(key.key))
            or _outside("key", key.key, 1, MAX_INT)
            or _bad_name("name", key.name, _NAME)
            or _taken("name", key.name in self.keys_by_name)
            or _unknown("account", key.account in self.accounts, "UNKNOWN_ACCOUNT", key.account)
            or _outside("permissions", key.permissions, 1, READ | TRADE | WITHDRAW)
            or _bad_name("public_key", key.public_key, _PUBLIC_KEY)
            or _too_many("key", len(self.keys), self._capacity)
        )
        if refused is None:
            self.keys[key.key] = key
            self.keys_by_name[key.name] = key
        return refused

    def _bad_pair(self, market: Market) -> Rejected | None:
        for field, asset in (("base", market.base), ("quote", market.quote)):
            if asset not in self.assets:
                return _refused("UNKNOWN_ASSET", field)
        if market.base == market.quote:
            return _refused("SAME_ASSET", "quote")
        return None


def _bad_grid(market: Market, base: Asset, quote: Asset) -> Rejected | None:
    refused = (
        _outside("tick", market.tick, 1, MAX_INT)
        or _outside("tick_scale", market.tick_scale, 0, MAX_TICK_SCALE)
        or _outside("lot", market.lot, 1, MAX_INT)
    )
    if refused is None:
        value = tick_value(market, base, quote)
        if value == 0:
            return _refused("TICK_VALUE_NOT_WHOLE", "tick", market.tick)
        refused = _outside("tick", value, 1, MAX_INT)
    return refused


def _bad_filters(market: Market) -> Rejected | None:
    return (
        _outside("max_quantity", market.max_quantity, 1, MAX_INT // market.lot)
        or _outside("min_quantity", market.min_quantity, 1, market.max_quantity)
        or _outside("min_notional", market.min_notional, 0, MAX_INT)
        or _outside("max_open_orders", market.max_open_orders, 1, MAX_OPEN_ORDERS)
        or _outside("self_trade", market.self_trade, NONE, DECREMENT)
    )


def _bad_fees(market: Market) -> Rejected | None:
    # A rebate above the taker's fee would be paid by the house; a fee above the whole would exceed a sell's proceeds.
    return (
        _outside("taker_fee", market.taker_fee, 0, PPM)
        or _outside("maker_fee", market.maker_fee, -market.taker_fee, PPM)
        or _outside("collar", market.collar, 0, PPM)
    )


def _refused(reason: str, field: str, value: int = 0, limit: int = 0) -> Rejected:
    return Rejected(codes.DEFINITION_REJECTED, reason, field, value, limit)


def _known(new: Struct, old: Struct | None) -> Rejected | None:
    if old is None:
        return None
    if new == old:
        return _refused("ALREADY_DEFINED", "")
    for field, value, limit in zip(new.__struct_fields__, astuple(new), astuple(old), strict=True):
        if value != limit:
            if isinstance(value, int) and isinstance(limit, int):
                return _refused("DEFINITION_DIFFERS", field, value, limit)
            return _refused("DEFINITION_DIFFERS", field)
    raise AssertionError("unequal definitions have equal fields")


def _outside(field: str, value: int, least: int, most: int) -> Rejected | None:
    if value < least:
        return _refused("OUT_OF_RANGE", field, value, least)
    if value > most:
        return _refused("OUT_OF_RANGE", field, value, most)
    return None


def _bad_name(field: str, name: str, pattern: re.Pattern[str]) -> Rejected | None:
    return None if pattern.fullmatch(name) else _refused("BAD_NAME", field)


def _taken(field: str, taken: bool) -> Rejected | None:
    return _refused("NAME_TAKEN", field) if taken else None


def _unknown(field: str, known: bool, reason: str, value: int) -> Rejected | None:
    return None if known else _refused(reason, field, value)


def _too_many(field: str, count: int, most: int) -> Rejected | None:
    return _refused("TOO_MANY", field, count, most) if count >= most else None

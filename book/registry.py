"""What is defined: assets, markets, accounts and keys, each once and for good; and which of them are taken out of use.

A definition asked for again word for word is `ALREADY_DEFINED`, which a start with an unchanged configuration meets
every time and takes for success; one that differs is `DEFINITION_DIFFERS` and says in which field.
"""

import re
from typing import Final

from msgspec import Struct
from msgspec.structs import astuple

from book.definitions import Account, Asset, Key, Market
from book.events import Rejected
from book.ledger import HOUSE
from book.market import tick_value
from book.refusals import bad_name, declined, outside
from book.terms import DECREMENT, MAX_INT, NONE, PPM, READ, TRADE, WITHDRAW

CAPACITY: Final = 10_000_000  # assets, markets, accounts and keys, of each kind
MAX_SCALE: Final = 9
MAX_TICK_SCALE: Final = 18
MAX_OPEN_ORDERS: Final = 1_000_000
MAX_HALT_MS: Final = 604_800_000  # a week
MAX_NETWORKS: Final = 32  # of a key

_ASSET_NAME: Final = re.compile(r"[A-Z0-9]{1,16}")
_CHAIN: Final = re.compile(r"([a-z0-9-]{1,16})?")
_SYMBOL: Final = re.compile(r"[A-Z0-9-]{1,33}")
NAME: Final = re.compile(r"[A-Za-z0-9._@-]{1,64}")  # of accounts, keys and operators
_PUBLIC_KEY: Final = re.compile(r"[0-9a-f]{64}")
_NUMBER: Final = r"(?:0|[1-9][0-9]{0,2})"
_IPV4_NETWORK: Final = re.compile(rf"({_NUMBER}(?:\.{_NUMBER}){{3}})/({_NUMBER})")
_IPV6_NETWORK: Final = re.compile(rf"([0-9a-f]{{4}}(?::[0-9a-f]{{4}}){{7}})/({_NUMBER})")

_HOUSE_ACCOUNT: Final = Account(HOUSE, "house")


class Registry:
    """All definitions, by name or number, in the order they were made. The house account is there from the start."""

    __slots__ = (
        *("_account_names", "_capacity", "accounts", "assets", "frozen_assets", "keys", "keys_by_name", "markets"),
        "revoked_keys",
    )

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity: Final = capacity
        self.assets: dict[str, Asset] = {}
        self.markets: dict[str, Market] = {}
        self.accounts: dict[int, Account] = {HOUSE: _HOUSE_ACCOUNT}
        self.keys: dict[int, Key] = {}
        self.keys_by_name: dict[str, Key] = {}
        self.frozen_assets: dict[str, None] = {}  # a set, in the order of freezing
        self.revoked_keys: dict[int, None] = {}  # likewise
        self._account_names: set[str] = {_HOUSE_ACCOUNT.name}

    def define_asset(self, asset: Asset) -> Rejected | None:
        """Define an asset, or say why not."""
        refused = (
            _known(asset, self.assets.get(asset.name))
            or bad_name("name", asset.name, _ASSET_NAME)
            or outside("scale", asset.scale, 0, MAX_SCALE)
            or bad_name("chain", asset.chain, _CHAIN)
            or outside("withdrawal_fee", asset.withdrawal_fee, 0, MAX_INT)
            or outside("min_withdrawal", asset.min_withdrawal, 0, MAX_INT)
            or _too_many("name", len(self.assets), self._capacity)
        )
        if refused is None:
            self.assets[asset.name] = asset
        return refused

    def define_market(self, market: Market) -> Rejected | None:
        """Define a market, or say why not."""
        refused = (
            _known(market, self.markets.get(market.symbol))
            or bad_name("symbol", market.symbol, _SYMBOL)
            or self._bad_pair(market)
            or _bad_grid(market, self.assets[market.base], self.assets[market.quote])
            or _bad_filters(market)
            or bad_fees(market.maker_fee, market.taker_fee)
            or _bad_bounds(market, self.assets[market.base], self.assets[market.quote])
            or _too_many("symbol", len(self.markets), self._capacity)
        )
        if refused is None:
            self.markets[market.symbol] = market
        return refused

    def define_account(self, account: Account) -> Rejected | None:
        """Define an account, or say why not. No two have the same name."""
        refused = (
            _known(account, self.accounts.get(account.account))
            or outside("account", account.account, 0, MAX_INT)
            or bad_name("name", account.name, NAME)
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
            or outside("key", key.key, 1, MAX_INT)
            or bad_name("name", key.name, NAME)
            or _taken("name", key.name in self.keys_by_name)
            or _unknown("account", key.account in self.accounts, "UNKNOWN_ACCOUNT", key.account)
            or outside("permissions", key.permissions, 1, READ | TRADE | WITHDRAW)
            or bad_name("public_key", key.public_key, _PUBLIC_KEY)
            or _bad_networks(key.networks)
            or _too_many("key", len(self.keys), self._capacity)
        )
        if refused is None:
            self.keys[key.key] = key
            self.keys_by_name[key.name] = key
        return refused

    def _bad_pair(self, market: Market) -> Rejected | None:
        for field, asset in (("base", market.base), ("quote", market.quote)):
            if asset not in self.assets:
                return declined("UNKNOWN_ASSET", field)
        if market.base == market.quote:
            return declined("SAME_ASSET", "quote")
        return None


def _bad_grid(market: Market, base: Asset, quote: Asset) -> Rejected | None:
    refused = (
        outside("tick", market.tick, 1, MAX_INT)
        or outside("tick_scale", market.tick_scale, 0, MAX_TICK_SCALE)
        or outside("lot", market.lot, 1, MAX_INT)
    )
    if refused is None:
        value = tick_value(market, base, quote)
        if value == 0:
            return declined("TICK_VALUE_NOT_WHOLE", "tick", market.tick)
        refused = outside("tick", value, 1, MAX_INT)
    return refused


def _bad_filters(market: Market) -> Rejected | None:
    return (
        outside("max_quantity", market.max_quantity, 1, MAX_INT // market.lot)
        or outside("min_quantity", market.min_quantity, 1, market.max_quantity)
        or outside("min_notional", market.min_notional, 0, MAX_INT)
        or outside("max_open_orders", market.max_open_orders, 1, MAX_OPEN_ORDERS)
        or outside("self_trade", market.self_trade, NONE, DECREMENT)
    )


def bad_fees(maker_fee: int, taker_fee: int) -> Rejected | None:
    """The refusal of rates that a market cannot charge."""
    # A rebate above the taker's fee would be paid by the house; a fee above the whole would exceed a sell's proceeds.
    return outside("taker_fee", taker_fee, 0, PPM) or outside("maker_fee", maker_fee, -taker_fee, PPM)


def _bad_bounds(market: Market, base: Asset, quote: Asset) -> Rejected | None:
    return (
        outside("collar", market.collar, 0, PPM)
        or outside("reference_price", market.reference_price, 0, MAX_INT // tick_value(market, base, quote))
        or outside("band", market.band, 0, PPM)
        or outside("halt_ms", market.halt_ms, 0, MAX_HALT_MS)
    )


def _bad_networks(text: str) -> Rejected | None:
    """The refusal of networks that are not each written in their one form, or of too many.

    By hand: what a library takes for right differs between its versions, and a log must mean the same for ever.
    """
    if not text:
        return None
    networks = text.split(",", MAX_NETWORKS)
    if len(networks) > MAX_NETWORKS:
        return declined("TOO_MANY", "networks", text.count(",") + 1, MAX_NETWORKS)
    return None if all(map(_is_network, networks)) else declined("BAD_NAME", "networks")


def _is_network(text: str) -> bool:
    found = _IPV4_NETWORK.fullmatch(text)
    if found is not None:
        octets = [int(octet) for octet in found[1].split(".")]
        return max(octets) <= 255 and _ends_in_zeros(octets, 8, int(found[2]))
    found = _IPV6_NETWORK.fullmatch(text)
    return found is not None and _ends_in_zeros([int(group, 16) for group in found[1].split(":")], 16, int(found[2]))


def _ends_in_zeros(parts: list[int], part_bits: int, prefix_bits: int) -> bool:
    """No bit is set behind the prefix, which is no longer than the address."""
    address = 0
    for part in parts:
        address = address << part_bits | part
    behind = len(parts) * part_bits - prefix_bits
    return behind >= 0 and address % (1 << behind) == 0


def _known(new: Struct, old: Struct | None) -> Rejected | None:
    if old is None:
        return None
    if new == old:
        return declined("ALREADY_DEFINED", "")
    for field, value, limit in zip(new.__struct_fields__, astuple(new), astuple(old), strict=True):
        if value != limit:
            if isinstance(value, int) and isinstance(limit, int):
                return declined("DEFINITION_DIFFERS", field, value, limit)
            return declined("DEFINITION_DIFFERS", field)
    raise AssertionError("unequal definitions have equal fields")


def _taken(field: str, taken: bool) -> Rejected | None:
    return declined("NAME_TAKEN", field) if taken else None


def _unknown(field: str, known: bool, reason: str, value: int) -> Rejected | None:
    return None if known else declined(reason, field, value)


def _too_many(field: str, count: int, most: int) -> Rejected | None:
    return declined("TOO_MANY", field, count, most) if count >= most else None

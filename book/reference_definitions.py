"""The reference engine's rules for what is defined: assets, markets, accounts and keys, each once and for good.

Comments that begin with > are sentences of the design, the lines below follow them.
"""

import re
from fractions import Fraction
from typing import Final

from msgspec import Struct

from book import codes, terms
from book.definitions import Account, Asset, Key, Market
from book.events import Rejected
from book.reference_rules import Refusal, demand
from book.terms import MAX_INT, PPM

_OCTETS: Final = [str(octet) for octet in range(256)]
ACCOUNT_NAME: Final = "[A-Za-z0-9._@-]{1,64}"


def judge_asset(asset: Asset, known: list[Asset]) -> None:
    """Whether it may be defined beside the known ones."""
    _judge_again(asset, [other for other in known if other.name == asset.name])
    demand_name("name", asset.name, "[A-Z0-9]{1,16}")
    # > engine units (`scale` decimals, 0..9: BTC 8, ETH 9, USDT 6)
    demand_range("scale", asset.scale, 0, 9)
    # > An asset may have a *chain* (up to 16 of a-z, 0-9 and -), a withdrawal fee and a smallest withdrawal, from 0.
    demand_name("chain", asset.chain, "[a-z0-9-]{0,16}")
    demand_range("withdrawal_fee", asset.withdrawal_fee, 0, MAX_INT)
    demand_range("min_withdrawal", asset.min_withdrawal, 0, MAX_INT)


def judge_market(market: Market, known: list[Market], assets: list[Asset]) -> None:
    """Whether it may be defined beside the known ones."""
    refused = codes.DEFINITION_REJECTED
    _judge_again(market, [other for other in known if other.symbol == market.symbol])
    demand_name("symbol", market.symbol, "[A-Z0-9-]{1,33}")
    names = [asset.name for asset in assets]
    demand(market.base in names, refused, "UNKNOWN_ASSET", "base")
    demand(market.quote in names, refused, "UNKNOWN_ASSET", "quote")
    demand(market.base != market.quote, refused, "SAME_ASSET", "quote")
    demand_range("tick", market.tick, 1, MAX_INT)
    demand_range("tick_scale", market.tick_scale, 0, 18)
    demand_range("lot", market.lot, 1, MAX_INT)
    # > (a market whose tick x lot is not a whole number of quote units is refused when it is defined)
    value = tick_value(market, assets)
    demand(value.denominator == 1, refused, "TICK_VALUE_NOT_WHOLE", "tick", market.tick)
    demand_range("tick", int(value), 1, MAX_INT)
    demand_range("max_quantity", market.max_quantity, 1, MAX_INT // market.lot)
    demand_range("min_quantity", market.min_quantity, 1, market.max_quantity)
    demand_range("min_notional", market.min_notional, 0, MAX_INT)
    demand_range("max_open_orders", market.max_open_orders, 1, 1_000_000)
    demand_range("self_trade", market.self_trade, terms.NONE, terms.DECREMENT)
    # > Maker rebates (negative) up to the taker fee.
    # A rate over the whole would be a fee larger than the proceeds.
    demand_range("taker_fee", market.taker_fee, 0, PPM)
    demand_range("maker_fee", market.maker_fee, -market.taker_fee, PPM)
    demand_range("collar", market.collar, 0, PPM)
    demand_range("reference_price", market.reference_price, 0, MAX_INT // int(value))
    demand_range("band", market.band, 0, PPM)
    demand_range("halt_ms", market.halt_ms, 0, 604_800_000)


def judge_account(account: Account, known: list[Account]) -> None:
    """Whether it may be defined beside the known ones."""
    _judge_again(account, [other for other in known if other.account == account.account])
    demand_range("account", account.account, 0, MAX_INT)
    demand_name("name", account.name, ACCOUNT_NAME)
    _demand_untaken(account.name, [other.name for other in known])


def judge_key(key: Key, known: list[Key], accounts: list[Account]) -> None:
    """Whether it may be defined beside the known ones."""
    _judge_again(key, [other for other in known if other.key == key.key])
    demand_range("key", key.key, 1, MAX_INT)
    demand_name("name", key.name, ACCOUNT_NAME)
    _demand_untaken(key.name, [other.name for other in known])
    owned = key.account in [account.account for account in accounts]
    demand(owned, codes.DEFINITION_REJECTED, "UNKNOWN_ACCOUNT", "account", key.account)
    demand_range("permissions", key.permissions, 1, sum(terms.PERMISSIONS))
    demand_name("public_key", key.public_key, "[0-9a-f]{64}")
    _judge_networks([] if key.networks == "" else key.networks.split(","))


def _judge_networks(networks: list[str]) -> None:
    # > IPv4 and IPv6 networks ..., the latter with all their digits; 32 at most
    demand(len(networks) <= 32, codes.DEFINITION_REJECTED, "TOO_MANY", "networks", len(networks), 32)
    for network in networks:
        demand_name("networks", network, "[0-9.]+/[0-9]{1,2}|([0-9a-f]{4}:){7}[0-9a-f]{4}/[0-9]{1,3}")
        address, prefix = network.split("/")
        if ":" in address:
            bits = "".join(f"{int(group, 16):016b}" for group in address.split(":"))
        else:
            octets = address.split(".")
            right = len(octets) == 4 and all(octet in _OCTETS for octet in octets)
            demand(right, codes.DEFINITION_REJECTED, "BAD_NAME", "networks")
            bits = "".join(f"{int(octet):08b}" for octet in octets)
        right = prefix == str(int(prefix)) and int(prefix) <= len(bits) and "1" not in bits[int(prefix) :]
        demand(right, codes.DEFINITION_REJECTED, "BAD_NAME", "networks")


def tick_value(market: Market, assets: list[Asset]) -> Fraction:
    """What one lot costs at one tick, in quote units."""
    scales = {asset.name: asset.scale for asset in assets}
    whole_lot = Fraction(market.lot) / Fraction(10) ** scales[market.base]
    whole_tick = Fraction(market.tick) / Fraction(10) ** market.tick_scale
    return whole_lot * whole_tick * Fraction(10) ** scales[market.quote]


def _judge_again(new: Struct, known: list[Asset] | list[Market] | list[Account] | list[Key]) -> None:
    """What is defined is defined for good."""
    for old in known:
        for field in new.__struct_fields__:
            value, before = getattr(new, field), getattr(old, field)
            numbers = (value, before) if type(value) is int else ()
            demand(value == before, codes.DEFINITION_REJECTED, "DEFINITION_DIFFERS", field, *numbers)
        raise Refusal(Rejected(codes.DEFINITION_REJECTED, "ALREADY_DEFINED"))


def demand_range(field: str, value: int, least: int, most: int) -> None:
    """Raises Refusal unless the number is in least..most."""
    demand(value >= least, codes.DEFINITION_REJECTED, "OUT_OF_RANGE", field, value, least)
    demand(value <= most, codes.DEFINITION_REJECTED, "OUT_OF_RANGE", field, value, most)


def demand_name(field: str, name: str, pattern: str) -> None:
    """Raises Refusal unless the whole name is as the pattern says."""
    demand(re.fullmatch(pattern, name) is not None, codes.DEFINITION_REJECTED, "BAD_NAME", field)


def _demand_untaken(name: str, taken: list[str]) -> None:
    demand(name not in taken, codes.DEFINITION_REJECTED, "NAME_TAKEN", "name")

"""The reference engine's rules for one command by itself: what can be judged without looking at orders or balances.

Every rule is a demand: what must be so, and what is answered where it is not. They are tried in the order written, and
the first that is not met is named. Comments that begin with > are sentences of the design, the lines below follow them.
"""

import re
from fractions import Fraction
from functools import cache
from typing import get_type_hints

from msgspec import Struct

from book import codes, terms
from book.commands import PlaceOrder, TradingCommand
from book.definitions import Account, Asset, Key, Market
from book.events import Rejected
from book.terms import BUY, GTC, LIMIT, MAX_INT, PPM


class Refusal(Exception):  # noqa: N818 -- an answer, not an error
    """What was asked is refused with this answer."""

    def __init__(self, answer: Rejected) -> None:
        super().__init__(answer)
        self.answer = answer


def demand(  # noqa: PLR0917 -- the fields of Rejected, in their order
    met: bool, code: int, reason: str = "", field: str = "", value: int = 0, limit: int = 0, ref: int = 0
) -> None:
    """Raises Refusal unless this is met."""
    if not met:
        raise Refusal(Rejected(code, reason, field, value, limit, ref))


# --- Types ------------------------------------------------------------------------------------------------------------


def judge_types(thing: Struct, kinds: tuple[type[Struct], ...]) -> None:
    """Raises TypeError unless this is of one of these kinds and all that is in it is exactly of its declared type."""
    if type(thing) not in kinds:
        raise TypeError(f"{type(thing).__name__} is none of {', '.join(kind.__name__ for kind in kinds)}")
    _judge_fields(thing)


def _judge_fields(struct: Struct) -> None:
    for field, kind in _declared(type(struct)).items():
        value = getattr(struct, field)
        if type(value) is not kind:
            raise TypeError(f"{field} is of type {type(value).__name__}, not {kind.__name__}")
        if isinstance(value, Struct):
            _judge_fields(value)


@cache
def _declared(struct: type[Struct]) -> dict[str, type[object]]:
    return get_type_hints(struct)


# --- Trading commands -------------------------------------------------------------------------------------------------


def judge_moment(command: TradingCommand, time_ns: int) -> None:
    """Whether it comes in time, and by a session that can be."""
    wrong = codes.INVALID_PARAMETER
    demand(0 <= command.session <= MAX_INT, wrong, "", "session", command.session, MAX_INT)
    # > `recvWindow` 5,000 ms unless given, <= 60,000
    window = command.recv_window
    demand(0 <= window <= 60_000, wrong, "", "recv_window", window, 60_000)
    # > `timestamp` + `recvWindow` on a command make a late one (long replay, slow network) fail instead of execute.
    # A client's clock may be a second ahead, as at Binance.
    if command.timestamp:
        late_ms = time_ns // 1_000_000 - command.timestamp
        demand(-1_000 <= late_ms <= window, codes.INVALID_TIMESTAMP, "", "timestamp", command.timestamp, window)


def judge_words(command: PlaceOrder) -> None:
    """No value that no order has, and none that the others leave no room for."""
    wrong = codes.INVALID_PARAMETER
    mode, tif, amount = command.self_trade, command.time_in_force, command.quote_quantity
    demand(command.side in terms.SIDES, codes.BAD_SIDE, "", "side", command.side)
    demand(command.type in terms.ORDER_TYPES, codes.BAD_TYPE, "", "type", command.type)
    demand(tif in terms.TIMES_IN_FORCE, codes.BAD_TIF, "", "time_in_force", tif)
    known = mode in {terms.MARKET_DEFAULT, *terms.SELF_TRADE_MODES}
    demand(known, wrong, "", "self_trade", mode, terms.DECREMENT)
    # > `clientOrderId` matches `[A-Za-z0-9._:/-]{1,36}` and is made by the server when missing
    named = re.fullmatch("([A-Za-z0-9._:/-]{1,36})?", command.client_order_id) is not None
    demand(named, wrong, "", "client_order_id")
    # > a parameter that the order type does not take: -1130
    if command.type == LIMIT:
        demand(amount == 0, wrong, "", "quote_quantity", amount)
        demand(tif == GTC or not command.post_only, wrong, "", "post_only", 1)
    else:
        demand(command.price == 0, wrong, "", "price", command.price)
        demand(not command.post_only, wrong, "", "post_only", 1)
        demand(tif != terms.FOK, wrong, "", "time_in_force", terms.FOK, terms.IOC)
        demand(amount == 0 or command.quantity == 0, wrong, "", "quantity", command.quantity)
        # > `quoteOrderQty` is the most that is spent
        # A sell spends lots.
        demand(amount == 0 or command.side == BUY, wrong, "", "quote_quantity", amount)


def judge_numbers(command: PlaceOrder, market: Market, tick_value: int) -> None:
    """The market's filters for one number each."""
    # > filters: tick, lot, min/max quantity, min notional
    wrong = codes.FILTER_FAILURE
    amount, quantity, price = command.quote_quantity, command.quantity, command.price
    if amount:
        least = max(market.min_notional, 1)
        demand(amount <= MAX_INT, wrong, "OVERFLOW", "quote_quantity", amount, MAX_INT)
        demand(amount >= least, wrong, "MIN_NOTIONAL", "quote_quantity", amount, least)
        return
    demand(quantity <= MAX_INT, wrong, "OVERFLOW", "quantity", quantity, MAX_INT)
    demand(quantity >= market.min_quantity, wrong, "LOT_SIZE", "quantity", quantity, market.min_quantity)
    demand(quantity <= market.max_quantity, wrong, "LOT_SIZE", "quantity", quantity, market.max_quantity)
    if command.type == LIMIT:
        # > All stored values fit a signed 64-bit integer, **checked before the arithmetic**
        most = MAX_INT // tick_value
        demand(price <= most, wrong, "OVERFLOW", "price", price, most)
        demand(price >= 1, wrong, "PRICE_FILTER", "price", price, 1)


# --- Definitions ------------------------------------------------------------------------------------------------------


def judge_asset(asset: Asset, known: list[Asset]) -> None:
    """Whether it may be defined beside the known ones."""
    _judge_again(asset, [other for other in known if other.name == asset.name])
    _demand_name("name", asset.name, "[A-Z0-9]{1,16}")
    # > engine units (`scale` decimals, 0..9: BTC 8, ETH 9, USDT 6)
    _demand_range("scale", asset.scale, 0, 9)


def judge_market(market: Market, known: list[Market], assets: list[Asset]) -> None:
    """Whether it may be defined beside the known ones."""
    refused = codes.DEFINITION_REJECTED
    _judge_again(market, [other for other in known if other.symbol == market.symbol])
    _demand_name("symbol", market.symbol, "[A-Z0-9-]{1,33}")
    names = [asset.name for asset in assets]
    demand(market.base in names, refused, "UNKNOWN_ASSET", "base")
    demand(market.quote in names, refused, "UNKNOWN_ASSET", "quote")
    demand(market.base != market.quote, refused, "SAME_ASSET", "quote")
    _demand_range("tick", market.tick, 1, MAX_INT)
    _demand_range("tick_scale", market.tick_scale, 0, 18)
    _demand_range("lot", market.lot, 1, MAX_INT)
    # > (a market whose tick x lot is not a whole number of quote units is refused when it is defined)
    value = tick_value(market, assets)
    demand(value.denominator == 1, refused, "TICK_VALUE_NOT_WHOLE", "tick", market.tick)
    _demand_range("tick", int(value), 1, MAX_INT)
    _demand_range("max_quantity", market.max_quantity, 1, MAX_INT // market.lot)
    _demand_range("min_quantity", market.min_quantity, 1, market.max_quantity)
    _demand_range("min_notional", market.min_notional, 0, MAX_INT)
    _demand_range("max_open_orders", market.max_open_orders, 1, 1_000_000)
    _demand_range("self_trade", market.self_trade, terms.NONE, terms.DECREMENT)
    # > Maker rebates (negative) up to the taker fee.
    # A rate over the whole would be a fee larger than the proceeds.
    _demand_range("taker_fee", market.taker_fee, 0, PPM)
    _demand_range("maker_fee", market.maker_fee, -market.taker_fee, PPM)
    _demand_range("collar", market.collar, 0, PPM)


def judge_account(account: Account, known: list[Account]) -> None:
    """Whether it may be defined beside the known ones."""
    _judge_again(account, [other for other in known if other.account == account.account])
    _demand_range("account", account.account, 0, MAX_INT)
    _demand_name("name", account.name, "[A-Za-z0-9._@-]{1,64}")
    _demand_untaken(account.name, [other.name for other in known])


def judge_key(key: Key, known: list[Key], accounts: list[Account]) -> None:
    """Whether it may be defined beside the known ones."""
    _judge_again(key, [other for other in known if other.key == key.key])
    _demand_range("key", key.key, 1, MAX_INT)
    _demand_name("name", key.name, "[A-Za-z0-9._@-]{1,64}")
    _demand_untaken(key.name, [other.name for other in known])
    owned = key.account in [account.account for account in accounts]
    demand(owned, codes.DEFINITION_REJECTED, "UNKNOWN_ACCOUNT", "account", key.account)
    _demand_range("permissions", key.permissions, 1, sum(terms.PERMISSIONS))
    _demand_name("public_key", key.public_key, "[0-9a-f]{64}")


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


def _demand_range(field: str, value: int, least: int, most: int) -> None:
    demand(value >= least, codes.DEFINITION_REJECTED, "OUT_OF_RANGE", field, value, least)
    demand(value <= most, codes.DEFINITION_REJECTED, "OUT_OF_RANGE", field, value, most)


def _demand_name(field: str, name: str, pattern: str) -> None:
    demand(re.fullmatch(pattern, name) is not None, codes.DEFINITION_REJECTED, "BAD_NAME", field)


def _demand_untaken(name: str, taken: list[str]) -> None:
    demand(name not in taken, codes.DEFINITION_REJECTED, "NAME_TAKEN", "name")

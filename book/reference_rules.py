"""The reference engine's rules for one trading command by itself, without a look at orders or balances.

Every rule is a demand: what must be so, and what is answered where it is not. They are tried in the order written, and
the first that is not met is named. Comments that begin with > are sentences of the design, the lines below follow them.
"""

import re
from functools import cache
from typing import Final, get_type_hints

from msgspec import Struct

from book import codes, terms
from book.commands import PlaceOrder, TradingCommand
from book.definitions import Market
from book.events import Rejected
from book.terms import (
    BUY,
    FOK,
    GTC,
    GTD,
    IOC,
    LIMIT,
    MARKET,
    MAX_INT,
    STOP_LOSS,
    STOP_LOSS_LIMIT,
    TAKE_PROFIT,
    TAKE_PROFIT_LIMIT,
)

LIMIT_KINDS: Final = {LIMIT, STOP_LOSS_LIMIT, TAKE_PROFIT_LIMIT}
STOP_KINDS: Final = {STOP_LOSS, STOP_LOSS_LIMIT, TAKE_PROFIT, TAKE_PROFIT_LIMIT}
# > last >= stop to buy, last <= stop to sell; the others the other way round
STOP_LOSSES: Final = {STOP_LOSS, STOP_LOSS_LIMIT}
TAKES_IN_FORCE: Final = {
    LIMIT: {GTC, IOC, FOK, GTD},
    MARKET: {GTC, IOC},
    STOP_LOSS: {GTC, GTD},
    STOP_LOSS_LIMIT: {GTC, IOC, FOK, GTD},
    TAKE_PROFIT: {GTC, GTD},
    TAKE_PROFIT_LIMIT: {GTC, IOC, FOK, GTD},
}
MOST_PARTS: Final = 100  # of an iceberg


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


def judge_words(command: PlaceOrder, time_ns: int) -> None:
    """No value that no order has, and none that the others leave no room for."""
    wrong = codes.INVALID_PARAMETER
    mode, tif = command.self_trade, command.time_in_force
    demand(command.side in terms.SIDES, codes.BAD_SIDE, "", "side", command.side)
    demand(command.type in terms.ORDER_TYPES, codes.BAD_TYPE, "", "type", command.type)
    demand(tif in terms.TIMES_IN_FORCE, codes.BAD_TIF, "", "time_in_force", tif)
    known = mode in {terms.MARKET_DEFAULT, *terms.SELF_TRADE_MODES}
    demand(known, wrong, "", "self_trade", mode, terms.DECREMENT)
    # > `clientOrderId` matches `[A-Za-z0-9._:/-]{1,36}` and is made by the server when missing
    named = re.fullmatch("([A-Za-z0-9._:/-]{1,36})?", command.client_order_id) is not None
    demand(named, wrong, "", "client_order_id")
    # > then what the type takes: `time_in_force`, `price`, `quote_quantity`, `quantity` (beside an amount),
    # > `stop_price`, `post_only`, `display_quantity`, `expire_time`
    greatest = IOC if command.type == MARKET else 0
    demand(tif in TAKES_IN_FORCE[command.type], wrong, "", "time_in_force", tif, greatest)
    demand(command.type in LIMIT_KINDS or command.price == 0, wrong, "", "price", command.price)
    # > `quoteOrderQty` is the most that is spent
    # A sell spends lots.
    amount = command.quote_quantity
    by_amount = command.type == MARKET and command.side == BUY
    demand(by_amount or amount == 0, wrong, "", "quote_quantity", amount)
    demand(amount == 0 or command.quantity == 0, wrong, "", "quantity", command.quantity)
    demand(command.type in STOP_KINDS or command.stop_price == 0, wrong, "", "stop_price", command.stop_price)
    stays = command.type == LIMIT and tif in {GTC, GTD}
    demand(stays or not command.post_only, wrong, "", "post_only", 1)
    demand(stays or command.display_quantity == 0, wrong, "", "display_quantity", command.display_quantity)
    _judge_expiry(command, time_ns)


def _judge_expiry(command: PlaceOrder, time_ns: int) -> None:
    wrong, expiry = codes.INVALID_PARAMETER, command.expire_time
    if command.time_in_force != GTD:
        demand(expiry == 0, wrong, "", "expire_time", expiry)
        return
    # > a GTD whose `expire_time` is not in the future
    demand(expiry * 10**6 > time_ns, wrong, "", "expire_time", expiry, time_ns // 10**6)
    demand(expiry <= MAX_INT // 10**6, wrong, "", "expire_time", expiry, MAX_INT // 10**6)


def judge_numbers(command: PlaceOrder, market: Market, tick_value: int) -> None:
    """The market's filters for one number each."""
    # > filters: tick, lot, min/max quantity, min notional
    wrong = codes.FILTER_FAILURE
    amount = command.quote_quantity
    if not amount:
        judge_quantity("quantity", command.quantity, market)
        if command.display_quantity:
            _judge_display(command, market)
    if command.type in LIMIT_KINDS:
        judge_price("price", command.price, tick_value)
    if command.type in STOP_KINDS:
        judge_price("stop_price", command.stop_price, tick_value)
    if amount:
        least = max(market.min_notional, 1)
        demand(amount <= MAX_INT, wrong, "OVERFLOW", "quote_quantity", amount, MAX_INT)
        demand(amount >= least, wrong, "MIN_NOTIONAL", "quote_quantity", amount, least)


def judge_quantity(field: str, quantity: int, market: Market) -> None:
    """The market's filters for a number of lots."""
    wrong = codes.FILTER_FAILURE
    demand(quantity <= MAX_INT, wrong, "OVERFLOW", field, quantity, MAX_INT)
    demand(quantity >= market.min_quantity, wrong, "LOT_SIZE", field, quantity, market.min_quantity)
    demand(quantity <= market.max_quantity, wrong, "LOT_SIZE", field, quantity, market.max_quantity)


def judge_price(field: str, price: int, tick_value: int) -> None:
    """The market's filters for a number of ticks."""
    # > All stored values fit a signed 64-bit integer, **checked before the arithmetic**
    most = MAX_INT // tick_value
    demand(price <= most, codes.FILTER_FAILURE, "OVERFLOW", field, price, most)
    demand(price >= 1, codes.FILTER_FAILURE, "PRICE_FILTER", field, price, 1)


def _judge_display(command: PlaceOrder, market: Market) -> None:
    shown, quantity = command.display_quantity, command.quantity
    demand(shown <= quantity, codes.INVALID_PARAMETER, "", "display_quantity", shown, quantity)
    least = market.min_quantity
    demand(shown >= least, codes.FILTER_FAILURE, "LOT_SIZE", "display_quantity", shown, least)
    # > an iceberg has at most 100 parts
    least = -(-quantity // MOST_PARTS)
    demand(shown >= least, codes.INVALID_PARAMETER, "", "display_quantity", shown, least)

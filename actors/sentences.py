"""Why the engine refused something, in one sentence for whoever asked. Pure.

A `Rejected` names a field, a value and a limit in the engine's words and units; the sentence has the client's.
"""

from collections.abc import Callable, Mapping
from typing import Final

from actors.parameters import Params
from book import codes
from book.decimals import format_units
from book.definitions import Asset
from book.events import Rejected
from book.market import Grid
from book.terms import MARKET_STATES

_NAMES: Final = {
    "client_order_id": "clientOrderId",
    "display_quantity": "displayQty",
    "expire_time": "expireTime",
    "new_price": "newPrice",
    "new_quantity": "newQty",
    "order_id": "orderId",
    "post_only": "postOnly",
    "quote_quantity": "quoteOrderQty",
    "recv_window": "recvWindow",
    "self_trade": "selfTradePreventionMode",
    "stop_price": "stopPrice",
    "time_in_force": "timeInForce",
    "timeout_ms": "timeoutMs",
    "withdraw_order_id": "withdrawOrderId",
}

# By the reason, with the code's name before it where that says more; where there is none or none of these, by the
# code's name, with the field where that says more.
_SENTENCES: Final = {
    "PRICE_FILTER": "{field} {value} is {side} the market's limit of {limit}",
    "LOT_SIZE": "{field} {value} is {side} the market's limit of {limit}",
    "MIN_NOTIONAL": "{field} {value} is below the market's smallest of {limit}",
    "MAX_ORDERS": "{value} orders are open in this market, and {limit} may be",
    "OVERFLOW": "{field} {value} is more than can be handled, which is {limit}",
    "INSUFFICIENT_BALANCE": "the order needs {value}, and {limit} are free",
    "DUPLICATE_CLIENT_ORDER_ID": "order {ref} has this clientOrderId already",
    "WOULD_TAKE": "a postOnly order at {value} would take from the order at {limit}",
    "WOULD_TRIGGER": "the last price, {limit}, has reached stopPrice {value} already",
    "NO_LIQUIDITY": "there is nobody to trade with",
    "FOK_UNFILLABLE": "only {limit} of {value} would be filled at once",
    "ALREADY_EXECUTED": "newQty {value} is the new total, and {limit} were executed already",
    "MARKET_CLOSED": "the market is in state {value}, which does not take this",
    "ACCOUNT_FROZEN": "the account is frozen: it may only cancel",
    "DUPLICATE_WITHDRAWAL": "this withdrawal was asked for before: withdraw.status says how far it is",
    "WITHDRAWAL_DIFFERS": "another withdrawal of the account has this withdrawOrderId",
    "WITHDRAWALS_PAUSED": "nothing is paid out at the moment",
    "ASSET_FROZEN": "the asset is not paid in or out at the moment",
    "WITHDRAWAL_REJECTED INSUFFICIENT_BALANCE": "with its fee this takes {value}, and {limit} are free",
    "WITHDRAWAL_REJECTED ACCOUNT_FROZEN": "the account is frozen: nothing is paid out",
    "MIN_WITHDRAWAL": "amount {value} is below the smallest withdrawal of {limit}",
    "TOO_MANY_WITHDRAWALS": "{value} withdrawals are under way, and {limit} may be",
    "UNKNOWN_KEY": "there is no such key",
    "REVOKED_KEY": "this key was revoked",
    "NO_PERMISSION": "this key may not do that",
    "SESSION_TAKEN": "this session stands for another account's orders already",
    "TOO_MANY": "too many sessions want their orders cancelled when they end",
    "BAD_SYMBOL": "there is no such symbol; exchangeInfo lists them",
    "INVALID_TIMESTAMP": "timestamp {value} is not within {limit} ms of the exchange's time",
    "INVALID_PARAMETER display_quantity": (
        "displayQty {value} is {side} its limit of {limit}: at most the quantity, at least a hundredth of it"
    ),
    "INVALID_PARAMETER expire_time": "expireTime {value} is not after {limit}, the exchange's time",
    "INVALID_PARAMETER new_price": "newPrice is not for this order: it has no price",
    "INVALID_PARAMETER": "{field} {value} is not valid here",
    "FILTER_FAILURE": "{field} {value} is {side} the market's limit of {limit}",
    "CANCEL_REJECTED": "there is no such open order",
    "NO_SUCH_ORDER": "there is no such order",
    "UNAUTHORIZED": "there is no such account",
    "REJECTED_KEY": "this key may not do that",
}


def sentence(rejected: Rejected, params: Params, grid: Grid | None, asset: Asset | None = None) -> str:
    """What to say about it.

    Args:
        rejected: What the engine says.
        params: What was asked.
        grid: Of the market that it was asked for, if any.
        asset: That it was asked for, if any.
    """
    name = codes.CODE_NAMES[rejected.code]
    words = (
        _SENTENCES.get(f"{name} {rejected.reason}")
        or _SENTENCES.get(rejected.reason)
        or _SENTENCES.get(f"{name} {rejected.field}")
        or _SENTENCES.get(name, "this was refused")
    )
    units = _units(rejected, params, grid) if asset is None else _units_of(rejected, asset)
    return words.format(
        field=_NAMES.get(rejected.field, rejected.field),
        value=units(rejected.value),
        limit=units(rejected.limit),
        side="above" if rejected.value > rejected.limit else "below",
        ref=rejected.ref,
    )


def _units_of(rejected: Rejected, asset: Asset) -> Callable[[int], str]:
    """How the value and the limit of a rejected withdrawal are written."""
    if rejected.field != "amount":
        return str
    return lambda units: f"{format_units(units, asset.scale)} {asset.name}"


def _units(rejected: Rejected, params: Params, grid: Grid | None) -> Callable[[int], str]:
    """How the value and the limit of a rejection are written."""
    if rejected.reason == "MARKET_CLOSED":
        return lambda state: MARKET_STATES.get(state, "")
    if grid is None:
        return str
    if rejected.reason == "INSUFFICIENT_BALANCE":
        buys = rejected.field == "quote" or getattr(params, "side", "") == "BUY"
        asset = grid.quote if buys else grid.base
        return lambda units: f"{format_units(units, asset.scale)} {asset.name}"
    by_field: Mapping[str, Callable[[int], str]] = {
        "price": grid.format_price,
        "new_price": grid.format_price,
        "stop_price": grid.format_price,
        "quantity": grid.format_quantity,
        "new_quantity": grid.format_quantity,
        "display_quantity": grid.format_quantity,
        "quote_quantity": grid.format_amount,
        "notional": grid.format_amount,
    }
    return by_field.get(rejected.field, str)

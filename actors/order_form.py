"""The form of an order: which parameters go together, by its type. Pure.

The table is that of docs/engine.md. The engine judges by it again; here it is for sentences with the client's own
words, and so that what cannot be meant needs no turn at the engine.
"""

from collections.abc import Callable
from typing import Final, NoReturn

from attrs import frozen

from actors.parameters import PlaceParams
from actors.wire import RefusedError
from book.codes import INVALID_PARAMETER, MANDATORY_PARAM
from book.terms import (
    BUY,
    FOK,
    GTC,
    GTD,
    IOC,
    LIMIT,
    MARKET,
    ORDER_TYPES,
    STOP_LOSS,
    STOP_LOSS_LIMIT,
    TAKE_PROFIT,
    TAKE_PROFIT_LIMIT,
    TIMES_IN_FORCE,
)


@frozen(kw_only=True)
class _Form:
    """What orders of a type have. A price that they do not need they may not have."""

    price: bool
    stop_price: bool
    times: frozenset[int]
    amount: bool = False
    """Whether they may have an amount instead of a quantity."""
    rests: bool = False
    """Whether they may be meant for the book only, or show only a part of themselves there."""


_ANY_TIME: Final = frozenset({GTC, IOC, FOK, GTD})
_LASTING: Final = frozenset({GTC, GTD})  # those that may rest or wait
_STOP: Final = _Form(price=False, stop_price=True, times=_LASTING)
_STOP_LIMIT: Final = _Form(price=True, stop_price=True, times=_ANY_TIME)

_FORMS: Final[dict[int, _Form]] = {
    LIMIT: _Form(price=True, stop_price=False, times=_ANY_TIME, rests=True),
    MARKET: _Form(price=False, stop_price=False, times=frozenset({GTC, IOC}), amount=True),
    STOP_LOSS: _STOP,
    STOP_LOSS_LIMIT: _STOP_LIMIT,
    TAKE_PROFIT: _STOP,
    TAKE_PROFIT_LIMIT: _STOP_LIMIT,
}


def check_form(params: PlaceParams, side: int, type_: int, time_in_force: int) -> None:
    """Raise RefusedError for what an order of this type needs and has not, or has and does not take."""
    form = _FORMS[type_]
    if time_in_force not in form.times:
        _refuse_for(f"timeInForce {TIMES_IN_FORCE[time_in_force]}", lambda form: time_in_force in form.times)
    if (not params.price) is form.price:
        _refuse_price("price", type_, lambda form: form.price)
    if params.quote_order_qty:
        _check_amount(params, side, form)
    elif not params.quantity:
        instead = ", or quoteOrderQty" if form.amount else ""
        raise RefusedError(MANDATORY_PARAM, f"quantity is missing: a {ORDER_TYPES[type_]} order needs it{instead}")
    if (not params.stop_price) is form.stop_price:
        _refuse_price("stopPrice", type_, lambda form: form.stop_price)
    if params.post_only or params.display_qty:
        _check_resting("postOnly" if params.post_only else "displayQty", time_in_force, form)
    if (not params.expire_time) is (time_in_force == GTD):
        if params.expire_time:
            raise RefusedError(INVALID_PARAMETER, "expireTime goes with timeInForce GTD only")
        raise RefusedError(MANDATORY_PARAM, "expireTime is missing: timeInForce GTD needs it")


def _check_amount(params: PlaceParams, side: int, form: _Form) -> None:
    if not form.amount:
        _refuse_for("quoteOrderQty", lambda form: form.amount)
    if params.quantity:
        raise RefusedError(INVALID_PARAMETER, "quantity and quoteOrderQty do not go together")
    if side != BUY:
        raise RefusedError(INVALID_PARAMETER, "quoteOrderQty is what is spent: it goes with side BUY only")


def _check_resting(name: str, time_in_force: int, form: _Form) -> None:
    if not form.rests:
        _refuse_for(name, lambda form: form.rests)
    if time_in_force not in _LASTING:
        raise RefusedError(INVALID_PARAMETER, f"{name} goes with timeInForce GTC and GTD only: others never rest")


def _refuse_price(name: str, type_: int, takes: Callable[[_Form], bool]) -> NoReturn:
    """It is missing where it is needed, or there where it is not taken."""
    if takes(_FORMS[type_]):
        raise RefusedError(MANDATORY_PARAM, f"{name} is missing: a {ORDER_TYPES[type_]} order needs it")
    _refuse_for(name, takes)


def _refuse_for(name: str, takes: Callable[[_Form], bool]) -> NoReturn:
    *types, last = [ORDER_TYPES[type_] for type_, form in _FORMS.items() if takes(form)]
    named = f"{', '.join(types)} and {last}" if types else last
    raise RefusedError(INVALID_PARAMETER, f"{name} is for {named} orders")

"""From requests on the wire to requests of the engine: names, numbers, combinations and permissions."""

from itertools import product

import msgspec
import pytest

from actors import intake, wire
from actors.intake import Identity, Intake
from actors.reading import read
from actors.requests import Request
from actors.wire import RefusedError
from book import queries
from book.codes import (
    BAD_PRECISION,
    BAD_SIDE,
    BAD_SYMBOL,
    BAD_TIF,
    BAD_TYPE,
    CANCEL_REJECTED,
    FILTER_FAILURE,
    INVALID_PARAMETER,
    MANDATORY_PARAM,
    REJECTED_KEY,
    UNAUTHORIZED,
    UNKNOWN_PARAM,
)
from book.commands import AmendOrder, CancelAll, CancelAllAfter, CancelOrder, PlaceOrder, ReplaceOrder
from book.events import Rejected
from book.terms import (
    BUY,
    DECREMENT,
    FOK,
    GTC,
    GTD,
    IOC,
    LIMIT,
    MARKET,
    ORDER_TYPES,
    READ,
    SELL,
    STOP_LOSS,
    STOP_LOSS_LIMIT,
    TAKE_PROFIT,
    TAKE_PROFIT_LIMIT,
    TIMES_IN_FORCE,
    TRADE,
)
from tests.clients import EPOCH_MS, Exchange, place

ALICE = Identity(account=1, key=11, session=7, permissions=READ | TRADE, since_ms=0)
VENUES = Exchange().directory.venues


def ask(request: dict[str, object], identity: Identity | None = ALICE) -> Request:
    """The engine's request."""
    message = read(msgspec.json.encode(request))
    return Intake(VENUES, identity).makers[type(message)](message)


def ask_method(method: str, **params: object) -> Request:
    """The engine's request, for a method."""
    return ask({"method": method, "params": params})


def refused(request: dict[str, object], identity: Identity | None = ALICE) -> RefusedError:
    """Why there is none."""
    with pytest.raises(RefusedError) as caught:
        ask(request, identity)
    return caught.value


def test_a_limit_order_becomes_ticks_and_lots() -> None:
    """Every parameter arrives where the engine looks for it."""
    assert ask(place(1)) == PlaceOrder(1, 11, 7, "BTC-USDT", BUY, LIMIT, GTC, 10, 4_900_000)
    assert ask(
        place(
            1,
            side="SELL",
            timeInForce="FOK",
            quantity="0001.50",
            price="0.01",
            clientOrderId="a.B_9:/-",
            selfTradePreventionMode="DECREMENT",
            timestamp=5,
            recvWindow=60_000,
        )
    ) == PlaceOrder(1, 11, 7, "BTC-USDT", SELL, LIMIT, FOK, 15_000, 1, 0, False, "a.B_9:/-", DECREMENT, 5, 60_000)
    assert ask(place(1, postOnly=True)) == PlaceOrder(
        1, 11, 7, "BTC-USDT", BUY, LIMIT, GTC, 10, 4_900_000, post_only=True
    )


def test_a_market_order_has_a_quantity_or_an_amount() -> None:
    """An amount is in units of the quote asset."""
    assert ask(place(1, type="MARKET", price=None)) == PlaceOrder(1, 11, 7, "BTC-USDT", BUY, MARKET, GTC, 10, 0)
    assert ask(place(1, type="MARKET", price=None, side="SELL", timeInForce="IOC")) == PlaceOrder(
        1, 11, 7, "BTC-USDT", SELL, MARKET, IOC, 10, 0
    )
    assert ask(place(1, type="MARKET", price=None, quantity=None, quoteOrderQty="12.345678")) == PlaceOrder(
        1, 11, 7, "BTC-USDT", BUY, MARKET, GTC, 0, 0, 12_345_678
    )


def test_a_stop_has_its_trigger_in_ticks() -> None:
    """Beside a price where the type has one."""
    assert ask(place(1, type="STOP_LOSS", price=None, stopPrice="48000")) == PlaceOrder(
        1, 11, 7, "BTC-USDT", BUY, STOP_LOSS, GTC, 10, 0, stop_price=4_800_000
    )
    assert ask(place(1, type="TAKE_PROFIT", price=None, stopPrice="48000", side="SELL")) == PlaceOrder(
        1, 11, 7, "BTC-USDT", SELL, TAKE_PROFIT, GTC, 10, 0, stop_price=4_800_000
    )
    assert ask(place(1, type="STOP_LOSS_LIMIT", stopPrice="48000", timeInForce="FOK")) == PlaceOrder(
        1, 11, 7, "BTC-USDT", BUY, STOP_LOSS_LIMIT, FOK, 10, 4_900_000, stop_price=4_800_000
    )
    assert ask(place(1, type="TAKE_PROFIT_LIMIT", stopPrice="0", timeInForce="GTD", expireTime=5)) == PlaceOrder(
        1, 11, 7, "BTC-USDT", BUY, TAKE_PROFIT_LIMIT, GTD, 10, 4_900_000, expire_time=5
    )


def test_an_order_may_show_a_part_and_end_at_a_time() -> None:
    """In lots, and in the milliseconds that were given."""
    assert ask(place(1, displayQty="0.0002", timeInForce="GTD", expireTime=1_900_000_000_000)) == PlaceOrder(
        1, 11, 7, "BTC-USDT", BUY, LIMIT, GTD, 10, 4_900_000, expire_time=1_900_000_000_000, display_quantity=2
    )


def test_other_requests_carry_who_asks() -> None:
    """Commands name account, key and session; queries the account alone; market data nobody."""
    assert ask_method("order.cancel", symbol="BTC-USDT", orderId=5) == CancelOrder(1, 11, 7, "BTC-USDT", 5)
    assert ask_method("order.cancel", symbol="BTC-USDT", clientOrderId="x", timestamp=9, recvWindow=8) == CancelOrder(
        1, 11, 7, "BTC-USDT", 0, "x", 9, 8
    )
    assert ask_method("order.amend", symbol="BTC-USDT", orderId=5, newQty="0.5") == AmendOrder(
        1, 11, 7, "BTC-USDT", 5, "", 5_000
    )
    assert ask_method(
        "order.amend", symbol="BTC-USDT", clientOrderId="x", newQty="1", newPrice="2", timestamp=9, recvWindow=8
    ) == AmendOrder(1, 11, 7, "BTC-USDT", 0, "x", 10_000, 200, 9, 8)
    new = place(1)["params"]
    assert isinstance(new, dict)
    placed = PlaceOrder(1, 11, 7, "BTC-USDT", BUY, LIMIT, GTC, 10, 4_900_000)
    assert ask_method("order.cancelReplace", cancelOrderId=5, **new) == ReplaceOrder(5, "", placed)
    assert ask_method("order.cancelReplace", cancelClientOrderId="x", **new) == ReplaceOrder(0, "x", placed)
    assert ask({**place(1), "method": "order.test"}) == queries.JudgeOrder(placed)
    assert ask_method("openOrders.cancelAll") == CancelAll(1, 11, 7)
    assert ask_method("openOrders.cancelAll", symbol="BTC-USDT") == CancelAll(1, 11, 7, "BTC-USDT")
    assert ask_method("order.cancelAllAfter", timeoutMs=9_000) == CancelAllAfter(1, 11, 7, 9_000)
    assert ask_method("order.cancelAllAfter", timeoutMs=0, timestamp=9, recvWindow=8) == CancelAllAfter(
        1, 11, 7, 0, 9, 8
    )
    assert ask_method("order.status", symbol="BTC-USDT", orderId=5) == queries.OrderStatus(1, "BTC-USDT", 5)
    assert ask_method("openOrders.status") == queries.OpenOrders(1)
    assert ask_method("account.status") == queries.Balances(1)
    assert ask_method("myTrades", symbol="BTC-USDT") == queries.AccountTrades(1, "BTC-USDT", 0, 500)
    assert ask_method("allOrders", symbol="BTC-USDT", fromId=3, limit=4) == queries.AccountOrders(1, "BTC-USDT", 3, 4)
    assert ask_method("account.commission", symbol="BTC-USDT") == queries.Commission(1, "BTC-USDT")
    assert ask_method("depth", symbol="BTC-USDT", limit=7) == queries.Depth("BTC-USDT", 7)
    assert ask_method("ticker.24hr", symbol="BTC-USDT") == queries.Ticker("BTC-USDT")
    assert ask_method("klines", symbol="BTC-USDT", interval="1m", startTime=5, endTime=6, limit=7) == queries.Candles(
        "BTC-USDT", 60 * 10**9, 5_000_000, 6_000_000, 7
    )
    assert ask_method("klines", symbol="BTC-USDT", interval="1d") == queries.Candles("BTC-USDT", 24 * 3_600 * 10**9)
    assert ask_method("exchangeInfo") == queries.Directory()


def test_more_trades_than_are_kept_are_not_asked_for() -> None:
    """The protocol allows for more than the engine remembers."""
    for limit, asked in ((1, 1), (1_000, 1_000), (5_000, 1_000)):
        assert ask_method("trades.recent", symbol="BTC-USDT", limit=limit) == queries.RecentTrades("BTC-USDT", asked)
    assert ask_method("trades.recent", symbol="BTC-USDT") == queries.RecentTrades("BTC-USDT", 100)


@pytest.mark.parametrize(
    ("changes", "code", "reason", "word"),
    [
        ({"symbol": "BTC-EUR"}, BAD_SYMBOL, None, "exchangeInfo"),
        ({"side": "buy"}, BAD_SIDE, None, "BUY, SELL"),
        ({"type": "ICEBERG"}, BAD_TYPE, None, "LIMIT, MARKET"),
        ({"timeInForce": "DAY"}, BAD_TIF, None, "GTC, IOC, FOK, GTD"),
        ({"selfTradePreventionMode": "MAYBE"}, INVALID_PARAMETER, None, "EXPIRE_TAKER"),
        ({"quantity": None}, MANDATORY_PARAM, None, "quantity"),
        ({"price": None}, MANDATORY_PARAM, None, "price"),
        ({"quoteOrderQty": "5"}, INVALID_PARAMETER, None, "quoteOrderQty"),
        ({"quoteOrderQty": "0"}, INVALID_PARAMETER, None, "quoteOrderQty"),
        (
            {"postOnly": True, "timeInForce": "IOC"},
            INVALID_PARAMETER,
            None,
            "postOnly goes with timeInForce GTC and GTD",
        ),
        (
            {"displayQty": "0.0001", "timeInForce": "FOK"},
            INVALID_PARAMETER,
            None,
            "displayQty goes with timeInForce GTC",
        ),
        ({"displayQty": "0"}, FILTER_FAILURE, "LOT_SIZE", "displayQty must be 0.0001 or more"),
        ({"displayQty": "0.00000001"}, FILTER_FAILURE, "LOT_SIZE", "displayQty must be a multiple"),
        ({"expireTime": 5}, INVALID_PARAMETER, None, "expireTime goes with timeInForce GTD only"),
        ({"timeInForce": "GTD"}, MANDATORY_PARAM, None, "expireTime is missing"),
        ({"stopPrice": "0"}, INVALID_PARAMETER, None, "stopPrice is for STOP_LOSS, STOP_LOSS_LIMIT, TAKE_PROFIT and"),
        ({"type": "STOP_LOSS_LIMIT"}, MANDATORY_PARAM, None, "stopPrice is missing: a STOP_LOSS_LIMIT order needs it"),
        ({"type": "STOP_LOSS_LIMIT", "stopPrice": "1.001"}, FILTER_FAILURE, "PRICE_FILTER", "stopPrice must be a"),
        (
            {"type": "STOP_LOSS", "stopPrice": "1"},
            INVALID_PARAMETER,
            None,
            "price is for LIMIT, STOP_LOSS_LIMIT and TAKE_PROFIT_LIMIT orders",
        ),
        (
            {"type": "TAKE_PROFIT", "price": None, "stopPrice": "1", "timeInForce": "IOC"},
            INVALID_PARAMETER,
            None,
            "timeInForce IOC is for LIMIT, MARKET, STOP_LOSS_LIMIT and TAKE_PROFIT_LIMIT orders",
        ),
        (
            {"type": "TAKE_PROFIT_LIMIT", "stopPrice": "1", "postOnly": True},
            INVALID_PARAMETER,
            None,
            "is for LIMIT orders",
        ),
        ({"type": "STOP_LOSS_LIMIT", "stopPrice": "1", "quoteOrderQty": "1"}, INVALID_PARAMETER, None, "is for MARKET"),
        ({"type": "MARKET"}, INVALID_PARAMETER, None, "price"),
        ({"type": "MARKET", "price": "0"}, INVALID_PARAMETER, None, "price"),
        ({"type": "MARKET", "price": None, "postOnly": True}, INVALID_PARAMETER, None, "postOnly"),
        ({"type": "MARKET", "price": None, "timeInForce": "FOK"}, INVALID_PARAMETER, None, "timeInForce"),
        ({"type": "MARKET", "price": None, "quantity": None}, MANDATORY_PARAM, None, "quoteOrderQty"),
        ({"type": "MARKET", "price": None, "quoteOrderQty": "5"}, INVALID_PARAMETER, None, "quantity and"),
        (
            {"type": "MARKET", "price": None, "quantity": None, "quoteOrderQty": "5", "side": "SELL"},
            INVALID_PARAMETER,
            None,
            "BUY only",
        ),
        ({"clientOrderId": "a b"}, INVALID_PARAMETER, None, "clientOrderId"),
        ({"clientOrderId": "a\n"}, INVALID_PARAMETER, None, "clientOrderId"),
        ({"clientOrderId": "ü"}, INVALID_PARAMETER, None, "clientOrderId"),
        ({"quantity": "-1"}, INVALID_PARAMETER, None, "quantity"),
        ({"quantity": "1e3"}, INVALID_PARAMETER, None, "exponent"),
        ({"quantity": ".5"}, INVALID_PARAMETER, None, "quantity"),
        ({"quantity": "1_0"}, INVALID_PARAMETER, None, "quantity"),
        ({"quantity": "٣"}, INVALID_PARAMETER, None, "quantity"),
        ({"quantity": "1" * 41}, INVALID_PARAMETER, None, "40 characters"),
        ({"quantity": "0.000000001"}, BAD_PRECISION, None, "8 decimals of BTC"),
        ({"quantity": "0.00000001"}, FILTER_FAILURE, "LOT_SIZE", "multiple of 0.0001"),
        ({"price": "x"}, INVALID_PARAMETER, None, "price"),
        ({"price": "1.0000001"}, BAD_PRECISION, None, "0.01"),
        ({"price": "1.001"}, FILTER_FAILURE, "PRICE_FILTER", "multiple of 0.01"),
        (
            {"type": "MARKET", "price": None, "quantity": None, "quoteOrderQty": "1.0000001"},
            BAD_PRECISION,
            None,
            "6 decimals of USDT",
        ),
        (
            {"type": "MARKET", "price": None, "quantity": None, "quoteOrderQty": " 1"},
            INVALID_PARAMETER,
            None,
            "quoteOrderQty",
        ),
    ],
)
def test_an_order_that_cannot_be_meant_is_refused(
    changes: dict[str, object], code: int, reason: str | None, word: str
) -> None:
    """Names that do not exist, numbers off the grid, parameters that do not go together."""
    error = refused(place(1, **changes))
    assert error.code == code
    assert (error.reason if isinstance(error.reason, str) else None) == reason
    assert word in error.message
    assert not error.message.endswith((" ", ","))


OPTIONAL: dict[str, object] = {
    "quantity": "0.0010",
    "quoteOrderQty": "50",
    "price": "49000",
    "stopPrice": "48000",
    "expireTime": EPOCH_MS + 1,
    "postOnly": True,
    "displayQty": "0.0005",
}


@pytest.mark.parametrize("type_", ORDER_TYPES.values())
def test_the_form_of_an_order_is_judged_here_as_the_engine_judges_it(
    type_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For every set of parameters: refused here are those that the engine would refuse for their form."""
    exchange = Exchange()

    def engine_refuses(asked: dict[str, object]) -> bool:
        with monkeypatch.context() as patched:
            patched.setattr(intake, "check_form", lambda *_: None)
            outcome = exchange.outcome(ask({**asked, "method": "order.test"}))
        if not isinstance(outcome, Rejected):
            return False
        # What is needed and missing is a zero to the engine, which is below every least value.
        missing = outcome.code == FILTER_FAILURE and outcome.value == 0
        return outcome.code == INVALID_PARAMETER or missing

    accepted = 0
    for side, time_in_force in product(("BUY", "SELL"), TIMES_IN_FORCE.values()):
        for given in product((False, True), repeat=len(OPTIONAL)):
            params = {
                name: value if there else None for (name, value), there in zip(OPTIONAL.items(), given, strict=True)
            }
            asked = place(1, side=side, type=type_, timeInForce=time_in_force, **params)
            try:
                ask(asked)
            except RefusedError:
                assert engine_refuses(asked), asked
            else:
                accepted += 1
                assert not engine_refuses(asked), asked
    assert accepted == {"LIMIT": 20, "MARKET": 6, "STOP_LOSS": 4, "TAKE_PROFIT": 4}.get(type_, 8)


@pytest.mark.parametrize(
    ("params", "code", "word"),
    [
        ({}, MANDATORY_PARAM, "newQty"),
        ({"newQty": "0"}, CANCEL_REJECTED, "newQty"),
        ({"newQty": "0.0000", "newPrice": "5"}, CANCEL_REJECTED, "newQty"),
        ({"newPrice": "0"}, FILTER_FAILURE, "newPrice must be 0.01 or more"),
        ({"newQty": "-1"}, INVALID_PARAMETER, "newQty"),
        ({"newQty": "1" * 41}, INVALID_PARAMETER, "newQty"),
        ({"newQty": "0.000000001"}, BAD_PRECISION, "newQty"),
        ({"newQty": "0.00000001"}, FILTER_FAILURE, "newQty"),
        ({"newPrice": "1e3"}, INVALID_PARAMETER, "newPrice"),
        ({"newPrice": "1.0000001"}, BAD_PRECISION, "newPrice"),
        ({"newPrice": "1.001"}, FILTER_FAILURE, "newPrice"),
    ],
)
def test_an_amendment_that_cannot_be_meant_is_refused(params: dict[str, object], code: int, word: str) -> None:
    """It has to say what changes; a zero is never taken for 'not given'."""
    error = refused({"method": "order.amend", "params": {"symbol": "BTC-USDT", "orderId": 1, **params}})
    assert error.code == code
    assert word in error.message


@pytest.mark.parametrize(
    ("changes", "code", "word"),
    [
        ({}, MANDATORY_PARAM, "cancelOrderId is missing"),
        ({"cancelOrderId": 1, "cancelClientOrderId": "a"}, INVALID_PARAMETER, "cancelOrderId and cancelClientOrderId"),
        ({"cancelClientOrderId": "a b"}, INVALID_PARAMETER, "cancelClientOrderId"),
        ({"cancelOrderId": 0}, INVALID_PARAMETER, "cancelOrderId"),
        ({"cancelOrderId": "1"}, INVALID_PARAMETER, "cancelOrderId"),
        ({"cancelOrderId": 1, "orderId": 1}, UNKNOWN_PARAM, "cancelOrderId"),
        ({"cancelOrderId": 1, "stopPrice": "1"}, INVALID_PARAMETER, "stopPrice"),
        ({"cancelOrderId": 1, "symbol": "X"}, BAD_SYMBOL, "exchangeInfo"),
        ({"cancelOrderId": 1, "side": "buy"}, BAD_SIDE, "BUY, SELL"),
        ({"cancelOrderId": 1, "price": None}, MANDATORY_PARAM, "price"),
    ],
)
def test_a_replacement_names_the_order_that_leaves_and_a_whole_new_one(
    changes: dict[str, object], code: int, word: str
) -> None:
    """By exactly one id, and by the rules of a placement."""
    error = refused({**place(1, **changes), "method": "order.cancelReplace"})
    assert error.code == code
    assert word in error.message


@pytest.mark.parametrize("method", ["order.cancel", "order.amend", "order.status"])
def test_an_order_is_named_by_exactly_one_id(method: str) -> None:
    """None is too few, both are too many, and a client's id has its alphabet."""
    for params, code in (
        ({}, MANDATORY_PARAM),
        ({"orderId": 1, "clientOrderId": "a"}, INVALID_PARAMETER),
        ({"clientOrderId": "a b"}, INVALID_PARAMETER),
    ):
        assert refused({"method": method, "params": {"symbol": "BTC-USDT", **params}}).code == code


@pytest.mark.parametrize(
    "method",
    [
        "order.cancel",
        "order.amend",
        "order.status",
        "openOrders.status",
        "openOrders.cancelAll",
        "myTrades",
        "allOrders",
        "account.commission",
        "depth",
        "trades.recent",
        "ticker.24hr",
        "klines",
    ],
)
def test_a_symbol_that_there_is_not_is_refused_everywhere(method: str) -> None:
    """Also where it may be left out."""
    params: dict[str, object] = {"symbol": "X"}
    if method.startswith("order."):
        params["orderId"] = 1
    if method == "klines":
        params["interval"] = "1m"
    assert refused({"method": method, "params": params}).code == BAD_SYMBOL


REQUESTS: dict[str, dict[str, object]] = {
    "order.place": place(1),
    "order.cancel": {"method": "order.cancel", "params": {"symbol": "BTC-USDT", "orderId": 1}},
    "order.amend": {"method": "order.amend", "params": {"symbol": "BTC-USDT", "orderId": 1, "newQty": "1"}},
    "order.cancelReplace": {**place(1, cancelOrderId=1), "method": "order.cancelReplace"},
    "order.test": {**place(1), "method": "order.test"},
    "openOrders.cancelAll": {"method": "openOrders.cancelAll"},
    "order.cancelAllAfter": {"method": "order.cancelAllAfter", "params": {"timeoutMs": 1}},
    "myTrades": {"method": "myTrades", "params": {"symbol": "BTC-USDT"}},
    "allOrders": {"method": "allOrders", "params": {"symbol": "BTC-USDT"}},
    "account.commission": {"method": "account.commission", "params": {"symbol": "BTC-USDT"}},
    "trades.recent": {"method": "trades.recent", "params": {"symbol": "BTC-USDT"}},
    "ticker.24hr": {"method": "ticker.24hr", "params": {"symbol": "BTC-USDT"}},
    "klines": {"method": "klines", "params": {"symbol": "BTC-USDT", "interval": "1m"}},
    "order.status": {"method": "order.status", "params": {"symbol": "BTC-USDT", "orderId": 1}},
    "openOrders.status": {"method": "openOrders.status"},
    "account.status": {"method": "account.status"},
    "depth": {"method": "depth", "params": {"symbol": "BTC-USDT"}},
    "exchangeInfo": {"method": "exchangeInfo"},
}


def allowed(identity: Identity | None) -> dict[str, int]:
    """By method: 0 for what may be asked, else the code it is refused with."""
    found = {}
    for method, request in REQUESTS.items():
        try:
            ask(request, identity)
            found[method] = 0
        except RefusedError as error:
            found[method] = error.code
    return found


MARKET_DATA = {"depth", "exchangeInfo", "trades.recent", "ticker.24hr", "klines"}
READING = {"order.status", "openOrders.status", "myTrades", "allOrders", "account.status", "account.commission"}
TRADING = REQUESTS.keys() - MARKET_DATA - READING


def test_before_a_logon_there_is_market_data_only() -> None:
    """Everything else is unauthorized, whatever the parameters."""
    assert allowed(None) == {method: 0 if method in MARKET_DATA else UNAUTHORIZED for method in REQUESTS}


def test_a_key_may_do_what_its_permissions_say() -> None:
    """Reading does not trade, trading does not read, and neither needs the other.

    What would change something is the engine's to refuse, so that the log has it: it goes there as whose it is.
    """
    for permissions, forbidden in (
        (READ, {"order.test"}),
        (TRADE, READING),
        (0, {"order.test"} | READING),
        (READ | TRADE, set()),
    ):
        identity = Identity(account=1, key=11, session=7, permissions=permissions, since_ms=0)
        assert {method for method, code in allowed(identity).items() if code == REJECTED_KEY} == forbidden
        order = ask(REQUESTS["order.place"], identity)
        assert isinstance(order, PlaceOrder)
        assert (order.account, order.key, order.session) == (1, 11, 7)


def test_a_batch_is_for_those_who_are_logged_on() -> None:
    """There is nothing to ask but its orders."""
    batch: dict[str, object] = {"method": "order.batch", "params": {"orders": [{}]}}
    assert refused(batch, None).code == UNAUTHORIZED
    for permissions in (READ, READ | TRADE):
        assert wire.OrderBatch not in Intake(VENUES, Identity(1, 11, 7, permissions, 0)).makers

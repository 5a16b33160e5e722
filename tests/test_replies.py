"""From outcomes to reply lines, byte for byte: the shapes of the protocol, and a sentence for everything refused."""

from typing import Any

import msgspec
import pytest

from actors import wire
from actors.mailbox import Busy, Faulted, NotDone, OutcomeUnknown, Stopped
from actors.reading import read
from actors.requests import Done, Outcome
from book import codes, queries
from book.commands import (
    AmendOrder,
    CancelAll,
    CancelAllAfter,
    CancelOrder,
    Command,
    FreezeAccount,
    PlaceOrder,
    ReplaceOrder,
    RevokeKey,
    SetMarketState,
)
from book.definitions import Asset
from book.events import OrderReduced, OrderTriggered, Rejected, Trade
from book.queries import AccountTrade, DirectoryView
from book.terms import (
    BUY,
    CANCEL_ONLY,
    DECREMENT,
    FOK,
    GTC,
    GTD,
    HALT,
    IOC,
    LIMIT,
    MARKET,
    NONE,
    SELL,
    STOP_LOSS,
    STOP_LOSS_LIMIT,
    TAKE_PROFIT_LIMIT,
)
from tests.clients import EPOCH_MS, Exchange

ALICE = (1, 11, 7)
BOB = (2, 12, 8)


def line(exchange: Exchange, request: wire.Request, outcome: Outcome) -> str:
    """What the client reads."""
    encoded = wire.encode_lines([exchange.replies.reply(request, outcome)]).decode()
    assert encoded.endswith("\n")
    return encoded[:-1]


def request(method: str, **params: object) -> wire.Request:
    """A request with id 1."""
    return read(msgspec.json.encode({"id": 1, "method": method, "params": params}))


def limit(side: str = "BUY", **more: object) -> wire.Request:
    """The wire's request that goes with orders; only its id and side matter here."""
    return request("order.place", symbol="BTC-USDT", side=side, type="LIMIT", quantity="1", price="1", **more)


AMEND = request("order.amend", symbol="BTC-USDT", orderId=1, newQty="1")
CANCEL = request("order.cancel", symbol="BTC-USDT", orderId=1)
STATUS = request("order.status", symbol="BTC-USDT", orderId=1)


def test_a_resting_order_is_answered_without_fills() -> None:
    """All decimals of lot and quote asset are there, also of zero."""
    exchange = Exchange()
    outcome = exchange.outcome(PlaceOrder(*ALICE, "BTC-USDT", BUY, LIMIT, GTC, 10, 4_900_000, client_order_id="a-1"))
    assert line(exchange, limit(), outcome) == (
        '{"id":1,"status":200,"result":{"orderId":1,"clientOrderId":"a-1","symbol":"BTC-USDT","status":"NEW",'
        f'"executedQty":"0.0000","cumQuoteQty":"0.000000","fills":[],"transactTime":{EPOCH_MS},"seq":{exchange.seq}}}}}'
    )


def test_a_taker_is_answered_with_its_fills_and_how_it_ended() -> None:
    """Fills at the makers' prices, fees in the quote asset, and the sums of both."""
    exchange = Exchange()
    exchange.outcome(PlaceOrder(*ALICE, "BTC-USDT", SELL, LIMIT, GTC, 10_000, 5_000_000))
    exchange.outcome(PlaceOrder(*ALICE, "BTC-USDT", SELL, LIMIT, GTC, 10_000, 5_000_100))
    outcome = exchange.outcome(PlaceOrder(*BOB, "BTC-USDT", BUY, LIMIT, IOC, 15_000, 5_100_000, client_order_id="b-1"))
    assert line(exchange, limit(), outcome) == (
        '{"id":1,"status":200,"result":{"orderId":3,"clientOrderId":"b-1","symbol":"BTC-USDT","status":"FILLED",'
        '"executedQty":"1.5000","cumQuoteQty":"75000.500000","fills":['
        '{"price":"50000.00","qty":"1.0000","fee":"100.000000","feeAsset":"USDT","tradeId":1},'
        '{"price":"50001.00","qty":"0.5000","fee":"50.001000","feeAsset":"USDT","tradeId":2}],'
        f'"transactTime":{EPOCH_MS},"seq":{exchange.seq}}}}}'
    )


@pytest.mark.parametrize(
    ("order", "status", "executed"),
    [
        (PlaceOrder(*BOB, "BTC-USDT", BUY, LIMIT, GTC, 20_000, 5_000_000), "PARTIALLY_FILLED", "1.0000"),
        (PlaceOrder(*BOB, "BTC-USDT", BUY, LIMIT, IOC, 20_000, 5_000_000), "EXPIRED", "1.0000"),
        (PlaceOrder(*BOB, "BTC-USDT", BUY, LIMIT, IOC, 20_000, 4_000_000), "EXPIRED", "0.0000"),
        (PlaceOrder(*BOB, "BTC-USDT", BUY, LIMIT, FOK, 10_000, 5_000_000), "FILLED", "1.0000"),
        (PlaceOrder(*BOB, "BTC-USDT", BUY, MARKET, GTC, 20_000, 0), "EXPIRED", "1.0000"),
        (PlaceOrder(*BOB, "BTC-USDT", BUY, MARKET, GTC, 0, 0, 25_050_000_000), "FILLED", "0.5000"),
        (PlaceOrder(*ALICE, "BTC-USDT", BUY, LIMIT, GTC, 20_000, 5_000_000), "EXPIRED_IN_MATCH", "0.0000"),
    ],
)
def test_the_status_is_that_of_the_order_when_the_command_was_over(
    order: PlaceOrder, status: str, executed: str
) -> None:
    """Whatever its type and however it ended, or did not."""
    exchange = Exchange()
    exchange.outcome(PlaceOrder(*ALICE, "BTC-USDT", SELL, LIMIT, GTC, 10_000, 5_000_000))
    result = msgspec.json.decode(line(exchange, limit(), exchange.outcome(order)))["result"]
    assert (result["status"], result["executedQty"]) == (status, executed)


def test_a_self_trade_that_shrinks_the_order_is_no_fill() -> None:
    """What prevention took off counts as neither executed nor closed."""
    exchange = Exchange()
    exchange.outcome(PlaceOrder(*ALICE, "BTC-USDT", SELL, LIMIT, GTC, 10_000, 5_000_000))
    outcome = exchange.outcome(PlaceOrder(*ALICE, "BTC-USDT", BUY, LIMIT, GTC, 20_000, 5_000_000, self_trade=DECREMENT))
    assert any(isinstance(event, OrderReduced) for event in getattr(outcome, "events", []))
    result = msgspec.json.decode(line(exchange, limit(), outcome))["result"]
    assert (result["status"], result["executedQty"], result["fills"]) == ("NEW", "0.0000", [])


def test_a_cancel_and_a_status_show_the_whole_order() -> None:
    """The same shape everywhere, as the order stands or ended."""
    exchange = Exchange()
    exchange.outcome(PlaceOrder(*ALICE, "BTC-USDT", SELL, LIMIT, GTC, 10_000, 5_000_000, client_order_id="a-1"))
    exchange.outcome(PlaceOrder(*BOB, "BTC-USDT", BUY, LIMIT, IOC, 4_000, 5_000_000))
    shown = (
        '"orderId":1,"clientOrderId":"a-1","symbol":"BTC-USDT","side":"SELL","type":"LIMIT","timeInForce":"GTC",'
        '"price":"50000.00","origQty":"1.0000","executedQty":"0.4000","cumQuoteQty":"20000.000000","status":"%s",'
        f'"time":{EPOCH_MS},"updateTime":{EPOCH_MS}'
    )
    status = exchange.outcome(queries.OrderStatus(1, "BTC-USDT", 1))
    assert line(exchange, STATUS, status) == ('{"id":1,"status":200,"result":{' + shown % "PARTIALLY_FILLED" + "}}")
    orders = exchange.outcome(queries.OpenOrders(1))
    assert line(exchange, request("openOrders.status"), orders) == (
        '{"id":1,"status":200,"result":{"orders":[{' + shown % "PARTIALLY_FILLED" + "}]}}"
    )
    ended = exchange.outcome(CancelOrder(*ALICE, "BTC-USDT", 1))
    assert line(exchange, CANCEL, ended) == '{"id":1,"status":200,"result":{' + shown % "CANCELED" + "}}"


def amended(exchange: Exchange, order_id: int, quantity: int, price: int) -> dict[str, object]:
    """The result of an amendment of one of bob's orders."""
    outcome = exchange.outcome(AmendOrder(*BOB, "BTC-USDT", order_id, "", quantity, price))
    reply = msgspec.json.decode(line(exchange, AMEND, outcome))
    assert (reply["id"], reply["status"]) == (1, 200)
    result: dict[str, object] = reply["result"]
    status = exchange.outcome(queries.OrderStatus(2, "BTC-USDT", order_id))
    assert result == msgspec.json.decode(line(exchange, STATUS, status))["result"]
    return result


def test_an_amendment_shows_the_order_as_it_stands_after_its_trades() -> None:
    """The same as order.status would say: at rest, partly filled, shrunk by self-trade prevention, filled."""
    exchange = Exchange()
    exchange.outcome(PlaceOrder(*ALICE, "BTC-USDT", SELL, LIMIT, GTC, 10_000, 5_000_000))
    exchange.outcome(PlaceOrder(*BOB, "BTC-USDT", BUY, LIMIT, GTC, 30_000, 4_000_000, self_trade=DECREMENT))
    resting = amended(exchange, 2, 25_000, 0)
    assert (resting["origQty"], resting["price"], resting["status"]) == ("2.5000", "40000.00", "NEW")
    exchange.outcome(PlaceOrder(*BOB, "BTC-USDT", SELL, LIMIT, GTC, 5_000, 5_000_000))
    exchange.outcome(PlaceOrder(*ALICE, "BTC-USDT", SELL, LIMIT, GTC, 5_000, 5_000_000))
    crossing = amended(exchange, 2, 0, 5_000_000)
    assert (crossing["origQty"], crossing["executedQty"], crossing["cumQuoteQty"], crossing["status"]) == (
        *("2.0000", "1.5000", "75000.000000"),
        "PARTIALLY_FILLED",
    )
    exchange.outcome(PlaceOrder(*ALICE, "BTC-USDT", SELL, LIMIT, GTC, 10_000, 6_000_000))
    filled = amended(exchange, 2, 0, 6_000_000)
    assert (filled["executedQty"], filled["status"]) == ("2.0000", "FILLED")


@pytest.mark.parametrize(
    ("command", "code", "sentence"),
    [
        (
            AmendOrder(*ALICE, "BTC-USDT", 1, "", 4_000),
            codes.CANCEL_REJECTED,
            "newQty 0.4000 is the new total, and 0.5000 were executed already",
        ),
        (AmendOrder(*ALICE, "BTC-USDT", 9, "", 4_000), codes.CANCEL_REJECTED, "there is no such open order"),
        (
            AmendOrder(*ALICE, "BTC-USDT", 1, "", 100_000_001),
            codes.FILTER_FAILURE,
            "newQty 10000.0001 is above the market's limit of 10000.0000",
        ),
        (
            AmendOrder(*ALICE, "BTC-USDT", 1, "", 100_000_000),
            codes.ORDER_REJECTED,
            "the order needs 9999.50000000 BTC, and 999.50000000 BTC are free",
        ),
        (
            AmendOrder(*BOB, "BTC-USDT", 2, "", 100_000_000),
            codes.ORDER_REJECTED,
            "the order needs 400800000.000000 USDT, and 99974950.000000 USDT are free",
        ),
        (
            AmendOrder(*BOB, "BTC-USDT", 2, "", 0, 5_000_000),
            codes.ORDER_REJECTED,
            "a postOnly order at 50000.00 would take from the order at 50000.00",
        ),
    ],
)
def test_an_amendment_that_is_refused_says_why_in_its_own_words(command: AmendOrder, code: int, sentence: str) -> None:
    """With the names of its parameters, and amounts in the asset that is missing."""
    exchange = Exchange()
    exchange.outcome(PlaceOrder(*ALICE, "BTC-USDT", SELL, LIMIT, GTC, 10_000, 5_000_000))
    exchange.outcome(PlaceOrder(*BOB, "BTC-USDT", BUY, LIMIT, GTC, 10_000, 4_000_000, post_only=True))
    exchange.outcome(PlaceOrder(*BOB, "BTC-USDT", BUY, LIMIT, IOC, 5_000, 5_000_000))
    status, said = error(exchange, AMEND, exchange.outcome(command))
    assert (status, said["code"], said["msg"]) == (400, code, sentence)


def test_a_replacement_shows_the_order_that_left_and_what_became_of_the_new_one() -> None:
    """Each in the shape it has elsewhere."""
    exchange = Exchange()
    exchange.outcome(PlaceOrder(*ALICE, "BTC-USDT", SELL, LIMIT, GTC, 10_000, 5_000_000))
    exchange.outcome(PlaceOrder(*BOB, "BTC-USDT", BUY, LIMIT, GTC, 10_000, 4_000_000, client_order_id="b-1"))
    order = PlaceOrder(*BOB, "BTC-USDT", BUY, LIMIT, GTC, 20_000, 5_000_000, client_order_id="b-2")
    new = {"symbol": "BTC-USDT", "side": "BUY", "type": "LIMIT", "quantity": "2", "price": "50000"}
    asked = request("order.cancelReplace", cancelOrderId=2, **new)
    assert line(exchange, asked, exchange.outcome(ReplaceOrder(2, "", order))) == (
        '{"id":1,"status":200,"result":{"canceled":{"orderId":2,"clientOrderId":"b-1","symbol":"BTC-USDT",'
        '"side":"BUY","type":"LIMIT","timeInForce":"GTC","price":"40000.00","origQty":"1.0000","executedQty":"0.0000",'
        f'"cumQuoteQty":"0.000000","status":"CANCELED","time":{EPOCH_MS},"updateTime":{EPOCH_MS}}},'
        '"placed":{"orderId":3,"clientOrderId":"b-2","symbol":"BTC-USDT","status":"PARTIALLY_FILLED",'
        '"executedQty":"1.0000","cumQuoteQty":"50000.000000","fills":[{"price":"50000.00","qty":"1.0000",'
        f'"fee":"100.000000","feeAsset":"USDT","tradeId":1}}],"transactTime":{EPOCH_MS},"seq":{exchange.seq}}}}}}}'
    )
    _, said = error(exchange, asked, exchange.outcome(ReplaceOrder(9, "", order)))
    assert (said["code"], said["reason"]) == (codes.CANCEL_REJECTED, "UNKNOWN_ORDER")
    _, said = error(exchange, asked, exchange.outcome(ReplaceOrder(3, "", order)))
    assert (said["reason"], said["orderId"]) == ("DUPLICATE_CLIENT_ORDER_ID", 3)


def test_cancelling_all_says_how_many() -> None:
    """One command, however many orders."""
    exchange = Exchange()
    for number in range(3):
        exchange.outcome(PlaceOrder(*ALICE, "BTC-USDT", BUY, LIMIT, GTC, 10, 4_000_000 + number))
    outcome = exchange.outcome(CancelAll(*ALICE))
    assert line(exchange, request("openOrders.cancelAll"), outcome) == '{"id":1,"status":200,"result":{"canceled":3}}'
    outcome = exchange.outcome(CancelAll(*ALICE, "BTC-USDT"))
    assert line(exchange, request("openOrders.cancelAll"), outcome) == '{"id":1,"status":200,"result":{"canceled":0}}'


def test_balances_have_the_decimals_of_their_asset() -> None:
    """Free and locked, in whole assets."""
    exchange = Exchange()
    exchange.outcome(PlaceOrder(*ALICE, "BTC-USDT", SELL, LIMIT, GTC, 1, 5_000_000_000))
    assert line(exchange, request("account.status"), exchange.outcome(queries.Balances(1))) == (
        '{"id":1,"status":200,"result":{"balances":[{"asset":"BTC","free":"999.99990000","locked":"0.00010000"},'
        '{"asset":"USDT","free":"100000000.000000","locked":"0.000000"}]}}'
    )


def test_depth_shows_levels_best_first() -> None:
    """Price and quantity as text, by level."""
    exchange = Exchange()
    for price in (4_900_000, 4_900_001, 4_900_001):
        exchange.outcome(PlaceOrder(*ALICE, "BTC-USDT", BUY, LIMIT, GTC, 10, price))
    depth = exchange.outcome(queries.Depth("BTC-USDT"))
    assert line(exchange, request("depth", symbol="BTC-USDT"), depth) == (
        '{"id":1,"status":200,"result":{"symbol":"BTC-USDT","seq":3,"bids":[["49000.01","0.0020"],'
        '["49000.00","0.0010"]],"asks":[]}}'
    )


def test_the_exchange_is_described_by_its_rules() -> None:
    """Assets, and each market with its grid, filters and fees; nothing of accounts and keys."""
    exchange = Exchange()
    assert line(exchange, request("exchangeInfo"), exchange.outcome(queries.Directory())) == (
        '{"id":1,"status":200,"result":{"assets":[{"asset":"BTC","decimals":8},{"asset":"USDT","decimals":6}],'
        '"symbols":[{"symbol":"BTC-USDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT","tickSize":"0.01",'
        '"lotSize":"0.0001","minQty":"0.0001","maxQty":"10000.0000","minNotional":"5.000000","maxOpenOrders":20000,'
        '"makerFee":"0.001000","takerFee":"0.002000","selfTradePreventionMode":"EXPIRE_TAKER","priceBand":"0.000000",'
        '"haltMs":0}]}}'
    )


def test_an_exchange_without_markets_has_empty_lists() -> None:
    """Nothing defined is no error."""
    exchange = Exchange()
    assert line(exchange, request("exchangeInfo"), DirectoryView([Asset("BTC", 8)], [], [], [])) == (
        '{"id":1,"status":200,"result":{"assets":[{"asset":"BTC","decimals":8}],"symbols":[]}}'
    )


# ------------------------------------------------------------------------------------- orders that others come between


def result(exchange: Exchange, request: wire.Request, outcome: Outcome) -> Any:
    """What the reply says was done."""
    reply = msgspec.json.decode(line(exchange, request, outcome))
    assert reply["status"] == 200, reply
    return reply["result"]


def stops_behind_a_trade() -> Exchange:
    """The last price is 49,000. Below it, and from 50,000 up, wait two of bob's to be sold."""
    exchange = Exchange()
    for order in (
        PlaceOrder(*ALICE, "BTC-USDT", BUY, LIMIT, GTC, 10_000, 4_000_000),
        PlaceOrder(*ALICE, "BTC-USDT", SELL, LIMIT, GTC, 10_000, 5_000_000),
        PlaceOrder(*ALICE, "BTC-USDT", SELL, LIMIT, GTC, 10_000, 4_900_000),
        PlaceOrder(*BOB, "BTC-USDT", BUY, LIMIT, IOC, 10_000, 4_900_000),
        PlaceOrder(*BOB, "BTC-USDT", SELL, STOP_LOSS_LIMIT, GTC, 20_000, 4_000_000, stop_price=4_899_999),
        PlaceOrder(
            *BOB, "BTC-USDT", SELL, TAKE_PROFIT_LIMIT, GTC, 4_000, 5_000_000, stop_price=5_000_000, self_trade=NONE
        ),
    ):
        assert isinstance(exchange.outcome(order), Done)
    return exchange


def test_a_new_order_shows_its_own_trades_and_no_others() -> None:
    """It trades, rests, and meets a stop that it let loose: as a taker first, then as a maker with a maker's fee."""
    exchange = stops_behind_a_trade()
    outcome = exchange.outcome(PlaceOrder(*ALICE, "BTC-USDT", BUY, LIMIT, GTC, 15_000, 5_000_000, self_trade=NONE))
    assert isinstance(outcome, Done)
    assert any(isinstance(event, OrderTriggered) for event in outcome.events)
    found = result(exchange, limit(), outcome)
    assert found["fills"] == [
        {"price": "50000.00", "qty": "1.0000", "fee": "100.000000", "feeAsset": "USDT", "tradeId": 2},
        {"price": "50000.00", "qty": "0.4000", "fee": "20.000000", "feeAsset": "USDT", "tradeId": 3},
    ]
    assert (found["status"], found["executedQty"], found["cumQuoteQty"]) == (
        *("PARTIALLY_FILLED", "1.4000", "70000.000000"),
    )


def test_what_a_stop_does_is_not_the_order_s_that_let_it_loose() -> None:
    """That is filled by its own trade, and the one that follows from it is another's."""
    exchange = stops_behind_a_trade()
    outcome = exchange.outcome(PlaceOrder(*BOB, "BTC-USDT", SELL, LIMIT, IOC, 1_000, 4_000_000))
    assert isinstance(outcome, Done)
    assert [event.quantity for event in outcome.events if isinstance(event, Trade)] == [1_000, 9_000]
    found = result(exchange, limit("SELL"), outcome)
    assert (found["status"], found["executedQty"], found["cumQuoteQty"]) == ("FILLED", "0.1000", "4000.000000")
    assert len(found["fills"]) == 1


def test_an_amendment_that_lets_a_stop_loose_shows_only_its_own_order() -> None:
    """As order.status would: with what it met as a taker, and then as a maker."""
    exchange = stops_behind_a_trade()
    exchange.outcome(PlaceOrder(*BOB, "BTC-USDT", BUY, LIMIT, GTC, 30_000, 4_000_000, self_trade=NONE))
    found = amended(exchange, 7, 0, 5_000_000)
    assert (found["executedQty"], found["cumQuoteQty"], found["status"]) == (
        *("1.4000", "70000.000000"),
        "PARTIALLY_FILLED",
    )


def test_an_order_shows_its_trigger_its_end_and_its_part_where_it_has_them() -> None:
    """And only there."""
    exchange = Exchange()
    exchange.outcome(
        PlaceOrder(*ALICE, "BTC-USDT", SELL, STOP_LOSS, GTD, 10, 0, stop_price=4_000_000, expire_time=EPOCH_MS + 1)
    )
    exchange.outcome(PlaceOrder(*ALICE, "BTC-USDT", SELL, LIMIT, GTC, 10, 5_000_000, display_quantity=2))
    stop, iceberg = result(exchange, request("openOrders.status"), exchange.outcome(queries.OpenOrders(1)))["orders"]
    assert (stop["type"], stop["stopPrice"], stop["timeInForce"], stop["expireTime"]) == (
        *("STOP_LOSS", "40000.00", "GTD"),
        EPOCH_MS + 1,
    )
    assert (iceberg["origQty"], iceberg["displayQty"]) == ("0.0010", "0.0002")
    assert "displayQty" not in stop
    assert iceberg.keys().isdisjoint({"stopPrice", "expireTime"})


def test_a_test_of_an_order_says_nothing_or_why_not() -> None:
    """An empty result; a refusal is that of the order."""
    exchange = Exchange()
    asked = request("order.test", symbol="BTC-USDT", side="BUY", type="LIMIT", quantity="1", price="1")
    order = PlaceOrder(*ALICE, "BTC-USDT", BUY, LIMIT, GTC, 10_000, 4_000_000)
    assert line(exchange, asked, exchange.outcome(queries.JudgeOrder(order))) == '{"id":1,"status":200,"result":{}}'
    refused = exchange.outcome(queries.JudgeOrder(msgspec.structs.replace(order, quantity=30_000_000)))
    assert error(exchange, asked, refused)[1]["reason"] == "INSUFFICIENT_BALANCE"


def test_a_dead_man_s_switch_says_when_it_falls() -> None:
    """In the exchange's time; 0 when it is disarmed."""
    exchange = Exchange()
    for timeout_ms, trigger_time in ((5_000, EPOCH_MS + 5_000), (0, 0)):
        outcome = exchange.outcome(CancelAllAfter(*ALICE, timeout_ms))
        asked = request("order.cancelAllAfter", timeoutMs=timeout_ms)
        assert line(exchange, asked, outcome) == (
            f'{{"id":1,"status":200,"result":{{"timeoutMs":{timeout_ms},"triggerTime":{trigger_time}}}}}'
        )


# ------------------------------------------------------------------------------------------------ histories and markets


def after_one_trade() -> Exchange:
    """Alice sold 0.4 to bob at 50,000."""
    exchange = Exchange()
    exchange.outcome(PlaceOrder(*ALICE, "BTC-USDT", SELL, LIMIT, GTC, 10_000, 5_000_000, client_order_id="a-1"))
    exchange.outcome(PlaceOrder(*BOB, "BTC-USDT", BUY, LIMIT, IOC, 4_000, 5_000_000))
    return exchange


def test_my_trades_show_one_s_own_side() -> None:
    """Maker or taker, with its own order and fee; a rebate is a fee below zero."""
    exchange = after_one_trade()
    asked = request("myTrades", symbol="BTC-USDT")
    trades = exchange.outcome(queries.AccountTrades(1, "BTC-USDT"))
    assert line(exchange, asked, trades) == (
        '{"id":1,"status":200,"result":{"trades":[{"tradeId":1,"orderId":1,"clientOrderId":"a-1","symbol":"BTC-USDT",'
        '"side":"SELL","price":"50000.00","qty":"0.4000","quoteQty":"20000.000000","fee":"20.000000",'
        f'"feeAsset":"USDT","maker":true,"time":{EPOCH_MS}}}]}}}}'
    )
    rebate = AccountTrade(1, 1, "a", "BTC-USDT", BUY, 1, 1, 1, -5, maker=False, time_ns=0)
    assert '"fee":"-0.000005","feeAsset":"USDT","maker":false' in line(exchange, asked, [rebate])


def test_all_orders_are_orders_as_they_are_anywhere() -> None:
    """Open and finished ones."""
    exchange = after_one_trade()
    asked = request("allOrders", symbol="BTC-USDT")
    (order,) = result(exchange, asked, exchange.outcome(queries.AccountOrders(2, "BTC-USDT")))["orders"]
    assert order == result(exchange, STATUS, exchange.outcome(queries.OrderStatus(2, "BTC-USDT", 2)))
    assert order["status"] == "FILLED"


def test_a_commission_is_two_fractions() -> None:
    """One of them may be a rebate."""
    exchange = Exchange()
    asked = request("account.commission", symbol="BTC-USDT")
    assert line(exchange, asked, exchange.outcome(queries.Commission(1, "BTC-USDT"))) == (
        '{"id":1,"status":200,"result":{"symbol":"BTC-USDT","maker":"0.001000","taker":"0.002000"}}'
    )
    assert '"maker":"-0.000100"' in line(exchange, asked, queries.CommissionView("BTC-USDT", -100, 100))


def test_recent_trades_show_the_taker_s_side() -> None:
    """And nobody's name."""
    exchange = after_one_trade()
    outcome = exchange.outcome(queries.RecentTrades("BTC-USDT"))
    assert line(exchange, request("trades.recent", symbol="BTC-USDT"), outcome) == (
        '{"id":1,"status":200,"result":{"trades":[{"tradeId":1,"price":"50000.00","qty":"0.4000","side":"BUY",'
        f'"time":{EPOCH_MS}}}]}}}}'
    )


def test_a_ticker_is_a_day_in_one_line() -> None:
    """Prices, both volumes, the number of trades, and which day it is."""
    view = queries.TickerView("BTC-USDT", 1, 4, 0, 3, 20_000, 5_000_000, 7, 1_000_000, 86_400_000_000_000)
    assert line(Exchange(), request("ticker.24hr", symbol="BTC-USDT"), view) == (
        '{"id":1,"status":200,"result":{"symbol":"BTC-USDT","open":"0.01","high":"0.04","low":"0.00","last":"0.03",'
        '"volume":"2.0000","quoteVolume":"5.000000","count":7,"openTime":1,"closeTime":86400000}}'
    )


def test_klines_are_rows() -> None:
    """They end a millisecond before the next one begins."""
    exchange = after_one_trade()
    outcome = exchange.outcome(queries.Candles("BTC-USDT", 300 * 10**9))
    opened = EPOCH_MS - EPOCH_MS % 300_000
    assert line(exchange, request("klines", symbol="BTC-USDT", interval="5m"), outcome) == (
        f'{{"id":1,"status":200,"result":{{"klines":[[{opened},"50000.00","50000.00","50000.00","50000.00","0.4000",'
        f"{opened + 299_999}]]}}}}"
    )


def test_a_market_says_what_bounds_its_price_and_how_it_stands() -> None:
    """The reference price only where there is one."""
    exchange = Exchange()
    view = exchange.outcome(queries.Directory())
    assert isinstance(view, DirectoryView)
    (status,) = view.markets
    market = msgspec.structs.replace(status.market, reference_price=5_000_000, band=500_000, halt_ms=60_000)
    exchange.directory.fill(msgspec.structs.replace(view, markets=[queries.MarketStatus(market, HALT, 0)]))
    halted = msgspec.structs.replace(view, markets=[queries.MarketStatus(market, HALT, 0)])
    (symbol,) = result(exchange, request("exchangeInfo"), halted)["symbols"]
    assert (symbol["status"], symbol["referencePrice"], symbol["priceBand"], symbol["haltMs"]) == (
        *("HALT", "50000.00", "0.500000"),
        60_000,
    )


# ------------------------------------------------------------------------------------------------------------- refusals


def error(exchange: Exchange, request: wire.Request, outcome: Outcome) -> tuple[int, dict[str, object]]:
    """Status and error of a refusal."""
    reply = msgspec.json.decode(line(exchange, request, outcome))
    assert list(reply) == ["id", "status", "error"]
    assert reply["error"]["name"] == codes.CODE_NAMES[reply["error"]["code"]]
    return reply["status"], reply["error"]


@pytest.mark.parametrize(
    ("order", "reason", "sentence"),
    [
        (
            PlaceOrder(*ALICE, "BTC-USDT", BUY, LIMIT, GTC, 10, 0),
            "PRICE_FILTER",
            "price 0.00 is below the market's limit of 0.01",
        ),
        (
            PlaceOrder(*ALICE, "BTC-USDT", BUY, LIMIT, GTC, 0, 1),
            "LOT_SIZE",
            "quantity 0.0000 is below the market's limit of 0.0001",
        ),
        (
            PlaceOrder(*ALICE, "BTC-USDT", BUY, LIMIT, GTC, 100_000_001, 1),
            "LOT_SIZE",
            "quantity 10000.0001 is above the market's limit of 10000.0000",
        ),
        (
            PlaceOrder(*ALICE, "BTC-USDT", BUY, LIMIT, GTC, 1, 4_900_000),
            "MIN_NOTIONAL",
            "notional 4.900000 is below the market's smallest of 5.000000",
        ),
        (
            PlaceOrder(*ALICE, "BTC-USDT", BUY, MARKET, GTC, 0, 0, 4_999_999),
            "MIN_NOTIONAL",
            "quoteOrderQty 4.999999 is below the market's smallest of 5.000000",
        ),
        (
            PlaceOrder(*ALICE, "BTC-USDT", BUY, LIMIT, GTC, 10**39, 1),
            "OVERFLOW",
            "quantity 100000000000000000000000000000000000.0000 is more than can be handled, which is",
        ),
    ],
)
def test_a_filter_says_what_was_given_and_what_is_allowed(order: PlaceOrder, reason: str, sentence: str) -> None:
    """In the client's units and with the names it used."""
    exchange = Exchange()
    status, said = error(exchange, limit(), exchange.outcome(order))
    assert (status, said["code"], said["reason"]) == (400, codes.FILTER_FAILURE, reason)
    assert str(said["msg"]).startswith(sentence)


def test_too_many_orders_says_how_many_there_may_be() -> None:
    """Counts, not quantities."""
    exchange = Exchange()
    rejected = Rejected(codes.FILTER_FAILURE, "MAX_ORDERS", "", 200, 200)
    assert error(exchange, limit(), rejected)[1]["msg"] == "200 orders are open in this market, and 200 may be"


@pytest.mark.parametrize(
    ("side", "order", "reason", "sentence"),
    [
        (
            "BUY",
            PlaceOrder(*BOB, "BTC-USDT", BUY, LIMIT, GTC, 30_000_000, 4_900_000),
            "INSUFFICIENT_BALANCE",
            "the order needs 147294000.000000 USDT, and 100000000.000000 USDT are free",
        ),
        (
            "SELL",
            PlaceOrder(*BOB, "BTC-USDT", SELL, LIMIT, GTC, 10_000_001, 5_100_000),
            "INSUFFICIENT_BALANCE",
            "the order needs 1000.00010000 BTC, and 1000.00000000 BTC are free",
        ),
        (
            "BUY",
            PlaceOrder(*BOB, "BTC-USDT", BUY, LIMIT, GTC, 10, 5_100_000, post_only=True),
            "WOULD_TAKE",
            "a postOnly order at 51000.00 would take from the order at 50000.00",
        ),
        (
            "BUY",
            PlaceOrder(*BOB, "BTC-USDT", BUY, LIMIT, FOK, 20_000, 5_100_000),
            "FOK_UNFILLABLE",
            "only 1.0000 of 2.0000 would be filled at once",
        ),
        (
            "SELL",
            PlaceOrder(*BOB, "BTC-USDT", SELL, MARKET, GTC, 10, 0),
            "NO_LIQUIDITY",
            "there is nobody to trade with",
        ),
    ],
)
def test_an_order_the_engine_rejects_comes_with_a_reason_and_a_sentence(
    side: str, order: PlaceOrder, reason: str, sentence: str
) -> None:
    """Numbers in the units of what they are about."""
    exchange = Exchange()
    exchange.outcome(PlaceOrder(*ALICE, "BTC-USDT", SELL, LIMIT, GTC, 10_000, 5_000_000))
    status, said = error(exchange, limit(side), exchange.outcome(order))
    assert (status, said["code"], said["reason"], said["msg"]) == (400, codes.ORDER_REJECTED, reason, sentence)


def test_a_repeated_client_order_id_names_the_first_order() -> None:
    """A client that lost a reply finds its order by the error alone."""
    exchange = Exchange()
    order = PlaceOrder(*ALICE, "BTC-USDT", BUY, LIMIT, GTC, 10, 4_900_000, client_order_id="a-1")
    exchange.outcome(order)
    _, said = error(exchange, limit(), exchange.outcome(order))
    assert said == {
        "code": codes.ORDER_REJECTED,
        "name": "ORDER_REJECTED",
        "msg": "order 1 has this clientOrderId already",
        "reason": "DUPLICATE_CLIENT_ORDER_ID",
        "orderId": 1,
    }


@pytest.mark.parametrize(
    ("changes", "code", "sentence"),
    [
        (
            {"display_quantity": 20_001},
            codes.INVALID_PARAMETER,
            "displayQty 2.0001 is above its limit of 2.0000: at most the quantity, at least a hundredth of it",
        ),
        (
            {"display_quantity": 199},
            codes.INVALID_PARAMETER,
            "displayQty 0.0199 is below its limit of 0.0200: at most the quantity, at least a hundredth of it",
        ),
        (
            {"time_in_force": GTD, "expire_time": EPOCH_MS},
            codes.INVALID_PARAMETER,
            f"expireTime {EPOCH_MS} is not after {EPOCH_MS}, the exchange's time",
        ),
        (
            {"type": STOP_LOSS_LIMIT, "stop_price": 5_000_000},
            codes.ORDER_REJECTED,
            "the last price, 50000.00, has reached stopPrice 50000.00 already",
        ),
        (
            {"type": STOP_LOSS_LIMIT, "stop_price": 0},
            codes.FILTER_FAILURE,
            "stopPrice 0.00 is below the market's limit of 0.01",
        ),
    ],
)
def test_what_is_wrong_with_a_stop_or_an_iceberg_is_said(changes: dict[str, int], code: int, sentence: str) -> None:
    """With the numbers that would do."""
    exchange = after_one_trade()
    order = PlaceOrder(*ALICE, "BTC-USDT", BUY, LIMIT, GTC, 20_000, 4_000_000)
    outcome = exchange.outcome(msgspec.structs.replace(order, **changes))
    status, said = error(exchange, limit(), outcome)
    assert (status, said["code"], said["msg"]) == (400, code, sentence)


def test_a_stop_without_a_price_has_none_to_amend() -> None:
    """Which is said in place of a number that would do."""
    exchange = Exchange()
    exchange.outcome(PlaceOrder(*ALICE, "BTC-USDT", SELL, STOP_LOSS, GTC, 10, 0, stop_price=4_000_000))
    _, said = error(exchange, AMEND, exchange.outcome(AmendOrder(*ALICE, "BTC-USDT", 1, "", 0, 5)))
    assert (said["code"], said["msg"]) == (codes.INVALID_PARAMETER, "newPrice is not for this order: it has no price")


@pytest.mark.parametrize(
    ("setting", "code", "reason", "sentence"),
    [
        (
            SetMarketState("BTC-USDT", CANCEL_ONLY),
            codes.ORDER_REJECTED,
            "MARKET_CLOSED",
            "the market is in state CANCEL_ONLY, which does not take this",
        ),
        (FreezeAccount(1, True), codes.ORDER_REJECTED, "ACCOUNT_FROZEN", "the account is frozen: it may only cancel"),
        (RevokeKey(11), codes.REJECTED_KEY, "REVOKED_KEY", "this key was revoked"),
    ],
)
def test_what_an_operator_decided_is_named(setting: Command, code: int, reason: str, sentence: str) -> None:
    """A market's state by its name."""
    exchange = Exchange()
    assert isinstance(exchange.outcome(setting), Done)
    _, said = error(exchange, limit(), exchange.outcome(PlaceOrder(*ALICE, "BTC-USDT", BUY, LIMIT, GTC, 10, 4_900_000)))
    assert (said["code"], said["reason"], said["msg"]) == (code, reason, sentence)


@pytest.mark.parametrize(
    ("asked", "command", "status", "code"),
    [
        (CANCEL, CancelOrder(*ALICE, "BTC-USDT", 99), 400, codes.CANCEL_REJECTED),
        (CANCEL, CancelOrder(*ALICE, "BTC-USDT", 99, timestamp=5), 400, codes.INVALID_TIMESTAMP),
        (CANCEL, CancelOrder(9, 0, 0, "BTC-USDT", 99), 401, codes.UNAUTHORIZED),
        (CANCEL, CancelOrder(2, 11, 0, "BTC-USDT", 99), 403, codes.REJECTED_KEY),
        (CANCEL, CancelOrder(1, 13, 0, "BTC-USDT", 99), 403, codes.REJECTED_KEY),
        (CANCEL, CancelOrder(*ALICE, "X", 99), 400, codes.BAD_SYMBOL),
        (STATUS, queries.OrderStatus(1, "BTC-USDT", 99), 400, codes.NO_SUCH_ORDER),
    ],
)
def test_every_other_rejection_has_its_status_and_words(
    asked: wire.Request, command: CancelOrder | queries.OrderStatus, status: int, code: int
) -> None:
    """Who may not is told so by 401 or 403; nothing is left without a sentence."""
    exchange = Exchange()
    got, said = error(exchange, asked, exchange.outcome(command))
    assert (got, said["code"]) == (status, code)
    assert said["msg"] not in {"", "refused"}


@pytest.mark.parametrize(
    ("fate", "status", "code"),
    [
        (Busy("full"), 503, codes.SERVER_BUSY),
        (Stopped("bye"), 503, codes.SERVICE_SHUTTING_DOWN),
        (Faulted("bug"), 500, codes.UNKNOWN),
        (OutcomeUnknown("?"), 500, codes.TIMEOUT),
    ],
)
def test_what_was_not_done_is_told_apart_from_what_may_have_been(
    fate: NotDone | OutcomeUnknown, status: int, code: int
) -> None:
    """Each fate has a code of its own, whatever was asked, and keeps its inner words to itself."""
    exchange = Exchange()
    for asked in (limit(), CANCEL, STATUS, request("exchangeInfo"), request("session.logon", apiKey="alice")):
        got, said = error(exchange, asked, fate)
        assert (got, said["code"]) == (status, code)
        assert str(fate) not in str(said["msg"]).split()


def test_a_reply_without_an_id_begins_with_its_status() -> None:
    """There is no null in place of an id."""
    exchange = Exchange()
    asked = read(b'{"method":"account.status"}')
    assert line(exchange, asked, exchange.outcome(queries.Balances(1))).startswith('{"status":200,"result":')
    assert line(exchange, asked, Busy()).startswith('{"status":503,"error":')


def test_every_code_of_a_client_has_a_status() -> None:
    """The statuses of the protocol, and no others."""
    for code in codes.CODE_NAMES:
        assert wire.refusal(1, code, "x").status in {400, 401, 403, 429, 500, 503}

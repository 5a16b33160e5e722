"""What is typed at `tallystick client`, as a request; what is shown of an answer."""

import io
from typing import Any

import pytest
from rich.console import Console

from tallystick.client_answers import render
from tallystick.client_words import WordsError, completions, request_of, split


@pytest.mark.parametrize(
    ("line", "method", "params"),
    [
        ("ping", "ping", {}),
        ("depth symbol=BTC-USDT limit=5", "depth", {"symbol": "BTC-USDT", "limit": 5}),
        (
            "order.test symbol=A quantity=1 postOnly=yes",
            "order.test",
            {"symbol": "A", "quantity": "1", "postOnly": True},
        ),
        ("order.status clientOrderId='a b' orderId=-1", "order.status", {"clientOrderId": "a b", "orderId": -1}),
        ("order.batch 'orders=[{\"orderId\":1}]'", "order.batch", {"orders": [{"orderId": 1}]}),
        ('order.cancel \'{"orderId":1,"odd":null}\'', "order.cancel", {"orderId": 1, "odd": None}),
        ('{"id":7,"method":"new.one","params":{"a":[1]}}', "new.one", {"a": [1]}),
        ('{"method":"ping"}', "ping", {}),
    ],
)
def test_words_become_a_request(line: str, method: str, params: dict[str, Any]) -> None:
    """Values are what the exchange wants of each parameter; JSON is taken as it is, whatever it says."""
    assert request_of(split(line)) == (method, params)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("orderplace", "there is no method 'orderplace', did you mean 'order.place'?"),
        ("zzz", "there is no method 'zzz'"),
        ("ping now", "'now' is no parameter: they are written name=value"),
        ("ping a=1", "ping has no parameter 'a'; it takes none"),
        ("depth symbl=A", "depth has no parameter 'symbl', did you mean 'symbol'?; it takes symbol, limit"),
        ("depth limit=many", "limit must be an integer from 1 to 5000, not 'many'"),
        ("depth limit=1.5", "limit must be an integer from 1 to 5000, not '1.5'"),
        ("order.test postOnly=1", "postOnly must be true or false, not '1'"),
        ("order.batch orders=[", "orders cannot be read as a JSON list"),
        ("depth {", "the parameters cannot be read as a JSON object"),
        ("{]", "the request cannot be read as a JSON object"),
        ('{"params":{}}', "a request in JSON has a method and perhaps params, an object"),
        ('{"method":"ping","param":{}}', "a request in JSON has a method and perhaps params, an object"),
        ("depth symbol='BTC", "the line cannot be taken apart: no closing quotation"),
    ],
)
def test_what_is_no_request(line: str, why: str) -> None:
    """Is said before anything is sent, by name and value."""
    with pytest.raises(WordsError) as error:
        request_of(split(line))
    assert str(error.value) == why


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("order.c", ["order.cancel", "order.cancelReplace", "order.cancelAllAfter"]),
        ("he", ["help"]),
        ("help tic", ["ticker.24hr"]),
        ("depth ", ["symbol=", "limit="]),
        ("depth symbol=BTC-USDT ", ["limit="]),
        ("depth symbol=E", ["symbol=ETH-USDT"]),
        ("order.place side=", ["side=BUY", "side=SELL"]),
        ("order.place postOnly=t", ["postOnly=true"]),
        ("klines interval=1", ["interval=1d", "interval=1h", "interval=1m", "interval=15m"]),
        ("depth limit=", []),
        ("depth odd=", []),
        ("nothing ", []),
    ],
)
def test_completion(text: str, words: list[str]) -> None:
    """Of methods, of the parameters that are not there yet, and of values that can be listed."""
    assert sorted(completions(text, ["BTC-USDT", "ETH-USDT"])) == sorted(words)


LEVELS = {"symbol": "BTC-USDT", "seq": 1, "bids": [["9", "1"], ["8", "2"]], "asks": [["10", "3"]]}
PLACED = {"orderId": 5, "clientOrderId": "[b]mine", "fills": []}
ORDER = {"orderId": 5, "clientOrderId": "mine", "status": "NEW", "executedQty": "0"}
SEVERAL = [{"status": 200, "result": ORDER}, {"status": 400, "error": {"name": "BAD_SYMBOL", "msg": "no such"}}]


@pytest.mark.parametrize(
    ("method", "result", "shown"),
    [
        ("ping", {}, ["done"]),
        ("time", {"serverTime": 5}, ["serverTime 5"]),
        ("openOrders.status", {"orders": []}, ["none"]),
        (
            "openOrders.status",
            {"orders": [{**ORDER, "time": 1}]},
            ["orderId clientOrderId executedQty status", "5 mine 0 NEW"],
        ),
        ("account.status", {"balances": [{"asset": "X", "free": "1"}]}, ["asset free", "X 1"]),
        ("depth", LEVELS, ["BTC-USDT", "bid qty bid ask ask qty", "1 9 10 3", "2 8"]),
        ("klines", {"klines": []}, ["none"]),
        ("order.place", PLACED, ["orderId 5", "clientOrderId [b]mine"]),
        ("order.place", {**PLACED, "fills": [{"price": "1"}]}, ["orderId 5", "clientOrderId [b]mine", "price", "1"]),
        (
            "order.batch",
            {"results": SEVERAL},
            ["orderId clientOrderId status executedQty why", "5 mine NEW 0", "BAD_SYMBOL no such"],
        ),
        ("new.one", {"a": [1], "b": {}}, ["{", '"a": [', "1", "],", '"b": {}', "}"]),
    ],
)
def test_answers(method: str, result: dict[str, Any], shown: list[str]) -> None:
    """Tables where there are rows, facts one below the other, JSON for anything else; markup is no markup."""
    output = io.StringIO()
    Console(file=output, width=120).print(render(method, result))
    assert [" ".join(line.split()) for line in output.getvalue().splitlines()] == shown

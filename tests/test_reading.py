"""Lines and the strict reading of them: what is accepted, what is said about the rest, and never the client's words."""

import json
from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from actors import wire
from actors.parameters import (
    AmendParams,
    CancelAllAfterParams,
    CancelAllParams,
    CancelParams,
    CancelReplaceParams,
    CandlesParams,
    DepthParams,
    HistoryParams,
    Interval,
    LogonParams,
    MarketParams,
    PlaceParams,
    RecentTradesParams,
    StatusParams,
)
from actors.reading import Lines, read, read_orders
from actors.results import Nothing
from actors.wire import RefusedError
from book.codes import (
    INVALID_JSON,
    INVALID_PARAMETER,
    MANDATORY_PARAM,
    UNKNOWN_PARAM,
    UNSUPPORTED_METHOD,
)
from book.history import INTERVALS
from tests.counts import count

EXAMPLES = settings(max_examples=count(200, 20_000), deadline=None)


def outcome(line: bytes) -> wire.Request | RefusedError:
    """The request, or what is said about it; of a batch, all its orders have been read."""
    request_id: int | str | UnsetType = UNSET
    try:
        request = read(line)
        request_id = request.id
        if isinstance(request, wire.OrderBatch):
            read_orders(request)
    except RefusedError as error:
        if error.request_id is UNSET:
            error.request_id = request_id
        return error
    return request


def refused(line: bytes) -> RefusedError:
    """What is said about a line that is not accepted."""
    error = outcome(line)
    assert isinstance(error, RefusedError)
    return error


# ---------------------------------------------------------------------------------------------------------------- lines


def test_lines_are_cut_at_newlines_wherever_the_chunks_end() -> None:
    """The same lines come out however the bytes arrive."""
    data = b'{"a":1}\n\r\n  \n{"b":2}\r\n{"c":3}\n{"half'
    whole = Lines().feed(data)
    assert whole == [b'{"a":1}', b'{"b":2}\r', b'{"c":3}']
    one_by_one = Lines()
    assert [line for byte in data for line in one_by_one.feed(bytes([byte]))] == whole
    assert one_by_one.half_line


def test_a_line_of_exactly_the_limit_passes_and_one_byte_more_does_not() -> None:
    """The limit counts the line without its end, also while the end is still to come."""
    lines = Lines(limit=10)
    assert lines.feed(b"x" * 10) == []
    assert not lines.too_long
    assert lines.feed(b"\n") == [b"x" * 10]
    assert lines.feed(b"before\n" + b"x" * 11) == [b"before"]
    assert lines.too_long


def test_nothing_behind_an_overlong_line_is_read() -> None:
    """What came before it in the same chunk still counts, what comes after does not."""
    lines = Lines(limit=5)
    assert lines.feed(b"one\ntoo long\nthree\n") == [b"one"]
    assert lines.too_long
    assert lines.feed(b"four\n") == []


@EXAMPLES
@given(st.binary(max_size=200), st.lists(st.integers(0, 200)))
def test_cutting_depends_on_the_bytes_only(data: bytes, cuts: list[int]) -> None:
    """Whatever the bytes and wherever they are torn apart, the lines are those between the newlines."""
    lines, start, found = Lines(), 0, []
    for cut in sorted(cuts):
        found += lines.feed(data[start:cut])
        start = max(start, min(cut, len(data)))
    found += lines.feed(data[start:])
    assert found == [line for line in data.split(b"\n")[:-1] if line.strip(b" \t\n\r\x0b\f")]
    assert lines.half_line == (not data.endswith(b"\n") and data != b"")


# ------------------------------------------------------------------------------------------------------------- accepted


@pytest.mark.parametrize(("in_force", "weight"), [("FOK", wire.FOK_WEIGHT), ("IOC", 1), ("GTC", 1), ("", 1)])
def test_an_order_of_all_or_nothing_weighs_more(in_force: str, weight: int) -> None:
    """However it is asked for: it may look through a whole side of the book, and others wait meanwhile."""
    params = PlaceParams("BTC-USDT", "BUY", "LIMIT", "1", time_in_force=in_force)
    replacing = CancelReplaceParams("BTC-USDT", "BUY", "LIMIT", "1", time_in_force=in_force, cancel_order_id=1)
    asked = (
        wire.OrderPlace(params=params),
        wire.OrderTest(params=params),
        wire.OrderCancelReplace(params=replacing),
    )
    assert [wire.weight_of(request) for request in asked] == [weight] * 3


def test_every_method_is_read_with_its_parameters() -> None:
    """Each request of the protocol becomes its own type."""
    for request, line in (
        (wire.Ping(id=1), b'{"id":1,"method":"ping"}'),
        (wire.Time(id="a"), b'{"method":"time","id":"a","params":{}}\r'),
        (wire.ExchangeInfo(), b' {"method" : "exchangeInfo"} '),
        (wire.SessionStatus(), b'{"method":"session.status"}'),
        (wire.Logout(), b'{"method":"session.logout"}'),
        (
            wire.Logon(params=LogonParams("alice", 5, 60_000, "00")),
            b'{"method":"session.logon","params":{"apiKey":"alice","timestamp":5,"recvWindow":60000,"signature":"00"}}',
        ),
        (
            wire.OrderPlace(params=PlaceParams("BTC-USDT", "BUY", "LIMIT", "1", price="2.5", post_only=True)),
            (
                b'{"params":{"price":"2.5","quantity":"1","type":"LIMIT","side":"BUY","symbol":"BTC-USDT","postOnly":true}'
                b',"method":"order.place"}'
            ),
        ),
        (
            wire.OrderCancel(params=CancelParams("BTC-USDT", 2**63 - 1)),
            b'{"method":"order.cancel","params":{"symbol":"BTC-USDT","orderId":9223372036854775807}}',
        ),
        (
            wire.OrderAmend(params=AmendParams("BTC-USDT", 5, new_qty="1", new_price="2.5")),
            b'{"method":"order.amend","params":{"symbol":"BTC-USDT","orderId":5,"newQty":"1","newPrice":"2.5"}}',
        ),
        (
            wire.OrderCancelReplace(params=CancelReplaceParams("X", "BUY", "LIMIT", "1", price="2", cancel_order_id=5)),
            (
                b'{"method":"order.cancelReplace","params":{"symbol":"X","side":"BUY","type":"LIMIT","quantity":"1",'
                b'"price":"2","cancelOrderId":5}}'
            ),
        ),
        (
            wire.OrderStatus(params=StatusParams("BTC-USDT", client_order_id="a")),
            b'{"method":"order.status","params":{"symbol":"BTC-USDT","clientOrderId":"a"}}',
        ),
        (
            wire.OrderTest(params=PlaceParams("X", "BUY", "STOP_LOSS", "1", stop_price="2", expire_time=5)),
            (
                b'{"method":"order.test","params":{"symbol":"X","side":"BUY","type":"STOP_LOSS","quantity":"1",'
                b'"stopPrice":"2","expireTime":5}}'
            ),
        ),
        (wire.OpenOrders(), b'{"method":"openOrders.status"}'),
        (
            wire.CancelAll(params=CancelAllParams("X")),
            b'{"method":"openOrders.cancelAll","params":{"symbol":"X"}}',
        ),
        (
            wire.CancelAllAfter(params=CancelAllAfterParams(0)),
            b'{"method":"order.cancelAllAfter","params":{"timeoutMs":0}}',
        ),
        (wire.MyTrades(params=HistoryParams("X", 5)), b'{"method":"myTrades","params":{"symbol":"X","fromId":5}}'),
        (wire.AllOrders(params=HistoryParams("X")), b'{"method":"allOrders","params":{"symbol":"X"}}'),
        (wire.AccountStatus(), b'{"method":"account.status"}'),
        (
            wire.AccountCommission(params=MarketParams("X")),
            b'{"method":"account.commission","params":{"symbol":"X"}}',
        ),
        (
            wire.RecentTrades(params=RecentTradesParams("X", 5_000)),
            b'{"method":"trades.recent","params":{"symbol":"X","limit":5000}}',
        ),
        (wire.DayTicker(params=MarketParams("X")), b'{"method":"ticker.24hr","params":{"symbol":"X"}}'),
        (
            wire.Candles(params=CandlesParams("X", "4h", start_time=5)),
            b'{"method":"klines","params":{"symbol":"X","interval":"4h","startTime":5}}',
        ),
        (wire.Depth(params=DepthParams("X")), b'{"method":"depth","params":{"symbol":"X"}}'),
        (wire.Ping(id="x"), b'{"method":"\\u0070ing","id":"\\u0078"}'),
    ):
        assert read(line) == request


@pytest.mark.parametrize("request_id", [0, -1, 2**63 - 1, -(2**63), "", "x" * 36, "ü€😀", 'quo"te', "\x00\n"])
def test_an_id_comes_back_as_the_same_value(request_id: object) -> None:
    """Integers of 64 bits and strings of up to 36 characters, whatever these are."""
    request = read(msgspec.json.encode({"id": request_id, "method": "ping"}))
    assert request.id == request_id
    assert type(request.id) is type(request_id)
    assert msgspec.json.decode(wire.encode_lines([wire.Reply(request.id, 200, Nothing())]))["id"] == request_id


# -------------------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("line", "code", "word"),
    [
        (b"hello", INVALID_JSON, "not one valid JSON object"),
        (b"[1]", INVALID_JSON, "JSON object"),
        (b'"ping"', INVALID_JSON, "JSON object"),
        (b'{"method":"ping"} {"method":"ping"}', INVALID_JSON, "not one"),
        (b'{"method":"ping"', INVALID_JSON, "not one"),
        (b'\xef\xbb\xbf{"method":"ping"}', INVALID_JSON, "not one"),
        (b'{"method":"ping","params":NaN}', INVALID_JSON, "NaN"),
        (b'{"method":"ping","params":{"x":Infinity}}', INVALID_JSON, "Infinity"),
        (b'{"method":"ping","params":{"x":"\\ud800"}}', INVALID_JSON, "surrogates"),
        (b'{"method":"pi\xffng"}', INVALID_JSON, "UTF-8"),
        (b'{"method":"ping","params":' + b"[" * 60_000, INVALID_JSON, "deeply"),
        (b'{"a":' * 9_000 + b"1" + b"}" * 9_000, INVALID_JSON, "deeply"),
        (b"{}", MANDATORY_PARAM, "method"),
        (b'{"method":7}', INVALID_PARAMETER, "method must be a string"),
        (b'{"method":null}', INVALID_PARAMETER, "method must be a string"),
        (b'{"method":"order.fly"}', UNSUPPORTED_METHOD, "order.place"),
        (b'{"method":"order.modify","params":{}}', UNSUPPORTED_METHOD, "no such method"),
        (b'{"method":"ping","param":{}}', UNKNOWN_PARAM, "id, method and params"),
        (b'{"method":"ping","params":null}', INVALID_PARAMETER, "params must be an object"),
        (b'{"method":"ping","params":[]}', INVALID_PARAMETER, "params must be an object"),
        (b'{"method":"ping","params":{"x":1}}', UNKNOWN_PARAM, "ping takes none"),
        (b'{"method":"depth"}', MANDATORY_PARAM, "symbol"),
        (b'{"method":"depth","params":{"symbol":7}}', INVALID_PARAMETER, "symbol must be"),
        (b'{"method":"depth","params":{"symbol":""}}', INVALID_PARAMETER, "symbol must be"),
        (b'{"method":"depth","params":{"symbol":"X","limit":0}}', INVALID_PARAMETER, "limit must be"),
        (b'{"method":"depth","params":{"symbol":"X","limit":5001}}', INVALID_PARAMETER, "from 1 to 5000"),
        (b'{"method":"depth","params":{"symbol":"X","limit":1.0}}', INVALID_PARAMETER, "limit must be an integer"),
        (b'{"method":"depth","params":{"symbol":"X","limit":"5"}}', INVALID_PARAMETER, "limit must be an integer"),
        (b'{"method":"depth","params":{"symbol":"X","limit":true}}', INVALID_PARAMETER, "limit must be an integer"),
        (b'{"method":"depth","params":{"symbol":"X","limit":1e999}}', INVALID_PARAMETER, "limit must be an integer"),
        (b'{"method":"depth","params":{"symbol":"X","limit":' + b"9" * 5_000 + b"}}", INVALID_PARAMETER, "beyond"),
        (b'{"method":"order.place","params":{"symbol":"X","side":"BUY"}}', MANDATORY_PARAM, "type"),
        (
            b'{"method":"order.place","params":{"symbol":"X","side":"BUY","type":"LIMIT","quantity":1}}',
            INVALID_PARAMETER,
            "quantity must be a decimal in a string",
        ),
        (
            b'{"method":"order.place","params":{"symbol":"X","side":"BUY","type":"LIMIT","postOnly":1}}',
            INVALID_PARAMETER,
            "postOnly must be true or false",
        ),
        (
            b'{"method":"order.place","params":{"symbol":"X","side":"BUY","type":"LIMIT","recvWindow":60001}}',
            INVALID_PARAMETER,
            "from 1 to 60000",
        ),
        (
            b'{"method":"order.place","params":{"symbol":"X","side":"BUY","type":"LIMIT","timestamp":0}}',
            INVALID_PARAMETER,
            "timestamp must be a positive integer",
        ),
        (
            b'{"method":"order.place","params":{"symbol":"X","side":"BUY","type":"LIMIT","expireTime":4611686018428}}',
            INVALID_PARAMETER,
            "from 1 to 4611686018427:",
        ),
        (
            b'{"method":"order.cancel","params":{"symbol":"X","orderId":9223372036854775808}}',
            INVALID_PARAMETER,
            "orderId must be",
        ),
        (
            b'{"method":"order.cancel","params":{"symbol":"X","orderId":1,"orderID":1}}',
            UNKNOWN_PARAM,
            "symbol, orderId, clientOrderId, timestamp, recvWindow",
        ),
        (
            b'{"method":"session.logon","params":{"apiKey":"' + b"k" * 65 + b'"}}',
            INVALID_PARAMETER,
            "apiKey must be",
        ),
        (
            b'{"method":"session.logon","params":{"apiKey":"a","cancelOnDisconnect":1}}',
            INVALID_PARAMETER,
            "cancelOnDisconnect must be true or false",
        ),
        (b'{"method":"order.cancelAllAfter"}', MANDATORY_PARAM, "timeoutMs"),
        (b'{"method":"order.cancelAllAfter","params":{"timeoutMs":-1}}', INVALID_PARAMETER, "from 0 to 86400000"),
        (b'{"method":"order.cancelAllAfter","params":{"timeoutMs":86400001}}', INVALID_PARAMETER, "from 0 to 86400000"),
        (b'{"method":"allOrders","params":{"symbol":"X","limit":1001}}', INVALID_PARAMETER, "from 1 to 1000"),
        (b'{"method":"myTrades","params":{"symbol":"X","fromId":0}}', INVALID_PARAMETER, "fromId must be an id"),
        (b'{"method":"klines","params":{"symbol":"X"}}', MANDATORY_PARAM, "interval is missing: 1m, 5m"),
        (
            b'{"method":"klines","params":{"symbol":"X","interval":"2m"}}',
            INVALID_PARAMETER,
            "1m, 5m, 15m, 1h, 4h or 1d",
        ),
        (b'{"method":"order.batch"}', MANDATORY_PARAM, "orders is missing: a list of 1 to 50 objects"),
        (b'{"method":"order.batch","params":{"orders":{}}}', INVALID_PARAMETER, "orders must be a list of 1 to 50"),
        (b'{"method":"order.batch","params":{"orders":[]}}', INVALID_PARAMETER, "orders must be a list of 1 to 50"),
        (
            b'{"method":"order.batch","params":{"orders":[' + b",".join([b"{}"] * 51) + b"]}}",
            INVALID_PARAMETER,
            "orders must be a list of 1 to 50",
        ),
    ],
)
def test_what_is_wrong_is_named_in_our_own_words(line: bytes, code: int, word: str) -> None:
    """Each kind of bad line has its code, and a sentence that says what is wanted."""
    error = refused(line)
    assert (error.code, error.request_id) == (code, UNSET)
    assert word in error.message


@pytest.mark.parametrize(
    "request_id", ["1.0", "1e3", "true", "null", "[]", "{}", str(2**63), str(-(2**63) - 1), '"' + "x" * 37 + '"']
)
def test_an_invalid_id_is_refused_and_not_echoed(request_id: str) -> None:
    """Anything but a string of up to 36 characters or a 64-bit integer is no id."""
    error = refused(b'{"id":' + request_id.encode() + b',"method":"ping"}')
    assert (error.code, error.request_id) == (INVALID_PARAMETER, UNSET)
    assert "id must be" in error.message


@pytest.mark.parametrize(
    "line",
    [
        b'{"id":%s,"method":"order.fly"}',
        b'{"id":%s}',
        b'{"method":"ping","params":{"x":1},"id":%s}',
        b'{"id":%s,"method":"ping","params":7}',
        b'{"method":"ping","x":"\xff","id":%s}',
        b'{"method":"ping","x":"\\ud800","id":%s}',
        b'{"method":"ping","params":NaN,"id":%s}',
        b'{"method":"ping","x":1e999,"id":%s}',
        b'{"id":%s,"method":"ping","params":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b'{"method":"ping","id":%s,"params":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001,
    ],
)
@pytest.mark.parametrize("request_id", [b"42", b'"forty-two"'])
def test_a_bad_line_with_a_good_id_is_answered_with_it(line: bytes, request_id: bytes) -> None:
    """Whatever else is wrong, the client can tell which request it was."""
    assert refused(line % request_id).request_id == json.loads(request_id)


@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_the_limit_of_nesting_is_ours_and_exact(brackets: str) -> None:
    """No decoder's own, which differs between Pythons; brackets in strings, or side by side, do not count."""
    opening, closing = ('{"a":', "}") if brackets == "{}" else ("[", "]")

    def nested(depth: int, innermost: str) -> bytes:
        inner = depth - 2
        value = opening * inner + innermost + closing * inner
        return f'{{"id":5,"method":"ping","params":{{"x":{value}}}}}'.encode()

    for depth in (wire.MAX_NESTING + 1, 900, 1_400, 9_900):
        error = refused(nested(depth, "1"))
        assert (error.code, error.request_id) == (INVALID_JSON, 5)
        assert f"more than {wire.MAX_NESTING}" in error.message
    for innermost in ("1", f'"{opening[:1] * 100}"', f'"\\"{opening[:1] * 100}"', f'["x"{f",{brackets}" * 100}]'):
        depth = wire.MAX_NESTING - 2 * innermost.startswith("[")
        assert refused(nested(depth, innermost)).code == UNKNOWN_PARAM


@pytest.mark.parametrize("request_id", [b'"\\ud800"', b'"\xff"', b'"\xed\xa0\x80"'])
def test_an_id_that_could_not_go_back_is_not_echoed(request_id: bytes) -> None:
    """Lone surrogates and broken UTF-8 have no faithful copy."""
    error = refused(b'{"id":' + request_id + b',"method":"ping"}')
    assert (error.code, error.request_id) == (INVALID_JSON, UNSET)


def test_the_intervals_are_those_that_the_engine_keeps() -> None:
    """The type of the parameter spells them out, for the decoder."""
    names, _meta = get_args(Interval)
    assert list(get_args(names)) == list(INTERVALS.values())


def test_of_a_key_given_twice_any_one_counts_or_the_line_is_refused() -> None:
    """Both are allowed; what is not is an answer with a third value."""
    assert read(b'{"id":1,"id":2,"method":"ping"}').id in {1, 2}
    assert refused(b'{"method":"ping","method":"time","id":3}').request_id == 3
    assert refused(b'{"id":4,"method":"order.fly","method":"ping"}').request_id == 4


# -------------------------------------------------------------------------------------------------------------- batches

PLACE = b'{"symbol":"X","side":"BUY","type":"LIMIT","quantity":"1","price":"2"}'
CANCEL = b'{"symbol":"X","orderId":5}'


def orders(*parts: bytes) -> list[wire.OrderPlace | wire.OrderCancel | RefusedError]:
    """The orders of a batch of these."""
    batch = read(b'{"method":"order.batch","params":{"orders":[' + b",".join(parts) + b"]}}")
    assert isinstance(batch, wire.OrderBatch)
    return read_orders(batch)


def test_what_has_a_side_is_placed_and_what_has_none_is_cancelled() -> None:
    """Each becomes the request that it would be alone, without an id."""
    assert orders(PLACE, CANCEL, b'{"symbol":"X","clientOrderId":"a"}') == [
        wire.OrderPlace(params=PlaceParams("X", "BUY", "LIMIT", "1", price="2")),
        wire.OrderCancel(params=CancelParams("X", 5)),
        wire.OrderCancel(params=CancelParams("X", client_order_id="a")),
    ]


@pytest.mark.parametrize(
    ("part", "code", "word"),
    [
        (b"7", INVALID_PARAMETER, "must be an object"),
        (b"[]", INVALID_PARAMETER, "must be an object"),
        (b"null", INVALID_PARAMETER, "must be an object"),
        (b"{}", MANDATORY_PARAM, "symbol is missing"),
        (b'{"symbol":"X","side":"BUY"}', MANDATORY_PARAM, "type is missing"),
        (b'{"symbol":"X","type":"LIMIT"}', MANDATORY_PARAM, "side is missing"),
        (b'{"symbol":"X","quantity":"1"}', UNKNOWN_PARAM, "order.cancel takes symbol, orderId"),
        (b'{"symbol":"X","side":"BUY","type":"LIMIT","orderId":5}', UNKNOWN_PARAM, "order.place takes symbol, side"),
        (b'{"symbol":"X","side":"BUY","type":"LIMIT","quantity":1}', INVALID_PARAMETER, "quantity must be a decimal"),
        (b'{"symbol":"X","orderId":' + b"9" * 5_000 + b"}", INVALID_PARAMETER, "beyond every range"),
        (b'{"symbol":"X","orderId":"5","orderId":6}', INVALID_PARAMETER, "key given twice"),
    ],
)
def test_a_bad_order_of_a_batch_costs_only_itself(part: bytes, code: int, word: str) -> None:
    """It is refused in its own place, with the words it would get alone."""
    first, bad, last = orders(PLACE, part, CANCEL)
    assert isinstance(first, wire.OrderPlace)
    assert isinstance(last, wire.OrderCancel)
    assert isinstance(bad, RefusedError)
    assert (bad.code, word in bad.message) == (code, True), bad.message


@pytest.mark.parametrize(
    "part", [b'{"symbol":"\xff"}', b'{"x":"\xff"}', b'{"symbol":"\\udc00"}', b'"\xed\xa0\x80"', b"[" * 70 + b"]" * 70]
)
def test_a_line_that_is_no_text_is_refused_whole_wherever_it_is_broken(part: bytes) -> None:
    """In an order of a batch, too: then none of them is taken."""
    with pytest.raises(RefusedError) as caught:
        orders(PLACE, part)
    assert caught.value.code == INVALID_JSON


# -------------------------------------------------------------------------------------------------------------- fuzzing

GOOD = (
    b'{"id":1,"method":"ping"}',
    b'{"id":"a","method":"session.logon","params":{"apiKey":"alice","timestamp":5,"signature":"00"}}',
    (
        b'{"id":2,"method":"order.place","params":{"symbol":"BTC-USDT","side":"BUY","type":"LIMIT","timeInForce":"GTC",'
        b'"quantity":"0.0010","price":"49000.00","clientOrderId":"a-1","postOnly":false,"timestamp":5,"recvWindow":7}}'
    ),
    b'{"id":3,"method":"order.cancel","params":{"symbol":"BTC-USDT","orderId":12}}',
    b'{"id":4,"method":"depth","params":{"symbol":"BTC-USDT","limit":10}}',
    (
        b'{"id":5,"method":"order.batch","params":{"orders":[{"symbol":"X","side":"BUY","type":"LIMIT","quantity":"1",'
        b'"price":"2"},{"symbol":"X","orderId":5}]}}'
    ),
)

WORDS = st.sampled_from(["id", "method", "params", "symbol", "side", "quantity", "orderId", "ping", "order.place", "x"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good line with some bytes changed, dropped, doubled or added."""
    line = bytearray(draw(st.sampled_from(GOOD)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(line) - 1))
        match draw(st.integers(0, 3)):
            case 0:
                line[at] = draw(st.integers(0, 255))
            case 1:
                del line[at : at + draw(st.integers(1, 8))]
            case 2:
                line[at:at] = line[at : at + draw(st.integers(1, 30))]
            case _:
                line[at:at] = draw(st.sampled_from([b'"', b"{", b"}", b"\\", b"\\ud800", b"\xff", b"1e999", b"null"]))
        if not line:
            return b"{"
    return bytes(line)


def check_one_answer(line: bytes) -> None:
    """The line is read, or refused by a sentence that could go out and has nothing of the client in it."""
    request = outcome(line)
    if isinstance(request, RefusedError):
        answer = wire.refusal(request.request_id, request.code, request.message, reason=request.reason)
        decoded = msgspec.json.decode(wire.encode_lines([answer]))
        assert decoded["error"]["msg"].isascii()
    else:
        # What was accepted is what a plain reader sees, with the method it says.
        assert msgspec.json.decode(line)["method"] == type(request).__struct_config__.tag


@EXAMPLES
@given(mutated())
def test_a_mutated_line_is_read_or_refused_and_nothing_else(line: bytes) -> None:
    """No bytes get an exception of another kind."""
    check_one_answer(line)


@EXAMPLES
@given(VALUES)
def test_any_json_is_read_or_refused_and_nothing_else(value: object) -> None:
    """No value gets an exception of another kind."""
    check_one_answer(msgspec.json.encode(value))


@EXAMPLES
@given(st.dictionaries(WORDS, VALUES), st.sampled_from(["ping", "order.place", "order.cancel", "depth"]))
def test_any_parameters_are_read_or_refused_and_nothing_else(params: dict[str, object], method: str) -> None:
    """No parameters get an exception of another kind, and the id is always echoed."""
    line = msgspec.json.encode({"id": 5, "method": method, "params": params})
    check_one_answer(line)
    request = outcome(line)
    assert (request.request_id if isinstance(request, RefusedError) else request.id) == 5


def test_a_refusal_never_quotes_the_client() -> None:
    """A secret put into any place of a line does not come back."""
    mark = "sEcReT"
    for line in GOOD:
        text = line.decode()
        for at in (at for at, character in enumerate(text) if character in '":,'):
            for changed in (f"{text[:at]}{mark}{text[at:]}", f'{text[:at]},"{mark}":"{mark}"{text[at:]}'):
                said = outcome(changed.encode())
                assert not isinstance(said, RefusedError) or mark not in said.message

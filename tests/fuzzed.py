"""Lines that no client should send: requests out of a grammar, and what mutations of their bytes leave of them."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final, get_args

import msgspec
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from actors import parameters, wire

# By the name of a parameter: what may be there, and what nearly may.
_GOOD: Final[dict[str, Sequence[object]]] = {
    "symbol": ["BTC-USDT"] * 6 + ["ETH-USDT", "btc-usdt", "BTC-USDT\0"],
    "side": ["BUY", "SELL", "buy"],
    "type": ["LIMIT"] * 4 + ["MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT", "limit"],
    "timeInForce": ["GTC", "IOC", "FOK", "GTD", "DAY"],
    "quantity": ["0.0010", "0.5", "1", "10000", "0.00001", "0"],
    "price": ["49000.00", "50000", "51000.00", "50000.001", "1e3"],
    "stopPrice": ["49000.00", "51000.00"],
    "quoteOrderQty": ["100", "1000.5"],
    "displayQty": ["0.0010"],
    "newQty": ["0.0020", "0.5"],
    "newPrice": ["48000.00"],
    "orderId": [1, 2, 3, 10**9],
    "cancelOrderId": [1, 2, 3],
    "clientOrderId": ["a", "b", "c/1", "auto-1"],
    "cancelClientOrderId": ["a", "b"],
    "expireTime": [1_900_000_000_000, 1],
    "timestamp": [1_800_000_000_000, 1],
    "recvWindow": [5_000, 60_000, 60_001],
    "selfTradePreventionMode": ["NONE", "EXPIRE_TAKER", "EXPIRE_BOTH", "DECREMENT"],
    "apiKey": ["alice", "bob", "looker", "nobody"],
    "interval": ["1m", "1d", "2m"],
    "limit": [1, 100, 5_000],
    "timeoutMs": [0, 1_000],
    "postOnly": [True, False],
    "cancelOnDisconnect": [True, False],
}
_ODD: Final[SearchStrategy[object]] = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 2**31, 2**62, 2**63 - 1, 2**63, 2**64, -(2**63), 10**40, 0.5, -0.0, 1e308]),
    st.sampled_from(["a", "\u20ac", "BUY", "1", "0.5", "\U0001f600"]),
    st.sampled_from(["", "1", "-1", "1_0", " 1", "1.", ".5", "0" * 41, "\u0661", "NaN", "\x00", "\ud800", "x" * 300]),
    st.sampled_from([[], {}, [[]], [1, "a", None], {"a": {"b": []}}]),
)
_RAW: Final = (
    *(
        b"",
        b"\r",
        b" ",
        b"null",
        b"[]",
        b"{}",
        b"1",
        b'"',
        b"{",
        b"}",
        b"\xff\xfe",
        b"\0",
        b"PROXY",
        b"GET / HTTP/1.1\r",
    ),
    *(b"[" * 5_000, b'{"a":' * 3_000, b'{"id":NaN}', b'{"id":1,"id":2,"method":"ping"}', b'{"method":"ping"}{"id":2}'),
    *(b'{"id":"\xed\xa0\x80","method":"ping"}', b'{"id":"\\ud800","method":"ping"}', b"{'id':1}", b'{"id":1e999}'),
    *(b"x" * 65_536, b"x" * 65_537, b'{"id":1,"method":"ping","x":"' + b"y" * 65_000 + b'"}', b"quit", b"\x16\x03\x01"),
)


def _params_of(kind: type) -> list[str]:
    """The names of a request's parameters."""
    (field,) = [field for field in msgspec.structs.fields(kind) if field.name == "params"]
    params = field.type
    assert isinstance(params, type)
    assert issubclass(params, parameters.Params)
    return [parameter.encode_name for parameter in msgspec.structs.fields(params)]


_METHODS: Final = {
    str(msgspec.inspect.type_info(kind).tag): _params_of(kind)  # type: ignore[attr-defined]  # every request has one
    for kind in get_args(wire.Request)
}
_NAMES: Final = sorted({name for names in _METHODS.values() for name in names})


_USUAL: Final = {"symbol", "side", "type", "quantity", "price", "apiKey"}


def _value(name: str) -> SearchStrategy[object]:
    good = _GOOD.get(name)
    return _ODD if good is None else st.one_of(st.sampled_from(good), st.sampled_from(good), _ODD)


def _request(method: str) -> SearchStrategy[dict[str, object]]:
    """A request of this method, with most of its parameters, and sometimes one of another."""
    names = _METHODS[method]
    required = {
        name: _value(name) for name in names if name in {"symbol", "side", "type", "quantity", "price", "apiKey"}
    }
    optional = {name: _value(name) for name in names if name not in required}
    params = st.fixed_dictionaries(required, optional={**optional, "x": _ODD, _NAMES[len(method) % len(_NAMES)]: _ODD})
    if "orders" in names:
        order = st.fixed_dictionaries({name: _value(name) for name in ("symbol", "side", "type", "quantity", "price")})
        params = st.fixed_dictionaries({"orders": st.lists(order, max_size=3)})
    return st.fixed_dictionaries(
        {"method": st.just(method)},
        optional={"id": st.one_of(st.integers(0, 99), _ODD), "params": params, "extra": _ODD},
    ).map(lambda request: request if "params" in request or not names else {**request, "params": {}})


def _encoded(request: object) -> bytes:
    try:
        return msgspec.json.encode(request)
    except (UnicodeEncodeError, OverflowError):  # a lone surrogate, or a number of more than 64 bits
        return repr(request).encode("utf-8", "surrogatepass")


LINES: Final[SearchStrategy[bytes]] = st.one_of(
    st.sampled_from(sorted(_METHODS)).flatmap(_request).map(_encoded),
    st.sampled_from(sorted(_METHODS)).flatmap(_request).map(_encoded),
    st.sampled_from(_RAW),
    _ODD.map(_encoded),
)

# ----------------------------------------------------------------------------------------------------------- mutations


def _change(data: bytearray, random: Random) -> None:
    data[random.randrange(len(data))] = random.choice(b'\0\n\r "{}[]:,\\0129.-eE\xff')


def _remove(data: bytearray, random: Random) -> None:
    start = random.randrange(len(data))
    del data[start : start + random.choice((1, 1, 2, 10, 100))]


def _insert(data: bytearray, random: Random) -> None:
    at = random.randrange(len(data) + 1)
    data[at:at] = random.choice((b"\n", b"\r\n", b"\0", b'"', b"}", b"{", b"NaN", b"1e9", b",", b"\xc3", b"\\u0000"))


def _repeat(data: bytearray, random: Random) -> None:
    start = random.randrange(len(data))
    data[start:start] = data[start : start + random.randint(1, 60)] * random.choice((1, 2, 30))


def _shuffle(data: bytearray, random: Random) -> None:
    one, other = random.randrange(len(data)), random.randrange(len(data))
    data[one], data[other] = data[other], data[one]


_MUTATIONS: Final[tuple[Callable[[bytearray, Random], None], ...]] = (_change, _remove, _insert, _repeat, _shuffle)


def mutated(line: bytes, random: Random) -> bytes:
    """The line, changed in a few places; it may have become several."""
    data = bytearray(line)
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        if data:
            random.choice(_MUTATIONS)(data, random)
    return bytes(data)

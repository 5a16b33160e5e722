"""What the wire costs per request, in microseconds: lines to engine requests, and outcomes to reply bytes.

One connection's share of the work without sockets, mailboxes and engine: 1,024 lines as one read delivers them, cut,
decoded and built; then their outcomes made into replies and encoded in one call. The best of several rounds, which is
what the code costs when nobody else wants the processor. Prices and quantities repeat, as the load generator's do; one
that was not seen before costs about 0.4 µs more. Run it as `python -m bench.wire`.
"""

import time
from collections.abc import Callable
from functools import partial

from actors.directory import Directory
from actors.intake import Identity, Intake
from actors.reading import Lines, read
from actors.replies import Replies
from actors.requests import Done, Outcome
from actors.wire import Request, encode_lines
from book.definitions import Asset, Market
from book.events import Event, OrderAccepted, OrderClosed, OrderView, Trade
from book.queries import DirectoryView, MarketStatus
from book.terms import BUY, CANCELED, FILLED, GTC, LIMIT, MAX_INT, NEW, READ, SELL, TRADE, TRADING

LINES = 1024
ROUNDS = 200

BTC_USDT = Market(
    symbol="BTC-USDT",
    base="BTC",
    quote="USDT",
    tick=1,
    tick_scale=2,
    lot=10_000,
    min_quantity=1,
    max_quantity=100_000_000,
    min_notional=5_000_000,
    max_open_orders=20_000,
    maker_fee=1_000,
    taker_fee=2_000,
    collar=100_000,
    self_trade=2,
)


def directory() -> Directory:
    """One market."""
    known = Directory()
    assets = [Asset("BTC", 8), Asset("USDT", 6)]
    known.fill(DirectoryView(assets, [MarketStatus(BTC_USDT, TRADING, 0)], [], []))
    return known


def place_line(number: int) -> bytes:
    """A limit order, as the load generator writes it."""
    return (
        f'{{"id":{number},"method":"order.place","params":{{"symbol":"BTC-USDT","side":"BUY","type":"LIMIT",'
        f'"timeInForce":"GTC","quantity":"0.00{10 + number % 80}","price":"49{number % 1000:03}.07",'
        f'"clientOrderId":"L4711-3-{number}"}}}}\n'
    ).encode()


def cancel_line(number: int) -> bytes:
    """The cancel of such an order, as the load generator writes it."""
    return (
        f'{{"id":{number},"method":"order.cancel","params":{{"symbol":"BTC-USDT","clientOrderId":"L4711-3-{number}"}}}}\n'
    ).encode()


def _view(number: int, status: int, executed: int = 0) -> OrderView:
    return OrderView(
        number,
        1,
        "BTC-USDT",
        f"L4711-3-{number}",
        BUY,
        LIMIT,
        GTC,
        4_900_007,
        15,
        0,
        executed,
        executed * 4_900_007 * 1_000_000,
        status,
        1_700_000_000_123_456_789,
        1_700_000_001_123_456_789,
    )


def rested(number: int) -> Done:
    """An order that rests."""
    return Done(number, 1_700_000_000_123_456_789, [OrderAccepted(_view(number, NEW))])


def filled(number: int) -> Done:
    """An order that fills against one other."""
    trade = Trade("BTC-USDT", number, 4_900_007, 15, 73_500_105_000_000, SELL, 5, number, 2, 1, 73_500_106, 147_000_210)
    events: list[Event] = [OrderAccepted(_view(number, NEW)), trade, OrderClosed(_view(number, FILLED, 15))]
    return Done(number, 1_700_000_000_123_456_789, events)


def canceled(number: int) -> Done:
    """An order that was taken back."""
    return Done(number, 1_700_000_000_123_456_789, [OrderClosed(_view(number, CANCELED))])


def microseconds(work: Callable[[], object]) -> float:
    """The best time of one round, per line."""
    best = MAX_INT
    for _ in range(ROUNDS):
        started = time.perf_counter_ns()
        work()
        best = min(best, time.perf_counter_ns() - started)
    return best / LINES / 1_000


def read_lines(data: bytes) -> list[Request]:
    """One read's lines."""
    return [read(line) for line in Lines().feed(data)]


def main() -> None:
    """Print the table."""
    known = directory()
    makers = Intake(known.venues, Identity(account=1, key=1, session=1, permissions=READ | TRADE, since_ms=0)).makers
    replies = Replies(known)

    def build(data: bytes) -> list[object]:
        return [makers[type(request)](request) for request in read_lines(data)]

    def reply(requests: list[Request], outcomes: list[Outcome]) -> list[object]:
        return [*map(replies.reply, requests, outcomes)]

    def encode(requests: list[Request], outcomes: list[Outcome]) -> bytes:
        return encode_lines(reply(requests, outcomes))

    print(f"{'':14}{'decode':>10}{'+ build':>10}{'reply':>10}{'+ encode':>10}   µs per request, best of {ROUNDS}")
    for name, line, outcome in (
        ("place, rests", place_line, rested),
        ("place, fills", place_line, filled),
        ("cancel", cancel_line, canceled),
    ):
        data = b"".join(line(number) for number in range(1, LINES + 1))
        requests = read_lines(data)
        outcomes: list[Outcome] = [outcome(number) for number in range(1, LINES + 1)]
        columns = (
            microseconds(partial(read_lines, data)),
            microseconds(partial(build, data)),
            microseconds(partial(reply, requests, outcomes)),
            microseconds(partial(encode, requests, outcomes)),
        )
        print(f"{name:14}" + "".join(f"{column:10.2f}" for column in columns))


if __name__ == "__main__":
    main()

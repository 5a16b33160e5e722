"""Trading that can be accounted for to the unit, whenever the exchange dies: what was answered, and what it implies.

The load is made so that replies imply balances exactly. Alice only makes (post-only), bob only takes (IOC), and all
prices are such that fees come out even; so what an account owns follows from what its orders executed. Orders that were
in flight when the process died may or may not have happened: the restarted exchange is asked by client order id.
"""

import itertools
import json
import threading
from collections.abc import Iterator
from random import Random
from typing import Any

from attrs import define, field

from tests.live import LiveClient, LiveExchange

SYMBOL = "BTC-USDT"
UNITS = {"BTC": 10**8, "USDT": 10**6}
FUNDS = {"BTC": 1_000 * 10**8, "USDT": 100_000_000 * 10**6}
MAKER_PPM, TAKER_PPM = 1_000, 2_000
# Fewer finished orders per account and life than the exchange remembers, so that each can be asked for.
ORDERS_PER_LIFE = 400


@define
class Order:
    """What is known of one order: as it was asked for, as it was answered, as it was last seen."""

    side: str
    placed: dict[str, Any] | None = None
    """The reply to its placing, if one came."""
    cancelled: dict[str, Any] | None = None
    """The result of its cancelling, if one came."""
    base_units: int = 0
    quote_units: int = 0
    finished: bool = False


@define
class Owner:
    """One account's memory of all its orders, by client order id."""

    name: str
    maker: bool
    orders: dict[str, Order] = field(factory=dict)


def _requests(owner: Owner, life: int, orders: int, random: Random) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Method, params and client order id: orders whose fees are whole units, and now and then a cancel."""
    for number in range(orders):
        side = random.choice(("BUY", "SELL"))
        client_order_id = f"{owner.name}-{life}-{number}"
        owner.orders[client_order_id] = Order(side)
        # A multiple of 1,000 ticks times whole lots: a thousandth of the notional is a whole unit.
        ticks = 5_000_000 + 1000 * random.randint(-3, 3) + (0 if not owner.maker else -5000 if side == "BUY" else 5000)
        if not owner.maker:
            ticks += 20_000 if side == "BUY" else -20_000
        params = {
            "symbol": SYMBOL,
            "side": side,
            "type": "LIMIT",
            "timeInForce": "GTC" if owner.maker else "IOC",
            "postOnly": owner.maker,
            "price": f"{ticks // 100}.{ticks % 100:02}",
            "quantity": f"0.{random.randint(10, 90):04}",
            "clientOrderId": client_order_id,
        }
        if not owner.maker:
            del params["postOnly"]
        yield "order.place", params, client_order_id
        if owner.maker and random.random() < 0.3:
            victim = f"{owner.name}-{life}-{random.randint(0, number)}"
            yield "order.cancel", {"symbol": SYMBOL, "clientOrderId": victim}, victim


def _pour(client: LiveClient, owner: Owner, life: int, orders: int, random: Random) -> None:
    """Send everything pipelined; remember what is answered until all is, or the connection dies."""
    asked: list[tuple[str, str]] = []

    def send() -> None:
        try:
            for method, params, client_order_id in _requests(owner, life, orders, random):
                asked.append((method, client_order_id))
                client.send(method, **params)
            client.send_no_more()
        except OSError:
            pass  # killed: what matters is what was answered

    sender = threading.Thread(target=send)
    sender.start()
    try:
        for turn in itertools.count():
            reply = client.receive()
            method, client_order_id = asked[turn]
            if method == "order.place":
                owner.orders[client_order_id].placed = reply
            elif reply["status"] == 200:
                owner.orders[client_order_id].cancelled = reply["result"]
    except (OSError, json.JSONDecodeError):
        pass  # all is answered, or it was killed
    sender.join()


def _units(text: str, asset: str) -> int:
    whole, _, decimals = text.partition(".")
    scale = len(str(UNITS[asset])) - 1
    return int(whole + decimals.ljust(scale, "0"))


def _look_up(client: LiveClient, owner: Owner) -> None:
    """Ask for every order that may have changed; assert that it is as it was answered."""
    for client_order_id, order in owner.orders.items():
        if order.finished:
            continue
        found = client.ask("order.status", symbol=SYMBOL, clientOrderId=client_order_id)
        exists = found["status"] == 200
        if order.placed is not None:
            assert exists == (order.placed["status"] == 200), f"{order.placed} was answered, {found} is found"
        if order.cancelled is not None:
            assert found["result"] == order.cancelled, "a cancelled order changed"
        order.finished = not exists
        if exists:
            result = found["result"]
            if order.placed is not None:
                assert result["orderId"] == order.placed["result"]["orderId"]
            base_units = _units(result["executedQty"], "BTC")
            assert base_units >= order.base_units, "a trade was undone"
            order.base_units, order.quote_units = base_units, _units(result["cumQuoteQty"], "USDT")
            order.finished = result["status"] not in ("NEW", "PARTIALLY_FILLED")


def _assert_balances(client: LiveClient, owner: Owner) -> None:
    base, quote = FUNDS["BTC"], FUNDS["USDT"]
    for order in owner.orders.values():
        sign = 1 if order.side == "BUY" else -1
        fee = order.quote_units * (MAKER_PPM if owner.maker else TAKER_PPM)
        assert fee % 1_000_000 == 0
        base += sign * order.base_units
        quote -= sign * order.quote_units + fee // 1_000_000
    on_sale = sum(
        _units(order["origQty"], "BTC") - _units(order["executedQty"], "BTC")
        for order in client.ask("openOrders.status", symbol=SYMBOL)["result"]["orders"]
        if order["side"] == "SELL"
    )
    balances = {row["asset"]: row for row in client.ask("account.status")["result"]["balances"]}
    assert _units(balances["BTC"]["locked"], "BTC") == on_sale
    for asset, owned in (("BTC", base), ("USDT", quote)):
        assert _units(balances[asset]["free"], asset) + _units(balances[asset]["locked"], asset) == owned


class Traders:
    """Alice and bob, over as many lives of one exchange as a test likes."""

    def __init__(self, random: Random, orders: int = ORDERS_PER_LIFE) -> None:
        """`orders` is how many each places in one life."""
        self._random = random
        self._orders = orders
        self._owners = Owner("alice", maker=True), Owner("bob", maker=False)
        self._life = 0
        self._clients: list[LiveClient] = []
        self._loads: list[threading.Thread] = []

    @property
    def answered(self) -> int:
        """How many orders were answered so far."""
        return sum(order.placed is not None for owner in self._owners for order in owner.orders.values())

    def fund(self, exchange: LiveExchange) -> None:
        """Give them what they have in the demo; once is enough, again is no harm."""
        with exchange.operator() as operator:
            for owner in self._owners:
                for asset, units in FUNDS.items():
                    words = {"account": owner.name, "asset": asset, "amount": str(units // UNITS[asset])}
                    assert operator.ask("credit", **words, id=f"{owner.name}-{asset}")["status"] == 200

    def check(self, exchange: LiveExchange) -> None:
        """Assert that everything answered is as it was answered, and that every balance is exact."""
        for owner in self._owners:
            with exchange.client(owner.name) as client:
                _look_up(client, owner)
                _assert_balances(client, owner)

    def begin(self, exchange: LiveExchange) -> None:
        """Trade, in threads, until all is answered or the exchange dies."""
        self._life += 1
        for owner in self._owners:
            client = exchange.client(owner.name)
            arguments = client, owner, self._life, self._orders, Random(self._random.random())
            self._clients.append(client)
            self._loads.append(threading.Thread(target=_pour, args=arguments))
            self._loads[-1].start()

    def end(self) -> None:
        """Wait until all is answered or the exchange is dead."""
        for load in self._loads:
            load.join()
        for client in self._clients:
            client.close()
        self._loads, self._clients = [], []

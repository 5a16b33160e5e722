"""What the exchange answered, as a person reads it."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from rich.console import RenderableType
from rich.json import JSON
from rich.table import Table

from tallystick.tables import cell, table

_KLINE: Final = ("openTime", "open", "high", "low", "close", "volume", "closeTime")


def render(method: str, result: Mapping[str, Any]) -> RenderableType:
    """A table where that is what it is, else JSON."""
    if not result:
        return "done"
    if method in _RENDERERS:
        return _RENDERERS[method](result)
    if len(result) == 1:
        (value,) = result.values()
        if isinstance(value, list) and all(isinstance(row, dict) for row in value):
            return table(value) if value else "none"
    if all(not isinstance(value, list | dict) for value in result.values()):
        return _facts(result)
    return JSON.from_data(result)


def _list(key: str, *shown: str) -> Callable[[Mapping[str, Any]], RenderableType]:
    """Rows with what people look for; --json has the rest."""

    def show(result: Mapping[str, Any]) -> RenderableType:
        rows = result[key]
        return table([{name: row[name] for name in shown if name in row} for row in rows]) if rows else "none"

    return show


def _several(result: Mapping[str, Any]) -> RenderableType:
    """A row for each order of a batch: how it stands, or why it was refused."""
    return table(
        [
            {name: part["result"][name] for name in ("orderId", "clientOrderId", "status", "executedQty")}
            if part["status"] == 200
            else {"status": part["error"]["name"], "why": part["error"]["msg"]}
            for part in result["results"]
        ]
    )


def _facts(result: Mapping[str, Any]) -> Table:
    """Names beside their values."""
    made = Table(box=None, show_header=False)
    made.add_column(style="bold")
    for name, value in result.items():
        made.add_row(name, cell(value))
    return made


def _placed(result: Mapping[str, Any]) -> RenderableType:
    facts = _facts({name: value for name, value in result.items() if name != "fills"})
    if not result["fills"]:
        return facts
    made = Table.grid()
    made.add_row(facts)
    made.add_row(table(result["fills"]))
    return made


def _book(result: Mapping[str, Any]) -> Table:
    """Bids and asks side by side, best first."""
    made = Table("bid qty", "bid", "ask", "ask qty", box=None, header_style="bold", title=result["symbol"])
    bids, asks = result["bids"], result["asks"]
    for place in range(max(len(bids), len(asks))):
        bid = bids[place] if place < len(bids) else ("", "")
        ask = asks[place] if place < len(asks) else ("", "")
        made.add_row(bid[1], bid[0], ask[0], ask[1])
    return made


def _klines(result: Mapping[str, Any]) -> RenderableType:
    return table([dict(zip(_KLINE, row, strict=True)) for row in result["klines"]]) if result["klines"] else "none"


_orders: Final = _list(
    "orders", "orderId", "clientOrderId", "symbol", "side", "type", "price", "origQty", "executedQty", "status"
)
_RENDERERS: Final[dict[str, Callable[[Mapping[str, Any]], RenderableType]]] = {
    "allOrders": _orders,
    "depth": _book,
    "exchangeInfo": _list("symbols", "symbol", "status", "tickSize", "lotSize", "minNotional", "makerFee", "takerFee"),
    "klines": _klines,
    "myTrades": _list("trades", "tradeId", "orderId", "symbol", "side", "price", "qty", "fee", "feeAsset", "maker"),
    "openOrders.status": _orders,
    "order.batch": _several,
    "order.place": _placed,
}

"""Every method of the exchange as a typed call. Pure: what is made here is sent by whoever mixes it in.

Names and meanings of parameters are those of docs/protocol.md, in Python's spelling; None leaves one out. Numbers are
Decimal, int or str, never float; moments and durations are integer milliseconds.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar

import msgspec

from tallystick.client import results
from tallystick.client.calls import Call, Number, Outcome, decimal_text, read_batch, reader

T = TypeVar("T")

Side = Literal["BUY", "SELL"]
OrderType = Literal["LIMIT", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"]
TimeInForce = Literal["GTC", "IOC", "FOK", "GTD"]
SelfTradeMode = Literal["NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT"]
Interval = Literal["1m", "5m", "15m", "1h", "4h", "1d"]

_NUMBERS: Final = {
    "quantity",
    "quote_order_qty",
    "price",
    "stop_price",
    "display_qty",
    "new_qty",
    "new_price",
    "amount",
}


class Methods(ABC):
    """The calls of one exchange."""

    @abstractmethod
    async def ask(self, call: Call[T]) -> T:
        """Send one call and wait for its result. Raises ClientError."""

    @abstractmethod
    def name_order(self) -> str:
        """A clientOrderId that was never used."""

    def _call(self, method: str, result: type[T], /, *, changes: bool = False, **params: object) -> Call[T]:
        return Call(method=method, params=_on_the_wire(params), read=reader(result), changes=changes, asker=self)

    def call(self, method: str, params: Mapping[str, object]) -> Call[Any]:
        """A method by its name on the wire, with parameters as they stand there; the result is plain JSON."""
        return Call(method=method, params=params, read=msgspec.json.decode, changes=True, asker=self)

    # ------------------------------------------------------------------------------------------------- the exchange

    def ping(self) -> Call[results.Nothing]:
        """Is anybody there?"""
        return self._call("ping", results.Nothing)

    def time(self) -> Call[results.ServerTime]:
        """What time is it there?"""
        return self._call("time", results.ServerTime)

    def info(self) -> Call[results.Exchange]:
        """What can be traded, and by which rules?"""
        return self._call("exchangeInfo", results.Exchange)

    def session(self) -> Call[results.LoggedOn]:
        """Who is logged on?"""
        return self._call("session.status", results.LoggedOn)

    # ------------------------------------------------------------------------------------------------------- orders

    def place(
        self,
        symbol: str,
        side: Side,
        type: OrderType = "LIMIT",  # noqa: A002 - its name on the wire
        *,
        quantity: Number | None = None,
        quote_order_qty: Number | None = None,
        price: Number | None = None,
        stop_price: Number | None = None,
        time_in_force: TimeInForce | None = None,
        expire_time: int | None = None,
        post_only: bool | None = None,
        display_qty: Number | None = None,
        client_order_id: str | None = None,
        self_trade_prevention_mode: SelfTradeMode | None = None,
        timestamp: int | None = None,
        recv_window: int | None = None,
    ) -> Call[results.Placed]:
        """Enter an order. One without a client_order_id gets one here, so that it can be found whatever happens."""
        return self._call(
            "order.place",
            results.Placed,
            changes=True,
            symbol=symbol,
            side=side,
            type=type,
            quantity=quantity,
            quote_order_qty=quote_order_qty,
            price=price,
            stop_price=stop_price,
            time_in_force=time_in_force,
            expire_time=expire_time,
            post_only=post_only,
            display_qty=display_qty,
            client_order_id=client_order_id or self.name_order(),
            self_trade_prevention_mode=self_trade_prevention_mode,
            timestamp=timestamp,
            recv_window=recv_window,
        )

    def would_accept(self, order: Call[results.Placed]) -> Call[results.Nothing]:
        """Judge an order that `place` made, and do nothing else (`order.test`)."""
        params = {name: value for name, value in order.params.items() if name != "clientOrderId"}
        return Call(method="order.test", params=params, read=reader(results.Nothing), changes=False, asker=order.asker)

    def cancel(
        self,
        symbol: str,
        *,
        order_id: int | None = None,
        client_order_id: str | None = None,
        timestamp: int | None = None,
        recv_window: int | None = None,
    ) -> Call[results.Order]:
        """Cancel an open order, by either id; the result is the order as it ended."""
        return self._call(
            "order.cancel",
            results.Order,
            changes=True,
            symbol=symbol,
            order_id=order_id,
            client_order_id=client_order_id,
            timestamp=timestamp,
            recv_window=recv_window,
        )

    def amend(
        self,
        symbol: str,
        *,
        order_id: int | None = None,
        client_order_id: str | None = None,
        new_qty: Number | None = None,
        new_price: Number | None = None,
        timestamp: int | None = None,
        recv_window: int | None = None,
    ) -> Call[results.Order]:
        """Change an open order's total quantity, its price or both; the result is the order as it stands."""
        return self._call(
            "order.amend",
            results.Order,
            changes=True,
            symbol=symbol,
            order_id=order_id,
            client_order_id=client_order_id,
            new_qty=new_qty,
            new_price=new_price,
            timestamp=timestamp,
            recv_window=recv_window,
        )

    def replace(
        self,
        order: Call[results.Placed],
        *,
        cancel_order_id: int | None = None,
        cancel_client_order_id: str | None = None,
    ) -> Call[results.Replaced]:
        """Cancel an open order, by either id, and enter another, made by `place`: both or neither."""
        ids = _on_the_wire({"cancel_order_id": cancel_order_id, "cancel_client_order_id": cancel_client_order_id})
        return Call(
            method="order.cancelReplace",
            params={**order.params, **ids},
            read=reader(results.Replaced),
            changes=True,
            asker=order.asker,
        )

    def batch(self, *orders: Call[T]) -> Call[tuple[Outcome[T], ...]]:
        """Place and cancel up to 50 orders, made by `place` and `cancel`; each succeeds or is refused by itself.

        The result has for each order, in order, its own result, or the Rejected that it would have raised.
        """
        for order in orders:
            if order.method not in ("order.place", "order.cancel"):
                raise ValueError(f"a batch places and cancels orders; {order.method} does neither")
        return Call(
            method="order.batch",
            params={"orders": [order.params for order in orders]},
            read=read_batch(orders),
            changes=True,
            asker=self,
        )

    def order(
        self, symbol: str, *, order_id: int | None = None, client_order_id: str | None = None
    ) -> Call[results.Order]:
        """How does an order stand?"""
        return self._call(
            "order.status", results.Order, symbol=symbol, order_id=order_id, client_order_id=client_order_id
        )

    def open_orders(self, symbol: str | None = None) -> Call[results.Orders]:
        """Which orders are open, in one market or in all?"""
        return self._call("openOrders.status", results.Orders, symbol=symbol)

    def cancel_all(
        self, symbol: str | None = None, *, timestamp: int | None = None, recv_window: int | None = None
    ) -> Call[results.CanceledAll]:
        """Cancel what is open, in one market or in all."""
        return self._call(
            "openOrders.cancelAll",
            results.CanceledAll,
            changes=True,
            symbol=symbol,
            timestamp=timestamp,
            recv_window=recv_window,
        )

    def cancel_all_after(
        self, timeout_ms: int, *, timestamp: int | None = None, recv_window: int | None = None
    ) -> Call[results.CancelAllAfterSet]:
        """Cancel what is open in `timeout_ms`, unless this is asked again before; 0: do not."""
        return self._call(
            "order.cancelAllAfter",
            results.CancelAllAfterSet,
            changes=True,
            timeout_ms=timeout_ms,
            timestamp=timestamp,
            recv_window=recv_window,
        )

    # --------------------------------------------------------------------------------------------------- the account

    def my_trades(
        self, symbol: str, *, from_id: int | None = None, limit: int | None = None
    ) -> Call[results.AccountTrades]:
        """What did I trade? The newest `limit`, or those from `from_id` on."""
        return self._call("myTrades", results.AccountTrades, symbol=symbol, from_id=from_id, limit=limit)

    def all_orders(self, symbol: str, *, from_id: int | None = None, limit: int | None = None) -> Call[results.Orders]:
        """Which orders are and were there? The newest `limit`, or those from `from_id` on."""
        return self._call("allOrders", results.Orders, symbol=symbol, from_id=from_id, limit=limit)

    def account(self) -> Call[results.Account]:
        """What do I own?"""
        return self._call("account.status", results.Account)

    def commission(self, symbol: str) -> Call[results.Commission]:
        """What do I pay?"""
        return self._call("account.commission", results.Commission, symbol=symbol)

    # --------------------------------------------------------------------------------------- deposits and withdrawals

    def deposit_address(self, asset: str) -> Call[results.DepositAddress]:
        """Where can I pay in? It is the account's own for good, the same however often it is asked for."""
        return self._call("deposit.address", results.DepositAddress, asset=asset)

    def deposits(self, asset: str | None = None, *, limit: int | None = None) -> Call[results.Deposits]:
        """What was paid in, of one asset or of all? The newest `limit`."""
        return self._call("deposit.history", results.Deposits, asset=asset, limit=limit)

    def withdraw(
        self,
        asset: str,
        address: str,
        amount: Number,
        *,
        withdraw_order_id: str | None = None,
        timestamp: int | None = None,
        recv_window: int | None = None,
    ) -> Call[results.WithdrawalInfo]:
        """Pay out; the asset's fee comes on top. Without a withdraw_order_id it gets one here, as orders do."""
        return self._call(
            "withdraw.apply",
            results.WithdrawalInfo,
            changes=True,
            asset=asset,
            address=address,
            amount=amount,
            withdraw_order_id=withdraw_order_id or self.name_order(),
            timestamp=timestamp,
            recv_window=recv_window,
        )

    def cancel_withdrawal(self, withdraw_order_id: str) -> Call[results.WithdrawalInfo]:
        """Do not pay out, if it is not signed yet."""
        return self._call("withdraw.cancel", results.WithdrawalInfo, changes=True, withdraw_order_id=withdraw_order_id)

    def withdrawal(self, withdraw_order_id: str) -> Call[results.WithdrawalInfo]:
        """How far is a withdrawal?"""
        return self._call("withdraw.status", results.WithdrawalInfo, withdraw_order_id=withdraw_order_id)

    def withdrawals(self, asset: str | None = None, *, limit: int | None = None) -> Call[results.Withdrawals]:
        """What was to be paid out, of one asset or of all? The newest `limit`."""
        return self._call("withdraw.history", results.Withdrawals, asset=asset, limit=limit)

    # --------------------------------------------------------------------------------------------------- market data

    def depth(self, symbol: str, *, limit: int | None = None) -> Call[results.Levels]:
        """How does the book look?"""
        return self._call("depth", results.Levels, symbol=symbol, limit=limit)

    def recent_trades(self, symbol: str, *, limit: int | None = None) -> Call[results.Trades]:
        """What was traded last?"""
        return self._call("trades.recent", results.Trades, symbol=symbol, limit=limit)

    def ticker(self, symbol: str) -> Call[results.DayTicker]:
        """How did the last day go?"""
        return self._call("ticker.24hr", results.DayTicker, symbol=symbol)

    def candles(
        self,
        symbol: str,
        interval: Interval,
        *,
        start_time: int | None = None,
        end_time: int | None = None,
        limit: int | None = None,
    ) -> Call[results.Klines]:
        """How did the price move? Candles that open between two moments, the newest `limit` of them."""
        return self._call(
            "klines",
            results.Klines,
            symbol=symbol,
            interval=interval,
            start_time=start_time,
            end_time=end_time,
            limit=limit,
        )


def _on_the_wire(params: dict[str, object]) -> dict[str, object]:
    """With the wire's names and numbers, without what is not given."""
    return {
        _camel(name): decimal_text(name, value) if name in _NUMBERS else value  # type: ignore[arg-type]  # it checks
        for name, value in params.items()
        if value is not None
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)

"""What an account's owner is told of a command: a report for each step of each order, and the balances behind them.

Pure, and without a memory. An event of the engine does not say how an order stood that another one met, but it is known
how it stands behind the command (`AccountNews.orders`, or the event of its end). So the events are walked backwards,
each trade taken off what the order had executed by then; and the numbers run backwards from the last one.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from attrs import define
from msgspec import UNSET, UnsetType

from actors.audience import AccountNews, Refused
from actors.directory import Directory, Venue
from actors.results import BalanceInfo
from actors.stream_events import BalanceEvent, DepositEvent, ExecutionReport, StreamEvent, WithdrawalEvent
from book.codes import CODE_NAMES
from book.decimals import format_units
from book.definitions import Asset
from book.events import (
    Adjusted,
    Credited,
    Event,
    OrderAccepted,
    OrderAmended,
    OrderClosed,
    OrderReduced,
    OrderTriggered,
    OrderView,
    Trade,
    Withdrawal,
    WithdrawalHeld,
    WithdrawalReleased,
    WithdrawalSettled,
)
from book.queries import Balance
from book.terms import (
    CANCELED,
    FILLED,
    NEW,
    NS_PER_MS,
    ORDER_STATES,
    ORDER_TYPES,
    PARTIALLY_FILLED,
    SIDES,
    TIMES_IN_FORCE,
    WITHDRAWAL_STATES,
)

CHANNEL: Final = "user"

# What the engine's events about an order are called, and why, where that is not said by its new status.
_STEPS: Final[dict[type, tuple[str, str]]] = {
    OrderAccepted: ("NEW", ""),
    OrderTriggered: ("NEW", "TRIGGERED"),
    OrderAmended: ("REPLACED", ""),
    OrderReduced: ("REPLACED", "SELF_TRADE"),
}

_OPEN: Final = (NEW, PARTIALLY_FILLED)

_TradeFields = tuple[
    str | UnsetType, str | UnsetType, str | UnsetType, str | UnsetType, bool | UnsetType, int | UnsetType
]
_NO_TRADE: Final[_TradeFields] = (UNSET, UNSET, UNSET, UNSET, UNSET, UNSET)


@define
class _Standing:
    """An order at one point of the walk."""

    view: OrderView
    quantity: int
    executed: int
    executed_quote: int

    @classmethod
    def of(cls, view: OrderView) -> "_Standing":
        return cls(view, view.quantity, view.executed, view.executed_quote)

    @property
    def status(self) -> int:
        """It was filled by its last trade, and before that partly filled."""
        filled = self.view.status == FILLED and self.executed == self.view.executed
        return FILLED if filled else PARTIALLY_FILLED

    def undo(self, trade: Trade) -> None:
        """Stand as before this trade."""
        self.executed -= trade.quantity
        self.executed_quote -= trade.notional
        if self.view.quote_quantity:
            self.quantity = self.executed


class UserStream:
    """Makes event lines of news."""

    def __init__(self, directory: Directory) -> None:
        self._venues: Mapping[str, Venue] = directory.venues
        self._assets: Mapping[str, Asset] = directory.assets

    def lines(self, news: AccountNews) -> list[StreamEvent]:
        """All that is told, in order. The last one has the number `news.seq`, those before it the numbers before."""
        backwards = list(self._backwards(news))
        backwards.reverse()
        return backwards

    def rejection(self, refused: Refused) -> ExecutionReport:
        """What the owner of an order is told that was rejected. It has no number: nothing happened."""
        order, rejected = refused.order, refused.rejected
        venue = self._venues.get(order.symbol)
        zero = "0" if venue is None else venue.format_quantity(0)
        return ExecutionReport(
            CHANNEL,
            UNSET,
            refused.time_ns // NS_PER_MS,
            "REJECTED",
            "REJECTED",
            order.symbol,
            UNSET,
            order.client_order_id or UNSET,
            SIDES.get(order.side, str(order.side)),
            ORDER_TYPES.get(order.type, str(order.type)),
            TIMES_IN_FORCE.get(order.time_in_force, str(order.time_in_force)),
            "0" if venue is None else venue.format_price(order.price),
            UNSET if venue is None or not order.stop_price else venue.format_price(order.stop_price),
            zero if venue is None else venue.format_quantity(order.quantity),
            zero,
            "0" if venue is None else venue.format_amount(0),
            zero,
            reason=rejected.reason or CODE_NAMES[rejected.code],
        )

    def _backwards(self, news: AccountNews) -> Iterator[StreamEvent]:
        seq, time = news.seq, news.time_ns // NS_PER_MS
        yield BalanceEvent(CHANNEL, seq, time, self._balances(news))
        standing = {view.order_id: _Standing.of(view) for view in news.orders}
        for event in reversed(news.events):
            for report in self._of(event, news.account, standing, seq, time):
                yield report
                seq -= 1

    def _of(
        self, event: Event, account: int, standing: dict[int, _Standing], seq: int, time: int
    ) -> Iterator[StreamEvent]:
        """The lines of one event, the last one first; the last one has the number before `seq`."""
        if type(event) is Trade:
            # Both sides may be the account's; the maker is told first.
            if event.taker_account == account:
                seq -= 1
                yield self._trade(event, standing[event.taker_order_id], seq, time, maker=False)
            if event.maker_account == account:
                yield self._trade(event, standing[event.maker_order_id], seq - 1, time, maker=True)
        elif type(event) is OrderClosed:
            standing[event.order.order_id] = _Standing.of(event.order)
            if event.order.status != FILLED:
                kind = "CANCELED" if event.order.status == CANCELED else "EXPIRED"
                yield self._report(_Standing.of(event.order), seq - 1, time, kind, event.order.status)
        elif isinstance(event, OrderAccepted | OrderAmended | OrderTriggered | OrderReduced):
            kind, reason = _STEPS[type(event)]
            here = _Standing.of(event.order)
            yield self._report(here, seq - 1, time, kind, event.order.status, reason=reason)
            if type(event) is OrderReduced:
                then = standing.setdefault(event.order_id, here)
                if not then.view.quote_quantity:
                    then.quantity += event.quantity
        else:
            yield from self._of_money(event, seq - 1, time)

    def _of_money(self, event: Event, seq: int, time: int) -> Iterator[StreamEvent]:
        """A deposit or a withdrawal. Of an adjustment the balances tell."""
        if type(event) is Credited:
            amount = format_units(event.amount, self._assets[event.asset].scale)
            yield DepositEvent(CHANNEL, seq, time, event.deposit_id, event.asset, amount)
        elif isinstance(event, WithdrawalHeld | WithdrawalSettled | WithdrawalReleased):
            yield self._withdrawal(event.withdrawal, seq, time)

    def _withdrawal(self, withdrawal: Withdrawal, seq: int, time: int) -> WithdrawalEvent:
        scale = self._assets[withdrawal.asset].scale
        return WithdrawalEvent(
            CHANNEL,
            seq,
            time,
            withdrawal.withdraw_order_id,
            withdrawal.withdrawal_id,
            withdrawal.asset,
            withdrawal.address,
            format_units(withdrawal.amount, scale),
            format_units(withdrawal.fee, scale),
            WITHDRAWAL_STATES[withdrawal.state],
        )

    def _trade(self, trade: Trade, order: _Standing, seq: int, time: int, *, maker: bool) -> ExecutionReport:
        venue = self._venues[trade.symbol]
        report = self._report(order, seq, time, "TRADE", order.status, trade=trade, maker=maker, venue=venue)
        order.undo(trade)
        return report

    def _report(
        self,
        order: _Standing,
        seq: int,
        time: int,
        kind: str,
        status: int,
        *,
        reason: str = "",
        trade: Trade | None = None,
        maker: bool = False,
        venue: Venue | None = None,
    ) -> ExecutionReport:
        view = order.view
        venue = venue or self._venues[view.symbol]
        return ExecutionReport(
            CHANNEL,
            seq,
            time,
            kind,
            ORDER_STATES[status],
            view.symbol,
            view.order_id,
            view.client_order_id,
            SIDES[view.side],
            ORDER_TYPES[view.type],
            TIMES_IN_FORCE[view.time_in_force],
            venue.format_price(view.price),
            venue.format_price(view.stop_price) if view.stop_price else UNSET,
            venue.format_quantity(order.quantity),
            venue.format_quantity(order.executed),
            venue.format_amount(order.executed_quote),
            venue.format_quantity(order.quantity - order.executed if status in _OPEN else 0),
            *(_NO_TRADE if trade is None else _of_trade(trade, venue, maker=maker)),
            reason or UNSET,
        )

    def _balances(self, news: AccountNews) -> list[BalanceInfo]:
        """Of every asset that the events are about, whether it changed or not."""
        names: dict[str, None] = {}
        for event in news.events:
            if isinstance(event, Credited | Adjusted):
                names[event.asset] = None
            elif isinstance(event, WithdrawalHeld | WithdrawalSettled | WithdrawalReleased):
                names[event.withdrawal.asset] = None
            else:
                grid = self._venues[_symbol_of(event)].grid
                names[grid.base.name] = names[grid.quote.name] = None
        owned = {balance.asset: balance for balance in news.balances}
        return [self._balance(owned.get(name) or Balance(name, 0, 0)) for name in names]

    def _balance(self, balance: Balance) -> BalanceInfo:
        scale = self._assets[balance.asset].scale
        return BalanceInfo(balance.asset, format_units(balance.available, scale), format_units(balance.held, scale))


def _of_trade(trade: Trade, venue: Venue, *, maker: bool) -> _TradeFields:
    """What a report says of the trade that it is about."""
    return (
        venue.format_quantity(trade.quantity),
        venue.format_price(trade.price),
        venue.format_amount(trade.maker_fee if maker else trade.taker_fee),
        venue.grid.quote.name,
        maker,
        trade.trade_id,
    )


def _symbol_of(event: Event) -> str:
    """The market that an event is about which somebody's order is in."""
    if type(event) is Trade:
        return event.symbol
    if isinstance(event, OrderAccepted | OrderAmended | OrderTriggered | OrderReduced | OrderClosed):
        return event.order.symbol
    raise AssertionError(f"{event!r} tells nobody anything")

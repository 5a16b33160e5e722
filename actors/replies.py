"""From what became of a request to the line that says so: integers back to decimals, codes back to names and sentences.

Theory of operation. Each kind of wire request has one maker that knows the shape of its answer. Whatever was not done
goes one way for all kinds: `actors.sentences` has the words for what the engine refuses; the other fates are one
sentence each. Nothing is encoded here: the session encodes all lines of a release in one call.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from actors import results, wire
from actors.chain_addresses import ChainAddresses
from actors.directory import Directory, Venue
from actors.funds import withdrawal_info
from actors.mailbox import Busy, Faulted, NotDone, OutcomeUnknown, Stopped
from actors.parameters import INTERVALS_NS
from actors.requests import Done, Outcome
from actors.results import Result
from actors.sentences import sentence
from actors.wire import SLICE_ROWS, LongReply, Refusal, Reply, refusal
from book import codes
from book.decimals import format_units
from book.definitions import Asset
from book.events import (
    AddressAllocated,
    CancelAllAfterSet,
    Event,
    OrderAccepted,
    OrderAmended,
    OrderClosed,
    OrderReduced,
    OrderView,
    Rejected,
    Trade,
    WithdrawalHeld,
)
from book.market import Grid
from book.queries import (
    AccountTrade,
    Balance,
    Candle,
    CommissionView,
    DepthView,
    DirectoryView,
    PublicTrade,
    TickerView,
)
from book.terms import (
    MARKET_STATES,
    NEW,
    NS_PER_MS,
    ORDER_STATES,
    ORDER_TYPES,
    PARTIALLY_FILLED,
    SELF_TRADE_MODES,
    SIDES,
    TIMES_IN_FORCE,
)
from chains.wallet import AddressBook

_PPM_DECIMALS: Final = 6


Answered = Reply | LongReply | Refusal


class Replies:
    """Makes reply lines, from what `Directory` says names and decimals are; `books` has the chains' addresses."""

    __slots__ = ("_assets", "_chains", "_makers", "_venues")

    def __init__(self, directory: Directory, books: Mapping[str, AddressBook] | None = None) -> None:
        self._assets = directory.assets
        self._chains = ChainAddresses(directory.assets, books or {})
        self._venues = directory.venues
        self._makers: dict[type, Callable[[Any, Any], Reply | LongReply]] = {
            wire.OrderPlace: self._placed,
            wire.OrderCancel: self._canceled,
            wire.OrderAmend: self._amended,
            wire.OrderCancelReplace: self._replaced,
            wire.OrderTest: _nothing,
            wire.OrderStatus: self._order_status,
            wire.OpenOrders: self._orders,
            wire.AllOrders: self._orders,
            wire.CancelAll: _canceled_all,
            wire.CancelAllAfter: _cancel_all_after,
            wire.MyTrades: self._my_trades,
            wire.AccountStatus: self._account_status,
            wire.AccountCommission: _commission,
            wire.Depth: self._depth,
            wire.RecentTrades: self._recent_trades,
            wire.DayTicker: self._day_ticker,
            wire.Candles: self._candles,
            wire.ExchangeInfo: self._exchange_info,
            wire.Logout: _nothing,
            wire.DepositAddress: self._deposit_address,
            wire.WithdrawApply: self._withdrawn,
        }

    def reply(self, request: wire.Request, outcome: Outcome) -> Answered:
        """The line that answers `request`."""
        if type(outcome) is Rejected:
            if type(request) is wire.DepositAddress and outcome.reason == "HAS_ADDRESS":
                return self._address(request, outcome.ref)
            return self._rejected(request, outcome)
        if isinstance(outcome, NotDone | OutcomeUnknown):
            return _not_done(request.id, outcome)
        return self._makers[type(request)](request, outcome)

    # ---------------------------------------------------------------------------------------------------------- orders

    def _placed(self, request: wire.OrderPlace, done: Done) -> Reply:
        return Reply(request.id, 200, self._placement(done, done.events))

    def _placement(self, done: Done, events: list[Event]) -> results.Placed:
        """What became of the new order itself: there may be stops that it triggered, and orders that it met."""
        executed = executed_quote = 0
        status = NEW
        fills: list[results.Fill] = []
        for event in events:
            if type(event) is OrderAccepted:
                accepted: OrderView = event.order
                venue = self._venues[accepted.symbol]
            elif type(event) is Trade:
                if accepted.order_id in (event.taker_order_id, event.maker_order_id):
                    executed += event.quantity
                    executed_quote += event.notional
                    status = PARTIALLY_FILLED
                    fills.append(_fill(venue, event, accepted.order_id))
            elif type(event) is OrderClosed and event.order.order_id == accepted.order_id:
                status = event.order.status
        return results.Placed(
            accepted.order_id,
            accepted.client_order_id,
            accepted.symbol,
            ORDER_STATES[status],
            venue.format_quantity(executed),
            venue.format_amount(executed_quote),
            fills,
            done.time_ns // NS_PER_MS,
            done.seq,
        )

    def _canceled(self, request: wire.OrderCancel, done: Done) -> Reply:
        closed: OrderView = next(event.order for event in done.events if type(event) is OrderClosed)
        return Reply(request.id, 200, self._order(closed))

    def _replaced(self, request: wire.OrderCancelReplace, done: Done) -> Reply:
        closed, *entered = done.events
        if type(closed) is not OrderClosed:
            raise AssertionError(f"an order was replaced, and first came {closed!r}")
        return Reply(request.id, 200, results.Replaced(self._order(closed.order), self._placement(done, entered)))

    def _amended(self, request: wire.OrderAmend, done: Done) -> Reply:
        for event in done.events:
            if type(event) is OrderAmended:
                order: OrderView = event.order
            elif type(event) is Trade and order.order_id in (event.taker_order_id, event.maker_order_id):
                order = replace(
                    order,
                    executed=order.executed + event.quantity,
                    executed_quote=order.executed_quote + event.notional,
                    status=PARTIALLY_FILLED,
                )
            elif isinstance(event, OrderReduced | OrderClosed) and event.order.order_id == order.order_id:
                order = event.order
        return Reply(request.id, 200, self._order(order))

    def _order_status(self, request: wire.OrderStatus, order: OrderView) -> Reply:
        return Reply(request.id, 200, self._order(order))

    def _orders(self, request: wire.OpenOrders | wire.AllOrders, orders: list[OrderView]) -> Reply | LongReply:
        return _rows(request, results.Orders, orders, self._order)

    def _order(self, order: OrderView) -> results.Order:
        venue = self._venues[order.symbol]
        return results.Order(
            order.order_id,
            order.client_order_id,
            order.symbol,
            SIDES[order.side],
            ORDER_TYPES[order.type],
            TIMES_IN_FORCE[order.time_in_force],
            order.expire_time or UNSET,
            venue.format_price(order.price),
            venue.format_price(order.stop_price) if order.stop_price else UNSET,
            venue.format_quantity(order.quantity),
            venue.format_quantity(order.display_quantity) if order.display_quantity else UNSET,
            venue.format_quantity(order.executed),
            venue.format_amount(order.executed_quote),
            ORDER_STATES[order.status],
            order.created_ns // NS_PER_MS,
            order.updated_ns // NS_PER_MS,
        )

    # ------------------------------------------------------------------------------------------------ accounts, markets

    def _my_trades(self, request: wire.MyTrades, trades: list[AccountTrade]) -> Reply | LongReply:
        return _rows(request, results.AccountTrades, trades, self._my_trade)

    def _my_trade(self, trade: AccountTrade) -> results.AccountTradeInfo:
        venue = self._venues[trade.symbol]
        return results.AccountTradeInfo(
            trade.trade_id,
            trade.order_id,
            trade.client_order_id,
            trade.symbol,
            SIDES[trade.side],
            venue.format_price(trade.price),
            venue.format_quantity(trade.quantity),
            venue.format_amount(trade.notional),
            venue.format_amount(trade.fee),
            venue.grid.quote.name,
            trade.maker,
            trade.time_ns // NS_PER_MS,
        )

    def _account_status(self, request: wire.AccountStatus, balances: list[Balance]) -> Reply:
        rows = [
            results.BalanceInfo(
                balance.asset, format_units(balance.available, scale), format_units(balance.held, scale)
            )
            for balance, scale in ((balance, self._assets[balance.asset].scale) for balance in balances)
        ]
        return Reply(request.id, 200, results.Account(rows))

    def _depth(self, request: wire.Depth, view: DepthView) -> Reply:
        venue = self._venues[view.symbol]
        price, quantity = venue.format_price, venue.format_quantity
        bids = [(price(ticks), quantity(lots)) for ticks, lots in view.bids]
        asks = [(price(ticks), quantity(lots)) for ticks, lots in view.asks]
        return Reply(request.id, 200, results.Levels(view.symbol, view.seq, bids, asks))

    def _recent_trades(self, request: wire.RecentTrades, trades: list[PublicTrade]) -> Reply | LongReply:
        venue = self._venues[request.params.symbol]

        def row(trade: PublicTrade) -> results.TradeInfo:
            return results.TradeInfo(
                trade.trade_id,
                venue.format_price(trade.price),
                venue.format_quantity(trade.quantity),
                SIDES[trade.taker_side],
                trade.time_ns // NS_PER_MS,
            )

        return _rows(request, results.Trades, trades, row)

    def _day_ticker(self, request: wire.DayTicker, day: TickerView) -> Reply:
        venue = self._venues[day.symbol]
        ticker = results.DayTicker(
            day.symbol,
            venue.format_price(day.open),
            venue.format_price(day.high),
            venue.format_price(day.low),
            venue.format_price(day.last),
            venue.format_quantity(day.volume),
            venue.format_amount(day.quote_volume),
            day.count,
            day.open_ns // NS_PER_MS,
            day.close_ns // NS_PER_MS,
        )
        return Reply(request.id, 200, ticker)

    def _candles(self, request: wire.Candles, candles: list[Candle]) -> Reply | LongReply:
        venue = self._venues[request.params.symbol]
        price = venue.format_price
        last_ns = INTERVALS_NS[request.params.interval] - 1

        def row(candle: Candle) -> results.Kline:
            return (
                candle.open_ns // NS_PER_MS,
                price(candle.open),
                price(candle.high),
                price(candle.low),
                price(candle.close),
                venue.format_quantity(candle.volume),
                (candle.open_ns + last_ns) // NS_PER_MS,
            )

        return _rows(request, results.Klines, candles, row)

    def _exchange_info(self, request: wire.ExchangeInfo, view: DirectoryView) -> Reply:
        assets = [_asset(asset) for asset in view.assets]
        symbols = [_symbol(self._venues[status.market.symbol].grid, status.state) for status in view.markets]
        return Reply(request.id, 200, results.Exchange(assets, symbols))

    # ---------------------------------------------------------------------------------------- deposits and withdrawals

    def _deposit_address(self, request: wire.DepositAddress, done: Done) -> Reply:
        (index,) = [event.index for event in done.events if type(event) is AddressAllocated]
        return self._address(request, index)

    def _address(self, request: wire.DepositAddress, index: int) -> Reply:
        asset = self._assets[request.params.asset]
        address = self._chains.deposit_address(asset, index)
        return Reply(request.id, 200, results.DepositAddress(asset.name, address))

    def _withdrawn(self, request: wire.WithdrawApply, done: Done) -> Reply:
        (held,) = [event.withdrawal for event in done.events if type(event) is WithdrawalHeld]
        return Reply(request.id, 200, withdrawal_info(held, self._assets[held.asset].scale, None))

    # ------------------------------------------------------------------------------------------------------ rejections

    def _rejected(self, request: wire.Request, rejected: Rejected) -> Refusal:
        venue = self._venues.get(getattr(request.params, "symbol", ""))
        return refusal(
            request.id,
            rejected.code,
            sentence(
                rejected,
                request.params,
                None if venue is None else venue.grid,
                self._assets.get(getattr(request.params, "asset", "")),
            ),
            reason=rejected.reason or UNSET,
            order_id=rejected.ref if rejected.reason == "DUPLICATE_CLIENT_ORDER_ID" else UNSET,
        )


def _rows(
    request: wire.Request, result: Callable[[list[Any]], Result], rows: list[Any], make: Callable[[Any], Any]
) -> Reply | LongReply:
    """A reply that is one list; the rows of a long one are made when they are encoded."""
    if len(rows) > SLICE_ROWS:
        return LongReply(Reply(request.id, 200, result([])), rows, make)
    return Reply(request.id, 200, result([make(row) for row in rows]))


def _fill(venue: Venue, trade: Trade, order_id: int) -> results.Fill:
    return results.Fill(
        venue.format_price(trade.price),
        venue.format_quantity(trade.quantity),
        venue.format_amount(trade.taker_fee if trade.taker_order_id == order_id else trade.maker_fee),
        venue.grid.quote.name,
        trade.trade_id,
    )


def _nothing(request: wire.OrderTest | wire.Logout, _outcome: Outcome) -> Reply:
    return Reply(request.id, 200, results.Nothing())


def _canceled_all(request: wire.CancelAll, done: Done) -> Reply:
    return Reply(request.id, 200, results.CanceledAll(sum(type(event) is OrderClosed for event in done.events)))


def _cancel_all_after(request: wire.CancelAllAfter, done: Done) -> Reply:
    (due_ns,) = [event.due_ns for event in done.events if type(event) is CancelAllAfterSet]
    return Reply(request.id, 200, results.CancelAllAfterSet(request.params.timeout_ms, due_ns // NS_PER_MS))


def _commission(request: wire.AccountCommission, view: CommissionView) -> Reply:
    return Reply(request.id, 200, results.Commission(view.symbol, _fraction(view.maker_fee), _fraction(view.taker_fee)))


def _fraction(parts_per_million: int) -> str:
    return format_units(parts_per_million, _PPM_DECIMALS)


def _asset(asset: Asset) -> results.AssetInfo:
    if not asset.chain:
        return results.AssetInfo(asset.name, asset.scale, UNSET, UNSET, UNSET)
    return results.AssetInfo(
        asset.name,
        asset.scale,
        asset.chain,
        format_units(asset.withdrawal_fee, asset.scale),
        format_units(asset.min_withdrawal, asset.scale),
    )


def _symbol(grid: Grid, state: int) -> results.SymbolInfo:
    market = grid.market
    return results.SymbolInfo(
        market.symbol,
        MARKET_STATES[state],
        market.base,
        market.quote,
        grid.tick_text,
        grid.lot_text,
        grid.format_quantity(market.min_quantity),
        grid.format_quantity(market.max_quantity),
        grid.min_notional_text,
        market.max_open_orders,
        _fraction(market.maker_fee),
        _fraction(market.taker_fee),
        SELF_TRADE_MODES[market.self_trade],
        grid.format_price(market.reference_price) if market.reference_price else UNSET,
        _fraction(market.band),
        market.halt_ms,
    )


# ------------------------------------------------------------------------------------------------- what was not done

# By type: the code, and the words.
_FATES: Final[dict[type, tuple[int, str]]] = {
    Busy: (codes.SERVER_BUSY, "the exchange is busy; this was not done and may be tried again"),
    Stopped: (codes.SERVICE_SHUTTING_DOWN, "the exchange is stopping; this was not done"),
    Faulted: (codes.UNKNOWN, "the exchange failed on this request; it was not done, and should not be tried again"),
    OutcomeUnknown: (codes.TIMEOUT, "the outcome is unknown; ask for the order by its clientOrderId"),
}


def _not_done(request_id: int | str | UnsetType, fate: Exception) -> Refusal:
    # Fates are only ever told apart by these types; a refinement of one stands for it.
    code, message = next(words for kind, words in _FATES.items() if isinstance(fate, kind))
    return refusal(request_id, code, message)

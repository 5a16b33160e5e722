"""What each kind of channel makes of what matching tells: books, trades, tickers, candles, and what accounts are told.

All but tickers and candles know which number they are at, so whatever comes is either behind that (and dropped), next,
or leaves a gap: the channel then suspends itself, and the publisher seeds it again with how things are. What comes
while a channel is suspended waits for the seed, which may be older.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

from actors.audience import AccountNews, Refused
from actors.channels import Channel, Kept, StreamState, Topic, encode_line
from actors.directory import Venue
from actors.stream_events import BookDelta, BookSnapshot, KlineEvent, TickerEvent, TradeEvent
from actors.user_stream import UserStream
from book.events import Trade
from book.history import INTERVALS
from book.queries import BookChange, Candle, DepthView, PublicTrade, TickerView
from book.terms import NS_PER_MS, SIDES

Levels = list[tuple[int, int]]

# Of what waits for a seed. A seed that takes longer is not newer than what is dropped, and leaves a gap.
AHEAD: Final = 65_536


class BookChannel(Channel):
    """A market's book: snapshots to begin with, then deltas."""

    def __init__(self, topic: Topic, kept: Kept, state: StreamState, venues: Mapping[str, Venue]) -> None:
        super().__init__(topic, kept, state)
        self._venues = venues
        # As it was published.
        self._bids: dict[int, int] = {}
        self._asks: dict[int, int] = {}
        self._time = 0
        self._snapshot: bytes | None = None
        # What has changed since then.
        self._changed_bids: dict[int, int] = {}
        self._changed_asks: dict[int, int] = {}
        self._told_seq = 0
        self._ahead: deque[tuple[BookChange, int]] = deque(maxlen=AHEAD)

    def seed(self, book: DepthView, time_ns: int) -> None:
        """Begin with the book as it is."""
        self.forget()
        self._bids, self._asks = dict(book.bids), dict(book.asks)
        self._changed_bids, self._changed_asks = {}, {}
        self._snapshot = None
        self._time = time_ns // NS_PER_MS
        self.seq = self._told_seq = book.seq
        self.go_live()
        ahead = list(self._ahead)
        self._ahead.clear()
        for change, then_ns in ahead:
            self.follow(change, then_ns)

    def follow(self, change: BookChange, time_ns: int) -> None:
        """Take in a change. It is published by `flush`."""
        if self.live and change.seq <= self._told_seq:
            return
        if self.live and change.first_seq > self._told_seq + 1:
            self.suspend()
        if not self.live:
            self._ahead.append((change, time_ns))
            return
        self._changed_bids.update(change.bids)
        self._changed_asks.update(change.asks)
        self._told_seq = change.seq
        self._time = time_ns // NS_PER_MS

    def suspend(self) -> None:
        """As any channel; followers begin with a fresh snapshot."""
        super().suspend()
        for subscription in self.subscriptions.values():
            subscription.wanted = None

    def flush(self) -> None:
        """Publish all that has changed since the last time, in one delta."""
        if not self.live or self._told_seq == self.seq:
            return
        bids, asks = sorted(self._changed_bids.items(), reverse=True), sorted(self._changed_asks.items())
        self._changed_bids, self._changed_asks = {}, {}
        _apply(bids, self._bids)
        _apply(asks, self._asks)
        self._snapshot = None
        first, last = self.seq + 1, self._told_seq
        symbol = self.topic.symbol
        delta = BookDelta(self.name, last, self._time, symbol, first, self._texts(bids), self._texts(asks))
        self.publish(delta, first, last)

    def opening(self) -> list[bytes]:
        """The snapshot, made once however many ask for it."""
        if self._snapshot is None:
            bids, asks = sorted(self._bids.items(), reverse=True), sorted(self._asks.items())
            symbol = self.topic.symbol
            self._snapshot = (
                encode_line(
                    BookSnapshot(
                        self.name, self.seq, self._time, symbol, self.seq, self._texts(bids), self._texts(asks)
                    )
                )
                + b"\n"
            )
        return [self._snapshot]

    def _texts(self, levels: Levels) -> list[tuple[str, str]]:
        venue = self._venues[self.topic.symbol]
        return [(venue.format_price(ticks), venue.format_quantity(lots) if lots else "0") for ticks, lots in levels]


def _apply(changed: Levels, side: dict[int, int]) -> None:
    for price, lots in changed:
        if lots:
            side[price] = lots
        else:
            side.pop(price, None)


class TradeChannel(Channel):
    """A market's trades. The engine remembers the last of them, so these can be had again after any restart."""

    def __init__(self, topic: Topic, kept: Kept, state: StreamState, venues: Mapping[str, Venue]) -> None:
        super().__init__(topic, kept, state)
        self._venues = venues
        self._begun = False  # `seq` is known
        self._ahead: deque[tuple[Trade, int]] = deque(maxlen=AHEAD)

    def seed(self, trades: list[PublicTrade]) -> None:
        """Go live behind these, the market's last, which can be resumed from."""
        if self.live:
            return  # a trade that came was enough to begin with
        first = trades[0].trade_id if trades else self.seq + 1
        if not self._begun or first > self.seq + 1:
            self.forget()
            self._begun, self.seq = True, first - 1
        for trade in trades:
            if trade.trade_id > self.seq:
                self._add(trade.trade_id, trade.price, trade.quantity, trade.taker_side, trade.time_ns)
        self.go_live()
        ahead = list(self._ahead)
        self._ahead.clear()
        for later, time_ns in ahead:
            self.follow(later, time_ns)

    def follow(self, trade: Trade, time_ns: int) -> None:
        """Publish a trade."""
        if not self._begun:
            self._begun, self.seq = True, trade.trade_id - 1
            self.go_live()
        if trade.trade_id <= self.seq:
            return
        if trade.trade_id > self.seq + 1:
            if self.live:
                self.suspend()
            self._ahead.append((trade, time_ns))
        else:
            self._add(trade.trade_id, trade.price, trade.quantity, trade.taker_side, time_ns)

    def _add(self, trade_id: int, price: int, lots: int, side: int, time_ns: int) -> None:
        symbol = self.topic.symbol
        venue = self._venues[symbol]
        event = TradeEvent(
            self.name,
            trade_id,
            time_ns // NS_PER_MS,
            symbol,
            trade_id,
            venue.format_price(price),
            venue.format_quantity(lots),
            SIDES[side],
        )
        self.publish(event, trade_id, trade_id)


class TickerChannel(Channel):
    """A market's last 24 hours, told whenever they look otherwise."""

    gapless = False

    def __init__(self, topic: Topic, kept: Kept, state: StreamState, venues: Mapping[str, Venue]) -> None:
        super().__init__(topic, kept, state)
        self._venues = venues
        self._last: tuple[int, ...] = ()

    def update(self, day: TickerView, trade_id: int) -> None:
        """Publish it if it looks otherwise than before; the first time it is what followers begin with."""
        now = (day.open, day.high, day.low, day.last, day.volume, day.quote_volume, day.count)
        if now != self._last:
            self._last = now
            self._publish(day, trade_id)
        if not self.live:
            self.go_live()

    def _publish(self, day: TickerView, trade_id: int) -> None:
        venue = self._venues[day.symbol]
        event = TickerEvent(
            self.name,
            trade_id,
            day.close_ns // NS_PER_MS,
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
        self.publish(event, trade_id, trade_id)

    def opening(self) -> list[bytes]:
        """What was told last."""
        return [self._lines[-1].line] if self._lines else []


class KlineChannel(Channel):
    """A market's candles of one interval: each as it grows, and once more when it is closed."""

    gapless = False

    def __init__(self, topic: Topic, kept: Kept, state: StreamState, venues: Mapping[str, Venue]) -> None:
        super().__init__(topic, kept, state)
        self._venues = venues
        self._last: tuple[Candle, bool] | None = None

    @property
    def since_ns(self) -> int | None:
        """The candle to ask from: the last one that was told of. None: only the newest is wanted."""
        return None if self._last is None else self._last[0].open_ns

    def update(self, candles: list[Candle], now_ns: int, trade_id: int) -> None:
        """Publish what is new of these, oldest first, as they are at `now_ns`."""
        interval_ns = self.topic.interval_ns
        for index, candle in enumerate(candles):
            closed = index + 1 < len(candles) or now_ns >= candle.open_ns + interval_ns
            if (candle, closed) != self._last:
                self._last = (candle, closed)
                self._publish(candle, now_ns, trade_id, closed=closed)
        if not self.live:
            self.go_live()

    def _publish(self, candle: Candle, now_ns: int, trade_id: int, *, closed: bool) -> None:
        symbol = self.topic.symbol
        venue = self._venues[symbol]
        event = KlineEvent(
            self.name,
            trade_id,
            now_ns // NS_PER_MS,
            symbol,
            INTERVALS[self.topic.interval_ns],
            candle.open_ns // NS_PER_MS,
            (candle.open_ns + self.topic.interval_ns) // NS_PER_MS - 1,
            venue.format_price(candle.open),
            venue.format_price(candle.high),
            venue.format_price(candle.low),
            venue.format_price(candle.close),
            venue.format_quantity(candle.volume),
            venue.format_amount(candle.quote_volume),
            candle.count,
            closed,
        )
        self.publish(event, trade_id, trade_id)

    def opening(self) -> list[bytes]:
        """What was told last."""
        return [self._lines[-1].line] if self._lines else []


class UserChannel(Channel):
    """What the owner of one account is told."""

    def __init__(self, topic: Topic, kept: Kept, state: StreamState, stream: UserStream) -> None:
        super().__init__(topic, kept, state)
        self._stream: Final = stream
        self._begun = False  # `seq` is known

    def follow(self, news: AccountNews | Refused) -> None:
        """Publish what one command brought, and hand it over. A rejection has no number, and is not kept."""
        if isinstance(news, Refused):
            line = encode_line(self._stream.rejection(news)) + b"\n"
            for follower in list(self.subscriptions):
                follower.push([line])
            return
        if self._begun and news.seq <= self.seq:
            return
        events = self._stream.lines(news)
        first = news.seq + 1 - len(events)
        if not self._begun:
            self._begun, self.seq = True, first - 1
            self.go_live()
        elif first != self.seq + 1:
            self._skip_to(first - 1)
        for seq, event in enumerate(events, start=first):
            self.publish(event, seq, seq)
        self.hand_over()

    def reached(self, seq: int) -> None:
        """All that was told up to this number has come, or never will."""
        if not self._begun:
            self._begun, self.seq = True, seq
        elif self.seq < seq:
            self._skip_to(seq)
        if not self.live:
            self.go_live()

    def hand_over(self) -> None:
        """Deliver to everybody; there are few."""
        for subscription in self.due():
            self.deliver(subscription)
        self.trim()

    def _skip_to(self, seq: int) -> None:
        """What comes next does not follow what was published: say so."""
        self.suspend()
        self.forget()
        self.seq = seq
        self.go_live()

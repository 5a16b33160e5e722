"""Who has subscribed to what: the register of channels, between the sessions and the publisher.

Sessions subscribe here at once, without waiting for anybody; the publisher finds out what is to be seeded, takes in
what matching tells, and has it delivered. Nothing here waits. It belongs to the process: subscriptions outlive the
publisher's incarnations, and each begins by suspending all channels: what the one before left behind may have gaps.

A channel that nobody follows any more is kept for a while, so that who was cut off can resume.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from attrs import field, frozen
from attrs.validators import and_, ge, le

from actors.audience import AccountNews, Audience, Committed
from actors.channels import Channel, Follower, Kept, StreamState, Subscription, Topic, encode_line
from actors.directory import Directory, Venue
from actors.market_channels import BookChannel, KlineChannel, TickerChannel, TradeChannel, UserChannel
from actors.parameters import INTERVALS_NS
from actors.stream_events import Heartbeat, MarketStatus
from actors.user_stream import UserStream
from actors.wire import RefusedError
from book.codes import BAD_SYMBOL, GAP_TOO_OLD, INVALID_PARAMETER, TOO_MANY_SUBSCRIPTIONS, UNAUTHORIZED
from book.events import Event, MarketStateChanged, Trade
from book.terms import MARKET_STATES, NS_PER_MS

CHANNEL_WORDS: Final = (
    "book:SYMBOL, trade:SYMBOL, ticker:SYMBOL, kline_INTERVAL:SYMBOL (1m, 5m, 15m, 1h, 4h, 1d) or user"
)
_KINDS: Final = ("book", "trade", "ticker")
_KLINE: Final = "kline_"


@frozen(kw_only=True)
class StreamLimits:
    """How much clients may follow, and how much is kept for those who resume."""

    max_subscriptions: int = field(default=200, validator=and_(ge(1), le(10_000)))
    """Of one connection."""
    replay_events: int = field(default=1_000, validator=and_(ge(1), le(1_000_000)))
    """Of one channel, to resume from."""
    replay_bytes: int = field(default=1_048_576, validator=and_(ge(1_024), le(1_073_741_824)))
    """The same in bytes: whichever is reached first."""
    linger_seconds: float = field(default=60.0, validator=and_(ge(0.0), le(3600.0)))
    """How long a channel is kept up that nobody follows any more."""


class Streams:
    """All channels, by topic."""

    def __init__(
        self,
        limits: StreamLimits,
        directory: Directory,
        audience: Audience,
        *,
        now: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        """`now` is a clock in seconds; `wake` is called when there is something to do for the publisher."""
        self.state: Final = StreamState()
        self._limits = limits
        self._kept = Kept(lines=limits.replay_events, bytes=limits.replay_bytes)
        self._venues: Mapping[str, Venue] = directory.venues
        self._audience = audience
        self._now = now
        self._wake = wake
        self._user_stream = UserStream(directory)
        self._channels: dict[Topic, Channel] = {}
        self._by_symbol: dict[str, dict[str, Channel]] = {}
        self._of: dict[Follower, dict[str, Subscription]] = {}

    # ------------------------------------------------------------------------------------------------------ subscribing

    @property
    def subscriptions(self) -> int:
        """How many there are."""
        return sum(len(mine) for mine in self._of.values())

    @property
    def channels(self) -> int:
        """How many are kept up."""
        return len(self._channels)

    def of(self, follower: Follower) -> list[str]:
        """The names of the channels that somebody follows, in the order of subscribing."""
        return list(self._of.get(follower, ()))

    def subscribe(self, follower: Follower, account: int | None, names: Iterable[str]) -> None:
        """Follow these channels too, all or none.

        Raises:
            RefusedError: there is no such channel, nobody is logged on to follow `user`, or there would be too many.
        """
        topics = [self._topic(name, account) for name in names]
        self._check_number(follower, topics)
        mine = self._of.get(follower, {})
        for topic in topics:
            if topic.name not in mine:
                self._add(follower, topic, None)

    def resume(self, follower: Follower, account: int | None, name: str, from_seq: int) -> None:
        """Follow a channel from this number on.

        A channel that is not kept up has to ask first: then whoever cannot go on is told so by an event line.

        Raises:
            RefusedError: as `subscribe`, or the channel cannot go on with this number.
        """
        topic = self._topic(name, account)
        self._check_number(follower, [topic])
        channel = self._channels.get(topic)
        if channel is not None and channel.live and not channel.can_resume(from_seq):
            raise RefusedError(
                GAP_TOO_OLD, f"{name} cannot go on with number {from_seq}: the next one is {channel.seq + 1}"
            )
        self._add(follower, topic, from_seq)

    def unsubscribe(self, follower: Follower, names: Iterable[str]) -> None:
        """Follow these channels no more; those that one does not follow are passed over. Raises RefusedError."""
        mine = self._of.get(follower, {})
        known = [name if name == "user" else self._topic(name, None).name for name in names]
        for name in known:
            subscription = mine.pop(name, None)
            if subscription is not None:
                subscription.channel.remove(follower, self._now())
        if not mine:
            self._of.pop(follower, None)

    def leave(self, follower: Follower) -> None:
        """The follower is gone."""
        self.unsubscribe(follower, self.of(follower))

    def _topic(self, name: str, account: int | None) -> Topic:
        if name == "user":
            if account is None:
                raise RefusedError(UNAUTHORIZED, "log on first: user is the channel of an account")
            return Topic("user", account=account)
        kind, colon, symbol = name.partition(":")
        interval_ns = INTERVALS_NS.get(kind.removeprefix(_KLINE), 0) if kind.startswith(_KLINE) else 0
        if not colon or not (kind in _KINDS or interval_ns):
            raise RefusedError(INVALID_PARAMETER, f"a channel is one of {CHANNEL_WORDS}")
        if symbol not in self._venues:
            raise RefusedError(BAD_SYMBOL, "there is no such symbol; exchangeInfo lists them")
        return Topic("kline" if interval_ns else kind, symbol, interval_ns)

    def _check_number(self, follower: Follower, topics: Iterable[Topic]) -> None:
        count = len({*self._of.get(follower, ()), *(topic.name for topic in topics)})
        most = self._limits.max_subscriptions
        if count > most:
            raise RefusedError(TOO_MANY_SUBSCRIPTIONS, f"{count} subscriptions: one connection may have {most}")

    def _add(self, follower: Follower, topic: Topic, wanted: int | None) -> None:
        channel = self._channels.get(topic)
        if channel is None:
            channel = self._channels[topic] = self._new(topic)
            if topic.symbol:
                self._by_symbol.setdefault(topic.symbol, {})[channel.name] = channel
            self._tell_audience()
        subscription = Subscription(follower, channel, wanted)
        self._of.setdefault(follower, {})[topic.name] = subscription
        channel.add(subscription)
        if not channel.live:
            self._wake()

    def _new(self, topic: Topic) -> Channel:
        if topic.kind == "user":
            return UserChannel(topic, self._kept, self.state, self._user_stream)
        if topic.kind == "book":
            return BookChannel(topic, self._kept, self.state, self._venues)
        if topic.kind == "trade":
            return TradeChannel(topic, self._kept, self.state, self._venues)
        if topic.kind == "ticker":
            return TickerChannel(topic, self._kept, self.state, self._venues)
        return KlineChannel(topic, self._kept, self.state, self._venues)

    def _tell_audience(self) -> None:
        self._audience.follow(
            books=[topic.symbol for topic in self._channels if topic.kind == "book"],
            accounts=[topic.account for topic in self._channels if topic.kind == "user"],
            everybody=bool(self._by_symbol),
        )

    # ------------------------------------------------------------------------------------------------ for the publisher

    def suspend(self) -> None:
        """Something was missed, or may have been: deliver nothing that is not seeded again."""
        for channel in self._channels.values():
            if channel.live:
                channel.suspend()

    def unseeded(self) -> list[Channel]:
        """The channels that are to be seeded."""
        return [channel for channel in self._channels.values() if not channel.live]

    def polled(self) -> dict[str, list[Channel]]:
        """By market, the channels that ask matching now and then what they are to tell."""
        polled: dict[str, list[Channel]] = {}
        for channel in self._channels.values():
            if isinstance(channel, TickerChannel | KlineChannel):
                polled.setdefault(channel.topic.symbol, []).append(channel)
        return polled

    def follow(self, committed: Committed) -> None:
        """Take in what matching told. What is for account owners is handed over at once."""
        for event in committed.events:
            self._follow(event, committed.time_ns)
        for change in committed.books:
            book = self._by_symbol.get(change.symbol, {}).get(f"book:{change.symbol}")
            if isinstance(book, BookChannel):
                book.follow(change, committed.time_ns)
        for news in committed.accounts:
            account = news.account if isinstance(news, AccountNews) else news.order.account
            channel = self._channels.get(Topic("user", account=account))
            if isinstance(channel, UserChannel):
                channel.follow(news)

    def _follow(self, event: Event, time_ns: int) -> None:
        if type(event) is Trade:
            channel = self._by_symbol.get(event.symbol, {}).get(f"trade:{event.symbol}")
            if isinstance(channel, TradeChannel):
                channel.follow(event, time_ns)
        elif type(event) is MarketStateChanged:
            status = MarketStatus(event.symbol, MARKET_STATES[event.state], time_ns // NS_PER_MS)
            followers = {
                follower: None
                for channel in self._by_symbol.get(event.symbol, {}).values()
                for follower in channel.subscriptions
            }
            line = encode_line(status) + b"\n"
            self.state.events += 1
            for follower in followers:
                follower.push([line])

    def due(self) -> Iterator[Subscription]:
        """Publish what was taken in, and say to whom it is to be delivered."""
        for channel in list(self._channels.values()):
            if isinstance(channel, BookChannel):
                channel.flush()
            yield from channel.due()

    def trim(self) -> None:
        """Forget what is too old, once all that was due is delivered."""
        for channel in self._channels.values():
            channel.trim()

    def heartbeat(self, time_ms: int) -> list[tuple[Follower, bytes]]:
        """The line that says that we are there, and whom it goes to."""
        line = encode_line(Heartbeat(time_ms)) + b"\n"
        return [(follower, line) for follower in self._of]

    def follows(self, follower: Follower) -> bool:
        """Whether somebody still follows anything."""
        return follower in self._of

    def sweep(self) -> None:
        """Let go of channels that nobody has followed for a while."""
        oldest = self._now() - self._limits.linger_seconds
        idle = [
            topic
            for topic, channel in self._channels.items()
            if channel.idle_since is not None and channel.idle_since <= oldest
        ]
        for topic in idle:
            channel = self._channels.pop(topic)
            if topic.symbol:
                channels = self._by_symbol[topic.symbol]
                del channels[channel.name]
                if not channels:
                    del self._by_symbol[topic.symbol]
        if idle:
            self._tell_audience()

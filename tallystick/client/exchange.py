"""The exchange as a client sees it: one lasting conversation over connections that come and go.

Theory of operation. One task keeps a connection: dial, greeting, logon, subscriptions, then wait until it breaks, and
begin anew after a while, which is twice as long each time. Calls wait for the connection as long as their time allows.
What was certainly not sent, and what changes nothing, goes onto the next connection by itself; of what changes
something and was under way, the caller is told that its outcome is unknown, and asks.
"""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from random import Random
from ssl import SSLContext
from typing import Final, TypeVar, get_args

import msgspec
import trio

from tallystick.client.background import background
from tallystick.client.calls import Call, Outcome, reader
from tallystick.client.connection import Connection, Dial, Timing, connected, dialler
from tallystick.client.errors import BadReply, ClientError, NotConnected, NotDone, OutcomeUnknown
from tallystick.client.events import ChannelEvent, KlineEvent, Notice, TickerEvent, TradeEvent, UserEvent
from tallystick.client.keys import Key
from tallystick.client.methods import Interval, Methods
from tallystick.client.results import LoggedOn, Nothing
from tallystick.client.streams import DEFAULT_BUFFER, EventChannel, KeptBook, Stream
from tallystick.client.subscriptions import Subscriptions

T = TypeVar("T")
E = TypeVar("E")

HOST: Final = "127.0.0.1"
PORT: Final = 7700
ORDER_NAME_BYTES: Final = 10

Entropy = Callable[[int], bytes]


@asynccontextmanager
async def connect(
    host: str = HOST,
    port: int = PORT,
    *,
    key: Key | str | None = None,
    cancel_on_disconnect: bool = False,
    tls: SSLContext | None = None,
    server_hostname: str | None = None,
    timing: Timing | None = None,
    dial: Dial | None = None,
    entropy: Entropy = os.urandom,
    random: Random | None = None,
) -> "AsyncIterator[Exchange]":
    """Connect, log on, and stay so until the block ends.

    Args:
        host: Where the exchange is.
        port: The same.
        key: Who logs on; a mere name where the exchange takes one without a signature, as a demo does. None: nobody,
            which is enough for market data.
        cancel_on_disconnect: Have the orders of a connection cancelled when it ends.
        tls: Speak TLS, with this context.
        server_hostname: Whose certificate it is to be, where that is not `host`.
        timing: How long to wait for what.
        dial: Opens streams, instead of `host`, `port` and `tls`.
        entropy: For names of orders.
        random: Spreads the attempts of many clients to connect anew.

    Raises:
        NotConnected: nobody is there. Only at first: later on the library tries until somebody is.
        Rejected: the logon was refused.
    """
    exchange = Exchange(
        dial or dialler(host, port, tls, server_hostname),
        key=Key(key) if isinstance(key, str) else key,
        cancel_on_disconnect=cancel_on_disconnect,
        timing=timing or Timing(),
        entropy=entropy,
        random=random or Random(),  # noqa: S311 - it protects nothing
    )
    async with background() as nursery:
        nursery.start_soon(exchange.run)
        await exchange.first_connection()
        yield exchange


class Exchange(Methods):
    """Calls and streams of one exchange; made by `connect`."""

    def __init__(
        self,
        dial: Dial,
        *,
        key: Key | None,
        cancel_on_disconnect: bool,
        timing: Timing,
        entropy: Entropy,
        random: Random,
    ) -> None:
        self._dial = dial
        self._key = key
        self._cancel_on_disconnect = cancel_on_disconnect
        self._timing = timing
        self._entropy = entropy
        self._random = random
        self._connection: Connection | None = None
        self._change = trio.Event()
        self._failure: ClientError | None = None
        self._subscriptions = Subscriptions(self, timing)
        self.connections = 0
        """How many there have been."""

    # --------------------------------------------------------------------------------------------------------- calling

    async def ask(self, call: Call[T], *, timeout_seconds: float | None = None) -> T:
        """Send one call and wait for its result; `await call` does the same with the usual time.

        Raises:
            Rejected: the exchange refused it; nothing happened.
            NotDone: it certainly did not happen, and can be repeated as it is.
            OutcomeUnknown: it is not known whether it happened.
        """
        deadline = self._deadline(timeout_seconds)
        while True:
            connection = await self._connected(deadline)
            (outcome,) = await connection.ask([call], deadline)
            broke = connection.over.is_set()
            if broke and (
                isinstance(outcome, NotConnected) or (not call.changes and isinstance(outcome, OutcomeUnknown))
            ):
                continue
            result = _result(call, outcome)
            if isinstance(result, ClientError):
                raise result
            return result

    async def pipeline(self, *calls: Call[T], timeout_seconds: float | None = None) -> tuple[Outcome[T], ...]:
        """Send many calls in one piece; they take effect in this order. What became of each, in order.

        None of them is repeated: where a connection breaks, each outcome says what is known of its call.
        """
        deadline = self._deadline(timeout_seconds)
        connection = await self._connected(deadline)
        outcomes = await connection.ask(calls, deadline)
        return tuple(_result(call, outcome) for call, outcome in zip(calls, outcomes, strict=True))

    def name_order(self) -> str:
        """A clientOrderId that was never used."""
        return f"ts-{self._entropy(ORDER_NAME_BYTES).hex()}"

    def _deadline(self, timeout_seconds: float | None) -> float:
        return trio.current_time() + (self._timing.answer_seconds if timeout_seconds is None else timeout_seconds)

    async def _connected(self, deadline: float) -> Connection:
        with trio.move_on_at(deadline):
            while self._failure is None:
                if self._connection is not None and not self._connection.over.is_set():
                    return self._connection
                await self._change.wait()
        raise self._failure or NotConnected("there was no connection in time")

    async def log_out(self) -> None:
        """Speak for nobody any more, on this connection and those that follow. Raises ClientError."""
        await self._call("session.logout", Nothing, changes=True)
        self._key = None

    # ---------------------------------------------------------------------------------------------- staying connected

    async def run(self) -> None:
        """Keep a connection, until that is of no use any more: then `ask` says why."""
        backoff = self._timing.first_backoff_seconds
        while True:
            before = self.connections
            try:
                await self._live()
            except NotDone as error:
                if not self.connections:
                    return self._fail(error)
            except ClientError as error:
                return self._fail(error)
            if self.connections > before:
                backoff = self._timing.first_backoff_seconds
            # No two of a thousand clients come back in the same moment.
            await trio.sleep(backoff * self._random.uniform(0.5, 1))
            backoff = min(2 * backoff, self._timing.last_backoff_seconds)

    async def first_connection(self) -> None:
        """Wait for it. Raises NotConnected or Rejected, as soon as one of its own deadlines is over."""
        while not self.connections:
            if self._failure is not None:
                raise self._failure
            await self._change.wait()

    async def _live(self) -> None:
        """One connection, from dialling to its end. Raises ClientError for what comes before it can be used."""
        async with connected(self._dial, self._timing, self._subscriptions.hear) as connection:
            await self._log_on(connection)
            self._connection = connection
            self.connections += 1
            self._changed()
            try:
                await self._subscriptions.serve(connection)
            finally:
                self._connection = None
                self._subscriptions.lose()

    async def _log_on(self, connection: Connection) -> None:
        if self._key is None:
            return
        hello = await connection.greeted()
        # The exchange's own time: what a logon is good for does not depend on this machine's clock.
        params = self._key.logon_params(hello.nonce, hello.time)
        if self._cancel_on_disconnect:
            params["cancelOnDisconnect"] = True
        logon = Call(method="session.logon", params=params, read=reader(LoggedOn), changes=False, asker=self)
        (outcome,) = await connection.ask([logon], trio.current_time() + self._timing.connect_seconds)
        if isinstance(outcome, OutcomeUnknown):
            raise NotConnected(outcome.why)
        if isinstance(outcome, ClientError):
            raise outcome

    # --------------------------------------------------------------------------------------------------------- streams

    def trades(self, symbol: str, *, buffer: int = DEFAULT_BUFFER) -> AbstractAsyncContextManager[Stream[TradeEvent]]:
        """Every trade of a market."""
        return self._stream(f"trade:{symbol}", (TradeEvent,), buffer)

    def tickers(self, symbol: str, *, buffer: int = DEFAULT_BUFFER) -> AbstractAsyncContextManager[Stream[TickerEvent]]:
        """How the last 24 hours of a market look, after they have changed."""
        return self._stream(f"ticker:{symbol}", (TickerEvent,), buffer, gapless=False)

    def candle_stream(
        self, symbol: str, interval: Interval, *, buffer: int = DEFAULT_BUFFER
    ) -> AbstractAsyncContextManager[Stream[KlineEvent]]:
        """The candles of a market, as they change and when they are closed."""
        return self._stream(f"kline_{interval}:{symbol}", (KlineEvent,), buffer, gapless=False)

    def user_events(self, *, buffer: int = DEFAULT_BUFFER) -> AbstractAsyncContextManager[Stream[UserEvent]]:
        """All that happens to the orders and the balances of the account."""
        return self._stream("user", get_args(UserEvent), buffer)

    def lines(self, name: str, *, buffer: int = DEFAULT_BUFFER) -> AbstractAsyncContextManager[Stream[ChannelEvent]]:
        """Every event of any channel but a kept book's, by the channel's name on the wire."""
        return self._stream(name, (ChannelEvent,), buffer, gapless=False)

    def notices(self, *, buffer: int = DEFAULT_BUFFER) -> AbstractContextManager[Stream[Notice]]:
        """What is said to all who have subscribed to anything: markets change what they take, the exchange stops."""
        return self._subscriptions.notices(buffer)

    def book(self, symbol: str) -> AbstractAsyncContextManager[KeptBook]:
        """A market's order book, kept as the exchange's is."""
        return self._subscriptions.book(f"book:{symbol}", symbol)

    def _stream(
        self, name: str, kinds: tuple[type[E], ...], buffer: int, *, gapless: bool = True
    ) -> AbstractAsyncContextManager[Stream[E]]:
        return self._subscriptions.stream(EventChannel(name, kinds, gapless=gapless), buffer)

    def _fail(self, error: ClientError) -> None:
        self._failure = error
        self._subscriptions.fail(error)
        self._changed()

    def _changed(self) -> None:
        self._change.set()
        self._change = trio.Event()


def _result(call: Call[T], outcome: msgspec.Raw | ClientError) -> Outcome[T]:
    """The call's own result of what was answered."""
    if isinstance(outcome, ClientError):
        return outcome
    try:
        return call.read(outcome)
    except (msgspec.ValidationError, BadReply) as error:
        return BadReply(f"the answer to {call.method} is not of this protocol: {error}")

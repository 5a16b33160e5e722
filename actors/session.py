"""One client's connection: lines in, requests to matching, answers out in the order they were asked.

Theory of operation. Two tasks share one queue of turns (`actors.turns`). The reader makes turns of what it reads: what
matching has to see goes there as one batch, the rest (ping, bad lines, ...) is answered in its place. A batch settles
by a synchronous call back, which only wakes the writer. The writer takes whatever turns at the head of the queue are
settled, makes their replies, encodes all of them at once and writes them in one `send_all`.

Three things bound what a connection can hold. What it may have in flight is limited by weight, one for an order and
more for what has long answers; beyond that the reader stops reading, and TCP makes the client wait. Where matching's
mailbox is full the reader waits likewise, and past a deadline answers 'busy'. And a client that does not read its
answers is cut off at a deadline.

What the client follows comes from `actors.streams`, already encoded: it is pushed into an outbox, which the writer
empties between replies. A client that lets too much wait there is told that it is too slow and shown out: nothing is
left out silently. To subscribe takes effect when its reply is written, so the events come behind it.

What needs the store of chain transactions is a turn of its own. A task asks, and gives up at a deadline, so that an
answer that does not come holds up those behind it no longer than that.

A logon or logout decides how what follows is understood, so the reader waits for its outcome before it decodes on.

A client may want its orders cancelled when the connection ends. Matching arms the session for that before the logon is
answered, and from the moment it might be armed the end of this task, however it comes, reports the session as lost.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from math import ceil, inf
from operator import length_hint
from typing import Any, Final

import structlog
import trio
from attrs import field, frozen
from attrs.validators import and_, ge, le
from msgspec import UNSET, UnsetType
from structlog.typing import FilteringBoundLogger
from trio.abc import HalfCloseableStream

from actors import logon, results, wire
from actors.account_limits import AccountLimit, AccountLimits
from actors.audit_book import AuditBook
from actors.chain_addresses import NO_CHAINS, ChainAddresses
from actors.directory import Venue
from actors.encoding import encoded
from actors.funds import Funds
from actors.gateway_counts import (
    EVENTS_UNREAD,
    FAILED_LOGONS,
    HALF_LINE,
    IDLE,
    LONG_LINE,
    NOT_READING,
    OF_ACCOUNT,
    OF_CONNECTION,
    STRANGE_HEADER,
    GatewayCounts,
)
from actors.intake import Identity, Intake
from actors.limits import TokenBucket
from actors.mailbox import Call, NotDone, OutcomeUnknown, Sender
from actors.outbox import Outbox
from actors.past_candles import PastCandles
from actors.proxy_protocol import looks_like_header
from actors.reading import Lines, read, read_orders
from actors.replies import Replies
from actors.requests import Batch, Done, Outcome, Request
from actors.stream_events import ServerShutdown
from actors.streams import Streams
from actors.traffic import Speaker, Traffic
from actors.turns import Group, Late, Turn, Turns
from actors.wire import Line, Refusal, RefusedError, Reply, refusal, weight_of
from actors.world import Clock, Entropy, Peer
from book.codes import (
    INVALID_JSON,
    INVALID_PARAMETER,
    REJECTED_KEY,
    SLOW_CONSUMER,
    TOO_MANY_CONNECTIONS,
    TOO_MANY_REQUESTS,
    UNAUTHORIZED,
)
from book.commands import ArmSession, LoseSession
from book.definitions import Key
from book.queries import Logon
from book.terms import NS_PER_MS, PERMISSIONS, READ

# As much as is read at once: a window of requests, so that a loaded connection makes large batches.
READ_BYTES: Final = 256 * 1024
# A turn ends at this weight: what matching, or the encoder, works off in about a millisecond.
TURN_WEIGHT: Final = 512
# One write takes at most this weight and one turn more: longer ones would hold up the other connections.
WRITE_WEIGHT: Final = 1024
# The same in bytes, for what the client has subscribed to.
WRITE_BYTES: Final = 256 * 1024
NONCE_BYTES: Final = 16
# The owner of a key mistypes now and then; whoever fails more often is guessing.
MAX_FAILED_LOGONS: Final = 5
# How long a client that we hang up on may take to read why.
LINGER_SECONDS: Final = 1.0


log: FilteringBoundLogger = structlog.get_logger("session")


def _seconds(default: float) -> float:
    seconds: float = field(default=default, validator=and_(ge(0.001), le(3600.0)))
    return seconds


def _count(default: int) -> int:
    count: int = field(default=default, validator=and_(ge(1), le(10_000_000)))
    return count


@frozen(kw_only=True)
class SessionLimits:
    """What one connection may do. Times from 0.001 to 3,600 seconds, counts from 1 to 10,000,000."""

    first_line_seconds: float = _seconds(10.0)
    """From connecting to the first whole line."""
    line_seconds: float = _seconds(10.0)
    """From the first byte of a line to its end."""
    idle_seconds: float = _seconds(30.0)
    """Without a request, while no answer is awaited."""
    send_seconds: float = _seconds(10.0)
    """For the client to take what is written to it."""
    busy_seconds: float = _seconds(5.0)
    """For a batch to find room in matching's mailbox, before it is answered SERVER_BUSY."""
    window: int = _count(4_096)
    """Requests in flight, by weight, at which reading pauses."""
    requests_per_second: int = _count(100_000)
    burst: int = _count(200_000)
    """Requests that may come at once after a while of silence."""
    event_bytes: int = _count(4_194_304)
    """Of events that wait for the client to read them, before it is cut off as too slow."""


@frozen
class SessionStatistics:
    """A moment in a connection's life."""

    session: int
    peer: str
    account: int | None
    """None before a logon."""
    key: int | None
    connected_since: int
    """ms since 1970."""
    requests: int
    """Lines answered or being answered."""
    in_flight: int
    """Weight of what is not answered yet."""
    subscriptions: int
    """Channels it follows."""


class Session:
    """One connection from accept to close.

    Args:
        number: Unique in this process.
        peer: Who connected.
        stream: The connection; the session closes it.
        matching: Where batches go.
        venues: The markets, by name, as the directory keeps them.
        replies: Makes answers.
        streams: Where channels are followed.
        clock: For the times that clients see.
        entropy: For the nonce.
        lost: Told this session's number when it is over and its orders are to be cancelled.
        traffic: Told of what was answered.
        limits: What this client may do.
        accounts: What accounts may do, over all their connections.
        counts: Where it is counted what was refused, and why the connection ended.
        unsigned_logon: Whether the name of a key is enough to log on.
        chains: What can be paid in and out.
        funds: Who knows of deposits and withdrawals; None where nothing is paid in or out.
        past: Who knows of candles that the engine has forgotten; None where nobody does.
        audit: Where logons are noted; None where nobody wants to know.
    """

    def __init__(
        self,
        number: int,
        peer: Peer,
        stream: HalfCloseableStream,
        *,
        matching: Sender[Batch],
        venues: Mapping[str, Venue],
        replies: Replies,
        streams: Streams,
        clock: Clock,
        entropy: Entropy,
        lost: Callable[[int], None],
        traffic: Traffic,
        limits: SessionLimits,
        accounts: AccountLimits,
        counts: GatewayCounts,
        unsigned_logon: bool,
        chains: ChainAddresses = NO_CHAINS,
        funds: Funds | None = None,
        past: PastCandles | None = None,
        audit: AuditBook | None = None,
    ) -> None:
        self.number = number
        self.peer = peer
        self._stream = stream
        self._matching = matching
        self._venues = venues
        self._replies = replies
        self._streams = streams
        self._clock = clock
        self._lost = lost
        self._chains = chains
        self._funds = funds
        self._past = past
        self._audit = audit
        self._questions: trio.Nursery
        self.traffic = traffic
        self._limits = limits
        self._connected_since = self._now_ms()

        # Who it is.
        self._nonce = entropy(NONCE_BYTES).hex()
        self._unsigned_logon = unsigned_logon
        self._identity: Identity | None = None
        self._intake = _intake(Intake(venues, None, chains=chains))
        self._logged_on = False
        self._failed_logons = 0
        self._armed = False  # or possibly so
        self._answerers: dict[type, Callable[[Any], Reply]] = {
            wire.Ping: self._pong,
            wire.Time: self._time,
            wire.SessionStatus: self._status,
        }

        # What it may do.
        now = trio.current_time()
        self._counts = counts
        self._bucket = TokenBucket(limits.requests_per_second, limits.burst, now)
        self._accounts = accounts
        self._account: AccountLimit | None = None
        self._idle_at = now + limits.first_line_seconds
        self._half_line_at = inf

        # What is under way.
        self._lines = Lines()
        self._turns = Turns()
        self._outbox = Outbox(limits.event_bytes)
        self._unsent = 0
        self._writing: list[Turn] = []
        self._requests = 0
        self._reading = True
        self._stopping = False
        self._expelled = False
        self._scope = trio.CancelScope()
        self._receiving = trio.CancelScope()
        self._news = trio.Event()
        self._room = trio.Event()

    # --------------------------------------------------------------------------------------------------- its whole life

    async def run(self) -> None:
        """Serve until the client leaves or breaks a limit, or until `stop` and everything in flight is answered."""
        with self._scope:
            async with self._stream:
                self._append(wire.Hello(wire.VERSION, self._nonce, self._connected_since))
                try:
                    async with trio.open_nursery() as nursery:
                        self._questions = nursery
                        nursery.start_soon(self._write)
                        await self._read()
                finally:
                    self._streams.leave(self)
                    if self._armed:
                        self._lost(self.number)
                    self._speak_as(None)
                if self._stopping or self._expelled:
                    await self._linger()

    def stop(self) -> None:
        """Read no more; answer what was read, then close."""
        if self._streams.follows(self):
            self._append(ServerShutdown(self._now_ms()))
        self._stopping = True
        self._receiving.cancel()

    def kill(self) -> None:
        """Close at once. What is in flight happens or not, as if the client had gone."""
        self._scope.cancel()

    def push(self, lines: Sequence[bytes]) -> None:
        """Send events, behind what was pushed before. Never blocks or raises."""
        if self._expelled or not self._reading:
            return
        if self._outbox.put(lines):
            self._news.set()
            return
        self._streams.state.slow_consumers += 1
        self._streams.leave(self)
        self._outbox.clear()
        self._expel(EVENTS_UNREAD, SLOW_CONSUMER, "events come faster than they are read; resume where they stop")
        self._receiving.cancel()

    def statistics(self) -> SessionStatistics:
        """What an operator wants to know."""
        who = self._identity
        return SessionStatistics(
            self.number,
            str(self.peer),
            None if who is None else who.account,
            None if who is None else who.key,
            self._connected_since,
            self._requests,
            self._turns.weight,
            len(self._streams.of(self)),
        )

    def held_bytes(self) -> int:
        """What replies take that this client has not read, while it keeps us waiting with them; else 0."""
        if not self._unsent:
            return 0
        return self._unsent + sum(turn.bytes for turn in self._writing) + self._turns.bytes + self._outbox.waiting

    async def _linger(self) -> None:
        """Let the last lines arrive: to close with something unread makes TCP take back what is on its way."""
        with trio.move_on_after(LINGER_SECONDS), suppress(trio.BrokenResourceError):
            await self._stream.send_eof()
            while await self._stream.receive_some(READ_BYTES):
                pass

    # ---------------------------------------------------------------------------------------------------------- reading

    async def _read(self) -> None:
        while data := await self._receive():
            lines = self._lines.feed(data)
            if lines:
                if not self._requests and looks_like_header(lines[0]):
                    self._expel(STRANGE_HEADER, INVALID_JSON, "who comes from here is not trusted to speak for others")
                    break
                self._requests += len(lines)
                granted = self._grant(len(lines))
                await self._take(iter(lines[:granted]), self._understand)
                if granted < len(lines):
                    await self._take(iter(lines[granted:]), self._turn_away)
            if self._lines.too_long:
                self._expel(LONG_LINE, INVALID_JSON, f"a line is longer than {wire.MAX_LINE_BYTES} bytes")
            if self._expelled:
                break
            self._set_deadlines(any_line=bool(lines))
        self._reading = False
        self._news.set()

    async def _receive(self) -> bytes:
        """What arrives next; nothing at the client's end, at `stop`, and when a deadline passed."""
        while not (self._stopping or self._expelled):
            with trio.CancelScope(deadline=min(self._idle_at, self._half_line_at)) as self._receiving:
                try:
                    return bytes(await self._stream.receive_some(READ_BYTES))
                except trio.BrokenResourceError:
                    self.kill()
                    return b""
            now = trio.current_time()
            if now >= self._half_line_at:
                seconds = self._limits.line_seconds
                self._expel(HALF_LINE, INVALID_JSON, f"the line was not finished within {seconds:g} s")
                break
            if now < self._idle_at:
                continue  # it was `stop`, or it was too slow
            if not self._turns.weight:
                self._expel(IDLE, TOO_MANY_CONNECTIONS, "no request came for a while: idle connections are not kept")
                break
            # It is we who are slow: a client that waits for answers need not ask more.
            self._idle_at = now + self._limits.idle_seconds
        return b""

    def _set_deadlines(self, *, any_line: bool) -> None:
        # Only once all that was read has been taken: the time in which we paused is not the client's.
        now = trio.current_time()
        if any_line:
            self._idle_at = now + self._limits.idle_seconds
        if not self._lines.half_line:
            self._half_line_at = inf
        elif any_line or self._half_line_at == inf:
            self._half_line_at = now + self._limits.line_seconds

    async def _take(self, lines: Iterator[bytes], fill: "_Fill") -> None:
        """Make turns of the lines and hand them on, as the window has room for them."""
        while not self._expelled:
            while (room := self._limits.window - self._turns.weight) <= 0:
                # No deadline: the writer makes room, or cuts off the client who does not let it.
                self._room = trio.Event()
                await self._room.wait()
            turn = Turn(min(room, TURN_WEIGHT), self._clock.monotonic_ns())
            request = fill(turn, lines)
            if turn.slots:
                await self._submit(turn)
            if isinstance(request, wire.StoreRequest | wire.Candles):
                self._ask_store(request)
            elif request is not None:
                before = self._account
                await self._change_speaker(request, self._clock.monotonic_ns())
                if self._account is not None and self._account is not before:
                    self._account.requests.owe(length_hint(lines))  # what is behind a logon came before it was known
            elif turn.weight < turn.limit:
                return  # the lines ended before it was full

    def _grant(self, wanted: int) -> int:
        """How many requests of so many may be done, by what is left to this connection and to its account."""
        now = trio.current_time()
        granted = self._bucket.take(wanted, now)
        self._counts.refused_requests[OF_CONNECTION] += wanted - granted
        if self._account is not None:
            by_account = self._account.requests.take(granted, now)
            self._counts.refused_requests[OF_ACCOUNT] += granted - by_account
            granted = by_account
        return granted

    def _understand(self, turn: Turn, lines: Iterator[bytes]) -> "_ByItself | None":
        """Fill the turn, until it is full, or until something comes that has to stand by itself, which is returned."""
        makers = self._intake.makers
        slots, requests, asked = turn.slots, turn.requests, turn.asked
        for line in lines:
            request_id: int | str | UnsetType = UNSET
            kind: type = RefusedError
            try:
                request = read(line)
                request_id = request.id
                kind = type(request)
                maker = makers.get(kind)
                if maker is not None:
                    requests.append(maker(request))
                    slots.append(request)
                elif isinstance(request, _ByItself):
                    return request
                elif type(request) is wire.OrderBatch:
                    self._gather(turn, request)
                elif isinstance(request, _Following):
                    slots.append(self._follow(request))
                else:
                    slots.append(self._answerers[kind](request))
                turn.weight += weight_of(request)
            except RefusedError as error:
                slots.append(_refusal(error.request_id if request_id is UNSET else request_id, error))
                turn.weight += _refused_weight(len(line))
            asked.append(kind)
            if turn.weight >= turn.limit:
                break
        return None

    def _gather(self, turn: Turn, batch: wire.OrderBatch) -> None:
        """Put the orders of a batch into the turn: asked one by one, answered together."""
        orders = read_orders(batch)
        parts = [self._part(turn, order, len(raw)) for order, raw in zip(orders, batch.params.orders, strict=True)]
        turn.slots.append(Group(batch.id, parts))
        self._charge(len(parts) - 1)  # the line has paid for one

    def _part(
        self, turn: Turn, order: wire.OrderPlace | wire.OrderCancel | RefusedError, size: int
    ) -> wire.Request | Refusal:
        try:
            if isinstance(order, RefusedError):
                raise order
            turn.requests.append(self._intake.makers[type(order)](order))
        except RefusedError as error:
            turn.weight += _refused_weight(size)
            return _refusal(UNSET, error)
        turn.weight += weight_of(order)
        return order

    def _turn_away(self, turn: Turn, lines: Iterator[bytes]) -> None:
        """Fill the turn with refusals, for lines beyond the rate."""
        wait_ms = max(1, ceil(max(bucket.seconds_until_next() for bucket in self._buckets()) * 1_000))
        message = f"more requests per second than this connection or its account may send; wait {wait_ms} ms"
        for line in lines:
            kind: type = RefusedError
            try:
                request = read(line)
                request_id, kind = request.id, type(request)
            except RefusedError as error:
                request_id = error.request_id
            turn.asked.append(kind)
            turn.slots.append(refusal(request_id, TOO_MANY_REQUESTS, message, retry_after=wait_ms))
            turn.weight += _refused_weight(len(line))
            if turn.weight >= turn.limit:
                break

    def _charge(self, requests: int) -> None:
        """Have what was asked count for so many requests more."""
        for bucket in self._buckets():
            bucket.owe(requests)

    def _buckets(self) -> list[TokenBucket]:
        return [self._bucket] if self._account is None else [self._bucket, self._account.requests]

    async def _submit(self, turn: Turn) -> None:
        """Queue the turn and hand its batch, if any, to matching. Always a checkpoint."""
        self._turns.append(turn)
        if turn.requests:
            turn.batch = Batch(turn.requests, self._wake, turn.weight)
            await self._hand_on(turn.batch)
        else:
            self._news.set()
            await trio.lowlevel.checkpoint()

    async def _hand_on(self, batch: Batch) -> None:
        try:
            await self._matching.send(batch, timeout_seconds=self._limits.busy_seconds)
        except NotDone as fate:
            batch.fail(fate)

    def _append(self, line: Line | Late, asked: type | None = None, began_ns: int = 0) -> None:
        """Queue one line that needs nobody, and what it answers, if anything."""
        self._turns.append_line(line, asked, began_ns)
        self._news.set()

    def _expel(self, reason: str, code: int, message: str) -> None:
        """Read no more, say why, and close; the reason is one of those that are counted."""
        self._counts.closed_connections[reason] += 1
        log.debug("a client is shown out", session=self.number, peer=str(self.peer), reason=message)
        self._append(refusal(UNSET, code, message))
        self._expelled = True

    # --------------------------------------------------------------------------------------------- what needs the store

    def _ask_store(self, request: "wire.StoreRequest | wire.Candles") -> None:
        """Queue a turn for an answer of the store, and ask for it."""
        turn = Turn(began_ns=self._clock.monotonic_ns())
        turn.asked.append(type(request))
        turn.weight = weight_of(request)
        turn.awaits_store = True
        self._turns.append(turn)
        self._questions.start_soon(self._await_store, request, turn, self._identity)

    async def _await_store(self, request: "wire.StoreRequest | wire.Candles", turn: Turn, who: Identity | None) -> None:
        if isinstance(request, wire.Candles):
            turn.slots.append(await self._candles(request))
        else:
            turn.slots.append(await self._store_answer(request, who))
        turn.awaits_store = False
        self._news.set()

    async def _candles(self, request: wire.Candles) -> Line:
        """The engine's answer, with what it has forgotten from the store."""
        try:
            query = self._intake.candles(request)
            outcome = await self._ask(query)
            if self._past is not None:
                outcome = await self._past.complete(query, outcome, self._ask)
        except RefusedError as error:
            return _refusal(request.id, error)
        return self._replies.reply(request, outcome)

    async def _store_answer(self, request: wire.StoreRequest, who: Identity | None) -> Reply | Refusal:
        if who is None or self._funds is None:
            return refusal(request.id, INVALID_PARAMETER, "nothing is paid in or out here", reason="NO_CHAIN")
        try:
            answer = await self._funds.answer(request, who.account, self._ask)
        except RefusedError as error:
            return _refusal(request.id, error)
        return Reply(request.id, 200, answer)

    # ------------------------------------------------------------------------------------------------ what needs nobody

    def _pong(self, request: wire.Ping) -> Reply:
        return Reply(request.id, 200, results.Nothing())

    def _time(self, request: wire.Time) -> Reply:
        return Reply(request.id, 200, results.ServerTime(self._now_ms()))

    def _status(self, request: wire.SessionStatus | wire.Logon) -> Reply:
        who = self._identity
        if who is None:
            raise RefusedError(UNAUTHORIZED, "nobody is logged on")
        permissions = [name for bit, name in PERMISSIONS.items() if who.permissions & bit]
        return Reply(request.id, 200, results.LoggedOn(who.account, permissions, who.since_ms, self._armed))

    # -------------------------------------------------------------------------------------------------------- following

    def _follow(self, request: "_Following") -> Late:
        """What changes the subscriptions, in the name of who speaks now, when its reply is written."""
        who = self._identity
        names = [request.params.channel] if isinstance(request, wire.Resume) else request.params.channels
        if who is not None and "user" in names and not who.permissions & READ:
            raise RefusedError(REJECTED_KEY, f"this key has no permission to {PERMISSIONS[READ]}")
        return Late(partial(self._followed, request, None if who is None else who.account))

    def _followed(self, request: "_Following", account: int | None) -> Reply | Refusal:
        streams = self._streams
        if self._expelled:
            return refusal(request.id, SLOW_CONSUMER, "this connection is being closed")
        try:
            if isinstance(request, wire.Subscribe):
                streams.subscribe(self, account, request.params.channels)
            elif isinstance(request, wire.Unsubscribe):
                streams.unsubscribe(self, request.params.channels)
            else:
                streams.resume(self, account, request.params.channel, request.params.from_seq)
        except RefusedError as error:
            return _refusal(request.id, error)
        return Reply(request.id, 200, results.Subscriptions(streams.of(self)))

    def _logged_out(self, request: wire.Logout) -> Reply:
        self._streams.unsubscribe(self, ["user"])
        return Reply(request.id, 200, results.Nothing())

    def _now_ms(self) -> int:
        return self._clock.wall_ns() // NS_PER_MS

    # ----------------------------------------------------------------------------------------------- logging on and off

    async def _change_speaker(self, request: "_ChangeOfSpeaker", began_ns: int) -> None:
        """Answer a logon or a logout, while everything behind it waits."""
        if isinstance(request, wire.Logon):
            self._append(await self._logon_answer(request), type(request), began_ns)
        else:
            self._append(await self._logout_answer(request), type(request), began_ns)
        await trio.lowlevel.checkpoint()  # what is refused out of hand has not waited for anything
        if self._failed_logons >= MAX_FAILED_LOGONS:
            self._expel(FAILED_LOGONS, REJECTED_KEY, "too many logons failed")

    async def _logon_answer(self, request: wire.Logon) -> Line:
        params = request.params
        if self._logged_on:
            return refusal(request.id, REJECTED_KEY, "one logon per connection: open another one")
        try:
            logon.check_params(params, self._now_ms(), unsigned=self._unsigned_logon)
            outcome = await self._ask(Logon(params.api_key))
            if isinstance(outcome, NotDone | OutcomeUnknown):
                return self._replies.reply(request, outcome)
            key = logon.check_key(params, self._nonce, outcome if isinstance(outcome, Key) else None, self.peer.host)
        except RefusedError as error:
            self._failed_logons += 1
            self._counts.failed_logons += 1
            self._audit_logon(params.api_key, error.message, None)
            return _refusal(request.id, error)
        if params.cancel_on_disconnect:
            outcome = await self._arm(key)
            if not isinstance(outcome, Done):
                return self._replies.reply(request, outcome)
        self._logged_on = True
        self._counts.logons += 1
        self._audit_logon(params.api_key, "done", key.account)
        self._speak_as(Identity(key.account, key.key, self.number, key.permissions, self._now_ms()))
        return self._status(request)

    def _audit_logon(self, api_key: str, outcome: str, account: int | None) -> None:
        if self._audit is not None:
            what = f"session.logon in session {self.number} from {self.peer}"
            self._audit.note("logon", f"key {api_key!r:.80}", what, outcome, account)

    async def _arm(self, key: Key) -> Outcome:
        """Have the orders of this session cancelled when it is lost."""
        self._armed = True  # from here on it may be so, whatever becomes of us
        outcome = await self._ask(ArmSession(key.account, key.key, self.number))
        self._armed = isinstance(outcome, Done | OutcomeUnknown)
        return outcome

    async def _logout_answer(self, request: wire.Logout) -> Line | Late:
        if self._identity is None:
            return refusal(request.id, UNAUTHORIZED, "nobody is logged on")
        if self._armed:
            outcome = await self._ask(LoseSession(self.number))
            if isinstance(outcome, NotDone | OutcomeUnknown):
                return self._replies.reply(request, outcome)
            self._armed = False
        self._speak_as(None)
        return Late(partial(self._logged_out, request))

    async def _ask(self, request: Request) -> Outcome:
        """Ask matching one thing, and wait."""
        batch = Batch([request])
        await self._hand_on(batch)
        try:
            # No deadline: a batch that matching has is settled, by its next incarnation if need be.
            (outcome,) = await batch.wait()
        except (NotDone, OutcomeUnknown) as fate:
            return fate
        return outcome

    def _speak_as(self, identity: Identity | None) -> None:
        if self._identity is not None:
            self._accounts.leave(self._identity.account)
        self._identity = identity
        self._account = None if identity is None else self._accounts.join(identity.account)
        limit = self._account
        take_order = None if limit is None or limit.orders is None else limit.take_order
        self._intake = _intake(Intake(self._venues, identity, take_order, self._chains))

    # ---------------------------------------------------------------------------------------------------------- writing

    def _wake(self, _batch: Call[list[Request], list[Outcome]]) -> None:
        self._news.set()

    async def _write(self) -> None:
        while self._reading or self._turns:
            turns = self._turns.take(WRITE_WEIGHT)
            if not turns and not self._outbox:
                # No deadline: each batch is settled exactly once, and the reader ends by deadlines of its own.
                self._news = trio.Event()
                await self._news.wait()
                continue
            self._writing = turns
            lines = [line for turn in turns for line in turn.lines(self._replies.reply)]
            events = self._outbox.take(WRITE_BYTES)
            pieces = 0
            # Behind the replies: so who acts is answered first, and who subscribes gets no event before the reply.
            for data in chain(encoded(lines) if lines else (), [events] if events else ()):
                pieces += 1
                if not await self._send(data):
                    self.kill()
                    return
            if pieces > 2:
                self._charge(pieces - 2)  # of a long reply, for slices that the request has not paid for
            self._turns.done(turns)
            self._writing = []
            self._room.set()
            self._report(turns, lines)

    def _report(self, turns: list[Turn], lines: list[Line]) -> None:
        who = self._identity
        speaker = Speaker(self.number, None if who is None else who.account)
        self.traffic.written(turns, lines, speaker, self._clock.monotonic_ns(), self._clock.wall_ns())

    async def _send(self, data: bytes) -> bool:
        """Send it all; False when the client is gone or does not take it in time."""
        reason = "it does not read its answers"
        self._unsent = len(data)
        with trio.CancelScope(deadline=trio.current_time() + self._limits.send_seconds):
            try:
                await self._stream.send_all(data)
            except trio.BrokenResourceError:
                reason = "it is gone"
            else:
                self._unsent = 0
                return True
        if reason != "it is gone":
            self._counts.closed_connections[NOT_READING] += 1
        log.debug("a client is cut off", session=self.number, peer=str(self.peer), reason=reason)
        return False


_ChangeOfSpeaker = wire.Logon | wire.Logout
_ByItself = _ChangeOfSpeaker | wire.StoreRequest | wire.Candles


def _intake(intake: Intake) -> Intake:
    """Without what has to stand by itself, for it may need the store."""
    del intake.makers[wire.Candles]
    return intake


_Following = wire.Subscribe | wire.Unsubscribe | wire.Resume

_Fill = Callable[[Turn, Iterator[bytes]], _ByItself | None]


def _refused_weight(size: int) -> int:
    """Bad lines take longer than good ones, and long ones more so: the others shall not wait for many at once."""
    return 4 + size // 128


def _refusal(request_id: int | str | UnsetType, error: RefusedError) -> Refusal:
    return refusal(request_id, error.code, error.message, reason=error.reason, retry_after=error.retry_after)

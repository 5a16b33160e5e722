"""The other end of a session: clients over in-memory streams, and a matching that answers when a test says so."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from trio.abc import HalfCloseableStream, Stream
from trio.testing import memory_stream_pair

from actors.account_limits import AccountLimits, AccountLimitsConfig
from actors.audience import Audience
from actors.directory import Directory
from actors.gateway_counts import GatewayCounts
from actors.mailbox import Mailbox
from actors.replies import Replies
from actors.requests import Batch, Done, Outcome, Request
from actors.session import Session, SessionLimits
from actors.streams import StreamLimits, Streams
from actors.traffic import Traffic
from actors.wire import logon_payload
from actors.world import Peer
from book import queries
from book.commands import Command, CreditDeposit, DefineAccount, DefineAsset, DefineKey, DefineMarket
from book.definitions import Account, Asset, Key, Market
from book.engine import Engine
from book.events import Rejected
from book.terms import EXPIRE_TAKER, READ, TRADE
from tests.simulation.world import EPOCH_NS, VirtualClock

EPOCH_MS = EPOCH_NS // 1_000_000
NONCE = "ab" * 16

MARKET = Market(
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
    self_trade=EXPIRE_TAKER,
)

SIGNER = Ed25519PrivateKey.from_private_bytes(bytes(32))
# Its public half.
PUBLIC_KEY = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"

DEFINITIONS: tuple[Command, ...] = (
    DefineAsset(Asset("BTC", 8)),
    DefineAsset(Asset("USDT", 6)),
    DefineMarket(MARKET),
    DefineAccount(Account(1, "alice")),
    DefineAccount(Account(2, "bob")),
    DefineKey(Key(11, "alice", 1, READ | TRADE, PUBLIC_KEY)),
    DefineKey(Key(12, "bob", 2, READ | TRADE, PUBLIC_KEY)),
    DefineKey(Key(13, "looker", 1, READ, PUBLIC_KEY)),
    *(CreditDeposit(f"{account}|BTC", account, "BTC", 1_000 * 10**8) for account in (1, 2)),
    *(CreditDeposit(f"{account}|USDT", account, "USDT", 10**8 * 10**6) for account in (1, 2)),
)


def logon_of(name: str, nonce: str, timestamp: int = EPOCH_MS) -> dict[str, object]:
    """The parameters of a logon that all the keys here sign."""
    signature = SIGNER.sign(logon_payload(name, nonce, timestamp)).hex()
    return {"apiKey": name, "timestamp": timestamp, "signature": signature}


class Exchange:
    """An engine behind a mailbox, without a log: it answers at once, or when it is told to.

    Args:
        capacity: Of the mailbox, in batches.
    """

    def __init__(self, capacity: int = 64) -> None:
        self.mailbox: Mailbox[Batch] = Mailbox("matching", capacity, rank=0)
        self.engine = Engine()
        self.seq = 0
        for definition in DEFINITIONS:
            if isinstance(self.outcome(definition), Rejected):
                raise AssertionError(f"{definition} is refused")
        self.directory = Directory()
        view = self.engine.query(queries.Directory())
        assert isinstance(view, queries.DirectoryView)
        self.directory.fill(view)
        self.replies = Replies(self.directory)
        self.audience = Audience()
        self.streams = Streams(StreamLimits(), self.directory, self.audience, now=trio.current_time, wake=lambda: None)
        self.seen: list[list[Request]] = []
        """The requests of every batch that was answered."""
        self.lost: list[int] = []
        """The sessions that reported their own end."""

    def outcome(self, request: Request) -> Outcome:
        """What becomes of one request."""
        if type(request).__module__ == "book.queries":
            return self.engine.query(request)  # type: ignore[arg-type]
        self.seq += 1
        events = self.engine.apply(request, self.seq, EPOCH_NS)  # type: ignore[arg-type]
        return events if isinstance(events, Rejected) else Done(self.seq, EPOCH_NS, events)

    def answer(self, batch: Batch) -> None:
        """Work off one batch."""
        self.seen.append(batch.request)
        batch.settle([self.outcome(request) for request in batch.request])

    async def serve(self) -> None:
        """Work off whatever comes."""
        while True:
            for batch in await self.mailbox.receive_some(8):
                self.answer(batch)


class Client:
    """Speaks lines over a stream."""

    def __init__(self, stream: HalfCloseableStream) -> None:
        self.stream = stream
        self._buffer = bytearray()

    async def send(self, *requests: object) -> None:
        """Send requests as lines, all in one piece; bytes go as they are."""
        await self.stream.send_all(
            b"".join(line if isinstance(line, bytes) else msgspec.json.encode(line) + b"\n" for line in requests)
        )

    async def line(self) -> bytes:
        """The next line, without its end; empty at the end of the stream."""
        while b"\n" not in self._buffer:
            data = await self.stream.receive_some(65_536)
            if not data:
                return bytes(self._buffer)
            self._buffer += data
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        return line

    async def receive(self) -> "dict[str, object]":
        """The next line as an object."""
        content = msgspec.json.decode(await self.line())
        assert isinstance(content, dict)
        return content

    async def replies(self, count: int) -> "list[dict[str, object]]":
        """The next lines as objects."""
        return [await self.receive() for _ in range(count)]

    async def ask(self, method: str, **params: object) -> "dict[str, object]":
        """Send one request and return its reply."""
        await self.send({"id": method, "method": method, "params": params})
        reply = await self.receive()
        assert reply.pop("id") == method
        return reply

    async def rest(self) -> "list[dict[str, object]]":
        """Everything up to the end of the stream."""
        lines = []
        while line := await self.line():
            lines.append(msgspec.json.decode(line))
        return lines


def code(reply: "dict[str, object]") -> int:
    """The error's code; 0 for a reply that is none."""
    error = reply.get("error", {"code": 0})
    assert isinstance(error, dict)
    return int(error["code"])


def codes(replies: "list[dict[str, object]]") -> list[int]:
    """The codes of errors, 0 for what was done."""
    return [code(reply) for reply in replies]


def session(
    exchange: Exchange,
    stream: HalfCloseableStream,
    limits: SessionLimits | None = None,
    *,
    accounts: AccountLimits | None = None,
    unsigned_logon: bool = True,
) -> Session:
    """A session on this stream, with a known nonce and on virtual time."""
    counts = GatewayCounts()
    return Session(
        7,
        Peer("192.0.2.1", 4711),
        stream,
        matching=exchange.mailbox.sender(1),
        venues=exchange.directory.venues,
        replies=exchange.replies,
        streams=exchange.streams,
        clock=VirtualClock(),
        entropy=lambda count: bytes.fromhex(NONCE)[:count],
        lost=exchange.lost.append,
        traffic=Traffic(),
        limits=limits or SessionLimits(),
        accounts=accounts or AccountLimits(AccountLimitsConfig(), trio.current_time, counts),
        counts=counts,
        unsigned_logon=unsigned_logon,
    )


@asynccontextmanager
async def connected(
    exchange: Exchange,
    limits: SessionLimits | None = None,
    *,
    serve: bool = True,
    logged_on: str | None = None,
    greeted: bool = True,
    accounts: AccountLimits | None = None,
    wrap: Callable[[HalfCloseableStream], HalfCloseableStream] = lambda stream: stream,
) -> AsyncIterator[tuple[Client, Session]]:
    """A client connected to a session; leaving the block closes the client and waits for the session to end.

    Args:
        exchange: What answers.
        limits: The session's.
        serve: Whether the exchange answers by itself.
        logged_on: As whom; needs `serve`.
        greeted: Whether `hello` has been read.
        accounts: What accounts may do.
        wrap: Puts something between the session and its stream.
    """
    ours, theirs = memory_stream_pair()
    client = Client(ours)
    async with trio.open_nursery() as nursery:
        if serve:
            nursery.start_soon(exchange.serve)
        async with trio.open_nursery() as sessions:
            running = session(exchange, wrap(theirs), limits, accounts=accounts)
            sessions.start_soon(running.run)
            if greeted:
                await client.receive()
            if logged_on is not None:
                assert code(await client.ask("session.logon", apiKey=logged_on)) == 0
            yield client, running
            await close(ours)
        nursery.cancel_scope.cancel()


async def close(stream: Stream) -> None:
    """Hang up."""
    await trio.aclose_forcefully(stream)


def place(request_id: object, **changes: object) -> "dict[str, object]":
    """A limit order that rests, with changes; a change to None leaves the parameter out."""
    params: dict[str, object] = {
        "symbol": "BTC-USDT",
        "side": "BUY",
        "type": "LIMIT",
        "quantity": "0.0010",
        "price": "49000.00",
    }
    params.update(changes)
    return {
        "id": request_id,
        "method": "order.place",
        "params": {name: value for name, value in params.items() if value is not None},
    }

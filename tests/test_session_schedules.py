"""A session under many schedules: whatever is sent in whatever pieces, every line gets exactly one answer, in order.

Clients send good and bad lines, torn apart at random; the exchange answers late, out of order, or not at all ('busy',
'unknown'); the window is small, and readers dawdle. What is acknowledged is compared with what the engine did.
"""

from random import Random

import msgspec
import trio
from trio.testing import memory_stream_pair

from actors.mailbox import Busy, NotDone, OutcomeUnknown
from actors.requests import Batch
from actors.session import SessionLimits
from book import codes
from book.commands import LoseSession
from book.events import OrderView, Rejected
from book.queries import OrderStatus
from tests.clients import Client, Exchange, code, place, session
from tests.counts import seeds
from tests.scheduler import run_seeded

LINES = 120


def any_line(random: Random, number: int) -> bytes:
    """A line of one of all kinds, good ones twice as often as bad ones."""
    good: list[object] = [
        place(number, clientOrderId=f"c-{number}", price=f"{random.randint(48_000, 51_000)}.00"),
        place(number, side="SELL", price=f"{random.randint(49_000, 52_000)}.00"),
        {"id": number, "method": "order.cancel", "params": {"symbol": "BTC-USDT", "clientOrderId": f"c-{number // 2}"}},
        {"id": number, "method": "ping"},
        {"id": number, "method": "account.status"},
        {"id": number, "method": "openOrders.status"},
        {"id": number, "method": "depth", "params": {"symbol": "BTC-USDT"}},
        {"id": number, "method": "session.status"},
        {"id": number, "method": "order.batch", "params": {"orders": [any_order(random, number) for _ in range(3)]}},
        {"id": number, "method": "session.logon", "params": any_logon(random)},
    ]
    if random.random() < 0.01:
        good = [{"id": number, "method": "session.logout"}]
    bad: list[object] = [
        {"id": number, "method": "order.fly"},
        {"id": number},
        place(number, symbol="X"),
        place(number, quantity=1),
        place(number, price="0.001"),
    ]
    line = msgspec.json.encode(random.choice(good if random.random() < 0.7 else bad))
    return line + random.choice([b"\n", b"\r\n", b"\n\n"])


def any_order(random: Random, number: int) -> object:
    """An element of a batch."""
    order = place(number, clientOrderId=f"c-{number}-{random.randint(0, 2)}")["params"]
    return random.choice([order, order, {"symbol": "BTC-USDT", "clientOrderId": f"c-{number - 1}"}, {}, number])


def any_logon(random: Random) -> object:
    """A logon, good or not, whose orders stay or not."""
    return {"apiKey": random.choice(["alice", "mallory"]), "cancelOnDisconnect": random.random() < 0.5}


class Whimsical:
    """Answers batches when it likes, most of them rightly."""

    def __init__(self, exchange: Exchange, random: Random) -> None:
        self.exchange = exchange
        self.random = random

    async def serve(self) -> None:
        """Take batches, work them off in order, settle them in any order."""
        async with trio.open_nursery() as nursery:
            while True:
                for batch in await self.exchange.mailbox.receive_some(2):
                    nursery.start_soon(self._settle, batch)
                await trio.sleep(self.random.choice([0, 0, 0.1, 1]))

    async def _settle(self, batch: Batch) -> None:
        fate = self.random.random()
        if fate < 0.1:
            failures: list[NotDone | OutcomeUnknown] = [Busy("away"), OutcomeUnknown("gone")]
            await trio.sleep(self.random.random())
            batch.fail(self.random.choice(failures))
            return
        outcomes = [self.exchange.outcome(request) for request in batch.request]
        await trio.sleep(self.random.choice([0, self.random.random()]))
        batch.settle(outcomes)


async def converse(seed: int) -> None:
    """One client's whole conversation."""
    random = Random(seed)
    exchange = Exchange(capacity=random.choice([1, 4, 64]))
    ours, theirs = memory_stream_pair()
    client = Client(ours)
    limits = SessionLimits(window=random.choice([1, 5, 50, 1_000]), burst=random.choice([20, 10_000]))
    sent = [any_line(random, number) for number in range(LINES)]
    data = b"".join(sent)

    async def talk() -> None:
        at = 0
        while at < len(data):
            size = random.choice([1, 10, 100, 1_000, 10_000])
            await client.send(data[at : at + size])
            at += size
            await trio.sleep(random.choice([0, 0, 0.01]))
        if random.random() < 0.5:
            await ours.send_stream.send_all(b'{"half')
        await ours.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(Whimsical(exchange, random).serve)
        async with trio.open_nursery() as sessions:
            sessions.start_soon(session(exchange, theirs, limits).run)
            sessions.start_soon(talk)
            replies = await client.rest()
        nursery.cancel_scope.cancel()

    assert replies.pop(0)["event"] == "hello"
    # Only a line that ends the connection has no id.
    shown_out = bool(replies) and "id" not in replies[-1]
    answers = replies[:-1] if shown_out else replies
    assert [reply.get("id") for reply in answers] == list(range(len(answers)))
    assert shown_out or len(answers) == LINES
    for number, reply in enumerate(answers):
        assert ("result" in reply) == (code(reply) == 0)
        check_against_engine(exchange, number, reply)
    exchange.engine.check()
    # Reported once if it may have been armed; if it was not reported, it is not.
    if exchange.lost != [7]:
        assert exchange.lost == []
        assert isinstance(exchange.outcome(LoseSession(7)), Rejected)


def check_against_engine(exchange: Exchange, number: int, reply: dict[str, object]) -> None:
    """What was acknowledged happened, and what was 'not done' did not."""
    if code(reply) == codes.SERVER_BUSY:
        assert isinstance(order_known(exchange, f"c-{number}"), Rejected)
    result = reply.get("result")
    if not isinstance(result, dict):
        return
    parts = result.get("results")
    for done in [result] if parts is None else [part.get("result", {}) for part in parts]:
        if str(done.get("clientOrderId")).startswith(f"c-{number}"):
            known = order_known(exchange, done["clientOrderId"])
            assert isinstance(known, OrderView)
            assert known.order_id == done["orderId"]
    assert parts is None or len(parts) == 3


def order_known(exchange: Exchange, client_order_id: str) -> object:
    """What the engine knows of one of alice's orders."""
    return exchange.outcome(OrderStatus(1, "BTC-USDT", client_order_id=client_order_id))


def test_every_line_gets_exactly_one_answer_in_order() -> None:
    """Whatever the pieces, the delays and the schedule."""
    for seed in seeds(30, 3_000):
        run_seeded(seed, converse, seed)

"""Bad input: whatever comes, each line gets exactly one answer, or the connection is closed with a reason.

What is refused changes nothing: the state is that of an engine that was only ever told what was done. Nobody else
notices.
"""

from random import Random

import msgspec
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from actors.account_limits import AccountLimitsConfig
from actors.gateway import GatewayConfig
from actors.requests import Done, Outcome, Request
from actors.session import SessionLimits
from actors.wire import MAX_LINE_BYTES
from book.engine import Engine
from tests.clients import Client, Exchange, close, code
from tests.counts import count
from tests.fuzzed import LINES, mutated
from tests.simulation.world import EPOCH_NS
from tests.test_gateway import House

LINES_OF_EXAMPLE = 20
MUTANTS_OF_LINE = 19
# Of each of three clients; together 100,000 lines, and ten million in a soak.
EXAMPLES = count(85, 8_500)
LEAST = count(100_000, 10_000_000) // 3

CONFIG = GatewayConfig(
    port=0,
    unsigned_logon=True,
    session=SessionLimits(requests_per_second=10_000_000, burst=10_000_000, idle_seconds=3600.0),
    account=AccountLimitsConfig(requests_per_second=10_000_000, burst=10_000_000),
)


# How the reasons begin for which a connection is closed.
GOODBYES = ("a line is longer", "too many logons", "who comes from here")


class Shadowed(Exchange):
    """An exchange beside an engine that is only told of what was done."""

    def __init__(self) -> None:
        self.shadow = Engine()
        super().__init__()

    def outcome(self, request: Request) -> Outcome:
        """What becomes of one request; where it is done, it is done beside, too."""
        outcome = super().outcome(request)
        if isinstance(outcome, Done):
            self.shadow.apply(request, outcome.seq, EPOCH_NS)  # type: ignore[arg-type]  # only commands are done
        return outcome


class Fuzzer:
    """A client that sends anything, and checks that it is answered."""

    def __init__(self, house: House, name: str) -> None:
        self._house = house
        self._name = name
        self._client: Client | None = None
        self.answered = 0
        self.closed = 0

    async def send(self, data: bytes) -> None:
        """Send these lines, and read as many answers: or fewer, and then why it is over."""
        client = self._client or await self._connected()
        lines = [line for line in data.split(b"\n") if line.strip()]
        await client.stream.send_all(data + b"\n")
        for _ in lines:
            reply = await self._reply(client)
            self.answered += 1
            if "id" not in reply and reply.get("error", {}).get("msg", "").startswith(GOODBYES):
                self.closed += 1
                assert await client.line() == b""
                await close(client.stream)
                self._client = None
                return
        assert not any(len(line) > MAX_LINE_BYTES for line in lines)

    async def _reply(self, client: Client) -> dict[str, dict[str, str]]:
        while (line := await client.line()).startswith(b'{"event":'):
            pass
        reply = msgspec.json.decode(line)
        assert list(reply)[-2] == "status"
        assert ("result" if reply["status"] == 200 else "error") in reply, reply
        return reply  # type: ignore[no-any-return]  # as asserted

    async def _connected(self) -> Client:
        self._client = client = await self._house.client()
        if self._name:
            assert code(await client.ask("session.logon", apiKey=self._name)) == 0
        return client


async def fuzz(lines: list[bytes], random: Random, name: str) -> tuple[int, int]:
    """Send the lines and mutants of them; how many answers and ends there were."""
    exchange = Shadowed()
    house = House(CONFIG, exchange=exchange)
    async with house.open():
        bystander, fuzzer = await house.client("198.51.100.9"), Fuzzer(house, name)
        for line in lines:
            mutants = [line, *(mutated(line, random) for _ in range(MUTANTS_OF_LINE))]
            await fuzzer.send(b"\n".join(mutants))
            assert await bystander.ask("ping") == {"status": 200, "result": {}}
            assert exchange.engine.state_hash() == exchange.shadow.state_hash()
        assert len(house.sessions) <= 2
    exchange.engine.check()
    return fuzzer.answered, fuzzer.closed


@pytest.mark.parametrize("name", ["alice", "looker", ""])
def test_every_line_is_answered_once_or_ends_the_connection(name: str) -> None:
    """And what is refused leaves no trace; for who trades, for a key that may only look, and for strangers."""
    answers = 0

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(LINES, min_size=LINES_OF_EXAMPLE, max_size=LINES_OF_EXAMPLE), st.integers(0, 2**32))
    def try_lines(lines: list[bytes], seed: int) -> None:
        nonlocal answers
        answered, _ = trio.run(fuzz, lines, Random(seed), name, clock=MockClock(autojump_threshold=0))
        answers += answered

    try_lines()
    assert answers >= LEAST


def test_the_fuzz_meets_both_ends() -> None:
    """Good requests that are done and lines that end the connection are among what it sends."""
    lines = [b'{"id":1,"method":"openOrders.cancelAll"}', b"x" * 65_537, b'{"id":2,"method":"ping"}']
    answered, closed = trio.run(fuzz, lines, Random(1), "alice", clock=MockClock(autojump_threshold=0))
    assert closed >= 1
    assert answered > 20

"""The metrics endpoint by itself: what it answers to whom."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from structlog.testing import capture_logs

from actors.metrics import CONNECTIONS, REQUEST_SECONDS, Metrics, MetricsConfig
from actors.world import Peer
from tests.simulation.network import MemoryNetwork


class OneGauge(Collector):
    """Counts its scrapes."""

    def __init__(self) -> None:
        self.scrapes = 0

    def collect(self) -> Iterator[Metric]:
        """What is there to be seen."""
        yield GaugeMetricFamily("scrapes", "Times that anybody looked.", self.scrapes)
        self.scrapes += 1


class Endpoint:
    """A metrics endpoint in a network of its own."""

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self.served: list[Peer] = []
        self._metrics = Metrics(MetricsConfig(port=0), self.network, OneGauge(), self.served.append)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """While it serves."""
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            await nursery.start(self._run, stop)
            yield
            stop.set()

    async def _run(self, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        await self._metrics.run(stop, task_status=task_status)

    async def asked(self, *parts: bytes) -> bytes:
        """All that is answered to these bytes."""
        stream = self.network.connect(self.served[-1])
        for part in parts:
            await stream.send_all(part)
        answer = b""
        while received := await stream.receive_some():
            answer += received
        return answer


async def test_a_scrape_gets_what_is_there_now() -> None:
    """The collector is asked each time, and the length is right; HEAD gets the same without the body."""
    endpoint = Endpoint()
    async with endpoint.opened():
        head, _, body = (await endpoint.asked(b"GET /metrics?x=1 HT", b"TP/1.1\r\nHost: a\r\n\r\n")).partition(
            b"\r\n\r\n"
        )
        assert head.startswith(b"HTTP/1.1 200 ")
        assert f"Content-Length: {len(body)}".encode() in head
        assert b"\nscrapes 0.0\n" in body
        assert b"\nscrapes 1.0\n" in await endpoint.asked(b"GET /metrics HTTP/1.0\r\n\r\n")
        head, _, body = (await endpoint.asked(b"HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n")).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert body == b""


@pytest.mark.parametrize(("request_line", "status"), [(b"GET / HTTP/1.1", b"404"), (b"POST /metrics HTTP/1.1", b"405")])
async def test_there_is_nothing_else(request_line: bytes, status: bytes) -> None:
    """Another path, and another method, have their codes."""
    endpoint = Endpoint()
    async with endpoint.opened():
        assert (await endpoint.asked(request_line + b"\r\nHost: a\r\n\r\n")).startswith(b"HTTP/1.1 " + status)


async def test_what_is_no_request_comes_to_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """Rubbish is hung up on at once, silence after a while, and both leave their place to others."""
    assert autojump_clock.rate == 0
    endpoint = Endpoint()
    with capture_logs() as logs:
        async with endpoint.opened():
            assert await endpoint.asked(b"\0" * 100 + b"\r\n\r\n") == b""
            assert trio.current_time() == 0
            for _ in range(CONNECTIONS):
                endpoint.network.connect(endpoint.served[-1])
            assert await endpoint.asked() == b""
            assert trio.current_time() == 0
            await trio.sleep(REQUEST_SECONDS + 1)
            assert b"scrapes" in await endpoint.asked(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
    assert [entry["event"] for entry in logs] == ["a scrape came to nothing"] * (1 + CONNECTIONS)


async def test_a_restarted_endpoint_keeps_its_port() -> None:
    """Prometheus is not told where it has gone, so it must not go anywhere."""
    endpoint = Endpoint()
    for _ in range(2):
        async with endpoint.opened():
            assert b"scrapes" in await endpoint.asked(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
    assert endpoint.served[0] == endpoint.served[1]

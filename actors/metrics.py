"""The metrics endpoint: Prometheus text over HTTP, read from the statistics the actors keep anyway.

The hot path counts in plain integers; nothing here is touched until a scrape asks. The names, with their meanings, are
in this file, and nowhere else.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import h11
import structlog
import trio
from attrs import field, frozen
from attrs.validators import and_, ge, le
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from trio.abc import HalfCloseableStream, Listener

from actors.accepting import serve_some
from actors.archivist import ArchiveState, ArchiveView
from actors.backup import BackupState
from actors.chain_parts import ChainStates
from actors.chain_state import WatcherView, WithdrawalsView
from actors.feed import Feed
from actors.gateway import Sessions
from actors.gateway_metrics import gateway_metrics
from actors.histogram import LATENCY_SECONDS, Histogram
from actors.mailbox import MailboxStatistics
from actors.reqlog_writer import LogState
from actors.snapshotter import SnapshotState
from actors.store_keeper import StoreState
from actors.streams import Streams
from actors.supervision import ChildStatistics, State, SupervisorStatistics
from actors.tls import Tls
from actors.traffic import Traffic
from actors.withdrawals import ON_THEIR_WAY
from actors.world import Network, Peer
from book.engine import ENGINE_VERSION

# A scrape is small and quick; whoever is slower than this is not Prometheus.
REQUEST_SECONDS: Final = 10.0
CONNECTIONS: Final = 16
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_log = structlog.get_logger("metrics")


@frozen
class MetricsConfig:
    """Where Prometheus scrapes."""

    host: str = "127.0.0.1"
    port: int = field(default=9100, validator=and_(ge(0), le(65_535)))
    """0 picks a free one, which a restarted endpoint keeps."""


class ExchangeCollector(Collector):
    """Turns statistics into metric families at each scrape."""

    def __init__(
        self,
        *,
        version: str,
        tree: Callable[[], SupervisorStatistics],
        mailboxes: Sequence[Callable[[], MailboxStatistics]],
        sessions: Sessions,
        log_state: LogState,
        snapshot_state: SnapshotState,
        streams: Streams,
        feed: Feed,
        wall_ns: Callable[[], int],
        backup_state: BackupState,
        tls: Tls | None,
        chain_states: ChainStates,
        store_state: StoreState,
        archive_state: ArchiveState,
        free_space: Callable[[], int],
    ) -> None:
        self._version = version
        self._free_space = free_space
        self._tree = tree
        self._mailboxes = mailboxes
        self._sessions = sessions
        self._log_state = log_state
        self._snapshot_state = snapshot_state
        self._streams = streams
        self._feed = feed
        self._wall_ns = wall_ns
        self._backup_state = backup_state
        self._tls = tls
        self._chain_states = chain_states
        self._store_state = store_state
        self._archive_state = archive_state

    def collect(self) -> Iterator[Metric]:
        """Every metric of the exchange."""
        build = {"version": self._version, "engine_version": str(ENGINE_VERSION)}
        yield InfoMetricFamily("tallystick_build", "The running program.", build)
        yield from _actor_metrics(self._tree().flat())
        yield from _mailbox_metrics(mailbox() for mailbox in self._mailboxes)
        yield from _session_metrics(self._sessions)
        yield from gateway_metrics(self._sessions.counts, self._tls)
        yield from _stream_metrics(self._streams, self._feed)
        yield from _traffic_metrics(self._sessions.traffic)
        yield from _log_metrics(self._log_state)
        yield GaugeMetricFamily(
            "tallystick_disk_free_bytes", "What can still be written to the data folder's disk.", self._free_space()
        )
        yield from _snapshot_metrics(self._snapshot_state, self._wall_ns())
        yield from _backup_metrics(self._backup_state)
        yield from _store_metrics(self._store_state, self._archive_state.view())
        yield from _watcher_metrics(self._chain_states.watcher_views())
        yield from _withdrawal_metrics(self._chain_states.withdrawals_views())


class Metrics:
    """Serves `GET /metrics`."""

    def __init__(
        self, config: MetricsConfig, network: Network, collector: Collector, serving: Callable[[Peer], None]
    ) -> None:
        self._config = config
        self._network = network
        self._registry = CollectorRegistry()
        self._registry.register(collector)
        ProcessCollector(registry=self._registry)
        self._serving = serving
        self._port = config.port

    async def run(self, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve until `stop`.

        Raises:
            CannotListen: the address is taken or not ours.
        """
        listeners = await self._network.listen_tcp(self._config.host, self._port)
        address = self._network.address(listeners[0])
        self._port = address.port
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                nursery.start_soon(self._accept, listener, nursery)
            self._serving(address)
            task_status.started()
            await stop.wait()
            nursery.cancel_scope.cancel()

    async def _accept(self, listener: Listener[HalfCloseableStream], nursery: trio.Nursery) -> None:
        async with listener:
            await serve_some(listener, self._serve, nursery, most=CONNECTIONS)

    async def _serve(self, stream: HalfCloseableStream) -> None:
        try:
            async with stream:
                with trio.fail_after(REQUEST_SECONDS):
                    await self._exchange(stream)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError, h11.RemoteProtocolError) as error:
            _log.info("a scrape came to nothing", reason=repr(error))

    async def _exchange(self, stream: HalfCloseableStream) -> None:
        """One request, one response, then the connection is closed."""
        http = h11.Connection(h11.SERVER)
        while not isinstance(event := http.next_event(), h11.Request):
            if event is not h11.NEED_DATA:
                return
            http.receive_data(bytes(await stream.receive_some(65_536)))
        status, body = self._answer(event)
        headers = [("Content-Type", CONTENT_TYPE), ("Content-Length", str(len(body))), ("Connection", "close")]
        head = http.send(h11.Response(status_code=status, headers=headers)) or b""
        await stream.send_all(head + (b"" if event.method == b"HEAD" else body))

    def _answer(self, request: h11.Request) -> tuple[int, bytes]:
        if request.target.partition(b"?")[0] != b"/metrics":
            return 404, b"there is only /metrics here\n"
        if request.method not in (b"GET", b"HEAD"):
            return 405, b"only GET is answered here\n"
        return 200, generate_latest(self._registry)


def _actor_metrics(children: Iterable[ChildStatistics]) -> Iterator[Metric]:
    up = GaugeMetricFamily("tallystick_actor_up", "1 while the actor is running.", labels=["actor"])
    restarts = CounterMetricFamily("tallystick_actor_restarts", "Restarts of the actor.", labels=["actor"])
    for child in children:
        up.add_metric([child.name], float(child.state is State.RUNNING))
        restarts.add_metric([child.name], child.restarts)
    yield up
    yield restarts


def _mailbox_metrics(mailboxes: Iterable[MailboxStatistics]) -> Iterator[Metric]:
    depth = GaugeMetricFamily("tallystick_mailbox_items", "Items waiting for the actor now.", labels=["mailbox"])
    room = GaugeMetricFamily("tallystick_mailbox_capacity_items", "Items that may wait at most.", labels=["mailbox"])
    refused = CounterMetricFamily("tallystick_mailbox_refused", "Items refused for want of room.", labels=["mailbox"])
    for mailbox in mailboxes:
        depth.add_metric([mailbox.name], mailbox.depth)
        room.add_metric([mailbox.name], mailbox.capacity)
        refused.add_metric([mailbox.name], mailbox.refused)
    yield depth
    yield room
    yield refused


def _session_metrics(sessions: Sessions) -> Iterator[Metric]:
    yield GaugeMetricFamily("tallystick_sessions", "Clients connected now.", len(sessions))
    yield GaugeMetricFamily("tallystick_draining", "1 while an operator lets nobody in.", sessions.draining)


def _traffic_metrics(traffic: Traffic) -> Iterator[Metric]:
    answered = CounterMetricFamily(
        "tallystick_requests", "Requests answered since the process began.", labels=["method", "status"]
    )
    for method, status, count in traffic.answered():
        answered.add_metric([method, str(status)], count)
    yield answered
    refused = CounterMetricFamily("tallystick_refusals", "Requests refused, by the error's name.", labels=["error"])
    for error, count in traffic.refused():
        refused.add_metric([error], count)
    yield refused
    yield _histogram(
        "tallystick_request_seconds", "How long requests took from being read to their answer.", traffic.latency
    )


def _histogram(name: str, about: str, histogram: Histogram) -> Metric:
    buckets, total = [], 0
    for bound, count in zip((*map(str, LATENCY_SECONDS), "+Inf"), histogram.counts, strict=True):
        total += count
        buckets.append((bound, total))
    return HistogramMetricFamily(name, about, buckets=buckets, sum_value=histogram.seconds)


def _log_metrics(log: LogState) -> Iterator[Metric]:
    view = log.view()
    if view is None:
        return
    yield CounterMetricFamily("tallystick_log_frames", "Frames written since the process began.", view.frames)
    yield CounterMetricFamily("tallystick_log_records", "Records written since the process began.", view.records)
    yield _histogram("tallystick_log_write_seconds", "How long frames took to be written and synced.", log.sync_latency)
    yield GaugeMetricFamily("tallystick_log_segments", "Segments of the log, the open one included.", view.segments)
    yield GaugeMetricFamily(
        "tallystick_log_has_room", "0 while new orders are refused for want of disk.", view.has_room
    )


def _stream_metrics(streams: Streams, feed: Feed) -> Iterator[Metric]:
    state = streams.state
    yield GaugeMetricFamily(
        "tallystick_subscriptions", "Channels that clients follow, each one's.", streams.subscriptions
    )
    yield GaugeMetricFamily("tallystick_channels", "Channels that are kept up.", streams.channels)
    yield CounterMetricFamily("tallystick_stream_events", "Events published since the process began.", state.events)
    yield CounterMetricFamily("tallystick_stream_deliveries", "Events handed to connections.", state.delivered)
    yield CounterMetricFamily(
        "tallystick_stream_resumes", "Subscriptions that went on where they stopped.", state.resumed
    )
    yield CounterMetricFamily("tallystick_stream_gaps", "Subscriptions told that something is missing.", state.gaps)
    yield CounterMetricFamily("tallystick_slow_consumers", "Clients cut off as too slow.", state.slow_consumers)
    yield GaugeMetricFamily(
        "tallystick_publisher_lag_seconds", "From the disk to the last follower, of the last round.", state.lag_seconds
    )
    yield CounterMetricFamily("tallystick_publisher_overruns", "Times that the publisher did not keep up.", feed.lost)


def _snapshot_metrics(state: SnapshotState, now_ns: int) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "tallystick_snapshot_failures", "Snapshots that could not be taken since the process began.", state.failures
    )
    difference = GaugeMetricFamily(
        "tallystick_conservation_difference_units",
        "How much more of an asset there was than came in, in smallest units, when the last snapshot was taken.",
        labels=["asset"],
    )
    for asset, units in state.differences.items():
        difference.add_metric([asset], units)
    yield difference
    if state.newest is not None:
        yield GaugeMetricFamily(
            "tallystick_snapshot_seq", "The last record that the newest snapshot holds.", state.newest.seq
        )
        yield GaugeMetricFamily(
            "tallystick_snapshot_age_seconds",
            "Time since the log stood where the newest snapshot was taken.",
            (now_ns - state.newest.time_ns) / 1e9,
        )
    if state.taken is not None:
        yield GaugeMetricFamily("tallystick_snapshot_bytes", "Size of the last one taken.", state.taken.bytes)
        yield GaugeMetricFamily("tallystick_snapshot_seconds", "Time that the last one took.", state.taken.seconds)


def _backup_metrics(backup: BackupState) -> Iterator[Metric]:
    view = backup.view()
    if view is None:
        return
    yield GaugeMetricFamily("tallystick_backup_last_seq", "Last sequence number in the cold store.", view.last_seq)
    yield GaugeMetricFamily("tallystick_backup_lag_records", "Records of the log that are not in it.", view.lag)
    yield GaugeMetricFamily("tallystick_backup_age_seconds", "Time since a backup ended well.", view.age_seconds)
    yield CounterMetricFamily("tallystick_backup_failures", "Backups that failed.", view.failures)
    yield GaugeMetricFamily("tallystick_backup_ok", "0 while the last backup failed.", float(view.trouble is None))
    yield GaugeMetricFamily("tallystick_backup_bytes", "Size of all objects in the cold store.", view.bytes)


def _store_metrics(store: StoreState, archive: ArchiveView) -> Iterator[Metric]:
    yield GaugeMetricFamily("tallystick_store_ok", "0 while the store does not answer.", float(store.answers))
    yield CounterMetricFamily("tallystick_store_failures", "Looks that found the store away.", store.failures)
    yield GaugeMetricFamily(
        "tallystick_candles_through_seq",
        "Last number whose candles are in the store.",
        archive.candles_through,
    )
    yield CounterMetricFamily("tallystick_candle_gaps", "Times that candles were forgotten unstored.", archive.gaps)
    yield GaugeMetricFamily(
        "tallystick_audit_waiting", "Entries that are not in the store.", archive.audit_waiting + archive.audit_spilled
    )
    yield CounterMetricFamily("tallystick_audit_lost", "Entries that had no place to wait.", archive.audit_lost)


def _watcher_metrics(views: Sequence[WatcherView]) -> Iterator[Metric]:
    """Of each asset on a chain; none where there are no chains."""
    if not views:
        return
    head = GaugeMetricFamily("tallystick_chain_head_height", "The node's newest block.", labels=["asset"])
    age = GaugeMetricFamily("tallystick_chain_head_age_seconds", "Time since the node had a new one.", labels=["asset"])
    scanned = GaugeMetricFamily("tallystick_chain_scanned_height", "The last block looked through.", labels=["asset"])
    reorg = GaugeMetricFamily(
        "tallystick_chain_reorg_blocks", "Most blocks undone at once since the process began.", labels=["asset"]
    )
    paused = GaugeMetricFamily("tallystick_watcher_paused", "1 while the watcher does nothing.", labels=["asset"])
    states = GaugeMetricFamily("tallystick_deposits_waiting", "Deposits on their way.", labels=["asset", "state"])
    ended = CounterMetricFamily(
        "tallystick_deposits", "Deposits that got there since the process began.", labels=["asset", "state"]
    )
    oldest = GaugeMetricFamily(
        "tallystick_deposit_oldest_seconds", "Time since the oldest of them was seen.", labels=["asset"]
    )
    for view in views:
        head.add_metric([view.asset], view.head)
        age.add_metric([view.asset], view.head_age_seconds)
        scanned.add_metric([view.asset], view.scanned)
        reorg.add_metric([view.asset], view.deepest_reorg)
        paused.add_metric([view.asset], float(view.paused is not None))
        for state, waiting in (("pending", view.pending), ("validated", view.validated)):
            states.add_metric([view.asset, state], waiting)
        for state, count in (("fulfilled", view.fulfilled), ("orphaned", view.orphaned), ("frozen", view.frozen)):
            ended.add_metric([view.asset, state], count)
        oldest.add_metric([view.asset], view.oldest_pending_seconds)
    yield from (head, age, scanned, reorg, paused, states, oldest, ended)


def _withdrawal_metrics(views: Sequence[WithdrawalsView]) -> Iterator[Metric]:
    """Of each chain; none where there are no chains."""
    if not views:
        return
    states = GaugeMetricFamily("tallystick_withdrawals_waiting", "Withdrawals on their way.", labels=["chain", "state"])
    oldest = GaugeMetricFamily(
        "tallystick_withdrawal_oldest_seconds", "Time since the oldest of them was requested.", labels=["chain"]
    )
    paused = GaugeMetricFamily("tallystick_withdrawals_paused", "1 while nothing is sent.", labels=["chain"])
    ended = CounterMetricFamily(
        "tallystick_withdrawals", "Withdrawals that ended since the process began.", labels=["chain", "state"]
    )
    for view in views:
        for state in ON_THEIR_WAY:
            states.add_metric([view.chain, state], view.states.get(state, 0))
        oldest.add_metric([view.chain], view.oldest_pending_seconds)
        paused.add_metric([view.chain], float(view.paused is not None))
        ended.add_metric([view.chain, "completed"], view.completed)
        ended.add_metric([view.chain, "off"], view.failed)
    yield from (states, oldest, paused, ended)

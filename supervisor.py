"""The map of the exchange: every actor, what it may touch, who restarts it, and in which order all starts and stops.

    root                    one_for_one
    ├─ engine               rest_for_one
    │  ├─ reqlog-writer     owns the request log's files; group commit
    │  ├─ matching          the only writer of trading state; rebuilt from snapshot and log at every start
    │  ├─ publisher         market data and user streams, of what is durable
    │  └─ snapshotter       has snapshots taken by another process, and prunes
    ├─ store                opens the store of chain transactions, candles and the audit, and looks after it
    ├─ chains               one_for_one; only where there are chains
    │  ├─ blocks-CHAIN      makes blocks, where the chain is simulated
    │  ├─ signer-CHAIN      keeps the process that holds the hot wallet's key, where the chain is real
    │  ├─ watcher-ASSET     follows one asset, and has deposits credited
    │  └─ withdrawals-CHAIN signs, sends and sees through, for all assets of one chain
    ├─ archivist            puts candles and the audit into the store
    ├─ backup               copies what is sealed to the cold store; only where one is configured
    ├─ metrics              Prometheus text over HTTP
    ├─ admin                the operators' Unix socket
    ├─ certificate          reads the clients' certificate again at SIGHUP; only where one is configured
    ├─ gateway              the clients' TCP listener and sessions
    └─ market-maker         only in the demo

Children start from top to bottom, each when the one before it is ready, and stop from bottom to top. An actor calls
only actors above it; what flows back is an answer.
"""

import signal
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final, NoReturn

import structlog
import trio
from attrs import Factory, frozen

from actors import chain_parts
from actors.account_limits import AccountLimits
from actors.admin import Admin, AdminConfig
from actors.admin_commands import AdminCommands
from actors.archivist import ArchiveConfig, ArchiveState, Archivist
from actors.audience import Audience
from actors.audit import AuditTrail
from actors.audit_book import AuditBook
from actors.backup import CALLS, Backup, BackupConfig, BackupState, RunBackup
from actors.chain_addresses import ChainAddresses
from actors.chain_parts import Chains, ChainStates
from actors.demo_commands import DemoCommands
from actors.directory import Directory
from actors.feed import Feed
from actors.funds import Funds
from actors.gateway import Gateway, GatewayConfig, Sessions
from actors.handoff import LogItem
from actors.log_levels import LogConfig, LogLevels
from actors.mailbox import Mailbox
from actors.market_maker import MarketMaker, MarketMakerConfig
from actors.matching import Matching, MatchingConfig
from actors.metrics import ExchangeCollector, Metrics, MetricsConfig
from actors.money_commands import Money
from actors.past_candles import PastCandles
from actors.publisher import Publisher
from actors.reqlog_writer import LogState, ReqlogWriter, WriterConfig
from actors.requests import Batch
from actors.showing import shown
from actors.snapshot_process import SnapshotProcess
from actors.snapshotter import SnapshotCall, SnapshotConfig, SnapshotState, Snapshotter
from actors.store_keeper import StoreKeeper, StoreState
from actors.streams import StreamLimits, Streams
from actors.supervision import NEVER_ESCALATES, ONE_FOR_ONE, REST_FOR_ONE, Child, Restarts, Supervisor
from actors.system_commands import SystemCommands
from actors.tls import Hangups, LoadCertificate, Tls, hangups, load_certificate
from actors.world import Blocking, Clock, Entropy, Network, Peer
from book.engine import Engine
from persistence.object_store import ObjectStore, Pace
from persistence.opening import StoreConfig
from persistence.recovery import Progress
from persistence.sql_store import SqlStore
from persistence.statements import Database
from persistence.storage import Disk

VERSION: Final = "0.1.0"

_log = structlog.get_logger("supervisor")


@frozen(kw_only=True)
class Config:
    """Every part's own configuration, side by side."""

    writer: WriterConfig = Factory(WriterConfig)
    matching: MatchingConfig = Factory(MatchingConfig)
    snapshots: SnapshotConfig = Factory(SnapshotConfig)
    streams: StreamLimits = Factory(StreamLimits)
    gateway: GatewayConfig
    admin: AdminConfig
    metrics: MetricsConfig = Factory(MetricsConfig)
    backup: BackupConfig = Factory(BackupConfig)
    market_maker: MarketMakerConfig | None = None
    store: StoreConfig = Factory(StoreConfig)
    archive: ArchiveConfig = Factory(ArchiveConfig)
    log: LogConfig = Factory(LogConfig)


@frozen(kw_only=True)
class World:
    """What the outside gives us. The simulation hands in another one; nothing reaches around it."""

    clock: Clock
    disk: Disk
    network: Network
    blocking: Blocking
    random: Random
    entropy: Entropy
    die: Callable[[int, str], NoReturn]
    uid: int
    progress: Callable[[str], Progress]
    snapshot_process: SnapshotProcess
    open_target: Callable[[str], ObjectStore]
    database: Database
    pace: Pace
    load_certificate: LoadCertificate = load_certificate
    hangups: Hangups = hangups
    engine: Callable[[], Engine] = Engine
    chains: Chains | None = None
    levels: LogLevels = Factory(LogLevels)


class Addresses:
    """Where the exchange can be reached; its listeners say so when they begin to listen."""

    client: Peer
    metrics: Peer

    def client_is(self, peer: Peer) -> None:
        """Told by the gateway."""
        self.client = peer

    def metrics_is(self, peer: Peer) -> None:
        """Told by the metrics endpoint."""
        self.metrics = peer


# The order of start. A mailbox's senders have a higher rank than its reader, so no two actors wait for each other.
REQLOG_WRITER, MATCHING, PUBLISHER, SNAPSHOTTER, CHAINS, ARCHIVIST, BACKUP, ADMIN, GATEWAY, MARKET_MAKER = range(10)


def exchange(config: Config, world: World, addresses: Addresses) -> Supervisor:
    """The whole exchange as a tree, not yet started."""
    # Made here, so that they outlive their actors: clients stay connected while matching restarts.
    log: Mailbox[LogItem] = Mailbox("reqlog-writer", 64, rank=REQLOG_WRITER)
    matching: Mailbox[Batch] = Mailbox("matching", 4096, rank=MATCHING)
    snapshots: Mailbox[SnapshotCall] = Mailbox("snapshotter", 32, rank=SNAPSHOTTER)
    directory, log_state, snapshot_state, sessions = Directory(), LogState(), SnapshotState(), Sessions()
    audience, feed = Audience(), Feed()
    streams = Streams(config.streams, directory, audience, now=trio.current_time, wake=feed.wake)
    backups: Mailbox[RunBackup] = Mailbox("backup", CALLS, rank=BACKUP)
    accounts = AccountLimits(config.gateway.account, trio.current_time, sessions.counts)
    backup_state = BackupState(config.backup.target, world.clock, log_state)
    chain_states = ChainStates(world.chains, world.clock)

    book = AuditBook(world.clock, world.entropy)
    database = world.database
    archive_state, store_state = ArchiveState(book), StoreState()

    writer = ReqlogWriter(
        config.writer,
        log,
        disk=world.disk,
        blocking=world.blocking,
        clock=world.clock,
        entropy=world.entropy,
        state=log_state,
        feed=feed,
        progress=world.progress,
    )
    matcher = Matching(
        config.matching,
        matching,
        log.sender(MATCHING),
        engine=world.engine,
        clock=world.clock,
        disk=world.disk,
        blocking=world.blocking,
        die=world.die,
        directory=directory,
        audience=audience,
        log_state=log_state,
        progress=world.progress,
        heard=accounts.heard if config.gateway.account.orders_per_trade else None,
    )
    publisher = Publisher(streams, feed, matching.sender(PUBLISHER), world.clock)
    snapshotter = Snapshotter(
        config.snapshots,
        snapshots,
        log.sender(SNAPSHOTTER),
        process=world.snapshot_process,
        disk=world.disk,
        blocking=world.blocking,
        clock=world.clock,
        state=snapshot_state,
        log_state=log_state,
        is_copied=backup_state.is_copied,
        archived_seq=archive_state.archived_seq,
    )
    archivist = Archivist(
        config.archive,
        SqlStore(database.share(1)),
        matching.sender(ARCHIVIST),
        book=book,
        disk=world.disk,
        blocking=world.blocking,
        clock=world.clock,
        log_state=log_state,
        state=archive_state,
    )
    backup = Backup(
        config.backup,
        backups,
        log.sender(BACKUP),
        disk=world.disk,
        blocking=world.blocking,
        open_target=world.open_target,
        pace=world.pace,
        clock=world.clock,
        state=backup_state,
        log_state=log_state,
        database=database.share(1),
    )
    tls = _tls(config.gateway, world)
    collector = ExchangeCollector(
        version=VERSION,
        tree=lambda: root.statistics(),  # noqa: PLW0108 - the tree is made last
        mailboxes=(log.statistics, matching.statistics, snapshots.statistics),
        sessions=sessions,
        log_state=log_state,
        snapshot_state=snapshot_state,
        streams=streams,
        feed=feed,
        wall_ns=world.clock.wall_ns,
        backup_state=backup_state,
        tls=tls,
        chain_states=chain_states,
        store_state=store_state,
        archive_state=archive_state,
        free_space=world.disk.free_space,
    )
    audit = AuditTrail(world.disk, world.blocking)
    system = SystemCommands(
        sessions=sessions,
        log_state=log_state,
        collector=collector,
        levels=world.levels,
        config=shown(config),
        audit=audit,
        disk=world.disk,
        blocking=world.blocking,
        pace=world.pace,
    )
    commands = AdminCommands(
        tree=lambda: root,
        matching=matching.sender(ADMIN),
        sessions=sessions,
        log_state=log_state,
        snapshots=snapshots.sender(ADMIN),
        snapshot_state=snapshot_state,
        backup=backups.sender(ADMIN),
        backup_state=backup_state,
        chain_states=chain_states,
        store_state=store_state,
        archive_state=archive_state,
        demo=_demo_commands(world),
        money=_money(world, chain_states),
        clock=world.clock,
        entropy=world.entropy,
        version=VERSION,
        test_money=config.admin.test_money,
        system=system,
    )
    gateway = Gateway(
        config.gateway,
        matching.sender(GATEWAY),
        network=world.network,
        clock=world.clock,
        entropy=world.entropy,
        directory=directory,
        sessions=sessions,
        streams=streams,
        accounts=accounts,
        tls=tls,
        books={} if world.chains is None else world.chains.books,
        funds=_funds(config.gateway, world, directory),
        serving=addresses.client_is,
        past=PastCandles(SqlStore(database.share(2))),
        audit=book,
    )
    metrics = Metrics(config.metrics, world.network, collector, addresses.metrics_is)
    admin = Admin(config.admin, world.network, world.uid, commands.table(), audit=audit, clock=world.clock, book=book)

    supervise = partial(Supervisor, random=world.random, die=world.die)
    engine = supervise(
        "engine",
        REST_FOR_ONE,
        [
            # A disk may stall for seconds, and a sync that has begun cannot be cancelled.
            Child("reqlog-writer", writer.run, start_timeout_seconds=None, stop_timeout_seconds=60),
            Child("matching", matcher.run, start_timeout_seconds=None, limit=Restarts(1, per=60)),
            Child("publisher", publisher.run, limit=NEVER_ESCALATES),
            Child("snapshotter", snapshotter.run, limit=NEVER_ESCALATES),
        ],
    )
    children = [
        engine.child(),
        Child("store", StoreKeeper(database, store_state).run, limit=NEVER_ESCALATES, stop_timeout_seconds=60),
    ]
    if world.chains is not None:
        # A node or a store that is away is none of the exchange's business: nothing here escalates.
        chains = supervise(
            "chains",
            ONE_FOR_ONE,
            chain_parts.children(
                world.chains,
                chain_states,
                matching.sender(CHAINS),
                clock=world.clock,
                blocking=world.blocking,
                random=world.random,
            ),
        )
        children.append(chains.child(limit=NEVER_ESCALATES))
    children.append(Child("archivist", archivist.run, limit=NEVER_ESCALATES, stop_timeout_seconds=60))
    if config.backup.target:
        # A request to the target ends when its time is out, and not before.
        children.append(Child("backup", backup.run, limit=NEVER_ESCALATES, stop_timeout_seconds=60))
    children += [
        Child("metrics", metrics.run, limit=NEVER_ESCALATES),
        Child("admin", admin.run),
    ]
    if tls is not None:
        children.append(Child("certificate", tls.run, limit=NEVER_ESCALATES))
    children += [
        Child("gateway", gateway.run, stop_timeout_seconds=config.gateway.drain_seconds + 5),
    ]
    if config.market_maker is not None:
        maker = MarketMaker(config.market_maker, matching.sender(MARKET_MAKER), world.random)
        children.append(Child("market-maker", maker.run, limit=NEVER_ESCALATES))
    root = supervise("root", ONE_FOR_ONE, children, limit=Restarts(3, per=60))
    return root


def _funds(config: GatewayConfig, world: World, directory: Directory) -> Funds | None:
    """Who knows of deposits and withdrawals, where there are chains."""
    if world.chains is None:
        return None
    chains = ChainAddresses(directory.assets, world.chains.books)
    return Funds(config.funds, world.chains.store, chains, world.chains.assets, world.clock)


def _money(world: World, states: ChainStates) -> Money:
    """What operators have to do with, where there are chains."""
    chains = world.chains
    if chains is None:
        return Money()
    wallets = {chain.name: chain.wallets for chain in chains.chains}
    return Money(store=chains.store, assets=chains.assets, wallets=wallets, withdrawals=states.withdrawals)


def _demo_commands(world: World) -> DemoCommands:
    """For the private chains of a demo; with real chains they refuse."""
    chains = world.chains
    hosts = {} if chains is None else chains.hosts
    books = {} if chains is None else chains.books
    return DemoCommands(hosts, books, world.clock)


def _tls(config: GatewayConfig, world: World) -> Tls | None:
    """What connections are secured with, where they are."""
    if not config.tls_certificate:
        return None
    return Tls(
        config.tls_certificate,
        config.tls_key,
        load=world.load_certificate,
        hangups=world.hangups,
        blocking=world.blocking,
        clock=world.clock,
    )


async def serve(config: Config, world: World, ready: Callable[[Addresses], None]) -> None:
    """Run the exchange until SIGTERM, Ctrl-C or an operator's `shutdown`; `ready` is called once it serves.

    Raises, in the group that a nursery makes of it:
        StartFailed: a child could not start; nothing runs.
        GaveUp: a child crashed more often than its limit allows; everything has been stopped in order.
    """
    addresses = Addresses()
    root = exchange(config, world, addresses)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_at_signal, root)
            await root.run(trio.Event(), task_status=_Ready(lambda: ready(addresses)))
            nursery.cancel_scope.cancel()
    finally:
        if world.chains is not None:
            with trio.CancelScope(shield=True):
                await world.chains.aclose()


async def _stop_at_signal(root: Supervisor) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            _log.info("stopping in order", signal=signal.Signals(number).name)
            root.request_stop()


@frozen
class _Ready:
    """A task status that calls back: a stop may come before the start is complete, and then nobody is waiting."""

    callback: Callable[[], None]

    def started(self, _value: None = None) -> None:
        self.callback()

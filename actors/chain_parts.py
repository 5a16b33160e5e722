"""The chains as the outside gives them to the exchange, and the actors that each of them gets."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Final, Protocol

import trio
from attrs import frozen

from actors.chain_line import ChainLine
from actors.chain_state import AssetConfig, WatcherState, WatcherView, WithdrawalsState, WithdrawalsView
from actors.demo_commands import DemoChain, SimulatedDemo
from actors.hot_wallet import HotWallet
from actors.mailbox import Sender
from actors.owners import Owners
from actors.reconciling import Wallets
from actors.requests import Batch
from actors.simulated_host import BlockMaker
from actors.supervision import NEVER_ESCALATES, Child
from actors.watcher import Watcher
from actors.withdrawals import Policy, Withdrawals, WithdrawalsConfig
from actors.world import Blocking, Clock
from chains.node import Node
from chains.simulated import Host
from chains.wallet import AddressBook, Signer
from persistence.txstore import ChainStore, TxStore

# A call to a store or a node cannot always be cancelled at once.
STOP_SECONDS: Final = 30.0
# A node of one's own reads what it has from the disk, and mines what it needs to begin with.
HELPER_START_SECONDS: Final = 120.0


@frozen(kw_only=True)
class SimulatedBlocks:
    """A chain that is simulated here: who keeps it, and how often a block comes."""

    host: Host
    block_seconds: float


class Actor(Protocol):
    """What the supervisor runs."""

    async def run(self, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Work until `stop`."""
        ...


@frozen
class Helper:
    """An actor that a chain needs besides its watchers: a signer, or a node of one's own."""

    name: str
    actor: Actor


async def _nothing() -> None:
    """There is nothing to let go of."""


@frozen(kw_only=True)
class Chain:
    """One chain with its assets, the coin first."""

    name: str
    assets: Mapping[str, AssetConfig]
    nodes: Mapping[str, Node]
    """By asset."""
    book: AddressBook
    signer: Signer
    wallet: Callable[[ChainStore], HotWallet]
    policy: Callable[[ChainStore, Clock], Policy]
    withdrawals: WithdrawalsConfig
    cold_addresses: tuple[str, ...] = ()
    """Of the cold wallet, for `reconcile`."""
    simulated: SimulatedBlocks | None = None
    helpers: tuple[Helper, ...] = ()
    """Started before the rest."""
    private: DemoChain | None = None
    """Of a demo on real nodes."""
    aclose: Callable[[], Awaitable[None]] = _nothing
    """Lets go of its nodes."""

    @property
    def demo(self) -> DemoChain | None:
        """The chain itself, where it does what it is told."""
        return self.private if self.simulated is None else SimulatedDemo(self.simulated.host)

    @property
    def coin(self) -> str:
        """What fees are paid in."""
        return self.withdrawals.coin

    @property
    def wallets(self) -> Wallets:
        """Whose addresses are the exchange's own. Where outputs are spent, the fee is what they leave over."""
        return Wallets(
            chain=self.name,
            coin=self.coin,
            assets=self.assets,
            nodes=self.nodes,
            hot=self.signer.address,
            cold=self.cold_addresses,
            exact_fees=bool(self.assets[self.coin].hot_address),
        )


@frozen(kw_only=True)
class Chains:
    """All chains, and the store of what happens on them."""

    store: TxStore
    chains: tuple[Chain, ...]

    async def aclose(self) -> None:
        """Let go of the nodes and the store."""
        for chain in self.chains:
            await chain.aclose()
        await self.store.aclose()

    @property
    def books(self) -> Mapping[str, AddressBook]:
        """Addresses, by chain."""
        return {chain.name: chain.book for chain in self.chains}

    @property
    def assets(self) -> Mapping[str, AssetConfig]:
        """Every asset that is on a chain, by name."""
        return {name: asset for chain in self.chains for name, asset in chain.assets.items()}

    @property
    def hosts(self) -> Mapping[str, tuple[DemoChain, AssetConfig]]:
        """The chains that do what they are told, by asset."""
        return {
            name: (chain.demo, config)
            for chain in self.chains
            if chain.demo is not None
            for name, config in chain.assets.items()
        }


class ChainStates:
    """What the chains' actors tell of themselves."""

    def __init__(self, chains: Chains | None, clock: Clock) -> None:
        every: Sequence[Chain] = () if chains is None else chains.chains
        self.watchers = {asset: WatcherState(asset, chain.name, clock) for chain in every for asset in chain.assets}
        self.withdrawals = {chain.name: WithdrawalsState(chain.name, clock) for chain in every}

    def watcher_views(self) -> list[WatcherView]:
        """Of every watcher."""
        return [state.view() for state in self.watchers.values()]

    def withdrawals_views(self) -> list[WithdrawalsView]:
        """Of every chain's withdrawals."""
        return [state.view() for state in self.withdrawals.values()]


def children(
    chains: Chains, states: ChainStates, matching: Sender[Batch], *, clock: Clock, blocking: Blocking, random: Random
) -> list[Child]:
    """The actors: whoever makes blocks, a watcher for each asset, and withdrawals for each chain."""
    line = ChainLine(matching)
    made: list[Child] = []
    for chain in chains.chains:
        owners = Owners(chain.name, chain.coin, chain.book, line=line, store=chains.store, blocking=blocking)
        made += [_helper(helper) for helper in chain.helpers]
        if chain.simulated is not None:
            maker = BlockMaker(chain.simulated.host, clock, chain.simulated.block_seconds)
            made.append(_child(f"blocks-{chain.name}", maker))
        for asset, config in chain.assets.items():
            watcher = Watcher(
                config,
                node=chain.nodes[asset],
                store=chains.store,
                line=line,
                owners=owners,
                clock=clock,
                random=random,
                state=states.watchers[asset],
            )
            made.append(_child(f"watcher-{asset}", watcher))
        withdrawals = Withdrawals(
            chain.withdrawals,
            nodes=chain.nodes,
            store=chains.store,
            line=line,
            wallet=chain.wallet(chains.store),
            signer=chain.signer,
            policy=chain.policy(chains.store, clock),
            clock=clock,
            random=random,
            state=states.withdrawals[chain.name],
        )
        made.append(_child(f"withdrawals-{chain.name}", withdrawals))
    return made


def _helper(helper: Helper) -> Child:
    return Child(
        helper.name,
        helper.actor.run,
        limit=NEVER_ESCALATES,
        start_timeout_seconds=HELPER_START_SECONDS,
        stop_timeout_seconds=STOP_SECONDS,
    )


def _child(name: str, actor: Actor) -> Child:
    return Child(name, actor.run, limit=NEVER_ESCALATES, stop_timeout_seconds=STOP_SECONDS)

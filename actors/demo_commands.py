"""What one can do to the demo's private chains: pay to an address, have blocks mined, undo some."""

from collections.abc import Mapping
from typing import Final, Protocol

from attrs import frozen

from actors.admin_command import AdminCommand, BadCall
from actors.chain_state import AssetConfig
from actors.listings import units, whole
from actors.world import Clock
from chains.node import ChainError
from chains.scanner import to_chain
from chains.simulated import Host
from chains.simulated_chain import Mine, Operation, Pay, Reorg
from chains.wallet import AddressBook, BadAddress

MOST_BLOCKS: Final = 1_000

_NS_PER_SECOND: Final = 10**9


class DemoChain(Protocol):
    """A chain that does what it is told: a simulated one, or a private one on a real node."""

    async def do(self, operation: Operation) -> str:
        """Pay, mine or undo. Raises ValueError or what nodes raise."""
        ...

    async def height(self) -> int:
        """Of the newest block."""
        ...


@frozen
class SimulatedDemo:
    """A simulated chain as one of these."""

    host: Host

    async def do(self, operation: Operation) -> str:
        """Let it happen."""
        return await self.host.do(operation)

    async def height(self) -> int:
        """Of the newest block."""
        return self.host.chain.head.height


class DemoCommands:
    """The commands, for an exchange whose chains are its own."""

    def __init__(
        self, hosts: Mapping[str, tuple[DemoChain, AssetConfig]], books: Mapping[str, AddressBook], clock: Clock
    ) -> None:
        self._hosts = hosts
        self._books = books
        self._clock = clock

    def commands(self) -> tuple[AdminCommand, ...]:
        """In the order of `help`."""
        return (
            AdminCommand(
                "demo.pay",
                ("asset", "address", "amount"),
                "pay to an address from outside; the demo's chains only",
                self.pay,
                changes=True,
            ),
            AdminCommand(
                "demo.mine",
                ("asset",),
                "mine blocks of its chain now, one if not more; the demo's chains only",
                self.mine,
                optional=("blocks",),
                changes=True,
            ),
            AdminCommand(
                "demo.reorg",
                ("asset", "depth"),
                "replace the newest blocks of its chain by empty ones, one more; the demo's chains only",
                self.reorg,
                changes=True,
            ),
        )

    async def pay(self, asset: str, address: str, amount: str) -> object:
        """Somebody outside pays."""
        host, config = self._host(asset)
        try:
            to = self._books[config.chain].normal(address)
        except BadAddress as error:
            raise BadCall(f"address: {error}") from error
        wanted = units(amount, config.scale, "amount")
        if wanted < 1:
            raise BadCall("amount: it must be more than 0")
        txid = await self._do(host, Pay(asset, ((to, to_chain(wanted, config.decimals, config.scale)),)))
        return {"asset": asset, "address": to, "amount": amount, "txid": txid}

    async def mine(self, asset: str, blocks: str = "1") -> object:
        """Blocks come now."""
        host, _ = self._host(asset)
        count = whole(blocks, "blocks")
        if not 1 <= count <= MOST_BLOCKS:
            raise BadCall(f"blocks: {count} is not from 1 to {MOST_BLOCKS}")
        await self._do(host, Mine(self._seconds(), count))
        return {"asset": asset, "mined": count, "height": await host.height()}

    async def reorg(self, asset: str, depth: str) -> object:
        """The best chain changes; what was in the blocks waits to be mined again."""
        host, _ = self._host(asset)
        gone = whole(depth, "depth")
        most = min(MOST_BLOCKS - 1, await host.height())
        if not 1 <= gone <= most:
            raise BadCall(f"depth: {gone} is not from 1 to {most}")
        await self._do(host, Reorg(self._seconds(), gone, gone + 1))
        return {"asset": asset, "undone": gone, "height": await host.height()}

    def _host(self, asset: str) -> tuple[DemoChain, AssetConfig]:
        if not self._hosts:
            raise BadCall("the chains of this exchange are real: nobody pays, mines or undoes at will there")
        if asset not in self._hosts:
            raise BadCall(f"there is no asset {asset!r:.50} on a chain here; there are {', '.join(self._hosts)}")
        return self._hosts[asset]

    async def _do(self, host: DemoChain, operation: Operation) -> str:
        try:
            return await host.do(operation)
        except (ChainError, ValueError) as error:
            raise BadCall(str(error)) from error

    def _seconds(self) -> int:
        return self._clock.wall_ns() // _NS_PER_SECOND

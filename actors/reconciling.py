"""Does everything add up: what the exchange owes, and what it has on the chains, asset by asset.

What there is: the hot and the cold wallet by the node, deposits that are not swept by the store, and what has left for
withdrawals that the engine still holds for. What that must cover: everything in the engine's ledger, the house's share
included, and what arrived and is not credited (waiting, stuck, dust). Miners' fees are gone, and the house's loss, so
they count as if they were still there.

All in the asset's base units on its chain, so that nothing is rounded. What a node and the store say is not of one
moment while money moves: whoever sees a difference looks again before he worries.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import frozen

from actors.chain_state import AssetConfig
from book.decimals import format_units
from chains.node import BlockId, InBlock, Node
from chains.scanner import to_chain
from persistence.txstore import ChainStore, Totals, WithdrawalState

# On their way: a block may have them, and the engine holds for them.
LEAVING: Final[tuple[WithdrawalState, ...]] = ("signed", "broadcast", "confirmed")


@frozen(kw_only=True)
class Wallets:
    """One chain, and whose addresses on it are the exchange's own."""

    chain: str
    coin: str
    """What miners are paid in."""
    assets: Mapping[str, AssetConfig]
    nodes: Mapping[str, Node]
    hot: str
    cold: tuple[str, ...]
    exact_fees: bool
    """Whether a transaction's fee is known to the unit before it is mined; else the most that it may be."""


@frozen(kw_only=True)
class Owed:
    """One asset in the engine's ledger, in engine units."""

    customers: int
    house: int


@frozen(kw_only=True)
class Figures:
    """All that is set side by side, in base units."""

    customers: int
    house: int
    hot: int
    cold: int
    leaving: int
    """What blocks pay out for withdrawals that the engine still holds for, miners' fees included."""
    totals: Totals
    miner_fees: int
    """Of withdrawals that are confirmed or completed."""
    fees_are_exact: bool

    @property
    def unswept(self) -> int:
        """On deposit addresses: credited or not."""
        totals = self.totals
        return totals.deposited + totals.waiting + totals.stuck - totals.swept

    @property
    def not_credited(self) -> int:
        """Of it, what the ledger does not know."""
        return self.totals.waiting + self.totals.stuck + self.totals.dust

    @property
    def there(self) -> int:
        """What there is, fees that are gone included."""
        gone = self.miner_fees + self.totals.sweep_fees
        return self.hot + self.cold + self.unswept + self.leaving + gone

    @property
    def difference(self) -> int:
        """What there is beyond what must be; negative where something is missing. Fees may have been lower."""
        difference = self.there - self.customers - self.house - self.not_credited
        if self.fees_are_exact:
            return difference
        return max(0, difference - self.miner_fees) if difference > 0 else difference


async def look(wallets: Wallets, name: str, owed: Owed, store: ChainStore) -> Figures:
    """One asset's figures. Raises what the store and the node raise."""
    asset, node = wallets.assets[name], wallets.nodes[name]
    head = await node.head()
    paid, fees = await _leaving(wallets, name, store, head)
    return Figures(
        customers=to_chain(owed.customers, asset.decimals, asset.scale),
        house=to_chain(owed.house, asset.decimals, asset.scale),
        hot=await node.balance(wallets.hot, head),
        cold=await _held(node, wallets.cold, head),
        leaving=paid,
        totals=await store.totals(wallets.chain, name),
        miner_fees=fees,
        fees_are_exact=wallets.exact_fees,
    )


async def _held(node: Node, addresses: Sequence[str], head: BlockId) -> int:
    return sum([await node.balance(address, head) for address in addresses])


async def _leaving(wallets: Wallets, name: str, store: ChainStore, head: BlockId) -> tuple[int, int]:
    """What blocks pay out of this asset and the engine holds for; and the miners' fees, where they are paid in it."""
    paid = fees = 0
    for other in wallets.assets if name == wallets.coin else ():
        fees += (await store.totals(wallets.chain, other)).miner_fees
    for state in LEAVING:
        for row in await store.withdrawals(wallets.chain, state):
            for tx in await store.withdrawal_txs(row.id):
                place = await wallets.nodes[row.asset].place_of(tx.txid)
                if isinstance(place, InBlock) and place.block.height <= head.height:
                    paid += row.amount if row.asset == name and place.succeeded else 0
                    # A confirmed one's is in the totals already.
                    fees += tx.fee if name == wallets.coin and state != "confirmed" else 0
    return paid, fees


def shown(name: str, asset: AssetConfig, figures: Figures) -> dict[str, object]:
    """As operators see it, in whole assets with the chain's decimals."""
    totals = figures.totals
    amounts = {
        "liabilities": figures.customers,
        "houseEquity": figures.house,
        "hot": figures.hot,
        "cold": figures.cold,
        "unswept": figures.unswept,
        "waiting": totals.waiting,
        "stuck": totals.stuck,
        "dust": totals.dust,
        "leaving": figures.leaving,
        "minerFees": figures.miner_fees + totals.sweep_fees,
        "difference": figures.difference,
    }
    return {"asset": name, **{key: format_units(amount, asset.decimals) for key, amount in amounts.items()}}

"""How a chain's hot wallet pays: which coins or nonce a withdrawal takes, how a stuck one is replaced, when it is dead.

There are two kinds, as there are two kinds of chains. Both decide from what the store says and what a node says, and
change nothing: the withdrawals actor has the plan signed, and stores what it spends before anything is sent.

Coins are spent only from blocks at depth, so that no reorganisation takes back what a withdrawal spends.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from attrs import frozen

from actors.chain_state import AssetConfig
from chains import bitcoin_coins, ethereum_fees
from chains.bitcoin_coins import BitcoinFees
from chains.ethereum_fees import EthereumFees
from chains.node import AccountNode, BlockId, FeeRate, InBlock, Node, Outpoint
from chains.wallet import BitcoinPlan, Coin, EthereumPlan, NotEnough, Output, Plan, WalletError
from persistence import txstore
from persistence.txstore import ChainStore, Utxo, WithdrawalRow, WithdrawalTx

# States of a withdrawal whose transaction may not be mined yet.
ON_CHAIN_SOON: Final[tuple[txstore.WithdrawalState, ...]] = ("signed", "broadcast")


class GasNode(AccountNode, Protocol):
    """A node that also says what a transfer of its asset costs."""

    async def gas(self, sender: str, output: Output) -> int:
        """The gas that this transfer takes now."""
        ...


class HotWallet(Protocol):
    """What the withdrawals actor asks. Raises what nodes, the store and the planning raise."""

    async def plan(self, row: WithdrawalRow) -> Plan:
        """A transaction that pays this withdrawal."""
        ...

    async def replacement(self, row: WithdrawalRow, txs: Sequence[WithdrawalTx]) -> Plan:
        """The same payment with a higher fee, in place of all these."""
        ...

    async def is_dead(self, txs: Sequence[WithdrawalTx], tip: BlockId) -> bool:
        """Whether what all of these spend was spent by another transaction that is at depth under this block."""
        ...

    async def stranger(self, tip: BlockId) -> str | None:
        """What somebody else has done with our key up to this block; None if nothing."""
        ...


@frozen(kw_only=True)
class OutputsWallet:
    """The hot wallet of a chain of outputs, which has one asset."""

    asset: AssetConfig
    node: Node
    store: ChainStore
    fees: BitcoinFees
    script_of: Callable[[str], bytes]
    """The output script of an address: its length is what it costs."""

    async def plan(self, row: WithdrawalRow) -> Plan:
        """Pay from coins that are free and deep enough."""
        script = self.script_of(row.address)
        output = Output(row.address, row.amount)
        return bitcoin_coins.plan_payment(await self._free(), output, script, rate=await self._rate(), fees=self.fees)

    async def replacement(self, row: WithdrawalRow, txs: Sequence[WithdrawalTx]) -> Plan:
        """Spend the same coins, and more where needed."""
        newest = txs[-1]
        coins = tuple([await self._coin(output.txid, output.n) for output in newest.inputs])
        change = sum(coin.amount for coin in coins) - row.amount - newest.fee
        plan = BitcoinPlan(coins, Output(row.address, row.amount), change, newest.fee)
        # A higher fee than before is what it is for, also where the node's estimate has not changed.
        script = self.script_of(row.address)
        return bitcoin_coins.replacement(plan, await self._free(), script, rate=await self._rate(), fees=self.fees)

    async def is_dead(self, txs: Sequence[WithdrawalTx], tip: BlockId) -> bool:
        """Whether a coin that all of them spend went elsewhere."""
        ours = {tx.txid for tx in txs}
        shared = set(txs[0].inputs).intersection(*(tx.inputs for tx in txs))
        for output in shared:
            utxo = await self.store.utxo(self.asset.asset, output)
            if utxo is None or utxo.spent_height is None or utxo.spent_txid in ours:
                continue
            if tip.height - utxo.spent_height >= self.asset.depth.deepest:
                return True
        return False

    async def stranger(self, tip: BlockId) -> str | None:  # noqa: ARG002 - the watcher has looked at every block's inputs
        """The watcher finds foreign spends in the blocks themselves."""
        return None

    async def _free(self) -> list[Coin]:
        newest = await self.store.scanned_blocks(self.asset.asset, 1)
        deep = newest[0].height - self.asset.depth.blocks if newest else -1
        return [
            _coin(utxo)
            for utxo in await self.store.utxos(self.asset.asset)
            if not utxo.reserved_by and utxo.height <= deep
        ]

    async def _coin(self, txid: str, n: int) -> Coin:
        utxo = await self.store.utxo(self.asset.asset, txstore.Outpoint(txid, n))
        if utxo is None or utxo.spent_height is not None:
            # The watcher has seen a block that has it, and this node has not.
            raise WalletError(f"its output {txid}:{n} is spent, or gone")
        return _coin(utxo)

    async def _rate(self) -> int:
        estimate = await self.node.fee_rate()
        return self.fees.rate(None if estimate is None else estimate.rate)


def _coin(utxo: Utxo) -> Coin:
    return Coin(Outpoint(utxo.output.txid, utxo.output.n), utxo.amount)


@frozen(kw_only=True)
class AccountsWallet:
    """The hot wallet of a chain of accounts, which has a coin and tokens."""

    chain: str
    address: str
    chain_id: int
    assets: Mapping[str, AssetConfig]
    nodes: Mapping[str, GasNode]
    tokens: Mapping[str, str | None]
    """The contract of each asset; None for the coin."""
    coin: str
    store: ChainStore
    fees: EthereumFees
    plan_of: Callable[[bytes], EthereumPlan]
    """The plan that a signed transaction was made from."""
    first_nonce: int = 0
    """Nonces below this one were used before the exchange had the key, or an operator has looked at them."""

    async def plan(self, row: WithdrawalRow) -> Plan:
        """Pay with the next nonce, if there is enough beside what is on its way already."""
        output = Output(row.address, row.amount)
        nonce = await self.store.next_nonce(self.chain, self.address)
        node = self.nodes[row.asset]
        head = await node.head()
        if nonce is None:
            nonce = await node.nonce(self.address, head)
        await self._demand(row.asset, row.amount, head)
        plan = ethereum_fees.plan_transfer(
            output,
            self.tokens[row.asset],
            chain_id=self.chain_id,
            nonce=max(nonce, self.first_nonce),
            gas=await node.gas(self.address, output),
            rate=await self._rate(),
            fees=self.fees,
        )
        paid = row.amount if row.asset == self.coin else 0
        await self._demand(self.coin, paid + plan.gas * plan.max_fee, head)
        return plan

    async def _demand(self, asset: str, amount: int, head: BlockId) -> None:
        """Raises NotEnough where the address has less than this beside what is on its way."""
        spendable = await self.nodes[asset].balance(self.address, head)
        for state in ON_CHAIN_SOON:
            for row in await self.store.withdrawals(self.chain, state):
                spendable -= row.amount if row.asset == asset else 0
                if asset == self.coin:
                    spendable -= max(tx.fee for tx in await self.store.withdrawal_txs(row.id))
        if spendable < amount:
            raise NotEnough(amount, max(0, spendable))

    async def replacement(self, row: WithdrawalRow, txs: Sequence[WithdrawalTx]) -> Plan:  # noqa: ARG002 - it is in them
        """The same nonce, dearer."""
        return ethereum_fees.replacement(self.plan_of(txs[-1].raw), rate=await self._rate(), fees=self.fees)

    async def is_dead(self, txs: Sequence[WithdrawalTx], tip: BlockId) -> bool:
        """Whether the nonce is used up at depth, and not by one of these that paid."""
        node = self.nodes[self.coin]
        depth = max(config.depth.deepest for config in self.assets.values())
        block_hash = await node.hash_at(tip.height - depth) if tip.height >= depth else None
        if block_hash is None or txs[0].nonce is None:
            return False
        used = await node.nonce(self.address, BlockId(tip.height - depth, block_hash))
        places = [await node.place_of(tx.txid) for tx in txs]
        paid = any(isinstance(place, InBlock) and place.succeeded for place in places)
        return used > txs[0].nonce and not paid

    async def stranger(self, tip: BlockId) -> str | None:
        """A nonce that is used and was given to no withdrawal."""
        used = await self.nodes[self.coin].nonce(self.address, tip)
        expected = self.first_nonce
        while expected < used:
            given = await self.store.nonces(self.chain, self.address, expected - 1)
            for row in given:
                if row.nonce != expected:
                    break
                expected += 1
            if not given or (given[-1].nonce != expected - 1 and expected < used):
                return f"the hot wallet {self.address} has used the nonce {expected}, which no withdrawal was given"
        return None

    async def _rate(self) -> FeeRate:
        rate = await self.nodes[self.coin].fee_rate()
        return FeeRate(0) if rate is None else rate

"""The demo's chains: simulated, kept in the data folder, with a hot wallet that has something to pay from."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Final

from actors.chain_parts import Chain, Chains, SimulatedBlocks
from actors.chain_state import AssetConfig
from actors.hot_wallet import AccountsWallet, HotWallet, OutputsWallet
from actors.simulated_host import DiskHost
from actors.withdrawal_policy import WithdrawalPolicy
from actors.withdrawals import Policy, WithdrawalsConfig
from actors.world import Blocking, Clock
from chains.bitcoin_coins import BitcoinFees
from chains.ethereum_fees import EthereumFees
from chains.node import Node
from chains.policy import Limits
from chains.scanner import Depth
from chains.simulated import SimulatedAddresses, SimulatedNode, SimulatedSigner, plan_of, script_of
from chains.simulated_chain import ChainTerms, Key, Kind
from persistence.storage import Disk
from persistence.txstore import ChainStore, TxStore

BLOCK_SECONDS: Final = 3.0
POLL_SECONDS: Final = 1.0
DEPTH: Final = 2
BITCOIN, ETHEREUM = "bitcoin", "ethereum"
BITCOIN_PREFIX, ETHEREUM_PREFIX = "simbtc", "simeth"

HOT: Final = {
    BITCOIN: Key(BITCOIN_PREFIX, "the demo's hot wallet"),
    ETHEREUM: Key(ETHEREUM_PREFIX, "the demo's hot wallet"),
}
COLD: Final = {
    BITCOIN: Key(BITCOIN_PREFIX, "the demo's cold wallet").address,
    ETHEREUM: Key(ETHEREUM_PREFIX, "the demo's cold wallet").address,
}
DECIMALS: Final = {"BTC": 8, "ETH": 18, "USDT": 6}
SCALES: Final = {"BTC": 8, "ETH": 9, "USDT": 6}
# What needs no operator: 1 BTC, 10 ETH, 10,000 USDT; to new addresses too, and a hundred times as much in an hour.
LIMITS: Final = {
    name: Limits(automatic=units, per_hour=100 * units, per_account_day=100 * units, new_address_seconds=0)
    for name, units in {"BTC": 10**8, "ETH": 10 * 10**9, "USDT": 10_000 * 10**6}.items()
}
# The test money of alice, bob and the market maker's two accounts is there, most of it in the cold wallet.
SUPPLY: Final = {"BTC": 202_000 * 10**8, "ETH": 4_040_000 * 10**18, "USDT": 20_200_000_000 * 10**6}
HOT_COINS: Final = 20
HOT_FUNDS: Final = {"BTC": 100 * 10**8, "ETH": 1_000 * 10**18, "USDT": 1_000_000 * 10**6}
GWEI: Final = 10**9


def demo_chains(disk: Disk, blocking: Blocking, random: Random, _folder: str, store: TxStore) -> Chains:
    """Bitcoin's and Ethereum's stand-ins, as they were left in the data folder."""
    return Chains(
        store=store,
        chains=(_bitcoin(disk, blocking, random), _ethereum(disk, blocking, random)),
    )


def _bitcoin(disk: Disk, blocking: Blocking, random: Random) -> Chain:
    hot = tuple(("BTC", HOT[BITCOIN].address, HOT_FUNDS["BTC"] // HOT_COINS) for _ in range(HOT_COINS))
    cold = ("BTC", COLD[BITCOIN], SUPPLY["BTC"] - HOT_FUNDS["BTC"])
    terms = ChainTerms(BITCOIN, Kind.OUTPUTS, ("BTC",), BITCOIN_PREFIX, (*hot, cold))
    host = DiskHost(terms, disk=disk, blocking=blocking)
    asset, node = _asset("BTC", BITCOIN, HOT[BITCOIN].address), SimulatedNode(host, "BTC", random=random)

    def wallet(store: ChainStore) -> HotWallet:
        return OutputsWallet(asset=asset, node=node, store=store, fees=BitcoinFees(), script_of=script_of)

    return Chain(
        name=BITCOIN,
        assets={"BTC": asset},
        nodes={"BTC": node},
        book=SimulatedAddresses(BITCOIN_PREFIX, "the demo's deposits"),
        signer=SimulatedSigner(terms, HOT[BITCOIN]),
        wallet=wallet,
        policy=_policy({"BTC": asset}, {"BTC": node}, BITCOIN),
        cold_addresses=(COLD[BITCOIN],),
        withdrawals=WithdrawalsConfig(
            chain=BITCOIN, assets={"BTC": asset}, coin="BTC", poll_seconds=POLL_SECONDS, bump_seconds=60
        ),
        simulated=SimulatedBlocks(host=host, block_seconds=BLOCK_SECONDS),
    )


def _ethereum(disk: Disk, blocking: Blocking, random: Random) -> Chain:
    names = ("ETH", "USDT")
    hot = tuple((name, HOT[ETHEREUM].address, HOT_FUNDS[name]) for name in names)
    cold = tuple((name, COLD[ETHEREUM], SUPPLY[name] - HOT_FUNDS[name]) for name in names)
    terms = ChainTerms(ETHEREUM, Kind.ACCOUNTS, names, ETHEREUM_PREFIX, hot + cold, base_fee=GWEI)
    host = DiskHost(terms, disk=disk, blocking=blocking)
    assets = {name: _asset(name, ETHEREUM, "") for name in names}
    nodes = {name: SimulatedNode(host, name, random=random) for name in names}

    def wallet(store: ChainStore) -> HotWallet:
        return AccountsWallet(
            chain=ETHEREUM,
            address=HOT[ETHEREUM].address,
            chain_id=1,
            assets=assets,
            nodes=nodes,
            tokens={"ETH": None, "USDT": "USDT"},
            coin="ETH",
            store=store,
            fees=EthereumFees(),
            plan_of=lambda raw: plan_of(terms, raw),
        )

    return Chain(
        name=ETHEREUM,
        assets=assets,
        nodes=nodes,
        book=SimulatedAddresses(ETHEREUM_PREFIX, "the demo's deposits"),
        signer=SimulatedSigner(terms, HOT[ETHEREUM]),
        wallet=wallet,
        policy=_policy(assets, nodes, ETHEREUM),
        cold_addresses=(COLD[ETHEREUM],),
        withdrawals=WithdrawalsConfig(
            chain=ETHEREUM, assets=assets, coin="ETH", poll_seconds=POLL_SECONDS, bump_seconds=60
        ),
        simulated=SimulatedBlocks(host=host, block_seconds=BLOCK_SECONDS),
    )


def _policy(
    assets: Mapping[str, AssetConfig], nodes: Mapping[str, Node], chain: str
) -> Callable[[ChainStore, Clock], Policy]:
    def policy(store: ChainStore, clock: Clock) -> Policy:
        return WithdrawalPolicy(
            limits=LIMITS, assets=assets, nodes=nodes, hot_address=HOT[chain].address, store=store, clock=clock
        )

    return policy


def _asset(name: str, chain: str, hot_address: str) -> AssetConfig:
    return AssetConfig(
        asset=name,
        chain=chain,
        decimals=DECIMALS[name],
        scale=SCALES[name],
        depth=Depth(DEPTH),
        poll_seconds=POLL_SECONDS,
        hot_address=hot_address,
    )

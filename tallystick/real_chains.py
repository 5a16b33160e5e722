"""Real chains: what the file says that `[chains]` names, and the parts of the exchange that follow from it.

    [bitcoin]    its node, xpub, hot wallet and depth
    [ethereum]   the same, and its tokens

docs/chains-nodes.md has every key.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from attrs import Factory, asdict, field, frozen
from attrs.validators import ge, in_, le

from actors.chain_parts import Chain, Chains, Helper
from actors.chain_state import AssetConfig
from actors.hot_wallet import AccountsWallet, HotWallet, OutputsWallet
from actors.listings import units
from actors.signer_keeper import SignerKeeper
from actors.withdrawal_policy import WithdrawalPolicy
from actors.withdrawals import Policy, WithdrawalsConfig
from actors.world import Clock
from book.definitions import Asset
from chains import bitcoin_address
from chains.address_books import BitcoinAddresses, EthereumAddresses
from chains.bitcoin import Bitcoin, BitcoinConfig
from chains.bitcoin_coins import BitcoinFees
from chains.erc20 import Erc20, Erc20Config
from chains.ethereum import Ethereum, EthereumConfig
from chains.ethereum_fees import EthereumFees
from chains.node import BlockId
from chains.policy import DAY_SECONDS, Limits
from chains.rpc import Rpc, RpcConfig
from chains.scanner import Depth
from chains.signer import hot_address, plan_of
from chains.signing import BITCOIN, ETHEREUM, SignerConfig
from chains.sweeping import read_key
from chains.wallet import AddressBook, BadAddress, BadKey
from persistence.txstore import ChainStore, TxStore
from tallystick.config import ConfigError, read

B = TypeVar("B", bound=AddressBook)

SQLITE: Final = "sqlite:"
COIN_DECIMALS: Final = {BITCOIN: 8, ETHEREUM: 18}


@frozen(kw_only=True)
class NodeSection:
    """`[bitcoin.node]`, `[ethereum.node]`."""

    url: str
    cookie_file: str = ""
    user: str = ""
    password_file: str = ""
    timeout_seconds: float = field(default=30.0, validator=[ge(1), le(600)])


@frozen(kw_only=True)
class WalletSection:
    """`[bitcoin.wallet]`, `[ethereum.wallet]`: the hot one."""

    keystore: str
    passphrase: str
    first_nonce: int = field(default=0, validator=ge(0))


@frozen(kw_only=True)
class LimitsSection:
    """`[bitcoin.limits]` and so on: what withdrawals may take, as decimals of the asset; "" is no limit."""

    automatic: str = "0"
    per_transaction: str = ""
    per_hour: str = ""
    per_account_day: str = ""
    new_address_seconds: int = DAY_SECONDS
    hot_low: str = "0"
    hot_high: str = ""


@frozen(kw_only=True)
class Followed:
    """What is the same for every asset on a chain."""

    asset: str
    depth: int = field(validator=[ge(0), le(10_000)])
    birthday: int = field(default=0, validator=ge(0))
    accounted_height: int = field(default=-1, validator=ge(-1))
    limits: LimitsSection = Factory(LimitsSection)
    poll_seconds: float = field(default=5.0, validator=[ge(0.1), le(3600)])


@frozen(kw_only=True)
class BitcoinSection(Followed):
    """`[bitcoin]`."""

    network: str = field(default="mainnet", validator=in_(tuple(bitcoin_address.NETWORKS)))
    xpub: str
    node: NodeSection
    wallet: WalletSection
    fees: BitcoinFees = Factory(BitcoinFees)
    bump_seconds: float = field(default=3600.0, validator=[ge(1), le(604_800)])
    cold_addresses: tuple[str, ...] = ()


@frozen(kw_only=True)
class TokenSection(Followed):
    """`[[ethereum.tokens]]`."""

    contract: str
    decimals: int
    by_balance: bool = False


@frozen(kw_only=True)
class EthereumSection(Followed):
    """`[ethereum]`."""

    chain_id: int = 1
    xpub: str
    node: NodeSection
    wallet: WalletSection
    fees: EthereumFees = Factory(EthereumFees)
    bump_seconds: float = field(default=600.0, validator=[ge(1), le(604_800)])
    cold_addresses: tuple[str, ...] = ()
    tokens: tuple[TokenSection, ...] = ()


@frozen(kw_only=True)
class ChainsFile:
    """Everything that the file may hold."""

    bitcoin: BitcoinSection | None = None
    ethereum: EthereumSection | None = None


def load_chains(path: Path) -> ChainsFile:
    """Read the file. Raises ConfigError."""
    return read(path, ChainsFile)


def open_chains(
    file: ChainsFile,
    assets: Mapping[str, Asset],
    program: Sequence[str],
    *,
    store: TxStore,
    helpers: Mapping[str, tuple[Helper, ...]] | None = None,
) -> Chains:
    """The chains of the file, whose assets are among `assets`; each signer is asked for its address.

    `program`: the words that start a signer. `helpers`: further actors by chain, started before its others. Raises
    ConfigError, BadKey or SignerFailed.
    """
    build = _Build(assets, _signers(file, program), helpers or {})
    chains = []
    if file.bitcoin is not None:
        chains.append(build.bitcoin(file.bitcoin))
    if file.ethereum is not None:
        chains.append(build.ethereum(file.ethereum))
    return Chains(store=store, chains=tuple(chains))


def _signers(file: ChainsFile, program: Sequence[str]) -> Mapping[str, SignerKeeper]:
    """The signer of each chain. Raises SignerFailed."""
    wanted: list[SignerConfig] = []
    if file.bitcoin is not None:
        wallet, network = file.bitcoin.wallet, file.bitcoin.network
        wanted.append(
            SignerConfig(chain=BITCOIN, network=network, keystore=wallet.keystore, passphrase=wallet.passphrase)
        )
    if file.ethereum is not None:
        wallet = file.ethereum.wallet
        wanted.append(SignerConfig(chain=ETHEREUM, keystore=wallet.keystore, passphrase=wallet.passphrase))
    # Both at once: opening a keystore takes long on purpose.
    with ThreadPoolExecutor() as pool:
        addresses = list(pool.map(partial(hot_address, program), wanted))
    return {
        config.chain: SignerKeeper(program, config, address) for config, address in zip(wanted, addresses, strict=True)
    }


def _secret(path: str) -> str:
    """The first line of a file; nothing where there is no file."""
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the password file {path} cannot be read: {error}") from error


@frozen
class _Build:
    """Makes the parts of one chain after the other."""

    assets: Mapping[str, Asset]
    signers: Mapping[str, SignerKeeper]
    helpers: Mapping[str, tuple[Helper, ...]]

    def bitcoin(self, section: BitcoinSection) -> Chain:
        """Bitcoin, which has one asset."""
        book = _named(BITCOIN, lambda: BitcoinAddresses(section.network, read_key(section.xpub).xpub))
        signer = self.signers[BITCOIN]
        asset = self._asset(section, BITCOIN, COIN_DECIMALS[BITCOIN], signer.address)
        rpc = Rpc(_node(section.node))
        node = Bitcoin(BitcoinConfig(network=section.network), rpc)
        network = bitcoin_address.NETWORKS[section.network]

        def wallet(store: ChainStore) -> HotWallet:
            return OutputsWallet(
                asset=asset,
                node=node,
                store=store,
                fees=section.fees,
                script_of=lambda address: bitcoin_address.script_of(network, address),
            )

        limits = {section.asset: self._limits(section)}

        def policy(store: ChainStore, clock: Clock) -> Policy:
            return WithdrawalPolicy(
                limits=limits,
                assets={section.asset: asset},
                nodes={section.asset: HotCoins(node, store, asset)},
                hot_address=signer.address,
                store=store,
                clock=clock,
            )

        return Chain(
            name=BITCOIN,
            assets={section.asset: asset},
            nodes={section.asset: node},
            book=book,
            signer=signer,
            wallet=wallet,
            policy=policy,
            cold_addresses=_addresses(book, section.cold_addresses),
            withdrawals=WithdrawalsConfig(
                chain=BITCOIN,
                assets={section.asset: asset},
                coin=section.asset,
                poll_seconds=section.poll_seconds,
                bump_seconds=section.bump_seconds,
            ),
            helpers=(*self.helpers.get(BITCOIN, ()), Helper(f"signer-{BITCOIN}", signer)),
            aclose=rpc.close,
        )

    def ethereum(self, section: EthereumSection) -> Chain:
        """Ethereum, with Ether and its tokens."""
        book = _named(ETHEREUM, lambda: EthereumAddresses(read_key(section.xpub).xpub))
        signer = self.signers[ETHEREUM]
        rpc = Rpc(_node(section.node))
        on = EthereumConfig(chain_id=section.chain_id)
        assets = {section.asset: self._asset(section, ETHEREUM, COIN_DECIMALS[ETHEREUM], "")}
        nodes: dict[str, Ethereum] = {section.asset: Ethereum(on, rpc)}
        contracts: dict[str, str | None] = {section.asset: None}
        for token in section.tokens:
            config = _token(token)
            assets[token.asset] = self._asset(token, ETHEREUM, token.decimals, "")
            nodes[token.asset] = Erc20(on, config, rpc)
            contracts[token.asset] = config.contract

        def wallet(store: ChainStore) -> HotWallet:
            return AccountsWallet(
                chain=ETHEREUM,
                address=signer.address,
                chain_id=section.chain_id,
                assets=assets,
                nodes=nodes,
                tokens=contracts,
                coin=section.asset,
                store=store,
                fees=section.fees,
                plan_of=plan_of,
                first_nonce=section.wallet.first_nonce,
            )

        limits = {each.asset: self._limits(each) for each in (section, *section.tokens)}

        def policy(store: ChainStore, clock: Clock) -> Policy:
            return WithdrawalPolicy(
                limits=limits, assets=assets, nodes=nodes, hot_address=signer.address, store=store, clock=clock
            )

        return Chain(
            name=ETHEREUM,
            assets=assets,
            nodes=nodes,
            book=book,
            signer=signer,
            wallet=wallet,
            policy=policy,
            cold_addresses=_addresses(book, section.cold_addresses),
            withdrawals=WithdrawalsConfig(
                chain=ETHEREUM,
                assets=assets,
                coin=section.asset,
                poll_seconds=section.poll_seconds,
                bump_seconds=section.bump_seconds,
            ),
            helpers=(*self.helpers.get(ETHEREUM, ()), Helper(f"signer-{ETHEREUM}", signer)),
            aclose=rpc.close,
        )

    def _asset(self, section: Followed, chain: str, decimals: int, hot_address: str) -> AssetConfig:
        known = self.assets.get(section.asset)
        if known is None or known.chain != chain:
            raise ConfigError(f"{chain} has the asset {section.asset!r}, which no [[assets]] defines with that chain")
        if known.scale > decimals:
            raise ConfigError(f"{section.asset} has {known.scale} decimals here, and {decimals} on its chain")
        return AssetConfig(
            asset=section.asset,
            chain=chain,
            decimals=decimals,
            scale=known.scale,
            depth=Depth(section.depth),
            birthday=section.birthday,
            poll_seconds=section.poll_seconds,
            hot_address=hot_address,
            accounted_height=section.accounted_height,
        )

    def _limits(self, section: Followed) -> Limits:
        words = asdict(section.limits)
        scale = self.assets[section.asset].scale
        try:
            given = {
                name: units(word, scale, name) if isinstance(word, str) else word
                for name, word in words.items()
                if word != ""
            }
            return Limits(**given)
        except ValueError as error:
            raise ConfigError(f"{section.asset}: limits: {error.args[0]}") from error


class HotCoins(Bitcoin):
    """Bitcoin's node, but for what the hot wallet has: the store knows that, and the node would search for minutes."""

    def __init__(self, node: Bitcoin, store: ChainStore, asset: AssetConfig) -> None:
        super().__init__(node.config, node.rpc)
        self._store = store
        self._asset = asset

    async def balance(self, address: str, at: BlockId) -> int:
        """What the store has of the hot wallet's outputs; the node's answer for others."""
        if address != self._asset.hot_address:
            return await super().balance(address, at)
        return sum(coin.amount for coin in await self._store.utxos(self._asset.asset))


def _addresses(book: AddressBook, texts: Sequence[str]) -> tuple[str, ...]:
    try:
        return tuple(book.normal(text) for text in texts)
    except BadAddress as error:
        raise ConfigError(f"cold_addresses: {error}") from error


def _node(section: NodeSection) -> RpcConfig:
    password = _secret(section.password_file)
    try:
        return RpcConfig(
            url=section.url,
            cookie_file=section.cookie_file,
            user=section.user,
            password=password,
            timeout_seconds=section.timeout_seconds,
        )
    except ValueError as error:
        raise ConfigError(f"node: {error}") from error


def _token(section: TokenSection) -> Erc20Config:
    try:
        return Erc20Config(contract=section.contract, decimals=section.decimals, by_balance=section.by_balance)
    except ValueError as error:
        raise ConfigError(f"{section.asset}: {error}") from error


def _named(chain: str, make: Callable[[], B]) -> B:
    try:
        return make()
    except BadKey as error:
        raise ConfigError(f"{chain}: {error}") from error

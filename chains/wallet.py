"""Wallets as the exchange sees them: addresses that it can derive and check, and a signer that holds the hot key.

The exchange holds no key that can spend deposits: their addresses follow from an xpub. The hot wallet is one address
per chain, whose key is in another process, the signer. What is to be signed is decided here, by pure functions, as a
plan that names every coin and amount; the signer signs exactly that or fails.

    WalletError
    ├─ BadAddress         a text is no address of this chain and network; says why
    ├─ BadKey             an xpub or keystore cannot be used; says why, never with the key in it
    ├─ NotEnough          the hot wallet's spendable coins do not pay this
    ├─ FeeTooHigh         the miners' fee would exceed the configured cap
    └─ SignerFailed       the signer's process ended, or signed something else than was planned

Amounts are integers in the chain's base units (satoshi, wei, token units), addresses in the chain's usual writing:
bech32 in lower case, Ethereum's with the capitals of EIP-55. `chains.node.Payment` writes them in the same way, so they
can be compared as text.
"""

from typing import Final, Protocol

from attrs import frozen

from chains.node import Outpoint, Payment

# Of a child that can be derived from an xpub (BIP-32); above it are the hardened ones.
MAX_INDEX: Final = 2**31 - 1


class WalletError(Exception):
    """A wallet cannot do what it was asked."""


class BadAddress(WalletError, ValueError):  # noqa: N818 - the caller's mistake, told in a sentence
    """No address of this chain and network; the message says why."""


class BadKey(WalletError, ValueError):  # noqa: N818 - the operator's mistake, told in a sentence
    """A key, xpub or keystore cannot be used; the message says why, and never shows a secret."""


class NotEnough(WalletError):  # noqa: N818 - a condition that a refill ends
    """The spendable coins do not pay the amount and its fee."""

    def __init__(self, needed: int, spendable: int) -> None:
        super().__init__(f"the hot wallet can spend {spendable}, and {needed} are needed")
        self.needed = needed
        self.spendable = spendable


class FeeTooHigh(WalletError):  # noqa: N818 - a condition that may pass
    """The fee would exceed the cap."""

    def __init__(self, fee: int, cap: int, what: str = "the miners' fee") -> None:
        super().__init__(f"{what} would be {fee}, and the cap is {cap}")
        self.fee = fee
        self.cap = cap


class SignerFailed(WalletError):  # noqa: N818 - names what happened
    """Nothing was signed; ask again when the signer has been started again."""


class AddressBook(Protocol):
    """A chain's addresses: those of deposits by their index, and whether a text is one at all. Neither blocks."""

    def address(self, index: int) -> str:
        """The deposit address of this index, 0 to MAX_INDEX: always the same for the same xpub."""
        ...

    def check_address(self, text: str) -> None:
        """Raises BadAddress unless `text` is an address of this chain and network, its checksum right."""
        ...

    def normal(self, text: str) -> str:
        """The one writing of an address, as payments have it. Raises BadAddress."""
        ...


# What is to be signed ------------------------------------------------------------------------------------------------


@frozen
class Coin:
    """An output of the hot wallet's that it may spend."""

    output: Outpoint
    amount: int


@frozen
class Output:
    """What a transaction is to pay to one address."""

    address: str
    amount: int


@frozen
class BitcoinPlan:
    """A transaction of the hot wallet's: these coins go into `output`, `change` (0: none) back to us, and the fee."""

    coins: tuple[Coin, ...]
    output: Output
    change: int
    fee: int


@frozen
class EthereumPlan:
    """A transfer from the hot wallet with this nonce: of Ether, or of a token where `token` is its contract.

    It costs at most `gas` times `max_fee` wei, of which `max_tip` per unit is for the miner (EIP-1559).
    """

    chain_id: int
    nonce: int
    output: Output
    token: str | None
    gas: int
    max_fee: int
    max_tip: int


Plan = BitcoinPlan | EthereumPlan


@frozen
class Signed:
    """A signed transaction, ready to be stored and then broadcast.

    `fee` is the most that it costs in the chain's own coin. A Bitcoin one has `inputs` and perhaps `change`, an output
    back to the hot wallet; an Ethereum one has its `nonce`.
    """

    txid: str
    raw: bytes
    fee: int
    inputs: tuple[Outpoint, ...] = ()
    change: Payment | None = None
    nonce: int | None = None


class Signer(Protocol):
    """The hot wallet's key, in another process."""

    @property
    def address(self) -> str:
        """The hot wallet's one address."""
        ...

    async def sign(self, plan: Plan) -> Signed:
        """Sign exactly this; the same plan gives the same transaction. Raises SignerFailed."""
        ...

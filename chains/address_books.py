"""The deposit addresses of an account's xpub, and the checks of anybody's: BIP-84 for Bitcoin, BIP-44 for Ethereum.

An account's xpub is of the path m/84'/0'/0' or m/44'/60'/0'; deposit addresses are its children 0/index. Deriving one
takes a tenth of a millisecond, and needs neither a node nor a library that does I/O.
"""

from typing import Final

from coincurve import PublicKey

from chains import bitcoin_address, ethereum_address
from chains.bitcoin_address import NETWORKS
from chains.extended_key import PUBLIC_MAIN, PUBLIC_TEST, TPUB, XPUB, PublicBranch, read_xpub

# Of an account: addresses that are given to others. (1 is for change, of which deposit addresses have none.)
RECEIVING: Final = 0


class BitcoinAddresses:
    """Bitcoin's `AddressBook` on one of its networks."""

    def __init__(self, network: str, xpub: str) -> None:
        """Raises BadKey."""
        self._network = NETWORKS[network]
        self._account = read_xpub(xpub, xpub_versions(network))
        self._branch = self._account.child(RECEIVING)

    def standard_xpub(self) -> str:
        """The account's, as xpub or tpub: nodes know no zpub."""
        return self._account.write(XPUB if self._network.name == "mainnet" else TPUB)

    def address(self, index: int) -> str:
        """The P2WPKH address of this index."""
        return bitcoin_address.of_public_key(self._network, self._branch.child(index).key)

    def check_address(self, text: str) -> None:
        """Raises BadAddress."""
        bitcoin_address.script_of(self._network, text)

    def normal(self, text: str) -> str:
        """Bech32 in small letters. Raises BadAddress."""
        return bitcoin_address.normal(self._network, text)


class EthereumAddresses:
    """Ethereum's `AddressBook`, the same on all its networks and for all tokens."""

    def __init__(self, xpub: str) -> None:
        """Raises BadKey. Ethereum knows no networks in xpubs: those of either kind are taken."""
        self._branch: PublicBranch = read_xpub(xpub, PUBLIC_MAIN | PUBLIC_TEST).child(RECEIVING)

    def address(self, index: int) -> str:
        """The address of this index."""
        return ethereum_address.of_public_key(PublicKey(self._branch.child(index).key).format(compressed=False))

    def check_address(self, text: str) -> None:
        """Raises BadAddress."""
        ethereum_address.normal(text)

    def normal(self, text: str) -> str:
        """With the capitals of EIP-55. Raises BadAddress."""
        return ethereum_address.normal(text)


def xpub_versions(network: str) -> frozenset[bytes]:
    """How the xpubs of a Bitcoin network begin."""
    return PUBLIC_MAIN if network == "mainnet" else PUBLIC_TEST

"""Which assets can be paid in and out, and the addresses that this takes: for the clients' side. Pure.

The engine gives an account an index on a chain; the chain's address book makes the address of it, from a public key.
An address to pay out to is brought into its one writing here, so that the engine compares what the chain compares.
"""

from collections.abc import Mapping
from typing import Final

from attrs import Factory, frozen

from actors.wire import RefusedError
from book.codes import BAD_ADDRESS, INVALID_PARAMETER
from book.definitions import Asset
from chains.wallet import AddressBook, BadAddress


@frozen
class ChainAddresses:
    """Assets by name, as the directory keeps them, and the address book of each chain that the exchange is on."""

    assets: Mapping[str, Asset] = Factory(dict)
    books: Mapping[str, AddressBook] = Factory(dict)

    def asset(self, name: str) -> Asset:
        """The asset, which has a chain that the exchange is on. Raises RefusedError."""
        asset = self.assets.get(name)
        if asset is None:
            raise RefusedError(
                INVALID_PARAMETER, "there is no such asset; exchangeInfo lists them", reason="UNKNOWN_ASSET"
            )
        if asset.chain not in self.books:
            raise RefusedError(INVALID_PARAMETER, f"{name} is not paid in or out here", reason="NO_CHAIN")
        return asset

    def deposit_address(self, asset: Asset, index: int) -> str:
        """The deposit address of this index on the asset's chain."""
        return self.books[asset.chain].address(index)

    def normal(self, asset: Asset, text: str) -> str:
        """An address to pay out to, in its one writing. Raises RefusedError."""
        try:
            return self.books[asset.chain].normal(text)
        except BadAddress as error:
            raise RefusedError(BAD_ADDRESS, f"address is none of the chain {asset.chain}: {error}") from None


NO_CHAINS: Final = ChainAddresses()
"""Of an exchange that is on no chain."""

"""Which account has which deposit address on a chain: an index each, which whoever has the public key derives it from.

The index is given out by the engine, so that it is in the log: no store that is lost can give an address away twice.
"""

from book.queries import Address


class Addresses:
    """The deposit addresses of all chains, by index."""

    __slots__ = ("_accounts", "_indexes")

    def __init__(self) -> None:
        self._accounts: dict[str, list[int]] = {}  # by chain: whose each index is
        self._indexes: dict[tuple[str, int], int] = {}  # by chain and account

    def index_of(self, chain: str, account: int) -> int:
        """The account's index on a chain; -1 if it has none."""
        return self._indexes.get((chain, account), -1)

    def allocate(self, chain: str, account: int) -> int:
        """Give an account that has none the chain's next index."""
        accounts = self._accounts.setdefault(chain, [])
        index = len(accounts)
        accounts.append(account)
        self._indexes[chain, account] = index
        return index

    def since(self, chain: str, index: int, limit: int) -> list[Address]:
        """The addresses from an index on."""
        accounts = self._accounts.get(chain, [])
        return [Address(chain, at, accounts[at]) for at in range(index, min(len(accounts), index + limit))]

    def rows(self) -> list[tuple[str, list[int]]]:
        """By chain, in the order of their first address: whose each index is."""
        return [(chain, list(accounts)) for chain, accounts in self._accounts.items()]

    def check(self) -> None:
        """Nobody has two addresses on a chain. Raises AssertionError."""
        for chain, accounts in self._accounts.items():
            if [self._indexes.get((chain, account)) for account in accounts] != list(range(len(accounts))):
                raise AssertionError(f"an account has two addresses on {chain}")
        if sum(len(accounts) for accounts in self._accounts.values()) != len(self._indexes):
            raise AssertionError("an account has an address that is not its chain's")

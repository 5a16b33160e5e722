"""A token on Ethereum (ERC-20), as one of its contracts' logs tell it.

A token is a program of somebody else's, and may say what is not so. Payments are the `Transfer` logs of the one
configured contract, in transactions that succeeded. For a token marked `by_balance` (one that keeps a fee of each
transfer, or is not trusted to say what it does) an address is credited with no more than what its balance has grown by
in the block, which costs two questions for each address that is looked at.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Final, NamedTuple, cast

import msgspec
from attrs import field, frozen
from eth_typing import ChecksumAddress

from chains.ethereum import BlockHashes, Ethereum, EthereumConfig, Log, Receipt, Transaction, at_block
from chains.ethereum_address import checksummed, normal
from chains.node import BlockId, Payment, WrongNode
from chains.rpc import Rpc
from chains.signing import transfer_call
from chains.wallet import Output
from chains.web3_provider import erc20, told_as_ours

# keccak256 of Transfer(address,address,uint256)
TRANSFER: Final = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"

# A word in a log: 0x and 32 bytes.
_WORD_CHARACTERS: Final = 66
_ADDRESS_PADDING: Final = "0x" + "0" * 24

MAX_DECIMALS: Final = 36


@frozen(kw_only=True)
class Erc20Config:
    """Which token: its contract, and the decimals that it must have."""

    contract: str = field(converter=normal)
    decimals: int
    by_balance: bool = False

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.decimals <= MAX_DECIMALS:
            raise ValueError(f"decimals is {self.decimals}: not within 0 to {MAX_DECIMALS}")


# 32 bytes.
Word = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-f]{64}$")]


class Transfer(NamedTuple):
    """One `Transfer` log of the token's."""

    txid: str
    n: int
    sender: str
    receiver: str
    amount: int


def everybody(_address: str) -> bool:
    """Whose balances are looked at, where nobody says better."""
    return True


class Erc20(Ethereum):
    """A token's `AccountNode`; its nonces are those of Ether."""

    def __init__(
        self, config: EthereumConfig, token: Erc20Config, rpc: Rpc, is_ours: Callable[[str], bool] = everybody
    ) -> None:
        """`is_ours`: of a token that is credited by balance, whose payments matter; those of others are left out."""
        super().__init__(config, rpc)
        self.contract = token.contract
        self._token = token
        self._contract = erc20(self._web3, token.contract)
        self._is_ours = is_ours

    async def check(self) -> None:
        """The chain, that there is a contract, and its decimals."""
        await super().check()
        async with told_as_ours():
            code = await self._web3.eth.get_code(cast("ChecksumAddress", self.contract))
        if not code:
            raise WrongNode(f"there is no contract at {self.contract}")
        async with told_as_ours():
            decimals = await self._contract.functions.decimals().call()
        if decimals != self._token.decimals:
            raise WrongNode(
                f"the token {self.contract} has {decimals} decimals, and {self._token.decimals} are configured"
            )

    async def balance(self, address: str, at: BlockId) -> int:
        """What an address has of the token after this block."""
        return await self._balance(address, at.hash)

    async def gas(self, sender: str, output: Output) -> int:
        """How much gas this transfer would use now; NodeRefused where it would fail."""
        fields = {"from": sender, "to": self.contract, "data": "0x" + transfer_call(output).hex()}
        return await self._estimate(fields)

    async def _balance(self, address: str, block_hash: str) -> int:
        # Not by web3's own call: it makes a number of the block's hash, and a reorg may come between.
        call = {"to": self.contract, "data": self._contract.encode_abi("balanceOf", [address])}
        return int(await self._rpc.call("eth_call", call, at_block(block_hash), result=Word), 16)

    async def _payments(
        self, _transactions: Sequence[Transaction], receipts: Sequence[Receipt], block: BlockHashes
    ) -> tuple[Payment, ...]:
        found = [each for receipt in receipts for each in transfers(self.contract, receipt)]
        if not self._token.by_balance:
            return tuple(_payment(each, each.amount) for each in found if each.amount > 0)
        payments: list[Payment] = []
        for address in dict.fromkeys(each.receiver for each in found if self._is_ours(each.receiver)):
            grown = await self._balance(address, block.hash) - await self._balance(address, block.parent)
            payments += received(address, found, grown)
        return tuple(payments)

    def _paid(self, receipt: Receipt) -> bool:
        """A token that refuses may do so silently: without a log of the sender's transfer nothing was paid."""
        sender = checksummed(receipt.from_)
        return any(each.sender == sender for each in transfers(self.contract, receipt))


def transfers(contract: str, receipt: Receipt) -> Iterable[Transfer]:
    """The token's transfers in a transaction, by their positions among all of its logs; none if it failed."""
    if not receipt.succeeded:
        return
    for n, log in enumerate(receipt.logs):
        if checksummed(log.address) == contract and _is_transfer(log):
            sender, receiver = (checksummed("0x" + topic[-40:]) for topic in log.topics[1:])
            yield Transfer(receipt.transaction_hash, n, sender, receiver, int(log.data, 16))


def received(address: str, found: Sequence[Transfer], grown: int) -> Iterable[Payment]:
    """What is credited of transfers to an address whose balance has grown by so much in the block.

    What it paid out in the block it must have had besides. The first transfers are credited in full, until no more
    has come in.
    """
    left = grown + sum(each.amount for each in found if each.sender == address and each.receiver != address)
    for each in found:
        if each.receiver == address and each.sender != address:
            amount = min(each.amount, max(left, 0))
            left -= amount
            if amount > 0:
                yield _payment(each, amount)


def _is_transfer(log: Log) -> bool:
    """Of two indexed addresses and an amount. (NFTs have a log of the same name with three indexed.)."""
    return (
        len(log.topics) == 3
        and log.topics[0] == TRANSFER
        and all(topic.startswith(_ADDRESS_PADDING) for topic in log.topics[1:])
        and len(log.data) == _WORD_CHARACTERS
    )


def _payment(transfer: Transfer, amount: int) -> Payment:
    return Payment(transfer.txid, transfer.n, transfer.receiver, amount)

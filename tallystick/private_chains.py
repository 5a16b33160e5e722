"""The rest of the world on a private chain: whoever mines, and whoever pays in. For the demo and the tests.

Nothing is mined by itself. The miners' money is the node's own: a wallet of bitcoind's, an unlocked account of anvil's.
"""

from decimal import Decimal
from typing import Any, Final

from attrs import frozen

from chains.bitcoin import COIN
from chains.erc20 import Erc20Config
from chains.ethereum_address import checksummed
from chains.node import NodeRefused
from chains.rpc import Rpc
from chains.signing import transfer_call
from chains.wallet import Output
from tallystick.demo_token import BYTECODE

WALLET: Final = "miner"
# What is mined can be spent a hundred blocks later.
MATURITY: Final = 100
FIRST_BLOCKS: Final = MATURITY + 1
TOKEN_SUPPLY: Final = 10**15

# How the token of private chains behaves (tests/tokens/token.vy).
HONEST, KEEPS_A_TENTH, ONLY_LOGS, RETURNS_FALSE, RETURNS_NOTHING = range(5)

# The first four bytes of keccak256 of twice(address,uint256) and fail(address,uint256).
TWICE: Final = "a733e21d"
FAIL: Final = "724251a6"


class BitcoinChain:
    """A regtest's miner, who also pays."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self._address = ""

    async def begin(self) -> bool:
        """Have a wallet, and mine what is to be spent unless that was done before; whether it is the first time."""
        try:
            await self._rpc.call("createwallet", WALLET, result=dict[str, Any])
        except NodeRefused:  # it is there from an earlier start; then it may be loaded or not
            if WALLET not in await self._rpc.call("listwallets", result=list[str]):
                await self._rpc.call("loadwallet", WALLET, result=dict[str, Any])
        self._address = await self._rpc.call("getnewaddress", result=str)
        is_new = await self.height() < FIRST_BLOCKS
        if is_new:
            await self.mine(FIRST_BLOCKS)
        return is_new

    async def height(self) -> int:
        """Of the newest block."""
        return await self._rpc.call("getblockcount", result=int)

    async def pay(self, *outputs: Output) -> str:
        """One transaction that pays all of these; its id. It waits to be mined."""
        amounts = {each.address: str(Decimal(each.amount) / COIN) for each in outputs}
        return await self._rpc.call("sendmany", "", amounts, result=str)

    async def mine(self, count: int = 1) -> list[str]:
        """So many blocks, with what waits; their hashes."""
        return await self._rpc.call("generatetoaddress", count, self._address, result=list[str])

    async def flush(self) -> None:
        """Have the node write down all that it knows, which it does before it counts all coins."""
        await self._rpc.call("gettxoutsetinfo", "none", result=dict[str, Any])

    async def reorg(self, depth: int, *, drop: bool = False) -> None:
        """Another branch in place of the last blocks, one longer. What they held is mined again, or not (`drop`)."""
        height = await self._rpc.call("getblockcount", result=int)
        first = await self._rpc.call("getblockhash", height - depth + 1, result=str)
        await self._rpc.find("invalidateblock", first, result=str)
        # To another address: the same blocks would be made again otherwise, and they are invalid.
        self._address = await self._rpc.call("getnewaddress", result=str)
        for _ in range(depth + 1 if drop else 0):
            await self._rpc.call("generateblock", self._address, [], result=dict[str, str])
        if not drop:
            await self.mine(depth + 1)


@frozen
class EthereumChain:
    """An anvil's account, which pays, and its miner."""

    rpc: Rpc
    account: str

    async def pay(self, output: Output, token: str | None = None, call: str = "") -> str:
        """One transaction that pays this in Ether or in a token; its id. `call`: another method of the token's."""
        fields = {"from": self.account, "to": output.address, "value": hex(output.amount)}
        if token is not None:
            data = transfer_call(output).hex()
            fields = {"from": self.account, "to": token, "data": f"0x{call or data[:8]}{data[8:]}", "gas": "0x30d40"}
        return await self.rpc.call("eth_sendTransaction", fields, result=str)

    async def token(self, manner: int = HONEST, decimals: int = 6) -> Erc20Config:
        """A new token in a block of its own, all of it the account's."""
        words = b"".join(each.to_bytes(32, "big") for each in (manner, decimals, TOKEN_SUPPLY * 10**decimals))
        fields = {"from": self.account, "data": f"0x{BYTECODE}{words.hex()}"}
        txid = await self.rpc.call("eth_sendTransaction", fields, result=str)
        await self.mine()
        receipt = await self.rpc.call("eth_getTransactionReceipt", txid, result=dict[str, Any])
        return Erc20Config(contract=receipt["contractAddress"], decimals=decimals)

    async def height(self) -> int:
        """Of the newest block."""
        return int(await self.rpc.call("eth_blockNumber", result=str), 16)

    async def mine(self, count: int = 1) -> None:
        """So many blocks, with what waits."""
        await self.rpc.find("anvil_mine", hex(count), result=str)

    async def reorg(self, depth: int) -> None:
        """Empty blocks in place of the last ones; what these held is gone, from the pool too."""
        await self.rpc.find("anvil_reorg", depth, [], result=str)


async def ethereum_chain(rpc: Rpc) -> EthereumChain:
    """The chain of an anvil."""
    accounts = await rpc.call("eth_accounts", result=list[str])
    return EthereumChain(rpc, checksummed(accounts[0]))

"""web3 on trio: a provider that asks through our own `Rpc`.

Importing web3 takes a second or two: it is done here, and this module is imported where that disturbs nobody.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from eth_typing import ChecksumAddress
from web3 import AsyncWeb3
from web3.contract import AsyncContract
from web3.exceptions import Web3Exception
from web3.providers.async_base import AsyncJSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from chains.node import NodeRefused, NodeUnavailable
from chains.rpc import Rpc

_ERC20 = [
    {
        "type": "function",
        "name": name,
        "stateMutability": mutability,
        "inputs": [{"name": f"_{number}", "type": kind} for number, kind in enumerate(inputs)],
        "outputs": [{"name": "", "type": output}],
    }
    for name, mutability, inputs, output in (
        ("decimals", "view", (), "uint8"),
        ("balanceOf", "view", ("address",), "uint256"),
        ("transfer", "nonpayable", ("address", "uint256"), "bool"),
    )
]


class RpcProvider(AsyncJSONBaseProvider):
    """Ours are the connections and their errors; the node's own errors are web3's to raise."""

    def __init__(self, rpc: Rpc) -> None:
        super().__init__()
        self._rpc = rpc

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Ask, and hand on the answer as it came."""
        return cast("RPCResponse", await self._rpc.ask(method, params))


def web3_over(rpc: Rpc) -> AsyncWeb3[RpcProvider]:
    """A web3 whose node is this one."""
    return AsyncWeb3(RpcProvider(rpc))


def erc20(web3: AsyncWeb3[RpcProvider], address: str) -> AsyncContract:
    """A token's contract, with the three methods that matter here."""
    return web3.eth.contract(address=cast("ChecksumAddress", address), abi=_ERC20)


@asynccontextmanager
async def told_as_ours() -> AsyncIterator[None]:
    """What web3 makes of an answer: a refusal of the node's, or one that is of no use to it."""
    try:
        yield
    except Web3Exception as error:
        answer = getattr(error, "rpc_response", None)
        if isinstance(answer, dict) and isinstance(answer.get("error"), dict):
            refusal = answer["error"]
            raise NodeRefused(int(refusal.get("code", 0)), str(refusal.get("message", ""))[:200]) from error
        raise NodeUnavailable(f"the node's answer is of no use: {str(error)[:200]}") from error
    except (ValueError, TypeError, KeyError, OverflowError) as error:  # from web3's decoding of garbage
        raise NodeUnavailable(f"the node's answer is of no use: {str(error)[:200]}") from error

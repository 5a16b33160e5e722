"""Private chains of one machine: bitcoind on a regtest of its own, and anvil, each for as long as somebody wants it.

They listen on the loopback only and know no peers. What they print is in `node.log` in their folder. However this
program ends, they end with it.
"""

import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import trio
from attrs import frozen

from chains.node import NodeUnavailable
from chains.rpc import Rpc, RpcConfig
from tallystick.fetching import Program

CHAIN_ID: Final = 31337
START_SECONDS: Final = 60
STOP_SECONDS: Final = 30
POLL_SECONDS: Final = 0.05
LOG_CHARACTERS: Final = 1000


class NodeEnded(Exception):  # noqa: N818 - names what happened
    """A private node did not come up; the message has the last that it said."""


@frozen
class PrivateNode:
    """A running node: how to ask it, and its process."""

    rpc: RpcConfig
    process: "subprocess.Popen[bytes]"


@asynccontextmanager
async def bitcoin_node(program: Program, folder: Path, *, port: int = 0) -> AsyncIterator[PrivateNode]:
    """Bitcoin's regtest, kept in `folder`. It has no blocks until somebody mines them. Raises NodeEnded."""
    port = port or free_port()
    words = [
        *program.words,
        "-regtest",
        f"-datadir={folder}",
        "-server",
        "-listen=0",
        "-connect=0",
        "-dnsseed=0",
        "-txindex=1",
        "-rpcbind=127.0.0.1",
        "-rpcallowip=127.0.0.1",
        f"-rpcport={port}",
        "-printtoconsole=1",
        "-par=1",
        "-fallbackfee=0.0001",
    ]
    rpc = RpcConfig(url=f"http://127.0.0.1:{port}", cookie_file=str(folder / "regtest" / ".cookie"))
    with _process(words, folder) as process:
        node = PrivateNode(rpc, process)
        await _until_it_answers(node, "getblockcount", int, folder / "node.log")
        try:
            yield node
        finally:
            await _stop(process)


@asynccontextmanager
async def ethereum_node(program: Program, folder: Path, *, port: int = 0) -> AsyncIterator[PrivateNode]:
    """A private Ethereum chain, kept in `folder`, which mines only when told to. Raises NodeEnded."""
    port = port or free_port()
    words = [
        *program.words,
        "--host=127.0.0.1",
        f"--port={port}",
        f"--chain-id={CHAIN_ID}",
        "--no-mining",
        "--accounts=1",
        # It keeps its chain in memory, and writes it down now and then, and at its end.
        f"--state={folder / 'state.json'}",
        "--state-interval=1",
        "--preserve-historical-states",
    ]
    with _process(words, folder) as process:
        node = PrivateNode(RpcConfig(url=f"http://127.0.0.1:{port}"), process)
        await _until_it_answers(node, "eth_chainId", str, folder / "node.log")
        try:
            yield node
        finally:
            await _stop(process)


def free_port() -> int:
    """A port that nobody has just now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port


@contextmanager
def _process(words: Sequence[str], folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Start it, to be killed at the end unless it has ended by then."""
    # By the kernel, should this program be killed: at the end of the thread that starts it, so it is this one.
    bound = ["setpriv", "--pdeathsig", "KILL", "--", *words] if shutil.which("setpriv") else words
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "node.log").open("wb") as log:
        try:
            # In a group of its own: a Ctrl-C is for this program, which then ends it in its turn.
            process = subprocess.Popen(
                bound, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, process_group=0
            )
        except OSError as error:
            raise NodeEnded(f"{words[0]} cannot be started: {error.strerror}") from error
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def _until_it_answers(node: PrivateNode, method: str, result: type[object], log: Path) -> None:
    why = "it ended"
    with trio.move_on_after(START_SECONDS):
        async with Rpc(node.rpc) as rpc:
            while node.process.poll() is None:
                try:
                    await rpc.call(method, result=result)
                except NodeUnavailable as error:
                    why = str(error)
                    await trio.sleep(POLL_SECONDS)
                else:
                    return
    said = _end_of(log)
    raise NodeEnded(f"the node whose log is {log} does not come up: {why}; the last it said: {said}")


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-LOG_CHARACTERS:]


async def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Ask it to end, so that it writes down what it has; one that does not is killed by its owner."""
    process.terminate()
    with trio.move_on_after(STOP_SECONDS, shield=True):
        await trio.to_thread.run_sync(process.wait, abandon_on_cancel=True)

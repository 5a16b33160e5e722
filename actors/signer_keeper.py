"""Keeps a hot wallet's signer running, as one of the exchange's actors, and is the `Signer` for the others.

The process may end at any time, and loses nothing by it: what it was asked fails, and is asked again when the
supervisor has started the next one. While there is none, nothing is signed and everything else goes on.
"""

from collections.abc import Sequence

import trio

from chains.signer import SignerProcess, signer
from chains.signing import SignerConfig
from chains.wallet import Plan, Signed, SignerFailed


class SignerKeeper:
    """The signer of one chain, whose address was asked of it before."""

    def __init__(self, program: Sequence[str], config: SignerConfig, address: str) -> None:
        self._program = program
        self._config = config
        self._address = address
        self._process: SignerProcess | None = None
        self._failed = trio.Event()

    @property
    def address(self) -> str:
        """The hot wallet's."""
        return self._address

    async def sign(self, plan: Plan) -> Signed:
        """Have it signed by the process that there is. Raises SignerFailed."""
        if self._process is None:
            raise SignerFailed(f"the signer of {self._config.chain} is not running")
        try:
            return await self._process.sign(plan)
        finally:
            if self._process is not None and self._process.is_broken:
                self._failed.set()

    async def run(self, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Keep a process until `stop`. Raises SignerFailed when it is of no use any more: another one is needed."""
        task_status.started()
        self._failed = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve)
            await stop.wait()
            nursery.cancel_scope.cancel()

    async def _serve(self) -> None:
        async with signer(self._program, self._config) as process:
            if process.address != self._address:
                raise SignerFailed(f"the keystore of {self._config.chain} is another one than at the start")
            self._process = process
            try:
                await self._failed.wait()
            finally:
                self._process = None
        raise SignerFailed(f"the signer of {self._config.chain} failed")

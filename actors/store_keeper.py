"""The store's keeper: brings its schema up to date, looks now and then whether it answers, and closes it at the end.

Nothing waits for it: without the store money neither comes nor goes, and trading goes on.
"""

from typing import Final

import structlog
import trio

from actors.serving import serve_until
from persistence.statements import Database
from persistence.txstore import StoreError

LOOK_SECONDS: Final = 15.0
CLOSE_SECONDS: Final = 5.0

_log = structlog.get_logger("store")


class StoreState:
    """Whether the store answers; the keeper alone changes it. Outlives its incarnations."""

    def __init__(self) -> None:
        self.answers = False
        """It did when it was last asked."""
        self.failures = 0
        """Looks that found it away, since the process began."""
        self.trouble: str | None = "nobody has asked it yet"
        """Why it does not answer; None if it does."""


class StoreKeeper:
    """Keeps an eye on it until `stop`."""

    def __init__(self, database: Database, state: StoreState) -> None:
        self._database = database
        self._state = state

    async def run(self, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Look until `stop`; then close the store, which those who use it have left by then."""
        await serve_until(stop, self._look, task_status)
        with trio.move_on_after(CLOSE_SECONDS):
            await self._database.aclose()

    async def _look(self) -> None:
        state = self._state
        while True:
            try:
                await self._database.check()
            except StoreError as error:
                if state.answers or not state.failures:
                    _log.error("the store is away; trading goes on, money waits", reason=str(error))
                state.answers, state.trouble = False, str(error)
                state.failures += 1
            else:
                if not state.answers:
                    _log.info("the store answers")
                state.answers, state.trouble = True, None
            await trio.sleep(LOOK_SECONDS)

"""Candles that the engine has forgotten: told from the store, within a deadline."""

from collections.abc import Awaitable, Callable
from typing import Final

import structlog
import trio

from actors.requests import Outcome, Request
from actors.wire import RefusedError
from book.codes import TIMEOUT
from book.history import CLOSED_CANDLES
from book.queries import Candle, Candles
from book.terms import MAX_INT
from persistence.txstore import ArchiveStore, StoreError

# How long a client waits for old candles; then it is -1007.
STORE_SECONDS: Final = 2.0
# Questions of all clients that are with the store together.
AT_ONCE: Final = 16

_log = structlog.get_logger("candles")

AskEngine = Callable[[Request], Awaitable[Outcome]]


class PastCandles:
    """Completes the engine's answers, for all sessions."""

    def __init__(self, store: ArchiveStore) -> None:
        self._store = store
        self._places = trio.CapacityLimiter(AT_ONCE)

    async def complete(self, query: Candles, answer: Outcome, ask: AskEngine) -> Outcome:
        """What the engine answered, and before it what only the store still has.

        The store is asked only where the engine has forgotten candles that the query may be about. Raises RefusedError
        where it does not answer in time.
        """
        recent = _candles(answer)
        if recent is None or len(recent) >= query.limit:
            return answer
        kept = _candles(await ask(Candles(query.symbol, query.interval_ns, 0, 0, CLOSED_CANDLES)))
        if kept is None or len(kept) < CLOSED_CANDLES or query.start_ns >= kept[0].open_ns:
            return answer  # nothing is forgotten of that time
        end_ns = min(kept[0].open_ns, (query.end_ns or MAX_INT) + 1)
        return await self._older(query, end_ns, query.limit - len(recent)) + recent

    async def _older(self, query: Candles, end_ns: int, limit: int) -> list[Candle]:
        with trio.move_on_after(STORE_SECONDS):
            try:
                async with self._places:
                    return await self._store.candles(query.symbol, query.interval_ns, query.start_ns, end_ns, limit)
            except StoreError as error:
                _log.warning("the store does not answer a client", reason=str(error))
                raise RefusedError(TIMEOUT, "old candles are in the store, which is away; ask again later") from None
        raise RefusedError(TIMEOUT, f"old candles are in the store, which did not answer within {STORE_SECONDS:g} s")


def _candles(outcome: Outcome) -> list[Candle] | None:
    """An answer with candles; None for anything else."""
    if not isinstance(outcome, list):
        return None
    candles = [candle for candle in outcome if isinstance(candle, Candle)]
    return candles if len(candles) == len(outcome) else None

"""A market maker for the demo: keeps a few orders on each side of every market and trades now and then.

It has two accounts, one that quotes and one that takes, so that it never trades with itself, and it is a client of
matching like any session, only without a socket. At its start it cancels what an earlier life left open.
"""

from random import Random
from typing import Final

import structlog
import trio
from attrs import frozen

from actors.mailbox import NotDone, OutcomeUnknown, Sender
from actors.requests import Batch, Done, Outcome, Request
from book.commands import CancelAll, CancelOrder, PlaceOrder
from book.events import OrderAccepted
from book.queries import Depth, DepthView
from book.terms import BUY, GTC, IOC, LIMIT, SELL

# Matching may be away for a replay; after this long the round is given up and the next one begins.
CALL_SECONDS: Final = 30.0
ROUND_SECONDS: Final = 0.25

_log = structlog.get_logger("market-maker")


@frozen
class Quoted:
    """A market that is kept alive, in its own units."""

    symbol: str
    start_price: int
    """Ticks, where nothing has been traded yet."""
    spacing: int
    """Ticks between neighbouring quotes."""
    quantity: int
    """Lots, the size of a small order."""


@frozen
class MarketMakerConfig:
    """Who quotes, who takes, and where."""

    quoter: int
    taker: int
    markets: tuple[Quoted, ...]
    levels: int = 12
    """Quotes kept on each side."""


class MarketMaker:
    """Quotes around a random walk, one market a round, and lets the taker trade in some of the rounds."""

    def __init__(self, config: MarketMakerConfig, matching: Sender[Batch], random: Random) -> None:
        self._config = config
        self._matching = matching
        self._random = random

    async def run(self, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Quote until `stop`."""
        books = [_Quotes(market) for market in self._config.markets]
        await self._ask([CancelAll(account, 0, 0) for account in (self._config.quoter, self._config.taker)])
        for book in books:
            book.middle = await self._middle(book.market)
            for _ in range(self._config.levels):
                await self._round(book)
        task_status.started()
        while not stop.is_set():
            await self._round(self._random.choice(books))
            with trio.move_on_after(ROUND_SECONDS * (0.5 + self._random.random())):
                await stop.wait()

    async def _middle(self, market: Quoted) -> int:
        """Where the market stands: between the best quotes others left, or at the start price."""
        for answer in await self._ask([Depth(market.symbol, 1)]):
            if isinstance(answer, DepthView) and answer.bids and answer.asks:
                return (answer.bids[0][0] + answer.asks[0][0]) // 2
        return market.start_price

    async def _round(self, book: "_Quotes") -> None:
        market, random = book.market, self._random
        step = random.randint(-market.spacing, market.spacing)
        # The walk is elastic, so that a demo left alone for days still trades around the known price.
        book.middle += step + (market.start_price - book.middle) // 200
        requests: list[Request] = [CancelOrder(self._config.quoter, 0, 0, market.symbol, id_) for id_ in book.surplus()]
        for side, sign in ((BUY, -1), (SELL, 1)):
            price = book.middle + sign * market.spacing * random.randint(1, self._config.levels)
            requests.append(self._limit(self._config.quoter, market, side, GTC, price))
        if random.random() < 0.5:
            side = random.choice((BUY, SELL))
            price = book.middle + (2 if side == BUY else -2) * market.spacing * self._config.levels
            requests.append(self._limit(self._config.taker, market, side, IOC, price))
        for outcome in await self._ask(requests):
            if isinstance(outcome, Done):
                book.note(outcome, self._config.quoter, self._config.levels)

    def _limit(self, account: int, market: Quoted, side: int, time_in_force: int, price: int) -> PlaceOrder:
        quantity = market.quantity * self._random.randint(1, 20)
        return PlaceOrder(account, 0, 0, market.symbol, side, LIMIT, time_in_force, quantity, max(1, price))

    async def _ask(self, requests: list[Request]) -> list[Outcome]:
        """The outcomes; none where matching was away, busy or unsure: the next round makes up for it."""
        batch = Batch(requests)
        try:
            with trio.fail_after(CALL_SECONDS):
                await self._matching.send(batch, timeout_seconds=CALL_SECONDS)
                return await batch.wait()
        except (NotDone, OutcomeUnknown, trio.TooSlowError) as error:
            _log.warning("a round was lost", reason=repr(error))
            return []


class _Quotes:
    """What the quoter has open in one market, oldest first."""

    def __init__(self, market: Quoted) -> None:
        self.market = market
        self.middle = market.start_price
        self._open: dict[int, list[int]] = {BUY: [], SELL: []}
        self._surplus: list[int] = []

    def surplus(self) -> list[int]:
        """Order ids that are to be cancelled now, each named once."""
        surplus, self._surplus = self._surplus, []
        return surplus

    def note(self, outcome: Done, quoter: int, levels: int) -> None:
        """Remember a quote that was accepted; beyond `levels` a side, the oldest becomes surplus."""
        first = outcome.events[0] if outcome.events else None
        if not isinstance(first, OrderAccepted) or first.order.account != quoter:
            return
        side = self._open[first.order.side]
        side.append(first.order.order_id)
        if len(side) > levels:
            self._surplus.append(side.pop(0))

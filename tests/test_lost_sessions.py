"""Lost sessions: matching hears of each, whatever happens in between."""

# ruff: noqa: ARG001 - to ask for the fixture is to run on virtual time

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.lost_sessions import AT_ONCE, RETRY_SECONDS, LostSessions
from actors.mailbox import Busy, Faulted, Mailbox, OutcomeUnknown
from actors.requests import Batch, Done, Outcome
from book import codes
from book.commands import LoseSession
from book.events import Rejected

DONE = Done(1, 1, [])


def matching(capacity: int = 4) -> tuple[Mailbox[Batch], LostSessions]:
    """A mailbox, and what tells it."""
    mailbox: Mailbox[Batch] = Mailbox("matching", capacity, rank=0)
    return mailbox, LostSessions(mailbox.sender(1))


@asynccontextmanager
async def telling(lost: LostSessions) -> AsyncIterator[None]:
    """It is told for as long as the block takes."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lost.tell)
        yield
        nursery.cancel_scope.cancel()


async def heard(mailbox: Mailbox[Batch], outcome: Outcome = DONE) -> list[int]:
    """The sessions of the next batch, which is answered so."""
    batch = await mailbox.receive()
    batch.settle([outcome] * len(batch.request))
    return sessions(batch)


def sessions(batch: Batch) -> list[int]:
    """Whom it is about."""
    return [request.session for request in batch.request if isinstance(request, LoseSession)]


async def test_each_loss_is_told_once_and_soon(autojump_clock: MockClock) -> None:
    """Those that come together in one batch, later ones when it is answered."""
    mailbox, lost = matching()
    lost.add(1)
    async with telling(lost):
        batch = await mailbox.receive()
        lost.add(2)
        lost.add(3)
        await wait_all_tasks_blocked()
        assert mailbox.statistics().depth == 0
        batch.settle([DONE])
        assert (sessions(batch), await heard(mailbox)) == ([1], [2, 3])
        await trio.sleep(100)
        assert mailbox.statistics().depth == 0


async def test_many_are_told_in_pieces(autojump_clock: MockClock) -> None:
    """So that others have their turn in between; none is left out or told twice."""
    mailbox, lost = matching()
    for session in range(1, 3 * AT_ONCE):
        lost.add(session)
    async with telling(lost):
        told = [await heard(mailbox) for _ in range(3)]
    assert [len(piece) for piece in told] == [AT_ONCE, AT_ONCE, AT_ONCE - 1]
    assert [session for piece in told for session in piece] == list(range(1, 3 * AT_ONCE))


async def test_a_full_mailbox_only_delays(autojump_clock: MockClock) -> None:
    """However long it is full."""
    mailbox, lost = matching(capacity=1)
    blocker: Batch = Batch([])
    mailbox.sender(1).send_nowait(blocker)
    async with telling(lost):
        lost.add(7)
        await trio.sleep(1_000)
        assert await mailbox.receive() is blocker
        assert await heard(mailbox) == [7]


async def test_what_was_not_done_is_told_again(autojump_clock: MockClock) -> None:
    """After a moment, and the others are not; a refusal is an answer too."""
    mailbox, lost = matching()
    refused = Rejected(codes.CANCEL_REJECTED, "UNKNOWN_SESSION", "session", 4)
    for session in (1, 2, 3, 4):
        lost.add(session)
    async with telling(lost):
        (await mailbox.receive()).settle([DONE, Busy("restarting"), OutcomeUnknown("gone"), refused])
        started = trio.current_time()
        lost.add(5)
        batch = await mailbox.receive()
        assert (sessions(batch), trio.current_time() - started) == ([2, 3, 5], RETRY_SECONDS)
        batch.fail(OutcomeUnknown("the writer went away"))
        assert await heard(mailbox) == [2, 3, 5]
        await lost_all(mailbox, lost)


async def lost_all(mailbox: Mailbox[Batch], lost: LostSessions) -> None:
    """Nothing is left to tell."""
    await trio.sleep(100)
    assert mailbox.statistics().depth == 0
    await lost.tell_all()


async def test_a_loss_that_fails_the_engine_is_not_told_again(autojump_clock: MockClock) -> None:
    """It would fail it again; the log says so, loudly."""
    mailbox, lost = matching()
    lost.add(1)
    async with telling(lost):
        with capture_logs() as logs:
            assert await heard(mailbox, Faulted("a bug")) == [1]
            await lost_all(mailbox, lost)
    assert [(entry["log_level"], entry["session"]) for entry in logs] == [("error", 1)]


async def test_a_teller_goes_on_where_the_one_before_was_cancelled(autojump_clock: MockClock) -> None:
    """With what had no room yet, and with what matching has but has not answered: that is not told twice."""
    mailbox, lost = matching(capacity=1)
    blocker: Batch = Batch([])
    mailbox.sender(1).send_nowait(blocker)
    async with telling(lost):
        lost.add(1)
        await wait_all_tasks_blocked()
    assert await mailbox.receive() is blocker
    async with telling(lost):
        batch = await mailbox.receive()
    lost.add(2)
    async with telling(lost):
        await wait_all_tasks_blocked()
        assert mailbox.statistics().depth == 0
        batch.settle([DONE])
        assert (sessions(batch), await heard(mailbox)) == ([1], [2])


async def test_telling_all_ends_when_all_is_answered(autojump_clock: MockClock) -> None:
    """Sent is not enough: it may have to be said again."""
    mailbox, lost = matching()
    lost.add(1)
    ended = trio.Event()

    async def tell_all() -> None:
        await lost.tell_all()
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell_all)
        batch = await mailbox.receive()
        await wait_all_tasks_blocked()
        assert not ended.is_set()
        batch.settle([DONE])
        with trio.fail_after(1):
            await ended.wait()

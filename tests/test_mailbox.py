"""Mailboxes and calls: bounds, fairness, one-shot answers, and what a reader's crash may and may not lose."""

import math
from contextlib import suppress
from functools import partial
from random import Random

import pytest
import structlog
import trio
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from actors.mailbox import Busy, Call, Mailbox, MailboxStatistics, OutcomeUnknown, Place, Stopped
from tests.counts import seeds
from tests.scheduler import run_seeded

# ---------------------------------------------------------------------------------------------------------------- calls


async def test_a_call_settles_once_and_counts_whoever_comes_later() -> None:
    """The first to settle wins; later ones change nothing, are counted and logged, and never raise."""
    call: Call[str, int] = Call("what is six times seven")
    twice = Call.settled_twice
    with structlog.testing.capture_logs() as logs:
        assert call.settle(42)
        assert not call.settle(43)
        assert not call.fail(Busy())
    assert call.settled
    assert call.result() == 42
    assert Call.settled_twice == twice + 2
    assert [line["event"] for line in logs] == ["call settled twice"] * 2


async def test_a_failed_call_raises_its_failure_for_everyone_who_asks() -> None:
    """A failure is an outcome like any other, raised by `result` and by `wait`, before and after."""
    call: Call[str, int] = Call("?")
    failure = OutcomeUnknown("the writer went away")

    async def expect_failure() -> None:
        with pytest.raises(OutcomeUnknown) as caught:
            await call.wait()
        assert caught.value is failure

    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect_failure)
        nursery.start_soon(expect_failure)
        await wait_all_tasks_blocked()
        assert call.fail(failure)
    with pytest.raises(OutcomeUnknown):
        call.result()
    with assert_checkpoints():
        await expect_failure()


async def test_the_result_of_an_unsettled_call_is_a_bug() -> None:
    """There is no answer to read before somebody gave one."""
    with pytest.raises(AssertionError, match="not settled"):
        Call("?").result()


async def test_settling_tells_the_caller_and_survives_the_callers_bug() -> None:
    """`on_settled` sees the settled call; an exception in it is logged, not raised into whoever settles."""
    seen: list[int] = []
    told: Call[str, int] = Call("?", lambda call: seen.append(call.result()))
    told.settle(1)
    assert seen == [1]

    buggy: Call[str, int] = Call("?", lambda call: seen.append(call.result() // 0))
    with structlog.testing.capture_logs() as logs:
        assert buggy.settle(1)
    assert buggy.result() == 1
    assert [line["event"] for line in logs] == ["on_settled failed"]


# ------------------------------------------------------------------------------------------------------------ mailboxes


async def test_items_arrive_in_order_and_at_most_limit_at_a_time() -> None:
    """`receive_some` drains the oldest items up to its limit and is a checkpoint also when it need not wait."""
    mailbox: Mailbox[int] = Mailbox("reader", 10, rank=0)
    sender = mailbox.sender(1)
    for item in range(5):
        sender.send_nowait(item)
    with assert_checkpoints():
        assert await mailbox.receive_some(3) == [0, 1, 2]
    with assert_checkpoints():
        assert await mailbox.receive() == 3
    assert mailbox.receive_nowait() == 4
    with pytest.raises(trio.WouldBlock):
        mailbox.receive_nowait()


async def test_a_full_mailbox_says_busy_and_counts_it() -> None:
    """What does not fit is refused at once; the statistics tell depth, peak, taken and refused."""
    mailbox: Mailbox[int] = Mailbox("reader", 2, rank=0)
    sender = mailbox.sender(1)
    sender.send_nowait(1)
    sender.send_nowait(2)
    with pytest.raises(Busy, match="reader is full"):
        sender.send_nowait(3)
    with pytest.raises(Busy):
        sender.reserve_nowait()
    assert mailbox.receive_nowait() == 1
    assert mailbox.statistics() == MailboxStatistics("reader", depth=1, capacity=2, peak=2, received=1, refused=2)


async def test_send_waits_for_room_until_its_deadline(autojump_clock: MockClock) -> None:
    """A waiting send goes in when room comes; past the deadline it is Busy, exactly then, and nothing was sent."""
    mailbox: Mailbox[int] = Mailbox("reader", 1, rank=0)
    sender = mailbox.sender(1)
    await sender.send(0, timeout_seconds=0)
    began = autojump_clock.current_time()
    with pytest.raises(Busy):
        await sender.send(1, timeout_seconds=2.5)
    assert autojump_clock.current_time() - began == 2.5

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(sender.send, 2, timeout_seconds=2.5))
        await trio.sleep(1)
        assert await mailbox.receive_some(10) == [0]
        assert await mailbox.receive_some(10) == [2]
    assert autojump_clock.current_time() - began == 3.5


async def test_waiting_senders_are_served_in_order_and_never_overtaken() -> None:
    """Room that comes free belongs to whoever waited longest, even before they run."""
    mailbox: Mailbox[int] = Mailbox("reader", 1, rank=0)
    sender = mailbox.sender(1)
    sender.send_nowait(0)
    async with trio.open_nursery() as nursery:
        for item in (1, 2):
            nursery.start_soon(partial(sender.send, item, timeout_seconds=60))
            await wait_all_tasks_blocked()
        for expected in (0, 1):
            assert mailbox.receive_nowait() == expected
            with pytest.raises(Busy):  # the room just freed is promised, though its owner has not run yet
                sender.send_nowait(99)
            mailbox._check()
            await wait_all_tasks_blocked()
    assert mailbox.receive_nowait() == 2
    sender.send_nowait(3)


async def test_a_reserved_place_counts_against_capacity_until_used_or_given_back() -> None:
    """A place keeps its room: filling it cannot fail, giving it back wakes the next in line, leaving a block too."""
    mailbox: Mailbox[int] = Mailbox("reader", 2, rank=0)
    sender = mailbox.sender(1)
    kept = await sender.reserve()
    returned = sender.reserve_nowait()
    with pytest.raises(Busy):
        sender.send_nowait(9)

    granted: list[Place[int]] = []

    async def wait_for_place() -> None:
        granted.append(await sender.reserve())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_place)
        await wait_all_tasks_blocked()
        assert granted == []
        returned.cancel()
        returned.cancel()  # giving back twice is giving back once
    with pytest.raises(ZeroDivisionError), granted[0]:
        raise ZeroDivisionError
    sender.send_nowait(1)
    kept.send(2)
    kept.cancel()
    with pytest.raises(AssertionError, match="used up"):
        kept.send(3)
    mailbox._check()
    assert await mailbox.receive_some(10) == [1, 2]


async def test_a_cancelled_wait_takes_neither_item_nor_place() -> None:
    """Cancelling a waiting reader or sender leaves the mailbox as it was."""
    mailbox: Mailbox[int] = Mailbox("reader", 1, rank=0)
    sender = mailbox.sender(1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await mailbox.receive_some(1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await sender.send(1, timeout_seconds=math.inf)
    with trio.CancelScope() as scope:
        scope.cancel()
        await sender.reserve()
    assert mailbox.statistics().depth == 0
    sender.send_nowait(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender.reserve)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    mailbox._check()
    assert await mailbox.receive() == 1
    sender.send_nowait(2)


async def test_a_second_reader_is_refused() -> None:
    """One reader at a time: another is told so and disturbs nothing."""
    mailbox: Mailbox[int] = Mailbox("reader", 1, rank=0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.receive)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await mailbox.receive_some(1)
        with pytest.raises(trio.BusyResourceError):
            mailbox.receive_nowait()
        mailbox.sender(1).send_nowait(1)


async def test_an_interrupt_wakes_the_reader_once_nothing_is_left() -> None:
    """Interrupting loses nothing: the reader gets what there is, then [] once, then waits again."""
    mailbox: Mailbox[int] = Mailbox("reader", 5, rank=0)
    sender = mailbox.sender(1)
    sender.send_nowait(1)
    mailbox.interrupt()
    assert await mailbox.receive_some(1) == [1]
    with assert_checkpoints():
        assert await mailbox.receive_some(1) == []

    got: list[list[int]] = []

    async def read() -> None:
        while True:
            got.append(await mailbox.receive_some(1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        assert got == []
        mailbox.interrupt()
        await wait_all_tasks_blocked()
        assert got == [[]]
        nursery.cancel_scope.cancel()
    mailbox.interrupt()
    with pytest.raises(Stopped):
        await mailbox.receive()


async def test_calls_go_only_to_actors_started_earlier() -> None:
    """A sender's rank must be above the reader's: that is how cycles of waiting are ruled out."""
    mailbox: Mailbox[int] = Mailbox("matching", 1, rank=3)
    assert mailbox.name == "matching"
    mailbox.sender(4)
    with pytest.raises(AssertionError, match="starts no later"):
        mailbox.sender(3)
    with pytest.raises(ValueError, match="holds nothing"):
        Mailbox("nothing", 0, rank=0)


@pytest.mark.parametrize("breakage", ["too many", "sleeping sender", "sleeping reader"])
async def test_the_check_notices_each_broken_invariant(breakage: str) -> None:
    """`_check` is only worth something when it can fail."""
    mailbox: Mailbox[int] = Mailbox("reader", 1, rank=0)
    queue = mailbox._queue
    async with trio.open_nursery() as nursery:
        match breakage:
            case "too many":
                queue.items.extend([1, 2])
            case "sleeping sender":
                nursery.start_soon(queue.senders.park)
            case "sleeping reader":
                nursery.start_soon(queue.reader.park)
                queue.items.append(1)
        await wait_all_tasks_blocked()
        with pytest.raises(AssertionError):
            mailbox._check()
        nursery.cancel_scope.cancel()


# -------------------------------------------------------------------------------------- under many of trio's schedules


class _Crash(Exception):  # noqa: N818 - planted, not an error of ours
    """What a reader dies of."""


class _Turmoil:
    """Clients call through a small mailbox whose reader crashes at random and is started again.

    A reader answers for what it took: a crash fails those calls with OutcomeUnknown. What it did not take stays for the
    next reader.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self.mailbox: Mailbox[Call[int, int]] = Mailbox("reader", random.randint(1, 4), rank=0)
        self.sender = self.mailbox.sender(1)
        self.stop = trio.Event()
        self.settlements: dict[int, int] = {}
        self.busy = 0
        self.crashes = 0

    async def run(self) -> None:
        """Six clients make ten calls each; then the reader is stopped."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.keep_reading)
            async with trio.open_nursery() as clients:
                for client in range(6):
                    clients.start_soon(self.call_often, client * 100)
            self.stop.set()
            self.mailbox.interrupt()

    async def keep_reading(self) -> None:
        while True:
            try:
                return await self.read()
            except _Crash:
                self.crashes += 1
                await trio.sleep(self.random.choice([0, 0.002]))

    async def read(self) -> None:
        while (calls := await self.mailbox.receive_some(self.random.randint(1, 3))) or not self.stop.is_set():
            self.mailbox._check()
            try:
                for call in calls:
                    self.maybe_crash()
                    await trio.sleep(self.random.choice([0, 0.001]))
                    call.settle(call.request + 1)
            finally:
                for call in calls:
                    if not call.settled:
                        call.fail(OutcomeUnknown())
            self.maybe_crash()

    def maybe_crash(self) -> None:
        if self.random.random() < 0.1:
            raise _Crash

    async def call_often(self, first: int) -> None:
        for request in range(first, first + 10):
            self.settlements[request] = 0
            call = Call(request, self.on_settled)
            try:
                await self.send(call)
            except Busy as refusal:
                self.busy += 1
                call.fail(refusal)
            with trio.fail_after(60), suppress(Busy, OutcomeUnknown):
                assert await call.wait() == request + 1

    async def send(self, call: Call[int, int]) -> None:
        match self.random.randrange(3):
            case 0:
                self.sender.send_nowait(call)
            case 1:
                await self.sender.send(call, timeout_seconds=0.001)
            case _:
                with await self.sender.reserve() as place:
                    await trio.sleep(self.random.choice([0, 0.001]))
                    place.send(call)

    def on_settled(self, call: Call[int, int]) -> None:
        self.settlements[call.request] += 1


def test_every_call_settles_exactly_once_under_many_schedules() -> None:
    """Readers crash and restart, senders wait, reserve and are refused: each call settles once, nothing is left."""
    twice = Call.settled_twice
    busy = crashes = 0
    for seed in seeds(200, 2000):
        turmoil = _Turmoil(Random(seed))
        run_seeded(seed, turmoil.run)
        assert list(turmoil.settlements.values()) == [1] * 60, seed
        assert turmoil.mailbox.statistics().depth == 0, seed
        turmoil.mailbox._check()
        busy += turmoil.busy
        crashes += turmoil.crashes
    assert Call.settled_twice == twice
    assert busy > 0
    assert crashes > 0


def test_the_same_seed_gives_the_same_run() -> None:
    """A seed that fails can be looked at again: the schedule and its outcome repeat, and differ between seeds."""

    async def trace(random: Random) -> list[int]:
        order: list[int] = []

        async def step(number: int) -> None:
            for _ in range(3):
                await trio.sleep(random.choice([0, 1]))
                order.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(step, number)
        return order

    runs = [run_seeded(seed, trace, Random(1)) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]

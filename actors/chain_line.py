"""The chains' line to the engine: through matching's mailbox like everyone else, so all they see is durable.

Calls are answered in the order in which they were sent, also those whose caller has given up waiting: whoever asks for
a receipt knows the fate of every credit that was sent before.
"""

from collections.abc import Sequence
from typing import Final, TypeVar

from actors.mailbox import Faulted, NotDone, OutcomeUnknown, Sender
from actors.requests import Batch, Done, Outcome, Request
from book.commands import AdoptWithdrawal, AllocateAddress, CreditDeposit, ReleaseWithdrawal, SettleWithdrawal
from book.events import Rejected
from book.queries import (
    Address,
    AddressesSince,
    AddressOf,
    DepositReceipt,
    DepositReceiptView,
    Outbox,
    OutboxView,
    WithdrawalReceipt,
    WithdrawalView,
)

V = TypeVar("V")

ROOM_SECONDS: Final = 10.0
# Of one batch: so many are done without another client's turn between.
MAX_BATCH: Final = 200


class ChainLine:
    """Asks and tells the engine. Whoever calls has the deadline; raises NotDone and OutcomeUnknown."""

    def __init__(self, matching: Sender[Batch]) -> None:
        self._matching = matching

    async def addresses(self, chain: str, index: int) -> list[Address]:
        """Deposit addresses from this index on, not all at once."""
        (answer,) = await self._send([AddressesSince(chain, index)])
        if not isinstance(answer, list):
            raise AssertionError(f"the engine answered {answer!r} for addresses")
        return [_of(Address, each) for each in answer]

    async def allocate(self, asset: str, account: int) -> int:
        """The index of the account's deposit address on this asset's chain, which it gets if it has none."""
        await self._send([AllocateAddress(account, 0, 0, asset)])
        (answer,) = await self._send([AddressOf(account, asset)])
        return _of(Address, answer).index

    async def credit(self, deposits: Sequence[CreditDeposit]) -> list[Done | Rejected | Faulted]:
        """Credit deposits; those that the engine fails on are `Faulted`, and will be for ever."""
        outcomes: list[Done | Rejected | Faulted] = []
        for outcome in await self._send(deposits):
            if not isinstance(outcome, Done | Rejected | Faulted):
                raise AssertionError(f"the engine answered {outcome!r} to a deposit")
            outcomes.append(outcome)
        return outcomes

    async def receipts(self, deposit_ids: Sequence[str]) -> dict[str, DepositReceiptView]:
        """Which of these deposits are credited."""
        answers = await self._send([DepositReceipt(deposit_id) for deposit_id in deposit_ids])
        known = [_of(DepositReceiptView, answer) for answer in answers if not isinstance(answer, Rejected)]
        return {view.deposit_id: view for view in known}

    async def outbox(self, chain: str, after_seq: int) -> OutboxView:
        """Withdrawals that are held for, after this one, not all at once."""
        (answer,) = await self._send([Outbox(chain, after_seq)])
        return _of(OutboxView, answer)

    async def withdrawal(self, withdrawal_id: str) -> WithdrawalView | None:
        """A withdrawal as the engine knows it; None if it does not."""
        (answer,) = await self._send([WithdrawalReceipt(withdrawal_id)])
        return None if isinstance(answer, Rejected) else _of(WithdrawalView, answer)

    async def tell(self, command: AdoptWithdrawal | SettleWithdrawal | ReleaseWithdrawal) -> Done | Rejected:
        """Let a command about a withdrawal take effect; a refusal is for the caller to understand."""
        (answer,) = await self._send([command])
        if not isinstance(answer, Done | Rejected):
            raise AssertionError(f"the engine answered {answer!r} to {command!r}")
        return answer

    async def _send(self, requests: Sequence[Request]) -> list[Outcome]:
        """The outcomes in order; raised where one did not happen or is not known, for all may be asked again."""
        outcomes: list[Outcome] = []
        for begin in range(0, len(requests), MAX_BATCH):
            batch = Batch(list(requests[begin : begin + MAX_BATCH]))
            await self._matching.send(batch, timeout_seconds=ROOM_SECONDS)
            outcomes += await batch.wait()
        for outcome in outcomes:
            if isinstance(outcome, NotDone | OutcomeUnknown) and not isinstance(outcome, Faulted):
                raise outcome
        return outcomes


def _of(kind: type[V], answer: object) -> V:
    if not isinstance(answer, kind):
        raise AssertionError(f"the engine answered {answer!r} where {kind.__name__} was asked for")
    return answer

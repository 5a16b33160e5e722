"""What operators and the configuration decide: definitions, settings, and money that comes from outside.

Each function judges in full before it changes anything, and answers with the event, or with why not.
"""

from typing import Final

from book import codes
from book.commands import Command, CreditDeposit
from book.events import Credited, Event, Rejected
from book.state import State


def carry_out(state: State, command: Command, seq: int) -> Event | Rejected:
    """Let one of these commands take effect, or say why not."""
    if type(command) is CreditDeposit:
        return _credit(state, command, seq)
    raise NotImplementedError


def _credit(state: State, command: CreditDeposit, seq: int) -> Event | Rejected:
    """Credit a deposit, once for ever."""
    refused = state.deposits.refusal(command)
    if refused is not None:
        return refused
    account, asset, amount = command.account, command.asset, command.amount
    if account not in state.accounts:
        return Rejected(_REFUSED, "UNKNOWN_ACCOUNT", "account", account)
    if asset not in state.registry.assets:
        return Rejected(_REFUSED, "UNKNOWN_ASSET", "asset")
    if amount <= 0:
        return Rejected(_REFUSED, "OUT_OF_RANGE", "amount", amount, 1)
    if amount > state.ledger.room(asset):
        return Rejected(_REFUSED, "OVERFLOW", "amount", amount, state.ledger.room(asset))
    state.ledger.credit(account, asset, amount)
    credited = Credited(command.deposit_id, account, asset, amount, seq)
    state.deposits.add(credited)
    return credited


_REFUSED: Final = codes.DEFINITION_REJECTED

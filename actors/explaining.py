"""Why the engine refuses what operators and the configuration ask for, in a sentence that says what would be right."""

from operator import attrgetter
from typing import Final

from book.commands import (
    AdjustBalance,
    AdoptWithdrawal,
    ClearMarket,
    Command,
    CreditDeposit,
    DefineAccount,
    DefineAsset,
    DefineKey,
    DefineMarket,
    FreezeAccount,
    FreezeAsset,
    ReleaseWithdrawal,
    RevokeKey,
    SetAccountTier,
    SetFeeTier,
    SetMarketState,
    SettleWithdrawal,
)
from book.events import Rejected

# What a command is about: the word, and where the command has its name.
_SUBJECTS: Final[dict[type, tuple[str, str]]] = {
    DefineAsset: ("asset", "asset.name"),
    FreezeAsset: ("asset", "asset"),
    DefineMarket: ("market", "market.symbol"),
    SetMarketState: ("market", "symbol"),
    SetFeeTier: ("market", "symbol"),
    ClearMarket: ("market", "symbol"),
    DefineAccount: ("account", "account.name"),
    FreezeAccount: ("account", "account"),
    SetAccountTier: ("account", "account"),
    DefineKey: ("key", "key.name"),
    RevokeKey: ("key", "key"),
    CreditDeposit: ("credit", "deposit_id"),
    AdjustBalance: ("adjustment", "adjustment_id"),
    SettleWithdrawal: ("settlement of withdrawal", "withdrawal_id"),
    ReleaseWithdrawal: ("release of withdrawal", "withdrawal_id"),
    AdoptWithdrawal: ("adoption of withdrawal", "withdrawal_id"),
}
_MEANINGS: Final = {
    "ADJUSTMENT_DIFFERS": "other values have this id, by number {ref} of the log",
    "ALREADY_DEFINED": "it is there, exactly so",
    "ASSET_FROZEN": "the asset is frozen",
    "BAD_NAME": "it is not written as docs/configuration.md says",
    "DEFINITION_DIFFERS": "what is defined stays as it is",
    "DEPOSIT_DIFFERS": "other values have this id, by number {ref} of the log",
    "DUPLICATE_ADJUSTMENT": "it was made by number {ref} of the log",
    "NAME_TAKEN": "another one has this name",
    "SAME_ASSET": "an asset has no market with itself",
    "SETTLEMENT_DIFFERS": "another transaction paid it, by number {ref} of the log",
    "TICK_VALUE_NOT_WHOLE": "a lot at a tick must cost a whole number of the quote asset's smallest units",
    "UNCHANGED": "it is so already",
    "UNKNOWN_ACCOUNT": "there is no such account",
    "UNKNOWN_ASSET": "there is no such asset",
    "UNKNOWN_KEY": "there is no such key",
    "UNKNOWN_SYMBOL": "there is no such market",
    "WITHDRAWAL_DIFFERS": "other values have this id, by number {ref} of the log",
    "WITHDRAWAL_RELEASED": "its money was given back by number {ref} of the log",
    "WITHDRAWAL_SETTLED": "it was paid by number {ref} of the log",
}
_UNITS: Final = {
    "amount": "of the asset's smallest units",
    "band": "parts per million",
    "collar": "parts per million",
    "halt_ms": "ms",
    "maker_fee": "parts per million",
    "max_quantity": "lots",
    "min_notional": "of the quote asset's smallest units",
    "min_quantity": "lots",
    "reference_price": "ticks",
    "taker_fee": "parts per million",
}


def why_refused(command: Command, rejected: Rejected) -> str:
    """One line: what is refused, why, and by which field, value and limit where it is a matter of these."""
    why = f"{_subject(command)} is refused: {rejected.reason}"
    if rejected.field:
        why += f" of {rejected.field}"
    if rejected.reason == "DEFINITION_DIFFERS":
        if rejected.value != rejected.limit:
            why += f": {rejected.value} here, {rejected.limit} in the log"
    elif rejected.limit:
        unit = _UNITS.get(rejected.field)
        why += f": {rejected.value}, and the limit is {rejected.limit}" + (f" {unit}" if unit else "")
    elif rejected.value and rejected.reason != "UNCHANGED":
        why += f": {rejected.value}"
    meaning = _MEANINGS.get(rejected.reason)
    return f"{why}; {meaning.format(ref=rejected.ref)}" if meaning else why


def _subject(command: Command) -> str:
    word, name = _SUBJECTS.get(type(command), ("", ""))
    return f"{word} {attrgetter(name)(command)}" if word else type(command).__name__

"""Refusals in words."""

import pytest

from actors.explaining import why_refused
from book import codes
from book.commands import (
    ClearMarket,
    Command,
    CreditDeposit,
    DefineAccount,
    DefineAsset,
    FreezeAccount,
    FreezeAsset,
    RevokeKey,
    SetFeeTier,
    SetMarketState,
    Tick,
)
from book.definitions import Account, Asset
from book.events import Rejected
from book.terms import HALT


@pytest.mark.parametrize(
    ("command", "rejected", "words"),
    [
        (
            SetFeeTier("X-Y", 1, 0, 2_000_000),
            ("OUT_OF_RANGE", "taker_fee", 2_000_000, 1_000_000),
            "market X-Y is refused: OUT_OF_RANGE of taker_fee: 2000000, and the limit is 1000000 parts per million",
        ),
        (
            DefineAsset(Asset("LTC", 10)),
            ("OUT_OF_RANGE", "scale", 10, 9),
            "asset LTC is refused: OUT_OF_RANGE of scale: 10, and the limit is 9",
        ),
        (
            FreezeAccount(7, frozen=True),
            ("UNCHANGED", "frozen"),
            "account 7 is refused: UNCHANGED of frozen; it is so already",
        ),
        (
            SetMarketState("X-Y", HALT),
            ("UNCHANGED", "state", HALT),
            "market X-Y is refused: UNCHANGED of state; it is so already",
        ),
        (
            DefineAccount(Account(7, "carol")),
            ("DEFINITION_DIFFERS", "name"),
            "account carol is refused: DEFINITION_DIFFERS of name; what is defined stays as it is",
        ),
        (
            DefineAsset(Asset("LTC", 7)),
            ("DEFINITION_DIFFERS", "scale", 7, 8),
            "asset LTC is refused: DEFINITION_DIFFERS of scale: 7 here, 8 in the log; what is defined stays as it is",
        ),
        (
            CreditDeposit("x", 1, "BTC", 5),
            ("DEPOSIT_DIFFERS", "deposit_id", 0, 0, 9),
            "credit x is refused: DEPOSIT_DIFFERS of deposit_id; other values have this id, by number 9 of the log",
        ),
        (
            ClearMarket("X-Y"),
            ("UNKNOWN_SYMBOL", "symbol"),
            "market X-Y is refused: UNKNOWN_SYMBOL of symbol; there is no such market",
        ),
        (
            RevokeKey(7),
            ("UNKNOWN_KEY", "key", 7),
            "key 7 is refused: UNKNOWN_KEY of key: 7; there is no such key",
        ),
        (FreezeAsset("LTC", frozen=False), ("NEW_REASON",), "asset LTC is refused: NEW_REASON"),
        (Tick(), ("NEW_REASON",), "Tick is refused: NEW_REASON"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_refusal_in_words(command: Command, rejected: tuple[str | int, ...], words: str) -> None:
    """What, why, and which field, value and limit, where it is a matter of these."""
    reason, field, value, limit, ref = [*rejected, *("", 0, 0, 0)[len(rejected) - 1 :]]
    assert isinstance(reason, str)
    assert isinstance(field, str)
    refused = Rejected(codes.DEFINITION_REJECTED, reason, field, int(value), int(limit), int(ref))
    assert why_refused(command, refused) == words

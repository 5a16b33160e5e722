"""What operators set and give in the reference engine, and what they are told where they may not.

Comments that begin with > are sentences of the design, the lines below follow them.
"""

from collections.abc import Iterator
from typing import Final, TypeVar

from book import codes, terms
from book.commands import (
    AdjustBalance,
    ClearMarket,
    CreditDeposit,
    FreezeAccount,
    FreezeAsset,
    RevokeKey,
    SetAccountTier,
    SetEngineVersion,
    SetFeeTier,
    SetMarketState,
    Setting,
)
from book.definitions import Market
from book.events import (
    AccountFrozen,
    AccountTierSet,
    Adjusted,
    AssetFrozen,
    Credited,
    EngineVersionSet,
    Event,
    FeeTierSet,
    KeyRevoked,
    Rejected,
)
from book.reference_definitions import ACCOUNT_NAME, demand_name, demand_range
from book.reference_rules import Refusal, demand
from book.reference_state import State
from book.reference_timers import end, set_market_state
from book.terms import CANCELED, MAX_INT, PPM

REFUSED: Final = codes.DEFINITION_REJECTED
NEWEST_VERSION: Final = 1
Thing = TypeVar("Thing")


def carry_out(  # noqa: PLR0911 -- one for each
    state: State, command: Setting, seq: int, time_ns: int
) -> Iterator[Event]:
    """What comes of the command."""
    if isinstance(command, SetEngineVersion):
        return _set_version(state, command)
    if isinstance(command, SetMarketState):
        return _set_state(state, command, time_ns)
    if isinstance(command, SetFeeTier):
        return _set_fee_tier(state, command)
    if isinstance(command, SetAccountTier):
        return _set_account_tier(state, command)
    if isinstance(command, RevokeKey):
        return _revoke(state, command)
    if isinstance(command, FreezeAccount):
        return _freeze_account(state, command)
    if isinstance(command, FreezeAsset):
        return _freeze_asset(state, command)
    if isinstance(command, ClearMarket):
        return _clear(state, command, time_ns)
    return _adjust(state, command, seq)


def _set_version(state: State, command: SetEngineVersion) -> Iterator[Event]:
    # > a binary replays every version it lists and refuses others
    demand(command.version == NEWEST_VERSION, REFUSED, "OUT_OF_RANGE", "version", command.version, NEWEST_VERSION)
    newer = command.version > state.engine_version
    demand(newer, REFUSED, "UNCHANGED", "version", command.version, state.engine_version)
    state.engine_version = command.version
    yield EngineVersionSet(command.version)


def _set_state(state: State, command: SetMarketState, time_ns: int) -> Iterator[Event]:
    market = _market(state, command.symbol)
    demand_range("state", command.state, terms.TRADING, terms.HALT)
    before = state.market_state(market)
    _demand_change(command.state != before.state or before.until_ns != 0, "state", command.state)
    yield from set_market_state(state, market, command.state, time_ns)


def _set_fee_tier(state: State, command: SetFeeTier) -> Iterator[Event]:
    _market(state, command.symbol)
    demand_range("tier", command.tier, 1, 100)
    # > Maker rebates (negative) up to the taker fee.
    demand_range("taker_fee", command.taker_fee, 0, PPM)
    demand_range("maker_fee", command.maker_fee, -command.taker_fee, PPM)
    which, rates = (command.symbol, command.tier), (command.maker_fee, command.taker_fee)
    _demand_change(state.fee_tiers.get(which) != rates, "tier", command.tier)
    state.fee_tiers[which] = rates
    yield FeeTierSet(command.symbol, command.tier, *rates)


def _set_account_tier(state: State, command: SetAccountTier) -> Iterator[Event]:
    _demand_account(state, command.account)
    demand_range("tier", command.tier, 0, 100)
    _demand_change(command.tier != state.account_tiers.get(command.account, 0), "tier", command.tier)
    state.account_tiers[command.account] = command.tier
    yield AccountTierSet(command.account, command.tier)


def _revoke(state: State, command: RevokeKey) -> Iterator[Event]:
    known = command.key in [key.key for key in state.keys]
    demand(known, REFUSED, "UNKNOWN_KEY", "key", command.key)
    # > A revoked key acts no more, at once and for good
    _demand_change(command.key not in state.revoked_keys, "key", command.key)
    state.revoked_keys.append(command.key)
    yield KeyRevoked(command.key)


def _freeze_account(state: State, command: FreezeAccount) -> Iterator[Event]:
    _demand_account(state, command.account)
    _switch(state.frozen_accounts, command.account, command.frozen)
    yield AccountFrozen(command.account, command.frozen)


def _freeze_asset(state: State, command: FreezeAsset) -> Iterator[Event]:
    _demand_asset(state, command.asset)
    _switch(state.frozen_assets, command.asset, command.frozen)
    yield AssetFrozen(command.asset, command.frozen)


def _switch(frozen: list[Thing], thing: Thing, on: bool) -> None:
    _demand_change((thing in frozen) != on, "frozen", int(on))
    if on:
        frozen.append(thing)
    else:
        frozen.remove(thing)


def _clear(state: State, command: ClearMarket, time_ns: int) -> Iterator[Event]:
    market = _market(state, command.symbol)
    yield from end([order for order in state.open if order.market is market], CANCELED, state, time_ns)


# --- Money ------------------------------------------------------------------------------------------------------------


def credit(state: State, command: CreditDeposit, seq: int) -> Iterator[Event]:
    """Give an account what arrived for it."""
    demand_name("deposit_id", command.deposit_id, "[!-~]{1,200}")
    deposit = Credited(command.deposit_id, command.account, command.asset, command.amount, seq)
    # > deposits by `deposit_id` (same id with other content: refused and alarmed), for ever
    # > A repeat gets the stored receipt; never a second effect
    for first in state.deposits:
        if first.deposit_id == deposit.deposit_id:
            same = (first.account, first.asset, first.amount) == (deposit.account, deposit.asset, deposit.amount)
            reason = "DUPLICATE_DEPOSIT" if same else "DEPOSIT_DIFFERS"
            raise Refusal(Rejected(REFUSED, reason, "deposit_id", ref=first.receipt))
    _demand_account(state, deposit.account)
    _demand_asset(state, deposit.asset)
    # > A frozen asset cannot be credited.
    demand(deposit.asset not in state.frozen_assets, REFUSED, "ASSET_FROZEN", "asset")
    demand(deposit.amount >= 1, REFUSED, "OUT_OF_RANGE", "amount", deposit.amount, 1)
    _demand_room(state, deposit.asset, deposit.amount)
    state.deposits.append(deposit)
    state.give(deposit.account, deposit.asset, deposit.amount)
    yield deposit


def _adjust(state: State, command: AdjustBalance, seq: int) -> Iterator[Event]:
    account, asset, amount = command.account, command.asset, command.amount
    demand_name("adjustment_id", command.adjustment_id, "[!-~]{1,200}")
    _demand_first(state, command)
    _demand_account(state, account)
    _demand_asset(state, asset)
    demand(amount != 0, REFUSED, "OUT_OF_RANGE", "amount", 0, 1)
    demand_range("amount", amount, -MAX_INT, MAX_INT)
    # > by two operators and for a reason
    demand_name("reason", command.reason, "[ -~]{1,200}")
    demand_name("operator", command.operator, ACCOUNT_NAME)
    demand_name("second_operator", command.second_operator, ACCOUNT_NAME)
    demand(command.operator != command.second_operator, REFUSED, "SAME_OPERATOR", "second_operator")
    _demand_room(state, asset, amount)
    # > What is not available cannot be taken: it becomes a receivable of the house.
    available = state.available(account, asset)
    most = available + MAX_INT - state.receivable(account, asset)
    demand(amount >= -most, REFUSED, "OVERFLOW", "amount", amount, -most)
    moved = max(amount, -available)
    adjusted = Adjusted(
        adjustment_id=command.adjustment_id,
        account=account,
        asset=asset,
        amount=moved,
        short=moved - amount,
        reason=command.reason,
        operator=command.operator,
        second_operator=command.second_operator,
        receipt=seq,
    )
    state.adjustments.append(adjusted)
    state.give(account, asset, moved)
    yield adjusted


def _demand_first(state: State, command: AdjustBalance) -> None:
    # > The same adjustment id counts once.
    for first in state.adjustments:
        if first.adjustment_id == command.adjustment_id:
            asked = AdjustBalance(
                first.adjustment_id,
                first.account,
                first.asset,
                first.amount - first.short,
                first.reason,
                first.operator,
                first.second_operator,
            )
            reason = "DUPLICATE_ADJUSTMENT" if asked == command else "ADJUSTMENT_DIFFERS"
            raise Refusal(Rejected(REFUSED, reason, "adjustment_id", ref=first.receipt))


def _demand_room(state: State, asset: str, amount: int) -> None:
    # > All stored values fit a signed 64-bit integer
    room = MAX_INT - state.totals()[asset]
    demand(amount <= room, REFUSED, "OVERFLOW", "amount", amount, room)


# --- What there must be -----------------------------------------------------------------------------------------------


def _market(state: State, symbol: str) -> Market:
    known = symbol in [market.symbol for market in state.markets]
    demand(known, REFUSED, "UNKNOWN_SYMBOL", "symbol")
    return state.market(symbol)


def _demand_account(state: State, account: int) -> None:
    demand(account in state.account_ids(), REFUSED, "UNKNOWN_ACCOUNT", "account", account)


def _demand_asset(state: State, asset: str) -> None:
    demand(asset in state.asset_names(), REFUSED, "UNKNOWN_ASSET", "asset")


def _demand_change(changes: bool, field: str, value: int) -> None:
    demand(changes, REFUSED, "UNCHANGED", field, value)

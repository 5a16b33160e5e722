"""What operators decide: settings of accounts, keys, assets and fees, and money that comes in or is set right.

Each function judges in full before it changes anything, and answers with the event, or with why not.
"""

import re
from typing import Final

from book.commands import (
    AdjustBalance,
    Command,
    CreditDeposit,
    FreezeAccount,
    FreezeAsset,
    RevokeKey,
    SetAccountTier,
    SetEngineVersion,
    SetFeeTier,
)
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
from book.refusals import bad_name, declined, outside
from book.registry import NAME, bad_fees
from book.state import State
from book.terms import MAX_INT
from book.versions import VERSIONS

MAX_TIER: Final = 100

REASON: Final = re.compile(r"[ -~]{1,200}")  # what is said of a decision


def carry_out(state: State, command: Command, seq: int) -> Event | Rejected:  # noqa: PLR0911 -- one for each command
    """Let one of these commands take effect, or say why not."""
    if type(command) is CreditDeposit:
        return _credit(state, command, seq)
    if type(command) is AdjustBalance:
        return _adjust(state, command, seq)
    if type(command) is SetFeeTier:
        return _set_fee_tier(state, command)
    if type(command) is SetAccountTier:
        return _set_account_tier(state, command)
    if type(command) is FreezeAccount:
        return _freeze_account(state, command)
    if type(command) is FreezeAsset:
        return _freeze_asset(state, command)
    if type(command) is RevokeKey:
        return _revoke_key(state, command)
    if type(command) is SetEngineVersion:
        return _set_engine_version(state, command)
    raise AssertionError(f"{type(command).__name__} is for somebody else to carry out")


def _credit(state: State, command: CreditDeposit, seq: int) -> Event | Rejected:
    """Credit a deposit, once for ever."""
    account, asset, amount = command.account, command.asset, command.amount
    refused = state.deposits.refusal(command) or _unknown_account(state, account) or _unknown_asset(state, asset)
    if refused is not None:
        return refused
    if asset in state.registry.frozen_assets:
        return declined("ASSET_FROZEN", "asset")
    if amount <= 0:
        return declined("OUT_OF_RANGE", "amount", amount, 1)
    room = state.ledger.room(asset)
    if amount > room:
        return declined("OVERFLOW", "amount", amount, room)
    state.ledger.credit(account, asset, amount)
    credited = Credited(command.deposit_id, account, asset, amount, seq)
    state.deposits.add(credited)
    return credited


def _adjust(state: State, command: AdjustBalance, seq: int) -> Event | Rejected:
    """Give to an account; or take from it what is available, and let it owe the rest."""
    refused = _bad_adjustment(state, command)
    if refused is not None:
        return refused
    account, asset, amount = command.account, command.asset, command.amount
    short = 0
    if amount > 0:
        room = state.ledger.room(asset)
        if amount > room:
            return declined("OVERFLOW", "amount", amount, room)
        state.ledger.credit(account, asset, amount)
    else:
        available = state.ledger.balance(account, asset).available
        short = max(0, -amount - available)
        room = MAX_INT - state.adjustments.owed(account, asset)
        if short > room:
            return declined("OVERFLOW", "amount", amount, -available - room)
        amount += short
        state.ledger.take(account, asset, -amount)
    adjusted = Adjusted(
        command.adjustment_id,
        account,
        asset,
        amount,
        short,
        command.reason,
        command.operator,
        command.second_operator,
        seq,
    )
    state.adjustments.add(adjusted)
    return adjusted


def _bad_adjustment(state: State, command: AdjustBalance) -> Rejected | None:
    refused = (
        state.adjustments.refusal(command)
        or _unknown_account(state, command.account)
        or _unknown_asset(state, command.asset)
        or outside("amount", command.amount, -MAX_INT, MAX_INT)
    )
    if refused is not None:
        return refused
    if command.amount == 0:
        return declined("OUT_OF_RANGE", "amount", 0, 1)
    refused = (
        bad_name("reason", command.reason, REASON)
        or bad_name("operator", command.operator, NAME)
        or bad_name("second_operator", command.second_operator, NAME)
    )
    if refused is None and command.operator == command.second_operator:
        return declined("SAME_OPERATOR", "second_operator")
    return refused


def _set_fee_tier(state: State, command: SetFeeTier) -> Event | Rejected:
    """Say what a market charges accounts of a tier, for the orders they place from now on."""
    market = state.markets.get(command.symbol)
    if market is None:
        return declined("UNKNOWN_SYMBOL", "symbol")
    refused = outside("tier", command.tier, 1, MAX_TIER) or bad_fees(command.maker_fee, command.taker_fee)
    if refused is not None:
        return refused
    rates = (command.maker_fee, command.taker_fee)
    if market.fee_tiers.get(command.tier) == rates:
        return declined("UNCHANGED", "tier", command.tier)
    market.set_fee_tier(command.tier, rates)
    return FeeTierSet(command.symbol, command.tier, command.maker_fee, command.taker_fee)


def _set_account_tier(state: State, command: SetAccountTier) -> Event | Rejected:
    """Put an account into a tier, in all markets, for the orders it places from now on."""
    refused = _unknown_account(state, command.account) or outside("tier", command.tier, 0, MAX_TIER)
    if refused is not None:
        return refused
    account = state.accounts[command.account]
    if account.tier == command.tier:
        return declined("UNCHANGED", "tier", command.tier)
    account.tier = command.tier
    for market in state.markets.values():
        market.reprice(account)
    return AccountTierSet(command.account, command.tier)


def _freeze_account(state: State, command: FreezeAccount) -> Event | Rejected:
    refused = _unknown_account(state, command.account)
    if refused is not None:
        return refused
    account = state.accounts[command.account]
    if account.frozen == command.frozen:
        return declined("UNCHANGED", "frozen", int(command.frozen))
    account.frozen = command.frozen
    return AccountFrozen(command.account, command.frozen)


def _freeze_asset(state: State, command: FreezeAsset) -> Event | Rejected:
    refused = _unknown_asset(state, command.asset)
    if refused is not None:
        return refused
    frozen = state.registry.frozen_assets
    if (command.asset in frozen) == command.frozen:
        return declined("UNCHANGED", "frozen", int(command.frozen))
    if command.frozen:
        frozen[command.asset] = None
    else:
        del frozen[command.asset]
    return AssetFrozen(command.asset, command.frozen)


def _revoke_key(state: State, command: RevokeKey) -> Event | Rejected:
    if command.key not in state.registry.keys:
        return declined("UNKNOWN_KEY", "key", command.key)
    revoked = state.registry.revoked_keys
    if command.key in revoked:
        return declined("UNCHANGED", "key", command.key)
    revoked[command.key] = None
    return KeyRevoked(command.key)


def _set_engine_version(state: State, command: SetEngineVersion) -> Event | Rejected:
    """Go on as a later version of the engine; there is no way back, for the log has been written so."""
    if command.version not in VERSIONS:
        return declined("OUT_OF_RANGE", "version", command.version, VERSIONS[-1])
    if command.version <= state.engine_version:
        return declined("UNCHANGED", "version", command.version, state.engine_version)
    state.engine_version = command.version
    return EngineVersionSet(command.version)


def _unknown_account(state: State, account: int) -> Rejected | None:
    return None if account in state.accounts else declined("UNKNOWN_ACCOUNT", "account", account)


def _unknown_asset(state: State, asset: str) -> Rejected | None:
    return None if asset in state.registry.assets else declined("UNKNOWN_ASSET", "asset")

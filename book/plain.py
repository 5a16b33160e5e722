"""Are a message's fields of the types they say? Structs do not check what their constructor is given.

Nothing of another type may get in, not even a bool for an int or a subclass of int: it would be stored, dumped and
compared as itself, and the compiled engine would treat it otherwise than the interpreted one.
"""

from typing import Final

from msgspec import Struct
from msgspec.structs import astuple, fields

from book.commands import (
    AdjustBalance,
    AdoptWithdrawal,
    AllocateAddress,
    AmendOrder,
    ArmSession,
    BeginEpoch,
    CancelAll,
    CancelAllAfter,
    CancelOrder,
    ClearMarket,
    CreditDeposit,
    DefineAccount,
    DefineAsset,
    DefineKey,
    DefineMarket,
    FreezeAccount,
    FreezeAsset,
    LoseAllSessions,
    LoseSession,
    PauseWithdrawals,
    PlaceOrder,
    ReleaseWithdrawal,
    ReplaceOrder,
    RequestWithdrawal,
    RevokeKey,
    SetAccountTier,
    SetEngineVersion,
    SetFeeTier,
    SetMarketState,
    SettleWithdrawal,
    Tick,
)
from book.definitions import Account, Asset, Key, Market
from book.queries import (
    AccountDetails,
    AccountOrders,
    AccountTrades,
    AccountWithdrawals,
    AddressesSince,
    AddressOf,
    Balances,
    Candles,
    Commission,
    DepositReceipt,
    Depth,
    Directory,
    Info,
    JudgeOrder,
    Logon,
    OpenOrders,
    OrderStatus,
    Outbox,
    PendingWithdrawals,
    RecentTrades,
    Ticker,
    WholeBook,
    WithdrawalReceipt,
    WithdrawalStatus,
)

_astuple: Final = astuple  # as in book.orders


def _types(struct: type[Struct]) -> list[type]:
    return [field.type for field in fields(struct)]


_INNER: Final[dict[type, list[type]]] = {struct: _types(struct) for struct in (Asset, Market, Account, Key, PlaceOrder)}
_COMMANDS: Final[dict[type, list[type]]] = {
    struct: _types(struct)
    for struct in (
        *(PlaceOrder, CancelOrder, CancelAll, AmendOrder, ReplaceOrder, Tick, CreditDeposit),
        *(CancelAllAfter, ArmSession, LoseSession, LoseAllSessions, AdjustBalance),
        *(DefineAsset, DefineMarket, DefineAccount, DefineKey),
        *(SetEngineVersion, SetMarketState, SetFeeTier, SetAccountTier),
        *(RevokeKey, FreezeAccount, FreezeAsset, ClearMarket),
        *(AllocateAddress, RequestWithdrawal, SettleWithdrawal, ReleaseWithdrawal, AdoptWithdrawal),
        *(PauseWithdrawals, BeginEpoch),
    )
}
_QUERIES: Final[dict[type, list[type]]] = {
    struct: _types(struct)
    for struct in (
        *(OrderStatus, OpenOrders, Balances, Depth, Logon, Directory, Info, JudgeOrder),
        *(AccountTrades, AccountOrders, AccountDetails, Commission, RecentTrades, Ticker, Candles, WholeBook),
        *(AddressOf, AddressesSince, DepositReceipt, Outbox, AccountWithdrawals, PendingWithdrawals),
        *(WithdrawalStatus, WithdrawalReceipt),
    )
}


def check_command(command: Struct) -> None:
    """Raises TypeError unless this is a command whose every field is of its own type."""
    _check(command, _COMMANDS)


PlaceFields = tuple[int, int, int, str, int, int, int, int, int, int, bool, str, int, int, int, int, int, int]
AmendFields = tuple[int, int, int, str, int, str, int, int, int, int]
CancelFields = tuple[int, int, int, str, int, str, int, int]


def place_fields(command: PlaceOrder) -> PlaceFields:
    """The fields in their order: `check_command` by hand, for the command that comes most. Raises TypeError."""
    fields = _astuple(command)
    (
        account,
        key,
        session,
        symbol,
        side,
        kind,
        tif,
        quantity,
        price,
        amount,
        post_only,
        name,
        mode,
        sent,
        window,
        stop_price,
        expire_time,
        display_quantity,
    ) = fields
    if not (
        int is type(account) is type(key) is type(session) is type(side) is type(kind) is type(tif) is type(quantity)
        and int is type(price) is type(amount) is type(mode) is type(sent) is type(window)
        and int is type(stop_price) is type(expire_time) is type(display_quantity)
        and str is type(symbol) is type(name)
        and type(post_only) is bool
    ):
        check_command(command)
    return fields


def cancel_fields(command: CancelOrder) -> CancelFields:
    """The fields in their order: `check_command` by hand, as above. Raises TypeError."""
    fields = _astuple(command)
    account, key, session, symbol, order_id, name, timestamp, recv_window = fields
    if not (
        int is type(account) is type(key) is type(session) is type(order_id) is type(timestamp) is type(recv_window)
        and str is type(symbol) is type(name)
    ):
        check_command(command)
    return fields


def amend_fields(command: AmendOrder) -> AmendFields:
    """The fields in their order: `check_command` by hand, as above. Raises TypeError."""
    fields = _astuple(command)
    account, key, session, symbol, order_id, name, new_quantity, new_price, timestamp, recv_window = fields
    if not (
        int is type(account) is type(key) is type(session) is type(order_id) is type(new_quantity) is type(new_price)
        and int is type(timestamp) is type(recv_window)
        and str is type(symbol) is type(name)
    ):
        check_command(command)
    return fields


def check_query(query: Struct) -> None:
    """Raises TypeError unless this is a query whose every field is of its own type."""
    _check(query, _QUERIES)


def _check(message: Struct, known: dict[type, list[type]]) -> None:
    expected = known.get(type(message))
    if expected is None:
        raise TypeError(f"{type(message).__name__} is not one of {', '.join(kind.__name__ for kind in known)}")
    values = astuple(message)
    if [*map(type, values)] != expected:
        for field, value, kind in zip(message.__struct_fields__, values, expected, strict=True):
            if type(value) is not kind:
                raise TypeError(f"{field} is of type {type(value).__name__}, not {kind.__name__}")
    for value, kind in zip(values, expected, strict=True):
        if kind in _INNER:
            _check(value, _INNER)

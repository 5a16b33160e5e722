"""What can change the engine: one frozen struct per command, exactly as it is kept in the request log.

A command is canonical: it carries no client's bytes, only plain `int`, `str` and `bool` values (and the definitions,
which are structs of these). Who asks stands in front of every trading command: the account that owns the effect, the
key that signed (0: none, an operator or the exchange itself) and the session it came by (0: none).

Each struct is encoded as a msgpack array [tag, field, ...]. Tags and field order are part of the log's format: append
fields with a default, never move or reuse one. (msgspec drops class keywords in compiled modules, so this module stays
uncompiled.)
"""

from typing import final

from msgspec import Struct

from book.definitions import Account, Asset, Key, Market


class _Command(Struct, frozen=True, gc=False, array_like=True, tag_field="kind"):
    pass


@final
class PlaceOrder(_Command, frozen=True, tag=1):
    """Enter an order. Quantities in lots, prices in ticks, amounts in quote engine units; 0 means 'not given'."""

    account: int
    key: int
    session: int
    symbol: str
    side: int
    type: int
    time_in_force: int
    quantity: int  # lots; 0 when quote_quantity is given
    price: int  # ticks; 0 for MARKET
    quote_quantity: int = 0  # MARKET only: the most that is spent, fee included
    post_only: bool = False
    client_order_id: str = ""  # made by the engine when empty
    self_trade: int = 0  # terms.MARKET_DEFAULT
    timestamp: int = 0  # ms since 1970 by the client's clock; 0: not given
    recv_window: int = 5000  # ms
    stop_price: int = 0  # ticks; for the types that wait for one
    expire_time: int = 0  # ms since 1970; for GTD
    display_quantity: int = 0  # lots; of an iceberg


@final
class CancelOrder(_Command, frozen=True, tag=2):
    """Cancel one order, by either id (order_id 0: by client_order_id)."""

    account: int
    key: int
    session: int
    symbol: str
    order_id: int = 0
    client_order_id: str = ""
    timestamp: int = 0
    recv_window: int = 5000


@final
class CancelAll(_Command, frozen=True, tag=3):
    """Cancel the account's open orders, in one market or (symbol empty) in all."""

    account: int
    key: int
    session: int
    symbol: str = ""
    timestamp: int = 0
    recv_window: int = 5000


@final
class AmendOrder(_Command, frozen=True, tag=4):
    """Change what one open order wants, by either id (order_id 0: by client_order_id); 0 leaves a number as it is.

    A smaller quantity keeps the order's place in the queue; a larger one, or another price, enters it anew.
    """

    account: int
    key: int
    session: int
    symbol: str
    order_id: int = 0
    client_order_id: str = ""
    new_quantity: int = 0  # lots: the new total, with what was executed
    new_price: int = 0  # ticks
    timestamp: int = 0
    recv_window: int = 5000


@final
class ReplaceOrder(_Command, frozen=True, tag=5):
    """Cancel one open order, by either id (order_id 0: by client_order_id), and place another; or neither.

    The order is of the account and in the market of the new one, which also says who asks and when.
    """

    order_id: int
    client_order_id: str
    order: PlaceOrder


@final
class CancelAllAfter(_Command, frozen=True, tag=6):
    """Cancel all the account's open orders unless this comes again in time; 0 disarms it."""

    account: int
    key: int
    session: int
    timeout_ms: int
    timestamp: int = 0
    recv_window: int = 5000


@final
class ArmSession(_Command, frozen=True, tag=7):
    """From now on, when this session is lost, the orders that it placed are cancelled."""

    account: int
    key: int
    session: int
    timestamp: int = 0
    recv_window: int = 5000


@final
class LoseSession(_Command, frozen=True, tag=8):
    """An armed session is gone."""

    session: int


@final
class LoseAllSessions(_Command, frozen=True, tag=9):
    """All sessions are gone: those of the process before."""


@final
class Tick(_Command, frozen=True, tag=16):
    """Time passes: whatever is due by now falls due. The first command after every start."""


@final
class DefineAsset(_Command, frozen=True, tag=32):
    """Make an asset known."""

    asset: Asset


@final
class DefineMarket(_Command, frozen=True, tag=33):
    """Open a market between two known assets."""

    market: Market


@final
class DefineAccount(_Command, frozen=True, tag=34):
    """Make an account known."""

    account: Account


@final
class DefineKey(_Command, frozen=True, tag=35):
    """Let a key act for an account."""

    key: Key


@final
class SetEngineVersion(_Command, frozen=True, tag=17):
    """From here on the engine behaves as this version of it says."""

    version: int


@final
class SetMarketState(_Command, frozen=True, tag=36):
    """An operator opens, restricts or halts a market."""

    symbol: str
    state: int  # terms.MARKET_STATES


@final
class SetFeeTier(_Command, frozen=True, tag=37):
    """What a market charges accounts of this tier; for orders placed from now on."""

    symbol: str
    tier: int  # 1..100
    maker_fee: int  # parts per million of the notional
    taker_fee: int  # parts per million of the notional


@final
class SetAccountTier(_Command, frozen=True, tag=38):
    """Which tier an account is in; 0: none, the market's own fees."""

    account: int
    tier: int  # 0..100


@final
class RevokeKey(_Command, frozen=True, tag=39):
    """A key acts no more."""

    key: int


@final
class FreezeAccount(_Command, frozen=True, tag=40):
    """An account places and changes no orders any more, or (frozen false) does again."""

    account: int
    frozen: bool


@final
class FreezeAsset(_Command, frozen=True, tag=41):
    """An asset is not credited any more, or (frozen false) is again."""

    asset: str
    frozen: bool


@final
class ClearMarket(_Command, frozen=True, tag=42):
    """Cancel every open order of a market."""

    symbol: str


@final
class AdjustBalance(_Command, frozen=True, tag=49):
    """Two operators give to an account, or take from it, once for ever per adjustment_id."""

    adjustment_id: str
    account: int
    asset: str
    amount: int  # engine units of the asset; negative: to be taken
    reason: str
    operator: str
    second_operator: str


@final
class CreditDeposit(_Command, frozen=True, tag=48):
    """Credit an account with what arrived from outside, once for ever per deposit_id."""

    deposit_id: str
    account: int
    asset: str
    amount: int  # engine units of the asset


@final
class AllocateAddress(_Command, frozen=True, tag=50):
    """Give the account its deposit address on the chain of this asset: the chain's next index, one for each account."""

    account: int
    key: int
    session: int
    asset: str
    timestamp: int = 0
    recv_window: int = 5000


@final
class RequestWithdrawal(_Command, frozen=True, tag=51):
    """Hold an amount and the asset's withdrawal fee, and put the withdrawal into the outbox of the asset's chain.

    Once for ever per account and withdraw_order_id.
    """

    account: int
    key: int
    session: int
    withdraw_order_id: str
    asset: str
    address: str  # as its owner wrote it; whether the chain knows such addresses is for who asks to find out
    amount: int  # engine units: what arrives there; the fee comes on top
    timestamp: int = 0
    recv_window: int = 5000


@final
class SettleWithdrawal(_Command, frozen=True, tag=52):
    """A withdrawal was paid on its chain: what it held is gone, and its fee is the house's."""

    withdrawal_id: str
    txid: str  # of the transaction that paid it


@final
class ReleaseWithdrawal(_Command, frozen=True, tag=53):
    """A withdrawal will never be paid: what it held is available again."""

    withdrawal_id: str
    reason: str


@final
class AdoptWithdrawal(_Command, frozen=True, tag=54):
    """Hold for a withdrawal of an earlier epoch that the store knows and a restored engine has lost."""

    withdrawal_id: str
    account: int
    withdraw_order_id: str
    asset: str
    address: str
    amount: int
    fee: int


@final
class PauseWithdrawals(_Command, frozen=True, tag=55):
    """No withdrawals are requested or sent any more, or (paused false) are again."""

    paused: bool


@final
class BeginEpoch(_Command, frozen=True, tag=18):
    """The log goes on from a backup: receipts given from here on bear this epoch."""

    epoch: int


TradingCommand = (
    PlaceOrder
    | CancelOrder
    | CancelAll
    | AmendOrder
    | CancelAllAfter
    | ArmSession
    | AllocateAddress
    | RequestWithdrawal
)
Transfer = SettleWithdrawal | ReleaseWithdrawal | AdoptWithdrawal | PauseWithdrawals | BeginEpoch
Definition = DefineAsset | DefineMarket | DefineAccount | DefineKey
Setting = (
    SetEngineVersion
    | SetMarketState
    | SetFeeTier
    | SetAccountTier
    | RevokeKey
    | FreezeAccount
    | FreezeAsset
    | ClearMarket
    | AdjustBalance
)
Command = (
    TradingCommand
    | ReplaceOrder
    | LoseSession
    | LoseAllSessions
    | Tick
    | Definition
    | Setting
    | CreditDeposit
    | Transfer
)

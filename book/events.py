"""What the engine says happened: one frozen struct per event, and `Rejected` where nothing did.

Events are a pure function of state, command, sequence and time. They feed replies, market data and the rolling digest,
so whatever is in one must be the same after every replay. Quantities in lots, prices in ticks, amounts and fees in
engine units of the quote asset, times in nanoseconds since 1970. (Uncompiled, as is every module that defines structs.)
"""

from msgspec import Struct

from book.definitions import Account, Asset, Key, Market


class _Event(Struct, frozen=True, gc=False, array_like=True, tag_field="kind"):
    pass


class OrderView(Struct, frozen=True, gc=False, array_like=True):
    """An order as it stands at one moment, complete enough to show to its owner."""

    order_id: int
    account: int
    symbol: str
    client_order_id: str
    side: int
    type: int
    time_in_force: int
    price: int  # ticks; 0 for MARKET
    quantity: int  # lots, as entered, less OrderReduced's; for a MARKET order by amount, what was executed
    quote_quantity: int  # quote units, as entered; 0 when by quantity
    executed: int  # lots
    executed_quote: int  # quote units
    status: int  # terms.ORDER_STATES
    created_ns: int
    updated_ns: int
    stop_price: int = 0  # ticks
    expire_time: int = 0  # ms since 1970
    display_quantity: int = 0  # lots


class Withdrawal(Struct, frozen=True, gc=False, array_like=True):
    """A withdrawal as the engine knows it; how far its transaction is, the store knows."""

    withdrawal_id: str  # the receipt of the request, epoch-seq: never given twice
    account: int
    withdraw_order_id: str  # its owner's name for it
    asset: str
    address: str
    amount: int  # engine units: what arrives
    fee: int  # engine units: what the house gets when it is settled
    state: int  # terms.WITHDRAWAL_STATES
    requested_ns: int
    seq: int  # of the command that held for it
    receipt: int = 0  # the sequence number of the command that settled or released it
    note: str = ""  # the transaction that paid it, or why it was released


class OrderAccepted(_Event, frozen=True, tag=1):
    """An order entered. Its fills and its end, if any, are the next events of the same command."""

    order: OrderView


class Trade(_Event, frozen=True, tag=2):
    """A maker and a taker exchanged `quantity` at the maker's price."""

    symbol: str
    trade_id: int  # from 1 in each market
    price: int
    quantity: int
    notional: int  # quote units
    taker_side: int
    maker_order_id: int
    taker_order_id: int
    maker_account: int
    taker_account: int
    maker_fee: int  # quote units
    taker_fee: int  # quote units


class OrderReduced(_Event, frozen=True, tag=3):
    """Self-trade prevention took `quantity` off an order that lives on."""

    order_id: int
    quantity: int
    order: OrderView


class OrderClosed(_Event, frozen=True, tag=4):
    """An order ended: FILLED, CANCELED, EXPIRED or EXPIRED_IN_MATCH, as it stood then."""

    order: OrderView


class OrderAmended(_Event, frozen=True, tag=5):
    """An open order has a new quantity or price. Its fills and its end, if any, are the next events."""

    order: OrderView


class OrderTriggered(_Event, frozen=True, tag=6):
    """A stop was reached and the order enters. Its fills and its end, if any, are the next events."""

    order: OrderView


class CancelAllAfterSet(_Event, frozen=True, tag=7):
    """The account's open orders are cancelled at `due_ns`, unless that is set anew; 0: they are not."""

    account: int
    due_ns: int


class SessionArmed(_Event, frozen=True, tag=8):
    """The orders that this session places end with it."""

    session: int
    account: int


class SessionLost(_Event, frozen=True, tag=9):
    """An armed session is gone; the ends of its orders are the next events."""

    session: int
    account: int


class EngineVersionSet(_Event, frozen=True, tag=17):
    """The engine behaves as this version of it says from now on."""

    version: int


class AssetDefined(_Event, frozen=True, tag=32):
    """An asset is known from now on."""

    asset: Asset


class MarketDefined(_Event, frozen=True, tag=33):
    """A market is open from now on."""

    market: Market


class AccountDefined(_Event, frozen=True, tag=34):
    """An account is known from now on."""

    account: Account


class KeyDefined(_Event, frozen=True, tag=35):
    """A key may act from now on."""

    key: Key


class MarketStateChanged(_Event, frozen=True, tag=36):
    """A market is in this state now; until `until_ns` where its band halted it for a time, else 0."""

    symbol: str
    state: int  # terms.MARKET_STATES
    until_ns: int


class FeeTierSet(_Event, frozen=True, tag=37):
    """What a market charges accounts of this tier, in parts per million."""

    symbol: str
    tier: int
    maker_fee: int
    taker_fee: int


class AccountTierSet(_Event, frozen=True, tag=38):
    """Which tier an account is in."""

    account: int
    tier: int


class KeyRevoked(_Event, frozen=True, tag=39):
    """A key acts no more."""

    key: int


class AccountFrozen(_Event, frozen=True, tag=40):
    """An account is frozen, or is so no more."""

    account: int
    frozen: bool


class AssetFrozen(_Event, frozen=True, tag=41):
    """An asset is frozen, or is so no more."""

    asset: str
    frozen: bool


class Adjusted(_Event, frozen=True, tag=49):
    """An account was given or taken `amount`; `short` is what was to be taken and not there, now a receivable."""

    adjustment_id: str
    account: int
    asset: str
    amount: int  # engine units; what was really taken is -amount
    short: int
    reason: str
    operator: str
    second_operator: str
    receipt: int  # the sequence number of the command that did it


class Credited(_Event, frozen=True, tag=48):
    """A deposit was credited; `receipt` is the sequence number of the command that did it."""

    deposit_id: str
    account: int
    asset: str
    amount: int
    receipt: int


class AddressAllocated(_Event, frozen=True, tag=50):
    """An account has the deposit address of this index on a chain."""

    chain: str
    account: int
    index: int  # from 0 on each chain


class WithdrawalHeld(_Event, frozen=True, tag=51):
    """A withdrawal is in the outbox, what it needs is held."""

    withdrawal: Withdrawal


class WithdrawalSettled(_Event, frozen=True, tag=52):
    """A withdrawal was paid, and its fee is the house's."""

    withdrawal: Withdrawal


class WithdrawalReleased(_Event, frozen=True, tag=53):
    """A withdrawal is off, what it held is available."""

    withdrawal: Withdrawal


class WithdrawalsPaused(_Event, frozen=True, tag=55):
    """No withdrawals are requested or sent any more, or are again."""

    paused: bool


class EpochBegun(_Event, frozen=True, tag=18):
    """Receipts bear this epoch from now on."""

    epoch: int


Event = (
    OrderAccepted
    | Trade
    | OrderReduced
    | OrderClosed
    | OrderAmended
    | OrderTriggered
    | CancelAllAfterSet
    | SessionArmed
    | SessionLost
    | EngineVersionSet
    | AssetDefined
    | MarketDefined
    | AccountDefined
    | KeyDefined
    | MarketStateChanged
    | FeeTierSet
    | AccountTierSet
    | KeyRevoked
    | AccountFrozen
    | AssetFrozen
    | Adjusted
    | Credited
    | AddressAllocated
    | WithdrawalHeld
    | WithdrawalSettled
    | WithdrawalReleased
    | WithdrawalsPaused
    | EpochBegun
)


class Rejected(Struct, frozen=True, gc=False, array_like=True):
    """A command or query the engine refused; nothing changed.

    `field`, `value` and `limit` say what was wrong, in the command's own words and units ('' and 0 where they do not
    apply); the wire puts them into a sentence. `ref` is the id of the earlier thing that stands in the way: the first
    order's id for DUPLICATE_CLIENT_ORDER_ID, the receipt for a deposit credited before.
    """

    code: int  # book.codes
    reason: str = ""
    field: str = ""
    value: int = 0
    limit: int = 0
    ref: int = 0

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
class CreditDeposit(_Command, frozen=True, tag=48):
    """Credit an account with what arrived from outside, once for ever per deposit_id."""

    deposit_id: str
    account: int
    asset: str
    amount: int  # engine units of the asset


TradingCommand = PlaceOrder | CancelOrder | CancelAll | AmendOrder
Definition = DefineAsset | DefineMarket | DefineAccount | DefineKey
Command = TradingCommand | ReplaceOrder | Tick | Definition | CreditDeposit

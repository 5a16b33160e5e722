"""The reference engine's orders: what one of them costs, holds, pays and wants, worked out anew whenever it is asked.

Comments that begin with > are sentences of the design, the lines below follow them.
"""

from bisect import bisect_right

from attrs import define

from book import terms
from book.definitions import Market
from book.events import OrderReduced, OrderView
from book.reference_rules import LIMIT_KINDS, STOP_LOSSES
from book.terms import BUY, GTC, GTD, PPM, SELL


@define(eq=False)
class Order:
    """An order from the moment it is judged to its end."""

    order_id: int
    account: int
    session: int
    market: Market
    client_order_id: str
    side: int
    type: int
    time_in_force: int
    price: int  # ticks
    quantity: int  # lots; without bound for a market order by amount
    quote_quantity: int
    amount: int  # of quote_quantity, what is left to spend
    stop_price: int  # ticks
    expire_time: int  # ms since 1970; 0: never
    display_quantity: int  # lots; 0: all is shown
    post_only: bool
    self_trade: int
    created_ns: int
    updated_ns: int
    # > An order keeps the rates of its placement.
    maker_rate: int
    taker_rate: int
    tick_value: int  # quote units that one lot costs at one tick
    worst: int  # the worst price it trades at, ticks
    waits: bool  # it is a stop, and was not reached yet
    part: int = 0  # lots of an iceberg that are left of what came forward last
    executed: int = 0
    executed_quote: int = 0
    fees: int = 0  # the exact sum of its fees, in millionths of a quote unit
    status: int = terms.NEW

    @property
    def open(self) -> int:
        """Lots that can still trade."""
        return self.quantity - self.executed

    @property
    def may_rest(self) -> bool:
        """Whether what is left after its trades waits in the book."""
        # > IOC and market residue never rests
        return self.type in LIMIT_KINDS and self.time_in_force in {GTC, GTD}

    @property
    def shown(self) -> int:
        """Lots that stand in the queue."""
        # > Only `display_quantity` of what is open is shown. The hidden quantity is what shrinks first.
        return min(self.part, self.open) if self.display_quantity else self.open

    @property
    def rises(self) -> bool:
        """Whether the stop waits for the last price to come from below."""
        return (self.type in STOP_LOSSES) == (self.side == BUY)

    def is_reached(self, last: int) -> bool:
        """Whether the last price (0: none) is one that the stop waits for."""
        return last != 0 and (last >= self.stop_price if self.rises else last <= self.stop_price)

    @property
    def holds(self) -> str:
        """The asset it is paid from."""
        return self.market.quote if self.side == BUY else self.market.base

    def hold(self) -> int:
        """What it has to hold as it stands."""
        # > Orders hold before they rest (buy: notional + worst fee; sell: quantity; ... quote-amount market buy: that
        # > amount)
        if self.side == SELL:
            return self.open * self.market.lot
        return self.amount or self.cost(self.open, self.worst, max(self.maker_rate, self.taker_rate))

    def notional(self, lots: int, price: int) -> int:
        """What lots are worth, in quote units."""
        # > `notional = ticks * lots * tick_value` quote units exactly
        return price * lots * self.tick_value

    def cost(self, lots: int, price: int, rate: int) -> int:
        """What it costs to buy, fee included."""
        notional = self.notional(lots, price)
        return notional + self.fee(notional, rate)

    def fee(self, notional: int, rate: int) -> int:
        """What the order's next trade pays; negative for a rebate."""
        # > rounded against the customer by at most one unit
        # An order's fees add up to their exact sum rounded up. Each rebate is rounded down: no trade costs the house.
        if rate < 0:
            return -(-rate * notional // PPM)
        return _round_up(self.fees + rate * notional) - _round_up(self.fees)

    def wants(self, price: int) -> int:
        """How many lots it would take at this price."""
        if self.quote_quantity == 0:
            return self.open
        # > `quoteOrderQty` is the most that is spent, fee included.
        return bisect_right(
            range(1, self.amount + 1), self.amount, key=lambda lots: self.cost(lots, price, self.taker_rate)
        )

    def shrink(self, lots: int, time_ns: int) -> OrderReduced:
        """Lose some of what is open to self-trade prevention."""
        self.quantity -= lots
        self.updated_ns = time_ns
        return OrderReduced(self.order_id, lots, self.view())

    def view(self) -> OrderView:
        """The order as its owner sees it."""
        return OrderView(
            order_id=self.order_id,
            account=self.account,
            symbol=self.market.symbol,
            client_order_id=self.client_order_id,
            side=self.side,
            type=self.type,
            time_in_force=self.time_in_force,
            price=self.price,
            quantity=self.executed if self.quote_quantity else self.quantity,
            quote_quantity=self.quote_quantity,
            executed=self.executed,
            executed_quote=self.executed_quote,
            status=self.status,
            created_ns=self.created_ns,
            updated_ns=self.updated_ns,
            stop_price=self.stop_price,
            expire_time=self.expire_time,
            display_quantity=self.display_quantity,
        )


def _round_up(millionths: int) -> int:
    return -(-millionths // PPM)

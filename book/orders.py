"""An order, the trader it belongs to, and the price level it queues in."""

from typing import TYPE_CHECKING, Final

from book.accounts import AccountState
from book.events import OrderView
from book.image import OrderImage
from book.ledger import Balance
from book.rates import fee
from book.terms import GTC, GTD, MAX_INT, NEW

if TYPE_CHECKING:
    from book.live_market import LiveMarket

# A compiled module looks up a class of an interpreted one by name each time, unless it is a constant of its own.
_OrderView: Final = OrderView


class Trader:
    """One account in one market: what its orders there are paid from and which of them are open."""

    __slots__ = ("account", "base", "maker_rate", "market", "open_orders", "quote", "symbol", "taker_rate")

    def __init__(  # noqa: PLR0917 -- once per account and market, in one place
        self,
        account: AccountState,
        market: "LiveMarket",
        symbol: str,
        base: Balance,
        quote: Balance,
        maker_rate: int,
        taker_rate: int,
    ) -> None:
        self.account = account
        self.market = market
        self.symbol = symbol
        self.base = base
        self.quote = quote
        self.maker_rate = maker_rate
        self.taker_rate = taker_rate
        self.open_orders: dict[int, Order] = {}  # by order id, oldest first


class Order:
    """An order from the moment it is judged to its end. Prices in ticks, quantities in lots, amounts in quote units.

    `quantity - executed` is what is open, and without `hidden` what stands in the queue. A market order by amount has
    no quantity of its own: for it `quantity` follows `executed`, and what is left to spend is what it holds.
    """

    __slots__ = (
        *("trader", "order_id", "client_order_id", "side", "type", "time_in_force", "price", "quantity"),
        *("quote_quantity", "post_only", "self_trade", "session", "executed", "executed_quote", "status"),
        *("stop_price", "expire_time", "display_quantity"),
        *("created_ns", "updated_ns", "bound", "unit_cost", "maker_rate", "taker_rate", "ahead", "held"),
        *("level", "before", "behind", "hidden", "is_open"),
    )

    def __init__(  # noqa: PLR0917 -- built once per order on the hot path, where keywords cost
        self,
        trader: Trader,
        side: int,
        type: int,  # noqa: A002 -- the field's name on the wire and in the command
        time_in_force: int,
        price: int,
        quantity: int,
        quote_quantity: int,
        post_only: bool,
        client_order_id: str,
        self_trade: int,
        session: int,
        time_ns: int,
        stop_price: int,
        expire_time: int,
        display_quantity: int,
    ) -> None:
        self.trader = trader
        self.order_id: int = 0  # given when the order is accepted
        self.client_order_id = client_order_id
        self.side = side
        self.type = type
        self.time_in_force = time_in_force
        self.price = price
        self.quantity = quantity
        self.quote_quantity = quote_quantity
        self.post_only = post_only
        self.self_trade = self_trade
        self.session = session
        self.stop_price = stop_price
        self.expire_time = expire_time  # ms since 1970
        self.display_quantity = display_quantity
        self.executed: int = 0
        self.executed_quote: int = 0
        self.status: int = NEW
        self.created_ns = time_ns
        self.updated_ns = time_ns
        # The worst price it may trade at (a market order's comes from the collar), and what a lot costs there.
        self.bound = price
        self.unit_cost: int = 0
        # The rates of its placement, whatever becomes of the market's or the account's.
        self.maker_rate = trader.maker_rate
        self.taker_rate = trader.taker_rate
        self.ahead: int = 0  # of its fees, in millionths of a unit: see book.rates
        self.held: int = 0  # engine units: quote for a buy, base for a sell
        self.is_open: bool = False  # it rests or waits: it is one of its trader's open orders
        self.hidden: int = 0  # lots of an iceberg that are on the book but not in the queue
        self.level: PriceLevel | None = None
        self.before: Order | None = None
        self.behind: Order | None = None

    @property
    def may_rest(self) -> bool:
        """Whether what it does not trade at once goes, or stays, on the book."""
        return self.price > 0 and (self.time_in_force in (GTC, GTD))

    def is_reduced_by(self, quantity: int, price: int) -> bool:
        """Whether an amendment to these only makes it want less: then it keeps its place."""
        return price == self.price and quantity <= self.quantity

    def charge(self, notional: int, rate: int) -> int:
        """The order's fee for one trade, counted against what it paid ahead; negative for a rebate."""
        units, self.ahead = fee(notional, rate, self.ahead)
        return units

    def worst_cost(self) -> int:
        """What the open quantity of a buy can still cost at most, fee included."""
        return self.cost_of(self.quantity, self.unit_cost)

    def cost_of(self, quantity: int, unit_cost: int) -> int:
        """The same, if the order had this quantity in all and could cost so much a lot."""
        notional = (quantity - self.executed) * unit_cost
        # A comparison, for max() is a call and this is hot.
        rate = self.taker_rate if self.taker_rate > self.maker_rate else self.maker_rate  # noqa: FURB136 -- see above
        units, _ = fee(notional, rate, self.ahead)
        return notional + units

    def view(self) -> OrderView:
        """The order as it stands."""
        return _OrderView(
            self.order_id,
            self.trader.account.number,
            self.trader.symbol,
            self.client_order_id,
            self.side,
            self.type,
            self.time_in_force,
            self.price,
            self.quantity,
            self.quote_quantity,
            self.executed,
            self.executed_quote,
            self.status,
            self.created_ns,
            self.updated_ns,
            self.stop_price,
            self.expire_time,
            self.display_quantity,
        )

    def image(self) -> OrderImage:
        """The open order as plain data; `restored` takes it back."""
        return OrderImage(
            self.trader.account.number,
            self.order_id,
            self.client_order_id,
            self.side,
            self.type,
            self.time_in_force,
            self.price,
            self.quantity,
            self.post_only,
            self.self_trade,
            self.session,
            self.executed,
            self.executed_quote,
            self.status,
            self.created_ns,
            self.updated_ns,
            self.maker_rate,
            self.taker_rate,
            self.ahead,
            self.stop_price,
            self.expire_time,
            self.display_quantity,
            self.hidden,
        )


def restored(image: OrderImage, trader: Trader) -> Order:
    """The open order that `image` was taken of; what it may cost and holds is for its market to say."""
    order = Order(
        trader,
        image.side,
        image.type,
        image.time_in_force,
        image.price,
        image.quantity,
        0,
        image.post_only,
        image.client_order_id,
        image.self_trade,
        image.session,
        image.created_ns,
        image.stop_price,
        image.expire_time,
        image.display_quantity,
    )
    order.order_id = image.order_id
    order.executed = image.executed
    order.executed_quote = image.executed_quote
    order.status = image.status
    order.updated_ns = image.updated_ns
    order.maker_rate = image.maker_rate
    order.taker_rate = image.taker_rate
    order.ahead = image.ahead
    order.hidden = image.hidden
    return order


def order_id_of(order: Order) -> int:
    """To sort by: who entered first comes first."""
    return order.order_id


class PriceLevel:
    """The resting orders of one price and side, first come first, with their summary kept beside them."""

    __slots__ = ("count", "first", "hidden", "last", "merit", "price", "quantity")

    def __init__(self, price: int, merit: int) -> None:
        self.price: Final = price
        self.merit: Final = merit  # the greater the better: see book.order_book
        self.quantity: int = 0  # lots shown: those that stand in the queue
        self.hidden: int = 0  # lots of icebergs that will come forward
        self.count: int = 0
        self.first: Order | None = None
        self.last: Order | None = None

    def append(self, order: Order) -> None:
        """Put an order at the end of the queue."""
        self._link(order)
        order.level = self
        self.count += 1
        self.quantity += order.quantity - order.executed - order.hidden
        self.hidden += order.hidden

    def remove(self, order: Order) -> None:
        """Take an order out of the queue, wherever it stands."""
        self._unlink(order)
        order.level = None
        self.count -= 1
        self.quantity -= order.quantity - order.executed - order.hidden
        self.hidden -= order.hidden

    def refresh(self, order: Order) -> None:
        """The next part of an iceberg comes forward, behind everybody else."""
        part = min(order.display_quantity, order.hidden)
        self._unlink(order)
        self._link(order)
        order.hidden -= part
        self.hidden -= part
        self.quantity += part

    def _link(self, order: Order) -> None:
        last = self.last
        if last is None:
            self.first = order
        else:
            last.behind = order
            order.before = last
        self.last = order

    def _unlink(self, order: Order) -> None:
        before, behind = order.before, order.behind
        if before is None:
            self.first = behind
        else:
            before.behind = behind
        if behind is None:
            self.last = before
        else:
            behind.before = before
        order.before = order.behind = None

    def orders(self) -> "list[Order]":
        """The queue, front first."""
        queue: list[Order] = []
        order = self.first
        while order is not None:
            queue.append(order)
            order = order.behind
        return queue

    def ahead_of(self, trader: Trader, wanted: int, leaving: Order | None = None) -> int:
        """The lots that stand before this trader's first order, as if `leaving` were gone; all if it has none here.

        Hidden ones do not: they come forward behind it. Once there are as many as are wanted, the rest is not counted.
        """
        lots = 0
        order = self.first
        while order is not None and lots < wanted and (order.trader is not trader or order is leaving):
            if order is not leaving:
                lots += order.quantity - order.executed - order.hidden
            order = order.behind
        return lots

    def check(self) -> None:
        """The links hold together and the summary is the sum of the queue. Raises AssertionError."""
        count = quantity = hidden = 0
        before: Order | None = None
        order = self.first
        while order is not None:
            if order.before is not before or order.level is not self:
                raise AssertionError(f"order {order.order_id} is linked wrongly at {self.price}")
            if not 0 <= order.executed < order.quantity <= MAX_INT:
                raise AssertionError(f"order {order.order_id} rests with {order.executed} of {order.quantity} executed")
            if order.price != self.price:
                raise AssertionError(f"order {order.order_id} of price {order.price} rests at {self.price}")
            shown = order.quantity - order.executed - order.hidden
            if order.hidden < 0 or shown <= 0 or (order.hidden and shown > order.display_quantity):
                raise AssertionError(f"order {order.order_id} shows {shown} and hides {order.hidden}")
            count += 1
            quantity += shown
            hidden += order.hidden
            before, order = order, order.behind
        found = (count, quantity, hidden)
        if self.last is not before or found != (self.count, self.quantity, self.hidden):
            said = (self.count, self.quantity, self.hidden)
            raise AssertionError(f"level {self.price} says (orders, shown, hidden) are {said}: {found}")

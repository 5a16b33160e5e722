"""What the engine knows of one account besides its balances and open orders."""

from book.client_order_ids import ClientOrderIds
from book.definitions import Account
from book.events import OrderView
from book.history import ACCOUNT_TRADES, FinishedOrders
from book.image import AccountImage, TradeImage
from book.latest import Latest


class AccountState:
    """An account and its memories."""

    __slots__ = (
        *("cancel_all_due_ns", "client_order_ids", "definition", "finished_orders", "frozen", "number", "tier"),
        "trades",
    )

    def __init__(self, definition: Account) -> None:
        self.definition = definition
        self.number: int = definition.account
        self.tier: int = 0  # of fees; 0: none
        self.client_order_ids = ClientOrderIds()
        self.finished_orders = FinishedOrders()
        self.trades: Latest[TradeImage] = Latest(ACCOUNT_TRADES)
        self.frozen: bool = False
        self.cancel_all_due_ns: int = 0  # when its open orders are cancelled, if nothing is heard of it; 0: never

    def finish(self, view: OrderView) -> None:
        """Remember an order of the account as it ended."""
        self.client_order_ids.finish(view.client_order_id)
        self.finished_orders.add(view)

    def image(self) -> AccountImage:
        """The account as plain data."""
        return AccountImage(
            self.definition,
            self.cancel_all_due_ns,
            self.client_order_ids.finished(),
            self.finished_orders.all(),
            self.tier,
            self.frozen,
            self.trades.all(),
        )

    def restore(self, image: AccountImage) -> None:
        """Remember what `image` gave."""
        self.cancel_all_due_ns = image.cancel_all_due_ns
        for client_order_id, order_id in image.finished_ids:
            self.client_order_ids.claim(client_order_id, order_id)
            self.client_order_ids.finish(client_order_id)
        for view in image.finished_orders:
            self.finished_orders.add(view)
        for trade in image.trades:
            self.trades.add(trade)
        self.tier = image.tier
        self.frozen = image.frozen

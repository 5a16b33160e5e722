"""What the engine knows of one account besides its balances and open orders.

The account's owner may follow what happens to it, on a channel whose events are numbered without a gap. Their number is
counted here, whether anybody follows or not, so that it is the same after every restart: one for each event of the
engine that tells of the account (twice if it is on both sides of a trade), except that an order ended as filled, which
its last trade says; and behind those of each command one more, for the balances.
"""

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
        *("_told_in", "trades", "user_seq"),
    )

    def __init__(self, definition: Account) -> None:
        self.definition = definition
        self.number: int = definition.account
        self.tier: int = 0  # of fees; 0: none
        self.client_order_ids = ClientOrderIds()
        self.finished_orders = FinishedOrders()
        self.trades: Latest[TradeImage] = Latest(ACCOUNT_TRADES)
        self.frozen: bool = False
        self.user_seq: int = 0  # how many events its owner has been told, or could have been
        self._told_in: int = 0  # the command that told the last of them
        self.cancel_all_due_ns: int = 0  # when its open orders are cancelled, if nothing is heard of it; 0: never

    def tell(self, seq: int) -> None:
        """Count one more event that its owner is told, by the command of this number."""
        if self._told_in == seq:
            self.user_seq += 1
        else:
            self._told_in = seq
            self.user_seq += 2  # with the balances behind the command's events

    def tell_balances(self, seq: int) -> None:
        """The command of this number changes balances, of which there is nothing more to tell."""
        if self._told_in != seq:
            self._told_in = seq
            self.user_seq += 1

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
            self.user_seq,
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
        self.user_seq = image.user_seq

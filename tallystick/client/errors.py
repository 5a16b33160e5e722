"""What can go wrong for a client, split by what it says about the request.

    ClientError
    ├─ Rejected          the exchange judged it and said no: nothing happened, and repeating it is of no use
    ├─ NotDone           it certainly did not happen: repeating it as it is, is safe
    │  ├─ Busy           the exchange had no room or time for it
    │  └─ NotConnected   it was never sent
    ├─ OutcomeUnknown    it was sent, and what became of it is not known: ask before repeating it
    ├─ Missed            a stream has lost events
    └─ BadReply          the exchange does not speak this protocol: a bug at one end

What to do after an OutcomeUnknown is in docs/protocol.md: an order is found again by its clientOrderId.
"""

from typing import Final

from msgspec import Struct

from book.codes import SERVER_BUSY, SERVICE_SHUTTING_DOWN, TIMEOUT, TOO_MANY_CONNECTIONS, TOO_MANY_REQUESTS


class ClientError(Exception):
    """Anything that this library raises on its own account, but for TypeError and ValueError of wrong arguments."""


class Rejected(ClientError):  # noqa: N818 - what became of a request, as below
    """The exchange refused the request; nothing happened.

    Attributes:
        code: The number, as in docs/protocol.md.
        name: The code's name.
        reason: What exactly was refused; empty where the code says it all.
        msg: A sentence for people.
        status: Of the reply.
        order_id: With DUPLICATE_CLIENT_ORDER_ID, the order that has the id; else None.
    """

    def __init__(self, error: "ErrorLine", status: int) -> None:
        super().__init__(f"{error.name} ({error.code}){f', {error.reason}' if error.reason else ''}: {error.msg}")
        self.code = error.code
        self.name = error.name
        self.reason = error.reason
        self.msg = error.msg
        self.status = status
        self.order_id = error.order_id


class NotDone(ClientError):  # noqa: N818
    """It certainly did not happen; repeating it as it is, is safe."""


class Busy(NotDone):
    """The exchange had no room or no time for it; try again later.

    Attributes:
        code: The number, as in docs/protocol.md.
        retry_after_seconds: How long to wait at least; 0 where the exchange did not say.
    """

    def __init__(self, error: "ErrorLine") -> None:
        super().__init__(f"{error.name} ({error.code}): {error.msg}")
        self.code = error.code
        self.retry_after_seconds = error.retry_after / 1_000


class NotConnected(NotDone):
    """It was never sent: there was no connection within the time given."""


class OutcomeUnknown(ClientError):  # noqa: N818
    """It was sent, and the connection broke, or time was up, before the answer came.

    Attributes:
        method: What was asked.
        client_order_id: Of the order it was about, to find it by; empty where it was about none.
    """

    def __init__(self, why: str, method: str = "", client_order_id: str = "") -> None:
        about = f" of {client_order_id}" if client_order_id else ""
        super().__init__(f"what became of {method or 'the request'}{about} is not known: {why}")
        self.why = why
        self.method = method
        self.client_order_id = client_order_id


class Missed(ClientError):  # noqa: N818
    """A stream has lost events and goes on behind them: whoever goes on reading it gets what came next.

    Attributes:
        channel: Of the stream.
        from_seq: The first one that is missing; 0 where that is not known.
    """

    def __init__(self, channel: str, from_seq: int, why: str) -> None:
        first = f", from {from_seq} on" if from_seq else ""
        super().__init__(f"events of {channel} are missing{first}: {why}")
        self.channel = channel
        self.from_seq = from_seq


class BadReply(ClientError):  # noqa: N818
    """What came is not of this protocol."""


class ErrorLine(Struct, frozen=True, rename="camel"):
    """What the exchange says is wrong."""

    code: int
    name: str
    msg: str
    reason: str = ""
    order_id: int | None = None
    retry_after: int = 0  # ms
    channel: str = ""  # that something is missing of


_BUSY: Final = {TOO_MANY_REQUESTS, SERVER_BUSY, SERVICE_SHUTTING_DOWN, TOO_MANY_CONNECTIONS}


def error_of(error: ErrorLine, status: int) -> Rejected | Busy | OutcomeUnknown:
    """The exception that an error on the wire stands for."""
    if error.code == TIMEOUT:
        return OutcomeUnknown(error.msg)
    if error.code in _BUSY:
        return Busy(error)
    return Rejected(error, status)

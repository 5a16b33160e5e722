"""One request, ready to be sent: awaited alone, or handed with others to `Exchange.pipeline` or `batch`. Pure.

A call that is never awaited is never sent.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import msgspec
from attrs import field, frozen

from tallystick.client.errors import BadReply, ClientError, ErrorLine, error_of

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Number = Decimal | int | str
"""A price, quantity or amount. No float: 0.1 is none of these numbers."""


class Asker(Protocol):
    """Sends calls and waits for what comes of them."""

    async def ask(self, call: "Call[T]") -> T:
        """The result of one call. Raises ClientError."""
        ...


@frozen(kw_only=True)
class Call(Generic[T_co]):
    """One request; `await` sends it and is its result, or raises ClientError."""

    method: str
    params: Mapping[str, object]
    read: Callable[[msgspec.Raw], T_co] = field(repr=False)
    """From the reply's `result` to what the caller gets. Raises msgspec.ValidationError."""
    changes: bool
    """Whether it changes anything. What does not is sent again when a connection breaks under it."""
    asker: Asker = field(repr=False, eq=False)

    @property
    def client_order_id(self) -> str:
        """Of the order or the withdrawal that it enters or is about; empty where that has none."""
        return str(self.params.get("clientOrderId", self.params.get("withdrawOrderId", "")))

    def __await__(self) -> Generator[Any, Any, T_co]:
        return self.asker.ask(self).__await__()


Outcome: TypeAlias = T | ClientError
"""What became of one call of several."""


# To make one takes as long as to read with it some dozen times.
_decoder: Callable[[Any], Any] = cache(msgspec.json.Decoder)


def reader(kind: type[T]) -> Callable[[msgspec.Raw], T]:
    """Reads results of this type, strictly but for fields that are new."""
    read: Callable[[msgspec.Raw], T] = _decoder(kind).decode
    return read


class _Part(msgspec.Struct, frozen=True):
    status: int
    result: msgspec.Raw = msgspec.Raw(b"{}")
    error: ErrorLine | None = None


class _Several(msgspec.Struct, frozen=True):
    results: list[_Part]


def read_batch(calls: Sequence[Call[T]]) -> Callable[[msgspec.Raw], tuple[Outcome[T], ...]]:
    """Reads what became of each call of an `order.batch`."""
    read_parts = reader(_Several)

    def read(raw: msgspec.Raw) -> tuple[Outcome[T], ...]:
        parts = read_parts(raw).results
        if len(parts) != len(calls):
            raise BadReply(f"a batch of {len(calls)} was answered by {len(parts)} results")
        return tuple(
            call.read(part.result) if part.error is None else error_of(part.error, part.status)
            for call, part in zip(calls, parts, strict=True)
        )

    return read


def decimal_text(name: str, value: Number) -> str:
    """As it goes onto the wire, without an exponent. Raises TypeError for a float, ValueError for what is no number."""
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        raise TypeError(f"{name} must be a Decimal, an int or a str, not {type(value).__name__} {value!r}")
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{name} must be a finite number, not {value}")
        return f"{value:f}"
    return str(value)

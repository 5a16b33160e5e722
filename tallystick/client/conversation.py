"""What was asked and what was answered on one connection, as bytes in and out. Pure: no sockets, no waiting.

Theory of operation. A question goes through `waiting` (nobody has seen it), `asked` (its bytes were given to the
socket) to settled. Replies come in the order of the questions, which the ids confirm; events come in between. When the
connection ends, what waits was certainly not done, and of what was asked the outcome is unknown: that difference is
why the two are kept apart.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Final

import msgspec

from tallystick.client.errors import BadReply, ClientError, ErrorLine, NotConnected, OutcomeUnknown, error_of

# A reply may be long: 1,000 trades are about 300 KB, the open orders of a market maker some MB.
MAX_LINE_BYTES: Final = 256 * 1024 * 1024

_EVENT: Final = b'{"event":'

News = bytes | ErrorLine
"""What the exchange says without being asked: an event's line, or that something is missing of a channel."""


class Question:
    """One request and, when it is settled, what came of it."""

    __slots__ = ("client_order_id", "line", "method", "number", "outcome", "settled")

    def __init__(
        self, number: int, method: str, line: bytes, client_order_id: str, settled: Callable[[], None]
    ) -> None:
        self.number = number
        self.method = method
        self.line = line
        self.client_order_id = client_order_id
        self.settled = settled
        self.outcome: msgspec.Raw | ClientError | None = None

    def settle(self, outcome: msgspec.Raw | ClientError) -> None:
        """Say what came of it, once."""
        if self.outcome is not None:
            raise AssertionError(f"question {self.number} is settled already")
        self.outcome = outcome
        self.settled()

    def unknown(self, why: str) -> OutcomeUnknown:
        """What to raise when nobody knows what became of it."""
        return OutcomeUnknown(why, self.method, self.client_order_id)


class _ReplyLine(msgspec.Struct, frozen=True):
    status: int
    id: int | None = None
    result: msgspec.Raw = msgspec.Raw(b"{}")
    error: ErrorLine | None = None


_read_reply: Callable[[bytes], _ReplyLine] = msgspec.json.Decoder(_ReplyLine).decode


class Conversation:
    """One connection's requests and replies."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._waiting: deque[Question] = deque()
        self._asked: deque[Question] = deque()
        self._rest = bytearray()
        self.last_word: ClientError | None = None
        """What the exchange said to nobody in particular: why it is about to hang up."""

    @property
    def in_flight(self) -> int:
        """Questions that are not settled."""
        return len(self._waiting) + len(self._asked)

    @property
    def has_unsent(self) -> bool:
        """Whether questions wait to be sent."""
        return bool(self._waiting)

    def ask(
        self, method: str, params: Mapping[str, object], settled: Callable[[], None], *, client_order_id: str = ""
    ) -> Question:
        """Queue a question; `settled` is called when its outcome is there. Raises TypeError for what is no JSON."""
        number = next(self._numbers)
        line = msgspec.json.encode({"id": number, "method": method, "params": params}) + b"\n"
        question = Question(number, method, line, client_order_id, settled)
        self._waiting.append(question)
        return question

    def take_unsent(self) -> bytes:
        """The bytes to send now; from here on nobody knows whether the exchange got them."""
        data = b"".join(question.line for question in self._waiting)
        self._asked.extend(self._waiting)
        self._waiting.clear()
        return data

    def give_up(self, question: Question, why: str) -> ClientError:
        """Nobody waits for it any more; what that means. It is not sent if it was not, and its reply is passed over."""
        if question in self._waiting:
            self._waiting.remove(question)
            return NotConnected(why)
        return question.unknown(why)

    def receive(self, data: bytes) -> Iterator[News]:
        """Settle what these bytes answer, and yield what was said without being asked. Raises BadReply."""
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = bytes(self._rest) + lines[0]
            self._rest.clear()
        self._rest += rest
        if len(self._rest) > MAX_LINE_BYTES:
            raise BadReply(f"a line of more than {MAX_LINE_BYTES} bytes")
        for line in lines:
            if line.startswith(_EVENT):
                yield line
            elif (gap := self._settle(line)) is not None:
                yield gap

    def end(self, why: str) -> None:
        """The connection is over: settle everything that is not."""
        for question in self._asked:
            question.settle(question.unknown(why))
        for question in self._waiting:
            question.settle(NotConnected(why))
        self._asked.clear()
        self._waiting.clear()

    def _settle(self, line: bytes) -> ErrorLine | None:
        """Take a line that is no event; what it says of a channel, if it does."""
        try:
            reply = _read_reply(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadReply(f"not a line of this protocol: {line[:200]!r}") from error
        failure = None if reply.error is None else error_of(reply.error, reply.status)
        if reply.id is None:
            if reply.error is not None and reply.error.channel:
                return reply.error
            self.last_word = failure
            return None
        if not self._asked or self._asked[0].number != reply.id:
            raise BadReply(f"a reply to request {reply.id}, which was not the next to be answered")
        question = self._asked.popleft()
        if isinstance(failure, OutcomeUnknown):
            failure = question.unknown(failure.why)
        question.settle(reply.result if failure is None else failure)
        return None

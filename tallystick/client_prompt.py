"""The prompt of `tallystick client`: lines with completion on the main thread, the connection on another.

prompt_toolkit has an event loop of its own, which takes the main thread's signals and terminal while a line is edited.
So trio runs in a thread beside it, where the connection lives on while somebody thinks, and each line is handed over
and waited for.
"""

import queue
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Self, TypeVar

import trio
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.output import Output

from tallystick.client import Exchange
from tallystick.client_words import completions

T = TypeVar("T")

PROMPT: Final = "tallystick> "


class Beside:
    """An exchange that is kept connected by trio, in a thread; used by one that is not trio's.

    Args:
        connect: Makes the connection.
    """

    def __init__(self, connect: Callable[[], AbstractAsyncContextManager[Exchange]]) -> None:
        self._connect = connect
        self._ready: queue.SimpleQueue[Exception | trio.lowlevel.TrioToken] = queue.SimpleQueue()
        self._thread = threading.Thread(target=trio.run, args=(self._run,), name="exchange")

    def __enter__(self) -> Self:
        """Wait for the connection. Raises ClientError."""
        self._thread.start()
        ready = self._ready.get()
        if isinstance(ready, Exception):
            self._thread.join()
            raise ready
        self._token = ready
        return self

    def __exit__(self, *_: object) -> None:
        trio.from_thread.run_sync(self._over.set, trio_token=self._token)
        self._thread.join()

    def run(self, function: Callable[[Exchange], Awaitable[T]]) -> T:
        """What it comes to, or the error that it raises. Ctrl-C cancels it and raises KeyboardInterrupt."""
        scope = trio.CancelScope()

        async def run() -> T:
            with scope:
                return await function(self._exchange)
            raise trio.TooSlowError  # nobody waits for it any more

        try:
            return trio.from_thread.run(run, trio_token=self._token)
        except KeyboardInterrupt:
            trio.from_thread.run_sync(scope.cancel, trio_token=self._token)
            raise

    async def _run(self) -> None:
        self._over = trio.Event()
        try:
            async with self._connect() as self._exchange:
                self._ready.put(trio.lowlevel.current_trio_token())
                # No deadline: the person at the prompt decides when it is over.
                await self._over.wait()
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            self._ready.put(error)


class Words(Completer):
    """Completes methods, parameters and values."""

    def __init__(self, symbols: list[str]) -> None:
        self._symbols = symbols

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """What the word before the cursor may become."""
        del complete_event
        text = document.text_before_cursor.lstrip()
        last = len(text) - text.rfind(" ") - 1
        for word in completions(text, self._symbols):
            yield Completion(word, start_position=-last)


class Prompt:
    """Lines that somebody types.

    Args:
        symbols: Of the markets, to complete.
        history: Of earlier lines.
        input_: The terminal, where a test has another.
        output: The same.
    """

    def __init__(
        self,
        symbols: list[str],
        *,
        history: History | None = None,
        input_: Input | None = None,
        output: Output | None = None,
    ) -> None:
        self._session: PromptSession[str] = PromptSession(
            completer=Words(symbols), history=history or InMemoryHistory(), input=input_, output=output
        )

    def lines(self) -> Iterator[str]:
        """Each line, until `quit` or the end of the input; Ctrl-C begins a new one."""
        while True:
            try:
                line = self._session.prompt(PROMPT).strip()
            except KeyboardInterrupt:
                continue
            except EOFError:
                return
            if line in ("quit", "exit"):
                return
            if line:
                yield line


def symbols_of(info: Any) -> list[str]:
    """The markets that `exchangeInfo` lists."""
    return [market["symbol"] for market in info["symbols"]]

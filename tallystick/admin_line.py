"""The admin socket from outside, for what asks more than once: a call, and its result."""

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

# A little more than the exchange allows a command, so that its own words arrive.
CALL_SECONDS: Final = 35.0


class CallRefused(Exception):  # noqa: N818 - the exchange's own words
    """The exchange does not do it; why."""


class Unreachable(Exception):  # noqa: N818 - names what is so
    """No exchange answers at the socket; why."""


class AdminLine:
    """One connection to the socket, made when it is needed, and made anew after it broke. Blocks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: socket.socket | None = None
        self._rest = b""

    def ask(self, method: str, params: Mapping[str, object] | None = None) -> Any:
        """A command's result. Raises CallRefused or Unreachable."""
        line = msgspec.json.encode({"method": method, "params": params or {}}) + b"\n"
        try:
            self._connected().sendall(line)
            reply = msgspec.json.decode(self._line())
        except (OSError, EOFError) as error:
            self.close()
            raise Unreachable(f"no exchange answers at {self._path}: {error or 'it hung up'}") from error
        if reply["status"] != 200:
            raise CallRefused(reply["error"]["msg"])
        return reply["result"]

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._rest = None, b""

    def _connected(self) -> socket.socket:
        if self._connection is None:
            self._connection = socket.socket(socket.AF_UNIX)
            self._connection.settimeout(CALL_SECONDS)
            self._connection.connect(str(self._path))
        return self._connection

    def _line(self) -> bytes:
        while b"\n" not in self._rest:
            received = self._connected().recv(65_536)
            if not received:
                raise EOFError
            self._rest += received
        line, _, self._rest = self._rest.partition(b"\n")
        return line

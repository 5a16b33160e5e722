"""What the outside gives the exchange: clocks, the network, threads for blocking work. Handed in, never reached for.

Each is a narrow protocol with a real implementation here; the simulation has its own of each. (The disk belongs to
`persistence.storage`.)
"""

import os
import socket
import stat
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol, TypeVar, TypeVarTuple

import trio
from trio.abc import HalfCloseableStream, Listener

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# So many random bytes: `os.urandom` in production.
Entropy = Callable[[int], bytes]

# A socket file that nobody serves answers at once; one whose server hangs must not hold up the start.
PROBE_SECONDS: Final = 1.0


class CannotListen(Exception):  # noqa: N818 - names what happened, in a sentence for the operator
    """An address cannot be served; the message is one clear line that says which and why."""


class Peer(NamedTuple):
    """The other end of a TCP connection."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Credentials(NamedTuple):
    """The process at the other end of a Unix socket, as the kernel vouches for it."""

    pid: int
    uid: int
    gid: int


class Clock(Protocol):
    """The time. Deadlines are trio's; these are for what is written down and for what is measured."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970, as the machine believes; may jump."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds since some moment; never goes back."""
        ...


class Network(Protocol):
    """Where connections come from."""

    async def listen_tcp(self, host: str, port: int) -> Sequence[Listener[HalfCloseableStream]]:
        """Listen on every address of `host` (port 0: a free one). Raises CannotListen."""
        ...

    async def listen_unix(self, path: Path, mode: int) -> Listener[HalfCloseableStream]:
        """Listen on a socket file with these permissions, in place of one left behind. Raises CannotListen."""
        ...

    def address(self, listener: Listener[HalfCloseableStream]) -> Peer:
        """Where a TCP listener of ours listens."""
        ...

    def peer(self, stream: HalfCloseableStream) -> Peer:
        """Who is at the other end of a TCP stream of ours. Raises OSError when it is gone already."""
        ...

    def credentials(self, stream: HalfCloseableStream) -> Credentials:
        """Who is at the other end of a Unix stream of ours. Raises OSError when it is gone already."""
        ...


class Blocking(Protocol):
    """Runs what blocks (file reads, syncs) without holding up the tasks of the exchange."""

    async def __call__(self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Call it and return what it returns. Once begun it is finished, whoever cancels."""
        ...


# ----------------------------------------------------------------------------------------------------------- real ones


class RealClock:
    """The machine's clocks."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Nanoseconds since the machine started."""
        return time.monotonic_ns()


class Threads:
    """Blocking work in worker threads, at most `limit` at a time.

    Owners that must never wait for each other each have their own.
    """

    def __init__(self, limit: int) -> None:
        self._limiter = trio.CapacityLimiter(limit)

    async def __call__(self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Call it in a thread."""
        return await trio.to_thread.run_sync(function, *arguments, limiter=self._limiter)


class RealNetwork:
    """The kernel's sockets."""

    async def listen_tcp(self, host: str, port: int) -> Sequence[Listener[HalfCloseableStream]]:
        """Listen on every address of `host`."""
        try:
            return await trio.open_tcp_listeners(port, host=host)
        except OSError as error:
            raise CannotListen(f"cannot listen on {Peer(host, port)}: {_reason(error)}") from error

    async def listen_unix(self, path: Path, mode: int) -> Listener[HalfCloseableStream]:
        """Listen on a socket file."""
        try:
            await _remove_abandoned(path)
            return trio.SocketListener(trio.socket.from_stdlib_socket(_bind(path, mode)))
        except OSError as error:
            raise CannotListen(f"cannot listen on {path}: {_reason(error)}") from error

    def address(self, listener: Listener[HalfCloseableStream]) -> Peer:
        """Where it listens."""
        if not isinstance(listener, trio.SocketListener):
            raise TypeError("not a listener of this network")
        host, port = listener.socket.getsockname()[:2]
        return Peer(host, port)

    def peer(self, stream: HalfCloseableStream) -> Peer:
        """Who is at the other end."""
        host, port = _socket(stream).getpeername()[:2]
        return Peer(host, port)

    def credentials(self, stream: HalfCloseableStream) -> Credentials:
        """Who is at the other end, by SO_PEERCRED (Linux)."""
        layout = struct.Struct("3i")
        return Credentials(
            *layout.unpack(_socket(stream).getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, layout.size))
        )


def _socket(stream: HalfCloseableStream) -> trio.socket.SocketType:
    if not isinstance(stream, trio.SocketStream):
        raise TypeError("not a stream of this network")
    return stream.socket


def _reason(error: OSError) -> str:
    """The system's own words, without Python's number."""
    return error.strerror or str(error)


async def _remove_abandoned(path: Path) -> None:
    """Remove the socket file of a process that is gone. Raises OSError when somebody serves it, or it is no socket."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):  # noqa: ASYNC240 - one inode, at start
            raise OSError("a file that is not a socket is in the way")
    except FileNotFoundError:
        return
    try:
        with trio.fail_after(PROBE_SECONDS):
            stream = await trio.open_unix_socket(path)
    except ConnectionRefusedError:
        path.unlink()  # noqa: ASYNC240 - as above
    except trio.TooSlowError:
        raise OSError("another process serves it and does not answer") from None
    else:
        await stream.aclose()
        raise OSError("another process serves it")


def _bind(path: Path, mode: int) -> socket.socket:
    """A listening socket whose file never had more permissions than `mode`."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~mode)
    try:
        listening.bind(str(path))
        listening.listen(socket.SOMAXCONN)
    except BaseException:
        listening.close()
        raise
    finally:
        os.umask(before)
    return listening

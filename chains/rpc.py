"""JSON-RPC over HTTP, as bitcoind and Ethereum nodes speak it, on trio.

What a node says is decoded into the type that the caller names and into nothing else: amounts become Decimal from the
digits as they were sent, never a float; a field that is missing or of another type, an answer to another question, or
one without end is NodeUnavailable, as is no answer at all. The node's own errors are NodeRefused, but for those that
say "not now".
"""

import itertools
import json
from collections.abc import AsyncGenerator, Hashable
from contextlib import aclosing
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Generic, Self, TypeVar, cast
from urllib.parse import urlsplit

import httpx
import msgspec
from attrs import field, frozen

from chains.node import NodeRefused, NodeUnavailable

T = TypeVar("T")

# More than any block with its receipts.
MAX_BODY_BYTES: Final = 128 * 1024 * 1024
REASON_CHARACTERS: Final = 200
CONNECTIONS: Final = 4

# "Not now": bitcoind loading its block index; too many requests (of hosted Ethereum nodes).
_NOT_NOW: Final = frozenset({-28, -32005})


@frozen(kw_only=True)
class RpcConfig:
    """Where a node is, and who we are to it: by bitcoind's cookie file, by name and password, or nobody."""

    url: str
    cookie_file: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    timeout_seconds: float = 30.0

    def __attrs_post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"url is {self.url!r}: not of the form http://host:port or https://host")
        if self.cookie_file and self.user:
            raise ValueError("cookie_file and user are both given: a node takes one of the two")
        if not self.timeout_seconds > 0:
            raise ValueError(f"timeout_seconds is {self.timeout_seconds}: it must be above 0")

    def credentials(self) -> tuple[str, str] | None:
        """Name and password; a cookie is read every time, for bitcoind makes a new one at each start."""
        if not self.cookie_file:
            return (self.user, self.password) if self.user else None
        try:
            name, _, password = Path(self.cookie_file).read_text(encoding="ascii").strip().partition(":")
        except (OSError, UnicodeDecodeError) as error:
            raise NodeUnavailable(f"the node's cookie file {self.cookie_file} cannot be read: {error}") from error
        return name, password


class RpcError(msgspec.Struct, frozen=True):
    """A node's refusal; some send more fields, some fewer."""

    code: int = 0
    message: str = ""


class Reply(msgspec.Struct, Generic[T], frozen=True):
    """An answer: an error or a result, of which the other is missing or null."""

    id: int | str | None = None
    error: RpcError | None = None
    result: T | msgspec.UnsetType | None = msgspec.UNSET


class Rpc:
    """A node's methods. Use it as an async context manager: it holds connections."""

    def __init__(self, config: RpcConfig, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """`transport`: in place of the network, for tests."""
        self._config = config
        self._ids = itertools.count(1)
        self._client = httpx.AsyncClient(
            transport=transport,
            timeout=config.timeout_seconds,
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
            # Neither a proxy of the environment nor a redirect has any business between us and our node.
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def call(self, method: str, *params: object, result: type[T]) -> T:
        """Ask, and decode a result that must be there. Raises NodeUnavailable or NodeRefused."""
        found = await self.find(method, *params, result=result)
        if found is None:
            raise NodeUnavailable(f"{method}: the node answers with null")
        return found

    async def find(self, method: str, *params: object, result: type[T]) -> T | None:
        """Ask for what may not be there: null is an answer. Raises NodeUnavailable or NodeRefused."""
        number = next(self._ids)
        status, body = await self._post(_request(number, method, params), method)
        return _result(body, result, number, method, status)

    async def ask(self, method: str, params: object) -> dict[str, Any]:
        """Ask, and return the whole answer, for a library that looks at it itself. Raises NodeUnavailable."""
        number = next(self._ids)
        status, body = await self._post(_request(number, method, params), method)
        try:
            answer = json.loads(body, parse_float=Decimal)
        except (ValueError, RecursionError) as error:
            raise _garbage(method, status, "no JSON") from error
        if not isinstance(answer, dict) or answer.get("id") != number:
            raise _garbage(method, status, "not an answer to what was asked")
        return answer

    async def _post(self, content: bytes, method: str) -> tuple[int, bytes]:
        """Status and body; a body that is no answer of the node's own raises."""
        login = self._config.credentials()
        auth = httpx.BasicAuth(*login) if login is not None else None
        headers = {"content-type": "application/json"}
        try:
            async with self._client.stream(
                "POST", self._config.url, content=content, headers=headers, auth=auth
            ) as response:
                body = await _body(response, method)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NodeUnavailable(f"{method}: no answer from {self._place()}: {_words(error)}") from error
        if response.status_code in {401, 403}:
            raise NodeUnavailable(
                f"{self._place()} refuses us (HTTP {response.status_code}): check user, password or cookie"
            )
        if response.status_code != 200 and not body.lstrip().startswith(b"{"):
            raise NodeUnavailable(f"{method}: {self._place()} answers with HTTP {response.status_code}")
        return response.status_code, body

    def _place(self) -> str:
        """The URL without what may be secret in it: hosted nodes put keys into the path."""
        parts = urlsplit(self._config.url)
        return f"{parts.scheme}://{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


async def _body(response: httpx.Response, method: str) -> bytes:
    parts, size = [], 0
    async with aclosing(cast("AsyncGenerator[bytes]", response.aiter_bytes())) as body:
        async for part in body:
            size += len(part)
            if size > MAX_BODY_BYTES:
                raise NodeUnavailable(f"{method}: the answer is longer than {MAX_BODY_BYTES} bytes")
            parts.append(part)
    return b"".join(parts)


def _request(number: int, method: str, params: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()


@lru_cache(maxsize=64)
def _decoder(result: Any) -> msgspec.json.Decoder[Reply[Any]]:
    return msgspec.json.Decoder(Reply[result])


def _result(body: bytes, result: type[T], number: int, method: str, status: int) -> T | None:
    try:
        # Cached for the types of this package, which are classes or made of them, and so hashable.
        reply: Reply[T] = _decoder(cast("Hashable", result)).decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise _garbage(method, status, str(error)) from error
    if reply.id != number:
        raise _garbage(method, status, "not an answer to what was asked")
    if reply.error is not None:
        raise _refused(reply.error)
    if isinstance(reply.result, msgspec.UnsetType):
        raise _garbage(method, status, "neither result nor error")
    return reply.result


def _refused(error: RpcError) -> NodeRefused | NodeUnavailable:
    words = error.message[:REASON_CHARACTERS]
    if error.code in _NOT_NOW:
        return NodeUnavailable(f"the node is not ready ({error.code}): {words}")
    return NodeRefused(error.code, words)


def _garbage(method: str, status: int, what: str) -> NodeUnavailable:
    return NodeUnavailable(f"{method}: the answer (HTTP {status}) is of no use: {what[:REASON_CHARACTERS]}")


def _words(error: Exception) -> str:
    return str(error)[:REASON_CHARACTERS] or type(error).__name__

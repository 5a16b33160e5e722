"""Where cold backups go: named objects in a folder or in a bucket, each put whole or not at all.

A folder is written by our own disk, since a copy that lets the original be deleted has to be synced; obstore does not
sync files. Buckets are obstore's, through its blocking interface, with credentials and endpoints from the environment
(AWS_ACCESS_KEY_ID, AWS_ENDPOINT, GOOGLE_APPLICATION_CREDENTIALS and so on).

Everything blocks. Every failure is TargetFailed, with one line of reason: the target may be back the next time.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, Protocol
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from persistence.exits import Unreadable
from persistence.storage import RealDisk

if TYPE_CHECKING:  # obstore has these for type checkers only
    from obstore.store import RetryConfig

SCHEMES: Final = ("file", "s3", "gs")

# Larger objects travel in parts of this size, between which the work can be ended.
PART_BYTES: Final = 5 * 1024 * 1024
PARTS_AT_ONCE: Final = 2

# How long a request to a bucket, which itself has 30 s, is tried again before its failure is ours to handle. (Options
# for the client would replace those of the environment, so there are none.)
_RETRY: "Final[RetryConfig]" = {"max_retries": 2, "retry_timeout": timedelta(seconds=20)}


class BadTarget(ValueError):  # noqa: N818 - the operator's mistake, told in a sentence
    """A URL that names no target."""


class TargetFailed(Exception):  # noqa: N818 - a condition that may pass
    """The target cannot be reached or used now."""


class NoSuchObject(Exception):  # noqa: N818 - an answer
    """There is no object of this name."""


class Pace(Protocol):
    """Called by long work every so often, to let others run; whatever it raises ends the work."""

    def __call__(self) -> None:
        """Take a breath."""


def no_pace() -> None:
    """Go on at once."""


class ObjectStore(Protocol):
    """Objects by name, with '/' between folders. Every operation raises TargetFailed."""

    @property
    def url(self) -> str:
        """As the operator named it."""

    def put(self, name: str, data: bytes, *, pace: Pace = no_pace) -> None:
        """Store an object, in place of any other of the name, in one step; it is there for good when this returns."""

    def get(self, name: str, *, pace: Pace = no_pace) -> bytes:
        """An object's bytes. Raises NoSuchObject."""

    def list(self, folder: str) -> dict[str, int]:
        """The sizes in bytes of the objects in a folder, by their names in it."""


def check_target(url: str) -> None:
    """Raises BadTarget for what is no `file:///absolute/folder`, `s3://bucket/prefix` or `gs://bucket/prefix`."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise BadTarget(f"{url!r} is no URL: {error}") from error
    if parts.scheme not in SCHEMES:
        raise BadTarget(f"{url!r} is no backup target: it begins with none of file://, s3:// and gs://")
    if parts.query or parts.fragment or not url.isprintable():
        raise BadTarget(f"{url!r} is no backup target: it ends behind the path")
    if parts.scheme == "file" and not re.fullmatch(r"file:///+[^/].*", url):
        raise BadTarget(f"{url!r} is no backup target: a folder is file:/// and its absolute path")
    if parts.scheme != "file" and not re.fullmatch(r"[A-Za-z0-9._-]+", parts.netloc):
        raise BadTarget(f"{url!r} is no backup target: there is no bucket in it")


def open_target(url: str) -> ObjectStore:
    """The store that a URL names; it is not looked at yet. Raises BadTarget or TargetFailed."""
    check_target(url)
    if url.startswith("file:"):
        return FolderStore(url)
    try:
        return BucketStore(url, from_url(url, retry_config=_RETRY))
    except (BaseError, ValueError, OSError) as error:
        raise TargetFailed(f"{url}: {_first_line(error)}") from error


# A folder -------------------------------------------------------------------------------------------------------------


class FolderStore:
    """A folder that somebody made: where it is missing, a disk may not be mounted, so it is not made here."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._folder = unquote(urlsplit(url).path)
        self._disk = RealDisk(self._folder, _fail)

    def put(self, name: str, data: bytes, *, pace: Pace = no_pace) -> None:
        """Write, sync, rename, sync the folder."""
        pace()
        with self._reachable():
            self._disk.make_folder(name.rpartition("/")[0])
            self._disk.write_file(name, data)

    def get(self, name: str, *, pace: Pace = no_pace) -> bytes:
        """Read a file."""
        pace()
        with self._reachable():
            if not self._disk.exists(name):
                raise NoSuchObject(name)
            return self._disk.read(name)

    def list(self, folder: str) -> dict[str, int]:
        """Names and sizes, but for what was not written to its end."""
        with self._reachable():
            names = [name for name in self._disk.list(folder) if not name.endswith(".tmp")]
            return {name: self._disk.size(f"{folder}/{name}") for name in names}

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        if not Path(self._folder).is_dir():
            raise TargetFailed(f"{self.url}: there is no such folder; make it, or mount its disk")
        try:
            yield
        except Unreadable as error:
            raise TargetFailed(f"{self.url}: {error}") from error


def _fail(_code: int, message: str) -> NoReturn:
    """What a disk does that cannot write: of a backup that is not the end of the process."""
    raise TargetFailed(message)


# A bucket -------------------------------------------------------------------------------------------------------------


class BucketStore:
    """Any store of obstore's."""

    def __init__(self, url: str, store: obstore.store.ObjectStore) -> None:
        self.url = url
        self._store = store

    def put(self, name: str, data: bytes, *, pace: Pace = no_pace) -> None:
        """Upload, large objects in parts."""
        with self._reachable():
            if len(data) <= PART_BYTES:
                self._store.put(name, data, use_multipart=False)
            else:
                parts = _parts(data, pace)
                self._store.put(name, parts, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)

    def get(self, name: str, *, pace: Pace = no_pace) -> bytes:
        """Download."""
        found = []
        with self._reachable():
            try:
                answer = self._store.get(name)
            except FileNotFoundError as error:
                raise NoSuchObject(name) from error
            for part in answer.stream(min_chunk_size=PART_BYTES):
                found.append(bytes(part))
                pace()
        return b"".join(found)

    def list(self, folder: str) -> dict[str, int]:
        """Ask for all below the folder's name; nothing is deeper."""
        with self._reachable():
            objects = [meta for chunk in self._store.list(folder) for meta in chunk]
        return {meta["path"].removeprefix(f"{folder}/"): meta["size"] for meta in objects}

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except (BaseError, ValueError, OSError) as error:
            raise TargetFailed(f"{self.url}: {_first_line(error)}") from error


def _parts(data: bytes, pace: Pace) -> Iterator[bytes]:
    for begin in range(0, len(data), PART_BYTES):
        pace()
        yield data[begin : begin + PART_BYTES]


def _first_line(error: Exception) -> str:
    """Without the structure of the library's own that follows."""
    return str(error).partition("\n")[0] or repr(error)

"""The targets of backups: one suite for every kind, and what is particular to each."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from obstore.store import LocalStore, MemoryStore

from persistence.object_store import (
    PART_BYTES,
    BadTarget,
    BucketStore,
    FolderStore,
    NoSuchObject,
    ObjectStore,
    TargetFailed,
    check_target,
    open_target,
)
from tests.s3 import BUCKET, FakeS3, fake_s3

LARGE = bytes(range(256)) * (2 * PART_BYTES // 256 + 3)


@pytest.fixture(name="s3")
def _s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeS3]:
    """An S3 that the environment points at."""
    with fake_s3() as s3:
        for name, value in s3.environment().items():
            monkeypatch.setenv(name, value)
        yield s3


@pytest.fixture(name="store", params=["folder", "obstore-local", "obstore-memory", "s3"])
def _store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """A target of each kind."""
    if request.param == "folder":
        return open_target(tmp_path.as_uri())
    if request.param == "obstore-local":
        return BucketStore("local", LocalStore(str(tmp_path)))
    if request.param == "obstore-memory":
        return BucketStore("memory", MemoryStore())
    request.getfixturevalue("s3")
    return open_target(f"s3://{BUCKET}/tally/stick")


# Every kind -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"a", bytes(1000), LARGE], ids=["empty", "small", "zeros", "large"])
def test_what_is_put_is_got_back(store: ObjectStore, data: bytes) -> None:
    """To the byte, also where it travels in parts."""
    store.put("some/where/an-object.zst", data)
    assert store.get("some/where/an-object.zst") == data


def test_a_put_replaces(store: ObjectStore) -> None:
    """In one step, whatever was longer before."""
    store.put("folder/name", b"first and longer")
    store.put("folder/name", b"second")
    assert store.get("folder/name") == b"second"


def test_what_is_not_there_is_told(store: ObjectStore) -> None:
    """And is no failure of the target, so nobody tries again."""
    with pytest.raises(NoSuchObject):
        store.get("folder/nothing")


def test_a_folder_is_listed_with_sizes(store: ObjectStore) -> None:
    """All of it, however many answers that takes; other folders, also such that begin alike, are not in it."""
    sizes = {f"{n:04d}.zst": n for n in range(8)}
    for name, size in sizes.items():
        store.put(f"ab/{name}", bytes(size))
    store.put("abc/other", b"x")
    assert store.list("ab") == sizes
    assert store.list("nowhere") == {}


def test_the_pace_can_end_a_transfer(store: ObjectStore) -> None:
    """Its exception comes out as it is, and what was being put is not there."""

    class StopNowError(Exception):
        pass

    def stop() -> None:
        raise StopNowError

    with pytest.raises(StopNowError):
        store.put("folder/large", LARGE, pace=stop)
    assert store.list("folder") == {}
    store.put("folder/large", LARGE)
    with pytest.raises(StopNowError):
        store.get("folder/large", pace=stop)


# A folder -------------------------------------------------------------------------------------------------------------


def test_a_folder_that_is_missing_is_not_made(tmp_path: Path) -> None:
    """It may be a disk that is not mounted: the target failed, in every operation."""
    store = open_target((tmp_path / "mnt").as_uri())
    for work in (lambda: store.put("a/b", b""), lambda: store.get("a/b"), lambda: store.list("a")):
        with pytest.raises(TargetFailed, match="no such folder; make it, or mount its disk"):
            work()
    assert not (tmp_path / "mnt").exists()


def test_a_folder_that_cannot_be_written_fails_as_a_target(tmp_path: Path) -> None:
    """It does not end the process, as our own disk does; and what is half written is not listed."""
    store = open_target(tmp_path.as_uri())
    (tmp_path / "a").write_text("a file where a folder belongs", encoding="ascii")
    with pytest.raises(TargetFailed, match="something else where a folder belongs"):
        store.put("a/b", b"data")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "object.tmp").write_bytes(b"half")
    (tmp_path / "c" / "object").write_bytes(b"whole")
    assert store.list("c") == {"object": 5}


def test_a_full_folder_fails_as_a_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk without room for the copy is no reason to end."""

    def no_room(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = FolderStore(tmp_path.as_uri())
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", no_room)
        with pytest.raises(TargetFailed, match="ENOSPC"):
            store.put("a/b", b"data")
    store.put("a/b", b"data")
    assert store.list("a") == {"b": 4}


def test_an_url_names_a_folder_with_spaces(tmp_path: Path) -> None:
    """As an URL writes them."""
    (tmp_path / "a b%").mkdir()
    url = (tmp_path / "a b%").as_uri()
    assert "%20" in url
    open_target(url).put("x/y", b"z")
    assert (tmp_path / "a b%" / "x" / "y").read_bytes() == b"z"


# S3 -------------------------------------------------------------------------------------------------------------------


def test_s3_gets_signed_requests_below_its_prefix(s3: FakeS3) -> None:
    """With credentials and endpoint from the environment; small objects in one request, large ones in parts."""
    store = open_target(f"s3://{BUCKET}/tally/stick")
    store.put("a/small", b"data")
    assert s3.requests == ["PUT tally/stick/a/small"]
    assert s3.objects == {"tally/stick/a/small": b"data"}
    s3.requests.clear()
    store.put("a/large", LARGE)
    assert sorted(s3.requests) == ["POST tally/stick/a/large"] * 2 + ["PUT tally/stick/a/large"] * 3
    assert s3.objects["tally/stick/a/large"] == LARGE


def test_s3_that_is_down_fails_in_one_line_and_comes_back(s3: FakeS3) -> None:
    """After a few tries of the library's own."""
    store = open_target(f"s3://{BUCKET}/x")
    s3.is_down = True
    with pytest.raises(TargetFailed, match="503") as failure:
        store.put("a/b", b"data")
    assert "\n" not in str(failure.value)
    assert len(s3.requests) == 3
    s3.is_down = False
    store.put("a/b", b"data")
    assert store.get("a/b") == b"data"


def test_s3_with_other_credentials_refuses(s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is a failure like others: it may be mended at the target."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody else")
    store = open_target(f"s3://{BUCKET}/x")
    with pytest.raises(TargetFailed):
        store.list("a")
    assert s3.objects == {}


# URLs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["file:///backup", "s3://bucket", "s3://bucket/a/b", "gs://bucket/a"])
def test_targets(url: str) -> None:
    """The three kinds that are taken."""
    check_target(url)


@pytest.mark.parametrize(
    "url",
    ["", "backup", "/backup", "file:backup", "file://host/backup", "file:///", "s3:///x", "s3://", "s3://b/x?y=z",
     "s3://b/x#y", "s3://user:word@b/x", "ftp://host/x", "memory:///", "http://host/x", "s3://b/x\n", "s3://[/x"],
)  # fmt: skip
def test_no_targets(url: str) -> None:
    """What names no target is refused in a sentence that quotes it."""
    with pytest.raises(BadTarget, match=r"URL|target"):
        check_target(url)

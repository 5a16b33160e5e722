"""What a configuration may say of the store, and what becomes of it."""

from pathlib import Path
from random import Random

import pytest

from persistence.mysql import BadUrl, Limits, MysqlDatabase, is_this_machine, server_of
from persistence.opening import FILE, StoreConfig, open_database
from persistence.sql_store import SqlStore
from persistence.sqlite import SqliteDatabase
from persistence.txstore import Scanned, StoreRefused, StoreUnavailable
from tests.mariadb import write_certificates
from tests.stores import block, inline, new_deposit


def opened(folder: Path, url: str = "", ca_file: str = "", password_file: str = "") -> SqliteDatabase | MysqlDatabase:
    """What the configuration opens."""
    config = StoreConfig(url=url, ca_file=ca_file, password_file=password_file)
    found = open_database(config, folder=str(folder), blocking=inline, random=Random(0))
    assert isinstance(found, SqliteDatabase | MysqlDatabase)
    return found


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgres://u@h/d", "does not begin with mysql:// or sqlite://"),
        ("mysql://u:secret@h/d", "holds a password"),
        ("mysql://h/d", "is not of the form"),
        ("mysql://u@/d", "is not of the form"),
        ("mysql://u@h", "is not of the form"),
        ("mysql://u@h/", "is not of the form"),
        ("mysql://u@h/d/e", "is not of the form"),
        ("mysql://u@h:99999/d", "is none"),
        ("mysql://u@h/d?ssl=0", "unknown option 'ssl'"),
        ("sqlite://host/path", "is not of the form sqlite:///path"),
        ("sqlite:///", "is not of the form sqlite:///path"),
        ("sqlite:///a?mode=ro", "is not of the form sqlite:///path"),
    ],
)
def test_a_bad_url_is_refused_by_name(url: str, why: str) -> None:
    """When the configuration is read, and without showing a password."""
    with pytest.raises(ValueError, match=why) as caught:
        StoreConfig(url=url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "here"),
    [("localhost", True), ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("10.0.0.1", False), ("db", False)],
)
def test_which_hosts_are_this_machine(host: str, here: bool) -> None:
    """Only what never leaves it."""
    assert is_this_machine(host) == here


@pytest.mark.parametrize(
    ("place", "ca", "encrypted"),
    [
        ("u@db.example.com", False, True),
        ("u@10.1.2.3:3307", False, True),
        ("u@[2001:db8::1]", False, True),
        ("u@127.0.0.1", False, False),
        ("u@localhost", True, True),
    ],
)
def test_tls_is_required_for_every_other_machine(tmp_path: Path, place: str, ca: bool, encrypted: bool) -> None:
    """And wherever an authority is named; the certificate and its name are always checked."""
    write_certificates(tmp_path)
    ca_file = str(tmp_path / "ca.pem") if ca else ""
    server = server_of(f"mysql://{place}/d", password="", ca_file=ca_file, limits=Limits())
    assert (server.tls is not None) == encrypted
    if server.tls is not None:
        assert server.tls.check_hostname
        assert server.tls.verify_mode.name == "CERT_REQUIRED"
        assert server.tls.minimum_version.name == "TLSv1_2"


def test_a_bad_authority_is_refused(tmp_path: Path) -> None:
    """One that is not there, and one that is none."""
    with pytest.raises(BadUrl, match="is not there"):
        opened(tmp_path, url="mysql://u@h/d", ca_file=str(tmp_path / "none"))
    (tmp_path / "empty").write_text("nothing")
    with pytest.raises(BadUrl, match="holds no certificate"):
        opened(tmp_path, url="mysql://u@h/d", ca_file=str(tmp_path / "empty"))


def test_the_password_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    """Without its end, and it is not shown."""
    (tmp_path / "password").write_text("pässwörd \nignored\n", encoding="utf-8")
    found = opened(tmp_path, url="mysql://u@127.0.0.1/d", password_file=str(tmp_path / "password"))
    assert isinstance(found, MysqlDatabase)
    assert found._server.password == "pässwörd "  # noqa: S105 - of nobody
    assert "pässwörd" not in str(found._server)
    with pytest.raises(StoreRefused, match="cannot be read: No such file"):
        opened(tmp_path, url="mysql://u@127.0.0.1/d", password_file=str(tmp_path / "none"))
    (tmp_path / "long").write_bytes(b"x" * 2_000)
    with pytest.raises(StoreRefused, match="longer than 1024 bytes"):
        opened(tmp_path, url="mysql://u@127.0.0.1/d", password_file=str(tmp_path / "long"))


async def test_without_a_url_it_is_a_file_in_the_data_folder(tmp_path: Path) -> None:
    """Which is there again at the next start."""
    for first in (True, False):
        database = opened(tmp_path)
        store = SqlStore(database)
        assert await store.add_block(Scanned(block=block(1), deposits=[new_deposit()]), 1) is first
        await store.aclose()
    assert (tmp_path / FILE).exists()
    elsewhere = SqlStore(opened(tmp_path, url=f"sqlite:///{tmp_path}/other"))
    assert await elsewhere.scanned_blocks("BTC", 1) == []
    await elsewhere.aclose()


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """It is not written over."""
    (tmp_path / FILE).write_bytes(b"something else entirely, and long enough" * 100)
    with pytest.raises(StoreRefused, match="is not an SQLite database"):
        await SqlStore(opened(tmp_path)).check()
    assert (tmp_path / FILE).read_bytes().startswith(b"something else")


async def test_a_folder_that_is_not_there_is_a_store_that_is_away(tmp_path: Path) -> None:
    """It may come back."""
    with pytest.raises(StoreUnavailable, match="unable to open"):
        await SqlStore(opened(tmp_path / "none")).check()


async def test_a_closed_store_is_unavailable(tmp_path: Path) -> None:
    """For whoever still has it."""
    store = SqlStore(opened(tmp_path))
    await store.check()
    await store.aclose()
    with pytest.raises(StoreUnavailable, match="was closed"):
        await store.scanned_blocks("BTC", 1)


async def test_a_newer_programs_file_is_refused(tmp_path: Path) -> None:
    """Its schema may mean what this program knows nothing of."""
    database = opened(tmp_path)
    assert isinstance(database, SqliteDatabase)
    await database.check()
    assert database._connection is not None
    database._connection.execute("INSERT INTO migration VALUES (9999, 'later', 'x', 1)")
    await database.aclose()
    with pytest.raises(StoreRefused, match="a newer program has used it"):
        await SqlStore(opened(tmp_path)).check()

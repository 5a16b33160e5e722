"""What all tests share."""

from collections.abc import AsyncIterator, Iterator
from typing import NoReturn

import pytest
import structlog
from structlog.typing import EventDict, WrappedLogger

from persistence.sql_store import SqlStore
from persistence.statements import Database
from persistence.txstore import TxStore
from tests.mariadb import MariaDb, private_mariadb
from tests.stores import in_memory, on_mariadb


def _drop(_logger: WrappedLogger, _method: str, _event: EventDict) -> NoReturn:
    raise structlog.DropEvent


# Crashes are what many tests are about, and their tracebacks cost more than the tests. `capture_logs` still works.
structlog.configure(processors=[_drop])


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDb]:
    """A MariaDB server for all tests of a run; each makes databases of its own."""
    with private_mariadb() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.process)])
async def database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """An empty database of each kind."""
    made: Database = in_memory() if request.param == "sqlite" else await on_mariadb(request.getfixturevalue("mariadb"))
    yield made
    await made.aclose()


@pytest.fixture
async def store(database: Database) -> TxStore:
    """An empty store of each kind."""
    return SqlStore(database)

"""What a transaction is made of, apart from who carries it out.

A transaction is a generator function: it yields statements, is sent what came of each, and returns its answer. It does
no I/O and may be run again from its beginning, so whoever carries it out (`persistence.sqlite` in one go in a thread,
`persistence.mysql` with awaits between) can retry it whole. What it raises rolls everything back.

Statements are in the SQL that SQLite, MariaDB and MySQL share, with `?` for values. `FOR_UPDATE` locks what is read
where others could write at the same time, and says nothing to SQLite, which has one writer.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Final, Protocol, TypeVar

from attrs import field, frozen

from persistence.schema import TABLES
from persistence.txstore import Value

FOR_UPDATE: Final = " /*! FOR UPDATE */"

T = TypeVar("T")


@frozen
class Query:
    """A statement, and the values of its question marks."""

    sql: str
    values: Sequence[Value] = ()


@frozen
class Insert:
    """A new row; its result counts 0 rows, and nothing is changed, where one with a key of it is there already.

    Raises ValueError, naming the field, the value and the limit, for what the table has no room for.
    """

    table: str
    row: Mapping[str, Value] = field()

    def __attrs_post_init__(self) -> None:
        TABLES[self.table].check(self.row)

    def query(self) -> Query:
        """As SQL."""
        names = ", ".join(self.row)
        marks = ", ".join("?" * len(self.row))
        return Query(f"INSERT INTO {self.table} ({names}) VALUES ({marks})", tuple(self.row.values()))


@frozen
class Result:
    """What came of a statement."""

    count: int
    """Rows that were changed, or matched what was to be changed."""
    rows: Sequence[Sequence[Value]] = ()


Statement = Query | Insert
Steps = Generator[Statement, Result, T]
Transaction = Callable[[], Steps[T]]


class Database(Protocol):
    """Who carries transactions out. Every method may raise StoreError."""

    async def transact(self, transaction: Transaction[T], *, snapshot: bool = False) -> T:
        """Carry it out and commit; `snapshot`: all it reads is as of one moment, and it changes nothing."""
        ...

    def share(self, connections: int) -> "Database":
        """The database, for an actor that may use so many connections at once; not to be closed by it."""
        ...

    async def check(self) -> None:
        """Make sure that the database answers and has this program's schema."""
        ...

    async def aclose(self) -> None:
        """Let go of everything."""
        ...

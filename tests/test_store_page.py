"""docs/store.md is held against the schema, and the schema against what the migrations make."""

import pytest

from actors.audit_book import kind_of
from persistence.schema import TABLES, Int
from persistence.statements import Database, Query, Steps
from persistence.txstore import Value
from tests.pages import read_page, sections, table

PAGE = read_page("store.md")


def test_the_page_has_every_table() -> None:
    """With its key, in the order of the schema or any other."""
    rows = table(sections(PAGE, 2)["Tables"], "table", "key", "what it holds")
    assert {row[0]: tuple(row[1].split(", ")) for row in rows} == {name: spec.key for name, spec in TABLES.items()}


@pytest.mark.parametrize("name", TABLES)
async def test_the_migrations_make_what_the_program_knows(database: Database, name: str) -> None:
    """Column for column, in the same order."""

    def look() -> Steps[int]:
        columns = ", ".join(TABLES[name].columns)
        same = yield Query(f"SELECT COUNT(*) FROM (SELECT * FROM {name} UNION ALL SELECT {columns} FROM {name}) x")
        return int(same.rows[0][0] or 0)

    assert await database.transact(look) == 0


@pytest.mark.parametrize("name", TABLES)
def test_every_key_is_of_columns_that_cannot_be_empty(name: str) -> None:
    """A key with NULL in it would be no key."""
    spec = TABLES[name]
    for column in spec.key:
        kind = spec.columns[column]
        assert not (isinstance(kind, Int) and kind.nullable)


def test_calls_are_of_the_kinds_that_the_page_names() -> None:
    """Money and keys can be found by themselves."""
    kinds: list[Value] = [kind_of(call) for call in ("deposit.credit", "ledger.adjust", "key.revoke", "market.halt")]
    assert kinds == ["money", "money", "key", "admin"]

"""The steps by which the store's schema came to be what it is: numbered files of SQL, each carried out once, in order.

A file that has been carried out anywhere is never changed; the digest of each is kept beside its number.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Final

from attrs import frozen

from persistence.txstore import StoreRefused

BOOKKEEPING: Final = (
    "CREATE TABLE IF NOT EXISTS migration ("
    "version BIGINT NOT NULL, name VARCHAR(100) NOT NULL, digest VARCHAR(64) NOT NULL, done BIGINT NOT NULL,"
    " PRIMARY KEY (version)) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */"
)
DONE: Final = "SELECT version, digest, done FROM migration"


@frozen
class Migration:
    """One step."""

    version: int
    name: str
    digest: str
    statements: tuple[str, ...]


@cache
def migrations() -> tuple[Migration, ...]:
    """Every step that this program knows, in order."""
    found = []
    for file in resources.files("persistence").joinpath("migrations").iterdir():
        named = re.fullmatch(r"(\d{4})_(\w+)\.sql", file.name)
        if named is not None:
            found.append(_read(int(named[1]), named[2], file.read_text(encoding="utf-8")))
    return tuple(sorted(found, key=lambda migration: migration.version))


def _read(version: int, name: str, sql: str) -> Migration:
    words = "\n".join(line for line in sql.splitlines() if not line.startswith("--"))
    statements = tuple(statement.strip() for statement in words.split(";") if statement.strip())
    digest = hashlib.blake2b(sql.encode(), digest_size=32).hexdigest()
    return Migration(version, name, digest, statements)


def to_do(done: Mapping[int, tuple[str, bool]], known: Sequence[Migration]) -> list[tuple[Migration, bool]]:
    """The steps that a database lacks, and whether each was begun before: digests and ends of the others are in `done`.

    Raises StoreRefused for a database that a newer program has changed, or another one.
    """
    versions = {migration.version: migration for migration in known}
    for version, (digest, _) in sorted(done.items()):
        if version not in versions:
            raise StoreRefused(
                f"the store's schema is of version {version}, this program knows only {max(versions)}: "
                "a newer program has used it"
            )
        if versions[version].digest != digest:
            raise StoreRefused(f"the store's schema of version {version} is not this program's")
    finished = {version for version, (_, is_done) in done.items() if is_done}
    return [(migration, migration.version in done) for migration in known if migration.version not in finished]

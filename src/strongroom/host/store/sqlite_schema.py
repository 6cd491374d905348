"""The tables of the SQLite store, and the steps from each earlier schema to them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from strongroom.host.store.port import SchemaMismatch

SCHEMA_VERSION: Final = 2


def _found(connection: sqlite3.Connection) -> None:
    connection.execute(
        """CREATE TABLE rows(
               id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, version INTEGER NOT NULL, sealed BLOB NOT NULL
           ) STRICT"""
    )
    connection.execute("CREATE TABLE log(seq INTEGER PRIMARY KEY, sealed BLOB NOT NULL) STRICT")


def _keep_leaves(connection: sqlite3.Connection) -> None:
    """Schema 2: leaves by index and the hashes of their tree. What schema 1 logged is kept beside, as `log_1`."""
    if connection.execute("SELECT 1 FROM log LIMIT 1").fetchone():
        connection.execute("ALTER TABLE log RENAME TO log_1")
    else:
        connection.execute("DROP TABLE log")
    connection.execute("CREATE TABLE log(seq INTEGER PRIMARY KEY, leaf BLOB NOT NULL) STRICT")
    connection.execute(
        """CREATE TABLE log_hashes(
               level INTEGER NOT NULL, idx INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY(level, idx)
           ) STRICT, WITHOUT ROWID"""
    )


STEPS: Final[tuple[Callable[[sqlite3.Connection], None], ...]] = (_found, _keep_leaves)
"""The step at index n leads from schema n to n + 1; 0 is an empty file."""

_COLUMNS: Final[tuple[frozenset[str], ...]] = (
    frozenset(),
    frozenset({"rows.id", "rows.key", "rows.version", "rows.sealed", "log.seq", "log.sealed"}),
    frozenset(
        {"rows.id", "rows.key", "rows.version", "rows.sealed", "log.seq", "log.leaf"}
        | {"log_hashes.level", "log_hashes.idx", "log_hashes.hash"}
    ),
)
"""What the tables of each schema have: another program may count its schemas in the same place."""


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the tables to this schema, all steps or none. Raises `SchemaMismatch`, sqlite3.Error."""
    if _version(connection) == SCHEMA_VERSION:
        _verify_columns(connection, SCHEMA_VERSION, path)
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = _version(connection)
        if found > SCHEMA_VERSION:
            raise SchemaMismatch(
                f"{path.name} has schema version {found}, this program knows {SCHEMA_VERSION}",
                "use a newer strongroom; the database was not touched",
            )
        _verify_columns(connection, found, path)
        for step in STEPS[found:]:
            step(connection)
        _verify_columns(connection, SCHEMA_VERSION, path)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _verify_columns(connection: sqlite3.Connection, version: int, path: Path) -> None:
    found = connection.execute(
        "SELECT t.name || '.' || c.name FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table'"
    )
    columns = {name for (name,) in found if not name.startswith("log_1.")}
    if columns != _COLUMNS[version]:
        raise SchemaMismatch(
            f"{path.name} is another program's database", "name another data directory; the database was not touched"
        )

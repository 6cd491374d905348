"""The tables of the PostgreSQL store, the steps to them, and what is checked before one of them is touched."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from strongroom.host.store.port import CannotOpen, SchemaMismatch
from strongroom.host.store.postgres_session import Fault, Session

STEPS: Final[tuple[tuple[str, ...], ...]] = (
    (
        "CREATE TABLE rows(key bytea PRIMARY KEY, version bigint NOT NULL, sealed bytea NOT NULL)",
        "CREATE TABLE log(seq bigint PRIMARY KEY, leaf bytea NOT NULL)",
        "CREATE TABLE log_hashes(level bigint, idx bigint, hash bytea NOT NULL, PRIMARY KEY(level, idx))",
        "CREATE TABLE strongroom(schema_version bigint NOT NULL)",
        "INSERT INTO strongroom VALUES (0)",
    ),
    (
        "CREATE TABLE lease(name text PRIMARY KEY, holder text NOT NULL, url text NOT NULL,"
        " until timestamp with time zone NOT NULL)",
    ),
)
"""The step at index n leads from schema n to n + 1; 0 is no table at all."""

COLUMNS: Final = frozenset(
    {"rows.key bytea", "rows.version bigint", "rows.sealed bytea", "log.seq bigint", "log.leaf bytea"}
    | {"log_hashes.level bigint", "log_hashes.idx bigint", "log_hashes.hash bytea"}
    | {"strongroom.schema_version bigint"}
    | {"lease.name text", "lease.holder text", "lease.url text", "lease.until timestamp with time zone"}
)
"""What the tables of the newest schema have."""
_TABLES: Final = sorted({column.partition(".")[0] for column in COLUMNS})
_RIGHTS: Final = [
    ("rows", "SELECT"), ("rows", "INSERT"), ("rows", "UPDATE"), ("log", "SELECT"), ("log", "INSERT"),
    ("log_hashes", "SELECT"), ("log_hashes", "INSERT"), ("strongroom", "SELECT"), ("strongroom", "UPDATE"),
    ("lease", "SELECT"), ("lease", "INSERT"), ("lease", "UPDATE"),
]  # fmt: skip
_VERSION: Final = "strongroom.schema_version bigint"
_UNTOUCHED: Final = "the database was not touched"


async def verify_schema(session: Session) -> None:
    """That tables have a place. Raises `CannotOpen`, `Fault`."""
    if (await session.fetch("SELECT current_schema()"))[0][0] is None:
        raise CannotOpen(
            "this database user has no schema to keep tables in",
            "let its search_path name one that exists and that it may use",
        )


async def migrate(session: Session) -> None:
    """Bring the tables to the newest schema, all steps or none. Raises `CannotOpen`, `Fault`."""
    found = await _columns(session)
    if found and _VERSION not in found:
        raise _another_programs()
    if found:
        await _verify_rights(session, {column.partition(".")[0] for column in found})
    async with session.transaction():
        version = (await session.fetch("SELECT schema_version FROM strongroom FOR UPDATE"))[0][0] if found else 0
        if version > len(STEPS):
            raise SchemaMismatch(
                f"the database has schema version {version}, this program knows {len(STEPS)}",
                f"use a newer strongroom; {_UNTOUCHED}",
            )
        if version < len(STEPS):
            await _step_up(session, version)
        columns = await _columns(session)
        unseen = sorted(set(_TABLES) - {column.partition(".")[0] for column in columns})
        if unseen and found:  # who has no right at all to a table is not shown its columns
            raise _lacks_rights(f"{table}: SELECT" for table in unseen)
        if columns != COLUMNS:
            raise _another_programs()


async def _step_up(session: Session, version: int) -> None:
    try:
        for step in STEPS[version:]:
            for statement in step:
                await session.fetch(statement)
        await session.fetch("UPDATE strongroom SET schema_version = $1", len(STEPS))
    except Fault as fault:
        if fault.state == "42501":
            raise CannotOpen(
                "the database user has no right to create or alter the tables",
                "once: GRANT CREATE ON SCHEMA public TO the user, or start once as the owner of the tables",
            ) from None
        if fault.state == "42P07":  # they exist, and are not shown to who has no right to them
            raise CannotOpen(
                "the tables of this database belong to another user", "connect as that one, or let it grant the rights"
            ) from None
        raise


async def _columns(session: Session) -> frozenset[str]:
    records = await session.fetch(
        "SELECT table_name || '.' || column_name || ' ' || data_type FROM information_schema.columns"
        " WHERE table_schema = current_schema() AND table_name = ANY($1::text[])",
        _TABLES,
    )
    return frozenset(record[0] for record in records)


async def _verify_rights(session: Session, tables: Collection[str]) -> None:
    records = await session.fetch(
        "SELECT name || ': ' || kind FROM unnest($1::text[], $2::text[]) AS wanted(name, kind)"
        " WHERE NOT has_table_privilege(name, kind)",
        [table for table, _ in _RIGHTS if table in tables],
        [kind for table, kind in _RIGHTS if table in tables],
    )
    if records:
        raise _lacks_rights(record[0] for record in records)


def _lacks_rights(rights: Iterable[str]) -> CannotOpen:
    return CannotOpen(
        f"the database user lacks rights ({', '.join(rights)})",
        f"as the owner of the tables: GRANT SELECT, INSERT, UPDATE ON {', '.join(_TABLES)} TO the user",
    )


def _another_programs() -> SchemaMismatch:
    return SchemaMismatch(
        f"the database has tables of another program ({', '.join(_TABLES)})",
        f"use a database, or a schema, of its own; {_UNTOUCHED}",
    )

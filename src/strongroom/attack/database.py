"""The database as its owner has it: every row and leaf can be read, and put back as it was.

Only what any host can do with a client of its database; the Vault's own store is not asked. Its tables are those of a
saved copy, so that a Vault can be started on that.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from strongroom.attack.outcomes import SetUpFailed
from strongroom.host.store.sqlite_schema import migrate
from strongroom.protocol.index import HEAD_KEY, RING_KEY, bucket_key
from strongroom.protocol.tlog import Frontier, leaf_hash

SQLITE_FILE: Final = "strongroom.sqlite3"
"""In the data directory of a Vault."""
_BUSY_SECONDS: Final = 5.0
_CONNECT_SECONDS: Final = 10.0
_TILE: Final = 256
_MAX_BUCKETS: Final = 4096
"""Of those whose keys are known here: enough for 65,000 rows."""

BUCKETS: Final = {bucket_key(at): at for at in range(_MAX_BUCKETS)}
"""Row key → number, of buckets of the index."""


class Row(NamedTuple):
    """One row."""

    version: int
    sealed: bytes


Rows = Mapping[bytes, Row]


@dataclass(frozen=True, slots=True)
class Copy:
    """A whole database, as it was at one moment."""

    rows: Rows
    leaves: tuple[bytes | None, ...]
    """None: a gap."""
    hashes: Mapping[tuple[int, int], bytes]
    """Of the log's tree, by level and number: `spec/log.md`."""

    def with_rows(self, rows: Mapping[bytes, Row | None]) -> Copy:
        """With these rows put in; None: taken out."""
        kept = {key: row for key, row in self.rows.items() if key not in rows}
        return replace(self, rows=kept | {key: row for key, row in rows.items() if row is not None})

    def with_leaves(self, leaves: Mapping[int, bytes | None]) -> Copy:
        """With these leaves in the places of others; hashes stay as they are."""
        return replace(self, leaves=tuple(leaves.get(at, leaf) for at, leaf in enumerate(self.leaves)))

    def with_log(self, leaves: tuple[bytes | None, ...]) -> Copy:
        """With this log, and hashes that fit it."""
        return replace(self, leaves=leaves, hashes=_hashes([leaf_hash(leaf or b"") for leaf in leaves]))


def _hashes(level: list[bytes]) -> dict[tuple[int, int], bytes]:
    """As a store keeps them: of the leaves, and of each complete subtree of 256, of 65,536, and so on."""
    kept: dict[tuple[int, int], bytes] = {}
    number = 0
    while level:
        kept |= {(number, at): node for at, node in enumerate(level)}
        above = []
        for at in range(0, len(level) // _TILE * _TILE, _TILE):
            tree = Frontier()
            for node in level[at : at + _TILE]:
                tree.append(node)
            above.append(tree.root)
        level, number = above, number + 1
    return kept


def payload_rows(before: Rows, after: Rows) -> list[bytes]:
    """Keys of rows that were changed or added, bookkeeping (index, head, ring) left out."""
    return sorted(
        key
        for key, row in after.items()
        if before.get(key) != row and key not in BUCKETS and key not in (HEAD_KEY, RING_KEY)
    )


class Database(Protocol):
    """One database of a Vault, while it runs or not."""

    async def copy(self) -> Copy:
        """All of it, as of one moment."""

    async def restore(self, copy: Copy) -> None:
        """Make it exactly this again."""

    async def put(self, key: bytes, row: Row | None) -> None:
        """Write one row, or take it out."""

    async def verify_unused(self) -> None:
        """Raises `SetUpFailed` where somebody else has it open."""


class SqliteDatabase:
    """`Database` in the file that a Vault keeps in its data directory."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def copy(self) -> Copy:
        with self._open() as connection:
            connection.execute("BEGIN")
            rows = {key: Row(version, sealed) for key, version, sealed in connection.execute(_ROWS)}
            leaves = dict(connection.execute(_LEAVES))
            hashes = {(level, number): kept for level, number, kept in connection.execute(_HASHES)}
            connection.execute("COMMIT")
        return Copy(rows, _in_order(leaves), hashes)

    async def restore(self, copy: Copy) -> None:
        with self._open() as connection:
            _replace(connection, copy)

    async def put(self, key: bytes, row: Row | None) -> None:
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("DELETE FROM rows WHERE key = ?", (key,))
            if row is not None:
                connection.execute("INSERT INTO rows(key, version, sealed) VALUES (?, ?, ?)", (key, *row))
            connection.execute("COMMIT")

    async def verify_unused(self) -> None:
        with self._open() as connection:
            # Who has a WAL database open holds a shared lock on its file, and this asks for the other kind.
            connection.execute("PRAGMA busy_timeout = 0")
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                raise SetUpFailed(f"somebody has {self._path} open: stop the Vault first") from None
            connection.execute("ROLLBACK")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(
                f"{self._path.resolve().as_uri()}?mode=rw", timeout=_BUSY_SECONDS, isolation_level=None, uri=True
            )
        except sqlite3.Error as error:
            raise SetUpFailed(f"can't open {self._path}: {error}") from None
        try:
            yield connection
        except sqlite3.Error as error:
            raise SetUpFailed(f"the database {self._path} failed: {error}") from None
        finally:
            connection.close()


class PostgresDatabase:
    """`Database` in a PostgreSQL server. Rows and log are replaced in one transaction."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def copy(self) -> Copy:
        async with self._open() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
            rows = {key: Row(version, sealed) for key, version, sealed in await connection.fetch(_ROWS)}
            leaves = {int(at): bytes(leaf) for at, leaf in await connection.fetch(_LEAVES)}
            hashes = {(level, number): kept for level, number, kept in await connection.fetch(_HASHES)}
        return Copy(rows, _in_order(leaves), hashes)

    async def restore(self, copy: Copy) -> None:
        async with self._open() as connection, connection.transaction():
            for table in ("rows", "log", "log_hashes"):
                await connection.execute(f"DELETE FROM {table}")  # noqa: S608 (of three names)
            await connection.executemany(
                "INSERT INTO rows(key, version, sealed) VALUES ($1, $2, $3)",
                [(key, row.version, row.sealed) for key, row in copy.rows.items()],
            )
            await connection.executemany("INSERT INTO log(seq, leaf) VALUES ($1, $2)", list(_kept(copy)))
            await connection.executemany(
                "INSERT INTO log_hashes(level, idx, hash) VALUES ($1, $2, $3)",
                [(level, number, kept) for (level, number), kept in copy.hashes.items()],
            )

    async def put(self, key: bytes, row: Row | None) -> None:
        async with self._open() as connection, connection.transaction():
            await connection.execute("DELETE FROM rows WHERE key = $1", key)
            if row is not None:
                await connection.execute("INSERT INTO rows(key, version, sealed) VALUES ($1, $2, $3)", key, *row)

    async def verify_unused(self) -> None:
        async with self._open() as connection:
            others = await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND backend_type = 'client backend'"
            )
        if others:
            raise SetUpFailed(f"{others} other connections to the database are open: stop the Vault first")

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Any]:
        import asyncpg  # only where there is such a server

        try:
            connection = await asyncpg.connect(self._url, timeout=_CONNECT_SECONDS)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
            raise SetUpFailed(f"can't open the database: {type(error).__name__}") from None
        try:
            yield connection
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise SetUpFailed(f"the database failed: {type(error).__name__}") from None
        finally:
            await connection.close()


def save_copy(copy: Copy, path: Path) -> None:
    """Into a new SQLite file that a Vault's store opens: for its owner, should the kit be killed half-way. Raises
    `SetUpFailed`."""
    try:
        with path.open("xb"):
            pass
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            migrate(connection, path)
            _replace(connection, copy)
    except (OSError, sqlite3.Error) as error:
        raise SetUpFailed(f"can't save a copy of the database as {path}: {error}") from None


async def put_back_copy(path: Path, database: Database) -> None:
    """Make a database what it was when `save_copy` saved it. Raises `SetUpFailed`, also while a Vault has it open."""
    copy = await SqliteDatabase(path).copy()
    if HEAD_KEY not in copy.rows:
        raise SetUpFailed(f"{path} is no copy of a Vault's database: it has no head")
    await database.verify_unused()
    await database.restore(copy)


def database_at(named: str) -> Database:
    """In a file, a Vault's data directory, or at `postgresql://…`."""
    if named.startswith(("postgresql://", "postgres://")):
        return PostgresDatabase(named)
    path = Path(named)
    return SqliteDatabase(path / SQLITE_FILE if path.is_dir() else path)


def _replace(connection: sqlite3.Connection, copy: Copy) -> None:
    """All rows and leaves by those of the copy, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    for table in ("rows", "log", "log_hashes"):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 (of three names)
    connection.executemany(
        "INSERT INTO rows(key, version, sealed) VALUES (?, ?, ?)",
        ((key, row.version, row.sealed) for key, row in copy.rows.items()),
    )
    connection.executemany("INSERT INTO log(seq, leaf) VALUES (?, ?)", _kept(copy))
    connection.executemany(
        "INSERT INTO log_hashes(level, idx, hash) VALUES (?, ?, ?)",
        ((level, number, kept) for (level, number), kept in copy.hashes.items()),
    )
    connection.execute("COMMIT")


def _in_order(leaves: Mapping[int, bytes]) -> tuple[bytes | None, ...]:
    return tuple(leaves.get(at) for at in range(max(leaves, default=-1) + 1))


def _kept(copy: Copy) -> Iterator[tuple[int, bytes]]:
    return ((at, leaf) for at, leaf in enumerate(copy.leaves) if leaf is not None)


_ROWS: Final = "SELECT key, version, sealed FROM rows"
_LEAVES: Final = "SELECT seq, leaf FROM log"
_HASHES: Final = "SELECT level, idx, hash FROM log_hashes"

"""One moment of an SQLite database, also of one that a Vault is writing to, or of a copy on a medium that can't be
written."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from strongroom.host.store.port import SchemaMismatch
from strongroom.host.store.sqlite_schema import SCHEMA_VERSION
from strongroom.protocol.errors import Number, Unavailable
from strongroom.protocol.link import Row

_BUSY_SECONDS: Final = 10.0


class SqliteSnapshot:
    """Rows and log in one read transaction, which lasts until `close`.

    `path` is a database, or a data directory that holds one. Raises `SchemaMismatch`, OSError where there is none, and
    as all methods `Unavailable` STORE_UNAVAILABLE.
    """

    def __init__(self, path: Path) -> None:
        if path.is_dir():
            path = path / "strongroom.sqlite3"
        path.stat()
        self._connection = _open(path)
        try:
            found = self._one("PRAGMA user_version")
            if found != SCHEMA_VERSION:
                what = "a newer" if found > SCHEMA_VERSION else "no log, or an older"
                raise SchemaMismatch(
                    f"{path.name} has {what} schema (version {found}, not {SCHEMA_VERSION})",
                    "use the version of strongroom that wrote it",
                )
            self._size = self._one("SELECT coalesce(max(seq) + 1, 0) FROM log")
        except BaseException:
            self._connection.close()
            raise

    async def count(self) -> int:
        """Rows in all."""
        return self._one("SELECT count(*) FROM rows")

    async def read(self, keys: Sequence[bytes]) -> list[Row | None]:
        """Rows by key, at most some hundred; None for each that is absent."""
        places = ",".join("?" * len(keys))
        found = self._all(f"SELECT key, version, sealed FROM rows WHERE key IN ({places})", keys)  # noqa: S608
        rows = {key: Row(version, sealed) for key, version, sealed in found}
        return [rows.get(key) for key in keys]

    async def size(self) -> int:
        """Leaves of the log."""
        return self._size

    async def leaves(self, first: int, count: int) -> list[bytes]:
        """Leaves from `first` on: as many as there are up to the first that is missing."""
        found = self._all(
            "SELECT seq, leaf FROM log WHERE seq BETWEEN ? AND ? ORDER BY seq", (first, first + count - 1)
        )
        return [leaf for index, (seq, leaf) in enumerate(found, first) if seq == index]

    async def hashes(self, level: int, first: int, count: int) -> list[bytes]:
        """Kept hashes of a level of the log's tree, in the same way."""
        found = self._all(
            "SELECT idx, hash FROM log_hashes WHERE level = ? AND idx BETWEEN ? AND ? ORDER BY idx",
            (level, first, first + count - 1),
        )
        return [node for index, (idx, node) in enumerate(found, first) if idx == index]

    async def close(self) -> None:
        self._connection.close()

    def _one(self, query: str) -> int:
        return int(self._all(query, ())[0][0])

    def _all(self, query: str, values: Sequence[object]) -> list[tuple]:  # type: ignore[type-arg]
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise Unavailable(Number.STORE_UNAVAILABLE, str(error)) from None


def _open(path: Path) -> sqlite3.Connection:
    """Read-only. A write-ahead log needs a file beside it, which a medium that can't be written has no place for: then,
    and only if there is nothing in that log, SQLite is told that nobody writes."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    try:
        return _begun(address)
    except sqlite3.OperationalError as error:
        beside = path.with_name(path.name + "-wal")
        if beside.exists() and beside.stat().st_size:
            raise Unavailable(Number.STORE_UNAVAILABLE, f"{error}; copy {path.name} with its -wal file") from None
    except sqlite3.Error as error:
        raise Unavailable(Number.STORE_UNAVAILABLE, str(error)) from None
    try:
        return _begun(f"{address}&immutable=1")
    except sqlite3.Error as error:
        raise Unavailable(Number.STORE_UNAVAILABLE, str(error)) from None


def _begun(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("BEGIN")
        connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()  # the moment is that of the first read
    except BaseException:
        connection.close()
        raise
    return connection

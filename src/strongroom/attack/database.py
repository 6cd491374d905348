"""The database as its owner has it: every row and leaf can be read, and put back as it was.

Only what any host can do with a client of its database; the Vault's own store is not asked.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from strongroom.attack.outcomes import SetUpFailed
from strongroom.protocol.primitives import Domain, digest

SHARD: Final = (0).to_bytes(8, "big")
RING: Final = digest(Domain.RING_HANDLE)
HEAD: Final = digest(Domain.HEAD_HANDLE, SHARD)
_BUSY_SECONDS: Final = 5.0
_MAX_BUCKETS: Final = 4096
"""Of those whose keys are known here: enough for 65,000 rows."""

BUCKETS: Final = {digest(Domain.BUCKET_HANDLE, SHARD, at.to_bytes(8, "big")): at for at in range(_MAX_BUCKETS)}
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
    leaves: tuple[bytes, ...]
    hashes: Mapping[tuple[int, int], bytes]
    """Of the log's tree, by level and number."""

    def with_rows(self, rows: Mapping[bytes, Row | None]) -> Copy:
        """With these rows put in; None: taken out."""
        kept = {key: row for key, row in self.rows.items() if key not in rows}
        return replace(self, rows=kept | {key: row for key, row in rows.items() if row is not None})

    def with_leaves(self, leaves: Mapping[int, bytes]) -> Copy:
        """With these leaves in the places of others; hashes stay as they are."""
        return replace(self, leaves=tuple(leaves.get(at, leaf) for at, leaf in enumerate(self.leaves)))

    def cut_log(self, size: int) -> Copy:
        """With the log ending after `size` leaves, as if the others had never been."""
        hashes = {
            (level, number): kept for (level, number), kept in self.hashes.items() if (number + 1) * 256**level <= size
        }
        return replace(self, leaves=self.leaves[:size], hashes=hashes)


def payload_rows(before: Rows, after: Rows) -> list[bytes]:
    """Keys of rows that were changed or added, bookkeeping (index, head, ring) left out."""
    return sorted(
        key for key, row in after.items() if before.get(key) != row and key not in BUCKETS and key not in (HEAD, RING)
    )


class Database(Protocol):
    """One database of a Vault, while it runs or not."""

    async def copy(self) -> Copy:
        """All of it, as of one moment."""

    async def restore(self, copy: Copy) -> None:
        """Make it exactly this again."""

    async def drop_leaf(self, index: int) -> None:
        """Take one leaf out of the log, and leave a gap."""

    async def put(self, key: bytes, row: Row | None) -> None:
        """Write one row, or take it out."""


class SqliteDatabase:
    """`Database` in the file that a Vault keeps in its data directory."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def copy(self) -> Copy:
        with self._open() as connection:
            connection.execute("BEGIN")
            rows = {key: Row(version, sealed) for key, version, sealed in connection.execute(_ROWS)}
            leaves = tuple(leaf for (leaf,) in connection.execute("SELECT leaf FROM log ORDER BY seq"))
            hashes = {(level, number): kept for level, number, kept in connection.execute(_HASHES)}
            connection.execute("COMMIT")
        return Copy(rows, leaves, hashes)

    async def restore(self, copy: Copy) -> None:
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            for table in ("rows", "log", "log_hashes"):
                connection.execute(f"DELETE FROM {table}")  # noqa: S608 (of three names)
            connection.executemany(
                "INSERT INTO rows(key, version, sealed) VALUES (?, ?, ?)",
                ((key, row.version, row.sealed) for key, row in copy.rows.items()),
            )
            connection.executemany("INSERT INTO log(seq, leaf) VALUES (?, ?)", enumerate(copy.leaves))
            connection.executemany(
                "INSERT INTO log_hashes(level, idx, hash) VALUES (?, ?, ?)",
                ((level, number, kept) for (level, number), kept in copy.hashes.items()),
            )
            connection.execute("COMMIT")

    async def drop_leaf(self, index: int) -> None:
        with self._open() as connection:
            connection.execute("DELETE FROM log WHERE seq = ?", (index,))

    async def put(self, key: bytes, row: Row | None) -> None:
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("DELETE FROM rows WHERE key = ?", (key,))
            if row is not None:
                connection.execute("INSERT INTO rows(key, version, sealed) VALUES (?, ?, ?)", (key, *row))
            connection.execute("COMMIT")

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


_ROWS: Final = "SELECT key, version, sealed FROM rows"
_HASHES: Final = "SELECT level, idx, hash FROM log_hashes"

"""Where rows come from: one moment of a database, which may go on serving."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import ClassVar, Final, Protocol

from strongroom.host.audit.sqlite import SqliteSnapshot
from strongroom.host.backup.file import Engine, Stored
from strongroom.protocol.link import Row

AT_ONCE: Final = 256
"""Rows read together."""


class Source(Protocol):
    """All that is in a database at one moment. Methods raise `Unavailable` STORE_UNAVAILABLE."""

    engine: ClassVar[Engine]

    def rows(self) -> AsyncIterator[list[Stored]]:
        """All rows, some at a time."""

    async def versions(self, keys: Sequence[bytes]) -> dict[bytes, int]:
        """Versions by key, at most `AT_ONCE`; those that are absent are left out."""

    async def read(self, keys: Sequence[bytes]) -> list[Row | None]:
        """Rows by key, at most `AT_ONCE`; None for each that is absent."""

    async def count(self) -> int:
        """Rows in all."""

    async def size(self) -> int:
        """Leaves of the log."""

    async def leaves(self, first: int, count: int) -> list[bytes]:
        """Leaves from `first` on: as many as there are up to the first that is missing."""

    async def hashes(self, level: int, first: int, count: int) -> list[bytes]:
        """Kept hashes of a level of the log's tree, in the same way."""

    async def close(self) -> None:
        """Let the moment go."""


class SqliteSource(SqliteSnapshot):
    """One read transaction: beside a write-ahead log it hinders no writer, but for that the log grows meanwhile."""

    engine: ClassVar[Engine] = "sqlite"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._connection.execute("PRAGMA cache_size = -16384")

    async def rows(self) -> AsyncIterator[list[Stored]]:
        last = -1
        while True:
            found = self._all(
                "SELECT id, key, version, sealed FROM rows WHERE id > ? ORDER BY id LIMIT ?", (last, AT_ONCE)
            )
            if not found:
                return
            last = found[-1][0]
            yield [Stored(*row[1:]) for row in found]

    async def versions(self, keys: Sequence[bytes]) -> dict[bytes, int]:
        places = ",".join("?" * len(keys))
        return dict(self._all(f"SELECT key, version FROM rows WHERE key IN ({places})", keys))  # noqa: S608

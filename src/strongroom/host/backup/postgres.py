"""PostgreSQL, to make a backup of and to put one into."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar, Final

import asyncpg

from strongroom.host.audit.postgres import PostgresSnapshot
from strongroom.host.backup.drafts import CannotBackUp
from strongroom.host.backup.file import Engine, Stored
from strongroom.host.backup.sources import AT_ONCE
from strongroom.host.store.port import CannotOpen
from strongroom.host.store.postgres_schema import migrate, verify_schema
from strongroom.host.store.postgres_session import Conflict, Fault, Means, Session, connect
from strongroom.host.store.postgres_url import servers
from strongroom.protocol.errors import Number, Unavailable

_FAILURES: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
_TABLES: Final = ("rows", "log", "log_hashes")
_OTHER: Final = "name an empty database, or a schema of its own; nothing was changed"


class PostgresSource(PostgresSnapshot):
    """One read-only transaction at REPEATABLE READ, also of a standby: it hinders no writer."""

    engine: ClassVar[Engine] = "postgresql"

    async def rows(self) -> AsyncIterator[list[Stored]]:
        try:
            async with self._turn:
                cursor = await self._connection.cursor("SELECT key, version, sealed FROM rows")
            while True:
                async with self._turn:
                    found = await cursor.fetch(AT_ONCE)
                if not found:
                    return
                yield [Stored(*record) for record in found]
        except _FAILURES as error:
            text = error.args[0] if isinstance(error, asyncpg.PostgresError) else type(error).__name__
            raise Unavailable(Number.STORE_UNAVAILABLE, str(text)) from None

    async def versions(self, keys: Sequence[bytes]) -> dict[bytes, int]:
        found = await self._all("SELECT key, version FROM rows WHERE key = ANY($1::bytea[])", list(keys))
        return dict(found)


class PostgresTarget:
    """An empty database in one transaction: until that ends it is empty for everybody else, and after a fault again."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[PostgresTarget]:
        """Commits when the block ends without an error. Raises `CannotOpen`, `CannotBackUp`."""
        session = await connect(servers(url), "strongroom restore")
        try:
            await verify_schema(session)
            await migrate(session)
            async with session.transaction():
                # Nobody founds a cluster here meanwhile.
                await session.fetch("LOCK TABLE rows, log, log_hashes IN EXCLUSIVE MODE NOWAIT")
                for table in _TABLES:
                    if await session.fetch(f"SELECT 1 FROM {table} LIMIT 1"):  # noqa: S608
                        raise CannotBackUp("the database is not empty", _OTHER)
                yield cls(session)
        except Fault as fault:
            raise _failed(fault) from None
        except Conflict:
            raise CannotBackUp("the backup has a row twice", "take another backup; nothing was changed") from None
        finally:
            await session.close()

    async def add(self, rows: Sequence[Stored]) -> None:
        await self._session.fetch(
            "INSERT INTO rows(key, version, sealed) SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bytea[])",
            [row.key for row in rows],
            [row.version for row in rows],
            [row.sealed for row in rows],
        )

    async def append(self, first: int, leaves: Sequence[bytes]) -> None:
        await self._session.fetch(
            "INSERT INTO log(seq, leaf) SELECT * FROM unnest($1::bigint[], $2::bytea[])",
            list(range(first, first + len(leaves))),
            list(leaves),
        )

    async def keep(self, level: int, first: int, hashes: Sequence[bytes]) -> None:
        await self._session.fetch(
            "INSERT INTO log_hashes(level, idx, hash) SELECT $1::bigint, * FROM unnest($2::bigint[], $3::bytea[])",
            level,
            list(range(first, first + len(hashes))),
            list(hashes),
        )


def _failed(fault: Fault) -> CannotBackUp | CannotOpen:
    if fault.means is Means.FULL:
        return CannotBackUp("no space left in the database: nothing of the backup was kept", "free space there")
    if fault.state == "55P03":
        return CannotBackUp("somebody uses this database", "stop what serves on it; nothing was changed")
    return CannotOpen(f"the database failed: {fault}", "see the server's log; what is not whole was not kept")
